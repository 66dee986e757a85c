//! Jobs, groups, failures, and what is there after the process was killed.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ropewalk_reactor::failure::Panicked;
use ropewalk_reactor::{Failure, Reactor, Simulation, react};
use ropewalk_store::rusqlite::{self, Connection};
use ropewalk_store::{Database, DatabaseError, DatabaseOptions, Schema};

const LINES: Schema =
    Schema { id: 0x4c49_4e45, migrations: &["CREATE TABLE line (id INTEGER PRIMARY KEY, text TEXT UNIQUE)"] };

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ropewalk-store-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("lines.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn insert(text: impl Into<String>) -> impl FnOnce(&Connection) -> rusqlite::Result<i64> + Send {
    let text = text.into();
    move |db| {
        db.execute("INSERT INTO line (text) VALUES (?1)", [text])?;
        Ok(db.last_insert_rowid())
    }
}

fn texts(db: &Connection) -> rusqlite::Result<Vec<String>> {
    db.prepare("SELECT text FROM line ORDER BY id")?.query_map([], |row| row.get(0))?.collect()
}

/// Runs on the real loop; a hanging test ends.
fn on_loop<F: Future<Output = ()> + 'static>(main: impl FnOnce(Reactor) -> F + 'static) {
    react(|reactor| async move {
        let work = main(reactor.clone());
        reactor.with_timeout(Duration::from_secs(20), work).await.unwrap();
        Ok(())
    })
    .unwrap();
}

#[test]
fn writes_of_one_turn_share_a_commit_and_keep_their_order() {
    let folder = Folder::new("group");
    let path = folder.file();
    on_loop(|reactor| async move {
        let lines = Database::open(&reactor, &path, LINES).unwrap();
        let writes: Vec<_> = (0..100).map(|number| lines.write(insert(format!("{number:03}")))).collect();
        for (number, write) in writes.into_iter().enumerate() {
            assert_eq!(write.await.unwrap(), number as i64 + 1);
        }
        assert_eq!(lines.statistics().commits, 1);
        assert_eq!(lines.statistics().written, 100);
        let read = lines.read(texts).await.unwrap();
        assert_eq!(read.len(), 100);
        assert!(read.is_sorted());
    });
}

#[test]
fn a_write_that_fails_takes_back_only_itself() {
    let simulation = Simulation::new(1);
    let lines = Database::in_memory(simulation.reactor(), LINES).unwrap();
    let first = lines.write(insert("one"));
    let twice = lines.write(|db| {
        db.execute("INSERT INTO line (text) VALUES ('two')", [])?;
        insert("one")(db)
    });
    let broken = lines.write(|db| -> rusqlite::Result<()> {
        db.execute("INSERT INTO line (text) VALUES ('three')", [])?;
        panic!("half way")
    });
    let last = lines.write(insert("four"));
    let lines_then = lines.clone();
    let done = simulation.reactor().ensure_deferred(async move {
        first.await.unwrap();
        let error: Failure = twice.await.unwrap_err();
        assert!(error.is::<rusqlite::Error>(), "{error}");
        assert!(broken.await.unwrap_err().is::<Panicked>());
        last.await.unwrap();
        assert_eq!(lines_then.read(texts).await.unwrap(), ["one", "four"]);
        let statistics = lines_then.statistics();
        assert_eq!((statistics.written, statistics.failed, statistics.commits), (2, 2, 1));
        Ok(())
    });
    simulation.advance(Duration::from_secs(10));
    assert!(done.has_outcome(), "everything was told");
}

#[test]
fn what_ends_the_transaction_fails_the_whole_group() {
    let simulation = Simulation::new(2);
    let lines = Database::in_memory(simulation.reactor(), LINES).unwrap();
    let first = lines.write(insert("one"));
    let rude = lines.write(|db| db.execute_batch("ROLLBACK"));
    let lines_then = lines.clone();
    let done = simulation.reactor().ensure_deferred(async move {
        // Its savepoint was released, and yet it is gone: it must not be called written.
        assert!(first.await.unwrap_err().is::<DatabaseError>());
        assert!(rude.await.unwrap_err().is::<DatabaseError>());
        lines_then.write(insert("after")).await.unwrap();
        assert_eq!(lines_then.read(texts).await.unwrap(), ["after"]);
        Ok(())
    });
    simulation.advance(Duration::from_secs(10));
    assert!(done.has_outcome());
}

