//! Listens to what is logged as an error while a bench runs its loop: callbacks and tasks that panicked, failures that nobody
//! looked at. All else goes on to whoever listened before.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, NoSubscriber};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber, dispatcher};

pub(super) struct Errors {
    lines: Arc<Mutex<Vec<String>>>,
    dispatch: Dispatch,
}

impl Errors {
    pub(super) fn new() -> Errors {
        // While there is one listener alone, a thread without it that is the first to come by a line of the log would settle
        // for all threads that nobody listens to that line. So there are two, for good.
        static SECOND: OnceLock<Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| Dispatch::new(NoSubscriber::new()));
        let lines = Arc::default();
        let next = dispatcher::get_default(Clone::clone);
        Errors { dispatch: Dispatch::new(Listener { lines: Arc::clone(&lines), next }), lines }
    }

    /// Runs `f` and listens.
    pub(super) fn listen<T>(&self, f: impl FnOnce() -> T) -> T {
        dispatcher::with_default(&self.dispatch, f)
    }

    /// What was logged, taken out.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Listener {
    lines: Arc<Mutex<Vec<String>>>,
    next: Dispatch,
}

/// The text of an event: its message, then its fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

impl Subscriber for Listener {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR || self.next.enabled(metadata)
    }

    fn event(&self, event: &Event<'_>) {
        if *event.metadata().level() == Level::ERROR {
            let mut text = Text::default();
            event.record(&mut text);
            let line = format!("{}{}", text.message, text.fields);
            self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
        if self.next.enabled(event.metadata()) {
            self.next.event(event);
        }
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.next.new_span(span)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.next.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.next.record_follows_from(span, follows);
    }

    fn enter(&self, span: &Id) {
        self.next.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.next.exit(span);
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.next.clone_span(span)
    }

    fn try_close(&self, span: Id) -> bool {
        self.next.try_close(span)
    }
}
