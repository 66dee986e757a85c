//! The table of servers, one file each under `servers/`.
//!
//! To add one: write `servers/NAME.rs` with a `run`, and a line in `SERVERS`. It answers `GET /` as `canned` does, unless it stands
//! under `raw`; it listens with `Setup::listen`, or binds by itself and calls `announce`.

mod actix;
mod axum;
mod bare;
pub(crate) mod database;
mod hyper;
mod mio;
pub(crate) mod raw;
mod ropewalk;
mod sse_mio;
mod tokio;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use raw::Way;

/// What every request scenario is compared with.
pub(crate) const BASE: &str = "mio";

/// What the broadcast is compared with.
pub(crate) const BROADCAST_BASE: &str = "sse-mio";

/// What the connections without a protocol are compared with.
pub(crate) const RAW_BASE: &str = "raw-tokio";

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
    /// Whether it speaks no protocol at all, and does with bytes what it is told (`Setup::way`).
    pub(crate) raw: bool,
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
    /// What to do with bytes.
    pub(crate) way: Way,
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
    Server { name, what, hello: true, log: false, broadcast: None, database: false, raw: false, run }
}

const fn raw(name: &'static str, what: &'static str, run: fn(Setup) -> io::Result<()>) -> Server {
    Server { hello: false, raw: true, ..hello(name, what, run) }
}

/// Everybody, in the order of the results.
pub(crate) const SERVERS: [Server; 11] = [
    hello("mio", "a bare loop over mio, a ready-made answer", mio::run),
    hello("tokio", "a bare loop over tokio, one task per connection, the same answer", tokio::run),
    Server {
        log: true,
        broadcast: Some(Trigger::File),
        database: true,
        ..hello("ropewalk", "this project, with its router, limits and deadlines", ropewalk::run)
    },
    hello("hyper", "hyper 1, HTTP/1.1, pipeline_flush on", hyper::run),
    Server { database: true, ..hello("axum", "axum with its router", axum::run) },
    hello("actix", "actix-web with its router, one worker", actix::run),
    Server {
        hello: false,
        broadcast: Some(Trigger::Request),
        ..hello("sse-mio", "a bare loop that writes the same bytes to every viewer", sse_mio::run)
    },
    raw("raw-mio", "a bare loop over mio that echoes, takes or gives bytes", raw::mio::run),
    raw("raw-tokio", "the same as a tokio task per connection, with one buffer each", raw::tokio::run),
    raw("raw-ropewalk", "the same as a Protocol; it gives as a producer", raw::ropewalk::run),
    raw(
        "raw-stream",
        "the same as a task with a Stream per connection, with one buffer each",
        raw::ropewalk::run_streams,
    ),
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
        println!("{name:<12} {what}");
    }
}
