//! The writes of a stream: bytes are queued with the transport when the method is called, and what is awaited is room.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::{Stream, StreamError};
use crate::protocol::Lost;

/// What [`Stream::write`] gives. Dropping it takes nothing back.
pub struct Write<'a> {
    stream: &'a Stream,
    refused: Option<StreamError>,
}

/// What [`Stream::flush`] gives.
#[must_use = "nothing waits unless it is awaited"]
pub struct Flush<'a> {
    stream: &'a Stream,
}

impl Stream {
    /// Queues bytes to be sent, at once and in order; awaiting it waits until no more than the high water mark waits to be
    /// sent. A program that does not await has the transport buffer for it, up to the limit.
    ///
    /// # Errors
    /// [`StreamError::Closed`] if the connection is gone or closing, [`StreamError::BufferFull`] if more waits than
    /// [`StreamLimits`](super::StreamLimits) allows: then nothing of `data` is queued.
    pub fn write(&self, data: &[u8]) -> Write<'_> {
        let transport = &self.shared.transport;
        let max_bytes = self.limits.write_bytes_max;
        let refused = if self.is_closed() {
            Some(StreamError::Closed(self.shared.lost().unwrap_or(Lost::Closed)))
        } else if transport.buffered().saturating_add(data.len()) > max_bytes {
            Some(StreamError::BufferFull { max_bytes })
        } else {
            transport.write(data);
            None
        };
        Write { stream: self, refused }
    }

    /// Waits until everything written is handed to the system.
    ///
    /// # Errors
    /// [`StreamError::Closed`] if the connection is lost before.
    pub fn flush(&self) -> Flush<'_> {
        Flush { stream: self }
    }
}

impl Future for Write<'_> {
    type Output = Result<(), StreamError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(error) = &self.refused {
            return Poll::Ready(Err(error.clone()));
        }
        let shared = &self.stream.shared;
        shared.transport.send_early();
        ready!(shared.transport.poll_writable(context));
        Poll::Ready(shared.lost().map_or(Ok(()), |lost| Err(StreamError::Closed(lost))))
    }
}

impl Future for Flush<'_> {
    type Output = Result<(), StreamError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let shared = &self.stream.shared;
        ready!(shared.transport.poll_drained(context));
        match shared.lost() {
            // `Closed` says that everything was sent.
            None | Some(Lost::Closed) => Poll::Ready(Ok(())),
            Some(lost) => Poll::Ready(Err(StreamError::Closed(lost))),
        }
    }
}
