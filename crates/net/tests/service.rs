//! The client service in virtual time: it comes back after everything that can happen to a connection, never holds two, and
//! leaves nothing behind. The random life with 100 seeds is in `service_seeds`.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use common::{Probe, Seen};
use ropewalk_net::{
    ClientPolicy, ClientService, Connected, Port, Protocol, ServerEndpoint, Transport, listen,
};
use ropewalk_reactor::failure::Cancelled;
use ropewalk_reactor::{Deferred, Failure, Firing, Outcome, Reach, Simulation, deferred};

const MS: Duration = Duration::from_millis(1);
const MOMENT: Duration = Duration::from_millis(50);
const SECOND: Duration = Duration::from_secs(1);

type Handle = Rc<Seen>;
type Service = ClientService<Handle>;

/// A simulation with a server that can be switched on and off, and a service.
struct Ground {
    simulation: Simulation,
    port: RefCell<Option<Port>>,
    /// The server's side of each connection.
    accepted: Rc<RefCell<Vec<Rc<Seen>>>>,
    before: (usize, usize),
}

fn policy() -> ClientPolicy {
    ClientPolicy { jitter: Duration::ZERO, ..ClientPolicy::default() }
}

impl Ground {
    fn new() -> Ground {
        let simulation = Simulation::new(1);
        simulation.advance(MOMENT);
        let statistics = simulation.reactor().statistics();
        Ground {
            simulation,
            port: RefCell::default(),
            accepted: Rc::default(),
            before: (statistics.sources, statistics.timers),
        }
    }

    /// With a server that is up.
    fn up() -> Ground {
        let ground = Ground::new();
        ground.open();
        ground
    }

    fn open(&self) {
        let accepted = Rc::clone(&self.accepted);
        let endpoint: ServerEndpoint = "tcp:80:interface=127.0.0.1".parse().unwrap();
        let make = move || {
            let probe = Probe::echo();
            accepted.borrow_mut().push(Rc::clone(&probe.seen));
            probe
        };
        *self.port.borrow_mut() = Some(listen(self.simulation.reactor(), &endpoint, make).unwrap());
    }

    fn service(&self, policy: ClientPolicy) -> Service {
        self.service_of("tcp:127.0.0.1:80:timeout=5", Probe::new, policy)
    }

    fn service_of(
        &self,
        endpoint: &str,
        probe: impl Fn() -> Probe + 'static,
        policy: ClientPolicy,
    ) -> Service {
        let factory = move || {
            let probe = probe();
            let seen = Rc::clone(&probe.seen);
            (probe, seen)
        };
        ClientService::new(self.simulation.reactor(), endpoint.parse().unwrap(), factory, policy)
    }

    fn advance(&self, by: Duration) {
        self.simulation.advance(by);
    }

    /// The server's side of the connection that was accepted last.
    fn last(&self) -> Transport {
        self.accepted.borrow().last().expect("one was accepted").transport()
    }

    fn standing(&self) -> usize {
        self.accepted.borrow().iter().filter(|seen| !seen.is_lost()).count()
    }

    /// That nothing is left but the listener.
    fn assert_nothing_left(&self) {
        let statistics = self.simulation.reactor().statistics();
        let listener = usize::from(self.port.borrow().is_some());
        assert_eq!((statistics.sources - listener, statistics.timers), self.before);
    }
}

/// What stopping has come to, and the chain that tells it.
type Stopped = (Told<()>, Deferred<()>);

/// What a deferred has come to.
#[derive(Clone)]
struct Told<T>(Rc<RefCell<Option<Outcome<T>>>>);

fn told<T: 'static>(deferred: Deferred<T>) -> (Told<T>, Deferred<()>) {
    let told = Told(Rc::default());
    let tell = Rc::clone(&told.0);
    (told, deferred.add_both(move |outcome: Outcome<T>| *tell.borrow_mut() = Some(outcome)))
}

impl<T> Told<T> {
    fn is_none(&self) -> bool {
        self.0.borrow().is_none()
    }

