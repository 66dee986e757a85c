//! UDP, in the simulation with its losses, and on real sockets.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::{DatagramOptions, DatagramProtocol, DatagramTransport, listen_udp};
use ropewalk_reactor::{Reactor, Simulation};

const MS: Duration = Duration::from_millis(1);

/// What happened, in words.
#[derive(Clone, Default)]
struct Diary(Rc<RefCell<Vec<String>>>);

impl Diary {
    fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

/// Writes down what it hears, answers in capitals, and does as it is told.
struct Parrot(Diary);

impl DatagramProtocol for Parrot {
    fn start_protocol(&mut self, _: &DatagramTransport) {
        self.0.0.borrow_mut().push("start".into());
    }

    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: SocketAddr) {
        let text = String::from_utf8_lossy(data).into_owned();
        self.0.0.borrow_mut().push(text.clone());
        match &*text {
            "stop" => transport.stop_listening(),
            "panic" => panic!("as told"),
            _ if text.chars().any(char::is_lowercase) => {
                transport.write_to(text.to_uppercase().as_bytes(), from).unwrap();
            }
            _ => {}
        }
    }

    fn connection_refused(&mut self, _: &DatagramTransport) {
        self.0.0.borrow_mut().push("refused".into());
    }

    fn stop_protocol(&mut self) {
        self.0.0.borrow_mut().push("over".into());
    }
}

fn parrot(reactor: &Reactor, address: &str, options: DatagramOptions) -> (DatagramTransport, Diary) {
    let diary = Diary::default();
    let transport = listen_udp(reactor, address.parse().unwrap(), Parrot(diary.clone()), options).unwrap();
    (transport, diary)
}

#[test]
fn datagrams_go_there_and_back() {
    let simulation = Simulation::new(1);
    let (server, heard) = parrot(simulation.reactor(), "127.0.0.1:0", DatagramOptions::default());
    let (client, answers) = parrot(simulation.reactor(), "0.0.0.0:0", DatagramOptions::default());
    client.write_to(b"polly", server.host()).unwrap();
    simulation.advance(10 * MS);
    assert_eq!(heard.take(), ["start", "polly"]);
    assert_eq!(answers.take(), ["start", "POLLY"]);
    assert_eq!((server.statistics().received, server.statistics().sent), (1, 1));
}

#[test]
fn a_connected_one_hears_its_peer_only_and_learns_that_nobody_is_there() {
    let simulation = Simulation::new(1);
    let (server, _) = parrot(simulation.reactor(), "127.0.0.1:0", DatagramOptions::default());
    let peer = Some(server.host());
    let (client, heard) =
        parrot(simulation.reactor(), "127.0.0.1:0", DatagramOptions { peer, ..DatagramOptions::default() });
    let (stranger, _) = parrot(simulation.reactor(), "127.0.0.1:0", DatagramOptions::default());
    client.write(b"hello").unwrap();
    stranger.write_to(b"psst", client.host()).unwrap();
    simulation.advance(10 * MS);
    assert_eq!(heard.take(), ["start", "HELLO"]);
    server.stop_listening();
    client.write(b"still there?").unwrap();
    simulation.advance(10 * MS);
    assert_eq!(heard.take(), ["refused"]);
    assert_eq!(stranger.write(b"to nobody").unwrap_err().kind(), io::ErrorKind::NotConnected);
}

#[test]
fn too_long_is_an_error_to_send_and_is_dropped_when_received() {
    let simulation = Simulation::new(1);
    let (server, heard) = parrot(simulation.reactor(), "127.0.0.1:0", DatagramOptions::default());
    let (client, _) = parrot(simulation.reactor(), "127.0.0.1:0", DatagramOptions::default());
    let error = client.write_to(&[b'x'; 65_508], server.host()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(90), "EMSGSIZE");
    client.write_to(&[b'X'; 8193], server.host()).unwrap();
    client.write_to(&[b'X'; 8192], server.host()).unwrap();
    simulation.advance(10 * MS);
    let lengths: Vec<usize> = heard.take().iter().map(String::len).collect();
    assert_eq!(lengths, ["start".len(), 8192]);
    assert_eq!((server.statistics().too_long, client.statistics().not_sent), (1, 1));
}

#[test]
fn stopping_and_panicking_end_it_and_nothing_else() {
    for word in ["stop", "panic"] {
        let simulation = Simulation::new(1);
        let (server, heard) = parrot(simulation.reactor(), "127.0.0.1:0", DatagramOptions::default());
        let (client, _) = parrot(simulation.reactor(), "127.0.0.1:0", DatagramOptions::default());
        client.write_to(word.as_bytes(), server.host()).unwrap();
        simulation.advance(10 * MS);
        client.write_to(b"after", server.host()).unwrap();
        simulation.advance(10 * MS);
        assert_eq!(heard.take(), ["start", word, "over"]);
        assert!(!server.is_listening() && client.is_listening());
        assert_eq!(server.write_to(b"x", client.host()).unwrap_err().kind(), io::ErrorKind::NotConnected);
        let (again, _) = parrot(simulation.reactor(), &server.host().to_string(), DatagramOptions::default());
        assert_eq!(again.host(), server.host(), "the port is free");
    }
}

#[test]
fn the_end_of_the_loop_is_the_end_of_it() {
    let simulation = Simulation::new(1);
    let (_server, heard) = parrot(simulation.reactor(), "127.0.0.1:0", DatagramOptions::default());
    simulation.stop();
    assert_eq!(heard.take(), ["start", "over"]);
}

