//! Listening: accepting within a budget, limits, and running out of descriptors without dying of it.
//!
//! One descriptor is kept in reserve. At EMFILE it is given up, the waiting connection is accepted with it, told the
//! factory's overflow answer and closed, and the reserve is taken again; then accepting backs off for a moment.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::io::{Address, Listener, Socket};
use ropewalk_reactor::{Deadline, Failure, Key, Name, Reactor, Readiness, Share, Source, Time};

use crate::endpoint::ServerEndpoint;
use crate::limits::{Admission, ConnectionLimits};
use crate::opened::{self, Opened};
use crate::protocol::Factory;
use crate::proxied::{ProxyProtocol, ProxyStatistics};
use crate::tls::{ServerFiles, TlsError, TlsServer};
use crate::transport::{Origin, OriginKind, Parcel, Transport, TransportOptions, Travelled};

/// Connections accepted in one turn before others get theirs.
const ACCEPTS_PER_TURN: usize = 64;
/// How long accepting pauses when descriptors have run out.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How to listen.
#[derive(Clone)]
pub struct ServerOptions {
    /// What the watchdog, the logs and the statistics call these connections.
    pub name: Name,
    /// The count of connections and its limits; a clone is the same count, for several workers or listeners.
    pub admission: Admission,
    /// How the transports behave.
    pub transport: TransportOptions,
    /// Whether several workers listen at this port.
    pub share: Share,
    /// The TLS of an `ssl:` endpoint, instead of one that is made of its files: to add to them, or to share one among
    /// several workers. It means nothing to other endpoints.
    pub tls: Option<TlsServer>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            name: Name::new("connection"),
            admission: Admission::new(ConnectionLimits::default()),
            transport: TransportOptions::default(),
            share: Share::Alone,
            tls: None,
        }
    }
}

/// A listening socket with its factory. Dropping the handle does not end it.
#[derive(Clone)]
pub struct Port(Rc<Listening>);

struct Listening {
    origin: Rc<Origin>,
    key: Key,
    listener: RefCell<Option<Listener>>,
    factory: Rc<dyn Factory>,
    /// The factory again, if the endpoint was `proxy:`.
    proxied: Option<Rc<ProxyProtocol>>,
    tls: Tls,
    address: Address,
    backlog: u32,
    /// Somebody else has made it, or has it now: the file of a UNIX socket is not ours to remove.
    adopted: Cell<bool>,
    /// Nothing is accepted for now: who connects waits in the system's queue.
    halted: Cell<bool>,
    /// The descriptor that is given up when there is none left.
    reserve: Cell<Option<File>>,
    timer: Cell<Deadline>,
    backing_off: Cell<bool>,
    accepted: Cell<u64>,
    starved: Cell<u64>,
}

/// Figures of one listening socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PortStatistics {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused by a limit, on all sockets that share it.
    pub refused: u64,
    /// Times that descriptors had run out.
    pub starved: u64,
    /// Connections now, on all sockets that share the limit.
    pub connections: usize,
}

/// Listens at an endpoint with the usual options.
///
/// ```
/// use ropewalk_net::{Protocol, Transport, listen};
/// use ropewalk_reactor::Reactor;
/// struct Echo;
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
///         transport.write(data);
///     }
/// }
/// let reactor = Reactor::new()?;
/// let port = listen(&reactor, &"tcp:0:interface=127.0.0.1".parse()?, || Echo)?;
/// println!("listening on {}", port.address());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The system's: the port is taken, the interface is not there, the path may not be written.
pub fn listen(reactor: &Reactor, endpoint: &ServerEndpoint, factory: impl Factory) -> io::Result<Port> {
    listen_with(reactor, endpoint, Rc::new(factory), ServerOptions::default())
}

/// Listens at an endpoint.
///
/// # Errors
/// The system's: the port is taken, the interface is not there, the path may not be written. Of the kind `InvalidInput`, with a
/// [`TlsError`](crate::tls::TlsError): the certificates of an `ssl:` endpoint cannot be used.
pub fn listen_with(
    reactor: &Reactor,
    endpoint: &ServerEndpoint,
    factory: Rc<dyn Factory>,
    options: ServerOptions,
) -> io::Result<Port> {
    start(reactor, endpoint, None, factory, options)
}

/// Accepts at a socket that was opened for this endpoint before ([`Opened`]).
///
/// # Errors
/// As [`listen_with`].
pub fn listen_on(
    reactor: &Reactor,
    endpoint: &ServerEndpoint,
    opened: Opened,
    factory: Rc<dyn Factory>,
    options: ServerOptions,
) -> io::Result<Port> {
    start(reactor, endpoint, Some(opened), factory, options)
}

