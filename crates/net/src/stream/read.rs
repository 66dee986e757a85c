//! The reads of a stream. Each looks into the buffer first, then reads from the socket until it is satisfied or the socket
//! is drained, and waits only then: readiness is told once.

use std::task::{Context, Poll, ready};

use memchr::memmem;
use regex::bytes::Regex;

use super::attached::{Filled, Shared};
use super::{Stream, StreamError};
use crate::protocol::Lost;
use crate::transport::READS_PER_TURN;

impl Stream {
    /// Reads up to and including `delimiter`. Linear however the bytes arrive.
    ///
    /// # Errors
    /// [`StreamError::Unsatisfiable`] if the result would be longer than `max_bytes`: the connection is closed then.
    /// [`StreamError::Closed`] if the stream ends before; what was received can still be read otherwise.
    pub async fn read_until(&mut self, delimiter: &[u8], max_bytes: usize) -> Result<Vec<u8>, StreamError> {
        let finder = memmem::Finder::new(delimiter);
        // A delimiter may begin in the last bytes that were searched.
        let overlap = delimiter.len().saturating_sub(1);
        let mut searched = 0;
        let find = move |bytes: &[u8]| {
            let found = finder.find(&bytes[searched..]).map(|at| searched + at + delimiter.len());
            searched = bytes.len().saturating_sub(overlap).max(searched);
            found
        };
        self.read_matching(max_bytes, find).await
    }

    /// Reads up to and including the first match of `regex`. What has arrived is searched from its beginning at each
    /// arrival, and a match is taken as soon as there is one: `[0-9]+` matches the first digit that arrives, so let a
    /// pattern end in what ends the message.
    ///
    /// # Errors
    /// As [`Stream::read_until`].
    pub async fn read_until_regex(
        &mut self,
        regex: &Regex,
        max_bytes: usize,
    ) -> Result<Vec<u8>, StreamError> {
        self.read_matching(max_bytes, |bytes| regex.find(bytes).map(|found| found.end())).await
    }

    /// Reads exactly `count` bytes.
    ///
    /// # Errors
    /// [`StreamError::BufferFull`] at once if that is more than the buffer may hold; [`StreamError::Closed`] if the
    /// stream ends before; what was received can still be read otherwise.
    pub async fn read_bytes(&mut self, count: usize) -> Result<Vec<u8>, StreamError> {
        let max_bytes = self.limits.read_bytes_max;
        if count > max_bytes {
            return Err(StreamError::BufferFull { max_bytes });
        }
        self.read_matching(usize::MAX, |bytes| (bytes.len() >= count).then_some(count)).await
    }

    /// Reads what is there, at least one byte.
    ///
    /// # Errors
    /// [`StreamError::Closed`] when nothing more will come.
    pub async fn read_some(&mut self) -> Result<Vec<u8>, StreamError> {
        self.read_bytes_partial(usize::MAX).await
    }

    /// Reads what is there, at least one byte and at most `most`.
    ///
    /// # Errors
    /// [`StreamError::Closed`] when nothing more will come.
    pub async fn read_bytes_partial(&mut self, most: usize) -> Result<Vec<u8>, StreamError> {
        let some = |bytes: &[u8]| (most == 0 || !bytes.is_empty()).then_some(bytes.len().min(most));
        self.read_matching(usize::MAX, some).await
    }

    /// Fills `into`, without a detour through the stream's buffer, and so without its limit.
    ///
    /// # Errors
    /// [`StreamError::Closed`] if the stream ends before; what was received can still be read otherwise.
    pub async fn read_into(&mut self, into: &mut [u8]) -> Result<(), StreamError> {
        let _reading = Reading(&self.shared);
        let mut filling = Filling { shared: &self.shared, into, filled: 0 };
        std::future::poll_fn(|context| filling.poll(context)).await?;
        filling.filled = 0;
        Ok(())
    }

    /// Reads what is there into `into`; answers how much that was, at least one byte unless `into` is empty.
    ///
    /// # Errors
    /// [`StreamError::Closed`] when nothing more will come.
    pub async fn read_into_partial(&mut self, into: &mut [u8]) -> Result<usize, StreamError> {
        let _reading = Reading(&self.shared);
        std::future::poll_fn(|context| {
            let count = self.shared.buffer.borrow_mut().copy_to(into);
            if count > 0 || into.is_empty() {
                return Poll::Ready(Ok(count));
            }
            self.shared.poll_read(context, into)
        })
        .await
    }

