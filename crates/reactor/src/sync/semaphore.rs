//! Tokens, of which there are so many: the semaphore; and the lock, which is a semaphore with one.

use std::cell::Cell;
use std::fmt;
use std::rc::{Rc, Weak};

use super::waiters::{Waiters, served};
use crate::Reactor;
use crate::deferred::{Deferred, IntoFlow, Line, maybe_deferred};
use crate::failure::Outcome;

/// Lets so many at once, and no more.
///
/// A token is given back when its [`Permit`] is dropped, so it cannot be forgotten. Clones are one semaphore.
///
/// ```
/// # use ropewalk_reactor::{Deferred, Outcome, Reactor};
/// use ropewalk_reactor::sync::DeferredSemaphore;
///
/// # fn get(_: &str) -> Deferred<String> { unimplemented!() }
/// fn fetch(six_at_once: &DeferredSemaphore, page: &'static str) -> Deferred<String> {
///     six_at_once.run(move || get(page))
/// }
///
/// async fn careful(six_at_once: &DeferredSemaphore) -> Outcome<()> {
///     let permit = six_at_once.acquire().await?;
///     // …
///     drop(permit);
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct DeferredSemaphore(Rc<Inner>);

struct Inner {
    reactor: Reactor,
    tokens: Cell<usize>,
    limit: usize,
    waiters: Waiters<Permit>,
}

/// A token of a semaphore, or the key of a lock: dropping it gives it back.
#[must_use = "dropping it gives it back at once"]
pub struct Permit(Rc<Inner>);

impl DeferredSemaphore {
    /// A semaphore with this many tokens.
    #[must_use]
    pub fn new(reactor: &Reactor, tokens: usize) -> DeferredSemaphore {
        DeferredSemaphore(Rc::new(Inner {
            reactor: reactor.clone(),
            tokens: Cell::new(tokens),
            limit: tokens,
            waiters: Waiters::default(),
        }))
    }

    /// A token, when there is one.
    #[track_caller]
    pub fn acquire(&self) -> Deferred<Permit> {
        match self.try_acquire() {
            Some(permit) => served(&self.0.reactor, self.0.line(), permit),
            None => self.0.waiters.stand(&self.0.reactor, self.0.line(), ()),
        }
    }

    /// A token if there is one now.
    pub fn try_acquire(&self) -> Option<Permit> {
        // Tokens are free only while nobody waits.
        self.0.take()
    }

    /// Calls `f` with a token in hand, and gives it back when what `f` answers has its outcome.
    #[track_caller]
    pub fn run<T, R, M>(&self, f: impl FnOnce() -> R + 'static) -> Deferred<T>
    where
        T: 'static,
        R: IntoFlow<T, M>,
    {
        let reactor = self.0.reactor.clone();
        self.acquire().add_callback(move |permit| {
            maybe_deferred(&reactor, f).add_both(move |outcome: Outcome<T>| -> Outcome<T> {
                drop(permit);
                outcome
            })
        })
    }

    /// Tokens that are free.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.0.tokens.get()
    }

    /// Tokens there are, free or not.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// How many wait for one.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.waiters.len()
    }
}

impl Inner {
    fn line(self: &Rc<Self>) -> Weak<dyn Line<Permit>> {
        let line: Weak<Inner> = Rc::downgrade(self);
        line
    }

    fn take(self: &Rc<Self>) -> Option<Permit> {
        let tokens = self.tokens.get().checked_sub(1)?;
        self.tokens.set(tokens);
        Some(Permit(Rc::clone(self)))
    }
}

impl Line<Permit> for Inner {
    fn leave(&self, ticket: u64) {
        self.waiters.leave(ticket);
    }

    fn returned(&self, permit: Permit) {
        drop(permit);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.tokens.set(self.0.tokens.get() + 1);
        self.0.waiters.serve(|| self.0.take());
    }
}

/// Lets one at a time. Clones are one lock.
///
/// ```
/// # use ropewalk_reactor::{Deferred, Reactor};
/// use ropewalk_reactor::sync::DeferredLock;
///
/// # fn write(_: &str) -> Deferred<()> { unimplemented!() }
/// fn append(lock: &DeferredLock, line: &'static str) -> Deferred<()> {
///     lock.run(move || write(line))
/// }
/// ```
#[derive(Clone)]
pub struct DeferredLock(DeferredSemaphore);

impl DeferredLock {
    /// A lock that nobody holds.
    #[must_use]
    pub fn new(reactor: &Reactor) -> DeferredLock {
        DeferredLock(DeferredSemaphore::new(reactor, 1))
    }

    /// The lock, when nobody before holds it; it is let go when the [`Permit`] is dropped.
    #[track_caller]
    pub fn acquire(&self) -> Deferred<Permit> {
        self.0.acquire()
    }

    /// The lock if nobody holds it now.
    pub fn try_acquire(&self) -> Option<Permit> {
        self.0.try_acquire()
    }

    /// Calls `f` with the lock held, until what `f` answers has its outcome.
    #[track_caller]
    pub fn run<T, R, M>(&self, f: impl FnOnce() -> R + 'static) -> Deferred<T>
    where
        T: 'static,
        R: IntoFlow<T, M>,
    {
        self.0.run(f)
    }

    /// Whether somebody holds it.
    #[must_use]
    pub fn locked(&self) -> bool {
        self.0.tokens() == 0
    }

    /// How many wait for it.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.waiting()
    }
}

impl fmt::Debug for DeferredSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeferredSemaphore")
            .field("tokens", &self.tokens())
            .field("limit", &self.limit())
            .field("waiting", &self.waiting())
            .finish()
    }
}

impl fmt::Debug for DeferredLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeferredLock")
            .field("locked", &self.locked())
            .field("waiting", &self.waiting())
            .finish()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
