//! What a program says for itself: events of the log on standard error, and the one line of an error. The rotating logs and
//! their observers are not here.

use std::io::{IsTerminal, Write};

use tracing::Level;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Prints events from `info` up on standard error. A program that has its own subscriber keeps it.
///
/// `ropewalk::main` and [`launch`](crate::launch) call it; a program that is made of a bare reactor calls it itself, or it
/// learns nothing of a callback that panicked or of a failure that nobody looked at.
pub fn log_to_stderr() {
    let layer = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // It fails when there is one already, and that is the one to use.
    let _ = tracing_subscriber::registry().with(layer).with(LevelFilter::from_level(Level::INFO)).try_init();
}

/// One line on standard error.
pub(crate) fn complain(name: &str, line: &str) {
    // Where nobody listens there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{name}: {line}");
}
