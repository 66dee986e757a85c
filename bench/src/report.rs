//! The results: a series of slices per server, a Markdown table per scenario, and the same as JSON.
//!
//! Medians everywhere; a ratio is taken within each round first, so that both of its sides saw the same machine.

use serde_json::{Value, json};

use crate::account::Spent;

/// All slices of one server.
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

    /// This one's CPU time over the base's, round by round.
    fn ratios(&self, base: &Series) -> Vec<f64> {
        self.cpu_us.iter().zip(&base.cpu_us).map(|(own, base)| own / base).collect()
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
}

impl Section {
    pub(crate) fn new(name: &'static str, title: String, note: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Section { name, title, note: note.to_owned(), columns, rows: Vec::new(), values: Vec::new() }
    }

    /// The table of CPU time per `unit`, with ratios to the series named `base`.
    pub(crate) fn of_series(
        name: &'static str,
        title: &str,
        unit: &str,
        base: &str,
        series: &[Series],
    ) -> Self {
        let note = format!(
            "CPU time of the server's process, median of {} slices; the ratio is the median of the rounds' ratios, with the \
             lowest and the highest.",
            series.first().map_or(0, |one| one.cpu_us.len())
        );
        let cpu = format!("CPU us/{unit}");
        let (ratio, rate) = (format!("ratio to {base}"), format!("{unit}/s"));
        let columns = [
            "server",
            cpu.as_str(),
            "user us",
            "system us",
            "user share",
            ratio.as_str(),
            "range",
            rate.as_str(),
        ];
        let mut section = Section::new(name, title.to_owned(), &note, &columns);
        let base = series.iter().find(|one| one.name == base);
        for one in series {
            section.add_series(one, base);
        }
        section
    }

    fn add_series(&mut self, one: &Series, base: Option<&Series>) {
        let (cpu, user) = (median(&one.cpu_us), median(&one.user_share));
        let ratios = base.map(|base| one.ratios(base)).unwrap_or_default();
        let (ratio, range) =
            match (ratios.iter().copied().reduce(f64::min), ratios.iter().copied().reduce(f64::max)) {
                (Some(low), Some(high)) => {
                    (number(median(&ratios), 2), format!("{}–{}", number(low, 2), number(high, 2)))
                }
                _ => ("–".to_owned(), "–".to_owned()),
            };
        let cells = [
            one.name.clone(),
            number(cpu, 3),
            number(cpu * user, 3),
            number(cpu * (1.0 - user), 3),
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

    /// The rows of another of the same shape, behind this one's.
    pub(crate) fn append(&mut self, other: Section) {
        self.rows.extend(other.rows);
        self.values.extend(other.values);
    }

    /// A heading and a table; the first column is text, the others are figures.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = format!("|---|{}\n", "---:|".repeat(self.columns.len() - 1));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("\n## {}\n\n{}\n\n{}{rule}{rows}", self.title, self.note, line(&self.columns))
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "scenario": self.name, "title": self.title, "servers": self.values })
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
fn median(values: &[f64]) -> f64 {
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
        let table = Section::of_series("hello", "hello", "request", "mio", &[base, own]).markdown();
        assert!(table.contains("| x | 2.000 | 0.500 | 1.500 | 25 % | 2.00 | 2.00–2.00 | 1,000 |"), "{table}");
    }

    #[test]
    fn without_the_base_there_is_no_ratio() {
        let section = Section::of_series("hello", "hello", "request", "mio", &[series("x", &[1.0])]);
        assert!(section.markdown().contains("| – | – |"));
        assert!(section.json()["servers"][0]["ratio"].is_null());
    }

    #[test]
    fn thousands_are_grouped() {
        let grouped = [(0.5, 0), (12.0, 1), (1234.5, 1), (1_234_567.0, 0)]
            .map(|(value, decimals)| number(value, decimals));
        assert_eq!(grouped, ["0", "12.0", "1,234.5", "1,234,567"]);
    }
}
