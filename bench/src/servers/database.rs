//! The database behind the ticker's servers: a table that is read from one end to the other by every query, and the record of how late
//! their loops were.
//!
//! Both servers share it, so that they differ in nothing but their loop and their pool. A thread opens the file when it has its
//! first query, and keeps the connection.

use std::cell::RefCell;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

/// Rows that each query goes through, which takes about a millisecond.
pub(crate) const ROWS: u32 = 20_000;

/// How often the ticker is due.
pub(crate) const INTERVAL: Duration = Duration::from_millis(10);

/// Different words that are asked for.
const SENSORS: u64 = 50;

const QUERY: &str = "SELECT count(*), avg(value), max(value) FROM readings WHERE note LIKE ?1";

thread_local! {
    static CONNECTION: RefCell<Option<Connection>> = const { RefCell::new(None) };
}

/// Fills a new file.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    let fill = || {
        let connection = Connection::open(path)?;
        connection.execute_batch("CREATE TABLE readings (value REAL, note TEXT); BEGIN")?;
        let mut insert = connection.prepare("INSERT INTO readings VALUES (?1, ?2)")?;
        for row in 0..ROWS {
            let sensor = u64::from(row) % SENSORS;
            insert.execute((row, format!("read by sensor <{sensor}> at noon")))?;
        }
        drop(insert);
        connection.execute_batch("COMMIT")
    };
    fill().map_err(io::Error::other)
}

/// What is answered first.
pub(crate) fn first_answer(path: &Path) -> io::Result<String> {
    Queries::new(path.to_owned()).next()()
}

/// Makes one query after the other, each for another sensor.
#[derive(Clone)]
pub(super) struct Queries {
    path: Arc<PathBuf>,
    asked: Arc<AtomicU64>,
}

impl Queries {
    pub(super) fn new(path: PathBuf) -> Queries {
        Queries { path: Arc::new(path), asked: Arc::default() }
    }

    /// The next one, to be called on a thread of the pool.
    pub(super) fn next(&self) -> impl FnOnce() -> io::Result<String> + Send + use<> {
        let path = Arc::clone(&self.path);
        let sensor = self.asked.fetch_add(1, Ordering::Relaxed) % SENSORS;
        move || query(&path, sensor).map_err(io::Error::other)
    }
}

fn query(path: &Path, sensor: u64) -> rusqlite::Result<String> {
    CONNECTION.with_borrow_mut(|slot| {
        let connection = match slot {
            Some(connection) => connection,
            None => slot.insert(Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?),
        };
        connection.prepare_cached(QUERY)?.query_row([format!("%<{sensor}>%")], |row| {
            let (count, average, maximum): (i64, f64, f64) = row.try_into()?;
            Ok(format!("{count} readings of sensor {sensor}: {average} on average, {maximum} at most\n"))
        })
    })
}

/// When each tick came. A tick that was missed because the loop was late is one that came late.
pub(super) struct Ticks {
    start: Instant,
    ticks: u32,
    late_us: Vec<u128>,
}

impl Ticks {
    pub(super) fn begin() -> Ticks {
        Ticks { start: Instant::now(), ticks: 0, late_us: Vec::new() }
    }

    /// So many ticks have become due since the last time.
    pub(super) fn tick(&mut self, count: u64) {
        let now = Instant::now();
        for _ in 0..count {
            self.ticks += 1;
            self.late_us.push(now.saturating_duration_since(self.start + INTERVAL * self.ticks).as_micros());
        }
    }

    /// Microseconds with a space between them; they are not said twice.
    pub(super) fn take(&mut self) -> String {
        let mut text = String::new();
        for us in std::mem::take(&mut self.late_us) {
            let _infallible = write!(text, "{us} ");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_finds_its_rows() {
        let path = std::env::temp_dir().join(format!("ropewalk-bench-test-{}.sqlite", std::process::id()));
        create(&path).unwrap();
        let queries = Queries::new(path.clone());
        let (first, second) = (queries.next()().unwrap(), queries.next()().unwrap());
        std::fs::remove_file(&path).unwrap();
        // Row n is of sensor n modulo 50, and its value is n.
        assert_eq!(first, "400 readings of sensor 0: 9975 on average, 19950 at most\n");
        assert_eq!(second, "400 readings of sensor 1: 9976 on average, 19951 at most\n");
    }

    #[test]
    fn missed_ticks_are_late_ticks() {
        // 1. The loop was held: three ticks became due, the last of them a moment ago. 2. The first one is two intervals late.
        let start = Instant::now() - INTERVAL * 3;
        let mut ticks = Ticks { start, ticks: 0, late_us: Vec::new() };
        ticks.tick(3);
        let late = ticks.late_us.clone();
        assert!(late[0] >= 20_000 && late[1] >= 10_000 && late[0] - late[2] == 20_000, "{late:?}");
        assert_eq!(ticks.take().split_whitespace().count(), 3);
        assert_eq!(ticks.take(), "");
    }
}
