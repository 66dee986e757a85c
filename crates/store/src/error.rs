//! Why a database could not be opened, or a job not be done.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// What went wrong with a database, as opposed to a job's own error, which stays what it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DatabaseError {
    /// Another process has it open, or another part of this one.
    InUse(PathBuf),
    /// The file is a database, and was made by something else.
    Foreign(PathBuf),
    /// A newer program has written it: its tables are of version `found`, and this one knows `known`.
    Newer {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: usize,
        /// The newest version that this program knows.
        known: usize,
    },
    /// The folder or the file cannot be made or opened.
    Io(PathBuf, Arc<std::io::Error>),
    /// SQLite has refused: opening, a commit, or a statement by which the whole group of writes was lost.
    Sqlite(Arc<rusqlite::Error>),
    /// So many writes wait that another would only add to the heap.
    Full,
    /// It was closed, or the loop has ended.
    Closed,
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatabaseError::InUse(path) => {
                write!(
                    f,
                    "{}: in use by another process; stop that one, or name another place",
                    path.display()
                )
            }
            DatabaseError::Foreign(path) => {
                write!(f, "{}: a database of something else; name another place", path.display())
            }
            DatabaseError::Newer { path, found, known } => write!(
                f,
                "{}: written by a newer version (tables of version {found}, known up to {known}); it was not touched",
                path.display()
            ),
            DatabaseError::Io(path, error) => write!(f, "{}: {error}", path.display()),
            DatabaseError::Sqlite(error) => write!(f, "the database: {error}"),
            DatabaseError::Full => f.write_str("too many writes wait for the database"),
            DatabaseError::Closed => f.write_str("the database is closed"),
        }
    }
}

impl std::error::Error for DatabaseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DatabaseError::Io(_, error) => Some(error),
            DatabaseError::Sqlite(error) => Some(error),
            _ => None,
        }
    }
}

impl From<rusqlite::Error> for DatabaseError {
    fn from(error: rusqlite::Error) -> DatabaseError {
        DatabaseError::Sqlite(Arc::new(error))
    }
}
