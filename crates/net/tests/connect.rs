//! Happy Eyeballs in virtual time: which address wins and when, what a failure tells, and that nothing is left behind. Then the
//! same over the system's own loopback.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use common::{Ground, Kind, Probe, SEEDS, Seen};
use ropewalk_net::{
    Address, ClientEndpoint, ConnectError, ConnectOptions, Factory, Port, Protocol, ServerEndpoint,
    Transport, connect, connect_with, listen,
};
use ropewalk_reactor::failure::{Cancelled, Panicked};
use ropewalk_reactor::{Deferred, Failure, Outcome, Reach, Simulation, Statistics};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const V6: [&str; 3] = ["2001:db8::1", "2001:db8::2", "2001:db8::3"];
const V4: [&str; 3] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A network in which "host" has the addresses of a test, and a server that notes where it accepted.
struct World {
    simulation: Simulation,
    accepted: Rc<RefCell<Vec<Rc<Seen>>>>,
    before: Statistics,
}

impl World {
    /// The addresses, of which those in `serving` have a server at port 80.
    fn new(addresses: &[&str], serving: &[&str]) -> World {
        World::with_seed(1, addresses, serving)
    }

    fn with_seed(seed: u64, addresses: &[&str], serving: &[&str]) -> World {
        let simulation = Simulation::new(seed);
        let network = simulation.network();
        network.set_conditions(|conditions| {
            conditions.latency = (MS, MS);
            conditions.job = (MS, MS);
        });
        let found: Vec<IpAddr> = addresses.iter().map(|address| ip(address)).collect();
        network.set_host("host", &found);
        let accepted: Rc<RefCell<Vec<Rc<Seen>>>> = Rc::default();
        for address in serving {
            let seen = Rc::clone(&accepted);
            let endpoint: ServerEndpoint =
                format!("tcp:80:interface={}", ropewalk_net::quote(address)).parse().unwrap();
            let make = move || {
                let probe = Probe::new();
                seen.borrow_mut().push(Rc::clone(&probe.seen));
                probe
            };
            listen(simulation.reactor(), &endpoint, make).unwrap();
        }
        simulation.advance(MS);
        let before = simulation.reactor().statistics();
        World { simulation, accepted, before }
    }

    fn reach(&self, address: &str, reach: Reach) -> &World {
        self.simulation.network().set_reach(ip(address), reach);
        self
    }

    fn connect(&self, endpoint: &str) -> Attempt {
        let reactor = self.simulation.reactor().clone();
        let attempt = Attempt { begun: self.simulation.network().now(), ..Attempt::default() };
        let made = Rc::clone(&attempt.made);
        let options = ConnectOptions::default();
        let factory = Rc::new(move || {
            made.set(made.get() + 1);
            Probe::new()
        });
        let connected = connect_with(&reactor, &endpoint.parse().unwrap(), factory, options);
        attempt.watch(connected)
    }

    /// Whether nothing is left but the listeners, and the connections that stand.
    fn assert_nothing_left(&self, standing: usize) {
        let after = self.simulation.reactor().statistics();
        assert_eq!(after.timers, self.before.timers, "timers");
        assert_eq!(after.sources, self.before.sources + standing, "sources");
    }

    /// Server's sides that stand.
    fn standing(&self) -> Vec<Rc<Seen>> {
        self.accepted.borrow().iter().filter(|seen| !seen.is_lost()).cloned().collect()
    }
}

/// How connecting has ended, and how long it took.
type End = (Duration, Outcome<Transport>);

/// What became of a connecting, and when.
#[derive(Clone, Default)]
struct Attempt {
    begun: ropewalk_reactor::Time,
    made: Rc<Cell<u32>>,
    end: Rc<RefCell<Option<End>>>,
    deferred: Rc<RefCell<Option<Deferred<()>>>>,
}

impl Attempt {
    fn watch(self, connected: Deferred<Transport>) -> Attempt {
        let (end, begun) = (Rc::clone(&self.end), self.begun);
        let reactor = connected.reactor().downgrade();
        let watched = connected.add_both(move |outcome: Result<Transport, Failure>| {
            let took = reactor.upgrade().unwrap().now().since(begun);
            *end.borrow_mut() = Some((took, outcome));
        });
        *self.deferred.borrow_mut() = Some(watched);
        self
    }

