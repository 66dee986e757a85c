//! permessage-deflate's work (RFC 7692 section 7.2): messages in and out of raw deflate. What the two sides agree on is in
//! `extension`; which message is compressed is the encoder's and the decoder's business.
//!
//! A compressor takes a quarter of a megabyte and a decompressor 48 KiB. Without context takeover neither remembers anything between two
//! messages, so one of each serves all connections of a thread: that is the [`Pool`].

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::close::Violation;
use super::decoder::Work;

/// The largest window: 2 to the power of 15 bytes.
pub(super) const BITS_MAX: u8 = 15;
/// The smallest that RFC 7692 knows.
pub(super) const BITS_MIN: u8 = 8;
/// The smallest that compressors of zlib's family have.
const COMPRESSOR_BITS_MIN: u8 = 9;

/// What a message's compressed form ends with, and what is not sent of it (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Output in one step, so that a bomb is noticed soon.
const STEP_BYTES: usize = 16 * 1024;
/// A scratch buffer that has grown beyond this is freed rather than kept.
const KEEP_BYTES_MAX: usize = 64 * 1024;

/// What was agreed for the messages of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// Whether it remembers, from one message to the next, what it has compressed.
    pub takeover: bool,
    /// The window is 2 to the power of this many bytes: 8 to 15.
    pub bits: u8,
}

impl Direction {
    /// Whether a message of this length can be compressed within the window.
    ///
    /// There is no compressor with a window of 256 bytes, but a short message points back no further than it is long. A message that is not
    /// compressed is always allowed.
    pub(super) fn fits(self, length: usize) -> bool {
        self.bits >= COMPRESSOR_BITS_MIN || length <= 1 << self.bits
    }

    pub(super) fn compressor(self, level: Compression) -> Compress {
        Compress::new_with_window_bits(level, false, self.bits.max(COMPRESSOR_BITS_MIN))
    }
}

/// Compressors and decompressors that connections without context takeover share, and what else is needed only while at work. One per
/// thread is enough.
///
/// ```
/// use ropewalk_wire::websocket::{Direction, Encoder, Opcode, Pool};
/// let mut pool = Pool::default();
/// let (mut out, text) = (Vec::new(), "again and ".repeat(50));
/// for _connection in 0..2 {
///     let mut encoder = Encoder::new(Some(Direction { takeover: false, bits: 15 }));
///     encoder.message(&mut out, Opcode::Text, text.as_bytes(), None, &mut pool);
/// }
/// assert!(out.len() < 100);
/// ```
pub struct Pool {
    level: u32,
    compressors: Vec<(u8, Compress)>,
    decompressors: Vec<Decompress>,
    /// Where a message is compressed to before its length is known.
    pub(super) scratch: Vec<u8>,
    /// What decoders keep of a frame while they are at work on it.
    #[allow(clippy::vec_box, reason = "the box is what a quiet connection does without: it is kept, too")]
    spare: Vec<Box<Work>>,
}

impl Default for Pool {
    fn default() -> Pool {
        Pool::new(1)
    }
}

impl Pool {
    /// With a level from 1, fast, to 9, small. For a server that sends events 1 is right: 6 is half the speed for some percent.
    #[must_use]
    pub fn new(level: u32) -> Pool {
        Pool {
            level,
            compressors: Vec::new(),
            decompressors: Vec::new(),
            scratch: Vec::new(),
            spare: Vec::new(),
        }
    }

    pub(super) fn level(&self) -> Compression {
        Compression::new(self.level)
    }

    /// Appends a message as it is sent, compressed with nothing remembered.
    pub(super) fn pack(&mut self, bits: u8, payload: &[u8], out: &mut Vec<u8>) {
        let bits = bits.clamp(COMPRESSOR_BITS_MIN, BITS_MAX);
        let known = self.compressors.iter().position(|(known, _)| *known == bits);
        let at = known.unwrap_or_else(|| {
            let fresh = Direction { takeover: false, bits }.compressor(self.level());
            self.compressors.push((bits, fresh));
            self.compressors.len() - 1
        });
        let (_, compressor) = &mut self.compressors[at];
        compressor.reset();
        pack(compressor, payload, out);
    }

    pub(super) fn take_work(&mut self) -> Box<Work> {
        self.spare.pop().unwrap_or_default()
    }

    /// One is all that is needed at a time, but for frames of which some is still to come.
    pub(super) fn keep_work(&mut self, work: Box<Work>) {
        const SPARE_MAX: usize = 4;
        if self.spare.len() < SPARE_MAX {
            self.spare.push(work);
        }
    }

    pub(super) fn keep_scratch(&mut self, scratch: Vec<u8>) {
        if scratch.capacity() <= KEEP_BYTES_MAX {
            self.scratch = scratch;
        }
    }

    /// A decompressor that remembers nothing.
    pub(super) fn take_decompressor(&mut self) -> Decompress {
        self.decompressors.pop().unwrap_or_else(|| Decompress::new(false))
    }

    pub(super) fn give_back(&mut self, mut decompressor: Decompress) {
        /// More are in use at once only by messages that are delivered in pieces.
        const SPARE_MAX: usize = 4;
        if self.decompressors.len() < SPARE_MAX {
            decompressor.reset(false);
            self.decompressors.push(decompressor);
        }
    }
}

