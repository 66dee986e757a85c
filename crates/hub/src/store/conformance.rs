//! What every store must do: one function, to be run against each implementation. It is for tests, and panics where a store is wrong.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_reactor::{Outcome, Simulation};

use super::{
    Change, Content, Intent, List, Listing, Loaded, Mode, Page, Pair, Store, Subscription, Task, Work,
};
use crate::signature::{Algorithm, Secret};

/// Runs [`check_store`] under a simulation, and panics if it does not come to its end.
///
/// # Panics
/// When the store is none.
pub fn check_in(simulation: &Simulation, store: Rc<dyn Store>) {
    let ended = Rc::new(RefCell::new(None));
    let tell = Rc::clone(&ended);
    simulation.reactor().spawn(async move {
        let outcome = check_store(&*store).await;
        *tell.borrow_mut() = Some(outcome);
    });
    simulation.run_until(Duration::from_secs(60), || ended.borrow().is_some());
    let outcome = ended.borrow_mut().take().expect("the store answers");
    outcome.expect("the store does not fail");
}

/// Checks an empty store.
///
/// # Errors
/// The store's own.
///
/// # Panics
/// When the store is none.
pub async fn check_store(store: &dyn Store) -> Outcome<()> {
    wishes(store).await?;
    leases(store).await?;
    deliveries(store).await?;
    letters(store).await?;
    denials(store).await?;
    fetches(store).await?;
    lists(store).await?;
    sweeping(store).await
}

fn intent(pair: &Pair, mode: Mode, now_ms: u64) -> Change {
    Change::Wish(Box::new(Intent {
        pair: pair.clone(),
        serial: 0,
        said: format!("{}?said", pair.topic),
        mode,
        secret: Secret::new("s"),
        algorithm: Algorithm::Sha384,
        lease_s: 60,
        token: Some("t".to_owned()),
        reason: String::new(),
        attempts: 0,
        since_ms: now_ms,
        due_ms: now_ms,
    }))
}

async fn wished(store: &dyn Store, pair: &Pair) -> Outcome<Option<Intent>> {
    match store.load(Task::Verify(pair.clone())).await? {
        Loaded::Intent(intent) => Ok(Some(*intent)),
        Loaded::Settled => Ok(None),
        other => panic!("not a wish: {other:?}"),
    }
}

/// The subscription, whether something waits for it or not.
async fn known(store: &dyn Store, pair: &Pair) -> Outcome<Option<Subscription>> {
    let listing = Listing { of: List::Of(Arc::clone(&pair.topic)), after: String::new(), limit: 100 };
    let found = store.list(listing).await?.subscriptions;
    Ok(found.into_iter().find(|found| found.pair == *pair))
}

async fn subscribe(store: &dyn Store, pair: &Pair, now_ms: u64, lease_end_ms: u64) -> Outcome<()> {
    store.commit(vec![intent(pair, Mode::Subscribe, now_ms)]).await?;
    let serial = wished(store, pair).await?.expect("it waits").serial;
    store.commit(vec![Change::Verified { pair: pair.clone(), serial, now_ms, lease_end_ms }]).await?;
    Ok(())
}

fn content(text: &str) -> Option<Box<Content>> {
    Some(Box::new(Content {
        media: Some("text/plain".to_owned()),
        etag: Some("\"e\"".to_owned()),
        modified: None,
        hash: vec![1, 2, 3],
        body: text.as_bytes().into(),
        entries: Vec::new(),
    }))
}

async fn publish(store: &dyn Store, topic: &str, text: &str, now_ms: u64) -> Outcome<Vec<Work>> {
    let change = Change::Fetched { topic: topic.into(), pings: None, content: content(text), now_ms };
    store.commit(vec![change]).await
}

