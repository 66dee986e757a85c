//! What every test here needs: a reactor that is turned by hand, a task, a list of what happened, the log.

use std::cell::RefCell;
use std::fmt::{Debug, Write};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span;

use crate::{Deferred, Failure, Outcome, Reactor, Simulation};

/// A reactor under the test's hand. The only place here that knows how one is made and driven.
pub(super) struct Harness {
    pub(super) reactor: Reactor,
    simulation: Simulation,
}

pub(super) fn harness() -> Harness {
    listen();
    let simulation = Simulation::new(1);
    simulation.advance(Duration::ZERO);
    Harness { reactor: simulation.reactor().clone(), simulation }
}

impl Harness {
    /// How many entries are on the ready queue.
    pub(super) fn ready(&self) -> usize {
        self.reactor.statistics().ready
    }

    /// Runs them, and those that come of it.
    pub(super) fn run(&self) {
        self.simulation.advance(Duration::ZERO);
    }

    pub(super) fn advance(&self, step: Duration) {
        self.simulation.advance(step);
    }

    /// Drops what is ready without running it, as a reactor does that goes away.
    pub(super) fn clear(&self) {
        let dropped = std::mem::take(&mut *self.reactor.0.ready.borrow_mut());
        drop(dropped);
    }

    /// The outcome that is there once everything has run.
    pub(super) fn outcome<T>(&self, deferred: Deferred<T>) -> Option<Outcome<T>> {
        self.run();
        match Task::new(deferred).poll() {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }

    /// The same, where there has to be a value.
    pub(super) fn value<T: Debug>(&self, deferred: Deferred<T>) -> T {
        self.outcome(deferred).unwrap().unwrap()
    }

    /// The same, where there has to be a failure.
    pub(super) fn failure<T: Debug>(&self, deferred: Deferred<T>) -> Failure {
        self.outcome(deferred).unwrap().unwrap_err()
    }
}

/// A future with a waker that counts.
pub(super) struct Task<F> {
    future: Pin<Box<F>>,
    wakes: Arc<Wakes>,
}

#[derive(Default)]
pub(super) struct Wakes(AtomicUsize);

impl Wakes {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl<F: Future> Task<F> {
    pub(super) fn new(future: F) -> Task<F> {
        Task { future: Box::pin(future), wakes: Arc::default() }
    }

    pub(super) fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(self.wakes.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    pub(super) fn wakes(&self) -> usize {
        self.wakes.count()
    }

    /// Lets go of the future.
    pub(super) fn into_wakes(self) -> Arc<Wakes> {
        self.wakes
    }
}

/// What happened, in order.
#[derive(Clone, Default)]
pub(super) struct Diary(Rc<RefCell<Vec<String>>>);

impl Diary {
    pub(super) fn write(&self, entry: impl ToString) {
        self.0.borrow_mut().push(entry.to_string());
    }

    pub(super) fn read(&self) -> Vec<String> {
        self.0.take()
    }
}

/// An outcome as a word.
pub(super) fn word<T: ToString>(outcome: &Outcome<T>) -> String {
    match outcome {
        Ok(value) => value.to_string(),
        Err(failure) => failure.to_string(),
    }
}

/// What `f` logs, one text per event.
pub(super) fn logged(f: impl FnOnce()) -> Vec<String> {
    listen();
    let lines = Arc::default();
    tracing::subscriber::with_default(Log(Some(Arc::clone(&lines))), f);
    std::mem::take(&mut *lines.lock().unwrap())
}

/// Has every thread listen to everything. A thread without a subscriber that is the first to come by a line of the log,
/// while there is but one subscriber, would else settle for all threads that nobody listens to that line.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _another_test_may_have_been_first = tracing::subscriber::set_global_default(Log(None));
    });
}

/// Keeps what is logged, or only claims to.
struct Log(Option<Arc<Mutex<Vec<String>>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        if let Some(lines) = &self.0 {
            let mut text = Text(String::new());
            event.record(&mut text);
            lines.lock().unwrap().push(text.0);
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
