//! The other side of FTP servers: one session that sends and fetches a file, and many that log in at once.
//!
//! It costs as little as can be, so that it is not what is measured: what comes is thrown away in the kernel, what goes comes out of a
//! file there. `scenario::ftp` calls it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::net::{RecvFlags, recv};

use crate::client;

/// Nobody takes longer for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes that are taken at once.
const PIECE_BYTES: usize = 512 * 1024;

/// And sent.
const SENT_BYTES: usize = 1 << 30;

/// Addresses from which sessions come, so that no limit per peer is met.
const SOURCES: u32 = 100;

/// A session that has logged in and moves binary files.
pub(crate) struct Session {
    control: BufReader<TcpStream>,
    server: SocketAddr,
}

impl Session {
    pub(crate) fn connect(server: SocketAddr, (user, password): (&str, &str)) -> io::Result<Session> {
        let mut session = Session { control: BufReader::new(client::open(server, 0)?), server };
        session.expect("220")?;
        session.write(&format!("USER {user}"))?;
        if session.reply()?.starts_with("331") {
            session.ask(&format!("PASS {password}"), "230")?;
        }
        session.ask("TYPE I", "200")?;
        Ok(session)
    }

    /// Fetches a file and throws it away: how many bytes, and how long until the server said that this was all.
    pub(crate) fn fetch(&mut self, name: &str) -> io::Result<(u64, Duration)> {
        let data = self.passive()?;
        let start = Instant::now();
        self.ask(&format!("RETR {name}"), "150")?;
        let (mut piece, mut sum) = (vec![0; PIECE_BYTES], 0);
        loop {
            // `TRUNC`: the kernel lets go of the bytes instead of copying them.
            let (_, count) = recv(&data, &mut piece[..], RecvFlags::TRUNC)?;
            if count == 0 {
                break;
            }
            sum += count as u64;
        }
        // Some say that it was all only when our side is closed, too.
        drop(data);
        self.expect("226")?;
        Ok((sum, start.elapsed()))
    }

    /// The same with the bytes themselves.
    pub(crate) fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        let mut data = self.passive()?;
        self.ask(&format!("RETR {name}"), "150")?;
        let mut bytes = Vec::new();
        data.read_to_end(&mut bytes)?;
        drop(data);
        self.expect("226")?;
        Ok(bytes)
    }

    /// Sends a file of ours: how many bytes, and how long until the server said that it has them.
    pub(crate) fn send(&mut self, name: &str, file: &mut File) -> io::Result<(u64, Duration)> {
        let data = self.passive()?;
        let start = Instant::now();
        self.ask(&format!("STOR {name}"), "150")?;
        // The standard library would copy from a file to a socket in pieces of 8 KiB.
        let mut sum = 0;
        while let count @ 1.. = rustix::fs::sendfile(&data, &*file, None, SENT_BYTES)? {
            sum += count as u64;
        }
        drop(data);
        self.expect("226")?;
        Ok((sum, start.elapsed()))
    }

    fn passive(&mut self) -> io::Result<TcpStream> {
        let reply = self.ask("EPSV", "229")?;
        let port = reply.split('|').nth(3).and_then(|port| port.parse().ok());
        let port = port.ok_or_else(|| io::Error::other(format!("no port in {reply}")))?;
        client::open(SocketAddr::new(self.server.ip(), port), 0)
    }

    fn ask(&mut self, line: &str, code: &str) -> io::Result<String> {
        self.write(line)?;
        self.expect(code).map_err(|error| io::Error::other(format!("{line}: {error}")))
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        self.control.get_mut().write_all(format!("{line}\r\n").as_bytes())
    }

    /// A connection that stands already is announced by 125 (RFC 959 section 5.4).
    fn expect(&mut self, code: &str) -> io::Result<String> {
        let reply = self.reply()?;
        let fits = reply.starts_with(code) || (code == "150" && reply.starts_with("125"));
        if fits { Ok(reply) } else { Err(io::Error::other(format!("not {code} but {reply}"))) }
    }

    /// The last line of a reply.
    fn reply(&mut self) -> io::Result<String> {
        loop {
            let mut line = String::new();
            if self.control.read_line(&mut line)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if is_last(line.as_bytes()) {
                return Ok(line);
            }
        }
    }
}

/// RFC 959 section 4.2: a code and a space; a code and a hyphen begins a reply of several lines.
fn is_last(line: &[u8]) -> bool {
    line.len() > 3 && line[..3].iter().all(u8::is_ascii_digit) && line[3] == b' '
}

/// Many sessions that came at once, all logged in.
pub(crate) struct Crowd {
    _guests: Vec<Guest>,
    /// From the first connection to the last "you are in".
    pub(crate) took: Duration,
}

struct Guest {
    stream: TcpStream,
    line: Vec<u8>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Greeting,
    Name,
    Password,
    In,
}

impl Crowd {
    /// Connects these and takes them through their login, whoever is answered next. Their numbers say from where they come.
    pub(crate) fn log_in(server: SocketAddr, numbers: Range<u32>, who: (&str, &str)) -> io::Result<Crowd> {
        let start = Instant::now();
        let mut poll = Poll::new()?;
        let mut guests = Vec::new();
        for number in numbers {
            let source = Ipv4Addr::new(127, 0, 1, 1 + (number % SOURCES) as u8);
            let stream = client::open_from(server, source)?;
            stream.set_nonblocking(true)?;
            poll.registry().register(
                &mut SourceFd(&stream.as_raw_fd()),
                Token(guests.len()),
                Interest::READABLE,
            )?;
            guests.push(Guest { stream, line: Vec::new(), stage: Stage::Greeting });
        }
        let (mut events, mut missing) = (Events::with_capacity(1024), guests.len());
        while missing > 0 {
            poll.poll(&mut events, Some(PATIENCE))?;
            if events.is_empty() {
                return Err(io::Error::other(format!("{missing} of {} sessions are not in", guests.len())));
            }
            for event in &events {
                let guest = &mut guests[event.token().0];
                let before = guest.stage;
                guest.go_on(who)?;
                missing -= usize::from(before != Stage::In && guest.stage == Stage::In);
            }
        }
        Ok(Crowd { _guests: guests, took: start.elapsed() })
    }
}

impl Guest {
    fn go_on(&mut self, who: (&str, &str)) -> io::Result<()> {
        let mut buffer = [0; 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::Error::other("a session was ended")),
                Ok(count) => self.line.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.line.drain(..=end).collect();
                if is_last(&line) {
                    self.answered(&line, who)?;
                }
            }
        }
    }

    fn answered(&mut self, line: &[u8], (user, password): (&str, &str)) -> io::Result<()> {
        self.stage = match (self.stage, &line[..3]) {
            (Stage::Greeting, b"220") => {
                self.stream.write_all(format!("USER {user}\r\n").as_bytes())?;
                Stage::Name
            }
            (Stage::Name, b"331") => {
                self.stream.write_all(format!("PASS {password}\r\n").as_bytes())?;
                Stage::Password
            }
            (Stage::Name | Stage::Password, b"230") => Stage::In,
            _ => return Err(io::Error::other(format!("refused: {}", String::from_utf8_lossy(line)))),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_reply_has_a_code_and_a_space() {
        for (line, last) in
            [("220 hello\r\n", true), ("220-hello\r\n", false), (" and\r\n", false), ("230", false)]
        {
            assert_eq!(is_last(line.as_bytes()), last, "{line}");
        }
    }
}
