//! Pipelined requests: answered in order whatever takes how long, one flush for what was ready together, and one request in
//! flight at a time.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use common::{Ground, Probe, everyhow, ok};
use ropewalk_reactor::{Deferred, Failure, Reactor};
use ropewalk_web::{Body, ByteStream, Request, Response, Router, Site};

fn pause(reactor: &Reactor, ms: u64) -> Deferred<()> {
    let (firing, deferred) = Deferred::new(reactor);
    reactor.call_later(Duration::from_millis(ms), move || {
        // It fails when the client is gone.
        let _ = firing.callback(());
    });
    deferred
}

/// Is ready at the third look (the first two are the handler's first), within the same turn.
struct Yield(u8);

impl Future for Yield {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0 += 1;
        if self.0 == 3 {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

struct Ticks(u32);

impl ByteStream for Ticks {
    fn poll_piece(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Vec<u8>, Failure>>> {
        self.0 += 1;
        match self.0 {
            6 => Poll::Ready(None),
            odd if odd % 2 == 1 => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            even => Poll::Ready(Some(Ok(format!("tick {even}").into_bytes()))),
        }
    }
}

fn router() -> Router {
    Router::new()
        .get("/now", |_| "now")
        .get("/yield", |_| async {
            Yield(0).await;
            "yielded"
        })
        .get("/wait/{ms}", |request: Request| async move {
            let ms: u64 = request.param("ms").unwrap().parse().unwrap();
            pause(request.reactor(), ms).await.unwrap();
            format!("waited {ms}")
        })
        .get("/responder", |request: Request| {
            let responder = request.responder();
            request.reactor().call_later(Duration::from_millis(2), move || {
                responder.write("a");
                responder.write("b");
                responder.finish();
            });
        })
        .get("/ticks", |_| Response::new(Body::Stream(Box::pin(Ticks(0)), None)))
        .post("/echo", |request: Request| async move {
            request.bytes().await.map(|bytes| String::from_utf8(bytes).unwrap())
        })
}

fn site() -> Site {
    Site::new(router()).server(None)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

#[test]
fn answers_come_in_order_whatever_takes_how_long() {
    let script = [
        get("/wait/9"),
        get("/now"),
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody".to_owned(),
        get("/responder"),
        get("/ticks"),
        get("/yield"),
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            .to_owned(),
        get("/wait/1"),
    ];
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let expected = [
        ok("waited 9"),
        ok("now"),
        ok("body"),
        format!("{chunked}1\r\na\r\n1\r\nb\r\n0\r\n\r\n"),
        format!("{chunked}6\r\ntick 2\r\n6\r\ntick 4\r\n0\r\n\r\n"),
        ok("yielded"),
        ok("abc"),
        ok("waited 1"),
    ];
    let said = everyhow(site, script.concat());
    assert_eq!(said.text, expected.concat());
    assert!(!said.closed);
}

#[test]
fn one_request_is_in_flight_at_a_time() {
    let now = Rc::new(Cell::new(0u32));
    let most = Rc::new(Cell::new(0u32));
    let (counted, seen) = (Rc::clone(&now), Rc::clone(&most));
    let ground = Ground::of(Router::new().get("/", move |request: Request| {
        let counted = Rc::clone(&counted);
        counted.set(counted.get() + 1);
        seen.set(seen.get().max(counted.get()));
        async move {
            pause(request.reactor(), 1).await.unwrap();
            counted.set(counted.get() - 1);
            "done"
        }
    }));
    let peer = ground.send(get("/").repeat(50));
    ground.advance(100 * common::MS);
    assert_eq!(ground.take(&peer), ok("done").repeat(50));
    assert_eq!(most.get(), 1);
}

#[test]
fn what_is_ready_together_is_sent_together() {
    // Sixteen answers of waiting futures: a hop each, and one turn for all.
    let ground = Ground::calm(site());
    let peer = ground.connect();
    let turns = ground.reactor().statistics().turns;
    peer.write(get("/yield").repeat(16).as_bytes());
    ground.advance(10 * common::MS);
    assert_eq!(ground.take(&peer), ok("yielded").repeat(16));
    let turns = ground.reactor().statistics().turns - turns;
    assert!(turns <= 8, "sixteen answers took {turns} turns");
}

#[test]
fn a_flood_of_requests_is_held_back() {
    let begun = Rc::new(Cell::new(0));
    let counted = Rc::clone(&begun);
    let ground = Ground::of(Router::new().get("/", move |request: Request| {
        counted.set(counted.get() + 1);
        request.wait_long();
        std::future::pending::<&str>()
    }));
    let peer = ground.connect();
    let flood = get("/").repeat(20_000);
    let mut sent = 0;
    for _ in 0..100 {
        sent += peer.write(&flood.as_bytes()[sent..]);
        ground.advance(common::MS);
    }
    assert!(sent < 200_000, "one read and the window; but {sent} bytes were taken");
    assert_eq!(begun.get(), 1);
    peer.reset();
    ground.advance(10 * common::MS);
    ground.is_clean();
}

#[test]
fn clients_that_leave_in_the_middle_leave_nothing() {
    let probe = Probe::default();
    let paths = ["/hold", "/stream", "/responder"];
    for path in paths {
        let held = probe.clone();
        let kept: Rc<RefCell<Vec<ropewalk_web::Responder>>> = Rc::default();
        let responders = Rc::clone(&kept);
        let ground = Ground::of(Router::new().get(path, move |request: Request| {
            let held = held.hold();
            let notified = request.notify_finish();
            let inner = request.notify_finish();
            drop(inner.add_errback(|_| ()));
            if path == "/responder" {
                let responder = request.responder();
                responder.write("begun");
                responders.borrow_mut().push(responder);
            }
            async move {
                let _held = held;
                if path == "/stream" {
                    let body = Forever(request);
                    return Response::new(Body::Stream(Box::pin(body), None));
                }
                // It holds its own request, and waits for its own end.
                let _ = notified.await;
                Response::text(request.path().to_owned())
            }
        }));
        for behind in ["", "GET /more HTTP/1.1\r\nHost: h\r\n\r\n", "GET /half HTT"] {
            for how in 0..3 {
                let peer = ground.send(get(path) + behind);
                ground.advance(2 * common::MS);
                match how {
                    0 => drop(peer),
                    1 => peer.reset(),
                    _ => {
                        peer.shutdown_write();
                        ground.advance(20 * common::MS);
                    }
                }
                ground.advance(20 * common::MS);
                kept.borrow_mut().clear();
                ground.advance(20 * common::MS);
                if how != 1 && path == "/hold" && !behind.is_empty() {
                    // The end stands behind bytes that nobody reads yet: the handler's deadline ends it at the latest.
                    ground.advance(61 * common::SECOND);
                }
                assert_eq!(probe.held(), 0, "{path} {behind:?} {how}");
            }
        }
        ground.is_clean();
    }
}

/// Streams without an end, and holds its own request.
struct Forever(Request);

impl ByteStream for Forever {
    fn poll_piece(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Vec<u8>, Failure>>> {
        Poll::Ready(Some(Ok(self.0.path().as_bytes().repeat(100))))
    }
}
