//! The protocol of one WebSocket: it feeds the decoder, calls the handler behind a panic boundary, and keeps the times of Pings and of
//! closing. The same for a server's and a client's. What the program asks for is in `handle`.
//!
//! ```text
//!  Open ─► Closing ─► Ended      by this side: Close frame, the peer's, the end; each within `close_timeout`
//!     └──────────────►            by the peer, by what it did wrong, or by a panic
//! ```
//! One deadline per connection: in `Open` the next Ping, or the end of the last one's patience; else the end of closing.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::{Lost, Protocol, Transport};
use ropewalk_reactor::Failure;
use ropewalk_wire::websocket::{Close, Decoder, Deflate, Encoder, Event, Opcode, Role, code};

use super::handle::{Core, Rare, State, WebSocket, flag};
use super::handler::{Piece, WebSocketHandler};
use super::options::Options;
use super::shared::Shared;
use crate::incident::discard;

/// Bytes of messages that one call hands to the handler, before others have their turn: what arrives is 64 KiB, but unpacked it may be a
/// thousand times as much.
const TURN_BYTES: usize = 1024 * 1024;

pub(super) struct Connection {
    socket: WebSocket,
    decoder: Decoder,
    handler: Option<Box<dyn WebSocketHandler>>,
}

impl Connection {
    pub(super) fn new(
        transport: &Transport,
        role: Role,
        options: Rc<Options>,
        deflate: Option<Deflate>,
        rare: Option<Box<Rare>>,
        handler: Box<dyn WebSocketHandler>,
    ) -> Connection {
        let decoder = Decoder::new(role)
            .with_delivery(options.delivery)
            .with_deflate(deflate.map(|deflate| deflate.theirs));
        let core = Core {
            transport: transport.clone(),
            options,
            shared: Shared::of(transport.reactor()),
            encoder: RefCell::new(Encoder::new(deflate.map(|deflate| deflate.ours))),
            rare: RefCell::new(rare),
            role,
            state: Cell::new(State::Open),
            flags: Cell::new(0),
        };
        Connection { socket: WebSocket(Rc::new(core)), decoder, handler: Some(handler) }
    }

    pub(super) fn socket(&self) -> WebSocket {
        self.socket.clone()
    }

    fn core(&self) -> &Core {
        &self.socket.0
    }

    /// Calls the handler. One that panics has ended its connection.
    fn call(&mut self, call: impl FnOnce(&mut dyn WebSocketHandler, &WebSocket)) {
        let Some(mut handler) = self.handler.take() else { return };
        match catch_unwind(AssertUnwindSafe(|| call(&mut *handler, &self.socket))) {
            Ok(()) => self.handler = Some(handler),
            Err(payload) => {
                discard(handler);
                failed(&self.socket, &Failure::from_panic(payload));
            }
        }
    }

    /// Takes events out of `input` until there are no more, or no more are wanted for now.
    fn feed(&mut self, transport: &Transport, mut input: &[u8]) {
        let mut handed = 0;
        while self.core().state.get() != State::Ended {
            if handed > TURN_BYTES {
                transport.unread(input);
                self.core().set(flag::YIELDS, true);
                transport.wake();
                return self.core().hold();
            }
            if self.core().holds() {
                transport.unread(input);
                return self.core().hold();
            }
            let core = &self.socket.0;
            let event = {
                let mut pool = core.shared.pool.borrow_mut();
                self.decoder.next(&mut input, &core.options.limits, &mut pool)
            };
            match event {
                Ok(Some(event)) => {
                    handed += size(&event);
                    self.take(event);
                }
                Ok(None) => return,
                Err(violation) => {
                    tracing::debug!(peer = %self.socket.peer(), "a WebSocket is refused: {violation}");
                    return self.core().fail(violation.code(), violation.reason());
                }
            }
        }
    }

    fn take(&mut self, event: Event) {
        let open = self.core().state.get() == State::Open;
        match event {
            Event::Close(close) => self.peer_closes(close),
            // This side has closed: what was on its way is thrown away.
            _ if !open => {}
            Event::Message(message) => self.call(|handler, socket| handler.message(socket, message)),
            Event::Piece { data, last } => {
                self.call(|handler, socket| handler.piece(socket, Piece { data, last }));
            }
            Event::Ping(data) => {
                self.answer(&data);
                self.call(|handler, socket| handler.ping(socket, &data));
            }
            Event::Pong(data) => self.call(|handler, socket| handler.pong(socket, &data)),
        }
    }

    /// A Ping gets its Pong, and the last of many when there is room for it: a flood of them fills nothing.
    fn answer(&self, data: &[u8]) {
        let core = self.core();
        if core.transport.is_full() {
            core.with_rare(|rare| rare.unanswered = Some(data.to_vec()));
            core.watch();
        } else {
            core.send_control(Opcode::Pong, data);
        }
    }

