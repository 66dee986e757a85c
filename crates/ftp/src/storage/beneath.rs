//! Opening what is below a folder, and nothing else, whatever links say and whoever swaps them meanwhile. The system does it
//! (openat2 with RESOLVE_BENEATH); where it does not know how, each name is opened by itself and links are refused.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat, openat2};
use rustix::io::Errno;

use crate::path::FtpPath;

/// How often a name is looked for that somebody renames at the same time.
const ATTEMPTS: usize = 16;

/// A folder that nothing opened through it is outside of.
#[derive(Debug)]
pub(super) struct Beneath {
    root: OwnedFd,
    /// The system does not know openat2, or a sandbox forbids it.
    walking: AtomicBool,
}

impl Beneath {
    pub(super) fn new(root: &Path) -> io::Result<Beneath> {
        let root = open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Beneath { root, walking: AtomicBool::new(false) })
    }

    /// The same without the system's help.
    #[cfg(test)]
    pub(super) fn walking(root: &Path) -> io::Result<Beneath> {
        let beneath = Beneath::new(root)?;
        beneath.walking.store(true, Ordering::Relaxed);
        Ok(beneath)
    }

    /// Opens a path.
    pub(super) fn open(&self, path: &FtpPath, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        if !self.walking.load(Ordering::Relaxed) {
            match self.ask(path, flags, mode) {
                Err(Errno::NOSYS | Errno::PERM) if self.is_unable() => {
                    self.walking.store(true, Ordering::Relaxed)
                }
                // It leads outside: for the peer it is not there.
                Err(Errno::XDEV) => return Err(Errno::NOENT.into()),
                outcome => return Ok(outcome?),
            }
        }
        self.walk(path, flags, mode)
    }

    /// The folder that a path is in, opened, and the name that it has there.
    pub(super) fn parent<'a>(&self, path: &'a FtpPath) -> io::Result<(OwnedFd, &'a OsStr)> {
        if path.is_root() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let folder = self.open(&path.parent(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        Ok((folder, OsStr::from_bytes(path.name())))
    }

    fn ask(&self, path: &FtpPath, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..ATTEMPTS {
            match openat2(&self.root, path.relative(), flags, mode, resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                outcome => return outcome,
            }
        }
        Err(Errno::BUSY)
    }

    /// Whether openat2 refuses even the root itself.
    fn is_unable(&self) -> bool {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat2(&self.root, ".", flags, Mode::empty(), ResolveFlags::BENEATH).is_err()
    }

    /// Name by name, and no link is followed.
    fn walk(&self, path: &FtpPath, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut folder = openat(&self.root, ".", step, Mode::empty())?;
        for name in path.parent().names() {
            folder = openat(&folder, name, step, Mode::empty())?;
        }
        let name = if path.is_root() { b"." } else { path.name() };
        let opened = openat(&folder, name, flags | OFlags::NOFOLLOW, mode)?;
        if flags.contains(OFlags::PATH) && !flags.contains(OFlags::NOFOLLOW) && is_link(&opened)? {
            // Where only a handle is wanted, the system gives one of the link itself.
            return Err(Errno::LOOP.into());
        }
        Ok(opened)
    }
}

fn is_link(file: impl AsFd) -> io::Result<bool> {
    let facts = rustix::fs::fstat(file)?;
    Ok(rustix::fs::FileType::from_raw_mode(facts.st_mode) == rustix::fs::FileType::Symlink)
}
