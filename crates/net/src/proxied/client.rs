//! The proxy's side: a protocol that sends a header first. For programs that pass connections on; what they pass is theirs.

use crate::protocol::Protocol;
use crate::transport::Transport;

/// Writes a header that is encoded already, and then is another protocol.
///
/// ```no_run
/// use ropewalk_net::proxy_protocol::{Addresses, Kind, encode_line};
/// use ropewalk_net::{Protocol, ProxyClient, Transport, connect};
/// # struct Printer;
/// # impl Protocol for Printer { fn data_received(&mut self, _: &Transport, _: &[u8]) {} }
/// # let reactor = ropewalk_reactor::Reactor::new()?;
/// let (source, destination) = ("192.0.2.1:4711".parse()?, "198.51.100.1:80".parse()?);
/// let mut header = Vec::new();
/// encode_line(&mut header, &Addresses::Inet { kind: Kind::Stream, source, destination });
/// let connecting = connect(&reactor, &"tcp:backend.example:8080".parse()?, move || {
///     ProxyClient::new(header.clone(), Printer)
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ProxyClient {
    header: Vec<u8>,
    next: Option<Box<dyn Protocol>>,
}

impl ProxyClient {
    /// The header's bytes are whole: [`crate::proxy_protocol::encode`] makes them.
    #[must_use]
    pub fn new(header: Vec<u8>, next: impl Protocol) -> ProxyClient {
        ProxyClient { header, next: Some(Box::new(next)) }
    }
}

impl Protocol for ProxyClient {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(&self.header);
        if let Some(next) = self.next.take() {
            transport.switch(next);
        }
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {
        // Never called: it has switched before anything was read.
    }
}
