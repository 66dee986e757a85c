//! Sockets and listeners as a driver gives them: of the system, or of the simulated network. An enum and not a trait object,
//! because reading and writing are the hot path. They are nonblocking and close on exec, and know nothing of protocols.
//! `net` stands on these two types.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, IoSlice, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::net::{RecvFlags, SendFlags, SocketFlags};

use crate::driver::sim;

mod adopt;
mod datagram;
mod layer;
mod passing;
mod pipes;

pub use datagram::DatagramSocket;
pub use layer::{Below, Layer, Layered};
pub use passing::Passing;
pub use pipes::Pipes;

/// Where a socket or a listener is, or its peer.
///
/// ```
/// use ropewalk_reactor::io::Address;
/// assert_eq!(Address::Inet("127.0.0.1:80".parse().unwrap()).to_string(), "127.0.0.1:80");
/// assert_eq!(Address::Unix(Some("/run/app.sock".into())).to_string(), "unix:/run/app.sock");
/// assert_eq!(Address::Abstract(b"app".to_vec()).to_string(), "unix:@app");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Address {
    /// An IP address and a port.
    Inet(SocketAddr),
    /// A UNIX socket's path; `None` for a socket without a name, as clients are.
    Unix(Option<PathBuf>),
    /// A UNIX socket's name outside the file system (`man 7 unix`, "abstract"), without the null byte it begins with. Any bytes.
    Abstract(Vec<u8>),
    /// Two descriptors that are no socket, as standard input and output are.
    Pipe,
}

impl Address {
    /// The IP address, if it has one.
    #[must_use]
    pub fn ip(&self) -> Option<std::net::IpAddr> {
        match self {
            Address::Inet(address) => Some(address.ip()),
            Address::Unix(_) | Address::Abstract(_) | Address::Pipe => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Inet(address) => write!(f, "{address}"),
            Address::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            Address::Unix(None) => f.write_str("unix:"),
            // As systemd and ss write it. What is not printable is escaped: the name is the peer's choice.
            Address::Abstract(name) => write!(f, "unix:@{}", name.escape_ascii()),
            Address::Pipe => f.write_str("pipe"),
        }
    }
}

/// A connected stream socket.
#[derive(Debug)]
pub enum Socket {
    /// TCP of the system.
    Tcp(mio::net::TcpStream),
    /// A UNIX socket of the system.
    Unix(mio::net::UnixStream),
    /// A UNIX socket of the system that carries descriptors.
    Passing(Box<Passing>),
    /// Two descriptors, one to read and one to write.
    Pipe(Box<Pipes>),
    /// One end of a simulated connection.
    Sim(Box<sim::End>),
    /// Any of these under a layer.
    Layered(Box<Layered>),
}

