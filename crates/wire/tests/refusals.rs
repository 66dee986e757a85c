//! Every refusal of a head, by the shortest request that earns it; each whole, split at every byte and byte by byte.
//!
//! Not the stories behind them: those are in `hardening.rs`. Bodies are in `bodies.rs`.

mod common;

use std::collections::BTreeSet;

use common::{Read, read, read_with, refused};
use ropewalk_wire::http1::{HeadLimits, Refusal};

/// Request lines, each followed by a good rest.
const LINES: &[(&str, Refusal)] = &[
    ("\x16\x03\x01", Refusal::BadMethod),
    (" GET / HTTP/1.1\r\n", Refusal::BadMethod),
    ("G\tET / HTTP/1.1\r\n", Refusal::BadMethod),
    ("GET\t/ HTTP/1.1\r\n", Refusal::BadMethod),
    ("GET\r\n", Refusal::BadMethod),
    ("G(T / HTTP/1.1\r\n", Refusal::BadMethod),
    ("G\u{e9}T / HTTP/1.1\r\n", Refusal::BadMethod),
    ("G\0T / HTTP/1.1\r\n", Refusal::BadMethod),
    ("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n", Refusal::MethodTooLong),
    ("\nGET / HTTP/1.1\r\n", Refusal::BareLf),
    ("GET\n", Refusal::BareLf),
    ("GET \n", Refusal::BareLf),
    ("GET /\n", Refusal::BareLf),
    ("GET / HTTP/1.1\n", Refusal::BareLf),
    ("\rGET / HTTP/1.1\r\n", Refusal::BareCr),
    ("GET / HTTP/1.1\rX", Refusal::BareCr),
    ("GET / HTTP/1.1\r\r\n", Refusal::BareCr),
    ("GET  / HTTP/1.1\r\n", Refusal::BadTarget),
    ("GET / HTTP/1.1 \r\n", Refusal::BadVersion),
    ("GET /  HTTP/1.1\r\n", Refusal::BadVersion),
    ("GET /\tHTTP/1.1\r\n", Refusal::BadTarget),
    ("GET /\r\n", Refusal::BadTarget),
    ("GET / \r\n", Refusal::BadVersion),
    ("GET /#a HTTP/1.1\r\n", Refusal::BadTarget),
    ("GET /?#a HTTP/1.1\r\n", Refusal::BadTarget),
    ("GET /\x7f HTTP/1.1\r\n", Refusal::BadTarget),
    ("GET /\u{e9} HTTP/1.1\r\n", Refusal::BadTarget),
    ("GET /?\u{e9} HTTP/1.1\r\n", Refusal::BadTarget),
    ("GET /a\0 HTTP/1.1\r\n", Refusal::BadTarget),
    ("GET foo HTTP/1.1\r\n", Refusal::BadTarget),
    ("GET ?a HTTP/1.1\r\n", Refusal::BadTarget),
    ("GET hello HTTP/1.1\r\n", Refusal::BadTarget),
    ("GET ftp://x/ HTTP/1.1\r\n", Refusal::BadTarget),
    ("GET http:/x HTTP/1.1\r\n", Refusal::BadTarget),
    ("GET * HTTP/1.1\r\n", Refusal::BadTarget),
    ("OPTIONS *x HTTP/1.1\r\n", Refusal::BadTarget),
    ("OPTIONS *?x HTTP/1.1\r\n", Refusal::BadTarget),
    ("GET x:80 HTTP/1.1\r\n", Refusal::BadTarget),
    ("GET h:80 HTTP/1.1\r\n", Refusal::BadTarget),
    ("CONNECT / HTTP/1.1\r\n", Refusal::BadTarget),
    ("CONNECT * HTTP/1.1\r\n", Refusal::BadTarget),
    ("CONNECT http://x:1/ HTTP/1.1\r\n", Refusal::BadTarget),
    ("CONNECT x HTTP/1.1\r\n", Refusal::BadTarget),
    ("CONNECT x: HTTP/1.1\r\n", Refusal::BadTarget),
    ("CONNECT x:0 HTTP/1.1\r\n", Refusal::BadTarget),
    ("CONNECT x:65536 HTTP/1.1\r\n", Refusal::BadTarget),
    ("CONNECT :80 HTTP/1.1\r\n", Refusal::BadTarget),
    ("CONNECT x:80? HTTP/1.1\r\n", Refusal::BadTarget),
    ("GET http:///x HTTP/1.1\r\n", Refusal::BadHost),
    ("GET http://?x HTTP/1.1\r\n", Refusal::BadHost),
    ("GET http://:80/ HTTP/1.1\r\n", Refusal::BadHost),
    ("GET http://u:p@x/ HTTP/1.1\r\n", Refusal::BadHost),
    ("GET http://x:99999/ HTTP/1.1\r\n", Refusal::BadHost),
    ("GET / http/1.1\r\n", Refusal::BadVersion),
    ("GET / HTTP\r\n", Refusal::BadVersion),
    ("GET / HTTP/1\r\n", Refusal::BadVersion),
    ("GET / HTTP/1,1\r\n", Refusal::BadVersion),
    ("GET / HTTP/11\r\n", Refusal::BadVersion),
    ("GET / HTTP/1.x\r\n", Refusal::BadVersion),
    ("GET / HTTP/x.1\r\n", Refusal::BadVersion),
    ("GET / HTTP/1.11\r\n", Refusal::BadVersion),
    ("GET / HTTP/1.1x\r\n", Refusal::BadVersion),
    ("GET / HTTP/+1.1\r\n", Refusal::BadVersion),
    ("GET / ICY/1.1\r\n", Refusal::BadVersion),
    ("GET / HTTP/0.9\r\n", Refusal::VersionNotSupported),
    ("GET / HTTP/1.2\r\n", Refusal::VersionNotSupported),
    ("GET / HTTP/2.0\r\n", Refusal::VersionNotSupported),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refusal::VersionNotSupported),
    ("GET / HTTP/3.1x", Refusal::VersionNotSupported),
];

