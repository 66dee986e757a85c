//! `App`: what is to run. Services are added, then started in order and stopped in reverse. `launch` is the whole life of a
//! program: start, announce, wait for a signal, stop within the grace.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_net::{Factory, ServerEndpoint};
use ropewalk_reactor::{Phase, Reactor, SystemEvent};
use ropewalk_web::{AccessObserver, CombinedLog, Handler, Site, TrustedProxies};

use crate::listening::{FactoryService, WebService};
use crate::logfile::{LogWriter, Rotation};
use crate::metrics::Sources;
use crate::output::{LogSettings, ProgramLog};
use crate::service::{Bound, Service, StartError};
use crate::workers::Workers;

/// Wrong usage, wrong configuration, or nothing to start with.
pub(crate) const EXIT_USAGE: u8 = 2;
/// Query arguments whose values are secrets, and not for the access log.
const SECRETS: &[&str] = &["token"];
const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGUSR1: i32 = 10;
const SIGTERM: i32 = 15;

/// What holds for the whole program.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What requests in flight get when the program stops. 5 s.
    pub grace: Duration,
    /// Event loops, each on a thread of its own. 1.
    pub workers: usize,
    /// Where the access log goes.
    pub access_log: AccessLog,
    /// Where the program's own log goes.
    pub log: LogSettings,
    /// When the files of these logs are put aside, and what is kept.
    pub rotation: Rotation,
    /// Proxies that are believed about their clients.
    pub trusted_proxies: TrustedProxies,
}

/// Where the access log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessLog {
    /// To standard output.
    #[default]
    StandardOutput,
    /// To the end of a file.
    File(std::path::PathBuf),
    /// Nowhere.
    Off,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            grace: Duration::from_secs(5),
            workers: 1,
            access_log: AccessLog::default(),
            log: LogSettings::default(),
            rotation: Rotation::default(),
            trusted_proxies: TrustedProxies::default(),
        }
    }
}

/// An application in the making.
pub struct App {
    reactor: Reactor,
    settings: Settings,
    services: Vec<Box<dyn Service>>,
    workers: Workers,
    log: Option<LogWriter>,
    program_log: Option<LogWriter>,
}

impl App {
    fn new(settings: Settings, program_log: Option<LogWriter>) -> Result<App, StartError> {
        let reactor = Reactor::new().map_err(|error| StartError::new(format!("no event loop: {error}")))?;
        let log = match &settings.access_log {
            AccessLog::StandardOutput => Some(LogWriter::standard_output()),
            AccessLog::File(path) => Some(LogWriter::rotating(path, settings.rotation.clone())),
            AccessLog::Off => None,
        };
        let log = log.transpose().map_err(|error| {
            StartError::new(format!("the access log cannot be written: {error}; name another file, or none"))
        })?;
        let workers = Workers::start(settings.workers.saturating_sub(1))?;
        Ok(App { reactor, settings, services: Vec::new(), workers, log, program_log })
    }

    /// The home worker's reactor. It does not run yet.
    #[must_use]
    pub fn reactor(&self) -> &Reactor {
        &self.reactor
    }

    /// What holds for the whole program.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Adds a service.
    pub fn add(&mut self, service: impl Service) {
        self.services.push(Box::new(service));
    }

    /// Serves what `make` makes at an endpoint: once per worker, so that nothing is shared. Without an interface in the
    /// endpoint it is at 127.0.0.1; write `tcp:8080:interface=0.0.0.0` to be reached from elsewhere.
    ///
    /// # Errors
    /// The endpoint string is wrong.
    pub fn serve<H: Handler>(
        &mut self,
        endpoint: &str,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) -> Result<(), StartError> {
        self.serve_site("web", local(endpoint)?, move || {
            let handler = make();
            handler.verify().map_err(StartError::new)?;
            Ok(Site::new(handler))
        });
        Ok(())
    }

    /// Serves a protocol at an endpoint, on the home worker. Without an interface it is at 127.0.0.1.
    ///
    /// # Errors
    /// The endpoint string is wrong.
    pub fn listen(&mut self, name: &str, endpoint: &str, factory: impl Factory) -> Result<(), StartError> {
        self.serve_factory(name, local(endpoint)?, move |_| Ok(Rc::new(factory)));
        Ok(())
    }

