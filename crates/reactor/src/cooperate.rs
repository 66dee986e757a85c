//! Long work on the loop, cut into slices: Twisted's `Cooperator`. For work that cannot be cut there is the thread pool.
//!
//! A cooperator is one source of the loop. While it has work it asks to be called in every turn, and between two of its
//! slices the loop does everything else: reads, timers, callbacks.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::{Rc, Weak};
use std::time::Duration;

use crate::deferred::{Deferred, Firing};
use crate::failure::{Failure, Outcome, Place};
use crate::name::Name;
use crate::reactor::Reactor;
use crate::source::{Key, Readiness, Source};

/// How long one slice may take: short beside what a person or a timer notices.
const SLICE: Duration = Duration::from_millis(2);
/// Steps in one slice at the most. A simulation's clock stands still in a turn; there it is this that ends a slice.
const STEPS_MAX: u32 = 1000;

/// What one step of a work says about the next.
#[derive(Debug)]
pub enum Work {
    /// It may be taken at once.
    Again,
    /// Not before this has fired; if it fails, so does the work.
    Wait(Deferred<()>),
}

impl From<()> for Work {
    fn from((): ()) -> Work {
        Work::Again
    }
}

impl From<Deferred<()>> for Work {
    fn from(deferred: Deferred<()>) -> Work {
        Work::Wait(deferred)
    }
}

/// Runs iterators a slice at a time, one step of each in turn. Clones are one cooperator.
///
/// ```
/// use ropewalk_reactor::{Cooperator, Reactor, react};
/// use std::{cell::Cell, rc::Rc};
///
/// let sum = Rc::new(Cell::new(0_u64));
/// let total = sum.clone();
/// react(|reactor| {
///     let cooperator = Cooperator::new(&reactor);
///     cooperator.coiterate((1..=100_000).map(move |n| total.set(total.get() + n)))
/// })
/// .expect("adding does not fail");
/// assert_eq!(sum.get(), 5_000_050_000);
/// ```
#[derive(Clone)]
pub struct Cooperator(Rc<Inner>);

struct Inner {
    reactor: Reactor,
    name: Name,
    key: Cell<Option<Key>>,
    queue: RefCell<VecDeque<Rc<Cooperative>>>,
}

/// One work of a cooperator. Dropping the handle changes nothing: the work goes on.
#[derive(Clone)]
pub struct CooperativeTask {
    work: Rc<Cooperative>,
    inner: Rc<Inner>,
}

/// The work was stopped with [`CooperativeTask::stop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// [`CooperativeTask::resume`] without a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotPaused;

struct Cooperative {
    place: Place,
    /// Taken out for a step; gone when the work has ended.
    steps: Cell<Option<Box<dyn Iterator<Item = Work>>>>,
    pauses: Cell<u32>,
    /// It stands in the queue.
    queued: Cell<bool>,
    ended: RefCell<Option<Outcome<()>>>,
    waiting: RefCell<Vec<Firing<()>>>,
}

impl Cooperator {
    /// A cooperator with no work.
    #[track_caller]
    pub fn new(reactor: &Reactor) -> Cooperator {
        Cooperator(Rc::new(Inner {
            reactor: reactor.clone(),
            name: Name::here(),
            key: Cell::new(None),
            queue: RefCell::default(),
        }))
    }

    /// Takes on a work: each step does a little, and says in its item what the next one waits for (`()`: nothing).
    ///
    /// A panic in a step ends the work; it is the failure that [`CooperativeTask::when_done`] tells.
    #[track_caller]
    pub fn cooperate<I>(&self, steps: I) -> CooperativeTask
    where
        I: IntoIterator<Item: Into<Work> + 'static, IntoIter: 'static>,
    {
        let steps = steps.into_iter().map(Into::into);
        let work = Rc::new(Cooperative {
            place: Location::caller(),
            steps: Cell::new(Some(Box::new(steps))),
            pauses: Cell::new(0),
            queued: Cell::new(false),
            ended: RefCell::default(),
            waiting: RefCell::default(),
        });
        self.0.enqueue(&work);
        CooperativeTask { work, inner: Rc::clone(&self.0) }
    }

    /// [`Cooperator::cooperate`] as a deferred, which fires when the work is done. Cancelling it stops the work.
    #[track_caller]
    pub fn coiterate<I>(&self, steps: I) -> Deferred<()>
    where
        I: IntoIterator<Item: Into<Work> + 'static, IntoIter: 'static>,
    {
        let task = self.cooperate(steps);
        let stopping = task.clone();
        let (firing, deferred) = Deferred::with_canceller(&self.0.reactor, move |firing| {
            // First: what stops the work tells all who wait for it that it was stopped.
            let _ = firing.errback(Failure::cancelled());
            stopping.stop();
        });
        task.wait(firing);
        deferred
    }

    /// How many works are ready for their next step.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.0.queue.borrow().len()
    }
}

impl CooperativeTask {
    /// Takes no further step until [`CooperativeTask::resume`] was called as often as this.
    pub fn pause(&self) {
        self.work.pauses.set(self.work.pauses.get() + 1);
    }

    /// Takes one pause back.
    ///
    /// # Errors
    /// There is none.
    pub fn resume(&self) -> Result<(), NotPaused> {
        let pauses = self.work.pauses.get().checked_sub(1).ok_or(NotPaused)?;
        self.work.pauses.set(pauses);
        self.inner.enqueue(&self.work);
        Ok(())
    }

