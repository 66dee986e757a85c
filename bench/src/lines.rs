//! A loop that writes a log of so many lines a second, and one that does the same work without the log: how late a ticker of a
//! millisecond is in it, and what the loop itself has used.
//!
//! `scenario::lines` starts this program again as `lines`; it works for as many milliseconds as each line of its standard input says,
//! and answers with its figures in JSON.

use std::cell::{Cell, RefCell};
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ropewalk_app::LogWriter;
use ropewalk_reactor::{LoopingCall, Reactor};
use rustix::thread::gettid;
use serde_json::json;

use crate::account::Usage;

/// Lines of each second.
pub(crate) const LINES_PER_SECOND: u64 = 100_000;

/// How often the ticker is due, and lines are written.
pub(crate) const INTERVAL: Duration = Duration::from_millis(1);

/// A line as the access log has it; only its number differs.
const LINE: &str = "127.0.0.1 - - [21/Nov/2026:18:11:39 +0000] \"GET /articles/0000000000?page=2 HTTP/1.1\" 200 4096 \
                    \"https://example.org/articles\" \"Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0\"\n";

/// Answers slice after slice, until the input ends.
pub(crate) fn serve(log: Option<PathBuf>) -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        let length = Duration::from_millis(line?.trim().parse().map_err(io::Error::other)?);
        let figures = slice(length, log.as_deref())?;
        let mut out = io::stdout();
        writeln!(out, "{figures}")?;
        out.flush()?;
    }
    Ok(())
}

fn slice(length: Duration, path: Option<&Path>) -> io::Result<serde_json::Value> {
    let log = path.map(LogWriter::file).transpose()?;
    let reactor = Reactor::new()?;
    let begin = Instant::now();
    let late_us: Rc<RefCell<Vec<u64>>> = Rc::default();
    let ticker = LoopingCall::new(&reactor, {
        let (late_us, due) = (Rc::clone(&late_us), Cell::new(0_u32));
        move |count| {
            // A tick that was missed is one that came late.
            for _ in 0..count {
                due.set(due.get() + 1);
                let late = begin.elapsed().saturating_sub(INTERVAL * due.get());
                late_us.borrow_mut().push(late.as_micros() as u64);
            }
        }
    });
    let written = Rc::new(Cell::new(0_u64));
    let writer = LoopingCall::new(&reactor, {
        let (written, log, mut line) = (Rc::clone(&written), log.clone(), LINE.as_bytes().to_vec());
        let at = LINE.find("0000000000").expect("the line has a number");
        move |_| {
            let due = begin.elapsed().as_micros() as u64 * LINES_PER_SECOND / 1_000_000;
            for number in written.replace(due)..due {
                count_up(&mut line[at..at + 10], number);
                match &log {
                    Some(log) => log.write(&line),
                    None => drop(std::hint::black_box(&line)),
                }
            }
        }
    });
    ticker.start(INTERVAL, false);
    writer.start(INTERVAL, false);
    let end = reactor.clone();
    reactor.call_later(length, move || end.stop());
    let (before, own_before) = (Usage::here()?, own_ns()?);
    reactor.run()?;
    let (own_ns, process) = (own_ns()? - own_before, Usage::here()?.since(before));
    let statistics = log.as_ref().map(LogWriter::statistics).unwrap_or_default();
    let (seconds, late_us) = (begin.elapsed().as_secs_f64(), late_us.take());
    Ok(json!({
        "lines": written.get(), "seconds": seconds, "late_us": late_us, "loop_ns": own_ns,
        "process_ns": process.cpu_us * 1e3, "dropped": statistics.dropped, "lost": statistics.lost,
        "logged": statistics.lines,
    }))
}

fn count_up(digits: &mut [u8], number: u64) {
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// CPU time of this thread so far: the loop's.
fn own_ns() -> io::Result<u64> {
    let path = format!("/proc/self/task/{}/schedstat", gettid().as_raw_nonzero());
    let text = std::fs::read_to_string(path)?;
    let first = text.split_whitespace().next().and_then(|word| word.parse().ok());
    first.ok_or_else(|| io::Error::other("schedstat is not as expected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_and_counted() {
        let path = std::env::temp_dir().join(format!("ropewalk-bench-test-{}.log", std::process::id()));
        let figures = slice(Duration::from_millis(50), Some(&path)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let count = figures["lines"].as_u64().unwrap();
        assert!(count > 0 && text.lines().count() as u64 == count, "{count} of {}", text.lines().count());
        assert_eq!((&figures["dropped"], &figures["logged"]), (&json!(0), &json!(count)));
        assert!(text.lines().next_back().unwrap().contains(&format!("/articles/{:010}?", count - 1)));
    }
}
