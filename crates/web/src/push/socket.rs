//! The WebSocket face: JSON messages, many channels on one connection. `message` reads what a client says.
//!
//! A subscription is a viewer of its channel's feed like any other: a cursor, and no queue. All of one connection share its output; when it
//! has room again they read on in turns. What a client asks for that takes time is answered when it is done, and not in order.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ropewalk_channel::{Batch, ChannelError, Data, Event, EventId, Since, check_name};
use ropewalk_reactor::{DelayedCall, Failure, Outcome};
use ropewalk_store::DatabaseError;
use serde_json::{Value, json};

use super::grant::{Action, Grant};
use super::kind::{encode_members, gap_text};
use super::message::{Ask, Asked};
use super::service::{Push, Wish, place};
use super::viewer::{Line, Viewer};
use super::{Feed, Joining};
use crate::request::Request;
use crate::response::Response;
use crate::websocket::{self, Burst, Closed, Message, Prepared, WebSocket, WebSocketHandler};

/// What a client has asked for that is not done; beyond, nothing is read from it until some is.
const UNDONE_MAX: u32 = 256;
/// The code with which a connection is closed when its grant ends: "unauthorized" in IANA's registry.
const UNAUTHORIZED: u16 = 3000;

/// Whether a request wants this.
pub(super) fn is_asked(request: &Request) -> bool {
    request.upgrade().is_some_and(|to| to.split(',').any(|one| one.trim().eq_ignore_ascii_case("websocket")))
}

/// The answer that is a WebSocket, which begins with this subscription if there is one.
pub(super) fn upgrade(
    push: &Push,
    request: &Request,
    grant: Rc<Grant>,
    first: Option<(Feed, Joining)>,
) -> Response {
    let state = State::new(push, grant, None);
    state.first.set(first.map(Box::new));
    let face = Face { push: push.clone(), stage: Stage::Talking(state) };
    websocket::upgrade(request, Rc::clone(&push.options().websocket), face)
}

/// What a batch is in messages.
pub(super) fn messages(channel: &str, batch: &Batch) -> Vec<String> {
    let head = format!("{{\"channel\":{},", Value::from(channel));
    let gap = batch.gap.as_ref().map(|gap| format!("{head}\"gap\":{}}}", gap_text(gap)));
    let event = |event: &Event| {
        let mut out = head.clone().into_bytes();
        encode_members(&mut out, event);
        out.push(b'}');
        String::from_utf8(out).expect("JSON is text")
    };
    gap.into_iter().chain(batch.events.iter().map(event)).collect()
}

/// The same for all who keep up.
pub(super) fn burst(channel: &str, batch: &Batch) -> Burst {
    Burst::new(messages(channel, batch).iter().map(|text| Prepared::text(text)).collect())
}

/// What is said when a channel was removed.
pub(super) fn removed(channel: &str) -> String {
    json!({ "channel": channel, "error": "removed", "why": "the channel was removed" }).to_string()
}

/// Most subscribers say nothing: what the others need is made when they do.
struct Face {
    push: Push,
    stage: Stage,
}

enum Stage {
    /// It reads the channel of its address, has said nothing, and may do everything.
    Reading(Feed, Rc<Viewer>),
    Talking(Rc<State>),
}

struct State {
    push: Push,
    grant: Rc<Grant>,
    places: RefCell<Vec<Place>>,
    /// What is asked for and not done.
    undone: Cell<u32>,
    /// Subscriptions that were asked for.
    tickets: Cell<u32>,
    expiry: Cell<Option<Box<DelayedCall>>>,
    /// The subscription of its address, until it is open.
    first: Cell<Option<Box<(Feed, Joining)>>>,
}

/// A subscription.
enum Place {
    /// Its channel is being loaded; the ticket tells it from one that was given up and asked for again.
    Coming(Rc<str>, u32),
    Here(Feed, Rc<Viewer>),
}

impl Place {
    fn name(&self) -> &str {
        match self {
            Place::Coming(name, _) => name,
            Place::Here(feed, _) => feed.channel().name(),
        }
    }
}

impl Face {
    /// The state of one that talks, with what it has read until now.
    fn talking(&mut self) -> Rc<State> {
        let place = match &self.stage {
            Stage::Talking(state) => return Rc::clone(state),
            Stage::Reading(feed, viewer) => Place::Here(feed.clone(), Rc::clone(viewer)),
        };
        let state = State::new(&self.push, Rc::clone(self.push.everything()), Some(place));
        self.stage = Stage::Talking(Rc::clone(&state));
        state
    }
}

impl WebSocketHandler for Face {
    fn open(&mut self, socket: &WebSocket) {
        let state = self.talking();
        state.expire(socket);
        let Some(first) = state.first.take() else { return };
        let (feed, joining) = *first;
        let viewer = join(socket, &feed, joining, None);
        if Rc::ptr_eq(&state.grant, self.push.everything()) {
            self.stage = Stage::Reading(feed, viewer);
        } else {
            state.places.borrow_mut().push(Place::Here(feed, viewer));
        }
    }

