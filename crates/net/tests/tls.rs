//! TLS between two ends of this crate, over the simulated network with every seed, over TCP and over UNIX sockets: bytes come whole
//! however they are cut, the ends are orderly or told, and both sides know whom they talk to.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod authority;
mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use authority::Authority;
use common::*;
use ropewalk_net::tls::{
    Identity, Pin, Roots, TlsClient, TlsClientOptions, TlsError, TlsServer, TlsServerOptions, TlsSide,
    TlsVersion,
};
use ropewalk_net::{
    Address, ClientEndpoint, ConnectError, ConnectOptions, Factory, Lost, Port, Protocol, ServerOptions,
    Stream, Transport, connect_with, listen_with, stream_factory,
};
use ropewalk_reactor::{Failure, Simulation};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

thread_local! {
    /// Making keys is the slow part: one authority is enough for all seeds of a test.
    static AUTHORITY: Rc<Authority> = Rc::new(Authority::new());
    static SERVER: TlsServer = authority().server();
    static CLIENT: TlsClient = authority().client();
}

fn authority() -> Rc<Authority> {
    AUTHORITY.with(Rc::clone)
}

fn server() -> TlsServer {
    SERVER.with(TlsServer::clone)
}

fn client() -> TlsClient {
    CLIENT.with(TlsClient::clone)
}

/// The endpoint of a port of this ground, under TLS. UNIX sockets have no TLS endpoint: there `start_tls` is used.
fn secure(port: &Port) -> ClientEndpoint {
    let Address::Inet(address) = port.address() else { unreachable!("TLS endpoints are TCP") };
    format!("tls:127.0.0.1:{}", address.port()).parse().unwrap()
}

fn listen(ground: &Ground, tls: &TlsServer, factory: impl Factory) -> Port {
    ground.listen(Default::default(), tls.wrap(factory))
}

async fn connect(
    ground: &Ground,
    port: &Port,
    tls: &TlsClient,
    factory: impl Factory,
) -> Result<Transport, Failure> {
    let options = ConnectOptions { tls: Some(tls.clone()), ..ConnectOptions::default() };
    connect_with(&ground.reactor, &secure(port), Rc::new(factory), options).await
}

/// A probe that is given away once, and what it sees.
fn once(probe: Probe) -> (Rc<Seen>, impl Fn() -> Probe + 'static) {
    let seen = Rc::clone(&probe.seen);
    let probe = RefCell::new(Some(probe));
    (seen, move || probe.borrow_mut().take().expect("one connection"))
}

/// Runs a check where there are TLS endpoints.
fn over_tcp<F: Future<Output = ()> + 'static>(check: impl Fn(Ground) -> F) {
    everywhere(move |ground| {
        let skip = !matches!(ground.kind, Kind::Simulated | Kind::Tcp);
        let checking = (!skip).then(|| check(ground));
        async move {
            if let Some(checking) = checking {
                checking.await;
            }
        }
    });
}

/// Runs a check in one simulation.
fn simulated<F: Future<Output = ()> + 'static>(check: impl FnOnce(Ground) -> F) {
    let simulation = Simulation::new(1);
    let ground = Ground::at(&simulation);
    let task = simulation.reactor().spawn(check(ground));
    let done = Rc::new(Cell::new(None));
    let told = Rc::clone(&done);
    simulation.reactor().spawn(async move { told.set(Some(task.await.is_ok())) });
    simulation.run_until(Duration::from_secs(600), || done.get().is_some());
    assert_eq!(done.get(), Some(true));
}

