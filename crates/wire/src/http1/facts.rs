//! What the fields of a message say about the connection and its body, gathered field by field (RFC 9112 6 and 9).
//!
//! Not the fields themselves, and no policy: a contradiction is refused here, the rest is only noted.
//! [`Head`](super::Head) calls [`Facts::note`] for each field and [`Facts::finish`] at the empty line.

use super::bytes::{elements, is_token_text, trim_ows};
use super::target::authority_port;
use super::{BodyLimits, Refusal, Version};

/// How a body is delimited (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// The body has this many bytes.
    Length(u64),
    /// The body comes in chunks and ends by itself.
    Chunked,
    /// The body ends with the connection: only an answer's.
    UntilClose,
}

impl Framing {
    /// Refuses a body that is announced to be too large, before any of it is read.
    pub fn check(self, limits: &BodyLimits) -> Result<(), Refusal> {
        match self {
            Framing::Length(length) if length > limits.body_bytes_max => Err(Refusal::BodyTooLarge),
            _ => Ok(()),
        }
    }
}

/// Longer hosts are checked each time.
const KNOWN_HOST_BYTES_MAX: usize = 64;

/// The index of a field, or that there is none.
const NO_FIELD: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) framing: Framing,
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
    host: u32,
    upgrade: u32,
    says_close: bool,
    says_keep_alive: bool,
    says_upgrade: bool,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            framing: Framing::None,
            keep_alive: false,
            expects_continue: false,
            host: NO_FIELD,
            upgrade: NO_FIELD,
            says_close: false,
            says_keep_alive: false,
            says_upgrade: false,
        }
    }
}

impl Facts {
    /// The index of the Host field.
    pub(super) fn host(&self) -> Option<usize> {
        (self.host != NO_FIELD).then_some(self.host as usize)
    }

    /// The index of the Upgrade field, when it counts.
    pub(super) fn upgrade(&self) -> Option<usize> {
        (self.upgrade != NO_FIELD).then_some(self.upgrade as usize)
    }

    /// Takes note of the field with this index. The name's length decides first: most fields end there.
    #[inline]
    pub(super) fn note(
        &mut self,
        version: Version,
        name: &[u8],
        value: &[u8],
        index: usize,
        known_host: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        match name.len() {
            4 if is_named(name, b"Host") => self.note_host(value, index, known_host),
            6 if is_named(name, b"Expect") => self.note_expect(version, value),
            7 if is_named(name, b"Upgrade") => {
                if self.upgrade == NO_FIELD && !value.is_empty() {
                    self.upgrade = index as u32;
                }
                Ok(())
            }
            10 if is_named(name, b"Connection") => {
                self.note_connection(value);
                Ok(())
            }
            14 if is_named(name, b"Content-Length") => note_length(&mut self.framing, value),
            17 if is_named(name, b"Transfer-Encoding") => note_coding(&mut self.framing, version, value),
            _ => Ok(()),
        }
    }

    /// RFC 9112 3.2: more than one Host, or an invalid one, MUST be answered with 400. An empty one is valid.
    #[inline]
    fn note_host(&mut self, value: &[u8], index: usize, known: &mut Vec<u8>) -> Result<(), Refusal> {
        if self.host != NO_FIELD {
            return Err(Refusal::RepeatedHost);
        }
        if value != known.as_slice() {
            if !value.is_empty() && authority_port(value).is_none() {
                return Err(Refusal::BadHost);
            }
            if value.len() <= KNOWN_HOST_BYTES_MAX {
                known.clear();
                known.extend_from_slice(value);
            }
        }
        self.host = index as u32;
        Ok(())
    }

    /// RFC 9110 10.1.1: any other expectation may be answered with 417, and HTTP/1.0's MUST be ignored.
    fn note_expect(&mut self, version: Version, value: &[u8]) -> Result<(), Refusal> {
        for expectation in elements(value) {
            if !expectation.eq_ignore_ascii_case(b"100-continue") {
                return Err(Refusal::UnknownExpectation);
            }
            self.expects_continue = version == Version::Http11;
        }
        Ok(())
    }

    fn note_connection(&mut self, value: &[u8]) {
        // What nearly every client sends, before the list is taken apart.
        match value {
            b"keep-alive" => return self.says_keep_alive = true,
            b"close" => return self.says_close = true,
            _ => {}
        }
        for option in elements(value) {
            match option.len() {
                5 if option.eq_ignore_ascii_case(b"close") => self.says_close = true,
                7 if option.eq_ignore_ascii_case(b"upgrade") => self.says_upgrade = true,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => self.says_keep_alive = true,
                _ => {}
            }
        }
    }

