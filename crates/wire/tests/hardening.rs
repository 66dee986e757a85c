//! Attacks on HTTP/1 servers, one sentence each, and that they end here.
//!
//! Not the grammar: every refusal by its shortest request is in `refusals.rs`.

mod common;

use common::{Read, accepted, decode_chunked, decode_with, read, read_with, refused};
use ropewalk_wire::http1::*;
use ropewalk_wire::sse;

fn post(lines: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: h\r\n{lines}\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: h\r\n\r\n")
        .into_bytes()
}

/// CL.TE and TE.CL: the proxy believes one length and the server the other, so the rest is a request of the attacker's.
#[test]
fn two_lengths_do_not_smuggle() {
    assert_eq!(
        refused(post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n")),
        Refusal::LengthAndCoding
    );
    assert_eq!(
        refused(post("Transfer-Encoding: chunked\r\nContent-Length: 6\r\n")),
        Refusal::LengthAndCoding
    );
    assert_eq!(
        refused(post("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n")),
        Refusal::LengthAndCoding
    );
}

/// CL.CL: one side takes the first Content-Length and the other the last.
#[test]
fn two_content_lengths_do_not_smuggle() {
    assert_eq!(refused(post("Content-Length: 5\r\ncontent-length: 0\r\n")), Refusal::RepeatedContentLength);
    assert_eq!(refused(post("Content-Length: 5, 0\r\n")), Refusal::BadContentLength);
}

/// TE.TE: a Transfer-Encoding is disguised so that only one side of the pair recognises it.
#[test]
fn disguised_chunked_does_not_smuggle() {
    for line in [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: chunked\x0b",
        "Transfer-Encoding:\r\n chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding\r\n: chunked",
        "X: x\nTransfer-Encoding: chunked",
        "X: x\rTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: 'chunked'",
        "Transfer-Encoding: chunked\0",
        "Transfer-Encoding: chunke\u{212a}d",
    ] {
        refused(post(&format!("Content-Length: 5\r\n{line}\r\n")));
        refused(post(&format!("{line}\r\n")));
    }
}

/// A name that looks like a framing field to a proxy that folds '_' or strips bytes is only another field here.
#[test]
fn lookalike_names_do_not_frame() {
    let told =
        accepted("POST / HTTP/1.1\r\nHost: h\r\nContent_Length: 5\r\nTransfer-Encodin: chunked\r\n\r\n");
    assert_eq!(told.framing, Framing::None);
}

/// TE in HTTP/1.0: a proxy of that age passes the field on and counts to the end of the connection.
#[test]
fn http10_has_no_chunks() {
    let bytes = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(refused(bytes), Refusal::TransferCodingInHttp10);
}

/// A length that overflows becomes a small one, and the rest of the body a request.
#[test]
fn lengths_do_not_wrap() {
    assert_eq!(refused(post("Content-Length: 18446744073709551621\r\n")), Refusal::BadContentLength);
    assert_eq!(decode_chunked("10000000000000005\r\nhello\r\n").end, Err(Refusal::BadChunkSize));
    let sum = "ffffffffffffffff\r\n";
    let limits = BodyLimits { body_bytes_max: u64::MAX - 1, ..BodyLimits::default() };
    assert_eq!(
        decode_with(Framing::Chunked, format!("1\r\nx\r\n{sum}").as_bytes(), &limits).end,
        Err(Refusal::BodyTooLarge)
    );
}

/// A number is read as decimal, hexadecimal, signed or with separators, depending on who parses it.
#[test]
fn numbers_have_one_spelling() {
    for length in ["+5", "0x5", "5e0", "5_0", "\u{ff15}", "5 5", "''5"] {
        assert_eq!(refused(post(&format!("Content-Length: {length}\r\n"))), Refusal::BadContentLength);
    }
    for size in ["+5", "0x5", "5_0", " 5", "5 ", "-1"] {
        assert_eq!(decode_chunked(format!("{size}\r\nhello\r\n")).end, Err(Refusal::BadChunkSize), "{size}");
    }
}

/// TERM.EXT: a bare LF in a chunk extension ends the line for one side and not for the other.
#[test]
fn chunk_extensions_do_not_hide_line_ends() {
    assert_eq!(decode_chunked("5;x\nhello\r\n0\r\n\r\n").end, Err(Refusal::BareLf));
    assert_eq!(decode_chunked("5;x\rhello\r\n0\r\n\r\n").end, Err(Refusal::BareCr));
}

/// Two bytes after the data are skipped unseen, and the sizes of both sides drift apart.
#[test]
fn chunk_data_end_where_they_said() {
    assert_eq!(decode_chunked("5\r\nhelloXX0\r\n\r\n").end, Err(Refusal::BadChunkEnd));
}

/// A trailer replaces what was checked in the head.
#[test]
fn trailers_do_not_reframe_or_reroute() {
    for name in ["Content-Length", "Transfer-Encoding", "Host"] {
        assert_eq!(decode_chunked(format!("0\r\n{name}: 5\r\n\r\n")).end, Err(Refusal::ForbiddenTrailer));
    }
}

/// The proxy routes by one host and the server by another.
#[test]
fn there_is_one_host() {
    assert_eq!(refused("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), Refusal::RepeatedHost);
    assert_eq!(refused("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"), Refusal::BadHost);
    assert_eq!(refused("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), Refusal::BadHost);
    assert_eq!(refused("GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n"), Refusal::BadHost);
    assert_eq!(accepted("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n").host.as_deref(), Some("a"));
}

/// A Host with a path, a script or a line end poisons links and caches that are made from it.
#[test]
fn hosts_hold_no_markup() {
    for host in ["a/evil", "a\"><script>", "a#b", "a?b", "a\\b", "a:80x"] {
        assert_eq!(refused(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), Refusal::BadHost);
    }
}

/// Whitespace where a proxy trims it and a server does not moves the border of target or version.
#[test]
fn request_lines_have_two_spaces() {
    for line in
        ["GET  / HTTP/1.1", "GET / HTTP/1.1 ", "GET /a b HTTP/1.1", "GET\t/\tHTTP/1.1", "GET /\x0bHTTP/1.1"]
    {
        refused(format!("{line}\r\nHost: h\r\n\r\n"));
    }
}

/// HTTP/0.9 answers without a head, so that a browser can be made to read an upload as an answer.
#[test]
fn there_is_no_http09() {
    refused("GET /\r\n");
    assert_eq!(refused("GET / HTTP/0.9\r\n"), Refusal::VersionNotSupported);
}

/// Another protocol is spoken to the port, to make a browser or a printer talk to us by accident.
#[test]
fn other_protocols_are_refused_at_once() {
    for (bytes, seen) in
        [(&b"\x16\x03\x01\x02\0"[..], 1), (b"SSH-2.0-x\r\n", 10), (b"\0\0\0", 1), (b"EHLO x\r\n", 6)]
    {
        assert_eq!(read(&bytes[..seen - 1]), Read::Incomplete);
        assert!(matches!(read(&bytes[..seen]), Read::Refused(_)), "{}", bytes.escape_ascii());
    }
}

/// Slow headers without end: memory grows until the process is killed.
#[test]
fn a_head_has_an_end() {
    let limits = HeadLimits { request_line_bytes_max: 64, head_bytes_max: 512, fields_max: 8 };
    let start = "GET / HTTP/1.1\r\n";
    for (bytes, refusal) in [
        ("G".repeat(600), Refusal::MethodTooLong),
        (format!("GET /{}", "a".repeat(600)), Refusal::RequestLineTooLong),
        (format!("{start}{}", "a".repeat(600)), Refusal::HeadTooLarge),
        (format!("{start}A: {}", "a".repeat(600)), Refusal::HeadTooLarge),
        (format!("{start}A:{}", " ".repeat(600)), Refusal::HeadTooLarge),
        (format!("{start}{}", "A:\r\n".repeat(9)), Refusal::TooManyFields),
        ("\r\n".repeat(9), Refusal::TooManyEmptyLines),
    ] {
        assert_eq!(read_with(bytes.as_bytes(), &limits), Read::Refused(refusal));
    }
}

/// One huge head per connection makes every connection keep a huge buffer.
#[test]
fn a_cleared_head_gives_memory_back() {
    let mut head = Head::new();
    let fields: String = (0..100).map(|n| format!("A{n}: {}\r\n", "x".repeat(500))).collect();
    let bytes = format!("GET / HTTP/1.0\r\n{fields}\r\n");
    assert!(matches!(head.feed(bytes.as_bytes(), &HeadLimits::default()), Ok(Fed::Complete { .. })));
    head.clear();
    assert!(head.capacity_bytes() <= 16 * 1024, "{}", head.capacity_bytes());
}

/// A megabyte of extensions carries one byte of body, and no body limit sees it (CVE-2023-39326 elsewhere).
#[test]
fn chunk_extensions_may_not_outweigh_the_data() {
    let chunk = format!("1;{}\r\nx\r\n", "e".repeat(200));
    let body =
        common::decode_pieces(Framing::Chunked, [chunk.repeat(100).as_bytes()], &BodyLimits::default());
    assert_eq!(body.end, Err(Refusal::TooManyChunkExtensions));
    let signed = format!("1000;chunk-signature={}\r\n{}\r\n", "5".repeat(64), "x".repeat(0x1000));
    let body =
        common::decode_pieces(Framing::Chunked, [signed.repeat(1000).as_bytes()], &BodyLimits::default());
    assert_eq!(body.end, Ok(None), "signed chunks are honest");
}

/// A small Content-Length would be refused, so the large body comes in chunks.
#[test]
fn chunks_have_the_same_limit_as_lengths() {
    let limits = BodyLimits { body_bytes_max: 8, ..BodyLimits::default() };
    assert_eq!(Framing::Length(9).check(&limits), Err(Refusal::BodyTooLarge));
    let chunks = "3\r\nabc\r\n".repeat(3);
    assert_eq!(decode_with(Framing::Chunked, chunks.as_bytes(), &limits).end, Err(Refusal::BodyTooLarge));
}

/// Response splitting: what a user typed ends a field and begins another answer.
#[test]
fn answers_do_not_split() {
    let mut out = Vec::new();
    for value in ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\0b"] {
        assert_eq!(encode_field(&mut out, "Location", value.as_bytes()), Err(BadField::Value));
        assert_eq!(encode_field(&mut out, value, b"x"), Err(BadField::Name));
    }
    assert!(out.is_empty());
    encode_status(&mut out, 200, Some("OK\r\nSet-Cookie: b"));
    assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
}

/// A chat line with line ends in it becomes an event of its own at every subscriber.
#[test]
fn events_are_not_forged() {
    for end in ["\n", "\r", "\r\n"] {
        let mut out = Vec::new();
        let evil = format!("a{end}{end}event: admin{end}data: b{end}id: 9");
        sse::encode_event(&mut out, Some(&evil), Some(&evil), &evil);
        let text = String::from_utf8(out).expect("events are UTF-8");
        assert_eq!(text.matches("\n\n").count(), 1, "one event: {text:?}");
        assert!(!text.contains('\r'));
        for (field, lines) in [("id: ", 1), ("event: ", 1), ("data: ", 5)] {
            assert_eq!(text.lines().filter(|line| line.starts_with(field)).count(), lines, "{text:?}");
        }
    }
}