/// Field lines, each after a good request line and a Host field.
const FIELDS: &[(&str, Refusal)] = &[
    ("A : b\r\n", Refusal::SpaceBeforeColon),
    ("A\t: b\r\n", Refusal::SpaceBeforeColon),
    (": b\r\n", Refusal::EmptyFieldName),
    (" A: b\r\n", Refusal::FoldedLine),
    ("A: b\r\n c\r\n", Refusal::FoldedLine),
    ("A: b\r\n\tc\r\n", Refusal::FoldedLine),
    ("A\r\n", Refusal::BadFieldName),
    ("A(b: c\r\n", Refusal::BadFieldName),
    ("\"A\": c\r\n", Refusal::BadFieldName),
    ("A\0: c\r\n", Refusal::BadFieldName),
    ("\0: c\r\n", Refusal::BadFieldName),
    ("A\u{e9}: c\r\n", Refusal::BadFieldName),
    ("A/b: c\r\n", Refusal::BadFieldName),
    ("A: \0\r\n", Refusal::BadFieldValue),
    ("A: b\x01c\r\n", Refusal::BadFieldValue),
    ("A: b\x0bc\r\n", Refusal::BadFieldValue),
    ("A: b\x1bc\r\n", Refusal::BadFieldValue),
    ("A: b\x7fc\r\n", Refusal::BadFieldValue),
    ("A: a long value that is clean for some time\x08\r\n", Refusal::BadFieldValue),
    ("A: b\n", Refusal::BareLf),
    ("A:\n", Refusal::BareLf),
    ("A\n", Refusal::BareLf),
    ("\n", Refusal::BareLf),
    ("A: b\rc\r\n", Refusal::BareCr),
    ("A: b\r\r\n", Refusal::BareCr),
    ("A:\rb\r\n", Refusal::BareCr),
    ("\rA: b\r\n", Refusal::BareCr),
    ("\r\r\n", Refusal::BareCr),
    ("Host: other\r\n", Refusal::RepeatedHost),
    ("host: h\r\n", Refusal::RepeatedHost),
    ("Content-Length:\r\n", Refusal::BadContentLength),
    ("Content-Length: x\r\n", Refusal::BadContentLength),
    ("Content-Length: +5\r\n", Refusal::BadContentLength),
    ("Content-Length: -5\r\n", Refusal::BadContentLength),
    ("Content-Length: 5,5\r\n", Refusal::BadContentLength),
    ("Content-Length: 5, 6\r\n", Refusal::BadContentLength),
    ("Content-Length: 5 5\r\n", Refusal::BadContentLength),
    ("Content-Length: 0x5\r\n", Refusal::BadContentLength),
    ("Content-Length: 5.0\r\n", Refusal::BadContentLength),
    ("Content-Length: 1_0\r\n", Refusal::BadContentLength),
    ("Content-Length: \u{0665}\r\n", Refusal::BadContentLength),
    ("Content-Length: 18446744073709551616\r\n", Refusal::BadContentLength),
    ("Content-Length: 99999999999999999999999\r\n", Refusal::BadContentLength),
    ("Content-Length: 5\r\nContent-Length: 6\r\n", Refusal::RepeatedContentLength),
    ("Content-Length: 5\r\nContent-Length: 5\r\n", Refusal::RepeatedContentLength),
    ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Refusal::LengthAndCoding),
    ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Refusal::LengthAndCoding),
    ("Transfer-Encoding: gzip, chunked\r\n", Refusal::UnknownTransferCoding),
    ("Transfer-Encoding: gzip\r\n", Refusal::UnknownTransferCoding),
    ("Transfer-Encoding: gzip;q=1\r\n", Refusal::UnknownTransferCoding),
    ("Transfer-Encoding: identity\r\n", Refusal::UnknownTransferCoding),
    ("Transfer-Encoding: xchunked\r\n", Refusal::UnknownTransferCoding),
    ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", Refusal::UnknownTransferCoding),
    ("Transfer-Encoding:\r\n", Refusal::BadTransferCoding),
    ("Transfer-Encoding: ,\r\n", Refusal::BadTransferCoding),
    ("Transfer-Encoding: chunked,\r\n", Refusal::BadTransferCoding),
    ("Transfer-Encoding: ,chunked\r\n", Refusal::BadTransferCoding),
    ("Transfer-Encoding: chunked, gzip\r\n", Refusal::BadTransferCoding),
    ("Transfer-Encoding: chunked, chunked\r\n", Refusal::BadTransferCoding),
    ("Transfer-Encoding: chunked;q=1\r\n", Refusal::BadTransferCoding),
    ("Transfer-Encoding: \"chunked\"\r\n", Refusal::BadTransferCoding),
    ("Transfer-Encoding: chunked chunked\r\n", Refusal::BadTransferCoding),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Refusal::BadTransferCoding),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n", Refusal::BadTransferCoding),
    ("Expect: 200-ok\r\n", Refusal::UnknownExpectation),
    ("Expect: 100-continue, x\r\n", Refusal::UnknownExpectation),
    ("Expect: 100-continue;a=b\r\n", Refusal::UnknownExpectation),
];

