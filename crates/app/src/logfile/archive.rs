//! The files that were put aside: their names, which of them there are, and which are too many. `access.log` of 21 November becomes
//! `access.log.2026-11-21`, a second one of that day `access.log.2026-11-21-2`, and compressed `access.log.2026-11-21-2.gz`. Names never
//! change again but for `.gz`, so that who reads one goes on reading it. Nothing else in the folder is ever touched.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::civil::Date;

use super::rotation::Rotation;

/// What is being compressed has this behind its name.
const PART: &str = ".part";

/// The files put aside beside one log file.
pub(super) struct Archive {
    folder: PathBuf,
    base: OsString,
}

/// One of them. The order is that in which they were put aside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Aside {
    date: Date,
    number: u32,
    is_packed: bool,
}

impl Aside {
    /// Whether it is compressed.
    pub(super) fn is_packed(&self) -> bool {
        self.is_packed
    }

    /// The same, compressed or not.
    pub(super) fn packed(&self, is_packed: bool) -> Aside {
        Aside { is_packed, ..self.clone() }
    }
}

impl Archive {
    /// Those of a log file.
    pub(super) fn of(path: &Path) -> Archive {
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        Archive { folder, base: path.file_name().unwrap_or_default().to_owned() }
    }

    /// Where they are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of one of them.
    pub(super) fn path(&self, aside: &Aside) -> PathBuf {
        let number = if aside.number > 1 { format!("-{}", aside.number) } else { String::new() };
        let packed = if aside.is_packed { ".gz" } else { "" };
        let mut name = self.base.clone();
        name.push(format!(".{}{number}{packed}", aside.date));
        self.folder.join(name)
    }

    /// The path of what is being compressed.
    pub(super) fn part(&self, aside: &Aside) -> PathBuf {
        let mut path = self.path(&aside.packed(true)).into_os_string();
        path.push(PART);
        path.into()
    }

    /// What a file of this date would be called next.
    pub(super) fn next(&self, date: Date) -> io::Result<Aside> {
        let taken =
            self.list()?.into_iter().filter(|aside| aside.date == date).map(|aside| aside.number).max();
        Ok(Aside { date, number: taken.unwrap_or(0) + 1, is_packed: false })
    }

    /// All of them, the oldest first.
    pub(super) fn list(&self) -> io::Result<Vec<Aside>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            found.extend(self.read(&entry?.file_name()));
        }
        found.sort();
        Ok(found)
    }

    fn read(&self, name: &OsStr) -> Option<Aside> {
        let name = name.as_encoded_bytes().strip_prefix(self.base.as_encoded_bytes())?;
        let name = std::str::from_utf8(name).ok()?.strip_prefix('.')?;
        let (name, packed) = name.strip_suffix(".gz").map_or((name, false), |name| (name, true));
        let (date, rest) = name.split_at_checked("2026-11-21".len())?;
        let number = match rest.strip_prefix('-') {
            Some(digits) => digits.parse().ok().filter(|number| *number > 1)?,
            None if rest.is_empty() => 1,
            None => return None,
        };
        let aside = Aside { date: date.parse().ok()?, number, is_packed: packed };
        // Only a name that we would have given: `2026-11-21-+2` reads as a number, too.
        (self.path(&aside).file_name().map(OsStr::as_encoded_bytes).map(<[u8]>::len)
            == Some(self.base.len() + 1 + name.len() + if packed { 3 } else { 0 }))
        .then_some(aside)
    }

    /// Removes the oldest until the rest is within the bounds; `current` bytes belong to the file that is written.
    pub(super) fn sweep(&self, rotation: &Rotation, current: u64) -> io::Result<()> {
        if rotation.keep.is_none() && rotation.total_bytes.is_none() {
            return Ok(());
        }
        let mut found = self.list()?;
        // While one is being compressed there are two files of it: they are one.
        found.dedup_by(|later, earlier| (later.date, later.number) == (earlier.date, earlier.number));
        let mut bytes = current.max(rotation.at.size().unwrap_or(0));
        for (index, aside) in found.iter().rev().enumerate() {
            bytes = bytes.saturating_add(self.bytes(aside));
            let many = rotation.keep.is_some_and(|keep| index >= keep);
            if many || rotation.total_bytes.is_some_and(|total| bytes > total) {
                for packed in [false, true] {
                    remove(&self.path(&aside.packed(packed)))?;
                }
            }
        }
        Ok(())
    }

    fn bytes(&self, aside: &Aside) -> u64 {
        // One that has just gone away has none.
        let size = |packed| fs::metadata(self.path(&aside.packed(packed))).map_or(0, |found| found.len());
        size(false) + size(true)
    }
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written_and_no_other_is() {
        let archive = Archive::of(Path::new("/var/log/a.log"));
        for name in
            ["a.log.2026-11-21", "a.log.2026-11-21-2", "a.log.2026-11-21-10.gz", "a.log.2026-11-21.gz"]
        {
            let aside = archive.read(name.as_ref()).unwrap();
            assert_eq!(archive.path(&aside), Path::new("/var/log").join(name));
        }
        for other in [
            "a.log",
            "a.log.",
            "a.log.1",
            "a.log.gz",
            "a.log.2026-11-21-1",
            "a.log.2026-11-21-02",
            "a.log.2026-11-21-+2",
            "a.log.2026-13-01",
            "a.log.2026-11-21.gz.part",
            "a.log.2026-11-21.bak",
            "b.log.2026-11-21",
            "a.log.2026-11-21T10",
            "a.logx.2026-11-21",
            "a.log.2026-11-ü1",
        ] {
            assert_eq!(archive.read(other.as_ref()), None, "{other}");
        }
    }

    #[test]
    fn the_tenth_of_a_day_is_younger_than_its_second() {
        let archive = Archive::of(Path::new("a"));
        let [second, tenth] =
            ["a.2026-11-21-2", "a.2026-11-21-10.gz"].map(|name| archive.read(name.as_ref()).unwrap());
        assert!(second < tenth);
    }
}
