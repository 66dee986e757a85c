//! `Hub`: takes wishes and pings, and does what they bring about. This file holds the parts together: the store, the lanes, the two
//! agents, and the loop that takes what is due and runs it. Requests are read in `accept`, and wait in `sync` if they ask for that; what is
//! done is in `verify`, `fetch` and `deliver`; what people and programs see of it in `state`.

mod accept;
mod cache;
mod deliver;
mod fetch;
pub(crate) mod lanes;
mod options;
mod page;
mod rate;
mod state;
mod sync;
mod verify;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::{Duration, SystemTime};

use ropewalk_reactor::{DelayedCall, Failure, LoopingCall, Outcome, Reactor, Task as Running};
use ropewalk_web::client::{Agent, ClientLimits, Deadlines, PoolLimits, Redirects};
use ropewalk_web::{Handler, RateLimit};

use crate::guard::Guarded;
use crate::request::host;
use crate::store::{Change, Loaded, Pair, Store, Task, Work};
use cache::Cache;
use lanes::{Health, LaneLimits, Lanes};
use options::millis;
pub use options::{HubOptions, TopicPolicy};
use rate::Rate;
use sync::Waiting;

/// Sources of wishes whose number is remembered.
const SOURCES_MAX: usize = 50_000;

/// How often what is over is swept out. Leases are looked at before each delivery anyway.
const SWEEP: Duration = Duration::from_secs(60);
/// The wait before something is tried again that the store could not take.
const STORE_PAUSE_MS: u64 = 10_000;

/// A WebSub hub. Clones are one.
///
/// It works as long as the reactor runs: what its store has waiting is taken up when it is made. [`Hub::close`] ends that.
///
/// ```
/// use std::rc::Rc;
/// use ropewalk_hub::store::MemoryStore;
/// use ropewalk_hub::{Hub, HubOptions};
/// use ropewalk_web::Router;
///
/// let simulation = ropewalk_reactor::Simulation::new(1);
/// let reactor = simulation.reactor();
/// let options = HubOptions { url: "http://hub.example/hub".to_owned(), ..HubOptions::default() };
/// let hub = Hub::new(reactor, Rc::new(MemoryStore::new(reactor)), options);
/// let router = Router::new().route("POST", "/hub", hub.endpoint());
/// # drop(router);
/// ```
#[derive(Clone)]
pub struct Hub(Rc<Inner>);

pub(crate) struct Inner {
    reactor: Reactor,
    store: Rc<dyn Store>,
    options: HubOptions,
    url: RefCell<String>,
    topics: Agent,
    callbacks: Agent,
    lanes: RefCell<Lanes>,
    cache: Cache,
    waiting: Waiting,
    quota: RateLimit,
    rate: Rate,
    running: RefCell<BTreeMap<u64, Running<()>>>,
    serial: Cell<u64>,
    timer: RefCell<Option<DelayedCall>>,
    sweeper: RefCell<Option<LoopingCall>>,
    /// The lanes are looked at in this turn.
    pumping: Cell<bool>,
    closed: Cell<bool>,
    statistics: Cell<HubStatistics>,
}

/// Figures of a hub since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubStatistics {
    /// Wishes taken (202).
    pub wishes: u64,
    /// Wishes that were confirmed.
    pub verified: u64,
    /// Wishes that were not.
    pub unverified: u64,
    /// Topics pinged, and contents given.
    pub pings: u64,
    /// Fetches that brought something new.
    pub changed: u64,
    /// Fetches that brought nothing new.
    pub unchanged: u64,
    /// Fetches that failed.
    pub fetch_failures: u64,
    /// Deliveries taken (2xx).
    pub delivered: u64,
    /// Deliveries that failed and are tried again.
    pub delayed: u64,
    /// Deliveries given up.
    pub given_up: u64,
    /// Subscriptions that ended by 410.
    pub gone: u64,
    /// Tasks that wait.
    pub waiting: usize,
    /// Tasks that run.
    pub running: usize,
}

impl Hub {
    /// A hub over this store, with agents of its own, whose every connection the guards of the options judge.
    #[must_use]
    pub fn new(reactor: &Reactor, store: Rc<dyn Store>, options: HubOptions) -> Hub {
        Hub::with_agent(&Agent::new(reactor), store, options)
    }

