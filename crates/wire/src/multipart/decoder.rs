//! The decoder: where one part ends and the next begins.
//!
//! ```text
//!            delimiter          CRLF            CRLFCRLF           delimiter
//!  Preamble ──────────► Behind ──────► Head ────────────► Content ──────────► Behind
//!                          │ --
//!                          └────► Epilogue
//! ```
//! A delimiter is CRLF, two dashes and the boundary (RFC 2046 section 5.1.1). The boundary has no CR in it, so a delimiter can begin
//! nowhere in itself: of one that is begun and not finished it is enough to know how many bytes have fitted, and they are given back out
//! of the delimiter when the next one does not.

use super::boundary::Boundary;
use super::head::PartHead;
use super::{Limits, Malformed};

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// All of the input is consumed.
    NeedMore,
    /// A part begins.
    Part(PartHead),
    /// Bytes of the part; never none.
    Data(&'a [u8]),
    /// The part is complete.
    PartEnd,
    /// The last part was the last. What comes behind it means nothing, and need not be fed.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In front of the first boundary, and what it is worth: nothing.
    Preamble,
    /// Behind a boundary, on its line.
    Behind,
    /// The same, and there was a dash.
    Dash,
    /// The same, and there was a CR.
    Return,
    Head,
    Content,
    Epilogue,
    Refused(Malformed),
}

/// Takes the pieces of a body and gives those of its parts.
#[derive(Debug)]
pub struct Decoder {
    /// CRLF, two dashes, the boundary.
    delimiter: Vec<u8>,
    state: State,
    /// How many bytes of the delimiter have fitted.
    matched: usize,
    /// Those of them that were no input here: the line end in front of a part's first byte ends its head, and begins its delimiter if it is empty.
    lead: usize,
    /// Those of them that turned out to be content, and are still to be given.
    owed: usize,
    /// White space behind a boundary.
    padding: usize,
    head: Vec<u8>,
    parts: usize,
}

/// White space that may stand behind a boundary (RFC 2046 calls it transport padding); nobody adds more.
const PADDING_MAX: usize = 64;
/// How the head of a part begins here: with the end of the boundary's line, so that a head without fields ends as any other.
const LINE_END: &[u8] = b"\r\n";

impl Decoder {
    /// A decoder of a body with this boundary.
    #[must_use]
    pub fn new(boundary: &Boundary) -> Decoder {
        Decoder {
            delimiter: [b"\r\n--", boundary.as_bytes()].concat(),
            state: State::Preamble,
            // The first boundary may stand at the beginning, as if a line had ended before it.
            matched: LINE_END.len(),
            lead: LINE_END.len(),
            owed: 0,
            padding: 0,
            head: Vec::new(),
            parts: 0,
        }
    }

