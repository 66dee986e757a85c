//! Applications: services that start in order and stop in reverse, and the life of a program around them.
//!
//! ```text
//!  main ─► command line ─► App: services ─► all bound ─► "listening on …" ─► the loop
//!                                                         signal ─► stop: listeners, streams, grace, workers
//! ```
//!
//! ```no_run
//! use std::process::ExitCode;
//! use ropewalk_web::Router;
//! fn main() -> ExitCode {
//!     ropewalk_app::main("hello", |app| app.serve("tcp:8080", || Router::new().get("/", |_| "Hello, World!")))
//! }
//! ```
#![forbid(unsafe_code)]

mod application;
mod clock;
mod listening;
pub mod log;
mod logfile;
pub mod metrics;
mod output;
mod program;
mod service;
mod tls;
mod workers;

pub use application::{AccessLog, App, Settings, launch};
pub use clock::Clock;
pub use logfile::{At, AtError, LogOptions, LogStatistics, LogWriter, Rotation};
pub use output::{LogPlace, LogSettings, log_to_stderr};
pub use program::{Options, main, parse};
pub use service::{Bound, Service, StartError};
