//! The file of a log, on its thread: appends whole lines, notices that it was moved away, puts it aside and compresses what was.
//! Which lines are written when is `writer`'s business.
//!
//! Several processes may write to one file, an old one that drains and its successor for instance. Who puts it aside holds a lock on
//! the folder; the others see that the path names another file, and open that. Each holds a shared lock on the file that it writes, so
//! that nobody compresses what is still being written.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};

use super::archive::{Archive, Aside};
use super::packing::Packing;
use super::rotation::Rotation;
use crate::clock::Clock;

/// A file that was moved away so recently was put aside by somebody else, who may tell us only now.
const MOVED_RECENTLY_S: i64 = 10;
/// How often a folder is tried that somebody else has locked, and how long between.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(1);
/// What could not be put aside is tried again after this.
const RETRY_S: i64 = 10;

/// An open log file.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// Device and inode.
    identity: (u64, u64),
    size: u64,
    /// A device or a pipe is written, and nothing else.
    regular: bool,
    /// The last line is not whole.
    torn: bool,
    rotation: Rotation,
    clock: Clock,
    moved_at: Option<Timestamp>,
    tried_at: Option<Timestamp>,
    /// It is to be put aside under this date as soon as that can be done.
    owed: Option<Date>,
    /// What was put aside has to be looked through.
    untidy: bool,
    queue: VecDeque<Aside>,
    packing: Option<Packing>,
    /// Files put aside.
    pub(super) rotations: u64,
}

/// Lines that could not be written, and why.
pub(super) struct Loss {
    pub(super) lines: u64,
    pub(super) error: io::Error,
}

impl LogFile {
    /// Opens the file, or makes it. One that was last written on another day is put aside before its first line, if days do that.
    pub(super) fn open(path: &Path, rotation: Rotation, clock: Clock) -> io::Result<LogFile> {
        // The working directory may be another one by the time it is put aside.
        let path = std::path::absolute(path)?;
        let (file, found) = open(&path)?;
        let mut log = LogFile {
            path,
            file,
            identity: (found.dev(), found.ino()),
            size: found.len(),
            regular: found.is_file(),
            torn: false,
            rotation,
            clock,
            moved_at: None,
            tried_at: None,
            owed: None,
            untidy: found.is_file(),
            queue: VecDeque::new(),
            packing: None,
            rotations: 0,
        };
        // Who may write a file need not be allowed to read it.
        log.torn = log.is_torn().unwrap_or(false);
        let written = Timestamp::new(found.mtime(), 0).unwrap_or_default();
        if log.rotation.at.daily() && log.size > 0 && log.clock.date(written) < log.clock.today() {
            log.owed = Some(log.clock.date(written));
        }
        Ok(log)
    }

    /// Whether it ends in the middle of a line: whoever wrote it was killed.
    fn is_torn(&self) -> io::Result<bool> {
        if !self.regular || self.size == 0 {
            return Ok(false);
        }
        let mut reader = File::open(&self.path)?;
        reader.seek(SeekFrom::End(-1))?;
        let mut last = [b'\n'];
        reader.read_exact(&mut last)?;
        Ok(last != *b"\n")
    }

    /// Appends lines, and begins a new file where a size demands it.
    pub(super) fn append(&mut self, mut lines: &[u8], trouble: &dyn Fn(&io::Error)) -> Result<(), Loss> {
        let Some(limit) = self.rotation.at.size().filter(|_| self.regular) else { return self.write(lines) };
        while !lines.is_empty() {
            let mut fits = fitting(lines, limit.saturating_sub(self.size));
            if fits == 0 && self.size > 0 && self.may_try() {
                if let Err(error) = self.put_aside(self.clock.today()) {
                    trouble(&error);
                }
                fits = fitting(lines, limit.saturating_sub(self.size));
            }
            if fits == 0 {
                // A line that is longer than the limit has a file of its own; what cannot be put aside grows.
                fits = if self.may_try() { first_line(lines) } else { lines.len() };
            }
            let (now, later) = lines.split_at(fits);
            self.write(now).map_err(|loss| Loss { lines: loss.lines + count(later), ..loss })?;
            lines = later;
        }
        Ok(())
    }

    fn write(&mut self, lines: &[u8]) -> Result<(), Loss> {
        let mut written = 0;
        let outcome = self.write_counted(lines, &mut written);
        self.size += written as u64;
        outcome.map_err(|error| {
            self.torn |= written > 0 && !lines[..written].ends_with(b"\n");
            Loss { lines: count(&lines[written..]), error }
        })
    }

