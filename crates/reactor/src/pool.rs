//! Thread pools, for work that blocks. Threads are made when there is work for them, up to the pool's size, and leave when
//! they have been idle for a while. Under a simulation there are none: a job runs on the loop after a seeded delay.
//!
//! ```text
//!   ThreadPool ──► desk ── jobs ──► queue ◄── work ── threads
//!   (a handle)      ▲ (the loop's) (shared)              │
//!                   └────────── results, one ring ◄──────┘
//! ```
//! This file is the handle. A job is not interrupted once it has begun: whoever needs that asks a flag of their own.

use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use crate::deferred::{Deferred, Firing};
use crate::failure::{Cancelled, Failure, Outcome, Place};
use crate::locks;
use crate::reactor::Reactor;

mod calls;
mod desk;
mod job;
mod line;
mod options;
mod queue;
mod tickets;

pub(crate) use desk::Pools;
pub use options::{PoolError, PoolOptions, PoolStatistics};

use desk::Desk;
use job::{Callback, Job, Value, Waiter, Work, complain};

/// Threads for work that blocks or computes. A handle, cheap to clone.
///
/// [`Reactor::thread_pool`] is the one that everything shares. A pool of one's own keeps slow work from waiting for slower:
/// a database that answers ten queries at a time, say, or a disk that does worse the more ask it.
///
/// What a job sends to the loop, by a [`Remote`](crate::Remote) or a [`Sender`](crate::Sender), comes before its result.
///
/// When the last handle is dropped, or the reactor ends, jobs that have begun go on to their end, and those that have not are
/// forgotten: their deferreds fail as [`Abandoned`](crate::failure::Abandoned). The end of the reactor waits for those that
/// have begun.
///
/// ```
/// use ropewalk_reactor::{PoolOptions, Reactor, ThreadPool};
/// let reactor = Reactor::new()?;
/// let disk = ThreadPool::new(&reactor, "disk", PoolOptions { threads_max: 2, ..PoolOptions::default() });
/// let handle = reactor.clone();
/// reactor.spawn(async move {
///     let text = disk.defer(|| std::fs::read_to_string("Cargo.toml")).await;
///     assert!(text.expect("it does not panic").expect("the file is there").contains("[package]"));
///     handle.stop();
/// });
/// reactor.run()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct ThreadPool {
    desk: Rc<Desk>,
    reactor: Reactor,
}

impl ThreadPool {
    /// A pool. `name` is what its threads are called, and what the watchdog and the statistics say; it makes no thread yet.
    #[must_use]
    #[track_caller]
    pub fn new(reactor: &Reactor, name: &'static str, options: PoolOptions) -> ThreadPool {
        ThreadPool::over(Desk::new(reactor, name, options, Location::caller()), reactor)
    }

    fn over(desk: Rc<Desk>, reactor: &Reactor) -> ThreadPool {
        desk.enrol();
        ThreadPool { desk, reactor: reactor.clone() }
    }

    /// Runs a function in the pool and forgets it; a panic is logged.
    ///
    /// # Errors
    /// The queue is full, the system gives no thread, or the loop has ended.
    #[track_caller]
    pub fn call(&self, job: impl FnOnce() + Send + 'static) -> Result<(), PoolError> {
        let work = move |_: &mut u64| {
            job();
            valued(())
        };
        self.submit(Location::caller(), None, Box::new(work))
    }

    /// Runs a function in the pool; the deferred fires on the loop with its value. A panic becomes a failure,
    /// [`Panicked`](crate::failure::Panicked), and so does a job that is not taken: [`PoolError`].
    ///
    /// Cancelling the deferred takes the job out of the queue, if it has not begun, and drops it. One that has begun goes on
    /// for nobody; its value is dropped when it comes.
    ///
    /// ```
    /// # use ropewalk_reactor::{Deferred, ThreadPool};
    /// # use std::time::Duration;
    /// /// The addresses of a host, if they come soon.
    /// fn addresses(pool: &ThreadPool, host: String) -> Deferred<std::io::Result<Vec<std::net::SocketAddr>>> {
    ///     use std::net::ToSocketAddrs;
    ///     pool.defer(move || Ok((host.as_str(), 0).to_socket_addrs()?.collect())).add_timeout(Duration::from_secs(5))
    /// }
    /// ```
    #[track_caller]
    pub fn defer<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Deferred<T> {
        self.defer_at(Location::caller(), job)
    }

    #[track_caller]
    fn defer_at<T: Send + 'static>(
        &self,
        place: Place,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Deferred<T> {
        let ticket = self.desk.ticket(place, None);
        let desk = Rc::downgrade(&self.desk);
        let (firing, deferred) = Deferred::with_canceller(&self.reactor, move |firing: &Firing<T>| {
            // Said here, because the job's own firing went with it: the deferred would be taken for abandoned.
            if desk.upgrade().is_some_and(|desk| desk.cancel(ticket)) {
                let _ = firing.errback(Failure::at(place, Cancelled));
            }
        });
        self.desk.set_waiter(ticket, Box::new(firing.clone()));
        if let Err(error) = self.submit(place, Some(ticket), Box::new(move |_| valued(job()))) {
            let _ = firing.errback(Failure::at(place, error));
        }
        deferred
    }

