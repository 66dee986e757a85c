//! The channel: a history, and those who are told when it grows.
//!
//! Not a connection and not an encoding: the faces (in `web` and `tail`) hold a cursor each and call this. The registry knows the
//! names; what a journal adds is in `desk`.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::SystemTime;

use ropewalk_reactor::{Deferred, Reactor, Time, deferred};

use crate::batch::{Batch, Gap, GapReason, Since, Statistics};
use crate::clients::Clients;
use crate::error::ChannelError;
use crate::event::{Data, Event, EventId};
use crate::journal::{Journal, Loaded};
use crate::ledger::{EVENT_BYTES, Ledger};
use crate::listeners::{Listener, Listeners, Subscription};
use crate::log::Log;
use crate::luggage::History;
use crate::options::ChannelOptions;
use crate::presence::{Attendance, Presence, PresenceChange, PresenceWatch};
use crate::rate::Rate;
use crate::retention::{Limit, Retention};
use crate::workers::replica::WayHome;

mod desk;

use desk::Desk;

/// A handle on one channel; a clone is the same channel.
///
/// ```
/// use ropewalk_channel::{Channel, Event, Listener, Retention};
/// use ropewalk_reactor::Simulation;
/// use std::{cell::RefCell, rc::Rc};
///
/// #[derive(Default)]
/// struct Viewer(RefCell<String>);
/// impl Listener for Viewer {
///     fn published(&self, event: &Event) {
///         self.0.borrow_mut().push_str(event.data.text().unwrap_or("bytes"));
///     }
/// }
///
/// let simulation = Simulation::new(1);
/// let channel = Channel::in_memory(simulation.reactor(), Retention::default());
/// let viewer = Rc::new(Viewer::default());
/// let subscription = channel.subscribe(viewer.clone());
/// channel.publish_now("seen")?;
/// drop(subscription);
/// channel.publish_now("not seen")?;
/// assert_eq!(*viewer.0.borrow(), "seen");
/// # Ok::<(), ropewalk_channel::ChannelError>(())
/// ```
#[derive(Clone)]
pub struct Channel {
    inner: Rc<Inner>,
}

struct Inner {
    reactor: Reactor,
    name: Rc<str>,
    options: ChannelOptions,
    log: RefCell<Log>,
    listeners: Rc<Listeners>,
    presence: Rc<Presence>,
    clients: RefCell<Clients>,
    desk: Option<Desk>,
    ledger: Rc<Ledger>,
    /// Bytes that the ledger has of this channel.
    booked: Cell<usize>,
    published: Cell<u64>,
    rate: Cell<Rate>,
    closed: Cell<bool>,
    touched: Cell<Time>,
}

/// What a channel is made from.
pub(crate) struct Making {
    pub(crate) reactor: Reactor,
    pub(crate) name: Rc<str>,
    pub(crate) options: ChannelOptions,
    pub(crate) ledger: Rc<Ledger>,
    /// It follows a channel of another worker: what is appended comes back from there.
    pub(crate) follows: Option<WayHome>,
}

impl Channel {
    /// A channel of no registry, whose history is in memory.
    pub fn in_memory(reactor: &Reactor, retention: Retention) -> Channel {
        let making = Making {
            reactor: reactor.clone(),
            name: "".into(),
            options: ChannelOptions { retention, event_bytes_max: usize::MAX, ..ChannelOptions::default() },
            ledger: Rc::new(Ledger::unlimited()),
            follows: None,
        };
        Channel::empty(making, EventId(0))
    }

    /// A channel without a history and without a journal, whose ids lie above `mark`.
    pub(crate) fn empty(making: Making, mark: EventId) -> Channel {
        let log = Log::new(mark, now_us(&making.reactor), making.options.retention);
        Channel::over(making, log, Vec::new(), None)
    }

