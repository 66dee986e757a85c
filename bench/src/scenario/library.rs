//! What libraries cost without a socket: `pool`, `timers` and `deferred`.
//!
//! Each contestant is a child of its own, and sleeps while the others have their slice. What they do stands in `library`; this
//! file is the interleaving and the tables.

use std::io;
use std::process::Command;
use std::time::Duration;

use super::progress;
use crate::SuiteArgs;
use crate::child::Worker;
use crate::library::pool::{OUTSTANDING, THREADS};
use crate::library::{Topic, WORKS, Work, agent, deferred, timers};
use crate::report::{Section, Series, Unit};

/// The whole of a slice goes to the second; a first one warms up.
const WARM_UP: Duration = Duration::from_millis(200);

/// Whom the others are compared with.
const BASE: &str = "tokio";

/// One contestant, running.
struct Contestant {
    worker: Worker,
    work: &'static Work,
    /// One for each part of its slices, with the part's name.
    series: Vec<(String, Series)>,
    /// Of the first slice: later ones find a heap that has grown already.
    bytes: Option<f64>,
}

impl Contestant {
    fn start(work: &'static Work, cores: &[usize]) -> io::Result<Contestant> {
        let mut worker = Worker::start(work, cores)?;
        let first = worker.slice(WARM_UP)?;
        let series = |part: &str| Series::new(format!("{} {part}", work.label()).trim_end().to_owned());
        let series = first.parts.iter().map(|part| (part.name.clone(), series(&part.name))).collect();
        Ok(Contestant { worker, work, series, bytes: first.bytes })
    }

    fn slice(&mut self, length: Duration) -> io::Result<()> {
        let slice = self.worker.slice(length)?;
        for ((_, series), part) in self.series.iter_mut().zip(&slice.parts) {
            series.add(part.spent, part.done, part.done / part.seconds);
        }
        Ok(())
    }
}

fn measure(arguments: &SuiteArgs, topic: Topic, cores: &[usize]) -> io::Result<Vec<Contestant>> {
    let named =
        |work: &&Work| arguments.only.is_empty() || arguments.only.iter().any(|name| name == work.library);
    let works = WORKS.iter().filter(|work| work.topic == topic).filter(named);
    let mut contestants = works.map(|work| Contestant::start(work, cores)).collect::<io::Result<Vec<_>>>()?;
    for round in 1..=arguments.rounds {
        for contestant in &mut contestants {
            contestant.slice(Duration::from_secs(arguments.seconds))?;
        }
        if !contestants.is_empty() {
            progress(&format!("round {round} of {}", arguments.rounds));
        }
    }
    Ok(contestants)
}

/// The table of one part, with its bound on the ratio of `bounded` to the base.
fn table(
    (name, title, unit): (&'static str, &str, Unit<'_>),
    (base, bounded, limit): (&str, &str, f64),
    series: &[Series],
) -> Section {
    let mut section = Section::of_series(name, title, unit, base, series);
    section.call_base("tokio's above");
    let find = |name: &str| series.iter().find(|one| one.name() == name);
    let ratio = find(bounded).zip(find(base)).and_then(|(own, base)| own.ratio(base));
    section.bound(&format!("CPU time of {bounded} over {base}"), ratio, limit);
    section
}

/// On one core, as everything here; and on both, where waking a thread is another matter.
pub(super) fn pool(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    const LIMIT: f64 = 1.0;
    let title = format!("pool: {OUTSTANDING} round trips outstanding, {THREADS} threads");
    let head = |title| ("pool", title, Unit::micro("round trip"));
    let series = |cores: &[usize], label: &str| -> io::Result<Vec<Series>> {
        let contestants = measure(arguments, Topic::Pool, cores)?.into_iter();
        let named = |one: Contestant| {
            one.series.into_iter().map(|(_, series)| series.renamed(format!("{}{label}", one.work.label())))
        };
        Ok(contestants.flat_map(named).collect())
    };
    let one = series(&[arguments.server_core], "")?;
    if one.is_empty() {
        return Ok(None);
    }
    let mut section = table(head(title.as_str()), (BASE, "ropewalk", LIMIT), &one);
    section.remark("The loop and its threads share the core, or both cores; there, what wakes a thread of the other core is in it.");
    if arguments.load_core != arguments.server_core {
        let both = series(&[arguments.server_core, arguments.load_core], ", two cores")?;
        section.append(table(
            head(title.as_str()),
            ("tokio, two cores", "ropewalk, two cores", LIMIT),
            &both,
        ));
    }
    Ok(Some(section))
}

