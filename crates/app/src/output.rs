//! What a program says for itself: its log, begun as the command line says, and the one line of an error. What an event is, and who
//! observes it, is `log`'s business; files are `logfile`'s.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::log::{
    Event, Format, Level, Levels, Lines, Publisher, TextFormat, has_colours, install, standard_error,
};
use crate::logfile::{LogOptions, LogWriter, Rotation, kept};
use crate::service::StartError;

/// What the last lines of a log get when the program ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where the program's log goes, and how it looks. By default: from `info` on, as text, to standard error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// Where to.
    pub to: LogPlace,
    /// From which levels on; they may be set while the program runs.
    pub levels: Levels,
    /// A line of JSON for each event, instead of text.
    pub json: bool,
}

/// Where the program's log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogPlace {
    /// To standard error.
    #[default]
    StandardError,
    /// To the end of a file.
    File(PathBuf),
    /// Nowhere.
    Off,
}

/// The program's log, begun. When it goes, what was logged is written.
pub(crate) struct ProgramLog(Option<LogWriter>);

impl ProgramLog {
    /// Begins it. A program that has its own subscriber of `tracing` keeps it.
    pub(crate) fn begin(settings: &LogSettings, rotation: &Rotation) -> Result<ProgramLog, StartError> {
        let publisher = Publisher::new(Clock::system(), settings.levels.clone());
        let colour = settings.to == LogPlace::StandardError && has_colours();
        let format = match settings.json {
            true => Format::Json,
            false => Format::Text(TextFormat { colour, ..TextFormat::default() }),
        };
        let missing = format.clone();
        let refused = |error: io::Error| {
            StartError::new(format!("the log cannot be written: {error}; name another file, or none"))
        };
        let error = kept(rustix::stdio::stderr()).map_err(refused)?;
        let trouble = error.try_clone().map_err(refused)?;
        let options = LogOptions {
            rotation: rotation.clone(),
            // What a program says last, before somebody kills it, is what will be asked for.
            gather: Duration::ZERO,
            notice: Box::new(move |lines| missing.line(&lines_are_missing(lines)).into_bytes()),
            // What a log cannot say of itself is said where somebody may look.
            trouble: Box::new(move |what| {
                let _ = writeln!(&trouble, "log: {what}");
            }),
            ..LogOptions::default()
        };
        let writer = match &settings.to {
            LogPlace::StandardError => Some(LogWriter::stream(Box::new(error), "standard error", options)),
            LogPlace::File(path) => Some(LogWriter::with(path, options)),
            LogPlace::Off => None,
        };
        let writer = writer.transpose().map_err(refused)?;
        if !install(&publisher) {
            return Ok(ProgramLog(None));
        }
        if let Some(writer) = writer.clone() {
            publisher.add(Lines::new("the program's log", format, move |line: &[u8]| writer.write(line)));
        } else {
            publisher.add(|_: &Arc<Event>| ());
        }
        Ok(ProgramLog(writer))
    }

    /// Its writer, unless it goes nowhere.
    pub(crate) fn writer(&self) -> Option<&LogWriter> {
        self.0.as_ref()
    }
}

impl Drop for ProgramLog {
    fn drop(&mut self) {
        if let Some(writer) = &self.0 {
            // A pipe that nobody reads must not keep the program from ending.
            let _ = writer.flush(FAREWELL);
        }
    }
}

fn lines_are_missing(lines: u64) -> Event {
    let event =
        Event::format(Level::Warn, module_path!(), "{lines} lines are missing here").with("lines", lines);
    Event { time: Clock::system().now(), ..event }
}

/// Prints events from `info` up on standard error, each at once. A program that has its own subscriber keeps it.
///
/// `ropewalk::main` and [`launch`](crate::launch) begin the log that the command line asks for; a program that is made of a bare
/// reactor calls this itself, or it learns nothing of a callback that panicked or of a failure that nobody looked at.
pub fn log_to_stderr() {
    let publisher = Publisher::default();
    if install(&publisher) {
        publisher.add(standard_error());
    }
}

/// One line on standard error.
pub(crate) fn complain(name: &str, line: &str) {
    // Where nobody listens there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{name}: {line}");
}
