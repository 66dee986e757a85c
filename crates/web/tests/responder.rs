//! The answer in one's own hands: writes and finishes later, what comes too late, who is told of the end, and slow
//! readers.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use common::{Ground, MS, Probe, SECOND, answer, errors_logged, everyhow, last, ok, sorry, sorry_and_closed};
use ropewalk_reactor::Failure;
use ropewalk_web::{Body, ByteStream, Request, Responder, Response, Router, Site};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

/// Responders that a test takes out of the handler's hands.
#[derive(Clone, Default)]
struct Taken(Rc<RefCell<Vec<Responder>>>);

impl Taken {
    fn site(&self) -> Router {
        let taken = self.clone();
        Router::new().get("/", |_| "hello").any("/take", move |request: Request| {
            request.wait_long();
            taken.0.borrow_mut().push(request.responder());
        })
    }

    fn last(&self) -> Responder {
        self.0.borrow_mut().pop().expect("a request has come")
    }
}

/// What happened to the answers, in words.
#[derive(Clone, Default)]
struct Told(Rc<RefCell<Vec<String>>>);

impl Told {
    fn watch(&self, deferred: ropewalk_reactor::Deferred<()>) {
        let told = Rc::clone(&self.0);
        drop(deferred.add_both(move |outcome| {
            told.borrow_mut()
                .push(outcome.map_or_else(|failure| failure.to_string(), |()| "finished".to_owned()));
        }));
    }

    fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

fn at_once() -> Site {
    let router = Router::new()
        .get("/", |_| "hello")
        .get("/write", |request: Request| {
            let responder = request.responder();
            responder.set_response_code(201, "As You Like");
            responder.set_content_type("text/x-lines");
            responder.add_header("X-A", "1");
            responder.write("one\n");
            responder.write("");
            responder.write("two\n");
            responder.finish_with(&[("X-Lines", b"2")]);
        })
        .get("/respond", |request: Request| {
            request.responder().respond(Response::text("whole"));
        })
        .get("/nothing", |request: Request| request.responder().finish())
        .get("/empty", |request: Request| {
            let responder = request.responder();
            responder.set_status(204);
            responder.write("never seen");
            responder.finish();
        })
        .get("/fail", |request: Request| request.responder().fail(Failure::new("secret".to_owned())))
        .get("/drop", |request: Request| drop(request.responder()))
        .get("/both", |request: Request| {
            let _held = request.responder();
            "the value"
        })
        .get("/bad", |request: Request| {
            let responder = request.responder();
            responder.add_header("X-A", "a\nb");
            responder.write("body");
            responder.finish();
        });
    Site::new(router).server(None)
}

#[test]
fn a_responder_answers_piece_by_piece_or_at_once() {
    let said = everyhow(at_once, get("/write") + &get("/"));
    let head = "HTTP/1.1 201 As You Like\r\nContent-Type: text/x-lines\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = "4\r\none\n\r\n4\r\ntwo\n\r\n0\r\nX-Lines: 2\r\n\r\n";
    assert_eq!(said.text, format!("{head}{body}{}", ok("hello")));
    let said = everyhow(at_once, get("/write").replace("GET", "HEAD") + &get("/"));
    assert_eq!(said.text, head.to_owned() + &ok("hello"));
    let said = everyhow(at_once, "GET /write HTTP/1.0\r\n\r\n");
    let head = head.replace("Transfer-Encoding: chunked", "Connection: close");
    assert_eq!((said.text, said.closed), (head + "one\ntwo\n", true));
    for (path, expected) in [
        ("/respond", ok("whole")),
        ("/nothing", answer("200 OK", "", "")),
        ("/empty", "HTTP/1.1 204 No Content\r\n\r\n".to_owned()),
        ("/both", ok("the value")),
    ] {
        let said = everyhow(at_once, get(path) + &get("/"));
        assert_eq!((said.text, said.closed), (expected + &ok("hello"), false), "{path}");
    }
}

#[test]
fn a_responder_that_fails_or_is_dropped_answers_500() {
    let page = sorry();
    for path in ["/fail", "/drop"] {
        let said = everyhow(at_once, get(path) + &get("/"));
        assert_eq!(said.text, page.clone() + &ok("hello"), "{path}");
    }
    let said = everyhow(at_once, get("/bad") + &get("/"));
    assert_eq!((said.text, said.closed), (sorry_and_closed(), true));

    // The same later, out of a callback of the loop.
    let taken = Taken::default();
    let ground = Ground::of(taken.site());
    let peer = ground.send(get("/take") + &get("/"));
    assert_eq!(ground.take(&peer), "");
    drop(taken.last());
    assert_eq!(ground.take(&peer), page.clone() + &ok("hello"));
    peer.write(get("/take").as_bytes());
    ground.advance(MS);
    let responder = taken.last();
    responder.write("begun");
    assert_eq!(ground.take(&peer), format!("{CHUNKED}5\r\nbegun\r\n"));
    drop(responder);
    ground.advance(MS);
    assert!(peer.is_reset(), "what was begun and let go of is broken off");
    assert_eq!(ground.statistics().unanswered, 2);
    ground.is_clean();
}

#[test]
fn of_two_responders_the_last_one_decides() {
    let taken = Taken::default();
    let ground = Ground::of(taken.site());
    let peer = ground.send(get("/take"));
    let first = taken.last();
    let clone = first.clone();
    first.write("a");
    drop(first);
    clone.write("b");
    clone.finish();
    assert_eq!(ground.take(&peer), format!("{CHUNKED}1\r\na\r\n1\r\nb\r\n0\r\n\r\n"));

    // 1. One of two has begun the answer and is dropped. 2. So is the other, which never wrote. 3. The stream had nobody to end
    // it, and its client waited for ever.
    let second: Rc<RefCell<Option<Responder>>> = Rc::default();
    let keep = Rc::clone(&second);
    let ground = Ground::of(Router::new().get("/", move |request: Request| {
        *keep.borrow_mut() = Some(request.responder());
        request.responder().write("begun");
    }));
    let peer = ground.send(get("/"));
    assert_eq!(ground.take(&peer), format!("{CHUNKED}5\r\nbegun\r\n"));
    drop(second.take());
    ground.advance(MS);
    assert!(peer.is_reset());
    ground.is_clean();
}

#[test]
fn what_comes_too_late_is_logged_and_never_reaches_the_next_request() {
    let taken = Taken::default();
    let ground = Ground::of(taken.site());
    let peer = ground.send(get("/take"));
    let old = taken.last();
    old.finish();
    assert_eq!(ground.take(&peer), answer("200 OK", "", ""));
    assert!(old.is_finished() && !old.is_disconnected());
    peer.write(get("/take").as_bytes());
    ground.advance(MS);
    let new = taken.last();
    let errors = errors_logged(|| {
        old.write("late");
        old.finish();
        old.respond(Response::text("late"));
        old.set_status(500);
        old.add_header("X-Late", "1");
        old.fail(Failure::new("late".to_owned()));
    });
    assert_eq!(errors, 2, "the misuse once, and the failure");
    assert_eq!(ground.take(&peer), "");
    assert!(!new.is_finished());
    new.respond(Response::text("on time"));
    let errors = errors_logged(|| {
        new.write("between");
        new.respond(Response::text("twice"));
        new.finish();
    });
    assert_eq!(errors, 1, "once");
    drop((old, new));
    peer.write(get("/").as_bytes());
    assert_eq!(ground.take(&peer), ok("on time") + &ok("hello"));
    drop(peer);
    ground.is_clean();
}

#[test]
fn whoever_waits_for_the_finish_is_told() {
    let (taken, told) = (Taken::default(), Told::default());
    let ground = Ground::of(taken.site());
    let peer = ground.send(get("/take"));
    let responder = taken.last();
    told.watch(responder.notify_finish());
    responder.write("1");
    ground.advance(MS);
    assert!(told.take().is_empty());
    responder.finish();
    told.watch(responder.notify_finish());
    ground.advance(MS);
    assert_eq!(told.take(), ["finished", "finished"]);

    // Lost by a reset: the reason.
    peer.write(get("/take").as_bytes());
    ground.advance(MS);
    let responder = taken.last();
    told.watch(responder.notify_finish());
    peer.reset();
    ground.advance(MS);
    let words = told.take();
    assert!(words.len() == 1 && words[0].contains("broken"), "{words:?}");
    assert!(responder.is_disconnected());
    let errors = errors_logged(|| {
        responder.write("nobody reads this");
        responder.finish();
    });
    assert_eq!(errors, 0, "a client that left is no mistake of the program");
    told.watch(responder.notify_finish());
    ground.advance(MS);
    assert_eq!(told.take().len(), 1);
    drop(responder);

    // Ended on its side only: told, and still answered.
    let peer = ground.send(get("/take"));
    let responder = taken.last();
    told.watch(responder.notify_finish());
    peer.shutdown_write();
    ground.advance(MS);
    assert_eq!(told.take(), ["ended by the peer"]);
    assert!(!responder.is_disconnected());
    responder.respond(Response::text("still here"));
    assert_eq!(ground.take(&peer), last("still here"));
    assert!(peer.is_ended());
    drop((peer, responder));
    ground.is_clean();
}

#[test]
fn handlers_that_change_something_complete_and_others_are_dropped() {
    let probe = Probe::default();
    let done = Rc::new(Cell::new(0));
    let (held, counted) = (probe.clone(), Rc::clone(&done));
    let ground = Ground::of(Router::new().any("/", move |request: Request| {
        let (held, counted) = (held.hold(), Rc::clone(&counted));
        let (firing, deferred) = ropewalk_reactor::Deferred::new(request.reactor());
        request.reactor().call_later(10 * MS, move || {
            // It fails when the handler was dropped.
            let _ = firing.callback(());
        });
        async move {
            deferred.await.unwrap();
            counted.set(counted.get() + 1);
            drop((held, request));
            "done"
        }
    }));
    for (method, completes) in [("GET", 0), ("HEAD", 0), ("POST", 1), ("DELETE", 2), ("PATCH", 3)] {
        let peer = ground.send(format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(probe.held(), 1, "{method}");
        peer.reset();
        ground.advance(MS);
        ground.advance(20 * MS);
        assert_eq!((probe.held(), done.get()), (0, completes), "{method}");
    }
    ground.is_clean();
}

#[test]
fn a_handler_that_changes_something_may_go_on_after_its_answer() {
    let (taken, done) = (Taken::default(), Rc::new(Cell::new(0)));
    let (inner, counted) = (taken.clone(), Rc::clone(&done));
    let ground = Ground::of(Router::new().any("/", move |request: Request| {
        let (inner, counted) = (inner.clone(), Rc::clone(&counted));
        request.responder().respond(Response::text("accepted"));
        let (firing, deferred) = ropewalk_reactor::Deferred::new(request.reactor());
        request.reactor().call_later(10 * MS, move || {
            // It fails when the handler was dropped.
            let _ = firing.callback(());
        });
        async move {
            deferred.await.unwrap();
            counted.set(counted.get() + 1);
            drop(inner);
            "too late"
        }
    }));
    for (method, completes) in [("GET", 0), ("POST", 1)] {
        let peer = ground.send(format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(ground.take(&peer), ok("accepted"));
        ground.advance(20 * MS);
        assert_eq!((ground.take(&peer).as_str(), done.get()), ("", completes), "{method}");
    }
    assert_eq!(Rc::strong_count(&taken.0), 2, "the test's and the handler's");
    ground.is_clean();
}

#[test]
fn an_answer_given_as_its_client_leaves_holds_nothing() {
    let (taken, probe) = (Taken::default(), Probe::default());
    let ground = Ground::of(taken.site());
    let peer = ground.send(get("/take"));
    let responder = taken.last();
    // The answer holds the responder, and the responder's exchange the answer.
    let circle = Circle { _responder: responder.clone(), _held: probe.hold() };
    ground
        .reactor()
        .call_soon(move || responder.respond(Response::new(Body::Stream(Box::pin(circle), None))));
    peer.reset();
    ground.advance(10 * MS);
    assert_eq!(probe.held(), 0);
    ground.is_clean();
}

/// A stream that holds its own answer.
struct Circle {
    _responder: Responder,
    _held: common::Held,
}

impl ByteStream for Circle {
    fn poll_piece(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Vec<u8>, Failure>>> {
        Poll::Pending
    }
}

/// A body without an end that counts what was asked of it.
struct Endless(Rc<Cell<usize>>);

impl ByteStream for Endless {
    fn poll_piece(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Vec<u8>, Failure>>> {
        self.0.set(self.0.get() + 1000);
        Poll::Ready(Some(Ok(vec![b'x'; 1000])))
    }
}

#[test]
fn a_slow_reader_holds_a_stream_back() {
    let made = Rc::new(Cell::new(0));
    let counted = Rc::clone(&made);
    let stream = move |_| Response::new(Body::Stream(Box::pin(Endless(Rc::clone(&counted))), None));
    let ground = Ground::of(Router::new().get("/", stream));
    let peer = ground.send(get("/"));
    ground.advance(SECOND);
    let first = made.get();
    assert!(first < 300_000, "the window and high water, but {first} bytes were made");
    ground.advance(SECOND);
    assert_eq!(made.get(), first, "nobody reads: nothing is made");
    let mut read = 0;
    for _ in 0..500 {
        read += peer.take_some(4096).len();
        ground.advance(10 * MS);
    }
    assert!(read > 1_000_000 && made.get() < read + 300_000, "{read} read, {} made", made.get());
    // It takes nothing any more: the transport's stall ends it.
    ground.advance(61 * SECOND);
    assert!(peer.is_reset());
    ground.is_clean();
}

#[test]
fn a_stall_after_the_handlers_deadline_is_noticed() {
    // 1. A stream begins; the handler's deadline of 60 s is still in the wheel. 2. The client reads for 50 s, and stops.
    // 3. The deadline passes, and means nothing any more. 4. The stall has to be noticed all the same.
    let stream = |_| Response::new(Body::Stream(Box::pin(Endless(Rc::default())), None));
    let ground = Ground::of(Router::new().get("/", stream));
    let peer = ground.send(get("/"));
    for _ in 0..500 {
        peer.take();
        ground.advance(100 * MS);
    }
    ground.advance(70 * SECOND);
    assert!(peer.is_reset());
    ground.is_clean();
}
