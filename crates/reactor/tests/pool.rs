//! The thread pool: values and panics come back to the loop, the size is kept, and the simulated one is a seed's.

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use ropewalk_reactor::failure::Panicked;
use ropewalk_reactor::{BlockingError, PoolError, Reactor, Simulation};
use support::{Trace, gate, run, when};

#[test]
fn a_value_comes_back_to_the_loops_own_thread() {
    let (reactor, home) = (Reactor::new().unwrap(), thread::current().id());
    let stopper = reactor.clone();
    drop(reactor.defer_to_thread(|| thread::current().id()).add_callback(move |worker| {
        assert_ne!(worker, home);
        assert_eq!(thread::current().id(), home);
        stopper.stop();
    }));
    run(&reactor);
}

#[test]
fn a_panic_becomes_a_failure_and_hurts_no_other_job() {
    let (reactor, trace) = (Reactor::new().unwrap(), Trace::default());
    reactor.suggest_thread_pool_size(1);
    let (handle, inner) = (reactor.clone(), trace.clone());
    drop(reactor.spawn(async move {
        let failure = handle.defer_to_thread(|| -> u32 { panic!("as the test wants") }).await.unwrap_err();
        inner.note(failure.check::<Panicked>().unwrap().message());
        handle.call_in_thread(|| panic!("as the test wants")).unwrap();
        inner.note(handle.defer_to_thread(|| 42).await.unwrap());
        handle.stop();
    }));
    run(&reactor);
    assert_eq!(trace.take(), "as the test wants 42");
}

#[test]
fn no_more_threads_than_suggested_work_at_once_and_all_of_them_do() {
    const JOBS: usize = 64;
    let reactor = Reactor::new().unwrap();
    reactor.suggest_thread_pool_size(4);
    let together = Arc::new(Barrier::new(4));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for _ in 0..JOBS {
        let (now, most, together) = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&together));
        let job = move || {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // Passed only if four jobs run side by side.
            together.wait();
            now.fetch_sub(1, Ordering::SeqCst);
        };
        reactor.call_in_thread(job).unwrap();
    }
    assert_eq!(reactor.thread_pool_statistics().threads_max, 4);
    let stopper = reactor.clone();
    when(&reactor, |reactor| reactor.thread_pool_statistics().done == JOBS as u64, move || stopper.stop());
    let seen = reactor.thread_pool_statistics();
    assert_eq!(seen.threads, 4);
    run(&reactor);
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

#[test]
fn statistics_tell_what_works_what_waits_and_what_is_done() {
    let reactor = Reactor::new().unwrap();
    reactor.suggest_thread_pool_size(2);
    let (open, gate) = gate();
    for _ in 0..5 {
        let gate = gate.clone();
        reactor.call_in_thread(move || gate.pass()).unwrap();
    }
    let (handle, opener) = (reactor.clone(), reactor.clone());
    when(
        &reactor,
        |reactor| reactor.thread_pool_statistics().queued == 3,
        move || {
            let seen = opener.thread_pool_statistics();
            assert_eq!((seen.threads, seen.idle, seen.done), (2, 0, 0));
            (0..5).for_each(|_| open.send(()).unwrap());
            when(
                &opener,
                |reactor| reactor.thread_pool_statistics().idle == 2,
                move || {
                    let seen = handle.thread_pool_statistics();
                    assert_eq!((seen.threads, seen.queued, seen.done), (2, 0, 5));
                    handle.stop();
                },
            );
        },
    );
    run(&reactor);
}

#[test]
fn jobs_begin_in_the_order_in_which_they_were_put_in() {
    let (reactor, seen) = (Reactor::new().unwrap(), Arc::new(Mutex::new(Vec::new())));
    reactor.suggest_thread_pool_size(1);
    for serial in 0..1000 {
        let seen = Arc::clone(&seen);
        reactor.call_in_thread(move || seen.lock().unwrap().push(serial)).unwrap();
    }
    let stopper = reactor.clone();
    drop(reactor.defer_to_thread(|| ()).add_callback(move |()| stopper.stop()));
    run(&reactor);
    assert!(seen.lock().unwrap().iter().copied().eq(0..1000));
}

