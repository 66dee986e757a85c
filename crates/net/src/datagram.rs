//! UDP: a protocol that is given datagrams, and a transport that sends them. Multicast too. Streams are elsewhere; nothing here
//! is buffered, for a datagram that cannot be sent now is one that may be lost anyway.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::Waker;

use ropewalk_reactor::io::DatagramSocket;
use ropewalk_reactor::{Failure, Key, Name, Reactor, Readiness, Source};

/// Datagrams taken in one turn before others get theirs.
const DATAGRAMS_PER_TURN: usize = 64;

/// What is done with datagrams. The loop calls it, one method at a time; a transport's methods never call it back.
///
/// ```
/// use std::net::SocketAddr;
/// use ropewalk_net::{DatagramProtocol, DatagramTransport};
///
/// struct Echo;
/// impl DatagramProtocol for Echo {
///     fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: SocketAddr) {
///         // A datagram that is not taken is lost, as on the way.
///         let _ = transport.write_to(data, from);
///     }
/// }
/// ```
pub trait DatagramProtocol: 'static {
    /// The socket is bound; before any datagram.
    fn start_protocol(&mut self, transport: &DatagramTransport) {
        let _ = transport;
    }

    /// One datagram, whole.
    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: SocketAddr);

    /// Nobody is there at the address that this one is connected to (ICMP). Others may still come.
    fn connection_refused(&mut self, transport: &DatagramTransport) {
        let _ = transport;
    }

    /// A waker of this transport was used.
    fn woken(&mut self, transport: &DatagramTransport) {
        let _ = transport;
    }

    /// It is over; nothing is called after this.
    fn stop_protocol(&mut self) {}
}

/// How a datagram socket is made.
#[derive(Clone, Debug)]
pub struct DatagramOptions {
    /// What the watchdog and the log call it.
    pub name: Name,
    /// Longer datagrams are dropped and counted, not cut. 8,192 bytes by default, as Twisted has it; UDP carries 65,507.
    pub datagram_bytes_max: usize,
    /// Lets several sockets have the same port, as those do that hear one multicast group.
    pub shared: bool,
    /// The only peer that is heard, and to which [`DatagramTransport::write`] goes.
    pub peer: Option<SocketAddr>,
}

impl Default for DatagramOptions {
    fn default() -> Self {
        DatagramOptions { name: Name::new("datagrams"), datagram_bytes_max: 8192, shared: false, peer: None }
    }
}

/// Figures of one socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatagramStatistics {
    /// Datagrams handed to the protocol.
    pub received: u64,
    /// Datagrams handed to the system.
    pub sent: u64,
    /// Datagrams dropped because they were longer than allowed.
    pub too_long: u64,
    /// Datagrams that the system did not take.
    pub not_sent: u64,
}

/// A bound UDP socket. Clones are one socket; dropping them does not end it.
#[derive(Clone)]
pub struct DatagramTransport(Rc<Hub>);

struct Hub {
    reactor: Reactor,
    key: Key,
    name: Name,
    longest: usize,
    address: SocketAddr,
    peer: Cell<Option<SocketAddr>>,
    socket: RefCell<Option<DatagramSocket>>,
    /// Taken out for the call.
    protocol: Cell<Option<Box<dyn DatagramProtocol>>>,
    stopping: Cell<bool>,
    figures: Cell<DatagramStatistics>,
}

/// Binds a UDP socket and gives what arrives to `protocol`.
///
/// ```
/// use std::net::SocketAddr;
/// use ropewalk_net::{DatagramOptions, DatagramProtocol, DatagramTransport, listen_udp};
/// use ropewalk_reactor::Simulation;
///
/// struct Count(u32);
/// impl DatagramProtocol for Count {
///     fn datagram_received(&mut self, transport: &DatagramTransport, _: &[u8], from: SocketAddr) {
///         self.0 += 1;
///         let _ = transport.write_to(self.0.to_string().as_bytes(), from);
///     }
/// }
///
/// let simulation = Simulation::new(1);
/// let here = "127.0.0.1:0".parse()?;
/// let transport = listen_udp(simulation.reactor(), here, Count(0), DatagramOptions::default())?;
/// println!("listening on udp:{}", transport.host());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The system's: the port is taken, the interface is not there, no descriptor is left.
pub fn listen_udp(
    reactor: &Reactor,
    address: SocketAddr,
    protocol: impl DatagramProtocol,
    options: DatagramOptions,
) -> io::Result<DatagramTransport> {
    let socket = reactor.bind_udp(address, options.shared)?;
    DatagramTransport::start(reactor, socket, Box::new(protocol), &options)
}

