//! The services that most applications are made of: a factory at an endpoint, and a web site on every worker.

use std::cell::RefCell;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use ropewalk_net::tls::TlsServer;
use ropewalk_net::{
    Address, Admission, ConnectionLimits, Factory, Opened, Port, ServerEndpoint, ServerOptions, listen_on,
};
use ropewalk_reactor::{Name, Reactor, Share};
use ropewalk_web::Site;

use crate::activity::Activity;
use crate::service::{Bound, Ground, Service, StartError, bind_error};
use crate::tls;
use crate::workers::{self, Workers};

/// What lives behind a site and has more to do than to answer: it learns where it is, is told of the end, and may have work then that
/// the program waits for.
///
/// ```no_run
/// use ropewalk_app::{App, Bound, StartError, Tenant};
/// use ropewalk_web::{Router, Site};
///
/// /// Says where it is.
/// struct Herald;
/// impl Tenant for Herald {
///     fn bound(&mut self, bound: &Bound) -> Result<(), StartError> {
///         let url = bound.url.as_deref().ok_or_else(|| StartError::new("only at an address"))?;
///         println!("come to {url}");
///         Ok(())
///     }
/// }
/// # fn build(app: &mut App) -> Result<(), StartError> {
/// let site = || Router::new().get("/", |_| "welcome");
/// app.serve_tenant("web", "tcp:8080".parse()?, move |_| Ok((Site::new(site()), Herald)));
/// # Ok(())
/// # }
/// ```
pub trait Tenant: 'static {
    /// It is reached there now.
    ///
    /// # Errors
    /// One line that says why that does not do.
    fn bound(&mut self, bound: &Bound) -> Result<(), StartError> {
        let _ = bound;
        Ok(())
    }

    /// No new work comes, and none is to be begun.
    fn stop(&mut self) {}

    /// What is still on its way beside connections, for the grace to wait for.
    fn busy(&self) -> usize {
        0
    }

    /// What `status` shows of it, one line each.
    fn activities(&self) -> Vec<Activity> {
        Vec::new()
    }
}

/// The place of a tenant, which comes when its site is made.
pub(crate) type Room = Rc<RefCell<Option<Box<dyn Tenant>>>>;

type MakeFactory = Box<dyn FnOnce(&Reactor) -> Result<Rc<dyn Factory>, StartError>>;

/// Any protocol at an endpoint, on the home worker.
pub(crate) struct FactoryService {
    name: String,
    endpoint: ServerEndpoint,
    make: Option<MakeFactory>,
    url: bool,
    admission: Admission,
    tls: Option<TlsServer>,
    opened: Option<Opened>,
    port: Option<Port>,
    room: Room,
}

impl FactoryService {
    pub(crate) fn new(name: &str, endpoint: ServerEndpoint, url: bool, make: MakeFactory) -> FactoryService {
        let admission = Admission::new(ConnectionLimits::default());
        FactoryService {
            name: name.to_owned(),
            endpoint,
            make: Some(make),
            url,
            admission,
            tls: None,
            opened: None,
            port: None,
            room: Room::default(),
        }
    }

    /// The same with a tenant, who is there when the factory was made.
    pub(crate) fn with_room(self, room: Room) -> FactoryService {
        FactoryService { room, ..self }
    }
}

impl Service for FactoryService {
    fn name(&self) -> &str {
        &self.name
    }

    fn bind(&mut self, ground: &Ground<'_>) -> Result<(), StartError> {
        self.tls = if self.url { tls::for_web(&self.endpoint)? } else { None };
        self.opened = Some(ground.open(&self.endpoint, Share::Alone)?);
        Ok(())
    }

    fn start(&mut self, reactor: &Reactor) -> Result<Vec<Bound>, StartError> {
        let make = self.make.take().ok_or_else(|| StartError::new("a service starts once"))?;
        let opened = self.opened.take().ok_or_else(|| StartError::new("it has not bound"))?;
        let factory = make(reactor)?;
        let options =
            ServerOptions { tls: self.tls.take(), ..options(&self.name, &self.admission, Share::Alone) };
        let port = listen_on(reactor, &self.endpoint, opened, factory, options)
            .map_err(|error| bind_error(&self.endpoint, &error))?;
        let bound = bound(&port, self.url);
        self.port = Some(port);
        if let Some(tenant) = &mut *self.room.borrow_mut() {
            tenant.bound(&bound)?;
        }
        Ok(vec![bound])
    }

    fn stop(&mut self) -> Pin<Box<dyn Future<Output = ()>>> {
        if let Some(port) = self.port.take() {
            port.stop_listening();
        }
        if let Some(tenant) = &mut *self.room.borrow_mut() {
            tenant.stop();
        }
        Box::pin(std::future::ready(()))
    }

    fn busy(&self) -> usize {
        self.admission.connections() + self.room.borrow().as_ref().map_or(0, |tenant| tenant.busy())
    }

    fn activities(&self) -> Vec<Activity> {
        self.room.borrow().as_ref().map_or_else(Vec::new, |tenant| tenant.activities())
    }

    fn ports(&self) -> Vec<Port> {
        self.port.iter().cloned().collect()
    }

    fn has_certificates(&self) -> bool {
        self.tls.is_some() || self.port.as_ref().is_some_and(|port| port.tls().is_some())
    }

    fn descriptors(&self) -> Vec<(String, OwnedFd)> {
        let descriptor = self.port.as_ref().and_then(Port::descriptor);
        descriptor.map(|fd| (self.endpoint.to_string(), fd)).into_iter().collect()
    }
}

/// Makes the site of a worker beside home, on its thread.
pub(crate) type MakeSite = Arc<dyn Fn(&Reactor) -> Result<Site, StartError> + Send + Sync>;

