//! State across restarts: values that services declare, saved together, in one file, in one step. Loaded before services start; saved
//! when the program stops, when it is told to, every half minute if anything has changed, and when somebody waits for it
//! ([`State::commit`]). The form of the file is in `file`. Big tables are not for here: each save writes everything.

mod file;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::{Deferred, Failure, Firing, Reactor, deferred};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::file::{Contents, Saved};
use crate::service::StartError;

/// How often what has changed is saved without being asked.
pub(crate) const SAVE_EVERY: Duration = Duration::from_secs(30);

/// A value that outlives the program. Its default is what it begins with.
///
/// ```
/// use ropewalk_app::Persist;
/// use serde::{Deserialize, Serialize};
/// use serde_json::Value;
///
/// #[derive(Default, Deserialize, Serialize)]
/// struct Visits {
///     count: u64,
/// }
/// impl Persist for Visits {
///     const VERSION: u32 = 2;
///     /// Version 1 was the number alone.
///     fn migrate(version: u32, value: Value) -> Result<Visits, String> {
///         match (version, value.as_u64()) {
///             (1, Some(count)) => Ok(Visits { count }),
///             _ => Err("it is no number".to_owned()),
///         }
///     }
/// }
/// # assert_eq!(Visits::migrate(1, 7.into()).unwrap().count, 7);
/// ```
pub trait Persist: Serialize + DeserializeOwned + Default + 'static {
    /// The version of the form that this type has now.
    const VERSION: u32 = 1;

    /// Makes it of a value that an older version has saved.
    ///
    /// # Errors
    /// What is wrong with the value. Then the program does not start, and the file stays as it is.
    fn migrate(version: u32, value: Value) -> Result<Self, String> {
        let _ = value;
        Err(format!("version {version} is not known any more"))
    }
}

/// A handle to a value that outlives the program. Clones are the same.
pub struct State<T: Persist> {
    slot: Rc<Slot<T>>,
    states: States,
}

impl<T: Persist> Clone for State<T> {
    fn clone(&self) -> Self {
        State { slot: Rc::clone(&self.slot), states: self.states.clone() }
    }
}

impl<T: Persist> State<T> {
    /// Looks at the value. Before services start it is the default.
    pub fn with<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.slot.value.borrow())
    }

    /// Changes the value. It is saved within half a minute, or when the program stops; see [`State::commit`].
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.slot.value.borrow_mut());
        self.states.0.dirty.set(true);
        result
    }

    /// Fires when the value as it is now is safe on disk: before that, no answer that tells of it should leave. Who commits while
    /// others wait is written with them. Without a run directory it fires at once, for then nothing outlives the program.
    pub fn commit(&self) -> Deferred<()> {
        self.states.commit()
    }
}

struct Slot<T> {
    name: String,
    value: RefCell<T>,
}

/// A slot whose type is not known.
trait Kept {
    fn name(&self) -> &str;
    fn save(&self) -> Saved;
    fn load(&self, saved: &Saved) -> Result<(), String>;
}

impl<T: Persist> Kept for Slot<T> {
    fn name(&self) -> &str {
        &self.name
    }

    fn save(&self) -> Saved {
        let value = serde_json::to_value(&*self.value.borrow());
        // A type that cannot be JSON is a mistake of the program, and is told at its first save.
        let value = value.unwrap_or_else(|error| {
            tracing::error!(state = %self.name, "it cannot be saved: {error}");
            Value::Null
        });
        Saved { version: T::VERSION, value }
    }

    fn load(&self, saved: &Saved) -> Result<(), String> {
        let value = saved.value.clone();
        let read = match saved.version {
            version if version == T::VERSION => {
                serde_json::from_value(value).map_err(|error| error.to_string())
            }
            version if version > T::VERSION => Err(format!(
                "a newer program has saved it (version {version}; this one knows {})",
                T::VERSION
            )),
            version => T::migrate(version, value),
        };
        *self.value.borrow_mut() = read.map_err(|what| format!("{}: {what}", self.name))?;
        Ok(())
    }
}

/// All values of a program. Clones are the same.
#[derive(Clone)]
pub(crate) struct States(Rc<Inner>);

