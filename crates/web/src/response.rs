//! `Response`: a status, fields and a body, as a value. What a handler returns becomes one; the connection sends it.
//! Nothing here encodes: names and values are checked when they are written to the wire.

use std::borrow::Cow;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_core::Stream;
use ropewalk_net::{FileSender, Protocol};
use ropewalk_reactor::Failure;

use crate::cookies::Cookie;

/// An answer.
///
/// ```
/// use ropewalk_web::Response;
/// let response = Response::new("{\"ok\":true}").status(201).content_type("application/json").header("X-Id", "7");
/// assert_eq!(response.code(), 201);
/// ```
pub struct Response {
    pub(crate) status: u16,
    pub(crate) reason: Option<Box<str>>,
    pub(crate) content_type: Option<Cow<'static, str>>,
    pub(crate) fields: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    pub(crate) body: Body,
    pub(crate) marks: Marks,
}

/// What few answers have. One byte, so that all others are asked for it once.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Marks(u8);

impl Marks {
    /// The connection closes after it.
    pub(crate) const CLOSE: Marks = Marks(1);
    /// It has validators, which are compared with what the client has.
    pub(crate) const CONDITIONAL: Marks = Marks(2);

    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn has(self, mark: Marks) -> bool {
        self.0 & mark.0 != 0
    }

    pub(crate) fn set(&mut self, mark: Marks) {
        self.0 |= mark.0;
    }
}

/// The last second that has an HTTP date: the end of the year 9999.
const DATE_MAX_S: u64 = 253_402_300_799;

/// An entity tag with its quotes (RFC 9110 section 8.8.3).
pub(crate) fn quoted(tag: &str) -> Option<String> {
    let fine = tag.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e));
    fine.then(|| format!("\"{tag}\""))
}

/// A time as a field (RFC 9110 section 5.6.7), if it has that form.
pub(crate) fn date(when: SystemTime) -> Option<String> {
    let since = when.duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs() <= DATE_MAX_S).then(|| httpdate::fmt_http_date(UNIX_EPOCH + since))
}

