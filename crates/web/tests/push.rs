//! Channels over HTTP: what each request is answered, in memory and with a journal, and every refusal.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;
#[path = "push/faces.rs"]
mod faces;
#[path = "push/model.rs"]
mod model;
#[path = "push/sockets.rs"]
mod sockets;
#[path = "push/tokens.rs"]
mod tokens;
#[path = "push/workers.rs"]
mod workers;

use std::rc::Rc;
use std::time::Duration;

use common::{Ground, MS, SECOND};
use ropewalk_channel::{
    ChannelOptions, Channels, ChannelsOptions, EventId, MemoryJournal, Retention, SqliteJournal,
};
use ropewalk_reactor::{Peer, Simulation};
use ropewalk_web::push::{Action, Push, PushOptions};
use ropewalk_web::{Response, Site};

/// A service in a simulation, with its own reactor: channels must live where the site does.
struct Place {
    simulation: Simulation,
    channels: Channels,
    push: Push,
    address: std::net::SocketAddr,
    _port: ropewalk_net::Port,
}

impl Place {
    fn new(seed: u64, make: impl FnOnce(&Simulation) -> (Channels, PushOptions)) -> Place {
        let simulation = Simulation::new(seed);
        let (channels, options) = make(&simulation);
        let push = Push::new(&channels, options);
        let site = Site::new(push.handler()).server(None);
        let at = "tcp:0:interface=127.0.0.1".parse().unwrap();
        let port = ropewalk_net::listen(simulation.reactor(), &at, site).unwrap();
        let ropewalk_net::Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
        Place { simulation, channels, push, address, _port: port }
    }

    /// In memory, with a calm network.
    fn calm(options: PushOptions) -> Place {
        let place = Place::new(1, |simulation| {
            (Channels::in_memory(simulation.reactor(), ChannelsOptions::default()), options)
        });
        place.be_calm();
        place
    }

    fn be_calm(&self) {
        self.simulation.network().set_conditions(|conditions| {
            conditions.latency = (Duration::from_micros(1), Duration::from_micros(1));
        });
    }

    fn connect(&self) -> Peer {
        let peer = self.simulation.network().connect(self.address);
        assert!(self.simulation.run_until(SECOND, || peer.is_connected()), "the server accepts");
        peer
    }

    fn send(&self, request: impl AsRef<[u8]>) -> Peer {
        let peer = self.connect();
        let (mut sent, request) = (0, request.as_ref());
        while sent < request.len() && !peer.is_ended() {
            sent += peer.write(&request[sent..]);
            self.simulation.advance(MS);
        }
        peer
    }

    fn take(&self, peer: &Peer) -> String {
        self.simulation.advance(5 * MS);
        common::undated(&peer.take())
    }

    fn ask(&self, request: impl AsRef<[u8]>) -> String {
        let peer = self.send(request);
        // A journal on disk takes a moment.
        let answers = (0..100).map(|_| self.take(&peer));
        answers.into_iter().find(|answer| !answer.is_empty()).unwrap_or_default()
    }

    fn get(&self, target: &str, fields: &str) -> String {
        self.ask(get(target, fields))
    }

    /// The status and the body of what is answered to a POST.
    fn post(&self, target: &str, fields: &str, body: impl AsRef<[u8]>) -> (u16, String) {
        let body = body.as_ref();
        let mut request = format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        parts(&self.ask(request))
    }

    fn publish(&self, name: &str, text: &str) -> EventId {
        let (status, body) = self.post(&format!("/channels/{name}"), "Content-Type: text/plain\r\n", text);
        assert_eq!(status, 201, "{body}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        body["id"].as_str().unwrap().parse().unwrap()
    }
}

fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}

/// The status and the body.
fn parts(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    (head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0), body.to_owned())
}

const SSE: &str = "Accept: text/event-stream\r\n";
const JSON: &str = "Accept: application/x-ndjson\r\n";

#[test]
fn a_body_becomes_an_event_as_its_type_says() {
    let place = Place::calm(PushOptions::default());
    let post = |content_type: &str, body: &[u8]| {
        let field =
            if content_type.is_empty() { String::new() } else { format!("Content-Type: {content_type}\r\n") };
        place.post("/channels/a", &field, body)
    };
    for content_type in [
        "",
        "text/plain",
        "text/plain; charset=UTF-8",
        "application/json",
        "application/x-www-form-urlencoded",
    ] {
        let (status, body) = post(content_type, "{\"grüße\":1}".as_bytes());
        assert_eq!(status, 201, "{content_type}: {body}");
        assert_eq!(post(content_type, b"\xff").0, 400, "{content_type}");
    }
    assert_eq!(post("application/octet-stream", b"\xff\x00").0, 201);
    assert_eq!(post("image/png", b"\xff").0, 201);
    assert_eq!(post("text/plain; charset=latin1", b"x").0, 415);
    assert_eq!(post("multipart/form-data; boundary=x", b"--x--").0, 415);
    assert_eq!(post("text/plain", b"").0, 201, "an empty text is an event");
    let (_, body) = parts(&place.get("/channels/a?since=0", ""));
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let events = body["events"].as_array().unwrap();
    assert_eq!(events.len(), 8);
    assert_eq!((&events[0]["data"], &events[5]["base64"]), (&"{\"grüße\":1}".into(), &"/wA=".into()));
    assert_eq!(body["next"], events[7]["id"]);
}

