//! TLS against a peer that is in the test's hand: rustls on the bare simulated wire, which can stop, cut, disturb and come back.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod authority;

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use authority::Authority;
use ropewalk_net::tls::{TlsInfo, TlsServer, TlsServerOptions};
use ropewalk_net::{Address, Lost, Port, Protocol, ServerOptions, Transport, listen, listen_with};
use ropewalk_reactor::{Peer, Simulation};
use rustls::client::{Resumption, Tls12Resumption};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

const MS: Duration = Duration::from_millis(1);

/// What the server's protocols have seen.
#[derive(Default)]
struct Diary {
    made: Vec<TlsInfo>,
    data: Vec<u8>,
    ended: u32,
    lost: Vec<Lost>,
}

struct Echo(Rc<RefCell<Diary>>);

impl Protocol for Echo {
    fn connection_made(&mut self, transport: &Transport) {
        self.0.borrow_mut().made.push(transport.tls().expect("the handshake is done"));
    }
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.0.borrow_mut().data.extend_from_slice(data);
        transport.write(data);
    }
    fn read_ended(&mut self, transport: &Transport) {
        self.0.borrow_mut().ended += 1;
        transport.lose_connection();
    }
    fn connection_lost(&mut self, _: &Transport, lost: &Lost) {
        self.0.borrow_mut().lost.push(lost.clone());
    }
}

struct Ground {
    simulation: Simulation,
    tls: TlsServer,
    port: Port,
    diary: Rc<RefCell<Diary>>,
    roots: RootCertStore,
}

impl Ground {
    fn new(change: impl FnOnce(&mut TlsServerOptions)) -> Ground {
        let authority = Authority::new();
        let mut options = authority.server_options();
        change(&mut options);
        let tls = TlsServer::new(options).unwrap();
        let simulation = Simulation::new(1);
        let diary = Rc::<RefCell<Diary>>::default();
        let told = Rc::clone(&diary);
        let factory = tls.wrap(move || Echo(Rc::clone(&told)));
        let endpoint = "tcp:0:interface=127.0.0.1".parse().unwrap();
        let port = listen(simulation.reactor(), &endpoint, factory).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        Ground { simulation, tls, port, diary, roots }
    }

    fn peer(&self) -> Peer {
        let Address::Inet(address) = *self.port.address() else { unreachable!() };
        let peer = self.simulation.network().connect(address);
        self.simulation.advance(10 * MS);
        peer
    }

    fn config(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth()
    }

    fn client(&self, config: &Arc<ClientConfig>) -> Client<'_> {
        let session = ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap()).unwrap();
        Client { ground: self, peer: self.peer(), session, failed: None }
    }

    /// A client whose handshake is done.
    fn connected(&self) -> Client<'_> {
        let mut client = self.client(&Arc::new(self.config(&rustls::version::TLS13)));
        client.settle();
        assert!(!client.session.is_handshaking());
        client
    }

    /// Why the only connection is gone.
    fn lost(&self) -> Lost {
        let diary = self.diary.borrow();
        assert_eq!(diary.lost.len(), 1, "{:?}", diary.lost);
        diary.lost[0].clone()
    }
}

/// rustls at the end of a simulated wire.
struct Client<'a> {
    ground: &'a Ground,
    peer: Peer,
    session: ClientConnection,
    failed: Option<rustls::Error>,
}

impl Client<'_> {
    /// The bytes that it wants to send.
    fn outgoing(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// Takes what has come.
    fn hear(&mut self) {
        let bytes = self.peer.take();
        let mut rest = &bytes[..];
        while !rest.is_empty() && self.failed.is_none() {
            self.session.read_tls(&mut rest).unwrap();
            self.failed = self.session.process_new_packets().err();
        }
    }

    /// Goes back and forth until nothing happens any more.
    fn settle(&mut self) {
        for _ in 0..6 {
            let bytes = self.outgoing();
            assert_eq!(self.peer.write(&bytes), bytes.len());
            self.ground.simulation.advance(10 * MS);
            self.hear();
        }
    }

    fn say(&mut self, text: &[u8]) -> Vec<u8> {
        self.session.writer().write_all(text).unwrap();
        self.outgoing()
    }

    fn heard(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.session.reader().read_to_end(&mut bytes) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        bytes
    }
}

