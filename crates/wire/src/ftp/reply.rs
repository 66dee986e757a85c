//! Replies: a code and a text of one line or several (RFC 959 4.2). What they mean is the session's business.

/// A reply to a command.
///
/// ```
/// use ropewalk_wire::ftp::Reply;
/// let mut out = Vec::new();
/// Reply::with_lines(211, "Features", [" SIZE", "200 looks like an end"], "End").encode(&mut out);
/// assert_eq!(out, b"211-Features\r\n SIZE\r\n 200 looks like an end\r\n211 End\r\n");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The code, of three digits.
    pub code: u16,
    /// The lines of its text; the last one ends it.
    pub lines: Vec<Vec<u8>>,
}

impl Reply {
    /// A reply of one line.
    #[must_use]
    pub fn new(code: u16, text: impl Into<Vec<u8>>) -> Reply {
        Reply { code, lines: vec![text.into()] }
    }

    /// A reply of several lines: one that begins it, some in between, one that ends it.
    #[must_use]
    pub fn with_lines<L: Into<Vec<u8>>>(
        code: u16,
        first: &str,
        between: impl IntoIterator<Item = L>,
        last: &str,
    ) -> Reply {
        let mut lines = vec![first.as_bytes().to_vec()];
        lines.extend(between.into_iter().map(Into::into));
        lines.push(last.as_bytes().to_vec());
        Reply { code, lines }
    }

    /// Whether it says that something is on its way, and that another reply follows.
    #[must_use]
    pub fn is_preliminary(&self) -> bool {
        self.code < 200
    }

    /// Whether it says no.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.code >= 400
    }

    /// Appends it as it is sent. A line end or a NUL in a text would end the reply early and becomes a `?`; 255 is doubled, as Telnet
    /// wants it. Lines in between that begin with a digit are indented, so that nobody takes one for the end.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let last = self.lines.len().saturating_sub(1);
        for (index, line) in self.lines.iter().enumerate() {
            if index == 0 || index == last {
                out.extend_from_slice(format!("{:03}", self.code).as_bytes());
                out.push(if index == last { b' ' } else { b'-' });
            } else if line.first().is_some_and(u8::is_ascii_digit) {
                out.push(b' ');
            }
            encode_text(out, line);
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn encode_text(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        match byte {
            b'\r' | b'\n' | 0 => out.push(b'?'),
            255 => out.extend_from_slice(&[255, 255]),
            byte => out.push(*byte),
        }
    }
}

/// A path as 257 shows it: in quotation marks, with those that are in it doubled (RFC 959, appendix II).
///
/// ```
/// assert_eq!(ropewalk_wire::ftp::quote_path(br#"/a "b""#), br#""/a ""b""""#);
/// ```
#[must_use]
pub fn quote_path(path: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'"'];
    for byte in path {
        if *byte == b'"' {
            quoted.push(b'"');
        }
        quoted.push(*byte);
    }
    quoted.push(b'"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(reply: &Reply) -> Vec<u8> {
        let mut out = Vec::new();
        reply.encode(&mut out);
        out
    }

    #[test]
    fn nothing_in_a_text_ends_the_reply() {
        assert_eq!(sent(&Reply::new(550, "a\r\n200 b\0")), b"550 a??200 b?\r\n");
        assert_eq!(sent(&Reply::new(257, b"\xff".to_vec())), b"257 \xff\xff\r\n");
        let lines = Reply::with_lines(213, "x", ["213 y", "z\r\n213 w"], "end");
        assert_eq!(sent(&lines), b"213-x\r\n 213 y\r\nz??213 w\r\n213 end\r\n");
    }
}
