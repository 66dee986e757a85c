//! Of `cargo run --example weblog`: a record, the fields of a line in Apache's common or combined format.
//!
//! Nothing is read or sent here.

use std::fmt;

/// One line, taken apart. Fields that the line does not have are `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Who asked: a name or an address.
    pub(crate) host: String,
    /// When, as the log has it: `10/Oct/2000:13:55:36 -0700`.
    pub(crate) time: String,
    /// What for: `GET /index.html HTTP/1.1`.
    pub(crate) request: String,
    /// How it ended.
    pub(crate) status: u16,
    /// How long the body of the answer was; the log's `-` is 0.
    pub(crate) bytes: u64,
    /// The page that led there.
    pub(crate) referer: String,
    /// The client's program.
    pub(crate) agent: String,
}

impl Record {
    /// Takes a line apart; `None` for a line of another form.
    pub(crate) fn parse(line: &str) -> Option<Record> {
        // A tab is the separator here, and nobody's terminal is to obey a log.
        let line = line.replace(char::is_control, "?");
        let (host, rest) = line.split_once(' ')?;
        let (_, rest) = rest.split_once('[')?;
        let (time, rest) = rest.split_once(']')?;
        let (request, rest) = quoted(rest)?;
        let (status, rest) = rest.trim_start().split_once(' ')?;
        let (bytes, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let (referer, rest) = quoted(rest).unwrap_or(("-", ""));
        let (agent, _) = quoted(rest).unwrap_or(("-", ""));
        Some(Record {
            host: host.to_owned(),
            time: time.to_owned(),
            request: request.to_owned(),
            status: status.parse().ok()?,
            bytes: if bytes == "-" { 0 } else { bytes.parse().ok()? },
            referer: referer.to_owned(),
            agent: agent.to_owned(),
        })
    }
}

/// One line, the fields separated by tabs.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { host, time, request, status, bytes, referer, agent } = self;
        write!(f, "{host}\t{time}\t{request}\t{status}\t{bytes}\t{referer}\t{agent}")
    }
}

/// What stands between quotation marks, and what follows; a mark behind a backslash is a part of the text.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start().strip_prefix('"')?;
    let mut escaped = false;
    let end = text.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some((&text[..end], &text[end + 1..]))
}
