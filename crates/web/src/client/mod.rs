//! A client for HTTP: one [`Agent`] keeps connections, follows redirects, holds cookies, and gives every phase its deadline.
//!
//! ```text
//!  Agent ─► RequestBuilder ─ send ─► fetch: hop after hop, sent again only where that is safe
//!                                      │
//!                    pool ◄── asks ────┤   a kept connection, or the right to make one
//!                      │               ▼
//!               connection ◄──── exchange ────► Response: head, then the body as it is read
//! ```
//!
//! ```
//! use std::time::Duration;
//! use ropewalk_net::listen;
//! use ropewalk_reactor::{Outcome, Simulation};
//! use ropewalk_web::client::Agent;
//! use ropewalk_web::{Router, Site};
//!
//! let simulation = Simulation::new(1);
//! let site = Site::new(Router::new().get("/", |_| "Hello, World!"));
//! let port = listen(simulation.reactor(), &"tcp:80:interface=127.0.0.1".parse()?, site)?;
//! let agent = Agent::new(simulation.reactor());
//! simulation.reactor().spawn(async move {
//!     let response = agent.get("http://localhost/").send().await?;
//!     assert_eq!(response.status(), 200);
//!     assert_eq!(response.text().await?, "Hello, World!");
//!     Outcome::Ok(())
//! });
//! simulation.advance(Duration::from_secs(1));
//! # drop(port);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `https` is TLS that believes whom the system believes; [`Agent::with_tls`] changes that. What is not here: HTTP/2; a cache.

mod agent;
mod coding;
mod connection;
mod connector;
mod cookies;
mod encoding;
mod error;
mod exchange;
mod fetch;
mod head;
mod open;
mod options;
mod pool;
mod proxy;
mod redirect;
mod request;
mod response;
mod tls;
mod upgrade;
mod url;

pub use agent::Agent;
pub use connector::{Connector, Plain};
pub use cookies::{Cookie, Cookies};
pub use error::{ClientError, Phase};
pub use options::{ClientLimits, Deadlines, PoolLimits, Redirects};
pub use pool::AgentStatistics;
pub use proxy::Proxy;
pub use request::RequestBuilder;
pub use response::Response;
pub use tls::Tls;
pub(crate) use upgrade::Ask;
pub use url::{Origin, Url, UrlError};

use std::time::Duration;

use ropewalk_reactor::{Deferred, Reactor};

/// The text of one page: redirects are followed, and anything but a success is a failure. Nothing is kept behind it; for more than
/// one page, an [`Agent`] keeps connections.
///
/// ```no_run
/// use ropewalk_reactor::react;
/// use ropewalk_web::client::get_page;
///
/// react(|reactor| async move {
///     println!("{}", get_page(&reactor, "https://example.org/").await?);
///     Ok(())
/// })?;
/// # Ok::<(), ropewalk_reactor::Failure>(())
/// ```
///
/// # Errors
/// [`ClientError`], [`ClientError::Status`] among them, or what [`ropewalk_net::connect`] fails of.
#[track_caller]
pub fn get_page(reactor: &Reactor, url: &str) -> Deferred<String> {
    let agent = Agent::new(reactor).with_pool(PoolLimits { idle: Duration::ZERO, ..PoolLimits::default() });
    agent.get(url).send().add_callback(|response| response.success()).add_callback(Response::text)
}