    /// Serves a site under a name, with the program's access log and trusted proxies.
    pub fn serve_site(
        &mut self,
        name: &str,
        endpoint: ServerEndpoint,
        make: impl Fn() -> Result<Site, StartError> + Send + Sync + 'static,
    ) {
        let (log, proxies) = (self.log.clone(), self.settings.trusted_proxies.clone());
        let make = move || Ok(dress(make()?, log.as_ref(), &proxies));
        self.add(WebService::new(name, endpoint, Arc::new(make), self.workers.clone()));
    }

    /// Serves a site that cannot leave the home worker.
    pub fn serve_home(
        &mut self,
        name: &str,
        endpoint: ServerEndpoint,
        make: impl FnOnce(&Reactor) -> Result<Site, StartError> + 'static,
    ) {
        let (log, proxies) = (self.log.clone(), self.settings.trusted_proxies.clone());
        let make = move |reactor: &Reactor| -> Result<Rc<dyn Factory>, StartError> {
            Ok(Rc::new(dress(make(reactor)?, log.as_ref(), &proxies)))
        };
        self.add(FactoryService::new(name, endpoint, true, Box::new(make)));
    }

    /// Serves a site on the home worker as it is, with an access observer of its own or none.
    pub fn serve_own(
        &mut self,
        name: &str,
        endpoint: ServerEndpoint,
        make: impl FnOnce(&Reactor) -> Result<Site, StartError> + 'static,
    ) {
        let make = move |reactor: &Reactor| make(reactor).map(|site| Rc::new(site) as Rc<dyn Factory>);
        self.add(FactoryService::new(name, endpoint, true, Box::new(make)));
    }

    /// Serves a protocol on the home worker.
    pub fn serve_factory(
        &mut self,
        name: &str,
        endpoint: ServerEndpoint,
        make: impl FnOnce(&Reactor) -> Result<Rc<dyn Factory>, StartError> + 'static,
    ) {
        self.add(FactoryService::new(name, endpoint, false, Box::new(make)));
    }

    /// The access log, if there is one.
    #[must_use]
    pub fn access_log(&self) -> Option<&LogWriter> {
        self.log.as_ref()
    }

    /// The program's own log, if it goes somewhere and is not a subscriber of the program's own.
    #[must_use]
    pub fn program_log(&self) -> Option<&LogWriter> {
        self.program_log.as_ref()
    }

    /// The figures of the program: its loops, its logs and their events. What a service knows of its ports and sites is added to
    /// them; [`metrics::handler`](crate::metrics::handler) shows them.
    #[must_use]
    pub fn figures(&self) -> Sources {
        let sources = Sources::new();
        sources.reactor("home", &self.reactor);
        for (number, remote) in self.workers.remotes().into_iter().enumerate() {
            sources.worker(&(number + 1).to_string(), remote);
        }
        for (name, log) in [("access", &self.log), ("program", &self.program_log)] {
            if let Some(log) = log {
                sources.log(name, log);
            }
        }
        if let Some(publisher) = crate::log::publisher() {
            sources.publisher(&publisher);
        }
        sources
    }

    /// The files that USR1 puts aside.
    fn logs(&self) -> Vec<LogWriter> {
        self.log.iter().chain(&self.program_log).cloned().collect()
    }

    /// Starts everything, or nothing.
    fn start(&mut self) -> Result<Vec<(String, Bound)>, StartError> {
        let mut bound = Vec::new();
        for service in &mut self.services {
            let name = service.name().to_owned();
            let at = service.start(&self.reactor)?;
            bound.extend(at.into_iter().map(|at| (name.clone(), at)));
        }
        Ok(bound)
    }

    /// Stops: no new connections, streams end, requests in flight get the grace, the workers end.
    async fn stop(mut self) {
        let until = self.reactor.now() + self.settings.grace;
        for service in self.services.iter_mut().rev() {
            service.stop().await;
        }
        self.reactor.announce_stop();
        self.workers.announce_stop();
        while self.services.iter().any(|service| service.busy() > 0) && self.reactor.now() < until {
            /// How often the last connections are counted.
            const LOOK: Duration = Duration::from_millis(10);
            pause(&self.reactor, LOOK).await;
        }
        self.workers.end();
    }
}

