//! One process at a time: a lock beside the database, that goes with the process however it ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use crate::error::DatabaseError;

/// Holds the lock until it is dropped. The file stays: taking it away would let a third process lock another one of its name.
#[derive(Debug)]
pub(crate) struct Lock(#[allow(dead_code, reason = "the open file is the lock")] File);

impl Lock {
    /// Locks `path` with `-lock` at its end.
    pub(crate) fn take(path: &Path) -> Result<Lock, DatabaseError> {
        let mut name = path.as_os_str().to_owned();
        name.push("-lock");
        let place = PathBuf::from(name);
        let failed = |error: io::Error| DatabaseError::Io(place.clone(), Arc::new(error));
        let file = open(&place).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DatabaseError::InUse(path.to_owned())),
            Err(error) => Err(failed(error.into())),
        }
    }
}

/// Opens or makes a file that only its owner may read: what is kept may be secret.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}
