//! Handler types: the hooks and their order, what is answered by itself, errors, streamed bodies, and clients that leave.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use common::{Ground, MS, SECOND, answer, errors_logged, quietly, sorry};
use ropewalk_reactor::{Deferred, Reactor};
use ropewalk_web::handlers::{Call, RequestHandler, per_request};
use ropewalk_web::{Cookie, Failure, Outcome, Rejection, Router};

type Log = Rc<RefCell<Vec<String>>>;

fn ask(ground: &Ground, method: &str, path: &str) -> String {
    ground.ask(format!("{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n"))
}

fn post(ground: &Ground, path: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    ground.ask(format!(
        "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

fn html(body: &str) -> String {
    answer("200 OK", "Content-Type: text/html; charset=utf-8\r\n", body)
}

async fn wait(reactor: &Reactor, time: std::time::Duration) {
    let (firing, later) = Deferred::new(reactor);
    reactor.call_later(time, move || {
        // It fails when nobody waits any more.
        let _ = firing.callback(());
    });
    later.await.unwrap();
}

/// Says what happens to it.
struct Telling(Log);

impl Telling {
    fn say(&self, what: &str) {
        self.0.borrow_mut().push(what.to_owned());
    }
}

impl RequestHandler for Telling {
    fn default_headers(&self, call: &mut Call) {
        self.say("default_headers");
        call.set_header("X-By", "telling");
    }

    async fn prepare(&mut self, call: &mut Call) -> Outcome<()> {
        self.say("prepare");
        match call.request().argument("prepare").as_deref() {
            Some("finish") => {
                call.write("prepared");
                call.finish();
            }
            Some("refuse") => return Err(Rejection::new(403, "not you").into()),
            Some("error") => call.send_error(409, "not now"),
            Some("redirect") => call.redirect("/elsewhere"),
            Some("wait") => wait(&call.request().reactor().clone(), 5 * MS).await,
            _ => {}
        }
        Ok(())
    }

    async fn get(&mut self, call: &mut Call) -> Outcome<()> {
        self.say("get");
        call.write("hello ");
        wait(&call.request().reactor().clone(), 5 * MS).await;
        call.write("world");
        Ok(())
    }

    async fn post(&mut self, call: &mut Call) -> Outcome<()> {
        self.say("post");
        wait(&call.request().reactor().clone(), 5 * MS).await;
        self.say("posted");
        let body = call.body().to_vec();
        call.write(body);
        Ok(())
    }

    async fn delete(&mut self, _: &mut Call) -> Outcome<()> {
        Err(Failure::new("as asked"))
    }

    async fn put(&mut self, call: &mut Call) -> Outcome<()> {
        call.write("begun");
        call.flush().await?;
        wait(&call.request().reactor().clone(), 5 * MS).await;
        Err(Failure::new("as asked"))
    }

    async fn patch(&mut self, _: &mut Call) -> Outcome<()> {
        panic!("as asked")
    }

    fn on_finish(&mut self) {
        self.say("on_finish");
    }

    fn on_connection_close(&mut self) {
        self.say("on_connection_close");
    }
}

fn telling() -> (Ground, Log) {
    let log = Log::default();
    let kept = Rc::clone(&log);
    (Ground::of(Router::new().any("/", per_request(move || Telling(Rc::clone(&kept))))), log)
}

fn told(log: &Log) -> String {
    log.borrow_mut().drain(..).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_hooks_come_in_their_order() {
    let (ground, log) = telling();
    let peer = ground.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(told(&log), "default_headers prepare get");
    ground.advance(10 * MS);
    let expected =
        answer("200 OK", "Content-Type: text/html; charset=utf-8\r\nX-By: telling\r\n", "hello world");
    assert_eq!(ground.take(&peer), expected);
    assert_eq!(told(&log), "on_finish");
    drop(peer);
    ground.is_clean();
}

#[test]
fn prepare_may_answer_or_wait() {
    let (ground, log) = telling();
    let page = ask(&ground, "GET", "/?prepare=finish");
    assert!(page.starts_with("HTTP/1.1 200 ") && page.ends_with("prepared"), "{page}");
    assert_eq!(told(&log), "default_headers prepare on_finish");
    let refused = ask(&ground, "GET", "/?prepare=refuse");
    assert!(
        refused.starts_with("HTTP/1.1 403 ")
            && refused.contains("X-By: telling\r\n")
            && refused.contains("not you")
    );
    assert!(ask(&ground, "GET", "/?prepare=error").contains("409 Conflict: not now"));
    let elsewhere = ask(&ground, "GET", "/?prepare=redirect");
    assert!(
        elsewhere.starts_with("HTTP/1.1 302 ") && elsewhere.contains("Location: /elsewhere\r\n"),
        "{elsewhere}"
    );
    assert!(!told(&log).contains("get"));
    let peer = ground.send("GET /?prepare=wait HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(told(&log), "default_headers prepare");
    ground.advance(20 * MS);
    assert!(ground.take(&peer).ends_with("hello world"));
    assert_eq!(told(&log), "get on_finish");
}

#[test]
fn what_is_not_implemented_is_answered_by_itself() {
    struct Small;
    impl RequestHandler for Small {
        async fn get(&mut self, call: &mut Call) -> Outcome<()> {
            call.write("hello");
            Ok(())
        }
        async fn put(&mut self, _: &mut Call) -> Outcome<()> {
            unreachable!("nobody puts")
        }
    }
    let ground = Ground::of(Router::new().any("/", per_request(|| Small)));
    assert_eq!(ask(&ground, "GET", "/"), html("hello"));
    assert!(ask(&ground, "HEAD", "/").ends_with("Content-Length: 5\r\n\r\n"));
    for method in ["POST", "BREW"] {
        let text = ask(&ground, method, "/");
        assert!(
            text.starts_with("HTTP/1.1 405 ") && text.contains("\r\nAllow: GET, HEAD, OPTIONS, PUT\r\n"),
            "{text}"
        );
    }
    assert_eq!(
        ask(&ground, "OPTIONS", "/"),
        "HTTP/1.1 204 No Content\r\nAllow: GET, HEAD, OPTIONS, PUT\r\n\r\n"
    );
}

#[test]
fn failures_are_answered_by_their_kind() {
    quietly();
    let (ground, log) = telling();
    let logged = errors_logged(|| {
        let text = ask(&ground, "DELETE", "/");
        assert!(
            text.starts_with("HTTP/1.1 500 ")
                && text.contains("incident #")
                && text.contains("X-By: telling"),
            "{text}"
        );
    });
    assert_eq!((logged, told(&log).as_str()), (1, "default_headers prepare default_headers on_finish"));
    let logged = errors_logged(|| {
        let peer = ground.send("PUT / HTTP/1.1\r\nHost: h\r\n\r\n");
        let text = ground.take(&peer);
        assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("begun"), "{text}");
        ground.advance(10 * MS);
        assert!(peer.is_ended() && !text.ends_with("0\r\n\r\n"), "it is broken off");
    });
    assert_eq!((logged, told(&log).contains("on_finish")), (1, true));
    let logged = errors_logged(|| assert_eq!(ask(&ground, "PATCH", "/"), sorry()));
    assert_eq!((logged, told(&log).as_str()), (1, "default_headers prepare"));
}

#[test]
fn a_handler_may_write_its_errors_itself() {
    struct Own;
    impl RequestHandler for Own {
        async fn get(&mut self, call: &mut Call) -> Outcome<()> {
            call.write("thrown away");
            call.set_header("X-Thrown", "away");
            if call.query_argument("mine").is_ok() {
                Err(Failure::new("as asked"))
            } else {
                Err(Rejection::new(404, "no").into())
            }
        }
        fn write_error(&mut self, call: &mut Call, status: u16, failure: &Failure) {
            call.write(format!("{status}: {failure}"));
        }
    }
    let ground = Ground::of(Router::new().any("/", per_request(|| Own)));
    let own = |status: &str, body: &str| answer(status, "Content-Type: text/html; charset=utf-8\r\n", body);
    assert_eq!(ask(&ground, "GET", "/"), own("404 Not Found", "404: no"));
    let logged = errors_logged(|| {
        assert_eq!(ask(&ground, "GET", "/?mine"), own("500 Internal Server Error", "500: as asked"));
    });
    assert_eq!(logged, 1);
    let refused = ask(&ground, "POST", "/");
    assert!(
        refused.starts_with("HTTP/1.1 405 ") && refused.contains("Allow: GET, HEAD, OPTIONS\r\n"),
        "{refused}"
    );
    assert_eq!(ground.statistics().failures, 1);
}

struct Arguments;

impl RequestHandler for Arguments {
    async fn post(&mut self, call: &mut Call) -> Outcome<()> {
        let (year, month): (u16, String) = call.path()?;
        let text = format!(
            "{year} {month} {:?} {:?} {:?} {:?} {:?} {}",
            call.argument("a"),
            call.arguments("a"),
            call.query_arguments("a"),
            call.body_argument("a"),
            call.argument_or("z", "none"),
            call.query_argument("only-form").is_err(),
        );
        call.write(text);
        Ok(())
    }

    async fn get(&mut self, call: &mut Call) -> Outcome<()> {
        let number: u8 = call.path::<(u8, String)>()?.0;
        let wanted = call.argument("wanted")?;
        call.write_json(&(number, wanted))
    }
}

#[test]
fn arguments_come_from_the_path_the_query_and_the_form() {
    let ground = Ground::of(Router::new().regex(r"/(\d+)/(\w+)", per_request(|| Arguments)));
    let text = post(&ground, "/2024/may?a=1&a=2", "application/x-www-form-urlencoded", "a=3&only-form=x");
    let expected = r#"2024 may Ok("1") ["1", "2", "3"] ["1", "2"] Ok("3") "none" true"#;
    assert_eq!(text, html(expected));
    let unread = post(&ground, "/2024/may", "text/plain", "a=3");
    assert!(unread.contains("400") || unread.contains(r#"is missing"#), "{unread}");
    assert!(
        ask(&ground, "GET", "/300/x")
            .contains("400 Bad Request: the parameter \"1\" of the path: \"300\" is too large")
    );
    assert!(ask(&ground, "GET", "/3/x").contains("400 Bad Request: the argument \"wanted\" is missing"));
    let json = answer("200 OK", "Content-Type: application/json\r\n", "[3,\"ü\"]");
    assert_eq!(ask(&ground, "GET", "/3/x?wanted=%C3%BC"), json);
}

#[test]
fn the_answer_is_collected_and_may_be_changed_until_it_is_flushed() {
    struct Fields;
    impl RequestHandler for Fields {
        async fn get(&mut self, call: &mut Call) -> Outcome<()> {
            call.set_header("X-A", "1");
            call.set_header("x-a", "2");
            call.add_header("X-B", "1");
            call.add_header("X-B", "2");
            call.set_header("X-C", "1");
            call.clear_header("x-c");
            call.set_header("Content-Type", "text/plain");
            call.set_cookie(&Cookie::new("c", "1"))?;
            assert!(call.set_cookie(&Cookie::new("c", "1;")).is_err());
            call.set_status(203);
            call.set_etag("7");
            call.write("forgotten");
            Ok(())
        }
        async fn post(&mut self, call: &mut Call) -> Outcome<()> {
            call.set_status(201);
            call.write("one ");
            call.flush().await?;
            call.write("two ");
            call.flush().await?;
            call.write("three");
            Ok(())
        }
    }
    let ground = Ground::of(Router::new().any("/", per_request(|| Fields)));
    let fields = "Content-Type: text/plain\r\nETag: \"7\"\r\nx-a: 2\r\nX-B: 1\r\nX-B: 2\r\n\
                  Set-Cookie: c=1; Path=/; HttpOnly; SameSite=Lax\r\n";
    assert_eq!(ask(&ground, "GET", "/"), answer("203 Non-Authoritative Information", fields, "forgotten"));
    let text = ask(&ground, "POST", "/");
    assert!(text.starts_with("HTTP/1.1 201 ") && text.contains("Transfer-Encoding: chunked"), "{text}");
    assert!(text.ends_with("4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n0\r\n\r\n"), "{text}");
}

#[test]
fn a_finished_answer_is_on_its_way_and_the_method_goes_on() {
    let log = Log::default();
    struct Early(Log);
    impl RequestHandler for Early {
        async fn post(&mut self, call: &mut Call) -> Outcome<()> {
            call.write("done");
            call.finish();
            wait(&call.request().reactor().clone(), 100 * MS).await;
            self.0.borrow_mut().push("went on".to_owned());
            call.write("too late");
            Ok(())
        }
        fn on_finish(&mut self) {
            self.0.borrow_mut().push("on_finish".to_owned());
        }
    }
    let kept = Rc::clone(&log);
    let ground = Ground::of(Router::new().any("/", per_request(move || Early(Rc::clone(&kept)))));
    let logged = errors_logged(|| {
        assert_eq!(ask(&ground, "POST", "/"), html("done"));
        assert_eq!(told(&log), "");
        ground.advance(SECOND);
    });
    assert_eq!((logged, told(&log).as_str()), (1, "went on on_finish"));
    ground.is_clean();
}

struct Counting {
    log: Log,
    bytes: usize,
}

impl RequestHandler for Counting {
    const STREAMED: bool = true;

    async fn prepare(&mut self, call: &mut Call) -> Outcome<()> {
        call.request().set_body_bytes_max(100);
        if call.request().argument("refuse").is_some() {
            Err(Rejection::new(403, "no").into())
        } else {
            Ok(())
        }
    }

    async fn data_received(&mut self, call: &mut Call, piece: Vec<u8>) -> Outcome<()> {
        self.log.borrow_mut().push(format!("{}", piece.len()));
        self.bytes += piece.len();
        if piece.contains(&b'!') {
            call.send_error(422, "no shouting");
        }
        Ok(())
    }

    async fn post(&mut self, call: &mut Call) -> Outcome<()> {
        assert!(call.body().is_empty());
        call.write(format!("{} bytes", self.bytes));
        Ok(())
    }
}

#[test]
fn a_streamed_body_comes_in_pieces() {
    let log = Log::default();
    let kept = Rc::clone(&log);
    let factory = per_request(move || Counting { log: Rc::clone(&kept), bytes: 0 });
    let ground = Ground::of(Router::new().any("/", factory));
    let peer = ground.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n");
    for piece in ["abc", "defgh", "ij"] {
        assert_eq!(ground.take(&peer), "");
        peer.write(piece.as_bytes());
        ground.advance(MS);
    }
    assert_eq!((ground.take(&peer), told(&log).as_str()), (html("10 bytes"), "3 5 2"));
    let refused = post(&ground, "/?refuse", "text/plain", "abc");
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    assert_eq!(told(&log), "");
    assert!(post(&ground, "/", "text/plain", "a!").starts_with("HTTP/1.1 422 "));
    assert!(post(&ground, "/", "text/plain", &"a".repeat(101)).starts_with("HTTP/1.1 413 "));
}

#[test]
fn a_client_that_leaves_ends_a_get_at_once_and_a_post_when_it_is_done() {
    for reset in [true, false] {
        let (ground, log) = telling();
        let peer = ground.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        told(&log);
        if reset {
            peer.reset()
        } else {
            drop(peer)
        }
        ground.advance(SECOND);
        // One that has only ended its side may still want its answer.
        let expected = if reset { "on_connection_close on_finish" } else { "on_finish" };
        assert_eq!(told(&log), expected);
        let peer = ground.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab");
        assert_eq!(told(&log), "default_headers prepare post");
        peer.reset();
        ground.advance(MS);
        assert_eq!(told(&log), "");
        ground.advance(SECOND);
        assert_eq!(told(&log), "posted on_connection_close on_finish");
        ground.is_clean();
    }
}

#[test]
fn every_request_has_a_handler_of_its_own() {
    let made = Rc::new(RefCell::new(0));
    struct Own(u32);
    impl RequestHandler for Own {
        async fn get(&mut self, call: &mut Call) -> Outcome<()> {
            self.0 += 1;
            call.write(self.0.to_string());
            Ok(())
        }
    }
    let count = Rc::clone(&made);
    let factory = per_request(move || {
        *count.borrow_mut() += 10;
        Own(*count.borrow())
    });
    let ground = Ground::of(Router::new().any("/", factory));
    assert_eq!(ask(&ground, "GET", "/"), html("11"));
    assert_eq!(ask(&ground, "GET", "/"), html("21"));
}
