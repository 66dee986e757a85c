//! One viewer: its connection, its cursor, and how it is written to. The protocols of the faces own one; the feed knows all.

use std::cell::Cell;
use std::task::Context;

use ropewalk_channel::{Attendance, Batch, EventId};
use ropewalk_net::Transport;

use super::kind::Kind;
use super::socket;
use crate::websocket::WebSocket;

/// Where a viewer's events go.
pub(super) enum Line {
    /// A connection that is this viewer's alone, and how it reads.
    Stream(Transport, Kind),
    /// A WebSocket, which may have viewers of other channels also.
    Socket(WebSocket),
}

pub(super) struct Viewer {
    pub(super) line: Line,
    /// The last event that was written.
    pub(super) cursor: Cell<EventId>,
    /// Its place among the feed's viewers.
    pub(super) index: Cell<u32>,
    /// It waits for its connection, and then reads on by itself.
    pub(super) lagging: Cell<bool>,
    pub(super) attendance: Attendance,
}

impl Viewer {
    pub(super) fn new(line: Line, cursor: EventId, attendance: Attendance) -> Viewer {
        Viewer { line, cursor: Cell::new(cursor), index: Cell::new(0), lagging: Cell::new(false), attendance }
    }

    pub(super) fn transport(&self) -> &Transport {
        match &self.line {
            Line::Stream(transport, _) => transport,
            Line::Socket(socket) => socket.transport(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.transport().is_full()
    }

    /// Writes for this viewer alone: what `channel` has from where it is.
    pub(super) fn write(&self, channel: &str, batch: &Batch) {
        if batch.gap.is_none() && batch.events.is_empty() {
            return;
        }
        match &self.line {
            Line::Stream(transport, kind) => transport.write(&kind.encode(batch)),
            Line::Socket(socket) => {
                socket::messages(channel, batch).iter().for_each(|text| socket.send_text(text))
            }
        }
    }

    /// The connection is full: its protocol is woken when it has drained.
    pub(super) fn lags(&self) {
        self.lagging.set(true);
        match &self.line {
            Line::Stream(transport, _) => {
                let waker = transport.waker();
                if transport.poll_writable(&mut Context::from_waker(&waker)).is_ready() {
                    waker.wake();
                }
            }
            Line::Socket(socket) => socket.wait_for_room(),
        }
    }

    /// The channel is no more: a stream ends with it, a WebSocket is told.
    pub(super) fn end(&self, channel: &str) {
        match &self.line {
            Line::Stream(transport, _) => transport.lose_connection(),
            Line::Socket(socket) => socket.send_text(&socket::removed(channel)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each byte here counts for every idle subscriber.
    #[test]
    fn a_viewer_is_small() {
        assert!(size_of::<Viewer>() <= 40, "{}", size_of::<Viewer>());
    }
}
