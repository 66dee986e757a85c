//! The writer's thread: takes what waits, a batch at a time, writes it, puts files aside where a cut says so, and compresses between the
//! batches. The queue before it is in `logfile`, the file below it in `file`.

use std::io::{self, Write};
use std::mem;
use std::sync::PoisonError;
use std::time::Duration;

use jiff::civil::Date;

use super::file::{LogFile, Loss, count};
use super::{EAGER_BYTES, SPARE_BYTES_MAX, Shared, State};

/// Where lines go.
pub(super) enum Out {
    /// Standard output, or what a program has given us.
    Stream(Box<dyn Write + Send>),
    /// A file with a name.
    File(Box<LogFile>),
}

/// A place between two lines where a new file begins.
pub(super) struct Cut {
    /// So many bytes of what waits come before it.
    pub(super) at: usize,
    pub(super) why: Why,
}

pub(super) enum Why {
    /// A day is over; this one.
    Day(Date),
    /// Somebody asked for it.
    Asked,
}

/// How a log says, among its lines, how many of them are missing.
type Notice = Box<dyn Fn(u64) -> Vec<u8> + Send>;
/// Who is told what goes wrong with a log.
type Trouble = Box<dyn Fn(&str) + Send>;

/// The thread's own things.
pub(super) struct Writer {
    pub(super) out: Out,
    pub(super) place: String,
    pub(super) gather: Duration,
    pub(super) notice: Notice,
    pub(super) trouble: Trouble,
    /// Lines that are missing and have not been mentioned.
    pub(super) missing: u64,
    pub(super) failing: bool,
    pub(super) dropping: bool,
}

/// What is written at once.
struct Batch {
    lines: Vec<u8>,
    cuts: Vec<Cut>,
    dropped: u64,
    /// The number of the last entry in it.
    entries: u64,
    closed: bool,
}

impl Writer {
    /// Until the log is closed and all is written.
    pub(super) fn run(mut self, shared: &Shared) {
        loop {
            let Some(mut batch) = next(shared, self.gather, self.has_chores()) else {
                self.chore();
                continue;
            };
            let lost = self.write(&batch);
            batch.lines.clear();
            let mut state = shared.lock();
            state.lost += lost.unwrap_or(0);
            state.failed += u64::from(lost.is_some());
            state.finished = batch.entries;
            if let Out::File(file) = &self.out {
                state.rotations = file.rotations;
            }
            // A burst is not to hold its memory for ever.
            batch.lines.shrink_to(SPARE_BYTES_MAX);
            state.spare = batch.lines;
            let is_over = batch.closed && state.waiting.is_empty() && state.cuts.is_empty();
            drop(state);
            shared.drained.notify_all();
            if is_over {
                return;
            }
        }
    }

    /// Writes a batch; the number of lines lost, if anything failed.
    fn write(&mut self, batch: &Batch) -> Option<u64> {
        if let Out::File(file) = &mut self.out
            && let Err(error) = file.look()
        {
            (self.trouble)(&format!("{}: {error}", self.place));
        }
        let (mut begin, mut lost) = (0, None);
        for cut in &batch.cuts {
            self.append(&batch.lines[begin..cut.at], &mut lost);
            begin = cut.at;
            self.cut(&cut.why);
        }
        self.append(&batch.lines[begin..], &mut lost);
        if batch.dropped == 0 {
            self.dropping = false;
            return lost;
        }
        self.missing += batch.dropped;
        if !mem::replace(&mut self.dropping, true) {
            // Said once, however long it lasts; how many they were is said in the log itself.
            (self.trouble)(&format!("{}: lines are dropped, more come than it takes", self.place));
        }
        // They came when everything before them was waiting.
        self.mention(&mut lost);
        lost
    }

    fn append(&mut self, lines: &[u8], lost: &mut Option<u64>) {
        if lines.is_empty() {
            return;
        }
        if self.missing > 0 {
            self.mention(lost);
        }
        if let Err(loss) = self.put(lines) {
            self.missing += loss.lines;
            self.note(loss, lost);
        } else {
            self.failing = false;
        }
    }

    /// Says how many lines are missing at this place.
    fn mention(&mut self, lost: &mut Option<u64>) {
        let notice = (self.notice)(self.missing);
        match self.put(&notice) {
            Ok(()) => self.missing = 0,
            Err(loss) => self.note(Loss { lines: 0, ..loss }, lost),
        }
    }

    fn note(&mut self, loss: Loss, lost: &mut Option<u64>) {
        *lost = Some(lost.unwrap_or(0) + loss.lines);
        if !mem::replace(&mut self.failing, true) {
            (self.trouble)(&format!("log lines are lost: {}: {}", self.place, loss.error));
        }
    }

    fn put(&mut self, lines: &[u8]) -> Result<(), Loss> {
        let Writer { out, trouble, place, .. } = self;
        match out {
            Out::Stream(out) => {
                let outcome = out.write_all(lines).and_then(|()| out.flush());
                outcome.map_err(|error| Loss { lines: count(lines), error })
            }
            Out::File(file) => file.append(lines, &|error| trouble(&unmoved(place, error))),
        }
    }

    fn cut(&mut self, why: &Why) {
        let Out::File(file) = &mut self.out else { return };
        let outcome = match why {
            Why::Day(date) => file.put_aside(*date),
            Why::Asked => file.rotate(),
        };
        if let Err(error) = outcome {
            (self.trouble)(&unmoved(&self.place, &error));
        }
    }

    fn has_chores(&self) -> bool {
        matches!(&self.out, Out::File(file) if file.has_chores())
    }

    fn chore(&mut self) {
        let Out::File(file) = &mut self.out else { return };
        if let Err(error) = file.chore() {
            (self.trouble)(&format!("{}: what was put aside: {error}", self.place));
        }
    }
}

fn unmoved(place: &str, error: &io::Error) -> String {
    format!("{place} cannot be put aside, and grows: {error}")
}

/// Waits for something to write. `None` if there is nothing yet and chores are waiting.
fn next(shared: &Shared, gather: Duration, chores: bool) -> Option<Batch> {
    let mut state = shared.lock();
    while state.is_idle() {
        if chores {
            return None;
        }
        state.asleep = true;
        state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    state.asleep = false;
    if !state.closed && !state.hurry && state.waiting.len() < EAGER_BYTES && !gather.is_zero() {
        // One write for all that comes within a moment.
        let gathered = shared.work.wait_timeout_while(state, gather, |state| {
            !state.closed && !state.hurry && state.waiting.len() < EAGER_BYTES
        });
        state = gathered.unwrap_or_else(PoisonError::into_inner).0;
    }
    Some(state.take())
}

impl State {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.cuts.is_empty() && !self.closed && self.dropped_unsaid == 0
    }

    fn take(&mut self) -> Batch {
        self.hurry = false;
        let spare = mem::take(&mut self.spare);
        Batch {
            lines: mem::replace(&mut self.waiting, spare),
            cuts: mem::take(&mut self.cuts),
            dropped: mem::take(&mut self.dropped_unsaid),
            entries: self.entries,
            closed: self.closed,
        }
    }
}
