//! `Tls`: TCP and TLS, what an agent begins with, and what a connector of one's own hands its connections to. The handshake is
//! `ropewalk_net`'s; here it is found out whom to believe, and its end is put into the client's words.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use ropewalk_net::tls::{HANDSHAKE_TIMEOUT, TlsClient, TlsClientOptions, TlsError, TlsSide};
use ropewalk_net::{Lost, Transport};
use ropewalk_reactor::{Deferred, Failure, Outcome, Reactor, deferred};

use super::connector::Connector;
use super::error::{ClientError, Phase};

/// What is offered to a server: this client speaks nothing else (RFC 7301, RFC 9112).
const ALPN: &[u8] = b"http/1.1";

/// TCP, and TLS for `https`. A clone is the same one: sessions that are resumed are shared.
///
/// ```
/// use ropewalk_net::tls::{Pem, Roots, TlsClient, TlsClientOptions};
/// use ropewalk_web::client::Tls;
///
/// let company = TlsClientOptions { roots: Roots::Pem(Pem::file("company-ca.pem")), ..Tls::options() };
/// assert!(TlsClient::new(company).is_err(), "there is no such file");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Tls(Option<TlsClient>);

/// The client that believes whom the system believes: read when it is first needed, and once per reactor.
#[derive(Default)]
struct Platform(RefCell<Option<TlsClient>>);

impl Tls {
    /// Believes whom the system believes. Its roots are read with the first handshake, on a thread.
    #[must_use]
    pub fn platform() -> Tls {
        Tls(None)
    }

    /// With roots, pins or a certificate of one's own; see [`Tls::options`].
    #[must_use]
    pub fn with(client: TlsClient) -> Tls {
        Tls(Some(client))
    }

    /// What a client's TLS begins with here, to be changed: the system's roots, and HTTP/1.1 by ALPN.
    #[must_use]
    pub fn options() -> TlsClientOptions {
        TlsClientOptions { alpn: vec![ALPN.to_vec()], ..TlsClientOptions::default() }
    }

    fn client(&self, reactor: &Reactor) -> Deferred<TlsClient> {
        let platform = reactor.part(Platform::default);
        let known = self.0.clone().or_else(|| platform.0.borrow().clone());
        if let Some(known) = known {
            return deferred::succeed(reactor, known);
        }
        let reading = reactor.defer_to_thread(|| TlsClient::new(Tls::options()));
        reading.add_callback(move |client: Result<TlsClient, TlsError>| -> Outcome<TlsClient> {
            let client = client?;
            *platform.0.borrow_mut() = Some(client.clone());
            Ok(client)
        })
    }
}

impl Connector for Tls {
    fn has_tls(&self) -> bool {
        true
    }

    fn secure(&self, transport: &Transport, host: &str) -> Deferred<()> {
        let (transport, host) = (transport.clone(), host.to_owned());
        let asked = host.clone();
        let client = self.client(transport.reactor()).add_errback(move |failure| -> Outcome<TlsClient> {
            // The roots of the system.
            Err(match failure.check::<TlsError>() {
                Some(error) => ClientError::Tls { host: asked, error: error.clone() }.into(),
                None => failure,
            })
        });
        client.add_callback(move |client| {
            let limit = client.options().handshake_timeout.unwrap_or(HANDSHAKE_TIMEOUT);
            let handshake = transport.handshake(TlsSide::Client(&client, &host), b"");
            let failed = host.clone();
            let handshake =
                handshake.add_errback(move |failure| -> Outcome<()> { Err(explain(failure, failed, limit)) });
            handshake.add_callback(move |()| check_alpn(&transport, &host))
        })
    }
}

/// A server that was offered something else by the program's own TLS, and took it, would not be understood.
fn check_alpn(transport: &Transport, host: &str) -> Outcome<()> {
    match transport.tls().and_then(|tls| tls.alpn) {
        Some(protocol) if protocol != ALPN && protocol != b"http/1.0" => {
            let protocol = String::from_utf8_lossy(&protocol).into_owned();
            let why =
                format!("TLS: the server speaks {protocol} because that was offered; offer http/1.1 alone");
            Err(ClientError::Tls { host: host.to_owned(), error: TlsError::Misuse(why) }.into())
        }
        _ => Ok(()),
    }
}

fn explain(failure: Failure, host: String, limit: std::time::Duration) -> Failure {
    let Some(error) = failure.check::<io::Error>() else { return failure };
    match TlsError::of(error) {
        Some(error) => ClientError::Tls { host, error: error.clone() }.into(),
        None if error.kind() == io::ErrorKind::TimedOut => {
            ClientError::TimedOut { phase: Phase::Tls, limit }.into()
        }
        None => {
            let error = Arc::new(io::Error::new(error.kind(), error.to_string()));
            ClientError::Unanswered(Lost::Broken(error)).into()
        }
    }
}
