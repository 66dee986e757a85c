//! The store on disk: SQLite through `ropewalk_store`. What was answered was committed. One process has it, by the lock beside the
//! file; so what waits in it is claimed by being there.

use std::sync::Arc;

use ropewalk_reactor::Deferred;
use ropewalk_store::rusqlite::types::{FromSql, FromSqlResult, ValueRef};
use ropewalk_store::rusqlite::{Connection, OptionalExtension, Row, params};
use ropewalk_store::{Database, Schema};

use super::record::{Content, Entry, Intent, Letter, Mode, Pair, Subscription, Topic};
use super::step::{self, Tables};
use super::{Change, List, Listing, Loaded, Page, Store, Task, Work};
use crate::request::host;
use crate::signature::{Algorithm, Secret};

/// The tables of a hub: `Database::open(&reactor, path, SCHEMA)`.
pub const SCHEMA: Schema = Schema { id: 0x5257_4855, migrations: &[include_str!("tables.sql")] };

type Sql<T> = ropewalk_store::rusqlite::Result<T>;

/// What a hub keeps, in a database that was opened with [`SCHEMA`].
#[derive(Clone, Debug)]
pub struct SqliteStore(Database);

impl SqliteStore {
    /// The store in this database.
    ///
    /// ```
    /// use ropewalk_hub::store::{SCHEMA, SqliteStore};
    /// use ropewalk_store::Database;
    /// let simulation = ropewalk_reactor::Simulation::new(1);
    /// let store = SqliteStore::new(Database::in_memory(simulation.reactor(), SCHEMA)?);
    /// # drop(store);
    /// # Ok::<(), ropewalk_store::DatabaseError>(())
    /// ```
    #[must_use]
    pub fn new(database: Database) -> SqliteStore {
        SqliteStore(database)
    }
}

impl Store for SqliteStore {
    fn commit(&self, changes: Vec<Change>) -> Deferred<Vec<Work>> {
        self.0.write(move |db| {
            let mut due = Vec::new();
            for change in changes {
                step::apply(&mut Open(db), change, &mut due)?;
            }
            Ok::<_, ropewalk_store::rusqlite::Error>(due)
        })
    }

    fn claim(&self) -> Deferred<Vec<Work>> {
        self.0.read(|db| {
            let mut due = Vec::new();
            for (statement, kind) in [
                ("SELECT topic, callback, due FROM intent", 0),
                ("SELECT url, '', due FROM topic WHERE due IS NOT NULL", 1),
                ("SELECT topic, callback, due FROM subscription WHERE due IS NOT NULL", 2),
            ] {
                let mut statement = db.prepare(statement)?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    let pair = pair(row)?;
                    let task = match kind {
                        0 => Task::Verify(pair),
                        1 => Task::Fetch(pair.topic),
                        _ => Task::Deliver(pair),
                    };
                    due.push(Work { task, due_ms: number(row, 2)? });
                }
            }
            Ok::<_, ropewalk_store::rusqlite::Error>(due)
        })
    }

    fn load(&self, task: Task) -> Deferred<Loaded> {
        self.0.read(move |db| {
            let tables = Open(db);
            let loaded = match &task {
                Task::Verify(pair) => tables.intent(pair)?.map(|found| Loaded::Intent(found.into())),
                Task::Fetch(url) => whole(db, url)?
                    .filter(|topic| topic.due_ms.is_some())
                    .map(|found| Loaded::Topic(found.into())),
                Task::Deliver(pair) => tables
                    .subscription(pair)?
                    .filter(|known| known.due_ms.is_some())
                    .map(|found| Loaded::Subscription(found.into())),
            };
            Ok::<_, ropewalk_store::rusqlite::Error>(loaded.unwrap_or(Loaded::Settled))
        })
    }

    fn topic(&self, url: Arc<str>) -> Deferred<Option<Topic>> {
        self.0.read(move |db| whole(db, &url))
    }

    fn list(&self, listing: Listing) -> Deferred<Page> {
        self.0.read(move |db| page(db, &listing))
    }
}

