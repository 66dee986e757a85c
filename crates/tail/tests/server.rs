//! The log-tail server under a simulated clock and network: its faces, resume and gaps, patience, and slow viewers. Files and
//! standard input have their own tests; here lines are published by hand.
#![allow(clippy::unwrap_used, reason = "what cannot be unwrapped has failed the test")]

use std::collections::BTreeMap;
use std::time::Duration;

use ropewalk_channel::Retention;
use ropewalk_net::{Address, Factory, Port, listen};
use ropewalk_reactor::{Peer, Simulation};
use ropewalk_tail::{Tail, TailOptions};
use ropewalk_web::Site;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

struct Ground {
    simulation: Simulation,
    tail: Tail,
    raw: Port,
    web: Port,
}

impl Ground {
    fn new(seed: u64, options: TailOptions) -> Ground {
        let simulation = Simulation::new(seed);
        let tail = Tail::start(simulation.reactor(), options).unwrap();
        let raw = open(&simulation, tail.raw_viewers());
        let web = open(&simulation, Site::new(tail.handler()));
        Ground { simulation, tail, raw, web }
    }

    fn calm(options: TailOptions) -> Ground {
        let ground = Ground::new(1, options);
        ground.simulation.network().set_conditions(|conditions| {
            conditions.latency = (Duration::from_micros(1), Duration::from_micros(1));
        });
        ground
    }

    fn publish(&self, line: &str) -> u64 {
        self.tail.feed().publish(line).unwrap().0
    }

    fn advance(&self, by: Duration) {
        self.simulation.advance(by);
    }

    fn connect(&self, port: &Port) -> Peer {
        let Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
        let peer = self.simulation.network().connect(address);
        assert!(self.simulation.run_until(SECOND, || peer.is_connected()), "the server accepts");
        self.advance(MS);
        peer
    }

    fn ask(&self, target: &str, fields: &str) -> Peer {
        let peer = self.connect(&self.web);
        peer.write(format!("GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n").as_bytes());
        self.advance(MS);
        peer
    }

    /// What has come since the last time.
    fn take(&self, peer: &Peer) -> String {
        self.advance(MS);
        String::from_utf8(peer.take()).unwrap()
    }
}

fn open(simulation: &Simulation, factory: impl Factory) -> Port {
    listen(simulation.reactor(), &"tcp:0:interface=127.0.0.1".parse().unwrap(), factory).unwrap()
}

fn keeping(events_max: usize) -> TailOptions {
    TailOptions { retention: Retention { events_max, ..Retention::default() }, ..TailOptions::default() }
}

/// The fields of every whole event, as a browser reads them.
fn events(stream: &str) -> Vec<BTreeMap<&str, String>> {
    let body = stream.split_once("\r\n\r\n").map_or(stream, |(_, body)| body);
    let mut blocks: Vec<&str> = body.split("\n\n").collect();
    blocks.pop();
    blocks.into_iter().map(fields).filter(|fields| fields.contains_key("data")).collect()
}

fn fields(block: &str) -> BTreeMap<&str, String> {
    let mut fields = BTreeMap::new();
    for (name, value) in block.lines().filter_map(|line| line.split_once(": ")) {
        fields
            .entry(name)
            .and_modify(|data: &mut String| *data = format!("{data}\n{value}"))
            .or_insert(value.to_owned());
    }
    fields
}

fn data(stream: &str) -> Vec<String> {
    events(stream)
        .iter()
        .filter(|event| !event.contains_key("event"))
        .map(|event| event["data"].clone())
        .collect()
}

fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0)
}

fn body(answer: &str) -> serde_json::Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn every_face_shows_every_line() {
    let ground = Ground::calm(TailOptions::default());
    let (raw, sse, poll) = (ground.connect(&ground.raw), ground.ask("/events", ""), ground.ask("/poll", ""));
    let first = ground.publish("one");
    ground.publish("two");
    assert_eq!(ground.take(&raw), "one\ntwo\n");
    let stream = ground.take(&sse);
    assert!(stream.contains("\r\nContent-Type: text/event-stream"), "{stream}");
    assert_eq!(data(&stream), ["one", "two"]);
    assert_eq!(events(&stream)[0]["id"], first.to_string());
    let answer = body(&ground.take(&poll));
    let expected = serde_json::json!({
        "events": [
            { "id": first.to_string(), "data": "one" },
            { "id": (first + 1).to_string(), "data": "two" },
        ],
        "next": (first + 1).to_string(),
    });
    assert_eq!(answer, expected);
}

