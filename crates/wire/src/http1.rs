//! HTTP/1.0 and HTTP/1.1 as a server and a client speak them (RFC 9112, RFC 9110): heads and bodies decoded and encoded.
//!
//! It is strict: what two implementations could read in two ways is refused, because request smuggling lives there.
//! It is not a connection: keep-alive, pipelining, deadlines and `100 Continue` are decided by the caller, the web floor.
//!
//! The walk of a request:
//!
//! ```text
//!   Head::feed ── NeedMore ─▶ read again
//!        │ ╰──── Refusal ──▶ answer with Refusal::status, close
//!        ▼ Complete { consumed }
//!   Head::framing ─▶ Framing::check ─▶ BodyDecoder::decode ─▶ Data… End ─▶ the next head begins here
//! ```
//!
//! A client's way is the reverse: [`encode_request_line`] and fields out, [`ResponseDecoder`] in.
//!
//! An answer is written into the connection's output in the same order as it travels:
//!
//! ```
//! use ropewalk_wire::http1;
//!
//! let mut out = Vec::new();
//! http1::encode_status(&mut out, 200, None);
//! http1::encode_field(&mut out, "Content-Type", b"text/plain")?;
//! http1::encode_content_length(&mut out, 2);
//! http1::encode_end(&mut out);
//! out.extend_from_slice(b"hi");
//! assert_eq!(out, b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi");
//! # Ok::<(), http1::BadField>(())
//! ```

mod body;
mod body_encoder;
mod bytes;
mod encode;
mod facts;
mod fields;
mod head;
mod limits;
mod refusal;
mod request;
mod request_line;
mod response;
mod response_head;
mod status;
mod status_line;
mod target;
mod trailers;

pub(crate) use bytes::is_token as is_token_byte;

pub use body::{BodyDecoder, BodyEvent};
pub use body_encoder::{BadBody, BodyEncoder};
pub use encode::{
    BadField, Length, body_allowed, encode_chunk, encode_chunk_head, encode_chunked, encode_connection,
    encode_content_length, encode_content_type, encode_end, encode_field, encode_last_chunk, encode_length,
    encode_status, length_allowed,
};
pub use facts::Framing;
pub use fields::Fields;
pub use head::{Fed, Head};
pub use limits::{BodyLimits, HeadLimits};
pub use refusal::Refusal;
pub use request::{BadLine, RequestTarget, encode_request_line};
pub use request_line::Version;
pub use response::{ResponseDecoder, ResponseEvent, ResponseLimits, Truncated};
pub use response_head::ResponseHead;
pub use status::reason_phrase;
