//! What is logged while a function runs, for tests: on this thread, through `tracing`, the `log` crate or [`msg`](super::msg), from any
//! level on.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use tracing::Dispatch;

use super::event::Event;
use super::level::{Level, Levels};
use super::observers::RingObserver;
use super::publisher::Publisher;
use crate::clock::Clock;

/// What was logged, in order.
pub struct Captured(Vec<Arc<Event>>);

/// Runs a function and gives back what it gave, and what was logged on this thread meanwhile; no other observer hears of it.
///
/// ```
/// use ropewalk_app::log::{self, Level, capture};
/// let (sum, logged) = capture(|| {
///     tracing::warn!(ropes = 2, "running out");
///     1 + 1
/// });
/// assert_eq!(sum, 2);
/// logged.assert(Level::Warn, "running out");
/// assert_eq!(logged[0].field("ropes").and_then(|ropes| ropes.as_u64()), Some(2));
/// ```
pub fn capture<T>(function: impl FnOnce() -> T) -> (T, Captured) {
    capture_from(&Levels::new(Level::Trace), function)
}

/// The same from these levels on.
pub fn capture_from<T>(levels: &Levels, function: impl FnOnce() -> T) -> (T, Captured) {
    let ring = Arc::new(RingObserver::new(usize::MAX));
    let publisher = Publisher::new(Clock::system(), levels.clone());
    publisher.add(Arc::clone(&ring));
    let given = super::with(&publisher, function);
    (given, Captured(ring.events()))
}

/// A place in the code that is come by while there is one subscriber only asks the thread that comes by, and settles what it says
/// for all threads. With two it asks all of them.
pub(super) fn listen_everywhere() {
    static SECOND: OnceLock<Dispatch> = OnceLock::new();
    SECOND.get_or_init(|| Dispatch::new(tracing::subscriber::NoSubscriber::new()));
    super::bridge::take_log();
}

impl Captured {
    /// Whether an event of this level says this, among other words.
    #[must_use]
    pub fn has(&self, level: Level, part: &str) -> bool {
        self.iter().any(|event| event.level == level && event.message().contains(part))
    }

    /// How many events have a failure with an error of this type.
    #[must_use]
    pub fn failures<E: std::error::Error + 'static>(&self) -> usize {
        let failures = self.iter().filter_map(|event| event.trouble.as_ref()?.failure());
        failures.filter(|failure| failure.is::<E>()).count()
    }

    /// Holds that an event of this level says this, among other words.
    ///
    /// # Panics
    /// If none does; what was logged is in the message.
    #[track_caller]
    pub fn assert(&self, level: Level, part: &str) {
        assert!(self.has(level, part), "no {level} says {part:?}; {self:?}");
    }

    /// Holds that nothing from this level on was logged.
    ///
    /// # Panics
    /// If something was; what was logged is in the message.
    #[track_caller]
    pub fn assert_nothing_from(&self, level: Level) {
        assert!(self.iter().all(|event| event.level < level), "{self:?}");
    }
}

impl Deref for Captured {
    type Target = [Arc<Event>];

    fn deref(&self) -> &[Arc<Event>] {
        &self.0
    }
}

impl fmt::Debug for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("logged:")?;
        let format = super::TextFormat { zone: jiff::tz::TimeZone::UTC, colour: false };
        self.0.iter().try_for_each(|event| write!(f, "\n{}", format.line(event).trim_end()))
    }
}
