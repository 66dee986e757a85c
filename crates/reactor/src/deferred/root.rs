//! The head of a chain: the node that a [`Firing`](super::Firing) fires.

use std::cell::Cell;
use std::panic::Location;
use std::rc::{Rc, Weak};

use super::firing::{AlreadyFired, Firing};
use super::guard;
use super::node::{Gate, Slot, Source, Step, Waits};
use crate::Reactor;
use crate::failure::{Abandoned, Cancelled, Failure, Outcome, Place};

/// Where a deferred stands in line for something of which there is not enough: a token, an item, a notification.
pub(crate) trait Line<T> {
    /// It was cancelled before its turn.
    fn leave(&self, ticket: u64);

    /// Its turn came, and it was dropped before anybody looked: what it was given goes back.
    fn returned(&self, value: T);
}

type Canceller<T> = Box<dyn FnOnce(&Firing<T>)>;

/// What stands behind a deferred that is waited for.
pub(super) enum Behind<T: 'static> {
    Nothing,
    Canceller(Canceller<T>),
    Line(Weak<dyn Line<T>>, u64),
}

pub(super) struct Root<T: 'static> {
    slot: Slot<T>,
    fired_at: Cell<Option<Place>>,
    /// The next firing is swallowed: it comes from one who does not know yet that this was cancelled.
    swallow: Cell<bool>,
    behind: Cell<Behind<T>>,
    firings: Cell<usize>,
}

impl<T: 'static> Root<T> {
    pub(super) fn new(place: Place, behind: Behind<T>) -> Rc<Root<T>> {
        Rc::new(Root {
            slot: Slot::new(place),
            fired_at: Cell::new(None),
            swallow: Cell::new(false),
            behind: Cell::new(behind),
            firings: Cell::new(0),
        })
    }

    /// One that has its outcome from the start.
    pub(super) fn settled(place: Place, outcome: Outcome<T>) -> Rc<Root<T>> {
        let root = Root::new(place, Behind::Nothing);
        root.fired_at.set(Some(place));
        root.slot.settle(outcome);
        root
    }

    /// Gives it its outcome, if it has none.
    #[track_caller]
    pub(super) fn fire(self: &Rc<Self>, reactor: &Reactor, outcome: Outcome<T>) -> Result<(), AlreadyFired> {
        match self.fired_at.get() {
            None => self.settle(reactor, Location::caller(), outcome),
            Some(_) if self.swallow.replace(false) => {}
            Some(fired_at) => return Err(AlreadyFired { fired_at }),
        }
        Ok(())
    }

    #[track_caller]
    fn settle(self: &Rc<Self>, reactor: &Reactor, place: Place, outcome: Outcome<T>) {
        self.fired_at.set(Some(place));
        let given = outcome.is_ok();
        self.slot.settle(outcome);
        self.slot.notify(self.clone(), reactor);
        match self.behind.replace(Behind::Nothing) {
            line @ Behind::Line(..) if given => self.behind.set(line),
            over => drop(over),
        }
    }

    pub(super) fn fired(&self) -> bool {
        self.fired_at.get().is_some()
    }

    pub(super) fn enrol(&self) {
        self.firings.set(self.firings.get() + 1);
    }

    /// One `Firing` is gone. With the last one goes the hope: who waits must not wait for ever.
    pub(super) fn leave(self: &Rc<Self>, reactor: &Reactor) {
        self.firings.set(self.firings.get() - 1);
        // Held by nobody else, it has nobody who could look at its outcome, and nobody to log it for.
        let forgotten = Rc::strong_count(self) == 1 && self.slot.is_lonely();
        if self.firings.get() == 0 && !self.fired() && !forgotten {
            let place = self.slot.gate.made_at;
            self.settle(reactor, place, Err(Failure::at(place, Abandoned)));
        }
    }
}

impl<T: 'static> Drop for Root<T> {
    /// What came out of a line and was never looked at goes back there.
    fn drop(&mut self) {
        if let Behind::Line(line, _) = self.behind.replace(Behind::Nothing)
            && let Some(Ok(value)) = self.slot.reclaim()
            && let Some(line) = line.upgrade()
        {
            line.returned(value);
        }
    }
}

impl<T: 'static> Step for Root<T> {
    fn run(self: Rc<Self>) -> Option<Rc<dyn Step>> {
        self.slot.run()
    }

    fn notify(self: Rc<Self>, reactor: &Reactor) {
        self.slot.notify(self.clone(), reactor);
    }

    fn waits(&self) -> Waits {
        Waits::Nothing
    }

    fn cancel(self: Rc<Self>, reactor: &Reactor, place: Place) {
        if self.fired() {
            return;
        }
        let reason = Failure::at(place, Cancelled);
        match self.behind.replace(Behind::Nothing) {
            Behind::Nothing => {
                self.swallow.set(true);
                self.settle(reactor, place, Err(reason));
            }
            Behind::Canceller(canceller) => {
                // Lives until there is an outcome: the canceller may drop all the others.
                let firing = Firing::new(self.clone(), reactor.clone());
                let reason = guard(place, || canceller(&firing)).err().unwrap_or(reason);
                if !self.fired() {
                    self.settle(reactor, place, Err(reason));
                }
            }
            Behind::Line(line, ticket) => {
                // Settled first: the line holds the firing end, and lets go of it.
                self.settle(reactor, place, Err(reason));
                if let Some(line) = line.upgrade() {
                    line.leave(ticket);
                }
            }
        }
    }

    fn gate(&self) -> &Gate {
        &self.slot.gate
    }
}

impl<T: 'static> Source<T> for Root<T> {
    fn slot(&self) -> &Slot<T> {
        &self.slot
    }
}
