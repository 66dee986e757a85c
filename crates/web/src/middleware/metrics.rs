//! Figures of requests, by route, method and class of status, and the page that Prometheus reads. It is an observer of the access
//! log and not a middleware: so it costs a request no allocation, and sees those that no handler saw.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::access::{AccessObserver, AccessRecord};
use crate::response::Response;
use crate::router::{Handler, handler};

/// The upper ends of the buckets, in microseconds: from a handler that has its answer ready to one that people wait for.
const BOUNDS_US: [u64; 13] =
    [100, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000];

/// Routes that are counted apart; a program has hundreds at most.
const ROUTES_MAX: usize = 1_000;

/// Counts requests and measures how long they take: from the end of the head to the end of the answer. Clones are one; it may be
/// shared by all workers.
///
/// A route is the path as it was given to the router (`/user/{id}`), and what no route took is `none`; methods that are not known are
/// `other`. So what clients send does not make it grow.
///
/// ```
/// use std::rc::Rc;
/// use ropewalk_web::{Metrics, Router, Site};
/// let metrics = Metrics::new();
/// let router = Router::new().get("/", |_| "Hello, World!").route("GET", "/metrics", metrics.page());
/// let site = Site::new(router).observe(Rc::new(metrics));
/// # drop(site);
/// ```
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    routes: BTreeMap<Box<str>, BTreeMap<Label, Series>>,
}

/// A method, and a class of status: 2 for 2xx.
type Label = (&'static str, u16);

#[derive(Default)]
struct Series {
    /// How many took no longer than each bound, and longer than the one before.
    buckets: [u64; BOUNDS_US.len()],
    count: u64,
    took: Duration,
    bytes: u64,
}

impl Metrics {
    /// None yet.
    #[must_use]
    pub fn new() -> Metrics {
        Metrics::default()
    }

    /// A handler that shows them in Prometheus' text format, version 0.0.4. It tells strangers what a site does: it belongs to an
    /// address of its own, or behind a secret.
    #[must_use]
    pub fn page(&self) -> impl Handler + use<> {
        let metrics = self.clone();
        handler(move |_| {
            Response::new(metrics.text())
                .content_type("text/plain; version=0.0.4; charset=utf-8")
                .header("Cache-Control", "no-store")
        })
    }

    /// The same as a text.
    #[must_use]
    pub fn text(&self) -> String {
        // A figure that is half written is still a figure.
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        table.counter(&mut text, "http_requests_total", "Requests that are over.", |series| series.count);
        table.counter(&mut text, "http_response_body_bytes_total", "Bytes of their answers.", |series| {
            series.bytes
        });
        table.histogram(&mut text);
        text
    }
}

impl AccessObserver for Metrics {
    fn request_finished(&self, record: &AccessRecord<'_>) {
        let label = (method(record.head.method()), record.status / 100);
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.series(record.route().unwrap_or("none"), label).add(record.took, record.bytes);
    }
}

impl Table {
    fn series(&mut self, route: &str, label: Label) -> &mut Series {
        let room = self.routes.len() < ROUTES_MAX || self.routes.contains_key(route);
        let route = if room { route } else { "other" };
        if !self.routes.contains_key(route) {
            self.routes.insert(route.into(), BTreeMap::new());
        }
        let routes = self.routes.get_mut(route).expect("it was put there if it was not there");
        routes.entry(label).or_default()
    }

    fn all(&self) -> impl Iterator<Item = (String, &Series)> {
        self.routes.iter().flat_map(|(route, series)| {
            series.iter().map(move |((method, class), series)| {
                (format!("route=\"{}\",method=\"{method}\",status=\"{class}xx\"", escaped(route)), series)
            })
        })
    }

    fn counter(&self, text: &mut String, name: &str, help: &str, figure: impl Fn(&Series) -> u64) {
        head(text, name, help, "counter");
        for (labels, series) in self.all() {
            line(text, name, &labels, &figure(series).to_string());
        }
    }

    fn histogram(&self, text: &mut String) {
        const NAME: &str = "http_request_duration_seconds";
        head(text, NAME, "From the end of the head to the end of the answer.", "histogram");
        let bucket = format!("{NAME}_bucket");
        for (labels, series) in self.all() {
            let mut sum = 0;
            for (count, bound) in series.buckets.iter().zip(BOUNDS_US) {
                sum += count;
                let seconds = Duration::from_micros(bound).as_secs_f64();
                line(text, &bucket, &format!("{labels},le=\"{seconds}\""), &sum.to_string());
            }
            line(text, &bucket, &format!("{labels},le=\"+Inf\""), &series.count.to_string());
            line(text, &format!("{NAME}_sum"), &labels, &series.took.as_secs_f64().to_string());
            line(text, &format!("{NAME}_count"), &labels, &series.count.to_string());
        }
    }
}

impl Series {
    fn add(&mut self, took: Duration, bytes: u64) {
        let bucket = BOUNDS_US.iter().position(|bound| took <= Duration::from_micros(*bound));
        if let Some(bucket) = bucket {
            self.buckets[bucket] += 1;
        }
        self.count += 1;
        self.took += took;
        self.bytes += bytes;
    }
}

/// A method by a name that the program knows.
fn method(sent: &str) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == sent).unwrap_or("other")
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &str, value: &str) {
    let _ = writeln!(text, "{name}{{{labels}}} {value}");
}

/// A label's value between its quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_beyond_the_bound_are_one() {
        let mut table = Table::default();
        for number in 0..2 * ROUTES_MAX {
            table.series(&format!("/{number}"), ("GET", 2)).add(Duration::ZERO, 0);
        }
        assert_eq!(table.routes.len(), ROUTES_MAX + 1);
        assert_eq!(table.series("other", ("GET", 2)).count, ROUTES_MAX as u64);
    }

    #[test]
    fn a_label_cannot_end_its_quote() {
        assert_eq!(escaped("/a\"b\\c\nd"), r#"/a\"b\\c\nd"#);
    }
}
