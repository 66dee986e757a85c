//! Where in a file to begin: reads backwards from its end in blocks, never the whole of it.
//!
//! Called by `file` once, when a file is opened for the first time; a file that comes by rotation begins at 0.

use crate::split::LINE_BYTES_MAX;
use memchr::memrchr_iter;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Large enough for one read to hold a hundred usual lines, small enough for a stack of files.
const BLOCK_BYTES: usize = 16 * 1024;

/// How far back it looks for the beginnings of lines at most: as much as a channel keeps by default, and read in
/// some ten milliseconds.
const LOOKBACK_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Where in the file to begin.
///
/// A last line that has no end yet is never begun in its middle: it waits, whole, until its end is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// What is written from now on, and the whole of a last line that is unfinished now.
    End,
    /// The last so many finished lines first, or all when there are fewer. Lines of more than 64 KiB, and more than
    /// 64 MiB of lines, may make it fewer.
    LastLines(usize),
}

impl Start {
    /// The offset to begin at in a file that has `len` bytes now.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file has become shorter meanwhile, else what reading reports.
    pub(crate) fn offset(self, file: &File, len: u64) -> io::Result<u64> {
        let lines = match self {
            Start::End => 0,
            Start::LastLines(lines) => lines as u64,
        };
        let lookback =
            (LINE_BYTES_MAX as u64).saturating_mul(lines.saturating_add(1)).min(LOOKBACK_BYTES_MAX);
        let floor = len.saturating_sub(lookback);
        let mut block = vec![0; BLOCK_BYTES];
        // The end of the line before the first one wanted.
        let mut ends_wanted = lines.saturating_add(1);
        let (mut offset, mut unread) = (len, len);
        while unread > floor {
            let from = unread.saturating_sub(BLOCK_BYTES as u64).max(floor);
            let part = &mut block[..(unread - from) as usize];
            file.read_exact_at(part, from)?;
            for end in memrchr_iter(b'\n', part) {
                offset = from + end as u64 + 1;
                ends_wanted -= 1;
                if ends_wanted == 0 {
                    return Ok(offset);
                }
            }
            unread = from;
        }
        // No further back: from the first byte, or from the earliest line whose beginning was seen.
        Ok(if floor == 0 { 0 } else { offset })
    }
}
