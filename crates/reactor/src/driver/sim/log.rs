//! What was done on the simulated network, in order. Kept only once a test has asked for it; see [`Network::keep_log`].

use std::fmt;
use std::io;
use std::net::SocketAddr;

use super::{End, Network, World};
use crate::time::Time;

/// What was done. Bytes are noted when they leave, not when they arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Act {
    /// A port is open for connections.
    Listened,
    /// It is open no more.
    Unlistened,
    /// Somebody began to connect.
    Asked,
    /// The connection stands.
    Connected,
    /// It does not, for this reason.
    Refused(io::ErrorKind),
    /// Whoever connected has gone before there was an answer.
    GivenUp,
    /// Bytes were sent on a connection, as one segment.
    Sent(Vec<u8>),
    /// One direction of a connection was ended: no more comes from there.
    Ended,
    /// A connection was broken.
    Reset,
    /// A UDP socket is bound.
    Bound,
    /// It is gone.
    Unbound,
    /// A datagram was sent. It may be lost, or arrive twice.
    Datagram(Vec<u8>),
}

/// One line of a network's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was.
    pub at: Time,
    /// Who did it; of a connection, the side from which it goes. What answers a connect stands under the address that asked.
    pub from: SocketAddr,
    /// The other side; none for ports and UDP sockets.
    pub to: Option<SocketAddr>,
    /// What was done.
    pub act: Act,
}

/// Seconds, addresses, what was done: `  0.001500  127.0.0.1:40002 > 127.0.0.1:80  sent 5: "hello"`.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at.since(Time::START).as_secs_f64();
        write!(f, "{seconds:10.6}  {}", self.from)?;
        if let Some(to) = self.to {
            write!(f, " > {to}")?;
        }
        match &self.act {
            Act::Listened => f.write_str("  listens"),
            Act::Unlistened => f.write_str("  listens no more"),
            Act::Asked => f.write_str("  connects"),
            Act::Connected => f.write_str("  is connected"),
            Act::Refused(kind) => write!(f, "  is refused: {kind}"),
            Act::GivenUp => f.write_str("  gave up"),
            Act::Sent(bytes) => write!(f, "  sent {}: \"{}\"", bytes.len(), bytes.escape_ascii()),
            Act::Ended => f.write_str("  ended"),
            Act::Reset => f.write_str("  reset"),
            Act::Bound => f.write_str("  is bound"),
            Act::Unbound => f.write_str("  is bound no more"),
            Act::Datagram(bytes) => write!(f, "  datagram {}: \"{}\"", bytes.len(), bytes.escape_ascii()),
        }
    }
}

impl Network {
    /// From now on everything is noted, with all bytes that are sent. A second call begins anew.
    ///
    /// ```
    /// use ropewalk_reactor::{Act, Simulation};
    /// let simulation = Simulation::new(1);
    /// simulation.network().keep_log();
    /// let peer = simulation.network().connect("127.0.0.1:80".parse()?);
    /// simulation.advance(std::time::Duration::from_millis(10));
    /// let acts: Vec<Act> = simulation.network().log().into_iter().map(|entry| entry.act).collect();
    /// assert_eq!(acts, [Act::Asked, Act::Refused(std::io::ErrorKind::ConnectionRefused)]);
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    pub fn keep_log(&self) {
        self.0.borrow_mut().log = Some(Vec::new());
    }

    /// What was noted since [`Network::keep_log`]; nothing without it.
    #[must_use]
    pub fn log(&self) -> Vec<Entry> {
        self.0.borrow().log.clone().unwrap_or_default()
    }

    /// Whether nothing is on the way and nothing waits to be told to the loop.
    pub(crate) fn is_quiet(&self) -> bool {
        let world = self.0.borrow();
        world.happenings.is_empty() && world.events.is_empty() && world.signals.is_empty()
    }
}

impl World {
    pub(super) fn note(&mut self, from: SocketAddr, to: Option<SocketAddr>, act: impl FnOnce() -> Act) {
        let at = self.now;
        if let Some(log) = &mut self.log {
            log.push(Entry { at, from, to, act: act() });
        }
    }
}

impl End {
    /// Notes what this side does.
    pub(super) fn note(&self, world: &mut World, act: impl FnOnce() -> Act) {
        let addresses = &self.pair.addresses;
        world.note(addresses[self.side], Some(addresses[1 - self.side]), act);
    }
}
