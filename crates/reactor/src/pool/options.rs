//! What a pool is told, what it tells, and why it refuses.

use std::fmt;
use std::time::Duration;

/// How large a pool is. The defaults are Twisted's sizes.
///
/// ```
/// use ropewalk_reactor::PoolOptions;
/// let options = PoolOptions { threads_max: 2, ..PoolOptions::default() };
/// assert_eq!((options.threads_min, options.queue_max), (5, 100_000));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// Threads that stay, once made: 5. More than `threads_max` is as many as that.
    pub threads_min: usize,
    /// Threads at the most: 10. None is one.
    pub threads_max: usize,
    /// Jobs that may wait, 100 000: beyond, a job is refused rather than kept without bound.
    pub queue_max: usize,
    /// A thread above `threads_min` leaves after so long without work, 10 s; at once if it is zero.
    pub idle: Duration,
}

impl Default for PoolOptions {
    fn default() -> PoolOptions {
        PoolOptions { threads_min: 5, threads_max: 10, queue_max: 100_000, idle: Duration::from_secs(10) }
    }
}

/// Why a job was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolError {
    /// So many jobs wait already that another would only add to the heap.
    Full,
    /// The system gives no thread.
    NoThread,
    /// The loop has ended: nobody would get the result.
    Stopped,
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PoolError::Full => "the thread pool's queue is full",
            PoolError::NoThread => "the system gives no thread for the pool",
            PoolError::Stopped => "the reactor has stopped",
        })
    }
}

impl std::error::Error for PoolError {}

/// Figures of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStatistics {
    /// What it is called.
    pub name: &'static str,
    /// Threads there are.
    pub threads: usize,
    /// Threads without work.
    pub idle: usize,
    /// Jobs that wait.
    pub queued: usize,
    /// Jobs that have begun and not ended.
    pub running: usize,
    /// Jobs that have ended since the start, also by a panic, also for nobody.
    pub done: u64,
    /// Panics of jobs; of `call_multiple` each call's counts.
    pub panicked: u64,
    /// Jobs that were cancelled before they began.
    pub cancelled: u64,
    /// Threads at the most.
    pub threads_max: usize,
}
