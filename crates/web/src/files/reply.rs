//! From what was found to an answer: the status, the fields, and which bytes of the file. It is the part that knows both
//! HTTP and files; it opens and reads nothing.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt::Write;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use ropewalk_reactor::{Failure, PoolError};
use rustix::io::Errno;

use super::condition::{Conditions, Validators, Verdict};
use super::content::{Content, Part};
use super::range::{Parts, parts};
use super::root::Facts;
use super::search::is_absent;
use crate::request::Request;
use crate::response::{Body, ByteStream, Response};

/// A file that is to be sent, or told about.
pub(super) struct Subject<'a> {
    pub(super) media: &'a Cow<'static, str>,
    pub(super) facts: Facts,
    pub(super) cache_control: Option<&'a Cow<'static, str>>,
    /// It is a copy in this coding (RFC 9110 8.4).
    pub(super) coding: Option<&'static str>,
    /// There may be copies in other codings.
    pub(super) several: bool,
    /// Fields of the request that decided.
    pub(super) vary: Option<&'static str>,
}

/// An answer, and the bytes that still belong into it.
pub(super) type Draft = (Response, Option<Content>);

impl Subject<'_> {
    /// Judges the request's conditions and drafts the answer.
    pub(super) fn draft(&self, request: &Request, file: OwnedFd) -> Draft {
        let get = request.method() == "GET";
        let mut validators = Validators::new(&self.facts, request.reactor().wall_clock());
        if self.several {
            validators = validators.of_several(self.coding);
        }
        let conditions = Conditions::read(request.headers());
        match conditions.judge(&validators, get) {
            Verdict::NotModified => (self.head(304, &validators), None),
            Verdict::Failed => (Response::error(412, "the file is not the one that was meant"), None),
            Verdict::Send(range) => match range.map_or(Parts::Whole, |range| parts(range, self.facts.size)) {
                Parts::Whole => self.whole(&validators, get, file),
                Parts::Unsatisfiable => (self.unsatisfiable(), None),
                Parts::Some(parts) => self.parts(&validators, parts, request, file),
            },
        }
    }

    /// The file as the body of an error, which no condition and no range applies to (RFC 9110 13.2.1 and 14.2).
    pub(super) fn draft_error(&self, status: u16, request: &Request, file: OwnedFd) -> Draft {
        self.filled(self.named(status), request.method() == "GET", file)
    }

    /// The fields that also an error has.
    fn named(&self, status: u16) -> Response {
        let mut response = Response::empty(status);
        // One allocation instead of growing into it.
        response.fields.reserve_exact(8);
        if let Some(cache_control) = self.cache_control {
            response = response.header("Cache-Control", cache_control.clone());
        }
        if let Some(vary) = self.vary {
            response = response.header("Vary", vary);
        }
        // RFC 9110 15.4.5 does not list it for a 304, and a cache has it.
        if let Some(coding) = self.coding.filter(|_| status != 304) {
            response = response.header("Content-Encoding", coding);
        }
        response.header("X-Content-Type-Options", "nosniff")
    }

    /// The fields that every answer about the file has.
    fn head(&self, status: u16, validators: &Validators) -> Response {
        self.named(status)
            .header("ETag", validators.tag())
            .header("Last-Modified", validators.modified())
            .header("Accept-Ranges", "bytes")
    }

    fn whole(&self, validators: &Validators, get: bool, file: OwnedFd) -> Draft {
        self.filled(self.head(200, validators), get, file)
    }

    fn filled(&self, response: Response, get: bool, file: OwnedFd) -> Draft {
        let mut response = response.content_type(self.media.clone());
        let length = self.facts.size;
        if !get {
            response.body = Body::Stream(Box::pin(Unsent), Some(length));
            return (response, None);
        }
        let content = (length > 0).then(|| Content::new(file, [Part { length, ..Part::default() }]));
        (response, content)
    }

    fn unsatisfiable(&self) -> Response {
        Response::error(416, "the file has no such bytes")
            .header("Content-Range", format!("bytes */{}", self.facts.size))
            .header("Accept-Ranges", "bytes")
    }

    /// RFC 9110 15.3.7: one part is the body itself, several are a multipart body.
    fn parts(
        &self,
        validators: &Validators,
        parts: Vec<Range<u64>>,
        request: &Request,
        file: OwnedFd,
    ) -> Draft {
        let response = self.head(206, validators);
        let size = self.facts.size;
        let content_type = self.media;
        if let [part] = parts.as_slice() {
            let field = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            let content = [Part { text: Vec::new(), start: part.start, length: part.end - part.start }];
            return (
                response.content_type(content_type.clone()).header("Content-Range", field),
                Some(Content::new(file, content)),
            );
        }
        // Random, so that nobody can put it into a file beforehand.
        let boundary = format!("{:016x}{:016x}", request.reactor().random(), request.reactor().random());
        let mut content: VecDeque<Part> = VecDeque::with_capacity(parts.len() + 1);
        for part in parts {
            let mut text = String::with_capacity(160);
            let _ = write!(
                text,
                "{}--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: bytes {}-{}/{size}\r\n\r\n",
                if content.is_empty() { "" } else { "\r\n" },
                part.start,
                part.end - 1,
            );
            content.push_back(Part { text: text.into(), start: part.start, length: part.end - part.start });
        }
        content.push_back(Part { text: format!("\r\n--{boundary}--\r\n").into(), ..Part::default() });
        let response = response.content_type(format!("multipart/byteranges; boundary={boundary}"));
        (response, Some(Content::new(file, content)))
    }
}

/// The body that an answer to HEAD does not have: only its length is told.
struct Unsent;

impl ByteStream for Unsent {
    fn poll_piece(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Vec<u8>, Failure>>> {
        Poll::Ready(None)
    }
}

/// 404, in words that are the same for what is not there and for what may not be seen.
pub(super) fn missing() -> Response {
    Response::error(404, "there is no such file")
}

/// The answer when the system does not open a file.
pub(super) fn unopened(errno: Errno, path: &str) -> Response {
    match errno {
        Errno::ACCESS | Errno::PERM => Response::error(403, "the server may not read this file"),
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => {
            tracing::error!(path, "a file could not be opened: {errno}");
            busy()
        }
        errno if is_absent(errno) => missing(),
        errno => Response::failure(format!("a file could not be opened: {errno}")),
    }
}

/// The answer when the pool took no job, or the job did not come to its end.
pub(super) fn undone(failure: Failure) -> Response {
    if failure.is::<PoolError>() { busy() } else { Response::failure(failure) }
}

/// 503, to be tried again.
pub(super) fn busy() -> Response {
    Response::error(503, "the server is busy; try again").header("Retry-After", "1")
}
