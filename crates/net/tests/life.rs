//! Beginnings and ends of connections under the simulated clock: deadlines, stalls, limits, descriptors that run out, failed
//! and abandoned connecting, kept handles, and that nothing is left behind.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use common::{Probe, Seen};
use ropewalk_net::{
    Address, Admission, ConnectionLimits, EndpointError, Factory, Port, Protocol, ServerEndpoint,
    ServerOptions, Stream, connect, listen, listen_with,
};
use ropewalk_reactor::{Peer, Simulation};

const MOMENT: Duration = Duration::from_millis(20);

fn endpoint() -> ServerEndpoint {
    "tcp:7:interface=127.0.0.1".parse().unwrap()
}

fn address(port: &Port) -> SocketAddr {
    match port.address() {
        Address::Inet(address) => *address,
        _ => unreachable!(),
    }
}

/// A connection between a probe and a test's hand.
fn served(simulation: &Simulation, probe: Probe) -> (Rc<Seen>, Peer) {
    let seen = Rc::clone(&probe.seen);
    let probe = Cell::new(Some(probe));
    let port = listen(simulation.reactor(), &endpoint(), move || probe.take().unwrap()).unwrap();
    let peer = simulation.network().connect(address(&port));
    simulation.advance(MOMENT);
    port.stop_listening();
    assert!(seen.made.get());
    (seen, peer)
}

#[test]
fn a_reader_that_takes_nothing_is_broken_off() {
    let simulation = Simulation::new(1);
    let (seen, peer) = served(&simulation, Probe::new());
    seen.transport().write(&vec![0; 200_000]);
    simulation.advance(Duration::from_secs(50));
    // It takes a little, which is enough for another minute.
    assert!(!peer.take_some(40_000).is_empty());
    simulation.advance(Duration::from_secs(50));
    assert!(!seen.is_lost());
    simulation.advance(Duration::from_secs(11));
    assert_eq!(seen.reason(), "timed out: write stall");
    assert!(peer.is_reset());
}

#[test]
fn a_stall_is_not_forgotten_for_the_protocols_own_deadline() {
    // 1. The peer stalls, and the protocol's deadline is the nearer one. 2. It passes, and the protocol shrugs.
    // 3. The stall's deadline still breaks the connection off.
    let simulation = Simulation::new(1);
    let (seen, _peer) = served(&simulation, Probe::new().on_due(|_| {}));
    let transport = seen.transport();
    transport.set_deadline(Some(simulation.reactor().now() + Duration::from_secs(10)));
    transport.write(&vec![0; 200_000]);
    simulation.advance(Duration::from_secs(30));
    assert_eq!(seen.timed_out.get(), 1);
    simulation.advance(Duration::from_secs(31));
    assert_eq!(seen.reason(), "timed out: write stall");
}

#[test]
fn the_protocols_deadline_survives_a_stall() {
    let simulation = Simulation::new(1);
    let (seen, peer) = served(&simulation, Probe::new());
    seen.transport().set_deadline(Some(simulation.reactor().now() + Duration::from_secs(100)));
    seen.transport().write(&vec![0; 200_000]);
    simulation.advance(Duration::from_secs(30));
    while seen.transport().buffered() > 0 {
        peer.take();
        simulation.advance(MOMENT);
    }
    simulation.advance(Duration::from_secs(60));
    assert!(!seen.is_lost());
    simulation.advance(Duration::from_secs(10));
    assert_eq!(seen.reason(), "timed out: idle");
}

#[test]
fn closing_within_a_deadline_does_not_pass_for_orderly_when_it_is_cut_short() {
    let simulation = Simulation::new(1);
    let (seen, peer) = served(&simulation, Probe::new());
    seen.transport().set_deadline(Some(simulation.reactor().now() + Duration::from_secs(5)));
    seen.transport().write(&vec![0; 200_000]);
    seen.transport().lose_connection();
    simulation.advance(Duration::from_secs(6));
    assert_eq!(seen.reason(), "timed out: closing");
    assert!(peer.is_reset());
}

