//! Pings that are not lost while a hub is away: for each hub a queue of topics, in which each is once, worked off one after the other. It
//! knows no files; `folder` tells it what has changed.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::Task;
use ropewalk_web::client::Agent;

use crate::publisher::{is_definite, ping_once};

/// The wait before a ping is sent again, doubled with each failure, and the longest one.
const PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

/// Tells hubs of changes until they have heard it. Clones are one. What waits goes with the last of them.
///
/// ```
/// use ropewalk_hub::Herald;
/// use ropewalk_web::client::Agent;
/// let simulation = ropewalk_reactor::Simulation::new(1);
/// let herald = Herald::new(&Agent::new(simulation.reactor()), ["https://hub.example/"]);
/// for _ in 0..10 {
///     herald.announce("https://example.org/feed");
/// }
/// // One is on its way, perhaps with what was there before; one more waits.
/// assert_eq!(herald.statistics().waiting, 2);
/// ```
#[derive(Clone)]
pub struct Herald(Rc<[Rc<Hub>]>);

struct Hub {
    agent: Agent,
    url: String,
    topics: RefCell<VecDeque<String>>,
    working: RefCell<Option<Task<()>>>,
    failures: Cell<u32>,
    statistics: Cell<HeraldStatistics>,
}

/// Figures of a herald, of all its hubs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeraldStatistics {
    /// Pings that were taken.
    pub taken: u64,
    /// Pings that were refused, and not sent again.
    pub refused: u64,
    /// Tries that have failed, and are made again.
    pub failures: u64,
    /// Pings that wait.
    pub waiting: usize,
    /// Hubs that have not taken the last ping.
    pub away: usize,
}

impl Herald {
    /// A herald for these hubs.
    #[must_use]
    pub fn new<S: Into<String>>(agent: &Agent, hubs: impl IntoIterator<Item = S>) -> Herald {
        let hub = |url: S| {
            Rc::new(Hub {
                agent: agent.clone(),
                url: url.into(),
                topics: RefCell::default(),
                working: RefCell::default(),
                failures: Cell::new(0),
                statistics: Cell::default(),
            })
        };
        Herald(hubs.into_iter().map(hub).collect())
    }

    /// Says that this topic has changed, to every hub (P5). One that waits already is not said twice.
    pub fn announce(&self, topic: &str) {
        for hub in self.0.iter() {
            hub.put(topic);
        }
    }

    /// Figures.
    #[must_use]
    pub fn statistics(&self) -> HeraldStatistics {
        self.0.iter().fold(HeraldStatistics::default(), |sum, hub| {
            let one = hub.statistics.get();
            HeraldStatistics {
                taken: sum.taken + one.taken,
                refused: sum.refused + one.refused,
                failures: sum.failures + one.failures,
                waiting: sum.waiting + hub.topics.borrow().len(),
                away: sum.away + usize::from(hub.failures.get() > 0),
            }
        })
    }

    /// Pings that wait for hubs which are there: what is worth waiting for at the end of a program.
    #[must_use]
    pub fn busy(&self) -> usize {
        let there = self.0.iter().filter(|hub| hub.failures.get() == 0);
        there.map(|hub| hub.topics.borrow().len()).sum()
    }
}

impl std::fmt::Debug for Herald {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Herald").field("statistics", &self.statistics()).finish()
    }
}

impl Drop for Herald {
    fn drop(&mut self) {
        // The tasks hold the hubs, not the list of them.
        if Rc::strong_count(&self.0) == 1 {
            self.0.iter().filter_map(|hub| hub.working.take()).for_each(|task| task.abort());
        }
    }
}

impl Hub {
    fn put(self: &Rc<Self>, topic: &str) {
        let mut topics = self.topics.borrow_mut();
        // The first one may be on its way, with what was there before.
        let waits = topics.iter().skip(1).any(|known| known == topic);
        let first = topics.front().is_some_and(|known| known == topic);
        if waits || first && !self.is_working() {
            return;
        }
        topics.push_back(topic.to_owned());
        drop(topics);
        if !self.is_working() {
            let hub = Rc::clone(self);
            let task = self.agent.reactor().spawn(async move { hub.work().await });
            *self.working.borrow_mut() = Some(task);
        }
    }

    fn is_working(&self) -> bool {
        self.working.borrow().as_ref().is_some_and(|task| !task.is_finished())
    }

    async fn work(self: Rc<Self>) {
        loop {
            let Some(topic) = self.topics.borrow().front().cloned() else { return };
            let outcome = ping_once(&self.agent, &self.url, &topic).await;
            match outcome {
                Ok(()) => {
                    tracing::info!(hub = %self.url, topic = %topic, "the hub knows of the change");
                    self.done(|statistics| statistics.taken += 1);
                }
                Err(failure) if is_definite(&failure) => {
                    tracing::error!(hub = %self.url, topic = %topic, "the hub refuses the ping: {failure}");
                    self.done(|statistics| statistics.refused += 1);
                }
                Err(failure) => self.wait(&failure).await,
            }
        }
    }

    fn done(&self, count: impl FnOnce(&mut HeraldStatistics)) {
        self.failures.set(0);
        self.topics.borrow_mut().pop_front();
        self.count(count);
    }

    async fn wait(&self, failure: &ropewalk_reactor::Failure) {
        let failures = self.failures.get();
        self.failures.set(failures + 1);
        self.count(|statistics| statistics.failures += 1);
        let pause = (PAUSE.0 * (1 << failures.min(10))).min(PAUSE.1);
        let waiting = self.topics.borrow().len();
        tracing::warn!(hub = %self.url, waiting, "the hub is not told, which is tried again in {pause:?}: {failure}");
        self.agent.reactor().sleep(pause).await;
        // What was said of the first topic meanwhile is said with it.
        let mut topics = self.topics.borrow_mut();
        if let Some(first) = topics.front().cloned() {
            let later = topics.iter().skip(1).position(|known| *known == first);
            later.and_then(|at| topics.remove(at + 1));
        }
    }

    fn count(&self, change: impl FnOnce(&mut HeraldStatistics)) {
        let mut statistics = self.statistics.get();
        change(&mut statistics);
        self.statistics.set(statistics);
    }
}
