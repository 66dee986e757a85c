//! Streams of events: Server-Sent Events (WHATWG HTML section 9.2) and lines of JSON. The handler that begins one, and the small
//! protocol that the connection is handed to, so that a viewer keeps nothing of its request. The stream ends with the connection.

use std::rc::Rc;

use ropewalk_channel::{EventId, Since};
use ropewalk_net::{Frozen, Lost, Protocol, Transport};

use super::kind::Kind;
use super::viewer::{Line, Viewer};
use super::{Feed, Joining};
use crate::request::Request;
use crate::response::Response;
use crate::router::{Handler, handler};
use crate::travel::{Arrived, Asked, Record};

/// A handler that streams a feed as Server-Sent Events. It begins after `Last-Event-ID` (or `?since=ID`, where 0 is the earliest
/// kept), else with the last `?last=N` events, else with the last `history`. `?history=N` is the same as `?last=N`.
#[must_use]
pub fn sse(feed: &Feed, history: usize) -> impl Handler + use<> {
    let feed = feed.clone();
    handler(move |request: Request| {
        let joining = Joining { since: since(&request).unwrap_or(last(history)), name: None, until: None };
        begin(&feed, &request, Kind::Sse, joining)
    })
}

/// The answer that is a stream.
pub(super) fn begin(feed: &Feed, request: &Request, kind: Kind, joining: Joining) -> Response {
    Response::takeover(Stream {
        feed: feed.clone(),
        kind,
        joining: Some(Box::new(joining)),
        viewer: None,
        asked: feed.remember(request.exchange().head.raw()),
        resumed: arrived(request).is_some(),
    })
    .content_type(kind.content_type())
    .header("Cache-Control", "no-cache")
    .header("X-Accel-Buffering", "no")
}

/// What is known of a request that came from another process.
pub(super) fn arrived(request: &Request) -> Option<Rc<Arrived>> {
    request.exchange().part::<Arrived>()
}

/// Where a client wants to begin, if it says so; one that was served by another process goes on where it was there. An id that is not one
/// of ours can only be answered with a gap.
pub(super) fn since(request: &Request) -> Option<Since> {
    if let Some(arrived) = arrived(request) {
        return Some(Since::After(EventId(arrived.place)));
    }
    let id = request.header("last-event-id").map(str::to_owned).or_else(|| request.argument("since"));
    if let Some(id) = id.filter(|id| !id.is_empty()) {
        return Some(Since::After(id.parse().unwrap_or(EventId::MAX)));
    }
    let count = request.argument("last").or_else(|| request.argument("history"));
    count.and_then(|count| count.parse().ok()).map(last)
}

/// The last so many.
pub(super) fn last(count: usize) -> Since {
    if count == 0 { Since::Now } else { Since::Last(count) }
}

struct Stream {
    feed: Feed,
    kind: Kind,
    /// Gone when it has joined: an idle viewer should be small.
    joining: Option<Box<Joining>>,
    viewer: Option<Rc<Viewer>>,
    /// The head of its request, for the next process to ask it again.
    asked: Rc<[u8]>,
    /// It goes on with what was begun elsewhere.
    resumed: bool,
}

impl Protocol for Stream {
    fn connection_made(&mut self, transport: &Transport) {
        if self.kind == Kind::Sse && !self.resumed {
            // Clients that were cut off together do not come back together.
            let retry_ms = 1_000 + transport.reactor().random() % 2_000;
            transport.write_with(|out| ropewalk_wire::sse::encode_retry(out, retry_ms));
        }
        if let Some(joining) = self.joining.take() {
            transport.set_deadline(joining.until);
            self.viewer = Some(self.feed.join(Line::Stream(transport.clone(), self.kind), &joining));
        }
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {
        // The request was the last thing that this client had to say.
    }

    fn woken(&mut self, _transport: &Transport) {
        if let Some(viewer) = &self.viewer {
            self.feed.catch_up(viewer);
        }
    }

    /// What let it read is over.
    fn timed_out(&mut self, transport: &Transport) {
        transport.lose_connection();
    }

    fn connection_lost(&mut self, _transport: &Transport, _lost: &Lost) {
        if let Some(viewer) = self.viewer.take() {
            self.feed.leave(&viewer);
        }
    }

    fn freezable(&self) -> bool {
        self.viewer.is_some()
    }

    /// What is written and not sent travels as it is; behind it the next process goes on at the cursor.
    fn freeze(&mut self, _transport: &Transport) -> Option<Frozen> {
        let asked = Asked {
            begun: Some(self.kind.content_type().to_owned()),
            place: self.viewer.as_ref()?.cursor.get().0,
            left_ms: None,
            close: true,
            holding: false,
            head: self.asked.to_vec(),
        };
        Some(Record { served: 1, asked: Some(asked) }.freeze())
    }
}
