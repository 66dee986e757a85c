//! The journals: what every one must do, and what the one on disk does beside.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::cell::RefCell;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_channel::{
    Channels, ChannelsOptions, Event, EventId, Journal, Limit, MemoryJournal, Retention, Since,
    SqliteJournal, conformance,
};
use ropewalk_reactor::{Failure, Reactor, Simulation, react};
use ropewalk_store::rusqlite::Connection;

const ALL: Limit = Limit { events_max: usize::MAX, bytes_max: usize::MAX };

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ropewalk-channel-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("push.db")
    }

    fn count(&self, table: &str) -> i64 {
        let db = Connection::open(self.file()).unwrap();
        db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs on the real loop; a hanging test ends.
fn on_loop<F: Future<Output = ()> + 'static>(main: impl FnOnce(Reactor) -> F + 'static) {
    react(|reactor| async move {
        let work = main(reactor.clone());
        reactor.with_timeout(Duration::from_secs(20), work).await.unwrap();
        Ok(())
    })
    .unwrap();
}

type Work = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>>>;

fn in_simulation(seed: u64, journal: impl FnOnce(&Reactor) -> Work) {
    let simulation = Simulation::new(seed);
    let work = journal(simulation.reactor());
    let done = simulation.reactor().ensure_deferred(async move {
        work().await;
        Ok(())
    });
    simulation.advance(Duration::from_secs(60));
    assert!(done.has_outcome(), "seed {seed}");
    let failed: Rc<RefCell<Option<Failure>>> = Rc::default();
    let seen = Rc::clone(&failed);
    done.add_errback(move |failure| *seen.borrow_mut() = Some(failure)).detach();
    simulation.advance(Duration::from_secs(1));
    assert!(failed.borrow().is_none(), "seed {seed}: {:?}", failed.borrow());
}

#[test]
fn the_one_in_memory_is_a_journal_however_slow() {
    for seed in 0..100 {
        in_simulation(seed, |reactor| {
            let journal = MemoryJournal::new(reactor);
            journal.set_delay(Duration::from_millis(seed));
            Box::new(move || Box::pin(async move { conformance::check_journal(&journal).await }))
        });
    }
}

#[test]
fn the_one_on_disk_is_a_journal() {
    for seed in 0..20 {
        in_simulation(seed, |reactor| {
            let journal = SqliteJournal::in_memory(reactor).unwrap();
            Box::new(move || Box::pin(async move { conformance::check_journal(&journal).await }))
        });
    }
    let folder = Folder::new("conformance");
    let path = folder.file();
    on_loop(|reactor| async move {
        let journal = SqliteJournal::open(&reactor, &path).unwrap();
        conformance::check_journal(&journal).await;
    });
}

#[test]
fn the_next_process_finds_everything() {
    let folder = Folder::new("next");
    let (path, again) = (folder.file(), folder.file());
    let ids: Rc<RefCell<Vec<EventId>>> = Rc::default();
    let (before, after) = (Rc::clone(&ids), ids);
    on_loop(|reactor| async move {
        let journal = SqliteJournal::open(&reactor, &path).unwrap();
        let channels = Channels::durable(&reactor, journal.clone(), ChannelsOptions::default());
        let sent: Vec<_> = (0..100).map(|number| channels.publish("news", number.to_string())).collect();
        for one in sent {
            let id = one.await.unwrap();
            before.borrow_mut().push(id);
        }
        assert!(journal.database().statistics().commits < 10, "{:?}", journal.database().statistics());
        channels.publish("bytes", vec![0xff, 0x00]).await.unwrap();
        let news = channels.channel("news").await.unwrap();
        assert_eq!(news.begin("ann", EventId(0)).await.unwrap(), EventId(0));
        let third = before.borrow()[2];
        assert_eq!(news.acknowledge("ann", third).await.unwrap(), third);
        let last = news.last();
        assert_eq!(news.acknowledge("bob", EventId::MAX).await.unwrap(), last, "not beyond the last event");
    });
    on_loop(|reactor| async move {
        let journal = SqliteJournal::open(&reactor, &again).unwrap();
        let channels = Channels::durable(&reactor, journal, ChannelsOptions::default());
        assert_eq!(channels.names(), ["bytes", "news"]);
        assert!(
            channels.knows("news") && channels.peek("news").is_none(),
            "not loaded before it is asked for"
        );
        let news = channels.channel("news").await.unwrap();
        let kept = news.since(Since::Earliest, ALL);
        assert_eq!(kept.events.iter().map(|event| event.id).collect::<Vec<_>>(), *after.borrow());
        assert_eq!(kept.events[42].data.text(), Some("42"));
        assert_eq!(news.cursor("ann"), Some(after.borrow()[2]));
        let next = channels.publish("news", "next").await.unwrap();
        assert!(next > *after.borrow().last().unwrap());
        let bytes = channels.channel("bytes").await.unwrap();
        assert_eq!(bytes.since(Since::Last(1), ALL).events[0].data.as_bytes(), [0xff, 0x00]);
    });
}

