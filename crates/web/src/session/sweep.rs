//! The sweeper: one timer for a site, set to when the next session expires, so that whoever wants to know is told. With no session there is
//! no timer.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::{Duration, SystemTime};

use ropewalk_reactor::{DelayedCall, Reactor};

use super::{Core, Keeper};

/// A sweep is a look into the store: not more often than this.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Other workers may have put sessions into the store that are over sooner.
const PAUSE_MAX: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Sweeper(RefCell<Option<DelayedCall>>);

impl Core {
    /// A session is over at this time: somebody will look then.
    pub(super) fn watch(core: &Rc<Core>, reactor: &Reactor, expires_at: SystemTime) {
        if core.sweeper.0.borrow().as_ref().is_some_and(DelayedCall::active) {
            // It was set to the first of them, and a new one is over later: it will come by, and find out.
            return;
        }
        let wait = expires_at.duration_since(reactor.wall_clock()).unwrap_or_default();
        let (weak, handle) = (Rc::downgrade(core), reactor.clone());
        let call = reactor.call_later(wait.clamp(PAUSE_MIN, PAUSE_MAX), move || sweep(&weak, &handle));
        *core.sweeper.0.borrow_mut() = Some(call);
    }
}

fn sweep(core: &Weak<Core>, reactor: &Reactor) {
    let Some(core) = core.upgrade() else { return };
    let Keeper::Store(store) = &core.keeper else { return };
    let swept = store.sweep(reactor, reactor.wall_clock());
    let weak = Rc::downgrade(&core);
    let handle = reactor.clone();
    reactor.spawn(async move {
        let swept = swept.await;
        let Some(core) = weak.upgrade() else { return };
        match swept {
            Ok(swept) => {
                if let Some(next) = swept.next {
                    Core::watch(&core, &handle, next);
                }
                if let Some(call) = &core.on_expire {
                    swept.expired.iter().for_each(call);
                }
            }
            Err(failure) => {
                tracing::error!(%failure, "sessions that have expired could not be forgotten");
                Core::watch(&core, &handle, handle.wall_clock() + PAUSE_MAX);
            }
        }
    });
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if let Some(call) = self.0.get_mut().take() {
            // It fails when its time has come.
            let _ = call.cancel();
        }
    }
}
