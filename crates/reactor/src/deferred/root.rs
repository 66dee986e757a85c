//! The head of a chain: the node that a [`Firing`](super::Firing) fires.

use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;

use super::firing::{AlreadyFired, Firing};
use super::guard;
use super::node::{Gate, Slot, Source, Step, Waits};
use crate::Reactor;
use crate::failure::{Abandoned, Cancelled, Failure, Outcome, Place};

type Canceller<T> = Box<dyn FnOnce(&Firing<T>)>;

pub(super) struct Root<T: 'static> {
    slot: Slot<T>,
    fired_at: Cell<Option<Place>>,
    /// The next firing is swallowed: it comes from one who does not know yet that this was cancelled.
    swallow: Cell<bool>,
    canceller: Cell<Option<Canceller<T>>>,
    firings: Cell<usize>,
}

impl<T: 'static> Root<T> {
    pub(super) fn new(place: Place, canceller: Option<Canceller<T>>) -> Rc<Root<T>> {
        Rc::new(Root {
            slot: Slot::new(place),
            fired_at: Cell::new(None),
            swallow: Cell::new(false),
            canceller: Cell::new(canceller),
            firings: Cell::new(0),
        })
    }

    /// One that has its outcome from the start.
    pub(super) fn settled(place: Place, outcome: Outcome<T>) -> Rc<Root<T>> {
        let root = Root::new(place, None);
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
        self.slot.settle(outcome);
        self.slot.notify(self.clone(), reactor);
        drop(self.canceller.take());
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
        let mut reason = Failure::at(place, Cancelled);
        match self.canceller.take() {
            None => self.swallow.set(true),
            Some(canceller) => {
                let firing = Firing::new(self.clone(), reactor.clone());
                if let Err(panic) = guard(place, || canceller(&firing)) {
                    reason = panic;
                }
            }
        }
        if !self.fired() {
            self.settle(reactor, place, Err(reason));
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
