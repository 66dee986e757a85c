//! Compressed answers and compressed bodies of requests, over the simulated network. The codecs' own tests stand beside them.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;
#[path = "encoding/requests.rs"]
mod requests;

use std::io::{Read, Write};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use common::{Ground, MS, SECOND, everyhow, ok};
use ropewalk_reactor::{Failure, Peer};
use ropewalk_web::{
    Body, ByteStream, Coding, Compression, ErrorPages, Handler, IntoResponse, Layered, Request, Response,
    Router, Site,
};

/// 5 KB that become few.
fn text() -> String {
    (0..500).map(|number| format!("line {:>3}, ", number % 100)).collect()
}

fn site() -> Layered {
    let json = |fields: &[(&'static str, &'static str)]| {
        let response = Response::new(text()).content_type("application/json");
        fields.iter().fold(response, |response, (name, value)| response.header(*name, *value))
    };
    Router::new()
        .get("/", |_| text())
        .get("/short", |_| "x".repeat(1023))
        .get("/long", |_| "x".repeat(1024))
        .get("/image", |_| Response::new(text()).content_type("image/png"))
        .get("/untyped", |_| Response::new(text()))
        .get("/shared", |_| Response::text(Body::Shared(Rc::from(text().as_bytes()))))
        .get("/tagged", move |_| json(&[("ETag", "\"1\""), ("Accept-Ranges", "bytes"), ("Vary", "Origin")]))
        .get("/weak", move |_| json(&[("ETag", "W/\"1\""), ("Vary", "accept-encoding")]))
        .get("/unchanged", |_| Response::empty(304).header("ETag", "\"1\""))
        .get("/coded", move |_| json(&[("Content-Encoding", "x-own")]))
        .get("/part", move |_| json(&[("Content-Range", "bytes 0-5999/9999")]).status(206))
        .get("/digest", move |_| json(&[("Content-Digest", "sha-256=:x:")]))
        .get("/keep", move |_| json(&[("Cache-Control", "public, No-Transform")]))
        .get("/events", |_| Response::new(text()).content_type("text/event-stream"))
        .get("/secret", |request: Request| {
            request.uncompressed();
            text()
        })
        .get("/broken", |_| Response::failure(Failure::new("as asked")))
        .get("/missing", |_| (404, text()))
        .get("/noise", |request: Request| {
            let noise = (0..1000).flat_map(|_| request.reactor().random().to_le_bytes()).collect::<Vec<u8>>();
            Response::text(noise)
        })
        .get("/pieces", |request: Request| {
            let responder = request.responder();
            responder.set_content_type("text/plain");
            responder.write(text());
            responder.finish();
        })
        .get("/file", |_| (406, "a handler's own"))
        .with(Compression::new())
}

struct Got {
    head: String,
    body: Vec<u8>,
}

impl Got {
    fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn plain(&self) -> String {
        String::from_utf8(unpack(self.field("Content-Encoding"), &self.body)).unwrap()
    }
}

fn unpack(coding: Option<&str>, bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    match coding {
        Some("gzip") => flate2::read::GzDecoder::new(bytes).read_to_end(&mut whole).map(drop).unwrap(),
        Some("br") => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut whole).map(drop).unwrap(),
        Some("zstd") => whole = zstd::stream::decode_all(bytes).unwrap(),
        None => whole = bytes.to_vec(),
        Some(other) => panic!("{other}"),
    }
    whole
}

fn pack(coding: &str, bytes: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "br" => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
            encoder.write_all(bytes).unwrap();
            encoder.into_inner()
        }
        "zstd" => zstd::stream::encode_all(bytes, 3).unwrap(),
        other => panic!("{other}"),
    }
}

/// What a connection has brought, with its chunks joined.
fn got(bytes: &[u8]) -> Got {
    let at = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..at].to_vec()).unwrap();
    let mut got = Got { head, body: bytes[at + 4..].to_vec() };
    if got.field("Transfer-Encoding") == Some("chunked") {
        got.body = chunks(&got.body).concat();
    }
    got
}