#[test]
fn bytes_come_whole_in_both_directions() {
    over_tcp(|ground| async move {
        let sent = ground.bytes(if ground.kind == Kind::Simulated { 40_000 } else { 3_000_000 });
        let (at_server, make) = once(Probe::echo().on_end(Transport::lose_connection));
        let port = listen(&ground, &server(), make);
        let (at_client, make) = once(Probe::new());
        let transport = connect(&ground, &port, &client(), make).await.unwrap();
        assert!(at_client.made.get(), "made before the deferred fires");
        let info = transport.tls().unwrap();
        assert_eq!((info.version, info.peer_certificates.len()), (TlsVersion::V1_3, 1));
        // In pieces of every size, some together.
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let (piece, next) = rest.split_at((1 + ground.random(3000)).min(rest.len()));
            match ground.random(3) {
                0 => transport.write_shared(&piece.into()),
                1 => transport.write_sequence([piece, b""]),
                _ => transport.write(piece),
            }
            if ground.random(8) == 0 && ground.kind == Kind::Simulated {
                ground.pause(Duration::from_micros(500)).await;
            }
            rest = next;
        }
        ground.until("all of it has come back", || at_client.len() == sent.len()).await;
        assert!(*at_client.data.borrow() == sent);
        assert_eq!(at_server.transport().tls().unwrap().sni, None, "an address is no name");
        transport.lose_connection();
        ground.until("both have ended", || at_client.is_lost() && at_server.is_lost()).await;
        assert_eq!(at_client.reason(), "closed by this side");
        assert!(at_server.ended.get());
        port.stop_listening();
    });
}

#[test]
fn a_direction_ends_and_the_other_goes_on() {
    over_tcp(|ground| async move {
        let (at_server, make) = once(Probe::new().on_end(|transport| {
            transport.write(b"and here is the answer");
            transport.lose_connection();
        }));
        let port = listen(&ground, &server(), make);
        let (at_client, make) = once(Probe::new());
        let transport = connect(&ground, &port, &client(), make).await.unwrap();
        transport.write(b"that was the question");
        transport.lose_write_connection();
        ground.until("the client has it all", || at_client.is_lost()).await;
        assert_eq!(*at_server.data.borrow(), b"that was the question");
        assert_eq!(*at_client.data.borrow(), b"and here is the answer");
        assert_eq!(at_client.reason(), "ended by the peer");
        port.stop_listening();
    });
}

#[test]
fn closing_right_behind_the_last_byte_loses_nothing() {
    over_tcp(|ground| async move {
        let plenty = ground.bytes(if ground.kind == Kind::Simulated { 20_000 } else { 2_000_000 });
        let copy = plenty.clone();
        let (at_server, make) = once(Probe::new().on_made(move |transport| {
            transport.write(&copy);
            transport.lose_connection();
        }));
        let port = listen(&ground, &server(), make);
        let (at_client, make) = once(Probe::new());
        connect(&ground, &port, &client(), make).await.unwrap();
        ground.until("the end has come", || at_client.is_lost() && at_server.is_lost()).await;
        assert!(*at_client.data.borrow() == plenty, "{} of {}", at_client.len(), plenty.len());
        assert_eq!((at_client.ended.get(), at_server.reason().as_str()), (true, "closed by this side"));
        port.stop_listening();
    });
}

/// A protocol that reads nothing yet must not hold up its own handshake, nor what it writes.
#[test]
fn a_protocol_that_pauses_has_its_handshake_all_the_same() {
    struct Paused(Rc<Seen>, TlsServer);
    impl Protocol for Paused {
        fn connection_made(&mut self, transport: &Transport) {
            transport.pause_reading();
            transport.start_tls(TlsSide::Server(&self.1), b"").unwrap();
            transport.write(b"welcome");
            let later = transport.clone();
            transport.reactor().call_later(Duration::from_secs(2), move || later.resume_reading());
        }
        fn data_received(&mut self, transport: &Transport, data: &[u8]) {
            assert!(!transport.is_reading_paused());
            self.0.data.borrow_mut().extend_from_slice(data);
            transport.write(b"!");
        }
    }
    everywhere(|ground| async move {
        let seen = Rc::<Seen>::default();
        let told = Rc::clone(&seen);
        let port = ground.listen(Default::default(), move || Paused(Rc::clone(&told), server()));
        let mut stream = Stream::connect(&ground.reactor, &ground.client(&port)).await.unwrap();
        stream.start_tls(TlsSide::Client(&client(), "localhost")).unwrap();
        stream.write(b"hello").await.unwrap();
        assert_eq!(stream.read_bytes(7).await.unwrap(), b"welcome");
        assert_eq!(seen.len(), 0, "it is paused");
        assert_eq!(stream.read_bytes(1).await.unwrap(), b"!");
        assert_eq!(*seen.data.borrow(), b"hello");
        port.stop_listening();
    });
}

