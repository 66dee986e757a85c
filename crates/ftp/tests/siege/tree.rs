//! The folders of a siege: a root with links that lead out of it, and beside it what must stay as it is.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Gone at the end.
pub struct Tree(PathBuf);

impl Tree {
    pub fn new() -> Tree {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ropewalk-ftp-siege-{}-{serial}", std::process::id()));
        fs::create_dir_all(path.join("root/inner/deep")).unwrap();
        fs::create_dir_all(path.join("canary/nest")).unwrap();
        for name in ["canary/secret", "canary/nest/egg", "rooted"] {
            fs::write(path.join(name), name).unwrap();
        }
        fs::write(path.join("root/hello.txt"), "hello\nworld\n").unwrap();
        fs::write(path.join("root/large.bin"), vec![7; 3 << 20]).unwrap();
        symlink("../canary", path.join("root/way")).unwrap();
        symlink("../canary/secret", path.join("root/leaf")).unwrap();
        symlink("..", path.join("root/up")).unwrap();
        symlink(path.join("canary"), path.join("root/absolute")).unwrap();
        symlink("../../canary/nest", path.join("root/inner/out")).unwrap();
        symlink("loop", path.join("root/loop")).unwrap();
        Tree(path)
    }

    pub fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    /// What is beside the root: a line for each file and folder, with its contents and its times.
    pub fn outside(&self) -> Vec<String> {
        let mut lines = vec![line(&self.0)];
        let root = self.root();
        walk(&self.0, &mut |path| {
            if path == root {
                return false;
            }
            lines.push(line(path));
            true
        });
        lines
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn line(path: &Path) -> String {
    let facts = path.symlink_metadata().unwrap();
    let mut hasher = DefaultHasher::new();
    if facts.is_file() {
        fs::read(path).unwrap().hash(&mut hasher);
    }
    format!(
        "{} mode {:o} size {} links {} modified {}.{} changed {}.{} hash {:x}",
        path.display(),
        facts.mode(),
        facts.size(),
        facts.nlink(),
        facts.mtime(),
        facts.mtime_nsec(),
        facts.ctime(),
        facts.ctime_nsec(),
        hasher.finish()
    )
}

/// Everything below a folder; `see` says whether it is to be entered.
fn walk(folder: &Path, see: &mut dyn FnMut(&Path) -> bool) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let enter = see(&path);
        if enter && path.symlink_metadata().unwrap().is_dir() {
            walk(&path, see);
        }
    }
}

/// What begins like this, anywhere below a folder.
pub fn names_below(folder: &Path, begin: &str) -> Vec<String> {
    let mut found = Vec::new();
    walk(folder, &mut |path| {
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begin)) {
            found.push(path.display().to_string());
        }
        true
    });
    found
}
