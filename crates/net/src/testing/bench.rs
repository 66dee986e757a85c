//! `Bench`: where tests put what listens, connects and waits, and see what it asked for. `Wire` and `Pair` stand on one.

use std::future::Future;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ropewalk_reactor::{Act, Caller, Entry, Name, Network, Peer, Pending, Reactor, Simulation};

use super::errors::Errors;
use super::tap::Panic;

/// How long, of virtual time, everything that is under way may take to come to rest.
const SETTLING: Duration = Duration::from_secs(3600);

/// A simulated reactor and network whose every doing is recorded. Clones are the same bench.
///
/// Unless it is [given a network](Bench::on), bytes arrive at once and whole.
///
/// ```
/// use std::io::ErrorKind::ConnectionRefused;
/// use std::time::Duration;
/// use ropewalk_net::testing::{Bench, assert_no_result, failure_of};
/// use ropewalk_net::{Protocol, Transport, connect};
///
/// struct Hello;
/// impl Protocol for Hello {
///     fn connection_made(&mut self, transport: &Transport) {
///         transport.write(b"hello");
///         transport.lose_connection();
///     }
///     fn data_received(&mut self, _: &Transport, _: &[u8]) {}
/// }
///
/// let bench = Bench::new();
/// let mut connected = connect(bench.reactor(), &"tcp:192.0.2.1:80".parse()?, || Hello);
/// bench.settle();
/// assert_no_result(&mut connected);
/// // The test answers: it could accept, and be the server, or never answer, and let time pass.
/// bench.callers().remove(0).refuse(ConnectionRefused);
/// bench.settle();
/// assert!(failure_of(connected).to_string().contains("refused"));
/// bench.assert_clean();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Bench(Rc<Inner>);

struct Inner {
    simulation: Simulation,
    errors: Errors,
    panic: Rc<Panic>,
}

impl Default for Bench {
    fn default() -> Self {
        Bench::new()
    }
}

impl Bench {
    /// A bench with the seed 1.
    #[must_use]
    pub fn new() -> Bench {
        Bench::with_seed(1)
    }

    /// A bench whose random numbers ([`Reactor::random`]) and the times of jobs on the thread pool are those of a seed.
    #[must_use]
    pub fn with_seed(seed: u64) -> Bench {
        let simulation = Simulation::new(seed);
        simulation.network().set_conditions(|conditions| {
            conditions.latency = (Duration::ZERO, Duration::ZERO);
            conditions.segment_bytes_max = usize::MAX;
        });
        Bench::on(simulation)
    }

    /// A bench on a simulation of one's own: with latencies, small segments and small windows, many seeds.
    ///
    /// ```
    /// use ropewalk_net::testing::Bench;
    /// use ropewalk_reactor::Simulation;
    /// for seed in 0..100 {
    ///     let simulation = Simulation::new(seed);
    ///     simulation.network().set_conditions(|conditions| conditions.segment_bytes_max = 10);
    ///     let bench = Bench::on(simulation);
    /// }
    /// ```
    #[must_use]
    pub fn on(simulation: Simulation) -> Bench {
        simulation.network().keep_log();
        simulation.network().answer_by_hand();
        let bench = Bench(Rc::new(Inner { simulation, errors: Errors::new(), panic: Rc::default() }));
        bench.settle();
        bench
    }

    /// The reactor to give to the code under test.
    #[must_use]
    pub fn reactor(&self) -> &Reactor {
        self.0.simulation.reactor()
    }

    /// The network, to change its conditions.
    #[must_use]
    pub fn network(&self) -> &Network {
        self.0.simulation.network()
    }

    pub(super) fn panic(&self) -> &Rc<Panic> {
        &self.0.panic
    }

    /// Lets everything happen that is under way, until only timers are left to wait for. On a bench of
    /// [`Bench::new`] no time passes.
    ///
    /// # Panics
    /// When it does not come to rest within an hour of virtual time, or a million turns without time passing. When a protocol
    /// panics that a [`Wire`](super::Wire) or a [`Pair`](super::Pair) holds.
    #[track_caller]
    pub fn settle(&self) {
        let quiet = self.run_loop(|simulation| simulation.run_until_quiet(SETTLING));
        assert!(quiet, "it does not come to rest within {SETTLING:?}; pending:{}", listed(&self.pending()));
    }

    /// Lets time pass, and everything happen that happens in it.
    ///
    /// # Panics
    /// As [`Bench::settle`].
    pub fn advance(&self, by: Duration) {
        self.run_loop(|simulation| simulation.advance(by));
    }

    pub(super) fn run_until(&self, limit: Duration, condition: impl Fn() -> bool) -> bool {
        self.run_loop(|simulation| simulation.run_until(limit, condition))
    }

