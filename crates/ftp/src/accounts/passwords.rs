//! A file of users with Argon2id hashes, one a line: `NAME:HASH:PERMISSIONS:LIMITS:HOME`. It is read at each login, so that a change
//! holds at once, and replaced as a whole, so that nobody reads half of it. `ropewalk passwd` writes it.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use rustix::fs::{FlockOperation, flock};

use super::{Accounts, Attempt, Bandwidth, Permissions, User};
use crate::path::FtpPath;
use crate::storage::LocalStorage;

/// What is hashed for a name that nobody has, so that it takes as long as for one that somebody has.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$cm9wZXdhbGtyb3Bld2Fsaw$lmRqfOU0J2KEXhXZtQFNQkuQjFO8b2zIrV0YhbO9mQs";
/// Longer passwords are wrong: hashing them would be work for nothing.
const PASSWORD_BYTES_MAX: usize = 1024;
const NAME_BYTES_MAX: usize = 128;

/// What is wrong with a password file, or with what is to be put into it: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordError(String);

impl fmt::Display for PasswordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PasswordError {}

impl PasswordError {
    fn new(text: impl fmt::Display) -> PasswordError {
        PasswordError(text.to_string())
    }

    fn at(path: &Path, what: impl fmt::Display) -> PasswordError {
        PasswordError(format!("{}: {what}", path.display()))
    }
}

/// One user in the file.
///
/// ```
/// use ropewalk_ftp::{Permissions, Record};
/// let mut record = Record::new("ada", b"lovelace")?;
/// record.permissions = Permissions::ALL;
/// record.sessions_max = Some(2);
/// let line = record.to_string();
/// assert!(line.starts_with("ada:$argon2id$") && line.ends_with(":rwdlm:sessions=2:"));
/// assert!(Record::parse(&line)?.is_password(b"lovelace"));
/// assert!(!Record::parse(&line)?.is_password(b"byron"));
/// # Ok::<(), ropewalk_ftp::PasswordError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What USER says.
    pub name: String,
    hash: String,
    /// What the user may do; reading unless changed.
    pub permissions: Permissions,
    /// What each transfer may take.
    pub bandwidth: Bandwidth,
    /// Sessions at once.
    pub sessions_max: Option<usize>,
    /// The folder that is the user's root, from the served one on unless it begins with `/`; empty is the served one itself.
    pub home: PathBuf,
}

impl Record {
    /// A user with this password, which is hashed: some hundredth of a second, and 19 MiB for so long.
    ///
    /// # Errors
    /// The name or the password cannot be one, or the system gives no randomness.
    pub fn new(name: &str, password: &[u8]) -> Result<Record, PasswordError> {
        let bad = |character: char| character.is_control() || character == ':';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.starts_with('#') || name.contains(bad) {
            return Err(PasswordError::new(
                "a name has no colon and no control characters, and does not begin with #",
            ));
        }
        let line_end = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
        if password.is_empty() || password.len() > PASSWORD_BYTES_MAX || password.iter().any(line_end) {
            return Err(PasswordError::new(
                "a password has from 1 to 1024 bytes, and neither a line end nor a NUL among them",
            ));
        }
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(PasswordError::new)?;
        let salt = SaltString::encode_b64(&salt).map_err(PasswordError::new)?;
        let hash = Argon2::default().hash_password(password, &salt).map_err(PasswordError::new)?.to_string();
        Ok(Record {
            name: name.to_owned(),
            hash,
            permissions: Permissions::READ_ONLY,
            bandwidth: Bandwidth::default(),
            sessions_max: None,
            home: PathBuf::new(),
        })
    }

