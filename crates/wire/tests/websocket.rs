//! The WebSocket codec: what a simple model of an encoder makes of random scripts comes out as it went in, however it is cut; every error
//! and every limit has its close code.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

#[path = "websocket/model.rs"]
mod model;
#[path = "websocket/negotiation.rs"]
mod negotiation;
#[path = "websocket/refusals.rs"]
mod refusals;

use model::{Frame, KEY, Outcome, decode, everyhow};
use proptest::prelude::*;
use ropewalk_wire::websocket::{
    Decoder, Deflate, DeflateOptions, Delivery, Direction, Encoder, Event, Limits, Message, Opcode, Pool,
    Prepared, Role, accept_deflate, encode_close, encode_frame, parse_extensions,
};

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        "\\PC{0,60}".prop_map(Message::Text),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Message::Binary),
    ]
}

/// A message in fragments that are cut anywhere, with Pings between them; and what is to come of it.
fn script(role: Role, message: &Message, cuts: &[usize], pings: u8) -> (Vec<u8>, Vec<Event>) {
    let (mut out, mut expected) = (Vec::new(), Vec::new());
    let bytes = message.as_bytes();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let mut from = 0;
    let opcode = if message.as_text().is_some() { 1 } else { 2 };
    for (index, end) in cuts.iter().copied().chain([bytes.len()]).enumerate() {
        let opcode = if index == 0 { opcode } else { 0 };
        let fin = index == cuts.len();
        out.extend(Frame { fin, ..Frame::new(role, opcode, &bytes[from..end]) }.encode());
        if !fin && pings > index as u8 {
            out.extend(Frame::new(role, 9, &[index as u8; 3]).encode());
            expected.push(Event::Ping(vec![index as u8; 3]));
        }
        from = end;
    }
    expected.push(Event::Message(message.clone()));
    (out, expected)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn messages_come_out_however_they_are_fragmented_and_cut(
        messages in prop::collection::vec(message(), 1..3),
        cuts in prop::collection::vec(any::<usize>(), 0..4),
        pings in 0u8..3,
        server in any::<bool>(),
    ) {
        let role = if server { Role::Server } else { Role::Client };
        let (mut input, mut expected) = (Vec::new(), Vec::new());
        for message in &messages {
            let (bytes, events) = script(role, message, &cuts, pings);
            input.extend(bytes);
            expected.extend(events);
        }
        prop_assert_eq!(everyhow(|| Decoder::new(role), &Limits::default(), &input), Outcome { events: expected, violation: None });
    }

    #[test]
    fn compressed_messages_come_out_with_every_window_and_with_context_or_without(
        texts in prop::collection::vec("[ab]{100,400}", 1..4),
        bits in 8u8..16,
        takeover in any::<bool>(),
    ) {
        let ours = Direction { takeover: takeover && bits > 8, bits };
        let (mut encoder, mut pool) = (Encoder::new(Some(ours)), Pool::default());
        let mut input = Vec::new();
        for text in &texts {
            encoder.message(&mut input, Opcode::Text, text.as_bytes(), Some(KEY), &mut pool);
        }
        let expected = texts.into_iter().map(|text| Event::Message(Message::Text(text))).collect();
        let make = || Decoder::new(Role::Server).with_deflate(Some(ours));
        prop_assert_eq!(everyhow(make, &Limits::default(), &input), Outcome { events: expected, violation: None });
    }

    #[test]
    fn pieces_make_the_message(message in message(), cuts in prop::collection::vec(any::<usize>(), 0..4), step in 1usize..50) {
        let (input, _) = script(Role::Server, &message, &cuts, 0);
        let decoder = Decoder::new(Role::Server).with_delivery(Delivery::Pieces);
        prop_assert_eq!(joined(decode(decoder, &Limits::default(), input.chunks(step))), message.as_bytes());
    }

    #[test]
    fn what_anybody_sends_never_panics_and_is_the_same_however_it_is_cut(input in prop::collection::vec(any::<u8>(), 0..80), deflate in any::<bool>()) {
        let theirs = deflate.then_some(Direction { takeover: false, bits: 15 });
        let limits = Limits { message_bytes_max: 40, frame_bytes_max: 40, fragments_max: 3 };
        for role in [Role::Server, Role::Client] {
            everyhow(|| Decoder::new(role).with_deflate(theirs), &limits, &input);
        }
    }
}

/// The bytes of one message out of its pieces; only the last one may be empty, and text is whole in each.
fn joined(outcome: Outcome) -> Vec<u8> {
    assert_eq!(outcome.violation, None);
    let count = outcome.events.len();
    let mut whole = Vec::new();
    for (index, event) in outcome.events.into_iter().enumerate() {
        let Event::Piece { data, last } = event else { panic!("{event:?} is no piece") };
        assert_eq!(last, index + 1 == count);
        assert!(last || !data.is_empty());
        whole.extend_from_slice(data.as_bytes());
    }
    whole
}

