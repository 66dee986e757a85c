//! The loop's side of a database: what waits to be written, and who is told. What happens on the threads is `writer`'s.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ropewalk_reactor::{
    Deferred, Failure, Firing, Outcome, Phase, PoolOptions, Reactor, SystemEvent, ThreadPool, deferred,
};
use rusqlite::{Connection, OpenFlags};

use crate::error::DatabaseError;
use crate::lock::{Lock, open};
use crate::writer::{Job, Written, run};

/// What tables a database has: who made it, and how it came to its present shape.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// SQLite's `application_id`: a number that no other use of a database has, so that one is not taken for another.
    pub id: i32,
    /// Statements that bring the tables from each version to the next; the first makes them. Never change one that was
    /// released: append.
    pub migrations: &'static [&'static str],
}

/// Limits of a [`Database`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseOptions {
    /// Writes that one commit may carry, 1 024: more would make the first of them wait for long.
    pub group_max: usize,
    /// Writes that may wait, 100 000: beyond, a write fails as [`DatabaseError::Full`].
    pub queue_max: usize,
}

impl Default for DatabaseOptions {
    fn default() -> DatabaseOptions {
        DatabaseOptions { group_max: 1_024, queue_max: 100_000 }
    }
}

/// Figures of a database since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatabaseStatistics {
    /// Writes that were committed.
    pub written: u64,
    /// Writes that failed, by their own error or with their group.
    pub failed: u64,
    /// Commits; several writes share one.
    pub commits: u64,
    /// Writes that wait or are being written.
    pub waiting: usize,
}

/// A database of SQLite's, at home on one loop. Clones are one.
///
/// A job is a function that gets the connection on a thread and gives a value; its deferred fires on the loop. A write's fires
/// when it was **committed** (write-ahead log, synced): several writes share a commit, each in a savepoint of its own, so that
/// one that fails takes back only itself. Writes happen in their order. A read sees what was committed before it began.
///
/// At shutdown what waits is still written, and the database is closed.
///
/// ```
/// use ropewalk_reactor::react;
/// use ropewalk_store::{Database, Schema, rusqlite};
/// const NOTES: Schema = Schema { id: 0x4e4f_5445, migrations: &["CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)"] };
///
/// react(|reactor| async move {
///     let notes = Database::in_memory(&reactor, NOTES)?;
///     let id = notes.write(|db| {
///         db.execute("INSERT INTO note (text) VALUES (?1)", ["kept"])?;
///         Ok::<_, rusqlite::Error>(db.last_insert_rowid())
///     });
///     let id = id.await?;
///     let text = notes.read(move |db| db.query_row("SELECT text FROM note WHERE id = ?1", [id], |row| row.get::<_, String>(0)));
///     assert_eq!(text.await?, "kept");
///     Ok(())
/// })?;
/// # Ok::<(), ropewalk_reactor::Failure>(())
/// ```
#[derive(Clone)]
pub struct Database(Rc<Inner>);

struct Inner {
    reactor: Reactor,
    options: DatabaseOptions,
    writer: Desk,
    /// In memory there is one connection, and reads go behind the writes.
    reader: Option<Desk>,
    queue: RefCell<VecDeque<(Job, Waiter)>>,
    /// A group is on the thread, or about to be.
    busy: Cell<bool>,
    closed: Cell<bool>,
    /// Who waits until everything was written.
    idle: RefCell<Vec<Firing<()>>>,
    file: Option<File>,
    statistics: Cell<DatabaseStatistics>,
}

/// Where it is, if it is not in memory.
struct File {
    path: PathBuf,
    schema: Schema,
    /// `None` while it is closed.
    lock: RefCell<Option<Lock>>,
}

type Waiter = Box<dyn FnOnce(Outcome<Box<dyn Any + Send>>)>;

/// A connection and its thread.
struct Desk {
    pool: ThreadPool,
    connection: Shared,
}

/// `None` when it was closed.
type Shared = Arc<Mutex<Option<Connection>>>;

