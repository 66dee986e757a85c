//! What every store must do, as one function that panics where a store does not.
//!
//! Not part of the public promise: for the tests of this crate and of crates that bring a store.

use crate::event::{Event, EventId};
use crate::store::{Limit, Retention, Store, StoreError};
use std::time::Duration;

/// A time at which the checks begin, in milliseconds since the Unix epoch.
const NOW_MS: u64 = 1_700_000_000_000;
const ALL: Limit = Limit { events_max: usize::MAX, bytes_max: usize::MAX };

/// Checks the stores that `make` creates, each new and empty, at the time and with the retention it is given.
///
/// # Panics
/// Where a store breaks a promise of [`Store`].
pub fn check_store<S: Store>(mut make: impl FnMut(u64, Retention) -> S) {
    empty(make(NOW_MS, Retention::default()));
    empty(make(0, Retention::default()));
    order(make(NOW_MS, Retention::default()));
    limits(make(NOW_MS, Retention::default()));
    any_cursor(make(NOW_MS, Retention { events_max: 3, ..Retention::default() }));
    count(make(NOW_MS, Retention { events_max: 3, ..Retention::default() }));
    nothing_kept(make(NOW_MS, Retention { events_max: 0, ..Retention::default() }));
    bytes(make(NOW_MS, Retention { bytes_max: 10, ..Retention::default() }));
    age(make(NOW_MS, Retention { age_max: Some(Duration::from_secs(1)), ..Retention::default() }));
}

fn append(store: &mut impl Store, at_ms: u64, text: &str) -> EventId {
    let before = store.extent().last;
    let id = store.append(at_ms, text.into()).expect("the store accepts an event");
    assert!(id > before, "ids rise: {id} after {before}");
    assert_eq!(store.extent().last, id, "the last id is the one just given");
    id
}

fn read(store: &impl Store, after: EventId, limit: Limit) -> Vec<Event> {
    let events = store.read(after, limit).expect("the store can be read");
    let floor = after.max(store.extent().floor);
    assert!(events.first().is_none_or(|event| event.id > floor), "only what follows the cursor");
    assert!(events.windows(2).all(|pair| pair[0].id < pair[1].id), "events come in the order of ids");
    events
}

fn texts(store: &impl Store, after: EventId, limit: Limit) -> Vec<String> {
    read(store, after, limit).iter().map(|event| event.data.to_string()).collect()
}

fn empty(mut store: impl Store) {
    let extent = store.extent();
    assert_eq!((extent.events, extent.bytes, extent.dropped), (0, 0, 0));
    assert_eq!(extent.floor, extent.last, "nothing is kept");
    assert_ne!(extent.floor, EventId::EARLIEST, "0 is no place");
    assert!(read(&store, EventId::EARLIEST, ALL).is_empty());
    assert_eq!(store.before_last(5).expect("readable"), extent.last);
    store.expire(u64::MAX).expect("nothing to expire");
    append(&mut store, NOW_MS, "");
    assert_eq!(texts(&store, extent.last, ALL), [""], "an empty text is an event");
}

fn order(mut store: impl Store) {
    let texts_in = ["a", "line\nline\r", "\0", "ünïcödé ✓", "<b>"];
    let floor = store.extent().floor;
    // The clock may stand still and run backwards: the ids must not.
    let ids: Vec<_> =
        (0u64..).zip(texts_in).map(|(i, text)| append(&mut store, NOW_MS - i / 2, text)).collect();
    let events = read(&store, floor, ALL);
    assert_eq!(events.iter().map(|event| event.id).collect::<Vec<_>>(), ids);
    assert_eq!(
        events.iter().map(|event| &*event.data).collect::<Vec<_>>(),
        texts_in,
        "text comes back unchanged"
    );
    assert_eq!(events[4].at_ms, NOW_MS - 2, "the time is the one given");
    for (place, id) in ids.iter().enumerate() {
        assert_eq!(read(&store, *id, ALL), events[place + 1..], "reading on after {id}");
    }
    let extent = store.extent();
    assert_eq!((extent.events, extent.bytes), (5, texts_in.iter().map(|text| text.len()).sum()));
    assert!(extent.last <= EventId::MAX, "ids fit JavaScript's numbers");
}

