//! `Responder`: the answer in one's own hands, as in twisted.web: write now, finish later, from any callback of the loop.
//! A responder that is dropped without finishing answers 500 by itself, or breaks off what was begun.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use ropewalk_net::Transport;
use ropewalk_reactor::failure::Place;
use ropewalk_reactor::{Deferred, Failure};

use crate::cookies::{Cookie, CookieError};
use crate::exchange::{Dropped, Exchange, Stage};
use crate::files::condition::Verdict;
use crate::request::notify_finish;
use crate::response::Response;

/// Writes an answer piece by piece. Clones are one answer.
///
/// ```
/// use std::time::Duration;
/// use ropewalk_web::{Request, Router};
/// let router = Router::new().get("/later", |request: Request| {
///     let responder = request.responder();
///     request.reactor().call_later(Duration::from_secs(1), move || {
///         responder.write("a second has passed\n");
///         responder.finish();
///     });
/// });
/// # drop(router);
/// ```
#[derive(Clone)]
pub struct Responder(Rc<Inner>);

struct Inner {
    exchange: Rc<Exchange>,
    /// Status and fields, until the head is sent.
    head: RefCell<Option<Response>>,
    finished: Cell<bool>,
    /// Where it was taken from its request.
    taken_at: Place,
    /// The log was told that it is misused.
    misused: Cell<bool>,
}

impl Responder {
    #[track_caller]
    pub(crate) fn new(exchange: Rc<Exchange>) -> Responder {
        exchange.responders.set(exchange.responders.get() + 1);
        Responder(Rc::new(Inner {
            exchange,
            head: RefCell::new(Some(Response::empty(200))),
            finished: Cell::new(false),
            taken_at: Location::caller(),
            misused: Cell::new(false),
        }))
    }

    #[track_caller]
    fn change(&self, what: &str, change: impl FnOnce(Response) -> Response) {
        let mut head = self.0.head.borrow_mut();
        match head.take() {
            Some(response) => *head = Some(change(response)),
            None => self.misuse(what),
        }
    }

    /// Tells the log, once for each responder, and not of those that could not know: the handler failed behind their back.
    #[cold]
    #[track_caller]
    fn misuse(&self, what: &str) {
        let exchange = &self.0.exchange;
        if exchange.failed.get() || self.0.misused.replace(true) {
            return;
        }
        let (head, taken_at, at) = (&exchange.head, self.0.taken_at, Location::caller());
        tracing::error!(
            method = head.method(),
            path = head.path(),
            %taken_at,
            %at,
            "{what} came too late: the answer has begun or is finished"
        );
    }

    /// Sets the status. After the first write it is a logged mistake without effect, as are all changes of the head.
    #[track_caller]
    pub fn set_status(&self, status: u16) {
        self.change("set_status", |response| response.status(status));
    }

    /// Sets the status and a reason phrase.
    #[track_caller]
    pub fn set_response_code(&self, status: u16, reason: &str) {
        self.change("set_response_code", |response| response.status(status).reason(reason));
    }

    /// Sets the content type.
    #[track_caller]
    pub fn set_content_type(&self, content_type: impl Into<Cow<'static, str>>) {
        self.change("set_content_type", |response| response.content_type(content_type));
    }

    /// Adds a field.
    #[track_caller]
    pub fn add_header(&self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) {
        self.change("add_header", |response| response.header(name, value));
    }

    /// Sets a cookie.
    ///
    /// # Errors
    /// It cannot be set; nothing is.
    #[track_caller]
    pub fn add_cookie(&self, cookie: &Cookie) -> Result<(), CookieError> {
        self.add_header("Set-Cookie", cookie.to_field()?);
        Ok(())
    }

    /// Sends the client elsewhere: 302, unless the status was set to another redirect before.
    #[track_caller]
    pub fn redirect(&self, location: impl Into<Cow<'static, str>>) {
        self.change("redirect", |response| {
            let status = if (300..400).contains(&response.code()) { response.code() } else { 302 };
            response.status(status).header("Location", location)
        });
    }

    /// Sets the entity tag, text without quotes, and tells whether the client has it already: then the answer is a 304, or a 412 to
    /// one that wants another, and the body need not be made at all: of a 304, nothing that is written is sent. As Twisted's `setETag`.
    #[track_caller]
    pub fn set_etag(&self, tag: &str) -> bool {
        self.change("set_etag", |response| response.etag(tag));
        self.is_known()
    }

    /// Sets the time of the last change; the same as [`Responder::set_etag`] otherwise.
    #[track_caller]
    pub fn set_last_modified(&self, when: SystemTime) -> bool {
        self.change("set_last_modified", |response| response.last_modified(when));
        self.is_known()
    }

    fn is_known(&self) -> bool {
        let mut head = self.0.head.borrow_mut();
        let Some(response) = head.take() else { return false };
        let verdict = match response.code() {
            200 => self.0.exchange.verdict(response.field("ETag"), response.field("Last-Modified")),
            _ => Verdict::Send(None),
        };
        let (known, response) = match verdict {
            Verdict::Send(_) => (false, response),
            Verdict::NotModified => (true, response.status(304)),
            Verdict::Failed => (true, response.status(412)),
        };
        *head = Some(response);
        known
    }

