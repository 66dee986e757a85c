//! What the encoder appends, and what it refuses to append.
//!
//! Not how a server decides what to answer.

mod common;

use common::decode_chunked;
use ropewalk_wire::http1::*;

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = b"|".to_vec();
    write(&mut out);
    String::from_utf8(out.split_off(1)).expect("the encoder was given text")
}

#[test]
fn status_lines() {
    for (status, reason, line) in [
        (200, None, "HTTP/1.1 200 OK\r\n"),
        (404, None, "HTTP/1.1 404 Not Found\r\n"),
        (404, Some("Gone Fishing"), "HTTP/1.1 404 Gone Fishing\r\n"),
        (599, None, "HTTP/1.1 599 \r\n"),
        (200, Some(""), "HTTP/1.1 200 \r\n"),
        (200, Some("a\r\nSet-Cookie: b\0"), "HTTP/1.1 200 aSet-Cookie: b\r\n"),
        (42, None, "HTTP/1.1 500 Internal Server Error\r\n"),
        (1000, None, "HTTP/1.1 500 Internal Server Error\r\n"),
    ] {
        assert_eq!(written(|out| encode_status(out, status, reason)), line);
    }
    for status in 100..=999 {
        let line = format!("HTTP/1.1 {status} {}\r\n", reason_phrase(status));
        assert_eq!(written(|out| encode_status(out, status, None)), line);
    }
    assert!(Refusal::ALL.iter().all(|refusal| !reason_phrase(refusal.status()).is_empty()));
}

#[test]
fn fields_are_written_or_refused_whole() {
    let field = |name: &str, value: &[u8]| {
        let mut out = Vec::new();
        encode_field(&mut out, name, value).map(|()| out).inspect_err(|_| ())
    };
    assert_eq!(field("A", b"b"), Ok(b"A: b\r\n".to_vec()));
    assert_eq!(field("A", b""), Ok(b"A: \r\n".to_vec()));
    assert_eq!(field("A", b"tab\tand \xfc"), Ok(b"A: tab\tand \xfc\r\n".to_vec()));
    for name in ["", " ", "a b", "a:", "a\r\nb", "a\0", "\u{e9}"] {
        assert_eq!(field(name, b"x"), Err(BadField::Name), "{name:?}");
    }
    for byte in (0..=255u8).filter(|byte| byte.is_ascii_control() && *byte != b'\t') {
        for value in [
            &[byte][..],
            &[b'a', byte],
            &[byte, b'a'],
            &[b"a value of some length"[..].as_ref(), &[byte]].concat(),
        ] {
            assert_eq!(field("A", value), Err(BadField::Value), "{value:?}");
        }
    }
    let mut out = b"kept".to_vec();
    assert!(encode_field(&mut out, "A", b"\n").is_err() && encode_field(&mut out, "\n", b"").is_err());
    assert_eq!(out, b"kept");
}

#[test]
fn lengths_and_connections() {
    for (length, line) in [
        (Length::Known(0), "Content-Length: 0\r\n"),
        (Length::Known(u64::MAX), "Content-Length: 18446744073709551615\r\n"),
        (Length::Chunked, "Transfer-Encoding: chunked\r\n"),
        (Length::UntilClose, ""),
        (Length::None, ""),
    ] {
        assert_eq!(written(|out| encode_length(out, length)), line);
    }
    for (version, keep_alive, line) in [
        (Version::Http11, true, ""),
        (Version::Http11, false, "Connection: close\r\n"),
        (Version::Http10, true, "Connection: keep-alive\r\n"),
        (Version::Http10, false, "Connection: close\r\n"),
    ] {
        assert_eq!(written(|out| encode_connection(out, version, keep_alive)), line);
    }
}

#[test]
fn bodies_and_lengths_where_the_status_allows_them() {
    for (method, status, body, length) in [
        ("GET", 200, true, true),
        ("HEAD", 200, false, true),
        ("GET", 101, false, false),
        ("GET", 204, false, false),
        ("GET", 205, true, true),
        ("GET", 304, false, true),
        ("CONNECT", 200, false, false),
        ("CONNECT", 407, true, true),
        ("HEAD", 404, false, true),
    ] {
        assert_eq!(body_allowed(method, status), body, "{method} {status}");
        assert_eq!(length_allowed(method, status), length, "{method} {status}");
    }
}

#[test]
fn chunks_have_their_size_in_hexadecimal() {
    assert_eq!(written(|out| encode_chunk(out, b"")), "", "an empty chunk would end the body");
    assert_eq!(written(|out| encode_chunk_head(out, 0)), "");
    assert_eq!(written(|out| encode_chunk(out, b"hello")), "5\r\nhello\r\n");
    for length in [1, 9, 15, 16, 255, 256, 0x1234_abcd, usize::MAX] {
        assert_eq!(written(|out| encode_chunk_head(out, length)), format!("{length:x}\r\n"));
    }
}

#[test]
fn a_last_chunk_carries_trailers_or_nothing_is_written() {
    let last = |trailers: &[(&str, &[u8])]| {
        let mut out = b"x".to_vec();
        encode_last_chunk(&mut out, trailers).map(|()| out.split_off(1)).map_err(|bad| (bad, out))
    };
    assert_eq!(last(&[]), Ok(b"0\r\n\r\n".to_vec()));
    assert_eq!(last(&[("A", b"b"), ("C", b"")]), Ok(b"0\r\nA: b\r\nC: \r\n\r\n".to_vec()));
    assert_eq!(last(&[("A", b"b"), ("C", b"\n")]), Err((BadField::Value, b"x".to_vec())));
    assert_eq!(last(&[("Content-Length", b"5")]), Err((BadField::Name, b"x".to_vec())));
}

#[test]
fn a_body_is_held_to_its_head() {
    let mut out = Vec::new();
    let mut known = BodyEncoder::new(Length::Known(5));
    assert_eq!(known.data(&mut out, b"hel"), Ok(()));
    assert_eq!(known.data(&mut out, b"lo!"), Err(BadBody::TooLong));
    assert_eq!(known.clone().finish(&mut out, &[]), Err(BadBody::TooShort { missing: 2 }));
    assert_eq!(known.data(&mut out, b"lo"), Ok(()));
    assert_eq!(known.clone().finish(&mut out, &[("A", b"b")]), Err(BadBody::Trailer));
    assert_eq!(known.finish(&mut out, &[]), Ok(()));
    assert_eq!(out, b"hello");

    let mut none = BodyEncoder::new(Length::None);
    assert_eq!((none.data(&mut out, b""), none.data(&mut out, b"x")), (Ok(()), Err(BadBody::TooLong)));

    out.clear();
    let mut chunked = BodyEncoder::new(Length::Chunked);
    assert_eq!((chunked.data(&mut out, b"hi"), chunked.data(&mut out, b"")), (Ok(()), Ok(())));
    assert_eq!(chunked.clone().finish(&mut out, &[("A\n", b"")]), Err(BadBody::Trailer));
    assert_eq!(chunked.finish(&mut out, &[("A", b"b")]), Ok(()));
    let body = decode_chunked(&out);
    assert_eq!((body.data, body.end), (b"hi".to_vec(), Ok(Some(out.len()))));

    out.clear();
    let mut stream = BodyEncoder::new(Length::UntilClose);
    assert_eq!((stream.data(&mut out, b"hi"), stream.finish(&mut out, &[])), (Ok(()), Ok(())));
    assert_eq!(out, b"hi");
}
