//! `Pipe` and `Intake`: bytes on their way from a connection to a file, in the system's memory all the while; the counterpart of
//! `FileSender`. The loop learns that something has come, and moves it into a pipe, which never waits. A thread writes it into the file,
//! which may; and as long as the sender is fast it fills the pipe again by itself, since a hop between two threads costs more than the
//! bytes that come meanwhile.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice};

use crate::transport::Transport;

/// What one holds, if the system grants it.
const BYTES: usize = 256 * 1024;
/// With less, as the system grants it to a user who has many, it is not worth its descriptors.
const BYTES_MIN: usize = 64 * 1024;
/// What is copied at once where the system cannot move.
const PIECE_BYTES: usize = 64 * 1024;
/// A sender is fast if so much is there each time one looks.
pub(crate) const FAST_BYTES: usize = 64 * 1024;
/// How long what a fast sender sends is left to gather: so it comes in large pieces, however small those are that it was sent in.
const GATHERING: Duration = Duration::from_micros(100);
/// How much of one sender a thread takes before others have it.
const STRETCH_BYTES: u64 = 8 * 1024 * 1024;

/// A pipe that one connection fills and one file is written from.
///
/// ```
/// use std::io::{Read, Write};
/// use ropewalk_net::Pipe;
///
/// let pipe = Pipe::new()?;
/// (&pipe).write_all(b"and so on")?;
/// let mut text = [0; 9];
/// (&pipe).read_exact(&mut text)?;
/// assert_eq!(&text, b"and so on");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Pipe {
    front: OwnedFd,
    back: OwnedFd,
}

impl Pipe {
    /// An empty pipe: two descriptors, and room for 64 to 256 KiB, as much as the system gives this user.
    ///
    /// # Errors
    /// There are no descriptors left, or the user's pipes have all the memory that they may have (`man 7 pipe`).
    pub fn new() -> io::Result<Pipe> {
        let (front, back) = pipe_with(PipeFlags::CLOEXEC)?;
        if fcntl_setpipe_size(&back, BYTES).is_err() && fcntl_getpipe_size(&back)? < BYTES_MIN {
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, "this user has too many pipes"));
        }
        Ok(Pipe { front, back })
    }

    /// Moves what the socket has, as far as there is room in an empty pipe; `WouldBlock` if it has nothing.
    pub(crate) fn fill(&self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        splice(socket, None, &self.back, None, BYTES, flags).map_err(|errno| match errno {
            // A socket that does not give its bytes so.
            Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP => io::ErrorKind::Unsupported.into(),
            errno => errno.into(),
        })
    }

    /// Writes the next `count` bytes into a file: from `at` on, which is moved on, or where the file stands, as `write` does. It waits for
    /// the disk, and, if fewer are in it, for the rest: call it on a thread's time.
    ///
    /// # Errors
    /// The file's. What is left in the pipe is not known then.
    pub fn move_to(&self, file: impl AsFd, mut at: Option<&mut u64>, count: usize) -> io::Result<()> {
        let file = file.as_fd();
        let mut left = count;
        while left > 0 {
            match splice(&self.front, None, file, at.as_deref_mut(), left, SpliceFlags::MOVE) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(moved) => left -= moved,
                Err(Errno::INTR) => {}
                // One that is opened to be appended to, or whose file system takes nothing so.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => return self.copy_to(file, at, left),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn copy_to(&self, file: BorrowedFd<'_>, at: Option<&mut u64>, mut left: usize) -> io::Result<()> {
        let file = File::from(file.try_clone_to_owned()?);
        let mut piece = vec![0; left.min(PIECE_BYTES)];
        let mut at = at;
        while left > 0 {
            let count = left.min(piece.len());
            (&mut &*self).read_exact(&mut piece[..count])?;
            match &mut at {
                Some(at) => {
                    file.write_all_at(&piece[..count], **at)?;
                    **at += count as u64;
                }
                None => (&file).write_all(&piece[..count])?,
            }
            left -= count;
        }
        Ok(())
    }
}

/// Takes bytes out; it waits for them.
impl Read for &Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.front, into)?)
    }
}

/// Puts bytes in; it waits for room.
impl Write for &Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.back, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection's way into a file. Made by [`Transport::intake`], filled on the loop, emptied on a thread.
#[derive(Debug)]
pub struct Intake {
    socket: OwnedFd,
    pipe: Pipe,
}

/// What a thread has taken of a connection by itself, to be told to its transport by [`Stretch::settle`].
#[derive(Debug)]
#[must_use = "the transport must be told"]
pub struct Stretch {
    bytes: u64,
    broken: Option<io::Error>,
}

impl Intake {
    /// Moves what has come over the connection that it was made for into its pipe, which must be empty, and answers how many bytes that
    /// were. 0 is the peer's end.
    ///
    /// # Errors
    /// As [`Transport::read`]; `Unsupported` where a layer has come meanwhile.
    pub fn fill(&self, transport: &Transport) -> io::Result<usize> {
        transport.0.fill(&self.pipe)
    }

    /// Has `write` write what is in the pipe, `count` bytes, and, while the sender is fast, what comes behind it: at most 8 MiB. `write`
    /// has to take all of the pipe's bytes each time ([`Pipe::move_to`] does). Beside what `write` waits for, it waits 0.1 ms for a fast
    /// sender who has paused.
    ///
    /// # Errors
    /// What `write` says. That the connection has failed is told to the transport.
    pub fn run(
        &self,
        count: usize,
        mut write: impl FnMut(&Pipe, usize) -> io::Result<()>,
    ) -> io::Result<Stretch> {
        let mut stretch = Stretch { bytes: 0, broken: None };
        write(&self.pipe, count)?;
        let mut last = count;
        while last >= FAST_BYTES && stretch.bytes < STRETCH_BYTES && stretch.broken.is_none() {
            last = self.take_more(&mut stretch, &mut write)?;
            if last < FAST_BYTES {
                std::thread::sleep(GATHERING);
                last = self.take_more(&mut stretch, &mut write)?;
            }
        }
        Ok(stretch)
    }

    fn take_more(
        &self,
        stretch: &mut Stretch,
        write: &mut impl FnMut(&Pipe, usize) -> io::Result<()>,
    ) -> io::Result<usize> {
        match self.pipe.fill(self.socket.as_fd()) {
            Ok(0) => Ok(0),
            Ok(filled) => {
                stretch.bytes += filled as u64;
                write(&self.pipe, filled).map(|()| filled)
            }
            Err(error) if is_patience(&error) => Ok(0),
            Err(error) => {
                // The system tells it once, and would call it the peer's end from now on.
                stretch.broken = Some(error);
                Ok(0)
            }
        }
    }
}

impl Stretch {
    /// Has the transport take note of it. If the thread has found the connection broken, it is aborted.
    pub fn settle(self, transport: &Transport) {
        transport.0.settle_intake(self.bytes, self.broken);
    }
}

fn is_patience(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl Transport {
    /// A way for what comes into a file without its passing through the program, for a protocol that
    /// [reads by itself](Transport::read_by_hand). It has three descriptors.
    ///
    /// # Errors
    /// `Unsupported`: there is something between the socket and the protocol (a layer, bytes that were handed back, the simulation), so
    /// that it has to read into memory. Else as [`Pipe::new`].
    pub fn intake(&self) -> io::Result<Intake> {
        let socket = self.0.descriptor()?;
        Ok(Intake { socket, pipe: Pipe::new()? })
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").finish_non_exhaustive()
    }
}
