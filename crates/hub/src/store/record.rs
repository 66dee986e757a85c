//! The records of a hub's store. Plain values; what becomes of them is `step`'s.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::signature::{Algorithm, Secret};

/// A topic and a callback: the key of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// The topic's URL.
    pub topic: Arc<str>,
    /// The callback's URL.
    pub callback: Arc<str>,
}

impl Pair {
    /// A pair.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>, callback: impl Into<Arc<str>>) -> Pair {
        Pair { topic: topic.into(), callback: callback.into() }
    }
}

/// Both with a space between, which no URL has.
impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.topic, self.callback)
    }
}

/// What a wish is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To be subscribed.
    Subscribe,
    /// Not to be any more.
    Unsubscribe,
    /// The hub's own: the subscriber is to be told that it will get nothing.
    Denied,
}

impl Mode {
    /// As in `hub.mode`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Subscribe => "subscribe",
            Mode::Unsubscribe => "unsubscribe",
            Mode::Denied => "denied",
        }
    }
}

/// A wish that waits to be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Whose.
    pub pair: Pair,
    /// Rises with each wish: an answer to an older one says nothing about this.
    pub serial: u64,
    /// The topic as the subscriber writes it.
    pub said: String,
    /// What for.
    pub mode: Mode,
    /// What deliveries are signed with.
    pub secret: Option<Secret>,
    /// How.
    pub algorithm: Algorithm,
    /// Seconds that the lease will have.
    pub lease_s: u64,
    /// `hub.verify_token`, to be sent back.
    pub token: Option<String>,
    /// Why it is denied.
    pub reason: String,
    /// Tries so far.
    pub attempts: u32,
    /// Since when.
    pub since_ms: u64,
    /// When it is tried.
    pub due_ms: u64,
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Whose.
    pub pair: Pair,
    /// The topic as the subscriber writes it.
    pub said: String,
    /// What deliveries are signed with.
    pub secret: Option<Secret>,
    /// How.
    pub algorithm: Algorithm,
    /// When it began.
    pub since_ms: u64,
    /// When it ends.
    pub lease_end_ms: u64,
    /// The newest version that it is to have.
    pub wanted: u64,
    /// The newest version that it has.
    pub delivered: u64,
    /// When the next delivery is tried; `None` if nothing waits.
    pub due_ms: Option<u64>,
    /// Tries of this delivery so far.
    pub attempts: u32,
    /// Since when this delivery waits.
    pub waiting_since_ms: u64,
    /// When something was taken last; 0 for never.
    pub delivered_at_ms: u64,
    /// What the last try came to, if not to a success.
    pub error: Option<String>,
}

/// A topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topic {
    /// Its URL.
    pub url: Arc<str>,
    /// Rises with every change; 0 before anything was fetched.
    pub version: u64,
    /// How often it was pinged.
    pub pings: u64,
    /// When it is to be fetched.
    pub due_ms: Option<u64>,
    /// Tries of this fetch so far.
    pub attempts: u32,
    /// When it was fetched last; 0 for never.
    pub fetched_at_ms: u64,
    /// What the last fetch came to, if not to a success.
    pub error: Option<String>,
    /// What was fetched last.
    pub content: Option<Content>,
}

/// What a topic says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Its `Content-Type`.
    pub media: Option<String>,
    /// Its `ETag`, to be asked with.
    pub etag: Option<String>,
    /// Its `Last-Modified`, to be asked with.
    pub modified: Option<String>,
    /// SHA-256 of type and bytes.
    pub hash: Vec<u8>,
    /// Its bytes; empty in lists.
    pub body: Arc<[u8]>,
    /// The entries of a feed, where feeds are cut to what is new.
    pub entries: Vec<Entry>,
}

/// An entry of a feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is known by.
    pub id: String,
    /// A part of the hash of what it says.
    pub hash: u64,
    /// The version of the topic in which it came or changed.
    pub version: u64,
}

/// What could not be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Whose.
    pub pair: Pair,
    /// Which version.
    pub version: u64,
    /// How often it was tried.
    pub attempts: u32,
    /// Why not.
    pub error: String,
    /// When it was given up.
    pub at_ms: u64,
}
