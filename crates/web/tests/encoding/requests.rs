//! Bodies of requests that come packed, honest ones and bombs.

use std::cell::Cell;
use std::rc::Rc;

use ropewalk_web::{BodyError, Decompression, Handler, Layered, Request, Router, Site};

use crate::common::{Ground, everyhow, ok};
use crate::{pack, text};

const CODINGS: [&str; 3] = ["gzip", "br", "zstd"];

fn site(decompression: Decompression) -> Layered {
    Router::new()
        .post("/", |request: Request| async move {
            let bytes = request.bytes().await?;
            Ok::<_, BodyError>(format!(
                "{} bytes, {}",
                bytes.len(),
                String::from_utf8_lossy(&bytes[bytes.len().min(20)..])
            ))
        })
        .post("/echo", |request: Request| async move { request.bytes().await })
        .post("/unread", |_| "not even looked at")
        .with(decompression)
}

fn post(path: &str, coding: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The answer to a body that may be larger than the network's window.
fn ask(ground: &Ground, script: &[u8]) -> String {
    let peer = ground.connect();
    let (mut sent, mut answer) = (0, String::new());
    while sent < script.len() && !peer.is_ended() {
        sent += peer.write(&script[sent..]);
        answer += &ground.take(&peer);
    }
    for quiet in 1.. {
        let more = ground.take(&peer);
        answer += &more;
        if more.is_empty() && quiet > 20 {
            break;
        }
    }
    answer
}

#[test]
fn a_packed_body_reaches_the_handler_as_it_was() {
    let text = text();
    for coding in CODINGS {
        let ground = Ground::of(site(Decompression::new()));
        let answer = ask(&ground, &post("/echo", coding, &pack(coding, text.as_bytes())));
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&text), "{coding}: {answer}");
        ground.is_clean();
    }
    let ground = Ground::of(site(Decompression::new()));
    assert!(ask(&ground, &post("/echo", " X-GZIP ", &pack("gzip", text.as_bytes()))).ends_with(&text));
    assert!(ask(&ground, &post("/echo", "identity", b"plain")).ends_with("\r\n\r\nplain"));
    assert!(ask(&ground, &post("/echo", "gzip", b"")).ends_with("Content-Length: 0\r\n\r\n"), "no body");
    assert!(ask(&ground, &post("/unread", "gzip", b"whatever")).ends_with("not even looked at"));
}

#[test]
fn the_same_comes_however_the_network_cuts_it() {
    for coding in CODINGS {
        let packed = pack(coding, &text().as_bytes()[..600]);
        let mut script = post("/echo", coding, &packed);
        script.extend_from_slice(b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n");
        script.extend_from_slice(
            format!("Content-Encoding: {coding}\r\n\r\n{:x}\r\n", packed.len()).as_bytes(),
        );
        script.extend_from_slice(&packed);
        script.extend_from_slice(b"\r\n0\r\n\r\n");
        let said = everyhow(|| Site::new(site(Decompression::new())).server(None), script);
        assert_eq!(said.text.matches("HTTP/1.1 200 OK").count(), 2, "{coding}: {said:?}");
        assert_eq!(said.text.matches(&text()[..600]).count(), 2, "{coding}: {said:?}");
    }
}

#[test]
fn a_large_body_is_unpacked_while_it_comes() {
    let large = text().repeat(200);
    for coding in CODINGS {
        let ground = Ground::of(site(Decompression::new().ratio_max(u32::MAX)));
        let answer = ask(&ground, &post("/echo", coding, &pack(coding, large.as_bytes())));
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.len() > large.len(), "{coding}");
        assert!(answer.ends_with(&large), "{coding}");
    }
}

#[test]
fn a_coding_that_nobody_knows_is_refused_with_those_that_are() {
    let ground = Ground::of(site(Decompression::new()));
    for coding in ["deflate", "gzip, gzip", "gzip;q=1", "", "\u{e9}", "gzip\r\nContent-Encoding: gzip"] {
        let answer = ask(&ground, &post("/echo", coding, b"whatever"));
        assert!(answer.starts_with("HTTP/1.1 415 Unsupported Media Type\r\n"), "{coding}: {answer}");
        assert!(answer.contains("\r\nAccept-Encoding: gzip, br, zstd\r\n"), "{coding}: {answer}");
    }
}

#[test]
fn what_is_broken_is_a_bad_request() {
    for coding in CODINGS {
        let packed = pack(coding, text().as_bytes());
        let ground = Ground::of(site(Decompression::new()));
        for body in [
            &packed[..packed.len() - 1],
            &packed[..3],
            b"not packed".as_slice(),
            &[&packed[..], b"more"].concat(),
        ] {
            let answer = ask(&ground, &post("/", coding, body));
            assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{coding}: {answer}");
        }
    }
}

#[test]
fn a_bomb_ends_at_the_bound_and_never_is_in_memory() {
    let zeros = vec![0; 32 * 1024 * 1024];
    for coding in CODINGS {
        let bomb = pack(coding, &zeros);
        let (largest, seen) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0_u64)));
        let (held, counted) = (Rc::clone(&largest), Rc::clone(&seen));
        let router = Router::new().post("/", move |mut request: Request| {
            let (held, counted) = (Rc::clone(&held), Rc::clone(&counted));
            async move {
                while let Some(piece) = request.piece().await? {
                    held.set(held.get().max(piece.capacity()));
                    counted.set(counted.get() + piece.len() as u64);
                }
                Ok::<_, BodyError>("all of it")
            }
        });
        let ground = Ground::of(router.with(Decompression::new().ratio_max(u32::MAX)));
        let answer = ask(&ground, &post("/", coding, &bomb));
        assert!(answer.starts_with("HTTP/1.1 413 Content Too Large\r\n"), "{coding}: {answer}");
        assert!(seen.get() <= 8 * 1024 * 1024, "{coding}: {}", seen.get());
        assert!(largest.get() <= 32 * 1024, "{coding}: {}", largest.get());
        ground.is_clean();
    }
}

#[test]
fn a_body_that_swells_too_much_is_too_large_before_the_bound() {
    for coding in CODINGS {
        let ground = Ground::of(site(Decompression::new().bytes_max(u64::MAX)));
        let answer = ask(&ground, &post("/", coding, &pack(coding, &vec![0; 8 * 1024 * 1024])));
        assert!(answer.starts_with("HTTP/1.1 413 "), "{coding}: {answer}");
        // A page of zeros is none.
        let answer = ask(&ground, &post("/", coding, &pack(coding, &vec![0; 1024 * 1024])));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{coding}: {answer}");
    }
}

#[test]
fn a_window_of_gigabytes_is_refused() {
    // A frame header that asks for 2^31 bytes of window: the magic number, a descriptor without a size, the window.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, (31 - 10) << 3, 0x01, 0x00, 0x00];
    let ground = Ground::of(site(Decompression::new()));
    let answer = ask(&ground, &post("/", "zstd", &frame));
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn a_site_without_it_hands_the_bytes_on() {
    let packed = pack("gzip", b"as it was sent");
    let router = Router::new().post("/", |request: Request| async move {
        request.bytes().await.map(|bytes| bytes.len().to_string())
    });
    let ground = Ground::of(router);
    assert_eq!(ask(&ground, &post("/", "gzip", &packed)), ok(&packed.len().to_string()));
}
