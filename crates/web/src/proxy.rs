//! Trusted proxies: whose `X-Forwarded-For` and friends are believed. A header from a stranger is only text.

use std::net::IpAddr;
use std::str::FromStr;

use ropewalk_net::{NetworkError, Networks};
use ropewalk_wire::http1::Head;

/// Networks of proxies that say the truth about their clients. Empty by default: nobody is believed.
///
/// ```
/// use ropewalk_web::TrustedProxies;
/// let proxies: TrustedProxies = "127.0.0.1, 10.0.0.0/8, 2001:db8::/32".parse()?;
/// assert!(proxies.contains("10.1.2.3".parse()?));
/// assert!(!proxies.contains("192.0.2.1".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Networks);

impl FromStr for TrustedProxies {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<TrustedProxies, NetworkError> {
        text.parse().map(TrustedProxies)
    }
}

impl TrustedProxies {
    /// Whether this address is a trusted proxy's.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(address)
    }

    /// The client behind the peer: from the right of `X-Forwarded-For`, the first address that is no trusted proxy itself;
    /// else `X-Real-IP`; else the peer.
    pub(crate) fn client(&self, peer: IpAddr, head: &Head) -> Option<IpAddr> {
        if self.0.is_empty() || !self.contains(peer) {
            return Some(peer);
        }
        let mut nearest = None;
        let fields: Vec<&[u8]> = head.fields_named("x-forwarded-for").collect();
        let hops = fields.iter().rev().flat_map(|field| field.rsplit(|&byte| byte == b','));
        for hop in hops {
            let hop = std::str::from_utf8(hop).ok().and_then(address_of);
            // What stands left of something unreadable was said by nobody who is trusted.
            let Some(hop) = hop else { break };
            nearest = Some(hop);
            if !self.contains(hop) {
                break;
            }
        }
        let real =
            || head.field("x-real-ip").and_then(|field| std::str::from_utf8(field).ok()).and_then(address_of);
        nearest.or_else(real).or(Some(peer))
    }

    /// Whether a trusted proxy says that its client came over TLS.
    pub(crate) fn is_secure(&self, peer: IpAddr, head: &Head) -> bool {
        if self.0.is_empty() || !self.contains(peer) {
            return false;
        }
        let says = head.field("x-forwarded-proto").or_else(|| head.field("x-scheme"));
        says.is_some_and(|scheme| {
            // The nearest proxy's word is the last one.
            let last = scheme.rsplit(|&byte| byte == b',').next().unwrap_or_default();
            last.trim_ascii().eq_ignore_ascii_case(b"https")
        })
    }
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        return Some(socket.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk_wire::http1::HeadLimits;

    fn client(proxies: &str, peer: &str, fields: &str) -> String {
        let mut head = Head::new();
        let text = format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        head.feed(text.as_bytes(), &HeadLimits::default()).unwrap();
        let proxies: TrustedProxies = proxies.parse().unwrap();
        proxies.client(peer.parse().unwrap(), &head).unwrap().to_string()
    }

    #[test]
    fn a_stranger_is_not_believed_and_a_proxy_is() {
        let xff = "X-Forwarded-For: 198.51.100.7\r\n";
        assert_eq!(client("", "10.0.0.1", xff), "10.0.0.1");
        assert_eq!(client("10.0.0.0/8", "192.0.2.1", xff), "192.0.2.1");
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", xff), "198.51.100.7");
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", "X-Real-IP: 198.51.100.8\r\n"), "198.51.100.8");
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", ""), "10.0.0.1");
    }

    #[test]
    fn what_a_client_forges_on_the_left_is_not_reached() {
        let forged = "X-Forwarded-For: 1.2.3.4, 198.51.100.7, 10.0.0.2\r\n";
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", forged), "198.51.100.7");
        let two = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 198.51.100.7:4711\r\n";
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", two), "198.51.100.7");
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", "X-Forwarded-For: 1.2.3.4, junk\r\n"), "10.0.0.1");
        assert_eq!(client("::/0", "::1", "X-Forwarded-For: [2001:db8::1]\r\n"), "2001:db8::1");
    }
}
