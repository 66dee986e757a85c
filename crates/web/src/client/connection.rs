//! One connection of a client: requests go out in order, answers come in order, and what may follow is decided at each end.
//!
//! `Connection` is what the pool and the requests hold; `Speaker` is its protocol, which the loop calls. Neither runs code
//! of the user's but a body's stream, which is taken out for the call. What an answer is, is `ropewalk_wire`'s business; who
//! gets the connection next is the pool's. The way out is in `sending`, the way in begins in `speaker`.

mod sending;
mod speaker;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ropewalk_net::{Lost, Transport};
use ropewalk_reactor::{Reactor, Time};
use ropewalk_wire::http1::{Framing, ResponseHead, ResponseLimits, Version};

use super::error::{ClientError, Phase};
use super::exchange::{Answered, Exchange, Fate};
use super::pool::{Key, Pool, Slot};
use speaker::Speaker;

pub(super) struct Connection {
    pub(super) reactor: Reactor,
    pub(super) key: Key,
    pool: Weak<Pool>,
    limits: ResponseLimits,
    transport: RefCell<Option<Transport>>,
    waker: OnceCell<Waker>,
    /// Requests that were sent, the next to be answered first.
    queue: RefCell<VecDeque<Rc<Exchange>>>,
    slot: RefCell<Option<Slot>>,
    /// It is being made: a tunnel, a handshake.
    opening: Cell<bool>,
    /// Why it is gone.
    lost: RefCell<Option<Lost>>,
    /// Who makes it, and wants to know that.
    opener: RefCell<Option<Waker>>,
    /// No further request may follow.
    last: Cell<bool>,
    /// Answers that have come to their end.
    served: Cell<u32>,
    /// The server may be sent several requests at once.
    http11: Cell<bool>,
    idle: Cell<Duration>,
    /// Requests that have it and were not sent yet.
    pub(super) claims: Cell<usize>,
    /// One of them wants to be alone.
    pub(super) plain: Cell<bool>,
    pub(super) idle_since: Cell<Time>,
}

impl Connection {
    pub(super) fn new(
        reactor: &Reactor,
        pool: &Rc<Pool>,
        slot: Slot,
        limits: ResponseLimits,
    ) -> Rc<Connection> {
        Rc::new(Connection {
            reactor: reactor.clone(),
            key: slot.key().clone(),
            pool: Rc::downgrade(pool),
            limits,
            transport: RefCell::default(),
            waker: OnceCell::new(),
            queue: RefCell::default(),
            slot: RefCell::new(Some(slot)),
            opening: Cell::new(true),
            lost: RefCell::default(),
            opener: RefCell::default(),
            last: Cell::new(false),
            served: Cell::new(0),
            http11: Cell::new(false),
            idle: Cell::new(pool.limits.idle),
            claims: Cell::new(0),
            plain: Cell::new(true),
            idle_since: Cell::new(Time::START),
        })
    }

    /// The protocol of this connection, for the one transport that comes of connecting.
    pub(super) fn speaker(self: &Rc<Self>) -> Speaker {
        Speaker { connection: Rc::clone(self), decoder: None }
    }

    fn transport(&self) -> Option<Transport> {
        self.transport.borrow().clone()
    }

    /// Whether a request may be sent on it.
    pub(super) fn is_usable(&self) -> bool {
        !self.last.get() && self.transport.borrow().as_ref().is_some_and(|transport| !transport.is_closing())
    }

    /// Whether a request may be sent behind those that are on their way.
    pub(super) fn can_share(&self, most: usize) -> bool {
        self.is_usable()
            && !self.plain.get()
            && self.http11.get()
            && self.served.get() > 0
            && self.claims.get() + self.queue.borrow().len() < most
    }

    /// Whether a request was answered on it before.
    pub(super) fn is_kept(&self) -> bool {
        self.served.get() > 0
    }

    /// While it is being made: waits until it is lost.
    pub(super) fn poll_lost(&self, context: &mut Context<'_>) -> Poll<Lost> {
        if let Some(lost) = &*self.lost.borrow() {
            return Poll::Ready(lost.clone());
        }
        *self.opener.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }

    /// It is made: requests may come.
    pub(super) fn opened(&self) {
        self.opening.set(false);
        // What a proxy said of its tunnel is not said of what goes through it.
        self.last.set(false);
        self.served.set(0);
        self.plain.set(false);
        self.idle_since.set(self.reactor.now());
        if let Some(pool) = self.pool.upgrade() {
            self.idle.set(pool.limits.idle);
        }
    }

    /// Nobody wants it any more: closed in an orderly way.
    pub(super) fn close(&self) {
        self.last.set(true);
        if let Some(transport) = self.transport() {
            transport.lose_connection();
        }
    }

    /// Broken off: what is on its way is lost.
    pub(super) fn abort(&self) {
        self.last.set(true);
        if let Some(transport) = self.transport() {
            transport.abort_connection();
        }
    }

    // The way in.

    fn front(&self) -> Option<Rc<Exchange>> {
        self.queue.borrow().front().cloned()
    }

    /// A final head has come: what it says of the connection, and of what is still to be sent.
    fn head(&self, exchange: &Exchange, head: ResponseHead, framing: Framing, keep_alive: bool) {
        let now = self.reactor.now();
        self.http11.set(head.version() == Version::Http11);
        if !keep_alive || head.requests_left() == Some(0) {
            self.last.set(true);
        }
        if let Some(pool) = self.pool.upgrade() {
            // A second less: closing at the same moment as the server is how requests are lost.
            let hint =
                head.idle_seconds().map(|seconds| Duration::from_secs(u64::from(seconds.saturating_sub(1))));
            self.idle.set(hint.map_or(pool.limits.idle, |hint| hint.min(pool.limits.idle)));
        }
        let held_back = exchange.continues_at.take().is_some();
        let refused = head.status() >= 400 || held_back;
        if refused && !exchange.outgoing.borrow().is_done() {
            // RFC 9110 10.1.1, RFC 9112 9.3: the server does not want the body; where it ends, nobody knows any more.
            drop(exchange.outgoing.take());
            self.last.set(true);
        }
        exchange.mark(|marks| {
            (marks.head, marks.piece) = (Some(now), now);
            marks.length = match framing {
                Framing::Length(length) => Some(length),
                Framing::UntilClose => Some(u64::MAX),
                Framing::None | Framing::Chunked => None,
            };
        });
        exchange.answer(Answered { head, framing });
    }

    /// A piece of a body. Answers whether to go on reading.
    fn data(&self, transport: &Transport, exchange: &Exchange, data: &[u8]) -> bool {
        let now = self.reactor.now();
        let marks = exchange.marks.get();
        if let Some(left) = marks.drain_bytes {
            let left = left.checked_sub(data.len() as u64);
            exchange.mark(|marks| marks.drain_bytes = Some(left.unwrap_or(0)));
            if left.is_none() {
                self.abort();
            }
            return left.is_some();
        }
        if exchange.push(data, now) {
            return true;
        }
        exchange.mark(|marks| marks.held_since = Some(now));
        transport.pause_reading();
        false
    }

    /// The first exchange's answer is over. `more` is whether bytes lie behind it.
    fn end(self: &Rc<Self>, trailers: Vec<(String, Vec<u8>)>, more: bool) {
        let Some(exchange) = self.queue.borrow_mut().pop_front() else { return };
        if !exchange.outgoing.take().is_done() {
            self.last.set(true);
        }
        self.served.set(self.served.get() + 1);
        self.resume(&exchange);
        exchange.end(trailers);
        let now = self.reactor.now();
        match self.front() {
            Some(next) if !self.last.get() => {
                return next.mark(|marks| {
                    marks.front = now;
                    if let Some(bytes) = marks.drain_bytes {
                        marks.drain(bytes, now);
                    }
                });
            }
            Some(_) => return self.fail(ClientError::Unanswered(Lost::Ended), Fate::Unanswered),
            None => {}
        }
        if more {
            // Nobody asked for what lies behind the answer: it would be taken for the answer to the next request.
            self.abort();
        } else if self.last.get() && !self.opening.get() {
            self.close();
        } else if !self.opening.get() && self.claims.get() == 0 {
            self.rest();
        }
    }

