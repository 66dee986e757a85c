//! `Session`: one visitor's session during one request, loaded when somebody asks. What happens to it at the end of the request is in
//! `commit`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ropewalk_reactor::{Failure, Outcome, Reactor};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::store::{Changes, Record, SessionKey};
use super::{Core, Keeper};
use crate::cookies::Cookie;
use crate::request::Request;

/// Bytes of an id, all of them random.
const ID_BYTES: usize = 32;

/// A visitor's session. Clones are one. See [`super::Sessions`].
#[derive(Clone)]
pub struct Session(pub(super) Rc<Live>);

pub(super) struct Live {
    pub(super) core: Rc<Core>,
    pub(super) reactor: Reactor,
    pub(super) secure: bool,
    /// The cookies of this name that came.
    sent: Vec<String>,
    pub(super) loaded: Cell<bool>,
    pub(super) state: RefCell<State>,
}

/// What is known of it.
#[derive(Default)]
pub(super) struct State {
    /// Under what the store has it.
    pub(super) key: Option<SessionKey>,
    /// It is in a cookie.
    pub(super) kept: bool,
    pub(super) created_at: Option<SystemTime>,
    /// As it is, with the changes.
    pub(super) data: Map<String, Value>,
    pub(super) changes: Changes,
    pub(super) renew: bool,
    pub(super) end: bool,
    /// What the answer is to tell the browser.
    pub(super) cookie: Option<Cookie>,
}

impl Session {
    pub(super) fn of(core: &Rc<Core>, request: &Request) -> Session {
        let cookies = request.cookies();
        let named = cookies.iter().filter(|(name, _)| *name == core.name);
        // Somebody may have set more of them, in a folder or on a domain above; few are looked at.
        let sent = named.map(|(_, value)| value.to_owned()).take(4).collect();
        Session(Rc::new(Live {
            core: Rc::clone(core),
            reactor: request.reactor().clone(),
            secure: request.is_secure(),
            sent,
            loaded: Cell::new(false),
            state: RefCell::default(),
        }))
    }

    /// What was set under this name.
    ///
    /// # Errors
    /// The store fails, or what was set is of another type.
    pub async fn get<T: DeserializeOwned>(&self, name: &str) -> Outcome<Option<T>> {
        self.load().await?;
        let value = self.0.state.borrow().data.get(name).cloned();
        value.map(|value| serde_json::from_value(value).map_err(Failure::new)).transpose()
    }

    /// Sets what is under this name. The first value that is set is what makes a session of a visitor.
    ///
    /// # Errors
    /// The store fails, the value has no JSON, or the session would be larger than it may be.
    pub async fn set<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Outcome<()> {
        let value = serde_json::to_value(value)?;
        self.load().await?;
        let mut state = self.0.state.borrow_mut();
        if state.data.get(name) == Some(&value) {
            return Ok(());
        }
        let before = state.data.insert(name.to_owned(), value.clone());
        let bytes = serde_json::to_vec(&state.data).map_or(usize::MAX, |text| text.len());
        if bytes > self.0.core.bytes_max {
            match before {
                Some(before) => drop(state.data.insert(name.to_owned(), before)),
                None => drop(state.data.remove(name)),
            }
            return Err(Failure::new(format!("a session of {bytes} bytes is too large")));
        }
        state.changes.0.insert(name.to_owned(), Some(value));
        Ok(())
    }

    /// Takes away what is under this name, and tells whether there was anything.
    ///
    /// # Errors
    /// The store fails.
    pub async fn remove(&self, name: &str) -> Outcome<bool> {
        self.load().await?;
        let mut state = self.0.state.borrow_mut();
        let known = state.data.remove(name).is_some();
        if known {
            state.changes.0.insert(name.to_owned(), None);
        }
        Ok(known)
    }

    /// Whether nothing is kept of this visitor yet.
    ///
    /// # Errors
    /// The store fails.
    pub async fn is_new(&self) -> Outcome<bool> {
        self.load().await?;
        let state = self.0.state.borrow();
        Ok(state.key.is_none() && !state.kept)
    }

    /// Gives it a new id with all that is in it, and makes the old one worthless. To be called whenever the visitor becomes somebody or is
    /// allowed more: an id that a stranger has foisted on them, or has seen, is not the one that is let in.
    ///
    /// # Errors
    /// The store fails.
    pub async fn renew(&self) -> Outcome<()> {
        self.load().await?;
        self.0.state.borrow_mut().renew = true;
        Ok(())
    }

