//! The way of a connection to another process: halted, frozen, and either handed over or gone on with. `Port::connections` finds what
//! is to go; who sends the descriptors is the application. Connections under layers, with a producer, or read by hand stay.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::io::{Address, Socket};
use ropewalk_reactor::{Deadline, Reactor, Readiness};

use super::proxied::Peer;
use super::{Conn, Origin, OriginKind, Outbox, Rare, flag};
use crate::protocol::{Frozen, Lost, Protocol};
use crate::transport::Transport;

/// How often a deadline looks whether its connection is still frozen.
const LOOK: Duration = Duration::from_secs(1);

/// A frozen connection: what travels, and the connection itself.
#[derive(Debug)]
pub struct Parcel {
    /// What the next process is told.
    pub travelled: Travelled,
    /// The connection itself.
    pub descriptor: OwnedFd,
}

/// What the next process is told of a frozen connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Travelled {
    /// What the protocol has put down.
    pub frozen: Frozen,
    /// Bytes that were written and not sent.
    pub unsent: Vec<u8>,
    /// Bytes that were read and handed back.
    pub unread: Vec<u8>,
    /// Whether the peer has ended its direction, and the protocol knows.
    pub read_ended: bool,
    /// Whether the protocol wanted no bytes for now.
    pub paused: bool,
    /// What is left until the deadline of the protocol.
    pub due_in: Option<Duration>,
}

impl Transport {
    /// All connections of a reactor. Linear.
    #[must_use]
    pub fn all(reactor: &Reactor) -> Vec<Transport> {
        let sources = reactor.sources().into_iter().filter_map(|source| source.any());
        sources.filter_map(|any| any.downcast::<Conn>().ok()).map(Transport).collect()
    }

    /// Whether the connection can leave the process at all, as its protocol and its socket are now.
    #[must_use]
    pub fn is_freezable(&self) -> bool {
        self.0.is_freezable()
    }

    /// From now on nothing is handed to the protocol; what it writes still leaves, so that what is under way comes to its end. Nothing
    /// happens while the protocol is [in the middle of something](Protocol::is_hearing): to be called again then.
    pub fn halt(&self) {
        if !self.0.ask(|protocol| protocol.is_hearing()) {
            self.0.set(flag::HALTED);
        }
    }

    /// Makes a record of the connection, and stops it: nothing is read, sent or called until [`Transport::go_on`] or
    /// [`Transport::hand_over`]. What is written meanwhile is lost if it is handed over. `None`: not now, or not at all
    /// ([`Transport::is_freezable`]).
    #[must_use]
    pub fn freeze(&self) -> Option<Parcel> {
        self.0.freeze()
    }

    /// What [`Transport::freeze`] puts down, without the descriptor: for [`Port::thaw_here`](crate::Port::thaw_here), also where the
    /// network is simulated.
    #[doc(hidden)]
    #[must_use]
    pub fn freeze_here(&self) -> Option<Travelled> {
        self.0.freeze_any()
    }

    /// A connection that was halted or frozen goes on as if nothing had happened.
    ///
    /// # Errors
    /// The system does not watch it again: it is broken off.
    pub fn go_on(&self) -> io::Result<()> {
        self.0.go_on()
    }

    /// A frozen connection belongs to another process now: this one lets go of it, and the peer notices nothing.
    pub fn hand_over(&self) {
        if self.0.has(flag::FROZEN) {
            self.0.clear(flag::FROZEN);
            self.0.close(&Lost::HandedOver);
        }
    }
}

impl Conn {
    fn is_freezable(&self) -> bool {
        self.with_socket(|socket| socket.descriptor().is_some()).unwrap_or(false) && self.may_freeze()
    }

    /// Whether its state and its protocol allow it, wherever its socket comes from.
    fn may_freeze(&self) -> bool {
        let over = flag::CLOSED | flag::CLOSING | flag::ABORTING | flag::SHUT | flag::LINGER;
        let other = flag::CONNECTING | flag::LAYERED | flag::MANUAL;
        if self.has(over | other) || matches!(self.origin.kind, OriginKind::Connecting(_)) {
            return false;
        }
        let producing = self.if_rare(|rare| rare.producer.is_some());
        self.ask(|protocol| protocol.freezable()) && !producing.unwrap_or(false) && self.proxied().is_none()
    }

    fn ask(&self, question: impl FnOnce(&dyn Protocol) -> bool) -> bool {
        let protocol = self.protocol.take();
        let answer = protocol.as_ref().is_some_and(|protocol| question(&**protocol));
        self.protocol.set(protocol);
        answer
    }

    fn freeze(self: &Rc<Self>) -> Option<Parcel> {
        let descriptor =
            self.with_socket(|socket| socket.descriptor()?.try_clone_to_owned().ok()).flatten()?;
        let travelled = self.freeze_any()?;
        Some(Parcel { travelled, descriptor })
    }

