//! Ready work: `call_soon`, `call_when_running` and flushing. Its order, its bounds, and what a panic does to it: nothing.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::{Key, Name, Phase, Reactor, Readiness, Simulation, Source, SystemEvent};
use support::{Trace, run};

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_call_comes_soon_but_never_before_its_maker_has_returned() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let (reactor, inner) = (simulation.reactor().clone(), trace.clone());
    reactor.clone().call_soon(move || {
        reactor.call_soon(inner.noting("inner"));
        inner.note("outer");
    });
    trace.note("made");
    simulation.advance(MS);
    assert_eq!(trace.take(), "made outer inner");
    assert_eq!(simulation.reactor().now().as_millis(), 1);
}

#[test]
fn calls_keep_their_order_also_beyond_what_one_turn_runs() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    for serial in 0..50_000 {
        simulation.reactor().call_soon(trace.noting(serial));
    }
    simulation.advance(MS);
    let expected: Vec<_> = (0..50_000).map(|serial| serial.to_string()).collect();
    assert!(trace.take() == expected.join(" "));
}

#[test]
fn many_calls_do_not_keep_a_signal_waiting_for_all_of_them() {
    let (simulation, ran) = (Simulation::new(1), Rc::new(Cell::new(0u32)));
    let seen = Rc::new(Cell::new(0));
    let (before, told) = (Rc::clone(&ran), Rc::clone(&seen));
    simulation.reactor().on_signal(15, move || told.set(before.get())).unwrap();
    for _ in 0..200_000 {
        let ran = Rc::clone(&ran);
        simulation.reactor().call_soon(move || ran.set(ran.get() + 1));
    }
    let network = simulation.network().clone();
    simulation.reactor().call_soon(move || network.raise(15));
    for _ in 0..200_000 {
        let ran = Rc::clone(&ran);
        simulation.reactor().call_soon(move || ran.set(ran.get() + 1));
    }
    simulation.advance(MS);
    assert_eq!(ran.get(), 400_000);
    assert!((200_000..230_000).contains(&seen.get()), "the signal came after {} calls", seen.get());
}

/// Queues itself for ever, until the reactor is stopped.
fn turn_for_ever(reactor: &Reactor, turns: &Rc<Cell<u64>>) {
    turns.set(turns.get() + 1);
    let (again, turns) = (reactor.clone(), Rc::clone(turns));
    if reactor.is_running() {
        reactor.call_soon(move || turn_for_ever(&again, &turns));
    }
}

#[test]
fn a_call_that_queues_itself_for_ever_starves_neither_timers_nor_descriptors() {
    let (reactor, trace) = (Reactor::new().unwrap(), Trace::default());
    let turns = Rc::new(Cell::new(0));
    reactor.call_when_running({
        let (reactor, turns) = (reactor.clone(), Rc::clone(&turns));
        move || turn_for_ever(&reactor, &turns)
    });
    let (read, write) = rustix::pipe::pipe().unwrap();
    let (stopper, inner) = (reactor.clone(), trace.clone());
    reactor
        .add_handler(&read, Readiness::READABLE, move |_| {
            inner.note("descriptor");
            stopper.stop();
        })
        .unwrap();
    let inner = trace.clone();
    reactor.call_later(MS, move || {
        inner.note("timer");
        rustix::io::write(&write, b"x").unwrap();
    });
    run(&reactor);
    assert!(trace.take().starts_with("timer descriptor"));
    assert!(turns.get() > 10);
}

#[test]
fn a_panic_in_a_call_a_timer_a_task_a_signal_or_a_trigger_does_not_end_the_loop() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let reactor = simulation.reactor();
    reactor.call_soon(|| panic!("call"));
    reactor.call_later(MS, || panic!("timer"));
    drop(reactor.spawn(async { panic!("task") }));
    reactor.on_signal(1, || panic!("signal")).unwrap();
    simulation.network().raise(1);
    for phase in [Phase::Before, Phase::During, Phase::After] {
        reactor.add_system_event_trigger(phase, SystemEvent::Shutdown, || async { panic!("trigger") });
        reactor.add_system_event_trigger(phase, SystemEvent::Shutdown, || -> std::future::Ready<()> {
            panic!("before the trigger's future")
        });
        let inner = trace.clone();
        reactor.add_system_event_trigger(phase, SystemEvent::Shutdown, move || async move {
            inner.note(format!("{phase:?}"));
        });
    }
    reactor.call_later(2 * MS, trace.noting("goes on"));
    simulation.advance(3 * MS);
    simulation.stop();
    assert_eq!(trace.take(), "goes on Before During After");
}

