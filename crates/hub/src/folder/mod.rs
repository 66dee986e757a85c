//! A folder of files that publishes: what changes in it is told to hubs. It serves nothing (that is `ropewalk_web::Files`, with
//! `advertise_pages` around it); it looks, in the thread pool, and tells the `herald`.
//!
//! A change is told when two looks have found the same, so that a file which is still being written is told of once, and not before it is
//! whole. Looks follow what the system says (`tree`), and a slow clock.

mod names;
mod scan;
mod tree;

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::time::Duration;

use ropewalk_reactor::sync::Event;
use ropewalk_reactor::{DelayedCall, Handler, Outcome, Reactor, Readiness};

use crate::herald::Herald;
pub use names::Names;
pub(crate) use names::{canonical, is_page};
use scan::{Look, Memory};
use tree::Tree;

/// Looks take a quarter of a thread's time at the most, however large the folder is.
const REST: u32 = 3;

/// How a folder publishes.
#[derive(Clone, Debug)]
pub struct FolderOptions {
    /// The public URL of the folder, such as `https://example.org/`: topics are below.
    pub url: String,
    /// Which files are pages, and by which URLs.
    pub names: Names,
    /// For how long a file has to stay as it is until it is told of. 500 ms.
    pub settle: Duration,
    /// How often is looked although the system says nothing. Once a minute.
    pub look: Duration,
    /// How often is looked where the system cannot say anything. Every 2 s.
    pub look_untold: Duration,
}

impl Default for FolderOptions {
    fn default() -> FolderOptions {
        FolderOptions {
            url: String::new(),
            names: Names::default(),
            settle: Duration::from_millis(500),
            look: Duration::from_secs(60),
            look_untold: Duration::from_secs(2),
        }
    }
}

/// Watches a folder and tells hubs what changes in it. Clones are one; with the last of them it ends.
///
/// ```no_run
/// use ropewalk_hub::{FolderOptions, FolderPublisher, Herald};
/// use ropewalk_reactor::react;
/// use ropewalk_web::client::Agent;
///
/// react(|reactor| async move {
///     let herald = Herald::new(&Agent::new(&reactor), ["https://hub.example/"]);
///     let options = FolderOptions { url: "https://example.org/".to_owned(), ..FolderOptions::default() };
///     let publisher = FolderPublisher::start(&reactor, herald, "public", options);
///     publisher.begun().await?;
///     // From here on changes are told.
///     std::future::pending::<()>().await;
///     Ok(())
/// })?;
/// # Ok::<(), ropewalk_reactor::Failure>(())
/// ```
#[derive(Clone)]
pub struct FolderPublisher(Rc<Inner>);

struct Inner {
    reactor: Reactor,
    herald: Herald,
    root: PathBuf,
    options: FolderOptions,
    /// Away while it is looked with.
    memory: RefCell<Option<Memory>>,
    tree: RefCell<Option<(Rc<RefCell<Tree>>, Handler)>>,
    timer: RefCell<Option<DelayedCall>>,
    /// Something was told while it was looked.
    again: Cell<bool>,
    failing: Cell<bool>,
    begun: Event,
    statistics: Cell<FolderStatistics>,
}

/// Figures of a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FolderStatistics {
    /// Pages that there are.
    pub pages: usize,
    /// Looks so far.
    pub looks: u64,
    /// Changes told.
    pub changes: u64,
    /// Whether the system says when something happens.
    pub told: bool,
}

impl FolderPublisher {
    /// Begins: what is in the folder now is what later looks are compared with.
    pub fn start(
        reactor: &Reactor,
        herald: Herald,
        root: impl Into<PathBuf>,
        options: FolderOptions,
    ) -> FolderPublisher {
        let inner = Rc::new(Inner {
            reactor: reactor.clone(),
            herald,
            root: root.into(),
            options,
            memory: RefCell::new(Some(Memory::default())),
            tree: RefCell::default(),
            timer: RefCell::default(),
            again: Cell::new(false),
            failing: Cell::new(false),
            begun: Event::new(reactor),
            statistics: Cell::default(),
        });
        if let Err(error) = inner.listen() {
            let every = inner.options.look_untold;
            tracing::warn!("the folder is looked at every {every:?} instead of being watched: {error}");
        }
        inner.look();
        FolderPublisher(inner)
    }

    /// When it has looked for the first time: what changes from then on is told.
    ///
    /// # Errors
    /// The reactor has ended.
    pub async fn begun(&self) -> Outcome<()> {
        self.0.begun.wait().await
    }

    /// Whether the folder could be read last time.
    #[must_use]
    pub fn is_well(&self) -> bool {
        !self.0.failing.get()
    }

    /// Figures; those of the pings are the herald's.
    #[must_use]
    pub fn statistics(&self) -> FolderStatistics {
        FolderStatistics { told: self.0.tree.borrow().is_some(), ..self.0.statistics.get() }
    }
}

