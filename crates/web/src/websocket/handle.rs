//! `WebSocket`: the handle that a program holds. It sends, and asks of the connection; its methods never call the handler. What the
//! loop tells of the connection is in `connection`.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll};

use ropewalk_net::{Address, Lost, Transport};
use ropewalk_reactor::{Key, Reactor, Time};
use ropewalk_wire::websocket::{
    CONTROL_BYTES_MAX, Close, Encoder, Message, Opcode, Pool, Prepared, Role, code, encode_close,
    encode_frame,
};

use super::options::Options;
use super::shared::Shared;

/// How a connection came to its end.
///
/// ```
/// use ropewalk_web::websocket::{Closed, code};
/// fn shall_come_again(closed: &Closed) -> bool {
///     !closed.clean || matches!(closed.code, code::GOING_AWAY | code::RESTART | code::TRY_LATER)
/// }
/// assert!(!shall_come_again(&Closed { code: code::NORMAL, reason: String::new(), clean: true }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The code: the peer's if it gave one first, else this side's; [`code::NONE`] if the peer closed without one, and
    /// [`code::ABNORMAL`] if the connection was lost without a Close frame.
    pub code: u16,
    /// The reason that came with it, or nothing.
    pub reason: String,
    /// Whether both sides have closed as they should: everything sent before was received.
    pub clean: bool,
}

/// A WebSocket: a cheap clone, that does not keep the connection open. What is sent to one that is closed goes nowhere.
///
/// ```
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use ropewalk_web::websocket::{Message, Prepared, WebSocket, WebSocketHandler};
///
/// #[derive(Clone, Default)]
/// struct Room(Rc<RefCell<Vec<WebSocket>>>);
/// impl WebSocketHandler for Room {
///     fn open(&mut self, socket: &WebSocket) {
///         self.0.borrow_mut().push(socket.clone());
///     }
///     fn message(&mut self, _: &WebSocket, message: Message) {
///         // Encoded once, and copied for nobody.
///         let message = Prepared::text(message.as_text().unwrap_or("?"));
///         self.0.borrow_mut().retain(WebSocket::is_open);
///         self.0.borrow().iter().filter(|member| !member.is_full()).for_each(|member| member.send_shared(&message));
///     }
/// }
/// # fn takes(_: impl WebSocketHandler) {}
/// # takes(Room::default());
/// ```
#[derive(Clone)]
pub struct WebSocket(pub(super) Rc<Core>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// This side has sent a Close frame, and waits for the peer's.
    Closing,
    /// Nothing more is sent, nor read.
    Ended,
}

pub(super) mod flag {
    /// The program reads no more for now.
    pub(in super::super) const HELD: u8 = 1;
    /// Reading is paused, for whichever reason.
    pub(in super::super) const PAUSED: u8 = 1 << 1;
    /// The protocol is woken when there is room.
    pub(in super::super) const WAITS: u8 = 1 << 2;
    /// Something has come since the last Ping.
    pub(in super::super) const HEARD: u8 = 1 << 3;
    /// A Ping was sent, and its time is not over.
    pub(in super::super) const PINGED: u8 = 1 << 4;
    /// It was much for one turn: reading goes on in the next.
    pub(in super::super) const YIELDS: u8 = 1 << 5;
}

/// What handle and connection share.
pub(super) struct Core {
    pub(super) transport: Transport,
    pub(super) options: Rc<Options>,
    pub(super) shared: Rc<Shared>,
    pub(super) encoder: RefCell<Encoder>,
    pub(super) rare: RefCell<Option<Box<Rare>>>,
    pub(super) role: Role,
    pub(super) state: Cell<State>,
    pub(super) flags: Cell<u8>,
}

/// What few connections have, or not for long.
#[derive(Default)]
pub(super) struct Rare {
    pub(super) subprotocol: Option<Box<str>>,
    pub(super) target: Option<Box<str>>,
    pub(super) kept: Vec<(Box<str>, Box<str>)>,
    /// The last Ping that there was no room to answer (RFC 6455 section 5.5.3: the others need no answer).
    pub(super) unanswered: Option<Vec<u8>>,
    /// The Close frame that was first, and whether either side has sent one.
    pub(super) first: Option<Close>,
    pub(super) sent: bool,
    pub(super) received: bool,
}

impl WebSocket {
    /// Sends a text message.
    pub fn send_text(&self, text: &str) {
        self.send_data(Opcode::Text, text.as_bytes());
    }

    /// Sends a binary message.
    pub fn send_binary(&self, bytes: &[u8]) {
        self.send_data(Opcode::Binary, bytes);
    }

    /// Sends a message of either kind.
    pub fn send(&self, message: &Message) {
        match message {
            Message::Text(text) => self.send_text(text),
            Message::Binary(bytes) => self.send_binary(bytes),
        }
    }

