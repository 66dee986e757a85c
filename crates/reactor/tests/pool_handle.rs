//! Pools of one's own: each with its size, its queue and its figures, and the calls that a handle offers.
#![allow(clippy::unwrap_used, reason = "what fails in the helpers of a test fails the test")]

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use ropewalk_reactor::failure::Panicked;
use ropewalk_reactor::{PoolError, PoolOptions, Reactor, ThreadPool};
use support::{Trace, gate, run, when};

const HOUR: Duration = Duration::from_secs(3600);

fn sized(reactor: &Reactor, name: &'static str, threads_max: usize) -> ThreadPool {
    ThreadPool::new(reactor, name, PoolOptions { threads_max, ..PoolOptions::default() })
}

#[test]
fn pools_do_not_wait_for_each_other() {
    // The one thread of `slow` is held until a job of `fast`, put in later, has ended.
    let reactor = Reactor::new().unwrap();
    let (slow, fast) = (sized(&reactor, "slow", 1), sized(&reactor, "fast", 1));
    let (open, gate) = gate();
    let (stopper, both) = (reactor.clone(), slow.clone());
    drop(slow.defer(move || gate.pass()).add_callback(move |()| {
        let seen = both.statistics();
        assert_eq!((seen.name, seen.threads_max, seen.threads, seen.done), ("slow", 1, 1, 1));
        stopper.stop();
    }));
    let deferred = reactor.defer_to_thread_pool(&fast, || thread::current().name().map(str::to_owned));
    drop(deferred.add_callback(move |name: Option<String>| {
        assert_eq!(name.as_deref(), Some("fast"));
        open.send(()).unwrap();
    }));
    run(&reactor);
    assert_eq!(reactor.thread_pool_statistics().done, 0, "the reactor's own pool had nothing to do with it");
}

#[test]
fn a_callback_that_is_not_send_gets_the_outcome_on_the_loop() {
    let reactor = Reactor::new().unwrap();
    let (trace, home) = (Trace::default(), thread::current().id());
    let seen = Rc::new(RefCell::new(Vec::new()));
    for job in 0..3 {
        let (seen, trace, stopper) = (Rc::clone(&seen), trace.clone(), reactor.clone());
        let callback = move |outcome: Result<u32, ropewalk_reactor::Failure>| {
            assert_eq!(thread::current().id(), home);
            match outcome {
                Ok(value) => seen.borrow_mut().push(value),
                Err(failure) => trace.note(failure.check::<Panicked>().unwrap().message()),
            }
            if seen.borrow().len() + trace.len() == 3 {
                stopper.stop();
            }
        };
        let job = move || if job == 1 { panic!("as the test wants") } else { job };
        reactor.call_in_thread_with_callback(job, callback).unwrap();
    }
    run(&reactor);
    seen.borrow_mut().sort_unstable();
    assert_eq!(*seen.borrow(), [0, 2]);
    assert_eq!(trace.take(), "as the test wants");
    assert_eq!(reactor.thread_pool_statistics().panicked, 1);
}

#[test]
fn a_callback_that_panics_keeps_the_others_from_nothing() {
    let (reactor, trace) = (Reactor::new().unwrap(), Trace::default());
    reactor.suggest_thread_pool_size(1);
    reactor.call_in_thread_with_callback(|| (), |_| panic!("as the test wants")).unwrap();
    let (inner, stopper) = (trace.clone(), reactor.clone());
    let after = move |outcome: Result<u32, _>| {
        inner.note(outcome.unwrap());
        stopper.stop();
    };
    reactor.call_in_thread_with_callback(|| 7, after).unwrap();
    run(&reactor);
    assert_eq!(trace.take(), "7");
}

#[test]
fn multiple_calls_run_in_one_thread_in_order_and_past_a_panic() {
    let reactor = Reactor::new().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    // Other threads are there and idle: it is not for want of them that one thread does it all.
    let together = Arc::new(Barrier::new(3));
    for _ in 0..3 {
        let together = Arc::clone(&together);
        reactor
            .call_in_thread(move || {
                together.wait();
            })
            .unwrap();
    }
    let calls = (0..100).map(|call| {
        let seen = Arc::clone(&seen);
        move || {
            assert!(call % 10 != 3, "as the test wants");
            seen.lock().unwrap().push((call, thread::current().id()));
        }
    });
    reactor.call_multiple_in_thread(calls).unwrap();
    let (stopper, done) = (reactor.clone(), |reactor: &Reactor| reactor.thread_pool_statistics().done == 4);
    when(&reactor, done, move || stopper.stop());
    run(&reactor);
    let seen = seen.lock().unwrap();
    assert!(seen.iter().map(|(call, _)| *call).eq((0..100).filter(|call| call % 10 != 3)));
    assert!(seen.iter().all(|(_, thread)| *thread == seen[0].1));
    assert_eq!(reactor.thread_pool_statistics().panicked, 10);
}