fn start(
    reactor: &Reactor,
    endpoint: &ServerEndpoint,
    opened: Option<Opened>,
    factory: Rc<dyn Factory>,
    mut options: ServerOptions,
) -> io::Result<Port> {
    let (endpoint, proxy) = match endpoint {
        ServerEndpoint::Proxy { inner, options } => (&**inner, Some(options)),
        other => (other, None),
    };
    // A PROXY header comes in the clear, ahead of TLS.
    let (factory, tls) = secured(endpoint, factory, options.tls.take())?;
    let opened = match opened {
        Some(opened) => opened,
        None => Opened::open(reactor, endpoint, options.share)?,
    };
    let Some(proxy) = proxy else { return Port::start(reactor, opened, factory, None, tls, options) };
    let proxied = Rc::new(ProxyProtocol::with_options(factory, proxy.clone()));
    Port::start(reactor, opened, Rc::clone(&proxied) as _, Some(proxied), tls, options)
}

/// The TLS of an `ssl:` endpoint, and what it was made of.
pub(crate) type Tls = Option<(TlsServer, Box<ServerFiles>)>;

/// The factory under the TLS of its endpoint.
fn secured(
    endpoint: &ServerEndpoint,
    factory: Rc<dyn Factory>,
    given: Option<TlsServer>,
) -> io::Result<(Rc<dyn Factory>, Tls)> {
    let ServerEndpoint::Tls { files, .. } = endpoint else { return Ok((factory, None)) };
    let tls = match given {
        Some(tls) => tls,
        None => TlsServer::new(files.options()).map_err(TlsError::into_io)?,
    };
    Ok((Rc::new(tls.wrap_shared(factory)), Some((tls, files.clone()))))
}

impl Port {
    pub(crate) fn start(
        reactor: &Reactor,
        opened: Opened,
        factory: Rc<dyn Factory>,
        proxied: Option<Rc<ProxyProtocol>>,
        tls: Tls,
        mut options: ServerOptions,
    ) -> io::Result<Port> {
        let (mut listener, backlog, adopted) = opened.into_parts();
        let address = listener.local_address()?;
        if address == Address::Pipe {
            options.transport.write_stall = None;
        }
        let origin = Rc::new(Origin {
            reactor: reactor.clone(),
            name: options.name,
            options: options.transport,
            kind: OriginKind::Accepted(options.admission),
        });
        let reserve = open_reserve().ok();
        let mut made = None;
        let key = reactor.add_source(|key| {
            let listening = Rc::new(Listening {
                origin,
                key,
                listener: RefCell::new(None),
                factory,
                proxied,
                tls,
                address,
                backlog,
                adopted: Cell::new(adopted),
                halted: Cell::new(false),
                reserve: Cell::new(reserve),
                timer: Cell::new(Deadline::NONE),
                backing_off: Cell::new(false),
                accepted: Cell::new(0),
                starved: Cell::new(0),
            });
            made = Some(Rc::clone(&listening));
            listening
        });
        let port = Port(made.expect("add_source calls its argument"));
        if let Err(error) = reactor.register_listener(&mut listener, key) {
            reactor.remove_source(key);
            return Err(error);
        }
        *port.0.listener.borrow_mut() = Some(listener);
        port.0.factory.start_factory(reactor);
        Ok(port)
    }

