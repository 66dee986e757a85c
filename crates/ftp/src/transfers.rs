//! The transfers that run now: who, what, how far; and a way to end one. Sessions enter theirs here, whoever looks after the server
//! reads it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use ropewalk_net::{Address, Transport};
use ropewalk_reactor::Time;

use crate::observe::Transferred;
use crate::path::FtpPath;
use crate::session::Core;

/// Which way a file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the server.
    Download,
    /// To it.
    Upload,
}

/// A transfer that runs.
#[derive(Clone, Debug)]
pub struct RunningTransfer {
    /// Never that of another one of this server.
    pub id: u64,
    /// Whose it is.
    pub user: String,
    /// Where that user is.
    pub peer: Address,
    /// Which file.
    pub path: FtpPath,
    /// Which way.
    pub direction: Direction,
    /// Bytes that went over the data connection so far.
    pub bytes: u64,
    /// For how long it has been running.
    pub running: Duration,
}

/// The transfers of a server. A clone is the same list.
///
/// ```
/// # use ropewalk_ftp::Transfers;
/// fn end_slow_ones(transfers: &Transfers) {
///     for transfer in transfers.list() {
///         if transfer.running.as_secs() > 3600 {
///             transfers.kill(transfer.id);
///         }
///     }
/// }
/// ```
#[derive(Clone, Default)]
pub struct Transfers(Rc<RefCell<Table>>);

#[derive(Default)]
struct Table {
    last: u64,
    running: BTreeMap<u64, Entry>,
}

struct Entry {
    user: String,
    path: FtpPath,
    direction: Direction,
    began: Time,
    data: Option<Transport>,
    session: Weak<Core>,
}

impl Entry {
    fn bytes(&self) -> u64 {
        let (received, sent) = self.data.as_ref().map_or((0, 0), Transport::traffic);
        match self.direction {
            Direction::Download => sent,
            Direction::Upload => received,
        }
    }
}

impl fmt::Debug for Transfers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

impl Transfers {
    /// Those that run, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<RunningTransfer> {
        let table = self.0.borrow();
        let listed = table.running.iter().filter_map(|(id, entry)| {
            let session = entry.session.upgrade()?;
            let now = session.reactor().now();
            Some(RunningTransfer {
                id: *id,
                user: entry.user.clone(),
                peer: session.peer(),
                path: entry.path.clone(),
                direction: entry.direction,
                bytes: entry.bytes(),
                running: now.since(entry.began),
            })
        });
        listed.collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.borrow().running.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.borrow().running.is_empty()
    }

    /// Breaks one off: its client gets 426 and its session goes on. Answers false if there is none of this id, or it is whole
    /// already and only has to be put in its place.
    pub fn kill(&self, id: u64) -> bool {
        let session = self.0.borrow().running.get(&id).and_then(|entry| entry.session.upgrade());
        session.is_some_and(|session| session.abort("Transfer broken off by the operator"))
    }

    /// What a session's transfer has moved so far.
    pub(crate) fn bytes_of(&self, session: &Core) -> u64 {
        let table = self.0.borrow();
        let of_session = |entry: &&Entry| std::ptr::eq(entry.session.as_ptr(), session);
        table.running.values().find(of_session).map_or(0, Entry::bytes)
    }

    /// Enters one.
    pub(crate) fn begin(&self, session: &Rc<Core>, path: &FtpPath, direction: Direction) -> Running {
        let mut table = self.0.borrow_mut();
        table.last += 1;
        let entry = Entry {
            user: session.user_name().unwrap_or_default(),
            path: path.clone(),
            direction,
            began: session.reactor().now(),
            data: None,
            session: Rc::downgrade(session),
        };
        let id = table.last;
        table.running.insert(id, entry);
        Running { id, session: Rc::clone(session), complete: false }
    }
}

/// A transfer in the list. Dropped, it is taken out, counted and told of.
pub(crate) struct Running {
    id: u64,
    session: Rc<Core>,
    complete: bool,
}

impl Running {
    /// Over which connection it goes.
    pub(crate) fn over(&self, data: &Transport) {
        if let Some(entry) = self.session.server.transfers.0.borrow_mut().running.get_mut(&self.id) {
            entry.data = Some(data.clone());
        }
    }

    /// It has come to its end.
    pub(crate) fn complete(mut self) {
        self.complete = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let server = &self.session.server;
        let Some(entry) = server.transfers.0.borrow_mut().running.remove(&self.id) else { return };
        let bytes = entry.bytes();
        server.figures.add(|figures| {
            match entry.direction {
                Direction::Download => figures.bytes_sent += bytes,
                Direction::Upload => figures.bytes_received += bytes,
            }
            match entry.direction {
                _ if !self.complete => figures.broken += 1,
                Direction::Download => figures.downloads += 1,
                Direction::Upload => figures.uploads += 1,
            }
        });
        self.session.moved.set(bytes);
        let reactor = self.session.reactor();
        let transferred = Transferred {
            at: reactor.wall_clock(),
            took: reactor.now().since(entry.began),
            peer: &self.session.peer(),
            user: &entry.user,
            anonymous: self.session.is_anonymous(),
            path: &entry.path,
            direction: entry.direction,
            ascii: self.session.is_ascii(),
            bytes,
            complete: self.complete,
        };
        server.tell(|observer| observer.transferred(&transferred));
    }
}
