//! The simulated driver: virtual time, a seeded network in memory, and the faults that a test asks for. One seed is one run.
//!
//! Bytes travel in segments that take a random time; writes are accepted in parts when the window is small; readiness is
//! edge-triggered exactly as the system's is, and a short read means "drained". `Simulation` is what tests hold; the loop
//! sees only `SimDriver`, and transports see [`End`] and [`Port`].

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::io::Address;
use crate::random::Random;
use crate::source::{Event, Key, Readiness};
use crate::time::Time;

mod caller;
mod datagram;
mod hosts;
mod log;
mod peer;

pub use caller::Caller;
pub(crate) use datagram::Mailhole;
pub use hosts::Reach;
pub(crate) use hosts::interface;
pub use log::{Act, Entry};
pub use peer::Peer;

/// The wall clock of every simulation begins here: 2026-01-01 00:00:00 UTC, after the Unix epoch.
pub(crate) const EPOCH: Duration = Duration::from_secs(1_767_225_600);

/// What goes wrong, and how fast things are. Change it at any time; it holds for what is sent from then on.
#[derive(Clone, Debug)]
pub struct Conditions {
    /// The shortest and the longest time that a segment takes.
    pub latency: (Duration, Duration),
    /// Bytes that one direction holds, on the way and unread together. Writers block beyond.
    pub window_bytes: usize,
    /// A write takes at most so many bytes at once, a random number up to this.
    pub segment_bytes_max: usize,
    /// So many accepts fail with "too many open files" (EMFILE) before one succeeds again.
    pub accepts_failing: u32,
    /// Of a thousand datagrams, so many are lost.
    pub datagrams_lost: u32,
    /// Of a thousand datagrams, so many arrive twice.
    pub datagrams_doubled: u32,
    /// The shortest and the longest time that a job of the thread pool takes.
    pub job: (Duration, Duration),
}

impl Default for Conditions {
    fn default() -> Self {
        Conditions {
            latency: (Duration::from_micros(50), Duration::from_millis(2)),
            window_bytes: 64 * 1024,
            segment_bytes_max: 16 * 1024,
            accepts_failing: 0,
            datagrams_lost: 0,
            datagrams_doubled: 0,
            job: (Duration::from_micros(100), Duration::from_millis(20)),
        }
    }
}

/// Wakes a simulated loop: it never really sleeps, so a flag is enough.
#[derive(Default)]
pub(crate) struct Bell(AtomicBool);

impl Bell {
    pub(crate) fn ring(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The simulated network and clock. Cheap to clone; all clones are one network.
#[derive(Clone)]
pub struct Network(Rc<RefCell<World>>);

struct World {
    now: Time,
    horizon: Option<Time>,
    /// Set when a poll found nothing to do up to the horizon.
    idle: bool,
    random: Random,
    conditions: Conditions,
    happenings: BTreeMap<(Time, u64), Happening>,
    serial: u64,
    ports: BTreeMap<SocketAddr, Weak<PortState>>,
    holes: Vec<Weak<datagram::Hole>>,
    next_port: u16,
    events: BTreeMap<Key, Readiness>,
    signals: Vec<i32>,
    hosts: hosts::Hosts,
    /// What was done, once a test wants to know.
    log: Option<Vec<Entry>>,
    /// Connects that found nobody, where a test answers them by hand.
    callers: Option<Vec<Rc<Pair>>>,
}

enum Happening {
    Deliver(Rc<Pipe>, Vec<u8>),
    End(Rc<Pipe>),
    Reset(Rc<Pipe>),
    Room(Rc<Pipe>),
    Connect(Rc<Pair>, SocketAddr),
    Datagram { from: SocketAddr, to: SocketAddr, data: Vec<u8>, sender: Weak<datagram::Hole> },
}

/// One direction of a connection.
struct Pipe(RefCell<PipeState>);

#[derive(Default)]
struct PipeState {
    arrived: VecDeque<u8>,
    in_flight: usize,
    /// Segments arrive in order: none before this.
    last_arrival: Time,
    end_sent: bool,
    ended: bool,
    reset: bool,
    reader_gone: bool,
    writer_blocked: bool,
    /// What the reader lets come unread, where it is not what the conditions say.
    window: Option<usize>,
    reader: Option<Key>,
    writer: Option<Key>,
}

struct Pair {
    pipes: [Rc<Pipe>; 2],
    addresses: [SocketAddr; 2],
    connected: RefCell<Option<Result<(), io::ErrorKind>>>,
}

struct PortState {
    address: SocketAddr,
    waiting: RefCell<VecDeque<(End, SocketAddr)>>,
    key: RefCell<Option<Key>>,
    network: Network,
}

/// A simulated listening socket.
pub struct Port(Rc<PortState>);

/// One end of a simulated connection. Dropping it closes it.
pub struct End {
    pair: Rc<Pair>,
    side: usize,
    network: Network,
    reset_on_close: RefCell<bool>,
}

impl std::fmt::Debug for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "End({} to {})", self.pair.addresses[self.side], self.pair.addresses[1 - self.side])
    }
}