/// The chunks of a body that have come.
fn chunks(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    while let Some(at) = bytes.windows(2).position(|window| window == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..at]).unwrap(), 16).unwrap();
        chunks.push(bytes[at + 2..at + 2 + length].to_vec());
        bytes = &bytes[at + 4 + length..];
    }
    chunks
}

fn request(target: &str, accept: &str) -> String {
    let accept = if accept.is_empty() { String::new() } else { format!("Accept-Encoding: {accept}\r\n") };
    format!("{target} HTTP/1.1\r\nHost: h\r\n{accept}\r\n")
}

fn take(ground: &Ground, peer: &Peer) -> Vec<u8> {
    ground.advance(MS);
    peer.take()
}

fn get(path: &str, accept: &str) -> Got {
    let ground = Ground::of(site());
    let peer = ground.send(request(&format!("GET {path}"), accept));
    got(&take(&ground, &peer))
}

#[test]
fn an_answer_is_in_the_coding_that_was_asked_for() {
    for coding in ["gzip", "br", "zstd"] {
        for path in ["/", "/shared", "/missing"] {
            let answer = get(path, coding);
            assert_eq!(answer.field("Content-Encoding"), Some(coding), "{}", answer.head);
            assert_eq!(answer.field("Vary"), Some("Accept-Encoding"), "{}", answer.head);
            assert_eq!(answer.field("Content-Length"), Some(answer.body.len().to_string().as_str()));
            assert!(answer.body.len() < 1000 && answer.plain() == text(), "{coding} {path}");
        }
    }
    let plain = get("/", "");
    assert!(plain.field("Content-Encoding").is_none() && plain.field("Vary") == Some("Accept-Encoding"));
}

#[test]
fn the_same_comes_however_the_network_cuts_it() {
    let script = request("GET /", "gzip") + &request("HEAD /", "br") + &request("GET /short", "gzip");
    let said = everyhow(|| Site::new(site()).server(None), script);
    assert!(
        said.text.contains("Content-Encoding: gzip") && said.text.ends_with(&"x".repeat(1023)),
        "{said:?}"
    );
}

#[test]
fn head_has_the_fields_of_get() {
    for path in ["/", "/short", "/image", "/tagged", "/missing"] {
        let ground = Ground::of(site());
        let ask = |method: &str| {
            let peer = ground.send(request(&format!("{method} {path}"), "gzip"));
            take(&ground, &peer)
        };
        let (whole, head) = (ask("GET"), ask("HEAD"));
        let at = whole.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let undated = |bytes: &[u8]| common::undated(bytes);
        assert_eq!(undated(&head), undated(&whole[..at + 4]), "{path}");
    }
}

#[test]
fn what_would_not_gain_or_must_not_change_is_left_as_it_is() {
    for path in [
        "/image", "/untyped", "/coded", "/part", "/digest", "/keep", "/events", "/secret", "/broken",
        "/pieces",
    ] {
        let answer = get(path, "gzip, br, zstd");
        assert!(matches!(answer.field("Content-Encoding"), None | Some("x-own")), "{path}: {}", answer.head);
        assert_eq!(answer.field("Vary"), None, "{path}: {}", answer.head);
    }
    let noise = get("/noise", "gzip");
    assert_eq!((noise.field("Content-Encoding"), noise.field("Vary")), (None, Some("Accept-Encoding")));
    assert_eq!(noise.body.len(), 8000);
    assert_eq!(get("/short", "gzip").field("Content-Encoding"), None);
    assert_eq!(get("/long", "gzip").field("Content-Encoding"), Some("gzip"));
}

#[test]
fn a_tag_becomes_weak_and_ranges_are_not_offered() {
    let tagged = get("/tagged", "gzip");
    assert_eq!(tagged.field("ETag"), Some("W/\"1\""));
    assert_eq!(tagged.field("Accept-Ranges"), None);
    assert!(
        tagged.head.contains("Vary: Origin\r\n") && tagged.head.contains("Vary: Accept-Encoding"),
        "{}",
        tagged.head
    );
    assert_eq!(get("/tagged", "").field("ETag"), Some("\"1\""));
    assert_eq!(get("/tagged", "").field("Accept-Ranges"), Some("bytes"));
    let weak = get("/weak", "gzip");
    assert_eq!((weak.field("ETag"), weak.field("Vary")), (Some("W/\"1\""), Some("accept-encoding")));
    let unchanged = get("/unchanged", "gzip");
    assert_eq!(
        (unchanged.field("ETag"), unchanged.field("Vary")),
        (Some("W/\"1\""), Some("Accept-Encoding"))
    );
    assert_eq!(unchanged.field("Content-Encoding"), None);
}

