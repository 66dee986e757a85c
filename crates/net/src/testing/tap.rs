//! Listens in between a connection and its protocol: the transport, the end, and a panic, which is the test's. `wire` and `pair`
//! put it there; a protocol that is switched to is listened to as well.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use ropewalk_reactor::io::Address;
use ropewalk_reactor::{Act, Network};

use crate::protocol::{Lost, Protocol};
use crate::transport::Transport;

/// What a panic leaves behind, until the test gets it.
pub(super) type Panic = Cell<Option<Box<dyn Any + Send>>>;

/// One side of a connection, as the test sees it. Clones are the same side.
#[derive(Clone)]
pub struct Side(Rc<Seen>);

struct Seen {
    network: Network,
    panic: Rc<Panic>,
    transport: RefCell<Option<Transport>>,
    host: RefCell<Option<Address>>,
    lost: RefCell<Option<Lost>>,
}

impl Side {
    pub(super) fn new(network: &Network, panic: &Rc<Panic>) -> Side {
        Side(Rc::new(Seen {
            network: network.clone(),
            panic: Rc::clone(panic),
            transport: RefCell::default(),
            host: RefCell::default(),
            lost: RefCell::default(),
        }))
    }

    /// The transport that the protocol was given.
    ///
    /// # Panics
    /// When there never was a connection.
    #[must_use]
    #[track_caller]
    pub fn transport(&self) -> Transport {
        self.0.transport.borrow().clone().expect("the protocol was never connected")
    }

    /// How the connection ended, as `connection_lost` was told; `None` while it stands.
    #[must_use]
    pub fn lost(&self) -> Option<Lost> {
        self.0.lost.borrow().clone()
    }

    /// Whether the connection is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.transport.borrow().as_ref().is_none_or(Transport::is_disconnected)
    }

    /// All that this side has sent, also what has not arrived.
    #[must_use]
    pub fn sent(&self) -> Vec<u8> {
        let Some(Address::Inet(host)) = *self.0.host.borrow() else { return Vec::new() };
        let log = self.0.network.log().into_iter().filter(|entry| entry.from == host);
        let pieces = log.filter_map(|entry| match entry.act {
            Act::Sent(bytes) => Some(bytes),
            _ => None,
        });
        pieces.flatten().collect()
    }

    /// Listens to what `protocol` is told.
    pub(super) fn tap(&self, protocol: Box<dyn Protocol>) -> Tap {
        Tap { inner: protocol, side: self.clone() }
    }
}

/// What stands between a connection and its protocol.
pub(super) struct Tap {
    inner: Box<dyn Protocol>,
    side: Side,
}

impl Tap {
    /// Calls the protocol. A panic is kept for the test; to the connection it is what it always is.
    fn call(&mut self, call: impl FnOnce(&mut dyn Protocol)) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| call(&mut *self.inner))) {
            self.side.0.panic.set(Some(payload));
            resume_unwind(Box::new("it panicked, and the test goes on with that panic"));
        }
    }
}

impl Protocol for Tap {
    fn connection_made(&mut self, transport: &Transport) {
        *self.side.0.transport.borrow_mut() = Some(transport.clone());
        *self.side.0.host.borrow_mut() = transport.host();
        self.call(|protocol| protocol.connection_made(transport));
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.call(|protocol| protocol.data_received(transport, data));
    }

    fn read_ended(&mut self, transport: &Transport) {
        self.call(|protocol| protocol.read_ended(transport));
    }

    fn connection_lost(&mut self, transport: &Transport, lost: &Lost) {
        *self.side.0.lost.borrow_mut() = Some(lost.clone());
        self.call(|protocol| protocol.connection_lost(transport, lost));
    }

    fn timed_out(&mut self, transport: &Transport) {
        self.call(|protocol| protocol.timed_out(transport));
    }

    fn stopping(&mut self, transport: &Transport) {
        self.call(|protocol| protocol.stopping(transport));
    }

    fn woken(&mut self, transport: &Transport) {
        self.call(|protocol| protocol.woken(transport));
    }
}

impl Drop for Tap {
    /// A protocol that is dropped while its connection stands has switched to another, which is in the slot already.
    fn drop(&mut self) {
        if let Some(transport) = &*self.side.0.transport.borrow() {
            transport.wrap(|next| Box::new(self.side.tap(next)));
        }
    }
}
