//! Bytes without a protocol: `echo`, small ones there and back, and `stream`, as many as go, to the server and from it.
//!
//! What is left of a server when it parses nothing is its loop, its buffers and its system calls, and those are the same for all.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{chosen, progress};
use crate::SuiteArgs;
use crate::child::Child;
use crate::report::{Section, Series, Unit};
use crate::servers::raw::{PIECE_BYTES, Way};
use crate::servers::{RAW_BASE, Server};
use crate::traffic::{ECHO_BYTES, Traffic};

/// Connections of the streams: enough for several to be ready at once.
const STREAMS: u32 = 8;
const WARM_UP: Duration = Duration::from_millis(300);
const MIB: f64 = 1024.0 * 1024.0;

/// Those that are to be at or ahead of the base.
const BOUNDED: [&str; 2] = ["raw-ropewalk", "raw-stream"];
const LIMIT: f64 = 1.0;

struct Contestant {
    child: Child,
    way: Way,
    connections: u32,
    series: Series,
}

/// So many connections, each of which waits for its bytes before it sends the next.
pub(super) fn echo(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    let title = format!("echo: {} connections, {ECHO_BYTES} bytes there and back", arguments.connections);
    let series = measure(arguments, Way::Echo, arguments.connections)?;
    Ok((!series.is_empty()).then(|| table("echo", &title, Unit::micro("round trip"), "", &series)))
}

/// A table of two parts, each with its own base.
pub(super) fn stream(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    let title = format!("stream: {STREAMS} connections, pieces of {} KiB", PIECE_BYTES / 1024);
    let mut section: Option<Section> = None;
    for (way, label) in [(Way::Take, " takes"), (Way::Give, " gives")] {
        let series = measure(arguments, way, STREAMS)?;
        if series.is_empty() {
            return Ok(None);
        }
        let labelled: Vec<Series> = series.into_iter().map(|one| relabelled(one, label)).collect();
        let part = table("stream", &title, Unit::micro("MiB"), label, &labelled);
        match &mut section {
            None => section = Some(part),
            Some(all) => all.append(part),
        }
    }
    Ok(section.map(|mut section| {
        section.call_base("tokio's above");
        section.remark(
            "One that takes counts and throws away; one that gives sends for as long as the reader takes.",
        );
        section
    }))
}

fn relabelled(one: Series, label: &str) -> Series {
    let name = format!("{}{label}", one.name());
    one.renamed(name)
}

fn table(name: &'static str, title: &str, unit: Unit<'_>, label: &str, series: &[Series]) -> Section {
    let base = format!("{RAW_BASE}{label}");
    let mut section = Section::of_series(name, title, unit, &base, series);
    let find = |name: &str| series.iter().find(|one| one.name() == name);
    for bounded in BOUNDED.map(|name| format!("{name}{label}")) {
        let ratio = find(&bounded).zip(find(&base)).and_then(|(own, base)| own.ratio(base));
        section.bound(&format!("CPU time of {bounded} over {base}"), ratio, LIMIT);
    }
    section
}

fn measure(arguments: &SuiteArgs, way: Way, connections: u32) -> io::Result<Vec<Series>> {
    let servers = chosen(arguments, |server| server.raw).into_iter();
    let start = |server| Contestant::start(server, way, connections, arguments.server_core);
    let mut contestants = servers.map(start).collect::<io::Result<Vec<_>>>()?;
    for round in 1..=arguments.rounds {
        for contestant in &mut contestants {
            contestant.slice(Duration::from_secs(arguments.seconds))?;
        }
        if !contestants.is_empty() {
            progress(&format!("{}: round {round} of {}", way.name(), arguments.rounds));
        }
    }
    Ok(contestants.into_iter().map(|contestant| contestant.series).collect())
}

impl Contestant {
    fn start(server: &Server, way: Way, connections: u32, core: usize) -> io::Result<Contestant> {
        let child = Child::start(server, core, &[("--way", Path::new(way.name()))])?;
        let name = server.name.to_owned();
        let contestant = Contestant { child, way, connections, series: Series::new(name.clone()) };
        contestant.run(WARM_UP).map_err(|error| io::Error::other(format!("{name}: {error}")))?;
        Ok(contestant)
    }

    fn slice(&mut self, length: Duration) -> io::Result<()> {
        let (spent, done, seconds) = self.run(length)?;
        self.series.add(spent, done, done / seconds);
        Ok(())
    }

    /// On connections of its own: what was spent, for how many round trips or MiB, and how long that took.
    fn run(&self, length: Duration) -> io::Result<(crate::account::Spent, f64, f64)> {
        let mut traffic = Traffic::connect(self.child.address, self.connections)?;
        let (start, before) = (Instant::now(), self.child.usage()?);
        let done = match self.way {
            Way::Echo => traffic.echo(length)? as f64,
            Way::Give => traffic.receive(length)? as f64 / MIB,
            Way::Take => {
                let sent = traffic.send(length)?;
                let taken = traffic.end()?;
                if taken != sent {
                    return Err(io::Error::other(format!("{taken} bytes were taken of {sent}")));
                }
                sent as f64 / MIB
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        Ok((self.child.usage()?.since(before), done, seconds))
    }
}