    /// A channel as the journal has it.
    pub(crate) fn loaded(making: Making, loaded: Loaded, journal: Rc<dyn Journal>) -> Channel {
        let now_us = now_us(&making.reactor);
        let retention = making.options.retention;
        let (floor, follows) = (loaded.floor, making.follows.clone());
        let log = if loaded.events.is_empty() && !journal.knows(&making.name) {
            Log::new(floor, now_us, retention)
        } else {
            Log::loaded(floor, loaded.events, now_us / 1_000, retention)
        };
        let extent = log.extent();
        let channel =
            Channel::over(making, log, loaded.clients, Some(Desk::new(Rc::clone(&journal), follows)));
        if extent.floor > floor && extent.dropped > 0 {
            journal.forget(channel.name(), extent.floor);
        }
        channel
    }

    fn over(making: Making, log: Log, clients: Vec<(String, EventId)>, desk: Option<Desk>) -> Channel {
        let inner = Rc::new(Inner {
            touched: Cell::new(making.reactor.now()),
            clients: RefCell::new(Clients::new(making.options.clients_max, clients)),
            reactor: making.reactor,
            name: making.name,
            options: making.options,
            log: RefCell::new(log),
            listeners: Rc::default(),
            presence: Rc::default(),
            desk,
            ledger: making.ledger,
            booked: Cell::new(0),
            published: Cell::new(0),
            rate: Cell::default(),
            closed: Cell::new(false),
        });
        inner.book();
        Channel { inner }
    }

    /// Its name; empty for one of no registry.
    pub fn name(&self) -> &Rc<str> {
        &self.inner.name
    }

    /// What holds for it.
    pub fn options(&self) -> &ChannelOptions {
        &self.inner.options
    }

    /// The reactor it lives on.
    pub fn reactor(&self) -> &Reactor {
        &self.inner.reactor
    }

    /// Whether a journal is behind it: then publishing takes a moment, and what was answered survives a crash.
    pub fn is_durable(&self) -> bool {
        self.inner.desk.is_some()
    }

    /// Publishes. The deferred fires with the event's id: at once, or with a journal when the event was committed. Only then is it
    /// in the history and are listeners told, so that nobody ever sees an event that a crash takes back. Dropping the deferred does
    /// not take the event back.
    ///
    /// It fails with a [`ChannelError`], or with what the journal failed with; then nobody has been told.
    #[track_caller]
    pub fn publish(&self, data: impl Into<Data>) -> Deferred<EventId> {
        let inner = &self.inner;
        let data = data.into();
        let published = match inner.admit(&data) {
            Ok(()) if inner.desk.is_some() => return inner.wait_in_line(data),
            Ok(()) => inner.append_now(data),
            Err(error) => Err(error),
        };
        match published {
            Ok(id) => deferred::succeed(&inner.reactor, id),
            Err(error) => deferred::fail(&inner.reactor, error),
        }
    }

    /// Publishes, where that needs no waiting: without a journal. Every listener has been told when it returns, unless it was
    /// called by one of them.
    ///
    /// # Errors
    /// [`ChannelError::NotAtOnce`] with a journal, else as [`Channel::publish`]; nobody has been told then.
    pub fn publish_now(&self, data: impl Into<Data>) -> Result<EventId, ChannelError> {
        if self.is_durable() {
            return Err(ChannelError::NotAtOnce);
        }
        let data = data.into();
        self.inner.admit(&data)?;
        self.inner.append_now(data)
    }

    /// Reads a piece of the history from `since`. Read on with `Since::After(batch.next)`.
    pub fn since(&self, since: Since, limit: Limit) -> Batch {
        self.expire();
        let log = self.inner.log.borrow();
        let extent = log.extent();
        let mut gap = None;
        let after = match since {
            Since::Now => extent.last,
            Since::Earliest | Since::After(EventId::EARLIEST) => extent.floor,
            Since::Last(events) => log.before_last(events),
            Since::After(asked) if (extent.floor..=extent.last).contains(&asked) => asked,
            Since::After(asked) => {
                let resumed = extent.floor;
                gap = Some(if asked < resumed {
                    Gap { asked, resumed, reason: GapReason::Dropped, missed: log.between(asked, resumed) }
                } else {
                    Gap { asked, resumed, reason: GapReason::Unknown, missed: None }
                });
                resumed
            }
        };
        let events = if after < extent.last { log.read(after, limit) } else { Vec::new() };
        let next = events.last().map_or(after, |event| event.id);
        Batch { gap, events, next, more: next < extent.last }
    }

