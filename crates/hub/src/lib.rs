//! WebSub (W3C Recommendation, 2018): hub, publisher and subscriber over connections that are kept and re-used.
//!
//! ```text
//!  subscriber ── POST ─► accept ─► intents ─┐                        ┌─► verify ──► callback
//!  publisher ─── ping ─► accept ─► topics ──┼─► lanes, one per host ─┼─► fetch ───► topic
//!                                           │   (back-off, breaker)  └─► deliver ─► callback
//!                     store: what is queued outlives the process
//! ```
//! What a hub keeps lies behind [`store::Store`]: SQLite, or memory. Every connection that somebody else asked for goes through a
//! [`Guard`], which judges the address that a name resolves to.
#![forbid(unsafe_code)]

mod discover;
mod feed;
mod folder;
mod guard;
mod herald;
mod hub;
mod link;
mod publisher;
mod request;
mod signature;
pub mod store;
mod subscriber;

pub use discover::{Discovery, discover, embedded};
pub use folder::{FolderOptions, FolderPublisher, FolderStatistics, Names};
pub use guard::{Guard, Guarded, Refused, is_special};
pub use herald::{Herald, HeraldStatistics};
pub use hub::{Hub, HubOptions, HubStatistics, TopicPolicy};
pub use link::{Link, parse_links};
pub use publisher::{Pinged, Publisher, advertise_pages};
pub use request::RequestError;
pub use signature::{Algorithm, SECRET_BYTES_MAX, Secret};
pub use subscriber::{
    Delivery, Following, LEDGER_SCHEMA, Ledger, MemoryLedger, NoHub, SqliteLedger, State, Subscriber,
    SubscriberOptions, into_channel,
};