async fn wishes(store: &dyn Store) -> Outcome<()> {
    let pair = Pair::new("http://wish/", "http://c/1");
    let work = store.commit(vec![intent(&pair, Mode::Subscribe, 10)]).await?;
    assert_eq!(work, [Work { task: Task::Verify(pair.clone()), due_ms: 10 }]);
    let first = wished(store, &pair).await?.expect("it waits");
    assert_eq!((first.mode, first.algorithm, first.lease_s), (Mode::Subscribe, Algorithm::Sha384, 60));
    assert_eq!((first.token.as_deref(), first.secret.as_ref()), (Some("t"), Secret::new("s").as_ref()));
    assert_eq!(first.said, "http://wish/?said");

    // A newer wish takes its place, and the answer to the older one is worth nothing.
    store.commit(vec![intent(&pair, Mode::Subscribe, 20)]).await?;
    let second = wished(store, &pair).await?.expect("it waits");
    assert!(second.serial > first.serial);
    let stale = |serial| Change::Verified { pair: pair.clone(), serial, now_ms: 21, lease_end_ms: 99 };
    let work = store.commit(vec![stale(first.serial)]).await?;
    assert_eq!(
        work,
        [Work { task: Task::Verify(pair.clone()), due_ms: 20 }],
        "the newer one is to be verified"
    );
    assert_eq!(known(store, &pair).await?, None);

    let later = Change::VerifyLater { pair: pair.clone(), serial: second.serial, due_ms: 500 };
    assert_eq!(store.commit(vec![later]).await?, [Work { task: Task::Verify(pair.clone()), due_ms: 500 }]);
    let again = wished(store, &pair).await?.expect("it waits");
    assert_eq!((again.attempts, again.due_ms), (1, 500));
    assert!(store.claim().await?.contains(&Work { task: Task::Verify(pair.clone()), due_ms: 500 }));
    // H7: nothing but the wish is gone.
    store.commit(vec![Change::Unverified { pair: pair.clone(), serial: second.serial }]).await?;
    assert_eq!(wished(store, &pair).await?, None);
    assert!(store.commit(vec![stale(second.serial)]).await?.is_empty());
    assert_eq!(known(store, &pair).await?, None);
    Ok(())
}

async fn leases(store: &dyn Store) -> Outcome<()> {
    let pair = Pair::new("http://lease/", "http://c/1");
    subscribe(store, &pair, 1_000, 2_000).await?;
    let first = known(store, &pair).await?.expect("it is subscribed");
    assert_eq!((first.since_ms, first.lease_end_ms, first.due_ms), (1_000, 2_000, None));
    assert_eq!(first.said, "http://lease/?said");
    assert!(store.topic("http://lease/".into()).await?.is_some());
    // H6: it goes on, with a new end.
    subscribe(store, &pair, 1_500, 9_000).await?;
    let second = known(store, &pair).await?.expect("it is subscribed");
    assert_eq!((second.since_ms, second.lease_end_ms), (1_000, 9_000));
    // H22: an expired one wants nothing any more, even before it is swept.
    assert_eq!(publish(store, "http://lease/", "late", 9_000).await?, []);
    store.commit(vec![intent(&pair, Mode::Unsubscribe, 9_001)]).await?;
    let serial = wished(store, &pair).await?.expect("it waits").serial;
    store
        .commit(vec![Change::Verified { pair: pair.clone(), serial, now_ms: 9_002, lease_end_ms: 0 }])
        .await?;
    assert_eq!(known(store, &pair).await?, None);
    Ok(())
}

async fn deliveries(store: &dyn Store) -> Outcome<()> {
    let pair = Pair::new("http://news/", "http://c/1");
    let deliver = |due_ms| Work { task: Task::Deliver(pair.clone()), due_ms };
    subscribe(store, &pair, 1_000, 100_000).await?;
    assert_eq!(publish(store, "http://news/", "one", 2_000).await?, [deliver(2_000)]);
    let topic = store.topic("http://news/".into()).await?.expect("it is known");
    let one = topic.content.expect("it has a content");
    assert_eq!((topic.version, &*one.body, one.etag.as_deref()), (1, &b"one"[..], Some("\"e\"")));
    assert!(store.claim().await?.contains(&deliver(2_000)), "what waits outlives a restart");

    // A failure waits; what is published meanwhile takes its place, and nothing waits twice.
    let later =
        Change::DeliverLater { pair: pair.clone(), due_ms: 5_000, error: "503".to_owned(), now_ms: 2_001 };
    assert_eq!(store.commit(vec![later]).await?, [deliver(5_000)]);
    assert_eq!(publish(store, "http://news/", "two", 3_000).await?, []);
    let Loaded::Subscription(waiting) = store.load(Task::Deliver(pair.clone())).await? else {
        panic!("a delivery waits")
    };
    assert_eq!((waiting.wanted, waiting.delivered, waiting.attempts, waiting.due_ms), (2, 0, 1, Some(5_000)));
    assert_eq!((waiting.waiting_since_ms, waiting.error.as_deref()), (2_000, Some("503")));

    // What comes while one is on its way is delivered after it.
    assert_eq!(publish(store, "http://news/", "three", 5_001).await?, []);
    let taken = |version, now_ms| Change::Delivered { pair: pair.clone(), version, now_ms };
    assert_eq!(store.commit(vec![taken(2, 5_002)]).await?, [deliver(5_002)]);
    assert_eq!(store.commit(vec![taken(3, 5_003)]).await?, []);
    assert_eq!(store.load(Task::Deliver(pair.clone())).await?, Loaded::Settled);
    let done = known(store, &pair).await?.expect("it is subscribed");
    assert_eq!((done.delivered, done.delivered_at_ms, done.error), (3, 5_003, None));

    // Who subscribes now gets what comes next.
    let other = Pair::new("http://news/", "http://c/2");
    subscribe(store, &other, 6_000, 100_000).await?;
    assert_eq!(store.load(Task::Deliver(other.clone())).await?, Loaded::Settled);
    assert_eq!(publish(store, "http://news/", "four", 6_001).await?.len(), 2);
    store.commit(vec![Change::End { pair: other.clone() }]).await?;
    assert_eq!(known(store, &other).await?, None);
    let gone = Change::Delivered { pair: other.clone(), version: 4, now_ms: 6_002 };
    assert_eq!(store.commit(vec![gone]).await?, [], "who left is not made anew by what comes late");
    assert_eq!(known(store, &other).await?, None);
    Ok(())
}

