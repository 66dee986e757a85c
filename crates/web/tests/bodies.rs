//! Request bodies: by length and in chunks, read at once, late, by halves or not at all; Expect; limits; what is refused.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use common::{Ground, Probe, Said, answer, everyhow, last, ok, refused};
use ropewalk_reactor::{Deferred, Firing, Reactor};
use ropewalk_web::{BodyError, Limits, Request, Response, Router, Site};

fn pause(reactor: &Reactor, ms: u64) -> Deferred<()> {
    let (firing, deferred) = Deferred::new(reactor);
    reactor.call_later(std::time::Duration::from_millis(ms), move || {
        // It fails when the client is gone.
        let _ = firing.callback(());
    });
    deferred
}

fn router() -> Router {
    Router::new()
        .post("/echo", |request: Request| async move { request.bytes().await })
        .post("/late", |request: Request| async move {
            pause(request.reactor(), 5).await.unwrap();
            request.bytes().await.map(|bytes| format!("{} bytes", bytes.len()))
        })
        .post("/pieces", |mut request: Request| async move {
            let mut sum = 0;
            while let Some(piece) = request.piece().await? {
                sum += piece.len();
                pause(request.reactor(), 1).await.unwrap();
            }
            Ok::<_, BodyError>(format!("{sum} bytes"))
        })
        .post("/trailers", |mut request: Request| async move {
            while request.piece().await?.is_some() {}
            let trailers = request.trailers().into_iter();
            let trailers =
                trailers.map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(&value)));
            Ok::<_, BodyError>(trailers.collect::<Vec<_>>().join(" "))
        })
        .post("/ignore", |_| "ignored")
        .post("/forget", |request: Request| async move {
            pause(request.reactor(), 5).await.unwrap();
            "forgotten"
        })
        .post("/large", |request: Request| async move {
            request.set_body_bytes_max(1000);
            request.bytes().await.map(|bytes| format!("{} bytes", bytes.len()))
        })
        .get("/", |_| "hello")
}

fn site() -> Site {
    let mut limits = Limits::default();
    limits.body_sizes.body_bytes_max = 100;
    limits.drain_bytes_max = 50;
    limits.body_buffer_bytes = 16;
    Site::new(router()).server(None).limits(limits)
}

fn post(path: &str, fields: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}")
}

fn with_length(path: &str, body: &str) -> String {
    post(path, &format!("Content-Length: {}\r\n", body.len()), body)
}

fn chunked(path: &str, body: &str) -> String {
    post(path, "Transfer-Encoding: chunked\r\n", body)
}

const NEXT: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

fn then(mut script: String) -> Said {
    script.push_str(NEXT);
    everyhow(site, script)
}

fn bytes(body: &str) -> String {
    answer("200 OK", "Content-Type: application/octet-stream\r\n", body)
}

#[test]
fn bodies_come_whole_and_the_next_request_follows() {
    assert_eq!(then(with_length("/echo", "hello, body")).text, bytes("hello, body") + &ok("hello"));
    assert_eq!(then(with_length("/echo", "")).text, bytes("") + &ok("hello"));
    let script = chunked("/echo", "5\r\nhello\r\n6;x=1\r\n, body\r\n0\r\n\r\n");
    assert_eq!(then(script).text, bytes("hello, body") + &ok("hello"));
    let script = chunked("/trailers", "1\r\nx\r\n0\r\nSum: 7\r\nState: done\r\n\r\n");
    assert_eq!(then(script).text, ok("Sum=7 State=done") + &ok("hello"));
}

#[test]
fn a_slow_handler_holds_the_client_back_and_loses_nothing() {
    let body = "0123456789".repeat(10);
    for path in ["/late", "/pieces"] {
        assert_eq!(then(with_length(path, &body)).text, ok("100 bytes") + &ok("hello"), "{path}");
        let chunks = format!("32\r\n{0}\r\n32\r\n{0}\r\n0\r\n\r\n", &body[..50]);
        assert_eq!(then(chunked(path, &chunks)).text, ok("100 bytes") + &ok("hello"), "{path}");
    }
}

