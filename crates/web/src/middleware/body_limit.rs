//! A limit for request bodies, smaller or larger than the site's. The codec counts; this only says the number.

use ropewalk_wire::http1::Framing;

use super::{Middleware, Next};
use crate::answer::{Answer, IntoResponse};
use crate::inbound::BodyError;
use crate::request::Request;

/// Bytes that a request's body may have: 413 beyond (RFC 9110 section 15.5.14). One that is announced to be larger is refused before
/// the handler is called, one that turns out to be in the middle. It goes before the site's [`crate::Limits::body_sizes`], so that
/// an upload may be larger than the rest. Of several the innermost holds, for it speaks last.
///
/// ```
/// use ropewalk_web::{BodyLimit, Handler, Request, Router, handler};
/// let upload = handler(|request: Request| async move { request.bytes().await.map(|bytes| bytes.len().to_string()) });
/// let router = Router::new().route("POST", "/upload", upload.with(BodyLimit::new(1 << 30)));
/// # drop(router);
/// ```
pub struct BodyLimit {
    bytes_max: u64,
}

impl BodyLimit {
    /// So many bytes, as they are sent.
    #[must_use]
    pub fn new(bytes_max: u64) -> BodyLimit {
        BodyLimit { bytes_max }
    }
}

impl Middleware for BodyLimit {
    fn handle(&self, request: Request, next: &Next) -> Answer {
        match request.exchange().head.framing() {
            Framing::None => return next.handle(request),
            Framing::Length(length) if length > self.bytes_max => {
                return Answer::Now(BodyError::TooLarge.into_response());
            }
            _ => {}
        }
        request.set_body_bytes_max(self.bytes_max);
        next.handle(request)
    }
}
