//! Why a request or an answer was refused: the one error of decoding, and always the peer's fault.
//!
//! Not the answer itself: the caller writes it from [`Refusal::status`] and [`Refusal::reason`], and closes, because the
//! place where the next request would begin is not known any more (RFC 9112 9.3).

use std::fmt;

macro_rules! refusals {
    ($($name:ident $status:literal $reason:literal,)*) => {
        /// What was wrong with a message. Each variant says the same as its [`Refusal::reason`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Refusal {
            $(#[doc = concat!($status, ": ", $reason, ".")] $name,)*
        }

        impl Refusal {
            /// Every refusal there is, for tables of counters and for tests.
            pub const ALL: &'static [Refusal] = &[$(Refusal::$name,)*];

            /// The status code to answer with; for an answer, what a gateway would say of it is 502.
            pub const fn status(self) -> u16 {
                match self { $(Refusal::$name => $status,)* }
            }

            /// One line for the log and for the answer's body; it never repeats what the peer sent.
            pub const fn reason(self) -> &'static str {
                match self { $(Refusal::$name => $reason,)* }
            }
        }
    };
}

refusals! {
    BadMethod 400 "the method is not a token followed by one space",
    // RFC 9112 3: a method longer than any that is implemented is answered with 501.
    MethodTooLong 501 "the method is longer than any method",
    BadTarget 400 "the request target is not in a form that this method may have",
    BadVersion 400 "the request line does not end with an HTTP version",
    VersionNotSupported 505 "only HTTP/1.0 and HTTP/1.1 are spoken here",
    RequestLineTooLong 414 "the request line is too long",
    HeadTooLarge 431 "the header section is too large",
    TooManyFields 431 "there are too many header fields",
    TooManyEmptyLines 400 "there are too many empty lines before the request",
    BareLf 400 "a line ends with LF alone",
    BareCr 400 "a CR is not followed by LF",
    EmptyFieldName 400 "a field has no name",
    BadFieldName 400 "a field name holds a byte that is not allowed there",
    SpaceBeforeColon 400 "there is whitespace between a field name and its colon",
    FoldedLine 400 "a field line begins with whitespace",
    BadFieldValue 400 "a field value holds a control character",
    MissingHost 400 "the Host field is missing",
    RepeatedHost 400 "there is more than one Host field",
    BadHost 400 "the Host field or the target's authority is not a host and a port",
    BadContentLength 400 "Content-Length is not one decimal number",
    RepeatedContentLength 400 "there is more than one Content-Length field",
    LengthAndCoding 400 "both Content-Length and Transfer-Encoding are present",
    BadTransferCoding 400 "Transfer-Encoding is not exactly one final chunked",
    UnknownTransferCoding 501 "only the transfer coding chunked is known here",
    TransferCodingInHttp10 400 "HTTP/1.0 has no Transfer-Encoding",
    UnknownExpectation 417 "only the expectation 100-continue is known here",
    BodyTooLarge 413 "the body is too large",
    BadChunkSize 400 "a chunk size is not one to sixteen hexadecimal digits",
    BadChunkExtension 400 "a chunk extension holds a control character",
    ChunkLineTooLong 400 "a chunk-size line is too long",
    TooManyChunkExtensions 400 "the chunk extensions outweigh the data",
    BadChunkEnd 400 "the data of a chunk does not end with CRLF",
    TrailersTooLarge 431 "the trailer section is too large",
    TooManyTrailers 431 "there are too many trailer fields",
    // Of an answer: a gateway would say 502.
    BadStatusLine 502 "the answer does not begin with a version of HTTP/1 and a status of three digits",
    StatusLineTooLong 502 "the status line is too long",
    TooManyInterim 502 "there are too many interim answers",
    UnaskedUpgrade 502 "the server switches to a protocol that nobody asked for",
    ForbiddenTrailer 400 "a trailer field would change framing or routing",
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.reason())
    }
}

impl std::error::Error for Refusal {}
