//! Which pages a browser may let talk to this service: a page of another origin must not publish, and a name that somebody has
//! pointed at this machine (DNS rebinding) is not ours.
//!
//! Not authorisation, which is [`PushOptions::allow`](super::PushOptions::allow)'s business. Called by `service` before
//! anything else.

use crate::request::Request;
use crate::response::Response;

/// Refuses what a browser should not have sent; `loopback_only` says that this service is for this machine, and `origins` who
/// else may.
pub(super) fn check(request: &Request, loopback_only: bool, origins: &[String]) -> Option<Response> {
    if loopback_only && !request.host_name().is_some_and(is_loopback) {
        return Some(Response::error(403, "this service is for this machine only, by the name of localhost"));
    }
    let origin = request.header("origin")?;
    let changes = !matches!(request.method(), "GET" | "HEAD" | "OPTIONS") || request.upgrade().is_some();
    if !changes || is_own(origin, request.host()?) || origins.iter().any(|known| known == origin) {
        return None;
    }
    Some(Response::error(403, "pages of other origins may not do this"))
}

/// A name that nobody can point elsewhere: `localhost`, or an address of the loopback itself.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a page comes from the host that it talks to. The scheme is not compared: a proxy may have taken the TLS away.
fn is_own(origin: &str, host: &str) -> bool {
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_this_machine() {
        for own in ["localhost", "LocalHost", "127.0.0.1", "127.1.2.3", "[::1]"] {
            assert!(is_loopback(own), "{own}");
        }
        for other in ["example.org", "localhost.example.org", "10.0.0.1", "", "127.0.0.1.nip.io", "[::2]"] {
            assert!(!is_loopback(other), "{other}");
        }
        assert!(is_own("http://a:80", "A:80") && is_own("https://a", "a"));
        assert!(!is_own("http://a", "a:8080") && !is_own("null", "null") && !is_own("http://b", "a"));
    }
}
