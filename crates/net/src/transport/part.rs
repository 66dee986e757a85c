//! A part of a file among what waits to be sent. Where the system can, it copies from its memory to the socket (sendfile), and
//! this holds an open file and nothing else; elsewhere it holds one piece at a time. The `Outbox` owns it and sends it; the
//! connection's `fetch` gets for it what must come from the disk. It never waits for the disk itself.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use ropewalk_reactor::io::Socket;
use ropewalk_reactor::{Failure, Firing};
use rustix::fs::{FsWord, fstatfs, sendfile};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};

use crate::protocol::Lost;

/// Bytes of files that one connection sends in one turn: as much as it may read.
pub(super) const BYTES_PER_TURN: u64 = 256 * 1024;
/// What one send counts for at the least, so that a thousand small files are not sent in one turn either.
pub(super) const STEP_BYTES_MIN: u64 = 4 * 1024;
/// How far ahead the system's memory is looked at, and filled, before it is sent from.
const WINDOW_BYTES: u64 = BYTES_PER_TURN;
/// What is read at once where the system cannot copy by itself.
const PIECE_BYTES: u64 = 64 * 1024;

/// What is made of each piece of a file before it is sent.
pub(crate) type Transform = Box<dyn FnMut(Vec<u8>) -> Vec<u8>>;

/// A part of an open file that is to be sent. Dropping it closes the file.
pub(crate) struct FilePart {
    file: Arc<OwnedFd>,
    /// Where the next byte is, and how many from there on.
    at: u64,
    left: u64,
    /// How many there were.
    promised: u64,
    /// How long the file was.
    size: u64,
    /// Up to here the file was in the system's memory when it was last looked at.
    warm_until: u64,
    way: Way,
    told: Option<Firing<u64>>,
}

/// How bytes get from the file to the socket.
enum Way {
    /// The system copies them.
    System,
    /// They are read into `piece`, and written.
    Pieces { piece: Vec<u8>, sent: usize, transform: Option<Transform> },
}

impl Way {
    fn pieces(transform: Option<Transform>) -> Way {
        Way::Pieces { piece: Vec::new(), sent: 0, transform }
    }
}

/// What one attempt to send some of it came to.
#[derive(Debug)]
pub(super) enum Step {
    Sent(u64),
    /// The socket takes no more for now.
    Blocked,
    /// Enough for this turn.
    Enough,
    /// The next bytes must come from the disk first.
    Hungry,
    /// The socket's error.
    Failed(io::Error),
    /// The file's.
    Unreadable(io::Error),
}

/// Something to get from the disk, for a thread that may wait.
#[derive(Clone)]
pub(super) struct Errand {
    file: Arc<OwnedFd>,
    at: u64,
    pub(super) length: u64,
    /// The bytes are wanted, and not only in the system's memory.
    pub(super) wanted: bool,
}

/// The file is not as long as it was.
fn shrunk() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it has become shorter than it was")
}

impl FilePart {
    pub(crate) fn new(
        file: Arc<OwnedFd>,
        size: u64,
        offset: u64,
        length: u64,
        transform: Option<Transform>,
        told: Option<Firing<u64>>,
    ) -> FilePart {
        let way = if transform.is_some() { Way::pieces(transform) } else { Way::System };
        FilePart { file, at: offset, left: length, promised: length, size, warm_until: offset, way, told }
    }