    /// Fires when reading from `since` sees everything that was answered before it was asked for. That is so at once, except on a
    /// worker that follows another one's channel: that asks how far home is, and waits until it is there too; so an id that was got
    /// from another worker a moment ago is known here.
    ///
    /// It fails with [`ChannelError::Busy`] when home does not hear.
    pub fn reach(&self, since: Since) -> Deferred<()> {
        let inner = &self.inner;
        let Some(desk) = inner.desk.as_ref().filter(|desk| desk.follows()) else {
            return deferred::succeed(&inner.reactor, ());
        };
        match since {
            // Whatever else there is comes behind it, in its order.
            Since::After(id) if (inner.floor()..=self.last()).contains(&id) => {
                deferred::succeed(&inner.reactor, ())
            }
            _ => desk.look(&inner.reactor, inner),
        }
    }

    /// Tells `listener` of every event published from now on, until the subscription is dropped.
    ///
    /// A viewer that wants history first reads with [`Channel::since`] and subscribes in the same callback:
    /// nothing can be published in between.
    pub fn subscribe(&self, listener: Rc<dyn Listener>) -> Subscription {
        self.inner.listeners.add(self.last(), listener)
    }

    /// The id of the last event published, or the place before the first: what [`Since::Now`] starts from.
    pub fn last(&self) -> EventId {
        self.inner.log.borrow().extent().last
    }

    /// Everything up to this id is gone.
    pub fn floor(&self) -> EventId {
        self.inner.floor()
    }

    /// Drops what is too old by now. Publishing and reading do so; only needed while nobody does either.
    pub fn expire(&self) {
        let inner = &self.inner;
        if inner.options.retention.age_max.is_some() {
            let before = inner.floor();
            inner.log.borrow_mut().retain(now_us(&inner.reactor) / 1_000);
            inner.after_change(before);
        }
    }

    /// Somebody is here, under a name if one is given, until the attendance is dropped.
    pub fn enter(&self, name: Option<&str>) -> Attendance {
        self.inner.presence.enter(name)
    }

    /// How many are here.
    pub fn present(&self) -> usize {
        self.inner.presence.count()
    }

    /// The names of those here who gave one, in order, and how often each is here.
    pub fn names(&self) -> Vec<(Rc<str>, usize)> {
        self.inner.presence.names()
    }

    /// Tells `watcher` who comes and goes, until the watch is dropped.
    pub fn watch_presence(&self, watcher: impl Fn(&PresenceChange) + 'static) -> PresenceWatch {
        self.inner.presence.watch(watcher)
    }

    /// Where a client is that acknowledges: it has everything up to this id. Where another worker's channel is followed, that is
    /// what was known of it here last; [`Channel::begin`] asks home.
    pub fn cursor(&self, client: &str) -> Option<EventId> {
        self.inner.clients.borrow().cursor(client)
    }

    /// Every client that acknowledges, and where it is.
    pub fn clients(&self) -> Vec<(Rc<str>, EventId)> {
        self.inner.clients.borrow().list()
    }

    /// Begins to keep a cursor for a client: at `place`, unless it has one. Fires with where it is.
    ///
    /// It fails with a [`ChannelError`], or with what the journal failed with.
    pub fn begin(&self, client: &str, place: EventId) -> Deferred<EventId> {
        if let Some(way) = self.inner.way() {
            return self.inner.note(client, way.begin(&self.inner.name, client, place));
        }
        match self.cursor(client) {
            Some(cursor) => deferred::succeed(&self.inner.reactor, cursor),
            None => self.acknowledge(client, place),
        }
    }

