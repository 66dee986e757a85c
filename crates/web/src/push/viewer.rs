//! One viewer: its connection, its cursor, and how it is written to. The protocols of the faces own one; the feed knows all.

use std::cell::Cell;
use std::task::Context;

use ropewalk_channel::{Attendance, Batch, EventId};
use ropewalk_net::Transport;

use super::kind::Kind;

/// A viewer in words: what another process needs to go on with it, when its connection is handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parked {
    /// The channel's name.
    pub channel: String,
    /// How it reads.
    pub kind: Kind,
    /// It has everything up to here.
    pub cursor: EventId,
    /// The name it gave.
    pub name: Option<String>,
}

pub(super) struct Viewer {
    pub(super) transport: Transport,
    pub(super) kind: Kind,
    /// The last event that was written.
    pub(super) cursor: Cell<EventId>,
    /// It waits for its connection, and then reads on by itself.
    pub(super) lagging: Cell<bool>,
    /// Its place among the feed's viewers.
    pub(super) index: Cell<usize>,
    pub(super) attendance: Attendance,
}

impl Viewer {
    pub(super) fn new(transport: Transport, kind: Kind, cursor: EventId, attendance: Attendance) -> Viewer {
        Viewer {
            transport,
            kind,
            cursor: Cell::new(cursor),
            lagging: Cell::new(false),
            index: Cell::new(0),
            attendance,
        }
    }

    pub(super) fn write(&self, batch: &Batch) {
        if batch.gap.is_some() || !batch.events.is_empty() {
            let bytes = self.kind.encode(batch);
            self.transport.write(&bytes);
        }
    }

    /// The connection is full: its protocol is woken when it has drained.
    pub(super) fn lags(&self) {
        self.lagging.set(true);
        let waker = self.transport.waker();
        if self.transport.poll_writable(&mut Context::from_waker(&waker)).is_ready() {
            waker.wake();
        }
    }
}
