//! Something that blocks, and that jobs in the thread pool use one after the other: an open file, an upload, a listing. Dropped on
//! the loop, it is let go of in the pool, where closing and deleting may take their time.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ropewalk_reactor::{Failure, Reactor};

pub(crate) struct Shelf<T: Send + 'static> {
    slot: Arc<Mutex<Option<T>>>,
    reactor: Reactor,
}

impl<T: Send + 'static> Shelf<T> {
    pub(crate) fn new(reactor: &Reactor, value: T) -> Shelf<T> {
        Shelf { slot: Arc::new(Mutex::new(Some(value))), reactor: reactor.clone() }
    }

    /// Runs a job with it in the pool.
    pub(crate) async fn with<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut T) -> io::Result<R> + Send + 'static,
    ) -> io::Result<R> {
        let slot = Arc::clone(&self.slot);
        pooled(&self.reactor, move || match &mut *lock(&slot) {
            Some(value) => job(value),
            None => Err(gone()),
        })
        .await
    }

    /// Runs the last job, which uses it up.
    pub(crate) async fn finish<R: Send + 'static>(
        self,
        job: impl FnOnce(T) -> io::Result<R> + Send + 'static,
    ) -> io::Result<R> {
        let slot = Arc::clone(&self.slot);
        pooled(&self.reactor, move || {
            let value = lock(&slot).take();
            value.map_or_else(|| Err(gone()), job)
        })
        .await
    }
}

impl<T: Send + 'static> Drop for Shelf<T> {
    fn drop(&mut self) {
        let slot = Arc::clone(&self.slot);
        // A job that has begun holds the lock; this one comes after it.
        let job = move || drop(lock(&slot).take());
        // A pool that takes no more drops the job, and what is here with it.
        let _ = self.reactor.thread_pool().call(job);
    }
}

/// Runs a job in the thread pool; that it could not be run is an error like any other.
pub(crate) async fn pooled<R: Send + 'static>(
    reactor: &Reactor,
    job: impl FnOnce() -> io::Result<R> + Send + 'static,
) -> io::Result<R> {
    let outcome = reactor.defer_to_thread(job).await;
    outcome.unwrap_or_else(|failure: Failure| Err(io::Error::other(failure.to_string())))
}

fn lock<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

fn gone() -> io::Error {
    io::Error::other("it was closed")
}
