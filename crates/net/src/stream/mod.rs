//! `Stream`: a connection for async/await, with the methods of Tornado's `IOStream`. It stands on a transport whose readiness
//! it has taken over: the task that reads does so itself, into a buffer of its own, and only when it wants bytes, so that a
//! peer that sends faster than it is read is held back by the system. It knows no protocol, and it is not a `Protocol`:
//! `attached` is what the transport calls in its stead. Users, and servers written as one task per connection, call this.
//!
//! ```text
//!   task ── read_until ──► Stream ── reads by hand ──► Transport
//!                            ▲                            │ readiness, loss
//!                            └───── wakes ── Attached ◄───┘
//! ```

mod attached;
mod buffer;
mod error;
mod factory;
mod read;
mod write;

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use ropewalk_reactor::io::Address;
use ropewalk_reactor::{Failure, Name, Reactor, Time};

use crate::connect::{ConnectOptions, Dial};
use crate::endpoint::ClientEndpoint;
use crate::protocol::{Lost, Protocol};
use crate::transport::Transport;

use attached::{Attached, Opening, Shared, Work};

pub use error::StreamError;
pub use factory::{StreamEnd, StreamFactory, stream_factory};
pub use write::{Flush, Write};

/// How much a stream keeps in memory. Tornado's bounds are 100 MB and none; these are smaller because a server has many
/// streams: raise them for the one that needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Received bytes that are kept at most, and so the most that one read can give. 1 MiB: a protocol's message;
    /// what is larger is read piece by piece or with [`Stream::read_into`], which does not use the buffer.
    pub read_bytes_max: usize,
    /// Unsent bytes at which a write is refused. 64 MiB: nobody who awaits the writes comes near.
    pub write_bytes_max: usize,
}

impl Default for StreamLimits {
    fn default() -> Self {
        StreamLimits { read_bytes_max: 1024 * 1024, write_bytes_max: 64 * 1024 * 1024 }
    }
}

/// A connection that is read and written with `await`.
///
/// One read at a time, which `&mut self` sees to; writes may go on beside it through [`Stream::transport`]. Dropping a
/// stream closes it once everything written is sent; dropped by a panic, it resets the connection, so that the peer does
/// not take half an answer for a whole one.
///
/// The peer may end its direction and still read. Then what it sent can be read to the last byte, further reads give
/// [`StreamError::Closed`] with [`Lost::Ended`], and writing goes on.
///
/// A read that is dropped before its end, because something else was faster, loses no bytes.
///
/// ```
/// use std::time::Duration;
/// use ropewalk_net::{Address, Stream, StreamError, listen, stream_factory};
/// use ropewalk_reactor::Simulation;
///
/// async fn greet(mut stream: Stream) -> Result<(), StreamError> {
///     let line = stream.read_until(b"\r\n", 1000).await?;
///     stream.write(b"hello, ").await?;
///     stream.write(&line).await
/// }
///
/// let simulation = Simulation::new(1);
/// let port = listen(simulation.reactor(), &"tcp:7:interface=127.0.0.1".parse()?, stream_factory(greet))?;
/// # let Address::Inet(address) = *port.address() else { unreachable!() };
/// let peer = simulation.network().connect(address);
/// simulation.advance(Duration::from_millis(10));
/// peer.write(b"rope\r\n");
/// simulation.advance(Duration::from_millis(10));
/// assert_eq!(peer.take(), b"hello, rope\r\n");
/// assert!(peer.is_ended());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Stream {
    shared: Rc<Shared>,
    limits: StreamLimits,
    /// The connection was handed on: dropping this does not close it.
    handed_on: bool,
}

