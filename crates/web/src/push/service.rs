//! Channels by their names over HTTP: one address for each, which answers in the form that is asked for.
//!
//! Not a channel and not its streams: those are below. Who may do what is asked of `PushOptions::allow`; an upgrade is handed to
//! `PushOptions::upgrade`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use ropewalk_channel::{Channel, Channels, EventId, Limit, Overview, Since, check_name};
use ropewalk_reactor::{Failure, Outcome};
use serde_json::{Value, json};

use super::grant::{Action, Admit, Grant};
use super::kind::Kind;
use super::publish::{answer_id, publish, refused};
use super::{Feed, Inner as FeedInner, Joining, guard, poll, socket, stream};
use crate::accept::Preference;
use crate::answer::Answer;
use crate::request::Request;
use crate::response::Response;
use crate::router::{Handler, Router};
use crate::websocket;

/// Channels that one list names at most.
const LIST_MAX: usize = 1_000;

/// Says whether a client may do it on the channel of this name; the answer if not. What it answers must be known at once; where that
/// takes time, it is [`Admit`]. A WebSocket is asked for when it connects, and keeps to the channel of its address.
pub type Allow = Rc<dyn Fn(&Request, Action, &str) -> Result<(), Response>>;

/// Answers a request to upgrade the connection to another protocol, for a client that may subscribe to this channel.
pub type Upgrade = Rc<dyn Fn(&Push, Request, &str) -> Answer>;

/// How channels are served.
#[derive(Clone)]
pub struct PushOptions {
    /// Only for this machine: a request whose `Host` is no name of the loopback gets 403.
    pub loopback_only: bool,
    /// Origins whose pages may publish and connect, as `https://app.example.org`, beside the one that the service has itself.
    pub origins: Vec<String>,
    /// Whether `DELETE` removes a channel; else it gets 403.
    pub remove: bool,
    /// Who asks, and what that client may do, such as [`Tokens::admit`](super::Tokens::admit); without it, everybody may do everything.
    pub admit: Option<Admit>,
    /// Who may do what, beside that.
    pub allow: Option<Allow>,
    /// Who answers a request to upgrade; without it, one to WebSocket gets the protocol that is in the manual.
    pub upgrade: Option<Upgrade>,
    /// How a WebSocket behaves. A message has 2 MiB at most, so that an event of 1 MiB fits in base64; which pages may connect is not
    /// asked of it, but of `origins`.
    pub websocket: Rc<websocket::Options>,
    /// Channels that one WebSocket may subscribe to, 256.
    pub subscriptions_max: usize,
}

impl Default for PushOptions {
    fn default() -> PushOptions {
        let websocket = websocket::Options {
            limits: websocket::Limits::of(2 * 1024 * 1024),
            origins: websocket::Origins::Any,
            ..websocket::Options::default()
        };
        PushOptions {
            loopback_only: false,
            origins: Vec::new(),
            remove: false,
            admit: None,
            allow: None,
            upgrade: None,
            websocket: Rc::new(websocket),
            subscriptions_max: 256,
        }
    }
}

/// Channels, served on one worker. Clones are one.
#[derive(Clone)]
pub struct Push(Rc<Inner>);

struct Inner {
    channels: Channels,
    options: PushOptions,
    /// What everybody may where nobody asks who they are.
    everything: Rc<Grant>,
    /// The feeds of channels that somebody looks at; who looks keeps them.
    feeds: RefCell<BTreeMap<Rc<str>, Weak<FeedInner>>>,
}

