//! One viewer: its connection, its cursor, and how it is written to. The protocols of the faces own one; the feed knows all.

use std::cell::Cell;
use std::task::Context;

use ropewalk_channel::{Batch, EventId, Gap};
use ropewalk_net::Transport;
use ropewalk_wire::sse;

/// How a viewer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sse,
    Raw,
}

impl Kind {
    pub(super) const COUNT: usize = 2;

    /// A batch as this kind reads it. If it begins with a gap, that is so many events long, or nobody knows how many.
    pub(super) fn encode(self, batch: &Batch, missed: Option<u64>) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(gap) = batch.gap {
            self.encode_gap(&mut out, gap, missed);
        }
        for event in &batch.events {
            match self {
                Kind::Sse => sse::encode_event(&mut out, Some(&event.id.to_string()), None, &event.data),
                Kind::Raw => {
                    out.extend_from_slice(event.data.as_bytes());
                    out.push(b'\n');
                }
            }
        }
        out
    }

    fn encode_gap(self, out: &mut Vec<u8>, gap: Gap, missed: Option<u64>) {
        match self {
            Kind::Sse => {
                let missed = missed.map(|missed| format!(",\"missed\":{missed}")).unwrap_or_default();
                let data = format!("{{\"asked\":\"{}\",\"resumed\":\"{}\"{missed}}}", gap.asked, gap.resumed);
                sse::encode_event(out, Some(&gap.resumed.to_string()), Some("gap"), &data);
            }
            Kind::Raw => {
                let lines = missed.map(|missed| format!("{missed} ")).unwrap_or_default();
                out.extend_from_slice(b"--- ");
                out.extend_from_slice(lines.as_bytes());
                out.extend_from_slice(b"lines were lost here: this reader was too slow ---\n");
            }
        }
    }
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
}

impl Viewer {
    pub(super) fn new(transport: Transport, kind: Kind, cursor: EventId) -> Viewer {
        Viewer { transport, kind, cursor: Cell::new(cursor), lagging: Cell::new(false), index: Cell::new(0) }
    }

    pub(super) fn write(&self, batch: &Batch, missed: Option<u64>) {
        if batch.gap.is_some() || !batch.events.is_empty() {
            let bytes = self.kind.encode(batch, missed);
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
