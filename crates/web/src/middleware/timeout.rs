//! A time limit for handlers, shorter or longer than the site's. The clock is the reactor's; the answer goes the way of one that a
//! responder gives, so that it does not matter in which form the handler would have answered.

use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::DelayedCall;

use super::{Middleware, Next};
use crate::answer::Answer;
use crate::exchange::{Exchange, Stage};
use crate::leaving::IfClientLeaves;
use crate::limits::count;
use crate::request::Request;
use crate::response::Response;

/// Answers 503 in the place of a handler that has not begun to answer after a time, counted from the request's head; the time that
/// the body takes counts. The handler's future is cancelled, unless it chose to [complete](IfClientLeaves::Complete); what its
/// responder writes later reaches nobody. Of several the shortest holds. One that is longer than the site's
/// [`crate::Limits::handler`] takes the place of that.
///
/// ```
/// use std::time::Duration;
/// use ropewalk_web::{Handler, Request, Router, Timeout, handler};
/// let report = handler(|request: Request| request.reactor().defer_to_thread(|| "all is well"));
/// let gateway = report.with(Timeout::new(Duration::from_secs(5)).status(504));
/// let router = Router::new().route("GET", "/report", gateway);
/// # drop(router);
/// ```
pub struct Timeout {
    after: Duration,
    status: u16,
}

impl Timeout {
    /// 503 after this time.
    #[must_use]
    pub fn new(after: Duration) -> Timeout {
        Timeout { after, status: 503 }
    }

    /// The same with another status: 504 where somebody else is waited for.
    #[must_use]
    pub fn status(self, status: u16) -> Timeout {
        Timeout { status, ..self }
    }
}

impl Middleware for Timeout {
    fn handle(&self, request: Request, next: &Next) -> Answer {
        let exchange = Rc::clone(request.exchange());
        let answer = next.handle(request);
        if matches!(answer, Answer::Now(_)) || exchange.stage.get() != Stage::Waiting {
            return answer;
        }
        if exchange.site().limits.handler.is_some_and(|limit| self.after >= limit) {
            exchange.patient.set(true);
        }
        let sooner = |limit: &mut Limit| limit.0.time();
        let at = exchange.started + self.after;
        let earlier = exchange.if_rare(|rare| rare.limit.as_mut().and_then(sooner));
        if earlier.is_none_or(|earlier| at < earlier) {
            let (late, status) = (Rc::downgrade(&exchange), self.status);
            let call = exchange.carrier().reactor().call_at(at, move || {
                if let Some(exchange) = late.upgrade() {
                    is_late(&exchange, status);
                }
            });
            exchange.rare().limit = Some(Limit(call));
        }
        answer
    }
}

fn is_late(exchange: &Exchange, status: u16) {
    if exchange.stage.get() != Stage::Waiting || exchange.given.borrow().is_some() {
        return;
    }
    count(&exchange.site().counters.handler);
    let (method, path) = (exchange.head.method(), exchange.head.path());
    tracing::error!(method, path, "a handler did not begin to answer in time");
    // Whoever still means to answer could not know.
    exchange.failed.set(true);
    if exchange.leaving.get().is_none() {
        exchange.leaving.set(Some(IfClientLeaves::Cancel));
    }
    exchange.give(Response::error(status, "the server took too long to answer"));
}

/// A time limit that is running; it goes with its request.
pub(crate) struct Limit(DelayedCall);

impl Drop for Limit {
    fn drop(&mut self) {
        // It fails when its time has come.
        let _ = self.0.cancel();
    }
}
