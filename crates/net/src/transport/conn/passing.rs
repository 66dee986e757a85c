//! Descriptors that travel over a UNIX socket: what Twisted has as `IUNIXTransport`. With which byte they go, and how they are
//! received, is in the reactor's `io::Passing`; here is what a transport offers of it.

use std::io;
use std::os::fd::OwnedFd;

use ropewalk_reactor::io::{Passing, Socket};
use rustix::net::sockopt;

use super::{Conn, flag};
use crate::transport::Transport;

impl Transport {
    /// Sends a descriptor to the peer: with the next byte that is written after this call, and in order with all others. It is closed
    /// here once it is sent. Without a byte after it, it never goes.
    ///
    /// A peer that does not accept descriptors gets the byte alone; the system closes the descriptor.
    ///
    /// ```
    /// use std::fs::File;
    /// use ropewalk_net::{Protocol, Transport};
    ///
    /// /// Opens what its peer may not, and hands it over.
    /// struct Opener;
    /// impl Protocol for Opener {
    ///     fn data_received(&mut self, transport: &Transport, name: &[u8]) {
    ///         let file = String::from_utf8_lossy(name);
    ///         match File::open(&*file).and_then(|file| transport.send_descriptor(file.into())) {
    ///             Ok(()) => transport.write(b"+"),
    ///             Err(_) => transport.write(b"-"),
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// It is no UNIX socket ([`io::ErrorKind::Unsupported`]), it is being closed ([`io::ErrorKind::NotConnected`]), or the next byte
    /// carries 253 already, the system's limit ([`io::ErrorKind::InvalidInput`]). The descriptor is closed then. A receiver that
    /// leaves thousands unread makes the system refuse more: that breaks the connection.
    pub fn send_descriptor(&self, fd: OwnedFd) -> io::Result<()> {
        self.0.send_descriptor(fd)
    }

    /// From now on descriptors that the peer sends are kept for [`Transport::take_descriptors`], so many at most until they are taken.
    /// More are closed, and counted in [`Transport::refused_descriptors`]; 0, the default, closes all. One read may bring all that 64
    /// KiB of the peer's bytes carry. They do not survive an `exec`.
    ///
    /// ```
    /// use ropewalk_net::{Protocol, Transport};
    ///
    /// /// Takes files over, one per byte.
    /// struct Keeper(Vec<std::os::fd::OwnedFd>);
    /// impl Protocol for Keeper {
    ///     fn connection_made(&mut self, transport: &Transport) {
    ///         if transport.accept_descriptors(16).is_err() {
    ///             // It is no UNIX socket: nothing will come.
    ///             transport.lose_connection();
    ///         }
    ///     }
    ///     fn data_received(&mut self, transport: &Transport, _: &[u8]) {
    ///         self.0.append(&mut transport.take_descriptors());
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// It is no UNIX socket ([`io::ErrorKind::Unsupported`]), or the connection is gone ([`io::ErrorKind::NotConnected`]).
    pub fn accept_descriptors(&self, max: usize) -> io::Result<()> {
        self.0.with_passing(|passing| passing.accept(max))
    }

    /// The descriptors that have come, in the order in which they were sent. When `data_received` is given a byte, those that were
    /// sent with it, or before it, are here. What is never taken is closed with the connection, before `connection_lost`.
    #[must_use]
    pub fn take_descriptors(&self) -> Vec<OwnedFd> {
        self.0.if_passing(Passing::take).unwrap_or_default()
    }

    /// Who the peer of a UNIX socket is: its user, as the system knows it. For a server, of who connected.
    ///
    /// # Errors
    /// It is no UNIX socket, or carries descriptors already ([`io::ErrorKind::Unsupported`]), or the connection is gone
    /// ([`io::ErrorKind::NotConnected`]).
    pub fn peer_user(&self) -> io::Result<u32> {
        let known = self.0.with_socket(|socket| match socket {
            Socket::Unix(stream) => Ok(sockopt::socket_peercred(stream)?.uid.as_raw()),
            _ => Err(io::Error::new(io::ErrorKind::Unsupported, "only a UNIX socket knows its peer's user")),
        });
        known.unwrap_or_else(|| Err(io::ErrorKind::NotConnected.into()))
    }

    /// Descriptors that were closed because too many waited to be taken.
    #[must_use]
    pub fn refused_descriptors(&self) -> u64 {
        self.0.if_passing(Passing::refused).unwrap_or(0)
    }
}

impl Conn {
    fn send_descriptor(&self, fd: OwnedFd) -> io::Result<()> {
        if self.has(flag::CLOSED | flag::CLOSING | flag::ABORTING | flag::SHUT) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let behind = self.buffered();
        self.with_passing(|passing| passing.queue(fd, behind))?
    }

    /// Makes the socket one that carries descriptors, if it is not one already.
    fn with_passing<T>(&self, then: impl FnOnce(&Passing) -> T) -> io::Result<T> {
        let Some(socket) = self.socket.take() else { return Err(io::ErrorKind::NotConnected.into()) };
        let socket = socket.into_passing();
        let outcome = match &socket {
            Socket::Passing(passing) => Ok(then(passing)),
            _ => Err(io::Error::new(io::ErrorKind::Unsupported, "only a UNIX socket carries descriptors")),
        };
        self.socket.set(Some(socket));
        outcome
    }

    fn if_passing<T>(&self, then: impl FnOnce(&Passing) -> T) -> Option<T> {
        let found = self.with_socket(|socket| match socket {
            Socket::Passing(passing) => Some(then(passing)),
            _ => None,
        });
        found.flatten()
    }
}
