//! HTTP: a server, a router, and answers in whatever form they come; and a [client].
//!
//! ```text
//!  bytes ─► wire::http1 ─► Request ─► Router ─► handler ─► value | Response | future | stream | Responder
//!                             ▲                                             │
//!                             └── the exchange: one slot for one answer ◄───┘ ─► bytes
//! ```
//! A handler is a function of a [`Request`], a function with [typed arguments](extract), a [type](handlers) of which an object is made
//! for each request, or a tree of [resources](resource).
//!
//! ```
//! use ropewalk_net::listen;
//! use ropewalk_reactor::Simulation;
//! use ropewalk_web::{Request, Router, Site};
//!
//! let simulation = Simulation::new(1);
//! let site = Site::new(Router::new().get("/hello/{name}", |request: Request| {
//!     format!("Hello, {}!", request.param("name").unwrap_or_default())
//! }));
//! let port = listen(simulation.reactor(), &"tcp:80:interface=127.0.0.1".parse()?, site)?;
//! # let ropewalk_net::Address::Inet(address) = *port.address() else { unreachable!() };
//! let client = simulation.network().connect(address);
//! simulation.advance(std::time::Duration::from_millis(10));
//! client.write(b"GET /hello/World HTTP/1.1\r\nHost: example.org\r\n\r\n");
//! simulation.advance(std::time::Duration::from_millis(10));
//! assert!(client.text().ends_with("\r\n\r\nHello, World!"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod accept;
mod access;
mod answer;
mod auth;
mod carrier;
pub mod client;
mod cookies;
mod encoding;
mod errors;
mod exchange;
pub mod extract;
mod files;
pub mod handlers;
mod heads;
mod inbound;
mod incident;
mod leaving;
mod limits;
mod middleware;
mod multipart;
mod parts;
mod proxy;
pub mod push;
mod request;
pub mod resource;
mod responder;
mod response;
mod router;
mod secret;
mod server;
mod session;
mod signed;
mod site;
pub mod testing;
#[cfg(feature = "tower")]
pub mod tower;
mod travel;
pub mod websocket;
mod xsrf;

pub use access::{AccessObserver, AccessRecord, CombinedLog, STATUS_CLIENT_GONE};
pub use answer::{Answer, IntoAnswer, IntoResponse, marker};
pub use auth::{Authenticated, BasicAuth, CurrentUser, Identify, local_target};
pub use cookies::{Cookie, CookieError, Cookies, SameSite};
pub use encoding::{Coding, Compression, Decompression};
pub use errors::{ErrorPage, ErrorPages};
pub use extract::Rejection;
pub use files::{Files, content_type};
pub use inbound::BodyError;
pub use incident::Escaped;
pub use leaving::IfClientLeaves;
pub use limits::{Limits, SiteStatistics};
pub use middleware::{
    BodyLimit, Cors, Layered, Metrics, Middleware, Next, RateLimit, RequestId, SecurityHeaders, Timeout,
    middleware,
};
pub use multipart::{FormData, Multipart, MultipartLimits, Part, PartInfo, Upload};
pub use proxy::TrustedProxies;
pub use request::{Arguments, Request};
pub use responder::Responder;
pub use response::{Body, ByteStream, Response};
pub use ropewalk_net::NetworkError;
pub use router::{Handler, Redirect, RouteError, Router, UrlArgs, UrlError, Urls, encode_path, handler};
pub use session::{
    Changes, MemorySessions, Record, Session, SessionKey, SessionStore, Sessions, SharedSessions,
    SqliteSessions, Swept, check_session_store,
};
pub use signed::{KeyError, Keys, SignError};
pub use site::{Site, SiteHandle};
pub use xsrf::Xsrf;

pub use ropewalk_reactor::{Failure, Outcome};

/// Compares secrets in a time that does not tell where they differ.
#[must_use]
pub fn constant_time_eq(left: &[u8], right: &[u8]) -> bool {
    let differs = left.iter().zip(right).fold(0, |differs, (left, right)| differs | (left ^ right));
    std::hint::black_box(differs) == 0 && left.len() == right.len()
}
