//! `Site`: a handler with everything around it that does not change per request: limits, the Date line, proxies that are
//! trusted, the access log. It is the factory that a listener is given, one per worker.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;

use ropewalk_net::{Address, Factory, Frozen, Protocol};
use ropewalk_reactor::Reactor;
use ropewalk_wire::http1::Head;

use crate::access::{AccessObserver, AccessRecord, Both};
use crate::errors::ErrorPages;
use crate::exchange::{Exchange, Stage};
use crate::heads::Heads;
use crate::limits::{Counters, Limits, SiteStatistics};
use crate::middleware::{Layered, Middleware, Nothing};
use crate::proxy::TrustedProxies;
use crate::router::Handler;
use crate::server::HttpConnection;

/// Exchanges kept for the next request; more are freed.
const SPARES_MAX: usize = 64;

/// A web site: what a listener serves.
///
/// ```
/// use ropewalk_net::listen;
/// use ropewalk_reactor::Reactor;
/// use ropewalk_web::{Router, Site};
/// let reactor = Reactor::new()?;
/// let site = Site::new(Router::new().get("/", |_| "Hello, World!"));
/// let port = listen(&reactor, &"tcp:0:interface=127.0.0.1".parse()?, site)?;
/// println!("http://{}/", port.address());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Site {
    core: Rc<SiteCore>,
    layered: Option<Layered>,
}

pub(crate) struct SiteCore {
    pub(crate) handler: Box<dyn Handler>,
    pub(crate) limits: Limits,
    pub(crate) counters: Counters,
    pub(crate) debug: bool,
    pub(crate) pages: Option<ErrorPages>,
    pub(crate) heads: Heads,
    proxies: TrustedProxies,
    observer: Option<Rc<dyn AccessObserver>>,
    spares: RefCell<Vec<Rc<Exchange>>>,
    draining: Cell<bool>,
    /// Listeners that serve it now.
    listeners: Cell<u32>,
}

impl<H: Handler> From<H> for Site {
    fn from(handler: H) -> Site {
        Site::new(handler)
    }
}

impl Site {
    /// A site with the default limits.
    pub fn new(handler: impl Handler) -> Site {
        Site {
            layered: None,
            core: Rc::new(SiteCore {
                handler: Box::new(handler),
                limits: Limits::default(),
                counters: Counters::default(),
                debug: false,
                pages: None,
                heads: Heads::new(Some("ropewalk".to_owned())),
                proxies: TrustedProxies::default(),
                observer: None,
                spares: RefCell::default(),
                draining: Cell::new(false),
                listeners: Cell::new(0),
            }),
        }
    }

    fn change(mut self, change: impl FnOnce(&mut SiteCore)) -> Site {
        // A site that is already served is shared, and no longer changes.
        if let Some(core) = Rc::get_mut(&mut self.core) {
            change(core);
        }
        self
    }

    /// The same with a middleware around all that it answers. The first one that is added is the outermost.
    ///
    /// ```
    /// use ropewalk_web::{RequestId, Router, SecurityHeaders, Site};
    /// let site = Site::new(Router::new().get("/", |_| "Hello, World!")).with(RequestId::new()).with(SecurityHeaders::new());
    /// # drop(site);
    /// ```
    #[must_use]
    pub fn with(mut self, middleware: impl Middleware) -> Site {
        if let Some(core) = Rc::get_mut(&mut self.core) {
            let layered = self.layered.take().unwrap_or_else(|| {
                Layered::new(std::mem::replace(&mut core.handler, Box::new(Nothing)).into())
            });
            let layered = layered.with(middleware);
            core.handler = Box::new(layered.clone());
            self.layered = Some(layered);
        }
        self
    }

    /// The same with these limits.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Site {
        self.change(|core| core.limits = limits)
    }

    /// The same showing its failures to whoever asks, or, which is the default, to the log alone. A handler that fails is answered
    /// with 500 either way: with the id of an incident, that the log has as well; or, in debug, with the error's own words,
    /// what caused it and the places it passed, as a page to a browser and as text to other clients. Such a site is not for
    /// strangers.
    ///
    /// ```
    /// use ropewalk_web::{Router, Site};
    /// let site = Site::new(Router::new().get("/", |_| "Hello, World!")).debug(cfg!(debug_assertions));
    /// # drop(site);
    /// ```
    #[must_use]
    pub fn debug(self, debug: bool) -> Site {
        self.change(|core| core.debug = debug)
    }

    /// The same with pages for errors, instead of a line of text for everyone. A site that [debugs](Site::debug) shows its failures all the
    /// same.
    #[must_use]
    pub fn error_pages(self, pages: ErrorPages) -> Site {
        self.change(|core| core.pages = Some(pages))
    }

    /// The same with another `Server` field, or none.
    #[must_use]
    pub fn server(self, name: Option<&str>) -> Site {
        let name = name.map(|name| name.chars().filter(|character| !character.is_control()).collect());
        self.change(|core| core.heads = Heads::new(name))
    }

    /// The same, believing what these proxies say of their clients: `X-Forwarded-For`, `X-Real-IP`, `X-Forwarded-Proto` and
    /// `X-Scheme`. Networks as `10.0.0.0/8`, or single addresses.
    #[must_use]
    pub fn trust_proxies(self, proxies: TrustedProxies) -> Site {
        self.change(|core| core.proxies = proxies)
    }

    /// The same with somebody who sees every request when it is over: an access log, figures. There may be more than one.
    #[must_use]
    pub fn observe(self, observer: Rc<dyn AccessObserver>) -> Site {
        self.change(|core| {
            core.observer = Some(match core.observer.take() {
                Some(first) => Rc::new(Both(first, observer)),
                None => observer,
            });
        })
    }

    /// A handle for figures and for draining, which stays when the site is served.
    #[must_use]
    pub fn handle(&self) -> SiteHandle {
        SiteHandle(Rc::clone(&self.core))
    }
}

