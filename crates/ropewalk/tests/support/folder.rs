//! A folder of its own for a test, removed with what is in it.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

static COUNT: AtomicUsize = AtomicUsize::new(0);

pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        loop {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("ropewalk-program-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                // A test that was killed has left it; process numbers come again.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => return made.map(|()| Folder(path.canonicalize().unwrap())).unwrap(),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of a file in it, as an argument.
    pub fn name(&self, name: &str) -> String {
        self.0.join(name).into_os_string().into_string().unwrap()
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.0.join(name), content).unwrap();
        self.name(name)
    }

    pub fn append(&self, name: &str, content: impl AsRef<[u8]>) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.0.join(name)).unwrap();
        file.write_all(content.as_ref()).unwrap();
    }

    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
