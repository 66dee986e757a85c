//! Waiting for time to pass: `sleep` for tasks, `defer_later` for chains, `with_timeout` around any future.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::deferred::{Deferred, IntoFlow};
use crate::failure::{Failure, Outcome, TimedOut};
use crate::name::Name;
use crate::reactor::Reactor;
use crate::time::Time;
use crate::timer::{DelayedCall, Due};

/// A future that is ready at its time. The timer runs from the call that made it; dropping it takes the timer away.
#[must_use = "it does nothing unless it is awaited"]
pub struct Sleep {
    timer: DelayedCall,
    nap: Rc<Nap>,
}

/// What a sleeper and the wheel know together.
#[derive(Default)]
pub(crate) struct Nap {
    over: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Nap {
    /// Its time has come.
    pub(crate) fn end(&self) {
        self.over.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Reactor {
    /// Waits, to the millisecond, never less.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ropewalk_reactor::Reactor;
    /// async fn countdown(reactor: Reactor) {
    ///     for number in (1..=3).rev() {
    ///         println!("{number}");
    ///         reactor.sleep(Duration::from_secs(1)).await;
    ///     }
    /// }
    /// ```
    #[track_caller]
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.now() + duration)
    }

    /// Waits until a time of this reactor's clock.
    #[track_caller]
    pub fn sleep_until(&self, time: Time) -> Sleep {
        let nap = Rc::new(Nap::default());
        let timer = self.insert_due(time, Due::Sleep(Name::here(), Rc::clone(&nap)));
        Sleep { timer, nap }
    }

    /// What `f` makes after `delay`: a value, a `Result`, another deferred. Cancelling takes the timer away.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ropewalk_reactor::{Deferred, Reactor};
    /// fn slow_greeting(reactor: &Reactor) -> Deferred<&'static str> {
    ///     reactor.defer_later(Duration::from_secs(2), || "hello, at last")
    /// }
    /// ```
    #[track_caller]
    pub fn defer_later<T, R, M>(&self, delay: Duration, f: impl FnOnce() -> R + 'static) -> Deferred<T>
    where
        T: 'static,
        R: IntoFlow<T, M>,
    {
        let timer: Rc<Cell<Option<DelayedCall>>> = Rc::default();
        let pending = Rc::clone(&timer);
        let (firing, deferred) = Deferred::with_canceller(self, move |_| {
            if let Some(timer) = pending.take() {
                // It may be firing now.
                let _ = timer.cancel();
            }
        });
        timer.set(Some(self.call_later(delay, move || {
            // It fails when the deferred was cancelled, and then nobody waits for it.
            let _ = firing.callback(());
        })));
        deferred.add_callback(move |()| f())
    }

    /// What `future` gives within `limit`; after that the future is dropped. For a deferred there is
    /// [`Deferred::add_timeout`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ropewalk_reactor::{Outcome, Reactor, Task};
    /// async fn impatient(reactor: Reactor, report: Task<String>) -> Outcome<String> {
    ///     reactor.with_timeout(Duration::from_secs(5), report).await?
    /// }
    /// ```
    ///
    /// # Errors
    /// [`TimedOut`].
    #[track_caller]
    pub fn with_timeout<F: Future>(
        &self,
        limit: Duration,
        future: F,
    ) -> impl Future<Output = Outcome<F::Output>> + use<F> {
        let (place, sleep) = (Location::caller(), self.sleep(limit));
        async move {
            let (mut future, mut sleep) = (pin!(future), pin!(sleep));
            poll_fn(|context| match future.as_mut().poll(context) {
                Poll::Ready(value) => Poll::Ready(Ok(value)),
                Poll::Pending => {
                    sleep.as_mut().poll(context).map(|()| Err(Failure::at(place, TimedOut { limit })))
                }
            })
            .await
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.nap.over.get() {
            return Poll::Ready(());
        }
        let waker = match self.nap.waker.take() {
            Some(known) if known.will_wake(context.waker()) => known,
            _ => context.waker().clone(),
        };
        self.nap.waker.set(Some(waker));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        // It may have fired.
        let _ = self.timer.cancel();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("over", &self.nap.over.get()).finish_non_exhaustive()
    }
}