#[test]
fn streams_read_and_write_over_tls_in_small_sips() {
    over_tcp(|ground| async move {
        let served = async |mut stream: Stream| {
            let line = stream.read_until(b"\n", 100).await?;
            stream.write(&line.repeat(2000)).await
        };
        let port = listen(&ground, &server(), stream_factory(served));
        let options = ConnectOptions { tls: Some(client()), ..ConnectOptions::default() };
        let mut stream = Stream::connect_with(&ground.reactor, &secure(&port), options).await.unwrap();
        stream.write(b"rope\n").await.unwrap();
        let mut heard = Vec::new();
        while let Ok(sip) = stream.read_bytes(1 + ground.random(7)).await {
            heard.extend(sip);
            if heard.len() > 9980 {
                break;
            }
        }
        heard.extend(stream.read_until_close(100).await.unwrap());
        assert!(heard == b"rope\n".repeat(2000));
        port.stop_listening();
    });
}

// STARTTLS.

/// Speaks in the clear until it is asked for TLS; what came behind goes to TLS.
struct Upgrading {
    tls: TlsServer,
    seen: Rc<Seen>,
    line: Vec<u8>,
}

impl Upgrading {
    fn new(seen: &Rc<Seen>) -> Upgrading {
        Upgrading { tls: server(), seen: Rc::clone(seen), line: Vec::new() }
    }
}

impl Protocol for Upgrading {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.line.extend_from_slice(data);
        let Some(at) = self.line.iter().position(|&byte| byte == b'\n') else { return };
        assert_eq!(&self.line[..at], b"STARTTLS");
        transport.write(b"go ahead\n");
        transport.start_tls(TlsSide::Server(&self.tls), &self.line[at + 1..]).unwrap();
        let seen = Rc::clone(&self.seen);
        transport.switch(Box::new(Protected(seen)));
    }
}

/// Echoes, and remembers.
struct Protected(Rc<Seen>);

impl Protocol for Protected {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        assert!(transport.tls().is_some(), "nothing comes in the clear any more");
        self.0.data.borrow_mut().extend_from_slice(data);
        transport.write(data);
    }
    fn connection_lost(&mut self, _: &Transport, lost: &Lost) {
        *self.0.lost.borrow_mut() = Some(lost.clone());
    }
}

#[test]
fn starttls_however_the_bytes_are_cut() {
    everywhere(|ground| async move {
        let seen = Rc::<Seen>::default();
        let told = Rc::clone(&seen);
        let port = ground.listen(Default::default(), move || Upgrading::new(&told));
        let mut stream = Stream::connect(&ground.reactor, &ground.client(&port)).await.unwrap();
        stream.write(b"STARTTLS\n").await.unwrap();
        assert_eq!(stream.read_until(b"\n", 100).await.unwrap(), b"go ahead\n");
        stream.start_tls(TlsSide::Client(&client(), "localhost")).unwrap();
        stream.write(b"a secret").await.unwrap();
        assert_eq!(stream.read_bytes(8).await.unwrap(), b"a secret");
        assert_eq!(stream.tls().unwrap().version, TlsVersion::V1_3);
        assert_eq!(*seen.data.borrow(), b"a secret");
        port.stop_listening();
    });
}

/// Begins TLS at the first byte, and has something to say as soon as that stands.
struct Welcoming;

impl Protocol for Welcoming {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(b"go ahead\n");
        transport.start_tls(TlsSide::Server(&server()), &data[1..]).unwrap();
        transport.write(b"welcome");
        transport.switch(Box::new(Protected(Rc::default())));
    }
}

