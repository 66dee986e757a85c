//! What a running program says of itself: the figures that services, loops and pools keep anyway, in one value of JSON, and the same for
//! people.

use std::fmt::Write as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use ropewalk_reactor::{PoolStatistics, Reactor, Remote, SlowCallback, Statistics};
use serde_json::{Value, json};

use crate::life::{Running, Stage};
use crate::tree::{Node, Standing};

/// How long a loop may take to say how it is; one that is held up is told of as such.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Callbacks of a loop that are shown, those that held it longest.
const SLOW_SHOWN: usize = 5;
/// What a terminal has.
const COLUMNS: usize = 80;
/// Activities of a service that people are shown; more would push everything else off the screen.
const ACTIVITIES_SHOWN: usize = 20;

/// Everything, as JSON.
pub(crate) async fn status(running: &Rc<Running>) -> Value {
    let reactor = &running.reactor;
    let uptime = reactor.now().since(running.began);
    let mut loops = vec![loop_figures(0, &LoopState::of(reactor), uptime, Duration::ZERO)];
    let remotes = running.app.borrow().workers.remotes();
    for (index, remote) in remotes.into_iter().enumerate() {
        loops.push(of_worker(reactor, index + 1, remote, uptime).await);
    }
    let app = running.app.borrow();
    let (stage, left) = match running.stage.get() {
        Stage::Starting => ("starting", None),
        Stage::Ready => ("ready", None),
        Stage::Draining(until) => ("draining", Some(until.since(reactor.now()).as_secs_f64())),
        Stage::Stopping => ("stopping", None),
    };
    json!({
        "name": running.name,
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "state": stage,
        "drain_seconds_left": left,
        "uptime_seconds": uptime.as_secs_f64(),
        "connections": app.tree.busy(),
        "services": app.tree.nodes().iter().map(|node| of_service(node, reactor)).collect::<Vec<_>>(),
        "loops": loops,
        "threads": of_pool(&reactor.thread_pool_statistics()),
        "saved_state": app.states.figures(),
    })
}

fn of_service(node: &Rc<Node>, reactor: &Reactor) -> Value {
    let standing = node.standing.borrow().clone();
    let service = node.service.borrow();
    let health = if standing == Standing::Ready { service.health().err() } else { None };
    let error = match &standing {
        Standing::Failed(error) => Some(error.clone()),
        _ => None,
    };
    let listening: Vec<String> = node.bound.borrow().iter().map(|at| at.endpoint.to_string()).collect();
    let mut activities = service.activities();
    activities.extend(node.shows.borrow().iter().flat_map(|show| show()));
    let activities: Vec<Value> = activities.iter().map(|activity| activity.to_json(&node.name())).collect();
    let accepted: u64 = service.ports().iter().map(|port| port.statistics().accepted).sum();
    json!({
        "name": node.name(),
        "state": standing.to_string(),
        "error": error,
        "unhealthy": health,
        "seconds": reactor.now().since(node.since.get()).as_secs_f64(),
        "restarts": node.restarts.get(),
        "listening": listening,
        "connections": service.busy(),
        "accepted": accepted,
        "activities": activities,
    })
}

/// Another loop is asked from a thread of the pool: this one does not wait for it.
async fn of_worker(reactor: &Reactor, worker: usize, remote: Remote, uptime: Duration) -> Value {
    let seen = remote.clone();
    let ask = move || {
        let asked = Instant::now();
        remote.blocking_call_from_thread(move |reactor| (LoopState::of(reactor), asked.elapsed()))
    };
    match reactor.with_timeout(ANSWER_WITHIN, reactor.defer_to_thread(ask)).await {
        Ok(Ok(Ok((state, lag)))) => loop_figures(worker, &state, uptime, lag),
        _ => held_up(worker, &seen),
    }
}

