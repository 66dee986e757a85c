//! The writer's side, on its thread: one transaction around all jobs of a group, a savepoint around each. Not a queue: the loop's
//! side (`database`) keeps that, and calls this through the pool.

use std::any::Any;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ropewalk_reactor::Failure;
use rusqlite::Connection;

use crate::error::DatabaseError;

/// What a job gives: its value, or its own error.
pub(crate) type Produced = Result<Box<dyn Any + Send>, Box<dyn Error + Send + Sync>>;
/// A write, on its way to the thread.
pub(crate) type Job = Box<dyn FnOnce(&Connection) -> Produced + Send>;
/// What became of a write, on its way back.
pub(crate) type Written = Result<Box<dyn Any + Send>, Refused>;

/// Why a write is not there.
pub(crate) enum Refused {
    /// The job's own error.
    Job(Box<dyn Error + Send + Sync>),
    Panic(Box<dyn Any + Send>),
    /// The group was lost, and this write with it.
    Group(DatabaseError),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Failure {
        match refused {
            Refused::Job(error) => Failure::new(error),
            Refused::Panic(payload) => Failure::from_panic(payload),
            Refused::Group(error) => Failure::new(error),
        }
    }
}

/// Runs the jobs and commits. Every job has an outcome, in the order of the jobs; none is a success that was not committed.
pub(crate) fn run(connection: &Connection, jobs: Vec<Job>) -> Vec<Written> {
    let count = jobs.len();
    match attempt(connection, jobs) {
        Ok(written) => written,
        Err(error) => {
            // Where SQLite has not done it already; a second error says nothing new.
            let _ = connection.execute_batch("ROLLBACK");
            (0..count).map(|_| Err(Refused::Group(error.clone()))).collect()
        }
    }
}

fn attempt(connection: &Connection, jobs: Vec<Job>) -> Result<Vec<Written>, DatabaseError> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let written = jobs.into_iter().map(|job| within(connection, job)).collect::<Result<_, _>>()?;
    connection.execute_batch("COMMIT")?;
    Ok(written)
}

/// One job in its savepoint: one that fails takes back what it did, and nothing of the others.
fn within(connection: &Connection, job: Job) -> Result<Written, DatabaseError> {
    execute(connection, "SAVEPOINT job")?;
    let written = match catch_unwind(AssertUnwindSafe(|| job(connection))) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Refused::Job(error)),
        Err(payload) => Err(Refused::Panic(payload)),
    };
    if connection.is_autocommit() {
        // A full disk and the like end the whole transaction, and with it the writes before this one.
        return Err(match written {
            Err(Refused::Job(error)) => match error.downcast::<rusqlite::Error>() {
                Ok(error) => DatabaseError::from(*error),
                Err(_) => lost(),
            },
            _ => lost(),
        });
    }
    if written.is_err() {
        execute(connection, "ROLLBACK TO job")?;
    }
    execute(connection, "RELEASE job")?;
    Ok(written)
}

fn lost() -> DatabaseError {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT);
    rusqlite::Error::SqliteFailure(code, Some("a job has ended the transaction of its group".to_owned()))
        .into()
}

fn execute(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute([]).map(drop)
}
