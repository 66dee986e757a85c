//! The sizes that a peer may not pass, each with its default and why.
//!
//! Not deadlines and not rates: those need a clock, which belongs to the caller. Filled in by the web floor's
//! configuration, read by [`Head::feed`](super::Head::feed) and [`BodyDecoder::decode`](super::BodyDecoder::decode).

/// How large a request's head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// The request line with its CRLF, in bytes; beyond it the answer is 414. Default 16 KiB: RFC 9112 3 asks for at
    /// least 8000, and addresses with a signed token in the query pass that.
    pub request_line_bytes_max: usize,
    /// The whole head, from the method to the empty line, in bytes; beyond it the answer is 431. Default 64 KiB: a few
    /// large cookies. Never more than `u32::MAX`, whatever is set here.
    pub head_bytes_max: usize,
    /// The number of field lines; beyond it the answer is 431. Default 100: browsers behind proxies send up to 40.
    pub fields_max: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { request_line_bytes_max: 16 * 1024, head_bytes_max: 64 * 1024, fields_max: 100 }
    }
}

/// How large a request's body may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// The body without its chunk framing, in bytes; beyond it the answer is 413. Default 8 MiB: forms and small
    /// uploads; a route that takes more says so.
    pub body_bytes_max: u64,
    /// One chunk-size line with its extensions and without its CRLF, in bytes. Default 256: a signed chunk needs 85.
    /// Never more than `u16::MAX`, whatever is set here.
    pub chunk_line_bytes_max: usize,
    /// The trailer section, in bytes; beyond it the answer is 431. Default 8 KiB.
    pub trailer_bytes_max: usize,
    /// The number of trailer fields; beyond it the answer is 431. Default 32: a checksum, a signature, some timings.
    pub trailer_fields_max: usize,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 8 * 1024 * 1024,
            chunk_line_bytes_max: 256,
            trailer_bytes_max: 8 * 1024,
            trailer_fields_max: 32,
        }
    }
}
