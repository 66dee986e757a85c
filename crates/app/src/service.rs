//! Services: what an application starts, in order, and stops, in reverse. A service binds when it starts and says where, so that
//! nothing is announced before everything stands.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use ropewalk_net::ServerEndpoint;
use ropewalk_net::tls::TlsServer;
use ropewalk_reactor::Reactor;

/// A part of an application with a beginning and an end.
pub trait Service: 'static {
    /// What it is called in logs and in `listening on … (NAME)`.
    fn name(&self) -> &str;

    /// Starts. What it listens at is bound when this returns.
    ///
    /// # Errors
    /// One line that says what is wrong and what to do.
    fn start(&mut self, reactor: &Reactor) -> Result<Vec<Bound>, StartError>;

    /// Begins to stop: no new work is taken. What it returns is awaited, within the grace.
    fn stop(&mut self) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(std::future::ready(()))
    }

    /// What is still open, for the grace to wait for.
    fn busy(&self) -> usize {
        0
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
