//! `FtpServer`: the factory of sessions, and what all of them share: options, figures, who is here, who has guessed wrongly. What a
//! session does is in `session`.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_net::{Address, Factory, Protocol, Transport};
use ropewalk_reactor::{Failure, PoolOptions, Reactor, ThreadPool, Time};

use crate::accounts::Accounts;
use crate::observe::Observer;
use crate::options::{FtpOptions, group};
use crate::session::Session;
use crate::sessions::Sessions;
use crate::statistics::{Figures, FtpStatistics};
use crate::transfers::Transfers;

const OVERFLOW: &[u8] = b"421 Too many sessions; try again later\r\n";
/// Passwords that are hashed at the same time: each takes a core and 19 MiB for a while.
const LOGINS_AT_ONCE: usize = 2;
/// Logins that wait for their turn; beyond, 421.
const LOGINS_WAITING_MAX: usize = 64;
/// How long a wrong password counts against the address it came from.
const FAILURES_COUNT: Duration = Duration::from_secs(600);
/// Addresses whose wrong passwords are remembered at the same time.
const FAILED_PEERS_MAX: usize = 4096;

/// An FTP server: a factory for the control connections of any endpoint. With `ssl:` it is implicit TLS. A clone is the same server.
///
/// ```
/// use std::sync::Arc;
/// use ropewalk_ftp::{Anonymous, FtpOptions, FtpServer, LocalStorage};
/// use ropewalk_net::listen;
/// use ropewalk_reactor::Reactor;
///
/// let reactor = Reactor::new()?;
/// let files = LocalStorage::new(".")?;
/// let server = FtpServer::new(Anonymous::new(Arc::new(files)), FtpOptions::default());
/// let port = listen(&reactor, &"tcp:0:interface=127.0.0.1".parse()?, server.clone())?;
/// println!("listening on {}, {} sessions", port.address(), server.statistics().sessions);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct FtpServer(Rc<Server>);

pub(crate) struct Server {
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) options: FtpOptions,
    pub(crate) transfers: Transfers,
    pub(crate) sessions: Sessions,
    pub(crate) figures: Figures,
    here: RefCell<Here>,
    logins: OnceCell<ThreadPool>,
}

/// Who is here.
#[derive(Default)]
struct Here {
    sessions: usize,
    peers: BTreeMap<IpAddr, usize>,
    users: BTreeMap<String, usize>,
    failed: BTreeMap<IpAddr, (u32, Time)>,
}

impl FtpServer {
    /// A server for these users.
    #[must_use]
    pub fn new(accounts: impl Accounts, options: FtpOptions) -> FtpServer {
        FtpServer(Rc::new(Server {
            accounts: Arc::new(accounts),
            options,
            transfers: Transfers::default(),
            sessions: Sessions::default(),
            figures: Figures::default(),
            here: RefCell::default(),
            logins: OnceCell::new(),
        }))
    }

    /// Figures.
    #[must_use]
    pub fn statistics(&self) -> FtpStatistics {
        let sessions = self.0.here.borrow().sessions;
        FtpStatistics { sessions, transfers: self.0.transfers.len(), ..self.0.figures.copy() }
    }

    /// The sessions that are open now.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        self.0.sessions.clone()
    }

    /// The transfers that run now.
    #[must_use]
    pub fn transfers(&self) -> Transfers {
        self.0.transfers.clone()
    }
}

impl Factory for FtpServer {
    fn build_protocol(&self, peer: &Address) -> Option<Box<dyn Protocol>> {
        Some(match Seat::take(&self.0, peer.ip()) {
            Some(seat) => Box::new(Session::new(&self.0, seat)),
            None => {
                self.0.figures.add(|figures| figures.refused += 1);
                Box::new(Refusal)
            }
        })
    }

    fn overflow(&self) -> &[u8] {
        OVERFLOW
    }
}