    /// Draws the conclusions, at the empty line.
    #[inline]
    pub(super) fn finish(&mut self, version: Version) -> Result<(), Refusal> {
        if version == Version::Http11 {
            // RFC 9112 3.2: a server MUST answer 400 to any HTTP/1.1 request without Host.
            if self.host == NO_FIELD {
                return Err(Refusal::MissingHost);
            }
            self.keep_alive = !self.says_close;
        } else {
            self.keep_alive = self.says_keep_alive && !self.says_close;
        }
        // RFC 9110 7.8: Upgrade in HTTP/1.0 MUST be ignored, and without its connection option it was not for us.
        if !self.says_upgrade || version == Version::Http10 {
            self.upgrade = NO_FIELD;
        }
        // RFC 9110 10.1.1: without a body there is nothing to continue with.
        self.expects_continue &= !matches!(self.framing, Framing::None | Framing::Length(0));
        Ok(())
    }
}

/// RFC 9112 6.3: an invalid Content-Length is unrecoverable. Lists of one repeated value could be read as that value;
/// they are refused, because the next recipient might choose otherwise.
fn note_length(framing: &mut Framing, value: &[u8]) -> Result<(), Refusal> {
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Length(_) => return Err(Refusal::RepeatedContentLength),
        Framing::Chunked => return Err(Refusal::LengthAndCoding),
    }
    if value.is_empty() {
        return Err(Refusal::BadContentLength);
    }
    let length = value.iter().try_fold(0u64, |length, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        length.checked_mul(10)?.checked_add(digit)
    });
    *framing = Framing::Length(length.ok_or(Refusal::BadContentLength)?);
    Ok(())
}

fn note_coding(framing: &mut Framing, version: Version, value: &[u8]) -> Result<(), Refusal> {
    // RFC 9112 6.1: in HTTP/1.0 the framing MUST be treated as faulty.
    if version == Version::Http10 {
        return Err(Refusal::TransferCodingInHttp10);
    }
    match framing {
        // RFC 9112 6.1: both together are how requests are smuggled; they ought to be handled as an error.
        Framing::Length(_) => return Err(Refusal::LengthAndCoding),
        // RFC 9112 6.1: chunked MUST NOT be applied more than once, and RFC 9112 6.3: it must be the last.
        Framing::Chunked => return Err(Refusal::BadTransferCoding),
        Framing::None | Framing::UntilClose => {}
    }
    if !value.eq_ignore_ascii_case(b"chunked") {
        return Err(refuse_coding(value));
    }
    *framing = Framing::Chunked;
    Ok(())
}

/// What the fields of an answer say about its connection and its body.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answered {
    /// `None` where no field says it: then the body ends with the connection.
    pub(super) framing: Option<Framing>,
    pub(super) says_close: bool,
    pub(super) says_keep_alive: bool,
}

impl Answered {
    /// Takes note of a field. The same contradictions are refused as in a request: an answer that two readers end in two
    /// places is how a cache or the next answer is poisoned.
    pub(super) fn note(&mut self, version: Version, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        match name.len() {
            10 if is_named(name, b"Connection") => {
                for option in elements(value) {
                    self.says_close |= option.eq_ignore_ascii_case(b"close");
                    self.says_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
                Ok(())
            }
            14 if is_named(name, b"Content-Length") => {
                note_length(self.framing.get_or_insert(Framing::UntilClose), value)
            }
            17 if is_named(name, b"Transfer-Encoding") => {
                note_coding(self.framing.get_or_insert(Framing::UntilClose), version, value)
            }
            _ => Ok(()),
        }
    }
}

/// Field names are case-insensitive (RFC 9110 5.1); comparing with the usual spelling first takes one or two words.
#[inline]
fn is_named<const N: usize>(name: &[u8], usual: &[u8; N]) -> bool {
    name == usual || name.eq_ignore_ascii_case(usual)
}

/// RFC 9112 6.1: a coding that is not understood is answered with 501; what is no coding at all, or is `chunked` in the
/// wrong place or with parameters (RFC 9112 7), is a bad request.
#[cold]
fn refuse_coding(value: &[u8]) -> Refusal {
    let first = value.split(|&byte| byte == b',').next().unwrap_or_default();
    let coding = trim_ows(first.split(|&byte| byte == b';').next().unwrap_or_default());
    let is_coding = is_token_text(coding);
    if is_coding && !coding.eq_ignore_ascii_case(b"chunked") {
        Refusal::UnknownTransferCoding
    } else {
        Refusal::BadTransferCoding
    }
}
