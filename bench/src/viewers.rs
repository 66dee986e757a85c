//! The viewers of a broadcast: thousands of connections that read what they are sent and count it.
//!
//! `scenario::sse` and `scenario::push` connect them, make the server send a line, and wait here until everybody has it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::client;

/// What is sent to everybody: a line of an access log, whose last byte occurs only once in it, so that events can be counted
/// however they are framed and cut.
pub(crate) const LINE: &str = "203.0.113.7 - - [01/Feb/2026:12:00:00 +0000] \"GET /index.html HTTP/1.1\" 200 5120 \
    \"https://example.org/\" \"Mozilla/5.0\" |";

/// The last byte of `LINE`.
const MARK: u8 = b'|';

/// A server that takes longer than this for one line has lost somebody.
const PATIENCE: Duration = Duration::from_secs(20);

const EVENTS: usize = 4096;
const READ_BYTES: usize = 64 * 1024;

/// All the viewers of one server.
pub(crate) struct Viewers {
    poll: Poll,
    streams: Vec<TcpStream>,
    buffer: Vec<u8>,
}

impl Viewers {
    /// Connects so many, one after the other, with these requests; each has seen the head of its answer, which has let it in,
    /// when this returns.
    pub(crate) fn connect(
        address: SocketAddr,
        count: u32,
        request: impl Fn(u32) -> String,
        welcomes: impl Fn(&str) -> bool,
    ) -> io::Result<Viewers> {
        let poll = Poll::new()?;
        let mut streams = Vec::with_capacity(count as usize);
        for number in 0..count {
            let mut stream = client::open(address, number)?;
            stream.write_all(request(number).as_bytes())?;
            let head = client::read_head(&mut stream)?;
            if !welcomes(&head) {
                return Err(io::Error::other(format!("a viewer was answered {head}")));
            }
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(streams.len()), Interest::READABLE)?;
            streams.push(stream);
        }
        Ok(Viewers { poll, streams, buffer: vec![0; READ_BYTES] })
    }

    /// Waits until everybody has received one more line.
    pub(crate) fn wait_line(&mut self) -> io::Result<()> {
        self.wait_lines(self.streams.len())
    }

    /// Waits until so many more lines have come to all of them together.
    pub(crate) fn wait_lines(&mut self, count: usize) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut events = Events::with_capacity(EVENTS);
        let mut missing = count;
        while missing > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::other(format!("{missing} lines of {count} did not come")));
            }
            self.poll.poll(&mut events, Some(left))?;
            for event in &events {
                let seen = drain(&mut self.streams[event.token().0], &mut self.buffer)?;
                missing = missing.checked_sub(seen).ok_or_else(|| io::Error::other("a line came twice"))?;
            }
        }
        Ok(())
    }
}

/// Reads what is there; how many lines ended in it.
fn drain(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut seen = 0;
    loop {
        match stream.read(buffer) {
            Ok(0) => return Err(io::Error::other("a viewer was cut off")),
            Ok(length) => {
                seen += memchr::memchr_iter(MARK, &buffer[..length]).count();
                if length < buffer.len() {
                    return Ok(seen);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(seen),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_occurs_once_and_last() {
        assert_eq!(memchr::memchr_iter(MARK, LINE.as_bytes()).count(), 1);
        assert!(LINE.ends_with(char::from(MARK)));
    }
}
