//! `hub.verify=sync` of PubSubHubbub 0.3 (section 6.1.2): the subscriber is asked before the caller is answered. The wish goes the way of
//! all wishes, through the store and the lanes; here is who waits for it. WebSub forbids to wait (H15), and has no `hub.verify`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use ropewalk_reactor::{Deferred, Firing, Outcome};

use super::Inner;
use crate::store::{Change, Intent, Loaded, Task};

/// Who waits for which wish, by its serial. Two callers who wish the same at once wait for one.
#[derive(Default)]
pub(super) struct Waiting(RefCell<BTreeMap<u64, Vec<Firing<bool>>>>);

impl Waiting {
    /// Whether somebody waits for it: then it is tried once.
    pub(super) fn has(&self, serial: u64) -> bool {
        self.0.borrow().contains_key(&serial)
    }

    /// Tells how it went.
    pub(super) fn tell(&self, serial: u64, confirmed: bool) {
        let waiting = self.0.borrow_mut().remove(&serial).unwrap_or_default();
        for firing in waiting {
            // Whoever gave up has been answered.
            let _ = firing.callback(confirmed);
        }
    }
}

/// Writes the wish down and waits until it is confirmed or not, as long as a verification may take. What is not confirmed by then is
/// given up: what the caller was told stays true.
pub(super) async fn verify_now(hub: &Rc<Inner>, intent: Intent) -> Outcome<bool> {
    let (pair, limit) = (intent.pair.clone(), hub.options.verify_timeout);
    let work = hub.store.commit(vec![Change::Wish(Box::new(intent.clone()))]).await?;
    // Until it is put in the lanes nobody verifies it, and so nothing is missed.
    let loaded = hub.store.load(Task::Verify(pair.clone())).await;
    let found = match loaded {
        Ok(Loaded::Intent(found)) if *found == (Intent { serial: found.serial, ..intent }) => found.serial,
        // Somebody wishes something else for the same pair, and that is newer.
        Ok(_) => {
            hub.put(work);
            return Ok(false);
        }
        Err(failure) => {
            hub.put(work);
            return Err(failure);
        }
    };
    let (firing, told) = Deferred::new(&hub.reactor);
    hub.waiting.0.borrow_mut().entry(found).or_default().push(firing);
    hub.put(work);
    if let Ok(confirmed) = told.add_timeout(limit).await {
        return Ok(confirmed);
    }
    hub.waiting.tell(found, false);
    hub.commit(vec![Change::Unverified { pair, serial: found }]).await?;
    Ok(false)
}
