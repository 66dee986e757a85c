//! Data connections: where the next one will come from or go to (`Plan`), and making it. What then goes over it is in
//! `connection`, what comes in an upload in `incoming`, the port that waits for the client in `passive`. Transfers call this.

mod connection;
mod incoming;
mod passive;

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::policy::{Policy, Rates, Throttle};
use ropewalk_net::tls::{TlsLayer, TlsServer, TlsSide};
use ropewalk_net::{ClientEndpoint, ConnectOptions, TransportOptions, connect_with};
use ropewalk_reactor::{Name, Reactor};

pub(crate) use connection::{Broken, Data};
pub(crate) use incoming::{Chunk, Incoming};
pub(crate) use passive::Passive;

use connection::Waiting;

/// Unsent bytes of a data connection at which whoever makes them waits.
const HIGH_WATER_BYTES: usize = 256 * 1024;

/// Where the next data connection comes from.
pub(crate) enum Plan {
    /// The client connects to this port.
    Passive(Passive),
    /// We connect to the client.
    Active(SocketAddr),
}

/// How data connections of a session are made.
pub(crate) struct Terms {
    pub(crate) reactor: Reactor,
    /// From where: the address that the client reaches us by.
    pub(crate) host: Option<IpAddr>,
    pub(crate) connect: Duration,
    pub(crate) stall: Duration,
    /// After PROT P.
    pub(crate) tls: Option<TlsServer>,
    /// Whether the client has to end TLS in good order.
    pub(crate) farewell_required: bool,
    /// Bytes in a second.
    pub(crate) rates: Rates,
}

/// The name under which logs and statistics know them.
fn name() -> Name {
    Name::new("ftp data")
}

fn transport(stall: Duration) -> TransportOptions {
    TransportOptions {
        high_water_bytes: HIGH_WATER_BYTES,
        low_water_bytes: HIGH_WATER_BYTES / 4,
        write_stall: Some(stall),
    }
}

impl Plan {
    /// Whether the connection stands already: 125 instead of 150.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Plan::Passive(passive) if passive.has_arrived())
    }

    /// The connection, with the layers that it needs. Nothing was read from it yet; `None` if it could not be made.
    pub(crate) async fn open(self, terms: &Terms) -> Option<Data> {
        let data = match self {
            Plan::Passive(passive) => passive.arrival().await?,
            Plan::Active(address) => connect(address, terms).await?,
        };
        let transport = data.transport();
        // The throttle is the nearer to the socket: TLS keeps what it has made of bytes that may not pass yet.
        let throttle = Throttle::new(&terms.reactor).each(terms.rates);
        if let Some(layer) = throttle.layer(&transport.peer()) {
            transport.push_layer(layer);
        }
        if let Some(tls) = &terms.tls {
            // lftp closes after an upload without having read what a server sends by itself.
            if let Err(error) = transport.start_tls(TlsSide::ServerWithoutTickets(tls), b"") {
                tracing::error!("a data connection without TLS: {error}");
                return None;
            }
            if !terms.farewell_required {
                transport.layer(|layer: &mut TlsLayer| layer.allow_truncation(true));
            }
            data.set_private();
        }
        data.set_stall(terms.stall);
        Some(data)
    }
}

async fn connect(address: SocketAddr, terms: &Terms) -> Option<Data> {
    let waiting = Waiting::new();
    let made = waiting.clone();
    let endpoint = ClientEndpoint::Tcp {
        host: address.ip().to_string(),
        port: address.port(),
        timeout: terms.connect,
        bind_address: terms.host,
    };
    let options =
        ConnectOptions { name: name(), transport: transport(terms.stall), ..ConnectOptions::default() };
    let factory = Rc::new(move || made.protocol());
    match connect_with(&terms.reactor, &endpoint, factory, options).await {
        Ok(_) => waiting.take(),
        Err(failure) => {
            tracing::debug!("an active data connection: {failure}");
            None
        }
    }
}
