//! Sleeping, limits around futures, scopes that own their tasks, work in slices, and programs that are one future.

mod support;

use std::cell::Cell;
use std::future::{Future, pending};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ropewalk_reactor::failure::{Cancelled, Panicked, TimedOut};
use ropewalk_reactor::{
    Cooperator, Deferred, Failure, NotPaused, Outcome, Reactor, Scope, Simulation, TaskStopped, Work, react,
};
use support::{PATIENCE, Trace};

const MS: Duration = Duration::from_millis(1);

/// Says when it is dropped.
struct Gone(Trace, &'static str);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.note(self.1);
    }
}

fn now<T>(deferred: Deferred<T>) -> Option<Outcome<T>> {
    match pin!(deferred).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

#[test]
fn sleep_takes_its_time_and_dropping_it_takes_the_timer_away() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let (reactor, noted) = (simulation.reactor().clone(), trace.clone());
    simulation.reactor().spawn(async move {
        reactor.sleep(5 * MS).await;
        noted.note("five");
        reactor.sleep_until(reactor.now() + 5 * MS).await;
        noted.note("ten");
    });
    simulation.advance(4 * MS);
    assert_eq!(trace.take(), "");
    simulation.advance(MS);
    assert_eq!(trace.take(), "five");
    simulation.advance(5 * MS);
    assert_eq!(trace.take(), "ten");
    let sleep = simulation.reactor().sleep(MS);
    assert_eq!(simulation.reactor().statistics().timers, 1);
    drop(sleep);
    assert_eq!(simulation.reactor().statistics().timers, 0);
}

#[test]
fn defer_later_gives_what_the_function_makes_unless_cancelled() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let noted = trace.clone();
    let later: Deferred<u8> = simulation.reactor().defer_later(5 * MS, move || {
        noted.note("called");
        "7".parse::<u8>()
    });
    simulation.advance(5 * MS);
    assert_eq!(now(later).unwrap().unwrap(), 7);
    trace.take();
    let noted = trace.clone();
    let later: Deferred<()> = simulation.reactor().defer_later(5 * MS, move || noted.note("called"));
    later.cancel();
    assert_eq!(simulation.reactor().statistics().timers, 0);
    simulation.advance(10 * MS);
    assert!(now(later).unwrap().unwrap_err().is::<Cancelled>());
    assert_eq!(trace.take(), "");
}

#[test]
fn with_timeout_drops_what_takes_too_long() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let reactor = simulation.reactor();
    let gone = Gone(trace.clone(), "dropped");
    let late = reactor.with_timeout(5 * MS, async move {
        let _gone = gone;
        pending::<()>().await;
    });
    let late = reactor.ensure_deferred(late);
    let quick = reactor.sleep(4 * MS);
    let quick = reactor.ensure_deferred(reactor.with_timeout(5 * MS, quick));
    simulation.advance(5 * MS);
    assert_eq!(trace.take(), "dropped");
    let failure = now(late).unwrap().unwrap_err();
    assert_eq!(failure.check(), Some(&TimedOut { limit: 5 * MS }));
    assert!(now(quick).unwrap().is_ok());
    assert_eq!(reactor.statistics().timers, 0);
}

#[test]
fn leaving_a_scope_ends_its_tasks() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let reactor = simulation.reactor();
    let scope = Scope::new(reactor);
    for name in ["one", "two"] {
        let gone = Gone(trace.clone(), name);
        scope.spawn(async move {
            let _gone = gone;
            pending::<()>().await;
        });
    }
    let done = scope.spawn(async { 7 });
    simulation.advance(MS);
    assert_eq!(scope.len(), 2);
    drop(scope);
    assert_eq!(trace.take(), "one two");
    let done = reactor.ensure_deferred(done);
    simulation.advance(MS);
    assert_eq!(now(done).unwrap().unwrap(), 7);
}

