//! The table of library work: what this project and a peer do alike, without a socket; one file per scenario under `library/`.
//!
//! To add one: a function that works for the time it is told and returns its figures, and a line in `WORKS`. `measure` is the child's
//! side: a line with milliseconds comes in, a slice goes out. The parent's side is `child::Worker`, called by `scenario::library`.

pub(crate) mod agent;
pub(crate) mod deferred;
pub(crate) mod durable;
pub(crate) mod pool;
pub(crate) mod timers;

use std::io::{self, BufRead, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::account::{Spent, Usage};
use deferred::Kind;

/// What is done: the scenario's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Topic {
    Pool,
    Timers,
    Deferred,
    Agent,
    Durable,
}

/// One contestant.
pub(crate) struct Work {
    pub(crate) topic: Topic,
    /// Whose it is; `--only` names it.
    pub(crate) library: &'static str,
    /// Which way, where a library has several.
    pub(crate) way: Option<&'static str>,
    pub(crate) what: &'static str,
    /// Of the deferred work: which.
    pub(crate) kind: Option<Kind>,
    run: fn(Duration) -> io::Result<Slice>,
}

const fn work(
    topic: Topic,
    library: &'static str,
    what: &'static str,
    run: fn(Duration) -> io::Result<Slice>,
) -> Work {
    Work { topic, library, way: None, what, kind: None, run }
}

/// Everybody, in the order of the results.
pub(crate) const WORKS: [Work; 18] = [
    work(Topic::Pool, "tokio", "spawn_blocking on a runtime of one thread", pool::tokio),
    work(Topic::Pool, "ropewalk", "Reactor::defer_to_thread", pool::ropewalk),
    work(Topic::Timers, "tokio", "Box::pin(sleep(delay)), registered by one poll, dropped", timers::tokio),
    work(
        Topic::Timers,
        "ropewalk",
        "Reactor::call_later, which owns as little as a Sleep, cancelled",
        timers::ropewalk,
    ),
    Work {
        way: Some("owning"),
        ..work(Topic::Timers, "ropewalk", "the same with a call that owns something", timers::owning)
    },
    work(
        Topic::Agent,
        "hyper",
        "hyper-util's client with its pool, on a runtime of one thread",
        agent::hyper,
    ),
    work(Topic::Agent, "ropewalk", "client::Agent", agent::ropewalk),
    through("tokio", "tasks", TASKS, Kind::TokioTasks, |length| timed(Kind::TokioTasks, length)),
    through("ropewalk", "tasks", TASKS, Kind::Tasks, |length| timed(Kind::Tasks, length)),
    through("tokio", "awaits", AWAITS, Kind::TokioAwaits, |length| timed(Kind::TokioAwaits, length)),
    through("ropewalk", "awaits", AWAITS, Kind::Awaits, |length| timed(Kind::Awaits, length)),
    durable("sqlite", "1", ALONE, durable::sqlite::<1>),
    durable("ropewalk", "1", JOURNAL, durable::ropewalk::<1>),
    durable("sqlite", "16", QUEUED, durable::sqlite::<16>),
    durable("ropewalk", "16", JOURNAL, durable::ropewalk::<16>),
    durable("sqlite", "256", QUEUED, durable::sqlite::<256>),
    durable("ropewalk", "256", JOURNAL, durable::ropewalk::<256>),
    through("ropewalk", "callbacks", CALLBACKS, Kind::Callbacks, |length| timed(Kind::Callbacks, length)),
];

const ALONE: &str = "a plain log in SQLite, synced, a transaction for each event";
const QUEUED: &str = "the same, on a thread behind a queue, so many events under way";
const JOURNAL: &str = "Channel with SqliteJournal, so many tasks that publish";

const fn durable(
    library: &'static str,
    publishers: &'static str,
    what: &'static str,
    run: fn(Duration) -> io::Result<Slice>,
) -> Work {
    Work { way: Some(publishers), ..work(Topic::Durable, library, what, run) }
}

const CALLBACKS: &str = "one Deferred with ten callbacks, no task";
const TASKS: &str = "ten tasks, each awaits a Deferred or oneshot and fires the next";
const AWAITS: &str = "one task awaits ten in turn; it sleeps once, the other nine are there by then";

const fn through(
    library: &'static str,
    way: &'static str,
    what: &'static str,
    kind: Kind,
    run: fn(Duration) -> io::Result<Slice>,
) -> Work {
    Work { topic: Topic::Deferred, library, way: Some(way), what, kind: Some(kind), run }
}

impl Work {
    /// Its name on the command line of a child.
    pub(crate) fn id(&self) -> String {
        let topic = format!("{:?}", self.topic).to_lowercase();
        match self.way {
            Some(way) => format!("{topic}-{}-{way}", self.library),
            None => format!("{topic}-{}", self.library),
        }
    }

    /// Its name in a table.
    pub(crate) fn label(&self) -> String {
        self.way.map_or_else(|| self.library.to_owned(), |way| format!("{} {way}", self.library))
    }
}

/// Prints the table.
pub(crate) fn list() {
    for work in &WORKS {
        println!("{:<27} {}", work.id(), work.what);
    }
}

/// Something that was done within a slice, and what it cost.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) done: f64,
    pub(crate) spent: Spent,
    pub(crate) seconds: f64,
}

