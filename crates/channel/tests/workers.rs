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

/// A client may come back to any worker: where it is, is known at home.
#[test]
fn a_client_that_acknowledged_on_one_worker_goes_on_at_its_place_on_another() {
    let world = World::new(1, true, |options| options.channel.clients_max = 2);
    let ids: Vec<EventId> =
        ["x", "y", "z"].map(|text| world.wait(world.channels[0].publish("a", text)).unwrap()).to_vec();
    // Both have it before the client comes.
    let (one, two) = (world.channel(1, "a"), world.channel(2, "a"));
    assert_eq!(world.wait(one.begin("ann", EventId(0))).unwrap(), EventId(0));
    assert_eq!(world.wait(one.acknowledge("ann", ids[1])).unwrap(), ids[1]);
    assert_eq!(world.wait(two.begin("ann", EventId(0))).unwrap(), ids[1]);
    assert_eq!(world.wait(two.acknowledge("ann", ids[0])).unwrap(), ids[1], "never backwards");
    assert_eq!(world.wait(one.begin("ann", EventId(0))).unwrap(), ids[1]);
    // Two clients at most, whichever workers they come to.
    world.wait(two.begin("bob", ids[0])).unwrap();
    let refused = world.wait(one.begin("eve", ids[0])).unwrap_err();
    assert_eq!(refused.check::<ChannelError>(), Some(&ChannelError::TooManyClients));
    world.wait(two.forget_client("ann")).unwrap();
    assert_eq!(world.wait(one.begin("eve", ids[2])).unwrap(), ids[2]);
}

/// 1. An event is published, and answered. 2. Before another worker has heard of it, a reader comes there with its id.
#[test]
fn an_id_of_another_worker_is_known_as_soon_as_it_is_reached() {
    for seed in 0..100 {
        let world = World::new(seed, seed % 2 == 1, |_| ());
        let (home, other) = (world.channel(0, "a"), world.channel(1, "a"));
        world.wait(home.publish("first")).unwrap();
        let published = home.publish("second");
        while !published.has_outcome() {
            world.advance(0, MS);
        }
        let id = home.last();
        let blind = other.since(Since::After(id), Limit::default());
        assert!(blind.gap.is_some(), "seed {seed}: the other has not run");
        let reached: Vec<_> = [Since::After(id), Since::Earliest, Since::Now]
            .map(|since| other.reach(since))
            .into_iter()
            .collect();
        let later = other.reach(Since::Last(1));
        for one in reached {
            world.wait(one).unwrap();
        }
        let batch = other.since(Since::After(id), Limit::default());
        assert!(batch.gap.is_none() && batch.events.is_empty(), "seed {seed}");
        assert_eq!(other.last(), id);
        world.wait(later).unwrap();
        // What is known needs nobody; nor does home.
        assert!(
            other.reach(Since::After(id)).has_outcome()
                && home.reach(Since::After(EventId::MAX)).has_outcome()
        );
    }
}

/// Who waits for a channel that is removed meanwhile does not wait for ever.
#[test]
fn a_reach_ends_with_its_channel() {
    let world = World::new(1, false, |_| ());
    let other = world.channel(1, "a");
    world.wait(world.channels[0].publish("a", "x")).unwrap();
    world.channels[0].publish("a", "y").detach();
    let reached = other.reach(Since::Earliest);
    world.wait(world.channels[0].remove("a")).unwrap();
    world.wait(reached).unwrap();
    assert!(other.is_closed());
    assert!(!world.channels[0].knows("a"), "asking makes no channel");
}

#[test]
fn a_survey_counts_who_is_on_any_worker() {
    let world = World::new(1, true, |_| ());
    world.wait(world.channels[2].publish("a", "x")).unwrap();
    world.wait(world.channels[2].publish("b", "x")).unwrap();
    let channels: Vec<Channel> = (0..3).map(|worker| world.channel(worker, "a")).collect();
    let _here = [
        channels[0].enter(Some("ann")),
        channels[1].enter(Some("ann")),
        channels[1].enter(None),
        channels[2].enter(Some("bob")),
        world.channel(2, "b").enter(Some("eve")),
    ];
    for worker in 0..3 {
        let all = &world.channels[worker];
        assert_eq!(world.wait(all.all_names()).unwrap(), ["a", "b"], "worker {worker}");
        let asked = ["b", "none", "a"].map(str::to_owned).to_vec();
        let survey = world.wait(all.survey(asked)).unwrap();
        let seen: Vec<_> = survey
            .channels
            .iter()
            .map(|overview| {
                (&*overview.name, overview.statistics.as_ref().unwrap().present, overview.durable)
            })
            .collect();
        assert_eq!((seen, survey.present), (vec![("b", 1, true), ("a", 4, true)], 5), "worker {worker}");
        let a = world.wait(all.attendance("a")).unwrap().unwrap();
        assert_eq!(a.names, [("ann".to_owned(), 2), ("bob".to_owned(), 1)], "worker {worker}");
        assert_eq!(world.wait(all.attendance("none")).unwrap(), None);
        assert!(!world.channels[0].knows("none"), "asking makes no channel");
    }
}

/// A worker whose loop is held is not waited for; one that has ended is not asked.
#[test]
fn a_survey_ends_also_if_a_worker_does_not_answer() {
    let world = World::new(1, false, |_| ());
    let (home, stuck) = (world.channel(0, "a"), world.channel(2, "a"));
    let _here = [home.enter(None), stuck.enter(None)];
    let counted = Rc::new(Cell::new(None));
    let mine = Rc::clone(&counted);
    let surveyed = world.channels[0].survey(vec!["a".to_owned()]);
    surveyed.add_callback(move |survey: ropewalk_channel::Survey| mine.set(Some(survey.present))).detach();
    for _ in 0..190 {
        (0..2).for_each(|worker| world.advance(worker, 5 * MS));
    }
    assert_eq!(counted.get(), None);
    (0..2).for_each(|worker| world.advance(worker, 100 * MS));
    assert_eq!(counted.get(), Some(1));
    let World { simulations: [at_home, one, _], channels: [home, _kept, ended] } = world;
    drop((ended, stuck));
    let survey = home.survey(vec!["a".to_owned()]);
    for _ in 0..4 {
        at_home.advance(5 * MS);
        one.advance(5 * MS);
    }
    assert!(survey.has_outcome());
}

/// More than home's door holds, in one turn: it waits, and keeps its order.
#[test]
fn what_finds_no_room_in_the_door_of_home_waits_for_it() {
    let world = World::new(1, false, |options| options.channel.retention.events_max = 10_000);
    let channel = world.channel(1, "a");
    let answered = Rc::new(Cell::new(0));
    for number in 0..5_000 {
        let mine = Rc::clone(&answered);
        channel.publish(number.to_string()).add_callback(move |_| mine.set(mine.get() + 1)).detach();
    }
    world.settle();
    assert_eq!(answered.get(), 5_000);
    let expected: Vec<String> = (0..5_000).map(|number| number.to_string()).collect();
    assert!(world.texts(0, "a") == expected && world.texts(2, "a") == expected);
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