    /// Reads a line.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(line: &str) -> Result<Record, PasswordError> {
        let mut parts = line.splitn(5, ':');
        let mut next =
            || parts.next().ok_or_else(|| PasswordError::new("a line is NAME:HASH:PERMISSIONS:LIMITS:HOME"));
        let (name, hash, permissions, limits, home) = (next()?, next()?, next()?, next()?, next()?);
        PasswordHash::new(hash)
            .map_err(|error| PasswordError::new(format!("the hash of {name}: {error}")))?;
        let mut record = Record {
            name: name.to_owned(),
            hash: hash.to_owned(),
            permissions: permissions.parse().map_err(PasswordError::new)?,
            bandwidth: Bandwidth::default(),
            sessions_max: None,
            home: PathBuf::from(home),
        };
        for limit in limits.split(',').filter(|limit| !limit.is_empty()) {
            record.limit(limit)?;
        }
        Ok(record)
    }

    fn limit(&mut self, limit: &str) -> Result<(), PasswordError> {
        let wrong = || {
            PasswordError::new(format!(
                "{limit}: a limit is upload=, download= (bytes in a second) or sessions="
            ))
        };
        let (name, value) = limit.split_once('=').ok_or_else(wrong)?;
        let value: u64 = value.parse().map_err(|_| wrong())?;
        match name {
            "upload" => self.bandwidth.upload = Some(value),
            "download" => self.bandwidth.download = Some(value),
            "sessions" => self.sessions_max = Some(usize::try_from(value).map_err(|_| wrong())?),
            _ => return Err(wrong()),
        }
        Ok(())
    }

    /// Whether this is the password. It takes as long as hashing does.
    #[must_use]
    pub fn is_password(&self, password: &[u8]) -> bool {
        verify(&self.hash, password)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits = [
            ("upload", self.bandwidth.upload),
            ("download", self.bandwidth.download),
            ("sessions", self.sessions_max.map(|max| max as u64)),
        ];
        let limits = limits.iter().filter_map(|(name, value)| value.map(|value| format!("{name}={value}")));
        let limits = limits.collect::<Vec<_>>().join(",");
        write!(f, "{}:{}:{}:{limits}:{}", self.name, self.hash, self.permissions, self.home.display())
    }
}

fn verify(hash: &str, password: &[u8]) -> bool {
    password.len() <= PASSWORD_BYTES_MAX
        && PasswordHash::new(hash)
            .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
}

/// The users of a password file.
pub struct PasswordFile {
    path: PathBuf,
    root: PathBuf,
}

impl PasswordFile {
    /// The users of the file at `path`, whose homes are below `root`. The file is read now, to see whether it can be, and again at each
    /// login.
    ///
    /// ```no_run
    /// use ropewalk_ftp::{FtpOptions, FtpServer, PasswordFile};
    /// let users = PasswordFile::open("/etc/ropewalk/ftp.users", "/srv/ftp")?;
    /// let server = FtpServer::new(users, FtpOptions::default());
    /// # Ok::<(), ropewalk_ftp::PasswordError>(())
    /// ```
    ///
    /// # Errors
    /// One line: it cannot be read, or which line of it is wrong.
    pub fn open(path: impl Into<PathBuf>, root: impl Into<PathBuf>) -> Result<PasswordFile, PasswordError> {
        let file = PasswordFile { path: path.into(), root: root.into() };
        PasswordFile::records(&file.path)?;
        Ok(file)
    }

    /// What is in a file: its users, in their order.
    ///
    /// # Errors
    /// One line: it cannot be read, or which line of it is wrong.
    pub fn records(path: &Path) -> Result<Vec<Record>, PasswordError> {
        let text = fs::read_to_string(path).map_err(|error| PasswordError::at(path, error))?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        lines
            .map(|(index, line)| {
                Record::parse(line)
                    .map_err(|error| PasswordError::at(path, format!("line {}: {error}", index + 1)))
            })
            .collect()
    }

    /// Adds a user, or replaces the one of this name. The file is made if it is not there, readable by its owner alone.
    ///
    /// # Errors
    /// One line: it cannot be read or written.
    pub fn put(path: &Path, record: &Record) -> Result<(), PasswordError> {
        if record.home.as_os_str().as_bytes().iter().any(u8::is_ascii_control)
            || record.home.to_str().is_none()
        {
            return Err(PasswordError::new("a home is a path in UTF-8 without control characters"));
        }
        let below = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        if !record.home.components().all(below) {
            return Err(PasswordError::new(
                "a home is a path from the served folder on: without a slash in front, and without ..",
            ));
        }
        change(path, |lines| {
            let line = record.to_string();
            match lines.iter_mut().find(|line| is_of(line, &record.name)) {
                Some(there) => *there = line,
                None => lines.push(line),
            }
            true
        })
        .map(drop)
    }

    /// Removes a user; answers whether there was one.
    ///
    /// # Errors
    /// One line: it cannot be read or written.
    pub fn remove(path: &Path, name: &str) -> Result<bool, PasswordError> {
        change(path, |lines| {
            let before = lines.len();
            lines.retain(|line| !is_of(line, name));
            lines.len() < before
        })
    }

    fn find(&self, name: &str) -> Option<Record> {
        match PasswordFile::records(&self.path) {
            Ok(records) => records.into_iter().find(|record| record.name == name),
            Err(error) => {
                tracing::error!("nobody of the password file can log in: {error}");
                None
            }
        }
    }

    /// The folder of a home, where it really is: below the root, whatever the file says and wherever links lead.
    fn home(&self, home: &Path) -> io::Result<PathBuf> {
        let home = fs::canonicalize(self.root.join(home))?;
        if home.starts_with(fs::canonicalize(&self.root)?) {
            Ok(home)
        } else {
            Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is outside the served folder"))
        }
    }

