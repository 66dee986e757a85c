//! `Wire`: one protocol, and the test at the other end of its connection.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::io::Address;
use ropewalk_reactor::{Peer, Reactor};

use super::{Bench, Chunking, Side};
use crate::listen::{Port, ServerOptions, listen_with};
use crate::protocol::{Factory, Lost, Protocol};
use crate::transport::{Transport, TransportOptions};

/// Rounds of feeding and reading without time passing after which a protocol counts as one that never rests.
const ROUNDS_MAX: u32 = 100_000;

/// Where the test's own end of its direction stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    No,
    /// It is to follow what was fed.
    Asked,
    Done,
}

/// A connection with a protocol at one end and the test at the other.
///
/// What is fed arrives at once; what the protocol writes is taken at once, unless the test
/// [says otherwise](Wire::write_cap).
///
/// ```
/// use ropewalk_net::testing::{Chunking, Wire};
/// use ropewalk_net::{Protocol, Transport};
///
/// struct Echo;
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
///         transport.write(data);
///     }
/// }
///
/// let wire = Wire::new(Echo);
/// wire.feed(b"hello");
/// assert_eq!(wire.take_written(), b"hello");
/// wire.feed_chunked(b"once more", Chunking::Bytes);
/// assert_eq!(wire.written(), b"once more");
/// wire.end();
/// assert_eq!(wire.lost().unwrap().to_string(), "ended by the peer");
/// ```
pub struct Wire {
    bench: Bench,
    side: Side,
    factory: Rc<dyn Factory>,
    /// Gone after a reset.
    peer: RefCell<Option<Peer>>,
    /// What was fed and waits until the protocol lets it come.
    fed: RefCell<VecDeque<Vec<u8>>>,
    ending: Cell<Ending>,
    written: RefCell<Vec<u8>>,
    /// How much more the peer takes; `None` without limit.
    cap: Cell<Option<usize>>,
}

impl Wire {
    /// Connects a protocol to the test, on a bench of its own.
    ///
    /// # Panics
    /// When the protocol panics, here as in every method that lets it run.
    #[must_use]
    #[track_caller]
    pub fn new(protocol: impl Protocol) -> Wire {
        Wire::on(&Bench::new(), protocol)
    }

    /// The same, with the random numbers of a seed.
    #[must_use]
    #[track_caller]
    pub fn with_seed(seed: u64, protocol: impl Protocol) -> Wire {
        Wire::on(&Bench::with_seed(seed), protocol)
    }

    /// The same on a bench that exists: for protocols that need the reactor when they are made, and for several connections
    /// that know of each other.
    ///
    /// ```
    /// use ropewalk_net::testing::{Bench, Wire};
    /// # use ropewalk_net::{Protocol, Transport};
    /// # use ropewalk_reactor::Reactor;
    /// # struct Clock(Reactor);
    /// # impl Protocol for Clock {
    /// #     fn data_received(&mut self, transport: &Transport, _: &[u8]) {
    /// #         transport.write(format!("{}", self.0.now().as_millis()).as_bytes());
    /// #     }
    /// # }
    /// let bench = Bench::new();
    /// let wire = Wire::on(&bench, Clock(bench.reactor().clone()));
    /// wire.advance(std::time::Duration::from_secs(3));
    /// wire.feed(b"?");
    /// assert_eq!(wire.written(), b"3000");
    /// ```
    #[must_use]
    #[track_caller]
    pub fn on(bench: &Bench, protocol: impl Protocol) -> Wire {
        let once = Cell::new(Some(Box::new(protocol) as Box<dyn Protocol>));
        Wire::build(bench, Rc::new(Once(once)), TransportOptions::default())
    }

    /// The same with the protocol that a factory makes, and with options. Where the factory refuses, the connection is closed.
    /// It is told that listening has ended when the wire is dropped.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use ropewalk_net::testing::{Bench, Wire};
    /// use ropewalk_net::{Stream, StreamError, TransportOptions, stream_factory};
    /// let greeter = stream_factory(|mut stream: Stream| async move {
    ///     let name = stream.read_until(b"\n", 100).await?;
    ///     stream.write(b"hello, ").await?;
    ///     stream.write(&name).await
    /// });
    /// let wire = Wire::build(&Bench::new(), Rc::new(greeter), TransportOptions::default());
    /// wire.feed(b"you\n");
    /// assert_eq!(wire.written(), b"hello, you\n");
    /// assert!(wire.is_closed());
    /// ```
    #[must_use]
    #[track_caller]
    pub fn build(bench: &Bench, factory: Rc<dyn Factory>, options: TransportOptions) -> Wire {
        let side = Side::new(bench.network(), bench.panic());
        let tapping = Tapping { factory: Rc::clone(&factory), side: side.clone() };
        let (peer, port) = open(bench, Rc::new(tapping), options);
        bench.settle();
        port.stop_listening();
        let wire = Wire {
            bench: bench.clone(),
            side,
            factory,
            peer: RefCell::new(Some(peer)),
            fed: RefCell::default(),
            ending: Cell::new(Ending::No),
            written: RefCell::default(),
            cap: Cell::new(None),
        };
        wire.settle();
        wire
    }

