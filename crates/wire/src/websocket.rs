//! WebSocket (RFC 6455) and its compression (RFC 7692), both sides: bytes in, messages out, and the other way.
//!
//! ```text
//!  handshake:  Asked::read, accept_key, accept_deflate      (server)      Offered::check, offer_deflate   (client)
//!  socket ──bytes──▶ Decoder ──▶ Message, Ping, Pong, Close │ Violation
//!  socket ◀──bytes── Encoder::message, encode_close, …      ◀── Prepared: encoded once for many
//! ```
//! Nothing here knows a connection, a clock or randomness: keys of masks are handed in, and when a Ping is due is decided above.

mod close;
mod decoder;
mod deflate;
mod encode;
mod extension;
mod frame;
mod handshake;
mod limits;
mod mask;
mod message;

pub use close::{Close, REASON_BYTES_MAX, Violation, code, is_sendable};
pub use decoder::{Decoder, Delivery, Event};
pub use deflate::{Direction, Pool};
pub use encode::{
    CONTROL_BYTES_MAX, Encoder, PACK_BYTES_MIN, Prepared, encode_close, encode_frame, encode_head,
};
pub use extension::{Deflate, DeflateOptions, Extension, accept_deflate, offer_deflate, parse_extensions};
pub use frame::{Opcode, Role};
pub use handshake::{Accepted, Asked, Offered, Unfit, VERSION, accept_key, key};
pub use limits::Limits;
pub use mask::apply_mask;
pub use message::Message;
