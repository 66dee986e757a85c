//! Awaiting.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use super::harness::{Diary, Task, harness};
use crate::deferred::{Deferred, succeed};
use crate::failure::{Abandoned, Outcome};

#[test]
fn firing_wakes_the_task_at_once() {
    let h = harness();
    let (firing, deferred) = Deferred::new(&h.reactor);
    let mut task = Task::new(deferred);
    assert!(task.poll().is_pending());
    assert!(task.poll().is_pending());
    firing.callback(1).unwrap();
    assert_eq!((task.wakes(), h.ready()), (1, 0));
    assert!(matches!(task.poll(), Poll::Ready(Ok(1))));
}

#[test]
fn end_of_a_chain_wakes_the_task_from_the_chains_entry() {
    let h = harness();
    let (firing, deferred) = Deferred::new(&h.reactor);
    let mut task = Task::new(deferred.add_callback(|n: u8| n + 1));
    assert!(task.poll().is_pending());
    firing.callback(1).unwrap();
    assert_eq!((task.wakes(), h.ready()), (0, 1));
    h.run();
    assert_eq!((task.wakes(), h.ready()), (1, 0));
    assert!(matches!(task.poll(), Poll::Ready(Ok(2))));
}

#[test]
fn awaiting_what_is_there_does_not_wait() {
    let h = harness();
    let mut task =
        Task::new(async { succeed(&h.reactor, 1).await.unwrap() + succeed(&h.reactor, 2).await.unwrap() });
    assert!(matches!(task.poll(), Poll::Ready(3)));
    assert_eq!(h.ready(), 0);
}

#[test]
fn question_mark_works_on_an_awaited_failure() {
    let h = harness();
    let (firing, deferred) = Deferred::<u8>::new(&h.reactor);
    let mut task = Task::new(async move { Outcome::Ok(deferred.await? + 1) });
    assert!(task.poll().is_pending());
    firing.errback("torn").unwrap();
    assert!(matches!(task.poll(), Poll::Ready(Err(failure)) if failure.to_string() == "torn"));
}

#[test]
fn task_that_moved_is_the_one_woken() {
    let h = harness();
    let (firing, deferred) = Deferred::new(&h.reactor);
    let mut deferred = Box::pin(deferred);
    let mut first = Task::new(deferred.as_mut());
    assert!(first.poll().is_pending());
    let first = first.into_wakes();
    let mut other = Task::new(deferred.as_mut());
    assert!(other.poll().is_pending());
    firing.callback(1).unwrap();
    assert_eq!((first.count(), other.wakes()), (0, 1));
}

#[test]
fn dropping_an_awaited_one_cancels_it() {
    let h = harness();
    let diary = Diary::default();
    let stopped = diary.clone();
    let (firing, deferred) = Deferred::<u8>::with_canceller(&h.reactor, move |_| stopped.write("stopped"));
    let mut task = Task::new(async move { deferred.add_callback(|n| n + 1).await });
    assert!(task.poll().is_pending());
    drop(task);
    assert!(firing.fired());
    assert_eq!(diary.read(), ["stopped"]);
}

#[test]
fn dropping_one_that_was_never_polled_does_not_cancel_it() {
    let h = harness();
    let (firing, deferred) = Deferred::<u8>::new(&h.reactor);
    drop(deferred);
    assert!(!firing.fired());
    assert!(firing.callback(1).is_ok());
}

#[test]
fn polling_after_the_end_panics() {
    let h = harness();
    let mut task = Task::new(succeed(&h.reactor, 1));
    assert!(task.poll().is_ready());
    assert!(catch_unwind(AssertUnwindSafe(|| task.poll())).is_err());
}

#[test]
fn abandoned_wakes_the_task() {
    let h = harness();
    let (firing, deferred) = Deferred::<u8>::new(&h.reactor);
    let mut task = Task::new(deferred);
    assert!(task.poll().is_pending());
    drop(firing);
    assert_eq!(task.wakes(), 1);
    assert!(matches!(task.poll(), Poll::Ready(Err(failure)) if failure.is::<Abandoned>()));
}
