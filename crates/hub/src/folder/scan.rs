//! One look at a folder: which pages are in it, and which have changed since they were last told of. Plain work on the disk without a
//! clock and without a loop; `folder` calls it in the thread pool.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};

use super::names::Names;

/// A page that is still being written after so many looks is told of all the same.
const LOOKS_MAX: u32 = 20;
/// Larger files are compared by size and time alone.
const HASHED_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Folders in folders, of which nobody has more.
const DEPTH_MAX: usize = 64;

/// What tells a file from another one of its name without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Print {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Print {
    fn of(metadata: &Metadata) -> Print {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Print { inode: metadata.ino(), bytes: metadata.size(), modified }
    }
}

/// A page as it was told of last.
#[derive(Clone, Debug)]
struct Told {
    print: Print,
    /// Of its content; empty for a large one, whose print says it all.
    hash: Vec<u8>,
}

/// What is remembered from look to look. Paths are those below the root, with `/` between their names.
#[derive(Debug, Default)]
pub(super) struct Memory {
    told: BTreeMap<Vec<u8>, Told>,
    /// What the last look has seen of pages that have changed, and how many looks ago that began.
    moving: BTreeMap<Vec<u8>, (Option<Print>, u32)>,
    begun: bool,
}

/// What a look has found.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Pages whose content has changed, and that came or went, each with its path below the root.
    pub(super) changed: Vec<Vec<u8>>,
    /// All folders, the root too.
    pub(super) folders: Vec<PathBuf>,
    /// Something is still being written: look again soon.
    pub(super) unsettled: bool,
}

impl Memory {
    /// How many pages there are.
    pub(super) fn pages(&self) -> usize {
        self.told.len()
    }

    /// Looks. The first time nothing has changed.
    ///
    /// # Errors
    /// The root or something below it cannot be read: nothing is concluded from that, least of all that pages are gone.
    pub(super) fn look(&mut self, root: &Path, names: &Names) -> io::Result<Look> {
        let (mut look, mut found) = (Look::default(), BTreeMap::new());
        if names.single {
            let metadata = fs::metadata(root);
            if let Some(metadata) = there(metadata)? {
                found.insert(Vec::new(), (Print::of(&metadata), root.to_owned()));
            }
            look.folders.extend(root.parent().map(Path::to_owned));
        } else {
            let mut walk = Walk { names, folders: &mut look.folders, found: &mut found, above: Vec::new() };
            walk.enter(root, &[])?;
        }
        let mut changed = self.compare(&found, &mut look)?;
        if self.begun {
            look.changed.append(&mut changed);
        }
        self.begun = true;
        Ok(look)
    }

    fn compare(
        &mut self,
        found: &BTreeMap<Vec<u8>, (Print, PathBuf)>,
        look: &mut Look,
    ) -> io::Result<Vec<Vec<u8>>> {
        let mut changed = Vec::new();
        for (path, (print, file)) in found {
            if self.told.get(path).is_some_and(|told| told.print == *print) {
                self.moving.remove(path);
            } else if self.begun && !self.is_settled(path, Some(*print)) {
                look.unsettled = true;
            } else if let Some(hash) = there(hash(file, print.bytes))? {
                // What a generator writes anew without a difference is no news.
                let told = self.told.get(path);
                if !told.is_some_and(|told| told.hash == hash && !hash.is_empty()) {
                    changed.push(path.clone());
                }
                self.told.insert(path.clone(), Told { print: *print, hash });
            } else {
                look.unsettled = true;
            }
        }
        let gone: Vec<Vec<u8>> =
            self.told.keys().filter(|path| !found.contains_key(*path)).cloned().collect();
        for path in gone {
            if self.is_settled(&path, None) {
                self.told.remove(&path);
                changed.push(path);
            } else {
                look.unsettled = true;
            }
        }
        // What came and went between two looks was never there.
        self.moving.retain(|path, (print, _)| found.contains_key(path) || print.is_none());
        Ok(changed)
    }

    /// Whether it is as it was at the last look: nobody writes it any more.
    fn is_settled(&mut self, path: &[u8], print: Option<Print>) -> bool {
        let (last, looks) = self.moving.remove(path).map_or((None, 0), |(last, looks)| (Some(last), looks));
        if last == Some(print) || looks >= LOOKS_MAX {
            return true;
        }
        self.moving.insert(path.to_owned(), (print, looks + 1));
        false
    }
}

/// What has gone meanwhile is no failure.
fn there<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    use io::ErrorKind::{NotADirectory, NotFound};
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

struct Walk<'a> {
    names: &'a Names,
    folders: &'a mut Vec<PathBuf>,
    found: &'a mut BTreeMap<Vec<u8>, (Print, PathBuf)>,
    /// The folders around this one, by device and inode: a link may lead back into them.
    above: Vec<(u64, u64)>,
}

impl Walk<'_> {
    fn enter(&mut self, folder: &Path, below: &[u8]) -> io::Result<()> {
        let entries: Vec<DirEntry> = match fs::read_dir(folder) {
            // A folder that may not be read is not served either.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !below.is_empty() => {
                return Ok(());
            }
            opened => opened?.collect::<io::Result<_>>()?,
        };
        let metadata = fs::metadata(folder)?;
        let place = (metadata.dev(), metadata.ino());
        if self.above.contains(&place) || self.above.len() >= DEPTH_MAX {
            return Ok(());
        }
        self.folders.push(folder.to_owned());
        self.above.push(place);
        for entry in entries {
            self.take(&entry, below)?;
        }
        self.above.pop();
        Ok(())
    }

    fn take(&mut self, entry: &DirEntry, below: &[u8]) -> io::Result<()> {
        let name = entry.file_name();
        let name = name.as_bytes();
        if name.starts_with(b".") && !self.names.hidden {
            return Ok(());
        }
        let path = if below.is_empty() { name.to_owned() } else { [below, name].join(&b'/') };
        let metadata = match fs::metadata(entry.path()) {
            // A link that leads in a circle is nothing that is served.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                return Ok(());
            }
            metadata => metadata,
        };
        match there(metadata)? {
            Some(metadata) if metadata.is_dir() => there(self.enter(&entry.path(), &path)).map(drop),
            Some(metadata) if metadata.is_file() && self.names.is_seen(name) => {
                self.found.insert(path, (Print::of(&metadata), entry.path()));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn hash(file: &Path, bytes: u64) -> io::Result<Vec<u8>> {
    if bytes > HASHED_BYTES_MAX {
        return Ok(Vec::new());
    }
    let (mut file, mut context) = (File::open(file)?.take(HASHED_BYTES_MAX), Context::new(&SHA256));
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(context.finish().as_ref().to_vec()),
            count => context.update(&piece[..count]),
        }
    }
}