impl Desk {
    fn new(reactor: &Reactor, name: &'static str, connection: Connection) -> Desk {
        // One thread: a connection does one thing at a time.
        let options = PoolOptions { threads_min: 1, threads_max: 1, ..PoolOptions::default() };
        let pool = ThreadPool::new(reactor, name, options);
        Desk { pool, connection: Arc::new(Mutex::new(Some(connection))) }
    }
}

fn locked(shared: &Shared) -> MutexGuard<'_, Option<Connection>> {
    // Jobs run behind a boundary; what a panic left half done was rolled back.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Database {
    /// Opens the database at `path`, or makes it, and brings its tables up to date. The folder must be there; only its owner
    /// may read what is made. It blocks: call it before the loop runs, or on a thread's time.
    ///
    /// # Errors
    /// It is in use, of something else, newer than this program, or the system or SQLite says no.
    pub fn open(reactor: &Reactor, path: &Path, schema: Schema) -> Result<Database, DatabaseError> {
        Database::open_with(reactor, path, schema, DatabaseOptions::default())
    }

    /// The same with other limits.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub fn open_with(
        reactor: &Reactor,
        path: &Path,
        schema: Schema,
        options: DatabaseOptions,
    ) -> Result<Database, DatabaseError> {
        let Connected { lock, writer, reader } = connect(path, schema)?;
        let file = File { path: path.to_owned(), schema, lock: RefCell::new(Some(lock)) };
        Ok(Database::over(reactor, writer, Some(reader), Some(file), options))
    }

    /// A database that lives as long as this value: for tests, and where nothing is to be kept.
    ///
    /// # Errors
    /// A migration is wrong.
    pub fn in_memory(reactor: &Reactor, schema: Schema) -> Result<Database, DatabaseError> {
        let writer = Connection::open_in_memory()?;
        prepare(&writer, Path::new("memory"), schema)?;
        Ok(Database::over(reactor, writer, None, None, DatabaseOptions::default()))
    }

    fn over(
        reactor: &Reactor,
        writer: Connection,
        reader: Option<Connection>,
        file: Option<File>,
        options: DatabaseOptions,
    ) -> Database {
        let inner = Rc::new(Inner {
            reactor: reactor.clone(),
            options,
            writer: Desk::new(reactor, "database writer", writer),
            reader: reader.map(|reader| Desk::new(reactor, "database reader", reader)),
            queue: RefCell::default(),
            busy: Cell::new(false),
            closed: Cell::new(false),
            idle: RefCell::default(),
            file,
            statistics: Cell::default(),
        });
        let weak = Rc::downgrade(&inner);
        reactor.add_system_event_trigger(Phase::After, SystemEvent::Shutdown, move || async move {
            if let Some(inner) = weak.upgrade() {
                // It fails when the loop ends at once, and then nobody is left to be told.
                let _ = Database(inner).close().await;
            }
        });
        Database(inner)
    }

    /// Writes: runs `job` in a savepoint and fires with its value when it was committed. The job must not begin or end a
    /// transaction itself. Dropping the deferred does not take the write back.
    ///
    /// The deferred fails with the job's own error, with what its panic became, or as [`DatabaseError`]: then nothing of it was
    /// written.
    #[track_caller]
    pub fn write<T, E>(&self, job: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static) -> Deferred<T>
    where
        T: Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let inner = &self.0;
        if inner.closed.get() {
            return deferred::fail(&inner.reactor, DatabaseError::Closed);
        }
        if inner.queue.borrow().len() >= inner.options.queue_max {
            return deferred::fail(&inner.reactor, DatabaseError::Full);
        }
        let (firing, deferred) = Deferred::new(&inner.reactor);
        let job: Job = Box::new(move |connection| match job(connection) {
            Ok(value) => Ok(Box::new(value)),
            Err(error) => Err(error.into()),
        });
        let waiter: Waiter = Box::new(move |outcome| {
            let outcome =
                outcome.map(|value| *value.downcast::<T>().expect("the job gives what it was made for"));
            // Nobody has to wait for a write.
            let _ = firing.fire(outcome);
        });
        inner.queue.borrow_mut().push_back((job, waiter));
        inner.begin();
        deferred
    }

    /// Reads: runs `job` on the reader's thread and fires with its value. It sees everything that was committed before it
    /// began, so all writes whose deferreds have fired.
    ///
    /// The deferred fails with the job's own error, with what its panic became, or as [`DatabaseError::Closed`]. A job that
    /// writes is refused by SQLite.
    #[track_caller]
    pub fn read<T, E>(&self, job: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static) -> Deferred<T>
    where
        T: Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        let inner = &self.0;
        if inner.closed.get() {
            return deferred::fail(&inner.reactor, DatabaseError::Closed);
        }
        let desk = inner.reader.as_ref().unwrap_or(&inner.writer);
        let shared = Arc::clone(&desk.connection);
        desk.pool
            .defer(move || match &*locked(&shared) {
                Some(connection) => job(connection).map_err(Into::into),
                None => Err(DatabaseError::Closed.into()),
            })
            .add_callback(|read: Result<T, Box<dyn Error + Send + Sync>>| read.map_err(Failure::new))
    }

    /// Writes what waits, closes the connections and gives the lock back. From now on every job fails as
    /// [`DatabaseError::Closed`]. Closing twice is the same as once.
    pub fn close(&self) -> Deferred<()> {
        let inner = Rc::clone(&self.0);
        inner.closed.set(true);
        let (firing, idle) = Deferred::new(&inner.reactor);
        inner.idle.borrow_mut().push(firing);
        inner.tell_idle();
        idle.add_callback(move |()| {
            let (writer, reader) = (
                Arc::clone(&inner.writer.connection),
                inner.reader.as_ref().map(|reader| Arc::clone(&reader.connection)),
            );
            let closing = inner.writer.pool.defer(move || {
                if let Some(reader) = reader {
                    drop(locked(&reader).take());
                }
                // The last one that closes writes the log back into the file.
                drop(locked(&writer).take());
            });
            closing.add_callback(move |()| {
                if let Some(file) = &inner.file {
                    drop(file.lock.borrow_mut().take());
                }
            })
        })
    }

    /// Opens what was closed once more, as it is now: another process may have had it meanwhile. It blocks, as [`Database::open`] does.
    /// Nothing happens to one that is open.
    ///
    /// # Errors
    /// As [`Database::open`]; [`DatabaseError::Closed`] for one in memory, which went with its closing.
    pub fn reopen(&self) -> Result<(), DatabaseError> {
        let inner = &self.0;
        if !inner.closed.get() {
            return Ok(());
        }
        let Some((file, desk)) = inner.file.as_ref().zip(inner.reader.as_ref()) else {
            return Err(DatabaseError::Closed);
        };
        if file.lock.borrow().is_some() {
            // The closing has not come to its end.
            return Err(DatabaseError::InUse(file.path.clone()));
        }
        let Connected { lock, writer, reader } = connect(&file.path, file.schema)?;
        *locked(&inner.writer.connection) = Some(writer);
        *locked(&desk.connection) = Some(reader);
        *file.lock.borrow_mut() = Some(lock);
        inner.closed.set(false);
        Ok(())
    }

    /// Figures since it was opened.
    #[must_use]
    pub fn statistics(&self) -> DatabaseStatistics {
        self.0.statistics.get()
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("statistics", &self.statistics()).finish_non_exhaustive()
    }
}

