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
    /// address.
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
        if let Some(peer) = peer {
            match counts.peers.get_mut(&peer) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(counts.peers.remove(&peer)),
            }
        }
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
}
