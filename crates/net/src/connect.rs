//! Connecting: names are resolved on the thread pool, addresses are tried in order, and one deadline covers it all.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::task::{Poll, Waker};

use ropewalk_reactor::io::{Address, Socket};
use ropewalk_reactor::{Deferred, DelayedCall, Failure, Name, Outcome, Reactor, Time};

use crate::endpoint::ClientEndpoint;
use crate::protocol::Protocol;
use crate::transport::{Origin, OriginKind, Transport, TransportOptions};

/// Connects to an endpoint. The deferred fires with the transport when the connection stands, after the protocol's
/// `connection_made`; else with the failure of the last attempt. Cancelling it gives up.
///
/// ```no_run
/// use ropewalk_net::{Protocol, Transport, connect};
/// use ropewalk_reactor::Reactor;
/// struct Printer;
/// impl Protocol for Printer {
///     fn data_received(&mut self, _: &Transport, data: &[u8]) {
///         println!("{}", String::from_utf8_lossy(data));
///     }
/// }
/// let reactor = Reactor::new()?;
/// let handle = reactor.clone();
/// reactor.spawn(async move {
///     let transport = connect(&handle, &"tcp:localhost:7".parse()?, || Printer).await?;
///     transport.write(b"hello");
///     Ok::<(), ropewalk_reactor::Failure>(())
/// });
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn connect<P: Protocol>(
    reactor: &Reactor,
    endpoint: &ClientEndpoint,
    make: impl Fn() -> P + 'static,
) -> Deferred<Transport> {
    let make = Rc::new(move || Box::new(make()) as Box<dyn Protocol>);
    let name = Name::here();
    reactor.ensure_deferred(attempt(reactor, name, endpoint, make))
}

/// The same as a future: dropping it gives up.
pub(crate) fn attempt(
    reactor: &Reactor,
    name: Name,
    endpoint: &ClientEndpoint,
    make: Rc<dyn Fn() -> Box<dyn Protocol>>,
) -> impl Future<Output = Outcome<Transport>> + 'static {
    let attempt = Attempt { reactor: reactor.clone(), name, make };
    let endpoint = endpoint.clone();
    async move { attempt.run(endpoint).await }
}

/// Resolves a name, on the thread pool unless it is an address already.
///
/// # Errors
/// The system's resolver's, with the name.
pub async fn resolve(reactor: &Reactor, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let name = host.to_owned();
    let found = reactor
        .defer_to_thread(move || (name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
    match found.await? {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        Ok(_) => Err(Failure::new(format!("{host}: the name has no address"))),
        Err(error) => Err(Failure::new(io::Error::new(error.kind(), format!("{host}: {error}")))),
    }
}

struct Attempt {
    reactor: Reactor,
    name: Name,
    make: Rc<dyn Fn() -> Box<dyn Protocol>>,
}

impl Attempt {
    async fn run(self, endpoint: ClientEndpoint) -> Result<Transport, Failure> {
        match endpoint {
            ClientEndpoint::Unix { path, timeout } => {
                let until = self.reactor.now() + timeout;
                let socket =
                    self.reactor.connect_unix(&path).map_err(|error| named(&path.display(), &error))?;
                let address = Address::Unix(Some(path.clone()));
                self.establish(socket, address, until).await.map_err(|error| named(&path.display(), &error))
            }
            ClientEndpoint::Tcp { host, port, timeout } => {
                let until = self.reactor.now() + timeout;
                let resolved = within(&self.reactor, until, resolve(&self.reactor, &host, port)).await;
                let addresses =
                    resolved.unwrap_or_else(|| Err(named(&host, &io::ErrorKind::TimedOut.into())))?;
                let mut last = None;
                for address in addresses {
                    if self.reactor.now() >= until {
                        break;
                    }
                    match self.try_one(address, until).await {
                        Ok(transport) => return Ok(transport),
                        Err(error) => last = Some(named(&address, &error)),
                    }
                }
                Err(last.unwrap_or_else(|| named(&host, &io::ErrorKind::TimedOut.into())))
            }
        }
    }

    async fn try_one(&self, address: SocketAddr, until: Time) -> io::Result<Transport> {
        let socket = self.reactor.connect_tcp(address)?;
        self.establish(socket, Address::Inet(address), until).await
    }

    async fn establish(&self, socket: Socket, peer: Address, until: Time) -> io::Result<Transport> {
        let end = Rc::new(RefCell::new(None));
        let told = Rc::clone(&end);
        let waker: Rc<Cell<Option<Waker>>> = Rc::default();
        let wake = Rc::clone(&waker);
        let origin = Rc::new(Origin {
            reactor: self.reactor.clone(),
            name: self.name,
            options: TransportOptions::default(),
            kind: OriginKind::Connecting(Cell::new(Some(Box::new(move |outcome| {
                *told.borrow_mut() = Some(outcome);
                if let Some(waker) = wake.take() {
                    waker.wake();
                }
            })))),
        });
        let protocol = (self.make)();
        let transport = Transport::start(&origin, socket, peer, protocol)?;
        transport.set_deadline(Some(until));
        let mut pending = Pending { transport: Some(transport) };
        std::future::poll_fn(|context| match end.borrow_mut().take() {
            Some(outcome) => {
                pending.transport = None;
                Poll::Ready(outcome)
            }
            None => {
                waker.set(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}

/// A connection in the making; dropped before its end, it is given up.
struct Pending {
    transport: Option<Transport>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(transport) = self.transport.take() {
            transport.abort_connection();
        }
    }
}

/// What a future gives, or `None` if it has not by `until`.
async fn within<T>(reactor: &Reactor, until: Time, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let waker: Rc<Cell<Option<Waker>>> = Rc::default();
    let wake = Rc::clone(&waker);
    let _alarm = Alarm(reactor.call_at(until, move || {
        if let Some(waker) = wake.take() {
            waker.wake();
        }
    }));
    std::future::poll_fn(|context| {
        if let Poll::Ready(value) = future.as_mut().poll(context) {
            return Poll::Ready(Some(value));
        }
        if reactor.now() >= until {
            return Poll::Ready(None);
        }
        waker.set(Some(context.waker().clone()));
        Poll::Pending
    })
    .await
}

/// A call that is cancelled when nobody waits for it any more.
struct Alarm(DelayedCall);

impl Drop for Alarm {
    fn drop(&mut self) {
        // It has rung already, or it is cancelled.
        let _ = self.0.cancel();
    }
}

fn named(what: &dyn std::fmt::Display, error: &io::Error) -> Failure {
    Failure::new(io::Error::new(error.kind(), format!("{what}: {error}")))
}