#[test]
fn a_wrapped_function_means_the_same_to_its_caller() {
    fn divide((a, b): (u32, u32)) -> Result<u32, String> {
        a.checked_div(b).ok_or("by nothing".to_owned())
    }
    let (reactor, trace) = (Reactor::new().unwrap(), Trace::default());
    let divide_later = reactor.thread_pool().wrap(divide);
    let again = divide_later.clone();
    let picky = reactor.thread_pool().wrap(|n: usize| ["a", "b"][n]);
    let (stopper, inner) = (reactor.clone(), trace.clone());
    reactor.spawn(async move {
        for pair in [(7, 2), (1, 0), (9, 3)] {
            assert_eq!(again(pair).await.unwrap(), divide(pair));
        }
        inner.note(picky(1).await.unwrap());
        let failure = picky(2).await.unwrap_err();
        inner.note(failure.check::<Panicked>().is_some());
        // Side by side, too: the function is shared.
        let (first, second) = (divide_later((8, 2)), divide_later((8, 4)));
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (Ok(4), Ok(2)));
        stopper.stop();
    });
    run(&reactor);
    assert_eq!(trace.take(), "b true");
}

#[test]
fn a_full_queue_refuses_at_once_and_keeps_nothing() {
    let reactor = Reactor::new().unwrap();
    let options = PoolOptions { threads_max: 1, queue_max: 2, ..PoolOptions::default() };
    let pool = ThreadPool::new(&reactor, "small", options);
    let (open, gate) = gate();
    let begun = Arc::new(Barrier::new(2));
    let begin = Arc::clone(&begun);
    pool.call(move || {
        begin.wait();
        gate.pass();
    })
    .unwrap();
    begun.wait();
    pool.call(|| ()).unwrap();
    pool.call_multiple([|| ()]).unwrap();
    let held = Arc::new(());
    let (sent, kept) = (Arc::clone(&held), Rc::new(()));
    let callback = Rc::clone(&kept);
    assert_eq!(pool.call_with_callback(move || drop(sent), move |_| drop(callback)), Err(PoolError::Full));
    assert_eq!(pool.call(|| ()), Err(PoolError::Full));
    assert_eq!(pool.call_multiple([|| ()]), Err(PoolError::Full));
    assert_eq!((Arc::strong_count(&held), Rc::strong_count(&kept)), (1, 1), "refused is let go of");
    let (stopper, refused) = (reactor.clone(), pool.defer(|| ()));
    reactor.spawn(async move {
        assert_eq!(refused.await.unwrap_err().check(), Some(&PoolError::Full));
        open.send(()).unwrap();
        let seen = pool.statistics();
        assert_eq!((seen.queued + seen.running, seen.cancelled), (3 - seen.done as usize, 0));
        stopper.stop();
    });
    run(&reactor);
}

/// Makes four threads, has each do a job, and lets them all go idle.
fn four_at_once(pool: &ThreadPool) {
    let together = Arc::new(Barrier::new(4));
    for _ in 0..4 {
        let together = Arc::clone(&together);
        pool.call(move || {
            together.wait();
        })
        .unwrap();
    }
}

#[test]
fn threads_beyond_those_that_stay_leave_when_idle_for_long_enough() {
    // Nothing is long enough here, so that the test need not wait.
    let reactor = Reactor::new().unwrap();
    let options =
        PoolOptions { threads_min: 1, threads_max: 4, idle: Duration::ZERO, ..PoolOptions::default() };
    let pool = ThreadPool::new(&reactor, "brief", options);
    brief_rounds(&reactor, &pool, 1);
    run(&reactor);
}

/// Round after round, each when the threads of the one before have left.
fn brief_rounds(reactor: &Reactor, pool: &ThreadPool, round: u64) {
    four_at_once(pool);
    let (watched, again, handle) = (pool.clone(), reactor.clone(), pool.clone());
    let left = move |_: &Reactor| {
        let seen = watched.statistics();
        seen.done == 4 * round && (seen.threads, seen.idle) == (1, 1)
    };
    when(reactor, left, move || match round {
        20 => again.stop(),
        _ => brief_rounds(&again, &handle, round + 1),
    });
}

#[test]
fn threads_stay_while_they_have_not_been_idle_for_long_enough() {
    let reactor = Reactor::new().unwrap();
    let options = PoolOptions { threads_min: 0, threads_max: 4, idle: HOUR, ..PoolOptions::default() };
    let pool = ThreadPool::new(&reactor, "patient", options);
    four_at_once(&pool);
    let (watched, handle, stopper) = (pool.clone(), pool.clone(), reactor.clone());
    when(
        &reactor,
        move |_| watched.statistics().idle == 4,
        move || {
            assert_eq!(handle.statistics().threads, 4);
            // Smaller is smaller at once, also for those who sleep.
            handle.resize(0, 2);
            let watched = handle.clone();
            when(&stopper.clone(), move |_| watched.statistics().threads == 2, move || stopper.stop());
        },
    );
    run(&reactor);
}

#[test]
fn sizes_that_make_no_sense_are_made_to() {
    let reactor = Reactor::new().unwrap();
    let pool = ThreadPool::new(&reactor, "odd", PoolOptions { threads_max: 0, ..PoolOptions::default() });
    assert_eq!(pool.statistics().threads_max, 1);
    pool.resize(9, 3);
    assert_eq!(pool.statistics().threads_max, 3);
    assert_eq!(format!("{pool:?}").matches("odd").count(), 1);
}
