//! The registry: channels by their names, made or loaded when they are first asked for, and let go of when nobody uses them.
//!
//! Not a face: `web::push` serves one. Made by the application.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use ropewalk_reactor::{Deferred, Firing, LoopingCall, Outcome, Reactor, deferred};

use crate::channel::{Channel, Making};
use crate::error::ChannelError;
use crate::event::{Data, EventId};
use crate::journal::{Journal, Loaded};
use crate::ledger::Ledger;
use crate::luggage::{History, Reader, put, put_bytes};
use crate::name::check_name;
use crate::options::ChannelsOptions;
use crate::workers::Home;
use crate::workers::home::Doorkeeper;
use crate::workers::replica::WayHome;

mod surveying;

/// How often it is looked who is idle.
const SWEEP: Duration = Duration::from_secs(5);

/// All channels of a program, by name. Clones are one.
///
/// A channel is there from the first time it is asked for. One that keeps nothing and that nobody has used for a while goes away;
/// its ids are not given again. With a [`Journal`] a channel that nobody uses is let go of when memory runs short, and loaded
/// again when it is asked for.
///
/// ```
/// use ropewalk_channel::{Channels, ChannelsOptions, Limit, Since};
/// use ropewalk_reactor::react;
///
/// react(|reactor| async move {
///     let channels = Channels::in_memory(&reactor, ChannelsOptions::default());
///     let first = channels.publish("news", "one").await?;
///     channels.publish("news", "two").await?;
///     let news = channels.channel("news").await?;
///     assert_eq!(news.since(Since::After(first), Limit::default()).events[0].data.text(), Some("two"));
///     Ok(())
/// })?;
/// # Ok::<(), ropewalk_reactor::Failure>(())
/// ```
#[derive(Clone)]
pub struct Channels(Rc<Inner>);

struct Inner {
    reactor: Reactor,
    options: ChannelsOptions,
    journal: Option<Rc<dyn Journal>>,
    places: RefCell<BTreeMap<Rc<str>, Place>>,
    ledger: Rc<Ledger>,
    /// They follow those of another worker, there.
    follows: Option<WayHome>,
    /// Where other workers ask, if there are any.
    door: RefCell<Option<Doorkeeper>>,
    /// No channel without a journal gives an id up to this one: one that was removed has given it.
    mark: Cell<EventId>,
    sweep: RefCell<Option<LoopingCall>>,
    counts: Cell<Counts>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    loaded: u64,
    unloaded: u64,
    removed: u64,
}

/// What stands under a name.
enum Place {
    Here(Channel),
    /// It is being loaded.
    Coming(Vec<Firing<Channel>>),
    /// It is being removed; those who ask meanwhile get a new one.
    Going(Vec<Firing<Channel>>),
}

/// Figures of a registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelsStatistics {
    /// Channels in memory.
    pub channels: usize,
    /// Channels that the journal has.
    pub kept: usize,
    /// Bytes that their events take in memory.
    pub bytes: usize,
    /// Events that wait for the journal.
    pub waiting: usize,
    /// Times that a channel was made or loaded.
    pub loaded: u64,
    /// Times that a channel was let go of.
    pub unloaded: u64,
    /// Channels removed, on demand or because they were empty.
    pub removed: u64,
}

impl Channels {
    /// Channels whose history is gone with the process.
    #[must_use]
    pub fn in_memory(reactor: &Reactor, options: ChannelsOptions) -> Channels {
        Channels::over(reactor, options, None, None)
    }

    /// Channels whose history is in a journal: what was answered survives a crash.
    #[must_use]
    pub fn durable(reactor: &Reactor, journal: impl Journal, options: ChannelsOptions) -> Channels {
        Channels::over(reactor, options, Some(Rc::new(journal)), None)
    }

    /// The way to these channels for other workers.
    #[must_use]
    pub fn home(&self) -> Home {
        let mut door = self.0.door.borrow_mut();
        door.get_or_insert_with(|| Doorkeeper::new(&self.0.reactor, self.downgrade())).home()
    }