    fn freeze_any(self: &Rc<Self>) -> Option<Travelled> {
        if !self.may_freeze() || self.has(flag::IN_CALL | flag::SWITCHED | flag::PENDING | flag::FROZEN) {
            return None;
        }
        let mut frozen = None;
        self.call_once(|protocol, transport| frozen = protocol.freeze(transport));
        let frozen = frozen?;
        let output = self.output.take();
        let unsent = output.as_ref().map_or(Some(Vec::new()), |output| output.to_bytes());
        self.output.set(output);
        let (unsent, reactor) = (unsent?, &self.origin.reactor);
        let (unread, until) = self
            .if_rare(|rare| (rare.unread.to_vec(), rare.stalls_at.map(|_| rare.until)))
            .unwrap_or_default();
        let until = until.unwrap_or_else(|| reactor.deadline_time(self.timer.get()));
        if let Some(mut socket) = self.socket.take() {
            reactor.deregister_socket(&mut socket);
            self.socket.set(Some(socket));
        }
        self.set(flag::FROZEN | flag::HALTED);
        Some(Travelled {
            frozen,
            unsent,
            unread,
            read_ended: self.has(flag::READ_ENDED) && !self.has(flag::END_UNTOLD),
            paused: self.has(flag::PAUSED),
            due_in: until.map(|until| until.since(reactor.now())),
        })
    }

    /// The socket of a frozen connection, which goes on under another one of this process.
    pub(crate) fn part_with_socket(self: &Rc<Self>) -> Option<Socket> {
        let socket = self.socket.take().filter(|_| self.has(flag::FROZEN))?;
        self.clear(flag::FROZEN);
        self.close(&Lost::HandedOver);
        Some(socket)
    }

    fn go_on(self: &Rc<Self>) -> io::Result<()> {
        if self.has(flag::CLOSED) || !self.has(flag::HALTED) {
            return Ok(());
        }
        self.clear(flag::HALTED | flag::DIRTY);
        if self.has(flag::FROZEN) {
            self.clear(flag::FROZEN);
            if let Some(mut socket) = self.socket.take() {
                let registered = self.origin.reactor.register_socket(&mut socket, self.key);
                self.socket.set(Some(socket));
                if let Err(error) = registered {
                    self.abort(Lost::Aborted);
                    return Err(error);
                }
            }
            // A waker may have been used meanwhile.
            self.origin.reactor.wake(self.key);
        }
        self.look_at_everything();
        Ok(())
    }

    /// Whatever the socket may have had to say: it is read to the end, and what waits is sent.
    fn look_at_everything(self: &Rc<Self>) {
        self.clear(flag::BLOCKED);
        let all = Readiness::READABLE.and(Readiness::READ_CLOSED).and(Readiness::WRITABLE);
        self.origin.reactor.ready_again(self.key, all);
        self.settle_later();
    }

    /// A deadline passed while the connection was frozen: it is looked at again.
    pub(super) fn due_later(&self) {
        self.arm(Some(self.origin.reactor.now() + LOOK));
    }

    /// A connection that another process has frozen.
    pub(crate) fn start_thawed(
        origin: &Rc<Origin>,
        mut socket: Socket,
        parcel: &Travelled,
        peer: Address,
        counted: bool,
        protocol: Box<dyn Protocol>,
    ) -> io::Result<Rc<Conn>> {
        let counting = if counted { 0 } else { flag::UNCOUNTED };
        let paused = if parcel.paused { flag::PAUSED } else { 0 };
        let ended = if parcel.read_ended { flag::READ_ENDED } else { 0 };
        let mut made = None;
        let key = origin.reactor.add_source(|key| {
            let conn = Rc::new(Conn {
                origin: Rc::clone(origin),
                key,
                socket: std::cell::Cell::new(None),
                protocol: std::cell::Cell::new(Some(protocol)),
                output: std::cell::Cell::new(None),
                rare: std::cell::Cell::new(None),
                timer: std::cell::Cell::new(Deadline::NONE),
                received: std::cell::Cell::new(0),
                sent: std::cell::Cell::new(0),
                peer: std::cell::Cell::new(Peer::new(peer)),
                flags: std::cell::Cell::new(counting | paused | ended),
                direct: std::cell::Cell::new(0),
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
        if !parcel.unread.is_empty() {
            conn.with_rare(|rare: &mut Rare| rare.unread.put(&parcel.unread));
        }
        if !parcel.unsent.is_empty() {
            let mut output = Outbox::take();
            output.write(&parcel.unsent);
            conn.queued(output);
        }
        conn.arm(parcel.due_in.map(|due_in| origin.reactor.now() + due_in));
        conn.call(|protocol, transport| protocol.thawed(transport));
        conn.look_at_everything();
        Ok(conn)
    }
}