fn broken(lost: &Lost) -> (ErrorKind, String) {
    let Lost::Broken(error) = lost else { panic!("{lost:?}") };
    (error.kind(), error.to_string())
}

// Handshakes that come to nothing.

#[test]
fn a_handshake_that_stops_half_way_is_timed_out_and_counted() {
    let ground = Ground::new(|_| {});
    let config = Arc::new(ground.config(&rustls::version::TLS13));
    let mut peers = Vec::new();
    let hello = ground.client(&config).outgoing();
    for cut in [0, 1, 5, hello.len() / 2, hello.len() - 1, hello.len()] {
        let peer = ground.peer();
        peer.write(&hello[..cut]);
        peers.push(peer);
    }
    ground.simulation.advance(Duration::from_millis(9_800));
    assert_eq!(ground.tls.statistics().failed, 1, "the one that only lent its hello has gone");
    assert!(peers.iter().all(|peer| !peer.is_ended()));
    ground.simulation.advance(Duration::from_millis(400));
    for peer in &peers {
        peer.take();
        assert!(peer.is_ended());
    }
    let statistics = ground.tls.statistics();
    assert_eq!((statistics.handshakes, statistics.timed_out, statistics.failed), (0, 6, 7));
    assert!(ground.diary.borrow().made.is_empty(), "no protocol was made for them");
    assert_eq!(ground.port.statistics().connections, 0);
}

#[test]
fn a_handshake_in_single_bytes_is_a_handshake() {
    let ground = Ground::new(|_| {});
    let mut client = ground.client(&Arc::new(ground.config(&rustls::version::TLS13)));
    for _ in 0..3 {
        for byte in client.outgoing() {
            client.peer.write(&[byte]);
            ground.simulation.advance(MS);
        }
        client.hear();
    }
    let said = client.say(b"slowly");
    client.peer.write(&said);
    client.settle();
    assert_eq!(client.heard(), b"slowly");
}

#[test]
fn what_is_no_tls_is_told_so_and_closed() {
    let ground = Ground::new(|_| {});
    let peer = ground.peer();
    peer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ground.simulation.advance(10 * MS);
    let heard = peer.take();
    // A fatal alert, in the clear: RFC 8446 section 6.
    assert_eq!((heard[0], heard[5]), (21, 2), "{heard:?}");
    assert!(peer.is_ended());
    assert_eq!(ground.tls.statistics().failed, 1);
}

#[test]
fn a_client_that_accepts_no_certificate_is_counted() {
    let ground = Ground::new(|_| {});
    let mut config = ground.config(&rustls::version::TLS13);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates({
            drop(config);
            let mut store = RootCertStore::empty();
            store.add(CertificateDer::from_pem_slice(Authority::new().pem().as_bytes()).unwrap()).unwrap();
            store
        })
        .with_no_client_auth();
    let mut client = ground.client(&Arc::new(config));
    client.settle();
    assert!(client.failed.is_some());
    assert_eq!(ground.tls.statistics().failed, 1);
    assert!(ground.diary.borrow().made.is_empty());
}

