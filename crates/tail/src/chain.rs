//! Which folder entries a path depends on: its last one, and every symbolic link on the way.
//!
//! Reads links, watches nothing. Called by `watch`, which watches the folders of these entries: a log under
//! Kubernetes is a link to a link to a file in another folder, and any of the three may be replaced.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows before it says ELOOP.
const LINKS_MAX: usize = 40;

/// A name in a folder. The folder's own path holds no links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) folder: PathBuf,
    pub(crate) name: OsString,
}

/// The entries that decide which file an absolute path means, in the order they are met. Where one is missing
/// (or may not be looked at) the list ends with it: when it appears, the path is worth another look.
pub(crate) fn entries(path: &Path) -> Vec<Entry> {
    let mut parts: VecDeque<OsString> = components(path).collect();
    let mut folder = PathBuf::from("/");
    let mut found = Vec::new();
    let mut links = 0;
    while let Some(name) = parts.pop_front() {
        match Path::new(&name).components().next() {
            Some(Component::RootDir) => folder = PathBuf::from("/"),
            Some(Component::ParentDir) => {
                folder.pop();
            }
            Some(Component::Normal(_)) => {
                let Ok(target) = link_target(&folder, &name) else {
                    found.push(Entry { folder, name });
                    break;
                };
                if target.is_none() && !parts.is_empty() {
                    folder.push(name);
                    continue;
                }
                found.push(Entry { folder: folder.clone(), name });
                links += 1;
                if links > LINKS_MAX {
                    break;
                }
                for part in target.iter().flat_map(|target| components(target).rev()) {
                    parts.push_front(part);
                }
            }
            Some(Component::CurDir | Component::Prefix(_)) | None => {}
        }
    }
    found
}

fn components(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().map(|part| part.as_os_str().to_owned())
}

/// What the entry points to, or none when it is no link.
fn link_target(folder: &Path, name: &OsStr) -> io::Result<Option<PathBuf>> {
    let entry = folder.join(name);
    if fs::symlink_metadata(&entry)?.is_symlink() { fs::read_link(&entry).map(Some) } else { Ok(None) }
}
