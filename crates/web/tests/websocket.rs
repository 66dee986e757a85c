//! WebSocket in the simulation: the handshake, messages both ways, every way in which a connection ends, and what is bounded.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

#[path = "websocket/clients.rs"]
mod clients;
#[path = "websocket/closing.rs"]
mod closing;
mod common;
#[path = "websocket/conversations.rs"]
mod conversations;
#[path = "websocket/handshakes.rs"]
mod handshakes;
#[path = "websocket/hardening.rs"]
mod hardening;
#[path = "websocket/support.rs"]
mod support;

use common::{MS, SECOND};
use ropewalk_web::websocket::{DeflateOptions, Delivery, Message, Options, Prepared, WebSocket};
use ropewalk_wire::websocket::Opcode;
use support::{Field, Script, frame, packed_frame, text};

#[test]
fn messages_come_and_go_however_they_are_cut() {
    let mut sent = frame(1, b"hello");
    sent.extend(frame(2, &[0, 255, 7]));
    // In two fragments with a Ping between them.
    sent.extend(support::fragment(1, "zwölf".as_bytes(), false));
    sent.extend(frame(9, b"alive?"));
    sent.extend(support::fragment(0, " Boxkämpfer".as_bytes(), true));
    sent.extend(frame(8, &1000u16.to_be_bytes()));
    for step in [1, 2, 3, 7, sent.len()] {
        let field = Field::echo(Options::default());
        let viewer = field.open();
        for piece in sent.chunks(step) {
            viewer.peer.write(piece);
            field.advance(MS);
        }
        let expected = [
            (Opcode::Text, b"hello".to_vec()),
            (Opcode::Binary, vec![0, 255, 7]),
            (Opcode::Pong, b"alive?".to_vec()),
            (Opcode::Text, "zwölf Boxkämpfer".as_bytes().to_vec()),
            (Opcode::Close, 1000u16.to_be_bytes().to_vec()),
        ];
        assert_eq!(viewer.frames(), expected, "in steps of {step}");
        assert!(viewer.peer.is_ended());
        viewer.peer.shutdown_write();
        field.advance(MS);
        let said = "open; message hello; message [0, 255, 7]; ping alive?; message zwölf Boxkämpfer; closed 1000 clean";
        assert_eq!(field.log(), said);
    }
}

