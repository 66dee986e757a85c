//! `Request`: what a handler is given. The raw head plus offsets, the parameters of its route, and the body as it comes.
//! Dropping it does not answer it: the answer is a slot of the exchange.

use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use ropewalk_net::{Address, Lost, Transport};
use ropewalk_reactor::{Deferred, Failure, Reactor};
use ropewalk_wire::http1::Version;

use crate::exchange::{Exchange, Stage};
use crate::files::condition::Verdict;
use crate::inbound::BodyError;
use crate::leaving::IfClientLeaves;
use crate::responder::Responder;
use crate::response::{Response, date, quoted};
use crate::router::{UrlArgs, UrlError, decoded};

mod arguments;
mod origin;
mod scope;

pub use arguments::Arguments;
pub(crate) use scope::{Params, Scope, States};

/// A request.
pub struct Request {
    exchange: Rc<Exchange>,
    /// What was found out on the way to the handler; nothing for a literal path. Counted and not boxed, because looking whether there
    /// is something to drop is then all that a request without it does.
    scope: Option<Rc<Scope>>,
}

impl Request {
    pub(crate) fn new(exchange: Rc<Exchange>) -> Request {
        Request { exchange, scope: None }
    }

    pub(crate) fn exchange(&self) -> &Rc<Exchange> {
        &self.exchange
    }

    /// The method, as sent.
    #[must_use]
    #[inline]
    pub fn method(&self) -> &str {
        self.exchange.head.method()
    }

    /// The request target, as sent.
    #[must_use]
    pub fn target(&self) -> &str {
        self.exchange.head.target()
    }

    /// The path, percent-encoded as sent, without the query.
    #[must_use]
    #[inline]
    pub fn path(&self) -> &str {
        self.exchange.head.path()
    }