    fn is_ok(&self) -> bool {
        matches!(*self.0.borrow(), Some(Ok(_)))
    }

    fn failure(&self) -> Failure {
        self.0.borrow().as_ref().expect("it is told").as_ref().err().expect("it fails").clone()
    }
}

#[test]
fn whoever_waits_is_told_and_can_talk() {
    let ground = Ground::up();
    let service = ground.service(policy());
    let early: Vec<_> = (0..10).map(|_| told(service.when_connected(None))).collect();
    ground.advance(10 * SECOND);
    assert!(early.iter().all(|(told, _)| told.is_none()), "it was not started");
    assert_eq!(service.statistics().waiting, 10);
    service.start();
    service.start();
    ground.advance(MOMENT);
    assert!(early.iter().all(|(told, _)| told.is_ok()));
    let (late, _chain) = told(service.when_connected(Some(1)));
    ground.advance(Duration::ZERO);
    assert!(late.is_ok(), "at once");
    let connected = service.connected().unwrap();
    connected.transport.write(b"hello");
    ground.advance(MOMENT);
    assert_eq!(*connected.handle.data.borrow(), b"hello");
    let statistics = service.statistics();
    assert_eq!((statistics.attempts, statistics.connections, statistics.waiting), (1, 1, 0));
    assert!(statistics.connected_since.is_some() && statistics.next_attempt.is_none());

    let (stopped, _chain) = told(service.stop());
    ground.advance(MOMENT);
    assert!(stopped.is_ok() && connected.handle.is_lost());
    assert_eq!(connected.handle.reason(), "closed by this side");
    assert!(service.connected().is_none() && service.statistics().connected_since.is_none());
    ground.advance(100 * SECOND);
    assert_eq!(service.statistics().attempts, 1);
    ground.assert_nothing_left();
}

/// Connects, lets something happen to the connection, and waits for the next one.
fn comes_back(probe: impl Fn() -> Probe + 'static, harm: impl Fn(&Ground, &Connected<Handle>), reason: &str) {
    let ground = Ground::up();
    let service = ground.service_of("tcp:127.0.0.1:80:timeout=5", probe, policy());
    service.start();
    ground.advance(MOMENT);
    let first = service.connected().expect("the server is up");
    harm(&ground, &first);
    let gone = ground.simulation.run_until(10 * SECOND, || first.handle.is_lost());
    assert!(gone, "{reason}");
    assert!(service.connected().is_none());
    assert!(first.handle.reason().contains(reason), "{}", first.handle.reason());
    assert!(service.last_failure().unwrap().to_string().contains(reason));
    ground.advance(SECOND + MOMENT);
    let second = service.connected().unwrap_or_else(|| panic!("it comes back: {reason}"));
    assert!(!Rc::ptr_eq(&first.handle, &second.handle) && second.handle.made.get());
    assert_eq!((service.statistics().attempts, service.statistics().failures), (2, 0));
    let (stopped, _chain) = told(service.stop());
    ground.advance(SECOND);
    assert!(stopped.is_ok());
    ground.assert_nothing_left();
}

#[test]
fn it_comes_back_after_every_kind_of_loss() {
    comes_back(Probe::new, |ground, _| ground.last().abort_connection(), "broken: ");
    comes_back(Probe::new, |ground, _| ground.last().lose_connection(), "ended by the peer");
    comes_back(Probe::new, |_, connected| connected.transport.abort_connection(), "aborted by this side");
    comes_back(Probe::new, |_, connected| connected.transport.lose_connection(), "closed by this side");
    let impatient = || {
        Probe::new().on_made(|transport| {
            transport.set_deadline(Some(transport.reactor().now() + 2 * SECOND));
        })
    };
    comes_back(impatient, |_, _| {}, "timed out: idle");
}

