//! The thread pool for work that blocks. Threads are made when there is work for them, up to the suggested size, and leave
//! when they have been idle for a while. Under a simulation there are none: a job runs on the loop after a seeded delay.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::deferred::{Deferred, Firing};
use crate::failure::Failure;
use crate::name::Name;
use crate::reactor::Reactor;
use crate::time::Time;

/// Threads that stay, once made, and threads at the most. Twisted's defaults.
const SIZE_DEFAULT: (usize, usize) = (5, 10);
/// A thread above the smaller size leaves after so long without work.
const IDLE: Duration = Duration::from_secs(10);
/// Jobs that may wait. Beyond, a job is refused rather than kept without bound.
const QUEUE_MAX: usize = 100_000;

type Job = Box<dyn FnOnce() + Send>;

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

/// Figures of the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStatistics {
    /// Threads there are.
    pub threads: usize,
    /// Threads without work.
    pub idle: usize,
    /// Jobs that wait.
    pub queued: usize,
    /// Jobs done since the start.
    pub done: u64,
    /// Threads at the most.
    pub threads_max: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    /// Threads that have not yet looked for work for the first time.
    starting: usize,
    idle: usize,
    done: u64,
    min: usize,
    max: usize,
    stopping: bool,
    handles: Vec<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reactor's pool. Dropping it lets the jobs that have begun end, and forgets the others.
pub(crate) struct ThreadPool {
    shared: Arc<Shared>,
    /// The firing ends of jobs in flight; they never leave the loop's thread.
    waiting: RefCell<BTreeMap<u64, Box<dyn Any>>>,
    serial: std::cell::Cell<u64>,
    /// Until when the simulated threads are busy, one entry per job that was not done when the last was put in.
    busy_until: RefCell<Vec<Time>>,
}

impl ThreadPool {
    fn new() -> ThreadPool {
        let (min, max) = SIZE_DEFAULT;
        let state = State { min, max, ..State::default() };
        ThreadPool {
            shared: Arc::new(Shared { state: Mutex::new(state), work: Condvar::new() }),
            waiting: RefCell::default(),
            serial: std::cell::Cell::new(0),
            busy_until: RefCell::default(),
        }
    }

    fn submit(&self, job: Job) -> Result<(), PoolError> {
        let mut state = self.shared.lock();
        if state.jobs.len() >= QUEUE_MAX {
            return Err(PoolError::Full);
        }
        state.jobs.push_back(job);
        if !self.grow(&mut state) && state.threads == 0 {
            // With a thread the job would wait for that one; without any, for ever.
            let job = state.jobs.pop_back();
            drop((state, job));
            return Err(PoolError::NoThread);
        }
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }

    /// Makes a thread for each job that waits for one, as far as the size allows. Answers false if the system gives none.
    fn grow(&self, state: &mut State) -> bool {
        while state.idle + state.starting < state.jobs.len() && state.threads < state.max {
            let shared = Arc::clone(&self.shared);
            let builder = std::thread::Builder::new().name("pool".to_owned());
            let Ok(handle) = builder.spawn(move || work(&shared)) else { return false };
            state.threads += 1;
            state.starting += 1;
            state.handles.retain(|handle| !handle.is_finished());
            state.handles.push(handle);
        }
        true
    }

    fn resize(&self, max: usize) {
        let mut state = self.shared.lock();
        state.max = max.max(1);
        state.min = SIZE_DEFAULT.0.min(state.max);
        self.grow(&mut state);
        drop(state);
        self.shared.work.notify_all();
    }

    /// How long a simulated job takes from now, when it begins as soon as one of the simulated threads is free.
    fn simulate(&self, now: Time, takes: Duration) -> Time {
        let max = self.shared.lock().max;
        let mut busy_until = self.busy_until.borrow_mut();
        busy_until.retain(|&until| until > now);
        // So many end before this one can begin that a thread is free for it.
        busy_until.sort_unstable();
        let begins = busy_until.len().checked_sub(max).map_or(now, |nth| busy_until[nth]);
        busy_until.push(begins + takes);
        begins + takes
    }

    fn statistics(&self) -> PoolStatistics {
        let state = self.shared.lock();
        PoolStatistics {
            threads: state.threads,
            idle: state.idle,
            queued: state.jobs.len(),
            done: state.done,
            threads_max: state.max,
        }
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        let (jobs, handles) = {
            let mut state = self.shared.lock();
            state.stopping = true;
            (std::mem::take(&mut state.jobs), std::mem::take(&mut state.handles))
        };
        self.shared.work.notify_all();
        drop(jobs);
        for handle in handles {
            // Jobs catch their panics; there is nothing to learn from the end of a thread.
            let _ = handle.join();
        }
    }
}

