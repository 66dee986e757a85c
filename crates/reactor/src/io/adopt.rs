//! Descriptors that somebody else has made (systemd, a parent, a peer that passed them on) become sockets and listeners of ours:
//! looked at first, then made nonblocking and close-on-exec. `net`'s `adopt_listener` and its like come here.
//!
//! Nonblocking belongs to the open file description, which whoever made the descriptor may share: a socket that is given away is
//! meant to be used so, and everybody who passes listeners on expects it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::FdFlags;
use rustix::net::{AddressFamily, SocketType, sockopt};

use super::{DatagramSocket, Listener, Socket};
use crate::driver::prepare_tcp;

impl Listener {
    /// A socket that listens already: TCP or a UNIX stream socket. Its backlog stays as it is. What connects from now on is set up as
    /// if it had been opened here; what was waiting already needs [`Socket::prepare`].
    ///
    /// # Errors
    /// It is something else ([`io::ErrorKind::InvalidInput`], with what it is).
    ///
    /// ```
    /// use ropewalk_reactor::io::Listener;
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let adopted = Listener::adopt(listener.into())?;
    /// assert_eq!(adopted.local_address()?.to_string(), address.to_string());
    /// assert!(Listener::adopt(std::fs::File::open("/dev/null")?.into()).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn adopt(fd: OwnedFd) -> io::Result<Listener> {
        const WANTED: &str = "a listening TCP or UNIX stream socket";
        let known = Known::of(&fd, WANTED)?;
        if !known.accepts {
            return Err(known.refused(WANTED));
        }
        claim(&fd)?;
        if known.family == AddressFamily::UNIX {
            return Ok(Listener::Unix(mio::net::UnixListener::from_std(fd.into())));
        }
        prepare_tcp(&socket2::SockRef::from(&fd))?;
        Ok(Listener::Tcp(mio::net::TcpListener::from_std(fd.into())))
    }
}

impl Socket {
    /// A connection that stands already: TCP or a UNIX stream socket.
    ///
    /// # Errors
    /// It is something else ([`io::ErrorKind::InvalidInput`], with what it is), or is not connected
    /// ([`io::ErrorKind::NotConnected`]).
    pub fn adopt(fd: OwnedFd) -> io::Result<Socket> {
        const WANTED: &str = "a connected TCP or UNIX stream socket";
        let known = Known::of(&fd, WANTED)?;
        if known.kind != SocketType::STREAM || known.accepts || known.is_other() {
            return Err(known.refused(WANTED));
        }
        rustix::net::getpeername(&fd)?;
        claim(&fd)?;
        if known.family == AddressFamily::UNIX {
            return Ok(Socket::Unix(mio::net::UnixStream::from_std(fd.into())));
        }
        prepare_tcp(&socket2::SockRef::from(&fd))?;
        Ok(Socket::Tcp(mio::net::TcpStream::from_std(fd.into())))
    }
}

impl Socket {
    /// Sets an accepted connection up as if its listener had been opened here; for one that was waiting when the listener was adopted.
    pub fn prepare(&self) {
        if let Socket::Tcp(socket) = self
            && !socket.nodelay().unwrap_or(true)
        {
            // Failing means that the connection is gone already, which reading tells.
            let _ = prepare_tcp(&socket2::SockRef::from(socket));
        }
    }
}

impl DatagramSocket {
    /// A UDP socket that is bound already.
    ///
    /// # Errors
    /// It is something else ([`io::ErrorKind::InvalidInput`], with what it is).
    pub fn adopt(fd: OwnedFd) -> io::Result<DatagramSocket> {
        const WANTED: &str = "a UDP socket";
        let known = Known::of(&fd, WANTED)?;
        if known.kind != SocketType::DGRAM || known.family == AddressFamily::UNIX || known.is_other() {
            return Err(known.refused(WANTED));
        }
        claim(&fd)?;
        Ok(DatagramSocket::Udp(mio::net::UdpSocket::from_std(fd.into())))
    }
}

/// What the system says a descriptor is.
struct Known {
    number: i32,
    family: AddressFamily,
    kind: SocketType,
    /// A stream socket that listens.
    accepts: bool,
}

impl Known {
    fn of(fd: &OwnedFd, wanted: &str) -> io::Result<Known> {
        let number = fd.as_raw_fd();
        let kind = sockopt::socket_type(fd).map_err(|error| {
            if error == rustix::io::Errno::NOTSOCK {
                refused(number, "no socket", wanted)
            } else {
                io::Error::new(io::Error::from(error).kind(), format!("descriptor {number}: {error}"))
            }
        })?;
        let family = sockopt::socket_domain(fd)?;
        let known = Known { number, family, kind, accepts: sockopt::socket_acceptconn(fd)? };
        if known.is_other() || (known.accepts && kind != SocketType::STREAM) {
            return Err(known.refused(wanted));
        }
        Ok(known)
    }

    /// Of a family that nothing here speaks.
    fn is_other(&self) -> bool {
        !matches!(self.family, AddressFamily::INET | AddressFamily::INET6 | AddressFamily::UNIX)
    }

    fn refused(&self, wanted: &str) -> io::Error {
        let unix = self.family == AddressFamily::UNIX;
        let what = match (self.kind, self.accepts) {
            _ if self.is_other() => "a socket of another family",
            (SocketType::STREAM, true) if unix => "a listening UNIX stream socket",
            (SocketType::STREAM, true) => "a listening TCP socket",
            (SocketType::STREAM, false) if unix => "a UNIX stream socket that does not listen",
            (SocketType::STREAM, false) => "a TCP socket that does not listen",
            (SocketType::DGRAM, _) if unix => "a UNIX datagram socket",
            (SocketType::DGRAM, _) => "a UDP socket",
            _ => "a socket of another type",
        };
        refused(self.number, what, wanted)
    }
}

fn refused(number: i32, what: &str, wanted: &str) -> io::Error {
    let text = format!("descriptor {number} is {what}; {wanted} is wanted");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// Not before it is known to be what is wanted: what is refused is left as it was.
fn claim(fd: impl AsFd) -> io::Result<()> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    Ok(rustix::io::fcntl_setfd(&fd, FdFlags::CLOEXEC)?)
}
