//! Bandwidth: so many bytes in a second, for each connection, each peer, and all together; each direction by itself.
//!
//! A bucket fills at its rate up to one second's worth, and what passes is taken out of all that apply: a connection gets what
//! the emptiest of them has. One that finds too little stands in that bucket's line. While there is a line nobody else takes
//! from the bucket; its timer wakes the first, who takes what is there, and goes to the end of the line if he wants more. So
//! connections that share a bucket share it evenly.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

use ropewalk_reactor::io::{Address, Below, Layer};
use ropewalk_reactor::{DelayedCall, Key, Reactor, Readiness, Time, WeakReactor};

use super::Policy;

/// What one connection takes out of a bucket at once, in bytes; a sixty-fourth of a second's worth, where that is more: the timer that
/// wakes it for the next comes once in a millisecond at the most, and later on a busy machine.
const QUANTUM: u64 = 16 * 1024;
const QUANTA_PER_SECOND: u64 = 64;
/// A connection does not wake up for less than this many bytes, or a quarter of a second's worth if that is less.
const WORTHWHILE: u64 = 1024;
/// How long one who was woken has before the next in line is.
const TURN: Duration = Duration::from_millis(1);
/// Peers that are remembered before those without a connection are forgotten.
const PEERS_SWEEP: usize = 1024;

/// Bytes in a second; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// What is read from peers.
    pub read: Option<u64>,
    /// What is written to them.
    pub write: Option<u64>,
}

impl Rates {
    /// The same limit for each direction, in bytes in a second.
    #[must_use]
    pub fn both(bytes_per_second: u64) -> Rates {
        Rates { read: Some(bytes_per_second), write: Some(bytes_per_second) }
    }

    /// A limit for what is read only.
    #[must_use]
    pub fn read(bytes_per_second: u64) -> Rates {
        Rates { read: Some(bytes_per_second), write: None }
    }

    /// A limit for what is written only.
    #[must_use]
    pub fn write(bytes_per_second: u64) -> Rates {
        Rates { read: None, write: Some(bytes_per_second) }
    }
}

/// Limits the bandwidth of connections. Clones share what is limited in total and per peer.
#[derive(Clone)]
pub struct Throttle {
    reactor: Reactor,
    each: Rates,
    per_peer: Rates,
    total: [Option<Rc<Bucket>>; 2],
    peers: Rc<RefCell<BTreeMap<IpAddr, [Weak<Bucket>; 2]>>>,
}

struct Bucket {
    reactor: WeakReactor,
    rate: u64,
    level: Cell<u64>,
    filled: Cell<Time>,
    line: RefCell<VecDeque<(Key, Readiness)>>,
    /// Who was woken last, and may take although there is a line.
    turn: Cell<Option<Key>>,
    timer: Cell<Option<DelayedCall>>,
}

impl Bucket {
    fn new(reactor: &Reactor, rate: Option<u64>) -> Option<Rc<Bucket>> {
        // A rate of nothing would never let a byte pass; who wants that refuses the connection.
        let rate = rate?.max(1);
        Some(Rc::new(Bucket {
            reactor: reactor.downgrade(),
            rate,
            level: Cell::new(rate),
            filled: Cell::new(reactor.now()),
            line: RefCell::default(),
            turn: Cell::new(None),
            timer: Cell::new(None),
        }))
    }

    /// What this connection may take.
    fn level_for(&self, key: Key, now: Time) -> u64 {
        if self.line.borrow().is_empty() || self.turn.get() == Some(key) { self.level(now) } else { 0 }
    }

    /// Lets a connection stand in line, once.
    fn stand(self: &Rc<Self>, key: Key, readiness: Readiness) {
        let mut line = self.line.borrow_mut();
        if line.iter().any(|(known, _)| *known == key) {
            return;
        }
        line.push_back((key, readiness));
        let first = line.len() == 1;
        drop(line);
        if first && let Some(reactor) = self.reactor.upgrade() {
            self.arm(&reactor, self.worthwhile_at(reactor.now()));
        }
    }

    fn leave(&self, key: Key) {
        self.line.borrow_mut().retain(|(known, _)| *known != key);
    }

    fn arm(self: &Rc<Self>, reactor: &Reactor, at: Time) {
        let bucket = Rc::downgrade(self);
        let timer = reactor.call_at(at, move || {
            if let Some(bucket) = bucket.upgrade() {
                bucket.wake_first();
            }
        });
        if let Some(old) = self.timer.replace(Some(timer)) {
            // It has mostly fired.
            let _ = old.cancel();
        }
    }

    fn wake_first(self: &Rc<Self>) {
        let Some(reactor) = self.reactor.upgrade() else { return };
        let now = reactor.now();
        if self.worthwhile_at(now) > now {
            return self.arm(&reactor, self.worthwhile_at(now));
        }
        let first = self.line.borrow_mut().pop_front();
        let Some((key, readiness)) = first else { return };
        self.turn.set(Some(key));
        reactor.ready_again(key, readiness);
        if !self.line.borrow().is_empty() {
            // Not before this one had its turn, and whether or not it makes use of it.
            self.arm(&reactor, now + TURN);
        }
    }

    /// What one connection takes at once.
    fn quantum(&self) -> u64 {
        QUANTUM.max(self.rate / QUANTA_PER_SECOND)
    }