/// Notes the virtual time of each flush.
struct Noting {
    reactor: Reactor,
    trace: Trace,
}

impl Source for Noting {
    fn name(&self) -> Name {
        Name::new("noting")
    }
    fn flush(self: Rc<Self>) {
        self.trace.note(format!("flushed at {}", self.reactor.now().as_millis()));
    }
}

#[test]
fn what_was_queued_between_turns_is_flushed_before_the_loop_sleeps() {
    // 1. A connection queues bytes outside of any turn: nothing else is to do. 2. The loop went to sleep over them.
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    let reactor = simulation.reactor().clone();
    simulation.advance(MS);
    let source = Rc::new(Noting { reactor: reactor.clone(), trace: trace.clone() });
    let key = reactor.add_source(|_| source);
    reactor.flush_later(key);
    simulation.advance(1000 * MS);
    assert_eq!(trace.take(), "flushed at 1");
}

#[test]
fn what_waits_until_the_loop_runs_comes_in_order_and_at_once_when_it_does() {
    let (reactor, trace) = (Reactor::new().unwrap(), Trace::default());
    assert!(!reactor.is_running());
    for which in ["first", "second"] {
        reactor.call_when_running(trace.noting(which));
    }
    let (inner, handle) = (trace.clone(), reactor.clone());
    reactor.call_when_running(move || {
        assert!(handle.is_running());
        handle.call_when_running(inner.noting("third"));
        inner.note("last");
        let stopper = handle.clone();
        handle.call_when_running(move || stopper.stop());
    });
    assert_eq!(trace.take(), "");
    run(&reactor);
    assert_eq!(trace.take(), "first second last third");
}

/// Asks for the next turn as long as it is to, and notes the turn and what it is told.
struct Busy {
    reactor: Reactor,
    key: Key,
    left: Cell<u32>,
    told: RefCell<Vec<(u64, Readiness)>>,
}

impl Source for Busy {
    fn name(&self) -> Name {
        Name::new("busy")
    }

    fn ready(self: Rc<Self>, readiness: Readiness) {
        self.told.borrow_mut().push((self.reactor.statistics().turns, readiness));
        if self.left.replace(self.left.get().saturating_sub(1)) > 0 {
            self.reactor.ready_again(self.key, Readiness::READABLE);
        }
    }
}

/// 1. A source has more to do than fits a turn, and asks for the next one. 2. Before that, it is told of something else, and asks once more.
/// 3. If both were kept, each would ask on, and every event would add one: a turn would get longer and longer.
#[test]
fn who_asks_for_the_next_turn_twice_is_called_once() {
    let simulation = Simulation::new(1);
    let reactor = simulation.reactor();
    let mut busy = None;
    let key = reactor.add_source(|key| {
        let source = Busy { reactor: reactor.clone(), key, left: Cell::new(10), told: RefCell::default() };
        let source = Rc::new(source);
        busy = Some(Rc::clone(&source));
        source
    });
    let busy = busy.unwrap();
    reactor.ready_again(key, Readiness::READABLE);
    reactor.ready_again(key, Readiness::WRITABLE);
    reactor.ready_again(key, Readiness::NONE);
    simulation.advance(Duration::from_secs(1));
    let told = busy.told.take();
    let (first, rest) = told.split_at(2);
    let both = Readiness::READABLE.and(Readiness::WRITABLE);
    assert_eq!(first.iter().map(|(_, readiness)| *readiness).collect::<Vec<_>>(), [both, Readiness::NONE]);
    assert_eq!(rest.len(), 9, "both asked for the next turn, and that was one call: {told:?}");
    assert!(rest.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0), "one call in a turn: {told:?}");
}
