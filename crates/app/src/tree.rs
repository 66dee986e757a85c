//! The services of an application, in a tree by their names (`shop/web`): started in order, each after those it names, stopped in
//! reverse; one that fails is started again after a pause that grows. What each is doing is to be seen at any time. `life` starts and
//! stops the tree, `status` shows it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::Port;
use ropewalk_reactor::{Failure, Name, Reactor, Time};

use crate::activity::Activity;
use crate::service::{Bound, Ground, Inherited, Service, StartError};

/// How long a service may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// One that ran for so long before it failed begins with the shortest pause again.
const RAN_WELL: Duration = Duration::from_secs(60);

/// What a service is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// Its turn has not come.
    #[default]
    Waiting,
    /// Started, and not ready yet.
    Starting,
    /// It does its work.
    Ready,
    /// It has failed, for this reason; if its place says so it is started again.
    Failed(String),
    /// It comes to its end.
    Stopping,
    /// It has ended.
    Stopped,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Standing::Waiting => "waiting",
            Standing::Starting => "starting",
            Standing::Ready => "ready",
            Standing::Failed(_) => "failed",
            Standing::Stopping => "stopping",
            Standing::Stopped => "stopped",
        })
    }
}

/// What becomes of a service that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// It is started again after a pause, which doubles with every failure from the first to the longest.
    After {
        /// The pause after the first failure.
        first: Duration,
        /// The longest pause.
        longest: Duration,
    },
    /// It stays failed, and the others go on.
    Never,
}

impl Default for Restart {
    /// After a second, at the longest after a minute.
    fn default() -> Self {
        Restart::After { first: Duration::from_secs(1), longest: Duration::from_secs(60) }
    }
}

/// What goes on, looked up when somebody asks.
pub(crate) type Show = Box<dyn Fn() -> Vec<Activity>>;

/// A service and its place.
pub(crate) struct Node {
    pub(crate) name: RefCell<String>,
    pub(crate) after: RefCell<Vec<String>>,
    pub(crate) restart: Cell<Restart>,
    pub(crate) service: RefCell<Box<dyn Service>>,
    pub(crate) standing: RefCell<Standing>,
    pub(crate) since: Cell<Time>,
    pub(crate) restarts: Cell<u64>,
    pub(crate) bound: RefCell<Vec<Bound>>,
    /// What is to be shown beside what the service says itself.
    pub(crate) shows: RefCell<Option<Show>>,
    /// Whether it has bound, and so has something to stop.
    begun: Cell<bool>,
}

impl Node {
    pub(crate) fn name(&self) -> String {
        self.name.borrow().clone()
    }

    fn set(&self, reactor: &Reactor, standing: Standing) {
        self.since.set(reactor.now());
        *self.standing.borrow_mut() = standing;
    }

    pub(crate) fn bind(&self, reactor: &Reactor, inherited: &Inherited) -> Result<(), StartError> {
        self.begun.set(true);
        let name = self.name();
        self.service.borrow_mut().bind(&Ground { reactor, name: &name, inherited })
    }

    /// Starts it, and waits until it is ready. `held`: it accepts nothing before it is told to.
    pub(crate) async fn start(self: &Rc<Self>, reactor: &Reactor, held: bool) -> Result<(), StartError> {
        self.set(reactor, Standing::Starting);
        let outcome = self.start_and_wait(reactor, held).await;
        match &outcome {
            Ok(()) => {
                self.set(reactor, Standing::Ready);
                self.watch(reactor);
            }
            Err(error) => self.set(reactor, Standing::Failed(error.to_string())),
        }
        outcome
    }

    async fn start_and_wait(&self, reactor: &Reactor, held: bool) -> Result<(), StartError> {
        *self.bound.borrow_mut() = self.service.borrow_mut().start(reactor)?;
        if held {
            self.service.borrow().ports().iter().for_each(Port::halt);
        }
        let ready = self.service.borrow_mut().ready();
        match reactor.with_timeout(READY_WITHIN, ready).await {
            Ok(outcome) => outcome,
            Err(_) => Err(StartError::new(format!("{}: not ready within {READY_WITHIN:?}", self.name()))),
        }
    }

    /// Waits for its failure, and starts it again.
    fn watch(self: &Rc<Self>, reactor: &Reactor) {
        let (node, handle) = (Rc::clone(self), reactor.clone());
        let failed = self.service.borrow_mut().failed();
        reactor.spawn_named(Name::new("a service's failure"), async move {
            let failure = failed.await;
            node.revive(&handle, &failure).await;
        });
    }

