//! Networks of IP addresses, as people write them: whom a list means. Used for proxies that are trusted, here and by the web
//! floor; no list of who may connect.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A list of networks and addresses. Empty by default: nobody is meant.
///
/// ```
/// use ropewalk_net::Networks;
/// let networks: Networks = "127.0.0.1, 10.0.0.0/8, 2001:db8::/32".parse()?;
/// assert!(networks.contains("10.1.2.3".parse()?));
/// assert!(!networks.contains("192.0.2.1".parse()?));
/// assert_eq!(networks.to_string(), "127.0.0.1,10.0.0.0/8,2001:db8::/32");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u32,
}

/// What is wrong with a list of networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkError(String);

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a network; write 10.0.0.0/8 or an address", self.0)
    }
}

impl std::error::Error for NetworkError {}

impl Networks {
    /// This machine at itself: `127.0.0.0/8` and `::1`.
    #[must_use]
    pub fn loopback() -> Networks {
        let v4 = Network { address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), bits: 8 };
        let v6 = Network { address: IpAddr::V6(Ipv6Addr::LOCALHOST), bits: 128 };
        Networks(vec![v4, v6])
    }

    /// Whether this address is in one of them. An IPv4 address that is mapped into IPv6 is the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Whether they are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Networks {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Networks, NetworkError> {
        let networks = text.split(',').map(str::trim).filter(|text| !text.is_empty());
        networks.map(Network::from_str).collect::<Result<_, _>>().map(Networks)
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, network) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}", network.address)?;
            if network.bits < network.width() {
                write!(f, "/{}", network.bits)?;
            }
        }
        Ok(())
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        let (network, address) = match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (u128::from(u32::from(network)), u128::from(u32::from(address)))
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => (u128::from(network), u128::from(address)),
            _ => return false,
        };
        self.bits == 0 || (network ^ address) >> (self.width() - self.bits) == 0
    }

    fn width(&self) -> u32 {
        if self.address.is_ipv4() { 32 } else { 128 }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let wrong = || NetworkError(text.to_owned());
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let mut network = Network { address, bits: 0 };
        network.bits = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= network.width()).ok_or_else(wrong)?,
            None => network.width(),
        };
        Ok(network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_checked() {
        for wrong in ["10.0.0.0/33", "10.0.0/8", "::/129", "x"] {
            assert!(wrong.parse::<Networks>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mapped_address_is_the_one_that_is_mapped() {
        let loopback = Networks::loopback();
        for (address, inside) in [
            ("127.0.0.9", true),
            ("::ffff:127.0.0.1", true),
            ("::1", true),
            ("::2", false),
            ("128.0.0.1", false),
        ] {
            assert_eq!(loopback.contains(address.parse().unwrap()), inside, "{address}");
        }
        assert!("0.0.0.0/0".parse::<Networks>().unwrap().contains("255.1.2.3".parse().unwrap()));
        assert!(!Networks::default().contains("::1".parse().unwrap()));
    }
}
