//! Decompression of an answer's body, piece by piece and within bounds: gzip (RFC 1952), deflate (RFC 1950 and 1951), brotli
//! (RFC 7932).
//!
//! A small body may claim to be a huge one, so nothing is unpacked before it is asked for, at most 32 KiB at once, and both the
//! size and the ratio have a limit. It reads no connection: the response feeds it.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::error::ClientError;
use super::options::ClientLimits;

/// What is asked for where the program says nothing else.
pub(super) const ACCEPTED: &str = "gzip, deflate, br";

const PIECE_BYTES: usize = 32 * 1024;
/// Below this a high ratio is no harm: an empty page of a megabyte is one.
const RATIO_FROM_BYTES: u64 = 1024 * 1024;
/// A gzip member may have a name and a comment of any length; whoever writes a book there means no good.
const GZIP_HEAD_BYTES_MAX: u32 = 64 * 1024;

const DAMAGED: ClientError = ClientError::Coding("the compressed data is damaged");
const CUT: ClientError = ClientError::Coding("it ends in the middle");

pub(super) struct Inflater {
    format: Format,
    input: Vec<u8>,
    at: usize,
    received: u64,
    decoded: u64,
    decoded_max: u64,
    ratio_max: u64,
    /// The last piece was full: there may be more without more input.
    full: bool,
}

enum Format {
    Gzip(Box<Gzip>),
    /// `deflate` means zlib's format, and some servers send the bare one: the first byte tells.
    Undecided,
    Deflate(Box<Decompress>, bool),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>, bool),
}

/// What a step came to: bytes consumed, bytes produced.
type Step = Result<(usize, usize), ClientError>;

impl Inflater {
    /// A decoder for this `Content-Encoding`; `None` for one that is not known, or for several at once.
    pub(super) fn new(coding: &str, limits: &ClientLimits) -> Option<Inflater> {
        let format = match coding.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Format::Gzip(Box::default()),
            "deflate" => Format::Undecided,
            "br" => {
                let [a, b, c] = [(); 3].map(|()| StandardAlloc::default());
                Format::Brotli(Box::new(BrotliState::new(a, b, c)), false)
            }
            _ => return None,
        };
        Some(Inflater {
            format,
            input: Vec::new(),
            at: 0,
            received: 0,
            decoded: 0,
            decoded_max: limits.decoded_bytes_max,
            ratio_max: limits.decoded_ratio_max,
            full: false,
        })
    }

    /// Takes the next bytes, once [`Inflater::piece`] has answered `None`.
    pub(super) fn feed(&mut self, data: Vec<u8>) {
        self.received += data.len() as u64;
        (self.input, self.at) = (data, 0);
    }

    /// The next piece; `None` when more input is needed.
    pub(super) fn piece(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        let mut out = Vec::new();
        while self.full || self.at < self.input.len() {
            out.resize(PIECE_BYTES, 0);
            let (consumed, produced) = self.format.step(&self.input[self.at..], &mut out)?;
            self.at += consumed;
            self.full = produced == PIECE_BYTES;
            if produced > 0 {
                out.truncate(produced);
                self.decoded += produced as u64;
                self.check()?;
                return Ok(Some(out));
            }
            if consumed == 0 {
                break;
            }
        }
        Ok(None)
    }

    fn check(&self) -> Result<(), ClientError> {
        if self.decoded > self.decoded_max {
            return Err(ClientError::TooLarge { bytes_max: self.decoded_max });
        }
        let most = self.received.saturating_mul(self.ratio_max).max(RATIO_FROM_BYTES);
        if self.decoded > most {
            return Err(ClientError::Coding("it unpacks to far more than was sent"));
        }
        Ok(())
    }

    /// The input has ended. An empty body is none, whatever its head says.
    pub(super) fn finish(&self) -> Result<(), ClientError> {
        if self.received == 0 || self.format.is_whole() { Ok(()) } else { Err(CUT) }
    }
}

impl Format {
    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Step {
        match self {
            Format::Gzip(gzip) => gzip.step(input, out),
            Format::Undecided => {
                let Some(first) = input.first() else { return Ok((0, 0)) };
                // RFC 1950 2.2: the method deflate, with a window of at most 32 KiB.
                let is_zlib = first & 0x0f == 8 && first >> 4 <= 7;
                *self = Format::Deflate(Box::new(Decompress::new(is_zlib)), false);
                self.step(input, out)
            }
            // What lies behind the end of the data is of no meaning.
            Format::Deflate(_, true) | Format::Brotli(_, true) => Ok((input.len(), 0)),
            Format::Deflate(inflate, ended) => {
                let (consumed, produced, end) = inflate_step(inflate, input, out)?;
                *ended = end;
                Ok((consumed, produced))
            }
            Format::Brotli(state, ended) => {
                let (mut left, mut at, mut room, mut filled, mut total) = (input.len(), 0, out.len(), 0, 0);
                let result = BrotliDecompressStream(
                    &mut left,
                    &mut at,
                    input,
                    &mut room,
                    &mut filled,
                    out,
                    &mut total,
                    state,
                );
                match result {
                    BrotliResult::ResultFailure => return Err(DAMAGED),
                    BrotliResult::ResultSuccess => *ended = true,
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
                }
                Ok((at, filled))
            }
        }
    }

