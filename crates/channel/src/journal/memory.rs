//! A journal in memory: not durable, but slow, failing and crashing as a test wants it.
//!
//! For tests of this crate and of those above it; a program that keeps nothing needs no journal at all.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::{Deferred, Failure, Firing, Outcome, Reactor};

use super::{Journal, Loaded};
use crate::event::{Event, EventId};
use crate::retention::Retention;

/// A [`Journal`] that forgets everything with the process, and takes its time until then. Clones are one.
///
/// What is asked of it is done in order, one after the other, each after a random delay.
#[derive(Clone)]
pub struct MemoryJournal(Rc<Inner>);

struct Inner {
    reactor: Reactor,
    tables: RefCell<Tables>,
    queue: RefCell<VecDeque<Asked>>,
    busy: Cell<bool>,
    delay_max: Cell<Duration>,
    failing: Cell<u64>,
}

#[derive(Clone, Default)]
struct Tables {
    channels: BTreeMap<String, Row>,
    mark: EventId,
}

#[derive(Clone, Default)]
struct Row {
    floor: EventId,
    events: Vec<Event>,
    clients: BTreeMap<String, EventId>,
}

type Answer = Box<dyn FnOnce()>;

struct Asked {
    /// Does it. The answer is another step, so that a crash may come in between.
    done: Box<dyn FnOnce(&mut Tables) -> Answer>,
    failed: Box<dyn FnOnce(Failure)>,
}

impl MemoryJournal {
    /// An empty one, which answers in the next turn.
    #[must_use]
    pub fn new(reactor: &Reactor) -> MemoryJournal {
        MemoryJournal::over(reactor, Tables::default())
    }

    fn over(reactor: &Reactor, tables: Tables) -> MemoryJournal {
        MemoryJournal(Rc::new(Inner {
            reactor: reactor.clone(),
            tables: RefCell::new(tables),
            queue: RefCell::default(),
            busy: Cell::new(false),
            delay_max: Cell::new(Duration::ZERO),
            failing: Cell::new(0),
        }))
    }

    /// Everything takes up to so long, by the reactor's own chance.
    pub fn set_delay(&self, max: Duration) {
        self.0.delay_max.set(max);
    }

    /// So many of a hundred fail, with nothing done.
    pub fn set_failing(&self, percent: u64) {
        self.0.failing.set(percent);
    }

    /// The process is killed: of what waits, the first few are done, and nobody is answered. What is left, for the next process.
    #[must_use]
    pub fn crash(&self, next: &Reactor) -> MemoryJournal {
        let waiting = self.0.queue.take();
        let survives = self.0.reactor.random() as usize % (waiting.len() + 1);
        let mut tables = self.0.tables.borrow().clone();
        for asked in waiting.into_iter().take(survives) {
            drop((asked.done)(&mut tables));
        }
        let left = MemoryJournal::over(next, tables);
        left.set_delay(self.0.delay_max.get());
        left.set_failing(self.0.failing.get());
        left
    }

    fn ask<T: 'static>(&self, job: impl FnOnce(&mut Tables) -> T + 'static) -> Deferred<T> {
        let (firing, deferred) = Deferred::new(&self.0.reactor);
        let told = firing.clone();
        let done = move |tables: &mut Tables| -> Answer {
            let value = job(tables);
            Box::new(move || tell(&firing, Ok(value)))
        };
        let failed = Box::new(move |failure| tell(&told, Err(failure)));
        self.0.queue.borrow_mut().push_back(Asked { done: Box::new(done), failed });
        self.0.begin();
        deferred
    }
}

impl fmt::Debug for MemoryJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryJournal").field("channels", &self.len()).finish_non_exhaustive()
    }
}

fn tell<T>(firing: &Firing<T>, outcome: Outcome<T>) {
    // Whoever asked may have left.
    let _ = firing.fire(outcome);
}

