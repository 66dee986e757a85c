//! A filter: what comes in at standard input goes out at standard output in capitals.
//!
//! Run it with `printf 'a\nb\n' | cargo run --example stdin_shout`, or alone and type. It reads no faster than its reader takes
//! (`yes | cargo run --example stdin_shout | less`), stops when its reader has enough (`| head -1`), and copes with files,
//! terminals and `/dev/null` at both ends.
#![allow(clippy::print_stderr, reason = "a filter has no other place for its complaints")]

use std::process::ExitCode;
use std::rc::Rc;

use ropewalk::net::{Producer, stdio};
use ropewalk::{Lost, Protocol, Reactor, Transport};

/// What is read makes what is written: when the output has more than enough, reading pauses.
struct Reads(Transport);

impl Producer for Reads {
    fn pause_producing(&self) {
        self.0.pause_reading();
    }

    fn resume_producing(&self) {
        self.0.resume_reading();
    }
}

/// Writes what it is given, louder. At the end of the input it closes, once everything is out.
pub struct Shout;

impl Protocol for Shout {
    fn connection_made(&mut self, transport: &Transport) {
        transport.register_producer(Rc::new(Reads(transport.clone())));
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write_with(|out| out.extend(data.iter().map(u8::to_ascii_uppercase)));
    }

    fn connection_lost(&mut self, transport: &Transport, lost: &Lost) {
        // A reader that has enough is no failure of a filter; a full disk is.
        match lost {
            Lost::Broken(error) if error.kind() != std::io::ErrorKind::BrokenPipe => eprintln!("{error}"),
            _ => {}
        }
        transport.reactor().stop();
    }
}

/// Exit code 1 and a line on standard error, if it cannot begin.
pub fn main() -> ExitCode {
    let outcome = Reactor::new().and_then(|reactor| {
        stdio(&reactor, Shout)?;
        reactor.run()
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stdin_shout: {error}");
            ExitCode::FAILURE
        }
    }
}
