//! One turn of the loop, in the order of the design, written here and nowhere else:
//!
//! 1. set the sleeping mark, look into the mailbox once more, poll the driver, clear the mark;
//! 2. take the time, once, after the sleep; 3. mail and signals; 4. events; 5. due timers; 6. ready work; 7. flush;
//! 8. account.
//!
//! Called by `run` and by the simulation. Callbacks never run while anything of the reactor is borrowed.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::failure::Failure;
use crate::name::Name;
use crate::reactor::{Phase, Reactor, Ready};
use crate::source::{Key, Readiness, Source};
use crate::time::{Nanos, Time};
use crate::timer::Due;

/// Rounds of ready work before the turn goes on to flush, so that callbacks that call each other cannot starve the sockets.
const READY_ROUNDS_MAX: usize = 16;
/// Callbacks in one turn's ready work.
const READY_CALLS_MAX: usize = 20_000;
/// Full batches of events taken before timers are looked at.
const BATCHES_MAX: usize = 32;
/// A turn that was late by more than this was stalled: nobody is held to a deadline that passed meanwhile.
const STALL: Nanos = 500_000_000;
/// What a source whose deadline passed during a stall gets instead.
const STALL_GRACE: Duration = Duration::from_secs(5);
/// A sleep shorter than this is measured from the very moment it begins; a longer one from the turn before it, unless that
/// took a tick of the cheap clock.
const NEAR: Nanos = 50_000_000;
/// Turns that took longer than this are counted, if a tick of the cheap clock fell into them: all that took some milliseconds.
const SLOW_TURN: Duration = Duration::from_millis(1);

/// What the loop has done. See [`Statistics`].
#[derive(Default)]
pub(crate) struct Account {
    turns: Cell<u64>,
    slow_turns: Cell<u64>,
    longest: Cell<Duration>,
    calls: Cell<u64>,
    events: Cell<u64>,
    timers: Cell<u64>,
    stalls: Cell<u64>,
    /// The end of the turn before: what the next sleep is computed from.
    ended: Cell<Time>,
    wanted: Cell<Option<Time>>,
}

impl Account {
    /// The loop begins to run: what passed before is not lateness.
    pub(crate) fn begin(&self, now: Time) {
        self.ended.set(now);
    }
}

/// Figures of one reactor since it was made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Statistics {
    /// Turns of the loop.
    pub turns: u64,
    /// Turns that took longer than a millisecond: all that took a tick of the system's cheap clock (1 to 4 ms), and a share
    /// of the shorter ones.
    pub slow_turns: u64,
    /// The longest turn.
    pub longest_turn: Duration,
    /// Ready callbacks and wake-ups that were run.
    pub calls: u64,
    /// Events of the driver that were handed over.
    pub events: u64,
    /// Timers that fired.
    pub timers_fired: u64,
    /// Times the loop came back so late that deadlines were put off.
    pub stalls: u64,
    /// Callbacks that held the loop longer than the watchdog's threshold.
    pub blocked: u64,
    /// Timers and deadlines that wait.
    pub timers: usize,
    /// Connections, listeners, tasks and foreign descriptors.
    pub sources: usize,
    /// Callbacks that wait for their turn.
    pub ready: usize,
}