impl Part {
    /// Both together.
    fn add(&mut self, other: &Part) {
        let cpu_us = self.spent.cpu_us + other.spent.cpu_us;
        let user_us = self.spent.user_share * self.spent.cpu_us + other.spent.user_share * other.spent.cpu_us;
        self.done += other.done;
        self.seconds += other.seconds;
        self.spent = Spent { cpu_us, user_share: if cpu_us > 0.0 { user_us / cpu_us } else { 0.0 } };
    }
}

/// What one slice has found.
#[derive(Debug, PartialEq)]
pub(crate) struct Slice {
    pub(crate) parts: Vec<Part>,
    /// Memory of each thing that was held, where that is measured.
    pub(crate) bytes: Option<f64>,
}

impl Slice {
    fn line(&self) -> String {
        let part = |part: &Part| {
            let Part { name, done, spent, seconds } = part;
            let Spent { cpu_us, user_share } = spent;
            json!({ "name": name, "done": done, "cpu_us": cpu_us, "user_share": user_share, "seconds": seconds })
        };
        json!({ "parts": self.parts.iter().map(part).collect::<Vec<_>>(), "bytes": self.bytes }).to_string()
    }

    /// From the line that a child has written.
    pub(crate) fn parse(line: &str) -> Option<Slice> {
        let value: Value = serde_json::from_str(line).ok()?;
        let part = |part: &Value| {
            let figure = |name: &str| part[name].as_f64();
            let spent = Spent { cpu_us: figure("cpu_us")?, user_share: figure("user_share")? };
            let name = part["name"].as_str()?.to_owned();
            Some(Part { name, done: figure("done")?, spent, seconds: figure("seconds")? })
        };
        let parts: Option<Vec<Part>> = value["parts"].as_array()?.iter().map(part).collect();
        Some(Slice { parts: parts?, bytes: value["bytes"].as_f64() })
    }
}

/// A clock and an account, read together.
struct Meter {
    start: Instant,
    before: Usage,
}

impl Meter {
    fn start() -> io::Result<Meter> {
        let before = Usage::here()?;
        Ok(Meter { start: Instant::now(), before })
    }

    fn stop(&self, name: &str, done: u64) -> io::Result<Part> {
        let seconds = self.start.elapsed().as_secs_f64();
        let spent = Usage::here()?.since(self.before);
        Ok(Part { name: name.to_owned(), done: done as f64, spent, seconds })
    }
}

/// The child: a slice for every line that comes in, until there are no more.
pub(crate) fn measure(name: &str) -> io::Result<()> {
    let work = WORKS.iter().find(|work| work.id() == name).ok_or_else(|| {
        let what = format!("there is no work `{name}`; `list` knows them");
        io::Error::new(io::ErrorKind::InvalidInput, what)
    })?;
    for line in io::stdin().lock().lines() {
        let length = line?.trim().parse().map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, "the length of a slice is a number of milliseconds")
        })?;
        let slice = (work.run)(Duration::from_millis(length))?;
        let mut out = io::stdout();
        writeln!(out, "{}", slice.line())?;
        out.flush()?;
    }
    Ok(())
}

/// Batches of the deferred work for this long, after some that warm the caches.
fn timed(kind: Kind, length: Duration) -> io::Result<Slice> {
    use std::cell::RefCell;
    use std::rc::Rc;

    let result: Rc<RefCell<Option<io::Result<Part>>>> = Rc::default();
    let (out, mut batches, mut meter) = (Rc::clone(&result), 0_u64, None);
    deferred::run(kind, move || {
        batches += 1;
        match &meter {
            None if batches <= deferred::WARM_UP_BATCHES => true,
            None => {
                batches = 0;
                meter = Meter::start().ok();
                meter.is_some()
            }
            Some(meter) if meter.start.elapsed() < length => true,
            Some(meter) => {
                *out.borrow_mut() = Some(meter.stop("", batches * deferred::BATCH as u64));
                false
            }
        }
    })?;
    let part = result.take().ok_or_else(|| io::Error::other("the account could not be read"))??;
    Ok(Slice { parts: vec![part], bytes: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_survives_the_pipe() {
        let spent = Spent { cpu_us: 1234.5, user_share: 0.25 };
        let parts = vec![Part { name: "insert".to_owned(), done: 1e6, spent, seconds: 0.5 }];
        let slice = Slice { parts, bytes: Some(96.0) };
        assert_eq!(Slice::parse(&slice.line()), Some(slice));
        assert_eq!(Slice::parse(""), None);
    }

    #[test]
    fn parts_add_up() {
        let part = |cpu_us, user_share| Part {
            name: String::new(),
            done: 1.0,
            spent: Spent { cpu_us, user_share },
            seconds: 1.0,
        };
        let mut sum = part(1.0, 1.0);
        sum.add(&part(3.0, 0.0));
        assert_eq!(sum, Part { done: 2.0, seconds: 2.0, ..part(4.0, 0.25) });
    }

    /// Every contestant really does what it says, for a moment; but for timers, which are too many, and clients, which want the
    /// program as their server.
    #[test]
    fn everybody_has_figures() {
        for work in WORKS.iter().filter(|work| !matches!(work.topic, Topic::Timers | Topic::Agent)) {
            let slice = (work.run)(Duration::from_millis(1)).unwrap();
            assert!(slice.parts.iter().all(|part| part.done > 0.0 && part.seconds > 0.0), "{}", work.id());
        }
    }
}