#[test]
fn frames_that_come_with_the_request_are_the_first() {
    let field = Field::echo(Options::default());
    let viewer = field.send([support::request(""), frame(1, b"at once")].concat());
    assert!(viewer.head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{}", viewer.head);
    assert_eq!(viewer.frames(), [text("at once")]);
}

#[test]
fn a_hundred_networks_deliver_the_same() {
    for seed in 0..common::SEEDS {
        let field = Field::seeded(seed, Script::Echo, Options::default());
        let random = |below: u64| (field.ground.simulation.network().random() % below) as usize;
        let (window, segment) = (200 + random(400), 1 + random(64));
        field.ground.simulation.network().set_conditions(|conditions| {
            conditions.window_bytes = window;
            conditions.segment_bytes_max = segment;
        });
        let viewer = field.open();
        let mut expected = Vec::new();
        for number in 0..20 {
            let message = format!("{number} ").repeat(number + 1);
            let mut rest = frame(1, message.as_bytes());
            while !rest.is_empty() {
                let count = viewer.peer.write(&rest);
                rest.drain(..count);
                field.advance(MS);
                viewer.read();
            }
            expected.push(text(&message));
        }
        field.advance(SECOND);
        assert_eq!(viewer.frames(), expected, "seed {seed}");
    }
}

#[test]
fn messages_may_come_in_pieces() {
    let options = Options { delivery: Delivery::Pieces, ..Options::default() };
    let field = Field::echo(options);
    let viewer = field.open();
    let whole = frame(1, "grün".as_bytes());
    // In the middle of a character.
    viewer.peer.write(&whole[..9]);
    field.advance(MS);
    viewer.peer.write(&whole[9..]);
    field.advance(MS);
    assert_eq!(field.log(), "open; piece gr; piece ün, the last");
}

#[test]
fn compression_is_agreed_on_and_used_where_it_pays() {
    let long = "all work and no play makes Jack a dull boy. ".repeat(20);
    for takeover in [false, true] {
        let deflate =
            DeflateOptions { own_takeover: takeover, peer_takeover: takeover, ..DeflateOptions::default() };
        let field = Field::echo(Options { deflate: Some(deflate), ..Options::default() });
        let viewer =
            field.open_with("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n");
        let agreed = viewer.head.contains("Sec-WebSocket-Extensions: permessage-deflate");
        assert!(agreed && viewer.head.contains("no_context_takeover") != takeover, "{}", viewer.head);
        viewer.peer.write(&packed_frame(long.as_bytes()));
        viewer.peer.write(&frame(1, b"short"));
        viewer.peer.write(&frame(1, long.as_bytes()));
        field.advance(MS);
        let raw = viewer.read();
        assert!(raw.len() < 200, "{} bytes", raw.len());
        assert_eq!(raw[0], 0xc1, "text, whole, compressed");
        assert_eq!(viewer.unpacked(takeover), [text(&long), text("short"), text(&long)]);
    }
    // A client that does not offer it gets none, and one whose server does not want it neither.
    let field = Field::echo(Options { deflate: None, ..Options::default() });
    let viewer = field.open_with("Sec-WebSocket-Extensions: permessage-deflate\r\n");
    assert!(!viewer.head.contains("Extensions"), "{}", viewer.head);
}

#[test]
fn a_prepared_message_goes_out_at_once_plain_or_compressed() {
    let long = "news ".repeat(200);
    let prepared = Prepared::text(&long);
    let field = Field::echo(Options::default());
    let plain = field.open();
    let packing = field.open_with("Sec-WebSocket-Extensions: permessage-deflate\r\n");
    let sockets = field.sockets();
    sockets.iter().for_each(|socket| socket.send_shared(&prepared));
    assert!(sockets.iter().all(|socket| socket.buffered() == 0), "nothing waits");
    field.advance(MS);
    assert_eq!(plain.frames(), [text(&long)]);
    let raw = packing.read();
    assert!(raw.len() < 40, "{} bytes", raw.len());
    assert_eq!(packing.unpacked(false), [text(&long)]);
    // Where messages refer to those before, one that many share is sent as it is.
    let deflate = DeflateOptions { own_takeover: true, ..DeflateOptions::default() };
    let field = Field::echo(Options { deflate: Some(deflate), ..Options::default() });
    let viewer = field.open_with("Sec-WebSocket-Extensions: permessage-deflate\r\n");
    field.sockets()[0].send_shared(&prepared);
    field.sockets()[0].send_text(&long);
    field.sockets()[0].send_text(&long);
    field.advance(MS);
    assert_eq!(viewer.unpacked(true), [text(&long), text(&long), text(&long)]);
}

#[test]
fn who_is_full_is_told_when_there_is_room() {
    let field = Field::new(Script::Echo, Options::default());
    let viewer = field.open();
    let socket: WebSocket = field.sockets().remove(0);
    viewer.peer.set_window(Some(10_000));
    let mut sent = 0;
    while !socket.is_full() {
        socket.send_binary(&[7; 5000]);
        field.advance(MS);
        sent += 1;
        assert!(sent < 100, "it becomes full");
    }
    assert_eq!(field.log(), "open");
    for _ in 0..200 {
        viewer.read();
        field.advance(MS);
    }
    assert_eq!(field.log(), "open; drained");
    assert_eq!(viewer.frames().len(), sent);
    assert!(!socket.is_full() && socket.buffered() == 0);
}

#[test]
fn a_handle_knows_its_request_as_far_as_it_was_kept() {
    let options = Options {
        keep: vec!["User-Agent".to_owned(), "X-None".to_owned()],
        subprotocols: vec!["b".to_owned(), "a".to_owned()],
        ..Options::default()
    };
    let field = Field::echo(options);
    let viewer = field.open_with("User-Agent: netscape\r\nSec-WebSocket-Protocol: a, b\r\n");
    assert!(viewer.head.contains("Sec-WebSocket-Protocol: b\r\n"), "{}", viewer.head);
    let socket = field.sockets().remove(0);
    assert_eq!(socket.header("user-agent").as_deref(), Some("netscape"));
    assert_eq!((socket.header("x-none"), socket.header("host")), (None, None));
    assert_eq!(socket.target().as_deref(), Some("/socket?a=b"));
    assert_eq!(socket.subprotocol().as_deref(), Some("b"));
    assert!(socket.peer().to_string().starts_with("127.0.0.1"), "{}", socket.peer());
    assert!(socket.is_open() && socket.closed().is_none());
    assert_eq!(Message::Text("é".to_owned()).len(), 2);
}
