//! Who is where in the simulated network: names with their addresses, and how an address answers those who connect to it.
//! A test fills it; nothing of the real system is asked.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{Network, SimDriver, World};
use crate::driver::Lookup;

/// How an address answers those who connect to it. Connections that stand already are not touched.
///
/// ```
/// use std::time::Duration;
/// use ropewalk_reactor::{Reach, Simulation};
/// let simulation = Simulation::new(1);
/// let far = "2001:db8::1".parse()?;
/// simulation.network().set_reach(far, Reach::Slow(Duration::from_secs(3)));
/// let socket = simulation.reactor().connect_tcp(std::net::SocketAddr::new(far, 80));
/// assert!(socket.is_ok_and(|socket| socket.peer_address().is_err()), "not yet");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reach {
    /// After the network's usual latency: a listener accepts, and without one it is refused.
    #[default]
    Near,
    /// The same after so long.
    Slow(Duration),
    /// Never: what is sent there disappears.
    Silent,
    /// At once, with "network unreachable": there is no route.
    Unreachable,
}

/// The table of names, and what is special about addresses.
pub(super) struct Hosts {
    names: BTreeMap<String, Result<Vec<IpAddr>, io::ErrorKind>>,
    reach: BTreeMap<IpAddr, Reach>,
    lookups: u64,
}

impl Hosts {
    /// As on any machine, there is a localhost, in the order of RFC 6724.
    pub(super) fn new() -> Hosts {
        let localhost = vec![IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let names = BTreeMap::from([("localhost".to_owned(), Ok(localhost))]);
        Hosts { names, reach: BTreeMap::new(), lookups: 0 }
    }
}

impl Network {
    /// Gives a name its addresses, in the order in which a lookup answers; none at all is an answer as well.
    pub fn set_host(&self, name: &str, addresses: &[IpAddr]) {
        self.0.borrow_mut().hosts.names.insert(name.to_ascii_lowercase(), Ok(addresses.to_vec()));
    }

    /// Lets lookups of a name fail. A name that the table does not have fails as `NotFound`.
    pub fn fail_host(&self, name: &str, kind: io::ErrorKind) {
        self.0.borrow_mut().hosts.names.insert(name.to_ascii_lowercase(), Err(kind));
    }

    /// Says how an address answers connections that begin from now on.
    pub fn set_reach(&self, address: IpAddr, reach: Reach) {
        self.0.borrow_mut().hosts.reach.insert(address, reach);
    }

    /// How often a name was looked up.
    #[must_use]
    pub fn lookups(&self) -> u64 {
        self.0.borrow().hosts.lookups
    }

    /// The address from which `to` is reached.
    pub(super) fn reach(&self, from: Option<IpAddr>, to: SocketAddr) -> io::Result<IpAddr> {
        let usual: IpAddr =
            if to.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        let from = from.unwrap_or(usual);
        if from.is_ipv4() != to.is_ipv4() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        match self.0.borrow().hosts.reach.get(&to.ip()) {
            Some(Reach::Unreachable) => Err(io::ErrorKind::NetworkUnreachable.into()),
            _ => Ok(from),
        }
    }
}

impl World {
    /// How long connecting to an address takes; `None` is for ever.
    pub(super) fn way_to(&mut self, address: IpAddr) -> Option<Duration> {
        match self.hosts.reach.get(&address).copied().unwrap_or_default() {
            Reach::Silent => None,
            Reach::Slow(takes) => Some(takes),
            Reach::Near | Reach::Unreachable => Some(self.latency()),
        }
    }
}

impl SimDriver {
    /// The answer is the table's at the time of asking; it takes as long as any job of the pool.
    pub(crate) fn lookup(&self, host: &str, port: u16) -> Lookup {
        let mut world = self.network.0.borrow_mut();
        world.hosts.lookups += 1;
        let answer = world.hosts.names.get(&host.to_ascii_lowercase()).cloned();
        let answer = answer.unwrap_or(Err(io::ErrorKind::NotFound));
        let answer =
            answer.map(|found| found.into_iter().map(|address| SocketAddr::new(address, port)).collect());
        Box::new(move || answer.map_err(io::Error::from))
    }
}

/// The one interface that there is.
pub(crate) fn interface(name: &str) -> io::Result<u32> {
    if name == "lo" { Ok(1) } else { Err(io::ErrorKind::NotFound.into()) }
}
