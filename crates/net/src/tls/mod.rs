//! TLS 1.2 and 1.3, by rustls: a [`Layer`](crate::Layer) like every other, so that each protocol runs over it unchanged.
//!
//! ```text
//!   endpoint ssl:443:…  ─►  TlsServer  ─ wraps ─►  Factory
//!                               │
//!   protocol ── plain ──►  TlsLayer  ── records ──►  socket
//! ```
//! Most programs write an endpoint, `ssl:443:privateKey=key.pem:certKey=cert.pem`, and see none of this. Who needs more makes a
//! [`TlsServer`] or a [`TlsClient`] from options; who begins in the clear calls [`start_tls`](crate::Transport::start_tls); who wants to know whom
//! he talks to asks [`tls`](crate::Transport::tls).
//!
//! The time and the randomness of TLS are the system's, and not the driver's: certificates are valid in the real world.

mod client;
mod clients;
mod der;
mod endpoint;
mod error;
mod files;
mod identity;
mod layer;
mod listening;
mod names;
mod server;
mod session;
mod starting;
mod subject;
mod verify;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::{HandshakeKind, ProtocolVersion, SupportedProtocolVersion};

pub use client::{Roots, TlsClient, TlsClientOptions};
pub use endpoint::{ClientFiles, ServerFiles};
pub use error::TlsError;
pub use identity::{Identity, Pem};
pub use layer::TlsLayer;
pub(crate) use listening::Outgoing;
pub use server::{ClientAuth, TlsServer, TlsServerOptions};
pub use starting::TlsSide;
pub use subject::Subject;
pub use verify::Pin;

use layer::Counters;

/// How long a handshake may take: two round trips and some arithmetic, also over a bad line.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A version of TLS. Older ones are not spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2, RFC 5246.
    #[default]
    V1_2,
    /// TLS 1.3, RFC 8446.
    V1_3,
}

impl std::fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TlsVersion::V1_2 => "TLS 1.2",
            TlsVersion::V1_3 => "TLS 1.3",
        })
    }
}

/// What was agreed upon with the peer. See [`Transport::tls`](crate::Transport::tls).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The version.
    pub version: TlsVersion,
    /// The cipher suite by its registered name, `TLS13_AES_128_GCM_SHA256`.
    pub cipher: String,
    /// The application protocol, if one was agreed upon.
    pub alpn: Option<Vec<u8>>,
    /// The name that the client has asked for; a server's side knows it.
    pub sni: Option<String>,
    /// The peer's certificate, and those that certify it, in DER. It was verified. Empty if the peer has shown none.
    pub peer_certificates: Vec<Vec<u8>>,
    /// Whether a session of before was resumed.
    pub resumed: bool,
}

impl TlsInfo {
    pub(crate) fn of(layer: &TlsLayer) -> Option<TlsInfo> {
        if !layer.is_established() {
            return None;
        }
        let common = layer.session().common();
        let version = match common.protocol_version()? {
            ProtocolVersion::TLSv1_3 => TlsVersion::V1_3,
            _ => TlsVersion::V1_2,
        };
        Some(TlsInfo {
            version,
            cipher: format!("{:?}", common.negotiated_cipher_suite()?.suite()),
            alpn: common.alpn_protocol().map(<[u8]>::to_vec),
            sni: layer.asked.as_deref().map(str::to_owned),
            peer_certificates: common
                .peer_certificates()
                .map(|chain| chain.iter().map(|certificate| certificate.to_vec()).collect())
                .unwrap_or_default(),
            resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
        })
    }
}

/// How handshakes have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsStatistics {
    /// In a connection.
    pub handshakes: u64,
    /// Of these, by resuming a session.
    pub resumed: u64,
    /// In none: refused, broken off, timed out.
    pub failed: u64,
    /// Of these, because the peer took too long.
    pub timed_out: u64,
    /// Connections that ended without a farewell, where that matters.
    pub truncated: u64,
}

impl TlsStatistics {
    fn of(counters: &Counters) -> TlsStatistics {
        TlsStatistics {
            handshakes: counters.handshakes.load(Ordering::Relaxed),
            resumed: counters.resumed.load(Ordering::Relaxed),
            failed: counters.failed.load(Ordering::Relaxed),
            timed_out: counters.timed_out.load(Ordering::Relaxed),
            truncated: counters.truncated.load(Ordering::Relaxed),
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn versions(version_min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static NEWEST: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
    match version_min {
        TlsVersion::V1_2 => rustls::ALL_VERSIONS,
        TlsVersion::V1_3 => &NEWEST,
    }
}
