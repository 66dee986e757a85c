//! What the methods of `Transport` ask of a connection. Nothing here calls the protocol: it leaves marks, and what they ask for
//! is done by `send` and `receive` after the callback that runs, or at the end of the turn.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use ropewalk_reactor::io::{Layer, Layered, Socket};
use ropewalk_reactor::{Deadline, Readiness, Time};

use super::{Conn, Outbox, flag};
use crate::protocol::{Lost, Producer, Protocol};

/// Writes of so many bytes need not wait for the flush: sending them costs less than a copy.
const DIRECT_BYTES_MIN: usize = 16 * 1024;

impl Conn {
    pub(in crate::transport) fn write(&self, data: &[u8]) {
        if data.len() < DIRECT_BYTES_MIN || self.is_write_over() {
            return self.write_with(|out| out.extend_from_slice(data));
        }
        let count = self.send_directly(data);
        if count < data.len() {
            self.write_with(|out| out.extend_from_slice(&data[count..]));
        } else {
            self.settle_later();
        }
    }

    pub(in crate::transport) fn write_with(&self, encode: impl FnOnce(&mut Vec<u8>)) {
        if self.is_write_over() {
            return;
        }
        let mut output = self.output.take().unwrap_or_else(Outbox::take);
        output.write_with(encode);
        self.queued(output);
    }

    pub(in crate::transport) fn write_shared(&self, data: &Rc<[u8]>) {
        if self.is_write_over() || data.is_empty() {
            return;
        }
        let mut output = self.output.take();
        let mut sent = 0;
        if output.is_none() && !self.has(flag::BLOCKED | flag::CONNECTING | flag::DIRTY | flag::FROZEN) {
            // Nothing is in front: hand it to the system now, so that ten thousand viewers queue nothing.
            match self.with_socket(|socket| socket.write(data)) {
                Some(Ok(count)) => sent = count,
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Some(Err(error)) => return self.abort(Lost::Broken(Arc::new(error))),
                None => return,
            }
            self.sent.set(self.sent.get() + sent as u64);
            if sent == data.len() {
                if self.has(flag::LAYERED) {
                    // The layer may have taken what the socket has not.
                    self.settle_later();
                }
                return;
            }
        }
        let mut outbox = output.take().unwrap_or_else(Outbox::take);
        outbox.write_shared(data, sent);
        self.queued(outbox);
    }

    /// Whether what is written now goes nowhere.
    fn is_write_over(&self) -> bool {
        self.has(flag::CLOSED | flag::CLOSING | flag::ABORTING | flag::SHUT)
    }

    /// Puts a layer on the socket: what the protocol has handed back is the layer's first input, and what was written before
    /// leaves ahead of it.
    pub(in crate::transport) fn push_layer(&self, mut layer: Box<dyn Layer>) {
        let Some(socket) = self.socket.take() else { return };
        let Some(clear) = self.output.take().map_or(Some(Vec::new()), Outbox::into_bytes) else {
            // It would leave under the layer, where the peer does not expect it, or the layer's bytes ahead of it.
            self.socket.set(Some(socket));
            tracing::error!(connection = %self.origin.name, "a layer was pushed while a file is being sent");
            return self.abort(Lost::Aborted);
        };
        layer.attached(&self.origin.reactor, self.key);
        let (early, more) = self.if_rare(|rare| rare.unread.reclaim()).unwrap_or_default();
        if more {
            self.set(flag::EARLY);
        }
        let read_more = more || !early.is_empty();
        let socket = Socket::Layered(Box::new(Layered::new(socket, layer, early, clear)));
        if self.received.get() > 0 || self.has(flag::UNSEEN | flag::ENDS) {
            // Events have come before the layer did.
            socket.heard(self.has(flag::ENDS));
        }
        self.socket.set(Some(socket));
        self.set(flag::LAYERED);
        if read_more {
            self.set(flag::UNSEEN);
            self.origin.reactor.ready_again(self.key, Readiness::READABLE);
        }
        // What the layer has to say first goes out in this turn.
        self.settle_later();
    }

    #[inline(always)]
    pub(super) fn queued(&self, output: Box<Outbox>) {
        if output.len() >= self.origin.options.high_water_bytes as u64 {
            self.set(flag::FULL);
        }
        if output.len() == 0 {
            return output.put_away();
        }
        self.output.set(Some(output));
        self.settle_later();
    }

    /// Asks for `flush` at the end of the turn, unless a callback of this connection runs: its end does the same.
    #[inline]
    pub(super) fn settle_later(&self) {
        if !self.has(flag::IN_CALL | flag::DIRTY | flag::CLOSED) {
            self.set(flag::DIRTY);
            self.origin.reactor.flush_later(self.key);
        }
    }