    /// Where it listens, with the real port.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.0.address
    }

    /// The endpoint string with the real port: what is printed for people and scripts.
    #[must_use]
    pub fn endpoint(&self) -> ServerEndpoint {
        let backlog = self.0.backlog;
        let endpoint = match &self.0.address {
            Address::Inet(address) if let Some((_, files)) = &self.0.tls => ServerEndpoint::Tls {
                port: address.port(),
                interface: Some(address.ip()),
                backlog,
                files: files.clone(),
            },
            Address::Inet(address) => ServerEndpoint::Tcp {
                port: address.port(),
                interface: Some(address.ip()),
                v6: address.is_ipv6(),
                backlog,
            },
            Address::Unix(path) => {
                ServerEndpoint::Unix { path: path.clone().unwrap_or_default(), mode: 0o666, backlog }
            }
            Address::Abstract(name) => {
                ServerEndpoint::Abstract { name: String::from_utf8_lossy(name).into_owned(), backlog }
            }
            _ => ServerEndpoint::Stdio,
        };
        match &self.0.proxied {
            None => endpoint,
            Some(proxied) => {
                let options = proxied.options().clone();
                ServerEndpoint::Proxy { inner: Box::new(endpoint), options }
            }
        }
    }

    /// What has become of connections at a `proxy:` endpoint; `None` at any other.
    #[must_use]
    pub fn proxy_statistics(&self) -> Option<ProxyStatistics> {
        self.0.proxied.as_ref().map(|proxied| proxied.statistics())
    }

    /// The TLS of an `ssl:` endpoint: to reload its files, to count its handshakes, to share it with another port.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsServer> {
        self.0.tls.as_ref().map(|(tls, _)| tls)
    }

    /// Figures.
    #[must_use]
    pub fn statistics(&self) -> PortStatistics {
        let admission = self.0.admission();
        PortStatistics {
            accepted: self.0.accepted.get(),
            refused: admission.refused(),
            starved: self.0.starved.get(),
            connections: admission.connections(),
        }
    }

    /// Connections that were accepted here and stand. Linear in all of the reactor's.
    #[must_use]
    pub fn connections(&self) -> Vec<Transport> {
        let mut all = Transport::all(self.reactor());
        all.retain(|transport| Rc::ptr_eq(&transport.0.origin, &self.0.origin));
        all
    }

    fn reactor(&self) -> &Reactor {
        &self.0.origin.reactor
    }

    /// Bids the peers of all connections to come to an end, where the protocol has words for it; accepting goes on.
    pub fn drain(&self) {
        self.0.factory.drain();
    }

    /// Asks each connection that was accepted here to come to its end, as the end of the program does.
    pub fn announce_stop(&self) {
        for transport in self.connections() {
            Source::stopping(transport.0);
        }
    }

    /// Accepts nothing for now: whoever connects waits in the system's queue, until [`Port::resume`] or until another process
    /// accepts from the same socket.
    pub fn halt(&self) {
        self.0.halted.set(true);
    }

    /// Accepts again.
    pub fn resume(&self) {
        if self.0.halted.replace(false) {
            self.reactor().ready_again(self.0.key, Readiness::READABLE);
        }
    }

    /// The listening socket once more, for another process; `None` if it is no socket of the system, or is closed.
    #[must_use]
    pub fn descriptor(&self) -> Option<OwnedFd> {
        let listener = self.0.listener.borrow();
        let fd = match listener.as_ref()? {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener) => listener.as_fd(),
            _ => return None,
        };
        fd.try_clone_to_owned().ok()
    }

    /// Stops listening, because another process accepts from the socket now: the file of a UNIX socket stays.
    pub fn hand_over(&self) {
        self.0.adopted.set(true);
        self.0.stop();
    }

    /// Goes on with a connection that another process has frozen and this port's factory can thaw. `Ok(None)`: it cannot, or a
    /// limit has no room.
    ///
    /// # Errors
    /// The descriptor is no connection, or is not connected any more, or the system does not watch it.
    pub fn thaw(&self, parcel: Parcel) -> io::Result<Option<Transport>> {
        self.thaw_socket(Socket::adopt(parcel.descriptor)?, &parcel.travelled)
    }

    /// The same with a connection that was frozen in this very process ([`Transport::freeze_here`]), which is gone then.
    ///
    /// # Errors
    /// As [`Port::thaw`].
    #[doc(hidden)]
    pub fn thaw_here(&self, frozen: &Transport, travelled: &Travelled) -> io::Result<Option<Transport>> {
        match frozen.0.part_with_socket() {
            Some(socket) => self.thaw_socket(socket, travelled),
            None => Ok(None),
        }
    }

    fn thaw_socket(&self, socket: Socket, travelled: &Travelled) -> io::Result<Option<Transport>> {
        let peer = socket.peer_address()?;
        let factory = &self.0.factory;
        let thaw = AssertUnwindSafe(|| factory.thaw(&peer, &travelled.frozen));
        let Ok(Some(protocol)) = catch_unwind(thaw) else { return Ok(None) };
        let counts = factory.counts_peer(&peer);
        if !self.0.admission().admit(peer.ip().filter(|_| counts)) {
            return Ok(None);
        }
        Transport::start_thawed(&self.0.origin, socket, travelled, peer, counts, protocol).map(Some)
    }

    /// Stops listening. Connections that stand stay; the factory is told.
    pub fn stop_listening(&self) {
        self.0.stop();
    }
}

impl Listening {
    fn admission(&self) -> &Admission {
        match &self.origin.kind {
            OriginKind::Accepted(admission) => admission,
            _ => unreachable!("a listener's origin accepts"),
        }
    }

