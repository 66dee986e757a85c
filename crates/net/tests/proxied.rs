//! The PROXY protocol in front of a protocol: clients' addresses, cuts, slow and hostile peers, limits, and that every end is
//! counted. On the simulated network, and once each on the system's sockets.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod common;

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use common::Ground;
use ropewalk_net::proxy_protocol::{Addresses, BLOCK_BYTES_MAX, Kind, Tlv, Versions, encode, encode_line};
use ropewalk_net::{
    Address, Admission, ConnectionLimits, Factory, Lost, Port, Protocol, ProxyClient, ProxyOptions,
    ProxyProtocol, ProxyStatistics, ServerOptions, Strangers, Transport, connect, listen_with,
};
use ropewalk_reactor::{Deferred, Firing, Peer, Simulation};

const A_MOMENT: Duration = Duration::from_millis(50);
const LINE: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 80\r\n";

type Heard = Rc<RefCell<Vec<String>>>;

/// Tells what it hears, who it is for, and echoes.
#[derive(Clone, Default)]
struct Teller {
    heard: Heard,
}

impl Teller {
    fn hears(&self, what: String) {
        self.heard.borrow_mut().push(what);
    }
}

impl Protocol for Teller {
    fn connection_made(&mut self, transport: &Transport) {
        self.hears(format!("made {}", transport.peer()));
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.hears(String::from_utf8_lossy(data).into_owned());
        transport.write(data);
    }

    fn read_ended(&mut self, transport: &Transport) {
        self.hears("ended".to_owned());
        transport.lose_connection();
    }

    fn connection_lost(&mut self, _transport: &Transport, lost: &Lost) {
        self.hears(format!("lost: {lost}"));
    }
}

impl Factory for Teller {
    fn build_protocol(&self, peer: &Address) -> Option<Box<dyn Protocol>> {
        self.hears(format!("build {peer}"));
        (peer.ip() != "192.0.2.66".parse().ok()).then(|| Box::new(self.clone()) as _)
    }

    fn overflow(&self) -> &[u8] {
        b"too many"
    }
}

/// A simulated server behind proxies.
struct Stage {
    simulation: Simulation,
    port: Port,
    address: SocketAddr,
    heard: Heard,
}

impl Stage {
    fn new(endpoint: &str) -> Stage {
        Stage::limited(1, endpoint, ConnectionLimits::default())
    }

    fn limited(seed: u64, endpoint: &str, limits: ConnectionLimits) -> Stage {
        let simulation = Simulation::new(seed);
        let teller = Teller::default();
        let heard = Rc::clone(&teller.heard);
        let options = ServerOptions { admission: Admission::new(limits), ..ServerOptions::default() };
        let endpoint = endpoint.parse().unwrap();
        let port = listen_with(simulation.reactor(), &endpoint, Rc::new(teller), options).unwrap();
        let Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
        Stage { simulation, port, address, heard }
    }

    fn connect(&self) -> Peer {
        self.connect_from("127.0.0.1")
    }

    fn connect_from(&self, from: &str) -> Peer {
        let from: IpAddr = from.parse().unwrap();
        let peer = self.simulation.network().connect_from(from, self.address);
        self.pass();
        peer
    }

    fn pass(&self) {
        self.simulation.advance(A_MOMENT);
    }

    /// A connection whose bytes have come.
    fn send(&self, bytes: &[u8]) -> Peer {
        let peer = self.connect();
        peer.write(bytes);
        self.pass();
        peer
    }

    fn heard(&self) -> Vec<String> {
        self.heard.borrow().clone()
    }

    fn counts(&self) -> ProxyStatistics {
        self.port.proxy_statistics().unwrap()
    }
}

fn inet(source: &str, destination: &str) -> Addresses {
    let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
    Addresses::Inet { kind: Kind::Stream, source, destination }
}

fn block(addresses: &Addresses, tlvs: &[Tlv<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out, addresses, tlvs, true).unwrap();
    out
}

#[test]
fn the_client_is_the_peer_and_its_bytes_follow() {
    let stage = Stage::new("proxy:tcp:0:interface=127.0.0.1");
    // Header and request in one segment.
    let peer = stage.send(&[LINE, b"hello"].concat());
    assert_eq!(stage.heard(), ["build 192.0.2.1:4711", "made 192.0.2.1:4711", "hello"]);
    assert_eq!(peer.take(), b"hello");
    // What comes later comes too, and what looks like a header is only bytes.
    peer.write(LINE);
    stage.pass();
    assert_eq!(peer.take(), LINE);
    drop(peer);
    stage.pass();
    assert_eq!(stage.counts().clients, 1);
    assert_eq!(stage.port.statistics().connections, 0);
}

