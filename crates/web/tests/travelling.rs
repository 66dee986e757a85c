//! HTTP connections that travel to another process: at rest, with half a head, waiting for an event, and streaming, at whatever
//! moment. Here the other process is another site over the same channels.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use common::{MS, SECOND, undated};
use ropewalk_channel::{Channels, ChannelsOptions, EventId, Retention};
use ropewalk_net::{Address, Frozen, Port, Transport, Travelled, listen};
use ropewalk_reactor::{Peer, Simulation};
use ropewalk_web::push::{Push, PushOptions};
use ropewalk_web::{AccessObserver, AccessRecord, RateLimit, Request, Response, Router, Site};

const SSE: &str = "Accept: text/event-stream\r\n";
const JSON: &str = "Accept: application/x-ndjson\r\n";

#[derive(Default)]
struct Seen(RefCell<Vec<u16>>);

impl AccessObserver for Seen {
    fn request_finished(&self, record: &AccessRecord<'_>) {
        self.0.borrow_mut().push(record.status);
    }
}

/// Two sites over the same channels: the old process, and the new one.
struct Ground {
    simulation: Simulation,
    channels: Channels,
    address: SocketAddr,
    old: Port,
    new: Port,
    seen: Rc<Seen>,
}

impl Ground {
    fn new(seed: u64) -> Ground {
        Ground::with(seed, ChannelsOptions::default(), PushOptions::default())
    }

    /// What holds at the new one may differ.
    fn with(seed: u64, options: ChannelsOptions, newer: PushOptions) -> Ground {
        let simulation = Simulation::new(seed);
        let channels = Channels::in_memory(simulation.reactor(), options);
        let seen = Rc::<Seen>::default();
        let site = |options| {
            let push = Push::new(&channels, options);
            let site = Site::new(push.handler()).server(None).observe(Rc::clone(&seen) as _);
            listen(simulation.reactor(), &"tcp:0:interface=127.0.0.1".parse().unwrap(), site).unwrap()
        };
        let (old, new) = (site(PushOptions::default()), site(newer));
        let Address::Inet(address) = *old.address() else { unreachable!("it listens on TCP") };
        let ground = Ground { simulation, channels, address, old, new, seen };
        ground.advance(MS);
        ground
    }

    fn calm() -> Ground {
        let ground = Ground::new(1);
        ground.be_calm();
        ground
    }

    fn be_calm(&self) {
        self.simulation.network().set_conditions(|conditions| {
            conditions.latency = (Duration::from_micros(1), Duration::from_micros(1));
        });
    }

    /// Segments of random sizes come after random times, and few bytes are on their way at once.
    fn be_narrow(&self) {
        let random = |below: u64| (self.simulation.network().random() % below) as usize;
        let (window, segment) = (20 + random(100), 1 + random(40));
        self.simulation.network().set_conditions(|conditions| {
            conditions.window_bytes = window;
            conditions.segment_bytes_max = segment;
            conditions.latency = (Duration::from_micros(10), Duration::from_micros(500));
        });
    }

    fn advance(&self, by: Duration) {
        self.simulation.advance(by);
    }

    fn send(&self, bytes: impl AsRef<[u8]>) -> Peer {
        let peer = self.simulation.network().connect(self.address);
        assert!(self.simulation.run_until(SECOND, || peer.is_connected()), "the server accepts");
        self.write(&peer, bytes);
        peer
    }

    fn write(&self, peer: &Peer, bytes: impl AsRef<[u8]>) {
        let (mut sent, bytes) = (0, bytes.as_ref());
        while sent < bytes.len() {
            sent += peer.write(&bytes[sent..]);
            self.advance(MS);
        }
        self.advance(MS);
    }

    fn publish(&self, text: &str) -> EventId {
        self.channels.channel_now("a").unwrap().publish_now(text).unwrap()
    }

    fn take(&self, peer: &Peer) -> String {
        self.advance(5 * MS);
        undated(&peer.take())
    }

    fn one(&self) -> Transport {
        self.old.connections().pop().expect("it stands")
    }

    /// Freezes the one connection, when that can be.
    fn freeze(&self) -> (Transport, Travelled) {
        let transport = self.one();
        transport.halt();
        let travelled = transport.freeze_here().expect("it may go");
        (transport, travelled)
    }

