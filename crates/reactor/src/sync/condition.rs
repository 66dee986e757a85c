//! Waiting to be told that something may have changed.

use std::cell::Cell;
use std::fmt;
use std::rc::{Rc, Weak};

use super::waiters::Waiters;
use crate::Reactor;
use crate::deferred::{Deferred, Line};

/// Wakes some, or all, of those who wait. It keeps nothing: a notification that nobody waits for is gone.
///
/// There is no lock to it, for callbacks of one loop do not interrupt each other. Look at what you wait for again after
/// waking: between the notification and you, somebody else may have come by, and one that was told and dropped before it
/// looked passes the notification on. Clones are one condition.
///
/// ```
/// # use ropewalk_reactor::Outcome;
/// # use std::cell::Cell;
/// use ropewalk_reactor::sync::Condition;
///
/// async fn take(stock: &Cell<u32>, delivered: &Condition) -> Outcome<()> {
///     while stock.get() == 0 {
///         delivered.wait().await?;
///     }
///     stock.set(stock.get() - 1);
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Condition(Rc<Inner>);

struct Inner {
    reactor: Reactor,
    /// Notifications that are being given out.
    owed: Cell<usize>,
    waiters: Waiters<()>,
}

impl Condition {
    /// A condition for which nobody waits.
    #[must_use]
    pub fn new(reactor: &Reactor) -> Condition {
        Condition(Rc::new(Inner {
            reactor: reactor.clone(),
            owed: Cell::new(0),
            waiters: Waiters::default(),
        }))
    }

    /// Fires at a notification. [`Deferred::add_timeout`] gives it a limit.
    #[track_caller]
    pub fn wait(&self) -> Deferred<()> {
        let line: Weak<Inner> = Rc::downgrade(&self.0);
        self.0.waiters.stand(&self.0.reactor, line, ())
    }

    /// Tells those `n` who have waited longest.
    pub fn notify(&self, n: usize) {
        self.0.notify(n);
    }

    /// Tells all who wait now.
    pub fn notify_all(&self) {
        self.notify(self.waiting());
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.waiters.len()
    }
}

impl Inner {
    fn notify(&self, n: usize) {
        self.owed.set(self.owed.get() + n);
        self.waiters.serve(|| {
            self.owed.set(self.owed.get().checked_sub(1)?);
            Some(())
        });
        if self.waiters.is_empty() {
            self.owed.set(0);
        }
    }
}

impl Line<()> for Inner {
    fn leave(&self, ticket: u64) {
        self.waiters.leave(ticket);
    }

    fn returned(&self, (): ()) {
        self.notify(1);
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("waiting", &self.waiting()).finish()
    }
}