/// The bytes of an answer.
#[derive(Default)]
#[non_exhaustive]
pub enum Body {
    /// None; `Content-Length: 0` where the status allows a body.
    #[default]
    Empty,
    /// Bytes that live in the program.
    Static(&'static [u8]),
    /// Bytes of this answer.
    Bytes(Vec<u8>),
    /// Bytes that many answers share; they are not copied.
    Shared(Rc<[u8]>),
    /// A file or a part of it, which the system sends by itself where it can. It has no transform: its length is announced.
    File(Box<FileSender>),
    /// Bytes that come bit by bit. It is polled only while the reader keeps up. With a length it must give exactly that
    /// many; without, it is chunked, or to an HTTP/1.0 client ended by the close.
    Stream(Pin<Box<dyn ByteStream>>, Option<u64>),
    /// The connection is handed to another protocol behind the head: an upgrade after a 101, or a stream without an end.
    Takeover(Box<dyn Protocol>),
    /// What went wrong instead. The connection, which knows its site, makes the body of it, and tells the log; see
    /// [`Response::failure`].
    Failure(Box<Failure>),
    /// Why there is no other body, in a line. The connection, which knows its site, makes a page of it; see [`Response::error`].
    Error(Box<str>),
}

/// A stream of pieces of a body. Every `futures` stream of `Result`s of bytes is one through [`Body::stream`].
pub trait ByteStream {
    /// The next piece; `None` at the end. An error breaks the connection off, so that the client sees a body that is cut.
    fn poll_piece(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Vec<u8>, Failure>>>;

    /// Whether it comes to an end by itself, though nobody knows its length. One that does not is ended when the program stops.
    fn ends(&self) -> bool {
        false
    }
}

struct FromStream<S>(Pin<Box<S>>);

impl<S, B, E> ByteStream for FromStream<S>
where
    S: Stream<Item = Result<B, E>>,
    B: Into<Vec<u8>>,
    E: Into<Failure>,
{
    fn poll_piece(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Vec<u8>, Failure>>> {
        let piece = self.0.as_mut().poll_next(context);
        piece.map(|piece| piece.map(|piece| piece.map(Into::into).map_err(Into::into)))
    }
}

impl Body {
    /// A body from a stream of pieces, of unknown length.
    pub fn stream<B, E>(stream: impl Stream<Item = Result<B, E>> + 'static) -> Body
    where
        B: Into<Vec<u8>> + 'static,
        E: Into<Failure> + 'static,
    {
        Body::Stream(Box::pin(FromStream(Box::pin(stream))), None)
    }

    /// Its length, if it is known.
    #[must_use]
    pub fn len(&self) -> Option<u64> {
        match self {
            Body::Empty => Some(0),
            Body::Static(bytes) => Some(bytes.len() as u64),
            Body::Bytes(bytes) => Some(bytes.len() as u64),
            Body::Shared(bytes) => Some(bytes.len() as u64),
            Body::File(file) => Some(file.len()),
            Body::Stream(_, length) => *length,
            Body::Takeover(_) | Body::Failure(_) | Body::Error(_) => None,
        }
    }

    /// Whether it is known to be empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Body {
        Body::Static(text.as_bytes())
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Body {
        Body::Static(bytes)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Body {
        Body::Bytes(text.into_bytes())
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Body::Bytes(bytes)
    }
}

impl From<FileSender> for Body {
    fn from(file: FileSender) -> Body {
        Body::File(Box::new(file))
    }
}

impl From<Rc<[u8]>> for Body {
    fn from(bytes: Rc<[u8]>) -> Body {
        Body::Shared(bytes)
    }
}

impl Response {
    /// 200 with this body and no content type.
    pub fn new(body: impl Into<Body>) -> Response {
        Response {
            status: 200,
            reason: None,
            content_type: None,
            fields: Vec::new(),
            body: body.into(),
            marks: Marks::default(),
        }
    }

    /// This status and an empty body.
    #[must_use]
    pub fn empty(status: u16) -> Response {
        Response::new(Body::Empty).status(status)
    }

    /// Plain text, UTF-8.
    pub fn text(text: impl Into<Body>) -> Response {
        Response::new(text).content_type("text/plain; charset=utf-8")
    }

    /// HTML, UTF-8.
    pub fn html(text: impl Into<Body>) -> Response {
        Response::new(text).content_type("text/html; charset=utf-8")
    }

    /// A short page for a status that is not a success: the code, its phrase, and one line of why, as text, or as the site's
    /// [error pages](crate::Site::error_pages) show it.
    #[must_use]
    pub fn error(status: u16, why: &str) -> Response {
        Response::text(Body::Error(why.into())).status(status)
    }

    /// 500 for what went wrong. The client is told the id of an incident, or everything where the site
    /// [debugs](crate::Site::debug); the log has the same id and the whole traceback. Another status may be set, and fields.
    /// This is what a handler's `Err` and its panic become.
    ///
    /// ```
    /// use ropewalk_reactor::Failure;
    /// use ropewalk_web::{Body, Response};
    /// let response = Response::failure(Failure::new("the disk is full")).status(507).header("Retry-After", "3600");
    /// assert!(matches!(response.body(), Body::Failure(failure) if failure.to_string() == "the disk is full"));
    /// ```
    #[must_use]
    #[track_caller]
    pub fn failure(failure: impl Into<Failure>) -> Response {
        Response::new(Body::Failure(Box::new(failure.into()))).status(500)
    }

    /// A redirect: 301, 302, 303, 307 or 308 with a `Location`.
    pub fn redirect(status: u16, location: impl Into<Cow<'static, str>>) -> Response {
        Response::empty(status).header("Location", location)
    }

    /// 101, and the connection belongs to this protocol from then on; bytes that came behind the request are its first.
    pub fn upgrade(to: impl Into<Cow<'static, str>>, protocol: impl Protocol) -> Response {
        Response::takeover(protocol).status(101).header("Upgrade", to).header("Connection", "upgrade")
    }

    /// A head, and behind it whatever this protocol writes until it closes the connection: a stream without an end that keeps
    /// nothing of its request. To HTTP such a body ends with the connection (RFC 9112 section 6.3).
    pub fn takeover(protocol: impl Protocol) -> Response {
        Response::new(Body::Takeover(Box::new(protocol)))
    }

    /// The same with another status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Response {
        self.status = status;
        self
    }

    /// The same with a reason phrase of one's own.
    #[must_use]
    pub fn reason(mut self, reason: &str) -> Response {
        self.reason = Some(reason.into());
        self
    }

    /// The same with this content type.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<Cow<'static, str>>) -> Response {
        self.content_type = Some(content_type.into());
        self
    }

    /// The same with one field more. A name that is no token or a value with a line break makes the answer a 500: header
    /// injection ends there.
    #[must_use]
    pub fn header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Response {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// The same, setting a cookie. One that cannot be set makes the answer a 500: cookie injection ends there.
    #[must_use]
    #[track_caller]
    pub fn cookie(self, cookie: Cookie) -> Response {
        match cookie.to_field() {
            Ok(field) => self.header("Set-Cookie", field),
            Err(error) => Response::failure(error),
        }
    }

    /// The same with this entity tag: text without quotes, that changes whenever the body does. A client that has it already is
    /// answered with 304, and one that wants another with 412; see [`Request::precondition`](crate::Request::precondition) for
    /// methods that change something. A tag with a quote, a space or a control character in it makes the answer a 500.
    ///
    /// ```
    /// use ropewalk_web::{Response, Router};
    /// let router = Router::new().get("/report", |_| Response::text("all is well").etag("7"));
    /// # drop(router);
    /// ```
    #[must_use]
    pub fn etag(mut self, tag: &str) -> Response {
        self.marks.set(Marks::CONDITIONAL);
        match quoted(tag) {
            Some(tag) => self.header("ETag", tag),
            None => Response::failure(Failure::new(format!("{tag:?} is no entity tag"))),
        }
    }

    /// The same, last changed at this time. A client that has it from since then is answered with 304.
    #[must_use]
    pub fn last_modified(mut self, when: SystemTime) -> Response {
        self.marks.set(Marks::CONDITIONAL);
        match date(when) {
            Some(date) => self.header("Last-Modified", date),
            None => Response::failure(Failure::new("a time after the year 9999 has no date")),
        }
    }

    /// The same, closing the connection afterwards.
    #[must_use]
    pub fn close(mut self) -> Response {
        self.marks.set(Marks::CLOSE);
        self
    }

    /// The status code.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.status
    }

    /// The first field of this name, as it was set.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_ref())
    }

    /// All fields of this name.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let known = self.fields.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name));
        known.map(|(_, value)| value.as_ref())
    }

    /// The content type, if it has one.
    #[must_use]
    pub fn media_type(&self) -> Option<&str> {
        self.content_type.as_deref().or_else(|| self.field("Content-Type"))
    }

    /// The same saying that it depends on this field of the request (RFC 9110 section 12.5.5), once.
    #[must_use]
    pub fn vary(self, name: &'static str) -> Response {
        let mut names = self.values("Vary").flat_map(|names| names.split(',').map(str::trim));
        let said = names.any(|known| known == "*" || known.eq_ignore_ascii_case(name));
        drop(names);
        if said { self } else { self.header("Vary", name) }
    }

    /// The same with this field unless there is one.
    #[must_use]
    pub(crate) fn default_header(self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Response {
        if self.field(name).is_some() { self } else { self.header(name, value) }
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Body {
        &self.body
    }
}
