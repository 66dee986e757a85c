//! A folder of the system as a storage. Every operation goes through `Beneath`, so that none leaves the folder: also not those
//! that take two paths, and also not while somebody swaps a folder for a link.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ropewalk_net::Pipe;
use ropewalk_wire::ftp::{Facts, Kind};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps, UTIME_OMIT, chmodat,
    fchmod, fstat, linkat, mkdirat, openat, renameat, renameat_with, statat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::beneath::Beneath;
use super::{Change, Listing, Source, Storage, Upload, Writing};
use crate::path::FtpPath;

/// How the names of uploads begin that are not whole yet. They are shown to nobody.
const ASIDE: &[u8] = b".ropewalk-upload-";
/// Names of a folder that are sorted; in a larger folder, those beyond come as the system has them.
const SORTED_MAX: usize = 10_000;

/// A folder of the system. Links within it are followed as long as they stay within; one that leads outside is as good as not
/// there.
///
/// New files get the mode 666 without the program's umask, folders 777 without it.
///
/// ```
/// use ropewalk_ftp::{FtpPath, LocalStorage, Storage};
/// let storage = LocalStorage::new("src")?;
/// assert!(storage.facts(&FtpPath::root().join(b"lib.rs")?)?.size > 0);
/// assert!(storage.facts(&FtpPath::root().join(b"../Cargo.toml")?).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct LocalStorage {
    beneath: Arc<Beneath>,
    root: PathBuf,
}

impl LocalStorage {
    /// The folder at `root`, which stays the same one should it be renamed.
    ///
    /// # Errors
    /// The system's, with the path: it is not there, or is no folder.
    pub fn new(root: impl AsRef<Path>) -> io::Result<LocalStorage> {
        let root = root.as_ref();
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", root.display()));
        Ok(LocalStorage { beneath: Arc::new(Beneath::new(root).map_err(named)?), root: root.to_owned() })
    }

    /// Where it was opened.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn create_aside(&self, path: &FtpPath, new: bool) -> io::Result<Box<dyn Upload>> {
        let (folder, name) = self.beneath.parent(path)?;
        let mode = match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) if new => return Err(io::ErrorKind::AlreadyExists.into()),
            Ok(there) if kind_of(&there) == Kind::Folder => return Err(io::ErrorKind::IsADirectory.into()),
            // What replaces a file can be read by those who could read it before.
            Ok(there) if kind_of(&there) == Kind::File => Some(Mode::from_raw_mode(there.st_mode & 0o777)),
            // A link is replaced, but one to a folder is that folder to everybody.
            Ok(there) if FileType::from_raw_mode(there.st_mode) == FileType::Symlink => {
                let behind = self.handle(path).and_then(|handle| Ok(fstat(&handle)?));
                if behind.is_ok_and(|behind| kind_of(&behind) == Kind::Folder) {
                    return Err(io::ErrorKind::IsADirectory.into());
                }
                None
            }
            // A pipe, a device: nobody reads or writes those here, and none is to be lost.
            Ok(_) => return Err(io::ErrorKind::PermissionDenied.into()),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(errno.into()),
        };
        let (file, aside) = open_aside(&folder)?;
        let upload = Aside { folder, aside, name: name.to_owned(), file, new };
        if let Some(mode) = mode {
            fchmod(&upload.file, mode)?;
        }
        Ok(Box::new(upload))
    }

    fn open_in_place(&self, path: &FtpPath, offset: Option<u64>) -> io::Result<Box<dyn Upload>> {
        let mut flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        match offset {
            None => flags |= OFlags::CREATE | OFlags::APPEND,
            Some(0) => flags |= OFlags::CREATE,
            Some(_) => {}
        }
        let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o666) } else { Mode::empty() };
        let file = self.beneath.open(path, flags, mode)?;
        let facts = fstat(&file)?;
        if kind_of(&facts) != Kind::File {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        if offset.is_some_and(|offset| offset > size_of(&facts)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Box::new(InPlace { file: File::from(file), at: offset }))
    }

    /// A handle of what is there, links followed.
    fn handle(&self, path: &FtpPath) -> io::Result<OwnedFd> {
        self.beneath.open(path, OFlags::PATH, Mode::empty())
    }

    fn rename(&self, from: &FtpPath, to: &FtpPath) -> io::Result<()> {
        visible(to)?;
        let (old_folder, old_name) = self.beneath.parent(from)?;
        let (new_folder, new_name) = self.beneath.parent(to)?;
        Ok(renameat(&old_folder, old_name, &new_folder, new_name)?)
    }
}

