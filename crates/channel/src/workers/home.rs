//! Home's side of the doors: who follows what, and from where. Called by the registry, and by the door.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};
use std::time::Duration;

use ropewalk_reactor::deferred::gather_results;
use ropewalk_reactor::{Deferred, Outcome, Reactor, Receiver, SendError, Sender};

use super::count::Counting;
use super::{Asked, DOOR, Home, Told};
use crate::batch::Since;
use crate::channel::Channel;
use crate::event::{Data, Event, EventId};
use crate::journal::Loaded;
use crate::listeners::{Listener, Subscription};
use crate::registry::{Channels, WeakChannels};
use crate::retention::{Limit, Retention};
use crate::survey::{Question, Survey};

/// A worker whose door is full is looked at again after so long.
const AGAIN: Duration = Duration::from_millis(2);

const NOTHING: Limit = Limit { events_max: 0, bytes_max: 0 };
const ALL: Limit = Limit { events_max: usize::MAX, bytes_max: usize::MAX };

/// The door of home, and the workers behind it.
pub(crate) struct Doorkeeper {
    home: Home,
    keeper: Rc<Keeper>,
    _receiver: Receiver,
}

struct Keeper {
    channels: WeakChannels,
    workers: RefCell<BTreeMap<u64, Rc<Worker>>>,
    counting: Rc<Counting>,
}

impl Doorkeeper {
    pub(crate) fn new(reactor: &Reactor, channels: WeakChannels) -> Doorkeeper {
        let keeper = Rc::new(Keeper { channels, workers: RefCell::default(), counting: Rc::default() });
        let mine = Rc::clone(&keeper);
        let (receiver, sender) = reactor.receiver(DOOR, move |asked| {
            if let Some(channels) = mine.channels.upgrade() {
                mine.hear(&channels, asked);
            }
        });
        Doorkeeper { home: Home(sender), keeper, _receiver: receiver }
    }

    pub(crate) fn home(&self) -> Home {
        self.home.clone()
    }

    /// Asks every worker, and adds what they see to what home does.
    pub(crate) fn survey(&self, reactor: &Reactor, question: Question, here: Survey) -> Deferred<Survey> {
        self.keeper.survey(reactor, question, here)
    }
}

impl Keeper {
    fn hear(&self, channels: &Channels, asked: Asked) {
        // Those whose loop has ended are forgotten.
        self.workers.borrow_mut().retain(|_, worker| !worker.door.is_closed());
        match asked {
            Asked::Hello(number, door) => {
                let worker = Worker::new(channels.reactor(), door);
                self.workers.borrow_mut().insert(number, worker);
            }
            Asked::Counted { worker, ticket, seen } => self.counting.counted(worker, ticket, seen),
            Asked::Close { worker, name } => {
                let follower = self.of(worker).and_then(|worker| worker.followers.borrow_mut().remove(&name));
                drop(follower);
            }
            Asked::Look { worker, ticket, name } => {
                // One that is followed is here; if it was removed, its end is on its way, and nothing else has to be waited for.
                let last = channels.peek(&name).map_or(EventId::EARLIEST, |channel| channel.last());
                if let Some(worker) = self.of(worker) {
                    worker.tell(Told::Placed(ticket, Ok(last)));
                }
            }
            Asked::Names { worker, ticket } => {
                if let Some(worker) = self.of(worker) {
                    worker.tell(Told::Names(ticket, channels.names()));
                }
            }
            Asked::Survey { worker, ticket, question } => {
                let Some(worker) = self.of(worker) else { return };
                let surveyed = channels.survey_of(question);
                surveyed.add_both(move |survey| worker.tell(Told::Surveyed(ticket, survey))).detach();
            }
            other => self.work(channels, other),
        }
    }