#[test]
fn version_2_and_what_the_proxy_says() {
    type Told = Rc<RefCell<Vec<String>>>;
    struct Asks(Told);
    impl Protocol for Asks {
        fn connection_made(&mut self, transport: &Transport) {
            let proxied = transport.proxied().unwrap();
            let header = proxied.header();
            let proxy = proxied.proxy().ip().unwrap();
            let told = [
                format!("{} by {proxy}", transport.peer()),
                format!("to {}", header.destination().unwrap()),
                header.authority().unwrap().to_owned(),
            ];
            self.0.borrow_mut().extend(told);
        }
        fn data_received(&mut self, _: &Transport, _: &[u8]) {}
    }
    let simulation = Simulation::new(1);
    let told = Told::default();
    let asks = Rc::clone(&told);
    let factory = ProxyProtocol::new(move || Asks(Rc::clone(&asks)), "10.0.0.0/8".parse().unwrap());
    let endpoint = "tcp:0".parse().unwrap();
    let port =
        listen_with(simulation.reactor(), &endpoint, Rc::new(factory), ServerOptions::default()).unwrap();
    assert!(port.proxy_statistics().is_none(), "who wraps by hand asks what was wrapped");
    let Address::Inet(address) = *port.address() else { unreachable!() };
    let peer = simulation.network().connect_from("10.1.2.3".parse().unwrap(), address);
    simulation.advance(A_MOMENT);
    peer.write(&block(&inet("[2001:db8::1]:1", "[2001:db8::2]:443"), &[Tlv::Authority(b"example.org")]));
    simulation.advance(A_MOMENT);
    assert_eq!(*told.borrow(), ["[2001:db8::1]:1 by 10.1.2.3", "to [2001:db8::2]:443", "example.org"]);
}

#[test]
fn cuts_make_no_difference() {
    let request = b"GET / HTTP/1.1\r\n\r\n";
    let heads = [LINE.to_vec(), block(&inet("192.0.2.1:4711", "198.51.100.1:80"), &[Tlv::UniqueId(b"7")])];
    for (seed, head) in heads.iter().cycle().take(100).enumerate() {
        let stage =
            Stage::limited(seed as u64, "proxy:tcp:0:interface=127.0.0.1", ConnectionLimits::default());
        let bytes = [head, &request[..]].concat();
        let peer = stage.connect();
        // In two pieces at every place in turn, with time in between; the network cuts them again.
        let cut = seed * bytes.len() / 100;
        peer.write(&bytes[..cut]);
        stage.pass();
        assert_eq!(stage.counts().clients, u64::from(cut >= head.len()), "seed {seed}");
        peer.write(&bytes[cut..]);
        stage.pass();
        let heard = stage.heard();
        assert_eq!(heard[..2], ["build 192.0.2.1:4711", "made 192.0.2.1:4711"], "seed {seed}");
        assert_eq!(heard[2..].concat().as_bytes(), request, "seed {seed}");
        assert_eq!(peer.take(), request, "seed {seed}");
    }
}

#[test]
fn bytewise_with_half_a_request_behind() {
    let stage = Stage::new("proxy:tcp:0:interface=127.0.0.1");
    let peer = stage.connect();
    for byte in [LINE, b"GET / HT"].concat() {
        peer.write(&[byte]);
        stage.pass();
    }
    assert_eq!(stage.heard()[2..].concat(), "GET / HT");
    peer.write(b"TP/1.1");
    stage.pass();
    assert_eq!(peer.text(), "GET / HTTP/1.1");
}

#[test]
fn without_a_client_the_real_peer_stays() {
    let stage = Stage::new("proxy:tcp:0:interface=127.0.0.1");
    let mut kept = Vec::new();
    for head in
        [b"PROXY UNKNOWN\r\n".to_vec(), block(&Addresses::Local, &[]), block(&Addresses::Unknown, &[])]
    {
        let peer = stage.send(&[&head[..], b"x"].concat());
        let real = peer.local_address();
        assert_eq!(stage.heard.take(), [format!("build {real}"), format!("made {real}"), "x".to_owned()]);
        kept.push(peer);
    }
    assert_eq!((stage.counts().nameless, stage.counts().clients), (3, 0));
    // A name instead of an address is the peer's, too.
    let named =
        Addresses::Unix { kind: Kind::Stream, source: b"/run/c"[..].into(), destination: b""[..].into() };
    kept.push(stage.send(&block(&named, &[])));
    assert_eq!(stage.heard(), ["build unix:/run/c", "made unix:/run/c"]);
}

