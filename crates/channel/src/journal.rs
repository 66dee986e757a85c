//! What makes channels durable: the trait, and what it speaks in.
//!
//! Not where reading happens: all reads come from memory, and a journal is asked for a channel when it is first used. `sqlite` is
//! the one on disk, `memory` a stand-in for tests. Called by `channel` and the registry only; every implementation must pass
//! `conformance::check_journal`.

use ropewalk_reactor::Deferred;

use crate::event::{Event, EventId};
use crate::retention::Retention;

pub(crate) mod memory;
pub(crate) mod sqlite;

/// A durable history of many channels.
///
/// A log that several processes share can stand behind it as well: it may give ids of its own, and answer when so many of its
/// nodes have the event.
pub trait Journal: 'static {
    /// What is kept of a channel: the newest events that `retention` allows. It sees every append that was answered. For a
    /// channel that is not known, nothing, with the floor behind which ids were never given.
    ///
    /// The deferred fails when it cannot be read.
    fn load(&self, channel: &str, retention: Retention) -> Deferred<Loaded>;

    /// Appends events of one channel, and makes the channel known. Their ids rise, and lie above all that were proposed for this
    /// channel before. The deferred fires when **all of them** will survive a crash, with their ids: those that were proposed, or
    /// higher ones, which rise as well.
    ///
    /// The deferred fails when none of them is to be seen. (A crash may bring back what failed: nobody was told that it was
    /// kept, nor that it was not.) A channel waits for one append before the next.
    fn append(&self, channel: &str, events: Vec<Event>) -> Deferred<Vec<EventId>>;

    /// Events up to this id will not be asked for again, and may go, in the journal's own time.
    fn forget(&self, channel: &str, up_to: EventId);

    /// A client has read up to here, and will begin there; `None` forgets the client. Fires when that will survive a crash. An id
    /// below one that was given before changes nothing.
    fn acknowledge(&self, channel: &str, client: &str, id: Option<EventId>) -> Deferred<()>;

    /// Forgets a channel with all it has. No channel will get an id up to `mark` from [`Journal::load`]'s floor any more.
    fn remove(&self, channel: &str, mark: EventId) -> Deferred<()>;

    /// The channel is let go of: whoever tells of its events need not any more.
    fn close(&self, _channel: &str) {}

    /// The names of the channels that are kept, in no order.
    fn names(&self) -> Vec<String>;

    /// How many those are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a channel is kept.
    fn knows(&self, channel: &str) -> bool;
}

/// What a journal has of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Everything up to this id is gone. 0 when no id was ever given.
    pub floor: EventId,
    /// The kept events, whose ids rise from above `floor`.
    pub events: Vec<Event>,
    /// The clients that acknowledge, and where each of them is.
    pub clients: Vec<(String, EventId)>,
}
