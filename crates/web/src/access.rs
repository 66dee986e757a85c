//! What is known of a request when it is over, and the access log in the combined format. The site tells one observer; what
//! becomes of the line (a file, a channel, the terminal) is the observer's business.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::Address;
use ropewalk_wire::http1::{Head, Version};

use crate::router::Handler;

/// The status that is logged when the client left before there was one; nginx's number.
pub const STATUS_CLIENT_GONE: u16 = 499;

/// One request, over.
#[non_exhaustive]
pub struct AccessRecord<'a> {
    /// The connection's other end.
    pub peer: &'a Address,
    /// Who sent the request, where trusted proxies are believed; `None` over a UNIX socket.
    pub client: Option<IpAddr>,
    /// The request's head. Of a request that was refused, what was understood of it.
    pub head: &'a Head,
    /// The status sent; [`STATUS_CLIENT_GONE`] if none was.
    pub status: u16,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// The wall clock, seconds since the Unix epoch.
    pub wall_seconds: u64,
    /// From the end of the request's head to the end of the answer.
    pub took: Duration,
    /// The id that a [`crate::RequestId`] gave the request.
    pub request_id: Option<Rc<str>>,
    pub(crate) handler: &'a dyn Handler,
}

impl AccessRecord<'_> {
    /// The path of the route that the request took, as it was given to the router, if it took one.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        self.handler.route_of(self.head.path())
    }
}

/// Somebody who sees every request when it is over. It runs on the loop: it must not block.
pub trait AccessObserver: 'static {
    /// A request is over.
    fn request_finished(&self, record: &AccessRecord<'_>);
}

/// Two of them.
pub(crate) struct Both(pub(crate) Rc<dyn AccessObserver>, pub(crate) Rc<dyn AccessObserver>);

impl AccessObserver for Both {
    fn request_finished(&self, record: &AccessRecord<'_>) {
        self.0.request_finished(record);
        self.1.request_finished(record);
    }
}

/// The combined log format, as Apache and nginx write it: host, user, time, request line, status, bytes, referrer and agent.
///
/// ```text
/// 127.0.0.1 - - [21/Nov/2026:08:37:00 +0000] "GET / HTTP/1.1" 200 13 "-" "curl/8.0"
/// ```
///
/// What a client sent is escaped (`\xHH`), so that a line is always one line and a quote is always its own.
pub struct CombinedLog<S> {
    sink: S,
    secrets: &'static [&'static str],
    request_ids: bool,
    line: RefCell<Vec<u8>>,
    time: RefCell<Vec<u8>>,
    second: Cell<u64>,
}

impl<S: Fn(&[u8])> CombinedLog<S> {
    /// A log whose lines, each with its newline, are given to `sink`.
    pub fn new(sink: S) -> CombinedLog<S> {
        let (line, time) = Default::default();
        CombinedLog { sink, secrets: &[], request_ids: false, line, time, second: Cell::new(u64::MAX) }
    }

    /// The same with `***` for the values of these query arguments, in the request line and in the referrer: a log is read by
    /// more people than may have the secret.
    #[must_use]
    pub fn redact(self, arguments: &'static [&'static str]) -> CombinedLog<S> {
        CombinedLog { secrets: arguments, ..self }
    }

    /// The same with one more quoted part at the end of a line: the request's id, see [`crate::RequestId`].
    #[must_use]
    pub fn request_ids(self) -> CombinedLog<S> {
        CombinedLog { request_ids: true, ..self }
    }

    fn format(&self, line: &mut Vec<u8>, record: &AccessRecord<'_>) {
        match record.client {
            Some(IpAddr::V4(client)) => {
                for (index, octet) in client.octets().into_iter().enumerate() {
                    if index > 0 {
                        line.push(b'.');
                    }
                    number(line, u64::from(octet));
                }
            }
            Some(client) => line.extend_from_slice(client.to_string().as_bytes()),
            None => line.push(b'-'),
        }
        line.extend_from_slice(b" - - ");
        if self.second.get() != record.wall_seconds {
            self.second.set(record.wall_seconds);
            let mut time = self.time.borrow_mut();
            time.clear();
            format_time(&mut time, record.wall_seconds);
        }
        line.extend_from_slice(&self.time.borrow());
        line.extend_from_slice(b" \"");
        let head = record.head;
        if head.target().is_empty() {
            line.push(b'-');
        } else {
            escape(line, head.method().as_bytes());
            line.push(b' ');
            self.escape_url(line, head.target().as_bytes());
            line.extend_from_slice(match head.version() {
                Version::Http10 => b" HTTP/1.0",
                Version::Http11 => b" HTTP/1.1",
            });
        }
        line.extend_from_slice(b"\" ");
        number(line, u64::from(record.status));
        line.push(b' ');
        number(line, record.bytes);
        for name in ["referer", "user-agent"] {
            line.extend_from_slice(b" \"");
            match head.field(name) {
                Some(value) if !value.is_empty() => self.escape_url(line, value),
                _ => line.push(b'-'),
            }
            line.push(b'"');
        }
        if self.request_ids {
            line.extend_from_slice(b" \"");
            escape(line, record.request_id.as_deref().unwrap_or("-").as_bytes());
            line.push(b'"');
        }
        line.push(b'\n');
    }

    /// Appends a target or a field that may be a URL, without its secrets.
    fn escape_url(&self, line: &mut Vec<u8>, text: &[u8]) {
        let query = if self.secrets.is_empty() { None } else { text.iter().position(|&byte| byte == b'?') };
        let Some(query) = query else { return escape(line, text) };
        escape(line, &text[..query]);
        for (index, pair) in text[query + 1..].split(|&byte| byte == b'&').enumerate() {
            line.push(if index == 0 { b'?' } else { b'&' });
            let name = &pair[..pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len())];
            // Whoever writes it as %74oken reaches the handler, too.
            let is_secret = |secret: &&str| percent_encoding::percent_decode(name).eq(secret.bytes());
            if self.secrets.iter().any(is_secret) {
                escape(line, name);
                line.extend_from_slice(b"=***");
            } else {
                escape(line, pair);
            }
        }
    }
}

