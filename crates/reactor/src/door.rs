//! A door for messages: other threads send values of one type, and a function on the loop, which need not be `Send`, gets them.
//! For reports of progress from jobs to what shows them.
//!
//! Unlike [`Remote`](crate::Remote), which carries any call, it is bounded, and who sends learns when nobody listens any
//! more. `passage` is what both sides share; this file is the two sides.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use crate::locks;
use crate::name::Name;
use crate::reactor::Reactor;
use crate::remote::Remote;
use crate::source::{Key, Source};

mod passage;

use passage::{Passage, Refused};

/// Why a message was not taken. It comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError<M> {
    /// There is no room: the loop has not yet taken those before it.
    Full(M),
    /// Nobody listens any more: the receiver was dropped, or the loop has ended.
    Closed(M),
    /// It was to wait for room on the loop's own thread, which would wait for itself for ever.
    OnTheLoop(M),
}

impl<M> SendError<M> {
    /// The message.
    pub fn into_message(self) -> M {
        match self {
            SendError::Full(message) | SendError::Closed(message) | SendError::OnTheLoop(message) => message,
        }
    }
}

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Full(_) => "Full(..)",
            SendError::Closed(_) => "Closed(..)",
            SendError::OnTheLoop(_) => "OnTheLoop(..)",
        })
    }
}

impl<M> fmt::Display for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Full(_) => "there is no room for the message",
            SendError::Closed(_) => "nobody receives the message",
            SendError::OnTheLoop(_) => "waiting for room on the loop's own thread would wait for itself",
        })
    }
}

impl<M> std::error::Error for SendError<M> {}

/// What both sides hold.
struct Shared<M> {
    passage: Passage<M>,
    bell: Waker,
    remote: Remote,
}

/// The side of the threads: `Send`, `Sync`, cheap to clone. See [`Reactor::receiver`].
pub struct Sender<M>(Arc<Shared<M>>);

impl<M> Sender<M> {
    /// Sends a message, or says at once why not. Messages of one sender keep their order, and those of a job are received
    /// before its result.
    ///
    /// # Errors
    /// There is no room, or nobody listens; the message comes back.
    pub fn send(&self, message: M) -> Result<(), SendError<M>> {
        self.0.passage.send(message, || self.ring()).map_err(|refused| match refused {
            Refused::Full(message) => SendError::Full(message),
            Refused::Closed(message) => SendError::Closed(message),
        })
    }

    /// Sends a message, and waits while there is no room for it.
    ///
    /// # Errors
    /// Nobody listens, before or while it waits; or this is the loop's own thread. The message comes back.
    pub fn blocking_send(&self, message: M) -> Result<(), SendError<M>> {
        if self.0.remote.is_home() {
            return Err(SendError::OnTheLoop(message));
        }
        self.0.passage.send_waiting(message, || self.ring()).map_err(SendError::Closed)
    }

    /// Whether nobody listens any more: a job may end early then.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.passage.is_closed()
    }

    fn ring(&self) {
        self.0.bell.wake_by_ref();
    }
}

impl<M> Clone for Sender<M> {
    fn clone(&self) -> Sender<M> {
        self.0.passage.enter();
        Sender(Arc::clone(&self.0))
    }
}

impl<M> Drop for Sender<M> {
    fn drop(&mut self) {
        self.0.passage.leave(|| self.ring());
    }
}

impl<M> fmt::Debug for Sender<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// Figures of a door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiverStatistics {
    /// Messages that wait.
    pub queued: usize,
    /// Senders there are.
    pub senders: usize,
    /// Messages handed to the function.
    pub received: u64,
    /// Messages for which there was no room.
    pub refused: u64,
}

type Callback<M> = Box<dyn FnMut(M)>;

/// What the loop calls.
struct Entrance<M> {
    reactor: Reactor,
    key: Key,
    name: Name,
    shared: Arc<Shared<M>>,
    /// Taken out while it runs; empty when the door is closed.
    callback: RefCell<Option<Callback<M>>>,
    closed: Cell<bool>,
    received: Cell<u64>,
    /// An empty list with its room, for the next batch.
    spare: Cell<VecDeque<M>>,
}

/// The loop's side. Dropping it closes the door: messages that wait are dropped, and senders are told. See
/// [`Reactor::receiver`].
#[must_use = "dropping it closes the door"]
pub struct Receiver(Rc<dyn Close>);

/// A door, whatever its messages are.
trait Close {
    fn close(&self);
    fn statistics(&self) -> ReceiverStatistics;
    fn is_closed(&self) -> bool;
}

