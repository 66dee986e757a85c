//! Jobs that are not wanted any more: cancelled before and after they began, forgotten with their pool or their loop, and
//! values whose destructors panic.
#![allow(clippy::unwrap_used, reason = "what fails in the helpers of a test fails the test")]

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use ropewalk_reactor::failure::{Abandoned, Cancelled, TimedOut};
use ropewalk_reactor::{PoolOptions, Reactor, ThreadPool};
use support::{Gate, Trace, gate, run, when};

/// Tells when it is dropped.
struct Told(Arc<AtomicUsize>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A value that harms whoever drops it.
struct Bomb(Arc<AtomicUsize>);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        if !std::thread::panicking() {
            panic!("as the test wants");
        }
    }
}

/// What is thrown throws again when it is dropped, so many times.
struct Echo(u32);

impl Drop for Echo {
    fn drop(&mut self) {
        if self.0 > 0 && !std::thread::panicking() {
            std::panic::panic_any(Echo(self.0 - 1));
        }
    }
}

/// A pool of one thread, which is held at the gate.
fn held(reactor: &Reactor, gate: Gate) -> ThreadPool {
    let options = PoolOptions { threads_max: 1, ..PoolOptions::default() };
    let (pool, begun) = (ThreadPool::new(reactor, "held", options), Arc::new(Barrier::new(2)));
    let begin = Arc::clone(&begun);
    pool.call(move || {
        begin.wait();
        gate.pass();
    })
    .unwrap();
    begun.wait();
    pool
}

#[test]
fn a_job_that_has_not_begun_is_taken_out_of_the_queue() {
    let (reactor, trace) = (Reactor::new().unwrap(), Trace::default());
    let (open, gate) = gate();
    let (pool, dropped) = (held(&reactor, gate), Arc::new(AtomicUsize::new(0)));
    let before = pool.defer(|| 1);
    let told = Told(Arc::clone(&dropped));
    let cancelled = pool.defer(move || {
        let _told = told;
        unreachable!("it was cancelled")
    });
    let after = pool.defer(|| 2);
    cancelled.cancel();
    assert_eq!(dropped.load(Ordering::SeqCst), 1, "the closure is dropped at once");
    let seen = pool.statistics();
    assert_eq!((seen.queued, seen.cancelled, seen.running), (2, 1, 1));
    cancelled.cancel();
    assert_eq!(pool.statistics().cancelled, 1, "once is enough");
    let (inner, stopper) = (trace.clone(), reactor.clone());
    reactor.spawn(async move {
        let failure = { cancelled }.await.map(|(): ()| ()).unwrap_err();
        inner.note(failure.is::<Cancelled>());
        open.send(()).unwrap();
        inner.note(before.await.unwrap());
        inner.note(after.await.unwrap());
        let seen = pool.statistics();
        assert_eq!((seen.done, seen.queued, seen.panicked), (3, 0, 0));
        stopper.stop();
    });
    run(&reactor);
    assert_eq!(trace.take(), "true 1 2");
}

#[test]
fn a_job_that_has_begun_fails_at_once_and_its_value_is_dropped_when_it_comes() {
    let (reactor, trace) = (Reactor::new().unwrap(), Trace::default());
    let (open, gate) = gate();
    let (begun, dropped) = (Arc::new(Barrier::new(2)), Arc::new(AtomicUsize::new(0)));
    let (begin, told) = (Arc::clone(&begun), Told(Arc::clone(&dropped)));
    let job = reactor.defer_to_thread(move || {
        begin.wait();
        gate.pass();
        told
    });
    begun.wait();
    let (inner, stopper, count) = (trace.clone(), reactor.clone(), Arc::clone(&dropped));
    drop(
        job.add_timeout(std::time::Duration::ZERO)
            .add_errback(move |failure| {
                inner.note(failure.is::<TimedOut>());
                let seen = stopper.thread_pool_statistics();
                assert_eq!((seen.running, seen.cancelled, count.load(Ordering::SeqCst)), (1, 0, 0));
                open.send(()).unwrap();
                let again = stopper.clone();
                when(&again, move |_| count.load(Ordering::SeqCst) == 1, move || stopper.stop());
                Err(failure)
            })
            .add_errback(|_| Told(Arc::default())),
    );
    run(&reactor);
    assert_eq!(trace.take(), "true");
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    assert_eq!(reactor.thread_pool_statistics().done, 1);
}

