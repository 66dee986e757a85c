//! The head of an answer and the framing of its body, appended straight to the connection's output.
//!
//! Not a builder: the parts are written in the order they travel, and the caller adds what needs a clock or a policy
//! (Date, Server). Injection ends here: no name or value that would break a line is written.

use std::fmt;

use super::bytes::{is_token_text, is_value, value_end};
use super::status::status_line;
use super::{Version, reason_phrase};

/// Why a field was not written: always the fault of who wrote the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadField {
    /// The name is empty or not a token.
    Name,
    /// The value holds CR, LF, NUL or another control character.
    Value,
}

impl fmt::Display for BadField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            BadField::Name => "the field name is not a token",
            BadField::Value => "the field value holds a control character",
        })
    }
}

impl std::error::Error for BadField {}

/// How the end of an answer's body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// `Content-Length` with this number of bytes.
    Known(u64),
    /// `Transfer-Encoding: chunked`; only to an HTTP/1.1 client (RFC 9112 6.1).
    Chunked,
    /// The body ends with the connection: how an HTTP/1.0 client gets a stream. Say `Connection: close` too.
    UntilClose,
    /// No body and no field about one: 1xx, 204, 304, and the answer to CONNECT.
    None,
}

/// Whether an answer with this status to this method has a body at all (RFC 9110 6.4.1).
pub fn body_allowed(method: &str, status: u16) -> bool {
    match status {
        100..=199 | 204 | 304 => false,
        200..=299 if method == "CONNECT" => false,
        _ => method != "HEAD",
    }
}

/// Whether an answer may carry Content-Length or Transfer-Encoding (RFC 9110 8.6 and RFC 9112 6.1, MUST NOT).
///
/// Those to HEAD and 304 may, though they have no body: they tell what GET would have.
pub fn length_allowed(method: &str, status: u16) -> bool {
    match status {
        100..=199 | 204 => false,
        200..=299 => method != "CONNECT",
        _ => true,
    }
}

/// Appends the status line: `HTTP/1.1 200 OK` and CRLF.
///
/// `reason` replaces the usual phrase; what cannot stand in a status line is left out of it. A `status` that has not three
/// digits is a mistake in the program and becomes 500.
#[inline]
pub fn encode_status(out: &mut Vec<u8>, status: u16, reason: Option<&str>) {
    match (status_line(status), reason) {
        (Some(line), None) => out.extend_from_slice(line),
        _ => encode_unusual_status(out, status, reason),
    }
}

fn encode_unusual_status(out: &mut Vec<u8>, status: u16, reason: Option<&str>) {
    let status = if (100..=999).contains(&status) { status } else { 500 };
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    // RFC 9112 4: the space MUST be sent even if the phrase is absent.
    out.push(b' ');
    let reason = reason.unwrap_or_else(|| reason_phrase(status));
    out.extend(reason.bytes().filter(|&byte| is_value(byte)));
    out.extend_from_slice(b"\r\n");
}

/// Appends `name: value` and CRLF, or nothing at all if that would not be one field line.
///
/// # Errors
/// [`BadField`] when the name is no token or the value holds a control character other than HTAB: RFC 9110 5.5.
#[inline]
pub fn encode_field(out: &mut Vec<u8>, name: &str, value: &[u8]) -> Result<(), BadField> {
    let name = name.as_bytes();
    if !is_token_text(name) {
        return Err(BadField::Name);
    }
    if value_end(value, 0) != value.len() {
        return Err(BadField::Value);
    }
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Appends `Content-Type`.
///
/// # Errors
/// [`BadField::Value`] as for [`encode_field`].
#[inline]
pub fn encode_content_type(out: &mut Vec<u8>, value: &str) -> Result<(), BadField> {
    let value = value.as_bytes();
    if value_end(value, 0) != value.len() {
        return Err(BadField::Value);
    }
    out.reserve(value.len() + 16);
    out.extend_from_slice(b"Content-Type: ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Appends `Content-Length`.
#[inline]
pub fn encode_content_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends `Transfer-Encoding: chunked`.
#[inline]
pub fn encode_chunked(out: &mut Vec<u8>) {
    out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
}

/// Appends the field that this length asks for, if any.
#[inline]
pub fn encode_length(out: &mut Vec<u8>, length: Length) {
    match length {
        Length::Known(length) => encode_content_length(out, length),
        Length::Chunked => encode_chunked(out),
        Length::UntilClose | Length::None => {}
    }
}

/// Appends the `Connection` field that a client of this version needs to be told (RFC 9112 9.3), if any.
#[inline]
pub fn encode_connection(out: &mut Vec<u8>, version: Version, keep_alive: bool) {
    match (version, keep_alive) {
        (Version::Http11, true) => {}
        (Version::Http10, true) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (_, false) => out.extend_from_slice(b"Connection: close\r\n"),
    }
}

/// Appends the empty line that ends a head.
#[inline]
pub fn encode_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// Appends one chunk. Empty data appends nothing, because an empty chunk would end the body.
pub fn encode_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    out.reserve(data.len() + CHUNK_FRAME_BYTES_MAX);
    encode_chunk_head(out, data.len());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Sixteen digits and two CRLFs.
const CHUNK_FRAME_BYTES_MAX: usize = 20;

/// Appends the size line of a chunk whose data is sent from elsewhere; the caller appends CRLF behind that data.
///
/// A `length` of 0 would end the body, so it appends nothing; then there is no CRLF to send either.
pub fn encode_chunk_head(out: &mut Vec<u8>, length: usize) {
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4);
    if digits == 0 {
        return;
    }
    for index in (0..digits).rev() {
        let digit = length >> (index * 4) & 0xf;
        out.push(b"0123456789abcdef"[digit]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the last chunk, the trailers and the empty line; the body is over.
///
/// # Errors
/// [`BadField`] as for [`encode_field`], also for a name that may not be a trailer (RFC 9110 6.5.1). Nothing is appended then.
pub fn encode_last_chunk(out: &mut Vec<u8>, trailers: &[(&str, &[u8])]) -> Result<(), BadField> {
    let before = out.len();
    out.extend_from_slice(b"0\r\n");
    for &(name, value) in trailers {
        let written = match super::trailers::permit(name.as_bytes()) {
            Ok(()) => encode_field(out, name, value),
            Err(_) => Err(BadField::Name),
        };
        if let Err(bad) = written {
            out.truncate(before);
            return Err(bad);
        }
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}
