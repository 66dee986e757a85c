//! A request's head: fed with bytes as they come, read once it is complete, cleared and used again.
//!
//! It owns a copy of the head's bytes and offsets into it, so it may outlive the read buffer and travel between threads;
//! it owns no buffer while it is new. It does not read bodies. The web floor keeps one per connection or in a pool.

use std::str::from_utf8;

use super::facts::Facts;
use super::fields::{FieldScanner, FieldSpan, Fields};
use super::request_line::RequestLine;
use super::target::Target;
use super::{Framing, HeadLimits, Refusal, Version};

/// RFC 9112 2.2: at least one empty line before a request SHOULD be ignored. Old clients send one behind a body; more
/// than a few are an attempt to look busy.
const EMPTY_LINES_MAX: u8 = 4;

/// What a head keeps for its next use: the heads of nearly all requests fit, and thousands of idle ones stay small.
const RAW_BYTES_KEPT: usize = 8 * 1024;
const FIELDS_KEPT: usize = 64;

/// How much is copied at once when a head continues: what follows the head in the same input is copied in vain.
pub(super) const BITE_BYTES: usize = 512;

/// What became of the bytes that were fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fed {
    /// The head is complete; the body, or the next head, begins at `input[consumed..]`.
    Complete {
        /// How many bytes of this input belong to the head.
        consumed: usize,
    },
    /// All of the input was consumed, and the head is not complete.
    NeedMore,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Before,
    /// Behind the CR of an empty line before the request.
    BeforeLf,
    Within,
    Complete,
    Refused(Refusal),
}

/// The head of a request: request line and fields.
///
/// The accessors mean something after [`Fed::Complete`]. After a refusal they show what was understood until then, which
/// is good enough for a log and nothing else.
#[derive(Debug, Default)]
pub struct Head {
    raw: Vec<u8>,
    scan: Scan,
    /// Cleared, and what is here is only remembered: see [`Head::recognise`].
    remembered: bool,
}

/// Longer heads are not remembered: comparing would touch too much for nothing where clients do not repeat themselves.
const REMEMBERED_BYTES_MAX: usize = 1024;

impl Head {
    /// An empty head, without any buffer.
    pub fn new() -> Head {
        Head::default()
    }

    /// Makes the head empty again. Its buffers are kept, unless one request made them far larger than usual.
    #[inline]
    pub fn clear(&mut self) {
        self.remembered = self.scan.phase == Phase::Complete && self.raw.len() <= REMEMBERED_BYTES_MAX;
        if !self.remembered {
            self.forget();
        }
    }

    #[inline(never)]
    fn forget(&mut self) {
        self.remembered = false;
        self.raw.clear();
        self.raw.shrink_to(RAW_BYTES_KEPT);
        self.scan.clear();
    }

    /// Whether the input begins with the very head that was decoded last: then everything that was found still holds, and
    /// nothing is scanned. Clients that stay connected repeat themselves: they poll, and keep-alive is for that.
    #[inline]
    fn recognise(&mut self, input: &[u8], limits: &HeadLimits) -> bool {
        let known = input.starts_with(&self.raw)
            && self.raw.len() <= limits.head_bytes_max
            && self.scan.line.at as usize <= limits.request_line_bytes_max
            && self.scan.fields.len() <= limits.fields_max;
        if known {
            self.remembered = false;
        } else {
            self.forget();
        }
        known
    }

    /// Whether nothing of a request has been fed since the last [`clear`](Head::clear). Empty lines do not count.
    pub fn is_empty(&self) -> bool {
        self.remembered || matches!(self.scan.phase, Phase::Before | Phase::BeforeLf)
    }

    /// Feeds the bytes that follow those of the last call. However the head is cut into calls, the outcome is the same.
    ///
    /// It refuses at the first byte that cannot be HTTP, even if the head is incomplete, and then again whenever it is
    /// called before [`clear`](Head::clear). A complete head consumes nothing more.
    #[inline]
    pub fn feed(&mut self, input: &[u8], limits: &HeadLimits) -> Result<Fed, Refusal> {
        if self.remembered && self.recognise(input, limits) {
            return Ok(Fed::Complete { consumed: self.raw.len() });
        }
        self.decode(input, limits)
    }

    /// Of a head that is not known.
    #[inline(never)]
    fn decode(&mut self, input: &[u8], limits: &HeadLimits) -> Result<Fed, Refusal> {
        let skipped = match self.scan.phase {
            Phase::Within => 0,
            Phase::Complete => return Ok(Fed::Complete { consumed: 0 }),
            Phase::Refused(refusal) => return Err(refusal),
            Phase::Before | Phase::BeforeLf => self.scan.skip_empty_lines(input)?,
        };
        let input = &input[skipped..];
        let consumed =
            if self.raw.is_empty() { self.feed_first(input, limits) } else { self.feed_more(input, limits) };
        match consumed {
            Ok(Some(consumed)) => Ok(Fed::Complete { consumed: skipped + consumed }),
            Ok(None) => Ok(Fed::NeedMore),
            Err(refusal) => Err(self.scan.refuse(refusal)),
        }
    }

