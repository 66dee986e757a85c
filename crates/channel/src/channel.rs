//! The channel: a history, and those who are told when it grows.
//!
//! Not a connection and not an encoding: the faces (in `web`, `tail` and the push service) hold a cursor each and
//! call this. Not a registry of names either.

use crate::event::{Event, EventId};
use crate::listeners::{Listener, Listeners, Subscription};
use crate::memory::MemoryLog;
use crate::store::{Limit, Retention, Store, StoreError};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

/// A handle on one channel; a clone is the same channel.
///
/// ```
/// use ropewalk_channel::{Channel, Event, Listener, Retention};
/// use std::{cell::RefCell, rc::Rc};
///
/// #[derive(Default)]
/// struct Viewer(RefCell<String>);
/// impl Listener for Viewer {
///     fn published(&self, event: &Event) {
///         self.0.borrow_mut().push_str(&event.data);
///     }
/// }
///
/// let channel = Channel::in_memory(0, Retention::default());
/// let viewer = Rc::new(Viewer::default());
/// let subscription = channel.subscribe(viewer.clone());
/// channel.publish(1, "seen")?;
/// drop(subscription);
/// channel.publish(2, "not seen")?;
/// assert_eq!(*viewer.0.borrow(), "seen");
/// # Ok::<(), ropewalk_channel::StoreError>(())
/// ```
#[derive(Clone)]
pub struct Channel {
    inner: Rc<Inner>,
}

struct Inner {
    store: RefCell<Box<dyn Store>>,
    listeners: Rc<Listeners>,
    published: Cell<u64>,
}

impl Channel {
    /// A channel whose history is `store`.
    pub fn new(store: impl Store + 'static) -> Channel {
        let inner =
            Inner { store: RefCell::new(Box::new(store)), listeners: Rc::default(), published: Cell::new(0) };
        Channel { inner: Rc::new(inner) }
    }

    /// A channel with a [`MemoryLog`] created at `now_ms`, in milliseconds since the Unix epoch.
    pub fn in_memory(now_ms: u64, retention: Retention) -> Channel {
        Channel::new(MemoryLog::new(now_ms, retention))
    }

    /// Appends `text` and tells every listener, before it returns unless it was called by one of them.
    ///
    /// # Errors
    /// What [`Store::append`] refuses; nobody has been told then.
    pub fn publish(&self, now_ms: u64, text: impl Into<Rc<str>>) -> Result<EventId, StoreError> {
        let data = text.into();
        let id = self.inner.store.borrow_mut().append(now_ms, data.clone())?;
        self.inner.published.set(self.inner.published.get() + 1);
        self.inner.listeners.deliver(Event { id, at_ms: now_ms, data });
        Ok(id)
    }

    /// Reads a piece of the history from `since`. Read on with `Since::After(batch.next)`.
    ///
    /// # Errors
    /// What [`Store::read`] reports.
    pub fn since(&self, since: Since, limit: Limit) -> Result<Batch, StoreError> {
        let store = self.inner.store.borrow();
        let extent = store.extent();
        let mut gap = None;
        let after = match since {
            Since::Now => extent.last,
            Since::Earliest | Since::After(EventId::EARLIEST) => extent.floor,
            Since::Last(events) => store.before_last(events)?,
            Since::After(asked) if (extent.floor..=extent.last).contains(&asked) => asked,
            Since::After(asked) => {
                let reason = if asked < extent.floor { GapReason::Dropped } else { GapReason::Unknown };
                gap = Some(Gap { asked, resumed: extent.floor, reason });
                extent.floor
            }
        };
        let events = if after < extent.last { store.read(after, limit)? } else { Vec::new() };
        let next = events.last().map_or(after, |event| event.id);
        Ok(Batch { gap, events, next, more: next < extent.last })
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
        self.inner.store.borrow().extent().last
    }

    /// Drops what is too old at `now_ms`; only needed with [`Retention::age_max`], from a timer, while nothing is
    /// published.
    ///
    /// # Errors
    /// What [`Store::expire`] reports.
    pub fn expire(&self, now_ms: u64) -> Result<(), StoreError> {
        self.inner.store.borrow_mut().expire(now_ms)
    }

    /// What there is and what has been.
    pub fn statistics(&self) -> Statistics {
        let extent = self.inner.store.borrow().extent();
        Statistics {
            events: extent.events,
            bytes: extent.bytes,
            dropped: extent.dropped,
            published: self.inner.published.get(),
            subscribers: self.inner.listeners.len(),
            pending: self.inner.listeners.pending(),
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("statistics", &self.statistics()).finish_non_exhaustive()
    }
}

/// Where to read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// What is published from now on: an empty batch whose `next` is the present place.
    Now,
    /// Everything that is kept. Never a gap.
    Earliest,
    /// What follows the event with this id; the id 0 is [`Since::Earliest`]. A [`Gap`] when it cannot be known
    /// that nothing is missing in between.
    After(EventId),
    /// The last so many events, or all when fewer are kept. Never a gap.
    Last(usize),
}

/// A piece of history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Set when events may be missing between what was asked for and `events`.
    pub gap: Option<Gap>,
    /// The events, oldest first.
    pub events: Vec<Event>,
    /// The cursor to read on from: the id of the last event here, or the place reached without one. Never 0.
    pub next: EventId,
    /// Whether the limit cut the batch and there is more to read now.
    pub more: bool,
}

/// What was asked for is not there; reading went on from the earliest event that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The id after which events were asked for.
    pub asked: EventId,
    /// Events after this id follow; all up to it are gone. Not itself the id of an event that can be read.
    pub resumed: EventId,
    /// What happened.
    pub reason: GapReason,
}

/// Why there is a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapReason {
    /// The id is older than what is kept: retention, or a log that began anew with the process.
    Dropped,
    /// The id lies ahead of the last one: it was never given by this log. It may come from a machine whose clock
    /// was ahead, or be made up; so all that is kept follows, and the reader must take it for a new beginning.
    Unknown,
}

/// Figures of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Events kept.
    pub events: usize,
    /// Bytes of text they have.
    pub bytes: usize,
    /// Events dropped by retention since the store was opened.
    pub dropped: u64,
    /// Events published through this channel.
    pub published: u64,
    /// Listeners subscribed now.
    pub subscribers: usize,
    /// Events not yet delivered to every listener: 0 outside of a delivery.
    pub pending: usize,
}
