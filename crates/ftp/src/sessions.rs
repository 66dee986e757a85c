//! The sessions that are open now: who, from where, for how long; and a way to end one. Each enters itself here, whoever looks after the
//! server reads it. Transfers have a list of their own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use ropewalk_net::Address;
use ropewalk_reactor::Time;

use crate::session::Core;

/// A session that is open.
#[derive(Clone, Debug)]
pub struct RunningSession {
    /// Never that of another one of this server.
    pub id: u64,
    /// Who has logged in, if anybody has yet.
    pub user: Option<String>,
    /// Where the client is.
    pub peer: Address,
    /// For how long it has been connected.
    pub running: Duration,
    /// Whether its control connection is encrypted.
    pub secure: bool,
}

/// The sessions of a server. A clone is the same list.
///
/// ```
/// # use ropewalk_ftp::Sessions;
/// fn see_off(sessions: &Sessions, user: &str) {
///     for session in sessions.list() {
///         if session.user.as_deref() == Some(user) {
///             sessions.end(session.id);
///         }
///     }
/// }
/// ```
#[derive(Clone, Default)]
pub struct Sessions(Rc<RefCell<Table>>);

#[derive(Default)]
struct Table {
    last: u64,
    open: BTreeMap<u64, (Time, Weak<Core>)>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

impl Sessions {
    /// Those that are open, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<RunningSession> {
        let table = self.0.borrow();
        let listed = table.open.iter().filter_map(|(id, (began, core))| {
            let core = core.upgrade()?;
            Some(RunningSession {
                id: *id,
                user: core.user_name(),
                peer: core.peer(),
                running: core.reactor().now().since(*began),
                secure: core.is_secure(),
            })
        });
        listed.collect()
    }

    /// Ends one: a transfer of it is broken off, its client gets 421 (RFC 959 section 5.4) and the connection ends. Answers false if there
    /// is none of this id.
    pub fn end(&self, id: u64) -> bool {
        let core = self.0.borrow().open.get(&id).and_then(|(_, core)| core.upgrade());
        core.is_some_and(|core| core.end("Session ended by the operator"))
    }

    /// Enters one.
    pub(crate) fn begin(&self, core: &Rc<Core>) -> Entered {
        let mut table = self.0.borrow_mut();
        table.last += 1;
        let id = table.last;
        table.open.insert(id, (core.reactor().now(), Rc::downgrade(core)));
        Entered { id, sessions: self.clone() }
    }
}

/// A session in the list. Dropped, it is taken out.
pub(crate) struct Entered {
    id: u64,
    sessions: Sessions,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.sessions.0.borrow_mut().open.remove(&self.id);
    }
}
