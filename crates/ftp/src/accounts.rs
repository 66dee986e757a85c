//! Who may come in, and what they may do: the `Accounts` hook, and two that are here: anonymous readers, and a file of passwords
//! (`passwords`). Asked in a thread pool of its own, so that hashing holds up neither the loop nor the files.

mod passwords;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::path::FtpPath;
use crate::storage::Storage;

pub use passwords::{PasswordError, PasswordFile, Record};

/// Decides who may come in. A program's own users are an implementation of this.
///
/// ```
/// use std::sync::Arc;
/// use ropewalk_ftp::{Accounts, Attempt, MemoryStorage, Permissions, User};
///
/// struct One(MemoryStorage);
/// impl Accounts for One {
///     fn login(&self, attempt: &Attempt) -> Option<User> {
///         let right = attempt.user == "ada" && attempt.password == b"lovelace";
///         right.then(|| User::new("ada", Arc::new(self.0.clone()), Permissions::ALL))
///     }
/// }
/// # let _ = One(MemoryStorage::new(1));
/// ```
pub trait Accounts: Send + Sync + 'static {
    /// The user, or `None` if it is the wrong password or nobody. It runs in a thread pool and may take its time; how long it
    /// takes should not tell which of the two it was.
    fn login(&self, attempt: &Attempt) -> Option<User>;

    /// Whether anybody may come in by this name, whatever the password is: logs tell of an anonymous user then. Called on the loop, and
    /// must not wait; false unless overridden.
    fn is_open(&self, user: &str) -> bool {
        let _ = user;
        false
    }
}

impl<A: Accounts + ?Sized> Accounts for Arc<A> {
    fn login(&self, attempt: &Attempt) -> Option<User> {
        A::login(self, attempt)
    }

    fn is_open(&self, user: &str) -> bool {
        A::is_open(self, user)
    }
}

/// The first that knows the user decides: another one is asked only if this one says no.
impl<A: Accounts, B: Accounts> Accounts for (A, B) {
    fn login(&self, attempt: &Attempt) -> Option<User> {
        self.0.login(attempt).or_else(|| self.1.login(attempt))
    }

    fn is_open(&self, user: &str) -> bool {
        self.0.is_open(user) || self.1.is_open(user)
    }
}

/// Somebody who wants to come in.
#[derive(Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What USER has said.
    pub user: String,
    /// What PASS has said.
    pub password: Vec<u8>,
    /// Where from.
    pub peer: Option<IpAddr>,
    /// Whether the control connection is encrypted.
    pub secure: bool,
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attempt { user, peer, secure, .. } = self;
        f.debug_struct("Attempt")
            .field("user", user)
            .field("peer", peer)
            .field("secure", secure)
            .finish_non_exhaustive()
    }
}

/// A user who has come in.
#[derive(Clone)]
pub struct User {
    /// The name in logs.
    pub name: String,
    /// The files that this user sees; the root of the storage is the user's root.
    pub storage: Arc<dyn Storage>,
    /// Where a session begins.
    pub home: FtpPath,
    /// What may be done.
    pub permissions: Permissions,
    /// What each transfer may take.
    pub bandwidth: Bandwidth,
    /// Sessions at once; `None` is as many as the server's limits allow.
    pub sessions_max: Option<usize>,
}

impl User {
    /// A user without limits who begins at the root.
    #[must_use]
    pub fn new(name: impl Into<String>, storage: Arc<dyn Storage>, permissions: Permissions) -> User {
        User {
            name: name.into(),
            storage,
            home: FtpPath::root(),
            permissions,
            bandwidth: Bandwidth::default(),
            sessions_max: None,
        }
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let User { name, home, permissions, .. } = self;
        f.debug_struct("User")
            .field("name", name)
            .field("home", home)
            .field("permissions", permissions)
            .finish_non_exhaustive()
    }
}

/// Bytes in a second for one transfer; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bandwidth {
    /// What users send.
    pub upload: Option<u64>,
    /// What users get.
    pub download: Option<u64>,
}

/// What a user may do: some of `rwdlm`.
///
/// ```
/// use ropewalk_ftp::Permissions;
/// let reader: Permissions = "rl".parse()?;
/// assert!(reader.list && !reader.write);
/// assert_eq!(reader.to_string(), "rl");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// `r`: get files (RETR).
    pub read: bool,
    /// `w`: put files, and change their times and modes (STOR, APPE, STOU, MFMT, SITE CHMOD).
    pub write: bool,
    /// `d`: remove files and folders (DELE, RMD). Renaming needs this and `w`.
    pub delete: bool,
    /// `l`: see what is there (LIST, NLST, MLSD, MLST, STAT, SIZE, MDTM).
    pub list: bool,
    /// `m`: make folders (MKD).
    pub make: bool,
}

impl Permissions {
    /// To read and to list.
    pub const READ_ONLY: Permissions =
        Permissions { read: true, write: false, delete: false, list: true, make: false };
    /// All of them.
    pub const ALL: Permissions =
        Permissions { read: true, write: true, delete: true, list: true, make: true };

    fn letters(self) -> [(char, bool); 5] {
        [('r', self.read), ('w', self.write), ('d', self.delete), ('l', self.list), ('m', self.make)]
    }
}

impl std::str::FromStr for Permissions {
    type Err = String;

    fn from_str(text: &str) -> Result<Permissions, String> {
        let mut permissions = Permissions::default();
        for letter in text.chars() {
            let which = match letter {
                'r' => &mut permissions.read,
                'w' => &mut permissions.write,
                'd' => &mut permissions.delete,
                'l' => &mut permissions.list,
                'm' => &mut permissions.make,
                _ => {
                    return Err("write some of the letters rwdlm: read, write, delete, list, make".to_owned());
                }
            };
            *which = true;
        }
        Ok(permissions)
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.letters().iter().filter(|(_, has)| *has).try_for_each(|(letter, _)| write!(f, "{letter}"))
    }
}

/// Whoever calls himself `anonymous` or `ftp`, with any password; reading only.
///
/// ```
/// use std::sync::Arc;
/// use ropewalk_ftp::{Accounts, Anonymous, Attempt, MemoryStorage};
/// let accounts = Anonymous::new(Arc::new(MemoryStorage::new(1024)));
/// let guest = Attempt { user: "anonymous".into(), password: b"me@example.org".to_vec(), peer: None, secure: false };
/// assert!(accounts.login(&guest).is_some_and(|user| !user.permissions.write));
/// ```
pub struct Anonymous {
    user: User,
}

impl Anonymous {
    /// Readers of this storage.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>) -> Anonymous {
        Anonymous { user: User::new("anonymous", storage, Permissions::READ_ONLY) }
    }

    /// With other permissions or limits.
    #[must_use]
    pub fn with_user(user: User) -> Anonymous {
        Anonymous { user }
    }
}

impl Accounts for Anonymous {
    fn login(&self, attempt: &Attempt) -> Option<User> {
        self.is_open(&attempt.user).then(|| self.user.clone())
    }

    fn is_open(&self, user: &str) -> bool {
        user.eq_ignore_ascii_case("anonymous") || user.eq_ignore_ascii_case("ftp")
    }
}