/// Values of the only Host field.
const HOSTS: &[&str] = &[
    "a b", "a,b c", "a/b", "a?b", "u@a", "a:b", "a:80:80", "a:65536", "a:-1", ":80", ":", "[::1", "::1",
    "[x]", "a\\b", "a%", "a%2", "a\u{e9}", "http://a", "a\"", "<a>",
];

/// Whole heads for what a line alone does not show.
const HEADS: &[(&str, Refusal)] = &[
    ("GET / HTTP/1.1\r\n\r\n", Refusal::MissingHost),
    ("GET http://a/ HTTP/1.1\r\n\r\n", Refusal::MissingHost),
    ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", Refusal::RepeatedHost),
    ("GET / HTTP/1.0\r\nHost: a b\r\n\r\n", Refusal::BadHost),
    ("GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n", Refusal::BadHost),
    ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::TransferCodingInHttp10),
    ("POST / HTTP/1.0\r\nTransfer-Encoding: gzip\r\n\r\n", Refusal::TransferCodingInHttp10),
    ("POST / HTTP/1.0\r\nExpect: x\r\n\r\n", Refusal::UnknownExpectation),
    ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Refusal::FoldedLine),
    ("\r\n\r\n\r\n\r\n\r\n", Refusal::TooManyEmptyLines),
];

