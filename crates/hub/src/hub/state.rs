//! What a hub shows: a page for people, and behind its token what it has and how it fares, for people and for programs. The one is
//! HTML, the other JSON, by what is asked for.

use std::sync::Arc;

use ropewalk_reactor::Outcome;
use ropewalk_web::{Arguments, Handler, Request, Response, Router, handler};
use serde_json::{Value, json};

use super::accept::is_authorised;
use super::{Hub, Inner, accept, page};
use crate::store::{Intent, Letter, List, Listing, Mode, Pair, Subscription, Topic};

/// Rows of a page, unless more are asked for, and at most.
const ROWS: (usize, usize) = (100, 1_000);

pub(super) fn site(hub: &Hub) -> impl Handler + use<> {
    let guarded = |answer: fn(Hub, Arguments, bool) -> Shown| {
        let hub = hub.clone();
        handler(move |request: Request| {
            let hub = hub.clone();
            async move { shown(hub, request, answer).await }
        })
    };
    let front = hub.clone();
    let about = hub.clone();
    Router::new()
        .get("/", move |_| page::front(&front.url()))
        .get("/hub", move |_| page::front(&about.url()))
        .route("POST", "/hub", accept::endpoint(&hub.0))
        .route("GET", "/state", guarded(|hub, _, html| Box::pin(overview(hub, html))))
        .route("GET", "/state/topics", guarded(|hub, query, _| Box::pin(topics(hub, query))))
        .route("GET", "/state/subscriptions", guarded(|hub, query, _| Box::pin(subscriptions(hub, query))))
        .route("GET", "/state/letters", guarded(|hub, query, _| Box::pin(letters(hub, query))))
        .route("GET", "/state/wishes", guarded(|hub, query, _| Box::pin(wishes(hub, query))))
        .route("POST", "/state/retry", guarded(|hub, form, html| Box::pin(retry(hub, form, html))))
        .route("POST", "/state/deny", guarded(|hub, form, html| Box::pin(deny(hub, form, html))))
}

type Shown = std::pin::Pin<Box<dyn Future<Output = Outcome<Response>>>>;

async fn shown(hub: Hub, request: Request, answer: fn(Hub, Arguments, bool) -> Shown) -> Response {
    if hub.0.options.token.is_none() {
        return refuse(404, "this hub shows its state to nobody: it has no token");
    }
    if !is_authorised(&hub.0, &request) {
        let refused = refuse(401, "show the hub's token: Authorization: Bearer TOKEN, or as a password");
        return refused.header("WWW-Authenticate", "Basic realm=\"hub\", charset=\"UTF-8\"");
    }
    if request.method() != "GET" && is_from_elsewhere(&request) {
        return refuse(403, "this page is used from itself only");
    }
    let html = request.header("accept").is_some_and(|accept| accept.contains("text/html"));
    let arguments = if request.method() == "GET" {
        request.arguments()
    } else {
        match request.form().await {
            Ok(form) => form,
            Err(rejection) => return refuse(rejection.status(), "send a form"),
        }
    };
    match answer(hub, arguments, html).await {
        Ok(response) => response.header("Cache-Control", "no-store"),
        Err(failure) => Response::failure(failure),
    }
}

/// A browser sends a password that it knows along with whatever another site makes it send.
fn is_from_elsewhere(request: &Request) -> bool {
    let own = |origin: &str| {
        let named = origin.split_once("://").map(|(_, authority)| authority);
        named.is_some() && named == request.header("host")
    };
    let site = request.header("sec-fetch-site");
    site.is_some_and(|site| !matches!(site, "same-origin" | "none"))
        || request.header("origin").is_some_and(|origin| !own(origin))
}

fn refuse(status: u16, why: &str) -> Response {
    Response::new(format!("{why}\n")).status(status).content_type("text/plain; charset=utf-8")
}

fn data(value: &Value) -> Response {
    Response::new(format!("{value}\n")).content_type("application/json")
}

