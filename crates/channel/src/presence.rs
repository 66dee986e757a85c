//! Who looks at a channel now: a count, and the names of those who gave one.
//!
//! Not a listener: who is here need not be told of events. The faces enter for each of their viewers; a program may watch.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::{Rc, Weak};

/// Different names that one channel remembers; beyond, those who come are counted and not named.
const NAMES_MAX: usize = 10_000;

/// Somebody came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PresenceChange {
    /// This one is here, under a name if it gave one. One name may be here more than once.
    Joined(Option<Rc<str>>),
    /// It has left.
    Left(Option<Rc<str>>),
}

type Watcher = Rc<dyn Fn(&PresenceChange)>;
type WeakWatcher = Weak<dyn Fn(&PresenceChange)>;

#[derive(Default)]
pub(crate) struct Presence {
    count: Cell<usize>,
    names: RefCell<BTreeMap<Rc<str>, usize>>,
    watchers: RefCell<Vec<WeakWatcher>>,
    /// The one that all share who gave no name.
    nameless: RefCell<Weak<Seat>>,
}

/// What somebody who is here holds.
struct Seat {
    presence: Rc<Presence>,
    name: Option<Rc<str>>,
}

impl Presence {
    pub(crate) fn enter(self: &Rc<Self>, name: Option<&str>) -> Attendance {
        let name = name.and_then(|name| self.remember(name));
        self.count.set(self.count.get() + 1);
        self.tell(&PresenceChange::Joined(name.clone()));
        Attendance(match name {
            None => self.nameless(),
            name => Rc::new(Seat { presence: Rc::clone(self), name }),
        })
    }

    fn nameless(self: &Rc<Self>) -> Rc<Seat> {
        let mut nameless = self.nameless.borrow_mut();
        nameless.upgrade().unwrap_or_else(|| {
            let seat = Rc::new(Seat { presence: Rc::clone(self), name: None });
            *nameless = Rc::downgrade(&seat);
            seat
        })
    }

    fn remember(&self, name: &str) -> Option<Rc<str>> {
        let mut names = self.names.borrow_mut();
        let known = names.get_key_value(name).map(|(known, _)| Rc::clone(known));
        if known.is_none() && names.len() >= NAMES_MAX {
            return None;
        }
        let name = known.unwrap_or_else(|| name.into());
        *names.entry(Rc::clone(&name)).or_default() += 1;
        Some(name)
    }

    fn leave(&self, name: Option<&Rc<str>>) {
        self.count.set(self.count.get() - 1);
        if let Some(name) = name {
            let mut names = self.names.borrow_mut();
            let left = names.get_mut(name).map(|times| {
                *times -= 1;
                *times
            });
            if left == Some(0) {
                names.remove(name);
            }
        }
        self.tell(&PresenceChange::Left(name.cloned()));
    }

    pub(crate) fn watch(&self, watcher: impl Fn(&PresenceChange) + 'static) -> PresenceWatch {
        let watcher: Watcher = Rc::new(watcher);
        let mut watchers = self.watchers.borrow_mut();
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.push(Rc::downgrade(&watcher));
        PresenceWatch { _watcher: watcher }
    }

    /// Nothing is borrowed while a watcher runs: it may enter, leave and watch.
    fn tell(&self, change: &PresenceChange) {
        if self.watchers.borrow().is_empty() {
            return;
        }
        let watchers: Vec<Watcher> = self.watchers.borrow().iter().filter_map(Weak::upgrade).collect();
        for watcher in watchers {
            watcher(change);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.count.get()
    }

    pub(crate) fn names(&self) -> Vec<(Rc<str>, usize)> {
        self.names.borrow().iter().map(|(name, times)| (Rc::clone(name), *times)).collect()
    }
}

/// Being here; dropping it is leaving. It is a pointer, because every idle viewer has one.
#[must_use = "dropping it is leaving"]
pub struct Attendance(Rc<Seat>);

impl Attendance {
    /// The name that was given.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.0.presence.leave(self.0.name.as_ref());
    }
}

impl fmt::Debug for Attendance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attendance").field("name", &self.0.name).finish_non_exhaustive()
    }
}

/// Keeps a watcher of presence; dropping it ends the watch.
#[must_use = "dropping it ends the watch"]
pub struct PresenceWatch {
    _watcher: Watcher,
}

impl fmt::Debug for PresenceWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresenceWatch").finish_non_exhaustive()
    }
}
