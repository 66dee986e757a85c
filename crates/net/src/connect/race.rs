//! The race of RFC 8305 (Happy Eyeballs): addresses are tried one after the other, the next one when the last has failed or
//! has not answered for a while, and the first that connects wins. A future; dropping it gives all attempts up at once.
//!
//! Every attempt is a connection whose protocol is a [`Runner`]. The first runner that arrives asks the factory for the
//! protocol and switches to it; one that arrives later, be it in the same turn, closes its connection. So the user's protocol
//! is made once, and only for a connection that stands.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ropewalk_reactor::io::{Address, Socket};
use ropewalk_reactor::{DelayedCall, Failure, Outcome, Reactor, Time};

use super::error::{ConnectError, FailedAttempt};
use super::{ConnectOptions, Gone};
use crate::protocol::{Factory, Lost, Protocol};
use crate::transport::{Connecting, Origin, OriginKind, Transport};

/// What is raced for, and how.
pub(super) struct Course {
    pub(super) reactor: Reactor,
    pub(super) options: ConnectOptions,
    pub(super) factory: Rc<dyn Factory>,
    pub(super) gone: Option<Gone>,
    /// For the error: what the user has called it.
    pub(super) target: String,
    pub(super) addresses: VecDeque<Address>,
    pub(super) limit: Duration,
    pub(super) until: Time,
}

pub(super) struct Race {
    course: Course,
    shared: Rc<Shared>,
    /// Attempts under way.
    running: Vec<(usize, Address, Transport)>,
    started: usize,
    failed: Vec<FailedAttempt>,
    /// When the next attempt begins, whatever those under way do.
    next_at: Time,
    alarm: Option<(Time, DelayedCall)>,
}

/// What the race and its runners know together.
struct Shared {
    factory: Rc<dyn Factory>,
    gone: RefCell<Option<Gone>>,
    winner: Cell<Option<usize>>,
    /// The factory wanted no connection, or panicked.
    refused: RefCell<Option<Failure>>,
    ends: RefCell<Vec<(usize, io::Result<Transport>)>>,
    waker: RefCell<Option<Waker>>,
}

