//! A body that is packed while it is sent: a piece per turn of the loop, and a flush where its source pauses. `pack` has the codecs;
//! the connection pumps it like every other stream.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use ropewalk_reactor::Failure;

use super::Coding;
use super::pack::Packer;
use crate::response::{Body, ByteStream};

/// Bytes that are packed in one go. At tens of megabytes a second this is a millisecond of the loop.
pub(super) const PIECE_BYTES: usize = 32 * 1024;

/// A body on its way through a packer.
pub(super) struct Packing {
    /// None: it has come to its end.
    packer: Option<Packer>,
    input: Input,
    /// Where its bytes come from, when these are packed; nothing more where there is none.
    source: Option<Pin<Box<dyn ByteStream>>>,
    /// Something was taken in and not flushed.
    held: bool,
    /// Others get their turn before the next piece.
    breath: bool,
    /// It ends by itself.
    ends: bool,
}

/// Bytes that wait to be packed.
struct Input {
    bytes: Bytes,
    at: usize,
}

enum Bytes {
    Static(&'static [u8]),
    Own(Vec<u8>),
    Shared(Rc<[u8]>),
}

impl Input {
    fn rest(&self) -> &[u8] {
        let bytes = match &self.bytes {
            Bytes::Static(bytes) => bytes,
            Bytes::Own(bytes) => bytes.as_slice(),
            Bytes::Shared(bytes) => bytes,
        };
        &bytes[self.at..]
    }
}

impl Packing {
    /// The body packed: at once if it is small, else bit by bit. The body itself if it cannot be packed, or would not be smaller and
    /// need not be packed.
    pub(super) fn of(body: Body, coding: Coding, must: bool) -> Result<Body, Body> {
        let (bytes, source, ends) = match body {
            Body::Static(bytes) => (Bytes::Static(bytes), None, true),
            Body::Bytes(bytes) => (Bytes::Own(bytes), None, true),
            Body::Shared(bytes) => (Bytes::Shared(bytes), None, true),
            Body::Stream(stream, length) => {
                let ends = length.is_some() || stream.ends();
                (Bytes::Static(&[]), Some(stream), ends)
            }
            other => return Err(other),
        };
        let input = Input { bytes, at: 0 };
        if source.is_none() && input.rest().len() <= PIECE_BYTES {
            return match whole(input.rest(), coding) {
                Ok(packed) if must || packed.len() < input.rest().len() => Ok(Body::Bytes(packed)),
                _ => Err(input.into_body()),
            };
        }
        match Packer::new(coding) {
            Ok(packer) => {
                let packer = Some(packer);
                Ok(Body::Stream(
                    Box::pin(Packing { packer, input, source, held: false, breath: false, ends }),
                    None,
                ))
            }
            Err(_) => Err(match source {
                Some(source) => Body::Stream(source, None),
                None => input.into_body(),
            }),
        }
    }

    /// Takes in one piece of what waits. What comes out, if something does.
    fn pack_some(&mut self) -> io::Result<Vec<u8>> {
        let Some(packer) = &mut self.packer else { return Ok(Vec::new()) };
        let rest = self.input.rest();
        let piece = &rest[..rest.len().min(PIECE_BYTES)];
        packer.write(piece)?;
        self.input.at += piece.len();
        (self.held, self.breath) = (true, true);
        Ok(packer.take())
    }

    fn step(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Vec<u8>, Failure>>> {
        if std::mem::take(&mut self.breath) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if !self.input.rest().is_empty() {
            return Poll::Ready(Some(self.pack_some().map_err(Failure::new)));
        }
        let next = match &mut self.source {
            Some(source) => source.as_mut().poll_piece(context),
            None => Poll::Ready(None),
        };
        match next {
            Poll::Ready(Some(Ok(bytes))) => {
                self.input = Input { bytes: Bytes::Own(bytes), at: 0 };
                Poll::Ready(Some(Ok(Vec::new())))
            }
            Poll::Ready(Some(Err(failure))) => Poll::Ready(Some(Err(failure))),
            Poll::Ready(None) => {
                let packer = self.packer.take();
                Poll::Ready(packer.map(|packer| packer.finish().map_err(Failure::new)))
            }
            Poll::Pending if std::mem::take(&mut self.held) => {
                let Some(packer) = &mut self.packer else { return Poll::Pending };
                let flushed = packer.flush().map(|()| packer.take());
                Poll::Ready(Some(flushed.map_err(Failure::new)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl ByteStream for Packing {
    fn poll_piece(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Vec<u8>, Failure>>> {
        loop {
            match ready!(self.step(context)) {
                // Most of what is taken in comes out later.
                Some(Ok(piece)) if piece.is_empty() => {}
                other => return Poll::Ready(other),
            }
        }
    }

    fn ends(&self) -> bool {
        self.ends
    }
}

impl Input {
    fn into_body(self) -> Body {
        match self.bytes {
            Bytes::Static(bytes) => Body::Static(bytes),
            Bytes::Own(bytes) => Body::Bytes(bytes),
            Bytes::Shared(bytes) => Body::Shared(bytes),
        }
    }
}

fn whole(bytes: &[u8], coding: Coding) -> io::Result<Vec<u8>> {
    let mut packer = Packer::new(coding)?;
    packer.write(bytes)?;
    packer.finish()
}
