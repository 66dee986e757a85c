//! Cancelling.

use std::rc::Rc;

use super::harness::{Diary, harness};
use crate::deferred::{Deferred, succeed};
use crate::failure::{Cancelled, Failure, Panicked};

#[test]
fn cancel_fires_with_cancelled() {
    let h = harness();
    let (firing, deferred) = Deferred::<u8>::new(&h.reactor);
    let deferred = deferred.add_callback(|n| n + 1);
    deferred.cancel();
    let line = line!() - 1;
    assert!(firing.fired());
    let failure = h.failure(deferred);
    assert!(failure.is::<Cancelled>());
    assert_eq!(failure.place().line(), line);
}

#[test]
fn late_firing_is_swallowed_once() {
    let h = harness();
    let (firing, deferred) = Deferred::new(&h.reactor);
    deferred.cancel();
    assert!(firing.callback(1).is_ok());
    assert!(firing.callback(2).is_err());
    assert!(h.failure(deferred).is::<Cancelled>());
}

#[test]
fn canceller_may_fire_with_what_it_likes() {
    let h = harness();
    let (firing, deferred) = Deferred::with_canceller(&h.reactor, |firing| firing.callback(9).unwrap());
    deferred.cancel();
    assert!(firing.callback(1).is_err(), "who has a canceller stops the work");
    assert_eq!(h.value(deferred), 9);
}

#[test]
fn canceller_that_does_not_fire_leaves_it_cancelled() {
    let h = harness();
    let diary = Diary::default();
    let canceller = diary.clone();
    let (_firing, deferred) = Deferred::<u8>::with_canceller(&h.reactor, move |_| canceller.write("stopped"));
    deferred.cancel();
    deferred.cancel();
    assert_eq!(diary.read(), ["stopped"]);
    assert!(h.failure(deferred).is::<Cancelled>());
}

#[test]
fn canceller_that_panics_is_the_failure() {
    let h = harness();
    let (_firing, deferred) =
        Deferred::<u8>::with_canceller(&h.reactor, |_| std::panic::resume_unwind(Box::new("oops")));
    deferred.cancel();
    assert!(h.failure(deferred).is::<Panicked>());
}

#[test]
fn canceller_is_let_go_when_it_can_no_longer_run() {
    let h = harness();
    let held = Rc::new(());
    let guest = held.clone();
    let (firing, deferred) = Deferred::with_canceller(&h.reactor, move |_| drop(guest));
    firing.callback(1).unwrap();
    assert_eq!(Rc::strong_count(&held), 1);
    deferred.cancel();
    assert_eq!(h.value(deferred), 1);
}

#[test]
fn cancel_does_nothing_to_one_that_has_fired() {
    let h = harness();
    let (firing, deferred) = Deferred::new(&h.reactor);
    let deferred = deferred.add_callback(|n: u8| n + 1);
    firing.callback(1).unwrap();
    deferred.cancel();
    assert!(firing.callback(3).is_err(), "nothing was cancelled, so nothing is swallowed");
    assert_eq!(h.value(deferred), 2);
}

#[test]
fn cancel_passes_inward() {
    let h = harness();
    let diary = Diary::default();
    let (stopped, after) = (diary.clone(), diary.clone());
    let (_innermost_firing, innermost) =
        Deferred::<u8>::with_canceller(&h.reactor, move |_| stopped.write("stopped"));
    let inner =
        succeed(&h.reactor, ()).add_callback(move |()| innermost).add_errback(move |failure: Failure| {
            after.write("inner errback");
            failure
        });
    let deferred = succeed(&h.reactor, ()).add_callback(move |()| inner).add_callback(|n| n + 1);
    h.run();
    deferred.cancel();
    assert_eq!(h.ready(), 1);
    assert!(h.failure(deferred).is::<Cancelled>());
    assert_eq!(diary.read(), ["stopped", "inner errback"]);
}

#[test]
fn chain_goes_on_after_a_cancellation() {
    let h = harness();
    let (_firing, deferred) = Deferred::<u8>::new(&h.reactor);
    let deferred =
        deferred.add_errback(|failure| failure.trap::<Cancelled>().map(|_| 0)).add_callback(|n| n + 1);
    deferred.cancel();
    assert_eq!(h.value(deferred), 1);
}

#[test]
fn canceller_may_drop_or_cancel_everything() {
    let h = harness();
    let (_firing, first) = Deferred::<u8>::new(&h.reactor);
    let other = first.add_callback(|n| n + 1);
    let (firing, deferred) = Deferred::<u8>::with_canceller(&h.reactor, move |_| {
        other.cancel();
        drop(other);
    });
    deferred.cancel();
    drop(firing);
    assert!(h.failure(deferred).is::<Cancelled>());
}

#[test]
fn canceller_that_drops_the_firing_end_leaves_it_cancelled() {
    let h = harness();
    let held = Rc::new(std::cell::Cell::new(None));
    let dropped = held.clone();
    let (firing, deferred) = Deferred::<u8>::with_canceller(&h.reactor, move |_| drop(dropped.take()));
    held.set(Some(firing));
    deferred.cancel();
    assert!(h.failure(deferred).is::<Cancelled>());
}
