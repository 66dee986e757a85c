//! The bare loop over mio: accept, read into one shared buffer, write once. What is said stands in a `Speaker`.
//!
//! `mio` and `sse_mio` are its speakers. It is what the machine can do with these system calls and nothing else: no deadlines,
//! no limits, no parsing. Registered once, edge-triggered; a short read means drained, as a loop that wants to be fast has it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpListener as StdListener;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// One for all connections.
const READ_BYTES: usize = 64 * 1024;
const EVENTS: usize = 1024;
const LISTENER: Token = Token(usize::MAX);

/// What is said on the connections.
pub(super) trait Speaker {
    /// Once after every sleep.
    fn woken(&mut self);

    /// Bytes have come; what is appended to `out` is written at once.
    fn heard(&mut self, connection: &mut Connection, data: &[u8], out: &mut Vec<u8>) -> Then;

    /// What all viewers get, after a `Then::Broadcast`.
    fn event(&self) -> &[u8];
}

/// What the loop does after the answer.
#[derive(PartialEq, Eq)]
pub(super) enum Then {
    GoOn,
    Broadcast,
}

/// Everything the loop knows of a connection.
pub(super) struct Connection {
    stream: TcpStream,
    /// What the socket did not take; empty, and without memory, almost always.
    pending: Vec<u8>,
    /// For the speaker: how much of the end of a head the last read stopped in.
    pub(super) carry: u8,
    /// For the speaker: gets every broadcast.
    pub(super) viewer: bool,
}

/// Serves until it is killed.
pub(super) fn run(listener: StdListener, mut speaker: impl Speaker) -> io::Result<()> {
    let poll = Poll::new()?;
    let mut listener = TcpListener::from_std(listener);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut server = Loop {
        poll,
        listener,
        connections: Vec::new(),
        free: Vec::new(),
        buffer: vec![0; READ_BYTES],
        out: Vec::with_capacity(READ_BYTES),
    };
    let mut events = Events::with_capacity(EVENTS);
    loop {
        match server.poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        speaker.woken();
        for event in &events {
            if event.token() == LISTENER {
                server.accept()?;
            } else {
                server.serve(event, &mut speaker);
            }
        }
    }
}

struct Loop {
    poll: Poll,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    buffer: Vec<u8>,
    out: Vec<u8>,
}

impl Loop {
    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let key = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(key), both)?;
            self.connections[key] = Some(Connection { stream, pending: Vec::new(), carry: 0, viewer: false });
        }
    }

    fn serve(&mut self, event: &Event, speaker: &mut impl Speaker) {
        let key = event.token().0;
        let Some(connection) = self.connections.get_mut(key).and_then(Option::as_mut) else { return };
        let resumed = event.is_writable() && !connection.pending.is_empty();
        let mut result = if resumed { connection.drain() } else { Ok(()) };
        let mut then = Then::GoOn;
        if result.is_ok() && (resumed || event.is_readable()) {
            match connection.read(&mut self.buffer, &mut self.out, event.is_read_closed(), speaker) {
                Ok(next) => then = next,
                Err(error) => result = Err(error),
            }
        }
        if result.is_err() {
            self.connections[key] = None;
            self.free.push(key);
        }
        if then == Then::Broadcast {
            self.broadcast(speaker.event());
        }
    }

    fn broadcast(&mut self, event: &[u8]) {
        for (key, slot) in self.connections.iter_mut().enumerate() {
            let Some(viewer) = slot.as_mut().filter(|connection| connection.viewer) else { continue };
            if viewer.write(event).is_err() {
                *slot = None;
                self.free.push(key);
            }
        }
    }
}

impl Connection {
    /// Reads until drained, or until an answer is stuck; an error ends the connection, and the end of input is one here.
    fn read(
        &mut self,
        buffer: &mut [u8],
        out: &mut Vec<u8>,
        to_the_end: bool,
        speaker: &mut impl Speaker,
    ) -> io::Result<Then> {
        let mut then = Then::GoOn;
        while self.pending.is_empty() {
            let length = match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            out.clear();
            if speaker.heard(self, &buffer[..length], out) == Then::Broadcast {
                then = Then::Broadcast;
            }
            if !out.is_empty() {
                self.write(out)?;
            }
            if length < buffer.len() && !to_the_end {
                break;
            }
        }
        Ok(then)
    }

    /// Writes once and keeps the rest.
    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.pending.extend_from_slice(data);
            return Ok(());
        }
        let written = self.write_some(data)?;
        self.pending.extend_from_slice(&data[written..]);
        Ok(())
    }

    fn drain(&mut self) -> io::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let written = self.write_some(&pending)?;
        self.pending.extend_from_slice(&pending[written..]);
        Ok(())
    }

    fn write_some(&mut self, data: &[u8]) -> io::Result<usize> {
        match self.stream.write(data) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            result => result,
        }
    }
}
