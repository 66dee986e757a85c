//! Whether files have changed, told by what the system says of them and without reading them. A link is followed: ACME clients
//! renew by pointing it elsewhere. `server` looks, on a thread that may wait for the disk.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// What the system said of some files. Two that are equal mean that nothing has changed between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprint(Vec<Option<State>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Also told of what was written within one tick of the clock that stamps files, when it was renamed into its place.
    changed: (i64, i64),
}

impl Fingerprint {
    /// Of these files, in this order. Of a folder: of what is in it.
    pub(super) fn of(paths: Vec<PathBuf>) -> Fingerprint {
        let mut states = Vec::new();
        for path in paths {
            if let Ok(entries) = std::fs::read_dir(&path) {
                let mut inside: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
                inside.sort();
                states.extend(inside.iter().map(state));
            }
            states.push(state(&path));
        }
        Fingerprint(states)
    }
}

fn state(path: &PathBuf) -> Option<State> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(State {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}