#[test]
fn a_stranger_is_refused_whatever_it_says() {
    let stage = Stage::new("proxy:trusted=10.0.0.0/8:tcp:0:interface=127.0.0.1");
    let peer = stage.connect_from("192.0.2.9");
    peer.write(LINE);
    stage.pass();
    assert!(peer.is_ended() || peer.is_reset());
    assert!(stage.heard().is_empty() && peer.take().is_empty());
    assert_eq!(stage.counts().strangers, 1);
    assert_eq!(stage.port.statistics().connections, 0);
    // The proxy is served all the same.
    let peer = stage.connect_from("10.9.9.9");
    peer.write(LINE);
    stage.pass();
    assert_eq!(stage.heard().len(), 2);
}

#[test]
fn a_stranger_that_is_passed_is_nobody_but_itself() {
    let stage = Stage::new("proxy:trusted=10.0.0.0/8:strangers=pass:tcp:0:interface=127.0.0.1");
    let peer = stage.connect_from("192.0.2.9");
    let real = peer.local_address();
    peer.write(LINE);
    stage.pass();
    // The forged header is only bytes, from the address that it came from.
    assert_eq!(
        stage.heard(),
        [format!("build {real}"), format!("made {real}"), String::from_utf8_lossy(LINE).into_owned()]
    );
    assert_eq!(stage.counts(), ProxyStatistics::default());
}

#[test]
fn what_is_no_header_ends_the_connection() {
    let mut endless = block(&inet("192.0.2.1:1", "192.0.2.2:2"), &[]);
    endless[14..16].copy_from_slice(&[0xFF, 0xFF]);
    let mut beyond = endless.clone();
    beyond[14..16].copy_from_slice(&u16::try_from(BLOCK_BYTES_MAX + 1).unwrap().to_be_bytes());
    let mut changed = block(&inet("192.0.2.1:1", "192.0.2.2:2"), &[]);
    changed[20] ^= 1;
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 4294967296\r\n".to_vec(),
        [b"PROXY UNKNOWN ", &[b'x'; 100_000][..]].concat(),
        endless,
        beyond,
        changed,
    ] {
        let stage = Stage::new("proxy:tcp:0:interface=127.0.0.1");
        let peer = stage.send(&bytes);
        assert!(peer.is_reset(), "{}", bytes[..20].escape_ascii());
        assert!(stage.heard().is_empty(), "nobody hears of it");
        let counts = stage.counts();
        assert_eq!((counts.malformed, counts.ended), (1, 0), "each is counted once");
        assert_eq!(stage.port.statistics().connections, 0);
    }
}

#[test]
fn one_form_only_if_asked_for() {
    let stage = Stage::new("proxy:version=2:tcp:0:interface=127.0.0.1");
    assert!(stage.send(LINE).is_reset());
    stage.send(&block(&Addresses::Local, &[]));
    assert_eq!((stage.counts().malformed, stage.counts().nameless), (1, 1));
}

#[test]
fn who_sends_nothing_or_too_slowly_is_timed_out() {
    let stage = Stage::new("proxy:tcp:0:interface=127.0.0.1");
    let silent = stage.connect();
    let slow = stage.connect();
    for byte in LINE.iter().take(9) {
        slow.write(&[*byte]);
        stage.simulation.advance(Duration::from_millis(500));
        assert!(!slow.is_reset());
    }
    // The deadline is one for the whole header: bytes in between put nothing off.
    stage.simulation.advance(Duration::from_millis(700));
    assert!(silent.is_reset() && slow.is_reset());
    assert!(stage.heard().is_empty());
    assert_eq!((stage.counts().timed_out, stage.counts().ended), (2, 0));
    // Behind the header the deadline is gone.
    let peer = stage.send(LINE);
    stage.simulation.advance(Duration::from_secs(3600));
    assert!(!peer.is_reset() && !peer.is_ended());
}

