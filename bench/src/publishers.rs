//! Publishers over HTTP: so many connections, each of which publishes its next event when the one before was answered.
//!
//! `scenario::durable` calls it; the messages of a broadcast are published by one connection alone.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::client;
use crate::servers::push::{CHANNEL, publication};

/// A server that takes longer than this for an event has lost it.
const PATIENCE: Duration = Duration::from_secs(20);

const EVENTS: usize = 1024;
const READ_BYTES: usize = 4096;

/// All the publishers of one server.
pub(crate) struct Publishers {
    poll: Poll,
    connections: Vec<Connection>,
    request: String,
}

struct Connection {
    stream: TcpStream,
    /// What has come of an answer.
    answer: Vec<u8>,
}

impl Publishers {
    /// Connects so many; nothing is published yet.
    pub(crate) fn connect(address: SocketAddr, count: usize) -> io::Result<Publishers> {
        let poll = Poll::new()?;
        let mut connections = Vec::with_capacity(count);
        for number in 0..count {
            let stream = client::open(address, number as u32)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
            connections.push(Connection { stream, answer: Vec::new() });
        }
        Ok(Publishers { poll, connections, request: publication(CHANNEL) })
    }

    /// For so long; how many were answered. Nothing is under way when it returns.
    pub(crate) fn publish(&mut self, length: Duration) -> io::Result<u64> {
        for connection in &mut self.connections {
            connection.ask(&self.request)?;
        }
        let (start, mut done, mut waiting) = (Instant::now(), 0, self.connections.len());
        let mut events = Events::with_capacity(EVENTS);
        while waiting > 0 {
            self.poll.poll(&mut events, Some(PATIENCE))?;
            if events.is_empty() {
                return Err(io::Error::other(format!("{waiting} events were not answered")));
            }
            for event in &events {
                let connection = &mut self.connections[event.token().0];
                if !connection.hear()? {
                    continue;
                }
                done += 1;
                if start.elapsed() < length {
                    connection.ask(&self.request)?;
                } else {
                    waiting -= 1;
                }
            }
        }
        Ok(done)
    }
}

impl Connection {
    /// What is written is small, and nothing is before it.
    fn ask(&mut self, request: &str) -> io::Result<()> {
        self.answer.clear();
        self.stream.write_all(request.as_bytes())
    }

    /// Whether the answer is there.
    fn hear(&mut self) -> io::Result<bool> {
        let mut buffer = [0; READ_BYTES];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::Error::other("a publisher was cut off")),
                Ok(length) => self.answer.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        match client::read_response(&mut &self.answer[..]) {
            Ok(response) => response.succeeded().map(|()| true),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn every_answer_is_counted_however_it_is_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut answered = 0;
            while client::read_response(&mut stream).is_ok() {
                for piece in ["HTTP/1.1 201 Created\r\nContent-Len", "gth: 2\r\n\r\n{", "}"] {
                    stream.write_all(piece.as_bytes()).unwrap();
                }
                answered += 1;
            }
            answered
        });
        let mut publishers = Publishers::connect(address, 1).unwrap();
        let done = publishers.publish(Duration::ZERO).unwrap() + publishers.publish(Duration::ZERO).unwrap();
        drop(publishers);
        assert_eq!((done, server.join().unwrap()), (2, 2));
    }
}