    /// RFC 6455 section 5.5.1: the answer to a Close frame is another one with the same code; then the server closes, and a client waits for
    /// that.
    fn peer_closes(&mut self, close: Close) {
        let core = self.core();
        let answered = close.code;
        core.with_rare(|rare| {
            rare.received = true;
            rare.first.get_or_insert(close);
        });
        if core.state.get() == State::Open {
            core.send_close(answered, "");
        }
        core.state.set(State::Ended);
        if core.role == Role::Server {
            core.transport.set_deadline(None);
            // What comes after its Close frame is nothing, but a reset because of it could overtake ours.
            core.transport.lose_connection_lingering();
        } else {
            core.arm(core.transport.reactor().now() + core.options.close_timeout);
        }
    }

    /// The time for a Ping, or for its answer, has come.
    fn tick(&self) {
        let core = self.core();
        let Some(interval) = core.options.ping_interval else { return };
        let patience = core.options.pong_timeout;
        let now = core.transport.reactor().now();
        if !core.has(flag::PINGED) {
            // What waits to be sent is a Ping of its own kind: the transport's patience with a peer that takes nothing is for that.
            if core.transport.buffered() > 0 {
                return core.arm(now + interval);
            }
            core.set(flag::HEARD, false);
            core.set(flag::PINGED, true);
            core.send_control(Opcode::Ping, &[]);
            return core.arm(now + patience);
        }
        // Whoever does not listen has no right to say that nothing was said.
        if !core.has(flag::HEARD | flag::PAUSED) {
            return core.break_off("an answer to a Ping");
        }
        core.set(flag::PINGED, false);
        core.arm(now + interval.saturating_sub(patience).max(Duration::from_millis(1)));
    }
}

impl Protocol for Connection {
    fn connection_made(&mut self, transport: &Transport) {
        if let Some(interval) = self.core().options.ping_interval
            && self.core().state.get() == State::Open
        {
            self.core().arm(transport.reactor().now() + interval);
        }
        self.call(|handler, socket| handler.open(socket));
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.core().set(flag::HEARD, true);
        self.feed(transport, data);
    }

    fn read_ended(&mut self, transport: &Transport) {
        // Without a Close frame, or behind it: either way there is nobody to speak to.
        self.core().state.set(State::Ended);
        transport.lose_connection();
    }

    fn woken(&mut self, transport: &Transport) {
        if self.core().has(flag::YIELDS) {
            self.core().set(flag::YIELDS, false);
            self.core().read_on();
        }
        if !self.core().has(flag::WAITS) || transport.is_full() {
            return;
        }
        self.core().set(flag::WAITS, false);
        if let Some(data) = self.core().if_rare(|rare| rare.unanswered.take()) {
            self.core().send_control(Opcode::Pong, &data);
        }
        if self.core().state.get() == State::Open {
            self.call(|handler, socket| handler.drained(socket));
        }
        self.core().read_on();
    }

    fn timed_out(&mut self, transport: &Transport) {
        match self.core().state.get() {
            State::Open => self.tick(),
            State::Closing => self.core().break_off("the answer to a Close frame"),
            // The server does not close: then the client does.
            State::Ended => transport.lose_connection(),
        }
    }

    fn stopping(&mut self, _transport: &Transport) {
        self.socket.close(code::GOING_AWAY, "");
    }

    fn connection_lost(&mut self, _transport: &Transport, lost: &Lost) {
        self.core().state.set(State::Ended);
        let closed = self.core().closed();
        tracing::trace!(peer = %self.socket.peer(), code = closed.code, "a WebSocket is gone: {lost}");
        self.call(|handler, socket| handler.closed(socket, &closed));
        discard(self.handler.take());
    }
}

fn size(event: &Event) -> usize {
    match event {
        Event::Message(message) | Event::Piece { data: message, .. } => message.len(),
        _ => 0,
    }
}

/// What a handler's failure comes to: a line in the log, and 1011 for the peer.
#[cold]
pub(super) fn failed(socket: &WebSocket, failure: &Failure) {
    let peer = socket.peer();
    tracing::error!(%peer, target = socket.target(), "a handler of a WebSocket: {failure}");
    socket.0.fail(code::INTERNAL, "");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the transport's own, a quiet connection comes to 430 bytes; each byte here counts a hundred thousand times.
    #[test]
    fn a_quiet_connection_is_small() {
        assert!(size_of::<Connection>() <= 64, "{}", size_of::<Connection>());
        assert!(size_of::<Core>() <= 88, "{}", size_of::<Core>());
    }
}
