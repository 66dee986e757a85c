//! A body, taken out of its framing: by length, in chunks, or to the end of the connection (RFC 9112 6 and 7).
//!
//! It holds no data: what it hands out are slices of the input. It does not answer `100 Continue` and it measures no
//! rate. The web floor makes one from [`Head::framing`](super::Head::framing) and feeds it what follows the head; for an
//! answer [`ResponseDecoder`](super::ResponseDecoder) does.

use super::bytes::is_value;
use super::trailers::Trailers;
use super::{BodyLimits, Framing, Refusal};

/// How many bytes of chunk extensions may pass beyond the data that came with them. Without a sum, one byte of data per
/// long chunk line keeps a server busy with almost no body (CVE-2023-39326 in another server).
const EXTENSION_EXCESS_MAX: u16 = 16 * 1024;

/// More digits than 64 bits need are a trap for somebody's integer.
const SIZE_DIGITS_MAX: u16 = 16;

/// What one call of [`BodyDecoder::decode`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEvent<'a> {
    /// The next bytes of the body, never empty.
    Data(&'a [u8]),
    /// All of the input was consumed, and the body is not over.
    NeedMore,
    /// The body is over; the next request begins behind what was consumed.
    End,
}

/// The decoder's state, in the words of RFC 9112 7.1:
///
/// ```text
/// chunked-body = *chunk last-chunk trailer-section CRLF
/// chunk        = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    End,
    Length,
    UntilClose,
    ChunkSize,
    ChunkExt,
    ChunkLf,
    ChunkData,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerSection,
    EndLf,
    Refused(Refusal),
}

/// Decodes one body. The default is that of a message without one.
#[derive(Debug, Default)]
pub struct BodyDecoder {
    /// Bytes left of the length or of the chunk; while a chunk size is read, its value so far.
    remaining: u64,
    /// Bytes that were announced: the length, or the sum of the chunk sizes.
    announced: u64,
    trailers: Option<Box<Trailers>>,
    /// Bytes of the chunk line so far.
    line_bytes: u16,
    extension_excess: u16,
    state: State,
}

impl BodyDecoder {
    /// A decoder for a body with this framing.
    pub fn new(framing: Framing) -> Self {
        let (state, length) = match framing {
            Framing::None | Framing::Length(0) => (State::End, 0),
            Framing::Length(length) => (State::Length, length),
            Framing::Chunked => (State::ChunkSize, 0),
            Framing::UntilClose => (State::UntilClose, 0),
        };
        Self { state, remaining: length, announced: length, ..Self::default() }
    }

    /// Whether the body is over, so that the next bytes belong to the next request.
    pub fn is_ended(&self) -> bool {
        self.state == State::End
    }

