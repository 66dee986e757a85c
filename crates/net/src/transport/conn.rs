//! The loop's side of a connection. `Conn` is a source; all of its state is in cells, and nothing is borrowed while the
//! protocol runs: the protocol is taken out of its cell for the call and put back after, unless the slot was filled
//! meanwhile, which is how `switch` works.
//!
//! An idle connection owns this one allocation, its protocol, one slab entry and one wheel entry. Whatever is rare (unread
//! bytes, a producer, wakers, a stall's clock) is boxed.
//!
//! The state, the calls of the protocol, the beginning and the end are here; what a transport's methods ask for is in `asked`,
//! the ways in and out in `receive` and `send`, what files on their way out need of the disk in `fetch`, who the peer is in
//! `proxied`, the way into a file in `intake`, the descriptors that UNIX sockets carry in `passing`, the way to another process in
//! `freezing`.

mod asked;
mod fetch;
mod freezing;
mod intake;
mod passing;
mod proxied;
mod receive;
mod send;
mod unread;

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use ropewalk_reactor::io::{Address, Socket};
use ropewalk_reactor::{Deadline, Key, Name, Reactor, Readiness, Source, Time};

pub use self::freezing::{Parcel, Travelled};
use self::proxied::Peer;
use super::output::{self, Outbox, Pause, Sent};
use super::{Transport, TransportOptions};
use crate::limits::Admission;
use crate::protocol::{Lost, Producer, Protocol};

/// Reads of the loop's buffer, 64 KiB, in one turn, so that one fast sender cannot starve the others: it holds the loop for a fraction of a
/// millisecond. With fewer, what all the others have sent meanwhile has left the caches when its turn comes.
pub(crate) const READS_PER_TURN: u32 = 16;
/// How long, and how much, of a closing peer's bytes is thrown away.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: u64 = 1024 * 1024;

/// After these a short read does not mean "drained": the end, or an error, follows without another edge.
const TO_THE_END: Readiness = Readiness::READ_CLOSED.and(Readiness::PRIORITY).and(Readiness::ERROR);

/// Something has come to its end, or will.
const ENDS: Readiness = TO_THE_END.and(Readiness::WRITE_CLOSED);

mod flag {
    pub(super) const PAUSED: u32 = 1;
    /// Readiness came while paused, or the budget ended before the data.
    pub(super) const UNSEEN: u32 = 1 << 1;
    pub(super) const READ_ENDED: u32 = 1 << 2;
    /// The peer's end is to be told to the protocol once it reads again.
    pub(super) const END_UNTOLD: u32 = 1 << 3;
    pub(super) const CLOSING: u32 = 1 << 4;
    pub(super) const LINGER: u32 = 1 << 5;
    pub(super) const ABORTING: u32 = 1 << 6;
    pub(super) const CLOSED: u32 = 1 << 7;
    pub(super) const BLOCKED: u32 = 1 << 8;
    pub(super) const DIRTY: u32 = 1 << 9;
    pub(super) const SHUT: u32 = 1 << 10;
    pub(super) const SHUT_DONE: u32 = 1 << 11;
    /// Above high water since it was last at low water.
    pub(super) const FULL: u32 = 1 << 12;
    /// A callback of this connection runs: its end flushes and settles.
    pub(super) const IN_CALL: u32 = 1 << 13;
    pub(super) const MANUAL: u32 = 1 << 14;
    pub(super) const CONNECTING: u32 = 1 << 15;
    /// A read is asked for in the next turn already.
    pub(super) const AGAIN: u32 = 1 << 16;
    /// The producer was told to stop.
    pub(super) const HELD: u32 = 1 << 17;
    /// In reading by hand: more may come without another edge, so a short read is not the end of it.
    pub(super) const TO_THE_END: u32 = 1 << 18;
    /// The protocol came by `switch`, and was not told `connection_made` yet.
    pub(super) const SWITCHED: u32 = 1 << 19;
    /// A file is the next thing to send, and waits: for its bytes from the disk, or for the next turn.
    pub(super) const PENDING: u32 = 1 << 21;
    /// There is something rare: one bit to look at, instead of a cell to empty and fill.
    pub(super) const RARE: u32 = 1 << 20;
    /// There is a layer on the socket, which may hold something of its own to send.
    pub(super) const LAYERED: u32 = 1 << 22;
    /// A layer came during a call that was lent bytes: those that come back are for it.
    pub(super) const EARLY: u32 = 1 << 23;
    /// The limit per peer does not count it: it came from a proxy, whose address is nobody's in particular.
    pub(super) const UNCOUNTED: u32 = 1 << 24;
    /// Nothing is handed over until the connection is frozen, or goes on: what was written still leaves.
    pub(super) const HALTED: u32 = 1 << 25;
    /// A record of it was made: nothing is read, sent or called.
    pub(super) const FROZEN: u32 = 1 << 26;
    /// The peer's end was told, or may have been: a layer must not take a short read for all there is.
    pub(super) const ENDS: u32 = 1 << 27;
    /// Somebody else has the descriptor, too.
    pub(super) const SHARED: u32 = 1 << 28;
    /// A thread looks after the socket: the loop does not watch it.
    pub(super) const AWAY: u32 = 1 << 29;
}

