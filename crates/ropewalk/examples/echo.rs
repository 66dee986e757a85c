//! Sends back whatever it is sent: the smallest server there is.
//!
//! Run it with `cargo run --example echo`, and talk to it with `nc 127.0.0.1 7007`: every line comes back. Ctrl-C stops it.
//!
//! Whoever sends and never reads makes it keep what it cannot send back, until the connection is broken off after a minute
//! without progress. The example `proxy` holds such a sender back instead.

use std::process::ExitCode;
use std::rc::Rc;

use ropewalk::{Protocol, Transport};

/// Holds nothing: a connection has no state.
pub struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

fn main() -> ExitCode {
    ropewalk::main("echo", |app| {
        app.serve_factory("echo", "tcp:7007:interface=127.0.0.1".parse()?, |_| Ok(Rc::new(|| Echo)));
        Ok(())
    })
}