/// A handler that serves channels:
///
/// | request | answer |
/// |---|---|
/// | `POST /channels/NAME` | publishes the body: 201 and `{"id":"ID"}`, with a journal when it was committed |
/// | `GET`, `Accept: text/event-stream` | Server-Sent Events |
/// | `GET`, `Accept: application/x-ndjson` | a line of JSON for each event; an empty line is a heartbeat |
/// | `GET ?since=ID` or `?last=N` | a long poll: `{"events":[{"id","data"}],"next":"ID"}`, or 204 after 25 s |
/// | `GET`, `Upgrade: websocket` | a WebSocket that has subscribed to it, and may to others; the manual has its messages |
/// | `GET`, else | what is known of the channel, as JSON; 404 if there is none |
/// | `DELETE` | removes it, if that is allowed: 204, or 404 |
/// | `GET /channels/NAME/presence` | `{"count":N,"names":{"NAME":TIMES}}` |
/// | `POST /channels/NAME/ack?client=NAME&id=ID` | the client has everything up to there: 200 and `{"id":"ID"}` |
/// | `GET /channels` | all channels; `?after=NAME` goes on; with `Upgrade: websocket`, one that has subscribed to none |
///
/// All that read take `?since=ID` (or `Last-Event-ID`), where 0 is the earliest that is kept, or `?last=N`; `?name=NAME` says who is
/// there, and `?ack=NAME` is a client that acknowledges: it begins where it has acknowledged, whatever else it asks for, and at
/// first where it asks. Bytes are `"base64"` in place of `"data"`, and an event of the type `binary` in an event stream.
///
/// Refusals: 400 a name or an id that is none, or text that is not UTF-8; 401 no token, or a bad one; 403 a foreign origin or host, or what the
/// token does not grant; 413 an event too large; 415 a text
/// that is not UTF-8 by its own word; 503 too many channels, or too many events that wait to be written; 507 the memory for events is
/// used up.
///
/// ```
/// use ropewalk_channel::{Channels, ChannelsOptions};
/// use ropewalk_reactor::Simulation;
/// use ropewalk_web::{Site, push};
/// let simulation = Simulation::new(1);
/// let channels = Channels::in_memory(simulation.reactor(), ChannelsOptions::default());
/// let site = Site::new(push::service(&channels, push::PushOptions::default()));
/// # drop(site);
/// ```
#[must_use]
pub fn service(channels: &Channels, options: PushOptions) -> impl Handler + use<> {
    Push::new(channels, options).handler()
}

impl Push {
    /// Serves these channels.
    #[must_use]
    pub fn new(channels: &Channels, options: PushOptions) -> Push {
        let (channels, feeds) = (channels.clone(), RefCell::default());
        Push(Rc::new(Inner { channels, options, everything: Rc::new(Grant::everything()), feeds }))
    }

    /// The channels.
    #[must_use]
    pub fn channels(&self) -> &Channels {
        &self.0.channels
    }

    /// The feed of a channel: made, or loaded, if it is not there. It stays as long as somebody holds it.
    ///
    /// # Errors
    /// As [`Channels::channel`].
    pub async fn feed(&self, name: &str) -> Outcome<Feed> {
        let channel = self.0.channels.channel(name).await?;
        Ok(self.feed_of(channel))
    }

    /// The feed of a channel that is here.
    #[must_use]
    pub fn feed_of(&self, channel: Channel) -> Feed {
        let mut feeds = self.0.feeds.borrow_mut();
        let known = feeds.get(channel.name()).and_then(Weak::upgrade);
        // One that was removed meanwhile is another one's feed.
        if let Some(known) = known.filter(|known| !known.channel.is_closed()) {
            return Feed(known);
        }
        // Those that nobody looks at any more are cleared away now and then.
        if feeds.len() >= 16 && feeds.len().is_power_of_two() {
            feeds.retain(|_, feed| feed.strong_count() > 0);
        }
        let name = Rc::clone(channel.name());
        let feed = Feed::new(channel);
        feeds.insert(name, Rc::downgrade(&feed.0));
        feed
    }

    /// Viewers of all channels.
    #[must_use]
    pub fn viewers(&self) -> usize {
        let feeds: Vec<Feed> = self.0.feeds.borrow().values().filter_map(Weak::upgrade).map(Feed).collect();
        feeds.iter().map(Feed::viewers).sum()
    }

