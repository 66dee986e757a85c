//! Channels by name: made, let go of and removed; every limit; and who acknowledges.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_channel::{
    Channel, ChannelError, ChannelOptions, Channels, ChannelsOptions, Event, EventId, GapReason, Limit,
    Listener, MemoryJournal, Retention, Since, Slow,
};
use ropewalk_reactor::{Deferred, Failure, Simulation};

const SECOND: Duration = Duration::from_secs(1);

fn small(change: impl FnOnce(&mut ChannelsOptions)) -> ChannelsOptions {
    let mut options = ChannelsOptions { idle: 20 * SECOND, ..ChannelsOptions::default() };
    change(&mut options);
    options
}

/// What comes of it.
fn wait<T: 'static>(simulation: &Simulation, deferred: Deferred<T>) -> Result<T, Failure> {
    let got = Rc::new(RefCell::new(None));
    let mine = Rc::clone(&got);
    let done = deferred.add_both(move |outcome| *mine.borrow_mut() = Some(outcome));
    assert!(simulation.run_until(60 * SECOND, || done.has_outcome()), "it has an outcome");
    got.take().unwrap()
}

fn error<T: 'static + std::fmt::Debug>(simulation: &Simulation, deferred: Deferred<T>) -> ChannelError {
    wait(simulation, deferred).unwrap_err().check::<ChannelError>().expect("one of ours").clone()
}

#[test]
fn an_empty_channel_that_nobody_uses_goes_and_its_ids_never_come_back() {
    let simulation = Simulation::new(1);
    let mut ids = Vec::new();
    for journal in [None, Some(MemoryJournal::new(simulation.reactor()))] {
        let options = small(|options| options.channel.retention.age_max = Some(SECOND));
        let channels = match &journal {
            None => Channels::in_memory(simulation.reactor(), options),
            Some(journal) => Channels::durable(simulation.reactor(), journal.clone(), options),
        };
        for _ in 0..5 {
            ids.push(wait(&simulation, channels.publish("a", "x")).unwrap());
            let held = channels.peek("a").unwrap();
            simulation.advance(60 * SECOND);
            assert!(channels.knows("a"), "somebody has a handle");
            drop(held);
            simulation.advance(60 * SECOND);
            assert!(!channels.knows("a") && channels.statistics().channels == 0);
        }
        assert_eq!(channels.statistics().removed, 5);
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        let again = wait(&simulation, channels.channel("a")).unwrap();
        let gap = again.since(Since::After(ids[ids.len() - 3]), Limit::default()).gap.expect("it is gone");
        assert_eq!(gap.reason, GapReason::Dropped);
    }
}

#[test]
fn a_channel_that_never_published_leaves_no_trace() {
    let simulation = Simulation::new(1);
    let journal = MemoryJournal::new(simulation.reactor());
    let channels = Channels::durable(simulation.reactor(), journal, small(|_| ()));
    drop(wait(&simulation, channels.channel("a")).unwrap());
    simulation.advance(60 * SECOND);
    assert_eq!((channels.statistics().channels, channels.statistics().kept), (0, 0));
    assert!(channels.names().is_empty());
}

#[test]
fn so_many_channels_and_no_more() {
    let simulation = Simulation::new(1);
    let channels = Channels::in_memory(simulation.reactor(), small(|options| options.channels_max = 2));
    let first = channels.channel_now("a").unwrap();
    channels.channel_now("b").unwrap().publish_now("kept").unwrap();
    assert_eq!(channels.channel_now("c").unwrap_err(), ChannelError::TooManyChannels);
    drop(first);
    channels.channel_now("c").expect("the first is empty, and nobody uses it");
    assert_eq!(channels.names(), ["b", "c"]);

    let journal = MemoryJournal::new(simulation.reactor());
    let channels =
        Channels::durable(simulation.reactor(), journal, small(|options| options.channels_max = 2));
    for name in ["a", "b"] {
        wait(&simulation, channels.publish(name, "kept")).unwrap();
    }
    assert_eq!(error(&simulation, channels.publish("c", "x")), ChannelError::TooManyChannels);
    assert!(wait(&simulation, channels.remove("a")).unwrap());
    wait(&simulation, channels.publish("c", "x")).unwrap();
    assert_eq!(channels.names(), ["b", "c"]);
}

