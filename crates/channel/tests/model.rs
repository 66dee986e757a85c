//! Random publishes, stalls and resumes against a model, on the log in memory and on one with holes in its ids.

use proptest::prelude::*;
use ropewalk_channel::{
    Channel, Event, EventId, Extent, Limit, Listener, MemoryLog, Retention, Since, Store, StoreError,
    conformance,
};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

const NOW_MS: u64 = 1_700_000_000_000;

/// The plainest store there is, whose ids have holes: what a log that was reopened looks like.
struct Holes {
    retention: Retention,
    events: Vec<Event>,
    extent: Extent,
}

impl Holes {
    fn new(now_ms: u64, retention: Retention) -> Holes {
        let start = EventId(now_ms + 1);
        Holes {
            retention,
            events: Vec::new(),
            extent: Extent { floor: start, last: start, events: 0, bytes: 0, dropped: 0 },
        }
    }

    fn retain(&mut self, now_ms: u64) {
        while let Some(oldest) = self.events.first() {
            let sum: usize = self.events.iter().map(|event| event.data.len()).sum();
            let age_ms = u128::from(now_ms.saturating_sub(oldest.at_ms));
            let old = self.retention.age_max.is_some_and(|age| age_ms > age.as_millis());
            if !old && self.events.len() <= self.retention.events_max && sum <= self.retention.bytes_max {
                break;
            }
            self.extent.floor = oldest.id;
            self.extent.dropped += 1;
            self.events.remove(0);
        }
        self.extent.events = self.events.len();
        self.extent.bytes = self.events.iter().map(|event| event.data.len()).sum();
    }
}

impl Store for Holes {
    fn append(&mut self, at_ms: u64, data: Rc<str>) -> Result<EventId, StoreError> {
        let (bytes, bytes_max) = (data.len(), self.retention.bytes_max);
        if bytes > bytes_max {
            return Err(StoreError::TooLarge { bytes, bytes_max });
        }
        let id = EventId(self.extent.last.0 + 7);
        self.extent.last = id;
        self.events.push(Event { id, at_ms, data });
        self.retain(at_ms);
        Ok(id)
    }

    fn read(&self, after: EventId, limit: Limit) -> Result<Vec<Event>, StoreError> {
        let (mut taken, mut sum) = (Vec::new(), 0);
        for event in self.events.iter().filter(|event| event.id > after) {
            if !limit.admits(taken.len(), sum, event.data.len()) {
                break;
            }
            sum += event.data.len();
            taken.push(event.clone());
        }
        Ok(taken)
    }

    fn before_last(&self, events: usize) -> Result<EventId, StoreError> {
        let before = self.events.iter().rev().nth(events).map(|event| event.id);
        Ok(before.unwrap_or(self.extent.floor))
    }

    fn extent(&self) -> Extent {
        self.extent
    }

    fn expire(&mut self, now_ms: u64) -> Result<(), StoreError> {
        self.retain(now_ms);
        Ok(())
    }
}

#[test]
fn the_plainest_store_is_a_store() {
    conformance::check_store(Holes::new);
}

/// A face as they are built: writes at once while drained, else lags and reads on later.
struct Face {
    cursor: Cell<EventId>,
    drained: Cell<bool>,
    received: RefCell<Vec<EventId>>,
    gaps: RefCell<Vec<(EventId, EventId)>>,
}

impl Face {
    fn take(&self, event: &Event) {
        self.received.borrow_mut().push(event.id);
        self.cursor.set(event.id);
    }

    fn read_on(&self, channel: &Channel, limit: Limit) {
        let batch = channel.since(Since::After(self.cursor.get()), limit).expect("readable");
        if let Some(gap) = batch.gap {
            self.gaps.borrow_mut().push((gap.asked, gap.resumed));
        }
        batch.events.iter().for_each(|event| self.take(event));
        self.cursor.set(batch.next);
        self.drained.set(!batch.more);
    }
}

impl Listener for Face {
    fn published(&self, event: &Event) {
        if self.drained.get() {
            self.take(event);
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Publish(usize),
    Stall(usize),
    ReadOn(usize, usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..12usize).prop_map(Op::Publish),
        1 => (0..3usize).prop_map(Op::Stall),
        2 => (0..3usize, 1..5usize).prop_map(|(face, events)| Op::ReadOn(face, events)),
    ]
}

fn run(channel: &Channel, ops: &[Op]) {
    let face = || {
        Rc::new(Face {
            cursor: Cell::new(channel.last()),
            drained: Cell::new(true),
            received: RefCell::default(),
            gaps: RefCell::default(),
        })
    };
    let faces = [face(), face(), face()];
    let _subscriptions: Vec<_> = faces.iter().map(|face| channel.subscribe(face.clone())).collect();
    let mut published = Vec::new();
    for op in ops {
        match op {
            Op::Publish(bytes) => published.push(channel.publish(NOW_MS, "x".repeat(*bytes)).expect("fits")),
            Op::Stall(face) => faces[*face].drained.set(false),
            Op::ReadOn(face, events_max) => {
                faces[*face].read_on(channel, Limit { events_max: *events_max, ..Limit::default() });
            }
        }
    }
    for face in &faces {
        face.read_on(channel, Limit { events_max: usize::MAX, bytes_max: usize::MAX });
        let (received, gaps) = (face.received.borrow(), face.gaps.borrow());
        // Nothing lost, repeated or reordered, except what a gap has announced; and no gap without a loss.
        let in_gap = |id: EventId| gaps.iter().any(|(asked, resumed)| *asked < id && id <= *resumed);
        let expected: Vec<_> = published.iter().copied().filter(|id| !in_gap(*id)).collect();
        assert_eq!(*received, expected, "with the gaps {gaps:?}");
        for (asked, resumed) in gaps.iter() {
            assert!(published.iter().any(|id| asked < id && id <= resumed), "a gap that lost nothing");
        }
    }
}

proptest! {
    #[test]
    fn a_viewer_misses_only_what_a_gap_announces(
        ops in proptest::collection::vec(op(), 0..80),
        events_max in 0..8usize,
        bytes_max in 12..60usize,
    ) {
        let retention = Retention { events_max, bytes_max, age_max: None };
        run(&Channel::new(MemoryLog::new(NOW_MS, retention)), &ops);
        run(&Channel::new(Holes::new(NOW_MS, retention)), &ops);
    }
}