    /// A client has everything up to `id`: what follows counts as not delivered, and is sent again when it comes back. Fires with
    /// where it is now, durably if the channel is; its cursor never moves backwards, and not beyond the last event.
    ///
    /// It fails with a [`ChannelError`], or with what the journal failed with.
    pub fn acknowledge(&self, client: &str, id: EventId) -> Deferred<EventId> {
        let inner = Rc::clone(&self.inner);
        if let Some(way) = inner.way() {
            return inner.note(client, way.advance(&inner.name, client, id));
        }
        let reactor = inner.reactor.clone();
        if let Err(error) = crate::name::check_name(client) {
            return deferred::fail(&reactor, error);
        }
        let id = id.min(self.last());
        let evicted = match inner.clients.borrow_mut().make_room(client, inner.floor()) {
            Ok(evicted) => evicted,
            Err(error) => return deferred::fail(&reactor, error),
        };
        let Some(desk) = &inner.desk else {
            inner.clients.borrow_mut().set(client, id);
            return deferred::succeed(&reactor, self.cursor(client).unwrap_or(id));
        };
        if let Some(evicted) = evicted {
            desk.journal().acknowledge(&inner.name, &evicted, None).detach();
        }
        let written = desk.journal().acknowledge(&inner.name, client, Some(id));
        let client: Rc<str> = client.into();
        written.add_callback(move |()| {
            let mut clients = inner.clients.borrow_mut();
            clients.set(&client, id);
            clients.cursor(&client).unwrap_or(id)
        })
    }

    /// Forgets a client's cursor. Fires when that is so, durably if the channel is.
    pub fn forget_client(&self, client: &str) -> Deferred<()> {
        let inner = &self.inner;
        inner.clients.borrow_mut().forget(client);
        match &inner.desk {
            Some(desk) => desk.journal().acknowledge(&inner.name, client, None),
            None => deferred::succeed(&inner.reactor, ()),
        }
    }

    /// What there is and what has been.
    pub fn statistics(&self) -> Statistics {
        let inner = &self.inner;
        let extent = inner.log.borrow().extent();
        Statistics {
            events: extent.events,
            bytes: extent.bytes,
            dropped: extent.dropped,
            published: inner.published.get(),
            waiting: inner.desk.as_ref().map_or(0, Desk::waiting),
            subscribers: inner.listeners.len(),
            pending: inner.listeners.pending(),
            present: inner.presence.count(),
            rate: inner.rate.get().per_second(now_us(&inner.reactor) / 1_000),
            last: extent.last,
            floor: extent.floor,
        }
    }

    /// Whether it was removed.
    pub fn is_closed(&self) -> bool {
        self.inner.closed.get()
    }

    /// What was published at home; first, if events are gone that were never here, up to where.
    pub(crate) fn follow(&self, gone: Option<EventId>, events: Vec<Event>) {
        if let Some(gone) = gone {
            let before = self.inner.floor();
            self.inner.log.borrow_mut().skip_to(gone);
            self.inner.after_change(before);
        }
        for event in events {
            if event.id > self.last() {
                self.inner.append(event);
            }
        }
        if let Some(desk) = &self.inner.desk {
            desk.reached(self.last());
        }
    }

    pub(crate) fn history(&self) -> History {
        let log = self.inner.log.borrow();
        let extent = log.extent();
        let events = log.read(extent.floor, Limit { events_max: usize::MAX, bytes_max: usize::MAX });
        let clients = self.inner.clients.borrow().list();
        History { floor: extent.floor, last: extent.last, given: log.given(), events, clients }
    }

    pub(crate) fn take_up(&self, history: History) {
        let inner = &self.inner;
        inner.log.borrow_mut().take_up(&history, now_us(&inner.reactor) / 1_000);
        let mut clients = inner.clients.borrow_mut();
        history.clients.iter().for_each(|(name, id)| clients.set(name, *id));
        drop(clients);
        inner.book();
    }

    pub(crate) fn shut(&self, shut: bool) {
        self.inner.ledger.shut(shut);
    }

