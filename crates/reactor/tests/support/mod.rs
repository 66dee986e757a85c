//! What the tests of the reactor share: a trace that callbacks write into, a loop that must end, a gate for threads.
#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use ropewalk_reactor::Reactor;

/// So long a test waits for another thread before it fails. Nothing waits for as long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Lines in the order in which they were written. Clones write into the same trace.
#[derive(Clone, Default)]
pub(crate) struct Trace(Rc<RefCell<Vec<String>>>);

impl Trace {
    /// Writes a line.
    pub(crate) fn note(&self, line: impl Display) {
        self.0.borrow_mut().push(line.to_string());
    }

    /// A callback that writes a line.
    pub(crate) fn noting(&self, line: impl Display + 'static) -> impl FnOnce() + 'static {
        let trace = self.clone();
        move || trace.note(line)
    }

    /// All lines so far, taken out, with spaces between.
    pub(crate) fn take(&self) -> String {
        self.0.take().join(" ")
    }

    /// How many lines there are.
    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

/// Runs a real reactor, and fails the test instead of hanging when nothing stops it.
pub(crate) fn run(reactor: &Reactor) {
    let late = Rc::new(Cell::new(false));
    let (watched, rang) = (reactor.clone(), Rc::clone(&late));
    reactor.call_later(PATIENCE, move || {
        rang.set(true);
        watched.crash();
    });
    reactor.run().expect("the loop runs");
    assert!(!late.get(), "nothing stopped the loop");
}

/// A gate in front of jobs: they wait until it is opened, or until the test has given up.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Mutex<mpsc::Receiver<()>>>);

/// A closed gate, and what opens it.
pub(crate) fn gate() -> (mpsc::Sender<()>, Gate) {
    let (open, closed) = mpsc::channel();
    (open, Gate(Arc::new(Mutex::new(closed))))
}

impl Gate {
    /// Waits for one opening, or for the sender to be gone.
    pub(crate) fn pass(&self) {
        let _ = self.0.lock().expect("no job panics here").recv_timeout(PATIENCE);
    }
}

/// Asks, turn by turn, whether `holds`, and then goes on.
pub(crate) fn when(
    reactor: &Reactor,
    holds: impl Fn(&Reactor) -> bool + 'static,
    then: impl FnOnce() + 'static,
) {
    if holds(reactor) {
        return then();
    }
    let again = reactor.clone();
    reactor.call_soon(move || {
        thread::yield_now();
        when(&again, holds, then);
    });
}