#[test]
fn a_client_that_takes_nothing_plain_gets_nothing_plain() {
    for path in ["/short", "/image", "/noise"] {
        let answer = get(path, "gzip, identity;q=0");
        assert_eq!(answer.field("Content-Encoding"), Some("gzip"), "{path}: {}", answer.head);
    }
    let nothing = get("/", "deflate, *;q=0");
    assert!(nothing.head.starts_with("HTTP/1.1 406 Not Acceptable\r\n"), "{}", nothing.head);
    assert_eq!(nothing.field("Vary"), Some("Accept-Encoding"));
    // An error that cannot be packed is better than none.
    assert!(get("/nowhere", "*;q=0").head.starts_with("HTTP/1.1 404 "));
}

#[test]
fn a_page_of_an_error_may_be_compressed() {
    let pages = ErrorPages::new().otherwise(|_| Response::html(text()));
    let site = Site::new(Router::new()).error_pages(pages).with(Compression::new());
    let ground = Ground::calm(site);
    let peer = ground.send(request("GET /", "gzip"));
    let answer = got(&take(&ground, &peer));
    assert!(answer.head.starts_with("HTTP/1.1 404 ") && answer.plain() == text(), "{}", answer.head);
}

#[test]
fn only_the_codings_that_are_wanted_and_from_the_size_that_is_wanted() {
    let compression = Compression::new().codings([Coding::Gzip]).bytes_min(10);
    let ground = Ground::of(Router::new().get("/", |_| "x".repeat(100)).with(compression));
    let ask = |accept: &str| {
        let peer = ground.send(request("GET /", accept));
        got(&take(&ground, &peer)).field("Content-Encoding").map(str::to_owned)
    };
    assert_eq!(ask("br, zstd, gzip;q=0.1").as_deref(), Some("gzip"));
    assert_eq!(ask("br, zstd"), None);
}

/// Gives a line, waits, gives a line; with a length or not.
struct Slow {
    left: u32,
    sleep: Option<Pin<Box<ropewalk_reactor::Sleep>>>,
    reactor: ropewalk_reactor::Reactor,
}

impl ByteStream for Slow {
    fn poll_piece(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Vec<u8>, Failure>>> {
        if let Some(sleep) = &mut self.sleep {
            std::task::ready!(sleep.as_mut().poll(context));
            self.sleep = None;
        }
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        self.sleep = Some(Box::pin(self.reactor.sleep(SECOND)));
        Poll::Ready(Some(Ok(format!("line {}\n", self.left).into_bytes())))
    }
}

fn slow(length: Option<u64>) -> Layered {
    let slow = move |request: Request| {
        let reactor = request.reactor().clone();
        Response::text(Body::Stream(Box::pin(Slow { left: 3, sleep: None, reactor }), length)).into_response()
    };
    Router::new().get("/", slow).with(Compression::new().bytes_min(1))
}

#[test]
fn a_stream_that_pauses_has_been_heard_so_far() {
    for coding in ["gzip", "br", "zstd"] {
        let ground = Ground::of(slow(None));
        let peer = ground.send(request("GET /", coding));
        let mut whole = take(&ground, &peer);
        for line in 1..=3 {
            let answer = got(&whole);
            assert_eq!(answer.field("Content-Encoding"), Some(coding));
            let so_far: Vec<u8> =
                (0..line).flat_map(|line| format!("line {}\n", 2 - line).into_bytes()).collect();
            assert_eq!(partly(coding, &answer.body, so_far.len()), so_far, "{coding} after {line}");
            ground.advance(SECOND);
            whole.extend(take(&ground, &peer));
        }
        assert_eq!(got(&whole).plain(), "line 2\nline 1\nline 0\n", "{coding}");
        assert!(whole.ends_with(b"0\r\n\r\n"), "{coding}");
        drop(peer);
        ground.is_clean();
    }
}

/// The first bytes of what is not complete.
fn partly(coding: &str, bytes: &[u8], count: usize) -> Vec<u8> {
    let mut first = vec![0; count];
    match coding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_exact(&mut first).unwrap(),
        "br" => brotli::Decompressor::new(bytes, 4096).read_exact(&mut first).unwrap(),
        _ => zstd::stream::read::Decoder::new(bytes).unwrap().read_exact(&mut first).unwrap(),
    }
    first
}

