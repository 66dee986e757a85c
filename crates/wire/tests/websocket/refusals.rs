//! What is refused, and with which close code; and at which byte.

use ropewalk_wire::websocket::{
    Decoder, Delivery, Direction, Event, Limits, Message, Opcode, Pool, Role, Violation,
};

use crate::model::{Frame, KEY, Outcome, decode, everyhow};

fn frame(opcode: u8, payload: &[u8]) -> Frame<'_> {
    Frame::new(Role::Server, opcode, payload)
}

fn outcome(limits: &Limits, input: &[u8]) -> Outcome {
    everyhow(|| Decoder::new(Role::Server), limits, input)
}

fn code(limits: &Limits, input: &[u8]) -> u16 {
    outcome(limits, input).violation.unwrap_or_else(|| panic!("{input:x?} is not refused")).code()
}

#[test]
fn what_breaks_the_protocol() {
    let limits = Limits::default();
    let text = frame(1, b"hi").encode();
    let begun = Frame { fin: false, ..frame(1, b"hi") }.encode();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a reserved bit", Frame { rsv: 1, ..frame(1, b"") }.encode()),
        ("another", Frame { rsv: 2, ..frame(2, b"") }.encode()),
        ("compression that was not agreed on", Frame { rsv: 4, ..frame(1, b"") }.encode()),
        ("no mask", Frame { key: None, ..frame(1, b"hi") }.encode()),
        ("a fragment of nothing", frame(0, b"hi").encode()),
        ("a message in a message", [begun.clone(), text].concat()),
        ("a control frame that is long", frame(9, &[0; 126]).encode()),
        ("a control frame in fragments", Frame { fin: false, ..frame(9, b"") }.encode()),
        ("a Close frame in fragments", Frame { fin: false, ..frame(8, b"") }.encode()),
        ("a Close frame of a byte", frame(8, b"\x03").encode()),
        ("a length of 125 in two bytes", Frame { form: Some(2), ..frame(1, &[b'a'; 125]) }.encode()),
        ("a length of 65535 in eight", Frame { form: Some(8), ..frame(2, &[0; 200]) }.encode()),
        ("a length with its highest bit", b"\x82\xff\x80\0\0\0\0\0\0\0".to_vec()),
    ];
    for (what, input) in cases {
        assert_eq!(code(&limits, &input), 1002, "{what}");
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        assert_eq!(code(&limits, &frame(opcode, b"").encode()), 1002, "opcode {opcode}");
    }
    for sent in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        assert_eq!(code(&limits, &frame(8, &u16::to_be_bytes(sent)).encode()), 1002, "close code {sent}");
    }
    // A client refuses what is masked.
    let masked = Frame::new(Role::Server, 1, b"hi").encode();
    let refused = everyhow(|| Decoder::new(Role::Client), &limits, &masked);
    assert_eq!(refused.violation.map(Violation::code), Some(1002));
}

#[test]
fn it_is_refused_at_the_first_byte_that_shows_it() {
    let mut pool = Pool::default();
    for (input, at) in [
        (b"\xb1\x85".as_slice(), 1),
        (b"\x83\x85", 1),
        (b"\x89\xfe", 2),
        (b"\x81\x05", 2),
        (b"\x81\xfe\x00\x7d\0", 4),
    ] {
        let mut decoder = Decoder::new(Role::Server);
        let mut refused = (1..=input.len()).filter(|count| {
            let mut byte = &input[count - 1..*count];
            decoder.next(&mut byte, &Limits::default(), &mut pool).is_err()
        });
        assert_eq!(refused.next(), Some(at), "{input:x?}");
    }
}

#[test]
fn text_that_is_none() {
    let limits = Limits::default();
    for bytes in [
        b"\xff".as_slice(),
        b"ab\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"incomplete \xe2\x82",
        b"\x80",
    ] {
        assert_eq!(code(&limits, &frame(1, bytes).encode()), 1007, "{bytes:x?}");
        let reason = [b"\x03\xe8", bytes].concat();
        assert_eq!(code(&limits, &frame(8, &reason).encode()), 1007, "{bytes:x?} as a reason");
        // As bytes it is welcome.
        assert_eq!(outcome(&limits, &frame(2, bytes).encode()).violation, None);
    }
    // At once, in the middle of a frame of which the rest has not come; not only at the message's end.
    let whole = frame(1, b"ab\xf4\x90 and a long rest").encode();
    let mut decoder = Decoder::new(Role::Server);
    let mut begin = &whole[..6 + 4];
    assert_eq!(decoder.next(&mut begin, &limits, &mut Pool::default()), Err(Violation::Text));
    // A character may be cut by a fragment's end.
    let cut = [Frame { fin: false, ..frame(1, b"\xe2\x82") }.encode(), frame(0, b"\xac").encode()].concat();
    assert_eq!(outcome(&limits, &cut).events, [Event::Message(Message::Text("€".to_owned()))]);
}