    /// The handler; see [`service`].
    #[must_use]
    pub fn handler(&self) -> impl Handler + use<> {
        let [list, read, write, remove, presence, ack] = std::array::from_fn(|_| self.clone());
        Router::new()
            .get("/channels", move |request: Request| list.clone().list(request))
            .get("/channels/{name}", move |request: Request| read.clone().read(request))
            .post("/channels/{name}", move |request: Request| write.clone().write(request))
            .delete("/channels/{name}", move |request: Request| remove.clone().remove(request))
            .get("/channels/{name}/presence", move |request: Request| presence.clone().presence(request))
            .post("/channels/{name}/ack", move |request: Request| ack.clone().acknowledge(request))
    }

    /// Whether this client may do that here, and what else it may; also for who answers an upgrade.
    ///
    /// # Errors
    /// The answer if it may not.
    pub async fn permit(&self, request: &Request, action: Action, name: &str) -> Result<Rc<Grant>, Response> {
        let options = &self.0.options;
        if let Some(refusal) = guard::check(request, options.loopback_only, &options.origins) {
            return Err(refusal);
        }
        if action != Action::List {
            check_name(name).map_err(|error| Response::error(400, &error.to_string()))?;
        }
        let grant = match &options.admit {
            Some(admit) => match admit(request).await {
                Ok(granted) => Rc::new(granted?),
                Err(failure) => return Err(Response::failure(failure)),
            },
            None => Rc::clone(&self.0.everything),
        };
        if !grant.allows(action, name) {
            return Err(Response::error(403, "this client may not do that on this channel"));
        }
        match &options.allow {
            Some(allow) => allow(request, action, name).map(|()| grant),
            None => Ok(grant),
        }
    }

    /// The grant of everybody, where nobody asks who they are.
    pub(super) fn everything(&self) -> &Rc<Grant> {
        &self.0.everything
    }

    pub(super) fn options(&self) -> &PushOptions {
        &self.0.options
    }

    async fn list(self, request: Request) -> Response {
        let grant = match self.permit(&request, Action::List, "").await {
            Ok(grant) => grant,
            Err(refusal) => return refusal,
        };
        if socket::is_asked(&request) && self.0.options.upgrade.is_none() {
            if self.0.options.allow.is_some() {
                return Response::error(403, "say which channel in the address");
            }
            return socket::upgrade(&self, &request, grant, None);
        }
        let after = request.argument("after").unwrap_or_default();
        let listed = async {
            let mut names = self.channels().all_names().await?;
            names.retain(|name| *name > after && grant.allows(Action::Subscribe, name));
            let more = names.len() > LIST_MAX;
            names.truncate(LIST_MAX);
            Ok((self.channels().survey(names).await?, more))
        };
        match listed.await {
            Ok((survey, more)) => {
                let channels: Vec<Value> = survey.channels.iter().map(describe).collect();
                json_answer(&json!({ "channels": channels, "more": more, "viewers": survey.present }))
            }
            Err(failure) => refused(failure),
        }
    }

    async fn read(self, request: Request) -> Answer {
        let name = name_of(&request);
        let grant = match self.permit(&request, Action::Subscribe, &name).await {
            Ok(grant) => grant,
            Err(refusal) => return Answer::Now(refusal),
        };
        if let (Some(upgrade), Some(_)) = (&self.0.options.upgrade, request.upgrade()) {
            return upgrade(&self, request, &name);
        }
        let form = form(&request);
        if form == Some(Kind::Poll) {
            request.wait_long();
        }
        let answered = match form {
            _ if socket::is_asked(&request) => self.connect(&request, grant, &name).await,
            None => Ok(self.describe(&name).await),
            Some(kind) => self.begin(&request, kind, &name, &grant).await,
        };
        Answer::Now(answered.unwrap_or_else(refused))
    }

    async fn describe(&self, name: &str) -> Response {
        let found = async {
            let found = self.overview(name).await?;
            if found.as_ref().is_none_or(|found| found.statistics.is_some()) {
                return Ok(found);
            }
            // The figures of one that only the journal has are those that it has when it is loaded.
            let _loaded = self.channels().channel(name).await?;
            self.overview(name).await
        };
        match found.await {
            Ok(Some(found)) => {
                let last = found.statistics.as_ref().map(|statistics| statistics.last.to_string());
                let answer = json_answer(&describe(&found));
                match last {
                    Some(last) => answer.header("Last-Event-ID", last),
                    None => answer,
                }
            }
            Ok(None) => Response::error(404, "there is no such channel; publish to make it"),
            Err(failure) => refused(failure),
        }
    }