    /// Runs a future to its end, as a task, and answers what it gave.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ropewalk_net::testing::Bench;
    /// let bench = Bench::new();
    /// let reactor = bench.reactor().clone();
    /// let slept = bench.run(Duration::from_secs(60), async move {
    ///     reactor.sleep(Duration::from_secs(30)).await;
    ///     "well"
    /// });
    /// assert_eq!(slept, "well");
    /// ```
    ///
    /// # Panics
    /// When it panics; when it is not done within `limit` of virtual time: it says what it could be waiting for.
    #[track_caller]
    pub fn run<T: 'static>(&self, limit: Duration, future: impl Future<Output = T> + 'static) -> T {
        let task = self.reactor().spawn_named(Name::new("what the test runs"), future);
        if !self.run_until(limit, || task.is_finished()) {
            let pending = listed(&self.pending());
            task.abort();
            panic!("not done within {limit:?}; pending:{pending}");
        }
        match pin!(task).as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(value)) => value,
            Poll::Ready(Err(failure)) => panic!("what the test ran failed: {failure}"),
            Poll::Pending => unreachable!("it has finished"),
        }
    }

    fn run_loop<T>(&self, run: impl FnOnce(&Simulation) -> T) -> T {
        let value = self.0.errors.listen(|| run(&self.0.simulation));
        if let Some(payload) = self.0.panic.take() {
            resume_unwind(payload);
        }
        value
    }

    /// Connects from outside, as a peer in the test's hand, to something that listens here.
    ///
    /// # Panics
    /// When nothing listens there.
    #[must_use = "a peer that is dropped ends the connection"]
    #[track_caller]
    pub fn dial(&self, to: SocketAddr) -> Peer {
        let peer = self.network().connect(to);
        self.settle();
        assert!(peer.is_connected(), "nothing listens at {to}; there is: {:?}", self.listens());
        peer
    }

    /// Takes out the connects that wait for the test's answer. A connect to where something listens is answered by that.
    #[must_use = "a caller that is dropped never gets an answer"]
    pub fn callers(&self) -> Vec<Caller> {
        self.network().callers()
    }

    /// Every connect so far, where to, and what became of it: [`Act::Asked`] while it waits, [`Act::Connected`],
    /// [`Act::Refused`], [`Act::GivenUp`].
    #[must_use]
    pub fn connects(&self) -> Vec<(SocketAddr, Act)> {
        let mut connects: Vec<(SocketAddr, SocketAddr, Act)> = Vec::new();
        for Entry { from, to, act, .. } in self.log() {
            let Some(to) = to else { continue };
            match act {
                Act::Asked => connects.push((from, to, act)),
                Act::Connected | Act::Refused(_) | Act::GivenUp => {
                    let waiting =
                        connects.iter_mut().find(|(asker, _, last)| *asker == from && *last == Act::Asked);
                    if let Some((.., last)) = waiting {
                        *last = act;
                    }
                }
                _ => {}
            }
        }
        connects.into_iter().map(|(_, to, act)| (to, act)).collect()
    }

    /// Where something listens for connections now.
    #[must_use]
    pub fn listens(&self) -> Vec<SocketAddr> {
        self.open(&Act::Listened, &Act::Unlistened)
    }

    /// Where UDP sockets are bound now.
    #[must_use]
    pub fn datagrams(&self) -> Vec<SocketAddr> {
        self.open(&Act::Bound, &Act::Unbound)
    }

    fn open(&self, opened: &Act, closed: &Act) -> Vec<SocketAddr> {
        let mut open = Vec::new();
        for entry in self.log() {
            if entry.act == *opened {
                open.push(entry.from);
            } else if entry.act == *closed
                && let Some(index) = open.iter().position(|address| *address == entry.from)
            {
                open.remove(index);
            }
        }
        open
    }

    /// All that was done on the network, with the bytes that were sent. Printed, an entry is a line.
    #[must_use]
    pub fn log(&self) -> Vec<Entry> {
        self.network().log()
    }

    /// What has not ended: connections, listeners, tasks, timers with the time until they are due.
    #[must_use]
    pub fn pending(&self) -> Vec<Pending> {
        self.reactor().pending()
    }

    /// What was logged as an error while the loop ran: callbacks and tasks that panicked, failures that nobody looked at.
    /// Taken out, so that [`Bench::assert_clean`] has nothing to say of them.
    #[must_use]
    pub fn take_errors(&self) -> Vec<String> {
        self.0.errors.take()
    }

    /// Asserts that nothing is left over: no listener, connection, task or timer, and no error that was logged and not
    /// [taken](Bench::take_errors).
    ///
    /// # Panics
    /// When something is left, with the names of all of it.
    #[track_caller]
    pub fn assert_clean(&self) {
        self.settle();
        let errors = self.take_errors();
        assert!(errors.is_empty(), "errors were logged:{}", listed(&errors));
        assert_clean(self.reactor());
    }
}

/// Asserts that a reactor has nothing left: no listener, connection, task, timer or call.
///
/// ```should_panic
/// use ropewalk_net::testing::{Bench, assert_clean};
/// use std::time::Duration;
/// let bench = Bench::new();
/// bench.reactor().call_later(Duration::from_secs(5), || ());
/// assert_clean(bench.reactor());
/// ```
///
/// # Panics
/// When something is left, with the names of all of it.
#[track_caller]
pub fn assert_clean(reactor: &Reactor) {
    let pending = reactor.pending();
    assert!(pending.is_empty(), "the reactor is not clean:{}", listed(&pending));
}

/// One line each, indented.
fn listed(items: &[impl std::fmt::Display]) -> String {
    if items.is_empty() {
        return " nothing".to_owned();
    }
    items.iter().map(|item| format!("\n    {item}")).collect()
}
