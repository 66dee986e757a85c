//! The end of a request for its session: what has changed goes into the store, and the cookie into the answer. The middleware asks here
//! before an answer is sent.

use std::future::Future;
use std::pin::Pin;

use ropewalk_reactor::Outcome;

use super::live::{Session, State, draw, whole};
use super::store::{Record, SessionKey};
use super::{Core, Keeper};
use crate::answer::Answer;
use crate::cookies::Cookie;
use crate::response::Response;

type Saving = Pin<Box<dyn Future<Output = Outcome<()>>>>;

/// From here on nothing of a request is saved: it has failed.
const FAILED: u16 = 500;

/// What there is to do.
enum Work {
    Nothing,
    Insert,
    Update(SessionKey),
    /// The old key, and all of it under a new one.
    Move(SessionKey),
    Remove(Option<SessionKey>),
}

impl State {
    fn work(&self) -> Work {
        let changed = !self.changes.0.is_empty();
        match (self.end, self.key, self.kept) {
            (true, key, true) => Work::Remove(key),
            (true, _, false) => Work::Nothing,
            (false, None, false) if self.data.is_empty() => Work::Nothing,
            // One that is new, or in a cookie, which is written as a whole.
            (false, None, false) => Work::Insert,
            (false, None, true) if changed || self.renew => Work::Insert,
            (false, Some(key), _) if self.renew => Work::Move(key),
            (false, Some(key), _) if changed => Work::Update(key),
            (false, ..) => Work::Nothing,
        }
    }
}

impl Session {
    /// An answer that is about to be sent: it waits until what has changed is saved.
    pub(super) fn pass(&self, response: Response) -> Answer {
        if response.code() >= FAILED {
            return Answer::Now(response);
        }
        let Some(saving) = self.commit() else { return Answer::Now(response) };
        Answer::Later(Box::pin(async move {
            match saving.await {
                Ok(()) => Answer::Now(response),
                Err(failure) => Answer::Now(Response::failure(failure)),
            }
        }))
    }

    /// The head of whatever is sent, by the handler or in its place. If it has not passed, it is the handler's, and written piece by piece: it
    /// cannot wait, see [`Session::save`].
    pub(super) fn sign_off(&self, in_pieces: bool, response: Response) -> Response {
        if in_pieces
            && response.code() < FAILED
            && let Some(saving) = self.commit()
        {
            self.0.reactor.spawn(async move {
                if let Err(failure) = saving.await {
                    tracing::error!(%failure, "a session could not be saved behind its answer");
                }
            });
        }
        let cookie = self.0.state.borrow_mut().cookie.take();
        match cookie {
            // A shared cache that keeps the answer would hand the session to everybody.
            Some(cookie) => response.default_header("Cache-Control", "no-store").cookie(cookie),
            None => response,
        }
    }

    /// Saves what has changed, if anything has; the work is taken over at once, and done when it is polled.
    pub(super) fn commit(&self) -> Option<Saving> {
        if !self.0.loaded.get() {
            return None;
        }
        let work = self.0.state.borrow().work();
        if matches!(work, Work::Nothing) {
            return None;
        }
        match &self.0.core.keeper {
            Keeper::Cookie(_) => Some(self.write_cookie()),
            Keeper::Store(_) => Some(self.write_store(work)),
        }
    }

    fn write_cookie(&self) -> Saving {
        let live = &self.0;
        let Keeper::Cookie(keys) = &live.core.keeper else { return Box::pin(async { Ok(()) }) };
        let mut state = live.state.borrow_mut();
        state.changes.0.clear();
        state.renew = false;
        if std::mem::take(&mut state.end) {
            state.kept = false;
            state.cookie = Some(live.core.removal(live.secure));
            return Box::pin(async { Ok(()) });
        }
        let record = live.record(&mut state);
        state.kept = true;
        let made = super::cookie::write(&live.core, keys, &record, live.reactor.wall_clock(), live.secure);
        match made {
            Ok(cookie) => {
                state.cookie = Some(cookie);
                Box::pin(async { Ok(()) })
            }
            Err(error) => Box::pin(async move { Err(error.into()) }),
        }
    }

    fn write_store(&self, work: Work) -> Saving {
        let live = std::rc::Rc::clone(&self.0);
        let Keeper::Store(store) = &live.core.keeper else { return Box::pin(async { Ok(()) }) };
        let store = std::rc::Rc::clone(store);
        let mut state = live.state.borrow_mut();
        let changes = std::mem::take(&mut state.changes);
        let record = live.record(&mut state);
        state.renew = false;
        let fresh = match work {
            Work::Insert | Work::Move(_) => {
                let (id, key) = draw();
                (state.key, state.kept) = (Some(key), true);
                state.cookie = Some(live.core.cookie(id, live.secure));
                Some(key)
            }
            Work::Remove(_) => {
                (state.key, state.kept, state.end) = (None, false, false);
                state.created_at = None;
                state.cookie = Some(live.core.removal(live.secure));
                None
            }
            Work::Update(_) | Work::Nothing => None,
        };
        drop(state);
        Box::pin(async move {
            let reactor = &live.reactor;
            Core::watch(&live.core, reactor, record.expires_at);
            match (work, fresh) {
                (Work::Remove(Some(key)), _) => {
                    let _ = store.remove(reactor, key).await?;
                }
                // False where it was ended while this request was under way, and it stays so.
                (Work::Update(key), _) => {
                    let _ = store.update(reactor, key, changes, record.expires_at).await?;
                }
                // The old id goes first: at no time do two of them open the session.
                (Work::Move(old), Some(key)) if store.remove(reactor, old).await? => {
                    store.insert(reactor, key, record).await?;
                }
                (Work::Insert, Some(key)) => store.insert(reactor, key, record).await?,
                _ => {}
            }
            Ok(())
        })
    }
}

impl super::live::Live {
    /// It as it is kept from now on.
    fn record(&self, state: &mut State) -> Record {
        let now = self.reactor.wall_clock();
        let created_at = *state.created_at.get_or_insert_with(|| whole(now));
        Record { data: state.data.clone(), created_at, expires_at: self.core.expiry(created_at, now) }
    }
}

impl Core {
    pub(super) fn cookie(&self, text: String, secure: bool) -> Cookie {
        let cookie = Cookie::new(self.name.clone(), text).secure(secure);
        if self.remembered { cookie.max_age(self.absolute) } else { cookie }
    }

    pub(super) fn removal(&self, secure: bool) -> Cookie {
        Cookie::removal(self.name.clone()).secure(secure)
    }
}