    /// What is known of a channel, on all workers; none if there is no such channel.
    async fn overview(&self, name: &str) -> Outcome<Option<Overview>> {
        Ok(self.channels().survey(vec![name.to_owned()]).await?.channels.into_iter().next())
    }

    /// Whether there is such a channel; another worker has to be asked only for what is not followed here.
    pub(super) async fn knows(&self, name: &str) -> Outcome<bool> {
        Ok(self.channels().peek(name).is_some() || self.overview(name).await?.is_some())
    }

    /// A stream, or what a long poll waits for.
    async fn begin(&self, request: &Request, kind: Kind, name: &str, grant: &Grant) -> Outcome<Response> {
        let (feed, mut joining) = self.joining(name, Wish::of(request)).await?;
        joining.until = grant.deadline(request.reactor());
        if kind == Kind::Poll {
            return poll::answer(&feed, request, joining).await;
        }
        if request.method() == "HEAD" {
            return Ok(Response::empty(200).content_type(kind.content_type()));
        }
        // Who is cut off before the first event has a place to come back to.
        if joining.since == Since::Now {
            joining.since = Since::After(feed.channel().last());
        }
        let place = place(feed.channel(), joining.since);
        Ok(stream::begin(&feed, request, kind, joining).header("Last-Event-ID", place.to_string()))
    }

    /// A WebSocket that begins with this channel.
    async fn connect(&self, request: &Request, grant: Rc<Grant>, name: &str) -> Outcome<Response> {
        let grant = match &self.0.options.allow {
            // It is asked about requests, and there will be none for the messages.
            Some(allow) => {
                let publishes =
                    grant.allows(Action::Publish, name) && allow(request, Action::Publish, name).is_ok();
                let publish = publishes.then(|| name.to_owned()).into_iter().collect();
                Rc::new(Grant { publish, subscribe: vec![name.to_owned()], until: grant.until })
            }
            None => grant,
        };
        let first = self.joining(name, Wish::of(request)).await?;
        Ok(socket::upgrade(self, request, grant, Some(first)))
    }

    /// Where, and as who, a client begins on a channel.
    pub(super) async fn joining(&self, name: &str, wish: Wish) -> Outcome<(Feed, Joining)> {
        let feed = self.feed(name).await?;
        let given = wish.client.as_deref().or(wish.name.as_deref());
        if let Some(given) = given {
            check_name(given)?;
        }
        let name = given.map(Rc::from);
        let mut since = wish.since.unwrap_or(Since::Now);
        // Another worker may have answered with an id that has not come here yet.
        feed.channel().reach(since).await?;
        if let Some(client) = &wish.client {
            let begun = begin_client(feed.channel(), client, since).await?;
            if !wish.goes_on {
                since = Since::After(begun);
            }
            feed.channel().reach(since).await?;
        }
        Ok((feed, Joining { since, name, until: None }))
    }

    async fn write(self, request: Request) -> Response {
        let name = name_of(&request);
        match self.permit(&request, Action::Publish, &name).await {
            Ok(_) => publish(&self, request, &name).await,
            Err(refusal) => refusal.close(),
        }
    }

    async fn remove(self, request: Request) -> Response {
        let name = name_of(&request);
        if let Err(refusal) = self.permit(&request, Action::Remove, &name).await {
            return refusal;
        }
        if !self.0.options.remove {
            return Response::error(403, "channels are not removed over HTTP here");
        }
        let removed = async {
            let known = self.knows(&name).await?;
            Ok(known && self.channels().remove(&name).await?)
        };
        match removed.await {
            Ok(true) => Response::empty(204),
            Ok(false) => Response::error(404, "there is no such channel"),
            Err(failure) => refused(failure),
        }
    }