fn listing(of: List, query: &Arguments) -> Listing {
    let limit = query.first("limit").and_then(|limit| limit.parse().ok()).unwrap_or(ROWS.0).min(ROWS.1);
    Listing { of, after: query.first("after").unwrap_or_default().to_owned(), limit }
}

async fn overview(hub: Hub, html: bool) -> Outcome<Response> {
    let first = |of| Listing { of, after: String::new(), limit: if html { ROWS.0 } else { 0 } };
    let inner = &hub.0;
    let topics = inner.store.list(first(List::Topics)).await?;
    let subscriptions = inner.store.list(first(List::Subscriptions)).await?;
    let letters = inner.store.list(first(List::Letters)).await?;
    let wishes = inner.store.list(first(List::Intents)).await?;
    let summary = summary(&hub, [topics.total, subscriptions.total, letters.total, wishes.total]);
    if !html {
        return Ok(data(&summary));
    }
    let tables = [
        ("Topics", topics.topics.iter().map(topic_row).collect()),
        (
            "Subscriptions",
            subscriptions.subscriptions.iter().map(|row| subscription_row(inner, row)).collect(),
        ),
        ("Dead letters", letters.letters.iter().map(letter_row).collect::<Vec<Value>>()),
    ];
    Ok(page::state(&summary, &tables))
}

fn summary(hub: &Hub, [topics, subscriptions, letters, wishes]: [u64; 4]) -> Value {
    let (statistics, inner) = (hub.statistics(), &hub.0);
    let now_ms = inner.now_ms();
    let hosts = inner.lanes.borrow().ailing().into_iter().map(|host| {
        json!({
            "host": host.place.host,
            "role": if host.place.callbacks { "subscriber" } else { "publisher" },
            "failures": host.failures,
            "waiting": host.waiting,
            "paused_seconds": host.open_until_ms.saturating_sub(now_ms).div_ceil(1_000),
        })
    });
    json!({
        "url": hub.url(),
        "topics": topics,
        "subscriptions": subscriptions,
        "letters": letters,
        "wishes": wishes,
        "deliveries_per_second": inner.rate.per_second(now_ms),
        "counts": {
            "wishes": statistics.wishes,
            "verified": statistics.verified,
            "unverified": statistics.unverified,
            "pings": statistics.pings,
            "changed": statistics.changed,
            "unchanged": statistics.unchanged,
            "fetch_failures": statistics.fetch_failures,
            "delivered": statistics.delivered,
            "delayed": statistics.delayed,
            "given_up": statistics.given_up,
            "gone": statistics.gone,
            "waiting": statistics.waiting,
            "running": statistics.running,
        },
        "connections": { "topics": connections(&inner.topics), "callbacks": connections(&inner.callbacks) },
        "failing_hosts": hosts.collect::<Vec<_>>(),
    })
}

fn connections(agent: &ropewalk_web::client::Agent) -> Value {
    let statistics = agent.statistics();
    json!({ "open": statistics.open, "idle": statistics.idle, "made": statistics.made, "reused": statistics.reused })
}

fn topic_row(topic: &Topic) -> Value {
    let content = topic.content.as_ref();
    json!({
        "topic": &*topic.url,
        "version": topic.version,
        "media": content.and_then(|content| content.media.clone()),
        "fetched_at": time(topic.fetched_at_ms),
        "waits": topic.due_ms.is_some(),
        "error": topic.error,
    })
}

/// Never the secret: only that there is one.
fn subscription_row(hub: &Inner, known: &Subscription) -> Value {
    json!({
        "topic": &*known.pair.topic,
        "callback": &*known.pair.callback,
        "since": time(known.since_ms),
        "lease_seconds_left": known.lease_end_ms.saturating_sub(hub.now_ms()) / 1_000,
        "signed": known.secret.is_some().then(|| known.algorithm.name()),
        "wanted": known.wanted,
        "delivered": known.delivered,
        "delivered_at": time(known.delivered_at_ms),
        "waits": known.due_ms.is_some(),
        "failures": known.attempts,
        "error": known.error,
    })
}