#[test]
fn the_queue_is_bounded_and_closing_writes_what_waits() {
    let folder = Folder::new("bound");
    let path = folder.file();
    on_loop(|reactor| async move {
        let options = DatabaseOptions { group_max: 2, queue_max: 5 };
        let lines = Database::open_with(&reactor, &path, LINES, options).unwrap();
        let writes: Vec<_> = (0..6).map(|number| lines.write(insert(number.to_string()))).collect();
        lines.close().await.unwrap();
        let outcomes: Vec<bool> = writes.iter().map(ropewalk_reactor::Deferred::has_outcome).collect();
        assert_eq!(outcomes, [true; 6]);
        for (number, write) in writes.into_iter().enumerate() {
            let full = write.await.is_err_and(|error| matches!(error.check(), Some(DatabaseError::Full)));
            assert_eq!(full, number == 5, "write {number}");
        }
        assert_eq!(lines.statistics().commits, 3);
        let late = lines.write(insert("late")).await.unwrap_err();
        assert!(matches!(late.check(), Some(DatabaseError::Closed)));
        assert!(lines.read(texts).await.is_err());
        lines.close().await.unwrap();
        let again = Database::open(&reactor, &path, LINES).unwrap();
        assert_eq!(again.read(texts).await.unwrap().len(), 5);
        assert!(matches!(lines.reopen(), Err(DatabaseError::InUse(_))));
        again.write(insert("while the other was closed")).await.unwrap();
        again.close().await.unwrap();
        lines.reopen().unwrap();
        lines.write(insert("and after")).await.unwrap();
        assert_eq!(lines.read(texts).await.unwrap().len(), 7);
    });
}

#[test]
fn the_end_of_the_loop_writes_what_waits() {
    let folder = Folder::new("end");
    let path = folder.file();
    on_loop({
        let path = path.clone();
        |reactor| async move {
            let lines = Database::open(&reactor, &path, LINES).unwrap();
            (0..10).for_each(|number| lines.write(insert(number.to_string())).detach());
        }
    });
    assert_eq!(texts(&Connection::open(&path).unwrap()).unwrap().len(), 10);
}

#[test]
fn a_database_in_use_of_something_else_or_newer_is_refused_untouched() {
    let folder = Folder::new("refused");
    let path = folder.file();
    let simulation = Simulation::new(3);
    let reactor = simulation.reactor();
    let held = Database::open(reactor, &path, LINES).unwrap();
    assert!(matches!(Database::open(reactor, &path, LINES), Err(DatabaseError::InUse(_))));
    drop((held, simulation));

    let simulation = Simulation::new(4);
    let reactor = simulation.reactor();
    let before = std::fs::read(&path).unwrap();
    let other = Schema { id: 7, ..LINES };
    assert!(matches!(Database::open(reactor, &path, other), Err(DatabaseError::Foreign(_))));
    let older = Schema { migrations: &[], ..LINES };
    let error = Database::open(reactor, &path, older).unwrap_err();
    assert!(matches!(error, DatabaseError::Newer { found: 1, known: 0, .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    const GROWN: Schema = Schema {
        migrations: &[
            "CREATE TABLE line (id INTEGER PRIMARY KEY, text TEXT UNIQUE)",
            "ALTER TABLE line ADD COLUMN at INTEGER",
        ],
        ..LINES
    };
    Database::open(reactor, &path, GROWN).unwrap();

    std::fs::write(folder.0.join("text.db"), "this is a text, and long enough to be looked at").unwrap();
    assert!(matches!(
        Database::open(reactor, &folder.0.join("text.db"), LINES),
        Err(DatabaseError::Sqlite(_))
    ));
    let nowhere = folder.0.join("no/such/folder.db");
    let error = Database::open(reactor, &nowhere, LINES).unwrap_err();
    assert!(error.to_string().contains("no/such"), "{error}");
}

#[test]
fn only_the_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("mode");
    let simulation = Simulation::new(5);
    let _held = Database::open(simulation.reactor(), &folder.file(), LINES).unwrap();
    for entry in std::fs::read_dir(&folder.0).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
}

/// Killed in the middle of its writes again and again, nothing that was answered is missing.
#[test]
fn what_was_answered_is_there_after_kill_9() {
    const CHILD: &str = "ROPEWALK_STORE_CHILD";
    if let Some(path) = std::env::var_os(CHILD) {
        return child(Path::new(&path));
    }
    let folder = Folder::new("killed");
    let path = folder.file();
    let mut answered = Vec::new();
    for round in 0..30 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "what_was_answered_is_there_after_kill_9", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told =
            lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("written ").map(str::to_owned));
        // A different moment of its life each time.
        answered.extend(told.take(1 + round * 7 % 60));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let simulation = Simulation::new(6);
    drop(Database::open(simulation.reactor(), &path, LINES).unwrap());
    let kept = texts(&Connection::open(&path).unwrap()).unwrap();
    assert!(answered.len() > 500, "{}", answered.len());
    for text in &answered {
        assert!(kept.binary_search(text).is_ok(), "{text} was answered and is gone");
    }
    assert!(kept.is_sorted(), "in their order");
}

fn child(path: &Path) {
    let path = path.to_owned();
    let _ = react(|reactor| async move {
        let lines = Database::open(&reactor, &path, LINES).unwrap();
        let begin =
            lines.read(|db| db.query_row("SELECT count(*) FROM line", [], |row| row.get::<_, i64>(0)));
        let mut number = begin.await.unwrap();
        loop {
            let group: Vec<_> =
                (0..5).map(|next| lines.write(insert(format!("{:09}", number + next)))).collect();
            number += 5;
            for write in group {
                let id = write.await.unwrap();
                let mut out = std::io::stdout().lock();
                writeln!(out, "written {:09}", id - 1).unwrap();
                out.flush().unwrap();
            }
        }
        #[allow(unreachable_code, reason = "it is killed")]
        Ok(())
    });
}
