//! The watchdog: a thread that looks at what the loop runs, and names the callback that holds it too long. The loop's part
//! is one store per callback; the watchdog owns the clock. It sleeps for good while the loop sleeps.
#![allow(
    clippy::disallowed_methods,
    reason = "the watchdog's clock is the one that does not depend on the loop"
)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use crate::name::Name;
use crate::slow::Ledger;

/// The loop is asleep.
const ASLEEP: u64 = 0;
/// The loop's own code runs, and no callback.
const AWAKE: u64 = 1;
/// Looks in which the loop was always asleep before the watchdog sleeps too.
const QUIET_LOOKS: u32 = 20;

/// Looks are never closer together, whatever the threshold.
const LOOK_MIN: Duration = Duration::from_millis(1);
/// A subscriber's formatting runs on the watchdog's stack; what is not touched costs no memory.
const STACK_BYTES: usize = 512 * 1024;

/// What the loop publishes: which callback runs, and a count that tells one run from the next.
#[derive(Default)]
pub(crate) struct Pulse {
    word: AtomicU64,
    watcher_sleeps: AtomicBool,
    watcher: Mutex<Option<Thread>>,
    blocked: AtomicU64,
    /// Who they were.
    pub(crate) slow: Ledger,
}

impl Pulse {
    pub(crate) fn publish(&self, name: Name, beat: u32) {
        self.word.store((u64::from(beat) << 32) | (u64::from(name.index()) + 2), Ordering::Relaxed);
    }

    /// The loop is back from its sleep. The watchdog is roused before the first callback runs, not after: that one may
    /// never come back. It sets its mark and then looks at the word, the loop sets the word and then looks at the mark.
    pub(crate) fn begin(&self) {
        self.word.store(AWAKE, Ordering::SeqCst);
        if self.watcher_sleeps.load(Ordering::SeqCst) {
            self.rouse();
        }
    }

    /// The loop goes to sleep.
    pub(crate) fn rest(&self) {
        self.word.store(ASLEEP, Ordering::Relaxed);
    }

    /// What runs at this moment.
    pub(crate) fn running(&self) -> Option<Name> {
        name_of(self.word.load(Ordering::Relaxed))
    }

    /// Callbacks that held the loop too long.
    pub(crate) fn blocked(&self) -> u64 {
        self.blocked.load(Ordering::Relaxed)
    }

    fn rouse(&self) {
        self.watcher_sleeps.store(false, Ordering::SeqCst);
        if let Some(thread) = &*self.watcher.lock().unwrap_or_else(PoisonError::into_inner) {
            thread.unpark();
        }
    }
}

/// The judgement, without thread and clock: is this look one too many at the same callback?
struct Look {
    threshold: Duration,
    word: u64,
    since: Duration,
    told: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    /// It holds the loop, for so long already.
    Holds(Name, Duration),
    /// It has let go, after about so long.
    LetGo(Name, Duration),
}

impl Look {
    fn new(threshold: Duration) -> Look {
        Look { threshold, word: ASLEEP, since: Duration::ZERO, told: false }
    }

    fn at(&mut self, word: u64, now: Duration) -> Verdict {
        if word != self.word {
            let verdict = match name_of(self.word) {
                Some(name) if self.told => Verdict::LetGo(name, now.saturating_sub(self.since)),
                _ => Verdict::Fine,
            };
            (self.word, self.since, self.told) = (word, now, false);
            return verdict;
        }
        let held = now.saturating_sub(self.since);
        match name_of(word) {
            Some(name) if !self.told && held >= self.threshold => {
                self.told = true;
                Verdict::Holds(name, held)
            }
            _ => Verdict::Fine,
        }
    }
}

fn name_of(word: u64) -> Option<Name> {
    ((word as u32).checked_sub(2)).map(Name::from_index)
}

