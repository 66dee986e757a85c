//! How late the loop is while its handlers wait for a database: every request is a query that takes a thread of the pool for about a
//! millisecond, and a timer of 10 ms says when it really came.
//!
//! The server's loop and its pool are on one core, which the queries alone fill: the loop has to get its turn among ten threads that
//! compute. Latenesses of all slices are taken together, so that the 99th percentile is one of many ticks.

use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::json;

use super::{chosen, progress};
use crate::SuiteArgs;
use crate::child::Child;
use crate::client;
use crate::library::pool::THREADS;
use crate::report::{Section, Series, number};
use crate::servers::Server;
use crate::servers::database::{self, INTERVAL, ROWS};
use crate::wrk::{Style, Wrk};

const WARM_UP_SECONDS: u64 = 1;

/// Milliseconds that a hundredth of the ticks may exceed.
const LIMIT_MS: f64 = 20.0;

struct Contestant {
    name: &'static str,
    child: Child,
    series: Series,
    late_ms: Vec<f64>,
}

/// All servers that can, interleaved.
pub(super) fn run(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    let servers = chosen(arguments, |server| server.database);
    if servers.is_empty() {
        return Ok(None);
    }
    let wrk = Wrk::find()?;
    let file = DatabaseFile::create()?;
    let contestants: io::Result<Vec<Contestant>> =
        servers.into_iter().map(|server| Contestant::start(server, &file, arguments, &wrk)).collect();
    let mut contestants = contestants?;
    for round in 1..=arguments.rounds {
        for contestant in &mut contestants {
            contestant.slice(&wrk, arguments)?;
        }
        progress(&format!("round {round} of {}", arguments.rounds));
    }
    Ok(Some(section(contestants, arguments)))
}

impl Contestant {
    fn start(
        server: &Server,
        file: &DatabaseFile,
        arguments: &SuiteArgs,
        wrk: &Wrk,
    ) -> io::Result<Contestant> {
        let child = Child::start(server, arguments.server_core, &[("--database", &file.0)])?;
        let answer = ask(&child, "/")?;
        if answer != database::first_answer(&file.0)? {
            return Err(io::Error::other(format!("{} answered {answer}", server.name)));
        }
        wrk.run(&child.url("/"), Style::Single, arguments.connections, WARM_UP_SECONDS)?;
        let contestant = Contestant {
            name: server.name,
            child,
            series: Series::new(server.name.to_owned()),
            late_ms: Vec::new(),
        };
        contestant.settle()?;
        Ok(contestant)
    }

    fn slice(&mut self, wrk: &Wrk, arguments: &SuiteArgs) -> io::Result<()> {
        // What has come together since the last slice is not of this one.
        ask(&self.child, "/late")?;
        let before = self.child.usage()?;
        let load = wrk.run(&self.child.url("/"), Style::Single, arguments.connections, arguments.seconds)?;
        let spent = self.child.usage()?.since(before);
        self.series.add(spent, load.requests as f64, load.per_second);
        let late = ask(&self.child, "/late")?;
        let late: Result<Vec<f64>, _> = late.split_whitespace().map(str::parse::<f64>).collect();
        let late = late.map_err(|error| io::Error::other(format!("{}: {error}", self.name)))?;
        self.late_ms.extend(late.iter().map(|us| us / 1e3));
        self.settle()
    }

    /// Queries of clients that have gone still wait for a thread, and would take the core from whoever is next: this one is
    /// answered behind them.
    fn settle(&self) -> io::Result<()> {
        ask(&self.child, "/").map(drop)
    }
}

fn ask(child: &Child, path: &str) -> io::Result<String> {
    let mut stream = client::open(child.address, 0)?;
    stream.write_all(client::request(path).as_bytes())?;
    let response = client::read_response(&mut stream)?;
    response.text()
}

fn section(contestants: Vec<Contestant>, arguments: &SuiteArgs) -> Section {
    let mut section = Section::new(
        "ticker",
        format!(
            "ticker: {} ms, while {} connections query {ROWS} rows of SQLite on {THREADS} threads",
            INTERVAL.as_millis(),
            arguments.connections
        ),
        "How late the ticks came, over all slices, in ms; and the medians of the load. Loop and pool share one core, which is full.",
        &["server", "p50 ms", "p99 ms", "max ms", "ticks", "requests/s", "CPU us/request"],
    );
    for Contestant { name, series, mut late_ms, .. } in contestants {
        late_ms.sort_by(f64::total_cmp);
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| percentile(&late_ms, share));
        let (cpu_us, per_second) = series.medians();
        let cells = [
            name.to_owned(),
            number(p50, 2),
            number(p99, 2),
            number(max, 2),
            number(late_ms.len() as f64, 0),
            number(per_second, 0),
            number(cpu_us, 0),
        ];
        let value = json!({
            "server": name, "p50_ms": p50, "p99_ms": p99, "max_ms": max, "ticks": late_ms.len(),
            "per_second": per_second, "cpu_us": cpu_us,
        });
        section.row(cells.to_vec(), value);
        if name == "ropewalk" {
            section.bound("ropewalk's 99th percentile in ms", Some(p99), LIMIT_MS);
        }
    }
    section
}

/// Of what is sorted: the smallest that so large a share does not exceed; 0 of nothing.
pub(super) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0.0)
}

/// Removed when it has been measured.
struct DatabaseFile(PathBuf);

impl DatabaseFile {
    fn create() -> io::Result<DatabaseFile> {
        let name = format!("ropewalk-bench-{}.sqlite", std::process::id());
        let file = DatabaseFile(std::env::temp_dir().join(name));
        database::create(&file.0)?;
        Ok(file)
    }
}

impl Drop for DatabaseFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_them() {
        let ticks: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!([0.5, 0.99, 1.0].map(|share| percentile(&ticks, share)), [50.0, 99.0, 100.0]);
        assert_eq!(percentile(&[7.0], 0.5), 7.0);
        assert_eq!(percentile(&[], 0.99), 0.0);
    }
}
