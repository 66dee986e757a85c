//! `Storage`: what a session asks of files, and what it gets. Two are here: a folder of the system (`local`) and one in memory
//! (`memory`). All methods may wait for a disk: the session calls them in the thread pool and never on the loop.

mod beneath;
mod local;
mod memory;

use std::fs::File;
use std::io::{self, Read, Seek};
use std::time::SystemTime;

use ropewalk_net::Pipe;
use ropewalk_wire::ftp::Facts;

use crate::path::FtpPath;

pub use local::LocalStorage;
pub use memory::MemoryStorage;

/// Where files are. Errors are the system's: their [`io::ErrorKind`] decides the reply, their text is told to nobody.
///
/// A storage has to see to it by itself that links lead nowhere else; a [`FtpPath`] does not climb by its text.
pub trait Storage: Send + Sync + 'static {
    /// What is known of a file or folder.
    ///
    /// # Errors
    /// There is none, or it may not be looked at.
    fn facts(&self, path: &FtpPath) -> io::Result<Facts>;

    /// What is in a folder. The iterator is asked piece by piece, also in the thread pool.
    ///
    /// # Errors
    /// There is no such folder, or it may not be read.
    fn list(&self, path: &FtpPath) -> io::Result<Listing>;

    /// Opens a file to be read.
    ///
    /// # Errors
    /// There is none, it is none, or it may not be read.
    fn read(&self, path: &FtpPath) -> io::Result<Source>;

    /// Opens a file to be written. What is at `path` stays as it is until [`Upload::commit`], except where `how` says that it is written in
    /// place.
    ///
    /// # Errors
    /// It may not be written, or its folder is not there. `InvalidInput`: an offset behind its end.
    fn write(&self, path: &FtpPath, how: Writing) -> io::Result<Box<dyn Upload>>;

    /// Changes something that is no file's content.
    ///
    /// # Errors
    /// It is not there, not empty, or may not be changed.
    fn change(&self, path: &FtpPath, change: &Change) -> io::Result<()>;
}

/// What a folder has in it: names with their facts, in any order, neither `.` nor `..`.
pub type Listing = Box<dyn Iterator<Item = io::Result<(Vec<u8>, Facts)>> + Send>;

/// An open file.
pub enum Source {
    /// A regular file of the system: it is sent without passing through the program.
    File(File),
    /// Anything else that can be read, and how many bytes it has if that is known.
    Reader(Box<dyn ReadSeek>, Option<u64>),
}

/// What can be read from any place in it, on any thread.
pub trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

/// Where an upload goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// Aside, and in place of what was there when it is whole: STOR.
    Whole,
    /// Aside, and it must be a new file: STOU.
    New,
    /// In place, at the end of what is there: APPE.
    Append,
    /// In place, from this byte on, which must not be behind the end: REST and STOR.
    At(u64),
}

/// A file that is being written. Dropped before [`Upload::commit`], what was written aside is gone.
pub trait Upload: Send {
    /// The next bytes.
    ///
    /// # Errors
    /// The disk is full, or broken.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// The next `count` bytes, at most 256 KiB, are in a pipe: a file of the system takes them with [`Pipe::move_to`], without their passing
    /// through the program. Unless this is implemented, they are read and written.
    ///
    /// # Errors
    /// As [`Upload::write`].
    fn write_piped(&mut self, pipe: &Pipe, count: usize) -> io::Result<()> {
        let mut bytes = vec![0; count];
        (&mut &*pipe).read_exact(&mut bytes)?;
        self.write(&bytes)
    }

    /// That was all: it becomes what others see.
    ///
    /// # Errors
    /// The disk is full, or broken; the folder is gone. `AlreadyExists`: it was to be new.
    fn commit(self: Box<Self>) -> io::Result<()>;
}

/// A change of something that is no file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Make a folder.
    MakeFolder,
    /// Remove an empty folder.
    RemoveFolder,
    /// Remove a file, or a link but not what it leads to.
    RemoveFile,
    /// Give it this name, in place of a file that has it.
    Rename(FtpPath),
    /// Set when its content has changed last.
    Modified(SystemTime),
    /// Set its permissions, of which only the lowest nine bits are looked at.
    Mode(u32),
}
