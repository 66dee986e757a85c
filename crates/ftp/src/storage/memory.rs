//! A storage in memory: for tests, and for programs whose files are none. Everything is lost with it.

use std::collections::BTreeMap;
use std::io::{self, Cursor};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ropewalk_wire::ftp::{Facts, Kind};

use super::{Change, Listing, Source, Storage, Upload, Writing};
use crate::path::FtpPath;

/// Files in memory, with a bound on their bytes. A clone is the same one.
///
/// It knows no clock: what is written is dated by how many changes came before it, one second each from 2000-01-01 on.
///
/// ```
/// use ropewalk_ftp::{FtpPath, MemoryStorage, Storage};
/// let storage = MemoryStorage::new(1 << 20);
/// storage.put("/notes/today.txt", b"rain")?;
/// assert_eq!(storage.take("/notes/today.txt"), Some(b"rain".to_vec()));
/// assert!(storage.facts(&FtpPath::root().join(b"/notes")?).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct MemoryStorage(Arc<Mutex<Tree>>);

struct Tree {
    nodes: BTreeMap<FtpPath, Node>,
    bytes: u64,
    bytes_max: u64,
    changes: u64,
}

#[derive(Clone)]
struct Node {
    /// `None` is a folder.
    content: Option<Arc<Vec<u8>>>,
    modified: SystemTime,
    mode: u32,
    number: u64,
}

/// 2000-01-01.
const EPOCH: Duration = Duration::from_secs(946_684_800);

impl MemoryStorage {
    /// An empty one, for so many bytes of files in all.
    #[must_use]
    pub fn new(bytes_max: u64) -> MemoryStorage {
        let mut tree = Tree { nodes: BTreeMap::new(), bytes: 0, bytes_max, changes: 0 };
        let root = tree.node(None);
        tree.nodes.insert(FtpPath::root(), root);
        MemoryStorage(Arc::new(Mutex::new(tree)))
    }

    /// Puts a file there, with the folders that it needs.
    ///
    /// # Errors
    /// No path, no room, or a file where a folder is needed.
    pub fn put(&self, path: &str, content: &[u8]) -> io::Result<()> {
        let path = FtpPath::root().join(path.as_bytes()).map_err(io::Error::other)?;
        let mut tree = self.lock();
        let mut folder = FtpPath::root();
        for name in path.parent().names() {
            folder = folder.join(name).map_err(io::Error::other)?;
            if !tree.nodes.contains_key(&folder) {
                let node = tree.node(None);
                tree.nodes.insert(folder.clone(), node);
            }
        }
        tree.store(&path, content.to_vec())
    }

    /// The content of a file.
    #[must_use]
    pub fn take(&self, path: &str) -> Option<Vec<u8>> {
        let path = FtpPath::root().join(path.as_bytes()).ok()?;
        let tree = self.lock();
        tree.nodes.get(&path)?.content.as_ref().map(|content| content.to_vec())
    }

    /// All paths, folders too.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        self.lock().nodes.keys().map(FtpPath::to_string).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Tree> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tree {
    fn node(&mut self, content: Option<Vec<u8>>) -> Node {
        self.changes += 1;
        let mode = if content.is_some() { 0o644 } else { 0o755 };
        Node { content: content.map(Arc::new), modified: self.now(), mode, number: self.changes }
    }

    fn now(&self) -> SystemTime {
        UNIX_EPOCH + EPOCH + Duration::from_secs(self.changes)
    }

