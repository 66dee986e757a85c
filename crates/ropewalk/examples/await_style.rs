//! The same in the await style: a deferred is a future, a future is a deferred, and `?` does what an errback does.
//!
//! Run it with `cargo run --example await_style`. It brews two cups, the second with too little patience, and prints:
//! ```text
//! water is hot
//! a cup of tea
//! water is hot
//! no second cup: timed out after 50ms
//! ```
#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;

use ropewalk::{Deferred, Outcome, Reactor, react};

/// Written with callbacks …
fn boil(reactor: &Reactor, say: impl Fn(&str) + 'static) -> Deferred<u32> {
    reactor.defer_later(Duration::from_millis(20), || 95).add_callback(move |degrees| {
        say("water is hot");
        degrees
    })
}

/// … and written as a future. What it awaits is cancelled when this is dropped.
async fn brew(reactor: Reactor, say: impl Fn(&str) + 'static) -> Outcome<&'static str> {
    let degrees = boil(&reactor, say).await?;
    if degrees < 90 {
        return Err("too cold for tea".into());
    }
    reactor.sleep(Duration::from_millis(100)).await;
    Ok("a cup of tea")
}

/// Two cups, one after the other.
pub async fn breakfast(reactor: Reactor, say: impl Fn(&str) + Clone + 'static) -> Outcome<()> {
    say(brew(reactor.clone(), say.clone()).await?);

    // A future becomes a deferred, and has all that deferreds have.
    let hasty = reactor
        .ensure_deferred(brew(reactor.clone(), say.clone()))
        .add_timeout(Duration::from_millis(50))
        .add_errback(|failure| -> Outcome<&str> { Err(format!("no second cup: {failure}").into()) });
    match hasty.await {
        Ok(cup) => say(cup),
        Err(failure) => say(&failure.to_string()),
    }
    Ok(())
}

fn main() -> Outcome<()> {
    react(|reactor| breakfast(reactor, |line| println!("{line}")))
}
