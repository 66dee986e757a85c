//! Firing, and what runs down the chain.

use std::cell::RefCell;
use std::num::ParseIntError;
use std::panic::resume_unwind;
use std::rc::Rc;

use super::harness::{Diary, harness, word};
use crate::deferred::{AlreadyFired, Deferred, fail, maybe_deferred, succeed};
use crate::failure::{Abandoned, Failure, Outcome, Panicked};

#[test]
fn value_goes_down_the_chain_and_changes_its_type() {
    let h = harness();
    let (firing, deferred) = Deferred::new(&h.reactor);
    let deferred = deferred
        .add_callback(|n: u8| u32::from(n) + 1)
        .add_callback(|n| n.to_string())
        .add_errback(|_| String::from("never"))
        .add_callback(|text| text.len());
    firing.callback(99).unwrap();
    assert_eq!(h.value(deferred), 3);
}

#[test]
fn failure_passes_callbacks_and_stops_at_an_errback() {
    let h = harness();
    let diary = Diary::default();
    let (firing, deferred) = Deferred::<u8>::new(&h.reactor);
    let (first, last) = (diary.clone(), diary.clone());
    let deferred = deferred
        .add_callback(move |_| first.write("not me"))
        .add_errback(move |failure| last.write(failure))
        .add_callback(|()| "well");
    firing.errback("torn").unwrap();
    assert_eq!(h.value(deferred), "well");
    assert_eq!(diary.read(), ["torn"]);
}

#[test]
fn firing_is_one_entry_and_runs_nothing_itself() {
    let h = harness();
    let diary = Diary::default();
    let (firing, mut deferred) = Deferred::new(&h.reactor);
    for link in 0..5 {
        let diary = diary.clone();
        deferred = deferred.add_callback(move |()| diary.write(link));
    }
    assert_eq!(h.ready(), 0);
    firing.callback(()).unwrap();
    assert_eq!((h.ready(), diary.read().len()), (1, 0));
    let late = diary.clone();
    let deferred = deferred.add_callback(move |()| late.write("late"));
    assert_eq!(h.ready(), 1, "a link that comes before the entry has run goes with it");
    h.run();
    assert_eq!(diary.read(), ["0", "1", "2", "3", "4", "late"]);
    drop(deferred);
}

#[test]
fn link_added_to_a_fired_one_is_one_more_entry() {
    let h = harness();
    let (firing, deferred) = Deferred::new(&h.reactor);
    firing.callback(1).unwrap();
    assert_eq!(h.ready(), 0, "nobody waits");
    let deferred = deferred.add_callback(|n| n + 1);
    assert_eq!(h.ready(), 1);
    h.run();
    let deferred = deferred.add_callback(|n| n * 10).add_callback(|n| n + 3);
    assert_eq!(h.ready(), 1);
    assert_eq!(h.value(deferred), 23);
}

#[test]
fn firing_twice_is_an_error_that_names_the_first() {
    let h = harness();
    let (firing, deferred) = Deferred::new(&h.reactor);
    let twin = firing.clone();
    assert!(!twin.fired());
    firing.callback(1).unwrap();
    assert!(twin.fired());
    let first = line!() - 2;
    let error: AlreadyFired = twin.callback(2).unwrap_err();
    assert_eq!((error.fired_at().file(), error.fired_at().line()), (file!(), first));
    assert!(twin.errback("late").is_err());
    assert!(error.to_string().contains("chain.rs"));
    assert_eq!(h.value(deferred), 1);
}

#[test]
fn last_firing_gone_means_abandoned() {
    let h = harness();
    let (firing, deferred) = Deferred::<()>::new(&h.reactor);
    let twin = firing.clone();
    let deferred = deferred.add_both(|outcome: Outcome<()>| outcome.unwrap_err().is::<Abandoned>());
    drop(firing);
    assert_eq!(h.ready(), 0);
    drop(twin);
    assert_eq!(h.ready(), 1);
    assert!(h.value(deferred));
}

#[test]
fn callbacks_may_return_any_form() {
    let h = harness();
    let parse = |text: &str| -> Outcome<u8> { Ok(text.parse()?) };
    let inner = h.reactor.clone();
    let deferred = succeed(&h.reactor, "7")
        .add_callback(parse)
        .add_callback(move |n| succeed(&inner, n + 1))
        .add_callback(|n| vec![n; 2])
        .add_callback(|list| -> Outcome<Vec<Outcome<u8>>> { Ok(list.into_iter().map(Ok).collect()) })
        .add_callback(|list| list.len())
        .add_callback(|_| -> Outcome<()> { Err(Failure::new("by hand")) })
        .add_errback(|failure| failure)
        .add_callbacks(|()| 1, |failure| Outcome::Ok(failure.to_string().len()));
    let deferred: Deferred<u8> = deferred.add_callback(|n| n.to_string().parse::<u8>());
    assert_eq!(h.value(deferred), 7);
    let port: Deferred<u8> = succeed(&h.reactor, "x").add_callback(|text| text.parse::<u8>());
    assert!(h.failure(port).is::<ParseIntError>());
}

#[test]
fn add_callbacks_keeps_the_sides_apart() {
    let h = harness();
    let deferred = succeed(&h.reactor, 1)
        .add_callbacks(|_| -> Outcome<u8> { Err(Failure::new("mine")) }, |_| -> Outcome<u8> { Ok(0) });
    assert_eq!(h.failure(deferred).to_string(), "mine");
    let deferred = fail::<u8>(&h.reactor, "given").add_callbacks(|_| 1, |_| 2);
    assert_eq!(h.value(deferred), 2);
}