    /// The bench that it stands on.
    #[must_use]
    pub fn bench(&self) -> &Bench {
        &self.bench
    }

    /// The reactor.
    #[must_use]
    pub fn reactor(&self) -> &Reactor {
        self.bench.reactor()
    }

    /// The transport that the protocol was given.
    ///
    /// # Panics
    /// When the factory has refused the connection.
    #[must_use]
    #[track_caller]
    pub fn transport(&self) -> Transport {
        self.side.transport()
    }

    /// How the connection ended, as `connection_lost` was told; `None` while it stands.
    #[must_use]
    pub fn lost(&self) -> Option<Lost> {
        self.side.lost()
    }

    /// Whether the connection is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.side.is_closed()
    }

    /// Sends bytes to the protocol, in one piece.
    #[track_caller]
    pub fn feed(&self, bytes: &[u8]) {
        self.feed_chunked(bytes, Chunking::Whole);
    }

    /// Sends bytes to the protocol, cut into pieces.
    #[track_caller]
    pub fn feed_chunked(&self, bytes: &[u8], chunking: Chunking<'_>) {
        self.feed_each(&chunking.cut(bytes));
    }

    /// Sends pieces to the protocol. It is given each alone, as long as it reads. What it does not let come, because it has
    /// paused reading, comes when it reads again; what comes after the connection is gone is lost.
    #[track_caller]
    pub fn feed_each(&self, pieces: &[&[u8]]) {
        assert!(
            self.ending.get() == Ending::No,
            "the test has ended its direction: nothing can be fed after that"
        );
        let pieces = pieces.iter().filter(|piece| !piece.is_empty());
        self.fed.borrow_mut().extend(pieces.map(|piece| piece.to_vec()));
        self.settle();
    }

    /// What the protocol has written so far, as far as the peer has taken it.
    #[must_use]
    pub fn written(&self) -> Vec<u8> {
        self.receive();
        self.written.borrow().clone()
    }

    /// The same, taken out: the next time there is only what came after this.
    #[must_use]
    pub fn take_written(&self) -> Vec<u8> {
        self.receive();
        self.written.take()
    }

    /// From now on the peer takes so many bytes more, and then reads nothing: the rest stays with the transport
    /// ([`Transport::buffered`](crate::Transport::buffered)), until [`Wire::read_some`] or [`Wire::read_on`].
    ///
    /// ```
    /// # use ropewalk_net::testing::Wire;
    /// # use ropewalk_net::{Protocol, Transport};
    /// # struct Echo;
    /// # impl Protocol for Echo {
    /// #     fn data_received(&mut self, transport: &Transport, data: &[u8]) { transport.write(data); }
    /// # }
    /// let wire = Wire::new(Echo);
    /// wire.write_cap(3);
    /// wire.feed(b"hello");
    /// assert_eq!((wire.written(), wire.transport().buffered()), (b"hel".to_vec(), 2));
    /// wire.read_some(1);
    /// assert_eq!((wire.written(), wire.transport().buffered()), (b"hell".to_vec(), 1));
    /// wire.read_on();
    /// assert_eq!(wire.written(), b"hello");
    /// ```
    #[track_caller]
    pub fn write_cap(&self, bytes: usize) {
        self.set_cap(Some(bytes));
    }

    /// Lets the peer take so many bytes more than it would. Without a cap it takes all anyway.
    #[track_caller]
    pub fn read_some(&self, bytes: usize) {
        self.set_cap(self.cap.get().map(|cap| cap + bytes));
    }

    /// Lets the peer take everything again.
    #[track_caller]
    pub fn read_on(&self) {
        self.set_cap(None);
    }

    #[track_caller]
    fn set_cap(&self, cap: Option<usize>) {
        self.settle();
        self.cap.set(cap);
        if let Some(peer) = &*self.peer.borrow() {
            peer.set_window(cap);
        }
        self.settle();
    }

    /// Ends the test's direction, after all that was fed; the protocol may still write.
    #[track_caller]
    pub fn end(&self) {
        if self.ending.get() == Ending::No {
            self.ending.set(Ending::Asked);
        }
        self.settle();
    }

    /// Breaks the connection.
    #[track_caller]
    pub fn reset(&self) {
        self.settle();
        if let Some(peer) = self.peer.take() {
            peer.reset();
        }
        self.settle();
    }

    /// Whether the protocol has ended its direction, and all that it wrote was taken.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.receive();
        self.peer.borrow().as_ref().is_none_or(Peer::is_ended)
    }

    /// Whether the protocol's side has broken the connection, as [`Transport::abort`](crate::Transport::abort) does.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.peer.borrow().as_ref().is_some_and(Peer::is_reset)
    }

    /// Lets time pass, with deadlines and timers in it.
    #[track_caller]
    pub fn advance(&self, by: Duration) {
        let until = self.bench.network().now() + by;
        self.until_quiet(|| {
            let left = until.since(self.bench.network().now());
            self.bench.run_until(left, || self.may_exchange());
        });
    }

    /// Lets everything happen that can happen without time passing. All other methods do so by themselves; it is for what
    /// the test has done to the transport.
    ///
    /// # Panics
    /// When the protocol writes without end: give it a [`Wire::write_cap`].
    #[track_caller]
    pub fn settle(&self) {
        self.until_quiet(|| self.bench.settle());
    }

    #[track_caller]
    fn until_quiet(&self, run: impl Fn()) {
        for _ in 0..ROUNDS_MAX {
            run();
            let fed = self.send();
            let taken = self.receive();
            if !fed && !taken {
                return;
            }
        }
        panic!("the protocol writes without end, {} bytes so far: cap it", self.written.borrow().len());
    }

    /// Whether there is something to feed or to take.
    fn may_exchange(&self) -> bool {
        let peer = self.peer.borrow();
        let Some(peer) = &*peer else { return false };
        let takes = self.cap.get() != Some(0) && peer.waiting() > 0;
        let feeds = !self.fed.borrow().is_empty() && peer.is_writable();
        takes || feeds
    }

    /// Sends the next piece of what was fed, as far as it is let come; answers whether there was one.
    fn send(&self) -> bool {
        let peer = self.peer.borrow();
        let Some(peer) = &*peer else { return false };
        let mut fed = self.fed.borrow_mut();
        if self.side.is_closed() || peer.is_reset() {
            return !std::mem::take(&mut *fed).is_empty();
        }
        let Some(piece) = fed.front_mut() else {
            let ends = self.ending.get() == Ending::Asked;
            if ends {
                self.ending.set(Ending::Done);
                peer.shutdown_write();
            }
            return ends;
        };
        let count = peer.write(piece);
        piece.drain(..count);
        if piece.is_empty() {
            fed.pop_front();
        }
        count > 0
    }

    /// Takes what has arrived, as far as the cap allows; answers whether there was something.
    fn receive(&self) -> bool {
        let peer = self.peer.borrow();
        let Some(peer) = &*peer else { return false };
        let mut any = false;
        loop {
            let most = peer.waiting().min(self.cap.get().unwrap_or(usize::MAX));
            if most == 0 {
                return any;
            }
            let bytes = peer.take_some(most);
            if bytes.is_empty() {
                return any;
            }
            any = true;
            self.written.borrow_mut().extend_from_slice(&bytes);
            if let Some(cap) = self.cap.get() {
                self.cap.set(Some(cap - bytes.len()));
                // What it has taken is no room for more.
                peer.set_window(self.cap.get());
            }
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.factory.stop_factory();
    }
}

#[track_caller]
fn open(bench: &Bench, factory: Rc<dyn Factory>, transport: TransportOptions) -> (Peer, Port) {
    let any = "tcp:0:interface=127.0.0.1".parse().expect("it is an endpoint");
    let options = ServerOptions { transport, ..ServerOptions::default() };
    let port =
        listen_with(bench.reactor(), &any, factory, options).expect("a simulated network has ports enough");
    let Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
    (bench.network().connect(address), port)
}

/// A factory of one protocol that exists.
struct Once(Cell<Option<Box<dyn Protocol>>>);

impl Factory for Once {
    fn build_protocol(&self, _: &Address) -> Option<Box<dyn Protocol>> {
        self.0.take()
    }
}

/// Listens to what a factory makes. The end of listening is the wire's.
struct Tapping {
    factory: Rc<dyn Factory>,
    side: Side,
}

impl Factory for Tapping {
    fn build_protocol(&self, peer: &Address) -> Option<Box<dyn Protocol>> {
        let built = self.factory.build_protocol(peer)?;
        Some(Box::new(self.side.tap(built)))
    }

    fn start_factory(&self, reactor: &Reactor) {
        self.factory.start_factory(reactor);
    }
}
