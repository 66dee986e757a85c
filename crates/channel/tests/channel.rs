//! The channel from outside: cursors, gaps, and listeners that do everything they must not be punished for.

use ropewalk_channel::{
    Batch, Channel, Event, EventId, GapReason, Limit, Listener, Retention, Since, Subscription,
};
use ropewalk_reactor::Simulation;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

fn channel_of(retention: Retention) -> Channel {
    Channel::in_memory(Simulation::new(1).reactor(), retention)
}

fn channel(events_max: usize) -> Channel {
    channel_of(Retention { events_max, ..Retention::default() })
}

fn publish(channel: &Channel, text: &str) -> EventId {
    channel.publish_now(text).expect("published")
}

fn since(channel: &Channel, since: Since) -> Batch {
    channel.since(since, Limit::default())
}

fn text(event: &Event) -> &str {
    event.data.text().expect("a text was published")
}

fn texts(batch: &Batch) -> Vec<&str> {
    batch.events.iter().map(text).collect()
}

/// Notes what it is told, and runs a piece of code each time.
struct Viewer {
    seen: RefCell<Vec<String>>,
    then: Box<dyn Fn(&Event)>,
}

impl Viewer {
    fn new(then: impl Fn(&Event) + 'static) -> Rc<Viewer> {
        Rc::new(Viewer { seen: RefCell::default(), then: Box::new(then) })
    }

    fn seen(&self) -> String {
        self.seen.borrow().join(" ")
    }
}

impl Listener for Viewer {
    fn published(&self, event: &Event) {
        self.seen.borrow_mut().push(text(event).to_owned());
        (self.then)(event);
    }
}

#[test]
fn every_way_to_ask() {
    let channel = channel(3);
    assert_eq!(since(&channel, Since::Earliest).next, channel.last());
    let ids: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|text| publish(&channel, text)).collect();

    let now = since(&channel, Since::Now);
    assert_eq!((texts(&now), now.next, now.more), (vec![], ids[4], false));
    for from in [Since::Earliest, Since::After(EventId(0)), Since::Last(3), Since::Last(99)] {
        let batch = since(&channel, from);
        assert_eq!((texts(&batch), batch.gap, batch.next), (vec!["c", "d", "e"], None, ids[4]), "{from:?}");
    }
    assert_eq!(texts(&since(&channel, Since::Last(1))), ["e"]);
    assert_eq!(since(&channel, Since::Last(0)).next, ids[4]);
    assert_eq!(texts(&since(&channel, Since::After(ids[3]))), ["e"]);
    assert_eq!(since(&channel, Since::After(ids[4])).next, ids[4]);
}

#[test]
fn a_gap_is_said_exactly_when_something_may_be_missing() {
    let channel = channel(3);
    let ids: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|text| publish(&channel, text)).collect();

    let adjacent = since(&channel, Since::After(ids[1]));
    assert_eq!((texts(&adjacent), adjacent.gap), (vec!["c", "d", "e"], None), "b was seen, c follows");

    let older = since(&channel, Since::After(ids[0]));
    let gap = older.gap.expect("b is gone");
    assert_eq!((gap.asked, gap.resumed, gap.reason), (ids[0], ids[1], GapReason::Dropped));
    assert_eq!(texts(&older), ["c", "d", "e"]);

    let future = since(&channel, Since::After(EventId(ids[4].0 + 1)));
    assert_eq!(future.gap.expect("never given").reason, GapReason::Unknown);
    assert_eq!((texts(&future), future.next), (vec!["c", "d", "e"], ids[4]));
}

#[test]
fn a_viewer_of_the_process_before_is_told_of_the_gap() {
    // 1. A process publishes, and a viewer has seen all of it.
    let simulation = Simulation::new(1);
    let before = Channel::in_memory(simulation.reactor(), Retention::default());
    let seen = publish(&before, "old");
    drop(before);
    // 2. The process dies and comes back with an empty memory.
    simulation.advance(Duration::from_secs(2));
    let after = Channel::in_memory(simulation.reactor(), Retention::default());
    // 3. The viewer resumes before and after the first publish: both times it hears that history was lost.
    let empty = since(&after, Since::After(seen));
    assert!(empty.gap.is_some() && empty.events.is_empty() && empty.next > seen);
    publish(&after, "new");
    assert_eq!(texts(&since(&after, Since::After(seen))), ["new"]);
    // 4. From the place it was given on, there is no gap any more.
    assert_eq!(since(&after, Since::After(empty.next)).gap, None);
}

