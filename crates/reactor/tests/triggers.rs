//! Startup and shutdown: three phases each, awaited in order; stopping twice, before running, while starting; crashing.

mod support;

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use ropewalk_reactor::{Phase, Reactor, Simulation, SystemEvent};
use support::{Trace, run};

const PHASES: [Phase; 3] = [Phase::After, Phase::Before, Phase::During];
const SECOND: Duration = Duration::from_secs(1);

/// Waits for virtual time to pass.
async fn pause(reactor: Reactor, how_long: Duration) {
    let slot: Rc<RefCell<(bool, Option<Waker>)>> = Rc::default();
    let rings = Rc::clone(&slot);
    reactor.call_later(how_long, move || {
        rings.borrow_mut().0 = true;
        let waker = rings.borrow_mut().1.take();
        waker.into_iter().for_each(Waker::wake);
    });
    poll_fn(|context| {
        let mut slot = slot.borrow_mut();
        slot.1 = Some(context.waker().clone());
        if slot.0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Adds a trigger that takes so long, and notes its begin and its end.
fn slow(
    reactor: &Reactor,
    trace: &Trace,
    phase: Phase,
    event: SystemEvent,
    name: &'static str,
    takes: Duration,
) {
    let (inner, handle) = (trace.clone(), reactor.clone());
    reactor.add_system_event_trigger(phase, event, move || async move {
        inner.note(format!("{phase:?}-{name}"));
        pause(handle.clone(), takes).await;
        inner.note(format!("{phase:?}-{name}@{}", handle.now().as_millis()));
    });
}

#[test]
fn each_phase_waits_for_all_of_the_one_before() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let reactor = simulation.reactor();
    for event in [SystemEvent::Startup, SystemEvent::Shutdown] {
        for phase in PHASES {
            slow(reactor, &trace, phase, event, "a", 2 * SECOND);
            slow(reactor, &trace, phase, event, "b", SECOND);
        }
    }
    simulation.advance(10 * SECOND);
    let expected = "Before-a Before-b Before-b@1000 Before-a@2000 During-a During-b During-b@3000 During-a@4000 \
                    After-a After-b After-b@5000 After-a@6000";
    assert_eq!(trace.take(), expected);
    reactor.stop();
    assert!(!reactor.is_running());
    simulation.advance(9 * SECOND / 2);
    assert_eq!(
        trace.take(),
        "Before-a Before-b Before-b@11000 Before-a@12000 During-a During-b During-b@13000 During-a@14000 After-a After-b"
    );
    reactor.stop();
    simulation.stop();
    assert_eq!(trace.take(), "After-b@15000 After-a@16000", "the second stop changed nothing");
}

#[test]
fn the_loop_works_while_shutdown_waits() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let reactor = simulation.reactor();
    slow(reactor, &trace, Phase::Before, SystemEvent::Shutdown, "drain", 5 * SECOND);
    reactor.call_later(2 * SECOND, trace.noting("timer"));
    simulation.advance(SECOND);
    let when = trace.clone();
    reactor.stop();
    reactor.call_when_running(move || when.note("still running"));
    simulation.stop();
    assert_eq!(trace.take(), "still running Before-drain timer Before-drain@6000");
}

#[test]
fn a_trigger_can_add_another_to_its_own_phase() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let (reactor, inner) = (simulation.reactor().clone(), trace.clone());
    simulation.reactor().add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || async move {
        slow(&reactor, &inner, Phase::Before, SystemEvent::Shutdown, "late", SECOND);
        slow(&reactor, &inner, Phase::After, SystemEvent::Shutdown, "last", SECOND);
    });
    simulation.stop();
    assert_eq!(trace.take(), "Before-late Before-late@1000 After-last After-last@2000");
}

#[test]
fn a_trigger_that_was_taken_out_does_not_run() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let reactor = simulation.reactor();
    let inner = trace.clone();
    let id = reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || async move {
        inner.note("never");
    });
    slow(reactor, &trace, Phase::Before, SystemEvent::Shutdown, "kept", SECOND);
    assert!(reactor.remove_system_event_trigger(id));
    assert!(!reactor.remove_system_event_trigger(id));
    simulation.stop();
    assert_eq!(trace.take(), "Before-kept Before-kept@1000");
}

#[test]
fn startup_begins_before_a_stop_that_was_put_in_while_the_loop_did_not_run() {
    let (reactor, trace) = (Reactor::new().unwrap(), Trace::default());
    let (inner, stopper) = (trace.clone(), reactor.clone());
    reactor.call_soon(move || {
        inner.note("soon");
        stopper.stop();
    });
    let inner = trace.clone();
    reactor.add_system_event_trigger(Phase::Before, SystemEvent::Startup, move || async move {
        inner.note("before")
    });
    slow(&reactor, &trace, Phase::Before, SystemEvent::Shutdown, "stop", Duration::ZERO);
    run(&reactor);
    assert!(
        trace.take().starts_with("soon before Before-stop"),
        "the trigger had begun when the loop was stopped"
    );
}

#[test]
fn a_stop_while_starting_begins_no_further_phase_of_startup() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let reactor = simulation.reactor();
    slow(reactor, &trace, Phase::Before, SystemEvent::Startup, "up", 2 * SECOND);
    slow(reactor, &trace, Phase::After, SystemEvent::Startup, "never", SECOND);
    slow(reactor, &trace, Phase::Before, SystemEvent::Shutdown, "down", 5 * SECOND);
    simulation.advance(SECOND);
    simulation.stop();
    assert_eq!(trace.take(), "Before-up Before-down Before-up@2000 Before-down@6000");
}

#[test]
fn a_stop_before_it_runs_only_shuts_down() {
    let (reactor, trace) = (Reactor::new().unwrap(), Trace::default());
    reactor.call_when_running(trace.noting("never"));
    slow(&reactor, &trace, Phase::During, SystemEvent::Startup, "never", Duration::ZERO);
    let inner = trace.clone();
    reactor.add_system_event_trigger(Phase::During, SystemEvent::Shutdown, move || async move {
        inner.note("down")
    });
    reactor.stop();
    reactor.stop();
    run(&reactor);
    assert_eq!(trace.take(), "down");
    assert!(reactor.run().is_err(), "a reactor runs once");
}

#[test]
fn a_crash_leaves_at_once_without_triggers() {
    let (reactor, trace) = (Reactor::new().unwrap(), Trace::default());
    slow(&reactor, &trace, Phase::Before, SystemEvent::Shutdown, "never", Duration::ZERO);
    let crash = reactor.clone();
    reactor.call_soon(move || crash.crash());
    run(&reactor);
    assert_eq!(trace.take(), "");
}

#[test]
fn a_crash_ends_a_shutdown_that_waits_for_ever() {
    let (reactor, trace) = (Reactor::new().unwrap(), Trace::default());
    let (inner, crash) = (trace.clone(), reactor.clone());
    reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || async move {
        inner.note("waits");
        crash.call_later(Duration::ZERO, {
            let crash = crash.clone();
            move || crash.crash()
        });
        pending::<()>().await;
    });
    reactor.stop();
    run(&reactor);
    assert_eq!(trace.take(), "waits");
}

#[test]
fn a_loop_cannot_be_run_from_within_itself() {
    let (reactor, trace) = (Reactor::new().unwrap(), Trace::default());
    let (inner, handle) = (trace.clone(), reactor.clone());
    reactor.call_soon(move || {
        inner.note(handle.run().is_err());
        inner.note(handle.is_running());
        handle.stop();
    });
    run(&reactor);
    assert_eq!(trace.take(), "true true");
}
