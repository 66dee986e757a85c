//! Applications: services that start in order and stop in reverse, and the life of a program around them.
//!
//! ```text
//!  main ─► command line ─► App: services ─► all bound ─► no root any more ─► state ─► started ─► "listening on …" ─► the loop
//!                                                          signal, or a word ─► stop: listeners, streams, grace, workers, state
//! ```
//!
//! ```no_run
//! use std::process::ExitCode;
//! use ropewalk_web::Router;
//! fn main() -> ExitCode {
//!     ropewalk_app::main("hello", |app| app.serve("tcp:8080", || Router::new().get("/", |_| "Hello, World!")))
//! }
//! ```
//!
//! # The run directory
//! `--rundir DIR` is where a program is found: `start`, `stop`, `restart`, `status`, `reload`, `upgrade`, `save` and `drain` meet the one that
//! runs there; unless said, it is the folder one stands in. `NAME.pid` is locked for as long as the program runs, so that one that a killed
//! process has left behind is recognised. `NAME.sock` is the control socket: a line of JSON asks (`{"command":"status"}`), lines of JSON answer
//! (`{"progress":TEXT}`, then `{"ok":VALUE}` or `{"error":TEXT}`), and only the program's own user and root are heard. `NAME.log` has what a
//! program in the background prints. HUP reloads, USR2 upgrades, TERM and INT stop.
//!
//! # State
//! `NAME.state` has the values that services have declared ([`App::state`]): one header line, `ROPEWALK-STATE 1 LENGTH CHECKSUM`, with the
//! version of the form, the length of what follows in bytes and its CRC-32 in hexadecimal; then JSON:
//! `{"program":NAME,"values":{NAME:{"version":N,"value":…}}}`. It is written beside its place, synced, and put there in one step. A file that
//! is torn, damaged, newer, or another program's is refused and left alone. `NAME.state.clean` is that of the last clean stop;
//! `NAME.state.before` what was there when `--state FILE` said to begin with another one.
//!
//! # Upgrades
//! `upgrade` starts the program as it is on disk now, and hands it the listening sockets and those connections whose protocol can be frozen
//! ([`Protocol::freeze`](ropewalk_net::Protocol::freeze), [`Factory::thaw`](ropewalk_net::Factory::thaw)); others come to their end in the old
//! process. Whoever connects meanwhile waits in the system's queue. Until the new process is ready nothing is given up: if it fails, the old
//! one serves on. Connections of a web site travel between two requests, and so do streams and long polls of channels; requests that are being
//! answered come to their end first. A [`Store`] is closed before the next process opens it, and may hand on what it has in memory only.
//!
//! # What is printed
//! Once a program that `start` has put into the background is ready, each line that any part of it prints, or a child of it, becomes an event:
//! `info` in the namespace `stdout`, `error` in `stderr`. So a `println!` and the message of a panic are in the program's log, which may
//! rotate. Without a log (`--log none`) they stay where they were printed, `NAME.log` of the run directory. The last words of a process that
//! is aborted may be lost: who reads them ends with it.
#![forbid(unsafe_code)]

mod activity;
mod application;
mod clock;
mod config;
mod life;
mod listening;
pub mod log;
mod logfile;
pub mod metrics;
mod output;
mod program;
mod runner;
mod service;
mod services;
mod settings;
mod state;
mod tls;
mod tree;
mod workers;

pub use activity::Activity;
pub use application::{App, Neighbour, OpenChannels, OpenDatabase, Place, Ready, Store};
pub use clock::Clock;
pub use config::{ConfigError, Configuration, Kind, Mistake, Planned, example};
pub use life::launch;
pub use listening::Tenant;
pub use logfile::{At, AtError, LogOptions, LogStatistics, LogWriter, Rotation};
pub use output::{LogPlace, LogSettings, log_to_stderr};
pub use program::{Options, main, main_with, matches, parse};
pub use runner::{Call, Handover, Nothing, Privileges, Verb, drive, drive_configured, refuse};
pub use service::{Bound, Ground, Service, StartError};
pub use services::{ClientKeeper, TimerService};
pub use settings::{AccessLog, Listen, Settings};
pub use state::{Persist, State};
pub use tree::{Restart, Standing};
