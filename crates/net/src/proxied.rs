//! Connections that a proxy passes on: the PROXY protocol (HAProxy's, versions 1 and 2) in front of any other protocol.
//!
//! [`ProxyProtocol`] wraps a factory. From a trusted address the first bytes must be a header, within a deadline; then the
//! wrapped factory builds its protocol for the client's address and gets what follows, and the transport answers the client's
//! address as its peer's. Nothing is guessed: a trusted connection without a header and a header from a stranger both end.
//!
//! It is called by listening (the endpoint `proxy:tcp:8080`), or put around a factory by hand. The codec is the wire floor's;
//! the other side, which sends a header, is [`ProxyClient`].

mod client;

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::Reactor;
use ropewalk_reactor::io::Address;
use ropewalk_wire::proxy_protocol::{Addresses, Decoder, Fed, Header, Versions};

pub use client::ProxyClient;

use crate::network::Networks;
use crate::protocol::{Factory, Lost, Protocol};
use crate::transport::Transport;

/// A proxy sends its header with its first segment. "At least 3 seconds to cover a TCP retransmit", says the specification.
pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// What becomes of connections from addresses that are not trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strangers {
    /// They are closed, counted and logged at debug level.
    #[default]
    Refuse,
    /// They are served as plain connections, and nothing is looked for: a header from them is only bytes.
    Pass,
}

/// Who is believed, and what is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyOptions {
    /// The proxies' addresses; loopback by default. A peer without an IP address, at a UNIX socket, is on this machine and
    /// is trusted: who may connect there is what the socket's permissions say.
    pub trusted: Networks,
    /// Which forms of the header are accepted; both by default.
    pub versions: Versions,
    /// What becomes of the others; refused by default.
    pub strangers: Strangers,
    /// For the whole header, from the beginning of the connection; 5 s by default.
    pub header_timeout: Duration,
}

impl Default for ProxyOptions {
    fn default() -> Self {
        ProxyOptions {
            trusted: Networks::loopback(),
            versions: Versions::Any,
            strangers: Strangers::Refuse,
            header_timeout: HEADER_TIMEOUT,
        }
    }
}

impl ProxyOptions {
    fn trusts(&self, peer: &Address) -> bool {
        peer.ip().is_none_or(|address| self.trusted.contains(address))
    }
}

/// What has become of connections so far; each is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyStatistics {
    /// A header named a client.
    pub clients: u64,
    /// A header named none: the proxy's own connections (LOCAL), and UNKNOWN.
    pub nameless: u64,
    /// From an address that is not trusted, and refused.
    pub strangers: u64,
    /// What came was no header.
    pub malformed: u64,
    /// No whole header within the deadline.
    pub timed_out: u64,
    /// Ended, broken or stopped before the header was whole; health checks that only connect are among them.
    pub ended: u64,
    /// A header was there, and its client is beyond the limit per peer.
    pub over_limit: u64,
}

/// A factory whose connections come through a proxy.
///
/// ```
/// use ropewalk_net::{Protocol, ProxyProtocol, Transport, listen};
/// use ropewalk_reactor::Simulation;
///
/// struct Mirror;
/// impl Protocol for Mirror {
///     fn connection_made(&mut self, transport: &Transport) {
///         transport.write(format!("you are {}\n", transport.peer()).as_bytes());
///     }
///     fn data_received(&mut self, _: &Transport, _: &[u8]) {}
/// }
///
/// let simulation = Simulation::new(1);
/// let factory = ProxyProtocol::new(|| Mirror, "127.0.0.0/8".parse()?);
/// let port = listen(simulation.reactor(), &"tcp:7:interface=127.0.0.1".parse()?, factory)?;
/// # let ropewalk_net::Address::Inet(address) = *port.address() else { unreachable!() };
/// let proxy = simulation.network().connect(address);
/// simulation.advance(std::time::Duration::from_millis(50));
/// proxy.write(b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 80\r\n");
/// simulation.advance(std::time::Duration::from_millis(50));
/// assert_eq!(proxy.text(), "you are 192.0.2.1:4711\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ProxyProtocol(Rc<Shared>);

struct Shared {
    factory: Rc<dyn Factory>,
    options: ProxyOptions,
    counts: Cell<ProxyStatistics>,
}

impl ProxyProtocol {
    /// Headers from these addresses are asked for and believed; others are refused.
    #[must_use]
    pub fn new(factory: impl Factory, trusted: Networks) -> ProxyProtocol {
        ProxyProtocol::with_options(Rc::new(factory), ProxyOptions { trusted, ..ProxyOptions::default() })
    }

    /// With everything that can be chosen.
    #[must_use]
    pub fn with_options(factory: Rc<dyn Factory>, options: ProxyOptions) -> ProxyProtocol {
        ProxyProtocol(Rc::new(Shared { factory, options, counts: Cell::default() }))
    }

    /// Figures.
    #[must_use]
    pub fn statistics(&self) -> ProxyStatistics {
        self.0.counts.get()
    }

