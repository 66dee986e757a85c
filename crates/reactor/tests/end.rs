//! The end: a loop that has ended holds nothing, whatever was still waiting in it, and whatever its destructors do.
#![allow(clippy::unwrap_used, reason = "what fails in the helpers of a test fails the test")]

mod support;

use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::{
    DelayedCall, LoopingCall, Name, Phase, Reactor, Readiness, Simulation, Source, SystemEvent,
};
use support::{Trace, run};

const HOUR: Duration = Duration::from_secs(3600);

/// Puts one of everything that waits into a reactor, each holding a handle of it.
fn fill(reactor: &Reactor) {
    let hold = || {
        let handle = reactor.clone();
        move || drop(handle.clone())
    };
    reactor.call_later(HOUR, hold());
    let (held, slot) = (reactor.clone(), Rc::new(RefCell::new(None::<DelayedCall>)));
    let own = Rc::clone(&slot);
    *slot.borrow_mut() = Some(reactor.call_later(HOUR, move || drop((held, own))));
    let held = hold();
    drop(reactor.spawn(async move {
        pending::<()>().await;
        held();
    }));
    let (inner, outer) = (reactor.clone(), reactor.clone());
    drop(reactor.spawn(async move { drop(inner.spawn(async move { pending::<Reactor>().await }).await) }));
    reactor.on_signal(12, hold()).unwrap();
    reactor.add_system_event_trigger(Phase::Before, SystemEvent::Startup, || async {});
    drop(reactor.defer_to_thread(|| 1).add_callback(move |_| drop(outer.clone())));
    let held = hold();
    LoopingCall::new(reactor, move |_| held()).start(HOUR, true);
}

#[test]
fn a_loop_that_has_ended_is_freed_with_its_last_handle() {
    let reactor = Reactor::new().unwrap();
    let weak = reactor.downgrade();
    fill(&reactor);
    let (read, _write) = rustix::pipe::pipe().unwrap();
    let held = reactor.clone();
    reactor.add_handler(&read, Readiness::READABLE, move |_| drop(held.clone())).unwrap();
    let stopper = reactor.clone();
    reactor.call_soon(move || {
        fill(&stopper);
        stopper.stop();
        let held = stopper.clone();
        stopper.call_soon(move || drop(held.clone()));
    });
    run(&reactor);
    assert!(weak.upgrade().is_some(), "the test holds it");
    drop(reactor);
    assert!(weak.upgrade().is_none(), "somebody still holds the reactor");
}

#[test]
fn a_loop_that_crashed_is_freed_too() {
    let reactor = Reactor::new().unwrap();
    let weak = reactor.downgrade();
    fill(&reactor);
    let crash = reactor.clone();
    reactor.call_soon(move || crash.crash());
    run(&reactor);
    drop(reactor);
    assert!(weak.upgrade().is_none());
}

#[test]
fn a_simulation_is_freed_when_it_is_dropped() {
    let simulation = Simulation::new(1);
    let weak = simulation.reactor().downgrade();
    fill(simulation.reactor());
    simulation.advance(Duration::from_millis(1));
    fill(simulation.reactor());
    drop(simulation);
    assert!(weak.upgrade().is_none());
}

/// Puts something new into the reactor when it is dropped, so many times over.
struct Stubborn(Reactor, u32);

impl Drop for Stubborn {
    fn drop(&mut self) {
        if self.1 > 0 {
            let (timed, soon, task) = (
                Stubborn(self.0.clone(), self.1 - 1),
                Stubborn(self.0.clone(), 0),
                Stubborn(self.0.clone(), 0),
            );
            self.0.call_later(HOUR, move || drop(timed));
            self.0.call_soon(move || drop(soon));
            drop(self.0.spawn(async move { drop(task) }));
        }
    }
}

#[test]
fn what_destructors_put_in_at_the_end_is_let_go_of_too() {
    let reactor = Reactor::new().unwrap();
    let weak = reactor.downgrade();
    let stubborn = Stubborn(reactor.clone(), 5);
    reactor.call_later(HOUR, move || drop(stubborn));
    reactor.stop();
    run(&reactor);
    drop(reactor);
    assert!(weak.upgrade().is_none());
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("as the test wants");
    }
}

struct Abandoned(Trace);

impl Source for Abandoned {
    fn name(&self) -> Name {
        Name::new("abandoned")
    }
    fn abandoned(self: Rc<Self>) {
        self.0.note("abandoned");
        panic!("as the test wants");
    }
}

#[test]
fn a_destructor_that_panics_at_the_end_keeps_the_rest_from_nothing() {
    let (reactor, trace) = (Reactor::new().unwrap(), Trace::default());
    let weak = reactor.downgrade();
    let (handle, inner) = (reactor.clone(), trace.clone());
    reactor.call_soon(move || {
        let (first, second) = (Bomb, Bomb);
        handle.call_later(HOUR, move || drop(first));
        drop(handle.spawn(async move {
            let _second = second;
            pending::<()>().await;
        }));
        for _ in 0..2 {
            let source = Rc::new(Abandoned(inner.clone()));
            handle.add_source(|_| source);
        }
        handle.crash();
    });
    run(&reactor);
    assert_eq!(trace.take(), "abandoned abandoned");
    drop(reactor);
    assert!(weak.upgrade().is_none());
}
