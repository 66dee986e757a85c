//! The values in which a channel is read: where from, what came, what is missing, and figures.
//!
//! Nothing happens here. Made by `channel`, used by every face.

use crate::event::{Event, EventId};

/// Where to read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// What is published from now on: an empty batch whose `next` is the present place.
    Now,
    /// Everything that is kept. Never a gap.
    Earliest,
    /// What follows the event with this id; the id 0 is [`Since::Earliest`]. A [`Gap`] when it cannot be known
    /// that nothing is missing in between.
    After(EventId),
    /// The last so many events, or all when fewer are kept. Never a gap.
    Last(usize),
}

/// A piece of history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Set when events may be missing between what was asked for and `events`.
    pub gap: Option<Gap>,
    /// The events, oldest first.
    pub events: Vec<Event>,
    /// The cursor to read on from: the id of the last event here, or the place reached without one. Never 0.
    pub next: EventId,
    /// Whether the limit cut the batch and there is more to read now.
    pub more: bool,
}

/// What was asked for is not there; reading went on from the earliest event that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The id after which events were asked for.
    pub asked: EventId,
    /// Events after this id follow; all up to it are gone. Not itself the id of an event that can be read.
    pub resumed: EventId,
    /// What happened.
    pub reason: GapReason,
    /// How many events are missing, where that is known: both ends belong to one life of the log, and no id between them was left
    /// out.
    pub missed: Option<u64>,
}

/// Why there is a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapReason {
    /// The id is older than what is kept: retention, or a log that began anew with the process.
    Dropped,
    /// The id lies ahead of the last one: it was never given by this log. It may come from a machine whose clock
    /// was ahead, or be made up; so all that is kept follows, and the reader must take it for a new beginning.
    Unknown,
}

/// Figures of one channel.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Statistics {
    /// Events kept.
    pub events: usize,
    /// Bytes of data they have.
    pub bytes: usize,
    /// Events dropped by retention since the channel was made or loaded.
    pub dropped: u64,
    /// Events published since the channel was made or loaded.
    pub published: u64,
    /// Events that wait for the journal.
    pub waiting: usize,
    /// Listeners subscribed now.
    pub subscribers: usize,
    /// Events not yet delivered to every listener: 0 outside of a delivery.
    pub pending: usize,
    /// Who is present.
    pub present: usize,
    /// Events per second over the last ten seconds or so.
    pub rate: f64,
    /// The id of the last event, or the place before the first.
    pub last: EventId,
    /// Everything up to this id is gone.
    pub floor: EventId,
}
