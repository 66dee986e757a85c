//! The endpoint `proxy:[trusted=NETWORKS:][version=1|2:][strangers=pass:][timeout=SECONDS:]ENDPOINT`. Its own arguments have
//! keys and stand in front; the first without a key is the kind of the endpoint inside, to which the rest belongs. Called by
//! reading and writing endpoint strings.

use std::fmt;

use ropewalk_wire::proxy_protocol::{Version, Versions};

use super::{EndpointError, Parts, ServerEndpoint, quote};
use crate::network::NetworkError;
use crate::proxied::{HEADER_TIMEOUT, ProxyOptions, Strangers};

const EXAMPLE: &str = "proxy:tcp:8080, or proxy:trusted=10.0.0.0/8:tcp:8080";

/// The endpoint, if the text is one of this kind.
pub(super) fn parse(text: &str) -> Result<Option<ServerEndpoint>, EndpointError> {
    let kind = text.split(':').next().unwrap_or_default();
    if kind != "proxy" && kind != "haproxy" {
        return Ok(None);
    }
    let Some(at) = inner_at(text) else {
        return Err(Parts::parse(text)?.error(&format!("where to listen is missing; write {EXAMPLE}")));
    };
    let mut parts = Parts::parse(&text[..at - 1])?;
    text.clone_into(&mut parts.text);
    let inner = match text[at..].parse::<ServerEndpoint>() {
        Ok(inner) => inner,
        Err(_) if is_split_v6(&text[..at], &text[at..]) => {
            return Err(parts.error("the colons of IPv6 are escaped: trusted=2001\\:db8\\:\\:/32"));
        }
        Err(error) => return Err(error),
    };
    if matches!(inner, ServerEndpoint::Proxy { .. }) {
        return Err(parts.error("a connection has one PROXY header; write proxy: once"));
    }
    let options = options(&mut parts, &inner)?;
    parts.finish()?;
    Ok(Some(ServerEndpoint::Proxy { inner: Box::new(inner), options }))
}

/// Where the first argument without a key begins, behind the kind.
fn inner_at(text: &str) -> Option<usize> {
    let mut begin = 0;
    let (mut escaped, mut keyed) = (false, true);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'=' => keyed = true,
            b':' if !keyed => return Some(begin),
            b':' => (begin, keyed) = (at + 1, false),
            _ => {}
        }
    }
    // Nothing but an empty rest is no endpoint either.
    (!keyed && begin < text.len()).then_some(begin)
}

