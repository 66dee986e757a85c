//! A chain is made of nodes, each with a slot for its outcome and a strong hold on the node that takes it next.
//!
//! ```text
//!   Firing ──► Root<T> ──next──► Link<T, U> ──next──► Link<U, V> ◄── Deferred<V>
//!                 ◄──── weak ───────  ◄───── weak ──────
//! ```
//! What runs runs in [`run`], a loop that goes from node to node, and what is dropped goes through [`bury`], a loop too:
//! the length and the depth of a chain never become depth of the stack. No cell stays borrowed while foreign code runs.
//! Nodes hold no reactor; the ends, `Firing` and `Deferred`, do.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::task::Waker;

use crate::Reactor;
use crate::failure::{Cancelled, Outcome, Place};

/// A node, whatever its types.
pub(super) trait Step {
    /// Hands the outcome on, if there is one and nothing holds it back; answers the node that has it now.
    fn run(self: Rc<Self>) -> Option<Rc<dyn Step>>;

    /// After a change: sees to it that whoever waits for the outcome will have it, if there is anything to have.
    fn notify(self: Rc<Self>, reactor: &Reactor);

    /// What this node waits for.
    fn waits(&self) -> Waits;

    /// Fires the node if it is a root that has not fired.
    fn cancel(self: Rc<Self>, reactor: &Reactor, place: Place);

    /// The part of the slot that has no type.
    fn gate(&self) -> &Gate;
}

/// A node that will have a `T`.
pub(super) trait Source<T>: Step {
    fn slot(&self) -> &Slot<T>;
}

/// A node whose callback takes a `T`.
pub(super) trait Sink<T>: Step {
    /// Runs the callback; answers this node if it has an outcome after that.
    fn feed(self: Rc<Self>, outcome: Outcome<T>) -> Option<Rc<dyn Step>>;
}

/// A node whose callback answered with another deferred: it waits for that, the inner one.
pub(super) trait Outer<T>: Step {
    /// Takes the outcome of the inner one as its own.
    fn adopt(&self, outcome: Outcome<T>);

    /// The inner one waits for yet another: from now on this node waits for that one itself.
    fn follow(&self, inner: Weak<dyn Step>);
}

/// What a node waits for.
pub(super) enum Waits {
    Nothing,
    /// The node above it in its own chain.
    Upstream(Rc<dyn Step>),
    /// The end of another chain.
    Inner(Rc<dyn Step>),
}

/// Who takes the outcome.
#[derive(Default)]
pub(super) enum Next<T> {
    #[default]
    Nobody,
    Link(Rc<dyn Sink<T>>),
    Outer(Rc<dyn Outer<T>>),
    /// A task that awaits; it comes and takes the outcome out of the slot.
    Task(Waker),
}

/// The part of a slot that has no type.
pub(super) struct Gate {
    /// The outcome stays where it is.
    pub(super) paused: Cell<bool>,
    /// It has its entry on the ready queue.
    queued: Cell<bool>,
    /// Its holder asked for cancellation.
    pub(super) asked: Cell<bool>,
    /// Where the deferred at the head of the chain was made.
    pub(super) made_at: Place,
}

/// Where the outcome of a node waits to be taken.
pub(super) struct Slot<T> {
    outcome: RefCell<Option<Outcome<T>>>,
    next: Cell<Next<T>>,
    pub(super) gate: Gate,
}

impl<T> Slot<T> {
    pub(super) fn new(made_at: Place) -> Slot<T> {
        let gate =
            Gate { paused: Cell::new(false), queued: Cell::new(false), asked: Cell::new(false), made_at };
        Slot { outcome: RefCell::new(None), next: Cell::default(), gate }
    }

    pub(super) fn settle(&self, outcome: Outcome<T>) {
        self.outcome.replace(Some(outcome));
    }

    pub(super) fn attach(&self, next: Next<T>) {
        self.next.set(next);
    }

    /// Whether there is an outcome, and nothing holds it back.
    pub(super) fn is_ready(&self) -> bool {
        !self.gate.paused.get() && self.outcome.borrow().is_some()
    }

    /// The outcome, for one who came to fetch it.
    pub(super) fn take(&self) -> Option<Outcome<T>> {
        if self.is_ready() { self.outcome.take() } else { None }
    }

    /// A value that nobody took, whatever held it back; a failure stays, to be logged.
    pub(super) fn reclaim(&self) -> Option<Outcome<T>> {
        self.outcome.borrow_mut().take_if(|outcome| outcome.is_ok())
    }

    /// Lets the task of `waker` know when there is an outcome.
    pub(super) fn wait(&self, waker: &Waker) {
        match self.next.take() {
            Next::Task(known) if known.will_wake(waker) => self.next.set(Next::Task(known)),
            _ => self.next.set(Next::Task(waker.clone())),
        }
    }

