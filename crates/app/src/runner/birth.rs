//! A process that its own program has started: by `start`, which waits until it is ready, or by an upgrade, which hands everything over.
//! Its standard input is the pair of sockets by which the two speak; it is replaced before anything else happens.
//!
//! An upgrade, as the new process sees it: it reads its configuration, says `prepared`, and takes what comes until `go`. It opens its stores
//! and starts its services, which accept nothing yet, and says `ready`. At `yours` it is the program; until then it has served nobody, and
//! its end is nobody's loss. `serves` is the last that is said.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ropewalk_net::{Frozen, Parcel, Travelled};
use serde_json::{Value, json};

use crate::life::Running;
use crate::runner::wire::Wire;
use crate::runner::{PidFile, Rundir};
use crate::service::{Inherited, StartError};

/// How long the old process may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which process has started this one, if it was this program itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// `start`: it becomes a daemon.
    Start,
    /// `upgrade`: it goes on with what the other one has.
    Upgrade,
}

impl Handover {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Handover::Start => "start",
            Handover::Upgrade => "upgrade",
        }
    }
}

impl std::str::FromStr for Handover {
    type Err = String;

    fn from_str(text: &str) -> Result<Handover, String> {
        let known = [Handover::Start, Handover::Upgrade];
        let found = known.into_iter().find(|handover| handover.word() == text);
        found.ok_or_else(|| "it is not for people".to_owned())
    }
}

/// Who waits for this process.
pub(crate) struct Birth {
    handover: Option<Handover>,
    wire: RefCell<Option<Wire>>,
}

impl Birth {
    /// Takes the connection to who started this process from where it came: standard input.
    pub(crate) fn take(handover: Option<Handover>) -> Result<Birth, StartError> {
        let Some(kind) = handover else { return Ok(Birth { handover, wire: RefCell::new(None) }) };
        let refused = |error: io::Error| {
            StartError::new(format!(
                "{} is how this program starts itself, and not for people: {error}",
                super::origin::HANDOVER
            ))
        };
        let stdin = rustix::stdio::stdin();
        rustix::net::getpeername(stdin).map_err(|error| refused(error.into()))?;
        let own = rustix::io::fcntl_dupfd_cloexec(stdin, 3).map_err(|error| refused(error.into()))?;
        let nothing = std::fs::File::open("/dev/null").map_err(refused)?;
        rustix::stdio::dup2_stdin(&nothing).map_err(|error| refused(error.into()))?;
        if kind == Handover::Start {
            // Away from the terminal. It fails only for the leader of a group, which a child is not.
            let _ = rustix::process::setsid();
        }
        let wire = Wire::new(UnixStream::from(own));
        wire.set_patience(Some(PATIENCE)).map_err(refused)?;
        Ok(Birth { handover, wire: RefCell::new(Some(wire)) })
    }

    /// The configuration is read and holds: takes what the process before this one has. Blocks.
    pub(crate) fn prepare(&self) -> Result<Legacy, StartError> {
        if self.handover != Some(Handover::Upgrade) {
            return Ok(Legacy::default());
        }
        let mut wire = self.wire.borrow_mut();
        let wire = wire.as_mut().ok_or_else(|| StartError::new("nobody hands over"))?;
        receive(wire).map_err(|error| StartError::new(format!("the hand-over broke off: {error}")))
    }

    /// Everything has started. Of an upgrade it is asked whether the other one agrees.
    pub(crate) fn ready(&self, running: &Running) -> Result<(), StartError> {
        let mut slot = self.wire.borrow_mut();
        let Some(wire) = slot.as_mut() else { return Ok(()) };
        let line =
            json!({ "say": "ready", "pid": std::process::id(), "listening": running.listening_lines() });
        let told = wire.say(&line);
        if self.handover == Some(Handover::Upgrade) {
            let answer = told.and_then(|()| wire.line());
            match answer {
                Ok(Some(line)) if line["say"] == "yours" => {}
                Ok(_) => return Err(StartError::new("the process before this one goes on after all")),
                Err(error) => return Err(StartError::new(format!("the hand-over broke off: {error}"))),
            }
        }
        if self.handover == Some(Handover::Start) {
            // Who started a daemon and did not wait for it has no say in it.
            *slot = None;
        }
        Ok(())
    }

    /// It has taken over.
    pub(crate) fn serves(&self) {
        if let Some(mut wire) = self.wire.borrow_mut().take() {
            // The other one may be gone already.
            let _ = wire.say(&json!({ "say": "serves" }));
        }
    }

