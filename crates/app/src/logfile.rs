//! A log that never blocks the loop: lines go into a buffer, and a thread of its own writes the buffer out, at the latest a
//! twentieth of a second later. A disk that is full or a pipe that nobody reads costs lines, which are counted, never the loop
//! and never memory without bound.
//!
//! ```text
//!  write(line) ─► waiting bytes, cuts ─► writer (thread) ─► file: append ─ put aside ─ reopen
//!   any thread     midnight, rotate()                        └─ archive: names, bounds ─ packing: gzip
//! ```
//!
//! It is the one appender of the program: the access log, the program's own log and every other log file are this. What the lines
//! say is not its business.

mod archive;
mod file;
mod packing;
mod rotation;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

pub use rotation::{At, AtError, Rotation};

use crate::clock::{Clock, Day};
use file::LogFile;
use writer::{Cut, Out, Why, Writer};

/// How long lines may wait to be written together.
const GATHER: Duration = Duration::from_millis(50);
/// With so many bytes waiting, they are written at once.
const EAGER_BYTES: usize = 256 * 1024;
/// Bytes that wait at the most; lines beyond are dropped and counted.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What a buffer keeps when a burst is over.
const SPARE_BYTES_MAX: usize = 1024 * 1024;
/// How long the end of the program waits for the last lines.
const FAREWELL: Duration = Duration::from_secs(2);

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    spare: Vec<u8>,
    cuts: Vec<Cut>,
    /// The day that the lines belong to, where days are put aside.
    day: Option<Day>,
    /// The writer waits for the first line.
    asleep: bool,
    /// Somebody waits for what is there to be written.
    hurry: bool,
    closed: bool,
    /// Lines and cuts that were put in, and those of them that are done with.
    entries: u64,
    finished: u64,
    dropped_unsaid: u64,
    lines: u64,
    dropped: u64,
    lost: u64,
    failed: u64,
    rotations: u64,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
    drained: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A log for lines of any thread. Clones write to the same place.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let folder = std::env::temp_dir().join(format!("logwriter-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// use std::time::Duration;
/// use ropewalk_app::{At, LogWriter, Rotation};
///
/// let log = LogWriter::rotating(&folder.join("access.log"), Rotation { at: At::Daily, keep: Some(7), ..Rotation::default() })?;
/// log.write(b"a line\n");
/// log.rotate();
/// log.write(b"a line of the next file\n");
/// assert!(log.flush(Duration::from_secs(20)));
/// assert_eq!(std::fs::read(folder.join("access.log"))?, b"a line of the next file\n");
/// # std::fs::remove_dir_all(&folder)
/// # }
/// ```
#[derive(Clone)]
pub struct LogWriter(Arc<Owner>);

struct Owner {
    shared: Arc<Shared>,
    /// Looked at for every line where days are put aside.
    clock: Clock,
    done: Mutex<mpsc::Receiver<()>>,
}

/// How a log is written: the rotation of a file, the clock of its days, and what is said when lines are missing.
pub struct LogOptions {
    /// When a file is put aside. Never, unless it is asked for.
    pub rotation: Rotation,
    /// Whose midnights end a file.
    pub clock: Clock,
    /// How long lines may wait to be written together. A twentieth of a second; with zero, each is written as soon as the writer comes
    /// to it.
    pub gather: Duration,
    /// The line, newline included, that says among the others how many of them are missing. `# 3 lines are missing here`.
    pub notice: Box<dyn Fn(u64) -> Vec<u8> + Send>,
    /// Who is told what goes wrong, on the writer's thread. An error in the program's log.
    pub trouble: Box<dyn Fn(&str) + Send>,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            rotation: Rotation::default(),
            clock: Clock::coarse(),
            gather: GATHER,
            notice: Box::new(|lines| format!("# {lines} lines are missing here\n").into_bytes()),
            trouble: Box::new(|what| tracing::error!("{what}")),
        }
    }
}

/// Figures of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogStatistics {
    /// Lines that came, those that were dropped among them.
    pub lines: u64,
    /// Lines dropped because too much was waiting.
    pub dropped: u64,
    /// Lines that could not be written.
    pub lost: u64,
    /// Batches of lines that could not be written whole.
    pub failed: u64,
    /// Files put aside.
    pub rotations: u64,
    /// Bytes that wait for the writer.
    pub waiting_bytes: usize,
}

/// One of the outputs as it is now, whatever it becomes later: a daemon reads what is printed there, and is not to read its logs.
pub(crate) fn kept(output: impl AsFd) -> io::Result<File> {
    Ok(File::from(rustix::io::fcntl_dupfd_cloexec(output, 3)?))
}

impl LogWriter {
    /// A log at the end of a file, which is made if it is not there. It is put aside when [`rotate`](LogWriter::rotate) says so.
    ///
    /// # Errors
    /// The system's, with the path.
    pub fn file(path: &Path) -> io::Result<LogWriter> {
        LogWriter::with(path, LogOptions::default())
    }

    /// The same with a rotation.
    ///
    /// # Errors
    /// The system's, with the path.
    pub fn rotating(path: &Path, rotation: Rotation) -> io::Result<LogWriter> {
        LogWriter::with(path, LogOptions { rotation, ..LogOptions::default() })
    }

