//! Protocols that foreign peers are answered by: one of each kind that the library has.

use std::net::SocketAddr;

use ropewalk::net::{
    DatagramProtocol, DatagramTransport, LineHandler, LineTransport, StringHandler, StringTransport,
};
use ropewalk::reactor::Time;
use ropewalk::{Protocol, Transport};

/// Lines come back in capitals.
pub struct Shout;

impl LineHandler for Shout {
    fn line_received(&mut self, transport: &LineTransport<'_>, line: &[u8]) {
        transport.send_line(&line.to_ascii_uppercase());
    }
}

/// Strings come back the other way round.
pub struct Reverse;

impl StringHandler for Reverse {
    fn string_received(&mut self, transport: &StringTransport<'_>, string: &[u8]) {
        let reversed: Vec<u8> = string.iter().rev().copied().collect();
        transport.send_string(&reversed).unwrap();
    }
}

/// Says nothing until the peer has ended its direction, and then how many bytes came, and in how many milliseconds by the
/// loop's clock.
#[derive(Default)]
pub struct Tally {
    bytes: u64,
    since: Option<Time>,
}

impl Protocol for Tally {
    fn connection_made(&mut self, transport: &Transport) {
        self.since = Some(transport.reactor().now());
    }

    fn data_received(&mut self, _transport: &Transport, data: &[u8]) {
        self.bytes += data.len() as u64;
    }

    fn read_ended(&mut self, transport: &Transport) {
        let took = self.since.map(|since| transport.reactor().now().since(since).as_millis());
        transport.write(format!("{} {}\n", self.bytes, took.unwrap()).as_bytes());
        transport.lose_connection();
    }
}

/// Says who is there.
pub struct Who;

impl Protocol for Who {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(format!("{} said {}", transport.peer(), data.escape_ascii()).as_bytes());
    }
}

/// Datagrams come back.
pub struct Return;

impl DatagramProtocol for Return {
    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: SocketAddr) {
        // One that is not taken is lost, and the peer's question fails.
        let _ = transport.write_to(data, from);
    }
}
