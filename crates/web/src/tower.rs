//! Services of the tower ecosystem as handlers: an axum `Router` is mounted and answers, beside handlers of our own, on one port. The
//! feature `tower` brings it.
//!
//! ```text
//!  Request ─► http::Request, its body fed by what the service reads ─► service ─► http::Response ─► Response, a stream
//!                                                       │
//!                             polled on the loop, inside a tokio runtime beside it
//! ```
//! ```
//! use ropewalk_web::{Router, Site, tower};
//!
//! let api = axum::Router::new().route("/hello", axum::routing::get(|| async { "Hello from axum!" }));
//! let router = Router::new().get("/", |_| "Hello from here!").mount("/api", tower::mount(api));
//! let site = Site::new(router);
//! # drop(site);
//! ```
//! The service's future is polled by the loop, on its thread; what it makes of tokio's timers, tasks and files works, because it is
//! polled inside of the context of a [`SideRuntime`]. That runtime's time is the system's, also under a simulation. A service is
//! treated as every handler is: its panic is a 500 and an incident, [`IfClientLeaves`](crate::IfClientLeaves) decides about its
//! future, what it does not read of a body is not read.
//!
//! What does not pass: upgrades, WebSocket among them, which are answered with 501 (a route of this crate serves them beside the
//! service), and trailers of answers.

mod body;
mod reply;

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;

use http_body::Body as HttpBody;
use ropewalk_net::Address;
use ropewalk_reactor::{Failure, Outcome, Reactor, SideRuntime};
use tower_service::Service;

pub use body::Incoming;

use crate::answer::{Answer, IntoResponse};
use crate::request::Request;
use crate::response::Response;
use crate::router::Handler;
use body::Pump;

/// An error of a service or of a body, of whatever type.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// What a service is told of the connection, among the request's extensions.
///
/// ```
/// use ropewalk_web::Site;
/// use ropewalk_web::tower::{Connection, mount};
/// use axum::{Extension, Router, routing::get};
///
/// async fn whoami(Extension(connection): Extension<Connection>) -> String {
///     format!("{:?}", connection.client)
/// }
/// let site = Site::new(mount(Router::new().route("/whoami", get(whoami))));
/// # drop(site);
/// ```
/// Where a service wants axum's own `ConnectInfo`, [`Mounted::prepare`] puts it there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// The other end; behind a proxy that is the proxy.
    pub peer: Address,
    /// The same as an IP address and a port, if it has them.
    pub peer_address: Option<SocketAddr>,
    /// This side's address.
    pub host: Option<Address>,
    /// Who sent the request: the peer, or whom a trusted proxy names.
    pub client: Option<IpAddr>,
    /// Whether the client's own connection is encrypted, as far as is known here.
    pub is_secure: bool,
}

/// A service as a handler. A runtime for it is made once per reactor, when the first request comes.
///
/// What is left of the path where it is [mounted](crate::Router::mount) is the path that the service sees. It is cloned for each
/// request.
#[must_use]
pub fn mount<S>(service: S) -> Mounted<S> {
    Mounted { service, prepare: None, runtime: None }
}

type Prepare = Rc<dyn Fn(&Request, &mut http::Extensions)>;

/// What [`mount`] makes of a service.
pub struct Mounted<S> {
    service: S,
    prepare: Option<Prepare>,
    runtime: Option<SideRuntime>,
}

impl<S> Mounted<S> {
    /// Looks at each request before the service does, and adds to its extensions.
    ///
    /// ```
    /// use std::net::SocketAddr;
    /// use axum::{Router, extract::ConnectInfo, routing::get};
    /// use ropewalk_web::tower::mount;
    ///
    /// async fn peer(ConnectInfo(address): ConnectInfo<SocketAddr>) -> String {
    ///     address.to_string()
    /// }
    /// let handler = mount(Router::new().route("/", get(peer))).prepare(|request, extensions| {
    ///     if let ropewalk_net::Address::Inet(address) = request.peer() {
    ///         extensions.insert(ConnectInfo(address));
    ///     }
    ///     // The service may take its time: no deadline for its first byte.
    ///     request.wait_long();
    /// });
    /// # drop(ropewalk_web::Site::new(handler));
    /// ```
    #[must_use]
    pub fn prepare(mut self, prepare: impl Fn(&Request, &mut http::Extensions) + 'static) -> Mounted<S> {
        self.prepare = Some(Rc::new(prepare));
        self
    }

