//! The log by itself: order, limits, retention, and ids that never repeat.

use std::time::Duration;

use super::*;

const NOW_MS: u64 = 1_700_000_000_000;
const NOW_US: u64 = NOW_MS * 1_000;
const ALL: Limit = Limit { events_max: usize::MAX, bytes_max: usize::MAX };

fn log(retention: Retention) -> Log {
    Log::new(EventId(0), NOW_US, retention)
}

fn append(log: &mut Log, at_ms: u64, text: &str) -> EventId {
    let before = log.extent().last;
    let id = log.give(at_ms * 1_000).unwrap();
    log.append(Event { id, at_ms, data: text.into() }, at_ms);
    assert!(id > before);
    assert_eq!(log.extent().last, id);
    id
}

fn texts(log: &Log, after: EventId, limit: Limit) -> Vec<String> {
    let events = log.read(after, limit);
    assert!(events.is_sorted_by_key(|event| event.id));
    events.iter().map(|event| event.data.text().unwrap().to_owned()).collect()
}

#[test]
fn what_is_appended_is_read_in_order_and_unchanged() {
    let mut log = log(Retention::default());
    let empty = log.extent();
    assert_eq!((empty.events, empty.bytes, empty.dropped, empty.floor), (0, 0, 0, empty.last));
    let texts_in = ["a", "line\nline\r", "", "\0", "ünïcödé ✓"];
    // The clock may stand still and run backwards: the ids must not.
    let ids: Vec<_> =
        (0u64..).zip(texts_in).map(|(i, text)| append(&mut log, NOW_MS - i / 2, text)).collect();
    assert_eq!(texts(&log, empty.floor, ALL), texts_in);
    for (place, id) in ids.iter().enumerate() {
        assert_eq!(texts(&log, *id, ALL), texts_in[place + 1..], "reading on after {id}");
    }
    assert_eq!(log.read(ids[3], ALL)[0].at_ms, NOW_MS - 2);
}

#[test]
fn a_read_is_limited_and_never_empty_while_there_is_more() {
    let mut log = log(Retention::default());
    let floor = log.extent().floor;
    let ids = ["aaaa", "bb", "cc", "dddddd"].map(|text| append(&mut log, NOW_MS, text));
    let limit = |events_max, bytes_max| Limit { events_max, bytes_max };
    assert_eq!(texts(&log, floor, limit(2, 100)), ["aaaa", "bb"]);
    assert_eq!(texts(&log, floor, limit(10, 8)), ["aaaa", "bb", "cc"], "exactly full");
    assert_eq!(texts(&log, floor, limit(10, 7)), ["aaaa", "bb"], "stops before it is too much");
    assert_eq!(texts(&log, ids[2], limit(10, 1)), ["dddddd"], "one event is always returned");
    assert!(texts(&log, floor, limit(0, 100)).is_empty());
    let before = [0, 3, 4, usize::MAX].map(|count| log.before_last(count));
    assert_eq!(before, [ids[3], ids[0], floor, floor]);
}

#[test]
fn retention_by_count_bytes_and_age() {
    let mut few = log(Retention { events_max: 3, ..Retention::default() });
    let ids = ["1", "2", "3", "4", "5"].map(|text| append(&mut few, NOW_MS, text));
    let extent = few.extent();
    assert_eq!((extent.events, extent.bytes, extent.dropped, extent.floor), (3, 3, 2, ids[1]));
    for after in [EventId(0), EventId(1), extent.floor] {
        assert_eq!(texts(&few, after, ALL), ["3", "4", "5"], "from {after} on all that is kept follows");
    }
    for after in [ids[4], EventId(ids[4].0 + 1), EventId::MAX, EventId(u64::MAX)] {
        assert!(texts(&few, after, ALL).is_empty(), "nothing follows {after}");
    }

    let mut none = log(Retention { events_max: 0, ..Retention::default() });
    let id = append(&mut none, NOW_MS, "1");
    assert_eq!((none.extent().floor, none.extent().last, none.extent().events), (id, id, 0));

    let mut small = log(Retention { bytes_max: 10, ..Retention::default() });
    let _ = ["aaaa", "bbbb", "cc"].map(|text| append(&mut small, NOW_MS, text));
    assert_eq!(small.extent().events, 3, "exactly full");
    append(&mut small, NOW_MS, "ddddd");
    assert_eq!(texts(&small, EventId(0), ALL), ["cc", "ddddd"]);

    let mut young = log(Retention { age_max: Some(Duration::from_secs(1)), ..Retention::default() });
    append(&mut young, NOW_MS, "1");
    append(&mut young, NOW_MS + 1_000, "2");
    assert_eq!(young.extent().events, 2, "just as old as allowed");
    append(&mut young, NOW_MS + 1_001, "3");
    assert_eq!(texts(&young, EventId(0), ALL), ["2", "3"]);
    young.retain(NOW_MS);
    assert_eq!(young.extent().events, 2, "a clock that ran backwards drops nothing");
    young.retain(NOW_MS + 9_000);
    assert_eq!((young.extent().events, young.extent().bytes), (0, 0));
}

#[test]
fn ids_begin_at_the_clock_and_never_repeat() {
    let mut before = log(Retention::default());
    assert_eq!(append(&mut before, NOW_MS, "a"), EventId(NOW_US + 1));
    let last = append(&mut before, NOW_MS + 500, "b");
    assert_eq!(last, EventId(NOW_US + 2), "then one up, whatever the clock says");

    // Made again behind a mark, with a clock that ran backwards.
    let mut again = Log::new(last, 0, Retention::default());
    assert!(append(&mut again, 1, "c") > last);

    // Loaded: beyond the clock, and beyond what is there.
    let events = before.read(EventId(0), ALL);
    let mut loaded = Log::loaded(EventId(NOW_US), events.clone(), NOW_MS, Retention::default());
    assert_eq!(loaded.extent().last, last, "nothing was published yet");
    assert_eq!(append(&mut loaded, NOW_MS + 7_000, "d"), EventId(NOW_US + 7_000_000));
    let mut late = Log::loaded(EventId(NOW_US), events, 1, Retention::default());
    assert_eq!(append(&mut late, 1, "d"), EventId(last.0 + 1));

    let mut exhausted = Log::new(EventId(0), u64::MAX, Retention::default());
    assert_eq!(exhausted.give(0), None);
}

#[test]
fn how_many_are_missing_is_said_only_where_it_is_known() {
    let mut one = log(Retention::default());
    let ids = ["1", "2", "3"].map(|text| append(&mut one, NOW_MS, text));
    assert_eq!(one.between(ids[0], ids[2]), Some(2));
    assert_eq!(one.between(EventId(5), ids[2]), None, "an id of another life");
    // One that was given and never came.
    let lost = one.give(0).unwrap();
    one.leave_out(lost);
    let next = append(&mut one, NOW_MS, "5");
    assert_eq!(one.between(ids[0], next), None);
    assert_eq!(one.between(lost, next), Some(1));
    // Another one's id, with a hole before it.
    let far = EventId(next.0 + 10);
    one.append(Event { id: far, at_ms: NOW_MS, data: "x".into() }, NOW_MS);
    assert_eq!((one.between(next, far), one.given()), (None, far));
    assert_eq!(texts(&one, next, ALL), ["x"]);
    assert_eq!(texts(&one, EventId(next.0 + 3), ALL), ["x"], "a place in a hole");
}