    pub(in crate::transport) fn buffered(&self) -> usize {
        let output = self.output.take();
        let len = output.as_ref().map_or(0, |output| output.len());
        self.output.set(output);
        usize::try_from(len).unwrap_or(usize::MAX)
    }

    pub(in crate::transport) fn is_full(&self) -> bool {
        self.has(flag::FULL)
    }

    /// Wakes `waker` when there is room again, when everything is sent, or when the connection is gone.
    pub(in crate::transport) fn wake_on_progress(&self, waker: &Waker) {
        self.with_rare(|rare| {
            if !rare.waiting.iter().any(|known| known.will_wake(waker)) {
                rare.waiting.push(waker.clone());
            }
        });
    }

    pub(super) fn wake_waiting(&self) {
        let waiting = self.if_rare(|rare| std::mem::take(&mut rare.waiting)).unwrap_or_default();
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(in crate::transport) fn register_producer(&self, producer: Rc<dyn Producer>) {
        if self.has(flag::CLOSED) {
            producer.stop_producing();
        } else {
            self.clear(flag::HELD);
            self.with_rare(|rare| rare.producer = Some(producer));
        }
    }

    pub(in crate::transport) fn unregister_producer(&self) {
        self.clear(flag::HELD);
        let producer = self.if_rare(|rare| rare.producer.take());
        drop(producer);
    }

    pub(in crate::transport) fn pause_reading(&self) {
        self.set(flag::PAUSED);
    }

    pub(in crate::transport) fn resume_reading(&self) {
        if self.has(flag::PAUSED) {
            self.clear(flag::PAUSED);
            if self.has(flag::IN_CALL) {
                return;
            }
            if self.has_unread() {
                // They are here already: among this turn's ready work rather than in the next turn.
                self.origin.reactor.wake(self.key);
            } else {
                self.read_later();
            }
        }
    }

    pub(in crate::transport) fn is_reading_paused(&self) -> bool {
        self.has(flag::PAUSED)
    }

    pub(in crate::transport) fn unread(&self, data: &[u8]) {
        if !data.is_empty() {
            self.with_rare(|rare| rare.unread.put(data));
        }
    }

    /// Reads in the next turn if there is anything that was put off.
    #[inline]
    pub(super) fn read_later(&self) {
        if self.has(flag::END_UNTOLD | flag::UNSEEN | flag::RARE) {
            self.read_waiting();
        }
    }

    fn read_waiting(&self) {
        let waiting = self.has(flag::END_UNTOLD)
            || (self.has(flag::UNSEEN) && !self.has(flag::READ_ENDED))
            || self.has_unread();
        if waiting && self.may_deliver() && !self.has(flag::AGAIN) {
            self.set(flag::AGAIN);
            // To the end: the peer's may have been told by the very event that came while nothing was read.
            self.origin.reactor.ready_again(self.key, Readiness::READABLE.and(Readiness::READ_CLOSED));
        }
    }

    pub(super) fn has_unread(&self) -> bool {
        self.if_rare(|rare| !rare.unread.is_empty()).unwrap_or(false)
    }

    pub(in crate::transport) fn lose_connection(&self, lingering: bool) {
        if !self.has(flag::CLOSING | flag::CLOSED) {
            self.set(flag::CLOSING | if lingering { flag::LINGER } else { 0 });
            if self.has(flag::LAYERED) {
                // The layer has to be able to hear, if only to say farewell; the protocol is told nothing more.
                self.clear(flag::PAUSED);
            }
            self.settle_later();
        }
    }

    pub(in crate::transport) fn lose_write_connection(&self) {
        if !self.has(flag::SHUT | flag::CLOSED) {
            self.set(flag::SHUT);
            self.settle_later();
        }
    }

    pub(in crate::transport) fn abort(&self, lost: Lost) {
        if !self.has(flag::ABORTING | flag::CLOSED) {
            self.set(flag::ABORTING);
            self.with_rare(|rare| rare.lost = Some(lost));
            self.settle_later();
        }
    }

    pub(in crate::transport) fn switch(&self, next: Box<dyn Protocol>) {
        if self.has(flag::MANUAL) {
            // Whoever read by hand may have stopped in the middle of what a past edge told of.
            self.set(flag::UNSEEN);
        }
        self.clear(flag::MANUAL | flag::PAUSED);
        self.set(flag::SWITCHED);
        let old = self.protocol.replace(Some(next));
        drop(old);
        if !self.has(flag::IN_CALL) {
            // Its `connection_made` is called from there, and then it gets what is unread.
            self.origin.reactor.ready_again(self.key, Readiness::READABLE.and(Readiness::READ_CLOSED));
        }
    }

    /// Puts something around the protocol, unless it is out for a call: for tests that listen in.
    pub(in crate::transport) fn wrap(&self, wrap: impl FnOnce(Box<dyn Protocol>) -> Box<dyn Protocol>) {
        if let Some(protocol) = self.protocol.take() {
            self.protocol.set(Some(wrap(protocol)));
        }
    }

    pub(in crate::transport) fn read_by_hand(&self) {
        // Edges of the past were for the loop: the first read asks the system whatever they said.
        self.set(flag::MANUAL | flag::UNSEEN | flag::TO_THE_END);
    }

    pub(in crate::transport) fn is_switched(&self) -> bool {
        let next = self.protocol.take();
        let switched = self.has(flag::IN_CALL) && next.is_some();
        self.protocol.set(next);
        switched
    }

    /// Reads for a protocol that took readiness over. Once the socket is known to be drained this answers `WouldBlock`
    /// without asking the system, until the next edge: a caller simply reads until then.
    pub(in crate::transport) fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        let handed_back = self.if_rare(|rare| rare.unread.take(into));
        match handed_back {
            Some(count) if count > 0 || into.is_empty() => return Ok(count),
            _ if into.is_empty() => return Ok(0),
            _ => {}
        }
        let room = into.len();
        self.read_with(|socket| socket.read(into), |count| count < room)
    }

