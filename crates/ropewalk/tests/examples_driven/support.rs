//! What the tests of the examples share: a simulated server with a peer's hand on the wire, and a sink for what an example says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ropewalk::net::{Address, Port, listen};
use ropewalk::reactor::{Conditions, Peer};
use ropewalk::{Factory, Reactor, Simulation};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Longer than a segment takes there and back.
pub(crate) const SOON: Duration = Duration::from_millis(20);

/// A simulation in which one factory is served.
pub(crate) struct Ground {
    pub(crate) simulation: Simulation,
    pub(crate) port: Port,
}

impl Ground {
    pub(crate) fn new(seed: u64, factory: impl Factory) -> Ground {
        let simulation = Simulation::new(seed);
        let port = serve(&simulation, factory);
        Ground { simulation, port }
    }

    /// A ground for a factory that is made from the reactor.
    pub(crate) fn on<F: Factory>(simulation: Simulation, make: impl FnOnce(&Reactor) -> F) -> Ground {
        let factory = make(simulation.reactor());
        let port = serve(&simulation, factory);
        Ground { simulation, port }
    }

    pub(crate) fn set_conditions(&self, change: impl FnOnce(&mut Conditions)) {
        self.simulation.network().set_conditions(change);
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.simulation.advance(by);
    }

    /// A peer whose connection stands.
    pub(crate) fn connect(&self) -> Peer {
        let peer = self.simulation.network().connect(address(&self.port));
        self.advance(SOON);
        assert!(peer.is_connected());
        peer
    }

    /// Sends bytes and answers what came back.
    pub(crate) fn ask(&self, peer: &Peer, question: &[u8]) -> String {
        assert_eq!(peer.write(question), question.len());
        self.advance(SOON);
        String::from_utf8(peer.take()).unwrap()
    }

    /// Timers that wait now.
    pub(crate) fn timers(&self) -> usize {
        self.simulation.reactor().statistics().timers
    }

    /// Connections, listeners and tasks now.
    pub(crate) fn sources(&self) -> usize {
        self.simulation.reactor().statistics().sources
    }
}

pub(crate) fn serve(simulation: &Simulation, factory: impl Factory) -> Port {
    listen(simulation.reactor(), &"tcp:0:interface=127.0.0.1".parse().unwrap(), factory).unwrap()
}

pub(crate) fn address(port: &Port) -> SocketAddr {
    match port.address() {
        Address::Inet(address) => *address,
        _ => unreachable!("it was asked for TCP"),
    }
}

/// Keeps what an example says.
#[derive(Clone, Default)]
pub(crate) struct Said(Arc<Mutex<Vec<String>>>);

impl Said {
    pub(crate) fn sink(&self) -> impl Fn(String) + Clone + Send + Sync + 'static {
        let said = Arc::clone(&self.0);
        move |line| said.lock().unwrap().push(line)
    }

    /// Takes what was said since the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Bytes that do not repeat for a while, so that a piece in the wrong place is seen.
pub(crate) fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index ^ (index >> 8) ^ (index >> 16)) as u8).collect()
}
