//! Says that something in a tree of folders may have changed, by inotify. It does not say what: whoever hears it looks. Who looks now and
//! then anyway misses nothing where the system tells nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// Room for a hundred events and more.
const BLOCK_BYTES: usize = 8 * 1024;

/// A watch over folders.
#[derive(Debug)]
pub(super) struct Tree {
    inotify: OwnedFd,
    watches: BTreeMap<PathBuf, i32>,
}

impl Tree {
    pub(super) fn new() -> Result<Tree, Errno> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Tree { inotify, watches: BTreeMap::new() })
    }

    /// Watches exactly these folders; whether some are new. What happened in them before is not told.
    pub(super) fn set(&mut self, folders: &[PathBuf]) -> Result<bool, Errno> {
        let wanted: BTreeSet<&PathBuf> = folders.iter().collect();
        let left = self.watches.extract_if(.., |folder, _| !wanted.contains(folder));
        let left: Vec<i32> = left.map(|(_, watch)| watch).collect();
        for watch in left {
            // Of two names of one folder the other one may still be there; with the folder its watch has gone already.
            if !self.watches.values().any(|other| *other == watch) {
                let _ = inotify::remove_watch(&self.inotify, watch);
            }
        }
        let mask = WatchFlags::CREATE
            | WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let mut new = false;
        for folder in wanted {
            if self.watches.contains_key(folder) {
                continue;
            }
            match inotify::add_watch(&self.inotify, folder, mask) {
                Ok(watch) => new |= self.watches.insert(folder.clone(), watch).is_none(),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(new)
    }

    /// Takes everything that was told since the last call.
    pub(super) fn drain(&mut self) -> Result<(), Errno> {
        let mut block = [MaybeUninit::uninit(); BLOCK_BYTES];
        let mut reader = Reader::new(&self.inotify, &mut block);
        loop {
            match reader.next() {
                Ok(event) => {
                    // A folder that went or moved may have its name taken by another one.
                    if event.events().intersects(ReadFlags::IGNORED | ReadFlags::MOVE_SELF) {
                        let watch = event.wd();
                        self.watches.retain(|_, known| *known != watch);
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
