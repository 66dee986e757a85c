//! Bodies of requests that come packed: they are unpacked as the handler reads them, and never to more than a bound.

use std::task::{Context, Poll};

use super::Coding;
use super::unpack::{Unpacked, Unpacker};
use crate::answer::Answer;
use crate::inbound::BodyError;
use crate::middleware::{Middleware, Next};
use crate::request::Request;
use crate::response::Response;
use ropewalk_wire::http1::Framing;

/// Unpacked bytes that a handler is given at a time; others get their turn between two of them.
const PIECE_BYTES: usize = 32 * 1024;

/// Until a body is so large its ratio is not looked at: a page of zeros is no attack.
const RATIO_FROM_BYTES: u64 = 1024 * 1024;

/// Unpacks bodies of requests with `Content-Encoding: gzip`, `br` or `zstd` as the handler reads them. The field stays with the request.
///
/// A few bytes can stand for gigabytes. So a body that becomes larger than a bound (8 MiB), or, beyond the first megabyte, more than so many
/// times (100) as large as it was sent, ends with [`BodyError::TooLarge`], which is a 413. Another coding, or more than one, is refused with 415 and what would
/// be taken (RFC 9110 section 15.5.16). [`crate::Limits`] and [`crate::BodyLimit`] count what is sent.
///
/// ```
/// use ropewalk_web::{Decompression, Request, Router, Site};
/// let router = Router::new().post("/log", |request: Request| async move {
///     request.bytes().await.map(|bytes| format!("{} bytes", bytes.len()))
/// });
/// let site = Site::new(router).with(Decompression::new().bytes_max(1 << 20));
/// # drop(site);
/// ```
#[derive(Clone, Copy)]
pub struct Decompression {
    bytes_max: u64,
    ratio_max: u32,
}

impl Default for Decompression {
    fn default() -> Self {
        Decompression { bytes_max: 8 * 1024 * 1024, ratio_max: 100 }
    }
}

impl Decompression {
    /// Up to 8 MiB, and a ratio of 100.
    #[must_use]
    pub fn new() -> Decompression {
        Decompression::default()
    }

    /// The same up to so many unpacked bytes.
    #[must_use]
    pub fn bytes_max(self, bytes_max: u64) -> Decompression {
        Decompression { bytes_max, ..self }
    }

    /// The same up to so many unpacked bytes for one that was sent.
    #[must_use]
    pub fn ratio_max(self, ratio_max: u32) -> Decompression {
        Decompression { ratio_max, ..self }
    }
}

impl Middleware for Decompression {
    fn handle(&self, request: Request, next: &Next) -> Answer {
        let exchange = request.exchange();
        if matches!(exchange.head.framing(), Framing::None | Framing::Length(0)) {
            return next.handle(request);
        }
        let fields: Vec<&[u8]> = exchange.head.fields_named("Content-Encoding").collect();
        let unpacker = match fields.as_slice() {
            [] => return next.handle(request),
            [coding] if coding.trim_ascii().eq_ignore_ascii_case(b"identity") => return next.handle(request),
            [coding] => std::str::from_utf8(coding).ok().and_then(|coding| Coding::named(coding.trim())),
            _ => None,
        };
        match unpacker.map(Unpacker::new) {
            Some(Ok(unpacker)) => exchange.rare().decoder = Some(Box::new(Inflow::new(unpacker, *self))),
            Some(Err(error)) => return Answer::Now(Response::failure(error)),
            None => return Answer::Now(unknown()),
        }
        next.handle(request)
    }
}

fn unknown() -> Response {
    Response::error(415, "a body is taken plain, or in one of the codings that the answer names")
        .header("Accept-Encoding", "gzip, br, zstd")
        .close()
}

/// A body on its way to the handler that asks for it.
pub(crate) struct Inflow {
    unpacker: Unpacker,
    bounds: Decompression,
    /// Bytes that came, and that they became.
    packed: u64,
    unpacked: u64,
    /// Its last packed byte is here.
    ended: bool,
    /// Others get their turn before the next piece.
    breath: bool,
    failed: Option<BodyError>,
}

type Piece = Result<Option<Vec<u8>>, BodyError>;

impl Inflow {
    fn new(unpacker: Unpacker, bounds: Decompression) -> Inflow {
        Inflow { unpacker, bounds, packed: 0, unpacked: 0, ended: false, breath: false, failed: None }
    }

    /// The next unpacked piece; `raw` answers the next one as it was sent.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        mut raw: impl FnMut(&mut Context<'_>) -> Poll<Piece>,
    ) -> Poll<Piece> {
        if let Some(error) = &self.failed {
            return Poll::Ready(Err(error.clone()));
        }
        if std::mem::take(&mut self.breath) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = loop {
            let mut piece = vec![0; PIECE_BYTES];
            match self.unpacker.read(&mut piece) {
                Unpacked::Bytes(count) => {
                    piece.truncate(count);
                    break self.count(piece);
                }
                Unpacked::End => break Ok(None),
                Unpacked::Broken => break Err(BodyError::Malformed("the body is not packed as it says")),
                Unpacked::Hungry if self.ended => {
                    break Err(BodyError::Malformed("the body's packed data has no end"));
                }
                Unpacked::Hungry => match raw(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(Some(bytes))) => {
                        self.packed += bytes.len() as u64;
                        self.unpacker.give(bytes);
                    }
                    Poll::Ready(Ok(None)) => {
                        self.ended = true;
                        self.unpacker.end();
                    }
                    Poll::Ready(Err(error)) => break Err(error),
                },
            }
        };
        self.failed = piece.as_ref().err().cloned();
        Poll::Ready(piece)
    }

    fn count(&mut self, piece: Vec<u8>) -> Piece {
        self.unpacked += piece.len() as u64;
        self.breath = true;
        let by_ratio = self.packed.saturating_mul(u64::from(self.bounds.ratio_max)).max(RATIO_FROM_BYTES);
        if self.unpacked > self.bounds.bytes_max.min(by_ratio) {
            return Err(BodyError::TooLarge);
        }
        Ok(Some(piece))
    }
}
