//! The tables of the journal on disk, and the statements that jobs run on its threads.
//!
//! No loop here. Called by `sqlite` only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ropewalk_store::Schema;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::event::{Data, Event, EventId};
use crate::journal::Loaded;
use crate::retention::Retention;

/// `RWch`, and the tables. A channel that is removed gives its key up for ever; its events are orphans until a slice takes them.
pub(super) const SCHEMA: Schema = Schema {
    id: 0x5257_6368,
    migrations: &["
        CREATE TABLE channel (
            key INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, floor INTEGER NOT NULL) STRICT;
        CREATE TABLE event (
            channel INTEGER NOT NULL, id INTEGER NOT NULL, at INTEGER NOT NULL, kind INTEGER NOT NULL, data BLOB NOT NULL,
            PRIMARY KEY (channel, id)) STRICT, WITHOUT ROWID;
        CREATE TABLE client (
            channel INTEGER NOT NULL, name TEXT NOT NULL, id INTEGER NOT NULL,
            PRIMARY KEY (channel, name)) STRICT, WITHOUT ROWID;
        CREATE TABLE orphan (channel INTEGER PRIMARY KEY) STRICT;
        CREATE TABLE mark (one INTEGER PRIMARY KEY CHECK (one = 1), id INTEGER NOT NULL) STRICT;
        INSERT INTO mark VALUES (1, 0);
    "],
};

/// Rows that one job removes at most: some milliseconds of the writer's thread.
const SLICE: usize = 1_000;

const TEXT: i64 = 0;
const BINARY: i64 = 1;

/// What a slice did not come to.
pub(super) struct Left {
    pub(super) floors: Vec<(String, EventId)>,
    pub(super) orphans: bool,
}

fn number(id: EventId) -> i64 {
    i64::try_from(id.0).unwrap_or(i64::MAX)
}

fn id_of(row: &Row<'_>, column: usize) -> rusqlite::Result<EventId> {
    Ok(EventId(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0)))
}

pub(super) fn names(db: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    db.prepare("SELECT name FROM channel")?.query_map([], |row| row.get(0))?.collect()
}

/// The key and the floor of a channel.
fn find(db: &Connection, name: &str) -> rusqlite::Result<Option<(i64, EventId)>> {
    let mut statement = db.prepare_cached("SELECT key, floor FROM channel WHERE name = ?1")?;
    statement.query_row([name], |row| Ok((row.get(0)?, id_of(row, 1)?))).optional()
}

/// The key of a channel, which is made if it is not there.
fn key(db: &Connection, name: &str, floor: EventId) -> rusqlite::Result<i64> {
    if let Some((key, _)) = find(db, name)? {
        return Ok(key);
    }
    let mut insert = db.prepare_cached("INSERT INTO channel (name, floor) VALUES (?1, ?2)")?;
    insert.execute(params![name, number(floor.max(mark(db)?))])?;
    Ok(db.last_insert_rowid())
}

fn mark(db: &Connection) -> rusqlite::Result<EventId> {
    db.prepare_cached("SELECT id FROM mark")?.query_row([], |row| id_of(row, 0))
}

pub(super) fn load(db: &Connection, name: &str, retention: Retention) -> rusqlite::Result<Loaded> {
    let Some((key, mut floor)) = find(db, name)? else {
        return Ok(Loaded { floor: mark(db)?, ..Loaded::default() });
    };
    let mut newest = db.prepare_cached(
        "SELECT id, at, kind, data FROM event WHERE channel = ?1 AND id > ?2 ORDER BY id DESC",
    )?;
    let mut rows = newest.query(params![key, number(floor)])?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let event = event_of(row)?;
        bytes += event.data.len();
        if events.len() >= retention.events_max || bytes > retention.bytes_max {
            floor = event.id;
            break;
        }
        events.push(event);
    }
    events.reverse();
    let mut known = db.prepare_cached("SELECT name, id FROM client WHERE channel = ?1")?;
    let clients = known.query_map([key], |row| Ok((row.get(0)?, id_of(row, 1)?)))?;
    let clients = clients.collect::<Result<_, _>>()?;
    Ok(Loaded { floor, events, clients })
}