#[test]
fn it_comes_back_after_a_protocol_that_panics() {
    struct Panics;
    impl Protocol for Panics {
        fn data_received(&mut self, _: &Transport, _: &[u8]) {
            panic!("as asked");
        }
    }
    let ground = Ground::up();
    let endpoint = "tcp:127.0.0.1:80".parse().unwrap();
    let service = ClientService::new(ground.simulation.reactor(), endpoint, || (Panics, ()), policy());
    service.start();
    for _ in 0..3 {
        ground.advance(20 * SECOND);
        assert_eq!(ground.standing(), 1);
        service.connected().expect("it is back").transport.write(b"come");
        ground.advance(MOMENT);
        assert!(service.connected().is_none());
        assert_eq!(service.last_failure().unwrap().to_string(), "the protocol panicked");
    }
    drop(service.stop());
    ground.advance(SECOND);
    ground.assert_nothing_left();
}

#[test]
fn a_protocol_that_switches_is_watched_all_the_same() {
    let ground = Ground::up();
    let switching = || Probe::new().on_made(|transport| transport.switch(Box::new(Probe::new())));
    let service = ground.service_of("tcp:127.0.0.1:80", switching, policy());
    service.start();
    ground.advance(MOMENT);
    assert!(service.connected().is_some());
    ground.last().lose_connection();
    ground.advance(2 * SECOND);
    assert_eq!(service.statistics().connections, 2);
    assert!(service.connected().is_some());
}

#[test]
fn delays_grow_while_it_is_refused_and_begin_anew_when_a_connection_has_stood() {
    let ground = Ground::new();
    let service = ground.service(policy());
    service.start();
    let mut delays = Vec::new();
    for attempt in 1..=13 {
        assert!(
            ground.simulation.run_until(100 * SECOND, || service.statistics().failures_in_a_row == attempt)
        );
        let until = service.statistics().next_attempt.unwrap();
        delays.push(until.since(ground.simulation.network().now()).as_secs_f64());
    }
    let expected = [1.0, 1.5, 2.25, 3.375, 5.06, 7.59, 11.39, 17.09, 25.63, 38.44, 57.67, 60.0, 60.0];
    for (delay, expected) in delays.iter().zip(expected) {
        assert!((delay - expected).abs() < 0.02, "{delays:?}");
    }
    ground.open();
    ground.advance(61 * SECOND);
    assert!(service.connected().is_some());
    assert_eq!(service.statistics().failures_in_a_row, 0);
    // It did not stand for long: the next delay is still the longest.
    ground.last().lose_connection();
    ground.advance(59 * SECOND);
    assert!(service.connected().is_none());
    ground.advance(2 * SECOND);
    assert!(service.connected().is_some());
    // It has stood: the delay is the first again.
    ground.advance(10 * SECOND);
    ground.last().lose_connection();
    ground.advance(SECOND + MOMENT);
    assert!(service.connected().is_some());
}

#[test]
fn jitter_spreads_the_clients_of_a_server_that_comes_back() {
    let ground = Ground::new();
    let services: Vec<Service> = (0..50).map(|_| ground.service(ClientPolicy::default())).collect();
    services.iter().for_each(ClientService::start);
    ground.advance(MOMENT);
    let next = |service: &Service| service.statistics().next_attempt.unwrap().as_millis();
    let mut moments: Vec<u64> = services.iter().map(next).collect();
    moments.sort_unstable();
    moments.dedup();
    assert!(moments.len() > 40, "{moments:?}");
    assert!(moments.last().unwrap() - moments.first().unwrap() > 800);
}

#[test]
fn it_goes_on_after_timeouts_and_after_names_that_are_not_known() {
    let ground = Ground::up();
    let network = ground.simulation.network();
    network.set_reach("127.0.0.1".parse().unwrap(), Reach::Silent);
    let service = ground.service_of("tcp:server.test:80:timeout=5", Probe::new, policy());
    service.start();
    ground.advance(MOMENT);
    assert!(service.last_failure().unwrap().to_string().starts_with("server.test: "));
    network.set_host("server.test", &["127.0.0.1".parse().unwrap()]);
    // The failure is remembered for 5 s; the attempt after that runs into silence.
    assert!(ground.simulation.run_until(100 * SECOND, || {
        service.last_failure().is_some_and(|failure| failure.to_string() == "127.0.0.1:80: timed out")
    }));
    network.set_reach("127.0.0.1".parse().unwrap(), Reach::Near);
    assert!(ground.simulation.run_until(100 * SECOND, || service.connected().is_some()));
}

