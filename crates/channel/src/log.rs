//! The log in memory, from which all is read: the kept window of a channel, with its ids.
//!
//! Not durable and not shared between threads: `journal` is what makes it durable. Used by `channel` only.

use std::collections::VecDeque;

use crate::event::{Event, EventId};
use crate::luggage::History;
use crate::retention::{Extent, Limit, Retention};

/// The kept events of one channel, and which id comes next.
///
/// The first id after it was made or loaded is the wall clock in microseconds, if that is beyond the last one; then each event
/// counts one up. So ids never repeat, also where the history is gone with the process, or came back from an old backup; and
/// within one life of a log two ids say how many events lie between them.
#[derive(Debug)]
pub(crate) struct Log {
    retention: Retention,
    events: VecDeque<Event>,
    floor: EventId,
    last: EventId,
    bytes: usize,
    dropped: u64,
    /// The highest id that was given, be its event in the log or not.
    given: EventId,
    /// No id above this one was left out; none when no id was given yet.
    dense_from: Option<EventId>,
}

impl Log {
    /// An empty log that begins behind `floor`, or where the wall clock is.
    pub(crate) fn new(floor: EventId, now_us: u64, retention: Retention) -> Log {
        // A simulated clock may start at 0; the floor must not be 0, which would read as "earliest".
        let floor = EventId(now_us.max(floor.0).clamp(1, EventId::MAX.0));
        let dense_from = Some(floor);
        let events = VecDeque::new();
        Log { retention, events, floor, last: floor, bytes: 0, dropped: 0, given: floor, dense_from }
    }

    /// A log with a history. The events rise, and lie behind `floor`.
    pub(crate) fn loaded(floor: EventId, events: Vec<Event>, now_ms: u64, retention: Retention) -> Log {
        let floor = floor.max(EventId(1));
        let last = events.last().map_or(floor, |event| event.id);
        let bytes = events.iter().map(|event| event.data.len()).sum();
        let events = VecDeque::from(events);
        let mut log =
            Log { retention, events, floor, last, bytes, dropped: 0, given: last, dense_from: None };
        log.retain(now_ms);
        log
    }

    /// Becomes what another log was. Ids go on above those of both.
    pub(crate) fn take_up(&mut self, history: &History, now_ms: u64) {
        self.events = history.events.iter().cloned().collect();
        self.bytes = history.events.iter().map(|event| event.data.len()).sum();
        (self.floor, self.last) = (history.floor.max(EventId(1)), history.last.max(EventId(1)));
        self.leave_out(self.given.max(history.given));
        self.retain(now_ms);
    }

    /// The next id: given once, whatever becomes of its event. None when there is none left.
    pub(crate) fn give(&mut self, now_us: u64) -> Option<EventId> {
        let mut id = self.given.next()?;
        if self.dense_from.is_none() {
            id = EventId(id.0.max(now_us.min(EventId::MAX.0)));
            self.dense_from = Some(EventId(id.0 - 1));
        }
        self.given = id;
        Some(id)
    }

    /// Events up to here were given ids and are not in the log.
    pub(crate) fn leave_out(&mut self, up_to: EventId) {
        self.given = self.given.max(up_to);
        self.dense_from = self.dense_from.max(Some(up_to));
    }

    /// Appends an event with an id above all before, and drops what retention no longer allows at `now_ms`.
    pub(crate) fn append(&mut self, event: Event, now_ms: u64) {
        debug_assert!(event.id > self.last, "ids rise");
        if event.id > self.given {
            // The journal has given an id of its own.
            if self.dense_from.is_none() || event.id.0 > self.given.0 + 1 {
                self.leave_out(EventId(event.id.0 - 1));
            }
            self.given = event.id;
        }
        self.last = event.id;
        self.bytes += event.data.len();
        self.events.push_back(event);
        self.retain(now_ms);
    }

    /// Everything up to here is gone, and this log never had it.
    pub(crate) fn skip_to(&mut self, floor: EventId) {
        if floor > self.last {
            self.dropped += self.events.len() as u64;
            self.events.clear();
            self.bytes = 0;
            (self.floor, self.last) = (floor, floor);
            self.leave_out(floor);
        }
    }

    /// Drops what is too old, or too much.
    pub(crate) fn retain(&mut self, now_ms: u64) {
        while let Some(oldest) = self.events.front() {
            if !self.retention.is_beyond(self.events.len(), self.bytes, oldest.at_ms, now_ms) {
                break;
            }
            self.floor = oldest.id;
            self.bytes -= oldest.data.len();
            self.dropped += 1;
            self.events.pop_front();
        }
    }

    /// The kept events after `after`, oldest first, as many as `limit` allows. `after` may be any number.
    pub(crate) fn read(&self, after: EventId, limit: Limit) -> Vec<Event> {
        let skip = self.place(after);
        let mut bytes = 0;
        let fits = |(taken, event): &(usize, &Event)| {
            let admitted = limit.admits(*taken, bytes, event.data.len());
            bytes += event.data.len();
            admitted
        };
        self.events.range(skip..).enumerate().take_while(fits).map(|(_, event)| event.clone()).collect()
    }

    /// How many kept events are not after `after`.
    fn place(&self, after: EventId) -> usize {
        // Most ask for the last few, and ids have few holes.
        let Some(behind) = self.last.0.checked_sub(after.0) else { return self.events.len() };
        let guess = self.events.len().saturating_sub(usize::try_from(behind).unwrap_or(usize::MAX));
        let found = guess.checked_sub(1).and_then(|before| self.events.get(before));
        match found {
            Some(event) if event.id == after => guess,
            _ => self.events.partition_point(|event| event.id <= after),
        }
    }

    /// The id after which the last `events` kept events follow: the floor when fewer are kept, the last id when
    /// `events` is 0.
    pub(crate) fn before_last(&self, events: usize) -> EventId {
        match self.events.len().checked_sub(events) {
            None | Some(0) => self.floor,
            Some(rest) => self.events[rest - 1].id,
        }
    }

    /// How many events there were with `after < id <= up_to`, where that is known.
    pub(crate) fn between(&self, after: EventId, up_to: EventId) -> Option<u64> {
        (self.dense_from? <= after).then(|| up_to.0.checked_sub(after.0)).flatten()
    }

    /// Whether one more event of so many bytes makes it larger, or only takes the place of others.
    pub(crate) fn grows_by(&self, bytes: usize) -> bool {
        self.events.len() < self.retention.events_max
            && self.bytes.saturating_add(bytes) <= self.retention.bytes_max
    }

    pub(crate) fn retention(&self) -> Retention {
        self.retention
    }

    /// The highest id that was given.
    pub(crate) fn given(&self) -> EventId {
        self.given
    }

    pub(crate) fn extent(&self) -> Extent {
        Extent {
            floor: self.floor,
            last: self.last,
            events: self.events.len(),
            bytes: self.bytes,
            dropped: self.dropped,
        }
    }
}

#[cfg(test)]
mod tests;
