//! A scope that owns its tasks: none of them outlives it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::failure::{Failure, Outcome};
use crate::name::Name;
use crate::reactor::Reactor;
use crate::task::{Caught, Task, TaskCell, abort};

/// Owns tasks: leaving it, by its end or by being dropped with the future around it, ends them.
///
/// [`Scope::join`] waits for them instead. The first that panics, or that fails where it was [run](Scope::run), ends the
/// others.
///
/// ```
/// use std::time::Duration;
/// use ropewalk_reactor::{Outcome, Reactor, Scope, react};
///
/// async fn fetch(reactor: Reactor, page: u64) {
///     reactor.sleep(Duration::from_millis(page)).await;
/// }
///
/// react(|reactor| async move {
///     let scope = Scope::new(&reactor);
///     for page in 1..=3 {
///         scope.spawn(fetch(reactor.clone(), page));
///     }
///     scope.join().await
/// })
/// .expect("no page fails");
/// ```
#[must_use = "dropping it ends its tasks"]
pub struct Scope {
    reactor: Reactor,
    inner: Rc<Inner>,
}

#[derive(Default)]
struct Inner {
    tasks: RefCell<BTreeMap<u64, Rc<TaskCell>>>,
    serial: Cell<u64>,
    failure: RefCell<Option<Failure>>,
    waker: Cell<Option<Waker>>,
}

impl Scope {
    /// A scope without tasks.
    pub fn new(reactor: &Reactor) -> Scope {
        Scope { reactor: reactor.clone(), inner: Rc::default() }
    }

    /// Runs a future as a task of this scope.
    #[track_caller]
    pub fn spawn<F: Future + 'static>(&self, future: F) -> Task<F::Output> {
        self.own(Name::here(), async move { Ok(future.await) })
    }

    /// Runs a future as a task of this scope; its failure ends the others.
    #[track_caller]
    pub fn run<T: 'static>(&self, future: impl Future<Output = Outcome<T>> + 'static) -> Task<T> {
        self.own(Name::here(), future)
    }

    fn own<T: 'static>(&self, name: Name, future: impl Future<Output = Outcome<T>> + 'static) -> Task<T> {
        let serial = self.inner.serial.get() + 1;
        self.inner.serial.set(serial);
        let membership = Membership { serial, inner: Rc::clone(&self.inner) };
        let caught = Caught::new(name, future);
        let task = self.reactor.spawn_outcome(name, async move {
            let outcome = caught.await;
            if let Err(failure) = &outcome {
                membership.inner.fail(failure);
            }
            drop(membership);
            outcome
        });
        self.inner.tasks.borrow_mut().insert(serial, task.cell());
        task
    }

    /// Waits until all tasks have ended, also those that tasks begin meanwhile.
    ///
    /// # Errors
    /// The first failure: a panic, or that of a task which was [run](Scope::run). The other tasks were ended then.
    pub async fn join(self) -> Outcome<()> {
        self.finished().await
    }

    /// [`Scope::join`], and more tasks may be added after.
    ///
    /// # Errors
    /// As there, once: who asks again is told of new failures only.
    pub async fn finished(&self) -> Outcome<()> {
        poll_fn(|context| {
            if self.inner.tasks.borrow().is_empty() {
                return Poll::Ready(());
            }
            self.inner.waker.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
        match self.inner.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Ends all tasks.
    pub fn abort(&self) {
        self.inner.abort();
    }

    /// How many tasks have not ended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.tasks.borrow().len()
    }

    /// Whether no task is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inner {
    fn fail(&self, failure: &Failure) {
        let first = self.failure.borrow().is_none();
        if first {
            *self.failure.borrow_mut() = Some(failure.clone());
            self.abort();
        }
    }

    fn abort(&self) {
        // One by one: what a task's future does when it is dropped may end others, or begin some.
        while let Some((_, task)) = { self.tasks.borrow_mut().pop_first() } {
            abort(&task);
        }
        self.changed();
    }

    fn changed(&self) {
        if self.tasks.borrow().is_empty()
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        self.inner.abort();
    }
}

/// Held by a task's future: takes the task off the list however it ends.
struct Membership {
    serial: u64,
    inner: Rc<Inner>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        let task = self.inner.tasks.borrow_mut().remove(&self.serial);
        drop(task);
        self.inner.changed();
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("tasks", &self.len()).finish_non_exhaustive()
    }
}
