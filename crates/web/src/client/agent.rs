//! `Agent`: the client that a program holds. It keeps the connections, the options and the jar; each request is put together in
//! `request` and walks its way in `fetch`.

use std::borrow::Cow;
use std::rc::Rc;

use ropewalk_net::tls::TlsClient;
use ropewalk_reactor::Reactor;

use super::connector::Connector;
use super::cookies::Cookies;
use super::error::ClientError;
use super::options::{ClientLimits, Deadlines, PoolLimits, Redirects};
use super::pool::{AgentStatistics, Pool};
use super::proxy::Proxy;
use super::request::{Payload, Plan, RequestBuilder};
use super::tls::Tls;
use super::url::Url;

/// A client for HTTP. A cheap clone: all clones share connections.
///
/// ```no_run
/// use ropewalk_reactor::{Outcome, react};
/// use ropewalk_web::client::Agent;
///
/// react(|reactor| async move {
///     let agent = Agent::new(&reactor);
///     let response = agent.get("http://example.org/").header("Accept", "text/html").send().await?;
///     println!("{}", response.status());
///     println!("{}", response.text().await?);
///     Outcome::Ok(())
/// })?;
/// # Ok::<(), ropewalk_reactor::Failure>(())
/// ```
///
/// Callbacks work as well, because what `send` gives is a [`Deferred`](ropewalk_reactor::Deferred):
/// ```no_run
/// # use ropewalk_reactor::Reactor;
/// # use ropewalk_web::client::{Agent, Response};
/// # fn show(reactor: &Reactor) {
/// let page = Agent::new(reactor).get("http://example.org/").send();
/// let page = page.add_callback(Response::text).add_callback(|text| println!("{text}"));
/// page.add_errback(|failure| eprintln!("{failure}")).detach();
/// # }
/// ```
///
/// When the last clone and the last request are gone, the connections that are kept are closed.
#[derive(Clone)]
pub struct Agent {
    pub(super) settings: Rc<Settings>,
    pub(super) pool: Rc<Pool>,
}

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) reactor: Reactor,
    pub(super) connector: Rc<dyn Connector>,
    pub(super) proxy: Option<Rc<Proxy>>,
    pub(super) cookies: Option<Cookies>,
    pub(super) limits: ClientLimits,
    pub(super) deadlines: Deadlines,
    pub(super) redirects: Redirects,
    pub(super) fields: Vec<(String, String)>,
}

impl Agent {
    /// An agent with the usual limits: no proxy, no cookies; for `https`, the roots of the system.
    #[must_use]
    pub fn new(reactor: &Reactor) -> Agent {
        let settings = Settings {
            reactor: reactor.clone(),
            connector: Rc::new(Tls::platform()),
            proxy: None,
            cookies: None,
            limits: ClientLimits::default(),
            deadlines: Deadlines::default(),
            redirects: Redirects::default(),
            fields: Vec::new(),
        };
        Agent { settings: Rc::new(settings), pool: Pool::new(PoolLimits::default()) }
    }

    /// The same with TLS of its own: other roots, pins, a certificate to show. It has connections of its own from then on.
    ///
    /// ```
    /// use ropewalk_net::tls::{Identity, TlsClient, TlsClientOptions};
    /// use ropewalk_web::client::{Agent, Tls};
    ///
    /// # fn agent(reactor: &ropewalk_reactor::Reactor) -> Result<Agent, ropewalk_net::tls::TlsError> {
    /// let identity = Some(Identity::files("me.pem", "me.key"));
    /// let tls = TlsClient::new(TlsClientOptions { identity, ..Tls::options() })?;
    /// let agent = Agent::new(reactor).with_tls(tls);
    /// # Ok(agent)
    /// # }
    /// ```
    #[must_use]
    pub fn with_tls(self, tls: TlsClient) -> Agent {
        self.with_connector(Tls::with(tls))
    }