impl Inner {
    /// Sends a group to the thread, unless one is there: what is written in one turn, and while a commit lasts, goes together.
    fn begin(self: &Rc<Self>) {
        self.count(|statistics| statistics.waiting += 1);
        if !self.busy.replace(true) {
            let inner = Rc::clone(self);
            self.reactor.call_soon(move || inner.send());
        }
    }

    fn send(self: &Rc<Self>) {
        let count = self.queue.borrow().len().min(self.options.group_max);
        if count == 0 {
            self.busy.set(false);
            return self.tell_idle();
        }
        let (jobs, waiters): (Vec<Job>, Vec<Waiter>) = self.queue.borrow_mut().drain(..count).unzip();
        let shared = Arc::clone(&self.writer.connection);
        let work = move || locked(&shared).as_ref().map(|connection| run(connection, jobs));
        let inner = Rc::clone(self);
        let waiters = Rc::new(RefCell::new(waiters));
        let told = Rc::clone(&waiters);
        let sent = self.writer.pool.call_with_callback(work, move |outcome| {
            inner.receive(outcome, told.take());
        });
        if sent.is_err() {
            // The loop has ended, or the system gives no thread.
            self.receive(Ok(None), waiters.take());
        }
    }

    fn receive(self: &Rc<Self>, outcome: Outcome<Option<Vec<Written>>>, waiters: Vec<Waiter>) {
        let count = waiters.len();
        let written: Vec<Outcome<Box<dyn Any + Send>>> = match outcome {
            Ok(Some(written)) => written.into_iter().map(|one| one.map_err(Failure::from)).collect(),
            Ok(None) => (0..count).map(|_| Err(Failure::new(DatabaseError::Closed))).collect(),
            Err(failure) => (0..count).map(|_| Err(failure.clone())).collect(),
        };
        let failed = written.iter().filter(|one| one.is_err()).count();
        self.count(|statistics| {
            statistics.waiting -= count;
            statistics.failed += failed as u64;
            statistics.written += (count - failed) as u64;
            statistics.commits += u64::from(failed < count);
        });
        for (waiter, one) in waiters.into_iter().zip(written) {
            waiter(one);
        }
        self.send();
    }

