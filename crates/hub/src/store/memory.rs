//! A store in memory, gone with its last clone: for tests, and where nothing is to be kept.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use ropewalk_reactor::{Deferred, Reactor, deferred};

use super::record::{Content, Intent, Letter, Pair, Subscription, Topic};
use super::step::{self, Tables};
use super::{Change, List, Listing, Loaded, Page, Store, Task, Work};
use crate::request::host;

/// What a hub keeps, in memory. Clones are one store: a hub that is made anew over a clone finds what the last one has left.
#[derive(Clone)]
pub struct MemoryStore {
    reactor: Reactor,
    rows: Rc<RefCell<Rows>>,
}

#[derive(Default)]
struct Rows {
    serial: u64,
    intents: BTreeMap<Pair, Intent>,
    subscriptions: BTreeMap<Pair, Subscription>,
    topics: BTreeMap<Arc<str>, Topic>,
    letters: BTreeMap<Pair, Letter>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(reactor: &Reactor) -> MemoryStore {
        MemoryStore { reactor: reactor.clone(), rows: Rc::default() }
    }
}

impl Store for MemoryStore {
    fn commit(&self, changes: Vec<Change>) -> Deferred<Vec<Work>> {
        let mut due = Vec::new();
        let mut rows = self.rows.borrow_mut();
        for change in changes {
            let Ok(()) = step::apply(&mut *rows, change, &mut due);
        }
        deferred::succeed(&self.reactor, due)
    }

    fn claim(&self) -> Deferred<Vec<Work>> {
        let rows = self.rows.borrow();
        let intents = rows
            .intents
            .values()
            .map(|intent| Work { task: Task::Verify(intent.pair.clone()), due_ms: intent.due_ms });
        let topics = rows.topics.values().filter_map(|topic| {
            topic.due_ms.map(|due_ms| Work { task: Task::Fetch(Arc::clone(&topic.url)), due_ms })
        });
        let deliveries = rows.subscriptions.values().filter_map(|known| {
            known.due_ms.map(|due_ms| Work { task: Task::Deliver(known.pair.clone()), due_ms })
        });
        deferred::succeed(&self.reactor, intents.chain(topics).chain(deliveries).collect())
    }

    fn load(&self, task: Task) -> Deferred<Loaded> {
        let rows = self.rows.borrow();
        let loaded = match &task {
            Task::Verify(pair) => rows.intents.get(pair).cloned().map(|found| Loaded::Intent(found.into())),
            Task::Fetch(url) => {
                let waiting = rows.topics.get(url).filter(|topic| topic.due_ms.is_some());
                waiting.cloned().map(|found| Loaded::Topic(found.into()))
            }
            Task::Deliver(pair) => {
                let waiting = rows.subscriptions.get(pair).filter(|known| known.due_ms.is_some());
                waiting.cloned().map(|found| Loaded::Subscription(found.into()))
            }
        };
        deferred::succeed(&self.reactor, loaded.unwrap_or(Loaded::Settled))
    }

    fn topic(&self, url: Arc<str>) -> Deferred<Option<Topic>> {
        deferred::succeed(&self.reactor, self.rows.borrow().topics.get(&url).cloned())
    }

    fn list(&self, listing: Listing) -> Deferred<Page> {
        deferred::succeed(&self.reactor, self.rows.borrow().page(&listing))
    }
}

impl Rows {
    fn page(&self, listing: &Listing) -> Page {
        let mut page = Page::default();
        match &listing.of {
            List::Topics => {
                let bare =
                    |topic: &Topic| Topic { content: topic.content.as_ref().map(bare), ..topic.clone() };
                let all = self.topics.values();
                (page.total, page.topics) = cut(all, listing, |topic| topic.url.to_string());
                page.topics = page.topics.iter().map(bare).collect();
            }
            List::Letters => {
                let all = self.letters.values();
                (page.total, page.letters) = cut(all, listing, |letter| letter.pair.to_string());
            }
            List::Intents => {
                let all = self.intents.values();
                (page.total, page.intents) = cut(all, listing, |intent| intent.pair.to_string());
            }
            list => {
                let all = self.subscriptions.values().filter(|known| match list {
                    List::Of(topic) => known.pair.topic == *topic,
                    List::One(pair) => known.pair == *pair,
                    List::At(at) => host(&known.pair.callback) == *at,
                    _ => true,
                });
                (page.total, page.subscriptions) = cut(all, listing, |known| known.pair.to_string());
            }
        }
        if let List::At(at) = &listing.of {
            let wished = |intent: &&Intent| {
                host(&intent.pair.callback) == *at && !self.subscriptions.contains_key(&intent.pair)
            };
            page.total += self.intents.values().filter(wished).count() as u64;
        }
        page
    }
}