struct Inner {
    reactor: Reactor,
    program: String,
    /// Where it is saved; nothing outlives a program without a place.
    path: Option<PathBuf>,
    slots: RefCell<Vec<Rc<dyn Kept>>>,
    /// Values of the file that nobody has declared: kept, for who declares them again.
    strangers: RefCell<BTreeMap<String, Saved>>,
    dirty: Cell<bool>,
    /// Loaded, and not handed over: before and after that nothing is written.
    open: Cell<bool>,
    writing: Cell<bool>,
    /// Who waits for the next write.
    waiting: RefCell<Vec<Firing<()>>>,
    saves: Cell<u64>,
}

impl States {
    pub(crate) fn new(reactor: &Reactor, program: &str, path: Option<PathBuf>) -> States {
        States(Rc::new(Inner {
            reactor: reactor.clone(),
            program: program.to_owned(),
            path,
            slots: RefCell::default(),
            strangers: RefCell::default(),
            dirty: Cell::new(false),
            open: Cell::new(false),
            writing: Cell::new(false),
            waiting: RefCell::default(),
            saves: Cell::new(0),
        }))
    }

    pub(crate) fn declare<T: Persist>(&self, name: String) -> Result<State<T>, StartError> {
        if self.0.slots.borrow().iter().any(|slot| slot.name() == name) {
            return Err(StartError::new(format!(
                "two services call their state {name}; give one another name"
            )));
        }
        let slot = Rc::new(Slot { name, value: RefCell::new(T::default()) });
        if let Some(saved) = self.0.strangers.borrow_mut().remove(&slot.name) {
            slot.load(&saved).map_err(StartError::new)?;
        }
        self.0.slots.borrow_mut().push(Rc::clone(&slot) as Rc<dyn Kept>);
        Ok(State { slot, states: self.clone() })
    }

    /// Reads what was saved: of the file that was named, or of the last run.
    pub(crate) fn load(&self, named: Option<&Path>) -> Result<(), StartError> {
        let refused = |what: String| {
            StartError::new(format!(
                "the state cannot be read: {what}; it is left as it is: move it away to begin anew"
            ))
        };
        let contents = match (named, &self.0.path) {
            (Some(path), _) => match file::read(path, &self.0.program).map_err(refused)? {
                Some(contents) => Some(contents),
                None => {
                    return Err(StartError::new(format!("{}: there is no such state file", path.display())));
                }
            },
            (None, Some(path)) => file::read(path, &self.0.program).map_err(refused)?,
            (None, None) => None,
        };
        let mut values = contents.map(|contents| contents.values).unwrap_or_default();
        for slot in self.0.slots.borrow().iter() {
            if let Some(saved) = values.remove(slot.name()) {
                slot.load(&saved).map_err(refused)?;
            }
        }
        *self.0.strangers.borrow_mut() = values;
        self.0.open.set(true);
        if let (Some(_), Some(path)) = (named, &self.0.path)
            && path.exists()
        {
            // What was there is not what was asked for; it is not thrown away either.
            std::fs::copy(path, path.with_extension("state.before")).map_err(StartError::new)?;
        }
        // Somebody may have committed before there was anything to commit to.
        self.write();
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let mut values = self.0.strangers.borrow().clone();
        for slot in self.0.slots.borrow().iter() {
            values.insert(slot.name().to_owned(), slot.save());
        }
        file::encode(&Contents { program: self.0.program.clone(), values })
    }

    /// See [`State::commit`].
    pub(crate) fn commit(&self) -> Deferred<()> {
        if self.0.path.is_none() {
            return deferred::succeed(&self.0.reactor, ());
        }
        let (firing, deferred) = Deferred::new(&self.0.reactor);
        self.0.waiting.borrow_mut().push(firing);
        self.write();
        deferred
    }