    /// Sends a message that was encoded once for many. A server does not copy it, and hands it to the system at once where nothing waits
    /// in front; compressed, where the client takes that and it is smaller. (A client masks each message, and so copies it.)
    pub fn send_shared(&self, message: &Prepared) {
        let core = &*self.0;
        if core.state.get() != State::Open {
            return;
        }
        if core.role == Role::Client {
            return self.send_data(message.opcode(), message.payload());
        }
        let packed = core
            .encoder
            .borrow()
            .takes_packed(message)
            .then(|| message.packed(&mut core.shared.pool.borrow_mut()))
            .flatten();
        core.transport.write_shared(packed.unwrap_or_else(|| message.plain()));
        core.watch();
    }

    /// Sends messages that were encoded once for many, in one write.
    pub(crate) fn send_burst(&self, burst: &Burst) {
        let core = &*self.0;
        if core.state.get() != State::Open {
            return;
        }
        let encoder = core.encoder.borrow();
        let packs = burst.messages.iter().all(|message| encoder.takes_packed(message));
        drop(encoder);
        let bytes = if packs { burst.packed(&mut core.shared.pool.borrow_mut()) } else { burst.plain() };
        core.transport.write_shared(bytes);
        core.watch();
    }

    /// Asks to be told by [`WebSocketHandler::drained`](super::WebSocketHandler::drained), if it is full.
    pub(crate) fn wait_for_room(&self) {
        self.0.watch();
    }

    /// Sends a Ping; of more than 125 bytes, the first 125. The answer comes to
    /// [`WebSocketHandler::pong`](super::WebSocketHandler::pong).
    pub fn ping(&self, data: &[u8]) {
        self.0.send_control(Opcode::Ping, data);
    }

    /// Closes: a Close frame goes behind what was sent before, and when the peer has answered it, or ten seconds later, the connection ends.
    /// A code that may not be sent ([`code::NONE`], for one) sends none; a reason of more than 123 bytes is cut. Messages that come
    /// meanwhile are thrown away.
    pub fn close(&self, code: u16, reason: &str) {
        let core = &*self.0;
        if core.state.get() != State::Open {
            return;
        }
        core.state.set(State::Closing);
        core.send_close(code, reason);
        core.set(flag::HELD, false);
        core.read_on();
        core.arm(core.transport.reactor().now() + core.options.close_timeout);
    }

    /// Whether messages can be sent: neither side has closed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.state.get() == State::Open && !self.0.transport.is_closing()
    }

    /// Whether more waits to be sent than is good: who makes messages should wait, or leave some out. When there is room again,
    /// [`WebSocketHandler::drained`](super::WebSocketHandler::drained) is called, and [`WebSocket::poll_writable`] is ready. While a
    /// server's socket is full, it reads nothing from this client.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.transport.is_full()
    }

    /// Bytes that wait to be sent.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.0.transport.buffered()
    }

    /// Waits until the socket is not full, or is gone.
    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.0.transport.poll_writable(context)
    }

    /// Takes no messages any more until [`WebSocket::resume_reading`]: the peer is held back when the system's buffers are full. Pings are
    /// not answered meanwhile, and a peer that closes is not noticed.
    pub fn pause_reading(&self) {
        if self.is_open() {
            self.0.set(flag::HELD, true);
            self.0.hold();
        }
    }

    /// Takes messages again.
    pub fn resume_reading(&self) {
        self.0.set(flag::HELD, false);
        self.0.read_on();
    }

    /// The subprotocol that was agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<String> {
        self.0.if_rare(|rare| rare.subprotocol.as_deref().map(str::to_owned))
    }

    /// The target of the request, path and query as sent, where the options [keep](Options::keep) fields.
    #[must_use]
    pub fn target(&self) -> Option<String> {
        self.0.if_rare(|rare| rare.target.as_deref().map(str::to_owned))
    }

    /// A field of the request that was [kept](Options::keep).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.0.if_rare(|rare| {
            let found = rare.kept.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_string())
        })
    }

    /// How it was closed, once one of the sides has.
    #[must_use]
    pub fn closed(&self) -> Option<Closed> {
        let gone = self.0.transport.is_disconnected();
        (self.0.state.get() != State::Open || gone).then(|| self.0.closed())
    }

    /// The connection's other end.
    #[must_use]
    pub fn peer(&self) -> Address {
        self.0.transport.peer()
    }

    /// The connection's identity: never that of another one of this reactor.
    #[must_use]
    pub fn id(&self) -> Key {
        self.0.transport.id()
    }

    /// The reactor.
    #[must_use]
    pub fn reactor(&self) -> &Reactor {
        self.0.transport.reactor()
    }

    /// The connection beneath, to be asked and not written to.
    #[must_use]
    pub fn transport(&self) -> &Transport {
        &self.0.transport
    }

    fn send_data(&self, opcode: Opcode, payload: &[u8]) {
        let core = &*self.0;
        if core.state.get() != State::Open {
            return;
        }
        let key = core.mask();
        let (mut encoder, mut pool) = (core.encoder.borrow_mut(), core.shared.pool.borrow_mut());
        core.transport.write_with(|out| encoder.message(out, opcode, payload, key, &mut pool));
        drop((encoder, pool));
        core.watch();
    }
}

