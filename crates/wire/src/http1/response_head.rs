//! An answer's head, as a client reads it: fed with bytes as they come, read once it is complete.
//!
//! It owns the head's bytes and offsets into them. It does not read bodies and decides nothing about the connection beyond
//! what the fields say; [`ResponseDecoder`](super::ResponseDecoder) walks from one head to the next with it.

use std::str::from_utf8;

use super::bytes::elements;
use super::facts::Answered;
use super::fields::{FieldScanner, FieldSpan, Fields};
use super::head::{BITE_BYTES, more_or, within};
use super::status_line::StatusLine;
use super::{Fed, Framing, HeadLimits, Refusal, Version};

/// The head of an answer: status line and fields.
///
/// ```
/// use ropewalk_wire::http1::{Fed, Framing, HeadLimits, ResponseHead};
///
/// let mut head = ResponseHead::new();
/// let fed = head.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", &HeadLimits::default());
/// assert_eq!(fed, Ok(Fed::Complete { consumed: 38 }));
/// assert_eq!((head.status(), head.reason()), (200, "OK"));
/// assert_eq!(head.framing("GET"), Framing::Length(2));
/// assert_eq!(head.framing("HEAD"), Framing::None);
/// ```
#[derive(Debug, Default)]
pub struct ResponseHead {
    raw: Vec<u8>,
    line: StatusLine,
    lines: FieldScanner,
    fields: Vec<FieldSpan>,
    answered: Answered,
    complete: bool,
    refused: Option<Refusal>,
}

impl ResponseHead {
    /// An empty head, without any buffer.
    pub fn new() -> ResponseHead {
        ResponseHead::default()
    }

    /// Whether nothing of an answer has been fed.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Whether the empty line was read.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Feeds the bytes that follow those of the last call. However the head is cut into calls, the outcome is the same.
    ///
    /// It refuses at the first byte that cannot be HTTP, and then again whenever it is called. A line that is folded is
    /// refused, too: RFC 9112 5.2 would let a client join it, and two clients do that in two ways. The limits are those of
    /// a request's head; [`HeadLimits::request_line_bytes_max`] is the status line's.
    pub fn feed(&mut self, input: &[u8], limits: &HeadLimits) -> Result<Fed, Refusal> {
        match (self.refused, self.complete) {
            (Some(refusal), _) => return Err(refusal),
            (None, true) => return Ok(Fed::Complete { consumed: 0 }),
            (None, false) => {}
        }
        let mut fed = 0;
        for bite in input.chunks(BITE_BYTES) {
            let before = self.raw.len();
            self.raw.extend_from_slice(bite);
            match self.scan(limits) {
                Ok(false) => fed += bite.len(),
                Ok(true) => {
                    let end = self.lines.at as usize;
                    self.raw.truncate(end);
                    return Ok(Fed::Complete { consumed: fed + end - before });
                }
                Err(refusal) => {
                    self.refused = Some(refusal);
                    return Err(refusal);
                }
            }
        }
        Ok(Fed::NeedMore)
    }

    fn scan(&mut self, limits: &HeadLimits) -> Result<bool, Refusal> {
        let head_bytes_max = limits.head_bytes_max.min(u32::MAX as usize - 1);
        if !self.line.is_complete() {
            let window = within(&self.raw, limits.request_line_bytes_max.min(head_bytes_max));
            if !self.line.scan(window)? {
                return more_or(&self.raw, window, Refusal::StatusLineTooLong).map(|_| false);
            }
            self.lines = FieldScanner::starting_at(self.line.at);
        }
        let window = within(&self.raw, head_bytes_max);
        let (answered, version) = (&mut self.answered, self.line.version);
        let many = (limits.fields_max, Refusal::TooManyFields);
        let complete = self.lines.scan(window, &mut self.fields, many, |span, _| {
            answered.note(version, span.name(window), span.value(window))
        })?;
        if !complete {
            return more_or(&self.raw, window, Refusal::HeadTooLarge).map(|_| false);
        }
        self.complete = true;
        Ok(true)
    }

    /// The version that the server speaks.
    pub fn version(&self) -> Version {
        self.line.version
    }

    /// The status code, 100 to 999; 0 before it was read.
    pub fn status(&self) -> u16 {
        if self.line.is_complete() { self.line.status } else { 0 }
    }

    /// The reason phrase; empty if there is none, or if it is not UTF-8.
    pub fn reason(&self) -> &str {
        let (start, end) = self.line.reason;
        self.raw.get(start as usize..end as usize).and_then(|bytes| from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// Whether another head follows this one: 1xx, but for 101, behind which HTTP ends (RFC 9110 15.2).
    pub fn is_interim(&self) -> bool {
        (100..=199).contains(&self.status()) && self.status() != 101
    }

    /// All fields in the order they were sent.
    pub fn fields(&self) -> Fields<'_> {
        Fields { raw: &self.raw, spans: self.fields.iter() }
    }

    /// The value of the first field with this name, in any case.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// How the body of this answer to `method` is delimited (RFC 9112 6.3).
    pub fn framing(&self, method: &str) -> Framing {
        // A tunnel's bytes are no body, and a length in its head says nothing (RFC 9110 9.3.6).
        if !super::body_allowed(method, self.status()) {
            return Framing::None;
        }
        self.answered.framing.unwrap_or(Framing::UntilClose)
    }

    /// Whether the server means to keep the connection open behind this answer (RFC 9112 9.3). Where the end of the body
    /// is the end of the connection it cannot, whatever this says.
    pub fn keep_alive(&self) -> bool {
        match self.line.version {
            Version::Http11 => !self.answered.says_close,
            Version::Http10 => self.answered.says_keep_alive && !self.answered.says_close,
        }
    }

    /// How many seconds the server keeps an idle connection, as its `Keep-Alive: timeout=` says.
    ///
    /// ```
    /// use ropewalk_wire::http1::{HeadLimits, ResponseHead};
    /// let mut head = ResponseHead::new();
    /// head.feed(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=99\r\n\r\n", &HeadLimits::default())?;
    /// assert_eq!((head.idle_seconds(), head.requests_left()), (Some(5), Some(99)));
    /// # Ok::<(), ropewalk_wire::http1::Refusal>(())
    /// ```
    pub fn idle_seconds(&self) -> Option<u32> {
        self.hint(b"timeout")
    }

    /// How many more requests the server takes on this connection, as its `Keep-Alive: max=` says.
    pub fn requests_left(&self) -> Option<u32> {
        self.hint(b"max")
    }

    fn hint(&self, name: &[u8]) -> Option<u32> {
        elements(self.field("Keep-Alive")?).find_map(|element| {
            let equals = element.iter().position(|&byte| byte == b'=')?;
            let (known, value) = (&element[..equals], &element[equals + 1..]);
            let value = known.eq_ignore_ascii_case(name).then(|| from_utf8(value).ok()?.trim().parse().ok());
            value.flatten()
        })
    }

    /// The bytes of the head as they were sent, empty line included.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }
}
