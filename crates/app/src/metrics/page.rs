//! A page of figures in Prometheus' text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>): families of one name, kind and help, each with its samples
//! together, whatever order they came in.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// What a family of figures is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows; its name ends in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How many were no larger than each of some bounds.
    Histogram,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        })
    }
}

/// A page in the making: what a source of figures writes to.
///
/// ```
/// use ropewalk_app::metrics::Page;
/// let mut page = Page::default();
/// page.gauge("kettle_temperature_celsius", "How hot it is.", &[("kettle", "the \"red\" one")], 96.5);
/// assert!(page.text().ends_with("kettle_temperature_celsius{kettle=\"the \\\"red\\\" one\"} 96.5\n"));
/// ```
#[derive(Default)]
pub struct Page {
    families: BTreeMap<String, Family>,
    raw: String,
}

struct Family {
    kind: Kind,
    help: String,
    samples: String,
}

impl Page {
    /// A figure that only grows. Its name ends in `_total`; if it does not, that is put behind it.
    pub fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        let name = if name.ends_with("_total") { name.to_owned() } else { format!("{name}_total") };
        self.add(&name, Kind::Counter, help, labels, value);
    }

    /// A figure that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.add(name, Kind::Gauge, help, labels, value);
    }

    /// How values are spread: for each upper bound, in order, how many were no larger than it and larger than the one before; their
    /// sum, and how many there were in all.
    pub fn histogram(
        &mut self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        buckets: &[(f64, u64)],
        (sum, count): (f64, u64),
    ) {
        let name = &safe_name(name, true);
        let Some(samples) = self.family(name, Kind::Histogram, help) else { return };
        let mut below = 0;
        for (bound, more) in buckets {
            below += more;
            let bound = number(*bound);
            let labels: Vec<_> = labels.iter().copied().chain([("le", &*bound)]).collect();
            sample(samples, &format!("{name}_bucket"), &labels, below as f64);
        }
        let all: Vec<_> = labels.iter().copied().chain([("le", "+Inf")]).collect();
        sample(samples, &format!("{name}_bucket"), &all, count as f64);
        sample(samples, &format!("{name}_sum"), labels, sum);
        sample(samples, &format!("{name}_count"), labels, count as f64);
    }

    /// Families that are a text of this format already, each with its line break. None of them may be here in another way.
    pub fn raw(&mut self, text: &str) {
        self.raw.push_str(text);
    }

    fn add(&mut self, name: &str, kind: Kind, help: &str, labels: &[(&str, &str)], value: f64) {
        let name = safe_name(name, true);
        if let Some(samples) = self.family(&name, kind, help) {
            sample(samples, &name, labels, value);
        }
    }

    /// A name is of one kind: what comes under it as another one is left out, for the whole page would be refused.
    fn family(&mut self, name: &str, kind: Kind, help: &str) -> Option<&mut String> {
        let new =
            || Family { kind, help: help.replace('\\', "\\\\").replace('\n', "\\n"), samples: String::new() };
        let family = self.families.entry(name.to_owned()).or_insert_with(new);
        (family.kind == kind).then_some(&mut family.samples)
    }

    /// The page.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, Family { kind, help, samples }) in &self.families {
            // A string takes everything.
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{samples}");
        }
        text.push_str(&self.raw);
        text
    }
}

fn sample(text: &mut String, name: &str, labels: &[(&str, &str)], value: f64) {
    text.push_str(name);
    for (index, (label, value)) in labels.iter().enumerate() {
        let before = if index == 0 { '{' } else { ',' };
        // A string takes everything.
        let _ = write!(text, "{before}{}=\"{}\"", safe_name(label, false), escaped(value));
    }
    let end = if labels.is_empty() { "" } else { "}" };
    let _ = writeln!(text, "{end} {}", number(value));
}

/// A label's value between its quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    value.to_string()
}

/// Whether something may be a name: of a family, with colons, or of a label.
pub(super) fn is_name(name: &str, colons: bool) -> bool {
    let fits = |(index, byte): (usize, u8)| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'_' => true,
        b'0'..=b'9' => index > 0,
        b':' => colons,
        _ => false,
    };
    !name.is_empty() && name.bytes().enumerate().all(fits)
}

/// The name, with `_` for what may not be in one.
fn safe_name(name: &str, colons: bool) -> String {
    if is_name(name, colons) {
        return name.to_owned();
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    let name: String = name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    if is_name(&name, colons) { name } else { format!("_{name}") }
}
