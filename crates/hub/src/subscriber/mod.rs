//! The subscriber's side: finds the hub of a page, asks it, answers when it asks back, takes what it delivers, renews before the lease
//! ends, and looks now and then whether the hub has gone silent. What is done with a delivery is the program's own business.
//!
//! Requests of hubs are answered in `callback`, what is kept is in `record`; `keep` sees to it that a list of pages is followed.

mod callback;
mod keep;
mod record;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use ropewalk_reactor::sync::{Condition, Event};
use ropewalk_reactor::{Deferred, Failure, LoopingCall, Outcome, Reactor, Task, deferred};
use ropewalk_web::Handler;
use ropewalk_web::client::{Agent, ClientError, Redirects};
use ropewalk_web::push::Feed;

use crate::discover;
use crate::signature::Secret;
use record::Hidden;
pub use record::{Following, LEDGER_SCHEMA, Ledger, MemoryLedger, SqliteLedger, State};

/// How often is looked whether something is to be renewed or polled.
const TICK: Duration = Duration::from_secs(30);
/// How long an answer of a hub may take.
const HUB_LIMIT: Duration = Duration::from_secs(30);
/// How long a replaced callback still takes what comes before its hub is told to end it: what waits there would be lost.
const REPLACED_MS: u64 = 3_600_000;
/// Missed changes in a row after which the hub is asked anew.
const MISSES: u32 = 2;
/// How long a hub may take to ask back before it is asked again.
const PENDING_MS: u64 = 3_600_000;

/// How a subscriber behaves.
#[derive(Clone, Debug)]
pub struct SubscriberOptions {
    /// Where [`Subscriber::handler`] is reached from outside, such as `https://me.example/websub/`: callbacks are below.
    pub url: String,
    /// The lease that is asked for. 10 days.
    pub lease: Duration,
    /// Whether hubs that are named by `http` are tried by `https` first (S15). Yes.
    pub https_first: bool,
    /// How often a page is looked at in case its hub has gone silent. 6 hours; `None` for never.
    pub poll: Option<Duration>,
    /// Bytes of a delivery. 16 MiB.
    pub body_bytes_max: u64,
}

impl Default for SubscriberOptions {
    fn default() -> SubscriberOptions {
        SubscriberOptions {
            url: String::new(),
            lease: Duration::from_secs(10 * 24 * 3600),
            https_first: true,
            poll: Some(Duration::from_secs(6 * 3600)),
            body_bytes_max: 16 * 1024 * 1024,
        }
    }
}

/// Something new, as a hub has delivered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The topic: the one that was subscribed to, whatever the delivery says of itself.
    pub topic: String,
    /// The page that was to be followed.
    pub page: String,
    /// Its content type.
    pub media: Option<String>,
    /// Its content: the whole topic, or of a feed only what is new.
    pub body: Vec<u8>,
    /// The hub has gone silent, and this was found by looking.
    pub polled: bool,
}

/// A page has no hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoHub(pub String);

impl std::fmt::Display for NoHub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: the page names no hub", self.0)
    }
}

impl std::error::Error for NoHub {}

/// Follows pages through their hubs. Clones are one.
///
/// The function that it is made with gets each delivery and answers when it is done, from a thread, if it likes: the hub is told 204
/// then, or 500 if it fails, and will deliver again.
///
/// ```no_run
/// use std::rc::Rc;
/// use ropewalk_hub::{Delivery, MemoryLedger, Subscriber, SubscriberOptions};
/// use ropewalk_reactor::react;
/// use ropewalk_web::client::Agent;
///
/// react(|reactor| async move {
///     let options = SubscriberOptions { url: "https://me.example/websub/".to_owned(), ..SubscriberOptions::default() };
///     let threads = reactor.clone();
///     let subscriber = Subscriber::new(
///         &Agent::new(&reactor),
///         Rc::new(MemoryLedger::new(&reactor)),
///         options,
///         move |delivery: Delivery| threads.defer_to_thread(move || println!("{} bytes", delivery.body.len())),
///     );
///     // Where `subscriber.handler()` is served, hubs can ask back.
///     subscriber.follow("https://example.org/blog").await?;
///     Ok(())
/// })?;
/// # Ok::<(), ropewalk_reactor::Failure>(())
/// ```
#[derive(Clone)]
pub struct Subscriber(Rc<Inner>);

type Take = Rc<dyn Fn(Delivery) -> Deferred<()>>;