    /// Polls it inside of this runtime, and not of one that is made for all services.
    #[must_use]
    pub fn beside(mut self, runtime: &SideRuntime) -> Mounted<S> {
        self.runtime = Some(runtime.clone());
        self
    }

    fn runtime(&self, reactor: &Reactor) -> Outcome<SideRuntime> {
        if let Some(runtime) = &self.runtime {
            return Ok(runtime.clone());
        }
        let shared = reactor.part(|| SideRuntime::new(reactor).map_err(|error| error.to_string()));
        (*shared).clone().map_err(|error| Failure::new(format!("no runtime for a service: {error}")))
    }
}

impl<S, B> Handler for Mounted<S>
where
    S: Service<http::Request<Incoming>, Response = http::Response<B>> + Clone + 'static,
    S::Error: Into<BoxError>,
    S::Future: 'static,
    B: HttpBody + 'static,
    B::Error: Into<BoxError>,
{
    fn handle(&self, request: Request) -> Answer {
        let runtime = match self.runtime(request.reactor()) {
            Ok(runtime) => runtime,
            Err(failure) => return Answer::Now(Response::failure(failure)),
        };
        let asked = match convert(&request) {
            Ok(asked) => asked,
            Err(why) => return Answer::Now(Response::error(400, &why.to_string())),
        };
        let (incoming, pump) = body::pair(request);
        let mut asked = asked.map(|()| incoming);
        if let Some(prepare) = &self.prepare {
            prepare(pump.request(), asked.extensions_mut());
        }
        let service = self.service.clone();
        Answer::Later(Box::pin(async move {
            match serve(service, asked, pump, &runtime).await {
                Ok(response) => Answer::Now(response),
                Err(failure) => Answer::Now(failure.into_response()),
            }
        }))
    }
}

/// One request: the service is polled, and fed while it is.
async fn serve<S, B>(
    mut service: S,
    asked: http::Request<Incoming>,
    mut pump: Pump,
    runtime: &SideRuntime,
) -> Outcome<Response>
where
    S: Service<http::Request<Incoming>, Response = http::Response<B>> + 'static,
    S::Error: Into<BoxError>,
    B: HttpBody + 'static,
    B::Error: Into<BoxError>,
{
    let wants_upgrade = pump.request().upgrade().map(str::to_owned);
    let mut serving = pin!(runtime.within(async move {
        poll_fn(|context| service.poll_ready(context)).await.map_err(Into::into)?;
        service.call(asked).await.map_err(Into::into)
    }));
    let answered: Result<http::Response<B>, BoxError> = poll_fn(|context| {
        pump.poll(context);
        serving.as_mut().poll(context)
    })
    .await;
    let response = answered.map_err(Failure::new)?;
    Ok(reply::response(response, pump, runtime, wants_upgrade.as_deref()))
}

/// The head of a request, in the ecosystem's types.
fn convert(request: &Request) -> Result<http::Request<()>, http::Error> {
    let version = if request.is_http11() { http::Version::HTTP_11 } else { http::Version::HTTP_10 };
    let mut asked = http::Request::builder().method(request.method()).uri(target(request)).version(version);
    for (name, value) in request.headers() {
        asked = asked.header(name, value);
    }
    let peer = request.peer();
    let peer_address = match &peer {
        Address::Inet(address) => Some(*address),
        _ => None,
    };
    let (host, client) = (request.transport().host(), request.client());
    let connection = Connection { peer, peer_address, host, client, is_secure: request.is_secure() };
    asked.extension(connection).body(())
}

/// What the service is asked for: what is left of the path, and the query.
fn target(request: &Request) -> String {
    let rest = request.rest();
    if rest.len() == request.path().len() && !rest.is_empty() {
        return request.target().to_owned();
    }
    let slash = if rest.starts_with('/') { "" } else { "/" };
    let query = request.query().map_or_else(String::new, |query| format!("?{query}"));
    format!("{slash}{rest}{query}")
}

impl<S> fmt::Debug for Mounted<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mounted").field("runtime", &self.runtime).finish_non_exhaustive()
    }
}
