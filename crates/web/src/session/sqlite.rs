//! Sessions in SQLite: they survive the program, and an answer that has changed one is sent when that is on the disk.

use std::path::Path;
use std::time::SystemTime;

use ropewalk_reactor::deferred::Flow;
use ropewalk_reactor::{Deferred, Reactor};
use ropewalk_store::rusqlite::{self, Connection, OptionalExtension, Row, params};
use ropewalk_store::{Database, DatabaseError, Schema};
use serde_json::{Map, Value};

use super::store::{Changes, Record, SessionKey, SessionStore, Swept, millis, moment};

/// Sessions that one sweep forgets at most, so that no write waits behind a million of them.
const SWEPT_MAX: i64 = 1_000;

/// Sessions in a database of SQLite's. A file is one worker's, the home's: a second one that opens it is refused, and
/// [`super::SharedSessions`] lends it to the others instead.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let reactor = ropewalk_reactor::Reactor::new()?;
/// use ropewalk_web::{Sessions, SqliteSessions};
/// let sessions = Sessions::new(SqliteSessions::open(&reactor, "sessions.db".as_ref())?);
/// # drop(sessions);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SqliteSessions(Database);

impl SqliteSessions {
    /// What makes the table, for a program that keeps its sessions [beside](SqliteSessions::beside) its own tables.
    pub const TABLE: &str = "CREATE TABLE session (
        key BLOB PRIMARY KEY NOT NULL,
        data TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        expires_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX session_expires ON session (expires_ms)";

    const SCHEMA: Schema = Schema { id: 0x5257_5353, migrations: &[SqliteSessions::TABLE] };

    /// A file of their own. It blocks: call it before the loop runs.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub fn open(reactor: &Reactor, path: &Path) -> Result<SqliteSessions, DatabaseError> {
        Database::open(reactor, path, SqliteSessions::SCHEMA).map(SqliteSessions)
    }

    /// In memory, for tests.
    ///
    /// # Errors
    /// As [`Database::in_memory`].
    pub fn in_memory(reactor: &Reactor) -> Result<SqliteSessions, DatabaseError> {
        Database::in_memory(reactor, SqliteSessions::SCHEMA).map(SqliteSessions)
    }

    /// In a database of the program's, one of whose migrations is [`SqliteSessions::TABLE`].
    #[must_use]
    pub fn beside(database: Database) -> SqliteSessions {
        SqliteSessions(database)
    }
}

const COLUMNS: &str = "data, created_ms, expires_ms";

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let data: String = row.get(0)?;
    // What is no object is no session of ours: it is an empty one.
    let data = serde_json::from_str(&data).unwrap_or_default();
    Ok(Record { data, created_at: moment(row.get(1)?), expires_at: moment(row.get(2)?) })
}

fn text(data: &Map<String, Value>) -> String {
    serde_json::to_string(data).unwrap_or_default()
}

fn update(
    db: &Connection,
    key: SessionKey,
    changes: Changes,
    expires_at: SystemTime,
) -> rusqlite::Result<bool> {
    if changes.0.is_empty() {
        let mut touch = db.prepare_cached("UPDATE session SET expires_ms = ?2 WHERE key = ?1")?;
        return touch.execute(params![key.as_bytes(), millis(expires_at)]).map(|count| count > 0);
    }
    let mut find = db.prepare_cached("SELECT data, created_ms, expires_ms FROM session WHERE key = ?1")?;
    let Some(mut found) = find.query_row([key.as_bytes()], record).optional()? else { return Ok(false) };
    changes.apply(&mut found.data);
    let mut write = db.prepare_cached("UPDATE session SET data = ?2, expires_ms = ?3 WHERE key = ?1")?;
    write.execute(params![key.as_bytes(), text(&found.data), millis(expires_at)]).map(|count| count > 0)
}

fn sweep(db: &Connection, now: SystemTime) -> rusqlite::Result<Swept> {
    let mut remove = db.prepare_cached(&format!(
        "DELETE FROM session WHERE key IN (SELECT key FROM session WHERE expires_ms <= ?1 ORDER BY expires_ms LIMIT {SWEPT_MAX})
         RETURNING {COLUMNS}"
    ))?;
    let expired = remove.query_map([millis(now)], record)?.collect::<Result<_, _>>()?;
    let next = db.query_row("SELECT min(expires_ms) FROM session", [], |row| row.get::<_, Option<i64>>(0))?;
    Ok(Swept { expired, next: next.map(moment) })
}

impl SessionStore for SqliteSessions {
    fn load(&self, _: &Reactor, key: SessionKey) -> Deferred<Option<Record>> {
        self.0.read(move |db| {
            let mut find = db.prepare_cached(&format!("SELECT {COLUMNS} FROM session WHERE key = ?1"))?;
            find.query_row([key.as_bytes()], record).optional()
        })
    }

    fn insert(&self, _: &Reactor, key: SessionKey, record: Record) -> Deferred<()> {
        self.0.write(move |db| {
            let mut insert = db.prepare_cached("INSERT OR REPLACE INTO session VALUES (?1, ?2, ?3, ?4)")?;
            let (created, expires) = (millis(record.created_at), millis(record.expires_at));
            insert.execute(params![key.as_bytes(), text(&record.data), created, expires]).map(drop)
        })
    }

    fn update(
        &self,
        _: &Reactor,
        key: SessionKey,
        changes: Changes,
        expires_at: SystemTime,
    ) -> Deferred<bool> {
        self.0.write(move |db| update(db, key, changes, expires_at))
    }

    fn remove(&self, _: &Reactor, key: SessionKey) -> Deferred<bool> {
        self.0.write(move |db| {
            let mut remove = db.prepare_cached("DELETE FROM session WHERE key = ?1")?;
            remove.execute([key.as_bytes()]).map(|count| count > 0)
        })
    }

    fn sweep(&self, _: &Reactor, now: SystemTime) -> Deferred<Swept> {
        // Most sweeps find nothing: a look costs no commit.
        let database = self.0.clone();
        let next = self.0.read(|db| {
            db.query_row("SELECT min(expires_ms) FROM session", [], |row| row.get::<_, Option<i64>>(0))
        });
        next.add_callback(move |next: Option<i64>| match next {
            Some(first) if first <= millis(now) => Flow::Wait(database.write(move |db| sweep(db, now))),
            next => Flow::Done(Ok(Swept { expired: Vec::new(), next: next.map(moment) })),
        })
    }
}