#[test]
fn dropping_the_future_around_a_scope_ends_its_tasks() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let (reactor, inner) = (simulation.reactor().clone(), trace.clone());
    let outer = simulation.reactor().ensure_deferred(async move {
        let scope = Scope::new(&reactor);
        let gone = Gone(inner, "inner");
        scope.spawn(async move {
            let _gone = gone;
            pending::<()>().await;
        });
        scope.join().await
    });
    simulation.advance(MS);
    outer.cancel();
    assert_eq!(trace.take(), "inner");
}

#[test]
fn joining_waits_for_tasks_that_tasks_began() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let (reactor, noted) = (simulation.reactor().clone(), trace.clone());
    let joined = simulation.reactor().ensure_deferred(async move {
        let scope = Rc::new(Scope::new(&reactor));
        let (again, noted) = (Rc::downgrade(&scope), noted.clone());
        let sleeper = reactor.clone();
        scope.spawn(async move {
            sleeper.sleep(MS).await;
            let Some(scope) = again.upgrade() else { return };
            scope.spawn(async move {
                sleeper.sleep(MS).await;
                noted.note("second");
            });
        });
        reactor.sleep(MS + MS / 2).await;
        Rc::into_inner(scope).unwrap().join().await
    });
    simulation.advance(10 * MS);
    assert_eq!(trace.take(), "second");
    assert!(now(joined).unwrap().is_ok());
}

#[test]
fn the_first_failure_ends_the_others_and_is_the_scopes() {
    for panics in [false, true] {
        let (simulation, trace) = (Simulation::new(1), Trace::default());
        let reactor = simulation.reactor().clone();
        let scope = Scope::new(&reactor);
        let gone = Gone(trace.clone(), "ended");
        scope.spawn(async move {
            let _gone = gone;
            pending::<()>().await;
        });
        scope.run(async move {
            reactor.sleep(MS).await;
            if panics {
                std::panic::resume_unwind(Box::new("oops"));
            }
            Err::<(), _>(Failure::new("no"))
        });
        let joined = simulation.reactor().ensure_deferred(scope.join());
        simulation.advance(2 * MS);
        assert_eq!(trace.take(), "ended");
        let failure = now(joined).unwrap().unwrap_err();
        assert_eq!((failure.is::<Panicked>(), failure.to_string() == "no"), (panics, !panics));
        assert_eq!(simulation.reactor().statistics().sources, 0);
    }
}

#[test]
fn works_take_turns_and_the_loop_goes_on_between_slices() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let cooperator = Cooperator::new(simulation.reactor());
    for name in ["a", "b"] {
        let noted = trace.clone();
        cooperator.cooperate((0..3).map(move |step| noted.note(format!("{name}{step}"))));
    }
    simulation.advance(MS);
    assert_eq!(trace.take(), "a0 b0 a1 b1 a2 b2");

    // A work without an end, and a timer beside it.
    let forever = cooperator.cooperate(std::iter::repeat(()));
    let (noted, stop) = (trace.clone(), forever.clone());
    let turns = Rc::new(Cell::new(0));
    let turn = Rc::clone(&turns);
    simulation.reactor().call_soon(move || turn.set(turn.get() + 1));
    let reactor = simulation.reactor().clone();
    let again = Rc::clone(&turns);
    reactor.clone().call_soon(move || {
        reactor.call_soon(move || {
            again.set(again.get() + 1);
            noted.note("beside");
            stop.stop();
        });
    });
    simulation.advance(MS);
    assert_eq!((trace.take().as_str(), turns.get()), ("beside", 2));
    assert!(now(forever.when_done()).unwrap().unwrap_err().is::<TaskStopped>());
    assert_eq!(simulation.reactor().statistics().sources, 0);
}

