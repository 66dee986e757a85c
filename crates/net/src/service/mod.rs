//! `ClientService`: keeps one connection to an endpoint up. Twisted's, with a handle of the factory's making. The states are in
//! `keeper`, one attempt in `attempt`, the delays in `policy`; connecting itself is `connect`'s.

mod attempt;
mod keeper;
mod policy;

use std::rc::Rc;

use ropewalk_reactor::deferred::{IntoFlow, maybe_deferred};
use ropewalk_reactor::io::Address;
use ropewalk_reactor::{Deferred, Failure, Reactor, Time};

use crate::endpoint::ClientEndpoint;
use crate::protocol::Protocol;
use crate::transport::Transport;

use keeper::Keeper;
pub use policy::ClientPolicy;

/// Makes a protocol for each connection of a [`ClientService`], and a handle by which the program speaks with it.
///
/// Any function that returns both is one. Who needs no handle returns `()`: the transport is there in any case.
///
/// ```
/// use ropewalk_net::{ClientFactory, Protocol, Transport};
/// # struct Printer;
/// # impl Protocol for Printer { fn data_received(&mut self, _: &Transport, _: &[u8]) {} }
/// fn takes(_: impl ClientFactory) {}
/// takes(|| (Printer, ()));
/// ```
pub trait ClientFactory: 'static {
    /// What the protocol shares with the program: usually an `Rc` of what both look at.
    type Handle: Clone + 'static;

    /// The protocol for a new connection, and its handle; `None` refuses the connection, which counts as a failure.
    fn build_client(&self, peer: &Address) -> Option<(Box<dyn Protocol>, Self::Handle)>;
}

impl<P: Protocol, H: Clone + 'static, F: Fn() -> (P, H) + 'static> ClientFactory for F {
    type Handle = H;

    fn build_client(&self, _peer: &Address) -> Option<(Box<dyn Protocol>, H)> {
        let (protocol, handle) = self();
        Some((Box::new(protocol), handle))
    }
}

/// A connection that stands: what to write to, and the handle of its protocol.
///
/// It is one connection's. After that is lost, the transport takes what is written to nowhere, and
/// [`ClientService::when_connected`] gives the next one.
#[derive(Clone)]
#[non_exhaustive]
pub struct Connected<H> {
    /// The connection.
    pub transport: Transport,
    /// What the factory made beside the protocol.
    pub handle: H,
}

type Prepare<H> = Rc<dyn Fn(&Connected<H>) -> Deferred<()>>;

/// Figures of a client service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStatistics {
    /// Attempts begun.
    pub attempts: u64,
    /// Attempts that have failed.
    pub failures: u64,
    /// Attempts that have failed since the last connection.
    pub failures_in_a_row: u32,
    /// Connections made, and prepared.
    pub connections: u64,
    /// Since when there is a connection.
    pub connected_since: Option<Time>,
    /// When the next attempt begins, if one is waited for.
    pub next_attempt: Option<Time>,
    /// Who waits in [`ClientService::when_connected`].
    pub waiting: usize,
}

/// Keeps a connection up: connects, and whenever the connection is lost or cannot be made, tries again after a delay that
/// grows. There is never more than one connection.
///
/// A clone is the same service. It goes on when its handles are dropped, until [`stop`](ClientService::stop), or until the
/// reactor is stopped, which stops it too.
///
/// ```
/// use std::{cell::RefCell, rc::Rc, time::Duration};
/// use ropewalk_net::{ClientPolicy, ClientService, Protocol, Transport, listen};
/// use ropewalk_reactor::Simulation;
///
/// /// What the server has said. The protocol writes it, the program reads it.
/// #[derive(Clone, Default)]
/// struct News(Rc<RefCell<String>>);
///
/// struct Listening(News);
/// impl Protocol for Listening {
///     fn data_received(&mut self, _: &Transport, data: &[u8]) {
///         self.0.0.borrow_mut().push_str(&String::from_utf8_lossy(data));
///     }
/// }
///
/// # struct Echo;
/// # impl Protocol for Echo { fn data_received(&mut self, t: &Transport, data: &[u8]) { t.write(data); } }
/// let simulation = Simulation::new(1);
/// # listen(simulation.reactor(), &"tcp:7:interface=127.0.0.1".parse()?, || Echo)?;
/// let service = ClientService::new(
///     simulation.reactor(),
///     "tcp:localhost:7".parse()?,
///     || {
///         let news = News::default();
///         (Listening(news.clone()), news)
///     },
///     ClientPolicy::default(),
/// );
/// service.start();
/// let greeted = service.when_connected(None).add_callback(|connected| {
///     connected.transport.write(b"hello");
///     connected.handle
/// });
/// simulation.advance(Duration::from_secs(1));
/// # drop(greeted);
/// let connected = service.connected().expect("the server is up");
/// assert_eq!(*connected.handle.0.borrow(), "hello");
///
/// let stopped = service.stop();
/// simulation.advance(Duration::from_secs(1));
/// assert!(connected.transport.is_disconnected() && service.connected().is_none());
/// # drop(stopped);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ClientService<H: Clone + 'static>(Rc<Keeper<H>>);

