//! Resolvers: what is remembered and for how long, what is shared, what is overridden, and who is asked.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::{
    ConnectOptions, OverrideResolver, Protocol, Resolver, SystemResolver, Transport, connect, connect_with,
    install_resolver, listen, resolve,
};
use ropewalk_reactor::{Deferred, PoolError, Reactor, Simulation, deferred};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What a resolver will have answered, as text.
#[derive(Clone, Default)]
struct Answer(Rc<RefCell<Option<String>>>);

impl Answer {
    fn of(found: Deferred<Vec<SocketAddr>>) -> (Answer, Deferred<()>) {
        let answer = Answer::default();
        let told = answer.clone();
        let told = found.add_both(move |outcome: Result<Vec<SocketAddr>, ropewalk_reactor::Failure>| {
            let text = match outcome {
                Ok(found) => found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
                Err(failure) => format!("error: {failure}"),
            };
            *told.0.borrow_mut() = Some(text);
        });
        (answer, told)
    }

    fn take(&self) -> Option<String> {
        self.0.borrow_mut().take()
    }
}

fn ground() -> (Simulation, SystemResolver) {
    let simulation = Simulation::new(1);
    simulation.network().set_conditions(|conditions| conditions.job = (10 * MS, 20 * MS));
    simulation.network().set_host("host", &[ip("2001:db8::1"), ip("192.0.2.1")]);
    (simulation, SystemResolver::new())
}

/// Asks and waits.
fn ask(simulation: &Simulation, resolver: &dyn Resolver, host: &str, port: u16) -> String {
    let (answer, _told) = Answer::of(resolver.resolve(simulation.reactor(), host, port));
    simulation.advance(50 * MS);
    answer.take().expect("it answers")
}

#[test]
fn an_answer_is_good_for_half_a_minute_and_a_failure_for_five_seconds() {
    let (simulation, resolver) = ground();
    let network = simulation.network();
    assert_eq!(ask(&simulation, &resolver, "host", 80), "[2001:db8::1]:80 192.0.2.1:80");
    network.set_host("host", &[ip("192.0.2.9")]);
    assert_eq!(ask(&simulation, &resolver, "HOST", 443), "[2001:db8::1]:443 192.0.2.1:443");
    assert_eq!(network.lookups(), 1, "another port and other letters are the same name");
    simulation.advance(29 * SECOND);
    assert_eq!(ask(&simulation, &resolver, "host", 80), "[2001:db8::1]:80 192.0.2.1:80");
    simulation.advance(SECOND);
    assert_eq!(ask(&simulation, &resolver, "host", 80), "192.0.2.9:80");
    assert_eq!(network.lookups(), 2);

    let answer = ask(&simulation, &resolver, "nowhere", 80);
    assert!(answer.starts_with("error: nowhere: "), "{answer}");
    network.set_host("nowhere", &[ip("192.0.2.3")]);
    assert!(ask(&simulation, &resolver, "nowhere", 80).starts_with("error: "));
    simulation.advance(5 * SECOND);
    assert_eq!(ask(&simulation, &resolver, "nowhere", 80), "192.0.2.3:80");
    assert_eq!(network.lookups(), 4);
    resolver.forget();
    assert_eq!(resolver.statistics().names, 0);
    ask(&simulation, &resolver, "host", 80);
    assert_eq!(network.lookups(), 5);
}

#[test]
fn requests_of_one_time_share_one_lookup_and_may_be_cancelled() {
    let (simulation, resolver) = ground();
    let ask = |port| Answer::of(resolver.resolve(simulation.reactor(), "host", port));
    let (first, first_told) = ask(1);
    let others: Vec<_> = (2..=100).map(ask).collect();
    assert_eq!(simulation.network().lookups(), 1);
    let statistics = resolver.statistics();
    assert_eq!((statistics.asking, statistics.waiting, statistics.names, statistics.shared), (1, 100, 0, 99));
    first_told.cancel();
    simulation.advance(SECOND);
    assert_eq!(first.take().as_deref(), Some("error: cancelled"), "the one who asked first is gone");
    for (port, (answer, _)) in (2..=100).zip(&others) {
        assert_eq!(answer.take(), Some(format!("[2001:db8::1]:{port} 192.0.2.1:{port}")));
    }
    assert_eq!(resolver.statistics().names, 1);
}

