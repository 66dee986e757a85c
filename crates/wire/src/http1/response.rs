//! An answer as a client reads it: interim heads, the final head, the body, trailers (RFC 9112 4, 6 and 7).
//!
//! It is the walk from one byte of a connection to the next. It holds no data of a body and it does not know the connection:
//! whoever owns that tells it of the end of input, and asks whether the next answer may follow on the same connection.

use super::{BodyDecoder, BodyEvent, BodyLimits, Fed, Framing, HeadLimits, Refusal, ResponseHead};

/// More interim answers than that to one request are an attempt to keep a client busy: a server that shows its progress
/// with 102 sends some, and one 103 or two are usual.
const INTERIM_MAX: u8 = 32;

/// What one call of [`ResponseDecoder::decode`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseEvent<'a> {
    /// An interim answer with this status: 100, 102, 103. The final one is still to come.
    Interim(u16),
    /// The final head is complete: [`ResponseDecoder::take_head`] has it.
    Head,
    /// The next bytes of the body, never empty.
    Data(&'a [u8]),
    /// All of the input was consumed, and the answer is not over.
    NeedMore,
    /// The answer is over. What follows belongs to the next one.
    End,
}

/// How large an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseLimits {
    /// Sizes of a head, for each one that comes. [`HeadLimits::request_line_bytes_max`] is the status line's.
    pub head: HeadLimits,
    /// Sizes of a body.
    pub body: BodyLimits,
}

impl Default for ResponseLimits {
    /// Heads as a server takes them, and a body of any size: whoever keeps it in memory bounds it.
    fn default() -> Self {
        let body = BodyLimits { body_bytes_max: u64::MAX, ..BodyLimits::default() };
        ResponseLimits { head: HeadLimits::default(), body }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    Body,
    End,
    Refused(Refusal),
}

/// Decodes one answer.
///
/// ```
/// use ropewalk_wire::http1::{ResponseDecoder, ResponseEvent, ResponseLimits};
///
/// let (input, limits) = (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", ResponseLimits::default());
/// let mut decoder = ResponseDecoder::new("GET");
/// let (consumed, event) = decoder.decode(input, &limits)?;
/// assert_eq!(event, ResponseEvent::Head);
/// assert_eq!(decoder.take_head().status(), 200);
/// assert_eq!(decoder.decode(&input[consumed..], &limits)?, (2, ResponseEvent::Data(b"hi")));
/// assert_eq!(decoder.decode(b"", &limits)?, (0, ResponseEvent::End));
/// # Ok::<(), ropewalk_wire::http1::Refusal>(())
/// ```
#[derive(Debug)]
pub struct ResponseDecoder {
    method: Box<str>,
    head: ResponseHead,
    body: BodyDecoder,
    framing: Framing,
    state: State,
    interim: u8,
    keep_alive: bool,
}

/// The connection ended in the middle of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated;

impl std::fmt::Display for Truncated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection ended in the middle of the answer")
    }
}

impl std::error::Error for Truncated {}

impl ResponseDecoder {
    /// A decoder for the answer to a request with this method, which says whether there is a body.
    pub fn new(method: &str) -> ResponseDecoder {
        ResponseDecoder {
            method: method.into(),
            head: ResponseHead::new(),
            body: BodyDecoder::default(),
            framing: Framing::None,
            state: State::Head,
            interim: 0,
            keep_alive: false,
        }
    }

    /// Decodes from the beginning of `input`: how many bytes were consumed, and what they were.
    ///
    /// Call it again with the rest, until it is [`ResponseEvent::NeedMore`] or [`ResponseEvent::End`]. However the answer is
    /// cut into calls, the data and the outcome are the same. A refusal is given again whenever it is called once more, and
    /// nothing on this connection is to be believed any more.
    pub fn decode<'a>(
        &mut self,
        input: &'a [u8],
        limits: &ResponseLimits,
    ) -> Result<(usize, ResponseEvent<'a>), Refusal> {
        self.decode_any(input, limits).inspect_err(|&refusal| self.state = State::Refused(refusal))
    }

    fn decode_any<'a>(
        &mut self,
        input: &'a [u8],
        limits: &ResponseLimits,
    ) -> Result<(usize, ResponseEvent<'a>), Refusal> {
        match self.state {
            State::Head => match self.head.feed(input, &limits.head)? {
                Fed::NeedMore => Ok((input.len(), ResponseEvent::NeedMore)),
                Fed::Complete { consumed } => Ok((consumed, self.head_event(&limits.body)?)),
            },
            State::Body => {
                let (consumed, event) = self.body.decode(input, &limits.body)?;
                let event = match event {
                    BodyEvent::Data(data) => ResponseEvent::Data(data),
                    BodyEvent::NeedMore => ResponseEvent::NeedMore,
                    BodyEvent::End => {
                        self.state = State::End;
                        ResponseEvent::End
                    }
                };
                Ok((consumed, event))
            }
            State::End => Ok((0, ResponseEvent::End)),
            State::Refused(refusal) => Err(refusal),
        }
    }

    fn head_event(&mut self, limits: &BodyLimits) -> Result<ResponseEvent<'static>, Refusal> {
        let status = self.head.status();
        if self.head.is_interim() {
            self.interim += 1;
            if self.interim > INTERIM_MAX {
                return Err(Refusal::TooManyInterim);
            }
            self.head = ResponseHead::new();
            return Ok(ResponseEvent::Interim(status));
        }
        // RFC 9110 7.8: a server MUST NOT switch to a protocol that was not asked for.
        if status == 101 {
            return Err(Refusal::UnaskedUpgrade);
        }
        self.framing = self.head.framing(&self.method);
        self.framing.check(limits)?;
        self.keep_alive = self.head.keep_alive() && self.framing != Framing::UntilClose;
        self.body = BodyDecoder::new(self.framing);
        self.state = State::Body;
        Ok(ResponseEvent::Head)
    }

    /// The input has ended: it is the end of the answer where the framing says so.
    ///
    /// # Errors
    /// [`Truncated`] otherwise: what was read is not the whole answer.
    pub fn finish(&mut self) -> Result<(), Truncated> {
        let ended = self.state == State::End || self.state == State::Body && self.body.end_input();
        if !ended {
            return Err(Truncated);
        }
        self.state = State::End;
        Ok(())
    }

    /// The final head, from [`ResponseEvent::Head`] on; it is there once.
    pub fn take_head(&mut self) -> ResponseHead {
        std::mem::take(&mut self.head)
    }

    /// How the body is delimited, from [`ResponseEvent::Head`] on.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether any byte of an answer was fed, be it an interim one's.
    pub fn is_begun(&self) -> bool {
        self.state != State::Head || self.interim > 0 || !self.head.is_empty()
    }

    /// Whether the answer is over.
    pub fn is_ended(&self) -> bool {
        self.state == State::End
    }

    /// Whether another request may follow on this connection once the answer is over.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// The fields behind a chunked body, once it has ended. They must not be merged into the head's (RFC 9110 6.5.1).
    pub fn take_trailers(&mut self) -> Vec<(String, Vec<u8>)> {
        self.body.take_trailers()
    }
}
