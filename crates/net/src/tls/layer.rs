//! The layer: TLS between a transport and its socket, in either role. `server`, `client` and `start_tls` make it; rustls's state
//! machine is in `session`.
//!
//! An idle connection owns no buffer. What is read comes into a scratch buffer that all connections of a reactor share, is
//! worked through there, and leaves plain; only the beginning of a record that has not come whole is kept. What is written is
//! made into records in another one, and only what the socket did not take is kept. Both are bounded: by one read, and by one
//! round of records.
//!
//! The protocol may pause its reading, and the handshake must go on all the same: `flush`, which is called at the end of every
//! event, reads for it.

use std::any::Any;
use std::cell::Cell;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ropewalk_reactor::io::{Below, Layer};
use ropewalk_reactor::{DelayedCall, Failure, Firing, Key, Name, Reactor, Readiness, WeakReactor};
use rustls::HandshakeKind;

use super::error::TlsError;
use super::session::{RECORD_BYTES_MAX, RECORD_OVERHEAD_MAX, Session};

/// Plain bytes that are made into records and handed to the socket at once.
const ROUND_BYTES: usize = 4 * RECORD_BYTES_MAX;
const ROUND_RECORDS_BYTES: usize = ROUND_BYTES + 5 * RECORD_OVERHEAD_MAX;
/// The least that is read at once, however little the protocol asks for: one whole record.
const READ_BYTES_MIN: usize = RECORD_BYTES_MAX + 2048;
/// What one connection may leave undone, and one read behind it. A handshake message of rustls is at most 64 KiB.
const SCRATCH_BYTES: usize = 64 * 1024 + READ_BYTES_MIN + READ_BYTES_MIN;

/// Buffers that all TLS connections of one reactor use by turns. Taken out while in use: a layer may lie on another one.
#[derive(Default)]
pub(super) struct Scratch {
    incoming: Cell<Vec<u8>>,
    outgoing: Cell<Vec<u8>>,
    gathered: Cell<Vec<u8>>,
}

impl Scratch {
    fn take(slot: &Cell<Vec<u8>>, length: usize) -> Vec<u8> {
        let mut buffer = slot.take();
        buffer.resize(length, 0);
        buffer
    }
}

/// What has come of handshakes, over all connections of one configuration.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) handshakes: AtomicU64,
    pub(super) resumed: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) timed_out: AtomicU64,
    pub(super) truncated: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The reactor's own handle of this connection.
struct Place {
    reactor: WeakReactor,
    key: Key,
    scratch: Rc<Scratch>,
}

/// What is only of interest until the handshake is done.
struct Opening {
    limit: Duration,
    timer: Option<DelayedCall>,
    over: Rc<Cell<bool>>,
    /// Somebody stands in for the protocol, and is to be woken when it is done.
    awaited: bool,
    /// The protocol itself is to be woken when it is done.
    notifies: bool,
    /// It was told to the counters how it ended.
    counted: bool,
    /// Who hears that it is done, or why it will not be.
    told: Option<Firing<()>>,
}

impl Opening {
    fn fail(&mut self, error: &io::Error) {
        if let Some(told) = self.told.take() {
            let _ = told.errback(Failure::new(TlsError::again(error)));
        }
    }
}

/// TLS on one connection.
pub struct TlsLayer {
    session: Session,
    counters: Arc<Counters>,
    place: Option<Place>,
    opening: Option<Box<Opening>>,
    /// The name that the client has asked for.
    pub(super) asked: Option<Box<str>>,
    /// From the peer, and not a whole record (or message) yet.
    incoming: Vec<u8>,
    /// For the protocol: it asked for less than one record.
    plain: Vec<u8>,
    /// For the peer: the socket had no room.
    held: Vec<u8>,
    /// A read has come by since the last flush: whoever reads needs no help.
    reading: bool,
    /// The handshake is done, and who waited for it has not let the bytes go on yet.
    waiting: bool,
    /// There may be more in the socket than was read when the handshake was done.
    unread: bool,
    /// The peer has said farewell.
    closed: bool,
    failed: bool,
    /// What broke behind bytes that had to be handed over first.
    late: Option<io::Error>,
    truncation_allowed: bool,
}

/// Where plain bytes go.
struct Sink<'a> {
    into: &'a mut [u8],
    filled: usize,
    rest: Vec<u8>,
}

impl Sink<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let count = if self.rest.is_empty() { bytes.len().min(self.into.len() - self.filled) } else { 0 };
        self.into[self.filled..self.filled + count].copy_from_slice(&bytes[..count]);
        self.filled += count;
        self.rest.extend_from_slice(&bytes[count..]);
    }

    fn is_empty(&self) -> bool {
        self.filled == 0 && self.rest.is_empty()
    }
}