impl DatagramTransport {
    /// Gives what arrives at a socket to `protocol`.
    pub(crate) fn start(
        reactor: &Reactor,
        mut socket: DatagramSocket,
        protocol: Box<dyn DatagramProtocol>,
        options: &DatagramOptions,
    ) -> io::Result<DatagramTransport> {
        if let Some(peer) = options.peer {
            socket.connect(peer)?;
        }
        let address = socket.local_address()?;
        let mut made = None;
        let key = reactor.add_source(|key| {
            let hub = Rc::new(Hub {
                reactor: reactor.clone(),
                key,
                name: options.name,
                longest: options.datagram_bytes_max,
                address,
                peer: Cell::new(options.peer),
                socket: RefCell::new(None),
                protocol: Cell::new(Some(protocol)),
                stopping: Cell::new(false),
                figures: Cell::default(),
            });
            made = Some(Rc::clone(&hub));
            hub
        });
        let hub = made.expect("add_source calls its argument");
        if let Err(error) = reactor.register_datagrams(&mut socket, key) {
            reactor.remove_source(key);
            return Err(error);
        }
        *hub.socket.borrow_mut() = Some(socket);
        hub.call(|protocol, transport| protocol.start_protocol(transport));
        Ok(DatagramTransport(hub))
    }

    /// Sends one datagram.
    ///
    /// # Errors
    /// The system's: longer than UDP carries, no route, or no room just now (`WouldBlock`): nothing is kept to be sent later.
    pub fn write_to(&self, data: &[u8], to: SocketAddr) -> io::Result<()> {
        self.0.sent(|socket| socket.send_to(data, to))
    }

    /// Sends one datagram to the peer that the socket is connected to.
    ///
    /// # Errors
    /// As [`DatagramTransport::write_to`]; not connected; refused (`ConnectionRefused`), which tells of an earlier one.
    pub fn write(&self, data: &[u8]) -> io::Result<()> {
        self.0.sent(|socket| socket.send(data))
    }

    /// From now on only this peer is heard, and [`DatagramTransport::write`] goes to it.
    ///
    /// # Errors
    /// The system's.
    pub fn connect(&self, to: SocketAddr) -> io::Result<()> {
        self.0.with_socket(|socket| socket.connect(to))?;
        self.0.peer.set(Some(to));
        Ok(())
    }

    /// Where it is bound, with the real port.
    #[must_use]
    pub fn host(&self) -> SocketAddr {
        self.0.address
    }

    /// The peer that it is connected to.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.0.peer.get()
    }

    /// Joins a multicast group. `interface` is the interface's address, unspecified for the system's choice (IPv4; for an
    /// IPv6 group it is the system's).
    ///
    /// # Errors
    /// Not a multicast address, joined already, or no such interface.
    pub fn join_group(&self, group: IpAddr, interface: Ipv4Addr) -> io::Result<()> {
        self.0.with_socket(|socket| socket.set_membership(group, interface, true))
    }

    /// Leaves a multicast group.
    ///
    /// # Errors
    /// Not joined.
    pub fn leave_group(&self, group: IpAddr, interface: Ipv4Addr) -> io::Result<()> {
        self.0.with_socket(|socket| socket.set_membership(group, interface, false))
    }

    /// How far multicast goes: 0 this machine, 1 this network (the default), more through routers.
    ///
    /// # Errors
    /// The system's.
    pub fn set_ttl(&self, hops: u8) -> io::Result<()> {
        self.0.with_socket(|socket| socket.set_multicast_ttl(hops))
    }

    /// Whether this machine hears what it sends to a group; on by default.
    ///
    /// # Errors
    /// The system's.
    pub fn set_loopback_mode(&self, on: bool) -> io::Result<()> {
        self.0.with_socket(|socket| socket.set_multicast_loop(on))
    }

    /// The interface, by its address, through which multicast leaves (IPv4).
    ///
    /// # Errors
    /// The system's.
    pub fn set_outgoing_interface(&self, interface: Ipv4Addr) -> io::Result<()> {
        self.0.with_socket(|socket| socket.set_multicast_interface(interface))
    }

    /// Whether it may send to a broadcast address; off by default.
    ///
    /// # Errors
    /// The system's.
    pub fn set_broadcast_allowed(&self, on: bool) -> io::Result<()> {
        self.0.with_socket(|socket| socket.set_broadcast(on))
    }

    /// Ends it after the callback that runs: the port is free, the protocol's `stop_protocol` is the last call.
    pub fn stop_listening(&self) {
        self.0.stop();
    }

    /// Whether it is still bound.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        self.0.socket.borrow().is_some() && !self.0.stopping.get()
    }

    /// Figures.
    #[must_use]
    pub fn statistics(&self) -> DatagramStatistics {
        self.0.figures.get()
    }

    /// A waker that calls [`DatagramProtocol::woken`], usable from any thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.0.reactor.waker(self.0.key)
    }

    /// The reactor.
    #[must_use]
    pub fn reactor(&self) -> &Reactor {
        &self.0.reactor
    }
}

