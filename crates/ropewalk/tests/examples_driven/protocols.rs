//! The echo, and the chat: what one says the others get, and who does not read hurts nobody.

use crate::support::{Ground, SECOND, SOON, pattern};
use crate::{chat, echo};
use ropewalk::reactor::Peer;

#[test]
fn echo_comes_back_whole_and_bytewise() {
    let ground = Ground::new(1, || echo::Echo);
    let peer = ground.connect();
    let data = pattern(20_000);
    assert_eq!(peer.write(&data), data.len());
    ground.advance(SECOND);
    assert!(peer.take() == data);
    for byte in &data[..300] {
        peer.write(&[*byte]);
        ground.advance(SOON);
    }
    assert!(peer.take() == data[..300]);
    peer.shutdown_write();
    ground.advance(SOON);
    assert!(peer.is_ended());
}

/// A peer that has joined under a name.
fn join(ground: &Ground, name: &str) -> Peer {
    let peer = ground.connect();
    assert_eq!(peer.take(), b"* welcome; your name?\n");
    assert_eq!(ground.ask(&peer, format!("{name}\r\n").as_bytes()), "");
    peer
}

#[test]
fn chat_relays_to_all_others() {
    let ground = Ground::new(1, chat::chat());
    let ann = join(&ground, "Ann");
    let bob = join(&ground, "Bob");
    let silent = ground.connect();
    assert_eq!(ground.ask(&ann, b"hello\n\n \nis the"), "* Bob has joined\n");
    ground.ask(&ann, "re anybody?\r\n\x1b[2Jzap\n\u{e4}h \x07\n".as_bytes());
    let heard = String::from_utf8(bob.take()).unwrap();
    assert_eq!(heard, "Ann: hello\nAnn: is there anybody?\nAnn: [2Jzap\nAnn: \u{e4}h\n");
    assert_eq!(silent.take(), b"* welcome; your name?\n", "who has no name yet is not in the room");

    bob.shutdown_write();
    assert_eq!(ground.ask(&ann, b"gone?\n"), "* Bob has left\n");
    assert!(bob.is_ended());
    drop(silent);
    ground.advance(SOON);
    assert_eq!(ann.take(), b"", "who had no name leaves without a word");
}

#[test]
fn chat_ends_a_connection_whose_line_is_too_long() {
    let ground = Ground::new(1, chat::chat());
    let ann = join(&ground, "Ann");
    let bob = join(&ground, "Bob");
    ground.ask(&bob, &[b'x'; 1500]);
    assert!(bob.is_ended());
    assert_eq!(ann.take(), b"* Bob has joined\n* Bob has left\n");
}

#[test]
fn a_chat_member_that_stalls_misses_lines_and_delays_nobody() {
    // 1. Slow joins and does not read. Ann says 4,000 lines of 100 bytes, half a megabyte with the names.
    // 2. Bob gets each of them.
    // 3. Slow reads again: it gets what its window and the high-water mark hold, and no more.
    // 4. The next line tells it how many it has missed.
    let ground = Ground::new(1, chat::chat());
    let window = 16 * 1024;
    ground.set_conditions(|conditions| conditions.window_bytes = window);
    let slow = join(&ground, "Slow");
    let bob = join(&ground, "Bob");
    let ann = join(&ground, "Ann");
    slow.take();
    bob.take();
    let line = format!("{}word\n", "word ".repeat(19));
    let heard = format!("Ann: {line}");
    for _ in 0..400 {
        ground.ask(&ann, line.repeat(10).as_bytes());
        assert_eq!(String::from_utf8(bob.take()).unwrap(), heard.repeat(10));
    }
    // Each turn of reading takes a window's worth at most.
    let mut late = Vec::new();
    for _ in 0..40 {
        late.extend(slow.take());
        ground.advance(SOON);
    }
    let late = String::from_utf8(late).unwrap();
    assert!(late.len() <= 64 * 1024 + window + heard.len(), "{} bytes were kept", late.len());
    let lines = late.lines().count();
    assert_eq!(late, heard.repeat(lines));

    ground.ask(&ann, b"still here?\n");
    let missed = 4000 - lines;
    let news = format!("* you were too slow for {missed} lines\nAnn: still here?\n");
    assert_eq!(String::from_utf8(slow.take()).unwrap(), news);
}

#[test]
fn a_chat_member_that_never_reads_again_is_broken_off() {
    let ground = Ground::new(1, chat::chat());
    let slow = join(&ground, "Slow");
    let ann = join(&ground, "Ann");
    let line = [&[b'x'; 900][..], b"\n"].concat();
    for _ in 0..200 {
        ground.ask(&ann, &line);
    }
    ground.advance(61 * SECOND);
    assert_eq!(ground.ask(&ann, b"well?\n"), "* Slow has left\n");
    assert!(slow.is_reset());
}
