//! Allocations of each way through ten steps: `ropewalk-bench-counted` prints a line per way, with allocations and bytes per chain.
//!
//! A program of its own, because its allocator counts, and counting takes time. `scenario::library` runs it for the table of
//! `deferred`; the work is `library/deferred.rs`.
#![forbid(unsafe_code)]

#[path = "library/deferred.rs"]
mod deferred;

use std::alloc::System;
use std::cell::Cell;
use std::process::ExitCode;
use std::rc::Rc;

use stats_alloc::{INSTRUMENTED_SYSTEM, Stats, StatsAlloc};

use deferred::{BATCH, Kind, WARM_UP_BATCHES};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BATCHES: u64 = 1000;

const KINDS: [Kind; 5] = [Kind::Callbacks, Kind::Tasks, Kind::Awaits, Kind::TokioTasks, Kind::TokioAwaits];

fn main() -> ExitCode {
    for kind in KINDS {
        match count(kind) {
            Ok((calls, bytes)) => println!("{kind:?} {calls:.2} {bytes:.0}"),
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Allocations per chain, those that grow one included, and bytes.
fn count(kind: Kind) -> std::io::Result<(f64, f64)> {
    let (before, after) = (Rc::new(Cell::new(Stats::default())), Rc::new(Cell::new(Stats::default())));
    let (first, last, mut batches) = (Rc::clone(&before), Rc::clone(&after), 0);
    deferred::run(kind, move || {
        if batches == WARM_UP_BATCHES {
            first.set(ALLOCATOR.stats());
        }
        last.set(ALLOCATOR.stats());
        batches += 1;
        batches <= WARM_UP_BATCHES + BATCHES
    })?;
    let spent = after.get() - before.get();
    let each = |count: usize| count as f64 / (BATCHES as f64 * BATCH as f64);
    Ok((each(spent.allocations + spent.reallocations), each(spent.bytes_allocated)))
}
