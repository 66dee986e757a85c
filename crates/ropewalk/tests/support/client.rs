//! A client of a hundred lines: enough HTTP to ask, and to read an event stream.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::PATIENCE;

pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// A connection whose reads give up after a while.
pub fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// One request on a connection of its own.
pub fn get(port: u16, target: &str) -> Reply {
    exchange(port, &format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
}

pub fn exchange(port: u16, request: &str) -> Reply {
    let mut stream = connect(port);
    stream.write_all(request.as_bytes()).unwrap();
    read_reply(&mut BufReader::new(stream))
}

/// Reads one answer, and no byte more.
pub fn read_reply(stream: &mut impl BufRead) -> Reply {
    let head = read_head(stream);
    let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{head:?}"));
    let mut reply = Reply { status, head, body: Vec::new() };
    let length = reply.field("content-length").map(|length| length.parse().unwrap());
    reply.body.resize(length.unwrap_or(0), 0);
    stream.read_exact(&mut reply.body).unwrap();
    reply
}

fn read_head(stream: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "the answer ended early: {head:?}");
    }
    head
}

/// An event stream.
pub struct Events(BufReader<TcpStream>);

/// One event of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    pub event: String,
    pub data: String,
}

impl Events {
    pub fn open(port: u16, target: &str, last_id: Option<&str>) -> Events {
        let mut stream = connect(port);
        let last = last_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\n{last}\r\n").unwrap();
        let mut stream = BufReader::new(stream);
        let head = read_head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/event-stream"), "{head}");
        let mut events = Events(stream);
        // The first block is the advice when to come back: from here on the viewer is among the viewers.
        let mut retry = String::new();
        events.0.read_line(&mut retry).unwrap();
        assert!(retry.starts_with("retry: "), "{retry}");
        events.0.read_line(&mut retry).unwrap();
        events
    }

    /// The next event; comments are passed over.
    pub fn next(&mut self) -> Event {
        self.try_next().expect("the stream goes on")
    }

    /// The next event, or none at the end of the stream.
    pub fn try_next(&mut self) -> Option<Event> {
        let (mut event, mut any) = (Event::default(), false);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            let Some((name, value)) = line.trim_end_matches('\n').split_once(": ") else {
                if any && line == "\n" {
                    return Some(event);
                }
                continue;
            };
            any = true;
            let field = match name {
                "id" => &mut event.id,
                "event" => &mut event.event,
                _ => &mut event.data,
            };
            if !field.is_empty() {
                field.push('\n');
            }
            field.push_str(value);
        }
    }

    pub fn data(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.next().data).collect()
    }

    /// Whatever is left, until the end.
    pub fn rest(mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).unwrap();
        rest
    }
}