#[test]
fn reading_in_small_pieces_gives_the_whole() {
    let channel = channel(100);
    for number in 0..10 {
        publish(&channel, &number.to_string());
    }
    let (mut cursor, mut whole, mut batches) = (Since::Earliest, Vec::new(), 0);
    loop {
        let batch = channel.since(cursor, Limit { events_max: 3, ..Limit::default() });
        whole.extend(batch.events.iter().map(|event| text(event).to_owned()));
        (cursor, batches) = (Since::After(batch.next), batches + 1);
        if !batch.more {
            break;
        }
    }
    assert_eq!((whole.concat().as_str(), batches), ("0123456789", 4));
}

#[test]
fn a_listener_hears_what_follows_its_subscription() {
    let channel = channel(10);
    publish(&channel, "before");
    let viewer = Viewer::new(|_| ());
    let subscription = channel.subscribe(viewer.clone());
    publish(&channel, "during");
    drop(subscription);
    publish(&channel, "after");
    assert_eq!(viewer.seen(), "during");
    assert_eq!(Rc::strong_count(&viewer), 1, "the channel has let go");
}

#[test]
fn a_refused_event_is_heard_by_nobody() {
    let channel = channel_of(Retention { bytes_max: 4, ..Retention::default() });
    let viewer = Viewer::new(|_| ());
    let _subscription = channel.subscribe(viewer.clone());
    assert!(channel.publish_now("12345").is_err());
    assert_eq!((viewer.seen().as_str(), channel.statistics().published), ("", 0));
}

#[test]
fn publishing_from_a_listener_keeps_the_order_for_all() {
    let channel = channel(10);
    let publisher = channel.clone();
    let answering = Viewer::new(move |event| {
        if text(event) == "ping" {
            publish(&publisher, "pong");
            assert_eq!(publisher.statistics().pending, 2);
        }
    });
    let quiet = Viewer::new(|_| ());
    let _subscriptions = [channel.subscribe(answering.clone()), channel.subscribe(quiet.clone())];
    publish(&channel, "ping");
    assert_eq!((answering.seen().as_str(), quiet.seen().as_str()), ("ping pong", "ping pong"));
    assert_eq!(channel.statistics().pending, 0);
}

#[test]
fn leaving_during_a_delivery_is_leaving_at_once() {
    let channel = channel(10);
    let held: Rc<RefCell<Vec<Subscription>>> = Rc::default();
    let all = held.clone();
    let leaver = Viewer::new(move |_| {
        let subscriptions = std::mem::take(&mut *all.borrow_mut());
        drop(subscriptions);
    });
    let other = Viewer::new(|_| ());
    let subscriptions = [channel.subscribe(leaver.clone()), channel.subscribe(other.clone())];
    held.borrow_mut().extend(subscriptions);
    publish(&channel, "one");
    publish(&channel, "two");
    assert_eq!((leaver.seen().as_str(), other.seen().as_str()), ("one", ""));
    assert_eq!(channel.statistics().subscribers, 0);
}

#[test]
fn coming_during_a_delivery_is_coming_after_the_event() {
    let channel = channel(10);
    let late = Viewer::new(|_| ());
    let held: Rc<RefCell<Vec<Subscription>>> = Rc::default();
    let (inviter_channel, guest, subscriptions) = (channel.clone(), late.clone(), held.clone());
    let inviter = Viewer::new(move |event| {
        if text(event) == "one" {
            // The place of the one who left is taken again, behind and before the place being served.
            subscriptions.borrow_mut().pop();
            subscriptions.borrow_mut().push(inviter_channel.subscribe(guest.clone()));
            publish(&inviter_channel, "two");
        }
    });
    let _inviter = channel.subscribe(inviter.clone());
    held.borrow_mut().push(channel.subscribe(Viewer::new(|_| ())));
    publish(&channel, "one");
    assert_eq!((inviter.seen().as_str(), late.seen().as_str()), ("one two", "two"));
    assert_eq!(channel.statistics().subscribers, 2);
}

