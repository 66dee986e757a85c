//! Foreign descriptors: a program's own socket, pipe or inotify queue, watched by the loop. Level-triggered towards the user,
//! as `add_handler` is in Tornado: while the descriptor is ready the function is called, once per turn.
//!
//! mio is edge-triggered, so each call asks the system again (one `epoll_ctl`) what is still true. Transports do not come here.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use crate::name::Name;
use crate::reactor::Reactor;
use crate::source::{Key, Readiness, Source};

type Callback = Box<dyn FnMut(Readiness)>;

struct Foreign {
    reactor: Reactor,
    key: Key,
    name: Name,
    fd: OwnedFd,
    interest: Cell<Readiness>,
    /// Whether the system watches it: not while it is paused, for the end of a peer is reported to whoever watches at all.
    watched: Cell<bool>,
    callback: RefCell<Option<Callback>>,
    removed: Cell<bool>,
}

/// A foreign descriptor that the loop watches. Dropping the handle does not remove it.
#[derive(Clone)]
pub struct Handler(Rc<Foreign>);

impl Source for Foreign {
    fn name(&self) -> Name {
        self.name
    }

    fn kind(&self) -> &'static str {
        "descriptor"
    }

    fn ready(self: Rc<Self>, readiness: Readiness) {
        // The event may be older than an update of this very turn.
        let ended = Readiness::READ_CLOSED.and(Readiness::WRITE_CLOSED).and(Readiness::ERROR);
        let interest = self.interest.get();
        if interest == Readiness::NONE || !readiness.has(interest.and(ended)) {
            return;
        }
        let Some(mut callback) = self.callback.borrow_mut().take() else { return };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| callback(readiness)));
        if !self.removed.get() {
            *self.callback.borrow_mut() = Some(callback);
            // Asked again, the system reports at once what is still true.
            if let Err(error) = self.watch() {
                tracing::error!(handler = %self.name, "a watched descriptor is lost: {error}");
            }
        }
        if let Err(payload) = outcome {
            std::panic::resume_unwind(payload);
        }
    }

    fn abandoned(self: Rc<Self>) {
        self.removed.set(true);
        self.unwatch();
        let callback = self.callback.borrow_mut().take();
        drop(callback);
    }
}

impl Foreign {
    /// Has the system watch for what is wanted now, and report it even if it was reported before.
    fn watch(&self) -> io::Result<()> {
        if self.interest.get() == Readiness::NONE {
            self.unwatch();
            return Ok(());
        }
        let again = self.watched.replace(true);
        self.reactor.register_foreign(self.fd.as_fd(), self.key, self.interest.get(), again)
    }

    fn unwatch(&self) {
        if self.watched.replace(false) {
            // The only way to fail is that it is not registered, which is what is wanted.
            let _ = self.reactor.0.driver.deregister_foreign(self.fd.as_fd());
        }
    }
}

impl Reactor {
    /// Calls `callback` while the descriptor is ready for what `interest` says (readable, writable or both). The descriptor
    /// is duplicated, so the caller may close its own.
    ///
    /// # Errors
    /// The system cannot watch it (a regular file, for one), descriptors ran out, or the reactor is simulated.
    #[track_caller]
    pub fn add_handler(
        &self,
        fd: impl AsFd,
        interest: Readiness,
        callback: impl FnMut(Readiness) + 'static,
    ) -> io::Result<Handler> {
        let fd = fd.as_fd().try_clone_to_owned()?;
        let name = Name::here();
        let mut made = None;
        let key = self.add_source(|key| {
            let foreign = Rc::new(Foreign {
                reactor: self.clone(),
                key,
                name,
                fd,
                interest: Cell::new(interest),
                watched: Cell::new(false),
                callback: RefCell::new(Some(Box::new(callback))),
                removed: Cell::new(false),
            });
            made = Some(Rc::clone(&foreign));
            foreign
        });
        let handler = Handler(made.expect("add_source calls its argument"));
        if let Err(error) = handler.0.watch() {
            self.remove_source(key);
            return Err(error);
        }
        Ok(handler)
    }
}

impl Handler {
    /// Changes what it waits for; [`Readiness::NONE`] pauses it.
    ///
    /// # Errors
    /// The descriptor is no longer watched.
    pub fn update(&self, interest: Readiness) -> io::Result<()> {
        if self.0.removed.get() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the handler was removed"));
        }
        self.0.interest.set(interest);
        self.0.watch()
    }

    /// Stops watching, at once: also an event of this very turn is no longer handed over.
    pub fn remove(&self) {
        if self.0.removed.replace(true) {
            return;
        }
        let callback = self.0.callback.borrow_mut().take();
        drop(callback);
        self.0.unwatch();
        self.0.reactor.remove_source(self.0.key);
    }
}

impl Reactor {
    /// [`Handler::update`], by Tornado's name.
    ///
    /// # Errors
    /// The descriptor is no longer watched.
    pub fn update_handler(&self, handler: &Handler, interest: Readiness) -> io::Result<()> {
        handler.update(interest)
    }

    /// [`Handler::remove`], by Tornado's name.
    pub fn remove_handler(&self, handler: &Handler) {
        handler.remove();
    }
}
