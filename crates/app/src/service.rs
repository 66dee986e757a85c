//! Services: what an application starts, in order, and stops, in reverse. A service binds when it starts and says where, so that
//! nothing is announced before everything stands.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;

use ropewalk_net::tls::TlsServer;
use ropewalk_net::{Opened, Port, ServerEndpoint};
use ropewalk_reactor::{Failure, Reactor, Share};

use crate::activity::Activity;

/// A part of an application with a beginning and an end. Two methods are a service; the others are for those that have more to say.
///
/// ```
/// use ropewalk_app::{Bound, Service, StartError};
/// use ropewalk_reactor::Reactor;
///
/// struct Greeter;
/// impl Service for Greeter {
///     fn name(&self) -> &str {
///         "greeter"
///     }
///     fn start(&mut self, reactor: &Reactor) -> Result<Vec<Bound>, StartError> {
///         reactor.call_soon(|| tracing::info!("good morning"));
///         Ok(Vec::new())
///     }
/// }
/// # use tracing as _;
/// ```
pub trait Service: 'static {
    /// What it is called in logs and in `listening on … (NAME)`.
    fn name(&self) -> &str;

    /// Opens what it listens at, while the program still has the privileges it was started with. Nothing is accepted yet. One that has
    /// failed binds again before it starts again.
    ///
    /// # Errors
    /// One line that says what is wrong and what to do.
    fn bind(&mut self, ground: &Ground<'_>) -> Result<(), StartError> {
        let _ = ground;
        Ok(())
    }

    /// Starts. What it listens at is bound when this returns. One that has failed is started again.
    ///
    /// # Errors
    /// One line that says what is wrong and what to do.
    fn start(&mut self, reactor: &Reactor) -> Result<Vec<Bound>, StartError>;

    /// When it is ready: those that come after it, and whoever started the program, wait for that.
    fn ready(&mut self) -> Pin<Box<dyn Future<Output = Result<(), StartError>>>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// What comes of it if it ever fails after it was ready: it is stopped then, and started again as its place in the application
    /// says.
    fn failed(&mut self) -> Pin<Box<dyn Future<Output = Failure>>> {
        Box::pin(std::future::pending())
    }

    /// Whether it can do its work at this moment; if not, a line for `status` that says why.
    ///
    /// # Errors
    /// Why it cannot.
    fn health(&self) -> Result<(), String> {
        Ok(())
    }

    /// Begins to stop: no new work is taken. What it returns is awaited, within the grace.
    fn stop(&mut self) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(std::future::ready(()))
    }

    /// What is still open, for the grace to wait for.
    fn busy(&self) -> usize {
        0
    }

    /// What goes on in it at this moment, for `status`: what is most of interest first. It is asked on the home worker, and is not to wait.
    fn activities(&self) -> Vec<Activity> {
        Vec::new()
    }

    /// Ends the activity of this name; answers false if there is none any more, or it cannot be ended now.
    fn end(&mut self, id: &str) -> bool {
        let _ = id;
        false
    }

    /// Where it accepts, on the home worker: what halts, and is handed over, when the program is upgraded.
    fn ports(&self) -> Vec<Port> {
        Vec::new()
    }

    /// Its listening sockets once more, for the next process, each with the endpoint it was asked for.
    fn descriptors(&self) -> Vec<(String, OwnedFd)> {
        Vec::new()
    }

    /// Whether it has certificates, which are read again at HUP.
    fn has_certificates(&self) -> bool {
        false
    }

    /// The program is about to be taken out of service (see [`Factory::drain`](ropewalk_net::Factory::drain)).
    fn drain(&self) {
        self.ports().iter().for_each(Port::drain);
    }
}

/// What a service binds on: the reactor, and the sockets that the process before this one has left.
pub struct Ground<'a> {
    /// The home worker's reactor.
    pub reactor: &'a Reactor,
    /// The name of the service in the tree.
    pub name: &'a str,
    pub(crate) inherited: &'a Inherited,
}

impl Ground<'_> {
    /// Opens an endpoint: takes over the socket that the process before this one had for it, or binds.
    ///
    /// # Errors
    /// One line that says what is wrong and what to do.
    pub fn open(&self, endpoint: &ServerEndpoint, share: Share) -> Result<Opened, StartError> {
        let opened = match self.inherited.take(self.name, &endpoint.to_string()) {
            Some(fd) => Opened::inherit(fd, endpoint),
            None => Opened::open(self.reactor, endpoint, share),
        };
        opened.map_err(|error| bind_error(endpoint, &error))
    }

    /// As many more sockets of this service and endpoint as there are, from the process before.
    pub(crate) fn inherit_more(&self, endpoint: &ServerEndpoint) -> Option<OwnedFd> {
        self.inherited.take(self.name, &endpoint.to_string())
    }
}

/// Listening sockets of the process before this one, or of services that are being replaced.
#[derive(Default)]
pub(crate) struct Inherited(RefCell<Vec<(String, String, OwnedFd)>>);

impl Inherited {
    pub(crate) fn add(&self, service: &str, endpoint: &str, fd: OwnedFd) {
        self.0.borrow_mut().push((service.to_owned(), endpoint.to_owned(), fd));
    }

    fn take(&self, service: &str, endpoint: &str) -> Option<OwnedFd> {
        let mut all = self.0.borrow_mut();
        let found = all.iter().position(|(of, at, _)| of == service && at == endpoint)?;
        Some(all.remove(found).2)
    }
}

/// Where a service listens.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The endpoint with the real port.
    pub endpoint: ServerEndpoint,
    /// An address for people to click at.
    pub url: Option<String>,
    /// Its TLS, if it has any: the certificates are read again at HUP.
    pub tls: Option<TlsServer>,
}

/// Why an application could not start: one line that says what is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError(String);

impl StartError {
    /// An error with this line.
    #[must_use]
    pub fn new(line: impl fmt::Display) -> StartError {
        // One line, whatever an error of the system may say.
        StartError(line.to_string().replace(['\n', '\r'], " "))
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

impl From<ropewalk_net::EndpointError> for StartError {
    fn from(error: ropewalk_net::EndpointError) -> StartError {
        StartError::new(error)
    }
}

/// What a failed bind means for the person who typed the endpoint.
pub(crate) fn bind_error(endpoint: &ServerEndpoint, error: &std::io::Error) -> StartError {
    use std::io::ErrorKind;
    let advice = match error.kind() {
        ErrorKind::AddrInUse => {
            "the address is taken; stop who has it, or choose another port (0 takes a free one)"
        }
        ErrorKind::AddrNotAvailable => "this machine does not have that address; choose one of its own",
        ErrorKind::PermissionDenied => {
            "no permission to listen there; ports below 1024 and foreign folders need it"
        }
        ErrorKind::NotFound => "the folder of the socket is not there; create it first",
        _ => return StartError::new(format!("{endpoint}: {error}")),
    };
    StartError::new(format!("{endpoint}: {advice}"))
}