/// Appends a message as it is sent.
pub(super) fn pack(compressor: &mut Compress, payload: &[u8], out: &mut Vec<u8>) {
    if payload.is_empty() {
        // RFC 7692 section 7.2.3.6: a flush that has nothing to flush gives nothing.
        return out.push(0);
    }
    let before = compressor.total_in();
    loop {
        out.reserve(payload.len() / 4 + 64);
        let consumed = (compressor.total_in() - before) as usize;
        compressor
            .compress_vec(&payload[consumed..], out, FlushCompress::Sync)
            .expect("a compressor fails only of wrong use");
        if out.len() < out.capacity() && (compressor.total_in() - before) as usize == payload.len() {
            break;
        }
    }
    // The end of what was flushed: the receiver adds it again.
    if out.ends_with(&TAIL) {
        out.truncate(out.len() - TAIL.len());
    }
}

/// Decompresses on: takes from the front of `input`, and appends at most about `room` bytes. At the end of a message `input` is
/// to be followed by [`unpack_end`].
pub(super) fn unpack(
    decompressor: &mut Decompress,
    input: &mut &[u8],
    out: &mut Vec<u8>,
    room: usize,
) -> Result<(), Violation> {
    let begin = out.len();
    loop {
        let (consumed, produced) = (decompressor.total_in(), out.len());
        let left = room.saturating_sub(out.len() - begin);
        if left == 0 {
            return Ok(());
        }
        if out.capacity() == out.len() {
            out.reserve(STEP_BYTES.min(left));
        }
        let status = decompressor
            .decompress_vec(input, out, FlushDecompress::Sync)
            .map_err(|_| Violation::Compression)?;
        let took = (decompressor.total_in() - consumed) as usize;
        *input = &input[took..];
        if status == Status::StreamEnd {
            go_on_after_final_block(decompressor, &out[begin..]);
        } else if input.is_empty() && out.len() < out.capacity() {
            return Ok(());
        } else if took == 0 && out.len() == produced && out.len() < out.capacity() {
            return Err(Violation::Compression);
        }
        if input.is_empty() && out.len() < out.capacity() {
            return Ok(());
        }
    }
}

/// The end of a message: what its sender has left out.
pub(super) fn unpack_end(
    decompressor: &mut Decompress,
    out: &mut Vec<u8>,
    room: usize,
) -> Result<(), Violation> {
    let mut tail = TAIL.as_slice();
    unpack(decompressor, &mut tail, out, room)
}

/// RFC 7692 section 7.2.3.5: a sender may end a message with deflate's last block, and go on in the next message. What was said before can
/// still be referred to, as far as it belongs to this message.
fn go_on_after_final_block(decompressor: &mut Decompress, said: &[u8]) {
    decompressor.reset(false);
    let window = &said[said.len().saturating_sub(1 << BITS_MAX)..];
    // It fails only in a stream with zlib's head.
    let _ = decompressor.set_dictionary(window);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(packed: &[u8], room: usize) -> Result<Vec<u8>, Violation> {
        let mut pool = Pool::default();
        let mut decompressor = pool.take_decompressor();
        let (mut out, mut input) = (Vec::new(), packed);
        unpack(&mut decompressor, &mut input, &mut out, room)?;
        unpack_end(&mut decompressor, &mut out, room)?;
        pool.give_back(decompressor);
        Ok(out)
    }

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 7692 section 7.2.3.1, .3 (no compression) and .4 (a last block).
        for packed in [
            b"\xf2\x48\xcd\xc9\xc9\x07\x00".as_slice(),
            b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
            // .5: two blocks.
            b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
        ] {
            assert_eq!(unpacked(packed, 100), Ok(b"Hello".to_vec()), "{packed:x?}");
        }
        assert_eq!(unpacked(b"\x00", 100), Ok(Vec::new()));
        assert_eq!(unpacked(b"\xff\xff", 100), Err(Violation::Compression));
    }

    #[test]
    fn what_is_packed_comes_back_in_every_window() {
        let text: Vec<u8> = (0..100_000u64).flat_map(|n| (n * n % 97).to_string().into_bytes()).collect();
        let mut pool = Pool::default();
        for bits in BITS_MIN..=BITS_MAX {
            for length in [0, 1, 5, 127, 256, 10_000, text.len()] {
                let mut packed = Vec::new();
                pool.pack(bits, &text[..length], &mut packed);
                assert_eq!(unpacked(&packed, usize::MAX).as_deref(), Ok(&text[..length]), "{bits} {length}");
            }
        }
    }

    #[test]
    fn a_window_is_kept_to() {
        // Text that repeats itself after 3,000 bytes: a window of 2 KiB cannot know it.
        let mut random = 1u32;
        let unlike: Vec<u8> = std::iter::repeat_with(|| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 24) as u8
        })
        .take(3000)
        .collect();
        let twice = [unlike.clone(), unlike].concat();
        let mut pool = Pool::default();
        for (bits, repeats) in [(11, false), (13, true)] {
            let mut packed = Vec::new();
            pool.pack(bits, &twice, &mut packed);
            assert_eq!(packed.len() < 4000, repeats, "{bits}: {}", packed.len());
        }
    }

    #[test]
    fn room_is_kept_to_within_a_step() {
        let mut pool = Pool::default();
        let mut packed = Vec::new();
        pool.pack(15, &vec![0; 50_000_000], &mut packed);
        let mut decompressor = pool.take_decompressor();
        let (mut out, mut input) = (Vec::new(), packed.as_slice());
        unpack(&mut decompressor, &mut input, &mut out, 1000).unwrap();
        assert!(!input.is_empty() && (1000..40_000).contains(&out.len()), "{}", out.len());
    }
}
