//! Many sessions at once against a real server on real sockets, with commands that are right, half right and garbage: nothing panics, no
//! descriptor is left, nothing outside the root is touched, memory stays within bounds, and whoever behaves is served all the while.
//!
//! A short run is one of the ordinary tests. The long one takes its length and its seed from the environment:
//!
//! ```text
//! ROPEWALK_FUZZ_SECONDS=600 ROPEWALK_FUZZ_SEED=7 cargo test -p ropewalk-ftp --test fuzz -- --ignored --nocapture
//! ```
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]
#![allow(clippy::print_stdout, reason = "the figures are what one runs it for")]

mod common;
mod siege;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use siege::{Siege, besiege};

/// Descriptors are counted in the whole process: one run at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn run(siege: &Siege) {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let figures = besiege(siege);
    drop(alone);
    println!("seed {}, {:?}, {} clients at once: {figures:#?}", siege.seed, siege.time, siege.clients);
    assert_eq!(figures.panics, 0, "something panicked; the lines above say what");
    assert_eq!(figures.descriptors_left, Vec::<String>::new());
    assert_eq!(figures.touched, Vec::<String>::new(), "outside the root");
    assert_eq!(figures.uploads_left, Vec::<String>::new());
    assert!(figures.proper > 0, "whoever behaves is served");
    assert!(figures.server.uploads > 0 && figures.server.downloads > 0 && figures.server.broken > 0);
    assert!(figures.resident_bytes_max < siege.resident_bytes_max, "{} bytes", figures.resident_bytes_max);
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a whole number")))
}

#[test]
fn fuzz_for_a_moment() {
    run(&Siege {
        seed: 1,
        time: Duration::from_secs(2),
        clients: 60,
        data_connect: Duration::from_secs(4),
        resident_bytes_max: 300 << 20,
    });
}

#[test]
#[ignore = "as long as ROPEWALK_FUZZ_SECONDS says: to be run by hand, or at night"]
fn fuzz_sessions() {
    run(&Siege {
        seed: number("ROPEWALK_FUZZ_SEED", 1),
        time: Duration::from_secs(number("ROPEWALK_FUZZ_SECONDS", 10)),
        clients: number("ROPEWALK_FUZZ_CLIENTS", 500) as usize,
        data_connect: Duration::from_secs(10),
        resident_bytes_max: 600 << 20,
    });
}