    fn stop(&self) {
        let Some(mut listener) = self.listener.borrow_mut().take() else { return };
        // Somebody else may have it open as well, and then the system would go on telling of it.
        self.origin.reactor.deregister_listener(&mut listener);
        drop(listener);
        drop(self.reserve.take());
        self.origin.reactor.remove_deadline(self.timer.replace(Deadline::NONE));
        self.origin.reactor.remove_source(self.key);
        if let Address::Unix(Some(path)) = &self.address
            && !self.adopted.get()
        {
            // Somebody else may have removed it already, or a successor listens there: both are fine.
            opened::remove_socket(path);
        }
        self.factory.stop_factory();
    }

    fn accept_some(&self) {
        for _ in 0..ACCEPTS_PER_TURN {
            let accepted = match &*self.listener.borrow() {
                Some(listener) => listener.accept(),
                None => return,
            };
            match accepted {
                Ok((socket, peer)) => self.welcome(socket, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_out_of_descriptors(&error) => return self.starve(),
                // The connection ended before it was accepted, or the like: the next one may be fine.
                Err(error) => tracing::debug!(port = %self.address, "accepting: {error}"),
            }
        }
        self.origin.reactor.ready_again(self.key, Readiness::READABLE);
    }

    fn welcome(&self, socket: Socket, peer: Address) {
        let counts = self.factory.counts_peer(&peer);
        let counted = peer.ip().filter(|_| counts);
        if !self.admission().admit(counted) {
            return self.turn_away(&socket);
        }
        if self.adopted.get() {
            // Those that came before the listener was ours have inherited nothing of ours.
            socket.prepare();
        }
        let built = catch_unwind(AssertUnwindSafe(|| self.factory.build_protocol(&peer)));
        let built = built.unwrap_or_else(|payload| {
            tracing::error!(port = %self.address, "a factory: {}", Failure::from_panic(payload));
            None
        });
        let Some(protocol) = built else {
            return self.admission().leave(counted);
        };
        self.accepted.set(self.accepted.get() + 1);
        if let Err(error) = Transport::start_accepted(&self.origin, socket, peer, counts, protocol) {
            tracing::warn!(port = %self.address, "a connection could not be watched: {error}");
        }
    }

    /// Says why, if the factory has words for it, and closes.
    fn turn_away(&self, socket: &Socket) {
        let words = self.factory.overflow();
        if !words.is_empty() {
            // One attempt into an empty socket buffer; whoever has none gets the close alone.
            let _ = socket.write(words);
        }
    }

    fn starve(&self) {
        self.starved.set(self.starved.get() + 1);
        if self.starved.get().is_power_of_two() {
            tracing::warn!(port = %self.address, times = self.starved.get(), "no descriptors left: accepting backs off");
        }
        if let Some(reserve) = self.reserve.take() {
            drop(reserve);
            if let Some(listener) = &*self.listener.borrow()
                && let Ok((socket, _)) = listener.accept()
            {
                self.turn_away(&socket);
            }
            self.reserve.set(open_reserve().ok());
        }
        self.backing_off.set(true);
        let reactor = &self.origin.reactor;
        self.timer.set(reactor.insert_deadline(reactor.now() + BACK_OFF, self.key));
    }
}

impl Source for Listening {
    fn name(&self) -> Name {
        self.origin.name
    }

    fn kind(&self) -> &'static str {
        "listener"
    }

    fn ready(self: Rc<Self>, _readiness: Readiness) {
        if !self.backing_off.get() && !self.halted.get() {
            self.accept_some();
        }
    }

    fn due(self: Rc<Self>) {
        self.backing_off.set(false);
        let reserve = self.reserve.take().or_else(|| open_reserve().ok());
        self.reserve.set(reserve);
        if !self.halted.get() {
            self.accept_some();
        }
    }

    fn put_off(self: Rc<Self>, until: Time) {
        self.timer.set(self.origin.reactor.insert_deadline(until, self.key));
    }

    fn stopping(self: Rc<Self>) {
        self.stop();
    }

    fn abandoned(self: Rc<Self>) {
        self.stop();
    }
}

fn open_reserve() -> io::Result<File> {
    File::open("/dev/null")
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    matches!(
        errno,
        Some(
            rustix::io::Errno::MFILE
                | rustix::io::Errno::NFILE
                | rustix::io::Errno::NOBUFS
                | rustix::io::Errno::NOMEM
        )
    )
}
