//! A result that is not there yet: callbacks are added to it, or it is awaited.
//!
//! Made from a reactor handle by whoever will have the result, which keeps the [`Firing`] and gives the [`Deferred`]
//! away. It is Twisted's, with types: a link of the chain may change the type, so adding one consumes the deferred
//! and answers the new end. Many are combined in `gather` and `order`; making one from a future is the task's business.
//!
//! ```text
//!   firing.callback(v) ──► add_callback(f) ──► add_errback(g) ──► add_callback(h) ──► .await
//!                 Ok ────────► f ──────────────────────────────────► h ────────────► Ok
//!                 Err ─────────└────────────────► g ──Ok───────────┘ └──Err─────────► Err
//! ```
//! The rules, each with a test that has its name:
//! - firing puts one entry on the ready queue, and the whole chain runs in it; a link added to one that has fired is one
//!   more entry; awaiting wakes the task at once;
//! - a callback that answers with another deferred pauses the chain until that one has fired;
//! - a panic in a callback is a failure, [`Panicked`](crate::failure::Panicked);
//! - the tail may be dropped, and the chain runs all the same; but one that is awaited and then dropped is cancelled;
//! - a failure that reached the end of its chain and that nobody looked at is logged once, with the place that made the
//!   deferred. A cancellation is not, if the holder of that end asked for it.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomPinned;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::{Rc, Weak};

use crate::Reactor;
use crate::failure::{Failure, Outcome, Place};

mod chain;
mod control;
mod firing;
mod flow;
mod gather;
mod link;
mod node;
mod order;
mod root;
#[cfg(test)]
mod tests;
mod wait;

pub use firing::{AlreadyFired, Firing};
pub use flow::{Flow, IntoFlow, form};
pub use gather::{FailureGroup, FirstError, ListFlags, Listed, deferred_list, gather_results, race};
pub use order::WaitIterator;

use node::{Source, Step};
pub(crate) use root::Line;
use root::{Behind, Root};

/// A `T` that is not there yet, or the [`Failure`] that will come instead.
///
/// ```
/// # use ropewalk_reactor::{Deferred, Failure, Outcome};
/// fn length(page: Deferred<String>) -> Deferred<usize> {
///     page.add_callback(|text| -> Outcome<usize> { Ok(text.trim().parse()?) })
///         .add_callback(|bytes| bytes / 1024)
///         .add_errback(|failure| {
///             eprintln!("no length: {failure}");
///             0
///         })
/// }
///
/// async fn twice(page: Deferred<String>) -> Outcome<usize> {
///     Ok(length(page).await? * 2)
/// }
/// ```
#[must_use = "its failure is logged when it is dropped: add an errback, await it, or drop it by name"]
pub struct Deferred<T: 'static> {
    /// The last node of the chain; there until the deferred is dropped or becomes a part of another.
    node: Option<Rc<dyn Source<T>>>,
    reactor: Reactor,
    held: Cell<Option<Held>>,
    awaited: Cell<Awaited>,
    /// Makes it `!Unpin`. Nothing is pinned: `IntoFlow` tells a deferred from a plain value by it.
    _kind: PhantomPinned,
}

/// How its holder has paused a chain.
struct Held {
    /// The node that does not go on. It belongs to the holder now: what lies below knows it only weakly, and once it has
    /// its outcome nothing above is left.
    front: Rc<dyn Step>,
    /// How often.
    pauses: u32,
}

/// How far a deferred has got as a future.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaited {
    Never,
    /// It has been polled, and its outcome is outstanding.
    Begun,
    /// It has handed out its outcome.
    Done,
}

