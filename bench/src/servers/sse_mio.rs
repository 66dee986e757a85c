//! The floor of the broadcast: the bare loop, which writes the same bytes to every viewer once per tick.
//!
//! `GET /tick` is the tick; whoever asks for anything else becomes a viewer.

use std::io;

use super::Setup;
use super::bare::{self, Connection, Speaker, Then};
use crate::viewers::LINE;

const VIEWER_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\r\n";
const TICK_ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

struct Broadcast {
    id: u64,
    event: Vec<u8>,
}

impl Speaker for Broadcast {
    fn woken(&mut self) {}

    fn heard(&mut self, connection: &mut Connection, data: &[u8], out: &mut Vec<u8>) -> Then {
        if !data.starts_with(b"GET /tick ") {
            // A viewer that goes on talking is not answered again.
            if !std::mem::replace(&mut connection.viewer, true) {
                out.extend_from_slice(VIEWER_HEAD);
            }
            return Then::GoOn;
        }
        out.extend_from_slice(TICK_ANSWER);
        self.id += 1;
        self.event = format!("id: {}\ndata: {LINE}\n\n", self.id).into_bytes();
        Then::Broadcast
    }

    fn event(&self) -> &[u8] {
        &self.event
    }
}

/// Broadcasts until it is killed.
pub(super) fn run(setup: Setup) -> io::Result<()> {
    bare::run(setup.listen()?, Broadcast { id: 0, event: Vec::new() })
}
