//! The loop's side of a pool: it takes jobs in, makes threads for them, and hands the results to those who wait.
//!
//! The desk stands among the reactor's sources, so that a thread's ring finds it, and in the list of `Pools`, so that the end
//! of the loop does. In a simulation it does the jobs itself, each after a delay of the seed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::Duration;

use super::PoolError;
use super::job::{Finished, Job, Waiter, harmless};
use super::line::Place as Seat;
use super::options::{PoolOptions, PoolStatistics};
use super::queue::{Crew, Queue, Refused, Size};
use super::tickets::{Entry, Tickets};
use crate::failure::Place;
use crate::name::Name;
use crate::reactor::{Reactor, WeakReactor};
use crate::source::{Key, Source};

/// The pools of a reactor.
#[derive(Default)]
pub(crate) struct Pools {
    default: Option<Rc<Desk>>,
    all: Vec<Rc<Desk>>,
}

impl Pools {
    /// All of them, for the end of the loop. The reactor's own goes on telling its figures.
    pub(crate) fn take(&mut self) -> Ending {
        Ending(std::mem::take(&mut self.all))
    }
}

/// Pools of a loop that has ended. Dropping it waits for the jobs that have begun, also those of a pool that a handle holds.
#[derive(Default)]
pub(crate) struct Ending(Vec<Rc<Desk>>);

impl Ending {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// No job begins from now on.
    pub(crate) fn close(&self) {
        self.0.iter().for_each(|desk| desk.forget_jobs(None));
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.iter().for_each(|desk| desk.finish());
    }
}

impl Drop for Pools {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// What the threads hold.
struct Shared {
    queue: Queue<Job, Finished>,
    /// There is none in a simulation: there are no threads.
    bell: Option<Waker>,
    idle: Duration,
}

pub(crate) struct Desk {
    label: &'static str,
    name: Name,
    made_at: Place,
    reactor: WeakReactor,
    key: Cell<Option<Key>>,
    shared: Arc<Shared>,
    tickets: RefCell<Tickets>,
    /// An empty list with its room, for the next batch.
    spare: Cell<Vec<Finished>>,
    threads: RefCell<Vec<JoinHandle<()>>>,
    handles: Cell<usize>,
}

impl Desk {
    /// The reactor's own pool, which counts the reactor as a handle.
    pub(super) fn default(reactor: &Reactor, place: Place) -> Rc<Desk> {
        let known = reactor.0.pools.borrow().default.clone();
        known.unwrap_or_else(|| {
            let desk = Desk::new(reactor, "pool", PoolOptions::default(), place);
            desk.enrol();
            reactor.0.pools.borrow_mut().default = Some(Rc::clone(&desk));
            desk
        })
    }

    pub(super) fn new(
        reactor: &Reactor,
        label: &'static str,
        options: PoolOptions,
        made_at: Place,
    ) -> Rc<Desk> {
        let mut made = None;
        let make = |bell: Option<Waker>, key, crew| {
            let (min, max) = sizes(options.threads_min, options.threads_max);
            let queue = Queue::new(Size { min, max, queue: options.queue_max }, crew);
            Rc::new(Desk {
                label,
                name: Name::new(label),
                made_at,
                reactor: reactor.downgrade(),
                key: Cell::new(key),
                shared: Arc::new(Shared { queue, bell, idle: options.idle }),
                tickets: RefCell::default(),
                spare: Cell::default(),
                threads: RefCell::default(),
                handles: Cell::new(0),
            })
        };
        if reactor.0.driver.has_threads() {
            reactor.add_source(|key| {
                let desk = make(Some(reactor.waker(key)), Some(key), Crew::Threads);
                made = Some(Rc::clone(&desk));
                desk
            });
        } else {
            made = Some(make(None, None, Crew::Loop));
        }
        let desk = made.expect("add_source calls its argument");
        reactor.0.pools.borrow_mut().all.push(Rc::clone(&desk));
        desk
    }

    pub(super) fn enrol(&self) {
        self.handles.set(self.handles.get() + 1);
    }

