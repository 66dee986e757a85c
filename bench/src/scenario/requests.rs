//! CPU time per request under `wrk`: `hello`, `pipelined` and `log`.
//!
//! All servers run from the start, each gets its slice in every round, and ratios are taken within a round: what the machine
//! does meanwhile hits neighbours alike.

use std::io;
use std::path::PathBuf;

use super::{chosen, progress};
use crate::SuiteArgs;
use crate::child::Child;
use crate::client;
use crate::report::{Section, Series, Unit};
use crate::servers::{BASE, Server};
use crate::wrk::{PIPELINE_DEPTH, Style, Wrk};

const WARM_UP_SECONDS: u64 = 1;

/// One row of the table: a server with its options, running.
struct Contestant {
    child: Child,
    series: Series,
}

/// One request at a time.
pub(super) fn hello(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    let title = format!("hello: {} keep-alive connections", arguments.connections);
    plain(arguments, "hello", &title, Style::Single)
}

/// One request at a time, each another one.
pub(super) fn varied(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    let title = format!("varied: {} keep-alive connections, no two requests alike", arguments.connections);
    plain(arguments, "varied", &title, Style::Varied)
}

/// Sixteen in one write.
pub(super) fn pipelined(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    let title =
        format!("pipelined: {} connections, {PIPELINE_DEPTH} requests in one write", arguments.connections);
    plain(arguments, "pipelined", &title, Style::Pipelined)
}

fn plain(
    arguments: &SuiteArgs,
    name: &'static str,
    title: &str,
    style: Style,
) -> io::Result<Option<Section>> {
    let servers = chosen(arguments, |server| server.hello);
    let contestants: io::Result<Vec<Contestant>> = servers
        .into_iter()
        .map(|server| Contestant::start(server, server.name.to_owned(), None, arguments))
        .collect();
    measure(arguments, contestants?, style).map(|series| {
        (!series.is_empty()).then(|| Section::of_series(name, title, Unit::micro("request"), BASE, &series))
    })
}

/// Each server that can write an access log beside itself without one; the rows of all of them, each pair with its own base.
pub(super) fn log(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    let mut section = None;
    for server in chosen(arguments, |server| server.hello && server.log) {
        let file = LogFile::beside_the_program(server.name)?;
        let with_log = format!("{} with access log", server.name);
        let contestants = vec![
            Contestant::start(server, server.name.to_owned(), None, arguments)?,
            Contestant::start(server, with_log, Some(&file), arguments)?,
        ];
        let series = measure(arguments, contestants, Style::Single)?;
        if std::fs::metadata(&file.0).map_or(0, |log| log.len()) == 0 {
            return Err(io::Error::other(format!("{} has written nothing to its access log", server.name)));
        }
        let title =
            format!("log: {} keep-alive connections, an access log on a real file", arguments.connections);
        let pair = Section::of_series("log", &title, Unit::micro("request"), server.name, &series);
        match &mut section {
            None => section = Some(pair),
            Some(all) => all.append(pair),
        }
    }
    Ok(section)
}

/// Removed when it has been measured: it has some hundred megabytes.
struct LogFile(PathBuf);

impl LogFile {
    /// In the build's folder: a folder for temporary files may have no disk behind it.
    fn beside_the_program(server: &str) -> io::Result<LogFile> {
        let program = std::env::current_exe()?;
        Ok(LogFile(program.with_file_name(format!("access-{}-{server}.log", std::process::id()))))
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Contestant {
    fn start(
        server: &Server,
        name: String,
        log: Option<&LogFile>,
        arguments: &SuiteArgs,
    ) -> io::Result<Contestant> {
        let options = log.map(|log| ("--access-log", log.0.as_path()));
        let child = Child::start(server, arguments.server_core, options.as_slice())?;
        client::verify(child.address).map_err(|error| io::Error::other(format!("{name}: {error}")))?;
        Ok(Contestant { child, series: Series::new(name) })
    }

    fn slice(&mut self, wrk: &Wrk, style: Style, arguments: &SuiteArgs) -> io::Result<()> {
        let before = self.child.usage()?;
        let load = wrk.run(&self.child.url("/"), style, arguments.connections, arguments.seconds)?;
        let spent = self.child.usage()?.since(before);
        self.series.add(spent, load.requests as f64, load.per_second);
        Ok(())
    }
}

fn measure(arguments: &SuiteArgs, mut contestants: Vec<Contestant>, style: Style) -> io::Result<Vec<Series>> {
    let wrk = Wrk::find()?;
    for contestant in &contestants {
        wrk.run(&contestant.child.url("/"), style, arguments.connections, WARM_UP_SECONDS)?;
    }
    for round in 1..=arguments.rounds {
        for contestant in &mut contestants {
            contestant.slice(&wrk, style, arguments)?;
        }
        progress(&format!("round {round} of {}", arguments.rounds));
    }
    Ok(contestants.into_iter().map(|contestant| contestant.series).collect())
}
