//! A site with one WebSocket under the simulated network, a client that speaks frames by hand, and a log of what the handler was told. No
//! test of its own.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::Peer;
use ropewalk_web::websocket::{self, Closed, Limits, Message, Options, Piece, WebSocket, WebSocketHandler};
use ropewalk_web::{Request, Router, Site};
use ropewalk_wire::websocket::{
    Decoder, Direction, Encoder, Event, Opcode, Pool, Role, encode_frame, encode_head,
};

use crate::common::{Ground, MS};

pub(crate) const KEY: [u8; 4] = [1, 2, 3, 4];

/// A client's frame.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    fragment(opcode, payload, true)
}

pub(crate) fn fragment(opcode: u8, payload: &[u8], fin: bool) -> Vec<u8> {
    let mut out = Vec::new();
    encode_frame(&mut out, opcode_of(opcode), payload, Some(KEY));
    out[0] &= if fin { 0xff } else { 0x7f };
    out
}

fn opcode_of(bits: u8) -> Opcode {
    let all = [Opcode::Continuation, Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong];
    let heads = all.map(|opcode| {
        let mut out = Vec::new();
        encode_head(&mut out, opcode, false, false, 0, None);
        out[0]
    });
    all[heads.iter().position(|head| *head == bits).unwrap()]
}

/// A client's text, compressed.
pub(crate) fn packed_frame(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(Some(Direction { takeover: false, bits: 15 }));
    encoder.message(&mut out, Opcode::Text, payload, Some(KEY), &mut Pool::default());
    out
}

pub(crate) fn text(text: &str) -> (Opcode, Vec<u8>) {
    (Opcode::Text, text.as_bytes().to_vec())
}

/// A request with these fields beside those that it must have.
pub(crate) fn request(fields: &str) -> Vec<u8> {
    format!(
        "GET /socket?a=b HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n"
    )
    .into_bytes()
}

/// What the handler does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    Echo,
    /// It says nothing, and closes at the message "close".
    Silent,
    /// It panics at the message "panic", and at "close".
    Panicking,
}

#[derive(Clone, Default)]
pub(crate) struct Told(Rc<RefCell<Vec<String>>>, Rc<RefCell<Vec<WebSocket>>>);

pub(crate) struct Recorder {
    pub(crate) script: Script,
    pub(crate) told: Told,
}

impl Recorder {
    fn tell(&self, what: impl Into<String>) {
        self.told.0.borrow_mut().push(what.into());
    }
}

fn shown(message: &Message) -> String {
    match message {
        Message::Text(text) => text.clone(),
        Message::Binary(bytes) => format!("{bytes:?}"),
    }
}

impl WebSocketHandler for Recorder {
    fn open(&mut self, socket: &WebSocket) {
        self.told.1.borrow_mut().push(socket.clone());
        self.tell("open");
    }
    fn message(&mut self, socket: &WebSocket, message: Message) {
        if message.len() < 100 {
            self.tell(format!("message {}", shown(&message)));
        }
        match (self.script, message.as_text()) {
            (Script::Echo, _) => socket.send(&message),
            (Script::Silent, Some("close")) => socket.close(3001, "enough"),
            (Script::Panicking, Some("panic")) => panic!("as asked"),
            _ => {}
        }
    }
    fn piece(&mut self, _: &WebSocket, piece: Piece) {
        let last = if piece.last { ", the last" } else { "" };
        self.tell(format!("piece {}{last}", shown(&piece.data)));
    }
    fn ping(&mut self, _: &WebSocket, data: &[u8]) {
        if !data.is_empty() {
            self.tell(format!("ping {}", String::from_utf8_lossy(data)));
        }
    }
    fn pong(&mut self, _: &WebSocket, data: &[u8]) {
        self.tell(format!("pong {}", String::from_utf8_lossy(data)));
    }
    fn drained(&mut self, _: &WebSocket) {
        self.tell("drained");
    }
    fn closed(&mut self, socket: &WebSocket, closed: &Closed) {
        assert_eq!(socket.closed().as_ref(), Some(closed));
        let how = if closed.clean { "clean" } else { "broken" };
        let reason = if closed.reason.is_empty() { String::new() } else { format!(" {:?}", closed.reason) };
        self.tell(format!("closed {}{reason} {how}", closed.code));
    }
}

impl Told {
    pub(crate) fn log(&self) -> String {
        self.0.borrow().join("; ")
    }
}

/// The site.
pub(crate) struct Field {
    pub(crate) ground: Ground,
    pub(crate) told: Told,
}

