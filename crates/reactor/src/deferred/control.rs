//! Cancelling a chain, holding it back, giving it a limit, letting go of it.

use std::cell::Cell;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::node::{self, Step};
use super::{Awaited, Deferred, Flow, Held};
use crate::failure::{Cancelled, Failure, TimedOut};
use crate::{DelayedCall, Reactor};

impl<T: 'static> Deferred<T> {
    /// Gives up what the chain waits for: the deferred at its head, or the one that a callback returned and that the
    /// chain is waiting for, and so on inward.
    ///
    /// That one's canceller runs, and it fails as [`Cancelled`] unless the canceller has given it another outcome. The
    /// chain then runs with that, as after any firing. One that has fired is not changed by this.
    ///
    /// ```
    /// # use ropewalk_reactor::{Deferred, Reactor};
    /// # use ropewalk_reactor::failure::Cancelled;
    /// fn give_up(search: Deferred<String>) -> Deferred<String> {
    ///     search.cancel();
    ///     search.add_errback(|failure| failure.trap::<Cancelled>().map(|_| String::from("never mind")))
    /// }
    /// ```
    #[track_caller]
    pub fn cancel(&self) {
        let node = self.node();
        node.gate().asked.set(true);
        node::cancel(node.clone(), &self.reactor, Location::caller());
    }

    /// Lets no further link of this chain run until [`unpause`](Deferred::unpause) was called as often as this. A
    /// callback that runs is not interrupted, and firing is possible meanwhile.
    ///
    /// The pauses belong to this holder: they end when the deferred is dropped or returned from a callback. They stay
    /// when links are added.
    ///
    /// ```
    /// # use ropewalk_reactor::Deferred;
    /// fn hold(lines: &Deferred<Vec<String>>) {
    ///     lines.pause();
    /// }
    /// ```
    pub fn pause(&self) {
        let held = self.held.take();
        let Held { front, pauses } =
            held.unwrap_or_else(|| Held { front: node::front(self.node().clone()), pauses: 0 });
        front.gate().paused.set(true);
        self.held.set(Some(Held { front, pauses: pauses + 1 }));
    }

    /// Takes one [`pause`](Deferred::pause) back; after the last the chain goes on, as an entry of its own. Without a
    /// pause it does nothing.
    pub fn unpause(&self) {
        match self.held.take() {
            Some(Held { front, pauses }) if pauses > 1 => {
                self.held.set(Some(Held { front, pauses: pauses - 1 }));
            }
            held => {
                self.held.set(held);
                self.release();
            }
        }
    }

    /// Takes all pauses back.
    pub(super) fn release(&self) {
        if let Some(Held { front, .. }) = self.held.take() {
            front.gate().paused.set(false);
            front.notify(&self.reactor);
        }
    }

    /// Cancels the chain, as it is here, when it has taken `limit`; the failure is then [`TimedOut`]. Links that are
    /// added later have their own time.
    ///
    /// ```
    /// # use ropewalk_reactor::Deferred;
    /// # use std::time::Duration;
    /// fn soon(page: Deferred<String>) -> Deferred<String> {
    ///     page.add_timeout(Duration::from_secs(30))
    /// }
    /// ```
    #[track_caller]
    pub fn add_timeout(self, limit: Duration) -> Deferred<T> {
        let place = Location::caller();
        let timeout = Rc::new(Timeout::default());
        let timed = {
            let timeout = timeout.clone();
            self.link(place, move |outcome| {
                let expired = timeout.stop() && matches!(&outcome, Err(failure) if failure.is::<Cancelled>());
                Flow::Done(if expired { Err(Failure::at(place, TimedOut { limit })) } else { outcome })
            })
        };
        let step: Rc<dyn Step> = timed.node().clone();
        let (end, reactor): (Weak<dyn Step>, Reactor) = (Rc::downgrade(&step), timed.reactor.clone());
        let expiry = timeout.clone();
        let call = timed.reactor.call_later(limit, move || {
            expiry.expired.set(true);
            if let Some(end) = end.upgrade() {
                node::cancel(end, &reactor, place);
            }
        });
        timeout.call.set(Some(call));
        timed
    }
}

/// What a timeout's link and its timer know together.
#[derive(Default)]
struct Timeout {
    call: Cell<Option<DelayedCall>>,
    expired: Cell<bool>,
}

impl Timeout {
    /// Stops the timer; answers whether it came first.
    fn stop(&self) -> bool {
        if let Some(call) = self.call.take() {
            // It may be the very timer that fires now.
            let _ = call.cancel();
        }
        self.expired.get()
    }
}

impl<T: 'static> Drop for Deferred<T> {
    /// A chain runs without its holder. But one that is being awaited has nobody else to run for: it is cancelled.
    fn drop(&mut self) {
        if self.node.is_none() {
            return;
        }
        if self.awaited.get() == Awaited::Begun {
            self.cancel();
        }
        self.release();
        if let Some(node) = self.node.take() {
            node::bury(node);
        }
    }
}
