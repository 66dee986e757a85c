//! A worker's side of the doors: the way home, as a journal. Made by `Channels::replica`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use ropewalk_reactor::{Deferred, Firing, Outcome, Reactor, Receiver, deferred};

use super::{Asked, DOOR, Home, Told};
use crate::error::ChannelError;
use crate::event::{Event, EventId};
use crate::journal::{Journal, Loaded};
use crate::registry::WeakChannels;
use crate::retention::Retention;

/// A [`Journal`] that is another worker.
pub(crate) struct WayHome(Rc<Inner>);

struct Inner {
    reactor: Reactor,
    home: Home,
    number: u64,
    next: Cell<u64>,
    waiting: RefCell<BTreeMap<u64, Waiting>>,
    channels: RefCell<WeakChannels>,
    receiver: RefCell<Option<Receiver>>,
}

enum Waiting {
    Open(Firing<Loaded>),
    Publish(Firing<Vec<EventId>>),
    Done(Firing<()>),
}

impl WayHome {
    /// Says hello; fails when home's door is full or its loop has ended.
    pub(crate) fn new(reactor: &Reactor, home: &Home) -> Result<WayHome, ChannelError> {
        let inner = Rc::new(Inner {
            reactor: reactor.clone(),
            home: home.clone(),
            number: reactor.random(),
            next: Cell::new(0),
            waiting: RefCell::default(),
            channels: RefCell::default(),
            receiver: RefCell::new(None),
        });
        let weak = Rc::downgrade(&inner);
        let (receiver, sender) = reactor.receiver(DOOR, move |told| {
            if let Some(inner) = weak.upgrade() {
                inner.hear(told);
            }
        });
        *inner.receiver.borrow_mut() = Some(receiver);
        inner.ask(Asked::Hello(inner.number, sender))?;
        Ok(WayHome(inner))
    }

    /// Where what follows is to go.
    pub(crate) fn belongs_to(&self, channels: WeakChannels) {
        *self.0.channels.borrow_mut() = channels;
    }

    pub(crate) fn share(&self) -> WayHome {
        WayHome(Rc::clone(&self.0))
    }
}

impl Inner {
    fn ask(&self, asked: Asked) -> Result<(), ChannelError> {
        // Whether there is no room or nobody there: it may be better in a moment, and it is not our fault.
        self.home.0.send(asked).map_err(|_| ChannelError::Busy)
    }

    /// Asks, and waits for the answer under a ticket.
    fn wait<T: 'static>(
        &self,
        kind: impl FnOnce(Firing<T>) -> Waiting,
        ask: impl FnOnce(u64) -> Asked,
    ) -> Deferred<T> {
        let ticket = self.next.replace(self.next.get() + 1);
        if let Err(error) = self.ask(ask(ticket)) {
            return deferred::fail(&self.reactor, error);
        }
        let (firing, deferred) = Deferred::new(&self.reactor);
        self.waiting.borrow_mut().insert(ticket, kind(firing));
        deferred
    }

    fn hear(self: &Rc<Self>, told: Told) {
        match told {
            Told::Opened(ticket, loaded) => {
                if let Some(Waiting::Open(firing)) = self.take(ticket) {
                    tell(&firing, loaded);
                }
            }
            Told::Published(ticket, ids) => {
                if let Some(Waiting::Publish(firing)) = self.take(ticket) {
                    tell(&firing, ids);
                }
            }
            Told::Done(ticket, outcome) => {
                if let Some(Waiting::Done(firing)) = self.take(ticket) {
                    tell(&firing, outcome);
                }
            }
            // Behind what was answered before: a channel that was opened just now is made in the ready work.
            Told::Events { name, gone, events } => {
                let inner = Rc::clone(self);
                self.reactor.call_soon(move || inner.follow(&name, gone, events));
            }
            Told::Removed { name } => {
                let inner = Rc::clone(self);
                self.reactor.call_soon(move || {
                    if let Some(channels) = inner.channels.borrow().upgrade() {
                        channels.was_removed(&name);
                    }
                });
            }
        }
    }

    fn take(&self, ticket: u64) -> Option<Waiting> {
        self.waiting.borrow_mut().remove(&ticket)
    }

    fn follow(&self, name: &str, gone: Option<EventId>, events: Vec<Event>) {
        let channels = self.channels.borrow().upgrade();
        match channels.and_then(|channels| channels.peek(name)) {
            Some(channel) => channel.follow(gone, events),
            // Let go of meanwhile; home is told again, in case it did not hear.
            None => self.let_go(name),
        }
    }

    fn let_go(&self, name: &str) {
        // If there is no room, the next event tells us again that home has not heard it.
        let _ = self.ask(Asked::Close { worker: self.number, name: name.to_owned() });
    }
}

fn tell<T>(firing: &Firing<T>, outcome: Outcome<T>) {
    // Whoever asked may have left.
    let _ = firing.fire(outcome);
}

impl Journal for WayHome {
    fn load(&self, channel: &str, retention: Retention) -> Deferred<Loaded> {
        let (worker, name) = (self.0.number, channel.to_owned());
        self.0.wait(Waiting::Open, |ticket| Asked::Open { worker, ticket, name, retention })
    }

    fn append(&self, channel: &str, events: Vec<Event>) -> Deferred<Vec<EventId>> {
        let (worker, name) = (self.0.number, channel.to_owned());
        let data = events.into_iter().map(|event| event.data).collect();
        self.0.wait(Waiting::Publish, |ticket| Asked::Publish { worker, ticket, name, data })
    }

    fn forget(&self, _channel: &str, _up_to: EventId) {
        // Home has a retention of its own.
    }

    fn acknowledge(&self, channel: &str, client: &str, id: Option<EventId>) -> Deferred<()> {
        let (worker, name, client) = (self.0.number, channel.to_owned(), client.to_owned());
        self.0.wait(Waiting::Done, |ticket| Asked::Acknowledge { worker, ticket, name, client, id })
    }

    fn remove(&self, channel: &str, _mark: EventId) -> Deferred<()> {
        let (worker, name) = (self.0.number, channel.to_owned());
        self.0.wait(Waiting::Done, |ticket| Asked::Remove { worker, ticket, name })
    }

    fn close(&self, channel: &str) {
        self.0.let_go(channel);
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn len(&self) -> usize {
        // Home counts.
        0
    }

    fn knows(&self, _channel: &str) -> bool {
        // Home may; to know for certain one has to ask for it.
        true
    }
}
