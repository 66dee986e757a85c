//! A message as it is put together: fragments one behind the other, text checked as it comes (RFC 6455 section 8.1), compressed ones unpacked.
//! The decoder feeds it with payloads that are unmasked; frames are not known here.

use flate2::Decompress;

use super::close::Violation;
use super::deflate::{Direction, Pool, unpack, unpack_end};
use super::limits::Limits;

/// Output of one piece of a compressed message.
const PIECE_BYTES: usize = 64 * 1024;

/// A message's, or a piece's, own bytes.
///
/// ```
/// use ropewalk_wire::websocket::Message;
/// let message = Message::Text("tea?".to_owned());
/// assert_eq!((message.as_text(), message.as_bytes(), message.len()), (Some("tea?"), b"tea?".as_slice(), 4));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text, which is UTF-8.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
}

impl Message {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Message::Text(text) => Some(text),
            Message::Binary(_) => None,
        }
    }

    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn of(text: bool, bytes: Vec<u8>) -> Result<Message, Violation> {
        if text {
            String::from_utf8(bytes).map(Message::Text).map_err(|_| Violation::Text)
        } else {
            Ok(Message::Binary(bytes))
        }
    }
}

/// A decompressor that a connection keeps, where the peer's messages refer to those before.
pub(super) type Context = Option<Box<Decompress>>;

/// A message of which some has come.
pub(super) struct Assembly {
    pub(super) text: bool,
    pub(super) packed: bool,
    pub(super) fragments: u32,
    /// Bytes as they were sent, so far.
    pub(super) sent: usize,
    /// What has come and was not given out: of a compressed message that is delivered whole, the compressed bytes.
    pub(super) bytes: Vec<u8>,
    /// How much of `bytes` is known to be UTF-8.
    valid: usize,
    /// Bytes given out in pieces before.
    given: usize,
    /// Unpacks a message that is delivered in pieces.
    unpacker: Option<Decompress>,
}

impl Assembly {
    pub(super) fn new(text: bool, packed: bool) -> Assembly {
        Assembly {
            text,
            packed,
            fragments: 0,
            sent: 0,
            bytes: Vec::new(),
            valid: 0,
            given: 0,
            unpacker: None,
        }
    }

    /// Looks at text that was appended. What can still become a character is waited for.
    pub(super) fn check(&mut self) -> Result<(), Violation> {
        if !self.text {
            return Ok(());
        }
        match std::str::from_utf8(&self.bytes[self.valid..]) {
            Ok(_) => self.valid = self.bytes.len(),
            Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
            Err(_) => return Err(Violation::Text),
        }
        Ok(())
    }

    /// The whole message, at its end.
    pub(super) fn whole(
        self,
        theirs: Option<Direction>,
        context: &mut Context,
        limits: &Limits,
        pool: &mut Pool,
    ) -> Result<Message, Violation> {
        if !self.packed {
            return Message::of(self.text, self.bytes);
        }
        Message::of(self.text, unpack_whole(&self.bytes, theirs, context, limits, pool)?)
    }

    /// Unpacks some of `input` into what is given out next, and takes it from there.
    pub(super) fn unpack_some(
        &mut self,
        input: &mut &[u8],
        theirs: Option<Direction>,
        context: &mut Context,
        limits: &Limits,
        pool: &mut Pool,
    ) -> Result<(), Violation> {
        self.with_unpacker(theirs, context, pool, |unpacker, bytes| {
            unpack(unpacker, input, bytes, PIECE_BYTES)
        })?;
        self.within(limits)?;
        self.check()
    }

    /// The end of a compressed message that is delivered in pieces.
    pub(super) fn unpack_rest(
        &mut self,
        theirs: Option<Direction>,
        context: &mut Context,
        limits: &Limits,
        pool: &mut Pool,
    ) -> Result<(), Violation> {
        let room = limits.message_bytes_max.saturating_add(1);
        self.with_unpacker(theirs, context, pool, |unpacker, bytes| unpack_end(unpacker, bytes, room))?;
        if let Some(unpacker) = self.unpacker.take() {
            pool.give_back(unpacker);
        }
        self.within(limits)?;
        self.check()
    }

    fn with_unpacker(
        &mut self,
        theirs: Option<Direction>,
        context: &mut Context,
        pool: &mut Pool,
        then: impl FnOnce(&mut Decompress, &mut Vec<u8>) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        if theirs.is_some_and(|theirs| theirs.takeover) {
            then(context.get_or_insert_with(|| Box::new(Decompress::new(false))), &mut self.bytes)
        } else {
            then(self.unpacker.get_or_insert_with(|| pool.take_decompressor()), &mut self.bytes)
        }
    }

    fn within(&self, limits: &Limits) -> Result<(), Violation> {
        if self.given + self.bytes.len() > limits.message_bytes_max {
            return Err(TOO_LONG);
        }
        Ok(())
    }

    /// What can be given out now: text ends where a character does. At the end everything must.
    pub(super) fn take_piece(&mut self, last: bool) -> Result<Message, Violation> {
        let bytes = if self.text && !last {
            let rest = self.bytes.split_off(self.valid);
            std::mem::replace(&mut self.bytes, rest)
        } else {
            std::mem::take(&mut self.bytes)
        };
        self.valid = 0;
        self.given += bytes.len();
        Message::of(self.text, bytes)
    }
}

pub(super) const TOO_LONG: Violation = Violation::TooBig("the message is larger than this side takes");

/// Unpacks a message that has come whole.
pub(super) fn unpack_whole(
    packed: &[u8],
    theirs: Option<Direction>,
    context: &mut Context,
    limits: &Limits,
    pool: &mut Pool,
) -> Result<Vec<u8>, Violation> {
    let takeover = theirs.is_some_and(|theirs| theirs.takeover);
    let mut shared = (!takeover).then(|| pool.take_decompressor());
    let unpacker = match &mut shared {
        Some(shared) => shared,
        None => context.get_or_insert_with(|| Box::new(Decompress::new(false))),
    };
    // A bomb is given up at the first byte too many.
    let room = limits.message_bytes_max.saturating_add(1);
    let mut out = Vec::with_capacity(packed.len().saturating_mul(3).min(limits.message_bytes_max));
    let mut input = packed;
    let mut outcome = unpack(unpacker, &mut input, &mut out, room);
    if outcome.is_ok() && out.len() <= limits.message_bytes_max {
        outcome = unpack_end(unpacker, &mut out, room);
    }
    if let Some(shared) = shared {
        pool.give_back(shared);
    }
    outcome?;
    if out.len() > limits.message_bytes_max { Err(TOO_LONG) } else { Ok(out) }
}