    /// The channels of another worker, home, on this one: those that are used here are followed. Publishing, acknowledging and
    /// removing happen at home. Presence and the list of names are of this worker alone; [`Channels::survey`] is about all. The
    /// options should be those of home.
    ///
    /// ```
    /// use ropewalk_channel::{Channels, ChannelsOptions};
    /// use ropewalk_reactor::Simulation;
    /// use std::time::Duration;
    ///
    /// let (one, two) = (Simulation::new(1), Simulation::new(2));
    /// let channels = Channels::in_memory(one.reactor(), ChannelsOptions::default());
    /// let replica = Channels::replica(two.reactor(), &channels.home(), ChannelsOptions::default())?;
    /// let published = replica.publish("news", "from another worker");
    /// for _ in 0..10 {
    ///     one.advance(Duration::from_millis(5));
    ///     two.advance(Duration::from_millis(5));
    /// }
    /// assert!(published.has_outcome() && channels.knows("news"));
    /// # Ok::<(), ropewalk_channel::ChannelError>(())
    /// ```
    ///
    /// # Errors
    /// [`ChannelError::Busy`] when home does not hear: its loop has ended.
    pub fn replica(
        reactor: &Reactor,
        home: &Home,
        options: ChannelsOptions,
    ) -> Result<Channels, ChannelError> {
        let way = WayHome::new(reactor, home)?;
        let channels = Channels::over(reactor, options, Some(Rc::new(way.clone())), Some(way.clone()));
        way.belongs_to(channels.downgrade());
        Ok(channels)
    }

    fn downgrade(&self) -> WeakChannels {
        WeakChannels(Rc::downgrade(&self.0))
    }

    /// Home has removed the channel.
    pub(crate) fn was_removed(&self, name: &str) {
        let place = self.0.places.borrow_mut().remove(name);
        match place {
            Some(Place::Here(channel)) => channel.close(),
            // It is asked for again, or was removed from here: the answer is on its way.
            Some(other) => drop(self.0.places.borrow_mut().insert(name.into(), other)),
            None => {}
        }
    }

    fn over(
        reactor: &Reactor,
        options: ChannelsOptions,
        journal: Option<Rc<dyn Journal>>,
        follows: Option<WayHome>,
    ) -> Channels {
        let inner = Rc::new_cyclic(|weak: &Weak<Inner>| {
            let ledger = Rc::new(Ledger::new(&options));
            if journal.is_some() {
                let weak = weak.clone();
                ledger.on_full(Rc::new(move |more| {
                    if let Some(inner) = weak.upgrade() {
                        inner.make_room(more, Duration::ZERO);
                    }
                }));
            }
            Inner {
                reactor: reactor.clone(),
                options,
                journal,
                places: RefCell::default(),
                ledger,
                follows,
                door: RefCell::new(None),
                mark: Cell::default(),
                sweep: RefCell::new(None),
                counts: Cell::default(),
            }
        });
        Channels(inner)
    }

    /// The reactor they live on.
    #[must_use]
    pub fn reactor(&self) -> &Reactor {
        &self.0.reactor
    }

    /// What holds for them.
    #[must_use]
    pub fn options(&self) -> &ChannelsOptions {
        &self.0.options
    }

