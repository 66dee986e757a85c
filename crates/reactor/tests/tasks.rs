//! Tasks: awaited, aborted, panicking, waking themselves, and woken from other threads without a wake-up lost.

mod support;

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use ropewalk_reactor::failure::{Cancelled, Panicked};
use ropewalk_reactor::{Failure, Reactor, Simulation, Task};
use support::{Trace, run};

const MS: Duration = Duration::from_millis(1);

/// Gives the loop a turn of ready work.
async fn yield_once() {
    let mut first = true;
    poll_fn(|context| {
        if std::mem::take(&mut first) {
            context.waker().wake_by_ref();
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
}

/// Says when it is dropped.
struct Gone(Trace);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.note("gone");
    }
}

#[test]
fn a_task_is_polled_after_spawn_has_returned_and_its_value_awaited() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let inner = trace.clone();
    let task = simulation.reactor().spawn(async move {
        inner.note("begins");
        yield_once().await;
        7
    });
    trace.note("spawned");
    assert!(!task.is_finished());
    let inner = trace.clone();
    drop(simulation.reactor().spawn(async move { inner.note(task.await.unwrap()) }));
    simulation.advance(MS);
    assert_eq!(trace.take(), "spawned begins 7");
    assert_eq!(simulation.reactor().statistics().sources, 0);
}

#[test]
fn dropping_the_handle_detaches() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let inner = trace.clone();
    drop(simulation.reactor().spawn(async move {
        yield_once().await;
        inner.note("done");
    }));
    simulation.advance(MS);
    assert_eq!(trace.take(), "done");
}

#[test]
fn a_panic_is_a_failure_for_who_awaits_it_and_ends_nothing_else() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let (inner, held) = (trace.clone(), Gone(trace.clone()));
    let task: Task<u32> = simulation.reactor().spawn(async move {
        let _held = held;
        yield_once().await;
        panic!("as the test wants")
    });
    drop(simulation.reactor().spawn(async move {
        let failure = task.await.unwrap_err();
        inner.note(failure.check::<Panicked>().unwrap().message());
    }));
    simulation.advance(MS);
    assert_eq!(trace.take(), "gone as the test wants");
    assert_eq!(simulation.reactor().statistics().sources, 0);
}

#[test]
fn an_abort_drops_the_future_at_once_and_tells_who_awaits_it() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let held = Gone(trace.clone());
    let task = Rc::new(simulation.reactor().spawn(async move {
        let _held = held;
        pending::<()>().await;
    }));
    simulation.advance(MS);
    task.abort();
    assert_eq!(trace.take(), "gone");
    assert!(task.is_finished());
    task.abort();
    let (inner, task) = (trace.clone(), Rc::into_inner(task).unwrap());
    drop(simulation.reactor().spawn(async move { inner.note(task.await.unwrap_err().is::<Cancelled>()) }));
    simulation.advance(MS);
    assert_eq!(trace.take(), "true");
    assert_eq!(simulation.reactor().statistics().sources, 0);
}

#[test]
fn an_abort_before_the_first_poll_and_one_after_the_end() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let inner = trace.clone();
    let task = simulation.reactor().spawn(async move { inner.note("never") });
    task.abort();
    let done = simulation.reactor().spawn(async { 7 });
    simulation.advance(MS);
    done.abort();
    let inner = trace.clone();
    drop(simulation.reactor().spawn(async move { inner.note(format!("{:?}", done.await.ok())) }));
    simulation.advance(MS);
    assert_eq!(trace.take(), "Some(7)");
}

#[test]
fn a_task_that_aborts_itself_ends_after_the_poll_that_runs() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let own: Rc<RefCell<Option<Task<()>>>> = Rc::default();
    let (inner, held, slot) = (trace.clone(), Gone(trace.clone()), Rc::clone(&own));
    let task = simulation.reactor().spawn(async move {
        let _held = held;
        slot.borrow().as_ref().unwrap().abort();
        inner.note("still here");
        yield_once().await;
        inner.note("never");
    });
    *own.borrow_mut() = Some(task);
    simulation.advance(MS);
    assert_eq!(trace.take(), "still here gone");
    assert!(own.borrow().as_ref().unwrap().is_finished());
    assert_eq!(simulation.reactor().statistics().sources, 0);
}

#[test]
fn a_waker_that_outlived_its_task_wakes_nobody() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let waker: Rc<RefCell<Option<Waker>>> = Rc::default();
    let slot = Rc::clone(&waker);
    let task = simulation.reactor().spawn(poll_fn(move |context| {
        *slot.borrow_mut() = Some(context.waker().clone());
        Poll::<()>::Pending
    }));
    simulation.advance(MS);
    task.abort();
    // The next task gets the same place in the slab, under another generation.
    let inner = trace.clone();
    drop(simulation.reactor().spawn(poll_fn(move |_| {
        inner.note("polled");
        Poll::<()>::Pending
    })));
    waker.take().unwrap().wake();
    simulation.advance(MS);
    assert_eq!(trace.take(), "polled", "once, by its spawning");
}

