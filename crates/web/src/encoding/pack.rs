//! The three packers behind one face: bytes in, packed bytes out, a flush in the middle, and an end. They write to memory; when they
//! are fed, and how much at a time, is decided in `stream`.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use zstd::stream::raw::CParameter;
use zstd::stream::write::Encoder;

use super::Coding;

/// The usual compromise.
const GZIP_LEVEL: u32 = 6;
/// Better than gzip, at its price; the qualities above are for what is made once.
const BROTLI_QUALITY: u32 = 4;
/// 512 KiB of memory per answer instead of megabytes.
const WINDOW_LOG: u32 = 19;
const ZSTD_LEVEL: i32 = 3;
const BROTLI_BUFFER_BYTES: usize = 4096;

/// Bytes on their way to become fewer.
pub(super) enum Packer {
    Zstd(Encoder<'static, Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Packer {
    pub(super) fn new(coding: Coding) -> io::Result<Packer> {
        Ok(match coding {
            Coding::Zstd => {
                let mut encoder = Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
                Packer::Zstd(encoder)
            }
            Coding::Brotli => {
                let out = Vec::new();
                let encoder =
                    brotli::CompressorWriter::new(out, BROTLI_BUFFER_BYTES, BROTLI_QUALITY, WINDOW_LOG);
                Packer::Brotli(Box::new(encoder))
            }
            Coding::Gzip => Packer::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL))),
        })
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Packer::Zstd(encoder) => encoder,
            Packer::Brotli(encoder) => &mut **encoder,
            Packer::Gzip(encoder) => encoder,
        }
    }

    /// Takes these bytes in.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer().write_all(bytes)
    }

    /// Puts out whatever was taken in, so that the other side can unpack it now.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }

    /// What has come out since the last time.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Packer::Zstd(encoder) => encoder.get_mut(),
            Packer::Brotli(encoder) => encoder.get_mut(),
            Packer::Gzip(encoder) => encoder.get_mut(),
        })
    }

    /// The rest of what comes out.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Packer::Zstd(encoder) => encoder.finish(),
            Packer::Brotli(encoder) => Ok(encoder.into_inner()),
            Packer::Gzip(encoder) => encoder.finish(),
        }
    }
}
