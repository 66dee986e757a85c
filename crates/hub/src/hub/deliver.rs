//! A delivery (WebSub section 7): the newest content, posted to a callback, signed where there is a secret. What the answer says
//! decides whether it is tried again; its body is never read.

use std::rc::Rc;

use ropewalk_reactor::Outcome;
use ropewalk_web::Body;

use super::cache::Edition;
use super::fetch::line;
use super::lanes::Health;
use super::options::millis;
use super::{Ended, Inner};
use crate::guard::Refused;
use crate::link::Link;
use crate::store::{Change, Subscription};

/// What a subscriber has said.
struct Answer {
    status: u16,
    /// `Retry-After` in milliseconds.
    again_ms: Option<u64>,
}

pub(super) async fn deliver(hub: &Rc<Inner>, subscription: Subscription) -> Outcome<Ended> {
    let pair = subscription.pair.clone();
    // H22: a lease that is over is over, swept out or not.
    if subscription.lease_end_ms <= hub.now_ms() {
        hub.commit(vec![Change::End { pair }]).await?;
        return Ok(Ended::well(Health::Unknown));
    }
    let edition = hub.cache.edition(&*hub.store, &pair.topic, subscription.wanted).await?;
    let Some(edition) = edition else {
        // Its topic is gone: then nobody can say what it is to get.
        let (version, error) = (subscription.wanted, "the topic has no content".to_owned());
        hub.commit(vec![Change::GiveUp { pair, version, error, now_ms: hub.now_ms() }]).await?;
        return Ok(Ended::well(Health::Unknown));
    };
    let (answer, health) = match post(hub, &subscription, &edition).await {
        Ok(answer) => {
            let health = if matches!(answer.status, 429 | 500..) { Health::Bad } else { Health::Good };
            (Ok(answer), health)
        }
        Err(failure) if failure.is::<Refused>() => (Err(failure), Health::Unknown),
        Err(failure) => (Err(failure), Health::Bad),
    };
    let (error, asked_ms, definite) = match answer {
        Ok(Answer { status: 200..=299, .. }) => {
            hub.count(|statistics| statistics.delivered += 1);
            hub.rate.hit(hub.now_ms());
            let change = Change::Delivered { pair, version: edition.version, now_ms: hub.now_ms() };
            hub.commit(vec![change]).await?;
            return Ok(Ended::well(health));
        }
        // H27: the subscriber wants no more.
        Ok(Answer { status: 410, .. }) => {
            hub.count(|statistics| statistics.gone += 1);
            hub.commit(vec![Change::End { pair }]).await?;
            return Ok(Ended::well(health));
        }
        Ok(Answer { status, again_ms }) => (format!("the subscriber answers {status}"), again_ms, false),
        Err(failure) => (line(&failure), None, failure.is::<Refused>()),
    };
    failed(hub, subscription, edition.version, error, asked_ms, definite).await?;
    Ok(Ended::well(health))
}

/// H29: tried again within limits of count and time. H30: the subscription stays.
async fn failed(
    hub: &Rc<Inner>,
    subscription: Subscription,
    version: u64,
    error: String,
    asked_ms: Option<u64>,
    definite: bool,
) -> Outcome<()> {
    let (pair, now_ms, tried) = (subscription.pair, hub.now_ms(), subscription.attempts + 1);
    let due_ms = hub.later_ms(tried, asked_ms);
    let until_ms = subscription.waiting_since_ms.saturating_add(millis(hub.options.deliver_for));
    let over = definite || tried >= hub.options.deliver_attempts || due_ms > until_ms;
    tracing::info!(callback = %crate::request::host(&pair.callback), tried, over, "not delivered: {error}");
    let change = if over {
        hub.count(|statistics| statistics.given_up += 1);
        Change::GiveUp { pair, version, error, now_ms }
    } else {
        hub.count(|statistics| statistics.delayed += 1);
        Change::DeliverLater { pair, due_ms, error, now_ms }
    };
    hub.commit(vec![change]).await
}

async fn post(hub: &Rc<Inner>, subscription: &Subscription, edition: &Edition) -> Outcome<Answer> {
    let body = edition.body_since(subscription.delivered, hub.options.feed_diff);
    let mut request = hub.callbacks.post(&subscription.pair.callback);
    // H24: as the topic has it, or as nothing is said of it.
    let media = edition.media.as_deref().unwrap_or("application/octet-stream");
    request = request.header("Content-Type", media);
    // H26: one field with both.
    let hub_link = Link::new(hub.url.borrow().as_str(), "hub");
    let self_link = Link::new(subscription.said.as_str(), "self");
    request = request.header("Link", &format!("{hub_link}, {self_link}"));
    if let Some(secret) = &subscription.secret {
        request = request.header("X-Hub-Signature", &secret.sign(subscription.algorithm, &body));
    }
    // A kept connection may end under it; a subscriber must bear to get a version twice anyway.
    let response = request.body(Body::Shared(body)).idempotent().send().await?;
    let again_ms = response.header("Retry-After").and_then(|value| retry_after(value, hub));
    // H28: dropping it lets go of the body.
    Ok(Answer { status: response.status(), again_ms })
}

/// Seconds, or a date (RFC 9110 section 10.2.3).
fn retry_after(value: &str, hub: &Inner) -> Option<u64> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(hub.reactor.wall_clock()).map(millis).unwrap_or(0))
}
