//! The root: one descriptor of a folder, opened once, and everything that is opened below it. That nothing leaves it is the
//! kernel's word (openat2 with RESOLVE_BENEATH), not ours. It knows names and descriptors, no HTTP; it is shared with the
//! thread pool, and `Pace` says whether the caller may wait for a disk.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2};
use rustix::io::Errno;

/// Whether a call may wait for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// On the loop: only what the kernel has in memory, else `Errno::AGAIN`.
    Cached,
    /// In the pool.
    Whole,
}

/// What the kernel can do for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolver {
    /// openat2, also without waiting (Linux 5.12).
    Cached,
    /// openat2 (Linux 5.6).
    Beneath,
    /// Neither, or a sandbox forbids it: name by name, and no symbolic link is followed.
    Walk,
}

/// How much below the folder is served.
#[derive(Debug)]
enum Reach {
    /// Everything.
    Tree,
    /// This one name in it, and if it is a link, what it points to: whoever configures names it, no client does.
    File(Vec<u8>),
}

#[derive(Debug)]
pub(super) struct Root {
    folder: OwnedFd,
    reach: Reach,
    resolver: Resolver,
}

/// What is known of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) modified_s: i64,
    pub(super) modified_ns: u32,
}

impl Facts {
    pub(super) fn of(file: &OwnedFd) -> Result<Facts, Errno> {
        fstat(file).map(|stat| Facts::from(&stat))
    }

    /// Whether it was changed at the same time as the other, or later. What some programs copy from one file to another has
    /// whole seconds, so a stamp without a fraction is compared without.
    pub(super) fn is_as_new_as(&self, other: &Facts) -> bool {
        let fraction = if self.modified_ns == 0 { 0 } else { other.modified_ns };
        (self.modified_s, self.modified_ns) >= (other.modified_s, fraction)
    }
}

impl From<&Stat> for Facts {
    fn from(stat: &Stat) -> Facts {
        Facts {
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified_s: stat.st_mtime,
            modified_ns: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        }
    }
}

/// What a name stands for.
#[derive(Debug)]
pub(super) enum Found {
    /// A regular file. `index` says which of the index names it was found by.
    File { file: OwnedFd, facts: Facts, index: Option<usize> },
    /// A folder that was asked for without a slash.
    Folder,
}

/// A FIFO or a device does not hold us up, and no terminal becomes ours; what it is shows afterwards.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// How often an opening is tried again that a rename made uncertain (openat2 answers EAGAIN then).
const ATTEMPTS: u32 = 16;

impl Root {
    pub(super) fn tree(path: &Path) -> io::Result<Root> {
        let explain = |errno| explain(path, "folder", errno);
        let folder = openat(CWD, path, FOLDER, Mode::empty()).map_err(explain)?;
        let resolver = probe(&folder).map_err(explain)?;
        Ok(Root { folder, reach: Reach::Tree, resolver })
    }

    pub(super) fn file(path: &Path) -> io::Result<Root> {
        use std::os::unix::ffi::OsStrExt;
        let explain = |errno| explain(path, "file", errno);
        let name = path.file_name().ok_or(Errno::ISDIR).map_err(explain)?.as_bytes().to_vec();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = openat(CWD, parent, FOLDER, Mode::empty()).map_err(explain)?;
        let resolver = probe(&folder).map_err(explain)?;
        let root = Root { folder, reach: Reach::File(name), resolver };
        match root.find(b"", false, &[], Pace::Whole) {
            Ok(Found::File { .. }) => Ok(root),
            Ok(Found::Folder) => Err(explain(Errno::ISDIR)),
            Err(errno) => Err(explain(errno)),
        }
    }

    /// The one name that is served, if it is only one.
    pub(super) fn only(&self) -> Option<&[u8]> {
        match &self.reach {
            Reach::Tree => None,
            Reach::File(name) => Some(name),
        }
    }

