//! The decoder: bytes in, messages and control frames out, however they were cut. It owns the bytes of what is incomplete, and nothing
//! between two messages; buffers of the connection and deadlines are above it.
//!
//! ```text
//!  Head ─► Payload ─► Head …            ended behind a Close frame, failed behind a violation
//! ```

use super::close::{Close, Violation};
use super::deflate::{Direction, Pool};
use super::frame::{Frame, HEAD_BYTES_MAX, Opcode, Role};
use super::limits::Limits;
use super::mask;
use super::message::{Assembly, Context, Message, TOO_LONG, unpack_whole};

/// Compressed bytes that are unmasked at a time, where a message is delivered in pieces.
const BITE_BYTES: usize = 4 * 1024;

/// What has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole message; with [`Delivery::Whole`].
    Message(Message),
    /// A piece of one; with [`Delivery::Pieces`]. The last one may be empty.
    Piece {
        /// Its bytes; of text, whole characters.
        data: Message,
        /// Whether the message ends with it.
        last: bool,
    },
    /// To be answered with a Pong of the same bytes (RFC 6455 section 5.5.2).
    Ping(Vec<u8>),
    /// An answer to a Ping, or a sign of life that nobody asked for.
    Pong(Vec<u8>),
    /// The peer sends nothing more: to be answered with a Close frame, unless one was sent. What follows it is passed over.
    Close(Close),
}

/// How messages are delivered.
///
/// ```
/// use ropewalk_wire::websocket::{Decoder, Delivery, Event, Limits, Message, Pool, Role};
/// let mut decoder = Decoder::new(Role::Client).with_delivery(Delivery::Pieces);
/// let half = decoder.next(&mut b"\x81\x05Hel".as_slice(), &Limits::default(), &mut Pool::default());
/// assert_eq!(half, Ok(Some(Event::Piece { data: Message::Text("Hel".to_owned()), last: false })));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Each in one piece.
    #[default]
    Whole,
    /// As they come, for messages that are larger than one would keep in memory.
    Pieces,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Head,
    Payload,
}

/// What is incomplete. It goes back to the pool when nothing is, so that a quiet connection has none.
#[derive(Default)]
pub(super) struct Work {
    phase: Phase,
    /// The head of the frame that is being read.
    head: [u8; HEAD_BYTES_MAX],
    have: u8,
    frame: Frame,
    /// How much of its payload has come.
    done: u64,
    /// The payload of a control frame that has not come whole.
    control: Vec<u8>,
    message: Option<Assembly>,
}

impl Work {
    fn is_done(&self) -> bool {
        self.phase == Phase::Head && self.have == 0 && self.message.is_none()
    }

    /// Takes what there is of the payload, up to `most` bytes; where in the frame it begins.
    fn take<'a>(&mut self, input: &mut &'a [u8], most: usize) -> (&'a [u8], usize) {
        let left = usize::try_from(self.frame.length - self.done).unwrap_or(usize::MAX);
        let (taken, rest) = input.split_at(input.len().min(left).min(most));
        let offset = (self.done & 3) as usize;
        *input = rest;
        self.done += taken.len() as u64;
        (taken, offset)
    }

    /// Whether the frame has come whole; then the next one begins.
    fn ends(&mut self) -> bool {
        let ends = self.done == self.frame.length;
        if ends {
            self.phase = Phase::Head;
        }
        ends
    }
}

/// Reads what a peer sends.
///
/// ```
/// use ropewalk_wire::websocket::{Decoder, Event, Limits, Message, Pool, Role};
///
/// let (limits, mut pool) = (Limits::default(), Pool::default());
/// let mut decoder = Decoder::new(Role::Server);
/// let mut input = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x89\x80\0\0\0\0\x81".as_slice();
/// let mut next = || decoder.next(&mut input, &limits, &mut pool);
/// assert_eq!(next(), Ok(Some(Event::Message(Message::Text("Hello".to_owned())))));
/// assert_eq!(next(), Ok(Some(Event::Ping(Vec::new()))));
/// assert_eq!(next(), Ok(None));
/// assert!(input.is_empty(), "the beginning of a frame is remembered");
/// ```
pub struct Decoder {
    role: Role,
    delivery: Delivery,
    deflate: Option<Direction>,
    /// A Close frame has come.
    ended: bool,
    failed: Option<Box<Violation>>,
    work: Option<Box<Work>>,
    context: Context,
}

impl Decoder {
    /// For this role: what the other one sends. Messages are delivered whole, and none may be compressed.
    #[must_use]
    pub fn new(role: Role) -> Decoder {
        Decoder {
            role,
            delivery: Delivery::Whole,
            deflate: None,
            ended: false,
            failed: None,
            work: None,
            context: None,
        }
    }

    /// The same with messages delivered in this way.
    #[must_use]
    pub fn with_delivery(self, delivery: Delivery) -> Decoder {
        Decoder { delivery, ..self }
    }

