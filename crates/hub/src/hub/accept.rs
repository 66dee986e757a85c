//! The hub's URL: what comes in by POST, and what is answered at once. Nothing is verified and nothing fetched here (H15): what is taken
//! is written down first, and answered then. Only callers of 0.3 who want to wait do (`sync`).

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use ropewalk_net::literal;
use ropewalk_reactor::Outcome;
use ropewalk_web::client::Url;
use ropewalk_web::{Arguments, Handler, Request, Response, constant_time_eq, handler};

use super::{Inner, fetch, sync};
use crate::request::{self, Call, Wish, host};
use crate::signature::Secret;
use crate::store::{Change, Intent, List, Listing, Mode, Pair};

/// Bytes of a form that asks for something: the longest URLs, a hundred of them.
const FORM_BYTES_MAX: u64 = 256 * 1024;
/// A form writes a byte as up to three.
const FORM_BLOWS_UP: u64 = 3;

pub(super) fn endpoint(hub: &Rc<Inner>) -> impl Handler + use<> {
    let hub = Rc::clone(hub);
    handler(move |request: Request| {
        let hub = Rc::clone(&hub);
        async move {
            match answer(&hub, request).await {
                Ok(Ok(response)) => response,
                Ok(Err(refusal)) => refusal.response(),
                Err(failure) => {
                    tracing::error!("the hub's store: {failure}");
                    text(503, "the hub cannot write down what you ask; try again later")
                        .header("Retry-After", "10")
                }
            }
        }
    })
}

/// H14: a status, and a line that says why.
struct Refusal {
    status: u16,
    why: String,
    again_s: Option<u64>,
}

impl Refusal {
    fn new(status: u16, why: impl Into<String>) -> Refusal {
        Refusal { status, why: why.into(), again_s: None }
    }

    fn response(self) -> Response {
        let response = text(self.status, &self.why);
        let response = match self.status {
            401 => response.header("WWW-Authenticate", "Bearer"),
            _ => response,
        };
        match self.again_s {
            Some(seconds) => response.header("Retry-After", seconds.to_string()),
            None => response,
        }
    }
}

fn text(status: u16, why: &str) -> Response {
    Response::new(format!("{why}\n")).status(status).content_type("text/plain; charset=utf-8")
}

/// The outer failure is the store's.
async fn answer(hub: &Rc<Inner>, request: Request) -> Outcome<Result<Response, Refusal>> {
    if let Some(url) = &hub.options.moved_to {
        // H16.
        return Ok(Ok(Response::redirect(308, url.clone())));
    }
    let trusted = is_authorised(hub, &request);
    let is_form = request.media_type().is_none_or(|media| media == "application/x-www-form-urlencoded");
    let bytes_max = match (trusted || hub.options.token.is_some(), is_form) {
        (true, true) => FORM_BYTES_MAX + hub.options.content_bytes_max.saturating_mul(FORM_BLOWS_UP),
        (true, false) if trusted => hub.options.content_bytes_max,
        _ => FORM_BYTES_MAX,
    };
    request.set_body_bytes_max(bytes_max);
    let (source, query, media) =
        (request.client(), request.arguments(), request.header("content-type").map(str::to_owned));
    let Ok(body) = request.bytes().await else {
        return Ok(Err(Refusal::new(413, "the body is too large, or did not come")));
    };
    if !is_form {
        if query.first("hub.mode") != Some("publish") {
            return Ok(Err(Refusal::new(415, "send a form: application/x-www-form-urlencoded")));
        }
        return given(hub, &query, media.as_deref(), &body, trusted).await;
    }
    let form = Arguments::read(&body);
    if let (Some("publish"), Some(content)) = (form.first("hub.mode"), form.first("hub.content")) {
        let secret = hub.options.token.as_deref().and_then(Secret::new);
        let signed = secret.zip(form.first("hub.signature"));
        let trusted = trusted || signed.is_some_and(|(secret, sign)| secret.verify(sign, content.as_bytes()));
        return given(hub, &form, form.first("hub.content_type"), content.as_bytes(), trusted).await;
    }
    match request::read(&form) {
        Err(error) => Ok(Err(Refusal::new(400, error.to_string()))),
        Ok(Call::Publish(topics)) => pinged(hub, topics).await.map(Ok),
        Ok(Call::Subscribe(wish)) => wished(hub, wish, Mode::Subscribe, source).await,
        Ok(Call::Unsubscribe(wish)) => wished(hub, wish, Mode::Unsubscribe, source).await,
    }
}

/// Whether the request shows the hub's token.
pub(super) fn is_authorised(hub: &Inner, request: &Request) -> bool {
    let Some(token) = &hub.options.token else { return false };
    let bearer = request.header("authorization").and_then(|value| {
        let (scheme, shown) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| shown.trim().to_owned())
    });
    // Browsers know no bearers; they ask for a password.
    let shown = bearer.or_else(|| request.password()).unwrap_or_default();
    constant_time_eq(shown.as_bytes(), token.as_bytes())
}

