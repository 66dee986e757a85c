//! Events that are kept on disk: so many publishers, each of which publishes its next event when the one before is safe.
//!
//! Beside a channel with its journal stands what one would write oneself: a table in SQLite, as safe as the journal's (write-ahead
//! log, `synchronous=FULL`), and a transaction for each event. With several publishers the events queue for one thread that writes:
//! connections that contend for the lock of the file would sleep between their attempts, and be slower.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ropewalk_channel::{Channels, ChannelsOptions, SqliteJournal};
use ropewalk_reactor::Reactor;
use rusqlite::{Connection, params};

use super::{Meter, Part, Slice};
use crate::folder::Folder;
use crate::servers::push::{CHANNEL, MESSAGE};

/// How many publish at the same time.
pub(crate) const PUBLISHERS: [usize; 3] = [1, 16, 256];

/// Enough for the file to have grown.
const WARM_UP: Duration = Duration::from_millis(100);

/// Publications that `N` tasks await.
pub(super) fn ropewalk<const N: usize>(length: Duration) -> io::Result<Slice> {
    let folder = Folder::make(&format!("durable-ropewalk-{N}"))?;
    let reactor = Reactor::new()?;
    let journal = SqliteJournal::open(&reactor, &folder.path().join("push.db")).map_err(io::Error::other)?;
    let channels = Channels::durable(&reactor, journal, ChannelsOptions::default());
    let done = Rc::new(Cell::new(0_u64));
    for _ in 0..N {
        let (channels, done) = (channels.clone(), Rc::clone(&done));
        reactor.spawn(async move {
            let Ok(channel) = channels.channel(CHANNEL).await else { return };
            while channel.publish(MESSAGE).await.is_ok() {
                done.set(done.get() + 1);
            }
        });
    }
    let outcome: Outcome = Rc::default();
    let (result, handle) = (Rc::clone(&outcome), reactor.clone());
    reactor.call_later(WARM_UP, move || {
        let before = done.get();
        let meter = Meter::start();
        finish(&handle, length, move || {
            // A disk may take longer for the first one than the slice is long.
            if done.get() == before && meter.is_ok() {
                return false;
            }
            let part = meter.as_ref().map(|meter| meter.stop("", done.get() - before));
            *result.borrow_mut() = Some(part.unwrap_or_else(|error| Err(error.kind().into())));
            true
        });
    });
    reactor.run()?;
    let part = outcome.take().ok_or_else(|| io::Error::other("the loop ended before the slice did"))?;
    Ok(Slice { parts: vec![part?], bytes: None })
}

/// What became of the slice, when it is over.
type Outcome = Rc<RefCell<Option<io::Result<Part>>>>;

/// Stops the loop after so long, or as much later as it takes until `done` says so.
fn finish(reactor: &Reactor, after: Duration, done: impl Fn() -> bool + 'static) {
    const LOOK_AGAIN: Duration = Duration::from_millis(1);
    let handle = reactor.clone();
    reactor.call_later(after, move || {
        if done() {
            handle.stop();
        } else {
            finish(&handle, LOOK_AGAIN, done);
        }
    });
}

/// Events that are inserted one by one, `N` of them under way.
pub(super) fn sqlite<const N: usize>(length: Duration) -> io::Result<Slice> {
    let folder = Folder::make(&format!("durable-sqlite-{N}"))?;
    let mut log = Log::open(&folder.path().join("log.db")).map_err(io::Error::other)?;
    if N == 1 {
        return timed(length, || log.append(MESSAGE).map_err(io::Error::other));
    }
    let (orders, work) = mpsc::channel::<String>();
    let (answers, written) = mpsc::channel();
    let writer = thread::spawn(move || {
        // It ends when nobody orders, or listens, any more.
        while let Ok(data) = work.recv()
            && answers.send(log.append(&data)).is_ok()
        {}
    });
    let order = || orders.send(MESSAGE.to_owned()).map_err(io::Error::other);
    for _ in 0..N {
        order()?;
    }
    let slice = timed(length, || {
        written.recv().map_err(io::Error::other)?.map_err(io::Error::other)?;
        order()
    });
    drop((orders, written));
    let ended = writer.join();
    ended.map_err(|_| io::Error::other("the writer panicked"))?;
    slice
}

/// One event after the other for so long, behind some that warm up.
fn timed(length: Duration, mut next: impl FnMut() -> io::Result<()>) -> io::Result<Slice> {
    let start = Instant::now();
    while start.elapsed() < WARM_UP {
        next()?;
    }
    let (meter, mut done) = (Meter::start()?, 0);
    while done == 0 || meter.start.elapsed() < length {
        next()?;
        done += 1;
    }
    Ok(Slice { parts: vec![meter.stop("", done)?], bytes: None })
}

/// A plain log.
struct Log {
    connection: Connection,
    id: i64,
}

impl Log {
    fn open(path: &Path) -> rusqlite::Result<Log> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE event (channel INTEGER NOT NULL, id INTEGER NOT NULL, at INTEGER NOT NULL, data BLOB NOT NULL,
                PRIMARY KEY (channel, id)) STRICT, WITHOUT ROWID;",
        )?;
        Ok(Log { connection, id: 0 })
    }

    /// In a transaction of its own.
    fn append(&mut self, data: &str) -> rusqlite::Result<()> {
        self.id += 1;
        let mut insert = self.connection.prepare_cached("INSERT INTO event VALUES (1, ?1, ?2, ?3)")?;
        insert.execute(params![self.id, self.id, data.as_bytes()]).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_log_is_as_safe_as_the_journal() {
        let folder = Folder::make("durable-test").unwrap();
        let mut log = Log::open(&folder.path().join("log.db")).unwrap();
        log.append("a").unwrap();
        let pragma =
            |name: &str| log.connection.pragma_query_value(None, name, |row| row.get::<_, String>(0));
        assert_eq!(pragma("journal_mode").unwrap(), "wal");
        let full: i64 = log.connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!(full, 2);
        let count: i64 =
            log.connection.query_row("SELECT count(*) FROM event", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 1);
    }
}