#[test]
fn a_deadline_fires_and_one_moved_later_does_not_fire_early() {
    let simulation = Simulation::new(1);
    let (seen, _peer) = served(&simulation, Probe::new().on_due(|_| {}));
    let transport = seen.transport();
    let after = |seconds| Some(simulation.reactor().now() + Duration::from_secs(seconds));
    transport.set_deadline(after(10));
    simulation.advance(Duration::from_secs(9));
    transport.set_deadline(after(10));
    simulation.advance(Duration::from_secs(9));
    assert_eq!(seen.timed_out.get(), 0, "moved later");
    simulation.advance(Duration::from_secs(2));
    assert_eq!(seen.timed_out.get(), 1);
    transport.set_deadline(after(100));
    transport.set_deadline(after(1));
    simulation.advance(Duration::from_secs(2));
    assert_eq!(seen.timed_out.get(), 2, "moved earlier");
    transport.set_deadline(after(1));
    transport.set_deadline(None);
    simulation.advance(Duration::from_secs(1000));
    assert_eq!(seen.timed_out.get(), 2, "removed");
    assert!(!seen.is_lost());
}

#[test]
fn lingering_waits_for_a_talkative_peer_but_not_for_ever() {
    let simulation = Simulation::new(1);
    let (seen, peer) = served(&simulation, Probe::new());
    let transport = seen.transport();
    transport.write(b"413");
    transport.lose_connection_lingering();
    transport.set_deadline(None);
    peer.write(b"still sending");
    simulation.advance(MOMENT);
    assert!(!seen.is_lost());
    assert_eq!(seen.len(), 0, "thrown away");
    simulation.advance(Duration::from_secs(3));
    assert!(seen.is_lost() && !peer.is_reset());
    assert_eq!(peer.take(), b"413");

    // And not for any amount.
    let (seen, peer) = served(&simulation, Probe::new());
    seen.transport().lose_connection_lingering();
    simulation.advance(MOMENT);
    for _ in 0..400 {
        peer.write(&[0; 16 * 1024]);
        simulation.advance(Duration::from_millis(3));
    }
    assert!(seen.is_lost(), "within 1.2 s of 6 MiB");
}

#[test]
fn a_protocol_that_panics_loses_its_own_connection_only() {
    let simulation = Simulation::new(1);
    let panics = |data: &[u8]| assert!(data != b"panic", "as asked");
    let seen: Rc<RefCell<Vec<Rc<Seen>>>> = Rc::default();
    let all = Rc::clone(&seen);
    let port = listen(simulation.reactor(), &endpoint(), move || {
        let probe = Probe::new().on_data(move |transport, data| {
            panics(data);
            transport.write(data);
        });
        all.borrow_mut().push(Rc::clone(&probe.seen));
        probe
    })
    .unwrap();
    let peers: Vec<Peer> = (0..3).map(|_| simulation.network().connect(address(&port))).collect();
    simulation.advance(MOMENT);
    peers[1].write(b"panic");
    peers[2].write(b"fine");
    simulation.advance(MOMENT);
    assert!(peers[1].is_reset());
    assert_eq!(peers[2].take(), b"fine");
    peers[0].write(b"too");
    simulation.advance(MOMENT);
    assert_eq!(peers[0].take(), b"too");
    assert_eq!(port.statistics().connections, 2);
}

#[test]
fn a_factory_that_panics_refuses_one_connection() {
    let simulation = Simulation::new(1);
    let count = Cell::new(0);
    let port = listen(simulation.reactor(), &endpoint(), move || {
        count.set(count.get() + 1);
        assert!(count.get() != 1, "as asked");
        Probe::echo()
    })
    .unwrap();
    let peers: Vec<Peer> = (0..3).map(|_| simulation.network().connect(address(&port))).collect();
    simulation.advance(MOMENT);
    assert_eq!(peers.iter().filter(|peer| peer.is_ended()).count(), 1);
    assert_eq!(port.statistics().connections, 2);
}

struct Limited;

impl Factory for Limited {
    fn build_protocol(&self, _peer: &Address) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Probe::echo()))
    }

    fn overflow(&self) -> &[u8] {
        b"421 too many\r\n"
    }
}

fn limited(simulation: &Simulation, limits: ConnectionLimits) -> Port {
    let options = ServerOptions { admission: Admission::new(limits), ..ServerOptions::default() };
    listen_with(simulation.reactor(), &endpoint(), Rc::new(Limited), options).unwrap()
}

#[test]
fn beyond_the_limits_there_are_words_and_a_close() {
    let simulation = Simulation::new(1);
    let port = limited(&simulation, ConnectionLimits { total_max: Some(4), per_peer_max: Some(2) });
    let from = |last| {
        let peer =
            simulation.network().connect_from(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), address(&port));
        simulation.advance(MOMENT);
        peer
    };
    let turned_away = |peer: &Peer| peer.text() == "421 too many\r\n" && peer.is_ended();
    let first = [from(1), from(1)];
    assert!(turned_away(&from(1)), "two from one peer");
    let second = [from(2), from(3)];
    assert!(turned_away(&from(4)), "four in all");
    assert!(first.iter().chain(&second).all(|peer| !peer.is_ended()));
    drop(first);
    simulation.advance(MOMENT);
    assert!(!from(1).is_ended(), "places are given back");
    let statistics = port.statistics();
    assert_eq!((statistics.accepted, statistics.refused), (5, 2));
}

