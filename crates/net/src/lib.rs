//! Protocols over connections: what one writes when bytes are all there is.
//!
//! ```text
//!   endpoint string ─► listen ─► Port ── accept ──► Factory::build_protocol
//!                                                        │
//!   the loop ── reads ──► Protocol::data_received(&Transport, &[u8]) ── writes ──► Transport ─► one flush
//! ```
//!
//! ```
//! use ropewalk_net::{Protocol, Transport, listen};
//! use ropewalk_reactor::Simulation;
//!
//! struct Echo;
//! impl Protocol for Echo {
//!     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
//!         transport.write(data);
//!     }
//! }
//!
//! let simulation = Simulation::new(1);
//! let port = listen(simulation.reactor(), &"tcp:7:interface=127.0.0.1".parse()?, || Echo)?;
//! # let ropewalk_reactor::io::Address::Inet(address) = *port.address() else { unreachable!() };
//! let peer = simulation.network().connect(address);
//! simulation.advance(std::time::Duration::from_millis(10));
//! peer.write(b"hello");
//! simulation.advance(std::time::Duration::from_millis(10));
//! assert_eq!(peer.take(), b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod adopt;
mod connect;
mod datagram;
mod endpoint;
mod file;
mod limits;
mod line;
mod listen;
mod network;
mod opened;
mod pipe;
pub mod policy;
mod protocol;
mod proxied;
mod receivers;
mod resolver;
mod service;
mod stdio;
mod stream;
mod systemd;
pub mod testing;
pub mod tls;
mod transport;

pub use adopt::{adopt_connection, adopt_datagrams, adopt_listener};
pub use connect::{ATTEMPT_DELAY, ConnectError, ConnectOptions, FailedAttempt, connect, connect_with};
pub use datagram::{DatagramOptions, DatagramProtocol, DatagramStatistics, DatagramTransport, listen_udp};
pub use endpoint::{ClientEndpoint, EndpointError, ServerEndpoint, quote};
pub use file::FileSender;
pub use limits::{Admission, ConnectionLimits};
pub use line::{LineHandler, LineReceiver, LineTransport, MAX_LENGTH};
pub use listen::{Port, PortStatistics, ServerOptions, listen, listen_on, listen_with};
pub use network::{NetworkError, Networks};
pub use opened::Opened;
pub use pipe::{Intake, Pipe, Stretch};
pub use protocol::{Factory, Frozen, Lost, Producer, Protocol};
pub use proxied::{Proxied, ProxyClient, ProxyOptions, ProxyProtocol, ProxyStatistics, Strangers};
pub use receivers::framing::{Framing, Int8, Int16, Int32, Netstring, NetstringError, StringTooLong};
pub use receivers::stateful::{Blocks, Dialogue, Lines, Messages, State, Stateful, Strings};
pub use receivers::string::{
    Int8Receiver, Int16Receiver, Int32Receiver, NetstringReceiver, STRING_LENGTH_MAX, StringHandler,
    StringReceiver, StringTransport,
};
pub use resolver::{
    HOST_BYTES_MAX, OverrideResolver, Resolver, ResolverStatistics, SystemResolver, install_resolver,
    literal, resolve, resolver,
};
pub use ropewalk_reactor::io::{Address, Below, Layer};
pub use ropewalk_wire::proxy_protocol;
pub use service::{ClientFactory, ClientPolicy, ClientService, ClientStatistics, Connected};
pub use stdio::{adopt_pipes, stdio};
pub use stream::{Flush, Stream, StreamEnd, StreamError, StreamFactory, StreamLimits, Write, stream_factory};
pub use systemd::Passed;
pub use tls::TlsInfo;
pub use transport::{Parcel, Transport, TransportOptions, Travelled};
