//! Of `cargo run --example weblog`: the log that is followed, and its last records, one for all connections.
//!
//! It is read when a connection's timer asks, on the loop: a file in the system's memory keeps nobody waiting.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use ropewalk::Transport;
use ropewalk::tail::{Follower, Start};

use super::record::Record;

/// Records that are kept for viewers who come, or who were slow.
const RECORDS_MAX: usize = 100;
/// Bytes read in one go, so that a large log does not hold the loop; the rest waits for the next tick.
const STEP_BYTES: usize = 1024 * 1024;

/// A log; closed, it has nothing to say.
#[derive(Default)]
pub(crate) struct Log {
    file: Option<Follower>,
    records: VecDeque<Record>,
    /// Records so far, those not kept any more included.
    total: u64,
}

impl Log {
    /// Opens a log, to begin with the last records that it has now.
    pub(crate) fn open(path: &Path) -> io::Result<Log> {
        let file = Follower::open(path, Start::LastLines(RECORDS_MAX))?;
        Ok(Log { file: Some(file), ..Log::default() })
    }

    /// Reads what was added, and sends what is kept of the records after the first `sent`. Answers how many there are.
    pub(crate) fn send(&mut self, transport: &Transport, sent: u64) -> u64 {
        let Some(file) = &mut self.file else { return sent };
        let read = file.step(STEP_BYTES, &mut |line| {
            if let Some(record) = Record::parse(line.text) {
                self.records.push_back(record);
                self.total += 1;
            }
            self.records.drain(..self.records.len().saturating_sub(RECORDS_MAX));
        });
        if let Err(error) = read {
            tracing::warn!("the log: {error}");
        }
        let new = usize::try_from(self.total - sent).map_or(RECORDS_MAX, |new| new.min(self.records.len()));
        let records = self.records.range(self.records.len() - new..);
        records.for_each(|record| transport.write(format!("{record}\n").as_bytes()));
        self.total
    }
}