#[test]
fn a_thousand_cancellations_leave_room_for_as_many_jobs() {
    // 1. The queue has room for ten. 2. Ten jobs are put in and cancelled, a hundred times.
    // 3. A cancelled job that only was marked would still fill the queue.
    let reactor = Reactor::new().unwrap();
    let (open, gate) = gate();
    let options = PoolOptions { threads_max: 1, queue_max: 10, ..PoolOptions::default() };
    let pool = ThreadPool::new(&reactor, "small", options);
    let begun = Arc::new(Barrier::new(2));
    let begin = Arc::clone(&begun);
    pool.call(move || {
        begin.wait();
        gate.pass();
    })
    .unwrap();
    begun.wait();
    for _ in 0..100 {
        let jobs: Vec<_> = (0..10).map(|_| pool.defer(|| ())).collect();
        jobs.iter().for_each(|job| job.cancel());
        jobs.into_iter().for_each(|job| {
            drop(job.add_errback(|failure| {
                assert!(failure.is::<Cancelled>());
            }))
        });
    }
    assert_eq!((pool.statistics().queued, pool.statistics().cancelled), (0, 1000));
    let stopper = reactor.clone();
    drop(pool.defer(|| ()).add_callback(move |()| stopper.stop()));
    open.send(()).unwrap();
    run(&reactor);
    assert_eq!(pool.statistics().done, 2);
}

#[test]
fn values_and_closures_whose_destructors_panic_harm_nobody() {
    let (reactor, trace) = (Reactor::new().unwrap(), Trace::default());
    let (open, gate) = gate();
    let (pool, count) = (held(&reactor, gate), Arc::new(AtomicUsize::new(0)));
    let bomb = || Bomb(Arc::clone(&count));
    // Taken out of the queue: the closure goes off on the loop.
    let first = bomb();
    let cancelled = pool.defer(move || drop(first));
    cancelled.cancel();
    // Done for nobody: the value goes off on the loop.
    let second = bomb();
    let begun = Arc::new(Barrier::new(2));
    let begin = Arc::clone(&begun);
    let unwanted = pool.defer(move || {
        begin.wait();
        begin.wait();
        second
    });
    // Goes off in the thread, as the job ends, and as what was thrown is dropped.
    let (third, fourth) = (bomb(), bomb());
    pool.call(move || drop(third)).unwrap();
    pool.call(move || std::panic::panic_any(fourth)).unwrap();
    pool.call(|| std::panic::panic_any(Echo(3))).unwrap();
    // A value whose chain nobody holds.
    let fifth = bomb();
    drop(pool.defer(move || fifth));
    let (inner, stopper) = (trace.clone(), reactor.clone());
    reactor.spawn(async move {
        inner.note(cancelled.await.unwrap_err());
        open.send(()).unwrap();
        begun.wait();
        unwanted.cancel();
        begun.wait();
        inner.note(unwanted.await.map(drop).unwrap_err());
        inner.note(pool.defer(|| "alive").await.unwrap());
        assert_eq!(pool.statistics().threads, 1);
        stopper.stop();
    });
    run(&reactor);
    assert_eq!(trace.take(), "cancelled cancelled alive");
    assert_eq!(count.load(Ordering::SeqCst), 5);
}