    pub(crate) fn options(&self) -> &ProxyOptions {
        &self.0.options
    }
}

impl Factory for ProxyProtocol {
    fn build_protocol(&self, peer: &Address) -> Option<Box<dyn Protocol>> {
        let shared = &self.0;
        if shared.options.trusts(peer) {
            let decoder = Decoder::new(shared.options.versions);
            return Some(Box::new(Waiting { shared: Rc::clone(shared), decoder }));
        }
        match shared.options.strangers {
            Strangers::Pass => shared.factory.build_protocol(peer),
            Strangers::Refuse => {
                shared.count(|counts| &mut counts.strangers);
                tracing::debug!(%peer, "refused: a PROXY header is taken from trusted proxies only");
                None
            }
        }
    }

    fn start_factory(&self, reactor: &Reactor) {
        self.0.factory.start_factory(reactor);
    }

    fn stop_factory(&self) {
        self.0.factory.stop_factory();
    }

    fn drain(&self) {
        self.0.factory.drain();
    }

    fn overflow(&self) -> &[u8] {
        self.0.factory.overflow()
    }

    /// A proxy's own address stands for all of its clients; each is counted once its header is read.
    fn counts_peer(&self, peer: &Address) -> bool {
        !self.0.options.trusts(peer) && self.0.factory.counts_peer(peer)
    }
}

impl Shared {
    fn count(&self, which: impl FnOnce(&mut ProxyStatistics) -> &mut u64) {
        let mut counts = self.counts.get();
        *which(&mut counts) += 1;
        self.counts.set(counts);
    }
}

/// What a proxy has said of a connection; see [`Transport::proxied`].
#[derive(Debug)]
pub struct Proxied {
    proxy: Address,
    header: Header,
}

impl Proxied {
    /// The proxy's own address: the socket's peer.
    #[must_use]
    pub fn proxy(&self) -> &Address {
        &self.proxy
    }

    /// The client; `None` if the proxy named none (LOCAL, UNKNOWN).
    #[must_use]
    pub fn client(&self) -> Option<Address> {
        match self.header.addresses() {
            Addresses::Inet { source, .. } => Some(Address::Inet(*source)),
            Addresses::Unix { source, .. } => Some(Address::Unix(path(source))),
            Addresses::Local | Addresses::Unknown => None,
        }
    }

    /// All that it said: where the client connected to, TLS, a unique id.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }
}

/// The path of a UNIX name; an abstract one has none.
fn path(name: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let is_path = name.first().is_some_and(|&byte| byte != 0);
    is_path.then(|| PathBuf::from(std::ffi::OsStr::from_bytes(name)))
}

/// The protocol of a connection whose header is not whole. It writes nothing, and ends with the header.
struct Waiting {
    shared: Rc<Shared>,
    decoder: Decoder,
}

impl Waiting {
    /// The connection becomes the client's.
    fn enter(&self, transport: &Transport, header: Header) {
        let shared = &self.shared;
        let proxied = Proxied { proxy: transport.peer(), header };
        let named = proxied.client().is_some();
        transport.set_deadline(None);
        if !transport.set_proxied(Rc::new(proxied)) {
            shared.count(|counts| &mut counts.over_limit);
            transport.switch(Box::new(Closing));
            transport.write(shared.factory.overflow());
            return transport.lose_connection_lingering();
        }
        shared.count(|counts| if named { &mut counts.clients } else { &mut counts.nameless });
        match shared.factory.build_protocol(&transport.peer()) {
            Some(next) => transport.switch(next),
            None => {
                transport.switch(Box::new(Closing));
                transport.lose_connection();
            }
        }
    }
}

impl Protocol for Waiting {
    fn connection_made(&mut self, transport: &Transport) {
        let until = transport.reactor().now() + self.shared.options.header_timeout;
        transport.set_deadline(Some(until));
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        match self.decoder.feed(data) {
            Ok(Fed::NeedMore) => {}
            Ok(Fed::Header { consumed, header }) => {
                transport.unread(&data[consumed..]);
                self.enter(transport, header);
            }
            Err(malformed) => {
                self.shared.count(|counts| &mut counts.malformed);
                tracing::debug!(peer = %transport.peer(), "refused: {malformed}");
                transport.switch(Box::new(Closing));
                transport.abort_connection();
            }
        }
    }

    fn timed_out(&mut self, transport: &Transport) {
        transport.abort(Lost::TimedOut("PROXY header"));
    }

    fn connection_lost(&mut self, transport: &Transport, lost: &Lost) {
        match lost {
            Lost::TimedOut(_) => {
                self.shared.count(|counts| &mut counts.timed_out);
                tracing::debug!(peer = %transport.peer(), "refused: no PROXY header in time");
            }
            _ => self.shared.count(|counts| &mut counts.ended),
        }
    }
}

/// A connection that has been counted and only ends.
struct Closing;

impl Protocol for Closing {
    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {
        // Nobody is there to read it.
    }
}
