//! The reactor's own pool, under the names that Twisted has for it. Each call forwards to [`ThreadPool`].

use std::panic::Location;

use super::desk::Desk;
use super::{PoolError, PoolOptions, PoolStatistics, ThreadPool};
use crate::deferred::Deferred;
use crate::failure::Outcome;
use crate::reactor::Reactor;

impl Reactor {
    /// The reactor's own pool, which everything on this reactor shares that does not bring its own: of the default size,
    /// unless [`Reactor::suggest_thread_pool_size`] says otherwise.
    #[must_use]
    #[track_caller]
    pub fn thread_pool(&self) -> ThreadPool {
        ThreadPool::over(Desk::default(self, Location::caller()), self)
    }

    /// Threads at the most for blocking work; 10 by default, of which 5 stay. Fewer than before: each of the surplus ends the
    /// job it has, and leaves. More: what waits begins.
    pub fn suggest_thread_pool_size(&self, threads: usize) {
        self.thread_pool().resize(PoolOptions::default().threads_min, threads);
    }

    /// Figures of the reactor's own pool.
    #[must_use]
    pub fn thread_pool_statistics(&self) -> PoolStatistics {
        self.thread_pool().statistics()
    }

    /// Runs a function in the pool and forgets it; a panic is logged.
    ///
    /// # Errors
    /// The queue is full, the system gives no thread, or the loop has ended.
    #[track_caller]
    pub fn call_in_thread(&self, job: impl FnOnce() + Send + 'static) -> Result<(), PoolError> {
        self.thread_pool().call(job)
    }

    /// Runs a function in the pool and then, on the loop, `callback` with what came of it: [`ThreadPool::call_with_callback`].
    ///
    /// # Errors
    /// The queue is full, the system gives no thread, or the loop has ended: then `callback` is not called.
    #[track_caller]
    pub fn call_in_thread_with_callback<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
        callback: impl FnOnce(Outcome<T>) + 'static,
    ) -> Result<(), PoolError> {
        self.thread_pool().call_with_callback(job, callback)
    }

    /// Runs functions in one thread of the pool, one after the other: [`ThreadPool::call_multiple`].
    ///
    /// # Errors
    /// The queue is full, the system gives no thread, or the loop has ended: then none is run.
    #[track_caller]
    pub fn call_multiple_in_thread(
        &self,
        calls: impl IntoIterator<Item: FnOnce() + Send + 'static>,
    ) -> Result<(), PoolError> {
        self.thread_pool().call_multiple(calls)
    }

    /// Runs a function in the pool; the deferred fires on the loop with its value. A panic becomes a failure, and so does a
    /// full queue. Cancelling it is told at [`ThreadPool::defer`].
    ///
    /// ```
    /// use ropewalk_reactor::Reactor;
    /// let reactor = Reactor::new()?;
    /// let handle = reactor.clone();
    /// reactor.spawn(async move {
    ///     let sum = handle.defer_to_thread(|| (1..=10u64).sum::<u64>()).await;
    ///     assert_eq!(sum.expect("it does not panic"), 55);
    ///     handle.stop();
    /// });
    /// reactor.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn defer_to_thread<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Deferred<T> {
        self.thread_pool().defer(job)
    }

    /// [`ThreadPool::defer`], by Twisted's name.
    #[track_caller]
    pub fn defer_to_thread_pool<T: Send + 'static>(
        &self,
        pool: &ThreadPool,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Deferred<T> {
        pool.defer(job)
    }
}
