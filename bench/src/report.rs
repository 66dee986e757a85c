//! The results: a series of slices per server, a Markdown table per scenario, and the same as JSON.
//!
//! Medians everywhere; a ratio is taken within each round first, so that both of its sides saw the same machine.

use serde_json::{Value, json};

use crate::account::Spent;

/// All slices of one contestant.
#[derive(Clone)]
pub(crate) struct Series {
    name: String,
    cpu_us: Vec<f64>,
    user_share: Vec<f64>,
    per_second: Vec<f64>,
}

impl Series {
    pub(crate) fn new(name: String) -> Self {
        Series { name, cpu_us: Vec::new(), user_share: Vec::new(), per_second: Vec::new() }
    }

    /// One slice: so much CPU time for so many requests (or deliveries).
    pub(crate) fn add(&mut self, spent: Spent, done: f64, per_second: f64) {
        self.cpu_us.push(spent.cpu_us / done);
        self.user_share.push(spent.user_share);
        self.per_second.push(per_second);
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn renamed(self, name: String) -> Series {
        Series { name, ..self }
    }

    /// CPU time of each in microseconds, and how many a second: the medians.
    pub(crate) fn medians(&self) -> (f64, f64) {
        (median(&self.cpu_us), median(&self.per_second))
    }

    /// The median of the rounds' ratios to the base.
    pub(crate) fn ratio(&self, base: &Series) -> Option<f64> {
        let ratios = self.ratios(base);
        (!ratios.is_empty()).then(|| median(&ratios))
    }

    /// How many a second over the base's, round by round.
    pub(crate) fn rates(&self, base: &Series) -> Vec<f64> {
        self.per_second.iter().zip(&base.per_second).map(|(own, base)| own / base).collect()
    }

    /// This one's CPU time over the base's, round by round.
    fn ratios(&self, base: &Series) -> Vec<f64> {
        self.cpu_us.iter().zip(&base.cpu_us).map(|(own, base)| own / base).collect()
    }
}

/// What CPU time is divided by, and in what it is shown.
#[derive(Clone, Copy)]
pub(crate) struct Unit<'a> {
    name: &'a str,
    suffix: &'a str,
    per_us: f64,
    decimals: usize,
}

impl<'a> Unit<'a> {
    /// In microseconds per this.
    pub(crate) const fn micro(name: &'a str) -> Self {
        Unit { name, suffix: "us", per_us: 1.0, decimals: 3 }
    }

    /// In nanoseconds per this.
    pub(crate) const fn nano(name: &'a str) -> Self {
        Unit { name, suffix: "ns", per_us: 1e3, decimals: 1 }
    }
}

/// What one scenario has found.
pub(crate) struct Section {
    name: &'static str,
    title: String,
    note: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    values: Vec<Value>,
    bounds: Vec<Bound>,
}

/// What a figure is to stay at or below; or at or above.
struct Bound {
    what: String,
    found: f64,
    limit: f64,
    least: bool,
}