    /// One handle is gone. After the last nobody can put in a job: those that have begun end, the others are forgotten.
    pub(super) fn leave(&self, reactor: &Reactor) {
        self.handles.set(self.handles.get() - 1);
        if self.handles.get() == 0 {
            self.forget_jobs(Some(reactor));
            // Else the last thread rings when it leaves.
            if self.shared.queue.is_over() {
                self.vanish(reactor);
            }
        }
    }

    /// Takes a ticket for a job that is to be put in next.
    pub(super) fn ticket(&self, place: Place, waiter: Option<Box<dyn Waiter>>) -> u32 {
        self.tickets.borrow_mut().issue(place, waiter)
    }

    pub(super) fn set_waiter(&self, ticket: u32, waiter: Box<dyn Waiter>) {
        if let Some(entry) = self.tickets.borrow_mut().entry(ticket) {
            entry.waiter = Some(waiter);
        }
    }

    /// What waits is dropped by the caller, who has nothing borrowed.
    fn take(&self, ticket: u32) -> Option<Entry> {
        self.tickets.borrow_mut().take(ticket)
    }

    /// Gives a ticket back whose job was refused.
    pub(super) fn give_back(&self, ticket: u32) {
        let entry = self.take(ticket);
        drop(entry);
    }

    /// Puts a job in, and makes a thread for it if there is to be one.
    pub(super) fn submit(self: &Rc<Self>, reactor: &Reactor, job: Job) -> Result<(), PoolError> {
        let (ticket, place) = (job.ticket, job.place);
        let refuse = |error, job| {
            harmless(place, || drop(job));
            Err(error)
        };
        if reactor.is_stopped() {
            return refuse(PoolError::Stopped, job);
        }
        let (seat, hired) = match self.shared.queue.push(job) {
            Ok(pushed) => pushed,
            Err(Refused::Full(job)) => return refuse(PoolError::Full, job),
            Err(Refused::Closed(job)) => return refuse(PoolError::Stopped, job),
        };
        if hired && let Some(job) = self.hire(Some(seat)) {
            return refuse(PoolError::NoThread, job);
        }
        if let Some(ticket) = ticket
            && let Some(entry) = self.tickets.borrow_mut().entry(ticket)
        {
            entry.seat = Some(seat);
        }
        self.simulate(reactor);
        Ok(())
    }

    /// Makes a booked thread. Gives the job back that nobody will ever do.
    fn hire(&self, seat: Option<Seat>) -> Option<Job> {
        let shared = Arc::clone(&self.shared);
        let ring = |bell: &Option<Waker>| bell.iter().for_each(Waker::wake_by_ref);
        let work = move || shared.queue.work(shared.idle, Job::run, || ring(&shared.bell));
        let Ok(handle) = std::thread::Builder::new().name(self.label.replace('\0', "")).spawn(work) else {
            return self.shared.queue.unhire(seat);
        };
        let mut threads = self.threads.borrow_mut();
        threads.retain(|thread| !thread.is_finished());
        threads.push(handle);
        None
    }

    pub(super) fn resize(self: &Rc<Self>, reactor: &Reactor, min: usize, max: usize) {
        let (min, max) = sizes(min, max);
        self.shared.queue.resize(min, max);
        while self.shared.queue.hire() {
            if self.hire(None).is_some() {
                break;
            }
        }
        self.simulate(reactor);
    }

    /// Its deferred was cancelled: a job that has not begun is taken out, and the answer is true. One that has will find out
    /// when it has ended: its deferred has fired.
    pub(super) fn cancel(&self, ticket: u32) -> bool {
        let seat = self.tickets.borrow_mut().entry(ticket).and_then(|entry| entry.seat);
        let Some(job) = seat.and_then(|seat| self.shared.queue.remove(seat)) else { return false };
        let place = job.place;
        let entry = self.take(ticket);
        harmless(place, || drop((entry, job)));
        true
    }