/// What reading from below came to.
#[derive(PartialEq, Eq)]
enum Drained {
    /// There is nothing more, or a short read says so.
    Yes,
    /// There may be more.
    No,
    End,
}

impl TlsLayer {
    pub(super) fn new(
        mut session: Session,
        counters: Arc<Counters>,
        limit: Duration,
        truncation_allowed: bool,
    ) -> TlsLayer {
        let mut held = Vec::new();
        // A client speaks first. It can only fail with bytes from the peer.
        let _ = session.process(&mut [], &mut |_| {}, &mut held);
        let over = Rc::default();
        let opening =
            Opening { limit, timer: None, over, awaited: false, notifies: false, counted: false, told: None };
        TlsLayer {
            session,
            counters,
            place: None,
            opening: Some(Box::new(opening)),
            asked: None,
            incoming: Vec::new(),
            plain: Vec::new(),
            held,
            reading: false,
            waiting: false,
            unread: false,
            closed: false,
            failed: false,
            late: None,
            truncation_allowed,
        }
    }

    /// Whether the handshake is done.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.opening.is_none()
    }

    /// Whether the peer may end the connection without a farewell (`close_notify`): where the protocol knows by itself when
    /// it has everything, a connection that was cut off is nothing special.
    pub fn allow_truncation(&mut self, allowed: bool) {
        self.truncation_allowed = allowed;
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// The stand-in is to be woken when the handshake is done, and bytes wait for [`TlsLayer::release`].
    pub(super) fn await_handshake(&mut self) {
        if let Some(opening) = &mut self.opening {
            opening.awaited = true;
        }
    }

    /// This one is fired when the handshake is done, or has failed.
    pub(super) fn tell(&mut self, told: Firing<()>) {
        if let Some(opening) = &mut self.opening {
            opening.told = Some(told);
        }
    }

    /// The protocol is to be woken when the handshake is done.
    pub(super) fn notify(&mut self) {
        if let Some(opening) = &mut self.opening {
            opening.notifies = true;
        }
    }

    /// The protocol is in its place: what has come goes on to it.
    pub(super) fn release(&mut self) {
        if std::mem::take(&mut self.waiting) && (self.unread || self.closed || !self.plain.is_empty()) {
            self.again(Readiness::READABLE);
        }
    }

    fn again(&self, readiness: Readiness) {
        if let Some(Place { reactor, key, .. }) = &self.place
            && let Some(reactor) = reactor.upgrade()
        {
            reactor.ready_again(*key, readiness);
        }
    }

    fn check(&mut self, below: &Below) -> io::Result<()> {
        if self.failed {
            let failed = || TlsError::Protocol("the connection has failed".to_owned()).into_io();
            return Err(self.late.take().unwrap_or_else(failed));
        }
        let Some(opening) = self.opening.as_deref().filter(|opening| opening.over.get()) else {
            return Ok(());
        };
        let text = format!("TLS: the handshake was not done after {:?}", opening.limit);
        count(&self.counters.timed_out);
        let error = io::Error::new(io::ErrorKind::TimedOut, text);
        self.refuse(below, &error);
        Err(error)
    }

    /// Nothing goes on after this.
    fn refuse(&mut self, below: &Below, error: &io::Error) {
        self.failed = true;
        if let Some(opening) = &mut self.opening {
            opening.counted = true;
            opening.fail(error);
            count(&self.counters.failed);
            let peer = below.socket().peer_address().map_or_else(|_| String::new(), |peer| peer.to_string());
            tracing::debug!(peer, "a handshake has failed: {error}");
        }
    }

    fn fail(&mut self, below: &Below, error: TlsError) -> io::Error {
        let error = error.into_io();
        self.refuse(below, &error);
        // The alert, if there is room for it; nobody waits for that.
        let _ = self.flush_held(below);
        error
    }

    /// Reads and works through what is there, until something plain came of it or there is no more.
    fn pump(&mut self, below: &Below, sink: &mut Sink<'_>) -> io::Result<Drained> {
        let Some(scratch) = self.place.as_ref().map(|place| Rc::clone(&place.scratch)) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let mut buffer = Scratch::take(&scratch.incoming, SCRATCH_BYTES);
        let mut used = self.incoming.len();
        buffer[..used].copy_from_slice(&self.incoming);
        self.incoming = Vec::new();
        let outcome = self.pump_through(below, sink, &mut buffer, &mut used);
        if used > 0 {
            self.incoming = buffer[..used].to_vec();
        }
        scratch.incoming.set(buffer);
        outcome
    }

    fn pump_through(
        &mut self,
        below: &Below,
        sink: &mut Sink<'_>,
        buffer: &mut [u8],
        used: &mut usize,
    ) -> io::Result<Drained> {
        while !self.closed {
            let room = (sink.into.len() - sink.filled).max(READ_BYTES_MIN).min(buffer.len() - *used);
            if room == 0 {
                return Err(self.fail(below, TlsError::Protocol("a message is too long".to_owned())));
            }
            let count = match below.read(&mut buffer[*used..*used + room]) {
                Ok(0) => return Ok(Drained::End),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Drained::Yes),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    if let Some(opening) = &mut self.opening {
                        opening.fail(&error);
                    }
                    return Err(error);
                }
            };
            *used += count;
            let opening = self.opening.is_some();
            self.work(below, sink, buffer, used)?;
            if opening && self.waiting {
                self.unread = !below.is_drained();
                return Ok(Drained::No);
            }
            if sink.into.len() - sink.filled < READ_BYTES_MIN && !sink.is_empty() {
                return Ok(Drained::No);
            }
            if below.is_drained() {
                return Ok(Drained::Yes);
            }
        }
        Ok(Drained::Yes)
    }

    /// Works through the first `used` bytes of the buffer; what is not done with moves to its beginning.
    fn work(
        &mut self,
        below: &Below,
        sink: &mut Sink<'_>,
        buffer: &mut [u8],
        used: &mut usize,
    ) -> io::Result<()> {
        let progress =
            self.session.process(&mut buffer[..*used], &mut |bytes| sink.put(bytes), &mut self.held);
        buffer.copy_within(progress.consumed..*used, 0);
        *used -= progress.consumed;
        self.closed |= progress.closed;
        if self.opening.is_some()
            && let Some(asked) = super::names::take_asked()
        {
            self.asked = Some(asked);
        }
        if let Err(error) = progress.outcome {
            return Err(self.fail(below, error));
        }
        if self.opening.is_some() && !self.session.common().is_handshaking() {
            self.establish();
        }
        Ok(())
    }

    fn establish(&mut self) {
        let Some(mut opening) = self.opening.take() else { return };
        if let Some(told) = opening.told.take() {
            // Who has given up does not mind.
            let _ = told.callback(());
        }
        if let Some(timer) = &opening.timer {
            // It may have rung in this very turn.
            let _ = timer.cancel();
        }
        count(&self.counters.handshakes);
        if self.session.common().handshake_kind() == Some(HandshakeKind::Resumed) {
            count(&self.counters.resumed);
        }
        self.waiting = opening.awaited;
        if (opening.awaited || opening.notifies)
            && let Some(Place { reactor, key, .. }) = &self.place
            && let Some(reactor) = reactor.upgrade()
        {
            reactor.wake(*key);
        }
    }

    /// The peer's direction is over: in good order, or not.
    fn end(&mut self, below: &Below) -> io::Result<usize> {
        if self.closed {
            return Ok(0);
        }
        if self.opening.is_none() {
            // In the middle of a record nobody ends who means it.
            if self.truncation_allowed && self.incoming.is_empty() {
                self.closed = true;
                return Ok(0);
            }
            count(&self.counters.truncated);
        }
        let text = match self.opening {
            Some(_) => "TLS: the peer has gone during the handshake",
            None => "TLS: the peer has ended the connection without a close_notify: something may be missing",
        };
        let error = io::Error::new(io::ErrorKind::UnexpectedEof, text);
        self.refuse(below, &error);
        Err(error)
    }

    /// The handshake of a protocol that has paused its reading.
    fn handshake(&mut self, below: &Below) -> io::Result<()> {
        let mut sink = Sink { into: &mut [], filled: 0, rest: std::mem::take(&mut self.plain) };
        let outcome = self.pump(below, &mut sink);
        self.plain = sink.rest;
        if outcome? == Drained::End && !self.closed {
            self.end(below)?;
        }
        if self.opening.is_none() && !self.waiting {
            // Whatever else has come is for the one who reads.
            self.again(Readiness::READABLE);
        }
        Ok(())
    }

    fn flush_held(&mut self, below: &Below) -> io::Result<()> {
        let mut sent = 0;
        let outcome = loop {
            if sent == self.held.len() {
                break Ok(());
            }
            match below.write(&self.held[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        if sent == self.held.len() {
            self.held = Vec::new();
        } else if sent > 0 {
            self.held.drain(..sent);
        }
        outcome
    }

    /// Makes records of some bytes and hands them on, in rounds; what the socket does not take is held.
    fn send(&mut self, below: &Below, from: &[u8], out: &mut [u8]) -> io::Result<usize> {
        let mut taken = 0;
        while taken < from.len() {
            let round = &from[taken..from.len().min(taken + ROUND_BYTES)];
            let length = match self.session.encrypt(&mut self.incoming, Some(round), out) {
                Ok(length) => length,
                Err(error) => return Err(self.fail(below, error)),
            };
            taken += round.len();
            let mut sent = 0;
            while sent < length {
                match below.write(&out[sent..length]) {
                    Ok(count) => sent += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.held = out[sent..length].to_vec();
                        return Ok(taken);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(taken)
    }
}

impl Layer for TlsLayer {
    fn attached(&mut self, reactor: &Reactor, key: Key) {
        let scratch = reactor.part(Scratch::default);
        self.place = Some(Place { reactor: reactor.downgrade(), key, scratch });
        let Some(opening) = &mut self.opening else { return };
        let (over, weak) = (Rc::clone(&opening.over), reactor.downgrade());
        let at = reactor.now() + opening.limit;
        opening.timer = Some(reactor.call_at_named(Name::new("TLS handshake"), at, move || {
            over.set(true);
            if let Some(reactor) = weak.upgrade() {
                reactor.ready_again(key, Readiness::READABLE.and(Readiness::WRITABLE));
            }
        }));
    }

    fn read(&mut self, below: &Below, into: &mut [u8]) -> io::Result<usize> {
        self.check(below)?;
        self.reading = true;
        if self.waiting || into.is_empty() {
            self.unread = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut sink = Sink { into, filled: 0, rest: Vec::new() };
        let plain = std::mem::take(&mut self.plain);
        sink.put(&plain);
        drop(plain);
        let hold = self.opening.as_deref().is_some_and(|opening| opening.awaited);
        let drained = if sink.rest.is_empty() {
            let mut aside = Sink { into: &mut [], filled: 0, rest: Vec::new() };
            let outcome = self.pump(below, if hold { &mut aside } else { &mut sink });
            sink.rest.extend_from_slice(&aside.rest);
            outcome
        } else {
            Ok(Drained::No)
        };
        let (filled, rest) = (sink.filled, sink.rest);
        self.plain = rest;
        if filled == 0 {
            return match drained {
                Err(error) => Err(error),
                Ok(Drained::End) if !self.waiting => self.end(below),
                Ok(_) if self.closed && !self.waiting => Ok(0),
                Ok(_) => Err(io::ErrorKind::WouldBlock.into()),
            };
        }
        let to_the_end = Readiness::READABLE.and(Readiness::READ_CLOSED);
        match drained {
            // The next read tells.
            Err(error) => {
                self.failed = true;
                self.late = Some(error);
                self.again(to_the_end);
            }
            Ok(Drained::End) => self.again(to_the_end),
            Ok(_) if self.closed => self.again(to_the_end),
            Ok(Drained::No) => self.again(Readiness::READABLE),
            Ok(Drained::Yes) => {}
        }
        Ok(filled)
    }

    fn write(&mut self, below: &Below, from: &[u8]) -> io::Result<usize> {
        self.check(below)?;
        if self.opening.is_some() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.flush_held(below)?;
        let Some(scratch) = self.place.as_ref().map(|place| Rc::clone(&place.scratch)) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let mut out = Scratch::take(&scratch.outgoing, ROUND_RECORDS_BYTES);
        let outcome = self.send(below, from, &mut out);
        scratch.outgoing.set(out);
        outcome
    }

    fn write_vectored(&mut self, below: &Below, from: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(scratch) = self.place.as_ref().map(|place| Rc::clone(&place.scratch)) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        // Small pieces share a record: each of its own would cost its overhead, and an alignment of the cipher.
        let mut gathered = Scratch::take(&scratch.gathered, 0);
        for piece in from {
            let room = ROUND_BYTES - gathered.len();
            gathered.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        let outcome = self.write(below, &gathered);
        scratch.gathered.set(gathered);
        outcome
    }

    fn flush(&mut self, below: &Below) -> io::Result<()> {
        self.check(below)?;
        if !std::mem::take(&mut self.reading) && self.opening.is_some() {
            self.handshake(below)?;
        }
        self.flush_held(below)
    }

    fn end(&mut self) {
        if self.failed || self.opening.is_some() {
            // Before the handshake there is nothing that could be cut off.
            return;
        }
        let mut farewell = [0; 2 * RECORD_OVERHEAD_MAX];
        if let Ok(length) = self.session.encrypt(&mut self.incoming, None, &mut farewell) {
            self.held.extend_from_slice(&farewell[..length]);
        }
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

impl Drop for TlsLayer {
    fn drop(&mut self) {
        let Some(opening) = &self.opening else { return };
        if let Some(timer) = &opening.timer {
            // It may have rung.
            let _ = timer.cancel();
        }
        if !opening.counted {
            // The connection broke, or this side did not want it any more.
            count(&self.counters.failed);
        }
    }
}
