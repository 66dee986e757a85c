//! The pool: which connections there are, which of them are kept, and who gets the next one.
//!
//! It makes none and speaks to none. A request [asks](Pool::checkout) and is given a kept connection, a place on a busy one
//! where pipelining was asked for, or a [`Slot`]: the right to make one. Requests wait in one line, first come first served; one
//! whose host is full is passed over by those behind it, and by nobody else.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use super::connection::Connection;
use super::error::ClientError;
use super::exchange::Exchange;
use super::options::PoolLimits;
use super::url::Origin;

/// Whose connections are alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// To this server, directly or through a tunnel.
    Origin(Origin),
    /// To the proxy, which is told of each request where it goes.
    Proxy(Origin),
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Want {
    /// Not a kept one: the request was lost on one before.
    pub(super) fresh: bool,
    /// It may go behind others on one connection.
    pub(super) pipelined: bool,
}

/// What it is given.
pub(super) enum Grant {
    Kept(Lease),
    Make(Slot),
}

/// What an agent's connections are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentStatistics {
    /// Connections that stand or are being made.
    pub open: usize,
    /// Those of them that are kept without a request.
    pub idle: usize,
    /// Requests that wait for one.
    pub waiting: usize,
    /// Connections made so far.
    pub made: u64,
    /// Requests sent on a connection that had served one before.
    pub reused: u64,
    /// Requests sent again, because the connection that was kept had ended.
    pub resent: u64,
    /// Requests that were answered, each hop of a redirect on its own.
    pub answered: u64,
}

pub(super) struct Pool {
    pub(super) limits: PoolLimits,
    inner: RefCell<Inner>,
    /// Being handed out: a place that comes free meanwhile is seen by the loop that runs.
    handing: Cell<bool>,
    /// Some place has come free since.
    again: Cell<bool>,
    pub(super) made: Cell<u64>,
    pub(super) reused: Cell<u64>,
    pub(super) resent: Cell<u64>,
    pub(super) answered: Cell<u64>,
}

#[derive(Default)]
struct Inner {
    hosts: BTreeMap<Key, Host>,
    open: usize,
    waiting: VecDeque<Rc<Waiter>>,
    closed: bool,
}

#[derive(Default)]
struct Host {
    open: usize,
    /// The one that rested last is taken first: those at the front get old and go.
    idle: Vec<Rc<Connection>>,
    all: Vec<Weak<Connection>>,
}

struct Waiter {
    key: Key,
    want: Want,
    grant: RefCell<Option<Grant>>,
    waker: RefCell<Option<Waker>>,
    /// A kept connection was closed for it; it waits for that one's place.
    evicted: Cell<bool>,
}

impl Pool {
    pub(super) fn new(mut limits: PoolLimits) -> Rc<Pool> {
        // With none at all, every request would wait for ever.
        limits.per_host_max = limits.per_host_max.max(1);
        limits.total_max = limits.total_max.max(1);
        Rc::new(Pool {
            limits,
            inner: RefCell::default(),
            handing: Cell::new(false),
            again: Cell::new(false),
            made: Cell::new(0),
            reused: Cell::new(0),
            resent: Cell::new(0),
            answered: Cell::new(0),
        })
    }

