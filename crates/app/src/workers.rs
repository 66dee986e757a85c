//! The workers beside the home one: a thread with a reactor each. They accept, parse and write; services live at home. Made by the
//! application before its services start, ended by it after they have stopped.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use ropewalk_net::Port;
use ropewalk_reactor::{Reactor, Remote};

use crate::service::StartError;

thread_local! {
    /// What this worker accepts at, by the name of the service.
    static PORTS: RefCell<Vec<(String, Port)>> = const { RefCell::new(Vec::new()) };
}

/// Remembers where this worker accepts, for [`Workers::with_ports`].
pub(crate) fn keep(service: &str, port: Port) {
    PORTS.with(|ports| ports.borrow_mut().push((service.to_owned(), port)));
}

/// All workers but home. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Workers(Rc<Inner>);

#[derive(Default)]
struct Inner {
    /// How many there are to be beside home.
    count: usize,
    /// What starts now accepts nothing before it is told to.
    held: Cell<bool>,
    running: RefCell<Vec<Worker>>,
}

struct Worker {
    remote: Remote,
    thread: JoinHandle<()>,
}

impl Workers {
    /// So many workers beside home, which [`Workers::start`] starts.
    pub(crate) fn new(count: usize) -> Workers {
        Workers(Rc::new(Inner { count, ..Inner::default() }))
    }

    pub(crate) fn start(&self) -> Result<(), StartError> {
        for number in 1..=self.0.count {
            let worker =
                start_one(number).map_err(|error| StartError::new(format!("worker {number}: {error}")));
            match worker {
                Ok(worker) => self.0.running.borrow_mut().push(worker),
                Err(error) => {
                    self.end();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Whether what starts from now on accepts nothing before it is told to.
    pub(crate) fn hold(&self, held: bool) {
        self.0.held.set(held);
    }

    pub(crate) fn is_held(&self) -> bool {
        self.0.held.get()
    }

    /// Whether home is the only worker.
    pub(crate) fn is_alone(&self) -> bool {
        self.0.count == 0
    }

    /// How many there are beside home.
    pub(crate) fn others(&self) -> usize {
        self.0.count
    }

    /// Runs something on every worker with a socket of its own, one after the other, and stops at the first error.
    pub(crate) fn each(
        &self,
        sockets: Vec<OwnedFd>,
        call: impl Fn(&Reactor, OwnedFd) -> Result<(), StartError> + Send + Sync + 'static,
    ) -> Result<(), StartError> {
        let call = Arc::new(call);
        for (worker, socket) in self.0.running.borrow().iter().zip(sockets) {
            let call = Arc::clone(&call);
            worker
                .remote
                .blocking_call_from_thread(move |reactor| call(reactor, socket))
                .map_err(StartError::new)??;
        }
        Ok(())
    }

    /// Runs something on every worker that answers with a value; a worker that has ended has none.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        call: impl Fn(&Reactor) -> T + Send + Sync + 'static,
    ) -> Vec<Option<T>> {
        let call = Arc::new(call);
        let ask = |worker: &Worker| {
            let call = Arc::clone(&call);
            worker.remote.blocking_call_from_thread(move |reactor| call(reactor)).ok()
        };
        self.0.running.borrow().iter().map(ask).collect()
    }

    /// Doors to all of them.
    pub(crate) fn remotes(&self) -> Vec<Remote> {
        self.0.running.borrow().iter().map(|worker| worker.remote.clone()).collect()
    }

    /// Does something with every port of a service on every worker, and waits until it is done.
    pub(crate) fn with_ports(&self, service: &str, call: fn(&Port)) {
        let service = service.to_owned();
        self.ask(move |_| {
            let ports: Vec<Port> = PORTS.with(|ports| {
                ports.borrow().iter().filter(|(of, _)| *of == service).map(|(_, port)| port.clone()).collect()
            });
            ports.iter().for_each(call);
        });
    }

    /// Does something with every port of every worker, and waits until it is done.
    pub(crate) fn with_all_ports(&self, call: fn(&Port)) {
        self.ask(move |_| {
            let ports: Vec<Port> =
                PORTS.with(|ports| ports.borrow().iter().map(|(_, port)| port.clone()).collect());
            ports.iter().for_each(call);
        });
    }

    /// Ends accepting for a service on every worker, and waits until it is done.
    pub(crate) fn stop_ports(&self, service: &str) {
        self.with_ports(service, Port::stop_listening);
        let service = service.to_owned();
        self.ask(move |_| PORTS.with(|ports| ports.borrow_mut().retain(|(of, _)| *of != service)));
    }

    /// Asks every connection of every worker to come to an end.
    pub(crate) fn announce_stop(&self) {
        for worker in self.0.running.borrow().iter() {
            // One that has ended already has no connections.
            let _ = worker.remote.call_from_thread(Reactor::announce_stop);
        }
    }

    /// Ends the workers and waits for their threads.
    pub(crate) fn end(&self) {
        for worker in self.0.running.borrow_mut().drain(..) {
            let _ = worker.remote.call_from_thread(Reactor::stop);
            if worker.thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}

fn start_one(number: usize) -> std::io::Result<Worker> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("worker {number}")).spawn(move || {
        let made = Reactor::new();
        let reactor = match made {
            Ok(reactor) => {
                // Its starter waits for this.
                let _ = sender.send(Ok(reactor.remote()));
                reactor
            }
            Err(error) => return drop(sender.send(Err(error))),
        };
        if let Err(error) = reactor.run() {
            tracing::error!("a worker's loop ended: {error}");
        }
        PORTS.with(|ports| ports.borrow_mut().clear());
    })?;
    let remote = receiver.recv().map_err(|_| std::io::Error::other("its thread ended at once"))??;
    Ok(Worker { remote, thread })
}