/// One that does not answer is looked at from here: who holds it is what one wants to know.
fn held_up(worker: usize, remote: &Remote) -> Value {
    json!({
        "worker": worker,
        "held_up": true,
        "held_by": remote.running_callback().map(|name| name.to_string()),
        "lag_ms": ANSWER_WITHIN.as_millis() as u64,
        "slow_callbacks": remote.slow_callbacks().iter().take(SLOW_SHOWN).map(of_slow).collect::<Vec<_>>(),
    })
}

/// What this thread has computed so far.
fn busy_time() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    time.map(Duration::from).unwrap_or_default()
}

/// What a loop says of itself, on its own thread.
struct LoopState {
    statistics: Statistics,
    busy: Duration,
    slow: Vec<SlowCallback>,
}

impl LoopState {
    fn of(reactor: &Reactor) -> LoopState {
        let mut slow = reactor.slow_callbacks();
        slow.truncate(SLOW_SHOWN);
        LoopState { statistics: reactor.statistics(), busy: busy_time(), slow }
    }
}

fn loop_figures(worker: usize, state: &LoopState, uptime: Duration, lag: Duration) -> Value {
    let statistics = &state.statistics;
    json!({
        "worker": worker,
        "turns": statistics.turns,
        "slow_turns": statistics.slow_turns,
        "longest_turn_ms": statistics.longest_turn.as_secs_f64() * 1000.0,
        "lag_ms": lag.as_secs_f64() * 1000.0,
        "busy_share": state.busy.as_secs_f64() / uptime.as_secs_f64().max(0.001),
        "blocked": statistics.blocked,
        "stalls": statistics.stalls,
        "timers": statistics.timers,
        "sources": statistics.sources,
        "slow_callbacks": state.slow.iter().map(of_slow).collect::<Vec<_>>(),
    })
}

fn of_slow(slow: &SlowCallback) -> Value {
    json!({
        "name": slow.name.to_string(),
        "times": slow.times,
        "longest_ms": slow.longest.as_secs_f64() * 1000.0,
        "total_ms": slow.total.as_secs_f64() * 1000.0,
        "seconds_ago": slow.ago.as_secs_f64(),
    })
}

fn of_pool(pool: &PoolStatistics) -> Value {
    json!({
        "threads": pool.threads,
        "threads_max": pool.threads_max,
        "idle": pool.idle,
        "queued": pool.queued,
        "running": pool.running,
        "done": pool.done,
        "panicked": pool.panicked,
    })
}