/// `proxy:ssl:…`: the header of the proxy comes in the clear, ahead of the handshake, and is in no way cut off from it.
#[test]
fn a_proxys_header_comes_ahead_of_the_handshake() {
    let ground = Ground::new(|_| {});
    let who = Rc::new(RefCell::new(Vec::new()));
    struct Asked(Rc<RefCell<Diary>>, Rc<RefCell<Vec<String>>>);
    impl ropewalk_net::Factory for Asked {
        fn build_protocol(&self, peer: &Address) -> Option<Box<dyn Protocol>> {
            self.1.borrow_mut().push(peer.to_string());
            Some(Box::new(Echo(Rc::clone(&self.0))))
        }
    }
    let options = ServerOptions { tls: Some(ground.tls.clone()), ..ServerOptions::default() };
    let endpoint = "proxy:ssl:0:interface=127.0.0.1:privateKey=unread.pem".parse().unwrap();
    let factory = Rc::new(Asked(Rc::clone(&ground.diary), Rc::clone(&who)));
    let port = listen_with(ground.simulation.reactor(), &endpoint, factory, options).unwrap();
    assert!(port.endpoint().to_string().starts_with("proxy:"), "{}", port.endpoint());
    assert!(port.endpoint().to_string().contains("ssl:"), "{}", port.endpoint());
    let header = b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 443\r\n";
    let Address::Inet(address) = *port.address() else { unreachable!() };
    for cut in 0..header.len() + 20 {
        let mut client = ground.client(&Arc::new(ground.config(&rustls::version::TLS13)));
        client.peer = ground.simulation.network().connect(address);
        ground.simulation.advance(10 * MS);
        let bytes = [&header[..], &client.outgoing()].concat();
        client.peer.write(&bytes[..cut]);
        ground.simulation.advance(10 * MS);
        client.peer.write(&bytes[cut..]);
        client.settle();
        let said = client.say(b"hello");
        client.peer.write(&said);
        client.settle();
        assert_eq!(client.heard(), b"hello", "cut at {cut}");
        assert_eq!(who.borrow_mut().pop().unwrap(), "192.0.2.7:4711");
    }
}

// Ends that are none.

#[test]
fn a_record_that_is_cut_off_is_never_taken_for_the_end() {
    let whole = Ground::new(|_| {}).connected().say(b"the last words").len();
    for cut in 0..whole {
        let ground = Ground::new(|_| {});
        let mut client = ground.connected();
        let first = client.say(b"some words");
        let second = client.say(b"the last words");
        client.peer.write(&first);
        client.peer.write(&second[..cut]);
        client.peer.shutdown_write();
        ground.simulation.advance(10 * MS);
        assert_eq!(ground.diary.borrow().data, b"some words");
        let (kind, text) = broken(&ground.lost());
        assert_eq!(kind, ErrorKind::UnexpectedEof, "cut at {cut}: {text}");
        assert_eq!(ground.diary.borrow().ended, 0);
        assert_eq!(ground.tls.statistics().truncated, 1);
    }
}

#[test]
fn nor_where_no_farewell_is_required() {
    let whole = Ground::new(|_| {}).connected().say(b"the last words").len();
    for cut in 1..whole {
        let ground = Ground::new(|options| options.truncation_allowed = true);
        let mut client = ground.connected();
        let words = client.say(b"the last words");
        client.peer.write(&words[..cut]);
        client.peer.shutdown_write();
        ground.simulation.advance(10 * MS);
        let (kind, text) = broken(&ground.lost());
        assert_eq!(kind, ErrorKind::UnexpectedEof, "cut at {cut}: {text}");
        assert_eq!(ground.diary.borrow().ended, 0);
    }
}

#[test]
fn a_protocol_that_knows_its_own_end_needs_no_farewell() {
    let ground = Ground::new(|options| options.truncation_allowed = true);
    let mut client = ground.connected();
    let words = client.say(b"Content-Length: 0");
    client.peer.write(&words);
    client.peer.shutdown_write();
    ground.simulation.advance(10 * MS);
    assert_eq!(ground.diary.borrow().ended, 1);
    assert!(matches!(ground.lost(), Lost::Ended), "{:?}", ground.lost());
    client.hear();
    assert_eq!(client.heard(), b"Content-Length: 0");
    assert_eq!(ground.tls.statistics().truncated, 0);
}

#[test]
fn a_farewell_is_answered_with_one() {
    let ground = Ground::new(|_| {});
    let mut client = ground.connected();
    client.session.writer().write_all(b"bye").unwrap();
    client.session.send_close_notify();
    let bytes = client.outgoing();
    client.peer.write(&bytes);
    ground.simulation.advance(10 * MS);
    client.hear();
    assert_eq!(client.heard(), b"bye", "and then the end, in good order");
    assert!(client.session.process_new_packets().unwrap().peer_has_closed());
    assert_eq!(ground.diary.borrow().ended, 1);
    assert!(client.peer.is_ended());
}

