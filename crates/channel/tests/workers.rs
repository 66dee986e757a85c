//! Channels followed by other workers: everybody sees the same events in the same order, or a gap.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ropewalk_channel::{
    Channel, ChannelError, Channels, ChannelsOptions, Event, EventId, Limit, Listener, MemoryJournal, Since,
};
use ropewalk_reactor::{Deferred, Firing, Outcome, Reactor, Simulation};

const MS: Duration = Duration::from_millis(1);

/// Home and two other workers, each with a clock of its own.
struct World {
    simulations: [Simulation; 3],
    /// Home's, and a replica on each of the others.
    channels: [Channels; 3],
}

impl World {
    fn new(seed: u64, durable: bool, change: impl Fn(&mut ChannelsOptions)) -> World {
        let simulations = [0, 1, 2].map(|worker| Simulation::new(seed * 3 + worker));
        let options = || {
            let mut options = ChannelsOptions { idle: Duration::from_secs(20), ..ChannelsOptions::default() };
            change(&mut options);
            options
        };
        let reactor = simulations[0].reactor();
        let home = if durable {
            let journal = MemoryJournal::new(reactor);
            journal.set_delay(3 * MS);
            Channels::durable(reactor, journal, options())
        } else {
            Channels::in_memory(reactor, options())
        };
        let way = home.home();
        let replica =
            |worker: usize| Channels::replica(simulations[worker].reactor(), &way, options()).unwrap();
        let channels = [home, replica(1), replica(2)];
        let world = World { simulations, channels };
        world.settle();
        world
    }

    fn advance(&self, worker: usize, by: Duration) {
        self.simulations[worker].advance(by);
    }

    fn settle(&self) {
        for _ in 0..60 {
            (0..3).for_each(|worker| self.advance(worker, 5 * MS));
        }
    }

    fn wait<T: 'static>(&self, deferred: Deferred<T>) -> Outcome<T> {
        let got = Rc::new(RefCell::new(None));
        let mine = Rc::clone(&got);
        deferred.add_both(move |outcome| *mine.borrow_mut() = Some(outcome)).detach();
        self.settle();
        got.take().expect("it has an outcome")
    }

    fn channel(&self, worker: usize, name: &str) -> Channel {
        self.wait(self.channels[worker].channel(name)).unwrap()
    }

    fn texts(&self, worker: usize, name: &str) -> Vec<String> {
        let all = Limit { events_max: usize::MAX, bytes_max: usize::MAX };
        let events = self.channel(worker, name).since(Since::Earliest, all).events;
        events.iter().map(|event| event.data.text().unwrap().to_owned()).collect()
    }
}

/// Notes what it hears.
#[derive(Default)]
struct Ear {
    heard: RefCell<Vec<EventId>>,
    closed: RefCell<bool>,
}

impl Listener for Ear {
    fn published(&self, event: &Event) {
        self.heard.borrow_mut().push(event.id);
    }

    fn closed(&self) {
        *self.closed.borrow_mut() = true;
    }
}

#[test]
fn whoever_publishes_everybody_sees_it_in_one_order() {
    for seed in 0..60 {
        let world = World::new(seed, seed % 2 == 1, |_| ());
        world.wait(world.channels[0].publish("a", "before")).unwrap();
        let ears: Vec<(Rc<Ear>, _, Channel)> = (0..3)
            .map(|worker| {
                let (ear, channel) = (Rc::new(Ear::default()), world.channel(worker, "a"));
                let subscription = channel.subscribe(ear.clone());
                (ear, subscription, channel)
            })
            .collect();
        let answered: Rc<RefCell<Vec<EventId>>> = Rc::default();
        for number in 0..90 {
            let worker = world.simulations[0].network().random() as usize % 3;
            let kept = Rc::clone(&answered);
            let published = world.channels[worker].publish("a", number.to_string());
            published.add_callback(move |id: EventId| kept.borrow_mut().push(id)).detach();
            let other = world.simulations[0].network().random() as usize % 3;
            world.advance(other, MS);
        }
        world.settle();
        let mut ids = answered.borrow().clone();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 90, "seed {seed}: each has an id of its own");
        for (worker, (ear, _, channel)) in ears.iter().enumerate() {
            assert_eq!(*ear.heard.borrow(), ids, "seed {seed}: worker {worker}");
            assert_eq!(channel.last(), *ids.last().unwrap());
        }
        assert_eq!(world.texts(1, "a"), world.texts(0, "a"));
        assert_eq!(world.texts(2, "a").len(), 91);
    }
}

#[test]
fn a_worker_that_is_behind_gets_a_gap_and_holds_nobody_up() {
    let world = World::new(1, false, |options| options.channel.retention.events_max = 10);
    let ear = Rc::new(Ear::default());
    let slow = world.channel(1, "a");
    let _subscription = slow.subscribe(ear.clone());
    let place = slow.last();
    let home = world.channel(0, "a");
    // The worker does not run: its door fills, and home goes on.
    for number in 0..20_000 {
        home.publish_now(number.to_string()).unwrap();
        if number % 10 == 0 {
            world.advance(0, Duration::from_micros(100));
        }
    }
    world.settle();
    assert_eq!(world.texts(1, "a"), world.texts(0, "a"));
    let batch = slow.since(Since::After(place), Limit::default());
    assert!(batch.gap.is_some() && batch.events.len() == 10);
    let heard = ear.heard.borrow();
    assert!(heard.is_sorted_by(|a, b| a < b) && heard.len() < 20_000);
    assert_eq!(heard.last(), Some(&home.last()));
}

