//! Many deferreds as one: lists with their flags, gathered results, races, and outcomes in the order in which they come.

mod support;

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::Stream;
use proptest::prelude::*;
use ropewalk_reactor::deferred::{
    FailureGroup, FirstError, ListFlags, Listed, WaitIterator, deferred_list, gather_results, race,
};
use ropewalk_reactor::failure::{Cancelled, TimedOut};
use ropewalk_reactor::{Deferred, Failure, Firing, Outcome, Simulation};
use support::Trace;

const MS: Duration = Duration::from_millis(1);

/// So many deferreds of numbers, each of which says when it is cancelled.
fn many(simulation: &Simulation, trace: &Trace, count: usize) -> (Vec<Firing<usize>>, Vec<Deferred<usize>>) {
    let one = |number| {
        let trace = trace.clone();
        Deferred::with_canceller(simulation.reactor(), move |_| trace.note(format!("cancel {number}")))
    };
    (0..count).map(one).unzip()
}

/// What is there once everything has run.
fn outcome<T>(simulation: &Simulation, deferred: Deferred<T>) -> Option<Outcome<T>> {
    simulation.advance(Duration::ZERO);
    match pin!(deferred).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

fn spell(outcomes: &[Outcome<usize>]) -> String {
    let words = outcomes.iter().map(|outcome| match outcome {
        Ok(number) => number.to_string(),
        Err(failure) => failure.to_string(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_list_has_all_outcomes_in_the_order_of_its_deferreds() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let (firings, deferreds) = many(&simulation, &trace, 3);
    let list = deferred_list(simulation.reactor(), deferreds, ListFlags::default());
    firings[2].callback(2).unwrap();
    firings[0].errback("none").unwrap();
    simulation.advance(MS);
    firings[1].callback(1).unwrap();
    let listed = outcome(&simulation, list).unwrap().unwrap();
    assert_eq!(spell(&listed.all().unwrap()), "none 1 2");
}

#[test]
fn an_empty_list_fires_at_once() {
    let simulation = Simulation::new(1);
    let list = deferred_list::<u8>(simulation.reactor(), [], ListFlags::default());
    assert!(outcome(&simulation, list).unwrap().unwrap().all().unwrap().is_empty());
    assert!(
        outcome(&simulation, gather_results::<u8>(simulation.reactor(), [])).unwrap().unwrap().is_empty()
    );
}

#[test]
fn a_list_may_fire_on_one_callback() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let (firings, deferreds) = many(&simulation, &trace, 3);
    let flags = ListFlags { fire_on_one_callback: true, ..ListFlags::default() };
    let list = deferred_list(simulation.reactor(), deferreds, flags);
    firings[0].errback("none").unwrap();
    firings[2].callback(7).unwrap();
    let listed = outcome(&simulation, list).unwrap().unwrap();
    assert!(matches!(listed, Listed::First { index: 2, value: 7 }), "{listed:?}");
    firings[1].callback(1).unwrap();
    simulation.advance(MS);
    assert_eq!(trace.take(), "", "the others go on");
}

#[test]
fn a_list_that_may_fire_on_one_callback_and_gets_none_has_all_failures() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let (firings, deferreds) = many(&simulation, &trace, 2);
    let flags = ListFlags { fire_on_one_callback: true, ..ListFlags::default() };
    let list = deferred_list(simulation.reactor(), deferreds, flags);
    firings[1].errback("b").unwrap();
    firings[0].errback("a").unwrap();
    assert_eq!(spell(&outcome(&simulation, list).unwrap().unwrap().all().unwrap()), "a b");
}

#[test]
fn a_list_may_fire_on_one_errback() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let (firings, deferreds) = many(&simulation, &trace, 3);
    let flags = ListFlags { fire_on_one_errback: true, ..ListFlags::default() };
    let list = deferred_list(simulation.reactor(), deferreds, flags);
    firings[0].callback(0).unwrap();
    firings[1].errback(Failure::timed_out(MS)).unwrap();
    let failure = outcome(&simulation, list).unwrap().unwrap_err();
    let first = failure.check::<FirstError>().unwrap();
    assert_eq!(first.index, 1);
    assert!(first.failure.is::<TimedOut>());
    assert_eq!(failure.to_string(), "number 1 of the list failed: timed out after 1ms");
}

#[test]
fn cancelling_a_whole_cancels_what_is_outstanding() {
    for kind in 0..3 {
        let (simulation, trace) = (Simulation::new(1), Trace::default());
        let (firings, deferreds) = many(&simulation, &trace, 3);
        let reactor = simulation.reactor();
        let whole = match kind {
            0 => deferred_list(reactor, deferreds, ListFlags::default()).add_callback(|_| ()),
            1 => gather_results(reactor, deferreds).add_callback(|_| ()),
            _ => race(reactor, deferreds).add_callback(|_| ()),
        };
        firings[1].errback("one").unwrap();
        simulation.advance(MS);
        if kind == 1 {
            assert!(outcome(&simulation, whole).unwrap().is_err());
            continue;
        }
        whole.cancel();
        assert_eq!(trace.take(), "cancel 0 cancel 2", "{kind}");
        assert!(outcome(&simulation, whole).unwrap().unwrap_err().is::<Cancelled>());
    }
}

#[test]
fn gathered_results_are_values_or_the_first_failure_as_it_is() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let (firings, deferreds) = many(&simulation, &trace, 3);
    let gathered = gather_results(simulation.reactor(), deferreds);
    for (number, firing) in firings.iter().enumerate().rev() {
        firing.callback(number).unwrap();
    }
    assert_eq!(outcome(&simulation, gathered).unwrap().unwrap(), [0, 1, 2]);

    let (firings, deferreds) = many(&simulation, &trace, 2);
    let gathered = gather_results(simulation.reactor(), deferreds);
    firings[1].errback(Failure::timed_out(MS)).unwrap();
    assert!(outcome(&simulation, gathered).unwrap().unwrap_err().is::<TimedOut>());
}

