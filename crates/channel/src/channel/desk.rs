//! The journal's side of a channel: what waits to be written, in batches, one at a time. An event enters the history only when
//! its batch was committed.
//!
//! Called by `channel` only.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use ropewalk_reactor::{Deferred, Firing, Outcome, Reactor};

use super::{Inner, now_us};
use crate::error::ChannelError;
use crate::event::{Data, Event, EventId};
use crate::journal::Journal;
use crate::ledger::Ledger;
use crate::workers::replica::WayHome;

/// Events that one batch may carry, and their bytes: so many that the batch is worth its commit, and not so many that the first
/// waits long.
const BATCH_EVENTS: usize = 1_024;
const BATCH_BYTES: usize = 4 * 1024 * 1024;

pub(super) struct Desk {
    journal: Rc<dyn Journal>,
    line: RefCell<VecDeque<(Data, Firing<EventId>)>>,
    /// Events on their way.
    sent: Cell<usize>,
    /// What is written comes back by itself from there, together with what others write.
    follows: Option<WayHome>,
    looking: RefCell<Looking>,
    /// A batch is on its way, or about to be.
    busy: Cell<bool>,
}

/// Those who want to know that what follows is as far as home was.
#[derive(Default)]
struct Looking {
    /// Home was asked, and has not answered.
    asked: bool,
    /// Those who came after it was asked: they are asked for next, together.
    next: Vec<Firing<()>>,
    /// Up to where these wait.
    waiting: Vec<(EventId, Firing<()>)>,
}

impl Desk {
    pub(super) fn new(journal: Rc<dyn Journal>, follows: Option<WayHome>) -> Desk {
        Desk {
            journal,
            follows,
            looking: RefCell::default(),
            line: RefCell::default(),
            sent: Cell::new(0),
            busy: Cell::new(false),
        }
    }

    pub(super) fn follows(&self) -> bool {
        self.follows.is_some()
    }

    pub(super) fn way(&self) -> Option<&WayHome> {
        self.follows.as_ref()
    }

    /// Fires when what is here is as far as home is by now.
    pub(super) fn look(&self, reactor: &Reactor, channel: &Rc<Inner>) -> Deferred<()> {
        let (firing, deferred) = Deferred::new(reactor);
        self.looking.borrow_mut().next.push(firing);
        self.ask_home(channel);
        deferred
    }

    /// One question is on its way at a time, however many come meanwhile.
    fn ask_home(&self, channel: &Rc<Inner>) {
        let Some(way) = &self.follows else { return };
        let asking = {
            let mut looking = self.looking.borrow_mut();
            if looking.asked || looking.next.is_empty() {
                return;
            }
            looking.asked = true;
            std::mem::take(&mut looking.next)
        };
        let inner = Rc::clone(channel);
        let answered = way.last(&channel.name).add_both(move |outcome: Outcome<EventId>| {
            let desk = inner.desk();
            desk.looking.borrow_mut().asked = false;
            match outcome {
                Ok(last) if inner.closed.get() || inner.log.borrow().extent().last >= last => {
                    asking.iter().for_each(tell);
                }
                Ok(last) => {
                    let waiting = asking.into_iter().map(|firing| (last, firing));
                    desk.looking.borrow_mut().waiting.extend(waiting);
                }
                Err(failure) => {
                    for firing in asking {
                        // Whoever asked may have left.
                        let _ = firing.errback(failure.clone());
                    }
                }
            }
            desk.ask_home(&inner);
        });
        answered.detach();
    }

    /// What follows has come up to here.
    pub(super) fn reached(&self, last: EventId) {
        if self.looking.borrow().waiting.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.looking.borrow_mut().waiting);
        let (here, left) = waiting.into_iter().partition(|(wanted, _)| *wanted <= last);
        self.looking.borrow_mut().waiting = left;
        let here: Vec<(EventId, Firing<()>)> = here;
        here.iter().for_each(|(_, firing)| tell(firing));
    }

    pub(super) fn journal(&self) -> &Rc<dyn Journal> {
        &self.journal
    }

    pub(super) fn waiting(&self) -> usize {
        self.line.borrow().len() + self.sent.get()
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy.get() || self.sent.get() > 0
    }

    /// The channel is closed: what was not sent will not be.
    pub(super) fn give_up(&self, ledger: &Ledger) {
        for (data, firing) in self.line.take() {
            ledger.waited(data.len());
            // Nobody has to wait for it.
            let _ = firing.errback(ChannelError::Closed);
        }
        self.reached(EventId::MAX);
    }

    fn next_batch(&self) -> Vec<(Data, Firing<EventId>)> {
        let mut line = self.line.borrow_mut();
        let mut bytes = 0;
        let mut count = 0;
        for (data, _) in line.iter().take(BATCH_EVENTS) {
            bytes += data.len();
            if count > 0 && bytes > BATCH_BYTES {
                break;
            }
            count += 1;
        }
        line.drain(..count).collect()
    }
}

