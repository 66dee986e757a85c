//! A job on its way: what a thread runs, what it hands back, and who on the loop has it.

use std::any::Any;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::queue::Report;
use crate::deferred::Firing;
use crate::failure::{Abandoned, Failure, Outcome, Place};
use crate::name::Name;
use crate::reactor::Reactor;

pub(super) type Value = Box<dyn Any + Send>;
type Payload = Box<dyn Any + Send>;

/// What a thread runs. It counts the panics that it has caught itself.
pub(super) type Work = Box<dyn FnOnce(&mut u64) -> Value + Send>;

pub(super) struct Job {
    pub(super) work: Work,
    /// Who put it in.
    pub(super) place: Place,
    /// Who waits for it: the number at the loop's desk.
    pub(super) ticket: Option<u32>,
}

/// What comes back for a ticket.
pub(super) struct Finished {
    pub(super) ticket: u32,
    pub(super) outcome: Result<Value, Payload>,
}

impl Job {
    pub(super) fn run(self) -> Report<Finished> {
        let Job { work, place, ticket } = self;
        let mut panics = 0;
        let outcome = catch_unwind(AssertUnwindSafe(|| work(&mut panics)));
        panics += u64::from(outcome.is_err());
        let result = match (ticket, outcome) {
            (Some(ticket), outcome) => Some(Finished { ticket, outcome }),
            (None, Ok(value)) => {
                harmless(place, || drop(value));
                None
            }
            (None, Err(payload)) => {
                complain(place, payload);
                None
            }
        };
        Report { result, panics }
    }
}

/// Does what may panic where nobody is to be harmed by it.
pub(super) fn harmless(place: Place, then: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(then)) {
        complain(place, payload);
    }
}

/// Logs a panic. What was thrown may itself panic when it is dropped; then it is not.
pub(super) fn complain(place: Place, payload: Payload) {
    let told = catch_unwind(AssertUnwindSafe(|| {
        tracing::error!(job = %Name::place(place), "{}", Failure::panicked(place, payload));
    }));
    if let Err(payload) = told {
        std::mem::forget(payload);
    }
}

/// Who on the loop waits for a job. What it sets off is work for the ready queue.
pub(super) trait Waiter {
    /// The job has ended.
    fn end(self: Box<Self>, place: Place, reactor: &Reactor, outcome: Result<Value, Payload>);
    /// The job was forgotten.
    fn forget(self: Box<Self>, place: Place, reactor: &Reactor);
}

/// The value is a `T` because the same call that made the job made the waiter.
fn outcome_of<T: 'static>(place: Place, outcome: Result<Value, Payload>) -> Outcome<T> {
    match outcome {
        Ok(value) => Ok(*value.downcast().expect("a job's waiter waits for the type of its value")),
        Err(payload) => Err(Failure::panicked(place, payload)),
    }
}

impl<T: 'static> Waiter for Firing<T> {
    fn end(self: Box<Self>, place: Place, _: &Reactor, outcome: Result<Value, Payload>) {
        // Nobody minds the value of a deferred that was cancelled.
        let _ = self.fire(outcome_of(place, outcome));
    }

    /// Dropped without having fired, it tells that it was abandoned.
    fn forget(self: Box<Self>, _: Place, _: &Reactor) {}
}

/// A function that is called with the outcome.
pub(super) struct Callback<F, T>(F, PhantomData<fn(T)>);

impl<F, T> Callback<F, T> {
    pub(super) fn new(callback: F) -> Callback<F, T> {
        Callback(callback, PhantomData)
    }
}

impl<T: 'static, F: FnOnce(Outcome<T>) + 'static> Waiter for Callback<F, T> {
    fn end(self: Box<Self>, place: Place, reactor: &Reactor, outcome: Result<Value, Payload>) {
        let outcome = outcome_of(place, outcome);
        reactor.call_soon_named(Name::place(place), move || (self.0)(outcome));
    }

    fn forget(self: Box<Self>, place: Place, reactor: &Reactor) {
        let failure = Failure::at(place, Abandoned);
        reactor.call_soon_named(Name::place(place), move || (self.0)(Err(failure)));
    }
}