    /// What stands behind the question mark, as sent.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.exchange.head.query()
    }

    /// A parameter of the route, percent-decoded; what is not UTF-8 is replaced.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<String> {
        let (_, value) = self.params().iter().find(|(known, _)| known == name)?;
        Some(decoded(value))
    }

    /// The path of a named route of the site's router; see [`crate::Router::reverse_url`].
    ///
    /// # Errors
    /// There is no such name, too few or too many arguments, or one that the route would not take.
    pub fn reverse_url(&self, name: &str, args: impl UrlArgs) -> Result<String, UrlError> {
        match self.exchange.site().handler.urls() {
            Some(urls) => urls.reverse(name, args),
            None => Err(UrlError::Unknown(name.to_owned())),
        }
    }

    /// The first field of this name, if it is visible ASCII or UTF-8.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.exchange.head.field(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All fields, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.exchange.head.fields()
    }

    /// Compares what this address stands for now, by its entity tag and the time of its last change, with what the client says it
    /// wants to change or to have: the answer is here when the client is mistaken (412), or has it already (304). An answer to a `GET`
    /// that has [`Response::etag`] or [`Response::last_modified`] is compared by itself; before something is changed, or made with
    /// much work, one asks here.
    ///
    /// ```
    /// use ropewalk_web::{Request, Response, Router};
    /// let router = Router::new().put("/note", |request: Request| {
    ///     if let Some(answer) = request.precondition(Some("7"), None) {
    ///         return answer;
    ///     }
    ///     Response::empty(204).etag("8")
    /// });
    /// # drop(router);
    /// ```
    #[must_use]
    pub fn precondition(&self, tag: Option<&str>, modified: Option<SystemTime>) -> Option<Response> {
        let tag = tag.and_then(quoted);
        let modified = modified.and_then(date);
        match self.exchange.verdict(tag.as_deref(), modified.as_deref()) {
            Verdict::Send(_) => None,
            Verdict::Failed => Some(Response::error(412, "this is not the one that was meant")),
            Verdict::NotModified => {
                let fields = [("ETag", tag), ("Last-Modified", modified)];
                let fields = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
                Some(fields.fold(Response::empty(304), |answer, (name, value)| answer.header(name, value)))
            }
        }
    }

    /// Whether the request is HTTP/1.1 (else it is 1.0).
    #[must_use]
    pub fn is_http11(&self) -> bool {
        self.exchange.head.version() == Version::Http11
    }

    /// The protocol that the client asks to change to, if it does.
    #[must_use]
    pub fn upgrade(&self) -> Option<&str> {
        self.exchange.head.upgrade()
    }

    /// The connection's other end. Behind a proxy that is the proxy; see [`Request::client`].
    #[must_use]
    pub fn peer(&self) -> Address {
        self.exchange.carrier().connection().peer()
    }

    /// Who sent the request: the peer, or whom a trusted proxy names (see [`crate::Site::trust_proxies`]).
    #[must_use]
    pub fn client(&self) -> Option<IpAddr> {
        self.exchange.site().client(self.peer().ip(), &self.exchange.head)
    }

    /// The reactor.
    #[must_use]
    pub fn reactor(&self) -> &Reactor {
        self.exchange.carrier().reactor()
    }

    /// The connection. Writing to it directly is for protocols that an upgrade hands over to.
    #[must_use]
    pub fn transport(&self) -> &Transport {
        self.exchange.carrier().connection()
    }

    /// Takes the answer into one's own hands, Twisted's way: `write` and `finish` later. The handler then returns `()`, or a future
    /// of it, or a deferred of it, whose failure then is the request's.
    #[must_use]
    #[track_caller]
    pub fn responder(&self) -> Responder {
        Responder::new(Rc::clone(&self.exchange))
    }

    /// This handler means to wait: the deadline for its first byte does not hold.
    pub fn wait_long(&self) {
        self.exchange.patient.set(true);
    }

    /// What becomes of the future or the deferred that the handler returns, when nobody waits for its answer any more: instead of
    /// what [`IfClientLeaves`] says of this method, for this request. To be said before the first await.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ropewalk_reactor::Deferred;
    /// use ropewalk_web::{IfClientLeaves, Request, Router};
    /// let router = Router::new().post("/search", |request: Request| {
    ///     request.if_client_leaves(IfClientLeaves::Cancel);
    ///     let (found, search) = Deferred::with_canceller(request.reactor(), |_| println!("never mind"));
    ///     request.reactor().call_later(Duration::from_secs(1), move || {
    ///         // It fails when nobody waits any more.
    ///         let _ = found.callback("nothing");
    ///     });
    ///     search
    /// });
    /// # drop(router);
    /// ```
    pub fn if_client_leaves(&self, choice: IfClientLeaves) {
        self.exchange.leaving.set(Some(choice));
    }

    /// Looks at the answer just before its head is sent, whoever gives it: the handler, a responder, the site in the handler's place
    /// after a panic or a deadline. Of an answer that is written piece by piece this is the head; a body that is given to it is
    /// ignored. The last one to ask is asked first, so that what stands outermost has the last word.
    ///
    /// ```
    /// use ropewalk_web::{Request, Router};
    /// let router = Router::new().get("/", |request: Request| {
    ///     request.on_answer(|response| response.header("X-Answered-By", "the first floor"));
    ///     let responder = request.responder();
    ///     responder.write("Hello, World!");
    ///     responder.finish();
    /// });
    /// # drop(router);
    /// ```
    pub fn on_answer(&self, change: impl FnOnce(Response) -> Response + 'static) {
        self.exchange.rare().amends.push(Box::new(|_, response| change(response)));
    }

    /// The id that a [`crate::RequestId`] gave this request.
    #[must_use]
    pub fn id(&self) -> Option<Rc<str>> {
        self.exchange.if_rare(|rare| rare.id.clone())
    }

    /// This request's answer shall not be compressed, whatever [`crate::Compression`] would do: it holds a secret beside text that a
    /// stranger may choose (see there).
    pub fn uncompressed(&self) {
        self.exchange.rare().uncompressed = true;
    }

    /// Fires when the answer is complete, or fails with a [`Lost`] when the client is gone before. This is how a handler is told
    /// that its client has left, to decide for itself.
    pub fn notify_finish(&self) -> Deferred<()> {
        notify_finish(&self.exchange)
    }

    /// The connection closes after this answer.
    pub fn close_after(&self) {
        self.exchange.close.set(true);
    }

    /// Bytes that this request's body may have, instead of the site's limit.
    pub fn set_body_bytes_max(&self, bytes: u64) {
        self.exchange.inbound_used.set(true);
        self.exchange.inbound.borrow_mut().bytes_max = Some(bytes);
    }

    /// The next piece of the body; `None` at its end. Reading follows the handler: a body that nobody reads stops the client.
    ///
    /// # Errors
    /// The body is too large, malformed, too slow, or the connection was lost.
    pub async fn piece(&mut self) -> Result<Option<Vec<u8>>, BodyError> {
        poll_fn(|context| self.poll_piece(context)).await
    }

    /// [`Request::piece`] for hand-written futures.
    pub fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Vec<u8>>, BodyError>> {
        if let Some(piece) = self.exchange.if_rare(|rare| rare.parts.replay.pop_front()) {
            return Poll::Ready(Ok(Some(piece)));
        }
        let decoder = self.exchange.if_rare(|rare| rare.decoder.take());
        let Some(mut decoder) = decoder else { return self.poll_raw(context) };
        let piece = decoder.poll(context, |context| self.poll_raw(context));
        self.exchange.rare().decoder = Some(decoder);
        piece
    }

    /// The next piece as it was sent.
    fn poll_raw(&self, context: &mut Context<'_>) -> Poll<Result<Option<Vec<u8>>, BodyError>> {
        let exchange = &self.exchange;
        let mut inbound = exchange.inbound.borrow_mut();
        if let Some(piece) = inbound.pieces.pop_front() {
            inbound.buffered -= piece.len();
            if inbound.paused && inbound.buffered == 0 {
                inbound.paused = false;
                inbound.release(exchange.carrier().reactor().now());
                drop(inbound);
                exchange.carrier().take_more();
            }
            return Poll::Ready(Ok(Some(piece)));
        }
        if let Some(error) = &inbound.error {
            return Poll::Ready(Err(error.clone()));
        }
        if !inbound.open {
            return Poll::Ready(Ok(None));
        }
        if std::mem::take(&mut inbound.continue_owed) && exchange.stage.get() == Stage::Waiting {
            // RFC 9110 section 10.1.1: the client waits for this before it sends the body.
            inbound.release(exchange.carrier().reactor().now());
            exchange.carrier().invite();
        }
        inbound.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Whether the request has a body: one of which there is a byte to come, or perhaps one.
    #[must_use]
    pub fn has_body(&self) -> bool {
        let inbound = self.exchange.inbound.borrow();
        inbound.open || !inbound.pieces.is_empty() || inbound.error.is_some()
    }

    /// How many bytes the body has in all, if the client has said so, and they are not unpacked on their way here.
    #[must_use]
    pub fn body_length(&self) -> Option<u64> {
        let unpacked = self.exchange.if_rare(|rare| rare.decoder.as_ref().map(|_| ())).is_some();
        let length = self.header("content-length").filter(|_| !unpacked)?;
        length.trim().parse().ok()
    }

    /// The whole body.
    ///
    /// # Errors
    /// The body is too large, malformed, too slow, or the connection was lost.
    pub async fn bytes(mut self) -> Result<Vec<u8>, BodyError> {
        let mut whole = Vec::new();
        while let Some(piece) = self.piece().await? {
            if whole.is_empty() {
                whole = piece;
            } else {
                whole.extend_from_slice(&piece);
            }
        }
        Ok(whole)
    }

    /// The fields behind a chunked body, once it was read to its end.
    #[must_use]
    pub fn trailers(&self) -> Vec<(String, Vec<u8>)> {
        self.exchange.inbound.borrow().trailers.clone()
    }
}

pub(crate) fn notify_finish(exchange: &Exchange) -> Deferred<()> {
    let (firing, deferred) = Deferred::new(exchange.carrier().reactor());
    match exchange.stage.get() {
        // Nobody can have been waiting on a firing that was only just made.
        Stage::Finished => drop(firing.callback(())),
        Stage::Lost => drop(firing.errback(Failure::new(Lost::Closed))),
        Stage::Waiting | Stage::Streaming => exchange.waiters.borrow_mut().push(firing),
    }
    deferred
}
