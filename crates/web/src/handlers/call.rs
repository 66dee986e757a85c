//! `Call`: what a handler type is given to answer with: the request, its arguments and its body, and an answer that is collected
//! until it is flushed or finished. It is the part of Tornado's `RequestHandler` that is not the program's own.

use std::borrow::Cow;
use std::fmt::Display;
use std::future::poll_fn;
use std::rc::Rc;

use ropewalk_net::Lost;
use ropewalk_reactor::{Failure, Outcome};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::answer::Answer;
use crate::cookies::{Cookie, CookieError};
use crate::exchange::Exchange;
use crate::extract::{self, Rejection};
use crate::inbound::BodyError;
use crate::multipart::{self, InMemory, PartInfo};
use crate::request::{Arguments, Request};
use crate::responder::Responder;
use crate::response::Response;
use crate::router::{UrlArgs, UrlError};

type Text = Cow<'static, str>;

/// What is sent unless the handler says otherwise, as in Tornado. Whoever writes what somebody else wrote has to escape it.
const CONTENT_TYPE: &str = "text/html; charset=utf-8";

/// A request and its answer on the way.
pub struct Call {
    request: Request,
    body: Vec<u8>,
    /// Query first, then form.
    arguments: Option<(Arguments, Arguments)>,
    /// Of a form that is here whole.
    files: Vec<InMemory>,
    status: u16,
    content_type: Option<Text>,
    fields: Vec<(Text, Text)>,
    tag: Option<String>,
    /// Written and not flushed.
    written: Vec<u8>,
    /// Has the answer since it was flushed or finished.
    responder: Option<Responder>,
    finished: bool,
    error: Option<Failure>,
    unimplemented: bool,
}

impl Call {
    pub(super) fn new(request: Request) -> Call {
        Call {
            request,
            body: Vec::new(),
            arguments: None,
            files: Vec::new(),
            status: 200,
            content_type: None,
            fields: Vec::new(),
            tag: None,
            written: Vec::new(),
            responder: None,
            finished: false,
            error: None,
            unimplemented: false,
        }
    }

    /// The request.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// What the groups of the route, or the parameters of its path, are: one value, a tuple in their order, or a struct by their names.
    ///
    /// # Errors
    /// One of them is not of that type: 400, with its name.
    pub fn path<T: DeserializeOwned>(&self) -> Result<T, Rejection> {
        extract::path(&self.request)
    }

