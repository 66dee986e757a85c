//! Contents on their way to subscribers, in memory: one copy for all deliveries of a version, and one per cut of a feed. Bounded in
//! bytes; what is pushed out is read from the store again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use ropewalk_reactor::sync::DeferredLock;
use ropewalk_reactor::{Outcome, Reactor};

use crate::feed;
use crate::store::{Entry, Store};

/// A version of a topic, ready to be sent.
pub(super) struct Edition {
    pub(super) version: u64,
    pub(super) media: Option<String>,
    body: Rc<[u8]>,
    entries: Vec<Entry>,
    /// The feed without what a subscriber has, by the version that it has.
    cuts: RefCell<BTreeMap<u64, Rc<[u8]>>>,
}

impl Edition {
    /// What a subscriber gets who has this version: everything, unless the topic is a feed that is cut.
    pub(super) fn body_since(&self, delivered: u64, cuts: bool) -> Rc<[u8]> {
        if !cuts || self.entries.is_empty() || delivered == 0 {
            return Rc::clone(&self.body);
        }
        if let Some(cut) = self.cuts.borrow().get(&delivered) {
            return Rc::clone(cut);
        }
        let known = |id: &str| self.entries.iter().any(|entry| entry.id == id && entry.version <= delivered);
        let cut = match feed::without(&self.body, known) {
            Some(cut) => cut.into(),
            None => Rc::clone(&self.body),
        };
        self.cuts.borrow_mut().insert(delivered, Rc::clone(&cut));
        cut
    }

    fn bytes(&self) -> usize {
        let cuts: usize = self.cuts.borrow().values().map(|cut| cut.len()).sum();
        self.body.len() + cuts
    }
}

/// When it was used last, by a count of all uses.
type Used = (u64, Rc<Edition>);

pub(super) struct Cache {
    bytes_max: usize,
    editions: RefCell<BTreeMap<Arc<str>, Used>>,
    uses: Cell<u64>,
    /// One reads, and those behind it find what it has read.
    reading: DeferredLock,
}

impl Cache {
    pub(super) fn new(reactor: &Reactor, bytes_max: usize) -> Cache {
        Cache {
            bytes_max,
            editions: RefCell::default(),
            uses: Cell::new(0),
            reading: DeferredLock::new(reactor),
        }
    }

    /// The topic's content, at least of this version; `None` if there is none.
    pub(super) async fn edition(
        &self,
        store: &dyn Store,
        topic: &Arc<str>,
        wanted: u64,
    ) -> Outcome<Option<Rc<Edition>>> {
        if let Some(edition) = self.find(topic, wanted) {
            return Ok(Some(edition));
        }
        let _turn = self.reading.acquire().await?;
        if let Some(edition) = self.find(topic, wanted) {
            return Ok(Some(edition));
        }
        let Some(found) = store.topic(Arc::clone(topic)).await? else { return Ok(None) };
        let Some(content) = found.content else { return Ok(None) };
        let edition = Rc::new(Edition {
            version: found.version,
            media: content.media,
            body: Rc::from(&*content.body),
            entries: content.entries,
            cuts: RefCell::default(),
        });
        self.keep(topic, &edition);
        Ok(Some(edition))
    }

    fn tick(&self) -> u64 {
        self.uses.set(self.uses.get() + 1);
        self.uses.get()
    }

    fn find(&self, topic: &Arc<str>, wanted: u64) -> Option<Rc<Edition>> {
        let mut editions = self.editions.borrow_mut();
        let used = self.tick();
        let (last, edition) = editions.get_mut(topic).filter(|(_, edition)| edition.version >= wanted)?;
        *last = used;
        Some(Rc::clone(edition))
    }

    fn keep(&self, topic: &Arc<str>, edition: &Rc<Edition>) {
        let mut editions = self.editions.borrow_mut();
        let used = self.tick();
        editions.insert(Arc::clone(topic), (used, Rc::clone(edition)));
        let mut bytes: usize = editions.values().map(|(_, edition)| edition.bytes()).sum();
        while bytes > self.bytes_max && editions.len() > 1 {
            let oldest = editions.iter().min_by_key(|(_, (used, _))| *used);
            let Some((oldest, size)) = oldest.map(|(url, (_, edition))| (Arc::clone(url), edition.bytes()))
            else {
                break;
            };
            editions.remove(&oldest);
            bytes -= size;
        }
    }
}
