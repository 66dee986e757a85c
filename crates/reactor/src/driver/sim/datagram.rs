//! Datagrams of the simulated network: they take a random time each, so they overtake each other, and are lost or doubled as
//! the conditions say.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};

use super::{Act, Happening, Network, SimDriver, World};
use crate::source::{Key, Readiness};

/// What IPv4 carries in one datagram at the most: 65,535 bytes less the headers of IP and UDP (RFC 768).
const DATAGRAM_BYTES_MAX: usize = 65_507;
/// Datagrams that wait unread; what comes beyond is lost, as in a system's receive buffer.
const WAITING_MAX: usize = 256;

/// A bound UDP socket of the simulated network.
pub struct Mailhole(Rc<Hole>);

pub(super) struct Hole {
    address: SocketAddr,
    peer: Cell<Option<SocketAddr>>,
    groups: RefCell<BTreeSet<IpAddr>>,
    hears_itself: Cell<bool>,
    waiting: RefCell<VecDeque<(Vec<u8>, SocketAddr)>>,
    /// A datagram that this one sent to its connected peer found nobody there.
    refused: Cell<bool>,
    key: Cell<Option<Key>>,
    network: Network,
}

impl std::fmt::Debug for Mailhole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mailhole({})", self.0.address)
    }
}

impl Mailhole {
    pub(crate) fn register(&self, key: Key) {
        self.0.key.set(Some(key));
        if !self.0.waiting.borrow().is_empty() {
            self.0.network.0.borrow_mut().signal(Some(key), Readiness::READABLE);
        }
    }

    pub(crate) fn receive(&self, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        if self.0.refused.take() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (data, from) = self.0.waiting.borrow_mut().pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let count = data.len().min(into.len());
        into[..count].copy_from_slice(&data[..count]);
        Ok((count, from))
    }

    pub(crate) fn send(&self, data: &[u8], to: Option<SocketAddr>) -> io::Result<usize> {
        let hole = &self.0;
        let to = to.or(hole.peer.get()).ok_or(io::ErrorKind::NotConnected)?;
        if data.len() > DATAGRAM_BYTES_MAX {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::MSGSIZE.raw_os_error()));
        }
        let from = hole.source(to);
        let mut world = hole.network.0.borrow_mut();
        world.note(from, Some(to), || Act::Datagram(data.to_vec()));
        let copies = world.copies();
        for _ in 0..copies {
            let at = world.now + world.latency();
            world
                .push(at, Happening::Datagram { from, to, data: data.to_vec(), sender: Rc::downgrade(hole) });
        }
        Ok(data.len())
    }

    pub(crate) fn connect(&self, to: SocketAddr) {
        self.0.peer.set(Some(to));
    }

    pub(crate) fn local_address(&self) -> SocketAddr {
        self.0.address
    }

    pub(crate) fn set_membership(&self, group: IpAddr, member: bool) -> io::Result<()> {
        if !group.is_multicast() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut groups = self.0.groups.borrow_mut();
        let changed = if member { groups.insert(group) } else { groups.remove(&group) };
        match changed {
            true => Ok(()),
            false if member => Err(io::ErrorKind::AddrInUse.into()),
            false => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }

    pub(crate) fn set_multicast_loop(&self, on: bool) {
        self.0.hears_itself.set(on);
    }
}

impl Hole {
    /// A socket bound to all addresses sends from loopback.
    fn source(&self, to: SocketAddr) -> SocketAddr {
        match self.address.ip() {
            ip if !ip.is_unspecified() => self.address,
            IpAddr::V4(_) => SocketAddr::new([127, 0, 0, 1].into(), self.address.port()),
            IpAddr::V6(_) if to.is_ipv4() => SocketAddr::new([127, 0, 0, 1].into(), self.address.port()),
            IpAddr::V6(_) => SocketAddr::new(IpAddr::V6(1_u128.into()), self.address.port()),
        }
    }

    /// Whether a datagram for `to` is for this one.
    fn is_at(&self, to: SocketAddr) -> bool {
        let here = self.address;
        let addressed = if to.ip().is_multicast() {
            self.groups.borrow().contains(&to.ip())
        } else {
            here.ip() == to.ip() || here.ip().is_unspecified() && here.is_ipv4() == to.is_ipv4()
        };
        addressed && here.port() == to.port()
    }

    fn hears(&self, from: SocketAddr) -> bool {
        self.peer.get().is_none_or(|peer| peer == from)
    }
}

impl Drop for Hole {
    fn drop(&mut self) {
        let mut world = self.network.0.borrow_mut();
        world.holes.retain(|hole| hole.strong_count() > 0);
        world.note(self.address, None, || Act::Unbound);
    }
}

impl World {
    /// How many copies of a datagram arrive.
    fn copies(&mut self) -> u32 {
        if self.random.below(1000) < u64::from(self.conditions.datagrams_lost) {
            0
        } else if self.random.below(1000) < u64::from(self.conditions.datagrams_doubled) {
            2
        } else {
            1
        }
    }
}

impl Network {
    /// A datagram arrives.
    pub(super) fn deliver(&self, from: SocketAddr, to: SocketAddr, data: &[u8], sender: &Weak<Hole>) {
        let holes: Vec<Rc<Hole>> = self.0.borrow().holes.iter().filter_map(Weak::upgrade).collect();
        let mut arrived = false;
        for hole in holes.iter().filter(|hole| hole.is_at(to) && hole.hears(from)) {
            let own = std::ptr::eq(Rc::as_ptr(hole), sender.as_ptr());
            if to.ip().is_multicast() && own && !hole.hears_itself.get() {
                continue;
            }
            arrived = true;
            let mut waiting = hole.waiting.borrow_mut();
            if waiting.len() < WAITING_MAX {
                waiting.push_back((data.to_vec(), from));
                self.0.borrow_mut().signal(hole.key.get(), Readiness::READABLE);
            }
        }
        if !arrived
            && !to.ip().is_multicast()
            && let Some(sender) = sender.upgrade()
            && sender.peer.get() == Some(to)
        {
            // Nobody there: the system of that machine says so (ICMP), and who is connected is told.
            sender.refused.set(true);
            self.0.borrow_mut().signal(sender.key.get(), Readiness::READABLE.and(Readiness::ERROR));
        }
    }
}

impl SimDriver {
    pub(crate) fn bind_udp(&self, mut address: SocketAddr, shared: bool) -> io::Result<Mailhole> {
        let mut world = self.network.0.borrow_mut();
        if address.port() == 0 {
            address.set_port(world.fresh_port());
        }
        let taken = |hole: &Weak<Hole>| hole.upgrade().is_some_and(|hole| hole.address == address);
        if !shared && world.holes.iter().any(taken) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let hole = Rc::new(Hole {
            address,
            peer: Cell::new(None),
            groups: RefCell::default(),
            hears_itself: Cell::new(true),
            waiting: RefCell::default(),
            refused: Cell::new(false),
            key: Cell::new(None),
            network: self.network.clone(),
        });
        world.holes.push(Rc::downgrade(&hole));
        world.note(address, None, || Act::Bound);
        Ok(Mailhole(hole))
    }
}
