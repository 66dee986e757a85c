//! A log that never blocks the loop: lines go into a buffer, and a thread of its own writes the buffer out, at the latest a
//! twentieth of a second later. A disk that is full or a pipe that nobody reads costs lines, which are counted, never the loop
//! and never memory without bound.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

/// How long lines may wait to be written together.
const GATHER: Duration = Duration::from_millis(50);
/// With so many bytes waiting, they are written at once.
const EAGER_BYTES: usize = 256 * 1024;
/// Bytes that wait at the most; lines beyond are dropped and counted.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long the end of the program waits for the last lines.
const FAREWELL: Duration = Duration::from_secs(2);

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    spare: Vec<u8>,
    /// The writer waits for the first line.
    asleep: bool,
    closed: bool,
    lines: u64,
    dropped: u64,
    failed: u64,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A log for lines of any thread. Clones write to the same place.
#[derive(Clone)]
pub struct LogWriter(Arc<Owner>);

struct Owner {
    shared: Arc<Shared>,
    done: Mutex<mpsc::Receiver<()>>,
}

/// Figures of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogStatistics {
    /// Lines taken.
    pub lines: u64,
    /// Lines dropped because too much was waiting.
    pub dropped: u64,
    /// Writes that failed.
    pub failed: u64,
}

impl LogWriter {
    /// A log at the end of a file, which is made if it is not there.
    ///
    /// # Errors
    /// The system's, with the path.
    pub fn file(path: &Path) -> io::Result<LogWriter> {
        let opened: io::Result<File> = OpenOptions::new().append(true).create(true).open(path);
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        LogWriter::new(Box::new(opened.map_err(named)?), Some(path.to_owned()))
    }

    /// A log on standard output.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn standard_output() -> io::Result<LogWriter> {
        LogWriter::new(Box::new(io::stdout()), None)
    }

    /// A log into anything that can be written.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn new(out: Box<dyn Write + Send>, path: Option<PathBuf>) -> io::Result<LogWriter> {
        let shared = Arc::new(Shared::default());
        let hands = Arc::clone(&shared);
        let (farewell, done) = mpsc::channel();
        let builder = std::thread::Builder::new().name("log writer".to_owned());
        builder.spawn(move || {
            write_out(&hands, out, path.as_deref());
            // Nobody waits when the program did not end in an orderly way.
            let _ = farewell.send(());
        })?;
        Ok(LogWriter(Arc::new(Owner { shared, done: Mutex::new(done) })))
    }

    /// Takes a line, newline included.
    pub fn write(&self, line: &[u8]) {
        let mut state = self.0.shared.lock();
        state.lines += 1;
        if state.waiting.len() + line.len() > WAITING_BYTES_MAX {
            state.dropped += 1;
            return;
        }
        state.waiting.extend_from_slice(line);
        let wake = state.asleep || state.waiting.len() >= EAGER_BYTES;
        if wake && std::mem::take(&mut state.asleep) {
            drop(state);
            self.0.shared.work.notify_one();
        }
    }

    /// Figures.
    #[must_use]
    pub fn statistics(&self) -> LogStatistics {
        let state = self.0.shared.lock();
        LogStatistics { lines: state.lines, dropped: state.dropped, failed: state.failed }
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

fn write_out(shared: &Shared, mut out: Box<dyn Write + Send>, path: Option<&Path>) {
    let mut failing = false;
    let mut state = shared.lock();
    loop {
        while state.waiting.is_empty() && !state.closed {
            state.asleep = true;
            state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.asleep = false;
        if !state.closed && state.waiting.len() < EAGER_BYTES {
            // One write for all that comes within a moment.
            let gathered = shared.work.wait_timeout(state, GATHER).unwrap_or_else(PoisonError::into_inner);
            state = gathered.0;
        }
        let closed = state.closed;
        let spare = std::mem::take(&mut state.spare);
        let mut lines = std::mem::replace(&mut state.waiting, spare);
        drop(state);
        let outcome = out.write_all(&lines).and_then(|()| out.flush());
        lines.clear();
        state = shared.lock();
        state.spare = lines;
        match outcome {
            Ok(()) => failing = false,
            Err(error) => {
                state.failed += 1;
                if !std::mem::replace(&mut failing, true) {
                    let place = path.map_or("standard output".into(), Path::to_string_lossy);
                    tracing::error!("log lines are lost: {place}: {error}");
                }
            }
        }
        if closed && state.waiting.is_empty() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_there_in_order_when_the_log_is_dropped() {
        let page = Page::default();
        let log = LogWriter::new(Box::new(page.clone()), None).unwrap();
        let mut expected = Vec::new();
        for number in 0..10_000 {
            let line = format!("line {number}\n");
            log.write(line.as_bytes());
            expected.extend_from_slice(line.as_bytes());
        }
        assert_eq!(log.statistics().lines, 10_000);
        drop(log);
        assert_eq!(*page.0.lock().unwrap(), expected);
    }

    /// A disk that is full.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_costs_lines_and_nothing_else() {
        let log = LogWriter::new(Box::new(Full), None).unwrap();
        let watched = Arc::clone(&log.0.shared);
        log.write(b"lost\n");
        drop(log);
        assert_eq!(watched.lock().failed, 1);
    }

    /// A pipe that nobody reads.
    struct Stuck(mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Until the test lets go.
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stalls_costs_lines_not_memory() {
        let (release, stuck) = mpsc::channel();
        let log = LogWriter::new(Box::new(Stuck(stuck)), None).unwrap();
        let line = [b'x'; 1024];
        for _ in 0..20 * 1024 {
            log.write(&line);
        }
        let statistics = log.statistics();
        assert!(statistics.dropped > 0, "{statistics:?}");
        assert!(log.0.shared.lock().waiting.len() <= WAITING_BYTES_MAX);
        drop(release);
    }
}
