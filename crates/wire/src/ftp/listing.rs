//! What is said of a file or folder: a line of LIST as `ls -l` writes it, and the facts of MLST and MLSD (RFC 3659 7). Where the facts
//! come from, and what one may do, is the server's business.

use std::time::{Duration, SystemTime};

use super::time::{calendar, format_time};

/// Older than this, `ls` shows the year instead of the hour.
const RECENT: Duration = Duration::from_secs(180 * 86_400);
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// What kind of thing a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// Anything else: a device, a pipe, a socket.
    Other,
}

/// What is known of a file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What it is.
    pub kind: Kind,
    /// Bytes.
    pub size: u64,
    /// When its content has changed last.
    pub modified: SystemTime,
    /// Permissions, `0o644`.
    pub mode: u32,
    /// How many names it has.
    pub links: u64,
    /// Owner and group, as numbers.
    pub owners: (u32, u32),
    /// Two numbers that no other file of this server has at the same time; `None` if nobody knows.
    pub unique: Option<(u64, u64)>,
}

/// Which facts MLST and MLSD give: OPTS MLST chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactSet(u8);

/// In the order in which they are given.
const NAMES: [&str; 6] = ["type", "size", "modify", "perm", "unique", "UNIX.mode"];

impl FactSet {
    /// All of them.
    pub const ALL: FactSet = FactSet(0b11_1111);

    /// Those of a list like `type;size;`, in capitals or not. What nobody knows is passed over, as RFC 3659 7.9 wants it.
    #[must_use]
    pub fn parse(list: &[u8]) -> FactSet {
        let mut set = 0;
        for wanted in list.split(|byte| *byte == b';') {
            let known = NAMES.iter().position(|name| wanted.eq_ignore_ascii_case(name.as_bytes()));
            set |= known.map_or(0, |index| 1 << index);
        }
        FactSet(set)
    }

    /// What FEAT says: all names, a star behind those that are chosen.
    #[must_use]
    pub fn advertise(self) -> String {
        let star = |index: usize| if self.has(index) { "*" } else { "" };
        NAMES.iter().enumerate().map(|(index, name)| format!("{name}{};", star(index))).collect()
    }

    /// The chosen names, as OPTS MLST answers.
    #[must_use]
    pub fn chosen(self) -> String {
        let chosen = NAMES.iter().enumerate().filter(|(index, _)| self.has(*index));
        chosen.map(|(_, name)| format!("{name};")).collect()
    }

    fn has(self, index: usize) -> bool {
        self.0 & (1 << index) != 0
    }
}

/// Appends a line of LIST. Control characters in a name become `?`, so that one name is one line.
///
/// ```
/// use std::time::UNIX_EPOCH;
/// use ropewalk_wire::ftp::{Facts, Kind, list_line};
/// let facts = Facts { kind: Kind::File, size: 5, modified: UNIX_EPOCH, mode: 0o644, links: 1, owners: (0, 0), unique: None };
/// let mut out = Vec::new();
/// list_line(&mut out, &facts, b"hello.txt", UNIX_EPOCH);
/// assert_eq!(out, b"-rw-r--r--   1 0        0                   5 Jan 01 00:00 hello.txt\r\n");
/// ```
pub fn list_line(out: &mut Vec<u8>, facts: &Facts, name: &[u8], now: SystemTime) {
    out.push(match facts.kind {
        Kind::File => b'-',
        Kind::Folder => b'd',
        Kind::Other => b's',
    });
    for shift in [6, 3, 0] {
        let bits = facts.mode >> shift;
        out.push(if bits & 4 != 0 { b'r' } else { b'-' });
        out.push(if bits & 2 != 0 { b'w' } else { b'-' });
        out.push(if bits & 1 != 0 { b'x' } else { b'-' });
    }
    let (owner, group) = facts.owners;
    let [year, month, day, hour, minute, _] = calendar(facts.modified);
    let month = usize::try_from(month - 1).ok().and_then(|month| MONTHS.get(month)).unwrap_or(&"Jan");
    let recent = now.duration_since(facts.modified).map_or_else(
        // What is dated in the future by more than a clock's error shows its year, as old things do.
        |ahead| ahead.duration() < Duration::from_secs(3600),
        |age| age < RECENT,
    );
    let when = if recent { format!("{hour:02}:{minute:02}") } else { format!(" {year:04}") };
    let Facts { links, size, .. } = facts;
    let middle = format!(" {links:>3} {owner:<8} {group:<8} {size:>12} {month} {day:02} {when} ");
    out.extend_from_slice(middle.as_bytes());
    push_name(out, name);
}

