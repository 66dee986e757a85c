//! Sessions in memory: gone with the program, bounded, and at once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::SystemTime;

use ropewalk_reactor::{Deferred, Reactor, deferred};

use super::store::{Changes, Record, SessionKey, SessionStore, Swept};

/// Sessions in the memory of one worker; [`super::SharedSessions`] lends them to the others. Clones are one.
#[derive(Clone)]
pub struct MemorySessions(Rc<RefCell<Inner>>);

struct Inner {
    sessions_max: usize,
    records: BTreeMap<SessionKey, Record>,
    order: BTreeSet<(SystemTime, SessionKey)>,
}

impl MemorySessions {
    /// So many sessions at most. Beyond, the one that would expire first is forgotten: the visitor who has been away longest. A stranger can
    /// make many, so a site sets nothing for visitors who are nobody, or limits how often a peer may begin ([`crate::RateLimit`]), and
    /// the number is far above that of visitors in [half an hour](super::Sessions::idle).
    #[must_use]
    pub fn new(sessions_max: usize) -> MemorySessions {
        let (records, order) = (BTreeMap::new(), BTreeSet::new());
        MemorySessions(Rc::new(RefCell::new(Inner { sessions_max: sessions_max.max(1), records, order })))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.borrow().records.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inner {
    fn remove(&mut self, key: SessionKey) -> Option<Record> {
        let record = self.records.remove(&key)?;
        self.order.remove(&(record.expires_at, key));
        Some(record)
    }
}

impl SessionStore for MemorySessions {
    fn load(&self, reactor: &Reactor, key: SessionKey) -> Deferred<Option<Record>> {
        deferred::succeed(reactor, self.0.borrow().records.get(&key).cloned())
    }

    fn insert(&self, reactor: &Reactor, key: SessionKey, record: Record) -> Deferred<()> {
        let mut inner = self.0.borrow_mut();
        inner.remove(key);
        while inner.records.len() >= inner.sessions_max
            && let Some(&(_, first)) = inner.order.first()
        {
            inner.remove(first);
        }
        inner.order.insert((record.expires_at, key));
        inner.records.insert(key, record);
        deferred::succeed(reactor, ())
    }

    fn update(
        &self,
        reactor: &Reactor,
        key: SessionKey,
        changes: Changes,
        expires_at: SystemTime,
    ) -> Deferred<bool> {
        let mut inner = self.0.borrow_mut();
        let found = inner.remove(key);
        let known = found.is_some();
        if let Some(mut record) = found {
            changes.apply(&mut record.data);
            record.expires_at = expires_at;
            inner.order.insert((expires_at, key));
            inner.records.insert(key, record);
        }
        deferred::succeed(reactor, known)
    }

    fn remove(&self, reactor: &Reactor, key: SessionKey) -> Deferred<bool> {
        deferred::succeed(reactor, self.0.borrow_mut().remove(key).is_some())
    }

    fn sweep(&self, reactor: &Reactor, now: SystemTime) -> Deferred<Swept> {
        let mut inner = self.0.borrow_mut();
        let mut swept = Swept::default();
        while let Some(&(at, key)) = inner.order.first() {
            if at > now {
                swept.next = Some(at);
                break;
            }
            swept.expired.extend(inner.remove(key));
        }
        deferred::succeed(reactor, swept)
    }
}
