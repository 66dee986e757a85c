//! How much history is kept, how much of it is read at once, and what there is: plain values.
//!
//! Nothing is dropped here; `log` does that. Set by whoever makes a channel.

use std::time::Duration;

use crate::event::EventId;

/// How much history a channel keeps. Whichever is reached first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// At most so many events. 0 keeps nothing: live viewers only.
    pub events_max: usize,
    /// At most so many bytes of data, all kept events together; also the largest event that is accepted.
    pub bytes_max: usize,
    /// Nothing older than this, if set. Looked at whenever an event is published or the history is read.
    pub age_max: Option<Duration>,
}

impl Default for Retention {
    /// 10,000 events or 64 MiB, of any age: some hours of a busy log, at a cost one process can bear per channel.
    fn default() -> Self {
        Retention { events_max: 10_000, bytes_max: 64 * 1024 * 1024, age_max: None }
    }
}

impl Retention {
    /// Whether the oldest of so many events, with so many bytes together, is to be dropped at `now_ms`.
    pub(crate) fn is_beyond(&self, events: usize, bytes: usize, oldest_ms: u64, now_ms: u64) -> bool {
        let age_ms = u128::from(now_ms.saturating_sub(oldest_ms));
        events > self.events_max
            || bytes > self.bytes_max
            || self.age_max.is_some_and(|age| age_ms > age.as_millis())
    }
}

/// How much one read may return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// At most so many events.
    pub events_max: usize,
    /// Stop before the data would exceed so many bytes; but one event is always returned, however long, since
    /// a reader that gets nothing would never get past it.
    pub bytes_max: usize,
}

impl Default for Limit {
    /// 1,000 events or 256 KiB: a few hundred microseconds of encoding, then others have their turn.
    fn default() -> Self {
        Limit { events_max: 1_000, bytes_max: 256 * 1024 }
    }
}

impl Limit {
    /// Whether an event of `bytes` still fits when `events` events with `sum` bytes have been taken.
    pub(crate) fn admits(&self, events: usize, sum: usize, bytes: usize) -> bool {
        events < self.events_max && (events == 0 || sum.saturating_add(bytes) <= self.bytes_max)
    }
}

/// What a log keeps: the events with `floor < id <= last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Everything up to this id is gone: the id of the last event dropped, or, when none was, the place before
    /// the first. Never 0, so that a cursor never turns into "earliest" by accident.
    pub floor: EventId,
    /// The id of the last event appended, kept or not; equal to `floor` when nothing is kept.
    pub last: EventId,
    /// How many events are kept.
    pub events: usize,
    /// How many bytes of data they have.
    pub bytes: usize,
    /// How many events retention has dropped since the log was made or loaded.
    pub dropped: u64,
}