    fn is_whole(&self) -> bool {
        match self {
            Format::Gzip(gzip) => matches!(gzip.part, Part::Between),
            Format::Undecided => false,
            Format::Deflate(_, ended) | Format::Brotli(_, ended) => *ended,
        }
    }
}

fn inflate_step(
    inflate: &mut Decompress,
    input: &[u8],
    out: &mut [u8],
) -> Result<(usize, usize, bool), ClientError> {
    let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
    let status = inflate.decompress(input, out, FlushDecompress::None).map_err(|_| DAMAGED)?;
    let consumed = (inflate.total_in() - before_in) as usize;
    let produced = (inflate.total_out() - before_out) as usize;
    Ok((consumed, produced, status == Status::StreamEnd))
}

/// Members one after the other, each a header, data, and a trailer (RFC 1952 2.2).
struct Gzip {
    part: Part,
    flags: u8,
    head_bytes: u32,
    /// Bytes of this part so far, or left of it.
    count: u32,
    trailer: [u8; 8],
    inflate: Decompress,
    crc: Crc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Fixed,
    ExtraLength,
    Extra,
    Name,
    Comment,
    HeadCrc,
    Data,
    Trailer,
    /// A member is over; another may follow, or zeros that fill a block.
    Between,
}

impl Default for Gzip {
    fn default() -> Gzip {
        Gzip {
            part: Part::Fixed,
            flags: 0,
            head_bytes: 0,
            count: 0,
            trailer: [0; 8],
            inflate: Decompress::new(false),
            crc: Crc::new(),
        }
    }
}

impl Gzip {
    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Step {
        let mut at = 0;
        loop {
            if self.part == Part::Data {
                let (consumed, produced, ended) = inflate_step(&mut self.inflate, &input[at..], out)?;
                self.crc.update(&out[..produced]);
                if ended {
                    (self.part, self.count) = (Part::Trailer, 0);
                }
                return Ok((at + consumed, produced));
            }
            let Some(&byte) = input.get(at) else { return Ok((at, 0)) };
            at += 1;
            self.byte(byte)?;
        }
    }

    fn byte(&mut self, byte: u8) -> Result<(), ClientError> {
        self.head_bytes += 1;
        if self.head_bytes > GZIP_HEAD_BYTES_MAX {
            return Err(DAMAGED);
        }
        match self.part {
            Part::Fixed => self.fixed(byte)?,
            Part::ExtraLength => {
                self.count = self.count >> 8 | u32::from(byte) << 8;
                self.trailer[0] += 1;
                if self.trailer[0] == 2 {
                    self.part = Part::Extra;
                }
            }
            Part::Extra => self.count -= 1,
            Part::Name | Part::Comment if byte == 0 => self.next(),
            Part::Name | Part::Comment => {}
            Part::HeadCrc => {
                self.count += 1;
                if self.count == 2 {
                    self.next();
                }
            }
            Part::Trailer => self.trailer(byte)?,
            Part::Between if byte == 0 => {}
            Part::Between => {
                *self = Gzip::default();
                self.head_bytes = 1;
                self.fixed(byte)?;
            }
            Part::Data => {}
        }
        if self.part == Part::Extra && self.count == 0 {
            self.next();
        }
        Ok(())
    }

    fn fixed(&mut self, byte: u8) -> Result<(), ClientError> {
        let fits = match self.count {
            0 => byte == 0x1f,
            1 => byte == 0x8b,
            2 => byte == 8,
            3 => {
                self.flags = byte;
                byte & 0xe0 == 0
            }
            _ => true,
        };
        self.count += 1;
        if !fits {
            return Err(DAMAGED);
        }
        if self.count == 10 {
            self.next();
        }
        Ok(())
    }