    /// The same with everything that can be chosen. Several processes may write to one file and put it aside: each line is in one
    /// of the files, once.
    ///
    /// # Errors
    /// The system's, with the path.
    pub fn with(path: &Path, options: LogOptions) -> io::Result<LogWriter> {
        let LogOptions { rotation, clock, gather, notice, trouble } = options;
        let day = rotation.at.daily().then(|| clock.day(clock.now()));
        let opened = LogFile::open(path, rotation, clock.clone())
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        let place = path.display().to_string();
        let out = Out::File(Box::new(opened));
        let writer =
            Writer { out, place, gather, notice, trouble, missing: 0, failing: false, dropping: false };
        LogWriter::start(writer, clock, day)
    }

    /// A log on standard output, as it is now: it stays there if the descriptor becomes something else.
    ///
    /// # Errors
    /// The system gives no thread, or no descriptor.
    pub fn standard_output() -> io::Result<LogWriter> {
        LogWriter::new(Box::new(kept(rustix::stdio::stdout())?), None)
    }

    /// A log into anything that can be written; the path is what it is called when something is wrong.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn new(out: Box<dyn Write + Send>, path: Option<PathBuf>) -> io::Result<LogWriter> {
        let place = path.map_or("standard output".to_owned(), |path| path.display().to_string());
        LogWriter::stream(out, &place, LogOptions::default())
    }

    /// A log into anything that can be written, called `place` when something is wrong. The rotation is without effect.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn stream(out: Box<dyn Write + Send>, place: &str, options: LogOptions) -> io::Result<LogWriter> {
        let LogOptions { clock, gather, notice, trouble, .. } = options;
        let (out, place) = (Out::Stream(out), place.to_owned());
        let writer =
            Writer { out, place, gather, notice, trouble, missing: 0, failing: false, dropping: false };
        LogWriter::start(writer, clock, None)
    }

    fn start(writer: Writer, clock: Clock, day: Option<Day>) -> io::Result<LogWriter> {
        let state = Mutex::new(State { day, ..State::default() });
        let shared = Arc::new(Shared { state, ..Shared::default() });
        let hands = Arc::clone(&shared);
        let (farewell, done) = mpsc::channel();
        std::thread::Builder::new().name("log writer".to_owned()).spawn(move || {
            writer.run(&hands);
            // Nobody waits when the program did not end in an orderly way.
            let _ = farewell.send(());
        })?;
        Ok(LogWriter(Arc::new(Owner { shared, clock, done: Mutex::new(done) })))
    }

    /// Takes a line, newline included. It never waits for a disk.
    pub fn write(&self, line: &[u8]) {
        let Owner { shared, clock, .. } = &*self.0;
        let mut state = shared.lock();
        if let Some(day) = state.day {
            let now = clock.now();
            if day.is_over(now) {
                state.end_day(day, clock.day(now));
            }
        }
        state.lines += 1;
        if state.waiting.len() + line.len() > WAITING_BYTES_MAX {
            state.dropped += 1;
            state.dropped_unsaid += 1;
            return;
        }
        state.entries += 1;
        state.waiting.extend_from_slice(line);
        // The first line wakes the writer, and the one that makes it enough to write at once; those between find it gathering.
        let enough = state.waiting.len() >= EAGER_BYTES && state.waiting.len() - line.len() < EAGER_BYTES;
        if std::mem::take(&mut state.asleep) || enough {
            drop(state);
            shared.work.notify_one();
        }
    }

    /// Puts the file aside behind what was written so far, and begins a new one. If somebody has just moved it away, the new one is
    /// opened, and that is all. What is not a file goes on.
    pub fn rotate(&self) {
        let mut state = self.0.shared.lock();
        let at = state.waiting.len();
        state.hurry = true;
        if state.cuts.last().is_none_or(|cut| cut.at != at) {
            // Twice at one place is once.
            state.entries += 1;
            state.cuts.push(Cut { at, why: Why::Asked });
        }
        drop(state);
        self.0.shared.work.notify_one();
    }

    /// Waits until everything that was written so far is where it belongs; false if that takes longer than `limit`. Not for the loop.
    pub fn flush(&self, limit: Duration) -> bool {
        let Shared { work, drained, .. } = &*self.0.shared;
        let mut state = self.0.shared.lock();
        let last = state.entries;
        state.hurry = true;
        work.notify_one();
        let waited = drained.wait_timeout_while(state, limit, |state| state.finished < last);
        waited.unwrap_or_else(PoisonError::into_inner).0.finished >= last
    }

    /// Figures.
    #[must_use]
    pub fn statistics(&self) -> LogStatistics {
        let state = self.0.shared.lock();
        LogStatistics {
            lines: state.lines,
            dropped: state.dropped,
            lost: state.lost,
            failed: state.failed,
            rotations: state.rotations,
            waiting_bytes: state.waiting.len(),
        }
    }
}

impl State {
    /// What was written so far belongs to a day that is over.
    fn end_day(&mut self, over: Day, today: Day) {
        self.day = Some(today);
        let at = self.waiting.len();
        self.cuts.push(Cut { at, why: Why::Day(over.date) });
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_one();
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        // A pipe that nobody reads must not keep the program from ending.
        let _ = done.recv_timeout(FAREWELL);
    }
}