    /// The usual case: scans the caller's slice in place, and copies the head out of it once.
    #[inline]
    fn feed_first(&mut self, input: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Refusal> {
        let scanned = self.scan.scan(input, limits);
        let end = match scanned {
            Ok(Some(end)) => end,
            Ok(None) => input.len(),
            Err(_) => input.len().min(limits.head_bytes_max),
        };
        self.raw.extend_from_slice(&input[..end]);
        scanned
    }

    fn feed_more(&mut self, input: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Refusal> {
        let mut fed = 0;
        for bite in input.chunks(BITE_BYTES) {
            let before = self.raw.len();
            self.raw.extend_from_slice(bite);
            if let Some(end) = self.scan.scan(&self.raw, limits)? {
                self.raw.truncate(end);
                return Ok(Some(fed + end - before));
            }
            fed += bite.len();
        }
        Ok(None)
    }

    /// The method as sent; methods are case-sensitive (RFC 9110 9.1).
    #[inline]
    pub fn method(&self) -> &str {
        match self.bytes().get(..self.scan.line.method_end as usize) {
            // Checking three bytes for UTF-8 takes longer than recognising them.
            Some(b"GET") => "GET",
            Some(b"POST") => "POST",
            Some(b"HEAD") => "HEAD",
            _ => self.text(0, self.scan.line.method_end),
        }
    }

    /// The request target as sent.
    pub fn target(&self) -> &str {
        self.text(self.scan.line.method_end + 1, self.scan.line.target_end)
    }

    /// The version.
    pub fn version(&self) -> Version {
        if self.remembered { Version::default() } else { self.scan.line.version }
    }

    /// The path, still percent-encoded. `*` for a request to the server as a whole, empty for CONNECT.
    #[inline]
    pub fn path(&self) -> &str {
        let (start, end) = self.target_parts().path;
        if start != 0 && end - start == 1 && self.bytes().get(start as usize) == Some(&b'/') {
            // Recognising one byte takes less than checking it for UTF-8.
            "/"
        } else if start != 0 {
            self.text(start, end)
        } else {
            self.path_unsaid()
        }
    }

    /// The path of a target that has none.
    #[cold]
    fn path_unsaid(&self) -> &str {
        let target = self.target_parts();
        if target.authority.0 == 0 || self.method() == "CONNECT" {
            ""
        } else if self.method() == "OPTIONS" && target.query.0 == 0 {
            // RFC 9112 3.2.4: an absolute-form OPTIONS without path and query is what a proxy turns into "*".
            "*"
        } else {
            // RFC 9110 4.2.3: an empty path is the same as "/".
            "/"
        }
    }

    /// What follows the first '?' of the target, still percent-encoded.
    pub fn query(&self) -> Option<&str> {
        let (start, end) = self.target_parts().query;
        (start != 0).then(|| self.text(start, end))
    }

    /// The host that is asked for, with its port if there is one; the empty string if Host was sent empty.
    pub fn host(&self) -> Option<&str> {
        let (start, end) = self.target_parts().authority;
        if start != 0 {
            // RFC 9112 3.2.2: with an absolute-form target the Host field MUST be ignored.
            return Some(self.text(start, end));
        }
        from_utf8(self.value_at(self.facts().host()?)).ok()
    }

    /// All fields in the order they were sent.
    pub fn fields(&self) -> Fields<'_> {
        let spans: &[FieldSpan] = if self.remembered { &[] } else { &self.scan.fields };
        Fields { raw: self.bytes(), spans: spans.iter() }
    }

    /// The value of the first field with this name, in any case.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.spans_named(name).next().map(|span| span.value(self.bytes()))
    }