/// A client with its pool, beside hyper's.
pub(super) fn agent(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    const LIMIT: f64 = 1.0;
    let contestants = measure(arguments, Topic::Agent, &[arguments.server_core])?;
    let series: Vec<Series> =
        contestants.into_iter().flat_map(|one| one.series).map(|(_, series)| series).collect();
    let title = format!(
        "agent: the client's CPU time, {} requests outstanding, connections kept",
        agent::OUTSTANDING
    );
    let head = ("agent", title.as_str(), Unit::micro("request"));
    let mut section = table(head, ("hyper", "ropewalk", LIMIT), &series);
    section.call_base("hyper");
    Ok((!series.is_empty()).then_some(section))
}

/// A table of three parts, each with its own base.
pub(super) fn timers(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    const LIMIT: f64 = 0.3;
    let contestants = measure(arguments, Topic::Timers, &[arguments.server_core])?;
    let bytes: Vec<Option<f64>> = contestants.iter().map(|one| one.bytes).collect();
    let mut columns: Vec<_> = contestants.into_iter().map(|one| one.series.into_iter()).collect();
    let title = format!("timers: {} put in and cancelled, 1 ms to 1 h away", timers::COUNT);
    let mut section: Option<Section> = None;
    for part in timers::PARTS {
        let series: Vec<Series> =
            columns.iter_mut().filter_map(Iterator::next).map(|(_, series)| series).collect();
        if series.is_empty() {
            return Ok(None);
        }
        let names = (format!("{BASE} {part}"), format!("ropewalk {part}"));
        let one = table(("timers", &title, Unit::nano("timer")), (&names.0, &names.1, LIMIT), &series);
        match &mut section {
            None => section = Some(one),
            Some(all) => all.append(one),
        }
    }
    // The memory is that of the whole, said in the last rows, which are of both parts.
    let figures = [vec![None; bytes.len() * (timers::PARTS.len() - 1)], bytes].concat();
    Ok(section.map(|mut section| {
        section.remark(
            "The loop has held as many before. Pending bytes are private memory, with the handle that cancels. A `Sleep` and an \
             owning call allocate once per timer, a call that owns nothing does not.",
        );
        section.column("bytes pending", "bytes", 0, &figures);
        section
    }))
}

/// Every way through ten steps; allocations from the program that counts them.
pub(super) fn deferred(arguments: &SuiteArgs) -> io::Result<Option<Section>> {
    let contestants = measure(arguments, Topic::Deferred, &[arguments.server_core])?;
    if contestants.is_empty() {
        return Ok(None);
    }
    let counts = allocations();
    if counts.is_empty() {
        progress("allocations are not counted: `ropewalk-bench-counted` is not beside this program");
    }
    let found = |kind: deferred::Kind| {
        counts
            .iter()
            .find(|(name, ..)| *name == format!("{kind:?}"))
            .map(|(_, calls, bytes)| (*calls, *bytes))
    };
    let mut ways: Vec<(Series, Option<(f64, f64)>)> = Vec::new();
    for contestant in contestants {
        let count = contestant.work.kind.and_then(found);
        ways.extend(contestant.series.into_iter().map(|(_, series)| (series, count)));
    }
    Ok(Some(ways_beside(&ways)))
}

/// Like beside like, and callbacks beside both.
fn ways_beside(ways: &[(Series, Option<(f64, f64)>)]) -> Section {
    const LIMIT: f64 = 1.0;
    let title = format!("deferred: a value through {} steps, {} at a time", deferred::STEPS, deferred::BATCH);
    let callbacks = "ropewalk callbacks";
    let [mut section, awaits] = ["tasks", "awaits"].map(|way| {
        let (base, own) = (format!("{BASE} {way}"), format!("ropewalk {way}"));
        let group = |name: &str| [base.as_str(), &own, callbacks].contains(&name);
        let (series, counts): (Vec<Series>, Vec<_>) =
            ways.iter().filter(|(series, _)| group(series.name())).cloned().unzip();
        let mut section =
            table(("deferred", &title, Unit::nano("value")), (&base, callbacks, LIMIT), &series);
        let column =
            |pick: fn((f64, f64)) -> f64| counts.iter().map(|count| count.map(pick)).collect::<Vec<_>>();
        section.column("allocations", "allocations", 1, &column(|(calls, _)| calls));
        section.column("bytes allocated", "bytes_allocated", 0, &column(|(_, bytes)| bytes));
        section
    });
    section.append(awaits);
    section.remark(
        "Making, firing and dropping all ten is in it, and spawning the task or the ten; `awaits` also keeps its ten in a vector. \
         Tokio's tasks may move to other threads and ours may not; ours catch panics one by one and carry names, and a deferred \
         may also fail or be cancelled with a reason.",
    );
    section
}

/// Name, allocations and bytes per chain; nothing, if the program was not built.
fn allocations() -> Vec<(String, f64, f64)> {
    let output = std::env::current_exe()
        .and_then(|program| Command::new(program.with_file_name("ropewalk-bench-counted")).output());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let parse = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    text.lines().filter_map(parse).collect()
}