fn event_of(row: &Row<'_>) -> rusqlite::Result<Event> {
    let bytes = row.get_ref(3)?.as_blob()?;
    let data = match row.get::<_, i64>(2)? {
        TEXT => Data::Text(Arc::from(&*String::from_utf8_lossy(bytes))),
        _ => Data::Binary(bytes.into()),
    };
    let at_ms = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
    Ok(Event { id: id_of(row, 0)?, at_ms, data })
}

pub(super) fn append(db: &Connection, name: &str, events: &[Event]) -> rusqlite::Result<()> {
    let floor = EventId(events.first().map_or(0, |event| event.id.0.saturating_sub(1)));
    let key = key(db, name, floor)?;
    let mut insert =
        db.prepare_cached("INSERT INTO event (channel, id, at, kind, data) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for event in events {
        let kind = if event.data.text().is_some() { TEXT } else { BINARY };
        let at = i64::try_from(event.at_ms).unwrap_or(i64::MAX);
        insert.execute(params![key, number(event.id), at, kind, event.data.as_bytes()])?;
    }
    Ok(())
}

pub(super) fn acknowledge(
    db: &Connection,
    name: &str,
    client: &str,
    id: Option<EventId>,
) -> rusqlite::Result<()> {
    match id {
        Some(id) => {
            let key = key(db, name, id)?;
            let mut set = db.prepare_cached(
                "INSERT INTO client (channel, name, id) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET id = max(id, excluded.id)",
            )?;
            set.execute(params![key, client, number(id)])?;
        }
        None => {
            let Some((key, _)) = find(db, name)? else { return Ok(()) };
            let mut forget = db.prepare_cached("DELETE FROM client WHERE channel = ?1 AND name = ?2")?;
            forget.execute(params![key, client])?;
        }
    }
    Ok(())
}

pub(super) fn remove(db: &Connection, name: &str, given: EventId) -> rusqlite::Result<()> {
    let mut high = given;
    if let Some((key, floor)) = find(db, name)? {
        let mut newest = db.prepare_cached("SELECT ifnull(max(id), 0) FROM event WHERE channel = ?1")?;
        let last = newest.query_row([key], |row| id_of(row, 0))?;
        high = high.max(floor).max(last);
        db.execute("INSERT INTO orphan (channel) VALUES (?1)", [key])?;
        db.execute("DELETE FROM client WHERE channel = ?1", [key])?;
        db.execute("DELETE FROM channel WHERE key = ?1", [key])?;
    }
    db.execute("UPDATE mark SET id = max(id, ?1)", [number(high)])?;
    Ok(())
}

/// Removes up to a slice of events of one channel, and answers how many those were.
fn slice(db: &Connection, key: i64, up_to: EventId) -> rusqlite::Result<usize> {
    let mut delete = db.prepare_cached(
        "DELETE FROM event WHERE channel = ?1 AND id <= ifnull(
             (SELECT id FROM event WHERE channel = ?1 AND id <= ?2 ORDER BY id LIMIT 1 OFFSET ?3), ?2)",
    )?;
    delete.execute(params![key, number(up_to), SLICE as i64 - 1])
}

pub(super) fn sweep(db: &Connection, floors: BTreeMap<String, EventId>) -> rusqlite::Result<Left> {
    let mut left = Left { floors: Vec::new(), orphans: false };
    let mut room = SLICE;
    let mut raise = db.prepare_cached("UPDATE channel SET floor = max(floor, ?2) WHERE key = ?1")?;
    for (name, floor) in floors {
        if room == 0 {
            left.floors.push((name, floor));
            continue;
        }
        let Some((key, _)) = find(db, &name)? else { continue };
        // The floor first: it is true as soon as it is written, whatever is still there below it.
        raise.execute(params![key, number(floor)])?;
        let removed = slice(db, key, floor)?;
        room = room.saturating_sub(removed.max(1));
        if removed >= SLICE {
            left.floors.push((name, floor));
        }
    }
    let orphan = db.query_row("SELECT channel FROM orphan LIMIT 1", [], |row| row.get::<_, i64>(0));
    if let Some(key) = orphan.optional()? {
        left.orphans = true;
        if room > 0 && slice(db, key, EventId::MAX)? < SLICE {
            db.execute("DELETE FROM orphan WHERE channel = ?1", [key])?;
        }
    }
    Ok(left)
}
