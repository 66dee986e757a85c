//! A line of deferreds, served in order; one that is cancelled leaves it. The other files of `sync` are made of this.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::Location;
use std::rc::Weak;

use crate::Reactor;
use crate::deferred::{Deferred, Firing, Line};

/// Deferreds that wait for a `T`, each with what it brought along.
pub(super) struct Waiters<T: 'static, B = ()> {
    line: RefCell<BTreeMap<u64, (Firing<T>, B)>>,
    ticket: Cell<u64>,
    /// They are being served further up on this stack.
    serving: Cell<bool>,
}

impl<T: 'static, B> Default for Waiters<T, B> {
    fn default() -> Waiters<T, B> {
        Waiters { line: RefCell::default(), ticket: Cell::new(0), serving: Cell::new(false) }
    }
}

impl<T: 'static, B> Waiters<T, B> {
    /// A deferred at the end of the line. `owner` is who keeps the line.
    #[track_caller]
    pub(super) fn stand(&self, reactor: &Reactor, owner: Weak<dyn Line<T>>, brought: B) -> Deferred<T> {
        let ticket = self.ticket.get() + 1;
        self.ticket.set(ticket);
        let (firing, deferred) = Deferred::in_line(reactor, Location::caller(), owner, ticket);
        self.line.borrow_mut().insert(ticket, (firing, brought));
        deferred
    }

    /// Whose turn it is, taken out of the line.
    pub(super) fn next(&self) -> Option<(Firing<T>, B)> {
        let first = self.line.borrow_mut().pop_first();
        first.map(|(_, waiter)| waiter)
    }

    /// Serves those in line while there is something to give. A loop, not a recursion: what is given to one that is gone
    /// comes back before this returns, and goes to the next.
    pub(super) fn serve(&self, mut supply: impl FnMut() -> Option<T>) {
        if self.serving.replace(true) {
            return;
        }
        while !self.is_empty()
            && let Some(value) = supply()
            && let Some((firing, _)) = self.next()
        {
            // Who was cancelled has left the line: it has not fired.
            let _ = firing.callback(value);
        }
        self.serving.set(false);
    }

    pub(super) fn leave(&self, ticket: u64) {
        let gone = self.line.borrow_mut().remove(&ticket);
        drop(gone);
    }

    pub(super) fn len(&self) -> usize {
        self.line.borrow().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.line.borrow().is_empty()
    }
}

/// A deferred that has its value from the start, and gives it back to `owner` if nobody looks.
#[track_caller]
pub(super) fn served<T: 'static>(reactor: &Reactor, owner: Weak<dyn Line<T>>, value: T) -> Deferred<T> {
    let (firing, deferred) = Deferred::in_line(reactor, Location::caller(), owner, 0);
    // It cannot have been fired before.
    let _ = firing.callback(value);
    deferred
}
