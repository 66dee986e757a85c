//! What deferreds and tasks of one loop share and wait for: locks, semaphores, queues, events, conditions.
//!
//! Nothing here blocks a thread, and nothing here is for several threads. Each `acquire`, `get` or `wait` is a
//! [`Deferred`](crate::Deferred): add callbacks to it, give it a timeout, or await it; cancelling it leaves the line. Who
//! stands in line is served first come, first served. What is given to one that was dropped before it looked is not lost:
//! a token goes to the next, an item back to the front of its queue.

mod condition;
mod event;
mod joinable;
mod queue;
mod semaphore;
mod waiters;

pub use condition::Condition;
pub use event::Event;
pub use joinable::{JoinableQueue, QueueEmpty, QueueFull, TooManyDone};
pub use queue::{DeferredQueue, QueueOverflow, QueueUnderflow};
pub use semaphore::{DeferredLock, DeferredSemaphore, Permit};