/// Makes home's site, and with it what makes the others'.
pub(crate) type MakeHome = Box<dyn Fn(&Reactor) -> Result<(Site, MakeSite), StartError>>;

/// A web site at an endpoint, on every worker.
pub(crate) struct WebService {
    name: String,
    endpoint: ServerEndpoint,
    make: MakeHome,
    admission: Admission,
    tls: Option<TlsServer>,
    opened: Option<Opened>,
    /// Those of the other workers, bound while the program may; kept, so that the next process can have them.
    joined: Vec<OwnedFd>,
    port: Option<Port>,
    workers: Workers,
}

impl WebService {
    pub(crate) fn new(name: &str, endpoint: ServerEndpoint, make: MakeHome, workers: Workers) -> WebService {
        let admission = Admission::new(ConnectionLimits::default());
        let (tls, opened, joined, port) = (None, None, Vec::new(), None);
        WebService { name: name.to_owned(), endpoint, make, admission, tls, opened, joined, port, workers }
    }

    /// Sockets at the same port for the other workers.
    fn bind_joined(&mut self, ground: &Ground<'_>, first: &Opened) -> Result<(), StartError> {
        let port = match first.address() {
            Ok(Address::Inet(address)) => address.port(),
            _ => return Err(self.wants_tcp()),
        };
        let endpoint = self.endpoint.clone().with_port(port);
        for _ in 0..self.workers.others() {
            let fd = match ground.inherit_more(&self.endpoint) {
                Some(fd) => Some(fd),
                None => Opened::open(ground.reactor, &endpoint, Share::Joined)
                    .map_err(|error| bind_error(&endpoint, &error))?
                    .into_descriptor(),
            };
            self.joined.extend(fd);
        }
        Ok(())
    }

    fn wants_tcp(&self) -> StartError {
        StartError::new(format!("{}: several workers need a TCP endpoint", self.endpoint))
    }

    /// The same site on the other workers; each accepts before this returns.
    fn join_workers(&self, port: &Port, make: MakeSite) -> Result<(), StartError> {
        let Address::Inet(address) = port.address() else { return Err(self.wants_tcp()) };
        let endpoint = self.endpoint.clone().with_port(address.port());
        let clones: Result<Vec<OwnedFd>, _> = self.joined.iter().map(OwnedFd::try_clone).collect();
        let sockets = clones.map_err(|error| bind_error(&endpoint, &error))?;
        // The same TLS: a session that began on one worker goes on on another.
        let tls = port.tls().cloned();
        let (name, admission, held) = (self.name.clone(), self.admission.clone(), self.workers.is_held());
        self.workers.each(sockets, move |reactor, socket| {
            let site = make(reactor)?;
            let options = ServerOptions { tls: tls.clone(), ..options(&name, &admission, Share::Joined) };
            let opened = Opened::inherit(socket, &endpoint).map_err(|error| bind_error(&endpoint, &error))?;
            let port = listen_on(reactor, &endpoint, opened, Rc::new(site), options)
                .map_err(|error| bind_error(&endpoint, &error))?;
            if held {
                port.halt();
            }
            workers::keep(&name, port);
            Ok(())
        })
    }
}

impl Service for WebService {
    fn name(&self) -> &str {
        &self.name
    }

    fn bind(&mut self, ground: &Ground<'_>) -> Result<(), StartError> {
        let alone = self.workers.is_alone();
        if !alone && self.endpoint.is_file() {
            return Err(self.wants_tcp());
        }
        self.tls = tls::for_web(&self.endpoint)?;
        let opened = ground.open(&self.endpoint, if alone { Share::Alone } else { Share::First })?;
        if !alone {
            self.bind_joined(ground, &opened)?;
        }
        self.opened = Some(opened);
        Ok(())
    }

    fn start(&mut self, reactor: &Reactor) -> Result<Vec<Bound>, StartError> {
        let opened = self.opened.take().ok_or_else(|| StartError::new("it has not bound"))?;
        let (site, others) = (self.make)(reactor)?;
        let options =
            ServerOptions { tls: self.tls.take(), ..options(&self.name, &self.admission, Share::First) };
        let port = listen_on(reactor, &self.endpoint, opened, Rc::new(site), options)
            .map_err(|error| bind_error(&self.endpoint, &error))?;
        // Kept before the others accept: should one of them fail, this is what stops.
        self.port = Some(port.clone());
        if !self.workers.is_alone() {
            self.join_workers(&port, others)?;
        }
        Ok(vec![bound(&port, true)])
    }

    fn stop(&mut self) -> Pin<Box<dyn Future<Output = ()>>> {
        if let Some(port) = self.port.take() {
            port.stop_listening();
        }
        self.joined.clear();
        self.workers.stop_ports(&self.name);
        Box::pin(std::future::ready(()))
    }

    fn busy(&self) -> usize {
        self.admission.connections()
    }

    fn ports(&self) -> Vec<Port> {
        self.port.iter().cloned().collect()
    }

    fn has_certificates(&self) -> bool {
        self.tls.is_some() || self.port.as_ref().is_some_and(|port| port.tls().is_some())
    }

    fn descriptors(&self) -> Vec<(String, OwnedFd)> {
        let first = self.port.as_ref().and_then(Port::descriptor);
        let others = self.joined.iter().filter_map(|fd| fd.try_clone().ok());
        first.into_iter().chain(others).map(|fd| (self.endpoint.to_string(), fd)).collect()
    }

    fn drain(&self) {
        self.ports().iter().for_each(Port::drain);
        self.workers.with_ports(&self.name, Port::drain);
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
