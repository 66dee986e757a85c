//! `Reactor`: the handle that everything else is given. A cheap clone, never `Send`; what another thread may do is `Remote`.
//!
//! This file holds the state and the plain calls. The turn of the loop is in `turn`, timers in `timer`, tasks in `task`,
//! threads in `pool`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, SystemTime};

use crate::driver::{Driver, ListenOptions, RealDriver};
use crate::io::{DatagramSocket, Listener, Socket};
use crate::name::Name;
use crate::part::Parts;
use crate::pool::Pools;
use crate::remote::{Mailbox, Remote};
use crate::signal::Signals;
use crate::source::{Event, Key, Readiness, Source, Sources};
use crate::task::WakeHandle;
use crate::time::Time;
use crate::timer::Due;
use crate::trigger::Triggers;
use crate::turn::Account;
use crate::watchdog::{Pulse, Watchdog};
use crate::wheel::{TimerKey, Wheel};

/// Bytes of the one buffer into which the loop reads.
pub const READ_BUFFER_BYTES: usize = 64 * 1024;

/// A handle to one event loop.
///
/// ```
/// use ropewalk_reactor::Reactor;
/// let reactor = Reactor::new()?;
/// let handle = reactor.clone();
/// reactor.call_soon(move || handle.stop());
/// reactor.run()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Reactor(pub(crate) Rc<Core>);

/// A handle that does not keep the reactor alive.
#[derive(Clone)]
pub struct WeakReactor(Weak<Core>);

impl WeakReactor {
    /// The reactor, if it is still there.
    #[must_use]
    pub fn upgrade(&self) -> Option<Reactor> {
        self.0.upgrade().map(Reactor)
    }
}

/// Something that waits for its turn.
pub(crate) enum Ready {
    Call(Name, Box<dyn FnOnce()>),
    Wake(Arc<WakeHandle>),
    Source(Key),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    New,
    Running,
    Stopping,
    Stopped,
}

pub(crate) struct Core {
    pub(crate) driver: Driver,
    pub(crate) now: Cell<Time>,
    pub(crate) wheel: RefCell<Wheel<Due>>,
    pub(crate) ready: RefCell<VecDeque<Ready>>,
    pub(crate) sources: RefCell<Sources>,
    pub(crate) dirty: RefCell<Vec<Key>>,
    pub(crate) again: RefCell<Vec<(Key, Readiness)>>,
    pub(crate) events: RefCell<Vec<Event>>,
    pub(crate) read_buffer: Cell<Option<Box<[u8]>>>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) beat: Cell<u32>,
    pub(crate) phase: Cell<Phase>,
    /// Whether `run` was called: a reactor may be stopped before it runs.
    pub(crate) ran: Cell<bool>,
    pub(crate) triggers: RefCell<Triggers>,
    pub(crate) signals: Signals,
    pub(crate) pools: RefCell<Pools>,
    pub(crate) watchdog: RefCell<Option<Watchdog>>,
    pub(crate) watch: Cell<Option<Duration>>,
    pub(crate) account: Account,
    pub(crate) parts: Parts,
}

/// How long a callback may hold the loop before the watchdog names it.
pub const WATCHDOG_THRESHOLD: Duration = Duration::from_millis(100);

impl Reactor {
    /// A reactor over the operating system, with the watchdog on.
    ///
    /// # Errors
    /// When the system gives no descriptor for the event queue or its wake-up.
    pub fn new() -> io::Result<Reactor> {
        let reactor = Reactor::with_driver(Driver::Real(RealDriver::new()?));
        reactor.0.watch.set(Some(WATCHDOG_THRESHOLD));
        Ok(reactor)
    }

    pub(crate) fn with_driver(driver: Driver) -> Reactor {
        let now = driver.now();
        let pulse: Arc<Pulse> = Arc::default();
        let mailbox = Arc::new(Mailbox::new(driver.alarm(), Arc::clone(&pulse)));
        let reactor = Reactor(Rc::new(Core {
            driver,
            now: Cell::new(now),
            wheel: RefCell::new(Wheel::new()),
            ready: RefCell::default(),
            sources: RefCell::new(Sources::new()),
            dirty: RefCell::default(),
            again: RefCell::default(),
            events: RefCell::default(),
            read_buffer: Cell::new(Some(vec![0; READ_BUFFER_BYTES].into_boxed_slice())),
            mailbox,
            pulse,
            beat: Cell::new(0),
            phase: Cell::new(Phase::New),
            ran: Cell::new(false),
            triggers: RefCell::default(),
            signals: Signals::default(),
            pools: RefCell::default(),
            watchdog: RefCell::new(None),
            watch: Cell::new(None),
            account: Account::default(),
            parts: Parts::default(),
        }));
        let core = Rc::downgrade(&reactor.0);
        reactor.0.mailbox.set_home(core);
        reactor
    }

