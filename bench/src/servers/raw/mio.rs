//! The floor of `echo` and `stream`: system calls and a loop. Registered once, edge-triggered; a short read means drained.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::{PIECE, PIECE_BYTES, Way};
use crate::servers::Setup;

const EVENTS: usize = 1024;
const LISTENER: Token = Token(usize::MAX);

/// Reads or writes of one connection before the others have theirs: tokio's budget. Fewer in a row cost more, of the kernel's time.
const STEPS: u32 = 128;

struct Connection {
    stream: TcpStream,
    /// It is on the list of those that have something to do.
    listed: bool,
    /// The peer's end came with an event: a short read is not the last one.
    to_the_end: bool,
    /// What came and could not be sent back yet.
    pending: Vec<u8>,
    taken: u64,
}

struct Loop {
    way: Way,
    poll: Poll,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    buffer: Vec<u8>,
}

/// Serves until it is killed.
pub(in crate::servers) fn run(setup: Setup) -> io::Result<()> {
    let poll = Poll::new()?;
    let mut listener = TcpListener::from_std(super::listen(&setup)?);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let buffer = vec![0; PIECE_BYTES];
    let mut server = Loop { way: setup.way, poll, listener, connections: Vec::new(), buffer };
    let mut events = Events::with_capacity(EVENTS);
    let mut listed: Vec<usize> = Vec::new();
    loop {
        let timeout = (!listed.is_empty()).then_some(Duration::ZERO);
        match server.poll.poll(&mut events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in &events {
            if event.token() == LISTENER {
                server.accept()?;
            } else if let Some(Some(connection)) = server.connections.get_mut(event.token().0) {
                connection.to_the_end |= event.is_read_closed();
                if !std::mem::replace(&mut connection.listed, true) {
                    listed.push(event.token().0);
                }
            }
        }
        listed.retain(|key| server.serve(*key));
    }
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
            let key = self.connections.iter().position(Option::is_none).unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(key), both)?;
            self.connections[key] =
                Some(Connection { stream, listed: false, to_the_end: false, pending: Vec::new(), taken: 0 });
        }
    }

    /// Whether it is to stay on the list; an error ends it.
    fn serve(&mut self, key: usize) -> bool {
        let Some(connection) = self.connections.get_mut(key).and_then(Option::as_mut) else { return false };
        let more = (0..STEPS).try_fold(true, |more, _| {
            if more { connection.step(self.way, &mut self.buffer) } else { Ok(false) }
        });
        match more {
            Ok(more) => connection.listed = more,
            Err(_) => self.connections[key] = None,
        }
        more.unwrap_or(false)
    }
}

impl Connection {
    /// One piece; whether there may be another before the next event.
    fn step(&mut self, way: Way, buffer: &mut [u8]) -> io::Result<bool> {
        match way {
            Way::Echo => self.echo(buffer),
            Way::Take => self.take(buffer),
            Way::Give => Ok(self.write_some(&PIECE)? == PIECE.len()),
        }
    }

    fn echo(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        if !self.pending.is_empty() {
            let pending = std::mem::take(&mut self.pending);
            let written = self.write_some(&pending)?;
            self.pending.extend_from_slice(&pending[written..]);
            return Ok(self.pending.is_empty());
        }
        let Some(count) = self.read_some(buffer)? else { return Ok(false) };
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let written = self.write_some(&buffer[..count])?;
        self.pending.extend_from_slice(&buffer[written..count]);
        Ok((count == buffer.len() || self.to_the_end) && self.pending.is_empty())
    }

    fn take(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let Some(count) = self.read_some(buffer)? else { return Ok(false) };
        if count == 0 {
            self.stream.write_all(self.taken.to_string().as_bytes())?;
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.taken += count as u64;
        Ok(count == buffer.len() || self.to_the_end)
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            result => result.map(Some),
        }
    }

    fn write_some(&mut self, data: &[u8]) -> io::Result<usize> {
        match self.stream.write(data) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            result => result,
        }
    }
}