    /// Ends it: it is empty, the store forgets it, and the browser too.
    ///
    /// # Errors
    /// The store fails.
    pub async fn end(&self) -> Outcome<()> {
        self.load().await?;
        let mut state = self.0.state.borrow_mut();
        state.data.clear();
        state.changes.0.clear();
        state.end = true;
        Ok(())
    }

    /// Saves what has changed, now. Answers that are returned or given whole wait for that by themselves; whoever writes an answer piece by
    /// piece does this before the first one.
    ///
    /// # Errors
    /// The store fails, or the session does not fit into its cookie.
    pub async fn save(&self) -> Outcome<()> {
        match self.commit() {
            Some(saving) => saving.await,
            None => Ok(()),
        }
    }

    /// Loads it, once.
    pub(super) async fn load(&self) -> Outcome<()> {
        let live = &self.0;
        if live.loaded.get() {
            return Ok(());
        }
        let now = live.reactor.wall_clock();
        let mut found = None;
        for sent in &live.sent {
            found = self.find(sent, now).await?;
            if found.is_some() {
                break;
            }
        }
        if live.loaded.replace(true) {
            // Somebody else of this request was faster, and may have changed it.
            return Ok(());
        }
        if let Some((key, record)) = found {
            let mut state = live.state.borrow_mut();
            (state.key, state.kept) = (key, true);
            if matches!(live.core.keeper, Keeper::Cookie(_)) {
                // Nobody but the cookie knows when it is over: it is written again.
                state.renew = live.core.is_worth(&record, now);
            }
            state.created_at = Some(record.created_at);
            state.data = record.data;
        }
        Ok(())
    }

    /// The session that a cookie stands for, if it is one and is not over.
    async fn find(&self, sent: &str, now: SystemTime) -> Outcome<Option<(Option<SessionKey>, Record)>> {
        let core = &self.0.core;
        let store = match &core.keeper {
            Keeper::Cookie(keys) => {
                return Ok(super::cookie::read(core, keys, sent, now).map(|record| (None, record)));
            }
            Keeper::Store(store) => store,
        };
        let id = URL_SAFE_NO_PAD.decode(sent).ok().filter(|id| id.len() == ID_BYTES);
        let Some(id) = id else { return Ok(None) };
        let key = SessionKey::of(&id);
        let record = store.load(&self.0.reactor, key).await?;
        let Some(record) =
            record.filter(|record| record.expires_at > now && now < record.created_at + core.absolute)
        else {
            return Ok(None);
        };
        self.touch(key, &record, now);
        Ok(Some((Some(key), record)))
    }

    /// Puts the end off, if that is worth a write. Nobody waits for it: what may be lost is a little time.
    fn touch(&self, key: SessionKey, record: &Record, now: SystemTime) {
        let core = &self.0.core;
        if let Keeper::Store(store) = &core.keeper
            && core.is_worth(record, now)
        {
            let expires_at = core.expiry(record.created_at, now);
            let touched = store.update(&self.0.reactor, key, Changes::default(), expires_at);
            touched
                .add_errback(|failure| {
                    tracing::error!(%failure, "a session could not be put off");
                    false
                })
                .detach();
            Core::watch(core, &self.0.reactor, expires_at);
        }
    }
}

impl Core {
    /// Whether the end is put off by enough to write it down: a tenth of the time that it has without a request.
    fn is_worth(&self, record: &Record, now: SystemTime) -> bool {
        let gained = self.expiry(record.created_at, now).duration_since(record.expires_at);
        gained.unwrap_or_default() > self.idle / 10
    }

    /// When a session that is used now is over.
    pub(super) fn expiry(&self, created_at: SystemTime, now: SystemTime) -> SystemTime {
        whole((now + self.idle).min(created_at + self.absolute))
    }
}

/// A new id, as it stands in a cookie, and its key.
pub(super) fn draw() -> (String, SessionKey) {
    let id = crate::secret::bytes::<ID_BYTES>();
    (URL_SAFE_NO_PAD.encode(id), SessionKey::of(&id))
}

/// In whole milliseconds, as stores keep it.
pub(super) fn whole(at: SystemTime) -> SystemTime {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
