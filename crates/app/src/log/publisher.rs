//! The publisher: takes events and tells observers, in order. What comes before the first observer waits for it. An observer that
//! panics is caught, and the others are told.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use ropewalk_reactor::Failure;

use super::event::Event;
use super::level::{Level, Levels};
use crate::clock::Clock;

/// Events that wait for the first observer.
const EARLY_MAX: usize = 1000;

/// Somebody who is told of events. It is called on the thread on which they happen, the loop's most of all: what may take long
/// stands behind a [`Queued`](super::Queued).
pub trait Observer: Send + Sync + 'static {
    /// An event. Events that come of this go to the other observers.
    fn observe(&self, event: &Arc<Event>);

    /// What it is called when something is wrong with it.
    fn name(&self) -> &str {
        std::any::type_name::<Self>()
    }
}

impl<F: Fn(&Arc<Event>) + Send + Sync + 'static> Observer for F {
    fn observe(&self, event: &Arc<Event>) {
        self(event);
    }
}

/// Takes events and tells observers. Clones are one.
///
/// ```
/// use std::sync::Arc;
/// use ropewalk_app::log::{Event, Level, Publisher, RingObserver};
/// let publisher = Publisher::default();
/// publisher.publish(Event::new(Level::Info, "shop", "open"));
/// let ring = Arc::new(RingObserver::new(100));
/// let kept = Arc::clone(&ring);
/// publisher.add(move |event: &Arc<Event>| kept.keep(event));
/// publisher.publish(Event::new(Level::Debug, "shop", "not wanted: levels begin at info"));
/// assert_eq!(ring.events().iter().map(|event| event.message().into_owned()).collect::<Vec<_>>(), ["open"]);
/// ```
#[derive(Clone)]
pub struct Publisher(Arc<Inner>);

struct Inner {
    clock: Clock,
    levels: Levels,
    state: Mutex<State>,
    events: [AtomicU64; Level::ALL.len()],
    panics: AtomicU64,
}

struct State {
    observers: Arc<[Entry]>,
    /// `None` when there was an observer.
    early: Option<VecDeque<Arc<Event>>>,
    forgotten: u64,
}

#[derive(Clone)]
struct Entry {
    id: ObserverId,
    observer: Arc<dyn Observer>,
    panics: Arc<AtomicU64>,
}

/// An observer that was added. No two of a program are alike, whatever publisher they belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObserverId(u64);

/// Figures of a publisher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublisherStatistics {
    /// Events told, by level as in [`Level::ALL`].
    pub events: [u64; Level::ALL.len()],
    /// Observers there are.
    pub observers: usize,
    /// Panics of observers.
    pub panics: u64,
    /// Events that came before the first observer and were too many.
    pub forgotten: u64,
}

static LAST_ID: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The observers that are being told something on this thread.
    static BUSY: RefCell<Vec<ObserverId>> = const { RefCell::new(Vec::new()) };
}

impl Publisher {
    /// A publisher for events from these levels on.
    #[must_use]
    pub fn new(clock: Clock, levels: Levels) -> Publisher {
        let state = State { observers: Arc::new([]), early: Some(VecDeque::new()), forgotten: 0 };
        let (events, panics) = Default::default();
        Publisher(Arc::new(Inner { clock, levels, state: Mutex::new(state), events, panics }))
    }

    /// The levels; they may be set while the program runs.
    #[must_use]
    pub fn levels(&self) -> &Levels {
        &self.0.levels
    }

    /// Its clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Adds an observer behind the others. The first one is told what happened before.
    pub fn add(&self, observer: impl Observer) -> ObserverId {
        self.begin(vec![Arc::new(observer)])[0]
    }

    /// Adds some observers at once: if they are the first, each is told what happened before.
    pub fn begin(&self, observers: Vec<Arc<dyn Observer>>) -> Vec<ObserverId> {
        let mut state = self.lock();
        let mut added = Vec::new();
        for observer in observers {
            let id = ObserverId(LAST_ID.fetch_add(1, Ordering::Relaxed) + 1);
            added.push(Entry { id, observer, panics: Arc::default() });
        }
        let ids = added.iter().map(|entry| entry.id).collect();
        loop {
            // What comes while they are told of the past is of the past, too.
            let early = match &mut state.early {
                Some(early) if !early.is_empty() => std::mem::take(early),
                early => {
                    *early = None;
                    break;
                }
            };
            drop(state);
            for event in early {
                self.tell(&added, &event);
            }
            state = self.lock();
        }
        state.observers = state.observers.iter().cloned().chain(added).collect();
        ids
    }

