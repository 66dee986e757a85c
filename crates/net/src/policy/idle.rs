//! A timeout for connections on which nothing passes: Twisted's `TimeoutFactory`. A protocol that sets deadlines itself
//! ([`Transport::set_deadline`](crate::Transport::set_deadline)) does not need it.

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::io::{Address, Below, Layer};
use ropewalk_reactor::{DelayedCall, Key, Reactor, Readiness, Time, WeakReactor};

use super::Policy;

/// Breaks connections off on which nothing has passed, in either direction, for so long. The protocol is told
/// [`Lost::Broken`](crate::Lost::Broken) with [`io::ErrorKind::TimedOut`].
#[derive(Clone, Copy, Debug)]
pub struct IdleTimeout {
    limit: Duration,
}

impl IdleTimeout {
    /// After so long.
    #[must_use]
    pub fn new(limit: Duration) -> IdleTimeout {
        IdleTimeout { limit }
    }
}

impl Policy for IdleTimeout {
    fn layer(&self, _: &Address) -> Option<Box<dyn Layer>> {
        let clock = Clock { limit: self.limit, last: Cell::new(Time::START), over: Cell::new(false) };
        Some(Box::new(Watched { clock: Rc::new(clock), reactor: None, timer: Rc::default() }))
    }
}

struct Clock {
    limit: Duration,
    /// When something passed last. The timer looks at it when it comes; passing bytes only write it.
    last: Cell<Time>,
    over: Cell<bool>,
}

type Timer = Rc<Cell<Option<DelayedCall>>>;

struct Watched {
    clock: Rc<Clock>,
    reactor: Option<Reactor>,
    timer: Timer,
}

impl Watched {
    fn passed(&self, outcome: io::Result<usize>) -> io::Result<usize> {
        if let (Ok(1..), Some(reactor)) = (&outcome, &self.reactor) {
            self.clock.last.set(reactor.now());
        }
        outcome
    }

    fn look(&self) -> io::Result<()> {
        if self.clock.over.get() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

/// Comes by when the connection would be idle for too long, unless something passes.
fn watch(reactor: &Reactor, key: Key, clock: &Rc<Clock>, timer: &Timer) {
    let (weak, clock_then, timer_then): (WeakReactor, _, _) =
        (reactor.downgrade(), Rc::clone(clock), Rc::downgrade(timer));
    let at = clock.last.get() + clock.limit;
    timer.set(Some(reactor.call_at(at, move || {
        let (Some(reactor), Some(timer)) = (weak.upgrade(), timer_then.upgrade()) else { return };
        if reactor.now() < clock_then.last.get() + clock_then.limit {
            return watch(&reactor, key, &clock_then, &timer);
        }
        clock_then.over.set(true);
        reactor.ready_again(key, Readiness::READABLE.and(Readiness::WRITABLE));
    })));
}

impl Layer for Watched {
    fn attached(&mut self, reactor: &Reactor, key: Key) {
        self.clock.last.set(reactor.now());
        watch(reactor, key, &self.clock, &self.timer);
        self.reactor = Some(reactor.clone());
    }

    fn read(&mut self, below: &Below, into: &mut [u8]) -> io::Result<usize> {
        self.look()?;
        self.passed(below.read(into))
    }

    fn write(&mut self, below: &Below, from: &[u8]) -> io::Result<usize> {
        self.look()?;
        self.passed(below.write(from))
    }

    /// Called at the end of every event: also where nobody reads.
    fn flush(&mut self, _: &Below) -> io::Result<()> {
        self.look()
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            // It may have fired.
            let _ = timer.cancel();
        }
    }
}
