//! What happens around startup and shutdown, in three phases each, and `run` and `stop` themselves. Every trigger of a phase
//! is awaited before the next phase begins, so that shutdown waits for what is in flight.

use std::future::Future;
use std::io;
use std::pin::Pin;

use crate::name::Name;
use crate::reactor::{Phase as State, Reactor};
use crate::remote;
use crate::time::Time;
use crate::watchdog::Watchdog;

/// When a trigger runs, relative to the event itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before it: at shutdown, while everything still works.
    Before,
    /// During it: at shutdown, when listeners and connections close.
    During,
    /// After it: at shutdown, the last thing.
    After,
}

/// What a trigger belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SystemEvent {
    /// The loop begins to run.
    Startup,
    /// [`Reactor::stop`] was called.
    Shutdown,
}

type Trigger = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>>>;

/// A trigger's identity, for removing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TriggerId(u64);

#[derive(Default)]
pub(crate) struct Triggers {
    entries: Vec<(TriggerId, SystemEvent, Phase, Name, Trigger)>,
    serial: u64,
}

impl Triggers {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn take(&mut self, event: SystemEvent, phase: Phase) -> Vec<(Name, Trigger)> {
        let (taken, kept): (Vec<_>, Vec<_>) =
            self.entries.drain(..).partition(|entry| entry.1 == event && entry.2 == phase);
        self.entries = kept;
        taken.into_iter().map(|entry| (entry.3, entry.4)).collect()
    }
}

impl Reactor {
    /// Adds what is to happen around startup or shutdown. Triggers of one phase begin in the order in which they were added
    /// and run side by side; the next phase waits for all of them.
    ///
    /// ```
    /// use ropewalk_reactor::{Phase, Reactor, SystemEvent};
    /// let reactor = Reactor::new()?;
    /// reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, || async { println!("saving") });
    /// reactor.call_when_running({ let reactor = reactor.clone(); move || reactor.stop() });
    /// reactor.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn add_system_event_trigger<F: Future<Output = ()> + 'static>(
        &self,
        phase: Phase,
        event: SystemEvent,
        trigger: impl FnOnce() -> F + 'static,
    ) -> TriggerId {
        let name = Name::here();
        let mut triggers = self.0.triggers.borrow_mut();
        triggers.serial += 1;
        let id = TriggerId(triggers.serial);
        triggers.entries.push((id, event, phase, name, Box::new(move || Box::pin(trigger()))));
        id
    }

    /// Takes a trigger out again. Answers whether it was still there.
    pub fn remove_system_event_trigger(&self, id: TriggerId) -> bool {
        let mut triggers = self.0.triggers.borrow_mut();
        let before = triggers.entries.len();
        triggers.entries.retain(|entry| entry.0 != id);
        before != triggers.entries.len()
    }

    /// Calls `call` once the loop runs: among the ready work if it already does, also while it shuts down.
    #[track_caller]
    pub fn call_when_running(&self, call: impl FnOnce() + 'static) {
        if self.0.phase.get() == State::New {
            self.add_system_event_trigger(Phase::After, SystemEvent::Startup, || async { call() });
        } else {
            self.call_soon(call);
        }
    }

    /// Whether the loop runs and was not told to stop.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.0.phase.get() == State::Running
    }

    /// Runs the loop until [`Reactor::stop`] and all that shutdown waits for. A reactor that was stopped before it ran does
    /// nothing but shut down.
    ///
    /// # Errors
    /// The system's event queue failed, the reactor has run before, or a simulation has nothing left to do.
    pub fn run(&self) -> io::Result<()> {
        self.start()?;
        let here = remote::enter(&self.0);
        let mut outcome = Ok(());
        while self.0.phase.get() != State::Stopped {
            outcome = self.turn();
            if outcome.is_ok() && self.is_deadlocked() {
                outcome = Err(io::Error::other("the simulation has nothing left to do"));
            }
            if outcome.is_err() {
                break;
            }
        }
        drop(here);
        self.finish();
        outcome
    }

    /// Begins to run: the watchdog, and the startup triggers.
    pub(crate) fn start(&self) -> io::Result<()> {
        let core = &self.0;
        if core.ran.replace(true) || core.phase.get() == State::Stopped {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a reactor runs once"));
        }
        if let Some(threshold) = core.watch.get() {
            let watchdog = Watchdog::start(&core.pulse, threshold).inspect_err(|_| core.ran.set(false))?;
            *core.watchdog.borrow_mut() = Some(watchdog);
        }
        core.now.set(core.driver.now());
        core.account.begin(core.now.get());
        // Stopped before it ran: it only shuts down.
        if core.phase.get() == State::New {
            core.phase.set(State::Running);
            self.start_up();
        }
        Ok(())
    }

    fn start_up(&self) {
        let reactor = self.clone();
        self.spawn_named(Name::new("startup"), async move {
            for phase in [Phase::Before, Phase::During, Phase::After] {
                // What a stop finds not yet begun does not begin: shutdown may already be past what it needs.
                if reactor.is_running() {
                    reactor.pull(SystemEvent::Startup, phase).await;
                }
            }
        });
        // Before whatever was put in while the loop did not run.
        let mut ready = self.0.ready.borrow_mut();
        ready.rotate_right(1);
    }

    /// Stops the loop: the shutdown triggers run, phase by phase, and are awaited; then `run` returns. A second call
    /// changes nothing; see [`Reactor::crash`] for leaving at once.
    pub fn stop(&self) {
        match self.0.phase.get() {
            State::New | State::Running => {}
            State::Stopping | State::Stopped => return,
        }
        self.0.phase.set(State::Stopping);
        let reactor = self.clone();
        self.spawn_named(Name::new("shutdown"), async move {
            for phase in [Phase::Before, Phase::During, Phase::After] {
                reactor.pull(SystemEvent::Shutdown, phase).await;
            }
            reactor.crash();
        });
    }

    /// Ends the loop after this turn, without triggers.
    pub fn crash(&self) {
        self.0.phase.set(State::Stopped);
    }

    async fn pull(&self, event: SystemEvent, phase: Phase) {
        loop {
            let triggers = self.0.triggers.borrow_mut().take(event, phase);
            // A trigger of this phase may have added another to it.
            if triggers.is_empty() {
                break;
            }
            let spawn = |(name, trigger): (Name, Trigger)| self.spawn_named(name, async { trigger().await });
            let tasks: Vec<_> = triggers.into_iter().map(spawn).collect();
            for task in tasks {
                // A trigger that panicked was logged, and must not keep the others from their turn.
                let _ = task.await;
            }
        }
    }

    /// The reactor's time at the point where this turn's sleep ends at the latest: nothing else is known to come.
    pub(crate) fn next_timer(&self) -> Option<Time> {
        let tick = self.0.wheel.borrow().next_tick()?;
        Some(Time::from_nanos(tick.saturating_mul(1_000_000)))
    }
}