impl Server {
    /// Tells the observers. One that panics is logged and costs nobody anything.
    pub(crate) fn tell(&self, tell: impl Fn(&dyn Observer)) {
        for observer in &self.options.observers {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| tell(&**observer))) {
                tracing::error!("FTP: an observer: {}", Failure::from_panic(payload));
            }
        }
    }

    /// The pool in which passwords are hashed.
    pub(crate) fn logins(&self, reactor: &Reactor) -> &ThreadPool {
        self.logins.get_or_init(|| {
            let options = PoolOptions {
                threads_min: 0,
                threads_max: LOGINS_AT_ONCE,
                queue_max: LOGINS_WAITING_MAX,
                ..PoolOptions::default()
            };
            ThreadPool::new(reactor, "ftp logins", options)
        })
    }

    /// Whether too many passwords from this address were wrong.
    pub(crate) fn is_guessing(&self, peer: Option<IpAddr>, now: Time) -> bool {
        let here = self.here.borrow();
        let failed = peer.and_then(|peer| here.failed.get(&group(peer)));
        failed.is_some_and(|(times, last)| {
            *times >= self.options.limits.failures_per_peer_max && now.since(*last) < FAILURES_COUNT
        })
    }

    /// Remembers a wrong password.
    pub(crate) fn note_failure(&self, peer: Option<IpAddr>, now: Time) {
        self.figures.add(|figures| figures.logins_failed += 1);
        let Some(peer) = peer.map(group) else { return };
        let failed = &mut self.here.borrow_mut().failed;
        if failed.len() >= FAILED_PEERS_MAX && !failed.contains_key(&peer) {
            failed.retain(|_, (_, last)| now.since(*last) < FAILURES_COUNT);
            let oldest = failed.iter().min_by_key(|(_, (_, last))| *last).map(|(peer, _)| *peer);
            if let Some(oldest) = oldest.filter(|_| failed.len() >= FAILED_PEERS_MAX) {
                failed.remove(&oldest);
            }
        }
        let (times, last) = failed.entry(peer).or_insert((0, now));
        if now.since(*last) >= FAILURES_COUNT {
            *times = 0;
        }
        (*times, *last) = (*times + 1, now);
    }
}

/// A session's place among all and among its peer's.
pub(crate) struct Seat {
    server: Rc<Server>,
    peer: Option<IpAddr>,
}

impl Seat {
    fn take(server: &Rc<Server>, peer: Option<IpAddr>) -> Option<Seat> {
        let peer = peer.map(group);
        let mut here = server.here.borrow_mut();
        let limits = &server.options.limits;
        let of_peer = peer.map_or(0, |peer| here.peers.get(&peer).copied().unwrap_or(0));
        if here.sessions >= limits.sessions_max || of_peer >= limits.sessions_per_peer_max {
            return None;
        }
        here.sessions += 1;
        if let Some(peer) = peer {
            here.peers.insert(peer, of_peer + 1);
        }
        drop(here);
        server.figures.add(|figures| figures.sessions_total += 1);
        Some(Seat { server: Rc::clone(server), peer })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut here = self.server.here.borrow_mut();
        here.sessions -= 1;
        if let Some(peer) = self.peer {
            release(&mut here.peers, &peer);
        }
    }
}

/// A session's place among those of its user.
pub(crate) struct UserSeat {
    server: Rc<Server>,
    user: String,
}

impl UserSeat {
    pub(crate) fn take(server: &Rc<Server>, user: &str, sessions_max: Option<usize>) -> Option<UserSeat> {
        let users = &mut server.here.borrow_mut().users;
        let count = users.get(user).copied().unwrap_or(0);
        if sessions_max.is_some_and(|max| count >= max) {
            return None;
        }
        users.insert(user.to_owned(), count + 1);
        Some(UserSeat { server: Rc::clone(server), user: user.to_owned() })
    }
}

impl Drop for UserSeat {
    fn drop(&mut self) {
        release(&mut self.server.here.borrow_mut().users, &self.user);
    }
}

fn release<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    match counts.get_mut(key) {
        Some(count) if *count > 1 => *count -= 1,
        _ => drop(counts.remove(key)),
    }
}

/// A connection for which there is no place.
struct Refusal;

impl Protocol for Refusal {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(OVERFLOW);
        transport.lose_connection();
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {
        // It is being closed.
    }
}
