//! `WebSocketHandler`: what a program writes for one connection, in Tornado's manner. The connection calls it.

use ropewalk_wire::websocket::Message;

use super::handle::{Closed, WebSocket};

/// A piece of a message, where [`Delivery::Pieces`](super::Delivery::Pieces) is asked for.
///
/// ```
/// use ropewalk_web::websocket::{Message, Piece, WebSocket, WebSocketHandler};
///
/// /// Counts what is uploaded, and keeps nothing of it.
/// #[derive(Default)]
/// struct Sink(u64);
/// impl WebSocketHandler for Sink {
///     fn message(&mut self, _: &WebSocket, _: Message) {}
///     fn piece(&mut self, socket: &WebSocket, piece: Piece) {
///         self.0 += piece.data.len() as u64;
///         if piece.last {
///             socket.send_text(&format!("{} bytes", std::mem::take(&mut self.0)));
///         }
///     }
/// }
/// # fn takes(_: impl WebSocketHandler) {}
/// # takes(Sink::default());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its bytes; of text, whole characters.
    pub data: Message,
    /// Whether the message ends with it. The last piece may be empty.
    pub last: bool,
}

/// One connection's behaviour. Its methods are called one at a time; those of the socket never call them back. One that panics ends
/// its connection with 1011 and nothing else, and is not called again.
///
/// ```
/// use ropewalk_web::websocket::{Closed, Message, WebSocket, WebSocketHandler};
///
/// struct Counter {
///     said: u64,
/// }
/// impl WebSocketHandler for Counter {
///     fn open(&mut self, socket: &WebSocket) {
///         socket.send_text("say something");
///     }
///     fn message(&mut self, socket: &WebSocket, message: Message) {
///         self.said += message.len() as u64;
///         socket.send_text(&format!("{} bytes so far", self.said));
///     }
///     fn closed(&mut self, _: &WebSocket, closed: &Closed) {
///         println!("gone with {} after {} bytes", closed.code, self.said);
///     }
/// }
/// # fn takes(_: impl WebSocketHandler) {}
/// # takes(Counter { said: 0 });
/// ```
pub trait WebSocketHandler: 'static {
    /// The connection stands.
    fn open(&mut self, socket: &WebSocket) {
        let _ = socket;
    }

    /// A message has come.
    fn message(&mut self, socket: &WebSocket, message: Message);

    /// A piece of a message has come, where pieces were asked for; then [`WebSocketHandler::message`] is not called.
    fn piece(&mut self, socket: &WebSocket, piece: Piece) {
        let _ = (socket, piece);
    }

    /// A Ping has come. It is answered already.
    fn ping(&mut self, socket: &WebSocket, data: &[u8]) {
        let _ = (socket, data);
    }

    /// A Pong has come: to a Ping of the program's, to one of those that are sent by themselves (then it is empty), or to none.
    fn pong(&mut self, socket: &WebSocket, data: &[u8]) {
        let _ = (socket, data);
    }

    /// The socket was [full](WebSocket::is_full) after something was sent, and has room again: whoever held back goes on.
    fn drained(&mut self, socket: &WebSocket) {
        let _ = socket;
    }

    /// The connection is gone; nothing is called after this.
    fn closed(&mut self, socket: &WebSocket, closed: &Closed) {
        let _ = (socket, closed);
    }
}
