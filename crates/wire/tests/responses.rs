//! Answers as a client reads them: what is accepted and what it means, what is refused, and that neither cuts nor `httparse`
//! have another opinion.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use proptest::prelude::*;
use proptest::sample::{Index, select};
use ropewalk_wire::http1::*;

/// What came of bytes that were fed to a decoder.
#[derive(Clone, Debug, Default, PartialEq)]
struct Answer {
    interim: Vec<u16>,
    line: Option<String>,
    fields: Vec<(String, Vec<u8>)>,
    framing: Framing,
    keep_alive: bool,
    data: Vec<u8>,
    trailers: Vec<(String, Vec<u8>)>,
    /// How many bytes belong to the answer if it ended of itself.
    end: Option<usize>,
    refused: Option<Refusal>,
    /// What the end of the input makes of one that did not.
    finished: Option<bool>,
}

fn read_pieces<'a>(
    method: &str,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    limits: &ResponseLimits,
) -> Answer {
    let mut decoder = ResponseDecoder::new(method);
    let (mut answer, mut fed) = (Answer::default(), 0);
    for mut rest in pieces {
        loop {
            let (consumed, event) = match decoder.decode(rest, limits) {
                Ok(found) => found,
                Err(refusal) => {
                    assert_eq!(decoder.decode(b"HTTP", limits), Err(refusal), "a refusal is final");
                    assert_eq!(decoder.finish(), Err(Truncated));
                    answer.refused = Some(refusal);
                    return answer;
                }
            };
            (fed, rest) = (fed + consumed, &rest[consumed..]);
            match event {
                ResponseEvent::Interim(status) => answer.interim.push(status),
                ResponseEvent::Head => {
                    let head = decoder.take_head();
                    assert!(head.is_complete() && decoder.is_begun());
                    answer.line = Some(format!("{:?} {} {}", head.version(), head.status(), head.reason()));
                    let fields = head.fields();
                    answer.fields = fields.map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
                    (answer.framing, answer.keep_alive) = (decoder.framing(), decoder.keep_alive());
                }
                ResponseEvent::Data(data) => {
                    assert!(!data.is_empty());
                    answer.data.extend_from_slice(data);
                }
                ResponseEvent::NeedMore => {
                    assert!(rest.is_empty(), "all of the input is consumed");
                    break;
                }
                ResponseEvent::End => {
                    assert!(decoder.is_ended() && decoder.finish().is_ok());
                    answer.trailers = decoder.take_trailers();
                    answer.end = Some(fed);
                    return answer;
                }
            }
        }
    }
    answer.finished = Some(decoder.finish().is_ok());
    answer
}

/// Reads one answer whole, split at every byte and byte by byte, and asserts that it makes no difference.
fn read_with(method: &str, bytes: &[u8], limits: &ResponseLimits) -> Answer {
    let whole = read_pieces(method, [bytes], limits);
    for at in 0..=bytes.len() {
        let split = read_pieces(method, [&bytes[..at], &bytes[at..]], limits);
        assert_eq!(split, whole, "split at {at}: {}", bytes.escape_ascii());
    }
    // An empty piece at the end, as there is one in the splits: an answer without a body ends only when it is asked for.
    let bytewise = read_pieces(method, bytes.chunks(1).chain([&b""[..]]), limits);
    assert_eq!(bytewise, whole, "byte by byte: {}", bytes.escape_ascii());
    whole
}

fn read(method: &str, bytes: impl AsRef<[u8]>) -> Answer {
    read_with(method, bytes.as_ref(), &ResponseLimits::default())
}

#[test]
fn the_body_is_where_rfc_9112_6_3_says() {
    let rest = "HTTP/1.1";
    for (method, head, framing, body) in [
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Framing::Length(5), "hello"),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", Framing::Length(0), ""),
        (
            "GET",
            "HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\n",
            Framing::Chunked,
            "5\r\nhello\r\n0\r\n\r\n",
        ),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Framing::None, ""),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", Framing::None, ""),
        ("GET", "HTTP/1.1 204 No Content\r\n", Framing::None, ""),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n", Framing::None, ""),
        ("CONNECT", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Framing::None, ""),
        ("CONNECT", "HTTP/1.1 407 No\r\nContent-Length: 5\r\n", Framing::Length(5), "hello"),
        ("GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n", Framing::Length(5), "hello"),
    ] {
        let text = format!("{head}\r\n{body}");
        let answer = read(method, format!("{text}{rest}"));
        assert_eq!((answer.framing, answer.end), (framing, Some(text.len())), "{method} {head}");
        let data = if framing == Framing::Chunked { "hello" } else { body };
        assert_eq!(String::from_utf8(answer.data).unwrap(), data, "{method} {head}");
    }
}

#[test]
fn without_a_length_the_end_of_the_connection_is_the_end() {
    let answer = read("GET", "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nall of this");
    assert_eq!((answer.framing, answer.end, answer.finished), (Framing::UntilClose, None, Some(true)));
    assert_eq!(answer.data, b"all of this");
    assert!(!answer.keep_alive, "it says so, and cannot");
    for cut in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ] {
        assert_eq!(read("GET", cut).finished, Some(false), "{cut}");
    }
}

