//! One bounded event log behind every push form: publish returns an id, a viewer is a cursor.
//!
//! ```text
//!   publish ──► Store (ids, retention) ──► Listener::published   the viewer is drained: write at once
//!                     │
//!                     └──────────────────► since(After(last))    the viewer lagged: read when there is room
//! ```
//!
//! No viewer has a queue here. A face (Server-Sent Events, long poll, raw TCP, WebSocket) remembers the id
//! of the last event it has written; while its connection keeps up it writes what [`Listener::published`]
//! hands it, and when the connection blocks it lets events pass and later reads on with [`Channel::since`].
//! A stalled viewer so costs nothing but its cursor, and what it missed for good is an explicit [`Gap`].
//!
//! This crate knows no socket, no thread and no clock: the time is passed in as milliseconds since the Unix
//! epoch. Everything is `Rc` and stays on one thread.
//!
//! ```
//! use ropewalk_channel::{Channel, Limit, Retention, Since};
//!
//! let channel = Channel::in_memory(1_700_000_000_000, Retention::default());
//! let first = channel.publish(1_700_000_000_001, "one")?;
//! channel.publish(1_700_000_000_002, "two")?;
//!
//! let batch = channel.since(Since::After(first), Limit::default())?;
//! assert_eq!(&*batch.events[0].data, "two");
//! assert!(batch.gap.is_none() && !batch.more);
//! # Ok::<(), ropewalk_channel::StoreError>(())
//! ```
#![forbid(unsafe_code)]

mod channel;
mod event;
mod listeners;
mod memory;
mod store;

#[doc(hidden)]
pub mod conformance;

pub use channel::{Batch, Channel, Gap, GapReason, Since, Statistics};
pub use event::{Event, EventId, ParseEventIdError};
pub use listeners::{Listener, Subscription};
pub use memory::MemoryLog;
pub use store::{Extent, Limit, Retention, Store, StoreError};
