//! The faces of one channel beside each other: resume, presence, acknowledgements, slow readers.

use ropewalk_channel::{Channel, ChannelOptions, Data, Slow};
use ropewalk_net::Address;
use ropewalk_web::push::{self, Feed};

use super::*;

#[test]
fn one_channel_three_ways() {
    let place = Place::calm(PushOptions::default());
    let first = place.publish("a", "one");
    let sse = place.send(get("/channels/a?last=5", SSE));
    let json = place.send(get("/channels/a?since=0", JSON));
    let poll = place.send(get(&format!("/channels/a?since={first}"), ""));
    let head = place.take(&sse);
    assert!(head.contains("\r\nContent-Type: text/event-stream; charset=utf-8\r\n"), "{head}");
    assert!(head.contains("retry: ") && head.ends_with(&format!("id: {first}\ndata: one\n\n")), "{head}");
    let head = place.take(&json);
    assert!(head.contains("\r\nContent-Type: application/x-ndjson\r\n"), "{head}");
    assert!(head.ends_with(&format!("{{\"id\":\"{first}\",\"data\":\"one\"}}\n")), "{head}");
    assert_eq!(place.take(&poll), "");
    place.channels.channel_now("a").unwrap().publish_now(vec![0xff]).unwrap();
    let second = place.channels.channel_now("a").unwrap().last();
    assert_eq!(place.take(&sse), format!("id: {second}\nevent: binary\ndata: /w==\n\n"));
    assert_eq!(place.take(&json), format!("{{\"id\":\"{second}\",\"base64\":\"/w==\"}}\n"));
    let (status, body) = parts(&place.take(&poll));
    let expected =
        format!("{{\"events\":[{{\"id\":\"{second}\",\"base64\":\"/w==\"}}],\"next\":\"{second}\"}}");
    assert_eq!((status, body), (200, expected));
    place.simulation.advance(16 * SECOND);
    assert_eq!((place.take(&sse).as_str(), place.take(&json).as_str()), (":\n\n", "\n"), "silence is broken");
    let poll = place.send(get(&format!("/channels/a?since={second}"), ""));
    place.simulation.advance(26 * SECOND);
    let answer = place.take(&poll);
    assert!(
        answer.starts_with("HTTP/1.1 204") && answer.contains(&format!("Last-Event-ID: {second}")),
        "{answer}"
    );
}

#[test]
fn resume_by_the_field_before_the_argument_and_gaps_in_every_form() {
    let place = Place::new(1, |simulation| {
        let mut options = ChannelsOptions::default();
        options.channel.retention.events_max = 2;
        (Channels::in_memory(simulation.reactor(), options), PushOptions::default())
    });
    place.be_calm();
    let ids: Vec<EventId> = ["1", "2", "3", "4"].map(|text| place.publish("a", text)).to_vec();
    let fields = format!("{SSE}Last-Event-ID: {}\r\n", ids[2]);
    let resumed = place.get("/channels/a?since=0", &fields);
    assert!(resumed.ends_with(&format!("\n\nid: {}\ndata: 4\n\n", ids[3])), "{resumed}");
    let gap = format!("{{\"asked\":\"{}\",\"resumed\":\"{}\",\"missed\":1}}", ids[0], ids[1]);
    let lost = format!("/channels/a?since={}", ids[0]);
    let sse = place.get(&lost, SSE);
    assert!(sse.contains(&format!("id: {}\nevent: gap\ndata: {gap}\n\nid: {}", ids[1], ids[2])), "{sse}");
    let json = place.get(&lost, JSON);
    assert!(json.contains(&format!("{{\"id\":\"{}\",\"gap\":{gap}}}\n{{\"id\"", ids[1])), "{json}");
    assert!(place.get(&lost, "").ends_with(&format!(",\"gap\":{gap}}}")));
    for made_up in ["x", "99999999999999999", "9007199254740991"] {
        let answer = place.get(&format!("/channels/a?since={made_up}"), "");
        assert!(answer.contains("\"gap\":{\"asked\":\"9007199254740991\""), "{answer}");
    }
}

