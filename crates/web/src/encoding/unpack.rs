//! The three unpackers behind one face: they are given bytes as these come, and asked for at most so many unpacked ones. So a few
//! bytes that stand for very many do no harm. What is too much is decided in `inflow`.

use std::io::{self, BufRead, ErrorKind, Read};

use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use flate2::bufread::MultiGzDecoder;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::Coding;

/// What RFC 9659 section 3 has a receiver support, and no more.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// What came of asking for unpacked bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unpacked {
    /// So many.
    Bytes(usize),
    /// None before there are more packed ones.
    Hungry,
    /// It is complete.
    End,
    /// It is not what it claims to be.
    Broken,
}

/// Bytes on their way to become more.
pub(super) enum Unpacker {
    Zstd { decoder: Decoder<'static>, feed: Feed, between: bool },
    Brotli { state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>, feed: Feed, done: bool },
    Gzip(Box<MultiGzDecoder<Feed>>),
}

/// Packed bytes as they come.
#[derive(Default)]
pub(super) struct Feed {
    bytes: Vec<u8>,
    at: usize,
    /// No more will come.
    ended: bool,
}

impl Feed {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }
}

impl BufRead for Feed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.rest().is_empty() && !self.ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(self.rest())
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }
}

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl Unpacker {
    pub(super) fn new(coding: Coding) -> io::Result<Unpacker> {
        let feed = Feed::default();
        Ok(match coding {
            Coding::Zstd => {
                let mut decoder = Decoder::new()?;
                decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
                Unpacker::Zstd { decoder, feed, between: false }
            }
            Coding::Brotli => {
                let alloc = StandardAlloc::default();
                let state = Box::new(BrotliState::new(alloc, alloc, alloc));
                Unpacker::Brotli { state, feed, done: false }
            }
            Coding::Gzip => Unpacker::Gzip(Box::new(MultiGzDecoder::new(feed))),
        })
    }

    fn feed(&mut self) -> &mut Feed {
        match self {
            Unpacker::Zstd { feed, .. } | Unpacker::Brotli { feed, .. } => feed,
            Unpacker::Gzip(decoder) => decoder.get_mut(),
        }
    }

    /// Gives it more packed bytes. Called when it is hungry, so that nothing waits before them.
    pub(super) fn give(&mut self, bytes: Vec<u8>) {
        let feed = self.feed();
        debug_assert!(feed.rest().is_empty(), "it is fed when it is hungry");
        (feed.bytes, feed.at) = (bytes, 0);
    }

    /// Says that there are no more.
    pub(super) fn end(&mut self) {
        self.feed().ended = true;
    }

    /// Unpacks as much as there is and fits.
    pub(super) fn read(&mut self, out: &mut [u8]) -> Unpacked {
        match self {
            Unpacker::Zstd { decoder, feed, between } => read_zstd(decoder, feed, between, out),
            Unpacker::Brotli { state, feed, done } => read_brotli(state, feed, done, out),
            Unpacker::Gzip(decoder) => match decoder.read(out) {
                Ok(0) => Unpacked::End,
                Ok(count) => Unpacked::Bytes(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Unpacked::Hungry,
                Err(_) => Unpacked::Broken,
            },
        }
    }
}

fn read_zstd(
    decoder: &mut Decoder<'static>,
    feed: &mut Feed,
    between: &mut bool,
    out: &mut [u8],
) -> Unpacked {
    loop {
        let (given, wanted) = (feed.rest().len(), out.len());
        if given == 0 && feed.ended && *between {
            return Unpacked::End;
        }
        let mut input = InBuffer::around(feed.rest());
        let mut output = OutBuffer::around(&mut *out);
        let hint = decoder.run(&mut input, &mut output);
        let (read, written) = (input.pos(), output.pos());
        let Ok(hint) = hint else { return Unpacked::Broken };
        feed.at += read;
        if read > 0 || written > 0 {
            // Zero: a frame is complete. Another may follow (RFC 8878 section 3.1).
            *between = hint == 0;
        }
        match (written, read) {
            (1.., _) => return Unpacked::Bytes(written.min(wanted)),
            (0, 0) if feed.ended => return Unpacked::Broken,
            (0, 0) => return Unpacked::Hungry,
            _ => {}
        }
    }
}

fn read_brotli(
    state: &mut BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    feed: &mut Feed,
    done: &mut bool,
    out: &mut [u8],
) -> Unpacked {
    if *done {
        return match (feed.rest().is_empty(), feed.ended) {
            (true, true) => Unpacked::End,
            (true, false) => Unpacked::Hungry,
            // What stands behind the end belongs to nothing.
            (false, _) => Unpacked::Broken,
        };
    }
    let (mut given, mut at, mut room, mut written, mut total) = (feed.rest().len(), 0, out.len(), 0, 0);
    let result = BrotliDecompressStream(
        &mut given,
        &mut at,
        &feed.bytes[feed.at..],
        &mut room,
        &mut written,
        out,
        &mut total,
        state,
    );
    feed.at += at;
    match result {
        BrotliResult::ResultFailure => Unpacked::Broken,
        BrotliResult::ResultSuccess => {
            *done = true;
            if written > 0 { Unpacked::Bytes(written) } else { read_brotli(state, feed, done, out) }
        }
        _ if written > 0 => Unpacked::Bytes(written),
        _ if feed.ended => Unpacked::Broken,
        _ => Unpacked::Hungry,
    }
}
