//! The run directory: where a running program is found. `NAME.pid` is locked while the program runs, so that one that was left behind
//! is recognised whatever number stands in it; `NAME.sock` is the control socket, `NAME.state` the state, `NAME.log` what a daemon says.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::service::StartError;

/// A folder with the files of one program in it.
#[derive(Clone, Debug)]
pub(crate) struct Rundir {
    folder: PathBuf,
    name: String,
}

impl Rundir {
    /// The files of `name` in this folder, as seen from the folder we stand in now.
    pub(crate) fn new(folder: &Path, name: &str) -> Result<Rundir, StartError> {
        let folder = std::path::absolute(folder).map_err(StartError::new)?;
        Ok(Rundir { folder, name: name.to_owned() })
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", self.name))
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn pid_path(&self) -> PathBuf {
        self.file("pid")
    }

    pub(crate) fn socket_path(&self) -> PathBuf {
        self.file("sock")
    }

    pub(crate) fn state_path(&self) -> PathBuf {
        self.file("state")
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.file("log")
    }

    /// Makes the folder if it is not there.
    pub(crate) fn create(&self) -> Result<(), StartError> {
        std::fs::create_dir_all(&self.folder).map_err(|error| self.refused(&self.folder, &error))
    }

    /// Whether nobody has put anything in it yet but a daemon's log: then it is as if we had made it.
    pub(crate) fn is_fresh(&self) -> bool {
        let log = self.log_path();
        let mut files = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        files.all(|file| file.path() == log)
    }

    fn refused(&self, path: &Path, error: &io::Error) -> StartError {
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                "it may not be written; choose another folder with --rundir DIR"
            }
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                "it is no folder; choose another one with --rundir DIR"
            }
            _ => {
                return StartError::new(format!(
                    "{}: {error}; choose another folder with --rundir DIR",
                    path.display()
                ));
            }
        };
        StartError::new(format!("{}: {advice}", path.display()))
    }

    /// Takes the pid file for this process.
    pub(crate) fn lock(&self) -> Result<PidFile, StartError> {
        let path = self.pid_path();
        loop {
            let opened = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o644)
                .open(&path);
            let mut file = opened.map_err(|error| self.refused(&path, &error))?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(StartError::new(match read_number(&mut file) {
                        Some(pid) => format!("it is already running as process {pid} ({})", path.display()),
                        None => format!("it is already running or starting ({})", path.display()),
                    }));
                }
                Err(error) => return Err(StartError::new(format!("{}: {error}", path.display()))),
            }
            if !is_same(&file, &path) {
                // Its owner has removed it between our opening and our locking: what we have locked nobody will find.
                continue;
            }
            if let Some(stale) = read_number(&mut file) {
                tracing::info!("process {stale} has left its pid file behind: {}", path.display());
            }
            return Ok(PidFile { file, path });
        }
    }

    /// The process that runs now; `None` if none does.
    pub(crate) fn running(&self) -> Result<Option<i32>, StartError> {
        let path = self.pid_path();
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StartError::new(format!("{}: {error}", path.display()))),
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(None),
            Err(rustix::io::Errno::WOULDBLOCK) => match read_number(&mut file) {
                Some(pid) => Ok(Some(pid)),
                None => Err(StartError::new(format!("{}: somebody is just starting", path.display()))),
            },
            Err(error) => Err(StartError::new(format!("{}: {error}", path.display()))),
        }
    }
}

fn read_number(file: &mut File) -> Option<i32> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 0)
}

fn is_same(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.metadata()) {
        (Ok(held), Ok(found)) => held.dev() == found.dev() && held.ino() == found.ino(),
        _ => false,
    }
}

/// The pid file of a running program. Its lock belongs to the description, and so goes along when that is handed to another process.
pub(crate) struct PidFile {
    file: File,
    path: PathBuf,
}

impl PidFile {
    /// One that the process before this one held.
    pub(crate) fn inherit(fd: OwnedFd, path: PathBuf) -> PidFile {
        PidFile { file: fd.into(), path }
    }

    /// Writes our number into it.
    pub(crate) fn write(&mut self) -> Result<(), StartError> {
        let number = format!("{}\n", std::process::id());
        // At no moment is it empty: whoever reads it may not know of the lock.
        let written = self
            .file
            .write_all_at(number.as_bytes(), 0)
            .and_then(|()| self.file.set_len(number.len() as u64));
        written.map_err(|error| StartError::new(format!("{}: {error}", self.path.display())))
    }

    /// The lock once more, for the next process.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.file.as_fd().try_clone_to_owned()
    }

    /// Who it belongs to when the program has given up its privileges.
    pub(crate) fn give_to(&self, user: Option<u32>, group: Option<u32>) {
        // Root keeps it then, and at the end it is emptied instead of removed.
        let _ = std::os::unix::fs::fchown(&self.file, user, group);
    }

    /// The program has ended.
    pub(crate) fn remove(self) {
        if std::fs::remove_file(&self.path).is_err() {
            // The folder may not be written any more. Without a number and a lock it says the same.
            let _ = self.file.set_len(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rundir(test: &str) -> Rundir {
        let folder = std::env::temp_dir().join(format!("ropewalk-rundir-{}-{test}", std::process::id()));
        let rundir = Rundir::new(&folder, "program").unwrap();
        rundir.create().unwrap();
        rundir
    }

    #[test]
    fn one_at_a_time() {
        let rundir = rundir("one");
        assert_eq!(rundir.running().unwrap(), None);
        let mut first = rundir.lock().unwrap();
        first.write().unwrap();
        assert_eq!(rundir.running().unwrap(), Some(std::process::id() as i32));
        let refused = rundir.lock().err().expect("it is locked").to_string();
        assert!(refused.contains(&format!("already running as process {}", std::process::id())), "{refused}");
        // The lock lives on in a duplicate, as it does in the next process.
        let heir = PidFile::inherit(first.descriptor().unwrap(), rundir.pid_path());
        drop(first);
        assert!(rundir.lock().is_err());
        heir.remove();
        assert!(!rundir.pid_path().exists());
        std::fs::remove_dir_all(rundir.folder()).unwrap();
    }

    #[test]
    fn one_that_was_left_behind_is_recognised_whatever_stands_in_it() {
        let rundir = rundir("stale");
        for left in ["1\n", "999999999\n", "", "rubbish"] {
            std::fs::write(rundir.pid_path(), left).unwrap();
            assert_eq!(rundir.running().unwrap(), None, "{left:?}");
            rundir.lock().unwrap().remove();
        }
        std::fs::remove_dir_all(rundir.folder()).unwrap();
    }
}
