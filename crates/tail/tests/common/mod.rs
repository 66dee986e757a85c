//! A folder of its own for each test, and short ways to do to a file what writers and log rotation do.

#![allow(dead_code, reason = "each test program uses its part")]
#![allow(unreachable_pub, reason = "a module of tests has no outside")]

use ropewalk_tail::{Follower, Progress};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A new folder, removed with what is in it when the test is over.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ropewalk-tail-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a new folder");
        // The folder of temporary files may itself be behind a link.
        Folder(path.canonicalize().expect("it is there"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Opens for appending, as a writer of logs does; creates the file where it is missing.
pub fn writer(path: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(path).expect("may be written")
}

pub fn append(path: &Path, bytes: impl AsRef<[u8]>) {
    write(&writer(path), bytes);
}

pub fn write(mut file: &File, bytes: impl AsRef<[u8]>) {
    file.write_all(bytes.as_ref()).expect("written");
}

pub fn rename(from: &Path, to: &Path) {
    fs::rename(from, to).expect("renamed");
}

pub fn truncate(path: &Path) {
    OpenOptions::new().write(true).truncate(true).open(path).expect("truncated");
}

/// Makes `link` point to `target` in one step, as a running system does.
pub fn link(target: impl AsRef<Path>, link: &Path) {
    let fresh = link.with_extension("fresh");
    std::os::unix::fs::symlink(target, &fresh).expect("a new link");
    rename(&fresh, link);
}

/// All there is to read now.
pub fn drain(follower: &mut Follower) -> Vec<String> {
    drain_by(follower, 64 * 1024)
}

pub fn drain_by(follower: &mut Follower, budget_bytes: usize) -> Vec<String> {
    let mut lines = Vec::new();
    while follower.step(budget_bytes, &mut |line| lines.push(line.text.to_owned())).expect("readable")
        == Progress::MoreNow
    {}
    lines
}