pub(crate) struct Inner {
    reactor: Reactor,
    agent: Agent,
    ledger: Rc<dyn Ledger>,
    options: SubscriberOptions,
    take: Take,
    rows: RefCell<BTreeMap<String, Following>>,
    ticker: RefCell<Option<LoopingCall>>,
    /// The ledger was read, or cannot be: until then nothing is known of any callback.
    loaded: Event,
    broken: Cell<bool>,
    /// A row has gone.
    forgotten: Condition,
    keepers: RefCell<Vec<Task<()>>>,
}

impl Subscriber {
    /// A subscriber that goes on with what is in its ledger.
    #[must_use]
    pub fn new(
        agent: &Agent,
        ledger: Rc<dyn Ledger>,
        options: SubscriberOptions,
        take: impl Fn(Delivery) -> Deferred<()> + 'static,
    ) -> Subscriber {
        let inner = Rc::new(Inner {
            reactor: agent.reactor().clone(),
            // Pages move, and say so by whatever redirect (P6).
            agent: agent.clone().with_redirects(Redirects { most: 5, ..Redirects::default() }),
            ledger,
            options,
            take: Rc::new(take),
            rows: RefCell::default(),
            ticker: RefCell::default(),
            loaded: Event::new(agent.reactor()),
            broken: Cell::new(false),
            forgotten: Condition::new(agent.reactor()),
            keepers: RefCell::default(),
        });
        let loading = Rc::clone(&inner);
        inner.reactor.spawn(async move {
            match loading.ledger.load().await {
                Ok(rows) => {
                    let mut known = loading.rows.borrow_mut();
                    for row in rows {
                        known.entry(row.id.clone()).or_insert(row);
                    }
                }
                Err(failure) => {
                    loading.broken.set(true);
                    tracing::error!("the subscriptions cannot be read: {failure}");
                }
            }
            loading.loaded.set();
        });
        let weak = Rc::downgrade(&inner);
        let ticker = LoopingCall::new(&inner.reactor, move |_| {
            if let Some(inner) = weak.upgrade() {
                inner.tick();
            }
        });
        ticker.start(TICK, false);
        *inner.ticker.borrow_mut() = Some(ticker);
        Subscriber(inner)
    }

    /// What answers hubs: to be served below [`SubscriberOptions::url`].
    #[must_use]
    pub fn handler(&self) -> impl Handler + use<> {
        callback::handler(&self.0)
    }

    /// Follows a page: finds its hub and topic, and asks the hub. It fires when a hub has taken the wish; whether it delivers is
    /// known when it has asked back ([`Subscriber::list`]).
    ///
    /// # Errors
    /// [`NoHub`]; what the request of the page or of the last hub fails of.
    pub async fn follow(&self, page: &str) -> Outcome<Following> {
        self.0.follow(page, None).await
    }

    /// Ends what follows this page or topic; fires when the hubs have taken it.
    ///
    /// # Errors
    /// What the request of a hub fails of; deliveries that come all the same are answered 410.
    pub async fn leave(&self, page: &str) -> Outcome<()> {
        let rows = self.0.rows.borrow().clone();
        for row in rows.into_values().filter(|row| row.page == page || row.topic == page) {
            self.0.leave(row).await?;
        }
        Ok(())
    }

    /// What is followed now.
    #[must_use]
    pub fn list(&self) -> Vec<Following> {
        self.0.rows.borrow().values().cloned().collect()
    }

    /// When the ledger was read; hubs that ask or deliver before wait for that.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn loaded(&self) -> Outcome<()> {
        self.0.loaded.wait().await?;
        match self.0.broken.get() {
            true => Err(Failure::new("the subscriptions cannot be read")),
            false => Ok(()),
        }
    }

    /// Ends the watching over leases and silent hubs; what is in the ledger stays.
    pub fn close(&self) {
        self.0.keepers.borrow_mut().drain(..).for_each(|keeper| keeper.abort());
        if let Some(ticker) = self.0.ticker.take() {
            ticker.stop();
        }
    }
}

/// Takes deliveries by publishing their text in a channel, for viewers of all kinds.
///
/// ```
/// use ropewalk_channel::Retention;
/// use ropewalk_web::push::Feed;
/// let simulation = ropewalk_reactor::Simulation::new(1);
/// let feed = Feed::in_memory(simulation.reactor(), Retention::default());
/// let take = ropewalk_hub::into_channel(&feed);
/// # drop(take);
/// ```
pub fn into_channel(feed: &Feed) -> impl Fn(Delivery) -> Deferred<()> + 'static {
    let feed = feed.clone();
    move |delivery: Delivery| match feed.publish(String::from_utf8_lossy(&delivery.body).into_owned()) {
        Ok(_) => deferred::succeed(feed.reactor(), ()),
        Err(error) => deferred::fail(feed.reactor(), Failure::new(error)),
    }
}

