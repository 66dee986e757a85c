//! Work that blocks or computes goes to threads, and the loop is never late meanwhile.
//!
//! Run it with `cargo run --example threads`. It counts primes on the reactor's pool, first in one job that reports how far
//! it is, then in three jobs side by side, and ends with something like:
//! ```text
//! 1 of 4 parts done
//! …
//! 49098 primes below 600000, in one job
//! 49098 primes below 600000, in three jobs
//! 60 ticks of 20 ms meanwhile, 0 missed
//! ```
#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::cell::Cell;
use std::ops::Range;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use ropewalk::reactor::{LoopingCall, Remote};
use ropewalk::{Outcome, Reactor};

const TICK: Duration = Duration::from_millis(20);
const PARTS: u64 = 4;

/// Primes in a range, by the slowest of methods.
pub fn primes(range: Range<u64>) -> usize {
    let is_prime =
        |n: u64| (2..).take_while(|divisor| divisor * divisor <= n).all(|divisor| !n.is_multiple_of(divisor));
    range.filter(|n| *n > 1 && is_prime(*n)).count()
}

/// Runs on a thread of the pool, and says on the loop how far it is. Of what belongs to the loop it holds only the `Remote`.
fn count(below: u64, remote: &Remote, say: &(impl Fn(String) + Clone + Send + 'static)) -> usize {
    let part = |part: u64| {
        let found = primes(below * part / PARTS..below * (part + 1) / PARTS);
        let say = say.clone();
        // It fails when the loop has ended, and then nobody wants to know.
        let _ = remote.call_from_thread(move |_| say(format!("{} of {PARTS} parts done", part + 1)));
        found
    };
    (0..PARTS).map(part).sum()
}

/// Counts twice; `say` is always called on the loop.
pub async fn demonstrate(
    reactor: Reactor,
    below: u64,
    say: impl Fn(String) + Clone + Send + 'static,
) -> Outcome<()> {
    let ticks = Rc::new(Cell::new((0, 0)));
    let counted = Rc::clone(&ticks);
    let ticker = LoopingCall::new(&reactor, move |since_last| {
        let (ticks, missed) = counted.get();
        counted.set((ticks + 1, missed + since_last - 1));
    });
    ticker.start(TICK, false);

    let (remote, progress) = (reactor.remote(), say.clone());
    let found = reactor.defer_to_thread(move || count(below, &remote, &progress)).await?;
    say(format!("{found} primes below {below}, in one job"));

    // All three are under way before the first one is awaited.
    let third = below / 3;
    let jobs = [0..third, third..2 * third, 2 * third..below];
    let jobs = jobs.map(|range| reactor.defer_to_thread(move || primes(range)));
    let mut found = 0;
    for job in jobs {
        found += job.await?;
    }
    say(format!("{found} primes below {below}, in three jobs"));

    ticker.stop();
    let (ticks, missed) = ticks.get();
    say(format!("{ticks} ticks of {} ms meanwhile, {missed} missed", TICK.as_millis()));
    Ok(())
}

fn main() -> ExitCode {
    ropewalk::main("threads", |app| {
        let reactor = app.reactor().clone();
        app.reactor().spawn(async move {
            if let Err(failure) = demonstrate(reactor.clone(), 600_000, |line| println!("{line}")).await {
                println!("{failure}");
            }
            reactor.stop();
        });
        Ok(())
    })
}
