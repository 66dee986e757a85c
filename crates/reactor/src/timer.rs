//! Timers that call a function: `call_later` with a handle, and `LoopingCall`, which counts the ticks it missed.
//! Deadlines of connections are entries of the same wheel; see `Reactor::insert_deadline`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::name::Name;
use crate::reactor::{Reactor, WeakReactor};
use crate::sleep::Nap;
use crate::source::Key;
use crate::time::Time;
use crate::wheel::TimerKey;

/// What the wheel carries.
pub(crate) enum Due {
    Source(Key),
    /// The name stands beside the box and not in it: a function that owns nothing needs no allocation.
    Call(Name, Box<dyn FnOnce()>),
    Sleep(Name, Rc<Nap>),
}

/// A call that is to come. Dropping the handle changes nothing: the call still happens.
#[derive(Clone)]
pub struct DelayedCall {
    reactor: Reactor,
    key: TimerKey,
}

/// The call has already happened, or was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotActive;

impl std::fmt::Display for NotActive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the delayed call has already happened or was cancelled")
    }
}

impl std::error::Error for NotActive {}

impl Reactor {
    /// Calls `call` after `delay`, counted from [`Reactor::now`], never earlier, to the millisecond. Calls of one
    /// millisecond keep their order.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ropewalk_reactor::Reactor;
    /// let reactor = Reactor::new()?;
    /// let stopper = reactor.clone();
    /// let call = reactor.call_later(Duration::from_millis(1), move || stopper.stop());
    /// assert!(call.active());
    /// reactor.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn call_later(&self, delay: Duration, call: impl FnOnce() + 'static) -> DelayedCall {
        self.call_at_named(Name::here(), self.now() + delay, call)
    }

    /// The same at a point in time.
    #[track_caller]
    pub fn call_at(&self, at: Time, call: impl FnOnce() + 'static) -> DelayedCall {
        self.call_at_named(Name::here(), at, call)
    }

    /// The same under a name.
    pub fn call_at_named(&self, name: Name, at: Time, call: impl FnOnce() + 'static) -> DelayedCall {
        self.insert_due(at, Due::Call(name, Box::new(call)))
    }

    pub(crate) fn insert_due(&self, at: Time, due: Due) -> DelayedCall {
        let key = self.0.wheel.borrow_mut().insert(at.as_millis_ceil(), due);
        DelayedCall { reactor: self.clone(), key }
    }
}

impl DelayedCall {
    /// Whether it is still to come.
    #[must_use]
    pub fn active(&self) -> bool {
        self.time().is_some()
    }

    /// When it is due; `None` once it has happened or was cancelled.
    #[must_use]
    pub fn time(&self) -> Option<Time> {
        let tick = self.reactor.0.wheel.borrow().deadline(self.key)?;
        Some(Time::from_nanos(tick.saturating_mul(1_000_000)))
    }

    /// Cancels it. The function is dropped.
    ///
    /// # Errors
    /// It has already happened or was cancelled.
    pub fn cancel(&self) -> Result<(), NotActive> {
        let due = self.reactor.0.wheel.borrow_mut().cancel(self.key);
        due.map(drop).ok_or(NotActive)
    }

    /// Puts it off by `longer`.
    ///
    /// # Errors
    /// It has already happened or was cancelled.
    pub fn delay(&self, longer: Duration) -> Result<(), NotActive> {
        let at = self.time().ok_or(NotActive)? + longer;
        self.reset_at(at)
    }

    /// Makes it come `from_now` from now, earlier or later than before.
    ///
    /// # Errors
    /// It has already happened or was cancelled.
    pub fn reset(&self, from_now: Duration) -> Result<(), NotActive> {
        self.reset_at(self.reactor.now() + from_now)
    }

    fn reset_at(&self, at: Time) -> Result<(), NotActive> {
        let moved = self.reactor.0.wheel.borrow_mut().reset(self.key, at.as_millis_ceil());
        if moved { Ok(()) } else { Err(NotActive) }
    }
}

/// Calls a function again and again, at multiples of its interval after the start. A tick that could not be kept is not made
/// up for; it is counted.
#[derive(Clone)]
pub struct LoopingCall(Rc<Looping>);

type Tick = Box<dyn FnMut(u64)>;

struct Looping {
    /// Not strong: the function mostly holds this very call, to stop it from within.
    reactor: WeakReactor,
    name: Name,
    /// Taken out while it runs.
    call: RefCell<Option<Tick>>,
    interval: Cell<Duration>,
    started: Cell<Time>,
    /// Whether the start itself was a tick.
    at_once: Cell<bool>,
    /// Ticks since the start that calls were told of.
    told: Cell<u64>,
    next: Cell<TimerKey>,
    running: Cell<bool>,
    /// Counts starts and stops, so that a call that starts anew from within itself is scheduled once.
    epoch: Cell<u64>,
}