    async fn revive(self: Rc<Self>, reactor: &Reactor, failure: &Failure) {
        let mut pause = None;
        let mut why = failure.error().to_string();
        loop {
            if matches!(*self.standing.borrow(), Standing::Stopping | Standing::Stopped) {
                return;
            }
            let ran_well = reactor.now().since(self.since.get()) >= RAN_WELL;
            tracing::error!(service = %self.name(), "failed: {why}");
            self.set(reactor, Standing::Failed(why));
            let stop = self.service.borrow_mut().stop();
            stop.await;
            let Restart::After { first, longest } = self.restart.get() else { return };
            let next = match pause {
                Some(pause) if !ran_well => longest.min(pause * 2),
                _ => first,
            };
            pause = Some(next);
            reactor.sleep(next).await;
            if !matches!(*self.standing.borrow(), Standing::Failed(_)) {
                return;
            }
            self.restarts.set(self.restarts.get() + 1);
            self.set(reactor, Standing::Starting);
            let started = match self.bind(reactor, &Inherited::default()) {
                Ok(()) => self.start_and_wait(reactor, false).await,
                Err(error) => Err(error),
            };
            match started {
                Ok(()) => {
                    tracing::info!(service = %self.name(), "runs again");
                    self.set(reactor, Standing::Ready);
                    let failed = self.service.borrow_mut().failed();
                    why = failed.await.error().to_string();
                }
                Err(error) => why = error.to_string(),
            }
        }
    }

    pub(crate) async fn stop(&self, reactor: &Reactor) {
        if !self.begun.get() || *self.standing.borrow() == Standing::Stopped {
            return;
        }
        self.set(reactor, Standing::Stopping);
        let stop = self.service.borrow_mut().stop();
        stop.await;
    }
}

/// All services. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Tree(Rc<RefCell<Vec<Rc<Node>>>>);

impl Tree {
    pub(crate) fn add(&self, name: String, service: Box<dyn Service>) -> Rc<Node> {
        let node = Rc::new(Node {
            name: RefCell::new(name),
            after: RefCell::default(),
            restart: Cell::default(),
            service: RefCell::new(service),
            standing: RefCell::default(),
            since: Cell::default(),
            restarts: Cell::new(0),
            bound: RefCell::default(),
            shows: RefCell::default(),
            begun: Cell::new(false),
        });
        self.0.borrow_mut().push(Rc::clone(&node));
        node
    }

    pub(crate) fn nodes(&self) -> Vec<Rc<Node>> {
        self.0.borrow().clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    pub(crate) fn remove(&self, node: &Rc<Node>) {
        self.0.borrow_mut().retain(|other| !Rc::ptr_eq(other, node));
    }

    /// Puts services behind those that they come after; else the order in which they were added stays.
    pub(crate) fn sort(&self) -> Result<(), StartError> {
        let mut left = self.nodes();
        let mut sorted: Vec<Rc<Node>> = Vec::new();
        let known: Vec<String> = left.iter().map(|node| node.name()).collect();
        for node in &left {
            for wanted in node.after.borrow().iter() {
                if !known.iter().any(|name| is_within(name, wanted)) {
                    let name = node.name();
                    return Err(StartError::new(format!(
                        "{name} comes after {wanted}, and there is no such service"
                    )));
                }
            }
        }
        while !left.is_empty() {
            let waiting: BTreeSet<String> = left.iter().map(|node| node.name()).collect();
            let free = left.iter().position(|node| {
                let name = node.name();
                let after = node.after.borrow();
                let holds =
                    |wanted: &String| waiting.iter().any(|other| *other != name && is_within(other, wanted));
                !after.iter().any(holds)
            });
            let Some(free) = free else {
                let names: Vec<String> = waiting.into_iter().collect();
                return Err(StartError::new(format!(
                    "these services wait for each other: {}",
                    names.join(", ")
                )));
            };
            sorted.push(left.remove(free));
        }
        *self.0.borrow_mut() = sorted;
        Ok(())
    }

    /// Connections and the like that are still open.
    pub(crate) fn busy(&self) -> usize {
        self.nodes().iter().map(|node| node.service.borrow().busy()).sum()
    }
}

/// Whether a service is the one, or of the group, that is meant.
pub(crate) fn is_within(name: &str, wanted: &str) -> bool {
    name == wanted || name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk_reactor::{Deferred, Firing, Simulation};

    type Log = Rc<RefCell<Vec<String>>>;

    type Fail = Rc<RefCell<Option<Firing<String>>>>;

    /// Writes down what is asked of it; fails when told to.
    struct Scribe {
        name: &'static str,
        log: Log,
        fail: Fail,
        reactor: Option<Reactor>,
        refusals: u32,
    }

    impl Service for Scribe {
        fn name(&self) -> &str {
            self.name
        }

        fn start(&mut self, reactor: &Reactor) -> Result<Vec<Bound>, StartError> {
            self.log.borrow_mut().push(format!("start {}", self.name));
            self.reactor = Some(reactor.clone());
            if self.refusals > 0 && self.log.borrow().len() > 1 {
                self.refusals -= 1;
                return Err(StartError::new("not now"));
            }
            Ok(Vec::new())
        }

        fn failed(&mut self) -> std::pin::Pin<Box<dyn Future<Output = Failure>>> {
            let (firing, deferred) = Deferred::new(self.reactor.as_ref().expect("it was started"));
            *self.fail.borrow_mut() = Some(firing);
            Box::pin(
                async move { Failure::new(deferred.await.unwrap_or_else(|failure| failure.to_string())) },
            )
        }

        fn stop(&mut self) -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
            self.log.borrow_mut().push(format!("stop {}", self.name));
            Box::pin(std::future::ready(()))
        }
    }