/// Appends facts and a name as MLST and MLSD have them, without what MLST puts in front. `kind` is what `type=` says, since a folder may be
/// `cdir` or `pdir`; `perm` what the user may do.
///
/// ```
/// use std::time::UNIX_EPOCH;
/// use ropewalk_wire::ftp::{FactSet, Facts, Kind, machine_line};
/// let facts = Facts { kind: Kind::File, size: 5, modified: UNIX_EPOCH, mode: 0o644, links: 1, owners: (0, 0), unique: None };
/// let mut out = Vec::new();
/// machine_line(&mut out, &facts, "file", "r", FactSet::parse(b"Size;Type;color"), b"hello.txt");
/// assert_eq!(out, b"type=file;size=5; hello.txt\r\n");
/// ```
pub fn machine_line(out: &mut Vec<u8>, facts: &Facts, kind: &str, perm: &str, set: FactSet, name: &[u8]) {
    let mut fact = |index: usize, value: String| {
        if set.has(index) {
            out.extend_from_slice(format!("{}={value};", NAMES[index]).as_bytes());
        }
    };
    fact(0, kind.to_owned());
    if facts.kind == Kind::File {
        fact(1, facts.size.to_string());
    }
    fact(2, format_time(facts.modified));
    fact(3, perm.to_owned());
    if let Some((device, file)) = facts.unique {
        fact(4, format!("{device:x}g{file:x}"));
    }
    fact(5, format!("0{:o}", facts.mode & 0o7777));
    out.push(b' ');
    push_name(out, name);
}

fn push_name(out: &mut Vec<u8>, name: &[u8]) {
    out.extend(name.iter().map(|byte| if byte.is_ascii_control() { b'?' } else { *byte }));
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::parse_time;

    fn facts() -> Facts {
        Facts {
            kind: Kind::Folder,
            size: 4096,
            modified: parse_time(b"20251224180000").unwrap(),
            mode: 0o1751,
            links: 12,
            owners: (1000, 100),
            unique: Some((0xfd00, 0x1a2b)),
        }
    }

    #[test]
    fn the_hour_of_what_is_recent_and_the_year_of_what_is_not() {
        let list = |now: &[u8]| {
            let mut out = Vec::new();
            list_line(&mut out, &facts(), b"a\r\nb", parse_time(now).unwrap());
            String::from_utf8(out).unwrap()
        };
        let line = list(b"20260101000000");
        assert_eq!(line, "drwxr-x--x  12 1000     100              4096 Dec 24 18:00 a??b\r\n");
        assert!(list(b"20270101000000").contains(" Dec 24  2025 "));
        assert!(list(b"20240101000000").contains(" Dec 24  2025 "));
    }

    #[test]
    fn facts_as_they_were_chosen() {
        let line = |set: FactSet| {
            let mut out = Vec::new();
            machine_line(&mut out, &facts(), "cdir", "el", set, "ä b".as_bytes());
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            line(FactSet::ALL),
            "type=cdir;modify=20251224180000;perm=el;unique=fd00g1a2b;UNIX.mode=01751; ä b\r\n"
        );
        assert_eq!(line(FactSet::parse(b"")), " ä b\r\n");
        let chosen = FactSet::parse(b"SIZE;unix.MODE;x");
        assert_eq!(chosen.chosen(), "size;UNIX.mode;");
        assert_eq!(chosen.advertise(), "type;size*;modify;perm;unique;UNIX.mode*;");
    }
}