impl<H: Clone + 'static> Clone for ClientService<H> {
    fn clone(&self) -> Self {
        ClientService(Rc::clone(&self.0))
    }
}

impl<H: Clone + 'static> ClientService<H> {
    /// A service that does nothing until it is started.
    #[must_use]
    pub fn new(
        reactor: &Reactor,
        endpoint: ClientEndpoint,
        factory: impl ClientFactory<Handle = H>,
        policy: ClientPolicy,
    ) -> ClientService<H> {
        ClientService(Rc::new(Keeper::new(reactor, endpoint, Rc::new(factory), policy)))
    }

    /// What is done with each connection before it counts as one: a login, a handshake. Its outcome is awaited; if it fails,
    /// panics, or loses the connection, the connection is closed, and the attempt has failed. How long it may take is its own
    /// affair ([`Deferred::add_timeout`]). It holds from the next attempt on.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ropewalk_net::{ClientPolicy, ClientService, Connected, Protocol, Transport};
    /// use ropewalk_reactor::{Deferred, Firing, Reactor};
    /// use std::{cell::Cell, rc::Rc};
    ///
    /// /// Is told when the server has said anything.
    /// type Welcome = Rc<Cell<Option<Firing<()>>>>;
    ///
    /// struct Client(Welcome);
    /// impl Protocol for Client {
    ///     fn data_received(&mut self, _: &Transport, _: &[u8]) {
    ///         if let Some(welcome) = self.0.take() {
    ///             let _ = welcome.callback(());
    ///         }
    ///     }
    /// }
    ///
    /// let reactor = Reactor::new()?;
    /// let endpoint = "tcp:localhost:7".parse()?;
    /// let factory = || {
    ///     let welcome = Welcome::default();
    ///     (Client(Rc::clone(&welcome)), welcome)
    /// };
    /// let service = ClientService::new(&reactor, endpoint, factory, ClientPolicy::default());
    /// service.prepare_connection(|connected: &Connected<Welcome>| {
    ///     let (firing, welcomed) = Deferred::new(connected.transport.reactor());
    ///     connected.handle.set(Some(firing));
    ///     connected.transport.write(b"login\n");
    ///     welcomed.add_timeout(Duration::from_secs(10))
    /// });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prepare_connection<R, M>(&self, prepare: impl Fn(&Connected<H>) -> R + 'static)
    where
        R: IntoFlow<(), M>,
        M: 'static,
    {
        let prepare: Prepare<H> =
            Rc::new(move |connected| maybe_deferred(connected.transport.reactor(), || prepare(connected)));
        let before = self.0.prepare.replace(Some(prepare));
        drop(before);
    }

    /// Starts, at once, or as soon as a connection that is being closed is gone. Once started it does nothing.
    pub fn start(&self) {
        self.0.start();
    }

    /// Stops: an attempt is given up, a connection is closed, and who waits for one is told that this was cancelled. The
    /// deferred fires when the connection is gone, which waits for its output to be sent, but not longer than
    /// [`ClientPolicy::close_within`]. The service may be started again.
    pub fn stop(&self) -> Deferred<()> {
        self.0.stop()
    }

    /// The connection: at once if there is one, else as soon as there is. With a number it fails after so many failed attempts
    /// from now on (none is one), with the failure of the last; without, it waits for ever.
    ///
    /// # Errors
    /// The deferred fails as [`Cancelled`](ropewalk_reactor::failure::Cancelled) when the service is stopped or was.
    pub fn when_connected(&self, fail_after_failures: Option<u32>) -> Deferred<Connected<H>> {
        self.0.when_connected(fail_after_failures)
    }

    /// The connection, if there is one now.
    #[must_use]
    pub fn connected(&self) -> Option<Connected<H>> {
        self.0.connected()
    }

    /// Why the last attempt failed, or the last connection was lost.
    #[must_use]
    pub fn last_failure(&self) -> Option<Failure> {
        self.0.last_failure()
    }

    /// Figures.
    #[must_use]
    pub fn statistics(&self) -> ClientStatistics {
        self.0.statistics()
    }
}