#[test]
fn what_is_too_big() {
    let limits = Limits { message_bytes_max: 100, frame_bytes_max: 60, fragments_max: 3 };
    let part = |opcode, fin, length: usize| Frame { fin, ..frame(opcode, &vec![b'a'; length]) }.encode();
    let fine = [part(1, false, 50), part(0, true, 50)].concat();
    assert_eq!(outcome(&limits, &fine).violation, None);
    for (what, input) in [
        ("a frame", part(2, true, 61)),
        ("a message", [part(2, false, 60), part(0, true, 41)].concat()),
        ("its last byte", [part(2, false, 50), part(0, false, 50), part(0, true, 1)].concat()),
        ("fragments", [part(1, false, 0), part(0, false, 0), part(0, false, 0), part(0, true, 0)].concat()),
    ] {
        assert_eq!(code(&limits, &input), 1009, "{what}");
    }
    // By the head alone: nobody waits for what will not be taken, and nothing is kept for what was only announced.
    let announced = b"\x82\xff\0\0\0\x01\0\0\0\0\x01\x02\x03\x04";
    assert_eq!(code(&Limits::default(), announced), 1009);
}

#[test]
fn a_bomb_ends_with_its_first_byte_too_many() {
    let theirs = Some(Direction { takeover: false, bits: 15 });
    let mut pool = Pool::default();
    let mut bomb = Vec::new();
    let mut encoder = ropewalk_wire::websocket::Encoder::new(theirs);
    encoder.message(&mut bomb, Opcode::Binary, &vec![0; 30_000_000], Some(KEY), &mut pool);
    assert!(bomb.len() < 400_000, "{}", bomb.len());
    let limits = Limits::default();
    for delivery in [Delivery::Whole, Delivery::Pieces] {
        for step in [1000, bomb.len()] {
            let decoder = Decoder::new(Role::Server).with_deflate(theirs).with_delivery(delivery);
            let refused = decode(decoder, &limits, bomb.chunks(step));
            assert_eq!(refused.violation.map(Violation::code), Some(1009), "{delivery:?}");
            let given: usize = refused
                .events
                .iter()
                .map(|event| match event {
                    Event::Piece { data, .. } => data.len(),
                    other => panic!("{other:?}"),
                })
                .sum();
            assert!(given <= limits.message_bytes_max);
        }
    }
    // Exactly as much as may be is welcome.
    let mut exact = Vec::new();
    encoder.message(&mut exact, Opcode::Binary, &vec![0; 1024 * 1024], Some(KEY), &mut pool);
    let decoder = Decoder::new(Role::Server).with_deflate(theirs);
    let taken = decode(decoder, &limits, exact.chunks(100));
    assert_eq!(
        taken,
        Outcome { events: vec![Event::Message(Message::Binary(vec![0; 1024 * 1024]))], violation: None }
    );
}

#[test]
fn compression_that_is_none() {
    let theirs = Some(Direction { takeover: false, bits: 15 });
    let packed = |bytes| Frame { rsv: 4, ..frame(1, bytes) }.encode();
    let refusal = |input: &[u8]| {
        everyhow(|| Decoder::new(Role::Server).with_deflate(theirs), &Limits::default(), input).violation
    };
    assert_eq!(refusal(&packed(b"\xff\xff\xff")), Some(Violation::Compression));
    // Without takeover the second message cannot refer to the first (RFC 7692 section 7.2.3.2).
    let referring = [packed(b"\xf2\x48\xcd\xc9\xc9\x07\x00"), packed(b"\xf2\x00\x11\x00\x00")].concat();
    assert_eq!(refusal(&referring), Some(Violation::Compression));
    // What is unpacked must be text.
    assert_eq!(refusal(&packed(b"\x00\x01\x00\xfe\xff\xff\x00")), Some(Violation::Text));
    for opcode in [0, 8, 9, 10] {
        let input = Frame { rsv: 4, ..frame(opcode, b"") }.encode();
        assert_eq!(refusal(&input).map(Violation::code), Some(1002), "the bit on opcode {opcode}");
    }
}
