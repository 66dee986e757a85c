//! This project's own server, as a user writes it: a router, all limits and deadlines, Date and Server on; with an access log, or
//! with the log-tail server, when asked.

use std::io;
use std::rc::Rc;

use ropewalk_app::LogWriter;
use ropewalk_net::{Address, ServerEndpoint, listen};
use ropewalk_reactor::Reactor;
use ropewalk_tail::{Tail, TailOptions};
use ropewalk_web::{CombinedLog, Router, Site};

use super::{Setup, announce};

/// Answers hello, or streams the feed, until it is killed.
pub(super) fn run(setup: Setup) -> io::Result<()> {
    let reactor = Reactor::new()?;
    let endpoint = format!("tcp:{}:interface={}", setup.address.port(), setup.address.ip());
    let endpoint: ServerEndpoint = endpoint.parse().map_err(io::Error::other)?;
    let mut site = match &setup.feed {
        Some(feed) => {
            let options = TailOptions { sources: vec![feed.clone()], ..TailOptions::default() };
            Site::new(Tail::start(&reactor, options).map_err(io::Error::other)?.handler())
        }
        None => Site::new(Router::new().get("/", |_| "Hello, World!")),
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
