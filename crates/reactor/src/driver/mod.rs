//! Drivers: where readiness, time, randomness and the network come from. The real one is the operating system's; the
//! simulated one stands in under unchanged code. Only the turn of the loop and the reactor's registration calls come here.

mod real;
pub(crate) mod sim;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::io::{DatagramSocket, Listener, Socket};
use crate::source::{Event, Key, Readiness};
use crate::time::Time;

pub(crate) use real::{RealDriver, prepare_tcp};
pub(crate) use sim::SimDriver;

/// Events taken from the system at once.
pub(crate) const EVENTS_MAX: usize = 1024;

/// How a listening socket is made.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Connections that may wait to be accepted. 4096 by default; the system caps it (`net.core.somaxconn`).
    pub backlog: u32,
    /// Whether other sockets of this process listen at the same port.
    pub share: Share,
}

/// Whether the sockets of several workers listen at one port (`SO_REUSEPORT`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Share {
    /// One socket, one worker: the option is not set.
    #[default]
    Alone,
    /// The first of several. The port is bound once without the option, so that a taken port is an error.
    First,
    /// A further one, at the port that the first one got.
    Joined,
}

impl Default for ListenOptions {
    fn default() -> Self {
        ListenOptions { backlog: 4096, share: Share::Alone }
    }
}

/// Looks a name up, on a thread that may block.
pub(crate) type Lookup = Box<dyn FnOnce() -> io::Result<Vec<SocketAddr>> + Send>;

/// Wakes a sleeping driver from another thread.
#[derive(Clone)]
pub(crate) enum Alarm {
    Real(Arc<mio::Waker>),
    Sim(Arc<sim::Bell>),
}

impl Alarm {
    pub(crate) fn ring(&self) {
        match self {
            // It can fail only when the loop's own descriptor is gone, and then nobody sleeps on it.
            Alarm::Real(waker) => drop(waker.wake()),
            Alarm::Sim(bell) => bell.ring(),
        }
    }
}

pub(crate) enum Driver {
    Real(RealDriver),
    Sim(SimDriver),
}

impl Driver {
    /// Waits for events: until `deadline`, for ever when it is `None`, not at all when it has passed.
    pub(crate) fn poll(&self, now: Time, deadline: Option<Time>, events: &mut Vec<Event>) -> io::Result<()> {
        match self {
            Driver::Real(real) => real.poll(deadline.map(|deadline| deadline.since(now)), events),
            Driver::Sim(sim) => sim.poll(deadline, events),
        }
    }

    pub(crate) fn now(&self) -> Time {
        match self {
            Driver::Real(real) => real.now(),
            Driver::Sim(sim) => sim.now(),
        }
    }

    /// The time at the last tick of a cheap clock: never after `now`.
    pub(crate) fn last_tick(&self) -> Time {
        match self {
            Driver::Real(real) => real.last_tick(),
            Driver::Sim(sim) => sim.now(),
        }
    }

    pub(crate) fn wall(&self) -> SystemTime {
        match self {
            Driver::Real(real) => real.wall(),
            Driver::Sim(sim) => SystemTime::UNIX_EPOCH + sim::EPOCH + sim.now().since(Time::START),
        }
    }

    pub(crate) fn random(&self) -> u64 {
        match self {
            Driver::Real(real) => real.random(),
            Driver::Sim(sim) => sim.random(),
        }
    }

    pub(crate) fn alarm(&self) -> Alarm {
        match self {
            Driver::Real(real) => Alarm::Real(real.waker()),
            Driver::Sim(sim) => Alarm::Sim(sim.bell()),
        }
    }

    pub(crate) fn listen_tcp(&self, address: SocketAddr, options: &ListenOptions) -> io::Result<Listener> {
        match self {
            Driver::Real(_) => real::listen_tcp(address, options),
            Driver::Sim(sim) => sim.listen(address).map(Listener::Sim),
        }
    }

    pub(crate) fn listen_unix(&self, path: &Path, options: &ListenOptions) -> io::Result<Listener> {
        match self {
            Driver::Real(_) => real::listen_unix(path, options),
            Driver::Sim(_) => Err(no_unix_sockets()),
        }
    }

    pub(crate) fn listen_abstract(&self, name: &[u8], options: &ListenOptions) -> io::Result<Listener> {
        match self {
            Driver::Real(_) => real::listen_abstract(name, options),
            Driver::Sim(_) => Err(no_unix_sockets()),
        }
    }

    pub(crate) fn connect_abstract(&self, name: &[u8]) -> io::Result<Socket> {
        match self {
            Driver::Real(_) => real::connect_abstract(name),
            Driver::Sim(_) => Err(no_unix_sockets()),
        }
    }

    pub(crate) fn connect_tcp(&self, from: Option<IpAddr>, to: SocketAddr) -> io::Result<Socket> {
        match self {
            Driver::Real(_) => real::connect_tcp(from, to),
            Driver::Sim(sim) => sim.connect(from, to).map(|end| Socket::Sim(Box::new(end))),
        }
    }

    /// A job for the pool that asks for the addresses of a name.
    pub(crate) fn lookup(&self, host: &str, port: u16) -> Lookup {
        match self {
            Driver::Real(_) => real::lookup(host, port),
            Driver::Sim(sim) => sim.lookup(host, port),
        }
    }