    fn message(&mut self, socket: &WebSocket, message: Message) {
        match message.as_text().map(Asked::read) {
            Some(Ok(asked)) => self.talking().take(socket, asked),
            Some(Err(refused)) => send(socket, error("message", refused.why), refused.reference),
            None => send(socket, error("message", "messages are text; send bytes as base64 in it"), None),
        }
    }

    fn drained(&mut self, socket: &WebSocket) {
        match &self.stage {
            Stage::Reading(feed, viewer) if viewer.lagging.get() => feed.catch_up(viewer),
            Stage::Reading(..) => {}
            Stage::Talking(state) => state.read_on(socket),
        }
    }

    fn closed(&mut self, _: &WebSocket, _: &Closed) {
        match &self.stage {
            Stage::Reading(feed, viewer) => feed.leave(viewer),
            Stage::Talking(state) => state.close(),
        }
    }
}

impl State {
    fn new(push: &Push, grant: Rc<Grant>, place: Option<Place>) -> Rc<State> {
        Rc::new(State {
            push: push.clone(),
            grant,
            places: RefCell::new(place.into_iter().collect()),
            undone: Cell::new(0),
            tickets: Cell::new(0),
            expiry: Cell::new(None),
            first: Cell::new(None),
        })
    }

    fn close(&self) {
        for place in self.places.take() {
            leave(place);
        }
        if let Some(expiry) = self.expiry.take() {
            // It fails when it was this that has closed the connection.
            let _ = expiry.cancel();
        }
    }

    /// Closes the connection when what lets it in is over.
    fn expire(&self, socket: &WebSocket) {
        let Some(at) = self.grant.deadline(socket.reactor()) else { return };
        let closing = socket.clone();
        let call = socket.reactor().call_at(at, move || closing.close(UNAUTHORIZED, "the token has expired"));
        self.expiry.set(Some(Box::new(call)));
    }

    fn take(self: &Rc<Self>, socket: &WebSocket, Asked { ask, name, reference }: Asked) {
        let action = match ask {
            Ask::Publish(_) => Action::Publish,
            Ask::Acknowledge { .. } => Action::Acknowledge,
            Ask::Subscribe(_) | Ask::Unsubscribe => Action::Subscribe,
        };
        if let Err(wrong) = check_name(&name) {
            return send(socket, error("name", &wrong.to_string()), reference);
        }
        if !self.grant.allows(action, &name) {
            let why = "this client may not do that on this channel";
            return send(socket, about(error("forbidden", why), &name), reference);
        }
        match ask {
            Ask::Publish(data) => self.publish(socket, name, data, reference),
            Ask::Subscribe(wish) => self.subscribe(socket, name, wish, reference),
            Ask::Unsubscribe => {
                self.leave(&name);
                send(socket, json!({ "unsubscribed": name }), reference);
            }
            Ask::Acknowledge { id, client } => self.acknowledge(socket, name, id, client, reference),
        }
    }

    fn publish(self: &Rc<Self>, socket: &WebSocket, name: String, data: Data, reference: Option<Value>) {
        let (state, to) = (self.begin(socket), socket.clone());
        let published = self.push.channels().publish(&name, data);
        let answered = published.add_both(move |outcome: Outcome<EventId>| {
            state.end(&to);
            let answer = match outcome {
                Ok(id) => json!({ "published": name, "id": id.to_string() }),
                Err(failure) => failed(&name, &failure),
            };
            send(&to, answer, reference);
        });
        answered.detach();
    }

    /// Who has subscribed already begins anew.
    fn subscribe(self: &Rc<Self>, socket: &WebSocket, name: String, wish: Wish, reference: Option<Value>) {
        self.leave(&name);
        if self.places.borrow().len() >= self.push.options().subscriptions_max {
            let why = "this connection has as many subscriptions as it may";
            return send(socket, about(error("too_many", why), &name), reference);
        }
        let ticket = self.tickets.get().wrapping_add(1);
        self.tickets.set(ticket);
        self.places.borrow_mut().push(Place::Coming(name.as_str().into(), ticket));
        let (state, to, push) = (self.begin(socket), socket.clone(), self.push.clone());
        let of = name.clone();
        let found = socket.reactor().ensure_deferred(async move { push.joining(&of, wish).await });
        let answered = found.add_both(move |outcome: Outcome<(Feed, Joining)>| {
            state.end(&to);
            match outcome {
                // Else it was given up meanwhile.
                Ok((feed, joining)) if state.give_up(ticket) && to.is_open() => {
                    let viewer = join(&to, &feed, joining, reference);
                    state.places.borrow_mut().push(Place::Here(feed, viewer));
                }
                Ok(_) => {}
                Err(failure) => {
                    state.give_up(ticket);
                    send(&to, failed(&name, &failure), reference);
                }
            }
        });
        answered.detach();
    }

    /// Takes a subscription back that was coming; false if it was no more.
    fn give_up(&self, ticket: u32) -> bool {
        let mut places = self.places.borrow_mut();
        let found =
            places.iter().position(|place| matches!(place, Place::Coming(_, known) if *known == ticket));
        found.map(|at| places.swap_remove(at)).is_some()
    }

