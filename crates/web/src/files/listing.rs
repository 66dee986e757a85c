//! The list of a folder: what is in it that can be asked for, in order, as a page or as JSON. It is read and written in the
//! pool, so that a huge folder does not hold the loop. That a folder is to be listed is decided in `search`; the page's
//! markup is in `page`.

mod page;

use std::borrow::Cow;
use std::cmp::{Ordering, Reverse};

use rustix::fs::{AtFlags, Dir, FileType, Stat, statat};
use rustix::io::Errno;
use serde_json::json;

use super::path;
use super::root::Root;

/// Entries of one list. It is what a reader scrolls through, and a few megabytes of page.
pub(super) const ENTRIES_MAX: usize = 10_000;
/// Names that are looked at for it, so that a folder full of what is not listed ends as well.
const NAMES_MAX: usize = 100_000;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Folder,
    File,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
    /// Bytes; 0 for a folder.
    pub(super) size: u64,
    /// Seconds since the epoch.
    pub(super) modified_s: i64,
}

/// What is in a folder.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) entries: Vec<Entry>,
    /// There is no more than that.
    pub(super) complete: bool,
}

/// By what the entries are ordered. Folders come before files in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Key {
    #[default]
    Name,
    Size,
    Modified,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) key: Key,
    pub(super) descending: bool,
}

/// How a list is to be shown.
#[derive(Debug)]
pub(super) struct View {
    /// In front of all addresses.
    pub(super) prefix: Vec<u8>,
    /// The folder's name below the root.
    pub(super) name: Vec<u8>,
    pub(super) order: Order,
    pub(super) json: bool,
    /// What the page's style is known by, so that no other is used.
    pub(super) nonce: String,
}

impl Order {
    /// Reads `?sort=size&order=desc`; what is not understood is left out.
    pub(super) fn read(query: Option<&str>) -> Order {
        let mut order = Order::default();
        for pair in query.unwrap_or_default().split('&') {
            match pair.split_once('=') {
                Some(("sort", "size")) => order.key = Key::Size,
                Some(("sort", "modified")) => order.key = Key::Modified,
                Some(("order", "desc")) => order.descending = true,
                _ => {}
            }
        }
        order
    }

    fn sort(self, entries: &mut [Entry]) {
        entries.sort_by_cached_key(|entry| Natural::of(&entry.name));
        match (self.key, self.descending) {
            (Key::Name, false) => {}
            (Key::Name, true) => entries.reverse(),
            (Key::Size, false) => entries.sort_by_key(|entry| entry.size),
            (Key::Size, true) => entries.sort_by_key(|entry| Reverse(entry.size)),
            (Key::Modified, false) => entries.sort_by_key(|entry| entry.modified_s),
            (Key::Modified, true) => entries.sort_by_key(|entry| Reverse(entry.modified_s)),
        }
        entries.sort_by_key(|entry| entry.kind);
    }
}

impl View {
    pub(super) fn show(&self, mut listing: Listing) -> Vec<u8> {
        self.order.sort(&mut listing.entries);
        if self.json { self.json(&listing) } else { page::Page(self, &listing).to_string().into_bytes() }
    }

    /// The address of an entry. It begins with exactly one slash, so that no name passes for a host.
    fn address(&self, entry: &Entry) -> String {
        let name = match self.name.as_slice() {
            b"" => Cow::Borrowed(entry.name.as_slice()),
            folder => Cow::Owned([folder, b"/", &entry.name].concat()),
        };
        match entry.kind {
            Kind::File => path::address(&self.prefix, &name),
            Kind::Folder => path::location(&self.prefix, &name, None),
        }
    }

    fn json(&self, listing: &Listing) -> Vec<u8> {
        let entries = listing.entries.iter().map(|entry| {
            let name = String::from_utf8_lossy(&entry.name);
            let (href, modified) = (self.address(entry), page::stamp(entry.modified_s));
            match entry.kind {
                Kind::Folder => json!({"name": name, "type": "folder", "href": href, "modified": modified}),
                Kind::File => {
                    json!({"name": name, "type": "file", "href": href, "modified": modified, "size": entry.size})
                }
            }
        });
        let list = json!({
            "path": path::location(&self.prefix, &self.name, None),
            "entries": entries.collect::<Vec<_>>(),
            "complete": listing.complete,
        });
        let mut text = list.to_string().into_bytes();
        text.push(b'\n');
        text
    }
}

