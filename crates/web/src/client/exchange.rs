//! One request and its answer on one connection: what is still to be sent, what has come and waits to be read, and when
//! everything was. The connection fills it, the response empties it; neither calls the other.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ropewalk_net::FileSender;
use ropewalk_reactor::Time;
use ropewalk_wire::http1::{BodyEncoder, Framing, ResponseHead};

use super::connection::Connection;
use super::error::{ClientError, Phase};
use super::options::{ClientLimits, Deadlines};
use crate::response::ByteStream;

/// What is to be sent behind a head.
#[derive(Default)]
pub(super) enum Outgoing {
    /// Nothing more.
    #[default]
    Done,
    Static(&'static [u8]),
    Shared(Rc<[u8]>),
    File(Box<FileSender>),
    Stream(std::pin::Pin<Box<dyn ByteStream>>, BodyEncoder),
}

impl Outgoing {
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Outgoing::Done)
    }
}

/// Where an answer ended up, as far as sending the request again is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing of the request was handed to the system.
    Unsent,
    /// It was sent, and the connection ended before a byte of the answer.
    Unanswered,
    /// Anything else.
    Sealed,
}

/// The final head, and how its body ends.
pub(super) struct Answered {
    pub(super) head: ResponseHead,
    pub(super) framing: Framing,
}

/// When what was.
#[derive(Clone, Copy, Default)]
pub(super) struct Marks {
    /// Everything was handed to the system.
    pub(super) sent: Option<Time>,
    /// The last time that sending went on, and what the transport had sent then.
    pub(super) progress: Time,
    pub(super) progress_bytes: u64,
    /// It became the next to be answered.
    pub(super) front: Time,
    /// The first byte of the answer.
    pub(super) begun: Option<Time>,
    /// The head's end, and the last piece of the body.
    pub(super) head: Option<Time>,
    pub(super) piece: Time,
    /// Since when it is this side that holds the body up, and for how long it did before.
    pub(super) held_since: Option<Time>,
    pub(super) held: Duration,
    /// Bytes of the body so far.
    pub(super) received: u64,
    /// How many bytes it has, if its head says so; without an end of its own, more than there are.
    pub(super) length: Option<u64>,
    /// The body was let go of: so many of its bytes may still come, until then.
    pub(super) drain_bytes: Option<u64>,
    pub(super) drain_until: Time,
}

/// How long a body that nobody wants may keep its connection.
const DRAIN: Duration = Duration::from_secs(2);

enum Stage {
    Open,
    Ended,
    Failed(ClientError, Fate),
}

struct Inbound {
    head: Option<Box<Answered>>,
    pieces: VecDeque<Vec<u8>>,
    buffered: usize,
    stage: Stage,
    waker: Option<Waker>,
    trailers: Vec<(String, Vec<u8>)>,
}

pub(super) struct Exchange {
    pub(super) method: Box<str>,
    pub(super) deadlines: Deadlines,
    pub(super) total: Option<(Time, Duration)>,
    pub(super) buffer_bytes: usize,
    pub(super) drain_bytes_max: u64,
    pub(super) connection: RefCell<Weak<Connection>>,
    pub(super) outgoing: RefCell<Outgoing>,
    /// The body's stream was asked for something: what it has given cannot be given again.
    pub(super) begun: Cell<bool>,
    /// Until when the body waits for a 100.
    pub(super) continues_at: Cell<Option<Time>>,
    pub(super) marks: Cell<Marks>,
    /// What the transport will have sent when it comes to this request.
    pub(super) sent_before: Cell<u64>,
    inbound: RefCell<Inbound>,
}

impl Exchange {
    pub(super) fn new(
        method: &str,
        deadlines: &Deadlines,
        limits: &ClientLimits,
        total: Option<(Time, Duration)>,
        outgoing: Outgoing,
    ) -> Rc<Exchange> {
        Rc::new(Exchange {
            method: method.into(),
            deadlines: deadlines.clone(),
            total,
            buffer_bytes: limits.buffer_bytes,
            drain_bytes_max: limits.drain_bytes_max,
            connection: RefCell::default(),
            outgoing: RefCell::new(outgoing),
            begun: Cell::new(false),
            continues_at: Cell::new(None),
            marks: Cell::default(),
            sent_before: Cell::new(0),
            inbound: RefCell::new(Inbound {
                head: None,
                pieces: VecDeque::new(),
                buffered: 0,
                stage: Stage::Open,
                waker: None,
                trailers: Vec::new(),
            }),
        })
    }

    pub(super) fn mark(&self, change: impl FnOnce(&mut Marks)) {
        let mut marks = self.marks.get();
        change(&mut marks);
        self.marks.set(marks);
    }

    // What the connection tells.

    pub(super) fn answer(&self, answered: Answered) {
        self.tell(|inbound| inbound.head = Some(Box::new(answered)));
    }

    /// A piece of the body; answers whether there is room for more.
    pub(super) fn push(&self, data: &[u8], now: Time) -> bool {
        self.mark(|marks| {
            marks.piece = now;
            marks.received += data.len() as u64;
        });
        let mut room = true;
        self.tell(|inbound| {
            inbound.pieces.push_back(data.to_vec());
            inbound.buffered += data.len();
            room = inbound.buffered < self.buffer_bytes;
        });
        room
    }

