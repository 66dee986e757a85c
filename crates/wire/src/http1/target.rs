//! The four forms of a request target (RFC 9112 3.2), and what an authority may look like (RFC 3986 3.2).
//!
//! Not a router and not a normaliser: percent-encoding and dot segments in paths are left as sent. The request line
//! calls [`Target::locate`] once it is whole; the Host field is checked with [`authority_port`].

use super::Refusal;
use super::bytes::reg_name_end;

/// A part of the head by its offsets; `start == 0` means absent, because the method stands there.
pub(super) type Part = (u32, u32);

/// Where the parts of a target are within the head.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Target {
    pub(super) authority: Part,
    /// Absent in the authority-form, and in an absolute-form without one.
    pub(super) path: Part,
    pub(super) query: Part,
}

impl Target {
    /// Finds the form of the target at `line[start..end]`, whose first '?' is at `query_at` (0: none).
    #[inline]
    pub(super) fn locate(line: &[u8], start: usize, end: usize, query_at: usize) -> Result<Target, Refusal> {
        let method = &line[..start - 1];
        let (path_end, query) = match query_at {
            0 => (end, (0, 0)),
            _ => (query_at, (query_at as u32 + 1, end as u32)),
        };
        let path = (start as u32, path_end as u32);
        match line[start] {
            _ if method == b"CONNECT" => Self::authority_form(line, start, end),
            b'/' => Ok(Target { path, query, ..Target::default() }),
            // RFC 9112 3.2.4: the asterisk-form is only for a server-wide OPTIONS.
            b'*' if method == b"OPTIONS" && end == start + 1 => Ok(Target { path, ..Target::default() }),
            _ => Self::absolute_form(line, start, path_end, query),
        }
    }

    /// RFC 9112 3.2.3: only for CONNECT. RFC 9110 9.3.6: an empty or invalid port MUST be rejected.
    fn authority_form(line: &[u8], start: usize, end: usize) -> Result<Target, Refusal> {
        match authority_port(&line[start..end]) {
            Some(Port::Number(1..)) => {
                Ok(Target { authority: (start as u32, end as u32), ..Target::default() })
            }
            _ => Err(Refusal::BadTarget),
        }
    }

    /// RFC 9112 3.2.2: a server MUST accept the absolute-form even though few clients send it.
    fn absolute_form(line: &[u8], start: usize, end: usize, query: Part) -> Result<Target, Refusal> {
        let target = &line[start..end];
        let scheme = [&b"http://"[..], b"https://"]
            .into_iter()
            .find(|scheme| target.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme)))
            .ok_or(Refusal::BadTarget)?;
        let authority_start = start + scheme.len();
        let slash = line[authority_start..end].iter().position(|&byte| byte == b'/');
        let authority_end = slash.map_or(end, |at| authority_start + at);
        // RFC 9110 4.2.1: an empty host MUST be rejected; 4.2.4: so is userinfo, which the check does not let pass.
        authority_port(&line[authority_start..authority_end]).ok_or(Refusal::BadHost)?;
        let path = if slash.is_some() { (authority_end as u32, end as u32) } else { (0, 0) };
        Ok(Target { authority: (authority_start as u32, authority_end as u32), path, query })
    }
}

/// Whether a target may begin with this byte, so that garbage is refused before its end is seen.
pub(super) fn may_begin(method: &[u8], byte: u8) -> bool {
    match byte {
        b'/' => true,
        _ if method == b"CONNECT" => byte == b'[' || byte == b'%' || reg_name_end(&[byte], 0) == 1,
        // The asterisk waits for the version, so that HTTP/2's "PRI * HTTP/2.0" is told 505 and not 400.
        b'*' | b'h' | b'H' => true,
        _ => false,
    }
}

/// The port of an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Absent,
    /// A colon with nothing behind it, which RFC 3986 3.2.3 permits.
    Empty,
    Number(u16),
}

/// Checks `uri-host [ ":" port ]` (RFC 9110 7.2) with a host that is not empty, and tells its port; `None` when malformed.
pub(super) fn authority_port(authority: &[u8]) -> Option<Port> {
    let host_end = match authority.first()? {
        b'[' => ip_literal_end(authority)?,
        _ => host_name_end(authority)?,
    };
    match &authority[host_end..] {
        _ if host_end == 0 => None,
        [] => Some(Port::Absent),
        [b':'] => Some(Port::Empty),
        [b':', digits @ ..] => digits.iter().try_fold(0u16, add_digit).map(Port::Number),
        _ => None,
    }
}

fn add_digit(number: u16, byte: &u8) -> Option<u16> {
    let digit = byte.is_ascii_digit().then(|| u16::from(byte - b'0'))?;
    number.checked_mul(10)?.checked_add(digit)
}

/// A registered name or an IPv4 address: RFC 3986 3.2.2, where '%' begins two hexadecimal digits.
fn host_name_end(authority: &[u8]) -> Option<usize> {
    let mut at = reg_name_end(authority, 0);
    while authority.get(at) == Some(&b'%') {
        let digits = authority.get(at + 1..at + 3)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        at = reg_name_end(authority, at + 3);
    }
    Some(at)
}

/// `[IPv6]`; a zone or a future version of IP is not for a Host field.
fn ip_literal_end(authority: &[u8]) -> Option<usize> {
    let close = authority.iter().position(|&byte| byte == b']')?;
    let address = std::str::from_utf8(&authority[1..close]).ok()?;
    address.parse::<std::net::Ipv6Addr>().ok().map(|_| close + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_that_are_fine() {
        for (authority, port) in [
            ("x", Port::Absent),
            ("example.org:", Port::Empty),
            ("example.org:0080", Port::Number(80)),
            ("127.0.0.1:65535", Port::Number(65535)),
            ("[::1]", Port::Absent),
            ("[2001:db8::1]:8080", Port::Number(8080)),
            ("b%C3%BCcher.example", Port::Absent),
            ("a_b~c!$&'()*+,;=", Port::Absent),
        ] {
            assert_eq!(authority_port(authority.as_bytes()), Some(port), "{authority}");
        }
    }

    #[test]
    fn authorities_that_are_not() {
        for authority in [
            "",
            ":",
            ":80",
            "x:65536",
            "x:+1",
            "x:1:2",
            "x:8o",
            "::1",
            "[::1",
            "[::1]x",
            "[]",
            "[fe80::1%eth0]",
            "[v1.x]",
            "[1.2.3.4]",
            "u@x",
            "u:p@x",
            "x/y",
            "x?y",
            "x#y",
            "x\\y",
            "a b",
            "x%",
            "x%4",
            "x%zz",
            "<x>",
            "\u{fc}",
            "x\0",
            "x\t",
        ] {
            assert_eq!(authority_port(authority.as_bytes()), None, "{authority}");
        }
    }
}
