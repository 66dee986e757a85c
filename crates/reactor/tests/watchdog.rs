//! The watchdog of the real loop: who holds it is named and counted while he holds it.
//! The callback under test holds the loop until it has been named; no test sleeps.
#![allow(clippy::unwrap_used, reason = "what fails in the helpers of a test fails the test")]

mod support;

use std::fmt::{Debug, Write};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use ropewalk_reactor::{Name, Reactor};
use support::{PATIENCE, Trace, run};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Sends the text of every event to the test.
struct Told(Mutex<mpsc::Sender<String>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{}={value:?} ", field.name()).expect("a string takes everything");
    }
}

impl Subscriber for Told {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let _ = self.0.lock().unwrap().send(text.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// What the one subscriber of this process was told.
fn told() -> &'static Mutex<mpsc::Receiver<String>> {
    static TOLD: OnceLock<Mutex<mpsc::Receiver<String>>> = OnceLock::new();
    TOLD.get_or_init(|| {
        let (sender, receiver) = mpsc::channel();
        tracing::subscriber::set_global_default(Told(Mutex::new(sender))).expect("it is the only one");
        Mutex::new(receiver)
    })
}

/// Tests take turns: the subscriber is the process's.
fn my_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    while told().lock().unwrap().try_recv().is_ok() {}
    turn
}

/// Holds the loop from within a callback until the watchdog tells, and answers what it tells.
fn hold() -> String {
    told().lock().unwrap().recv_timeout(PATIENCE).expect("the watchdog tells while the callback runs")
}

#[test]
fn the_callback_that_holds_the_loop_is_named_and_counted() {
    let _turn = my_turn();
    let reactor = Reactor::new().unwrap();
    reactor.set_watchdog(Some(Duration::from_millis(20)));
    let (trace, holder) = (Trace::default(), reactor.clone());
    let inner = trace.clone();
    reactor.call_soon_named(Name::new("the slow one"), move || {
        let before = holder.statistics().blocked;
        inner.note(hold());
        inner.note(before);
        inner.note(holder.statistics().blocked);
        let slow = &holder.slow_callbacks()[0];
        assert_eq!((slow.name.to_string().as_str(), slow.times), ("the slow one", 1));
        assert!(slow.longest >= Duration::from_millis(20) && slow.total == slow.longest, "{slow:?}");
        holder.stop();
    });
    run(&reactor);
    let told = trace.take();
    assert!(told.contains("callback=the slow one") && told.contains("holds the loop"), "{told}");
    assert!(told.ends_with("0 1"), "counted once, while it ran: {told}");
}

#[test]
fn its_letting_go_is_told_too() {
    let _turn = my_turn();
    let reactor = Reactor::new().unwrap();
    reactor.set_watchdog(Some(Duration::from_millis(20)));
    let holder = reactor.clone();
    reactor.call_soon(move || {
        hold();
        // The next callback holds it until the end of this one was told.
        let stopper = holder.clone();
        holder.call_soon(move || {
            let told = hold();
            assert!(told.contains("has let go") && told.contains("watchdog.rs:"), "{told}");
            stopper.stop();
        });
    });
    run(&reactor);
}