    fn cancel(&self) {
        self.deferred.borrow().as_ref().unwrap().cancel();
    }

    fn is_over(&self) -> bool {
        self.end.borrow().is_some()
    }

    /// The address that won, and the milliseconds that it took.
    fn won(&self) -> (String, u128) {
        let end = self.end.borrow();
        let (took, outcome) = end.as_ref().expect("it is over");
        let transport = outcome.as_ref().unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(self.made.get(), 1, "the factory is asked once");
        (transport.peer().to_string(), took.as_millis())
    }

    fn failed(&self) -> (Failure, u128) {
        let end = self.end.borrow();
        let (took, outcome) = end.as_ref().expect("it is over");
        (outcome.as_ref().expect_err("it fails").clone(), took.as_millis())
    }

    /// The error's line, and the milliseconds that it took.
    fn said(&self) -> (String, u128) {
        let (failure, took) = self.failed();
        (failure.to_string(), took)
    }
}

#[test]
fn ipv6_wins_where_both_answer_and_nobody_else_is_asked() {
    let world = World::new(&[V4[0], V6[0]], &[V4[0], V6[0]]);
    let attempt = world.connect("tcp:host:80");
    world.simulation.advance(SECOND);
    let (winner, took) = attempt.won();
    assert_eq!(winner, "[2001:db8::1]:80");
    assert!(took <= 5, "{took} ms");
    assert_eq!(world.accepted.borrow().len(), 1, "the other was never tried");
    world.assert_nothing_left(2);
}

#[test]
fn a_slow_ipv6_is_overtaken_after_a_quarter_of_a_second() {
    let world = World::new(&[V6[0], V4[0]], &[V6[0], V4[0]]);
    world.reach(V6[0], Reach::Slow(SECOND));
    let attempt = world.connect("tcp:host:80");
    world.simulation.advance(3 * SECOND);
    let (winner, took) = attempt.won();
    assert_eq!(winner, "192.0.2.1:80");
    assert!((250..=260).contains(&took), "{took} ms");
    assert_eq!(world.accepted.borrow().len(), 1, "the slow one was given up");
    world.assert_nothing_left(2);
}

#[test]
fn one_that_is_a_little_slow_still_wins_and_the_later_one_is_closed() {
    let world = World::new(&[V6[0], V4[0]], &[V6[0], V4[0]]);
    world.reach(V6[0], Reach::Slow(300 * MS)).reach(V4[0], Reach::Slow(100 * MS));
    let attempt = world.connect("tcp:host:80");
    world.simulation.advance(SECOND);
    let (winner, took) = attempt.won();
    assert_eq!(winner, "[2001:db8::1]:80");
    assert!((300..=305).contains(&took), "{took} ms");
    assert_eq!(world.accepted.borrow().len(), 1);
    world.assert_nothing_left(2);
}

#[test]
fn a_dead_ipv6_costs_one_delay_and_not_one_per_address() {
    let world = World::new(&[V6[0], V6[1], V6[2], V4[0]], &[V4[0]]);
    V6.iter().for_each(|address| {
        world.reach(address, Reach::Silent);
    });
    let attempt = world.connect("tcp:host:80");
    world.simulation.advance(SECOND);
    let (winner, took) = attempt.won();
    assert_eq!(winner, "192.0.2.1:80");
    assert!((250..=260).contains(&took), "{took} ms");
    world.assert_nothing_left(2);
}

#[test]
fn a_refusal_or_a_missing_route_costs_no_delay() {
    let world = World::new(&[V6[0], V4[0], V6[1], V4[1]], &[V4[1]]);
    world.reach(V6[0], Reach::Unreachable).reach(V6[1], Reach::Unreachable);
    let attempt = world.connect("tcp:host:80");
    world.simulation.advance(SECOND);
    let (winner, took) = attempt.won();
    assert_eq!(winner, "192.0.2.2:80");
    assert!(took <= 10, "{took} ms");
}

#[test]
fn a_failure_begins_the_next_attempt_also_beside_one_that_is_slow() {
    let world = World::new(&[V6[0], V4[0], V6[1]], &[V6[1]]);
    world.reach(V6[0], Reach::Silent);
    let attempt = world.connect("tcp:host:80");
    world.simulation.advance(SECOND);
    let (winner, took) = attempt.won();
    assert_eq!(winner, "[2001:db8::2]:80");
    assert!((250..=260).contains(&took), "{took} ms: the second was refused, the third begins then");
}

