//! How long a server takes into the background and to its first answer, and to its end, with nobody connected and with ten thousand
//! idle connections: `ropewalk start` and `stop` beside nginx, which is ended both at once (`-s stop`) and in good order (`-s quit`).

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use super::progress;
use crate::SuiteArgs;
use crate::client;
use crate::figures::Figures;
use crate::foreign::daemon::{DAEMONS, Daemon, Took};
use crate::machine::connections_max;
use crate::report::Section;

/// Nobody takes longer to give its first answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Phase {
    wall_ms: Figures,
    cpu_ms: Figures,
}

struct Contestant {
    name: &'static str,
    daemon: Daemon,
    start: Phase,
    stop: Phase,
    stop_full: Phase,
}

/// All that are there, interleaved.
pub(super) fn run(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    let count = connections_max(arguments.idle);
    let named = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == name);
    let mut contestants = Vec::new();
    for (name, make) in DAEMONS.iter().filter(|(name, _)| named(name)) {
        if let Some(daemon) = make(arguments.server_core)? {
            let (start, stop, stop_full) = (Phase::default(), Phase::default(), Phase::default());
            contestants.push(Contestant { name, daemon, start, stop, stop_full });
        }
    }
    // The first start reads programs from the disk.
    for round in 0..=arguments.rounds {
        for contestant in &mut contestants {
            let outcome = contestant.round(count, round > 0);
            outcome.map_err(|error| io::Error::other(format!("{}: {error}", contestant.name)))?;
        }
        progress(&format!("round {round} of {}", arguments.rounds));
    }
    Ok((!contestants.is_empty()).then(|| section(&contestants, count)))
}

impl Contestant {
    fn round(&mut self, count: u32, counts: bool) -> io::Result<()> {
        let (up, started) = self.daemon.start(answered)?;
        let stopped = self.daemon.stop(&up)?;
        let (up, again) = self.daemon.start(answered)?;
        // What only warms up needs no crowd.
        let connections = open(up.address, if counts { count } else { 0 })?;
        let stopped_full = self.daemon.stop(&up)?;
        drop(connections);
        if counts {
            self.start.add(started);
            self.start.add(again);
            self.stop.add(stopped);
            self.stop_full.add(stopped_full);
        }
        Ok(())
    }
}

impl Phase {
    fn add(&mut self, took: Took) {
        self.wall_ms.add(took.wall_ms);
        self.cpu_ms.add(took.cpu_ms);
    }
}

/// An answer of 200.
fn answered(address: SocketAddr) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match client::fetch(address, "/") {
            Ok(_) => return Ok(()),
            Err(error) if start.elapsed() > PATIENCE => return Err(error),
            Err(_) => {}
        }
    }
}

/// Each has done one request, and stays.
fn open(address: SocketAddr, count: u32) -> io::Result<Vec<TcpStream>> {
    let request = client::request("/");
    let connections = (0..count).map(|number| {
        let mut stream = client::open(address, number)?;
        stream.write_all(request.as_bytes())?;
        client::read_response(&mut stream)?.text()?;
        Ok(stream)
    });
    connections.collect()
}

fn section(contestants: &[Contestant], count: u32) -> Section {
    let mut section = Section::new(
        "start",
        format!("start: into the background and to an end, with 0 and {count} idle connections"),
        "To the first answer, and from the command that ends it until the server is gone; CPU time of the command and the server. nginx \
         has its master and one worker; what threads and workers that have ended had used is known to 10 ms only. Medians, with the lowest and the \
         highest.",
        &["server", "start ms", "CPU ms", "stop ms", "CPU ms", &format!("stop ms, {count}"), "CPU ms"],
    );
    for Contestant { name, start, stop, stop_full, .. } in contestants {
        let mut cells = vec![(*name).to_owned()];
        for phase in [start, stop, stop_full] {
            cells.extend([phase.wall_ms.show(1), phase.cpu_ms.show(1)]);
        }
        let value = |phase: &Phase| json!({ "wall_ms": phase.wall_ms.json(), "cpu_ms": phase.cpu_ms.json() });
        let values = json!({ "server": name, "start": value(start), "stop": value(stop), "stop_full": value(stop_full) });
        section.row(cells, values);
    }
    section
}
