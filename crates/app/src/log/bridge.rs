//! From the ecosystem's logs to the publisher: a layer for `tracing`, and a logger of our own for the `log` crate (`tracing-log` would
//! make a `tracing` event of each record under the target `log`, with the real target as a field, to be sorted out again here).
//!
//! There is no global publisher beside `tracing`'s dispatcher: who logs asks the dispatcher of this thread for the layer, so that a
//! test's capture holds for [`msg`](super::msg), too.

use std::fmt;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use super::event::{Event, Fields, Span, Words};
use super::level::Level;
use super::publisher::Publisher;

/// A layer that hands `tracing`'s events to a publisher, for a subscriber of one's own.
///
/// ```
/// use ropewalk_app::log::{Bridge, Publisher};
/// use tracing_subscriber::layer::SubscriberExt;
/// let publisher = Publisher::default();
/// let subscriber = tracing_subscriber::registry().with(Bridge::new(publisher.clone()));
/// tracing::subscriber::with_default(subscriber, || tracing::info!(target: "shop", "open"));
/// assert_eq!(publisher.statistics().events[2], 1);
/// ```
pub struct Bridge(Publisher);

impl Bridge {
    /// Hands events to this publisher.
    #[must_use]
    pub fn new(publisher: Publisher) -> Bridge {
        Bridge(publisher)
    }

    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        self.0.allows(metadata.target(), (*metadata.level()).into())
    }
}

/// A dispatcher that leads to a publisher.
pub(super) fn dispatch(publisher: &Publisher) -> Dispatch {
    Dispatch::new(tracing_subscriber::registry().with(Bridge::new(publisher.clone())))
}

/// The publisher that this thread logs to.
pub(super) fn current() -> Option<Publisher> {
    tracing::dispatcher::get_default(|dispatch| {
        dispatch.downcast_ref::<Bridge>().map(|bridge| bridge.0.clone())
    })
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Bridge {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Levels that are set later have all places asked again.
        if self.wants(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        use tracing::level_filters::LevelFilter;
        Some(match self.0.levels().least() {
            None => LevelFilter::OFF,
            Some(Level::Trace) => LevelFilter::TRACE,
            Some(Level::Debug) => LevelFilter::DEBUG,
            Some(Level::Info) => LevelFilter::INFO,
            Some(Level::Warn) => LevelFilter::WARN,
            Some(Level::Error | Level::Critical) => LevelFilter::ERROR,
        })
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut taken = Taken::default();
            attributes.record(&mut taken);
            span.extensions_mut().insert(taken.fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            let mut taken = Taken { fields: std::mem::take(fields), message: None };
            values.record(&mut taken);
            *fields = taken.fields;
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut taken = Taken::default();
        event.record(&mut taken);
        let words = Words::Plain(taken.message.unwrap_or_default().into());
        let mut made = Event::of((*metadata.level()).into(), metadata.target().into(), words);
        made.fields = taken.fields;
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            let fields = span.extensions().get::<Fields>().cloned().unwrap_or_default();
            made.spans.push(Span { name: span.name().into(), fields });
        }
        self.0.tell_all(made);
    }
}

/// The fields of an event or a span.
#[derive(Default)]
struct Taken {
    fields: Fields,
    message: Option<String>,
}

impl Visit for Taken {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = Some(format!("{value:?}"));
        } else {
            self.fields.set(field.name(), format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = Some(value.to_owned());
        } else {
            self.fields.set(field.name(), value.to_owned());
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.set(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.set(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.set(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.fields.set(field.name(), value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            text.push_str(", because ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        self.fields.set(field.name(), text);
    }
}

/// Takes over the `log` crate, if nobody else has: its records go to the publisher of their thread.
pub(super) fn take_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A program that has a logger of its own keeps it.
        if ::log::set_logger(&Records).is_ok() {
            ::log::set_max_level(::log::LevelFilter::Trace);
        }
    });
}

/// The logger of the `log` crate.
struct Records;

impl ::log::Log for Records {
    fn enabled(&self, metadata: &::log::Metadata<'_>) -> bool {
        current().is_some_and(|publisher| publisher.allows(metadata.target(), level(metadata.level())))
    }

    fn log(&self, record: &::log::Record<'_>) {
        let Some(publisher) = current() else { return };
        if publisher.allows(record.target(), level(record.level())) {
            let words = Words::Plain(record.args().to_string().into());
            publisher.tell_all(Event::of(level(record.level()), record.target().to_owned().into(), words));
        }
    }

    fn flush(&self) {}
}

fn level(level: ::log::Level) -> Level {
    match level {
        ::log::Level::Trace => Level::Trace,
        ::log::Level::Debug => Level::Debug,
        ::log::Level::Info => Level::Info,
        ::log::Level::Warn => Level::Warn,
        ::log::Level::Error => Level::Error,
    }
}
