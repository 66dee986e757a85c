//! What can go wrong with a read or a write of a `Stream`. Made by `read` and `mod`; the reason of a lost connection comes from
//! the transport.

use std::fmt;

use crate::protocol::Lost;

/// Why a stream could not do what it was asked for.
///
/// An end that the peer made in an orderly way is `Closed(Lost::Ended)`, and it comes only after everything that was
/// received has been read or did not suffice.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StreamError {
    /// The connection is gone, or the peer has ended its direction.
    Closed(Lost),
    /// The peer sent this many bytes or more without what was asked for. The connection is being closed.
    Unsatisfiable {
        /// What the read was given as its limit.
        max_bytes: usize,
    },
    /// The stream's own buffer for reading or writing would grow beyond its limit; see
    /// [`StreamLimits`](super::StreamLimits).
    BufferFull {
        /// The buffer's limit.
        max_bytes: usize,
    },
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamError::Closed(lost) => write!(f, "the stream is closed: {lost}"),
            StreamError::Unsatisfiable { max_bytes } => {
                write!(f, "what was asked for is not within {max_bytes} bytes")
            }
            StreamError::BufferFull { max_bytes } => write!(f, "the buffer's limit is {max_bytes} bytes"),
        }
    }
}

impl std::error::Error for StreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StreamError::Closed(lost) => Some(lost),
            _ => None,
        }
    }
}