    /// Whether no other node would take the outcome.
    pub(super) fn is_lonely(&self) -> bool {
        let next = self.next.take();
        let lonely = matches!(next, Next::Nobody | Next::Task(_));
        self.next.set(next);
        lonely
    }

    /// Whoever waits as an outer one, taken out.
    pub(super) fn take_outer(&self) -> Option<Rc<dyn Outer<T>>> {
        match self.next.take() {
            Next::Outer(outer) => Some(outer),
            other => {
                self.next.set(other);
                None
            }
        }
    }

    /// [`Step::run`] for every kind of node.
    pub(super) fn run(&self) -> Option<Rc<dyn Step>> {
        if !self.is_ready() {
            return None;
        }
        match self.next.take() {
            Next::Nobody => None,
            Next::Link(link) => link.feed(self.outcome.take()?),
            Next::Outer(outer) => {
                outer.adopt(self.outcome.take()?);
                Some(outer)
            }
            Next::Task(waker) => {
                waker.wake();
                None
            }
        }
    }

    /// [`Step::notify`] for every kind of node: a task is woken at once, a chain is one entry on the ready queue.
    #[track_caller]
    pub(super) fn notify(&self, node: Rc<dyn Step>, reactor: &Reactor) {
        if !self.is_ready() {
            return;
        }
        match self.next.take() {
            Next::Nobody => {}
            Next::Task(waker) => waker.wake(),
            waiting => {
                self.next.set(waiting);
                if !self.gate.queued.replace(true) {
                    reactor.call_soon(move || {
                        node.gate().queued.set(false);
                        run(node);
                    });
                }
            }
        }
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        if let Some(Err(failure)) = self.outcome.take()
            && !(self.gate.asked.get() && failure.is::<Cancelled>())
        {
            tracing::error!(made_at = %self.gate.made_at, "nobody looked at the failure of a deferred: {failure:?}");
        }
        match self.next.take() {
            Next::Nobody | Next::Task(_) => {}
            Next::Link(link) => bury(link),
            Next::Outer(outer) => bury(outer),
        }
    }
}

/// The node from which the chain goes on: the head if that has not fired, else the one whose outcome comes next.
pub(super) fn front(node: Rc<dyn Step>) -> Rc<dyn Step> {
    let mut at = node;
    while let Waits::Upstream(above) = at.waits() {
        at = above;
    }
    at
}

/// Cancels what `node` waits for: the head of its chain, or of the innermost chain it waits for.
pub(super) fn cancel(node: Rc<dyn Step>, reactor: &Reactor, place: Place) {
    let mut at = node;
    while let Waits::Upstream(above) | Waits::Inner(above) = at.waits() {
        at = above;
    }
    at.cancel(reactor, place);
}

/// Goes down a chain from node to node, for as long as there is something to do.
pub(super) fn run(first: Rc<dyn Step>) {
    let mut next = Some(first);
    while let Some(step) = next {
        next = step.run();
    }
}

/// Places of the list that are kept for the next time.
const GRAVES_KEPT: usize = 1024;

thread_local! {
    /// The nodes that wait to be dropped while one is being dropped. The buffer stays for the next time.
    static GRAVES: RefCell<VecDeque<Rc<dyn Step>>> = const { RefCell::new(VecDeque::new()) };
    /// One is being dropped further up on this stack.
    static BURYING: Cell<bool> = const { Cell::new(false) };
}

/// Lets go of a node, and of all that only this node held, one after the other instead of one within the other.
pub(super) fn bury(node: Rc<dyn Step>) {
    if Rc::strong_count(&node) > 1 {
        return;
    }
    // A thread that ends has lost the list: then one is dropped within the other.
    if BURYING.try_with(Cell::get).unwrap_or(false) {
        let mut node = Some(node);
        let _ = GRAVES.try_with(|graves| graves.borrow_mut().extend(node.take()));
        return;
    }
    let _ = BURYING.try_with(|burying| burying.set(true));
    let _closing = Closing;
    drop(node);
    while let Some(node) = next_grave() {
        drop(node);
    }
}

fn next_grave() -> Option<Rc<dyn Step>> {
    GRAVES.try_with(|graves| graves.borrow_mut().pop_front()).ok()?
}

/// Leaves all as it was found, even if a destructor of the user's panics.
struct Closing;

impl Drop for Closing {
    fn drop(&mut self) {
        let _ = BURYING.try_with(|burying| burying.set(false));
        // Taken out first: what a panic left over is dropped when nothing is borrowed.
        let left = GRAVES.try_with(|graves| {
            let mut graves = graves.borrow_mut();
            let keep = graves.is_empty() && graves.capacity() <= GRAVES_KEPT;
            if keep { VecDeque::new() } else { std::mem::take(&mut *graves) }
        });
        drop(left);
    }
}
