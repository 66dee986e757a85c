//! Policies around a factory, in virtual time: bandwidth, idle connections, a log of what passes.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::policy::{IdleTimeout, Passed, Rates, Throttle, TrafficLog, apply};
use ropewalk_net::{Address, Factory, Lost, Port, Protocol, ServerOptions, Transport, listen, listen_with};
use ropewalk_reactor::{Peer, Reactor, Simulation};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn serve(simulation: &Simulation, factory: impl Factory) -> Port {
    let port = listen(simulation.reactor(), &"tcp:0:interface=127.0.0.1".parse().unwrap(), factory).unwrap();
    simulation.network().set_conditions(|conditions| {
        // A fast network: what is slow is the throttle.
        conditions.latency = (Duration::ZERO, Duration::from_micros(100));
        (conditions.window_bytes, conditions.segment_bytes_max) = (1 << 20, 1 << 20);
    });
    port
}

fn address(port: &Port) -> SocketAddr {
    let Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
    address
}

fn connect(simulation: &Simulation, port: &Port, from: [u8; 4]) -> Peer {
    let peer = simulation.network().connect_from(IpAddr::from(from), address(port));
    simulation.advance(MS);
    peer
}

/// Sends a lot at once.
struct Flood(usize);

impl Protocol for Flood {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(&vec![b'f'; self.0]);
    }
    fn data_received(&mut self, _: &Transport, _: &[u8]) {}
}

/// Counts what it is given.
struct Drain(Rc<RefCell<usize>>);

impl Protocol for Drain {
    fn data_received(&mut self, _: &Transport, data: &[u8]) {
        *self.0.borrow_mut() += data.len();
    }
}

/// Writes down how it ended.
struct Ending(Rc<RefCell<Vec<Lost>>>, bool);

impl Protocol for Ending {
    fn connection_made(&mut self, transport: &Transport) {
        if self.1 {
            transport.pause_reading();
        }
    }
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
    fn connection_lost(&mut self, _: &Transport, lost: &Lost) {
        self.0.borrow_mut().push(lost.clone());
    }
}

#[test]
fn each_connection_writes_at_its_rate() {
    for seed in 0..100 {
        let simulation = Simulation::new(seed);
        let throttle = Throttle::new(simulation.reactor()).each(Rates::write(10_000));
        let port = serve(&simulation, apply(throttle, || Flood(50_000)));
        let peers = [connect(&simulation, &port, [10, 0, 0, 1]), connect(&simulation, &port, [10, 0, 0, 1])];
        simulation.advance(10 * MS);
        let mut taken = peers.each_ref().map(|peer| peer.take().len());
        assert!(
            taken.iter().all(|&bytes| (10_000..10_600).contains(&bytes)),
            "one second's worth at once: {taken:?}"
        );
        for second in 1..=4 {
            simulation.advance(SECOND);
            for (peer, taken) in peers.iter().zip(&mut taken) {
                *taken += peer.take().len();
                let due = 10_000 * (second + 1);
                assert!(
                    (due - 1100..due + 1100).contains(taken) || *taken == 50_000,
                    "seed {seed}: {taken} of {due}"
                );
            }
        }
        simulation.advance(SECOND);
        let rest = peers.each_ref().map(|peer| peer.take().len());
        assert_eq!([taken[0] + rest[0], taken[1] + rest[1]], [50_000; 2], "seed {seed}");
        assert_eq!(simulation.reactor().statistics().timers, 0, "nothing is left to wait for");
    }
}

#[test]
fn a_peer_shares_its_rate_and_all_share_the_total() {
    for (name, from, expected) in [("one peer", [1, 1, 1], 20_000), ("three peers", [1, 2, 3], 30_000)] {
        let simulation = Simulation::new(1);
        let throttle = Throttle::new(simulation.reactor());
        let throttle = throttle.per_peer(Rates::both(2000)).total(Rates::both(3000));
        let port = serve(&simulation, apply(throttle, || Flood(100_000)));
        let peers = from.map(|host| connect(&simulation, &port, [10, 0, 0, host]));
        simulation.advance(9 * SECOND);
        let taken = peers.each_ref().map(|peer| peer.take().len());
        let total: usize = taken.iter().sum();
        assert!((expected - 1200..=expected + 100).contains(&total), "{name}: {taken:?}");
        let fair = total / 3;
        assert!(taken.iter().all(|&bytes| bytes > fair / 2 && bytes < fair * 2), "{name}: {taken:?}");
    }
}

