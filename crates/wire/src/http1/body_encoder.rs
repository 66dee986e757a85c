//! The body of an answer, held to what its head promised.
//!
//! A body longer or shorter than its Content-Length shifts every later answer of the connection, so it is refused before
//! a byte of it is written. It decides no framing: the web floor chose a [`Length`] and makes one encoder from it.

use std::fmt;

use super::{BadField, Length, encode_chunk, encode_last_chunk};

/// Why a body was not written: it contradicts the head, and that is the fault of who wrote the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadBody {
    /// There is more data than Content-Length said, or any data where there may be none.
    TooLong,
    /// The body is finished before Content-Length is reached. The connection must be closed.
    TooShort {
        /// How many bytes are missing.
        missing: u64,
    },
    /// A trailer is not a field, or there are trailers and the body is not chunked.
    Trailer,
}

impl fmt::Display for BadBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadBody::TooLong => formatter.write_str("the body is longer than its head says"),
            BadBody::TooShort { missing } => write!(formatter, "the body is {missing} bytes too short"),
            BadBody::Trailer => formatter.write_str("the trailers cannot be sent"),
        }
    }
}

impl std::error::Error for BadBody {}

impl From<BadField> for BadBody {
    fn from(_: BadField) -> Self {
        BadBody::Trailer
    }
}

/// Writes one body.
///
/// ```
/// use ropewalk_wire::http1::{BadBody, BodyEncoder, Length};
///
/// let mut out = Vec::new();
/// let mut body = BodyEncoder::new(Length::Known(2));
/// assert_eq!(body.data(&mut out, b"more"), Err(BadBody::TooLong));
/// body.data(&mut out, b"hi")?;
/// body.finish(&mut out, &[])?;
/// assert_eq!(out, b"hi");
/// # Ok::<(), BadBody>(())
/// ```
#[derive(Clone, Debug)]
pub struct BodyEncoder {
    /// `Known` counts down.
    length: Length,
}

impl BodyEncoder {
    /// An encoder for a body whose head says this. For HEAD and 304, where no body follows, it is [`Length::None`].
    pub fn new(length: Length) -> Self {
        Self { length }
    }

    /// Appends data in its framing.
    ///
    /// # Errors
    /// [`BadBody::TooLong`]; then nothing is appended and the encoder is as before.
    pub fn data(&mut self, out: &mut Vec<u8>, data: &[u8]) -> Result<(), BadBody> {
        match &mut self.length {
            Length::Known(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(BadBody::TooLong)?;
                out.extend_from_slice(data);
            }
            Length::Chunked => encode_chunk(out, data),
            Length::UntilClose => out.extend_from_slice(data),
            Length::None if data.is_empty() => {}
            Length::None => return Err(BadBody::TooLong),
        }
        Ok(())
    }

    /// Ends the body, with trailers if it is chunked.
    ///
    /// # Errors
    /// [`BadBody::TooShort`] or [`BadBody::Trailer`]; then nothing is appended.
    pub fn finish(self, out: &mut Vec<u8>, trailers: &[(&str, &[u8])]) -> Result<(), BadBody> {
        match self.length {
            Length::Chunked => Ok(encode_last_chunk(out, trailers)?),
            Length::Known(missing @ 1..) => Err(BadBody::TooShort { missing }),
            _ if !trailers.is_empty() => Err(BadBody::Trailer),
            _ => Ok(()),
        }
    }
}