fn page(db: &Connection, listing: &Listing) -> Sql<Page> {
    let (topic, at) = match &listing.of {
        List::Of(topic) => (Some(&**topic), None),
        List::One(pair) => (Some(&*pair.topic), Some(&*pair.callback)),
        List::At(at) => (None, Some(&**at)),
        _ => (None, None),
    };
    let (table, key) = match listing.of {
        List::Topics => ("topic", "url"),
        List::Letters => ("letter", "topic || ' ' || callback"),
        List::Intents => ("intent", "topic || ' ' || callback"),
        _ => ("subscription", "topic || ' ' || callback"),
    };
    let filter = match listing.of {
        List::Of(_) => "topic = ?1",
        List::One(_) => "topic = ?1 AND callback = ?2",
        List::At(_) => "host = ?2",
        _ => "1",
    };
    let mut page = Page::default();
    let counted = format!("SELECT count(*) FROM {table} WHERE {filter} AND ?1 IS ?1 AND ?2 IS ?2");
    page.total = db.prepare_cached(&counted)?.query_row(params![topic, at], |row| number(row, 0))?;
    if let List::At(at) = &listing.of {
        let wished = "SELECT count(*) FROM intent WHERE host = ?1 AND NOT EXISTS (SELECT 1 FROM subscription \
                      WHERE subscription.topic = intent.topic AND subscription.callback = intent.callback)";
        page.total += db.prepare_cached(wished)?.query_row([at], |row| number(row, 0))?;
    }
    let limit = i64::try_from(listing.limit).unwrap_or(i64::MAX);
    let listed = format!(
        "SELECT * FROM {table} WHERE {filter} AND ?1 IS ?1 AND ?2 IS ?2 AND {key} > ?3 ORDER BY {key} LIMIT ?4"
    );
    let mut statement = db.prepare_cached(&listed)?;
    let mut rows = statement.query(params![topic, at, listing.after, limit])?;
    while let Some(row) = rows.next()? {
        match listing.of {
            List::Topics => {
                let mut topic = topic_of(row)?;
                topic.content = described(db, &topic.url)?;
                page.topics.push(topic);
            }
            List::Letters => page.letters.push(letter_of(row)?),
            List::Intents => page.intents.push(intent_of(row)?),
            _ => page.subscriptions.push(subscription_of(row)?),
        }
    }
    Ok(page)
}

/// The tables on a connection, within a job.
struct Open<'a>(&'a Connection);

impl Open<'_> {
    fn run(&self, statement: &str, params: impl ropewalk_store::rusqlite::Params) -> Sql<()> {
        self.0.prepare_cached(statement)?.execute(params).map(drop)
    }

    fn one<T>(&self, table: &str, pair: &Pair, read: impl FnOnce(&Row<'_>) -> Sql<T>) -> Sql<Option<T>> {
        let statement = format!("SELECT * FROM {table} WHERE topic = ?1 AND callback = ?2");
        let mut statement = self.0.prepare_cached(&statement)?;
        statement.query_row(params![&*pair.topic, &*pair.callback], read).optional()
    }

    fn drop_one(&self, table: &str, pair: &Pair) -> Sql<()> {
        let statement = format!("DELETE FROM {table} WHERE topic = ?1 AND callback = ?2");
        self.run(&statement, params![&*pair.topic, &*pair.callback])
    }
}