impl std::fmt::Debug for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Port({})", self.0.address)
    }
}

impl World {
    fn push(&mut self, at: Time, happening: Happening) {
        self.serial += 1;
        self.happenings.insert((at, self.serial), happening);
    }

    fn between(&mut self, (least, most): (Duration, Duration)) -> Duration {
        let span = u64::try_from(most.saturating_sub(least).as_nanos()).unwrap_or(u64::MAX);
        least + Duration::from_nanos(self.random.below(span.saturating_add(1)))
    }

    fn latency(&mut self) -> Duration {
        let latency = self.conditions.latency;
        self.between(latency)
    }

    fn signal(&mut self, key: Option<Key>, readiness: Readiness) {
        if let Some(key) = key {
            let entry = self.events.entry(key).or_default();
            *entry = entry.and(readiness);
        }
    }

    /// When something sent now on this pipe arrives: never before what was sent earlier.
    fn arrival(&mut self, pipe: &Pipe) -> Time {
        let mut state = pipe.0.borrow_mut();
        let at = (self.now + self.latency()).max(state.last_arrival);
        state.last_arrival = at;
        at
    }
}

impl Network {
    fn new(seed: u64) -> Network {
        Network(Rc::new(RefCell::new(World {
            now: Time::START,
            horizon: None,
            idle: false,
            random: Random::new(seed),
            conditions: Conditions::default(),
            happenings: BTreeMap::new(),
            serial: 0,
            ports: BTreeMap::new(),
            holes: Vec::new(),
            next_port: 40_000,
            events: BTreeMap::new(),
            signals: Vec::new(),
            hosts: hosts::Hosts::new(),
            log: None,
            callers: None,
        })))
    }

    /// Changes the conditions.
    pub fn set_conditions(&self, change: impl FnOnce(&mut Conditions)) {
        change(&mut self.0.borrow_mut().conditions);
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.0.borrow().now
    }

    /// Lets time pass while nothing of the loop runs: what a callback that computes for so long does to it, or a machine
    /// that was asleep. Peers go on meanwhile; what they did is read when the loop comes back.
    pub fn hold(&self, how_long: Duration) {
        self.0.borrow_mut().now += how_long;
    }

    /// A random number of this run's seed.
    pub fn random(&self) -> u64 {
        self.0.borrow_mut().random.next()
    }

    /// Sends the loop a signal.
    pub fn raise(&self, signal: i32) {
        self.0.borrow_mut().signals.push(signal);
    }

    /// Connects from outside of the reactor, from 127.0.0.1: the test's own hand on the wire.
    #[must_use]
    pub fn connect(&self, to: SocketAddr) -> Peer {
        Peer::new(self.open(IpAddr::V4(Ipv4Addr::LOCALHOST), to))
    }

    /// The same from another address.
    #[must_use]
    pub fn connect_from(&self, from: IpAddr, to: SocketAddr) -> Peer {
        Peer::new(self.open(from, to))
    }

    fn open(&self, from: IpAddr, to: SocketAddr) -> End {
        let mut world = self.0.borrow_mut();
        let from = SocketAddr::new(from, world.fresh_port());
        world.note(from, Some(to), || Act::Asked);
        let pipe = || Rc::new(Pipe(RefCell::default()));
        let pair =
            Rc::new(Pair { pipes: [pipe(), pipe()], addresses: [from, to], connected: RefCell::new(None) });
        if let Some(takes) = world.way_to(to.ip()) {
            let at = world.now + takes;
            world.push(at, Happening::Connect(Rc::clone(&pair), to));
        }
        End { pair, side: 0, network: self.clone(), reset_on_close: RefCell::new(false) }
    }