    /// Reads until the peer ends its direction.
    ///
    /// # Errors
    /// [`StreamError::Unsatisfiable`] if that is more than `max_bytes`, [`StreamError::BufferFull`] if it is more than
    /// the buffer may hold: the connection is closed then. [`StreamError::Closed`] if the connection breaks, which is no
    /// end one could trust.
    pub async fn read_until_close(&mut self, max_bytes: usize) -> Result<Vec<u8>, StreamError> {
        let limit = self.limits.read_bytes_max;
        // One more than may be, to tell what is full from what is too much.
        let len_max = max_bytes.min(limit).saturating_add(1);
        let _reading = Reading(&self.shared);
        std::future::poll_fn(|context| {
            loop {
                let len = self.buffered();
                if len > max_bytes {
                    return Poll::Ready(Err(self.fail(StreamError::Unsatisfiable { max_bytes })));
                }
                if len > limit {
                    return Poll::Ready(Err(self.fail(StreamError::BufferFull { max_bytes: limit })));
                }
                match ready!(self.shared.poll_fill(context, len_max)) {
                    Ok(()) => {}
                    Err(StreamError::Closed(Lost::Ended)) => {
                        return Poll::Ready(Ok(self.shared.buffer.borrow_mut().take(len)));
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        })
        .await
    }

    /// Reads until `find` says how many bytes make the result.
    async fn read_matching(
        &mut self,
        max_bytes: usize,
        mut find: impl FnMut(&[u8]) -> Option<usize>,
    ) -> Result<Vec<u8>, StreamError> {
        let limit = self.limits.read_bytes_max;
        let _reading = Reading(&self.shared);
        std::future::poll_fn(|context| {
            loop {
                let (found, len) = {
                    let buffer = self.shared.buffer.borrow();
                    (find(buffer.bytes()), buffer.len())
                };
                match found {
                    Some(end) if end <= max_bytes => {
                        return Poll::Ready(Ok(self.shared.buffer.borrow_mut().take(end)));
                    }
                    None if len < max_bytes => {}
                    _ => return Poll::Ready(Err(self.fail(StreamError::Unsatisfiable { max_bytes }))),
                }
                if len >= limit {
                    return Poll::Ready(Err(self.fail(StreamError::BufferFull { max_bytes: limit })));
                }
                if let Err(error) = ready!(self.shared.poll_fill(context, limit)) {
                    return Poll::Ready(Err(error));
                }
            }
        })
        .await
    }

    /// The peer sends what nobody can use: what was received is dropped, what was written still goes out.
    fn fail(&self, error: StreamError) -> StreamError {
        drop(self.shared.buffer.take());
        self.shared.transport.lose_connection_lingering();
        error
    }
}

/// A read under way. When it ends, done or dropped, the reader goes away, perhaps before it has seen an end that was told
/// to it: then the close callback is to hear of it.
struct Reading<'a>(&'a Shared);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.remove_reader();
        self.0.watch_later();
    }
}

impl Shared {
    fn poll_fill(&self, context: &mut Context<'_>, len_max: usize) -> Poll<Result<(), StreamError>> {
        if self.is_drained() {
            return self.wait(context);
        }
        ready!(self.poll_budget(context));
        match self.fill(len_max) {
            Ok(Filled::Some) => Poll::Ready(Ok(())),
            Ok(Filled::Nothing) => self.wait(context),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_read(&self, context: &mut Context<'_>, into: &mut [u8]) -> Poll<Result<usize, StreamError>> {
        if self.is_drained() {
            return self.wait(context);
        }
        ready!(self.poll_budget(context));
        match self.read(into) {
            Ok(Some(count)) => Poll::Ready(Ok(count)),
            Ok(None) => self.wait(context),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Whether reading could give nothing now, and no error either.
    fn is_drained(&self) -> bool {
        self.transport.is_drained() && !self.is_lost()
    }

    fn poll_budget(&self, context: &mut Context<'_>) -> Poll<()> {
        let reads = self.reads.get();
        if reads < READS_PER_TURN {
            self.reads.set(reads + 1);
            return Poll::Ready(());
        }
        self.reads.set(0);
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn wait<T>(&self, context: &mut Context<'_>) -> Poll<T> {
        self.reads.set(0);
        self.set_reader(context.waker());
        Poll::Pending
    }
}

/// A `read_into` under way. What it has when it ends too early goes back to where reads begin.
struct Filling<'a> {
    shared: &'a Shared,
    into: &'a mut [u8],
    filled: usize,
}

impl Filling<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        self.filled += self.shared.buffer.borrow_mut().copy_to(&mut self.into[self.filled..]);
        while self.filled < self.into.len() {
            match ready!(self.shared.poll_read(context, &mut self.into[self.filled..])) {
                Ok(count) => self.filled += count,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        if self.filled > 0 {
            self.shared.buffer.borrow_mut().put_back(&self.into[..self.filled]);
        }
    }
}