#[test]
fn panic_in_a_callback_is_a_failure() {
    let h = harness();
    let deferred = succeed(&h.reactor, ()).add_callback(|()| -> u8 { resume_unwind(Box::new("oops")) });
    let line = line!() - 1;
    let failure = h.failure(deferred);
    assert_eq!(failure.check::<Panicked>().unwrap().message(), "oops");
    assert_eq!(failure.place().line(), line);
}

#[test]
fn failure_knows_the_links_it_passed() {
    let h = harness();
    let deferred = fail::<u8>(&h.reactor, "torn");
    let deferred = deferred.add_callback(|n| n + 1);
    let deferred = deferred.add_errback(|failure| failure);
    let lines = [line!() - 3, line!() - 2, line!() - 1];
    let failure = h.failure(deferred);
    let passed = failure.passed().iter().map(|place| place.line());
    assert_eq!([failure.place().line()].into_iter().chain(passed).collect::<Vec<_>>(), lines);
}

#[test]
fn maybe_deferred_takes_what_comes() {
    let h = harness();
    assert_eq!(h.value(maybe_deferred(&h.reactor, || 1)), 1);
    assert_eq!(h.value(maybe_deferred(&h.reactor, || succeed(&h.reactor, 2))), 2);
    let failed: Deferred<u8> = maybe_deferred(&h.reactor, || "x".parse::<u8>());
    assert!(h.failure(failed).is::<ParseIntError>());
    let panicked = maybe_deferred(&h.reactor, || -> u8 { resume_unwind(Box::new("oops")) });
    assert!(h.failure(panicked).is::<Panicked>());
}

#[test]
fn inner_deferred_pauses_the_chain() {
    let h = harness();
    let diary = Diary::default();
    let (firing, deferred) = Deferred::new(&h.reactor);
    let (inner_firing, inner) = Deferred::new(&h.reactor);
    let after = diary.clone();
    let deferred = deferred.add_callback(move |()| inner).add_both(move |outcome: Outcome<u8>| {
        after.write(word(&outcome));
        outcome
    });
    firing.callback(()).unwrap();
    h.run();
    assert!(diary.read().is_empty());
    inner_firing.callback(5).unwrap();
    assert_eq!(h.ready(), 1);
    assert_eq!(h.value(deferred), 5);
    assert_eq!(diary.read(), ["5"]);
}

#[test]
fn inner_deferred_that_has_fired_pauses_nothing() {
    let h = harness();
    let reactor = h.reactor.clone();
    let (firing, deferred) = Deferred::new(&h.reactor);
    let diary = Diary::default();
    let after = diary.clone();
    let deferred =
        deferred.add_callback(move |n: u8| succeed(&reactor, n)).add_callback(move |n| after.write(n));
    firing.callback(3).unwrap();
    assert_eq!(h.ready(), 1);
    h.run();
    assert_eq!(diary.read(), ["3"]);
    drop(deferred);
}

#[test]
fn waiting_for_oneself_is_a_failure() {
    let h = harness();
    let (firing, deferred) = Deferred::new(&h.reactor);
    let tail = Rc::new(RefCell::new(None));
    let own = tail.clone();
    let deferred: Deferred<u8> = deferred.add_callback(move |()| -> Deferred<u8> { own.take().unwrap() });
    let diary = Diary::default();
    let after = diary.clone();
    tail.replace(Some(deferred.add_both(move |outcome| {
        after.write(word(&outcome));
        outcome.unwrap_or(0)
    })));
    firing.callback(()).unwrap();
    h.run();
    assert_eq!(diary.read(), ["a callback returned the deferred that waits for it"]);
}

#[test]
fn tail_may_be_dropped_and_the_chain_runs_all_the_same() {
    let h = harness();
    let diary = Diary::default();
    let (firing, deferred) = Deferred::new(&h.reactor);
    let link = diary.clone();
    drop(deferred.add_callback(move |n: u8| link.write(n)));
    firing.callback(4).unwrap();
    h.run();
    assert_eq!(diary.read(), ["4"]);
}

#[test]
fn callback_may_fire_and_link_others() {
    let h = harness();
    let diary = Diary::default();
    let (first, one) = Deferred::new(&h.reactor);
    let (second, two) = Deferred::new(&h.reactor);
    let (seen, reactor) = (diary.clone(), h.reactor.clone());
    drop(two.add_callback(move |n: u8| {
        seen.write(n);
        drop(succeed(&reactor, n + 1).add_callback(move |n| seen.write(n)));
    }));
    drop(one.add_callback(move |n: u8| second.callback(n + 1).unwrap()));
    first.callback(1).unwrap();
    h.run();
    assert_eq!(diary.read(), ["2", "3"]);
}

#[test]
fn both_ends_are_small() {
    let h = harness();
    let (_firing, deferred) = Deferred::<u8>::new(&h.reactor);
    assert!(size_of_val(&deferred) <= 56);
    assert!(format!("{deferred:?}").contains("chain.rs"));
    assert_eq!(deferred.made_at().file(), file!());
}

#[test]
fn flattening_makes_failures_of_errors_that_came_as_values() {
    let h = harness();
    let parsed = |text: &str| succeed(&h.reactor, text.parse::<u8>()).flatten();
    assert_eq!(h.value(parsed("7")), 7);
    let failure = h.failure(parsed("x"));
    assert!(failure.is::<std::num::ParseIntError>());
    assert!(failure.place().file().ends_with("tests/chain.rs"));
    let outcome: Outcome<u8> = Err(Failure::new("no"));
    assert_eq!(h.failure(succeed(&h.reactor, outcome).flatten()).to_string(), "no");
}
