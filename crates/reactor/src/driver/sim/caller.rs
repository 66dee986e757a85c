//! How a connect ends; and connects that a test answers by hand: accepted, refused, or left without an answer. Where something
//! listens, that answers, and `sim` calls from there.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use super::{Act, End, Network, Pair, Peer};
use crate::source::Readiness;

/// Somebody who connects to where nobody listens, and waits for an answer. Dropped, the answer never comes.
pub struct Caller {
    pair: Rc<Pair>,
    network: Network,
}

impl Network {
    /// From now on a connect to where nobody listens is not refused, but waits among [`Network::callers`].
    ///
    /// ```
    /// use ropewalk_reactor::Simulation;
    /// let simulation = Simulation::new(1);
    /// let network = simulation.network();
    /// network.answer_by_hand();
    /// let one = network.connect("192.0.2.1:80".parse()?);
    /// simulation.advance(std::time::Duration::from_millis(10));
    /// let caller = network.callers().remove(0);
    /// assert_eq!(caller.to(), "192.0.2.1:80".parse()?);
    /// let other = caller.accept();
    /// other.write(b"welcome");
    /// simulation.advance(std::time::Duration::from_millis(10));
    /// assert_eq!(one.take(), b"welcome");
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    pub fn answer_by_hand(&self) {
        self.0.borrow_mut().callers.get_or_insert_default();
    }

    /// Takes out who waits for an answer, first come first.
    #[must_use = "a caller that is dropped never gets an answer"]
    pub fn callers(&self) -> Vec<Caller> {
        let callers = self.0.borrow_mut().callers.as_mut().map(std::mem::take).unwrap_or_default();
        callers.into_iter().map(|pair| Caller { pair, network: self.clone() }).collect()
    }
}

/// How a connect ends, whoever answers.
impl Network {
    /// The connection stands; this is its far end.
    pub(super) fn accept(&self, pair: Rc<Pair>) -> End {
        *pair.connected.borrow_mut() = Some(Ok(()));
        let client = pair.pipes[0].0.borrow().writer;
        let mut world = self.0.borrow_mut();
        world.note(pair.addresses[0], Some(pair.addresses[1]), || Act::Connected);
        world.signal(client, Readiness::WRITABLE);
        End { pair, side: 1, network: self.clone(), reset_on_close: RefCell::new(false) }
    }

    pub(super) fn refuse(&self, pair: &Pair, kind: io::ErrorKind) {
        *pair.connected.borrow_mut() = Some(Err(kind));
        let client = pair.pipes[0].0.borrow().writer;
        let mut world = self.0.borrow_mut();
        world.note(pair.addresses[0], Some(pair.addresses[1]), || Act::Refused(kind));
        world.signal(client, Readiness::WRITABLE.and(Readiness::ERROR));
    }
}

impl Caller {
    /// Whose call it is.
    #[must_use]
    pub fn from(&self) -> SocketAddr {
        self.pair.addresses[0]
    }

    /// Where it wants to.
    #[must_use]
    pub fn to(&self) -> SocketAddr {
        self.pair.addresses[1]
    }

    /// Whether whoever connected has gone meanwhile.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.pair.pipes[1].0.borrow().reader_gone
    }

    /// The connection stands, and this is the other side of it.
    #[must_use = "a peer that is dropped ends the connection"]
    pub fn accept(self) -> Peer {
        Peer::new(self.network.accept(self.pair))
    }

    /// There is no connection, for this reason: `ConnectionRefused`, `HostUnreachable`.
    pub fn refuse(self, kind: io::ErrorKind) {
        self.network.refuse(&self.pair, kind);
    }
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Caller({} to {})", self.from(), self.to())
    }
}