#[test]
fn a_waiter_gives_up_after_as_many_failures_as_it_said() {
    let ground = Ground::new();
    let service = ground.service(policy());
    service.start();
    let [none, one, three, forever] =
        [Some(0), Some(1), Some(3), None].map(|count| told(service.when_connected(count)));
    ground.advance(MOMENT);
    assert!(none.0.failure().to_string().contains("refused"));
    assert!(one.0.failure().to_string().contains("refused") && three.0.is_none());
    let (late, _late) = told(service.when_connected(Some(2)));
    let (cancelled, chain) = told(service.when_connected(None));
    assert_eq!(service.statistics().waiting, 4);
    chain.cancel();
    assert_eq!(service.statistics().waiting, 3, "who gives up is forgotten");
    ground.advance(SECOND);
    assert!(three.0.is_none() && late.is_none());
    assert!(cancelled.failure().is::<Cancelled>());
    ground.advance(1500 * MS);
    assert!(three.0.failure().to_string().contains("refused"), "the first, and two more");
    assert!(late.failure().to_string().contains("refused"), "they count from when one asks");
    let (stopped, _stopped) = told(service.stop());
    ground.advance(Duration::ZERO);
    assert!(stopped.is_ok(), "there was nothing to wait for");
    assert!(forever.0.failure().is::<Cancelled>());
    let (after, _after) = told(service.when_connected(None));
    ground.advance(Duration::ZERO);
    assert!(after.failure().is::<Cancelled>(), "it is stopped");
    ground.assert_nothing_left();
}

#[test]
fn stopping_in_any_state_leaves_nothing() {
    // Resolving, connecting, waiting, connected.
    for (moment, endpoint) in [
        (Duration::ZERO, "tcp:localhost:80"),
        (MS, "tcp:localhost:80"),
        (Duration::ZERO, "tcp:192.0.2.1:80"),
        (SECOND, "tcp:192.0.2.1:80"),
        (500 * MS, "tcp:127.0.0.1:81"),
        (SECOND, "tcp:127.0.0.1:80"),
    ] {
        let ground = Ground::up();
        ground.simulation.network().set_reach("192.0.2.1".parse().unwrap(), Reach::Silent);
        let service = ground.service_of(endpoint, Probe::new, policy());
        service.start();
        ground.advance(moment);
        let connects = service.connected().is_some();
        let (stopped, _stopped) = told(service.stop());
        let (again, _again) = told(service.stop());
        ground.advance(MOMENT);
        assert!(stopped.is_ok() && again.is_ok(), "{endpoint} after {moment:?}");
        assert_eq!(ground.accepted.borrow().len(), usize::from(connects));
        ground.assert_nothing_left();
        // And it can be started again.
        ground.simulation.network().set_reach("192.0.2.1".parse().unwrap(), Reach::Near);
        if endpoint.ends_with(":80") && !endpoint.contains("192") {
            service.start();
            ground.advance(SECOND);
            assert!(service.connected().is_some());
        }
    }
}

#[test]
fn stopping_waits_for_the_output_but_not_for_ever() {
    let ground = Ground::new();
    let deaf = listen(ground.simulation.reactor(), &"tcp:80:interface=127.0.0.1".parse().unwrap(), || {
        Probe::new().on_made(Transport::pause_reading)
    });
    let service = ground.service(policy());
    service.start();
    ground.advance(MOMENT);
    let connected = service.connected().unwrap();
    connected.transport.write(&vec![0; 300_000]);
    let (stopped, _stopped) = told(service.stop());
    ground.advance(4 * SECOND);
    assert!(stopped.is_none() && !connected.handle.is_lost());
    ground.advance(SECOND + MOMENT);
    assert!(stopped.is_ok());
    assert_eq!(connected.handle.reason(), "timed out: closing");
    drop(deaf);
}

