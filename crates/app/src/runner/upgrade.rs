//! An upgrade, as the old process sees it. Nothing is given up before the new one has said that it is ready: until then every failure, of
//! whichever side, ends with the old one going on as if nothing had happened.
//!
//! ```text
//!   old: starts the new one          new: reads its configuration ── prepared
//!        accepts no more, freezes, saves
//!        listeners, luggage,
//!        connections ──►                  takes them, batch by batch ── taken
//!        go ──►                           opens its stores, starts, unpacks, accepts nothing ── ready
//!        yours ──►                        is the program
//!        lets what cannot travel come to its end
//! ```

use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::{
    LineHandler, LineReceiver, LineTransport, Lost, Parcel, Port, Transport, TransportOptions,
    adopt_connection,
};
use ropewalk_reactor::sync::DeferredQueue;
use serde_json::{Value, json};

use crate::application::Store;
use crate::life::{CONTROL, Running};
use crate::runner::Handover;
use crate::tree::Node;

/// How long connections may take to come to a point where they can be frozen; what does not stays and comes to its end here.
const FREEZE_WITHIN: Duration = Duration::from_secs(2);
/// How often those that could not be frozen yet are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(2);
/// Connections that travel before the other side has to say that it has them.
const BATCH: usize = 64;

/// How long each step may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience(pub(crate) Duration);

impl Default for Patience {
    fn default() -> Self {
        Patience(Duration::from_secs(30))
    }
}

/// What has become of an upgrade.
pub(crate) struct Upgraded {
    pub(crate) pid: u32,
    /// Connections that went along, and that stay to come to their end.
    pub(crate) moved: usize,
    pub(crate) left: usize,
}

/// Hands over to a new process of this program.
pub(crate) async fn upgrade(running: &Rc<Running>, patience: Patience) -> Result<Upgraded, String> {
    if running.upgrading.replace(true) {
        return Err("an upgrade is under way already".to_owned());
    }
    let outcome = hand_over(running, patience).await;
    running.upgrading.set(false);
    outcome
}

async fn hand_over(running: &Rc<Running>, patience: Patience) -> Result<Upgraded, String> {
    let mut new = New::start(running, patience)?;
    if let Err(error) = new.expect("prepared").await {
        return Err(new.fail(format!("the new process is not prepared: {error}")));
    }
    let mut frozen = Still::stand(running).await;
    let outcome = match frozen.close_stores(running).await {
        Ok(()) => give(running, &mut new, &frozen).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => {
            new.say(&json!({ "say": "yours" }));
            let (moved, left) = frozen.let_go(running);
            // There is no way back from here: it is only to be said when it is so.
            if let Err(error) = new.expect("serves").await {
                tracing::error!("the new process has not said that it serves: {error}");
            }
            Ok(Upgraded { pid: new.child.id(), moved, left })
        }
        Err(error) => {
            let error = new.fail(error);
            frozen.go_on(running);
            Err(error)
        }
    }
}

/// Everything that is handed over, in its order.
async fn give(running: &Rc<Running>, new: &mut New, still: &Still) -> Result<(), String> {
    let refuses = |error| format!("the new process does not take the listeners: {error}");
    for (service, endpoint, fd) in still.listeners(running) {
        let line = json!({ "say": "listener", "service": service, "endpoint": endpoint });
        new.send(&line, fd).map_err(refuses)?;
    }
    let pid = running.pid.borrow().as_ref().map(|pid| pid.descriptor()).transpose();
    if let Some(fd) = pid.map_err(|error| format!("the pid file: {error}"))? {
        new.send(&json!({ "say": "pid" }), fd).map_err(refuses)?;
    }
    for (index, packed) in still.luggage.iter().enumerate().filter(|(_, packed)| !packed.is_empty()) {
        new.say(&json!({ "say": "luggage", "store": index, "bytes": packed.len() }));
        new.transport.write(packed);
    }
    new.batch().await.map_err(refuses)?;
    let refuses = |error| format!("the new process does not take the connections: {error}");
    for batch in still.frozen.chunks(BATCH) {
        for item in batch {
            new.send_connection(item).map_err(refuses)?;
        }
        new.batch().await.map_err(refuses)?;
    }
    new.say(&json!({ "say": "go" }));
    new.expect("ready").await.map_err(|error| format!("the new process does not start: {error}"))?;
    Ok(())
}

/// A connection that is to travel.
struct Item {
    service: String,
    port: usize,
    transport: Transport,
    parcel: Parcel,
}

