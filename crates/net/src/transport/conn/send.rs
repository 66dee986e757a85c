//! The output's way out: sending, water marks, stalls, and what waits for the last byte. The loop calls it after a callback and
//! when the turn flushes.

use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;

use ropewalk_reactor::Readiness;
use ropewalk_reactor::io::Socket;

use super::{Conn, LINGER, Outbox, Pause, Sent, flag, output};
use crate::protocol::Lost;

/// What is sent at once, without waiting for the flush, in one turn.
const DIRECT_BYTES_PER_TURN: u32 = 256 * 1024;

impl Conn {
    /// After a callback: sends, closes, shuts, goes on reading.
    pub(super) fn settle(self: &Rc<Self>) {
        if self.has(flag::CLOSED | flag::FROZEN) {
            return;
        }
        if self.has(flag::ABORTING) {
            return self.settle_aborted();
        }
        self.send();
        if !self.has(flag::ABORTING | flag::CLOSED) && !self.has_output() {
            self.drained();
        }
        if self.has(flag::ABORTING) && !self.has(flag::CLOSED) {
            self.settle_aborted();
        }
    }

    #[cold]
    fn settle_aborted(self: &Rc<Self>) {
        let lost = self.if_rare(|rare| rare.lost.take()).flatten().unwrap_or(Lost::Aborted);
        if self.has(flag::CONNECTING) {
            return self.discard();
        }
        // After lingering there is nothing left to take back; a reset could still overtake the answer.
        if !matches!(lost, Lost::Ended | Lost::Broken(_) | Lost::Closed) {
            self.with_socket(Socket::set_reset_on_close);
        }
        self.close(&lost);
    }

    pub(super) fn has_output(&self) -> bool {
        let output = self.output.take();
        let has = output.is_some();
        self.output.set(output);
        has
    }

    /// Everything is sent: what was waiting for that happens now.
    #[inline]
    pub(super) fn drained(self: &Rc<Self>) {
        if self.has(flag::LAYERED | flag::SHUT | flag::LINGER | flag::CLOSING) {
            self.end_drained();
        }
    }

    fn end_drained(self: &Rc<Self>) {
        if self.has(flag::LAYERED) && !self.flush_layers() {
            return;
        }
        if self.has(flag::SHUT | flag::LINGER) && !self.has(flag::SHUT_DONE) {
            self.set(flag::SHUT_DONE);
            // Failing means that the peer is gone already, which reading will tell.
            let _ = self.with_socket(|socket| socket.shutdown(Shutdown::Write));
            if self.has(flag::LINGER) {
                self.clear(flag::PAUSED | flag::MANUAL);
                self.arm(Some(self.origin.reactor.now() + LINGER));
                self.origin.reactor.ready_again(self.key, Readiness::READABLE.and(Readiness::READ_CLOSED));
            }
        }
        if self.has(flag::SHUT_DONE) && self.has(flag::READ_ENDED) && !self.has(flag::END_UNTOLD) {
            return self.close(&Lost::Ended);
        }
        if self.has(flag::CLOSING) && (!self.has(flag::LINGER) || self.has(flag::READ_ENDED)) {
            let lost = if self.has(flag::READ_ENDED) { Lost::Ended } else { Lost::Closed };
            self.close(&lost);
        }
    }