#[test]
fn a_race_has_the_first_value_and_cancels_the_losers() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let (firings, deferreds) = many(&simulation, &trace, 4);
    let raced = race(simulation.reactor(), deferreds);
    firings[0].errback("stumbled").unwrap();
    firings[2].callback(22).unwrap();
    simulation.advance(Duration::ZERO);
    assert_eq!(trace.take(), "cancel 1 cancel 3");
    assert_eq!(outcome(&simulation, raced).unwrap().unwrap(), (2, 22));
    drop(firings);
}

#[test]
fn of_two_that_have_fired_the_first_in_the_race_wins() {
    let simulation = Simulation::new(1);
    let reactor = simulation.reactor();
    let runners = [1, 2].map(|number| ropewalk_reactor::deferred::succeed(reactor, number));
    assert_eq!(outcome(&simulation, race(reactor, runners)).unwrap().unwrap(), (0, 1));
}

#[test]
fn a_race_that_nobody_wins_has_all_failures() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let (firings, deferreds) = many(&simulation, &trace, 2);
    let raced = race(simulation.reactor(), deferreds);
    firings[1].errback("b").unwrap();
    firings[0].errback("a").unwrap();
    let failure = outcome(&simulation, raced).unwrap().unwrap_err();
    assert_eq!(failure.check::<FailureGroup>().unwrap().failures.len(), 2);
    assert_eq!(failure.to_string(), "all 2 failed: a; b");

    let failure = outcome(&simulation, race::<u8>(simulation.reactor(), [])).unwrap().unwrap_err();
    assert_eq!(failure.to_string(), "a race that nobody took part in");
}

#[test]
fn outcomes_come_in_the_order_of_their_coming() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let (firings, deferreds) = many(&simulation, &trace, 3);
    let (reactor, seen) = (simulation.reactor().clone(), trace.clone());
    let mut order = WaitIterator::new(&reactor, deferreds);
    assert_eq!((order.outstanding(), order.size_hint()), (3, (3, Some(3))));
    reactor.spawn(async move {
        while let Some((number, outcome)) = order.next().await {
            seen.note(format!(
                "{number}:{}",
                outcome.map_or_else(|failure| failure.to_string(), |n| n.to_string())
            ));
        }
        seen.note("over");
    });
    for number in [1, 0, 2] {
        simulation.advance(MS);
        firings[number].fire(if number == 0 { Err(Failure::new("zero")) } else { Ok(number * 10) }).unwrap();
    }
    simulation.advance(MS);
    assert_eq!(trace.take(), "1:10 0:zero 2:20 over");
}

