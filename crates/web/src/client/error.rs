//! Why a request came to nothing, grouped by blame. What connecting fails of is `ropewalk_net`'s own error and not wrapped here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_net::Lost;
use ropewalk_net::tls::TlsError;
use ropewalk_reactor::Failure;
use ropewalk_wire::http1::Refusal;

use super::url::UrlError;

/// Why a request has failed: to be looked for with [`Failure::check`].
///
/// A name that is not found and an address that does not answer fail as [`ropewalk_net::connect`] says; a request that was
/// cancelled as [`ropewalk_reactor::failure::Cancelled`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// The program gave a URL that is none.
    Url(UrlError),
    /// The program asked for what cannot be sent; the text says what.
    Misuse(&'static str),
    /// The URL begins with `https`, and the agent has no connector that can do TLS.
    NeedsTls,
    /// TLS with this host has failed: its certificate is not accepted, it accepts not ours, or it speaks no TLS.
    Tls {
        /// Whom the connection was to.
        host: String,
        /// What is wrong, and who can do what about it.
        error: TlsError,
    },
    /// As many requests wait for a connection as may.
    QueueFull,
    /// The agent was closed.
    Closed,
    /// The body that the program sends has failed.
    Body(Box<Failure>),
    /// A deadline has passed.
    TimedOut {
        /// Which.
        phase: Phase,
        /// How long it was.
        limit: Duration,
    },
    /// The connection was lost before the answer began.
    Unanswered(Lost),
    /// The connection was lost in the middle of the answer.
    Truncated(Lost),
    /// The answer is not HTTP, or larger than it may be.
    Answer(Refusal),
    /// The answer's body is larger than it may be.
    TooLarge {
        /// How many bytes it may have.
        bytes_max: u64,
    },
    /// The answer's body cannot be decompressed, or not within the bounds; the text says why.
    Coding(&'static str),
    /// The answer's text is in a character set that is not known here.
    Charset(String),
    /// There are more redirects than are followed.
    TooManyRedirects(u32),
    /// A redirect is not followed; the text says why.
    Redirect(&'static str),
    /// The proxy did not make the tunnel, and answered with this status.
    Proxy(u16),
    /// The answer's status is not one of success, where that was asked for.
    Status(u16),
}

/// The phases of a request, each with a deadline of its own; see [`Deadlines`](super::Deadlines).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Waiting for one of the connections that the agent may have.
    Queue,
    /// The TLS handshake.
    Tls,
    /// The proxy's answer to CONNECT.
    Tunnel,
    /// Sending the request.
    Send,
    /// From the request's end to the answer's first byte.
    FirstByte,
    /// From the answer's first byte to the end of its head.
    Head,
    /// Between two pieces of the body.
    Idle,
    /// The body came slower than it may.
    Rate,
    /// Everything together.
    Total,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Queue => "waiting for a free connection",
            Phase::Tls => "the TLS handshake",
            Phase::Tunnel => "the proxy's tunnel",
            Phase::Send => "sending the request",
            Phase::FirstByte => "the answer's first byte",
            Phase::Head => "the answer's head",
            Phase::Idle => "the answer's body",
            Phase::Rate => "the answer's body, which comes too slowly",
            Phase::Total => "the whole request",
        })
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Url(error) => error.fmt(f),
            ClientError::Misuse(why) => f.write_str(why),
            ClientError::NeedsTls => f.write_str(
                "https needs TLS, and this agent's connector has none: leave Agent::with_connector out",
            ),
            ClientError::Tls { host, error } => write!(f, "{host}: {error}"),
            ClientError::QueueFull => f.write_str("too many requests wait for a connection"),
            ClientError::Closed => f.write_str("the agent was closed"),
            ClientError::Body(failure) => write!(f, "the body to be sent has failed: {failure}"),
            ClientError::TimedOut { phase, limit } => write!(f, "{phase} took longer than {limit:?}"),
            ClientError::Unanswered(lost) => write!(f, "the connection was lost before the answer: {lost}"),
            ClientError::Truncated(lost) => {
                write!(f, "the connection was lost in the middle of the answer: {lost}")
            }
            ClientError::Answer(refusal) => write!(f, "the answer is refused: {refusal}"),
            ClientError::TooLarge { bytes_max } => write!(f, "the answer has more than {bytes_max} bytes"),
            ClientError::Coding(why) => write!(f, "the answer cannot be decompressed: {why}"),
            ClientError::Charset(name) => write!(f, "the character set {name:?} is not known"),
            ClientError::TooManyRedirects(most) => write!(f, "more than {most} redirects"),
            ClientError::Redirect(why) => write!(f, "a redirect is not followed: {why}"),
            ClientError::Proxy(status) => write!(f, "the proxy makes no tunnel: it answers {status}"),
            ClientError::Status(status) => {
                let phrase = ropewalk_wire::http1::reason_phrase(*status);
                write!(f, "the server answers {status} {phrase}")
            }
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ClientError::Url(error) => Some(error),
            ClientError::Unanswered(Lost::Broken(error)) | ClientError::Truncated(Lost::Broken(error)) => {
                let error: &Arc<std::io::Error> = error;
                Some(&**error)
            }
            ClientError::Tls { error, .. } => Some(error),
            ClientError::Answer(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl From<UrlError> for ClientError {
    fn from(error: UrlError) -> ClientError {
        ClientError::Url(error)
    }
}