#[test]
fn history_is_what_was_asked_for() {
    let ground = Ground::calm(TailOptions { history: 2, ..TailOptions::default() });
    for line in ["one", "two", "three"] {
        ground.publish(line);
    }
    ground.advance(MS);
    assert_eq!(ground.take(&ground.connect(&ground.raw)), "two\nthree\n");
    assert_eq!(data(&ground.take(&ground.ask("/events", ""))), ["two", "three"]);
    assert_eq!(data(&ground.take(&ground.ask("/events?history=0", ""))), [""; 0]);
    assert_eq!(data(&ground.take(&ground.ask("/events?history=99", ""))), ["one", "two", "three"]);
    assert_eq!(data(&ground.take(&ground.ask("/events?since=0", ""))), ["one", "two", "three"]);
    assert_eq!(body(&ground.take(&ground.ask("/poll?since=0", "")))["events"][2]["data"], "three");
}

#[test]
fn what_is_in_a_line_forges_nothing() {
    let ground = Ground::calm(TailOptions::default());
    let (raw, sse) = (ground.connect(&ground.raw), ground.ask("/events", ""));
    ground.publish("a\rid: 5\revent: gap\rdata: x");
    ground.publish("<script>alert(1)</script>\0");
    ground.publish("");
    let stream = ground.take(&sse);
    assert_eq!(data(&stream), ["a\nid: 5\nevent: gap\ndata: x", "<script>alert(1)</script>\0", ""]);
    assert!(!stream.split_once("\r\n\r\n").unwrap().1.contains('\r'));
    assert_eq!(ground.take(&raw).lines().count(), 3);
}

#[test]
fn a_long_poll_waits_25_seconds_and_says_where_to_go_on() {
    let ground = Ground::calm(TailOptions::default());
    let last = ground.publish("seen");
    let peer = ground.ask(&format!("/poll?since={last}"), "");
    ground.advance(Duration::from_millis(24_990));
    assert_eq!(ground.take(&peer), "");
    ground.advance(10 * MS);
    let answer = ground.take(&peer);
    assert_eq!(status(&answer), 204, "{answer}");
    assert!(answer.contains(&format!("\r\nLast-Event-ID: {last}\r\n")), "{answer}");
    assert!(!answer.contains("Connection: close"), "the connection stays: {answer}");
    // On the same connection, from there.
    peer.write(format!("GET /poll HTTP/1.1\r\nHost: x\r\nLast-Event-ID: {last}\r\n\r\n").as_bytes());
    ground.advance(SECOND);
    let next = ground.publish("new");
    assert_eq!(body(&ground.take(&peer))["next"], next.to_string());
}

