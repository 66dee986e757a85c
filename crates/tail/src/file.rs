//! One opened file and the place reached in it; notices when what lies before that place is no longer what was read.
//!
//! Knows nothing of names and rotation: `follower`, its only caller, does.

use crate::start::Start;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// How many bytes before the place are remembered: with a time stamp in each line a few dozen would do; a kilobyte
/// also tells dull logs apart, and costs nothing beside the block that is read with it.
pub(crate) const BEFORE_BYTES_MAX: usize = 1024;

/// What tells a file from another one under the same name. While the file is held open no other can have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(crate) fn of(metadata: &Metadata) -> Identity {
        Identity { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// What one read found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// Bytes that follow those read before.
    Bytes(&'a [u8]),
    /// Nothing more for now.
    End,
    /// The file was cut short or written anew: the place is back at its beginning.
    Anew,
}

/// A file held open, and how far it has been read.
#[derive(Debug)]
pub(crate) struct Opened {
    file: File,
    pub(crate) identity: Identity,
    place: u64,
    /// The bytes just before the place, as they were read.
    before: Vec<u8>,
}

impl Opened {
    /// Opens a regular file, to be read from its beginning.
    pub(crate) fn open(path: &Path) -> io::Result<Opened> {
        // Looked at before it is opened, since opening a device may already do something.
        check_kind(&fs::metadata(path)?, path)?;
        // Should a FIFO have taken the name meanwhile, opening it must not wait for a writer.
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
        let metadata = file.metadata()?;
        check_kind(&metadata, path)?;
        Ok(Opened { file, identity: Identity::of(&metadata), place: 0, before: Vec::new() })
    }

    /// Moves the place to where `start` says.
    pub(crate) fn seek(&mut self, start: Start) -> io::Result<()> {
        loop {
            let found = self.len().and_then(|len| start.offset(&self.file, len)).and_then(|place| {
                let known = place.min(BEFORE_BYTES_MAX as u64);
                let mut before = vec![0; known as usize];
                self.file.read_exact_at(&mut before, place - known)?;
                Ok((place, before))
            });
            match found {
                // Cut short between two reads: what was found so far is about a file that is no more.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => continue,
                found => {
                    (self.place, self.before) = found?;
                    return Ok(());
                }
            }
        }
    }

    /// The place, and the bytes just before it.
    pub(crate) fn place(&self) -> (u64, &[u8]) {
        (self.place, &self.before)
    }

    /// Goes on at a place that was reached before, with the bytes that were before it then.
    pub(crate) fn resume(&mut self, place: u64, before: Vec<u8>) {
        (self.place, self.before) = (place, before);
    }

    /// How long the file is now, in bytes.
    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Reads on, at most `block` without its first [`BEFORE_BYTES_MAX`] bytes.
    ///
    /// The bytes before the place are read again with the same call and compared. So a file that was truncated is
    /// recognised even if it has grown past the place since, without a window between looking and reading. What
    /// cannot be recognised is a file whose new content has the same bytes there.
    pub(crate) fn read<'a>(&mut self, block: &'a mut [u8]) -> io::Result<Found<'a>> {
        let known = self.before.len();
        let room = block.len() - (BEFORE_BYTES_MAX - known);
        let length = read_at(&self.file, &mut block[..room], self.place - known as u64)?;
        let read = &block[..length];
        let Some(fresh) = read.strip_prefix(&self.before[..]) else {
            self.place = 0;
            self.before.clear();
            return Ok(Found::Anew);
        };
        if fresh.is_empty() {
            return Ok(Found::End);
        }
        self.place += fresh.len() as u64;
        self.before.clear();
        self.before.extend_from_slice(&read[length.saturating_sub(BEFORE_BYTES_MAX)..]);
        Ok(Found::Bytes(fresh))
    }
}

fn read_at(file: &File, block: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(block, offset) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => return result,
        }
    }
}

fn check_kind(metadata: &Metadata, path: &Path) -> io::Result<()> {
    let path = path.display();
    if metadata.is_dir() {
        return Err(io::Error::new(
            ErrorKind::IsADirectory,
            format!("{path} is a directory: name a file in it"),
        ));
    }
    if !metadata.is_file() {
        let message = format!("{path} is not a regular file: give its output to standard input");
        return Err(io::Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(())
}
