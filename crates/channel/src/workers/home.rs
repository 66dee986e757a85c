//! Home's side of the doors: who follows what, and from where. Called by the registry, and by the door.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};
use std::time::Duration;

use ropewalk_reactor::deferred::gather_results;
use ropewalk_reactor::{Outcome, Reactor, Receiver, SendError, Sender};

use super::{Asked, DOOR, Home, Told};
use crate::batch::Since;
use crate::channel::Channel;
use crate::event::{Data, Event, EventId};
use crate::journal::Loaded;
use crate::listeners::{Listener, Subscription};
use crate::registry::{Channels, WeakChannels};
use crate::retention::{Limit, Retention};

/// A worker whose door is full is looked at again after so long.
const AGAIN: Duration = Duration::from_millis(2);

const NOTHING: Limit = Limit { events_max: 0, bytes_max: 0 };
const ALL: Limit = Limit { events_max: usize::MAX, bytes_max: usize::MAX };

/// The door of home, and the workers behind it.
pub(crate) struct Doorkeeper {
    home: Home,
    _receiver: Receiver,
}

impl Doorkeeper {
    pub(crate) fn new(reactor: &Reactor, channels: WeakChannels) -> Doorkeeper {
        let workers: RefCell<BTreeMap<u64, Rc<Worker>>> = RefCell::default();
        let loop_of = reactor.clone();
        let (receiver, sender) = reactor.receiver(DOOR, move |asked| {
            let Some(channels) = channels.upgrade() else { return };
            // Those whose loop has ended are forgotten.
            workers.borrow_mut().retain(|_, worker| !worker.door.is_closed());
            match asked {
                Asked::Hello(number, door) => {
                    let worker = Worker::new(&loop_of, door);
                    workers.borrow_mut().insert(number, worker);
                }
                other => answer(&channels, &workers, other),
            }
        });
        Doorkeeper { home: Home(sender), _receiver: receiver }
    }

    pub(crate) fn home(&self) -> Home {
        self.home.clone()
    }
}

fn answer(channels: &Channels, workers: &RefCell<BTreeMap<u64, Rc<Worker>>>, asked: Asked) {
    let of = |number: u64| workers.borrow().get(&number).cloned();
    match asked {
        Asked::Hello(..) => {}
        Asked::Open { worker, ticket, name, retention } => {
            let Some(worker) = of(worker) else { return };
            let opened = channels.channel(&name).add_both(move |channel: Outcome<Channel>| {
                let loaded = channel.map(|channel| worker.open(name, &channel, retention));
                worker.tell(Told::Opened(ticket, loaded));
            });
            opened.detach();
        }
        Asked::Close { worker, name } => {
            let follower = of(worker).and_then(|worker| worker.followers.borrow_mut().remove(&name));
            drop(follower);
        }
        Asked::Publish { worker, ticket, name, data } => {
            let Some(worker) = of(worker) else { return };
            let each: Vec<_> = data.into_iter().map(|data: Data| channels.publish(&name, data)).collect();
            let reactor = channels.reactor();
            let published = gather_results(reactor, each);
            published.add_both(move |ids| worker.tell(Told::Published(ticket, ids))).detach();
        }
        Asked::Acknowledge { worker, ticket, name, client, id } => {
            let Some(worker) = of(worker) else { return };
            let done = channels.channel(&name).add_callback(move |channel: Channel| match id {
                Some(id) => channel.acknowledge(&client, id).add_callback(|_| ()),
                None => channel.forget_client(&client),
            });
            done.add_both(move |outcome| worker.tell(Told::Done(ticket, outcome))).detach();
        }
        Asked::Remove { worker, ticket, name } => {
            let Some(worker) = of(worker) else { return };
            let removed = channels.remove(&name).add_callback(|_| ());
            removed.add_both(move |outcome| worker.tell(Told::Done(ticket, outcome))).detach();
        }
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
