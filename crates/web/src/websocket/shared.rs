//! What all WebSockets of one reactor share: a compressor and a decompressor, and random bytes for masks.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ropewalk_reactor::Reactor;
use ropewalk_wire::websocket::Pool;

/// Random bytes that are fetched at a time.
const RANDOM_BYTES: usize = 512;

#[derive(Default)]
pub(super) struct Shared {
    pub(super) pool: RefCell<Pool>,
    random: RefCell<Vec<u8>>,
    /// The system gave none once; that was said.
    warned: Cell<bool>,
}

impl Shared {
    pub(super) fn of(reactor: &Reactor) -> Rc<Shared> {
        reactor.part(Shared::default)
    }

    /// Bytes that nobody can guess (RFC 6455 section 10.3). Like TLS's they are the system's own, in a simulation also: no length and no
    /// time depends on them.
    pub(super) fn random<const COUNT: usize>(&self, reactor: &Reactor) -> [u8; COUNT] {
        let mut random = self.random.borrow_mut();
        if random.len() < COUNT {
            random.resize(RANDOM_BYTES, 0);
            if getrandom::fill(&mut random).is_err() {
                self.stand_in(reactor, &mut random);
            }
        }
        let from = random.len() - COUNT;
        let bytes = random[from..].try_into().expect("as many as were asked for");
        random.truncate(from);
        bytes
    }

    #[cold]
    fn stand_in(&self, reactor: &Reactor, random: &mut [u8]) {
        if !self.warned.replace(true) {
            tracing::error!("the system has no random bytes: masks of WebSocket can be guessed");
        }
        for chunk in random.chunks_mut(8) {
            chunk.copy_from_slice(&reactor.random().to_ne_bytes()[..chunk.len()]);
        }
    }
}
