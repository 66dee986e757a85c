//! What endpoint strings say about TLS: files, and nothing that is read from them yet. `endpoint` parses and writes them, `listen` and
//! `connect` make a [`TlsServer`] and a [`TlsClient`] of them.

use std::path::PathBuf;

use ropewalk_reactor::{Deferred, Reactor};

use super::client::{Roots, TlsClient, TlsClientOptions};
use super::error::TlsError;
use super::identity::{Identity, Pem};
use super::server::{ClientAuth, TlsServerOptions};

/// The files of `ssl:PORT:privateKey=…:certKey=…`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFiles {
    /// `privateKey=`: the key.
    pub private_key: Option<PathBuf>,
    /// `certKey=`: the certificate; the file of the key unless given.
    pub cert_key: Option<PathBuf>,
    /// `extraCertChain=`: the certificates between that one and a root, if they are in a file of their own.
    pub extra_cert_chain: Option<PathBuf>,
    /// `cert=`, as often as one likes: more certificates, each with its key. See [`Identity::at`].
    pub certs: Vec<PathBuf>,
    /// `clientCA=`: clients have to show a certificate that these have signed.
    pub client_ca: Option<PathBuf>,
    /// `clientAuth=optional`: they need not show one.
    pub client_auth_optional: bool,
}

impl ServerFiles {
    /// What a server's TLS is made of, for those who want to add something to it.
    #[must_use]
    pub fn options(&self) -> TlsServerOptions {
        let own = self.private_key.as_ref().map(|key| Identity {
            chain: Pem::file(self.cert_key.as_ref().unwrap_or(key)),
            extra_chain: self.extra_cert_chain.as_ref().map(Pem::file),
            key: Pem::file(key),
        });
        let identities = own.into_iter().chain(self.certs.iter().map(Identity::at)).collect();
        let client_auth = match &self.client_ca {
            None => ClientAuth::None,
            Some(path) if self.client_auth_optional => ClientAuth::Optional(Pem::file(path)),
            Some(path) => ClientAuth::Required(Pem::file(path)),
        };
        TlsServerOptions { identities, client_auth, ..TlsServerOptions::default() }
    }
}

/// The files of `tls:HOST:PORT:trustRoots=…`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFiles {
    /// `trustRoots=`: whom to believe, a file or a folder; the system's roots unless given.
    pub trust_roots: Option<PathBuf>,
    /// `certificate=`: what to show to a server that asks.
    pub certificate: Option<PathBuf>,
    /// `privateKey=`: its key; the file of the certificate unless given.
    pub private_key: Option<PathBuf>,
}

impl ClientFiles {
    /// What a client's TLS is made of, for those who want to add something to it.
    #[must_use]
    pub fn options(&self) -> TlsClientOptions {
        let identity = self.certificate.as_ref().map(|certificate| {
            Identity::files(certificate, self.private_key.as_ref().unwrap_or(certificate))
        });
        let roots = self.trust_roots.as_ref().map_or(Roots::Platform, |path| Roots::Pem(Pem::file(path)));
        TlsClientOptions { roots, identity, ..TlsClientOptions::default() }
    }

    /// A client of these files. Reading the roots of a system takes some milliseconds, so it is done on a thread.
    pub(crate) fn open(&self, reactor: &Reactor) -> Deferred<Result<TlsClient, TlsError>> {
        let options = self.options();
        reactor.defer_to_thread(move || TlsClient::new(options))
    }
}