/// Reads a folder. Only files and folders are listed that can be asked for: no sockets and devices, no links that lead out of the
/// root or nowhere, and by default no names that begin with a dot. Nothing of them is opened.
pub(super) fn read(root: &Root, name: &[u8], hidden: bool) -> Result<Listing, Errno> {
    let folder = root.folder(name)?;
    let mut entries = Vec::new();
    for (number, found) in Dir::read_from(&folder)?.enumerate() {
        let found = found?;
        let own = found.file_name().to_bytes();
        if matches!(own, b"." | b"..") || !hidden && own.starts_with(b".") {
            if number < NAMES_MAX {
                continue;
            }
            return Ok(Listing { entries, complete: false });
        }
        if entries.len() == ENTRIES_MAX || number >= NAMES_MAX {
            return Ok(Listing { entries, complete: false });
        }
        let stat = match found.file_type() {
            FileType::RegularFile | FileType::Directory | FileType::Symlink | FileType::Unknown => {
                statat(&folder, found.file_name(), AtFlags::SYMLINK_NOFOLLOW)
            }
            _ => continue,
        };
        let behind = |stat: Stat| match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink if name.is_empty() => root.behind(own),
            FileType::Symlink => root.behind(&[name, b"/", own].concat()),
            _ => Ok(stat),
        };
        // What is gone meanwhile is not there.
        let Ok(stat) = stat.and_then(behind) else { continue };
        entries.extend(Entry::of(own, &stat));
    }
    Ok(Listing { entries, complete: true })
}

impl Entry {
    fn of(name: &[u8], stat: &Stat) -> Option<Entry> {
        let (kind, size) = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => (Kind::File, u64::try_from(stat.st_size).unwrap_or(0)),
            FileType::Directory => (Kind::Folder, 0),
            _ => return None,
        };
        Some(Entry { name: name.to_vec(), kind, size, modified_s: stat.st_mtime })
    }
}

/// A name as people order names: without capitals, numbers by their value. Equal names are ordered by their bytes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Natural(Vec<Chunk>, Vec<u8>);

#[derive(Debug, PartialEq, Eq)]
enum Chunk {
    Text(String),
    /// Digits without leading zeros.
    Number(String),
}

impl Natural {
    fn of(name: &[u8]) -> Natural {
        let text = String::from_utf8_lossy(name).to_lowercase();
        let mut chunks: Vec<Chunk> = Vec::new();
        for character in text.chars() {
            match (character.is_ascii_digit(), chunks.last_mut()) {
                (true, Some(Chunk::Number(digits))) if digits == "0" => {
                    digits.clear();
                    digits.push(character);
                }
                (true, Some(Chunk::Number(text))) | (false, Some(Chunk::Text(text))) => text.push(character),
                (true, _) => chunks.push(Chunk::Number(character.into())),
                (false, _) => chunks.push(Chunk::Text(character.into())),
            }
        }
        Natural(chunks, name.to_vec())
    }
}

impl PartialOrd for Chunk {
    fn partial_cmp(&self, other: &Chunk) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Chunk {
    fn cmp(&self, other: &Chunk) -> Ordering {
        match (self, other) {
            (Chunk::Text(left), Chunk::Text(right)) => left.cmp(right),
            // Without leading zeros the longer is the larger.
            (Chunk::Number(left), Chunk::Number(right)) => (left.len(), left).cmp(&(right.len(), right)),
            (Chunk::Number(_), Chunk::Text(_)) => Ordering::Less,
            (Chunk::Text(_), Chunk::Number(_)) => Ordering::Greater,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(order: Order, entries: &[(&str, Kind, u64, i64)]) -> Vec<String> {
        let entry = |&(name, kind, size, modified_s): &(&str, Kind, u64, i64)| Entry {
            name: name.into(),
            kind,
            size,
            modified_s,
        };
        let mut entries: Vec<Entry> = entries.iter().map(entry).collect();
        order.sort(&mut entries);
        entries.into_iter().map(|entry| String::from_utf8(entry.name).unwrap()).collect()
    }

    #[test]
    fn names_in_the_order_of_people() {
        let names = ["b10", "B2", "a", "b2", "b002x", "b02", "10", "9", "00", "é", "A"];
        let entries: Vec<_> = names.iter().map(|&name| (name, Kind::File, 0, 0)).collect();
        let expected = ["00", "9", "10", "A", "a", "B2", "b02", "b2", "b002x", "b10", "é"];
        assert_eq!(ordered(Order::default(), &entries), expected);
    }

    #[test]
    fn folders_first_whatever_the_order() {
        let entries = [
            ("f", Kind::Folder, 0, 5),
            ("a", Kind::File, 9, 1),
            ("b", Kind::File, 3, 2),
            ("g", Kind::Folder, 0, 4),
        ];
        for (query, expected) in [
            ("", ["f", "g", "a", "b"]),
            ("order=desc", ["g", "f", "b", "a"]),
            ("sort=size", ["f", "g", "b", "a"]),
            ("sort=size&order=desc", ["f", "g", "a", "b"]),
            ("sort=modified", ["g", "f", "a", "b"]),
            ("x=y&sort=modified&order=desc", ["f", "g", "b", "a"]),
            ("sort=<script>&order=", ["f", "g", "a", "b"]),
        ] {
            assert_eq!(ordered(Order::read(Some(query)), &entries), expected, "{query}");
        }
    }
}