#[test]
fn the_deadline_can_be_chosen() {
    let stage = Stage::new("proxy:timeout=1.5:tcp:0:interface=127.0.0.1");
    let peer = stage.connect();
    stage.simulation.advance(Duration::from_millis(1200));
    assert!(!peer.is_reset());
    stage.simulation.advance(Duration::from_millis(500));
    assert!(peer.is_reset());
}

#[test]
fn an_end_before_the_header_is_counted_and_one_behind_it_is_told() {
    let stage = Stage::new("proxy:tcp:0:interface=127.0.0.1");
    // A health check that only connects, one that goes away in the middle, and one that breaks off.
    drop(stage.connect());
    let half = stage.send(&LINE[..20]);
    half.shutdown_write();
    stage.pass();
    assert!(half.is_ended());
    stage.send(b"PRO").reset();
    stage.pass();
    assert_eq!(stage.counts().ended, 3);
    assert!(stage.heard().is_empty());
    // Header, request and end at once.
    let peer = stage.connect();
    peer.write(&[LINE, b"bye"].concat());
    peer.shutdown_write();
    stage.pass();
    assert_eq!(stage.heard()[2..4], ["bye", "ended"]);
    assert_eq!(peer.text(), "bye");
    assert_eq!(stage.counts().ended, 3);
}

#[test]
fn a_factory_may_refuse_the_client() {
    let stage = Stage::new("proxy:tcp:0:interface=127.0.0.1");
    let peer = stage.send(b"PROXY TCP4 192.0.2.66 198.51.100.1 1 80\r\nhello");
    assert!(peer.is_ended() || peer.is_reset());
    assert_eq!(stage.heard(), ["build 192.0.2.66:1"]);
    assert_eq!(stage.port.statistics().connections, 0);
}

fn line_of(client: &str) -> Vec<u8> {
    let mut line = Vec::new();
    encode_line(&mut line, &inet(client, "198.51.100.1:80"));
    line
}

#[test]
fn the_limit_per_peer_counts_clients_and_not_the_proxy() {
    let limits = ConnectionLimits { total_max: Some(6), per_peer_max: Some(2) };
    let stage = Stage::limited(1, "proxy:tcp:0:interface=127.0.0.1", limits);
    // Three that wait are no peer's yet.
    let waiting: Vec<_> = (0..3).map(|_| stage.connect()).collect();
    assert_eq!(stage.port.statistics().connections, 3);
    let first = stage.send(&line_of("192.0.2.1:1"));
    let other = stage.send(&line_of("192.0.2.2:1"));
    for peer in &waiting[..2] {
        peer.write(&line_of("192.0.2.1:2"));
        stage.pass();
    }
    // The second of the same client is in, the third is told.
    assert!(!waiting[0].is_ended());
    assert_eq!(waiting[1].text(), "too many");
    assert!(waiting[1].is_ended());
    stage.simulation.advance(Duration::from_secs(3));
    assert_eq!((stage.counts().over_limit, stage.port.statistics().refused), (1, 1));
    assert_eq!(stage.counts().ended, 0, "each is counted once");
    // A place that is given back is the client's.
    drop(first);
    stage.pass();
    waiting[2].write(&line_of("192.0.2.1:3"));
    stage.pass();
    assert!(!waiting[2].is_ended());
    // Connections without a client are the proxy's, which has no limit but the total.
    drop(waiting);
    stage.simulation.advance(Duration::from_secs(5));
    let local: Vec<_> = (0..5).map(|_| stage.send(&block(&Addresses::Local, &[]))).collect();
    assert!(local.iter().all(|peer| !peer.is_ended()));
    assert_eq!(stage.port.statistics().connections, 6);
    assert_eq!(stage.connect().text(), "too many");
    drop(local);
    stage.pass();
    assert!(!other.is_ended());
    assert_eq!(stage.port.statistics().connections, 1);
}

