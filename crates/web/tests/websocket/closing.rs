//! Every way in which a connection ends, with what its handler and its client are told, and when.

use ropewalk_web::websocket::Options;
use ropewalk_wire::websocket::Opcode;

use crate::common::{MS, SECOND, errors_logged, quietly};
use crate::support::{Field, Script, frame, text};

#[test]
fn the_client_closes() {
    for (payload, log) in [
        (b"".as_slice(), "open; closed 1005 clean"),
        (b"\x03\xe9", "open; closed 1001 clean"),
        (b"\x0f\xa0bye", "open; closed 4000 \"bye\" clean"),
    ] {
        let field = Field::echo(Options::default());
        let viewer = field.open();
        viewer.peer.write(&frame(8, payload));
        field.advance(MS);
        let code = payload.get(..2).unwrap_or_default().to_vec();
        assert_eq!(viewer.frames(), [(Opcode::Close, code)]);
        assert!(viewer.peer.is_ended() && !viewer.peer.is_reset(), "the server closes first (section 7.1.1)");
        viewer.peer.shutdown_write();
        field.advance(MS);
        assert_eq!(field.log(), log);
        field.ends_clean();
    }
}

#[test]
fn the_server_closes_and_waits_for_the_answer() {
    let field = Field::new(Script::Silent, Options::default());
    let viewer = field.open();
    viewer.peer.write(&[frame(1, b"close"), frame(1, b"more"), frame(9, b"?")].concat());
    field.advance(SECOND);
    assert_eq!(viewer.frames(), [(Opcode::Close, b"\x0b\xb9enough".to_vec())]);
    assert!(!viewer.peer.is_ended(), "it waits");
    let socket = field.sockets().remove(0);
    assert!(!socket.is_open());
    socket.send_text("too late");
    socket.close(1000, "again");
    viewer.peer.write(&[frame(1, b"on its way"), frame(8, b"\x0b\xb9")].concat());
    field.advance(MS);
    assert_eq!(viewer.frames().len(), 1, "nothing comes behind a Close frame");
    assert!(viewer.peer.is_ended());
    viewer.peer.shutdown_write();
    field.advance(MS);
    assert_eq!(field.log(), "open; message close; closed 3001 \"enough\" clean");
    drop(socket);
    field.ends_clean();
}

#[test]
fn an_answer_that_does_not_come_is_not_waited_for() {
    let field = Field::new(Script::Silent, Options::default());
    let viewer = field.open();
    viewer.peer.write(&frame(1, b"close"));
    field.advance(9 * SECOND);
    assert!(!viewer.peer.is_reset() && field.log() == "open; message close");
    field.advance(2 * SECOND);
    assert_eq!(field.log(), "open; message close; closed 3001 \"enough\" broken");
    field.ends_clean();
}

#[test]
fn a_client_that_leaves_without_a_word() {
    for reset in [false, true] {
        let field = Field::echo(Options::default());
        let viewer = field.open();
        viewer.peer.write(&[frame(1, b"hi"), frame(1, b"half")[..4].to_vec()].concat());
        field.advance(MS);
        if reset {
            viewer.peer.reset();
        } else {
            // Half a close: it may still read, but has nothing more to say, not even Close.
            viewer.peer.shutdown_write();
            field.advance(MS);
            assert_eq!(viewer.frames(), [text("hi")]);
            assert!(viewer.peer.is_ended());
        }
        field.advance(MS);
        assert_eq!(field.log(), "open; message hi; closed 1006 broken");
        field.ends_clean();
    }
}

