//! Adding links to a chain.

use std::error::Error;
use std::panic::Location;
use std::rc::Rc;

use super::link::Link;
use super::node::{Next, Source, Step};
use super::{Deferred, Flow, IntoFlow};
use crate::failure::{Failure, Outcome, Place};

impl<T: 'static> Deferred<T> {
    /// Goes on with what `f` makes of the value; a failure passes by. [`IntoFlow`] says what `f` may return.
    ///
    /// ```
    /// # use ropewalk_reactor::{Deferred, Outcome};
    /// fn age(year: Deferred<String>) -> Deferred<i32> {
    ///     year.add_callback(|text| -> Outcome<i32> { Ok(text.parse()?) }).add_callback(|born| 2025 - born)
    /// }
    /// ```
    #[track_caller]
    pub fn add_callback<U, R, M>(self, f: impl FnOnce(T) -> R + 'static) -> Deferred<U>
    where
        U: 'static,
        R: IntoFlow<U, M>,
    {
        let place = Location::caller();
        self.link(place, move |outcome| match outcome {
            Ok(value) => f(value).into_flow(place),
            Err(failure) => Flow::Done(Err(failure)),
        })
    }

    /// Goes on with what `f` makes of the failure; a value passes by.
    ///
    /// ```
    /// # use ropewalk_reactor::{Deferred, Failure, failure::TimedOut};
    /// fn patient(count: Deferred<u32>) -> Deferred<u32> {
    ///     count.add_errback(|failure| failure.trap::<TimedOut>().map(|_| 0))
    /// }
    /// ```
    #[track_caller]
    pub fn add_errback<R, M>(self, f: impl FnOnce(Failure) -> R + 'static) -> Deferred<T>
    where
        R: IntoFlow<T, M>,
    {
        let place = Location::caller();
        self.link(place, move |outcome| match outcome {
            Ok(value) => Flow::Done(Ok(value)),
            Err(failure) => f(failure).into_flow(place),
        })
    }

    /// Goes on with what `f` makes of the outcome, whichever it is.
    ///
    /// ```
    /// # use ropewalk_reactor::{Deferred, Outcome};
    /// fn count(page: Deferred<String>) -> Deferred<usize> {
    ///     page.add_both(|outcome: Outcome<String>| outcome.map_or(0, |text| text.len()))
    /// }
    /// ```
    #[track_caller]
    pub fn add_both<U, R, M>(self, f: impl FnOnce(Outcome<T>) -> R + 'static) -> Deferred<U>
    where
        U: 'static,
        R: IntoFlow<U, M>,
    {
        let place = Location::caller();
        self.link(place, move |outcome| f(outcome).into_flow(place))
    }

    /// Goes on with what `f` makes of the value, or `g` of the failure. Unlike `add_callback(f).add_errback(g)`, here
    /// `g` never sees a failure of `f`.
    ///
    /// ```
    /// # use ropewalk_reactor::Deferred;
    /// fn report(job: Deferred<u32>) -> Deferred<String> {
    ///     job.add_callbacks(|lines| format!("{lines} lines"), |failure| failure.to_string())
    /// }
    /// ```
    #[track_caller]
    pub fn add_callbacks<U, R, M, S, N>(
        self,
        f: impl FnOnce(T) -> R + 'static,
        g: impl FnOnce(Failure) -> S + 'static,
    ) -> Deferred<U>
    where
        U: 'static,
        R: IntoFlow<U, M>,
        S: IntoFlow<U, N>,
    {
        let place = Location::caller();
        self.link(place, move |outcome| match outcome {
            Ok(value) => f(value).into_flow(place),
            Err(failure) => g(failure).into_flow(place),
        })
    }

    /// Lets the chain run without its holder: the same as dropping it, said aloud. A failure at its end is logged.
    pub fn detach(self) {
        drop(self);
    }

    /// Adds a node. An end that has its outcome already, and is not held back, runs it as one entry of its own.
    #[track_caller]
    pub(super) fn link<U: 'static>(
        mut self,
        place: Place,
        job: impl FnOnce(Outcome<T>) -> Flow<U> + 'static,
    ) -> Deferred<U> {
        let above = self.take_node();
        let step: Rc<dyn Step> = above.clone();
        let link = Link::new(job, &step, place);
        above.slot().attach(Next::Link(link.clone()));
        above.slot().notify(step, &self.reactor);
        let end = Deferred::over(link, self.reactor.clone());
        // The pauses belong to the holder of the end, wherever the end is.
        end.held.set(self.held.take());
        end
    }

    /// The last node, for what goes on from there. What remains is empty and does nothing when dropped. It was never
    /// polled: a deferred that was is pinned, and can be neither linked nor returned.
    pub(super) fn take_node(&mut self) -> Rc<dyn Source<T>> {
        self.node.take().expect("only what consumes a deferred takes its node")
    }

    /// As [`take_node`](Deferred::take_node), for a deferred that ends as a part of another: its pauses end, too, for
    /// nobody is left who could.
    pub(super) fn into_node(mut self) -> Rc<dyn Source<T>> {
        self.release();
        self.take_node()
    }
}

impl<T: 'static, E: Into<Box<dyn Error + Send + Sync>> + 'static> Deferred<Result<T, E>> {
    /// One layer less: an error that came as a value goes on as a failure.
    ///
    /// ```
    /// # use ropewalk_reactor::{Deferred, Reactor};
    /// fn read(reactor: &Reactor, path: &'static str) -> Deferred<String> {
    ///     reactor.defer_to_thread(move || std::fs::read_to_string(path)).flatten()
    /// }
    /// ```
    #[track_caller]
    pub fn flatten(self) -> Deferred<T> {
        let place = Location::caller();
        self.link(place, move |outcome| {
            Flow::Done(outcome.and_then(|value| value.map_err(|error| Failure::at(place, error))))
        })
    }
}

impl<T: 'static> Deferred<Outcome<T>> {
    /// One layer less: a failure that came as a value goes on as one.
    #[track_caller]
    pub fn flatten(self) -> Deferred<T> {
        self.link(Location::caller(), |outcome| Flow::Done(outcome.and_then(|value| value)))
    }
}
