//! Tasks: futures that the loop polls. A task is a source that is only ever woken; its waker may be used from any thread.
//! Handlers of connections do not come here: their futures live in the connection.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::deferred::Deferred;
use crate::failure::{Failure, Outcome};
use crate::mark::Mark;
use crate::name::Name;
use crate::reactor::{Reactor, Ready};
use crate::remote::Mailbox;
use crate::source::{Key, Source};

/// What a waker of ours holds.
pub(crate) struct WakeHandle {
    key: Key,
    /// Already on its way: waking twice is waking once.
    queued: Mark,
    mailbox: Arc<Mailbox>,
}

impl WakeHandle {
    pub(crate) fn new(key: Key, mailbox: Arc<Mailbox>) -> WakeHandle {
        WakeHandle { key, queued: Mark::new(), mailbox }
    }

    /// It has arrived: the next wake counts again.
    pub(crate) fn clear(&self) -> Key {
        self.queued.clear();
        self.key
    }
}

impl Wake for WakeHandle {
    fn wake(self: Arc<Self>) {
        if !self.queued.set() {
            return;
        }
        match self.mailbox.loop_here() {
            Some(core) => core.ready.borrow_mut().push_back(Ready::Wake(self)),
            None => {
                let mailbox = Arc::clone(&self.mailbox);
                mailbox.wake(self);
            }
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Arc::clone(self).wake();
    }
}

type Body = Pin<Box<dyn Future<Output = ()>>>;

pub(crate) struct TaskCell {
    reactor: Reactor,
    key: Key,
    name: Name,
    /// Taken out while it is polled; empty when it has ended.
    future: RefCell<Option<Body>>,
    waker: Waker,
    aborted: Cell<bool>,
}

impl TaskCell {
    fn poll(&self) {
        let Some(mut future) = self.future.borrow_mut().take() else { return };
        let mut context = Context::from_waker(&self.waker);
        // A panic drops the future, and with it the value's place: whoever awaits the task is told.
        let done = future.as_mut().poll(&mut context).is_ready();
        if done || self.aborted.get() {
            // Removed before the future is dropped, which may panic.
            self.reactor.remove_source(self.key);
            drop(future);
        } else {
            *self.future.borrow_mut() = Some(future);
        }
    }
}

impl Source for TaskCell {
    fn name(&self) -> Name {
        self.name
    }

    fn kind(&self) -> &'static str {
        "task"
    }

    fn woken(self: Rc<Self>) {
        // Removed first if polling panics: a task that panicked is never polled again.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.poll()));
        if let Err(payload) = outcome {
            self.reactor.remove_source(self.key);
            std::panic::resume_unwind(payload);
        }
    }

    fn abandoned(self: Rc<Self>) {
        self.aborted.set(true);
        let future = self.future.borrow_mut().take();
        drop(future);
    }
}

/// A spawned task. Dropping the handle detaches it: the task goes on.
///
/// Awaiting it gives what the future gave, or a [`Failure`]: that the task panicked, or was aborted.
pub struct Task<T> {
    cell: Rc<TaskCell>,
    end: Rc<RefCell<End<T>>>,
}

enum End<T> {
    Pending(Option<Waker>),
    Done(Outcome<T>),
    Taken,
}

/// Puts an end to the task's `End` whatever happens: the value, or that there will be none.
struct Promise<T>(Rc<RefCell<End<T>>>);

impl<T> Promise<T> {
    fn settle(&self, outcome: Outcome<T>) {
        let before = std::mem::replace(&mut *self.0.borrow_mut(), End::Done(outcome));
        if let End::Pending(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if matches!(*self.0.borrow(), End::Pending(_)) {
            self.settle(Err(Failure::cancelled()));
        }
    }
}

impl Reactor {
    /// Runs a future on the loop. It is polled for the first time among the ready work.
    ///
    /// ```
    /// use ropewalk_reactor::Reactor;
    /// let reactor = Reactor::new()?;
    /// let inner = reactor.clone();
    /// reactor.spawn(async move {
    ///     let sum = inner.spawn(async { 1 + 1 }).await.expect("it does not panic");
    ///     assert_eq!(sum, 2);
    ///     inner.stop();
    /// });
    /// reactor.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn<F: Future + 'static>(&self, future: F) -> Task<F::Output> {
        self.spawn_named(Name::here(), future)
    }

