//! Addresses of data connections as PORT, PASV (RFC 959), EPRT and EPSV (RFC 2428) write them. Whether one may connect there is the
//! session's business.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// It is not written as it should be: 501.
    Syntax,
    /// Its protocol is neither IPv4 nor IPv6: 522.
    Protocol,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressError::Syntax => "not an address",
            AddressError::Protocol => "a network protocol that is not supported",
        })
    }
}

impl std::error::Error for AddressError {}

/// `h1,h2,h3,h4,p1,p2`.
///
/// ```
/// use ropewalk_wire::ftp::parse_port;
/// assert_eq!(parse_port(b"192,0,2,1,4,1")?, "192.0.2.1:1025".parse()?);
/// assert!(parse_port(b"192,0,2,1,4").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Not six numbers from 0 to 255.
pub fn parse_port(argument: &[u8]) -> Result<SocketAddrV4, AddressError> {
    let mut numbers = [0u8; 6];
    let mut parts = argument.trim_ascii().split(|byte| *byte == b',');
    for number in &mut numbers {
        let part = parts.next().ok_or(AddressError::Syntax)?;
        *number = parse(part).and_then(|value| u8::try_from(value).ok()).ok_or(AddressError::Syntax)?;
    }
    if parts.next().is_some() {
        return Err(AddressError::Syntax);
    }
    let [a, b, c, d, high, low] = numbers;
    Ok(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])))
}

/// `|1|192.0.2.1|1025|` or `|2|2001:db8::1|1025|`, with any printable character in place of `|`.
///
/// ```
/// use ropewalk_wire::ftp::{AddressError, parse_eprt};
/// assert_eq!(parse_eprt(b"|2|2001:db8::1|1025|")?, "[2001:db8::1]:1025".parse()?);
/// assert_eq!(parse_eprt(b"|3|x|1025|"), Err(AddressError::Protocol));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// It is not written so, or the protocol is neither 1 nor 2.
pub fn parse_eprt(argument: &[u8]) -> Result<SocketAddr, AddressError> {
    let syntax = AddressError::Syntax;
    let delimiter = *argument.first().filter(|byte| byte.is_ascii_graphic()).ok_or(syntax)?;
    let mut parts = argument[1..].split(|byte| *byte == delimiter);
    let mut next = || parts.next().ok_or(syntax);
    let (protocol, address, port, rest) = (next()?, next()?, next()?, next()?);
    if !rest.is_empty() || parts.next().is_some() {
        return Err(syntax);
    }
    let protocol = parse(protocol).ok_or(syntax)?;
    let port = parse(port).and_then(|port| u16::try_from(port).ok()).ok_or(syntax)?;
    let text = std::str::from_utf8(address).map_err(|_| syntax)?;
    let address = match protocol {
        1 => IpAddr::V4(text.parse::<Ipv4Addr>().map_err(|_| syntax)?),
        2 => IpAddr::V6(text.parse::<Ipv6Addr>().map_err(|_| syntax)?),
        _ => return Err(AddressError::Protocol),
    };
    Ok(SocketAddr::new(address, port))
}

/// The text of 227.
///
/// ```
/// let text = ropewalk_wire::ftp::passive("192.0.2.1:1025".parse()?);
/// assert_eq!(text, "Entering Passive Mode (192,0,2,1,4,1)");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[must_use]
pub fn passive(address: SocketAddrV4) -> String {
    let [a, b, c, d] = address.ip().octets();
    let [high, low] = address.port().to_be_bytes();
    format!("Entering Passive Mode ({a},{b},{c},{d},{high},{low})")
}

/// The text of 229.
///
/// ```
/// assert_eq!(ropewalk_wire::ftp::extended_passive(1025), "Entering Extended Passive Mode (|||1025|)");
/// ```
#[must_use]
pub fn extended_passive(port: u16) -> String {
    format!("Entering Extended Passive Mode (|||{port}|)")
}

/// A number of at most nine digits, and nothing else.
fn parse(digits: &[u8]) -> Option<u32> {
    let plain = (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "",
            "1",
            "1,2,3,4,5",
            "1,2,3,4,5,6,7",
            "1,2,3,4,5,256",
            "-1,2,3,4,5,6",
            "1,,3,4,5,6",
            "a,b,c,d,e,f",
            "+1,2,3,4,5,6",
        ] {
            assert_eq!(parse_port(bad.as_bytes()), Err(AddressError::Syntax), "{bad}");
        }
        assert_eq!(parse_port(b"127,0,0,1,255,255 ").map(|address| address.port()), Ok(65535));
        for bad in [
            "",
            "|",
            "||||",
            "|1|1.2.3.4|99999|",
            "|1|::1|80|",
            "|2|1.2.3.4|80|",
            "|1|1.2.3.4|80",
            "|1|1.2.3.4|80||",
            "|1|1.2.3.4|x|",
            " 1 1.2.3.4 80 ",
        ] {
            assert_eq!(parse_eprt(bad.as_bytes()), Err(AddressError::Syntax), "{bad}");
        }
        assert_eq!(parse_eprt(b"|9|1.2.3.4|80|"), Err(AddressError::Protocol));
        assert_eq!(parse_eprt(b"!1!1.2.3.4!80!"), Ok("1.2.3.4:80".parse().unwrap()));
    }
}
