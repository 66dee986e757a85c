//! A folder that goes with its value.
//!
//! Files that are served, databases, a foreign server's own things: what a child that is killed cannot clear away itself.

use std::io;
use std::path::{Path, PathBuf};

/// Removed when it is dropped; beside the program, where there is a disk.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// One of this kind, of this process.
    pub(crate) fn make(kind: &str) -> io::Result<Folder> {
        let program = std::env::current_exe()?;
        let folder = program.with_file_name(format!("{kind}-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Folder(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
