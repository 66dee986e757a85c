//! A crawl that is polite: pages lead to pages, and a semaphore lets no more than three fetches run at once.
//!
//! Run it with `cargo run --example crawl`. It walks a site of 40 pages in memory, each of which takes a while, and ends with
//! ```text
//! 40 pages, at most 3 at once
//! ```
#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use ropewalk::reactor::Scope;
use ropewalk::reactor::sync::DeferredSemaphore;
use ropewalk::{Deferred, Outcome, Reactor, react};

const PAGES: u32 = 40;
const AT_ONCE: usize = 3;

/// What a crawl has seen so far.
pub struct Crawl {
    reactor: Reactor,
    slots: DeferredSemaphore,
    scope: Scope,
    seen: RefCell<BTreeSet<u32>>,
    running: Cell<usize>,
    /// How many fetches ran at once, at the most.
    pub most: Cell<usize>,
}

impl Crawl {
    /// A crawl that has not begun.
    pub fn new(reactor: &Reactor) -> Rc<Crawl> {
        Rc::new(Crawl {
            reactor: reactor.clone(),
            slots: DeferredSemaphore::new(reactor, AT_ONCE),
            scope: Scope::new(reactor),
            seen: RefCell::default(),
            running: Cell::new(0),
            most: Cell::new(0),
        })
    }

    /// Fetches a page and answers with the pages it links to: in place of an HTTP client, a timer.
    fn fetch(self: &Rc<Self>, page: u32) -> Deferred<Vec<u32>> {
        self.running.set(self.running.get() + 1);
        self.most.set(self.most.get().max(self.running.get()));
        let crawl = Rc::clone(self);
        self.reactor.defer_later(Duration::from_millis(u64::from(page % 7) + 1), move || {
            crawl.running.set(crawl.running.get() - 1);
            [page * 2, page * 2 + 1].into_iter().filter(|link| *link <= PAGES).collect::<Vec<u32>>()
        })
    }

    /// Visits a page that was not seen before, and all that it leads to. Each page is a task of the scope.
    pub fn visit(self: &Rc<Self>, page: u32) {
        if !self.seen.borrow_mut().insert(page) {
            return;
        }
        let crawl = Rc::clone(self);
        self.scope.run(async move {
            let fetching = Rc::clone(&crawl);
            let links: Vec<u32> = crawl.slots.run(move || fetching.fetch(page)).await?;
            links.into_iter().for_each(|link| crawl.visit(link));
            Ok(())
        });
    }

    /// Waits for the end, and answers how many pages there were.
    pub async fn finish(self: Rc<Self>) -> Outcome<usize> {
        self.scope.finished().await?;
        Ok(self.seen.borrow().len())
    }
}

fn main() -> Outcome<()> {
    react(|reactor| async move {
        let crawl = Crawl::new(&reactor);
        crawl.visit(1);
        let pages = Rc::clone(&crawl).finish().await?;
        println!("{pages} pages, at most {} at once", crawl.most.get());
        Ok(())
    })
}
