//! `launch`: the whole life of a program. It binds, gives up privileges, starts its services in the loop, tells whoever waits for that,
//! and runs until a signal; then it stops within the grace and saves its state. What happens in between, `runner` does.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::pin::Pin;
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::{Port, ServerEndpoint, ServerOptions, TransportOptions, listen_on};
use ropewalk_reactor::{LoopingCall, Name, Phase, Reactor, Share, SystemEvent, Time};

use crate::application::App;
use crate::log::{Redirected, redirect_output};
use crate::logfile::LogWriter;
use crate::output::{LogPlace, ProgramLog, complain};
use crate::runner::{Birth, Handover, Legacy, Lower, PidFile, Rundir, systemd};
use crate::service::{Ground, StartError};
use crate::settings::{AccessLog, Settings};
use crate::state::SAVE_EVERY;

/// Wrong usage, wrong configuration, or nothing to start with.
pub(crate) const EXIT_USAGE: u8 = 2;
const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGUSR1: i32 = 10;
const SIGUSR2: i32 = 12;
const SIGTERM: i32 = 15;
/// What the control socket is called among those that the next process gets.
pub(crate) const CONTROL: &str = "control socket";

/// Replaces services by what the configuration says now; answers what it has done.
pub(crate) type Reload = Rc<dyn Fn(&Rc<Running>) -> Pin<Box<dyn Future<Output = Reloaded>>>>;
type Reloaded = Result<Vec<String>, StartError>;

/// What the program as a whole is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Starting,
    Ready,
    /// Until this time it still serves; then it stops.
    Draining(Time),
    Stopping,
}

/// What becomes of that which parts of the program print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outputs {
    /// It goes where it is printed: somebody attends the program.
    Left,
    /// It goes into the log, once the program is ready: it is a daemon.
    Logged,
}

/// A running program.
pub(crate) struct Running {
    pub(crate) name: String,
    pub(crate) reactor: Reactor,
    pub(crate) app: RefCell<App>,
    pub(crate) rundir: Option<Rundir>,
    pub(crate) pid: RefCell<Option<PidFile>>,
    pub(crate) control: RefCell<Option<Port>>,
    pub(crate) stage: Cell<Stage>,
    pub(crate) began: Time,
    pub(crate) origin: crate::runner::Origin,
    pub(crate) reload: Option<Reload>,
    /// Another process goes on: what is in the run directory is its own.
    pub(crate) handed_over: Cell<bool>,
    pub(crate) upgrading: Cell<bool>,
    pub(crate) reloading: Cell<bool>,
    /// Whether what is printed goes into the log, and that it does.
    prints: Cell<bool>,
    redirected: RefCell<Option<Redirected>>,
    failure: RefCell<Option<StartError>>,
}

/// The life of a program: builds the application, starts it, says where it listens, runs until a signal or
/// [`Reactor::stop`], and stops within the grace. A second signal ends it at once.
///
/// The exit code is 0 after a clean stop and 2 when it could not start; then one line on standard error says why, and nothing
/// was left running by half.
pub fn launch(
    name: &str,
    settings: Settings,
    build: impl FnOnce(&mut App) -> Result<(), StartError>,
) -> ExitCode {
    live(name, settings, build, None, Outputs::Left)
}

