//! Channels by their names over HTTP: one address for each, which answers in the form that is asked for.
//!
//! Not a channel and not its streams: those are below. Who may do what is asked of `PushOptions::allow`; an upgrade is handed to
//! `PushOptions::upgrade`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use ropewalk_channel::{Channel, Channels, EventId, Limit, Since, check_name};
use ropewalk_reactor::{Failure, Key, Outcome};
use serde_json::{Value, json};

use super::kind::Kind;
use super::publish::{answer_id, publish, refused};
use super::viewer::Parked;
use super::{Feed, Inner as FeedInner, Joining, guard, poll, stream};
use crate::accept::Preference;
use crate::answer::{Answer, IntoAnswer};
use crate::request::Request;
use crate::response::Response;
use crate::router::{Handler, Router};

/// Channels that one list names at most.
const LIST_MAX: usize = 1_000;

/// What a client wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Publish an event.
    Publish,
    /// Read a channel, in whatever form.
    Subscribe,
    /// See who is there.
    Presence,
    /// Say what a named client has.
    Acknowledge,
    /// Remove a channel.
    Remove,
    /// See which channels there are; the name is empty.
    List,
}

/// Says whether a client may do it on the channel of this name; the answer if not.
pub type Allow = Rc<dyn Fn(&Request, Action, &str) -> Result<(), Response>>;

/// Answers a request to upgrade the connection to another protocol, for a client that may subscribe to this channel.
pub type Upgrade = Rc<dyn Fn(&Push, Request, &str) -> Answer>;

/// How channels are served.
#[derive(Clone, Default)]
pub struct PushOptions {
    /// Only for this machine: a request whose `Host` is no name of the loopback gets 403.
    pub loopback_only: bool,
    /// Origins whose pages may publish, as `https://app.example.org`, beside the one that the service has itself.
    pub origins: Vec<String>,
    /// Whether `DELETE` removes a channel; else it gets 403.
    pub remove: bool,
    /// Who may do what; without it, everybody may.
    pub allow: Option<Allow>,
    /// Who answers a request to upgrade; without it, it is answered as any other.
    pub upgrade: Option<Upgrade>,
}

/// Channels, served on one worker. Clones are one.
#[derive(Clone)]
pub struct Push(Rc<Inner>);

struct Inner {
    channels: Channels,
    options: PushOptions,
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
/// | `GET`, `Upgrade: …` | [`PushOptions::upgrade`] |
/// | `GET`, else | what is known of the channel, as JSON; 404 if there is none |
/// | `DELETE` | removes it, if that is allowed: 204, or 404 |
/// | `GET /channels/NAME/presence` | `{"count":N,"names":{"NAME":TIMES}}` |
/// | `POST /channels/NAME/ack?client=NAME&id=ID` | the client has everything up to there: 200 and `{"id":"ID"}` |
/// | `GET /channels` | all channels; `?after=NAME` goes on |
///
/// All that read take `?since=ID` (or `Last-Event-ID`), where 0 is the earliest that is kept, or `?last=N`; `?name=NAME` says who is
/// there, and `?ack=NAME` is a client that acknowledges: it begins where it has acknowledged, whatever else it asks for, and at
/// first where it asks. Bytes are `"base64"` in place of `"data"`, and an event of the type `binary` in an event stream.
///
/// Refusals: 400 a name or an id that is none, or text that is not UTF-8; 403 a foreign origin or host; 413 an event too large; 415 a text
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
        Push(Rc::new(Inner { channels, options, feeds }))
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

    /// All viewers in words; see [`Feed::parked`].
    #[must_use]
    pub fn parked(&self) -> Vec<(Key, Parked)> {
        let feeds: Vec<Feed> = self.0.feeds.borrow().values().filter_map(Weak::upgrade).map(Feed).collect();
        feeds.iter().flat_map(Feed::parked).collect()
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
            .get("/channels", move |request: Request| list.list(&request))
            .get("/channels/{name}", move |request: Request| read.read(request))
            .post("/channels/{name}", move |request: Request| write.clone().write(request))
            .delete("/channels/{name}", move |request: Request| remove.clone().remove(request))
            .get("/channels/{name}/presence", move |request: Request| presence.clone().presence(request))
            .post("/channels/{name}/ack", move |request: Request| ack.clone().acknowledge(request))
    }

    /// Whether this client may do that here; also for who answers an upgrade.
    ///
    /// # Errors
    /// The answer if it may not.
    pub fn permit(&self, request: &Request, action: Action, name: &str) -> Result<(), Response> {
        let options = &self.0.options;
        if let Some(refusal) = guard::check(request, options.loopback_only, &options.origins) {
            return Err(refusal);
        }
        if action != Action::List {
            check_name(name).map_err(|error| Response::error(400, &error.to_string()))?;
        }
        match &options.allow {
            Some(allow) => allow(request, action, name),
            None => Ok(()),
        }
    }

    fn list(&self, request: &Request) -> Response {
        if let Err(refusal) = self.permit(request, Action::List, "") {
            return refusal;
        }
        let after = request.argument("after").unwrap_or_default();
        let mut names = self.channels().names();
        names.retain(|name| *name > after);
        let more = names.len() > LIST_MAX;
        names.truncate(LIST_MAX);
        let describe = |name: &String| match self.channels().peek(name) {
            Some(channel) => describe(&channel),
            None => json!({ "name": name, "loaded": false }),
        };
        let channels: Vec<Value> = names.iter().map(describe).collect();
        json_answer(&json!({ "channels": channels, "more": more, "viewers": self.viewers() }))
    }

