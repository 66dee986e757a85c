//! Following a list of pages, whatever happens: what is missing is asked for until there is a hub that takes it, what is too much is left.
//! Called by programs whose pages stand in their options.

use std::collections::BTreeSet;
use std::rc::{Rc, Weak};
use std::time::Duration;

use ropewalk_reactor::{Outcome, Reactor};

use super::record::State;
use super::{Inner, Subscriber};

/// The wait before a page is asked for again, doubled with each failure, and the longest one.
const PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3_600));
/// How often is looked whether a page is still followed.
const LOOK: Duration = Duration::from_secs(60);

impl Subscriber {
    /// Follows these pages from now on, and no others. A page or a hub that is away is asked again and again, with growing pauses; what
    /// the ledger has of other pages is left. A second call replaces the first.
    pub fn keep<S: Into<String>>(&self, pages: impl IntoIterator<Item = S>) {
        let pages: BTreeSet<String> = pages.into_iter().map(Into::into).collect();
        let inner = &self.0;
        inner.keepers.borrow_mut().drain(..).for_each(|keeper| keeper.abort());
        let mut keepers = Vec::new();
        for page in pages.clone() {
            let keeper = keep(inner.reactor.clone(), Rc::downgrade(inner), page);
            keepers.push(inner.reactor.spawn(keeper));
        }
        let weak = Rc::downgrade(inner);
        keepers.push(inner.reactor.spawn(async move {
            if let Some(inner) = weak.upgrade() {
                inner.leave_others(&pages).await;
            }
        }));
        *inner.keepers.borrow_mut() = keepers;
    }

    /// Ends everything that is followed; fires when the hubs have asked back, which some may never do.
    ///
    /// # Errors
    /// [`TimedOut`](ropewalk_reactor::failure::TimedOut): so long some have not. What they deliver all the same is answered 410.
    pub async fn leave_within(&self, limit: Duration) -> Outcome<()> {
        let (inner, reactor) = (Rc::clone(&self.0), self.0.reactor.clone());
        inner.keepers.borrow_mut().drain(..).for_each(|keeper| keeper.abort());
        let leaving = async move {
            inner.loaded.wait().await?;
            inner.leave_others(&BTreeSet::new()).await;
            while !inner.rows.borrow().is_empty() {
                inner.forgotten.wait().await?;
            }
            Ok(())
        };
        reactor.with_timeout(limit, leaving).await?
    }
}

async fn keep(reactor: Reactor, inner: Weak<Inner>, page: String) {
    let mut failures = 0_u32;
    loop {
        let Some(inner) = inner.upgrade() else { return };
        if inner.loaded.wait().await.is_err() || inner.broken.get() {
            return;
        }
        let mut wait = LOOK;
        if inner.is_followed(&page) {
            failures = 0;
        } else if let Err(failure) = inner.follow(&page, None).await {
            wait = (PAUSE.0 * (1 << failures.min(10))).min(PAUSE.1);
            failures += 1;
            tracing::warn!(page = %page, "a page is not followed yet, which is tried again in {wait:?}: {failure}");
        } else {
            failures = 0;
        }
        drop(inner);
        reactor.sleep(wait).await;
    }
}

impl Inner {
    /// Whether there is a subscription that is looked after: one that was refused is asked for anew by itself.
    fn is_followed(&self, page: &str) -> bool {
        let alive = |state: &State| matches!(state, State::Pending | State::Active | State::Denied(_));
        self.rows.borrow().values().any(|row| row.page == page && alive(&row.state))
    }

    async fn leave_others(&self, pages: &BTreeSet<String>) {
        if self.loaded.wait().await.is_err() {
            return;
        }
        let others = |state: &State| !matches!(state, State::Leaving);
        let rows: Vec<_> = self.rows.borrow().values().cloned().collect();
        for row in rows.into_iter().filter(|row| !pages.contains(&row.page) && others(&row.state)) {
            let (page, id, denied) =
                (row.page.clone(), row.id.clone(), matches!(row.state, State::Denied(_)));
            tracing::info!(page = %page, "a page is not followed any more");
            // A hub that refuses has nothing to end.
            let outcome = if denied { self.forget(&id).await } else { self.leave(row).await };
            if let Err(failure) = outcome {
                tracing::warn!(page = %page, "the hub does not hear that a page is not followed any more: {failure}");
            }
        }
    }
}
