//! Says which of many followed files may have changed, by inotify.
//!
//! It reads no file and keeps no timer. The service registers its descriptor with the reactor, and steps the
//! followers of the files that `drain` names. A remote file system tells nothing of what other machines write, and a
//! moved folder further up the path is not noticed; so step every follower now and then from a slow timer as well.

use crate::chain::{Entry, entries};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Room for a hundred events and more, each with the longest usual name.
const BLOCK_BYTES: usize = 8 * 1024;

/// Files of one name watched at once: the present one, and the one before, which its writer may still have open.
const FILES_MAX: usize = 2;

/// How often the links are walked again because they changed while the watches were set.
const WALKS_MAX: usize = 4;

/// Watches files, the folders they lie in, and the links that lead there.
#[derive(Debug)]
pub struct Watch {
    inotify: OwnedFd,
    names: Vec<Name>,
    /// Who depends on a watch: the kernel has only one for all names in the same folder.
    users: BTreeMap<i32, BTreeSet<usize>>,
}

/// One path that was added.
#[derive(Debug)]
struct Name {
    path: PathBuf,
    /// Watches of folders, each with the entry in it that matters.
    folders: Vec<(i32, OsString)>,
    /// Watches of the files that have the name or had it last, oldest first.
    files: VecDeque<i32>,
}

/// What [`Watch::drain`] found.
#[derive(Debug, Default)]
pub struct Changes {
    /// The numbers, as [`Watch::add`] gave them, of the paths whose file may have changed, rising.
    pub files: Vec<usize>,
    /// Set when something is not watched any more: from now on, step the followers from a timer.
    pub fault: Option<WatchError>,
}

/// Why a file cannot be watched. A timer that steps the followers a few times a second does the same work.
#[derive(Debug)]
#[non_exhaustive]
pub enum WatchError {
    /// A limit of the system is reached; `sysctl` is the setting that raises it.
    Limit {
        /// Such as `fs.inotify.max_user_watches`.
        sysctl: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else that the operating system reports.
    System(io::Error),
}

impl Watch {
    /// A watch of nothing yet.
    ///
    /// # Errors
    /// [`WatchError::Limit`] when this user, or this process, has too many of them.
    pub fn new() -> Result<Watch, WatchError> {
        let inotify =
            inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(limit_of_instances)?;
        Ok(Watch { inotify, names: Vec::new(), users: BTreeMap::new() })
    }

    /// Watches one more path and gives it the next number, from 0 on. Nothing need be there yet. Step the follower
    /// once after this: what happened before is not told.
    ///
    /// # Errors
    /// [`WatchError::Limit`] when this user has too many watches; the number is not given then.
    pub fn add(&mut self, path: impl AsRef<Path>) -> Result<usize, WatchError> {
        let path = std::path::absolute(path).map_err(WatchError::System)?;
        let number = self.names.len();
        self.names.push(Name { path, folders: Vec::new(), files: VecDeque::new() });
        if let Err(errno) = self.arm(number) {
            let name = self.names.pop().expect("pushed just above");
            for watch in name.folders.into_iter().map(|(watch, _)| watch).chain(name.files) {
                self.release(watch, number);
            }
            return Err(limit_of_watches(errno));
        }
        Ok(number)
    }

    /// Takes everything that has happened since the last call, without waiting, and follows the names to the files
    /// that have them now.
    pub fn drain(&mut self) -> Changes {
        let (mut changed, mut moved) = (BTreeSet::new(), BTreeSet::new());
        let mut block = [MaybeUninit::uninit(); BLOCK_BYTES];
        let mut lost = Vec::new();
        let mut reader = Reader::new(&self.inotify, &mut block);
        let mut fault = loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    let what = event.events();
                    if what.contains(ReadFlags::QUEUE_OVERFLOW) {
                        // Events were lost: all may have changed, and all may have moved.
                        moved.extend(0..self.names.len());
                    }
                    if what.contains(ReadFlags::IGNORED) {
                        lost.push(event.wd());
                    }
                    for number in self.users.get(&event.wd()).into_iter().flatten() {
                        match self.names[*number].concern(event.wd(), name) {
                            Concern::File => changed.insert(*number),
                            Concern::Place => moved.insert(*number),
                            Concern::None => false,
                        };
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break None,
                Err(errno) => break Some(WatchError::System(errno.into())),
            }
        };
        for watch in lost {
            moved.extend(self.forget(watch));
        }
        for number in &moved {
            if let Err(errno) = self.arm(*number) {
                fault = Some(limit_of_watches(errno));
            }
        }
        changed.append(&mut moved);
        Changes { files: changed.into_iter().collect(), fault }
    }

    /// How many watches of the system are in use.
    pub fn watches(&self) -> usize {
        self.users.len()
    }

    /// Sets the watches that the path needs now and releases those it needs no more.
    fn arm(&mut self, number: usize) -> Result<(), Errno> {
        let path = self.names[number].path.clone();
        for _ in 0..WALKS_MAX {
            let walk = entries(&path);
            self.arm_folders(number, &walk)?;
            self.arm_file(number, &path)?;
            // Had a link changed before its folder was watched, nobody would ever tell.
            if entries(&path) == walk {
                break;
            }
        }
        Ok(())
    }