    pub(super) fn end(&self, trailers: Vec<(String, Vec<u8>)>) {
        self.tell(|inbound| {
            inbound.trailers = trailers;
            inbound.stage = Stage::Ended;
        });
        self.leave();
    }

    pub(super) fn fail(&self, error: ClientError, fate: Fate) {
        self.tell(|inbound| {
            if matches!(inbound.stage, Stage::Open) {
                inbound.stage = Stage::Failed(error, fate);
            }
        });
        self.leave();
    }

    fn leave(&self) {
        *self.connection.borrow_mut() = Weak::new();
    }

    fn tell(&self, change: impl FnOnce(&mut Inbound)) {
        let mut inbound = self.inbound.borrow_mut();
        change(&mut inbound);
        let waker = inbound.waker.take();
        drop(inbound);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    // The clock.

    /// The next deadline, and what it means; `None` where nothing is waited for. `unsent` are bytes that the transport holds.
    pub(super) fn deadline(&self, unsent: usize) -> Option<(Time, Phase, Duration)> {
        let (marks, limits) = (self.marks.get(), &self.deadlines);
        let after =
            |from: Time, limit: Option<Duration>, phase| limit.map(|limit| (from + limit, phase, limit));
        let phase = match (marks.head, marks.begun, marks.sent) {
            _ if marks.drain_bytes.is_some() => Some((marks.drain_until, Phase::Idle, DRAIN)),
            (Some(_), ..) if marks.held_since.is_some() => None,
            (Some(head), ..) => {
                let idle = after(marks.piece, limits.idle, Phase::Idle);
                [idle, self.rate_deadline(&marks, head)].into_iter().flatten().min_by_key(|(at, ..)| *at)
            }
            (None, Some(begun), _) => after(begun, limits.head, Phase::Head),
            (None, None, Some(sent)) => after(sent.max(marks.front), limits.first_byte, Phase::FirstByte),
            // The peer takes it, or the program's own stream is waited for.
            (None, None, None) => None,
        };
        let sending = marks.sent.is_none() && unsent > 0;
        let send = after(marks.progress, limits.send.filter(|_| sending), Phase::Send);
        let total = self.total.map(|(at, limit)| (at, Phase::Total, limit));
        [phase, send, total].into_iter().flatten().min_by_key(|(at, ..)| *at)
    }

    /// When the body will have been slower than it may, if nothing more comes.
    fn rate_deadline(&self, marks: &Marks, head: Time) -> Option<(Time, Phase, Duration)> {
        let limits = &self.deadlines;
        let earned = marks.received.checked_mul(1000)?.checked_div(u64::from(limits.bytes_per_second_min))?;
        let limit = limits.rate_grace.max(Duration::from_millis(earned));
        Some((head + marks.held + limit, Phase::Rate, limit))
    }

    // What the response asks.

    /// The final head; it is there once.
    pub(super) fn poll_head(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Box<Answered>, (ClientError, Fate)>> {
        let mut inbound = self.inbound.borrow_mut();
        if let Some(answered) = inbound.head.take() {
            return Poll::Ready(Ok(answered));
        }
        if let Stage::Failed(error, fate) = &inbound.stage {
            return Poll::Ready(Err((error.clone(), *fate)));
        }
        inbound.waker = Some(context.waker().clone());
        Poll::Pending
    }

    pub(super) fn poll_piece(&self, context: &mut Context<'_>) -> Poll<Result<Option<Vec<u8>>, ClientError>> {
        let mut inbound = self.inbound.borrow_mut();
        if let Some(piece) = inbound.pieces.pop_front() {
            inbound.buffered -= piece.len();
            let resume = inbound.buffered <= self.buffer_bytes / 4 && self.marks.get().held_since.is_some();
            drop(inbound);
            if resume {
                self.resume();
            }
            return Poll::Ready(Ok(Some(piece)));
        }
        match &inbound.stage {
            Stage::Failed(error, _) => return Poll::Ready(Err(error.clone())),
            Stage::Ended => return Poll::Ready(Ok(None)),
            Stage::Open => {}
        }
        inbound.waker = Some(context.waker().clone());
        Poll::Pending
    }

    pub(super) fn trailers(&self) -> Vec<(String, Vec<u8>)> {
        self.inbound.borrow().trailers.clone()
    }

    fn resume(&self) {
        let connection = self.connection.borrow().upgrade();
        if let Some(connection) = connection {
            connection.resume(self);
        }
    }

    /// What was not sent, to be sent on another connection; nothing, if only a part of it is left.
    pub(super) fn reclaim(&self) -> Outgoing {
        if self.begun.get() { Outgoing::Done } else { self.outgoing.take() }
    }
}

/// Who waits for an answer. Dropping it lets go of what has not come: a small rest is thrown away, a large one costs the
/// connection.
pub(super) struct Handle(pub(super) Rc<Exchange>);

impl Drop for Handle {
    fn drop(&mut self) {
        let connection = self.0.connection.borrow().upgrade();
        if let Some(connection) = connection {
            {
                let mut inbound = self.0.inbound.borrow_mut();
                inbound.pieces.clear();
                inbound.buffered = 0;
            }
            connection.abandon(&self.0);
        }
    }
}

impl Marks {
    /// The rest of the body may go on for a moment.
    pub(super) fn drain(&mut self, bytes: u64, now: Time) {
        self.drain_bytes = Some(bytes);
        self.drain_until = now + DRAIN;
    }
}
