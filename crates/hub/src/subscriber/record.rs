//! What a subscriber keeps of each subscription, and where: the trait, in memory and in SQLite.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use ropewalk_reactor::{Deferred, Reactor, deferred};
use ropewalk_store::{Database, Schema, rusqlite};
use serde::{Deserialize, Serialize};

/// How far a subscription is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// The hub was asked, and has not asked back yet.
    Pending,
    /// It delivers.
    Active,
    /// Another callback has taken its place, since then (milliseconds since the Unix epoch); what still comes is taken.
    Replaced(u64),
    /// The hub was told to end it, and has not asked back yet.
    Leaving,
    /// The hub says no, and why.
    Denied(String),
}

/// A subscription, as its subscriber keeps it. Times are milliseconds since the Unix epoch, and 0 is never.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Following {
    /// What its callback ends in: nobody can guess it.
    pub id: String,
    /// The page that was to be followed.
    pub page: String,
    /// What the page calls itself: the topic.
    pub topic: String,
    /// The hub.
    pub hub: String,
    /// What deliveries are signed with.
    pub(crate) secret: Option<Hidden>,
    /// How far it is.
    pub state: State,
    /// When the lease ends.
    pub lease_end_ms: u64,
    /// When the hub is asked again.
    pub renew_ms: u64,
    /// Of which this one takes the place, once it is confirmed.
    pub replaces: Option<String>,
    /// When something came last.
    pub delivered_ms: u64,
    /// A hash of what came last.
    pub hash: String,
    /// When the page was looked at last, and a hash of what stood there.
    pub polled: (u64, String),
    /// How often in a row something had changed of which the hub had said nothing.
    pub missed: u32,
}

/// A text that is not printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hidden(pub(crate) String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden")
    }
}

/// Where a subscriber keeps its subscriptions. What a deferred has fired for outlives the process, as far as anything does.
pub trait Ledger: 'static {
    /// All of them.
    fn load(&self) -> Deferred<Vec<Following>>;
    /// Keeps one, in the place of the one with its id.
    fn save(&self, following: Following) -> Deferred<()>;
    /// Forgets one.
    fn forget(&self, id: &str) -> Deferred<()>;
}

/// A ledger in memory. Clones are one.
#[derive(Clone)]
pub struct MemoryLedger {
    reactor: Reactor,
    rows: Rc<RefCell<BTreeMap<String, Following>>>,
}

impl MemoryLedger {
    /// An empty one.
    #[must_use]
    pub fn new(reactor: &Reactor) -> MemoryLedger {
        MemoryLedger { reactor: reactor.clone(), rows: Rc::default() }
    }
}

impl Ledger for MemoryLedger {
    fn load(&self) -> Deferred<Vec<Following>> {
        deferred::succeed(&self.reactor, self.rows.borrow().values().cloned().collect())
    }

    fn save(&self, following: Following) -> Deferred<()> {
        self.rows.borrow_mut().insert(following.id.clone(), following);
        deferred::succeed(&self.reactor, ())
    }

    fn forget(&self, id: &str) -> Deferred<()> {
        self.rows.borrow_mut().remove(id);
        deferred::succeed(&self.reactor, ())
    }
}

/// The tables of a subscriber: `Database::open(&reactor, path, LEDGER_SCHEMA)`.
pub const LEDGER_SCHEMA: Schema = Schema {
    id: 0x5257_5355,
    migrations: &[
        "CREATE TABLE following (id TEXT NOT NULL PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID",
    ],
};

/// A ledger in a database that was opened with [`LEDGER_SCHEMA`].
#[derive(Clone, Debug)]
pub struct SqliteLedger(Database);

impl SqliteLedger {
    /// The ledger in this database.
    #[must_use]
    pub fn new(database: Database) -> SqliteLedger {
        SqliteLedger(database)
    }
}

impl Ledger for SqliteLedger {
    fn load(&self) -> Deferred<Vec<Following>> {
        self.0.read(|db| {
            let mut statement = db.prepare("SELECT record FROM following")?;
            let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
            // What a newer program has written and this one does not understand stays where it is.
            let read = |text: String| serde_json::from_str::<Following>(&text).ok();
            let records: Vec<String> = rows.collect::<rusqlite::Result<_>>()?;
            Ok::<_, rusqlite::Error>(records.into_iter().filter_map(read).collect())
        })
    }

    fn save(&self, following: Following) -> Deferred<()> {
        self.0.write(move |db| -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            let record = serde_json::to_string(&following)?;
            db.execute("INSERT OR REPLACE INTO following VALUES (?1, ?2)", (&following.id, record))?;
            Ok(())
        })
    }

    fn forget(&self, id: &str) -> Deferred<()> {
        let id = id.to_owned();
        self.0.write(move |db| db.execute("DELETE FROM following WHERE id = ?1", [id]).map(drop))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use ropewalk_reactor::{Outcome, Simulation};

    use super::*;

    fn following(id: &str) -> Following {
        Following {
            id: id.to_owned(),
            page: "http://page/".to_owned(),
            topic: "http://topic/".to_owned(),
            hub: "http://hub/".to_owned(),
            secret: Some(Hidden("hush".to_owned())),
            state: State::Denied("why".to_owned()),
            lease_end_ms: 1,
            renew_ms: 2,
            replaces: Some("before".to_owned()),
            delivered_ms: 3,
            hash: "hash".to_owned(),
            polled: (4, "polled".to_owned()),
            missed: 5,
        }
    }

    /// What every ledger must do, beginning empty.
    async fn check_ledger(ledger: &dyn Ledger) -> Outcome<()> {
        assert_eq!(ledger.load().await?, []);
        ledger.save(following("a")).await?;
        ledger.save(following("b")).await?;
        ledger.save(Following { missed: 9, ..following("a") }).await?;
        assert_eq!(ledger.load().await?, [Following { missed: 9, ..following("a") }, following("b")]);
        ledger.forget("a").await?;
        ledger.forget("nobody").await?;
        assert_eq!(ledger.load().await?, [following("b")]);
        Ok(())
    }

    fn passes(make: impl FnOnce(&Reactor) -> Rc<dyn Ledger>) {
        let simulation = Simulation::new(1);
        let (ledger, passed) = (make(simulation.reactor()), Rc::new(Cell::new(false)));
        let tell = Rc::clone(&passed);
        simulation.reactor().spawn(async move { tell.set(check_ledger(&*ledger).await.is_ok()) });
        assert!(simulation.run_until(Duration::from_secs(60), || passed.get()));
    }

    #[test]
    fn a_memory_ledger_is_a_ledger() {
        passes(|reactor| Rc::new(MemoryLedger::new(reactor)));
    }

    #[test]
    fn a_database_is_a_ledger() {
        passes(|reactor| Rc::new(SqliteLedger::new(Database::in_memory(reactor, LEDGER_SCHEMA).unwrap())));
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert!(!format!("{:?}", following("a")).contains("hush"));
    }
}