    /// The end: what waits fails, and listeners are told.
    pub(crate) fn close(&self) {
        if !self.inner.closed.replace(true) {
            if let Some(desk) = &self.inner.desk {
                desk.give_up(&self.inner.ledger);
            }
            self.inner.listeners.close();
        }
    }

    /// Somebody asked for it just now.
    pub(crate) fn touch(&self) {
        self.inner.touched.set(self.inner.reactor.now());
    }

    pub(crate) fn touched(&self) -> Time {
        self.inner.touched.get()
    }

    /// Whether it would be missed: somebody has a handle beside the registry, listens, is here, or waits.
    pub(crate) fn is_used(&self) -> bool {
        Rc::strong_count(&self.inner) > 1
            || self.inner.listeners.len() > 0
            || self.inner.presence.count() > 0
            || self.inner.desk.as_ref().is_some_and(Desk::is_busy)
    }

    /// Whether there is nothing to lose.
    pub(crate) fn is_empty(&self) -> bool {
        self.inner.log.borrow().extent().events == 0 && self.inner.clients.borrow().is_empty()
    }

    /// The highest id that was given, be its event in the history or not.
    pub(crate) fn mark(&self) -> EventId {
        self.inner.log.borrow().given()
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.inner.name;
        f.debug_struct("Channel").field("name", name).field("statistics", &self.statistics()).finish()
    }
}

impl Inner {
    fn way(&self) -> Option<&WayHome> {
        self.desk.as_ref().and_then(Desk::way)
    }

    /// Home says where a client is.
    fn note(self: &Rc<Self>, client: &str, placed: Deferred<EventId>) -> Deferred<EventId> {
        let (inner, client) = (Rc::clone(self), client.to_owned());
        placed.add_callback(move |id: EventId| {
            inner.clients.borrow_mut().set(&client, id);
            id
        })
    }

    fn floor(&self) -> EventId {
        self.log.borrow().extent().floor
    }

    /// Whether an event may be published now.
    fn admit(&self, data: &Data) -> Result<(), ChannelError> {
        if self.closed.get() {
            return Err(ChannelError::Closed);
        }
        if self.ledger.is_shut() {
            return Err(ChannelError::Busy);
        }
        let retention = self.log.borrow().retention();
        let bytes_max = self.options.event_bytes_max.min(retention.bytes_max);
        if data.len() > bytes_max {
            return Err(ChannelError::TooLarge { bytes: data.len(), bytes_max });
        }
        if self.log.borrow().grows_by(data.len()) {
            self.ledger.admit(data.len() + EVENT_BYTES)?;
        }
        Ok(())
    }

    fn append_now(&self, data: Data) -> Result<EventId, ChannelError> {
        let now_us = now_us(&self.reactor);
        let id = self.log.borrow_mut().give(now_us).ok_or(ChannelError::Exhausted)?;
        self.append(Event { id, at_ms: now_us / 1_000, data });
        Ok(id)
    }

    /// The event is there: into the history, and to everybody.
    fn append(&self, event: Event) {
        let before = self.floor();
        self.log.borrow_mut().append(event.clone(), event.at_ms);
        self.published.set(self.published.get() + 1);
        let mut rate = self.rate.get();
        rate.add(event.at_ms);
        self.rate.set(rate);
        self.after_change(before);
        self.listeners.deliver(event);
    }

    /// The log has changed, and had this floor before.
    fn after_change(&self, before: EventId) {
        self.book();
        let floor = self.floor();
        if let Some(desk) = &self.desk
            && floor > before
        {
            desk.journal().forget(&self.name, floor);
        }
    }

    fn book(&self) {
        let extent = self.log.borrow().extent();
        let bytes = extent.bytes + extent.events * EVENT_BYTES;
        self.ledger.book(self.booked.replace(bytes), bytes);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.ledger.book(self.booked.get(), 0);
    }
}

/// The wall clock in microseconds since the Unix epoch.
pub(crate) fn now_us(reactor: &Reactor) -> u64 {
    let now = reactor.wall_clock().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}