    /// Finds what a name stands for; `folder` when it was asked for with a slash behind it, which only a folder with an
    /// index answers. What is neither a file nor a folder is not there.
    pub(super) fn find(
        &self,
        name: &[u8],
        folder: bool,
        index: &[Vec<u8>],
        pace: Pace,
    ) -> Result<Found, Errno> {
        if let Reach::File(name) = &self.reach {
            return inspect(self.open(name, pace)?, None);
        }
        if !folder {
            return if name.is_empty() { Ok(Found::Folder) } else { inspect(self.open(name, pace)?, None) };
        }
        for (number, index) in index.iter().enumerate() {
            let found = match name {
                b"" => self.open(index, pace),
                name => self.open(&[name, b"/", index].concat(), pace),
            };
            match found.and_then(|file| inspect(file, Some(number))) {
                Ok(file @ Found::File { .. }) => return Ok(file),
                Ok(Found::Folder) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::NOENT)
    }

    /// The regular file of this name, which the server and not the client has chosen. Also beside a single file it stays in the
    /// folder.
    pub(super) fn regular(&self, name: &[u8], pace: Pace) -> Result<(OwnedFd, Facts), Errno> {
        match inspect(self.beneath(name, READ, pace)?, None)? {
            Found::File { file, facts, .. } => Ok((file, facts)),
            Found::Folder => Err(Errno::NOENT),
        }
    }

    /// A folder, to be read in the pool; the empty name is the root's.
    pub(super) fn folder(&self, name: &[u8]) -> Result<OwnedFd, Errno> {
        let name = if name.is_empty() { b"." } else { name };
        self.beneath(name, READ | OFlags::DIRECTORY, Pace::Whole)
    }

    /// What stands behind a link, without opening it; in the pool. A link that leads out of the root is not there, and where the
    /// kernel cannot tell, none is.
    pub(super) fn behind(&self, name: &[u8]) -> Result<Stat, Errno> {
        fstat(self.beneath(name, OFlags::PATH | OFlags::CLOEXEC, Pace::Whole)?)
    }

    fn open(&self, name: &[u8], pace: Pace) -> Result<OwnedFd, Errno> {
        match (&self.reach, self.resolver, pace) {
            (Reach::Tree, _, _) => self.beneath(name, READ, pace),
            // Whoever configures names the one file, and may name a link to anywhere.
            (Reach::File(_), Resolver::Walk, Pace::Whole) => openat(&self.folder, name, READ, Mode::empty()),
            (Reach::File(_), _, _) => self.resolve(name, READ, ResolveFlags::NO_MAGICLINKS, pace),
        }
    }

    /// Opens what is below the folder, and nothing else.
    fn beneath(&self, name: &[u8], flags: OFlags, pace: Pace) -> Result<OwnedFd, Errno> {
        match (self.resolver, pace) {
            (Resolver::Walk, Pace::Whole) => self.walk(name, flags),
            _ => self.resolve(name, flags, BENEATH, pace),
        }
    }

    fn resolve(&self, name: &[u8], flags: OFlags, how: ResolveFlags, pace: Pace) -> Result<OwnedFd, Errno> {
        let open = |how| openat2(&self.folder, name, flags, Mode::empty(), how);
        match (pace, self.resolver) {
            (Pace::Cached, Resolver::Cached) => open(how | ResolveFlags::CACHED),
            (Pace::Cached, _) => Err(Errno::AGAIN),
            (Pace::Whole, _) => {
                for _ in 1..ATTEMPTS {
                    match open(how) {
                        Err(Errno::AGAIN | Errno::INTR) => {}
                        outcome => return outcome,
                    }
                }
                open(how)
            }
        }
    }

    /// Without openat2: one name after the other, each without following a link, so that none can lead away.
    fn walk(&self, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut below: Option<OwnedFd> = None;
        let mut segments = name.split(|&byte| byte == b'/').peekable();
        while let Some(segment) = segments.next() {
            let folder: BorrowedFd<'_> = below.as_ref().unwrap_or(&self.folder).as_fd();
            match segment {
                // An index name may hold one; requests never do.
                b".." => return Err(Errno::XDEV),
                segment if segments.peek().is_none() => {
                    return openat(folder, segment, flags | OFlags::NOFOLLOW, Mode::empty());
                }
                segment => below = Some(openat(folder, segment, FOLDER | OFlags::NOFOLLOW, Mode::empty())?),
            }
        }
        Err(Errno::NOENT)
    }

    #[cfg(test)]
    pub(super) fn with_resolver(mut self, resolver: Resolver) -> Root {
        self.resolver = resolver;
        self
    }
}

fn inspect(file: OwnedFd, index: Option<usize>) -> Result<Found, Errno> {
    let stat = fstat(&file)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(Found::File { file, facts: Facts::from(&stat), index }),
        FileType::Directory => Ok(Found::Folder),
        _ => Err(Errno::NOENT),
    }
}

/// Asks once what the kernel can do, with the folder itself; that it may be searched shows at the same time.
fn probe(folder: &OwnedFd) -> Result<Resolver, Errno> {
    match openat2(folder, ".", FOLDER, Mode::empty(), BENEATH) {
        Ok(_) => {}
        // Sandboxes that know no openat2 answer EPERM for it.
        Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => {
            return openat(folder, ".", FOLDER, Mode::empty()).map(|_| Resolver::Walk);
        }
        Err(errno) => return Err(errno),
    }
    match openat2(folder, ".", FOLDER, Mode::empty(), BENEATH | ResolveFlags::CACHED) {
        Err(Errno::INVAL) => Ok(Resolver::Beneath),
        _ => Ok(Resolver::Cached),
    }
}

/// What went wrong and what to do, for whoever started the program.
fn explain(path: &Path, meant: &str, errno: Errno) -> io::Error {
    let why = match errno {
        Errno::NOENT => format!("there is no such {meant}: create it, or name another"),
        Errno::NOTDIR => {
            "it is not a folder: name the folder around it, or serve it as a single file".to_owned()
        }
        Errno::ISDIR => "it is a folder: name a file in it, or serve the whole folder".to_owned(),
        Errno::ACCESS | Errno::PERM => format!("this user may not read that {meant}: change its permissions"),
        errno => format!("{errno}"),
    };
    let kind = io::Error::from(errno).kind();
    io::Error::new(kind, format!("cannot serve {}: {why}", path.display()))
}

#[cfg(test)]
mod tests;
