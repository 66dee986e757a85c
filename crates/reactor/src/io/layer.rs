//! Layers: something between a transport and its socket that turns bytes into bytes, such as TLS, a throttle, a log of the
//! traffic. To the transport a socket with a layer is a socket, so every protocol runs over every layer unchanged.
//!
//! ```text
//!   protocol ── plain ──► Layer::write ──► Below::write ──► socket (or another layer)
//!   protocol ◄── plain ── Layer::read  ◄── Below::read  ◄── socket
//! ```
//! A layer may be put on a connection that has been running (STARTTLS): what was read before and not consumed comes to it first,
//! and what was written before leaves in the clear, ahead of it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, IoSlice};
use std::net::Shutdown;

use super::Socket;
use crate::reactor::Reactor;
use crate::source::Key;

/// Bytes to bytes, both ways. One layer belongs to one connection.
///
/// The rules of a nonblocking, edge-triggered socket hold for `read` and `write`: [`io::ErrorKind::WouldBlock`] when there is
/// nothing or no room; a short read says that nothing more is there. A layer that holds something back although its socket has
/// more, or has room (a throttle does), wakes its connection itself: [`Reactor::ready_again`] with the key it was given.
pub trait Layer: Any {
    /// It is on its connection; before anything else.
    fn attached(&mut self, reactor: &Reactor, key: Key) {
        let _ = (reactor, key);
    }

    /// Reads what is there for the protocol; 0 at the end of the stream.
    fn read(&mut self, below: &Below, into: &mut [u8]) -> io::Result<usize> {
        below.read(into)
    }

    /// Takes what fits of the protocol's bytes.
    fn write(&mut self, below: &Below, from: &[u8]) -> io::Result<usize> {
        below.write(from)
    }

    /// The same of several pieces. A layer for which it matters how its bytes are cut takes them together.
    fn write_vectored(&mut self, below: &Below, from: &[IoSlice<'_>]) -> io::Result<usize> {
        super::write_pieces(from, |piece| self.write(below, piece))
    }

    /// Sends on what the layer itself still holds; `WouldBlock` while some is left.
    fn flush(&mut self, below: &Below) -> io::Result<()> {
        let _ = below;
        Ok(())
    }

    /// Nothing more will be written: it says farewell, if it has one, which the next `flush` sends. Called once.
    fn end(&mut self) {}

    /// For who knows which layer it is.
    fn as_any(&mut self) -> &mut dyn Any;
}

/// What lies under a layer: the socket, and what has to go before.
pub struct Below {
    socket: Socket,
    /// Read from the socket before the layer was there.
    early: RefCell<Vec<u8>>,
    /// Written before the layer was there.
    clear: RefCell<Vec<u8>>,
    /// No event has come yet, or none since a read has found less than there was room for: the socket need not be asked.
    drained: Cell<bool>,
    /// The peer's end was told, which is done once: a short read says nothing from then on, for it may come behind.
    ends: Cell<bool>,
}

impl Below {
    /// Reads from the socket, and before that what was read already.
    pub fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        let mut early = self.early.borrow_mut();
        if early.is_empty() {
            return self.read_socket(into);
        }
        let count = early.len().min(into.len());
        into[..count].copy_from_slice(&early[..count]);
        early.drain(..count);
        if early.is_empty() {
            *early = Vec::new();
            // A short read says that there is nothing more; the socket has not been asked.
            if count < into.len() {
                return match self.read_socket(&mut into[count..]) {
                    Ok(more) => Ok(count + more),
                    Err(_) => Ok(count),
                };
            }
        }
        Ok(count)
    }

    /// Reads, unless that is known to find nothing: a system call less for a layer that asks until there is no more.
    fn read_socket(&self, into: &mut [u8]) -> io::Result<usize> {
        if self.drained.get() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let outcome = self.socket.read(into);
        let is_short = match &outcome {
            Ok(count) => (1..into.len()).contains(count),
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        // Another layer may have more than it gave.
        let is_socket = !matches!(self.socket, Socket::Layered(_));
        self.drained.set(is_short && is_socket && !self.ends.get());
        outcome
    }

    /// Whether a read would find nothing: only an event can change that. False where it is not known.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.drained.get() && self.early.borrow().is_empty()
    }

    /// Writes to the socket, once what was written before the layer has left.
    pub fn write(&self, from: &[u8]) -> io::Result<usize> {
        self.flush_clear()?;
        self.socket.write(from)
    }

    /// The socket itself.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    fn flush_clear(&self) -> io::Result<()> {
        let mut clear = self.clear.borrow_mut();
        while !clear.is_empty() {
            let count = self.socket.write(&clear)?;
            clear.drain(..count);
        }
        Ok(())
    }
}

/// A socket with a layer on it.
pub struct Layered {
    below: Below,
    layer: RefCell<Box<dyn Layer>>,
    ended: Cell<bool>,
}

impl Layered {
    /// Puts a layer on a socket. `early` was read from the socket and is for the layer; `clear` is to leave ahead of it. If events have
    /// come for the socket before, it wants [`Socket::heard`].
    #[must_use]
    pub fn new(socket: Socket, layer: Box<dyn Layer>, early: Vec<u8>, clear: Vec<u8>) -> Layered {
        let (early, clear) = (RefCell::new(early), RefCell::new(clear));
        let below = Below { socket, early, clear, drained: Cell::new(true), ends: Cell::new(false) };
        Layered { below, layer: RefCell::new(layer), ended: Cell::new(false) }
    }

    /// More that was read before the layer was there.
    pub(super) fn add_early(&self, bytes: &[u8]) {
        self.below.early.borrow_mut().extend_from_slice(bytes);
    }

    pub(super) fn heard(&self, end: bool) {
        self.below.drained.set(false);
        self.below.ends.set(self.below.ends.get() || end);
        self.below.socket.heard(end);
    }

    pub(super) fn below(&self) -> &Socket {
        &self.below.socket
    }

    pub(super) fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        self.layer.borrow_mut().read(&self.below, into)
    }

    pub(super) fn write(&self, from: &[u8]) -> io::Result<usize> {
        self.layer.borrow_mut().write(&self.below, from)
    }

    pub(super) fn write_vectored(&self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        self.layer.borrow_mut().write_vectored(&self.below, from)
    }

    pub(super) fn flush(&self) -> io::Result<()> {
        let own = || {
            self.below.flush_clear()?;
            self.layer.borrow_mut().flush(&self.below)
        };
        match own() {
            Ok(()) => self.below.socket.flush(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // A layer further down may have had no room, and have some after this.
                self.below.socket.flush()?;
                own()?;
                self.below.socket.flush()
            }
            Err(error) => Err(error),
        }
    }

    /// Says farewell; true once all of it has left.
    pub(super) fn finish(&self) -> io::Result<()> {
        if !self.ended.replace(true) {
            self.layer.borrow_mut().end();
        }
        self.flush()?;
        self.below.socket.finish()
    }

    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.below.socket.shutdown(how)
    }

    /// Looks at the layer, if it is an `L`, here or further down.
    pub(super) fn find<L: Layer, T>(&self, then: impl FnOnce(&mut L) -> T) -> Option<T> {
        let mut layer = self.layer.borrow_mut();
        match layer.as_any().downcast_mut::<L>() {
            Some(found) => Some(then(found)),
            None => self.below.socket.layer(then),
        }
    }
}

impl fmt::Debug for Layered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layered").field("below", &self.below.socket).finish_non_exhaustive()
    }
}
