//! What the loop and the threads of a pool share: the jobs that wait, the results that wait, and who sleeps. One lock.
//!
//! It makes no thread and runs no job: `desk` is the loop's side, `job` the threads'. The protocol, tried by `tests/loom.rs`:
//! - Whether a job begins or is taken out is decided under the lock, so it is one of the two.
//! - While jobs wait and threads sleep, one of these has been called and has not come yet. Who comes takes a job and calls the
//!   next if there is more: a burst of short jobs wakes two threads and not ten, and a long one keeps nobody from the rest.
//! - While results wait, the loop has been rung for and has not come yet: one ring for as many as there are by then.

use std::time::Duration;

use super::line::{Line, Place};
use super::locks::{Condvar, Mutex, lock, wait, wait_timeout};

/// How many threads, and how many jobs may wait for them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) queue: usize,
}

/// Who does the jobs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crew {
    /// Threads, one booked for each job that waits for one.
    Threads,
    /// The loop of a simulation, by `begin` and `end`.
    Loop,
}

/// A job that was not taken, and why.
pub(crate) enum Refused<J> {
    Full(J),
    Closed(J),
}

/// What a thread says of a job that it has done.
pub(crate) struct Report<D> {
    /// For the loop, if anybody there waits for it.
    pub(crate) result: Option<D>,
    /// How many calls of it panicked.
    pub(crate) panics: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) threads: usize,
    pub(crate) idle: usize,
    pub(crate) queued: usize,
    pub(crate) running: usize,
    pub(crate) done: u64,
    pub(crate) panicked: u64,
    pub(crate) cancelled: u64,
    pub(crate) max: usize,
}

pub(crate) struct Queue<J, D> {
    state: Mutex<State<J, D>>,
    work: Condvar,
}

struct State<J, D> {
    line: Line<J>,
    results: Vec<D>,
    size: Size,
    crew: Crew,
    threads: usize,
    /// Threads that have not yet looked for work for the first time.
    starting: usize,
    idle: usize,
    /// A sleeping thread was called and has not come yet.
    called: bool,
    closed: bool,
    running: usize,
    done: u64,
    panicked: u64,
    cancelled: u64,
}

impl<J, D> State<J, D> {
    /// The next job, for a thread that is not one too many: a pool that was made smaller is not to wait for a quiet moment.
    fn take(&mut self) -> Option<J> {
        if self.threads > self.size.max {
            return None;
        }
        let job = self.line.pop()?;
        self.running += 1;
        Some(job)
    }

    /// Whether a sleeping thread is to be called now. It is the caller's turn then to notify, once the lock is open.
    fn calls(&mut self) -> bool {
        let calls = self.idle > 0 && !self.called && !self.line.is_empty();
        self.called |= calls;
        calls
    }

    /// Books a thread, if a job waits for one and the size allows it.
    fn hires(&mut self) -> bool {
        let hires = self.idle + self.starting < self.line.len()
            && self.threads < self.size.max
            && self.crew == Crew::Threads;
        self.threads += usize::from(hires);
        self.starting += usize::from(hires);
        hires
    }

    fn is_over(&self) -> bool {
        self.closed && self.threads == 0 && self.running == 0 && self.results.is_empty()
    }

    /// Answers whether the loop is to be rung for.
    fn report(&mut self, report: Report<D>) -> bool {
        self.running -= 1;
        self.done += 1;
        self.panicked += report.panics;
        let rings = report.result.is_some() && self.results.is_empty();
        self.results.extend(report.result);
        rings
    }
}

impl<J, D> Queue<J, D> {
    pub(crate) fn new(size: Size, crew: Crew) -> Queue<J, D> {
        let state = State {
            line: Line::new(),
            results: Vec::new(),
            size,
            crew,
            threads: 0,
            starting: 0,
            idle: 0,
            called: false,
            closed: false,
            running: 0,
            done: 0,
            panicked: 0,
            cancelled: 0,
        };
        Queue { state: Mutex::new(state), work: Condvar::new() }
    }