#[test]
fn running_out_of_descriptors_backs_off_and_is_survived() {
    let simulation = Simulation::new(1);
    let port = limited(&simulation, ConnectionLimits::default());
    simulation.network().set_conditions(|conditions| conditions.accepts_failing = 1);
    let peers: Vec<Peer> = (0..5).map(|_| simulation.network().connect(address(&port))).collect();
    simulation.advance(MOMENT);
    let words = |peers: &[Peer]| peers.iter().filter(|peer| peer.text().starts_with("421")).count();
    assert_eq!(words(&peers), 1, "the reserved descriptor answers one");
    assert_eq!(port.statistics().accepted, 0, "and accepting backs off");
    simulation.advance(Duration::from_millis(200));
    assert_eq!(port.statistics().accepted, 4);
    assert_eq!(port.statistics().starved, 1);
    // Again and again: each round tells one, none is lost for good.
    simulation.network().set_conditions(|conditions| conditions.accepts_failing = 50);
    let more = simulation.network().connect(address(&port));
    simulation.advance(Duration::from_secs(10));
    assert!(more.is_connected() && !more.is_ended());
    assert_eq!(port.statistics().accepted, 5);
}

#[test]
fn connecting_fails_is_timed_out_and_is_given_up() {
    let simulation = Simulation::new(1);
    let reactor = simulation.reactor();
    simulation.advance(MOMENT);
    let before = reactor.statistics();
    let outcome: Rc<RefCell<Option<String>>> = Rc::default();
    let try_one = |endpoint: &str| {
        let stream = Stream::connect(reactor, &endpoint.parse().unwrap());
        let told = Rc::clone(&outcome);
        reactor.spawn(async move {
            let text = stream.await.map(|_| "connected".to_owned());
            *told.borrow_mut() = Some(text.unwrap_or_else(|failure| failure.to_string()));
        })
    };
    try_one("tcp:127.0.0.1:9");
    simulation.advance(MOMENT);
    let text = outcome.take().expect("it is told");
    assert!(text.starts_with("127.0.0.1:9: ") && text.contains("refused"), "{text}");

    let slow = Duration::from_secs(60);
    simulation.network().set_conditions(|conditions| conditions.latency = (slow, slow));
    try_one("tcp:127.0.0.1:9:timeout=5");
    simulation.advance(Duration::from_secs(4));
    assert_eq!(*outcome.borrow(), None);
    simulation.advance(Duration::from_secs(2));
    let text = outcome.take().expect("it is told");
    assert!(text.contains("timed out"), "{text}");

    let task = try_one("tcp:127.0.0.1:9");
    simulation.advance(Duration::from_secs(1));
    assert_eq!(reactor.statistics().sources, before.sources + 2, "the task and the connection");
    task.abort();
    simulation.advance(Duration::from_secs(1));
    let after = reactor.statistics();
    assert_eq!((after.sources, after.timers), (before.sources, before.timers));
    assert_eq!(*outcome.borrow(), None);
}

#[test]
fn a_resolver_that_does_not_answer_is_within_the_deadline() {
    let simulation = Simulation::new(1);
    let never = Duration::from_secs(3600);
    simulation.network().set_conditions(|conditions| conditions.job = (never, never));
    let stream = Stream::connect(simulation.reactor(), &"tcp:localhost:9:timeout=5".parse().unwrap());
    let told: Rc<RefCell<Option<String>>> = Rc::default();
    let tell = Rc::clone(&told);
    simulation
        .reactor()
        .spawn(async move { *tell.borrow_mut() = Some(stream.await.unwrap_err().to_string()) });
    simulation.advance(Duration::from_secs(6));
    assert_eq!(told.borrow().as_deref(), Some("localhost: timed out after 5s"));
}

#[test]
fn a_connection_that_never_stood_has_no_protocol() {
    let simulation = Simulation::new(1);
    let slow = Duration::from_secs(60);
    simulation.network().set_conditions(|conditions| conditions.latency = (slow, slow));
    let make = || -> Probe { unreachable!("the factory is asked once the connection stands") };
    let _deferred = connect(simulation.reactor(), &"tcp:127.0.0.1:9".parse().unwrap(), make);
    simulation.advance(Duration::from_secs(1));
    simulation.stop();
}

