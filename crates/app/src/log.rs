//! The program's log, as Twisted has it: an event is data, a publisher tells observers in order, and only they make text of it.
//!
//! ```text
//!  tracing, log crate ─► bridge ─┐                   ┌─► lines: text or JSON ─► LogWriter
//!  msg, err ─────────────────────┼─► publisher ──────┼─► ring, to be told again
//!  what is printed ─► pipe ──────┘   levels          └─► queue, thread ─► whatever takes long
//! ```
//!
//! The crates below log by `tracing`; so may everybody. Writing files is `logfile`'s business, the access log `ropewalk_web`'s.

mod bridge;
mod capture;
mod event;
mod json;
mod level;
mod observers;
mod printed;
mod publisher;
mod queued;
#[cfg(test)]
mod tests;
mod text;

pub use bridge::Bridge;
pub use capture::{Captured, capture, capture_from};
pub use event::{Event, Fields, Printed, Span, Trouble, Value, Word, Words};
pub use json::{JsonError, from_json, to_json};
pub use level::{Level, LevelError, Levels};
pub(crate) use observers::has_colours;
pub use observers::{Filtered, Format, Lines, RingObserver, standard_error};
pub use printed::{Redirected, redirect_output};
pub use publisher::{Observer, ObserverId, Publisher, PublisherStatistics};
pub use queued::{Queued, QueuedStatistics};
pub use text::TextFormat;

use ropewalk_reactor::Failure;

/// The namespace of [`msg`] and [`err`].
const NAMESPACE: &str = "program";

/// Has everything that the program logs, on any thread, go to this publisher: what comes by `tracing`, by the `log` crate, and by
/// [`msg`] and [`err`]. False if there is a subscriber already, which stays.
pub fn install(publisher: &Publisher) -> bool {
    if tracing::dispatcher::set_global_default(bridge::dispatch(publisher)).is_err() {
        return false;
    }
    bridge::take_log();
    publisher.levels().install();
    true
}

/// Has everything that this thread logs while a function runs go to this publisher, whatever is installed.
///
/// ```
/// use ropewalk_app::log::{self, Publisher};
/// let publisher = Publisher::default();
/// log::with(&publisher, || tracing::info!("heard"));
/// assert_eq!(publisher.statistics().events[2], 1);
/// ```
pub fn with<T>(publisher: &Publisher, function: impl FnOnce() -> T) -> T {
    capture::listen_everywhere();
    tracing::dispatcher::with_default(&bridge::dispatch(publisher), function)
}

/// The publisher that this thread logs to: the installed one, or a capture's.
#[must_use]
pub fn publisher() -> Option<Publisher> {
    bridge::current()
}

/// Logs a text.
///
/// ```
/// use ropewalk_app::log::{self, Level};
/// let ((), logged) = log::capture(|| log::msg("the kettle is on"));
/// logged.assert(Level::Info, "the kettle is on");
/// ```
pub fn msg(text: impl Into<Word>) {
    publish(Event::new(Level::Info, NAMESPACE, text));
}

/// Logs a failure with its traceback, and what it means.
///
/// ```
/// use ropewalk_app::log;
/// use ropewalk_reactor::Failure;
/// let ((), logged) = log::capture(|| log::err(&Failure::new(std::fmt::Error), "no page could be made"));
/// assert_eq!(logged.failures::<std::fmt::Error>(), 1);
/// ```
pub fn err(failure: &Failure, why: impl Into<Word>) {
    publish(Event::new(Level::Error, NAMESPACE, why).failed(failure));
}

/// Logs an event. A subscriber of somebody else's is told its text.
pub fn publish(event: Event) {
    if let Some(publisher) = publisher() {
        return publisher.publish(event);
    }
    let (namespace, message) = (&*event.namespace, event.message());
    let failure = event.trouble.as_ref().map(|trouble| tracing::field::display(&trouble.traceback));
    match event.level {
        Level::Trace => tracing::trace!(namespace, failure, "{message}"),
        Level::Debug => tracing::debug!(namespace, failure, "{message}"),
        Level::Info => tracing::info!(namespace, failure, "{message}"),
        Level::Warn => tracing::warn!(namespace, failure, "{message}"),
        Level::Error | Level::Critical => tracing::error!(namespace, failure, "{message}"),
    }
}
