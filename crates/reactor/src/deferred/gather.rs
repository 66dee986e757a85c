//! Many deferreds as one: all of them, the first of them, the first that succeeds.
//!
//! Each member gets a link at its end that puts the outcome into its place of a shared [`Gathering`]; what fires the whole is
//! decided there. The links hold the gathering, and nobody else does: it knows the members weakly, to cancel them.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::rc::{Rc, Weak};

use super::firing::Firing;
use super::node::{self, Step};
use super::root::{Behind, Root};
use super::{Deferred, Flow};
use crate::Reactor;
use crate::failure::{Cancelled, Failure, Outcome, Place};

/// When a [`deferred_list`] fires, and what becomes of the failures that come after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListFlags {
    /// With the first value.
    pub fire_on_one_callback: bool,
    /// With the first failure, as a [`FirstError`].
    pub fire_on_one_errback: bool,
    /// Failures that come after the list has fired are not logged: nobody minds.
    pub consume_errors: bool,
}

/// What a [`deferred_list`] fires with.
#[derive(Debug)]
pub enum Listed<T> {
    /// All outcomes, in the order of the deferreds.
    All(Vec<Outcome<T>>),
    /// The first value and whose it is, if the flags ask for it.
    First {
        /// Which of the deferreds it was, from 0.
        index: usize,
        /// Its value.
        value: T,
    },
}

impl<T> Listed<T> {
    /// All outcomes; `None` if the list has fired with the first value.
    pub fn all(self) -> Option<Vec<Outcome<T>>> {
        match self {
            Listed::All(outcomes) => Some(outcomes),
            Listed::First { .. } => None,
        }
    }
}

/// The first failure of a list, and whose it is.
#[derive(Clone, Debug)]
pub struct FirstError {
    /// Which of the deferreds it was, from 0.
    pub index: usize,
    /// How it failed.
    pub failure: Failure,
}

impl fmt::Display for FirstError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "number {} of the list failed: {}", self.index, self.failure)
    }
}

impl Error for FirstError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.failure.error())
    }
}

/// All failures of a [`race`] that nobody won, in the order of the deferreds.
#[derive(Clone, Debug)]
pub struct FailureGroup {
    /// One for each, and none for a race without anybody in it.
    pub failures: Vec<Failure>,
}

impl fmt::Display for FailureGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.failures {
            [] => f.write_str("a race that nobody took part in"),
            failures => {
                write!(f, "all {} failed: ", failures.len())?;
                failures.iter().enumerate().try_for_each(|(index, failure)| {
                    write!(f, "{}{failure}", if index > 0 { "; " } else { "" })
                })
            }
        }
    }
}

impl Error for FailureGroup {}

/// The outcomes of many, once the last of them has come; with [`ListFlags`], sooner.
///
/// The others go on when a flag makes the list fire. Cancelling the list cancels those that are outstanding; it fails as
/// [`Cancelled`] itself.
///
/// ```
/// # use ropewalk_reactor::{Deferred, Outcome, Reactor};
/// use ropewalk_reactor::deferred::{ListFlags, Listed, deferred_list};
///
/// async fn report(reactor: &Reactor, pages: Vec<Deferred<String>>) -> Outcome<usize> {
///     let listed = deferred_list(reactor, pages, ListFlags::default()).await?;
///     let outcomes = listed.all().expect("no flag asked for less");
///     Ok(outcomes.iter().filter(|outcome| outcome.is_ok()).count())
/// }
/// ```
///
/// # Errors
/// A [`FirstError`], if the flags ask for it.
#[track_caller]
pub fn deferred_list<T: 'static>(
    reactor: &Reactor,
    deferreds: impl IntoIterator<Item = Deferred<T>>,
    flags: ListFlags,
) -> Deferred<Listed<T>> {
    let place = Location::caller();
    gather(reactor, place, deferreds, move |event| match event {
        Event::Came(index, Ok(value)) if flags.fire_on_one_callback => {
            Verdict::Fire(Ok(Listed::First { index, value }))
        }
        Event::Came(index, Err(failure)) if flags.fire_on_one_errback => {
            Verdict::Fire(Err(Failure::at(place, FirstError { index, failure })))
        }
        Event::Came(_, outcome) => Verdict::Keep(outcome),
        Event::Late(outcome) if flags.consume_errors => {
            drop(outcome);
            Verdict::Drop
        }
        Event::Late(outcome) => Verdict::Keep(outcome),
        Event::Complete(outcomes) => Verdict::Fire(Ok(Listed::All(outcomes))),
    })
}

/// The values of all, in their order, or the first failure, as it is.
///
/// After a failure the others go on, and a failure among those is logged; cancelling this one cancels them.
///
/// ```
/// # use ropewalk_reactor::{Deferred, Reactor};
/// use ropewalk_reactor::deferred::gather_results;
///
/// fn total(reactor: &Reactor, counts: Vec<Deferred<u64>>) -> Deferred<u64> {
///     gather_results(reactor, counts).add_callback(|counts| counts.iter().sum::<u64>())
/// }
/// ```
#[track_caller]
pub fn gather_results<T: 'static>(
    reactor: &Reactor,
    deferreds: impl IntoIterator<Item = Deferred<T>>,
) -> Deferred<Vec<T>> {
    gather(reactor, Location::caller(), deferreds, |event| match event {
        Event::Came(_, Err(failure)) => Verdict::Fire(Err(failure)),
        Event::Came(_, outcome) | Event::Late(outcome) => Verdict::Keep(outcome),
        Event::Complete(outcomes) => Verdict::Fire(outcomes.into_iter().collect()),
    })
}