#[test]
fn when_all_fail_the_error_tells_each() {
    let world = World::new(&[V4[0], V6[0], V4[1]], &[]);
    world.reach(V6[0], Reach::Unreachable).reach(V4[1], Reach::Slow(100 * MS));
    let attempt = world.connect("tcp:host:80");
    world.simulation.advance(SECOND);
    let (failure, took) = attempt.failed();
    assert!(took <= 110, "{took} ms");
    let error = failure.check::<ConnectError>().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let attempts = error.attempts().iter().map(|attempt| (attempt.address.to_string(), attempt.error.kind()));
    let expected = [
        ("[2001:db8::1]:80", ErrorKind::NetworkUnreachable),
        ("192.0.2.1:80", ErrorKind::ConnectionRefused),
        ("192.0.2.2:80", ErrorKind::ConnectionRefused),
    ];
    assert_eq!(attempts.collect::<Vec<_>>(), expected.map(|(at, kind)| (at.to_owned(), kind)));
    assert_eq!(
        failure.to_string(),
        "host:80: [2001:db8::1]:80: network unreachable; 192.0.2.1:80: connection refused; \
         192.0.2.2:80: connection refused"
    );
    assert_eq!(attempt.made.get(), 0, "the factory was not asked");
    world.assert_nothing_left(0);
}

#[test]
fn one_time_covers_all_attempts() {
    let world = World::new(&[V6[0], V4[0], V6[1], V4[1]], &[]);
    [V6[0], V4[0], V6[1], V4[1]].iter().for_each(|address| {
        world.reach(address, Reach::Silent);
    });
    let attempt = world.connect("tcp:host:80:timeout=0.6");
    world.simulation.advance(SECOND);
    let (text, took) = attempt.said();
    assert!((600..=601).contains(&took), "{took} ms");
    assert_eq!(
        text,
        "host:80: [2001:db8::1]:80: timed out; 192.0.2.1:80: timed out; [2001:db8::2]:80: timed out \
         (and 1 more not tried)"
    );
    assert_eq!(attempt.failed().0.check::<ConnectError>().unwrap().kind(), ErrorKind::TimedOut);
    world.assert_nothing_left(0);
}

#[test]
fn who_connects_in_the_last_moment_has_connected() {
    let world = World::new(&[], &[V4[0]]);
    world.reach(V4[0], Reach::Slow(500 * MS));
    let attempt = world.connect("tcp:192.0.2.1:80:timeout=0.5");
    world.simulation.advance(SECOND);
    let (_, took) = attempt.won();
    assert_eq!(took, 500);
    world.assert_nothing_left(2);
}

#[test]
fn two_that_arrive_in_the_same_moment_are_one_connection() {
    for seed in 0..SEEDS {
        let world = World::with_seed(seed, &[V6[0], V4[0], V6[1]], &[V6[0], V4[0], V6[1]]);
        // They begin at 0, 250 and 500 ms, and arrive in one moment.
        world.reach(V6[0], Reach::Slow(600 * MS)).reach(V4[0], Reach::Slow(350 * MS));
        world.reach(V6[1], Reach::Slow(100 * MS));
        let attempt = world.connect("tcp:host:80");
        world.simulation.advance(SECOND);
        let (_, took) = attempt.won();
        assert!((600..=605).contains(&took), "seed {seed}: {took} ms");
        assert_eq!(world.standing().len(), 1, "seed {seed}: the losers are closed");
        world.assert_nothing_left(2);
    }
}

#[test]
fn several_in_one_batch_of_events_are_one_connection_too() {
    // 1. Three attempts are under way. 2. The loop is held until all of them have arrived. 3. One turn hears of all three.
    let world = World::new(&[V6[0], V4[0], V6[1]], &[V6[0], V4[0], V6[1]]);
    for address in [V6[0], V4[0], V6[1]] {
        world.reach(address, Reach::Slow(550 * MS));
    }
    let attempt = world.connect("tcp:host:80");
    world.simulation.advance(520 * MS);
    assert!(!attempt.is_over());
    world.simulation.network().hold(SECOND);
    world.simulation.advance(SECOND);
    attempt.won();
    assert_eq!(world.accepted.borrow().len(), 3, "all were accepted");
    assert_eq!(world.standing().len(), 1, "one is left");
    world.assert_nothing_left(2);
}

