//! This project's own server, as a user writes it: a router, all limits and deadlines, Date and Server on; with an access log, or
//! with the log-tail server, or with a database in the pool, when asked.

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use ropewalk_app::LogWriter;
use ropewalk_net::{Address, ServerEndpoint, listen};
use ropewalk_reactor::{LoopingCall, Reactor};
use ropewalk_tail::{Tail, TailOptions};
use ropewalk_web::{CombinedLog, Request, Router, Site};

use super::database::{INTERVAL, Queries, Ticks};
use super::{Setup, announce};
use crate::library::pool::THREADS;

/// Answers hello, or streams the feed, until it is killed.
pub(super) fn run(setup: Setup) -> io::Result<()> {
    let reactor = Reactor::new()?;
    let endpoint = format!("tcp:{}:interface={}", setup.address.port(), setup.address.ip());
    let endpoint: ServerEndpoint = endpoint.parse().map_err(io::Error::other)?;
    let mut site = match (&setup.feed, setup.database) {
        (_, Some(path)) => Site::new(database(&reactor, path)),
        (Some(feed), None) => {
            let options = TailOptions { sources: vec![feed.clone()], ..TailOptions::default() };
            Site::new(Tail::start(&reactor, options).map_err(io::Error::other)?.handler())
        }
        (None, None) => Site::new(Router::new().get("/", |_| "Hello, World!")),
    };
    if let Some(path) = &setup.access_log {
        let log = LogWriter::file(path)?;
        site = site.observe(Rc::new(CombinedLog::new(move |line: &[u8]| log.write(line))));
    }
    let port = listen(&reactor, &endpoint, site)?;
    if let Address::Inet(address) = port.address() {
        announce(*address)?;
    }
    reactor.run()
}

/// A query in the pool for every request, and a ticker on the loop meanwhile.
fn database(reactor: &Reactor, path: PathBuf) -> Router {
    reactor.suggest_thread_pool_size(THREADS);
    let ticks = Rc::new(RefCell::new(Ticks::begin()));
    let ticker = LoopingCall::new(reactor, {
        let ticks = Rc::clone(&ticks);
        move |since_last| ticks.borrow_mut().tick(since_last)
    });
    ticker.start(INTERVAL, false);
    let queries = Queries::new(path);
    Router::new()
        .get("/", move |request: Request| request.reactor().defer_to_thread(queries.next()))
        .get("/late", move |_| ticks.borrow_mut().take())
}
