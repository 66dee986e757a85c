//! The real driver: mio's edge-triggered readiness, the system's clocks, seeds and signals. This is the one place below the
//! application floor where the clocks are read.
#![allow(
    clippy::disallowed_methods,
    reason = "the real driver is what everybody else asks instead of the clocks"
)]

use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, ToSocketAddrs};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use nix::time::{ClockId, clock_gettime};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};
use signal_hook_mio::v1_0::Signals;
use socket2::{Domain, Protocol, Socket as Socket2, TcpKeepalive, Type};

use super::{EVENTS_MAX, ListenOptions, Lookup, Share};
use crate::io::{DatagramSocket, Listener, Pipes, Socket};
use crate::random::Random;
use crate::source::{Event, Half, Key, Readiness};
use crate::time::Time;

/// A connection that was silent for so long is asked whether it is still there, and then again in intervals.
const KEEPALIVE_TIME: Duration = Duration::from_secs(120);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);

const WAKE: Token = Token(usize::MAX);
const SIGNAL: Token = Token(usize::MAX - 1);

pub(crate) struct RealDriver {
    poll: RefCell<(Poll, Events)>,
    registry: Registry,
    waker: Arc<mio::Waker>,
    /// The monotonic clock when the driver was made, in nanoseconds.
    start: u64,
    random: RefCell<Random>,
    signals: RefCell<Option<Signals>>,
    signalled: Cell<bool>,
}

impl RealDriver {
    pub(crate) fn new() -> io::Result<RealDriver> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = Arc::new(mio::Waker::new(&registry, WAKE)?);
        let seed = getrandom::u64().map_err(io::Error::other)?;
        Ok(RealDriver {
            poll: RefCell::new((poll, Events::with_capacity(EVENTS_MAX))),
            registry,
            waker,
            start: clock(ClockId::CLOCK_MONOTONIC),
            random: RefCell::new(Random::new(seed)),
            signals: RefCell::new(None),
            signalled: Cell::new(false),
        })
    }

    pub(crate) fn poll(&self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let (poll, ready) = &mut *self.poll.borrow_mut();
        match poll.poll(ready, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        for event in ready.iter() {
            match event.token() {
                WAKE => {}
                SIGNAL => self.signalled.set(true),
                Token(token) => {
                    let readiness = match Half::from_token(token) {
                        None => readiness(event),
                        Some(half) => half_readiness(half, event),
                    };
                    events.push(Event { key: Key::from_token(token), readiness });
                }
            }
        }
        Ok(())
    }

    pub(crate) fn now(&self) -> Time {
        self.since_start(clock(ClockId::CLOCK_MONOTONIC))
    }

    /// The time at the system's last tick, some milliseconds ago at most: a quarter of the cost of `now`.
    pub(crate) fn last_tick(&self) -> Time {
        self.since_start(clock(ClockId::CLOCK_MONOTONIC_COARSE))
    }

    fn since_start(&self, nanos: u64) -> Time {
        Time::from_nanos(nanos.saturating_sub(self.start))
    }

    pub(crate) fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    pub(crate) fn random(&self) -> u64 {
        self.random.borrow_mut().next()
    }

    pub(crate) fn waker(&self) -> Arc<mio::Waker> {
        Arc::clone(&self.waker)
    }

    pub(crate) fn register(&self, source: &mut impl mio::event::Source, key: Key) -> io::Result<()> {
        self.registry.register(
            source,
            Token(key.token()),
            Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY,
        )
    }

    pub(crate) fn register_readable(&self, source: &mut impl mio::event::Source, key: Key) -> io::Result<()> {
        self.registry.register(source, Token(key.token()), Interest::READABLE)
    }

    pub(crate) fn register_pipes(&self, pipes: &mut Pipes, key: Key) -> io::Result<()> {
        pipes.register(&self.registry, key)
    }

    pub(crate) fn deregister(&self, source: &mut impl mio::event::Source) -> io::Result<()> {
        self.registry.deregister(source)
    }

    pub(crate) fn register_foreign(
        &self,
        fd: BorrowedFd<'_>,
        key: Key,
        interest: Readiness,
        again: bool,
    ) -> io::Result<()> {
        let mut wanted = None;
        if interest.is_readable() {
            wanted = Some(Interest::READABLE);
        }
        if interest.is_writable() {
            wanted = Some(wanted.map_or(Interest::WRITABLE, |wanted: Interest| wanted | Interest::WRITABLE));
        }
        let wanted = wanted.unwrap_or(Interest::PRIORITY);
        let raw = fd.as_raw_fd();
        let mut source = SourceFd(&raw);
        if again {
            self.registry.reregister(&mut source, Token(key.token()), wanted)
        } else {
            self.registry.register(&mut source, Token(key.token()), wanted)
        }
    }

    pub(crate) fn deregister_foreign(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.registry.deregister(&mut SourceFd(&fd.as_raw_fd()))
    }

    pub(crate) fn watch_signal(&self, signal: i32) -> io::Result<()> {
        let mut signals = self.signals.borrow_mut();
        match &mut *signals {
            Some(signals) => signals.add_signal(signal),
            none => {
                let mut made = Signals::new([signal])?;
                self.registry.register(&mut made, SIGNAL, Interest::READABLE)?;
                *none = Some(made);
                Ok(())
            }
        }
    }

    pub(crate) fn has_signals(&self) -> bool {
        self.signalled.get()
    }

    pub(crate) fn take_signals(&self) -> Vec<i32> {
        if !self.signalled.replace(false) {
            return Vec::new();
        }
        self.signals.borrow_mut().as_mut().map(|signals| signals.pending().collect()).unwrap_or_default()
    }
}

