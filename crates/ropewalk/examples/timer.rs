//! Timers: a call later, one that is put off, one that is cancelled, and a ticker that knows how many ticks it missed.
//!
//! Run it with `cargo run --example timer`. It prints what happens and when, and ends after nine seconds:
//! ```text
//!   0.0 s  tick
//!   1.0 s  tick
//!   1.5 s  the tea may draw for another second, and nobody wants the egg
//!   2.0 s  tick
//!   3.0 s  the tea is ready
//!   3.0 s  tick
//!   4.0 s  the end comes in 5 s from now
//!   4.0 s  tick
//!   4.2 s  busy: nothing else runs meanwhile
//!   6.7 s  tick; missed before it: 1
//!   7.0 s  tick
//! ```
//! While it is busy, the reactor's watchdog says which callback holds the loop, by the line of this file that made it.
#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use ropewalk::Reactor;
use ropewalk::reactor::LoopingCall;

/// Sets the timers. `say` is told what happens, `busy` holds the loop for a while.
pub fn schedule(reactor: &Reactor, say: impl Fn(String) + 'static, busy: impl FnOnce() + 'static) {
    let (clock, start) = (reactor.clone(), reactor.now());
    let say = Rc::new(move |what: &str| {
        say(format!("{:5.1} s  {what}", (clock.now() - start).as_secs_f64()));
    });

    let told = Rc::clone(&say);
    let ticker = LoopingCall::new(reactor, move |ticks| match ticks {
        1 => told("tick"),
        _ => told(&format!("tick; missed before it: {}", ticks - 1)),
    });
    ticker.start(Duration::from_secs(1), true);

    let told = Rc::clone(&say);
    let tea = reactor.call_later(Duration::from_secs(2), move || told("the tea is ready"));
    let told = Rc::clone(&say);
    let egg = reactor.call_later(Duration::from_secs(4), move || told("the egg is ready"));

    let told = Rc::clone(&say);
    reactor.call_later(Duration::from_millis(1500), move || {
        // Both fail only for a call that has already happened or was cancelled.
        if tea.delay(Duration::from_secs(1)).is_ok() && egg.cancel().is_ok() {
            told("the tea may draw for another second, and nobody wants the egg");
        }
    });

    let told = Rc::clone(&say);
    reactor.call_later(Duration::from_millis(4200), move || {
        told("busy: nothing else runs meanwhile");
        busy();
    });

    // Whoever goes on asking puts the end off: `reset` counts from now on.
    let stopper = reactor.clone();
    let end = reactor.call_later(Duration::from_secs(5), move || {
        ticker.stop();
        stopper.stop();
    });
    reactor.call_later(Duration::from_secs(4), move || {
        if end.reset(Duration::from_secs(5)).is_ok() {
            say("the end comes in 5 s from now");
        }
    });
}

fn main() -> ExitCode {
    ropewalk::main("timer", |app| {
        schedule(
            app.reactor(),
            |line| println!("{line}"),
            || std::thread::sleep(Duration::from_millis(2500)),
        );
        Ok(())
    })
}
