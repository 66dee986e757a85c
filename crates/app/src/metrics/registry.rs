//! Figures of the program's own: counters, gauges and histograms that any thread may change, each a few atomic words.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::page::{Kind, Page, is_name};

/// Series of one name that are counted apart; what comes under new labels after them is one series whose labels say `other`.
const SERIES_MAX: usize = 1_000;

/// Figures by name and labels. Clones are one; who asks for a figure again gets the same one.
///
/// ```
/// use ropewalk_app::metrics::Registry;
/// let registry = Registry::new();
/// let open = registry.gauge("shop_doors_open", "Doors that are open.", &[]).unwrap();
/// open.add(2.0);
/// let took = registry.histogram("shop_sale_duration_seconds", "How long sales take.", &[], &[1.0, 10.0]).unwrap();
/// took.observe(3.5);
/// assert!(registry.counter("shop_doors_open", "It is a gauge already.", &[]).is_err());
/// ```
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<BTreeMap<String, Family>>>);

struct Family {
    kind: Kind,
    help: String,
    series: BTreeMap<Labels, Series>,
}

type Labels = Vec<(String, String)>;

#[derive(Clone)]
enum Series {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

/// Why there is no such figure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricError {
    /// Letters, digits, `_` and, in names of figures, `:`; no digit first. A counter's name ends in `_total`, and `le` is no label.
    Name(String),
    /// It is a figure of another kind already, or a histogram with other bounds.
    Taken(String),
    /// Bounds rise, and are finite.
    Bounds,
}

impl fmt::Display for MetricError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetricError::Name(name) => write!(f, "{name:?} cannot be the name of a figure or a label"),
            MetricError::Taken(name) => write!(f, "{name} is a figure of another kind already"),
            MetricError::Bounds => f.write_str("the bounds of a histogram have to rise, and be finite"),
        }
    }
}

impl std::error::Error for MetricError {}

/// A figure that only grows. Clones are one.
#[derive(Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many there are.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A figure that goes up and down. Clones are one.
#[derive(Clone, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// It is this now.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// So much more, or less.
    pub fn add(&self, more: f64) {
        add(&self.0, more);
    }

    /// What it is.
    #[must_use]
    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// How values are spread. Clones are one.
#[derive(Clone)]
pub struct Histogram(Arc<Spread>);

struct Spread {
    bounds: Box<[f64]>,
    /// One more than bounds: the last is for what is beyond them.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    fn new(bounds: &[f64]) -> Histogram {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram(Arc::new(Spread { bounds: bounds.into(), counts, sum: AtomicU64::default() }))
    }

    /// Counts a value. What is not a number is none.
    pub fn observe(&self, value: f64) {
        let Spread { bounds, counts, sum } = &*self.0;
        if !value.is_nan() {
            let bucket = bounds.partition_point(|bound| *bound < value);
            counts[bucket].fetch_add(1, Ordering::Relaxed);
            add(sum, value);
        }
    }

    fn show(&self, page: &mut Page, name: &str, help: &str, labels: &[(&str, &str)]) {
        let Spread { bounds, counts, sum } = &*self.0;
        let counts: Vec<_> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let buckets: Vec<_> = bounds.iter().copied().zip(counts.iter().copied()).collect();
        let sum = f64::from_bits(sum.load(Ordering::Relaxed));
        page.histogram(name, help, labels, &buckets, (sum, counts.iter().sum()));
    }
}

fn add(bits: &AtomicU64, more: f64) {
    let sum = |bits| Some((f64::from_bits(bits) + more).to_bits());
    // It fails only where the function gives none.
    let _ = bits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
}

impl Registry {
    /// No figures yet.
    #[must_use]
    pub fn new() -> Registry {
        Registry::default()
    }

    /// A counter.
    ///
    /// # Errors
    /// The name cannot be one, or is taken.
    pub fn counter(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Result<Counter, MetricError> {
        if !name.ends_with("_total") {
            return Err(MetricError::Name(name.to_owned()));
        }
        match self.series(name, Kind::Counter, help, labels, || Series::Counter(Counter::default()))? {
            Series::Counter(counter) => Ok(counter),
            _ => Err(MetricError::Taken(name.to_owned())),
        }
    }

    /// A gauge, 0 at first.
    ///
    /// # Errors
    /// The name cannot be one, or is taken.
    pub fn gauge(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Result<Gauge, MetricError> {
        match self.series(name, Kind::Gauge, help, labels, || Series::Gauge(Gauge::default()))? {
            Series::Gauge(gauge) => Ok(gauge),
            _ => Err(MetricError::Taken(name.to_owned())),
        }
    }

    /// A histogram with these upper bounds; what is beyond the last one is counted, too.
    ///
    /// # Errors
    /// The name cannot be one, or is taken; the bounds do not rise.
    pub fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        bounds: &[f64],
    ) -> Result<Histogram, MetricError> {
        if !bounds.iter().all(|bound| bound.is_finite()) || !bounds.is_sorted_by(|one, next| one < next) {
            return Err(MetricError::Bounds);
        }
        match self
            .series(name, Kind::Histogram, help, labels, || Series::Histogram(Histogram::new(bounds)))?
        {
            Series::Histogram(histogram) if *histogram.0.bounds == *bounds => Ok(histogram),
            _ => Err(MetricError::Taken(name.to_owned())),
        }
    }

    fn series(
        &self,
        name: &str,
        kind: Kind,
        help: &str,
        labels: &[(&str, &str)],
        make: impl FnOnce() -> Series,
    ) -> Result<Series, MetricError> {
        if !is_name(name, true) {
            return Err(MetricError::Name(name.to_owned()));
        }
        if let Some((label, _)) = labels.iter().find(|(label, _)| !is_name(label, false) || *label == "le") {
            return Err(MetricError::Name((*label).to_owned()));
        }
        let mut families = self.lock();
        let new = || Family { kind, help: help.to_owned(), series: BTreeMap::new() };
        let family = families.entry(name.to_owned()).or_insert_with(new);
        if family.kind != kind {
            return Err(MetricError::Taken(name.to_owned()));
        }
        let mut labels: Labels =
            labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        labels.sort();
        if family.series.len() >= SERIES_MAX && !family.series.contains_key(&labels) {
            // What somebody sends may have become a label: that is not to fill the memory.
            labels.iter_mut().for_each(|(_, value)| *value = "other".to_owned());
        }
        Ok(family.series.entry(labels).or_insert_with(make).clone())
    }

    /// Puts all figures on a page.
    pub(super) fn show(&self, page: &mut Page) {
        for (name, family) in &*self.lock() {
            for (labels, series) in &family.series {
                let labels: Vec<_> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
                match series {
                    Series::Counter(counter) => {
                        page.counter(name, &family.help, &labels, counter.value() as f64)
                    }
                    Series::Gauge(gauge) => page.gauge(name, &family.help, &labels, gauge.value()),
                    Series::Histogram(histogram) => histogram.show(page, name, &family.help, &labels),
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Family>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
