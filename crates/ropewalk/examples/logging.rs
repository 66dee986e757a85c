//! Logs as events: an observer of one's own, levels by namespace that change while the program runs, JSON that is read again.
//!
//! Run it with `cargo run --example logging`. On standard error stand lines as
//! ```text
//! 2026-11-21T15:57:00+0100 [shop#info] ada bought 3 ropes
//! 2026-11-21T15:57:00+0100 [shop::till#debug] the drawer is open
//! 2026-11-21T15:57:00+0100 [program#error] no receipt could be printed
//!     out of paper
//!         made at crates/ropewalk/examples/logging.rs:59:9
//! ```
//! and the drawer only the second time it is opened: until then `shop::till` has nothing to say. At the end the observer of our own has
//! counted, and a file of JSON was read again: what it says are events, with their fields.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ropewalk::app::log::{
    self, Event, Filtered, Format, Level, Levels, Lines, Observer, Publisher, Queued, from_json,
    standard_error,
};
use ropewalk::app::{At, LogWriter, Rotation};
use ropewalk::{Failure, Outcome};

/// An observer of our own: it counts what went wrong.
#[derive(Default)]
pub struct Troubles(AtomicU64);

impl Observer for Troubles {
    fn observe(&self, event: &Arc<Event>) {
        if event.level >= Level::Error {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What a program logs, in the three ways that there are.
pub fn trade(levels: &Levels) {
    // A text with fields: an observer that wants the number need not read it out of the text.
    log::publish(
        Event::format(Level::Info, "shop", "{who} bought {count} ropes").with("who", "ada").with("count", 3),
    );
    // The ecosystem's: `tracing`, and the `log` crate.
    for _ in 0..2 {
        tracing::debug!(target: "shop::till", "the drawer is open");
        levels.set("shop::till", Level::Debug);
    }
    // A failure, with where it was made and what it passed.
    if let Err(failure) = print_receipt() {
        log::err(&failure, "no receipt could be printed");
    }
}

fn print_receipt() -> Outcome<()> {
    Err(Failure::new("out of paper"))
}

/// Begins the log with all its observers, trades, and counts.
pub fn story(publisher: &Publisher, file: &Path) -> Outcome<(u64, Vec<Event>)> {
    // Nothing of this is lost: the first observers are told.
    log::msg("the shop opens");

    let (troubles, writer) = (Arc::new(Troubles::default()), LogWriter::rotating(file, daily())?);
    let lines = writer.clone();
    let json = Lines::new("the file", Format::Json, move |line: &[u8]| lines.write(line));
    // What may take long stands behind a queue and a thread of its own; this one would send a mail.
    let mail = Queued::new("mail", 100, Filtered::new(Levels::new(Level::Critical), |_: &Arc<Event>| {}))?;
    publisher.begin(vec![Arc::new(standard_error()), troubles.clone(), Arc::new(json), Arc::new(mail)]);

    trade(publisher.levels());
    writer.flush(Duration::from_secs(5));
    let read = from_json(BufReader::new(File::open(file)?)).collect::<Result<Vec<_>, _>>()?;
    Ok((troubles.0.load(Ordering::Relaxed), read))
}

/// A file for each day, for a week.
fn daily() -> Rotation {
    Rotation { at: At::Daily, keep: Some(7), compress: true, ..Rotation::default() }
}

fn main() -> ExitCode {
    let file = std::env::temp_dir().join("ropewalk-logging.json");
    let publisher = Publisher::default();
    log::install(&publisher);
    match story(&publisher, &file) {
        Ok((troubles, read)) => {
            log::msg(format!("{troubles} troubles; {} has {} events", file.display(), read.len()));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            log::err(&failure, "there is no log");
            ExitCode::FAILURE
        }
    }
}