    /// The same with what was agreed for the peer's messages.
    #[must_use]
    pub fn with_deflate(self, theirs: Option<Direction>) -> Decoder {
        Decoder { deflate: theirs, ..self }
    }

    /// Whether a frame or a message has begun and not ended.
    #[must_use]
    pub fn is_midway(&self) -> bool {
        self.work.is_some()
    }

    /// Takes from the front of `input` up to the next event; none when all of it is taken and more is needed. The limits are
    /// the same in every call. The pool is any; the same one for all connections of a thread.
    ///
    /// # Errors
    /// The peer has done what it may not. It is refused at the first byte that shows it, and then again in every call.
    pub fn next(
        &mut self,
        input: &mut &[u8],
        limits: &Limits,
        pool: &mut Pool,
    ) -> Result<Option<Event>, Violation> {
        if let Some(violation) = &self.failed {
            return Err(**violation);
        }
        if self.ended {
            *input = &[];
            return Ok(None);
        }
        if input.is_empty() && self.work.is_none() {
            return Ok(None);
        }
        let mut work = self.work.take().unwrap_or_else(|| pool.take_work());
        match self.advance(&mut work, input, limits, pool) {
            Ok(event) => {
                if self.ended || work.is_done() {
                    pool.keep_work(work);
                } else {
                    self.work = Some(work);
                }
                Ok(event)
            }
            Err(violation) => {
                self.context = None;
                self.failed = Some(Box::new(violation));
                Err(violation)
            }
        }
    }

