//! Servers of channels, and what they have in common: how one subscribes and publishes over HTTP, and what is said.
//!
//! All of them take `POST /channels/NAME`, and `GET /channels/NAME` as an event stream or as a WebSocket. `scenario::push` and
//! `scenario::durable` are their clients; what each server does stands in a file of its own.

pub(super) mod mio;
pub(super) mod nchan;
pub(super) mod ropewalk;
pub(super) mod tornado;

/// What is published: its last byte occurs only once in it, and in nothing that a server says beside it, so that messages can be
/// counted however they are framed and cut. (A tilde would be the 126 in the head of a longer frame of a WebSocket.)
pub(crate) const MESSAGE: &str =
    "The ropewalk at Chatham is 346 metres long, and spinners walk it backwards, eighteen miles a day. |";

/// The channel that one message goes to.
pub(crate) const CHANNEL: &str = "news";

/// The nonce of every client here, which is the one of RFC 6455, section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What a server makes of it.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What a push server can, and whether it is here.
#[derive(Clone, Copy)]
pub(crate) struct Pushes {
    /// It tells channels apart.
    pub(crate) channels: bool,
    /// It keeps what is published in `Setup::folder`, and answers when that is safe.
    pub(crate) durable: bool,
    /// What is not on this machine, and how to get it.
    pub(crate) missing: fn() -> Option<&'static str>,
}

/// How subscribers read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Face {
    Sse,
    WebSocket,
}

impl Face {
    /// The request of a subscriber.
    pub(crate) fn request(self, channel: &str) -> String {
        let fields = match self {
            Face::Sse => "Accept: text/event-stream\r\n".to_owned(),
            Face::WebSocket => format!(
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
            ),
        };
        format!("GET /channels/{channel} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
    }

    /// Whether this head of an answer lets it in.
    pub(crate) fn welcomes(self, head: &str) -> bool {
        match self {
            Face::Sse => head.starts_with("HTTP/1.1 200 ") && head.contains("text/event-stream"),
            Face::WebSocket => head.starts_with("HTTP/1.1 101 ") && head.contains(ACCEPT),
        }
    }
}

/// The request that publishes.
pub(crate) fn publication(channel: &str) -> String {
    let length = MESSAGE.len();
    format!(
        "POST /channels/{channel} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{MESSAGE}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_occurs_once_and_last() {
        assert_eq!(MESSAGE.matches('|').count(), 1);
        assert!(MESSAGE.ends_with('|') && (95..=105).contains(&MESSAGE.len()), "{}", MESSAGE.len());
    }

    #[test]
    fn only_the_right_head_welcomes() {
        let stream = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        assert!(Face::Sse.welcomes(stream) && !Face::WebSocket.welcomes(stream));
        let socket = format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n");
        assert!(Face::WebSocket.welcomes(&socket) && !Face::Sse.welcomes(&socket));
        assert!(!Face::WebSocket.welcomes(&socket.replace(ACCEPT, KEY)));
    }
}