#[test]
fn started_while_it_closes_it_begins_anew_when_the_old_connection_is_gone() {
    let ground = Ground::new();
    let _deaf = listen(ground.simulation.reactor(), &"tcp:80:interface=127.0.0.1".parse().unwrap(), || {
        Probe::new().on_made(Transport::pause_reading)
    });
    let service = ground.service(policy());
    service.start();
    ground.advance(MOMENT);
    let first = service.connected().unwrap();
    first.transport.write(&vec![0; 300_000]);
    let (stopped, _stopped) = told(service.stop());
    ground.advance(SECOND);
    service.start();
    let (second, _second) = told(service.when_connected(None));
    ground.advance(SECOND);
    assert!(stopped.is_none() && second.is_none());
    assert_eq!(service.statistics().attempts, 1, "never two");
    ground.advance(4 * SECOND);
    assert!(stopped.is_ok() && second.is_ok() && first.handle.is_lost());
    assert_eq!(service.statistics().attempts, 2);
}

/// A preparation that the test ends, by the handle's key.
fn prepared_by_hand(service: &Service) -> Rc<RefCell<Option<Firing<()>>>> {
    let held: Rc<RefCell<Option<Firing<()>>>> = Rc::default();
    let hold = Rc::clone(&held);
    service.prepare_connection(move |connected: &Connected<Handle>| {
        let (firing, prepared) = Deferred::new(connected.transport.reactor());
        *hold.borrow_mut() = Some(firing);
        prepared
    });
    held
}

#[test]
fn a_connection_counts_once_it_is_prepared() {
    let ground = Ground::up();
    let service = ground.service(policy());
    let held = prepared_by_hand(&service);
    let (waited, _waited) = told(service.when_connected(Some(1)));
    service.start();
    ground.advance(3 * SECOND);
    assert!(waited.is_none() && service.connected().is_none() && ground.standing() == 1);
    held.take().unwrap().callback(()).unwrap();
    ground.advance(Duration::ZERO);
    assert!(waited.is_ok() && service.connected().is_some());
}

#[test]
fn a_preparation_that_fails_closes_the_connection_and_counts() {
    let ground = Ground::up();
    let service = ground.service(policy());
    let held = prepared_by_hand(&service);
    let (waited, _waited) = told(service.when_connected(Some(1)));
    service.start();
    ground.advance(MOMENT);
    held.take().unwrap().errback("wrong password").unwrap();
    ground.advance(MOMENT);
    assert_eq!(waited.failure().to_string(), "wrong password");
    assert_eq!((ground.standing(), service.statistics().failures), (0, 1));
    // The connection is lost in the middle of it.
    ground.advance(SECOND);
    assert_eq!(ground.standing(), 1);
    ground.last().abort_connection();
    ground.advance(MOMENT);
    let failure = service.last_failure().unwrap().to_string();
    assert!(failure.starts_with("lost before it was ready: broken"), "{failure}");
    // Stopped in the middle of it.
    ground.advance(2 * SECOND);
    assert_eq!(ground.standing(), 1);
    let (stopped, _stopped) = told(service.stop());
    ground.advance(MOMENT);
    assert!(stopped.is_ok());
    assert_eq!(ground.standing(), 0);
    ground.assert_nothing_left();
}

#[test]
fn the_next_attempt_waits_for_the_end_of_an_unprepared_connection() {
    // 1. The server reads nothing. 2. The preparation leaves output behind, and fails. 3. Closing takes its five seconds.
    let ground = Ground::new();
    let _deaf = listen(ground.simulation.reactor(), &"tcp:80:interface=127.0.0.1".parse().unwrap(), || {
        Probe::new().on_made(Transport::pause_reading)
    });
    let service = ground.service(policy());
    service.prepare_connection(|connected: &Connected<Handle>| -> Outcome<()> {
        connected.transport.write(&vec![0; 300_000]);
        Err(Failure::new("not today"))
    });
    service.start();
    ground.advance(4 * SECOND);
    assert_eq!((service.statistics().attempts, service.statistics().failures), (1, 0), "never two");
    ground.advance(SECOND + MOMENT);
    assert_eq!((service.statistics().attempts, service.statistics().failures), (1, 1));
    ground.advance(SECOND);
    assert_eq!(service.statistics().attempts, 2);
}

