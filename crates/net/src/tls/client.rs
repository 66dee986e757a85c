//! The client's side: whom to believe, what to show, and the sessions that are resumed. `layer` does the talking, `verify` decides
//! about certificates, `connecting` waits for the handshake.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::error::TlsError;
use super::identity::{Identity, Pem};
use super::layer::{Counters, TlsLayer};
use super::session::Session;
use super::verify::{self, Pin};
use super::{HANDSHAKE_TIMEOUT, TlsStatistics, TlsVersion, provider, versions};

/// How a client speaks TLS. Unless told otherwise it believes whom the system believes, and the certificate must be for the name
/// that was connected to.
///
/// ```
/// use ropewalk_net::tls::{Pem, Roots, TlsClient, TlsClientOptions};
///
/// let options = TlsClientOptions {
///     roots: Roots::Pem(Pem::file("company-ca.pem")),
///     alpn: vec![b"http/1.1".to_vec()],
///     ..TlsClientOptions::default()
/// };
/// assert!(TlsClient::new(options).is_err(), "there is no such file");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TlsClientOptions {
    /// Whose certificates are believed.
    pub roots: Roots,
    /// Keys of which the server must have one, besides all the rest; none asks for nothing. With [`Roots::Pinned`] there is
    /// no rest.
    pub pins: Vec<Pin>,
    /// What to show to a server that asks who this is.
    pub identity: Option<Identity>,
    /// Application protocols, in the order of preference.
    pub alpn: Vec<Vec<u8>>,
    /// The name that the certificate must be for, if it is not the host that was connected to.
    pub server_name: Option<String>,
    /// The oldest version that is spoken. TLS 1.2.
    pub version_min: TlsVersion,
    /// How long a handshake may take. 10 s unless given.
    pub handshake_timeout: Option<Duration>,
    /// Whether the server may end its direction without saying so (`close_notify`), between two records. Not unless asked for: where the end of
    /// the connection is the end of the message, somebody on the way could cut it short.
    pub truncation_allowed: bool,
    /// Dangerous: no certificate is looked at, so whoever is on the way can read and change everything, and this side
    /// cannot know. Nothing but a test has a use for it; a self-signed server is better pinned.
    pub dangerous_accept_any_certificate: bool,
}

/// Whose certificates a client believes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Roots {
    /// Whom the system believes. `SSL_CERT_FILE` and `SSL_CERT_DIR` override it, as they do for OpenSSL.
    #[default]
    Platform,
    /// These: a file, a folder, or text.
    Pem(Pem),
    /// Nobody: the key itself must be pinned, and then neither its certificate's name nor its dates matter. For servers that
    /// have made their certificates themselves.
    Pinned,
}

/// A client's TLS, ready to be used; a clone is the same one, and shares its sessions.
#[derive(Clone)]
pub struct TlsClient(Arc<Inner>);

struct Inner {
    options: TlsClientOptions,
    config: Arc<ClientConfig>,
    counters: Arc<Counters>,
}

impl TlsClient {
    /// Reads roots and certificates. It waits for the disk.
    ///
    /// # Errors
    /// One line: a file that is missing or is no PEM, roots that are none, a system without roots, [`Roots::Pinned`] without
    /// a pin.
    pub fn new(options: TlsClientOptions) -> Result<TlsClient, TlsError> {
        let verifier = verify::verifier(&options)?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(options.version_min))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &options.identity {
            Some(identity) => {
                let certified = identity.load()?.certified;
                builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&options.alpn);
        Ok(TlsClient(Arc::new(Inner { options, config: Arc::new(config), counters: Arc::default() })))
    }

    /// What it was made of.
    #[must_use]
    pub fn options(&self) -> &TlsClientOptions {
        &self.0.options
    }

    /// How handshakes have ended, on all connections.
    #[must_use]
    pub fn statistics(&self) -> TlsStatistics {
        TlsStatistics::of(&self.0.counters)
    }

    /// The layer for one connection to this host.
    pub(super) fn layer(&self, host: &str) -> Result<TlsLayer, TlsError> {
        let Inner { options, config, counters } = &*self.0;
        let name = options.server_name.as_deref().unwrap_or(host);
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        // A scope is this machine's own business, and in no certificate; neither is the dot of the root.
        let bare = bare.split('%').next().unwrap_or(bare);
        let bare = bare.strip_suffix('.').unwrap_or(bare);
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| {
            TlsError::Misuse(format!("TLS: {name:?} is no name that a certificate could be for"))
        })?;
        let session = Session::client(Arc::clone(config), name)?;
        let limit = options.handshake_timeout.unwrap_or(HANDSHAKE_TIMEOUT);
        Ok(TlsLayer::new(session, Arc::clone(counters), limit, options.truncation_allowed))
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").field("options", &self.0.options).finish_non_exhaustive()
    }
}
