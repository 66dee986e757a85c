//! A protocol and its tests: cut everywhere, with time moved by hand, against a client that does not read, and with its own client.
//!
//! Run the tests with `cargo test --example testing`, and the server with `cargo run --example testing`; then
//! `nc -C 127.0.0.1 7010` and numbers, one on a line, give their sum so far. Ten silent seconds end it.

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use ropewalk::net::{LineHandler, LineReceiver, LineTransport};

const SILENCE: Duration = Duration::from_secs(10);

/// Adds up what it is told.
#[derive(Default)]
pub struct Adder(i64);

impl LineHandler for Adder {
    fn connection_made(&mut self, transport: &LineTransport<'_>) {
        transport.set_deadline(Some(transport.reactor().now() + SILENCE));
    }

    fn line_received(&mut self, transport: &LineTransport<'_>, line: &[u8]) {
        transport.set_deadline(Some(transport.reactor().now() + SILENCE));
        match String::from_utf8_lossy(line).trim().parse::<i64>() {
            Ok(number) => {
                self.0 = self.0.saturating_add(number);
                transport.send_line(self.0.to_string().as_bytes());
            }
            Err(error) => transport.send_line(format!("no: {error}").as_bytes()),
        }
        if transport.is_full() {
            // A client that does not read its sums gets no more of them.
            transport.lose_connection();
        }
    }
}

fn main() -> ExitCode {
    ropewalk::main("testing", |app| {
        let endpoint = "tcp:7010:interface=127.0.0.1".parse()?;
        app.serve_factory("adder", endpoint, |_| Ok(Rc::new(|| LineReceiver::new(Adder::default()))));
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk::testing::{Wire, couple, split_everywhere};
    use ropewalk::{Protocol, Transport};

    fn adder() -> LineReceiver<Adder> {
        LineReceiver::new(Adder::default())
    }

    #[test]
    fn sums_do_not_depend_on_how_the_network_cuts() {
        let answers = split_everywhere(b"1\r\n22\r\nmany\r\n-3\r\n", |pieces| {
            let wire = Wire::new(adder());
            wire.feed_each(pieces);
            wire.take_written()
        });
        assert_eq!(answers, b"1\r\n23\r\nno: invalid digit found in string\r\n20\r\n");
    }

    #[test]
    fn silence_ends_it_and_leaves_nothing() {
        let wire = Wire::new(adder());
        wire.advance(SILENCE - Duration::from_secs(1));
        wire.feed(b"1\r\n");
        wire.advance(SILENCE - Duration::from_secs(1));
        assert!(!wire.is_closed(), "a line begins the silence anew");
        wire.advance(Duration::from_secs(1));
        assert_eq!(wire.lost().expect("it is closed").to_string(), "timed out: idle");
        wire.bench().assert_clean();
    }

    #[test]
    fn a_client_that_does_not_read_is_not_served_for_ever() {
        let wire = Wire::new(adder());
        wire.write_cap(1000);
        wire.feed(&b"1000000000000\r\n".repeat(10_000));
        assert_eq!(wire.written().len(), 1000);
        assert!(wire.transport().is_closing());
    }

    #[test]
    fn a_client_of_ours_gets_its_sum() {
        struct Client;
        impl Protocol for Client {
            fn connection_made(&mut self, transport: &Transport) {
                transport.write(b"40\r\n2\r\n");
                transport.lose_write_connection();
            }
            fn data_received(&mut self, _: &Transport, _: &[u8]) {}
        }
        assert_eq!(couple(Client, adder()).server().sent(), b"40\r\n42\r\n");
    }
}
