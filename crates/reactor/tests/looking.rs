//! What a test sees of a reactor and its simulated network from outside: what is pending, the log, callers that it answers
//! by hand, windows, and the quiet after it all.
#![allow(clippy::unwrap_used, reason = "what fails in the helpers of a test fails the test")]

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::io::{Listener, Socket};
use ropewalk_reactor::{Key, ListenOptions, Name, Pending, Simulation, Source};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// One whose startup triggers have run.
fn started() -> Simulation {
    let simulation = Simulation::new(1);
    assert!(simulation.run_until_quiet(Duration::ZERO));
    simulation
}

struct Quiet(&'static str);

impl Source for Quiet {
    fn name(&self) -> Name {
        Name::new(self.0)
    }
}

fn lines(simulation: &Simulation) -> Vec<String> {
    simulation.reactor().pending().iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_pending_has_its_name_and_its_time() {
    let simulation = started();
    let reactor = simulation.reactor();
    assert_eq!(reactor.pending(), []);

    let later = reactor.call_at_named(Name::new("later"), reactor.now() + 5 * SECOND, || ());
    let sooner = reactor.call_at_named(Name::new("sooner"), reactor.now() + SECOND, || ());
    reactor.call_soon_named(Name::new("next"), || ());
    let task = reactor.spawn_named(Name::new("waiter"), std::future::pending::<()>());
    let key = reactor.add_source(|_| Rc::new(Quiet("door")));
    let deadline = reactor.insert_deadline(reactor.now() + 2 * SECOND, key);
    assert_eq!(
        lines(&simulation),
        [
            "task waiter",
            "source door, with a deadline in 2s",
            "timer sooner, due in 1s",
            "timer later, due in 5s",
            "call next",
        ]
    );

    simulation.advance(1500 * MS);
    assert!(later.delay(SECOND).is_ok() && !sooner.active());
    assert_eq!(
        lines(&simulation),
        ["task waiter", "source door, with a deadline in 500ms", "timer later, due in 4.5s"]
    );

    task.abort();
    later.cancel().unwrap();
    reactor.remove_deadline(deadline);
    let left = Pending::Source { name: Name::new("door"), kind: "source", key, due_in: None };
    assert_eq!(reactor.pending(), [left]);
    reactor.remove_source(key);
    assert_eq!(reactor.pending(), []);
}

#[test]
fn a_timer_of_a_place_is_called_by_the_place() {
    let simulation = started();
    simulation.reactor().call_later(SECOND, || ());
    let place = format!("timer {}:{}, due in 1s", file!(), line!() - 1);
    assert_eq!(lines(&simulation), [place]);
}

#[test]
fn it_is_quiet_when_only_timers_are_left() {
    for seed in 0..100 {
        let simulation = Simulation::new(seed);
        let rang = Rc::new(Cell::new(false));
        let bell = Rc::clone(&rang);
        simulation.reactor().call_later(SECOND, move || bell.set(true));
        let here = at("127.0.0.1:80");
        let listener = simulation.reactor().listen_tcp(here, &ListenOptions::default()).unwrap();
        let peer = simulation.network().connect(here);
        assert!(!simulation.is_quiet(), "somebody is on the way");
        assert!(simulation.run_until_quiet(10 * SECOND), "seed {seed}");
        assert!(peer.is_connected() && !rang.get());

        let (socket, _) = listener.accept().unwrap();
        let sent = socket.write(b"hello").unwrap();
        assert!(!simulation.is_quiet(), "bytes are on the way");
        assert!(simulation.run_until_quiet(10 * SECOND), "seed {seed}");
        assert_eq!(peer.take().len(), sent);
        assert!(!rang.get());

        simulation.reactor().call_soon(|| ());
        assert!(!simulation.is_quiet(), "a call waits for its turn");
        assert!(simulation.run_until_quiet(Duration::ZERO) && !rang.get());
    }
}

#[test]
fn what_never_rests_is_not_quiet_within_the_limit() {
    let simulation = Simulation::new(1);
    let one = simulation.network().connect(at("127.0.0.1:1"));
    simulation.network().set_conditions(|conditions| conditions.latency = (SECOND, SECOND));
    let two = simulation.network().connect(at("127.0.0.1:1"));
    assert!(!simulation.run_until_quiet(500 * MS));
    assert!(simulation.run_until_quiet(SECOND));
    assert!(!one.is_connected() && !two.is_connected());
}

#[test]
fn the_log_tells_what_was_done_in_order() {
    let simulation = Simulation::new(1);
    let network = simulation.network();
    let reactor = simulation.reactor();
    let latency = (MS, MS);
    network.set_conditions(|conditions| {
        (conditions.latency, conditions.segment_bytes_max) = (latency, usize::MAX)
    });
    let unseen = network.connect(at("127.0.0.1:9"));
    assert_eq!(network.log(), [], "nobody asked for it");
    simulation.advance(MS);
    drop(unseen);

    network.keep_log();
    let here = at("127.0.0.1:80");
    let listener = reactor.listen_tcp(here, &ListenOptions::default()).unwrap();
    let peer = network.connect(here);
    simulation.advance(2 * MS);
    let (socket, _) = listener.accept().unwrap();
    peer.write(b"hello");
    simulation.advance(2 * MS);
    socket.read(&mut [0; 9]).unwrap();
    socket.write(b"a\nb").unwrap();
    peer.shutdown_write();
    simulation.advance(2 * MS);
    socket.set_reset_on_close();
    drop((socket, listener));
    let given_up = network.connect(here);
    drop(given_up);
    drop(reactor.bind_udp(at("127.0.0.1:53"), false).unwrap());

    let log: Vec<String> = network.log().iter().map(ToString::to_string).collect();
    let from = peer.local_address();
    let other =
        log.iter().find(|line| line.ends_with("gave up")).unwrap().split(' ').nth(4).unwrap().to_owned();
    assert_eq!(
        log,
        [
            "  0.001000  127.0.0.1:80  listens".to_owned(),
            format!("  0.001000  {from} > 127.0.0.1:80  connects"),
            format!("  0.002000  {from} > 127.0.0.1:80  is connected"),
            format!("  0.003000  {from} > 127.0.0.1:80  sent 5: \"hello\""),
            format!("  0.005000  127.0.0.1:80 > {from}  sent 3: \"a\\nb\""),
            format!("  0.005000  {from} > 127.0.0.1:80  ended"),
            format!("  0.007000  127.0.0.1:80 > {from}  reset"),
            "  0.007000  127.0.0.1:80  listens no more".to_owned(),
            format!("  0.007000  {other} > 127.0.0.1:80  connects"),
            format!("  0.007000  {other} > 127.0.0.1:80  gave up"),
            "  0.007000  127.0.0.1:53  is bound".to_owned(),
            "  0.007000  127.0.0.1:53  is bound no more".to_owned(),
        ]
    );
    network.keep_log();
    assert_eq!(network.log(), [], "it begins anew");
}

#[test]
fn a_caller_is_accepted_refused_or_left_waiting() {
    let simulation = Simulation::new(1);
    let network = simulation.network();
    assert!(network.callers().is_empty());
    network.answer_by_hand();
    let socket =
        |port| simulation.reactor().connect_tcp(SocketAddr::new([192, 0, 2, 1].into(), port)).unwrap();
    let (accepted, refused, waiting) = (socket(1), socket(2), socket(3));
    simulation.advance(10 * MS);
    let state = |socket: &Socket| match (socket.take_error().unwrap(), socket.peer_address()) {
        (Some(error), _) => format!("{:?}", error.kind()),
        (None, Ok(_)) => "connected".to_owned(),
        (None, Err(_)) => "waits".to_owned(),
    };
    assert_eq!([state(&accepted), state(&refused), state(&waiting)], ["waits", "waits", "waits"]);

    let mut callers = network.callers();
    callers.sort_by_key(|caller| caller.to());
    assert_eq!(callers.iter().map(|caller| caller.to().port()).collect::<Vec<_>>(), [1, 2, 3]);
    let last = callers.remove(2);
    callers.remove(1).refuse(io::ErrorKind::HostUnreachable);
    let peer = callers.remove(0).accept();
    simulation.advance(10 * MS);
    assert_eq!(
        [state(&accepted), state(&refused), state(&waiting)],
        ["connected", "HostUnreachable", "waits"]
    );
    peer.write(b"hello");
    simulation.advance(10 * MS);
    let mut bytes = [0; 9];
    assert_eq!(accepted.read(&mut bytes).unwrap(), 5);

    assert!(!last.is_gone());
    drop(waiting);
    assert!(last.is_gone());
    assert!(network.callers().is_empty(), "each is taken out once");

    let here = at("127.0.0.1:80");
    let _listener: Listener = simulation.reactor().listen_tcp(here, &ListenOptions::default()).unwrap();
    let answered = network.connect(here);
    simulation.advance(10 * MS);
    assert!(answered.is_connected() && network.callers().is_empty(), "what listens answers for itself");
}

#[test]
fn a_window_of_ones_own_holds_the_writer_and_lets_it_go_on() {
    let simulation = Simulation::new(1);
    let network = simulation.network();
    network.set_conditions(|conditions| conditions.segment_bytes_max = usize::MAX);
    let here = at("127.0.0.1:80");
    let listener = simulation.reactor().listen_tcp(here, &ListenOptions::default()).unwrap();
    let peer = network.connect(here);
    simulation.advance(10 * MS);
    let (mut socket, _) = listener.accept().unwrap();
    let written: Rc<Cell<u32>> = Rc::default();
    struct Told(Rc<Cell<u32>>);
    impl Source for Told {
        fn name(&self) -> Name {
            Name::new("told")
        }
        fn ready(self: Rc<Self>, readiness: ropewalk_reactor::Readiness) {
            if readiness.is_writable() {
                self.0.set(self.0.get() + 1);
            }
        }
    }
    let told = Rc::clone(&written);
    let key: Key = simulation.reactor().add_source(|_| Rc::new(Told(told)));
    simulation.reactor().register_socket(&mut socket, key).unwrap();
    simulation.advance(10 * MS);
    let edges = written.get();

    peer.set_window(Some(3));
    assert_eq!(socket.write(b"hello").unwrap(), 3);
    simulation.advance(10 * MS);
    assert_eq!(peer.waiting(), 3);
    assert_eq!(socket.write(b"lo").unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(written.get(), edges, "no room, no readiness");
    peer.set_window(Some(4));
    simulation.advance(10 * MS);
    assert_eq!(written.get(), edges + 1, "a wider window is news");
    assert_eq!(socket.write(b"lo").unwrap(), 1);
    peer.set_window(None);
    simulation.advance(10 * MS);
    assert_eq!(socket.write(b"o").unwrap(), 1);
    simulation.advance(10 * MS);
    assert_eq!(peer.take(), b"hello");
    assert!(peer.is_writable());
    peer.shutdown_write();
    assert!(!peer.is_writable());
}