#[test]
fn a_pool_without_handles_ends_what_has_begun_and_forgets_the_rest() {
    let (reactor, trace) = (Reactor::new().unwrap(), Trace::default());
    let (open, gate) = gate();
    let options = PoolOptions { threads_max: 1, ..PoolOptions::default() };
    let pool = ThreadPool::new(&reactor, "short-lived", options);
    let begun = Arc::new(Barrier::new(2));
    let begin = Arc::clone(&begun);
    let first = pool.defer(move || {
        begin.wait();
        gate.pass();
        "to its end"
    });
    begun.wait();
    let (dropped, inner) = (Arc::new(AtomicUsize::new(0)), trace.clone());
    let told = Told(Arc::clone(&dropped));
    let second = pool.defer(move || drop(told));
    pool.call_with_callback(|| (), move |outcome| inner.note(outcome.unwrap_err().is::<Abandoned>()))
        .unwrap();
    let sources = reactor.statistics().sources;
    let clone = pool.clone();
    drop(pool);
    assert_eq!(dropped.load(Ordering::SeqCst), 0, "one handle is left");
    drop(clone);
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    let (inner, stopper) = (trace.clone(), reactor.clone());
    reactor.spawn(async move {
        assert!(second.await.unwrap_err().is::<Abandoned>());
        open.send(()).unwrap();
        inner.note(first.await.unwrap());
        // Its threads gone, nothing of it is left.
        when(&stopper.clone(), move |reactor| reactor.statistics().sources < sources, move || stopper.stop());
    });
    run(&reactor);
    assert_eq!(trace.take(), "true to its end");
}

#[test]
fn a_pool_that_never_had_a_thread_is_gone_with_its_last_handle() {
    let reactor = Reactor::new().unwrap();
    for _ in 0..3 {
        let pool = ThreadPool::new(&reactor, "unused", PoolOptions::default());
        assert_eq!(reactor.statistics().sources, 1);
        drop(pool.wrap(|n: u32| n));
        drop(pool);
        assert_eq!(reactor.statistics().sources, 0);
    }
}

#[test]
fn the_end_of_the_loop_waits_for_every_pool_and_forgets_what_has_not_begun() {
    let reactor = Reactor::new().unwrap();
    let begun = Arc::new(Barrier::new(4));
    let (ended, forgotten) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let options = PoolOptions { threads_max: 1, ..PoolOptions::default() };
    let pools: Vec<ThreadPool> = (0..3).map(|_| ThreadPool::new(&reactor, "one of three", options)).collect();
    let told = Rc::new(Cell::new(0));
    for pool in &pools {
        let (begin, end, remote) = (Arc::clone(&begun), Arc::clone(&ended), reactor.remote());
        pool.call(move || {
            begin.wait();
            // Waits until the loop has ended.
            while remote.call_from_thread(|_| ()).is_ok() {
                std::thread::yield_now();
            }
            end.fetch_add(1, Ordering::SeqCst);
        })
        .unwrap();
        let forget = Told(Arc::clone(&forgotten));
        let told = Rc::clone(&told);
        pool.call_with_callback(move || drop(forget), move |_| told.set(told.get() + 1)).unwrap();
        let forget = Told(Arc::clone(&forgotten));
        drop(pool.defer(move || drop(forget)));
    }
    let stopper = reactor.clone();
    reactor.call_soon(move || {
        begun.wait();
        stopper.stop();
    });
    run(&reactor);
    // The handles are still here, and yet it is over.
    assert_eq!((ended.load(Ordering::SeqCst), forgotten.load(Ordering::SeqCst)), (3, 6));
    assert_eq!((told.get(), Rc::strong_count(&told)), (0, 1), "callbacks are let go of");
    assert_eq!(pools[0].statistics().threads, 0);
}

#[test]
fn a_job_that_asks_the_loop_for_a_deferred_does_not_keep_it_from_its_end() {
    // 1. The job waits for a deferred of the loop that nobody fires. 2. The loop ends, and waits for the job.
    // 3. Had it not let go of the deferred first, both would wait for ever.
    let reactor = Reactor::new().unwrap();
    let (remote, refused) = (reactor.remote(), Arc::new(AtomicBool::new(false)));
    let seen = Arc::clone(&refused);
    reactor
        .call_in_thread(move || {
            let never = remote.blocking_call_deferred(|reactor| {
                let (firing, deferred) = ropewalk_reactor::Deferred::<u32>::new(reactor);
                std::mem::forget(firing);
                reactor.stop();
                deferred
            });
            seen.store(never.is_err(), Ordering::SeqCst);
        })
        .unwrap();
    run(&reactor);
    assert!(refused.load(Ordering::SeqCst));
}
