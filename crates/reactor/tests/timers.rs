//! Timers: `call_later` and its handle, order within a millisecond, and `LoopingCall`, which counts what it missed.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::{DelayedCall, LoopingCall, NotActive, Reactor, Simulation, Time};
use support::{Trace, run};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_timer_comes_at_its_time_and_never_before() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    for micros in [0, 1, 999, 1000, 1001, 1_500_000, 90_000_000_000] {
        let (reactor, inner) = (simulation.reactor().clone(), trace.clone());
        let wanted = Time::START + Duration::from_micros(micros);
        simulation.reactor().call_at(wanted, move || {
            assert!(reactor.now() >= wanted);
            inner.note(reactor.now().since(wanted).as_micros());
        });
    }
    simulation.advance(100_000 * SECOND);
    assert_eq!(trace.take(), "0 999 1 0 999 0 0", "each is at most to its millisecond's end too late");
}

#[test]
fn timers_of_one_millisecond_keep_their_order() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let reactor = simulation.reactor();
    // Put in from near and from far, they sit in different slots of the wheel until they are due.
    for serial in 0..4 {
        reactor.call_at(Time::START + 10_000 * MS, trace.noting(serial));
        simulation.advance(3_000 * MS);
    }
    assert_eq!(trace.take(), "0 1 2 3");
    for serial in 0..3 {
        reactor.call_later(SECOND, trace.noting(serial));
    }
    reactor.call_later(SECOND - MS, trace.noting("earlier"));
    simulation.advance(SECOND);
    assert_eq!(trace.take(), "earlier 0 1 2");
}

#[test]
fn the_handle_tells_cancels_and_moves() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let reactor = simulation.reactor();
    let call = reactor.call_later(SECOND, trace.noting("rang"));
    assert!(call.active());
    assert_eq!(call.time(), Some(Time::START + SECOND));
    call.delay(SECOND).unwrap();
    assert_eq!(call.time(), Some(Time::START + 2 * SECOND));
    simulation.advance(1999 * MS);
    assert_eq!(trace.take(), "");
    call.reset(SECOND).unwrap();
    simulation.advance(999 * MS);
    assert_eq!(trace.take(), "");
    call.reset(Duration::ZERO).unwrap();
    simulation.advance(MS);
    assert_eq!(trace.take(), "rang");
    assert!(!call.active());
    assert_eq!(call.time(), None);
    assert_eq!(call.cancel(), Err(NotActive));
    assert_eq!(call.delay(SECOND), Err(NotActive));
    assert_eq!(call.reset(SECOND), Err(NotActive));
    let call = reactor.call_later(SECOND, trace.noting("never"));
    assert_eq!(call.cancel(), Ok(()));
    assert!(!call.active());
    assert_eq!(call.cancel(), Err(NotActive));
    simulation.advance(2 * SECOND);
    assert_eq!(trace.take(), "");
}

#[test]
fn a_timer_that_is_due_can_still_be_cancelled_or_moved_by_one_of_the_same_millisecond() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let reactor = simulation.reactor();
    let others = Rc::new(RefCell::new(Vec::new()));
    let held = Rc::clone(&others);
    reactor.call_later(SECOND, move || {
        let [cancelled, delayed]: [DelayedCall; 2] = held.take().try_into().ok().unwrap();
        cancelled.cancel().unwrap();
        delayed.delay(5 * MS).unwrap();
    });
    others.borrow_mut().push(reactor.call_later(SECOND, trace.noting("cancelled")));
    others.borrow_mut().push(reactor.call_later(SECOND, trace.noting("delayed")));
    reactor.call_later(SECOND + 2 * MS, trace.noting("between"));
    simulation.advance(2 * SECOND);
    assert_eq!(trace.take(), "between delayed");
}

#[test]
fn cancelling_drops_the_function_and_dropping_the_handle_changes_nothing() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let held = Rc::new(());
    let inner = Rc::clone(&held);
    let call = simulation.reactor().call_later(SECOND, move || drop(inner));
    call.cancel().unwrap();
    assert_eq!(Rc::strong_count(&held), 1);
    drop(simulation.reactor().call_later(SECOND, trace.noting("rang")));
    simulation.advance(SECOND);
    assert_eq!(trace.take(), "rang");
}

