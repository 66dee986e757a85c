//! The guard between what strangers ask for and the network: callbacks and topics are given by whoever likes, and a hub that fetches
//! or posts where it is told is a way into the network it stands in.
//!
//! What is judged is the address that the name resolved to, and the connection goes to that address and no other: between judging
//! and connecting nobody can change the name's mind. Every hop of a redirect is a connection, and judged alike. Kept connections
//! were judged when they were made.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use ropewalk_net::{ConnectOptions, Networks, Resolver, literal, resolver};
use ropewalk_reactor::{Deferred, Failure, Outcome, Reactor, deferred};
use ropewalk_web::client::{Connector, Plain};

/// Which addresses may be contacted: all that are public, and those of a list.
///
/// ```
/// use ropewalk_hub::Guard;
/// let guard = Guard::allowing("10.0.0.0/8".parse()?);
/// assert!(guard.permits("192.0.3.1".parse()?) && guard.permits("10.1.2.3".parse()?));
/// assert!(!guard.permits("127.0.0.1".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allowed: Networks,
}

impl Guard {
    /// Public addresses only.
    #[must_use]
    pub fn new() -> Guard {
        Guard::default()
    }

    /// Public addresses, and these.
    #[must_use]
    pub fn allowing(allowed: Networks) -> Guard {
        Guard { allowed }
    }

    /// Whether this address may be contacted.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        self.allowed.contains(address) || !is_special(address)
    }

    /// All of them, or none: a name that answers with a public address and a private one means no good.
    fn judge(&self, host: &str, found: Vec<SocketAddr>) -> Outcome<Vec<SocketAddr>> {
        match found.iter().find(|address| !self.permits(address.ip())) {
            Some(_) => Err(Failure::new(Refused { host: host.to_owned() })),
            None => Ok(found),
        }
    }
}

/// The guard has refused a host: its address is none that may be contacted. Trying again is of no use.
///
/// It does not tell the address: what a name means inside of a network is nobody's business outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The host that was asked for.
    pub host: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: its address is none that this hub contacts", self.host)
    }
}

impl std::error::Error for Refused {}

/// A connector whose every connection a [`Guard`] has judged: `Agent::new(&reactor).with_connector(Guarded::new(guard))`.
#[derive(Clone)]
pub struct Guarded {
    guard: Rc<Guard>,
}

impl Guarded {
    /// A connector behind this guard. Names are resolved by the reactor's resolver.
    #[must_use]
    pub fn new(guard: Guard) -> Guarded {
        Guarded { guard: Rc::new(guard) }
    }
}

impl Connector for Guarded {
    fn options(&self) -> ConnectOptions {
        ConnectOptions { resolver: Some(Rc::new(self.clone())), ..Plain.options() }
    }
}

impl Resolver for Guarded {
    fn resolve(&self, reactor: &Reactor, host: &str, port: u16) -> Deferred<Vec<SocketAddr>> {
        let guard = Rc::clone(&self.guard);
        let named = host.to_owned();
        // An address in writing is not resolved by anybody, and judged all the same.
        match literal(reactor, host, port) {
            Some(Ok(address)) => match guard.judge(host, vec![address]) {
                Ok(found) => deferred::succeed(reactor, found),
                Err(failure) => deferred::fail(reactor, failure),
            },
            Some(Err(error)) => deferred::fail(reactor, Failure::new(error)),
            None => resolver(reactor)
                .resolve(reactor, host, port)
                .add_callback(move |found: Vec<SocketAddr>| guard.judge(&named, found)),
        }
    }
}

/// Whether an address is special: not of the public Internet (the IANA registries of special-purpose addresses, RFC 6890). Addresses
/// of IPv4 that are written as IPv6, by mapping, translation or tunnelling, are what they stand for.
///
/// ```
/// use ropewalk_hub::is_special;
/// assert!(is_special("169.254.169.254".parse()?) && is_special("::ffff:127.0.0.1".parse()?));
/// assert!(!is_special("93.184.215.14".parse()?));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[must_use]
pub fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_special_v4(address),
        IpAddr::V6(address) => is_special_v6(address),
    }
}

fn is_special_v4(address: Ipv4Addr) -> bool {
    match address.octets() {
        // "This network", private networks, loopback.
        [0 | 10 | 127, ..] => true,
        // Shared between a carrier and its customers (RFC 6598).
        [100, 64..=127, ..] => true,
        // Link-local, where the metadata of clouds lives.
        [169, 254, ..] | [172, 16..=31, ..] | [192, 168, ..] => true,
        // Protocol assignments, documentation, 6to4 relays (RFC 7526), benchmarks.
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => {
            true
        }
        // Multicast, reserved, broadcast.
        [224..=255, ..] => true,
        _ => false,
    }
}

fn is_special_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let within = |high: u16, low: u16| {
        is_special_v4(Ipv4Addr::new((high >> 8) as u8, high as u8, (low >> 8) as u8, low as u8))
    };
    match segments {
        // Unspecified, loopback, and the old "compatible" addresses that nobody has any more.
        [0, 0, 0, 0, 0, 0, ..] => true,
        [0, 0, 0, 0, 0, 0xffff, high, low] => within(high, low),
        // NAT64 (RFC 6052); its local-use prefix (RFC 8215) stands for what only that network knows.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => within(high, low),
        [0x64, 0xff9b, 1, ..] => true,
        // Discard only; protocol assignments with Teredo and ORCHID; documentation.
        [0x100, 0, 0, ..] | [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => true,
        // 6to4.
        [0x2002, high, low, ..] => within(high, low),
        // Global unicast is 2000::/3 and nothing else: unique local, link-local, site-local and multicast lie outside.
        [first, ..] => first & 0xe000 != 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_known() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
            "::ffff:0:127.0.0.1",
        ] {
            assert!(is_special(address.parse().unwrap()), "{address}");
            assert!(!Guard::new().permits(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn public_addresses_are_public() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.1.1",
            "198.17.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            assert!(!is_special(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_list_allows_what_it_names_and_no_more() {
        let guard = Guard::allowing("127.0.0.1, fd00::/8".parse().unwrap());
        for (address, permitted) in [
            ("127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("127.0.0.2", false),
            ("fd00::1", true),
            ("::1", false),
        ] {
            assert_eq!(guard.permits(address.parse().unwrap()), permitted, "{address}");
        }
    }
}