fn limits(mut store: impl Store) {
    let floor = store.extent().floor;
    let ids = ["aaaa", "bb", "cc", "dddddd"].map(|text| append(&mut store, NOW_MS, text));
    let limit = |events_max, bytes_max| Limit { events_max, bytes_max };
    assert_eq!(texts(&store, floor, limit(2, 100)), ["aaaa", "bb"]);
    assert_eq!(texts(&store, floor, limit(10, 8)), ["aaaa", "bb", "cc"], "exactly full");
    assert_eq!(texts(&store, floor, limit(10, 7)), ["aaaa", "bb"], "stops before it is too much");
    assert_eq!(texts(&store, ids[2], limit(10, 1)), ["dddddd"], "one event is always returned");
    assert!(texts(&store, floor, limit(0, 100)).is_empty());
    assert_eq!(store.before_last(0).expect("readable"), ids[3]);
    assert_eq!(store.before_last(3).expect("readable"), ids[0]);
    assert_eq!(store.before_last(4).expect("readable"), floor);
    assert_eq!(store.before_last(usize::MAX).expect("readable"), floor);
}

fn any_cursor(mut store: impl Store) {
    for text in ["1", "2", "3", "4", "5"] {
        append(&mut store, NOW_MS, text);
    }
    let last = store.extent().last;
    for after in [EventId(0), EventId(1), store.extent().floor] {
        assert_eq!(texts(&store, after, ALL), ["3", "4", "5"], "from {after} on all that is kept follows");
    }
    for after in [last, EventId(last.0 + 1), EventId::MAX, EventId(u64::MAX)] {
        assert!(texts(&store, after, ALL).is_empty(), "nothing follows {after}");
    }
}

fn count(mut store: impl Store) {
    let ids = ["1", "2", "3", "4", "5"].map(|text| append(&mut store, NOW_MS, text));
    let extent = store.extent();
    assert_eq!((extent.events, extent.bytes, extent.dropped), (3, 3, 2));
    assert_eq!(extent.floor, ids[1], "the floor is the last event dropped");
    assert_eq!(store.before_last(9).expect("readable"), ids[1]);
}

fn nothing_kept(mut store: impl Store) {
    for text in ["1", "2"] {
        let id = append(&mut store, NOW_MS, text);
        let extent = store.extent();
        assert_eq!((extent.floor, extent.last, extent.events, extent.bytes), (id, id, 0, 0));
    }
    assert!(read(&store, EventId::EARLIEST, ALL).is_empty());
}

fn bytes(mut store: impl Store) {
    let ids = ["aaaa", "bbbb", "cc"].map(|text| append(&mut store, NOW_MS, text));
    assert_eq!(store.extent().events, 3, "exactly full");
    let before = store.extent();
    let refused = store.append(NOW_MS, "12345678901".into());
    assert!(matches!(refused, Err(StoreError::TooLarge { bytes: 11, bytes_max: 10 })), "{refused:?}");
    assert_eq!(store.extent(), before, "a refused event leaves no trace");
    append(&mut store, NOW_MS, "ddddd");
    assert_eq!(texts(&store, EventId::EARLIEST, ALL), ["cc", "ddddd"]);
    assert_eq!(store.extent().floor, ids[1]);
    append(&mut store, NOW_MS, "1234567890");
    assert_eq!(texts(&store, EventId::EARLIEST, ALL), ["1234567890"]);
    assert_eq!((store.extent().bytes, store.extent().dropped), (10, 4));
}

fn age(mut store: impl Store) {
    append(&mut store, NOW_MS, "1");
    append(&mut store, NOW_MS + 500, "2");
    append(&mut store, NOW_MS + 1_000, "3");
    assert_eq!(store.extent().events, 3, "just as old as allowed");
    append(&mut store, NOW_MS + 1_001, "4");
    assert_eq!(texts(&store, EventId::EARLIEST, ALL), ["2", "3", "4"]);
    store.expire(NOW_MS).expect("a clock that ran backwards expires nothing");
    assert_eq!(store.extent().events, 3);
    store.expire(NOW_MS + 2_000).expect("expires");
    assert_eq!(texts(&store, EventId::EARLIEST, ALL), ["3", "4"]);
    store.expire(NOW_MS + 9_000).expect("expires");
    let extent = store.extent();
    assert_eq!((extent.events, extent.bytes, extent.dropped), (0, 0, 4));
    assert_eq!(extent.floor, extent.last);
}
