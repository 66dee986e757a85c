//! Failures that nobody looked at.

use super::harness::{Task, harness, logged};
use crate::deferred::{Deferred, fail};
use crate::failure::Failure;

#[test]
fn unseen_failure_is_logged_once_with_its_places() {
    let h = harness();
    let mut made = 0;
    let log = logged(|| {
        let (firing, deferred) = Deferred::<u8>::new(&h.reactor);
        made = line!() - 1;
        drop(deferred.add_callback(|n| n + 1).add_callback(|n| n + 1));
        firing.errback("torn").unwrap();
        h.run();
    });
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].contains("torn"), "{log:?}");
    assert!(log[0].contains(&format!("made_at={}:{made}:", file!())), "{log:?}");
    assert!(log[0].contains(&format!("passed  {}:{}:", file!(), made + 2)), "{log:?}");
}

#[test]
fn seen_failure_is_not_logged() {
    let h = harness();
    let log = logged(|| {
        drop(fail::<u8>(&h.reactor, "torn").add_errback(|_| 0));
        assert!(h.failure(fail::<u8>(&h.reactor, "torn")).passed().is_empty());
        let inner = fail::<u8>(&h.reactor, "inner");
        drop(maybe(&h.reactor).add_callback(move |()| inner).add_errback(|_| 0));
        h.run();
    });
    assert!(log.is_empty(), "{log:?}");
}

fn maybe(reactor: &crate::Reactor) -> Deferred<()> {
    crate::deferred::succeed(reactor, ())
}

#[test]
fn failure_is_logged_when_its_holder_drops_it() {
    let h = harness();
    let log = logged(|| drop(fail::<u8>(&h.reactor, "torn")));
    assert_eq!(log.len(), 1);
}

#[test]
fn failure_is_logged_when_the_reactor_goes_before_it_ran() {
    let h = harness();
    let log = logged(|| {
        drop(fail::<u8>(&h.reactor, "torn").add_errback(|_| 0));
        h.clear();
    });
    assert_eq!(log.len(), 1);
}

#[test]
fn own_cancellation_is_not_logged() {
    let h = harness();
    let log = logged(|| {
        let (_firing, deferred) = Deferred::<u8>::new(&h.reactor);
        deferred.cancel();
        drop(deferred);
        let (_firing, deferred) = Deferred::<u8>::new(&h.reactor);
        let deferred = deferred.add_callback(|n| n + 1);
        deferred.cancel();
        drop(deferred.add_callback(|n| n + 1));
        let (_firing, deferred) = Deferred::<u8>::new(&h.reactor);
        let mut task = Task::new(deferred.add_callback(|n| n + 1));
        assert!(task.poll().is_pending());
        drop(task);
        h.run();
    });
    assert!(log.is_empty(), "{log:?}");
}

#[test]
fn cancellation_by_somebody_else_is_logged() {
    let h = harness();
    let log = logged(|| {
        let (firing, deferred) = Deferred::<u8>::new(&h.reactor);
        firing.errback(Failure::cancelled()).unwrap();
        drop(deferred);
    });
    assert_eq!(log.len(), 1);
}

#[test]
fn other_failures_of_a_cancelled_one_are_logged() {
    let h = harness();
    let log = logged(|| {
        let (_firing, deferred) =
            Deferred::<u8>::with_canceller(&h.reactor, |firing| firing.errback("half done").unwrap());
        deferred.cancel();
        drop(deferred);
    });
    assert_eq!(log.len(), 1);
}

#[test]
fn abandoning_what_nobody_holds_is_not_logged() {
    let h = harness();
    let log = logged(|| {
        let (firing, deferred) = Deferred::<u8>::new(&h.reactor);
        drop(deferred);
        drop(firing);
    });
    assert!(log.is_empty(), "{log:?}");
    let log = logged(|| {
        let (firing, deferred) = Deferred::<u8>::new(&h.reactor);
        drop(deferred.add_callback(|n| n + 1));
        drop(firing);
        h.run();
    });
    assert_eq!(log.len(), 1, "a link was waiting");
}
