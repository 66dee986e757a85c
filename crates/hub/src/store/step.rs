//! What each change does, once for all stores: functions over tables that a store lays out as it likes. Nothing is kept here, and
//! whoever calls sees to it that a step is all or nothing.

use std::sync::Arc;

use super::record::{Content, Intent, Letter, Mode, Pair, Subscription, Topic};
use super::{Change, Task, Work};

/// The tables, within one step.
pub(super) trait Tables {
    type Error;

    fn next_serial(&mut self) -> Result<u64, Self::Error>;
    fn intent(&self, pair: &Pair) -> Result<Option<Intent>, Self::Error>;
    fn put_intent(&mut self, intent: &Intent) -> Result<(), Self::Error>;
    fn drop_intent(&mut self, pair: &Pair) -> Result<(), Self::Error>;
    fn subscription(&self, pair: &Pair) -> Result<Option<Subscription>, Self::Error>;
    fn put_subscription(&mut self, subscription: &Subscription) -> Result<(), Self::Error>;
    fn drop_subscription(&mut self, pair: &Pair) -> Result<(), Self::Error>;
    /// Without its content.
    fn topic(&self, url: &str) -> Result<Option<Topic>, Self::Error>;
    /// All but its content.
    fn put_topic(&mut self, topic: &Topic) -> Result<(), Self::Error>;
    fn put_content(&mut self, url: &str, content: &Content) -> Result<(), Self::Error>;
    fn put_letter(&mut self, letter: &Letter) -> Result<(), Self::Error>;
    fn drop_letter(&mut self, pair: &Pair) -> Result<(), Self::Error>;
    /// Every subscription of the topic that has not ended wants this version now; answers which have nothing on the way yet.
    fn want(&mut self, topic: &str, version: u64, now_ms: u64) -> Result<Vec<Pair>, Self::Error>;
    fn sweep(&mut self, now_ms: u64, letters_before_ms: u64) -> Result<(), Self::Error>;
}

/// From the end of a fetch to the next one of the same topic: whoever pings again and again does not make the hub a burden to the
/// publisher.
const FETCH_PAUSE_MS: u64 = 1_000;

type Done<T> = Result<Option<Work>, <T as Tables>::Error>;

pub(super) fn apply<T: Tables>(tables: &mut T, change: Change, due: &mut Vec<Work>) -> Result<(), T::Error> {
    let work = match change {
        Change::Wish(intent) => wish(tables, *intent)?,
        Change::Verified { pair, serial, now_ms, lease_end_ms } => {
            verified(tables, pair, serial, now_ms, lease_end_ms)?
        }
        Change::Unverified { pair, serial } => match newest(tables, &pair, serial)? {
            Ok(_) => tables.drop_intent(&pair).map(|()| None)?,
            Err(newer) => newer,
        },
        Change::VerifyLater { pair, serial, due_ms } => match newest(tables, &pair, serial)? {
            Ok(mut intent) => {
                intent.attempts += 1;
                intent.due_ms = due_ms;
                tables.put_intent(&intent)?;
                Some(Work { task: Task::Verify(pair), due_ms })
            }
            Err(newer) => newer,
        },
        Change::Deny { pair, reason, now_ms } => deny(tables, pair, reason, now_ms)?,
        Change::Ping { topic, now_ms } => ping(tables, &topic, now_ms)?,
        Change::Fetched { topic, pings, content, now_ms } => {
            return fetched(tables, &topic, pings, content, now_ms, due);
        }
        Change::FetchFailed { topic, pings, due_ms, error, now_ms } => {
            fetch_failed(tables, &topic, pings, due_ms, error, now_ms)?
        }
        Change::Delivered { pair, version, now_ms } => delivered(tables, pair, version, now_ms)?,
        Change::DeliverLater { pair, due_ms, error, now_ms } => later(tables, pair, due_ms, error, now_ms)?,
        Change::GiveUp { pair, version, error, now_ms } => give_up(tables, pair, version, error, now_ms)?,
        Change::End { pair } => tables.drop_subscription(&pair).map(|()| None)?,
        Change::Replay { pair, now_ms } => replay(tables, pair, now_ms)?,
        Change::Sweep { now_ms, letters_before_ms } => {
            tables.sweep(now_ms, letters_before_ms).map(|()| None)?
        }
    };
    due.extend(work);
    Ok(())
}

