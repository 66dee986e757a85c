//! The system's resolver on the thread pool, with a short memory. Requests for one name at one time share one lookup. Which
//! resolver is asked is decided in `resolver`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_reactor::{Deferred, Failure, Firing, Outcome, Reactor, Time, deferred};

use super::{Resolver, literal};

/// The system's resolver, getaddrinfo, with what `/etc/hosts` and the rest of the system's configuration say.
///
/// It blocks, therefore it runs on the thread pool; a name server that does not answer holds one thread of it. One of these is
/// for one reactor, whose clock it goes by. Addresses in writing need no thread.
///
/// ```
/// use ropewalk_net::{Resolver, SystemResolver};
/// use ropewalk_reactor::Simulation;
/// let simulation = Simulation::new(1);
/// let resolver = SystemResolver::new();
/// for port in [80, 443] {
///     let found = resolver.resolve(simulation.reactor(), "localhost", port);
///     # drop(found);
/// }
/// simulation.advance(std::time::Duration::from_secs(1));
/// assert_eq!(simulation.network().lookups(), 1, "both asked for the same name");
/// ```
#[derive(Clone, Default)]
pub struct SystemResolver(Rc<Memory>);

/// Figures of a resolver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResolverStatistics {
    /// Names whose answer is remembered, some of which may be too old.
    pub names: usize,
    /// Names that the system is being asked for now.
    pub asking: usize,
    /// Requests that wait for these. Some that were given up may still be counted.
    pub waiting: usize,
    /// Requests that a remembered answer or a lookup under way was enough for.
    pub shared: u64,
    /// Lookups begun.
    pub lookups: u64,
}

#[derive(Default)]
struct Memory {
    names: RefCell<BTreeMap<String, Entry>>,
    shared: Cell<u64>,
    lookups: Cell<u64>,
}

enum Entry {
    /// The system is being asked; these wait, each with its port.
    Asked(Vec<(Firing<Vec<SocketAddr>>, u16)>),
    Known(Known),
}

#[derive(Clone)]
struct Known {
    until: Time,
    answer: Answer,
}

/// Addresses with any port, or what the system said instead.
type Answer = Result<Rc<[SocketAddr]>, Arc<io::Error>>;

impl SystemResolver {
    /// Names that are remembered. A client speaks with few hosts; a crawler should not ask for memory.
    pub const NAMES_MAX: usize = 256;
    /// Addresses that are kept of one name. Trying more would outlast every timeout.
    pub const ADDRESSES_MAX: usize = 32;
    /// How long an answer is good for. The system does not tell what the name server said (the TTL); services that move behind
    /// their name announce minutes, so that half a minute more is not noticed.
    pub const KEPT_FOUND: Duration = Duration::from_secs(30);
    /// How long a failure is good for: long enough that a crowd of retries asks once, short enough for somebody who has just
    /// repaired the name.
    pub const KEPT_FAILED: Duration = Duration::from_secs(5);

    /// A resolver that remembers nothing yet.
    #[must_use]
    pub fn new() -> SystemResolver {
        SystemResolver::default()
    }

    /// Forgets all answers, for instance because the machine is in another network now.
    pub fn forget(&self) {
        self.0.names.borrow_mut().retain(|_, entry| matches!(entry, Entry::Asked(_)));
    }

    /// Figures.
    #[must_use]
    pub fn statistics(&self) -> ResolverStatistics {
        let names = self.0.names.borrow();
        let asked = names.values().filter_map(|entry| match entry {
            Entry::Asked(waiting) => Some(waiting.len()),
            Entry::Known(_) => None,
        });
        let (asking, waiting) = asked.fold((0, 0), |(names, all), waiting| (names + 1, all + waiting));
        ResolverStatistics {
            names: names.len() - asking,
            asking,
            waiting,
            shared: self.0.shared.get(),
            lookups: self.0.lookups.get(),
        }
    }
}