    /// The body, whole; empty when the handler is streamed.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is none, or has another shape: 400.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Rejection> {
        serde_json::from_slice(&self.body).map_err(|error| Rejection::new(400, format!("the body: {error}")))
    }

    /// The first argument of this name, in the query or else in the form that is the body.
    ///
    /// # Errors
    /// There is none: 400.
    pub fn argument(&mut self, name: &str) -> Result<String, Rejection> {
        let (query, form) = self.both();
        wanted(query.first(name).or_else(|| form.first(name)), name)
    }

    /// The same, or this when there is none.
    pub fn argument_or(&mut self, name: &str, default: &str) -> String {
        self.argument(name).unwrap_or_else(|_| default.to_owned())
    }

    /// All arguments of this name, of the query and of the form that is the body.
    pub fn arguments(&mut self, name: &str) -> Vec<String> {
        let (query, form) = self.both();
        query.all(name).chain(form.all(name)).map(str::to_owned).collect()
    }

    /// The first argument of this name in the query.
    ///
    /// # Errors
    /// There is none: 400.
    pub fn query_argument(&mut self, name: &str) -> Result<String, Rejection> {
        wanted(self.both().0.first(name), name)
    }

    /// All arguments of this name in the query.
    pub fn query_arguments(&mut self, name: &str) -> Vec<String> {
        self.both().0.all(name).map(str::to_owned).collect()
    }

    /// The first argument of this name in the form that is the body.
    ///
    /// # Errors
    /// There is none: 400.
    pub fn body_argument(&mut self, name: &str) -> Result<String, Rejection> {
        wanted(self.both().1.first(name), name)
    }

    /// All arguments of this name in the form that is the body.
    pub fn body_arguments(&mut self, name: &str) -> Vec<String> {
        self.both().1.all(name).map(str::to_owned).collect()
    }

    /// The first file of this name in the form that is the body: what it says of itself, and its bytes. Tornado's `request.files`. The whole form is in
    /// memory; a handler for large ones is [streamed](super::RequestHandler::STREAMED), or takes a [`crate::Multipart`].
    #[must_use]
    pub fn file(&self, name: &str) -> Option<(&PartInfo, &[u8])> {
        self.files().find(|(info, _)| info.name() == name)
    }

    /// All files of the form that is the body, in order.
    pub fn files(&self) -> impl Iterator<Item = (&PartInfo, &[u8])> {
        self.files.iter().map(|file| (&file.info, file.bytes.as_slice()))
    }

    /// Reads the form that the body is, if it is one with files.
    pub(super) fn read_form(&mut self) -> Result<(), Rejection> {
        if !self.body.is_empty() && self.request.has_type("multipart/form-data") {
            let (fields, files) = multipart::read_whole(&self.request, &self.body)?;
            self.arguments = Some((self.request.arguments(), fields));
            self.files = files;
        }
        Ok(())
    }

    fn both(&mut self) -> &(Arguments, Arguments) {
        let (request, body) = (&self.request, &self.body);
        self.arguments.get_or_insert_with(|| {
            let form = request.has_type("application/x-www-form-urlencoded");
            (request.arguments(), if form { Arguments::read(body) } else { Arguments::default() })
        })
    }

    /// The first cookie of this name, as sent.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.request.cookie(name)
    }

    /// Sets a cookie.
    ///
    /// # Errors
    /// It cannot be set; nothing is.
    pub fn set_cookie(&mut self, cookie: &Cookie) -> Result<(), CookieError> {
        self.add_header("Set-Cookie", cookie.to_field()?);
        Ok(())
    }

    /// The path of a named route of the site's router.
    ///
    /// # Errors
    /// There is no such name, too few or too many arguments, or one that the route would not take.
    pub fn reverse_url(&self, name: &str, args: impl UrlArgs) -> Result<String, UrlError> {
        self.request.reverse_url(name, args)
    }

    /// Sets the status.
    pub fn set_status(&mut self, status: u16) {
        self.status = status;
    }

    /// Sets a field, in place of those of this name.
    pub fn set_header(&mut self, name: impl Into<Text>, value: impl Into<Text>) {
        let name = name.into();
        self.clear_header(&name);
        self.add_header(name, value);
    }

    /// Adds a field.
    pub fn add_header(&mut self, name: impl Into<Text>, value: impl Into<Text>) {
        let name = name.into();
        if name.eq_ignore_ascii_case("content-type") {
            self.content_type = Some(value.into());
        } else {
            self.fields.push((name, value.into()));
        }
    }

    /// Removes the fields of this name.
    pub fn clear_header(&mut self, name: &str) {
        if name.eq_ignore_ascii_case("content-type") {
            self.content_type = None;
        }
        self.fields.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    /// Sets the entity tag, text without quotes: a client that has it already gets a 304. See [`Response::etag`].
    pub fn set_etag(&mut self, tag: &str) {
        self.tag = Some(tag.to_owned());
    }

    /// Forgets status, fields and what is written and not flushed.
    pub fn clear(&mut self) {
        self.status = 200;
        self.content_type = None;
        self.fields.clear();
        self.tag = None;
        self.written.clear();
    }

    /// Writes a piece of the body. It is kept until [`Call::flush`] or the end.
    pub fn write(&mut self, data: impl AsRef<[u8]>) {
        if self.finished {
            let request = &self.request;
            tracing::error!(
                method = request.method(),
                path = request.path(),
                "a write came too late: the answer is finished"
            );
            return;
        }
        self.written.extend_from_slice(data.as_ref());
    }

    /// Writes a value as JSON, and makes that the content type.
    ///
    /// # Errors
    /// The value has no JSON.
    pub fn write_json(&mut self, value: &impl Serialize) -> Outcome<()> {
        let text = serde_json::to_vec(value)?;
        self.set_header("Content-Type", "application/json");
        self.write(text);
        Ok(())
    }

    /// Sends the head and what is written so far, and waits until the client has taken most of it.
    ///
    /// # Errors
    /// The client is gone.
    pub async fn flush(&mut self) -> Outcome<()> {
        if self.finished {
            return Ok(());
        }
        let responder = match &self.responder {
            Some(responder) => responder.clone(),
            None => self.begin(),
        };
        responder.write(std::mem::take(&mut self.written));
        poll_fn(|context| responder.poll_writable(context)).await;
        if responder.is_disconnected() { Err(Failure::new(Lost::Closed)) } else { Ok(()) }
    }

    /// Takes the answer into one's own hands: what comes from now on is not collected.
    fn begin(&mut self) -> Responder {
        let responder = self.request.responder();
        responder.set_status(self.status);
        responder.set_content_type(self.content_type.take().unwrap_or(CONTENT_TYPE.into()));
        for (name, value) in self.fields.drain(..) {
            responder.add_header(name, value);
        }
        if let Some(tag) = self.tag.take() {
            responder.set_etag(&tag);
        }
        self.responder = Some(responder.clone());
        responder
    }

    /// Ends the answer, which is on its way then. The method may go on if it is one that changes something; one that only reads is let
    /// go of at its next await, unless [`Request::if_client_leaves`] says otherwise. An answer that is not finished when its method
    /// ends is so by itself.
    pub fn finish(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let written = std::mem::take(&mut self.written);
        match &self.responder {
            Some(responder) => {
                if !written.is_empty() {
                    responder.write(written);
                }
                responder.finish();
            }
            None => {
                let response = self.collect(written);
                let responder = self.request.responder();
                responder.respond(response);
                self.responder = Some(responder);
            }
        }
    }

    /// Sends the client elsewhere for now: 302. [`Call::set_status`] before it chooses another redirect.
    pub fn redirect(&mut self, location: impl Into<Text>) {
        if !(300..400).contains(&self.status) {
            self.status = 302;
        }
        self.set_header("Location", location);
        self.written.clear();
        self.finish();
    }

    /// Answers with an error: what was collected is forgotten, and [`write_error`](super::RequestHandler::write_error) makes the page.
    pub fn send_error(&mut self, status: u16, why: impl Display) {
        self.error = Some(Failure::new(Rejection::new(status, why.to_string())));
    }

    /// Whether the answer is finished, or an error is to be sent.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished || self.error.is_some()
    }

    pub(super) fn exchange(&self) -> &Rc<Exchange> {
        self.request.exchange()
    }

    pub(super) async fn piece(&mut self) -> Result<Option<Vec<u8>>, BodyError> {
        self.request.piece().await
    }

    pub(super) fn keep(&mut self, piece: Vec<u8>) {
        if self.body.is_empty() {
            self.body = piece;
        } else {
            self.body.extend_from_slice(&piece);
        }
    }

    pub(super) fn take_error(&mut self) -> Outcome<()> {
        self.error.take().map_or(Ok(()), Err)
    }

    /// Whether something is sent, or given to be.
    pub(super) fn is_begun(&self) -> bool {
        self.responder.is_some()
    }

    pub(super) fn mark_unimplemented(&mut self) {
        self.unimplemented = true;
    }

    pub(super) fn clear_mark(&mut self) -> bool {
        std::mem::take(&mut self.unimplemented)
    }

    /// The end of a method.
    pub(super) fn conclude(&mut self) -> Answer {
        if self.responder.is_some() {
            self.finish();
            return Answer::Taken;
        }
        self.finished = true;
        let written = std::mem::take(&mut self.written);
        Answer::Now(self.collect(written))
    }

    /// A failure behind an answer that has begun.
    pub(super) fn break_off(&mut self, failure: Failure) -> Answer {
        match (&self.responder, self.finished) {
            (Some(responder), false) => {
                responder.fail(failure);
                Answer::Taken
            }
            _ => Answer::Now(Response::failure(failure)),
        }
    }

    fn collect(&mut self, written: Vec<u8>) -> Response {
        let response = Response::empty(self.status);
        let mut response = if written.is_empty() {
            response
        } else {
            let content_type = self.content_type.take().unwrap_or(CONTENT_TYPE.into());
            let status = self.status;
            Response::new(written).status(status).content_type(content_type)
        };
        if let Some(content_type) = self.content_type.take() {
            response = response.content_type(content_type);
        }
        if let Some(tag) = self.tag.take() {
            response = response.etag(&tag);
        }
        self.dress(response)
    }

    /// An answer with the fields that were set.
    pub(super) fn dress(&mut self, response: Response) -> Response {
        self.finished = true;
        self.fields.drain(..).fold(response, |response, (name, value)| response.header(name, value))
    }

    /// The page of an error that the handler has written itself, with the fields that belong to the error.
    pub(super) fn page(&mut self, error: Response) -> Response {
        let written = std::mem::take(&mut self.written);
        let page = self.collect(written);
        let page = error.fields.into_iter().fold(page, |page, (name, value)| page.header(name, value));
        if error.marks.is_empty() { page } else { page.close() }
    }
}

fn wanted(found: Option<&str>, name: &str) -> Result<String, Rejection> {
    let missing = || Rejection::absent(format!("the argument {name:?} is missing")).field(name);
    found.map(str::to_owned).ok_or_else(missing)
}
