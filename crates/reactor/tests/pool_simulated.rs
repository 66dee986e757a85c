//! Pools under the simulation: the same sizes, refusals and cancellations as with threads, in virtual time.

mod support;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ropewalk_reactor::failure::{Abandoned, Cancelled};
use ropewalk_reactor::{Deferred, PoolError, PoolOptions, Simulation, ThreadPool};
use support::Trace;

/// A pool whose jobs take ten milliseconds each.
fn sized(simulation: &Simulation, threads_max: usize) -> ThreadPool {
    let ten = Duration::from_millis(10);
    simulation.network().set_conditions(|conditions| conditions.job = (ten, ten));
    let options = PoolOptions { threads_max, queue_max: 20, ..PoolOptions::default() };
    ThreadPool::new(simulation.reactor(), "simulated", options)
}

/// Notes what comes of it, and when.
fn noted(trace: &Trace, job: Deferred<u32>) {
    let (trace, reactor) = (trace.clone(), job.reactor().clone());
    drop(job.add_both(move |outcome: Result<u32, ropewalk_reactor::Failure>| {
        let what = match outcome {
            Ok(value) => value.to_string(),
            Err(failure) if failure.is::<Cancelled>() => "cancelled".to_owned(),
            Err(failure) if failure.is::<Abandoned>() => "abandoned".to_owned(),
            Err(failure) => failure.to_string(),
        };
        trace.note(format!("{what}@{}", reactor.now().as_millis()));
    }));
}

#[test]
fn each_pool_keeps_its_own_size() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let (one, three) = (sized(&simulation, 1), sized(&simulation, 3));
    for job in 0..3 {
        noted(&trace, one.defer(move || job));
        noted(&trace, three.defer(move || 10 + job));
    }
    assert_eq!((one.statistics().running, one.statistics().queued, one.statistics().threads), (1, 2, 1));
    assert_eq!(
        (three.statistics().running, three.statistics().queued, three.statistics().threads),
        (3, 0, 3)
    );
    simulation.advance(Duration::from_secs(1));
    assert_eq!(trace.take(), "0@10 10@10 11@10 12@10 1@20 2@30");
    assert_eq!((one.statistics().done, one.statistics().running), (3, 0));
}

#[test]
fn a_larger_pool_begins_what_waits_and_a_smaller_one_ends_what_has_begun() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let pool = sized(&simulation, 1);
    (0..5).for_each(|job| noted(&trace, pool.defer(move || job)));
    pool.resize(0, 3);
    assert_eq!(pool.statistics().running, 3);
    pool.resize(0, 1);
    simulation.advance(Duration::from_secs(1));
    assert_eq!(trace.take(), "0@10 1@10 2@10 3@20 4@30");
}

#[test]
fn a_cancelled_job_that_has_not_begun_never_runs_and_takes_no_time() {
    for seed in 0..100 {
        let (simulation, trace, ran) =
            (Simulation::new(seed), Trace::default(), Arc::new(AtomicUsize::new(0)));
        let pool = sized(&simulation, 1);
        let jobs: Vec<Deferred<u32>> = (0..4)
            .map(|job| {
                let ran = Arc::clone(&ran);
                pool.defer(move || {
                    ran.fetch_add(1, Ordering::SeqCst);
                    job
                })
            })
            .collect();
        jobs[1].cancel();
        jobs[2].cancel();
        assert_eq!((pool.statistics().queued, pool.statistics().cancelled), (1, 2));
        assert_eq!(Arc::strong_count(&ran), 3, "the closures are dropped at once");
        jobs.into_iter().for_each(|job| noted(&trace, job));
        simulation.advance(Duration::from_secs(1));
        assert_eq!(trace.take(), "cancelled@0 cancelled@0 0@10 3@20", "seed {seed}");
        assert_eq!(ran.load(Ordering::SeqCst), 2);
    }
}

#[test]
fn a_cancelled_job_that_has_begun_goes_on_for_nobody() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let (pool, value) = (sized(&simulation, 1), Arc::new(()));
    let sent = Arc::clone(&value);
    let first = pool.defer(move || {
        let ran = sent;
        Arc::strong_count(&ran) as u32
    });
    noted(&trace, pool.defer(|| 2));
    simulation.advance(Duration::from_millis(5));
    first.cancel();
    noted(&trace, first);
    simulation.advance(Duration::from_millis(4));
    assert_eq!(trace.take(), "cancelled@5");
    assert_eq!(Arc::strong_count(&value), 2, "it still runs");
    assert_eq!((pool.statistics().running, pool.statistics().cancelled), (1, 0));
    simulation.advance(Duration::from_secs(1));
    assert_eq!(Arc::strong_count(&value), 1);
    assert_eq!(trace.take(), "2@20", "its thread was busy until it ended");
    assert_eq!(pool.statistics().done, 2);
}

#[test]
fn the_queue_is_bounded_and_a_callback_has_its_outcome() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let pool = sized(&simulation, 1);
    for job in 0..21 {
        pool.call(move || assert!(job != 3, "as the test wants")).unwrap();
    }
    assert_eq!(pool.call(|| ()), Err(PoolError::Full));
    simulation.advance(Duration::from_millis(10));
    let inner = trace.clone();
    pool.call_with_callback(|| 7, move |outcome| inner.note(outcome.unwrap())).unwrap();
    simulation.advance(Duration::from_secs(1));
    assert_eq!(trace.take(), "7");
    assert_eq!((pool.statistics().done, pool.statistics().panicked), (22, 1));
}

#[test]
fn a_simulated_pool_without_handles_ends_what_has_begun_and_forgets_the_rest() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let pool = sized(&simulation, 1);
    noted(&trace, pool.defer(|| 1));
    noted(&trace, pool.defer(|| 2));
    drop(pool);
    simulation.advance(Duration::from_secs(1));
    assert_eq!(trace.take(), "abandoned@0 1@10");
}

#[test]
fn the_end_of_a_simulation_lets_go_of_every_job() {
    let held = Rc::new(());
    let simulation = Simulation::new(1);
    let pool = sized(&simulation, 1);
    for _ in 0..3 {
        let callback = Rc::clone(&held);
        pool.call_with_callback(|| (), move |_| drop(callback)).unwrap();
    }
    simulation.advance(Duration::from_millis(10));
    assert_eq!(Rc::strong_count(&held), 3);
    simulation.stop();
    assert_eq!(Rc::strong_count(&held), 1);
    assert_eq!(pool.call(|| ()), Err(PoolError::Stopped));
}