    fn arm_folders(&mut self, number: usize, walk: &[Entry]) -> Result<(), Errno> {
        let mask = WatchFlags::CREATE
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::MOVE_SELF
            | WatchFlags::DELETE_SELF
            | WatchFlags::ONLYDIR;
        let mut folders = Vec::new();
        let mut refused = None;
        for entry in walk {
            match self.set(number, &entry.folder, mask) {
                Ok(Some(watch)) => folders.push((watch, entry.name.clone())),
                Ok(None) => {}
                Err(errno) => refused = Some(errno),
            }
        }
        let before = std::mem::replace(&mut self.names[number].folders, folders);
        for (watch, _) in before {
            if !self.names[number].needs(watch) {
                self.release(watch, number);
            }
        }
        refused.map_or(Ok(()), Err)
    }

    fn arm_file(&mut self, number: usize, path: &Path) -> Result<(), Errno> {
        let mask = WatchFlags::MODIFY | WatchFlags::ATTRIB | WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF;
        let watch = match self.set(number, path, mask) {
            Ok(Some(watch)) => watch,
            // A rotation may create the file first and give us the right to read it after: its folder tells of both.
            Ok(None) | Err(Errno::ACCESS) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        let name = &mut self.names[number];
        name.files.retain(|known| *known != watch);
        name.files.push_back(watch);
        if name.files.len() > FILES_MAX
            && let Some(oldest) = name.files.pop_front()
            && !name.needs(oldest)
        {
            self.release(oldest, number);
        }
        Ok(())
    }

    /// Sets one watch; none when the path leads nowhere. For a thing already watched the kernel gives the same number.
    fn set(&mut self, number: usize, path: &Path, mask: WatchFlags) -> Result<Option<i32>, Errno> {
        // Added to: should a folder take the name of a file, one of its two users must not unset the other's mask.
        match inotify::add_watch(&self.inotify, path, mask | WatchFlags::MASK_ADD) {
            Ok(watch) => {
                self.users.entry(watch).or_default().insert(number);
                Ok(Some(watch))
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn release(&mut self, watch: i32, number: usize) {
        let Some(users) = self.users.get_mut(&watch) else { return };
        users.remove(&number);
        if users.is_empty() {
            self.users.remove(&watch);
            // It fails only for a watch that the kernel has taken back already, with the file.
            let _ = inotify::remove_watch(&self.inotify, watch);
        }
    }

    /// The kernel has taken a watch back, because its file or folder is no more. Returns whose it was.
    fn forget(&mut self, watch: i32) -> BTreeSet<usize> {
        let users = self.users.remove(&watch).unwrap_or_default();
        for number in &users {
            let name = &mut self.names[*number];
            name.folders.retain(|(folder, _)| *folder != watch);
            name.files.retain(|file| *file != watch);
        }
        users
    }
}

/// What an event means for a name.
enum Concern {
    /// The file itself has changed.
    File,
    /// Another file may have the name now.
    Place,
    None,
}

impl Name {
    fn concern(&self, watch: i32, entry: Option<&OsStr>) -> Concern {
        if self.files.contains(&watch) {
            return Concern::File;
        }
        // Without an entry the event is about the folder itself, which moved or went.
        let concerns =
            |(folder, name): &(i32, OsString)| *folder == watch && entry.is_none_or(|entry| entry == name);
        if self.folders.iter().any(concerns) { Concern::Place } else { Concern::None }
    }

    fn needs(&self, watch: i32) -> bool {
        self.files.contains(&watch) || self.folders.iter().any(|(folder, _)| *folder == watch)
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.inotify.as_raw_fd()
    }
}

fn limit_of_instances(errno: Errno) -> WatchError {
    match errno {
        // The same number is said when the process has no descriptor left.
        Errno::MFILE => WatchError::Limit { sysctl: "fs.inotify.max_user_instances", source: errno.into() },
        errno => WatchError::System(errno.into()),
    }
}

fn limit_of_watches(errno: Errno) -> WatchError {
    match errno {
        Errno::NOSPC => WatchError::Limit { sysctl: "fs.inotify.max_user_watches", source: errno.into() },
        errno => WatchError::System(errno.into()),
    }
}

impl fmt::Display for WatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WatchError::Limit { sysctl, .. } => write!(f, "no more files can be watched: raise {sysctl}"),
            WatchError::System(_) => write!(f, "files cannot be watched"),
        }
    }
}

impl std::error::Error for WatchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            WatchError::Limit { source, .. } | WatchError::System(source) => Some(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_names_the_setting_that_raises_it() {
        let watches = limit_of_watches(Errno::NOSPC);
        assert_eq!(watches.to_string(), "no more files can be watched: raise fs.inotify.max_user_watches");
        assert!(limit_of_instances(Errno::MFILE).to_string().contains("max_user_instances"));
        assert!(matches!(limit_of_watches(Errno::ACCESS), WatchError::System(_)));
    }
}