/// With none of these a connection is read from and nothing else, when nothing else is told of it.
const UNUSUAL: u32 = flag::PAUSED
    | flag::UNSEEN
    | flag::READ_ENDED
    | flag::END_UNTOLD
    | flag::CLOSING
    | flag::ABORTING
    | flag::CLOSED
    | flag::BLOCKED
    | flag::MANUAL
    | flag::CONNECTING
    | flag::AGAIN
    | flag::SWITCHED
    | flag::RARE
    | flag::LAYERED
    | flag::HALTED
    | flag::FROZEN;

/// What connections of one listener or one connecting have in common.
pub(crate) struct Origin {
    pub(crate) reactor: Reactor,
    pub(crate) name: Name,
    pub(crate) options: TransportOptions,
    pub(crate) kind: OriginKind,
}

type Told = Box<dyn FnOnce(Result<Transport, io::Error>)>;
type Gone = Box<dyn FnOnce(&Lost)>;

/// Who hears of a connection that is made from here.
pub(crate) struct Connecting {
    /// Called once when connecting has ended, either way.
    told: Cell<Option<Told>>,
    /// Called once when a connection that stood is gone, after its protocol was told; whichever protocol that was.
    gone: Cell<Option<Gone>>,
}

impl Connecting {
    pub(crate) fn new(
        told: impl FnOnce(io::Result<Transport>) + 'static,
        gone: impl FnOnce(&Lost) + 'static,
    ) -> Connecting {
        Connecting { told: Cell::new(Some(Box::new(told))), gone: Cell::new(Some(Box::new(gone))) }
    }
}

/// Where a connection came from.
pub(crate) enum OriginKind {
    /// A listener's; it was counted, and gives its place back when it is gone.
    Accepted(Admission),
    /// A client's.
    Connecting(Connecting),
    /// It stood before: somebody else has made it.
    Adopted,
}

pub(crate) struct Conn {
    pub(crate) origin: Rc<Origin>,
    pub(crate) key: Key,
    socket: Cell<Option<Socket>>,
    protocol: Cell<Option<Box<dyn Protocol>>>,
    output: Cell<Option<Box<Outbox>>>,
    rare: Cell<Option<Box<Rare>>>,
    timer: Cell<Deadline>,
    received: Cell<u64>,
    sent: Cell<u64>,
    peer: Cell<Peer>,
    flags: Cell<u32>,
    /// Bytes that were sent at once since the last flush.
    direct: Cell<u32>,
}

#[derive(Default)]
struct Rare {
    unread: unread::Unread,
    producer: Option<Rc<dyn Producer>>,
    /// Who waits until there is room, or until everything is sent.
    waiting: Vec<Waker>,
    lost: Option<Lost>,
    /// The protocol's own deadline, kept here while a stall's is in the wheel.
    until: Option<Time>,
    stalls_at: Option<Time>,
    lingered: u64,
}

impl Rare {
    fn is_idle(&self) -> bool {
        self.unread.is_idle()
            && self.producer.is_none()
            && self.waiting.is_empty()
            && self.lost.is_none()
            && self.stalls_at.is_none()
            && self.lingered == 0
    }
}

impl Conn {
    pub(super) fn start(
        origin: &Rc<Origin>,
        mut socket: Socket,
        peer: Address,
        counted: bool,
        protocol: Box<dyn Protocol>,
    ) -> io::Result<Rc<Conn>> {
        let connecting = matches!(origin.kind, OriginKind::Connecting(_));
        let uncounted = if counted { 0 } else { flag::UNCOUNTED };
        let mut made = None;
        let key = origin.reactor.add_source(|key| {
            let conn = Rc::new(Conn {
                origin: Rc::clone(origin),
                key,
                socket: Cell::new(None),
                protocol: Cell::new(Some(protocol)),
                output: Cell::new(None),
                rare: Cell::new(None),
                timer: Cell::new(Deadline::NONE),
                received: Cell::new(0),
                sent: Cell::new(0),
                peer: Cell::new(Peer::new(peer)),
                flags: Cell::new(uncounted | if connecting { flag::CONNECTING } else { 0 }),
                direct: Cell::new(0),
            });
            made = Some(Rc::clone(&conn));
            conn
        });
        let conn = made.expect("add_source calls its argument");
        if let Err(error) = origin.reactor.register_socket(&mut socket, key) {
            conn.leave();
            origin.reactor.remove_source(key);
            return Err(error);
        }
        conn.socket.set(Some(socket));
        if !connecting {
            conn.call(|protocol, transport| protocol.connection_made(transport));
            // What it wrote goes out in this turn, not with the first event.
            conn.settle_later();
        }
        Ok(conn)
    }

