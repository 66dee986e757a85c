//! `Request`: what a handler is given. The raw head plus offsets, the parameters of its route, and the body as it comes.
//! Dropping it does not answer it: the answer is a slot of the exchange.

use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use ropewalk_net::{Address, Lost, Transport};
use ropewalk_reactor::{Deferred, Failure, Reactor};
use ropewalk_wire::http1::{self, Version};

use crate::exchange::{Exchange, Stage};
use crate::inbound::BodyError;
use crate::leaving::IfClientLeaves;
use crate::responder::Responder;

pub(crate) type Params = Vec<(String, String)>;

/// A request.
pub struct Request {
    exchange: Rc<Exchange>,
    params: Option<Box<Params>>,
}

impl Request {
    pub(crate) fn new(exchange: Rc<Exchange>) -> Request {
        Request { exchange, params: None }
    }

    pub(crate) fn set_params(&mut self, params: Params) {
        self.params = Some(Box::new(params));
    }

    /// The method, as sent.
    #[must_use]
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
    pub fn path(&self) -> &str {
        self.exchange.head.path()
    }

    /// What stands behind the question mark, as sent.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.exchange.head.query()
    }

    /// The first query argument of this name, decoded: `+` is a space, `%XX` a byte, what is not UTF-8 is replaced.
    #[must_use]
    pub fn argument(&self, name: &str) -> Option<String> {
        let pairs = self.query()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.into_iter().find(|(key, _)| decode(key) == name).map(|(_, value)| decode(value))
    }

    /// A parameter of the route, percent-decoded.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<String> {
        let (_, value) = self.params.as_ref()?.iter().find(|(known, _)| known == name)?;
        Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
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

    /// The host that the client asked for, with the port if it gave one.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.exchange.head.host()
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
        self.exchange.transport().peer()
    }

    /// Who sent the request: the peer, or whom a trusted proxy names (see [`crate::Site::trust_proxies`]).
    #[must_use]
    pub fn client(&self) -> Option<IpAddr> {
        self.exchange.site().client(self.peer().ip(), &self.exchange.head)
    }

    /// Whether the client's own connection is encrypted, as a trusted proxy says.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.exchange.site().is_secure(self.peer().ip(), &self.exchange.head)
    }

    /// The reactor.
    #[must_use]
    pub fn reactor(&self) -> &Reactor {
        self.exchange.transport().reactor()
    }

    /// The connection. Writing to it directly is for protocols that an upgrade hands over to.
    #[must_use]
    pub fn transport(&self) -> &Transport {
        self.exchange.transport()
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
        let exchange = &self.exchange;
        let mut inbound = exchange.inbound.borrow_mut();
        if let Some(piece) = inbound.pieces.pop_front() {
            inbound.buffered -= piece.len();
            if inbound.paused && inbound.buffered == 0 {
                inbound.paused = false;
                inbound.release(exchange.transport().reactor().now());
                drop(inbound);
                exchange.transport().resume_reading();
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
            inbound.release(exchange.transport().reactor().now());
            exchange.transport().write_with(|out| {
                http1::encode_status(out, 100, None);
                http1::encode_end(out);
            });
        }
        inbound.waker = Some(context.waker().clone());
        Poll::Pending
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
    let (firing, deferred) = Deferred::new(exchange.transport().reactor());
    match exchange.stage.get() {
        // Nobody can have been waiting on a firing that was only just made.
        Stage::Finished => drop(firing.callback(())),
        Stage::Lost => drop(firing.errback(Failure::new(Lost::Closed))),
        Stage::Waiting | Stage::Streaming => exchange.waiters.borrow_mut().push(firing),
    }
    deferred
}

/// Decodes a part of a query or a form.
fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}
