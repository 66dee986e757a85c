//! Bodies by length and in chunks; each whole, split at every byte and byte by byte.
//!
//! Not what answers carry: that is in `answers.rs`.

mod common;

use common::{Body, decode_chunked, decode_with};
use ropewalk_wire::http1::{BodyDecoder, BodyEvent, BodyLimits, Framing, Refusal};

fn trailers(list: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    list.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

#[test]
fn no_body_ends_at_once_and_consumes_nothing() {
    for framing in [Framing::None, Framing::Length(0)] {
        let body = decode_with(framing, b"GET", &BodyLimits::default());
        assert_eq!(body, Body { data: Vec::new(), end: Ok(Some(0)), trailers: Vec::new() });
    }
    let mut none = BodyDecoder::default();
    assert!(none.is_ended());
    assert_eq!(none.decode(b"x", &BodyLimits::default()), Ok((0, BodyEvent::End)));
}

#[test]
fn a_length_is_kept_to_the_byte() {
    let body = decode_with(Framing::Length(5), b"helloGET /", &BodyLimits::default());
    assert_eq!(body, Body { data: b"hello".to_vec(), end: Ok(Some(5)), trailers: Vec::new() });
    let body = decode_with(Framing::Length(5), b"hell", &BodyLimits::default());
    assert_eq!(body, Body { data: b"hell".to_vec(), end: Ok(None), trailers: Vec::new() });
}

#[test]
fn data_are_slices_of_the_input() {
    let mut decoder = BodyDecoder::new(Framing::Length(5));
    let input = b"helloGET /";
    assert_eq!(decoder.decode(input, &BodyLimits::default()), Ok((5, BodyEvent::Data(&input[..5]))));
    assert!(decoder.is_ended());
    assert_eq!(decoder.decode(&input[5..], &BodyLimits::default()), Ok((0, BodyEvent::End)));
}

#[test]
fn chunks_are_joined() {
    for (bytes, data) in [
        ("0\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("2\r\nhe\r\n3\r\nllo\r\n000\r\n\r\n", "hello"),
        ("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"),
        ("000000000000000A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("5;name\r\nhello\r\n0;last=\"a b;\t\u{e9}\"\r\n\r\n", "hello"),
        ("5;\r\nhello\r\n0\r\n\r\n", "hello"),
        ("4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n"),
    ] {
        let body = decode_chunked(bytes);
        let whole = Body { data: data.into(), end: Ok(Some(bytes.len())), trailers: Vec::new() };
        assert_eq!(body, whole, "{bytes:?}");
        let body = decode_chunked(format!("{bytes}GET / HTTP/1.1\r\n"));
        assert_eq!(body, whole, "what follows belongs to the next request: {bytes:?}");
        let cut = decode_chunked(&bytes[..bytes.len() - 1]);
        assert_eq!(cut.end, Ok(None), "{bytes:?}");
    }
}

#[test]
fn trailers_are_given_after_the_end() {
    let bytes = "2\r\nhi\r\n0\r\nDigest: x\r\ndigest:  y \r\nX-Empty:\r\n\r\n";
    for rest in ["", "GET / HTTP/1.1\r\n\r\n", "x".repeat(2000).as_str()] {
        let body = decode_chunked(format!("{bytes}{rest}"));
        assert_eq!(body.end, Ok(Some(bytes.len())));
        assert_eq!(body.trailers, trailers(&[("Digest", "x"), ("digest", "y"), ("X-Empty", "")]));
    }
    let many = format!("0\r\nA: {}\r\nB: c\r\n\r\n", "x".repeat(3000));
    let body = decode_chunked(&many);
    assert_eq!((body.end, body.trailers.len()), (Ok(Some(many.len())), 2));
}

const REFUSED: &[(&str, Refusal)] = &[
    ("\r\n", Refusal::BadChunkSize),
    (";x\r\n", Refusal::BadChunkSize),
    (" 5\r\n", Refusal::BadChunkSize),
    ("5 \r\n", Refusal::BadChunkSize),
    ("5\t\r\n", Refusal::BadChunkSize),
    ("5 ;x\r\n", Refusal::BadChunkSize),
    ("+5\r\n", Refusal::BadChunkSize),
    ("-5\r\n", Refusal::BadChunkSize),
    ("0x5\r\n", Refusal::BadChunkSize),
    ("1_0\r\n", Refusal::BadChunkSize),
    ("5,\r\n", Refusal::BadChunkSize),
    ("g\r\n", Refusal::BadChunkSize),
    ("\0", Refusal::BadChunkSize),
    ("00000000000000005\r\n", Refusal::BadChunkSize),
    ("10000000000000000\r\n", Refusal::BadChunkSize),
    ("ffffffffffffffff\r\n", Refusal::BodyTooLarge),
    ("\n", Refusal::BareLf),
    ("5\n", Refusal::BareLf),
    ("5;x\n", Refusal::BareLf),
    ("5\r5", Refusal::BareCr),
    ("5\r\r\n", Refusal::BareCr),
    ("5;x\rx\r\n", Refusal::BareCr),
    ("5;\0\r\n", Refusal::BadChunkExtension),
    ("5;a\x7f\r\n", Refusal::BadChunkExtension),
    ("2\r\nhi0\r\n\r\n", Refusal::BadChunkEnd),
    ("2\r\nhi\n0\r\n\r\n", Refusal::BadChunkEnd),
    ("2\r\nhi\r0\r\n\r\n", Refusal::BadChunkEnd),
    ("2\r\nhi!\r\n0\r\n\r\n", Refusal::BadChunkEnd),
    ("0\r\n\n", Refusal::BareLf),
    ("0\r\n\rx", Refusal::BareCr),
    ("0\r\nA: b\n", Refusal::BareLf),
    ("0\r\n A: b\r\n", Refusal::FoldedLine),
    ("0\r\nA: b\r\n c\r\n", Refusal::FoldedLine),
    ("0\r\nA : b\r\n", Refusal::SpaceBeforeColon),
    ("0\r\n: b\r\n", Refusal::EmptyFieldName),
    ("0\r\nA(: b\r\n", Refusal::BadFieldName),
    ("0\r\nA: \0\r\n", Refusal::BadFieldValue),
    ("0\r\nContent-Length: 5\r\n", Refusal::ForbiddenTrailer),
    ("0\r\ncontent-length: 5\r\n", Refusal::ForbiddenTrailer),
    ("0\r\nA: b\r\nTransfer-Encoding: chunked\r\n", Refusal::ForbiddenTrailer),
    ("0\r\nHost: x\r\n", Refusal::ForbiddenTrailer),
];

#[test]
fn bad_chunks_are_refused() {
    for &(bytes, refusal) in REFUSED {
        assert_eq!(decode_chunked(bytes).end, Err(refusal), "{bytes:?}");
        let late = decode_chunked(format!("3\r\nabc\r\n{bytes}"));
        assert_eq!((late.data.get(..3), late.end), (Some(&b"abc"[..]), Err(refusal)), "{bytes:?}");
    }
}

#[test]
fn limits_are_exact() {
    let limits = BodyLimits {
        body_bytes_max: 6,
        chunk_line_bytes_max: 4,
        trailer_bytes_max: 8,
        trailer_fields_max: 1,
    };
    let (end, refused) = (|bytes: &str| Ok(Some(bytes.len())), Err::<Option<usize>, _>);
    for (bytes, outcome) in [
        ("6\r\nabcdef\r\n0\r\n\r\n", end("6\r\nabcdef\r\n0\r\n\r\n")),
        ("3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", end("3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")),
        ("7\r\n", refused(Refusal::BodyTooLarge)),
        ("3\r\nabc\r\n4\r\n", refused(Refusal::BodyTooLarge)),
        ("0;ab\r\n\r\n", end("0;ab\r\n\r\n")),
        ("0;abc", refused(Refusal::ChunkLineTooLong)),
        ("00000", refused(Refusal::ChunkLineTooLong)),
        ("0\r\nA: b\r\n\r\n", end("0\r\nA: b\r\n\r\n")),
        ("0\r\nA: bc\r\n\r\n", refused(Refusal::TrailersTooLarge)),
        ("0\r\nA:\r\nB", refused(Refusal::TooManyTrailers)),
    ] {
        assert_eq!(decode_with(Framing::Chunked, bytes.as_bytes(), &limits).end, outcome, "{bytes:?}");
    }
}

#[test]
fn a_length_that_is_too_large_is_refused_before_and_while_reading() {
    let limits = BodyLimits { body_bytes_max: 4, ..BodyLimits::default() };
    assert_eq!(Framing::Length(4).check(&limits), Ok(()));
    assert_eq!(Framing::Length(5).check(&limits), Err(Refusal::BodyTooLarge));
    assert_eq!(Framing::Chunked.check(&limits), Ok(()));
    assert_eq!(Framing::None.check(&limits), Ok(()));
    let mut unread = BodyDecoder::new(Framing::Length(5));
    assert_eq!(unread.decode(b"", &limits), Err(Refusal::BodyTooLarge), "before any byte");
    assert_eq!(decode_with(Framing::Length(5), b"a", &limits).end, Err(Refusal::BodyTooLarge));
    assert_eq!(decode_with(Framing::Length(4), b"abcd", &limits).end, Ok(Some(4)));
}
