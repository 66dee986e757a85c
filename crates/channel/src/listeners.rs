//! Who is told of a published event, and in what order, while anybody may come, go or publish meanwhile.
//!
//! Not a queue per listener: an event is handed over and forgotten. Called by `channel` only.

use crate::event::{Event, EventId};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::{Rc, Weak};

/// Is told of each event at once, on the publisher's stack.
///
/// Nothing of the channel is borrowed during the call: it may publish, subscribe, unsubscribe and read.
/// Every listener sees the events in the order of their ids, each once, and only those published after it
/// subscribed; what is published from within `published` follows when everybody has seen the current event. That
/// one is in the history before it is delivered: a listener that also reads with `since` skips what is not past
/// its cursor.
pub trait Listener {
    /// The event has been appended. Be quick: the publisher and the other listeners wait.
    fn published(&self, event: &Event);

    /// The channel was removed: nothing will come any more.
    fn closed(&self) {}
}

/// Keeps a listener subscribed; dropping it unsubscribes at once, also from within a delivery.
///
/// The channel keeps the listener alive, so a listener that stores its own subscription is a cycle: take the
/// subscription out and drop it when the viewer is lost.
#[must_use = "dropping the subscription unsubscribes"]
pub struct Subscription {
    listeners: Weak<Listeners>,
    slot: usize,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(listeners) = self.listeners.upgrade() {
            listeners.remove(self.slot);
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("slot", &self.slot).finish_non_exhaustive()
    }
}

struct Slot {
    /// Events up to this id were published before the listener came.
    after: EventId,
    listener: Option<Rc<dyn Listener>>,
}

/// The listeners of one channel and the events that are on their way to them.
#[derive(Default)]
pub(crate) struct Listeners {
    slots: RefCell<Vec<Slot>>,
    free: RefCell<Vec<usize>>,
    /// Events to deliver, the front one being delivered; longer than one only when a listener publishes.
    queue: RefCell<VecDeque<Event>>,
    /// The slot that gets the front event next. Outside the loop, so that a listener that panics is passed over
    /// and the others still get the event with the next delivery.
    cursor: Cell<usize>,
    delivering: Cell<bool>,
}

impl Listeners {
    pub(crate) fn add(self: &Rc<Self>, after: EventId, listener: Rc<dyn Listener>) -> Subscription {
        let taken = Slot { after, listener: Some(listener) };
        let mut slots = self.slots.borrow_mut();
        let slot = match self.free.borrow_mut().pop() {
            Some(slot) => {
                slots[slot] = taken;
                slot
            }
            None => {
                slots.push(taken);
                slots.len() - 1
            }
        };
        Subscription { listeners: Rc::downgrade(self), slot }
    }

    fn remove(&self, slot: usize) {
        let listener = self.slots.borrow_mut()[slot].listener.take();
        self.free.borrow_mut().push(slot);
        // The last handle may be ours, and the listener's own drop may call the channel: nothing is borrowed now.
        drop(listener);
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.borrow().len() - self.free.borrow().len()
    }

    pub(crate) fn pending(&self) -> usize {
        self.queue.borrow().len()
    }

    pub(crate) fn deliver(&self, event: Event) {
        self.queue.borrow_mut().push_back(event);
        if self.delivering.replace(true) {
            return; // A listener publishes: the loop below us on the stack takes it up.
        }
        let _delivering = Reset(&self.delivering);
        while let Some(event) = self.front() {
            while let Some(listener) = self.next_for(event.id) {
                listener.published(&event);
            }
            self.queue.borrow_mut().pop_front();
            self.cursor.set(0);
        }
    }

    /// Tells everybody that nothing will come any more.
    pub(crate) fn close(&self) {
        let all: Vec<_> = self.slots.borrow().iter().filter_map(|slot| slot.listener.clone()).collect();
        for listener in all {
            listener.closed();
        }
    }

    fn front(&self) -> Option<Event> {
        self.queue.borrow().front().cloned()
    }

    fn next_for(&self, id: EventId) -> Option<Rc<dyn Listener>> {
        let slots = self.slots.borrow();
        for (index, slot) in slots.iter().enumerate().skip(self.cursor.get()) {
            if let Some(listener) = &slot.listener
                && slot.after < id
            {
                self.cursor.set(index + 1);
                return Some(listener.clone());
            }
        }
        None
    }
}

/// Clears the mark also when a listener panics.
struct Reset<'a>(&'a Cell<bool>);

impl Drop for Reset<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}
