//! A port that waits for the client's data connection (PASV, EPSV). It takes one connection, of the control connection's peer and
//! of nobody else, and is closed when it has come, when nobody has come for a while, or with its session.

use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::{
    Address, Admission, ConnectionLimits, Factory, Port, Protocol, ServerEndpoint, ServerOptions, listen_with,
};
use ropewalk_reactor::{DelayedCall, Reactor};

use super::connection::{Data, Waiting};
use super::{name, transport};
use crate::server::Server;

/// Connections that the system lets wait; one is enough, others are strangers'.
const BACKLOG: u32 = 4;

/// A listening passive port.
pub(crate) struct Passive {
    port: Port,
    number: u16,
    waiting: Waiting,
    timer: DelayedCall,
}

impl Passive {
    /// Listens at one of the ports that the options name, on the address by which the client reaches us.
    pub(crate) fn listen(
        server: &Rc<Server>,
        reactor: &Reactor,
        host: IpAddr,
        peer: IpAddr,
    ) -> io::Result<Passive> {
        let waiting = Waiting::new();
        let factory: Rc<dyn Factory> =
            Rc::new(Door { server: Rc::clone(server), peer: peer.to_canonical(), waiting: waiting.clone() });
        let limits = &server.options.limits;
        let ports = server.options.passive_ports.clone();
        let port = first_free(reactor, ports, |number| {
            let endpoint = ServerEndpoint::Tcp {
                port: number,
                interface: Some(host),
                v6: host.is_ipv6(),
                backlog: BACKLOG,
            };
            let options = ServerOptions {
                name: name(),
                admission: Admission::new(ConnectionLimits::default()),
                transport: transport(limits.stall),
                ..ServerOptions::default()
            };
            listen_with(reactor, &endpoint, Rc::clone(&factory), options)
        })?;
        let number = match port.address() {
            Address::Inet(address) => address.port(),
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        let timer = close_later(reactor, limits.data_connect, &port, &waiting);
        Ok(Passive { port, number, waiting, timer })
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    pub(crate) fn has_arrived(&self) -> bool {
        self.waiting.has_arrived()
    }

    /// The client's connection; `None` if none comes in time.
    pub(super) async fn arrival(self) -> Option<Data> {
        let data = self.waiting.arrival().await;
        data.filter(|data| !data.is_lost())
    }
}

impl Drop for Passive {
    fn drop(&mut self) {
        // It may have fired.
        let _ = self.timer.cancel();
        self.port.stop_listening();
        self.waiting.end();
    }
}

fn close_later(reactor: &Reactor, after: Duration, port: &Port, waiting: &Waiting) -> DelayedCall {
    let (port, waiting) = (port.clone(), waiting.clone());
    reactor.call_later(after, move || {
        port.stop_listening();
        waiting.end();
    })
}

/// The first port of a range that is free, from a random one on, so that nobody knows which comes next.
fn first_free(
    reactor: &Reactor,
    ports: Option<RangeInclusive<u16>>,
    listen: impl Fn(u16) -> io::Result<Port>,
) -> io::Result<Port> {
    let Some(ports) = ports else { return listen(0) };
    let count = u64::from(ports.end().saturating_sub(*ports.start())) + 1;
    let from = reactor.random() % count;
    for step in 0..count {
        let number = u64::from(*ports.start()) + (from + step) % count;
        let Ok(number) = u16::try_from(number) else { break };
        match listen(number) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            outcome => return outcome,
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// Lets the control connection's peer in, once.
struct Door {
    server: Rc<Server>,
    peer: IpAddr,
    waiting: Waiting,
}

impl Factory for Door {
    fn build_protocol(&self, peer: &Address) -> Option<Box<dyn Protocol>> {
        // RFC 2577 section 6: whoever connects first must not be given what somebody else has asked for.
        if peer.ip().map(|ip| ip.to_canonical()) != Some(self.peer) {
            self.server.figures.add(|figures| figures.strangers += 1);
            return None;
        }
        if self.waiting.has_arrived() {
            return None;
        }
        Some(Box::new(self.waiting.protocol()))
    }

    fn stop_factory(&self) {
        if !self.waiting.has_arrived() {
            self.waiting.end();
        }
    }
}
