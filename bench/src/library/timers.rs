//! A million timers put in and taken out again, between 1 ms and an hour away; the delays are the same for both.
//!
//! All hold a handle to each timer in a vector that is there before the clock runs. tokio's `Sleep` has to be boxed because it
//! cannot be moved once it is registered; it owns nothing but a waker that does nothing. A call of ours that owns nothing either
//! needs no allocation; one that owns something does, and has a row of its own. None fires: the loop has no turn meanwhile. The first million of a slice is not timed, it tells the memory: what is timed is a loop that has held as
//! many before.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use ropewalk_reactor::{DelayedCall, Random, Reactor};

use super::{Meter, Part, Slice};
use crate::account::Memory;

/// Timers pending at the top.
pub(crate) const COUNT: usize = 1_000_000;

const SEED: u64 = 1;

/// The parts, in the order in which they are done; and both of them together.
pub(crate) const PARTS: [&str; 3] = ["insert", "cancel", "both"];

pub(super) fn ropewalk(length: Duration) -> io::Result<Slice> {
    on_ropewalk(length, delays(COUNT), |reactor, delay| {
        reactor.call_later(delay, || FIRED.set(FIRED.get() + 1))
    })
}

pub(super) fn owning(length: Duration) -> io::Result<Slice> {
    let fired = Rc::new(Cell::new(0_u64));
    on_ropewalk(length, delays(COUNT), move |reactor, delay| {
        let fired = Rc::clone(&fired);
        reactor.call_later(delay, move || fired.set(fired.get() + 1))
    })
}

pub(super) fn tokio(length: Duration) -> io::Result<Slice> {
    on_tokio(length, &delays(COUNT))
}

thread_local! {
    /// What a call that owns nothing can count in.
    static FIRED: Cell<u64> = const { Cell::new(0) };
}

fn on_ropewalk(
    length: Duration,
    delays: Vec<Duration>,
    insert: impl Fn(&Reactor, Duration) -> DelayedCall + 'static,
) -> io::Result<Slice> {
    let reactor = Reactor::new()?;
    let outcome: Rc<RefCell<Option<io::Result<Slice>>>> = Rc::default();
    let (result, handle) = (Rc::clone(&outcome), reactor.clone());
    reactor.call_soon(move || {
        let cancel = |call: DelayedCall| call.cancel().expect("it has not come yet");
        *result.borrow_mut() = Some(repeated(length, &delays, |delay| insert(&handle, delay), cancel));
        handle.stop();
    });
    reactor.run()?;
    outcome.take().unwrap_or_else(|| Err(io::Error::other("the loop ended before the slice did")))
}

fn on_tokio(length: Duration, delays: &[Duration]) -> io::Result<Slice> {
    let runtime = ::tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    // Unconstrained: after 128 polls a task's budget would be used up, and the others would not be registered.
    runtime.block_on(::tokio::task::unconstrained(async move {
        let mut context = Context::from_waker(Waker::noop());
        let insert = |delay| {
            let mut sleep = Box::pin(::tokio::time::sleep(delay));
            let pending = sleep.as_mut().poll(&mut context).is_pending();
            assert!(pending, "the driver does not run, so that nothing is due");
            sleep
        };
        repeated(length, delays, insert, drop)
    }))
}

/// Again and again until the time is over.
fn repeated<T>(
    length: Duration,
    delays: &[Duration],
    mut insert: impl FnMut(Duration) -> T,
    mut cancel: impl FnMut(T),
) -> io::Result<Slice> {
    let bytes = in_and_out(delays, &mut insert, &mut cancel)?.bytes;
    let start = Instant::now();
    let mut sum = in_and_out(delays, &mut insert, &mut cancel)?;
    while start.elapsed() < length {
        let more = in_and_out(delays, &mut insert, &mut cancel)?;
        sum.parts.iter_mut().zip(&more.parts).for_each(|(sum, part)| sum.add(part));
    }
    Ok(Slice { bytes, ..sum })
}

fn delays(count: usize) -> Vec<Duration> {
    const MINIMUM_US: u64 = 1_000;
    const MAXIMUM_US: u64 = 3_600_000_000;
    let mut random = Random::new(SEED);
    let delay = |_| Duration::from_micros(MINIMUM_US + random.below(MAXIMUM_US - MINIMUM_US + 1));
    (0..count).map(delay).collect()
}

fn in_and_out<T>(
    delays: &[Duration],
    insert: impl FnMut(Duration) -> T,
    cancel: impl FnMut(T),
) -> io::Result<Slice> {
    let before = private()?;
    let mut timers: Vec<T> = Vec::with_capacity(delays.len());
    let meter = Meter::start()?;
    timers.extend(delays.iter().copied().map(insert));
    let inserted = meter.stop(PARTS[0], delays.len() as u64)?;

    let bytes = private()?.saturating_sub(before) as f64 / delays.len() as f64;
    let meter = Meter::start()?;
    timers.into_iter().for_each(cancel);
    let cancelled = meter.stop(PARTS[1], delays.len() as u64)?;
    let mut both = Part { name: PARTS[2].to_owned(), ..inserted.clone() };
    both.add(&cancelled);
    // A timer that was put in and taken out is one.
    both.done = inserted.done;
    Ok(Slice { parts: vec![inserted, cancelled, both], bytes: Some(bytes) })
}

fn private() -> io::Result<u64> {
    Ok(Memory::of(std::process::id())?.private_dirty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_the_same_every_time() {
        let delays = delays(1000);
        assert_eq!(delays, super::delays(1000));
        let hour = Duration::from_secs(3600);
        assert!(delays.iter().all(|delay| (Duration::from_millis(1)..=hour).contains(delay)));
    }

    #[test]
    fn both_sides_have_figures() {
        let length = Duration::from_millis(1);
        for slice in [
            on_ropewalk(length, delays(1000), |reactor, delay| reactor.call_later(delay, || ())),
            on_tokio(length, &delays(1000)),
        ] {
            let parts = slice.unwrap().parts;
            assert!(parts.len() == PARTS.len() && parts.iter().all(|part| part.done >= 1000.0));
        }
    }

    #[test]
    fn both_is_the_sum() {
        let slice = in_and_out(&[Duration::ZERO; 3], |delay| delay, drop).unwrap();
        let seconds: Vec<f64> = slice.parts.iter().map(|part| part.seconds).collect();
        assert_eq!(slice.parts[2].done, 3.0);
        assert!((seconds[0] + seconds[1] - seconds[2]).abs() < 1e-9);
    }
}
