//! Follows one name: the file behind it as it grows, and the next file when the name is given to another.
//!
//! It waits for nothing and watches nothing: the service calls `step` when `watch` or a timer says so.

use crate::file::{BEFORE_BYTES_MAX, Found, Identity, Opened};
use crate::split::{Line, LineSplitter};
use crate::start::Start;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// How much is read at once; allocated for the length of a step only, so that a quiet file owns no buffer.
const BLOCK_BYTES: usize = 64 * 1024;

/// How many files that took the name one after another, all still empty, are held open. Beyond that somebody
/// creates files in a loop, and the oldest are read to their end and left.
const SUCCESSORS_MAX: usize = 8;

/// Whether there is more to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what is left is read by the next step, which nobody else will ask for"]
pub enum Progress {
    /// The budget is used up: step again soon.
    MoreNow,
    /// Everything that was there has been read.
    Drained,
}

/// Figures of one follower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes read.
    pub bytes: u64,
    /// Lines handed over, each part of a cut line counted.
    pub lines: u64,
    /// How often another file had taken the name and was gone over to.
    pub rotations: u64,
    /// How often the file was found cut short or written anew.
    pub truncations: u64,
    /// Bytes of an unfinished line that wait for its end.
    pub held_bytes: usize,
    /// Files that have taken the name and wait until the present one is read to its end.
    pub successors: usize,
}

/// How far a follower has come.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Reached {
    pub(crate) path: String,
    identity: Identity,
    place: u64,
    before: Vec<u8>,
    held: Vec<u8>,
}

/// Follows one file name, line by line.
///
/// - **Grown**: what was appended follows.
/// - **Renamed and created anew**, deleted and created anew, or a symbolic link that points elsewhere: the old file
///   is read to its end, then the new one from its beginning. The old one is left only when the new one has its
///   first bytes, for a writer goes on writing to the old until it has opened the new; whoever writes to the old
///   file after another has begun the new one is not heard any more.
/// - **Truncated** (also by copytruncate): begins anew. It is recognised by the length, or by the bytes before our
///   place. What was written between our last step and the truncation is lost, as for every reader.
/// - **Gone**: waits for the name to come back, and goes on reading the old file while its writer has it open.
///
/// An unfinished line of the old content is handed over as a line before the new content begins. Files that had the
/// name for a while between two steps and lost it again were never seen, and are not read; every file seen at a
/// step is held open and read, whatever becomes of its name. A file that was left and gets the name back is a new
/// file, read from its beginning.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    current: Opened,
    /// Who took the name since, oldest first. All but a few milliseconds of its life this is empty.
    successors: VecDeque<Opened>,
    splitter: LineSplitter,
    statistics: Statistics,
}

impl Follower {
    /// Opens the file that has the name now. A relative path means what it means now, wherever the process goes.
    ///
    /// # Errors
    /// When the file is missing, a directory, not a regular file, or may not be read.
    pub fn open(path: impl AsRef<Path>, start: Start) -> io::Result<Follower> {
        let path = std::path::absolute(path)?;
        let mut current = Opened::open(&path)?;
        current.seek(start)?;
        let splitter = LineSplitter::new();
        Ok(Follower {
            path,
            current,
            successors: VecDeque::new(),
            splitter,
            statistics: Statistics::default(),
        })
    }

