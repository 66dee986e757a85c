//! Versions: what a file's content is at the moment, as a number that stands in its address. The content is read in the pool;
//! what came of it is kept as long as the file does not change. It says nothing about who wrote a file: the number tells
//! versions apart, and is no signature.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::io::{Errno, pread};

use super::root::{Facts, Found, Pace, Root};

/// A file that is larger has no version: reading it would cost more than its visitors save.
pub(super) const BYTES_MAX: u64 = 64 << 20;
/// Names whose versions are kept. The one that was not asked for the longest makes room.
const NAMES_MAX: usize = 1024;
/// Files that are read at the same time because a request names a version; others are answered without. It keeps requests with
/// made-up versions from filling the pool.
const READING_MAX: usize = 4;
const PIECE_BYTES: usize = 64 * 1024;

/// The hash of a content: FNV-1a with 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version(u128);

impl Version {
    const START: Version = Version(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u128::from(byte)).wrapping_mul(Version::PRIME);
        }
    }

    /// The version that a query names: `v=` and 32 digits, as we write them.
    pub(super) fn asked(query: Option<&str>) -> Option<Version> {
        let text = query?.split('&').find_map(|pair| pair.strip_prefix("v="))?;
        let digits = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        digits.then(|| u128::from_str_radix(text, 16).ok().map(Version))?
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Reads a file for its version, in the pool. None when it is too large, or was changed while it was read.
pub(super) fn read(root: &Root, name: &[u8]) -> Result<(Facts, Option<Version>), Errno> {
    let Found::File { file, facts, .. } = root.find(name, false, &[], Pace::Whole)? else {
        return Err(Errno::ISDIR);
    };
    if facts.size > BYTES_MAX {
        return Ok((facts, None));
    }
    let (version, length) = read_whole(&file, facts.size)?;
    let unchanged = length == facts.size && Facts::of(&file)? == facts;
    Ok((facts, unchanged.then_some(version)))
}

/// The hash of at most so many bytes and one more, and how many there were.
fn read_whole(file: &OwnedFd, expected: u64) -> Result<(Version, u64), Errno> {
    let (mut version, mut length) = (Version::START, 0);
    let mut piece = vec![0; PIECE_BYTES];
    while length <= expected {
        match pread(file, &mut piece, length) {
            Ok(0) => break,
            Ok(count) => {
                version.add(&piece[..count]);
                length += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok((version, length))
}

/// What is known of files by their names.
#[derive(Debug, Default)]
pub(super) struct Versions {
    known: RefCell<BTreeMap<Vec<u8>, Known>>,
    /// Counts what was asked for, to see who was not for the longest.
    asked: Cell<u64>,
    reading: Rc<Cell<usize>>,
}

#[derive(Debug)]
struct Known {
    facts: Facts,
    version: Version,
    asked: u64,
}

/// One of those that read for a request.
pub(super) struct Reading(Rc<Cell<usize>>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Versions {
    /// The version of the file that looks so.
    pub(super) fn of(&self, name: &[u8], facts: &Facts) -> Option<Version> {
        let mut known = self.known.borrow_mut();
        let known = known.get_mut(name).filter(|known| known.facts == *facts)?;
        known.asked = self.tick();
        Some(known.version)
    }

    pub(super) fn keep(&self, name: &[u8], facts: Facts, version: Version) {
        let mut known = self.known.borrow_mut();
        if known.len() >= NAMES_MAX && !known.contains_key(name) {
            let oldest = known.iter().min_by_key(|(_, known)| known.asked).map(|(name, _)| name.clone());
            oldest.and_then(|name| known.remove(&name));
        }
        known.insert(name.to_vec(), Known { facts, version, asked: self.tick() });
    }

    /// Allows to read for a request, as long as it is held.
    pub(super) fn begin(&self) -> Option<Reading> {
        let reading = self.reading.get();
        (reading < READING_MAX).then(|| {
            self.reading.set(reading + 1);
            Reading(Rc::clone(&self.reading))
        })
    }

    fn tick(&self) -> u64 {
        self.asked.set(self.asked.get() + 1);
        self.asked.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        let mut version = Version::START;
        version.add(text.as_bytes());
        version
    }

    #[test]
    fn published_hashes() {
        for (text, hash) in [
            ("", "6c62272e07bb014262b821756295c58d"),
            ("a", "d228cb696f1a8caf78912b704e4a8964"),
            ("foobar", "343e1662793c64bf6f0d3597ba446f18"),
        ] {
            assert_eq!(version(text).to_string(), hash, "{text}");
            assert_eq!(Version::asked(Some(&format!("x=1&v={hash}"))), Some(version(text)));
        }
    }

    #[test]
    fn what_is_no_version() {
        let long = format!("v={}", "0".repeat(33));
        let capital = format!("v={}", "A".repeat(32));
        let sign = format!("v=+{}", "1".repeat(31));
        for query in [None, Some(""), Some("v="), Some("v=12"), Some(&*long), Some(&*capital), Some(&*sign)] {
            assert_eq!(Version::asked(query), None, "{query:?}");
        }
    }

    #[test]
    fn the_memory_is_bounded_and_keeps_what_is_used() {
        let facts = Facts { inode: 1, size: 1, modified_s: 1, modified_ns: 1 };
        let versions = Versions::default();
        versions.keep(b"first", facts, version("first"));
        for number in 0..NAMES_MAX * 2 {
            versions.keep(number.to_string().as_bytes(), facts, version("x"));
            assert_eq!(versions.of(b"first", &facts), Some(version("first")));
        }
        assert_eq!(versions.known.borrow().len(), NAMES_MAX);
        assert_eq!(versions.of(b"0", &facts), None);
        let changed = Facts { modified_ns: 2, ..facts };
        assert_eq!(versions.of(b"first", &changed), None);
    }

    #[test]
    fn few_read_at_the_same_time() {
        let versions = Versions::default();
        let reading: Vec<Reading> = (0..READING_MAX).filter_map(|_| versions.begin()).collect();
        assert!(reading.len() == READING_MAX && versions.begin().is_none());
        drop(reading);
        assert!(versions.begin().is_some());
    }
}
