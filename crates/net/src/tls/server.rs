//! The server's side: options, what is made of them, and reading it again when files have changed. Connections that stand keep
//! what they began with. `layer` does the talking; `listening` puts it under a factory.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring::Ticketer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    NoClientAuth, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions, WebPkiClientVerifier,
};

use super::clients::Known;
use super::error::TlsError;
use super::files::Fingerprint;
use super::identity::{self, Identity, Pem, Trusted};
use super::layer::{Counters, TlsLayer};
use super::names::ByName;
use super::session::Session;
use super::{HANDSHAKE_TIMEOUT, TlsStatistics, TlsVersion, provider, versions};

/// Sessions of TLS 1.2 clients without tickets that are remembered; each is some hundred bytes.
const SESSIONS_MAX: usize = 4096;
/// A certificate that ends within this time is worth a warning at every look.
const RENEW_WITHIN: Duration = Duration::from_secs(7 * 86_400);

/// How a server speaks TLS.
///
/// ```
/// use ropewalk_net::tls::{ClientAuth, Identity, Pem, TlsServerOptions};
///
/// let options = TlsServerOptions {
///     identities: vec![
///         Identity::files("cert.pem", "key.pem"),
///         // Shown to who asks for one of its names.
///         Identity::at("/etc/letsencrypt/live/example.org"),
///     ],
///     alpn: vec![b"http/1.1".to_vec()],
///     client_auth: ClientAuth::Optional(Pem::file("clients.pem")),
///     ..TlsServerOptions::default()
/// };
/// # drop(options);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsServerOptions {
    /// Certificates with their keys. The one whose names fit what the client asks for is shown, else the first.
    pub identities: Vec<Identity>,
    /// Whether clients have to show a certificate.
    pub client_auth: ClientAuth,
    /// Application protocols, in the order of preference. A client that offers some, and none of these, is refused; without
    /// any here it is not talked about.
    pub alpn: Vec<Vec<u8>>,
    /// The oldest version that is spoken. TLS 1.2.
    pub version_min: TlsVersion,
    /// How long a handshake may take. 10 s.
    pub handshake_timeout: Duration,
    /// Whether a client may end its direction without saying so (`close_notify`), between two records. Right where the protocol itself says when
    /// a message is complete, as HTTP requests do. Not unless asked for.
    pub truncation_allowed: bool,
    /// How often a listening port looks whether the files have changed; at least a second. 60 s; `None` is never.
    pub check_every: Option<Duration>,
}

impl Default for TlsServerOptions {
    fn default() -> Self {
        TlsServerOptions {
            identities: Vec::new(),
            client_auth: ClientAuth::None,
            alpn: Vec::new(),
            version_min: TlsVersion::V1_2,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            truncation_allowed: false,
            check_every: Some(Duration::from_secs(60)),
        }
    }
}

impl TlsServerOptions {
    /// One certificate, and the usual for the rest.
    #[must_use]
    pub fn new(identity: Identity) -> TlsServerOptions {
        TlsServerOptions { identities: vec![identity], ..TlsServerOptions::default() }
    }

    fn fingerprint(&self) -> Fingerprint {
        let mut files: Vec<PathBuf> = Vec::new();
        for identity in &self.identities {
            files.extend(identity.files_of().map(PathBuf::from));
        }
        if let ClientAuth::Optional(Pem::File(path)) | ClientAuth::Required(Pem::File(path)) =
            &self.client_auth
        {
            files.push(path.clone());
        }
        Fingerprint::of(files)
    }
}

/// Whether clients show certificates (mutual TLS), and who signs them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    None,
    /// They are asked, and who shows one that these roots have not signed is refused.
    Optional(Pem),
    /// Who shows none is refused, too.
    Required(Pem),
}

/// A server's TLS, ready to be used; a clone is the same one, also on another thread.
#[derive(Clone)]
pub struct TlsServer(Arc<Inner>);

struct Inner {
    options: TlsServerOptions,
    current: RwLock<Arc<ServerConfig>>,
    /// What was read last, well or not. Held while reading, so that two that reload do it one after the other.
    seen: Mutex<Seen>,
    counters: Arc<Counters>,
    watched: AtomicBool,
}

/// What was read last.
struct Seen {
    fingerprint: Fingerprint,
    /// Whoever was verified by other roots must not come back by a ticket.
    client_roots: Vec<Vec<u8>>,
    memory: Memory,
}

/// How clients are recognised. It outlives a renewed certificate.
#[derive(Clone)]
struct Memory {
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl Memory {
    fn new() -> Result<Memory, TlsError> {
        // A fresh key every six hours; each is good for twelve.
        Ok(Memory { tickets: Ticketer::new()?, sessions: ServerSessionMemoryCache::new(SESSIONS_MAX) })
    }
}

impl TlsServer {
    /// Reads everything, and makes sure that it fits together.
    ///
    /// # Errors
    /// One line: a file that is missing or is no PEM, a key that is encrypted or belongs to another certificate, a certificate
    /// that has expired, roots that are none.
    pub fn new(options: TlsServerOptions) -> Result<TlsServer, TlsError> {
        let fingerprint = options.fingerprint();
        let memory = Memory::new()?;
        let (config, client_roots) = build(&options, &memory)?;
        Ok(TlsServer(Arc::new(Inner {
            options,
            current: RwLock::new(Arc::new(config)),
            seen: Mutex::new(Seen { fingerprint, client_roots, memory }),
            counters: Arc::default(),
            watched: AtomicBool::new(false),
        })))
    }