    /// The same, with agents made from this one: its fields and its limits of the wire stay; connections, connector, deadlines and
    /// redirects are the hub's.
    #[must_use]
    pub fn with_agent(agent: &Agent, store: Rc<dyn Store>, options: HubOptions) -> Hub {
        let reactor = agent.reactor().clone();
        let lanes = LaneLimits {
            per_host: options.per_host_max.max(1),
            total: options.total_max.max(1),
            failures: options.breaker_failures.max(1),
            pause_ms: (millis(options.breaker_pause.0), millis(options.breaker_pause.1)),
        };
        let inner = Rc::new(Inner {
            topics: topic_agent(agent, &options),
            callbacks: callback_agent(agent, &options),
            url: RefCell::new(options.url.clone()),
            lanes: RefCell::new(Lanes::new(lanes)),
            cache: Cache::new(&reactor, options.cache_bytes),
            waiting: Waiting::default(),
            quota: RateLimit::new(options.wishes_per_minute, Duration::from_secs(60)).peers_max(SOURCES_MAX),
            rate: Rate::default(),
            reactor,
            store,
            options,
            running: RefCell::default(),
            serial: Cell::new(0),
            timer: RefCell::default(),
            sweeper: RefCell::default(),
            pumping: Cell::new(false),
            closed: Cell::new(false),
            statistics: Cell::default(),
        });
        inner.begin();
        Hub(inner)
    }

    /// What answers `POST` at the hub's URL.
    #[must_use]
    pub fn endpoint(&self) -> impl Handler + use<> {
        accept::endpoint(&self.0)
    }

    /// A whole site: the hub at `/hub`, a page for people at `/`, and the state behind the token at `/state`.
    #[must_use]
    pub fn handler(&self) -> impl Handler + use<> {
        state::site(self)
    }

    /// Tells the hub its public URL, where that is known only after it was bound.
    pub fn set_url(&self, url: &str) {
        url.clone_into(&mut self.0.url.borrow_mut());
    }

    /// The hub's public URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.0.url.borrow().clone()
    }

    /// Says that a topic has changed, as a ping would.
    ///
    /// # Errors
    /// The store's.
    pub async fn ping(&self, topic: &str) -> Outcome<()> {
        let topic = crate::request::topic_url("topic", topic).map_err(Failure::new)?;
        self.0.count(|statistics| statistics.pings += 1);
        self.0.commit(vec![Change::Ping { topic, now_ms: self.0.now_ms() }]).await
    }

    /// Says what a topic's content is now, without its being fetched. One that nobody subscribes to is not kept.
    ///
    /// # Errors
    /// The store's.
    pub async fn publish(&self, topic: &str, media: Option<&str>, body: &[u8]) -> Outcome<()> {
        let topic = crate::request::topic_url("topic", topic).map_err(Failure::new)?;
        self.0.count(|statistics| statistics.pings += 1);
        fetch::given(&self.0, topic, media, body).await
    }

    /// Ends a subscription, and tells the subscriber why (`hub.mode=denied`). Nothing happens where there is none.
    ///
    /// # Errors
    /// The store's.
    pub async fn deny(&self, pair: Pair, reason: &str) -> Outcome<()> {
        let change = Change::Deny { pair, reason: reason.to_owned(), now_ms: self.0.now_ms() };
        self.0.commit(vec![change]).await
    }

    /// Delivers a dead letter after all, or anew to a subscriber who asks for it: the newest content, at once.
    ///
    /// # Errors
    /// The store's.
    pub async fn replay(&self, pair: Pair) -> Outcome<()> {
        self.0.lanes.borrow_mut().forgive(&host(&pair.callback));
        self.0.commit(vec![Change::Replay { pair, now_ms: self.0.now_ms() }]).await
    }

    /// What it keeps.
    #[must_use]
    pub fn store(&self) -> &Rc<dyn Store> {
        &self.0.store
    }

    /// Figures.
    #[must_use]
    pub fn statistics(&self) -> HubStatistics {
        let (waiting, running) = self.0.lanes.borrow().depth();
        HubStatistics { waiting, running, ..self.0.statistics.get() }
    }

    /// Begins nothing any more; what runs comes to its end ([`HubStatistics::running`] says when). What waits is in the store.
    pub fn drain(&self) {
        self.0.closed.set(true);
    }

    /// Ends all work at once. What was on its way is in the store, and is done by the next hub over it.
    pub fn close(&self) {
        self.0.close();
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("url", &self.url()).field("statistics", &self.statistics()).finish()
    }
}

