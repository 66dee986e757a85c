//! The workers beside the home one: a thread with a reactor each. They accept, parse and write; services live at home. Made by the
//! application before its services start, ended by it after they have stopped.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use ropewalk_reactor::{Reactor, Remote};

use crate::service::StartError;

/// All workers but home. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Workers(Rc<RefCell<Vec<Worker>>>);

struct Worker {
    remote: Remote,
    thread: JoinHandle<()>,
}

impl Workers {
    /// Starts so many workers beside home.
    pub(crate) fn start(count: usize) -> Result<Workers, StartError> {
        let workers = Workers::default();
        for number in 1..=count {
            let worker =
                start_one(number).map_err(|error| StartError::new(format!("worker {number}: {error}")));
            match worker {
                Ok(worker) => workers.0.borrow_mut().push(worker),
                Err(error) => {
                    workers.end();
                    return Err(error);
                }
            }
        }
        Ok(workers)
    }

    /// Whether home is the only worker.
    pub(crate) fn is_alone(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// The doors to their loops, in the order of their numbers.
    pub(crate) fn remotes(&self) -> Vec<Remote> {
        self.0.borrow().iter().map(|worker| worker.remote.clone()).collect()
    }

    /// Runs something on every worker, one after the other, and stops at the first error.
    pub(crate) fn each(
        &self,
        call: impl Fn(&Reactor) -> Result<(), StartError> + Send + Sync + 'static,
    ) -> Result<(), StartError> {
        let call = Arc::new(call);
        for worker in self.0.borrow().iter() {
            let call = Arc::clone(&call);
            worker
                .remote
                .blocking_call_from_thread(move |reactor| call(reactor))
                .map_err(StartError::new)??;
        }
        Ok(())
    }

    /// Asks every connection of every worker to come to an end.
    pub(crate) fn announce_stop(&self) {
        for worker in self.0.borrow().iter() {
            // One that has ended already has no connections.
            let _ = worker.remote.call_from_thread(Reactor::announce_stop);
        }
    }

    /// Ends the workers and waits for their threads.
    pub(crate) fn end(&self) {
        for worker in self.0.borrow_mut().drain(..) {
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
    })?;
    let remote = receiver.recv().map_err(|_| std::io::Error::other("its thread ended at once"))??;
    Ok(Worker { remote, thread })
}