fn tell(firing: &Firing<()>) {
    // Whoever asked may have left.
    let _ = firing.callback(());
}

impl Inner {
    fn desk(&self) -> &Desk {
        self.desk.as_ref().expect("only a channel with a journal comes here")
    }

    /// Publishes when its turn has come.
    #[track_caller]
    pub(super) fn wait_in_line(self: &Rc<Self>, data: Data) -> Deferred<EventId> {
        if let Err(error) = self.ledger.wait(data.len()) {
            return ropewalk_reactor::deferred::fail(&self.reactor, error);
        }
        if self.desk().follows() {
            return self.send_home(data);
        }
        let (firing, deferred) = Deferred::new(&self.reactor);
        let desk = self.desk();
        desk.line.borrow_mut().push_back((data, firing));
        // What is published in one turn, and while a batch is on its way, goes together.
        if !desk.busy.replace(true) {
            let inner = Rc::clone(self);
            self.reactor.call_soon(move || inner.send());
        }
        deferred
    }

    /// Another worker gives the ids, and the event comes back from there; each goes by itself, so that none is refused with
    /// another one.
    #[track_caller]
    fn send_home(self: &Rc<Self>, data: Data) -> Deferred<EventId> {
        let bytes = data.len();
        let (firing, deferred) = Deferred::new(&self.reactor);
        let desk = self.desk();
        desk.sent.set(desk.sent.get() + 1);
        let sent = desk.journal.append(&self.name, vec![Event { id: EventId(0), at_ms: 0, data }]);
        let inner = Rc::clone(self);
        let answered = sent.add_both(move |outcome: Outcome<Vec<EventId>>| {
            let desk = inner.desk();
            desk.sent.set(desk.sent.get() - 1);
            inner.ledger.waited(bytes);
            let id = outcome.and_then(|ids| match ids.first() {
                Some(id) => Ok(*id),
                None => Err(ChannelError::Journal("it gave no id").into()),
            });
            // Whoever asked may have left.
            let _ = firing.fire(id);
        });
        answered.detach();
        deferred
    }

    fn send(self: &Rc<Self>) {
        let desk = self.desk();
        let batch = desk.next_batch();
        if batch.is_empty() {
            return desk.busy.set(false);
        }
        let now_us = now_us(&self.reactor);
        let mut events = Vec::with_capacity(batch.len());
        let mut firings = Vec::with_capacity(batch.len());
        for (data, firing) in batch {
            match self.log.borrow_mut().give(now_us) {
                Some(id) => {
                    events.push(Event { id, at_ms: now_us / 1_000, data });
                    firings.push(firing);
                }
                None => {
                    self.ledger.waited(data.len());
                    let _ = firing.errback(ChannelError::Exhausted);
                }
            }
        }
        desk.sent.set(events.len());
        let inner = Rc::clone(self);
        let sent = desk.journal.append(&self.name, events.clone());
        // It goes on also when nobody waits for it.
        sent.add_both(move |outcome| inner.written(events, firings, outcome)).detach();
    }

    /// The journal has answered.
    fn written(
        self: &Rc<Self>,
        events: Vec<Event>,
        firings: Vec<Firing<EventId>>,
        outcome: Outcome<Vec<EventId>>,
    ) {
        self.desk().sent.set(0);
        events.iter().for_each(|event| self.ledger.waited(event.data.len()));
        let last = self.log.borrow().extent().last;
        let outcome = outcome.and_then(|ids| {
            let rise = ids.first().is_none_or(|first| *first > last) && ids.is_sorted_by(|a, b| a < b);
            let right = rise && ids.len() == events.len() && ids.last().is_none_or(|id| *id <= EventId::MAX);
            if right { Ok(ids) } else { Err(ChannelError::Journal("it gave ids that do not rise").into()) }
        });
        // The next batch goes on its way before anybody is told, and a listener that panics holds nothing up.
        let next = Rc::clone(self);
        self.reactor.call_soon(move || next.send());
        match outcome {
            Ok(ids) => {
                for (firing, id) in firings.iter().zip(&ids) {
                    let _ = firing.callback(*id);
                }
                for (event, id) in events.into_iter().zip(ids) {
                    self.append(Event { id, ..event });
                }
            }
            Err(failure) => {
                // Whatever became of them, these ids are not given again.
                if let Some(event) = events.last() {
                    self.log.borrow_mut().leave_out(event.id);
                }
                for firing in firings {
                    let _ = firing.errback(failure.clone());
                }
            }
        }
    }
}
