//! Tornado's `Queue`: putting waits for room, and one can wait until all that was put in has been worked off.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::rc::{Rc, Weak};

use super::event::Event;
use super::waiters::{Waiters, served};
use crate::Reactor;
use crate::deferred::{Deferred, Line, succeed};

/// A queue between producers and consumers, with a size that holds the producers back. Clones are one queue.
///
/// ```
/// use ropewalk_reactor::{Scope, react};
/// use ropewalk_reactor::sync::JoinableQueue;
///
/// react(|reactor| async move {
///     let (queue, workers) = (JoinableQueue::new(&reactor, Some(10)), Scope::new(&reactor));
///     for _ in 0..3 {
///         let queue = queue.clone();
///         workers.run(async move {
///             loop {
///                 let page: u32 = queue.get().await?;
///                 println!("page {page}");
///                 queue.task_done()?;
///             }
///             #[allow(unreachable_code)]
///             Ok(())
///         });
///     }
///     for page in 0..100 {
///         queue.put(page).await?;
///     }
///     queue.join().await
/// })
/// .expect("no page fails");
/// ```
pub struct JoinableQueue<T: 'static>(Rc<Inner<T>>);

struct Inner<T: 'static> {
    reactor: Reactor,
    size: Option<usize>,
    items: RefCell<VecDeque<T>>,
    getters: Waiters<T>,
    putters: Rc<Putters<T>>,
    unfinished: Cell<usize>,
    finished: Event,
}

/// Those who wait for room, each with the item it brought.
struct Putters<T: 'static>(Waiters<(), T>);

/// The queue has no room. The item comes back.
#[derive(Clone, PartialEq, Eq)]
pub struct QueueFull<T>(T);

impl<T> QueueFull<T> {
    /// The item that was not taken.
    pub fn into_item(self) -> T {
        self.0
    }
}

/// The queue has no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueEmpty;

/// [`JoinableQueue::task_done`] was called more often than there were items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyDone;

impl<T: 'static> JoinableQueue<T> {
    /// A queue that holds at most `size` items (at least one); `None` is no limit.
    #[must_use]
    pub fn new(reactor: &Reactor, size: Option<usize>) -> JoinableQueue<T> {
        let finished = Event::new(reactor);
        finished.set();
        JoinableQueue(Rc::new(Inner {
            reactor: reactor.clone(),
            size: size.map(|size| size.max(1)),
            items: RefCell::default(),
            getters: Waiters::default(),
            putters: Rc::new(Putters(Waiters::default())),
            unfinished: Cell::new(0),
            finished,
        }))
    }

    /// Puts an item in, when there is room. Cancelling takes the item back.
    #[track_caller]
    pub fn put(&self, item: T) -> Deferred<()> {
        let Inner { reactor, putters, .. } = &*self.0;
        match self.try_put(item) {
            Ok(()) => succeed(reactor, ()),
            Err(QueueFull(item)) => {
                let line: Weak<Putters<T>> = Rc::downgrade(putters);
                putters.0.stand(reactor, line, item)
            }
        }
    }

    /// Puts an item in if there is room now.
    ///
    /// # Errors
    /// [`QueueFull`], with the item.
    pub fn try_put(&self, item: T) -> Result<(), QueueFull<T>> {
        if self.0.size.is_some_and(|size| self.0.items.borrow().len() >= size) {
            return Err(QueueFull(item));
        }
        self.0.accept(item);
        Ok(())
    }

    /// The next item, when there is one.
    #[track_caller]
    pub fn get(&self) -> Deferred<T> {
        let line: Weak<Inner<T>> = Rc::downgrade(&self.0);
        match self.try_get() {
            Ok(item) => served(&self.0.reactor, line, item),
            Err(QueueEmpty) => self.0.getters.stand(&self.0.reactor, line, ()),
        }
    }

    /// The next item if there is one now.
    ///
    /// # Errors
    /// [`QueueEmpty`].
    pub fn try_get(&self) -> Result<T, QueueEmpty> {
        let item = self.0.items.borrow_mut().pop_front().ok_or(QueueEmpty)?;
        // There is room for one who waits for it.
        if let Some((firing, next)) = self.0.putters.0.next() {
            self.0.accept(next);
            let _ = firing.callback(());
        }
        Ok(item)
    }

    /// One item that was got is worked off.
    ///
    /// # Errors
    /// [`TooManyDone`]: a mistake of the caller's, and nothing has changed.
    pub fn task_done(&self) -> Result<(), TooManyDone> {
        let unfinished = self.0.unfinished.get().checked_sub(1).ok_or(TooManyDone)?;
        self.0.unfinished.set(unfinished);
        if unfinished == 0 {
            self.0.finished.set();
        }
        Ok(())
    }

    /// Fires when every item that was put in is worked off.
    #[track_caller]
    pub fn join(&self) -> Deferred<()> {
        self.0.finished.wait()
    }

    /// Items that nobody has got yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.items.borrow().len()
    }

    /// Whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Items that were put in and are not worked off.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.0.unfinished.get()
    }
}

impl<T: 'static> Inner<T> {
    fn accept(&self, item: T) {
        self.unfinished.set(self.unfinished.get() + 1);
        self.finished.clear();
        self.items.borrow_mut().push_back(item);
        self.serve();
    }

    fn serve(&self) {
        self.getters.serve(|| self.items.borrow_mut().pop_front());
    }
}

impl<T: 'static> Line<T> for Inner<T> {
    fn leave(&self, ticket: u64) {
        self.getters.leave(ticket);
    }

    fn returned(&self, item: T) {
        self.items.borrow_mut().push_front(item);
        self.serve();
    }
}

impl<T: 'static> Line<()> for Putters<T> {
    fn leave(&self, ticket: u64) {
        self.0.leave(ticket);
    }

    /// The item is in the queue: there is nothing to give back.
    fn returned(&self, (): ()) {}
}

impl<T: 'static> Clone for JoinableQueue<T> {
    fn clone(&self) -> JoinableQueue<T> {
        JoinableQueue(Rc::clone(&self.0))
    }
}

impl<T: 'static> fmt::Debug for JoinableQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinableQueue")
            .field("len", &self.len())
            .field("unfinished", &self.unfinished())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for QueueFull<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueueFull(..)")
    }
}

impl<T> fmt::Display for QueueFull<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue is full")
    }
}

impl<T> Error for QueueFull<T> {}

impl fmt::Display for QueueEmpty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue is empty")
    }
}

impl Error for QueueEmpty {}

impl fmt::Display for TooManyDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("more items were done than were put in")
    }
}

impl Error for TooManyDone {}