/// Messages of a server that belong together and go to many: one piece of bytes for all who take them plain, one for those who
/// take them compressed, each made when it is first needed.
pub(crate) struct Burst {
    messages: Vec<Prepared>,
    plain: OnceCell<Rc<[u8]>>,
    packed: OnceCell<Rc<[u8]>>,
}

impl Burst {
    pub(crate) fn new(messages: Vec<Prepared>) -> Burst {
        Burst { messages, plain: OnceCell::new(), packed: OnceCell::new() }
    }

    fn plain(&self) -> &Rc<[u8]> {
        self.plain.get_or_init(|| match &self.messages[..] {
            [one] => Rc::clone(one.plain()),
            many => many.iter().flat_map(|message| message.plain().iter().copied()).collect(),
        })
    }

    fn packed(&self, pool: &mut Pool) -> &Rc<[u8]> {
        self.packed.get_or_init(|| {
            let mut out = Vec::new();
            for message in &self.messages {
                out.extend_from_slice(message.packed(pool).unwrap_or_else(|| message.plain()));
            }
            out.into()
        })
    }
}

impl std::fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WebSocket({:?} to {}, {:?})", self.id(), self.peer(), self.0.state.get())
    }
}

impl Core {
    pub(super) fn has(&self, flags: u8) -> bool {
        self.flags.get() & flags != 0
    }

    pub(super) fn set(&self, flags: u8, whether: bool) {
        let rest = self.flags.get() & !flags;
        self.flags.set(if whether { rest | flags } else { rest });
    }

    pub(super) fn with_rare<T>(&self, then: impl FnOnce(&mut Rare) -> T) -> T {
        then(self.rare.borrow_mut().get_or_insert_default())
    }

    pub(super) fn if_rare<T>(&self, then: impl FnOnce(&mut Rare) -> Option<T>) -> Option<T> {
        self.rare.borrow_mut().as_mut().and_then(|rare| then(rare))
    }

    /// The key of a frame's mask: a client's only.
    fn mask(&self) -> Option<[u8; 4]> {
        (self.role == Role::Client).then(|| self.shared.random(self.transport.reactor()))
    }

    pub(super) fn send_control(&self, opcode: Opcode, data: &[u8]) {
        if self.state.get() == State::Open {
            let data = &data[..data.len().min(CONTROL_BYTES_MAX)];
            let key = self.mask();
            self.transport.write_with(|out| encode_frame(out, opcode, data, key));
            self.watch();
        }
    }

    pub(super) fn send_close(&self, code: u16, reason: &str) {
        let key = self.mask();
        self.transport.write_with(|out| encode_close(out, code, reason, key));
        self.with_rare(|rare| {
            rare.sent = true;
            rare.first.get_or_insert_with(|| Close { code, reason: reason.to_owned() });
        });
    }

    /// After something was sent: whether there is room again is asked only if there is none.
    pub(super) fn watch(&self) {
        if self.transport.is_full() && !self.has(flag::WAITS) {
            self.wait_for_room();
        }
    }

    #[cold]
    fn wait_for_room(&self) {
        self.set(flag::WAITS, true);
        let waker = self.transport.waker();
        if self.transport.poll_writable(&mut Context::from_waker(&waker)).is_ready() {
            waker.wake();
        }
    }

    /// Whether nothing is read for now. A client whose server sends and does not read must read on, or both would wait for the other.
    pub(super) fn holds(&self) -> bool {
        let crowded = self.role == Role::Server && self.transport.is_full();
        self.state.get() == State::Open && (self.has(flag::HELD) || crowded)
    }

    pub(super) fn hold(&self) {
        self.set(flag::PAUSED, true);
        self.transport.pause_reading();
        // What fills it may have been written behind our back.
        self.watch();
    }

    /// Reads again, if nothing speaks against it any more.
    pub(super) fn read_on(&self) {
        if self.has(flag::PAUSED) && !self.holds() {
            self.set(flag::PAUSED, false);
            self.transport.resume_reading();
        }
    }

    pub(super) fn arm(&self, at: Time) {
        self.transport.set_deadline(Some(at));
    }

    /// Ends the connection in the peer's face: what it did, or what happened here, leaves nothing to say.
    pub(super) fn fail(&self, code: u16, reason: &str) {
        if self.state.replace(State::Ended) == State::Open {
            self.send_close(code, reason);
        }
        self.transport.set_deadline(None);
        // The peer may be sending: a reset must not overtake the Close frame.
        self.transport.lose_connection_lingering();
    }

    pub(super) fn break_off(&self, why: &'static str) {
        self.state.set(State::Ended);
        self.transport.abort(Lost::TimedOut(why));
    }

    pub(super) fn closed(&self) -> Closed {
        let said = self.if_rare(|rare| Some((rare.first.clone()?, rare.sent && rare.received)));
        match said {
            Some((Close { code, reason }, clean)) => Closed { code, reason, clean },
            None => Closed { code: code::ABNORMAL, reason: String::new(), clean: false },
        }
    }
}