impl std::fmt::Debug for FolderPublisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FolderPublisher").field("statistics", &self.statistics()).finish()
    }
}

impl Inner {
    fn listen(self: &Rc<Self>) -> std::io::Result<()> {
        let tree = Rc::new(RefCell::new(Tree::new()?));
        let (weak, drained) = (Rc::downgrade(self), Rc::clone(&tree));
        let handler = self.reactor.add_handler(&*tree.borrow(), Readiness::READABLE, move |_| {
            let outcome = drained.borrow_mut().drain();
            let Some(inner) = weak.upgrade() else { return };
            if let Err(errno) = outcome {
                inner.deafen(&errno.into());
            }
            inner.hint();
        })?;
        *self.tree.borrow_mut() = Some((tree, handler));
        Ok(())
    }

    /// From now on the clock alone says when to look.
    fn deafen(&self, error: &std::io::Error) {
        if let Some((_, handler)) = self.tree.take() {
            handler.remove();
            let every = self.options.look_untold;
            tracing::warn!(
                "the folder is looked at every {every:?} instead of being watched (fs.inotify.max_user_watches may be too low): {error}"
            );
        }
    }

    /// Something may have changed.
    fn hint(self: &Rc<Self>) {
        match self.memory.borrow().is_some() {
            true => self.look_in(self.options.settle),
            false => self.again.set(true),
        }
    }

    /// Looks then, if not before.
    fn look_in(self: &Rc<Self>, wait: Duration) {
        let at = self.reactor.now() + wait;
        let mut timer = self.timer.borrow_mut();
        if timer.as_ref().and_then(DelayedCall::time).is_some_and(|set| set <= at) {
            return;
        }
        if let Some(later) = timer.take() {
            // It has not rung: it has a time.
            let _ = later.cancel();
        }
        let weak = Rc::downgrade(self);
        *timer = Some(self.reactor.call_at(at, move || {
            if let Some(inner) = weak.upgrade() {
                inner.look();
            }
        }));
    }

    fn look(self: &Rc<Self>) {
        let Some(mut memory) = self.memory.take() else { return };
        self.again.set(false);
        let (root, names) = (self.root.clone(), self.options.names.clone());
        let (began, reactor) = (self.reactor.now(), self.reactor.clone());
        let weak: Weak<Inner> = Rc::downgrade(self);
        self.reactor.spawn(async move {
            let looked = reactor.defer_to_thread(move || {
                let outcome = memory.look(&root, &names);
                (memory, outcome)
            });
            let looked = looked.await;
            let Some(inner) = weak.upgrade() else { return };
            let wait = match looked {
                Ok((memory, outcome)) => {
                    inner.count(|statistics| {
                        statistics.looks += 1;
                        statistics.pages = memory.pages();
                    });
                    *inner.memory.borrow_mut() = Some(memory);
                    inner.seen(outcome)
                }
                Err(failure) => {
                    tracing::error!("the folder is not watched any more: {failure}");
                    return;
                }
            };
            inner.look_in(wait.max((reactor.now() - began) * REST));
        });
    }

    /// Tells what a look has found; how long to wait for the next one.
    fn seen(&self, outcome: std::io::Result<Look>) -> Duration {
        let look = match outcome {
            Ok(look) => look,
            Err(error) => {
                if !self.failing.replace(true) {
                    tracing::error!("{}: {error}; changes are not told", self.root.display());
                }
                self.begun.set();
                return self.options.look_untold;
            }
        };
        self.failing.set(false);
        let mut topics = std::collections::BTreeSet::new();
        for path in &look.changed {
            topics.extend(self.options.names.urls(path));
        }
        self.count(|statistics| statistics.changes += topics.len() as u64);
        for path in topics {
            self.herald.announce(&format!("{}{path}", self.options.url.trim_end_matches('/')));
        }
        let tree = self.tree.borrow().as_ref().map(|(tree, _)| Rc::clone(tree));
        let new = match tree.map(|tree| tree.borrow_mut().set(&look.folders)) {
            Some(Err(errno)) => {
                self.deafen(&errno.into());
                false
            }
            Some(Ok(new)) => new,
            None => false,
        };
        self.begun.set();
        // What happened in a new folder before it was watched, nobody tells.
        match look.unsettled || new || self.again.get() {
            true => self.options.settle,
            false if self.tree.borrow().is_some() => self.options.look,
            false => self.options.look_untold,
        }
    }

    fn count(&self, change: impl FnOnce(&mut FolderStatistics)) {
        let mut statistics = self.statistics.get();
        change(&mut statistics);
        self.statistics.set(statistics);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            // It may be ringing.
            let _ = timer.cancel();
        }
        if let Some((_, handler)) = self.tree.take() {
            handler.remove();
        }
    }
}
