//! Limits in time.

use std::time::Duration;

use super::harness::{Diary, harness};
use crate::deferred::{Deferred, succeed};
use crate::failure::{Failure, TimedOut};

const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn too_late_is_timed_out_and_cancels_the_work() {
    let h = harness();
    let diary = Diary::default();
    let stopped = diary.clone();
    let (_firing, deferred) = Deferred::<u8>::with_canceller(&h.reactor, move |_| stopped.write("stopped"));
    let deferred = deferred.add_timeout(LIMIT).add_callback(|n| n + 1);
    h.advance(LIMIT - Duration::from_millis(1));
    assert!(diary.read().is_empty());
    h.advance(Duration::from_millis(1));
    assert_eq!(diary.read(), ["stopped"]);
    assert_eq!(h.failure(deferred).check(), Some(&TimedOut { limit: LIMIT }));
}

#[test]
fn in_time_stops_the_clock() {
    let h = harness();
    let (firing, deferred) = Deferred::new(&h.reactor);
    let (_later_firing, later) = Deferred::<u8>::new(&h.reactor);
    let deferred = deferred.add_timeout(LIMIT).add_callback(move |_: u8| later);
    firing.callback(1).unwrap();
    h.advance(LIMIT * 2);
    assert!(h.outcome(deferred).is_none(), "links that were added later have their own time");
}

#[test]
fn limit_covers_an_inner_one() {
    let h = harness();
    let (inner_firing, inner) = Deferred::<u8>::new(&h.reactor);
    let deferred = succeed(&h.reactor, ()).add_callback(move |()| inner).add_timeout(LIMIT);
    h.run();
    h.advance(LIMIT);
    assert!(inner_firing.fired());
    assert!(h.failure(deferred).is::<TimedOut>());
}

#[test]
fn cancelling_before_the_limit_is_no_timeout() {
    let h = harness();
    let (_firing, deferred) = Deferred::<u8>::new(&h.reactor);
    let deferred = deferred.add_timeout(LIMIT);
    deferred.cancel();
    assert_eq!(h.failure(deferred).to_string(), "cancelled");
}

#[test]
fn canceller_may_save_the_day() {
    let h = harness();
    let (_firing, deferred) = Deferred::with_canceller(&h.reactor, |firing| firing.callback("half").unwrap());
    let deferred = deferred.add_timeout(LIMIT);
    h.advance(LIMIT);
    assert_eq!(h.value(deferred), "half");
}

#[test]
fn other_failures_stay_what_they_are() {
    let h = harness();
    let (_firing, deferred) = Deferred::<u8>::new(&h.reactor);
    let deferred = deferred.add_errback(|_| Failure::new("mine")).add_timeout(LIMIT);
    h.advance(LIMIT);
    assert_eq!(h.failure(deferred).to_string(), "mine");
}
