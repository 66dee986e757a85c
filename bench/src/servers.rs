//! The table of servers, one file each under `servers/`.
//!
//! To add one: write `servers/NAME.rs` with a `run`, and a line in `SERVERS`. It answers `GET /` as `canned` does; it listens with
//! `Setup::listen`, or binds by itself and calls `announce`.

mod actix;
mod axum;
mod bare;
pub(crate) mod database;
mod hyper;
mod mio;
mod ropewalk;
mod sse_mio;
mod tokio;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

/// What every request scenario is compared with.
pub(crate) const BASE: &str = "mio";

/// What the broadcast is compared with.
pub(crate) const BROADCAST_BASE: &str = "sse-mio";

/// A server prints this and its address once it is bound.
pub(crate) const LISTENING: &str = "listening on ";

/// A server that can be measured.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Whether it answers hello.
    pub(crate) hello: bool,
    /// Whether it can write an access log (`Setup::access_log`); then `log` compares it with itself.
    pub(crate) log: bool,
    /// Whether it broadcasts to the viewers of `GET /events`, and what makes it.
    pub(crate) broadcast: Option<Trigger>,
    /// Whether it answers from a database (`Setup::database`) and knows how late its loop was.
    pub(crate) database: bool,
    pub(crate) run: fn(Setup) -> io::Result<()>,
}

/// What makes a server send the next line to all its viewers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trigger {
    /// A request: `GET /tick`.
    Request,
    /// A line appended to the file it follows (`Setup::feed`).
    File,
}

/// What a server is told.
pub(crate) struct Setup {
    pub(crate) address: SocketAddr,
    /// Write an access log there.
    pub(crate) access_log: Option<PathBuf>,
    /// Follow this file and broadcast its lines.
    pub(crate) feed: Option<PathBuf>,
    /// Answer from this SQLite database.
    pub(crate) database: Option<PathBuf>,
}

impl Setup {
    /// Binds, announces, and leaves the socket ready for a loop.
    pub(crate) fn listen(&self) -> io::Result<TcpListener> {
        let listener = TcpListener::bind(self.address)?;
        listener.set_nonblocking(true)?;
        announce(listener.local_addr()?)?;
        Ok(listener)
    }
}

/// Tells whoever started this where to connect.
pub(crate) fn announce(address: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{LISTENING}{address}")?;
    out.flush()
}

const fn hello(name: &'static str, what: &'static str, run: fn(Setup) -> io::Result<()>) -> Server {
    Server { name, what, hello: true, log: false, broadcast: None, database: false, run }
}

/// Everybody, in the order of the results.
pub(crate) const SERVERS: [Server; 7] = [
    hello("mio", "a bare loop over mio, a ready-made answer", mio::run),
    hello("tokio", "a bare loop over tokio, one task per connection, the same answer", tokio::run),
    Server {
        name: "ropewalk",
        what: "this project, with its router, limits and deadlines",
        hello: true,
        log: true,
        broadcast: Some(Trigger::File),
        database: true,
        run: ropewalk::run,
    },
    hello("hyper", "hyper 1, HTTP/1.1, pipeline_flush on", hyper::run),
    Server {
        name: "axum",
        what: "axum with its router",
        hello: true,
        log: false,
        broadcast: None,
        database: true,
        run: axum::run,
    },
    hello("actix", "actix-web with its router, one worker", actix::run),
    Server {
        name: "sse-mio",
        what: "a bare loop that writes the same bytes to every viewer",
        hello: false,
        log: false,
        broadcast: Some(Trigger::Request),
        database: false,
        run: sse_mio::run,
    },
];

/// The one of this name, or an error that names them all.
pub(crate) fn named(name: &str) -> io::Result<&'static Server> {
    SERVERS.iter().find(|server| server.name == name).ok_or_else(|| {
        let known: Vec<&str> = SERVERS.iter().map(|server| server.name).collect();
        let what = format!("there is no server `{name}`; there are {}", known.join(", "));
        io::Error::new(io::ErrorKind::InvalidInput, what)
    })
}

/// Prints the table.
pub(crate) fn list() {
    for Server { name, what, .. } in &SERVERS {
        println!("{name:<10} {what}");
    }
}