    fn travel(&self) -> Transport {
        let (transport, travelled) = self.freeze();
        self.new.thaw_here(&transport, &travelled).unwrap().expect("the new one goes on with it")
    }
}

fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}

/// What a viewer sees of one stream, during which something is published in each of sixty steps; in one of them it travels.
fn watched(seed: u64, fields: &str, travels_at: Option<usize>) -> String {
    let ground = Ground::new(seed);
    ground.be_narrow();
    let peer = ground.send(get("/channels/a?since=0", fields));
    let (mut got, mut at) = (Vec::new(), travels_at);
    for step in 0..60 {
        if step % 3 == 0 {
            ground.publish(&format!("event {step}"));
        }
        if step == 40 {
            // A heartbeat is on its way.
            ground.advance(15 * SECOND - Duration::from_micros(seed % 1000));
        }
        if at == Some(step) {
            let transport = ground.one();
            transport.halt();
            match transport.freeze_here() {
                Some(travelled) => {
                    ground.publish(&format!("on the way at {step}"));
                    ground.new.thaw_here(&transport, &travelled).unwrap().expect("it goes on");
                }
                None => {
                    // Its request has not come yet, or its handler is at work.
                    transport.go_on().unwrap();
                    at = Some(step + 1);
                }
            }
        }
        ground.advance(Duration::from_micros(700));
        got.extend(peer.take());
    }
    assert!(travels_at.is_none() || ground.new.connections().len() == 1, "it went");
    for _ in 0..2000 {
        ground.advance(MS);
        got.extend(peer.take());
    }
    assert!(!peer.is_ended());
    assert_eq!(*ground.seen.0.borrow(), [200], "it is one request, and accounted for once");
    undated(&got)
}

/// The events in it, by their texts and ids; nothing is in it but these, the head, the retry and heartbeats.
fn events(seen: &str, kind: &str) -> Vec<(u64, String)> {
    let (head, body) = seen.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && !body.contains("HTTP/1.1"), "{seen}");
    let mut events = Vec::new();
    if kind == SSE {
        let (retry, body) = body.split_once("\n\n").expect("how long to wait");
        assert!(retry.starts_with("retry: "), "{retry}");
        for event in body.split("\n\n").filter(|event| !event.is_empty() && *event != ":") {
            let (id, data) =
                event.strip_prefix("id: ").and_then(|event| event.split_once("\ndata: ")).expect(event);
            events.push((id.parse().unwrap(), data.to_owned()));
        }
    } else {
        for line in body.lines().filter(|line| !line.is_empty()) {
            let event: serde_json::Value = serde_json::from_str(line).expect(line);
            events.push((
                event["id"].as_str().unwrap().parse().unwrap(),
                event["data"].as_str().unwrap().to_owned(),
            ));
        }
    }
    events
}

#[test]
fn a_stream_travels_at_any_moment() {
    for (kind, seeds) in [(SSE, 0..40), (JSON, 40..60)] {
        for seed in seeds {
            for at in [0, 1, 2, 3, 5, 8, 13, 21, 34, 39, 40, 41, 50] {
                let seen = watched(seed, kind, Some(at));
                let found = events(&seen, kind);
                assert!(found.is_sorted_by(|one, next| one.0 < next.0), "seed {seed}, step {at}: {seen}");
                let mut texts: Vec<String> = found.into_iter().map(|(_, text)| text).collect();
                let on_the_way = texts.iter().position(|text| text.starts_with("on the way"));
                texts.remove(on_the_way.unwrap_or_else(|| panic!("seed {seed}, step {at}: {seen}")));
                let expected: Vec<String> = (0..60).step_by(3).map(|step| format!("event {step}")).collect();
                assert_eq!(texts, expected, "seed {seed}, step {at}: {seen}");
            }
        }
    }
    // The measure itself: one that stays.
    assert_eq!(events(&watched(7, SSE, None), SSE).len(), 20);
}