#[test]
fn a_connection_on_its_way_out_is_given_to_nobody() {
    let ground = Ground::up();
    let service = ground.service(policy());
    service.start();
    ground.advance(MOMENT);
    let first = service.connected().unwrap();
    first.transport.lose_connection();
    assert!(service.connected().is_none() && !first.transport.is_disconnected());
    let (waited, _waited) = told(service.when_connected(None));
    ground.advance(2 * SECOND);
    let second = waited.0.take().unwrap().unwrap_or_else(|failure| panic!("{failure}"));
    assert!(!Rc::ptr_eq(&first.handle, &second.handle));
}

#[test]
fn a_preparation_that_panics_counts_as_well() {
    let ground = Ground::up();
    let service = ground.service(policy());
    let times = Cell::new(0);
    service.prepare_connection(move |_: &Connected<Handle>| {
        times.set(times.get() + 1);
        assert!(times.get() > 1, "as asked");
    });
    service.start();
    ground.advance(MOMENT);
    assert!(service.last_failure().unwrap().to_string().contains("as asked"));
    assert_eq!(ground.standing(), 0);
    ground.advance(SECOND);
    assert!(service.connected().is_some(), "the second time it does not");
}

#[test]
fn a_preparation_that_stops_the_service_and_says_yes_leaves_nothing() {
    let ground = Ground::up();
    let service = ground.service(policy());
    let stopped: Rc<RefCell<Option<Stopped>>> = Rc::default();
    let (inner, keep) = (service.clone(), Rc::clone(&stopped));
    service.prepare_connection(move |_: &Connected<Handle>| {
        *keep.borrow_mut() = Some(told(inner.stop()));
    });
    let (waited, _waited) = told(service.when_connected(None));
    service.start();
    ground.advance(MOMENT);
    assert!(stopped.borrow().as_ref().unwrap().0.is_ok());
    assert!(waited.failure().is::<Cancelled>());
    assert!(service.connected().is_none());
    ground.assert_nothing_left();
}

#[test]
fn a_protocol_that_stops_its_service_as_it_is_made_leaves_nothing() {
    let ground = Ground::up();
    let slot: Rc<RefCell<Option<Service>>> = Rc::default();
    let stopped: Rc<RefCell<Option<Stopped>>> = Rc::default();
    let (own, keep) = (Rc::clone(&slot), Rc::clone(&stopped));
    let stopping = move || {
        let (own, keep) = (Rc::clone(&own), Rc::clone(&keep));
        Probe::new().on_made(move |_| {
            *keep.borrow_mut() = own.borrow().as_ref().map(|service| told(service.stop()));
        })
    };
    let service = ground.service_of("tcp:127.0.0.1:80", stopping, policy());
    *slot.borrow_mut() = Some(service.clone());
    service.start();
    ground.advance(MOMENT);
    assert!(stopped.borrow().as_ref().unwrap().0.is_ok());
    ground.assert_nothing_left();
    slot.take();
}

#[test]
fn a_protocol_that_closes_at_once_was_never_connected() {
    let ground = Ground::up();
    let closing = || Probe::new().on_made(Transport::abort_connection);
    let service = ground.service_of("tcp:127.0.0.1:80", closing, policy());
    let (waited, _waited) = told(service.when_connected(Some(2)));
    service.start();
    ground.advance(4 * SECOND);
    assert_eq!(waited.failure().to_string(), "lost before it was ready: aborted by this side");
    assert_eq!(service.statistics().connections, 0);
    assert!(service.statistics().failures >= 2);
}

