//! An FTP server that one may leave running: RFC 959 and what followed, over the transports of `net`.
//!
//! ```text
//!   control connection ─► Session ── lines ──► command/*.rs ── in the thread pool ──► Storage, Accounts
//!      (a Protocol)          ▲                      │
//!                            └────── replies ───────┤
//!   data connection ◄──────────── data/*.rs ◄───────┘   passive or active, plain or TLS
//! ```
//! An idle session is a protocol and some words of state. A command that has to wait for a disk or a data connection makes a task, a
//! *flight*, which works off what waits and ends. ABOR drops it, at whatever it waits for; what it holds cleans up behind itself.
//!
//! ```
//! use std::sync::Arc;
//! use ropewalk_ftp::{Anonymous, FtpOptions, FtpServer, MemoryStorage};
//! use ropewalk_net::listen;
//! use ropewalk_reactor::Simulation;
//!
//! let simulation = Simulation::new(1);
//! let storage = MemoryStorage::new(1 << 20);
//! storage.put("/readme.txt", b"welcome")?;
//! let server = FtpServer::new(Anonymous::new(Arc::new(storage)), FtpOptions::default());
//! let port = listen(simulation.reactor(), &"tcp:2121:interface=127.0.0.1".parse()?, server)?;
//! # let ropewalk_net::Address::Inet(address) = *port.address() else { unreachable!() };
//! let peer = simulation.network().connect(address);
//! peer.write(b"");
//! simulation.advance(std::time::Duration::from_millis(10));
//! peer.write(b"USER anonymous\r\nPASS me@\r\nSIZE readme.txt\r\nTYPE I\r\nSIZE readme.txt\r\n");
//! simulation.advance(std::time::Duration::from_secs(1));
//! assert!(peer.text().ends_with("230 Logged in\r\n550 SIZE is known in type I only\r\n200 Type is I\r\n213 7\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod accounts;
mod command;
mod data;
mod observe;
mod options;
mod path;
mod server;
mod session;
mod sessions;
mod shelf;
mod statistics;
mod storage;
mod transfers;

pub use accounts::{
    Accounts, Anonymous, Attempt, Bandwidth, PasswordError, PasswordFile, Permissions, Record, User,
};
pub use observe::{Answered, CommonLog, Observer, Transferred, Xferlog};
pub use options::{FtpLimits, FtpOptions};
pub use path::{FtpPath, PathError};
pub use ropewalk_wire::ftp::{Facts, Kind};
pub use server::FtpServer;
pub use sessions::{RunningSession, Sessions};
pub use statistics::FtpStatistics;
pub use storage::{Change, Listing, LocalStorage, MemoryStorage, ReadSeek, Source, Storage, Upload, Writing};
pub use transfers::{Direction, RunningTransfer, Transfers};