    /// It does not start, for this reason.
    pub(crate) fn failed(&self, error: &StartError) {
        if let Some(wire) = &mut *self.wire.borrow_mut() {
            // Who does not wait any more does not hear it; the log does.
            let _ = wire.say(&json!({ "say": "failed", "error": error.to_string() }));
        }
    }
}

/// Tells who started this process that it does not start, if the program itself did: for what is found before [`launch`](crate::launch).
pub fn refuse(handover: Option<Handover>, error: &StartError) {
    if let Ok(birth) = Birth::take(handover) {
        birth.failed(error);
    }
}

/// What the process before this one has left.
#[derive(Default)]
pub(crate) struct Legacy {
    upgrade: bool,
    pub(crate) inherited: Inherited,
    pid: Option<OwnedFd>,
    /// What stores had in memory only, by their number.
    luggage: Vec<(usize, Vec<u8>)>,
    /// Frozen connections, by their service and which of its ports accepted them.
    connections: Vec<(String, usize, Parcel)>,
}

impl Legacy {
    pub(crate) fn is_upgrade(&self) -> bool {
        self.upgrade
    }

    pub(crate) fn take_pid(&mut self, rundir: Option<&Rundir>) -> Option<PidFile> {
        let (fd, rundir) = (self.pid.take()?, rundir?);
        Some(PidFile::inherit(fd, rundir.pid_path()))
    }

    /// Hands on what stores had in memory. One that is not understood is missed by its viewers, and by nobody else.
    pub(crate) fn unpack(&mut self, running: &Running) {
        let stores = running.app.borrow().stores.clone();
        for (index, packed) in std::mem::take(&mut self.luggage) {
            let taken = match stores.get(index) {
                Some((_, store)) => store.unpack(&packed),
                None => Err("there is no such store any more".to_owned()),
            };
            if let Err(error) = taken {
                tracing::warn!("what the process before had in memory is lost: {error}");
            }
        }
    }

    /// Goes on with the connections.
    pub(crate) fn thaw(self, running: &Running) {
        let nodes = running.app.borrow().tree.nodes();
        for (service, index, parcel) in self.connections {
            let port = nodes.iter().find(|node| node.name() == service);
            let port = port.and_then(|node| node.service.borrow().ports().get(index).cloned());
            let kind = parcel.travelled.frozen.kind.clone();
            match port.map(|port| port.thaw(parcel)) {
                Some(Ok(Some(_))) => {}
                Some(Ok(None)) => tracing::warn!(%service, "a connection of kind {kind} cannot go on here"),
                Some(Err(error)) => tracing::debug!(%service, "a connection did not come through: {error}"),
                None => tracing::warn!(%service, "a connection of a service that there is no more"),
            }
        }
    }
}

fn receive(wire: &mut Wire) -> io::Result<Legacy> {
    wire.say(&json!({ "say": "prepared", "version": env!("CARGO_PKG_VERSION") }))?;
    let mut legacy = Legacy { upgrade: true, ..Legacy::default() };
    loop {
        let line = wire.line()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        match line["say"].as_str().unwrap_or_default() {
            "listener" => {
                let fd = wire.descriptor()?;
                legacy.inherited.add(text(&line, "service"), text(&line, "endpoint"), fd);
            }
            "pid" => legacy.pid = Some(wire.descriptor()?),
            "luggage" => {
                let packed = wire.exactly(number(&line, "bytes"))?;
                legacy.luggage.push((number(&line, "store"), packed));
            }
            "connection" => legacy.connections.push(connection(wire, &line)?),
            "batch" => wire.say(&json!({ "say": "taken", "connections": legacy.connections.len() }))?,
            "go" => return Ok(legacy),
            other => return Err(io::Error::other(format!("{other:?} is not understood"))),
        }
    }
}

fn text<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key].as_str().unwrap_or_default()
}

fn number(line: &Value, key: &str) -> usize {
    line[key].as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
}

fn connection(wire: &mut Wire, line: &Value) -> io::Result<(String, usize, Parcel)> {
    let number = |key: &str| number(line, key);
    let descriptor = wire.descriptor()?;
    let bytes = wire.exactly(number("bytes"))?;
    let unsent = wire.exactly(number("unsent"))?;
    let unread = wire.exactly(number("unread"))?;
    let version = line["version"].as_u64().and_then(|version| u32::try_from(version).ok()).unwrap_or(0);
    let travelled = Travelled {
        frozen: Frozen { kind: text(line, "kind").to_owned(), version, bytes },
        unsent,
        unread,
        read_ended: line["read_ended"] == true,
        paused: line["paused"] == true,
        due_in: line["due_in_ms"].as_u64().map(Duration::from_millis),
    };
    Ok((text(line, "service").to_owned(), number("port"), Parcel { travelled, descriptor }))
}
