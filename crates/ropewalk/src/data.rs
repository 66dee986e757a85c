//! The folder in which a service keeps a database, and what becomes of it where that cannot be written.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use ropewalk_app::{OpenDatabase, StartError};
use ropewalk_reactor::Reactor;
use ropewalk_store::{Database, DatabaseError, Schema};

/// Where things are kept, unless told otherwise.
const FOLDER: &str = "ropewalk-data";

/// Opens a database. A folder that was named has to do; the usual one does if it can, and if it cannot, there is none: what is kept is
/// kept in memory then.
pub(crate) fn open(
    reactor: &Reactor,
    folder: Option<&Path>,
    file: &str,
    schema: Schema,
    opened: &OpenDatabase,
) -> Result<Option<Database>, StartError> {
    let place = folder.unwrap_or(Path::new(FOLDER));
    match open_in(reactor, place, file, schema) {
        Ok(database) => {
            opened.set(&database);
            Ok(Some(database))
        }
        Err(error) if folder.is_none() && !place.join(file).exists() => {
            tracing::warn!("subscriptions are kept in memory only: {error}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn open_in(reactor: &Reactor, folder: &Path, file: &str, schema: Schema) -> Result<Database, StartError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| {
        StartError::new(format!("{}: {error}; name another folder with --store", folder.display()))
    })?;
    Database::open(reactor, &folder.join(file), schema).map_err(|error| match error {
        DatabaseError::Io(..) | DatabaseError::Sqlite(_) => {
            StartError::new(format!("{error}; name another folder with --store"))
        }
        other => StartError::new(other),
    })
}
