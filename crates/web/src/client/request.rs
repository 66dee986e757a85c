//! `RequestBuilder`: what one request is, put together call by call, and sent. Mistakes are kept until then, so that a chain of
//! calls needs no `?` in the middle.

use std::borrow::Cow;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::FileSender;
use ropewalk_reactor::{Deferred, deferred};
use ropewalk_wire::http1::{BodyEncoder, Length};
use serde::Serialize;

use super::agent::Agent;
use super::encoding::basic;
use super::error::ClientError;
use super::exchange::Outgoing;
use super::fetch::Course;
use super::options::{Deadlines, Redirects};
use super::response::Response;
use super::url::{Url, append_pair};
use crate::response::{Body, ByteStream};

/// A request that is not sent yet.
///
/// ```no_run
/// use ropewalk_reactor::{Outcome, react};
/// use ropewalk_web::client::Agent;
///
/// react(|reactor| async move {
///     let agent = Agent::new(&reactor);
///     let request = agent.post("http://example.org/orders").header("X-Id", "7").form(&[("item", "rope")]);
///     let response = request.send().await?;
///     println!("{} {}", response.status(), response.text().await?);
///     Outcome::Ok(())
/// })?;
/// # Ok::<(), ropewalk_reactor::Failure>(())
/// ```
#[must_use = "it is not sent before `send`"]
pub struct RequestBuilder {
    pub(super) agent: Agent,
    pub(super) plan: Result<Plan, ClientError>,
}

/// What is to be asked, of whom, and how.
pub(super) struct Plan {
    pub(super) method: Cow<'static, str>,
    pub(super) url: Url,
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Payload,
    pub(super) deadlines: Deadlines,
    pub(super) redirects: Redirects,
    pub(super) pipelined: bool,
    pub(super) expects: bool,
    pub(super) idempotent: bool,
    pub(super) decompress: bool,
}

/// A body that is to be sent, perhaps more than once.
pub(super) enum Payload {
    Empty,
    Static(&'static [u8]),
    Shared(Rc<[u8]>),
    File(Box<FileSender>),
    Stream(Pin<Box<dyn ByteStream>>, Option<u64>),
    /// It was sent, and cannot be sent again.
    Gone,
}

impl Payload {
    /// How its end is told.
    pub(super) fn length(&self, method: &str) -> Length {
        let length = match self {
            // RFC 9110 8.6: a method that means to have a body says that this one is empty.
            Payload::Empty if matches!(method, "POST" | "PUT" | "PATCH") => 0,
            Payload::Empty | Payload::Gone => return Length::None,
            Payload::Static(bytes) => bytes.len() as u64,
            Payload::Shared(bytes) => bytes.len() as u64,
            Payload::File(file) => file.len(),
            Payload::Stream(_, Some(length)) => *length,
            Payload::Stream(_, None) => return Length::Chunked,
        };
        Length::Known(length)
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Payload::Gone)
    }

    /// What a connection sends. A file or a stream is gone then, until it is given back.
    pub(super) fn take(&mut self, length: Length) -> Outgoing {
        match std::mem::replace(self, Payload::Gone) {
            Payload::Empty => {
                *self = Payload::Empty;
                Outgoing::Done
            }
            Payload::Static(bytes) => {
                *self = Payload::Static(bytes);
                Outgoing::Static(bytes)
            }
            Payload::Shared(bytes) => {
                *self = Payload::Shared(Rc::clone(&bytes));
                Outgoing::Shared(bytes)
            }
            Payload::File(file) => Outgoing::File(file),
            Payload::Stream(stream, _) => Outgoing::Stream(stream, BodyEncoder::new(length)),
            Payload::Gone => Outgoing::Done,
        }
    }

    /// Takes back what was not sent at all.
    pub(super) fn put_back(&mut self, outgoing: Outgoing, length: Length) {
        if self.is_gone() {
            *self = match (outgoing, length) {
                (Outgoing::File(file), _) => Payload::File(file),
                (Outgoing::Stream(stream, _), Length::Known(length)) => Payload::Stream(stream, Some(length)),
                (Outgoing::Stream(stream, _), _) => Payload::Stream(stream, None),
                _ => Payload::Gone,
            };
        }
    }
}

impl RequestBuilder {
    /// The same by another agent.
    pub(crate) fn by(self, agent: Agent) -> RequestBuilder {
        RequestBuilder { agent, ..self }
    }

    fn change(mut self, change: impl FnOnce(&mut Plan)) -> RequestBuilder {
        if let Ok(plan) = &mut self.plan {
            change(plan);
        }
        self
    }

    /// The same with one field more. What is given here goes before what the agent would write itself (`User-Agent`, `Accept`,
    /// `Host`, `Accept-Encoding`); a body's length and what becomes of the connection are the agent's own business.
    pub fn header(self, name: &str, value: &str) -> RequestBuilder {
        self.change(|plan| plan.fields.push((name.to_owned(), value.to_owned())))
    }

    /// The same with `name=value` in the query.
    pub fn query(self, name: &str, value: &str) -> RequestBuilder {
        self.change(|plan| plan.url.append(name, value))
    }

