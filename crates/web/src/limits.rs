//! Every limit and deadline of HTTP, each with its default and why. One struct, so that an operator sees them together.
//! The connection reads it; nothing here acts.

use std::cell::Cell;
use std::time::Duration;

use ropewalk_wire::http1::{BodyLimits, HeadLimits};

/// What a client may do, and how long it may take. `None` where there is an `Option` means no limit.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From the accept to the first byte of the first request. 15 s: a preconnecting browser may take a moment.
    pub first_byte: Option<Duration>,
    /// From the first byte of a head to its last. 15 s: a head is one packet, or a few on a bad line.
    pub head: Option<Duration>,
    /// For a whole request body. 15 minutes: whoever takes large uploads on slow lines says so.
    pub body: Option<Duration>,
    /// Bytes per second that a body must keep up on average, after the first [`Limits::body_grace`]. 512.
    pub body_bytes_per_second_min: u32,
    /// How long a body may be slower than that. 10 s.
    pub body_grace: Duration,
    /// From the end of the head to the answer's first byte; the body's time does not count. 60 s, then 503. A handler that
    /// means to wait says so with [`crate::Request::wait_long`]. What becomes of the handler is what becomes of it when its client
    /// leaves: see [`crate::IfClientLeaves`].
    pub handler: Option<Duration>,
    /// Between two requests. 75 s, as nginx.
    pub keep_alive: Option<Duration>,
    /// Requests on one connection; then it is closed. None.
    pub requests_per_connection_max: Option<u32>,
    /// Bytes of a body that nobody reads, thrown away to keep the connection; a longer one costs it. 256 KiB.
    pub drain_bytes_max: u64,
    /// Bytes of a body held in memory while the handler does not read them; then reading stops. 64 KiB.
    pub body_buffer_bytes: usize,
    /// Sizes of a head: 414 and 431 beyond.
    pub head_sizes: HeadLimits,
    /// Sizes of a body: 413 beyond.
    pub body_sizes: BodyLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            first_byte: Some(Duration::from_secs(15)),
            head: Some(Duration::from_secs(15)),
            body: Some(Duration::from_secs(15 * 60)),
            body_bytes_per_second_min: 512,
            body_grace: Duration::from_secs(10),
            handler: Some(Duration::from_secs(60)),
            keep_alive: Some(Duration::from_secs(75)),
            requests_per_connection_max: None,
            drain_bytes_max: 256 * 1024,
            body_buffer_bytes: 64 * 1024,
            head_sizes: HeadLimits::default(),
            body_sizes: BodyLimits::default(),
        }
    }
}

/// Connections and requests that were ended by a limit, by reason, and what else a site counts.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) requests: Cell<u64>,
    pub(crate) refused: Cell<u64>,
    pub(crate) first_byte: Cell<u64>,
    pub(crate) head: Cell<u64>,
    pub(crate) body: Cell<u64>,
    pub(crate) body_rate: Cell<u64>,
    pub(crate) handler: Cell<u64>,
    pub(crate) keep_alive: Cell<u64>,
    pub(crate) failures: Cell<u64>,
    pub(crate) panics: Cell<u64>,
    pub(crate) unanswered: Cell<u64>,
}

/// Figures of one site on one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SiteStatistics {
    /// Requests answered, or begun and lost.
    pub requests: u64,
    /// Requests that were not HTTP, or beyond a size.
    pub refused: u64,
    /// Connections ended because no first byte came.
    pub first_byte_timeouts: u64,
    /// Connections ended in the middle of a head.
    pub head_timeouts: u64,
    /// Connections ended in the middle of a body.
    pub body_timeouts: u64,
    /// Bodies that were too slow.
    pub body_rate_timeouts: u64,
    /// Handlers that did not begin to answer in time.
    pub handler_timeouts: u64,
    /// Idle connections that were closed.
    pub keep_alive_timeouts: u64,
    /// Handlers that failed in any way, each an incident in the log.
    pub failures: u64,
    /// Those of them that panicked.
    pub panics: u64,
    /// Those of them that let go of their request without an answer.
    pub unanswered: u64,
}

pub(crate) fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

impl Counters {
    pub(crate) fn statistics(&self) -> SiteStatistics {
        SiteStatistics {
            requests: self.requests.get(),
            refused: self.refused.get(),
            first_byte_timeouts: self.first_byte.get(),
            head_timeouts: self.head.get(),
            body_timeouts: self.body.get(),
            body_rate_timeouts: self.body_rate.get(),
            handler_timeouts: self.handler.get(),
            keep_alive_timeouts: self.keep_alive.get(),
            failures: self.failures.get(),
            panics: self.panics.get(),
            unanswered: self.unanswered.get(),
        }
    }
}
