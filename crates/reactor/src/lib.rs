//! The reactor: one loop on one thread, and everything that waits in it.
//!
//! ```text
//!   other threads ── Remote ──┐
//!                             ▼
//!   driver ──► events ──► [ one turn ] ──► sources: connections, listeners, tasks, descriptors
//!   (system or simulation)    │  ▲
//!                   timers ◄──┘  └── ready work: call_soon, woken tasks, fired deferreds
//! ```
//!
//! ```
//! use std::time::Duration;
//! use ropewalk_reactor::Reactor;
//!
//! let reactor = Reactor::new()?;
//! let handle = reactor.clone();
//! reactor.call_later(Duration::from_millis(1), move || {
//!     println!("a millisecond later");
//!     handle.stop();
//! });
//! reactor.run()?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! There is no global reactor: a handle is passed. Clock, network, randomness and threads belong to the driver, so that
//! [`Simulation`] can stand in under unchanged code.
#![forbid(unsafe_code)]

#[cfg(feature = "tokio")]
mod beside;
mod cooperate;
pub mod deferred;
mod dial;
mod door;
mod driver;
mod end;
pub mod failure;
mod handler;
pub mod io;
mod locks;
mod mark;
mod name;
mod part;
mod pending;
mod pool;
mod random;
mod react;
mod reactor;
mod remote;
mod scope;
mod signal;
mod simulation;
mod sleep;
mod slow;
mod source;
pub mod sync;
mod task;
mod time;
mod timer;
mod trigger;
mod turn;
mod watchdog;
mod wheel;

#[cfg(feature = "tokio")]
pub use beside::SideRuntime;
pub use cooperate::{CooperativeTask, Cooperator, NotPaused, Stopped as TaskStopped, Work};
pub use deferred::{Deferred, Firing};
pub use door::{Receiver, ReceiverStatistics, SendError, Sender};
pub use driver::sim::{Act, Caller, Conditions, Entry, Network, Peer, Reach};
pub use driver::{ListenOptions, Share};
pub use failure::{Failure, Outcome};
pub use handler::Handler;
pub use name::Name;
pub use pending::Pending;
pub use pool::{PoolError, PoolOptions, PoolStatistics, ThreadPool};
pub use random::Random;
pub use react::react;
pub use reactor::{Deadline, READ_BUFFER_BYTES, Reactor, WATCHDOG_THRESHOLD, WeakReactor};
pub use remote::{BlockingError, Remote, Stopped};
pub use scope::Scope;
pub use simulation::Simulation;
pub use sleep::Sleep;
pub use slow::SlowCallback;
pub use source::{Key, Readiness, Source};
pub use task::Task;
pub use time::Time;
pub use timer::{DelayedCall, LoopingCall, NotActive};
pub use trigger::{Phase, SystemEvent, TriggerId};
pub use turn::Statistics;