/// First, a client begins TLS and has nothing to say: it reads, and there is nothing yet. Then the server's part of the handshake
/// comes; the event wakes the reader, and leaves the work to it. At last the reader worked through what came, and the answer to
/// it stayed where it was, since no event was left that would have sent it.
#[test]
fn a_handshake_goes_on_for_a_stream_that_only_reads() {
    everywhere(|ground| async move {
        let port = ground.listen(Default::default(), || Welcoming);
        let mut stream = Stream::connect(&ground.reactor, &ground.client(&port)).await.unwrap();
        stream.write(b"!").await.unwrap();
        assert_eq!(stream.read_until(b"\n", 100).await.unwrap(), b"go ahead\n");
        stream.start_tls(TlsSide::Client(&client(), "localhost")).unwrap();
        // The turn in which its first message leaves is over when it begins to read.
        ground.reactor.sleep(Duration::from_millis(1)).await;
        let welcome = ground.reactor.with_timeout(Duration::from_secs(1), stream.read_bytes(7)).await;
        assert_eq!(welcome.unwrap().unwrap(), b"welcome");
        port.stop_listening();
    });
}

/// What somebody has slipped in behind STARTTLS is taken for a handshake, and is none; never for the protected conversation.
#[test]
fn plain_text_behind_starttls_ends_the_connection() {
    for text in [&b"RSET\n"[..], b"x", b"MAIL FROM:<a@b>\nRCPT TO:<c@d>\n"] {
        let seen = Rc::<Seen>::default();
        let told = Rc::clone(&seen);
        simulated(|ground| async move {
            let port = ground.listen(Default::default(), move || Upgrading::new(&told));
            let mut stream = Stream::connect(&ground.reactor, &ground.client(&port)).await.unwrap();
            stream.write(&[b"STARTTLS\n", text].concat()).await.unwrap();
            assert_eq!(stream.read_until(b"\n", 100).await.unwrap(), b"go ahead\n");
            stream.start_tls(TlsSide::Client(&client(), "localhost")).unwrap();
            let failed = stream.read_bytes(1).await.unwrap_err();
            assert!(failed.to_string().contains("TLS"), "{failed}");
        });
        assert_eq!(seen.len(), 0, "nothing of it was taken for the conversation");
    }
}

// Whom one talks to.

/// What becomes of a client of these options at a server.
fn outcome(tls: TlsServer, client: TlsClient) -> (Result<ropewalk_net::tls::TlsInfo, String>, Rc<Seen>) {
    let (at_server, make) = once(Probe::echo());
    let info = Rc::new(RefCell::new(Err("no outcome".to_owned())));
    let told = Rc::clone(&info);
    simulated(|ground| async move {
        let port = listen(&ground, &tls, make);
        let (at_client, make) = once(Probe::new());
        let outcome = match connect(&ground, &port, &client, make).await {
            Ok(transport) => {
                transport.write(b"hello");
                ground.until("an answer", || at_client.len() == 5 || at_client.is_lost()).await;
                match transport.tls().filter(|_| at_client.len() == 5) {
                    Some(info) => Ok(info),
                    None => Err(at_client.reason()),
                }
            }
            Err(failure) => {
                assert!(failure.check::<ConnectError>().is_some(), "{failure}");
                Err(failure.to_string())
            }
        };
        *told.borrow_mut() = outcome;
        ground.pause(Duration::from_secs(1)).await;
    });
    let outcome = info.borrow().clone();
    (outcome, at_server)
}

fn client_with(change: impl FnOnce(&mut TlsClientOptions)) -> TlsClient {
    let mut options = authority().client_options();
    change(&mut options);
    TlsClient::new(options).unwrap()
}

fn server_with(change: impl FnOnce(&mut TlsServerOptions)) -> TlsServer {
    let mut options = authority().server_options();
    change(&mut options);
    TlsServer::new(options).unwrap()
}

fn named(name: &str) -> TlsClient {
    client_with(|options| options.server_name = Some(name.to_owned()))
}

#[test]
fn a_certificate_of_somebody_else_is_refused() {
    let (wrong, seen) = outcome(server(), named("example.org"));
    assert!(wrong.as_ref().is_err_and(|text| text.contains("and not for")), "{wrong:?}");
    assert!(!seen.made.get(), "the server's protocol is not even made");
    let strangers = TlsClient::new(Authority::new().client_options()).unwrap();
    let (wrong, _) = outcome(server(), strangers);
    assert!(wrong.as_ref().is_err_and(|text| text.contains("not accepted")), "{wrong:?}");
    let platform = TlsClient::new(TlsClientOptions::default());
    if let Ok(platform) = platform {
        let (wrong, _) = outcome(server(), platform);
        assert!(wrong.as_ref().is_err_and(|text| text.contains("UnknownIssuer")), "{wrong:?}");
    }
}

