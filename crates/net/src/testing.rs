//! For tests of protocols, and of what listens, connects and waits: no sockets, no sleeping, no real time.
//!
//! ```text
//!   one protocol                  two protocols                 code that listens, connects, waits
//!   Wire ── feed, written         Pair ── client, server        Bench ── callers, log, pending, assert_clean
//!     └────────────────────────────┴── stand on ─────────────────┘
//!                                      └── on a Simulation: the reactor, a virtual clock, a network in memory
//! ```
//!
//! A protocol is given a real [`Transport`](crate::Transport): what is tested is what will run. A test holds the other end.
//! Nothing happens but in a call of one of these types; then all happens that can happen without time passing, and time
//! passes in `advance` alone.
//!
//! ```
//! use ropewalk_net::testing::{Wire, split_everywhere};
//! use ropewalk_net::{LineHandler, LineReceiver, LineTransport};
//!
//! struct Shout;
//! impl LineHandler for Shout {
//!     fn line_received(&mut self, transport: &LineTransport<'_>, line: &[u8]) {
//!         transport.send_line(&line.to_ascii_uppercase());
//!     }
//! }
//!
//! let answers = split_everywhere(b"hello\r\nworld\r\n", |pieces| {
//!     let wire = Wire::new(LineReceiver::new(Shout));
//!     wire.feed_each(pieces);
//!     wire.take_written()
//! });
//! assert_eq!(answers, b"HELLO\r\nWORLD\r\n");
//! ```
//!
//! For the outcomes of deferreds there are [`success_of`], [`failure_of`] and [`assert_no_result`]. A panic of a protocol is
//! a panic of the test. The module is for tests: it panics where something is not as it should be, and says what was there.

mod bench;
mod chunking;
mod errors;
mod outcome;
mod pair;
mod tap;
mod wire;

pub use bench::{Bench, assert_clean};
pub use chunking::{Chunking, split_everywhere};
pub use outcome::{assert_no_result, failure_of, success_of};
pub use pair::{Pair, couple};
pub use tap::Side;
pub use wire::Wire;