#[test]
fn a_pool_made_larger_begins_what_waits() {
    // 1. One thread, two jobs that need each other. 2. The size is raised; nothing more is put in.
    // 3. A thread was made only for a new job.
    let reactor = Reactor::new().unwrap();
    reactor.suggest_thread_pool_size(1);
    let together = Arc::new(Barrier::new(2));
    for _ in 0..2 {
        let together = Arc::clone(&together);
        reactor
            .call_in_thread(move || {
                together.wait();
            })
            .unwrap();
    }
    let (stopper, larger) = (reactor.clone(), reactor.clone());
    reactor.call_soon(move || larger.suggest_thread_pool_size(2));
    when(&reactor, |reactor| reactor.thread_pool_statistics().done == 2, move || stopper.stop());
    run(&reactor);
}

#[test]
fn a_pool_made_smaller_gives_threads_up_while_jobs_still_wait() {
    let reactor = Reactor::new().unwrap();
    reactor.suggest_thread_pool_size(4);
    let (open, gate) = gate();
    for _ in 0..8 {
        let gate = gate.clone();
        reactor.call_in_thread(move || gate.pass()).unwrap();
    }
    let (handle, stopper) = (reactor.clone(), reactor.clone());
    when(
        &reactor,
        |reactor| reactor.thread_pool_statistics().queued == 4,
        move || {
            handle.suggest_thread_pool_size(1);
            (0..4).for_each(|_| open.send(()).unwrap());
            let given_up = |reactor: &Reactor| {
                let seen = reactor.thread_pool_statistics();
                seen.threads == 1 && seen.queued == 3
            };
            when(&handle, given_up, move || {
                drop(open);
                when(
                    &stopper.clone(),
                    |reactor| reactor.thread_pool_statistics().done == 8,
                    move || stopper.stop(),
                );
            });
        },
    );
    run(&reactor);
}

#[test]
fn beyond_its_bound_the_queue_refuses() {
    const QUEUE: usize = 100_000;
    let (reactor, trace) = (Reactor::new().unwrap(), Trace::default());
    reactor.suggest_thread_pool_size(1);
    let (open, gate) = gate();
    let begun = Arc::new(Barrier::new(2));
    let begin = Arc::clone(&begun);
    reactor
        .call_in_thread(move || {
            begin.wait();
            gate.pass()
        })
        .unwrap();
    begun.wait();
    for _ in 0..QUEUE {
        reactor.call_in_thread(|| {}).unwrap();
    }
    assert_eq!(reactor.call_in_thread(|| {}), Err(PoolError::Full));
    let (handle, inner) = (reactor.clone(), trace.clone());
    drop(reactor.spawn(async move {
        inner.note(handle.defer_to_thread(|| 1).await.unwrap_err());
        open.send(()).unwrap();
        handle.stop();
    }));
    run(&reactor);
    assert_eq!(trace.take(), "the thread pool's queue is full");
}

#[test]
fn jobs_that_have_begun_end_and_the_others_are_forgotten() {
    let reactor = Reactor::new().unwrap();
    reactor.suggest_thread_pool_size(1);
    let ended = Arc::new(AtomicBool::new(false));
    let begun = Arc::new(Barrier::new(2));
    let (open, gate) = gate();
    let (begin, end, remote) = (Arc::clone(&begun), Arc::clone(&ended), reactor.remote());
    let job = move || {
        begin.wait();
        // The only thread is here until the job behind it is dropped.
        gate.pass();
        // The loop waits for this job: asking it must not wait for the loop.
        assert_eq!(remote.blocking_call_from_thread(|_| ()), Err(BlockingError::Stopped));
        end.store(true, Ordering::SeqCst);
    };
    reactor.call_in_thread(job).unwrap();
    reactor.call_in_thread(move || open.send(()).expect("it was to be forgotten")).unwrap();
    let stopper = reactor.clone();
    reactor.call_soon(move || {
        begun.wait();
        stopper.stop();
    });
    run(&reactor);
    assert!(ended.load(Ordering::SeqCst));
    assert_eq!(reactor.call_in_thread(|| {}), Err(PoolError::Stopped), "the loop has ended");
}

