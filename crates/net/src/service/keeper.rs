//! The states of a client service, and what leads from one to the other:
//!
//! ```text
//!            start                    made and prepared
//!   Idle ───────────► Connecting ──────────────────────► Connected
//!    ▲                 ▲  │ failed                  lost │  │ stop
//!    │   the delay is  │  ▼                              │  │
//!    │   over        Waiting ◄───────────────────────────┘  │
//!    │ stop            │                                    ▼
//!    └─────────────────┴──────────── gone ─────────────── Closing
//! ```
//! Nothing is borrowed while user code may run, which it may whenever something is dropped, cancelled or fired.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use ropewalk_reactor::{
    Deferred, DelayedCall, Failure, Firing, Outcome, Phase, Reactor, SystemEvent, Task, Time, TriggerId,
    deferred,
};

use super::attempt::{self, Attempt, Caught, Link};
use super::{ClientFactory, ClientPolicy, ClientStatistics, Connected, Prepare};
use crate::endpoint::ClientEndpoint;
use crate::protocol::Lost;

enum State<H: Clone + 'static> {
    Idle,
    Connecting(Task<()>, Rc<Link>),
    Waiting(DelayedCall),
    Connected(Connected<H>, Rc<Link>, Time),
    /// Once the connection is gone these are told, and it begins anew if it was started meanwhile.
    Closing(Rc<Link>, Vec<Firing<()>>),
}

/// What the user wants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// Not started yet: who waits for a connection may wait for that.
    None,
    Up,
    Down,
}

/// One who waits for a connection, and for how many failures more.
struct Waiter<H: Clone + 'static> {
    firing: Firing<Connected<H>>,
    failures_left: Option<u32>,
}

/// Figures that only grow, or belong to the row of failures.
#[derive(Clone, Copy, Default)]
struct Count {
    attempts: u64,
    failures: u64,
    connections: u64,
    /// Failed attempts since the last connection.
    in_a_row: u32,
    /// Delays since the last connection that stood for a while.
    backed_off: u32,
}

pub(super) struct Keeper<H: Clone + 'static> {
    reactor: Reactor,
    endpoint: ClientEndpoint,
    factory: Rc<dyn ClientFactory<Handle = H>>,
    policy: ClientPolicy,
    pub(super) prepare: RefCell<Option<Prepare<H>>>,
    state: RefCell<State<H>>,
    wish: Cell<Wish>,
    trigger: Cell<Option<TriggerId>>,
    waiters: RefCell<BTreeMap<u64, Waiter<H>>>,
    serial: Cell<u64>,
    count: Cell<Count>,
    last_failure: RefCell<Option<Failure>>,
}