    /// The same with a user and a password (RFC 7617).
    pub fn basic_auth(self, user: &str, password: &str) -> RequestBuilder {
        self.header("Authorization", &basic(user, password))
    }

    /// The same with a bearer token (RFC 6750).
    pub fn bearer_auth(self, token: &str) -> RequestBuilder {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// The same with a body: text, bytes, a file, or a [`Body::stream`], which is asked for more only while the server takes it.
    pub fn body(mut self, body: impl Into<Body>) -> RequestBuilder {
        let payload = match body.into() {
            Body::Empty => Payload::Empty,
            Body::Static(bytes) => Payload::Static(bytes),
            Body::Bytes(bytes) => Payload::Shared(bytes.into()),
            Body::Shared(bytes) => Payload::Shared(bytes),
            Body::File(file) if !file.is_transformed() => Payload::File(file),
            Body::Stream(stream, length) => Payload::Stream(stream, length),
            Body::File(_) | Body::Takeover(_) | Body::Failure(_) | Body::Error(_) => {
                self.plan =
                    self.plan.and(Err(ClientError::Misuse("this body is none that a request can have")));
                Payload::Empty
            }
        };
        self.change(|plan| plan.body = payload)
    }

    /// The same with a body of JSON and its content type.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> RequestBuilder {
        let text = match serde_json::to_vec(value) {
            Ok(text) => text,
            Err(_) => {
                self.plan = self.plan.and(Err(ClientError::Misuse("the value cannot be written as JSON")));
                Vec::new()
            }
        };
        self.header("Content-Type", "application/json").body(text)
    }

    /// The same with a body as a form sends it, and its content type.
    pub fn form(self, pairs: &[(&str, &str)]) -> RequestBuilder {
        let mut text = String::new();
        for (name, value) in pairs {
            if !text.is_empty() {
                text.push('&');
            }
            append_pair(&mut text, name, value);
        }
        self.header("Content-Type", "application/x-www-form-urlencoded").body(text)
    }

    /// The same with deadlines of its own.
    pub fn deadlines(self, deadlines: Deadlines) -> RequestBuilder {
        self.change(|plan| plan.deadlines = deadlines)
    }

    /// The same with so much time for everything, from here to the last byte of the body.
    pub fn timeout(self, total: Duration) -> RequestBuilder {
        self.change(|plan| plan.deadlines.total = Some(total))
    }

    /// The same with redirects of its own.
    pub fn redirects(self, redirects: Redirects) -> RequestBuilder {
        self.change(|plan| plan.redirects = redirects)
    }

    /// The same, permitted to go out behind others on a connection that waits for their answers. Only for GET, HEAD and OPTIONS
    /// without a body. What stands behind a large answer waits for it to be read.
    pub fn pipelined(self) -> RequestBuilder {
        self.change(|plan| plan.pipelined = true)
    }

    /// The same, with the body held back until the server asks for it or [`Deadlines::continues`] has passed
    /// (`Expect: 100-continue`).
    pub fn expect_continue(self) -> RequestBuilder {
        self.change(|plan| plan.expects = true)
    }

    /// The same, and it may be sent again where it is not known whether the server has acted on it: for a POST that has a key of
    /// its own by which the server knows it. GET, HEAD, OPTIONS, TRACE, PUT and DELETE are so anyway.
    pub fn idempotent(self) -> RequestBuilder {
        self.change(|plan| plan.idempotent = true)
    }

    /// The same, without asking for a compressed body and without unpacking one.
    pub fn raw(self) -> RequestBuilder {
        self.change(|plan| plan.decompress = false)
    }

    /// Sends it. The deferred fires when the head of the answer is there; the body is read from the [`Response`]. Cancelling
    /// gives up at whatever stage it is, and leaves nothing behind.
    ///
    /// # Errors
    /// A [`ClientError`], or what [`ropewalk_net::connect`] fails of.
    #[track_caller]
    pub fn send(self) -> Deferred<Response> {
        let reactor = self.agent.reactor().clone();
        match self.plan.and_then(check) {
            Ok(plan) => reactor.ensure_deferred(Course::new(self.agent, plan).run()),
            Err(error) => deferred::fail(&reactor, error),
        }
    }
}

fn check(mut plan: Plan) -> Result<Plan, ClientError> {
    let is_safe = matches!(&*plan.method, "GET" | "HEAD" | "OPTIONS");
    plan.pipelined &= is_safe && matches!(plan.body, Payload::Empty);
    plan.idempotent |= is_safe || matches!(&*plan.method, "TRACE" | "PUT" | "DELETE");
    plan.expects &= !matches!(plan.body, Payload::Empty);
    match &*plan.method {
        "CONNECT" => Err(ClientError::Misuse("CONNECT is for the agent's own tunnels: give it a proxy")),
        // RFC 9110 9.3.8: a client MUST NOT send content in it.
        "TRACE" if !matches!(plan.body, Payload::Empty) => Err(ClientError::Misuse("TRACE has no body")),
        _ => Ok(plan),
    }
}
