//! The head of a frame (RFC 6455 section 5.2), read and checked byte by byte, so that what cannot be is refused as soon as it is seen.
//! Payloads are the decoder's.
//!
//! ```text
//!  FIN RSV1 RSV2 RSV3 opcode(4) | MASK length(7) | length 16 or 64 | key 32 | payload
//! ```

use super::close::Violation;
use super::encode::CONTROL_BYTES_MAX;

/// Bytes of the longest head.
pub(super) const HEAD_BYTES_MAX: usize = 14;

pub(super) const FIN: u8 = 0x80;
pub(super) const RSV1: u8 = 0x40;
const RSV2_3: u8 = 0x30;
pub(super) const MASKED: u8 = 0x80;

/// Which side one is: a client masks, a server does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes masked frames and sends others.
    Server,
    /// The other way about.
    Client,
}

/// What a frame is (RFC 6455 section 11.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Opcode {
    /// The next fragment of a message.
    #[default]
    Continuation,
    /// Text, or its first fragment.
    Text,
    /// Bytes, or their first fragment.
    Binary,
    /// The end.
    Close,
    /// A question for a sign of life.
    Ping,
    /// The answer.
    Pong,
}

impl Opcode {
    pub(super) fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0,
            Opcode::Text => 1,
            Opcode::Binary => 2,
            Opcode::Close => 8,
            Opcode::Ping => 9,
            Opcode::Pong => 10,
        }
    }

    fn of(bits: u8) -> Option<Opcode> {
        Some(match bits {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return None,
        })
    }

    pub(super) fn is_control(self) -> bool {
        self.bits() & 8 != 0
    }
}

/// A frame's head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
    /// RSV1: the message is compressed (RFC 7692 section 6).
    pub(super) packed: bool,
    pub(super) key: Option<[u8; 4]>,
    pub(super) length: u64,
}

impl Frame {
    /// The head that `bytes` begin with, and how many bytes it has; none while more are needed. `deflate` says whether RSV1 may be set.
    pub(super) fn parse(
        bytes: &[u8],
        role: Role,
        deflate: bool,
    ) -> Result<Option<(Frame, usize)>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let opcode = check_first(first, deflate)?;
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let masked = second & MASKED != 0;
        match (role, masked) {
            // RFC 6455 section 5.1: each of the two MUST close.
            (Role::Server, false) => return Err(Violation::Protocol("a client's frame without a mask")),
            (Role::Client, true) => return Err(Violation::Protocol("a server's frame with a mask")),
            _ => {}
        }
        let short = second & 0x7f;
        if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
            return Err(Violation::Protocol("a control frame of more than 125 bytes"));
        }
        let Some((length, end)) = length(bytes, short)? else { return Ok(None) };
        let key = match bytes.get(end..end + 4) {
            _ if !masked => None,
            Some(key) => Some(key.try_into().expect("four bytes")),
            None => return Ok(None),
        };
        let end = if masked { end + 4 } else { end };
        Ok(Some((Frame { opcode, fin: first & FIN != 0, packed: first & RSV1 != 0, key, length }, end)))
    }
}

fn check_first(first: u8, deflate: bool) -> Result<Opcode, Violation> {
    let opcode = Opcode::of(first & 0x0f).ok_or(Violation::Protocol("an opcode that is not defined"))?;
    if first & RSV2_3 != 0 || first & RSV1 != 0 && !deflate {
        return Err(Violation::Protocol("a reserved bit is set"));
    }
    // RFC 7692 section 6.1: on the first fragment of a message and nowhere else.
    if first & RSV1 != 0 && !matches!(opcode, Opcode::Text | Opcode::Binary) {
        return Err(Violation::Protocol("the bit for compression is set on a frame that begins no message"));
    }
    if opcode.is_control() && first & FIN == 0 {
        return Err(Violation::Protocol("a control frame in fragments"));
    }
    Ok(opcode)
}

/// The length, and where the key or the payload begins.
fn length(bytes: &[u8], short: u8) -> Result<Option<(u64, usize)>, Violation> {
    /// RFC 6455 section 5.2: the minimal number of bytes MUST be used.
    const PADDED: Violation = Violation::Protocol("a length in more bytes than it needs");
    let (length, end, least) = match short {
        126 => {
            let Some(&[high, low]) = bytes.get(2..4) else { return Ok(None) };
            (u64::from(u16::from_be_bytes([high, low])), 4, 126)
        }
        127 => {
            let Some(eight) = bytes.get(2..10) else { return Ok(None) };
            (u64::from_be_bytes(eight.try_into().expect("eight bytes")), 10, 0x1_0000)
        }
        short => (u64::from(short), 2, 0),
    };
    match length {
        _ if length < least => Err(PADDED),
        _ if length > i64::MAX as u64 => Err(Violation::Protocol("a length with its highest bit set")),
        _ => Ok(Some((length, end))),
    }
}
