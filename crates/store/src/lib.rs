//! Tables on disk, used from the loop: SQLite on threads of its own, with commits in groups.
//!
//! ```text
//!   write(job) ─► queue ─► one transaction on the writer's thread: a savepoint per job ─► commit ─► every deferred fires
//!   read(job)  ─────────► the reader's thread, which sees what was committed
//! ```
//! Not a mapper and not a query language: a job is a function that gets the connection. What is answered was committed: a
//! process that is killed at any moment keeps every write whose deferred has fired. Called by the crates that keep something:
//! histories, sessions, subscriptions.
#![forbid(unsafe_code)]

mod database;
mod error;
mod lock;
mod writer;

pub use database::{Database, DatabaseOptions, DatabaseStatistics, Schema};
pub use error::DatabaseError;
/// The engine itself, for those who write jobs.
pub use rusqlite;
