//! One request and its answer: the state that the connection, the request, and a responder share. The answer is a slot of
//! this, not of the `Request` value, so that a request cannot be forgotten, and a late write cannot reach the next one.
//!
//! The connection takes an exchange from the site's spares, fills the head in place, and gives it back when nobody else
//! holds it: a request that is answered at once allocates nothing.

use std::borrow::Cow;
use std::cell::{Cell, RefCell, RefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use ropewalk_net::{FileSender, Lost};
use ropewalk_reactor::failure::{Panicked, Place};
use ropewalk_reactor::{Failure, Firing, Time};
use ropewalk_wire::http1::{self, Head, Length, Version};

use crate::carrier::Carrier;
use crate::encoding::Inflow;
use crate::errors;
use crate::files::condition::{Conditions, Validators, Verdict};
use crate::inbound::{BodyError, Inbound};
use crate::incident::{Incident, discard};
use crate::leaving::IfClientLeaves;
use crate::limits::count;
use crate::middleware::Limit;
use crate::parts::Parts;
use crate::response::{Body, Marks, Response};
use crate::site::SiteCore;

/// Where an answer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing is sent.
    Waiting,
    /// The head is sent, the body is not finished.
    Streaming,
    /// All of it is handed to the transport.
    Finished,
    /// The connection was lost before.
    Lost,
}

pub(crate) struct Exchange {
    pub(crate) head: Head,
    pub(crate) carrier: Option<Carrier>,
    pub(crate) site: Option<Rc<SiteCore>>,
    pub(crate) started: Time,
    pub(crate) stage: Cell<Stage>,
    pub(crate) status: Cell<u16>,
    pub(crate) sent: Cell<u64>,
    pub(crate) close: Cell<bool>,
    /// The handler means to wait: no deadline for its answer.
    pub(crate) patient: Cell<bool>,
    /// A responder was taken, so that returning nothing is no answer.
    pub(crate) responders: Cell<u32>,
    pub(crate) inbound: RefCell<Inbound>,
    /// Anything was written into `inbound`: most requests have no body, and leave it as it was.
    pub(crate) inbound_used: Cell<bool>,
    pub(crate) waiters: RefCell<Vec<Firing<()>>>,
    /// Somebody was told that the client has left, so that letting go of the request is what one would do.
    pub(crate) warned: Cell<bool>,
    /// A whole answer that a responder gave, for the connection to send.
    pub(crate) given: RefCell<Option<Box<Response>>>,
    /// The answer is a stream of which nobody knows the end.
    pub(crate) endless: Cell<bool>,
    /// A failure has decided what becomes of the answer: whoever still means to give one could not know.
    pub(crate) failed: Cell<bool>,
    /// What this request's handler asked for, in case its client leaves.
    pub(crate) leaving: Cell<Option<IfClientLeaves>>,
    /// There is something in `rare`.
    pub(crate) unusual: Cell<bool>,
    rare: RefCell<Option<Box<Rare>>>,
}

/// What few requests have; boxed, so that the others are not larger for it.
#[derive(Default)]
pub(crate) struct Rare {
    /// The last responder that was dropped before the answer was complete.
    pub(crate) dropped: Option<Dropped>,
    /// What looks at the answer before it is sent, whoever gives it; the last one first.
    pub(crate) amends: Vec<Amend>,
    /// The request's id, where somebody gave it one.
    pub(crate) id: Option<Rc<str>>,
    /// The answer shall not be compressed.
    pub(crate) uncompressed: bool,
    /// What the body's pieces pass through.
    pub(crate) decoder: Option<Box<Inflow>>,
    /// A time limit of this request's own; it goes with the exchange.
    pub(crate) limit: Option<Limit>,
    /// What middlewares leave for those within.
    pub(crate) parts: Parts,
}

/// Changes an answer before it is sent.
pub(crate) type Amend = Box<dyn FnOnce(&Exchange, Response) -> Response>;