#[test]
fn a_name_server_that_does_not_answer_collects_nobody() {
    let (simulation, resolver) = ground();
    simulation.network().set_conditions(|conditions| conditions.job = (3600 * SECOND, 3600 * SECOND));
    let freed = Rc::new(());
    for _ in 0..10_000 {
        let held = Rc::clone(&freed);
        let found = resolver.resolve(simulation.reactor(), "host", 80).add_both(move |_| drop(held));
        found.cancel();
        simulation.advance(MS);
    }
    assert_eq!(simulation.network().lookups(), 1);
    assert_eq!(Rc::strong_count(&freed), 1);
    assert!(resolver.statistics().waiting < 10, "{:?}", resolver.statistics());
}

#[test]
fn only_so_many_names_and_addresses_are_kept() {
    let (simulation, resolver) = ground();
    let network = simulation.network();
    let many: Vec<IpAddr> = (0..100).map(|last| ip(&format!("192.0.2.{last}"))).collect();
    network.set_host("many", &many);
    let answer = ask(&simulation, &resolver, "many", 80);
    assert_eq!(answer.split(' ').count(), SystemResolver::ADDRESSES_MAX);
    for index in 0..SystemResolver::NAMES_MAX {
        let (_, _told) = Answer::of(resolver.resolve(simulation.reactor(), &format!("name{index}"), 80));
        simulation.advance(25 * MS);
        assert!(resolver.statistics().names <= SystemResolver::NAMES_MAX);
    }
    // Failures that were good for five seconds went before an answer that is good for half a minute.
    let lookups = network.lookups();
    ask(&simulation, &resolver, "many", 80);
    assert_eq!(network.lookups(), lookups);
}

#[test]
fn addresses_in_writing_need_no_thread() {
    let (simulation, resolver) = ground();
    for (host, address) in
        [("192.0.2.1", "192.0.2.1:80"), ("[::1]", "[::1]:80"), ("fe80::1%lo", "[fe80::1%1]:80")]
    {
        let (answer, _told) = Answer::of(resolver.resolve(simulation.reactor(), host, 80));
        simulation.advance(Duration::ZERO);
        assert_eq!(answer.take().as_deref(), Some(address));
    }
    assert_eq!((simulation.network().lookups(), resolver.statistics().lookups), (0, 0));
}

#[test]
fn overrides_go_before_the_next_resolver_and_do_not_loop() {
    let (simulation, system) = ground();
    let overrides = OverrideResolver::new(Rc::new(system))
        .with_host("Alias", "host")
        .with_host("host", "alias")
        .with_host("fixed.", "10.0.0.5")
        .with_host("10.9.9.9", "127.0.0.1")
        .with_port("host", 443, "127.0.0.1", 1443);
    let ask = |host, port| ask(&simulation, &overrides, host, port);
    assert_eq!(ask("ALIAS.", 80), "[2001:db8::1]:80 192.0.2.1:80");
    assert!(ask("host", 80).starts_with("error: alias: "), "what comes out is not looked up here again");
    assert_eq!(ask("host", 443), "127.0.0.1:1443");
    assert_eq!(ask("fixed", 1), "10.0.0.5:1");
    assert_eq!(ask("10.9.9.9", 1), "127.0.0.1:1");
    assert_eq!(ask("localhost", 1), "[::1]:1 127.0.0.1:1");
}

struct Silent;
impl Protocol for Silent {
    fn data_received(&mut self, _: &Transport, _: &[u8]) {}
}