impl Receiver {
    /// Figures of the door.
    #[must_use]
    pub fn statistics(&self) -> ReceiverStatistics {
        self.0.statistics()
    }

    /// Whether no message will come any more: the last sender is gone and what it sent was received, or the loop has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.statistics()).finish()
    }
}

impl Reactor {
    /// A door: what senders on any thread send, `callback` gets on the loop.
    ///
    /// `capacity` messages may wait (at least one); while the loop hands over a batch, as many again. However many wait, the
    /// loop is woken once. When the last sender is gone, what it sent is received, and then the callback is dropped. A panic
    /// of the callback is logged and costs that message.
    ///
    /// ```
    /// use ropewalk_reactor::Reactor;
    /// use std::{cell::RefCell, rc::Rc};
    /// let reactor = Reactor::new()?;
    /// let shown = Rc::new(RefCell::new(Vec::new()));
    /// let screen = Rc::clone(&shown);
    /// let (receiver, progress) = reactor.receiver(16, move |percent: u8| screen.borrow_mut().push(percent));
    /// let job = reactor.defer_to_thread(move || {
    ///     for percent in [25, 50, 75, 100] {
    ///         // Who is slow to look misses a step; the work does not wait.
    ///         let _ = progress.send(percent);
    ///     }
    ///     "done"
    /// });
    /// let handle = reactor.clone();
    /// reactor.spawn(async move {
    ///     assert_eq!(job.await.expect("it does not panic"), "done");
    ///     handle.stop();
    /// });
    /// reactor.run()?;
    /// assert_eq!(*shown.borrow(), [25, 50, 75, 100]);
    /// # drop(receiver);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn receiver<M: Send + 'static>(
        &self,
        capacity: usize,
        callback: impl FnMut(M) + 'static,
    ) -> (Receiver, Sender<M>) {
        let name = Name::here();
        let mut made = None;
        self.add_source(|key| {
            let passage = Passage::new(capacity);
            let entrance = Rc::new(Entrance {
                reactor: self.clone(),
                key,
                name,
                shared: Arc::new(Shared { passage, bell: self.waker(key), remote: self.remote() }),
                callback: RefCell::new(Some(Box::new(callback))),
                closed: Cell::new(false),
                received: Cell::new(0),
                spare: Cell::default(),
            });
            made = Some(Rc::clone(&entrance));
            entrance
        });
        let entrance = made.expect("add_source calls its argument");
        let sender = Sender(Arc::clone(&entrance.shared));
        if self.is_stopped() {
            entrance.close();
        }
        (Receiver(entrance), sender)
    }
}

impl<M: 'static> Entrance<M> {
    /// Hands a batch to the callback, message by message.
    fn hand_over(&self, callback: &mut dyn FnMut(M), batch: &mut VecDeque<M>) {
        while let Some(message) = batch.pop_front() {
            if self.closed.get() {
                // Dropped by the callback itself: nobody wants the rest.
                self.reactor.guard(self.name, || drop(message));
                continue;
            }
            self.received.set(self.received.get() + 1);
            self.reactor.guard(self.name, || callback(message));
        }
    }

    fn finish(&self) {
        self.closed.set(true);
        self.reactor.remove_source(self.key);
        for message in self.shared.passage.close() {
            self.reactor.guard(self.name, || drop(message));
        }
        let callback = self.callback.borrow_mut().take();
        self.reactor.guard(self.name, || drop(callback));
    }
}

impl<M: 'static> Close for Entrance<M> {
    fn close(&self) {
        if !self.closed.get() {
            self.finish();
        }
    }

    fn statistics(&self) -> ReceiverStatistics {
        let figures = self.shared.passage.figures();
        ReceiverStatistics {
            queued: figures.queued,
            senders: figures.senders,
            received: self.received.get(),
            refused: figures.refused,
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.get()
    }
}

impl<M: 'static> Source for Entrance<M> {
    fn name(&self) -> Name {
        self.name
    }

    fn woken(self: Rc<Self>) {
        let Some(mut callback) = self.callback.borrow_mut().take() else { return };
        let mut batch = self.spare.take();
        let over = self.shared.passage.take(&mut batch);
        self.hand_over(&mut *callback, &mut batch);
        self.spare.set(batch);
        if self.closed.get() {
            self.reactor.guard(self.name, || drop(callback));
            return;
        }
        *self.callback.borrow_mut() = Some(callback);
        if over {
            self.finish();
        }
    }

    fn abandoned(self: Rc<Self>) {
        self.close();
    }
}