#[test]
fn waking_many_times_before_the_poll_is_one_poll() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let waker: Rc<RefCell<Option<Waker>>> = Rc::default();
    let (slot, inner) = (Rc::clone(&waker), trace.clone());
    drop(simulation.reactor().spawn(poll_fn(move |context| {
        inner.note("polled");
        *slot.borrow_mut() = Some(context.waker().clone());
        Poll::<()>::Pending
    })));
    simulation.advance(MS);
    for _ in 0..3 {
        (0..5).for_each(|_| waker.borrow().as_ref().unwrap().wake_by_ref());
        simulation.advance(MS);
    }
    assert_eq!(trace.take(), "polled polled polled polled");
}

#[test]
fn a_task_that_wakes_itself_for_ever_leaves_timers_their_turn() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let task = simulation.reactor().spawn(async {
        loop {
            yield_once().await;
        }
    });
    let inner = trace.clone();
    simulation.reactor().call_later(Duration::ZERO, move || {
        inner.note("timer");
        task.abort();
    });
    simulation.advance(MS);
    assert_eq!(trace.take(), "timer");
}

#[test]
fn a_task_is_woken_by_other_threads_and_misses_nothing() {
    // Four threads count up and wake; the task leaves only when it has seen the last of it. A wake-up lost between its
    // poll and the loop's sleep would leave it waiting for ever.
    const EACH: u64 = 50_000;
    let reactor = Reactor::new().unwrap();
    let (count, waker) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(None::<Waker>)));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (count, waker) = (Arc::clone(&count), Arc::clone(&waker));
            thread::spawn(move || {
                for _ in 0..EACH {
                    count.fetch_add(1, Ordering::SeqCst);
                    if let Some(waker) = &*waker.lock().unwrap() {
                        waker.wake_by_ref();
                    }
                }
            })
        })
        .collect();
    let handle = reactor.clone();
    drop(reactor.spawn(async move {
        poll_fn(|context| {
            *waker.lock().unwrap() = Some(context.waker().clone());
            if count.load(Ordering::SeqCst) == 4 * EACH { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        handle.stop();
    }));
    run(&reactor);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn each_single_wake_from_another_thread_arrives() {
    // Ping-pong: the task asks a thread to wake it, and waits. The loop is asleep, or about to be, every time.
    const ROUNDS: u32 = 20_000;
    let reactor = Reactor::new().unwrap();
    let (ask, asked) = std::sync::mpsc::channel::<Waker>();
    let thread = thread::spawn(move || asked.into_iter().for_each(Waker::wake));
    let handle = reactor.clone();
    drop(reactor.spawn(async move {
        for _ in 0..ROUNDS {
            let mut asked = false;
            poll_fn(|context| {
                if std::mem::replace(&mut asked, true) {
                    return Poll::Ready(());
                }
                ask.send(context.waker().clone()).unwrap();
                Poll::Pending
            })
            .await;
        }
        handle.stop();
    }));
    run(&reactor);
    thread.join().unwrap();
}

#[test]
fn a_future_becomes_a_deferred_with_its_value_its_failure_or_its_panic() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let reactor = simulation.reactor();
    let value = reactor.ensure_deferred(async { Ok(7) });
    let failure = reactor.ensure_deferred(async { Err::<u32, _>(Failure::new("torn")) });
    let panic = reactor.ensure_deferred(async { panic!("as the test wants") });
    for deferred in [value, failure, panic] {
        let (good, bad) = (trace.clone(), trace.clone());
        drop(deferred.add_callbacks(
            move |value: u32| good.note(value),
            move |failure| bad.note(format!("{failure} ({})", failure.is::<Panicked>())),
        ));
    }
    simulation.advance(MS);
    let told = trace.take();
    assert!(told.starts_with("7 torn (false)") && told.contains("as the test wants (true)"), "{told}");
}

#[test]
fn cancelling_such_a_deferred_drops_the_future() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let held = Gone(trace.clone());
    let deferred = simulation.reactor().ensure_deferred(async move {
        let _held = held;
        pending::<()>().await;
        Ok(())
    });
    simulation.advance(MS);
    deferred.cancel();
    assert_eq!(trace.take(), "gone");
    assert_eq!(simulation.reactor().statistics().sources, 0);
    // The future held the end that fires it, and took it along: cancelled it is all the same.
    let told = trace.clone();
    let last = deferred.add_errback(move |failure| told.note(failure));
    simulation.advance(MS);
    assert_eq!(trace.take(), "cancelled");
    drop(last);
}