#[test]
fn request_lines() {
    for &(line, refusal) in LINES {
        assert_eq!(refused(line), refusal, "at the line's end: {line:?}");
        assert_eq!(refused(format!("{line}Host: h\r\n\r\n")), refusal, "in a whole head: {line:?}");
    }
}

#[test]
fn field_lines() {
    for &(line, refusal) in FIELDS {
        assert_eq!(refused(format!("GET / HTTP/1.1\r\nHost: h\r\n{line}\r\n")), refusal, "{line:?}");
        let late = format!("GET / HTTP/1.1\r\nHost: h\r\nFirst: 1\r\n{line}Last: 9\r\n\r\n");
        assert_eq!(refused(late), refusal, "{line:?}");
    }
}

#[test]
fn hosts() {
    for host in HOSTS {
        for version in ["1.0", "1.1"] {
            let head = format!("GET / HTTP/{version}\r\nHost: {host}\r\n\r\n");
            assert_eq!(refused(head), Refusal::BadHost, "{host}");
        }
    }
}

#[test]
fn heads() {
    for &(head, refusal) in HEADS {
        assert_eq!(refused(head), refusal, "{head:?}");
    }
}

#[test]
fn sizes() {
    let limits = HeadLimits { request_line_bytes_max: 40, head_bytes_max: 80, fields_max: 3 };
    for (head, refusal) in [
        (format!("GET /{} HTTP/1.1\r\n", "x".repeat(40)), Refusal::RequestLineTooLong),
        (format!("GET /{}", "x".repeat(40)), Refusal::RequestLineTooLong),
        (format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(80)), Refusal::HeadTooLarge),
        (format!("GET / HTTP/1.1\r\n{}", "x".repeat(80)), Refusal::HeadTooLarge),
        ("GET / HTTP/1.1\r\nA:\r\nB:\r\nC:\r\nD:\r\n\r\n".to_owned(), Refusal::TooManyFields),
        ("GET / HTTP/1.1\r\nA:\r\nB:\r\nC:\r\nD".to_owned(), Refusal::TooManyFields),
    ] {
        assert_eq!(read_with(head.as_bytes(), &limits), Read::Refused(refusal), "{head:?}");
    }
}

/// The last byte of each of these is the first one that cannot be HTTP.
#[test]
fn garbage_is_refused_at_its_first_byte() {
    for bytes in [
        "\x16",
        "\n",
        " ",
        "\0",
        "SSH-2.0-x\r",
        "GET\t",
        "GET  ",
        "GET x",
        "GET /\x01",
        "GET / X",
        "GET / HTTP/2.0",
        "GET / HTTP/1.1\r\n ",
        "GET / HTTP/1.1\r\n:",
        "GET / HTTP/1.1\r\nA ",
        "GET / HTTP/1.1\r\nA: \x01",
        "GET / HTTP/1.1\r\nHost: /\r\n",
        "GET / HTTP/1.1\r\nContent-Length: x\r\n",
    ] {
        assert_eq!(read(&bytes[..bytes.len() - 1]), Read::Incomplete, "{bytes:?}");
        refused(bytes);
    }
}

#[test]
fn every_refusal_has_a_client_or_server_status_and_a_line_of_its_own() {
    let mut lines = BTreeSet::new();
    for &refusal in Refusal::ALL {
        assert!([400, 413, 414, 417, 431, 501, 502, 505].contains(&refusal.status()), "{refusal:?}");
        assert!(refusal.reason().bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
        assert!(lines.insert(refusal.to_string()), "{refusal:?} says what another says");
    }
    let statuses = [
        (Refusal::BareLf, 400),
        (Refusal::BodyTooLarge, 413),
        (Refusal::RequestLineTooLong, 414),
        (Refusal::UnknownExpectation, 417),
        (Refusal::HeadTooLarge, 431),
        (Refusal::TooManyFields, 431),
        (Refusal::UnknownTransferCoding, 501),
        (Refusal::MethodTooLong, 501),
        (Refusal::VersionNotSupported, 505),
    ];
    assert!(statuses.iter().all(|(refusal, status)| refusal.status() == *status));
}