async fn letters(store: &dyn Store) -> Outcome<()> {
    let pair = Pair::new("http://dead/", "http://c/1");
    subscribe(store, &pair, 1_000, 100_000).await?;
    publish(store, "http://dead/", "one", 2_000).await?;
    let give_up =
        Change::GiveUp { pair: pair.clone(), version: 1, error: "timed out".to_owned(), now_ms: 3_000 };
    assert_eq!(store.commit(vec![give_up]).await?, []);
    let listing = Listing { of: List::Letters, after: String::new(), limit: 10 };
    let page = store.list(listing.clone()).await?;
    assert_eq!((page.total, page.letters.len()), (1, 1));
    let letter = &page.letters[0];
    assert_eq!((&letter.pair, letter.version, letter.attempts, letter.at_ms), (&pair, 1, 1, 3_000));
    // H30: the subscription stays, and the next version is tried again.
    assert_eq!(store.load(Task::Deliver(pair.clone())).await?, Loaded::Settled);
    let replay = Change::Replay { pair: pair.clone(), now_ms: 4_000 };
    assert_eq!(
        store.commit(vec![replay]).await?,
        [Work { task: Task::Deliver(pair.clone()), due_ms: 4_000 }]
    );
    assert_eq!(store.list(listing).await?.total, 0);
    store.commit(vec![Change::Delivered { pair: pair.clone(), version: 1, now_ms: 4_001 }]).await?;
    assert_eq!(publish(store, "http://dead/", "two", 5_000).await?.len(), 1);
    Ok(())
}

async fn denials(store: &dyn Store) -> Outcome<()> {
    let pair = Pair::new("http://denied/", "http://c/1");
    let deny = Change::Deny { pair: pair.clone(), reason: "closed".to_owned(), now_ms: 1_500 };
    assert_eq!(store.commit(vec![deny.clone()]).await?, [], "nobody is there to be told");
    subscribe(store, &pair, 1_000, 100_000).await?;
    let work = store.commit(vec![deny]).await?;
    assert_eq!(work, [Work { task: Task::Verify(pair.clone()), due_ms: 1_500 }]);
    assert_eq!(known(store, &pair).await?, None);
    let told = wished(store, &pair).await?.expect("it is to be told");
    assert_eq!((told.mode, &*told.reason, &*told.said), (Mode::Denied, "closed", "http://denied/?said"));
    store.commit(vec![Change::Unverified { pair: pair.clone(), serial: told.serial }]).await?;
    Ok(())
}

