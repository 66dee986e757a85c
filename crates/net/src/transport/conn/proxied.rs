//! The peer's address, which a proxy may have said, and what the limits count it as. Called by the transport's methods and at
//! the connection's end.

use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::rc::Rc;

use ropewalk_reactor::io::Address;

use super::{Conn, OriginKind, flag};
use crate::proxied::Proxied;

/// Who is at the other end. Most peers are IPv4: six bytes instead of thirty-two.
pub(super) enum Peer {
    V4(SocketAddrV4),
    Other(Box<Address>),
    /// Somebody for whom a proxy speaks.
    Proxied(Rc<Proxied>),
}

impl Peer {
    pub(super) fn new(address: Address) -> Peer {
        match address {
            Address::Inet(SocketAddr::V4(address)) => Peer::V4(address),
            other => Peer::Other(Box::new(other)),
        }
    }

    fn address(&self) -> Address {
        match self {
            Peer::V4(address) => Address::Inet(SocketAddr::V4(*address)),
            Peer::Other(address) => Address::clone(address),
            Peer::Proxied(proxied) => proxied.client().unwrap_or_else(|| proxied.proxy().clone()),
        }
    }
}

impl Conn {
    fn with_peer<T>(&self, then: impl FnOnce(&Peer) -> T) -> T {
        let nobody = Peer::V4(SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 0));
        let peer = self.peer.replace(nobody);
        let value = then(&peer);
        self.peer.set(peer);
        value
    }

    pub(in crate::transport) fn peer(&self) -> Address {
        self.with_peer(Peer::address)
    }

    pub(in crate::transport) fn proxied(&self) -> Option<Rc<Proxied>> {
        self.with_peer(|peer| match peer {
            Peer::Proxied(proxied) => Some(Rc::clone(proxied)),
            Peer::V4(_) | Peer::Other(_) => None,
        })
    }

    /// Makes the connection its client's; false if the limit per peer has no room for the client, and then nothing has
    /// changed. Without a client's IP address it is counted as before.
    pub(in crate::transport) fn set_proxied(&self, proxied: Rc<Proxied>) -> bool {
        let client = proxied.client().and_then(|client| client.ip());
        if let (OriginKind::Accepted(admission), Some(client)) = (&self.origin.kind, client) {
            if !admission.exchange(self.counted(), client) {
                return false;
            }
            self.clear(flag::UNCOUNTED);
        } else if proxied.client().is_some() {
            // A client with a name instead of an address takes no place of the address that it came from.
            self.forget_counted();
        }
        self.peer.set(Peer::Proxied(proxied));
        true
    }

    /// What the limit per peer counts it as.
    pub(super) fn counted(&self) -> Option<IpAddr> {
        if self.has(flag::UNCOUNTED) { None } else { self.peer().ip() }
    }

    fn forget_counted(&self) {
        if let OriginKind::Accepted(admission) = &self.origin.kind {
            admission.forget(self.counted());
        }
        self.set(flag::UNCOUNTED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_connection_is_no_larger_for_it() {
        assert_eq!(size_of::<Peer>(), 16);
        // And one behind a proxy, idle for hours, is larger by one allocation of this size.
        assert!(size_of::<Proxied>() <= 144, "{}", size_of::<Proxied>());
    }
}
