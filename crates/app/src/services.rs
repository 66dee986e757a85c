//! Services that are not listeners: something that is done again and again, and a connection that is kept up.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::{ClientEndpoint, ClientFactory, ClientPolicy, ClientService};
use ropewalk_reactor::{Deferred, Failure, Firing, LoopingCall, Reactor};

use crate::service::{Bound, Service, StartError};

type Stopped = Pin<Box<dyn Future<Output = ()>>>;

/// Calls a function at once and then again and again. When the function fails the service has failed, and is started again as its
/// place in the application says.
///
/// ```no_run
/// use std::time::Duration;
/// use ropewalk_app::TimerService;
/// # fn build(app: &mut ropewalk_app::App) {
/// app.add(TimerService::new("sweeper", Duration::from_secs(3600), |_| {
///     std::fs::remove_file("/tmp/old").map_err(ropewalk_reactor::Failure::new)
/// }));
/// # }
/// ```
pub struct TimerService {
    name: String,
    interval: Duration,
    call: Rc<RefCell<Call>>,
    running: Option<LoopingCall>,
    failure: Option<Deferred<Failure>>,
}

type Call = Box<dyn FnMut(&Reactor) -> Result<(), Failure>>;

impl TimerService {
    /// Calls `call` every `interval`, the first time when it is started.
    pub fn new(
        name: &str,
        interval: Duration,
        call: impl FnMut(&Reactor) -> Result<(), Failure> + 'static,
    ) -> TimerService {
        let call: Rc<RefCell<Call>> = Rc::new(RefCell::new(Box::new(call)));
        TimerService { name: name.to_owned(), interval, call, running: None, failure: None }
    }
}

impl Service for TimerService {
    fn name(&self) -> &str {
        &self.name
    }

    fn start(&mut self, reactor: &Reactor) -> Result<Vec<Bound>, StartError> {
        let (firing, failure) = Deferred::new(reactor);
        let firing: Rc<Cell<Option<Firing<Failure>>>> = Rc::new(Cell::new(Some(firing)));
        let (call, handle) = (Rc::clone(&self.call), reactor.clone());
        let running = LoopingCall::new(reactor, move |_| {
            let outcome = (call.borrow_mut())(&handle);
            if let Err(failure) = outcome
                && let Some(firing) = firing.take()
            {
                // Nobody waits any more when the service is stopped.
                let _ = firing.callback(failure);
            }
        });
        running.start(self.interval, true);
        (self.running, self.failure) = (Some(running), Some(failure));
        Ok(Vec::new())
    }

    fn failed(&mut self) -> Pin<Box<dyn Future<Output = Failure>>> {
        let failure = self.failure.take();
        Box::pin(async move {
            match failure {
                Some(deferred) => deferred.await.unwrap_or_else(|failure| failure),
                None => std::future::pending().await,
            }
        })
    }

    fn stop(&mut self) -> Stopped {
        if let Some(running) = self.running.take() {
            running.stop();
        }
        Box::pin(std::future::ready(()))
    }
}

/// Keeps a connection up, while the application runs: [`ClientService`] as a part of it.
///
/// ```no_run
/// use ropewalk_app::ClientKeeper;
/// use ropewalk_net::ClientPolicy;
/// # struct Feed;
/// # impl ropewalk_net::Protocol for Feed { fn data_received(&mut self, _: &ropewalk_net::Transport, _: &[u8]) {} }
/// # fn build(app: &mut ropewalk_app::App) -> Result<(), ropewalk_app::StartError> {
/// let keeper = ClientKeeper::new(app.reactor(), "feed", "tcp:news.example:7000".parse()?, || (Feed, ()), ClientPolicy::default());
/// app.add(keeper.required());
/// # Ok(())
/// # }
/// ```
pub struct ClientKeeper<H: Clone + 'static> {
    name: String,
    endpoint: ClientEndpoint,
    client: ClientService<H>,
    required: bool,
}

impl<H: Clone + 'static> ClientKeeper<H> {
    /// Connects to `endpoint` when it is started, and again whenever the connection is lost.
    pub fn new(
        reactor: &Reactor,
        name: &str,
        endpoint: ClientEndpoint,
        factory: impl ClientFactory<Handle = H>,
        policy: ClientPolicy,
    ) -> ClientKeeper<H> {
        let client = ClientService::new(reactor, endpoint.clone(), factory, policy);
        ClientKeeper { name: name.to_owned(), endpoint, client, required: false }
    }

    /// The same, ready only when it is connected for the first time.
    #[must_use]
    pub fn required(mut self) -> ClientKeeper<H> {
        self.required = true;
        self
    }

    /// The client itself, for whoever speaks through it.
    #[must_use]
    pub fn client(&self) -> ClientService<H> {
        self.client.clone()
    }
}

impl<H: Clone + 'static> Service for ClientKeeper<H> {
    fn name(&self) -> &str {
        &self.name
    }

    fn start(&mut self, _reactor: &Reactor) -> Result<Vec<Bound>, StartError> {
        self.client.start();
        Ok(Vec::new())
    }

    fn ready(&mut self) -> Pin<Box<dyn Future<Output = Result<(), StartError>>>> {
        if !self.required {
            return Box::pin(std::future::ready(Ok(())));
        }
        let (connected, endpoint) = (self.client.when_connected(None), self.endpoint.clone());
        Box::pin(async move {
            let outcome = connected.await;
            outcome.map(drop).map_err(|failure| StartError::new(format!("{endpoint}: {}", failure.error())))
        })
    }

    fn health(&self) -> Result<(), String> {
        match self.client.connected() {
            Some(_) => Ok(()),
            None => Err(format!("not connected to {}", self.endpoint)),
        }
    }

    fn stop(&mut self) -> Stopped {
        let stopped = self.client.stop();
        Box::pin(async move {
            // It fails only when the loop ends, and the connection with it.
            let _ = stopped.await;
        })
    }
}