impl Inner {
    fn now_ms(&self) -> u64 {
        let since = self.reactor.wall_clock().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    async fn save(&self, row: Following) -> Outcome<()> {
        self.rows.borrow_mut().insert(row.id.clone(), row.clone());
        self.ledger.save(row).await
    }

    async fn forget(&self, id: &str) -> Outcome<()> {
        self.rows.borrow_mut().remove(id);
        self.forgotten.notify_all();
        self.ledger.forget(id).await
    }

    fn row(&self, id: &str) -> Option<Following> {
        self.rows.borrow().get(id).cloned()
    }

    /// Finds the hub and asks it, in the place of another subscription if there is one.
    async fn follow(&self, page: &str, replaces: Option<&Following>) -> Outcome<Following> {
        let response = self.agent.get(page).send().await?.success()?;
        let url = response.url().to_string();
        let found = discover::read(response).await?;
        // S3: what the page calls itself, which need not be what was asked for.
        let topic = found.topic.unwrap_or(url);
        let mut last = Failure::new(NoHub(page.to_owned()));
        for hub in found.hubs {
            let row = self.pending(page, &topic, &hub, replaces)?;
            // Written down before the hub is asked: it may ask back at once, or after a restart.
            self.save(row.clone()).await?;
            match self.ask(&row, "subscribe").await {
                Ok(hub) => {
                    // It may have asked back already.
                    let mut row = self.row(&row.id).unwrap_or(row);
                    row.hub = hub;
                    self.save(row.clone()).await?;
                    return Ok(row);
                }
                Err(failure) => {
                    self.forget(&row.id).await?;
                    last = failure;
                }
            }
        }
        Err(last)
    }

    fn pending(
        &self,
        page: &str,
        topic: &str,
        hub: &str,
        replaces: Option<&Following>,
    ) -> Outcome<Following> {
        Ok(Following {
            // S6: unguessable, of this subscription alone, and another one at each renewal.
            id: random()?,
            page: page.to_owned(),
            topic: topic.to_owned(),
            hub: hub.to_owned(),
            secret: Some(Hidden(random()?)),
            state: State::Pending,
            lease_end_ms: 0,
            renew_ms: self.now_ms() + PENDING_MS,
            replaces: replaces.map(|row| row.id.clone()),
            delivered_ms: replaces.map_or(0, |row| row.delivered_ms),
            hash: replaces.map(|row| row.hash.clone()).unwrap_or_default(),
            polled: replaces.map_or_else(|| (self.now_ms(), String::new()), |row| row.polled.clone()),
            missed: 0,
        })
    }

    /// Sends a wish to the hub (S2, S4, S5); answers the hub's URL that has taken it.
    async fn ask(&self, row: &Following, mode: &str) -> Outcome<String> {
        if self.options.https_first
            && let Some(rest) = row.hub.strip_prefix("http://")
            && let Ok(hub) = self.ask_at(&format!("https://{rest}"), row, mode).await
        {
            return Ok(hub);
        }
        self.ask_at(&row.hub, row, mode).await
    }

    async fn ask_at(&self, hub: &str, row: &Following, mode: &str) -> Outcome<String> {
        let callback = format!("{}/{}", self.options.url.trim_end_matches('/'), row.id);
        let lease = self.options.lease.as_secs().max(1).to_string();
        let mut form = vec![
            ("hub.mode", mode),
            ("hub.topic", row.topic.as_str()),
            ("hub.callback", callback.as_str()),
            // What hubs of 0.3 want, and others pass over.
            ("hub.verify", "async"),
        ];
        if mode == "subscribe" {
            form.push(("hub.lease_seconds", &lease));
            form.extend(row.secret.as_ref().map(|secret| ("hub.secret", secret.0.as_str())));
        }
        // S7: 307 and 308 keep method and form; what else may come of a redirect is no 2xx of a hub.
        let redirects = Redirects { most: 5, ..Redirects::default() };
        let response =
            self.agent.post(hub).form(&form).redirects(redirects).timeout(HUB_LIMIT).send().await?;
        match response.status() {
            // Wherever that has led, a hub is asked at the URL that its page names.
            200..=299 => Ok(hub.to_owned()),
            status => Err(ClientError::Status(status).into()),
        }
    }

    async fn leave(&self, mut row: Following) -> Outcome<()> {
        row.state = State::Leaving;
        row.renew_ms = self.now_ms() + PENDING_MS;
        self.save(row.clone()).await?;
        self.ask(&row, "unsubscribe").await.map(drop)
    }

    fn tick(self: &Rc<Self>) {
        let now_ms = self.now_ms();
        let poll_ms = self.options.poll.map(|poll| u64::try_from(poll.as_millis()).unwrap_or(u64::MAX));
        let rows = self.rows.borrow().clone();
        for row in rows.into_values() {
            let inner = Rc::clone(self);
            let due = row.renew_ms <= now_ms;
            let polls = poll_ms.is_some_and(|poll_ms| row.polled.0.saturating_add(poll_ms) <= now_ms);
            if due {
                self.reactor.spawn(async move { inner.look_after(row).await });
            } else if polls && row.state == State::Active {
                self.reactor.spawn(async move { inner.poll(row).await });
            }
        }
    }

    /// Something is due: a renewal (S11), the end of what was replaced, or of what nobody has answered.
    async fn look_after(&self, mut row: Following) {
        let now_ms = self.now_ms();
        let outcome = match row.state {
            State::Active | State::Pending | State::Denied(_) => {
                // Until then nothing is tried twice: a fraction of what is left, and not less than a minute.
                let left_ms = row.lease_end_ms.saturating_sub(now_ms);
                row.renew_ms = now_ms + (left_ms / 4).clamp(60_000, PENDING_MS);
                let lapsed = row.state != State::Active || row.lease_end_ms <= now_ms;
                let saved = self.save(row.clone()).await;
                let followed = self.follow(&row.page, Some(&row)).await;
                match (followed, saved) {
                    // What never stood is not replaced but given up.
                    (Ok(_), Ok(())) if lapsed => self.forget(&row.id).await,
                    (Ok(_), Ok(())) => Ok(()),
                    (Err(failure), _) | (_, Err(failure)) => Err(failure),
                }
            }
            State::Replaced(_) => self.leave(row.clone()).await,
            // It was asked to leave, and has not asked back: what it sends is answered 410.
            State::Leaving => self.forget(&row.id).await,
        };
        if let Err(failure) = outcome {
            tracing::warn!(page = %row.page, "a subscription is not renewed yet: {failure}");
        }
    }

    /// Looks at the page itself: has it changed, and the hub said nothing?
    async fn poll(self: Rc<Self>, row: Following) {
        let (now_ms, before) = (self.now_ms(), row.polled.clone());
        let mut noted = row.clone();
        noted.polled.0 = now_ms;
        self.rows.borrow_mut().insert(noted.id.clone(), noted.clone());
        let found = async {
            let response = self.agent.get(&row.topic).send().await?.success()?;
            let media = response.header("Content-Type").map(str::to_owned);
            Outcome::Ok((media, response.with_bytes_max(self.options.body_bytes_max).bytes().await?))
        };
        let (media, body) = match found.await {
            Ok(found) => found,
            Err(failure) => {
                return tracing::info!(topic = %row.topic, "a page cannot be looked at: {failure}");
            }
        };
        let Some(mut row) = self.row(&row.id) else { return };
        let hash = hash(&body);
        row.polled = (now_ms, hash.clone());
        let silent =
            !before.1.is_empty() && before.1 != hash && row.delivered_ms < before.0 && row.hash != hash;
        row.missed = if silent { row.missed + 1 } else { 0 };
        if silent {
            tracing::warn!(hub = %row.hub, topic = %row.topic, missed = row.missed, "the hub is silent");
            let delivery =
                Delivery { topic: row.topic.clone(), page: row.page.clone(), media, body, polled: true };
            if (self.take)(delivery).await.is_ok() {
                row.hash = hash;
            }
            if row.missed >= MISSES {
                row.renew_ms = now_ms;
            }
        }
        if let Err(failure) = self.save(row).await {
            tracing::error!("the subscriptions cannot be written: {failure}");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(ticker) = self.ticker.take() {
            ticker.stop();
        }
    }
}

/// 24 random bytes as text.
fn random() -> Outcome<String> {
    let mut bytes = [0; 24];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Failure::new("the system gives no randomness"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn hash(body: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, body))
}

impl Following {
    fn signer(&self) -> Option<Secret> {
        self.secret.as_ref().and_then(|secret| Secret::new(secret.0.as_str()))
    }
}