#[test]
fn a_stream_travels_again_and_again() {
    let ground = Ground::calm();
    let peer = ground.send(get("/channels/a", SSE));
    ground.publish("first");
    assert!(ground.take(&peer).contains("data: first\n\n"));
    let (mut from, mut to) = (ground.old.clone(), ground.new.clone());
    for round in 0..5 {
        let transport = from.connections().pop().unwrap();
        let travelled = transport.freeze_here().unwrap();
        assert!(to.thaw_here(&transport, &travelled).unwrap().is_some());
        let id = ground.publish(&format!("round {round}"));
        assert_eq!(ground.take(&peer), format!("id: {id}\ndata: round {round}\n\n"));
        std::mem::swap(&mut from, &mut to);
    }
    ground.advance(16 * SECOND);
    assert_eq!(ground.take(&peer), ":\n\n", "heartbeats go on");
}

#[test]
fn what_goes_wrong_leaves_it_where_it_was() {
    let ground = Ground::calm();
    let stream = ground.send(get("/channels/a", SSE));
    ground.take(&stream);
    let (transport, _) = ground.freeze();
    let id = ground.publish("meanwhile");
    assert_eq!(ground.take(&stream), "");
    transport.go_on().unwrap();
    assert_eq!(ground.take(&stream), format!("id: {id}\ndata: meanwhile\n\n"));
    drop(stream);
    ground.advance(SECOND);
    let poll = ground.send(get(&format!("/channels/a?since={id}"), ""));
    let (transport, _) = ground.freeze();
    ground.publish("more");
    assert_eq!(ground.take(&poll), "");
    transport.go_on().unwrap();
    assert!(ground.take(&poll).contains("\"data\":\"more\""));
    // Half a head was handed back, and comes again.
    ground.write(&poll, "GET /channels/b HTTP/1.1\r\nHo");
    let (transport, travelled) = ground.freeze();
    assert_eq!(travelled.unread, b"GET /channels/b HTTP/1.1\r\nHo");
    transport.go_on().unwrap();
    ground.write(&poll, "st: localhost\r\n\r\n");
    assert!(ground.take(&poll).starts_with("HTTP/1.1 404 "));
}

#[test]
fn a_long_poll_waits_on_where_it_goes() {
    let ground = Ground::calm();
    let first = ground.publish("first");
    // 1. What comes when it has gone is its answer, and the connection stays.
    let peer = ground.send(get(&format!("/channels/a?since={first}&name=bob"), ""));
    ground.travel();
    let id = ground.publish("second");
    let answer = ground.take(&peer);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && !answer.contains("Connection: close"), "{answer}");
    assert!(
        answer.ends_with(&format!(
            "{{\"events\":[{{\"id\":\"{id}\",\"data\":\"second\"}}],\"next\":\"{id}\"}}"
        ))
    );
    ground.write(&peer, get("/channels/a", ""));
    assert!(ground.take(&peer).starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(*ground.seen.0.borrow(), [200, 200]);
    drop(peer);
    // 2. What came on the way, too.
    let peer = ground.send(get(&format!("/channels/a?since={id}"), ""));
    let (transport, travelled) = ground.freeze();
    ground.publish("third");
    ground.new.thaw_here(&transport, &travelled).unwrap().unwrap();
    assert!(ground.take(&peer).contains("\"data\":\"third\""));
    drop(peer);
    // 3. It waits no longer than it would have; a place of its own it found where it was asked.
    let peer = ground.send(get("/channels/a?last=0", ""));
    ground.advance(10 * SECOND);
    ground.travel();
    ground.advance(14 * SECOND);
    assert_eq!(ground.take(&peer), "");
    ground.advance(2 * SECOND);
    assert!(ground.take(&peer).starts_with("HTTP/1.1 204 "));
    // 4. Requests behind it wait for it.
    let last = ground.channels.channel_now("a").unwrap().last();
    ground.write(&peer, get(&format!("/channels/a?since={last}"), "") + &get("/channels/none", ""));
    let transport = ground.new.connections().pop().unwrap();
    let travelled = transport.freeze_here().unwrap();
    ground.old.thaw_here(&transport, &travelled).unwrap().unwrap();
    assert_eq!(ground.take(&peer), "");
    ground.publish("fourth");
    let answers = ground.take(&peer);
    assert!(answers.contains("\"data\":\"fourth\"") && answers.contains("HTTP/1.1 404 "), "{answers}");
    // 5. A client that has said that it asks no more is still answered.
    let last = ground.channels.channel_now("a").unwrap().last();
    let peer = ground.send(get(&format!("/channels/a?since={last}"), "Connection: close\r\n"));
    let transport = ground.old.connections().pop().unwrap();
    let travelled = transport.freeze_here().unwrap();
    ground.new.thaw_here(&transport, &travelled).unwrap().unwrap();
    ground.publish("fifth");
    assert!(ground.take(&peer).contains("Connection: close") && peer.is_ended());
}

