//! Long chains and deep nests use no stack: each of these runs on 2 MiB.

use std::cell::RefCell;
use std::rc::Rc;
use std::thread;

use super::harness::{harness, logged};
use crate::Reactor;
use crate::deferred::node::{Step, Waits};
use crate::deferred::{Deferred, Firing, succeed};

const MANY: usize = 10_000;

fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    thread::Builder::new().stack_size(2 << 20).spawn(test).unwrap().join().unwrap();
}

fn chain(reactor: &Reactor) -> (Firing<usize>, Deferred<usize>) {
    let (firing, mut deferred) = Deferred::new(reactor);
    for _ in 0..MANY {
        deferred = deferred.add_callback(|n| n + 1);
    }
    (firing, deferred)
}

/// Deferreds that each answer with the next, held by the callback of the one before.
fn nest(reactor: &Reactor) -> (Vec<Firing<()>>, Deferred<usize>) {
    let mut deferred = succeed(reactor, MANY);
    let mut firings = Vec::new();
    for _ in 0..MANY {
        let (firing, outer) = Deferred::new(reactor);
        firings.push(firing);
        deferred = outer.add_callback(move |()| deferred);
    }
    (firings, deferred)
}

#[test]
fn long_chain_runs() {
    on_a_small_stack(|| {
        let h = harness();
        let (firing, deferred) = chain(&h.reactor);
        firing.callback(0).unwrap();
        assert_eq!(h.ready(), 1);
        assert_eq!(h.value(deferred), MANY);
    });
}

#[test]
fn long_chain_is_dropped_unfired() {
    on_a_small_stack(|| {
        let h = harness();
        let (firing, deferred) = chain(&h.reactor);
        firing.callback(0).unwrap();
        drop((firing, deferred));
        h.clear();

        let (firing, deferred) = chain(&h.reactor);
        drop(deferred);
        let log = logged(|| {
            drop(firing);
            h.run();
        });
        assert_eq!(log.len(), 1);
    });
}

#[test]
fn long_chain_is_cancelled_and_paused_from_its_end() {
    on_a_small_stack(|| {
        let h = harness();
        let (_firing, deferred) = chain(&h.reactor);
        deferred.pause();
        deferred.cancel();
        h.run();
        deferred.unpause();
        assert_eq!(h.failure(deferred).to_string(), "cancelled");
    });
}

#[test]
fn deep_nest_runs_from_the_outside_and_from_the_inside() {
    on_a_small_stack(|| {
        for inside_first in [true, false] {
            let h = harness();
            let (mut firings, deferred) = nest(&h.reactor);
            if !inside_first {
                firings.reverse();
            }
            for firing in firings {
                firing.callback(()).unwrap();
                h.run();
            }
            assert_eq!(h.value(deferred), MANY);
        }
    });
}

#[test]
fn deep_nest_runs_in_one_entry() {
    on_a_small_stack(|| {
        let h = harness();
        let (firings, deferred) = nest(&h.reactor);
        for firing in firings {
            firing.callback(()).unwrap();
        }
        assert_eq!(h.value(deferred), MANY);
    });
}

#[test]
fn deep_nest_is_cancelled() {
    on_a_small_stack(|| {
        let h = harness();
        let (firings, deferred) = nest(&h.reactor);
        // All wait for the innermost: fire from the outside, but for the last.
        for firing in firings.iter().skip(1).rev() {
            firing.callback(()).unwrap();
            h.run();
        }
        deferred.cancel();
        assert!(firings[0].fired());
        assert_eq!(h.failure(deferred).to_string(), "cancelled");
    });
}

#[test]
fn deep_nest_is_dropped_unfired() {
    on_a_small_stack(|| {
        let h = harness();
        let (firings, deferred) = nest(&h.reactor);
        drop(deferred);
        drop(firings);
        h.run();

        // With the firings of the outer ones held by nobody but what is ready, and the outermost let go last.
        let mut deferred = succeed(&h.reactor, MANY);
        for _ in 0..MANY {
            deferred = succeed(&h.reactor, ()).add_callback(move |()| deferred);
        }
        drop(deferred);
        h.clear();
    });
}

#[test]
fn deferreds_within_values_are_dropped() {
    struct Nest(#[expect(dead_code, reason = "held to be dropped")] Option<Deferred<Nest>>);
    on_a_small_stack(|| {
        let h = harness();
        let mut deferred = succeed(&h.reactor, Nest(None));
        for _ in 0..MANY {
            deferred = succeed(&h.reactor, Nest(Some(deferred)));
        }
        drop(deferred);
    });
}

/// One that goes on and on by returning the next stays as short as it began.
#[test]
fn endless_succession_stays_flat() {
    fn again(reactor: &Reactor, latest: &Rc<RefCell<Option<Firing<()>>>>) -> Deferred<()> {
        let (firing, deferred) = Deferred::new(reactor);
        latest.replace(Some(firing));
        let (reactor, latest) = (reactor.clone(), latest.clone());
        deferred.add_callback(move |()| again(&reactor, &latest))
    }
    let h = harness();
    let latest = Rc::default();
    let deferred = again(&h.reactor, &latest).add_callback(|()| ());
    for _ in 0..MANY {
        let firing = latest.take().unwrap();
        firing.callback(()).unwrap();
        h.run();
        assert!(nodes_above(&deferred) <= 3);
    }
    let last = latest.take().unwrap();
    deferred.cancel();
    assert!(last.fired(), "the front is found past all that is gone");
    assert_eq!(h.failure(deferred).to_string(), "cancelled");
}

fn nodes_above(deferred: &Deferred<()>) -> usize {
    let mut at: Rc<dyn Step> = deferred.node().clone();
    let mut count = 0;
    while let Waits::Upstream(above) | Waits::Inner(above) = at.waits() {
        at = above;
        count += 1;
    }
    count
}
