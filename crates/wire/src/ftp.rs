//! FTP's language without its sockets (RFC 959 and what followed): what a command line is, how replies, addresses, times and
//! listings are written, and what becomes of a text on its way. It keeps no session; `crates/ftp` does, and calls it.
//!
//! ```text
//!   control bytes ─► CommandDecoder (Telnet, lines) ─► Command (verb, argument)        Reply ─► control bytes
//!   file bytes    ─► AsciiEncoder ─► data bytes ─► AsciiDecoder ─► file bytes           Facts ─► LIST and MLSD lines
//! ```
//!
//! ```
//! use ropewalk_wire::ftp::{Command, CommandDecoder, Input, Reply, Verb};
//! let mut decoder = CommandDecoder::new(512);
//! let (taken, input) = decoder.decode(b"RETR two words.txt\r\nNOOP");
//! let Some(Input::Line(line)) = input else { unreachable!() };
//! let command = Command::parse(&line);
//! assert_eq!((taken, command.verb, command.argument), (20, Some(Verb::Retr), &b"two words.txt"[..]));
//!
//! let mut out = Vec::new();
//! Reply::new(226, "That is all of it").encode(&mut out);
//! assert_eq!(out, b"226 That is all of it\r\n");
//! ```

mod address;
mod ascii;
mod command;
mod decoder;
mod listing;
mod reply;
mod time;

pub use address::{AddressError, extended_passive, parse_eprt, parse_port, passive};
pub use ascii::{AsciiDecoder, AsciiEncoder};
pub use command::{Command, Verb};
pub use decoder::{CommandDecoder, Input};
pub use listing::{FactSet, Facts, Kind, list_line, machine_line};
pub use reply::{Reply, quote_path};
pub use time::{calendar, format_time, parse_time};
