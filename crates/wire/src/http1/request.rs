//! The request line that a client writes: method, target in one of its four forms, version (RFC 9112 3).
//!
//! Injection ends here: nothing is written that would not be one request line. The fields behind it are the encoder's
//! [`encode_field`](super::encode_field), the body is [`BodyEncoder`](super::BodyEncoder)'s; both sides share them.

use std::fmt;

use super::bytes::{is_token_text, query_end};
use super::target::{Port, authority_port};

/// What is asked for, in the form that goes on the wire (RFC 9112 3.2).
///
/// ```
/// use ropewalk_wire::http1::{RequestTarget, encode_request_line};
///
/// let mut out = Vec::new();
/// encode_request_line(&mut out, "GET", RequestTarget::Origin("/hello?to=you"))?;
/// encode_request_line(&mut out, "CONNECT", RequestTarget::Authority("example.org:443"))?;
/// assert_eq!(out, b"GET /hello?to=you HTTP/1.1\r\nCONNECT example.org:443 HTTP/1.1\r\n");
/// assert!(encode_request_line(&mut out, "GET", RequestTarget::Origin("/ HTTP/1.1\r\nX: y")).is_err());
/// # Ok::<(), ropewalk_wire::http1::BadLine>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestTarget<'a> {
    /// Path and query, to the server itself: it begins with `/`.
    Origin(&'a str),
    /// The whole of an `http` or `https` URL, to a proxy: scheme, authority, then path and query, which begin with `/`.
    Absolute(&'a str, &'a str, &'a str),
    /// Host and port, for CONNECT.
    Authority(&'a str),
    /// `*`, for OPTIONS.
    Asterisk,
}

/// Why a request line was not written: always the fault of who wrote the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadLine {
    /// The method is not a token.
    Method,
    /// The target holds what no target may, or is not in a form that this method may have.
    Target,
}

impl fmt::Display for BadLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            BadLine::Method => "the method is not a token",
            BadLine::Target => "the request target is not in a form that this method may have",
        })
    }
}

impl std::error::Error for BadLine {}

/// Appends `method target HTTP/1.1` and CRLF, or nothing at all.
///
/// # Errors
/// [`BadLine`] when that would not be one request line.
pub fn encode_request_line(
    out: &mut Vec<u8>,
    method: &str,
    target: RequestTarget<'_>,
) -> Result<(), BadLine> {
    if !is_token_text(method.as_bytes()) {
        return Err(BadLine::Method);
    }
    let pieces = pieces(method, target).ok_or(BadLine::Target)?;
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    pieces.iter().for_each(|piece| out.extend_from_slice(piece.as_bytes()));
    out.extend_from_slice(b" HTTP/1.1\r\n");
    Ok(())
}

fn pieces<'a>(method: &str, target: RequestTarget<'a>) -> Option<[&'a str; 4]> {
    let is_connect = method == "CONNECT";
    match target {
        // RFC 9112 3.2.3: only for CONNECT, and that has no other.
        RequestTarget::Authority(authority) => {
            let port = authority_port(authority.as_bytes())?;
            (is_connect && matches!(port, Port::Number(1..))).then_some([authority, "", "", ""])
        }
        _ if is_connect => None,
        RequestTarget::Origin(path) => is_path(path).then_some([path, "", "", ""]),
        RequestTarget::Absolute(scheme, authority, path) => {
            authority_port(authority.as_bytes())?;
            let known = matches!(scheme, "http" | "https") && is_path(path);
            known.then_some([scheme, "://", authority, path])
        }
        // RFC 9112 3.2.4: a server-wide OPTIONS.
        RequestTarget::Asterisk => (method == "OPTIONS").then_some(["*", "", "", ""]),
    }
}

/// Whether this is a path with or without a query, in bytes that a request line may hold.
fn is_path(text: &str) -> bool {
    text.starts_with('/') && query_end(text.as_bytes(), 0) == text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(method: &str, target: RequestTarget<'_>) -> Result<String, BadLine> {
        let mut out = Vec::new();
        let written = encode_request_line(&mut out, method, target);
        assert!(written.is_ok() || out.is_empty(), "nothing of a bad line is written");
        written.map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn each_form_is_written() {
        for (method, target, expected) in [
            ("GET", RequestTarget::Origin("/"), "GET / HTTP/1.1\r\n"),
            ("X-y", RequestTarget::Origin("/a?b?c"), "X-y /a?b?c HTTP/1.1\r\n"),
            ("GET", RequestTarget::Absolute("http", "h:8", "/a"), "GET http://h:8/a HTTP/1.1\r\n"),
            ("CONNECT", RequestTarget::Authority("[::1]:443"), "CONNECT [::1]:443 HTTP/1.1\r\n"),
            ("OPTIONS", RequestTarget::Asterisk, "OPTIONS * HTTP/1.1\r\n"),
        ] {
            assert_eq!(line(method, target).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn nothing_else_is() {
        for method in ["", "G T", "GET\r\nX:", "G\0", "M\u{e9}"] {
            assert_eq!(line(method, RequestTarget::Origin("/")), Err(BadLine::Method), "{method:?}");
        }
        for target in ["", "a", "/ ", "/\r\n", "/\0", "/#x", "/\u{e9}", "//a\tb", "/\x7f"] {
            assert_eq!(line("GET", RequestTarget::Origin(target)), Err(BadLine::Target), "{target:?}");
            let absolute = RequestTarget::Absolute("http", "h", target);
            assert_eq!(line("GET", absolute), Err(BadLine::Target), "{target:?}");
        }
        for (method, target) in [
            ("GET", RequestTarget::Asterisk),
            ("GET", RequestTarget::Authority("h:1")),
            ("CONNECT", RequestTarget::Origin("/")),
            ("CONNECT", RequestTarget::Authority("h")),
            ("CONNECT", RequestTarget::Authority("h:0")),
            ("CONNECT", RequestTarget::Authority("u@h:1")),
            ("GET", RequestTarget::Absolute("ftp", "h", "/")),
            ("GET", RequestTarget::Absolute("http", "h h", "/")),
            ("GET", RequestTarget::Absolute("http", "", "/")),
        ] {
            assert_eq!(line(method, target), Err(BadLine::Target), "{method} {target:?}");
        }
    }
}