async fn pinged(hub: &Rc<Inner>, topics: Vec<Arc<str>>) -> Outcome<Response> {
    hub.count(|statistics| statistics.pings += topics.len() as u64);
    let now_ms = hub.now_ms();
    hub.commit(topics.into_iter().map(|topic| Change::Ping { topic, now_ms }).collect()).await?;
    Ok(Response::empty(204))
}

/// A content from the publisher itself.
async fn given(
    hub: &Rc<Inner>,
    form: &Arguments,
    media: Option<&str>,
    body: &[u8],
    trusted: bool,
) -> Outcome<Result<Response, Refusal>> {
    if !trusted {
        return Ok(Err(Refusal::new(
            401,
            "contents are taken from publishers with a token; send a ping instead",
        )));
    }
    if body.len() as u64 > hub.options.content_bytes_max {
        return Ok(Err(Refusal::new(413, "the content is too large")));
    }
    let topic = form.first("hub.topic").or_else(|| form.first("hub.url")).unwrap_or_default();
    let topic = match request::topic_url("hub.topic", topic) {
        Ok(topic) => topic,
        Err(error) => return Ok(Err(Refusal::new(400, error.to_string()))),
    };
    hub.count(|statistics| statistics.pings += 1);
    fetch::given(hub, topic, media, body).await?;
    Ok(Ok(Response::empty(204)))
}

async fn wished(
    hub: &Rc<Inner>,
    wish: Wish,
    mode: Mode,
    source: Option<IpAddr>,
) -> Outcome<Result<Response, Refusal>> {
    if let Some(source) = source
        && let Err(wait) = hub.quota.take(source, hub.reactor.now())
    {
        let most = hub.options.wishes_per_minute;
        let why = format!("too many requests from your address; {most} a minute are taken");
        let again_s = Some(wait.as_secs() + 1);
        return Ok(Err(Refusal { again_s, ..Refusal::new(429, why) }));
    }
    let pair = Pair { topic: Arc::clone(&wish.topic), callback: Arc::clone(&wish.callback) };
    if let Err(refusal) = fits(hub, &pair, mode) {
        return Ok(Err(refusal));
    }
    if mode == Mode::Subscribe && !has_room(hub, &pair).await? {
        let why = "this hub has as many subscriptions at that callback host as it takes";
        return Ok(Err(Refusal::new(403, why)));
    }
    let now_ms = hub.now_ms();
    let intent = Intent {
        pair,
        serial: 0,
        said: wish.said,
        mode,
        secret: wish.secret,
        algorithm: wish.algorithm.unwrap_or(hub.options.algorithm),
        lease_s: hub.options.lease_s(wish.lease_s),
        token: wish.token,
        reason: String::new(),
        attempts: 0,
        since_ms: now_ms,
        due_ms: now_ms,
    };
    hub.count(|statistics| statistics.wishes += 1);
    if wish.waits {
        return Ok(match sync::verify_now(hub, intent).await? {
            true => Ok(Response::empty(204)),
            false => {
                Err(Refusal::new(409, "your callback has not confirmed it, or was not to be reached in time"))
            }
        });
    }
    hub.commit(vec![Change::Wish(Box::new(intent))]).await?;
    // H12, H13: what follows begins at once, and its outcome is not waited for.
    Ok(Ok(text(202, "accepted; your callback will be asked")))
}

/// What can be said of a wish without asking anybody.
fn fits(hub: &Inner, pair: &Pair, mode: Mode) -> Result<(), Refusal> {
    if mode == Mode::Subscribe && !hub.options.topics.permits(&pair.topic) {
        return Err(Refusal::new(403, "hub.topic: this hub does not serve that topic"));
    }
    let judged = [
        ("hub.callback", &pair.callback, &hub.options.callback_guard),
        ("hub.topic", &pair.topic, &hub.options.topic_guard),
    ];
    for (name, url, guard) in judged {
        let Ok(url) = url.parse::<Url>() else { continue };
        // Names are judged when they are resolved.
        let address = literal(&hub.reactor, url.host(), url.origin().port());
        if address.is_some_and(|found| !found.is_ok_and(|address| guard.permits(address.ip()))) {
            return Err(Refusal::new(403, format!("{name}: its address is none that this hub contacts")));
        }
    }
    Ok(())
}

async fn has_room(hub: &Inner, pair: &Pair) -> Outcome<bool> {
    let most = hub.options.per_callback_host_max;
    let count = |of| Listing { of, after: String::new(), limit: 0 };
    if hub.store.list(count(List::At(host(&pair.callback)))).await?.total < most {
        return Ok(true);
    }
    // Who renews takes no more room.
    Ok(hub.store.list(count(List::One(pair.clone()))).await?.total > 0)
}