    /// The values of all fields with this name, in any case, in the order they were sent.
    pub fn fields_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.spans_named(name).map(|span| span.value(self.bytes()))
    }

    fn spans_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a FieldSpan> {
        self.scan
            .fields
            .iter()
            .filter(move |span| span.name(self.bytes()).eq_ignore_ascii_case(name.as_bytes()))
    }

    /// How the body is delimited.
    pub fn framing(&self) -> Framing {
        self.facts().framing
    }

    /// Whether the client wants the connection to stay open after the answer (RFC 9112 9.3).
    pub fn keep_alive(&self) -> bool {
        self.facts().keep_alive
    }

    /// Whether the client waits for `100 Continue` before it sends the body (RFC 9110 10.1.1). `false` without a body.
    pub fn expects_continue(&self) -> bool {
        self.facts().expects_continue
    }

    /// The value of the first Upgrade field, if `Connection: upgrade` stands with it and the version is 1.1.
    pub fn upgrade(&self) -> Option<&str> {
        from_utf8(self.value_at(self.facts().upgrade()?)).ok()
    }

    /// The bytes of the head as they were sent, empty line included.
    pub fn raw(&self) -> &[u8] {
        self.bytes()
    }

    /// How many bytes of memory the head holds besides itself, for those who count what a connection costs.
    pub fn capacity_bytes(&self) -> usize {
        self.raw.capacity()
            + self.scan.known_host.capacity()
            + self.scan.fields.capacity() * size_of::<FieldSpan>()
    }

    /// What was fed since the last `clear`.
    #[inline]
    fn bytes(&self) -> &[u8] {
        if self.remembered { &[] } else { &self.raw }
    }

    #[inline]
    fn facts(&self) -> Facts {
        if self.remembered { Facts::default() } else { self.scan.facts }
    }

    #[inline]
    fn target_parts(&self) -> Target {
        if self.remembered { Target::default() } else { self.scan.line.target }
    }

    fn value_at(&self, index: usize) -> &[u8] {
        self.scan.fields.get(index).map_or(&[], |span| span.value(self.bytes()))
    }

    /// Method and target are ASCII by their byte classes, so the empty string stands for absence only.
    #[inline(never)]
    fn text(&self, start: u32, end: u32) -> &str {
        self.bytes()
            .get(start as usize..end as usize)
            .and_then(|bytes| from_utf8(bytes).ok())
            .unwrap_or_default()
    }
}

/// Everything but the bytes, so that a scan may borrow them.
#[derive(Debug, Default)]
struct Scan {
    phase: Phase,
    empty_lines: u8,
    line: RequestLine,
    lines: FieldScanner,
    facts: Facts,
    fields: Vec<FieldSpan>,
    /// The last Host that was found to be well-formed. It stays over `clear`: a server hears the same few names again and
    /// again, and comparing costs a tenth of checking.
    known_host: Vec<u8>,
}

impl Scan {
    /// Part by part: one assignment of the whole would go through the stack, and cost as much as scanning a short head.
    #[inline]
    fn clear(&mut self) {
        self.phase = Phase::Before;
        self.empty_lines = 0;
        self.line = RequestLine::default();
        self.lines = FieldScanner::default();
        self.facts = Facts::default();
        self.fields.clear();
        self.fields.shrink_to(FIELDS_KEPT);
    }

    /// Passes over CRLFs before the request line; returns how many bytes that were.
    #[inline]
    fn skip_empty_lines(&mut self, input: &[u8]) -> Result<usize, Refusal> {
        for (at, &byte) in input.iter().enumerate() {
            match (self.phase, byte) {
                (Phase::BeforeLf, b'\n') => self.phase = Phase::Before,
                (Phase::BeforeLf, _) => return Err(self.refuse(Refusal::BareCr)),
                (_, b'\r') if self.empty_lines == EMPTY_LINES_MAX => {
                    return Err(self.refuse(Refusal::TooManyEmptyLines));
                }
                (_, b'\r') => {
                    self.empty_lines += 1;
                    self.phase = Phase::BeforeLf;
                }
                _ => {
                    self.phase = Phase::Within;
                    return Ok(at);
                }
            }
        }
        Ok(input.len())
    }

    #[cold]
    fn refuse(&mut self, refusal: Refusal) -> Refusal {
        self.phase = Phase::Refused(refusal);
        refusal
    }

    /// Continues in `bytes`, which begins with the head's first byte. The head's length, once it is complete.
    #[inline]
    fn scan(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Refusal> {
        let head_bytes_max = limits.head_bytes_max.min(u32::MAX as usize - 1);
        if !self.line.is_complete() {
            let window = within(bytes, limits.request_line_bytes_max.min(head_bytes_max));
            if !self.line.scan(window)? {
                return more_or(bytes, window, Refusal::RequestLineTooLong);
            }
            self.lines = FieldScanner::starting_at(self.line.at);
        }
        let window = within(bytes, head_bytes_max);
        let (facts, version, known) = (&mut self.facts, self.line.version, &mut self.known_host);
        let many = (limits.fields_max, Refusal::TooManyFields);
        let complete = self.lines.scan(window, &mut self.fields, many, |span, index| {
            facts.note(version, span.name(window), span.value(window), index, known)
        })?;
        if !complete {
            return more_or(bytes, window, Refusal::HeadTooLarge);
        }
        self.facts.finish(version)?;
        self.phase = Phase::Complete;
        Ok(Some(self.lines.at as usize))
    }
}

#[inline]
pub(super) fn within(bytes: &[u8], bytes_max: usize) -> &[u8] {
    &bytes[..bytes.len().min(bytes_max)]
}

/// All of the window was read: more may come, unless there already is a byte that the limit kept out.
pub(super) fn more_or(bytes: &[u8], window: &[u8], refusal: Refusal) -> Result<Option<usize>, Refusal> {
    if bytes.len() > window.len() { Err(refusal) } else { Ok(None) }
}