    /// Runs a function in the pool and then, on the loop, `callback` with its value, or with the failure that its panic
    /// became. Only the function goes to the thread: the callback may hold what it likes of the loop's.
    ///
    /// ```
    /// # use ropewalk_reactor::{PoolError, ThreadPool};
    /// # use std::{cell::RefCell, rc::Rc};
    /// fn count(pool: &ThreadPool, text: String, seen: Rc<RefCell<Vec<usize>>>) -> Result<(), PoolError> {
    ///     pool.call_with_callback(
    ///         move || text.split_whitespace().count(),
    ///         move |words| seen.borrow_mut().push(words.unwrap_or(0)),
    ///     )
    /// }
    /// ```
    ///
    /// # Errors
    /// The queue is full, the system gives no thread, or the loop has ended: then `callback` is not called.
    #[track_caller]
    pub fn call_with_callback<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
        callback: impl FnOnce(Outcome<T>) + 'static,
    ) -> Result<(), PoolError> {
        let waiter: Box<dyn Waiter> = Box::new(Callback::new(callback));
        let place = Location::caller();
        let ticket = self.desk.ticket(place, Some(waiter));
        self.submit(place, Some(ticket), Box::new(move |_| valued(job())))
    }

    /// Runs functions in one thread, one after the other, in their order. A panic of one is logged, and the next still runs.
    ///
    /// ```
    /// use ropewalk_reactor::Reactor;
    /// use std::sync::mpsc;
    /// let reactor = Reactor::new()?;
    /// let (sender, receiver) = mpsc::channel();
    /// // The same function with other arguments each.
    /// let greet = |name: &'static str, times: usize| {
    ///     let sender = sender.clone();
    ///     move || (0..times).for_each(|_| sender.send(format!("hello {name}")).expect("somebody listens"))
    /// };
    /// reactor.thread_pool().call_multiple([greet("Ada", 1), greet("Grace", 2)]).expect("there is room");
    /// let heard: Vec<String> = receiver.iter().take(3).collect();
    /// assert_eq!(heard, ["hello Ada", "hello Grace", "hello Grace"]);
    ///
    /// // Functions of different kinds go in boxes.
    /// let (sender, other) = (sender.clone(), sender);
    /// let calls: Vec<Box<dyn FnOnce() + Send>> = vec![
    ///     Box::new(move || sender.send("one".to_owned()).expect("somebody listens")),
    ///     Box::new(move || other.send("two".to_owned()).expect("somebody listens")),
    /// ];
    /// reactor.call_multiple_in_thread(calls).expect("there is room");
    /// assert_eq!(receiver.iter().take(2).collect::<Vec<_>>(), ["one", "two"]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// The queue is full, the system gives no thread, or the loop has ended: then none is run.
    #[track_caller]
    pub fn call_multiple(
        &self,
        calls: impl IntoIterator<Item: FnOnce() + Send + 'static>,
    ) -> Result<(), PoolError> {
        let (place, calls) = (Location::caller(), calls.into_iter().collect::<Vec<_>>());
        let work = move |panics: &mut u64| {
            for call in calls {
                if let Err(payload) = catch_unwind(AssertUnwindSafe(call)) {
                    *panics += 1;
                    complain(place, payload);
                }
            }
            valued(())
        };
        self.submit(place, None, Box::new(work))
    }

    /// A blocking function as one that runs in the pool. To its caller it means what it meant before: the same argument (a
    /// tuple, if there are more), the same result, but later; its panic is a failure.
    ///
    /// The wrapped function holds a handle of the pool.
    ///
    /// ```
    /// use ropewalk_reactor::Reactor;
    /// fn words(text: String) -> usize {
    ///     text.split_whitespace().count()
    /// }
    ///
    /// let reactor = Reactor::new()?;
    /// let words = reactor.thread_pool().wrap(words);
    /// let handle = reactor.clone();
    /// reactor.spawn(async move {
    ///     assert_eq!(words("on the loop's own time".to_owned()).await.expect("it does not panic"), 5);
    ///     handle.stop();
    /// });
    /// reactor.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn wrap<A, R, F>(&self, f: F) -> impl Fn(A) -> Deferred<R> + Clone + use<A, R, F>
    where
        A: Send + 'static,
        R: Send + 'static,
        F: Fn(A) -> R + Send + Sync + 'static,
    {
        let (place, pool, f) = (Location::caller(), self.clone(), Arc::new(f));
        move |argument| {
            let f = Arc::clone(&f);
            pool.defer_at(place, move || f(argument))
        }
    }

    /// Changes the numbers of threads that stay and that there may be. Fewer than before: each of the surplus ends the job it
    /// has, and leaves. More: what waits begins. There is at least one, and no more stay than there may be.
    pub fn resize(&self, threads_min: usize, threads_max: usize) {
        self.desk.resize(&self.reactor, threads_min, threads_max);
    }

    /// Figures of the pool.
    #[must_use]
    pub fn statistics(&self) -> PoolStatistics {
        self.desk.statistics()
    }

    fn submit(&self, place: Place, ticket: Option<u32>, work: Work) -> Result<(), PoolError> {
        let submitted = self.desk.submit(&self.reactor, Job { work, place, ticket });
        if let (Err(_), Some(ticket)) = (submitted, ticket) {
            self.desk.give_back(ticket);
        }
        submitted
    }
}

fn valued<T: Send + 'static>(value: T) -> Value {
    Box::new(value)
}

impl Clone for ThreadPool {
    fn clone(&self) -> ThreadPool {
        ThreadPool::over(Rc::clone(&self.desk), &self.reactor)
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.desk.leave(&self.reactor);
    }
}

impl std::fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ThreadPool").field(&self.statistics()).finish()
    }
}