impl Resolver for SystemResolver {
    fn resolve(&self, reactor: &Reactor, host: &str, port: u16) -> Deferred<Vec<SocketAddr>> {
        if let Some(address) = literal(reactor, host, port) {
            return match address {
                Ok(address) => deferred::succeed(reactor, vec![address]),
                Err(error) => deferred::fail(reactor, error),
            };
        }
        let host = host.to_ascii_lowercase();
        if let Some(answer) = self.0.remembered(&host, reactor.now()) {
            self.0.shared.set(self.0.shared.get() + 1);
            return match told(&host, &answer, port) {
                Ok(addresses) => deferred::succeed(reactor, addresses),
                Err(failure) => deferred::fail(reactor, failure),
            };
        }
        let (firing, deferred) = Deferred::new(reactor);
        if self.0.wait(&host, firing, port) {
            self.0.shared.set(self.0.shared.get() + 1);
        } else {
            self.0.ask(reactor, host);
        }
        deferred
    }
}

impl Memory {
    fn remembered(&self, host: &str, now: Time) -> Option<Answer> {
        match self.names.borrow().get(host) {
            Some(Entry::Known(known)) if known.until > now => Some(known.answer.clone()),
            _ => None,
        }
    }

    /// Waits for the answer; answers whether the system is being asked already.
    fn wait(&self, host: &str, firing: Firing<Vec<SocketAddr>>, port: u16) -> bool {
        let mut names = self.names.borrow_mut();
        if let Some(Entry::Asked(waiting)) = names.get_mut(host) {
            if waiting.len() == waiting.capacity() {
                // Before it grows: a name server that does not answer must not collect those who have given up.
                waiting.retain(|(firing, _)| !firing.fired());
            }
            waiting.push((firing, port));
            return true;
        }
        names.insert(host.to_owned(), Entry::Asked(vec![(firing, port)]));
        false
    }

    fn ask(self: &Rc<Memory>, reactor: &Reactor, host: String) {
        self.lookups.set(self.lookups.get() + 1);
        let (memory, clock) = (Rc::clone(self), reactor.downgrade());
        // The port is each request's own.
        let looked_up = reactor.lookup(&host, 0).add_both(move |outcome| {
            let now = clock.upgrade().map_or(Time::START, |reactor| reactor.now());
            memory.answered(&host, outcome, now);
        });
        // The chain runs without its holder.
        drop(looked_up);
    }

    fn answered(&self, host: &str, outcome: Outcome<io::Result<Vec<SocketAddr>>>, now: Time) {
        let asked = self.names.borrow_mut().remove(host);
        let answer = outcome.map(|found| {
            let found = found.map(|mut addresses| {
                addresses.truncate(SystemResolver::ADDRESSES_MAX);
                Rc::from(addresses)
            });
            found.map_err(Arc::new)
        });
        if let Ok(answer) = &answer {
            let kept = if answer.is_ok() { SystemResolver::KEPT_FOUND } else { SystemResolver::KEPT_FAILED };
            self.remember(host, Known { until: now + kept, answer: answer.clone() }, now);
        }
        let Some(Entry::Asked(waiting)) = asked else { return };
        for (firing, port) in waiting {
            let outcome = match &answer {
                Ok(answer) => told(host, answer, port),
                // The pool's own failure says nothing of the name: it is not remembered.
                Err(failure) => Err(failure.clone()),
            };
            // Who was cancelled meanwhile wants nothing.
            let _ = firing.fire(outcome);
        }
    }

    fn remember(&self, host: &str, known: Known, now: Time) {
        let mut names = self.names.borrow_mut();
        if names.len() >= SystemResolver::NAMES_MAX {
            names.retain(|_, entry| matches!(entry, Entry::Asked(_)) || until(entry) > Some(now));
        }
        if names.len() >= SystemResolver::NAMES_MAX {
            let soonest = names.iter().filter_map(|(name, entry)| Some((until(entry)?, name))).min();
            if let Some(name) = soonest.map(|(_, name)| name.clone()) {
                names.remove(&name);
            }
        }
        names.insert(host.to_owned(), Entry::Known(known));
    }
}

fn until(entry: &Entry) -> Option<Time> {
    match entry {
        Entry::Known(known) => Some(known.until),
        Entry::Asked(_) => None,
    }
}

/// An answer for one who asks.
fn told(host: &str, answer: &Answer, port: u16) -> Outcome<Vec<SocketAddr>> {
    match answer {
        Ok(addresses) => Ok(addresses
            .iter()
            .map(|&address| {
                let mut address = address;
                address.set_port(port);
                address
            })
            .collect()),
        Err(error) => Err(Failure::new(io::Error::new(error.kind(), format!("{host}: {error}")))),
    }
}
