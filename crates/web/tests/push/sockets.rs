//! The WebSocket face: its messages, its refusals and limits, what is shared, and how it ends.

use ropewalk_channel::Slow;
use ropewalk_web::push::Grant;
use ropewalk_wire::websocket::{
    Decoder, Direction, Event, Limits, Opcode, Pool, Role, encode_close, encode_frame,
};
use serde_json::{Value, json};

use super::*;

pub(crate) const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
pub(crate) const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";

/// What a client makes of the bytes that come.
pub(crate) struct Reading {
    head: Vec<u8>,
    decoder: Decoder,
    pool: Pool,
    pub(crate) bytes: usize,
    pub(crate) closed: Option<u16>,
}

impl Reading {
    pub(crate) fn new(deflate: bool) -> Reading {
        let theirs = deflate.then_some(Direction { takeover: false, bits: 15 });
        let decoder = Decoder::new(Role::Client).with_deflate(theirs);
        Reading { head: Vec::new(), decoder, pool: Pool::default(), bytes: 0, closed: None }
    }

    /// The messages in these bytes, which follow those before.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Vec<Value> {
        let mut rest = bytes;
        while !self.head.ends_with(b"\r\n\r\n") {
            let Some((first, others)) = rest.split_first() else { return Vec::new() };
            self.head.push(*first);
            rest = others;
        }
        assert!(self.head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&self.head));
        self.bytes += rest.len();
        let mut messages = Vec::new();
        while let Some(event) = self.decoder.next(&mut rest, &Limits::default(), &mut self.pool).unwrap() {
            match event {
                Event::Message(message) => {
                    messages.push(serde_json::from_str(message.as_text().unwrap()).unwrap())
                }
                Event::Close(close) => self.closed = Some(close.code),
                _ => {}
            }
        }
        messages
    }
}

/// A client's message as it is sent.
pub(crate) fn framed(message: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    encode_frame(&mut out, Opcode::Text, message.to_string().as_bytes(), Some([1, 2, 3, 4]));
    out
}

struct Client<'a> {
    place: &'a Place,
    peer: Peer,
    reading: Reading,
}