    /// What is asked about a channel, and answered later.
    fn work(&self, channels: &Channels, asked: Asked) {
        match asked {
            Asked::Open { worker, ticket, name, retention } => {
                let Some(worker) = self.of(worker) else { return };
                let opened = channels.channel(&name).add_both(move |channel: Outcome<Channel>| {
                    let loaded = channel.map(|channel| worker.open(name, &channel, retention));
                    worker.tell(Told::Opened(ticket, loaded));
                });
                opened.detach();
            }
            Asked::Publish { worker, ticket, name, data } => {
                let Some(worker) = self.of(worker) else { return };
                let each: Vec<_> = data.into_iter().map(|data: Data| channels.publish(&name, data)).collect();
                let published = gather_results(channels.reactor(), each);
                published.add_both(move |ids| worker.tell(Told::Published(ticket, ids))).detach();
            }
            Asked::Acknowledge { worker, ticket, name, client, id: Some(id) } => {
                let placed = channels
                    .channel(&name)
                    .add_callback(move |channel: Channel| channel.acknowledge(&client, id));
                self.place(worker, ticket, placed);
            }
            Asked::Begin { worker, ticket, name, client, place } => {
                let placed = channels
                    .channel(&name)
                    .add_callback(move |channel: Channel| channel.begin(&client, place));
                self.place(worker, ticket, placed);
            }
            Asked::Acknowledge { worker, ticket, name, client, id: None } => {
                let done = channels
                    .channel(&name)
                    .add_callback(move |channel: Channel| channel.forget_client(&client));
                self.done(worker, ticket, done);
            }
            Asked::Remove { worker, ticket, name } => {
                self.done(worker, ticket, channels.remove(&name).add_callback(|_| ()));
            }
            Asked::Hello(..)
            | Asked::Counted { .. }
            | Asked::Close { .. }
            | Asked::Look { .. }
            | Asked::Names { .. }
            | Asked::Survey { .. } => {}
        }
    }

    fn of(&self, number: u64) -> Option<Rc<Worker>> {
        self.workers.borrow().get(&number).cloned()
    }

    fn place(&self, worker: u64, ticket: u64, placed: Deferred<EventId>) {
        match self.of(worker) {
            Some(worker) => placed.add_both(move |place| worker.tell(Told::Placed(ticket, place))).detach(),
            None => placed.detach(),
        }
    }

    fn done(&self, worker: u64, ticket: u64, done: Deferred<()>) {
        match self.of(worker) {
            Some(worker) => done.add_both(move |outcome| worker.tell(Told::Done(ticket, outcome))).detach(),
            None => done.detach(),
        }
    }

    fn survey(&self, reactor: &Reactor, question: Question, here: Survey) -> Deferred<Survey> {
        let workers = self.workers.borrow().clone();
        let living = workers.iter().filter(|(_, worker)| !worker.door.is_closed());
        let numbers = living.map(|(number, _)| *number).collect();
        self.counting.begin(reactor, question, here, numbers, |number, ticket, question| {
            if let Some(worker) = workers.get(&number) {
                worker.tell(Told::Count(ticket, question));
            }
        })
    }
}

/// Another worker, as home sees it.
struct Worker {
    reactor: Reactor,
    door: Sender<Told>,
    followers: RefCell<BTreeMap<String, Rc<Follower>>>,
    /// Answers for which there was no room yet; as many as the worker has asked for at most.
    unsent: RefCell<VecDeque<Told>>,
    scheduled: Cell<bool>,
}

impl Worker {
    fn new(reactor: &Reactor, door: Sender<Told>) -> Rc<Worker> {
        Rc::new(Worker {
            reactor: reactor.clone(),
            door,
            followers: RefCell::default(),
            unsent: RefCell::default(),
            scheduled: Cell::new(false),
        })
    }

    /// Begins to follow, and says what there is now.
    fn open(self: &Rc<Self>, name: String, channel: &Channel, retention: Retention) -> Loaded {
        let floor = channel.since(Since::Last(retention.events_max), NOTHING).next;
        let last = channel.last();
        // What is too many bytes for the worker it drops itself.
        let events = channel.since(Since::After(floor), ALL).events;
        let follower = Rc::new(Follower {
            worker: Rc::downgrade(self),
            name: name.clone(),
            channel: channel.clone(),
            cursor: Cell::new(last),
            waiting: Cell::new(false),
            removed: Cell::new(false),
            subscription: RefCell::new(None),
        });
        let told = Rc::new(Ear(Rc::downgrade(&follower)));
        *follower.subscription.borrow_mut() = Some(channel.subscribe(told));
        self.followers.borrow_mut().insert(name, follower);
        let clients = channel.clients().into_iter().map(|(client, id)| (client.to_string(), id)).collect();
        Loaded { floor, events, clients }
    }