/// The program, standing still: nothing is accepted, and what can travel is frozen.
struct Still {
    frozen: Vec<Item>,
    nodes: Vec<Rc<Node>>,
    /// Those that were closed.
    stores: Vec<Rc<dyn Store>>,
    /// What each of them had in memory only.
    luggage: Vec<Vec<u8>>,
}

impl Still {
    async fn stand(running: &Rc<Running>) -> Still {
        let (nodes, workers) = (running.app.borrow().tree.nodes(), running.app.borrow().workers.clone());
        let mut waiting = Vec::new();
        for node in &nodes {
            for (index, port) in node.service.borrow().ports().iter().enumerate() {
                port.halt();
                for transport in port.connections().into_iter().filter(Transport::is_freezable) {
                    // What is under way comes to its end first: nothing new is begun.
                    transport.halt();
                    waiting.push((node.name(), index, transport));
                }
            }
        }
        workers.with_all_ports(Port::halt);
        let until = running.reactor.now() + FREEZE_WITHIN;
        let mut frozen = Vec::new();
        loop {
            let mut again = Vec::new();
            for (service, port, transport) in waiting {
                // Again, for those whose peer was in the middle of something.
                transport.halt();
                match transport.freeze() {
                    Some(parcel) => frozen.push(Item { service, port, transport, parcel }),
                    None if transport.is_closing() => {}
                    None => again.push((service, port, transport)),
                }
            }
            waiting = again;
            if waiting.is_empty() || running.reactor.now() >= until {
                break;
            }
            running.reactor.sleep(ASK_AGAIN).await;
        }
        for (_, _, transport) in waiting {
            // It has not come to rest: it stays, and is served to its end here.
            let _ = transport.go_on();
        }
        Still { frozen, nodes, stores: Vec::new(), luggage: Vec::new() }
    }

    /// Stores are closed, and locks let go of, before the other one opens them.
    async fn close_stores(&mut self, running: &Rc<Running>) -> Result<(), String> {
        let (states, stores) = {
            let app = running.app.borrow();
            (app.states.clone(), app.stores.clone())
        };
        states.close().await.map_err(|failure| format!("the state cannot be saved: {failure}"))?;
        for (_, store) in stores {
            self.luggage.push(store.pack());
            let released = store.release();
            self.stores.push(store);
            released.await.map_err(|error| format!("a store cannot be closed: {error}"))?;
        }
        Ok(())
    }

    fn listeners(&self, running: &Running) -> Vec<(String, String, std::os::fd::OwnedFd)> {
        let mut all = Vec::new();
        for node in &self.nodes {
            let sockets = node.service.borrow().descriptors();
            all.extend(sockets.into_iter().map(|(endpoint, fd)| (node.name(), endpoint, fd)));
        }
        if let Some((port, rundir)) = running.control.borrow().as_ref().zip(running.rundir.as_ref())
            && let Some(fd) = port.descriptor()
        {
            let path = rundir.socket_path();
            let endpoint = ropewalk_net::ServerEndpoint::Unix { path, mode: 0o600, backlog: 16 };
            all.push((CONTROL.to_owned(), endpoint.to_string(), fd));
        }
        all
    }

    /// It did not come to anything.
    fn go_on(self, running: &Rc<Running>) {
        for store in self.stores.iter().rev() {
            if let Err(error) = store.reclaim() {
                tracing::error!("a store is not open again: {error}");
            }
        }
        running.app.borrow().states.reopen();
        for item in self.frozen {
            drop(item.parcel);
            if let Err(error) = item.transport.go_on() {
                tracing::error!("a connection does not go on: {error}");
            }
        }
        for node in &self.nodes {
            node.service.borrow().ports().iter().for_each(Port::resume);
        }
        running.app.borrow().workers.with_all_ports(Port::resume);
        if let Some(pid) = &mut *running.pid.borrow_mut()
            && let Err(error) = pid.write()
        {
            tracing::error!("{error}");
        }
    }

    /// Another process is the program now.
    fn let_go(self, running: &Rc<Running>) -> (usize, usize) {
        running.handed_over.set(true);
        drop(running.pid.borrow_mut().take());
        if let Some(control) = &*running.control.borrow() {
            control.hand_over();
        }
        let moved = self.frozen.len();
        for item in self.frozen {
            item.transport.hand_over();
        }
        for node in &self.nodes {
            node.service.borrow().ports().iter().for_each(Port::hand_over);
            node.service.borrow().drain();
        }
        running.app.borrow().workers.with_all_ports(Port::hand_over);
        (moved, running.app.borrow().tree.busy())
    }
}