    /// Whether there is a journal.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.0.journal.is_some()
    }

    /// The channel of this name: made, or loaded, if it is not here.
    ///
    /// It fails with [`ChannelError::Name`], [`ChannelError::TooManyChannels`], [`ChannelError::MemoryFull`], or with what the journal
    /// failed with.
    #[track_caller]
    pub fn channel(&self, name: &str) -> Deferred<Channel> {
        match self.begin(name) {
            Ok(Begun::Here(channel)) => deferred::succeed(&self.0.reactor, channel),
            Ok(Begun::Later(deferred)) => deferred,
            Err(error) => deferred::fail(&self.0.reactor, error),
        }
    }

    /// The same, where that needs no waiting.
    ///
    /// # Errors
    /// [`ChannelError::NotAtOnce`] where it must be loaded first, else as [`Channels::channel`].
    pub fn channel_now(&self, name: &str) -> Result<Channel, ChannelError> {
        if self.is_durable() {
            return self.peek(name).ok_or(ChannelError::NotAtOnce);
        }
        match self.begin(name)? {
            Begun::Here(channel) => Ok(channel),
            Begun::Later(_) => Err(ChannelError::NotAtOnce),
        }
    }

    /// The channel, if it is in memory now. It is neither made nor loaded.
    #[must_use]
    pub fn peek(&self, name: &str) -> Option<Channel> {
        match self.0.places.borrow().get(name)? {
            Place::Here(channel) => Some(channel.clone()),
            Place::Coming(_) | Place::Going(_) => None,
        }
    }

    /// Whether there is such a channel, in memory or in the journal. What follows another worker cannot know it and says yes:
    /// [`Channels::survey`] asks there.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        match self.0.places.borrow().get(name) {
            Some(Place::Here(_)) => true,
            Some(Place::Going(_)) => false,
            Some(Place::Coming(_)) | None => {
                self.0.journal.as_ref().is_some_and(|journal| journal.knows(name))
            }
        }
    }

    /// The names of all channels, in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let places = self.0.places.borrow();
        let here = places.iter().filter(|(_, place)| matches!(place, Place::Here(_)));
        let mut names: Vec<String> = here.map(|(name, _)| name.to_string()).collect();
        names.extend(self.0.journal.iter().flat_map(|journal| journal.names()));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Publishes on the channel of this name; see [`Channel::publish`].
    #[track_caller]
    pub fn publish(&self, name: &str, data: impl Into<Data>) -> Deferred<EventId> {
        let data = data.into();
        match self.begin(name) {
            Ok(Begun::Here(channel)) => channel.publish(data),
            Ok(Begun::Later(deferred)) => {
                deferred.add_callback(move |channel: Channel| channel.publish(data))
            }
            Err(error) => deferred::fail(&self.0.reactor, error),
        }
    }

    /// Removes a channel with all it has: its viewers' streams end, what waits to be published fails as [`ChannelError::Closed`].
    /// A channel that is made under the name later is another one, with ids above all of this one's. Fires with whether there was
    /// one.
    #[track_caller]
    pub fn remove(&self, name: &str) -> Deferred<bool> {
        let known = self.knows(name);
        if matches!(self.0.places.borrow().get(name), Some(Place::Going(_))) {
            return deferred::succeed(&self.0.reactor, false);
        }
        let place = self.0.places.borrow_mut().remove(name);
        let (mark, asked) = match place {
            Some(Place::Here(channel)) => {
                channel.close();
                (channel.mark(), Vec::new())
            }
            Some(Place::Coming(asked) | Place::Going(asked)) => (EventId(0), asked),
            None if known => (EventId(0), Vec::new()),
            None => return deferred::succeed(&self.0.reactor, false),
        };
        self.0.erase(name, mark, asked).add_callback(move |()| known)
    }

    /// What is in memory only, for [`Channels::unpack`] in the next process of the program; nothing of channels that a journal has. From
    /// now on publishing fails as [`ChannelError::Busy`], until [`Channels::go_on`].
    #[must_use]
    pub fn pack(&self) -> Vec<u8> {
        self.0.ledger.shut(true);
        let mut out = Vec::new();
        if self.is_durable() {
            return out;
        }
        put(&mut out, self.0.mark.get().0);
        let channels = self.0.channels();
        put(&mut out, channels.len() as u64);
        for channel in channels {
            put_bytes(&mut out, channel.name().as_bytes());
            channel.history().write(&mut out);
        }
        out
    }

    /// Takes up what the channels of another process were; before anybody has seen these. False: it is not understood, and nothing has
    /// changed.
    pub fn unpack(&self, packed: &[u8]) -> bool {
        if packed.is_empty() || self.is_durable() {
            return self.is_durable();
        }
        let Some((mark, histories)) = read_all(packed) else { return false };
        self.0.mark.set(self.0.mark.get().max(mark));
        for (name, history) in histories {
            // More than may be here now: who comes for it finds a gap.
            if let Ok(channel) = self.channel_now(&name) {
                channel.take_up(history);
            }
        }
        true
    }

    /// The other process goes on with nothing: what is published is published here again.
    pub fn go_on(&self) {
        self.0.ledger.shut(false);
    }

    /// Figures.
    #[must_use]
    pub fn statistics(&self) -> ChannelsStatistics {
        let inner = &self.0;
        let counts = inner.counts.get();
        ChannelsStatistics {
            channels: inner.places.borrow().len(),
            kept: inner.journal.as_ref().map_or(0, |journal| journal.len()),
            bytes: inner.ledger.bytes(),
            waiting: inner.ledger.waiting(),
            loaded: counts.loaded,
            unloaded: counts.unloaded,
            removed: counts.removed,
        }
    }

    fn begin(&self, name: &str) -> Result<Begun, ChannelError> {
        check_name(name)?;
        let inner = &self.0;
        if let Some(place) = inner.places.borrow_mut().get_mut(name) {
            return Ok(match place {
                Place::Here(channel) => {
                    channel.touch();
                    Begun::Here(channel.clone())
                }
                Place::Coming(firings) | Place::Going(firings) => {
                    let (firing, deferred) = Deferred::new(&inner.reactor);
                    firings.push(firing);
                    Begun::Later(deferred)
                }
            });
        }
        if inner.ledger.is_shut() {
            // What is made now would be lost, and the journal is another process's.
            return Err(ChannelError::Busy);
        }
        inner.admit_one_more(name)?;
        let name: Rc<str> = name.into();
        let Some(journal) = &inner.journal else {
            let channel = Channel::empty(inner.making(&name), inner.mark.get());
            inner.settle(name, channel.clone());
            return Ok(Begun::Here(channel));
        };
        let (firing, deferred) = Deferred::new(&inner.reactor);
        inner.places.borrow_mut().insert(Rc::clone(&name), Place::Coming(vec![firing]));
        inner.load(name, journal);
        Ok(Begun::Later(deferred))
    }
}

