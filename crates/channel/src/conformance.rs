//! What every journal must do, as one function that panics where a journal does not.
//!
//! Not part of the public promise: for the tests of this crate and of crates that bring a journal.

use crate::event::{Data, Event, EventId};
use crate::journal::{Journal, Loaded};
use crate::retention::Retention;

/// A time at which the checks begin, in milliseconds since the Unix epoch.
const NOW_MS: u64 = 1_700_000_000_000;

/// Checks a journal that is new and empty, on a loop that runs.
///
/// # Panics
/// Where it breaks a promise of [`Journal`].
pub async fn check_journal(journal: &impl Journal) {
    unknown(journal).await;
    what_was_appended_is_loaded(journal).await;
    retention_and_forgetting(journal).await;
    clients(journal).await;
    removing(journal).await;
    order(journal).await;
}

fn event(id: u64, data: impl Into<Data>) -> Event {
    Event { id: EventId(id), at_ms: NOW_MS + id, data: data.into() }
}

async fn load(journal: &impl Journal, channel: &str, retention: Retention) -> Loaded {
    let loaded = journal.load(channel, retention).await.expect("it can be loaded");
    assert!(loaded.events.is_sorted_by(|a, b| a.id < b.id), "ids rise");
    assert!(
        loaded.events.first().is_none_or(|event| event.id > loaded.floor),
        "what is kept lies above the floor"
    );
    loaded
}

async fn append(journal: &impl Journal, channel: &str, events: Vec<Event>) -> Vec<EventId> {
    let proposed: Vec<EventId> = events.iter().map(|event| event.id).collect();
    let ids = journal.append(channel, events).await.expect("it is kept");
    assert_eq!(ids.len(), proposed.len(), "an id for each");
    assert!(ids.iter().zip(&proposed).all(|(id, proposed)| id >= proposed), "none lower than proposed");
    assert!(ids.is_sorted_by(|a, b| a < b), "ids rise");
    ids
}

async fn unknown(journal: &impl Journal) {
    assert!(journal.is_empty() && journal.names().is_empty() && !journal.knows("a"));
    assert_eq!(load(journal, "a", Retention::default()).await, Loaded::default());
    assert!(!journal.knows("a"), "loading makes nothing");
}

async fn what_was_appended_is_loaded(journal: &impl Journal) {
    let data: [Data; 5] =
        ["line\nline\r".into(), "".into(), "ünï\0✓".into(), vec![0xff, 0, 1].into(), Vec::new().into()];
    let events: Vec<Event> = (11..).zip(data.clone()).map(|(id, data)| event(id, data)).collect();
    let ids = append(journal, "a", events).await;
    append(journal, "b ü", vec![event(5, "another one's")]).await;
    let loaded = load(journal, "a", Retention::default()).await;
    assert_eq!(loaded.events.iter().map(|event| event.id).collect::<Vec<_>>(), ids);
    assert_eq!(loaded.events.iter().map(|event| event.data.clone()).collect::<Vec<_>>(), data);
    assert_eq!(loaded.events[2].at_ms, NOW_MS + 13, "the time is the one given");
    assert!(loaded.floor < ids[0] && loaded.floor >= EventId(10), "nothing is missing before the first");
    let mut names = journal.names();
    names.sort();
    assert_eq!(names, ["a", "b ü"]);
    assert!(journal.knows("a") && journal.len() == 2);
}

async fn retention_and_forgetting(journal: &impl Journal) {
    let ids = append(journal, "kept", (21..=30).map(|id| event(id, "four")).collect()).await;
    let few = Retention { events_max: 3, ..Retention::default() };
    let loaded = load(journal, "kept", few).await;
    assert_eq!((loaded.events.len(), loaded.floor), (3, ids[6]), "the newest, and where they begin");
    let small = Retention { bytes_max: 9, ..Retention::default() };
    assert_eq!(load(journal, "kept", small).await.events.len(), 2);
    let none = Retention { events_max: 0, ..Retention::default() };
    let loaded = load(journal, "kept", none).await;
    assert_eq!((loaded.events.len(), loaded.floor), (0, ids[9]));
    journal.forget("kept", ids[4]);
    journal.forget("kept", ids[2]);
    journal.forget("no such channel", ids[2]);
    append(journal, "kept", vec![event(40, "next")]).await;
    let loaded = load(journal, "kept", Retention::default()).await;
    let rest: Vec<EventId> = loaded.events.iter().map(|event| event.id).filter(|id| *id > ids[4]).collect();
    assert_eq!(rest.len(), 6, "what was not to be forgotten is there");
}

async fn clients(journal: &impl Journal) {
    let set = |client: &'static str, id| journal.acknowledge("kept", client, id);
    set("one", Some(EventId(21))).await.expect("kept");
    set("one", Some(EventId(25))).await.expect("kept");
    set("one", Some(EventId(23))).await.expect("passed over");
    set("two", Some(EventId(0))).await.expect("kept");
    set("three", Some(EventId(1))).await.expect("kept");
    set("three", None).await.expect("forgotten");
    set("never there", None).await.expect("no harm");
    let mut loaded = load(journal, "kept", Retention::default()).await;
    loaded.clients.sort();
    assert_eq!(loaded.clients, [("one".to_owned(), EventId(25)), ("two".to_owned(), EventId(0))]);
    journal.acknowledge("only a client", "one", Some(EventId(7))).await.expect("kept");
    let loaded = load(journal, "only a client", Retention::default()).await;
    assert_eq!((loaded.clients.len(), loaded.events.len()), (1, 0));
    assert!(journal.knows("only a client"));
}

async fn removing(journal: &impl Journal) {
    journal.remove("kept", EventId(50)).await.expect("removed");
    journal.remove("never there", EventId(45)).await.expect("no harm");
    assert!(!journal.knows("kept"));
    let loaded = load(journal, "kept", Retention::default()).await;
    assert_eq!(loaded, Loaded { floor: EventId(50), ..Loaded::default() }, "ids up to the mark were given");
    append(journal, "kept", vec![event(60, "of another life")]).await;
    assert_eq!(load(journal, "kept", Retention::default()).await.events.len(), 1);
    journal.remove("kept", EventId(0)).await.expect("removed");
    assert_eq!(
        load(journal, "kept", Retention::default()).await.floor,
        EventId(60),
        "the last event's id is a mark"
    );
}

/// A channel waits for one append before the next, but not for other channels, nor for being removed.
async fn order(journal: &impl Journal) {
    let first = journal.append("order", vec![event(101, "1")]);
    let gone = journal.append("gone", vec![event(102, "2")]);
    let removed = journal.remove("gone", EventId(102));
    let last = journal.append("gone", vec![event(103, "3")]);
    first.await.expect("kept");
    gone.await.expect("kept");
    removed.await.expect("removed");
    last.await.expect("kept");
    let loaded = load(journal, "gone", Retention::default()).await;
    assert_eq!(loaded.events.iter().map(|event| event.id).collect::<Vec<_>>(), [EventId(103)]);
}