/// The new process.
struct New {
    child: Child,
    transport: Transport,
    said: DeferredQueue<Option<Value>>,
    running: Rc<Running>,
    patience: Duration,
}

impl New {
    fn start(running: &Rc<Running>, Patience(patience): Patience) -> Result<New, String> {
        let program = running.origin.program.display();
        let (ours, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
        let mut command = running.origin.command(Handover::Upgrade);
        running.give_outputs(&mut command);
        let child = command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs))).spawn();
        let mut child = child.map_err(|error| format!("{program} cannot be started: {error}"))?;
        let said = DeferredQueue::new(&running.reactor);
        let hearing = LineReceiver::new(Hearing(said.clone())).with_delimiter(&b"\n"[..]);
        let options = TransportOptions { write_stall: Some(patience), ..TransportOptions::default() };
        match adopt_connection(&running.reactor, ours.into(), hearing, options) {
            Ok(transport) => Ok(New { child, transport, said, running: Rc::clone(running), patience }),
            Err(error) => {
                // It has nobody to speak to.
                let _ = child.kill();
                Err(error.to_string())
            }
        }
    }

    fn say(&self, line: &Value) {
        self.transport.write(format!("{line}\n").as_bytes());
    }

    fn send(&self, line: &Value, fd: std::os::fd::OwnedFd) -> Result<(), String> {
        let ended = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotConnected => "it ended".to_owned(),
            _ => error.to_string(),
        };
        self.transport.send_descriptor(fd).map_err(ended)?;
        self.say(line);
        Ok(())
    }

    fn send_connection(&self, item: &Item) -> Result<(), String> {
        let travelled = &item.parcel.travelled;
        let fd = item.parcel.descriptor.try_clone().map_err(|error| error.to_string())?;
        let line = json!({
            "say": "connection", "service": item.service, "port": item.port,
            "kind": travelled.frozen.kind, "version": travelled.frozen.version,
            "bytes": travelled.frozen.bytes.len(), "unsent": travelled.unsent.len(), "unread": travelled.unread.len(),
            "read_ended": travelled.read_ended, "paused": travelled.paused,
            "due_in_ms": travelled.due_in.map(|due_in| due_in.as_millis() as u64),
        });
        self.send(&line, fd)?;
        let pieces = [&travelled.frozen.bytes, &travelled.unsent, &travelled.unread];
        self.transport.write_sequence(pieces.map(Vec::as_slice));
        Ok(())
    }

    /// Waits until the other side has what was sent.
    async fn batch(&mut self) -> Result<(), String> {
        self.say(&json!({ "say": "batch" }));
        self.expect("taken").await.map(drop)
    }

    async fn expect(&mut self, word: &str) -> Result<Value, String> {
        match self.running.reactor.with_timeout(self.patience, self.said.get()).await {
            Err(_) => Err(format!("nothing was heard for {:?}", self.patience)),
            Ok(Err(failure)) => Err(failure.to_string()),
            Ok(Ok(None)) => Err(match self.child.try_wait() {
                Ok(Some(status)) => format!("it ended ({status})"),
                _ => "it ended".to_owned(),
            }),
            Ok(Ok(Some(line))) if line["say"] == word => Ok(line),
            Ok(Ok(Some(line))) => Err(line["error"].as_str().map_or_else(|| line.to_string(), str::to_owned)),
        }
    }

    /// It is not to be: ends it, and says why.
    fn fail(&mut self, why: String) -> String {
        self.transport.abort_connection();
        // It fails only if it has ended by itself.
        let _ = self.child.kill();
        // At once, since it was killed: nothing is left of it.
        let _ = self.child.wait();
        tracing::error!("the upgrade failed: {why}");
        format!("the upgrade failed, and process {} serves on: {why}", std::process::id())
    }
}

/// What the new process says.
struct Hearing(DeferredQueue<Option<Value>>);

impl LineHandler for Hearing {
    fn line_received(&mut self, _: &LineTransport<'_>, line: &[u8]) {
        let line = serde_json::from_slice(line).unwrap_or(Value::Null);
        // It has no limit.
        let _ = self.0.put(Some(line));
    }

    /// The program stops meanwhile: the other one hears of it by the end.
    fn connection_lost(&mut self, _: &LineTransport<'_>, _: &Lost) {
        let _ = self.0.put(None);
    }
}