#[test]
fn a_stream_of_known_length_is_not_cut_when_the_program_stops_and_an_endless_one_ends() {
    for (length, lines) in [(Some(21), 3), (None, 1)] {
        let ground = Ground::of(slow(length));
        let peer = ground.send(request("GET /", "gzip"));
        let mut whole = take(&ground, &peer);
        ground.reactor().announce_stop();
        for _ in 0..5 {
            ground.advance(SECOND);
            whole.extend(take(&ground, &peer));
        }
        let expected: Vec<u8> =
            (0..lines).flat_map(|line| format!("line {}\n", 2 - line).into_bytes()).collect();
        assert_eq!(partly("gzip", &got(&whole).body, expected.len()), expected, "{length:?}");
        assert!(whole.ends_with(b"0\r\n\r\n"), "{length:?}");
        let complete = flate2::read::GzDecoder::new(&*got(&whole).body).read_to_end(&mut Vec::new()).is_ok();
        assert_eq!(complete, length.is_some(), "what was cut says so");
    }
}

#[test]
fn a_large_body_comes_through_to_every_kind_of_client() {
    let large: Rc<[u8]> = text().repeat(400).into_bytes().into();
    let body = Rc::clone(&large);
    let router = Router::new().get("/", move |_| Response::text(Body::Shared(Rc::clone(&body))));
    let ground = Ground::of(router.with(Compression::new()));
    for (version, coding) in [("1.1", "gzip"), ("1.0", "br"), ("1.1", "zstd")] {
        let peer =
            ground.send(format!("GET / HTTP/{version}\r\nHost: h\r\nAccept-Encoding: {coding}\r\n\r\n"));
        let mut whole = Vec::new();
        for _ in 0..100 {
            whole.extend(take(&ground, &peer));
        }
        let answer = got(&whole);
        assert_eq!(answer.field("Content-Encoding"), Some(coding), "{}", answer.head);
        assert!(answer.plain().as_bytes() == &*large, "{version} {coding}");
        assert_eq!(peer.is_ended(), version == "1.0");
        drop(peer);
    }
    let plain = ok("x").replace("Content-Length: 1\r\n\r\nx", "");
    assert!(ground.ask(request("GET /", "")).starts_with(&plain));
    ground.is_clean();
}

#[test]
fn a_client_that_does_not_read_holds_the_packer_up() {
    let pulled = Rc::new(std::cell::Cell::new(0));
    let counted = Rc::clone(&pulled);
    let router = Router::new()
        .get("/", move |_| Response::text(Body::Stream(Box::pin(Endless(Rc::clone(&counted))), None)));
    let ground = Ground::of(router.with(Compression::new()));
    let peer = ground.send(request("GET /", "gzip"));
    ground.advance(SECOND);
    let first = pulled.get();
    ground.advance(10 * SECOND);
    assert_eq!(pulled.get(), first, "nothing is packed for nobody");
    drop(peer.take());
    ground.advance(SECOND);
    assert!(pulled.get() > first);
    drop(peer);
    ground.is_clean();
}

/// Noise without an end, which does not become smaller.
struct Endless(Rc<std::cell::Cell<u64>>);

impl ByteStream for Endless {
    fn poll_piece(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Vec<u8>, Failure>>> {
        let mut state = self.0.get();
        self.0.set(state + 1);
        state = state.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let noise = (0..512).flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        Poll::Ready(Some(Ok(noise.collect())))
    }
}
