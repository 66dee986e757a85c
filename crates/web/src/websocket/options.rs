//! What a WebSocket may be told: limits, times, who is welcome. Each with its default and why; nothing here acts.

use std::time::Duration;

use ropewalk_wire::websocket::{DeflateOptions, Delivery, Limits};

use crate::request::Request;

/// How a WebSocket behaves. All connections of a route share one, in an [`Rc`](std::rc::Rc).
///
/// ```
/// use ropewalk_web::websocket::{Limits, Options, Origins};
/// let options = Options {
///     limits: Limits::of(16 * 1024),
///     subprotocols: vec!["chat.v2".to_owned(), "chat".to_owned()],
///     origins: Origins::Listed(vec!["https://example.org".to_owned()]),
///     ..Options::default()
/// };
/// # drop(options);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// What the peer may send; beyond it the connection fails with 1009. 1 MiB a message.
    pub limits: Limits,
    /// Whether messages are delivered whole, or as they come. Whole.
    pub delivery: Delivery,
    /// Whether and how messages are compressed, if the peer can do it. Yes, without context takeover: an idle connection holds nothing for
    /// it. Text comes to a fifth, and messages below 128 bytes are left as they are.
    ///
    /// What is secret and what a stranger may choose should not stand in one compressed message: its length tells of both.
    pub deflate: Option<DeflateOptions>,
    /// Subprotocols: a server takes the first of these that the client offers, or none; a client offers these, best first.
    pub subprotocols: Vec<String>,
    /// Of which pages a server takes connections. Of its own.
    pub origins: Origins,
    /// Fields of the request that a server keeps for [`WebSocket::header`](super::WebSocket::header). None: they would take memory for
    /// as long as the connection stands.
    pub keep: Vec<String>,
    /// Fields that a client sends in its handshake, beside those that it must. None.
    pub headers: Vec<(String, String)>,
    /// How often a Ping is sent. 30 s: proxies and routers forget connections that are silent for a minute. `None` for never.
    pub ping_interval: Option<Duration>,
    /// How long after a Ping something must have come from the peer; else the connection is broken off. 20 s: a network that is changed
    /// over takes some, one that is gone takes all.
    pub pong_timeout: Duration,
    /// How long the peer may take to answer a Close frame, and then to close. 10 s.
    pub close_timeout: Duration,
    /// How long an async handler may go on when its connection is gone; then it is dropped. 10 s: [`Conversation::receive`] has told it, and
    /// what is left to do is small.
    ///
    /// [`Conversation::receive`]: super::Conversation::receive
    pub grace: Duration,
    /// How long a client's handshake may take once it is connected, with that of TLS and a proxy's. 20 s.
    pub handshake_timeout: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            limits: Limits::default(),
            delivery: Delivery::Whole,
            deflate: Some(DeflateOptions::default()),
            subprotocols: Vec::new(),
            origins: Origins::SameHost,
            keep: Vec::new(),
            headers: Vec::new(),
            ping_interval: Some(Duration::from_secs(30)),
            pong_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(10),
            grace: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(20),
        }
    }
}

/// Of which pages connections are taken (RFC 6455 section 10.2). A browser sends its cookies to whomever a page connects to, so what a
/// stranger's page may not do must be refused here. Programs that are no browsers send no `Origin`, and are always welcome: what they may
/// do is asked of their credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Pages of the host, and port, that the request is for.
    #[default]
    SameHost,
    /// Pages of these origins, such as `https://example.org`, and no others.
    Listed(Vec<String>),
    /// Pages of anybody.
    Any,
}

impl Origins {
    /// Whether this request's page is one of them.
    pub(super) fn welcome(&self, request: &Request) -> bool {
        let mut origins = request.headers().filter(|(name, _)| name.eq_ignore_ascii_case("origin"));
        let Some((_, origin)) = origins.next() else { return true };
        if *self == Origins::Any {
            return true;
        }
        // Of two, nobody knows which is true.
        let Some(origin) = std::str::from_utf8(origin).ok().filter(|_| origins.next().is_none()) else {
            return false;
        };
        match self {
            Origins::Listed(known) => known.iter().any(|known| known.eq_ignore_ascii_case(origin)),
            _ => origin
                .split_once("://")
                .zip(request.host())
                .is_some_and(|((_, page), host)| page.eq_ignore_ascii_case(host)),
        }
    }
}
