//! Publishers, observers, bridges and captures. Nothing here is global but the `log` crate's logger, which asks the thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use ropewalk_reactor::Failure;

use super::*;
use crate::clock::Clock;

const LONG: Duration = Duration::from_secs(20);

fn messages(ring: &RingObserver) -> Vec<String> {
    ring.events().iter().map(|event| event.message().into_owned()).collect()
}

fn info(text: &'static str) -> Event {
    Event::new(Level::Info, "test", text)
}

fn ring(publisher: &Publisher) -> Arc<RingObserver> {
    let ring = Arc::new(RingObserver::new(10_000));
    publisher.add(Arc::clone(&ring));
    ring
}

#[test]
fn what_was_logged_before_logging_began_is_told_to_the_first_observers() {
    let publisher = Publisher::default();
    for number in 0..1010 {
        publisher.publish(Event::format(Level::Info, "test", "{n}").with("n", number));
    }
    let rings = [(), ()].map(|()| Arc::new(RingObserver::new(10_000)));
    let ids = publisher.begin(rings.iter().map(|ring| Arc::clone(ring) as Arc<dyn Observer>).collect());
    publisher.publish(info("live"));
    let late = ring(&publisher);
    publisher.publish(info("later"));
    for ring in &rings {
        let told = messages(ring);
        assert_eq!(
            (told.len(), &told[0][..], &told[1000][..], &told[1001][..]),
            (1002, "10", "live", "later")
        );
    }
    assert_eq!(messages(&late), ["later"]);
    let statistics = publisher.statistics();
    assert_eq!((statistics.forgotten, statistics.observers, statistics.events[2]), (10, 3, 1012));
    assert!(publisher.remove(ids[0]) && !publisher.remove(ids[0]));
    publisher.publish(info("last"));
    assert_eq!((rings[0].events().len(), rings[1].events().len()), (1002, 1003));
}

#[test]
fn an_observer_that_panics_hurts_nobody_and_the_others_are_told() {
    let publisher = Publisher::default();
    let before = ring(&publisher);
    publisher.add(|_: &Arc<Event>| std::panic::resume_unwind(Box::new("broken")));
    let behind = ring(&publisher);
    for _ in 0..10 {
        publisher.publish(info("hello"));
    }
    for ring in [&before, &behind] {
        let told = ring.events();
        assert_eq!(told.iter().filter(|event| event.message() == "hello").count(), 10);
        // The first time, the second, the fourth, the eighth.
        let reports: Vec<_> = told.iter().filter(|event| event.level == Level::Critical).collect();
        assert_eq!(reports.len(), 4);
        assert!(reports[0].message().starts_with("an observer panicked: "));
        assert_eq!(reports[0].trouble.as_ref().unwrap().text, "panicked: broken");
    }
    assert_eq!(publisher.statistics().panics, 10);
}

#[test]
fn an_observer_that_logs_is_heard_by_the_others_and_ends() {
    let publisher = Publisher::default();
    let echo = publisher.clone();
    publisher.publish(info("early"));
    publisher.add(move |event: &Arc<Event>| {
        echo.publish(Event::new(Level::Info, "echo", format!("{}!", event.message())));
    });
    let ring = ring(&publisher);
    publisher.publish(info("a"));
    assert_eq!(messages(&ring), ["a!", "a"]);
}

#[test]
fn a_slow_observer_costs_its_own_events_which_are_counted_and_said() {
    let publisher = Publisher::default();
    let (begun, begins) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let heard = Arc::new(RingObserver::new(1000));
    let ear = Arc::clone(&heard);
    let slow = move |event: &Arc<Event>| {
        begun.send(()).unwrap();
        // It fails when the test has let go.
        let _ = released.lock().unwrap().recv();
        ear.keep(event);
    };
    let queue = Arc::new(Queued::new("slow", 3, slow).unwrap());
    let id = publisher.add(Arc::clone(&queue));
    let others = ring(&publisher);
    publisher.publish(info("first"));
    begins.recv_timeout(LONG).unwrap();
    for _ in 0..10 {
        publisher.publish(info("more"));
    }
    assert_eq!((queue.statistics().dropped, others.events().len()), (7, 11));
    drop(release);
    publisher.remove(id);
    // The end waits for what is in the queue.
    drop(queue);
    assert_eq!(
        messages(&heard),
        ["first", "more", "more", "more", "7 events are missing here: slow was too slow"]
    );
}

#[test]
fn a_queued_observer_that_panics_goes_on() {
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let queue = Queued::new("broken", 100, move |_: &Arc<Event>| {
        counted.fetch_add(1, Ordering::Relaxed);
        std::panic::resume_unwind(Box::new("broken"));
    });
    let queue = Arc::new(queue.unwrap());
    for _ in 0..5 {
        queue.observe(&Arc::new(info("x")));
    }
    let counts = Arc::clone(&queue);
    drop(queue);
    // The thread holds no queue: the last handle ends it, and waits.
    let figures = move || counts.statistics().panics;
    let until = std::time::Instant::now() + LONG;
    while figures() < 5 {
        assert!(std::time::Instant::now() < until);
        std::thread::yield_now();
    }
    assert_eq!(count.load(Ordering::Relaxed), 5);
}