fn pool(options: &HubOptions) -> PoolLimits {
    PoolLimits {
        per_host_max: options.per_host_max.max(1),
        total_max: options.total_max.max(1),
        ..PoolLimits::default()
    }
}

fn topic_agent(agent: &Agent, options: &HubOptions) -> Agent {
    let limits = ClientLimits {
        collect_bytes_max: options.content_bytes_max,
        decoded_bytes_max: options.content_bytes_max,
        ..ClientLimits::default()
    };
    agent
        .clone()
        .with_pool(pool(options))
        .with_connector(Guarded::new(options.topic_guard.clone()))
        .with_limits(limits)
        .with_deadlines(Deadlines { total: Some(options.fetch_timeout), ..Deadlines::default() })
        .with_redirects(Redirects { most: options.redirects_max, ..Redirects::default() })
}

fn callback_agent(agent: &Agent, options: &HubOptions) -> Agent {
    agent
        .clone()
        .with_pool(pool(options))
        .with_connector(Guarded::new(options.callback_guard.clone()))
        .with_deadlines(Deadlines { total: Some(options.deliver_timeout), ..Deadlines::default() })
        // H27: a redirect is a failure like any other.
        .with_redirects(Redirects::none())
        .with_header("User-Agent", &format!("ropewalk/{} (WebSub hub)", env!("CARGO_PKG_VERSION")))
}

/// How a task has ended.
struct Ended {
    health: Health,
    again_ms: Option<u64>,
}

impl Ended {
    fn well(health: Health) -> Ended {
        Ended { health, again_ms: None }
    }
}

impl Inner {
    fn begin(self: &Rc<Self>) {
        let inner = Rc::clone(self);
        self.own(async move {
            match inner.store.claim().await {
                Ok(work) => inner.put(work),
                Err(failure) => tracing::error!("what waits cannot be read: {failure}"),
            }
        });
        let weak = Rc::downgrade(self);
        let sweeper = LoopingCall::new(&self.reactor, move |_| {
            if let Some(inner) = weak.upgrade() {
                inner.sweep();
            }
        });
        sweeper.start(SWEEP, false);
        *self.sweeper.borrow_mut() = Some(sweeper);
    }