/// Channels that need not be there any more.
#[derive(Clone, Default)]
pub(crate) struct WeakChannels(Weak<Inner>);

impl WeakChannels {
    pub(crate) fn upgrade(&self) -> Option<Channels> {
        self.0.upgrade().map(Channels)
    }
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channels").field("statistics", &self.statistics()).finish_non_exhaustive()
    }
}

fn read_all(packed: &[u8]) -> Option<(EventId, Vec<(String, History)>)> {
    let mut reader = Reader(packed);
    let mark = reader.id()?;
    let mut histories = Vec::new();
    for _ in 0..reader.number()? {
        let name = std::str::from_utf8(reader.bytes()?).ok()?;
        histories.push((name.to_owned(), History::read(&mut reader)?));
    }
    reader.0.is_empty().then_some((mark, histories))
}

enum Begun {
    Here(Channel),
    Later(Deferred<Channel>),
}

impl Inner {
    fn making(&self, name: &Rc<str>) -> Making {
        Making {
            reactor: self.reactor.clone(),
            name: Rc::clone(name),
            options: self.options.of(name),
            ledger: Rc::clone(&self.ledger),
            follows: self.follows.clone(),
        }
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }

    /// Whether there may be one more in memory, and in the journal if it is not there.
    fn admit_one_more(self: &Rc<Self>, name: &str) -> Result<(), ChannelError> {
        let max = self.options.channels_max;
        let new = self.journal.as_ref().is_some_and(|journal| !journal.knows(name));
        if new && self.journal.as_ref().is_some_and(|journal| journal.len() >= max) {
            return Err(ChannelError::TooManyChannels);
        }
        if self.places.borrow().len() >= max {
            self.let_go_of_one();
        }
        if self.places.borrow().len() >= max { Err(ChannelError::TooManyChannels) } else { Ok(()) }
    }

    fn settle(self: &Rc<Self>, name: Rc<str>, channel: Channel) {
        self.count(|counts| counts.loaded += 1);
        self.places.borrow_mut().insert(name, Place::Here(channel));
        let mut sweep = self.sweep.borrow_mut();
        if sweep.is_none() {
            let weak = Rc::downgrade(self);
            let call = LoopingCall::new(&self.reactor, move |_| {
                if let Some(inner) = weak.upgrade() {
                    inner.sweep();
                }
            });
            call.start(SWEEP, false);
            *sweep = Some(call);
        }
    }

    fn load(self: &Rc<Self>, name: Rc<str>, journal: &Rc<dyn Journal>) {
        let inner = Rc::clone(self);
        let journal = Rc::clone(journal);
        let loading = journal.load(&name, self.options.of(&name).retention);
        loading.add_both(move |outcome| inner.loaded(name, journal, outcome)).detach();
    }

    fn loaded(self: &Rc<Self>, name: Rc<str>, journal: Rc<dyn Journal>, outcome: Outcome<Loaded>) {
        let place = self.places.borrow_mut().remove(&name);
        let waiting = match place {
            Some(Place::Coming(waiting)) => waiting,
            // It was removed meanwhile, and whoever waited gets the one that is made after it.
            Some(other) => {
                self.places.borrow_mut().insert(name, other);
                return;
            }
            None => return,
        };
        let made = outcome.and_then(|loaded| {
            let channel = Channel::loaded(self.making(&name), loaded, journal);
            // It is here already: the ledger has it.
            self.ledger.admit(0)?;
            Ok(channel)
        });
        match made {
            Ok(channel) => {
                self.settle(name, channel.clone());
                for firing in waiting {
                    // Whoever asked may have left.
                    let _ = firing.callback(channel.clone());
                }
            }
            Err(failure) => {
                for firing in waiting {
                    let _ = firing.errback(failure.clone());
                }
            }
        }
    }