impl Shared {
    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl Race {
    pub(super) fn new(mut course: Course) -> Race {
        let shared = Rc::new(Shared {
            factory: Rc::clone(&course.factory),
            gone: RefCell::new(course.gone.take()),
            winner: Cell::new(None),
            refused: RefCell::new(None),
            ends: RefCell::default(),
            waker: RefCell::new(None),
        });
        let next_at = course.reactor.now();
        Race { course, shared, running: Vec::new(), started: 0, failed: Vec::new(), next_at, alarm: None }
    }

    /// Hears how attempts have ended; answers the winner.
    fn hear(&mut self) -> Option<Outcome<Transport>> {
        let ends = std::mem::take(&mut *self.shared.ends.borrow_mut());
        let mut won = None;
        for (index, end) in ends {
            let at = self.running.iter().position(|(running, ..)| *running == index);
            let ended = at.map(|at| self.running.remove(at));
            match (end, ended) {
                (Ok(transport), _) if self.shared.winner.get() == Some(index) => won = Some(transport),
                (Err(error), Some((_, address, _))) => self.fail(address, error),
                // It arrived too late, and has closed its connection already.
                _ => {}
            }
        }
        if let Some(refused) = self.shared.refused.borrow_mut().take() {
            return Some(Err(refused));
        }
        won.map(Ok)
    }

    fn fail(&mut self, address: Address, error: io::Error) {
        self.failed.push(FailedAttempt { address, error: Arc::new(error) });
        // The next one need not wait for its time any more.
        self.next_at = self.course.reactor.now();
    }

    /// Begins what is due; answers the failure if there is nothing left to begin or to wait for.
    fn advance(&mut self) -> Option<ConnectError> {
        let now = self.course.reactor.now();
        if now >= self.course.until {
            return Some(self.time_out());
        }
        while self.running.is_empty() || now >= self.next_at {
            let Some(address) = self.course.addresses.pop_front() else { break };
            self.next_at = now + self.course.options.attempt_delay;
            if let Err(error) = self.start(address.clone()) {
                self.fail(address, error);
            }
        }
        let over = self.running.is_empty() && self.course.addresses.is_empty();
        over.then(|| ConnectError::all_failed(&self.course.target, std::mem::take(&mut self.failed)))
    }

    fn time_out(&mut self) -> ConnectError {
        let unanswered: Vec<Address> = self.running.iter().map(|(_, address, _)| address.clone()).collect();
        self.give_up();
        unanswered.into_iter().for_each(|address| self.fail(address, io::ErrorKind::TimedOut.into()));
        let (target, limit) = (&self.course.target, self.course.limit);
        let failed = std::mem::take(&mut self.failed);
        ConnectError::timed_out(target, limit, failed, self.course.addresses.len())
    }

    fn start(&mut self, address: Address) -> io::Result<()> {
        let index = self.started;
        self.started += 1;
        let Course { reactor, options, .. } = &self.course;
        let socket = open(reactor, &address, options)?;
        let (told, gone) = (Rc::clone(&self.shared), Rc::clone(&self.shared));
        let connecting = Connecting::new(
            move |end| {
                told.ends.borrow_mut().push((index, end));
                told.wake();
            },
            move |lost| gone.lost(index, lost),
        );
        let origin = Rc::new(Origin {
            reactor: reactor.clone(),
            name: options.name,
            options: options.transport.clone(),
            kind: OriginKind::Connecting(connecting),
        });
        let runner = Box::new(Runner { index, shared: Rc::clone(&self.shared) });
        let transport = Transport::start(&origin, socket, address.clone(), runner)?;
        self.running.push((index, address, transport));
        Ok(())
    }

    /// Closes the attempts under way.
    fn give_up(&mut self) {
        for (_, _, transport) in self.running.drain(..) {
            transport.give_up();
        }
    }

    /// Wakes for the next attempt, or for the end of the time.
    fn set_alarm(&mut self) {
        let Course { reactor, addresses, until, .. } = &self.course;
        let at = if addresses.is_empty() { *until } else { self.next_at.min(*until) };
        if self.alarm.as_ref().is_some_and(|(set, call)| *set == at && call.active()) {
            return;
        }
        let shared = Rc::clone(&self.shared);
        let call = reactor.call_at_named(self.course.options.name, at, move || shared.wake());
        silence(self.alarm.replace((at, call)));
    }
}

impl Future for Race {
    type Output = Outcome<Transport>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome<Transport>> {
        // Who arrived in the very moment in which the time was over has arrived.
        let end = match self.hear() {
            Some(outcome) => Some(outcome),
            None => self.advance().map(|error| Err(Failure::new(error))),
        };
        if let Some(outcome) = end {
            self.give_up();
            return Poll::Ready(outcome);
        }
        *self.shared.waker.borrow_mut() = Some(context.waker().clone());
        self.set_alarm();
        Poll::Pending
    }
}

impl Drop for Race {
    fn drop(&mut self) {
        self.give_up();
        silence(self.alarm.take());
    }
}

fn silence(alarm: Option<(Time, DelayedCall)>) {
    if let Some((_, call)) = alarm {
        // It has rung already, or it is cancelled.
        let _ = call.cancel();
    }
}

fn open(reactor: &Reactor, address: &Address, options: &ConnectOptions) -> io::Result<Socket> {
    match (address, options.bind_address) {
        (Address::Inet(address), Some(from)) => reactor.connect_tcp_from(from, *address),
        (Address::Inet(address), None) => reactor.connect_tcp(*address),
        (Address::Abstract(name), _) => reactor.connect_abstract(name),
        (Address::Unix(path), _) => reactor.connect_unix(path.as_deref().unwrap_or("".as_ref())),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Stands in for the protocol until the connection stands.
struct Runner {
    index: usize,
    shared: Rc<Shared>,
}

impl Protocol for Runner {
    fn connection_made(&mut self, transport: &Transport) {
        if self.shared.winner.get().is_some() {
            return transport.abort_connection();
        }
        self.shared.winner.set(Some(self.index));
        let factory = &self.shared.factory;
        let peer = transport.peer();
        let refused = match catch_unwind(AssertUnwindSafe(|| factory.build_protocol(&peer))) {
            Ok(Some(protocol)) => return transport.switch(protocol),
            Ok(None) => Failure::new(format!("{peer}: the factory wants no connection")),
            Err(payload) => Failure::from_panic(payload),
        };
        *self.shared.refused.borrow_mut() = Some(refused);
        self.shared.gone.borrow_mut().take();
        transport.abort_connection();
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {
        // Only a connection that is being closed is still a runner's.
    }
}

impl Shared {
    /// A connection that stood is gone: of interest if it is the winner's.
    fn lost(&self, index: usize, lost: &Lost) {
        if self.winner.get() == Some(index) {
            let gone = self.gone.borrow_mut().take();
            if let Some(gone) = gone {
                gone(lost);
            }
        }
    }
}