#[test]
fn what_the_client_does_wrong_ends_it_with_the_code_that_says_so() {
    let large = vec![b'a'; 1024 * 1024 + 1];
    for (sent, code) in [(b"\x81\x02hi".to_vec(), 1002), (frame(1, b"\xff"), 1007), (frame(2, &large), 1009)]
    {
        let field = Field::echo(Options::default());
        let viewer = field.open();
        viewer.peer.write(&sent[..sent.len().min(60_000)]);
        // What follows is not looked at.
        viewer.peer.write(&frame(1, b"more"));
        field.advance(MS);
        assert_eq!(viewer.close_code(), Some(code));
        assert!(viewer.peer.is_ended() && !viewer.peer.is_reset());
        viewer.peer.shutdown_write();
        field.advance(3 * SECOND);
        let log = field.log();
        assert!(log.starts_with(&format!("open; closed {code} ")) && log.ends_with(" broken"), "{log}");
        field.ends_clean();
    }
}

#[test]
fn a_panic_costs_its_own_connection_and_says_1011() {
    quietly();
    let field = Field::new(Script::Panicking, Options::default());
    let (victim, other) = (field.open(), field.open());
    let logged = errors_logged(|| {
        victim.peer.write(&[frame(1, b"panic"), frame(1, b"more")].concat());
        field.advance(MS);
    });
    assert_eq!((logged, victim.close_code()), (1, Some(1011)));
    assert!(victim.peer.is_ended());
    victim.peer.shutdown_write();
    other.peer.write(&frame(9, b"still there"));
    field.advance(MS);
    assert_eq!(other.frames(), [(Opcode::Pong, b"still there".to_vec())]);
    assert_eq!(field.log(), "open; open; message panic; ping still there");
    other.peer.reset();
    field.ends_clean();
}

#[test]
fn the_end_of_the_program_is_1001() {
    let field = Field::echo(Options::default());
    let viewer = field.open();
    field.ground.reactor().announce_stop();
    field.advance(MS);
    assert_eq!(viewer.close_code(), Some(1001));
    viewer.peer.write(&frame(8, b"\x03\xe9"));
    field.advance(MS);
    assert!(viewer.peer.is_ended());
    viewer.peer.shutdown_write();
    field.advance(MS);
    assert_eq!(field.log(), "open; closed 1001 clean");
    assert_eq!(field.ground.port.statistics().connections, 0);
}

#[test]
fn a_ping_every_thirty_seconds_and_who_does_not_answer_is_gone() {
    let field = Field::echo(Options::default());
    let viewer = field.open();
    let pings = || viewer.frames().iter().filter(|(opcode, _)| *opcode == Opcode::Ping).count();
    field.advance(29 * SECOND);
    assert_eq!(pings(), 0);
    for round in 1..=3 {
        field.advance(2 * SECOND);
        assert_eq!(pings(), round);
        viewer.peer.write(&frame(10, b""));
        field.advance(28 * SECOND);
        assert_eq!(pings(), round);
    }
    // Whatever comes is a sign of life, a message also.
    field.advance(2 * SECOND);
    viewer.peer.write(&frame(1, b"busy"));
    field.advance(30 * SECOND);
    assert_eq!(pings(), 5);
    field.advance(18 * SECOND);
    assert!(!viewer.peer.is_reset());
    field.advance(2 * SECOND);
    assert!(viewer.peer.is_reset());
    assert_eq!(field.log(), "open; pong ; pong ; pong ; message busy; closed 1006 broken");
    field.ends_clean();
}

#[test]
fn without_pings_silence_is_welcome() {
    let field = Field::echo(Options { ping_interval: None, ..Options::default() });
    let viewer = field.open();
    field.advance(3600 * SECOND);
    viewer.peer.write(&frame(1, b"good morning"));
    field.advance(MS);
    assert_eq!(viewer.frames(), [text("good morning")]);
}

#[test]
fn a_client_that_takes_nothing_is_broken_off() {
    let field = Field::new(Script::Silent, Options::default());
    let viewer = field.open();
    viewer.peer.set_window(Some(1000));
    let socket = field.sockets().remove(0);
    for _ in 0..50 {
        socket.send_binary(&[0; 5000]);
    }
    field.advance(50 * SECOND);
    assert!(!viewer.peer.is_reset());
    field.advance(20 * SECOND);
    assert!(field.log().ends_with("closed 1006 broken"), "{}", field.log());
    drop(socket);
    field.ends_clean();
}