/// A server that shows whatever it was given, which this crate's own would refuse to read.
struct Careless(rustls::ServerConnection);

impl Careless {
    fn config((chain, key): (String, String)) -> Arc<rustls::ServerConfig> {
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Arc::new(builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap())
    }
}

impl Protocol for Careless {
    fn data_received(&mut self, transport: &Transport, mut data: &[u8]) {
        while !data.is_empty() {
            self.0.read_tls(&mut data).unwrap();
            if self.0.process_new_packets().is_err() {
                return transport.lose_connection();
            }
        }
        let mut out = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut out).unwrap();
        }
        transport.write(&out);
    }
}

/// What a client of these options says to a careless server with this pair.
fn careless(pair: (String, String), client: TlsClientOptions) -> Result<(), String> {
    let config = Careless::config(pair);
    let client = TlsClient::new(client).unwrap();
    let outcome = Rc::new(RefCell::new(Ok(())));
    let told = Rc::clone(&outcome);
    simulated(|ground| async move {
        let make = move || Careless(rustls::ServerConnection::new(Arc::clone(&config)).unwrap());
        let port = ground.listen(Default::default(), make);
        let options = ConnectOptions { tls: Some(client), ..ConnectOptions::default() };
        let connected = connect_with(&ground.reactor, &secure(&port), Rc::new(Probe::new), options).await;
        *told.borrow_mut() = connected.map(drop).map_err(|failure| failure.to_string());
    });
    outcome.borrow().clone()
}

