//! Holding a chain back.

use super::harness::{Diary, Task, harness};
use crate::deferred::{Deferred, succeed};

#[test]
fn paused_chain_runs_no_link() {
    let h = harness();
    let (diary, (firing, deferred)) = (Diary::default(), Deferred::new(&h.reactor));
    let link = diary.clone();
    let deferred = deferred.add_callback(move |n: u8| link.write(n));
    deferred.pause();
    deferred.pause();
    firing.callback(1).unwrap();
    drop(firing);
    h.run();
    deferred.unpause();
    h.run();
    assert!(diary.read().is_empty(), "two pauses need two");
    deferred.unpause();
    assert_eq!((h.ready(), diary.read().len()), (1, 0));
    h.run();
    assert_eq!(diary.read(), ["1"]);
    deferred.unpause();
    assert_eq!(h.ready(), 0);
    h.value(deferred);
}

#[test]
fn pause_between_firing_and_entry_holds() {
    let h = harness();
    let (diary, (firing, deferred)) = (Diary::default(), Deferred::new(&h.reactor));
    let link = diary.clone();
    let deferred = deferred.add_callback(move |n: u8| link.write(n));
    firing.callback(1).unwrap();
    deferred.pause();
    h.run();
    assert!(diary.read().is_empty());
    deferred.unpause();
    h.run();
    assert_eq!(diary.read(), ["1"]);
    h.value(deferred);
}

#[test]
fn pause_survives_new_links() {
    let h = harness();
    let (firing, deferred) = Deferred::new(&h.reactor);
    deferred.pause();
    let deferred = deferred.add_callback(|n: u8| n + 1).add_callback(|n| n * 2);
    firing.callback(1).unwrap();
    assert_eq!(h.ready(), 0);
    deferred.unpause();
    assert_eq!(h.value(deferred), 4);
}

#[test]
fn pause_while_an_inner_one_is_outstanding() {
    let h = harness();
    let (firing, inner) = Deferred::new(&h.reactor);
    let diary = Diary::default();
    let link = diary.clone();
    let deferred =
        succeed(&h.reactor, ()).add_callback(move |()| inner).add_callback(move |n: u8| link.write(n));
    h.run();
    deferred.pause();
    firing.callback(1).unwrap();
    h.run();
    assert!(diary.read().is_empty());
    deferred.unpause();
    h.run();
    assert_eq!(diary.read(), ["1"]);
    h.value(deferred);
}

#[test]
fn paused_one_keeps_an_awaiting_task_waiting() {
    let h = harness();
    let (firing, deferred) = Deferred::new(&h.reactor);
    deferred.pause();
    let mut task = Task::new(async {
        let mut deferred = Box::pin(deferred);
        std::future::poll_fn(|context| {
            let polled = deferred.as_mut().poll(context);
            deferred.unpause();
            polled
        })
        .await
    });
    firing.callback(1).unwrap();
    assert!(task.poll().is_pending());
    assert_eq!(task.wakes(), 1);
    assert!(task.poll().is_ready());
}

#[test]
fn pauses_end_with_their_holder() {
    let h = harness();
    let diary = Diary::default();
    let (firing, deferred) = Deferred::new(&h.reactor);
    let link = diary.clone();
    let deferred = deferred.add_callback(move |n: u8| link.write(n));
    deferred.pause();
    firing.callback(1).unwrap();
    h.run();
    drop(deferred);
    h.run();
    assert_eq!(diary.read(), ["1"]);

    let inner = succeed(&h.reactor, 2);
    inner.pause();
    assert_eq!(h.value(succeed(&h.reactor, ()).add_callback(move |()| inner)), 2);
}
