//! The floor that everything is measured against: the bare loop with a ready-made answer.

use std::io;

use super::Setup;
use super::bare::{self, Connection, Speaker, Then};
use crate::canned::Answer;

struct Hello(Answer);

impl Speaker for Hello {
    fn woken(&mut self) {
        self.0.refresh();
    }

    fn heard(&mut self, connection: &mut Connection, data: &[u8], out: &mut Vec<u8>) -> Then {
        self.0.respond(&mut connection.carry, data, out);
        Then::GoOn
    }

    fn event(&self) -> &[u8] {
        b""
    }
}

/// Answers hello until it is killed.
pub(super) fn run(setup: Setup) -> io::Result<()> {
    bare::run(setup.listen()?, Hello(Answer::new()))
}