#[test]
fn reading_is_throttled_and_the_sender_held_back() {
    let simulation = Simulation::new(1);
    let counted = Rc::new(RefCell::new(0));
    let count = Rc::clone(&counted);
    let throttle = Throttle::new(simulation.reactor()).each(Rates::read(5000));
    let port = serve(&simulation, apply(throttle, move || Drain(Rc::clone(&count))));
    simulation.network().set_conditions(|conditions| conditions.window_bytes = 8000);
    let peer = connect(&simulation, &port, [10, 0, 0, 1]);
    let mut sent = peer.write(&[b'x'; 100_000]);
    assert_eq!(sent, 8000, "the window, and no more");
    for second in 1..=10 {
        simulation.advance(SECOND);
        sent += peer.write(&vec![b'x'; 100_000 - sent]);
        let read = *counted.borrow();
        assert!((5000 * second..=5000 * (second + 1) + 100).contains(&read), "after {second} s: {read}");
    }
    assert!(sent <= *counted.borrow() + 8000, "what was not read is with the sender");
}

/// What a limit is for.
#[derive(Clone, Copy, Debug)]
enum Shared {
    Each,
    PerPeer,
    Total,
}

impl Shared {
    fn throttle(self, reactor: &Reactor, rates: Rates) -> Throttle {
        let throttle = Throttle::new(reactor);
        match self {
            Shared::Each => throttle.each(rates),
            Shared::PerPeer => throttle.per_peer(rates),
            Shared::Total => throttle.total(rates),
        }
    }

    /// What those that share a limit have had together; connections 0 and 1 are of one peer, 2 and 3 of another.
    fn together(self, bytes: [usize; 4]) -> Vec<usize> {
        match self {
            Shared::Each => bytes.to_vec(),
            Shared::PerPeer => vec![bytes[0] + bytes[1], bytes[2] + bytes[3]],
            Shared::Total => vec![bytes.iter().sum()],
        }
    }
}

/// Each of them under twenty seeds.
fn every_limit() -> impl Iterator<Item = (Shared, u64)> {
    let all = [Shared::Each, Shared::PerPeer, Shared::Total].into_iter();
    all.flat_map(|shared| (0..20).map(move |seed| (shared, seed)))
}

const HOSTS: [u8; 4] = [1, 1, 2, 2];
const RATE: u64 = 40_000;

/// Over the ten seconds after the first, in which what had been saved up went.
fn assert_holds(shared: Shared, seed: u64, way: &str, before: [usize; 4], after: [usize; 4]) {
    for (before, after) in shared.together(before).into_iter().zip(shared.together(after)) {
        let (passed, due) = (after - before, 10 * RATE as usize);
        assert!(passed.abs_diff(due) * 20 <= due, "{way} {shared:?}, seed {seed}: {passed} bytes of {due}");
    }
}

#[test]
fn a_rate_of_writing_is_held_within_a_twentieth() {
    for (shared, seed) in every_limit() {
        let simulation = Simulation::new(seed);
        let throttle = shared.throttle(simulation.reactor(), Rates::write(RATE));
        let port = serve(&simulation, apply(throttle, || Flood(13 * RATE as usize)));
        let peers = HOSTS.map(|host| connect(&simulation, &port, [10, 0, 0, host]));
        let mut taken = [0; 4];
        let mut pass = |seconds: u32| {
            for _ in 0..seconds * 10 {
                simulation.advance(100 * MS);
                taken.iter_mut().zip(&peers).for_each(|(taken, peer)| *taken += peer.take().len());
            }
            taken
        };
        let (before, after) = (pass(1), pass(10));
        assert_holds(shared, seed, "writing", before, after);
    }
}

#[test]
fn a_rate_of_reading_is_held_within_a_twentieth() {
    for (shared, seed) in every_limit() {
        let simulation = Simulation::new(seed);
        let counters: [Rc<RefCell<usize>>; 4] = Default::default();
        let (counting, next) = (counters.clone(), RefCell::new(0..4));
        let factory = move || Drain(Rc::clone(&counting[next.borrow_mut().next().unwrap()]));
        let throttle = shared.throttle(simulation.reactor(), Rates::read(RATE));
        let port = serve(&simulation, apply(throttle, factory));
        let peers = HOSTS.map(|host| connect(&simulation, &port, [10, 0, 0, host]));
        let pass = |seconds: u32| {
            for _ in 0..seconds * 10 {
                // More than can be read until the next time, as much as the window takes.
                for peer in &peers {
                    peer.write(&[b'r'; 2 * RATE as usize]);
                }
                simulation.advance(100 * MS);
            }
            counters.each_ref().map(|counter| *counter.borrow())
        };
        let (before, after) = (pass(1), pass(10));
        assert_holds(shared, seed, "reading", before, after);
    }
}

