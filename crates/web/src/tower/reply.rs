//! From a service's answer to ours: the head, and the body as a stream that is polled inside of the runtime, no faster than the client
//! takes it. What the connection does by itself (length, framing, date) is not the service's.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf;
use http::HeaderMap;
use http_body::Body as HttpBody;
use ropewalk_reactor::{Failure, SideRuntime};

use super::BoxError;
use super::body::Pump;
use crate::response::{Body, ByteStream, Response};

/// Fields of one connection (RFC 9110 section 7.6.1), and what this side writes.
const OWN: [&str; 8] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-connection",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn response<B>(
    answer: http::Response<B>,
    pump: Pump,
    runtime: &SideRuntime,
    wants_upgrade: Option<&str>,
) -> Response
where
    B: HttpBody + 'static,
    B::Error: Into<BoxError>,
{
    let (head, body) = answer.into_parts();
    let status = head.status.as_u16();
    let body = Box::pin(Beside { runtime: runtime.clone(), inside: Some(Box::pin(body)) });
    if let Some(protocol) = wants_upgrade.filter(|_| matches!(status, 101 | 426)) {
        tracing::error!(
            path = pump.request().path(),
            "a mounted service was asked to speak {protocol}, which it cannot here: serve that path by a route of ropewalk_web"
        );
        return Response::error(501, "this service speaks only HTTP here").close();
    }
    let exact = body.exact();
    let length = exact.filter(|&length| length > 0).or_else(|| announced(&head.headers));
    // Streams of events end with the program; a body whose end is merely not known may be a download.
    let endless = head
        .headers
        .get("content-type")
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    let is_empty = exact == Some(0) && length.is_none_or(|length| length == 0);
    let body = match is_empty {
        true => Body::Empty,
        false => Body::Stream(Box::pin(Outflow { body, pump, ends: !endless }), length),
    };
    dress(Response::new(body).status(status), &head.headers)
}

/// What an answer to HEAD says of a body that is not sent.
fn announced(fields: &HeaderMap) -> Option<u64> {
    fields.get("content-length")?.to_str().ok()?.parse().ok()
}

fn dress(mut response: Response, fields: &HeaderMap) -> Response {
    for (name, value) in fields {
        let name = name.as_str();
        let Ok(value) = std::str::from_utf8(value.as_bytes()) else {
            tracing::warn!("a field of a mounted service is no UTF-8 and was left out: {name}");
            continue;
        };
        match name {
            "content-type" => response = response.content_type(value.to_owned()),
            "connection" if value.eq_ignore_ascii_case("close") => response = response.close(),
            _ if OWN.contains(&name) => {}
            _ => response = response.header(name.to_owned(), value.to_owned()),
        }
    }
    response
}

type Framed<B> = Result<http_body::Frame<<B as HttpBody>::Data>, <B as HttpBody>::Error>;

/// What is polled and dropped inside of the runtime's context.
struct Beside<B> {
    runtime: SideRuntime,
    /// There until it is dropped.
    inside: Option<Pin<Box<B>>>,
}

impl<B: HttpBody> Beside<B> {
    fn exact(&self) -> Option<u64> {
        let body = self.inside.as_ref()?;
        if body.is_end_stream() { Some(0) } else { body.size_hint().exact() }
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Framed<B>>> {
        let _context = self.runtime.handle().enter();
        match &mut self.inside {
            Some(body) => body.as_mut().poll_frame(context),
            None => Poll::Ready(None),
        }
    }
}

impl<B> Drop for Beside<B> {
    fn drop(&mut self) {
        let _context = self.runtime.handle().enter();
        drop(self.inside.take());
    }
}

/// A service's body as a stream, and the request's body that may still be read for it.
struct Outflow<B> {
    body: Pin<Box<Beside<B>>>,
    pump: Pump,
    ends: bool,
}

impl<B> ByteStream for Outflow<B>
where
    B: HttpBody,
    B::Error: Into<BoxError>,
{
    fn poll_piece(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Vec<u8>, Failure>>> {
        let outflow = &mut *self;
        loop {
            outflow.pump.poll(context);
            match outflow.body.poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers are dropped: few read them, and none was promised.
                    let Ok(mut data) = frame.into_data() else { continue };
                    let count = data.remaining();
                    if count > 0 {
                        return Poll::Ready(Some(Ok(data.copy_to_bytes(count).into())));
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(Failure::new(error)))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn ends(&self) -> bool {
        self.ends
    }
}
