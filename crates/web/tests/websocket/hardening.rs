//! What a hostile client may try. One sentence each.

use ropewalk_web::websocket::{Limits, Options};
use ropewalk_wire::websocket::{Direction, Encoder, Opcode, Pool};

use crate::common::{MS, SECOND};
use crate::support::{Field, KEY, Script, Viewer, fragment, frame};

const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

/// Sends as much as is taken in a while; how much that was.
fn push(field: &Field, viewer: &Viewer, bytes: &[u8], reading: bool) -> usize {
    let mut sent = 0;
    let mut stuck = 0;
    while sent < bytes.len() && stuck < 20 {
        let count = viewer.peer.write(&bytes[sent..]);
        sent += count;
        stuck = if count == 0 { stuck + 1 } else { 0 };
        field.advance(MS);
        if reading {
            viewer.read();
        }
    }
    sent
}

#[test]
fn a_bomb_is_given_up_at_the_limit() {
    let field = Field::echo(Options::default());
    let viewer = field.open_with(DEFLATE);
    let mut bomb = Vec::new();
    let mut encoder = Encoder::new(Some(Direction { takeover: false, bits: 15 }));
    encoder.message(&mut bomb, Opcode::Binary, &vec![0; 100_000_000], Some(KEY), &mut Pool::default());
    assert!(bomb.len() < 1_000_000);
    push(&field, &viewer, &bomb, true);
    assert_eq!(viewer.close_code(), Some(1009));
    assert!(field.log().starts_with("open"), "no message");
}

#[test]
fn many_that_stay_below_the_limit_are_all_taken_a_few_in_a_turn() {
    let field = Field::new(Script::Silent, Options::default());
    let (greedy, other) = (field.open_with(DEFLATE), field.open());
    let mut bombs = Vec::new();
    let mut encoder = Encoder::new(Some(Direction { takeover: false, bits: 15 }));
    encoder.message(&mut bombs, Opcode::Binary, &vec![0; 1_000_000], Some(KEY), &mut Pool::default());
    let mut bombs = bombs.repeat(5);
    bombs.extend(frame(1, b"and that was that"));
    assert_eq!(greedy.peer.write(&bombs), bombs.len());
    other.peer.write(&frame(1, b"excuse me"));
    field.advance(MS);
    assert_eq!(field.log(), "open; open; message excuse me; message and that was that");
}

#[test]
fn an_endless_message_ends_at_the_limit() {
    let limits = Limits { fragments_max: 100, ..Limits::of(10_000) };
    for fragment_of in [vec![b'a'; 100], Vec::new()] {
        let field = Field::echo(Options { limits, ..Options::default() });
        let viewer = field.open();
        let mut sent = fragment(1, b"", false);
        for _ in 0..200 {
            sent.extend(fragment(0, &fragment_of, false));
        }
        push(&field, &viewer, &sent, true);
        assert_eq!(viewer.close_code(), Some(1009), "in fragments of {}", fragment_of.len());
    }
}

#[test]
fn a_flood_of_pings_by_a_client_that_does_not_read_fills_nothing() {
    let field = Field::new(Script::Silent, Options::default());
    let viewer = field.open();
    viewer.peer.set_window(Some(1000));
    let flood = frame(9, &[b'p'; 125]).repeat(40_000);
    let sent = push(&field, &viewer, &flood, false);
    let waiting = field.sockets()[0].buffered();
    assert!(waiting <= 200_000, "{waiting} bytes wait");
    assert!(sent < flood.len() / 2, "the server stops reading: {sent}");
    // And reads on when the client does.
    viewer.peer.set_window(Some(1_000_000));
    for _ in 0..50 {
        viewer.read();
        field.advance(MS);
    }
    let sent = sent + push(&field, &viewer, &flood[sent..], true);
    assert_eq!(sent, flood.len());
    field.advance(SECOND);
    let last = viewer.frames().pop();
    assert_eq!(last, Some((Opcode::Pong, vec![b'p'; 125])));
}

#[test]
fn an_echo_to_a_client_that_does_not_read_stops_reading() {
    let field = Field::echo(Options::default());
    let viewer = field.open();
    viewer.peer.set_window(Some(1000));
    let flood = frame(2, &[7; 10_000]).repeat(500);
    let sent = push(&field, &viewer, &flood, false);
    assert!(sent < 1_500_000, "{sent} of {} were taken", flood.len());
    let waiting = field.sockets()[0].buffered();
    assert!(waiting < 1_000_000, "{waiting} bytes wait");
    viewer.peer.set_window(Some(1_000_000));
    for _ in 0..100 {
        viewer.read();
        field.advance(MS);
    }
    push(&field, &viewer, &flood[sent..], true);
    field.advance(SECOND);
    assert_eq!(viewer.frames().len(), 500, "nothing was lost");
}

#[test]
fn a_frame_that_never_ends_is_found_out_by_the_ping() {
    let field = Field::echo(Options::default());
    let viewer = field.open();
    viewer.peer.write(&frame(1, b"a long story")[..9]);
    field.advance(49 * SECOND);
    assert!(!viewer.peer.is_reset());
    field.advance(2 * SECOND);
    assert!(viewer.peer.is_reset());
    assert_eq!(field.log(), "open; closed 1006 broken");
    field.ends_clean();
}

#[test]
fn a_client_that_goes_on_sending_behind_its_close_is_not_heard() {
    let field = Field::echo(Options::default());
    let viewer = field.open();
    viewer.peer.write(&[frame(8, b"\x03\xe8"), frame(1, b"and another thing").repeat(100)].concat());
    field.advance(MS);
    assert_eq!(viewer.frames(), [(Opcode::Close, b"\x03\xe8".to_vec())]);
    assert!(!viewer.peer.is_reset(), "the Close frame is not overtaken");
    viewer.peer.shutdown_write();
    field.advance(MS);
    assert_eq!(field.log(), "open; closed 1000 clean");
    field.ends_clean();
}

#[test]
fn a_client_that_does_not_leave_is_shown_the_door() {
    let field = Field::echo(Options::default());
    let viewer = field.open();
    viewer.peer.write(&frame(8, b"\x03\xe8"));
    field.advance(3 * SECOND);
    assert_eq!(field.log(), "open; closed 1000 clean");
    field.ends_clean();
}