impl Socket {
    /// Reads what is there; `WouldBlock` if nothing is, 0 at the end of the stream.
    #[inline]
    pub fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => receive(socket.as_fd(), into),
            _ => self.read_otherwise(into),
        }
    }

    /// Aside, so that TCP's way is short enough to stand where it is called.
    #[inline(never)]
    fn read_otherwise(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => receive(socket.as_fd(), into),
            Socket::Unix(socket) => passing::receive(socket.as_fd(), into),
            Socket::Passing(passing) => passing.read(into),
            Socket::Pipe(pipes) => pipes.read(into),
            Socket::Sim(end) => end.read(into),
            Socket::Layered(layered) => layered.read(into),
        }
    }

    /// Writes what fits now.
    #[inline]
    pub fn write(&self, from: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => send(socket.as_fd(), from),
            _ => self.write_otherwise(from),
        }
    }

    #[inline(never)]
    fn write_otherwise(&self, from: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => send(socket.as_fd(), from),
            Socket::Unix(socket) => send(socket.as_fd(), from),
            Socket::Passing(passing) => passing.write(from),
            Socket::Pipe(pipes) => pipes.write(from),
            Socket::Sim(end) => end.write(from),
            Socket::Layered(layered) => layered.write(from),
        }
    }

    /// Writes what fits now of several pieces.
    pub fn write_vectored(&self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => (&*socket).write_vectored(from),
            Socket::Unix(socket) => (&*socket).write_vectored(from),
            Socket::Passing(passing) => passing.write_vectored(from),
            Socket::Pipe(pipes) => pipes.write_vectored(from),
            Socket::Sim(end) => end.write_vectored(from),
            Socket::Layered(layered) => layered.write_vectored(from),
        }
    }

    /// Ends one direction or both. The input of two descriptors ends only with both.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => socket.shutdown(how),
            Socket::Unix(socket) => socket.shutdown(how),
            Socket::Passing(passing) => passing.stream.shutdown(how),
            Socket::Pipe(_) if how == Shutdown::Read => Ok(()),
            Socket::Pipe(pipes) => pipes.end_output(),
            Socket::Sim(end) => end.shutdown(how),
            Socket::Layered(layered) => layered.shutdown(how),
        }
    }

    /// Makes closing send a reset, so that nothing lingers (TCP only; elsewhere closing is abrupt enough).
    pub fn set_reset_on_close(&self) {
        match self {
            Socket::Tcp(socket) => {
                // Failing means the peer gets an orderly end instead of a reset.
                let _ = socket2::SockRef::from(socket).set_linger(Some(std::time::Duration::ZERO));
            }
            Socket::Unix(_) | Socket::Passing(_) | Socket::Pipe(_) => {}
            Socket::Sim(end) => end.reset_on_close(),
            Socket::Layered(layered) => layered.below().set_reset_on_close(),
        }
    }

    /// Turns Nagle's algorithm off or on (TCP only).
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => socket.set_nodelay(nodelay),
            Socket::Unix(_) | Socket::Passing(_) | Socket::Pipe(_) | Socket::Sim(_) => Ok(()),
            Socket::Layered(layered) => layered.below().set_nodelay(nodelay),
        }
    }

    /// Holds back what does not fill a segment, or no longer (TCP on Linux, `TCP_CORK`; elsewhere it says nothing).
    pub fn set_cork(&self, cork: bool) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => Ok(rustix::net::sockopt::set_tcp_cork(socket, cork)?),
            Socket::Unix(_) | Socket::Passing(_) | Socket::Pipe(_) | Socket::Sim(_) => Ok(()),
            Socket::Layered(layered) => layered.below().set_cork(cork),
        }
    }

    /// The error of a failed connecting, or of an output that is broken, if there is one. `Ok(None)` means connected.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self {
            Socket::Tcp(socket) => socket.take_error(),
            Socket::Unix(socket) => socket.take_error(),
            Socket::Passing(passing) => passing.stream.take_error(),
            Socket::Pipe(pipes) => Ok(pipes.take_error()),
            Socket::Sim(end) => Ok(end.take_error()),
            Socket::Layered(layered) => layered.below().take_error(),
        }
    }

    /// The peer's address; an error while not connected.
    pub fn peer_address(&self) -> io::Result<Address> {
        match self {
            Socket::Tcp(socket) => socket.peer_addr().map(Address::Inet),
            Socket::Unix(socket) => socket.peer_addr().map(|address| unix_address(&address)),
            Socket::Passing(passing) => passing.stream.peer_addr().map(|address| unix_address(&address)),
            Socket::Pipe(_) => Ok(Address::Pipe),
            Socket::Sim(end) => end.peer_address(),
            Socket::Layered(layered) => layered.below().peer_address(),
        }
    }

    /// The socket's own address.
    pub fn local_address(&self) -> io::Result<Address> {
        match self {
            Socket::Tcp(socket) => socket.local_addr().map(Address::Inet),
            Socket::Unix(socket) => socket.local_addr().map(|address| unix_address(&address)),
            Socket::Passing(passing) => passing.stream.local_addr().map(|address| unix_address(&address)),
            Socket::Pipe(_) => Ok(Address::Pipe),
            Socket::Sim(end) => Ok(end.local_address()),
            Socket::Layered(layered) => layered.below().local_address(),
        }
    }

    /// The same socket, which carries descriptors from now on if it is one of UNIX.
    #[must_use]
    pub fn into_passing(self) -> Socket {
        match self {
            Socket::Unix(stream) => Socket::Passing(Box::new(Passing::new(stream))),
            other => other,
        }
    }

    /// The descriptor, for those who write past this type. A simulated end has none, a pair of them not one, and where descriptors
    /// travel bytes are counted, so that nobody may write past it; nor past a layer.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Socket::Tcp(socket) => Some(socket.as_fd()),
            Socket::Unix(socket) => Some(socket.as_fd()),
            Socket::Passing(_) | Socket::Pipe(_) | Socket::Sim(_) | Socket::Layered(_) => None,
        }
    }

    /// Sends on what layers hold; `WouldBlock` while some is left.
    pub fn flush(&self) -> io::Result<()> {
        match self {
            Socket::Layered(layered) => layered.flush(),
            _ => Ok(()),
        }
    }

    /// Nothing more will be written: layers say farewell. `WouldBlock` until all of it has left; ask again then.
    pub fn finish(&self) -> io::Result<()> {
        match self {
            Socket::Layered(layered) => layered.finish(),
            _ => Ok(()),
        }
    }

    /// An event has come for it, and whether any has told of the peer's end: layers that have read all there was may ask again.
    pub fn heard(&self, end: bool) {
        if let Socket::Layered(layered) = self {
            layered.heard(end);
        }
    }

    /// Gives the layer nearest to the protocol what was read from below it before it was there.
    pub fn add_early(&self, bytes: &[u8]) {
        if let Socket::Layered(layered) = self {
            layered.add_early(bytes);
        }
    }

    /// Looks at the layer of this type, if there is one.
    pub fn layer<L: Layer, T>(&self, then: impl FnOnce(&mut L) -> T) -> Option<T> {
        match self {
            Socket::Layered(layered) => layered.find(then),
            _ => None,
        }
    }
}

