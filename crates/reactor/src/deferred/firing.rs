//! The end of a deferred that gives it its outcome.

use std::error::Error;
use std::fmt;
use std::rc::Rc;

use super::root::Root;
use crate::Reactor;
use crate::failure::{Failure, Outcome, Place};

/// Fires its [`Deferred`](super::Deferred), once.
///
/// Clones fire the same one, for instance from two callbacks of which only one will come. When the last is dropped and
/// none has fired, the deferred fails as [`Abandoned`](crate::failure::Abandoned), so that nobody waits for ever.
///
/// Firing runs no callback: the chain is one entry on the reactor's ready queue. A task that awaits is woken at once.
///
/// ```
/// # use ropewalk_reactor::{Deferred, Reactor};
/// fn answer(reactor: &Reactor) -> Deferred<u8> {
///     let (firing, deferred) = Deferred::new(reactor);
///     reactor.call_soon(move || {
///         let _ = firing.callback(42);
///     });
///     deferred
/// }
/// ```
pub struct Firing<T: 'static> {
    root: Rc<Root<T>>,
    reactor: Reactor,
}

impl<T: 'static> Firing<T> {
    pub(super) fn new(root: Rc<Root<T>>, reactor: Reactor) -> Firing<T> {
        root.enrol();
        Firing { root, reactor }
    }

    pub(super) fn reactor(&self) -> &Reactor {
        &self.reactor
    }

    /// Fires with a value.
    #[track_caller]
    pub fn callback(&self, value: T) -> Result<(), AlreadyFired> {
        self.fire(Ok(value))
    }

    /// Fires with a failure, or with an error that becomes one here.
    #[track_caller]
    pub fn errback(&self, failure: impl Into<Failure>) -> Result<(), AlreadyFired> {
        self.fire(Err(failure.into()))
    }

    /// Fires with either.
    ///
    /// The first time after a cancellation of a deferred without a canceller, the outcome is dropped and this is no
    /// error: whoever works on it need not know.
    #[track_caller]
    pub fn fire(&self, outcome: Outcome<T>) -> Result<(), AlreadyFired> {
        self.root.fire(&self.reactor, outcome)
    }

    /// Whether it has fired or was cancelled: then further work is in vain.
    pub fn fired(&self) -> bool {
        self.root.fired()
    }
}

impl<T: 'static> Clone for Firing<T> {
    fn clone(&self) -> Firing<T> {
        Firing::new(self.root.clone(), self.reactor.clone())
    }
}

impl<T: 'static> Drop for Firing<T> {
    fn drop(&mut self) {
        self.root.leave(&self.reactor);
    }
}

impl<T: 'static> fmt::Debug for Firing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Firing").field("fired", &self.fired()).finish_non_exhaustive()
    }
}

/// The deferred had fired before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyFired {
    pub(super) fired_at: Place,
}

impl AlreadyFired {
    /// Where it was fired, or cancelled, the first time.
    pub fn fired_at(&self) -> Place {
        self.fired_at
    }
}

impl fmt::Display for AlreadyFired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the deferred had fired before, at {}", self.fired_at)
    }
}

impl Error for AlreadyFired {}