#[test]
fn so_much_memory_and_no_more() {
    let simulation = Simulation::new(1);
    let text = "x".repeat(1_000);
    let options = || {
        small(|options| {
            options.memory_bytes_max = 5_000;
            options.channel.retention.events_max = 3;
        })
    };
    let channels = Channels::in_memory(simulation.reactor(), options());
    let publish = |name: &str| channels.channel_now(name).unwrap().publish_now(text.as_str());
    for name in ["a", "a", "a", "b"] {
        publish(name).unwrap();
    }
    assert_eq!(publish("b"), Err(ChannelError::MemoryFull));
    publish("a").expect("one event takes the place of another");
    assert_eq!(channels.statistics().bytes, 4 * 1_064);
    wait(&simulation, channels.remove("a")).unwrap();
    publish("b").expect("there is room again");

    let journal = MemoryJournal::new(simulation.reactor());
    let channels = Channels::durable(simulation.reactor(), journal, options());
    for name in ["a", "b", "c", "d", "a", "b", "c", "d", "a", "b", "c", "d"] {
        wait(&simulation, channels.publish(name, text.as_str())).unwrap();
        assert!(channels.statistics().bytes <= 5_000);
    }
    assert!(channels.statistics().unloaded > 0);
    let held: Vec<Channel> =
        ["a", "b"].into_iter().filter_map(|name| wait(&simulation, channels.channel(name)).ok()).collect();
    let events: usize = held.iter().map(|channel| channel.statistics().events).sum();
    assert_eq!(held.len() * 3, events, "what was let go of is loaded whole");
    assert_eq!(error(&simulation, channels.channel("c")), ChannelError::MemoryFull, "the others are in use");
}

#[test]
fn an_event_that_is_too_large_and_too_many_that_wait() {
    let simulation = Simulation::new(1);
    let journal = MemoryJournal::new(simulation.reactor());
    journal.set_delay(SECOND);
    let options = small(|options| {
        options.channel.event_bytes_max = 100;
        options.waiting_max = 3;
        options.waiting_bytes_max = 200;
    });
    let channels = Channels::durable(simulation.reactor(), journal, options);
    let a = wait(&simulation, channels.channel("a")).unwrap();
    let large = "x".repeat(101);
    let refused = error(&simulation, a.publish(large.as_str()));
    assert_eq!(refused, ChannelError::TooLarge { bytes: 101, bytes_max: 100 });
    assert_eq!(a.publish_now("x"), Err(ChannelError::NotAtOnce));

    let sent: Vec<_> = (0..4).map(|_| a.publish("x")).collect();
    let outcomes: Vec<bool> = sent.into_iter().map(|one| wait(&simulation, one).is_ok()).collect();
    assert_eq!(outcomes, [true, true, true, false]);
    let sent: Vec<_> = (0..3).map(|_| a.publish(&large[..99])).collect();
    let outcomes: Vec<bool> = sent.into_iter().map(|one| wait(&simulation, one).is_ok()).collect();
    assert_eq!(outcomes, [true, true, false]);
    assert_eq!(channels.statistics().waiting, 0);
}

#[test]
fn nobody_sees_an_event_before_it_is_committed() {
    struct Seen(RefCell<Vec<EventId>>);
    impl Listener for Seen {
        fn published(&self, event: &Event) {
            self.0.borrow_mut().push(event.id);
        }
    }
    let simulation = Simulation::new(1);
    let journal = MemoryJournal::new(simulation.reactor());
    let channels = Channels::durable(simulation.reactor(), journal.clone(), small(|_| ()));
    let a = wait(&simulation, channels.channel("a")).unwrap();
    let seen = Rc::new(Seen(RefCell::default()));
    let _subscription = a.subscribe(seen.clone());
    journal.set_failing(100);
    assert!(wait(&simulation, a.publish("lost")).unwrap_err().to_string().contains("on fire"));
    assert!(seen.0.borrow().is_empty() && a.statistics().events == 0);
    journal.set_failing(0);
    let before = a.last();
    let kept = wait(&simulation, a.publish("kept")).unwrap();
    assert_eq!(*seen.0.borrow(), [kept]);
    assert!(kept.0 > before.0 + 1, "the id of the lost one is not given again");
    a.publish("next").detach();
    simulation.advance(SECOND);
    // Nobody waits for it, and it is published all the same.
    a.publish("unwatched").detach();
    simulation.advance(SECOND);
    assert_eq!(a.statistics().events, 3);
}

#[test]
fn a_channel_made_again_at_once_gives_other_ids() {
    let simulation = Simulation::new(1);
    let channels = Channels::in_memory(simulation.reactor(), small(|_| ()));
    // More in a moment than the clock has microseconds.
    let channel = channels.channel_now("a").unwrap();
    let last = (0..50_000).map(|_| channel.publish_now("x").unwrap()).max().unwrap();
    wait(&simulation, channels.remove("a")).unwrap();
    assert!(channels.channel_now("a").unwrap().publish_now("x").unwrap() > last);
}

