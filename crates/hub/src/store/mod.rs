//! What a hub keeps: topics, subscriptions, wishes that wait to be verified, and what could not be delivered. The trait, and the
//! values it speaks in.
//!
//! There are no queues beside the tables. A wish *is* the verification that waits, a topic with a date the fetch, a subscription that
//! wants a newer version than it has been given the delivery: so nothing waits twice, the newest wins, and what waits outlives the
//! process. What a step changes is written once, in `step`, for every store.
//!
//! Implementations: [`MemoryStore`], [`SqliteStore`]; all must pass [`conformance::check_store`].

pub mod conformance;
mod memory;
mod record;
mod sqlite;
mod step;

pub use memory::MemoryStore;
pub use record::{Content, Entry, Intent, Letter, Mode, Pair, Subscription, Topic};
pub use sqlite::{SCHEMA, SqliteStore};

use std::sync::Arc;

use ropewalk_reactor::Deferred;

/// What a hub keeps. Times are milliseconds since the Unix epoch.
///
/// A commit is all or nothing, its changes happen in their order, and its deferred fires when it would survive the end of the
/// process (as far as the store survives anything). Changes that come too late, because something newer has taken the place of what
/// they speak of, change nothing.
///
/// **Several nodes.** Work is claimed: what [`Store::commit`] and [`Store::claim`] answer belongs to this handle, until it is settled
/// by a change, or the process ends. A store of one process claims by being alone; one that is shared writes down who has what and until
/// when, and `claim` is asked again from time to time.
pub trait Store: 'static {
    /// Changes something; answers the work that came due by it.
    fn commit(&self, changes: Vec<Change>) -> Deferred<Vec<Work>>;

    /// Work that nobody has claimed: at the start, everything that waits.
    fn claim(&self) -> Deferred<Vec<Work>>;

    /// What a piece of work is about, as it is now.
    fn load(&self, task: Task) -> Deferred<Loaded>;

    /// A topic, with its content.
    fn topic(&self, url: Arc<str>) -> Deferred<Option<Topic>>;

    /// A page of a list.
    fn list(&self, listing: Listing) -> Deferred<Page>;
}

/// Something that is to be done, and not before when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// What.
    pub task: Task,
    /// When.
    pub due_ms: u64,
}

/// A kind of work, with the key of what it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// Verify a wish, or tell of a denial.
    Verify(Pair),
    /// Fetch a topic.
    Fetch(Arc<str>),
    /// Deliver the newest content of the topic.
    Deliver(Pair),
}

/// What a task is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// A wish.
    Intent(Box<Intent>),
    /// A topic that is to be fetched.
    Topic(Box<Topic>),
    /// A subscription that wants something.
    Subscription(Box<Subscription>),
    /// It is settled already.
    Settled,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Somebody wishes something; it takes the place of an older wish of the same pair. Its serial is given by the store.
    Wish(Box<Intent>),
    /// The subscriber has confirmed: the subscription begins, goes on, or ends.
    Verified {
        /// Whose.
        pair: Pair,
        /// Of which wish.
        serial: u64,
        /// Now.
        now_ms: u64,
        /// When the lease ends.
        lease_end_ms: u64,
    },
    /// The wish is over: not confirmed, or its denial told. The subscription stays as it was.
    Unverified {
        /// Whose.
        pair: Pair,
        /// Of which wish.
        serial: u64,
    },
    /// The wish waits for another try.
    VerifyLater {
        /// Whose.
        pair: Pair,
        /// Of which wish.
        serial: u64,
        /// When.
        due_ms: u64,
    },
    /// A subscription is refused, or ended by the hub: it is gone, and the subscriber is to be told.
    Deny {
        /// Whose.
        pair: Pair,
        /// Why, in a line for the subscriber.
        reason: String,
        /// Now.
        now_ms: u64,
    },
    /// A topic has changed, as its publisher says. One that nobody subscribes to is not fetched.
    Ping {
        /// Which.
        topic: Arc<str>,
        /// Now.
        now_ms: u64,
    },
    /// A topic was fetched, or given by its publisher.
    Fetched {
        /// Which.
        topic: Arc<str>,
        /// What [`Topic::pings`] was when it was asked for; a ping since then is another fetch. `None` if it was given.
        pings: Option<u64>,
        /// Its content, if it is not what it was.
        content: Option<Box<Content>>,
        /// Now.
        now_ms: u64,
    },
    /// A fetch has failed, and is tried again, or not.
    FetchFailed {
        /// Which.
        topic: Arc<str>,
        /// What [`Topic::pings`] was.
        pings: u64,
        /// When it is tried again.
        due_ms: Option<u64>,
        /// Why.
        error: String,
        /// Now.
        now_ms: u64,
    },
    /// A subscriber has taken a version.
    Delivered {
        /// Whose.
        pair: Pair,
        /// Which.
        version: u64,
        /// Now.
        now_ms: u64,
    },
    /// A delivery has failed, and is tried again.
    DeliverLater {
        /// Whose.
        pair: Pair,
        /// When.
        due_ms: u64,
        /// Why.
        error: String,
        /// Now.
        now_ms: u64,
    },
    /// A delivery is given up. The subscription stays (H30); what was not delivered goes to the dead letters.
    GiveUp {
        /// Whose.
        pair: Pair,
        /// Which.
        version: u64,
        /// Why.
        error: String,
        /// Now.
        now_ms: u64,
    },
    /// The subscriber is gone (410).
    End {
        /// Whose.
        pair: Pair,
    },
    /// A dead letter is to be delivered after all: the newest content, as always.
    Replay {
        /// Whose.
        pair: Pair,
        /// Now.
        now_ms: u64,
    },
    /// Drops what is over: expired leases, topics without subscriptions, old dead letters.
    Sweep {
        /// Now.
        now_ms: u64,
        /// Dead letters from before then go.
        letters_before_ms: u64,
    },
}

/// Which list, from where, and how much of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Of what.
    pub of: List,
    /// What follows this: a topic, or topic and callback with a space between. Empty is the beginning.
    pub after: String,
    /// So many at most. With 0 they are only counted.
    pub limit: usize,
}

/// A list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum List {
    /// Topics, without their contents' bytes.
    #[default]
    Topics,
    /// All subscriptions.
    Subscriptions,
    /// Those of one topic.
    Of(Arc<str>),
    /// One, if it is there.
    One(Pair),
    /// Those at one host, and wishes for such.
    At(String),
    /// Dead letters.
    Letters,
    /// Wishes that wait.
    Intents,
}

/// A page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// How many there are in the whole list.
    pub total: u64,
    /// Topics.
    pub topics: Vec<Topic>,
    /// Subscriptions.
    pub subscriptions: Vec<Subscription>,
    /// Dead letters.
    pub letters: Vec<Letter>,
    /// Wishes.
    pub intents: Vec<Intent>,
}
