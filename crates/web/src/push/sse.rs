//! Server-Sent Events (WHATWG HTML section 9.2): the handler that begins a stream, and the small protocol that the connection
//! is handed to, so that a viewer keeps nothing of its request. The stream ends with the connection.

use std::rc::Rc;

use ropewalk_channel::{EventId, Since};
use ropewalk_net::{Lost, Protocol, Transport};

use super::Feed;
use super::viewer::{Kind, Viewer};
use crate::request::Request;
use crate::response::Response;
use crate::router::{Handler, handler};

/// A handler that streams a feed. It begins after `Last-Event-ID` (or `?since=ID`, where 0 is the earliest kept), else with the
/// last `?history=N` events, else with the last `history`.
#[must_use]
pub fn sse(feed: &Feed, history: usize) -> impl Handler + use<> {
    let feed = feed.clone();
    handler(move |request: Request| {
        let since = since(&request, history);
        Response::takeover(SseViewer { feed: feed.clone(), since, viewer: None })
            .content_type("text/event-stream; charset=utf-8")
            .header("Cache-Control", "no-cache")
            .header("X-Accel-Buffering", "no")
    })
}

/// Where a client wants to begin. An id that is not one of ours can only be answered with a gap.
pub(super) fn since(request: &Request, history: usize) -> Since {
    let id = request.header("last-event-id").map(str::to_owned).or_else(|| request.argument("since"));
    match id.filter(|id| !id.is_empty()) {
        Some(id) => Since::After(id.parse().unwrap_or(EventId::MAX)),
        None => match request.argument("history").and_then(|count| count.parse().ok()).unwrap_or(history) {
            0 => Since::Now,
            count => Since::Last(count),
        },
    }
}

struct SseViewer {
    feed: Feed,
    since: Since,
    viewer: Option<Rc<Viewer>>,
}

impl Protocol for SseViewer {
    fn connection_made(&mut self, transport: &Transport) {
        // Clients that were cut off together do not come back together.
        let retry_ms = 1_000 + transport.reactor().random() % 2_000;
        transport.write_with(|out| ropewalk_wire::sse::encode_retry(out, retry_ms));
        self.viewer = Some(self.feed.join(transport, Kind::Sse, self.since));
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {
        // The request was the last thing that this client had to say.
    }

    fn woken(&mut self, _transport: &Transport) {
        if let Some(viewer) = &self.viewer {
            self.feed.catch_up(viewer);
        }
    }

    fn connection_lost(&mut self, _transport: &Transport, _lost: &Lost) {
        if let Some(viewer) = self.viewer.take() {
            self.feed.leave(&viewer);
        }
    }
}
