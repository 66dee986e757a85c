//! Frames on their way out, written straight into an output buffer, and messages that are encoded once for many connections. It
//! knows no connection: who has closed, and who may still send, is above.

use std::cell::OnceCell;
use std::rc::Rc;

use flate2::Compress;

use super::close::REASON_BYTES_MAX;
use super::deflate::{BITS_MAX, Direction, Pool};
use super::frame::{FIN, MASKED, Opcode, RSV1};
use super::mask;

/// Bytes that a control frame may have (RFC 6455 section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// Appends the head of a frame. `packed` sets RSV1; `key` is a client's.
pub fn encode_head(
    out: &mut Vec<u8>,
    opcode: Opcode,
    fin: bool,
    packed: bool,
    length: usize,
    key: Option<[u8; 4]>,
) {
    out.push(opcode.bits() | if fin { FIN } else { 0 } | if packed { RSV1 } else { 0 });
    let masked = if key.is_some() { MASKED } else { 0 };
    match length {
        0..126 => out.push(masked | length as u8),
        126..0x1_0000 => {
            out.push(masked | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    if let Some(key) = key {
        out.extend_from_slice(&key);
    }
}

/// Appends a frame that is a whole message, not compressed, or a control frame.
///
/// ```
/// use ropewalk_wire::websocket::{Opcode, encode_frame};
/// let mut out = Vec::new();
/// encode_frame(&mut out, Opcode::Text, b"Hello", None);
/// assert_eq!(out, b"\x81\x05Hello");
/// ```
pub fn encode_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], key: Option<[u8; 4]>) {
    encode_head(out, opcode, true, false, payload.len(), key);
    mask::append(out, payload, key, 0);
}

/// Appends a Close frame; one without a code where `code` may not be sent. A reason that is too long is cut.
pub fn encode_close(out: &mut Vec<u8>, code: u16, reason: &str, key: Option<[u8; 4]>) {
    if !super::is_sendable(code) {
        return encode_frame(out, Opcode::Close, &[], key);
    }
    let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
    let mut payload = [0; CONTROL_BYTES_MAX];
    payload[..2].copy_from_slice(&code.to_be_bytes());
    payload[2..2 + reason.len()].copy_from_slice(reason.as_bytes());
    encode_frame(out, Opcode::Close, &payload[..2 + reason.len()], key);
}

/// Messages smaller than this are sent as they are: a frame of deflate's own costs what it saves.
pub const PACK_BYTES_MIN: usize = 128;

/// The way out of one connection: it compresses what is worth it, where that was agreed. A few bytes and a pointer, which is
/// nothing unless this side keeps its context between messages.
///
/// ```
/// use ropewalk_wire::websocket::{Encoder, Opcode, Pool};
/// let mut out = Vec::new();
/// Encoder::new(None).message(&mut out, Opcode::Binary, &[1, 2], None, &mut Pool::default());
/// assert_eq!(out, [0x82, 2, 1, 2]);
/// ```
#[derive(Default)]
pub struct Encoder {
    deflate: Option<Direction>,
    /// The compressor with what it remembers of the messages before.
    context: Option<Box<Compress>>,
}

impl Encoder {
    /// With what was agreed for this side's messages; `None` is no compression.
    #[must_use]
    pub fn new(deflate: Option<Direction>) -> Encoder {
        Encoder { deflate, context: None }
    }

    /// Whether a message that many share may be sent compressed: nothing is remembered from one message to the next.
    #[must_use]
    pub fn takes_packed(&self, prepared: &Prepared) -> bool {
        let within = |ours: Direction| ours.bits == BITS_MAX || prepared.length <= 1 << ours.bits;
        self.deflate.is_some_and(|ours| !ours.takeover && within(ours))
    }

    /// Appends a message, compressed where that was agreed and makes it smaller. `key` is a client's mask.
    pub fn message(
        &mut self,
        out: &mut Vec<u8>,
        opcode: Opcode,
        payload: &[u8],
        key: Option<[u8; 4]>,
        pool: &mut Pool,
    ) {
        let Some(ours) =
            self.deflate.filter(|ours| payload.len() >= PACK_BYTES_MIN && ours.fits(payload.len()))
        else {
            return encode_frame(out, opcode, payload, key);
        };
        let mut packed = std::mem::take(&mut pool.scratch);
        packed.clear();
        if ours.takeover {
            let context = self.context.get_or_insert_with(|| Box::new(ours.compressor(pool.level())));
            super::deflate::pack(context, payload, &mut packed);
        } else {
            pool.pack(ours.bits, payload, &mut packed);
        }
        // What the compressor has remembered, the peer must get to see.
        if packed.len() < payload.len() || ours.takeover {
            encode_head(out, opcode, true, true, packed.len(), key);
            mask::append(out, &packed, key, 0);
        } else {
            encode_frame(out, opcode, payload, key);
        }
        pool.keep_scratch(packed);
    }
}

/// A server's message, encoded once for many connections: plain, and compressed as soon as one of them wants that.
///
/// ```
/// use ropewalk_wire::websocket::{Pool, Prepared};
/// let news = Prepared::text("the kettle boils");
/// assert_eq!(&news.plain()[..2], b"\x81\x10");
/// let long = Prepared::text(&"news ".repeat(100));
/// assert!(long.packed(&mut Pool::default()).is_some_and(|packed| packed.len() < 50));
/// ```
#[derive(Clone, Debug)]
pub struct Prepared {
    opcode: Opcode,
    length: usize,
    plain: Rc<[u8]>,
    packed: Rc<OnceCell<Option<Rc<[u8]>>>>,
}

impl Prepared {
    /// A text message.
    #[must_use]
    pub fn text(text: &str) -> Prepared {
        Prepared::new(Opcode::Text, text.as_bytes())
    }

    /// A binary message.
    #[must_use]
    pub fn binary(bytes: &[u8]) -> Prepared {
        Prepared::new(Opcode::Binary, bytes)
    }

    fn new(opcode: Opcode, payload: &[u8]) -> Prepared {
        let mut plain = Vec::with_capacity(payload.len() + 10);
        encode_frame(&mut plain, opcode, payload, None);
        Prepared { opcode, length: payload.len(), plain: plain.into(), packed: Rc::default() }
    }

    /// The frame, not compressed.
    #[must_use]
    pub fn plain(&self) -> &Rc<[u8]> {
        &self.plain
    }

    /// The frame, compressed with no context, if that makes it smaller; made when it is asked for the first time.
    pub fn packed(&self, pool: &mut Pool) -> Option<&Rc<[u8]>> {
        let packed = self.packed.get_or_init(|| {
            if self.length < PACK_BYTES_MIN {
                return None;
            }
            let mut packed = std::mem::take(&mut pool.scratch);
            packed.clear();
            pool.pack(BITS_MAX, self.payload(), &mut packed);
            let smaller = packed.len() < self.length;
            let frame = smaller.then(|| {
                let mut frame = Vec::with_capacity(packed.len() + 10);
                encode_head(&mut frame, self.opcode, true, true, packed.len(), None);
                frame.extend_from_slice(&packed);
                frame.into()
            });
            pool.keep_scratch(packed);
            frame
        });
        packed.as_ref()
    }

    /// Whether it is text or binary.
    #[must_use]
    pub fn opcode(&self) -> Opcode {
        self.opcode
    }

    /// The message's own bytes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.plain[self.plain.len() - self.length..]
    }
}
