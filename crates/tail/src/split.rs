//! Bytes in, lines out.
//!
//! No file and no descriptor: `follower` feeds it from a file, and the service from standard input, a pipe
//! or a device, whose bytes come from a readiness event.

use memchr::memchr;

/// A line longer than this is cut, in bytes of input: 64 KiB holds any line that was meant to be read, and a file
/// that has no line ends at all (or is not text) costs no more memory than that.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// One line, without its end. Valid during the call that hands it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The text. Bytes that are not UTF-8 have become U+FFFD; a carriage return other than the one before the line
    /// feed, and NUL, are data and stay.
    pub text: &'a str,
    /// Whether the line was cut here for its length: the next line continues it.
    pub cut: bool,
}

/// Splits a stream of bytes into lines, however the bytes are cut into pieces.
///
/// A line feed ends a line, and one carriage return before it is taken off. Half a line waits for its end.
///
/// ```
/// use ropewalk_tail::LineSplitter;
///
/// let (mut splitter, mut lines) = (LineSplitter::new(), Vec::new());
/// for piece in ["one\r\nt", "wo\nhalf"] {
///     splitter.push(piece.as_bytes(), &mut |line| lines.push(line.text.to_owned()));
/// }
/// assert_eq!(lines, ["one", "two"]);
/// assert_eq!(splitter.held_bytes(), 4);
/// ```
#[derive(Debug)]
pub struct LineSplitter {
    line_bytes_max: usize,
    /// The half line; at most one byte more than a line may have, for a carriage return that may prove part of
    /// the line end.
    held: Vec<u8>,
}

impl Default for LineSplitter {
    fn default() -> Self {
        LineSplitter::new()
    }
}

impl LineSplitter {
    /// A splitter that cuts lines at [`LINE_BYTES_MAX`].
    pub fn new() -> LineSplitter {
        LineSplitter::with_line_bytes_max(LINE_BYTES_MAX)
    }

    /// A splitter that cuts lines at another length, at least 4 bytes so that any character fits.
    pub fn with_line_bytes_max(line_bytes_max: usize) -> LineSplitter {
        LineSplitter { line_bytes_max: line_bytes_max.clamp(4, usize::MAX / 2), held: Vec::new() }
    }

    /// Takes the next bytes and hands each line that ends in them to `sink`.
    pub fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Line<'_>)) {
        let mut rest = bytes;
        while let Some(end) = memchr(b'\n', rest) {
            self.end(&rest[..end], sink);
            rest = &rest[end + 1..];
        }
        self.hold(rest, sink);
    }

    /// The input has ended (or goes on elsewhere): hands over the half line that waits, if any, as a line. A trailing
    /// carriage return stays, since no line feed came.
    pub fn finish(&mut self, sink: &mut dyn FnMut(Line<'_>)) {
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            self.whole(&held, sink);
        }
    }

    /// What waits for its end, for another process.
    pub(crate) fn held(&self) -> &[u8] {
        &self.held
    }

    pub(crate) fn hold_again(&mut self, held: Vec<u8>) {
        self.held = held;
    }

    /// How many bytes of an unfinished line wait.
    pub fn held_bytes(&self) -> usize {
        self.held.len()
    }

    /// `piece` is what precedes a line feed.
    fn end(&mut self, piece: &[u8], sink: &mut dyn FnMut(Line<'_>)) {
        if self.held.is_empty() {
            // The common case, a line within one piece: nothing is copied.
            return self.whole(without_return(piece), sink);
        }
        self.hold(piece, sink);
        // Taken, not cleared: a quiet file shall not keep the buffer of its longest line.
        let held = std::mem::take(&mut self.held);
        self.whole(without_return(&held), sink);
    }

    /// Keeps a piece without a line feed, and cuts as soon as the line is too long however it ends: a last byte
    /// more may be a carriage return that is no part of it.
    fn hold(&mut self, mut piece: &[u8], sink: &mut dyn FnMut(Line<'_>)) {
        let certain = self.line_bytes_max + 2;
        while self.held.len() + piece.len() >= certain {
            let (taken, rest) = piece.split_at(certain - self.held.len());
            self.held.extend_from_slice(taken);
            piece = rest;
            let cut = self.boundary(&self.held);
            emit(&self.held[..cut], true, sink);
            self.held.drain(..cut);
        }
        self.held.extend_from_slice(piece);
    }

    fn whole(&self, mut line: &[u8], sink: &mut dyn FnMut(Line<'_>)) {
        while line.len() > self.line_bytes_max {
            let (head, rest) = line.split_at(self.boundary(line));
            emit(head, true, sink);
            line = rest;
        }
        emit(line, false, sink);
    }

    /// Where to cut a line that is too long: before a character that would be torn apart. It looks at no byte behind
    /// the limit, so that the cuts are the same however the bytes came.
    fn boundary(&self, line: &[u8]) -> usize {
        let head = &line[..self.line_bytes_max];
        let is_lead = |byte: &u8| byte & 0b1100_0000 != 0b1000_0000;
        // A character has at most four bytes, so an unfinished one at most three.
        match head.iter().rev().take(3).position(is_lead) {
            Some(back) => {
                let lead = head.len() - 1 - back;
                let unfinished = |error: std::str::Utf8Error| error.error_len().is_none();
                if std::str::from_utf8(&head[lead..]).is_err_and(unfinished) { lead } else { head.len() }
            }
            None => head.len(),
        }
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn emit(bytes: &[u8], cut: bool, sink: &mut dyn FnMut(Line<'_>)) {
    sink(Line { text: &String::from_utf8_lossy(bytes), cut });
}

#[cfg(test)]
mod tests;