fn wish<T: Tables>(tables: &mut T, mut intent: Intent) -> Done<T> {
    intent.serial = tables.next_serial()?;
    tables.put_intent(&intent)?;
    Ok(Some(Work { task: Task::Verify(intent.pair), due_ms: intent.due_ms }))
}

/// The wish if it is still this one; else the work that its successor is.
fn newest<T: Tables>(tables: &T, pair: &Pair, serial: u64) -> Result<Result<Intent, Option<Work>>, T::Error> {
    Ok(match tables.intent(pair)? {
        Some(intent) if intent.serial == serial => Ok(intent),
        Some(newer) => Err(Some(Work { task: Task::Verify(pair.clone()), due_ms: newer.due_ms })),
        None => Err(None),
    })
}

fn verified<T: Tables>(tables: &mut T, pair: Pair, serial: u64, now_ms: u64, lease_end_ms: u64) -> Done<T> {
    let intent = match newest(tables, &pair, serial)? {
        Ok(intent) => intent,
        Err(newer) => return Ok(newer),
    };
    tables.drop_intent(&pair)?;
    if intent.mode != Mode::Subscribe {
        tables.drop_subscription(&pair)?;
        return tables.drop_letter(&pair).map(|()| None);
    }
    let known = tables.subscription(&pair)?.filter(|known| known.lease_end_ms > now_ms);
    let topic = match tables.topic(&pair.topic)? {
        Some(topic) => topic,
        None => {
            let topic = Topic { url: Arc::clone(&pair.topic), ..Topic::default() };
            tables.put_topic(&topic)?;
            topic
        }
    };
    let fresh = Subscription {
        pair,
        said: String::new(),
        secret: None,
        algorithm: intent.algorithm,
        since_ms: now_ms,
        lease_end_ms,
        // What was said before it came is not for it.
        wanted: topic.version,
        delivered: topic.version,
        due_ms: None,
        attempts: 0,
        waiting_since_ms: 0,
        delivered_at_ms: 0,
        error: None,
    };
    let subscription = Subscription {
        said: intent.said,
        secret: intent.secret,
        algorithm: intent.algorithm,
        lease_end_ms,
        ..known.unwrap_or(fresh)
    };
    tables.put_subscription(&subscription)?;
    Ok(None)
}

fn deny<T: Tables>(tables: &mut T, pair: Pair, reason: String, now_ms: u64) -> Done<T> {
    let known = tables.subscription(&pair)?;
    let wished = tables.intent(&pair)?;
    let said = match (&known, &wished) {
        (Some(known), _) => known.said.clone(),
        (None, Some(wished)) => wished.said.clone(),
        (None, None) => return Ok(None),
    };
    tables.drop_subscription(&pair)?;
    tables.drop_letter(&pair)?;
    let intent = Intent {
        pair,
        serial: 0,
        said,
        mode: Mode::Denied,
        secret: None,
        algorithm: known.map(|known| known.algorithm).unwrap_or_default(),
        lease_s: 0,
        token: None,
        reason,
        attempts: 0,
        since_ms: now_ms,
        due_ms: now_ms,
    };
    wish(tables, intent)
}

fn ping<T: Tables>(tables: &mut T, url: &Arc<str>, now_ms: u64) -> Done<T> {
    let Some(mut topic) = tables.topic(url)? else { return Ok(None) };
    topic.pings += 1;
    topic.attempts = 0;
    let due_ms = now_ms.max(topic.fetched_at_ms.saturating_add(FETCH_PAUSE_MS));
    topic.due_ms = Some(due_ms);
    tables.put_topic(&topic)?;
    Ok(Some(Work { task: Task::Fetch(Arc::clone(url)), due_ms }))
}