/// Whether the rest looks like a piece of an IPv6 address among the trusted, whose colons ended the argument.
fn is_split_v6(outer: &str, rest: &str) -> bool {
    let kind = rest.split(':').next().unwrap_or_default();
    outer.contains(":trusted=") && kind.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn options(parts: &mut Parts, inner: &ServerEndpoint) -> Result<ProxyOptions, EndpointError> {
    let mut options = ProxyOptions::default();
    if let Some(text) = parts.key("trusted") {
        if matches!(inner, ServerEndpoint::Unix { .. }) {
            return Err(parts.error(
                "peers of a UNIX socket have no address to be trusted=; its mode says who may connect",
            ));
        }
        options.trusted =
            text.parse().map_err(|error: NetworkError| parts.error(&format!("trusted: {error}")))?;
        if options.trusted.is_empty() {
            return Err(parts.error("trusted= names nobody; write trusted=10.0.0.0/8 or an address"));
        }
    }
    options.versions = match parts.key("version").as_deref() {
        None => Versions::Any,
        Some("1") => Versions::Only(Version::V1),
        Some("2") => Versions::Only(Version::V2),
        Some(other) => return Err(parts.error(&format!("version {other:?} is neither 1 nor 2"))),
    };
    options.strangers = match parts.key("strangers").as_deref() {
        None | Some("refuse") => Strangers::Refuse,
        Some("pass") => Strangers::Pass,
        Some(other) => return Err(parts.error(&format!("strangers {other:?} is neither refuse nor pass"))),
    };
    options.header_timeout = parts.timeout_or(HEADER_TIMEOUT)?;
    Ok(options)
}

/// The outer endpoint; what it says ends in the inner one.
pub(super) fn write(
    f: &mut fmt::Formatter<'_>,
    inner: &ServerEndpoint,
    options: &ProxyOptions,
) -> fmt::Result {
    f.write_str("proxy:")?;
    let usual = ProxyOptions::default();
    if options.trusted != usual.trusted {
        write!(f, "trusted={}:", quote(&options.trusted.to_string()))?;
    }
    match options.versions {
        Versions::Any => {}
        Versions::Only(Version::V1) => f.write_str("version=1:")?,
        Versions::Only(Version::V2) => f.write_str("version=2:")?,
    }
    if options.strangers == Strangers::Pass {
        f.write_str("strangers=pass:")?;
    }
    if options.header_timeout != usual.header_timeout {
        write!(f, "timeout={}:", options.header_timeout.as_secs_f64())?;
    }
    write!(f, "{inner}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn parsed(text: &str) -> Result<(ServerEndpoint, ProxyOptions), String> {
        match text.parse::<ServerEndpoint>() {
            Ok(ServerEndpoint::Proxy { inner, options }) => Ok((*inner, options)),
            Ok(other) => panic!("{text} is {other}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in [
            "proxy:tcp:8080",
            "proxy:tcp:8080:interface=127.0.0.1:backlog=5",
            "proxy:unix:/run/a\\:b.sock:mode=660",
            "proxy:trusted=10.0.0.0/8,192.168.0.1:tcp:80",
            "proxy:trusted=2001\\:db8\\:\\:/32:tcp6:80",
            "proxy:trusted=10.0.0.1:version=2:strangers=pass:timeout=1.5:tcp:80",
        ] {
            let endpoint: ServerEndpoint = text.parse().expect(text);
            assert_eq!(endpoint.to_string(), text);
        }
        let (inner, options) = parsed("haproxy:tcp:8080").unwrap();
        assert_eq!((inner.to_string(), options), ("tcp:8080".to_owned(), ProxyOptions::default()));
        let (inner, options) = parsed("proxy:version=1:timeout=9:tcp:port=80:interface=localhost").unwrap();
        assert_eq!(inner.to_string(), "tcp:80:interface=127.0.0.1");
        assert_eq!(options.versions, Versions::Only(Version::V1));
        assert_eq!(options.header_timeout, Duration::from_secs(9));
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        for (text, part) in [
            ("proxy", "where to listen is missing; write proxy:tcp:8080"),
            ("proxy:", "where to listen is missing"),
            ("proxy:trusted=::1", "the colons of IPv6 are escaped"),
            ("proxy:trusted=10.0.0.1,2001:db8::/32:tcp:80", "the colons of IPv6 are escaped"),
            ("proxy:trusted=10.0.0.1", "where to listen is missing"),
            ("proxy:8080", "write tcp:8080 for a port"),
            ("proxy:tcp", "the port is missing"),
            ("proxy:tcp:eighty", "\"eighty\" is not a number"),
            ("proxy:tcp:80:trusted=10.0.0.1", "tcp: knows no trusted="),
            ("proxy:trusted=10.0.0.0/33:tcp:80", "\"10.0.0.0/33\" is not a network"),
            ("proxy:trusted=:tcp:80", "names nobody"),
            ("proxy:trusted=10.0.0.1:unix:/x", "its mode says who"),
            ("proxy:version=3:tcp:80", "neither 1 nor 2"),
            ("proxy:strangers=ask:tcp:80", "neither refuse nor pass"),
            ("proxy:timeout=0:tcp:80", "above 0"),
            ("proxy:colour=red:tcp:80", "proxy: knows no colour="),
            ("proxy:version=1:version=2:tcp:80", "given twice"),
            ("proxy:proxy:tcp:80", "write proxy: once"),
            ("proxy:ssl:443", "privateKey"),
            ("proxy:tcp:80\\", "backslash"),
        ] {
            let error = parsed(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn what_is_asked_of_the_outer_one_is_the_inner_ones() {
        let endpoint: ServerEndpoint = "proxy:tcp:80".parse().unwrap();
        assert!(!endpoint.is_local());
        let local = endpoint.or_interface("127.0.0.1".parse().unwrap());
        assert!(!local.is_local(), "whoever reaches the proxy reaches it");
        assert_eq!(local.with_port(8080).to_string(), "proxy:tcp:8080:interface=127.0.0.1");
        let named: ServerEndpoint = "proxy:tcp:80:interface=10.0.0.1".parse().unwrap();
        assert_eq!(named.or_interface("127.0.0.1".parse().unwrap()).interface(), "10.0.0.1".parse().ok());
    }
}