impl Tables for Open<'_> {
    type Error = ropewalk_store::rusqlite::Error;

    fn next_serial(&mut self) -> Sql<u64> {
        self.run("UPDATE counter SET serial = serial + 1", [])?;
        self.0.prepare_cached("SELECT serial FROM counter")?.query_row([], |row| number(row, 0))
    }

    fn intent(&self, pair: &Pair) -> Sql<Option<Intent>> {
        self.one("intent", pair, intent_of)
    }

    fn put_intent(&mut self, intent: &Intent) -> Sql<()> {
        self.run(
            "INSERT OR REPLACE INTO intent VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            params![
                &*intent.pair.topic,
                &*intent.pair.callback,
                host(&intent.pair.callback),
                large(intent.serial),
                intent.said,
                intent.mode.name(),
                intent.secret.as_ref().map(Secret::expose),
                intent.algorithm.name(),
                large(intent.lease_s),
                intent.token,
                intent.reason,
                intent.attempts,
                large(intent.since_ms),
                large(intent.due_ms),
            ],
        )
    }

    fn drop_intent(&mut self, pair: &Pair) -> Sql<()> {
        self.drop_one("intent", pair)
    }

    fn subscription(&self, pair: &Pair) -> Sql<Option<Subscription>> {
        self.one("subscription", pair, subscription_of)
    }

    fn put_subscription(&mut self, known: &Subscription) -> Sql<()> {
        self.run(
            "INSERT OR REPLACE INTO subscription VALUES \
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            params![
                &*known.pair.topic,
                &*known.pair.callback,
                host(&known.pair.callback),
                known.said,
                known.secret.as_ref().map(Secret::expose),
                known.algorithm.name(),
                large(known.since_ms),
                large(known.lease_end_ms),
                large(known.wanted),
                large(known.delivered),
                known.due_ms.map(large),
                known.attempts,
                large(known.waiting_since_ms),
                large(known.delivered_at_ms),
                known.error,
            ],
        )
    }

    fn drop_subscription(&mut self, pair: &Pair) -> Sql<()> {
        self.drop_one("subscription", pair)
    }

    fn topic(&self, url: &str) -> Sql<Option<Topic>> {
        let mut statement = self.0.prepare_cached("SELECT * FROM topic WHERE url = ?1")?;
        statement.query_row([url], topic_of).optional()
    }

    fn put_topic(&mut self, topic: &Topic) -> Sql<()> {
        self.run(
            "INSERT OR REPLACE INTO topic VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                &*topic.url,
                large(topic.version),
                large(topic.pings),
                topic.due_ms.map(large),
                topic.attempts,
                large(topic.fetched_at_ms),
                topic.error,
            ],
        )
    }

    fn put_content(&mut self, url: &str, content: &Content) -> Sql<()> {
        let entries = serde_json::to_string(&content.entries).unwrap_or_default();
        self.run(
            "INSERT OR REPLACE INTO content VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                url,
                content.media,
                content.etag,
                content.modified,
                content.hash,
                entries,
                &*content.body
            ],
        )
    }

    fn put_letter(&mut self, letter: &Letter) -> Sql<()> {
        self.run(
            "INSERT OR REPLACE INTO letter VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                &*letter.pair.topic,
                &*letter.pair.callback,
                large(letter.version),
                letter.attempts,
                letter.error,
                large(letter.at_ms),
            ],
        )
    }

    fn drop_letter(&mut self, pair: &Pair) -> Sql<()> {
        self.drop_one("letter", pair)
    }

    fn want(&mut self, topic: &str, version: u64, now_ms: u64) -> Sql<Vec<Pair>> {
        let (version, now) = (large(version), large(now_ms));
        let mut idle = self.0.prepare_cached(
            "SELECT topic, callback FROM subscription WHERE topic = ?1 AND lease_end > ?2 AND due IS NULL",
        )?;
        let began = idle.query_map(params![topic, now], pair)?.collect::<Sql<Vec<Pair>>>()?;
        self.run(
            "UPDATE subscription SET attempts = 0, due = ?2, waiting_since = ?2 \
             WHERE topic = ?1 AND lease_end > ?2 AND due IS NULL",
            params![topic, now],
        )?;
        let all = "UPDATE subscription SET wanted = ?2 WHERE topic = ?1 AND lease_end > ?3";
        self.run(all, params![topic, version, now])?;
        Ok(began)
    }

    fn sweep(&mut self, now_ms: u64, letters_before_ms: u64) -> Sql<()> {
        self.run("DELETE FROM subscription WHERE lease_end <= ?1", [large(now_ms)])?;
        self.run(
            "DELETE FROM letter WHERE at < ?1 OR NOT EXISTS (SELECT 1 FROM subscription \
             WHERE subscription.topic = letter.topic AND subscription.callback = letter.callback)",
            [large(letters_before_ms)],
        )?;
        self.run(
            "DELETE FROM topic WHERE NOT EXISTS (SELECT 1 FROM subscription WHERE subscription.topic = url) \
             AND NOT EXISTS (SELECT 1 FROM intent WHERE intent.topic = url)",
            [],
        )?;
        self.run(
            "DELETE FROM content WHERE NOT EXISTS (SELECT 1 FROM topic WHERE topic.url = content.url)",
            [],
        )
    }
}

fn whole(db: &Connection, url: &str) -> Sql<Option<Topic>> {
    let Some(mut topic) = Open(db).topic(url)? else { return Ok(None) };
    let mut statement = db.prepare_cached("SELECT * FROM content WHERE url = ?1")?;
    topic.content = statement.query_row([url], content_of).optional()?;
    Ok(Some(topic))
}