impl<T: 'static> Deferred<T> {
    /// A deferred and the end that fires it.
    #[track_caller]
    pub fn new(reactor: &Reactor) -> (Firing<T>, Deferred<T>) {
        Deferred::pair(Root::new(Location::caller(), Behind::Nothing), reactor)
    }

    /// A deferred that knows how to stop the work behind it.
    ///
    /// The first [`cancel`](Deferred::cancel) runs `canceller`, which may fire with what it likes. If it does not, the
    /// deferred fails as [`Cancelled`](crate::failure::Cancelled), and as the canceller should have stopped the work,
    /// firing it after that is an error. If it panics, that is the failure.
    ///
    /// ```
    /// # use ropewalk_reactor::{Deferred, Reactor};
    /// # use std::time::Duration;
    /// fn tea(reactor: &Reactor) -> Deferred<&'static str> {
    ///     let (kettle, deferred) = Deferred::with_canceller(reactor, |firing| {
    ///         let _ = firing.callback("lukewarm");
    ///     });
    ///     reactor.call_later(Duration::from_secs(180), move || {
    ///         let _ = kettle.callback("tea");
    ///     });
    ///     deferred
    /// }
    /// ```
    #[track_caller]
    pub fn with_canceller(
        reactor: &Reactor,
        canceller: impl FnOnce(&Firing<T>) + 'static,
    ) -> (Firing<T>, Deferred<T>) {
        Deferred::pair(Root::new(Location::caller(), Behind::Canceller(Box::new(canceller))), reactor)
    }

    /// A deferred that stands in `line` under `ticket`; what it is given and nobody looks at goes back there.
    pub(crate) fn in_line(
        reactor: &Reactor,
        place: Place,
        line: Weak<dyn Line<T>>,
        ticket: u64,
    ) -> (Firing<T>, Deferred<T>) {
        Deferred::pair(Root::new(place, Behind::Line(line, ticket)), reactor)
    }

    fn pair(root: Rc<Root<T>>, reactor: &Reactor) -> (Firing<T>, Deferred<T>) {
        let deferred = Deferred::over(root.clone(), reactor.clone());
        (Firing::new(root, reactor.clone()), deferred)
    }

    fn over(node: Rc<dyn Source<T>>, reactor: Reactor) -> Deferred<T> {
        let (held, awaited) = (Cell::new(None), Cell::new(Awaited::Never));
        Deferred { node: Some(node), reactor, held, awaited, _kind: PhantomPinned }
    }

    fn node(&self) -> &Rc<dyn Source<T>> {
        self.node.as_ref().expect("only what consumes a deferred takes its node")
    }

    /// The reactor it was made from.
    pub fn reactor(&self) -> &Reactor {
        &self.reactor
    }

    /// Where the deferred at the head of this chain was made.
    pub fn made_at(&self) -> Place {
        self.node().slot().gate.made_at
    }
}

/// A deferred that has fired with `value`.
///
/// ```
/// # use ropewalk_reactor::{Deferred, Reactor, deferred};
/// fn cached(reactor: &Reactor) -> Deferred<u8> {
///     deferred::succeed(reactor, 7)
/// }
/// ```
#[track_caller]
pub fn succeed<T: 'static>(reactor: &Reactor, value: T) -> Deferred<T> {
    settled(reactor, Location::caller(), Ok(value))
}

/// A deferred that has fired with `failure`, or with an error that becomes one here.
///
/// ```
/// # use ropewalk_reactor::{Deferred, Reactor, deferred};
/// fn closed(reactor: &Reactor) -> Deferred<u8> {
///     deferred::fail(reactor, "the shop is closed")
/// }
/// ```
#[track_caller]
pub fn fail<T: 'static>(reactor: &Reactor, failure: impl Into<Failure>) -> Deferred<T> {
    settled(reactor, Location::caller(), Err(failure.into()))
}

/// What `f` returns, be it a value, a `Result` or a deferred, as a deferred; a panic as its failure.
///
/// ```
/// # use ropewalk_reactor::{Deferred, Reactor, deferred};
/// fn checked(reactor: &Reactor, text: &'static str) -> Deferred<u8> {
///     deferred::maybe_deferred(reactor, || text.parse::<u8>())
/// }
/// ```
#[track_caller]
pub fn maybe_deferred<T, R, M>(reactor: &Reactor, f: impl FnOnce() -> R) -> Deferred<T>
where
    T: 'static,
    R: IntoFlow<T, M>,
{
    let place = Location::caller();
    match guard(place, || f().into_flow(place)) {
        Ok(Flow::Wait(deferred)) => deferred,
        Ok(Flow::Done(outcome)) => settled(reactor, place, outcome),
        Err(panic) => settled(reactor, place, Err(panic)),
    }
}

fn settled<T: 'static>(reactor: &Reactor, place: Place, outcome: Outcome<T>) -> Deferred<T> {
    Deferred::over(Root::settled(place, outcome), reactor.clone())
}

/// The one boundary between a chain and the user's code: a panic ends here.
///
/// What the closure owns goes down with it, and a chain keeps nothing that it could have left half done.
fn guard<R>(place: Place, f: impl FnOnce() -> R) -> Outcome<R> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| Failure::panicked(place, payload))
}

impl<T: 'static> fmt::Debug for Deferred<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred")
            .field("made_at", &format_args!("{}", self.made_at()))
            .finish_non_exhaustive()
    }
}
