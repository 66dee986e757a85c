//! Connecting with TLS: a connection as every other, and then the handshake, within the same time. Nothing stands before it is done.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_reactor::{Deferred, Failure, Outcome, Reactor, Time};

use super::{ConnectError, Dial, FailedAttempt, within};
use crate::endpoint::ClientEndpoint;
use crate::tls::{ClientFiles, Outgoing, TlsClient, TlsError};
use crate::transport::Transport;

/// Clients that were made of endpoints, so that connecting again resumes a session and reads no roots. Few programs have more
/// than one or two.
#[derive(Default)]
struct Clients(RefCell<Vec<(ClientFiles, TlsClient)>>);

const CLIENTS_MAX: usize = 16;

impl Dial {
    /// As `run_plain`, and then the handshake.
    pub(super) async fn run_secure(mut self, limit: Duration, until: Time) -> Outcome<Transport> {
        let ClientEndpoint::Tls { host, files, .. } = &self.endpoint else {
            return self.run_plain(limit, until).await;
        };
        let reactor = self.reactor.clone();
        let host = host.clone();
        let tls = match &self.options.tls {
            Some(tls) => tls.clone(),
            None => client(&reactor, files).await?,
        };
        let (told, handshake) = Deferred::new(&reactor);
        let told = RefCell::new(Some(told));
        self.factory = Rc::new(Outgoing { tls, host: host.clone(), factory: self.factory, told });
        let transport = self.run_plain(limit, until).await?;
        let mut held = Held(Some(transport.clone()));
        match within(&reactor, until, handshake).await {
            Some(Ok(())) => {
                held.0 = None;
                Ok(transport)
            }
            Some(Err(failure)) => Err(explain(&host, &transport, failure)),
            None => {
                let error = Arc::new(io::Error::from(io::ErrorKind::TimedOut));
                let attempt = FailedAttempt { address: transport.peer(), error };
                Err(ConnectError::timed_out(&host, limit, vec![attempt], 0).into())
            }
        }
    }
}

/// The one that was made of these files before, or a new one.
async fn client(reactor: &Reactor, files: &ClientFiles) -> Outcome<TlsClient> {
    let clients = reactor.part(Clients::default);
    let known = clients.0.borrow().iter().find(|(known, _)| known == files).map(|(_, tls)| tls.clone());
    if let Some(tls) = known {
        return Ok(tls);
    }
    let tls = files.open(reactor).await?.map_err(TlsError::into_io)?;
    let mut known = clients.0.borrow_mut();
    if known.len() == CLIENTS_MAX {
        known.remove(0);
    }
    known.push((files.clone(), tls.clone()));
    Ok(tls)
}

/// A failed handshake as an attempt like every other. What is no error of the system's stays as it is: a factory's panic.
fn explain(host: &str, transport: &Transport, failure: Failure) -> Failure {
    let Some(error) = failure.check::<io::Error>() else { return failure };
    let attempt = FailedAttempt { address: transport.peer(), error: Arc::new(TlsError::again(error)) };
    ConnectError::all_failed(host, vec![attempt]).into()
}

/// A connection that does not stand yet: whoever gives up closes it.
struct Held(Option<Transport>);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(transport) = self.0.take() {
            transport.give_up();
        }
    }
}