    /// The name that is followed, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what is there now, about `budget_bytes` at most, and hands every finished line to `sink`.
    ///
    /// # Errors
    /// What the operating system reports, among it a new file that may not be read. The place is kept: the next step
    /// tries again.
    pub fn step(&mut self, budget_bytes: usize, sink: &mut dyn FnMut(Line<'_>)) -> io::Result<Progress> {
        let mut left = budget_bytes.max(1);
        let mut block = vec![0; BEFORE_BYTES_MAX + left.min(BLOCK_BYTES)];
        let mut superseded = false;
        let mut lines = 0;
        let mut sink = |line: Line<'_>| {
            lines += 1;
            sink(line);
        };
        let progress = loop {
            let length = BEFORE_BYTES_MAX + left.min(BLOCK_BYTES);
            match self.current.read(&mut block[..length]) {
                Err(error) => break Err(error),
                Ok(Found::Bytes(bytes)) => {
                    self.splitter.push(bytes, &mut sink);
                    self.statistics.bytes += bytes.len() as u64;
                    left -= bytes.len();
                    if left == 0 {
                        break Ok(Progress::MoreNow);
                    }
                }
                Ok(Found::Anew) => {
                    self.splitter.finish(&mut sink);
                    self.statistics.truncations += 1;
                }
                // Read to its end after the new one was seen to have begun: nothing of the old one is missed.
                Ok(Found::End) if superseded => {
                    self.advance(&mut sink);
                    superseded = false;
                }
                Ok(Found::End) => match self.look() {
                    Ok(true) => superseded = true,
                    Ok(false) => break Ok(Progress::Drained),
                    Err(error) => break Err(error),
                },
            }
        };
        self.statistics.lines += lines;
        progress
    }

    /// Following ends: hands over the unfinished line that waits, if any.
    pub fn finish(&mut self, sink: &mut dyn FnMut(Line<'_>)) {
        let lines = &mut self.statistics.lines;
        self.splitter.finish(&mut |line| {
            *lines += 1;
            sink(line);
        });
    }

    /// How far it has come, for another process.
    pub(crate) fn reached(&self) -> Reached {
        let (place, before) = self.current.place();
        Reached {
            path: self.path.to_string_lossy().into_owned(),
            identity: self.current.identity,
            place,
            before: before.to_vec(),
            held: self.splitter.held().to_vec(),
        }
    }

    /// Goes on where another process was with this name; a file that has got it since is read from its beginning.
    pub(crate) fn go_on_at(&mut self, reached: Reached) {
        if reached.identity == self.current.identity {
            self.current.resume(reached.place, reached.before);
            self.splitter.hold_again(reached.held);
        } else {
            self.current.resume(0, Vec::new());
            self.splitter.hold_again(Vec::new());
        }
    }

    /// What has been and what waits.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            held_bytes: self.splitter.held_bytes(),
            successors: self.successors.len(),
            ..self.statistics
        }
    }

    /// Looks who has the name now, and says whether the present file's time is over.
    fn look(&mut self) -> io::Result<bool> {
        match self.greet() {
            // Nobody has the name, or lost it while we looked; the next look will tell.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            result => result?,
        }
        for successor in &self.successors {
            if successor.len()? > 0 {
                return Ok(true);
            }
        }
        Ok(self.successors.len() > SUCCESSORS_MAX)
    }

    /// Holds open who has the name now, if it is somebody new.
    fn greet(&mut self) -> io::Result<()> {
        let identity = Identity::of(&fs::metadata(&self.path)?);
        if self.is_held(identity) {
            return Ok(());
        }
        let newcomer = Opened::open(&self.path)?;
        // The name may have been moved once more before the file was opened.
        if !self.is_held(newcomer.identity) {
            self.successors.push_back(newcomer);
        }
        Ok(())
    }

    /// Whether the file is already ours. One that got its name back is the present one again: who came after it
    /// has had nothing to say so far.
    fn is_held(&mut self, identity: Identity) -> bool {
        if self.current.identity == identity {
            self.successors.clear();
            return true;
        }
        match self.successors.iter().position(|successor| successor.identity == identity) {
            Some(place) => {
                self.successors.truncate(place + 1);
                true
            }
            None => false,
        }
    }

    /// Goes over to the next file.
    fn advance(&mut self, sink: &mut dyn FnMut(Line<'_>)) {
        if let Some(next) = self.successors.pop_front() {
            self.splitter.finish(sink);
            self.current = next;
            self.statistics.rotations += 1;
        }
    }
}
