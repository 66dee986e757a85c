//! The seam to the transports: how an agent comes to a connection, and how it becomes a secure one. The agent knows nothing of TLS
//! but this trait; what it does unless told otherwise is in `tls`.

use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::{ClientEndpoint, ConnectOptions, Factory, Transport, connect_with};
use ropewalk_reactor::{Deferred, Reactor, deferred};

use super::error::ClientError;
use super::tls::Tls;

/// Makes connections for an [`Agent`](super::Agent). All methods have a default: TCP, and TLS that believes whom
/// the system believes. One that wants other roots keeps a [`Tls`] and hands [`Connector::secure`] on to it.
///
/// A connector of one's own may connect elsewhere than the URL says, to a UNIX socket for instance:
/// ```
/// use std::{rc::Rc, time::Duration};
/// use ropewalk_net::{ConnectOptions, Factory, Transport, connect_with};
/// use ropewalk_reactor::{Deferred, Reactor};
/// use ropewalk_web::client::{Agent, Connector};
///
/// struct Docker;
/// impl Connector for Docker {
///     fn connect(&self, reactor: &Reactor, _: &str, _: u16, _: Duration, protocol: Rc<dyn Factory>) -> Deferred<Transport> {
///         let endpoint = "unix:/run/docker.sock".parse().expect("it is well written");
///         connect_with(reactor, &endpoint, protocol, ConnectOptions::default())
///     }
/// }
/// # let simulation = ropewalk_reactor::Simulation::new(1);
/// let agent = Agent::new(simulation.reactor()).with_connector(Docker);
/// # drop(agent);
/// ```
pub trait Connector: 'static {
    /// Connects to `host` (a name or an address, without brackets) within `limit`, and gives the connection to the protocol
    /// that `protocol` makes. Cancelling it gives up.
    fn connect(
        &self,
        reactor: &Reactor,
        host: &str,
        port: u16,
        limit: Duration,
        protocol: Rc<dyn Factory>,
    ) -> Deferred<Transport> {
        let endpoint =
            ClientEndpoint::Tcp { host: host.to_owned(), port, timeout: limit, bind_address: None };
        connect_with(reactor, &endpoint, protocol, self.options())
    }

    /// What [`Connector::connect`] connects with, unless that is one's own: for another resolver, say.
    fn options(&self) -> ConnectOptions {
        let mut options = ConnectOptions::default();
        // The agent has deadlines of its own for this.
        options.transport.write_stall = None;
        options
    }

    /// Whether [`Connector::secure`] can do it, so that a URL with `https` is refused before anything is connected.
    fn has_tls(&self) -> bool {
        true
    }

    /// Puts TLS on a connection that stands, be it to the server or through a proxy's tunnel, and fires when the handshake is
    /// done and the peer has proved to be `host`. Until then the protocol is given no bytes. Cancelling it may leave the
    /// connection in any state: the agent breaks it off.
    fn secure(&self, transport: &Transport, host: &str) -> Deferred<()> {
        Tls::platform().secure(transport, host)
    }
}

/// TCP, and no TLS: `https` is refused before anything is connected.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Connector for Plain {
    fn has_tls(&self) -> bool {
        false
    }

    fn secure(&self, transport: &Transport, _host: &str) -> Deferred<()> {
        deferred::fail(transport.reactor(), ClientError::NeedsTls)
    }
}
