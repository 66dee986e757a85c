//! Server-sent events, written: `text/event-stream` as the HTML standard describes it.
//!
//! Not a stream and not a reader: no ids are given, nothing is kept for resuming. The push endpoints of the web floor
//! call it with what a channel holds. No text that comes in can become a field or an event of its own.
//!
//! ```
//! use ropewalk_wire::sse;
//!
//! let mut out = Vec::new();
//! sse::encode_event(&mut out, Some("7"), Some("line"), "one\ntwo");
//! assert_eq!(out, b"id: 7\nevent: line\ndata: one\ndata: two\n\n");
//! ```

/// Appends one event.
///
/// `data` is split at every line end that a client would see (CRLF, LF and CR), so the client gets it back with LF in
/// their place. `id` and `event` stand on one line each: CR, LF and NUL are left out of them. An empty `data` is sent as
/// one empty line and fires an event; an empty `id` makes the client forget its last one.
pub fn encode_event(out: &mut Vec<u8>, id: Option<&str>, event: Option<&str>, data: &str) {
    if let Some(id) = id {
        encode_line(out, b"id: ", id);
    }
    if let Some(event) = event {
        encode_line(out, b"event: ", event);
    }
    encode_lines(out, b"data: ", data);
    out.push(b'\n');
}

/// Appends a comment, which clients pass over; it keeps a connection alive through proxies.
pub fn encode_comment(out: &mut Vec<u8>, text: &str) {
    encode_lines(out, b": ", text);
    // Not asked for by the standard, but readers that split at empty lines would join the comment with what follows.
    out.push(b'\n');
}

/// Appends how long a client is to wait, in milliseconds, before it connects again.
pub fn encode_retry(out: &mut Vec<u8>, ms: u64) {
    out.extend_from_slice(b"retry: ");
    out.extend_from_slice(itoa::Buffer::new().format(ms).as_bytes());
    out.extend_from_slice(b"\n\n");
}

/// One line, whatever the text holds.
fn encode_line(out: &mut Vec<u8>, prefix: &[u8], text: &str) {
    out.extend_from_slice(prefix);
    out.extend(text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n' | b'\0')));
    out.push(b'\n');
}

/// As many lines as the text has, each with the prefix.
fn encode_lines(out: &mut Vec<u8>, prefix: &[u8], text: &str) {
    let mut rest = text.as_bytes();
    out.reserve(prefix.len() + rest.len() + 2);
    while let Some(end) = memchr::memchr2(b'\r', b'\n', rest) {
        out.extend_from_slice(prefix);
        out.extend_from_slice(&rest[..end]);
        out.push(b'\n');
        let line_end = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[end + line_end..];
    }
    out.extend_from_slice(prefix);
    out.extend_from_slice(rest);
    out.push(b'\n');
}
