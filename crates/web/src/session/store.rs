//! The trait of what keeps sessions, what passes through it, and the conformance that every store is tested with.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::digest;
use ropewalk_reactor::{Deferred, Outcome, Reactor};
use serde_json::{Map, Value, json};

/// Under what a session is kept: the hash of its id. From it nobody comes back to the id, so a store that is read gives nobody a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionKey([u8; 32]);

impl SessionKey {
    /// The key of an id.
    #[must_use]
    pub fn of(id: &[u8]) -> SessionKey {
        let mut key = [0; 32];
        key.copy_from_slice(digest::digest(&digest::SHA256, id).as_ref());
        SessionKey(key)
    }

    /// It as a store keeps it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Enough to tell two apart.
        write!(f, "SessionKey({}…)", crate::secret::hex(&self.0[..4]))
    }
}

/// A session as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What was [set](super::Session::set), by name.
    pub data: Map<String, Value>,
    /// When it began, by the wall clock, in whole milliseconds.
    pub created_at: SystemTime,
    /// When it is over unless it is touched, in whole milliseconds.
    pub expires_at: SystemTime,
}

/// What one request has changed: the new value of each name, or none where it was taken away. Two requests of one visitor that change
/// different things at the same time do not undo each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes(pub BTreeMap<String, Option<Value>>);

impl Changes {
    /// Makes them.
    pub fn apply(self, data: &mut Map<String, Value>) {
        for (name, value) in self.0 {
            match value {
                Some(value) => drop(data.insert(name, value)),
                None => drop(data.remove(&name)),
            }
        }
    }
}

/// What a sweep has found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Swept {
    /// Sessions that have expired; they are gone from the store, and nobody else is told of them.
    pub expired: Vec<Record>,
    /// When the next one will, if there is any.
    pub next: Option<SystemTime>,
}

/// Keeps sessions. [`check_session_store`] says what that means. A store need not look at the time: who loads a session that is over
/// does not use it.
pub trait SessionStore: 'static {
    /// The session under this key.
    fn load(&self, reactor: &Reactor, key: SessionKey) -> Deferred<Option<Record>>;

    /// Keeps a new one; fires when it is as safe as this store makes it.
    fn insert(&self, reactor: &Reactor, key: SessionKey, record: Record) -> Deferred<()>;

    /// Changes one that is there, and when it is over. False, and nothing happens, if it is there no more: what was ended stays so.
    fn update(
        &self,
        reactor: &Reactor,
        key: SessionKey,
        changes: Changes,
        expires_at: SystemTime,
    ) -> Deferred<bool>;

    /// Forgets one. False if it is there no more.
    fn remove(&self, reactor: &Reactor, key: SessionKey) -> Deferred<bool>;

    /// Forgets those that are over by this time, as many as are good at once.
    fn sweep(&self, reactor: &Reactor, now: SystemTime) -> Deferred<Swept>;
}

/// Asserts that a store, which is empty, does what a store has to do. For tests of stores.
///
/// # Errors
/// The store's own.
///
/// # Panics
/// If it does something else.
pub async fn check_session_store(store: &dyn SessionStore, reactor: &Reactor) -> Outcome<()> {
    let at = |seconds: u64| UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + seconds * 1000);
    let map = |value: Value| value.as_object().cloned().unwrap_or_default();
    let [one, two, other] = [b"one", b"two", b"odd"].map(|id| SessionKey::of(id));
    let record =
        Record { data: map(json!({ "user": "ada", "n": 1 })), created_at: at(0), expires_at: at(10) };
    let changes = |name: &str, value: Option<Value>| Changes(BTreeMap::from([(name.to_owned(), value)]));

    assert_eq!(store.load(reactor, one).await?, None, "an empty store has nothing");
    assert_eq!(store.sweep(reactor, at(0)).await?, Swept::default(), "and nothing expires");
    store.insert(reactor, one, record.clone()).await?;
    store.insert(reactor, two, Record { expires_at: at(20), ..record.clone() }).await?;
    assert_eq!(store.load(reactor, one).await?.as_ref(), Some(&record), "what was put in comes out");
    assert_eq!(store.load(reactor, other).await?, None, "under its own key only");

    assert!(store.update(reactor, one, changes("n", Some(json!(2))), at(30)).await?);
    assert!(store.update(reactor, one, changes("m", Some(json!([1, "ü"]))), at(30)).await?);
    assert!(store.update(reactor, one, changes("user", None), at(15)).await?);
    let changed =
        Record { data: map(json!({ "n": 2, "m": [1, "ü"] })), created_at: at(0), expires_at: at(15) };
    assert_eq!(store.load(reactor, one).await?, Some(changed.clone()), "changes add up");
    assert_eq!(store.load(reactor, two).await?.map(|two| two.data), Some(record.data), "and are its own");
    assert!(
        !store.update(reactor, other, changes("n", Some(json!(1))), at(99)).await?,
        "no change makes one"
    );
    assert_eq!(store.load(reactor, other).await?, None);

    assert_eq!(store.sweep(reactor, at(14)).await?, Swept { expired: vec![], next: Some(at(15)) });
    assert_eq!(store.sweep(reactor, at(15)).await?, Swept { expired: vec![changed], next: Some(at(20)) });
    assert_eq!(store.load(reactor, one).await?, None, "what has expired is gone");
    assert!(!store.update(reactor, one, Changes::default(), at(99)).await?, "and does not come back");

    assert!(store.remove(reactor, two).await?);
    assert!(!store.remove(reactor, two).await?, "it was there once");
    assert!(!store.update(reactor, two, changes("n", None), at(99)).await?, "what was ended stays so");
    assert_eq!(store.sweep(reactor, at(999)).await?, Swept::default(), "and expires no more");
    Ok(())
}

/// A moment as stores keep it.
pub(super) fn millis(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The moment that a store has kept.
pub(super) fn moment(millis: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
