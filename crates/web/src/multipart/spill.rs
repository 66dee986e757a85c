//! A file that was uploaded: in memory while it is small, else in a file of its own that goes when nobody has it any more. All that touches the
//! disk happens on threads.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ropewalk_reactor::{Outcome, Reactor};

use super::part::PartInfo;

/// What one job writes: a round trip to a thread is paid once for as much.
const AT_ONCE: usize = 256 * 1024;

/// A file of a form.
pub struct Upload {
    info: PartInfo,
    length: u64,
    /// In memory, or what is not written yet.
    held: Vec<u8>,
    spilled: Option<Spilled>,
}

/// A file that is removed when it is dropped.
struct Spilled {
    reactor: Reactor,
    file: Arc<File>,
    /// Empty once it has gone elsewhere.
    path: Option<Removed>,
}

/// Removes what it names, wherever it is dropped.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // Somebody may have taken it away already.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Drop for Spilled {
    fn drop(&mut self) {
        let (file, path) = (Arc::clone(&self.file), self.path.take());
        if path.is_some() {
            // Freeing a large file takes the disk a while. A job that is never run is dropped, and has removed it then.
            let _ = self.reactor.call_in_thread(move || drop((path, file)));
        }
    }
}

impl std::ops::Deref for Upload {
    type Target = PartInfo;

    fn deref(&self) -> &PartInfo {
        &self.info
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload")
            .field("info", &self.info)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Upload {
    pub(super) fn new(info: PartInfo) -> Upload {
        Upload { info, length: 0, held: Vec::new(), spilled: None }
    }

    /// Takes a piece. Whoever waits for it reads the client on no sooner than the disk has taken what there was.
    pub(super) async fn push(
        &mut self,
        reactor: &Reactor,
        piece: Vec<u8>,
        memory_bytes_max: usize,
        folder: Option<&Path>,
    ) -> Outcome<()> {
        self.length += piece.len() as u64;
        if self.held.is_empty() {
            self.held = piece;
        } else {
            self.held.extend_from_slice(&piece);
        }
        if self.spilled.is_none() && self.held.len() > memory_bytes_max {
            let folder = folder.map_or_else(std::env::temp_dir, Path::to_owned);
            self.spilled = Some(Spilled::make(reactor, folder).await?);
        }
        if self.spilled.is_some() && self.held.len() >= AT_ONCE { self.flush().await } else { Ok(()) }
    }

    /// Writes what is held.
    pub(super) async fn flush(&mut self) -> Outcome<()> {
        let Some(spilled) = &self.spilled else { return Ok(()) };
        let (file, held) = (Arc::clone(&spilled.file), std::mem::take(&mut self.held));
        let writing = spilled.reactor.defer_to_thread(move || {
            (&*file).write_all(&held).map(|()| {
                // The room is used again.
                let mut held = held;
                held.clear();
                held
            })
        });
        self.held = writing.await??;
        Ok(())
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Where it is, if it is on the disk: until this value is dropped.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.spilled.as_ref()?.path.as_ref().map(|path| path.0.as_path())
    }

    /// Its bytes, if it is in memory.
    #[must_use]
    pub fn in_memory(&self) -> Option<&[u8]> {
        self.spilled.is_none().then_some(&self.held)
    }

    /// All of its bytes.
    ///
    /// # Errors
    /// The disk's.
    pub async fn bytes(&self) -> Outcome<Vec<u8>> {
        let Some((spilled, path)) = self.spilled.as_ref().zip(self.path()) else {
            return Ok(self.held.clone());
        };
        let path = path.to_owned();
        Ok(spilled.reactor.defer_to_thread(move || std::fs::read(path)).await??)
    }

    /// Keeps it under this name, which must not be there yet: the file is moved, or copied to another disk. Only its owner may read it.
    ///
    /// # Errors
    /// The name is there, or the disk's; then nothing is there that was not.
    pub async fn keep(mut self, reactor: &Reactor, place: impl Into<PathBuf>) -> Outcome<()> {
        let place = place.into();
        let held = std::mem::take(&mut self.held);
        let from = self.spilled.as_mut().and_then(|spilled| spilled.path.take());
        Ok(reactor.defer_to_thread(move || keep(from, &held, &place)).await??)
    }
}

/// Makes the file at `place`, out of another one or of these bytes.
fn keep(from: Option<Removed>, held: &[u8], place: &Path) -> io::Result<()> {
    let Some(from) = from else {
        let written = create(place)?.write_all(held);
        if written.is_err() {
            let _ = std::fs::remove_file(place);
        }
        return written;
    };
    // Unlike a rename, a link does not replace what is there.
    match std::fs::hard_link(&from.0, place) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // Another disk, or one that has no links.
        Err(_) => {
            let copied = io::copy(&mut File::open(&from.0)?, &mut create(place)?);
            if copied.is_err() {
                let _ = std::fs::remove_file(place);
            }
            copied.map(drop)
        }
        Ok(()) => Ok(()),
    }
}

/// A new file, that was not there before and is no link to anywhere, and only its owner may read.
fn create(place: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(place)
}

impl Spilled {
    async fn make(reactor: &Reactor, folder: PathBuf) -> Outcome<Spilled> {
        let made = reactor.defer_to_thread(move || {
            let name = format!("ropewalk-upload-{}", crate::secret::hex(&crate::secret::bytes::<16>()));
            let path = folder.join(name);
            create(&path).map(|file| (Arc::new(file), Removed(path)))
        });
        let (file, path) = made.await??;
        Ok(Spilled { reactor: reactor.clone(), file, path: Some(path) })
    }
}