#[test]
fn presence_over_all_faces() {
    let place = Place::calm(PushOptions::default());
    let presence = || parts(&place.get("/channels/a/presence", "")).1;
    place.publish("a", "x");
    assert_eq!(presence(), "{\"count\":0,\"names\":{}}");
    let ann = place.send(get("/channels/a?name=ann", SSE));
    let again = place.send(get("/channels/a?name=ann", JSON));
    let bob = place.send(get("/channels/a?last=0&ack=bob", ""));
    let nobody = place.send(get("/channels/a", SSE));
    assert_eq!(presence(), "{\"count\":4,\"names\":{\"ann\":2,\"bob\":1}}");
    drop((ann, nobody));
    place.simulation.advance(MS);
    assert_eq!(presence(), "{\"count\":2,\"names\":{\"ann\":1,\"bob\":1}}");
    drop((again, bob));
    // A poll's client may have closed its side only.
    place.simulation.advance(26 * SECOND);
    assert_eq!(presence(), "{\"count\":0,\"names\":{}}");
}

#[test]
fn what_was_not_acknowledged_is_sent_again() {
    for durable in [false, true] {
        let place = Place::new(1, |simulation| {
            let options = ChannelsOptions::default();
            let channels = match durable {
                true => {
                    let journal = SqliteJournal::in_memory(simulation.reactor()).unwrap();
                    Channels::durable(simulation.reactor(), journal, options)
                }
                false => Channels::in_memory(simulation.reactor(), options),
            };
            (channels, PushOptions::default())
        });
        let old = place.publish("a", "before");
        let events = |fields: &str| -> Vec<String> {
            let viewer = place.send(get("/channels/a?ack=ann", &format!("{SSE}{fields}")));
            place.simulation.advance(SECOND);
            let stream = place.take(&viewer);
            stream.lines().filter_map(|line| line.strip_prefix("data: ").map(str::to_owned)).collect()
        };
        assert!(events("").is_empty(), "it begins now");
        let one = place.publish("a", "one");
        let two = place.publish("a", "two");
        assert_eq!(events(""), ["one", "two"], "what came while it was away");
        assert_eq!(events(&format!("Last-Event-ID: {two}\r\n")), ["one", "two"], "sent is not delivered");
        let ack = |id: EventId| place.post(&format!("/channels/a/ack?client=ann&id={id}"), "", "");
        assert_eq!(ack(one), (200, format!("{{\"id\":\"{one}\"}}")));
        assert_eq!(events(""), ["two"]);
        assert_eq!(ack(old), (200, format!("{{\"id\":\"{one}\"}}")), "never backwards");
        assert_eq!(ack(EventId::MAX), (200, format!("{{\"id\":\"{two}\"}}")), "nor beyond the last");
        assert!(events("").is_empty());
        let poll = place.get("/channels/a?ack=eve&since=0", "");
        assert!(poll.contains("before") && poll.contains("two"), "{poll}");
    }
}

#[test]
fn removing_ends_every_stream_and_answers_polls() {
    let place = Place::calm(PushOptions { remove: true, ..PushOptions::default() });
    let id = place.publish("a", "x");
    let sse = place.send(get("/channels/a", SSE));
    let json = place.send(get("/channels/a", JSON));
    let poll = place.send(get(&format!("/channels/a?since={id}"), ""));
    place.take(&sse);
    let gone = place.ask("DELETE /channels/a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(gone.starts_with("HTTP/1.1 204"), "{gone}");
    place.simulation.advance(SECOND);
    assert!(sse.is_ended() && json.is_ended());
    assert!(place.take(&poll).starts_with("HTTP/1.1 204"));
    assert_eq!(parts(&place.get("/channels/a", "")).0, 404);
    let next = place.publish("a", "y");
    assert!(next > id);
    let resumed = place.get(&format!("/channels/a?since={id}"), "");
    assert!(resumed.contains("\"gap\"") && resumed.contains("\"data\":\"y\""), "{resumed}");
}

/// A reader that stalls holds one buffer and delays nobody; then it is told what it missed, or let go of.
#[test]
fn a_stalled_reader_costs_a_buffer_and_is_told_or_let_go_of() {
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
        let stalled = place.send(get("/channels/a", SSE));
        let keen = place.send(get("/channels/a", JSON));
        place.take(&keen);
        place.simulation.network().set_conditions(|conditions| conditions.window_bytes = 64 * 1024);
        let channel = place.channels.channel_now("a").unwrap();
        let mut seen = 0;
        for number in 0..2_000 {
            channel.publish_now(format!("{number} {}", "x".repeat(500))).unwrap();
            if number % 10 == 9 {
                seen += place.take(&keen).lines().count();
            }
        }
        assert_eq!(seen, 2_000, "nobody waits for the stalled one");
        let buffered: usize = place.simulation.reactor().statistics().sources;
        assert!(buffered < 50);
        let stream = place.take(&stalled);
        let rest = place.take(&stalled);
        match slow {
            Slow::Gap => {
                place.simulation.advance(SECOND);
                let all = stream + &rest + &place.take(&stalled);
                assert!(all.contains("event: gap\n") && !stalled.is_ended(), "{}", all.len());
            }
            Slow::Disconnect => assert!(!rest.contains("event: gap\n") && stalled.is_ended()),
        }
    }
}