#[test]
fn a_line_at_the_moment_of_the_timeout_is_not_passed_over() {
    for micros in (24_998_000..25_003_000).step_by(97) {
        // 1. A poll waits; a line comes at about the moment when its patience ends.
        let ground = Ground::calm(TailOptions::default());
        let since = ground.publish("seen");
        ground.advance(MS);
        let peer = ground.ask(&format!("/poll?since={since}"), "");
        let tail = ground.tail.clone();
        ground.simulation.reactor().call_later(Duration::from_micros(micros), move || {
            tail.feed().publish("new").unwrap();
        });
        ground.advance(26 * SECOND);
        let answer = ground.take(&peer);
        if status(&answer) == 200 {
            assert_eq!(body(&answer)["events"][0]["data"], "new");
            continue;
        }
        // 2. Where the answer said to go on, the line is still to come.
        let next = answer.split("Last-Event-ID: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap();
        let again = ground.take(&ground.ask(&format!("/poll?since={next}"), ""));
        assert_eq!(body(&again)["events"][0]["data"], "new", "{micros}");
    }
}

#[test]
fn a_program_that_stops_answers_a_long_poll_and_ends_the_streams() {
    let ground = Ground::calm(TailOptions::default());
    let (raw, sse, poll) = (ground.connect(&ground.raw), ground.ask("/events", ""), ground.ask("/poll", ""));
    let half_closed = ground.ask("/poll", "");
    half_closed.shutdown_write();
    ground.advance(SECOND);
    ground.simulation.reactor().announce_stop();
    assert_eq!(status(&ground.take(&poll)), 204);
    assert_eq!(status(&ground.take(&half_closed)), 204);
    for peer in [&raw, &sse, &poll] {
        assert!(peer.is_ended());
        assert!(!peer.is_reset());
    }
}

#[test]
fn whoever_comes_back_gets_exactly_what_was_missed() {
    for seed in 0..100 {
        let ground = Ground::new(seed, TailOptions::default());
        let random = |below: u64| ground.simulation.network().random() % below;
        let segment = 1 + random(200) as usize;
        ground.simulation.network().set_conditions(|conditions| {
            conditions.segment_bytes_max = segment;
            conditions.latency = (Duration::from_micros(10), Duration::from_micros(1 + 100 * (seed % 9)));
        });
        let mut seen: Vec<String> = Vec::new();
        let (mut id, mut number) = (ground.publish("the one before").to_string(), 0);
        while number < 200 {
            let peer = ground.ask("/events", &format!("Last-Event-ID: {id}\r\n"));
            for _ in 0..random(20) {
                ground.publish(&format!("line {number}"));
                number += 1;
                ground.advance(Duration::from_micros(random(300)));
            }
            // It is cut off anywhere: what has arrived whole counts, as in a browser.
            let stream = String::from_utf8(peer.take()).unwrap();
            for event in events(&stream) {
                assert!(!event.contains_key("event"), "seed {seed}: a gap in {stream}");
                id.clone_from(&event["id"]);
                seen.push(event["data"].clone());
            }
            peer.reset();
        }
        let peer = ground.ask("/events", &format!("Last-Event-ID: {id}\r\n"));
        ground.advance(10 * MS);
        seen.extend(data(&ground.take(&peer)));
        let expected: Vec<_> = (0..number).map(|number| format!("line {number}")).collect();
        assert_eq!(seen, expected, "seed {seed}");
    }
}

#[test]
fn what_is_gone_is_a_gap_that_says_how_much() {
    let ground = Ground::calm(keeping(3));
    let first = ground.publish("line 0");
    for number in 1..10 {
        ground.publish(&format!("line {number}"));
    }
    ground.advance(MS);
    let stream = ground.take(&ground.ask("/events", &format!("Last-Event-ID: {first}\r\n")));
    let gap = &events(&stream)[0];
    assert_eq!(gap["event"], "gap");
    // Of ten lines one was seen and three are kept.
    let expected = format!("{{\"asked\":\"{first}\",\"resumed\":\"{}\",\"missed\":6}}", first + 6);
    assert_eq!((&gap["data"], &gap["id"]), (&expected, &(first + 6).to_string()));
    assert_eq!(data(&stream), ["line 7", "line 8", "line 9"]);
    let answer = body(&ground.take(&ground.ask(&format!("/poll?since={first}"), "")));
    assert_eq!(answer["gap"]["missed"], 6);
    assert_eq!(answer["events"][0]["data"], "line 7");
}

#[test]
fn an_id_of_the_process_before_is_a_gap_of_unknown_length() {
    let before = Ground::calm(TailOptions::default()).publish("before the restart");
    let ground = Ground::calm(TailOptions::default());
    ground.publish("after");
    for id in [(before - 1).to_string(), "5".to_owned(), "9007199254740991".to_owned(), "no id".to_owned()] {
        let stream = ground.take(&ground.ask("/events", &format!("Last-Event-ID: {id}\r\n")));
        if id.parse() == Ok(before - 1) {
            // Both began at the same moment of their virtual clocks: the place before the first line is known.
            assert_eq!(data(&stream), ["after"]);
            continue;
        }
        let gap = &events(&stream)[0];
        assert_eq!(gap["event"], "gap", "{id}: {stream}");
        assert!(!gap["data"].contains("missed"), "{id}: {stream}");
        assert_eq!(data(&stream), ["after"], "{id}");
    }
}

#[test]
fn silence_is_broken_for_streams_of_events_and_kept_for_raw_viewers() {
    let ground = Ground::calm(TailOptions::default());
    let (raw, sse) = (ground.connect(&ground.raw), ground.ask("/events", ""));
    ground.take(&sse);
    ground.advance(15 * SECOND);
    assert_eq!(ground.take(&sse), ":\n\n");
    ground.advance(Duration::from_secs(24 * 3600));
    assert_eq!(ground.take(&raw), "");
    ground.publish("good morning");
    assert_eq!(ground.take(&raw), "good morning\n");
    assert_eq!(data(&ground.take(&sse)), ["good morning"]);
}

#[test]
fn a_viewer_that_stalls_delays_nobody_and_is_told_what_it_missed() {
    const LINES: usize = 20_000;
    let ground = Ground::calm(keeping(1_000));
    ground.simulation.network().set_conditions(|conditions| conditions.window_bytes = 64 * 1024);
    let (slow_raw, slow_sse) = (ground.connect(&ground.raw), ground.ask("/events", ""));
    let quick = ground.connect(&ground.raw);
    let mut seen = 0;
    for number in 0..LINES {
        ground.publish(&format!("{number:0>100}"));
        if number % 100 == 99 {
            seen += ground.take(&quick).lines().count();
        }
    }
    assert_eq!(seen, LINES, "the quick one has everything, at once");
    assert!(ground.tail.feed().channel().statistics().events <= 1_000);
    let read_on = |peer: &Peer| {
        let mut text = String::new();
        loop {
            let more = ground.take(peer);
            if more.is_empty() {
                return text;
            }
            text.push_str(&more);
        }
    };
    let (mut got, mut lost) = (0, 0);
    for line in read_on(&slow_raw).lines() {
        match line.strip_prefix("--- ").and_then(|rest| rest.split_once(' ')) {
            Some((count, "lines were lost here: this reader was too slow ---")) => {
                lost += count.parse::<usize>().unwrap()
            }
            _ => {
                assert_eq!(line.parse::<usize>().unwrap(), got + lost, "in order, and counted");
                got += 1;
            }
        }
    }
    assert!(lost > 0);
    assert_eq!(got + lost, LINES);
    let stream = read_on(&slow_sse);
    let gaps = events(&stream).into_iter().filter(|event| event.contains_key("event"));
    let missed = |gap: BTreeMap<&str, String>| {
        serde_json::from_str::<serde_json::Value>(&gap["data"]).unwrap()["missed"].as_u64().unwrap() as usize
    };
    assert_eq!(data(&stream).len() + gaps.map(missed).sum::<usize>(), LINES);
}

#[test]
fn the_token_is_wanted_from_everybody() {
    let token = Some("p&ss".to_owned());
    let ground = Ground::calm(TailOptions { token, history: 1, ..TailOptions::default() });
    ground.publish("secret");
    ground.advance(MS);
    for target in
        ["/", "/events", "/poll?since=0", "/status", "/none", "/?token=", "/?token=p", "/?token=p&ss"]
    {
        let answer = ground.take(&ground.ask(target, ""));
        assert_eq!(status(&answer), 401, "{target}: {answer}");
        assert!(!answer.contains("secret"));
    }
    assert_eq!(status(&ground.take(&ground.ask("/?token=p%26ss", ""))), 200);
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let answer = ground.take(&ground.ask("/poll?since=0", &format!("Authorization: {scheme} p&ss\r\n")));
        assert!(answer.contains("secret"), "{answer}");
    }
    for (said, expected) in
        [("p&ss\n", "secret\n"), ("p&ss\r\n", "secret\n"), ("p&s\n", "the first line must be the token\n")]
    {
        let peer = ground.connect(&ground.raw);
        for byte in said.bytes() {
            peer.write(&[byte]);
            ground.advance(MS);
        }
        assert_eq!(ground.take(&peer), expected);
        assert_eq!(peer.is_ended(), expected != "secret\n");
    }
    let endless = ground.connect(&ground.raw);
    endless.write(&[b'x'; 2_000]);
    assert_eq!(ground.take(&endless), "the first line must be the token\n");
}