    /// What it was made of.
    #[must_use]
    pub fn options(&self) -> &TlsServerOptions {
        &self.0.options
    }

    /// Reads the files again, whether or not they seem to have changed. New connections get what is new; those that stand
    /// keep what they have. It waits for the disk.
    ///
    /// # Errors
    /// Those of [`TlsServer::new`]; then everything stays as it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        let mut seen = self.seen();
        self.read(&mut seen)
    }

    /// The same if the files have changed since they were read last; answers whether they had. Files that are broken are
    /// told of once.
    ///
    /// # Errors
    /// Those of [`TlsServer::new`]; then everything stays as it was.
    pub fn reload_if_changed(&self) -> Result<bool, TlsError> {
        let mut seen = self.seen();
        if self.0.options.fingerprint() == seen.fingerprint {
            return Ok(false);
        }
        self.read(&mut seen).map(|()| true)
    }

    /// How handshakes have ended, on all connections.
    #[must_use]
    pub fn statistics(&self) -> TlsStatistics {
        TlsStatistics::of(&self.0.counters)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, seen: &mut Seen) -> Result<(), TlsError> {
        let inner = &*self.0;
        // Taken before reading: what changes meanwhile is seen by the next look.
        seen.fingerprint = inner.options.fingerprint();
        let (mut config, client_roots) = build(&inner.options, &seen.memory)?;
        if client_roots != seen.client_roots {
            let memory = Memory::new()?;
            config.ticketer = Arc::clone(&memory.tickets);
            config.session_storage = Arc::clone(&memory.sessions);
            (seen.client_roots, seen.memory) = (client_roots, memory);
        }
        *inner.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        Ok(())
    }

    /// The layer for one connection.
    pub(super) fn layer(&self) -> Result<TlsLayer, TlsError> {
        self.layer_of(self.config())
    }

    /// The same for one that is not to be resumed.
    pub(super) fn layer_without_tickets(&self) -> Result<TlsLayer, TlsError> {
        let mut config = (*self.config()).clone();
        config.send_tls13_tickets = 0;
        self.layer_of(Arc::new(config))
    }

    fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn layer_of(&self, config: Arc<ServerConfig>) -> Result<TlsLayer, TlsError> {
        let Inner { options, counters, .. } = &*self.0;
        let session = Session::server(config)?;
        let TlsServerOptions { handshake_timeout, truncation_allowed, .. } = *options;
        Ok(TlsLayer::new(session, Arc::clone(counters), handshake_timeout, truncation_allowed))
    }

    /// Whether the caller is to look after the files: true for one at a time.
    pub(super) fn watch(&self) -> bool {
        !self.0.watched.swap(true, Ordering::Relaxed)
    }

    pub(super) fn unwatch(&self) {
        self.0.watched.store(false, Ordering::Relaxed);
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer").field("options", &self.0.options).finish_non_exhaustive()
    }
}

fn build(options: &TlsServerOptions, memory: &Memory) -> Result<(ServerConfig, Vec<Vec<u8>>), TlsError> {
    if options.identities.is_empty() {
        return Err(TlsError::Misuse("TLS: a server needs a certificate".to_owned()));
    }
    let loaded = options.identities.iter().map(Identity::load).collect::<Result<Vec<_>, _>>()?;
    for (identity, loaded) in options.identities.iter().zip(&loaded) {
        if loaded.remaining < RENEW_WITHIN {
            let days = loaded.remaining.as_secs() / 86_400;
            tracing::warn!("{}: the certificate expires in {days} days", identity.chain);
        }
    }
    let (verifier, client_roots) = client_verifier(&options.client_auth)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(options.version_min))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(ByName::new(&loaded)));
    config.alpn_protocols.clone_from(&options.alpn);
    config.ticketer = Arc::clone(&memory.tickets);
    config.session_storage = Arc::clone(&memory.sessions);
    Ok((config, client_roots))
}

type Verifier = (Arc<dyn ClientCertVerifier>, Vec<Vec<u8>>);

fn client_verifier(auth: &ClientAuth) -> Result<Verifier, TlsError> {
    let (pem, required) = match auth {
        ClientAuth::None => return Ok((Arc::new(NoClientAuth), Vec::new())),
        ClientAuth::Optional(pem) => (pem, false),
        ClientAuth::Required(pem) => (pem, true),
    };
    let Trusted { store, certificates } = identity::trusted(pem)?;
    let roots =
        store.roots.iter().map(|root| [&root.subject[..], &root.subject_public_key_info].concat()).collect();
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider());
    let builder = if required { builder } else { builder.allow_unauthenticated() };
    let verifier = builder.build().map_err(|error| TlsError::unusable(pem, error))?;
    Ok((Arc::new(Known { verifier, certificates }), roots))
}
