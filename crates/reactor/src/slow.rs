//! Which callbacks have held a loop too long: how often, how long, when last. The watchdog writes it down, on its own thread, and costs the
//! loop nothing; `Reactor::slow_callbacks` reads it. What the watchdog calls too long is its own business.
#![allow(
    clippy::disallowed_methods,
    reason = "it is written by the watchdog, whose clock does not depend on the loop"
)]

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::name::Name;
use crate::reactor::Reactor;

/// A callback that has held its loop longer than the watchdog's threshold. Times are as the watchdog saw them, exact to a quarter of its
/// threshold, and rather too short.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlowCallback {
    /// What it is called.
    pub name: Name,
    /// How often it held the loop too long.
    pub times: u64,
    /// The longest of these times.
    pub longest: Duration,
    /// All of them together.
    pub total: Duration,
    /// How long ago the last one was.
    pub ago: Duration,
}

/// What the watchdog has seen. There are no more entries than names in the program.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<BTreeMap<Name, Entry>>);

struct Entry {
    times: u64,
    longest: Duration,
    total: Duration,
    /// What of `total` is of the time that is not over yet.
    open: Duration,
    last: Instant,
}

impl Ledger {
    /// It holds the loop, for so long already.
    pub(crate) fn holds(&self, name: Name, held: Duration) {
        self.note(name, held, Instant::now(), true);
    }

    /// It has let go, after so long.
    pub(crate) fn let_go(&self, name: Name, held: Duration) {
        self.note(name, held, Instant::now(), false);
    }

    fn note(&self, name: Name, held: Duration, now: Instant, begins: bool) {
        let mut entries = self.lock();
        let entry = entries.entry(name).or_insert(Entry {
            times: 0,
            longest: Duration::ZERO,
            total: Duration::ZERO,
            open: Duration::ZERO,
            last: now,
        });
        entry.times += u64::from(begins);
        entry.longest = entry.longest.max(held);
        entry.total += held.saturating_sub(entry.open);
        entry.open = if begins { held } else { Duration::ZERO };
        entry.last = now;
    }

    /// Everything, as it is at this moment.
    pub(crate) fn now(&self) -> Vec<SlowCallback> {
        self.list(Instant::now())
    }

    fn list(&self, now: Instant) -> Vec<SlowCallback> {
        let entries = self.lock();
        let listed = entries.iter().map(|(name, entry)| SlowCallback {
            name: *name,
            times: entry.times,
            longest: entry.longest,
            total: entry.total,
            ago: now.saturating_duration_since(entry.last),
        });
        let mut listed: Vec<SlowCallback> = listed.collect();
        listed.sort_by_key(|slow| Reverse(slow.longest));
        listed
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reactor {
    /// The callbacks that have held this loop longer than the watchdog's threshold since it was made, the longest first.
    ///
    /// ```
    /// use ropewalk_reactor::Reactor;
    /// let reactor = Reactor::new()?;
    /// assert_eq!(reactor.slow_callbacks(), []);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn slow_callbacks(&self) -> Vec<SlowCallback> {
        self.0.pulse.slow.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_counts_once_and_the_longest_comes_first() {
        let (ms, begin) = (Duration::from_millis, Instant::now());
        let ledger = Ledger::default();
        let (one, other) = (Name::new("slow once"), Name::new("slow twice"));
        ledger.note(other, ms(100), begin, true);
        ledger.note(other, ms(150), begin + ms(50), false);
        ledger.note(one, ms(100), begin + ms(200), true);
        ledger.note(one, ms(400), begin + ms(500), false);
        ledger.note(other, ms(110), begin + ms(1000), true);
        let listed = ledger.list(begin + ms(1500));
        let figures: Vec<_> =
            listed.iter().map(|slow| (slow.name, slow.times, slow.longest, slow.total, slow.ago)).collect();
        assert_eq!(
            figures,
            [(one, 1, ms(400), ms(400), ms(1000)), (other, 2, ms(150), ms(260), ms(500))],
            "what is not over yet counts with what it has so far"
        );
    }
}