impl<H: Clone + 'static> Keeper<H> {
    pub(super) fn new(
        reactor: &Reactor,
        endpoint: ClientEndpoint,
        factory: Rc<dyn ClientFactory<Handle = H>>,
        policy: ClientPolicy,
    ) -> Keeper<H> {
        Keeper {
            reactor: reactor.clone(),
            endpoint,
            factory,
            policy,
            prepare: RefCell::new(None),
            state: RefCell::new(State::Idle),
            wish: Cell::new(Wish::None),
            trigger: Cell::new(None),
            waiters: RefCell::default(),
            serial: Cell::new(0),
            count: Cell::default(),
            last_failure: RefCell::new(None),
        }
    }

    // What the user asks for.

    pub(super) fn start(self: &Rc<Self>) {
        if self.wish.replace(Wish::Up) == Wish::Up {
            return;
        }
        let weak = Rc::downgrade(self);
        let trigger = move || async move {
            if let Some(stopped) = Weak::upgrade(&weak).map(|keeper| keeper.stop()) {
                // It fails only if the loop ends before, and then there is nobody left to care.
                let _ = stopped.await;
            }
        };
        let id = self.reactor.add_system_event_trigger(Phase::During, SystemEvent::Shutdown, trigger);
        self.trigger.set(Some(id));
        let idle = matches!(*self.state.borrow(), State::Idle);
        if idle {
            self.connect();
        }
    }

    pub(super) fn stop(self: &Rc<Self>) -> Deferred<()> {
        self.wish.set(Wish::Down);
        if let Some(id) = self.trigger.take() {
            self.reactor.remove_system_event_trigger(id);
        }
        let (stopped, deferred) = Deferred::new(&self.reactor);
        let state = self.state.replace(State::Idle);
        match state {
            State::Idle => fire(&stopped),
            State::Waiting(call) => {
                // It would have been the next attempt.
                let _ = call.cancel();
                fire(&stopped);
            }
            State::Connecting(attempt, link) => {
                self.close_after(&link, stopped);
                attempt.abort();
            }
            State::Connected(connected, link, _) => {
                self.close_after(&link, stopped);
                attempt::close(&connected.transport, self.policy.close_within);
            }
            State::Closing(link, mut waiting) => {
                waiting.push(stopped);
                self.state.replace(State::Closing(link, waiting));
            }
        }
        let waiters = std::mem::take(&mut *self.waiters.borrow_mut());
        waiters.into_values().for_each(|waiter| {
            // Who has given up meanwhile does not mind.
            let _ = waiter.firing.errback(Failure::cancelled());
        });
        deferred
    }

    /// Waits for the end of the connection, if there is one.
    fn close_after(&self, link: &Rc<Link>, stopped: Firing<()>) {
        if link.stands() {
            self.state.replace(State::Closing(Rc::clone(link), vec![stopped]));
        } else {
            fire(&stopped);
        }
    }

    pub(super) fn when_connected(self: &Rc<Self>, fail_after: Option<u32>) -> Deferred<Connected<H>> {
        if let Some(connected) = self.connected() {
            return deferred::succeed(&self.reactor, connected);
        }
        if self.wish.get() == Wish::Down {
            return deferred::fail(&self.reactor, Failure::cancelled());
        }
        self.serial.set(self.serial.get() + 1);
        let (id, weak) = (self.serial.get(), Rc::downgrade(self));
        let (firing, deferred) = Deferred::with_canceller(&self.reactor, move |_| {
            // Taken out before it is dropped, which may run what hangs on it.
            let waiter = weak.upgrade().and_then(|keeper| keeper.waiters.borrow_mut().remove(&id));
            drop(waiter);
        });
        let waiter = Waiter { firing, failures_left: fail_after.map(|failures| failures.max(1)) };
        self.waiters.borrow_mut().insert(id, waiter);
        deferred
    }

    pub(super) fn connected(&self) -> Option<Connected<H>> {
        match &*self.state.borrow() {
            // One that is on its way out is no connection any more.
            State::Connected(connected, ..) if !connected.transport.is_closing() => Some(connected.clone()),
            _ => None,
        }
    }

    pub(super) fn last_failure(&self) -> Option<Failure> {
        self.last_failure.borrow().clone()
    }

    pub(super) fn statistics(&self) -> ClientStatistics {
        let count = self.count.get();
        let (connected_since, next_attempt) = match &*self.state.borrow() {
            State::Connected(_, _, since) => (Some(*since), None),
            State::Waiting(call) => (None, call.time()),
            _ => (None, None),
        };
        ClientStatistics {
            attempts: count.attempts,
            failures: count.failures,
            failures_in_a_row: count.in_a_row,
            connections: count.connections,
            connected_since,
            next_attempt,
            waiting: self.waiters.borrow().len(),
        }
    }

    // What happens.

    fn count(&self, change: impl FnOnce(&mut Count)) {
        let mut count = self.count.get();
        change(&mut count);
        self.count.set(count);
    }

    fn connect(self: &Rc<Self>) {
        self.count(|count| count.attempts += 1);
        let link = Rc::<Link>::default();
        let (keeper, gone) = (Rc::clone(self), Rc::clone(&link));
        let attempt = Attempt {
            reactor: self.reactor.clone(),
            endpoint: self.endpoint.clone(),
            factory: Rc::clone(&self.factory),
            options: self.policy.connect.clone(),
            prepare: self.prepare.borrow().clone(),
            close_within: self.policy.close_within,
            link: Rc::clone(&link),
            gone: Box::new(move |lost| keeper.gone(&gone, lost)),
        };
        let (keeper, ended) = (Rc::clone(self), Rc::clone(&link));
        // The task holds the service, and not the other way round: a reactor that ends lets go of its tasks.
        let attempt = self.reactor.spawn_named(self.policy.connect.name, async move {
            let outcome = Caught(Box::pin(attempt.run())).await;
            keeper.ended(&ended, outcome);
        });
        self.state.replace(State::Connecting(attempt, link));
    }

    /// An attempt has ended.
    fn ended(self: &Rc<Self>, link: &Rc<Link>, outcome: Outcome<Connected<H>>) {
        if !matches!(&*self.state.borrow(), State::Connecting(_, current) if Rc::ptr_eq(current, link)) {
            // It was stopped from within, by a hook that said yes all the same.
            return outcome.map_or((), |connected| connected.transport.give_up());
        }
        match outcome {
            Ok(connected) => self.succeeded(connected, link),
            Err(failure) => self.failed(failure),
        }
    }

    fn succeeded(&self, connected: Connected<H>, link: &Rc<Link>) {
        self.count(|count| {
            count.connections += 1;
            count.in_a_row = 0;
        });
        tracing::info!(endpoint = %self.endpoint, peer = %connected.transport.peer(), "connected");
        let state = State::Connected(connected.clone(), Rc::clone(link), self.reactor.now());
        let attempt = self.state.replace(state);
        let waiters = std::mem::take(&mut *self.waiters.borrow_mut());
        for waiter in waiters.into_values() {
            // Who has given up meanwhile does not mind.
            let _ = waiter.firing.callback(connected.clone());
        }
        drop(attempt);
    }

    fn failed(self: &Rc<Self>, failure: Failure) {
        self.count(|count| {
            count.failures += 1;
            count.in_a_row = count.in_a_row.saturating_add(1);
        });
        self.back_off(failure.clone(), "connecting failed");
        let tired = {
            let mut waiters = self.waiters.borrow_mut();
            let left = |waiter: &mut Waiter<H>| {
                waiter.failures_left.as_mut().map(|left| {
                    *left -= 1;
                    *left
                })
            };
            let ids: Vec<u64> = waiters
                .iter_mut()
                .filter_map(|(&id, waiter)| (left(waiter) == Some(0)).then_some(id))
                .collect();
            ids.into_iter().filter_map(|id| waiters.remove(&id)).collect::<Vec<_>>()
        };
        for waiter in tired {
            // Who has given up meanwhile does not mind.
            let _ = waiter.firing.errback(failure.clone());
        }
    }

    /// Tries again later.
    fn back_off(self: &Rc<Self>, failure: Failure, what: &str) {
        self.count(|count| count.backed_off = count.backed_off.saturating_add(1));
        let delay = self.policy.delay(self.count.get().backed_off, self.reactor.random());
        tracing::info!(endpoint = %self.endpoint, again_in = ?delay, "{what}: {failure}");
        let before = self.last_failure.replace(Some(failure));
        let keeper = Rc::clone(self);
        let name = self.policy.connect.name;
        let call = self.reactor.call_at_named(name, self.reactor.now() + delay, move || keeper.connect());
        let state = self.state.replace(State::Waiting(call));
        drop((before, state));
    }

    /// A connection that stood is gone.
    fn gone(self: &Rc<Self>, link: &Rc<Link>, lost: &Lost) {
        link.lose(lost);
        let mine = match &*self.state.borrow() {
            State::Connected(_, current, _) | State::Closing(current, _) => Rc::ptr_eq(current, link),
            // An attempt hears of it by itself.
            _ => false,
        };
        if !mine {
            return;
        }
        match self.state.replace(State::Idle) {
            State::Connected(_, _, since) if !matches!(lost, Lost::Stopped) => {
                if self.reactor.now().since(since) >= self.policy.stands_after {
                    self.count(|count| count.backed_off = 0);
                }
                self.back_off(Failure::new(lost.clone()), "the connection is gone");
            }
            State::Closing(_, stopped) => {
                stopped.iter().for_each(fire);
                if self.wish.get() == Wish::Up && !matches!(lost, Lost::Stopped) {
                    self.connect();
                }
            }
            // The loop has ended, and nothing comes after that.
            state => drop(state),
        }
    }
}

fn fire(stopped: &Firing<()>) {
    // Who does not wait for it any more does not mind.
    let _ = stopped.callback(());
}
