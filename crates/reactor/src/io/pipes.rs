//! Two descriptors that are one connection: an input and an output, such as standard input and output. Whatever is behind them
//! (a pipe, a terminal, a file, a socket), reading and writing never block, except on files, which the system has at hand.
//!
//! `O_NONBLOCK` belongs to the open file description, which an inherited descriptor shares with the shell and every other
//! process at that terminal: setting it would break their reading. So each end gets what is possible without it:
//!
//! - a pipe or a terminal is opened anew through `/proc/self/fd`, which makes a description of our own;
//! - a socket cannot be opened anew: it is duplicated, and each call says `MSG_DONTWAIT`;
//! - a file, and what else epoll cannot watch (`/dev/null`), is always ready: it is duplicated, for a description of its own
//!   would begin at its start;
//! - what may not be opened anew (a terminal of another user, a system without `/proc`, a device) is duplicated, and asked with
//!   `poll` before each call. This alone can be fooled: by another process that reads the same input in between, and by a
//!   terminal that takes some bytes but not 4 KiB. Then the call waits.
//!
//! The driver registers both ends under one key and translates their events; nobody else comes here but `Socket`.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::source::{Half, Key};

/// What a pipe that `poll` calls writable takes without blocking (`PIPE_BUF`; `man 7 pipe`).
const PIPE_BYTES: usize = 4096;

/// An input and an output.
#[derive(Debug)]
pub struct Pipes {
    input: RefCell<End>,
    /// `None` once this direction has ended.
    output: RefCell<Option<End>>,
    /// Given back last, when both ends are closed.
    _lease: Option<Lease>,
}

#[derive(Debug)]
struct End {
    fd: OwnedFd,
    manner: Manner,
    half: Half,
    /// To unregister a description that outlives our descriptor: the system forgets only what nobody has open.
    registry: Option<Registry>,
    /// Whether the process's own descriptor 0 or 1 is to end with it.
    standard: bool,
}

/// How one end is used without blocking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Its description is ours, and nonblocking.
    Own,
    /// A socket, whose calls say themselves that they do not wait.
    Socket,
    /// Somebody else's blocking description: asked before each call.
    Asked,
    /// Always ready.
    Ready,
}

impl Pipes {
    /// Descriptors 0 and 1 of this process. When an end is closed and is a pipe or a socket, the process's own descriptor becomes
    /// `/dev/null`, so that whoever is at the other end sees it; a terminal or a file stays where it is. What std's `stdin` has
    /// buffered already is not seen here.
    ///
    /// # Errors
    /// They are in use already, or descriptors ran out.
    pub fn stdio() -> io::Result<Pipes> {
        let lease = Lease::take()?;
        // What was printed before comes first. A failure would be found out by the first write here.
        let _ = io::stdout().flush();
        let input = End::open(io::stdin().as_fd(), Half::Input, true)?;
        let output = End::open(io::stdout().as_fd(), Half::Output, true)?;
        Ok(Pipes { input: RefCell::new(input), output: RefCell::new(Some(output)), _lease: Some(lease) })
    }

    /// Any two descriptors: pipes of a child, a named pipe, the side of a terminal.
    ///
    /// # Errors
    /// The input is not open for reading, or the output not for writing; descriptors ran out.
    pub fn new(input: OwnedFd, output: OwnedFd) -> io::Result<Pipes> {
        let input = End::open(input.as_fd(), Half::Input, false)?;
        let output = End::open(output.as_fd(), Half::Output, false)?;
        Ok(Pipes { input: RefCell::new(input), output: RefCell::new(Some(output)), _lease: None })
    }

    /// Watches both ends under one key. An end that cannot be watched is always ready.
    pub(crate) fn register(&mut self, registry: &Registry, key: Key) -> io::Result<()> {
        self.input.get_mut().register(registry, key)?;
        self.output.get_mut().as_mut().map_or(Ok(()), |output| output.register(registry, key))
    }