    /// The index of a network interface.
    pub(crate) fn interface(&self, name: &str) -> io::Result<u32> {
        match self {
            Driver::Real(_) => real::interface(name),
            Driver::Sim(_) => sim::interface(name),
        }
    }

    pub(crate) fn connect_unix(&self, path: &Path) -> io::Result<Socket> {
        match self {
            Driver::Real(_) => real::connect_unix(path),
            Driver::Sim(_) => Err(no_unix_sockets()),
        }
    }

    pub(crate) fn register_socket(&self, socket: &mut Socket, key: Key) -> io::Result<()> {
        match (self, socket) {
            (Driver::Real(real), Socket::Tcp(socket)) => real.register(socket, key),
            (Driver::Real(real), Socket::Unix(socket)) => real.register(socket, key),
            (Driver::Real(real), Socket::Passing(passing)) => real.register(passing.stream(), key),
            (Driver::Real(real), Socket::Pipe(pipes)) => real.register_pipes(pipes, key),
            (_, Socket::Sim(end)) => {
                end.register(key);
                Ok(())
            }
            (_, Socket::Layered(_)) => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a socket is registered before it gets layers",
            )),
            (Driver::Sim(_), _) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "a system socket in a simulation"))
            }
        }
    }

    pub(crate) fn register_listener(&self, listener: &mut Listener, key: Key) -> io::Result<()> {
        match (self, listener) {
            (Driver::Real(real), Listener::Tcp(listener)) => real.register_readable(listener, key),
            (Driver::Real(real), Listener::Unix(listener)) => real.register_readable(listener, key),
            (_, Listener::Sim(port)) => {
                port.register(key);
                Ok(())
            }
            // Nothing to watch: it has its one connection already.
            (Driver::Real(_), Listener::Pipe(_)) => Ok(()),
            (Driver::Sim(_), _) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "a system socket in a simulation"))
            }
        }
    }

    pub(crate) fn bind_udp(&self, address: SocketAddr, shared: bool) -> io::Result<DatagramSocket> {
        match self {
            Driver::Real(_) => real::bind_udp(address, shared),
            Driver::Sim(sim) => sim.bind_udp(address, shared).map(DatagramSocket::Sim),
        }
    }

    pub(crate) fn register_datagrams(&self, socket: &mut DatagramSocket, key: Key) -> io::Result<()> {
        match (self, socket) {
            (Driver::Real(real), DatagramSocket::Udp(socket)) => real.register_readable(socket, key),
            (_, DatagramSocket::Sim(hole)) => {
                hole.register(key);
                Ok(())
            }
            (Driver::Sim(_), _) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "a system socket in a simulation"))
            }
        }
    }

    /// Stops watching a socket whose description may outlive it. Failing means that it was not watched.
    pub(crate) fn deregister_socket(&self, socket: &mut Socket) {
        let _ = match (self, socket) {
            (Driver::Real(real), Socket::Tcp(socket)) => real.deregister(socket),
            (Driver::Real(real), Socket::Unix(socket)) => real.deregister(socket),
            (Driver::Real(real), Socket::Passing(passing)) => real.deregister(passing.stream()),
            // Two descriptors see to it themselves, and the simulated network has one owner.
            _ => Ok(()),
        };
    }

    /// The same for a listener.
    pub(crate) fn deregister_listener(&self, listener: &mut Listener) {
        let _ = match (self, listener) {
            (Driver::Real(real), Listener::Tcp(listener)) => real.deregister(listener),
            (Driver::Real(real), Listener::Unix(listener)) => real.deregister(listener),
            _ => Ok(()),
        };
    }

    /// Watches a foreign descriptor. Edge-triggered, as everything here.
    pub(crate) fn register_foreign(
        &self,
        fd: BorrowedFd<'_>,
        key: Key,
        interest: Readiness,
        again: bool,
    ) -> io::Result<()> {
        match self {
            Driver::Real(real) => real.register_foreign(fd, key, interest, again),
            Driver::Sim(_) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "a simulation watches no descriptors"))
            }
        }
    }

    pub(crate) fn deregister_foreign(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        match self {
            Driver::Real(real) => real.deregister_foreign(fd),
            Driver::Sim(_) => Ok(()),
        }
    }

    /// Begins to watch for a signal.
    pub(crate) fn watch_signal(&self, signal: i32) -> io::Result<()> {
        match self {
            Driver::Real(real) => real.watch_signal(signal),
            Driver::Sim(_) => Ok(()),
        }
    }

    /// Whether signals have come in that were not taken: a poll that did not wait may have brought them.
    pub(crate) fn has_signals(&self) -> bool {
        match self {
            Driver::Real(real) => real.has_signals(),
            Driver::Sim(sim) => sim.has_signals(),
        }
    }

    /// Signals that have come in since the last call.
    pub(crate) fn take_signals(&self) -> Vec<i32> {
        match self {
            Driver::Real(real) => real.take_signals(),
            Driver::Sim(sim) => sim.take_signals(),
        }
    }

    /// Whether the pools have threads. Without, the loop does their jobs.
    pub(crate) fn has_threads(&self) -> bool {
        matches!(self, Driver::Real(_))
    }

    /// How long a job of a pool without threads takes.
    pub(crate) fn job_delay(&self) -> Duration {
        match self {
            Driver::Real(_) => Duration::ZERO,
            Driver::Sim(sim) => sim.job_delay(),
        }
    }
}

fn no_unix_sockets() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "the simulated network has no UNIX sockets")
}