async fn fetches(store: &dyn Store) -> Outcome<()> {
    let topic: Arc<str> = "http://fetch/".into();
    let ping = |now_ms| Change::Ping { topic: Arc::clone(&topic), now_ms };
    let fetch = |due_ms| Work { task: Task::Fetch(Arc::clone(&topic)), due_ms };
    assert_eq!(store.commit(vec![ping(1)]).await?, [], "nobody subscribes to it");
    let pair = Pair::new(Arc::clone(&topic), "http://c/1");
    subscribe(store, &pair, 1_000, 100_000).await?;
    assert_eq!(store.commit(vec![ping(2_000)]).await?, [fetch(2_000)]);
    assert!(store.claim().await?.contains(&fetch(2_000)));
    let Loaded::Topic(asked) = store.load(Task::Fetch(Arc::clone(&topic))).await? else {
        panic!("a fetch waits")
    };
    // A ping during the fetch is another fetch.
    store.commit(vec![ping(2_001)]).await?;
    let fetched = |pings, text: Option<&str>, now_ms| Change::Fetched {
        topic: Arc::clone(&topic),
        pings: Some(pings),
        content: text.and_then(content),
        now_ms,
    };
    let work = store.commit(vec![fetched(asked.pings, Some("one"), 2_002)]).await?;
    assert_eq!(
        work,
        [Work { task: Task::Deliver(pair.clone()), due_ms: 2_002 }, fetch(3_002)],
        "after a pause"
    );
    let failed = |due_ms| Change::FetchFailed {
        topic: Arc::clone(&topic),
        pings: asked.pings + 1,
        due_ms,
        error: "no".to_owned(),
        now_ms: 2_003,
    };
    assert_eq!(store.commit(vec![failed(Some(3_000))]).await?, [fetch(3_000)]);
    let waiting = store.topic(Arc::clone(&topic)).await?.expect("it is known");
    assert_eq!((waiting.attempts, waiting.error.as_deref(), waiting.due_ms), (1, Some("no"), Some(3_000)));
    assert_eq!(store.commit(vec![fetched(asked.pings + 1, None, 3_001)]).await?, []);
    let same = store.topic(Arc::clone(&topic)).await?.expect("it is known");
    assert_eq!((same.version, same.due_ms, same.attempts, same.error), (1, None, 0, None));
    assert_eq!(store.commit(vec![ping(3_500)]).await?, [fetch(4_001)], "not so soon again");
    let last = asked.pings + 2;
    store.commit(vec![fetched(last, None, 4_002)]).await?;
    assert_eq!(store.load(Task::Fetch(topic)).await?, Loaded::Settled);
    Ok(())
}

async fn lists(store: &dyn Store) -> Outcome<()> {
    for number in 0..5 {
        subscribe(store, &Pair::new("http://list/", format!("http://many:81/{number}")), 1, 100_000).await?;
    }
    let pair = Pair::new("http://list/", "http://many:81/wish");
    store.commit(vec![intent(&pair, Mode::Subscribe, 1)]).await?;
    let page =
        store.list(Listing { of: List::At("many:81".to_owned()), after: String::new(), limit: 2 }).await?;
    assert_eq!((page.total, page.subscriptions.len()), (6, 2), "wishes count, too");
    let one = Listing { of: List::One(page.subscriptions[0].pair.clone()), after: String::new(), limit: 2 };
    assert_eq!((store.list(one).await?.total, &*page.subscriptions[0].said), (1, "http://list/?said"));
    let none = Listing { of: List::One(pair.clone()), after: String::new(), limit: 2 };
    assert_eq!(store.list(none).await?, Page::default());
    let after = page.subscriptions[1].pair.to_string();
    let rest = store.list(Listing { of: List::Of("http://list/".into()), after, limit: 10 }).await?;
    let callbacks: Vec<&str> = rest.subscriptions.iter().map(|known| &*known.pair.callback).collect();
    assert_eq!(callbacks, ["http://many:81/2", "http://many:81/3", "http://many:81/4"]);
    let wishes = store.list(Listing { of: List::Intents, after: String::new(), limit: 10 }).await?;
    assert_eq!((wishes.total, &wishes.intents[0].pair), (1, &pair));
    let topics = store.list(Listing { of: List::Topics, after: String::new(), limit: 100 }).await?;
    assert_eq!(topics.total as usize, topics.topics.len());
    let news = topics.topics.iter().find(|topic| &*topic.url == "http://news/").expect("it is listed");
    let content = news.content.as_ref().expect("it is described");
    assert_eq!((content.media.as_deref(), content.body.len()), (Some("text/plain"), 0));
    Ok(())
}

async fn sweeping(store: &dyn Store) -> Outcome<()> {
    let pair = Pair::new("http://swept/", "http://c/1");
    subscribe(store, &pair, 1_000, 200_000).await?;
    publish(store, "http://swept/", "one", 2_000).await?;
    let give_up = Change::GiveUp { pair: pair.clone(), version: 1, error: String::new(), now_ms: 3_000 };
    store.commit(vec![give_up]).await?;
    store.commit(vec![Change::Sweep { now_ms: 100_000, letters_before_ms: 3_000 }]).await?;
    let of = |of| Listing { of, after: String::new(), limit: 10 };
    let left = store.list(of(List::Subscriptions)).await?;
    assert_eq!((left.total, &left.subscriptions[0].pair), (1, &pair));
    assert_eq!(store.list(of(List::Letters)).await?.total, 1);
    assert_eq!(store.list(of(List::Topics)).await?.total, 2, "one with a subscription, one with a wish");
    store.commit(vec![Change::Sweep { now_ms: 200_000, letters_before_ms: 3_001 }]).await?;
    assert_eq!(store.list(of(List::Subscriptions)).await?.total, 0);
    assert_eq!(store.list(of(List::Letters)).await?.total, 0);
    assert_eq!(store.topic("http://swept/".into()).await?, None);
    Ok(())
}