/// Two workers serve the channels of one: what is published at either is read at both.
#[test]
fn another_worker_serves_the_same_channels() {
    let home = Place::calm(PushOptions::default());
    let way = home.channels.home();
    let simulation = Simulation::new(2);
    let site =
        Site::new(push::following(&way, ChannelsOptions::default(), PushOptions::default())).server(None);
    let at = "tcp:0:interface=127.0.0.1".parse().unwrap();
    let port = ropewalk_net::listen(simulation.reactor(), &at, site).unwrap();
    let Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
    let settle = || {
        for _ in 0..20 {
            simulation.advance(5 * MS);
            home.simulation.advance(5 * MS);
        }
    };
    let send = |request: String| {
        let peer = simulation.network().connect(address);
        simulation.run_until(SECOND, || peer.is_connected());
        peer.write(request.as_bytes());
        settle();
        peer
    };
    let first = home.publish("a", "at home");
    let viewer = send(get("/channels/a?since=0", SSE));
    let here = viewer.text();
    assert!(here.ends_with(&format!("id: {first}\ndata: at home\n\n")), "{here}");
    let at_home = home.send(get("/channels/a", JSON));
    home.take(&at_home);
    let posted =
        send("POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nhere".to_owned());
    let second = home.channels.channel_now("a").unwrap().last();
    assert!(posted.text().ends_with(&format!("{{\"id\":\"{second}\"}}")), "{}", posted.text());
    assert!(viewer.text().ends_with(&format!("id: {second}\ndata: here\n\n")));
    assert_eq!(home.take(&at_home), format!("{{\"id\":\"{second}\",\"data\":\"here\"}}\n"));
}

#[test]
fn a_feed_publishes_at_once_only_where_that_is_possible() {
    let simulation = Simulation::new(1);
    let feed = Feed::new(Channel::in_memory(simulation.reactor(), Retention::default()));
    feed.publish(Data::from("x")).unwrap();
    assert_eq!(feed.channel().statistics().events, 1);
}

/// Who joins between an event and its delivery, in one turn, has it from the history, and not once more.
#[test]
fn joining_in_the_turn_of_an_event_is_hearing_it_once() {
    let simulation = Simulation::new(1);
    let feed = Feed::in_memory(simulation.reactor(), Retention::default());
    let stream = push::sse(&feed, 10);
    let publisher = feed.clone();
    let both = move |request: ropewalk_web::Request| {
        publisher.publish("x").unwrap();
        ropewalk_web::Handler::handle(&stream, request)
    };
    let site = Site::new(ropewalk_web::Router::new().get("/both", both));
    let at = "tcp:0:interface=127.0.0.1".parse().unwrap();
    let port = ropewalk_net::listen(simulation.reactor(), &at, site).unwrap();
    let Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
    let peers: Vec<Peer> = (0..3)
        .map(|_| {
            let peer = simulation.network().connect(address);
            simulation.advance(10 * MS);
            peer.write(get("/both", "").as_bytes());
            simulation.advance(10 * MS);
            peer
        })
        .collect();
    simulation.advance(SECOND);
    for peer in peers {
        assert_eq!(peer.text().matches("data: x\n").count(), 3, "{}", peer.text());
    }
}
