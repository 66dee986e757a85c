//! Callbacks: what hubs ask and deliver, at a URL that only they and we know. An unknown URL is gone (410), so that a hub which still
//! has it lets go.

use std::rc::Rc;

use ropewalk_reactor::Outcome;
use ropewalk_web::{Arguments, Handler, Request, Response, handler as answering};

use super::record::{Following, State};
use super::{Delivery, Inner, REPLACED_MS, hash};

/// A lease that a hub does not name: it must (H20), and so this is short.
const LEASE_UNKNOWN_S: u64 = 24 * 3600;

pub(super) fn handler(inner: &Rc<Inner>) -> impl Handler + use<> {
    let inner = Rc::clone(inner);
    answering(move |request: Request| {
        let inner = Rc::clone(&inner);
        async move {
            // A callback that is not known yet must not be called gone: the hub would end what has just come back.
            if inner.loaded.wait().await.is_err() || inner.broken.get() {
                return Response::empty(503).header("Retry-After", "60");
            }
            let path = request.path().trim_end_matches('/');
            let id = path.rsplit('/').next().unwrap_or_default().to_owned();
            let outcome = match request.method() {
                "GET" | "HEAD" => asked(&inner, &id, &request.arguments()).await,
                "POST" => delivered(&inner, &id, request).await,
                _ => Ok(Response::empty(405).header("Allow", "GET, POST")),
            };
            outcome.unwrap_or_else(|failure| {
                tracing::error!("a callback has failed: {failure}");
                Response::empty(500)
            })
        }
    })
}

/// S8, S9, S10.
async fn asked(inner: &Rc<Inner>, id: &str, query: &Arguments) -> Outcome<Response> {
    let unknown = || Response::text("nothing of the kind was asked for\n").status(404);
    // Callbacks may have a query of their own, and what a hub adds comes last.
    let last = |name: &str| query.all(name).last().map(str::to_owned);
    let row = inner.row(id).filter(|row| last("hub.topic").as_deref() == Some(row.topic.as_str()));
    let (Some(row), Some(mode)) = (row, last("hub.mode")) else { return Ok(unknown()) };
    match (mode.as_str(), last("hub.challenge"), &row.state) {
        ("subscribe", Some(challenge), State::Pending | State::Active) => {
            let lease_s = last("hub.lease_seconds").and_then(|text| text.parse().ok());
            confirm(inner, row, lease_s.unwrap_or(LEASE_UNKNOWN_S)).await?;
            Ok(Response::text(challenge))
        }
        ("unsubscribe", Some(challenge), State::Leaving) => {
            inner.forget(id).await?;
            Ok(Response::text(challenge))
        }
        ("denied", ..) => {
            let reason = last("hub.reason").unwrap_or_default();
            tracing::warn!(hub = %row.hub, topic = %row.topic, reason, "the hub denies a subscription");
            let state = State::Denied(reason);
            // After a while it is tried anew: what is denied today may be served tomorrow, by another hub for instance.
            let renew_ms = inner.now_ms() + LEASE_UNKNOWN_S * 1_000;
            inner.save(Following { state, renew_ms, ..row }).await?;
            Ok(Response::empty(204))
        }
        _ => Ok(unknown()),
    }
}

async fn confirm(inner: &Rc<Inner>, mut row: Following, lease_s: u64) -> Outcome<()> {
    let (now_ms, lease_ms) = (inner.now_ms(), lease_s.saturating_mul(1_000));
    row.state = State::Active;
    row.lease_end_ms = now_ms.saturating_add(lease_ms);
    // S11: with a fifth of the lease left for what may go wrong, so that a hub that is down for a day is no end.
    row.renew_ms = now_ms.saturating_add(lease_ms - lease_ms / 5);
    let replaced = row.replaces.take().and_then(|id| inner.row(&id));
    inner.save(row).await?;
    if let Some(old) = replaced {
        let renew_ms = now_ms + REPLACED_MS;
        inner.save(Following { state: State::Replaced(now_ms), renew_ms, ..old }).await?;
    }
    Ok(())
}

async fn delivered(inner: &Rc<Inner>, id: &str, request: Request) -> Outcome<Response> {
    let Some(row) = inner.row(id) else { return Ok(Response::empty(410)) };
    match row.state {
        State::Leaving | State::Denied(_) => return Ok(Response::empty(410)),
        // A hub that delivers before it has asked back is none of ours.
        State::Pending => return Ok(Response::empty(404)),
        State::Active | State::Replaced(_) => {}
    }
    request.set_body_bytes_max(inner.options.body_bytes_max);
    let field = |name: &str| request.header(name).map(str::to_owned);
    let (media, signature) = (field("Content-Type"), field("X-Hub-Signature"));
    let Ok(body) = request.bytes().await else { return Ok(Response::empty(413)) };
    // S14: without the signature it is nobody's word; the hub that we know has the secret.
    let signed = row.signer().is_none_or(|secret| signature.is_some_and(|text| secret.verify(&text, &body)));
    if !signed {
        tracing::warn!(topic = %row.topic, "a delivery is not signed as it should be, and is ignored");
        return Ok(Response::text("the signature is missing or wrong\n").status(403));
    }
    let hash = hash(&body);
    // Deliveries come at least once: what came last comes again where an answer was lost, or by two callbacks.
    let known = inner.rows.borrow().values().any(|other| other.topic == row.topic && other.hash == hash);
    if !known {
        let (topic, page) = (row.topic.clone(), row.page.clone());
        let delivery = Delivery { topic, page, media, body, polled: false };
        if let Err(failure) = (inner.take)(delivery).await {
            tracing::warn!(topic = %row.topic, "a delivery was not taken: {failure}");
            return Ok(Response::text("it could not be taken; try again\n").status(500));
        }
    }
    if let Some(row) = inner.row(id) {
        inner.save(Following { hash, delivered_ms: inner.now_ms(), missed: 0, ..row }).await?;
    }
    Ok(Response::empty(204))
}
