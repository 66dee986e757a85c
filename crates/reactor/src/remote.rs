//! The mailbox, and `Remote`, the thread-safe door into a loop for calls of any kind. A wake-up is sent only to a loop that
//! sleeps; `postbox` is the protocol.

use std::cell::RefCell;
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use crate::deferred::Deferred;
use crate::driver::Alarm;
use crate::failure::Outcome;
use crate::locks;
use crate::name::Name;
use crate::reactor::{Core, Reactor, Ready};
use crate::slow::SlowCallback;
use crate::task::WakeHandle;
use crate::watchdog::Pulse;

mod postbox;

use postbox::Postbox;

type RemoteCall = Box<dyn FnOnce(&Reactor) + Send>;

enum Mail {
    Call(Name, RemoteCall),
    Wake(Arc<WakeHandle>),
}

/// What other threads put in and the loop takes out.
pub(crate) struct Mailbox {
    id: u64,
    postbox: Postbox<Mail>,
    alarm: Alarm,
    /// What runs on the loop, for whoever asks while it does not answer.
    pulse: Arc<Pulse>,
}

thread_local! {
    /// The reactors whose turn runs on this thread, innermost last. Wakers of the same thread skip the lock.
    static TURNING: RefCell<Vec<(u64, Weak<Core>)>> = const { RefCell::new(Vec::new()) };
    /// The reactors made on this thread: a blocking call to one of them could never be answered.
    static AT_HOME: RefCell<Vec<(u64, Weak<Core>)>> = const { RefCell::new(Vec::new()) };
}

/// Marks that a turn of this reactor runs on this thread, until dropped.
pub(crate) struct Here;

pub(crate) fn enter(core: &Rc<Core>) -> Here {
    TURNING.with(|turning| turning.borrow_mut().push((core.mailbox.id, Rc::downgrade(core))));
    Here
}

impl Drop for Here {
    fn drop(&mut self) {
        TURNING.with(|turning| turning.borrow_mut().pop());
    }
}

impl Mailbox {
    pub(crate) fn new(alarm: Alarm, pulse: Arc<Pulse>) -> Mailbox {
        static IDS: AtomicU64 = AtomicU64::new(1);
        Mailbox { id: IDS.fetch_add(1, Ordering::Relaxed), postbox: Postbox::new(), alarm, pulse }
    }

    pub(crate) fn set_home(&self, core: Weak<Core>) {
        AT_HOME.with(|home| {
            let mut home = home.borrow_mut();
            home.retain(|(_, core)| core.strong_count() > 0);
            home.push((self.id, core));
        });
    }

    fn is_home(&self) -> bool {
        let here = |home: &RefCell<Vec<(u64, Weak<Core>)>>| {
            home.borrow().iter().any(|(id, core)| *id == self.id && core.strong_count() > 0)
        };
        AT_HOME.try_with(here).unwrap_or(false)
    }

    pub(crate) fn set_sleeping(&self, sleeping: bool) {
        self.postbox.set_sleeping(sleeping);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.postbox.is_empty()
    }

    fn post(&self, mail: Mail) -> Result<(), Stopped> {
        if self.postbox.post(mail).map_err(|_| Stopped)? {
            self.alarm.ring();
        }
        Ok(())
    }

    /// Its loop, if that runs on this thread: what is woken then is ready work at once, and needs no mail.
    #[inline]
    pub(crate) fn loop_here(&self) -> Option<Rc<Core>> {
        // A thread that ends may wake from its own destructors, when the list is gone: it turns no loop then.
        let here = TURNING.try_with(|turning| {
            let turning = turning.borrow();
            turning.iter().rev().find(|(id, _)| *id == self.id).and_then(|(_, core)| core.upgrade())
        });
        here.ok().flatten()
    }

    /// Wakes a source by mail.
    pub(crate) fn wake(&self, handle: Arc<WakeHandle>) {
        // A loop that has ended wakes nobody.
        let _ = self.post(Mail::Wake(handle));
    }

    /// No more mail from now on; what was not read is dropped, which tells its senders.
    pub(crate) fn close(&self) {
        drop(self.postbox.close());
    }
}

impl Reactor {
    /// Reads the mail: wake-ups and calls from other threads.
    #[inline]
    pub(crate) fn drain_mail(&self) {
        if !self.0.mailbox.is_empty() {
            self.read_mail();
        }
    }

    fn read_mail(&self) {
        for mail in self.0.mailbox.postbox.take() {
            match mail {
                Mail::Wake(handle) => self.0.ready.borrow_mut().push_back(Ready::Wake(handle)),
                Mail::Call(name, call) => {
                    self.enter(name);
                    self.guard(name, || call(self));
                }
            }
        }
    }
}

/// The thread-safe door to a reactor: `Send`, `Sync`, cheap to clone. It does not keep the reactor alive.
///
/// ```
/// use ropewalk_reactor::Reactor;
/// let reactor = Reactor::new()?;
/// let remote = reactor.remote();
/// let thread = std::thread::spawn(move || {
///     let timers = remote.blocking_call_from_thread(|reactor| reactor.statistics().timers);
///     remote.call_from_thread(|reactor| reactor.stop()).expect("the loop runs");
///     timers
/// });
/// reactor.run()?;
/// assert_eq!(thread.join().expect("no panic").expect("the loop ran"), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Remote(Arc<Mailbox>);