    // Flags.

    fn has(&self, flags: u32) -> bool {
        self.flags.get() & flags != 0
    }

    fn set(&self, flags: u32) {
        self.flags.set(self.flags.get() | flags);
    }

    fn clear(&self, flags: u32) {
        self.flags.set(self.flags.get() & !flags);
    }

    fn with_rare<T>(&self, then: impl FnOnce(&mut Rare) -> T) -> T {
        let mut rare = self.rare.take().unwrap_or_default();
        let value = then(&mut rare);
        self.put_rare(rare);
        value
    }

    /// The same where there is nothing to do if nothing rare is going on: no allocation.
    fn if_rare<T>(&self, then: impl FnOnce(&mut Rare) -> T) -> Option<T> {
        if !self.has(flag::RARE) {
            return None;
        }
        let mut rare = self.rare.take()?;
        let value = then(&mut rare);
        self.put_rare(rare);
        Some(value)
    }

    fn put_rare(&self, rare: Box<Rare>) {
        if rare.is_idle() {
            self.clear(flag::RARE);
        } else {
            self.set(flag::RARE);
            self.rare.set(Some(rare));
        }
    }

    #[inline(always)]
    pub(super) fn with_socket<T>(&self, then: impl FnOnce(&Socket) -> T) -> Option<T> {
        let socket = self.socket.take()?;
        let value = then(&socket);
        self.socket.set(Some(socket));
        Some(value)
    }

    // What the loop does.

    /// Calls the protocol. One that came by `switch` hears of its connection before anything else.
    #[inline(always)]
    fn call(self: &Rc<Self>, call: impl FnOnce(&mut dyn Protocol, &Transport)) {
        self.introduce();
        self.call_once(call);
        self.introduce();
    }

    /// Tells a protocol that came by `switch` of its connection, once the callback that switched has returned.
    #[inline]
    fn introduce(self: &Rc<Self>) {
        if self.has(flag::SWITCHED) {
            self.introduce_switched();
        }
    }

    #[cold]
    fn introduce_switched(self: &Rc<Self>) {
        while self.has(flag::SWITCHED) && !self.has(flag::IN_CALL) {
            self.clear(flag::SWITCHED);
            self.call_once(|protocol, transport| protocol.connection_made(transport));
        }
    }

    #[inline(always)]
    fn call_once(self: &Rc<Self>, call: impl FnOnce(&mut dyn Protocol, &Transport)) {
        let nested = self.has(flag::IN_CALL);
        if let Some(mut protocol) = self.protocol.take() {
            self.set(flag::IN_CALL);
            let transport = Transport(Rc::clone(self));
            let outcome = catch_unwind(AssertUnwindSafe(|| call(&mut *protocol, &transport)));
            match outcome {
                Ok(()) => {
                    // A slot that is full again holds the protocol to which this one has switched.
                    if let Some(next) = self.protocol.take() {
                        self.protocol.set(Some(next));
                    } else {
                        self.protocol.set(Some(protocol));
                    }
                }
                Err(payload) => self.panicked(payload),
            }
        }
        if !nested {
            self.clear(flag::IN_CALL);
        }
    }

    #[cold]
    fn panicked(&self, payload: Box<dyn Any + Send>) {
        let failure = ropewalk_reactor::Failure::from_panic(payload);
        tracing::error!(connection = %self.origin.name, "a protocol: {failure}");
        self.abort(Lost::Panicked);
    }

    /// The end of connecting: made, or failed.
    fn connected(self: &Rc<Self>) {
        let outcome = match self.with_socket(|socket| (socket.take_error(), socket.peer_address())) {
            Some((Ok(None), Ok(_))) => Ok(()),
            // Not yet: readiness was about something else.
            Some((Ok(None), Err(_))) | None => return,
            Some((Ok(Some(error)) | Err(error), _)) => Err(error),
        };
        self.clear(flag::CONNECTING);
        let OriginKind::Connecting(connecting) = &self.origin.kind else { return };
        let told = connecting.told.take();
        match outcome {
            Ok(()) => {
                self.arm(None);
                self.call(|protocol, transport| protocol.connection_made(transport));
                if let Some(told) = told {
                    told(Ok(Transport(Rc::clone(self))));
                }
                self.settle();
            }
            Err(error) => {
                self.discard();
                if let Some(told) = told {
                    told(Err(error));
                }
            }
        }
    }