/// [`launch`], with what `reload` does beyond reading certificates.
pub(crate) fn live(
    name: &str,
    settings: Settings,
    build: impl FnOnce(&mut App) -> Result<(), StartError>,
    reload: Option<Reload>,
    outputs: Outputs,
) -> ExitCode {
    let birth = match Birth::take(settings.handover) {
        Ok(birth) => birth,
        Err(error) => {
            complain(name, &error.to_string());
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let refused = |log: Option<ProgramLog>, birth: &Birth, error: &StartError| {
        birth.failed(error);
        // What led to it comes before it.
        drop(log);
        complain(name, &error.to_string());
        ExitCode::from(EXIT_USAGE)
    };
    let program_log = match ProgramLog::begin(&settings.log, &settings.rotation) {
        Ok(log) => log,
        Err(error) => return refused(None, &birth, &error),
    };
    let built = |app: &mut App| {
        app.program_log = program_log.writer().cloned();
        build(app)
    };
    let (running, legacy) = match begin(name, settings, built, reload, &birth) {
        Ok(begun) => begun,
        Err(error) => return refused(Some(program_log), &birth, &error),
    };
    // What has no log has no better place for what is printed.
    running.prints.set(outputs == Outputs::Logged && program_log.writer().is_some());
    // The log is let go of when the loop has ended: its last lines may take a moment.
    let (reactor, _log) = (running.reactor.clone(), running.app.borrow().log.clone());
    let birth = Rc::new(birth);
    running.enlist(&birth, legacy);
    let outcome = reactor.run();
    // From here on what is said is said where it was said in the beginning.
    drop(running.redirected.take());
    if let Some(error) = running.failure.borrow_mut().take() {
        return refused(Some(program_log), &birth, &error);
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(program_log);
            complain(name, &format!("the event loop failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Everything that comes before the loop: the run directory, the services, their sockets, the privileges.
fn begin(
    name: &str,
    settings: Settings,
    build: impl FnOnce(&mut App) -> Result<(), StartError>,
    reload: Option<Reload>,
    birth: &Birth,
) -> Result<(Rc<Running>, Legacy), StartError> {
    if let Some(mask) = settings.umask {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
    }
    let origin = crate::runner::Origin::of_this_process()?;
    let lower = settings.privileges.look_up()?;
    let rundir = settings.rundir.as_deref().map(|folder| Rundir::new(folder, name)).transpose()?;
    if let Some(rundir) = &rundir {
        rundir.create()?;
        if let Some(lower) = &lower
            && rundir.is_fresh()
        {
            // What is saved there later is saved by them.
            lower.own(rundir.folder());
        }
    }
    let successor = settings.handover == Some(Handover::Upgrade);
    let pid = rundir.as_ref().filter(|_| !successor).map(Rundir::lock).transpose()?;
    let begun = bind_everything(name, settings, build, birth, rundir.as_ref());
    let (app, mut legacy, control) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            // It was taken a moment ago, and nobody has seen it.
            pid.into_iter().for_each(PidFile::remove);
            return Err(error);
        }
    };
    let pid = pid.or_else(|| legacy.take_pid(rundir.as_ref()));
    if let Some(lower) = &lower {
        give_up_root(lower, &app, pid.as_ref(), rundir.as_ref())?;
    }
    app.workers.start()?;
    let reactor = app.reactor.clone();
    let running = Rc::new(Running {
        name: name.to_owned(),
        began: reactor.now(),
        reactor,
        app: RefCell::new(app),
        rundir,
        pid: RefCell::new(pid),
        control: RefCell::new(control),
        stage: Cell::new(Stage::Starting),
        origin,
        reload,
        handed_over: Cell::new(successor),
        upgrading: Cell::new(false),
        reloading: Cell::new(false),
        prints: Cell::new(false),
        redirected: RefCell::new(None),
        failure: RefCell::new(None),
    });
    Ok((running, legacy))
}

/// The application as it is described, and everything that it listens at.
fn bind_everything(
    name: &str,
    settings: Settings,
    build: impl FnOnce(&mut App) -> Result<(), StartError>,
    birth: &Birth,
    rundir: Option<&Rundir>,
) -> Result<(App, Legacy, Option<Port>), StartError> {
    let mut app = App::new(name, settings, rundir.map(Rundir::state_path))?;
    build(&mut app)?;
    app.check_overrides()?;
    app.tree.sort()?;
    let legacy = birth.prepare()?;
    for node in app.tree.nodes() {
        node.bind(&app.reactor, &legacy.inherited)?;
    }
    let control = rundir.map(|rundir| listen_to_commands(&app, rundir, &legacy)).transpose()?;
    Ok((app, legacy, control))
}

/// What is to be written later changes hands first.
fn give_up_root(
    lower: &Lower,
    app: &App,
    pid: Option<&PidFile>,
    rundir: Option<&Rundir>,
) -> Result<(), StartError> {
    if let Some(pid) = pid {
        pid.give_to(lower.user, lower.group);
    }
    // Its owner is who may ask, and the next process writes the log on; the folders are the administrator's.
    rundir.iter().for_each(|rundir| lower.own(&rundir.socket_path()));
    if let AccessLog::File(path) = &app.settings.access_log {
        lower.own(path);
    }
    if let LogPlace::File(path) = &app.settings.log.to {
        lower.own(path);
    }
    lower.become_it()
}

/// The control socket: mode 600, and its own user only.
fn listen_to_commands(app: &App, rundir: &Rundir, legacy: &Legacy) -> Result<Port, StartError> {
    /// What the address of a UNIX socket has room for.
    const PATH_BYTES_MAX: usize = 107;
    let path = rundir.socket_path();
    if path.as_os_str().len() > PATH_BYTES_MAX {
        let path = path.display();
        return Err(StartError::new(format!(
            "{path}: a socket's path has {PATH_BYTES_MAX} bytes at most; choose a shorter --rundir"
        )));
    }
    let endpoint = ServerEndpoint::Unix { path, mode: 0o600, backlog: 16 };
    let ground = Ground { reactor: &app.reactor, name: CONTROL, inherited: &legacy.inherited };
    let opened = ground.open(&endpoint, Share::Alone)?;
    let transport = TransportOptions::default();
    let options = ServerOptions { name: Name::new("control"), transport, ..ServerOptions::default() };
    let factory = Rc::new(app.commands.factory());
    listen_on(&app.reactor, &endpoint, opened, factory, options).map_err(StartError::new)
}

impl Running {
    /// Hands the rest to the loop.
    fn enlist(self: &Rc<Self>, birth: &Rc<Birth>, legacy: Legacy) {
        let stopping = Rc::clone(self);
        self.reactor.add_system_event_trigger(Phase::During, SystemEvent::Shutdown, move || stopping.stop());
        let (starting, birth) = (Rc::clone(self), Rc::clone(birth));
        self.reactor.spawn_named(Name::new("start"), async move {
            if let Err(error) = starting.start(&birth, legacy).await {
                *starting.failure.borrow_mut() = Some(error);
                starting.reactor.stop();
            }
        });
    }

    async fn start(self: &Rc<Self>, birth: &Birth, mut legacy: Legacy) -> Result<(), StartError> {
        self.handle_signals()?;
        crate::runner::register(self);
        let (states, tree, named) = {
            let app = self.app.borrow();
            (app.states.clone(), app.tree.clone(), app.settings.state.clone())
        };
        states.load(named.as_deref().filter(|_| !legacy.is_upgrade()))?;
        let held = legacy.is_upgrade();
        self.app.borrow().workers.hold(held);
        for node in tree.nodes() {
            if !self.reactor.is_running() {
                return Ok(());
            }
            node.start(&self.reactor, held).await?;
        }
        legacy.unpack(self);
        if !held {
            self.write_pid()?;
        }
        birth.ready(self)?;
        if held {
            // Now, and not before, it is ours.
            self.take_over(legacy);
            self.write_pid()?;
        }
        self.keep_saving(&states);
        self.set_stage(Stage::Ready);
        if !held {
            self.announce();
        }
        birth.serves();
        self.log_what_is_printed();
        systemd::notify(&format!("READY=1\nMAINPID={}\nSTATUS=ready", std::process::id()));
        self.keep_alive();
        if tree.len() == 0 {
            tracing::warn!("there is no service: nothing is served");
        }
        Ok(())
    }

    /// A daemon is ready, and whoever started it was answered: from now on nobody looks at what it prints.
    fn log_what_is_printed(&self) {
        let Some(publisher) = crate::log::publisher().filter(|_| self.prints.get()) else { return };
        match redirect_output(&publisher) {
            Ok(redirected) => *self.redirected.borrow_mut() = Some(redirected),
            Err(error) => tracing::warn!("what is printed does not go into the log: {error}"),
        }
    }

    /// Gives the next process the outputs that this one was given: what it prints itself it has to read itself.
    pub(crate) fn give_outputs(&self, command: &mut Command) {
        let redirected = self.redirected.borrow();
        let Some(redirected) = &*redirected else { return };
        // Without a descriptor left nothing can be handed over anyway; that is said there.
        if let (Ok(output), Ok(error)) = (redirected.standard_output(), redirected.standard_error()) {
            command.stdout(output).stderr(error);
        }
    }

    fn write_pid(&self) -> Result<(), StartError> {
        match &mut *self.pid.borrow_mut() {
            Some(pid) => pid.write(),
            None => Ok(()),
        }
    }

    /// An upgrade: from here on this process is the program.
    fn take_over(self: &Rc<Self>, legacy: Legacy) {
        self.handed_over.set(false);
        legacy.thaw(self);
        for node in self.app.borrow().tree.nodes() {
            node.service.borrow().ports().iter().for_each(Port::resume);
        }
        let workers = self.app.borrow().workers.clone();
        workers.hold(false);
        workers.with_all_ports(Port::resume);
    }

    pub(crate) fn set_stage(&self, stage: Stage) {
        self.stage.set(stage);
        self.app.borrow().ready().set(stage == Stage::Ready);
    }

    fn keep_saving(&self, states: &crate::state::States) {
        let states = states.clone();
        LoopingCall::new(&self.reactor, move |_| states.save_changes()).start(SAVE_EVERY, false);
    }

    /// systemd's watchdog hears from the loop itself: one that hangs is silent.
    fn keep_alive(&self) {
        if let Some(every) = systemd::watchdog() {
            LoopingCall::new(&self.reactor, |_| systemd::notify("WATCHDOG=1")).start(every, true);
        }
    }

    /// Says where everything listens: one line each for scripts, and an address for people.
    fn announce(&self) {
        let lines = self.listening_lines();
        let mut out = std::io::stdout().lock();
        // A program whose output nobody reads still serves.
        let _ = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
    }

    pub(crate) fn listening_lines(&self) -> String {
        let mut lines = String::new();
        for node in self.app.borrow().tree.nodes() {
            for at in node.bound.borrow().iter() {
                lines.push_str(&format!("listening on {} ({})\n", at.endpoint, node.name()));
                if let Some(url) = &at.url {
                    lines.push_str(&format!("  {url}\n"));
                }
            }
        }
        lines
    }

    fn handle_signals(self: &Rc<Self>) -> Result<(), StartError> {
        let reactor = &self.reactor;
        let refused = |error| StartError::new(format!("signals: {error}"));
        for signal in [SIGINT, SIGTERM] {
            let handle = reactor.clone();
            let stop = move || {
                if handle.is_running() {
                    tracing::info!("stopping");
                    handle.stop();
                } else {
                    tracing::warn!("stopping at once");
                    handle.crash();
                }
            };
            reactor.on_signal(signal, stop).map_err(refused)?;
        }
        let logs = self.app.borrow().logs();
        let rotate = move || logs.iter().for_each(LogWriter::rotate);
        reactor.on_signal(SIGUSR1, rotate).map_err(refused)?;
        let upgraded = Rc::downgrade(self);
        let upgrade = move || upgraded.upgrade().iter().for_each(Running::upgrade_unasked);
        reactor.on_signal(SIGUSR2, upgrade).map_err(refused)?;
        // Where there is nothing to read again HUP ends the program, as ever: a terminal that is closed says so by it.
        if self.has_something_to_reload() {
            let reloaded = Rc::downgrade(self);
            let reload = move || reloaded.upgrade().iter().for_each(Running::reload_unasked);
            reactor.on_signal(SIGHUP, reload).map_err(refused)?;
        }
        Ok(())
    }

    fn has_something_to_reload(&self) -> bool {
        let app = self.app.borrow();
        let tls = app.tree.nodes().iter().any(|node| node.service.borrow().has_certificates());
        self.reload.is_some() || self.rundir.is_some() || tls || !app.reloads.borrow().is_empty()
    }

    /// Stops: no new connections, streams end, requests in flight get the grace, the workers end, the state is saved.
    async fn stop(self: Rc<Self>) {
        self.set_stage(Stage::Stopping);
        systemd::notify(if self.handed_over.get() { "STATUS=handed over" } else { "STOPPING=1" });
        let (tree, workers, states, grace) = {
            let app = self.app.borrow();
            (app.tree.clone(), app.workers.clone(), app.states.clone(), app.settings.grace)
        };
        let until = self.reactor.now() + grace;
        for node in tree.nodes().iter().rev() {
            // A service that does not come to its end must not keep the others from theirs.
            let left = until.since(self.reactor.now());
            let _ = self.reactor.with_timeout(left, node.stop(&self.reactor)).await;
        }
        self.reactor.announce_stop();
        workers.announce_stop();
        while tree.busy() > 0 && self.reactor.now() < until {
            /// How often the last connections are counted.
            const LOOK: Duration = Duration::from_millis(10);
            self.reactor.sleep(LOOK).await;
        }
        workers.end();
        if !self.handed_over.get() {
            // What went wrong is in the log.
            if states.close().await.is_ok() && self.failure.borrow().is_none() {
                states.keep_clean();
            }
            self.pid.borrow_mut().take().into_iter().for_each(PidFile::remove);
        }
    }
}
