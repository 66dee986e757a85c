//! The program is about to stop: what is idle closes, what is in flight is answered, what has no end is told and then ended.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use common::{Ground, MS, SECOND, last, ok};
use ropewalk_reactor::{Deferred, Failure, Firing};
use ropewalk_web::{Body, ByteStream, Request, Responder, Response, Router};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

/// A stream that never has anything more after its first piece.
struct Once(bool);

impl ByteStream for Once {
    fn poll_piece(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Vec<u8>, Failure>>> {
        if std::mem::replace(&mut self.0, true) {
            Poll::Pending
        } else {
            Poll::Ready(Some(Ok(b"once".to_vec())))
        }
    }
}

/// A stream of ten bytes, one per asking after a wake-up of its own.
struct Ten(u8);

impl ByteStream for Ten {
    fn poll_piece(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Vec<u8>, Failure>>> {
        self.0 += 1;
        context.waker().wake_by_ref();
        match self.0 {
            20 => Poll::Ready(None),
            odd if odd % 2 == 1 => Poll::Pending,
            _ => Poll::Ready(Some(Ok(vec![b'.']))),
        }
    }
}

#[derive(Clone, Default)]
struct Hands {
    firings: Rc<RefCell<Vec<Firing<()>>>>,
    responders: Rc<RefCell<Vec<Responder>>>,
}

fn ground(hands: &Hands) -> Ground {
    let (waits, takes) = (hands.clone(), hands.clone());
    let router = Router::new()
        .get("/", |_| "hello")
        .any("/wait", move |request: Request| {
            let (firing, deferred) = Deferred::new(request.reactor());
            waits.firings.borrow_mut().push(firing);
            async move {
                deferred.await.unwrap();
                request.bytes().await.map(|bytes| format!("{} bytes", bytes.len()))
            }
        })
        .get("/poll", |request: Request| async move {
            request.wait_long();
            let lost = request.notify_finish().await.expect_err("there is nothing to wait for");
            format!("nothing: {lost}")
        })
        .get("/feed", move |request: Request| {
            let responder = request.responder();
            responder.write("event ");
            takes.responders.borrow_mut().push(responder);
        })
        .get("/farewell", |request: Request| {
            let responder = request.responder();
            responder.write("event ");
            drop(responder.notify_finish().add_errback(move |_| {
                responder.write("farewell");
                responder.finish();
            }));
        })
        .get("/once", |_| Response::new(Body::Stream(Box::pin(Once(false)), None)))
        .get("/ten", |_| Response::new(Body::Stream(Box::pin(Ten(0)), Some(9))));
    Ground::of(router)
}

#[test]
fn idle_connections_close_at_once_and_requests_in_flight_are_answered() {
    let hands = Hands::default();
    let ground = ground(&hands);
    let fresh = ground.connect();
    let idle = ground.send(get("/"));
    assert_eq!(ground.take(&idle), ok("hello"));
    let half_a_head = ground.send("GET / HTTP/1.1\r\nHo");
    let half_a_body = ground.send("POST /wait HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbo");
    let waiting = ground.send(get("/wait") + &get("/"));
    ground.reactor().announce_stop();
    ground.advance(MS);
    assert!(fresh.is_ended() && idle.is_ended());
    assert!(!half_a_head.is_ended() && !half_a_body.is_ended() && !waiting.is_ended());
    half_a_head.write(b"st: h\r\n\r\n");
    half_a_body.write(b"dy");
    for firing in hands.firings.take() {
        firing.callback(()).unwrap();
    }
    assert_eq!(ground.take(&half_a_head), last("hello"));
    assert_eq!(ground.take(&half_a_body), last("4 bytes"));
    assert_eq!(ground.take(&waiting), last("0 bytes"), "what was pipelined behind it is not begun");
    assert!(half_a_head.is_ended() && half_a_body.is_ended() && waiting.is_ended());
    drop((fresh, idle, half_a_head, half_a_body, waiting));
    ground.advance(5 * SECOND);
    assert_eq!(ground.port.statistics().connections, 0);
    assert_eq!(ground.reactor().statistics().timers, 0);
}

#[test]
fn what_has_no_end_is_told_and_ended_politely() {
    let hands = Hands::default();
    let ground = ground(&hands);
    let paths = ["/poll", "/feed", "/farewell", "/once"];
    let peers = paths.map(|path| ground.send(get(path)));
    for peer in &peers[1..] {
        assert!(ground.take(peer).starts_with(CHUNKED));
    }
    let old = ground.send("GET /feed HTTP/1.0\r\n\r\n");
    ground.reactor().announce_stop();
    assert_eq!(ground.take(&peers[0]), last("nothing: the reactor has stopped"));
    assert_eq!(ground.take(&peers[1]), "0\r\n\r\n");
    assert_eq!(ground.take(&peers[2]), "8\r\nfarewell\r\n0\r\n\r\n");
    assert_eq!(ground.take(&peers[3]), "0\r\n\r\n");
    assert!(ground.take(&old).ends_with("\r\n\r\nevent "));
    for peer in peers.iter().chain([&old]) {
        assert!(peer.is_ended() && !peer.is_reset());
    }
    let errors = common::errors_logged(|| hands.responders.borrow()[0].write("late"));
    assert_eq!(errors, 1);
}

#[test]
fn a_stream_of_known_length_is_sent_to_its_end() {
    let ground = ground(&Hands::default());
    let peer = ground.connect();
    peer.write(get("/ten").as_bytes());
    let begun = ground.simulation.run_until(SECOND, || !peer.text().is_empty());
    assert!(begun);
    ground.reactor().announce_stop();
    assert!(ground.take(&peer).ends_with("Content-Length: 9\r\n\r\n........."));
    assert!(peer.is_ended());
}