    /// [`Reactor::spawn`] under a name.
    pub fn spawn_named<F: Future + 'static>(&self, name: Name, future: F) -> Task<F::Output> {
        self.spawn_outcome(name, async move { Ok(future.await) })
    }

    /// Runs a future whose failure is the task's.
    pub(crate) fn spawn_outcome<T: 'static>(
        &self,
        name: Name,
        future: impl Future<Output = Outcome<T>> + 'static,
    ) -> Task<T> {
        let end = Rc::new(RefCell::new(End::Pending(None)));
        let promise = Promise(Rc::clone(&end));
        let caught = Caught::new(name, future);
        let cell = self.spawn_body(name, Box::pin(async move { promise.settle(caught.await) }));
        Task { cell, end }
    }

    fn spawn_body(&self, name: Name, body: Body) -> Rc<TaskCell> {
        let mut made = None;
        let key = self.add_source(|key| {
            let cell = Rc::new(TaskCell {
                reactor: self.clone(),
                key,
                name,
                future: RefCell::new(Some(body)),
                waker: self.waker(key),
                aborted: Cell::new(false),
            });
            made = Some(Rc::clone(&cell));
            cell
        });
        self.wake(key);
        made.expect("add_source calls its argument")
    }

    /// Any future as a deferred; it begins to run at once. Cancelling the deferred drops the future.
    #[track_caller]
    pub fn ensure_deferred<T: 'static, F>(&self, future: F) -> Deferred<T>
    where
        F: Future<Output = Outcome<T>> + 'static,
    {
        let name = Name::here();
        let caught = Caught::new(name, future);
        let slot: Rc<RefCell<Option<Rc<TaskCell>>>> = Rc::default();
        let cancelled = Rc::clone(&slot);
        let (firing, deferred) = Deferred::with_canceller(self, move |_| {
            if let Some(cell) = cancelled.borrow_mut().take() {
                abort(&cell);
            }
        });
        let body = Box::pin(async move {
            let outcome = caught.await;
            // It fails only if the deferred was cancelled meanwhile, and then nobody wants the value.
            let _ = firing.fire(outcome);
        });
        *slot.borrow_mut() = Some(self.spawn_body(name, body));
        deferred
    }
}

/// A future whose panic is a failure, and reported under its name. It is put where it stays before it goes anywhere else: a
/// future may be kilobytes, and each function that hands it on would copy it.
pub(crate) struct Caught<F>(Name, Pin<Box<F>>);

impl<F> Caught<F> {
    pub(crate) fn new(name: Name, future: F) -> Caught<F> {
        Caught(name, Box::pin(future))
    }
}

impl<T, F: Future<Output = Outcome<T>>> Future for Caught<F> {
    type Output = Outcome<T>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome<T>> {
        let poll = std::panic::AssertUnwindSafe(|| self.1.as_mut().poll(context));
        std::panic::catch_unwind(poll).unwrap_or_else(|payload| {
            let failure = Failure::from_panic(payload);
            tracing::error!(task = %self.0, "{failure}");
            Poll::Ready(Err(failure))
        })
    }
}

pub(crate) fn abort(cell: &Rc<TaskCell>) {
    cell.aborted.set(true);
    let future = cell.future.borrow_mut().take();
    // Absent while it is being polled, or at its end: then the poll sees the mark.
    if future.is_some() {
        cell.reactor.remove_source(cell.key);
        drop(future);
    }
}

impl<T> Task<T> {
    pub(crate) fn cell(&self) -> Rc<TaskCell> {
        Rc::clone(&self.cell)
    }

    /// Ends the task: its future is dropped, at once, or after the poll that runs now.
    pub fn abort(&self) {
        abort(&self.cell);
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        !matches!(*self.end.borrow(), End::Pending(_))
    }
}

impl<T> Future for Task<T> {
    type Output = Outcome<T>;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut end = self.end.borrow_mut();
        match &mut *end {
            End::Pending(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            done => match std::mem::replace(done, End::Taken) {
                End::Done(outcome) => Poll::Ready(outcome),
                _ => Poll::Ready(Err(Failure::cancelled())),
            },
        }
    }
}