#[test]
fn a_ring_forgets_the_oldest_and_tells_the_rest_again() {
    let small = RingObserver::new(2);
    for text in ["a", "b", "c"] {
        small.keep(&Arc::new(info(text)));
    }
    let other = RingObserver::new(10);
    small.replay_to(&other);
    assert_eq!((messages(&other), small.forgotten()), (vec!["b".to_owned(), "c".to_owned()], 1));
}

#[test]
fn tracing_events_bring_their_fields_and_spans() {
    let ((), logged) = capture(|| {
        let outer = tracing::info_span!("request", id = 7, user = tracing::field::Empty);
        let _entered = outer.enter();
        outer.record("user", "ada");
        let _inner = tracing::debug_span!("query").entered();
        let error = std::io::Error::other("torn");
        tracing::warn!(target: "shop", count = -3, ratio = 0.5, ok = true, text = "x", shown = %1, error = &error as &dyn std::error::Error, "low on {}", "rope");
    });
    let [event] = &logged[..] else { panic!("{logged:?}") };
    assert_eq!((event.level, &*event.namespace, &*event.message()), (Level::Warn, "shop", "low on rope"));
    let fields: Vec<_> = event.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(fields, ["count=-3", "ratio=0.5", "ok=true", "text=x", "shown=1", "error=torn"]);
    let spans: Vec<_> = event.spans.iter().map(|span| &*span.name).collect();
    assert_eq!(spans, ["request", "query"]);
    assert_eq!(event.spans[0].fields.get("id").and_then(Value::as_u64), Some(7));
    assert_eq!(event.spans[0].fields.get("user").and_then(Value::as_str), Some("ada"));
    let line = TextFormat { zone: jiff::tz::TimeZone::UTC, colour: false }.line(event);
    assert!(line.ends_with("[shop#warn] request{id=7 user=ada}: query: low on rope count=-3 ratio=0.5 ok=true text=x shown=1 error=torn\n"), "{line}");
}

#[test]
fn records_of_the_log_crate_keep_their_target_and_level() {
    let ((), logged) = capture_from(&"warn,chatty=trace,shop=debug".parse().unwrap(), || {
        ::log::info!("not wanted");
        ::log::debug!(target: "shop::till", "open");
        ::log::trace!(target: "shop", "not wanted");
        ::log::trace!(target: "chatty", "{}", 1 + 1);
    });
    let told: Vec<_> = logged
        .iter()
        .map(|event| format!("{} {} {}", event.namespace, event.level, event.message()))
        .collect();
    assert_eq!(told, ["shop::till debug open", "chatty trace 2"]);
}

#[test]
fn levels_count_at_once_for_the_same_place_in_the_code() {
    let levels = Levels::new(Level::Warn);
    let ((), logged) = capture_from(&levels, || {
        for round in 0..4 {
            match round {
                1 => levels.set("a::b", Level::Debug),
                2 => levels.set("a::b", None),
                3 => levels.set_rest(Level::Debug),
                _ => {}
            }
            tracing::debug!(target: "a::b::c", round, "here");
            tracing::debug!(target: "z", round, "there");
        }
    });
    let told: Vec<_> =
        logged.iter().map(|event| format!("{} {}", event.field("round").unwrap(), event.message())).collect();
    assert_eq!(told, ["1 here", "3 there"]);
}

#[test]
fn msg_and_err_go_to_the_capture_with_the_failure_itself() {
    let publisher_here = || publisher().map(|publisher| publisher.statistics().observers);
    let (observers, logged) = capture(|| {
        msg("hello");
        err(&Failure::new(std::fmt::Error), "it broke");
        publisher_here()
    });
    assert_eq!(observers, Some(1));
    logged.assert(Level::Info, "hello");
    logged.assert(Level::Error, "it broke");
    assert_eq!(logged.failures::<std::fmt::Error>(), 1);
    assert!(logged[1].trouble.as_ref().unwrap().traceback.contains("made at"));
    logged.assert_nothing_from(Level::Critical);
    let missing =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| logged.assert(Level::Warn, "hello")));
    assert!(missing.is_err());
}

#[test]
fn a_capture_hears_places_that_another_thread_came_by_first() {
    fn place() {
        tracing::info!("the place");
    }
    let ((), logged) = capture(|| {
        // That thread has no subscriber, and settles nothing for this one.
        std::thread::spawn(place).join().unwrap();
        place();
    });
    assert_eq!(logged.len(), 1);
}

#[test]
fn the_clock_is_the_publishers() {
    let clock = Clock::new(jiff::tz::TimeZone::UTC, || "2026-03-29T01:00:00Z".parse().unwrap());
    let publisher = Publisher::new(clock, Levels::default());
    let ring = ring(&publisher);
    publisher.publish(info("x"));
    assert_eq!(ring.events()[0].time.to_string(), "2026-03-29T01:00:00Z");
}