impl Reactor {
    /// What this reactor has done and holds.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let core = &self.0;
        let account = &core.account;
        Statistics {
            turns: account.turns.get(),
            slow_turns: account.slow_turns.get(),
            longest_turn: account.longest.get(),
            calls: account.calls.get(),
            events: account.events.get(),
            timers_fired: account.timers.get(),
            stalls: account.stalls.get(),
            blocked: core.pulse.blocked(),
            timers: core.wheel.borrow().len(),
            sources: core.sources.borrow().len(),
            ready: core.ready.borrow().len(),
        }
    }

    /// One turn. It sleeps until something happens, unless something already waits.
    pub(crate) fn turn(&self) -> std::io::Result<()> {
        self.wait()?;
        let lateness = self.take_time();
        self.take_mail();
        self.hand_over_events()?;
        self.run_timers(lateness > STALL);
        self.run_ready();
        self.flush();
        self.account();
        Ok(())
    }

    /// Whether anything waits that this thread put in: the next turn does not sleep.
    pub(crate) fn has_local_work(&self) -> bool {
        let core = &self.0;
        !core.ready.borrow().is_empty() || !core.again.borrow().is_empty() || !core.dirty.borrow().is_empty()
    }

    fn wait(&self) -> std::io::Result<()> {
        let core = &self.0;
        let until = self.wake_at();
        if let Some(until) = until
            && until > core.now.get()
            && until.nanos_since(core.now.get()) < NEAR
        {
            core.account.ended.set(core.driver.now());
        }
        core.account.wanted.set(until);
        core.mailbox.set_sleeping(true);
        let until = if core.mailbox.is_empty() { until } else { Some(Time::START) };
        core.pulse.rest();
        let polled = core.driver.poll(core.account.ended.get(), until, &mut core.events.borrow_mut());
        core.mailbox.set_sleeping(false);
        core.pulse.begin();
        polled
    }

    /// Until when the loop may sleep: not at all if anything is ready, else until the next timer.
    fn wake_at(&self) -> Option<Time> {
        let core = &self.0;
        let at_once =
            self.has_local_work() || core.driver.has_signals() || matches!(core.phase.get(), Phase::Stopped);
        if at_once {
            return Some(Time::START);
        }
        let tick = core.wheel.borrow().next_tick()?;
        Some(Time::from_nanos(tick.saturating_mul(1_000_000)))
    }

    /// Takes the time; answers how much later the loop came back than it wanted to.
    fn take_time(&self) -> Nanos {
        let core = &self.0;
        let before = core.now.get();
        let now = core.driver.now();
        core.now.set(now);
        let account = &core.account;
        let worked = account.ended.get().nanos_since(before);
        let overslept =
            account.wanted.get().map_or(0, |wanted| now.nanos_since(wanted.max(account.ended.get())));
        worked.max(overslept)
    }

    fn take_mail(&self) {
        self.drain_mail();
        for signal in self.0.driver.take_signals() {
            self.deliver_signal(signal);
        }
    }

    fn hand_over_events(&self) -> std::io::Result<()> {
        let core = &self.0;
        if !core.again.borrow().is_empty() {
            self.hand_over_again();
        }
        for _ in 0..BATCHES_MAX {
            let mut events = std::mem::take(&mut *core.events.borrow_mut());
            // The driver keeps at most two events of a batch to itself, its wake-up and the signals.
            let full = events.len() + 2 >= crate::driver::EVENTS_MAX;
            core.account.events.set(core.account.events.get() + events.len() as u64);
            for event in events.drain(..) {
                self.call_source(event.key, |source| source.ready(event.readiness));
            }
            *core.events.borrow_mut() = events;
            if !full {
                break;
            }
            // More may wait, of peers whose deadline would be judged next: hear them first.
            core.driver.poll(core.now.get(), Some(Time::START), &mut core.events.borrow_mut())?;
        }
        Ok(())
    }

    /// What was put off in the turn before.
    #[inline(never)]
    fn hand_over_again(&self) {
        let core = &self.0;
        let again = std::mem::take(&mut *core.again.borrow_mut());
        for (key, mut readiness) in again {
            if readiness != Readiness::NONE {
                readiness = core.sources.borrow_mut().take_mark(key);
            }
            self.call_source(key, |source| source.ready(readiness));
        }
    }

    fn run_timers(&self, stalled: bool) {
        let core = &self.0;
        let now = core.now.get();
        if stalled {
            core.account.stalls.set(core.account.stalls.get() + 1);
        }
        // A timer that puts in another that is due at once does not keep the turn from its end: that one is of the next.
        if core.wheel.borrow_mut().begin(now.as_millis()) {
            self.run_batch(now, stalled);
        }
    }

    #[inline(never)]
    fn run_batch(&self, now: Time, stalled: bool) {
        let core = &self.0;
        loop {
            let due = core.wheel.borrow_mut().pop();
            let Some(due) = due else { break };
            match due {
                Due::Call(name, call) => {
                    core.account.timers.set(core.account.timers.get() + 1);
                    self.enter(name);
                    self.guard(name, call);
                }
                Due::Sleep(name, nap) => {
                    core.account.timers.set(core.account.timers.get() + 1);
                    self.enter(name);
                    self.guard(name, || nap.end());
                }
                Due::Source(key) if stalled => self.put_off(key, now + STALL_GRACE),
                Due::Source(key) => {
                    core.account.timers.set(core.account.timers.get() + 1);
                    self.call_source(key, |source| source.due());
                }
            }
        }
    }

    /// The loop was away: what this source's peer did meanwhile may still be on its way up.
    fn put_off(&self, key: Key, until: Time) {
        self.call_source(key, |source| source.put_off(until));
    }

    fn run_ready(&self) {
        let core = &self.0;
        let mut calls = 0;
        for _ in 0..READY_ROUNDS_MAX {
            let round = core.ready.borrow().len().min(READY_CALLS_MAX - calls);
            if round == 0 {
                break;
            }
            for _ in 0..round {
                let Some(ready) = core.ready.borrow_mut().pop_front() else { break };
                self.run_one(ready);
            }
            calls += round;
        }
        core.account.calls.set(core.account.calls.get() + calls as u64);
    }

    fn run_one(&self, ready: Ready) {
        match ready {
            Ready::Call(name, call) => {
                self.enter(name);
                self.guard(name, call);
            }
            Ready::Wake(handle) => {
                let key = handle.clear();
                self.call_source(key, |source| source.woken());
            }
            Ready::Source(key) => self.call_source(key, |source| source.woken()),
        }
    }

    fn flush(&self) {
        let core = &self.0;
        if core.dirty.borrow().is_empty() {
            return;
        }
        let mut dirty = std::mem::take(&mut *core.dirty.borrow_mut());
        for key in dirty.drain(..) {
            self.call_source(key, |source| source.flush());
        }
        // What flushing itself made dirty waits for the next turn, which does not sleep over it.
        let mut added = core.dirty.borrow_mut();
        if added.is_empty() {
            *added = dirty;
        }
    }

    fn account(&self) {
        let core = &self.0;
        let account = &core.account;
        account.turns.set(account.turns.get() + 1);
        account.ended.set(core.now.get());
        if core.driver.last_tick() <= core.now.get() {
            // Not even a tick of the cheap clock has passed.
            return;
        }
        let now = core.driver.now();
        account.ended.set(now);
        let took = now.since(core.now.get());
        if took > SLOW_TURN {
            account.slow_turns.set(account.slow_turns.get() + 1);
            account.longest.set(account.longest.get().max(took));
        }
    }

    /// Tells every source that the program is about to stop: listeners close, idle connections end, requests in flight are
    /// answered and then closed, streams are ended politely. The loop goes on; whoever calls this waits as long as it likes.
    pub fn announce_stop(&self) {
        let sources = self.0.sources.borrow().all();
        for (key, _) in sources {
            self.call_source(key, |source| source.stopping());
        }
    }

    /// Publishes what runs now, for the watchdog: one store.
    pub(crate) fn enter(&self, name: Name) {
        let core = &self.0;
        let beat = core.beat.get().wrapping_add(1);
        core.beat.set(beat);
        core.pulse.publish(name, beat);
    }

    fn call_source(&self, key: Key, call: impl FnOnce(Rc<dyn Source>)) {
        let source = self.0.sources.borrow().find(key);
        if let Some(source) = source {
            let name = source.name();
            self.enter(name);
            self.guard(name, || call(source));
        }
    }

    /// The boundary that keeps a panic of one callback from ending the loop.
    pub(crate) fn guard(&self, name: Name, call: impl FnOnce()) {
        if let Err(payload) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)) {
            tracing::error!(callback = %name, "{}", Failure::from_panic(payload));
        }
    }
}