    fn advance(
        &mut self,
        work: &mut Work,
        input: &mut &[u8],
        limits: &Limits,
        pool: &mut Pool,
    ) -> Result<Option<Event>, Violation> {
        loop {
            let event = match work.phase {
                Phase::Head => {
                    if !self.read_head(work, input, limits)? {
                        return Ok(None);
                    }
                    work.phase = Phase::Payload;
                    None
                }
                Phase::Payload if input.is_empty() && work.done < work.frame.length => return Ok(None),
                Phase::Payload if work.frame.opcode.is_control() => self.read_control(work, input)?,
                Phase::Payload => self.read_data(work, input, limits, pool)?,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// Reads on in a head; true at its end.
    fn read_head(&self, work: &mut Work, input: &mut &[u8], limits: &Limits) -> Result<bool, Violation> {
        if input.is_empty() {
            return Ok(false);
        }
        let have = usize::from(work.have);
        let (frame, consumed) = if have == 0
            && let Some((frame, end)) = Frame::parse(input, self.role, self.deflate.is_some())?
        {
            (frame, end)
        } else {
            let take = input.len().min(HEAD_BYTES_MAX - have);
            work.head[have..have + take].copy_from_slice(&input[..take]);
            let known = &work.head[..have + take];
            let Some((frame, end)) = Frame::parse(known, self.role, self.deflate.is_some())? else {
                work.have += take as u8;
                *input = &input[take..];
                return Ok(false);
            };
            (frame, end - have)
        };
        *input = &input[consumed..];
        (work.have, work.frame, work.done) = (0, frame, 0);
        self.begin(work, limits)?;
        Ok(true)
    }

    /// What a head says must fit what came before, and the limits.
    fn begin(&self, work: &mut Work, limits: &Limits) -> Result<(), Violation> {
        let Frame { opcode, packed, length, fin, .. } = work.frame;
        if opcode.is_control() {
            return Ok(());
        }
        match (opcode, &mut work.message) {
            (Opcode::Continuation, None) => {
                return Err(Violation::Protocol("a fragment of a message that has not begun"));
            }
            (Opcode::Continuation, Some(_)) => {}
            (_, Some(_)) => {
                return Err(Violation::Protocol("a message begins in the middle of another"));
            }
            // A frame that is a whole message, and all here, needs no place to be collected in.
            (_, None) if fin && self.delivery == Delivery::Whole => {}
            (_, None) => work.message = Some(Assembly::new(opcode == Opcode::Text, packed)),
        }
        if length > limits.frame_bytes_max {
            return Err(Violation::TooBig("the frame is larger than this side takes"));
        }
        let (sent, packed) = match &mut work.message {
            Some(message) => {
                message.fragments += 1;
                if message.fragments > limits.fragments_max {
                    return Err(Violation::TooBig("the message has more fragments than this side takes"));
                }
                (message.sent, message.packed)
            }
            None => (0, packed),
        };
        let most = if packed { limits.packed_bytes_max() } else { limits.message_bytes_max };
        if length > most.saturating_sub(sent) as u64 {
            return Err(TOO_LONG);
        }
        Ok(())
    }

    fn read_control(&mut self, work: &mut Work, input: &mut &[u8]) -> Result<Option<Event>, Violation> {
        let key = work.frame.key;
        let (payload, offset) = work.take(input, usize::MAX);
        work.control.reserve_exact(payload.len());
        mask::append(&mut work.control, payload, key, offset);
        if !work.ends() {
            return Ok(None);
        }
        let payload = std::mem::take(&mut work.control);
        Ok(Some(match work.frame.opcode {
            Opcode::Ping => Event::Ping(payload),
            Opcode::Pong => Event::Pong(payload),
            _ => {
                let close = Close::parse(payload)?;
                self.ended = true;
                (work.message, self.context) = (None, None);
                Event::Close(close)
            }
        }))
    }

    fn read_data(
        &mut self,
        work: &mut Work,
        input: &mut &[u8],
        limits: &Limits,
        pool: &mut Pool,
    ) -> Result<Option<Event>, Violation> {
        match self.delivery {
            Delivery::Pieces => self.read_piece(work, input, limits, pool),
            Delivery::Whole
                if work.message.is_none() && work.frame.length - work.done <= input.len() as u64 =>
            {
                self.read_at_once(work, input, limits, pool).map(Some)
            }
            Delivery::Whole => self.read_some(work, input, limits, pool),
        }
    }

    /// A frame that is a whole message, and all of it is here.
    fn read_at_once(
        &mut self,
        work: &mut Work,
        input: &mut &[u8],
        limits: &Limits,
        pool: &mut Pool,
    ) -> Result<Event, Violation> {
        let Frame { opcode, packed, key, .. } = work.frame;
        let (payload, offset) = work.take(input, usize::MAX);
        work.phase = Phase::Head;
        let text = opcode == Opcode::Text;
        if !packed {
            let mut bytes = Vec::with_capacity(payload.len());
            mask::append(&mut bytes, payload, key, offset);
            return Message::of(text, bytes).map(Event::Message);
        }
        let mut scratch = std::mem::take(&mut pool.scratch);
        scratch.clear();
        mask::append(&mut scratch, payload, key, offset);
        let bytes = unpack_whole(&scratch, self.deflate, &mut self.context, limits, pool);
        pool.keep_scratch(scratch);
        Message::of(text, bytes?).map(Event::Message)
    }

    /// Some of a message that is delivered whole.
    fn read_some(
        &mut self,
        work: &mut Work,
        input: &mut &[u8],
        limits: &Limits,
        pool: &mut Pool,
    ) -> Result<Option<Event>, Violation> {
        let Frame { opcode, packed, key, fin, .. } = work.frame;
        let (payload, offset) = work.take(input, usize::MAX);
        let message = work.message.get_or_insert_with(|| Assembly::new(opcode == Opcode::Text, packed));
        mask::append(&mut message.bytes, payload, key, offset);
        message.sent += payload.len();
        if !message.packed {
            message.check()?;
        }
        if !work.ends() || !fin {
            return Ok(None);
        }
        let Some(message) = work.message.take() else { return Ok(None) };
        let whole = message.whole(self.deflate, &mut self.context, limits, pool)?;
        Ok(Some(Event::Message(whole)))
    }

    /// Some of a message that is delivered in pieces.
    fn read_piece(
        &mut self,
        work: &mut Work,
        input: &mut &[u8],
        limits: &Limits,
        pool: &mut Pool,
    ) -> Result<Option<Event>, Violation> {
        let Frame { key, fin, .. } = work.frame;
        let Some(mut message) = work.message.take() else { return Ok(None) };
        if message.packed {
            self.read_packed(work, &mut message, input, limits, pool)?;
        } else {
            let (payload, offset) = work.take(input, usize::MAX);
            mask::append(&mut message.bytes, payload, key, offset);
            message.sent += payload.len();
            message.check()?;
        }
        let last = work.ends() && fin;
        if last && message.packed {
            message.unpack_rest(self.deflate, &mut self.context, limits, pool)?;
        }
        let data = message.take_piece(last)?;
        if !last {
            work.message = Some(message);
        }
        Ok((last || !data.is_empty()).then_some(Event::Piece { data, last }))
    }

    /// Unpacks until there is a piece's worth, or no more input.
    fn read_packed(
        &mut self,
        work: &mut Work,
        message: &mut Assembly,
        input: &mut &[u8],
        limits: &Limits,
        pool: &mut Pool,
    ) -> Result<(), Violation> {
        let mut scratch = std::mem::take(&mut pool.scratch);
        let before = (*input, work.done);
        let (payload, offset) = work.take(input, BITE_BYTES);
        scratch.clear();
        mask::append(&mut scratch, payload, work.frame.key, offset);
        let mut rest = scratch.as_slice();
        let outcome = message.unpack_some(&mut rest, self.deflate, &mut self.context, limits, pool);
        let used = payload.len() - rest.len();
        // What there was no room to unpack comes again.
        (*input, work.done) = (&before.0[used..], before.1 + used as u64);
        message.sent += used;
        pool.keep_scratch(scratch);
        outcome
    }
}