/// A socket that accepts connections.
#[derive(Debug)]
pub enum Listener {
    /// TCP of the system.
    Tcp(mio::net::TcpListener),
    /// A UNIX socket of the system.
    Unix(mio::net::UnixListener),
    /// No socket, but one connection that is there already: what listening at standard input and output means.
    Pipe(RefCell<Option<Box<Pipes>>>),
    /// A port of the simulated network.
    Sim(sim::Port),
}

impl Listener {
    /// Takes the next connection; `WouldBlock` if none waits.
    pub fn accept(&self) -> io::Result<(Socket, Address)> {
        match self {
            Listener::Tcp(listener) => {
                listener.accept().map(|(socket, peer)| (Socket::Tcp(socket), Address::Inet(peer)))
            }
            Listener::Unix(listener) => accept_unix(listener.as_fd()),
            Listener::Pipe(pipes) => match pipes.borrow_mut().take() {
                Some(pipes) => Ok((Socket::Pipe(pipes), Address::Pipe)),
                None => Err(io::ErrorKind::WouldBlock.into()),
            },
            Listener::Sim(port) => port.accept().map(|(end, peer)| (Socket::Sim(Box::new(end)), peer)),
        }
    }

    /// Where it listens, with the real port.
    pub fn local_address(&self) -> io::Result<Address> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(Address::Inet),
            Listener::Unix(listener) => listener.local_addr().map(|address| unix_address(&address)),
            Listener::Pipe(_) => Ok(Address::Pipe),
            Listener::Sim(port) => Ok(port.local_address()),
        }
    }
}

/// All pieces, as far as they are taken: a first piece written alone would look like a full window, and no readiness would
/// ever follow.
pub(crate) fn write_pieces(
    from: &[IoSlice<'_>],
    mut write: impl FnMut(&[u8]) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut total = 0;
    for piece in from {
        match write(piece) {
            Ok(count) => {
                total += count;
                if count < piece.len() {
                    break;
                }
            }
            Err(error) if total == 0 => return Err(error),
            // A failure comes again at the next write; a full window is known to whoever reported it.
            Err(_) => break,
        }
    }
    Ok(total)
}

// The system calls themselves: libc's wrappers are cancellation points, and cost two atomic operations each in a process that
// has a second thread, which the watchdog is.

#[inline(always)]
fn receive(socket: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    let (count, _) = rustix::net::recv(socket, into, RecvFlags::empty())?;
    Ok(count)
}

#[inline(always)]
fn send(socket: BorrowedFd<'_>, from: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, from, SendFlags::NOSIGNAL)?)
}

/// Not mio's, which takes a peer with a name outside the file system for one without a name.
fn accept_unix(listener: BorrowedFd<'_>) -> io::Result<(Socket, Address)> {
    let (fd, peer) = rustix::net::acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    let peer = peer.and_then(|peer| rustix::net::SocketAddrUnix::try_from(peer).ok());
    let address = match &peer {
        Some(peer) => match (peer.abstract_name(), peer.path_bytes()) {
            (Some(name), _) => Address::Abstract(name.to_vec()),
            (None, Some(path)) => Address::Unix(Some(OsStr::from_bytes(path).into())),
            (None, None) => Address::Unix(None),
        },
        None => Address::Unix(None),
    };
    Ok((Socket::Unix(mio::net::UnixStream::from_std(fd.into())), address))
}

fn unix_address(address: &std::os::unix::net::SocketAddr) -> Address {
    match address.as_abstract_name() {
        Some(name) => Address::Abstract(name.to_vec()),
        None => Address::Unix(address.as_pathname().map(PathBuf::from)),
    }
}