#[test]
fn a_work_waits_for_what_a_step_answers_with() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let cooperator = Cooperator::new(simulation.reactor());
    let (reactor, noted) = (simulation.reactor().clone(), trace.clone());
    let done = cooperator.coiterate((1..=3).map(move |step| {
        noted.note(step);
        if step == 2 { Work::Wait(reactor.defer_later(5 * MS, || ())) } else { Work::Again }
    }));
    simulation.advance(4 * MS);
    assert_eq!(trace.take(), "1 2");
    simulation.advance(MS);
    assert_eq!(trace.take(), "3");
    assert!(now(done).unwrap().is_ok());
}

#[test]
fn a_failed_wait_a_panic_and_a_cancel_end_a_work() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let reactor = simulation.reactor().clone();
    let cooperator = Cooperator::new(&reactor);
    let failing = reactor.clone();
    let failed = cooperator.cooperate(std::iter::repeat_with(move || {
        ropewalk_reactor::deferred::fail::<()>(&failing, "out of paper")
    }));
    let panicked = cooperator
        .cooperate(std::iter::repeat_with(|| -> () { std::panic::resume_unwind(Box::new("oops")) }));
    let gone = Gone(trace.clone(), "dropped");
    let cancelled = cooperator.coiterate(std::iter::repeat_with(move || {
        let _ = &gone;
    }));
    cancelled.cancel();
    assert_eq!(trace.take(), "dropped");
    simulation.advance(MS);
    assert_eq!(now(failed.when_done()).unwrap().unwrap_err().to_string(), "out of paper");
    assert!(now(panicked.when_done()).unwrap().unwrap_err().is::<Panicked>());
    assert!(now(cancelled).unwrap().unwrap_err().is::<Cancelled>());
}

#[test]
fn a_paused_work_takes_no_step() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let cooperator = Cooperator::new(simulation.reactor());
    let noted = trace.clone();
    let task = cooperator.cooperate((0..2).map(move |step| noted.note(step)));
    task.pause();
    task.pause();
    simulation.advance(MS);
    task.resume().unwrap();
    simulation.advance(MS);
    assert_eq!(trace.take(), "");
    task.resume().unwrap();
    assert_eq!(task.resume(), Err(NotPaused));
    simulation.advance(MS);
    assert_eq!(trace.take(), "0 1");
}

#[test]
fn works_left_at_the_end_of_the_loop_are_told() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let cooperator = Cooperator::new(simulation.reactor());
    let gone = Gone(trace.clone(), "dropped");
    let task = cooperator.cooperate(std::iter::repeat_with(move || {
        let _ = &gone;
    }));
    simulation.reactor().stop();
    simulation.stop();
    assert_eq!(trace.take(), "dropped");
    assert!(now(task.when_done()).unwrap().unwrap_err().is::<TaskStopped>());
}

#[test]
fn a_program_is_one_future() {
    let sum = react(|reactor| async move {
        reactor.sleep(MS).await;
        let thread = reactor.defer_to_thread(|| 40).await?;
        Ok(thread + 2)
    });
    assert_eq!(sum.unwrap(), 42);
    let chain = react(|reactor| reactor.defer_later(MS, || 7_u8).add_callback(|n| n + 1));
    assert_eq!(chain.unwrap(), 8);
    let failed = react(|_| async { Err::<(), _>(Failure::new("no")) });
    assert_eq!(failed.unwrap_err().to_string(), "no");
    let panicked: Outcome<()> = react(|_| async { std::panic::resume_unwind(Box::new("oops")) });
    assert!(panicked.unwrap_err().is::<Panicked>());
}

#[test]
fn a_stopped_program_drops_its_future() {
    let (trace, reactor) = (Trace::default(), Reactor::new().unwrap());
    let (gone, stopping) = (Gone(trace.clone(), "dropped"), reactor.clone());
    reactor.call_later(MS, move || stopping.stop());
    let late = reactor.clone();
    reactor.call_later(PATIENCE, move || late.crash());
    let stopped = reactor.run_until(async move {
        let _gone = gone;
        pending::<()>().await;
    });
    assert!(stopped.unwrap_err().is::<Cancelled>());
    assert_eq!(trace.take(), "dropped");
}
