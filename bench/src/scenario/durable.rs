//! Events that are kept on disk, and answered when they are safe: a channel with its journal, as library calls and over HTTP, beside a
//! plain log in SQLite.
//!
//! Everybody has its own file, and its slice while the others sleep. What the library work does stands in `library::durable`.

use std::io;
use std::time::{Duration, Instant};

use super::{chosen, progress};
use crate::SuiteArgs;
use crate::child::{Child, Worker};
use crate::folder::Folder;
use crate::library::durable::PUBLISHERS;
use crate::library::{Topic, WORKS};
use crate::publishers::Publishers;
use crate::report::{Section, Series, Unit};

/// Whom the others are compared with.
const BASE: &str = "sqlite";

/// Enough for connections, threads and files to stand.
const WARM_UP: Duration = Duration::from_millis(200);

enum Runner {
    Library(Worker),
    Http { child: Child, _folder: Folder },
}

struct Contestant {
    runner: Runner,
    publishers: usize,
    series: Series,
}

/// All of them, interleaved; a group for each number of publishers.
pub(super) fn run(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    let mut contestants = start(arguments)?;
    for round in 1..=arguments.rounds {
        for contestant in &mut contestants {
            contestant.slice(Duration::from_secs(arguments.seconds))?;
        }
        if !contestants.is_empty() {
            progress(&format!("round {round} of {}", arguments.rounds));
        }
    }
    let title = "durable: events of one channel on disk, each answered when it is safe";
    let mut all: Option<Section> = None;
    for publishers in PUBLISHERS {
        let group = contestants.iter().filter(|one| one.publishers == publishers);
        let series: Vec<Series> = group.map(|one| one.series.clone()).collect();
        if series.is_empty() {
            continue;
        }
        let base = label(BASE, publishers);
        let mut section = Section::of_series("durable", title, Unit::micro("event"), &base, &series);
        let base = series.iter().find(|one| one.name() == base);
        let rates: Vec<Vec<f64>> =
            series.iter().map(|one| base.map_or_else(Vec::new, |base| one.rates(base))).collect();
        section.spread("event/s to sqlite's above", "rate_to_sqlite", 2, &rates);
        match &mut all {
            None => all = Some(section),
            Some(all) => all.append(section),
        }
    }
    Ok(all.map(|mut section| {
        section.call_base("sqlite's above");
        section.remark(
            "The number is that of publishers, each with one event under way. sqlite is a table with a transaction for each event, by one \
             thread, fed by a queue where there are several publishers; all of them sync their write-ahead log at every commit.",
        );
        section
    }))
}

fn label(name: &str, publishers: usize) -> String {
    format!("{name} {publishers}")
}

fn start(arguments: &SuiteArgs) -> io::Result<Vec<Contestant>> {
    let cores = [arguments.server_core];
    let named = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == name);
    let mut contestants = Vec::new();
    for publishers in PUBLISHERS {
        let way = publishers.to_string();
        let works = WORKS.iter().filter(|work| work.topic == Topic::Durable && work.way == Some(&way));
        for work in works.filter(|work| named(work.library)) {
            let mut worker = Worker::start(work, &cores)?;
            worker.slice(WARM_UP)?;
            let series = Series::new(work.label());
            contestants.push(Contestant { runner: Runner::Library(worker), publishers, series });
        }
        for server in chosen(arguments, |server| server.push.is_some_and(|pushes| pushes.durable)) {
            let folder = Folder::make(&format!("{}-{publishers}", server.name))?;
            let child = Child::start(server, arguments.server_core, &[("--folder", folder.path())])?;
            let runner = Runner::Http { child, _folder: folder };
            let series = Series::new(format!("{} over HTTP", label(server.name, publishers)));
            contestants.push(Contestant { runner, publishers, series });
        }
    }
    Ok(contestants)
}

impl Contestant {
    fn slice(&mut self, length: Duration) -> io::Result<()> {
        match &mut self.runner {
            Runner::Library(worker) => {
                for part in worker.slice(length)?.parts {
                    self.series.add(part.spent, part.done, part.done / part.seconds);
                }
            }
            Runner::Http { child, .. } => {
                let mut publishers = Publishers::connect(child.address, self.publishers)?;
                publishers.publish(WARM_UP)?;
                let (start, before) = (Instant::now(), child.usage()?);
                let done = publishers.publish(length)? as f64;
                let seconds = start.elapsed().as_secs_f64();
                self.series.add(child.usage()?.since(before), done, done / seconds);
                drop(publishers);
                child.wait_idle()?;
            }
        }
        Ok(())
    }
}
