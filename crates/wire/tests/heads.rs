//! Heads that are accepted, and what they tell; each whole, split at every byte and byte by byte.
//!
//! Not what is refused: that is in `refusals.rs` and `hardening.rs`.

mod common;

use common::{Read, Told, accepted, read, read_pieces, read_with};
use ropewalk_wire::http1::{Fed, Framing, Head, HeadLimits, Refusal, Version};

fn fields(list: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    list.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

#[test]
fn a_plain_request_tells_everything() {
    let bytes =
        b"GET /a/b?c=d?e HTTP/1.1\r\nHost: example.org:80\r\nX-Empty:\r\nx-padded: \t a  b \t\r\n\r\n";
    let told = Told {
        line: "GET /a/b?c=d?e Http11".into(),
        path: "/a/b".into(),
        query: Some("c=d?e".into()),
        host: Some("example.org:80".into()),
        keep_alive: true,
        fields: fields(&[("Host", "example.org:80"), ("X-Empty", ""), ("x-padded", "a  b")]),
        raw: bytes.to_vec(),
        ..Told::default()
    };
    assert_eq!(read(bytes), Read::Complete { consumed: bytes.len(), told });
}

#[test]
fn every_form_of_target_gives_its_path_query_and_host() {
    for (line, path, query, host) in [
        ("GET / HTTP/1.1", "/", None, "h"),
        ("GET /? HTTP/1.1", "/", Some(""), "h"),
        ("GET //x//y?/z HTTP/1.1", "//x//y", Some("/z"), "h"),
        ("GET /%2e%2E/\"<>\\^`{|} HTTP/1.1", "/%2e%2E/\"<>\\^`{|}", None, "h"),
        ("GET http://other HTTP/1.1", "/", None, "other"),
        ("GET http://other/ HTTP/1.1", "/", None, "other"),
        ("GET HTTPS://other:8/p/q?r HTTP/1.1", "/p/q", Some("r"), "other:8"),
        ("GET http://[::1]:8?r/s HTTP/1.1", "/", Some("r/s"), "[::1]:8"),
        ("OPTIONS * HTTP/1.1", "*", None, "h"),
        ("OPTIONS http://other HTTP/1.1", "*", None, "other"),
        ("OPTIONS http://other? HTTP/1.1", "/", Some(""), "other"),
        ("CONNECT other:443 HTTP/1.1", "", None, "other:443"),
        ("CONNECT [::1]:443 HTTP/1.1", "", None, "[::1]:443"),
        ("PROPFIND /dav HTTP/1.1", "/dav", None, "h"),
        ("!#$%&'*+-.^_`|~09azAZ /t HTTP/1.0", "/t", None, "h"),
    ] {
        let told = accepted(format!("{line}\r\nHost: h\r\n\r\n"));
        let found = (told.path.as_str(), told.query.as_deref(), told.host.as_deref());
        assert_eq!(found, (path, query, Some(host)), "{line}");
    }
}

#[test]
fn host_may_be_empty_and_in_http10_absent() {
    assert_eq!(accepted("GET / HTTP/1.1\r\nHost:\r\n\r\n").host.as_deref(), Some(""));
    assert_eq!(accepted("GET / HTTP/1.0\r\n\r\n").host, None);
    assert_eq!(accepted("GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n").host.as_deref(), Some("a"));
    assert_eq!(accepted("GET http://a/ HTTP/1.0\r\n\r\n").host.as_deref(), Some("a"));
}

#[test]
fn keep_alive_follows_version_and_connection() {
    for (version, connection, keep_alive) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: keep-alive\r\n", true),
        ("1.1", "connection: Upgrade , CLOSE\r\n", false),
        ("1.1", "Connection: closed, not-close\r\n", true),
        ("1.1", "Connection: x\r\nConnection: ,,close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", true),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: close, keep-alive\r\n", false),
        ("1.0", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("1.0", "Connection: upgrade\r\n", false),
    ] {
        let told = accepted(format!("GET / HTTP/{version}\r\nHost: h\r\n{connection}\r\n"));
        assert_eq!(told.keep_alive, keep_alive, "{version} {connection}");
    }
}

#[test]
fn framing_and_expectation_are_read_from_the_fields() {
    let post =
        |version: &str, lines: &str| accepted(format!("POST / HTTP/{version}\r\nHost: h\r\n{lines}\r\n"));
    for (lines, framing) in [
        ("", Framing::None),
        ("Content-Length: 0\r\n", Framing::Length(0)),
        ("content-length:\t0005 \r\n", Framing::Length(5)),
        ("Content-Length: 18446744073709551615\r\n", Framing::Length(u64::MAX)),
        ("Transfer-Encoding: chunked\r\n", Framing::Chunked),
        ("TRANSFER-ENCODING: ChunKed\r\n", Framing::Chunked),
    ] {
        assert_eq!(post("1.1", lines).framing, framing, "{lines}");
    }
    for (version, lines, expects) in [
        ("1.1", "Content-Length: 5\r\nExpect: 100-continue\r\n", true),
        ("1.1", "Expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n", true),
        ("1.1", "Expect: 100-continue, 100-continue\r\nContent-Length: 1\r\n", true),
        ("1.1", "Expect: 100-continue\r\n", false),
        ("1.1", "Expect: 100-continue\r\nContent-Length: 0\r\n", false),
        ("1.1", "Expect:\r\nContent-Length: 1\r\n", false),
        ("1.0", "Expect: 100-continue\r\nContent-Length: 5\r\n", false),
    ] {
        assert_eq!(post(version, lines).expects_continue, expects, "{version} {lines}");
    }
}

#[test]
fn an_upgrade_counts_in_http11_with_its_connection_option_only() {
    for (version, lines, upgrade) in [
        ("1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", Some("websocket")),
        ("1.1", "Upgrade: h2c, websocket\r\nConnection: keep-alive, upgrade\r\n", Some("h2c, websocket")),
        ("1.1", "Upgrade:\r\nUpgrade: websocket\r\nConnection: upgrade\r\n", Some("websocket")),
        ("1.1", "Upgrade: websocket\r\n", None),
        ("1.1", "Connection: Upgrade\r\n", None),
        ("1.0", "Connection: Upgrade\r\nUpgrade: websocket\r\n", None),
    ] {
        let told = accepted(format!("GET / HTTP/{version}\r\nHost: h\r\n{lines}\r\n"));
        assert_eq!(told.upgrade.as_deref(), upgrade, "{version} {lines}");
    }
    let not_text = accepted(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: \xff\r\n\r\n");
    assert_eq!(not_text.upgrade, None);
}

#[test]
fn fields_are_found_in_any_case_and_all_of_them() {
    let mut head = Head::new();
    let bytes = b"GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-b: \xfc\r\nx-a: 2\r\n\r\n";
    read_pieces(&mut head, [&bytes[..]], &HeadLimits::default());
    assert_eq!(head.field("x-A"), Some(&b"1"[..]));
    assert_eq!(head.fields_named("X-a").collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!(head.field("X-B"), Some(&b"\xfc"[..]));
    assert_eq!(head.field("x"), None);
    assert_eq!(head.version(), Version::Http11);
}

#[test]
fn empty_lines_before_a_request_are_passed_over_and_counted() {
    let request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    for lines in 0..=4 {
        let bytes = "\r\n".repeat(lines) + request;
        match read(&bytes) {
            Read::Complete { consumed, told } => {
                assert_eq!((consumed, told.raw.as_slice()), (bytes.len(), request.as_bytes()));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(read("\r\n".repeat(5)), Read::Refused(Refusal::TooManyEmptyLines));
    let mut head = Head::new();
    assert_eq!(head.feed(b"\r\n\r", &HeadLimits::default()), Ok(Fed::NeedMore));
    assert!(head.is_empty(), "an empty line is not the beginning of a request");
    assert_eq!(head.feed(b"\nG", &HeadLimits::default()), Ok(Fed::NeedMore));
    assert!(!head.is_empty());
}

#[test]
fn pipelined_requests_are_consumed_exactly() {
    let heads = [
        "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n",
        "\r\nGET /2 HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
    ];
    let bytes = heads.concat();
    for piece_bytes in 1..=bytes.len() {
        let mut head = Head::new();
        let mut lengths = Vec::new();
        let mut length = 0;
        for mut piece in bytes.as_bytes().chunks(piece_bytes) {
            while let Ok(Fed::Complete { consumed }) = head.feed(piece, &HeadLimits::default()) {
                lengths.push(length + consumed);
                length = 0;
                piece = &piece[consumed..];
                assert_eq!(head.feed(piece, &HeadLimits::default()), Ok(Fed::Complete { consumed: 0 }));
                head.clear();
            }
            length += piece.len();
        }
        assert_eq!(lengths, heads.map(str::len), "pieces of {piece_bytes}");
        assert_eq!(length, 0);
    }
}

#[test]
fn what_follows_a_head_is_not_looked_at() {
    let head = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    for rest in ["\0\0\n", "x".repeat(5000).as_str()] {
        match read(format!("{head}{rest}")) {
            Read::Complete { consumed, told } => {
                assert_eq!((consumed, told.raw.len()), (head.len(), head.len()))
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_long_head_is_consumed_exactly_wherever_it_is_cut() {
    let head = format!("GET / HTTP/1.1\r\nHost: h\r\nCookie: {}\r\n\r\n", "c=d; ".repeat(300));
    match read(format!("{head}GET /next")) {
        Read::Complete { consumed, told } => assert_eq!((consumed, told.raw.len()), (head.len(), head.len())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn limits_are_exact() {
    let line = "GET /123 HTTP/1.1\r\n";
    let bytes = format!("{line}Host: h\r\nA: b\r\n\r\n");
    let exact = HeadLimits { request_line_bytes_max: line.len(), head_bytes_max: bytes.len(), fields_max: 2 };
    assert!(matches!(read_with(bytes.as_bytes(), &exact), Read::Complete { .. }));
    for (limits, refusal) in [
        (HeadLimits { request_line_bytes_max: line.len() - 1, ..exact }, Refusal::RequestLineTooLong),
        (HeadLimits { head_bytes_max: bytes.len() - 1, ..exact }, Refusal::HeadTooLarge),
        (HeadLimits { head_bytes_max: 3, ..exact }, Refusal::RequestLineTooLong),
        (HeadLimits { fields_max: 1, ..exact }, Refusal::TooManyFields),
        (HeadLimits { request_line_bytes_max: 0, ..exact }, Refusal::RequestLineTooLong),
    ] {
        assert_eq!(read_with(bytes.as_bytes(), &limits), Read::Refused(refusal), "{limits:?}");
    }
}

#[test]
fn a_reused_head_does_not_remember() {
    let mut head = Head::new();
    let limits = HeadLimits::default();
    let first =
        b"POST http://a/?q HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 9\r\nHost: b\r\n\r\n";
    assert!(matches!(read_pieces(&mut head, [&first[..]], &limits), Read::Complete { .. }));
    head.clear();
    assert_eq!(common::told(&head), Told { line: "  Http11".into(), ..Told::default() });
    let second = b"GET /s HTTP/1.1\r\nHost: h\r\n\r\n";
    let fresh = read_pieces(&mut Head::new(), [&second[..]], &limits);
    assert_eq!(read_pieces(&mut head, [&second[..]], &limits), fresh);
}

#[test]
fn a_reused_head_asks_for_no_more_memory() {
    let mut head = Head::new();
    assert_eq!(head.capacity_bytes(), 0, "a new head owns no buffer");
    let bytes = format!("GET / HTTP/1.0\r\n{}\r\n", "Name: a value of usual length\r\n".repeat(30));
    let mut used = 0;
    for round in 0..10 {
        read_pieces(&mut head, [bytes.as_bytes()], &HeadLimits::default());
        head.clear();
        assert!(round == 0 || head.capacity_bytes() == used);
        used = head.capacity_bytes();
    }
}

#[test]
fn a_refused_head_shows_what_was_understood() {
    let mut head = Head::new();
    let bytes = b"GET /where?x HTTP/1.1\r\nHost: h\r\nbad name: x\r\n\r\n";
    assert!(head.feed(bytes, &HeadLimits::default()).is_err());
    assert_eq!((head.method(), head.path(), head.host()), ("GET", "/where", Some("h")));
}

#[test]
fn a_head_can_be_sent_to_another_thread() {
    fn is_send<T: Send + Sync>() {}
    is_send::<Head>();
}