    /// A request that was promised this connection has been sent, or will not be.
    pub(super) fn unclaimed(self: &Rc<Self>) {
        if self.claims.get() == 0 && self.queue.borrow().is_empty() {
            self.rest();
        }
    }

    /// Without a request: it is kept, or nobody keeps it.
    fn rest(self: &Rc<Self>) {
        let idle = self.idle.get();
        match self.pool.upgrade() {
            Some(pool) if self.is_usable() && !idle.is_zero() => {
                self.plain.set(false);
                self.idle_since.set(self.reactor.now());
                self.arm();
                pool.keep(self);
            }
            _ => self.close(),
        }
    }

    /// Reads on, because what was held was read, or was the last of its answer.
    pub(super) fn resume(&self, exchange: &Exchange) {
        let now = self.reactor.now();
        let Some(since) = exchange.marks.get().held_since else { return };
        exchange.mark(|marks| {
            marks.held_since = None;
            marks.held += now.since(since);
            marks.piece = now;
        });
        if let Some(transport) = self.transport() {
            transport.resume_reading();
        }
        self.arm();
    }

    /// Nobody waits for this answer any more.
    pub(super) fn abandon(&self, exchange: &Rc<Exchange>) {
        let (marks, now) = (exchange.marks.get(), self.reactor.now());
        let others = self.queue.borrow().len() > 1;
        let is_sent = exchange.outgoing.borrow().is_done();
        // Without a head nobody knows how much is to come. Where others wait behind it, it may come and be thrown away.
        let may_end = is_sent && (marks.head.is_some() || others);
        let too_long = marks.length.is_some_and(|length| length - marks.received > exchange.drain_bytes_max);
        if !may_end || too_long {
            return self.abort();
        }
        exchange.mark(|marks| marks.drain(exchange.drain_bytes_max, now));
        if marks.held_since.is_some() {
            self.resume(exchange);
        }
        self.arm();
    }

    // The end.

    /// All requests on their way fail: the first of this, the others unanswered. The connection is broken off.
    fn fail(&self, error: ClientError, fate: Fate) {
        self.abort();
        let queue = std::mem::take(&mut *self.queue.borrow_mut());
        let sent = self.transport().map_or(0, |transport| transport.traffic().1);
        let mut first = Some((error, fate));
        for exchange in queue {
            let (error, fate) =
                first.take().unwrap_or((ClientError::Unanswered(Lost::Aborted), Fate::Unanswered));
            let unsent = fate == Fate::Unanswered && sent <= exchange.sent_before.get();
            exchange.fail(error, if unsent { Fate::Unsent } else { fate });
        }
    }

    // The clock.

    /// Sets the deadline of what is waited for now.
    fn arm(&self) {
        let Some(transport) = self.transport() else { return };
        let at = match self.front() {
            Some(exchange) => self.due(&transport, &exchange).map(|(at, ..)| at),
            None if self.opening.get() || self.claims.get() > 0 => None,
            None => Some(self.idle_since.get() + self.idle.get()),
        };
        transport.set_deadline(at);
    }

    fn due(&self, transport: &Transport, exchange: &Exchange) -> Option<(Time, Phase, Duration)> {
        let continues = exchange.continues_at.get();
        let mut due = exchange.deadline(transport.buffered());
        if let Some(at) = continues {
            let sooner = due.is_none_or(|(known, ..)| at < known);
            // The phase is of no interest: at its time the body is sent.
            due = if sooner { Some((at, Phase::Send, exchange.deadlines.continues)) } else { due };
        }
        due
    }

    fn timed_out(self: &Rc<Self>, transport: &Transport) {
        let now = self.reactor.now();
        let Some(exchange) = self.front() else { return self.close() };
        if exchange.continues_at.get().is_some_and(|at| at <= now) {
            exchange.continues_at.set(None);
            self.send(transport, &exchange);
            return self.arm();
        }
        let waker = self.waker(transport).clone();
        self.note_sent(transport, &exchange, &mut Context::from_waker(&waker));
        match self.due(transport, &exchange) {
            Some((at, phase, limit)) if at <= now => {
                self.fail(ClientError::TimedOut { phase, limit }, Fate::Sealed);
            }
            _ => self.arm(),
        }
    }
}
