//! The bytes of an answer: which parts of which file, with which text between them, and how they are read without holding up
//! the loop. What is small, or of several parts, is read: at once if the kernel has it in memory (RWF_NOWAIT), else in the thread
//! pool. One large part is given to the transport, which knows how to send files.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ropewalk_net::FileSender;
use ropewalk_reactor::{Deferred, Failure, Reactor};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};

use super::root::Pace;
use crate::response::ByteStream;

/// What is read at once, and answered at once when it is all. As large as the transport's high water: a reader that is
/// behind holds two of these at the most.
pub(super) const PIECE_BYTES: u64 = 64 * 1024;

/// A stretch of the file with a text in front of it; either may be empty.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) text: Vec<u8>,
    pub(super) start: u64,
    pub(super) length: u64,
}

/// An open file and what of it is to be sent. Dropping it closes the file.
#[derive(Debug)]
pub(super) struct Content {
    file: OwnedFd,
    parts: VecDeque<Part>,
    length: u64,
}

/// Why bytes did not come.
#[derive(Debug)]
pub(super) enum Unread {
    /// They are not in memory: ask the pool.
    Cold,
    /// The file has become shorter than it was.
    Shrunk,
    /// The system's reason.
    Failed(io::Error),
}

/// What a read comes to.
type Outcome = Result<Vec<u8>, Unread>;

impl From<Errno> for Unread {
    fn from(errno: Errno) -> Unread {
        Unread::Failed(errno.into())
    }
}

impl Content {
    pub(super) fn new(file: OwnedFd, parts: impl Into<VecDeque<Part>>) -> Content {
        let parts = parts.into();
        let length = parts.iter().map(|part| part.length + part.text.len() as u64).sum();
        Content { file, parts, length }
    }

    /// How many bytes it comes to, texts included.
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// All of it at once; for what is small.
    pub(super) fn read(&self, pace: Pace) -> Result<Vec<u8>, Unread> {
        let mut whole = Vec::new();
        for part in &self.parts {
            if whole.is_empty() && part.text.is_empty() {
                whole = read(&self.file, part.start, part.length, pace)?;
            } else {
                whole.extend_from_slice(&part.text);
                whole.append(&mut read(&self.file, part.start, part.length, pace)?);
            }
        }
        Ok(whole)
    }

    /// Whether it is a stretch of the file and nothing else.
    pub(super) fn is_one_part(&self) -> bool {
        self.parts.len() == 1 && self.parts.iter().all(|part| part.text.is_empty())
    }

    /// The same stretch for the transport to send by itself; only for [one part](Content::is_one_part).
    pub(super) fn into_sender(mut self) -> Result<FileSender, Unread> {
        let part = self.parts.pop_front().unwrap_or_default();
        let file = FileSender::new(self.file).map_err(Unread::Failed)?;
        if part.start + part.length > file.len() {
            return Err(Unread::Shrunk);
        }
        Ok(file.with_part(part.start, part.length))
    }

    /// All of it, piece by piece.
    pub(super) fn stream(self, reactor: &Reactor, cached: bool) -> Pieces {
        Pieces {
            file: Arc::new(self.file),
            parts: self.parts,
            reactor: reactor.clone(),
            cached,
            reading: None,
        }
    }
}

/// Exactly so many bytes of a file.
fn read(file: &OwnedFd, start: u64, length: u64, pace: Pace) -> Result<Vec<u8>, Unread> {
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| Unread::Shrunk)?];
    let mut filled = 0;
    while filled < bytes.len() {
        let at = start + filled as u64;
        let outcome = match pace {
            Pace::Whole => pread(file, &mut bytes[filled..], at),
            Pace::Cached => {
                preadv2(file, &mut [IoSliceMut::new(&mut bytes[filled..])], at, ReadWriteFlags::NOWAIT)
            }
        };
        match outcome {
            Ok(0) => return Err(Unread::Shrunk),
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            // A file system, or a kernel, that cannot promise not to wait.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) if pace == Pace::Cached => {
                return Err(Unread::Cold);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(bytes)
}

/// A body that is read as its reader takes it, at most one piece ahead.
pub(super) struct Pieces {
    file: Arc<OwnedFd>,
    parts: VecDeque<Part>,
    reactor: Reactor,
    /// Whether to try first what needs no thread.
    cached: bool,
    reading: Option<Pin<Box<Deferred<Outcome>>>>,
}

impl Pieces {
    /// What a read came to. A file that has shrunk ends the body early, for which the connection is broken off: the client
    /// was told another length.
    fn piece(outcome: Outcome) -> Option<Result<Vec<u8>, Failure>> {
        match outcome {
            Ok(bytes) => Some(Ok(bytes)),
            Err(Unread::Shrunk | Unread::Cold) => None,
            Err(Unread::Failed(error)) => Some(Err(Failure::new(error))),
        }
    }
}

impl ByteStream for Pieces {
    fn poll_piece(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Vec<u8>, Failure>>> {
        let this = self.get_mut();
        loop {
            if let Some(reading) = &mut this.reading {
                let outcome = ready!(reading.as_mut().poll(context));
                this.reading = None;
                return Poll::Ready(outcome.map_or_else(|failure| Some(Err(failure)), Pieces::piece));
            }
            let Some(part) = this.parts.front_mut() else { return Poll::Ready(None) };
            if !part.text.is_empty() {
                return Poll::Ready(Some(Ok(std::mem::take(&mut part.text))));
            }
            if part.length == 0 {
                this.parts.pop_front();
                continue;
            }
            let (start, length) = (part.start, part.length.min(PIECE_BYTES));
            part.start += length;
            part.length -= length;
            if this.cached {
                match read(&this.file, start, length, Pace::Cached) {
                    Err(Unread::Cold) => {}
                    outcome => return Poll::Ready(Pieces::piece(outcome)),
                }
            }
            let file = Arc::clone(&this.file);
            let job = move || read(&file, start, length, Pace::Whole);
            this.reading = Some(Box::pin(this.reactor.defer_to_thread(job)));
        }
    }
}
