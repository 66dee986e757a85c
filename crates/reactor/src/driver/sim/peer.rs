//! `Peer`: the test's own hand on the simulated wire, outside of the reactor. What it asks of the network is in `sim`.

use std::cell::RefCell;
use std::rc::Rc;

use super::{End, Happening};
use crate::io::Address;

/// A peer in a test's hand: the other end of a connection, with no protocol behind it.
pub struct Peer {
    end: End,
    received: RefCell<Vec<u8>>,
}

impl Peer {
    pub(super) fn new(end: End) -> Peer {
        Peer { end, received: RefCell::default() }
    }

    /// Sends all of it, or as much as the window takes; answers how much that was.
    pub fn write(&self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.end.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        sent
    }

    /// Reads all that has arrived and answers everything received since the last `take`.
    pub fn take(&self) -> Vec<u8> {
        self.fill();
        std::mem::take(&mut self.received.borrow_mut())
    }

    /// Reads at most so many bytes of what has arrived: a slow reader.
    pub fn take_some(&self, most: usize) -> Vec<u8> {
        let mut buffer = vec![0; most];
        let count = self.end.read(&mut buffer).unwrap_or(0);
        buffer.truncate(count);
        buffer
    }

    /// What has arrived so far, as text, without taking it.
    pub fn text(&self) -> String {
        self.fill();
        String::from_utf8_lossy(&self.received.borrow()).into_owned()
    }

    /// Bytes that have arrived and were not read.
    pub fn waiting(&self) -> usize {
        self.end.incoming().0.borrow().arrived.len() + self.received.borrow().len()
    }

    /// Whether a write would be taken now, at least in part.
    pub fn is_writable(&self) -> bool {
        let state = self.end.outgoing().0.borrow();
        let world = self.end.network.0.borrow();
        let window = state.window.unwrap_or(world.conditions.window_bytes);
        self.is_connected()
            && !state.end_sent
            && !state.reset
            && window > state.arrived.len() + state.in_flight
    }

    /// How much may arrive here unread before the other side can write no more; `None` for what the conditions say. What is
    /// under way already arrives all the same.
    pub fn set_window(&self, bytes: Option<usize>) {
        let pipe = self.end.incoming();
        pipe.0.borrow_mut().window = bytes;
        if std::mem::take(&mut pipe.0.borrow_mut().writer_blocked) {
            let mut world = self.end.network.0.borrow_mut();
            let at = world.now + world.latency();
            world.push(at, Happening::Room(Rc::clone(pipe)));
        }
    }

    /// Whether the other side has ended its direction and all was read.
    pub fn is_ended(&self) -> bool {
        self.fill();
        let state = self.end.incoming().0.borrow();
        state.reset || (state.ended && state.arrived.is_empty())
    }

    /// Whether the connection was reset.
    pub fn is_reset(&self) -> bool {
        self.end.incoming().0.borrow().reset
    }

    /// Whether the connection is made (it takes a while after `connect`).
    pub fn is_connected(&self) -> bool {
        matches!(*self.end.pair.connected.borrow(), Some(Ok(())))
    }

    /// This side's address.
    pub fn local_address(&self) -> Address {
        self.end.local_address()
    }

    /// Ends this direction; the other goes on.
    pub fn shutdown_write(&self) {
        self.end.send_end();
    }

    /// Breaks the connection with a reset.
    pub fn reset(self) {
        self.end.reset_on_close();
    }

    fn fill(&self) {
        let mut buffer = [0; 4096];
        while let Ok(count) = self.end.read(&mut buffer) {
            if count == 0 {
                break;
            }
            self.received.borrow_mut().extend_from_slice(&buffer[..count]);
        }
    }
}