    /// The reactor's time, taken once per turn after the sleep. Before the loop runs there are no turns: then it is the
    /// clock's own, so that a timer made long after the reactor does not come early.
    #[must_use]
    #[inline]
    pub fn now(&self) -> Time {
        if self.0.phase.get() == Phase::New { self.clock() } else { self.0.now.get() }
    }

    /// The clock's time at this moment, where a look at it is worth its price.
    #[inline(never)]
    pub(crate) fn clock(&self) -> Time {
        self.0.driver.now()
    }

    /// The wall clock, through the driver: a simulation has its own.
    #[must_use]
    pub fn wall_clock(&self) -> SystemTime {
        self.0.driver.wall()
    }

    /// A random number that is not for secrets: jitter, seeds, choices. A simulation's seed decides it.
    #[must_use]
    pub fn random(&self) -> u64 {
        self.0.driver.random()
    }

    /// A handle that does not keep the reactor alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakReactor {
        WeakReactor(Rc::downgrade(&self.0))
    }

    /// The thread-safe door to this reactor.
    #[must_use]
    pub fn remote(&self) -> Remote {
        Remote::new(Arc::clone(&self.0.mailbox))
    }

    /// Runs `call` in this turn's ready work or the next one's. Never before this returns.
    #[track_caller]
    pub fn call_soon(&self, call: impl FnOnce() + 'static) {
        self.call_soon_named(Name::here(), call);
    }

    /// [`Reactor::call_soon`] under a name.
    pub fn call_soon_named(&self, name: Name, call: impl FnOnce() + 'static) {
        self.0.ready.borrow_mut().push_back(Ready::Call(name, Box::new(call)));
    }

    /// How long a callback may hold the loop before the watchdog names it; `None` turns the watchdog off. Before `run`.
    pub fn set_watchdog(&self, threshold: Option<Duration>) {
        self.0.watch.set(threshold);
    }

    // What transports, listeners and other sources are built from.

    /// Adds a source; the loop calls it under the key that it is made with.
    pub fn add_source(&self, make: impl FnOnce(Key) -> Rc<dyn Source>) -> Key {
        self.0.sources.borrow_mut().insert(make)
    }

    /// Takes a source out. Its key fits nothing from now on, also in events that were already fetched.
    pub fn remove_source(&self, key: Key) {
        let removed = self.0.sources.borrow_mut().remove(key);
        drop(removed);
    }

    /// All sources, for a floor above that looks for those of its own type ([`Source::any`]). Linear.
    #[must_use]
    pub fn sources(&self) -> Vec<Rc<dyn Source>> {
        let all = self.0.sources.borrow().all();
        all.into_iter().map(|(_, source)| source).collect()
    }

    /// Asks for [`Source::flush`] at the end of this turn. The source asks once.
    #[inline]
    pub fn flush_later(&self, key: Key) {
        self.0.dirty.borrow_mut().push(key);
    }

    /// How many sources have asked for [`Source::flush`] in this turn.
    #[must_use]
    pub fn flushes_waiting(&self) -> usize {
        self.0.dirty.borrow().len()
    }

    /// Asks for [`Source::ready`] in the next turn, which will not sleep: the budget was spent before the work was done. Asked for
    /// more than once, it is called once, with all that was asked for; but [`Readiness::NONE`] is a call of its own each time.
    pub fn ready_again(&self, key: Key, readiness: Readiness) {
        if readiness == Readiness::NONE || self.0.sources.borrow_mut().mark(key, readiness) {
            self.0.again.borrow_mut().push((key, readiness));
        }
    }

    /// Asks for [`Source::woken`] among the ready work.
    pub fn wake(&self, key: Key) {
        self.0.ready.borrow_mut().push_back(Ready::Source(key));
    }

    /// Whether callbacks wait that may still add to what is to be written.
    #[must_use]
    pub fn has_ready_work(&self) -> bool {
        !self.0.ready.borrow().is_empty()
    }

    /// A waker that calls [`Source::woken`], usable from any thread.
    #[must_use]
    pub fn waker(&self, key: Key) -> Waker {
        Waker::from(Arc::new(WakeHandle::new(key, Arc::clone(&self.0.mailbox))))
    }

    /// The one buffer into which everything is read. Take it, read, give it back.
    #[must_use]
    pub fn take_read_buffer(&self) -> Box<[u8]> {
        self.0.read_buffer.take().unwrap_or_else(|| vec![0; READ_BUFFER_BYTES].into_boxed_slice())
    }

    /// Gives the read buffer back.
    pub fn put_read_buffer(&self, buffer: Box<[u8]>) {
        self.0.read_buffer.set(Some(buffer));
    }

    /// Gives a source a deadline: at it, [`Source::due`] is called.
    pub fn insert_deadline(&self, at: Time, key: Key) -> Deadline {
        Deadline(self.0.wheel.borrow_mut().insert(at.as_millis_ceil(), Due::Source(key)))
    }

    /// Moves a deadline. Later costs one store. Answers false if it has passed or was removed: make a new one.
    pub fn reset_deadline(&self, deadline: Deadline, at: Time) -> bool {
        self.0.wheel.borrow_mut().reset(deadline.0, at.as_millis_ceil())
    }

    /// When a deadline is; `None` if it has passed or was removed.
    #[must_use]
    pub fn deadline_time(&self, deadline: Deadline) -> Option<Time> {
        let tick = self.0.wheel.borrow().deadline(deadline.0)?;
        Some(Time::from_nanos(tick.saturating_mul(1_000_000)))
    }

    /// Removes a deadline.
    pub fn remove_deadline(&self, deadline: Deadline) {
        self.0.wheel.borrow_mut().cancel(deadline.0);
    }

    /// Registers a socket under a key: readable and writable, once and for good, edge-triggered.
    pub fn register_socket(&self, socket: &mut Socket, key: Key) -> io::Result<()> {
        self.0.driver.register_socket(socket, key)?;
        if matches!(socket, Socket::Pipe(_)) {
            // A file is ready without ever saying so, and a named pipe does not tell of a writer that had gone before.
            self.ready_again(key, Readiness::READABLE.and(Readiness::READ_CLOSED));
        }
        Ok(())
    }

    /// Registers a listener under a key.
    pub fn register_listener(&self, listener: &mut Listener, key: Key) -> io::Result<()> {
        self.0.driver.register_listener(listener, key)?;
        if matches!(listener, Listener::Pipe(_)) {
            self.ready_again(key, Readiness::READABLE);
        }
        Ok(())
    }

    /// Stops watching a socket before it is closed: needed where its description is shared and so outlives it, for the system forgets
    /// only what nobody has open.
    pub fn deregister_socket(&self, socket: &mut Socket) {
        self.0.driver.deregister_socket(socket);
    }

    /// The same for a listener.
    pub fn deregister_listener(&self, listener: &mut Listener) {
        self.0.driver.deregister_listener(listener);
    }

    pub(crate) fn register_foreign(
        &self,
        fd: BorrowedFd<'_>,
        key: Key,
        interest: Readiness,
        again: bool,
    ) -> io::Result<()> {
        self.0.driver.register_foreign(fd, key, interest, again)
    }

    /// A listening TCP socket.
    pub fn listen_tcp(&self, address: SocketAddr, options: &ListenOptions) -> io::Result<Listener> {
        self.0.driver.listen_tcp(address, options)
    }

    /// A listening UNIX socket.
    pub fn listen_unix(&self, path: &Path, options: &ListenOptions) -> io::Result<Listener> {
        self.0.driver.listen_unix(path, options)
    }

    /// A listening UNIX socket with a name outside the file system ([`Address::Abstract`]); a name has 107 bytes at most.
    ///
    /// [`Address::Abstract`]: crate::io::Address::Abstract
    pub fn listen_abstract(&self, name: &[u8], options: &ListenOptions) -> io::Result<Listener> {
        self.0.driver.listen_abstract(name, options)
    }

    /// A UNIX socket that begins to connect to a name outside the file system.
    pub fn connect_abstract(&self, name: &[u8]) -> io::Result<Socket> {
        self.0.driver.connect_abstract(name)
    }

    /// A UDP socket. `shared` lets several sockets have the same port, as those do that hear one multicast group.
    pub fn bind_udp(&self, address: SocketAddr, shared: bool) -> io::Result<DatagramSocket> {
        self.0.driver.bind_udp(address, shared)
    }

    /// Registers a datagram socket under a key: readable, edge-triggered.
    pub fn register_datagrams(&self, socket: &mut DatagramSocket, key: Key) -> io::Result<()> {
        self.0.driver.register_datagrams(socket, key)
    }

    /// A TCP socket that begins to connect.
    pub fn connect_tcp(&self, address: SocketAddr) -> io::Result<Socket> {
        self.0.driver.connect_tcp(None, address)
    }

    /// A UNIX socket that begins to connect.
    pub fn connect_unix(&self, path: &Path) -> io::Result<Socket> {
        self.0.driver.connect_unix(path)
    }
}

/// A source's deadline; see [`Reactor::insert_deadline`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(TimerKey);

impl Deadline {
    /// No deadline: resetting it answers false, removing it does nothing.
    pub const NONE: Deadline = Deadline(TimerKey::NONE);
}