#[test]
fn a_body_that_ends_where_the_buffer_is_full_ends() {
    // 1. Sixteen bytes fill the buffer, and are the whole body. 2. Reading was paused. 3. The handler took them, and reading
    // went on, but nothing came any more that would have told of the end. 4. The handler waited for ever.
    assert_eq!(then(with_length("/late", &"x".repeat(16))).text, ok("16 bytes") + &ok("hello"));
    let ground = Ground::calm(Site::new(router()).server(None));
    let peer = ground.send(with_length("/late", &"x".repeat(64 * 1024)));
    ground.advance(5 * common::MS);
    assert_eq!(ground.take(&peer), ok("65536 bytes"), "the usual buffer");
}

#[test]
fn a_body_that_nobody_reads_is_thrown_away_or_costs_the_connection() {
    for path in ["/ignore", "/forget"] {
        let text = if path == "/ignore" { "ignored" } else { "forgotten" };
        let said = then(with_length(path, &"x".repeat(50)));
        assert_eq!(said.text, ok(text) + &ok("hello"), "{path}");
        assert!(!said.closed);
    }
    let said = then(with_length("/ignore", &"x".repeat(90)));
    assert_eq!((said.text, said.closed), (ok("ignored"), true));
}

#[test]
fn a_body_may_not_be_larger_than_the_limit() {
    let too_large = refused("413 Content Too Large", "the body is too large");
    let said = then(with_length("/echo", &"x".repeat(101)));
    assert_eq!((said.text, said.closed), (too_large.clone(), true));
    let said = then(chunked("/echo", &format!("64\r\n{}\r\n1\r\nx\r\n0\r\n\r\n", "x".repeat(100))));
    assert_eq!((said.text, said.closed), (too_large, true));
    // The handler's own limit counts, also for a length that was announced.
    let said = then(with_length("/large", &"x".repeat(101)));
    assert_eq!(said.text, ok("101 bytes") + &ok("hello"));
}

#[test]
fn a_malformed_body_is_refused_and_the_rest_is_never_a_request() {
    for (body, why) in [
        ("5\r\nhelloX\r\n", "the data of a chunk does not end with CRLF"),
        ("0x5\r\nhello\r\n", "a chunk size is not one to sixteen hexadecimal digits"),
        ("5\nhello\r\n", "a line ends with LF alone"),
        ("1\r\nx\r\n0\r\nHost: other\r\n\r\n", "a trailer field would change framing or routing"),
    ] {
        let said = then(chunked("/echo", body));
        assert_eq!((said.text, said.closed), (refused("400 Bad Request", why), true));
    }
}

#[test]
fn a_malformed_body_behind_a_begun_answer_breaks_it_off() {
    // Over HTTP/1.0 an answer that merely ended there would look complete.
    let ground = Ground::of(Router::new().post("/", |mut request: Request| {
        let responder = request.responder();
        request.reactor().clone().spawn(async move {
            while let Ok(Some(piece)) = request.piece().await {
                responder.write(piece);
            }
            responder.finish();
        });
    }));
    let peer = ground.send(chunked("/", "5\r\nhello\r\n"));
    assert!(ground.take(&peer).ends_with("\r\n\r\n5\r\nhello\r\n"));
    peer.write(b"x");
    let text = ground.take(&peer);
    assert!(peer.is_reset() && !text.contains("0\r\n\r\n"), "{text}");
    drop(peer);
    ground.is_clean();
}