    /// Decodes from the beginning of `input`: how many bytes were consumed, and what they were.
    ///
    /// Call it again with the rest, until it is [`BodyEvent::NeedMore`] or [`BodyEvent::End`]. However the body is cut into calls,
    /// the data and the outcome are the same. A refusal is given again whenever it is called once more.
    pub fn decode<'a>(
        &mut self,
        input: &'a [u8],
        limits: &BodyLimits,
    ) -> Result<(usize, BodyEvent<'a>), Refusal> {
        self.decode_any(input, limits).inspect_err(|&refusal| self.state = State::Refused(refusal))
    }

    /// The input has ended. Answers whether the body has: only one that has no other end ends by this.
    pub fn end_input(&mut self) -> bool {
        if self.state == State::UntilClose {
            self.state = State::End;
        }
        self.is_ended()
    }

    /// The fields behind a chunked body, once it has ended, in the order they were sent; empty if there were none.
    ///
    /// They must not be merged into the head's fields (RFC 9110 6.5.1).
    pub fn take_trailers(&mut self) -> Vec<(String, Vec<u8>)> {
        match self.state {
            State::End => self.trailers.take().map(|trailers| trailers.into_fields()).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    fn decode_any<'a>(
        &mut self,
        input: &'a [u8],
        limits: &BodyLimits,
    ) -> Result<(usize, BodyEvent<'a>), Refusal> {
        let mut at = 0;
        loop {
            match self.state {
                State::End => return Ok((at, BodyEvent::End)),
                State::Refused(refusal) => return Err(refusal),
                State::Length | State::ChunkData => return self.data(input, at, limits),
                State::UntilClose => return self.until_close(input, limits),
                State::TrailerSection => {
                    let trailers = self.trailers.get_or_insert_default();
                    let Some(consumed) = trailers.feed(&input[at..], limits)? else {
                        return Ok((input.len(), BodyEvent::NeedMore));
                    };
                    at += consumed;
                    self.state = State::End;
                }
                // The byte of a first trailer is left where it is: the field scanner begins with it.
                State::TrailerStart if input.get(at).is_some_and(|&byte| byte != b'\r') => {
                    self.state = State::TrailerSection;
                }
                _ => {
                    let Some(&byte) = input.get(at) else {
                        return Ok((at, BodyEvent::NeedMore));
                    };
                    self.state = self.next(byte, limits)?;
                    at += 1;
                }
            }
        }
    }

    fn data<'a>(
        &mut self,
        input: &'a [u8],
        at: usize,
        limits: &BodyLimits,
    ) -> Result<(usize, BodyEvent<'a>), Refusal> {
        if self.announced > limits.body_bytes_max {
            return Err(Refusal::BodyTooLarge);
        }
        let rest = &input[at..];
        if rest.is_empty() {
            return Ok((at, BodyEvent::NeedMore));
        }
        let taken = usize::try_from(self.remaining).map_or(rest.len(), |remaining| rest.len().min(remaining));
        self.remaining -= taken as u64;
        if self.remaining == 0 {
            self.state = if self.state == State::Length { State::End } else { State::DataCr };
        }
        Ok((at + taken, BodyEvent::Data(&rest[..taken])))
    }

    /// What is handed out is counted as announced: up to the limit, so that a cut makes no difference.
    fn until_close<'a>(
        &mut self,
        input: &'a [u8],
        limits: &BodyLimits,
    ) -> Result<(usize, BodyEvent<'a>), Refusal> {
        if input.is_empty() {
            return Ok((0, BodyEvent::NeedMore));
        }
        let room = limits.body_bytes_max.saturating_sub(self.announced);
        let taken = usize::try_from(room).map_or(input.len(), |room| input.len().min(room));
        if taken == 0 {
            return Err(Refusal::BodyTooLarge);
        }
        self.announced += taken as u64;
        Ok((taken, BodyEvent::Data(&input[..taken])))
    }

    /// The transition for one byte of chunk framing.
    fn next(&mut self, byte: u8, limits: &BodyLimits) -> Result<State, Refusal> {
        match (self.state, byte) {
            (State::ChunkSize, b';') if self.line_bytes > 0 => self.count(State::ChunkExt, limits),
            (State::ChunkSize, b'\r') if self.line_bytes > 0 => Ok(State::ChunkLf),
            (State::ChunkSize, b'\n') => Err(Refusal::BareLf),
            (State::ChunkSize, _) => self.digit(byte, limits),
            (State::ChunkExt, b'\r') => Ok(State::ChunkLf),
            (State::ChunkExt, b'\n') => Err(Refusal::BareLf),
            // RFC 9112 7.1.1: an extension that is not understood MUST be ignored.
            (State::ChunkExt, _) if is_value(byte) => {
                self.extension_excess = self.extension_excess.saturating_add(1);
                self.count(State::ChunkExt, limits)
            }
            (State::ChunkExt, _) => Err(Refusal::BadChunkExtension),
            (State::ChunkLf, b'\n') => self.chunk(limits),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => {
                self.line_bytes = 0;
                Ok(State::ChunkSize)
            }
            (State::DataCr | State::DataLf, _) => Err(Refusal::BadChunkEnd),
            (State::TrailerStart, _) => Ok(State::EndLf),
            (State::EndLf, b'\n') => Ok(State::End),
            _ => Err(Refusal::BareCr),
        }
    }

    /// RFC 9112 7.1: large sizes MUST be expected, and overflows prevented.
    fn digit(&mut self, byte: u8, limits: &BodyLimits) -> Result<State, Refusal> {
        let digit = char::from(byte).to_digit(16).ok_or(Refusal::BadChunkSize)?;
        if self.line_bytes == SIZE_DIGITS_MAX {
            return Err(Refusal::BadChunkSize);
        }
        self.remaining = self.remaining << 4 | u64::from(digit);
        self.count(State::ChunkSize, limits)
    }

    /// Counts a byte of the chunk line.
    fn count(&mut self, next: State, limits: &BodyLimits) -> Result<State, Refusal> {
        let line_bytes_max = u16::try_from(limits.chunk_line_bytes_max).unwrap_or(u16::MAX);
        if self.line_bytes >= line_bytes_max {
            return Err(Refusal::ChunkLineTooLong);
        }
        self.line_bytes += 1;
        Ok(next)
    }

    /// The chunk line is over.
    fn chunk(&mut self, limits: &BodyLimits) -> Result<State, Refusal> {
        self.announced = self.announced.saturating_add(self.remaining);
        if self.announced > limits.body_bytes_max {
            return Err(Refusal::BodyTooLarge);
        }
        let pardoned = u16::try_from(self.remaining).unwrap_or(u16::MAX);
        self.extension_excess = self.extension_excess.saturating_sub(pardoned);
        if self.extension_excess > EXTENSION_EXCESS_MAX {
            return Err(Refusal::TooManyChunkExtensions);
        }
        Ok(if self.remaining == 0 { State::TrailerStart } else { State::ChunkData })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_is_small() {
        assert!(size_of::<BodyDecoder>() <= 32, "{}", size_of::<BodyDecoder>());
    }
}
