//! Programs that are one future: the loop runs until it is done. Twisted's `task.react`, Tornado's `run_sync`.

use std::cell::RefCell;
use std::future::Future;
use std::panic::Location;
use std::rc::Rc;

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::failure::{Cancelled, Failure, Outcome};
use crate::name::Name;
use crate::reactor::Reactor;
use crate::task::Caught;

/// Makes a reactor, runs what `main` answers (a future, or a deferred), stops, and gives its outcome.
///
/// A `main` that returns it prints the failure with its traceback and ends with exit code 1. An interrupt (`SIGINT`) or
/// `SIGTERM` stops the reactor: triggers run, the future is dropped, and the failure is
/// [`Cancelled`].
///
/// ```
/// use std::time::Duration;
/// use ropewalk_reactor::{Outcome, react};
///
/// fn main() -> Outcome<()> {
///     react(|reactor| async move {
///         reactor.sleep(Duration::from_millis(1)).await;
///         println!("done");
///         Ok(())
///     })
/// }
/// ```
///
/// # Errors
/// The future's own failure, its panic, or that of a reactor that cannot be made.
#[track_caller]
pub fn react<T, F>(main: impl FnOnce(Reactor) -> F) -> Outcome<T>
where
    T: 'static,
    F: Future<Output = Outcome<T>> + 'static,
{
    let reactor = Reactor::new()?;
    for signal in [SIGINT, SIGTERM] {
        let weak = reactor.downgrade();
        reactor.on_signal(signal, move || {
            if let Some(reactor) = weak.upgrade() {
                reactor.stop();
            }
        })?;
    }
    let future = main(reactor.clone());
    reactor.run_until(future)?
}

impl Reactor {
    /// Runs the loop until the future is done, then stops it, and gives the future's value.
    ///
    /// Like [`Reactor::run`], once in a reactor's life.
    ///
    /// # Errors
    /// The loop cannot run, the future panicked, or the loop was stopped before it was done ([`Cancelled`]).
    #[track_caller]
    pub fn run_until<F: Future + 'static>(&self, future: F) -> Outcome<F::Output> {
        let (name, place) = (Name::here(), Location::caller());
        let slot = Rc::new(RefCell::new(None));
        let (result, weak) = (Rc::clone(&slot), self.downgrade());
        let task = self.spawn_named(name, async move {
            let outcome = Caught::new(name, async move { Ok(future.await) }).await;
            *result.borrow_mut() = Some(outcome);
            if let Some(reactor) = weak.upgrade() {
                reactor.stop();
            }
        });
        self.run()?;
        drop(task);
        let outcome = slot.take();
        outcome.unwrap_or_else(|| Err(Failure::at(place, Cancelled)))
    }
}
