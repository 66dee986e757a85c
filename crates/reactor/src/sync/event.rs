//! Something that has happened, or has not: everybody may wait for it.

use std::cell::Cell;
use std::fmt;
use std::rc::{Rc, Weak};

use super::waiters::Waiters;
use crate::Reactor;
use crate::deferred::{Deferred, Line, succeed};

/// A flag to wait for. Clones are one event.
///
/// ```
/// # use ropewalk_reactor::Outcome;
/// use ropewalk_reactor::sync::Event;
///
/// async fn serve(ready: Event) -> Outcome<()> {
///     ready.wait().await?;
///     println!("the cache is warm");
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Event(Rc<Inner>);

struct Inner {
    reactor: Reactor,
    set: Cell<bool>,
    waiters: Waiters<()>,
}

impl Event {
    /// An event that has not happened.
    #[must_use]
    pub fn new(reactor: &Reactor) -> Event {
        Event(Rc::new(Inner { reactor: reactor.clone(), set: Cell::new(false), waiters: Waiters::default() }))
    }

    /// It has happened: all who wait go on, and who comes later need not wait.
    pub fn set(&self) {
        self.0.set.set(true);
        self.0.waiters.serve(|| Some(()));
    }

    /// It has not happened any more: who comes from now on waits.
    pub fn clear(&self) {
        self.0.set.set(false);
    }

    /// Whether it has happened.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.set.get()
    }

    /// Fires when it has happened.
    #[track_caller]
    pub fn wait(&self) -> Deferred<()> {
        if self.is_set() {
            return succeed(&self.0.reactor, ());
        }
        let line: Weak<Inner> = Rc::downgrade(&self.0);
        self.0.waiters.stand(&self.0.reactor, line, ())
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.waiters.len()
    }
}

impl Line<()> for Inner {
    fn leave(&self, ticket: u64) {
        self.waiters.leave(ticket);
    }

    fn returned(&self, (): ()) {}
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("set", &self.is_set()).field("waiting", &self.waiting()).finish()
    }
}
