//! What can be measured; one file per kind under `scenario/`.
//!
//! A scenario starts its servers, measures them, and returns a section of the results. `suite` calls them in order.

mod durable;
mod ftp;
mod hub;
mod idle;
mod library;
mod lines;
mod pages;
mod push;
mod raw;
mod requests;
mod sse;
mod start;
mod ticker;
mod tls;

use std::io;

use clap::ValueEnum;

use crate::SuiteArgs;
use crate::report::Section;
use crate::servers::push::Face;
use crate::servers::{SERVERS, Server};

/// A scenario, as it is named on the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Scenario {
    /// Keep-alive connections, one request at a time: CPU time per request
    Hello,
    /// The same, no two requests alike
    Varied,
    /// Keep-alive connections, 16 requests in one write
    Pipelined,
    /// Each server that has an access log, with and without it
    Log,
    /// Hello in each way of a framework, JSON, a route among many: CPU time per request
    Ways,
    /// Files of three sizes, beside nginx: CPU time per request
    Files,
    /// Keep-alive connections over TLS: CPU time per request
    Tls,
    /// Connections that come, shake hands, ask once and go: CPU time per connection
    Handshakes,
    /// Memory per connection over TLS
    TlsIdle,
    /// Memory per connection that has done one request and is silent
    Idle,
    /// One line to every viewer of an event stream: CPU time per delivery
    Sse,
    /// One message to every subscriber of a channel, as an event stream: CPU time per delivery, deliveries a second, memory
    BroadcastSse,
    /// The same over WebSocket
    BroadcastWebsocket,
    /// A hundred channels, each with a hundredth of the viewers: CPU time per delivery and per publication
    Channels,
    /// Publications on disk, answered when they are safe: CPU time per event, events a second
    Durable,
    /// Bytes sent back, without a protocol: CPU time per round trip
    Echo,
    /// Bytes as fast as they go, without a protocol, to the server and from it: CPU time per MiB
    Stream,
    /// An HTTP client with its pool: CPU time per request
    Agent,
    /// Round trips through the thread pool, 64 at a time
    Pool,
    /// A million timers put in and cancelled: time and memory
    Timers,
    /// A deferred through ten callbacks, beside ten awaits: time and allocations
    Deferred,
    /// How late a timer is while every request queries SQLite in the pool
    Ticker,
    /// A large file by FTP in both directions, 300 logins at once, memory per silent session; beside vsftpd, proftpd, pyftpdlib
    Ftp,
    /// One update of a WebSub hub to 10,000 subscribers at one host and at 200, and with dead ones; beside Flask-WebSub
    Hub,
    /// Into the background and to an end, with 0 and 10,000 idle connections; beside nginx
    Start,
    /// How late a timer is while 100,000 lines a second are logged, and what a line costs
    LogLines,
}

impl Scenario {
    /// Whether `wrk` makes its load.
    pub(crate) fn needs_wrk(self) -> bool {
        matches!(
            self,
            Scenario::Hello
                | Scenario::Varied
                | Scenario::Pipelined
                | Scenario::Log
                | Scenario::Ticker
                | Scenario::Ways
                | Scenario::Files
                | Scenario::Tls
        )
    }

    /// Measures; `None` if no server takes part.
    pub(crate) fn run(self, arguments: &SuiteArgs) -> io::Result<Option<Section>> {
        match self {
            Scenario::Hello => requests::hello(arguments),
            Scenario::Varied => requests::varied(arguments),
            Scenario::Pipelined => requests::pipelined(arguments),
            Scenario::Log => requests::log(arguments),
            Scenario::Ways => pages::ways(arguments),
            Scenario::Files => pages::files(arguments),
            Scenario::Tls => tls::requests(arguments),
            Scenario::Handshakes => tls::handshakes(arguments),
            Scenario::TlsIdle => tls::idle(arguments),
            Scenario::Idle => idle::run(arguments),
            Scenario::Sse => sse::run(arguments),
            Scenario::BroadcastSse => push::broadcast(arguments, Face::Sse),
            Scenario::BroadcastWebsocket => push::broadcast(arguments, Face::WebSocket),
            Scenario::Channels => push::channels(arguments),
            Scenario::Durable => durable::run(arguments),
            Scenario::Echo => raw::echo(arguments),
            Scenario::Stream => raw::stream(arguments),
            Scenario::Agent => library::agent(arguments),
            Scenario::Pool => library::pool(arguments),
            Scenario::Timers => library::timers(arguments),
            Scenario::Deferred => library::deferred(arguments),
            Scenario::Ticker => ticker::run(arguments),
            Scenario::Ftp => ftp::run(arguments),
            Scenario::Hub => hub::run(arguments),
            Scenario::Start => start::run(arguments),
            Scenario::LogLines => lines::run(arguments),
        }
    }
}

/// The servers that take part: they can, and `--only` does not leave them out.
fn chosen(arguments: &SuiteArgs, can: impl Fn(&Server) -> bool) -> Vec<&'static Server> {
    let named =
        |server: &Server| arguments.only.is_empty() || arguments.only.iter().any(|name| name == server.name);
    SERVERS.iter().filter(|server| can(server) && named(server)).collect()
}

/// Says on standard error how far it is.
fn progress(what: &str) {
    eprintln!("  {what}");
}