    pub(super) fn statistics(&self) -> PoolStatistics {
        let figures = self.shared.queue.figures();
        // A simulated thread is there while it works.
        let threads = if self.shared.bell.is_some() { figures.threads } else { figures.running };
        PoolStatistics {
            name: self.label,
            threads,
            idle: figures.idle,
            queued: figures.queued,
            running: figures.running,
            done: figures.done,
            panicked: figures.panicked,
            cancelled: figures.cancelled,
            threads_max: figures.max,
        }
    }

    /// Hands over what has come back: never from within the mail, which it reads.
    fn collect(&self, reactor: &Reactor) {
        let mut batch = self.spare.take();
        let over = self.shared.queue.collect(&mut batch);
        // What these jobs have sent to the loop lies in the mail by now, and is to come before their results. A door's ring
        // goes on the ready queue, and so does all that a result sets off, behind it.
        reactor.drain_mail();
        for Finished { ticket, outcome } in batch.drain(..) {
            match self.take(ticket) {
                Some(Entry { waiter: Some(waiter), place, .. }) => {
                    harmless(place, || waiter.end(place, reactor, outcome));
                }
                Some(Entry { place, .. }) => harmless(place, || drop(outcome)),
                None => harmless(self.made_at, || drop(outcome)),
            }
        }
        self.spare.set(batch);
        if over {
            self.vanish(reactor);
        }
    }

    /// It is closed, and the last thread has left.
    fn vanish(&self, reactor: &Reactor) {
        let out = |desk: &Rc<Desk>| !std::ptr::eq(Rc::as_ptr(desk), self);
        let gone: Vec<Rc<Desk>> =
            reactor.0.pools.borrow_mut().all.extract_if(.., |desk| !out(desk)).collect();
        if let Some(key) = self.key.take() {
            reactor.remove_source(key);
        }
        drop(gone);
    }

    /// Closes the queue. Who waits for a job that has not begun is told if the loop goes on, and else at its end.
    fn forget_jobs(&self, reactor: Option<&Reactor>) {
        for job in self.shared.queue.close() {
            let (place, ticket) = (job.place, job.ticket);
            harmless(place, || drop(job));
            let entry = ticket.and_then(|ticket| self.take(ticket));
            if let Some(waiter) = entry.and_then(|entry| entry.waiter) {
                match reactor {
                    Some(reactor) => waiter.forget(place, reactor),
                    None => harmless(place, || drop(waiter)),
                }
            }
        }
    }

    /// Waits for the jobs that have begun. Their values, and who waited for them, go down one by one.
    fn finish(&self) {
        self.forget_jobs(None);
        for thread in self.threads.take() {
            // Jobs catch their panics; there is nothing to learn from the end of a thread.
            let _ = thread.join();
        }
        let mut batch = Vec::new();
        self.shared.queue.collect(&mut batch);
        batch.into_iter().for_each(|finished| harmless(self.made_at, || drop(finished)));
        for entry in self.tickets.take().into_entries() {
            harmless(entry.place, || drop(entry));
        }
    }

    /// Begins what simulated threads are free for. A job runs at the end of its time, as if it had taken that.
    fn simulate(self: &Rc<Self>, reactor: &Reactor) {
        if self.shared.bell.is_some() {
            return;
        }
        while let Some(job) = self.shared.queue.begin() {
            let desk = Rc::clone(self);
            let at = reactor.now() + reactor.0.driver.job_delay();
            reactor.call_at_named(Name::place(job.place), at, move || {
                desk.shared.queue.end(job.run());
                if let Some(reactor) = desk.reactor.upgrade() {
                    desk.collect(&reactor);
                    desk.simulate(&reactor);
                }
            });
        }
    }
}

impl Source for Desk {
    fn name(&self) -> Name {
        self.name
    }

    fn woken(self: Rc<Self>) {
        if let Some(reactor) = self.reactor.upgrade() {
            self.collect(&reactor);
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.finish();
    }
}

/// At least one thread, and no more that stay than there may be.
fn sizes(min: usize, max: usize) -> (usize, usize) {
    let max = max.max(1);
    (min.min(max), max)
}
