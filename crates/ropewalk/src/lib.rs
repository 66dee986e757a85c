//! Ropewalk serves connections that stay open: a reactor, protocols, HTTP, push, and the life of a program around them.
//!
//! ```text
//!  app ── services, runner, signals
//!  web ── HTTP server, router, files, push endpoints          tail ── growing files     ftp ── an FTP server
//!  net ── protocols, transports, endpoints, streams           channel ── one history behind every viewer
//!  reactor ── the loop, timers, tasks, threads, deferreds     wire ── codecs without I/O
//! ```
//!
//! ```no_run
//! use std::process::ExitCode;
//! use ropewalk::web::{Request, Router};
//!
//! fn build_report() -> String {
//!     "slow work, done on the thread pool".to_owned()
//! }
//!
//! fn main() -> ExitCode {
//!     ropewalk::main("hello", |app| {
//!         app.serve("tcp:8080", || {
//!             Router::new()
//!                 .get("/", |_| "Hello, World!")
//!                 .get("/report", |request: Request| async move {
//!                     request.reactor().defer_to_thread(build_report).await
//!                 })
//!         })
//!     })
//! }
//! ```
//!
//! Each floor is a module here and a crate of its own; imports point down only.
#![forbid(unsafe_code)]

pub use ropewalk_app as app;
pub use ropewalk_channel as channel;
pub use ropewalk_ftp as ftp;
pub use ropewalk_hub as hub;
pub use ropewalk_net as net;
pub use ropewalk_net::testing;
pub use ropewalk_reactor as reactor;
pub use ropewalk_store as store;
pub use ropewalk_tail as tail;
pub use ropewalk_web as web;
pub use ropewalk_wire as wire;

pub use ropewalk_app::{App, Service, Settings, StartError, launch, main, main_with};
pub use ropewalk_net::{
    Address, ClientPolicy, ClientService, Factory, LineReceiver, Lost, Protocol, Stream, Transport, connect,
    listen,
};
pub use ropewalk_reactor::{
    Deferred, Failure, LoopingCall, Outcome, Reactor, Remote, Scope, Simulation, react,
};