#[test]
fn patience_between_two_requests_travels_too() {
    let ground = Ground::calm();
    let peer = ground.send(get("/channels/none", ""));
    ground.advance(50 * SECOND);
    // It is idle anew: 75 s from here on, 45 of them here.
    ground.write(&peer, get("/channels/none", ""));
    ground.advance(45 * SECOND);
    ground.take(&peer);
    ground.travel();
    ground.advance(29 * SECOND);
    assert!(!peer.is_ended());
    ground.advance(2 * SECOND);
    assert!(peer.is_ended());
}

#[test]
fn a_request_travels_split_at_every_byte() {
    let request = get("/channels/none", "X-Long: 0123456789\r\n");
    for at in 0..=request.len() {
        for served in 0..2 {
            let ground = Ground::calm();
            let peer = ground.send("");
            for _ in 0..served {
                ground.write(&peer, &request);
                assert!(ground.take(&peer).starts_with("HTTP/1.1 404 "));
            }
            ground.write(&peer, &request[..at]);
            ground.travel();
            ground.write(&peer, &request[at..]);
            assert!(ground.take(&peer).starts_with("HTTP/1.1 404 "), "cut at {at}");
            ground.write(&peer, &request);
            assert!(ground.take(&peer).starts_with("HTTP/1.1 404 "), "cut at {at}");
        }
    }
}

#[test]
fn patience_travels() {
    let ground = Ground::calm();
    let peer = ground.send(get("/channels/none", ""));
    ground.take(&peer);
    ground.advance(70 * SECOND);
    ground.travel();
    ground.advance(4 * SECOND);
    assert!(!peer.is_ended());
    ground.advance(2 * SECOND);
    assert!(peer.is_ended(), "75 seconds between two requests, wherever");
}

/// Who may not read any more is not served on: a stream ends without another byte, and a poll is told why.
#[test]
fn the_new_process_asks_again_who_it_is() {
    let newer = || PushOptions {
        allow: Some(Rc::new(|_, _, _| Err(Response::error(403, "not any more")))),
        ..PushOptions::default()
    };
    let ground = Ground::with(1, ChannelsOptions::default(), newer());
    ground.be_calm();
    let stream = ground.send(get("/channels/a", SSE));
    ground.take(&stream);
    ground.travel();
    ground.publish("secret");
    assert_eq!(ground.take(&stream), "");
    assert!(stream.is_ended());
    let last = ground.channels.channel_now("a").unwrap().last();
    let poll = ground.send(get(&format!("/channels/a?since={last}"), ""));
    ground.travel();
    assert!(ground.take(&poll).starts_with("HTTP/1.1 403 "));
}

/// A viewer that does not read is behind, and finds a gap where it goes, as it would have here.
#[test]
fn a_viewer_that_is_behind_finds_its_gap() {
    let mut options = ChannelsOptions::default();
    options.channel.retention = Retention { events_max: 10, ..Retention::default() };
    let ground = Ground::with(1, options, PushOptions::default());
    ground.be_calm();
    let peer = ground.send(get("/channels/a", SSE));
    let mut got = ground.take(&peer);
    ground.simulation.network().set_conditions(|conditions| conditions.window_bytes = 64);
    let text = "x".repeat(20_000);
    for _ in 0..20 {
        ground.publish(&text);
        ground.advance(MS);
    }
    let (transport, travelled) = ground.freeze();
    assert!(!travelled.unsent.is_empty());
    for _ in 0..20 {
        ground.publish("small");
    }
    ground.new.thaw_here(&transport, &travelled).unwrap().unwrap();
    ground.simulation.network().set_conditions(|conditions| conditions.window_bytes = 1 << 20);
    for _ in 0..100 {
        got += &ground.take(&peer);
    }
    let (before, after) = got.split_once("event: gap\n").expect("something is gone");
    assert_eq!(after.matches("data: small\n").count(), 10, "{after}");
    assert!(before.matches("data: xxx").count() > 1 && !peer.is_ended());
    let missed: usize = after
        .split_once("\"missed\":")
        .and_then(|(_, rest)| rest.split_once('}'))
        .unwrap()
        .0
        .parse()
        .unwrap();
    assert_eq!(before.matches("data: xxx").count() + missed + 10, 40);
}