#[test]
fn a_disturbed_record_behind_data_breaks_the_connection_and_the_data_stays() {
    let ground = Ground::new(|_| {});
    let mut client = ground.connected();
    let good = client.say(b"good");
    let mut bad = client.say(b"bad");
    *bad.last_mut().unwrap() ^= 1;
    // In one piece: what is good in it still counts.
    client.peer.write(&[good, bad].concat());
    ground.simulation.advance(10 * MS);
    assert_eq!(ground.diary.borrow().data, b"good");
    let (kind, text) = broken(&ground.lost());
    assert_eq!(kind, ErrorKind::InvalidData);
    assert!(text.contains("decrypt"), "{text}");
    client.hear();
    assert!(matches!(client.failed, Some(rustls::Error::AlertReceived(_))), "{:?}", client.failed);
}

// Coming back.

#[test]
fn sessions_are_resumed_in_both_versions_and_in_every_way() {
    let ways = [
        (&rustls::version::TLS13, Tls12Resumption::Disabled, "1.3 by ticket"),
        (&rustls::version::TLS12, Tls12Resumption::SessionIdOrTickets, "1.2 by ticket"),
        (&rustls::version::TLS12, Tls12Resumption::SessionIdOnly, "1.2 by session id"),
    ];
    for (version, way, what) in ways {
        let ground = Ground::new(|_| {});
        let mut config = ground.config(version);
        config.resumption = Resumption::in_memory_sessions(8).tls12_resumption(way);
        let config = Arc::new(config);
        for resumed in [false, true, true] {
            let mut client = ground.client(&config);
            client.settle();
            let said = client.say(b"again");
            client.peer.write(&said);
            client.settle();
            assert_eq!(client.heard(), b"again");
            let info = ground.diary.borrow_mut().made.pop().unwrap();
            assert_eq!((info.resumed, info.sni.as_deref()), (resumed, Some("localhost")), "{what}");
            // Renewed or not: who was here before is known.
            ground.tls.reload().unwrap();
        }
        assert_eq!(ground.tls.statistics().resumed, 2, "{what}");
    }
}

/// A peer that asks for new keys again and again.
#[test]
fn keys_are_renewed_in_the_middle() {
    let ground = Ground::new(|_| {});
    let mut client = ground.connected();
    for round in 0..5 {
        client.session.refresh_traffic_keys().unwrap();
        let said = client.say(&[b'a' + round; 3]);
        client.peer.write(&said);
        client.settle();
        assert_eq!(client.heard(), [b'a' + round; 3]);
    }
}

/// A slow reader: what the socket does not take is bounded by the transport, and comes whole in the end.
#[test]
fn a_small_window_delays_and_loses_nothing() {
    let ground = Ground::new(|_| {});
    ground.simulation.network().set_conditions(|conditions| {
        (conditions.window_bytes, conditions.segment_bytes_max) = (700, 300);
    });
    let mut client = ground.client(&Arc::new(ground.config(&rustls::version::TLS13)));
    let sent: Vec<u8> = (0..50_000_u32).map(|n| (n % 251) as u8).collect();
    let (mut waiting, mut written, mut heard) = (Vec::new(), 0, Vec::new());
    for _ in 0..3000 {
        waiting.extend(client.outgoing());
        let taken = client.peer.write(&waiting);
        waiting.drain(..taken);
        ground.simulation.advance(MS);
        client.hear();
        heard.extend(client.heard());
        if written < sent.len() && waiting.len() < 2000 && !client.session.is_handshaking() {
            let piece = &sent[written..(written + 1000).min(sent.len())];
            client.session.writer().write_all(piece).unwrap();
            written += piece.len();
        }
    }
    assert!(heard == sent, "{} of {}", heard.len(), sent.len());
}