impl Stream {
    /// Connects. Dropping the future gives up.
    ///
    /// ```no_run
    /// use ropewalk_net::Stream;
    /// use ropewalk_reactor::Reactor;
    /// let reactor = Reactor::new()?;
    /// let handle = reactor.clone();
    /// reactor.spawn(async move {
    ///     let mut stream = Stream::connect(&handle, &"tcp:localhost:7".parse()?).await?;
    ///     stream.write(b"hello\n").await?;
    ///     let answer = stream.read_until(b"\n", 1000).await?;
    ///     println!("{}", String::from_utf8_lossy(&answer));
    ///     handle.stop();
    ///     Ok::<(), ropewalk_reactor::Failure>(())
    /// });
    /// reactor.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// The failure of the last attempt: refused, timed out, the name is not known.
    #[track_caller]
    pub fn connect(
        reactor: &Reactor,
        endpoint: &ClientEndpoint,
    ) -> impl Future<Output = Result<Stream, Failure>> + 'static {
        let options = ConnectOptions { name: Name::here(), ..ConnectOptions::default() };
        Stream::connect_with(reactor, endpoint, options)
    }

    /// Connects with options.
    ///
    /// # Errors
    /// Those of [`Stream::connect`].
    pub fn connect_with(
        reactor: &Reactor,
        endpoint: &ClientEndpoint,
        options: ConnectOptions,
    ) -> impl Future<Output = Result<Stream, Failure>> + 'static {
        let opened: Rc<Cell<Option<Stream>>> = Rc::default();
        let opening = Rc::clone(&opened);
        let dial = Dial {
            reactor: reactor.clone(),
            endpoint: endpoint.clone(),
            factory: Rc::new(move || Opening(Rc::clone(&opening))),
            options,
            gone: None,
        };
        async move {
            dial.run().await?;
            opened.take().ok_or_else(|| Failure::new("the connection was lost as it was made"))
        }
    }

    /// Takes a running connection over from its protocol, as [`Transport::switch`] does: the protocol is dropped once its
    /// callback has returned, and bytes that it hands back with [`Transport::unread`] come first.
    ///
    /// ```
    /// use ropewalk_net::{Protocol, Stream, Transport};
    ///
    /// /// Reads a byte, and leaves the rest of the conversation to a task.
    /// struct First;
    /// impl Protocol for First {
    ///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
    ///         let mut stream = Stream::attach(transport);
    ///         transport.unread(&data[1..]);
    ///         transport.reactor().spawn(async move { stream.read_some().await });
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn attach(transport: &Transport) -> Stream {
        let shared = Rc::new(Shared::new(transport));
        transport.switch(Box::new(Attached(Rc::clone(&shared))));
        transport.read_by_hand();
        Stream { shared, limits: StreamLimits::default(), handed_on: false }
    }

    /// The same for a task that lives with the connection.
    fn attach_for(transport: &Transport, task: impl FnOnce(Stream) -> Work) {
        let stream = Stream::attach(transport);
        let shared = Rc::clone(&stream.shared);
        shared.give_work(task(stream));
    }

    /// Hands the connection on to a protocol: an upgrade. What was received and not read is the protocol's first.
    pub fn switch(mut self, next: Box<dyn Protocol>) {
        self.handed_on = true;
        let transport = &self.shared.transport;
        let received = self.shared.buffer.take();
        transport.unread(received.bytes());
        transport.switch(next);
    }

    /// What was received and not read: for whoever comes between this and the socket.
    pub(crate) fn take_received(&mut self) -> Vec<u8> {
        self.shared.buffer.take().bytes().to_vec()
    }

    /// Changes the limits.
    pub fn set_limits(&mut self, limits: StreamLimits) {
        self.limits = limits;
    }

    /// Closes the connection once everything written is sent. Nothing more is read.
    pub fn close(&self) {
        self.shared.transport.lose_connection();
    }

    /// Resets the connection at once.
    pub fn abort(&self) {
        self.shared.transport.abort_connection();
    }

    /// Ends this side's direction once everything written is sent; reading goes on.
    pub fn lose_write_connection(&self) {
        self.shared.transport.lose_write_connection();
    }

    /// Calls `callback` once: when the connection is gone, or when the peer has ended its direction and all that it sent
    /// is taken off the socket. To notice this while nobody reads, up to one buffer of what the peer sends is read ahead.
    pub fn set_close_callback(&mut self, callback: impl FnOnce(&Lost) + 'static) {
        self.shared.set_on_close(Box::new(callback));
    }

    /// Whether the connection is gone or being closed. A peer that has only ended its direction does not count.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.is_lost() || self.shared.transport.is_closing()
    }

    /// Whether the peer has ended its direction; bytes may still be buffered.
    #[must_use]
    pub fn is_read_ended(&self) -> bool {
        self.shared.transport.is_read_ended()
    }

    /// Whether something written waits to be sent.
    #[must_use]
    pub fn writing(&self) -> bool {
        self.shared.transport.buffered() > 0
    }

    /// Received bytes that wait to be read from the stream's buffer.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.shared.buffer.borrow().len()
    }

    /// Turns Nagle's algorithm off or on.
    ///
    /// # Errors
    /// The system's, or not connected.
    pub fn set_nodelay(&self, nodelay: bool) -> std::io::Result<()> {
        self.shared.transport.set_nodelay(nodelay)
    }

    /// When the connection is broken off unless this is called again; what waits gets [`Lost::TimedOut`]. `None` is never.
    pub fn set_deadline(&self, at: Option<Time>) {
        self.shared.transport.set_deadline(at);
    }

    /// The peer's address.
    #[must_use]
    pub fn peer(&self) -> Address {
        self.shared.transport.peer()
    }

    /// The reactor.
    #[must_use]
    pub fn reactor(&self) -> &Reactor {
        self.shared.transport.reactor()
    }

    /// The transport below: a handle to write, close and ask with while the stream is being read.
    #[must_use]
    pub fn transport(&self) -> &Transport {
        &self.shared.transport
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.handed_on {
            return;
        }
        if std::thread::panicking() {
            self.shared.transport.abort(Lost::Panicked);
        } else {
            self.shared.transport.lose_connection();
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({} with {})", self.shared.transport.name(), self.peer())
    }
}