#[test]
fn what_is_at_work_or_is_no_record_does_not_go() {
    let ground = Ground::calm();
    // A body is on its way.
    let _upload =
        ground.send("POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf");
    assert!(ground.one().freeze_here().is_none());
    drop(_upload);
    ground.advance(SECOND);
    let peer = ground.send(get("/channels/a", SSE));
    ground.take(&peer);
    let (transport, travelled) = ground.freeze();
    let whole = travelled.frozen.clone();
    let with = |frozen: Frozen| Travelled { frozen, ..travelled.clone() };
    let line = whole.bytes.iter().position(|byte| *byte == b'\n').unwrap();
    for wrong in [
        Frozen { version: 2, ..whole.clone() },
        Frozen { kind: "echo".to_owned(), ..whole.clone() },
        Frozen { bytes: Vec::new(), ..whole.clone() },
        Frozen { bytes: whole.bytes[..line / 2].to_vec(), ..whole.clone() },
        Frozen { bytes: whole.bytes[..line + 9].to_vec(), ..whole.clone() },
        Frozen { bytes: [&whole.bytes[..=line], b"\0\r\n\r\n"].concat(), ..whole.clone() },
        Frozen {
            bytes: [&whole.bytes[..=line], b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n"]
                .concat(),
            ..whole.clone()
        },
    ] {
        let factory = Site::new(ropewalk_web::Router::new());
        let peer = Address::Pipe;
        assert!(
            ropewalk_net::Factory::thaw(&factory, &peer, &with(wrong.clone()).frozen).is_none(),
            "{wrong:?}"
        );
    }
    // It is where it was.
    transport.go_on().unwrap();
    let id = ground.publish("on");
    assert_eq!(ground.take(&peer), format!("id: {id}\ndata: on\n\n"));
}

/// All viewers come at once, and were counted where they came from.
#[test]
fn an_upgrade_is_no_flood_of_requests() {
    let ground = Ground::calm();
    let push = Push::new(&ground.channels, PushOptions::default());
    let limited = Site::new(push.handler()).with(RateLimit::new(1, 60 * SECOND));
    let new =
        listen(ground.simulation.reactor(), &"tcp:0:interface=127.0.0.1".parse().unwrap(), limited).unwrap();
    let peers: Vec<Peer> = (0..5).map(|_| ground.send(get("/channels/a", SSE))).collect();
    for transport in ground.old.connections() {
        let travelled = transport.freeze_here().unwrap();
        new.thaw_here(&transport, &travelled).unwrap().unwrap();
    }
    ground.publish("for all");
    for peer in peers {
        assert!(ground.take(&peer).ends_with("data: for all\n\n"));
    }
}

/// A handler at work comes to its end first, whatever it waits for.
#[test]
fn handlers_come_to_their_end() {
    let wait = |request: Request| async move {
        if request.path() == "/long" {
            request.wait_long();
        }
        request.reactor().sleep(5 * SECOND).await;
        "done"
    };
    let ground = common::Ground::of(Router::new().get("/long", wait).get("/short", wait));
    for path in ["/short", "/long"] {
        let peer = ground.send(get(path, ""));
        let transport = ground.port.connections().pop().unwrap();
        transport.halt();
        ground.advance(2 * SECOND);
        assert!(transport.freeze_here().is_none());
        ground.advance(4 * SECOND);
        assert!(ground.take(&peer).ends_with("done"));
        assert!(transport.freeze_here().is_some(), "between two requests");
        transport.go_on().unwrap();
        drop(peer);
        ground.advance(SECOND);
    }
}