#[test]
fn how_many_were_missed_is_not_said_where_an_id_was_left_out() {
    let simulation = Simulation::new(1);
    let journal = MemoryJournal::new(simulation.reactor());
    let options = small(|options| options.channel.retention.events_max = 2);
    let channels = Channels::durable(simulation.reactor(), journal.clone(), options);
    let publish = |failing| {
        journal.set_failing(failing);
        wait(&simulation, channels.publish("a", "x"))
    };
    let first = publish(0).unwrap();
    publish(100).unwrap_err();
    let third = publish(0).unwrap();
    let rest: Vec<EventId> = (0..3).map(|_| publish(0).unwrap()).collect();
    let a = channels.peek("a").unwrap();
    let missed = |id| a.since(Since::After(id), Limit::default()).gap.unwrap();
    assert_eq!((missed(first).missed, missed(first).resumed), (None, rest[0]));
    assert_eq!(missed(third).missed, Some(1));
}

#[test]
fn removing_ends_it_for_everybody_and_what_is_made_then_is_another_one() {
    struct Told(RefCell<u32>);
    impl Listener for Told {
        fn published(&self, _: &Event) {}
        fn closed(&self) {
            *self.0.borrow_mut() += 1;
        }
    }
    let simulation = Simulation::new(1);
    let journal = MemoryJournal::new(simulation.reactor());
    journal.set_delay(SECOND);
    let channels = Channels::durable(simulation.reactor(), journal, small(|_| ()));
    let a = wait(&simulation, channels.channel("a")).unwrap();
    let last = wait(&simulation, a.publish("x")).unwrap();
    let told = Rc::new(Told(RefCell::new(0)));
    let _subscription = a.subscribe(told.clone());
    let waits = a.publish("never sent");
    let removed = channels.remove("a");
    let again = channels.channel("a");
    let twice = channels.remove("a");
    assert_eq!(error(&simulation, waits), ChannelError::Closed);
    assert!(wait(&simulation, removed).unwrap() && !wait(&simulation, twice).unwrap());
    assert_eq!(*told.0.borrow(), 1);
    assert!(a.is_closed());
    assert_eq!(error(&simulation, a.publish("x")), ChannelError::Closed);
    let again = wait(&simulation, again).unwrap();
    assert!(!again.is_closed() && again.statistics().events == 0);
    assert!(wait(&simulation, again.publish("y")).unwrap() > last);
}

#[test]
fn names_and_patterns() {
    let simulation = Simulation::new(1);
    let logs = ChannelOptions {
        retention: Retention { events_max: 1, ..Retention::default() },
        slow: Slow::Disconnect,
        clients_max: 0,
        ..ChannelOptions::default()
    };
    let options = small(|options| options.patterns = vec![("logs.*".to_owned(), logs)]);
    let channels = Channels::in_memory(simulation.reactor(), options);
    assert!(matches!(channels.channel_now("a/b").unwrap_err(), ChannelError::Name(_)));
    assert!(matches!(error(&simulation, channels.publish("", "x")), ChannelError::Name(_)));
    let web = channels.channel_now("logs.web").unwrap();
    web.publish_now("1").unwrap();
    web.publish_now("2").unwrap();
    assert_eq!(
        (web.statistics().events, web.options().slow, &**web.name()),
        (1, Slow::Disconnect, "logs.web")
    );
    assert_eq!(channels.channel_now("other").unwrap().options().slow, Slow::Gap);
    let refused = error(&simulation, web.acknowledge("ann", EventId(1)));
    assert_eq!(refused, ChannelError::NoAcknowledgements);
}

#[test]
fn an_acknowledged_place_is_kept_and_never_moves_back() {
    let simulation = Simulation::new(1);
    let options = small(|options| {
        options.channel.clients_max = 2;
        options.channel.retention.events_max = 3;
    });
    let channels = Channels::in_memory(simulation.reactor(), options);
    let a = channels.channel_now("a").unwrap();
    let ids: Vec<EventId> = (0..5).map(|number| a.publish_now(number.to_string()).unwrap()).collect();
    let set = |client: &str, id| wait(&simulation, a.acknowledge(client, id)).unwrap();
    assert_eq!(wait(&simulation, a.begin("ann", ids[2])).unwrap(), ids[2]);
    assert_eq!(set("ann", ids[3]), ids[3]);
    assert_eq!(set("ann", ids[1]), ids[3]);
    assert_eq!(wait(&simulation, a.begin("ann", ids[4])).unwrap(), ids[3], "it has one");
    assert_eq!(set("bob", ids[4]), ids[4]);
    assert_eq!(error(&simulation, a.acknowledge("eve", ids[4])), ChannelError::TooManyClients);
    assert!(matches!(error(&simulation, a.acknowledge("a b", ids[4])), ChannelError::Name(_)));
    // What ann has not read is gone: she may as well begin anew.
    assert!((0..9).all(|_| a.publish_now("x").is_ok()));
    assert_eq!(set("eve", ids[4]), ids[4]);
    assert_eq!((a.cursor("ann"), a.clients().len()), (None, 2));
    wait(&simulation, a.forget_client("eve")).unwrap();
    assert_eq!(a.cursor("eve"), None);
}