    fn happen(&self, happening: Happening) {
        match happening {
            Happening::Deliver(pipe, bytes) => {
                let mut state = pipe.0.borrow_mut();
                state.in_flight -= bytes.len();
                if state.reader_gone {
                    state.reset = true;
                    self.0.borrow_mut().signal(state.writer, Readiness::WRITABLE.and(Readiness::ERROR));
                    return;
                }
                state.arrived.extend(bytes);
                self.0.borrow_mut().signal(state.reader, Readiness::READABLE);
            }
            Happening::End(pipe) => {
                let mut state = pipe.0.borrow_mut();
                state.ended = true;
                let readiness = Readiness::READABLE.and(Readiness::READ_CLOSED);
                self.0.borrow_mut().signal(state.reader, readiness);
            }
            Happening::Reset(pipe) => {
                let mut state = pipe.0.borrow_mut();
                state.reset = true;
                state.arrived.clear();
                let readiness = Readiness::READABLE.and(Readiness::WRITABLE).and(Readiness::READ_CLOSED);
                let mut world = self.0.borrow_mut();
                world.signal(state.reader, readiness.and(Readiness::ERROR));
                world.signal(state.writer, Readiness::WRITABLE.and(Readiness::ERROR));
            }
            Happening::Room(pipe) => {
                let writer = pipe.0.borrow().writer;
                self.0.borrow_mut().signal(writer, Readiness::WRITABLE);
            }
            Happening::Connect(pair, to) => self.establish(pair, to),
            Happening::Datagram { from, to, data, sender } => self.deliver(from, to, &data, &sender),
        }
    }

    fn establish(&self, pair: Rc<Pair>, to: SocketAddr) {
        let port = {
            let world = self.0.borrow();
            let exact = world.ports.get(&to).and_then(Weak::upgrade);
            exact.or_else(|| {
                let any =
                    if to.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(0u128.into()) };
                world.ports.get(&SocketAddr::new(any, to.port())).and_then(Weak::upgrade)
            })
        };
        if pair.pipes[1].0.borrow().reader_gone {
            // Given up meanwhile: the system's answer would meet a reset, and nobody accepts it.
            return;
        }
        let Some(port) = port else {
            if let Some(callers) = &mut self.0.borrow_mut().callers {
                return callers.push(pair);
            }
            return self.refuse(&pair, io::ErrorKind::ConnectionRefused);
        };
        let from = pair.addresses[0];
        let end = self.accept(pair);
        port.waiting.borrow_mut().push_back((end, from));
        let key = *port.key.borrow();
        self.0.borrow_mut().signal(key, Readiness::READABLE);
    }
}

impl World {
    fn fresh_port(&mut self) -> u16 {
        self.next_port = self.next_port.checked_add(1).unwrap_or(40_001);
        self.next_port
    }
}

impl End {
    fn outgoing(&self) -> &Rc<Pipe> {
        &self.pair.pipes[self.side]
    }

    fn incoming(&self) -> &Rc<Pipe> {
        &self.pair.pipes[1 - self.side]
    }

    pub(crate) fn register(&self, key: Key) {
        self.outgoing().0.borrow_mut().writer = Some(key);
        let mut state = self.incoming().0.borrow_mut();
        state.reader = Some(key);
        let mut world = self.network.0.borrow_mut();
        // Registering with an edge-triggered queue reports what is already true.
        if self.pair.connected.borrow().is_some() {
            world.signal(Some(key), Readiness::WRITABLE);
        }
        if !state.arrived.is_empty() {
            world.signal(Some(key), Readiness::READABLE);
        }
        if state.ended || state.reset {
            world.signal(Some(key), Readiness::READABLE.and(Readiness::READ_CLOSED));
        }
    }