/// A clock of the system, in nanoseconds.
fn clock(which: ClockId) -> u64 {
    // It fails only for clocks that a system does not have, and Linux has both. Neither of its numbers is ever negative.
    clock_gettime(which).map_or(0, |now| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

fn readiness(event: &mio::event::Event) -> Readiness {
    let mut readiness = Readiness::NONE;
    readiness.set(Readiness::READABLE, event.is_readable());
    readiness.set(Readiness::WRITABLE, event.is_writable());
    readiness.set(Readiness::READ_CLOSED, event.is_read_closed());
    readiness.set(Readiness::WRITE_CLOSED, event.is_write_closed());
    readiness.set(Readiness::ERROR, event.is_error());
    readiness.set(Readiness::PRIORITY, event.is_priority());
    readiness
}

/// What happened to one of two descriptors, told as if it were one socket. The end of the input says nothing about the output; a
/// short read has drained no terminal, which gives a line at a time, so the input is always read to the end.
fn half_readiness(half: Half, event: &mio::event::Event) -> Readiness {
    match half {
        Half::Input => Readiness::READABLE.and(Readiness::READ_CLOSED),
        Half::Output => {
            let mut readiness = Readiness::NONE;
            readiness.set(Readiness::WRITABLE, event.is_writable());
            let broken = event.is_error() || event.is_write_closed();
            readiness.set(Readiness::ERROR.and(Readiness::WRITE_CLOSED), broken);
            readiness
        }
    }
}

pub(super) fn listen_tcp(address: SocketAddr, options: &ListenOptions) -> io::Result<Listener> {
    let socket = Socket2::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    // A port whose last connections are in TIME_WAIT may be bound again; one that is listened at may not.
    socket.set_reuse_address(true)?;
    match options.share {
        Share::Alone => {}
        Share::First => {
            // Bound once without sharing, so that a port that somebody else has is still an error.
            let probe =
                Socket2::new(Domain::for_address(address), Type::STREAM.cloexec(), Some(Protocol::TCP))?;
            probe.set_reuse_address(true)?;
            probe.bind(&address.into())?;
            drop(probe);
            socket.set_reuse_port(true)?;
        }
        Share::Joined => socket.set_reuse_port(true)?,
    }
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    prepare_tcp(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(backlog(options))?;
    Ok(Listener::Tcp(mio::net::TcpListener::from_std(socket.into())))
}

/// What every TCP connection is set to. Accepted sockets inherit all of it from their listener: no system call per connection.
pub(crate) fn prepare_tcp(socket: &Socket2) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_out_of_band_inline(true)?;
    // A peer that vanished from a connection that is silent for ever, as a viewer's may be, is found out in the end.
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)
}

pub(super) fn listen_unix(path: &Path, options: &ListenOptions) -> io::Result<Listener> {
    let socket = Socket2::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    socket.listen(backlog(options))?;
    Ok(Listener::Unix(mio::net::UnixListener::from_std(socket.into())))
}

pub(super) fn listen_abstract(name: &[u8], options: &ListenOptions) -> io::Result<Listener> {
    let socket = Socket2::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.bind(&abstract_address(name)?)?;
    socket.listen(backlog(options))?;
    Ok(Listener::Unix(mio::net::UnixListener::from_std(socket.into())))
}

fn backlog(options: &ListenOptions) -> i32 {
    i32::try_from(options.backlog).unwrap_or(i32::MAX)
}

pub(super) fn connect_tcp(from: Option<IpAddr>, to: SocketAddr) -> io::Result<Socket> {
    let socket = match from {
        Some(from) => connect_tcp_from(from, to)?,
        None => mio::net::TcpStream::connect(to)?,
    };
    socket.set_nodelay(true)?;
    Ok(Socket::Tcp(socket))
}

/// Connects from one of the machine's addresses, at a port of the system's choice.
fn connect_tcp_from(from: IpAddr, to: SocketAddr) -> io::Result<mio::net::TcpStream> {
    let socket =
        Socket2::new(Domain::for_address(to), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    let from = match (from, to) {
        // A link-local address is one of an interface, which must be the one through which the peer is reached.
        (IpAddr::V6(from), SocketAddr::V6(to)) => SocketAddrV6::new(from, 0, 0, to.scope_id()).into(),
        (from, _) => SocketAddr::new(from, 0),
    };
    socket.bind(&from.into())?;
    match socket.connect(&to.into()) {
        Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => Err(error),
        _ => Ok(mio::net::TcpStream::from_std(socket.into())),
    }
}

/// The system's resolver (getaddrinfo), which blocks, with what its files and its configuration say.
pub(super) fn lookup(host: &str, port: u16) -> Lookup {
    let host = host.to_owned();
    Box::new(move || (host.as_str(), port).to_socket_addrs().map(Iterator::collect))
}

/// The index of a network interface; a system call that does not block.
pub(super) fn interface(name: &str) -> io::Result<u32> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    Ok(rustix::net::netdevice::name_to_index(&socket, name)?)
}

pub(super) fn connect_unix(path: &Path) -> io::Result<Socket> {
    mio::net::UnixStream::connect(path).map(Socket::Unix)
}

pub(super) fn connect_abstract(name: &[u8]) -> io::Result<Socket> {
    let socket = Socket2::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.connect(&abstract_address(name)?)?;
    Ok(Socket::Unix(mio::net::UnixStream::from_std(socket.into())))
}

/// A name outside the file system is one that begins with a null byte.
fn abstract_address(name: &[u8]) -> io::Result<socket2::SockAddr> {
    let name = [b"\0", name].concat();
    socket2::SockAddr::unix(OsStr::from_bytes(&name))
}

pub(super) fn bind_udp(address: SocketAddr, shared: bool) -> io::Result<DatagramSocket> {
    let socket =
        Socket2::new(Domain::for_address(address), Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    // For UDP this lets several sockets have one port, as listeners of a multicast group do.
    socket.set_reuse_address(shared)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.bind(&address.into())?;
    Ok(DatagramSocket::Udp(mio::net::UdpSocket::from_std(socket.into())))
}