#[test]
fn cancelling_closes_every_attempt_at_once() {
    for after in [0, 1, 2, 100, 300, 600] {
        let world = World::new(&[V6[0], V4[0], V6[1]], &[V6[0], V4[0], V6[1]]);
        for address in [V6[0], V4[0], V6[1]] {
            world.reach(address, Reach::Slow(20 * SECOND));
        }
        let attempt = world.connect("tcp:host:80");
        world.simulation.advance(after * MS);
        attempt.cancel();
        if after > 5 {
            // Not in the next turn: now. Before that, the resolver's job is still on its way.
            world.assert_nothing_left(0);
        }
        world.simulation.advance(MS * 5);
        assert!(attempt.failed().0.is::<Cancelled>(), "after {after} ms: {:?}", attempt.failed().0);
        world.assert_nothing_left(0);
        world.simulation.advance(100 * SECOND);
        assert_eq!((attempt.made.get(), world.accepted.borrow().len()), (0, 0), "after {after} ms");
    }
}

#[test]
fn cancelling_at_any_moment_leaves_nothing_behind() {
    for seed in 0..SEEDS {
        let world = World::with_seed(seed, &[V6[0], V4[0], V6[1], V4[1]], &[V6[0], V4[0], V6[1]]);
        let random = |below| world.simulation.network().random() % below;
        for address in [V6[0], V4[0], V6[1]] {
            world.reach(address, Reach::Slow(u32::try_from(random(900)).unwrap() * MS));
        }
        let attempt = world.connect("tcp:host:80");
        let moment = u32::try_from(random(900)).unwrap() * MS;
        world.simulation.run_until(moment, || attempt.is_over());
        let connected = attempt.is_over();
        attempt.cancel();
        world.simulation.advance(2 * SECOND);
        let standing = usize::from(connected);
        assert_eq!(world.standing().len(), standing, "seed {seed}");
        world.assert_nothing_left(2 * standing);
    }
}

#[test]
fn the_reactor_ends_in_the_middle_of_a_race() {
    let world = World::new(&[V6[0], V4[0]], &[]);
    world.reach(V6[0], Reach::Silent).reach(V4[0], Reach::Silent);
    let attempt = world.connect("tcp:host:80");
    world.simulation.advance(300 * MS);
    world.simulation.stop();
    assert_eq!(attempt.made.get(), 0);
    assert!(!attempt.is_over(), "nobody is called after the end");
}

/// Whether connecting fails, in so many words.
fn fails(endpoint: &ClientEndpoint, kind: ErrorKind, words: &str) {
    let world = World::new(&[], &[]);
    let attempt = Attempt::default();
    let attempt = attempt.watch(connect(world.simulation.reactor(), endpoint, Probe::new));
    world.simulation.advance(SECOND);
    let (failure, _) = attempt.failed();
    let found = failure.check::<ConnectError>().map(ConnectError::kind);
    let found = found.or_else(|| failure.check::<std::io::Error>().map(std::io::Error::kind));
    assert_eq!(found, Some(kind), "{failure}");
    let text = failure.to_string();
    assert!(text.contains(words) && !text.contains(['\n', '\0']), "{text}");
    world.assert_nothing_left(0);
}

#[test]
fn what_cannot_be_connected_to_is_said_clearly() {
    let name = |host: &str| ClientEndpoint::tcp(host, 80);
    fails(&name(""), ErrorKind::InvalidInput, "a host is missing");
    fails(&name(&"a".repeat(254)), ErrorKind::InvalidInput, "254 bytes");
    fails(&name("a\0b"), ErrorKind::InvalidInput, "no host");
    fails(&name("example.org:80"), ErrorKind::InvalidInput, "':'");
    fails(&name("host"), ErrorKind::NotFound, "host: the name has no address");
    fails(&name("elsewhere"), ErrorKind::NotFound, "elsewhere: ");
    fails(&name("fe80::1%eth9"), ErrorKind::NotFound, "no interface \"eth9\"");
    fails(&ClientEndpoint::tcp("localhost", 0), ErrorKind::InvalidInput, "port 0");
    let bound: ClientEndpoint = "tcp:127.0.0.1:80:bindAddress=\\:\\:1".parse().unwrap();
    fails(&bound, ErrorKind::InvalidInput, "no address of the bind address's family");
}

struct Refusing;