#[test]
fn interim_heads_are_passed_over_and_bounded() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let answer = read("GET", format!("{interim}HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx"));
    assert_eq!(answer.interim, [100, 103]);
    assert_eq!(answer.line.as_deref(), Some("Http11 404 Not Found"));
    assert_eq!(answer.fields.len(), 1, "an interim head's fields are its own");
    let endless = read_pieces("GET", [interim.repeat(20).as_bytes()], &ResponseLimits::default());
    assert_eq!((endless.interim.len(), endless.refused), (32, Some(Refusal::TooManyInterim)));
    let upgrade = read("GET", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
    assert_eq!(upgrade.refused, Some(Refusal::UnaskedUpgrade));
}

#[test]
fn what_two_readers_could_read_in_two_ways_is_refused() {
    for (fields, refusal) in [
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Refusal::RepeatedContentLength),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", Refusal::RepeatedContentLength),
        ("Content-Length: 5, 5\r\n", Refusal::BadContentLength),
        ("Content-Length: +5\r\n", Refusal::BadContentLength),
        ("Content-Length:\r\n", Refusal::BadContentLength),
        ("Content-Length: 18446744073709551616\r\n", Refusal::BadContentLength),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Refusal::LengthAndCoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Refusal::LengthAndCoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Refusal::BadTransferCoding),
        ("Transfer-Encoding: gzip, chunked\r\n", Refusal::UnknownTransferCoding),
        ("Transfer-Encoding: identity\r\n", Refusal::UnknownTransferCoding),
        ("X: a\r\n folded\r\n", Refusal::FoldedLine),
        ("X : a\r\n", Refusal::SpaceBeforeColon),
        ("X: a\n", Refusal::BareLf),
        ("X: a\rb\r\n", Refusal::BareCr),
        ("X: a\0\r\n", Refusal::BadFieldValue),
    ] {
        let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        assert_eq!(read("GET", &text).refused, Some(refusal), "{fields}");
        assert_eq!(read("HEAD", &text).refused, Some(refusal), "{fields}");
    }
    let old = read("GET", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(old.refused, Some(Refusal::TransferCodingInHttp10));
}

#[test]
fn what_is_no_status_line_is_refused_at_its_first_wrong_byte() {
    for (text, refusal) in [
        ("\r\nHTTP/1.1 200 OK\r\n", Refusal::BadStatusLine),
        ("ICY 200 OK\r\n", Refusal::BadStatusLine),
        ("HTTP/2", Refusal::BadStatusLine),
        ("HTTP/1.2", Refusal::BadStatusLine),
        ("HTTP/1.1  ", Refusal::BadStatusLine),
        ("HTTP/1.1 0", Refusal::BadStatusLine),
        ("HTTP/1.1 2x", Refusal::BadStatusLine),
        ("HTTP/1.1 2000", Refusal::BadStatusLine),
        ("HTTP/1.1 200\n", Refusal::BareLf),
        ("HTTP/1.1 200 OK\n", Refusal::BareLf),
        ("HTTP/1.1 200 OK\rx", Refusal::BareCr),
        ("HTTP/1.1 200 O\0", Refusal::BadStatusLine),
        ("<html>", Refusal::BadStatusLine),
        ("SSH-2.0-OpenSSH_9\r\n", Refusal::BadStatusLine),
    ] {
        assert_eq!(read("GET", text).refused, Some(refusal), "{text:?}");
    }
}

#[test]
fn keep_alive_follows_version_and_connection() {
    for (version, connection, keep_alive) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "connection: x, CLOSE\r\n", false),
        ("1.1", "Connection: closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let answer = read("GET", format!("HTTP/{version} 200 OK\r\n{connection}Content-Length: 0\r\n\r\n"));
        assert_eq!(answer.keep_alive, keep_alive, "{version} {connection}");
    }
}

#[test]
fn hints_are_read_and_nonsense_is_none() {
    for (value, hints) in [
        ("timeout=5, max=99", (Some(5), Some(99))),
        ("max=0", (None, Some(0))),
        ("Timeout = 7", (None, None)),
        ("TIMEOUT= 7", (Some(7), None)),
        ("timeout=-1,max", (None, None)),
        ("timeout=99999999999", (None, None)),
    ] {
        let mut head = ResponseHead::new();
        let text = format!("HTTP/1.1 200 OK\r\nKeep-Alive: {value}\r\n\r\n");
        head.feed(text.as_bytes(), &HeadLimits::default()).unwrap();
        assert_eq!((head.idle_seconds(), head.requests_left()), hints, "{value}");
    }
}