#[test]
fn removing_reaches_every_worker_and_an_unused_replica_goes() {
    let world = World::new(1, true, |_| ());
    let first = world.wait(world.channels[1].publish("a", "x")).unwrap();
    let ears: Vec<_> = (0..3)
        .map(|worker| {
            let ear = Rc::new(Ear::default());
            let subscription = world.channel(worker, "a").subscribe(ear.clone());
            (ear, subscription)
        })
        .collect();
    world.wait(world.channels[2].remove("a")).unwrap();
    assert!(ears.iter().all(|(ear, _)| *ear.closed.borrow()));
    assert!(world.channels[0].peek("a").is_none());
    drop(ears);
    let next = world.wait(world.channels[1].publish("a", "y")).unwrap();
    assert!(next > first);
    assert_eq!(world.texts(2, "a"), ["y"]);
    for _ in 0..60 {
        (0..3).for_each(|worker| world.advance(worker, Duration::from_secs(1)));
    }
    assert!(world.channels[1].peek("a").is_none() && world.channels[0].knows("a"));
    // Loaded again, with what came meanwhile.
    world.wait(world.channels[0].publish("a", "z")).unwrap();
    assert_eq!(world.texts(1, "a"), ["y", "z"]);
}

#[test]
fn refusals_and_acknowledgements_come_from_home() {
    let world = World::new(1, true, |options| options.channels_max = 1);
    let id = world.wait(world.channels[1].publish("a", "x")).unwrap();
    let refused = world.wait(world.channels[2].publish("b", "x")).unwrap_err();
    assert_eq!(refused.check::<ChannelError>(), Some(&ChannelError::TooManyChannels));
    let here = world.channel(1, "a");
    assert_eq!(world.wait(here.begin("ann", EventId(0))).unwrap(), EventId(0));
    assert_eq!(world.wait(here.acknowledge("ann", id)).unwrap(), id);
    assert_eq!(world.channel(0, "a").cursor("ann"), Some(id));
    assert_eq!(world.channel(2, "a").cursor("ann"), Some(id));
    drop(here);

    let [home, replica, other] = world.channels;
    drop(home);
    let late = replica.publish("a", "y");
    for _ in 0..10 {
        world.simulations.iter().for_each(|simulation| simulation.advance(5 * MS));
    }
    let failed = Rc::new(RefCell::new(false));
    let mine = Rc::clone(&failed);
    late.add_errback(move |_| {
        *mine.borrow_mut() = true;
        EventId(0)
    })
    .detach();
    world.simulations.iter().for_each(|simulation| simulation.advance(5 * MS));
    assert!(*failed.borrow(), "nobody is at home");
    drop(other);
}

/// The same over real threads: a publisher on each of three workers.
#[test]
fn over_real_threads_everybody_sees_everything() {
    const EACH: usize = 300;
    let reactor = Reactor::new().unwrap();
    let home = Channels::in_memory(&reactor, ChannelsOptions::default());
    let way = home.home();
    let (done, ended) = std::sync::mpsc::channel();
    let workers: Vec<_> = (0..2)
        .map(|worker| {
            let (way, done) = (way.clone(), done.clone());
            std::thread::spawn(move || {
                let reactor = Reactor::new().unwrap();
                let channels = Channels::replica(&reactor, &way, ChannelsOptions::default()).unwrap();
                run(&reactor, channels, worker, 3 * EACH, done);
            })
        })
        .collect();
    let stop = reactor.remote();
    let watcher = std::thread::spawn(move || {
        let seen: Vec<Vec<String>> =
            (0..3).map(|_| ended.recv_timeout(Duration::from_secs(20)).unwrap()).collect();
        stop.call_from_thread(Reactor::stop).unwrap();
        seen
    });
    run(&reactor, home, 2, 3 * EACH, done);
    let seen = watcher.join().unwrap();
    assert!(seen.iter().all(|one| *one == seen[0] && one.len() == 3 * EACH));
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}

/// Fires when so many events were heard.
struct Enough {
    left: Cell<usize>,
    firing: Firing<()>,
}

impl Listener for Enough {
    fn published(&self, _event: &Event) {
        self.left.set(self.left.get() - 1);
        if self.left.get() == 0 {
            self.firing.callback(()).unwrap();
        }
    }
}

/// Publishes its share, and reports when everything was seen; runs until the loop is stopped, by the watcher at home.
fn run(
    reactor: &Reactor,
    channels: Channels,
    worker: usize,
    all: usize,
    done: std::sync::mpsc::Sender<Vec<String>>,
) {
    let handle = reactor.clone();
    // Others may still have to hear of it when this one has heard everything.
    let _kept = channels.clone();
    reactor.spawn(async move {
        let limit = Limit { events_max: usize::MAX, bytes_max: usize::MAX };
        let channel = channels.channel("a").await.unwrap();
        let (firing, heard) = Deferred::new(&handle);
        let there = channel.since(Since::Earliest, limit).events.len();
        let _subscription = channel.subscribe(Rc::new(Enough { left: Cell::new(all - there), firing }));
        for number in 0..all / 3 {
            channels.publish("a", format!("{worker}.{number}")).await.unwrap();
        }
        heard.await.unwrap();
        let batch = channel.since(Since::Earliest, limit);
        done.send(batch.events.iter().map(|event| event.data.text().unwrap().to_owned()).collect()).unwrap();
        if worker < 2 {
            handle.stop();
        }
    });
    reactor.run().unwrap();
}