impl<'a> Client<'a> {
    fn connect(place: &'a Place, target: &str) -> Client<'a> {
        Client::with(place, target, "")
    }

    fn with(place: &'a Place, target: &str, fields: &str) -> Client<'a> {
        let peer = place.send(get(target, &format!("{UPGRADE}{fields}")));
        Client { place, peer, reading: Reading::new(fields.contains("deflate")) }
    }

    fn say(&self, message: &Value) {
        self.peer.write(&framed(message));
        self.place.simulation.advance(MS);
    }

    fn hear(&mut self) -> Vec<Value> {
        self.place.simulation.advance(50 * MS);
        self.reading.read(&self.peer.take())
    }

    fn ask(&mut self, message: &Value) -> Value {
        self.say(message);
        let mut answers = self.hear();
        assert_eq!(answers.len(), 1, "{answers:?}");
        answers.remove(0)
    }
}

#[test]
fn many_channels_on_one_connection() {
    for durable in [false, true] {
        let place = Place::new(1, |simulation| {
            let options = ChannelsOptions::default();
            let channels = match durable {
                false => Channels::in_memory(simulation.reactor(), options),
                true => {
                    let journal = SqliteJournal::in_memory(simulation.reactor()).unwrap();
                    Channels::durable(simulation.reactor(), journal, options)
                }
            };
            (channels, PushOptions::default())
        });
        place.be_calm();
        let first = place.publish("a", "one");
        let mut client = Client::connect(&place, "/channels/a?since=0&name=ann");
        let heard = client.hear();
        assert_eq!(heard[0]["subscribed"], "a");
        assert_eq!(heard[1], json!({ "channel": "a", "id": first.to_string(), "data": "one" }));
        let subscribed = client.ask(&json!({ "subscribe": "b", "ref": 7 }));
        assert_eq!((&subscribed["subscribed"], &subscribed["ref"]), (&"b".into(), &7.into()));
        client.say(&json!({ "publish": "b", "base64": "/w==", "ref": "x" }));
        let mut heard = client.hear();
        heard.sort_by_key(|message| message.get("published").is_some());
        assert_eq!((&heard[0]["channel"], &heard[0]["base64"]), (&"b".into(), &"/w==".into()));
        assert_eq!((&heard[1]["published"], &heard[1]["ref"]), (&"b".into(), &"x".into()));
        assert_eq!(heard[0]["id"], heard[1]["id"]);
        let presence = parts(&place.get("/channels/a/presence", "")).1;
        assert_eq!(presence, "{\"count\":1,\"names\":{\"ann\":1}}");
        assert_eq!(client.ask(&json!({ "unsubscribe": "a" })), json!({ "unsubscribed": "a" }));
        place.publish("a", "unheard");
        assert!(client.hear().is_empty() && place.push.viewers() == 1);
        client.say(&json!({ "subscribe": "a", "last": 1 }));
        let heard = client.hear();
        assert_eq!((heard.len(), &heard[1]["data"]), (2, &"unheard".into()));
        drop(client);
        place.simulation.advance(SECOND);
        assert_eq!(place.push.viewers(), 0, "nothing is left of it");
    }
}

#[test]
fn what_is_refused_says_why_and_the_connection_stays() {
    let options = PushOptions { subscriptions_max: 2, ..PushOptions::default() };
    let place = Place::calm(options);
    let mut client = Client::connect(&place, "/channels");
    assert!(client.hear().is_empty(), "it has subscribed to none");
    for (message, code) in [
        (json!([]), "message"),
        (json!({ "publish": "a" }), "message"),
        (json!({ "publish": "a/b", "data": "x" }), "name"),
        (json!({ "subscribe": "" }), "name"),
        (json!({ "subscribe": "a", "name": "a b" }), "name"),
        (json!({ "publish": "a", "data": "x".repeat(1024 * 1024 + 1) }), "too_large"),
        (json!({ "ack": "a", "id": "5" }), "message"),
        (json!({ "ack": "nothing", "id": "5", "client": "ann" }), "unknown"),
    ] {
        let frame = framed(&message);
        let mut sent = 0;
        while sent < frame.len() {
            sent += client.peer.write(&frame[sent..]);
            place.simulation.advance(MS);
        }
        let heard = client.hear();
        assert_eq!((heard.len(), &heard[0]["error"]), (1, &code.into()), "{heard:?}");
        assert!(heard[0]["why"].as_str().is_some_and(|why| !why.is_empty()));
    }
    for name in ["a", "b"] {
        assert_eq!(client.ask(&json!({ "subscribe": name }))["subscribed"], name);
    }
    assert_eq!(client.ask(&json!({ "subscribe": "c" }))["error"], "too_many");
    assert_eq!(client.ask(&json!({ "subscribe": "b" }))["subscribed"], "b", "anew");
    client.ask(&json!({ "unsubscribe": "a" }));
    assert_eq!(client.ask(&json!({ "subscribe": "c" }))["subscribed"], "c");
    let mut binary = Vec::new();
    encode_frame(&mut binary, Opcode::Binary, b"x", Some([0; 4]));
    client.peer.write(&binary);
    assert_eq!(client.hear()[0]["error"], "message");
}

#[test]
fn pages_of_others_and_odd_handshakes_are_answered_in_http() {
    let place = Place::calm(PushOptions { loopback_only: true, ..PushOptions::default() });
    for target in ["/channels/a", "/channels"] {
        let refused = |fields: &str| parts(&place.get(target, &format!("{UPGRADE}{fields}"))).0;
        assert_eq!(refused("Origin: http://evil.example.org\r\n"), 403);
        assert_eq!(refused("Origin: http://localhost\r\n"), 101);
        let no_key = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
        assert_eq!(parts(&place.get(target, no_key)).0, 400);
    }
    // What is no WebSocket is answered as if it had not been asked.
    assert_eq!(parts(&place.get("/channels", "Connection: Upgrade\r\nUpgrade: h2c\r\n")).0, 200);
}

#[test]
fn acknowledged_is_what_the_client_says() {
    let place = Place::calm(PushOptions::default());
    let ids: Vec<EventId> = ["0", "1", "2", "3"].map(|text| place.publish("a", text)).to_vec();
    let mut client = Client::connect(&place, &format!("/channels/a?ack=ann&since={}", ids[0]));
    assert_eq!(client.hear().len(), 4);
    let acknowledged = client.ask(&json!({ "ack": "a", "id": ids[2].to_string() }));
    assert_eq!(acknowledged, json!({ "acknowledged": "a", "id": ids[2].to_string() }));
    drop(client);
    let mut again = Client::connect(&place, "/channels");
    again.say(&json!({ "subscribe": "a", "ack": "ann" }));
    let heard = again.hear();
    assert_eq!((heard.len(), &heard[1]["data"]), (2, &"3".into()), "{heard:?}");
    let other = json!({ "ack": "a", "id": ids[1].to_string(), "client": "bob" });
    assert_eq!(again.ask(&other)["id"], ids[1].to_string());
}

#[test]
fn a_broadcast_is_compressed_for_those_who_take_it() {
    let place = Place::calm(PushOptions::default());
    let mut plain: Vec<Client<'_>> = (0..3).map(|_| Client::connect(&place, "/channels/a")).collect();
    let mut packed: Vec<Client<'_>> = (0..3).map(|_| Client::with(&place, "/channels/a", DEFLATE)).collect();
    for client in plain.iter_mut().chain(&mut packed) {
        assert_eq!(client.hear().len(), 1);
    }
    let channel = place.channels.channel_now("a").unwrap();
    let before: Vec<usize> = packed.iter().map(|client| client.reading.bytes).collect();
    // A batch of three: large, small, large.
    for text in ["large ".repeat(500), "small".to_owned(), "large ".repeat(500)] {
        channel.publish_now(text).unwrap();
    }
    for client in plain.iter_mut().chain(&mut packed) {
        let heard = client.hear();
        let lengths: Vec<usize> = heard.iter().map(|event| event["data"].as_str().unwrap().len()).collect();
        assert_eq!(lengths, [3_000, 5, 3_000]);
    }
    assert!(plain[0].reading.bytes > 6_000);
    assert!(packed.iter().zip(before).all(|(client, before)| client.reading.bytes - before < 400));
}

#[test]
fn a_slow_socket_is_told_what_it_missed_or_let_go_of() {
    for slow in [Slow::Gap, Slow::Disconnect] {
        let place = Place::new(1, |simulation| {
            let channel = ChannelOptions {
                retention: Retention { events_max: 100, ..Retention::default() },
                slow,
                ..ChannelOptions::default()
            };
            let options = ChannelsOptions { channel, ..ChannelsOptions::default() };
            (Channels::in_memory(simulation.reactor(), options), PushOptions::default())
        });
        place.be_calm();
        place.simulation.network().set_conditions(|conditions| conditions.window_bytes = 4_096);
        let mut stalled = Client::connect(&place, "/channels/a");
        stalled.say(&json!({ "subscribe": "b" }));
        stalled.hear();
        let a = place.channels.channel_now("a").unwrap();
        let b = place.channels.channel_now("b").unwrap();
        for number in 0..2_000 {
            a.publish_now(format!("{number} {}", "x".repeat(500))).unwrap();
            if number == 1_000 {
                b.publish_now("beside").unwrap();
            }
            if number % 10 == 0 {
                place.simulation.advance(MS);
            }
        }
        // Behind the 2 000 lies what was sent before it stalled, and then a gap.
        let mut heard = Vec::new();
        for _ in 0..2_000 {
            heard.extend(stalled.hear());
            if stalled.peer.is_ended() || heard.last().is_some_and(|last| last["id"] == a.last().to_string())
            {
                break;
            }
        }
        let gaps = heard.iter().filter(|message| message.get("gap").is_some()).count();
        match slow {
            Slow::Gap => {
                assert!(gaps == 1 && heard.len() < 1_000, "{gaps} gaps, {} messages", heard.len());
                assert_eq!(heard.last().unwrap()["id"], a.last().to_string());
                assert!(
                    heard.iter().any(|message| message["data"] == "beside"),
                    "the other channel has its turn"
                );
            }
            Slow::Disconnect => assert!(gaps == 0 && stalled.peer.is_ended()),
        }
    }
}

#[test]
fn removal_is_told_and_stopping_says_goodbye() {
    let place = Place::calm(PushOptions { remove: true, ..PushOptions::default() });
    place.publish("a", "x");
    let mut client = Client::connect(&place, "/channels/a");
    client.hear();
    place.ask("DELETE /channels/a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let heard = client.hear();
    assert_eq!((&heard[0]["error"], &heard[0]["channel"]), (&"removed".into(), &"a".into()));
    let id = place.publish("a", "y");
    assert!(client.hear().is_empty(), "that was another channel of this name");
    client.say(&json!({ "subscribe": "a", "since": "0" }));
    assert_eq!(client.hear()[1]["id"], id.to_string());
    place.simulation.reactor().announce_stop();
    client.hear();
    assert_eq!(client.reading.closed, Some(1001));
}

#[test]
fn a_grant_is_asked_for_each_message_and_ends() {
    let admit: ropewalk_web::push::Admit = Rc::new(|request| {
        let until = request.reactor().wall_clock() + 10 * SECOND;
        let grant = Grant {
            subscribe: vec!["room:*".to_owned()],
            publish: vec!["room:7".to_owned()],
            until: Some(until),
        };
        // It has to ask somebody first.
        let reactor = request.reactor().clone();
        request.reactor().ensure_deferred(async move {
            reactor.sleep(20 * MS).await;
            ropewalk_reactor::Outcome::Ok(Ok(grant))
        })
    });
    let place = Place::calm(PushOptions { admit: Some(admit), ..PushOptions::default() });
    let mut client = Client::connect(&place, "/channels");
    client.hear();
    assert_eq!(client.ask(&json!({ "subscribe": "room:1" }))["subscribed"], "room:1");
    assert_eq!(client.ask(&json!({ "subscribe": "news" }))["error"], "forbidden");
    assert_eq!(client.ask(&json!({ "publish": "room:1", "data": "x" }))["error"], "forbidden");
    assert_eq!(client.ask(&json!({ "ack": "news", "id": "1", "client": "a" }))["error"], "forbidden");
    assert!(client.ask(&json!({ "publish": "room:7", "data": "x" }))["id"].is_string());
    assert_eq!(parts(&place.get("/channels/news?since=0", "")).0, 403);
    let stream = place.send(get("/channels/room:1", SSE));
    let poll = place.send(get("/channels/room:1?last=0", ""));
    place.simulation.advance(8 * SECOND);
    assert!(client.hear().is_empty() && client.reading.closed.is_none() && !stream.is_ended());
    place.simulation.advance(3 * SECOND);
    assert!(place.take(&poll).starts_with("HTTP/1.1 204"), "it waits no longer than it may");
    client.hear();
    assert_eq!(client.reading.closed, Some(3000));
    assert!(stream.is_ended());
    let mut answer = Vec::new();
    encode_close(&mut answer, 3000, "", Some([0; 4]));
    client.peer.write(&answer);
    place.simulation.advance(SECOND);
    assert!(client.peer.is_ended());
    drop((client, stream));
    place.simulation.advance(SECOND);
    assert_eq!(place.push.viewers(), 0);
}

#[test]
fn a_grant_may_outlive_everybody() {
    for years in [80, 400, 1_000_000] {
        let admit: ropewalk_web::push::Admit = Rc::new(move |request| {
            let until = request.reactor().wall_clock() + Duration::from_secs(years * 365 * 86_400);
            let grant = Grant { until: Some(until), ..Grant::everything() };
            ropewalk_reactor::deferred::succeed(request.reactor(), Ok(grant))
        });
        let place = Place::calm(PushOptions { admit: Some(admit), ..PushOptions::default() });
        place.publish("a", "before");
        place.simulation.advance(100 * SECOND);
        let timers = place.simulation.reactor().statistics().timers;
        let mut client = Client::connect(&place, "/channels/a");
        let stream = place.send(get("/channels/a", SSE));
        client.hear();
        place.take(&stream);
        place.simulation.advance(25 * SECOND);
        let id = place.publish("a", "x").to_string();
        assert_eq!(client.hear()[0]["id"], id, "{years} years");
        assert!(place.take(&stream).contains(&id) && !stream.is_ended());
        drop((client, stream));
        place.simulation.advance(100 * SECOND);
        let left = place.simulation.reactor().statistics().timers;
        assert_eq!(left, timers, "nothing waits for the end of a grant that nobody has");
    }
}

#[test]
fn an_application_that_is_asked_about_requests_keeps_a_socket_to_its_channel() {
    let allow = |_: &ropewalk_web::Request, action: Action, name: &str| match (action, name) {
        (Action::Subscribe, "a" | "b") | (Action::Publish, "b") => Ok(()),
        _ => Err(Response::error(403, "no")),
    };
    let place = Place::calm(PushOptions { allow: Some(Rc::new(allow)), ..PushOptions::default() });
    assert_eq!(parts(&place.get("/channels", UPGRADE)).0, 403);
    for (name, publishes) in [("a", false), ("b", true)] {
        let mut client = Client::connect(&place, &format!("/channels/{name}"));
        client.hear();
        client.say(&json!({ "publish": name, "data": "x" }));
        let refused = client.hear().iter().any(|answer| answer["error"] == "forbidden");
        assert_eq!(refused, !publishes);
        assert_eq!(client.ask(&json!({ "subscribe": "c" }))["error"], "forbidden");
    }
}

#[test]
fn a_flood_of_requests_is_held_back_and_all_are_answered() {
    let place = Place::new(3, |simulation| {
        let journal = MemoryJournal::new(simulation.reactor());
        journal.set_delay(Duration::from_millis(20));
        (Channels::durable(simulation.reactor(), journal, ChannelsOptions::default()), PushOptions::default())
    });
    place.be_calm();
    let mut client = Client::connect(&place, "/channels");
    client.hear();
    let all: Vec<u8> = (0..2_000)
        .flat_map(|number| framed(&json!({ "publish": "a", "data": "x", "ref": number })))
        .collect();
    let (mut sent, mut heard) = (0, Vec::new());
    for _ in 0..2_000 {
        sent += client.peer.write(&all[sent..]);
        heard.extend(client.hear());
        if heard.len() >= 2_000 {
            break;
        }
    }
    let references: Vec<u64> = heard.iter().map(|answer| answer["ref"].as_u64().unwrap()).collect();
    assert_eq!(references, (0..2_000).collect::<Vec<_>>(), "each once, and here in order");
}