impl Section {
    pub(crate) fn new(name: &'static str, title: String, note: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Section {
            name,
            title,
            note: note.to_owned(),
            columns,
            rows: Vec::new(),
            values: Vec::new(),
            bounds: Vec::new(),
        }
    }

    /// The table of CPU time per `unit`, with ratios to the series named `base`.
    pub(crate) fn of_series(
        name: &'static str,
        title: &str,
        unit: Unit<'_>,
        base: &str,
        series: &[Series],
    ) -> Self {
        let note = format!(
            "CPU time of the process, median of {} slices; the ratio is the median of the rounds' ratios, with the \
             lowest and the highest.",
            series.first().map_or(0, |one| one.cpu_us.len())
        );
        let Unit { name: one, suffix, .. } = unit;
        let (cpu, user, system) =
            (format!("CPU {suffix}/{one}"), format!("user {suffix}"), format!("system {suffix}"));
        let (ratio, rate) = (format!("ratio to {base}"), format!("{one}/s"));
        let columns = ["contestant", &cpu, &user, &system, "user share", &ratio, "range", &rate];
        let mut section = Section::new(name, title.to_owned(), &note, &columns);
        let base = series.iter().find(|one| one.name == base);
        for one in series {
            section.add_series(one, base, unit);
        }
        section
    }

    fn add_series(&mut self, one: &Series, base: Option<&Series>, unit: Unit<'_>) {
        let (cpu, user) = (median(&one.cpu_us), median(&one.user_share));
        let ratios = base.map(|base| one.ratios(base)).unwrap_or_default();
        let (ratio, range) =
            match (ratios.iter().copied().reduce(f64::min), ratios.iter().copied().reduce(f64::max)) {
                (Some(low), Some(high)) => {
                    (number(median(&ratios), 2), format!("{}–{}", number(low, 2), number(high, 2)))
                }
                _ => ("–".to_owned(), "–".to_owned()),
            };
        let time = |us: f64| number(us * unit.per_us, unit.decimals);
        let cells = [
            one.name.clone(),
            time(cpu),
            time(cpu * user),
            time(cpu * (1.0 - user)),
            format!("{} %", number(user * 100.0, 0)),
            ratio,
            range,
            number(median(&one.per_second), 0),
        ];
        let value = json!({
            "server": one.name,
            "cpu_us": cpu,
            "user_share": user,
            "ratio": (!ratios.is_empty()).then(|| median(&ratios)),
            "per_second": median(&one.per_second),
            "slices": { "cpu_us": one.cpu_us, "user_share": one.user_share, "per_second": one.per_second, "ratio": ratios },
        });
        self.row(cells.to_vec(), value);
    }

    pub(crate) fn row(&mut self, cells: Vec<String>, value: Value) {
        self.rows.push(cells);
        self.values.push(value);
    }

    /// What else has to be known to read the figures.
    pub(crate) fn remark(&mut self, remark: &str) {
        self.note = format!("{} {remark}", self.note);
    }

    /// Another name for what ratios are to, where groups of rows have bases of their own.
    pub(crate) fn call_base(&mut self, base: &str) {
        let column = self.columns.iter_mut().find(|column| column.starts_with("ratio to "));
        column.into_iter().for_each(|column| *column = format!("ratio to {base}"));
    }

    /// The rows of another of the same shape, behind this one's.
    pub(crate) fn append(&mut self, other: Section) {
        self.rows.extend(other.rows);
        self.values.extend(other.values);
        self.bounds.extend(other.bounds);
    }

    /// One more figure for every row that has one.
    pub(crate) fn column(&mut self, title: &str, key: &str, decimals: usize, figures: &[Option<f64>]) {
        self.columns.push(title.to_owned());
        for ((row, value), figure) in self.rows.iter_mut().zip(&mut self.values).zip(figures) {
            row.push(figure.map_or_else(|| "–".to_owned(), |figure| number(figure, decimals)));
            value[key] = json!(figure);
        }
    }

    /// Says under the table whether what was found stays within its limit; nothing, if nothing was found.
    pub(crate) fn bound(&mut self, what: &str, found: Option<f64>, limit: f64) {
        self.bounds.extend(found.map(|found| Bound { what: what.to_owned(), found, limit, least: false }));
    }

    /// The same for a limit below which it must not be.
    pub(crate) fn at_least(&mut self, what: &str, found: Option<f64>, limit: f64) {
        self.bounds.extend(found.map(|found| Bound { what: what.to_owned(), found, limit, least: true }));
    }

    /// The median of several figures, with the lowest and the highest, for every row that has some.
    pub(crate) fn spread(&mut self, title: &str, key: &str, decimals: usize, figures: &[Vec<f64>]) {
        self.columns.push(title.to_owned());
        for ((row, value), figures) in self.rows.iter_mut().zip(&mut self.values).zip(figures) {
            let edges =
                figures.iter().copied().reduce(f64::min).zip(figures.iter().copied().reduce(f64::max));
            row.push(edges.map_or_else(
                || "–".to_owned(),
                |(low, high)| {
                    let [middle, low, high] = [median(figures), low, high].map(|one| number(one, decimals));
                    format!("{middle} ({low}–{high})")
                },
            ));
            value[key] = json!(edges.map(|(low, high)| json!([median(figures), low, high])));
        }
    }

    /// A heading and a table; the first column is text, the others are figures.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = format!("|---|{}\n", "---:|".repeat(self.columns.len() - 1));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        let bounds: String = self.bounds.iter().map(Bound::line).collect();
        format!("\n## {}\n\n{}\n\n{}{rule}{rows}{bounds}", self.title, self.note, line(&self.columns))
    }

    pub(crate) fn json(&self) -> Value {
        let bounds: Vec<Value> = self.bounds.iter().map(Bound::json).collect();
        json!({ "scenario": self.name, "title": self.title, "servers": self.values, "bounds": bounds })
    }
}

impl Bound {
    fn met(&self) -> bool {
        if self.least { self.found >= self.limit } else { self.found <= self.limit }
    }

