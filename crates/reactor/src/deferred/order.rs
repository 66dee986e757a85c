//! Many deferreds, one outcome after the other, as they come: Tornado's `WaitIterator`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::panic::Location;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use super::node::{self, Step};
use super::{Deferred, Flow};
use crate::Reactor;
use crate::failure::{Outcome, Place};

/// Hands out the outcomes of many deferreds in the order in which they come, each with the number of its deferred, from 0.
///
/// It is a [`Stream`], too. Dropping it cancels those that are outstanding.
///
/// ```
/// # use ropewalk_reactor::{Deferred, Outcome, Reactor};
/// use ropewalk_reactor::deferred::WaitIterator;
///
/// async fn progress(reactor: &Reactor, pages: Vec<Deferred<String>>) {
///     let mut pages = WaitIterator::new(reactor, pages);
///     while let Some((number, page)) = pages.next().await {
///         println!("page {number} has {} bytes", page.map_or(0, |text| text.len()));
///     }
/// }
/// ```
#[must_use = "dropping it cancels the deferreds"]
pub struct WaitIterator<T: 'static> {
    reactor: Reactor,
    place: Place,
    arrivals: Rc<Arrivals<T>>,
    members: Vec<Weak<dyn Step>>,
    outstanding: usize,
}

struct Arrivals<T> {
    queue: RefCell<VecDeque<(usize, Outcome<T>)>>,
    waker: Cell<Option<Waker>>,
}

impl<T: 'static> WaitIterator<T> {
    /// Waits for all of these.
    #[track_caller]
    pub fn new(reactor: &Reactor, deferreds: impl IntoIterator<Item = Deferred<T>>) -> WaitIterator<T> {
        let place = Location::caller();
        let arrivals = Rc::new(Arrivals { queue: RefCell::default(), waker: Cell::default() });
        let watch = |(index, deferred): (usize, Deferred<T>)| {
            let arrivals = Rc::clone(&arrivals);
            let end = deferred.link(place, move |outcome| {
                arrivals.queue.borrow_mut().push_back((index, outcome));
                if let Some(waker) = arrivals.waker.take() {
                    waker.wake();
                }
                Flow::Done(Ok(()))
            });
            let step: Rc<dyn Step> = end.node().clone();
            Rc::downgrade(&step)
        };
        let members: Vec<_> = deferreds.into_iter().enumerate().map(watch).collect();
        let outstanding = members.len();
        WaitIterator { reactor: reactor.clone(), place, arrivals, members, outstanding }
    }

    /// The outcome that comes next, and whose it is; `None` when all have come. To drop the future it answers loses nothing.
    pub async fn next(&mut self) -> Option<(usize, Outcome<T>)> {
        poll_fn(|context| self.poll_next_outcome(context)).await
    }

    /// How many have not been handed out.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    fn poll_next_outcome(&mut self, context: &mut Context<'_>) -> Poll<Option<(usize, Outcome<T>)>> {
        if self.outstanding == 0 {
            return Poll::Ready(None);
        }
        let arrived = self.arrivals.queue.borrow_mut().pop_front();
        if arrived.is_none() {
            self.arrivals.waker.set(Some(context.waker().clone()));
            return Poll::Pending;
        }
        self.outstanding -= 1;
        Poll::Ready(arrived)
    }
}

impl<T: 'static> Stream for WaitIterator<T> {
    type Item = (usize, Outcome<T>);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_next_outcome(context)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.outstanding, Some(self.outstanding))
    }
}

impl<T: 'static> Drop for WaitIterator<T> {
    fn drop(&mut self) {
        for member in self.members.drain(..) {
            if let Some(member) = member.upgrade() {
                node::cancel(member, &self.reactor, self.place);
            }
        }
    }
}

impl<T: 'static> fmt::Debug for WaitIterator<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitIterator").field("outstanding", &self.outstanding).finish_non_exhaustive()
    }
}
