//! A race between mirrors: the first good answer wins, the others are cancelled, and a failure is no answer.
//!
//! Run it with `cargo run --example race`. Each mirror takes its time, and the first one fails; it prints:
//! ```text
//! the mirror in Oslo is down
//! given up: Lima
//! from Rome after 80 ms
//! ```
#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;

use ropewalk::reactor::deferred::race;
use ropewalk::{Deferred, Outcome, Reactor, react};

/// A mirror that answers after so many milliseconds, if it answers.
#[derive(Clone, Copy)]
pub struct Mirror {
    /// Where it stands.
    pub city: &'static str,
    /// How long it takes, in milliseconds.
    pub takes: u64,
    /// Whether it works.
    pub up: bool,
}

/// The ones that `main` asks.
pub const MIRRORS: [Mirror; 3] = [
    Mirror { city: "Oslo", takes: 30, up: false },
    Mirror { city: "Rome", takes: 80, up: true },
    Mirror { city: "Lima", takes: 2000, up: true },
];

fn fetch(reactor: &Reactor, mirror: Mirror, say: impl Fn(String) + Clone + 'static) -> Deferred<String> {
    let cancelled = say.clone();
    // Who knows how to stop the work says so; here it is a timer.
    let (firing, deferred) = Deferred::with_canceller(reactor, move |_| {
        cancelled(format!("given up: {}", mirror.city));
    });
    reactor.call_later(Duration::from_millis(mirror.takes), move || {
        // It fails if the race is over; then nobody waits.
        let _ = if mirror.up {
            firing.callback(format!("from {} after {} ms", mirror.city, mirror.takes))
        } else {
            say(format!("the mirror in {} is down", mirror.city));
            firing.errback("down")
        };
    });
    deferred
}

/// The first good answer of several mirrors.
pub fn fastest(
    reactor: &Reactor,
    mirrors: &[Mirror],
    say: impl Fn(String) + Clone + 'static,
) -> Deferred<String> {
    let asked = mirrors.iter().map(|mirror| fetch(reactor, *mirror, say.clone()));
    race(reactor, asked).add_callback(|(_number, page)| page)
}

fn main() -> Outcome<()> {
    react(|reactor| async move {
        let say = |line: String| println!("{line}");
        let page = fastest(&reactor, &MIRRORS, say).await?;
        say(page);
        Ok(())
    })
}
