//! A worker's side of the doors: the way home, as a journal. Made by `Channels::replica`.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::{Deferred, Firing, Outcome, Reactor, Receiver, SendError, deferred};

use super::{Asked, DOOR, Home, Told};
use crate::error::ChannelError;
use crate::event::{Event, EventId};
use crate::journal::{Journal, Loaded};
use crate::registry::WeakChannels;
use crate::retention::Retention;
use crate::survey::{Question, Survey};

/// Home's door was full: it is tried again after so long.
const AGAIN: Duration = Duration::from_millis(1);

/// A [`Journal`] that is another worker. Clones are one.
#[derive(Clone)]
pub(crate) struct WayHome(Rc<Inner>);

struct Inner {
    reactor: Reactor,
    home: Home,
    number: u64,
    next: Cell<u64>,
    waiting: RefCell<BTreeMap<u64, Waiting>>,
    /// What found no room in home's door, in its order: events that wait are counted by the ledger, and all else is asked by somebody
    /// who waits.
    unsent: RefCell<VecDeque<Asked>>,
    channels: RefCell<WeakChannels>,
    receiver: RefCell<Option<Receiver>>,
}

enum Waiting {
    Open(Firing<Loaded>),
    Publish(Firing<Vec<EventId>>),
    Done(Firing<()>),
    Placed(Firing<EventId>),
    Names(Firing<Vec<String>>),
    Surveyed(Firing<Survey>),
}

impl WayHome {
    /// Says hello; fails when home's loop has ended.
    pub(crate) fn new(reactor: &Reactor, home: &Home) -> Result<WayHome, ChannelError> {
        let inner = Rc::new(Inner {
            reactor: reactor.clone(),
            home: home.clone(),
            number: reactor.random(),
            next: Cell::new(0),
            waiting: RefCell::default(),
            unsent: RefCell::default(),
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

    /// A client that acknowledges begins at this place, unless it has one; fires with where it is.
    pub(crate) fn begin(&self, channel: &str, client: &str, place: EventId) -> Deferred<EventId> {
        let (worker, name, client) = (self.0.number, channel.to_owned(), client.to_owned());
        self.0.wait(Waiting::Placed, |ticket| Asked::Begin { worker, ticket, name, client, place })
    }

    /// A client has everything up to here; fires with where it is.
    pub(crate) fn advance(&self, channel: &str, client: &str, id: EventId) -> Deferred<EventId> {
        let (worker, name, client) = (self.0.number, channel.to_owned(), client.to_owned());
        self.0.wait(Waiting::Placed, |ticket| Asked::Acknowledge {
            worker,
            ticket,
            name,
            client,
            id: Some(id),
        })
    }

    /// How far a channel is at home.
    pub(crate) fn last(&self, channel: &str) -> Deferred<EventId> {
        let (worker, name) = (self.0.number, channel.to_owned());
        self.0.wait(Waiting::Placed, |ticket| Asked::Look { worker, ticket, name })
    }

    /// The names that home knows.
    pub(crate) fn all_names(&self) -> Deferred<Vec<String>> {
        let worker = self.0.number;
        self.0.wait(Waiting::Names, |ticket| Asked::Names { worker, ticket })
    }

    pub(crate) fn survey(&self, question: Question) -> Deferred<Survey> {
        let worker = self.0.number;
        self.0.wait(Waiting::Surveyed, |ticket| Asked::Survey { worker, ticket, question })
    }
}

impl Inner {
    /// Asks now, or as soon as there is room.
    fn ask(self: &Rc<Self>, asked: Asked) -> Result<(), ChannelError> {
        if !self.unsent.borrow().is_empty() {
            self.unsent.borrow_mut().push_back(asked);
            return Ok(());
        }
        match self.home.0.send(asked) {
            Ok(()) => Ok(()),
            Err(SendError::Full(asked)) => {
                self.unsent.borrow_mut().push_back(asked);
                self.again();
                Ok(())
            }
            // Nobody is there any more; a program that comes after this one may be.
            Err(_) => Err(ChannelError::Busy),
        }
    }

    fn again(self: &Rc<Self>) {
        let weak = Rc::downgrade(self);
        self.reactor.call_later(AGAIN, move || {
            if let Some(inner) = weak.upgrade() {
                inner.send_rest();
            }
        });
    }

    fn send_rest(self: &Rc<Self>) {
        loop {
            let Some(asked) = self.unsent.borrow_mut().pop_front() else { return };
            match self.home.0.send(asked) {
                Ok(()) => {}
                Err(SendError::Full(asked)) => {
                    self.unsent.borrow_mut().push_front(asked);
                    return self.again();
                }
                Err(_) => return self.is_alone(),
            }
        }
    }

    /// Home has ended: whoever waits is told.
    fn is_alone(&self) {
        self.unsent.borrow_mut().clear();
        for waiting in self.waiting.take().into_values() {
            waiting.fail();
        }
    }

    /// Asks, and waits for the answer under a ticket.
    fn wait<T: 'static>(
        self: &Rc<Self>,
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
            Told::Placed(ticket, place) => {
                if let Some(Waiting::Placed(firing)) = self.take(ticket) {
                    tell(&firing, place);
                }
            }
            Told::Names(ticket, names) => {
                if let Some(Waiting::Names(firing)) = self.take(ticket) {
                    tell(&firing, Ok(names));
                }
            }
            Told::Surveyed(ticket, survey) => {
                if let Some(Waiting::Surveyed(firing)) = self.take(ticket) {
                    tell(&firing, survey);
                }
            }
            Told::Count(ticket, question) => self.count(ticket, &question),
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

    /// Home wants to know who is here.
    fn count(self: &Rc<Self>, ticket: u64, question: &Question) {
        let channels = self.channels.borrow().upgrade();
        let seen = channels.map(|channels| channels.seen(question)).unwrap_or_default();
        // If home is gone, nobody waits for it.
        let _ = self.ask(Asked::Counted { worker: self.number, ticket, seen });
    }

    fn follow(self: &Rc<Self>, name: &str, gone: Option<EventId>, events: Vec<Event>) {
        let channels = self.channels.borrow().upgrade();
        match channels.and_then(|channels| channels.peek(name)) {
            Some(channel) => channel.follow(gone, events),
            // Let go of meanwhile; home is told again, in case it did not hear.
            None => self.let_go(name),
        }
    }

    fn let_go(self: &Rc<Self>, name: &str) {
        // If home is gone, nothing comes from there any more.
        let _ = self.ask(Asked::Close { worker: self.number, name: name.to_owned() });
    }
}

impl Waiting {
    fn fail(self) {
        // Whoever asked may have left.
        let _ = match self {
            Waiting::Open(firing) => firing.errback(ChannelError::Busy),
            Waiting::Publish(firing) => firing.errback(ChannelError::Busy),
            Waiting::Done(firing) => firing.errback(ChannelError::Busy),
            Waiting::Placed(firing) => firing.errback(ChannelError::Busy),
            Waiting::Names(firing) => firing.errback(ChannelError::Busy),
            Waiting::Surveyed(firing) => firing.errback(ChannelError::Busy),
        };
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
        if let Some(id) = id {
            return self.advance(channel, client, id).add_callback(|_| ());
        }
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