    /// Sends what layers hold, and their farewell when the end has come; false while some is left, or it failed.
    fn flush_layers(&self) -> bool {
        let over = self.has(flag::CLOSING | flag::SHUT | flag::LINGER);
        match self.with_socket(|socket| if over { socket.finish() } else { socket.flush() }) {
            Some(Ok(())) => {
                self.unblocked();
                true
            }
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                self.set(flag::BLOCKED);
                if self.if_rare(|rare| rare.stalls_at).flatten().is_none() {
                    self.stall_begins();
                }
                false
            }
            Some(Err(error)) => {
                self.abort(Lost::Broken(Arc::new(error)));
                false
            }
            None => false,
        }
    }

    #[inline(always)]
    pub(super) fn send(self: &Rc<Self>) {
        // Said before it is tried: who has filled it up is told to go on only if he was told to stop.
        self.hold_back();
        self.direct.set(0);
        if self.has(flag::CONNECTING | flag::BLOCKED | flag::PENDING) {
            return;
        }
        let Some(mut output) = self.output.take() else { return self.relieve() };
        let Some(socket) = self.socket.take() else { return output.discard(&Lost::Aborted) };
        let sent = send_through(&mut output, &socket);
        self.socket.set(Some(socket));
        match sent {
            Sent::All(count) => {
                self.sent.set(self.sent.get() + count);
                output.give_back();
                self.unblocked();
                self.watch_stall();
            }
            sent => self.keep_rest(output, sent),
        }
    }

    /// Not all could be sent.
    #[inline(never)]
    fn keep_rest(self: &Rc<Self>, output: Box<Outbox>, sent: Sent) {
        match sent {
            Sent::Blocked(count) => {
                self.sent.set(self.sent.get() + count);
                self.set(flag::BLOCKED);
                if count > 0 {
                    self.stall_begins();
                }
                self.keep(output);
            }
            Sent::Paused(count, pause) => {
                self.sent.set(self.sent.get() + count);
                // It is not the peer that one waits for.
                self.stall_ends();
                self.keep(output);
                match pause {
                    Pause::Turn => self.send_next_turn(),
                    Pause::Disk => self.fetch(),
                }
                return;
            }
            Sent::Failed(error) => self.break_off(output, Lost::Broken(Arc::new(error))),
            Sent::Unreadable(error) => self.break_off(output, Lost::File(Arc::new(error))),
            Sent::All(_) => output.put_away(),
        }
        self.watch_stall();
    }

    /// A peer that takes nothing has its clock running.
    #[inline(always)]
    fn watch_stall(&self) {
        if self.has(flag::BLOCKED) && self.if_rare(|rare| rare.stalls_at).flatten().is_none() {
            self.stall_begins();
        }
    }

    /// Hands bytes to the system now, if nothing is in front of them; answers how many it took. A copy of many would cost more
    /// than a call.
    pub(super) fn send_directly(&self, data: &[u8]) -> usize {
        let others = flag::BLOCKED | flag::CONNECTING | flag::LAYERED | flag::FROZEN;
        if self.direct.get() >= DIRECT_BYTES_PER_TURN || self.has(others) || self.has_output() {
            return 0;
        }
        let count = match self.with_socket(|socket| socket.write(data)) {
            Some(Ok(count)) => count,
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => 0,
            // The flush tries again.
            Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => return 0,
            Some(Err(error)) => {
                self.abort(Lost::Broken(Arc::new(error)));
                // For a writer that goes on until it is full: nothing that he writes from now on would make it so.
                self.set(flag::FULL);
                return 0;
            }
            None => return 0,
        };
        self.sent.set(self.sent.get() + count as u64);
        let direct = self.direct.get().saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        self.direct.set(direct);
        if direct >= DIRECT_BYTES_PER_TURN {
            // A writer that goes on until it is full must give way to others however much the peer takes.
            self.set(flag::FULL);
        }
        if count < data.len() {
            self.set(flag::BLOCKED);
            self.stall_begins();
        }
        count
    }

    /// Sends what would wait for the end of the turn, if so many wait for that already that each more needs a buffer of its own.
    pub(in crate::transport) fn send_early(self: &Rc<Self>) {
        let crowded = self.origin.reactor.flushes_waiting() >= output::POOL_MAX;
        let over = flag::ABORTING | flag::CLOSING | flag::SHUT | flag::CLOSED | flag::FULL;
        let only_output = !self.has(over | flag::FROZEN);
        if crowded && only_output && self.has_output() {
            self.send();
        }
    }

    /// What could not be sent waits; whether there is room for more is told.
    fn keep(&self, output: Box<Outbox>) {
        let low = output.len() <= self.origin.options.low_water_bytes as u64;
        self.output.set(Some(output));
        if low { self.relieve() } else { self.hold_back() }
    }

    #[cold]
    fn break_off(&self, output: Box<Outbox>, lost: Lost) {
        output.discard(&lost);
        self.abort(lost);
    }

    /// Above high water the producer is told to stop.
    #[inline]
    pub(super) fn hold_back(&self) {
        if self.has(flag::FULL) && !self.has(flag::HELD) {
            self.hold_producer();
        }
    }

    fn hold_producer(&self) {
        let producer = self.if_rare(|rare| rare.producer.clone());
        if let Some(producer) = producer.flatten() {
            self.set(flag::HELD);
            producer.pause_producing();
        }
    }

    /// At low water it is told to go on, and whoever awaits a write is woken.
    #[inline]
    pub(super) fn relieve(&self) {
        if self.has(flag::FULL) {
            self.resume_producer();
        }
    }

    fn resume_producer(&self) {
        self.clear(flag::FULL);
        self.wake_waiting();
        let over = self.has(flag::CLOSING | flag::SHUT | flag::ABORTING | flag::CLOSED);
        let producer = self.if_rare(|rare| rare.producer.clone());
        if let Some(producer) = producer.flatten()
            && self.has(flag::HELD)
            // What it makes now would go nowhere, and never fill anything.
            && !over
        {
            self.clear(flag::HELD);
            producer.resume_producing();
        }
    }

    pub(super) fn stall_begins(&self) {
        if let Some(patience) = self.origin.options.write_stall {
            let now = self.origin.reactor.now();
            let first = self.with_rare(|rare| rare.stalls_at.replace(now + patience).is_none());
            if first {
                // The protocol's own deadline is in the wheel: remember it beside the stall's.
                let until = self.origin.reactor.deadline_time(self.timer.get());
                self.with_rare(|rare| rare.until = until);
            }
            let until = self.with_rare(|rare| rare.until);
            self.set_deadline(until);
        }
    }

    #[inline(always)]
    pub(super) fn unblocked(&self) {
        if self.has(flag::RARE) {
            self.stall_ends();
            self.wake_waiting();
        }
        self.relieve();
    }

    fn stall_ends(&self) {
        let stalled = self.if_rare(|rare| rare.stalls_at.take().map(|_| rare.until.take()));
        if let Some(until) = stalled.flatten() {
            self.arm(until);
        }
    }
}

#[inline(always)]
fn send_through(output: &mut Outbox, socket: &Socket) -> Sent {
    match socket {
        Socket::Layered(_) => send_through_layers(output, socket),
        _ => output.send(socket),
    }
}

/// Sends, and lets a layer send what it made of it: one that had no room may have some then, and nobody else would tell.
#[inline(never)]
fn send_through_layers(output: &mut Outbox, socket: &Socket) -> Sent {
    let (mut total, mut flushed) = (0, false);
    loop {
        let count = match output.send(socket) {
            Sent::All(count) => return Sent::All(total + count),
            Sent::Blocked(count) => count,
            Sent::Paused(count, pause) => {
                return match socket.flush() {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => Sent::Failed(error),
                    _ => Sent::Paused(total + count, pause),
                };
            }
            failed @ (Sent::Failed(_) | Sent::Unreadable(_)) => return failed,
        };
        total += count;
        if flushed && count == 0 {
            return Sent::Blocked(total);
        }
        match socket.flush() {
            Ok(()) => flushed = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Sent::Blocked(total),
            Err(error) => return Sent::Failed(error),
        }
    }
}