fn described(db: &Connection, url: &str) -> Sql<Option<Content>> {
    let text = "SELECT url, media, etag, modified, hash, '[]', x'' FROM content WHERE url = ?1";
    db.prepare_cached(text)?.query_row([url], content_of).optional()
}

fn content_of(row: &Row<'_>) -> Sql<Content> {
    let entries: String = row.get(5)?;
    // What is not understood is an old form: then every entry is taken for new once.
    let entries: Vec<Entry> = serde_json::from_str(&entries).unwrap_or_default();
    let body: Vec<u8> = row.get(6)?;
    Ok(Content {
        media: row.get(1)?,
        etag: row.get(2)?,
        modified: row.get(3)?,
        hash: row.get(4)?,
        entries,
        body: body.into(),
    })
}

fn pair(row: &Row<'_>) -> Sql<Pair> {
    Ok(Pair { topic: row.get(0)?, callback: row.get(1)? })
}

fn topic_of(row: &Row<'_>) -> Sql<Topic> {
    Ok(Topic {
        url: row.get(0)?,
        version: number(row, 1)?,
        pings: number(row, 2)?,
        due_ms: optional(row, 3)?,
        attempts: row.get(4)?,
        fetched_at_ms: number(row, 5)?,
        error: row.get(6)?,
        content: None,
    })
}

fn intent_of(row: &Row<'_>) -> Sql<Intent> {
    Ok(Intent {
        pair: pair(row)?,
        serial: number(row, 3)?,
        said: row.get(4)?,
        mode: row.get(5)?,
        secret: secret(row, 6)?,
        algorithm: row.get(7)?,
        lease_s: number(row, 8)?,
        token: row.get(9)?,
        reason: row.get(10)?,
        attempts: row.get(11)?,
        since_ms: number(row, 12)?,
        due_ms: number(row, 13)?,
    })
}

fn subscription_of(row: &Row<'_>) -> Sql<Subscription> {
    Ok(Subscription {
        pair: pair(row)?,
        said: row.get(3)?,
        secret: secret(row, 4)?,
        algorithm: row.get(5)?,
        since_ms: number(row, 6)?,
        lease_end_ms: number(row, 7)?,
        wanted: number(row, 8)?,
        delivered: number(row, 9)?,
        due_ms: optional(row, 10)?,
        attempts: row.get(11)?,
        waiting_since_ms: number(row, 12)?,
        delivered_at_ms: number(row, 13)?,
        error: row.get(14)?,
    })
}

fn letter_of(row: &Row<'_>) -> Sql<Letter> {
    Ok(Letter {
        pair: pair(row)?,
        version: number(row, 2)?,
        attempts: row.get(3)?,
        error: row.get(4)?,
        at_ms: number(row, 5)?,
    })
}

fn secret(row: &Row<'_>, at: usize) -> Sql<Option<Secret>> {
    Ok(row.get::<_, Option<Vec<u8>>>(at)?.and_then(Secret::new))
}

/// SQLite's integers have a sign; times and counts stay far from where it matters.
fn large(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number(row: &Row<'_>, at: usize) -> Sql<u64> {
    Ok(u64::try_from(row.get::<_, i64>(at)?).unwrap_or(0))
}

fn optional(row: &Row<'_>, at: usize) -> Sql<Option<u64>> {
    Ok(row.get::<_, Option<i64>>(at)?.map(|number| u64::try_from(number).unwrap_or(0)))
}

impl FromSql for Mode {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Mode> {
        Ok(match value.as_str()? {
            "subscribe" => Mode::Subscribe,
            "unsubscribe" => Mode::Unsubscribe,
            _ => Mode::Denied,
        })
    }
}

impl FromSql for Algorithm {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Algorithm> {
        Ok(value.as_str()?.parse().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use ropewalk_reactor::Simulation;

    use super::*;

    #[test]
    fn a_database_is_a_store() {
        let simulation = Simulation::new(1);
        let database = Database::in_memory(simulation.reactor(), SCHEMA).unwrap();
        super::super::conformance::check_in(&simulation, Rc::new(SqliteStore::new(database)));
    }
}