#[test]
fn a_taken_port_is_an_error_and_a_shared_one_is_not() {
    let simulation = Simulation::new(1);
    let (first, _) = parrot(simulation.reactor(), "127.0.0.1:0", DatagramOptions::default());
    let bind = |shared| {
        let options = DatagramOptions { shared, ..DatagramOptions::default() };
        listen_udp(simulation.reactor(), first.host(), Parrot(Diary::default()), options)
    };
    assert_eq!(bind(false).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    assert!(bind(true).is_ok());
}

#[test]
fn a_group_is_heard_by_its_members() {
    let simulation = Simulation::new(1);
    let group = IpAddr::from([239, 1, 2, 3]);
    let options = DatagramOptions { shared: true, ..DatagramOptions::default() };
    let (first, heard_first) = parrot(simulation.reactor(), "0.0.0.0:5000", options.clone());
    let (second, heard_second) = parrot(simulation.reactor(), "0.0.0.0:5000", options.clone());
    first.join_group(group, Ipv4Addr::UNSPECIFIED).unwrap();
    second.join_group(group, Ipv4Addr::UNSPECIFIED).unwrap();
    assert!(first.join_group(group, Ipv4Addr::UNSPECIFIED).is_err(), "joined already");
    assert!(first.join_group([127, 0, 0, 1].into(), Ipv4Addr::UNSPECIFIED).is_err());
    first.set_loopback_mode(false).unwrap();
    first.write_to(b"ALL", SocketAddr::new(group, 5000)).unwrap();
    simulation.advance(10 * MS);
    assert_eq!((heard_first.take().len(), heard_second.take()), (1, vec!["start".into(), "ALL".into()]));
    second.leave_group(group, Ipv4Addr::UNSPECIFIED).unwrap();
    first.write_to(b"ALL", SocketAddr::new(group, 5000)).unwrap();
    simulation.advance(10 * MS);
    assert!(heard_second.take().is_empty());
}

#[test]
fn what_is_lost_is_lost_and_what_is_doubled_comes_twice() {
    let mut orders = BTreeSet::new();
    for seed in 0..100 {
        let simulation = Simulation::new(seed);
        simulation.network().set_conditions(|conditions| {
            (conditions.datagrams_lost, conditions.datagrams_doubled) = (300, 300);
        });
        let (server, heard) = parrot(simulation.reactor(), "127.0.0.1:0", DatagramOptions::default());
        let (client, _) = parrot(simulation.reactor(), "127.0.0.1:0", DatagramOptions::default());
        for number in 0..100 {
            client.write_to(number.to_string().as_bytes(), server.host()).unwrap();
        }
        simulation.advance(10 * MS);
        let heard: Vec<String> = heard.take().split_off(1);
        let kinds: BTreeSet<&String> = heard.iter().collect();
        assert!((40..95).contains(&kinds.len()), "seed {seed}: {} of 100 arrived", kinds.len());
        assert!(heard.len() > kinds.len(), "seed {seed}: none came twice");
        orders.insert(heard);
    }
    assert_eq!(orders.len(), 100, "each seed is a run of its own");
}

/// More than one turn's budget at once, and a loop that goes on beside.
#[test]
fn a_flood_does_not_hold_the_loop() {
    let simulation = Simulation::new(1);
    let (server, heard) = parrot(simulation.reactor(), "127.0.0.1:0", DatagramOptions::default());
    let (client, _) = parrot(simulation.reactor(), "127.0.0.1:0", DatagramOptions::default());
    for _ in 0..200 {
        client.write_to(b"X", server.host()).unwrap();
    }
    simulation.network().hold(5 * MS);
    simulation.advance(10 * MS);
    assert_eq!(heard.take().len(), 201);
}

#[test]
fn real_sockets_of_both_families() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let reactor = Reactor::new().unwrap();
        let (server, heard) = parrot(&reactor, address, DatagramOptions::default());
        let (to, own) = (server.host(), address.to_owned());
        let late = reactor.clone();
        reactor.call_later(Duration::from_secs(20), move || late.crash());
        let remote = reactor.remote();
        let client = std::thread::spawn(move || {
            let socket = UdpSocket::bind(own).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut buffer = [0; 100];
            socket.send_to(b"polly", to).unwrap();
            let (count, from) = socket.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..count], from), (b"POLLY".as_slice(), to));
            remote.call_from_thread(|reactor| reactor.stop()).unwrap();
        });
        reactor.run().unwrap();
        client.join().unwrap();
        assert_eq!(heard.take(), ["start", "polly", "over"]);
        assert!(server.write_to(&[0; 70_000], to).is_err());
    }
}

/// Multicast on the loopback interface, where the machine has it.
#[test]
fn a_real_group_over_loopback() {
    let reactor = Reactor::new().unwrap();
    let options = DatagramOptions { shared: true, ..DatagramOptions::default() };
    let (member, heard) = parrot(&reactor, "0.0.0.0:0", options);
    let group = IpAddr::from([239, 255, 77, 77]);
    member.join_group(group, Ipv4Addr::LOCALHOST).unwrap();
    member.set_outgoing_interface(Ipv4Addr::LOCALHOST).unwrap();
    member.set_ttl(0).unwrap();
    let to = SocketAddr::new(group, member.host().port());
    let (stopping, sent) = (reactor.clone(), member.clone());
    reactor.call_when_running(move || sent.write_to(b"STOP", to).unwrap());
    let looked = heard.clone();
    let ticks = ropewalk_reactor::LoopingCall::new(&reactor, move |_| {
        if looked.0.borrow().contains(&"STOP".to_owned()) {
            stopping.stop();
        }
    });
    ticks.start(MS, false);
    let late = reactor.clone();
    reactor.call_later(Duration::from_secs(20), move || late.crash());
    reactor.run().unwrap();
    assert_eq!(heard.take(), ["start", "STOP", "over"]);
}
