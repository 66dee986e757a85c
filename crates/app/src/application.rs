//! `App`: what is to run. Services are added here, with their places in the tree, their state and what can be asked of them; `life`
//! starts and stops them.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ropewalk_channel::Channels;
use ropewalk_net::{Factory, ServerEndpoint};
use ropewalk_reactor::Reactor;
use ropewalk_store::Database;
use ropewalk_web::{AccessObserver, CombinedLog, Handler, Site, TrustedProxies};

use crate::activity::Activity;
use crate::listening::{FactoryService, MakeHome, Room, Tenant, WebService};
use crate::logfile::LogWriter;
use crate::metrics::Sources;
use crate::output::LogPlace;
use crate::runner::{Call, Commands};
use crate::service::{Service, StartError};
use crate::settings::{AccessLog, Listen, Settings};
use crate::state::{Persist, State, States};
use crate::tree::{Node, Restart, Tree};
use crate::workers::Workers;

/// Query arguments whose values are secrets, and not for the access log.
const SECRETS: &[&str] = &["token"];

type Hook = Rc<dyn Fn() -> Result<(), String>>;

/// An application: in the making, and then as it runs.
pub struct App {
    pub(crate) reactor: Reactor,
    pub(crate) settings: Settings,
    pub(crate) tree: Tree,
    pub(crate) workers: Workers,
    pub(crate) log: Option<LogWriter>,
    pub(crate) program_log: Option<LogWriter>,
    pub(crate) states: States,
    pub(crate) commands: Commands,
    pub(crate) reloads: Rc<RefCell<Vec<Hook>>>,
    /// What has to be let go of in an upgrade, with the group that it belongs to.
    pub(crate) stores: Vec<(String, Rc<dyn Store>)>,
    /// The group that services are being added to.
    group: Option<String>,
    /// What `--listen` says, with whether anybody took it.
    overrides: Vec<(Listen, bool)>,
    ready: Ready,
}

/// Whether the program is ready for its clients: for whoever balances load, and asks. Not before everything has started, and not any more
/// once it drains. Clones are the same, on every thread.
///
/// ```no_run
/// use ropewalk_web::{Response, Router};
/// # fn build(app: &mut ropewalk_app::App) -> Result<(), ropewalk_app::StartError> {
/// let ready = app.ready();
/// app.serve("tcp:8080", move || {
///     let ready = ready.clone();
///     Router::new().get("/ready", move |_| match ready.is_ready() {
///         true => Response::new("ready\n"),
///         false => Response::new("not ready\n").status(503),
///     })
/// })
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    /// Whether it is.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }
}

/// Something that two processes may not have open at once: a database, a lock. Opened when its service starts, and let go of in an upgrade
/// before the next process opens it.
pub trait Store: 'static {
    /// Writes what is to be written, and closes it. Nothing is accepted meanwhile; connections that can travel are frozen already.
    ///
    /// # Errors
    /// What went wrong: the upgrade is off then.
    fn release(&self) -> Pin<Box<dyn Future<Output = Result<(), String>>>>;

    /// The next process has failed: opens it again.
    ///
    /// # Errors
    /// What went wrong, for the log.
    fn reclaim(&self) -> Result<(), String>;

    /// What it has in memory only, for the next process; called just before [`Store::release`]. From now on it must not change, until
    /// [`Store::reclaim`].
    fn pack(&self) -> Vec<u8> {
        Vec::new()
    }

    /// In the next process, when its services have started and before it has served anybody: takes up what was packed, if that was
    /// anything. Which store it is for is known by the order in which they were named.
    ///
    /// # Errors
    /// What is wrong with it, for the log: the process goes on without.
    fn unpack(&self, packed: &[u8]) -> Result<(), String> {
        let _ = packed;
        Ok(())
    }
}

/// A database that a service opens when it starts, and that an upgrade closes: a clone of it is put here.
///
/// ```
/// use ropewalk_app::{App, OpenDatabase};
///
/// fn build(app: &mut App) {
///     let opened = OpenDatabase::default();
///     app.store(opened.clone());
///     // The service that starts says `opened.set(&database)`.
/// #   drop(opened);
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct OpenDatabase(Rc<RefCell<Option<Database>>>);

impl OpenDatabase {
    /// This one is open now.
    pub fn set(&self, database: &Database) {
        *self.0.borrow_mut() = Some(database.clone());
    }
}

impl Store for OpenDatabase {
    fn release(&self) -> Pin<Box<dyn Future<Output = Result<(), String>>>> {
        let database = self.0.borrow().clone();
        Box::pin(async move {
            match database {
                Some(database) => database.close().await.map_err(|failure| failure.to_string()),
                None => Ok(()),
            }
        })
    }