    fn find(&self, path: &FtpPath) -> io::Result<&Node> {
        self.nodes.get(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Whether something may be called so: its folder is one.
    fn is_placeable(&self, path: &FtpPath) -> io::Result<()> {
        if path.is_root() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        match self.find(&path.parent())?.content {
            None => Ok(()),
            Some(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn store(&mut self, path: &FtpPath, content: Vec<u8>) -> io::Result<()> {
        self.is_placeable(path)?;
        let before = match self.nodes.get(path) {
            Some(Node { content: None, .. }) => return Err(io::ErrorKind::IsADirectory.into()),
            Some(Node { content: Some(content), .. }) => content.len() as u64,
            None => 0,
        };
        let bytes = self.bytes - before + content.len() as u64;
        if bytes > self.bytes_max {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes = bytes;
        let node = self.node(Some(content));
        self.nodes.insert(path.clone(), node);
        Ok(())
    }

    fn below(&self, folder: &FtpPath) -> Vec<FtpPath> {
        self.nodes.keys().filter(|path| path.is_within(folder) && *path != folder).cloned().collect()
    }

    fn remove(&mut self, path: &FtpPath, folder: bool) -> io::Result<()> {
        let node = self.find(path)?;
        let bytes = node.content.as_ref().map_or(0, |content| content.len() as u64);
        match (node.content.is_none(), folder) {
            (true, false) => return Err(io::ErrorKind::IsADirectory.into()),
            (false, true) => return Err(io::ErrorKind::NotADirectory.into()),
            (true, true) if path.is_root() => return Err(io::ErrorKind::PermissionDenied.into()),
            (true, true) if !self.below(path).is_empty() => {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            _ => {}
        }
        self.bytes -= bytes;
        self.nodes.remove(path);
        Ok(())
    }

    fn rename(&mut self, from: &FtpPath, to: &FtpPath) -> io::Result<()> {
        let node = self.find(from)?.clone();
        self.is_placeable(to)?;
        if from.is_root() || to.is_within(from) && to != from {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if from == to {
            return Ok(());
        }
        if self.nodes.contains_key(to) {
            self.remove(to, node.content.is_none())?;
        }
        for path in self.below(from) {
            let rest = &path.as_bytes()[from.as_bytes().len() + 1..];
            let moved = to.join(rest).map_err(io::Error::other)?;
            let node = self.nodes.remove(&path).ok_or(io::ErrorKind::NotFound)?;
            self.nodes.insert(moved, node);
        }
        self.nodes.remove(from);
        self.nodes.insert(to.clone(), node);
        Ok(())
    }
}

impl Node {
    fn facts(&self) -> Facts {
        Facts {
            kind: if self.content.is_some() { Kind::File } else { Kind::Folder },
            size: self.content.as_ref().map_or(0, |content| content.len() as u64),
            modified: self.modified,
            mode: self.mode,
            links: 1,
            owners: (0, 0),
            unique: Some((0, self.number)),
        }
    }
}

impl Storage for MemoryStorage {
    fn facts(&self, path: &FtpPath) -> io::Result<Facts> {
        Ok(self.lock().find(path)?.facts())
    }

    fn list(&self, path: &FtpPath) -> io::Result<Listing> {
        let tree = self.lock();
        if tree.find(path)?.content.is_some() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let entries = tree.nodes.iter().filter(|(at, _)| !at.is_root() && at.parent() == *path);
        let entries: Vec<_> = entries.map(|(at, node)| Ok((at.name().to_vec(), node.facts()))).collect();
        Ok(Box::new(entries.into_iter()))
    }

    fn read(&self, path: &FtpPath) -> io::Result<Source> {
        /// What a cursor reads from.
        struct Shared(Arc<Vec<u8>>);
        impl AsRef<[u8]> for Shared {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        match &self.lock().find(path)?.content {
            Some(content) => {
                let size = content.len() as u64;
                Ok(Source::Reader(Box::new(Cursor::new(Shared(Arc::clone(content)))), Some(size)))
            }
            None => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn write(&self, path: &FtpPath, how: Writing) -> io::Result<Box<dyn Upload>> {
        let tree = self.lock();
        tree.is_placeable(path)?;
        let there = match tree.nodes.get(path) {
            Some(Node { content: None, .. }) => return Err(io::ErrorKind::IsADirectory.into()),
            Some(Node { content: Some(content), .. }) => Some(Arc::clone(content)),
            None => None,
        };
        let before = there.as_ref().map_or(0, |content| content.len() as u64);
        let (content, at) = match how {
            Writing::New if there.is_some() => return Err(io::ErrorKind::AlreadyExists.into()),
            Writing::Whole | Writing::New => (Vec::new(), 0),
            Writing::At(offset) if offset > before => return Err(io::ErrorKind::InvalidInput.into()),
            Writing::At(offset) => (there.map_or_else(Vec::new, |content| content.to_vec()), offset),
            Writing::Append => (there.map_or_else(Vec::new, |content| content.to_vec()), before),
        };
        let room = tree.bytes_max.saturating_sub(tree.bytes).saturating_add(before);
        let at = usize::try_from(at).map_err(io::Error::other)?;
        Ok(Box::new(Pending { storage: self.clone(), path: path.clone(), content, at, room, how }))
    }

    fn change(&self, path: &FtpPath, change: &Change) -> io::Result<()> {
        let mut tree = self.lock();
        match change {
            Change::MakeFolder => {
                if tree.nodes.contains_key(path) {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                tree.is_placeable(path)?;
                let node = tree.node(None);
                tree.nodes.insert(path.clone(), node);
            }
            Change::RemoveFolder => tree.remove(path, true)?,
            Change::RemoveFile => tree.remove(path, false)?,
            Change::Rename(to) => tree.rename(path, to)?,
            Change::Modified(time) => {
                tree.nodes.get_mut(path).ok_or(io::ErrorKind::NotFound)?.modified = *time;
            }
            Change::Mode(mode) => {
                tree.nodes.get_mut(path).ok_or(io::ErrorKind::NotFound)?.mode = mode & 0o777;
            }
        }
        Ok(())
    }
}

struct Pending {
    storage: MemoryStorage,
    path: FtpPath,
    content: Vec<u8>,
    at: usize,
    /// How large it may become.
    room: u64,
    how: Writing,
}

impl Upload for Pending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.at + bytes.len();
        if end as u64 > self.room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let overlap = self.content.len().min(end) - self.at.min(self.content.len());
        self.content[self.at..self.at + overlap].copy_from_slice(&bytes[..overlap]);
        self.content.extend_from_slice(&bytes[overlap..]);
        self.at = end;
        if matches!(self.how, Writing::Append | Writing::At(_)) {
            // In place: what came is there, whatever comes next.
            return self.storage.lock().store(&self.path, self.content.clone());
        }
        Ok(())
    }

    fn commit(self: Box<Self>) -> io::Result<()> {
        let mut tree = self.storage.lock();
        if self.how == Writing::New && tree.nodes.contains_key(&self.path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        tree.store(&self.path, self.content)
    }
}
