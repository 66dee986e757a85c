//! Sessions of several workers: the store is at home, and the others ask through a door. Each request is a message there and each answer one
//! back; at home itself it is the same way.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::SystemTime;

use ropewalk_reactor::{Deferred, Failure, Firing, Outcome, Reactor, Receiver, Sender, deferred};

use super::store::{Changes, Record, SessionKey, SessionStore, Swept};

/// Messages that may wait on a door. A worker asks once or twice for each request that it handles.
const WAITING_MAX: usize = 65_536;

/// A store at home, for all workers: `Send`, and cheap to clone.
///
/// A [`ropewalk_store::Database`] is locked by whoever opens it first, also against the other workers of this program, so that two of them never
/// write past each other. This way there is one, and it commits what all workers write in one group.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let home = ropewalk_reactor::Reactor::new()?;
/// use ropewalk_web::{Router, Sessions, SharedSessions, Site, SqliteSessions};
/// let shared = SharedSessions::new(&home, SqliteSessions::open(&home, "sessions.db".as_ref())?);
/// // Called once by every worker.
/// let make = move || Site::new(Router::new()).with(Sessions::new(shared.clone()));
/// # drop(make);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SharedSessions {
    door: Sender<Letter>,
}

enum Ask {
    Load(SessionKey),
    Insert(SessionKey, Record),
    Update(SessionKey, Changes, SystemTime),
    Remove(SessionKey),
    Sweep(SystemTime),
}

enum Told {
    Loaded(Option<Record>),
    Done,
    Known(bool),
    Swept(Swept),
}

struct Letter {
    ask: Ask,
    number: u64,
    back: Sender<(u64, Outcome<Told>)>,
}

/// The home's side: the door goes with the reactor.
#[derive(Default)]
struct Doors(RefCell<Vec<Receiver>>);

/// A worker's side: who waits for which answer.
struct Desk {
    waiting: Rc<RefCell<BTreeMap<u64, Firing<Told>>>>,
    next: Cell<u64>,
    back: Sender<(u64, Outcome<Told>)>,
    _receiver: Receiver,
}

impl SharedSessions {
    /// Lends a store of this reactor's, as long as that runs.
    #[must_use]
    pub fn new(home: &Reactor, store: impl SessionStore) -> SharedSessions {
        let (store, reactor) = (Rc::new(store), home.downgrade());
        let (receiver, door) = home.receiver(WAITING_MAX, move |letter: Letter| {
            if let Some(reactor) = reactor.upgrade() {
                answer(&*store, &reactor, letter);
            }
        });
        home.part(Doors::default).0.borrow_mut().push(receiver);
        SharedSessions { door }
    }

    fn ask(&self, reactor: &Reactor, ask: Ask) -> Deferred<Told> {
        let desk = reactor.part(|| Desk::new(reactor));
        let number = desk.next.replace(desk.next.get() + 1);
        let (firing, told) = Deferred::new(reactor);
        desk.waiting.borrow_mut().insert(number, firing);
        if let Err(refused) = self.door.send(Letter { ask, number, back: desk.back.clone() }) {
            desk.waiting.borrow_mut().remove(&number);
            return deferred::fail(reactor, Failure::new(format!("the sessions' home: {refused}")));
        }
        told
    }
}

impl Desk {
    fn new(reactor: &Reactor) -> Desk {
        let waiting: Rc<RefCell<BTreeMap<u64, Firing<Told>>>> = Rc::default();
        let told = Rc::clone(&waiting);
        let (receiver, back) = reactor.receiver(WAITING_MAX, move |(number, outcome)| {
            let firing = told.borrow_mut().remove(&number);
            if let Some(firing) = firing {
                // Whoever asked may wait no more.
                let _ = firing.fire(outcome);
            }
        });
        Desk { waiting, next: Cell::new(0), back, _receiver: receiver }
    }
}

/// Answers one letter. A worker whose door is full or closed gets none: it has ended, or will hear of its own deadlines.
fn answer(store: &dyn SessionStore, reactor: &Reactor, letter: Letter) {
    let Letter { ask, number, back } = letter;
    let told = match ask {
        Ask::Load(key) => store.load(reactor, key).add_callback(Told::loaded),
        Ask::Insert(key, record) => {
            store.insert(reactor, key, record).add_callback(|()| Outcome::Ok(Told::Done))
        }
        Ask::Update(key, changes, at) => store.update(reactor, key, changes, at).add_callback(Told::known),
        Ask::Remove(key) => store.remove(reactor, key).add_callback(Told::known),
        Ask::Sweep(now) => store.sweep(reactor, now).add_callback(|swept| Outcome::Ok(Told::Swept(swept))),
    };
    let sent = told.add_both(move |outcome| {
        let _ = back.send((number, outcome));
        Outcome::Ok(())
    });
    sent.detach();
}

impl Told {
    fn loaded(record: Option<Record>) -> Outcome<Told> {
        Ok(Told::Loaded(record))
    }

    fn known(known: bool) -> Outcome<Told> {
        Ok(Told::Known(known))
    }

    fn unexpected() -> Failure {
        Failure::new("the sessions' home has answered another question")
    }
}

impl SessionStore for SharedSessions {
    fn load(&self, reactor: &Reactor, key: SessionKey) -> Deferred<Option<Record>> {
        self.ask(reactor, Ask::Load(key)).add_callback(|told| match told {
            Told::Loaded(record) => Ok(record),
            _ => Err(Told::unexpected()),
        })
    }

    fn insert(&self, reactor: &Reactor, key: SessionKey, record: Record) -> Deferred<()> {
        self.ask(reactor, Ask::Insert(key, record)).add_callback(|told| match told {
            Told::Done => Ok(()),
            _ => Err(Told::unexpected()),
        })
    }

    fn update(
        &self,
        reactor: &Reactor,
        key: SessionKey,
        changes: Changes,
        expires_at: SystemTime,
    ) -> Deferred<bool> {
        self.ask(reactor, Ask::Update(key, changes, expires_at)).add_callback(known)
    }

    fn remove(&self, reactor: &Reactor, key: SessionKey) -> Deferred<bool> {
        self.ask(reactor, Ask::Remove(key)).add_callback(known)
    }

    fn sweep(&self, reactor: &Reactor, now: SystemTime) -> Deferred<Swept> {
        self.ask(reactor, Ask::Sweep(now)).add_callback(|told| match told {
            Told::Swept(swept) => Ok(swept),
            _ => Err(Told::unexpected()),
        })
    }
}

fn known(told: Told) -> Outcome<bool> {
    match told {
        Told::Known(known) => Ok(known),
        _ => Err(Told::unexpected()),
    }
}