    pub(crate) fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.incoming().0.borrow_mut();
        if state.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if state.arrived.is_empty() {
            return if state.ended { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let count = state.arrived.len().min(into.len());
        for (slot, byte) in into.iter_mut().zip(state.arrived.drain(..count)) {
            *slot = byte;
        }
        if std::mem::take(&mut state.writer_blocked) {
            drop(state);
            let mut world = self.network.0.borrow_mut();
            let at = world.now + world.latency();
            world.push(at, Happening::Room(Rc::clone(self.incoming())));
        }
        Ok(count)
    }

    pub(crate) fn write(&self, from: &[u8]) -> io::Result<usize> {
        match *self.pair.connected.borrow() {
            None => return Err(io::ErrorKind::NotConnected.into()),
            Some(Err(kind)) => return Err(kind.into()),
            Some(Ok(())) => {}
        }
        if from.is_empty() {
            return Ok(0);
        }
        let pipe = self.outgoing();
        let mut world = self.network.0.borrow_mut();
        let mut state = pipe.0.borrow_mut();
        if state.reset || self.incoming().0.borrow().reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if state.end_sent {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let window = state.window.unwrap_or(world.conditions.window_bytes);
        let room = window.saturating_sub(state.arrived.len() + state.in_flight);
        if room == 0 {
            state.writer_blocked = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let segment_max = world.conditions.segment_bytes_max as u64;
        let segment = 1 + world.random.below(segment_max) as usize;
        let count = from.len().min(room).min(segment);
        state.in_flight += count;
        let partial = count < from.len();
        if partial && count == room {
            state.writer_blocked = true;
        }
        drop(state);
        let at = world.arrival(pipe);
        if partial && count < room {
            // There is room left: say so soon, as a system does that took a part only.
            let soon = world.now + Duration::from_micros(1);
            world.push(soon, Happening::Room(Rc::clone(pipe)));
        }
        self.note(&mut world, || Act::Sent(from[..count].to_vec()));
        world.push(at, Happening::Deliver(Rc::clone(pipe), from[..count].to_vec()));
        Ok(count)
    }

    pub(crate) fn write_vectored(&self, from: &[io::IoSlice<'_>]) -> io::Result<usize> {
        crate::io::write_pieces(from, |piece| self.write(piece))
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if matches!(how, Shutdown::Read | Shutdown::Both) {
            let mut state = self.incoming().0.borrow_mut();
            state.ended = true;
        }
        if matches!(how, Shutdown::Write | Shutdown::Both) {
            self.send_end();
        }
        Ok(())
    }

    pub(crate) fn reset_on_close(&self) {
        *self.reset_on_close.borrow_mut() = true;
    }

    pub(crate) fn take_error(&self) -> Option<io::Error> {
        match *self.pair.connected.borrow() {
            Some(Err(kind)) => Some(kind.into()),
            Some(Ok(())) if self.incoming().0.borrow().reset => Some(io::ErrorKind::ConnectionReset.into()),
            _ => None,
        }
    }

    pub(crate) fn peer_address(&self) -> io::Result<Address> {
        match *self.pair.connected.borrow() {
            Some(Ok(())) => Ok(Address::Inet(self.pair.addresses[1 - self.side])),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    pub(crate) fn local_address(&self) -> Address {
        Address::Inet(self.pair.addresses[self.side])
    }

    fn send_end(&self) {
        let pipe = self.outgoing();
        if std::mem::replace(&mut pipe.0.borrow_mut().end_sent, true) {
            return;
        }
        let mut world = self.network.0.borrow_mut();
        match *self.pair.connected.borrow() {
            Some(Ok(())) => self.note(&mut world, || Act::Ended),
            None => self.note(&mut world, || Act::GivenUp),
            Some(Err(_)) => {}
        }
        let at = world.arrival(pipe);
        world.push(at, Happening::End(Rc::clone(pipe)));
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let unread = {
            let mut state = self.incoming().0.borrow_mut();
            state.reader_gone = true;
            state.reader = None;
            !state.arrived.is_empty()
        };
        self.outgoing().0.borrow_mut().writer = None;
        if *self.reset_on_close.borrow() || unread {
            let mut world = self.network.0.borrow_mut();
            self.note(&mut world, || Act::Reset);
            let at = world.arrival(self.outgoing());
            world.push(at, Happening::Reset(Rc::clone(self.outgoing())));
        } else {
            self.send_end();
        }
    }
}

impl Port {
    pub(crate) fn register(&self, key: Key) {
        *self.0.key.borrow_mut() = Some(key);
        // As with a socket: registering reports what is already true.
        if !self.0.waiting.borrow().is_empty() {
            self.0.network.0.borrow_mut().signal(Some(key), Readiness::READABLE);
        }
    }

    pub(crate) fn accept(&self) -> io::Result<(End, Address)> {
        {
            let mut world = self.0.network.0.borrow_mut();
            let failing = world.conditions.accepts_failing;
            if failing > 0 && !self.0.waiting.borrow().is_empty() {
                world.conditions.accepts_failing = failing - 1;
                return Err(io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error()));
            }
        }
        let next = self.0.waiting.borrow_mut().pop_front();
        next.map(|(end, peer)| (end, Address::Inet(peer))).ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    pub(crate) fn local_address(&self) -> Address {
        Address::Inet(self.0.address)
    }
}

impl Drop for PortState {
    fn drop(&mut self) {
        let mut world = self.network.0.borrow_mut();
        world.ports.remove(&self.address);
        world.note(self.address, None, || Act::Unlistened);
    }
}

pub(crate) struct SimDriver {
    network: Network,
    bell: std::sync::Arc<Bell>,
}

impl SimDriver {
    pub(crate) fn new(seed: u64) -> SimDriver {
        SimDriver { network: Network::new(seed), bell: std::sync::Arc::default() }
    }

    pub(crate) fn network(&self) -> Network {
        self.network.clone()
    }

    pub(crate) fn bell(&self) -> std::sync::Arc<Bell> {
        std::sync::Arc::clone(&self.bell)
    }

    /// Time stops at the horizon, if there is one.
    pub(crate) fn set_horizon(&self, horizon: Option<Time>) {
        let mut world = self.network.0.borrow_mut();
        world.horizon = horizon;
        world.idle = false;
    }

    /// Whether the last poll found nothing to do up to the horizon.
    pub(crate) fn is_idle(&self) -> bool {
        self.network.0.borrow().idle
    }

    pub(crate) fn poll(&self, deadline: Option<Time>, events: &mut Vec<Event>) -> io::Result<()> {
        let mut happened = false;
        loop {
            let mut world = self.network.0.borrow_mut();
            world.idle = false;
            let next = world.happenings.first_key_value().map(|(&(at, _), _)| at);
            if next.is_some_and(|at| at <= world.now) {
                // All that has happened is reported together: a loop that comes back late sees all of it at once.
                let happening = world.happenings.pop_first().map(|(_, happening)| happening);
                drop(world);
                happening.into_iter().for_each(|happening| self.network.happen(happening));
                happened = true;
                continue;
            }
            let rung = self.bell.0.swap(false, Ordering::SeqCst);
            if !world.events.is_empty() || !world.signals.is_empty() || rung {
                let ready = std::mem::take(&mut world.events);
                events.extend(ready.into_iter().map(|(key, readiness)| Event { key, readiness }));
                return Ok(());
            }
            if happened {
                // It was for a peer in a test's hand, which may want to look before time goes on.
                return Ok(());
            }
            let horizon = world.horizon.unwrap_or(Time::from_nanos(u64::MAX));
            match next {
                Some(at) if at <= horizon && deadline.is_none_or(|deadline| at <= deadline) => world.now = at,
                _ => {
                    match deadline {
                        Some(deadline) if deadline <= horizon => world.now = world.now.max(deadline),
                        _ => {
                            if let Some(horizon) = world.horizon {
                                world.now = world.now.max(horizon);
                            }
                            world.idle = true;
                        }
                    }
                    return Ok(());
                }
            }
        }
    }

    pub(crate) fn now(&self) -> Time {
        self.network.now()
    }

    pub(crate) fn random(&self) -> u64 {
        self.network.random()
    }

    pub(crate) fn has_signals(&self) -> bool {
        !self.network.0.borrow().signals.is_empty()
    }

    pub(crate) fn take_signals(&self) -> Vec<i32> {
        std::mem::take(&mut self.network.0.borrow_mut().signals)
    }

    pub(crate) fn job_delay(&self) -> Duration {
        let mut world = self.network.0.borrow_mut();
        let job = world.conditions.job;
        world.between(job)
    }

    pub(crate) fn listen(&self, mut address: SocketAddr) -> io::Result<Port> {
        let mut world = self.network.0.borrow_mut();
        if address.port() == 0 {
            address.set_port(world.fresh_port());
        }
        if world.ports.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let state = Rc::new(PortState {
            address,
            waiting: RefCell::default(),
            key: RefCell::new(None),
            network: self.network.clone(),
        });
        world.ports.insert(address, Rc::downgrade(&state));
        world.note(address, None, || Act::Listened);
        Ok(Port(state))
    }

    pub(crate) fn connect(&self, from: Option<IpAddr>, to: SocketAddr) -> io::Result<End> {
        self.network.reach(from, to).map(|from| self.network.open(from, to))
    }
}
