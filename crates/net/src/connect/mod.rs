//! Connecting: a name is resolved, its addresses are raced for, and one deadline covers it all. The race is in `race`, the order
//! of addresses in `order`, names are found by `resolver`. What keeps a connection up for good is `service`.

mod error;
mod order;
mod race;
mod secure;

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use ropewalk_reactor::io::Address;
use ropewalk_reactor::{Deferred, DelayedCall, Name, Outcome, Reactor, Time};

use crate::endpoint::ClientEndpoint;
use crate::protocol::{Factory, Lost};
use crate::resolver::{Resolver, resolve_with, resolver};
use crate::tls::TlsClient;
use crate::transport::{Transport, TransportOptions};

pub use error::{ConnectError, FailedAttempt};
use race::{Course, Race};

/// How long an address may take before the next one is tried beside it: RFC 8305 section 5 recommends it, as a little more than
/// most connections take.
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How to connect.
#[derive(Clone)]
pub struct ConnectOptions {
    /// What the watchdog, the logs and the statistics call the connection.
    pub name: Name,
    /// How the transport behaves.
    pub transport: TransportOptions,
    /// Who finds addresses; the reactor's own [`resolver`](crate::resolver()) unless given.
    pub resolver: Option<Rc<dyn Resolver>>,
    /// The address of this machine from which to connect; the endpoint's `bindAddress=` goes before it. Only peers of the same
    /// family are tried then.
    pub bind_address: Option<IpAddr>,
    /// How long an address may take before the next one is tried beside it: [`ATTEMPT_DELAY`].
    pub attempt_delay: Duration,
    /// The TLS of a `tls:` endpoint, instead of one that is made of its files: one that pins keys, or whose sessions are
    /// shared. It means nothing to other endpoints.
    pub tls: Option<TlsClient>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        ConnectOptions {
            name: Name::new("connection"),
            transport: TransportOptions::default(),
            resolver: None,
            bind_address: None,
            attempt_delay: ATTEMPT_DELAY,
            tls: None,
        }
    }
}

/// Connects to an endpoint. The deferred fires with the transport when the connection stands, after the protocol's
/// `connection_made`. Cancelling it gives up: it leaves no attempt behind.
///
/// A name with several addresses is connected as RFC 8305 (Happy Eyeballs) has it: IPv6 and IPv4 by turns, the next address
/// after 250 ms or when the last one has failed, the first that connects wins. The factory is asked once, for the winner.
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
///
/// # Errors
/// The deferred fails with a [`ConnectError`] that tells what each attempt came to, a handshake of TLS included; with the resolver's failure; with the
/// factory's panic, or that it wanted no connection.
#[track_caller]
pub fn connect(reactor: &Reactor, endpoint: &ClientEndpoint, factory: impl Factory) -> Deferred<Transport> {
    let options = ConnectOptions { name: Name::here(), ..ConnectOptions::default() };
    connect_with(reactor, endpoint, Rc::new(factory), options)
}

/// Connects to an endpoint, as [`connect`] does, with options.
///
/// ```
/// use std::rc::Rc;
/// use ropewalk_net::{ConnectOptions, Protocol, Transport, connect_with};
/// # struct Printer;
/// # impl Protocol for Printer { fn data_received(&mut self, _: &Transport, _: &[u8]) {} }
/// let reactor = ropewalk_reactor::Reactor::new()?;
/// let options = ConnectOptions { bind_address: Some([127, 0, 0, 2].into()), ..ConnectOptions::default() };
/// let connected = connect_with(&reactor, &"tcp:localhost:7".parse()?, Rc::new(|| Printer), options);
/// # connected.cancel();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Those of [`connect`].
#[track_caller]
pub fn connect_with(
    reactor: &Reactor,
    endpoint: &ClientEndpoint,
    factory: Rc<dyn Factory>,
    options: ConnectOptions,
) -> Deferred<Transport> {
    let dial = Dial { reactor: reactor.clone(), endpoint: endpoint.clone(), factory, options, gone: None };
    reactor.ensure_deferred(dial.run())
}

/// Called when a connection that was made is gone, after its protocol was told.
pub(crate) type Gone = Box<dyn FnOnce(&Lost)>;

/// One connecting, as a future: dropping it gives up.
pub(crate) struct Dial {
    pub(crate) reactor: Reactor,
    pub(crate) endpoint: ClientEndpoint,
    pub(crate) factory: Rc<dyn Factory>,
    pub(crate) options: ConnectOptions,
    pub(crate) gone: Option<Gone>,
}

impl Dial {
    pub(crate) async fn run(self) -> Outcome<Transport> {
        let limit = match &self.endpoint {
            ClientEndpoint::Tcp { timeout, .. }
            | ClientEndpoint::Unix { timeout, .. }
            | ClientEndpoint::Abstract { timeout, .. }
            | ClientEndpoint::Tls { timeout, .. } => *timeout,
        };
        let until = self.reactor.now() + limit;
        if let ClientEndpoint::Tls { .. } = &self.endpoint {
            return self.run_secure(limit, until).await;
        }
        self.run_plain(limit, until).await
    }

    async fn run_plain(self, limit: Duration, until: Time) -> Outcome<Transport> {
        let Dial { reactor, endpoint, factory, mut options, gone } = self;
        let (target, addresses) = match endpoint {
            ClientEndpoint::Unix { path, .. } => {
                (path.display().to_string(), VecDeque::from([Address::Unix(Some(path))]))
            }
            ClientEndpoint::Abstract { name, .. } => {
                (format!("unix:@{name}"), VecDeque::from([Address::Abstract(name.into_bytes())]))
            }
            ClientEndpoint::Tcp { host, port, bind_address, .. }
            | ClientEndpoint::Tls { host, port, bind_address, .. } => {
                options.bind_address = bind_address.or(options.bind_address);
                let addresses = find(&reactor, &options, &host, port, (limit, until)).await?;
                let target =
                    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
                (target, addresses)
            }
        };
        Race::new(Course { reactor, options, factory, gone, target, addresses, limit, until }).await
    }
}

/// Where to connect to, in the order of the attempts.
async fn find(
    reactor: &Reactor,
    options: &ConnectOptions,
    host: &str,
    port: u16,
    (limit, until): (Duration, Time),
) -> Outcome<VecDeque<Address>> {
    if port == 0 {
        return Err(ConnectError::misuse(host, "port 0 is none that one can connect to").into());
    }
    let resolver = options.resolver.clone().unwrap_or_else(|| resolver(reactor));
    let resolved = within(reactor, until, resolve_with(&*resolver, reactor, host, port)).await;
    let found = resolved.ok_or_else(|| ConnectError::timed_out(host, limit, Vec::new(), 0))??;
    let ordered = order::interleave(found, options.bind_address);
    if ordered.is_empty() {
        return Err(ConnectError::misuse(host, "it has no address of the bind address's family").into());
    }
    Ok(ordered.into_iter().map(Address::Inet).collect())
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