    /// Whether reading by hand would only say that there is nothing now.
    #[inline]
    pub(in crate::transport) fn is_drained(&self) -> bool {
        !self
            .has(flag::UNSEEN | flag::RARE | flag::READ_ENDED | flag::CLOSED | flag::CLOSING | flag::ABORTING)
    }

    /// What `read` gets of the socket, unless it is known to be drained; `drains` says whether so many bytes were all that was there.
    pub(super) fn read_with(
        &self,
        read: impl FnOnce(&Socket) -> io::Result<usize>,
        drains: impl FnOnce(usize) -> bool,
    ) -> io::Result<usize> {
        if self.has(flag::ABORTING) {
            // What the system says now is no news: it may call a reset that was told the peer's end.
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if self.has(flag::READ_ENDED) {
            return Ok(0);
        }
        if !self.has(flag::UNSEEN) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let outcome = self.with_socket(read).unwrap_or_else(|| Err(io::ErrorKind::NotConnected.into()));
        match &outcome {
            Ok(0) => self.set(flag::READ_ENDED),
            Ok(count) => {
                self.received.set(self.received.get() + *count as u64);
                if drains(*count) && !self.has(flag::TO_THE_END) {
                    self.clear(flag::UNSEEN);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.clear(flag::UNSEEN | flag::TO_THE_END);
            }
            Err(_) => {}
        }
        if matches!(outcome, Ok(0)) || self.has(flag::LAYERED) {
            // Whether this was the second direction to end is seen where everything else is; and a layer may have been told
            // something that it has to answer, as TLS in its handshake, with no event to come that would flush it.
            self.settle_later();
        }
        outcome
    }

    pub(in crate::transport) fn set_deadline(&self, at: Option<Time>) {
        if self.has(flag::LINGER) && self.has(flag::SHUT_DONE) {
            // The deadline in the wheel is the lingering's; the protocol has no more say.
            return;
        }
        let at = self.rare_deadline(at);
        self.arm(at);
    }

    /// The nearer of the protocol's deadline and a stall's, if the peer takes nothing at the moment.
    pub(super) fn rare_deadline(&self, at: Option<Time>) -> Option<Time> {
        let stalls_at = self.if_rare(|rare| {
            rare.until = at;
            rare.stalls_at
        });
        [at, stalls_at.flatten()].into_iter().flatten().min()
    }

    pub(super) fn arm(&self, at: Option<Time>) {
        let reactor = &self.origin.reactor;
        match at {
            Some(at) => {
                if !reactor.reset_deadline(self.timer.get(), at) && !self.has(flag::CLOSED) {
                    self.timer.set(reactor.insert_deadline(at, self.key));
                }
            }
            None => reactor.remove_deadline(self.timer.replace(Deadline::NONE)),
        }
    }

    pub(in crate::transport) fn is_closed(&self) -> bool {
        self.has(flag::CLOSED)
    }

    pub(in crate::transport) fn is_closing(&self) -> bool {
        self.has(flag::CLOSED | flag::CLOSING | flag::ABORTING)
    }

    pub(in crate::transport) fn is_read_ended(&self) -> bool {
        self.has(flag::READ_ENDED)
    }

    pub(in crate::transport) fn traffic(&self) -> (u64, u64) {
        (self.received.get(), self.sent.get())
    }
}