/// A responder that is gone without having answered.
#[derive(Clone, Copy)]
pub(crate) struct Dropped {
    /// Where it was taken from its request.
    pub(crate) taken_at: Place,
    /// It went down with a callback that panicked.
    pub(crate) panicking: bool,
}

/// What the connection still has to do for an answer.
pub(crate) enum Rest {
    Nothing,
    Stream(std::pin::Pin<Box<dyn crate::response::ByteStream>>),
    File(FileSender),
    Takeover(Box<dyn ropewalk_net::Protocol>),
}

impl Exchange {
    pub(crate) fn new() -> Exchange {
        Exchange {
            head: Head::new(),
            carrier: None,
            site: None,
            started: Time::START,
            stage: Cell::new(Stage::Waiting),
            status: Cell::new(0),
            sent: Cell::new(0),
            close: Cell::new(false),
            patient: Cell::new(false),
            responders: Cell::new(0),
            inbound: RefCell::default(),
            inbound_used: Cell::new(false),
            waiters: RefCell::default(),
            warned: Cell::new(false),
            given: RefCell::default(),
            endless: Cell::new(false),
            failed: Cell::new(false),
            leaving: Cell::new(None),
            unusual: Cell::new(false),
            rare: RefCell::default(),
        }
    }

    #[cold]
    pub(crate) fn fresh() -> Rc<Exchange> {
        Rc::new(Exchange::new())
    }

    /// Makes it fit for the next request.
    #[inline(always)]
    pub(crate) fn reset(&mut self) {
        self.head.clear();
        self.carrier = None;
        self.site = None;
        if self.inbound_used.get() {
            *self.inbound.get_mut() = Inbound::default();
        }
        self.waiters.get_mut().clear();
        self.given.get_mut().take();
        if self.unusual.get() {
            self.rare.get_mut().take();
        }
        // Together, and nothing between them: few stores come of it.
        self.stage.set(Stage::Waiting);
        self.status.set(0);
        self.sent.set(0);
        self.close.set(false);
        self.patient.set(false);
        self.responders.set(0);
        self.inbound_used.set(false);
        self.warned.set(false);
        self.endless.set(false);
        self.failed.set(false);
        self.leaving.set(None);
        self.unusual.set(false);
    }

    /// Whose exchange it is, told when its head is complete or refused.
    #[inline(always)]
    pub(crate) fn belongs_to(&mut self, carrier: Carrier, site: &Rc<SiteCore>) {
        self.started = carrier.reactor().now();
        self.carrier = Some(carrier);
        self.site = Some(Rc::clone(site));
    }

    pub(crate) fn carrier(&self) -> &Carrier {
        self.carrier.as_ref().expect("set when the head was complete, before anybody else sees the exchange")
    }

