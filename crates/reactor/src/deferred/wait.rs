//! A deferred as a future.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{Awaited, Deferred};
use crate::failure::Outcome;

impl<T: 'static> Deferred<T> {
    /// Whether awaiting it would give its outcome at once: the chain has run to this end, and nothing holds it back.
    ///
    /// ```
    /// # use ropewalk_reactor::{Deferred, Reactor, deferred};
    /// # let reactor = Reactor::new().unwrap();
    /// assert!(deferred::succeed(&reactor, 7).has_outcome());
    /// let (firing, waiting) = Deferred::<u8>::new(&reactor);
    /// assert!(!waiting.has_outcome());
    /// # drop(firing);
    /// # drop(waiting.add_errback(|_| 0));
    /// ```
    #[must_use]
    pub fn has_outcome(&self) -> bool {
        self.node().slot().is_ready()
    }
}

/// Awaiting takes the outcome; whoever fires the deferred wakes the task himself, without an entry on the ready queue.
///
/// To drop a deferred that is being awaited, with the future around it or in a `select!`, is to
/// [cancel](Deferred::cancel) it.
///
/// # Panics
/// When polled again after it has handed out its outcome, as futures do.
impl<T: 'static> Future for Deferred<T> {
    type Output = Outcome<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome<T>> {
        assert!(
            self.awaited.get() != Awaited::Done,
            "a deferred was polled after it had handed out its outcome"
        );
        let slot = self.node().slot();
        match slot.take() {
            Some(outcome) => {
                self.awaited.set(Awaited::Done);
                Poll::Ready(outcome)
            }
            None => {
                self.awaited.set(Awaited::Begun);
                slot.wait(context.waker());
                Poll::Pending
            }
        }
    }
}