/// An endpoint as a program's text has it: for this machine only, unless it says otherwise.
fn local(endpoint: &str) -> Result<ServerEndpoint, StartError> {
    Ok(endpoint.parse::<ServerEndpoint>()?.or_interface(IpAddr::V4(Ipv4Addr::LOCALHOST)))
}

/// A moment of the loop's time.
async fn pause(reactor: &Reactor, length: Duration) {
    let (firing, deferred) = ropewalk_reactor::Deferred::new(reactor);
    reactor.call_later(length, move || {
        // Only this function waits for it.
        let _ = firing.callback(());
    });
    // It can only fail when the loop ends, and then there is nothing to wait for.
    let _ = deferred.await;
}

/// Puts around a site what the program has for all of them.
fn dress(site: Site, log: Option<&LogWriter>, proxies: &TrustedProxies) -> Site {
    let site = site.trust_proxies(proxies.clone());
    match log {
        Some(log) => {
            let log = log.clone();
            let observer: Rc<dyn AccessObserver> =
                Rc::new(CombinedLog::new(move |line: &[u8]| log.write(line)).redact(SECRETS));
            site.observe(observer)
        }
        None => site,
    }
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
    let refused = |log: Option<ProgramLog>, error: StartError| {
        // What led to it comes before it.
        drop(log);
        crate::output::complain(name, &error.to_string());
        ExitCode::from(EXIT_USAGE)
    };
    let program_log = match ProgramLog::begin(&settings.log, &settings.rotation) {
        Ok(log) => log,
        Err(error) => return refused(None, error),
    };
    let mut app = match App::new(settings, program_log.writer().cloned()) {
        Ok(app) => app,
        Err(error) => return refused(Some(program_log), error),
    };
    // The log is let go of when the loop has ended: its last lines may take a moment.
    let (reactor, _log) = (app.reactor.clone(), app.log.clone());
    let started = prepare(&mut app, build);
    reactor.add_system_event_trigger(Phase::During, SystemEvent::Shutdown, move || app.stop());
    if let Err(error) = started {
        // What had started is stopped in the same way as ever.
        reactor.stop();
        // The error that counts is the one before.
        let _ = reactor.run();
        return refused(Some(program_log), error);
    }
    match reactor.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(program_log);
            crate::output::complain(name, &format!("the event loop failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn prepare(app: &mut App, build: impl FnOnce(&mut App) -> Result<(), StartError>) -> Result<(), StartError> {
    build(app)?;
    let bound = app.start()?;
    handle_signals(&app.reactor)?;
    handle_rotation(&app.reactor, app.logs())?;
    handle_reload(&app.reactor, &bound)?;
    announce(&bound);
    Ok(())
}

fn handle_signals(reactor: &Reactor) -> Result<(), StartError> {
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
        reactor.on_signal(signal, stop).map_err(|error| StartError::new(format!("signals: {error}")))?;
    }
    Ok(())
}

/// USR1 puts the files of the logs aside, or opens them again if somebody has moved them away.
fn handle_rotation(reactor: &Reactor, logs: Vec<LogWriter>) -> Result<(), StartError> {
    let rotate = move || logs.iter().for_each(LogWriter::rotate);
    reactor.on_signal(SIGUSR1, rotate).map_err(|error| StartError::new(format!("signals: {error}")))
}

/// HUP reads certificates again. Where there are none it ends the program, as ever: a terminal that is closed says so by it.
fn handle_reload(reactor: &Reactor, bound: &[(String, Bound)]) -> Result<(), StartError> {
    let servers: Vec<_> = bound.iter().filter_map(|(_, at)| at.tls.clone()).collect();
    if servers.is_empty() {
        return Ok(());
    }
    let handle = reactor.clone();
    reactor
        .on_signal(SIGHUP, move || crate::tls::reload(&handle, &servers))
        .map_err(|error| StartError::new(format!("signals: {error}")))
}

/// Says where everything listens: one line each for scripts, and an address for people.
fn announce(bound: &[(String, Bound)]) {
    let mut lines = String::new();
    for (name, at) in bound {
        lines.push_str(&format!("listening on {} ({name})\n", at.endpoint));
        if let Some(url) = &at.url {
            lines.push_str(&format!("  {url}\n"));
        }
    }
    let mut out = std::io::stdout().lock();
    // A program whose output nobody reads still serves.
    let _ = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
}