    fn scribe(log: &Log, name: &'static str) -> Box<Scribe> {
        Box::new(Scribe { name, log: Rc::clone(log), fail: Rc::default(), reactor: None, refusals: 0 })
    }

    #[test]
    fn services_come_after_what_they_name() {
        let (tree, log) = (Tree::default(), Log::default());
        for (name, after) in
            [("web", &["shop", "db"][..]), ("shop/cart", &["db"]), ("db", &[]), ("shop/mail", &[])]
        {
            let node = tree.add(name.to_owned(), scribe(&log, name));
            *node.after.borrow_mut() = after.iter().map(|&name| name.to_owned()).collect();
        }
        tree.sort().unwrap();
        let names: Vec<String> = tree.nodes().iter().map(|node| node.name()).collect();
        assert_eq!(names, ["db", "shop/cart", "shop/mail", "web"]);
        tree.nodes()[0].after.borrow_mut().push("web".to_owned());
        assert!(tree.sort().unwrap_err().to_string().contains("wait for each other: db, shop/cart, web"));
        tree.nodes()[1].after.borrow_mut().push("dbb".to_owned());
        assert!(tree.sort().unwrap_err().to_string().contains("comes after dbb"));
    }

    #[test]
    fn one_that_fails_is_started_again_after_pauses_that_grow() {
        let simulation = Simulation::new(1);
        let (log, tree) = (Log::default(), Tree::default());
        let mut service = scribe(&log, "frail");
        service.refusals = 2;
        let fail = Rc::clone(&service.fail);
        let node = tree.add("frail".to_owned(), service);
        let (started, reactor) = (Rc::clone(&node), simulation.reactor().clone());
        node.begun.set(true);
        simulation.reactor().spawn(async move { started.start(&reactor, false).await.unwrap() });
        simulation.advance(Duration::from_millis(10));
        assert_eq!(*node.standing.borrow(), Standing::Ready);
        // It fails once, and is refused twice: after 1, 2 and 4 seconds it runs.
        let tell = |why: &str| fail.borrow_mut().take().expect("it waits").callback(why.to_owned()).unwrap();
        tell("worn out");
        simulation.advance(Duration::from_millis(10));
        assert_eq!(*node.standing.borrow(), Standing::Failed("worn out".to_owned()));
        for (seconds, restarts) in [(1, 1), (2, 2)] {
            simulation.advance(Duration::from_secs(seconds));
            assert_eq!(*node.standing.borrow(), Standing::Failed("not now".to_owned()));
            assert_eq!(node.restarts.get(), restarts);
        }
        simulation.advance(Duration::from_secs(4));
        assert_eq!((node.standing.borrow().clone(), node.restarts.get()), (Standing::Ready, 3));
        // After a good while the pause is a short one again.
        simulation.advance(Duration::from_secs(100));
        tell("again");
        simulation.advance(Duration::from_millis(1100));
        assert_eq!((node.standing.borrow().clone(), node.restarts.get()), (Standing::Ready, 4));
        // Told to stop, it does not come again.
        tell("once more");
        simulation.advance(Duration::from_millis(10));
        let (stopped, reactor) = (Rc::clone(&node), simulation.reactor().clone());
        simulation.reactor().spawn(async move { stopped.stop(&reactor).await });
        simulation.advance(Duration::from_secs(100));
        assert_eq!((node.standing.borrow().clone(), node.restarts.get()), (Standing::Stopping, 4));
    }
}