#[test]
fn a_listener_that_panics_takes_nobody_with_it() {
    let channel = channel(10);
    let first = Viewer::new(|event| assert_ne!(text(event), "bad", "broken viewer"));
    let second = Viewer::new(|_| ());
    let _subscriptions = [channel.subscribe(first.clone()), channel.subscribe(second.clone())];
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| publish(&channel, "bad")));
    assert!(caught.is_err());
    assert_eq!(second.seen(), "", "the panic went to the publisher first");
    publish(&channel, "good");
    assert_eq!((first.seen().as_str(), second.seen().as_str()), ("bad good", "bad good"));
}

#[test]
fn a_listener_whose_drop_calls_the_channel() {
    struct Farewell(Channel, Rc<Cell<u32>>);
    impl Listener for Farewell {
        fn published(&self, _: &Event) {}
    }
    impl Drop for Farewell {
        fn drop(&mut self) {
            self.1.set(self.1.get() + 1);
            publish(&self.0, "gone");
        }
    }
    let (channel, drops) = (channel(10), Rc::new(Cell::new(0)));
    let subscription = channel.subscribe(Rc::new(Farewell(channel.clone(), drops.clone())));
    drop(subscription);
    assert_eq!((drops.get(), channel.statistics().published), (1, 1));
}

#[test]
fn statistics_tell_what_happened() {
    let channel = channel(2);
    let _subscription = channel.subscribe(Viewer::new(|_| ()));
    for text in ["aa", "bbb", "cccc"] {
        publish(&channel, text);
    }
    let statistics = channel.statistics();
    assert_eq!((statistics.events, statistics.bytes, statistics.published), (2, 7, 3));
    assert_eq!((statistics.dropped, statistics.subscribers, statistics.pending), (1, 1, 0));
}

#[test]
fn a_subscription_may_outlive_its_channel() {
    let channel = channel(2);
    let subscription = channel.subscribe(Viewer::new(|_| ()));
    drop(channel);
    drop(subscription);
}

#[test]
fn who_is_here_is_counted_and_named() {
    let channel = channel(2);
    let changes: Rc<RefCell<Vec<String>>> = Rc::default();
    let told = Rc::clone(&changes);
    let watch = channel.watch_presence(move |change| told.borrow_mut().push(format!("{change:?}")));
    let nobody = channel.enter(None);
    let ann = [channel.enter(Some("ann")), channel.enter(Some("ann"))];
    let bob = channel.enter(Some("bob"));
    assert_eq!(bob.name(), Some("bob"));
    assert_eq!((channel.present(), channel.names()), (4, vec![("ann".into(), 2), ("bob".into(), 1)]));
    drop((nobody, bob));
    drop(watch);
    drop(ann);
    assert_eq!((channel.present(), channel.names()), (0, vec![]));
    let expected = [
        "Joined(None)",
        "Joined(Some(\"ann\"))",
        "Joined(Some(\"ann\"))",
        "Joined(Some(\"bob\"))",
        "Left(None)",
    ];
    assert_eq!(changes.borrow()[..5], expected);
    assert_eq!(changes.borrow()[5..], ["Left(Some(\"bob\"))"], "the watch had ended");
}

/// They hold one thing together, and still come and go one by one, also when the last of them had gone before.
#[test]
fn those_without_a_name_are_counted_one_by_one() {
    let channel = channel(2);
    assert_eq!(size_of::<ropewalk_channel::Attendance>(), size_of::<usize>());
    for _ in 0..2 {
        let mut here: Vec<_> = (0..3).map(|_| channel.enter(None)).collect();
        assert_eq!((channel.present(), here[0].name()), (3, None));
        here.pop();
        assert_eq!(channel.present(), 2);
        drop(here);
        assert_eq!(channel.present(), 0);
    }
    // Who outlives the channel leaves nobody behind.
    let last = channel.enter(None);
    drop(channel);
    drop(last);
}

#[test]
fn what_is_too_old_goes_when_somebody_looks() {
    let simulation = Simulation::new(1);
    let age_max = Some(Duration::from_secs(10));
    let channel = Channel::in_memory(simulation.reactor(), Retention { age_max, ..Retention::default() });
    let first = publish(&channel, "old");
    simulation.advance(Duration::from_secs(9));
    publish(&channel, "new");
    assert_eq!(texts(&since(&channel, Since::Earliest)), ["old", "new"]);
    simulation.advance(Duration::from_secs(2));
    assert_eq!(texts(&since(&channel, Since::Earliest)), ["new"]);
    assert_eq!(since(&channel, Since::After(EventId(first.0 - 1))).gap.expect("it is gone").missed, Some(1));
}