#[test]
fn an_iterator_is_a_stream_and_cancels_the_rest_when_dropped() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let (firings, deferreds) = many(&simulation, &trace, 3);
    let mut order = Box::pin(WaitIterator::new(simulation.reactor(), deferreds));
    firings[1].callback(1).unwrap();
    simulation.advance(MS);
    let mut next = pin!(poll_fn(|context| order.as_mut().poll_next(context)));
    let polled = next.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Some((1, Ok(1))))));
    drop(order);
    assert_eq!(trace.take(), "cancel 0 cancel 2");
}

#[test]
fn nothing_is_kept_when_a_whole_is_dropped_unfired() {
    struct Held(Trace);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.note("gone");
        }
    }
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let reactor = simulation.reactor();
    for _ in 0..3 {
        let held = Held(trace.clone());
        let (firing, deferred) = Deferred::<u8>::new(reactor);
        let deferred = deferred.add_callback(move |n| {
            let _ = &held;
            n
        });
        drop(gather_results(reactor, [deferred]));
        drop(firing);
        simulation.advance(MS);
    }
    assert_eq!(trace.take(), "gone gone gone");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the order in which they fire and however they fare: each kind of whole says what a look at the list says.
    #[test]
    fn wholes_agree_with_a_look_at_the_list(
        fates in prop::collection::vec((any::<bool>(), any::<u16>()), 1..8),
    ) {
        let mut order: Vec<usize> = (0..fates.len()).collect();
        order.sort_by_key(|&number| fates[number].1);
        let first = |good: bool| order.iter().copied().find(|&number| fates[number].0 == good);
        for kind in 0..4 {
            let (simulation, trace) = (Simulation::new(1), Trace::default());
            let (firings, deferreds) = many(&simulation, &trace, fates.len());
            let reactor = simulation.reactor();
            let flags = |one_callback, one_errback| ListFlags {
                fire_on_one_callback: one_callback, fire_on_one_errback: one_errback, consume_errors: true,
            };
            let told = |listed: Listed<usize>| match listed {
                Listed::All(outcomes) => spell(&outcomes),
                Listed::First { index, .. } => format!("first {index}"),
            };
            let whole: Deferred<String> = match kind {
                0 => deferred_list(reactor, deferreds, flags(false, false)).add_callback(told),
                1 => deferred_list(reactor, deferreds, flags(true, true)).add_callback(told),
                2 => gather_results(reactor, deferreds).add_callback(|all| format!("{all:?}")),
                _ => race(reactor, deferreds).add_callback(|(number, _)| format!("won {number}")),
            };
            for &number in &order {
                let fate = if fates[number].0 { Ok(number) } else { Err(Failure::new(format!("x{number}"))) };
                // A loser of the race was cancelled before.
                let _ = firings[number].fire(fate);
                simulation.advance(MS);
            }
            let seen = match outcome(&simulation, whole).unwrap() {
                Ok(text) => text,
                Err(failure) => failure.to_string(),
            };
            let all = || (0..fates.len()).map(|n| if fates[n].0 { n.to_string() } else { format!("x{n}") });
            let expected = match kind {
                0 => all().collect::<Vec<_>>().join(" "),
                1 if fates[order[0]].0 => format!("first {}", order[0]),
                1 => format!("number {0} of the list failed: x{0}", order[0]),
                2 => first(false).map_or(format!("{:?}", (0..fates.len()).collect::<Vec<_>>()), |n| format!("x{n}")),
                _ => first(true).map_or_else(
                    || format!("all {} failed: {}", fates.len(), all().collect::<Vec<_>>().join("; ")),
                    |winner| format!("won {winner}"),
                ),
            };
            prop_assert_eq!(seen, expected);
            if kind == 3 {
                let before = |winner| order.iter().take_while(move |&&number| number != winner).copied();
                let losers: BTreeSet<usize> = first(true).map_or_else(BTreeSet::new, |winner| {
                    let ran: BTreeSet<usize> = before(winner).chain([winner]).collect();
                    (0..fates.len()).filter(|number| !ran.contains(number)).collect()
                });
                let cancelled = losers.iter().map(|n| format!("cancel {n}")).collect::<Vec<_>>().join(" ");
                prop_assert_eq!(trace.take(), cancelled);
            }
        }
    }
}