fn fetched<T: Tables>(
    tables: &mut T,
    url: &Arc<str>,
    pings: Option<u64>,
    content: Option<Box<Content>>,
    now_ms: u64,
    due: &mut Vec<Work>,
) -> Result<(), T::Error> {
    let Some(mut topic) = tables.topic(url)? else { return Ok(()) };
    topic.error = None;
    if pings.is_some() {
        topic.fetched_at_ms = now_ms;
        topic.attempts = 0;
        let again = topic.due_ms.filter(|_| pings != Some(topic.pings));
        topic.due_ms = again.map(|due_ms| due_ms.max(now_ms.saturating_add(FETCH_PAUSE_MS)));
    }
    if let Some(content) = content {
        topic.version += 1;
        tables.put_topic(&topic)?;
        tables.put_content(url, &content)?;
        let pairs = tables.want(url, topic.version, now_ms)?;
        due.extend(pairs.into_iter().map(|pair| Work { task: Task::Deliver(pair), due_ms: now_ms }));
    } else {
        tables.put_topic(&topic)?;
    }
    if let Some(due_ms) = topic.due_ms.filter(|_| pings.is_some()) {
        due.push(Work { task: Task::Fetch(Arc::clone(url)), due_ms });
    }
    Ok(())
}

fn fetch_failed<T: Tables>(
    tables: &mut T,
    url: &Arc<str>,
    pings: u64,
    due_ms: Option<u64>,
    error: String,
    now_ms: u64,
) -> Done<T> {
    let Some(mut topic) = tables.topic(url)? else { return Ok(None) };
    topic.error = Some(error);
    topic.fetched_at_ms = now_ms;
    if topic.pings == pings {
        topic.attempts += 1;
        topic.due_ms = due_ms;
    }
    tables.put_topic(&topic)?;
    Ok(topic.due_ms.map(|due_ms| Work { task: Task::Fetch(Arc::clone(url)), due_ms }))
}

fn delivered<T: Tables>(tables: &mut T, pair: Pair, version: u64, now_ms: u64) -> Done<T> {
    let Some(mut subscription) = tables.subscription(&pair)? else { return Ok(None) };
    subscription.delivered = subscription.delivered.max(version);
    subscription.delivered_at_ms = now_ms;
    subscription.error = None;
    settle(&mut subscription, version, now_ms);
    tables.put_subscription(&subscription)?;
    tables.drop_letter(&pair)?;
    Ok(subscription.due_ms.map(|due_ms| Work { task: Task::Deliver(pair), due_ms }))
}

/// Nothing waits any more, or what came meanwhile.
fn settle(subscription: &mut Subscription, version: u64, now_ms: u64) {
    subscription.attempts = 0;
    subscription.due_ms = (subscription.wanted > version).then_some(now_ms);
    subscription.waiting_since_ms = now_ms;
}

fn later<T: Tables>(tables: &mut T, pair: Pair, due_ms: u64, error: String, now_ms: u64) -> Done<T> {
    let Some(mut subscription) = tables.subscription(&pair)? else { return Ok(None) };
    subscription.attempts += 1;
    subscription.due_ms = Some(due_ms.max(now_ms));
    subscription.error = Some(error);
    tables.put_subscription(&subscription)?;
    Ok(Some(Work { task: Task::Deliver(pair), due_ms }))
}

fn give_up<T: Tables>(tables: &mut T, pair: Pair, version: u64, error: String, now_ms: u64) -> Done<T> {
    let Some(mut subscription) = tables.subscription(&pair)? else { return Ok(None) };
    let attempts = subscription.attempts + 1;
    subscription.error = Some(error.clone());
    settle(&mut subscription, version, now_ms);
    tables.put_subscription(&subscription)?;
    tables.put_letter(&Letter { pair: pair.clone(), version, attempts, error, at_ms: now_ms })?;
    Ok(subscription.due_ms.map(|due_ms| Work { task: Task::Deliver(pair), due_ms }))
}

fn replay<T: Tables>(tables: &mut T, pair: Pair, now_ms: u64) -> Done<T> {
    tables.drop_letter(&pair)?;
    let alive = |subscription: &Subscription| subscription.lease_end_ms > now_ms && subscription.wanted > 0;
    let Some(mut subscription) = tables.subscription(&pair)?.filter(alive) else { return Ok(None) };
    subscription.attempts = 0;
    subscription.waiting_since_ms = now_ms;
    subscription.due_ms = Some(now_ms);
    tables.put_subscription(&subscription)?;
    Ok(Some(Work { task: Task::Deliver(pair), due_ms: now_ms }))
}