    /// Milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        millis(self.reactor.wall_clock().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut HubStatistics)) {
        let mut statistics = self.statistics.get();
        change(&mut statistics);
        self.statistics.set(statistics);
    }

    /// Changes something, and does what comes due by it.
    pub(crate) async fn commit(self: &Rc<Self>, changes: Vec<Change>) -> Outcome<()> {
        let work = self.store.commit(changes).await?;
        self.put(work);
        Ok(())
    }

    fn put(self: &Rc<Self>, works: Vec<Work>) {
        if works.is_empty() {
            return;
        }
        let mut lanes = self.lanes.borrow_mut();
        for work in works {
            let at = match &work.task {
                Task::Fetch(topic) => host(topic),
                Task::Verify(pair) | Task::Deliver(pair) => host(&pair.callback),
            };
            lanes.put(work, at);
        }
        drop(lanes);
        self.pump_soon();
    }

    fn pump_soon(self: &Rc<Self>) {
        if !self.pumping.replace(true) {
            let weak = Rc::downgrade(self);
            self.reactor.call_soon(move || {
                if let Some(inner) = weak.upgrade() {
                    inner.pumping.set(false);
                    inner.pump();
                }
            });
        }
    }

    /// Begins what may run, and sets the clock for what comes next.
    fn pump(self: &Rc<Self>) {
        if self.closed.get() {
            return;
        }
        loop {
            let task = self.lanes.borrow_mut().take(self.now_ms());
            let Some(task) = task else { break };
            let inner = Rc::clone(self);
            self.own(async move { inner.run(task).await });
        }
        if let Some(timer) = self.timer.take() {
            // It has rung already.
            let _ = timer.cancel();
        }
        let Some(next_ms) = self.lanes.borrow().next_ms() else { return };
        let wait = Duration::from_millis(next_ms.saturating_sub(self.now_ms()).max(1));
        let weak = Rc::downgrade(self);
        let timer = self.reactor.call_later(wait, move || {
            if let Some(inner) = weak.upgrade() {
                inner.pump();
            }
        });
        *self.timer.borrow_mut() = Some(timer);
    }

    /// A task that ends with the hub.
    fn own(self: &Rc<Self>, future: impl Future<Output = ()> + 'static) {
        let serial = self.serial.get() + 1;
        self.serial.set(serial);
        let weak = Rc::downgrade(self);
        let task = self.reactor.spawn(async move {
            let _owned = Owned(weak, serial);
            future.await;
        });
        if !task.is_finished() {
            self.running.borrow_mut().insert(serial, task);
        }
    }

    async fn run(self: Rc<Self>, task: Task) {
        let mut place = Claimed { inner: Rc::clone(&self), task, ended: Ended::well(Health::Unknown) };
        let outcome = self.attempt(&place.task).await;
        place.ended = outcome.unwrap_or_else(|failure| {
            tracing::error!("the hub's store: {failure}");
            Ended { health: Health::Unknown, again_ms: Some(self.now_ms() + STORE_PAUSE_MS) }
        });
    }

    /// A failure here is the store's.
    async fn attempt(self: &Rc<Self>, task: &Task) -> Outcome<Ended> {
        let loaded = self.store.load(task.clone()).await?;
        let due_ms = match &loaded {
            Loaded::Intent(intent) => Some(intent.due_ms),
            Loaded::Topic(topic) => topic.due_ms,
            Loaded::Subscription(subscription) => subscription.due_ms,
            Loaded::Settled => None,
        };
        // What was put in while it ran may have been put off by its own end.
        if due_ms.is_some_and(|due_ms| due_ms > self.now_ms()) {
            return Ok(Ended { health: Health::Unknown, again_ms: due_ms });
        }
        match loaded {
            Loaded::Intent(intent) => verify::verify(self, *intent).await,
            Loaded::Topic(topic) => fetch::fetch(self, *topic).await,
            Loaded::Subscription(subscription) => deliver::deliver(self, *subscription).await,
            Loaded::Settled => Ok(Ended::well(Health::Unknown)),
        }
    }

    fn sweep(self: &Rc<Self>) {
        let now_ms = self.now_ms();
        self.lanes.borrow_mut().sweep(now_ms);
        let letters_before_ms = now_ms.saturating_sub(millis(self.options.letters_for));
        let inner = Rc::clone(self);
        self.own(async move {
            if let Err(failure) = inner.commit(vec![Change::Sweep { now_ms, letters_before_ms }]).await {
                tracing::error!("what is over cannot be swept out: {failure}");
            }
        });
    }

    fn quiet(&self) {
        if let Some(sweeper) = self.sweeper.take() {
            sweeper.stop();
        }
        if let Some(timer) = self.timer.take() {
            // It has rung already.
            let _ = timer.cancel();
        }
    }

    fn close(&self) {
        self.closed.set(true);
        self.quiet();
        let running = self.running.take();
        running.values().for_each(Running::abort);
        self.topics.close();
        self.callbacks.close();
    }

    /// The wait that a failure asks for, at least what the host itself has asked for.
    fn later_ms(&self, failed: u32, asked_ms: Option<u64>) -> u64 {
        let wait = self.options.backoff_ms(failed, self.reactor.random());
        self.now_ms() + wait.max(asked_ms.unwrap_or(0).min(millis(self.options.backoff.1)))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.quiet();
    }
}

/// A task's place among those that run.
struct Owned(Weak<Inner>, u64);

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(inner) = self.0.upgrade() {
            let task = inner.running.try_borrow_mut().ok().and_then(|mut running| running.remove(&self.1));
            drop(task);
        }
    }
}

/// A place in the lanes; given back however the task ends, by a panic, too.
struct Claimed {
    inner: Rc<Inner>,
    task: Task,
    ended: Ended,
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let now_ms = self.inner.now_ms();
        let again_ms = self.ended.again_ms;
        self.inner.lanes.borrow_mut().finish(&self.task, self.ended.health, again_ms, now_ms);
        self.inner.pump_soon();
    }
}
