//! What middlewares leave at a request for those within: one value of each type, pieces of a body that were looked at, and who is asked
//! before an answer goes out. A part of the exchange that few requests have.

use std::any::Any;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::answer::Answer;
use crate::exchange::Exchange;
use crate::response::Response;

/// Is asked about an answer before it is sent, and may let it wait.
pub(crate) type Gate = Box<dyn FnOnce(Response) -> Answer>;

#[derive(Default)]
pub(crate) struct Parts {
    values: Vec<Rc<dyn Any>>,
    /// Pieces of the body that somebody has read and given back.
    pub(crate) replay: VecDeque<Vec<u8>>,
    gate: Option<Gate>,
}

impl Exchange {
    /// The value of this type.
    pub(crate) fn part<T: 'static>(&self) -> Option<Rc<T>> {
        self.if_rare(|rare| rare.parts.values.iter().find_map(|value| Rc::clone(value).downcast().ok()))
    }

    /// Leaves a value, in the place of one of its type. It must not hold the exchange.
    pub(crate) fn set_part<T: 'static>(&self, value: T) {
        let mut rare = self.rare();
        let values = &mut rare.parts.values;
        let before = values.iter().position(|value| value.is::<T>()).map(|at| values.swap_remove(at));
        values.push(Rc::new(value));
        drop(rare);
        // Dropping it may run anybody's code.
        drop(before);
    }

    pub(crate) fn set_gate(&self, gate: Gate) {
        self.rare().parts.gate = Some(gate);
    }

    /// Whoever wants to be asked, and was not yet.
    pub(crate) fn take_gate(&self) -> Option<Gate> {
        self.if_rare(|rare| rare.parts.gate.take())
    }

    /// Asks whoever wants to be asked, once.
    pub(crate) fn pass_gate(&self, response: Response) -> Answer {
        match self.take_gate() {
            Some(gate) => gate(response),
            None => Answer::Now(response),
        }
    }

    /// Puts a piece of the body back in front.
    pub(crate) fn replay(&self, piece: Vec<u8>) {
        if !piece.is_empty() {
            self.rare().parts.replay.push_front(piece);
        }
    }

    /// A whole answer that a responder gives: it goes out when the gate lets it.
    pub(crate) fn hand_over(self: &Rc<Self>, response: Response) {
        match self.pass_gate(response) {
            Answer::Later(future) => {
                // Held as by a responder, so that nobody takes the request for forgotten meanwhile.
                self.responders.set(self.responders.get() + 1);
                let held = Held(Rc::clone(self));
                let carrier = self.carrier();
                carrier.reactor().spawn_named(carrier.connection().name(), async move {
                    if let Answer::Now(response) = future.await.settle().await {
                        held.0.give(response);
                    }
                });
            }
            Answer::Now(response) => self.give(response),
            Answer::Taken => {}
        }
    }
}

struct Held(Rc<Exchange>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.responders.set(self.0.responders.get() - 1);
        if !self.0.is_over() {
            self.0.carrier().wake();
        }
    }
}
