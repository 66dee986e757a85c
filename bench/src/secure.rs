//! The client's side of TLS: one certificate for all servers, blocking handshakes, full or resumed.
//!
//! Not the load of requests over TLS: that is `wrk`.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use crate::client;

const NAME: &str = "bench.test";

/// A connection, with its handshake behind it.
pub(crate) type Secure = StreamOwned<ClientConnection, TcpStream>;

/// A folder with `cert.pem` and `key.pem` (P-256), removed when it is dropped.
pub(crate) struct Identity(PathBuf);

impl Identity {
    pub(crate) fn make() -> io::Result<Identity> {
        let folder = std::env::temp_dir().join(format!("ropewalk-bench-{}-tls", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(io::Error::other)?;
        let parameters = CertificateParams::new(vec![NAME.to_owned()]).map_err(io::Error::other)?;
        let certificate = parameters.self_signed(&key).map_err(io::Error::other)?;
        std::fs::write(folder.join("cert.pem"), certificate.pem())?;
        std::fs::write(folder.join("key.pem"), key.serialize_pem())?;
        Ok(Identity(folder))
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What connects.
pub(crate) struct Client {
    config: Arc<ClientConfig>,
    resumes: bool,
}

impl Client {
    /// TLS 1.3; `resumes` takes up a session where it can.
    pub(crate) fn new(identity: &Identity, resumes: bool) -> io::Result<Client> {
        let mut roots = RootCertStore::empty();
        let certificate =
            CertificateDer::from_pem_file(identity.0.join("cert.pem")).map_err(io::Error::other)?;
        roots.add(certificate).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).map_err(io::Error::other)?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.resumption = if resumes { Resumption::in_memory_sessions(8) } else { Resumption::disabled() };
        Ok(Client { config: Arc::new(config), resumes })
    }

    /// Connects, shakes hands, and asks once: a session's ticket comes behind the handshake, with the answer.
    pub(crate) fn connect(
        &self,
        address: SocketAddr,
        number: u32,
        path: &str,
    ) -> io::Result<(Secure, Vec<u8>)> {
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(&self.config), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, client::open(address, number)?);
        stream.write_all(client::request(path).as_bytes())?;
        let body = client::read_response(&mut stream)?.text()?.into_bytes();
        Ok((stream, body))
    }

    /// One connection from its beginning to its end; an error, if it was not resumed, or was, against what was said.
    pub(crate) fn shake(&self, address: SocketAddr, number: u32, path: &str, first: bool) -> io::Result<()> {
        let (mut stream, _) = self.connect(address, number, path)?;
        let resumed = stream.conn.handshake_kind() == Some(HandshakeKind::Resumed);
        if resumed != (self.resumes && !first) {
            return Err(io::Error::other("the handshake is of the other kind"));
        }
        stream.conn.send_close_notify();
        stream.flush()
    }
}