fn letter_row(letter: &Letter) -> Value {
    json!({
        "topic": &*letter.pair.topic,
        "callback": &*letter.pair.callback,
        "version": letter.version,
        "attempts": letter.attempts,
        "error": letter.error,
        "at": time(letter.at_ms),
    })
}

fn wish_row(intent: &Intent) -> Value {
    json!({
        "topic": &*intent.pair.topic,
        "callback": &*intent.pair.callback,
        "mode": intent.mode.name(),
        "since": time(intent.since_ms),
        "attempts": intent.attempts,
        "reason": (intent.mode == Mode::Denied).then(|| intent.reason.clone()),
    })
}

/// As HTTP writes times; nothing for never.
fn time(ms: u64) -> Option<String> {
    let at = std::time::SystemTime::UNIX_EPOCH.checked_add(std::time::Duration::from_millis(ms));
    at.filter(|_| ms > 0).map(httpdate::fmt_http_date)
}

async fn topics(hub: Hub, query: Arguments) -> Outcome<Response> {
    let page = hub.0.store.list(listing(List::Topics, &query)).await?;
    let rows: Vec<Value> = page.topics.iter().map(topic_row).collect();
    Ok(data(&json!({ "total": page.total, "topics": rows })))
}

async fn subscriptions(hub: Hub, query: Arguments) -> Outcome<Response> {
    let topic = query.first("topic").map(Arc::from);
    let of = match (topic, query.first("callback")) {
        (Some(topic), Some(callback)) => List::One(Pair::new(topic, callback)),
        (Some(topic), None) => List::Of(topic),
        (None, _) => List::Subscriptions,
    };
    let page = hub.0.store.list(listing(of, &query)).await?;
    let rows: Vec<Value> = page.subscriptions.iter().map(|row| subscription_row(&hub.0, row)).collect();
    Ok(data(&json!({ "total": page.total, "subscriptions": rows })))
}

async fn letters(hub: Hub, query: Arguments) -> Outcome<Response> {
    let page = hub.0.store.list(listing(List::Letters, &query)).await?;
    let rows: Vec<Value> = page.letters.iter().map(letter_row).collect();
    Ok(data(&json!({ "total": page.total, "letters": rows })))
}

async fn wishes(hub: Hub, query: Arguments) -> Outcome<Response> {
    let page = hub.0.store.list(listing(List::Intents, &query)).await?;
    let rows: Vec<Value> = page.intents.iter().map(wish_row).collect();
    Ok(data(&json!({ "total": page.total, "wishes": rows })))
}

fn pair(form: &Arguments) -> Option<Pair> {
    Some(Pair::new(form.first("topic")?, form.first("callback")?))
}

/// One dead letter or subscription, or all dead letters there are.
async fn retry(hub: Hub, form: Arguments, html: bool) -> Outcome<Response> {
    let mut pairs: Vec<Pair> = pair(&form).into_iter().collect();
    if pairs.is_empty() {
        if form.first("all").is_none() {
            return Ok(refuse(400, "name topic and callback, or say all=1"));
        }
        let all = Listing { of: List::Letters, after: String::new(), limit: usize::MAX };
        pairs = hub.0.store.list(all).await?.letters.into_iter().map(|letter| letter.pair).collect();
    }
    let count = pairs.len();
    for pair in pairs {
        hub.replay(pair).await?;
    }
    Ok(done(html, &json!({ "retried": count })))
}

async fn deny(hub: Hub, form: Arguments, html: bool) -> Outcome<Response> {
    let Some(pair) = pair(&form) else { return Ok(refuse(400, "name topic and callback")) };
    let known = Listing { of: List::One(pair.clone()), after: String::new(), limit: 0 };
    let count = hub.0.store.list(known).await?.total;
    let reason = form.first("reason").filter(|reason| !reason.is_empty());
    hub.deny(pair, reason.unwrap_or("ended by the hub's operator")).await?;
    Ok(done(html, &json!({ "denied": count })))
}

fn done(html: bool, value: &Value) -> Response {
    if html { Response::redirect(303, "/state") } else { data(value) }
}