    fn reclaim(&self) -> Result<(), String> {
        self.0
            .borrow()
            .as_ref()
            .map_or(Ok(()), |database| database.reopen().map_err(|error| error.to_string()))
    }
}

/// A service that was added before, for another one that has to know where it listens.
#[derive(Clone)]
pub struct Neighbour(Rc<Node>);

impl Neighbour {
    /// The address for people and programs of where it listens first; none before it has started, or if it is no address.
    #[must_use]
    pub fn url(&self) -> Option<String> {
        self.0.bound.borrow().iter().find_map(|bound| bound.url.clone())
    }
}

/// Channels whose history is in memory, and that an upgrade takes along: a clone of it is put here, as with [`OpenDatabase`].
///
/// ```
/// use ropewalk_app::{App, OpenChannels};
/// use ropewalk_channel::{Channels, ChannelsOptions};
///
/// fn build(app: &mut App) {
///     let channels = Channels::in_memory(app.reactor(), ChannelsOptions::default());
///     let opened = OpenChannels::default();
///     opened.set(&channels);
///     app.store(opened);
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct OpenChannels(Rc<RefCell<Option<Channels>>>);

impl OpenChannels {
    /// These are served now.
    pub fn set(&self, channels: &Channels) {
        *self.0.borrow_mut() = Some(channels.clone());
    }

    fn channels(&self) -> Option<Channels> {
        self.0.borrow().clone()
    }
}

impl Store for OpenChannels {
    fn release(&self) -> Pin<Box<dyn Future<Output = Result<(), String>>>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn reclaim(&self) -> Result<(), String> {
        self.channels().iter().for_each(Channels::go_on);
        Ok(())
    }

    fn pack(&self) -> Vec<u8> {
        self.channels().map(|channels| channels.pack()).unwrap_or_default()
    }

