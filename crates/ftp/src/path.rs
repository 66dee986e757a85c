//! `FtpPath`: where something is in the tree that a user sees. Absolute and without `.` and `..`: what comes out of here cannot
//! climb. What links do is the storage's business.

use std::fmt;

/// A path of a system has at most so many bytes (Linux: PATH_MAX).
const BYTES_MAX: usize = 4096;
/// A name has at most so many (Linux: NAME_MAX).
const NAME_BYTES_MAX: usize = 255;

/// A place in the served tree: names of any bytes but `/` and NUL, from its root on.
///
/// ```
/// use ropewalk_ftp::FtpPath;
/// let folder = FtpPath::root().join(b"a/b")?;
/// assert_eq!(folder.join(b"../../../etc//./passwd")?.as_bytes(), b"/etc/passwd");
/// assert_eq!(folder.join(b"/c")?.name(), b"c");
/// # Ok::<(), ropewalk_ftp::PathError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FtpPath(Vec<u8>);

/// A path that nothing can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// It has a NUL, or a line end, which would end a reply.
    Byte,
    /// It, or a name in it, is longer than a system takes.
    Long,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PathError::Byte => "no path has such a character",
            PathError::Long => "the path is too long",
        })
    }
}

impl std::error::Error for PathError {}

impl FtpPath {
    /// `/`.
    #[must_use]
    pub fn root() -> FtpPath {
        FtpPath(b"/".to_vec())
    }

    /// What `argument` means in this folder: from the root if it begins with `/`, else from here. `..` of the root is the root.
    ///
    /// # Errors
    /// Nothing can be called so.
    pub fn join(&self, argument: &[u8]) -> Result<FtpPath, PathError> {
        if argument.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
            return Err(PathError::Byte);
        }
        let mut names: Vec<&[u8]> =
            if argument.first() == Some(&b'/') { Vec::new() } else { self.names().collect() };
        for name in argument.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." => drop(names.pop()),
                name if name.len() > NAME_BYTES_MAX => return Err(PathError::Long),
                name => names.push(name),
            }
        }
        let mut joined = Vec::with_capacity(self.0.len() + argument.len() + 1);
        for name in &names {
            joined.push(b'/');
            joined.extend_from_slice(name);
        }
        if joined.is_empty() {
            joined.push(b'/');
        }
        if joined.len() > BYTES_MAX { Err(PathError::Long) } else { Ok(FtpPath(joined)) }
    }

    /// The folder that it is in; the root is in itself.
    #[must_use]
    pub fn parent(&self) -> FtpPath {
        let slash = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        FtpPath(self.0[..slash.max(1)].to_vec())
    }

    /// Its last name; empty for the root.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        let slash = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        &self.0[slash + 1..]
    }

    /// Its names, from the root on.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
    }

    /// Whether it is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// Whether it is `folder`, or somewhere below it.
    #[must_use]
    pub fn is_within(&self, folder: &FtpPath) -> bool {
        let mut names = self.names();
        folder.names().all(|name| names.next() == Some(name))
    }

    /// It with its slashes, beginning with one.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// It without the slash it begins with; `.` for the root: as it is said to a system relative to an open folder.
    #[must_use]
    pub fn relative(&self) -> &[u8] {
        if self.is_root() { b"." } else { &self.0[1..] }
    }
}

impl fmt::Display for FtpPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_climbs_out() {
        let root = FtpPath::root();
        for climb in ["..", "../..", "/..", "a/../..", "./../", "//..//..//", "a/b/../../.."] {
            assert_eq!(root.join(climb.as_bytes()), Ok(FtpPath::root()), "{climb}");
        }
        let deep = root.join(b"/a/b/").unwrap();
        assert_eq!(deep.as_bytes(), b"/a/b");
        assert_eq!(deep.join(b"").unwrap(), deep);
        assert_eq!((deep.parent().as_bytes(), deep.parent().parent().as_bytes()), (&b"/a"[..], &b"/"[..]));
        assert_eq!((root.parent(), root.name(), root.relative()), (FtpPath::root(), &b""[..], &b"."[..]));
        assert_eq!((deep.name(), deep.relative()), (&b"b"[..], &b"a/b"[..]));
        assert!(deep.is_within(&root) && deep.is_within(&deep) && !root.is_within(&deep));
        assert!(!root.join(b"/ab").unwrap().is_within(&root.join(b"/a").unwrap()));
    }

    #[test]
    fn what_no_file_can_be_called_is_refused() {
        let root = FtpPath::root();
        assert_eq!(root.join(b"a\0b"), Err(PathError::Byte));
        assert_eq!(root.join(b"a\r\n200 b"), Err(PathError::Byte));
        assert_eq!(root.join(&[b'a'; 256]), Err(PathError::Long));
        assert_eq!(root.join(&b"aaaaaaaaa/".repeat(410)), Err(PathError::Long));
        assert!(root.join(&b"a/".repeat(2000)).is_ok());
    }
}
