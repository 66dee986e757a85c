//! The PROXY protocol, versions 1 and 2: how a proxy that passes bytes on says whose bytes they are ("The PROXY protocol,
//! Versions 1 & 2", HAProxy's `proxy-protocol.txt`; section numbers below are that document's).
//!
//! It is not a judgement on who may say so: whose header is believed is decided by the caller, the net floor, which also
//! owns the deadline.
//!
//! ```text
//!   Decoder::feed ── NeedMore ─▶ read again (within a deadline)
//!        │ ╰──── Malformed ──▶ close
//!        ▼ Header { consumed, header }
//!   header.source() is the client; what the wrapped protocol says begins at `consumed`
//! ```
//!
//! ```
//! use ropewalk_wire::proxy_protocol::{Decoder, Fed, Versions};
//!
//! let mut decoder = Decoder::new(Versions::Any);
//! let fed = decoder.feed(b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / HTTP/1.1\r\n")?;
//! let Fed::Header { consumed, header } = fed else { unreachable!("the line is whole") };
//! assert_eq!(consumed, 47);
//! assert_eq!(header.source(), Some("192.168.0.1:56324".parse().unwrap()));
//! # Ok::<(), ropewalk_wire::proxy_protocol::Malformed>(())
//! ```

mod block;
mod crc32c;
mod decoder;
mod encode;
mod header;
mod line;
mod malformed;
mod text;
mod tlv;

pub use block::{BLOCK_BYTES_MAX, TLV_BYTES_MAX};
pub use crc32c::crc32c;
pub use decoder::{Decoder, Fed, Versions};
pub use encode::{Unfit, encode, encode_line, encode_tlv};
pub use header::{Addresses, Header, Kind, Version};
pub use line::LINE_BYTES_MAX;
pub use malformed::Malformed;
pub use tlv::{Ssl, SslTlv, SslTlvs, Tlv, Tlvs};