/// So much in a second that a timer, which comes once in a millisecond at the most, has to let a lot pass at a time.
#[test]
fn a_high_rate_is_held_too() {
    const HIGH: usize = 24 << 20;
    let simulation = Simulation::new(1);
    let throttle = Throttle::new(simulation.reactor()).each(Rates::both(HIGH as u64));
    let counted = Rc::new(RefCell::new(0));
    let count = Rc::clone(&counted);
    struct Both(Flood, Drain);
    impl Protocol for Both {
        fn connection_made(&mut self, transport: &Transport) {
            self.0.connection_made(transport);
        }
        fn data_received(&mut self, transport: &Transport, data: &[u8]) {
            self.1.data_received(transport, data);
        }
    }
    let port = serve(&simulation, apply(throttle, move || Both(Flood(3 * HIGH), Drain(Rc::clone(&count)))));
    let peer = connect(&simulation, &port, [10, 0, 0, 1]);
    let (data, mut written) = (vec![b'r'; 1 << 20], 0);
    let mut pass = |seconds: u32| {
        for _ in 0..seconds * 100 {
            peer.write(&data);
            simulation.advance(10 * MS);
            written += peer.take().len();
        }
        [written, *counted.borrow()]
    };
    let (before, after) = (pass(1), pass(1));
    for (before, after) in before.into_iter().zip(after) {
        let passed = after - before;
        assert!(passed.abs_diff(HIGH) * 20 <= HIGH, "{passed} bytes of {HIGH}");
    }
}

/// A throttled peer that never reads costs its one buffer until the stall is found out.
#[test]
fn a_throttled_peer_that_never_reads_is_found_out() {
    let simulation = Simulation::new(1);
    let ends = Rc::new(RefCell::new(Vec::new()));
    struct Stalled(Rc<RefCell<Vec<Lost>>>);
    impl Protocol for Stalled {
        fn connection_made(&mut self, transport: &Transport) {
            transport.write(&[b's'; 200_000]);
        }
        fn data_received(&mut self, _: &Transport, _: &[u8]) {}
        fn connection_lost(&mut self, _: &Transport, lost: &Lost) {
            self.0.borrow_mut().push(lost.clone());
        }
    }
    let told = Rc::clone(&ends);
    let throttle = Throttle::new(simulation.reactor()).each(Rates::write(50_000));
    let mut options = ServerOptions::default();
    options.transport.write_stall = Some(30 * SECOND);
    let factory = Rc::new(apply(throttle, move || Stalled(Rc::clone(&told))));
    let endpoint = "tcp:0:interface=127.0.0.1".parse().unwrap();
    let port = listen_with(simulation.reactor(), &endpoint, factory, options).unwrap();
    simulation.network().set_conditions(|conditions| conditions.window_bytes = 60_000);
    let peer = connect(&simulation, &port, [10, 0, 0, 1]);
    simulation.advance(29 * SECOND);
    assert!(ends.borrow().is_empty(), "within its patience");
    simulation.advance(5 * SECOND);
    assert!(matches!(ends.borrow()[..], [Lost::TimedOut("write stall")]), "{:?}", ends.borrow());
    assert_eq!(simulation.reactor().statistics().timers, 0);
    drop(peer);
}

#[test]
fn a_throttled_connection_is_closed_when_all_is_sent() {
    struct Goodbye;
    impl Protocol for Goodbye {
        fn connection_made(&mut self, transport: &Transport) {
            transport.write(&[b'g'; 5000]);
            transport.lose_connection();
        }
        fn data_received(&mut self, _: &Transport, _: &[u8]) {}
    }
    let simulation = Simulation::new(1);
    let throttle = Throttle::new(simulation.reactor()).each(Rates::write(1000));
    let port = serve(&simulation, apply(throttle, || Goodbye));
    let peer = connect(&simulation, &port, [10, 0, 0, 1]);
    simulation.advance(3 * SECOND);
    assert!(!peer.is_ended());
    simulation.advance(2 * SECOND);
    assert_eq!(peer.take().len(), 5000);
    assert!(peer.is_ended() && !peer.is_reset());
}

