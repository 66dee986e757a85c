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
mod nginx;
pub(crate) mod push;
pub(crate) mod raw;
mod ropewalk;
mod sse_mio;
mod tls;
mod tokio;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use clap::ValueEnum;
use push::Pushes;
use raw::Way;

/// What every request scenario is compared with.
pub(crate) const BASE: &str = "mio";

/// What TLS is compared with.
pub(crate) const TLS_BASE: &str = "tls-tokio";

/// What files are compared with.
pub(crate) const FILES_BASE: &str = "nginx";

/// What the broadcast is compared with.
pub(crate) const BROADCAST_BASE: &str = "sse-mio";

/// What push is compared with.
pub(crate) const PUSH_BASE: &str = "push-mio";

/// This project among them.
pub(crate) const PUSH_OWN: &str = "push-ropewalk";

/// The peer that push is to outdo.
pub(crate) const PUSH_PEER: &str = "nchan";

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
    /// What it can serve instead of its plain hello.
    pub(crate) pages: &'static [Page],
    /// Whether it serves a folder (`Setup::folder`).
    pub(crate) files: bool,
    /// Whether it speaks TLS (`Setup::tls`).
    pub(crate) tls: bool,
    /// Whether it serves channels, and what it can besides.
    pub(crate) push: Option<Pushes>,
    /// Whether it speaks no protocol at all, and does with bytes what it is told (`Setup::way`).
    pub(crate) raw: bool,
    pub(crate) run: fn(Setup) -> io::Result<()>,
}

/// What a framework serves, and in which of its ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum Page {
    /// Hello, from a function on a router
    #[default]
    Hello,
    /// Hello, from a tree of resources
    Resource,
    /// Hello, from an object made for each request
    Handler,
    /// Hello, from a function whose argument is taken out of the path by its type
    Typed,
    /// A record as JSON
    Json,
    /// A route with ten parameters among two hundred
    Routes,
}

/// Routes of `Page::Routes`.
pub(crate) const ROUTES: usize = 200;

/// Parameters of each.
pub(crate) const PARAMETERS: usize = 10;

impl Page {
    /// What is asked for.
    pub(crate) fn path(self) -> String {
        match self {
            Page::Typed => "/hello/World".to_owned(),
            Page::Json => "/json".to_owned(),
            Page::Routes => {
                let values: String = (0..PARAMETERS).map(|number| format!("/value{number}")).collect();
                format!("/route{}{values}", ROUTES / 2)
            }
            Page::Hello | Page::Resource | Page::Handler => "/".to_owned(),
        }
    }
}

/// Each route of `Page::Routes`: all of them are alike but for their beginning.
pub(crate) fn routes() -> impl Iterator<Item = String> {
    let names: String = (0..PARAMETERS).map(|number| format!("/{{name{number}}}")).collect();
    (0..ROUTES).map(move |number| format!("/route{number}{names}"))
}

/// What is served as JSON.
#[derive(serde::Serialize)]
pub(crate) struct Record {
    id: u64,
    title: &'static str,
    tags: [&'static str; 3],
    done: bool,
}

impl Record {
    pub(crate) const fn new() -> Record {
        Record { id: 7, title: "walk the rope", tags: ["rope", "walk", "sea"], done: false }
    }
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
    /// What to serve.
    pub(crate) page: Page,
    /// Serve this folder.
    pub(crate) folder: Option<PathBuf>,
    /// Speak TLS, with `cert.pem` and `key.pem` of this folder.
    pub(crate) tls: Option<PathBuf>,
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
    Server {
        name,
        what,
        hello: true,
        log: false,
        broadcast: None,
        database: false,
        pages: &[],
        files: false,
        tls: false,
        push: None,
        raw: false,
        run,
    }
}

const fn raw(name: &'static str, what: &'static str, run: fn(Setup) -> io::Result<()>) -> Server {
    Server { hello: false, raw: true, ..hello(name, what, run) }
}

const fn pushing(name: &'static str, what: &'static str, run: fn(Setup) -> io::Result<()>) -> Server {
    Server { hello: false, push: Some(PUSHES), ..hello(name, what, run) }
}

const PUSHES: Pushes = Pushes { channels: true, durable: false, missing: || None };

/// Everybody, in the order of the results.
pub(crate) const SERVERS: [Server; 17] = [
    hello("mio", "a bare loop over mio, a ready-made answer", mio::run),
    hello("tokio", "a bare loop over tokio, one task per connection, the same answer", tokio::run),
    Server {
        log: true,
        broadcast: Some(Trigger::File),
        database: true,
        pages: &[Page::Hello, Page::Resource, Page::Handler, Page::Typed, Page::Json, Page::Routes],
        files: true,
        tls: true,
        ..hello("ropewalk", "this project, with its router, limits and deadlines", ropewalk::run)
    },
    Server { pages: &[Page::Hello], ..hello("hyper", "hyper 1, HTTP/1.1, pipeline_flush on", hyper::run) },
    Server {
        database: true,
        pages: &[Page::Hello, Page::Typed, Page::Json, Page::Routes],
        files: true,
        ..hello("axum", "axum with its router; files by tower-http", axum::run)
    },
    Server {
        pages: &[Page::Hello, Page::Typed, Page::Json, Page::Routes],
        ..hello("actix", "actix-web with its router, one worker", actix::run)
    },
    Server {
        hello: false,
        tls: true,
        ..hello("tls-tokio", "a bare loop over tokio-rustls, the ready-made answer", tls::run)
    },
    Server {
        hello: false,
        files: true,
        tls: true,
        ..hello("nginx", "nginx, one process, sendfile, open files kept", nginx::run)
    },
    Server {
        hello: false,
        broadcast: Some(Trigger::Request),
        ..hello("sse-mio", "a bare loop that writes the same bytes to every viewer", sse_mio::run)
    },
    Server {
        push: Some(Pushes { channels: false, ..PUSHES }),
        ..pushing(PUSH_BASE, "a bare loop that writes what is posted to every subscriber", push::mio::run)
    },
    Server {
        push: Some(Pushes { durable: true, ..PUSHES }),
        ..pushing(PUSH_OWN, "this project's channels, in memory, or on disk in a folder", push::ropewalk::run)
    },
    Server {
        push: Some(Pushes { missing: push::nchan::missing, ..PUSHES }),
        ..pushing(PUSH_PEER, "Nchan in nginx, one process", push::nchan::run)
    },
    Server {
        push: Some(Pushes { missing: push::tornado::missing, ..PUSHES }),
        ..pushing("tornado", "Tornado, one process, a set of handlers per channel", push::tornado::run)
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
        println!("{name:<13} {what}");
    }
}