    /// Nothing of this name is kept any more.
    fn erase(self: &Rc<Self>, name: &str, mark: EventId, asked: Vec<Firing<Channel>>) -> Deferred<()> {
        self.count(|counts| counts.removed += 1);
        let Some(journal) = &self.journal else {
            self.mark.set(self.mark.get().max(mark));
            return deferred::succeed(&self.reactor, ());
        };
        let name: Rc<str> = name.into();
        self.places.borrow_mut().insert(Rc::clone(&name), Place::Going(asked));
        let inner = Rc::clone(self);
        let (firing, told) = Deferred::new(&self.reactor);
        let removed = journal.remove(&name, mark);
        let after = move |outcome: Outcome<()>| {
            let place = inner.places.borrow_mut().remove(&name);
            if let Some(Place::Going(waiting)) = place {
                for asked in waiting {
                    let again = Channels(Rc::clone(&inner)).channel(&name);
                    again
                        .add_both(move |outcome| {
                            // Whoever asked may have left.
                            let _ = asked.fire(outcome);
                        })
                        .detach();
                }
            }
            // Nobody has to wait for it.
            let _ = firing.fire(outcome);
        };
        removed.add_both(after).detach();
        told
    }

    fn sweep(self: &Rc<Self>) {
        let channels = self.channels();
        let now = self.reactor.now();
        for channel in &channels {
            channel.expire();
        }
        let names: Vec<Rc<str>> = channels.iter().map(|channel| Rc::clone(channel.name())).collect();
        // Their handles are what `is_used` counts.
        drop(channels);
        for name in names {
            let empty = match self.places.borrow().get(&name) {
                Some(Place::Here(channel)) if channel.is_used() => {
                    channel.touch();
                    false
                }
                Some(Place::Here(channel)) => {
                    (channel.is_empty() || self.follows.is_some())
                        && now - channel.touched() >= self.options.idle
                }
                _ => false,
            };
            if empty && self.follows.is_some() {
                self.unload(&name);
            } else if empty {
                self.remove_empty(&name);
            }
        }
        // A little before it is needed: a publisher should not have to wait for it.
        if self.journal.is_some() && self.ledger.bytes() > self.ledger.bytes_max() / 4 * 3 {
            self.make_room(self.ledger.bytes_max() / 4, self.options.idle);
        }
        if self.places.borrow().is_empty()
            && let Some(sweep) = self.sweep.borrow_mut().take()
        {
            sweep.stop();
        }
    }

    fn channels(&self) -> Vec<Channel> {
        let places = self.places.borrow();
        let here = places.values().filter_map(|place| match place {
            Place::Here(channel) => Some(channel.clone()),
            _ => None,
        });
        here.collect()
    }

    fn remove_empty(self: &Rc<Self>, name: &str) {
        let place = self.places.borrow_mut().remove(name);
        let Some(Place::Here(channel)) = place else { return };
        let mark = channel.mark();
        if self.journal.as_ref().is_some_and(|journal| !journal.knows(name)) {
            // Nothing was ever published: there is nothing to take back.
            return self.count(|counts| counts.removed += 1);
        }
        self.erase(name, mark, Vec::new()).detach();
    }

    /// Lets go of channels that the journal has and nobody uses, those first that were not asked for for longest, until there is
    /// room for so many bytes more.
    fn make_room(&self, more: usize, idle: Duration) {
        let now = self.reactor.now();
        let mut idle: Vec<(ropewalk_reactor::Time, Rc<str>)> = {
            let places = self.places.borrow();
            let unused = places.iter().filter_map(|(name, place)| match place {
                Place::Here(channel) if !channel.is_used() && now - channel.touched() >= idle => {
                    Some((channel.touched(), Rc::clone(name)))
                }
                _ => None,
            });
            unused.collect()
        };
        idle.sort_unstable();
        for (_, name) in idle {
            if self.ledger.bytes().saturating_add(more) <= self.ledger.bytes_max() {
                return;
            }
            self.unload(&name);
        }
    }

    /// Lets go of the channel that was not asked for for longest, if nobody uses it and it is not lost by that.
    fn let_go_of_one(self: &Rc<Self>) {
        let found = {
            let places = self.places.borrow();
            let unused = places.iter().filter_map(|(name, place)| match place {
                Place::Here(channel)
                    if !channel.is_used() && (self.journal.is_some() || channel.is_empty()) =>
                {
                    Some((channel.touched(), Rc::clone(name)))
                }
                _ => None,
            });
            unused.min()
        };
        let Some((_, name)) = found else { return };
        if self.journal.is_some() { self.unload(&name) } else { self.remove_empty(&name) }
    }

    fn unload(&self, name: &str) {
        self.places.borrow_mut().remove(name);
        self.count(|counts| counts.unloaded += 1);
        if let Some(journal) = &self.journal {
            journal.close(name);
        }
    }
}