#[test]
fn a_wrapper_that_counts_the_proxy_leaves_no_count_behind() {
    struct Counting(ProxyProtocol);
    impl Factory for Counting {
        fn build_protocol(&self, peer: &Address) -> Option<Box<dyn Protocol>> {
            self.0.build_protocol(peer)
        }
    }
    let simulation = Simulation::new(1);
    let limits = ConnectionLimits { total_max: None, per_peer_max: Some(1) };
    let options = ServerOptions { admission: Admission::new(limits), ..ServerOptions::default() };
    let factory = Rc::new(Counting(ProxyProtocol::new(Teller::default(), "127.0.0.1".parse().unwrap())));
    let endpoint = "tcp:0:interface=127.0.0.1".parse().unwrap();
    let port = listen_with(simulation.reactor(), &endpoint, Rc::clone(&factory) as _, options).unwrap();
    let Address::Inet(address) = *port.address() else { unreachable!() };
    let named = Addresses::Unix { kind: Kind::Stream, source: b"/c"[..].into(), destination: b""[..].into() };
    let kept: Vec<_> =
        [line_of("192.0.2.1:1"), line_of("192.0.2.2:1"), block(&named, &[]), block(&named, &[])]
            .into_iter()
            .map(|head| {
                let peer = simulation.network().connect_from("127.0.0.1".parse().unwrap(), address);
                simulation.advance(A_MOMENT);
                peer.write(&head);
                simulation.advance(A_MOMENT);
                peer
            })
            .collect();
    assert!(kept.iter().all(|peer| !peer.is_ended()), "each made room for the next");
    assert_eq!(factory.0.statistics().clients, 4);
    drop(kept);
    simulation.advance(A_MOMENT);
    assert_eq!(port.statistics().connections, 0);
    // A LOCAL one stays the proxy's, whose one place it takes.
    let dial = || simulation.network().connect_from("127.0.0.1".parse().unwrap(), address);
    let local = dial();
    simulation.advance(A_MOMENT);
    local.write(&block(&Addresses::Local, &[]));
    simulation.advance(A_MOMENT);
    let second = dial();
    simulation.advance(A_MOMENT);
    assert!(!local.is_ended() && second.is_ended());
}

#[test]
fn the_place_is_printed_as_it_is_typed() {
    let stage = Stage::new("haproxy:version=1:trusted=10.0.0.0/8:tcp:0:interface=127.0.0.1");
    let text = format!("proxy:trusted=10.0.0.0/8:version=1:tcp:{}:interface=127.0.0.1", stage.address.port());
    assert_eq!(stage.port.endpoint().to_string(), text);
}

#[test]
fn a_stop_ends_who_waits() {
    let stage = Stage::new("proxy:tcp:0:interface=127.0.0.1");
    let peer = stage.connect();
    stage.simulation.reactor().announce_stop();
    stage.pass();
    assert!(peer.is_ended());
    assert_eq!(stage.counts().ended, 1);
}

/// A client of ours that says for whom it speaks, on every ground: simulated, TCP, and a UNIX socket, whose peers are trusted.
#[test]
fn our_own_client_says_for_whom_it_speaks() {
    common::everywhere(|ground: Ground| async move {
        let teller = Teller::default();
        let heard = Rc::clone(&teller.heard);
        let options =
            ProxyOptions { strangers: Strangers::Refuse, versions: Versions::Any, ..ProxyOptions::default() };
        let factory = ProxyProtocol::with_options(Rc::new(teller), options);
        let port = ground.listen(ropewalk_net::TransportOptions::default(), factory);
        for (index, header) in
            [LINE.to_vec(), block(&inet("192.0.2.2:1", "198.51.100.1:80"), &[])].into_iter().enumerate()
        {
            let (firing, answered) = Deferred::new(&ground.reactor);
            let firing = Rc::new(RefCell::new(Some(firing)));
            let transport = connect(&ground.reactor, &ground.client(&port), move || {
                ProxyClient::new(header.clone(), Answered(Rc::clone(&firing), Vec::new()))
            })
            .await
            .unwrap();
            transport.write(b"hello");
            assert_eq!(answered.await.unwrap(), b"hello");
            let client = ["192.0.2.1:4711", "192.0.2.2:1"][index];
            assert!(heard.borrow().contains(&format!("made {client}")), "{:?}", heard.borrow());
            transport.abort_connection();
        }
        port.stop_listening();
    });
}

type Answer = Rc<RefCell<Option<Firing<Vec<u8>>>>>;

/// Resolves with the first five bytes.
struct Answered(Answer, Vec<u8>);

impl Protocol for Answered {
    fn data_received(&mut self, _: &Transport, data: &[u8]) {
        self.1.extend_from_slice(data);
        if self.1.len() >= 5
            && let Some(firing) = self.0.borrow_mut().take()
        {
            let _ = firing.callback(std::mem::take(&mut self.1));
        }
    }
}
