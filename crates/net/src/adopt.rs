//! Sockets that somebody else has made: a supervisor, a parent process, a peer that passed them on. What they are is checked in the
//! reactor's `io`; here they get a factory or a protocol. Pipes are adopted in `stdio`, systemd's sockets found in `systemd`.
//!
//! Whoever made a socket may have it open still. So its end here is not its end: connections go on queueing at a listener that
//! its maker keeps, and the file of a UNIX socket is its maker's to remove.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use ropewalk_reactor::io::{DatagramSocket, Socket};
use ropewalk_reactor::{Name, Reactor};

use crate::datagram::{DatagramOptions, DatagramProtocol, DatagramTransport};
use crate::listen::{Port, ServerOptions};
use crate::opened::Opened;
use crate::protocol::{Factory, Protocol};
use crate::transport::{Origin, OriginKind, Transport, TransportOptions};

/// Accepts from a socket that listens already: TCP, or a UNIX stream socket. It becomes nonblocking and close-on-exec, for everybody
/// who shares it; its backlog stays. When it stops, the file of a UNIX socket is left where it is: whoever made it may still
/// listen there. `options.share` says nothing here.
///
/// ```
/// use std::rc::Rc;
/// use ropewalk_net::{Protocol, ServerOptions, Transport, adopt_listener};
/// use ropewalk_reactor::Reactor;
/// struct Echo;
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
///         transport.write(data);
///     }
/// }
/// let reactor = Reactor::new()?;
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let port = adopt_listener(&reactor, listener.into(), Rc::new(|| Echo), ServerOptions::default())?;
/// println!("listening on {}", port.endpoint());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// It is something else ([`io::ErrorKind::InvalidInput`], which says what), descriptors ran out, or the reactor is simulated. The
/// descriptor is closed then, as always when it was given away.
pub fn adopt_listener(
    reactor: &Reactor,
    fd: OwnedFd,
    factory: Rc<dyn Factory>,
    options: ServerOptions,
) -> io::Result<Port> {
    Port::start(reactor, Opened::adopted(fd)?, factory, None, None, options)
}

/// Makes a connection that stands already one of this reactor: TCP, or a UNIX stream socket. `connection_made` is called before this
/// returns. It becomes nonblocking and close-on-exec, for everybody who shares it.
///
/// ```
/// use std::os::unix::net::UnixStream;
/// use ropewalk_net::{Protocol, Transport, TransportOptions, adopt_connection};
/// use ropewalk_reactor::Reactor;
/// struct Echo;
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
///         transport.write(data);
///     }
/// }
/// let reactor = Reactor::new()?;
/// let (ours, theirs) = UnixStream::pair()?;
/// let transport = adopt_connection(&reactor, ours.into(), Echo, TransportOptions::default())?;
/// # drop((transport, theirs));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// It is something else ([`io::ErrorKind::InvalidInput`], which says what), it is not connected ([`io::ErrorKind::NotConnected`]),
/// descriptors ran out, or the reactor is simulated.
#[track_caller]
pub fn adopt_connection(
    reactor: &Reactor,
    fd: OwnedFd,
    protocol: impl Protocol,
    options: TransportOptions,
) -> io::Result<Transport> {
    let name = Name::here();
    let socket = Socket::adopt(fd)?;
    let peer = socket.peer_address()?;
    let origin = Rc::new(Origin { reactor: reactor.clone(), name, options, kind: OriginKind::Adopted });
    Transport::start(&origin, socket, peer, Box::new(protocol))
}

/// Gives the datagrams of a UDP socket that is bound already to `protocol`. `options.shared` says nothing here.
///
/// ```
/// use std::net::{SocketAddr, UdpSocket};
/// use ropewalk_net::{DatagramOptions, DatagramProtocol, DatagramTransport, adopt_datagrams};
/// use ropewalk_reactor::Reactor;
/// struct Ignore;
/// impl DatagramProtocol for Ignore {
///     fn datagram_received(&mut self, _: &DatagramTransport, _: &[u8], _: SocketAddr) {}
/// }
/// let reactor = Reactor::new()?;
/// let socket = UdpSocket::bind("127.0.0.1:0")?;
/// adopt_datagrams(&reactor, socket.into(), Ignore, DatagramOptions::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// It is something else ([`io::ErrorKind::InvalidInput`], which says what), or the reactor is simulated.
pub fn adopt_datagrams(
    reactor: &Reactor,
    fd: OwnedFd,
    protocol: impl DatagramProtocol,
    options: DatagramOptions,
) -> io::Result<DatagramTransport> {
    DatagramTransport::start(reactor, DatagramSocket::adopt(fd)?, Box::new(protocol), &options)
}