    /// The next part of the header that there is.
    fn next(&mut self) {
        const PARTS: [(Part, u8); 4] =
            [(Part::ExtraLength, 4), (Part::Name, 8), (Part::Comment, 16), (Part::HeadCrc, 2)];
        self.count = 0;
        self.part = Part::Data;
        for (part, flag) in PARTS {
            if self.flags & flag != 0 {
                self.flags &= !flag;
                self.part = part;
                return;
            }
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<(), ClientError> {
        self.trailer[self.count as usize] = byte;
        self.count += 1;
        if self.count < 8 {
            return Ok(());
        }
        let [a, b, c, d, e, f, g, h] = self.trailer;
        let (sum, length) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        if sum != self.crc.sum() || length != self.crc.amount() {
            return Err(DAMAGED);
        }
        (self.part, self.head_bytes) = (Part::Between, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn inflate(coding: &str, pieces: &[&[u8]]) -> Result<Vec<u8>, String> {
        let mut inflater = Inflater::new(coding, &ClientLimits::default()).expect("the coding is known");
        let mut whole = Vec::new();
        for piece in pieces {
            inflater.feed(piece.to_vec());
            while let Some(more) = inflater.piece().map_err(|error| error.to_string())? {
                assert!(!more.is_empty() && more.len() <= PIECE_BYTES);
                whole.extend(more);
            }
        }
        inflater.finish().map_err(|error| error.to_string())?;
        Ok(whole)
    }

    fn text() -> Vec<u8> {
        (0..20_000u32).flat_map(|number| (number * number % 977).to_string().into_bytes()).collect()
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(data: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn bare(data: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    /// "hello", as RFC 7932 has it in a block without compression.
    const BROTLI: &[u8] = b"\x0b\x02\x80hello\x03";

    /// A gzip header with everything in it.
    fn adorned(data: &[u8]) -> Vec<u8> {
        let plain = gzip(data);
        let head = b"\x1f\x8b\x08\x1e\0\0\0\0\0\x03\x03\0abcname\0comment\0\x12\x34";
        [&head[..], &plain[10..]].concat()
    }

    #[test]
    fn every_coding_comes_back_however_it_is_cut() {
        let text = text();
        let two = [gzip(b"one"), gzip(b" and two"), vec![0; 20]].concat();
        for (coding, packed, expected) in [
            ("gzip", gzip(&text), &text[..]),
            ("x-gzip", gzip(b""), b""),
            ("GZIP", adorned(b"adorned"), b"adorned"),
            ("gzip", two, b"one and two"),
            ("deflate", zlib(&text), &text[..]),
            ("deflate", bare(&text), &text[..]),
            ("deflate", zlib(b""), b""),
            ("br", BROTLI.to_vec(), b"hello"),
        ] {
            assert_eq!(inflate(coding, &[&packed]).as_deref(), Ok(expected), "{coding}");
            let bytes: Vec<&[u8]> = packed.chunks(1).collect();
            assert_eq!(inflate(coding, &bytes).as_deref(), Ok(expected), "{coding} byte by byte");
            for at in (1..packed.len()).step_by(1 + packed.len() / 50) {
                let split = inflate(coding, &[&packed[..at], &packed[at..]]);
                assert_eq!(split.as_deref(), Ok(expected), "{coding} split at {at}");
                assert!(
                    inflate(coding, &[&packed[..at]]).is_err()
                        || packed[at..].iter().all(|&byte| byte == 0)
                        || expected.starts_with(b"one"),
                    "{coding} cut at {at}"
                );
            }
        }
        assert_eq!(inflate("gzip", &[]).as_deref(), Ok(&b""[..]), "an empty body is none");
    }

    #[test]
    fn damage_is_found() {
        for at in [0, 1, 2, 3, 20, 400] {
            let mut packed = gzip(&text());
            packed[at] ^= 0xff;
            assert!(inflate("gzip", &[&packed]).is_err(), "at {at}");
        }
        let mut packed = gzip(b"sum");
        let at = packed.len() - 8;
        packed[at] ^= 1;
        assert!(inflate("gzip", &[&packed]).is_err(), "the sum is checked");
        assert!(inflate("gzip", &[b"plain text"]).is_err());
        assert!(inflate("br", &[b"\xff\xff\xff\xff"]).is_err());
        let endless = [b"\x1f\x8b\x08\x08\0\0\0\0\0\x03".as_slice(), &vec![b'n'; 70_000]].concat();
        assert!(inflate("gzip", &[&endless]).is_err(), "a name without an end");
        for coding in ["identity", "zstd", "gzip, gzip", ""] {
            assert!(Inflater::new(coding, &ClientLimits::default()).is_none(), "{coding}");
        }
    }

    #[test]
    fn a_bomb_goes_off_at_the_limit() {
        for packed in
            [gzip(&vec![0; 50_000_000]), [gzip(&vec![0; 5_000_000]), gzip(&vec![0; 50_000_000])].concat()]
        {
            let mut inflater = Inflater::new("gzip", &ClientLimits::default()).unwrap();
            inflater.feed(packed.clone());
            let mut unpacked = 0;
            let error = loop {
                match inflater.piece() {
                    Ok(piece) => unpacked += piece.expect("it does not come to its end").len(),
                    Err(error) => break error,
                }
            };
            assert!(matches!(error, ClientError::Coding(_)), "{error}");
            assert!(unpacked as u64 <= packed.len() as u64 * 200 + 1024 * 1024);
        }
        let limits = ClientLimits { decoded_bytes_max: 100_000, ..ClientLimits::default() };
        let mut inflater = Inflater::new("deflate", &limits).unwrap();
        inflater.feed(zlib(&text()[..50_000].repeat(3)));
        let outcome = std::iter::repeat_with(|| inflater.piece()).find(|piece| !matches!(piece, Ok(Some(_))));
        assert!(matches!(outcome, Some(Err(ClientError::TooLarge { bytes_max: 100_000 }))));
    }
}