#[test]
fn a_resolver_that_panics_is_a_failed_attempt() {
    let ground = Ground::up();
    let mut policy = policy();
    let times = Cell::new(0);
    let resolver = move |reactor: &ropewalk_reactor::Reactor, _: &str, port: u16| {
        times.set(times.get() + 1);
        assert!(times.get() > 1, "as asked");
        deferred::succeed(reactor, vec![std::net::SocketAddr::from(([127, 0, 0, 1], port))])
    };
    policy.connect.resolver = Some(Rc::new(resolver));
    let service = ground.service_of("tcp:anything:80", Probe::new, policy);
    service.start();
    ground.advance(MOMENT);
    assert!(service.last_failure().unwrap().to_string().contains("as asked"));
    ground.advance(SECOND);
    assert!(service.connected().is_some());
}

#[test]
fn the_reactors_stop_is_the_services() {
    for server in [true, false] {
        let ground = if server { Ground::up() } else { Ground::new() };
        let service = ground.service(policy());
        service.start();
        ground.advance(20 * SECOND);
        let connected = service.connected();
        assert_eq!(connected.is_some(), server);
        ground.simulation.stop();
        if let Some(connected) = connected {
            assert_eq!(connected.handle.reason(), "closed by this side");
        }
        assert!(service.connected().is_none() && service.statistics().next_attempt.is_none());
    }
}

#[test]
fn a_service_whose_handle_is_dropped_goes_on_and_an_ended_reactor_lets_go_of_it() {
    // Resolving, connecting, waiting, connected.
    for (moment, endpoint) in [
        (Duration::ZERO, "tcp:localhost:80"),
        (SECOND, "tcp:192.0.2.1:80"),
        (500 * MS, "tcp:127.0.0.1:81"),
        (20 * SECOND, "tcp:127.0.0.1:80"),
    ] {
        let held = Rc::new(());
        let ground = Ground::up();
        ground.simulation.network().set_reach("192.0.2.1".parse().unwrap(), Reach::Silent);
        let keep = Rc::clone(&held);
        let probe = move || {
            let keep = Rc::clone(&keep);
            Probe::new().on_made(move |_| {
                let _ = &keep;
            })
        };
        let service = ground.service_of(endpoint, probe, policy());
        service.start();
        let (_, chain) = told(service.when_connected(None));
        drop((service, chain));
        ground.advance(moment);
        assert!(Rc::strong_count(&held) > 1, "it goes on");
        if endpoint == "tcp:127.0.0.1:80" {
            assert_eq!(ground.standing(), 1);
        }
        ground.accepted.borrow_mut().clear();
        drop(ground);
        assert_eq!(Rc::strong_count(&held), 1, "{endpoint} after {moment:?}");
    }
}

#[test]
fn over_the_systems_sockets_it_comes_back_too() {
    common::real(common::Kind::Tcp, &|ground: common::Ground| async move {
        let accepted: Rc<RefCell<Vec<Rc<Seen>>>> = Rc::default();
        let seen = Rc::clone(&accepted);
        let port = ground.listen(ropewalk_net::TransportOptions::default(), move || {
            let probe = Probe::echo();
            seen.borrow_mut().push(Rc::clone(&probe.seen));
            probe
        });
        let policy = ClientPolicy { initial: 20 * MS, max: 50 * MS, ..policy() };
        let factory = || {
            let probe = Probe::new();
            let seen = Rc::clone(&probe.seen);
            (probe, seen)
        };
        let service = ClientService::new(&ground.reactor, ground.client(&port), factory, policy);
        service.start();
        for round in 1..=3 {
            let connected = service.when_connected(None).await.unwrap();
            connected.transport.write(b"hello");
            ground.until("the echo", || connected.handle.len() == 5).await;
            let server = accepted.borrow().last().unwrap().transport();
            // A reset, an orderly end, and then nobody listens for a while.
            match round {
                1 => server.abort_connection(),
                _ => server.lose_connection(),
            }
            ground.until("it is lost", || connected.handle.is_lost()).await;
        }
        port.stop_listening();
        let failures = service.statistics().failures;
        ground.until("it is refused", || service.statistics().failures > failures).await;
        let (stopped, accepted) = (service.stop(), accepted.borrow().len());
        stopped.await.unwrap();
        assert!(accepted >= 3 && service.connected().is_none());
    });
}
