//! The push examples: one channel read three ways, and a room that tells who comes and goes.

use crate::support::{Ground, SOON};
use crate::{one_channel, presence, push_chat};
use ropewalk::Simulation;
use ropewalk::channel::{Channels, ChannelsOptions};
use ropewalk::reactor::Peer;

fn send(ground: &Ground, target: &str, accept: &str) -> Peer {
    let peer = ground.connect();
    peer.write(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n").as_bytes());
    ground.advance(SOON);
    peer
}

fn said(ground: &Ground, peer: &Peer) -> String {
    ground.advance(SOON);
    String::from_utf8(peer.take()).unwrap()
}

#[test]
fn one_channel_is_read_three_ways() {
    let ground = Ground::on(Simulation::new(1), one_channel::site);
    let stream = send(&ground, "/channels/news?since=0", "text/event-stream");
    let lines = send(&ground, "/channels/news?last=1", "application/x-ndjson");
    let poll = send(&ground, "/channels/news?since=0", "*/*");
    let tick = said(&ground, &send(&ground, "/tick", "*/*"));
    assert!(tick.contains("that was "), "{tick}");
    assert!(said(&ground, &stream).contains("says tick\n\n"));
    assert!(said(&ground, &lines).contains("says tick\"}\n"));
    assert!(said(&ground, &poll).contains("{\"events\":[{\"id\":\""));
    let writer = ground.connect();
    writer.write(b"POST /channels/news HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhello, all");
    assert!(said(&ground, &writer).starts_with("HTTP/1.1 201 "));
    assert!(said(&ground, &stream).contains("data: hello, all\n\n"));
    let latest = said(&ground, &send(&ground, "/latest", "*/*"));
    assert!(latest.ends_with("says tick\nhello, all\n"), "{latest}");
}

#[test]
fn a_room_tells_who_comes_and_goes() {
    let ground = Ground::on(Simulation::new(1), |reactor| presence::site(reactor).unwrap());
    let ann = send(&ground, "/channels/room?name=ann", "application/x-ndjson");
    assert!(said(&ground, &ann).contains("\"data\":\"ann is here\"}\n"));
    let bob = send(&ground, "/channels/room?name=bob", "application/x-ndjson");
    assert!(said(&ground, &ann).contains("\"data\":\"bob is here\"}\n"));
    let there = said(&ground, &send(&ground, "/channels/room/presence", "*/*"));
    assert!(there.ends_with("{\"count\":2,\"names\":{\"ann\":1,\"bob\":1}}"), "{there}");
    drop(bob);
    assert!(said(&ground, &ann).contains("\"data\":\"bob has left\"}\n"));
}

#[test]
fn a_chat_is_channels_and_a_page() {
    let ground = Ground::on(Simulation::new(1), |reactor| {
        push_chat::site(&Channels::in_memory(reactor, ChannelsOptions::default()))
    });
    let page = said(&ground, &send(&ground, "/", "text/html"));
    assert!(page.contains("from '/ropewalk.js'"), "{page}");
    assert!(said(&ground, &send(&ground, "/ropewalk.js", "*/*")).contains("export const subscribe"));
    let ann = send(&ground, "/channels/room:lobby", "text/event-stream");
    let post = |name: &str| {
        let peer = ground.connect();
        let head =
            format!("POST /channels/{name} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nbob: hi!");
        peer.write(head.as_bytes());
        said(&ground, &peer)
    };
    assert!(post("room:lobby").starts_with("HTTP/1.1 201 "));
    assert!(said(&ground, &ann).contains("data: bob: hi!\n\n"));
    assert!(post("other").starts_with("HTTP/1.1 403 "));
}
