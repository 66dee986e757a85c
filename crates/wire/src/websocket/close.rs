//! Why a connection ends: close codes (RFC 6455 section 7.4), the payload of a Close frame, and what a peer did that ends it at
//! once. The decoder makes them; the floors above send and tell them.

use std::fmt;

use super::encode;

/// Close codes (RFC 6455 section 7.4.1 and the registry at IANA).
pub mod code {
    /// The purpose is fulfilled.
    pub const NORMAL: u16 = 1000;
    /// The server stops, or the page is left.
    pub const GOING_AWAY: u16 = 1001;
    /// The peer broke the protocol.
    pub const PROTOCOL: u16 = 1002;
    /// A kind of data that this side does not take.
    pub const UNSUPPORTED: u16 = 1003;
    /// Never sent: a Close frame had no code.
    pub const NONE: u16 = 1005;
    /// Never sent: the connection ended without a Close frame.
    pub const ABNORMAL: u16 = 1006;
    /// Data that is not what its kind says: text that is no UTF-8.
    pub const INVALID_DATA: u16 = 1007;
    /// Against the rules of the program.
    pub const POLICY: u16 = 1008;
    /// Larger than this side takes.
    pub const TOO_BIG: u16 = 1009;
    /// The client wanted an extension.
    pub const EXTENSION: u16 = 1010;
    /// The server failed.
    pub const INTERNAL: u16 = 1011;
    /// The server restarts: come again after a moment.
    pub const RESTART: u16 = 1012;
    /// The server has too much to do: come again later.
    pub const TRY_LATER: u16 = 1013;
}

/// Bytes that a reason may have: a control frame has 125, and two are the code's.
pub const REASON_BYTES_MAX: usize = encode::CONTROL_BYTES_MAX - 2;

/// What a Close frame says.
///
/// ```
/// use ropewalk_wire::websocket::{Close, Decoder, Event, Limits, Pool, Role, code};
/// let mut decoder = Decoder::new(Role::Client);
/// let event = decoder.next(&mut b"\x88\x05\x03\xe8bye".as_slice(), &Limits::default(), &mut Pool::default());
/// assert_eq!(event, Ok(Some(Event::Close(Close { code: code::NORMAL, reason: "bye".to_owned() }))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The code; [`code::NONE`] if there was none.
    pub code: u16,
    /// The reason, or nothing. At most [`REASON_BYTES_MAX`] bytes.
    pub reason: String,
}

/// Whether a code may stand in a Close frame: those that are defined, and those left to libraries and programs.
///
/// ```
/// use ropewalk_wire::websocket::is_sendable;
/// assert!(is_sendable(1000) && is_sendable(4999) && is_sendable(3000));
/// assert!(!is_sendable(1005) && !is_sendable(1006) && !is_sendable(1015) && !is_sendable(2999) && !is_sendable(999));
/// ```
#[must_use]
pub fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

impl Close {
    /// From a Close frame's payload (RFC 6455 section 5.5.1).
    pub(super) fn parse(payload: Vec<u8>) -> Result<Close, Violation> {
        match payload[..] {
            [] => Ok(Close { code: code::NONE, reason: String::new() }),
            [_] => Err(Violation::Protocol("a Close frame of one byte")),
            [high, low, ref reason @ ..] => {
                let code = u16::from_be_bytes([high, low]);
                if !is_sendable(code) {
                    return Err(Violation::Protocol("a close code that may not be sent"));
                }
                let reason = std::str::from_utf8(reason).map_err(|_| Violation::Text)?;
                Ok(Close { code, reason: reason.to_owned() })
            }
        }
    }
}

/// What a peer did that ends the connection: the Close frame that this side sends has [`Violation::code`], and nothing that
/// comes after is read.
///
/// ```
/// use ropewalk_wire::websocket::{Decoder, Limits, Pool, Role, Violation, code};
/// let mut decoder = Decoder::new(Role::Client);
/// let refused = decoder.next(&mut b"\x81\x01\xff".as_slice(), &Limits::default(), &mut Pool::default());
/// assert_eq!(refused, Err(Violation::Text));
/// assert_eq!(Violation::Text.code(), code::INVALID_DATA);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// It broke the protocol; the text says how.
    Protocol(&'static str),
    /// Text, or a close reason, that is no UTF-8.
    Text,
    /// A message that cannot be decompressed.
    Compression,
    /// More than the limits allow; the text says of what.
    TooBig(&'static str),
}

impl Violation {
    /// The code that the Close frame has.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Violation::Protocol(_) => code::PROTOCOL,
            Violation::Text | Violation::Compression => code::INVALID_DATA,
            Violation::TooBig(_) => code::TOO_BIG,
        }
    }

    /// Why, in words short enough for a Close frame.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Violation::Protocol(how) => how,
            Violation::Text => "text that is not UTF-8",
            Violation::Compression => "a message that cannot be decompressed",
            Violation::TooBig(what) => what,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Violation {}
