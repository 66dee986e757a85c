//! Policies: what goes around any factory without its protocols knowing. Limits of bandwidth, a timeout for the silent, a log of
//! what passes. Limits of connections are the listener's (`limits`); TLS is a layer like these.
//!
//! Each is a [`Layer`] between transport and socket, made per connection by a [`Policy`].
//!
//! ```
//! use ropewalk_net::policy::{Rates, Throttle, apply};
//! use ropewalk_net::{Protocol, Transport, listen};
//! # use ropewalk_reactor::Simulation;
//! # struct Echo;
//! # impl Protocol for Echo { fn data_received(&mut self, t: &Transport, d: &[u8]) { t.write(d); } }
//!
//! # let simulation = Simulation::new(1);
//! # let reactor = simulation.reactor();
//! // 64 KiB/s for each connection, 1 MiB/s for all of them together, in both directions.
//! let throttle = Throttle::new(reactor).each(Rates::both(64 << 10)).total(Rates::both(1 << 20));
//! let port = listen(reactor, &"tcp:0:interface=127.0.0.1".parse()?, apply(throttle, || Echo))?;
//! # drop(port);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::rc::Rc;

use ropewalk_reactor::Reactor;
use ropewalk_reactor::io::{Address, Layer};

use crate::Transport;
use crate::protocol::{Factory, Frozen, Protocol};

mod idle;
mod throttle;
mod traffic;

pub use idle::IdleTimeout;
pub use throttle::{Rates, Throttle};
pub use traffic::{Passed, TrafficLog};

/// Makes the layer for one connection.
pub trait Policy: 'static {
    /// The layer for a connection with this peer; `None` leaves the connection as it is.
    fn layer(&self, peer: &Address) -> Option<Box<dyn Layer>>;
}

impl<P: Policy> Policy for Rc<P> {
    fn layer(&self, peer: &Address) -> Option<Box<dyn Layer>> {
        P::layer(self, peer)
    }
}

/// A factory whose connections have this policy's layer. Policies go around each other: the one applied last is the nearest to
/// the socket.
#[must_use]
pub fn apply(policy: impl Policy, factory: impl Factory) -> impl Factory {
    Applied { policy, factory }
}

struct Applied<P, F> {
    policy: P,
    factory: F,
}

impl<P: Policy, F: Factory> Factory for Applied<P, F> {
    fn build_protocol(&self, peer: &Address) -> Option<Box<dyn Protocol>> {
        let protocol = self.factory.build_protocol(peer)?;
        Some(match self.policy.layer(peer) {
            Some(layer) => Box::new(Introduction { layer: Some(layer), protocol: Some(protocol) }),
            None => protocol,
        })
    }

    fn start_factory(&self, reactor: &Reactor) {
        self.factory.start_factory(reactor);
    }

    fn stop_factory(&self) {
        self.factory.stop_factory();
    }

    /// What has a layer is never frozen: the record is of a connection that the policy left alone.
    fn thaw(&self, peer: &Address, frozen: &Frozen) -> Option<Box<dyn Protocol>> {
        self.factory.thaw(peer, frozen)
    }

    fn drain(&self) {
        self.factory.drain();
    }

    fn overflow(&self) -> &[u8] {
        self.factory.overflow()
    }

    fn counts_peer(&self, peer: &Address) -> bool {
        self.factory.counts_peer(peer)
    }
}

/// Puts the layer on, and makes way for the protocol.
struct Introduction {
    layer: Option<Box<dyn Layer>>,
    protocol: Option<Box<dyn Protocol>>,
}

impl Protocol for Introduction {
    fn connection_made(&mut self, transport: &Transport) {
        if let (Some(layer), Some(protocol)) = (self.layer.take(), self.protocol.take()) {
            transport.push_layer(layer);
            transport.switch(protocol);
        }
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        // Its place was taken before anything could come.
        transport.unread(data);
    }
}