impl<S: Fn(&[u8]) + 'static> AccessObserver for CombinedLog<S> {
    fn request_finished(&self, record: &AccessRecord<'_>) {
        let mut line = self.line.take();
        line.clear();
        self.format(&mut line, record);
        (self.sink)(&line);
        self.line.replace(line);
    }
}

fn number(line: &mut Vec<u8>, value: u64) {
    line.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A byte that stands for itself in a quoted part of a line.
fn is_plain(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\'
}

fn escape(line: &mut Vec<u8>, text: &[u8]) {
    if text.iter().all(|&byte| is_plain(byte)) {
        return line.extend_from_slice(text);
    }
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text {
        if is_plain(byte) {
            line.push(byte);
        } else {
            line.extend_from_slice(&[
                b'\\',
                b'x',
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ]);
        }
    }
}

/// `[21/Nov/2026:08:37:00 +0000]`, in UTC.
fn format_time(out: &mut Vec<u8>, seconds: u64) {
    // "Sat, 21 Nov 2026 08:37:00 GMT" has all the parts, at fixed places.
    let wall = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let date = httpdate::fmt_http_date(wall);
    let (day, month, year, time) = (&date[5..7], &date[8..11], &date[12..16], &date[17..25]);
    out.extend_from_slice(format!("[{day}/{month}/{year}:{time} +0000]").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk_wire::http1::HeadLimits;

    fn logged(request: &[u8]) -> String {
        let mut head = Head::new();
        // A refused head is logged with what was understood.
        let _ = head.feed(request, &HeadLimits::default());
        let lines = Rc::new(RefCell::new(Vec::new()));
        let sink = Rc::clone(&lines);
        let log =
            CombinedLog::new(move |line: &[u8]| sink.borrow_mut().extend_from_slice(line)).redact(&["token"]);
        log.request_finished(&AccessRecord {
            peer: &Address::Unix(None),
            client: Some("192.0.2.10".parse().unwrap()),
            head: &head,
            status: 200,
            bytes: 13,
            wall_seconds: 1_795_250_220,
            took: Duration::ZERO,
            request_id: None,
            handler: &crate::Router::new(),
        });
        let lines = lines.take();
        String::from_utf8(lines).unwrap()
    }

    #[test]
    fn a_request_is_one_line_in_the_combined_format() {
        let request = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nUser-Agent: curl/8\r\nReferer: http://r/\r\n\r\n";
        let expected = "192.0.2.10 - - [21/Nov/2026:08:37:00 +0000] \"GET /a?b=c HTTP/1.1\" 200 13 \"http://r/\" \"curl/8\"\n";
        assert_eq!(logged(request), expected);
    }

    #[test]
    fn a_secret_is_not_in_the_log_however_it_is_written() {
        for query in [
            "?token=geheim",
            "?a=1&token=geheim&b=2",
            "?%74oke%6e=geheim",
            "?a?&token=gehe=im",
            "?token=&token=x",
        ] {
            let request = format!("GET /{query} HTTP/1.1\r\nHost: x\r\nReferer: http://x/{query}\r\n\r\n");
            let line = logged(request.as_bytes());
            assert!(!line.contains("geh") && line.matches("=***").count() >= 2, "{line}");
        }
        let line = logged(b"GET /token=b?tokens=1&c&=d&token HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(line.contains("\"GET /token=b?tokens=1&c&=d&token=*** HTTP/1.1\""), "{line}");
    }

    #[test]
    fn what_a_client_sent_cannot_forge_a_line_or_end_a_quote() {
        let request = b"GET /\"x\\ HTTP/1.1\r\nHost: x\r\nUser-Agent: a\"b\\c\xffd\te\r\n\r\n";
        let line = logged(request);
        assert!(line.contains("\"GET /\\x22x\\x5C HTTP/1.1\""), "{line}");
        assert!(line.ends_with("\"a\\x22b\\x5Cc\\xFFd\\x09e\"\n"), "{line}");
        assert!(logged(b"\x16\x03\x01").contains(" \"-\" 200 "));
    }
}
