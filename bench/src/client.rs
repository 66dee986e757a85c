//! A blocking HTTP client of a few lines: it checks every server's answer and opens connections by the thousand.
//!
//! Not the load: that is `wrk`, or `viewers` for the broadcast.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use crate::canned::{BODY, SERVER};

/// Source addresses that connections take in turns: those that have gone keep their ports for a minute.
const SOURCES: u32 = 64;

/// Nobody takes longer on a loopback interface.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer with its body.
pub(crate) struct Response {
    head: String,
    body: Vec<u8>,
}

impl Response {
    /// That it is a 2xx; anything else is an error.
    pub(crate) fn succeeded(&self) -> io::Result<()> {
        let well = self.head.starts_with("HTTP/1.1 2");
        if well { Ok(()) } else { Err(io::Error::other(format!("the status is not 2xx: {}", self.head))) }
    }

    /// The body of a 200; anything else is an error.
    pub(crate) fn text(self) -> io::Result<String> {
        if !self.head.starts_with("HTTP/1.1 200 ") {
            return Err(io::Error::other(format!("the status is not 200: {}", self.head)));
        }
        String::from_utf8(self.body).map_err(io::Error::other)
    }
}

/// Asks once, then twice in one write, and looks at what comes: a server that answers wrongly is not measured.
pub(crate) fn verify(address: SocketAddr) -> io::Result<()> {
    let mut stream = open(address, 0)?;
    let request = request("/");
    stream.write_all(request.as_bytes())?;
    judge(&read_response(&mut stream)?)?;
    stream.write_all(request.repeat(2).as_bytes())?;
    judge(&read_response(&mut stream)?)?;
    judge(&read_response(&mut stream)?)
}

/// Asks once for a page; the body of a 200.
pub(crate) fn fetch(address: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = open(address, 0)?;
    stream.write_all(request(path).as_bytes())?;
    read_response(&mut stream)?.text().map(String::into_bytes)
}

fn judge(response: &Response) -> io::Result<()> {
    let head = response.head.to_ascii_lowercase();
    let has = |line: &str| head.lines().any(|present| present.starts_with(line));
    let wrong = if !head.starts_with("http/1.1 200 ") {
        "the status is not 200"
    } else if response.body != BODY.as_bytes() {
        "the body is another"
    } else if !has("date: ") || !has("server: ") || !has("content-type: text/plain") {
        "Date, Server or Content-Type is missing"
    } else {
        return Ok(());
    };
    Err(io::Error::other(format!("{wrong}: {}{}", response.head, String::from_utf8_lossy(&response.body))))
}

/// A request as short as wrk's.
pub(crate) fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {SERVER}\r\n\r\n")
}

/// Connects the `number`th connection: the source address goes round, so that the ports suffice.
pub(crate) fn open(address: SocketAddr, number: u32) -> io::Result<TcpStream> {
    open_from(address, Ipv4Addr::new(127, 0, 0, 2 + (number % SOURCES) as u8))
}

/// The same from this address.
pub(crate) fn open_from(address: SocketAddr, source: Ipv4Addr) -> io::Result<TcpStream> {
    let source = SocketAddrV4::new(source, 0);
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &source)?;
    let start = Instant::now();
    // Who has become another program since it said where it listens may not listen yet.
    while let Err(error) = connect(&socket, &address) {
        if error != Errno::CONNREFUSED || start.elapsed() > PATIENCE {
            return Err(error.into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Byte by byte up to the end of the head, so that nothing behind it is swallowed; the body by its Content-Length.
pub(crate) fn read_response(stream: &mut impl Read) -> io::Result<Response> {
    let head = read_head(stream)?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0).min(16 << 20)];
    stream.read_exact(&mut body)?;
    Ok(Response { head, body })
}

/// Only the head, for an answer that never ends.
pub(crate) fn read_head(stream: &mut impl Read) -> io::Result<String> {
    const HEAD_BYTES_MAX: usize = 8192;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
        if head.len() > HEAD_BYTES_MAX {
            return Err(io::Error::other("a head without end"));
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(head: &str, body: &str) -> Response {
        Response { head: head.to_owned(), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn only_the_right_answer_passes() {
        let head = "HTTP/1.1 200 OK\r\nserver: x\r\ndate: now\r\ncontent-type: text/plain\r\n\r\n";
        assert!(judge(&response(head, BODY)).is_ok());
        assert!(judge(&response(head, "Hello")).is_err());
        assert!(judge(&response(&head.replace("200", "404"), BODY)).is_err());
        assert!(judge(&response(&head.replace("date", "fate"), BODY)).is_err());
    }
}
