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
use ropewalk_web::extract::{Json, Path, typed};
use ropewalk_web::handlers::{Call, RequestHandler, per_request};
use ropewalk_web::resource::{Render, Resource, Tree};
use ropewalk_web::{CombinedLog, Files, Outcome, Request, Router, Site};

use super::database::{INTERVAL, Queries, Ticks};
use super::{Page, Record, Setup, announce, routes};
use crate::canned;
use crate::library::pool::THREADS;

/// Answers hello, or streams the feed, until it is killed.
pub(super) fn run(setup: Setup) -> io::Result<()> {
    let reactor = Reactor::new()?;
    let (port, ip) = (setup.address.port(), setup.address.ip());
    let endpoint = match setup.tls.as_deref().map(std::path::Path::display) {
        Some(folder) => {
            format!("ssl:{port}:privateKey={folder}/key.pem:certKey={folder}/cert.pem:interface={ip}")
        }
        None => format!("tcp:{port}:interface={ip}"),
    };
    let endpoint: ServerEndpoint = endpoint.parse().map_err(io::Error::other)?;
    let mut site = match (&setup.feed, setup.database) {
        (_, Some(path)) => Site::new(database(&reactor, path)),
        (Some(feed), None) => {
            let options = TailOptions { sources: vec![feed.clone()], ..TailOptions::default() };
            Site::new(Tail::start(&reactor, options).map_err(io::Error::other)?.handler())
        }
        (None, None) => match &setup.folder {
            Some(folder) => Site::new(Files::new(folder)?),
            None => Site::new(page(setup.page)),
        },
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

/// Hello in each of the ways, JSON, and many routes.
fn page(page: Page) -> Router {
    match page {
        Page::Hello => Router::new().get("/", |_| canned::BODY),
        Page::Resource => Router::new().mount("/", Tree::new().put_child("", Hello)),
        Page::Handler => Router::new().any("/", per_request(|| Hello)),
        Page::Typed => {
            Router::new().get("/hello/{name}", typed(|Path(name): Path<String>| format!("Hello, {name}!")))
        }
        Page::Json => Router::new().get("/json", |_| Json(Record::new())),
        Page::Routes => routes().fold(Router::new(), |router, route| {
            router.get(&route, |request: Request| request.param("name9").unwrap_or_default())
        }),
    }
}

struct Hello;

impl Resource for Hello {
    async fn render_get(&self, _: Request) -> impl Render {
        canned::BODY
    }
}

impl RequestHandler for Hello {
    async fn get(&mut self, call: &mut Call) -> Outcome<()> {
        call.write(canned::BODY);
        Ok(())
    }
}