    pub(crate) fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        let outcome = self.input.borrow().read(into);
        match outcome {
            // Nobody else would tell of an output whose reader has gone while there is nothing to write.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(self.take_error().unwrap_or(error))
            }
            other => other,
        }
    }

    pub(crate) fn write(&self, from: &[u8]) -> io::Result<usize> {
        match &*self.output.borrow() {
            Some(output) => output.write(from),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    pub(crate) fn write_vectored(&self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        match &*self.output.borrow() {
            Some(output) => output.write_vectored(from),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Ends the output, so that its reader sees the end of it.
    pub(crate) fn end_output(&self) -> io::Result<()> {
        let output = self.output.borrow_mut().take();
        match &output {
            // Others may have the socket open as well: closing ours would tell the peer nothing.
            Some(output) if output.manner == Manner::Socket => {
                Ok(rustix::net::shutdown(&output.fd, rustix::net::Shutdown::Write)?)
            }
            _ => Ok(()),
        }
    }

    /// Why nothing can be written any more, if so.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        self.output.borrow().as_ref().and_then(End::output_error)
    }
}

impl End {
    fn open(fd: BorrowedFd<'_>, half: Half, standard: bool) -> io::Result<End> {
        let (access, wrong) = match half {
            Half::Input => (OFlags::RDONLY, OFlags::WRONLY),
            Half::Output => (OFlags::WRONLY, OFlags::RDONLY),
        };
        if rustix::fs::fcntl_getfl(fd)? & OFlags::ACCMODE == wrong {
            let what = match half {
                Half::Input => "the input is not open for reading",
                Half::Output => "the output is not open for writing",
            };
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let stat = rustix::fs::fstat(fd)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let (owned, manner) = match kind {
            FileType::Socket => (fd.try_clone_to_owned()?, Manner::Socket),
            FileType::Fifo => open_anew(fd, access)?,
            FileType::CharacterDevice if is_terminal(fd, stat.st_rdev) => open_anew(fd, access)?,
            FileType::CharacterDevice => (fd.try_clone_to_owned()?, Manner::Asked),
            _ => (fd.try_clone_to_owned()?, Manner::Ready),
        };
        // Nobody waits for the end of a terminal or of a file.
        let standard = standard && matches!(kind, FileType::Socket | FileType::Fifo);
        Ok(End { fd: owned, manner, half, registry: None, standard })
    }

    fn register(&mut self, registry: &Registry, key: Key) -> io::Result<()> {
        if self.manner == Manner::Ready {
            return Ok(());
        }
        let raw = self.fd.as_raw_fd();
        let interest = match self.half {
            Half::Input => Interest::READABLE,
            Half::Output => Interest::WRITABLE,
        };
        match registry.register(&mut SourceFd(&raw), Token(key.half_token(self.half)), interest) {
            Ok(()) if self.manner == Manner::Own => {}
            Ok(()) => self.registry = Some(registry.try_clone()?),
            // A file, or a device such as /dev/null.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::PERM) => self.manner = Manner::Ready,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self.manner {
            Manner::Socket => Ok(rustix::net::recv(&self.fd, into, RecvFlags::DONTWAIT)?.0),
            Manner::Asked if self.ask(PollFlags::IN).is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(rustix::io::read(&self.fd, into)?),
        }
    }

    fn write(&self, from: &[u8]) -> io::Result<usize> {
        match self.manner {
            Manner::Socket => {
                Ok(rustix::net::send(&self.fd, from, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
            }
            Manner::Asked => self.write_asking(from),
            _ => Ok(rustix::io::write(&self.fd, from)?),
        }
    }

    /// As much as fits, in pieces that cannot block. It must be all that fits: the system tells of room only after a lack of it.
    fn write_asking(&self, from: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < from.len() {
            if self.ask(PollFlags::OUT).is_empty() {
                break;
            }
            let most = from.len().min(written + PIPE_BYTES);
            match rustix::io::write(&self.fd, &from[written..most]) {
                Ok(count) => written += count,
                Err(_) if written > 0 => break,
                Err(error) => return Err(error.into()),
            }
        }
        if written == 0 && !from.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(written) }
    }

    fn write_vectored(&self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        if matches!(self.manner, Manner::Own | Manner::Ready) {
            return Ok(rustix::io::writev(&self.fd, from)?);
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

    fn output_error(&self) -> Option<io::Error> {
        match self.manner {
            Manner::Ready => None,
            Manner::Socket => rustix::net::sockopt::socket_error(&self.fd).ok()?.err().map(Into::into),
            Manner::Own | Manner::Asked => {
                let gone = self.ask(PollFlags::empty()).intersects(PollFlags::ERR | PollFlags::HUP);
                gone.then(|| io::ErrorKind::BrokenPipe.into())
            }
        }
    }

    /// What is true of it now.
    fn ask(&self, events: PollFlags) -> PollFlags {
        let mut asked = [PollFd::new(&self.fd, events)];
        // A failure says nothing; then the call itself does.
        match rustix::event::poll(&mut asked, Some(&Timespec::default())) {
            Ok(_) => asked[0].revents(),
            Err(_) => PollFlags::empty(),
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.take() {
            // It is registered, or it would have no registry.
            let _ = registry.deregister(&mut SourceFd(&self.fd.as_raw_fd()));
        }
        if self.standard {
            // Without /dev/null (a bare chroot) the other end sees it when the process ends.
            let _ = match self.half {
                Half::Input => File::open("/dev/null").map(rustix::stdio::dup2_stdin),
                Half::Output => File::create("/dev/null").map(rustix::stdio::dup2_stdout),
            };
        }
    }
}

/// A description of our own of the same thing; or a duplicate, where there is none to be had.
fn open_anew(fd: BorrowedFd<'_>, access: OFlags) -> io::Result<(OwnedFd, Manner)> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(own) => Ok((own, Manner::Own)),
        Err(Errno::MFILE | Errno::NFILE) => Err(Errno::MFILE.into()),
        Err(_) => Ok((fd.try_clone_to_owned()?, Manner::Asked)),
    }
}

/// Whether it is a terminal that can be opened anew. The master of a pseudoterminal cannot: that would make another one.
fn is_terminal(fd: BorrowedFd<'_>, device: u64) -> bool {
    const PTMX: (u32, u32) = (5, 2);
    (rustix::fs::major(device), rustix::fs::minor(device)) != PTMX && io::IsTerminal::is_terminal(&fd)
}

/// Whoever has standard input and output: two readers would each get half of it.
#[derive(Debug)]
struct Lease;

static LEASED: AtomicBool = AtomicBool::new(false);

impl Lease {
    fn take() -> io::Result<Lease> {
        if LEASED.swap(true, Ordering::AcqRel) {
            let what = "standard input and output are in use: a process has one such connection at a time";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
        }
        Ok(Lease)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        LEASED.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, pipe};

    fn asked(fd: impl Into<OwnedFd>, half: Half) -> End {
        End { fd: fd.into(), manner: Manner::Asked, half, registry: None, standard: false }
    }

    /// What is used where nothing can be opened anew: blocking descriptors, and no call that blocks.
    #[test]
    fn a_blocking_description_is_asked_first() {
        let (reader, writer) = pipe().expect("a pipe");
        let (input, output) = (asked(reader, Half::Input), asked(writer, Half::Output));
        let mut buffer = [0; 100];
        assert_eq!(input.read(&mut buffer).map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));

        let data: Vec<u8> = (0..1_000_000u32).map(|index| (index ^ (index >> 8)) as u8).collect();
        let written = output.write(&data).expect("an empty pipe takes something");
        assert!(written >= PIPE_BYTES && written < data.len(), "{written}");
        assert_eq!(output.write(&data).map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));
        assert!(output.output_error().is_none());

        let mut got = Vec::new();
        while let Ok(count) = input.read(&mut buffer) {
            got.extend_from_slice(&buffer[..count]);
        }
        assert!(got == data[..written]);
        let slices = [IoSlice::new(b"one "), IoSlice::new(b"two")];
        assert_eq!(output.write_vectored(&slices).ok(), Some(7));
        drop(output);
        assert_eq!(input.read(&mut buffer).ok(), Some(7));
        assert_eq!(input.read(&mut buffer).ok(), Some(0));
    }

    #[test]
    fn a_blocking_output_without_a_reader_is_broken() {
        let (reader, writer) = pipe().expect("a pipe");
        let output = asked(writer, Half::Output);
        drop(reader);
        assert_eq!(output.output_error().map(|error| error.kind()), Some(io::ErrorKind::BrokenPipe));
        assert_eq!(output.write(b"x").map_err(|error| error.kind()), Err(io::ErrorKind::BrokenPipe));
    }

    #[test]
    fn an_end_of_ours_is_another_description() {
        let (mut reader, writer) = pipe().expect("a pipe");
        let pipes =
            Pipes::new(reader.try_clone().expect("a descriptor").into(), writer.into()).expect("pipes");
        assert_eq!(pipes.input.borrow().manner, Manner::Own);
        assert_eq!(pipes.write(b"round").ok(), Some(5));
        let mut buffer = [0; 5];
        reader.read_exact(&mut buffer).expect("what was written");
        assert_eq!(&buffer, b"round");
        // The output was the only one: when it has ended, so has the pipe.
        pipes.end_output().expect("it is open");
        assert_eq!(reader.read(&mut buffer).ok(), Some(0));
        assert_eq!(pipes.write(b"x").map_err(|error| error.kind()), Err(io::ErrorKind::BrokenPipe));
        assert!(pipes.take_error().is_none(), "an output that was ended is not broken");
    }
}