    fn user(&self, record: Record) -> Option<User> {
        match self.home(&record.home).and_then(LocalStorage::new) {
            Ok(storage) => Some(User {
                name: record.name,
                storage: std::sync::Arc::new(storage),
                home: FtpPath::root(),
                permissions: record.permissions,
                bandwidth: record.bandwidth,
                sessions_max: record.sessions_max,
            }),
            Err(error) => {
                tracing::error!(user = record.name, "a home that cannot be opened: {error}");
                None
            }
        }
    }
}

impl Accounts for PasswordFile {
    fn login(&self, attempt: &Attempt) -> Option<User> {
        let Some(record) = self.find(&attempt.user) else {
            let _ = verify(NOBODY, &attempt.password);
            return None;
        };
        if record.is_password(&attempt.password) { self.user(record) } else { None }
    }
}

fn is_of(line: &str, name: &str) -> bool {
    line.split_once(':').is_some_and(|(of, _)| of == name)
}

/// Changes the lines of a file, all at once, and alone.
fn change(path: &Path, change: impl FnOnce(&mut Vec<String>) -> bool) -> Result<bool, PasswordError> {
    let wrong = |error: io::Error| PasswordError::at(path, error);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let lock = fs::File::open(folder).map_err(wrong)?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|errno| wrong(errno.into()))?;
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(wrong(error)),
    };
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if !change(&mut lines) {
        return Ok(false);
    }
    let aside = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside).map_err(wrong)?;
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let replaced = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let replaced = replaced.and_then(|()| fs::rename(&aside, path));
    replaced.inspect_err(|_| drop(fs::remove_file(&aside))).map_err(wrong)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_changed_and_read() {
        let folder = std::env::temp_dir().join(format!("ropewalk-ftp-passwd-{}", std::process::id()));
        fs::create_dir_all(folder.join("home")).unwrap();
        let path = folder.join("users");
        let mut ada = Record::new("ada", b"one").unwrap();
        PasswordFile::put(&path, &ada).unwrap();
        fs::write(&path, format!("# people\n\n{}", fs::read_to_string(&path).unwrap())).unwrap();
        (ada.home, ada.permissions) = ("home".into(), Permissions::ALL);
        ada.bandwidth.upload = Some(1000);
        PasswordFile::put(&path, &ada).unwrap();
        PasswordFile::put(&path, &Record::new("grace", b"two").unwrap()).unwrap();
        assert!(fs::read_to_string(&path).unwrap().starts_with("# people\n\nada:"));
        assert_eq!(PasswordFile::records(&path).unwrap()[0], ada);
        let users = PasswordFile::open(&path, &folder).unwrap();
        let login = |user: &str, password: &[u8]| {
            users.login(&Attempt { user: user.into(), password: password.into(), peer: None, secure: true })
        };
        assert_eq!(login("ada", b"one").unwrap().bandwidth.upload, Some(1000));
        assert!(
            login("ada", b"two").is_none()
                && login("nobody", b"one").is_none()
                && login("grace", b"").is_none()
        );
        // A home is below the root, whatever the command is given, the file says, or a link means.
        std::os::unix::fs::symlink("/", folder.join("link")).unwrap();
        let mut away = Record::new("away", b"three").unwrap();
        for home in ["/", "../other", "home/../.."] {
            away.home = home.into();
            assert!(PasswordFile::put(&path, &away).is_err(), "{home}");
            fs::write(folder.join("others"), format!("{away}\n")).unwrap();
            let others = PasswordFile::open(folder.join("others"), &folder).unwrap();
            let attempt = Attempt { user: "away".into(), password: "three".into(), peer: None, secure: true };
            assert!(others.login(&attempt).is_none(), "{home}");
        }
        away.home = "link/etc".into();
        PasswordFile::put(&path, &away).unwrap();
        assert!(login("away", b"three").is_none());
        assert!(PasswordFile::remove(&path, "grace").unwrap());
        assert!(!PasswordFile::remove(&path, "grace").unwrap());
        assert!(login("grace", b"two").is_none(), "it holds at once");
        fs::write(&path, "ada:nonsense\n").unwrap();
        assert!(PasswordFile::open(&path, &folder).err().unwrap().to_string().contains("line 1"));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_would_break_the_file_is_refused() {
        for name in ["", "a:b", "a\nb", "#a"] {
            assert!(Record::new(name, b"x").is_err(), "{name:?}");
        }
        assert!(Record::new("a", b"").is_err() && Record::new("a", b"x\ny").is_err());
        assert!(Record::parse("a:b").is_err() && Record::parse("a:$argon2id$:r::").is_err());
        assert!(!verify(NOBODY, b"anything") && PasswordHash::new(NOBODY).is_ok());
    }
}
