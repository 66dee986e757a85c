//! `Protocol` and `Factory`: what a user writes for the lowest face. The transport calls them; they never call each other.

use std::fmt;
use std::io;
use std::sync::Arc;

use ropewalk_reactor::Reactor;
use ropewalk_reactor::io::Address;

use crate::Transport;

/// One connection's behaviour. The loop calls it, one method at a time; a transport's methods never call it back.
///
/// ```
/// use ropewalk_net::{Protocol, Transport};
///
/// struct Echo;
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
///         transport.write(data);
///     }
/// }
/// ```
///
/// What follows `connection_lost` are optional powers: they belong to [`Transport::set_deadline`], to
/// [`ropewalk_reactor::Reactor::announce_stop`], to [`Transport::waker`] and to [`Transport::freeze`].
pub trait Protocol: 'static {
    /// The connection stands.
    fn connection_made(&mut self, transport: &Transport) {
        let _ = transport;
    }

    /// Bytes have arrived, in whatever pieces the network cut them.
    fn data_received(&mut self, transport: &Transport, data: &[u8]);

    /// The peer sends no more, but may still read. Unless overridden, the connection closes once all output is sent.
    fn read_ended(&mut self, transport: &Transport) {
        transport.lose_connection();
    }

    /// The connection is gone; nothing is called after this. A protocol that has panicked is not called again, not even for this: it is
    /// dropped, and its connection is broken off.
    fn connection_lost(&mut self, transport: &Transport, lost: &Lost) {
        let _ = (transport, lost);
    }

    /// The deadline that the protocol has set has passed. Unless overridden, the connection is aborted.
    fn timed_out(&mut self, transport: &Transport) {
        transport.abort(Lost::TimedOut("idle"));
    }

    /// The program is about to stop. Unless overridden, the connection closes once all output is sent.
    fn stopping(&mut self, transport: &Transport) {
        transport.lose_connection();
    }

    /// A waker of this transport was used.
    fn woken(&mut self, transport: &Transport) {
        let _ = transport;
    }

    /// Whether the connection can ever leave the process: whether [`Protocol::freeze`] may come to answer something else than `None`.
    fn freezable(&self) -> bool {
        false
    }

    /// Whether the peer is in the middle of something that should come whole before the connection is frozen. As long as it is,
    /// [`Transport::halt`] leaves it alone.
    fn is_hearing(&self) -> bool {
        false
    }

    /// Puts what the next process needs to go on with this connection into a record. Bytes that wait to be sent, and bytes that were
    /// handed back ([`Transport::unread`], also during this call), travel beside it. `None` is "not now": something is under way.
    ///
    /// Nothing is called afterwards, and nothing is sent, until either the connection is gone
    /// ([`Lost::HandedOver`](crate::Lost::HandedOver)) or it goes on as if nothing had happened. So the protocol stays as it is.
    fn freeze(&mut self, transport: &Transport) -> Option<Frozen> {
        let _ = transport;
        None
    }

    /// In the next process, instead of `connection_made`: the connection goes on (see [`Factory::thaw`]).
    fn thawed(&mut self, transport: &Transport) {
        let _ = transport;
    }
}

/// What a protocol has put down of itself for the next process: small, and readable by a newer program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// Which protocol's it is.
    pub kind: String,
    /// Which form of it: a newer program reads the older forms.
    pub version: u32,
    /// What the protocol makes of them.
    pub bytes: Vec<u8>,
}

/// Makes protocols, one per connection. Any function that returns a protocol is a factory.
///
/// ```
/// # use ropewalk_net::{Protocol, Transport, Factory};
/// # struct Echo;
/// # impl Protocol for Echo { fn data_received(&mut self, t: &Transport, d: &[u8]) { t.write(d); } }
/// fn takes(_: impl Factory) {}
/// takes(|| Echo);
/// ```
pub trait Factory: 'static {
    /// The protocol for a new connection; `None` refuses it.
    fn build_protocol(&self, peer: &Address) -> Option<Box<dyn Protocol>>;

    /// Before the first connection, once.
    fn start_factory(&self, reactor: &Reactor) {
        let _ = reactor;
    }

    /// After listening has ended, once.
    fn stop_factory(&self) {}

    /// Whether the limit per peer counts a connection from this address. Not if the address stands for many clients, as a
    /// trusted proxy's does: then only the total counts it, and each client once its address is known. A factory that wraps
    /// another one asks that one.
    fn counts_peer(&self, peer: &Address) -> bool {
        let _ = peer;
        true
    }

    /// The protocol of a connection that another process has frozen; `None` if this factory cannot go on with such a record, and
    /// then the other process keeps the connection. [`Protocol::thawed`] follows.
    fn thaw(&self, peer: &Address, frozen: &Frozen) -> Option<Box<dyn Protocol>> {
        let _ = (peer, frozen);
        None
    }

    /// The program is about to be taken out of service: it still accepts and answers, and bids each peer to come to an end where its
    /// protocol has words for that, as HTTP has in `Connection: close`.
    fn drain(&self) {}

    /// What a connection beyond a limit is told before it is closed.
    fn overflow(&self) -> &[u8] {
        b""
    }
}

impl<P: Protocol, F: Fn() -> P + 'static> Factory for F {
    fn build_protocol(&self, _peer: &Address) -> Option<Box<dyn Protocol>> {
        Some(Box::new(self()))
    }
}

/// Why a connection is gone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Lost {
    /// This side closed it, and everything written was handed to the system.
    Closed,
    /// The peer ended it in an orderly way.
    Ended,
    /// This side broke it off.
    Aborted,
    /// It broke: a reset, an unreachable network.
    Broken(Arc<io::Error>),
    /// A deadline passed; the text says which.
    TimedOut(&'static str),
    /// A file that was to be sent could not be read, or was shorter than promised: what the peer has is not all of it.
    File(Arc<io::Error>),
    /// The protocol panicked.
    Panicked,
    /// The reactor has stopped.
    Stopped,
    /// It goes on in another process.
    HandedOver,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Closed => f.write_str("closed by this side"),
            Lost::Ended => f.write_str("ended by the peer"),
            Lost::Aborted => f.write_str("aborted by this side"),
            Lost::Broken(error) => write!(f, "broken: {error}"),
            Lost::TimedOut(which) => write!(f, "timed out: {which}"),
            Lost::File(error) => write!(f, "a file could not be sent: {error}"),
            Lost::Panicked => f.write_str("the protocol panicked"),
            Lost::Stopped => f.write_str("the reactor has stopped"),
            Lost::HandedOver => f.write_str("handed over to another process"),
        }
    }
}

impl std::error::Error for Lost {}

/// Something that makes data for a transport and can be held back. See [`Transport::register_producer`].
pub trait Producer: 'static {
    /// The transport has more than enough to send: stop writing.
    fn pause_producing(&self);
    /// There is room again.
    fn resume_producing(&self);
    /// The connection is gone.
    fn stop_producing(&self) {}
}
