//! Long poll: answered at once when there is something after `?since=ID`, else when there is, else 204 after 25 s. All who ask
//! for the same get the same bytes.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ropewalk_channel::{EventId, Limit, Since};
use ropewalk_net::Lost;
use ropewalk_reactor::Failure;
use ropewalk_reactor::failure::TimedOut;

use super::kind::Kind;
use super::{Feed, Joining, stream};
use crate::request::Request;
use crate::response::Response;
use crate::router::{Handler, handler};
use crate::travel::Packed;

/// How long a poll waits: under the half minute at which proxies begin to lose patience.
const PATIENCE: Duration = Duration::from_secs(25);

/// A handler that answers long polls: `{"events":[{"id":"…","data":"…"}],"next":"…"}`, with a `"gap"` when events were lost. Ask
/// again with `?since=` the `next`, which a 204 has in its `Last-Event-ID` field. A program that stops answers 204 at once.
#[must_use]
pub fn poll(feed: &Feed) -> impl Handler + use<> {
    let feed = feed.clone();
    handler(move |request: Request| {
        let joining =
            Joining { since: stream::since(&request).unwrap_or(Since::Now), name: None, until: None };
        request.wait_long();
        let feed = feed.clone();
        async move { answer(&feed, &request, joining).await }
    })
}

pub(super) async fn answer(feed: &Feed, request: &Request, joining: Joining) -> Result<Response, Failure> {
    // One that came from another process has waited there already.
    let left = stream::arrived(request).and_then(|arrived| arrived.left);
    let patience = feed.reactor().now() + left.unwrap_or(PATIENCE);
    let until = joining.until.map_or(patience, |until| until.min(patience));
    let _here = feed.channel().enter(joining.name.as_deref());
    // "From now on" becomes a place, so that nothing is missed while this waits.
    let mut place = match joining.since {
        Since::Now => Since::After(feed.channel().last()),
        other => other,
    };
    let mut over = false;
    loop {
        if let Some(body) = feed.poll_body(place) {
            return Ok(json_response(body));
        }
        // Only behind the look above: what came in the last moment is not passed over.
        if over || feed.channel().is_closed() {
            return Ok(nothing(feed.channel().last()));
        }
        if let Since::Last(_) | Since::Earliest = place {
            place = Since::After(feed.channel().last());
        }
        let Since::After(cursor) = place else { unreachable!("every other place was made one of these") };
        let left = until - feed.reactor().now();
        request.exchange().pack(Some(Packed { place: cursor.0, until: patience }));
        over = wait(feed, request, left).await?;
        request.exchange().pack(None);
    }
}

/// Waits for the next event; true when there was none in time, or the program stops.
async fn wait(feed: &Feed, request: &Request, left: Duration) -> Result<bool, Failure> {
    let changed = feed.changed();
    let mut changed = pin!(changed.add_timeout(left));
    let mut told = Some(Box::pin(request.notify_finish()));
    poll_fn(|context| {
        while let Some(Poll::Ready(outcome)) = told.as_mut().map(|told| told.as_mut().poll(context)) {
            told = match outcome.as_ref().err().and_then(|failure| failure.check()) {
                Some(Lost::Stopped) => return Poll::Ready(Ok(true)),
                // A client that has only ended its side still reads.
                Some(Lost::Ended) => Some(Box::pin(request.notify_finish())),
                _ => None,
            };
        }
        changed.as_mut().poll(context).map(|outcome| match outcome {
            Ok(()) => Ok(false),
            Err(failure) if failure.is::<TimedOut>() => Ok(true),
            Err(failure) => Err(failure),
        })
    })
    .await
}

fn nothing(next: EventId) -> Response {
    Response::empty(204).header("Last-Event-ID", next.to_string()).header("Cache-Control", "no-store")
}

fn json_response(body: Rc<[u8]>) -> Response {
    Response::new(body).content_type(Kind::Poll.content_type()).header("Cache-Control", "no-store")
}

impl Feed {
    /// The answer for what follows this place; `None` while nothing does.
    fn poll_body(&self, place: Since) -> Option<Rc<[u8]>> {
        let last = self.0.channel.last();
        if let (Since::After(id), Some((asked, at, body))) = (place, &*self.0.polled.borrow())
            && *asked == id
            && *at == last
        {
            return Some(Rc::clone(body));
        }
        let batch = self.0.channel.since(place, Limit::default());
        if batch.events.is_empty() && batch.gap.is_none() {
            return None;
        }
        let body: Rc<[u8]> = Kind::Poll.encode(&batch).into();
        if let Since::After(id) = place {
            *self.0.polled.borrow_mut() = Some((id, last, Rc::clone(&body)));
        }
        Some(body)
    }
}