    /// Puts a job in. Answers where it waits, and whether a thread was [booked](Queue::hire) for it.
    pub(crate) fn push(&self, job: J) -> Result<(Place, bool), Refused<J>> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Refused::Closed(job));
        }
        if state.line.len() >= state.size.queue {
            return Err(Refused::Full(job));
        }
        let place = state.line.push(job);
        let (hires, calls) = (state.hires(), state.calls());
        drop(state);
        self.call_if(calls);
        Ok((place, hires))
    }

    /// Takes a job out that has not begun; nothing if it has.
    pub(crate) fn remove(&self, place: Place) -> Option<J> {
        let mut state = lock(&self.state);
        let job = state.line.remove(place)?;
        state.cancelled += 1;
        Some(job)
    }

    /// Books a thread, if there is a job for one more: the caller makes it, or says that it could not.
    pub(crate) fn hire(&self) -> bool {
        lock(&self.state).hires()
    }

    /// The booked thread could not be made. Without any other the job at `place` would wait for ever: it is handed back.
    pub(crate) fn unhire(&self, place: Option<Place>) -> Option<J> {
        let mut state = lock(&self.state);
        state.threads -= 1;
        state.starting -= 1;
        if state.threads > 0 {
            return None;
        }
        state.line.remove(place?)
    }

    pub(crate) fn resize(&self, min: usize, max: usize) {
        let mut state = lock(&self.state);
        (state.size.min, state.size.max) = (min, max);
        drop(state);
        // Who is one too many, or was not before, finds out by itself.
        self.work.notify_all();
    }

    /// Takes no more jobs, and gives back those that have not begun. Threads leave when they have nothing to do.
    pub(crate) fn close(&self) -> Vec<J> {
        let mut state = lock(&self.state);
        state.closed = true;
        let jobs = std::iter::from_fn(|| state.line.pop()).collect();
        drop(state);
        self.work.notify_all();
        jobs
    }

    /// Puts the results in place of the empty `batch`. Answers whether these were the last: it is closed, and nobody works.
    pub(crate) fn collect(&self, batch: &mut Vec<D>) -> bool {
        let mut state = lock(&self.state);
        std::mem::swap(&mut state.results, batch);
        state.is_over()
    }

    /// Whether it is closed, nobody works, and every result was collected.
    pub(crate) fn is_over(&self) -> bool {
        lock(&self.state).is_over()
    }

    pub(crate) fn figures(&self) -> Figures {
        let state = lock(&self.state);
        Figures {
            threads: state.threads,
            idle: state.idle,
            queued: state.line.len(),
            running: state.running,
            done: state.done,
            panicked: state.panicked,
            cancelled: state.cancelled,
            max: state.size.max,
        }
    }

    /// The life of a thread that was booked. `ring` is called without the lock, when the loop is to collect.
    pub(crate) fn work(&self, idle: Duration, mut run: impl FnMut(J) -> Report<D>, ring: impl Fn()) {
        lock(&self.state).starting -= 1;
        let mut next = self.wait_for_job(idle);
        while let Some(job) = next {
            let report = run(job);
            let (rings, job) = self.exchange(report);
            if rings {
                ring();
            }
            next = job.or_else(|| self.wait_for_job(idle));
        }
        // The loop lets go of a closed pool when the last thread has left.
        if lock(&self.state).closed {
            ring();
        }
    }

    /// One job for another, under one lock.
    fn exchange(&self, report: Report<D>) -> (bool, Option<J>) {
        let mut state = lock(&self.state);
        let rings = state.report(report);
        (rings, state.take())
    }

    /// The next job; none if this thread is to leave, which is booked then.
    fn wait_for_job(&self, idle: Duration) -> Option<J> {
        let mut state = lock(&self.state);
        let mut late = false;
        let job = loop {
            let job = state.take();
            if job.is_some() {
                break job;
            }
            let surplus = state.threads > state.size.max || (late && state.threads > state.size.min);
            if surplus || state.closed {
                state.threads -= 1;
                break None;
            }
            state.idle += 1;
            (state, late) = if state.threads > state.size.min {
                wait_timeout(&self.work, &self.state, state, idle)
            } else {
                (wait(&self.work, state), false)
            };
            state.idle -= 1;
            // Whoever came, by whatever cause: from here on it is this thread that calls the next.
            state.called = false;
        };
        let calls = state.calls();
        drop(state);
        self.call_if(calls);
        job
    }

    /// Without anybody who sleeps, this is a system call for nothing: hence the count.
    fn call_if(&self, calls: bool) {
        if calls {
            self.work.notify_one();
        }
    }

    /// The next job, if a simulated thread is free for it.
    pub(crate) fn begin(&self) -> Option<J> {
        let mut state = lock(&self.state);
        if state.running < state.size.max { state.take() } else { None }
    }

    /// What a simulated thread has done.
    pub(crate) fn end(&self, report: Report<D>) {
        lock(&self.state).report(report);
    }
}