impl Factory for Refusing {
    fn build_protocol(&self, _peer: &Address) -> Option<Box<dyn Protocol>> {
        None
    }
}

#[test]
fn a_factory_that_refuses_or_panics_fails_the_connecting() {
    let world = World::new(&[], &[V4[0]]);
    let endpoint = "tcp:192.0.2.1:80".parse().unwrap();
    let refused = Attempt::default().watch(connect(world.simulation.reactor(), &endpoint, Refusing));
    let panics = || -> Probe { panic!("as asked") };
    let panicked = Attempt::default().watch(connect(world.simulation.reactor(), &endpoint, panics));
    world.simulation.advance(SECOND);
    assert_eq!(refused.said().0, "192.0.2.1:80: the factory wants no connection");
    assert!(panicked.failed().0.is::<Panicked>());
    assert_eq!(world.standing().len(), 0);
    world.assert_nothing_left(0);
}

#[test]
fn a_bind_address_picks_the_family_and_is_seen_by_the_server() {
    let world = World::new(&[V6[0], V4[0]], &[V6[0], V4[0]]);
    let attempt = world.connect("tcp:host:80:bindAddress=10.0.0.7");
    world.simulation.advance(SECOND);
    assert_eq!(attempt.won().0, "192.0.2.1:80");
    let seen = world.standing().pop().unwrap();
    assert_eq!(seen.transport().peer().ip(), Some(ip("10.0.0.7")));
}

fn address(port: &Port) -> SocketAddr {
    match port.address() {
        Address::Inet(address) => *address,
        Address::Unix(_) => unreachable!(),
        other => panic!("not an address to connect to: {other}"),
    }
}

#[test]
fn the_systems_own_loopback_over_both_families_and_from_a_bind_address() {
    common::real(Kind::Tcp, &|ground: Ground| async move {
        for (interface, host, from) in [
            ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
            ("127.0.0.1", "localhost", "127.0.0.1"),
            ("127.0.0.1", "127.0.0.1:bindAddress=127.0.0.9", "127.0.0.9"),
            ("\\:\\:1", "\\:\\:1", "::1"),
            ("\\:\\:1", "[\\:\\:1]", "::1"),
            ("\\:\\:1", "\\:\\:1:bindAddress=\\:\\:1", "::1"),
        ] {
            let probe = Probe::echo();
            let seen = Rc::clone(&probe.seen);
            let probe = Cell::new(Some(probe));
            let endpoint = format!("tcp:0:interface={interface}").parse().unwrap();
            let port = listen(&ground.reactor, &endpoint, move || probe.take().unwrap()).unwrap();
            let (host, rest) = host
                .split_once(":bind")
                .map_or((host, String::new()), |(host, rest)| (host, format!(":bind{rest}")));
            let endpoint: ClientEndpoint =
                format!("tcp:host={host}:port={}{rest}", address(&port).port()).parse().unwrap();
            let transport = connect(&ground.reactor, &endpoint, Probe::new).await.unwrap();
            ground.until("it is accepted", || seen.made.get()).await;
            assert_eq!(seen.transport().peer().ip(), Some(ip(from)), "{endpoint}");
            assert_eq!(transport.peer(), *port.address());
            transport.lose_connection();
            ground.until("it is closed", || seen.is_lost()).await;
            port.stop_listening();
        }
    });
}

#[test]
fn the_system_refuses_and_a_foreign_bind_address_is_an_error() {
    common::real(Kind::Tcp, &|ground: Ground| async move {
        let port =
            listen(&ground.reactor, &"tcp:0:interface=127.0.0.1".parse().unwrap(), Probe::new).unwrap();
        let there = address(&port).port();
        let kind = |failure: Failure| failure.check::<ConnectError>().unwrap().kind();
        let foreign = format!("tcp:127.0.0.1:{there}:bindAddress=192.0.2.1").parse().unwrap();
        let failure = connect(&ground.reactor, &foreign, Probe::new).await.map(drop).unwrap_err();
        assert_eq!(kind(failure), ErrorKind::AddrNotAvailable);
        port.stop_listening();
        let refused = format!("tcp:localhost:{there}").parse().unwrap();
        let failure = connect(&ground.reactor, &refused, Probe::new).await.map(drop).unwrap_err();
        assert_eq!(kind(failure), ErrorKind::ConnectionRefused);
    });
}
