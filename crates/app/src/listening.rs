//! The services that most applications are made of: a factory at an endpoint, and a web site on every worker.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use ropewalk_net::{
    Address, Admission, ConnectionLimits, Factory, Port, ServerEndpoint, ServerOptions, listen_with,
};
use ropewalk_reactor::{Name, Reactor, Share};
use ropewalk_web::Site;

use crate::service::{Bound, Service, StartError, bind_error};
use crate::tls;
use crate::workers::Workers;

type MakeFactory = Box<dyn FnOnce(&Reactor) -> Result<Rc<dyn Factory>, StartError>>;

/// Any protocol at an endpoint, on the home worker.
pub(crate) struct FactoryService {
    name: String,
    endpoint: ServerEndpoint,
    make: Option<MakeFactory>,
    url: bool,
    admission: Admission,
    port: Option<Port>,
}

impl FactoryService {
    pub(crate) fn new(name: &str, endpoint: ServerEndpoint, url: bool, make: MakeFactory) -> FactoryService {
        let admission = Admission::new(ConnectionLimits::default());
        FactoryService { name: name.to_owned(), endpoint, make: Some(make), url, admission, port: None }
    }
}

impl Service for FactoryService {
    fn name(&self) -> &str {
        &self.name
    }

    fn start(&mut self, reactor: &Reactor) -> Result<Vec<Bound>, StartError> {
        let make = self.make.take().ok_or_else(|| StartError::new("a service starts once"))?;
        let factory = make(reactor)?;
        let tls = if self.url { tls::for_web(&self.endpoint)? } else { None };
        let options = ServerOptions { tls, ..options(&self.name, &self.admission, Share::Alone) };
        let port = listen_with(reactor, &self.endpoint, factory, options)
            .map_err(|error| bind_error(&self.endpoint, &error))?;
        let bound = bound(&port, self.url);
        self.port = Some(port);
        Ok(vec![bound])
    }

    fn stop(&mut self) -> Pin<Box<dyn Future<Output = ()>>> {
        if let Some(port) = self.port.take() {
            port.stop_listening();
        }
        Box::pin(std::future::ready(()))
    }

    fn busy(&self) -> usize {
        self.admission.connections()
    }
}

/// Makes the site of one worker.
pub(crate) type MakeSite = Arc<dyn Fn() -> Result<Site, StartError> + Send + Sync>;

/// A web site at an endpoint, on every worker.
pub(crate) struct WebService {
    name: String,
    endpoint: ServerEndpoint,
    make: MakeSite,
    admission: Admission,
    port: Option<Port>,
    workers: Workers,
}

impl WebService {
    pub(crate) fn new(name: &str, endpoint: ServerEndpoint, make: MakeSite, workers: Workers) -> WebService {
        let admission = Admission::new(ConnectionLimits::default());
        WebService { name: name.to_owned(), endpoint, make, admission, port: None, workers }
    }

    /// The same site at the same port on the other workers; each binds before this returns.
    fn join_workers(&self, port: &Port) -> Result<(), StartError> {
        let Address::Inet(address) = port.address() else {
            return Err(StartError::new(format!("{}: several workers need a TCP endpoint", self.endpoint)));
        };
        let endpoint = self.endpoint.clone().with_port(address.port());
        // The same one: a session that began on one worker goes on on another.
        let tls = port.tls().cloned();
        let (make, name, admission) = (Arc::clone(&self.make), self.name.clone(), self.admission.clone());
        self.workers.each(move |reactor| {
            let site = make()?;
            let options = ServerOptions { tls: tls.clone(), ..options(&name, &admission, Share::Joined) };
            listen_with(reactor, &endpoint, Rc::new(site), options)
                .map(drop)
                .map_err(|error| bind_error(&endpoint, &error))
        })
    }
}

impl Service for WebService {
    fn name(&self) -> &str {
        &self.name
    }

    fn start(&mut self, reactor: &Reactor) -> Result<Vec<Bound>, StartError> {
        let site = (self.make)()?;
        let share = if self.workers.is_alone() { Share::Alone } else { Share::First };
        let tls = tls::for_web(&self.endpoint)?;
        let options = ServerOptions { tls, ..options(&self.name, &self.admission, share) };
        let port = listen_with(reactor, &self.endpoint, Rc::new(site), options)
            .map_err(|error| bind_error(&self.endpoint, &error))?;
        // Kept before the others bind: should one of them fail, this is what stops.
        self.port = Some(port.clone());
        if !self.workers.is_alone() {
            self.join_workers(&port)?;
        }
        Ok(vec![bound(&port, true)])
    }

    fn stop(&mut self) -> Pin<Box<dyn Future<Output = ()>>> {
        if let Some(port) = self.port.take() {
            port.stop_listening();
        }
        Box::pin(std::future::ready(()))
    }

    fn busy(&self) -> usize {
        self.admission.connections()
    }
}

fn options(name: &str, admission: &Admission, share: Share) -> ServerOptions {
    ServerOptions { name: Name::new(name), admission: admission.clone(), share, ..ServerOptions::default() }
}

fn bound(port: &Port, url: bool) -> Bound {
    let scheme = if port.tls().is_some() { "https" } else { "http" };
    let url = match port.address() {
        // An unspecified address is reached at loopback from here.
        Address::Inet(address) if url && address.ip().is_unspecified() => {
            Some(format!("{scheme}://localhost:{}/", address.port()))
        }
        Address::Inet(address) if url => Some(format!("{scheme}://{address}/")),
        _ => None,
    };
    Bound { endpoint: port.endpoint(), url, tls: port.tls().cloned() }
}