    fn write_counted(&mut self, lines: &[u8], written: &mut usize) -> io::Result<()> {
        if self.torn && !lines.is_empty() {
            // What comes now is not to be taken for the rest of that line.
            self.file.write_all(b"\n")?;
            (self.torn, self.size) = (false, self.size + 1);
        }
        while *written < lines.len() {
            match self.file.write(&lines[*written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(some) => *written += some,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Looks whether the path still names this file, and opens the other one if it does not; puts aside what could not be before.
    pub(super) fn look(&mut self) -> io::Result<()> {
        if !self.may_try() {
            return Ok(());
        }
        let outcome = self.look_now();
        if outcome.is_err() {
            self.tried_at = Some(self.clock.now());
        }
        outcome
    }

    fn look_now(&mut self) -> io::Result<()> {
        if !self.is_here()? {
            self.moved_at = Some(self.clock.now());
            self.owed = None;
            self.reopen()?;
        } else if self.regular {
            // Somebody may have cut it short, or appended to it.
            self.size = self.file.metadata()?.len();
        }
        self.owed.map_or(Ok(()), |date| self.put_aside(date))
    }

    fn is_here(&self) -> io::Result<bool> {
        match fs::metadata(&self.path) {
            Ok(found) => Ok((found.dev(), found.ino()) == self.identity),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        let (file, found) = open(&self.path)?;
        self.identity = (found.dev(), found.ino());
        self.size = found.len();
        self.regular = found.is_file();
        self.torn = false;
        self.file = file;
        Ok(())
    }

    /// Puts the file aside because somebody asks for it, unless it was moved away just now: then that is what was meant.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        let recently = |moved: Timestamp| (now.as_second() - moved.as_second()).abs() < MOVED_RECENTLY_S;
        if self.moved_at.is_some_and(recently) {
            return Ok(());
        }
        self.put_aside(self.clock.date(now))
    }

    /// Whether enough time has passed since the last try that failed.
    fn may_try(&self) -> bool {
        let now = self.clock.now().as_second();
        self.tried_at.is_none_or(|tried| (now - tried.as_second()).abs() >= RETRY_S)
    }

    /// Gives the file the name of a date and begins a new one. Nothing happens to an empty one, or when another process is at it.
    pub(super) fn put_aside(&mut self, date: Date) -> io::Result<()> {
        if !self.regular || self.size == 0 {
            return Ok(());
        }
        let outcome = self.put_aside_now(date);
        self.tried_at = outcome.is_err().then(|| self.clock.now());
        self.owed = outcome.is_err().then_some(date);
        outcome
    }

    fn put_aside_now(&mut self, date: Date) -> io::Result<()> {
        // A link stays where it is, and the file that it names is put aside.
        let place = fs::canonicalize(&self.path)?;
        let archive = Archive::of(&place);
        let folder = File::open(archive.folder())?;
        if !lock(&folder) {
            // Whoever has locked it puts the file aside, or is none of us; the next look finds out.
            return Ok(());
        }
        if !self.is_here()? {
            return self.reopen();
        }
        let aside = archive.next(date)?;
        let to = archive.path(&aside);
        match renameat_with(CWD, &place, CWD, &to, RenameFlags::NOREPLACE) {
            // Not every file system knows how to refuse; the name was free a moment ago.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => fs::rename(&place, &to)?,
            outcome => outcome?,
        }
        self.rotations += 1;
        let permissions = self.file.metadata()?.permissions();
        self.reopen()?;
        self.untidy = true;
        self.file.set_permissions(permissions)
    }

    /// Deletes what is too much and finds what is to be compressed.
    fn tidy(&mut self) -> io::Result<()> {
        let archive = self.archive()?;
        archive.sweep(&self.rotation, self.size)?;
        if self.rotation.compress {
            // Also what an earlier process did not come to, or another one was still writing.
            let busy = self.packing.as_ref().map(Packing::aside);
            let asides =
                archive.list()?.into_iter().filter(|aside| !aside.is_packed() && Some(aside) != busy);
            self.queue = asides.collect();
        }
        Ok(())
    }

    fn archive(&self) -> io::Result<Archive> {
        Ok(Archive::of(&fs::canonicalize(&self.path)?))
    }

    /// Whether something is left to do between the lines.
    pub(super) fn has_chores(&self) -> bool {
        self.untidy || self.packing.is_some() || !self.queue.is_empty()
    }

    /// Looks through what was put aside, or compresses a slice of it.
    pub(super) fn chore(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.untidy) {
            return self.tidy();
        }
        let Some(mut packing) = self.packing.take() else {
            if let Some(aside) = self.queue.pop_front() {
                self.packing = Packing::begin(&self.archive()?, &aside)?;
            }
            return Ok(());
        };
        match packing.step() {
            Ok(false) => self.packing = Some(packing),
            // What is smaller now may be little enough.
            Ok(true) => self.archive()?.sweep(&self.rotation, self.size)?,
            Err(error) => {
                packing.give_up();
                return Err(error);
            }
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, fs::Metadata)> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    // Where locks are not known nobody else compresses either.
    let _ = flock(&file, FlockOperation::NonBlockingLockShared);
    let found = file.metadata()?;
    Ok((file, found))
}

/// Locks a folder for the moment in which a file of it gets another name. Others of us hold it as long as that takes.
fn lock(folder: &File) -> bool {
    (0..LOCK_TRIES).any(|attempt| {
        if attempt > 0 {
            std::thread::sleep(LOCK_PAUSE);
        }
        flock(folder, FlockOperation::NonBlockingLockExclusive).is_ok()
    })
}

/// How many bytes of whole lines fit into a room.
fn fitting(lines: &[u8], room: u64) -> usize {
    match usize::try_from(room) {
        Ok(room) if room < lines.len() => {
            lines[..room].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1)
        }
        _ => lines.len(),
    }
}

fn first_line(lines: &[u8]) -> usize {
    lines.iter().position(|&byte| byte == b'\n').map_or(lines.len(), |at| at + 1)
}

/// Lines, the last of which may lack its end.
pub(super) fn count(lines: &[u8]) -> u64 {
    let ends = lines.iter().filter(|&&byte| byte == b'\n').count() as u64;
    ends + u64::from(!lines.is_empty() && !lines.ends_with(b"\n"))
}
