//! Every phase has its deadline, every kill is counted by its reason, and nobody is held to account for this side's slowness.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use common::{Ground, MS, Probe, SECOND, ok, refused};
use ropewalk_reactor::{Deferred, Firing, Peer};
use ropewalk_web::{BodyError, Limits, Request, Response, Router, Site, SiteStatistics};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const TOO_SLOW: &str = "the body came too slowly";

fn router() -> Router {
    Router::new()
        .get("/", |_| "hello")
        .post("/", |request: Request| async move {
            request.bytes().await.map(|bytes| format!("{} bytes", bytes.len()))
        })
        .any("/hang", |_request: Request| std::future::pending::<&str>())
        .any("/patient", |request: Request| async move {
            request.wait_long();
            std::future::pending::<&str>().await
        })
}

fn counted(ground: &Ground) -> Vec<(&'static str, u64)> {
    let SiteStatistics {
        first_byte_timeouts: first_byte,
        head_timeouts: head,
        body_timeouts: body,
        body_rate_timeouts: rate,
        handler_timeouts: handler,
        keep_alive_timeouts: keep_alive,
        ..
    } = ground.statistics();
    let all = [
        ("first byte", first_byte),
        ("head", head),
        ("body", body),
        ("rate", rate),
        ("handler", handler),
        ("keep-alive", keep_alive),
    ];
    all.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// Asserts that the connection ends after about so long, and not before.
fn ends_after(ground: &Ground, peer: &Peer, patience: Duration) -> String {
    ground.advance(patience - 10 * MS);
    assert!(!peer.is_ended(), "not before {patience:?}");
    ground.advance(20 * MS);
    assert!(peer.is_ended(), "after {patience:?}");
    common::undated(&peer.take())
}

#[test]
fn whoever_says_nothing_is_let_go() {
    let ground = Ground::of(router());
    assert_eq!(ends_after(&ground, &ground.connect(), 15 * SECOND), "");
    assert_eq!(counted(&ground), [("first byte", 1)]);
    // Empty lines are nothing: neither first byte nor sign of life.
    let peer = ground.connect();
    for _ in 0..3 {
        peer.write(b"\r\n");
        ground.advance(4 * SECOND);
    }
    ends_after(&ground, &peer, 3 * SECOND);
    assert_eq!(counted(&ground), [("first byte", 2)]);
    ground.is_clean();
}

#[test]
fn a_head_that_trickles_is_answered_408() {
    let ground = Ground::of(router());
    let peer = ground.connect();
    ground.advance(14 * SECOND);
    // The head's own time begins with its first byte.
    for byte in GET.as_bytes().chunks(1).take(14) {
        peer.write(byte);
        ground.advance(SECOND);
    }
    assert!(!peer.is_ended());
    let text = ends_after(&ground, &peer, SECOND);
    assert_eq!(text, refused("408 Request Timeout", "the request did not arrive in time"));
    assert_eq!(counted(&ground), [("head", 1)]);
    drop(peer);
    ground.is_clean();
}

#[test]
fn an_idle_connection_is_closed_and_each_request_begins_anew() {
    let ground = Ground::of(router());
    let peer = ground.connect();
    for _ in 0..3 {
        peer.write(GET.as_bytes());
        ground.advance(74 * SECOND);
        assert_eq!(ground.take(&peer), ok("hello"));
        peer.write(b"\r\n");
    }
    ground.advance(2 * SECOND);
    assert!(peer.is_ended(), "an empty line is no request");
    assert_eq!(counted(&ground), [("keep-alive", 1)]);
    ground.is_clean();
}

#[test]
fn a_body_must_keep_up_its_rate() {
    let ground = Ground::of(router());
    let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n";
    // Nothing at all: the grace.
    let peer = ground.send(head);
    let text = ends_after(&ground, &peer, 10 * SECOND - MS);
    assert_eq!(text, refused("408 Request Timeout", TOO_SLOW));
    // A hundred bytes per second: each is a fifth of a second's worth.
    let peer = ground.send(head);
    let mut lasted = 0;
    while !peer.is_ended() && lasted < 100 {
        peer.write(&[b'x'; 100]);
        ground.advance(SECOND);
        lasted += 1;
    }
    assert!((12..=14).contains(&lasted), "{lasted} s");
    // A thousand per second: it may take as long as it takes.
    let peer = ground.send(head);
    for _ in 0..100 {
        peer.write(&[b'x'; 1000]);
        ground.advance(SECOND);
    }
    assert_eq!(ground.take(&peer), ok("100000 bytes"));
    assert_eq!(counted(&ground), [("rate", 2)]);
    drop(peer);
    ground.is_clean();
}

#[test]
fn a_body_has_a_deadline_for_the_whole_and_a_rate_without_one() {
    let limits = Limits { body: Some(30 * SECOND), ..Limits::default() };
    let ground = Ground::calm(Site::new(router()).server(None).limits(limits));
    let peer = ground.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..29 {
        peer.write(b"400\r\n");
        peer.write(&[b'x'; 0x400]);
        peer.write(b"\r\n");
        ground.advance(SECOND);
        assert!(!peer.is_ended());
    }
    ground.advance(2 * SECOND);
    assert_eq!(common::undated(&peer.take()), refused("408 Request Timeout", TOO_SLOW));
    assert_eq!(counted(&ground), [("body", 1)]);

    let limits = Limits { body: None, ..Limits::default() };
    let ground = Ground::calm(Site::new(router()).server(None).limits(limits));
    let peer = ground.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n");
    ends_after(&ground, &peer, 10 * SECOND - MS);
    assert_eq!(counted(&ground), [("rate", 1)]);
}

#[test]
fn the_rest_of_a_body_after_its_answer_has_the_same_deadline() {
    let ground = Ground::of(Router::new().post("/", |_| "early"));
    let peer = ground.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf");
    assert_eq!(ground.take(&peer), ok("early"));
    ground.advance(9 * SECOND);
    assert!(!peer.is_ended());
    ground.advance(3 * SECOND);
    assert!(peer.is_ended());
    assert_eq!(ground.take(&peer), "", "one answer is enough");
    assert_eq!(counted(&ground), [("rate", 1)]);
    drop(peer);
    ground.is_clean();
}

#[test]
fn a_handler_that_does_not_answer_is_503_unless_it_means_to_wait() {
    let probe = Probe::default();
    let held = probe.clone();
    let router = router().get("/held", move |request: Request| {
        let held = held.hold();
        async move {
            std::future::pending::<()>().await;
            drop((held, request));
            "never"
        }
    });
    let ground = Ground::of(router);
    let late = refused("503 Service Unavailable", "the server took too long to answer");
    let peer = ground.send("GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(ends_after(&ground, &peer, 60 * SECOND - MS), late);
    assert_eq!(probe.held(), 0);
    // The body's time does not count.
    let peer = ground.send("PUT /hang HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n1");
    ground.advance(9 * SECOND);
    peer.write(b"2");
    assert_eq!(ends_after(&ground, &peer, 60 * SECOND), late);
    let peer = ground.send("GET /patient HTTP/1.1\r\nHost: h\r\n\r\n");
    ground.advance(3600 * SECOND);
    assert!(!peer.is_ended());
    assert_eq!(counted(&ground), [("handler", 2)]);
}

#[test]
fn while_this_side_holds_the_body_up_the_time_is_the_handlers() {
    // The buffer is full and nobody reads: a handler that hangs is late, and the client is not slow.
    let limits = Limits { body_buffer_bytes: 10, ..Limits::default() };
    let gate: Rc<RefCell<Option<Firing<()>>>> = Rc::default();
    let opens = Rc::clone(&gate);
    let slow = router().post("/slow", move |mut request: Request| {
        let (firing, deferred) = Deferred::new(request.reactor());
        *opens.borrow_mut() = Some(firing);
        async move {
            deferred.await.unwrap();
            let mut sum = 0;
            while let Some(piece) = request.piece().await? {
                sum += piece.len();
            }
            Ok::<_, BodyError>(format!("{sum} bytes"))
        }
    });
    let ground = Ground::calm(Site::new(slow).server(None).limits(limits));
    let body = "x".repeat(100);
    let peer =
        ground.send(format!("POST /hang HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{}", &body[..50]));
    let text = ends_after(&ground, &peer, 60 * SECOND - MS);
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    assert_eq!(counted(&ground), [("handler", 1)]);

    let peer =
        ground.send(format!("POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{}", &body[..50]));
    ground.advance(50 * SECOND);
    gate.take().unwrap().callback(()).unwrap();
    ground.advance(9 * SECOND);
    assert!(!peer.is_ended(), "its own time begins only now");
    peer.write(&body.as_bytes()[50..]);
    assert_eq!(ground.take(&peer), ok("100 bytes"));

    // So it is while a 100 is owed.
    let peer =
        ground.send("POST /slow HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    ground.advance(50 * SECOND);
    gate.take().unwrap().callback(()).unwrap();
    assert_eq!(ground.take(&peer), "HTTP/1.1 100 Continue\r\n\r\n");
    ground.advance(9 * SECOND);
    peer.write(b"abc");
    assert_eq!(ground.take(&peer), ok("3 bytes"));
    assert_eq!(counted(&ground), [("handler", 1)]);
}

#[test]
fn a_slow_reader_of_a_last_answer_gets_all_of_it() {
    // 1. An answer longer than the window, on a connection that closes. 2. The handler's deadline was still in the wheel, and
    // cut it off, however well the client read.
    let ground = Ground::of(Router::new().get("/", |_| Response::new(vec![b'x'; 1_000_000]).close()));
    let peer = ground.send(GET);
    let mut read = 0;
    for _ in 0..1100 {
        read += peer.take_some(1000).len();
        ground.advance(500 * MS);
    }
    assert!(read > 1_000_000 && peer.is_ended() && !peer.is_reset(), "{read} bytes");
    assert_eq!(counted(&ground), []);
    drop(peer);
    ground.is_clean();
}

#[test]
fn an_answer_that_is_still_being_read_is_no_idleness() {
    let ground = Ground::of(Router::new().get("/", |_| Response::new(vec![b'x'; 1_000_000])));
    let peer = ground.send(GET);
    let mut read = 0;
    for _ in 0..260 {
        read += peer.take_some(4000).len();
        ground.advance(SECOND);
    }
    assert!(read > 1_000_000 && !peer.is_ended(), "{read} bytes");
    assert_eq!(counted(&ground), []);
    ground.advance(76 * SECOND);
    assert_eq!(counted(&ground), [("keep-alive", 1)]);
    assert!(peer.is_ended());
}

#[test]
fn a_turn_after_a_long_sleep_kills_nobody() {
    let ground = Ground::of(router());
    let fresh = ground.connect();
    let head = ground.send("GET / HTTP/1.1\r\nHo");
    let body = ground.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbo");
    let idle = ground.send(GET);
    assert_eq!(ground.take(&idle), ok("hello"));
    // The machine was asleep for an hour; what the clients sent meanwhile is on its way.
    ground.simulation.network().hold(3600 * SECOND);
    ground.advance(MS);
    ground.advance(3 * SECOND);
    let rests = [(&fresh, GET), (&head, "st: h\r\n\r\n"), (&body, "dy"), (&idle, GET)];
    for (peer, rest) in rests {
        assert!(!peer.is_ended(), "{rest:?}");
        peer.write(rest.as_bytes());
    }
    for (peer, expected) in [(&fresh, "hello"), (&head, "hello"), (&body, "4 bytes"), (&idle, "hello")] {
        assert_eq!(ground.take(peer), ok(expected));
    }
    assert_eq!(counted(&ground), []);
    assert!(ground.reactor().statistics().stalls > 0);
    // Put off is not forgotten.
    let silent = ground.connect();
    ground.simulation.network().hold(3600 * SECOND);
    ground.advance(6 * SECOND);
    assert!(silent.is_ended());
}

#[test]
fn a_deadline_is_one_entry_of_the_wheel() {
    let ground = Ground::of(router());
    let before = ground.reactor().statistics().timers;
    let peer = ground.connect();
    let most = Rc::new(Cell::new(0));
    for _ in 0..50 {
        peer.write(GET.as_bytes());
        peer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab");
        ground.take(&peer);
        most.set(most.get().max(ground.reactor().statistics().timers));
    }
    assert_eq!(most.get(), before + 1);
}