    fn tell(self: &Rc<Self>, told: Told) {
        self.unsent.borrow_mut().push_back(told);
        self.work();
    }

    /// Sends what there is, as far as there is room: answers first, then what follows on each channel.
    fn work(self: &Rc<Self>) {
        self.scheduled.set(false);
        loop {
            let Some(told) = self.unsent.borrow_mut().pop_front() else { break };
            match self.door.send(told) {
                Ok(()) => {}
                Err(SendError::Full(told)) => {
                    self.unsent.borrow_mut().push_front(told);
                    return self.again(AGAIN);
                }
                Err(_) => return self.followers.borrow_mut().clear(),
            }
        }
        let waiting: Vec<Rc<Follower>> =
            self.followers.borrow().values().filter(|follower| follower.waiting.get()).cloned().collect();
        for follower in waiting {
            match follower.send(&self.door) {
                Sent::All => {}
                Sent::Some => self.again(Duration::ZERO),
                Sent::Full => return self.again(AGAIN),
                Sent::Removed => self.forget(&follower),
                Sent::Closed => return self.followers.borrow_mut().clear(),
            }
        }
    }

    /// The channel was removed; what stands under its name now may be another one's follower.
    fn forget(&self, follower: &Rc<Follower>) {
        let mut followers = self.followers.borrow_mut();
        if followers.get(&follower.name).is_some_and(|known| Rc::ptr_eq(known, follower)) {
            followers.remove(&follower.name);
        }
    }

    fn again(self: &Rc<Self>, after: Duration) {
        if !self.scheduled.replace(true) {
            let weak = Rc::downgrade(self);
            let work = move || {
                if let Some(worker) = weak.upgrade() {
                    worker.work();
                }
            };
            if after.is_zero() {
                self.reactor.call_soon(work);
            } else {
                self.reactor.call_later(after, work);
            }
        }
    }
}

/// One channel that a worker follows: a cursor.
struct Follower {
    worker: Weak<Worker>,
    name: String,
    channel: Channel,
    cursor: Cell<EventId>,
    /// There is something to be sent.
    waiting: Cell<bool>,
    removed: Cell<bool>,
    subscription: RefCell<Option<Subscription>>,
}

enum Sent {
    All,
    Some,
    Full,
    Removed,
    Closed,
}

/// What the channel knows of a follower.
struct Ear(Weak<Follower>);

impl Listener for Ear {
    fn published(&self, _event: &Event) {
        if let Some(follower) = self.0.upgrade() {
            follower.has_more();
        }
    }

    fn closed(&self) {
        if let Some(follower) = self.0.upgrade() {
            follower.removed.set(true);
            follower.has_more();
        }
    }
}

impl Follower {
    fn has_more(&self) {
        // What is published in one turn is one message.
        if !self.waiting.replace(true)
            && let Some(worker) = self.worker.upgrade()
        {
            worker.again(Duration::ZERO);
        }
    }

    fn send(&self, door: &Sender<Told>) -> Sent {
        let batch = self.channel.since(Since::After(self.cursor.get()), Limit::default());
        let (next, more) = (batch.next, batch.more);
        let gone = batch.gap.map(|gap| gap.resumed);
        if gone.is_some() || !batch.events.is_empty() {
            let told = Told::Events { name: self.name.clone(), gone, events: batch.events };
            match door.send(told) {
                Ok(()) => self.cursor.set(next),
                Err(SendError::Full(_)) => return Sent::Full,
                Err(_) => return Sent::Closed,
            }
        }
        if more {
            return Sent::Some;
        }
        if self.removed.get() {
            return match door.send(Told::Removed { name: self.name.clone() }) {
                Ok(()) => Sent::Removed,
                Err(SendError::Full(_)) => Sent::Full,
                Err(_) => Sent::Closed,
            };
        }
        self.waiting.set(false);
        Sent::All
    }
}