#[test]
fn every_refusal_has_its_status() {
    let place = Place::new(1, |simulation| {
        let journal = MemoryJournal::new(simulation.reactor());
        journal.set_delay(MS);
        let tiny = ChannelOptions { event_bytes_max: 10, ..ChannelOptions::default() };
        let options = ChannelsOptions {
            channels_max: 2,
            waiting_bytes_max: 300,
            memory_bytes_max: 2_000,
            patterns: vec![
                ("tiny".to_owned(), tiny),
                ("quiet".to_owned(), ChannelOptions { clients_max: 0, ..ChannelOptions::default() }),
            ],
            ..ChannelsOptions::default()
        };
        (Channels::durable(simulation.reactor(), journal, options), PushOptions::default())
    });
    place.be_calm();
    assert_eq!(place.post("/channels/tiny", "", "12345678901").0, 413);
    assert_eq!(place.post("/channels/tiny", "", "1234567890").0, 201);
    assert_eq!(place.post("/channels/a%20b", "", "x").0, 400);
    assert_eq!(place.post("/channels/a%2Fb", "", "x").0, 400);
    assert_eq!(place.post("/channels/quiet", "", "y").0, 201);
    assert_eq!(place.post("/channels/third", "", "x").0, 503, "so many channels");
    assert_eq!(place.post("/channels/quiet", "", "x".repeat(301)).0, 503, "so much that waits");
    let statuses: Vec<u16> = (0..8).map(|_| place.post("/channels/quiet", "", "x".repeat(290)).0).collect();
    assert!(statuses.starts_with(&[201, 201]) && statuses.ends_with(&[507]), "{statuses:?}");
    assert_eq!(place.post("/channels/quiet/ack?client=ann&id=1", "", "").0, 404, "acknowledgements are off");
    assert_eq!(place.post("/channels/tiny/ack?client=ann", "", "").0, 400);
    assert_eq!(place.post("/channels/tiny/ack?client=ann&id=x", "", "").0, 400);
    assert_eq!(place.post("/channels/none/ack?client=ann&id=1", "", "").0, 404);
    for (target, status) in [
        ("/channels/none", 404),
        ("/channels/none/presence", 404),
        ("/channels/tiny", 200),
        ("/channels", 200),
    ] {
        assert_eq!(parts(&place.get(target, "")).0, status, "{target}");
    }
    assert_eq!(parts(&place.get("/channels/tiny?since=0&name=a%20b", SSE)).0, 400, "no name of anybody");
    assert_eq!(parts(&place.ask("DELETE /channels/tiny HTTP/1.1\r\nHost: localhost\r\n\r\n")).0, 403);
    let options = place.ask("OPTIONS /channels/tiny HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(options.starts_with("HTTP/1.1 204") && options.contains("POST"), "{options}");
    let head = place.ask("HEAD /channels/tiny HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("\r\nLast-Event-ID: "), "{head}");
    let head = place.ask(format!("HEAD /channels/tiny HTTP/1.1\r\nHost: localhost\r\n{SSE}\r\n"));
    assert!(
        head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n") && place.push.viewers() == 0,
        "{head}"
    );
}

#[test]
fn a_journal_that_fails_is_an_incident_and_nobody_sees_the_event() {
    let mut kept = None;
    let place = Place::new(1, |simulation| {
        let journal = MemoryJournal::new(simulation.reactor());
        kept = Some(journal.clone());
        let channels = Channels::durable(simulation.reactor(), journal, ChannelsOptions::default());
        (channels, PushOptions::default())
    });
    place.be_calm();
    place.publish("a", "one");
    let viewer = place.send(get("/channels/a", SSE));
    place.take(&viewer);
    kept.as_ref().unwrap().set_failing(100);
    let errors = common::errors_logged(|| {
        let (status, body) = place.post("/channels/a", "", "two");
        assert!(status == 500 && body.contains("incident"), "{status} {body}");
    });
    assert_eq!(errors, 1);
    kept.unwrap().set_failing(0);
    let id = place.publish("a", "three");
    assert_eq!(place.take(&viewer), format!("id: {id}\ndata: three\n\n"));
}

#[test]
fn pages_of_other_origins_and_names_of_others_are_refused() {
    let options = PushOptions {
        loopback_only: true,
        origins: vec!["https://app.example.org".to_owned()],
        ..PushOptions::default()
    };
    let place = Place::calm(options);
    let post = |host: &str, origin: &str| {
        let origin = if origin.is_empty() { String::new() } else { format!("Origin: {origin}\r\n") };
        let request =
            format!("POST /channels/a HTTP/1.1\r\nHost: {host}\r\n{origin}Content-Length: 1\r\n\r\nx");
        parts(&place.ask(request)).0
    };
    for (host, origin, status) in [
        ("localhost", "", 201),
        ("localhost:8080", "http://localhost:8080", 201),
        ("127.0.0.1:8080", "http://127.0.0.1:8080", 201),
        ("[::1]:8080", "", 201),
        ("localhost", "https://app.example.org", 201),
        ("localhost", "https://evil.example.org", 403),
        ("localhost:8080", "http://localhost:9090", 403),
        ("localhost", "null", 403),
        ("evil.example.org", "", 403),
        ("evil.example.org:8080", "http://evil.example.org:8080", 403),
        ("127.0.0.1.nip.io", "", 403),
    ] {
        assert_eq!(post(host, origin), status, "{host} from {origin}");
    }
    let rebound = "GET /channels/a?since=0 HTTP/1.1\r\nHost: evil.example.org\r\n\r\n";
    assert_eq!(parts(&place.ask(rebound)).0, 403);
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\nOrigin: http://evil.example.org\r\n";
    assert_eq!(parts(&place.get("/channels/a", upgrade)).0, 403);
}

#[test]
fn who_may_do_what_is_asked_first() {
    let allow = |request: &ropewalk_web::Request, action: Action, name: &str| {
        let known = request.header("x-user") == Some("ann");
        let open = action == Action::Subscribe && name == "open";
        if known || open { Ok(()) } else { Err(Response::error(401, "who are you")) }
    };
    let options = PushOptions {
        allow: Some(Rc::new(allow)),
        upgrade: Some(Rc::new(|push, _, name| {
            let known = push.channels().knows(name);
            ropewalk_web::Answer::Now(Response::text(format!("{name} {known}")).status(426))
        })),
        remove: true,
        ..PushOptions::default()
    };
    let place = Place::calm(options);
    assert_eq!(place.post("/channels/open", "", "x").0, 401);
    assert_eq!(place.post("/channels/open", "X-User: ann\r\n", "x").0, 201);
    assert_eq!(parts(&place.get("/channels/open?since=0", "")).0, 200);
    for target in ["/channels", "/channels/open/presence", "/channels/other?since=0"] {
        assert_eq!(parts(&place.get(target, "")).0, 401, "{target}");
    }
    assert_eq!(place.post("/channels/open/ack?client=a&id=1", "", "").0, 401);
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    assert_eq!(parts(&place.get("/channels/open", upgrade)), (426, "open true".to_owned()));
    assert_eq!(parts(&place.get("/channels/other", upgrade)).0, 401);
    let remove = |user: &str| {
        parts(
            &place
                .ask(format!("DELETE /channels/open HTTP/1.1\r\nHost: localhost\r\nX-User: {user}\r\n\r\n")),
        )
        .0
    };
    assert_eq!((remove("bob"), remove("ann"), remove("ann")), (401, 204, 404));
}

#[test]
fn the_list_says_what_there_is_and_goes_on() {
    let place = Place::new(1, |simulation| {
        let journal = SqliteJournal::in_memory(simulation.reactor()).unwrap();
        let options = ChannelsOptions {
            channel: ChannelOptions {
                retention: Retention { events_max: 2, ..Retention::default() },
                ..ChannelOptions::default()
            },
            ..ChannelsOptions::default()
        };
        (Channels::durable(simulation.reactor(), journal, options), PushOptions::default())
    });
    let ids: Vec<EventId> = (0..3).map(|_| place.publish("busy", "four")).collect();
    place.publish("also", "x");
    let list = |target: &str| -> serde_json::Value {
        serde_json::from_str(&parts(&place.get(target, "")).1).unwrap()
    };
    let all = list("/channels");
    let names: Vec<_> = all["channels"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!((names, &all["more"]), (vec!["also".into(), "busy".into()], &false.into()));
    let busy = &all["channels"][1];
    assert_eq!((&busy["events"], &busy["bytes"], &busy["durable"]), (&2.into(), &8.into(), &true.into()));
    assert_eq!(busy["last"], ids[2].to_string());
    assert!(busy["rate"].as_f64().unwrap() > 0.0);
    assert_eq!(list("/channels?after=also")["channels"].as_array().unwrap().len(), 1);
    assert_eq!(list("/channels/busy"), *busy);
}

#[test]
fn a_site_is_left_clean() {
    let ground = Ground::of(ropewalk_web::Router::new());
    ground.is_clean();
    let place = Place::calm(PushOptions::default());
    place.simulation.advance(SECOND);
    let before = place.simulation.reactor().statistics();
    let viewers: Vec<Peer> =
        [SSE, JSON].iter().map(|accept| place.send(get("/channels/a?name=ann", accept))).collect();
    let poll = place.send(get("/channels/a?since=0&name=bob", ""));
    place.simulation.advance(SECOND);
    assert_eq!(place.push.viewers(), 3);
    drop((viewers, poll));
    place.simulation.advance(100 * SECOND);
    let after = place.simulation.reactor().statistics();
    assert_eq!((after.sources, after.timers), (before.sources, before.timers), "nothing is left of them");
    assert_eq!((place.push.viewers(), place.channels.statistics().channels), (0, 0));
}