    /// The same with connections made by this: UNIX sockets, another TLS. It has connections of its own from then on.
    #[must_use]
    pub fn with_connector(self, connector: impl Connector) -> Agent {
        self.change(|settings| settings.connector = Rc::new(connector)).apart()
    }

    /// The same through a proxy. It has connections of its own from then on.
    #[must_use]
    pub fn with_proxy(self, proxy: Proxy) -> Agent {
        self.change(|settings| settings.proxy = Some(Rc::new(proxy))).apart()
    }

    /// The same with so many connections. It has connections of its own from then on.
    #[must_use]
    pub fn with_pool(mut self, limits: PoolLimits) -> Agent {
        self.pool = Pool::new(limits);
        self
    }

    /// The same with a jar that takes and sends cookies.
    #[must_use]
    pub fn with_cookies(self, cookies: Cookies) -> Agent {
        self.change(|settings| settings.cookies = Some(cookies))
    }

    /// The same with limits of its own. Connections that stand keep theirs.
    #[must_use]
    pub fn with_limits(self, limits: ClientLimits) -> Agent {
        self.change(|settings| settings.limits = limits)
    }

    /// The same with deadlines of its own.
    #[must_use]
    pub fn with_deadlines(self, deadlines: Deadlines) -> Agent {
        self.change(|settings| settings.deadlines = deadlines)
    }

    /// The same with redirects of its own.
    #[must_use]
    pub fn with_redirects(self, redirects: Redirects) -> Agent {
        self.change(|settings| settings.redirects = redirects)
    }

    /// The same with a field that every request has unless it has one of this name: a `User-Agent`, a language.
    #[must_use]
    pub fn with_header(self, name: &str, value: &str) -> Agent {
        self.change(|settings| settings.fields.push((name.to_owned(), value.to_owned())))
    }

    fn change(mut self, change: impl FnOnce(&mut Settings)) -> Agent {
        change(Rc::make_mut(&mut self.settings));
        self
    }

    fn apart(mut self) -> Agent {
        self.pool = Pool::new(self.pool.limits.clone());
        self
    }

    /// A request with any method.
    pub fn request(&self, method: impl Into<Cow<'static, str>>, url: &str) -> RequestBuilder {
        let plan = url.parse::<Url>().map_err(ClientError::from).map(|url| Plan {
            method: method.into(),
            url,
            fields: Vec::new(),
            body: Payload::Empty,
            deadlines: self.settings.deadlines.clone(),
            redirects: self.settings.redirects,
            pipelined: false,
            expects: false,
            idempotent: false,
            decompress: true,
        });
        RequestBuilder { agent: self.clone(), plan }
    }

    /// A GET.
    pub fn get(&self, url: &str) -> RequestBuilder {
        self.request("GET", url)
    }

    /// A HEAD.
    pub fn head(&self, url: &str) -> RequestBuilder {
        self.request("HEAD", url)
    }

    /// A POST.
    pub fn post(&self, url: &str) -> RequestBuilder {
        self.request("POST", url)
    }

    /// A PUT.
    pub fn put(&self, url: &str) -> RequestBuilder {
        self.request("PUT", url)
    }

    /// A PATCH.
    pub fn patch(&self, url: &str) -> RequestBuilder {
        self.request("PATCH", url)
    }

    /// A DELETE.
    pub fn delete(&self, url: &str) -> RequestBuilder {
        self.request("DELETE", url)
    }

    /// The reactor.
    #[must_use]
    pub fn reactor(&self) -> &Reactor {
        &self.settings.reactor
    }

    /// Closes the connections that are kept, and makes none any more. Requests that have a connection come to their end.
    pub fn close(&self) {
        self.pool.close();
    }

    /// What its connections are doing.
    #[must_use]
    pub fn statistics(&self) -> AgentStatistics {
        self.pool.statistics()
    }
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("statistics", &self.statistics()).finish_non_exhaustive()
    }
}