    /// Consumes some of the input, and answers how much, and what came of it.
    ///
    /// # Errors
    /// It is no form, or beyond a limit; from then on always the same.
    pub fn decode<'a>(
        &'a mut self,
        input: &'a [u8],
        limits: &Limits,
    ) -> Result<(usize, Event<'a>), Malformed> {
        let mut consumed = 0;
        loop {
            let rest = &input[consumed..];
            match self.state {
                State::Refused(why) => return Err(why),
                State::Epilogue => return Ok((input.len(), Event::End)),
                State::Preamble | State::Content => {
                    let (count, found) = self.scan(rest);
                    consumed += count;
                    match found {
                        Found::Content if self.state == State::Preamble => (self.owed, self.lead) = (0, 0),
                        Found::Content if self.owed > 0 => {
                            let (lead, owed) =
                                (std::mem::take(&mut self.lead), std::mem::take(&mut self.owed));
                            return Ok((consumed, Event::Data(&self.delimiter[lead..lead + owed])));
                        }
                        Found::Content => return Ok((consumed, Event::Data(&rest[..count]))),
                        Found::More => return Ok((consumed, Event::NeedMore)),
                        Found::Delimiter => {
                            let was = std::mem::replace(&mut self.state, State::Behind);
                            self.padding = 0;
                            if was == State::Content {
                                return Ok((consumed, Event::PartEnd));
                            }
                        }
                    }
                }
                State::Behind | State::Dash | State::Return => {
                    let Some(&byte) = rest.first() else { return Ok((consumed, Event::NeedMore)) };
                    consumed += 1;
                    self.state = self.behind(byte, limits);
                }
                State::Head => {
                    let (count, head) = self.collect(rest, limits)?;
                    consumed += count;
                    return Ok((consumed, head.map_or(Event::NeedMore, Event::Part)));
                }
            }
        }
    }

    /// The input has ended.
    ///
    /// # Errors
    /// It ended too early, or was refused before.
    pub fn finish(&self) -> Result<(), Malformed> {
        match self.state {
            State::Epilogue => Ok(()),
            State::Refused(why) => Err(why),
            _ => Err(Malformed::Truncated),
        }
    }

    /// Looks for the delimiter. Of content, what is counted is either all owed, or all of the input.
    fn scan(&mut self, input: &[u8]) -> (usize, Found) {
        if self.owed > 0 {
            return (0, Found::Content);
        }
        let mut at = 0;
        while self.matched > 0 {
            let Some(&byte) = input.get(at) else { return (at, Found::More) };
            if byte != self.delimiter[self.matched] {
                self.owed = std::mem::take(&mut self.matched) - self.lead;
                if self.owed > 0 {
                    return (at, Found::Content);
                }
                self.lead = 0;
                break;
            }
            at += 1;
            self.matched += 1;
            if self.matched == self.delimiter.len() {
                (self.matched, self.lead) = (0, 0);
                return (at, Found::Delimiter);
            }
        }
        match memchr::memchr(b'\r', input) {
            Some(0) => {
                self.matched = 1;
                let (count, found) = self.scan(&input[1..]);
                (count + 1, found)
            }
            Some(before) => (before, Found::Content),
            None if input.is_empty() => (0, Found::More),
            None => (input.len(), Found::Content),
        }
    }

    /// One byte on the line of a boundary.
    fn behind(&mut self, byte: u8, limits: &Limits) -> State {
        match (self.state, byte) {
            (State::Dash, b'-') => State::Epilogue,
            (State::Return, b'\n') if self.parts >= limits.parts_max => {
                State::Refused(Malformed::TooManyParts)
            }
            (State::Return, b'\n') => {
                self.parts += 1;
                self.head.extend_from_slice(LINE_END);
                State::Head
            }
            (State::Behind, b'-') if self.padding == 0 => State::Dash,
            (State::Behind, b'\r') => State::Return,
            (State::Behind, b' ' | b'\t') if self.padding < PADDING_MAX => {
                self.padding += 1;
                State::Behind
            }
            _ => State::Refused(Malformed::AfterBoundary),
        }
    }

    /// Collects the head of a part up to the empty line.
    fn collect(&mut self, input: &[u8], limits: &Limits) -> Result<(usize, Option<PartHead>), Malformed> {
        let mut consumed = 0;
        while consumed < input.len() {
            let rest = &input[consumed..];
            let count = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            self.head.extend_from_slice(&rest[..count]);
            consumed += count;
            if self.head.len() > limits.head_bytes_max + LINE_END.len() {
                return Err(self.refuse(Malformed::HeadTooLarge));
            }
            if self.head.ends_with(b"\r\n\r\n") {
                let head = std::mem::take(&mut self.head);
                let head = PartHead::read(&head[LINE_END.len()..head.len() - LINE_END.len()]);
                let head = head.map_err(|why| self.refuse(why))?;
                self.state = State::Content;
                // RFC 2046 section 5.1.1: a part without content may end with the line end of its head.
                (self.matched, self.lead) = (LINE_END.len(), LINE_END.len());
                return Ok((consumed, Some(head)));
            }
        }
        Ok((consumed, None))
    }

    fn refuse(&mut self, why: Malformed) -> Malformed {
        self.state = State::Refused(why);
        self.head = Vec::new();
        why
    }
}

enum Found {
    More,
    Content,
    Delimiter,
}
