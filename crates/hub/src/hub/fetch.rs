//! Fetching a topic after a ping, and taking one that its publisher gives: whether it is new, and then for whom. Delivering is not
//! done here.

use std::rc::Rc;
use std::sync::Arc;

use ring::digest::{Context, SHA256};
use ropewalk_reactor::{Failure, Outcome};
use ropewalk_web::client::{ClientError, Response};

use super::lanes::Health;
use super::{Ended, Inner};
use crate::discover;
use crate::feed;
use crate::guard::Refused;
use crate::store::{Change, Content, Entry, List, Listing, Topic};

/// Failures are told in a line that stays a line.
const ERROR_CHARS_MAX: usize = 300;

pub(super) async fn fetch(hub: &Rc<Inner>, topic: Topic) -> Outcome<Ended> {
    let listing = Listing { of: List::Of(Arc::clone(&topic.url)), after: String::new(), limit: 0 };
    let subscribers = hub.store.list(listing).await?.total;
    match get(hub, &topic, subscribers).await {
        Ok(content) => {
            hub.count(|statistics| match content {
                Some(_) => statistics.changed += 1,
                None => statistics.unchanged += 1,
            });
            let content = content.map(Box::new);
            let change =
                Change::Fetched { pings: Some(topic.pings), topic: topic.url, content, now_ms: hub.now_ms() };
            hub.commit(vec![change]).await?;
            Ok(Ended::well(Health::Good))
        }
        Err(failure) => failed(hub, topic, &failure).await,
    }
}

async fn failed(hub: &Rc<Inner>, topic: Topic, failure: &Failure) -> Outcome<Ended> {
    tracing::info!(topic = %topic.url, "a topic was not fetched: {failure}");
    hub.count(|statistics| statistics.fetch_failures += 1);
    let status = match failure.check::<ClientError>() {
        Some(ClientError::Status(status)) => Some(*status),
        _ => None,
    };
    // The publisher's own no, or ours: it is the same next time.
    let definite = failure.is::<Refused>()
        || status.is_some_and(|status| (400..500).contains(&status) && !matches!(status, 408 | 425 | 429));
    let tried = topic.attempts + 1;
    let again = !definite && tried < hub.options.fetch_attempts;
    let due_ms = again.then(|| hub.later_ms(tried, None));
    let change = Change::FetchFailed {
        topic: topic.url,
        pings: topic.pings,
        due_ms,
        error: line(failure),
        now_ms: hub.now_ms(),
    };
    hub.commit(vec![change]).await?;
    let answered = status.is_some_and(|status| status < 500);
    let health = match () {
        () if failure.is::<Refused>() => Health::Unknown,
        () if answered => Health::Good,
        () => Health::Bad,
    };
    Ok(Ended::well(health))
}

/// Asks for it; `None` if it is what it was.
async fn get(hub: &Rc<Inner>, topic: &Topic, subscribers: u64) -> Outcome<Option<Content>> {
    let url = hub.url.borrow().clone();
    let plural = if subscribers == 1 { "" } else { "s" };
    let version = env!("CARGO_PKG_VERSION");
    let agent = format!("ropewalk/{version} (WebSub hub; {url}; {subscribers} subscriber{plural})");
    let mut request = hub.topics.get(&topic.url).header("User-Agent", &agent);
    if let Some(known) = &topic.content {
        if let Some(etag) = &known.etag {
            request = request.header("If-None-Match", etag);
        }
        if let Some(modified) = &known.modified {
            request = request.header("If-Modified-Since", modified);
        }
    }
    let response = request.send().await?;
    if response.status() == 304 && topic.content.is_some() {
        return Ok(None);
    }
    let response = success(response)?;
    let field = |name: &str| response.header(name).map(str::to_owned);
    let (media, etag, modified) = (field("Content-Type"), field("ETag"), field("Last-Modified"));
    let body = response.bytes().await?;
    Ok(content(hub, topic, media, body).map(|content| Content { etag, modified, ..content }))
}

fn success(response: Response) -> Outcome<Response> {
    // A redirect without an end, and a 304 to who did not ask for it, are no contents either.
    let response = response.success()?;
    match response.status() {
        // RFC 9110 sections 15.3.5 to 15.3.7: no contents, or a part of them.
        status @ 204..=206 => Err(Failure::new(format!("the publisher gives no whole contents: {status}"))),
        _ => Ok(response),
    }
}

/// What a publisher gives instead of being asked.
pub(super) async fn given(hub: &Rc<Inner>, url: Arc<str>, media: Option<&str>, body: &[u8]) -> Outcome<()> {
    let Some(topic) = hub.store.topic(url).await? else { return Ok(()) };
    let media = media.map(str::to_owned).or_else(|| topic.content.as_ref()?.media.clone());
    let content = content(hub, &topic, media, body.to_vec()).map(Box::new);
    let change = Change::Fetched { topic: topic.url, pings: None, content, now_ms: hub.now_ms() };
    hub.commit(vec![change]).await
}

/// The next content of the topic; `None` if it says nothing new.
fn content(hub: &Inner, topic: &Topic, media: Option<String>, body: Vec<u8>) -> Option<Content> {
    let mut hash = Context::new(&SHA256);
    hash.update(media.as_deref().unwrap_or_default().as_bytes());
    hash.update(b"\n");
    hash.update(&body);
    let hash = hash.finish().as_ref().to_vec();
    let known = topic.content.as_ref();
    if known.is_some_and(|known| known.hash == hash) {
        return None;
    }
    let next = topic.version + 1;
    let entries = if hub.options.feed_diff { numbered(topic, &body, next) } else { Vec::new() };
    // A feed that has only a new date says nothing new; entries that are gone are no news either.
    let is_feed = !entries.is_empty() && known.is_some_and(|known| !known.entries.is_empty());
    if is_feed && entries.iter().all(|entry| entry.version < next) {
        return None;
    }
    Some(Content { media, etag: None, modified: None, hash, body: body.into(), entries })
}

/// The entries of a feed with the version in which each came or changed last.
fn numbered(topic: &Topic, body: &[u8], next: u64) -> Vec<Entry> {
    let known = topic.content.as_ref().map(|known| known.entries.as_slice()).unwrap_or_default();
    let found = feed::entries(body).unwrap_or_default();
    let number = |found: feed::Found| {
        let same = known.iter().find(|entry| entry.id == found.id && entry.hash == found.hash);
        Entry { version: same.map_or(next, |entry| entry.version), id: found.id, hash: found.hash }
    };
    found.into_iter().map(number).collect()
}

/// Whether the topic names this hub, and itself by this URL if by any.
pub(super) async fn naming(hub: &Rc<Inner>, topic: &Arc<str>) -> Outcome<bool> {
    let response = success(hub.topics.get(topic).send().await?)?;
    let found = discover::read(response).await?;
    let ours = hub.url.borrow().clone();
    let itself = found.topic.as_deref().is_none_or(|named| crate::request::plain(named) == **topic);
    Ok(itself && found.hubs.contains(&ours))
}

/// A failure for a table.
pub(super) fn line(failure: &Failure) -> String {
    let text = failure.to_string();
    text.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).take(ERROR_CHARS_MAX).collect()
}