#[test]
fn connecting_asks_the_reactors_resolver_or_the_one_that_it_is_given() {
    let (simulation, _) = ground();
    let reactor = simulation.reactor();
    listen(reactor, &"tcp:80:interface=127.0.0.1".parse().unwrap(), || Silent).unwrap();
    let endpoint = "tcp:anywhere.at.all:8080".parse().unwrap();
    let said: Rc<RefCell<Vec<String>>> = Rc::default();
    let note = |connected: Deferred<Transport>| {
        let said = Rc::clone(&said);
        connected.add_both(move |outcome: Result<Transport, ropewalk_reactor::Failure>| {
            let text =
                outcome.map_or_else(|failure| failure.to_string(), |transport| transport.peer().to_string());
            said.borrow_mut().push(text);
        })
    };
    let here = |reactor: &Reactor, _: &str, _: u16| -> Deferred<Vec<SocketAddr>> {
        deferred::succeed(reactor, vec![([127, 0, 0, 1], 80).into()])
    };
    let options = ConnectOptions { resolver: Some(Rc::new(here)), ..ConnectOptions::default() };
    let first = note(connect_with(reactor, &endpoint, Rc::new(|| Silent), options));
    simulation.advance(SECOND);
    let before = install_resolver(reactor, Rc::new(here));
    let second = note(connect(reactor, &endpoint, || Silent));
    simulation.advance(SECOND);
    install_resolver(reactor, before);
    let third = note(connect(reactor, &endpoint, || Silent));
    simulation.advance(SECOND);
    let said = said.take();
    assert_eq!(said[..2], ["127.0.0.1:80", "127.0.0.1:80"]);
    assert!(said[2].starts_with("anywhere.at.all: "), "{}", said[2]);
    drop((first, second, third));
}

/// Runs a future on a real reactor.
fn really<F: Future<Output = ()> + 'static>(test: impl FnOnce(Reactor) -> F) {
    let reactor = Reactor::new().unwrap();
    let (task, stopper) = (reactor.spawn(test(reactor.clone())), reactor.clone());
    let passed = Rc::new(Cell::new(false));
    let tell = Rc::clone(&passed);
    reactor.spawn(async move {
        tell.set(task.await.is_ok());
        stopper.stop();
    });
    reactor.run().unwrap();
    assert!(passed.get());
}

#[test]
fn a_full_pool_is_a_failure_that_is_not_remembered() {
    really(|reactor| async move {
        // 1. The only thread waits, and behind it the queue is full. 2. A name cannot be asked for. 3. The thread goes on.
        let (release, held) = std::sync::mpsc::channel::<()>();
        reactor.suggest_thread_pool_size(1);
        let begun = reactor.call_in_thread(move || assert!(held.recv().is_err()));
        begun.unwrap();
        while reactor.call_in_thread(|| {}).is_ok() {}
        let failure = resolve(&reactor, "localhost", 80).await.unwrap_err();
        assert_eq!(failure.check::<PoolError>(), Some(&PoolError::Full));
        drop(release);
        let drained = reactor.defer_to_thread(|| {});
        // It may still be full for a moment; then another is asked for.
        let mut drained = drained.await;
        while drained.is_err() {
            drained = reactor.defer_to_thread(|| {}).await;
        }
        assert!(!resolve(&reactor, "localhost", 80).await.unwrap().is_empty());
    });
}

#[test]
fn the_systems_resolver_knows_localhost_and_not_what_cannot_exist() {
    really(|reactor| async move {
        let found = resolve(&reactor, "localhost", 80).await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80), "{found:?}");
        // RFC 6761 section 6.4: this name is never there.
        let failure = resolve(&reactor, "nothing.invalid", 80).await.unwrap_err();
        assert!(failure.to_string().starts_with("nothing.invalid: "), "{failure}");
        let failure = resolve(&reactor, "", 80).await.unwrap_err();
        assert_eq!(failure.check::<std::io::Error>().unwrap().kind(), ErrorKind::InvalidInput);
    });
}
