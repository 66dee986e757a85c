//! What a running program does when it is told: by the control socket, or by a signal.

use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::Name;
use serde_json::{Value, json};

use super::control::Call;
use super::status::status;
use super::systemd;
use super::upgrade::{Patience, upgrade};
use crate::activity::PARTED;
use crate::life::{Running, Stage};
use crate::logfile::LogWriter;
use crate::output::LogPlace;

/// How long a draining program serves on unless it is said.
const DRAIN_FOR: Duration = Duration::from_secs(10);
/// How often a draining program says how far it is.
const TELL: Duration = Duration::from_secs(1);
/// What has reached an old process at the last moment is answered in this time, before it bids the rest to come to an end.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// Registers what every program can be told.
pub(crate) fn register(running: &Rc<Running>) {
    let commands = running.app.borrow().commands.clone();
    let add = |name: &str, act: fn(&Rc<Running>, Call)| {
        let running = Rc::downgrade(running);
        commands.add(name, move |call| {
            if let Some(running) = running.upgrade() {
                act(&running, call);
            }
        });
    };
    add("status", |running, call| {
        let asked = Rc::clone(running);
        running.reactor.spawn_named(Name::new("status"), async move { call.done(status(&asked).await) });
    });
    add("stop", |running, call| {
        call.done(Value::Null);
        running.reactor.stop();
    });
    add("reload", |running, call| {
        let reloading = Rc::clone(running);
        running.reactor.spawn_named(Name::new("reload"), async move {
            match reloading.reload().await {
                Ok(done) => call.done(json!(done)),
                Err(error) => call.fail(&error),
            }
        });
    });
    add("save", save);
    add("end", |running, call| {
        let name = call.arguments["name"].as_str().unwrap_or_default().to_owned();
        match end(running, &name) {
            Ok(()) => call.done(json!({ "ended": name })),
            Err(error) => call.fail(&error),
        }
    });
    add("rotate", |running, call| {
        let app = running.app.borrow();
        app.logs().iter().for_each(LogWriter::rotate);
        call.done(json!(app.log_files()));
    });
    add("logs", |running, call| {
        let file = match &running.app.borrow().settings.log.to {
            LogPlace::File(path) => Some(path.clone()),
            _ => None,
        };
        call.done(json!({ "file": file }));
    });
    add("drain", |running, call| {
        let seconds =
            call.arguments["seconds"].as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        running.drain(seconds.unwrap_or(DRAIN_FOR), call);
    });
    add("upgrade", |running, call| {
        let seconds =
            call.arguments["patience"].as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        running.begin_upgrade(seconds.map(Patience).unwrap_or_default(), Some(call));
    });
}

/// Ends something that goes on in a service.
fn end(running: &Rc<Running>, name: &str) -> Result<(), String> {
    let (service, id) = name.rsplit_once(PARTED).ok_or_else(|| {
        format!(
            "{name:?} is nothing that can be ended: write a name such as ftp{PARTED}t1, as status shows it"
        )
    })?;
    let nodes = running.app.borrow().tree.nodes();
    let node = nodes.iter().find(|node| node.name() == service);
    let node = node.ok_or_else(|| format!("there is no service {service:?}"))?;
    if !node.service.borrow_mut().end(id) {
        return Err(format!(
            "there is no {name} any more, or it cannot be ended now; status says what there is"
        ));
    }
    tracing::info!("{name} was ended by the operator");
    Ok(())
}

fn save(running: &Rc<Running>, call: Call) {
    let states = running.app.borrow().states.clone();
    if running.rundir.is_none() {
        return call.fail("nothing is saved without --rundir");
    }
    running.reactor.spawn_named(Name::new("save"), async move {
        match states.commit().await {
            Ok(()) => call.done(states.figures()),
            Err(failure) => call.fail(&format!("the state is not saved: {failure}")),
        }
    });
}