#[test]
fn what_retention_drops_leaves_the_disk_in_slices() {
    let folder = Folder::new("slices");
    let simulation = Simulation::new(1);
    let reactor = simulation.reactor();
    let mut options = ChannelsOptions::default();
    options.channel.retention = Retention { events_max: 10, ..Retention::default() };
    let journal = SqliteJournal::open(reactor, &folder.file()).unwrap();
    let channels = Channels::durable(reactor, journal, options.clone());
    for _ in 0..5 {
        (0..1_000).for_each(|number| channels.publish("busy", number.to_string()).detach());
        assert!(simulation.run_until(Duration::from_secs(20), || channels.statistics().waiting == 0));
    }
    channels.publish("gone", "x").detach();
    assert!(
        simulation
            .run_until(Duration::from_secs(20), || channels.knows("gone") && channels.statistics().kept == 2)
    );
    channels.remove("gone").detach();
    let quiet = || (folder.count("event"), folder.count("orphan"), folder.count("channel")) == (10, 0, 1);
    assert!(!quiet(), "it takes its time");
    for _ in 0..100 {
        simulation.advance(Duration::from_millis(100));
    }
    assert!(quiet(), "only what is kept is left, {} events", folder.count("event"));
    drop((channels, simulation));

    let simulation = Simulation::new(2);
    let journal = SqliteJournal::open(simulation.reactor(), &folder.file()).unwrap();
    let channels = Channels::durable(simulation.reactor(), journal, options);
    let busy = channels.channel("busy");
    simulation.advance(Duration::from_secs(5));
    drop(busy);
    let busy = channels.peek("busy").unwrap();
    assert_eq!(busy.statistics().events, 10);
    assert!(busy.since(Since::After(EventId(5)), ALL).gap.is_some());
}

#[test]
fn a_larger_retention_finds_what_is_still_there_and_a_smaller_one_forgets() {
    let simulation = Simulation::new(1);
    let journal = MemoryJournal::new(simulation.reactor());
    let events = (1..=10).map(|id| Event { id: EventId(id), at_ms: 5, data: "x".into() }).collect();
    journal.append("a", events).detach();
    simulation.advance(Duration::from_secs(1));
    let mut options = ChannelsOptions::default();
    options.channel.retention.events_max = 4;
    let channels = Channels::durable(simulation.reactor(), journal.clone(), options);
    channels.channel("a").detach();
    simulation.advance(Duration::from_secs(1));
    let a = channels.peek("a").unwrap();
    assert_eq!((a.statistics().events, a.statistics().floor), (4, EventId(6)));
    let young = Retention { age_max: Some(Duration::from_secs(1)), ..Retention::default() };
    let mut options = ChannelsOptions::default();
    options.channel.retention = young;
    let channels = Channels::durable(simulation.reactor(), journal.clone(), options);
    channels.channel("a").detach();
    simulation.advance(Duration::from_secs(1));
    let a = channels.peek("a").unwrap();
    assert_eq!((a.statistics().events, a.statistics().floor), (0, EventId(10)), "they are from 1970");
    simulation.advance(Duration::from_secs(1));
    let left = journal.load("a", Retention::default());
    simulation.advance(Duration::from_secs(1));
    left.add_callback(|left| assert_eq!((left.events.len(), left.floor), (0, EventId(10)))).detach();
    simulation.advance(Duration::from_secs(1));
}