#[test]
fn a_timer_within_its_own_call_is_not_active_and_cannot_cancel_itself() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let own = Rc::new(RefCell::new(None::<DelayedCall>));
    let (inner, told) = (Rc::clone(&own), trace.clone());
    let call = simulation.reactor().call_later(SECOND, move || {
        let own = inner.take().unwrap();
        told.note(format!("{} {:?}", own.active(), own.cancel()));
    });
    *own.borrow_mut() = Some(call);
    simulation.advance(SECOND);
    assert_eq!(trace.take(), "false Err(NotActive)");
}

/// Puts itself in again, due at once, so many times; says in how many turns they ran.
fn chain(reactor: &Reactor, left: u32, turns: &Rc<RefCell<Vec<u64>>>) {
    turns.borrow_mut().push(reactor.statistics().turns);
    if left > 0 {
        let (again, turns) = (reactor.clone(), Rc::clone(turns));
        reactor.call_later(Duration::ZERO, move || chain(&again, left - 1, &turns));
    }
}

#[test]
fn timers_that_put_in_others_due_at_once_let_the_turn_end() {
    // A thousand timers wait far away: they are no measure of how much a turn may do.
    let simulation = Simulation::new(1);
    let (reactor, turns) = (simulation.reactor().clone(), Rc::default());
    for _ in 0..1000 {
        reactor.call_later(3600 * SECOND, || {});
    }
    chain(&reactor, 100, &turns);
    simulation.advance(SECOND);
    let turns = turns.take();
    assert_eq!(turns.len(), 101);
    assert!(turns[1..].windows(2).all(|pair| pair[0] < pair[1]), "one per turn: {turns:?}");
}

#[test]
fn a_delay_without_end_is_no_panic() {
    let simulation = Simulation::new(1);
    let call = simulation.reactor().call_later(Duration::MAX, || panic!("never"));
    call.delay(Duration::MAX).unwrap();
    simulation.advance(1_000_000 * SECOND);
    assert!(call.active());
}

#[test]
fn a_timer_made_long_after_its_reactor_does_not_come_early() {
    // 1. A reactor is made. 2. The program reads its files for a while. 3. It asks for a timer, and runs.
    // 4. The timer was counted from 1, and came so much too early.
    let reactor = Reactor::new().unwrap();
    let made = reactor.now();
    while reactor.now().since(made) < 3 * MS {
        std::thread::yield_now();
    }
    let (asked, stopper) = (reactor.now(), reactor.clone());
    reactor.call_later(2 * MS, move || {
        assert!(stopper.now().since(asked) >= 2 * MS);
        stopper.stop();
    });
    run(&reactor);
    assert_eq!(reactor.statistics().timers_fired, 1);
}

/// A looping call that notes its counts with the time.
fn looping(simulation: &Simulation, trace: &Trace) -> LoopingCall {
    let (reactor, trace) = (simulation.reactor().clone(), trace.clone());
    LoopingCall::new(simulation.reactor(), move |count| {
        trace.note(format!("{}:{count}", reactor.now().as_millis()));
    })
}

#[test]
fn a_looping_call_ticks_at_multiples_of_its_interval() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let call = looping(&simulation, &trace);
    assert!(!call.running());
    call.start(SECOND, true);
    assert!(call.running());
    simulation.advance(3500 * MS);
    assert_eq!(trace.take(), "0:1 1000:1 2000:1 3000:1");
    call.reset();
    simulation.advance(2 * SECOND);
    assert_eq!(trace.take(), "4500:1 5500:1", "a reset begins a whole interval");
    call.start(SECOND, false);
    simulation.advance(1500 * MS);
    assert_eq!(trace.take(), "6500:1");
    call.stop();
    assert!(!call.running());
    simulation.advance(5 * SECOND);
    assert_eq!(trace.take(), "");
}