    /// The connection closes after this answer.
    pub fn close_after(&self) {
        self.0.exchange.close.set(true);
    }

    /// Sends a piece of the body; the first one sends the head. Ignored when the client is gone; after `finish` it is a logged
    /// mistake, and never reaches the next request of the connection.
    #[track_caller]
    pub fn write(&self, data: impl AsRef<[u8]>) {
        let exchange = &self.0.exchange;
        if self.0.finished.get() && exchange.stage.get() != Stage::Lost {
            return self.misuse("write");
        }
        match exchange.stage.get() {
            Stage::Waiting => {
                if let Some(head) = self.0.head.borrow_mut().take() {
                    exchange.begin(head);
                }
                if exchange.stage.get() == Stage::Finished {
                    // The head could not be sent, and was answered for: the connection goes on without this responder.
                    return exchange.carrier().wake();
                }
                exchange.write(data.as_ref());
            }
            Stage::Streaming => exchange.write(data.as_ref()),
            Stage::Finished => self.misuse("write"),
            Stage::Lost => {}
        }
    }

    /// Whether more waits to be sent than is good: wait for [`Responder::poll_writable`] before writing on.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.exchange.carrier().is_full()
    }

    /// Waits until the client has taken most of what was written, or is gone.
    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.0.exchange.carrier().poll_writable(context)
    }

    /// Ends the answer. Without a write before, it has an empty body. A second time is a logged mistake, not a second answer.
    #[track_caller]
    pub fn finish(&self) {
        self.finish_with(&[]);
    }

    /// Ends the answer with trailer fields, which a client of HTTP/1.1 gets.
    #[track_caller]
    pub fn finish_with(&self, trailers: &[(&str, &[u8])]) {
        let exchange = &self.0.exchange;
        if self.0.finished.replace(true) {
            return self.misuse("a second finish");
        }
        match exchange.stage.get() {
            Stage::Waiting => {
                let head = self.0.head.borrow_mut().take();
                exchange.respond(head.unwrap_or_else(|| Response::empty(500)));
            }
            Stage::Streaming => exchange.finish(trailers),
            Stage::Finished => return self.misuse("finish"),
            Stage::Lost => return,
        }
        exchange.carrier().wake();
    }

    /// Gives a whole answer at once.
    #[track_caller]
    pub fn respond(&self, response: Response) {
        let exchange = &self.0.exchange;
        match exchange.stage.get() {
            Stage::Waiting if !self.0.finished.replace(true) => {
                self.0.head.borrow_mut().take();
                exchange.hand_over(response);
            }
            Stage::Lost => {}
            Stage::Waiting | Stage::Streaming | Stage::Finished => self.misuse("respond"),
        }
    }

    /// Says what went wrong instead of answering: 500 if the answer has not begun, else the connection is broken off, so that the
    /// client does not take what it has for the whole. Either way the log has the failure, and of what comes after it nothing is
    /// sent. See [`Response::failure`].
    ///
    /// ```
    /// use ropewalk_web::{Request, Router};
    /// let router = Router::new().get("/report", |request: Request| {
    ///     let (responder, unhappy) = (request.responder(), request.responder());
    ///     let report = request.reactor().defer_to_thread(|| "all is well").add_callback(move |text| {
    ///         responder.write(text);
    ///         responder.finish();
    ///     });
    ///     drop(report.add_errback(move |failure| unhappy.fail(failure)));
    /// });
    /// # drop(router);
    /// ```
    #[track_caller]
    pub fn fail(&self, failure: impl Into<Failure>) {
        let mut failure = failure.into();
        failure.pass(Location::caller());
        self.0.finished.set(true);
        self.0.head.borrow_mut().take();
        self.0.exchange.fail(failure);
        self.0.exchange.carrier().wake();
    }

    /// Fires when the answer is complete, or fails with a [`ropewalk_net::Lost`] when the client is gone before.
    pub fn notify_finish(&self) -> Deferred<()> {
        notify_finish(&self.0.exchange)
    }

    /// Whether the answer is complete.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.exchange.stage.get() == Stage::Finished
    }

    /// Whether the client is gone.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        self.0.exchange.stage.get() == Stage::Lost
    }

    /// The connection, to see how it fares.
    #[must_use]
    pub fn transport(&self) -> &Transport {
        self.0.exchange.carrier().connection()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let exchange = &self.exchange;
        exchange.responders.set(exchange.responders.get() - 1);
        if exchange.is_over() || exchange.responders.get() > 0 {
            return;
        }
        // Nobody can answer any more. The handler may still be running and return a value, so the connection decides.
        let panicking = std::thread::panicking();
        exchange.rare().dropped = Some(Dropped { taken_at: self.taken_at, panicking });
        exchange.carrier().wake();
    }
}