impl Hub {
    fn with_socket<T>(&self, then: impl FnOnce(&DatagramSocket) -> io::Result<T>) -> io::Result<T> {
        match &*self.socket.borrow() {
            Some(socket) if !self.stopping.get() => then(socket),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn count(&self, change: impl FnOnce(&mut DatagramStatistics)) {
        let mut figures = self.figures.get();
        change(&mut figures);
        self.figures.set(figures);
    }

    fn sent(&self, send: impl FnOnce(&DatagramSocket) -> io::Result<usize>) -> io::Result<()> {
        match self.with_socket(send) {
            Ok(_) => self.count(|figures| figures.sent += 1),
            Err(error) => {
                self.count(|figures| figures.not_sent += 1);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Calls the protocol, and ends it all if it has asked for that, or panicked.
    fn call(self: &Rc<Self>, call: impl FnOnce(&mut dyn DatagramProtocol, &DatagramTransport)) {
        let Some(mut protocol) = self.protocol.take() else { return };
        let transport = DatagramTransport(Rc::clone(self));
        let outcome = catch_unwind(AssertUnwindSafe(|| call(&mut *protocol, &transport)));
        if let Err(payload) = outcome {
            tracing::error!(datagrams = %self.name, "a protocol: {}", Failure::from_panic(payload));
            self.stopping.set(true);
        }
        self.protocol.set(Some(protocol));
        if self.stopping.get() {
            self.end();
        }
    }

    fn stop(&self) {
        self.stopping.set(true);
        let protocol = self.protocol.take();
        let idle = protocol.is_some();
        self.protocol.set(protocol);
        // While the protocol runs, the end of its callback is the end.
        if idle {
            self.end();
        }
    }

    fn end(&self) {
        let socket = self.socket.borrow_mut().take();
        drop(socket);
        self.reactor.remove_source(self.key);
        if let Some(mut protocol) = self.protocol.take() {
            let outcome = catch_unwind(AssertUnwindSafe(|| protocol.stop_protocol()));
            if let Err(payload) = outcome {
                tracing::error!(datagrams = %self.name, "a protocol: {}", Failure::from_panic(payload));
            }
        }
    }

    /// Takes what is there, within a budget.
    fn receive(self: &Rc<Self>, buffer: &mut [u8]) {
        for _ in 0..DATAGRAMS_PER_TURN {
            match self.with_socket(|socket| socket.receive(buffer)) {
                Ok((count, _)) if count > self.longest => self.count(|figures| figures.too_long += 1),
                Ok((count, from)) => {
                    self.count(|figures| figures.received += 1);
                    self.call(|protocol, transport| {
                        protocol.datagram_received(transport, &buffer[..count], from);
                    });
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected => return,
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::ConnectionRefused => {
                        self.call(|protocol, transport| protocol.connection_refused(transport));
                    }
                    // What the system has to tell of one datagram says nothing of the next.
                    _ => tracing::warn!(datagrams = %self.name, "receiving: {error}"),
                },
            }
        }
        self.reactor.ready_again(self.key, Readiness::READABLE);
    }
}

impl Source for Hub {
    fn name(&self) -> Name {
        self.name
    }

    fn kind(&self) -> &'static str {
        "datagram socket"
    }

    fn ready(self: Rc<Self>, _: Readiness) {
        let reactor = self.reactor.clone();
        let mut buffer = reactor.take_read_buffer();
        self.receive(&mut buffer);
        reactor.put_read_buffer(buffer);
    }

    fn woken(self: Rc<Self>) {
        self.call(|protocol, transport| protocol.woken(transport));
    }

    fn stopping(self: Rc<Self>) {
        self.stop();
    }

    fn abandoned(self: Rc<Self>) {
        self.stop();
    }
}

impl fmt::Debug for DatagramTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramTransport").field("host", &self.0.address).finish_non_exhaustive()
    }
}
