//! The input's way in: reading within a budget, handing over, and the peer's end. Called when the socket is ready, or when
//! reading that was put off goes on.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use ropewalk_reactor::Readiness;

use super::{Conn, LINGER_BYTES, READS_PER_TURN, TO_THE_END, flag};
use crate::protocol::Lost;

impl Conn {
    /// Reads, within a budget, and hands over.
    pub(super) fn receive(self: &Rc<Self>, readiness: Readiness) {
        self.clear(flag::AGAIN);
        if self.has(flag::ABORTING) {
            return;
        }
        if self.has(flag::HALTED) {
            return self.set(flag::UNSEEN);
        }
        self.introduce();
        if self.has(flag::MANUAL) {
            self.set(flag::UNSEEN);
            if readiness.has(TO_THE_END) {
                self.set(flag::TO_THE_END);
            }
            return self.call(|protocol, transport| protocol.woken(transport));
        }
        if self.has(flag::PAUSED) {
            return self.set(flag::UNSEEN);
        }
        self.clear(flag::UNSEEN);
        self.redeliver();
        if self.has(flag::END_UNTOLD) && self.may_deliver() && !self.has_unread() {
            self.clear(flag::END_UNTOLD);
            return self.call(|protocol, transport| protocol.read_ended(transport));
        }
        if self.has(flag::READ_ENDED) {
            return;
        }
        self.receive_some(readiness.has(TO_THE_END));
    }

    #[inline(always)]
    pub(super) fn receive_some(self: &Rc<Self>, to_the_end: bool) {
        let reactor = &self.origin.reactor;
        let mut buffer = reactor.take_read_buffer();
        self.receive_into(&mut buffer, to_the_end);
        reactor.put_read_buffer(buffer);
    }

    /// Hands over what the protocol has handed back, if it takes bytes again.
    pub(super) fn redeliver(self: &Rc<Self>) {
        if !self.may_deliver() {
            return;
        }
        if let Some(loan) = self.if_rare(|rare| rare.unread.lend()).flatten() {
            self.hand_over(loan.bytes());
            self.if_rare(|rare| rare.unread.settle(loan));
            if self.has(flag::EARLY) {
                // A layer came during the call: what was handed back before is for it.
                self.clear(flag::EARLY);
                let (early, _) = self.if_rare(|rare| rare.unread.reclaim()).unwrap_or_default();
                self.with_socket(|socket| socket.add_early(&early));
                self.set(flag::UNSEEN);
            }
        }
    }

    /// Whether the protocol takes bytes (or, in lingering, whether they are thrown away).
    pub(super) fn may_deliver(&self) -> bool {
        !self.has(flag::PAUSED | flag::HALTED | flag::CLOSED | flag::ABORTING | flag::MANUAL)
            // A layer may have to hear something before it can send the last of what was written.
            && (!self.has(flag::CLOSING) || self.has(flag::LAYERED) || self.has(flag::LINGER) && self.has(flag::SHUT_DONE))
    }

    /// Whether bytes may come from the socket: not before those that the protocol has handed back.
    #[inline]
    pub(super) fn may_read(&self) -> bool {
        !self.has(super::UNUSUAL) || self.may_read_on()
    }

    fn may_read_on(&self) -> bool {
        self.may_deliver() && !self.has(flag::READ_ENDED) && !self.has_unread()
    }

    #[inline(always)]
    pub(super) fn receive_into(self: &Rc<Self>, buffer: &mut [u8], to_the_end: bool) {
        for _ in 0..READS_PER_TURN {
            if !self.may_read() {
                // Readiness is told once: what was not read now must be remembered.
                return self.set(flag::UNSEEN);
            }
            match self.with_socket(|socket| socket.read(buffer)) {
                Some(Ok(0)) => return self.read_end(),
                Some(Ok(count)) => {
                    self.received.set(self.received.get() + count as u64);
                    self.hand_over(&buffer[..count]);
                    // A short read has drained the socket; asking again would cost a system call per request.
                    if count < buffer.len() && !to_the_end {
                        return;
                    }
                }
                Some(Err(error)) => {
                    if !self.read_again(error) {
                        return;
                    }
                }
                None => return,
            }
        }
        let again =
            if to_the_end { Readiness::READABLE.and(Readiness::READ_CLOSED) } else { Readiness::READABLE };
        self.origin.reactor.ready_again(self.key, again);
    }

    /// Reading has failed: whether to try again at once.
    #[inline(never)]
    fn read_again(&self, error: io::Error) -> bool {
        match error.kind() {
            io::ErrorKind::WouldBlock => false,
            io::ErrorKind::Interrupted => true,
            _ => {
                self.abort(Lost::Broken(Arc::new(error)));
                false
            }
        }
    }

    #[inline(always)]
    pub(super) fn hand_over(self: &Rc<Self>, data: &[u8]) {
        if self.has(flag::CLOSING) {
            return self.throw_away(data.len());
        }
        self.call(|protocol, transport| protocol.data_received(transport, data));
    }

    /// What comes of a peer while the connection lingers.
    #[cold]
    fn throw_away(&self, count: usize) {
        let lingered = self.with_rare(|rare| {
            rare.lingered += count as u64;
            rare.lingered
        });
        if lingered > LINGER_BYTES {
            self.abort(Lost::Closed);
        }
    }

    pub(super) fn read_end(self: &Rc<Self>) {
        self.set(flag::READ_ENDED);
        if self.has(flag::CLOSING) {
            return;
        }
        if self.has(flag::PAUSED | flag::HALTED) || self.has_unread() {
            return self.set(flag::END_UNTOLD);
        }
        self.call(|protocol, transport| protocol.read_ended(transport));
    }
}
