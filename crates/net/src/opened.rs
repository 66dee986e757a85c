//! A socket that listens and from which nobody accepts yet: what a program opens while it may (ports below 1024), or gets from the
//! process before it. `listen` accepts from it; the limits and the factory are there.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use ropewalk_reactor::io::{Address, Listener, Pipes};
use ropewalk_reactor::{ListenOptions, Reactor, Share};

use crate::endpoint::ServerEndpoint;
use crate::systemd;

/// A socket that listens, and whose connections wait. Accepted from by [`listen_on`](crate::listen_on).
///
/// ```
/// use std::rc::Rc;
/// use ropewalk_net::{Opened, Protocol, ServerEndpoint, ServerOptions, Transport, listen_on};
/// use ropewalk_reactor::{Reactor, Share};
/// # struct Echo;
/// # impl Protocol for Echo { fn data_received(&mut self, t: &Transport, d: &[u8]) { t.write(d); } }
/// let reactor = Reactor::new()?;
/// let endpoint: ServerEndpoint = "tcp:0:interface=127.0.0.1".parse()?;
/// let opened = Opened::open(&reactor, &endpoint, Share::Alone)?;
/// // Here the program gives up its privileges.
/// listen_on(&reactor, &endpoint, opened, Rc::new(|| Echo), ServerOptions::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Opened {
    /// There until somebody accepts from it.
    listener: Option<Listener>,
    backlog: u32,
    /// Somebody else has made it.
    adopted: bool,
}

impl Opened {
    /// Binds and listens. Of a `proxy:` endpoint it is the one inside.
    ///
    /// # Errors
    /// The system's: the port is taken, the interface is not there, the path may not be written.
    pub fn open(reactor: &Reactor, endpoint: &ServerEndpoint, share: Share) -> io::Result<Opened> {
        let alone = |backlog| ListenOptions { backlog, share: Share::Alone };
        match endpoint {
            ServerEndpoint::Tcp { port, backlog, .. } | ServerEndpoint::Tls { port, backlog, .. } => {
                let interface = endpoint.interface().expect("a TCP endpoint has an interface");
                let options = ListenOptions { backlog: *backlog, share };
                let listener = reactor.listen_tcp(SocketAddr::new(interface, *port), &options)?;
                Ok(Opened::ours(listener, *backlog))
            }
            ServerEndpoint::Unix { path, mode, backlog } => {
                remove_stale(path)?;
                let listener = reactor.listen_unix(path, &alone(*backlog))?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(*mode))?;
                Ok(Opened::ours(listener, *backlog))
            }
            ServerEndpoint::Abstract { name, backlog } => {
                Ok(Opened::ours(reactor.listen_abstract(name.as_bytes(), &alone(*backlog))?, *backlog))
            }
            ServerEndpoint::Stdio => {
                let pipes = Box::new(Pipes::stdio()?);
                let listener = Listener::Pipe(RefCell::new(Some(pipes)));
                Ok(Opened::ours(listener, ListenOptions::default().backlog))
            }
            ServerEndpoint::Systemd(which) => Opened::adopted(systemd::take(which, share)?),
            // One within another would want a second header.
            ServerEndpoint::Proxy { inner, .. } => Opened::open(reactor, inner, share),
        }
    }

    /// The socket that the process before this one had opened for the same endpoint. Unlike one of `systemd:`, its file is ours.
    ///
    /// # Errors
    /// It does not listen ([`io::ErrorKind::InvalidInput`], which says what it is).
    pub fn inherit(fd: OwnedFd, endpoint: &ServerEndpoint) -> io::Result<Opened> {
        let (inner, backlog) = match endpoint {
            ServerEndpoint::Proxy { inner, .. } => (&**inner, inner.backlog()),
            other => (other, other.backlog()),
        };
        let adopted = matches!(inner, ServerEndpoint::Systemd(_));
        Ok(Opened { listener: Some(Listener::adopt(fd)?), backlog, adopted })
    }

    /// Where it listens, with the real port.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> io::Result<Address> {
        self.listener.as_ref().expect("it is there until it is taken").local_address()
    }

    /// The descriptor, for another thread or process; `None` if it is no socket of the system.
    #[must_use]
    pub fn into_descriptor(self) -> Option<OwnedFd> {
        match self.into_parts().0 {
            Listener::Tcp(listener) => Some(listener.into()),
            Listener::Unix(listener) => Some(OwnedFd::from(std::os::unix::net::UnixListener::from(listener))),
            _ => None,
        }
    }

    /// The listener, its backlog, and whether somebody else has made it.
    pub(crate) fn into_parts(mut self) -> (Listener, u32, bool) {
        let listener = self.listener.take().expect("it is there until it is taken");
        (listener, self.backlog, self.adopted)
    }

    fn ours(listener: Listener, backlog: u32) -> Opened {
        Opened { listener: Some(listener), backlog, adopted: false }
    }

    /// A descriptor that somebody else has made.
    pub(crate) fn adopted(fd: OwnedFd) -> io::Result<Opened> {
        let backlog = ListenOptions::default().backlog;
        Ok(Opened { listener: Some(Listener::adopt(fd)?), backlog, adopted: true })
    }
}

impl Drop for Opened {
    /// Nobody will ever accept from it: the file of a UNIX socket goes, unless somebody else listens there.
    fn drop(&mut self) {
        let Some(listener) = self.listener.take() else { return };
        let address = listener.local_address();
        drop(listener);
        if let Ok(Address::Unix(Some(path))) = address
            && !self.adopted
        {
            remove_socket(&path);
        }
    }
}

/// Removes a socket file that nobody listens at any more.
pub(crate) fn remove_socket(path: &Path) {
    if UnixStream::connect(path).is_err() {
        // Somebody else may have been faster.
        let _ = std::fs::remove_file(path);
    }
}

/// A socket file that was left behind by a process that died is in the way of nobody.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => match UnixStream::connect(path) {
            Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
            Err(error) => Err(error),
        },
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "the path is there and is not a socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