    fn tell_idle(&self) {
        if self.busy.get() {
            return;
        }
        for firing in self.idle.take() {
            // Closing goes on also for nobody.
            let _ = firing.callback(());
        }
    }

    fn count(&self, change: impl FnOnce(&mut DatabaseStatistics)) {
        let mut statistics = self.statistics.get();
        change(&mut statistics);
        self.statistics.set(statistics);
    }
}

/// How long SQLite waits for a lock of its own: our two connections meet when the log is written back.
const BUSY: Duration = Duration::from_secs(5);

/// What is had of a file.
struct Connected {
    lock: Lock,
    writer: Connection,
    reader: Connection,
}

fn connect(path: &Path, schema: Schema) -> Result<Connected, DatabaseError> {
    let lock = Lock::take(path)?;
    // Made here and not by SQLite, for the sake of its mode.
    open(path).map_err(|error| DatabaseError::Io(path.to_owned(), Arc::new(error)))?;
    let writer = Connection::open(path)?;
    prepare(&writer, path, schema)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let reader = Connection::open_with_flags(path, flags)?;
    reader.busy_timeout(BUSY)?;
    Ok(Connected { lock, writer, reader })
}

/// Sets the connection up, and brings the tables to the newest version, all or nothing.
fn prepare(connection: &Connection, path: &Path, schema: Schema) -> Result<(), DatabaseError> {
    connection.busy_timeout(BUSY)?;
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (id, found) = (number("application_id")?, number("user_version")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if id != i64::from(schema.id) && (id != 0 || tables != 0) {
        return Err(DatabaseError::Foreign(path.to_owned()));
    }
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    let known = schema.migrations.len();
    if found > known {
        return Err(DatabaseError::Newer { path: PathBuf::from(path), found, known });
    }
    // Not before the file is known to be ours: this writes into it.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = 67108864",
    )?;
    if found < known {
        let steps = schema.migrations[found..].join(";\n");
        let done = format!("PRAGMA application_id = {}; PRAGMA user_version = {known}", schema.id);
        if let Err(error) = connection.execute_batch(&format!("BEGIN IMMEDIATE;\n{steps};\n{done};\nCOMMIT"))
        {
            // The error that counts is the first.
            let _ = connection.execute_batch("ROLLBACK");
            return Err(error.into());
        }
    }
    Ok(())
}