    /// Waits for a connection. Dropping the future leaves the line.
    pub(super) async fn checkout(self: &Rc<Self>, key: Key, want: Want) -> Result<Grant, ClientError> {
        let waiter = Rc::new(Waiter {
            key,
            want,
            grant: RefCell::default(),
            waker: RefCell::default(),
            evicted: Cell::new(false),
        });
        {
            let mut inner = self.inner.borrow_mut();
            if inner.closed {
                return Err(ClientError::Closed);
            }
            if inner.waiting.len() >= self.limits.waiting_max {
                return Err(ClientError::QueueFull);
            }
            inner.waiting.push_back(Rc::clone(&waiter));
        }
        let place = Place { pool: Rc::clone(self), waiter };
        self.hand_out();
        poll_fn(|context| {
            if let Some(grant) = place.waiter.grant.take() {
                return Poll::Ready(Ok(grant));
            }
            if self.inner.borrow().closed {
                return Poll::Ready(Err(ClientError::Closed));
            }
            *place.waiter.waker.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Gives what is free to those who wait, in their order.
    fn hand_out(self: &Rc<Self>) {
        self.again.set(true);
        if self.handing.replace(true) {
            return;
        }
        while self.again.replace(false) {
            let mut at = 0;
            loop {
                let waiter = self.inner.borrow().waiting.get(at).cloned();
                let Some(waiter) = waiter else { break };
                let Some(grant) = self.try_grant(&waiter) else {
                    at += 1;
                    continue;
                };
                self.inner.borrow_mut().waiting.retain(|other| !Rc::ptr_eq(other, &waiter));
                *waiter.grant.borrow_mut() = Some(grant);
                let waker = waiter.waker.take();
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
        }
        self.handing.set(false);
    }

    fn try_grant(self: &Rc<Self>, waiter: &Waiter) -> Option<Grant> {
        let Waiter { key, want, .. } = waiter;
        if !want.fresh
            && let Some(connection) = self.take_kept(key, *want)
        {
            return Some(Grant::Kept(Lease::new(connection, self, *want)));
        }
        let mut inner = self.inner.borrow_mut();
        let total_full = inner.open >= self.limits.total_max;
        let host_full = inner.hosts.get(key).map_or(0, |host| host.open) >= self.limits.per_host_max;
        if !host_full && !total_full {
            inner.hosts.entry(key.clone()).or_default().open += 1;
            inner.open += 1;
            return Some(Grant::Make(Slot { pool: Rc::downgrade(self), key: key.clone() }));
        }
        if !waiter.evicted.get() {
            // A kept one that is of no use here makes room. Its place comes free when it is closed.
            let victim =
                if host_full { oldest(inner.hosts.get_mut(key)) } else { oldest(inner.hosts.values_mut()) };
            drop(inner);
            if let Some(victim) = victim {
                waiter.evicted.set(true);
                victim.close();
            }
        }
        None
    }

    fn take_kept(&self, key: &Key, want: Want) -> Option<Rc<Connection>> {
        let mut inner = self.inner.borrow_mut();
        let host = inner.hosts.get_mut(key)?;
        while let Some(connection) = host.idle.pop() {
            if connection.is_usable() {
                return Some(connection);
            }
        }
        let most = self.limits.pipeline_max;
        let all = want.pipelined.then(|| host.all.iter().filter_map(Weak::upgrade))?;
        all.into_iter().find(|connection| connection.can_share(most))
    }

    /// A connection that was made takes its place among its host's.
    pub(super) fn enrol(&self, connection: &Rc<Connection>) {
        self.made.set(self.made.get() + 1);
        let mut inner = self.inner.borrow_mut();
        if let Some(host) = inner.hosts.get_mut(&connection.key) {
            host.all.retain(|known| known.strong_count() > 0);
            host.all.push(Rc::downgrade(connection));
        }
    }

    /// A connection is without a request: kept, or given to whoever waits.
    pub(super) fn keep(self: &Rc<Self>, connection: &Rc<Connection>) {
        {
            let mut inner = self.inner.borrow_mut();
            if inner.closed {
                drop(inner);
                return connection.close();
            }
            if let Some(host) = inner.hosts.get_mut(&connection.key) {
                host.idle.push(Rc::clone(connection));
            }
        }
        self.hand_out();
    }

    /// A connection is gone.
    pub(super) fn forget(&self, connection: &Rc<Connection>) {
        let mut inner = self.inner.borrow_mut();
        if let Some(host) = inner.hosts.get_mut(&connection.key) {
            host.idle.retain(|known| !Rc::ptr_eq(known, connection));
        }
    }

    fn leave(self: &Rc<Self>, key: &Key) {
        {
            let mut inner = self.inner.borrow_mut();
            inner.open -= 1;
            if let Some(host) = inner.hosts.get_mut(key) {
                host.open -= 1;
                if host.open == 0 {
                    inner.hosts.remove(key);
                }
            }
            // Whoever this place was made free for may not be the one who gets it.
            inner.waiting.iter().for_each(|waiter| waiter.evicted.set(false));
        }
        self.hand_out();
    }

    /// Closes what is kept, and gives nothing out any more. Requests on their way come to their end.
    pub(super) fn close(&self) {
        let (kept, waiting) = {
            let mut inner = self.inner.borrow_mut();
            inner.closed = true;
            let kept: Vec<_> =
                inner.hosts.values_mut().flat_map(|host| std::mem::take(&mut host.idle)).collect();
            (kept, std::mem::take(&mut inner.waiting))
        };
        kept.iter().for_each(|connection| connection.close());
        waiting.iter().filter_map(|waiter| waiter.waker.take()).for_each(Waker::wake);
    }

    pub(super) fn statistics(&self) -> AgentStatistics {
        let inner = self.inner.borrow();
        AgentStatistics {
            open: inner.open,
            idle: inner.hosts.values().map(|host| host.idle.len()).sum(),
            waiting: inner.waiting.len(),
            made: self.made.get(),
            reused: self.reused.get(),
            resent: self.resent.get(),
            answered: self.answered.get(),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

/// Takes out the connection that has rested longest.
fn oldest<'a>(hosts: impl IntoIterator<Item = &'a mut Host>) -> Option<Rc<Connection>> {
    let host = hosts.into_iter().filter(|host| !host.idle.is_empty());
    let host = host.min_by_key(|host| host.idle.first().map(|connection| connection.idle_since.get()))?;
    Some(host.idle.remove(0))
}

/// A place in the line.
struct Place {
    pool: Rc<Pool>,
    waiter: Rc<Waiter>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pool.inner.borrow_mut().waiting.retain(|other| !Rc::ptr_eq(other, &self.waiter));
        // What it was given and did not take goes back.
        let grant = self.waiter.grant.take();
        drop(grant);
    }
}

/// The right to one connection more. Dropping it gives the place back.
pub(super) struct Slot {
    pool: Weak<Pool>,
    key: Key,
}

impl Slot {
    pub(super) fn key(&self) -> &Key {
        &self.key
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.leave(&self.key);
        }
    }
}

/// A connection that is promised to one request. Dropping it unused gives the connection back.
pub(super) struct Lease {
    connection: Rc<Connection>,
    pool: Rc<Pool>,
}

impl Lease {
    pub(super) fn new(connection: Rc<Connection>, pool: &Rc<Pool>, want: Want) -> Lease {
        connection.claims.set(connection.claims.get() + 1);
        if !want.pipelined {
            connection.plain.set(true);
        }
        Lease { connection, pool: Rc::clone(pool) }
    }

    /// Sends a request.
    pub(super) fn begin(self, exchange: &Rc<Exchange>, head: &[u8]) {
        if self.connection.is_kept() {
            self.pool.reused.set(self.pool.reused.get() + 1);
        }
        self.connection.begin(exchange, head);
    }

    /// Whether a request was answered on it before.
    pub(super) fn is_kept(&self) -> bool {
        self.connection.is_kept()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let claims = self.connection.claims.get() - 1;
        self.connection.claims.set(claims);
        self.connection.unclaimed();
    }
}