    async fn presence(self, request: Request) -> Response {
        let name = name_of(&request);
        if let Err(refusal) = self.permit(&request, Action::Presence, &name).await {
            return refusal;
        }
        match self.channels().attendance(&name).await {
            // Nobody is there where the channel is not in memory.
            Ok(Some(found)) => {
                let count = found.statistics.map_or(0, |statistics| statistics.present);
                let names: serde_json::Map<String, Value> =
                    found.names.into_iter().map(|(name, times)| (name, times.into())).collect();
                json_answer(&json!({ "count": count, "names": names }))
            }
            Ok(None) => Response::error(404, "there is no such channel"),
            Err(failure) => refused(failure),
        }
    }

    async fn acknowledge(self, request: Request) -> Response {
        let name = name_of(&request);
        if let Err(refusal) = self.permit(&request, Action::Acknowledge, &name).await {
            return refusal.close();
        }
        let id = request.argument("id").and_then(|id| id.parse::<EventId>().ok());
        let (Some(client), Some(id)) = (request.argument("client"), id) else {
            return Response::error(400, "say ?client=NAME&id=ID");
        };
        let acknowledged = async {
            if !self.knows(&name).await? {
                return Ok(None);
            }
            let channel = self.channels().channel(&name).await?;
            Ok(Some(channel.acknowledge(&client, id).await?))
        };
        match acknowledged.await {
            Ok(Some(cursor)) => answer_id(200, cursor),
            Ok(None) => Response::error(404, "there is no such channel"),
            Err(failure) => refused(failure),
        }
    }
}

/// What a client says of where and as who it wants to read.
#[derive(Default)]
pub(super) struct Wish {
    pub(super) since: Option<Since>,
    /// Its name, for those who want to know who is there.
    pub(super) name: Option<String>,
    /// Its name, as one that acknowledges.
    pub(super) client: Option<String>,
    /// It was served by another process before, and goes on where it was.
    pub(super) goes_on: bool,
}

impl Wish {
    fn of(request: &Request) -> Wish {
        let since = stream::since(request);
        let goes_on = stream::arrived(request).is_some();
        Wish { since, name: request.argument("name"), client: request.argument("ack"), goes_on }
    }
}

/// The form that is asked for; none if it is only what is known of the channel.
fn form(request: &Request) -> Option<Kind> {
    let accepted = Preference::of(&request.exchange().head, "accept");
    let wants = |media: &str| accepted.weight(media).is_some_and(|weight| weight > 0);
    if wants("text/event-stream") {
        Some(Kind::Sse)
    } else if wants("application/x-ndjson") {
        Some(Kind::Json)
    } else {
        stream::since(request).map(|_| Kind::Poll).or_else(|| request.argument("ack").map(|_| Kind::Poll))
    }
}

/// Where a client that acknowledges begins; one that is new begins where it asks.
async fn begin_client(channel: &Channel, client: &str, since: Since) -> Result<EventId, Failure> {
    channel.begin(client, place(channel, since)).await
}

/// The id that a place is.
pub(super) fn place(channel: &Channel, since: Since) -> EventId {
    match since {
        Since::After(id) if id != EventId::EARLIEST => id,
        other => channel.since(other, Limit { events_max: 0, bytes_max: 0 }).next,
    }
}

fn name_of(request: &Request) -> String {
    request.param("name").unwrap_or_default()
}

fn describe(found: &Overview) -> Value {
    let Some(statistics) = &found.statistics else { return json!({ "name": found.name, "loaded": false }) };
    json!({
        "name": found.name,
        "loaded": true,
        "events": statistics.events,
        "bytes": statistics.bytes,
        "last": statistics.last.to_string(),
        "viewers": statistics.present,
        "rate": (statistics.rate * 10.0).round() / 10.0,
        "durable": found.durable,
    })
}

fn json_answer(value: &Value) -> Response {
    Response::new(value.to_string()).content_type("application/json").header("Cache-Control", "no-store")
}
