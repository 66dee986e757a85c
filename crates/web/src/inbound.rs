//! A request's body on its way to the handler: the pieces that wait, how it ended, and who waits for whom. A part of the
//! exchange; the connection fills it, the request empties it.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use ropewalk_reactor::Time;

use crate::response::Response;

/// Why a body could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// It is larger than it may be: 413.
    TooLarge,
    /// Its framing was wrong: 400.
    Malformed(&'static str),
    /// It came too slowly, or not at all: 408.
    TimedOut,
    /// The connection was lost.
    Lost,
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BodyError::TooLarge => f.write_str("the body is larger than it may be"),
            BodyError::Malformed(why) => f.write_str(why),
            BodyError::TimedOut => f.write_str("the body came too slowly"),
            BodyError::Lost => f.write_str("the connection was lost in the middle of the body"),
        }
    }
}

impl std::error::Error for BodyError {}

impl crate::IntoResponse for BodyError {
    fn into_response(self) -> Response {
        let status = match self {
            BodyError::TooLarge => 413,
            BodyError::Malformed(_) | BodyError::Lost => 400,
            BodyError::TimedOut => 408,
        };
        Response::error(status, &self.to_string()).close()
    }
}

/// The request's body on its way to the handler.
#[derive(Default)]
pub(crate) struct Inbound {
    pub(crate) pieces: VecDeque<Vec<u8>>,
    pub(crate) buffered: usize,
    /// There is a body, and its end has not come.
    pub(crate) open: bool,
    pub(crate) error: Option<BodyError>,
    pub(crate) waker: Option<Waker>,
    pub(crate) trailers: Vec<(String, Vec<u8>)>,
    /// The client waits for a 100 before it sends the body.
    pub(crate) continue_owed: bool,
    /// Reading was paused because the handler is behind.
    pub(crate) paused: bool,
    /// Since when it is this side that holds the body up: reading is paused, or a 100 is owed.
    held_since: Option<Time>,
    /// For how long it did so before.
    held: Duration,
    /// A limit of this request's own.
    pub(crate) bytes_max: Option<u64>,
}

impl Inbound {
    /// From now on the client waits for this side.
    pub(crate) fn hold(&mut self, now: Time) {
        self.held_since.get_or_insert(now);
    }

    /// The client's turn again.
    pub(crate) fn release(&mut self, now: Time) {
        if let Some(since) = self.held_since.take() {
            self.held += now.since(since);
        }
    }

    /// Since when the client waits for this side, if it does, and for how long it did in all.
    pub(crate) fn held(&self, now: Time) -> (Option<Time>, Duration) {
        (self.held_since, self.held + self.held_since.map_or(Duration::ZERO, |since| now.since(since)))
    }
}