/// The running watchdog; dropping it ends its thread.
pub(crate) struct Watchdog {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    pub(crate) fn start(pulse: &Arc<Pulse>, threshold: Duration) -> std::io::Result<Watchdog> {
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, stopping) = (Arc::clone(pulse), Arc::clone(&stop));
        let builder = std::thread::Builder::new().name("watchdog".to_owned()).stack_size(STACK_BYTES);
        let thread = builder.spawn(move || watch(&seen, &stopping, threshold))?;
        *pulse.watcher.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread.thread().clone());
        Ok(Watchdog { stop, thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It panics nowhere; if it did, the loop's end is no place to say so.
            let _ = thread.join();
        }
    }
}

fn watch(pulse: &Pulse, stop: &AtomicBool, threshold: Duration) {
    let start = Instant::now();
    let mut look = Look::new(threshold);
    let mut quiet = 0;
    while !stop.load(Ordering::SeqCst) {
        let word = pulse.word.load(Ordering::Relaxed);
        match look.at(word, start.elapsed()) {
            Verdict::Fine => {}
            Verdict::Holds(name, held) => {
                pulse.slow.holds(name, held);
                pulse.blocked.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(callback = %name, held_ms = held.as_millis() as u64, "a callback holds the loop");
            }
            Verdict::LetGo(name, held) => {
                pulse.slow.let_go(name, held);
                tracing::warn!(callback = %name, held_ms = held.as_millis() as u64, "the callback has let go of the loop");
            }
        }
        quiet = if word == ASLEEP { quiet + 1 } else { 0 };
        if quiet > QUIET_LOOKS {
            quiet = 0;
            pulse.watcher_sleeps.store(true, Ordering::SeqCst);
            if pulse.word.load(Ordering::SeqCst) == ASLEEP {
                std::thread::park();
            }
        } else {
            std::thread::park_timeout((threshold / 4).max(LOOK_MIN));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_is_named_once_and_its_end_is_told() {
        let ms = Duration::from_millis;
        let pulse = Pulse::default();
        let name = Name::new("slow one");
        let mut look = Look::new(ms(100));
        pulse.publish(name, 1);
        let word = pulse.word.load(Ordering::Relaxed);
        assert_eq!(look.at(word, ms(10)), Verdict::Fine);
        assert_eq!(look.at(word, ms(100)), Verdict::Fine);
        assert_eq!(look.at(word, ms(110)), Verdict::Holds(name, ms(100)));
        assert_eq!(look.at(word, ms(500)), Verdict::Fine, "once is enough");
        pulse.publish(name, 2);
        let word = pulse.word.load(Ordering::Relaxed);
        assert_eq!(look.at(word, ms(510)), Verdict::LetGo(name, ms(500)));
        assert_eq!(look.at(word, ms(520)), Verdict::Fine, "the next run of the same callback is another");
    }

    #[test]
    fn a_loop_that_sleeps_is_never_held() {
        let mut look = Look::new(Duration::from_millis(100));
        for second in 0..100 {
            assert_eq!(look.at(ASLEEP, Duration::from_secs(second)), Verdict::Fine);
        }
    }

    fn wait_until(what: &str, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < Duration::from_secs(30), "{what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_first_callback_after_a_long_silence_is_named_while_it_holds_the_loop() {
        // 1. The loop sleeps for so long that the watchdog goes to sleep too. 2. It wakes, and its first callback never
        //    comes back. 3. The watchdog was roused only at the end of a turn, and this turn had none.
        let pulse = Arc::new(Pulse::default());
        let _watchdog = Watchdog::start(&pulse, Duration::from_millis(1)).unwrap();
        for beat in 1..=3 {
            wait_until("it goes to sleep", || pulse.watcher_sleeps.load(Ordering::SeqCst));
            pulse.begin();
            pulse.publish(Name::new("endless"), beat);
            wait_until("it is named", || pulse.blocked() == u64::from(beat));
            pulse.rest();
        }
    }
}
