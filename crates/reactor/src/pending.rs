//! What a reactor still holds: timers, calls, sources, each by its name. A look from outside, for tests that want nothing
//! left over and for programs that want to know what they wait for; it is linear, and nothing of the loop calls it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::name::Name;
use crate::reactor::{Reactor, Ready};
use crate::source::Key;
use crate::time::Time;
use crate::timer::Due;

/// Something that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pending {
    /// A call that waits for its turn.
    Call {
        /// Its name: mostly the place that made it.
        name: Name,
    },
    /// A call that is to come: `call_later`, a sleep, a looping call's next tick.
    Timer {
        /// Its name: mostly the place that made it.
        name: Name,
        /// In how long; zero if it is due.
        due_in: Duration,
    },
    /// A connection, a listener, a task, a descriptor.
    Source {
        /// Its name.
        name: Name,
        /// Which of these it is.
        kind: &'static str,
        /// What it is known by.
        key: Key,
        /// In how long its deadline is, if it has one.
        due_in: Option<Duration>,
    },
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pending::Call { name } => write!(f, "call {name}"),
            Pending::Timer { name, due_in } => write!(f, "timer {name}, due in {due_in:?}"),
            Pending::Source { name, kind, due_in: None, .. } => write!(f, "{kind} {name}"),
            Pending::Source { name, kind, due_in: Some(due_in), .. } => {
                write!(f, "{kind} {name}, with a deadline in {due_in:?}")
            }
        }
    }
}

impl Reactor {
    /// All that has not ended: sources, then timers by their time, then calls in their order. Jobs that run on threads of
    /// the pool are not among it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ropewalk_reactor::{Name, Reactor};
    /// let reactor = Reactor::new()?;
    /// reactor.call_at_named(Name::new("tea"), reactor.now() + Duration::from_secs(180), || ());
    /// let pending = reactor.pending();
    /// assert_eq!(pending.len(), 1);
    /// assert!(pending[0].to_string().starts_with("timer tea, due in "));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn pending(&self) -> Vec<Pending> {
        let core = &self.0;
        let (timers, deadlines) = self.timers();
        let sources = core.sources.borrow().all();
        let source = |(key, source): (Key, std::rc::Rc<dyn crate::Source>)| Pending::Source {
            name: source.name(),
            kind: source.kind(),
            key,
            due_in: deadlines.get(&key).copied(),
        };
        let ready = core.ready.borrow();
        let calls = ready.iter().filter_map(|ready| match ready {
            Ready::Call(name, _) => Some(Pending::Call { name: *name }),
            // These are of sources that stand above.
            Ready::Wake(_) | Ready::Source(_) => None,
        });
        sources.into_iter().map(source).chain(timers).chain(calls).collect()
    }

    /// Timers by their time, and the deadlines of sources.
    fn timers(&self) -> (Vec<Pending>, BTreeMap<Key, Duration>) {
        let (now, wheel) = (self.now(), self.0.wheel.borrow());
        let mut entries: Vec<(Time, &Due)> =
            wheel.iter().map(|(tick, due)| (Time::from_nanos(tick.saturating_mul(1_000_000)), due)).collect();
        entries.sort_by_key(|(at, _)| *at);
        let (mut timers, mut deadlines) = (Vec::new(), BTreeMap::new());
        for (at, due) in entries {
            match due {
                Due::Call(name, _) | Due::Sleep(name, _) => {
                    timers.push(Pending::Timer { name: *name, due_in: at.since(now) })
                }
                // Of several, the first counts.
                Due::Source(key) => drop(deadlines.entry(*key).or_insert(at.since(now))),
            }
        }
        (timers, deadlines)
    }
}