impl Storage for LocalStorage {
    fn facts(&self, path: &FtpPath) -> io::Result<Facts> {
        visible(path)?;
        Ok(facts_of(&fstat(self.handle(path)?)?))
    }

    fn list(&self, path: &FtpPath) -> io::Result<Listing> {
        visible(path)?;
        let folder = self.beneath.open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let mut names = Names(Dir::read_from(&folder)?);
        let mut sorted = names.by_ref().take(SORTED_MAX).collect::<io::Result<Vec<_>>>()?;
        sorted.sort_unstable();
        let (storage, path) = (self.clone(), path.clone());
        let rest: Box<dyn Iterator<Item = io::Result<Vec<u8>>> + Send> = Box::new(names);
        let all = sorted.into_iter().map(Ok).chain(rest);
        Ok(Box::new(all.filter_map(move |name| match name {
            Ok(name) => storage.entry(&folder, &path, name).map(Ok),
            Err(error) => Some(Err(error)),
        })))
    }

    fn read(&self, path: &FtpPath) -> io::Result<Source> {
        visible(path)?;
        // A pipe would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = self.beneath.open(path, flags, Mode::empty())?;
        match kind_of(&fstat(&file)?) {
            Kind::File => Ok(Source::File(File::from(file))),
            Kind::Folder => Err(io::ErrorKind::IsADirectory.into()),
            Kind::Other => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    fn write(&self, path: &FtpPath, how: Writing) -> io::Result<Box<dyn Upload>> {
        visible(path)?;
        match how {
            Writing::Whole => self.create_aside(path, false),
            Writing::New => self.create_aside(path, true),
            Writing::Append => self.open_in_place(path, None),
            Writing::At(offset) => self.open_in_place(path, Some(offset)),
        }
    }

    fn change(&self, path: &FtpPath, change: &Change) -> io::Result<()> {
        visible(path)?;
        let in_folder = || self.beneath.parent(path);
        match change {
            Change::MakeFolder => {
                let (folder, name) = in_folder()?;
                mkdirat(&folder, name, Mode::from_raw_mode(0o777))?;
            }
            Change::RemoveFolder => {
                let (folder, name) = in_folder()?;
                unlinkat(&folder, name, AtFlags::REMOVEDIR)?;
            }
            Change::RemoveFile => {
                let (folder, name) = in_folder()?;
                unlinkat(&folder, name, AtFlags::empty())?;
            }
            Change::Rename(to) => self.rename(path, to)?,
            Change::Modified(time) => {
                let handle = self.handle(path)?;
                let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
                let times = Timestamps { last_access: omit, last_modification: timespec(*time) };
                utimensat(rustix::fs::CWD, through(&handle), &times, AtFlags::empty())?;
            }
            Change::Mode(mode) => {
                let handle = self.handle(path)?;
                chmodat(
                    rustix::fs::CWD,
                    through(&handle),
                    Mode::from_raw_mode(mode & 0o777),
                    AtFlags::empty(),
                )?;
            }
        }
        Ok(())
    }
}

impl LocalStorage {
    /// What stands at a name; `None` if it went away meanwhile, or is a link that leads nowhere one may go.
    fn entry(&self, folder: &OwnedFd, path: &FtpPath, name: Vec<u8>) -> Option<(Vec<u8>, Facts)> {
        let found = statat(folder, OsStr::from_bytes(&name), AtFlags::SYMLINK_NOFOLLOW).ok()?;
        if FileType::from_raw_mode(found.st_mode) != FileType::Symlink {
            return Some((name, facts_of(&found)));
        }
        let target = path.join(&name).ok()?;
        self.facts(&target).ok().map(|facts| (name, facts))
    }
}

/// Names that are shown to nobody are nobody's to use: a client could otherwise keep files that its host never sees.
fn visible(path: &FtpPath) -> io::Result<()> {
    let hidden = path.as_bytes().split(|byte| *byte == b'/').any(|name| name.starts_with(ASIDE));
    if hidden { Err(io::ErrorKind::NotFound.into()) } else { Ok(()) }
}

/// The names in a folder, without those that nobody is to see.
struct Names(Dir);

impl Iterator for Names {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<io::Result<Vec<u8>>> {
        loop {
            let entry = match self.0.read()? {
                Ok(entry) => entry,
                Err(errno) => return Some(Err(errno.into())),
            };
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") && !name.starts_with(ASIDE) {
                return Some(Ok(name.to_vec()));
            }
        }
    }
}

/// A file in this folder that nobody knows of: without a name, so that nothing is left of it should the program be killed, or, where
/// the file system has no such files, with one that is shown to nobody.
fn open_aside(folder: &OwnedFd) -> io::Result<(File, Option<OsString>)> {
    let mode = Mode::from_raw_mode(0o666);
    let nameless = openat(folder, ".", OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, mode);
    if let Ok(file) = nameless
        // Without /proc it could never be given a name.
        && statat(rustix::fs::CWD, through(&file), AtFlags::empty()).is_ok()
    {
        return Ok((File::from(file), None));
    }
    open_named(folder)
}

fn open_named(folder: &OwnedFd) -> io::Result<(File, Option<OsString>)> {
    let aside = aside_name()?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(folder, &aside, flags, Mode::from_raw_mode(0o666))?;
    Ok((File::from(file), Some(aside)))
}

/// An upload beside its place.
struct Aside {
    folder: OwnedFd,
    /// Its name, if it has one.
    aside: Option<OsString>,
    /// Its name when it is whole.
    name: OsString,
    file: File,
    new: bool,
}

impl Aside {
    fn link(&self, name: &OsStr) -> io::Result<()> {
        Ok(linkat(rustix::fs::CWD, through(&self.file), &self.folder, name, AtFlags::SYMLINK_FOLLOW)?)
    }
}

impl Upload for Aside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn write_piped(&mut self, pipe: &Pipe, count: usize) -> io::Result<()> {
        pipe.move_to(&self.file, None, count)
    }

