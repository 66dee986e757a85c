//! A server under siege: it on one thread, each client on another, and what is looked at before and after. No test of its own.
#![allow(unreachable_pub, reason = "it is a module of a test binary")]

mod client;
mod proper;
mod tree;

use std::fs;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Once};
use std::thread;
use std::time::Duration;

use ropewalk_ftp::{Accounts, Attempt, FtpLimits, FtpOptions, FtpServer, FtpStatistics, LocalStorage, User};
use ropewalk_net::tls::{Identity, TlsServer, TlsServerOptions};
use ropewalk_net::{Address, Port, listen};
use ropewalk_reactor::{LoopingCall, Random, Reactor};

use self::client::Attacker;
use self::tree::{Tree, names_below};
use crate::common::Users;

/// What is done, and how much of it.
#[derive(Clone)]
pub struct Siege {
    pub seed: u64,
    pub time: Duration,
    /// Sessions at once.
    pub clients: usize,
    /// How long a data connection may take: also how long a session that waits for one outlives its client.
    pub data_connect: Duration,
    /// What the process may have in memory at most, clients and all.
    pub resident_bytes_max: u64,
}

/// What came of it.
#[derive(Debug)]
#[allow(dead_code, reason = "they are printed")]
pub struct Figures {
    pub server: FtpStatistics,
    pub sessions: u64,
    pub lines: u64,
    pub data_connections: u64,
    /// Rounds of the client who behaves.
    pub proper: u64,
    /// Sessions and transfers ended by the operator.
    pub ended: u64,
    pub panics: u64,
    pub descriptors_left: Vec<String>,
    pub touched: Vec<String>,
    pub uploads_left: Vec<String>,
    pub resident_bytes_before: u64,
    pub resident_bytes_max: u64,
    /// Ten times during the siege: whether it grows and grows.
    pub resident_bytes_along: Vec<u64>,
    pub resident_bytes_after: u64,
}

/// What clients count, and when they are to end.
#[derive(Default)]
pub struct Shared {
    pub over: AtomicBool,
    pub sessions: AtomicU64,
    pub lines: AtomicU64,
    pub data_connections: AtomicU64,
}

/// A client works with little.
const STACK_BYTES: usize = 256 << 10;
/// How often the operator looks, and ends somebody.
const LOOK: Duration = Duration::from_millis(50);
/// How long it may take until the last session is gone, once the last client is.
const AFTERMATH: Duration = Duration::from_secs(20);

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Lays siege to a server, and says what came of it.
pub fn besiege(siege: &Siege) -> Figures {
    count_panics();
    let tree = Tree::new();
    let before = tree.outside();
    let descriptors = descriptors();
    let resident_bytes_before = resident_bytes();
    let panics = PANICS.load(Ordering::SeqCst);
    let shared = Arc::new(Shared::default());
    let (tell, told) = channel();
    let (root, there, serving) = (tree.root(), siege.clone(), Arc::clone(&shared));
    let server = thread::spawn(move || serve(&root, &there, &serving, &tell));
    let address = told.recv_timeout(AFTERMATH).expect("it listens");
    let proper = {
        let shared = Arc::clone(&shared);
        thread::spawn(move || proper::behave(address, &shared))
    };
    let attackers: Vec<_> =
        (0..siege.clients as u64).map(|number| attack(address, siege.seed, number, &shared)).collect();
    for attacker in attackers {
        // A panic of a client was counted, and said by itself.
        let _ = attacker.join();
    }
    let proper = proper.join().unwrap_or(0);
    let served = server.join().expect("the server's thread ends well");
    Figures {
        server: served.statistics,
        sessions: shared.sessions.load(Ordering::SeqCst),
        lines: shared.lines.load(Ordering::SeqCst),
        data_connections: shared.data_connections.load(Ordering::SeqCst),
        proper,
        ended: served.ended,
        panics: PANICS.load(Ordering::SeqCst) - panics,
        descriptors_left: more(&descriptors, &self::descriptors()),
        touched: more(&before, &tree.outside()).into_iter().chain(more(&tree.outside(), &before)).collect(),
        uploads_left: names_below(&tree.root(), ".ropewalk-upload-"),
        resident_bytes_before,
        resident_bytes_max: served.resident_bytes_max,
        resident_bytes_along: served.resident_bytes_along,
        resident_bytes_after: resident_bytes(),
    }
}

fn attack(address: SocketAddr, seed: u64, number: u64, shared: &Arc<Shared>) -> thread::JoinHandle<()> {
    let shared = Arc::clone(shared);
    let mut attacker = Attacker::new(address, seed.wrapping_mul(1_000_003).wrapping_add(number), shared);
    let named = thread::Builder::new().name(format!("attacker {number}")).stack_size(STACK_BYTES);
    named.spawn(move || attacker.go_on()).expect("a thread")
}

/// What the server's thread comes home with.
struct Served {
    statistics: FtpStatistics,
    resident_bytes_max: u64,
    resident_bytes_along: Vec<u64>,
    ended: u64,
}