    /// Removes an observer; false if it was not there. On other threads it may still be told what happens at this moment.
    pub fn remove(&self, id: ObserverId) -> bool {
        let mut state = self.lock();
        let before = state.observers.len();
        let kept: Arc<[Entry]> = state.observers.iter().filter(|entry| entry.id != id).cloned().collect();
        // What it holds is let go of when nothing is locked.
        let old = std::mem::replace(&mut state.observers, kept);
        let removed = state.observers.len() < before;
        drop(state);
        drop(old);
        removed
    }

    /// Whether an event of this namespace and level would be told. Who puts it together at some cost asks before.
    #[must_use]
    pub fn allows(&self, namespace: &str, level: Level) -> bool {
        self.0.levels.allows(namespace, level)
    }

    /// Tells the observers of an event, if its level is wanted.
    pub fn publish(&self, event: Event) {
        if self.allows(&event.namespace, event.level) {
            self.tell_all(event);
        }
    }

    /// Tells of an event whose level was looked at.
    pub(super) fn tell_all(&self, mut event: Event) {
        if event.time == Timestamp::UNIX_EPOCH {
            event.time = self.0.clock.now();
        }
        let event = Arc::new(event);
        self.0.events[event.level as usize].fetch_add(1, Ordering::Relaxed);
        let observers = {
            let mut state = self.lock();
            let State { early, forgotten, .. } = &mut *state;
            if let Some(early) = early {
                // What an observer says while it is told of the past would have no end.
                if busy(|busy| busy.is_empty()) {
                    if early.len() == EARLY_MAX {
                        // The oldest goes: what happened last explains most.
                        early.pop_front();
                        *forgotten += 1;
                    }
                    early.push_back(event);
                }
                return;
            }
            Arc::clone(&state.observers)
        };
        self.tell(&observers, &event);
    }

    fn tell(&self, observers: &[Entry], event: &Arc<Event>) {
        for entry in observers {
            // What an observer says of an event goes to the others: each is told once, and it ends.
            if busy(|busy| busy.contains(&entry.id)) {
                continue;
            }
            busy(|busy| busy.push(entry.id));
            let told = catch_unwind(AssertUnwindSafe(|| entry.observer.observe(event)));
            if let Err(payload) = told {
                self.note_panic(entry, payload);
            }
            busy(Vec::pop);
        }
    }

    /// Tells the others that an observer panicked: the first time, the second, the fourth, the eighth.
    fn note_panic(&self, entry: &Entry, payload: Box<dyn std::any::Any + Send>) {
        self.0.panics.fetch_add(1, Ordering::Relaxed);
        let times = entry.panics.fetch_add(1, Ordering::Relaxed) + 1;
        if times.is_power_of_two() {
            let event = Event::format(Level::Critical, module_path!(), "an observer panicked: {observer}")
                .with("observer", entry.observer.name().to_owned())
                .with("times", times)
                .failed(&Failure::from_panic(payload));
            self.publish(event);
        }
    }

    /// Figures.
    #[must_use]
    pub fn statistics(&self) -> PublisherStatistics {
        let (observers, forgotten) = {
            let state = self.lock();
            (state.observers.len(), state.forgotten)
        };
        PublisherStatistics {
            events: std::array::from_fn(|level| self.0.events[level].load(Ordering::Relaxed)),
            observers,
            panics: self.0.panics.load(Ordering::Relaxed),
            forgotten,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at the observers that are busy on this thread. A thread that is ending has let go of its list: there is none busy.
fn busy<T>(look: impl FnOnce(&mut Vec<ObserverId>) -> T) -> T {
    let mut look = Some(look);
    let found = BUSY.try_with(|busy| look.take().map(|look| look(&mut busy.borrow_mut())));
    match (found, look) {
        (Ok(Some(found)), _) => found,
        (_, Some(look)) => look(&mut Vec::new()),
        (_, None) => unreachable!("it is taken only to be called"),
    }
}

/// The system's clock, and levels from `info` on.
impl Default for Publisher {
    fn default() -> Publisher {
        Publisher::new(Clock::system(), Levels::default())
    }
}