    /// Why it cannot be sent at all: bytes are promised that the file never had.
    pub(super) fn lacks(&self) -> Option<io::Error> {
        let has = self.at.checked_add(self.left).is_some_and(|end| end <= self.size);
        (!has).then(|| io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than was promised"))
    }

    /// Bytes that wait, as far as is known: a transform may make others of them.
    pub(super) fn len(&self) -> u64 {
        match &self.way {
            Way::System => self.left,
            Way::Pieces { piece, sent, .. } => self.left + (piece.len() - sent) as u64,
        }
    }

    /// Those that are not in memory.
    pub(super) fn in_file(&self) -> u64 {
        self.left
    }

    /// Everything was sent: whoever waits for it is told.
    pub(crate) fn finish(&mut self) {
        if let Some(told) = self.told.take() {
            // It fails only when nobody waits any more.
            let _ = told.callback(self.promised);
        }
    }

    /// It will never be sent.
    pub(crate) fn fail(&mut self, lost: &Lost) {
        if let Some(told) = self.told.take() {
            let _ = told.errback(Failure::new(lost.clone()));
        }
    }

    /// Sends some, of `allowance` at the most.
    pub(super) fn send(&mut self, socket: &Socket, allowance: u64) -> Step {
        if matches!(self.way, Way::System) {
            if let Some(step) = self.send_by_system(socket, allowance) {
                return step;
            }
            self.way = Way::pieces(None);
        }
        let Way::Pieces { piece, sent, .. } = &mut self.way else { return Step::Hungry };
        if piece.is_empty() {
            return Step::Hungry;
        }
        match socket.write(&piece[*sent..]) {
            Ok(count) => {
                *sent += count;
                if *sent == piece.len() {
                    (*piece, *sent) = (Vec::new(), 0);
                }
                Step::Sent(count as u64)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Step::Blocked,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Step::Sent(0),
            Err(error) => Step::Failed(error),
        }
    }

    /// `None` if the system cannot do it: for a simulated socket, or with this file.
    fn send_by_system(&mut self, socket: &Socket, allowance: u64) -> Option<Step> {
        let descriptor = socket.descriptor()?;
        if allowance == 0 {
            return Some(Step::Enough);
        }
        if self.at >= self.warm_until {
            if !self.is_warm() {
                return Some(Step::Hungry);
            }
            self.warm_until = self.at + self.window();
        }
        let most = self.left.min(allowance).min(self.warm_until - self.at);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Some(match sendfile(descriptor, self.file.as_fd(), Some(&mut self.at), most) {
            Ok(0) => Step::Unreadable(shrunk()),
            Ok(count) => {
                self.left -= count as u64;
                Step::Sent(count as u64)
            }
            Err(Errno::AGAIN) => Step::Blocked,
            Err(Errno::INTR) => Step::Sent(0),
            // A file system that gives its pages to nobody.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => return None,
            Err(errno @ (Errno::IO | Errno::STALE | Errno::OVERFLOW | Errno::ISDIR)) => {
                Step::Unreadable(errno.into())
            }
            Err(errno) => Step::Failed(errno.into()),
        })
    }

    fn window(&self) -> u64 {
        self.left.min(WINDOW_BYTES)
    }

    /// Whether the system has the next bytes in memory. Only the first and the last are looked at: it reads and forgets
    /// files in stretches.
    fn is_warm(&self) -> bool {
        let mut byte = [0];
        [self.at, self.at + self.window() - 1].into_iter().all(|at| {
            match preadv2(&self.file, &mut [IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT) {
                Ok(_) => true,
                Err(Errno::OPNOTSUPP) => is_in_memory(&self.file),
                Err(_) => false,
            }
        })
    }

    /// What is wanted of the disk next.
    pub(super) fn errand(&self) -> Errand {
        let wanted = matches!(self.way, Way::Pieces { .. });
        let length = if wanted { self.left.min(PIECE_BYTES) } else { self.window() };
        Errand { file: Arc::clone(&self.file), at: self.at, length, wanted }
    }

    /// Whether the errand is still what is wanted next.
    pub(super) fn awaits(&self, errand: &Errand) -> bool {
        Arc::ptr_eq(&self.file, &errand.file) && self.at == errand.at
    }

    /// Lends the transform out, so that nothing of the connection is held while it runs.
    pub(super) fn take_transform(&mut self) -> Option<Transform> {
        match &mut self.way {
            Way::System => None,
            Way::Pieces { transform, .. } => transform.take(),
        }
    }

    /// An errand of `length` bytes is done; what was wanted is `bytes`.
    pub(super) fn feed(&mut self, length: u64, bytes: Vec<u8>, lent: Option<Transform>) {
        match &mut self.way {
            Way::System => self.warm_until = self.at + length,
            Way::Pieces { piece, sent, transform } => {
                (*piece, *sent, *transform) = (bytes, 0, lent);
                self.at += length;
                self.left -= length;
            }
        }
    }
}

/// Whether the file is of a file system that has no disk: that does not say what is in memory, since all is.
fn is_in_memory(file: &OwnedFd) -> bool {
    /// `linux/magic.h`.
    const TMPFS: FsWord = 0x0102_1994;
    fstatfs(file).is_ok_and(|system| system.f_type == TMPFS)
}

impl Errand {
    /// Reads without waiting; `None` if that cannot be done.
    pub(super) fn try_run(&self) -> Option<io::Result<Vec<u8>>> {
        let nowait = |into: &mut [u8], at| {
            preadv2(&self.file, &mut [IoSliceMut::new(into)], at, ReadWriteFlags::NOWAIT)
        };
        match self.read(nowait) {
            // Not in memory, or a file system that cannot promise not to wait.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => None,
            Err(errno) => Some(Err(errno.into())),
            Ok(None) => Some(Err(shrunk())),
            Ok(Some(bytes)) => Some(Ok(bytes)),
        }
    }

    /// Reads, and waits for as long as it takes. Bytes that are not wanted are read all the same, and dropped: that is what
    /// brings them into the system's memory.
    pub(super) fn run(&self) -> io::Result<Vec<u8>> {
        if self.wanted {
            return self.read(|into, at| pread(&self.file, into, at))?.ok_or_else(shrunk);
        }
        let mut rest = self.clone();
        while rest.length > 0 {
            let part = Errand { length: rest.length.min(PIECE_BYTES), ..rest.clone() };
            if part.read(|into, at| pread(&self.file, into, at))?.is_none() {
                break;
            }
            rest.at += part.length;
            rest.length -= part.length;
        }
        Ok(Vec::new())
    }

    /// All of it, or `None` if the file ends before.
    fn read(
        &self,
        mut read: impl FnMut(&mut [u8], u64) -> Result<usize, Errno>,
    ) -> Result<Option<Vec<u8>>, Errno> {
        let mut bytes = vec![0; usize::try_from(self.length).unwrap_or(usize::MAX)];
        let mut filled = 0;
        while filled < bytes.len() {
            match read(&mut bytes[filled..], self.at + filled as u64) {
                Ok(0) => return Ok(None),
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(Some(bytes))
    }
}
