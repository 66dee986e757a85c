//! Attacks and accidents, one sentence each: refusals with their statuses, smuggling, floods, and lies.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;
#[path = "hardening/visitors.rs"]
mod visitors;

use std::cell::Cell;
use std::rc::Rc;

use common::{Ground, MS, SECOND, everyhow, ok};
use ropewalk_net::{ConnectionLimits, ServerOptions, listen_with};
use ropewalk_reactor::{Random, Simulation};
use ropewalk_web::{Limits, Request, Response, Router, Site};

fn site() -> Site {
    let mut limits = Limits::default();
    limits.head_sizes.request_line_bytes_max = 100;
    limits.head_sizes.head_bytes_max = 300;
    limits.head_sizes.fields_max = 5;
    limits.body_sizes.body_bytes_max = 20;
    let router = Router::new().get("/", |_| "hello").post("/", |request: Request| async move {
        request.bytes().await.map(|bytes| format!("{} bytes", bytes.len()))
    });
    Site::new(router).server(None).limits(limits)
}

/// Refused with this status, once, closed, and what follows is never a request.
fn refuses(script: &str, status: u16) {
    let said = everyhow(site, format!("{script}GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert!(said.text.starts_with(&format!("HTTP/1.1 {status} ")), "{script:?}: {said:?}");
    assert_eq!(said.text.matches("Content-Length: ").count(), 1, "{script:?}: {said:?}");
    assert!(said.text.contains("\r\nConnection: close\r\n"), "{script:?}: {said:?}");
    assert!(said.closed, "{script:?}: {said:?}");
}

#[test]
fn each_refusal_has_its_status() {
    refuses("\x16\x03\x01\x02", 400);
    refuses("GET / HTTP/1.1\r\n\r\n", 400);
    refuses("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400);
    refuses("GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505);
    refuses(&format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(100)), 414);
    refuses(&format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "a".repeat(300)), 431);
    refuses(&format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(5)), 431);
    refuses("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 21\r\n\r\n", 413);
    refuses("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: a-miracle\r\n\r\n", 417);
    refuses("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501);
}

#[test]
fn what_smuggles_is_refused() {
    let both = "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n";
    for fields in [
        both,
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: \r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X: a\r\n Transfer-Encoding: chunked\r\n",
    ] {
        let script = format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n0\r\n\r\n");
        let said = everyhow(site, script + "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let status = said.text.split(' ').nth(1).unwrap();
        assert!(matches!(status, "400" | "501"), "{fields:?}: {said:?}");
        assert_eq!(said.text.matches("Content-Length: ").count(), 1, "{fields:?}: {said:?}");
        assert!(said.closed);
    }
}

#[test]
fn the_answer_before_a_refusal_still_comes() {
    let said = everyhow(site, "GET / HTTP/1.1\r\nHost: h\r\n\r\nGARBAGE\r\n\r\n");
    assert!(said.text.starts_with(&ok("hello")), "{said:?}");
    assert!(said.text[ok("hello").len()..].starts_with("HTTP/1.1 400 Bad Request\r\n"), "{said:?}");
    assert!(said.closed);
}

#[test]
fn a_refusal_of_head_has_no_body() {
    let said = everyhow(site, "HEAD / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert!(
        said.text.starts_with("HTTP/1.1 400 Bad Request\r\n") && said.text.ends_with("\r\n\r\n"),
        "{said:?}"
    );
}

#[test]
fn a_refused_client_that_goes_on_sending_still_gets_its_answer() {
    // A reset would overtake the answer in the client's buffer.
    let ground = Ground::calm(site());
    let peer = ground.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 999999\r\n\r\n");
    for _ in 0..50 {
        peer.write(&[b'x'; 10_000]);
        ground.advance(MS);
    }
    assert!(!peer.is_reset());
    assert!(ground.take(&peer).starts_with("HTTP/1.1 413 "));
    assert!(peer.is_ended());
    // But not for ever.
    ground.advance(3 * SECOND);
    assert_eq!(ground.port.statistics().connections, 0);
    ground.is_clean();
}

#[test]
fn a_client_that_never_reads_its_answers_is_not_read_for_ever() {
    let made = Rc::new(Cell::new(0u64));
    let counted = Rc::clone(&made);
    let ground = Ground::of(Router::new().get("/", move |_| {
        counted.set(counted.get() + 1);
        Response::new(vec![b'x'; 50_000])
    }));
    let peer = ground.connect();
    let flood = "GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(5_000);
    let mut sent = 0;
    for _ in 0..1000 {
        sent += peer.write(&flood.as_bytes()[sent..]);
        ground.advance(MS);
    }
    assert!(made.get() < 100, "{} answers of 50 kB wait in memory", made.get());
    drop(peer);
    ground.is_clean();
}

#[test]
fn too_many_connections_are_told_so() {
    let simulation = Simulation::new(1);
    let limits = ConnectionLimits { total_max: Some(2), per_peer_max: None };
    let options =
        ServerOptions { admission: ropewalk_net::Admission::new(limits), ..ServerOptions::default() };
    let endpoint = "tcp:0:interface=127.0.0.1".parse().unwrap();
    let port = listen_with(simulation.reactor(), &endpoint, Rc::new(site()), options).unwrap();
    let ropewalk_net::Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
    let peers: Vec<_> = (0..3).map(|_| simulation.network().connect(address)).collect();
    simulation.advance(20 * MS);
    let told =
        peers.iter().filter(|peer| peer.text().starts_with("HTTP/1.1 503 Service Unavailable\r\n")).count();
    assert_eq!((told, port.statistics().refused), (1, 1));
}

#[test]
fn noise_is_answered_or_closed_and_leaves_nothing() {
    const WORDS: [&str; 16] = [
        "GET / HTTP/1.1\r\n",
        "POST / HTTP/1.1\r\n",
        "Host: h\r\n",
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Expect: 100-continue\r\n",
        "Connection: close\r\n",
        "\r\n",
        "\r\n\r\n",
        "5\r\nhello\r\n",
        "0\r\n\r\n",
        "hello",
        "\n",
        "\r",
        "\0",
        "x",
    ];
    let ground = Ground::calm(site());
    for seed in 0..500 {
        let mut random = Random::new(seed);
        let peer = ground.connect();
        for _ in 0..12 {
            peer.write(WORDS[random.below(16) as usize].as_bytes());
            if random.below(2) == 0 {
                ground.advance(MS);
            }
        }
        ground.advance(MS);
        match random.below(3) {
            0 => peer.reset(),
            1 => drop(peer),
            _ => {
                peer.shutdown_write();
                ground.advance(10 * MS);
                assert!(peer.is_ended(), "seed {seed}: everything has an end");
            }
        }
    }
    assert_eq!(ground.statistics().panics, 0);
    ground.is_clean();
}
