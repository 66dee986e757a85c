//! What the two sides of a door share: the messages, and who waits for room. One lock.
//!
//! The protocol, tried by `tests/loom.rs`:
//! - While messages wait, or the last sender has left, the loop has been rung for and has not come yet: one ring for as many
//!   as there are by then. The first one's sender rings before it opens the lock, so that for the others, too, the ring
//!   is under way when they go on: what they do next comes to the loop behind it.
//! - Who waits for room is woken when the loop takes the messages out, and when it closes.

use std::collections::VecDeque;

use super::locks::{Condvar, Mutex, lock, wait};

/// A message that was not taken, and why.
#[derive(Debug)]
pub(crate) enum Refused<M> {
    Full(M),
    Closed(M),
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) queued: usize,
    pub(crate) senders: usize,
    pub(crate) refused: u64,
}

pub(crate) struct Passage<M> {
    state: Mutex<State<M>>,
    room: Condvar,
    capacity: usize,
}

struct State<M> {
    messages: VecDeque<M>,
    senders: usize,
    closed: bool,
    /// Senders that wait for room.
    waiting: usize,
    refused: u64,
}

impl<M> State<M> {
    fn put(&mut self, message: M, ring: impl FnOnce()) {
        self.messages.push_back(message);
        if self.messages.len() == 1 {
            ring();
        }
    }
}

impl<M> Passage<M> {
    /// With one sender. There is room for one message at the least.
    pub(crate) fn new(capacity: usize) -> Passage<M> {
        let state = State { messages: VecDeque::new(), senders: 1, closed: false, waiting: 0, refused: 0 };
        Passage { state: Mutex::new(state), room: Condvar::new(), capacity: capacity.max(1) }
    }

    /// Puts a message in, and rings if the loop is to come for it.
    pub(crate) fn send(&self, message: M, ring: impl FnOnce()) -> Result<(), Refused<M>> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Refused::Closed(message));
        }
        if state.messages.len() >= self.capacity {
            state.refused += 1;
            return Err(Refused::Full(message));
        }
        state.put(message, ring);
        Ok(())
    }

    /// As `send`, but waits while there is no room.
    pub(crate) fn send_waiting(&self, message: M, ring: impl FnOnce()) -> Result<(), M> {
        let mut state = lock(&self.state);
        while !state.closed && state.messages.len() >= self.capacity {
            state.waiting += 1;
            state = wait(&self.room, state);
            state.waiting -= 1;
        }
        if state.closed {
            return Err(message);
        }
        state.put(message, ring);
        Ok(())
    }

    /// Puts the messages in place of the empty `batch`. Answers whether these were the last: nobody is left who could send.
    pub(crate) fn take(&self, batch: &mut VecDeque<M>) -> bool {
        let mut state = lock(&self.state);
        std::mem::swap(&mut state.messages, batch);
        let (over, waiting) = (state.senders == 0, state.waiting > 0);
        drop(state);
        if waiting {
            self.room.notify_all();
        }
        over
    }

    /// Takes no more messages; gives back those that nobody has taken.
    pub(crate) fn close(&self) -> VecDeque<M> {
        let mut state = lock(&self.state);
        state.closed = true;
        let messages = std::mem::take(&mut state.messages);
        drop(state);
        self.room.notify_all();
        messages
    }

    pub(crate) fn enter(&self) {
        lock(&self.state).senders += 1;
    }

    /// A sender is gone. The last one rings.
    pub(crate) fn leave(&self, ring: impl FnOnce()) {
        let mut state = lock(&self.state);
        state.senders -= 1;
        if state.senders == 0 && !state.closed {
            ring();
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    pub(crate) fn figures(&self) -> Figures {
        let state = lock(&self.state);
        Figures { queued: state.messages.len(), senders: state.senders, refused: state.refused }
    }
}