impl Inner {
    fn begin(self: &Rc<Self>) {
        if self.queue.borrow().is_empty() || self.busy.replace(true) {
            return;
        }
        let max_us = u64::try_from(self.delay_max.get().as_micros()).unwrap_or(u64::MAX - 1);
        let delay = Duration::from_micros(self.reactor.random() % (max_us + 1));
        let inner = Rc::clone(self);
        self.reactor.call_later(delay, move || inner.step());
    }

    fn step(self: &Rc<Self>) {
        self.busy.set(false);
        // None after a crash.
        let Some(asked) = self.queue.borrow_mut().pop_front() else { return };
        if self.reactor.random() % 100 < self.failing.get() {
            (asked.failed)(Failure::new("the disk is on fire"));
        } else {
            let answer = (asked.done)(&mut self.tables.borrow_mut());
            answer();
        }
        self.begin();
    }
}

impl Journal for MemoryJournal {
    fn load(&self, channel: &str, retention: Retention) -> Deferred<Loaded> {
        let channel = channel.to_owned();
        self.ask(move |tables| {
            let Some(row) = tables.channels.get(&channel) else {
                return Loaded { floor: tables.mark, ..Loaded::default() };
            };
            let mut bytes = 0;
            let kept = row.events.iter().rev().enumerate().take_while(|(before, event)| {
                bytes += event.data.len();
                *before < retention.events_max && bytes <= retention.bytes_max
            });
            let skip = row.events.len() - kept.count();
            let floor = skip.checked_sub(1).map_or(row.floor, |last| row.events[last].id);
            let clients = row.clients.iter().map(|(name, id)| (name.clone(), *id)).collect();
            Loaded { floor, events: row.events[skip..].to_vec(), clients }
        })
    }

    fn append(&self, channel: &str, events: Vec<Event>) -> Deferred<Vec<EventId>> {
        let channel = channel.to_owned();
        self.ask(move |tables| {
            let floor = EventId(events.first().map_or(0, |event| event.id.0 - 1));
            let new = || Row { floor, ..Row::default() };
            let row = tables.channels.entry(channel).or_insert_with(new);
            let ids = events.iter().map(|event| event.id).collect();
            row.events.extend(events);
            ids
        })
    }

    fn forget(&self, channel: &str, up_to: EventId) {
        let channel = channel.to_owned();
        let forgotten = self.ask(move |tables| {
            if let Some(row) = tables.channels.get_mut(&channel) {
                row.events.retain(|event| event.id > up_to);
                row.floor = row.floor.max(up_to);
            }
        });
        // What could not be forgotten is forgotten when the channel is loaded again.
        forgotten.add_errback(|_| ()).detach();
    }

    fn acknowledge(&self, channel: &str, client: &str, id: Option<EventId>) -> Deferred<()> {
        let (channel, client) = (channel.to_owned(), client.to_owned());
        self.ask(move |tables| match id {
            Some(id) => {
                let floor = id.max(tables.mark);
                let new = || Row { floor, ..Row::default() };
                let row = tables.channels.entry(channel).or_insert_with(new);
                let cursor = row.clients.entry(client).or_default();
                *cursor = id.max(*cursor);
            }
            None => {
                if let Some(row) = tables.channels.get_mut(&channel) {
                    row.clients.remove(&client);
                }
            }
        })
    }

    fn remove(&self, channel: &str, mark: EventId) -> Deferred<()> {
        let channel = channel.to_owned();
        self.ask(move |tables| {
            let row = tables.channels.remove(&channel).unwrap_or_default();
            let last = row.events.last().map_or(row.floor, |event| event.id);
            tables.mark = tables.mark.max(last).max(mark);
        })
    }

    fn names(&self) -> Vec<String> {
        self.0.tables.borrow().channels.keys().cloned().collect()
    }

    fn len(&self) -> usize {
        self.0.tables.borrow().channels.len()
    }

    fn knows(&self, channel: &str) -> bool {
        self.0.tables.borrow().channels.contains_key(channel)
    }
}