/// The peer sends more than may be read at once, and ends; the event that tells of both finds the bucket empty soon. When the last byte
/// is read, no event is left to tell of the end.
#[test]
fn a_throttled_reader_hears_of_the_end() {
    struct Ended(Rc<RefCell<usize>>, Rc<RefCell<Vec<usize>>>);
    impl Protocol for Ended {
        fn data_received(&mut self, _: &Transport, data: &[u8]) {
            *self.0.borrow_mut() += data.len();
        }
        fn read_ended(&mut self, transport: &Transport) {
            self.1.borrow_mut().push(*self.0.borrow());
            transport.lose_connection();
        }
    }
    for seed in 0..100 {
        let simulation = Simulation::new(seed);
        let ends = Rc::<RefCell<Vec<usize>>>::default();
        let told = Rc::clone(&ends);
        let throttle = Throttle::new(simulation.reactor()).each(Rates::read(10_000));
        let port = serve(&simulation, apply(throttle, move || Ended(Rc::default(), Rc::clone(&told))));
        let peer = connect(&simulation, &port, [10, 0, 0, 1]);
        assert_eq!(peer.write(&[b'x'; 25_000]), 25_000);
        peer.shutdown_write();
        simulation.advance(SECOND);
        assert!(ends.borrow().is_empty(), "seed {seed}");
        simulation.advance(SECOND);
        assert_eq!(*ends.borrow(), [25_000], "seed {seed}");
        assert!(peer.is_ended() && !peer.is_reset());
    }
}

#[test]
fn who_is_silent_for_too_long_is_broken_off() {
    for paused in [false, true] {
        let simulation = Simulation::new(1);
        let ends = Rc::new(RefCell::new(Vec::new()));
        let told = Rc::clone(&ends);
        let port = serve(
            &simulation,
            apply(IdleTimeout::new(10 * SECOND), move || Ending(Rc::clone(&told), paused)),
        );
        let (busy, silent) =
            (connect(&simulation, &port, [10, 0, 0, 1]), connect(&simulation, &port, [10, 0, 0, 2]));
        for _ in 0..3 {
            simulation.advance(9 * SECOND);
            busy.write(b"still here");
            simulation.advance(100 * MS);
        }
        let idle = if paused { 2 } else { 1 };
        assert_eq!(ends.borrow().len(), idle, "a reader that is paused reads nothing");
        let timed_out =
            |lost: &Lost| matches!(lost, Lost::Broken(error) if error.kind() == io::ErrorKind::TimedOut);
        assert!(ends.borrow().iter().all(timed_out), "{:?}", ends.borrow());
        assert!(silent.is_ended());
        simulation.advance(11 * SECOND);
        assert_eq!(ends.borrow().len(), 2);
        assert_eq!(simulation.reactor().statistics().timers, 0);
    }
}

#[test]
fn what_passes_is_told_and_a_broken_observer_hurts_nobody() {
    let simulation = Simulation::new(1);
    let (told, ends) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(Vec::new())));
    let (tell, ended) = (Rc::clone(&told), Rc::clone(&ends));
    let log = TrafficLog::new(move |peer, passed| {
        let word = match passed {
            Passed::Read(bytes) => format!("> {}", bytes.escape_ascii()),
            Passed::Written(bytes) => format!("< {}", bytes.escape_ascii()),
            other => format!("{other:?}"),
        };
        assert_eq!(peer.ip(), Some(IpAddr::from([10, 0, 0, 1])));
        tell.borrow_mut().push(word);
        panic!("an observer's own trouble");
    });
    let port = serve(&simulation, apply(log, move || Ending(Rc::clone(&ended), false)));
    let peer = connect(&simulation, &port, [10, 0, 0, 1]);
    peer.write(b"over\n");
    simulation.advance(MS);
    peer.shutdown_write();
    simulation.advance(MS);
    assert_eq!(*told.borrow(), ["> over\\n", "< over\\n", "Ended", "Closed"]);
    assert_eq!(peer.take(), b"over\n");
    assert!(matches!(ends.borrow()[..], [Lost::Ended]));
}
