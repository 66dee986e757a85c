//! The decoder: keeps what has arrived of a header and lets `line` or `block` judge it in fixed steps, so that cuts make no
//! difference.

use super::block::Block;
use super::header::{Header, Version};
use super::line::Line;
use super::malformed::Malformed;

/// What is reserved at first: any line, or a block of usual size. A connection that says nothing has no buffer.
const USUAL_BYTES: usize = 128;

/// Which forms are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versions {
    /// Either.
    #[default]
    Any,
    /// This one only.
    Only(Version),
}

/// What came of bytes that were fed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fed {
    /// The header is not whole; all of the bytes were taken.
    NeedMore,
    /// The header is whole.
    Header {
        /// How many of the bytes belong to it; the rest is what the connection is for.
        consumed: usize,
        /// What it says.
        header: Header,
    },
}

/// Reads one header, in whatever pieces it comes. It holds at most 16 + [`super::BLOCK_BYTES_MAX`] bytes.
#[derive(Debug)]
pub struct Decoder {
    versions: Versions,
    buffer: Vec<u8>,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// Nothing is there.
    Open,
    Line(Line),
    Block(Block),
    Malformed(Malformed),
}

impl Decoder {
    /// A decoder of the next header.
    #[must_use]
    pub fn new(versions: Versions) -> Decoder {
        Decoder { versions, buffer: Vec::new(), form: Form::Open }
    }

    /// Whether nothing of a header has come.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.form, Form::Open)
    }

    /// Takes bytes up to the header's end. After it, the decoder is new.
    ///
    /// # Errors
    /// At the first byte that no header can have there; the refusal is final.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Fed, Malformed> {
        let outcome = self.advance(bytes);
        match outcome {
            Ok(Fed::NeedMore) => {}
            Ok(Fed::Header { .. }) => *self = Decoder::new(self.versions),
            Err(malformed) => {
                self.form = Form::Malformed(malformed);
                self.buffer = Vec::new();
            }
        }
        outcome
    }

    fn advance(&mut self, bytes: &[u8]) -> Result<Fed, Malformed> {
        let mut consumed = 0;
        if let (Form::Open, Some(&first)) = (&self.form, bytes.first()) {
            self.buffer.reserve(USUAL_BYTES);
            self.form = self.open(first)?;
        }
        loop {
            let wanted = match &self.form {
                Form::Open => return Ok(Fed::NeedMore),
                Form::Line(_) => self.buffer.len() + 1,
                Form::Block(block) => block.wanted,
                Form::Malformed(malformed) => return Err(*malformed),
            };
            let missing = wanted - self.buffer.len();
            let taken = missing.min(bytes.len() - consumed);
            self.buffer.extend_from_slice(&bytes[consumed..consumed + taken]);
            consumed += taken;
            if taken < missing {
                return Ok(Fed::NeedMore);
            }
            if let Some(header) = self.step()? {
                return Ok(Fed::Header { consumed, header });
            }
        }
    }

    /// The first byte tells which form it is.
    fn open(&self, first: u8) -> Result<Form, Malformed> {
        match (first, self.versions) {
            (b'P', Versions::Any | Versions::Only(Version::V1)) => Ok(Form::Line(Line::new())),
            (b'\r', Versions::Any | Versions::Only(Version::V2)) => Ok(Form::Block(Block::new())),
            _ => Err(Malformed::Signature),
        }
    }

    fn step(&mut self) -> Result<Option<Header>, Malformed> {
        match &mut self.form {
            Form::Line(line) => {
                Ok(line.step(&self.buffer)?.map(|addresses| Header::new(Version::V1, addresses, &[])))
            }
            Form::Block(block) => block.step(&self.buffer),
            Form::Open | Form::Malformed(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BLOCK_BYTES_MAX, LINE_BYTES_MAX};
    use super::*;

    #[test]
    fn what_is_held_is_bounded() {
        let longest = u16::try_from(BLOCK_BYTES_MAX).unwrap().to_be_bytes();
        let block = [&b"\r\n\r\n\0\r\nQUIT\n\x20\0"[..], &longest].concat();
        for (head, most) in [(block, 16 + BLOCK_BYTES_MAX), (b"PROXY UNKNOWN ".to_vec(), LINE_BYTES_MAX)] {
            let mut decoder = Decoder::new(Versions::Any);
            let mut fed = decoder.feed(&head);
            while fed == Ok(Fed::NeedMore) {
                fed = decoder.feed(b"x");
                assert!(decoder.buffer.len() <= most && decoder.buffer.capacity() <= 2 * most);
            }
            assert_eq!(decoder.buffer.capacity(), 0, "and let go of at the end");
        }
    }
}