/// The same for people.
pub(crate) fn for_people(status: &Value) -> String {
    let mut text = String::new();
    let word = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let seconds = Duration::from_secs(status["uptime_seconds"].as_f64().unwrap_or(0.0) as u64);
    let left =
        status["drain_seconds_left"].as_f64().map(|left| format!(" ({left:.0} s left)")).unwrap_or_default();
    let _ = writeln!(
        text,
        "{} {} is {}{left}: process {}, up {}, {} connections",
        word(status, "name"),
        word(status, "version"),
        word(status, "state"),
        status["pid"],
        span(seconds),
        status["connections"],
    );
    let services = status["services"].as_array().cloned().unwrap_or_default();
    let width = services.iter().map(|service| word(service, "name").chars().count()).max().unwrap_or(0);
    for service in &services {
        let listening: Vec<&str> =
            service["listening"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let _ = write!(text, "  {:width$}  {:8}", word(service, "name"), word(service, "state"));
        if !listening.is_empty() {
            let _ = write!(text, "  {}  {} connections", listening.join(" "), service["connections"]);
        }
        for key in ["error", "unhealthy"] {
            if let Some(why) = service[key].as_str() {
                let _ = write!(text, "  {why}");
            }
        }
        if service["restarts"].as_u64().unwrap_or(0) > 0 {
            let _ = write!(text, "  started again {} times", service["restarts"]);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        tell_activities(&mut text, service);
    }
    for each in status["loops"].as_array().into_iter().flatten() {
        tell_loop(&mut text, each);
    }
    if let Some(file) = status["saved_state"]["file"].as_str() {
        let _ = writeln!(text, "  state: {file}, saved {} times", status["saved_state"]["saves"]);
    }
    text
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or(0.0)
}

/// A loop, and below it who has held it up.
fn tell_loop(text: &mut String, each: &Value) {
    if each["held_up"] == true {
        let begin = format!("  loop {}: does not answer, held up by", each["worker"]);
        let by = each["held_by"].as_str().unwrap_or("what has no name");
        let _ = writeln!(text, "{begin} {}", end_of(by, COLUMNS.saturating_sub(begin.len() + 1)));
        return tell_slow(text, each);
    }
    let _ = writeln!(
        text,
        "  loop {}: {} turns, busy {:.1} %, longest turn {:.1} ms, lag {:.1} ms,\n    blocked {} times, {} timers",
        each["worker"],
        each["turns"],
        number(each, "busy_share") * 100.0,
        number(each, "longest_turn_ms"),
        number(each, "lag_ms"),
        each["blocked"],
        each["timers"],
    );
    tell_slow(text, each);
}

fn tell_slow(text: &mut String, each: &Value) {
    for slow in each["slow_callbacks"].as_array().into_iter().flatten() {
        let ago = Duration::from_secs(number(slow, "seconds_ago") as u64);
        let begin = format!(
            "    held for {:.0} ms, {} times, last {} ago:",
            number(slow, "longest_ms"),
            slow["times"],
            span(ago)
        );
        // What stands at the end of a place says most: the file and the line.
        let name = end_of(slow["name"].as_str().unwrap_or_default(), COLUMNS.saturating_sub(begin.len() + 1));
        let _ = writeln!(text, "{begin} {name}");
    }
}

/// The end of a text that is too long for its place.
fn end_of(text: &str, columns: usize) -> String {
    let count = text.chars().count();
    if count <= columns {
        return text.to_owned();
    }
    let kept: String = text.chars().skip(count - columns.saturating_sub(1)).collect();
    format!("…{kept}")
}

/// What goes on in a service, those that can be ended with the name by which `end` knows them.
fn tell_activities(text: &mut String, service: &Value) {
    let activities = service["activities"].as_array().map_or(&[][..], Vec::as_slice);
    let shown = &activities[..activities.len().min(ACTIVITIES_SHOWN)];
    let id = |activity: &Value| activity["id"].as_str().unwrap_or_default().to_owned();
    let width = shown.iter().map(|activity| id(activity).chars().count()).max().unwrap_or(0);
    for activity in shown {
        let name = id(activity);
        let gap = if width > 0 { "  " } else { "" };
        let _ = writeln!(text, "    {name:width$}{gap}{}", activity["line"].as_str().unwrap_or_default());
    }
    if activities.len() > shown.len() {
        let _ = writeln!(text, "    and {} more, which --json shows", activities.len() - shown.len());
    }
}

/// A time as people say it.
fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds @ 3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        seconds => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_held_a_loop_fits_into_eighty_columns() {
        let slow = |name: &str, ms: f64, ago: u64| json!({ "name": name, "times": 12, "longest_ms": ms, "seconds_ago": ago });
        let long =
            "/home/ada/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/shop-0.1.0/src/pages/cart.rs:120";
        let state = json!({
            "worker": 1, "turns": 123_456_789, "busy_share": 0.995, "longest_turn_ms": 12345.6, "lag_ms": 0.1,
            "blocked": 14, "timers": 1000,
            "slow_callbacks": [slow(long, 12_345.0, 7200), slow("nightly report", 312.4, 3)],
        });
        let mut text = String::new();
        tell_loop(&mut text, &state);
        assert_eq!(
            text,
            "  loop 1: 123456789 turns, busy 99.5 %, longest turn 12345.6 ms, lag 0.1 ms,\n    \
                 blocked 14 times, 1000 timers\n    \
                 held for 12345 ms, 12 times, last 2 h 0 min ago: ….1.0/src/pages/cart.rs:120\n    \
                 held for 312 ms, 12 times, last 3 s ago: nightly report\n"
        );
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
    }
}
