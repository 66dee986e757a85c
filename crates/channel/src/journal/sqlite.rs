//! The journal on disk: one database for all channels.
//!
//! What is written happens on the database's writer thread, in groups that share a commit; loading happens on its reader's.
//! Removing what retention dropped is work for later: in slices, so that nobody waits long behind it. The statements are in
//! `rows`; when to write what is `channel`'s business.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::{Deferred, Outcome, Reactor};
use ropewalk_store::{Database, DatabaseError};
use rusqlite::Connection;

use super::{Journal, Loaded};
use crate::event::{Event, EventId};
use crate::retention::Retention;

mod rows;

use rows::Left;

/// What is to go waits so long for more.
const SWEEP_AFTER: Duration = Duration::from_millis(200);

/// A [`Journal`] in a database of SQLite's. Clones are one.
///
/// ```no_run
/// use ropewalk_channel::{Channels, ChannelsOptions, SqliteJournal};
/// use ropewalk_reactor::Reactor;
///
/// let reactor = Reactor::new()?;
/// let journal = SqliteJournal::open(&reactor, "push.db".as_ref())?;
/// let channels = Channels::durable(&reactor, journal, ChannelsOptions::default());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SqliteJournal(Rc<Inner>);

struct Inner {
    reactor: Reactor,
    database: Database,
    /// The channels that are committed, so that nobody has to wait for the answer.
    names: RefCell<BTreeSet<String>>,
    /// What is to go, up to which id.
    floors: RefCell<BTreeMap<String, EventId>>,
    sweeping: Cell<bool>,
}

impl SqliteJournal {
    /// Opens the database at `path`, or makes it. It blocks: call it before the loop runs.
    ///
    /// # Errors
    /// It is in use, of something else, newer than this program, or the system or SQLite says no.
    pub fn open(reactor: &Reactor, path: &Path) -> Result<SqliteJournal, DatabaseError> {
        let database = Database::open(reactor, path, rows::SCHEMA)?;
        let names = rows::names(&Connection::open(path)?)?;
        Ok(SqliteJournal::over(reactor, database, names))
    }

    /// One that lives as long as this value.
    ///
    /// # Errors
    /// SQLite says no.
    pub fn in_memory(reactor: &Reactor) -> Result<SqliteJournal, DatabaseError> {
        Ok(SqliteJournal::over(reactor, Database::in_memory(reactor, rows::SCHEMA)?, BTreeSet::new()))
    }

    fn over(reactor: &Reactor, database: Database, names: BTreeSet<String>) -> SqliteJournal {
        let inner = Rc::new(Inner {
            reactor: reactor.clone(),
            database,
            names: RefCell::new(names),
            floors: RefCell::default(),
            sweeping: Cell::new(false),
        });
        // What the process before had not come to.
        inner.sweep_later();
        SqliteJournal(inner)
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.0.database
    }
}

impl fmt::Debug for SqliteJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteJournal").field("database", &self.0.database).finish_non_exhaustive()
    }
}

impl Journal for SqliteJournal {
    fn load(&self, channel: &str, retention: Retention) -> Deferred<Loaded> {
        let channel = channel.to_owned();
        self.0.database.read(move |db| rows::load(db, &channel, retention))
    }

    fn append(&self, channel: &str, events: Vec<Event>) -> Deferred<Vec<EventId>> {
        let (inner, name) = (Rc::clone(&self.0), channel.to_owned());
        let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
        let job = {
            let name = name.clone();
            move |db: &Connection| rows::append(db, &name, &events)
        };
        self.0.database.write(job).add_callback(move |()| {
            inner.knows_from_now(&name);
            ids
        })
    }

    fn forget(&self, channel: &str, up_to: EventId) {
        self.0.is_to_go(channel, up_to);
        self.0.sweep_later();
    }

    fn acknowledge(&self, channel: &str, client: &str, id: Option<EventId>) -> Deferred<()> {
        let (inner, name, client) = (Rc::clone(&self.0), channel.to_owned(), client.to_owned());
        let job = {
            let name = name.clone();
            move |db: &Connection| rows::acknowledge(db, &name, &client, id)
        };
        self.0.database.write(job).add_callback(move |()| {
            if id.is_some() {
                inner.knows_from_now(&name);
            }
        })
    }

    fn remove(&self, channel: &str, mark: EventId) -> Deferred<()> {
        let (inner, name) = (Rc::clone(&self.0), channel.to_owned());
        inner.floors.borrow_mut().remove(channel);
        let job = {
            let name = name.clone();
            move |db: &Connection| rows::remove(db, &name, mark)
        };
        self.0.database.write(job).add_callback(move |()| {
            inner.names.borrow_mut().remove(&name);
            inner.sweep_later();
        })
    }

    fn names(&self) -> Vec<String> {
        self.0.names.borrow().iter().cloned().collect()
    }

    fn len(&self) -> usize {
        self.0.names.borrow().len()
    }

    fn knows(&self, channel: &str) -> bool {
        self.0.names.borrow().contains(channel)
    }
}

impl Inner {
    fn knows_from_now(&self, name: &str) {
        let mut names = self.names.borrow_mut();
        if !names.contains(name) {
            names.insert(name.to_owned());
        }
    }

    fn is_to_go(&self, channel: &str, up_to: EventId) {
        let mut floors = self.floors.borrow_mut();
        match floors.get_mut(channel) {
            Some(floor) => *floor = up_to.max(*floor),
            None => drop(floors.insert(channel.to_owned(), up_to)),
        }
    }

    fn sweep_later(self: &Rc<Self>) {
        if !self.sweeping.replace(true) {
            let weak = Rc::downgrade(self);
            self.reactor.call_later(SWEEP_AFTER, move || {
                if let Some(inner) = weak.upgrade() {
                    inner.sweep();
                }
            });
        }
    }

    /// A slice of what is to go, and more later while there is more.
    fn sweep(self: &Rc<Self>) {
        let floors = self.floors.take();
        let inner = Rc::clone(self);
        let swept = self.database.write(move |db| rows::sweep(db, floors));
        swept.add_both(move |left| inner.swept(left)).detach();
    }

    fn swept(self: &Rc<Self>, left: Outcome<Left>) {
        self.sweeping.set(false);
        let left = match left {
            Ok(left) => left,
            // What is left goes when the channel is loaded again.
            Err(failure) => return tracing::warn!("old events were not removed: {failure}"),
        };
        for (name, floor) in &left.floors {
            self.is_to_go(name, *floor);
        }
        if left.orphans || !self.floors.borrow().is_empty() {
            self.sweep_later();
        }
    }
}
