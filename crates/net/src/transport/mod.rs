//! `Transport`: what a protocol holds of its connection. Its methods never call the protocol: what they ask for takes effect
//! after the callback that runs has returned. The state and the loop's side are in `conn`.

mod conn;
mod output;
mod part;

use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ropewalk_reactor::io::{Address, Layer, Socket};
use ropewalk_reactor::{Key, Name, Reactor, Time};

pub(crate) use conn::{Conn, Connecting, Origin, OriginKind, READS_PER_TURN};
pub use conn::{Parcel, Travelled};
pub(crate) use part::{FilePart, Transform};

use crate::protocol::{Lost, Producer, Protocol};
use crate::proxied::Proxied;

/// One connection: a cheap clone that does not keep the descriptor open.
#[derive(Clone)]
pub struct Transport(pub(crate) Rc<Conn>);

/// How a transport behaves; given with the endpoint.
#[derive(Clone, Debug)]
pub struct TransportOptions {
    /// From this many unsent bytes on, the producer is paused and [`Transport::is_full`] holds. 64 KiB.
    pub high_water_bytes: usize,
    /// At this many unsent bytes or fewer, it is resumed. 16 KiB.
    pub low_water_bytes: usize,
    /// A connection that takes none of what is to be sent for so long is broken off. 60 s.
    pub write_stall: Option<Duration>,
}

impl Default for TransportOptions {
    fn default() -> Self {
        TransportOptions {
            high_water_bytes: 64 * 1024,
            low_water_bytes: 16 * 1024,
            write_stall: Some(Duration::from_secs(60)),
        }
    }
}

impl Transport {
    /// Queues bytes to be sent, in order, or sends them at once where they are many and nothing waits in front. After
    /// [`Transport::lose_connection`] they are ignored.
    pub fn write(&self, data: &[u8]) {
        self.0.write(data);
    }

    /// Lets an encoder append to the output buffer itself. It must only append.
    pub fn write_with(&self, encode: impl FnOnce(&mut Vec<u8>)) {
        self.0.write_with(encode);
    }

