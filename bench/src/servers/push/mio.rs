//! The floor of push: the bare loop, which writes the same bytes to every subscriber. Whoever posts anything anywhere publishes to all.
//!
//! The bytes are the ones that this project writes, so that the two differ in nothing but what leads to them.

use std::io;

use super::super::Setup;
use super::super::bare::{self, Connection, Speaker, Then};
use super::{ACCEPT, CHANNEL, MESSAGE};

const STREAM_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\r\n";
const PUBLISHED: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";

/// As long as an id of this project's, which is a time in microseconds at first.
const FIRST_ID: u64 = 1_700_000_000_000_000;

struct Broadcast {
    /// As the last subscriber reads: one server has them all of one kind.
    framed: bool,
    id: u64,
    event: Vec<u8>,
}

impl Speaker for Broadcast {
    fn woken(&mut self) {}

    fn heard(&mut self, connection: &mut Connection, data: &[u8], out: &mut Vec<u8>) -> Then {
        if data.starts_with(b"POST ") {
            out.extend_from_slice(PUBLISHED);
            self.id += 1;
            self.event = if self.framed { frame(self.id) } else { event(self.id) };
            return Then::Broadcast;
        }
        // One that goes on talking is not answered again.
        if !std::mem::replace(&mut connection.viewer, true) {
            self.framed = memchr::memmem::find(data, b"Upgrade: websocket").is_some();
            if self.framed {
                out.extend_from_slice(socket_head().as_bytes());
            } else {
                out.extend_from_slice(STREAM_HEAD);
            }
        }
        Then::GoOn
    }

    fn event(&self) -> &[u8] {
        &self.event
    }
}

fn socket_head() -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    )
}

fn event(id: u64) -> Vec<u8> {
    format!("id: {id}\ndata: {MESSAGE}\n\n").into_bytes()
}

/// A text frame, unmasked, whose length takes the two bytes more (RFC 6455, section 5.2).
fn frame(id: u64) -> Vec<u8> {
    let text = format!("{{\"channel\":\"{CHANNEL}\",\"id\":\"{id}\",\"data\":\"{MESSAGE}\"}}");
    let length = u16::try_from(text.len()).expect("the message is short");
    let mut frame = vec![0x81, 126];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// Broadcasts until it is killed.
pub(in super::super) fn run(setup: Setup) -> io::Result<()> {
    bare::run(setup.listen()?, Broadcast { framed: false, id: FIRST_ID, event: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_says_how_long_it_is() {
        let frame = frame(FIRST_ID);
        assert_eq!(usize::from(u16::from_be_bytes([frame[2], frame[3]])), frame.len() - 4);
        // One message, also for who counts marks.
        assert_eq!(frame.iter().filter(|byte| **byte == b'|').count(), 1);
        assert!(frame.len() - 4 > 125 && frame.ends_with(b"|\"}"));
    }
}