    pub(crate) fn site(&self) -> &Rc<SiteCore> {
        self.site.as_ref().expect("set when the head was complete, before anybody else sees the exchange")
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage.get(), Stage::Finished | Stage::Lost)
    }

    /// Whether the connection closes after this answer.
    pub(crate) fn closes(&self) -> bool {
        self.close.get() || !self.head.keep_alive() || self.site().is_draining()
    }

    /// Sends an answer if it is a plain one, and the first; else it does nothing, and answers false.
    pub(crate) fn respond_plainly(&self, response: &Response) -> bool {
        let Some((content_type, whole)) = self.plain(response) else { return false };
        self.status.set(200);
        self.carrier().send_plain(&self.site().heads, content_type, whole);
        self.sent.set(whole.len() as u64);
        self.finished();
        true
    }

    /// The content type and the bytes of a plain answer, as nearly all are: a 200 with nothing else, to a client of HTTP/1.1 that stays
    /// connected.
    #[inline]
    fn plain<'a>(&self, response: &'a Response) -> Option<(Option<&'static str>, &'a [u8])> {
        let whole = match &response.body {
            Body::Empty => b"".as_slice(),
            Body::Static(bytes) => bytes,
            Body::Bytes(bytes) => bytes.as_slice(),
            _ => return None,
        };
        let content_type = match response.content_type {
            Some(Cow::Borrowed(content_type)) => Some(content_type),
            Some(Cow::Owned(_)) => return None,
            None => None,
        };
        let plain = self.stage.get() == Stage::Waiting
            && response.status == 200
            && response.reason.is_none()
            && response.fields.is_empty()
            && response.marks.is_empty()
            && !self.unusual.get()
            && !self.owes_continue()
            && self.head.version() == Version::Http11
            && !self.closes()
            // HEAD and CONNECT get no body; whatever else begins so takes the long way.
            && !matches!(self.head.raw().first(), Some(b'H' | b'C'));
        plain.then_some((content_type, whole))
    }

    /// Whether the client waits to be bidden send its body (RFC 9110 section 10.1.1).
    #[inline]
    pub(crate) fn owes_continue(&self) -> bool {
        self.inbound_used.get() && self.inbound.borrow().continue_owed
    }

    /// Sends any answer, whole, or its head and what follows it. Called at most once, while nothing is sent.
    pub(crate) fn respond(&self, mut response: Response) -> Rest {
        debug_assert!(self.stage.get() == Stage::Waiting, "an answer is given once");
        if let Some(begun) = self.begun_elsewhere() {
            return self.respond_on(&begun, response);
        }
        if self.unusual.get() || !is_usual(&response) {
            let Some(fit) = self.fit_or_report(response) else { return Rest::Nothing };
            response = fit;
        }
        if !response.marks.is_empty() {
            self.heed(&mut response);
        }
        let method = self.head.method();
        let body_follows = http1::body_allowed(method, response.status);
        let length = self.length_of(method, &response);
        let whole = match &response.body {
            Body::Static(bytes) if body_follows => bytes,
            Body::Bytes(bytes) if body_follows => bytes.as_slice(),
            _ => &[],
        };
        if let Err(failure) = self.send_head(&response, length, whole) {
            return self.respond(unsendable(failure));
        }
        self.sent.set(whole.len() as u64);
        match response.body {
            Body::Takeover(protocol) if body_follows || response.status == 101 => {
                return Rest::Takeover(protocol);
            }
            Body::Shared(bytes) if body_follows => {
                self.carrier().send_shared(&bytes);
                self.sent.set(bytes.len() as u64);
            }
            Body::File(file) if body_follows => {
                self.stage.set(Stage::Streaming);
                return Rest::File(*file);
            }
            Body::Stream(stream, known) if body_follows => {
                self.stage.set(Stage::Streaming);
                self.endless.set(known.is_none() && !stream.ends());
                self.carrier().open_body(length);
                return Rest::Stream(stream);
            }
            _ => {}
        }
        self.finished();
        Rest::Nothing
    }

    /// Goes on with a stream of this type whose head was sent by another process. Any other answer cannot follow it: the connection
    /// ends, and the client comes back.
    #[cold]
    fn respond_on(&self, begun: &str, response: Response) -> Rest {
        let Some(response) = self.fit_or_report(response) else { return Rest::Nothing };
        let same = response.status == 200 && response.content_type.as_deref() == Some(begun);
        match response.body {
            Body::Takeover(protocol) if same => Rest::Takeover(protocol),
            other => {
                discard(other);
                self.break_with_the_past();
                Rest::Nothing
            }
        }
    }

    /// What was begun by another process cannot go on here.
    #[cold]
    fn break_with_the_past(&self) {
        self.stage.set(Stage::Lost);
        self.carrier().connection().lose_connection();
    }

    /// Does what an answer is marked with.
    #[cold]
    fn heed(&self, response: &mut Response) {
        let reads = matches!(self.head.method(), "GET" | "HEAD");
        if response.marks.has(Marks::CONDITIONAL) && response.status == 200 && reads {
            let (tag, modified) = (response.field("ETag"), response.field("Last-Modified"));
            match self.verdict(tag, modified) {
                Verdict::Send(_) => {}
                Verdict::NotModified => {
                    response.status = 304;
                    response.content_type = None;
                    discard(std::mem::take(&mut response.body));
                }
                Verdict::Failed => {
                    let refusal = Response::error(412, "this is not the one that was meant");
                    let mut whole = std::mem::replace(response, refusal);
                    response.marks = whole.marks;
                    discard(std::mem::take(&mut whole.body));
                }
            }
        }
        if response.marks.has(Marks::CLOSE) {
            self.close.set(true);
        }
    }

    /// What the request's conditions come to, for an answer with these validators.
    pub(crate) fn verdict(&self, tag: Option<&str>, modified: Option<&str>) -> Verdict<'_> {
        let reads = matches!(self.head.method(), "GET" | "HEAD");
        match Conditions::read(self.head.fields()).judge(&Validators::of_answer(tag, modified), false) {
            // RFC 9110 13.1.2: for a method that changes something, that the client has it already is a failure.
            Verdict::NotModified if !reads => Verdict::Failed,
            verdict => verdict,
        }
    }

    /// Whether the client names JSON among what it takes; `*/*` names nothing.
    pub(crate) fn wants_json(&self) -> bool {
        let lines = self.head.fields_named("accept").filter_map(|value| std::str::from_utf8(value).ok());
        lines.flat_map(|line| line.split(',')).any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let refused = parts
                .filter_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
                .any(|quality| quality.parse() == Ok(0.0));
            (media == "application/json" || media.ends_with("+json")) && !refused
        })
    }

    /// An unusual answer made fit; none for a failure when a responder has given an answer, which is on its way: what went wrong
    /// after it is only for the log.
    #[cold]
    fn fit_or_report(&self, response: Response) -> Option<Response> {
        match &response.body {
            Body::Failure(failure) if self.given.borrow().is_some() => {
                self.report(failure);
                None
            }
            _ => Some(self.amended(self.fit(response))),
        }
    }

    /// The answer as those want it who asked to look at it; each once, the last one first.
    #[cold]
    fn amended(&self, mut response: Response) -> Response {
        loop {
            let Some(amend) = self.if_rare(|rare| rare.amends.pop()) else { return response };
            let amended = catch_unwind(AssertUnwindSafe(|| amend(self, response)));
            response =
                self.fit(amended.unwrap_or_else(|panic| Response::failure(Failure::from_panic(panic))));
        }
    }

    /// What few requests have, made if need be.
    pub(crate) fn rare(&self) -> RefMut<'_, Rare> {
        self.unusual.set(true);
        RefMut::map(self.rare.borrow_mut(), |rare| &mut **rare.get_or_insert_default())
    }

    /// Looks for something among it.
    pub(crate) fn if_rare<T>(&self, find: impl FnOnce(&mut Rare) -> Option<T>) -> Option<T> {
        self.rare.borrow_mut().as_mut().and_then(|rare| find(rare))
    }

    /// Gives an answer in the handler's place, which the connection sends when it is woken.
    pub(crate) fn give(&self, response: Response) {
        if self.stage.get() == Stage::Waiting {
            self.given.borrow_mut().get_or_insert_with(|| Box::new(response));
            self.carrier().wake();
        }
    }

    /// The answer, or what stands in for one that no server may give here, or for none at all.
    fn fit(&self, mut response: Response) -> Response {
        if let Body::Failure(failure) = response.body {
            response.body = Body::Empty;
            return self.report(&failure).answer(response);
        }
        if let Body::Error(why) = response.body {
            response.body = Body::Empty;
            response = errors::show(self.site().pages.as_ref(), &self.head, response, &why, None);
        }
        let takes_over = matches!(response.body, Body::Takeover(_));
        let why = match response.status {
            // RFC 9110 section 7.8: only to a protocol that the client asked for.
            101 if takes_over && self.head.upgrade().is_none() => {
                let to = response.fields.into_iter().find(|(name, _)| name == "Upgrade");
                let mut refusal = Response::error(426, "this address speaks another protocol only").close();
                refusal.fields.extend(to);
                return self.fit(refusal);
            }
            101 if takes_over => None,
            // RFC 9110 section 15.2: a final answer would have to follow.
            0..200 => Some("a status below 200 is no answer"),
            1000.. => Some("a status has three digits"),
            _ if is_of_unknown_length(&response.body) => {
                Some("a file with a transform has no length to announce")
            }
            _ => None,
        };
        if let Some(why) = why {
            return self.fit(unsendable(Failure::new(format!("{why}: {}", response.status))));
        }
        // A body that ends with the connection leaves no place for a next answer.
        if takes_over && response.status != 101 {
            response.marks.set(Marks::CLOSE);
        }
        if takes_over && self.inbound.borrow().open {
            // What comes next is the body, not the other protocol.
            return self.fit(Response::error(400, "this address takes no request body").close());
        }
        response
    }

    /// Sends the head of an answer whose body is written by hand.
    pub(crate) fn begin(&self, response: Response) {
        if self.begun_elsewhere().is_some() {
            discard(response);
            return self.break_with_the_past();
        }
        let response = self.amended(self.fit(response));
        if response.marks.has(Marks::CLOSE) {
            self.close.set(true);
        }
        let length = if !http1::length_allowed(self.head.method(), response.status) {
            Length::None
        } else if self.head.version() == Version::Http11 {
            Length::Chunked
        } else {
            self.close.set(true);
            Length::UntilClose
        };
        if let Err(failure) = self.send_head(&response, length, &[]) {
            self.respond(unsendable(failure));
            return;
        }
        self.stage.set(Stage::Streaming);
        self.endless.set(true);
        let follows = http1::body_allowed(self.head.method(), response.status);
        self.carrier().open_body(if follows { length } else { Length::None });
    }

    /// Sends a piece of the body.
    pub(crate) fn write(&self, data: &[u8]) {
        if !http1::body_allowed(self.head.method(), self.status.get()) {
            return;
        }
        match self.carrier().send(data) {
            Ok(true) => self.sent.set(self.sent.get() + data.len() as u64),
            Ok(false) => {}
            Err(error) => self.fail(Failure::new(error)),
        }
    }

    /// Ends the body.
    pub(crate) fn finish(&self, trailers: &[(&str, &[u8])]) {
        // To an HTTP/1.0 client, and where there is no body, there is no place for trailers.
        let chunked = self.head.version() == Version::Http11
            && http1::body_allowed(self.head.method(), self.status.get());
        let trailers = if chunked { trailers } else { &[] };
        match self.carrier().finish(trailers) {
            Ok(true) => self.finished(),
            Ok(false) => {}
            Err(error) => self.fail(Failure::new(error)),
        }
    }

    /// The one way of every failure, wherever it came from. Nothing is sent yet: an error's answer is. The answer has begun: it
    /// is broken off, for the client must not take what it got for the whole. It is given or over: only the log is told.
    #[cold]
    pub(crate) fn fail(&self, failure: Failure) {
        match self.stage.get() {
            Stage::Waiting => {
                self.respond(Response::failure(failure));
            }
            Stage::Streaming => {
                self.report(&failure);
                self.carrier().reset();
            }
            Stage::Finished | Stage::Lost => {
                self.report(&failure);
            }
        }
    }

    /// Counts a failure and tells the log.
    #[cold]
    pub(crate) fn report<'a>(&'a self, failure: &'a Failure) -> Incident<'a> {
        self.failed.set(true);
        let counters = &self.site().counters;
        count(&counters.failures);
        if failure.is::<Panicked>() {
            count(&counters.panics);
        }
        let incident = Incident::new(self, failure);
        incident.log();
        incident
    }

    /// The file that is the body was handed to the system.
    pub(crate) fn file_sent(&self, bytes: u64) {
        self.sent.set(bytes);
        self.finished();
    }

    /// The answer is complete: it is accounted, and whoever waits for it is told.
    #[inline(always)]
    fn finished(&self) {
        self.stage.set(Stage::Finished);
        if self.begun_elsewhere().is_none() {
            self.site().account(self);
        }
        if !self.waiters.borrow().is_empty() {
            self.tell_finished();
        }
    }

    fn tell_finished(&self) {
        let waiters = std::mem::take(&mut *self.waiters.borrow_mut());
        for waiter in waiters {
            // It fails only when nobody waits any more.
            let _ = waiter.callback(());
        }
    }

    /// Answers in the handler's place: for whoever still means to, it is as if the client were gone.
    pub(crate) fn overrule(&self, response: Response, lost: &Lost) {
        self.tell_lost(lost);
        // What the handler was about to do is not done.
        discard(self.take_gate());
        self.respond(response);
        self.stage.set(Stage::Lost);
    }

    /// The connection belongs to another protocol: as far as HTTP goes, the answer is complete.
    pub(crate) fn handed_over(&self) {
        self.finished();
    }

    /// The connection is lost, or its client has ended its side: whoever waits for the finish is told why.
    pub(crate) fn tell_lost(&self, lost: &Lost) {
        let waiters = std::mem::take(&mut *self.waiters.borrow_mut());
        self.warned.set(self.warned.get() || !waiters.is_empty());
        for waiter in waiters {
            let _ = waiter.errback(Failure::new(lost.clone()));
        }
    }

    /// The connection is gone.
    pub(crate) fn lost(&self, lost: &Lost) {
        if !self.is_over() {
            self.stage.set(Stage::Lost);
            // Who has it now accounts for it.
            if !matches!(lost, Lost::HandedOver) {
                self.site().account(self);
            }
        }
        self.tell_lost(lost);
        self.body_error(BodyError::Lost);
        // They may hold what holds this.
        discard(self.given.take());
        discard(self.if_rare(|rare| Some(std::mem::take(&mut rare.amends))));
    }

    /// Ends the request's body with an error.
    pub(crate) fn body_error(&self, error: BodyError) {
        let mut inbound = self.inbound.borrow_mut();
        if inbound.open && inbound.error.is_none() {
            inbound.error = Some(error);
            let waker = inbound.waker.take();
            drop(inbound);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn send_head(&self, response: &Response, length: Length, whole: &[u8]) -> Result<(), Failure> {
        self.status.set(response.status);
        self.carrier().send_head(self, response, length, whole)
    }

    fn length_of(&self, method: &str, response: &Response) -> Length {
        if !http1::length_allowed(method, response.status) {
            return Length::None;
        }
        match response.body.len() {
            Some(0) if response.status == 304 => Length::None,
            Some(length) => Length::Known(length),
            None if matches!(response.body, Body::Takeover(_)) => Length::UntilClose,
            None if self.head.version() == Version::Http11 => Length::Chunked,
            None => {
                self.close.set(true);
                Length::UntilClose
            }
        }
    }
}

/// An answer of the usual kind, which fits any request: nothing to look at any closer.
fn is_usual(response: &Response) -> bool {
    (200..1000).contains(&response.status)
        && !matches!(response.body, Body::Takeover(_) | Body::Failure(_) | Body::Error(_))
        && !is_of_unknown_length(&response.body)
}

fn is_of_unknown_length(body: &Body) -> bool {
    matches!(body, Body::File(file) if file.is_transformed())
}

/// For an answer that cannot be sent. A program that is so wrong about one answer gets no chance to confuse the next.
fn unsendable(why: Failure) -> Response {
    Response::failure(why).close()
}