    /// Queues several pieces.
    pub fn write_sequence<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>) {
        self.0.write_with(|out| pieces.into_iter().for_each(|piece| out.extend_from_slice(piece)));
    }

    /// Sends bytes that many connections share, without copying them. Sent at once when nothing waits in front.
    pub fn write_shared(&self, data: &Rc<[u8]>) {
        self.0.write_shared(data);
    }

    /// Bytes that wait to be sent, those of files included.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.0.buffered()
    }

    /// How many of them are in memory: all but what is still in files.
    #[must_use]
    pub fn buffered_in_memory(&self) -> usize {
        self.0.buffered_in_memory()
    }

    /// Whether more waits to be sent than is good, or as much was sent in this turn already: a writer should wait (see
    /// [`Transport::poll_writable`]). Never so once the connection is closing, when what is written is dropped: who writes until it is
    /// full asks [`Transport::is_closing`] too.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.is_full()
    }

    /// Waits until the output is at low water, or the connection is gone.
    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_full() && !self.is_disconnected() {
            self.0.wake_on_progress(context.waker());
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    /// Waits until everything written is handed to the system, or the connection is gone.
    pub fn poll_drained(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.buffered() > 0 && !self.is_disconnected() {
            self.0.wake_on_progress(context.waker());
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    /// Registers who makes the data, to be paused at high water and resumed at low water: one that writes until
    /// [`Transport::is_full`] is always told to go on. A second one is a mistake of the program and replaces the first.
    pub fn register_producer(&self, producer: Rc<dyn Producer>) {
        self.0.register_producer(producer);
    }

    /// The producer has made all of its data.
    pub fn unregister_producer(&self) {
        self.0.unregister_producer();
    }

    /// Stops reading. What the protocol leaves of the bytes it was just given is its own business; see
    /// [`Transport::unread`].
    pub fn pause_reading(&self) {
        self.0.pause_reading();
    }

    /// Reads again, from the next turn on.
    pub fn resume_reading(&self) {
        self.0.resume_reading();
    }

    /// Whether reading is paused.
    #[must_use]
    pub fn is_reading_paused(&self) -> bool {
        self.0.is_reading_paused()
    }

    /// Hands back the tail of the bytes that `data_received` was given: they come again, first, after reading is resumed
    /// or the protocol has switched. At most one read's worth can ever be outstanding. Pause reading with it: a protocol that only
    /// waits for more gets the same bytes again at once, and for ever; keep those instead.
    pub fn unread(&self, data: &[u8]) {
        self.0.unread(data);
    }

    /// Closes the connection once everything written is sent. Nothing more is read.
    pub fn lose_connection(&self) {
        self.0.lose_connection(false);
    }

    /// The same for a peer that may still be sending: after the output its bytes are read and thrown away for a moment, so
    /// that a reset does not overtake the last answer (RFC 9112 section 9.6).
    pub fn lose_connection_lingering(&self) {
        self.0.lose_connection(true);
    }

    /// Ends this side's direction once everything written is sent; reading goes on.
    pub fn lose_write_connection(&self) {
        self.0.lose_write_connection();
    }

    /// Breaks the connection off at once: what waits is thrown away and the peer gets a reset.
    pub fn abort_connection(&self) {
        self.abort(Lost::Aborted);
    }

    /// Breaks it off for a reason that `connection_lost` is told.
    pub fn abort(&self, lost: Lost) {
        self.0.abort(lost);
    }

    /// Hands the connection to another protocol after this callback: STARTTLS, an upgrade. Bytes that the old one did
    /// not consume ([`Transport::unread`]) are the new one's first, after its `connection_made`. The old one is dropped
    /// without `connection_lost`.
    pub fn switch(&self, next: Box<dyn Protocol>) {
        self.0.switch(next);
    }

    /// Puts a layer between this connection and its socket, at once: STARTTLS, a throttle. What the protocol hands back
    /// ([`Transport::unread`]) before this call is the layer's first input; what was written before leaves in the clear.
    pub fn push_layer(&self, layer: Box<dyn Layer>) {
        self.0.push_layer(layer);
    }

    /// Looks at the layer of type `L`, if there is one.
    pub fn layer<L: Layer, T>(&self, then: impl FnOnce(&mut L) -> T) -> Option<T> {
        self.0.with_socket(|socket| socket.layer(then)).flatten()
    }

    /// Sets when [`Protocol::timed_out`] is called; `None` means never. Later than before costs one store.
    pub fn set_deadline(&self, at: Option<Time>) {
        self.0.set_deadline(at);
    }

    /// A waker that calls [`Protocol::woken`], usable from any thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.reactor().waker(self.0.key)
    }

    /// Asks for [`Protocol::woken`] among the ready work.
    pub fn wake(&self) {
        self.reactor().wake(self.0.key);
    }

    /// Whether the connection is gone.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        self.0.is_closed()
    }

    /// Whether the connection is being closed or is gone: what is written now goes nowhere.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    /// Whether the peer has ended its direction.
    #[must_use]
    pub fn is_read_ended(&self) -> bool {
        self.0.is_read_ended()
    }

    /// The peer's address; behind a proxy whose header was believed, the client's (see [`Transport::proxied`]).
    #[must_use]
    pub fn peer(&self) -> Address {
        self.0.peer()
    }

    /// What the proxy has said that passes this connection on: its own address, where the client connected to, the client's
    /// TLS. `None` for a connection without a PROXY header (see [`crate::ProxyProtocol`]).
    #[must_use]
    pub fn proxied(&self) -> Option<Rc<Proxied>> {
        self.0.proxied()
    }

    /// This side's address; `None` once the connection is gone.
    #[must_use]
    pub fn host(&self) -> Option<Address> {
        self.0.with_socket(|socket| socket.local_address().ok()).flatten()
    }

    /// The reactor.
    #[must_use]
    pub fn reactor(&self) -> &Reactor {
        &self.0.origin.reactor
    }

    /// The connection's identity: never that of another one of this reactor.
    #[must_use]
    pub fn id(&self) -> Key {
        self.0.key
    }

    /// What kind of connection it is called.
    #[must_use]
    pub fn name(&self) -> Name {
        self.0.origin.name
    }

    /// Connections that stand now under the limits of the listener that accepted this one, itself included; 1 for a
    /// connection that was made from here.
    #[must_use]
    pub fn siblings(&self) -> usize {
        match &self.0.origin.kind {
            OriginKind::Accepted(admission) => admission.connections(),
            OriginKind::Connecting(_) | OriginKind::Adopted => 1,
        }
    }

    /// Bytes received and sent so far.
    #[must_use]
    pub fn traffic(&self) -> (u64, u64) {
        self.0.traffic()
    }

    /// Turns Nagle's algorithm off or on; connections begin with it off.
    ///
    /// # Errors
    /// The system's, or not connected.
    pub fn set_nodelay(&self, nodelay: bool) -> std::io::Result<()> {
        let unconnected = || Err(std::io::ErrorKind::NotConnected.into());
        self.0.with_socket(|socket| socket.set_nodelay(nodelay)).unwrap_or_else(unconnected)
    }

    /// Has the system hold back what does not fill a segment, for at most 200 ms (`TCP_CORK`, `man 7 tcp`), or send it again as it comes:
    /// for one who sends much, and ends with the connection, which sends the rest.
    ///
    /// # Errors
    /// The system's, or not connected.
    pub fn set_cork(&self, cork: bool) -> std::io::Result<()> {
        let unconnected = || Err(std::io::ErrorKind::NotConnected.into());
        self.0.with_socket(|socket| socket.set_cork(cork)).unwrap_or_else(unconnected)
    }

    /// Whether a read by hand would find nothing, and an event will come before it finds something.
    #[inline]
    pub(crate) fn is_drained(&self) -> bool {
        self.0.is_drained()
    }

    /// Sends what waits for the end of the turn, if many connections wait for it already.
    pub(crate) fn send_early(&self) {
        self.0.send_early();
    }

    /// From now on the loop does not read: [`Protocol::woken`] is called when there may be something, and the protocol reads by itself,
    /// into memory of its own. [`Transport::switch`] ends that.
    pub fn read_by_hand(&self) {
        self.0.read_by_hand();
    }

    /// Reads what has come, for a protocol that [reads by itself](Transport::read_by_hand). 0 is the peer's end.
    ///
    /// # Errors
    /// `WouldBlock`: [`Protocol::woken`] will be called when there is more; read until then before waiting. Else the connection's, or a
    /// layer's: there is nothing to do but [`Transport::abort`] it.
    pub fn read(&self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(into)
    }

    /// Puts something around the protocol, unless it is out for a call.
    pub(crate) fn wrap(&self, wrap: impl FnOnce(Box<dyn Protocol>) -> Box<dyn Protocol>) {
        self.0.wrap(wrap);
    }

    /// Whether the callback that runs has switched to another protocol: what it does not consume it must hand back.
    pub(crate) fn is_switched(&self) -> bool {
        self.0.is_switched()
    }

    /// Closes a connection that is not wanted any more. One that never stood is gone when this returns.
    pub(crate) fn give_up(&self) {
        self.0.give_up();
    }

    /// Makes the connection that of the client a proxy has named; false if limits have no room for the client.
    pub(crate) fn set_proxied(&self, proxied: Rc<Proxied>) -> bool {
        self.0.set_proxied(proxied)
    }

    /// Starts an accepted connection; whether its peer was counted among the limits says how it leaves them.
    pub(crate) fn start_accepted(
        origin: &Rc<Origin>,
        socket: Socket,
        peer: Address,
        counted: bool,
        protocol: Box<dyn Protocol>,
    ) -> std::io::Result<Transport> {
        Conn::start(origin, socket, peer, counted, protocol).map(Transport)
    }

    /// Goes on with a connection that another process has frozen.
    pub(crate) fn start_thawed(
        origin: &Rc<Origin>,
        socket: Socket,
        parcel: &Travelled,
        peer: Address,
        counted: bool,
        protocol: Box<dyn Protocol>,
    ) -> std::io::Result<Transport> {
        Conn::start_thawed(origin, socket, parcel, peer, counted, protocol).map(Transport)
    }

    pub(crate) fn start(
        origin: &Rc<Origin>,
        socket: Socket,
        peer: Address,
        protocol: Box<dyn Protocol>,
    ) -> std::io::Result<Transport> {
        Conn::start(origin, socket, peer, true, protocol).map(Transport)
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Transport({} {:?} to {})", self.name(), self.id(), self.peer())
    }
}