    fn commit(mut self: Box<Self>) -> io::Result<()> {
        if self.aside.is_none() && self.new {
            // The system refuses a name that is taken.
            return self.link(&self.name);
        }
        if self.aside.is_none() {
            // A name in place of another one is given by renaming only.
            let aside = aside_name()?;
            self.link(&aside)?;
            self.aside = Some(aside);
        }
        let Some(aside) = &self.aside else { return Ok(()) };
        let flags = if self.new { RenameFlags::NOREPLACE } else { RenameFlags::empty() };
        match renameat_with(&self.folder, aside, &self.folder, &self.name, flags) {
            // A file system that cannot promise that it is new: it was when the upload began.
            Err(Errno::INVAL | Errno::NOSYS) => renameat(&self.folder, aside, &self.folder, &self.name)?,
            outcome => outcome?,
        }
        self.aside = None;
        Ok(())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Some(aside) = &self.aside {
            // Should it be gone already, all the better.
            let _ = unlinkat(&self.folder, aside, AtFlags::empty());
        }
    }
}

/// An upload into what is there.
struct InPlace {
    file: File,
    /// Where the next byte goes; `None` is the end, wherever that is.
    at: Option<u64>,
}

impl Upload for InPlace {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.at {
            None => self.file.write_all(bytes),
            Some(at) => {
                self.file.write_all_at(bytes, *at)?;
                *at += bytes.len() as u64;
                Ok(())
            }
        }
    }

    fn write_piped(&mut self, pipe: &Pipe, count: usize) -> io::Result<()> {
        pipe.move_to(&self.file, self.at.as_mut(), count)
    }

    fn commit(self: Box<Self>) -> io::Result<()> {
        // It is where it belongs already.
        Ok(())
    }
}

/// A name that nobody else has, and nobody guesses.
fn aside_name() -> io::Result<OsString> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    let mut hex = String::new();
    for byte in random {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(OsString::from_vec([ASIDE, hex.as_bytes()].concat()))
}

/// The path by which the system opens what a handle stands for.
fn through(handle: &impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd()))
}

fn kind_of(facts: &Stat) -> Kind {
    match FileType::from_raw_mode(facts.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        _ => Kind::Other,
    }
}

fn size_of(facts: &Stat) -> u64 {
    u64::try_from(facts.st_size).unwrap_or(0)
}

fn facts_of(facts: &Stat) -> Facts {
    let seconds = Duration::from_secs(facts.st_mtime.unsigned_abs());
    let modified = if facts.st_mtime >= 0 { UNIX_EPOCH + seconds } else { UNIX_EPOCH - seconds };
    Facts {
        kind: kind_of(facts),
        size: size_of(facts),
        modified,
        mode: facts.st_mode & 0o7777,
        links: facts.st_nlink,
        owners: (facts.st_uid, facts.st_gid),
        unique: Some((facts.st_dev, facts.st_ino)),
    }
}

fn timespec(time: SystemTime) -> Timespec {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timespec {
        tv_sec: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(since.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests;