/// The first value, and which of the deferreds it came from; the others are cancelled. A failure leaves the race to the
/// others.
///
/// ```
/// # use ropewalk_reactor::{Deferred, Reactor};
/// use ropewalk_reactor::deferred::race;
///
/// fn fastest(reactor: &Reactor, mirrors: Vec<Deferred<String>>) -> Deferred<String> {
///     race(reactor, mirrors).add_callback(|(mirror, page)| format!("mirror {mirror}: {page}"))
/// }
/// ```
///
/// # Errors
/// A [`FailureGroup`] when all have failed, at once when there are none.
#[track_caller]
pub fn race<T: 'static>(
    reactor: &Reactor,
    deferreds: impl IntoIterator<Item = Deferred<T>>,
) -> Deferred<(usize, T)> {
    let place = Location::caller();
    gather(reactor, place, deferreds, move |event| match event {
        Event::Came(index, Ok(value)) => Verdict::FireAndCancel(Ok((index, value))),
        Event::Came(_, failed) => Verdict::Keep(failed),
        // The losers: who was cancelled has nothing to say, and who came second came too late.
        Event::Late(Err(failure)) if !failure.is::<Cancelled>() => Verdict::Keep(Err(failure)),
        Event::Late(_) => Verdict::Drop,
        Event::Complete(outcomes) => {
            let failures = outcomes.into_iter().filter_map(Result::err).collect();
            Verdict::Fire(Err(Failure::at(place, FailureGroup { failures })))
        }
    })
}

/// What happens to a gathering.
enum Event<T> {
    /// The outcome of one, while the whole has not fired.
    Came(usize, Outcome<T>),
    /// The outcome of one after that.
    Late(Outcome<T>),
    /// The last has come, and none made the whole fire.
    Complete(Vec<Outcome<T>>),
}

/// What is to be done then.
enum Verdict<T, U> {
    /// Kept in its place; after the whole has fired, left to the end of its chain, which logs a failure.
    Keep(Outcome<T>),
    Drop,
    Fire(Outcome<U>),
    FireAndCancel(Outcome<U>),
}

struct Gathering<T, U: 'static, J> {
    judge: J,
    place: Place,
    firing: Firing<U>,
    fired: Cell<bool>,
    places: RefCell<Vec<Option<Outcome<T>>>>,
    outstanding: Cell<usize>,
    members: Rc<Members>,
}

/// The ends of the deferreds that were gathered.
#[derive(Default)]
struct Members(RefCell<Vec<Weak<dyn Step>>>);

impl Members {
    fn cancel(&self, reactor: &Reactor, place: Place) {
        for member in self.0.take() {
            if let Some(member) = member.upgrade() {
                node::cancel(member, reactor, place);
            }
        }
    }
}

fn gather<T: 'static, U: 'static>(
    reactor: &Reactor,
    place: Place,
    deferreds: impl IntoIterator<Item = Deferred<T>>,
    judge: impl Fn(Event<T>) -> Verdict<T, U> + 'static,
) -> Deferred<U> {
    let deferreds: Vec<_> = deferreds.into_iter().collect();
    let members = Rc::new(Members::default());
    let (firing, whole) = {
        let members = Rc::clone(&members);
        let canceller = Box::new(move |firing: &Firing<U>| members.cancel(firing.reactor(), place));
        Deferred::pair(Root::new(place, Behind::Canceller(canceller)), reactor)
    };
    let gathering = Rc::new(Gathering {
        judge,
        place,
        firing,
        fired: Cell::new(false),
        places: RefCell::new(deferreds.iter().map(|_| None).collect()),
        outstanding: Cell::new(deferreds.len()),
        members: Rc::clone(&members),
    });
    if deferreds.is_empty() {
        gathering.complete();
    }
    for (index, deferred) in deferreds.into_iter().enumerate() {
        let gathering = Rc::clone(&gathering);
        let end = deferred.link(place, move |outcome| gathering.take(index, outcome));
        let step: Rc<dyn Step> = end.node().clone();
        members.0.borrow_mut().push(Rc::downgrade(&step));
    }
    whole
}

impl<T: 'static, U: 'static, J: Fn(Event<T>) -> Verdict<T, U>> Gathering<T, U, J> {
    /// One has its outcome. What is answered stays at the end of that one's chain: nothing, or a failure to be logged.
    fn take(&self, index: usize, outcome: Outcome<T>) -> Flow<()> {
        let late = self.fired.get();
        let event = if late { Event::Late(outcome) } else { Event::Came(index, outcome) };
        match (self.judge)(event) {
            Verdict::Keep(outcome) if late => return Flow::Done(outcome.map(drop)),
            Verdict::Keep(outcome) => self.places.borrow_mut()[index] = Some(outcome),
            Verdict::Drop => {}
            Verdict::Fire(outcome) => self.fire(outcome),
            Verdict::FireAndCancel(outcome) => {
                self.fire(outcome);
                self.members.cancel(self.firing.reactor(), self.place);
            }
        }
        self.outstanding.set(self.outstanding.get() - 1);
        if self.outstanding.get() == 0 && !self.fired.get() {
            self.complete();
        }
        Flow::Done(Ok(()))
    }

    fn complete(&self) {
        let outcomes = self.places.take().into_iter().flatten().collect();
        if let Verdict::Fire(outcome) = (self.judge)(Event::Complete(outcomes)) {
            self.fire(outcome);
        }
    }

    fn fire(&self, outcome: Outcome<U>) {
        self.fired.set(true);
        // It fails when the whole was cancelled, and then nobody wants it.
        let _ = self.firing.fire(outcome);
        // What came before and was not asked for: failures that nobody will look at are nobody's loss now.
        self.places.take();
    }
}
