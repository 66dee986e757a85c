//! Twisted's `DeferredQueue`: putting never waits, getting does; both have a limit.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::rc::{Rc, Weak};

use super::waiters::{Waiters, served};
use crate::Reactor;
use crate::deferred::{Deferred, Line, fail};

/// A queue from which one gets deferreds. Clones are one queue.
///
/// ```
/// # use ropewalk_reactor::{Outcome, Reactor};
/// use ropewalk_reactor::sync::DeferredQueue;
///
/// async fn work(jobs: DeferredQueue<String>) -> Outcome<()> {
///     loop {
///         let job = jobs.get().await?;
///         println!("{job}");
///     }
/// }
///
/// fn order(jobs: &DeferredQueue<String>, job: &str) {
///     if let Err(overflow) = jobs.put(job.to_owned()) {
///         eprintln!("too busy for {}", overflow.into_item());
///     }
/// }
/// ```
pub struct DeferredQueue<T: 'static>(Rc<Inner<T>>);

struct Inner<T: 'static> {
    reactor: Reactor,
    size: Option<usize>,
    backlog: Option<usize>,
    items: RefCell<VecDeque<T>>,
    waiters: Waiters<T>,
}

/// The queue holds as many items as it may. The item comes back.
#[derive(Clone, PartialEq, Eq)]
pub struct QueueOverflow<T>(T);

impl<T> QueueOverflow<T> {
    /// The item that was not taken.
    pub fn into_item(self) -> T {
        self.0
    }
}

/// As many wait for an item as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueUnderflow;

impl<T: 'static> DeferredQueue<T> {
    /// A queue without limits.
    #[must_use]
    pub fn new(reactor: &Reactor) -> DeferredQueue<T> {
        DeferredQueue::with_limits(reactor, None, None)
    }

    /// A queue that holds at most `size` items, and for which at most `backlog` may wait; `None` is no limit.
    #[must_use]
    pub fn with_limits(reactor: &Reactor, size: Option<usize>, backlog: Option<usize>) -> DeferredQueue<T> {
        let (items, waiters) = (RefCell::default(), Waiters::default());
        DeferredQueue(Rc::new(Inner { reactor: reactor.clone(), size, backlog, items, waiters }))
    }

    /// Gives the item to the one who waits longest, or keeps it.
    ///
    /// # Errors
    /// [`QueueOverflow`], with the item.
    pub fn put(&self, item: T) -> Result<(), QueueOverflow<T>> {
        let full = self.0.size.is_some_and(|size| self.len() >= size);
        if full && self.0.waiters.is_empty() {
            return Err(QueueOverflow(item));
        }
        self.0.items.borrow_mut().push_back(item);
        self.0.serve();
        Ok(())
    }

    /// The next item, when there is one.
    ///
    /// # Errors
    /// [`QueueUnderflow`] when too many wait already.
    #[track_caller]
    pub fn get(&self) -> Deferred<T> {
        let Inner { reactor, .. } = &*self.0;
        let line: Weak<Inner<T>> = Rc::downgrade(&self.0);
        let item = self.0.items.borrow_mut().pop_front();
        match item {
            Some(item) => served(reactor, line, item),
            None if self.0.backlog.is_some_and(|backlog| self.0.waiters.len() >= backlog) => {
                fail(reactor, QueueUnderflow)
            }
            None => self.0.waiters.stand(reactor, line, ()),
        }
    }

    /// Items that nobody has asked for yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.items.borrow().len()
    }

    /// Whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many wait for an item.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.waiters.len()
    }
}

impl<T: 'static> Line<T> for Inner<T> {
    fn leave(&self, ticket: u64) {
        self.waiters.leave(ticket);
    }

    /// It had its place before; the size is for new ones.
    fn returned(&self, item: T) {
        self.items.borrow_mut().push_front(item);
        self.serve();
    }
}

impl<T: 'static> Inner<T> {
    fn serve(&self) {
        self.waiters.serve(|| self.items.borrow_mut().pop_front());
    }
}

impl<T: 'static> Clone for DeferredQueue<T> {
    fn clone(&self) -> DeferredQueue<T> {
        DeferredQueue(Rc::clone(&self.0))
    }
}

impl<T: 'static> fmt::Debug for DeferredQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeferredQueue")
            .field("len", &self.len())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for QueueOverflow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueueOverflow(..)")
    }
}

impl<T> fmt::Display for QueueOverflow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue is full")
    }
}

impl<T> Error for QueueOverflow<T> {}

impl fmt::Display for QueueUnderflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many wait for the queue already")
    }
}

impl Error for QueueUnderflow {}
