//! Requests and their answers: every form of a body, both versions, what ends a connection, and what goes wrong in a handler.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use common::{Ground, answer, errors_logged, everyhow, last, ok, sorry, sorry_and_closed};
use ropewalk_reactor::{Deferred, Failure};
use ropewalk_web::{Body, ByteStream, Request, Response, Router, Site};

/// Two pieces, and then the end or an error.
struct Pieces {
    left: Vec<&'static str>,
    fails: bool,
}

impl ByteStream for Pieces {
    fn poll_piece(
        mut self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Vec<u8>, Failure>>> {
        match self.left.pop() {
            Some("panic") => panic!("as the test wants"),
            Some(piece) => Poll::Ready(Some(Ok(piece.into()))),
            None if self.fails => Poll::Ready(Some(Err(Failure::new("as the test wants".to_owned())))),
            None => Poll::Ready(None),
        }
    }
}

fn pieces(mut left: Vec<&'static str>, fails: bool, length: Option<u64>) -> Response {
    left.reverse();
    Response::new(Body::Stream(Box::pin(Pieces { left, fails }), length))
}

fn soon(request: &Request, ms: u64) -> Deferred<()> {
    let (firing, deferred) = Deferred::new(request.reactor());
    request.reactor().call_later(Duration::from_millis(ms), move || {
        // It fails when the client is gone.
        let _ = firing.callback(());
    });
    deferred
}

fn router() -> Router {
    Router::new()
        .get("/", |_| "hello")
        .get("/shared", |_| Response::new(Rc::<[u8]>::from(vec![b's'; 300])))
        .get("/empty", |_| Response::empty(204))
        .get("/unchanged", |_| Response::empty(304).header("ETag", "\"1\""))
        .get("/stream", |_| pieces(vec!["one", "", "two"], false, None))
        .get("/known", |_| pieces(vec!["one", "two"], false, Some(6)))
        .get("/long", |_| pieces(vec!["one", "two"], false, Some(5)))
        .get("/short", |_| pieces(vec!["one"], false, Some(5)))
        .get("/broken", |_| pieces(vec!["one"], true, None))
        .get("/bang", |_| pieces(vec!["one", "panic"], false, None))
        .get("/later", |request: Request| async move {
            soon(&request, 3).await.unwrap();
            "later"
        })
        .get("/panic", |_| -> &str { panic!("as the test wants") })
        .get("/panic-later", |request: Request| async move {
            soon(&request, 3).await.unwrap();
            if request.is_http11() {
                panic!("as the test wants");
            }
            "never"
        })
        .get("/failure", |_| Err::<&str, Failure>(Failure::new("secret".to_owned())))
        .get("/taken", |_| ())
        .get("/close", |request: Request| {
            request.close_after();
            "bye"
        })
        .get("/say-close", |_| Response::text("bye").header("Connection", "Close"))
        .get("/say-keep", |_| Response::text("stay").header("Connection", "keep-alive"))
        .get("/injection", |_| Response::text("x").header("X-A", "1\r\nSet-Cookie: a=b"))
        .get("/framing", |_| Response::text("x").header("Content-Length", "100"))
        .get("/continue", |_| Response::empty(100))
        .get("/wrong", |_| Response::empty(1000))
        .get("/user/{id}", |request: Request| format!("user {}", request.param("id").unwrap()))
}

fn site() -> Site {
    Site::new(router()).server(None)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

/// The same on a connection that is used once more after it.
fn get_twice(path: &str) -> String {
    get(path) + &get("/")
}

#[test]
fn values_bytes_and_statuses() {
    let said = everyhow(site, get_twice("/user/a%20b"));
    assert_eq!(said.text, ok("user a b") + &ok("hello"));
    assert!(!said.closed);
    let said = everyhow(site, get_twice("/shared"));
    assert_eq!(said.text, answer("200 OK", "", &"s".repeat(300)) + &ok("hello"));
    let said = everyhow(site, get_twice("/empty"));
    assert_eq!(said.text, "HTTP/1.1 204 No Content\r\n\r\n".to_owned() + &ok("hello"));
    let said = everyhow(site, get_twice("/unchanged"));
    assert_eq!(said.text, "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n".to_owned() + &ok("hello"));
    let said = everyhow(site, get_twice("/later"));
    assert_eq!(said.text, ok("later") + &ok("hello"));
}

#[test]
fn every_answer_is_dated_by_the_virtual_clock() {
    let ground = Ground::of(router());
    let peer = ground.send(get("/"));
    assert!(peer.text().contains("\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"), "{}", peer.text());
    ground.advance(common::SECOND);
    peer.take();
    peer.write(get("/").as_bytes());
    ground.advance(common::MS);
    assert!(peer.text().contains("\r\nDate: Thu, 01 Jan 2026 00:00:01 GMT\r\n"), "{}", peer.text());
}

/// The head that was sent last is remembered: it is sent again to nobody but whom it fits.
#[test]
fn no_answer_has_the_head_of_another_one() {
    const TYPES: [Option<&str>; 3] = [None, Some("text/plain"), Some("text/html")];
    let router = Router::new().get("/{kind}/{length}", |request: Request| {
        let number = |name| request.param(name).unwrap().parse::<usize>().unwrap();
        let (kind, length) = (number("kind"), number("length"));
        let status = if kind / 6 == 0 { 200 } else { 404 };
        let mut response = Response::new(vec![b'x'; length]).status(status);
        if let Some(name) = TYPES[kind % 3] {
            response = response.content_type(name);
        }
        if kind / 3 % 2 == 0 { response } else { response.header("X-Kind", "odd") }
    });
    let ground = Ground::of(router);
    let random = |below: u64| (ground.simulation.network().random() % below) as usize;
    let mut peer = ground.connect();
    for _ in 0..2000 {
        let (kind, length) = (random(12), [5, 5, 5, 10, 123][random(5)]);
        let (method, version, closes) = (["GET", "HEAD"][random(2)], random(2), random(10) == 0);
        let option = match (version, closes) {
            (_, true) => "Connection: close\r\n",
            (0, false) => "Connection: keep-alive\r\n",
            _ => "",
        };
        peer.write(
            format!("{method} /{kind}/{length} HTTP/1.{version}\r\nHost: h\r\n{option}\r\n").as_bytes(),
        );
        let status = if kind / 6 == 0 { "200 OK" } else { "404 Not Found" };
        let typed = TYPES[kind % 3].map_or(String::new(), |name| format!("Content-Type: {name}\r\n"));
        let odd = if kind / 3 % 2 == 0 { "" } else { "X-Kind: odd\r\n" };
        let body = if method == "GET" { "x".repeat(length) } else { String::new() };
        let expected =
            format!("HTTP/1.1 {status}\r\n{typed}{odd}{option}Content-Length: {length}\r\n\r\n{body}");
        assert_eq!(ground.take(&peer), expected);
        if random(50) == 0 {
            ground.advance(common::SECOND);
        }
        if closes {
            peer = ground.connect();
        }
    }
}

#[test]
fn streams_are_chunked_or_as_long_as_they_said() {
    let said = everyhow(site, get_twice("/stream"));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n";
    assert_eq!(said.text, chunked.to_owned() + &ok("hello"));
    let said = everyhow(site, get_twice("/known"));
    assert_eq!(said.text, answer("200 OK", "", "onetwo") + &ok("hello"));
}

#[test]
fn head_has_the_head_of_get_and_no_body() {
    for path in ["/", "/known", "/stream", "/shared", "/empty", "/unchanged", "/nowhere"] {
        let of_get = everyhow(site, get(path)).text;
        let head = of_get.split("\r\n\r\n").next().unwrap();
        let of_head = everyhow(site, get_twice(path).replacen("GET", "HEAD", 1));
        assert_eq!(of_head.text, format!("{head}\r\n\r\n{}", ok("hello")), "{path}");
    }
}

#[test]
fn http_1_0_closes_unless_it_asks_to_stay() {
    let said = everyhow(site, "GET / HTTP/1.0\r\n\r\n");
    assert_eq!(said.text, last("hello"));
    assert!(said.closed);
    let stay = "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";
    let said = everyhow(site, format!("{stay}GET / HTTP/1.0\r\n\r\n"));
    let kept =
        answer("200 OK", "Content-Type: text/plain; charset=utf-8\r\nConnection: keep-alive\r\n", "hello");
    assert_eq!(said.text, kept + &last("hello"));
    // A stream of unknown length ends with the connection, whatever was asked.
    let said = everyhow(site, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(said.text, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nonetwo");
    assert!(said.closed);
}

#[test]
fn either_side_may_end_the_connection() {
    let said = everyhow(site, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!((said.text, said.closed), (last("hello"), true));
    // What is pipelined behind the last answer is thrown away.
    for path in ["/close", "/say-close"] {
        let said = everyhow(site, get_twice(path));
        assert_eq!((said.text, said.closed), (last("bye"), true), "{path}");
    }
    let said = everyhow(site, get_twice("/say-keep"));
    assert_eq!((said.text, said.closed), (ok("stay") + &ok("hello"), false));
}

#[test]
fn empty_lines_before_a_request_are_passed_over() {
    let said = everyhow(site, format!("\r\n\r\n{}\r\n{}", get("/"), get("/")));
    assert_eq!(said.text, ok("hello") + &ok("hello"));
}

#[test]
fn what_a_handler_does_wrong_is_a_500_and_the_connection_stays() {
    let said = everyhow(site, get_twice("/failure"));
    let page = sorry();
    assert_eq!(said.text, page.clone() + &ok("hello"));
    let ground = Ground::calm(site());
    std::panic::set_hook(Box::new(|_| {}));
    for path in ["/panic", "/panic-later", "/taken"] {
        let peer = ground.send(get(path));
        ground.advance(10 * common::MS);
        peer.write(get("/").as_bytes());
        assert_eq!(ground.take(&peer), page.clone() + &ok("hello"), "{path}");
    }
    assert_eq!(ground.statistics().panics, 2);
    assert_eq!(ground.statistics().unanswered, 1);
    ground.is_clean();
}

#[test]
fn what_cannot_be_sent_is_a_500_and_the_end() {
    for path in ["/injection", "/framing", "/continue", "/wrong"] {
        let said = everyhow(site, get_twice(path));
        assert_eq!(said.text, sorry_and_closed(), "{path}");
        assert!(said.closed);
    }
}

#[test]
fn a_stream_that_goes_wrong_is_broken_off_and_never_looks_complete() {
    let ground = Ground::calm(site());
    for path in ["/long", "/short", "/broken", "/bang"] {
        let peer = ground.send(get_twice(path));
        let text = ground.take(&peer);
        assert!(peer.is_reset(), "{path}: {text}");
        assert!(!text.contains("0\r\n\r\n") && !text.contains("hello"), "{path}: {text}");
    }
    let errors = errors_logged(|| drop(ground.ask(get("/long"))));
    assert_eq!(errors, 1, "it is logged, once");
}

#[test]
fn methods_and_paths_that_are_not_there() {
    let said = everyhow(site, "DELETE / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(said.text.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{said:?}");
    assert!(said.text.contains("\r\nAllow: GET, HEAD, OPTIONS\r\n"), "{said:?}");
    let said = everyhow(site, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(said.text, "HTTP/1.1 204 No Content\r\n\r\n");
    let said = everyhow(site, get_twice("/nowhere"));
    assert!(said.text.starts_with("HTTP/1.1 404 Not Found\r\n") && said.text.ends_with("hello"), "{said:?}");
}

#[test]
fn a_site_may_limit_requests_and_drain() {
    let make = || {
        let limits = ropewalk_web::Limits { requests_per_connection_max: Some(2), ..Default::default() };
        site().limits(limits)
    };
    let said = everyhow(make, get("/") + &get("/") + &get("/"));
    assert_eq!((said.text, said.closed), (ok("hello") + &last("hello"), true));
    let ground = Ground::calm(site());
    let peer = ground.send(get("/"));
    assert_eq!(ground.take(&peer), ok("hello"));
    ground.site.drain();
    peer.write(get_twice("/").as_bytes());
    assert_eq!(ground.take(&peer), last("hello"));
    assert!(peer.is_ended());
}
