//! A UNIX stream socket that carries descriptors (`SCM_RIGHTS`, `man 7 unix`). A socket becomes one when it is first asked to send
//! or to accept any; all others read and write as before and know nothing of it.
//!
//! A descriptor goes with one byte. Which byte is counted here, so that whoever queues output need not know: `write` cuts what it is
//! given at those bytes, and goes on until the system takes no more, as everybody expects of it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

/// What Linux takes and gives with one byte (`SCM_MAX_FD`).
const MESSAGE_MAX: usize = 253;

/// A UNIX stream socket that carries descriptors.
pub struct Passing {
    pub(super) stream: mio::net::UnixStream,
    /// Bytes handed to the system since it carries descriptors.
    written: Cell<u64>,
    outgoing: RefCell<VecDeque<Outgoing>>,
    incoming: RefCell<VecDeque<OwnedFd>>,
    /// How many may wait to be taken.
    most: Cell<usize>,
    refused: Cell<u64>,
    /// An error that came behind bytes: told by the next read.
    error: Cell<Option<io::Error>>,
}

/// Descriptors that go with the byte at this place of the stream.
struct Outgoing {
    at: u64,
    fds: Vec<OwnedFd>,
}

impl fmt::Debug for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passing").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl Passing {
    pub(super) fn new(stream: mio::net::UnixStream) -> Passing {
        Passing {
            stream,
            written: Cell::new(0),
            outgoing: RefCell::default(),
            incoming: RefCell::default(),
            most: Cell::new(0),
            refused: Cell::new(0),
            error: Cell::new(None),
        }
    }

    /// What the driver watches.
    pub(crate) fn stream(&mut self) -> &mut mio::net::UnixStream {
        &mut self.stream
    }

    /// Sends a descriptor with the byte that comes after so many that still wait to be written.
    ///
    /// # Errors
    /// That byte carries as many as the system allows ([`io::ErrorKind::InvalidInput`]).
    pub fn queue(&self, fd: OwnedFd, behind: usize) -> io::Result<()> {
        let at = self.written.get() + behind as u64;
        let mut outgoing = self.outgoing.borrow_mut();
        match outgoing.back_mut() {
            Some(last) if last.at == at && last.fds.len() == MESSAGE_MAX => {
                let text =
                    format!("one byte carries {MESSAGE_MAX} descriptors: write something between them");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            Some(last) if last.at == at => last.fds.push(fd),
            _ => outgoing.push_back(Outgoing { at, fds: vec![fd] }),
        }
        Ok(())
    }

    /// How many received descriptors may wait to be taken; none at first. More are closed and counted.
    pub fn accept(&self, most: usize) {
        self.most.set(most);
    }

    /// Those that have come.
    #[must_use]
    pub fn take(&self) -> Vec<OwnedFd> {
        self.incoming.borrow_mut().drain(..).collect()
    }

    /// How many were closed because too many waited. What the system itself could not hand over counts as one per message.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.get()
    }

    /// Reads until nothing is left, or no room: the system ends each of its own reads behind a byte with descriptors, and the caller
    /// takes a short read for a drained socket.
    pub(super) fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let mut filled = 0;
        while filled < into.len() {
            match self.receive(&mut into[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                Err(error) if filled == 0 => return Err(error.into()),
                Err(Errno::AGAIN) => break,
                Err(error) => {
                    self.error.set(Some(error.into()));
                    break;
                }
            }
        }
        Ok(filled)
    }

    fn receive(&self, into: &mut [u8]) -> Result<usize, Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MESSAGE_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut pieces = [IoSliceMut::new(into)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let message = rustix::net::recvmsg(&self.stream, &mut pieces, &mut control, flags)?;
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = part {
                fds.for_each(|fd| self.keep(fd));
            }
        }
        if message.flags.contains(ReturnFlags::CTRUNC) {
            // No descriptor was left in this process for some of them.
            self.refused.set(self.refused.get() + 1);
        }
        Ok(message.bytes)
    }

    fn keep(&self, fd: OwnedFd) {
        let mut incoming = self.incoming.borrow_mut();
        if incoming.len() < self.most.get() {
            incoming.push_back(fd);
        } else {
            self.refused.set(self.refused.get() + 1);
        }
    }

    pub(super) fn write(&self, from: &[u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < from.len() {
            match self.send(&from[done..]) {
                Ok(count) => {
                    done += count;
                    self.written.set(self.written.get() + count as u64);
                }
                // The next write is told the same again.
                Err(_) if done > 0 => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(done)
    }

    pub(super) fn write_vectored(&self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.outgoing.borrow().is_empty() {
            let count = (&self.stream).write_vectored(from)?;
            self.written.set(self.written.get() + count as u64);
            return Ok(count);
        }
        let mut total = 0;
        for slice in from {
            match self.write(slice) {
                Ok(count) => {
                    total += count;
                    if count < slice.len() {
                        break;
                    }
                }
                Err(_) if total > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }

    /// One call of the system: up to the next byte that carries descriptors, or from it on.
    fn send(&self, from: &[u8]) -> Result<usize, Errno> {
        let mut outgoing = self.outgoing.borrow_mut();
        let written = self.written.get();
        let until = |next: Option<&Outgoing>| {
            let room = next.map_or(u64::MAX, |next| next.at - written);
            usize::try_from(room).map_or(from.len(), |room| room.min(from.len()))
        };
        let Some(first) = outgoing.front().filter(|first| first.at == written) else {
            return rustix::net::send(&self.stream, &from[..until(outgoing.front())], SendFlags::NOSIGNAL);
        };
        let fds: Vec<_> = first.fds.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MESSAGE_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fits = control.push(SendAncillaryMessage::ScmRights(&fds));
        debug_assert!(fits, "no more are queued for one byte than there is space for");
        let pieces = [IoSlice::new(&from[..until(outgoing.get(1))])];
        let count = rustix::net::sendmsg(&self.stream, &pieces, &mut control, SendFlags::NOSIGNAL)?;
        // They are the system's now, with the first of these bytes.
        outgoing.pop_front();
        Ok(count)
    }
}

/// Reads from a UNIX socket that wants no descriptors. The system closes those that come, and ends its read behind their byte all the
/// same: then there may be more, of which no further edge tells.
pub(super) fn receive(socket: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    loop {
        let mut control = RecvAncillaryBuffer::default();
        let mut pieces = [IoSliceMut::new(&mut into[filled..])];
        match rustix::net::recvmsg(socket, &mut pieces, &mut control, RecvFlags::empty()) {
            Ok(message) => {
                filled += message.bytes;
                let is_cut = message.flags.contains(ReturnFlags::CTRUNC) && message.bytes > 0;
                if !is_cut || filled == into.len() {
                    return Ok(filled);
                }
            }
            Err(Errno::INTR) if filled > 0 => {}
            // Nothing more, or a broken connection, of which an event of its own makes the next read tell the end.
            Err(_) if filled > 0 => return Ok(filled),
            Err(error) => return Err(error.into()),
        }
    }
}