    fn leave(&self, name: &str) {
        let mut places = self.places.borrow_mut();
        let found = places.iter().position(|place| place.name() == name);
        let gone = found.map(|at| places.swap_remove(at));
        drop(places);
        gone.into_iter().for_each(leave);
    }

    fn acknowledge(
        self: &Rc<Self>,
        socket: &WebSocket,
        name: String,
        id: EventId,
        client: Option<String>,
        reference: Option<Value>,
    ) {
        let Some(client) = client.or_else(|| self.client(&name)) else {
            let why = "say as which client, here or when subscribing";
            return send(socket, about(error("message", why), &name), reference);
        };
        let (state, to, of) = (self.begin(socket), socket.clone(), name.clone());
        let push = self.push.clone();
        let done = socket.reactor().ensure_deferred(async move {
            if !push.knows(&of).await? {
                return Ok(None);
            }
            Ok(Some(push.channels().channel(&of).await?.acknowledge(&client, id).await?))
        });
        let answered = done.add_both(move |outcome: Outcome<Option<EventId>>| {
            state.end(&to);
            let answer = match outcome {
                Ok(Some(id)) => json!({ "acknowledged": name, "id": id.to_string() }),
                Ok(None) => about(error("unknown", "there is no such channel"), &name),
                Err(failure) => failed(&name, &failure),
            };
            send(&to, answer, reference);
        });
        answered.detach();
    }

    /// The name under which this connection reads a channel.
    fn client(&self, name: &str) -> Option<String> {
        let places = self.places.borrow();
        let here = places.iter().find_map(|place| match place {
            Place::Here(feed, viewer) if **feed.channel().name() == *name => Some(viewer),
            _ => None,
        })?;
        here.attendance.name().map(str::to_owned)
    }

    /// Those who lag read on, each time beginning with another: the first must not have all the room.
    fn read_on(&self, socket: &WebSocket) {
        let mut places = self.places.borrow_mut();
        if places.len() > 1 {
            places.rotate_left(1);
        }
        for place in places.iter() {
            if let Place::Here(feed, viewer) = place
                && viewer.lagging.get()
                && socket.is_open()
            {
                feed.catch_up(viewer);
            }
        }
    }

    fn begin(self: &Rc<Self>, socket: &WebSocket) -> Rc<State> {
        self.undone.set(self.undone.get() + 1);
        if self.undone.get() >= UNDONE_MAX {
            socket.pause_reading();
        }
        Rc::clone(self)
    }

    fn end(&self, socket: &WebSocket) {
        self.undone.set(self.undone.get() - 1);
        if self.undone.get() == UNDONE_MAX / 2 {
            socket.resume_reading();
        }
    }
}

/// Reads a channel from now on, and says where it begins.
fn join(socket: &WebSocket, feed: &Feed, mut joining: Joining, reference: Option<Value>) -> Rc<Viewer> {
    let at = place(feed.channel(), joining.since);
    if joining.since == Since::Now {
        joining.since = Since::After(at);
    }
    send(socket, json!({ "subscribed": &**feed.channel().name(), "id": at.to_string() }), reference);
    feed.join(Line::Socket(socket.clone()), &joining)
}

fn leave(place: Place) {
    if let Place::Here(feed, viewer) = place {
        feed.leave(&viewer);
    }
}

fn error(code: &str, why: &str) -> Value {
    json!({ "error": code, "why": why })
}

fn about(mut answer: Value, name: &str) -> Value {
    answer["channel"] = name.into();
    answer
}

/// Sends an answer with the reference that was given.
fn send(socket: &WebSocket, mut answer: Value, reference: Option<Value>) {
    if let Some(reference) = reference {
        answer["ref"] = reference;
    }
    socket.send_text(&answer.to_string());
}

/// What a failure is called here. One that is nobody's fault but ours goes to the log, and its cause to nobody else.
fn failed(name: &str, failure: &Failure) -> Value {
    let known = failure.check::<ChannelError>();
    let code = match known {
        _ if matches!(failure.check(), Some(DatabaseError::Full)) => "busy",
        Some(ChannelError::Name(_)) => "name",
        Some(ChannelError::TooLarge { .. }) => "too_large",
        Some(ChannelError::NoAcknowledgements) => "unknown",
        Some(ChannelError::Closed) => "removed",
        Some(ChannelError::Busy) => "busy",
        Some(ChannelError::TooManyChannels | ChannelError::MemoryFull | ChannelError::TooManyClients) => {
            "full"
        }
        _ => "failed",
    };
    let why = match (code, known) {
        ("failed", _) => {
            tracing::error!(channel = name, "a WebSocket's request failed: {failure}");
            "it failed; the log says why".to_owned()
        }
        (_, Some(known)) => known.to_string(),
        _ => "too many events wait to be written".to_owned(),
    };
    about(error(code, &why), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the viewer, the feed's pointer to it and a quiet WebSocket it comes to 500 bytes, of which the allocator's steps are a part.
    #[test]
    fn one_that_only_reads_is_small() {
        assert!(size_of::<Face>() <= 24, "{}", size_of::<Face>());
    }
}