#[test]
fn a_looping_call_counts_the_ticks_it_missed_and_stays_in_step() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    looping(&simulation, &trace).start(100 * MS, true);
    simulation.advance(250 * MS);
    simulation.network().hold(370 * MS);
    simulation.advance(200 * MS);
    assert_eq!(trace.take(), "0:1 100:1 200:1 620:4 700:1 800:1", "the ticks 300 to 600 in one");
    let late = looping(&simulation, &trace);
    late.start(100 * MS, true);
    simulation.network().hold(350 * MS);
    simulation.advance(50 * MS);
    let all = trace.take();
    let late: u64 = all
        .split(' ')
        .filter(|line| line.starts_with("1170:"))
        .map(|line| line[5..].parse::<u64>().unwrap())
        .sum();
    assert_eq!(late, 3 + 4, "the first, at once, counts the start itself: {all}");
}

#[test]
fn a_looping_call_of_a_millisecond_keeps_its_step_for_years() {
    // Its ticks were multiplied with 32 bits: after 49 days it was due for ever, and the loop never slept again.
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let call = looping(&simulation, &trace);
    call.start(MS, false);
    simulation.network().hold(Duration::from_secs(50 * 24 * 3600));
    simulation.advance(3 * MS);
    assert_eq!(trace.take(), "4320000000:4320000000 4320000001:1 4320000002:1 4320000003:1");
    call.start(Duration::MAX, true);
    simulation.advance(3 * MS);
    assert_eq!(trace.take(), "4320000003:1");
}

/// A looping call whose function gets the call itself.
fn own(simulation: &Simulation, mut tick: impl FnMut(&LoopingCall) + 'static) -> LoopingCall {
    let own = Rc::new(RefCell::new(None::<LoopingCall>));
    let inner = Rc::clone(&own);
    let call = LoopingCall::new(simulation.reactor(), move |_| {
        let own = inner.borrow().clone().expect("it was put there");
        tick(&own);
    });
    *own.borrow_mut() = Some(call.clone());
    call
}

#[test]
fn a_looping_call_can_be_stopped_and_started_anew_from_within() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let (reactor, inner) = (simulation.reactor().clone(), trace.clone());
    let mut ticks = 0;
    let call = own(&simulation, move |own| {
        ticks += 1;
        inner.note(reactor.now().as_millis());
        match ticks {
            2 => own.start(300 * MS, false),
            4 => own.start(50 * MS, true),
            6 => own.stop(),
            _ => {}
        }
    });
    call.start(100 * MS, false);
    simulation.advance(10 * SECOND);
    assert_eq!(trace.take(), "100 200 500 800 800 850", "each is scheduled once");
    assert!(!call.running());
}

#[test]
fn a_panic_in_a_looping_call_does_not_end_its_ticks() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let inner = trace.clone();
    own(&simulation, move |_| {
        inner.note("tick");
        panic!("as the test wants");
    })
    .start(SECOND, true);
    simulation.advance(2 * SECOND);
    assert_eq!(trace.take(), "tick tick tick");
}

#[test]
fn a_looping_call_that_holds_itself_and_the_reactor_is_freed() {
    let reactor = Reactor::new().unwrap();
    let weak = reactor.downgrade();
    let (own, held, calls) = (Rc::new(RefCell::new(None)), reactor.clone(), Rc::new(Cell::new(0)));
    let (inner, counted) = (Rc::clone(&own), Rc::clone(&calls));
    let looping = LoopingCall::new(&reactor, move |_| {
        counted.set(counted.get() + 1);
        let own: Option<LoopingCall> = inner.borrow().clone();
        assert!(own.is_some_and(|own| own.running()));
        held.stop();
    });
    *own.borrow_mut() = Some(looping.clone());
    drop(own);
    looping.start(Duration::from_millis(1), true);
    drop(looping);
    run(&reactor);
    assert!(calls.get() > 0);
    drop(reactor);
    assert!(weak.upgrade().is_none());
}
