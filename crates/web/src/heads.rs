//! What the answers of a site begin with: lines that are made once a second. And the head that was sent last, if it was a plain one: the answers
//! of a site are alike, and a head that equals the one before is copied, not encoded again. A site has one `Heads`; `carrier` encodes with it.

use std::cell::{RefCell, RefMut};
use std::time::{Duration, SystemTime};

use ropewalk_reactor::{Reactor, Time};
use ropewalk_wire::http1;

pub(crate) struct Heads {
    server: Option<String>,
    current: RefCell<Current>,
}

/// What holds for this second.
#[derive(Default)]
struct Current {
    until: Time,
    wall: Duration,
    /// The status line of a 200, and behind it the lines that every answer has.
    lines: Vec<u8>,
    /// How long that status line is.
    status_line: usize,
    plain: Plain,
}

/// A whole head: a 200 with a content type of the program's own and a length, and nothing else.
#[derive(Default)]
struct Plain {
    content_type: Option<&'static str>,
    length: u64,
    /// Empty before there is one.
    head: Vec<u8>,
    /// Where the line of the length begins.
    typed: usize,
}

impl Heads {
    /// With this value of the `Server` field.
    pub(crate) fn new(server: Option<String>) -> Heads {
        Heads { server, current: RefCell::default() }
    }

    /// The wall clock at the last second that began, since 1970.
    pub(crate) fn wall_seconds(&self, reactor: &Reactor) -> u64 {
        self.current(reactor).wall.as_secs()
    }

    /// Appends the status line, `Date` (RFC 9110 section 6.6.1) and `Server`.
    pub(crate) fn encode_beginning(
        &self,
        out: &mut Vec<u8>,
        reactor: &Reactor,
        status: u16,
        reason: Option<&str>,
    ) {
        let current = self.current(reactor);
        if status == 200 && reason.is_none() {
            return out.extend_from_slice(&current.lines);
        }
        http1::encode_status(out, status, reason);
        out.extend_from_slice(&current.lines[current.status_line..]);
    }

    /// Appends the whole head of a 200 that has these fields only, and leaves the connection open to a client of HTTP/1.1.
    pub(crate) fn encode_plain(
        &self,
        out: &mut Vec<u8>,
        reactor: &Reactor,
        content_type: Option<&'static str>,
        length: u64,
    ) {
        let Current { lines, plain, .. } = &mut *self.current(reactor);
        let typed = plain.is_of_type(content_type);
        if !typed || plain.length != length {
            if !typed {
                plain.begin(lines, content_type);
            }
            plain.end(length);
        }
        out.extend_from_slice(&plain.head);
    }

    /// What is made once a second, made if it has to be.
    #[inline]
    fn current(&self, reactor: &Reactor) -> RefMut<'_, Current> {
        let mut current = self.current.borrow_mut();
        if reactor.now() >= current.until {
            current.renew(reactor, self.server.as_deref());
        }
        current
    }
}

impl Current {
    #[cold]
    fn renew(&mut self, reactor: &Reactor, server: Option<&str>) {
        let wall = reactor.wall_clock();
        self.wall = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // Good until the wall clock's next second.
        self.until =
            reactor.now() + Duration::from_nanos(1_000_000_000 - u64::from(self.wall.subsec_nanos()));
        self.plain.head.clear();
        self.lines.clear();
        http1::encode_status(&mut self.lines, 200, None);
        self.status_line = self.lines.len();
        self.lines.extend_from_slice(b"Date: ");
        self.lines.extend_from_slice(httpdate::fmt_http_date(wall).as_bytes());
        self.lines.extend_from_slice(b"\r\n");
        if let Some(server) = server {
            self.lines.extend_from_slice(b"Server: ");
            self.lines.extend_from_slice(server.as_bytes());
            self.lines.extend_from_slice(b"\r\n");
        }
    }
}

impl Plain {
    /// Whether it has this type. The same text at another place counts as another one: looking is to cost less than writing.
    fn is_of_type(&self, content_type: Option<&'static str>) -> bool {
        let same = match (self.content_type, content_type) {
            (Some(known), Some(wanted)) => std::ptr::eq(known, wanted),
            (None, None) => true,
            _ => false,
        };
        same && !self.head.is_empty()
    }

    fn begin(&mut self, lines: &[u8], content_type: Option<&'static str>) {
        self.content_type = content_type;
        self.head.clear();
        self.head.extend_from_slice(lines);
        if let Some(content_type) = content_type {
            encode_own_type(&mut self.head, content_type);
        }
        self.typed = self.head.len();
    }

    fn end(&mut self, length: u64) {
        self.length = length;
        self.head.truncate(self.typed);
        http1::encode_content_length(&mut self.head, length);
        http1::encode_end(&mut self.head);
    }
}

/// Appends `Content-Type` with a text of the program itself: nothing of a client's can be in it.
pub(crate) fn encode_own_type(out: &mut Vec<u8>, content_type: &'static str) {
    out.extend_from_slice(b"Content-Type: ");
    out.extend_from_slice(content_type.as_bytes());
    out.extend_from_slice(b"\r\n");
}
