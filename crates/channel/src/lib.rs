//! One history behind every push form: publish returns an id, a viewer is a cursor.
//!
//! ```text
//!   publish ──► Journal (if there is one: commits in batches)
//!                  │ committed
//!                  ▼
//!               the log in memory (ids, retention) ──► Listener::published   the viewer is drained: write at once
//!                  │
//!                  └────────────────► since(After(last))    the viewer lagged: read when there is room
//! ```
//!
//! No viewer has a queue here. A face (Server-Sent Events, long poll, raw TCP, WebSocket) remembers the id
//! of the last event it has written; while its connection keeps up it writes what [`Listener::published`]
//! hands it, and when the connection blocks it lets events pass and later reads on with [`Channel::since`].
//! A stalled viewer so costs nothing but its cursor, and what it missed for good is an explicit [`Gap`].
//!
//! [`Channels`] knows them by name. All reads come from memory, the kept window of each channel; a [`Journal`] makes it durable,
//! and then an event is seen by nobody before it was committed. This crate knows no socket; its clocks are the reactor's.
//! Everything but an [`Event`] stays on one thread.
//!
//! ```
//! use ropewalk_channel::{Channel, Limit, Retention, Since};
//! use ropewalk_reactor::Simulation;
//!
//! let simulation = Simulation::new(1);
//! let channel = Channel::in_memory(simulation.reactor(), Retention::default());
//! let first = channel.publish_now("one")?;
//! channel.publish_now("two")?;
//!
//! let batch = channel.since(Since::After(first), Limit::default());
//! assert_eq!(batch.events[0].data.text(), Some("two"));
//! assert!(batch.gap.is_none() && !batch.more);
//! # Ok::<(), ropewalk_channel::ChannelError>(())
//! ```
#![forbid(unsafe_code)]

mod batch;
mod channel;
mod clients;
mod error;
mod event;
mod journal;
mod ledger;
mod listeners;
mod log;
mod luggage;
mod name;
mod options;
mod presence;
mod rate;
mod registry;
mod retention;
mod survey;
mod workers;

#[doc(hidden)]
pub mod conformance;

pub use batch::{Batch, Gap, GapReason, Since, Statistics};
pub use channel::Channel;
pub use error::ChannelError;
pub use event::{Data, Event, EventId, ParseEventIdError};
pub use journal::memory::MemoryJournal;
pub use journal::sqlite::SqliteJournal;
pub use journal::{Journal, Loaded};
pub use listeners::{Listener, Subscription};
pub use name::{NAME_BYTES_MAX, check_name};
pub use options::{ChannelOptions, ChannelsOptions, Slow};
pub use presence::{Attendance, PresenceChange, PresenceWatch};
pub use registry::{Channels, ChannelsStatistics};
pub use retention::{Limit, Retention};
pub use survey::{Overview, Survey};
pub use workers::Home;