    /// Ends the work: its iterator is dropped, and who waits for it has the failure [`Stopped`]. A work that has ended stays
    /// as it is.
    #[track_caller]
    pub fn stop(&self) {
        let place = Location::caller();
        self.work.end(|| Err(Failure::at(place, Stopped)));
    }

    /// Fires when the work is done, or has failed. May be asked for more than once.
    #[track_caller]
    pub fn when_done(&self) -> Deferred<()> {
        let (firing, deferred) = Deferred::new(&self.inner.reactor);
        self.wait(firing);
        deferred
    }

    fn wait(&self, firing: Firing<()>) {
        match &*self.work.ended.borrow() {
            Some(outcome) => drop(firing.fire(outcome.clone())),
            None => self.work.waiting.borrow_mut().push(firing),
        }
    }
}

impl Inner {
    /// Lets a work have its next step, if nothing holds it back, and sees to it that the loop comes by.
    fn enqueue(self: &Rc<Self>, work: &Rc<Cooperative>) {
        if work.pauses.get() > 0 || work.ended.borrow().is_some() || work.queued.replace(true) {
            return;
        }
        self.queue.borrow_mut().push_back(Rc::clone(work));
        if self.key.get().is_none() {
            let slices = Rc::new(Slices(Rc::clone(self)));
            let key = self.reactor.add_source(|_| slices);
            self.key.set(Some(key));
            self.reactor.ready_again(key, Readiness::NONE);
        }
    }

    fn slice(self: &Rc<Self>) {
        let end = self.reactor.clock() + SLICE;
        for _ in 0..STEPS_MAX {
            let Some(work) = self.queue.borrow_mut().pop_front() else { break };
            work.queued.set(false);
            if work.pauses.get() == 0 {
                self.step(&work);
            }
            if self.reactor.clock() >= end {
                break;
            }
        }
    }

    fn step(self: &Rc<Self>, work: &Rc<Cooperative>) {
        // Absent when it has ended.
        let Some(mut steps) = work.steps.take() else { return };
        match catch_unwind(AssertUnwindSafe(|| steps.next())) {
            Ok(Some(next)) => {
                // A step may have stopped its own work.
                if work.ended.borrow().is_some() {
                    return;
                }
                work.steps.set(Some(steps));
                match next {
                    Work::Again => self.enqueue(work),
                    Work::Wait(deferred) => self.wait(work, deferred),
                }
            }
            Ok(None) => work.end(|| Ok(())),
            Err(payload) => work.end(|| Err(Failure::panicked(work.place, payload))),
        }
    }

    fn wait(self: &Rc<Self>, work: &Rc<Cooperative>, deferred: Deferred<()>) {
        work.pauses.set(work.pauses.get() + 1);
        let (inner, work): (Weak<Inner>, _) = (Rc::downgrade(self), Rc::clone(work));
        let waited = deferred.add_both(move |outcome: Outcome<()>| {
            work.pauses.set(work.pauses.get() - 1);
            match (outcome, inner.upgrade()) {
                (Ok(()), Some(inner)) => inner.enqueue(&work),
                (Ok(()), None) => {}
                (Err(failure), _) => work.end(|| Err(failure)),
            }
        });
        drop(waited);
    }
}

impl Cooperative {
    fn end(&self, outcome: impl FnOnce() -> Outcome<()>) {
        if self.ended.borrow().is_some() {
            return;
        }
        let outcome = outcome();
        *self.ended.borrow_mut() = Some(outcome.clone());
        drop(self.steps.take());
        for firing in self.waiting.take() {
            // It fails if that one was cancelled.
            let _ = firing.fire(outcome.clone());
        }
    }
}

/// The cooperator as the loop knows it, while there is work.
struct Slices(Rc<Inner>);

impl Slices {
    fn retire(&self) {
        if let Some(key) = self.0.key.take() {
            self.0.reactor.remove_source(key);
        }
    }
}

impl Source for Slices {
    fn name(&self) -> Name {
        self.0.name
    }

    fn kind(&self) -> &'static str {
        "cooperator"
    }

    fn ready(self: Rc<Self>, _: Readiness) {
        self.0.slice();
        match self.0.key.get() {
            Some(key) if !self.0.queue.borrow().is_empty() => {
                self.0.reactor.ready_again(key, Readiness::NONE);
            }
            _ => self.retire(),
        }
    }

    /// The program is about to stop: what is left undone is told so.
    fn stopping(self: Rc<Self>) {
        self.abandoned();
    }

    fn abandoned(self: Rc<Self>) {
        let works = self.0.queue.take();
        for work in works {
            work.end(|| Err(Failure::at(work.place, Stopped)));
        }
        self.retire();
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the work was stopped before it was done")
    }
}

impl Error for Stopped {}

impl fmt::Display for NotPaused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the work is not paused")
    }
}

impl Error for NotPaused {}

impl fmt::Debug for Cooperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cooperator").field("ready", &self.ready()).finish_non_exhaustive()
    }
}

impl fmt::Debug for CooperativeTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CooperativeTask")
            .field("made_at", &format_args!("{}", self.work.place))
            .finish_non_exhaustive()
    }
}
