//! Signals: raised by hand in a simulation, and by the system at a process of its own.

mod support;

use std::time::Duration;

use ropewalk_reactor::{Reactor, Simulation};
use rustix::process::{Signal, getpid, kill_process};
use support::{PATIENCE, Trace, run};

#[test]
fn handlers_of_a_signal_run_on_the_loop_in_order() {
    let (simulation, trace) = (Simulation::new(1), Trace::default());
    for which in ["first", "second"] {
        let inner = trace.clone();
        simulation.reactor().on_signal(15, move || inner.note(which)).unwrap();
    }
    let inner = trace.clone();
    simulation.reactor().on_signal(1, move || inner.note("another")).unwrap();
    simulation.network().raise(15);
    simulation.network().raise(1);
    simulation.network().raise(10);
    assert_eq!(trace.take(), "", "not before the loop turns");
    simulation.advance(Duration::ZERO);
    assert_eq!(trace.take(), "first second another");
    let reactor = simulation.reactor().clone();
    let inner = trace.clone();
    simulation.reactor().on_signal(2, move || inner.note(reactor.now().as_millis())).unwrap();
    let network = simulation.network().clone();
    simulation.reactor().call_later(Duration::from_millis(5), move || network.raise(2));
    simulation.advance(Duration::from_secs(9));
    assert_eq!(trace.take(), "5");
}

#[test]
fn a_real_signal_wakes_the_loop_and_comes_to_every_handler() {
    let (reactor, trace) = (Reactor::new().unwrap(), Trace::default());
    for which in ["first", "second"] {
        let inner = trace.clone();
        reactor.on_signal(Signal::USR1.as_raw(), move || inner.note(which)).unwrap();
    }
    let (inner, stopper) = (trace.clone(), reactor.clone());
    reactor
        .on_signal(Signal::USR2.as_raw(), move || {
            inner.note("stop");
            stopper.stop();
        })
        .unwrap();
    let inner = trace.clone();
    reactor
        .on_signal(Signal::USR1.as_raw(), move || {
            inner.note("again");
            kill_process(getpid(), Signal::USR2).unwrap();
        })
        .unwrap();
    let asleep = reactor.remote();
    let thread = std::thread::spawn(move || {
        asleep.blocking_call_from_thread(|_| ()).unwrap();
        kill_process(getpid(), Signal::USR1).unwrap();
    });
    reactor.call_later(PATIENCE, || {});
    run(&reactor);
    thread.join().unwrap();
    assert_eq!(trace.take(), "first second again stop");
}

#[test]
fn a_signal_that_cannot_be_handled_is_an_error() {
    let reactor = Reactor::new().unwrap();
    for signal in [9, 19, 11, 8, 4, 0, -1, 65, 1000] {
        assert!(reactor.on_signal(signal, || {}).is_err(), "{signal}");
    }
}