/// The server, from its beginning until the last session is gone.
fn serve(root: &std::path::Path, siege: &Siege, shared: &Arc<Shared>, tell: &Sender<SocketAddr>) -> Served {
    let (seed, time) = (siege.seed, siege.time);
    let reactor = Reactor::new().unwrap();
    let storage = LocalStorage::new(root).unwrap();
    let server = FtpServer::new(Crowd(Users(Arc::new(storage))), options(siege));
    let port = listen(&reactor, &"tcp:0:interface=127.0.0.1".parse().unwrap(), server.clone()).unwrap();
    let Address::Inet(address) = *port.address() else { unreachable!("it was asked for TCP") };
    tell.send(address).unwrap();
    let ended = Arc::clone(shared);
    reactor.call_later(time, move || ended.over.store(true, Ordering::SeqCst));
    let watch = Rc::new(Watch::default());
    let along = Rc::clone(&watch);
    let sample = LoopingCall::new(&reactor, move |_| along.samples.borrow_mut().push(resident_bytes()));
    sample.start(time / 10, false);
    let looping = {
        let (watch, reactor, server, shared) =
            (Rc::clone(&watch), reactor.clone(), server.clone(), Arc::clone(shared));
        let mut random = Random::new(seed);
        LoopingCall::new(&reactor.clone(), move |_| {
            watch.look(&reactor, &server, &port, &shared, &mut random)
        })
    };
    looping.start(LOOK, false);
    reactor.run().unwrap();
    looping.stop();
    sample.stop();
    assert!(server.transfers().is_empty() && server.sessions().list().is_empty());
    Served {
        statistics: server.statistics(),
        resident_bytes_max: watch.resident.get(),
        resident_bytes_along: watch.samples.take(),
        ended: watch.ended.get(),
    }
}

/// The users of the other tests. The slow one is so fast that what it leaves in the network is worked off soon after it is gone.
struct Crowd(Users);

impl Accounts for Crowd {
    fn login(&self, attempt: &Attempt) -> Option<User> {
        let mut user = self.0.login(attempt)?;
        if user.name == "slow" {
            (user.bandwidth.download, user.bandwidth.upload) = (Some(200_000), Some(200_000));
        }
        Some(user)
    }

    fn is_open(&self, user: &str) -> bool {
        self.0.is_open(user)
    }
}

fn options(siege: &Siege) -> FtpOptions {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let identity = Identity::text(made.cert.pem(), made.signing_key.serialize_pem());
    let limits = FtpLimits {
        sessions_per_peer_max: 1000,
        failures_per_peer_max: u32::MAX,
        failure_delay: Duration::from_millis(10),
        // On a machine that does other things as well, a client who behaves may have to wait for its turn among so many.
        login: Duration::from_secs(15),
        idle: Duration::from_secs(15),
        stall: Duration::from_secs(15),
        data_connect: siege.data_connect,
        ..FtpLimits::default()
    };
    let tls = TlsServer::new(TlsServerOptions::new(identity)).unwrap();
    FtpOptions { tls: Some(tls), limits, ..FtpOptions::default() }
}

/// The operator: looks at everything, and now and then ends somebody.
#[derive(Default)]
struct Watch {
    resident: std::cell::Cell<u64>,
    samples: std::cell::RefCell<Vec<u64>>,
    ended: std::cell::Cell<u64>,
    /// Looks since the attack was over.
    late: std::cell::Cell<u32>,
}

impl Watch {
    fn look(&self, reactor: &Reactor, server: &FtpServer, port: &Port, shared: &Shared, random: &mut Random) {
        self.resident.set(self.resident.get().max(resident_bytes()));
        if shared.over.load(Ordering::SeqCst) {
            self.late.set(self.late.get() + 1);
            let gone = server.statistics().sessions == 0;
            let patience = AFTERMATH.as_millis() / LOOK.as_millis();
            assert!(gone || u128::from(self.late.get()) < patience, "{:?}", server.sessions().list());
            if gone {
                port.stop_listening();
                reactor.stop();
            }
            return;
        }
        let transfers = server.transfers().list();
        if random.below(4) == 0
            && let Some(transfer) = pick(&transfers, random)
            && transfer.path.as_bytes() != proper::PLACE.as_bytes()
            && server.transfers().kill(transfer.id)
        {
            self.ended.set(self.ended.get() + 1);
        }
        let sessions = server.sessions().list();
        if random.below(4) == 0
            && let Some(session) = pick(&sessions, random)
            && session.user.as_deref() != Some(proper::USER)
            && session.user.is_some()
            && server.sessions().end(session.id)
        {
            self.ended.set(self.ended.get() + 1);
        }
    }
}

fn pick<'a, T>(all: &'a [T], random: &mut Random) -> Option<&'a T> {
    (!all.is_empty()).then(|| &all[random.below(all.len() as u64) as usize])
}

/// The loop catches panics and goes on: they are counted where they begin.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            before(info);
        }));
    });
}

/// What this process has open, by number.
fn descriptors() -> Vec<String> {
    let listed = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let to = fs::read_link(&path).ok()?;
        // The listing itself.
        (!to.ends_with("fd")).then(|| format!("{} {}", path.display(), to.display()))
    });
    listed.collect()
}

fn more(before: &[String], after: &[String]) -> Vec<String> {
    after.iter().filter(|line| !before.contains(line)).cloned().collect()
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