/// A handle to a site that is served.
#[derive(Clone)]
pub struct SiteHandle(pub(crate) Rc<SiteCore>);

impl SiteHandle {
    /// Figures.
    #[must_use]
    pub fn statistics(&self) -> SiteStatistics {
        self.0.counters.statistics()
    }

    /// From now on every answer says `Connection: close`.
    pub fn drain(&self) {
        self.0.draining.set(true);
    }
}

impl Factory for Site {
    fn build_protocol(&self, _peer: &Address) -> Option<Box<dyn Protocol>> {
        Some(Box::new(HttpConnection::new(&self.core)))
    }

    fn thaw(&self, _peer: &Address, frozen: &Frozen) -> Option<Box<dyn Protocol>> {
        HttpConnection::thaw(&self.core, frozen)
    }

    fn start_factory(&self, _reactor: &Reactor) {
        self.core.listeners.set(self.core.listeners.get() + 1);
        if self.core.debug {
            tracing::warn!("a site debugs: it shows its failures to whoever asks");
        }
    }

    fn stop_factory(&self) {
        let left = self.core.listeners.get().saturating_sub(1);
        self.core.listeners.set(left);
        if left == 0 {
            self.core.draining.set(true);
        }
    }

    fn drain(&self) {
        self.core.draining.set(true);
    }

    fn overflow(&self) -> &[u8] {
        b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"
    }
}

impl SiteCore {
    /// An exchange to fill: a spare one, held by nobody else.
    #[inline]
    pub(crate) fn take_exchange(&self) -> Rc<Exchange> {
        self.spares.borrow_mut().pop().unwrap_or_else(Exchange::fresh)
    }

    /// Keeps an exchange for the next request, if nobody else holds it.
    #[inline(always)]
    pub(crate) fn give_back(&self, mut exchange: Rc<Exchange>) {
        if let Some(unshared) = Rc::get_mut(&mut exchange) {
            unshared.reset();
            let mut spares = self.spares.borrow_mut();
            if spares.len() < SPARES_MAX {
                spares.push(exchange);
            }
        }
    }

    /// Exchanges that nobody uses.
    #[cfg(test)]
    pub(crate) fn spares(&self) -> usize {
        self.spares.borrow().len()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    pub(crate) fn client(&self, peer: Option<IpAddr>, head: &Head) -> Option<IpAddr> {
        self.proxies.client(peer?, head)
    }

    pub(crate) fn is_secure(&self, peer: Option<IpAddr>, head: &Head) -> bool {
        peer.is_some_and(|peer| self.proxies.is_secure(peer, head))
    }

    /// Whether the peer is a trusted proxy.
    pub(crate) fn trusts(&self, peer: Option<IpAddr>) -> bool {
        peer.is_some_and(|peer| self.proxies.contains(peer))
    }

    /// Accounts a request that is over. A broken observer cannot hurt the request.
    #[inline]
    pub(crate) fn account(&self, exchange: &Exchange) {
        self.counters.requests.set(self.counters.requests.get() + 1);
        if let Some(observer) = &self.observer {
            self.tell(&**observer, exchange);
        }
    }

    fn tell(&self, observer: &dyn AccessObserver, exchange: &Exchange) {
        let transport = exchange.carrier().connection();
        let record = AccessRecord {
            handler: &*self.handler,
            request_id: exchange.if_rare(|rare| rare.id.clone()),
            peer: &transport.peer(),
            client: self.client(transport.peer().ip(), &exchange.head),
            head: &exchange.head,
            status: if exchange.stage.get() == Stage::Lost && exchange.status.get() == 0 {
                crate::access::STATUS_CLIENT_GONE
            } else {
                exchange.status.get()
            },
            bytes: exchange.sent.get(),
            wall_seconds: self.heads.wall_seconds(transport.reactor()),
            took: transport.reactor().now() - exchange.started,
        };
        let observed =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| observer.request_finished(&record)));
        if observed.is_err() {
            tracing::error!("the access observer panicked");
        }
    }
}