fn bare(content: &Content) -> Content {
    Content { body: Arc::from([]), entries: Vec::new(), ..content.clone() }
}

fn cut<'a, T: Clone + 'a>(
    all: impl Iterator<Item = &'a T>,
    listing: &Listing,
    key: impl Fn(&T) -> String,
) -> (u64, Vec<T>) {
    let all: Vec<&T> = all.collect();
    let rest = all.iter().filter(|row| key(row) > listing.after);
    (all.len() as u64, rest.take(listing.limit).map(|row| (*row).clone()).collect())
}

impl Tables for Rows {
    type Error = Infallible;

    fn next_serial(&mut self) -> Result<u64, Infallible> {
        self.serial += 1;
        Ok(self.serial)
    }

    fn intent(&self, pair: &Pair) -> Result<Option<Intent>, Infallible> {
        Ok(self.intents.get(pair).cloned())
    }

    fn put_intent(&mut self, intent: &Intent) -> Result<(), Infallible> {
        self.intents.insert(intent.pair.clone(), intent.clone());
        Ok(())
    }

    fn drop_intent(&mut self, pair: &Pair) -> Result<(), Infallible> {
        self.intents.remove(pair);
        Ok(())
    }

    fn subscription(&self, pair: &Pair) -> Result<Option<Subscription>, Infallible> {
        Ok(self.subscriptions.get(pair).cloned())
    }

    fn put_subscription(&mut self, subscription: &Subscription) -> Result<(), Infallible> {
        self.subscriptions.insert(subscription.pair.clone(), subscription.clone());
        Ok(())
    }

    fn drop_subscription(&mut self, pair: &Pair) -> Result<(), Infallible> {
        self.subscriptions.remove(pair);
        Ok(())
    }

    fn topic(&self, url: &str) -> Result<Option<Topic>, Infallible> {
        Ok(self.topics.get(url).map(|topic| Topic { content: None, ..topic.clone() }))
    }

    fn put_topic(&mut self, topic: &Topic) -> Result<(), Infallible> {
        let content = self.topics.get_mut(&topic.url).and_then(|known| known.content.take());
        self.topics.insert(Arc::clone(&topic.url), Topic { content, ..topic.clone() });
        Ok(())
    }

    fn put_content(&mut self, url: &str, content: &Content) -> Result<(), Infallible> {
        if let Some(topic) = self.topics.get_mut(url) {
            topic.content = Some(content.clone());
        }
        Ok(())
    }

    fn put_letter(&mut self, letter: &Letter) -> Result<(), Infallible> {
        self.letters.insert(letter.pair.clone(), letter.clone());
        Ok(())
    }

    fn drop_letter(&mut self, pair: &Pair) -> Result<(), Infallible> {
        self.letters.remove(pair);
        Ok(())
    }

    fn want(&mut self, topic: &str, version: u64, now_ms: u64) -> Result<Vec<Pair>, Infallible> {
        let live = self
            .subscriptions
            .values_mut()
            .filter(|known| &*known.pair.topic == topic && known.lease_end_ms > now_ms);
        let mut began = Vec::new();
        for subscription in live {
            subscription.wanted = version;
            if subscription.due_ms.is_none() {
                subscription.due_ms = Some(now_ms);
                subscription.attempts = 0;
                subscription.waiting_since_ms = now_ms;
                began.push(subscription.pair.clone());
            }
        }
        Ok(began)
    }

    fn sweep(&mut self, now_ms: u64, letters_before_ms: u64) -> Result<(), Infallible> {
        self.subscriptions.retain(|_, known| known.lease_end_ms > now_ms);
        self.letters.retain(|pair, letter| {
            letter.at_ms >= letters_before_ms && self.subscriptions.contains_key(pair)
        });
        let used =
            |url: &str| self.subscriptions.keys().chain(self.intents.keys()).any(|pair| &*pair.topic == url);
        let unused: Vec<_> = self.topics.keys().filter(|url| !used(url)).cloned().collect();
        for url in unused {
            self.topics.remove(&url);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ropewalk_reactor::Simulation;

    use super::*;

    #[test]
    fn a_memory_store_is_a_store() {
        let simulation = Simulation::new(1);
        let store = MemoryStore::new(simulation.reactor());
        super::super::conformance::check_in(&simulation, Rc::new(store));
    }
}
