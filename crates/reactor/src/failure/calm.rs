//! Words of anybody, written so that they pass for nothing else: what a traceback and every line of a log are written through. It
//! knows neither tracebacks nor logs.

use std::fmt;

/// Writes text without what could pass for another line, move a terminal's cursor, colour it, or turn the direction of what is
/// read. A line break becomes what the next line is to begin with; other hidden characters are escaped.
///
/// ```
/// use std::fmt::Write;
/// use ropewalk_reactor::failure::Calm;
/// let mut line = String::new();
/// write!(Calm::new(&mut line, "\n\t"), "torn\n12:00 root logged in\r\u{1b}[31m").unwrap();
/// assert_eq!(line, "torn\n\t12:00 root logged in\\r\\u{1b}[31m");
/// ```
pub struct Calm<'a, W: ?Sized> {
    out: &'a mut W,
    line_break: &'a str,
}

impl<'a, W: fmt::Write + ?Sized> Calm<'a, W> {
    /// Writes to `out`, with `line_break` for each line break.
    pub fn new(out: &'a mut W, line_break: &'a str) -> Calm<'a, W> {
        Calm { out, line_break }
    }
}

impl<W: fmt::Write + ?Sized> fmt::Write for Calm<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_hidden) {
            self.out.write_str(&rest[..at])?;
            let hidden = rest[at..].chars().next().unwrap_or_default();
            match hidden {
                '\n' => self.out.write_str(self.line_break)?,
                _ => write!(self.out, "{}", hidden.escape_default())?,
            }
            rest = &rest[at + hidden.len_utf8()..];
        }
        self.out.write_str(rest)
    }
}

/// Whether a character is not what is seen of it: control characters, what separates lines, and what turns the direction of the
/// text.
///
/// ```
/// use ropewalk_reactor::failure::is_hidden;
/// assert!(['\n', '\u{1b}', '\u{9b}', '\u{2028}', '\u{202e}'].into_iter().all(is_hidden));
/// assert!(!['a', ' ', 'ü', '\u{5d0}'].into_iter().any(is_hidden));
/// ```
#[must_use]
pub fn is_hidden(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