    fn level(&self, now: Time) -> u64 {
        let passed = now.since(self.filled.get());
        let more = passed.as_nanos().saturating_mul(u128::from(self.rate)) / 1_000_000_000;
        if more > 0 {
            let more = u64::try_from(more).unwrap_or(u64::MAX);
            self.level.set(self.level.get().saturating_add(more).min(self.rate));
            // Time that did not make a whole byte is not lost.
            let rest = passed.as_nanos().saturating_mul(u128::from(self.rate)) % 1_000_000_000;
            let rest = Duration::from_nanos(u64::try_from(rest / u128::from(self.rate)).unwrap_or(0));
            let full = self.level.get() == self.rate;
            let rest = u64::try_from(rest.as_nanos()).unwrap_or(0);
            self.filled.set(if full { now } else { Time::from_nanos(now.as_nanos().saturating_sub(rest)) });
        }
        self.level.get()
    }

    /// When it will hold enough to be worth waking up for.
    fn worthwhile_at(&self, now: Time) -> Time {
        let wanted = WORTHWHILE.min(self.rate.div_ceil(4)).max(1);
        let missing = wanted.saturating_sub(self.level(now));
        now + Duration::from_nanos(missing.saturating_mul(1_000_000_000).div_ceil(self.rate))
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            // It may have fired.
            let _ = timer.cancel();
        }
    }
}

impl Throttle {
    /// No limit yet.
    #[must_use]
    pub fn new(reactor: &Reactor) -> Throttle {
        Throttle {
            reactor: reactor.clone(),
            each: Rates::default(),
            per_peer: Rates::default(),
            total: [None, None],
            peers: Rc::default(),
        }
    }

    /// A limit for each connection by itself.
    #[must_use]
    pub fn each(self, each: Rates) -> Throttle {
        Throttle { each, ..self }
    }

    /// A limit for all connections of one IP address together.
    #[must_use]
    pub fn per_peer(self, per_peer: Rates) -> Throttle {
        Throttle { per_peer, ..self }
    }

    /// A limit for all connections together.
    #[must_use]
    pub fn total(self, total: Rates) -> Throttle {
        let total = [total.read, total.write].map(|rate| Bucket::new(&self.reactor, rate));
        Throttle { total, ..self }
    }

    fn peer(&self, ip: IpAddr) -> [Option<Rc<Bucket>>; 2] {
        let rates = [self.per_peer.read, self.per_peer.write];
        if rates == [None, None] {
            return [None, None];
        }
        let mut peers = self.peers.borrow_mut();
        if peers.len() >= PEERS_SWEEP && !peers.contains_key(&ip) {
            peers.retain(|_, buckets| buckets.iter().any(|bucket| bucket.strong_count() > 0));
        }
        let known = peers.entry(ip).or_default();
        std::array::from_fn(|way| {
            known[way].upgrade().or_else(|| {
                let fresh = Bucket::new(&self.reactor, rates[way]);
                known[way] = fresh.as_ref().map(Rc::downgrade).unwrap_or_default();
                fresh
            })
        })
    }
}

impl Policy for Throttle {
    fn layer(&self, peer: &Address) -> Option<Box<dyn Layer>> {
        let each = [self.each.read, self.each.write].map(|rate| Bucket::new(&self.reactor, rate));
        let of_peer = peer.ip().map_or([None, None], |ip| self.peer(ip));
        let [read, write] = std::array::from_fn(|way| {
            let buckets = [&each[way], &of_peer[way], &self.total[way]];
            buckets.into_iter().flatten().cloned().collect::<Vec<_>>()
        });
        let limited = !read.is_empty() || !write.is_empty();
        limited.then(|| Box::new(Throttled { connection: None, read, write }) as Box<dyn Layer>)
    }
}

struct Throttled {
    connection: Option<(Reactor, Key)>,
    read: Vec<Rc<Bucket>>,
    write: Vec<Rc<Bucket>>,
}

impl Throttled {
    /// Moves as many bytes of `wanted` as the buckets allow; `WouldBlock` when that is none. Either way the loop comes by when
    /// there is more, if more was wanted.
    fn pass(
        &self,
        buckets: &[Rc<Bucket>],
        wanted: usize,
        readiness: Readiness,
        transfer: impl FnOnce(usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let Some((reactor, key)) = &self.connection else { return transfer(wanted) };
        let now = reactor.now();
        let emptiest = buckets.iter().min_by_key(|bucket| bucket.level_for(*key, now));
        let Some(emptiest) = emptiest else { return transfer(wanted) };
        let allowance = emptiest.level_for(*key, now).min(emptiest.quantum());
        let allowance = usize::try_from(allowance).unwrap_or(usize::MAX);
        if allowance == 0 {
            emptiest.stand(*key, readiness);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = transfer(wanted.min(allowance))?;
        for bucket in buckets {
            bucket.level.set(bucket.level.get().saturating_sub(count as u64));
            if bucket.turn.get() == Some(*key) {
                bucket.turn.set(None);
            }
        }
        if count == allowance && wanted > allowance {
            // No edge will tell of the rest.
            emptiest.stand(*key, readiness);
        }
        Ok(count)
    }
}

impl Layer for Throttled {
    fn attached(&mut self, reactor: &Reactor, key: Key) {
        self.connection = Some((reactor.clone(), key));
    }

    fn read(&mut self, below: &Below, into: &mut [u8]) -> io::Result<usize> {
        // To the end: the peer's may have been told by the event whose bytes had to wait, and nobody would tell of it again.
        let readiness = Readiness::READABLE.and(Readiness::READ_CLOSED);
        self.pass(&self.read, into.len(), readiness, |room| below.read(&mut into[..room]))
    }

    fn write(&mut self, below: &Below, from: &[u8]) -> io::Result<usize> {
        self.pass(&self.write, from.len(), Readiness::WRITABLE, |room| below.write(&from[..room]))
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

impl Drop for Throttled {
    fn drop(&mut self) {
        let Some((_, key)) = &self.connection else { return };
        self.read.iter().chain(&self.write).for_each(|bucket| bucket.leave(*key));
    }
}