#[test]
fn the_examples_of_the_rfc() {
    // RFC 6455 section 5.7, a server's and a client's.
    let hello = |count| vec![Event::Message(Message::Text("Hello".to_owned())); count];
    let limits = Limits::default();
    for (role, bytes) in [
        (Role::Client, b"\x81\x05Hello".as_slice()),
        (Role::Server, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
        (Role::Client, b"\x01\x03Hel\x80\x02lo"),
    ] {
        let outcome = everyhow(|| Decoder::new(role), &limits, bytes);
        assert_eq!(outcome, Outcome { events: hello(1), violation: None });
    }
    // RFC 7692 section 7.2.3.1 and .2: compressed, whole and in fragments; and the second of two with context takeover.
    let kept = Some(Direction { takeover: true, bits: 15 });
    for (bytes, count) in [
        (b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00".as_slice(), 1),
        (b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00", 1),
        (b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00", 2),
    ] {
        let outcome = everyhow(|| Decoder::new(Role::Client).with_deflate(kept), &limits, bytes);
        assert_eq!(outcome, Outcome { events: hello(count), violation: None }, "{bytes:x?}");
    }
}

#[test]
fn lengths_take_the_form_that_fits() {
    let limits = Limits::of(70_000);
    for (length, head) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10), (70_000, 10)] {
        let mut out = Vec::new();
        encode_frame(&mut out, Opcode::Binary, &vec![7; length], None);
        assert_eq!(out.len(), head + length);
        let outcome = decode(Decoder::new(Role::Client), &limits, out.chunks(10_000));
        assert_eq!(outcome.events, [Event::Message(Message::Binary(vec![7; length]))]);
    }
}

#[test]
fn a_prepared_message_is_what_the_encoder_makes_of_it() {
    let text = "a kettle, ".repeat(40);
    let (prepared, mut pool) = (Prepared::text(&text), Pool::default());
    let mut plain = Vec::new();
    encode_frame(&mut plain, Opcode::Text, text.as_bytes(), None);
    assert_eq!(**prepared.plain(), *plain);
    assert_eq!(prepared.payload(), text.as_bytes());
    let ours = Direction { takeover: false, bits: 15 };
    let mut encoder = Encoder::new(Some(ours));
    assert!(encoder.takes_packed(&prepared));
    let mut packed = Vec::new();
    encoder.message(&mut packed, Opcode::Text, text.as_bytes(), None, &mut pool);
    assert_eq!(**prepared.packed(&mut pool).unwrap(), *packed);
    assert!(packed.len() < 60, "{}", packed.len());
    // Small ones, those that do not get smaller, and those that would not fit the window, go as they are.
    assert!(Prepared::text("short").packed(&mut pool).is_none());
    let mut random = 1u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 24) as u8
    })
    .take(2000)
    .collect();
    assert!(Prepared::binary(&noise).packed(&mut pool).is_none());
    assert!(!Encoder::new(Some(Direction { bits: 8, ..ours })).takes_packed(&prepared));
    assert!(!Encoder::new(Some(Direction { takeover: true, ..ours })).takes_packed(&prepared));
    assert!(!Encoder::new(None).takes_packed(&prepared));
}

#[test]
fn a_compressed_message_in_pieces_takes_no_more_memory_than_a_piece() {
    let ours = Direction { takeover: false, bits: 15 };
    let (mut encoder, mut pool) = (Encoder::new(Some(ours)), Pool::default());
    let mut input = Vec::new();
    let text = "é".repeat(1_000_000);
    encoder.message(&mut input, Opcode::Text, text.as_bytes(), Some(KEY), &mut pool);
    assert!(input.len() < 20_000);
    for step in [1, 7, input.len()] {
        let decoder = Decoder::new(Role::Server).with_deflate(Some(ours)).with_delivery(Delivery::Pieces);
        let outcome = decode(decoder, &Limits::of(2_000_000), input.chunks(step));
        let largest = outcome.events.iter().map(|event| match event {
            Event::Piece { data, .. } => data.len(),
            other => panic!("{other:?}"),
        });
        assert!(largest.max().unwrap() <= 200_000);
        assert_eq!(joined(outcome), text.as_bytes(), "in steps of {step}");
    }
}

#[test]
fn close_frames_say_their_code_and_reasons_are_cut_between_characters() {
    for (code, reason, expected) in [
        (1000, "bye", (1000, "bye".to_owned())),
        (4321, "", (4321, String::new())),
        // Codes that may not be sent go without.
        (1005, "lost", (1005, String::new())),
        (1006, "", (1005, String::new())),
        (1001, &"ü".repeat(100), (1001, "ü".repeat(61))),
    ] {
        for role in [Role::Server, Role::Client] {
            let mut out = Vec::new();
            encode_close(&mut out, code, reason, (role == Role::Server).then_some(KEY));
            // What follows is passed over, whatever it is.
            out.extend_from_slice(b"\xff\xff\xff");
            let outcome = everyhow(|| Decoder::new(role), &Limits::default(), &out);
            let [Event::Close(close)] = &outcome.events[..] else { panic!("{outcome:?}") };
            assert_eq!(
                (close.code, close.reason.clone(), outcome.violation),
                (expected.0, expected.1.clone(), None)
            );
        }
    }
}

#[test]
fn both_sides_agree_on_every_wish() {
    for bits in 0..64u8 {
        let wants = |bits: u8, shift: u8| DeflateOptions {
            own_takeover: bits >> shift & 1 == 1,
            peer_takeover: bits >> (shift + 1) & 1 == 1,
            own_bits: if bits >> (shift + 2) & 1 == 1 { 10 } else { 15 },
            peer_bits: 15,
        };
        let (server, client) = (wants(bits, 0), wants(bits, 3));
        let offer = ropewalk_wire::websocket::offer_deflate(&client);
        let (at_server, answer) = accept_deflate(&parse_extensions(&offer).unwrap(), &server).unwrap();
        let at_client = negotiation::at_client(&client, &answer).unwrap().unwrap();
        assert_eq!(
            at_client,
            Deflate { ours: at_server.theirs, theirs: at_server.ours },
            "{offer} | {answer}"
        );
    }
}
