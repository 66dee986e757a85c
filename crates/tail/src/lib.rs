//! Follows growing files and gives their lines, whatever the log rotation does to them.
//!
//! ```text
//!   Watch ──"file 3 may have changed"──► Follower::step ──bytes──► LineSplitter ──► Line
//!   (inotify, or a timer instead)        (reads what is there)     (standard input comes in here)
//! ```
//!
//! Nothing here waits, sleeps or knows the reactor: [`Watch`] has a descriptor to wait on, [`Follower`] reads what
//! a regular file has to offer now, [`LineSplitter`] is bytes in, lines out. The service that joins them with a
//! channel and its viewers stands above.
//!
//! ```no_run
//! use ropewalk_tail::{Follower, Progress, Start};
//!
//! let mut follower = Follower::open("/var/log/nginx/access.log", Start::LastLines(10))?;
//! while follower.step(64 * 1024, &mut |line| println!("{}", line.text))? == Progress::MoreNow {}
//! # Ok::<(), std::io::Error>(())
//! ```
#![forbid(unsafe_code)]

mod chain;
mod file;
mod follower;
mod input;
mod server;
mod split;
mod start;
mod watch;

pub use follower::{Follower, Progress, Statistics};
pub use server::{Tail, TailError, TailOptions};
pub use split::{LINE_BYTES_MAX, Line, LineSplitter};
pub use start::Start;
pub use watch::{Changes, Watch, WatchError};