    fn read(&self, request: Request) -> Answer {
        let name = name_of(&request);
        if let Err(refusal) = self.permit(&request, Action::Subscribe, &name) {
            return Answer::Now(refusal);
        }
        if let (Some(upgrade), Some(_)) = (&self.0.options.upgrade, request.upgrade()) {
            return upgrade(self, request, &name);
        }
        let form = form(&request);
        if form == Some(Kind::Poll) {
            request.wait_long();
        }
        let push = self.clone();
        let answering = async move {
            match form {
                None => push.describe(&name).await,
                Some(kind) => match push.begin(&request, kind, &name).await {
                    Ok(response) => response,
                    Err(failure) => refused(failure),
                },
            }
        };
        answering.into_answer()
    }

    async fn describe(&self, name: &str) -> Response {
        if !self.channels().knows(name) {
            return Response::error(404, "there is no such channel; publish to make it");
        }
        match self.channels().channel(name).await {
            Ok(channel) => {
                let last = channel.last().to_string();
                json_answer(&describe(&channel)).header("Last-Event-ID", last)
            }
            Err(failure) => refused(failure),
        }
    }

    /// A stream, or what a long poll waits for.
    async fn begin(&self, request: &Request, kind: Kind, name: &str) -> Outcome<Response> {
        let feed = self.feed(name).await?;
        let client = request.argument("ack");
        let given = client.clone().or_else(|| request.argument("name"));
        if let Some(given) = &given {
            check_name(given)?;
        }
        let mut since = stream::since(request).unwrap_or(Since::Now);
        if let Some(client) = client {
            since = Since::After(begin_client(feed.channel(), &client, since).await?);
        }
        let joining = Joining { since, name: given.as_deref().map(Rc::from) };
        if kind == Kind::Poll {
            return poll::answer(&feed, request, joining).await;
        }
        if request.method() == "HEAD" {
            return Ok(Response::empty(200).content_type(kind.content_type()));
        }
        Ok(stream::begin(&feed, kind, joining))
    }

    async fn write(self, request: Request) -> Response {
        let name = name_of(&request);
        match self.permit(&request, Action::Publish, &name) {
            Ok(()) => publish(&self, request, &name).await,
            Err(refusal) => refusal.close(),
        }
    }

    async fn remove(self, request: Request) -> Response {
        let name = name_of(&request);
        if let Err(refusal) = self.permit(&request, Action::Remove, &name) {
            return refusal;
        }
        if !self.0.options.remove {
            return Response::error(403, "channels are not removed over HTTP here");
        }
        match self.channels().remove(&name).await {
            Ok(true) => Response::empty(204),
            Ok(false) => Response::error(404, "there is no such channel"),
            Err(failure) => refused(failure),
        }
    }

    async fn presence(self, request: Request) -> Response {
        let name = name_of(&request);
        if let Err(refusal) = self.permit(&request, Action::Presence, &name) {
            return refusal;
        }
        // Nobody is there where the channel is not in memory.
        let (count, names) = match self.channels().peek(&name) {
            Some(channel) => (channel.present(), channel.names()),
            None if self.channels().knows(&name) => (0, Vec::new()),
            None => return Response::error(404, "there is no such channel"),
        };
        let names: serde_json::Map<String, Value> =
            names.into_iter().map(|(name, times)| (name.to_string(), times.into())).collect();
        json_answer(&json!({ "count": count, "names": names }))
    }

    async fn acknowledge(self, request: Request) -> Response {
        let name = name_of(&request);
        if let Err(refusal) = self.permit(&request, Action::Acknowledge, &name) {
            return refusal.close();
        }
        let id = request.argument("id").and_then(|id| id.parse::<EventId>().ok());
        let (Some(client), Some(id)) = (request.argument("client"), id) else {
            return Response::error(400, "say ?client=NAME&id=ID");
        };
        if !self.channels().knows(&name) {
            return Response::error(404, "there is no such channel");
        }
        let acknowledged = async {
            let channel = self.channels().channel(&name).await?;
            channel.acknowledge(&client, id).await
        };
        match acknowledged.await {
            Ok(cursor) => answer_id(200, cursor),
            Err(failure) => refused(failure),
        }
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
    let place = match since {
        Since::After(id) => id,
        other => channel.since(other, Limit { events_max: 0, bytes_max: 0 }).next,
    };
    channel.begin(client, place).await
}

fn name_of(request: &Request) -> String {
    request.param("name").unwrap_or_default()
}

fn describe(channel: &Channel) -> Value {
    let statistics = channel.statistics();
    json!({
        "name": &**channel.name(),
        "loaded": true,
        "events": statistics.events,
        "bytes": statistics.bytes,
        "last": statistics.last.to_string(),
        "viewers": statistics.present,
        "rate": (statistics.rate * 10.0).round() / 10.0,
        "durable": channel.is_durable(),
    })
}

fn json_answer(value: &Value) -> Response {
    Response::new(value.to_string()).content_type("application/json").header("Cache-Control", "no-store")
}