    /// Gives up a connection that never stood: nobody is told `connection_lost`.
    fn discard(&self) {
        if self.has(flag::CLOSED) {
            return;
        }
        self.set(flag::CLOSED);
        self.arm(None);
        drop(self.socket.take());
        drop(self.protocol.take());
        self.origin.reactor.remove_source(self.key);
    }

    /// Gives the place among the limits back.
    fn leave(&self) {
        if let OriginKind::Accepted(admission) = &self.origin.kind {
            admission.leave(self.counted());
        }
    }

    fn close(self: &Rc<Self>, lost: &Lost) {
        if self.has(flag::CLOSED) {
            return;
        }
        self.set(flag::CLOSED);
        let reactor = &self.origin.reactor;
        reactor.remove_deadline(self.timer.replace(Deadline::NONE));
        let socket = self.socket.take();
        let shared = self.has(flag::SHARED) || matches!(self.origin.kind, OriginKind::Adopted);
        if let Some(mut socket) = socket.filter(|_| shared) {
            // Others may have it open still, and then the system would go on telling of it.
            reactor.deregister_socket(&mut socket);
        }
        self.leave();
        if let Some(output) = self.output.take() {
            output.discard(lost);
        }
        reactor.remove_source(self.key);
        let rare = self.rare.take();
        self.clear(flag::RARE);
        self.call(|protocol, transport| protocol.connection_lost(transport, lost));
        drop(self.protocol.take());
        if let Some(rare) = rare {
            rare.waiting.into_iter().for_each(Waker::wake);
            if let Some(producer) = rare.producer {
                producer.stop_producing();
            }
        }
        if let OriginKind::Connecting(connecting) = &self.origin.kind
            && let Some(gone) = connecting.gone.take()
        {
            gone(lost);
        }
    }

    /// Ends a connecting at once, a connection that stands as `abort` does.
    pub(super) fn give_up(&self) {
        if self.has(flag::CONNECTING) {
            self.discard();
        } else {
            self.abort(Lost::Aborted);
        }
    }

    /// Whether there is nothing to send, to close or to tell.
    fn is_settled(&self) -> bool {
        const TO_DO: u32 =
            flag::ABORTING | flag::CLOSING | flag::SHUT | flag::LINGER | flag::LAYERED | flag::FULL;
        !self.has(TO_DO) && self.direct.get() == 0 && !self.has_output()
    }

    /// The end of an event: what it left behind is sent now, or with the turn's other output.
    #[inline(always)]
    fn after_event(self: &Rc<Self>) {
        if self.has(flag::CLOSED) {
            return;
        }
        if self.has(flag::LAYERED) {
            // What was read may be what the layer waited for before it could write: its handshake's end.
            self.clear(flag::BLOCKED);
        }
        let only_output = !self.has(flag::ABORTING | flag::CLOSING | flag::SHUT);
        if only_output && self.origin.reactor.has_ready_work() && self.has_output() {
            // Some of it may add to the output.
            self.settle_later();
        } else if !self.is_settled() {
            self.settle();
        }
        // A protocol that paused and resumed within its own callback still has bytes to see.
        self.read_later();
    }

