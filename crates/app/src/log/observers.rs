//! Observers: a filter, a ring that remembers, lines into anything that takes bytes. What stands before a slow one is in `queued`.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::event::Event;
use super::json::to_json;
use super::level::Levels;
use super::publisher::Observer;
use super::text::TextFormat;

/// An observer that hears only what its levels allow: one file for everything, another for errors.
///
/// ```
/// use std::sync::Arc;
/// use ropewalk_app::log::{Event, Filtered, Level, Levels, Observer, RingObserver};
/// let ring = Arc::new(RingObserver::new(10));
/// let errors = Filtered::new(Levels::new(Level::Error), Arc::clone(&ring));
/// errors.observe(&Arc::new(Event::new(Level::Info, "shop", "open")));
/// errors.observe(&Arc::new(Event::new(Level::Error, "shop", "on fire")));
/// assert_eq!(ring.events().len(), 1);
/// ```
pub struct Filtered<O> {
    levels: Levels,
    observer: O,
}

impl<O: Observer> Filtered<O> {
    /// Tells `observer` of what the levels allow; they may be set later on.
    pub fn new(levels: Levels, observer: O) -> Filtered<O> {
        Filtered { levels, observer }
    }
}

impl<O: Observer> Observer for Filtered<O> {
    fn observe(&self, event: &Arc<Event>) {
        if self.levels.allows(&event.namespace, event.level) {
            self.observer.observe(event);
        }
    }

    fn name(&self) -> &str {
        self.observer.name()
    }
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn observe(&self, event: &Arc<Event>) {
        (**self).observe(event);
    }

    fn name(&self) -> &str {
        (**self).name()
    }
}

/// Remembers the last events, to be looked at or told again.
pub struct RingObserver {
    events: Mutex<VecDeque<Arc<Event>>>,
    events_max: usize,
    forgotten: AtomicU64,
}

impl RingObserver {
    /// Remembers so many.
    #[must_use]
    pub fn new(events_max: usize) -> RingObserver {
        RingObserver { events: Mutex::default(), events_max, forgotten: AtomicU64::new(0) }
    }

    /// Remembers one, and forgets the oldest if there are too many.
    pub fn keep(&self, event: &Arc<Event>) {
        let mut events = self.lock();
        events.push_back(Arc::clone(event));
        if events.len() > self.events_max {
            let oldest = events.pop_front();
            self.forgotten.fetch_add(1, Ordering::Relaxed);
            drop(events);
            drop(oldest);
        }
    }

    /// What is remembered, the oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<Arc<Event>> {
        self.lock().iter().cloned().collect()
    }

    /// How many were forgotten.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }

    /// Tells another one what is remembered, the oldest first.
    pub fn replay_to(&self, observer: &dyn Observer) {
        for event in self.events() {
            observer.observe(&event);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Event>>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for RingObserver {
    fn observe(&self, event: &Arc<Event>) {
        self.keep(event);
    }
}

/// How events are written.
#[derive(Clone, Debug)]
pub enum Format {
    /// For people.
    Text(TextFormat),
    /// For programs: one object per line.
    Json,
}

impl Format {
    /// An event in this format, with its line break.
    #[must_use]
    pub fn line(&self, event: &Event) -> String {
        match self {
            Format::Text(format) => format.line(event),
            Format::Json => to_json(event),
        }
    }
}

/// Makes lines of events and gives them to a function, such as [`LogWriter::write`](crate::LogWriter::write).
pub struct Lines<S> {
    format: Format,
    sink: S,
    name: String,
}

impl<S: Fn(&[u8]) + Send + Sync + 'static> Lines<S> {
    /// Lines in this format, each with its line break, for `sink`; called `name` when something is wrong.
    pub fn new(name: &str, format: Format, sink: S) -> Lines<S> {
        Lines { format, sink, name: name.to_owned() }
    }
}

impl<S: Fn(&[u8]) + Send + Sync + 'static> Observer for Lines<S> {
    fn observe(&self, event: &Arc<Event>) {
        (self.sink)(self.format.line(event).as_bytes());
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// Whether standard error is a terminal whose owner has nothing against colours (<https://no-color.org>).
pub(crate) fn has_colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Text on standard error, at once: a program that ends has said everything. It waits for who reads; behind a
/// [`LogWriter`](crate::LogWriter) it does not.
#[must_use]
pub fn standard_error() -> impl Observer {
    let format = Format::Text(TextFormat { colour: has_colours(), ..TextFormat::default() });
    Unprinted(Lines::new("standard error", format, |line: &[u8]| {
        // Where nobody listens there is nobody to tell.
        let _ = std::io::stderr().write_all(line);
    }))
}

/// An observer that prints: it is not told of what was printed, which may be what it has printed itself.
struct Unprinted<O>(O);

impl<O: Observer> Observer for Unprinted<O> {
    fn observe(&self, event: &Arc<Event>) {
        if event.printed.is_none() {
            self.0.observe(event);
        }
    }

    fn name(&self) -> &str {
        self.0.name()
    }
}
