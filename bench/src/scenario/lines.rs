//! The log of a busy server, a hundred thousand lines a second, and whether its loop notices: how late a ticker of a millisecond is
//! with and without it, and what the loop pays for a line. The appender's thread is on the loop's core, which is the hardest case.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::{Value, json};

use super::progress;
use crate::SuiteArgs;
use crate::figures::Figures;
use crate::foreign::{Scratch, again};
use crate::lines::{INTERVAL, LINES_PER_SECOND};
use crate::report::{Section, number};

/// How much later the ticker's 99th percentile may be with the log, in milliseconds: one tick.
const LATER_MS_MAX: f64 = 1.0;

struct Contestant {
    name: &'static str,
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    late_ms: Vec<f64>,
    p99_ms: Figures,
    loop_ns: Figures,
    process_ns: Figures,
    per_second: Figures,
    missing: f64,
}

/// With the log and without, interleaved.
pub(super) fn run(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    let scratch = Scratch::new("lines")?;
    let log = scratch.path("access.log");
    let mut contestants = vec![
        Contestant::start("without the log", arguments.server_core, None)?,
        Contestant::start("with the log", arguments.server_core, Some(&log))?,
    ];
    for round in 0..=arguments.rounds {
        for contestant in &mut contestants {
            let slice = contestant.slice(arguments.seconds * 1000)?;
            // The first one warms up.
            if round > 0 {
                contestant.add(&slice)?;
            }
            // A file that grew from slice to slice would fill the memory.
            let _ = std::fs::remove_file(&log);
        }
        progress(&format!("round {round} of {}", arguments.rounds));
    }
    Ok(Some(section(&mut contestants)))
}

impl Contestant {
    fn start(name: &'static str, core: usize, log: Option<&Path>) -> io::Result<Contestant> {
        let mut command = again("lines", core)?;
        if let Some(log) = log {
            command.arg("--log").arg(log);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = child.stdin.take().expect("it was asked to be piped");
        let answers = BufReader::new(child.stdout.take().expect("it was asked to be piped"));
        Ok(Contestant {
            name,
            child,
            orders,
            answers,
            late_ms: Vec::new(),
            p99_ms: Figures::default(),
            loop_ns: Figures::default(),
            process_ns: Figures::default(),
            per_second: Figures::default(),
            missing: 0.0,
        })
    }

    fn slice(&mut self, ms: u64) -> io::Result<Value> {
        writeln!(self.orders, "{ms}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).map_err(|_| io::Error::other(format!("{}: no figures", self.name)))
    }

    fn add(&mut self, slice: &Value) -> io::Result<()> {
        let figure = |key: &str| {
            slice[key].as_f64().ok_or_else(|| io::Error::other(format!("{}: no {key}", self.name)))
        };
        let (lines, seconds) = (figure("lines")?, figure("seconds")?);
        let (loop_ns, process_ns) = (figure("loop_ns")?, figure("process_ns")?);
        self.missing += figure("dropped")? + figure("lost")?;
        let late = slice["late_us"].as_array().into_iter().flatten().filter_map(Value::as_f64);
        let mut late_ms: Vec<f64> = late.map(|us| us / 1e3).collect();
        late_ms.sort_by(f64::total_cmp);
        self.p99_ms.add(super::ticker::percentile(&late_ms, 0.99));
        self.late_ms.extend(late_ms);
        self.loop_ns.add(loop_ns / lines);
        self.process_ns.add(process_ns / lines);
        self.per_second.add(lines / seconds);
        Ok(())
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn section(contestants: &mut [Contestant]) -> Section {
    let mut section = Section::new(
        "log-lines",
        format!("log-lines: {LINES_PER_SECOND} lines a second, and a ticker of {} ms", INTERVAL.as_millis()),
        "How late the ticks came over all slices, in ms (timers are never early, and to the millisecond); CPU time per line of the loop's \
         thread, and of the process with the appender's thread, medians with the lowest and the highest. Without the log the same lines \
         are made and thrown away. Loop and appender share one core.",
        &["loop", "p50 ms", "p99 ms", "max ms", "loop ns/line", "process ns/line", "lines/s", "missing"],
    );
    for one in contestants.iter_mut() {
        one.late_ms.sort_by(f64::total_cmp);
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| super::ticker::percentile(&one.late_ms, share));
        let cells = [
            one.name.to_owned(),
            number(p50, 2),
            number(p99, 2),
            number(max, 2),
            one.loop_ns.show(0),
            one.process_ns.show(0),
            number(one.per_second.median(), 0),
            number(one.missing, 0),
        ];
        let value = json!({
            "server": one.name, "p50_ms": p50, "p99_ms": p99, "max_ms": max, "loop_ns": one.loop_ns.json(),
            "process_ns": one.process_ns.json(), "per_second": one.per_second.json(), "missing": one.missing,
        });
        section.row(cells.to_vec(), value);
    }
    if let [without, with] = contestants {
        let later_ms = with.p99_ms.median() - without.p99_ms.median();
        section.bound(
            "how much later the 99th percentile is with the log, in ms",
            Some(later_ms),
            LATER_MS_MAX,
        );
        section.bound("lines that are missing", Some(with.missing), 0.0);
        section.remark(&format!(
            "The loop pays {} ns a line, the process {} ns.",
            number(with.loop_ns.median() - without.loop_ns.median(), 0),
            number(with.process_ns.median() - without.process_ns.median(), 0)
        ));
    }
    section
}