fn site(script: Script, options: Options, told: &Told) -> Site {
    let (told, options) = (told.clone(), Rc::new(options));
    Site::new(Router::new().any("/socket", move |request: Request| {
        websocket::upgrade(&request, Rc::clone(&options), Recorder { script, told: told.clone() })
    }))
    .server(None)
}

impl Field {
    pub(crate) fn new(script: Script, options: Options) -> Field {
        let told = Told::default();
        Field { ground: Ground::calm(site(script, options, &told)), told }
    }

    pub(crate) fn seeded(seed: u64, script: Script, options: Options) -> Field {
        let told = Told::default();
        Field { ground: Ground::new(seed, site(script, options, &told)), told }
    }

    pub(crate) fn echo(options: Options) -> Field {
        Field::new(Script::Echo, options)
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.ground.advance(by);
    }

    pub(crate) fn log(&self) -> String {
        self.told.log()
    }

    /// Handles that the handler was given.
    pub(crate) fn sockets(&self) -> Vec<WebSocket> {
        self.told.1.borrow().clone()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let ropewalk_net::Address::Inet(address) = *self.ground.port.address() else { unreachable!() };
        address
    }

    pub(crate) fn open(&self) -> Viewer {
        self.open_with("")
    }

    pub(crate) fn open_with(&self, fields: &str) -> Viewer {
        let viewer = self.send(request(fields));
        assert!(viewer.head.starts_with("HTTP/1.1 101 "), "{}", viewer.head);
        viewer
    }

    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) -> Viewer {
        let peer = self.ground.send(bytes);
        let mut got = Vec::new();
        for _ in 0..500 {
            self.advance(MS);
            got.extend(peer.take());
            if got.windows(4).any(|four| four == b"\r\n\r\n") {
                break;
            }
        }
        let end = got.windows(4).position(|four| four == b"\r\n\r\n").map_or(got.len(), |at| at + 4);
        let head = String::from_utf8_lossy(&got[..end]).into_owned();
        Viewer { peer, head, got: RefCell::new(got.split_off(end)) }
    }

    /// Lets go of the handles, and asserts that nothing is left behind.
    pub(crate) fn ends_clean(self) {
        self.told.1.borrow_mut().clear();
        self.ground.is_clean();
    }
}

/// A client that speaks frames.
pub(crate) struct Viewer {
    pub(crate) peer: Peer,
    pub(crate) head: String,
    got: RefCell<Vec<u8>>,
}

impl Viewer {
    /// Everything that has come behind the head.
    pub(crate) fn read(&self) -> Vec<u8> {
        self.got.borrow_mut().extend(self.peer.take());
        self.got.borrow().clone()
    }

    /// The same as frames.
    pub(crate) fn frames(&self) -> Vec<(Opcode, Vec<u8>)> {
        self.decoded(Decoder::new(Role::Client))
    }

    pub(crate) fn unpacked(&self, takeover: bool) -> Vec<(Opcode, Vec<u8>)> {
        self.decoded(Decoder::new(Role::Client).with_deflate(Some(Direction { takeover, bits: 15 })))
    }

    /// The code of the Close frame that came last.
    pub(crate) fn close_code(&self) -> Option<u16> {
        match self.frames().pop()? {
            (Opcode::Close, payload) => Some(u16::from_be_bytes(payload.get(..2)?.try_into().unwrap())),
            _ => None,
        }
    }

    fn decoded(&self, mut decoder: Decoder) -> Vec<(Opcode, Vec<u8>)> {
        let (got, mut pool) = (self.read(), Pool::default());
        let (mut rest, mut frames) = (got.as_slice(), Vec::new());
        while let Some(event) = decoder.next(&mut rest, &Limits::of(100_000_000), &mut pool).unwrap() {
            frames.push(match event {
                Event::Message(Message::Text(text)) => (Opcode::Text, text.into_bytes()),
                Event::Message(Message::Binary(bytes)) => (Opcode::Binary, bytes),
                Event::Ping(data) => (Opcode::Ping, data),
                Event::Pong(data) => (Opcode::Pong, data),
                Event::Close(close) => {
                    let code =
                        if close.code == 1005 { Vec::new() } else { close.code.to_be_bytes().to_vec() };
                    (Opcode::Close, [code, close.reason.into_bytes()].concat())
                }
                Event::Piece { .. } => unreachable!("whole messages were asked for"),
            });
        }
        frames
    }
}