#[test]
fn jobs_lose_no_wake_up_however_they_come() {
    // One job at a time, each from the callback of the one before: every one finds the threads idle or going idle.
    const JOBS: u32 = 20_000;
    let (reactor, trace) = (Reactor::new().unwrap(), Trace::default());
    let (handle, inner) = (reactor.clone(), trace.clone());
    drop(reactor.spawn(async move {
        for job in 0..JOBS {
            assert_eq!(handle.defer_to_thread(move || job).await.unwrap(), job);
        }
        inner.note(handle.thread_pool_statistics().threads);
        handle.stop();
    }));
    run(&reactor);
    let threads: usize = trace.take().parse().unwrap();
    assert!(threads <= 10, "{threads}");
}

/// What a simulated pool of this size does with ten jobs: in which order they end, and when.
fn simulated(seed: u64, size: usize) -> String {
    let (simulation, trace) = (Simulation::new(seed), Trace::default());
    simulation.reactor().suggest_thread_pool_size(size);
    simulation.network().set_conditions(|conditions| {
        conditions.job = (Duration::from_millis(5), Duration::from_millis(15));
    });
    for job in 0..10 {
        let (inner, reactor) = (trace.clone(), simulation.reactor().clone());
        drop(simulation.reactor().defer_to_thread(move || job).add_callback(move |job| {
            inner.note(format!("{job}@{}", reactor.now().as_millis()));
        }));
    }
    simulation.advance(Duration::from_secs(1));
    trace.take()
}

#[test]
fn the_simulated_pool_is_decided_by_its_seed() {
    let runs: Vec<String> = (0..100).map(|seed| simulated(seed, 10)).collect();
    for (seed, first) in (0..).zip(&runs) {
        assert_eq!(&simulated(seed, 10), first, "seed {seed}");
        assert_eq!(first.split(' ').count(), 10);
    }
    assert!(runs.iter().any(|run| run != &runs[0]), "seeds differ");
}

#[test]
fn the_simulated_pool_keeps_its_size_too() {
    for seed in 0..100 {
        let told = simulated(seed, 1);
        let jobs: Vec<(u32, u64)> = told
            .split(' ')
            .map(|line| {
                line.split_once('@').map(|(job, at)| (job.parse().unwrap(), at.parse().unwrap())).unwrap()
            })
            .collect();
        assert!(
            jobs.iter().map(|job| job.0).eq(0..10),
            "one thread, one after the other: seed {seed}: {told}"
        );
        assert!(jobs.windows(2).all(|pair| pair[1].1 - pair[0].1 >= 4), "seed {seed}: {told}");
        let last = simulated(seed, 5).rsplit('@').next().map(|at| at.parse::<u64>().unwrap()).unwrap();
        assert!((10..=32).contains(&last), "two rounds of five: seed {seed}: {last}");
    }
}

#[test]
fn a_panic_in_a_simulated_job_is_a_failure_as_well() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let inner = trace.clone();
    let job = simulation.reactor().defer_to_thread(|| -> u32 { panic!("as the test wants") });
    drop(job.add_errback(move |failure| {
        inner.note(failure);
        0
    }));
    simulation.reactor().call_in_thread(|| panic!("as the test wants")).unwrap();
    simulation.advance(Duration::from_secs(1));
    assert!(trace.take().contains("as the test wants"));
}