    /// Writes for all who wait, unless a write is under way: its end begins the next.
    fn write(&self) {
        let Some(path) = self.0.path.clone() else { return };
        if !self.0.open.get() || self.0.waiting.borrow().is_empty() || self.0.writing.replace(true) {
            return;
        }
        let (states, reactor) = (self.clone(), &self.0.reactor);
        // Not at once: whoever commits in the same turn is written with this one.
        reactor.call_soon(move || {
            let waiting = std::mem::take(&mut *states.0.waiting.borrow_mut());
            let bytes = states.encode();
            states.0.dirty.set(false);
            let written = states.0.reactor.defer_to_thread(move || file::replace(&path, &bytes));
            let after = states.clone();
            written
                .add_both(move |outcome| {
                    after.0.writing.set(false);
                    after.written(outcome, &waiting);
                    after.write();
                })
                .detach();
        });
    }

    fn written(&self, outcome: Result<io::Result<()>, Failure>, waiting: &[Firing<()>]) {
        let failure = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Failure::new(error)),
            Err(failure) => Some(failure),
        };
        match &failure {
            None => self.0.saves.set(self.0.saves.get() + 1),
            Some(failure) => {
                self.0.dirty.set(true);
                tracing::error!("the state is not saved: {failure}");
            }
        }
        for firing in waiting {
            // Who does not wait any more does not mind.
            let _ = match &failure {
                None => firing.callback(()),
                Some(failure) => firing.errback(failure.clone()),
            };
        }
    }

    /// Saves what has changed since the last time.
    pub(crate) fn save_changes(&self) {
        if self.0.dirty.get() && self.0.path.is_some() {
            // A failure is in the log already, and the next half minute tries again.
            self.commit().add_errback(|_| ()).detach();
        }
    }

    /// Saves, and writes nothing from then on: the program has stopped, or another process has the file.
    pub(crate) async fn close(&self) -> Result<(), Failure> {
        let saved = if self.0.open.get() && !self.is_empty() { self.commit().await } else { Ok(()) };
        self.0.open.set(false);
        saved
    }

    /// Whether there is nothing that could be saved.
    fn is_empty(&self) -> bool {
        self.0.slots.borrow().is_empty() && self.0.strangers.borrow().is_empty()
    }

    /// The other process does not have it after all.
    pub(crate) fn reopen(&self) {
        self.0.open.set(true);
        self.write();
    }

    /// Keeps the state of a clean stop beside the last good one.
    pub(crate) fn keep_clean(&self) {
        if let Some(path) = &self.0.path
            && !self.is_empty()
            && let Ok(bytes) = std::fs::read(path)
            && let Err(error) = file::replace(&path.with_extension("state.clean"), &bytes)
        {
            tracing::error!("the state of the clean stop is not kept: {error}");
        }
    }

    /// What is declared, what is to be saved, and how often that happened.
    pub(crate) fn figures(&self) -> Value {
        let names: Vec<String> = self.0.slots.borrow().iter().map(|slot| slot.name().to_owned()).collect();
        serde_json::json!({
            "file": self.0.path, "values": names, "unsaved": self.0.dirty.get(), "saves": self.0.saves.get(),
        })
    }

    /// Forgets what a service that goes has declared; its values stay in the file, and are its successor's.
    pub(crate) fn forget(&self, group: &str) -> Forgotten {
        let mut slots = self.0.slots.borrow_mut();
        let (gone, kept): (Vec<_>, Vec<_>) =
            slots.drain(..).partition(|slot| crate::tree::is_within(slot.name(), group));
        *slots = kept;
        let mut strangers = self.0.strangers.borrow_mut();
        strangers.extend(gone.iter().map(|slot| (slot.name().to_owned(), slot.save())));
        Forgotten(gone)
    }

    /// The service stays after all.
    pub(crate) fn restore(&self, group: &str, forgotten: &Forgotten) {
        let mut slots = self.0.slots.borrow_mut();
        slots.retain(|slot| !crate::tree::is_within(slot.name(), group));
        slots.extend(forgotten.0.iter().cloned());
        self.0.strangers.borrow_mut().retain(|name, _| !slots.iter().any(|slot| slot.name() == name));
    }
}

/// What [`States::forget`] has forgotten.
#[derive(Default)]
pub(crate) struct Forgotten(Vec<Rc<dyn Kept>>);

#[cfg(test)]
mod tests;