    fn line(&self) -> String {
        let Bound { what, found, limit, least } = self;
        let side = if *least { "at least" } else { "at most" };
        let met = if self.met() { "met" } else { "not met" };
        format!("\nBound: {what}: {side} {}, found {}: {met}\n", number(*limit, 2), number(*found, 2))
    }

    fn json(&self) -> Value {
        json!({ "what": self.what, "found": self.found, "limit": self.limit, "least": self.least, "met": self.met() })
    }
}

/// With so many decimals, and commas between the thousands.
pub(crate) fn number(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + fraction
}

/// The middle one, or the mean of the two in the middle; 0 of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        length if length.is_multiple_of(2) => (sorted[middle - 1] + sorted[middle]) / 2.0,
        _ => sorted[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, cpu_us: &[f64]) -> Series {
        let mut series = Series::new(name.to_owned());
        for cpu_us in cpu_us {
            series.add(Spent { cpu_us: *cpu_us, user_share: 0.25 }, 1.0, 1000.0);
        }
        series
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn ratios_are_paired_by_round() {
        // 1. The machine is half as fast in the second round. 2. The medians' ratio would be 1.5; every round says 2.
        let (base, own) = (series("mio", &[1.0, 2.0, 1.0]), series("x", &[2.0, 4.0, 2.0]));
        assert_eq!(own.ratios(&base), [2.0, 2.0, 2.0]);
        let table =
            Section::of_series("hello", "hello", Unit::micro("request"), "mio", &[base, own]).markdown();
        assert!(table.contains("| x | 2.000 | 0.500 | 1.500 | 25 % | 2.00 | 2.00–2.00 | 1,000 |"), "{table}");
    }

    #[test]
    fn without_the_base_there_is_no_ratio() {
        let section =
            Section::of_series("hello", "hello", Unit::micro("request"), "mio", &[series("x", &[1.0])]);
        assert!(section.markdown().contains("| – | – |"));
        assert!(section.json()["servers"][0]["ratio"].is_null());
    }

    #[test]
    fn bounds_are_met_or_not() {
        let (base, own) = (series("x", &[2.0]), series("y", &[1.0]));
        let ratio = own.ratio(&base);
        let mut section = Section::of_series("hello", "hello", Unit::nano("timer"), "x", &[base, own]);
        section.column("bytes", "bytes", 0, &[Some(96.0), None]);
        section.bound("y over x", ratio, 0.5);
        section.bound("y over x", ratio, 0.3);
        section.bound("y over z", None, 0.3);
        let text = section.markdown();
        assert!(
            text.contains("| x | 2,000.0 | 500.0 | 1,500.0 | 25 % | 1.00 | 1.00–1.00 | 1,000 | 96 |"),
            "{text}"
        );
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("Bound")).collect();
        assert_eq!(
            lines,
            [
                "Bound: y over x: at most 0.50, found 0.50: met",
                "Bound: y over x: at most 0.30, found 0.50: not met"
            ]
        );
        assert_eq!(section.json()["bounds"][1]["met"], false);
        assert!(section.json()["servers"][1]["bytes"].is_null());
    }

    #[test]
    fn a_spread_has_its_edges() {
        let (base, own) = (series("x", &[1.0; 3]), series("y", &[1.0; 3]));
        assert_eq!(own.rates(&base), [1.0; 3]);
        let mut section = Section::of_series("push", "push", Unit::micro("delivery"), "x", &[base, own]);
        section.spread("rate", "rate", 1, &[vec![], vec![1.0, 4.0, 2.0]]);
        section.at_least("the rate", Some(2.0), 2.0);
        section.at_least("the rate", Some(1.9), 2.0);
        let text = section.markdown();
        assert!(text.contains("| 1,000 | – |") && text.contains("| 1,000 | 2.0 (1.0–4.0) |"), "{text}");
        assert!(
            text.contains("at least 2.00, found 2.00: met") && text.contains("found 1.90: not met"),
            "{text}"
        );
        assert_eq!(section.json()["servers"][1]["rate"], json!([2.0, 1.0, 4.0]));
    }

    #[test]
    fn thousands_are_grouped() {
        let grouped = [(0.5, 0), (12.0, 1), (1234.5, 1), (1_234_567.0, 0)]
            .map(|(value, decimals)| number(value, decimals));
        assert_eq!(grouped, ["0", "12.0", "1,234.5", "1,234,567"]);
    }
}