fn work(shared: &Shared) {
    let mut state = shared.lock();
    state.starting -= 1;
    loop {
        // Also with jobs left: a pool that was made smaller is not to wait for a quiet moment.
        if state.threads > state.max {
            break;
        }
        if let Some(job) = state.jobs.pop_front() {
            drop(state);
            // Jobs catch their panics; the value that nobody wanted may still panic when it is dropped.
            let _ = catch_unwind(AssertUnwindSafe(job));
            state = shared.lock();
            state.done += 1;
            continue;
        }
        if state.stopping {
            break;
        }
        state.idle += 1;
        let (woken, waited) = shared.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
        state = woken;
        state.idle -= 1;
        if waited.timed_out() && state.jobs.is_empty() && state.threads > state.min {
            break;
        }
    }
    state.threads -= 1;
    // The wake-up that brought this thread here may have been meant for a job.
    if !state.jobs.is_empty() {
        shared.work.notify_one();
    }
}

impl Reactor {
    fn with_pool<T>(&self, then: impl FnOnce(&ThreadPool) -> T) -> T {
        let mut pool = self.0.pool.borrow_mut();
        then(pool.get_or_insert_with(ThreadPool::new))
    }

    /// Threads at the most for blocking work; 10 by default. Fewer than before: each of the surplus ends the job it has, and
    /// leaves. More: what waits begins.
    pub fn suggest_thread_pool_size(&self, threads: usize) {
        self.with_pool(|pool| pool.resize(threads));
    }

    /// Figures of the pool.
    #[must_use]
    pub fn thread_pool_statistics(&self) -> PoolStatistics {
        self.with_pool(ThreadPool::statistics)
    }

    /// Runs a function in the pool and forgets it; a panic is logged.
    ///
    /// # Errors
    /// The queue is full, or the system gives no thread.
    #[track_caller]
    pub fn call_in_thread(&self, job: impl FnOnce() + Send + 'static) -> Result<(), PoolError> {
        let name = Name::here();
        let job = Box::new(move || {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(job)) {
                tracing::error!(job = %name, "{}", Failure::from_panic(payload));
            }
        });
        self.submit(name, job)
    }

    /// Runs a function in the pool; the deferred fires on the loop with its value. A panic becomes a failure, and so does a
    /// full queue.
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
        let name = Name::here();
        let (firing, deferred) = Deferred::new(self);
        let ticket = self.with_pool(|pool| {
            let ticket = pool.serial.get() + 1;
            pool.serial.set(ticket);
            pool.waiting.borrow_mut().insert(ticket, Box::new(firing));
            ticket
        });
        let remote = self.remote();
        let job = Box::new(move || {
            let outcome = catch_unwind(AssertUnwindSafe(job));
            // A loop that has ended waits for nothing.
            let _ = remote.call_named(name, move |reactor| reactor.job_done(ticket, outcome));
        });
        let submitted = self.submit(name, job);
        if let Err(error) = submitted {
            self.job_failed::<T>(ticket, Failure::new(error));
        }
        deferred
    }

    fn submit(&self, name: Name, job: Job) -> Result<(), PoolError> {
        if self.is_stopped() {
            return Err(PoolError::Stopped);
        }
        match self.0.driver.job_delay() {
            Some(takes) => {
                let at = self.with_pool(|pool| pool.simulate(self.now(), takes));
                self.call_at_named(name, at, job);
                Ok(())
            }
            None => self.with_pool(|pool| pool.submit(job)),
        }
    }

    fn take_waiting<T: 'static>(&self, ticket: u64) -> Option<Box<Firing<T>>> {
        let waiting = self.with_pool(|pool| pool.waiting.borrow_mut().remove(&ticket));
        waiting.and_then(|waiting| waiting.downcast::<Firing<T>>().ok())
    }

    fn job_done<T: 'static>(&self, ticket: u64, outcome: Result<T, Box<dyn Any + Send>>) {
        match outcome {
            Ok(value) => {
                if let Some(firing) = self.take_waiting::<T>(ticket) {
                    // Nobody minds the value of a deferred that was cancelled.
                    let _ = firing.callback(value);
                }
            }
            Err(payload) => self.job_failed::<T>(ticket, Failure::from_panic(payload)),
        }
    }

    fn job_failed<T: 'static>(&self, ticket: u64, failure: Failure) {
        if let Some(firing) = self.take_waiting::<T>(ticket) {
            let _ = firing.errback(failure);
        }
    }
}
