//! Streams of events: Server-Sent Events (WHATWG HTML section 9.2) and lines of JSON. The handler that begins one, and the small
//! protocol that the connection is handed to, so that a viewer keeps nothing of its request. The stream ends with the connection.

use std::rc::Rc;

use ropewalk_channel::{EventId, Since};
use ropewalk_net::{Lost, Protocol, Transport};

use super::kind::Kind;
use super::viewer::{Line, Parked, Viewer};
use super::{Feed, Joining};
use crate::request::Request;
use crate::response::Response;
use crate::router::{Handler, handler};

/// A handler that streams a feed as Server-Sent Events. It begins after `Last-Event-ID` (or `?since=ID`, where 0 is the earliest
/// kept), else with the last `?last=N` events, else with the last `history`. `?history=N` is the same as `?last=N`.
#[must_use]
pub fn sse(feed: &Feed, history: usize) -> impl Handler + use<> {
    let feed = feed.clone();
    handler(move |request: Request| {
        let joining = Joining { since: since(&request).unwrap_or(last(history)), name: None, until: None };
        begin(&feed, Kind::Sse, joining)
    })
}

/// The answer that is a stream.
pub(super) fn begin(feed: &Feed, kind: Kind, joining: Joining) -> Response {
    Response::takeover(Stream {
        feed: feed.clone(),
        kind,
        joining: Some(Box::new(joining)),
        viewer: None,
        resumed: false,
    })
    .content_type(kind.content_type())
    .header("Cache-Control", "no-cache")
    .header("X-Accel-Buffering", "no")
}

/// The protocol that goes on with a stream whose connection came from another process; its head was sent there. None for a kind
/// that is no stream of this module.
#[must_use]
pub fn resume(feed: &Feed, parked: &Parked) -> Option<Box<dyn Protocol>> {
    if !matches!(parked.kind, Kind::Sse | Kind::Json) {
        return None;
    }
    let name = parked.name.as_deref().map(Rc::from);
    let joining = Some(Box::new(Joining { since: Since::After(parked.cursor), name, until: None }));
    Some(Box::new(Stream { feed: feed.clone(), kind: parked.kind, joining, viewer: None, resumed: true }))
}

/// Where a client wants to begin, if it says so. An id that is not one of ours can only be answered with a gap.
pub(super) fn since(request: &Request) -> Option<Since> {
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
}