/// The loop has ended: nobody will ever do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reactor has stopped")
    }
}

impl std::error::Error for Stopped {}

/// Why a blocking call from a thread has no value.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockingError {
    /// It was called on the loop's own thread, which would wait for itself for ever.
    OnTheLoop,
    /// The loop has ended, before or while the call waited.
    Stopped,
    /// The function panicked.
    Panicked,
}

impl fmt::Display for BlockingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BlockingError::OnTheLoop => "a blocking call on the loop's own thread would wait for itself",
            BlockingError::Stopped => "the reactor has stopped",
            BlockingError::Panicked => "the function panicked on the loop",
        })
    }
}

impl std::error::Error for BlockingError {}

impl Remote {
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Remote {
        Remote(mailbox)
    }

    /// The callback that runs on the loop at this moment, if one does. It asks nothing of the loop: also one that is held up is looked at.
    #[must_use]
    pub fn running_callback(&self) -> Option<Name> {
        self.0.pulse.running()
    }

    /// [`Reactor::slow_callbacks`], without asking the loop.
    #[must_use]
    pub fn slow_callbacks(&self) -> Vec<SlowCallback> {
        self.0.pulse.slow.now()
    }

    /// Whether this is the thread of its loop, which is not to wait for itself.
    pub(crate) fn is_home(&self) -> bool {
        self.0.is_home()
    }

    /// Runs `call` on the loop, soon. Calls of one thread keep their order.
    ///
    /// # Errors
    /// The loop has ended.
    #[track_caller]
    pub fn call_from_thread(&self, call: impl FnOnce(&Reactor) + Send + 'static) -> Result<(), Stopped> {
        self.call_named(Name::here(), call)
    }

    /// [`Remote::call_from_thread`] under a name.
    ///
    /// # Errors
    /// The loop has ended.
    pub fn call_named(
        &self,
        name: Name,
        call: impl FnOnce(&Reactor) + Send + 'static,
    ) -> Result<(), Stopped> {
        self.0.post(Mail::Call(name, Box::new(call)))
    }

    /// Runs `call` on the loop and waits for its value.
    ///
    /// # Errors
    /// On the loop's own thread, when the loop has ended, or when `call` panics.
    #[track_caller]
    pub fn blocking_call_from_thread<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Reactor) -> T + Send + 'static,
    ) -> Result<T, BlockingError> {
        self.ask(Name::here(), move |reactor, reply| {
            let value = reply.unless_panics(|| call(reactor));
            reply.give(Ok(value));
        })
    }

    /// Runs `call` on the loop, and waits for what comes of the deferred that it answers with. The end of the loop cancels
    /// that one.
    ///
    /// ```
    /// use ropewalk_reactor::{Reactor, deferred};
    /// use std::time::Duration;
    /// let reactor = Reactor::new()?;
    /// let remote = reactor.remote();
    /// let thread = std::thread::spawn(move || {
    ///     let later = remote.blocking_call_deferred(|reactor| {
    ///         let (firing, deferred) = ropewalk_reactor::Deferred::new(reactor);
    ///         reactor.call_later(Duration::from_millis(1), move || drop(firing.callback("a millisecond later")));
    ///         deferred
    ///     });
    ///     remote.call_from_thread(|reactor| reactor.stop()).expect("the loop runs");
    ///     later
    /// });
    /// reactor.run()?;
    /// let outcome = thread.join().expect("no panic").expect("the loop ran");
    /// assert_eq!(outcome.expect("it was fired with a value"), "a millisecond later");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// On the loop's own thread, when the loop has ended, or when `call` panics. That the deferred failed is no error of
    /// this kind: it is the outcome.
    #[track_caller]
    pub fn blocking_call_deferred<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Reactor) -> Deferred<T> + Send + 'static,
    ) -> Result<Outcome<T>, BlockingError> {
        let name = Name::here();
        self.ask(name, move |reactor, reply| {
            let deferred = reply.unless_panics(|| call(reactor));
            // A task, because the end of the loop lets go of it, wherever the deferred's firing is then.
            reactor.spawn_named(name, async move { reply.give(Ok(deferred.await)) });
        })
    }

    fn ask<T: Send + 'static>(
        &self,
        name: Name,
        call: impl FnOnce(&Reactor, Reply<T>) + Send + 'static,
    ) -> Result<T, BlockingError> {
        if self.is_home() {
            return Err(BlockingError::OnTheLoop);
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let call = move |reactor: &Reactor| call(reactor, Reply(sender));
        self.call_named(name, call).map_err(|Stopped| BlockingError::Stopped)?;
        receiver.recv().unwrap_or(Err(BlockingError::Stopped))
    }
}

/// The way back to a thread that waits. Dropped unused, it tells that nothing will come.
struct Reply<T>(mpsc::SyncSender<Result<T, BlockingError>>);

impl<T> Reply<T> {
    fn give(&self, value: Result<T, BlockingError>) {
        // The waiting thread cannot leave before it has the value.
        let _ = self.0.send(value);
    }

    /// What `call` makes. Of a panic the thread learns that there was one; the loop's log says which, as for any other call.
    fn unless_panics<R>(&self, call: impl FnOnce() -> R) -> R {
        let payload = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)) {
            Ok(value) => return value,
            Err(payload) => payload,
        };
        self.give(Err(BlockingError::Panicked));
        std::panic::resume_unwind(payload)
    }
}
