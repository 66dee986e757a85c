//! The other side of connections without a protocol: it asks for echoes, sends as fast as it can, or reads as fast as it can.
//!
//! `scenario::raw` connects it and reads the server's account before and after. It is this very process, on the load's core.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::client;
use crate::servers::raw::{PIECE, PIECE_BYTES, hold_queue};

/// Bytes of one echo.
pub(crate) const ECHO_BYTES: usize = 64;

/// A server that says nothing for so long has lost somebody.
const PATIENCE: Duration = Duration::from_secs(20);

const EVENTS: usize = 1024;

/// Connections to one server.
pub(crate) struct Traffic {
    poll: Poll,
    peers: Vec<Peer>,
    buffer: Vec<u8>,
}

struct Peer {
    stream: TcpStream,
    /// The system may take, or have, some more.
    ready: bool,
    /// How much of the echo is back.
    echoed: usize,
}

impl Traffic {
    /// Connects so many.
    pub(crate) fn connect(address: SocketAddr, count: u32) -> io::Result<Traffic> {
        let poll = Poll::new()?;
        let mut peers = Vec::with_capacity(count as usize);
        for number in 0..count {
            let stream = client::open(address, number)?;
            stream.set_nonblocking(true)?;
            hold_queue(&stream)?;
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut SourceFd(&stream.as_raw_fd()), Token(peers.len()), both)?;
            peers.push(Peer { stream, ready: true, echoed: 0 });
        }
        Ok(Traffic { poll, peers, buffer: vec![0; PIECE_BYTES] })
    }

    /// Sends on every connection, and again when all of it is back, for so long. Returns the round trips when the last is over.
    pub(crate) fn echo(&mut self, length: Duration) -> io::Result<u64> {
        let start = Instant::now();
        let (mut trips, mut outstanding) = (0, self.peers.len());
        for (number, peer) in self.peers.iter_mut().enumerate() {
            peer.ask(number)?;
        }
        let mut events = Events::with_capacity(EVENTS);
        while outstanding > 0 {
            self.wait(&mut events, PATIENCE)?;
            let over = start.elapsed() >= length;
            for event in &events {
                let number = event.token().0;
                if !self.peers[number].answered(number)? {
                    continue;
                }
                trips += 1;
                if over {
                    outstanding -= 1;
                } else {
                    self.peers[number].ask(number)?;
                }
            }
        }
        Ok(trips)
    }

    /// Writes as much as is taken for so long.
    pub(crate) fn send(&mut self, length: Duration) -> io::Result<u64> {
        self.all_the_time(length, |stream, _| stream.write(&PIECE))
    }

    /// Reads as much as comes for so long.
    pub(crate) fn receive(&mut self, length: Duration) -> io::Result<u64> {
        self.all_the_time(length, |stream, buffer| match stream.read(buffer) {
            Ok(0) => Err(io::Error::other("the server has ended a connection")),
            result => result,
        })
    }

    /// Ends this direction everywhere, and waits for what each connection answers: how many bytes came.
    pub(crate) fn end(self) -> io::Result<u64> {
        for peer in &self.peers {
            peer.stream.shutdown(Shutdown::Write)?;
        }
        let mut sum = 0;
        for mut peer in self.peers {
            peer.stream.set_nonblocking(false)?;
            let mut answer = String::new();
            peer.stream.read_to_string(&mut answer)?;
            sum += answer.parse::<u64>().map_err(|_| io::Error::other(format!("no number: {answer}")))?;
        }
        Ok(sum)
    }

    fn all_the_time(
        &mut self,
        length: Duration,
        mut step: impl FnMut(&mut TcpStream, &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<u64> {
        let start = Instant::now();
        let mut events = Events::with_capacity(EVENTS);
        let mut passed = 0;
        while start.elapsed() < length {
            let mut busy = false;
            for peer in self.peers.iter_mut().filter(|peer| peer.ready) {
                match step(&mut peer.stream, &mut self.buffer) {
                    Ok(count) => {
                        passed += count as u64;
                        peer.ready = count == self.buffer.len();
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => peer.ready = false,
                    Err(error) => return Err(error),
                }
                busy |= peer.ready;
            }
            self.wait(&mut events, if busy { Duration::ZERO } else { PATIENCE })?;
            events.iter().for_each(|event| self.peers[event.token().0].ready = true);
        }
        Ok(passed)
    }

    fn wait(&mut self, events: &mut Events, patience: Duration) -> io::Result<()> {
        self.poll.poll(events, Some(patience))?;
        if events.is_empty() && !patience.is_zero() {
            return Err(io::Error::other("the server is silent"));
        }
        Ok(())
    }
}

impl Peer {
    fn ask(&mut self, number: usize) -> io::Result<()> {
        self.echoed = 0;
        self.stream.write_all(&[number as u8; ECHO_BYTES])
    }

    /// Whether all of it is back now.
    fn answered(&mut self, number: usize) -> io::Result<bool> {
        let mut buffer = [0; ECHO_BYTES];
        match self.stream.read(&mut buffer[self.echoed..]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            // All of it was back before: this event was about writing.
            Ok(0) if self.echoed == ECHO_BYTES => return Ok(false),
            Ok(0) => return Err(io::Error::other("the server has ended a connection")),
            Ok(count) if buffer[self.echoed..][..count] == [number as u8; ECHO_BYTES][..count] => {
                self.echoed += count;
            }
            Ok(_) => return Err(io::Error::other("an echo of something else")),
            Err(error) => return Err(error),
        }
        Ok(self.echoed == ECHO_BYTES)
    }
}
