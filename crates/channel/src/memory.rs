//! The log in memory: the history of a process, gone with it.
//!
//! Not durable, and not shared between threads. Used by `Channel::in_memory` and whoever hands it to a channel.

use crate::event::{Event, EventId};
use crate::store::{Extent, Limit, Retention, Store, StoreError};
use std::collections::VecDeque;
use std::rc::Rc;

/// A [`Store`] in memory, whose ids do not repeat although it forgets everything.
///
/// Its first id comes from the wall clock at creation, in microseconds, then each event counts one up. The next
/// process so starts above every id of this one, as long as the wall clock does not run backwards and fewer
/// than a million events are published per second over the life of the process.
#[derive(Debug)]
pub struct MemoryLog {
    retention: Retention,
    /// The ids run without holes: `events[i]` has the id `floor + 1 + i`.
    events: VecDeque<Event>,
    floor: EventId,
    bytes: usize,
    dropped: u64,
}

impl MemoryLog {
    /// An empty log, created at `now_ms` (milliseconds since the Unix epoch).
    pub fn new(now_ms: u64, retention: Retention) -> MemoryLog {
        // A simulated clock may start at 0; the floor must not be 0, which would read as "earliest".
        let floor = now_ms.saturating_mul(1_000).clamp(1, EventId::MAX.0);
        MemoryLog { retention, events: VecDeque::new(), floor: EventId(floor), bytes: 0, dropped: 0 }
    }

    fn last(&self) -> EventId {
        EventId(self.floor.0 + self.events.len() as u64)
    }

    fn retain(&mut self, now_ms: u64) {
        while let Some(oldest) = self.events.front() {
            if !self.is_beyond(oldest, now_ms) {
                break;
            }
            self.floor = oldest.id;
            self.bytes -= oldest.data.len();
            self.dropped += 1;
            self.events.pop_front();
        }
    }

    fn is_beyond(&self, oldest: &Event, now_ms: u64) -> bool {
        self.events.len() > self.retention.events_max
            || self.bytes > self.retention.bytes_max
            || self
                .retention
                .age_max
                .is_some_and(|age| now_ms.saturating_sub(oldest.at_ms) as u128 > age.as_millis())
    }
}

impl Store for MemoryLog {
    fn append(&mut self, at_ms: u64, data: Rc<str>) -> Result<EventId, StoreError> {
        let bytes_max = self.retention.bytes_max;
        if data.len() > bytes_max {
            return Err(StoreError::TooLarge { bytes: data.len(), bytes_max });
        }
        let id = self.last().next().ok_or(StoreError::Exhausted)?;
        self.bytes += data.len();
        self.events.push_back(Event { id, at_ms, data });
        self.retain(at_ms);
        Ok(id)
    }

    fn read(&self, after: EventId, limit: Limit) -> Result<Vec<Event>, StoreError> {
        let skip = after.0.saturating_sub(self.floor.0).min(self.events.len() as u64) as usize;
        let mut bytes = 0;
        let fits = |(taken, event): &(usize, &Event)| {
            let admitted = limit.admits(*taken, bytes, event.data.len());
            bytes += event.data.len();
            admitted
        };
        Ok(self.events.range(skip..).enumerate().take_while(fits).map(|(_, event)| event.clone()).collect())
    }

    fn before_last(&self, events: usize) -> Result<EventId, StoreError> {
        Ok(EventId(self.last().0 - events.min(self.events.len()) as u64))
    }

    fn extent(&self) -> Extent {
        Extent {
            floor: self.floor,
            last: self.last(),
            events: self.events.len(),
            bytes: self.bytes,
            dropped: self.dropped,
        }
    }

    fn expire(&mut self, now_ms: u64) -> Result<(), StoreError> {
        self.retain(now_ms);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_log_is_a_store() {
        crate::conformance::check_store(MemoryLog::new);
    }

    #[test]
    fn the_first_id_is_the_clock_in_microseconds() {
        let mut log = MemoryLog::new(1_700_000_000_000, Retention::default());
        let first = log.append(1_700_000_000_000, "a".into()).unwrap();
        assert_eq!(first, EventId(1_700_000_000_000_001));
        assert_eq!(log.append(1_700_000_000_000, "b".into()).unwrap(), EventId(first.0 + 1));
    }

    #[test]
    fn a_log_of_the_next_process_starts_above() {
        let mut before = MemoryLog::new(5_000, Retention::default());
        let last = (0..1_000).map(|_| before.append(5_000, "x".into()).unwrap()).last().unwrap();
        let mut after = MemoryLog::new(5_001, Retention::default());
        assert!(after.append(5_001, "y".into()).unwrap() > last);
    }

    #[test]
    fn ids_run_out_without_a_panic() {
        let mut log = MemoryLog::new(u64::MAX, Retention::default());
        assert!(matches!(log.append(0, "x".into()), Err(StoreError::Exhausted)));
        assert_eq!(log.extent().events, 0);
    }
}