#[test]
fn whoever_never_says_the_token_is_not_waited_for() {
    let ground = Ground::calm(TailOptions { token: Some("t".to_owned()), ..TailOptions::default() });
    let peer = ground.connect(&ground.raw);
    ground.advance(9 * SECOND);
    assert!(!peer.is_ended());
    ground.advance(SECOND);
    assert!(peer.is_ended());
    assert_eq!(ground.tail.feed().viewers(), 0);
    // One that said it may be silent for ever.
    let peer = ground.connect(&ground.raw);
    peer.write(b"t\n");
    ground.advance(3600 * SECOND);
    assert!(!peer.is_ended());
}

#[test]
fn viewers_are_counted_and_leave_nothing() {
    let ground = Ground::calm(TailOptions::default());
    ground.advance(SECOND);
    let before = ground.simulation.reactor().statistics();
    for _ in 0..3 {
        let peers: Vec<Peer> = (0..50)
            .map(|number| match number % 3 {
                0 => ground.connect(&ground.raw),
                1 => ground.ask("/events", ""),
                _ => ground.ask("/poll", ""),
            })
            .collect();
        assert_eq!(ground.tail.feed().viewers(), 50);
        peers.into_iter().for_each(Peer::reset);
        ground.advance(SECOND);
        assert_eq!(ground.tail.feed().viewers(), 0);
    }
    ground.advance(60 * SECOND);
    let after = ground.simulation.reactor().statistics();
    assert_eq!((after.sources, after.timers), (before.sources, before.timers));
}
