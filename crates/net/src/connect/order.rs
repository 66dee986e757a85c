//! The order in which addresses are tried: RFC 8305 section 4. Computes only.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// IPv6 first, then by turns, so that a family that leads nowhere costs one delay and not one per address. Within a family the
/// resolver's order stays, which is that of RFC 6724. With a bind address only its own family is of use. Nothing comes twice.
pub(super) fn interleave(found: Vec<SocketAddr>, bind: Option<IpAddr>) -> Vec<SocketAddr> {
    let usable = |address: &SocketAddr| bind.is_none_or(|bind| bind.is_ipv4() == address.is_ipv4());
    let mut seen = BTreeSet::new();
    let found = found.into_iter().filter(usable).filter(|&address| seen.insert(address));
    let (v6, v4): (Vec<SocketAddr>, Vec<SocketAddr>) = found.partition(SocketAddr::is_ipv6);
    let mut ordered = Vec::with_capacity(v6.len() + v4.len());
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    loop {
        let before = ordered.len();
        ordered.extend(v6.next());
        ordered.extend(v4.next());
        if ordered.len() == before {
            return ordered;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(found: &str, bind: Option<&str>) -> String {
        let found = found.split(' ').map(|ip| SocketAddr::new(ip.parse().unwrap(), 1)).collect();
        let ordered = interleave(found, bind.map(|ip| ip.parse().unwrap()));
        ordered.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn families_take_turns_and_ipv6_begins() {
        assert_eq!(ordered("1.1.1.1 2.2.2.2 3.3.3.3 ::1 ::2", None), "::1 1.1.1.1 ::2 2.2.2.2 3.3.3.3");
        assert_eq!(ordered("::1 ::2 ::3 1.1.1.1", None), "::1 1.1.1.1 ::2 ::3");
        assert_eq!(ordered("1.1.1.1", None), "1.1.1.1");
        assert_eq!(ordered("::1 ::1 1.1.1.1 ::1", None), "::1 1.1.1.1", "what comes twice is tried once");
        assert_eq!(interleave(Vec::new(), None), []);
    }

    #[test]
    fn a_bind_address_leaves_its_own_family() {
        assert_eq!(ordered("::1 1.1.1.1 ::2", Some("::")), "::1 ::2");
        assert_eq!(ordered("::1 1.1.1.1 ::2", Some("127.0.0.1")), "1.1.1.1");
        assert_eq!(ordered("::1", Some("127.0.0.1")), "");
    }
}