    /// What the loop tells of a connection that is not just read from, or of more than bytes to read.
    #[inline(never)]
    fn ready_otherwise(self: &Rc<Self>, readiness: Readiness) {
        if self.has(flag::CLOSED | flag::FROZEN) {
            return;
        }
        if self.has(flag::CONNECTING) {
            self.connected();
            if self.has(flag::CONNECTING | flag::CLOSED) {
                return;
            }
        }
        if readiness == Readiness::NONE {
            // A file has waited for this turn.
            self.clear(flag::PENDING | flag::DIRTY);
            return self.settle();
        }
        if readiness.has(ENDS) {
            self.set(flag::ENDS);
        }
        if self.has(flag::LAYERED) && readiness.has(Readiness::READABLE.and(ENDS)) {
            self.with_socket(|socket| socket.heard(self.has(flag::ENDS)));
        }
        if readiness.is_writable() && self.has(flag::BLOCKED) {
            self.clear(flag::BLOCKED);
            self.send();
        }
        let broken = Readiness::ERROR.and(Readiness::WRITE_CLOSED);
        if readiness.has(Readiness::READABLE.and(Readiness::READ_CLOSED).and(Readiness::PRIORITY)) {
            self.receive(readiness);
        } else if readiness.has(broken) {
            self.receive(Readiness::READ_CLOSED);
        }
        if readiness.has(Readiness::ERROR)
            && self.has(flag::PAUSED)
            && !self.has(flag::CLOSED | flag::ABORTING)
        {
            // Reading would tell, but nobody reads: a producer for this peer must not go on until somebody does.
            let error = self.with_socket(|socket| socket.take_error().ok().flatten()).flatten();
            if let Some(error) = error {
                self.abort(Lost::Broken(Arc::new(error)));
            }
        }
        if readiness.has(broken)
            && self.has(flag::READ_ENDED)
            && !self.has(flag::CLOSED | flag::ABORTING | flag::END_UNTOLD)
        {
            // The peer had ended its direction before, so reading tells nothing new: the other direction is gone as well.
            let error = self.with_socket(|socket| socket.take_error().ok().flatten()).flatten();
            self.abort(error.map_or(Lost::Ended, |error| Lost::Broken(Arc::new(error))));
        }
        self.after_event();
    }
}

impl Source for Conn {
    fn name(&self) -> Name {
        self.origin.name
    }

    fn kind(&self) -> &'static str {
        "connection"
    }

    fn any(self: Rc<Self>) -> Option<Rc<dyn Any>> {
        Some(self)
    }

    fn ready(self: Rc<Self>, readiness: Readiness) {
        let only_bytes = readiness.is_readable() && !readiness.has(ENDS);
        if only_bytes && !self.has(UNUSUAL) {
            self.receive_some(false);
        } else if only_bytes && self.flags.get() & (UNUSUAL & !flag::UNSEEN) == flag::MANUAL {
            // Somebody reads by hand; what is unseen is what he has left.
            self.set(flag::UNSEEN);
            self.call(|protocol, transport| protocol.woken(transport));
        } else {
            return self.ready_otherwise(readiness);
        }
        self.after_event();
    }

    fn due(self: Rc<Self>) {
        self.timer.set(Deadline::NONE);
        if self.has(flag::FROZEN) {
            return self.due_later();
        }
        if self.has(flag::CONNECTING) {
            let OriginKind::Connecting(connecting) = &self.origin.kind else { return };
            let told = connecting.told.take();
            self.discard();
            if let Some(told) = told {
                told(Err(io::ErrorKind::TimedOut.into()));
            }
            return;
        }
        let now = self.origin.reactor.now();
        let stalls_at = self.if_rare(|rare| {
            rare.until = None;
            rare.stalls_at
        });
        let stalls_at = stalls_at.flatten();
        if stalls_at.is_some_and(|at| at.as_millis_ceil() <= now.as_millis()) {
            self.abort(Lost::TimedOut("write stall"));
        } else if self.has(flag::LINGER) && self.has(flag::SHUT_DONE) {
            self.abort(Lost::Closed);
        } else if self.has(flag::CLOSING) {
            // Output is cut short: that is no orderly close, and the peer must not take it for one.
            self.abort(Lost::TimedOut("closing"));
        } else {
            // It was the protocol's own; a stall's stays in the wheel.
            self.arm(stalls_at);
            self.call(|protocol, transport| protocol.timed_out(transport));
        }
        self.after_event();
    }

    fn put_off(self: Rc<Self>, until: Time) {
        self.timer.set(Deadline::NONE);
        self.if_rare(|rare| rare.stalls_at = rare.stalls_at.map(|at| at.max(until)));
        self.arm(Some(until));
    }

    fn woken(self: Rc<Self>) {
        if self.has(flag::CLOSED | flag::CONNECTING | flag::FROZEN) {
            return;
        }
        self.call(|protocol, transport| protocol.woken(transport));
        // Bytes that were handed back come again in the same turn, so that what they bring about is sent with the rest.
        self.redeliver();
        // More of the turn's ready work may add to the output: it is flushed with the rest.
        self.settle_later();
        self.read_later();
    }

    fn flush(self: Rc<Self>) {
        self.clear(flag::DIRTY);
        self.settle();
    }

    fn stopping(self: Rc<Self>) {
        if !self.has(flag::CLOSED | flag::CONNECTING | flag::FROZEN) {
            self.call(|protocol, transport| protocol.stopping(transport));
            self.after_event();
        }
    }

    fn abandoned(self: Rc<Self>) {
        if self.has(flag::CONNECTING) {
            return self.discard();
        }
        self.close(&Lost::Stopped);
    }
}