#[test]
fn a_client_that_waits_for_100_gets_it_when_the_handler_reads() {
    let ground = Ground::calm(site());
    let script = post("/late", "Content-Length: 5\r\nExpect: 100-continue\r\n", "");
    let peer = ground.send(script);
    assert_eq!(ground.take(&peer), "", "the handler does not read yet");
    ground.advance(5 * common::MS);
    assert_eq!(ground.take(&peer), "HTTP/1.1 100 Continue\r\n\r\n");
    peer.write(b"hello");
    peer.write(NEXT.as_bytes());
    assert_eq!(ground.take(&peer), ok("5 bytes") + &ok("hello"));

    // One that does not wait is answered all the same, however its bytes come.
    let said = then(post("/echo", "Content-Length: 5\r\nExpect: 100-continue\r\n", "hello"));
    assert_eq!(said.text, format!("HTTP/1.1 100 Continue\r\n\r\n{}{}", bytes("hello"), ok("hello")));

    // A handler that does not want the body says so, and the connection ends: nobody knows whether the body will come.
    let said = then(post("/ignore", "Content-Length: 5\r\nExpect: 100-continue\r\n", ""));
    assert_eq!((said.text, said.closed), (last("ignored"), true));

    // HTTP/1.0 knows no 100.
    let said = everyhow(site, "POST /echo HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi");
    assert!(said.text.starts_with("HTTP/1.1 200 OK\r\n") && said.text.ends_with("\r\n\r\nhi"), "{said:?}");
}

#[test]
fn a_large_body_is_held_back_in_bounded_memory() {
    let wait: Rc<RefCell<Option<Firing<()>>>> = Rc::default();
    let release = Rc::clone(&wait);
    let ground = Ground::of(Router::new().post("/", move |mut request: Request| {
        let (firing, deferred) = Deferred::new(request.reactor());
        *release.borrow_mut() = Some(firing);
        async move {
            deferred.await.unwrap();
            let mut sum = 0;
            while let Some(piece) = request.piece().await? {
                sum += piece.len();
            }
            Ok::<_, BodyError>(format!("{sum} bytes"))
        }
    }));
    let peer = ground.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n");
    let body = vec![b'x'; 2_000_000];
    let mut sent = 0;
    for _ in 0..100 {
        sent += peer.write(&body[sent..]);
        ground.advance(common::MS);
    }
    assert!(sent < 300_000, "the buffer, one read and the window; but {sent} bytes were taken");
    wait.take().unwrap().callback(()).unwrap();
    while sent < body.len() {
        sent += peer.write(&body[sent..]);
        ground.advance(common::MS);
    }
    assert_eq!(ground.take(&peer), ok("2000000 bytes"));
    drop(peer);
    ground.is_clean();
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing() {
    let probe = Probe::default();
    let errors: Rc<RefCell<Vec<BodyError>>> = Rc::default();
    let (held, told) = (probe.clone(), Rc::clone(&errors));
    let ground = Ground::of(Router::new().any("/", move |request: Request| {
        let (held, told) = (held.hold(), Rc::clone(&told));
        async move {
            let outcome = request.bytes().await;
            told.borrow_mut().extend(outcome.err());
            drop(held);
            Response::empty(204)
        }
    }));
    for method in ["POST", "GET"] {
        for how in ["end", "reset"] {
            let peer =
                ground.send(format!("{method} / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf"));
            assert_eq!(probe.held(), 1);
            match how {
                "end" => drop(peer),
                _ => peer.reset(),
            }
            ground.advance(10 * common::MS);
            assert_eq!(probe.held(), 0, "{method} {how}");
        }
    }
    assert_eq!(
        *errors.borrow(),
        [BodyError::Lost, BodyError::Lost, BodyError::Lost],
        "GET and reset: dropped"
    );
    ground.is_clean();
}

#[test]
fn a_half_closed_client_with_half_a_body_is_answered() {
    let ground = Ground::calm(site());
    let peer = ground.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf");
    peer.shutdown_write();
    let text = ground.take(&peer);
    assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{text}");
    assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
    assert!(peer.is_ended());
    ground.is_clean();
}