impl Running {
    /// Reads again what can be read again, one reload at a time.
    async fn reload(self: &Rc<Self>) -> Result<Vec<String>, String> {
        if self.stage.get() != Stage::Ready || self.upgrading.get() || self.reloading.replace(true) {
            return Err("it is busy with something else; try again".to_owned());
        }
        systemd::notify(&systemd::reloading());
        let outcome = self.reload_everything().await;
        systemd::notify("READY=1");
        self.reloading.set(false);
        match &outcome {
            Ok(done) if done.is_empty() => tracing::info!("reloaded: nothing has changed"),
            Ok(done) => tracing::info!("reloaded: {}", done.join(", ")),
            Err(error) => tracing::error!("not reloaded: {error}"),
        }
        outcome
    }

    async fn reload_everything(self: &Rc<Self>) -> Result<Vec<String>, String> {
        let mut done = match &self.reload {
            Some(reload) => reload(self).await.map_err(|error| error.to_string())?,
            None => Vec::new(),
        };
        let (nodes, hooks) = {
            let app = self.app.borrow();
            (app.tree.nodes(), app.reloads.borrow().clone())
        };
        let servers: Vec<_> =
            nodes.iter().flat_map(|node| node.bound.borrow().clone()).filter_map(|at| at.tls).collect();
        if !servers.is_empty() {
            crate::tls::reload(&self.reactor, &servers);
            done.push("certificates are read again".to_owned());
        }
        hooks.iter().try_for_each(|hook| hook())?;
        Ok(done)
    }

    pub(crate) fn reload_unasked(running: &Rc<Running>) {
        let running = Rc::clone(running);
        let reactor = running.reactor.clone();
        reactor.spawn_named(Name::new("reload"), async move {
            // What came of it is in the log.
            let _ = running.reload().await;
        });
    }

    /// Not ready for its clients any more, but still serving them; then it stops.
    fn drain(self: &Rc<Self>, time: Duration, call: Call) {
        if self.stage.get() != Stage::Ready {
            return call.fail("it is coming to its end already, or has just begun");
        }
        let until = self.reactor.now() + time;
        self.set_stage(Stage::Draining(until));
        systemd::notify("STATUS=draining");
        for node in self.app.borrow().tree.nodes() {
            node.service.borrow().drain();
        }
        let running = Rc::clone(self);
        self.reactor.spawn_named(Name::new("drain"), async move {
            loop {
                let left = until.since(running.reactor.now());
                if left.is_zero() || !running.reactor.is_running() {
                    break;
                }
                let busy = running.app.borrow().tree.busy();
                call.progress(&format!("{busy} connections, {} s left", left.as_secs_f64().ceil()));
                running.reactor.sleep(left.min(TELL)).await;
            }
            call.done(json!({ "connections": running.app.borrow().tree.busy() }));
            running.reactor.stop();
        });
    }

    pub(crate) fn upgrade_unasked(running: &Rc<Running>) {
        running.begin_upgrade(Patience::default(), None);
    }

    fn begin_upgrade(self: &Rc<Self>, patience: Patience, call: Option<Call>) {
        if self.stage.get() != Stage::Ready || self.reloading.get() {
            if let Some(call) = call {
                call.fail("it is coming to its end already, or has just begun");
            }
            return;
        }
        let running = Rc::clone(self);
        self.reactor.spawn_named(Name::new("upgrade"), async move {
            match upgrade(&running, patience).await {
                Ok(upgraded) => {
                    tracing::info!("process {} goes on with {} connections", upgraded.pid, upgraded.moved);
                    systemd::notify(&format!("MAINPID={}", upgraded.pid));
                    if let Some(call) = call {
                        let (pid, moved, left) = (upgraded.pid, upgraded.moved, upgraded.left);
                        call.done(json!({ "pid": pid, "moved": moved, "left": left }));
                    }
                    if upgraded.left > 0 {
                        running.reactor.sleep(LAST_ANSWERS).await;
                    }
                    running.reactor.stop();
                }
                Err(error) => {
                    if let Some(call) = call {
                        call.fail(&error);
                    }
                }
            }
        });
    }
}
