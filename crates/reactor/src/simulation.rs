//! `Simulation`: a reactor under a virtual clock and network, and the hand that moves them. One seed, one run.
//! What tests of every floor hold; user code under it is unchanged.

use std::time::Duration;

use crate::driver::sim::Network;
use crate::driver::{Driver, SimDriver};
use crate::reactor::Reactor;
use crate::remote;

/// A reactor whose time passes only when told to, on a network in memory.
///
/// ```
/// use std::{cell::Cell, rc::Rc, time::Duration};
/// use ropewalk_reactor::Simulation;
/// let simulation = Simulation::new(1);
/// let rang = Rc::new(Cell::new(false));
/// let bell = rang.clone();
/// simulation.reactor().call_later(Duration::from_secs(3600), move || bell.set(true));
/// simulation.advance(Duration::from_secs(3599));
/// assert!(!rang.get());
/// simulation.advance(Duration::from_secs(1));
/// assert!(rang.get());
/// ```
pub struct Simulation {
    reactor: Reactor,
    network: Network,
}

impl Simulation {
    /// A running simulated reactor. The seed decides every delay, cut and choice.
    #[must_use]
    pub fn new(seed: u64) -> Simulation {
        let driver = SimDriver::new(seed);
        let network = driver.network();
        let reactor = Reactor::with_driver(Driver::Sim(driver));
        let simulation = Simulation { reactor, network };
        simulation.reactor.start().expect("a simulated reactor without a watchdog starts");
        simulation
    }

    /// The reactor.
    #[must_use]
    pub fn reactor(&self) -> &Reactor {
        &self.reactor
    }

    /// The network and its conditions.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Lets time pass, and everything happen that happens in it.
    ///
    /// # Panics
    /// When the loop fails, or turns a million times without time passing.
    pub fn advance(&self, by: Duration) {
        let horizon = self.network.now() + by;
        self.driver().set_horizon(Some(horizon));
        self.turn_until(|| self.is_idle());
    }

    /// Lets time pass until `condition` holds; answers whether it did within `limit` of virtual time.
    ///
    /// # Panics
    /// When the loop fails, or turns a million times without time passing.
    pub fn run_until(&self, limit: Duration, condition: impl Fn() -> bool) -> bool {
        let horizon = self.network.now() + limit;
        self.driver().set_horizon(Some(horizon));
        self.turn_until(|| condition() || self.is_idle());
        condition()
    }

    /// Lets everything happen that is under way: what is on the wire arrives, what it brings about is done, until only
    /// timers are left to wait for. Time passes as far as that takes, and timers fire that come due meanwhile. Answers
    /// whether it was quiet within `limit` of virtual time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ropewalk_reactor::Simulation;
    /// let simulation = Simulation::new(1);
    /// let timer = simulation.reactor().call_later(Duration::from_secs(1), || ());
    /// assert!(simulation.run_until_quiet(Duration::from_secs(60)));
    /// assert!(timer.active(), "nobody waited for it");
    /// ```
    ///
    /// # Panics
    /// When the loop fails, or turns a million times without time passing.
    pub fn run_until_quiet(&self, limit: Duration) -> bool {
        self.run_until(limit, || self.is_quiet())
    }

    /// Whether only timers are left to wait for.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.network.is_quiet() && !self.reactor.has_work()
    }

    /// Stops the reactor and lets everything go, as `run` does at its end.
    pub fn stop(&self) {
        self.reactor.stop();
        self.run_until(Duration::from_secs(3600), || self.reactor.is_stopped());
        self.reactor.finish();
    }

    fn turn_until(&self, done: impl Fn() -> bool) {
        let _here = remote::enter(&self.reactor.0);
        let (mut seen, mut turns) = (self.network.now(), 0u32);
        while !done() && !self.reactor.is_stopped() {
            self.reactor.turn().expect("a simulated poll does not fail");
            turns = if self.network.now() > seen { 0 } else { turns + 1 };
            seen = self.network.now();
            assert!(turns < 1_000_000, "the loop turns without time passing: something is ready for ever");
        }
    }

    fn is_idle(&self) -> bool {
        self.driver().is_idle() && !self.reactor.has_work()
    }

    fn driver(&self) -> &SimDriver {
        match &self.reactor.0.driver {
            Driver::Sim(sim) => sim,
            Driver::Real(_) => unreachable!("a simulation is made with a simulated driver"),
        }
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        self.reactor.finish();
    }
}

impl Reactor {
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.phase.get() == crate::reactor::Phase::Stopped
    }

    fn has_work(&self) -> bool {
        self.has_local_work() || !self.0.mailbox.is_empty()
    }

    /// Whether a simulation without horizon can do nothing any more.
    pub(crate) fn is_deadlocked(&self) -> bool {
        match &self.0.driver {
            Driver::Real(_) => false,
            Driver::Sim(sim) => {
                sim.is_idle() && !self.has_work() && !self.is_stopped() && self.next_timer().is_none()
            }
        }
    }
}