    fn unpack(&self, packed: &[u8]) -> Result<(), String> {
        match self.channels() {
            Some(channels) if !channels.unpack(packed) => {
                Err("the history of channels is not understood".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// A service's place in the tree.
pub struct Place(Rc<Node>);

impl Place {
    /// It starts after this service, or after all of this group, and stops before them.
    pub fn after(self, name: &str) -> Place {
        self.0.after.borrow_mut().push(name.to_owned());
        self
    }

    /// What `status` shows of it, beside what it says itself: for one that is made of a site or a factory, and has no more to say.
    pub fn shows(self, activities: impl Fn() -> Vec<Activity> + 'static) -> Place {
        *self.0.shows.borrow_mut() = Some(Box::new(activities));
        self
    }

    /// What becomes of it when it fails.
    pub fn restart(self, restart: Restart) -> Place {
        self.0.restart.set(restart);
        self
    }
}

impl App {
    pub(crate) fn new(
        name: &str,
        settings: Settings,
        state: Option<std::path::PathBuf>,
    ) -> Result<App, StartError> {
        let reactor = Reactor::new().map_err(|error| StartError::new(format!("no event loop: {error}")))?;
        let log = match &settings.access_log {
            AccessLog::StandardOutput => Some(LogWriter::standard_output()),
            AccessLog::File(path) => Some(LogWriter::rotating(path, settings.rotation.clone())),
            AccessLog::Off => None,
        };
        let log = log.transpose().map_err(|error| {
            StartError::new(format!("the access log cannot be written: {error}; name another file, or none"))
        })?;
        Ok(App {
            tree: Tree::default(),
            workers: Workers::new(settings.workers.saturating_sub(1)),
            log,
            program_log: None,
            states: States::new(&reactor, name, state),
            commands: Commands::default(),
            reloads: Rc::default(),
            stores: Vec::new(),
            group: None,
            overrides: settings.listen.iter().map(|listen| (listen.clone(), false)).collect(),
            ready: Ready::default(),
            reactor,
            settings,
        })
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

    /// Whether the program is ready, for whoever is to tell others.
    #[must_use]
    pub fn ready(&self) -> Ready {
        self.ready.clone()
    }

    /// Adds a service. What it answers with says more of its place, where that matters.
    pub fn add(&mut self, service: impl Service) -> Place {
        let name = self.path(service.name());
        Place(self.tree.add(name, Box::new(service)))
    }

    /// The service that was added by this name, within the group that is being built.
    #[must_use]
    pub fn neighbour(&self, name: &str) -> Option<Neighbour> {
        let path = self.path(name);
        self.tree.nodes().into_iter().find(|node| node.name() == path).map(Neighbour)
    }

    /// Adds services as a group: their names begin with its name, and others can come after all of it. A group of one service has
    /// that service's place and the group's name.
    ///
    /// # Errors
    /// What `build` refuses.
    pub fn group(
        &mut self,
        name: &str,
        build: impl FnOnce(&mut App) -> Result<(), StartError>,
    ) -> Result<(), StartError> {
        let (path, before) = (self.path(name), self.tree.len());
        let outer = self.group.replace(path.clone());
        let outcome = build(self);
        self.group = outer;
        if let [alone] = &self.tree.nodes()[before..] {
            *alone.name.borrow_mut() = path;
        }
        outcome
    }

    fn path(&self, name: &str) -> String {
        match &self.group {
            Some(group) => format!("{group}/{name}"),
            None => name.to_owned(),
        }
    }

    /// Declares a value that outlives the program: saved with the others in the run directory, and loaded before services start. Within a
    /// group the group's name is put in front.
    ///
    /// # Errors
    /// There is one of this name already, or, in a reload, what was saved is not understood.
    pub fn state<T: Persist>(&mut self, name: &str) -> Result<State<T>, StartError> {
        self.states.declare(self.path(name))
    }

    /// Names a store that has to be closed before another process can go on in an upgrade; see [`Store`].
    pub fn store(&mut self, store: impl Store) {
        let group = self.group.clone().unwrap_or_default();
        self.stores.push((group, Rc::new(store)));
    }

    /// Adds a command of the control socket, by its name; a second one of a name replaces the first.
    pub fn command(&mut self, name: &str, handler: impl Fn(Call) + 'static) {
        self.commands.add(name, handler);
    }

    /// Something that is to happen at `reload`, and at HUP: reading a file again. What is wrong leaves things as they are, and is told.
    pub fn on_reload(&mut self, hook: impl Fn() -> Result<(), String> + 'static) {
        self.reloads.borrow_mut().push(Rc::new(hook));
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
        self.serve_site("web", local(endpoint.parse()?), move || {
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
        self.serve_factory(name, local(endpoint.parse()?), move |_| Ok(Rc::new(factory)));
        Ok(())
    }

    /// Serves a site under a name, with the program's access log and trusted proxies.
    pub fn serve_site(
        &mut self,
        name: &str,
        endpoint: ServerEndpoint,
        make: impl Fn() -> Result<Site, StartError> + Send + Sync + 'static,
    ) {
        let make = Arc::new(make);
        self.serve_shared(name, endpoint, move |_| {
            let others = Arc::clone(&make);
            Ok((make()?, move |_: &Reactor| others()))
        });
    }

    /// Serves a site on every worker whose data lives at home, with the program's access log and trusted proxies. When the service starts,
    /// `make` makes home's site, and with it what makes each of the others', on its own thread and reactor.
    ///
    /// ```no_run
    /// use ropewalk_reactor::Reactor;
    /// use ropewalk_web::{Handler, MemorySessions, Request, Router, Sessions, SharedSessions, Site};
    /// # fn build(app: &mut ropewalk_app::App) -> Result<(), ropewalk_app::StartError> {
    /// app.serve_shared("shop", "tcp:8080".parse()?, |home| {
    ///     // Who is known on one worker is known on all.
    ///     let store = SharedSessions::new(home, MemorySessions::new(10_000));
    ///     let site = move |store: &SharedSessions| {
    ///         let greet = |request: Request| format!("hello {:?}", request.session().map(|_| "visitor"));
    ///         Site::new(Router::new().get("/", greet).with(Sessions::new(store.clone())))
    ///     };
    ///     Ok((site(&store), move |_: &Reactor| Ok(site(&store))))
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn serve_shared<S>(
        &mut self,
        name: &str,
        endpoint: ServerEndpoint,
        make: impl Fn(&Reactor) -> Result<(Site, S), StartError> + 'static,
    ) -> Place
    where
        S: Fn(&Reactor) -> Result<Site, StartError> + Send + Sync + 'static,
    {
        let (log, proxies) = (self.log.clone(), self.settings.trusted_proxies.clone());
        let make: MakeHome = Box::new(move |reactor| {
            let (site, others) = make(reactor)?;
            let (own_log, own_proxies) = (log.clone(), proxies.clone());
            let others = move |reactor: &Reactor| Ok(dress(others(reactor)?, own_log.as_ref(), &own_proxies));
            Ok((dress(site, log.as_ref(), &proxies), Arc::new(others)))
        });
        let endpoint = self.endpoint(name, endpoint);
        self.add(WebService::new(name, endpoint, make, self.workers.clone()))
    }

    /// Serves a site that cannot leave the home worker.
    pub fn serve_home(
        &mut self,
        name: &str,
        endpoint: ServerEndpoint,
        make: impl FnOnce(&Reactor) -> Result<Site, StartError> + 'static,
    ) -> Place {
        let (log, proxies) = (self.log.clone(), self.settings.trusted_proxies.clone());
        let make = move |reactor: &Reactor| -> Result<Rc<dyn Factory>, StartError> {
            Ok(Rc::new(dress(make(reactor)?, log.as_ref(), &proxies)))
        };
        let endpoint = self.endpoint(name, endpoint);
        self.add(FactoryService::new(name, endpoint, true, Box::new(make)))
    }

    /// Serves a site on the home worker, and keeps what lives behind it, which is made with it.
    pub fn serve_tenant<T: Tenant>(
        &mut self,
        name: &str,
        endpoint: ServerEndpoint,
        make: impl FnOnce(&Reactor) -> Result<(Site, T), StartError> + 'static,
    ) {
        let (log, proxies) = (self.log.clone(), self.settings.trusted_proxies.clone());
        let room = Room::default();
        let filled = Rc::clone(&room);
        let make = move |reactor: &Reactor| -> Result<Rc<dyn Factory>, StartError> {
            let (site, tenant) = make(reactor)?;
            *filled.borrow_mut() = Some(Box::new(tenant));
            Ok(Rc::new(dress(site, log.as_ref(), &proxies)))
        };
        let endpoint = self.endpoint(name, endpoint);
        self.add(FactoryService::new(name, endpoint, true, Box::new(make)).with_room(room));
    }

    /// Serves a site on the home worker as it is, with an access observer of its own or none.
    pub fn serve_own(
        &mut self,
        name: &str,
        endpoint: ServerEndpoint,
        make: impl FnOnce(&Reactor) -> Result<Site, StartError> + 'static,
    ) {
        let make = move |reactor: &Reactor| make(reactor).map(|site| Rc::new(site) as Rc<dyn Factory>);
        let endpoint = self.endpoint(name, endpoint);
        self.add(FactoryService::new(name, endpoint, true, Box::new(make)));
    }

    /// Serves a protocol on the home worker.
    pub fn serve_factory(
        &mut self,
        name: &str,
        endpoint: ServerEndpoint,
        make: impl FnOnce(&Reactor) -> Result<Rc<dyn Factory>, StartError> + 'static,
    ) {
        let endpoint = self.endpoint(name, endpoint);
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
        let workers = self.workers.clone();
        sources.workers(move || {
            let numbered = workers.remotes().into_iter().enumerate();
            numbered.map(|(number, remote)| ((number + 1).to_string(), remote)).collect()
        });
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

    /// The files that USR1 and `rotate` put aside.
    pub(crate) fn logs(&self) -> Vec<LogWriter> {
        self.log.iter().chain(&self.program_log).cloned().collect()
    }

    /// Where these are, if they are files.
    pub(crate) fn log_files(&self) -> Vec<&std::path::Path> {
        let access = match &self.settings.access_log {
            AccessLog::File(path) => Some(path.as_path()),
            _ => None,
        };
        let own = match &self.settings.log.to {
            LogPlace::File(path) => Some(path.as_path()),
            _ => None,
        };
        access.into_iter().chain(own).collect()
    }

    /// Where a service listens: as it says itself, unless the command line knows better. For services that listen themselves; those of
    /// [`App::serve`] and its like ask by themselves.
    pub fn endpoint(&mut self, name: &str, own: ServerEndpoint) -> ServerEndpoint {
        let path = self.path(name);
        let fits = |listen: &Listen, taken: bool| match &listen.service {
            Some(wanted) => *wanted == path,
            None => !taken,
        };
        match self.overrides.iter_mut().find(|(listen, taken)| fits(listen, *taken)) {
            Some((listen, taken)) => {
                *taken = true;
                local(listen.endpoint.clone())
            }
            None => own,
        }
    }

    /// An endpoint for a service that there is not is a mistake.
    pub(crate) fn check_overrides(&self) -> Result<(), StartError> {
        let Some((left, _)) = self.overrides.iter().find(|(_, taken)| !taken) else { return Ok(()) };
        let names: Vec<String> = self.tree.nodes().iter().map(|node| node.name()).collect();
        let what = match &left.service {
            Some(service) => format!("--listen {service}=: no such service listens"),
            None => format!("--listen {}: there is nothing more to listen", left.endpoint),
        };
        Err(StartError::new(format!("{what}; the services are: {}", names.join(", "))))
    }
}

/// An endpoint as a program's text has it: for this machine only, unless it says otherwise.
fn local(endpoint: ServerEndpoint) -> ServerEndpoint {
    endpoint.or_interface(IpAddr::V4(Ipv4Addr::LOCALHOST))
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
