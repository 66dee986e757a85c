//! How many connections at once, in all and from one peer. Counted at accept, over all workers that share the limits, and
//! given back when the connection is gone. One uncontended lock per accepted connection, so the count is exact.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Limits on connections. `None` is no limit.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Connections at once. 100,000 by default: descriptors usually run out before.
    pub total_max: Option<usize>,
    /// Connections at once from one IP address (IPv6: from one /64). None by default, because a proxy in front is one
    /// address. Behind `proxy:` it counts the clients' addresses: a connection takes its place among its client's when its
    /// header is read, before that and without a client's IP address (LOCAL, UNKNOWN) only among the total.
    pub per_peer_max: Option<usize>,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits { total_max: Some(100_000), per_peer_max: None }
    }
}

#[derive(Default)]
struct Counts {
    total: usize,
    peers: BTreeMap<IpAddr, usize>,
    refused: u64,
}

impl Counts {
    fn forget(&mut self, peer: Option<IpAddr>) {
        let Some(peer) = peer else { return };
        match self.peers.get_mut(&peer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.peers.remove(&peer)),
        }
    }
}

/// The count, shared by the workers of one service.
#[derive(Clone)]
pub struct Admission {
    limits: ConnectionLimits,
    counts: Arc<Mutex<Counts>>,
}

impl Admission {
    /// A count that begins at zero.
    #[must_use]
    pub fn new(limits: ConnectionLimits) -> Admission {
        Admission { limits, counts: Arc::default() }
    }

    /// Connections now.
    #[must_use]
    pub fn connections(&self) -> usize {
        lock(&self.counts).total
    }

    /// Connections refused so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        lock(&self.counts).refused
    }

    /// Counts a connection; false refuses it. Whoever is admitted calls [`Admission::leave`] with the same peer.
    pub(crate) fn admit(&self, peer: Option<IpAddr>) -> bool {
        let peer = self.counted(peer);
        let mut counts = lock(&self.counts);
        let of_peer = peer.map_or(0, |peer| counts.peers.get(&peer).copied().unwrap_or(0));
        let full = self.limits.total_max.is_some_and(|max| counts.total >= max)
            || self.limits.per_peer_max.is_some_and(|max| of_peer >= max);
        if full {
            counts.refused += 1;
            return false;
        }
        counts.total += 1;
        if let Some(peer) = peer {
            counts.peers.insert(peer, of_peer + 1);
        }
        true
    }

    /// Gives a place back.
    pub(crate) fn leave(&self, peer: Option<IpAddr>) {
        let peer = self.counted(peer);
        let mut counts = lock(&self.counts);
        counts.total -= 1;
        counts.forget(peer);
    }

    /// Counts a connection that is admitted already as another peer's; false, and nothing changes, if that one has as many
    /// as it may.
    pub(crate) fn exchange(&self, before: Option<IpAddr>, after: IpAddr) -> bool {
        let (before, Some(after)) = (self.counted(before), self.counted(Some(after))) else { return true };
        if before == Some(after) {
            return true;
        }
        let mut counts = lock(&self.counts);
        let of_peer = counts.peers.get(&after).copied().unwrap_or(0);
        if self.limits.per_peer_max.is_some_and(|max| of_peer >= max) {
            counts.refused += 1;
            return false;
        }
        counts.peers.insert(after, of_peer + 1);
        counts.forget(before);
        true
    }

    /// Counts a connection among the total only, from now on.
    pub(crate) fn forget(&self, peer: Option<IpAddr>) {
        let peer = self.counted(peer);
        lock(&self.counts).forget(peer);
    }

    /// What a peer is counted as; addresses are only kept where a limit asks for them.
    fn counted(&self, peer: Option<IpAddr>) -> Option<IpAddr> {
        peer.filter(|_| self.limits.per_peer_max.is_some()).map(group)
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One IPv6 subscriber has a whole /64.
fn group(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from(u128::from(address) & 0xFFFF_FFFF_FFFF_FFFF_0000_0000_0000_0000))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back_and_a_64_is_one_peer() {
        let admission = Admission::new(ConnectionLimits { total_max: Some(3), per_peer_max: Some(2) });
        let peer = |text: &str| Some(text.parse().unwrap());
        assert!(admission.admit(peer("2001:db8::1")));
        assert!(admission.admit(peer("2001:db8::2")));
        assert!(!admission.admit(peer("2001:db8::3")), "one /64 has two");
        assert!(admission.admit(peer("192.0.2.1")), "another peer");
        assert!(!admission.admit(peer("192.0.2.2")), "three in all");
        admission.leave(peer("2001:db8::1"));
        assert!(admission.admit(peer("2001:db8::3")));
        assert_eq!(admission.refused(), 2);
        assert_eq!(admission.connections(), 3);
    }

    #[test]
    fn a_connection_becomes_another_peers() {
        let admission = Admission::new(ConnectionLimits { total_max: None, per_peer_max: Some(1) });
        let peer = |text: &str| text.parse::<IpAddr>().unwrap();
        let (proxy, client, other) = (peer("127.0.0.1"), peer("192.0.2.1"), peer("192.0.2.2"));
        // Those of a proxy are nobody's at first.
        assert!(admission.admit(None) && admission.admit(None) && admission.admit(None));
        assert!(admission.exchange(None, client));
        assert!(!admission.exchange(None, client), "it has one");
        assert!(admission.exchange(None, other));
        admission.leave(Some(client));
        assert!(admission.exchange(None, client), "its place is free again");
        admission.leave(Some(client));
        // One that was counted moves on, and its old place is free.
        assert!(admission.exchange(Some(other), proxy));
        assert!(admission.exchange(Some(proxy), proxy), "it is itself");
        assert!(admission.admit(Some(other)));
        admission.forget(Some(other));
        assert!(admission.admit(Some(other)));
        assert_eq!((admission.connections(), admission.refused()), (3, 1));
    }
}
