//! The trait behind which a channel's history lies, and the values it speaks in.
//!
//! Not a store itself: `memory` is one, and stores on disk stand behind the same trait. Called by `channel`
//! only; every implementation must pass `conformance::check_store`.

use crate::event::{Event, EventId};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// An append-only log of events with ids that rise and never repeat.
///
/// A log keeps a window of what was appended, `floor < id <= last` (see [`Extent`]), and drops from its old
/// end by its [`Retention`]. What a store must promise beyond the signatures:
/// - ids rise strictly, stay within [`EventId::MAX`], are never 0, and **are never given again**, neither after
///   a restart nor after a crash; holes are allowed;
/// - an event that was appended can be read at once;
/// - a refused append leaves no trace.
///
/// Whether an appended event survives a crash is not said here. A store that commits later (in groups) will say
/// so through a second trait.
pub trait Store {
    /// Appends one event of the time `at_ms` (milliseconds since the Unix epoch) and drops what retention no
    /// longer allows at that time.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] for a text that could never be kept, [`StoreError::Exhausted`] when there is no
    /// id left, [`StoreError::Io`] from the operating system.
    fn append(&mut self, at_ms: u64, data: Rc<str>) -> Result<EventId, StoreError>;

    /// The kept events after `after`, oldest first, as many as `limit` allows. `after` may be any number.
    ///
    /// # Errors
    /// [`StoreError::Io`] from the operating system.
    fn read(&self, after: EventId, limit: Limit) -> Result<Vec<Event>, StoreError>;

    /// The id after which the last `events` kept events follow: the floor when fewer are kept, the last id
    /// when `events` is 0.
    ///
    /// # Errors
    /// [`StoreError::Io`] from the operating system.
    fn before_last(&self, events: usize) -> Result<EventId, StoreError>;

    /// What is kept.
    fn extent(&self) -> Extent;

    /// Drops the events that are older than retention allows at `now_ms`.
    ///
    /// # Errors
    /// [`StoreError::Io`] from the operating system.
    fn expire(&mut self, now_ms: u64) -> Result<(), StoreError>;
}

/// What a store keeps: the events with `floor < id <= last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Everything up to this id is gone: the id of the last event dropped, or, when none was, the place before
    /// the first. Never 0, so that a cursor never turns into "earliest" by accident.
    pub floor: EventId,
    /// The id of the last event appended, kept or not; equal to `floor` when nothing is kept.
    pub last: EventId,
    /// How many events are kept.
    pub events: usize,
    /// How many bytes of text they have.
    pub bytes: usize,
    /// How many events retention has dropped since the store was opened.
    pub dropped: u64,
}

/// How much history a store keeps. Whichever is reached first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// At most so many events. 0 keeps nothing: live viewers only.
    pub events_max: usize,
    /// At most so many bytes of text, all kept events together; also the largest text that is accepted.
    pub bytes_max: usize,
    /// Nothing older than this, if set. Looked at when an event is appended and when `expire` is called.
    pub age_max: Option<Duration>,
}

impl Default for Retention {
    /// 10,000 events or 64 MiB, of any age: some hours of a busy log, at a cost one process can bear per channel.
    fn default() -> Self {
        Retention { events_max: 10_000, bytes_max: 64 * 1024 * 1024, age_max: None }
    }
}

/// How much one read may return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// At most so many events.
    pub events_max: usize,
    /// Stop before the text would exceed so many bytes; but one event is always returned, however long, since
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
    pub fn admits(&self, events: usize, sum: usize, bytes: usize) -> bool {
        events < self.events_max && (events == 0 || sum.saturating_add(bytes) <= self.bytes_max)
    }
}

/// Why a store could not do it.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The publisher: a text larger than all the history that is kept.
    TooLarge {
        /// Bytes of the text.
        bytes: usize,
        /// [`Retention::bytes_max`].
        bytes_max: usize,
    },
    /// Us: the ids have reached [`EventId::MAX`].
    Exhausted,
    /// The operating system.
    Io(std::io::Error),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::TooLarge { bytes, bytes_max } => {
                write!(f, "an event of {bytes} bytes is larger than the {bytes_max} bytes of history kept")
            }
            StoreError::Exhausted => write!(f, "the log has given out its last event id"),
            StoreError::Io(_) => write!(f, "the event log could not be read or written"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StoreError::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        StoreError::Io(error)
    }
}
