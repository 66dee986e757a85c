//! A callback in a chain: the node that takes a `T` from above and makes a `U` of it.

use std::cell::Cell;
use std::rc::{Rc, Weak};

use super::flow::Flow;
use super::node::{Gate, Next, Outer, Sink, Slot, Source, Step, Waits};
use super::{Deferred, guard};
use crate::Reactor;
use crate::failure::{Failure, Outcome, Place};

pub(super) struct Link<U, F> {
    slot: Slot<U>,
    stage: Cell<Stage<F>>,
    /// Where the callback was added.
    place: Place,
}

/// What has become of the callback.
enum Stage<F> {
    /// It waits for the node above.
    Waiting(F, Weak<dyn Step>),
    /// It returned another deferred, whose last node this is.
    Joined(Weak<dyn Step>),
    /// It runs or has run.
    Over,
}

impl<U: 'static, F> Link<U, F> {
    /// A node below `above`, which has to be told of it.
    pub(super) fn new(job: F, above: &Rc<dyn Step>, place: Place) -> Rc<Link<U, F>> {
        let slot = Slot::new(above.gate().made_at);
        // Who cancelled what is above, and adds a link now, knows what will come.
        slot.gate.asked.set(above.gate().asked.get());
        Rc::new(Link { slot, stage: Cell::new(Stage::Waiting(job, Rc::downgrade(above))), place })
    }

    fn finish(&self, mut outcome: Outcome<U>) {
        if let Err(failure) = &mut outcome {
            failure.pass(self.place);
        }
        self.slot.settle(outcome);
    }
}

impl<U: 'static, F: 'static> Link<U, F> {
    /// The callback returned `inner`: its outcome will be this node's.
    fn join(self: Rc<Self>, inner: Deferred<U>) -> Option<Rc<dyn Step>> {
        let inner = inner.into_node();
        if let Some(outcome) = inner.slot().take() {
            self.finish(outcome);
            return Some(self);
        }
        if self.is_above(&inner) {
            self.finish(Err(Failure::at(self.place, "a callback returned the deferred that waits for it")));
            return Some(self);
        }
        let end: Rc<dyn Step> = inner.clone();
        // Whoever waits for this node will wait for the inner one instead: a deferred that goes on and on by returning
        // the next one stays one node deep.
        let outer = match self.slot.take_outer() {
            Some(outer) => {
                outer.follow(Rc::downgrade(&end));
                outer
            }
            None => {
                self.stage.set(Stage::Joined(Rc::downgrade(&end)));
                self
            }
        };
        inner.slot().attach(Next::Outer(outer));
        None
    }

    /// Whether `end` belongs to this chain, at or below this node.
    fn is_above(self: &Rc<Self>, end: &Rc<dyn Source<U>>) -> bool {
        let mut at: Rc<dyn Step> = end.clone();
        loop {
            if Rc::as_ptr(&at).addr() == Rc::as_ptr(self).addr() {
                return true;
            }
            match at.waits() {
                Waits::Upstream(above) => at = above,
                Waits::Nothing | Waits::Inner(_) => return false,
            }
        }
    }
}

impl<U: 'static, F: 'static> Step for Link<U, F> {
    fn run(self: Rc<Self>) -> Option<Rc<dyn Step>> {
        self.slot.run()
    }

    fn notify(self: Rc<Self>, reactor: &Reactor) {
        self.slot.notify(self.clone(), reactor);
    }

    fn waits(&self) -> Waits {
        let stage = self.stage.replace(Stage::Over);
        let waits = match &stage {
            Stage::Waiting(_, above) => above.upgrade().map_or(Waits::Nothing, Waits::Upstream),
            Stage::Joined(end) => end.upgrade().map_or(Waits::Nothing, Waits::Inner),
            Stage::Over => Waits::Nothing,
        };
        self.stage.set(stage);
        waits
    }

    /// What has been reached here runs or has run: there is nothing to cancel.
    fn cancel(self: Rc<Self>, _: &Reactor, _: Place) {}

    fn gate(&self) -> &Gate {
        &self.slot.gate
    }
}

impl<U: 'static, F: 'static> Source<U> for Link<U, F> {
    fn slot(&self) -> &Slot<U> {
        &self.slot
    }
}

impl<T: 'static, U: 'static, F> Sink<T> for Link<U, F>
where
    F: FnOnce(Outcome<T>) -> Flow<U> + 'static,
{
    fn feed(self: Rc<Self>, outcome: Outcome<T>) -> Option<Rc<dyn Step>> {
        let Stage::Waiting(job, _) = self.stage.replace(Stage::Over) else { return None };
        match guard(self.place, || job(outcome)) {
            Ok(Flow::Wait(inner)) => return self.join(inner),
            Ok(Flow::Done(outcome)) => self.finish(outcome),
            Err(panic) => self.finish(Err(panic)),
        }
        Some(self)
    }
}

impl<U: 'static, F: 'static> Outer<U> for Link<U, F> {
    fn adopt(&self, outcome: Outcome<U>) {
        self.stage.set(Stage::Over);
        self.finish(outcome);
    }

    fn follow(&self, inner: Weak<dyn Step>) {
        self.stage.set(Stage::Joined(inner));
    }
}