/// A certificate that is among the roots itself, as `openssl req -x509` makes them: authority and server in one.
#[test]
fn dates_and_names_count_also_for_a_certificate_that_is_a_root_itself() {
    let authority = authority();
    let good = authority.pair(&["127.0.0.1"]);
    assert_eq!(careless(good, authority.client_options()), Ok(()));
    let expired = careless(authority.expired(&["127.0.0.1"]), authority.client_options());
    assert!(expired.as_ref().is_err_and(|text| text.contains("expired")), "{expired:?}");
    let own = |name: &str, until: i32| {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let believing = |pair: &(String, String)| TlsClientOptions {
        roots: Roots::Pem(ropewalk_net::tls::Pem::text(pair.0.clone())),
        ..TlsClientOptions::default()
    };
    let (good, old, other) = (own("127.0.0.1", 2999), own("127.0.0.1", 2002), own("localhost", 2999));
    assert_eq!(careless(good.clone(), believing(&good)), Ok(()));
    let expired = careless(old.clone(), believing(&old));
    assert!(expired.as_ref().is_err_and(|text| text.contains("xpired")), "{expired:?}");
    let misnamed = careless(other.clone(), believing(&other));
    assert!(misnamed.as_ref().is_err_and(|text| text.contains("and not for")), "{misnamed:?}");
    assert!(careless(good, believing(&other)).is_err(), "another one of the kind");
}

#[test]
fn keys_can_be_pinned_with_roots_and_without_them() {
    let (chain, key) = authority().pair(&["localhost", "127.0.0.1"]);
    let pin = Pin::of_pem(&chain).unwrap();
    let tls = TlsServer::new(TlsServerOptions::new(Identity::text(chain, key))).unwrap();
    let other: Pin = "00".repeat(32).parse().unwrap();
    let both = |pins: &[Pin]| client_with(|options| options.pins = pins.to_vec());
    assert!(outcome(tls.clone(), both(&[other, pin])).0.is_ok());
    assert!(outcome(tls.clone(), both(&[other])).0.is_err());
    let alone = |pins: &[Pin]| {
        client_with(|options| {
            options.pins = pins.to_vec();
            options.roots = Roots::Pinned;
            options.server_name = Some("somebody-else.example".to_owned());
        })
    };
    assert!(outcome(tls.clone(), alone(&[pin])).0.is_ok());
    assert!(outcome(tls.clone(), alone(&[other])).0.is_err());
    let nobody = TlsClientOptions { roots: Roots::Pinned, ..TlsClientOptions::default() };
    assert!(matches!(TlsClient::new(nobody), Err(TlsError::Misuse(_))));
    let (wrong, _) = outcome(tls.clone(), named("somebody-else.example"));
    assert!(wrong.is_err());
    let any = client_with(|options| {
        options.dangerous_accept_any_certificate = true;
        options.server_name = Some("somebody-else.example".to_owned());
    });
    assert!(outcome(tls, any).0.is_ok());
}

#[test]
fn the_certificate_fits_the_name_that_is_asked_for() {
    let authority = authority();
    let tls = server_with(|options| {
        options.identities = vec![
            authority.identity(&["first.example"]),
            authority.identity(&["second.example", "*.wild.example"]),
            authority.identity(&["exact.wild.example"]),
        ];
    });
    for name in ["first.example", "SECOND.example", "a.wild.example", "exact.wild.example"] {
        let (info, seen) = outcome(tls.clone(), named(name));
        assert!(info.is_ok(), "{name}: {info:?}");
        assert!(seen.made.get());
    }
    for name in ["a.b.wild.example", "wild.example", "third.example"] {
        let (info, _) = outcome(tls.clone(), named(name));
        assert!(info.as_ref().is_err_and(|text| text.contains("and not for")), "{name}: {info:?}");
    }
}

#[test]
fn the_server_knows_what_was_asked_for() {
    let (at_server, make) = once(Probe::new());
    simulated(|ground| async move {
        let tls = server_with(|options| options.alpn = vec![b"two".to_vec(), b"one".to_vec()]);
        let port = listen(&ground, &tls, make);
        let tls = client_with(|options| {
            options.alpn = vec![b"one".to_vec(), b"two".to_vec()];
            options.server_name = Some("localhost".to_owned());
        });
        let (_, make) = once(Probe::new());
        let transport = connect(&ground, &port, &tls, make).await.unwrap();
        ground.until("the server stands as well", || at_server.made.get()).await;
        let (here, there) = (transport.tls().unwrap(), at_server.transport().tls().unwrap());
        assert_eq!(here.alpn.as_deref(), Some(&b"two"[..]), "the server's preference counts");
        assert_eq!(there.alpn, here.alpn);
        assert_eq!((there.sni.as_deref(), here.sni), (Some("localhost"), None));
        assert!(there.cipher.starts_with("TLS13_") && there.cipher == here.cipher);
        assert!(there.peer_certificates.is_empty() && !there.resumed);
    });
    let tls = server_with(|options| options.alpn = vec![b"one".to_vec()]);
    let (info, _) = outcome(tls, client_with(|options| options.alpn = vec![b"three".to_vec()]));
    assert!(info.as_ref().is_err_and(|text| text.contains("NoApplicationProtocol")), "{info:?}");
}

#[test]
fn clients_show_certificates_where_they_must() {
    let authority = authority();
    let shown = authority.identity(&["client.example"]);
    let known = client_with(|options| options.identity = Some(shown));
    let stranger =
        client_with(|options| options.identity = Some(Authority::new().identity(&["client.example"])));
    for required in [true, false] {
        let tls = authority.strict_server(required);
        let (info, seen) = outcome(tls.clone(), known.clone());
        assert!(info.is_ok(), "{info:?}");
        assert!(seen.made.get());
        let (info, seen) = outcome(tls.clone(), stranger.clone());
        assert!(info.is_err() && !seen.made.get(), "{info:?}");
        let (info, seen) = outcome(tls.clone(), client());
        assert_eq!(info.is_ok(), !required, "{info:?}");
        assert_eq!(seen.made.get(), !required);
        if required {
            // TLS 1.3 lets the client go on before the server has looked: the refusal comes as a late alert.
            assert!(info.unwrap_err().contains("CertificateRequired"));
        }
    }
}

#[test]
fn the_servers_protocol_sees_the_clients_certificate() {
    let authority = authority();
    let tls = authority.strict_server(true);
    let identity = authority.identity(&["client.example"]);
    let (at_server, make) = once(Probe::new());
    simulated(|ground| async move {
        let port = listen(&ground, &tls, make);
        let tls = client_with(|options| options.identity = Some(identity.clone()));
        let (_, make) = once(Probe::new());
        connect(&ground, &port, &tls, make).await.unwrap();
        ground.until("the server stands as well", || at_server.made.get()).await;
        let shown = at_server.transport().tls().unwrap().peer_certificates;
        assert_eq!(shown.len(), 1);
        let name = b"client.example";
        assert!(shown[0].windows(name.len()).any(|part| part == name));
    });
}

#[test]
fn versions_are_agreed_upon_or_not() {
    let old = |options: &mut TlsClientOptions| options.version_min = TlsVersion::V1_2;
    let (info, _) = outcome(server_with(|options| options.version_min = TlsVersion::V1_3), client_with(old));
    assert_eq!(info.unwrap().version, TlsVersion::V1_3);
    let new = client_with(|options| options.version_min = TlsVersion::V1_3);
    assert_eq!(outcome(server(), new).0.unwrap().version, TlsVersion::V1_3);
}

#[test]
fn a_session_is_resumed_and_a_new_set_of_roots_resumes_nothing() {
    let tls = server();
    let client = client_with(|_| {});
    let before = tls.statistics();
    let first = outcome(tls.clone(), client.clone()).0.unwrap();
    let second = outcome(tls.clone(), client.clone()).0.unwrap();
    assert_eq!((first.resumed, second.resumed), (false, true));
    assert_eq!(second.peer_certificates, first.peer_certificates, "they are remembered");
    let after = tls.statistics();
    assert_eq!((after.handshakes - before.handshakes, after.resumed - before.resumed), (2, 1));
    // Renewing the certificate forgets nobody.
    tls.reload().unwrap();
    assert!(outcome(tls, client).0.unwrap().resumed);
}

/// The endpoint strings, from files to both ends.
#[test]
fn endpoint_strings_are_enough() {
    let folder = std::env::temp_dir().join(format!("ropewalk-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        ropewalk_net::quote(&path.display().to_string())
    };
    let authority = authority();
    let (chain, key) = authority.pair(&["localhost", "127.0.0.1"]);
    let (mine, its_key) = authority.pair(&["client.example"]);
    let (chain, key) = (write("cert.pem", &chain), write("key.pem", &key));
    let (ca, mine) = (write("ca.pem", &authority.pem()), write("mine.pem", &(mine + &its_key)));
    simulated(|ground| async move {
        let text = format!("ssl:0:interface=127.0.0.1:privateKey={key}:certKey={chain}:clientCA={ca}");
        let (at_server, make) = once(Probe::echo());
        let port =
            listen_with(&ground.reactor, &text.parse().unwrap(), Rc::new(make), ServerOptions::default());
        let port = port.unwrap();
        assert!(port.endpoint().to_string().starts_with("ssl:"), "{}", port.endpoint());
        let Address::Inet(address) = *port.address() else { unreachable!() };
        let text = format!("tls:localhost:{}:trustRoots={ca}:certificate={mine}", address.port());
        let (at_client, make) = once(Probe::new());
        let transport = ropewalk_net::connect(&ground.reactor, &text.parse().unwrap(), make).await.unwrap();
        transport.write(b"hello");
        ground.until("an answer", || at_client.len() == 5).await;
        assert_eq!(at_server.transport().tls().unwrap().peer_certificates.len(), 1);
        assert_eq!(port.tls().unwrap().statistics().handshakes, 1);
        let missing = "ssl:0:privateKey=/nowhere/key.pem".parse().unwrap();
        let error = listen_with(&ground.reactor, &missing, Rc::new(Probe::new), ServerOptions::default());
        let error = error.map(drop).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/key.pem: "), "{error}");
        let missing = format!("tls:localhost:{}:trustRoots=/nowhere", address.port()).parse().unwrap();
        let failure = ropewalk_net::connect(&ground.reactor, &missing, Probe::new).await.map(drop);
        assert!(failure.unwrap_err().to_string().contains("/nowhere"));
    });
    std::fs::remove_dir_all(&folder).unwrap();
}