impl LoopingCall {
    /// Makes one; `call` gets the number of ticks since its last call: 1 when it keeps up, more when ticks were missed.
    /// It may hold the looping call itself, to stop it from within; the end of the loop lets go of a function that waits
    /// for its next tick.
    ///
    /// ```
    /// use std::{cell::RefCell, rc::Rc, time::Duration};
    /// use ropewalk_reactor::{LoopingCall, Simulation};
    /// let simulation = Simulation::new(1);
    /// let ticks = Rc::new(RefCell::new(Vec::new()));
    /// let seen = ticks.clone();
    /// let looping = LoopingCall::new(simulation.reactor(), move |count| seen.borrow_mut().push(count));
    /// looping.start(Duration::from_secs(1), true);
    /// simulation.advance(Duration::from_secs(3));
    /// assert_eq!(*ticks.borrow(), [1, 1, 1, 1]);
    /// ```
    #[track_caller]
    pub fn new(reactor: &Reactor, call: impl FnMut(u64) + 'static) -> LoopingCall {
        LoopingCall(Rc::new(Looping {
            reactor: reactor.downgrade(),
            name: Name::here(),
            call: RefCell::new(Some(Box::new(call))),
            interval: Cell::new(Duration::ZERO),
            started: Cell::new(reactor.now()),
            at_once: Cell::new(false),
            told: Cell::new(0),
            next: Cell::new(TimerKey::NONE),
            running: Cell::new(false),
            epoch: Cell::new(0),
        }))
    }

    /// Begins: the first call as soon as the loop comes to its timers if `now`, else after one interval. Starting again
    /// what runs begins anew. An interval under a millisecond counts as one. A reactor that has ended starts nothing.
    pub fn start(&self, interval: Duration, now: bool) {
        self.stop();
        let looping = &self.0;
        let Some(reactor) = looping.reactor.upgrade().filter(|reactor| !reactor.is_stopped()) else { return };
        looping.interval.set(interval.max(Duration::from_millis(1)));
        looping.started.set(reactor.now());
        looping.at_once.set(now);
        looping.told.set(0);
        looping.running.set(true);
        self.schedule(&reactor);
    }

    /// Ends it; also from within the call.
    pub fn stop(&self) {
        self.0.running.set(false);
        self.0.epoch.set(self.0.epoch.get() + 1);
        let next = self.0.next.replace(TimerKey::NONE);
        if let Some(reactor) = self.0.reactor.upgrade() {
            // It may be the very call that runs now: then the key fits nothing.
            let due = reactor.0.wheel.borrow_mut().cancel(next);
            drop(due);
        }
    }

    /// Skips what remains of this interval: the next call comes one whole interval from now.
    pub fn reset(&self) {
        if self.0.running.get() {
            self.start(self.0.interval.get(), false);
        }
    }

    /// Whether it is started.
    #[must_use]
    pub fn running(&self) -> bool {
        self.0.running.get()
    }

    /// Puts in the call for the first tick that no call was told of.
    fn schedule(&self, reactor: &Reactor) {
        let looping = &self.0;
        let whole = looping.told.get() + u64::from(!looping.at_once.get());
        // Not `Duration`'s own product, which takes 32 bits: at a millisecond each, they are full after 49 days.
        let after = looping.interval.get().as_nanos().saturating_mul(u128::from(whole));
        let at = looping.started.get() + Duration::from_nanos(u64::try_from(after).unwrap_or(u64::MAX));
        let tick = NextTick(self.clone());
        looping.next.set(reactor.call_at_named(looping.name, at, move || tick.0.fire()).key);
    }

    fn fire(&self) {
        let looping = &self.0;
        let Some(reactor) = looping.reactor.upgrade() else { return };
        let Some(mut call) = looping.call.borrow_mut().take() else { return };
        let elapsed = reactor.now().since(looping.started.get());
        let whole = elapsed.as_nanos() / looping.interval.get().as_nanos().max(1);
        let due = u64::try_from(whole).unwrap_or(u64::MAX).saturating_add(u64::from(looping.at_once.get()));
        let count = due.saturating_sub(looping.told.replace(due)).max(1);
        let epoch = looping.epoch.get();
        // The guard puts the function back even when it panics; the loop reports the panic, and the ticks go on.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| call(count)));
        *looping.call.borrow_mut() = Some(call);
        if looping.running.get() && looping.epoch.get() == epoch {
            self.schedule(&reactor);
        }
        if let Err(payload) = outcome {
            std::panic::resume_unwind(payload);
        }
    }
}

/// The entry in the wheel. When the loop ends and lets go of it, it lets go of the function, which mostly holds the looping
/// call that holds it.
struct NextTick(LoopingCall);

impl Drop for NextTick {
    fn drop(&mut self) {
        let looping = &self.0.0;
        if looping.reactor.upgrade().is_none_or(|reactor| reactor.is_stopped()) {
            looping.running.set(false);
            let call = looping.call.borrow_mut().take();
            drop(call);
        }
    }
}
