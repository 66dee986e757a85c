//! Codecs without I/O: bytes in, events out; events in, bytes out.
//!
//! ```text
//!   socket ──bytes──▶ http1::Head ──▶ framing ──▶ http1::BodyDecoder ──▶ Data, End
//!   socket ◀──bytes── http1::encode_* , sse::encode_* ◀── status, fields, body, events
//!   socket ──bytes──▶ multipart::Decoder ──▶ parts of a form
//!   socket ──bytes──▶ proxy_protocol::Decoder ──▶ whose connection it is; what follows is another protocol's
//!   socket ──bytes──▶ websocket::Decoder ──▶ Message, Ping, Close; websocket::Encoder and Prepared ──bytes──▶ socket
//! ```
//!
//! Nothing here opens a socket, reads a clock, starts a thread or writes a log; nothing panics on what a peer sends.
//! The floors above own the connection, its buffers and its deadlines, and call these codecs with slices.
//!
//! ```
//! use ropewalk_wire::http1::{Fed, Head, HeadLimits};
//!
//! let mut head = Head::new();
//! let fed = head.feed(b"GET /hello?to=you HTTP/1.1\r\nHost: example.org\r\n\r\n", &HeadLimits::default());
//! assert_eq!(fed, Ok(Fed::Complete { consumed: 49 }));
//! assert_eq!((head.method(), head.path(), head.query()), ("GET", "/hello", Some("to=you")));
//! assert_eq!(head.host(), Some("example.org"));
//! ```
#![forbid(unsafe_code)]

pub mod ftp;
pub mod http1;
pub mod multipart;
pub mod proxy_protocol;
pub mod sse;
pub mod websocket;