#[test]
fn a_kept_handle_is_harmless() {
    let simulation = Simulation::new(1);
    let (seen, peer) = served(&simulation, Probe::new());
    let transport = seen.transport();
    assert!(transport.host().is_some());
    transport.lose_connection();
    simulation.advance(MOMENT);
    assert!(seen.is_lost() && transport.is_disconnected());
    assert!(peer.is_ended(), "the handle does not hold the descriptor");
    transport.write(b"ignored");
    transport.write_shared(&vec![0; 1000].into());
    transport.unread(b"ignored");
    transport.pause_reading();
    transport.resume_reading();
    transport.set_deadline(Some(simulation.reactor().now()));
    transport.lose_write_connection();
    transport.abort_connection();
    transport.wake();
    assert_eq!(transport.buffered(), 0);
    assert_eq!(transport.host(), None);
    assert!(transport.set_nodelay(true).is_err());
    let before = simulation.reactor().statistics();
    simulation.advance(Duration::from_secs(100));
    assert_eq!(simulation.reactor().statistics().timers_fired, before.timers_fired);
}

#[test]
fn twenty_thousand_connections_leave_nothing_behind() {
    let simulation = Simulation::new(1);
    let reactor = simulation.reactor();
    let port = listen(reactor, &endpoint(), || {
        Probe::echo().on_made(|transport| {
            transport.set_deadline(Some(transport.reactor().now() + Duration::from_secs(30)));
        })
    })
    .unwrap();
    simulation.advance(MOMENT);
    let before = reactor.statistics();
    for round in 0..20 {
        let peers: Vec<Peer> = (0..1000).map(|_| simulation.network().connect(address(&port))).collect();
        simulation.advance(MOMENT);
        assert_eq!(reactor.statistics().sources, before.sources + 1000);
        peers.iter().for_each(|peer| assert_eq!(peer.write(b"ping"), 4));
        simulation.advance(MOMENT);
        for (index, peer) in peers.into_iter().enumerate() {
            assert_eq!(peer.take(), b"ping");
            // An end, a reset, or silence until the deadline.
            match (index + round) % 3 {
                0 => drop(peer),
                1 => peer.reset(),
                _ => peer.shutdown_write(),
            }
        }
        simulation.advance(Duration::from_secs(31));
    }
    let after = reactor.statistics();
    assert_eq!((after.sources, after.timers), (before.sources, before.timers));
    assert_eq!(port.statistics().connections, 0);
    assert_eq!(port.statistics().accepted, 20_000);
}

#[test]
fn the_end_of_the_reactor_is_told() {
    let simulation = Simulation::new(1);
    let (seen, peer) = served(&simulation, Probe::new());
    let port =
        listen(simulation.reactor(), &"tcp:8:interface=127.0.0.1".parse().unwrap(), Probe::echo).unwrap();
    seen.transport().write(b"unsent");
    simulation.stop();
    assert_eq!(seen.reason(), "the reactor has stopped");
    drop((peer, port));
}

#[test]
fn listening_twice_is_an_error_and_stopping_frees_the_port() {
    let simulation = Simulation::new(1);
    let port = listen(simulation.reactor(), &endpoint(), Probe::echo).unwrap();
    let error = listen(simulation.reactor(), &endpoint(), Probe::echo).err().expect("it is taken");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    port.stop_listening();
    port.stop_listening();
    listen(simulation.reactor(), &endpoint(), Probe::echo).unwrap();
    let unix = "unix:/nowhere/at/all".parse().unwrap();
    let error =
        listen(&ropewalk_reactor::Reactor::new().unwrap(), &unix, Probe::echo).err().expect("no folder");
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    let wrong: Result<ServerEndpoint, EndpointError> = "tcp:eighty".parse();
    assert!(wrong.is_err());
}

#[test]
fn a_waiting_writer_wakes_when_the_connection_goes() {
    let simulation = Simulation::new(1);
    let (seen, peer) = served(&simulation, Probe::new());
    let transport = seen.transport();
    transport.write(&vec![0; 200_000]);
    let woken = Rc::new(Cell::new(0));
    for _ in 0..3 {
        let (transport, woken) = (transport.clone(), Rc::clone(&woken));
        simulation.reactor().spawn(async move {
            std::future::poll_fn(|context| transport.poll_writable(context)).await;
            woken.set(woken.get() + 1);
        });
    }
    simulation.advance(MOMENT);
    assert_eq!(woken.get(), 0);
    peer.reset();
    simulation.advance(MOMENT);
    assert_eq!(woken.get(), 3);
}