#[test]
fn an_endless_head_ends_at_the_limit() {
    let limits = ResponseLimits::default();
    let bound = limits.head.head_bytes_max + 1024;
    for (line, refusal) in [
        (&b"HTTP/1.1 200 OOOO"[..], Refusal::StatusLineTooLong),
        (b"HTTP/1.1 200 OK\r\nX: y", Refusal::HeadTooLarge),
    ] {
        let mut decoder = ResponseDecoder::new("GET");
        decoder.decode(line, &limits).unwrap();
        let fed = (0..bound).find(|_| decoder.decode(b"y", &limits).is_err());
        assert_eq!(decoder.decode(b"y", &limits), Err(refusal));
        assert!(fed.is_some());
    }
    let many = format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(101));
    assert_eq!(read("GET", many).refused, Some(Refusal::TooManyFields));
}

/// What answers and their abuses are made of.
const PIECES: &[&[u8]] = &[
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 ",
    b"HTTP/1.0 200\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 204 \r\n",
    b"404",
    b" ",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"Content-Length: 5\r\n",
    b"Content-Length: 5",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"Connection: close\r\n",
    b"X: y\r\n",
    b"X:",
    b"hello",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"\0",
    b"\xff",
    b":",
    b";",
    b"5",
];

fn pieces(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(select(PIECES), 0..most).prop_map(|pieces| pieces.concat())
}

fn any_answer() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => pieces(12),
        3 => pieces(8).prop_map(|rest| [b"HTTP/1.1 200 OK\r\n", &rest[..]].concat()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        3 => (pieces(6), any::<(Index, u8)>()).prop_map(|(rest, (at, byte))| {
            let mut bytes = [b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 3\r\n\r\nabc", &rest[..]].concat();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        }),
    ]
}

fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len(), bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Ours must refuse all that `httparse` refuses, and find the same in what it does not.
fn agrees(bytes: &[u8]) -> Result<(), TestCaseError> {
    let mut head = ResponseHead::new();
    let ours = head.feed(bytes, &HeadLimits::default());
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut response = httparse::Response::new(&mut fields);
    match (ours, response.parse(bytes)) {
        (Ok(Fed::Complete { consumed }), Ok(httparse::Status::Complete(length))) => {
            prop_assert_eq!(consumed, length);
            prop_assert_eq!(Some(head.status()), response.code);
            let version = if head.version() == Version::Http10 { 0 } else { 1 };
            prop_assert_eq!(Some(version), response.version);
            let theirs = response.headers.iter().map(|field| (field.name, field.value));
            prop_assert!(head.fields().eq(theirs));
            if head.reason().is_ascii() {
                prop_assert_eq!(Some(head.reason()), response.reason);
            }
        }
        (Ok(Fed::NeedMore), Ok(httparse::Status::Partial)) | (Err(_), _) => {}
        (ours, theirs) => prop_assert!(false, "{:?} here, {:?} there", ours, theirs),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cuts_make_no_difference(
        bytes in any_answer(),
        cuts in any::<[Index; 4]>(),
        method in select(&["GET", "HEAD", "CONNECT"][..]),
    ) {
        let whole = read(method, &bytes);
        let cut = read_pieces(method, cut(&bytes, &cuts), &ResponseLimits::default());
        prop_assert_eq!(cut, whole);
    }

    #[test]
    fn cuts_make_no_difference_under_tight_limits(
        bytes in any_answer(),
        (request_line_bytes_max, head_bytes_max, fields_max) in (10..30usize, 10..80usize, 0..4usize),
        (body_bytes_max, chunk_line_bytes_max) in (0..12u64, 0..8usize),
    ) {
        let head = HeadLimits { request_line_bytes_max, head_bytes_max, fields_max };
        let body = BodyLimits { body_bytes_max, chunk_line_bytes_max, ..BodyLimits::default() };
        let answer = read_with("GET", &bytes, &ResponseLimits { head, body });
        prop_assert!(answer.data.len() as u64 <= body_bytes_max);
    }

    #[test]
    fn nothing_is_accepted_that_httparse_refuses(bytes in any_answer()) {
        agrees(&bytes)?;
    }

    #[test]
    fn what_is_encoded_is_one_request_line(method in ".{0,6}", path in ".{0,12}") {
        let mut out = Vec::new();
        let written = encode_request_line(&mut out, &method, RequestTarget::Origin(&path)).is_ok();
        prop_assert_eq!(written, !out.is_empty());
        if written {
            out.extend_from_slice(b"Host: h\r\n\r\n");
            let mut head = Head::new();
            let fed = head.feed(&out, &HeadLimits::default());
            prop_assert_eq!(fed, Ok(Fed::Complete { consumed: out.len() }));
            prop_assert_eq!((head.method(), head.target()), (method.as_str(), path.as_str()));
        }
    }
}

#[test]
fn every_byte_at_every_place_has_the_same_outcome_in_httparse_or_is_refused() {
    let good = b"HTTP/1.1 200 OK\r\nHost: h\r\nA: b\r\n\r\n";
    for at in 0..good.len() {
        for byte in 0..=255 {
            let mut bytes = good.to_vec();
            bytes[at] = byte;
            agrees(&bytes).unwrap_or_else(|error| panic!("{}: {error}", bytes.escape_ascii()));
        }
    }
}
