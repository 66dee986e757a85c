//! What becomes of a failure: an id, one line in the log, and what the client may know of it. That every case of failing comes
//! to an incident is the business of the exchange, which makes it; the page for developers is in `page`. All of it is rare.

mod page;

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ropewalk_net::Lost;
use ropewalk_reactor::Failure;
use ropewalk_reactor::failure::{Cancelled, Place};
use ropewalk_wire::http1::{Head, reason_phrase};

use crate::accept::Preference;
use crate::errors;
use crate::exchange::{Exchange, Stage};
use crate::inbound::BodyError;
use crate::response::Response;

pub use page::Escaped;

/// Nothing of an error's answer runs, loads, or may be framed; the page for developers has a style of its own.
const POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const POLICY_STYLED: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A failure that belongs to a request.
pub(crate) struct Incident<'a> {
    /// Ten hexadecimal digits: short enough to be read out on the telephone.
    id: String,
    exchange: &'a Exchange,
    failure: &'a Failure,
    /// Where the handler was given to its router.
    handler: Option<Place>,
}

impl<'a> Incident<'a> {
    #[cold]
    pub(crate) fn new(exchange: &'a Exchange, failure: &'a Failure) -> Incident<'a> {
        let random = exchange.carrier().reactor().random();
        let head = &exchange.head;
        Incident {
            id: format!("{:010x}", random >> 24),
            exchange,
            failure,
            handler: exchange.site().handler.place(head.method(), head.path()),
        }
    }

    /// Tells the log everything, in one line for each failure.
    pub(crate) fn log(&self) {
        let when = match self.exchange.stage.get() {
            Stage::Waiting if self.exchange.given.borrow().is_none() => "a handler failed",
            Stage::Streaming => "a handler failed in the middle of its answer, which was broken off",
            Stage::Waiting | Stage::Finished => "a handler failed after its answer",
            Stage::Lost if is_loss(self.failure) => return self.whisper(),
            Stage::Lost => "a handler failed after its client had left",
        };
        let (head, handler, traceback) =
            (&self.exchange.head, Written(self.handler), format!("{:?}", self.failure));
        let request = self.exchange.if_rare(|rare| rare.id.clone());
        tracing::error!(
            incident = %self.id, exchange = %self.exchange.carrier().id(), request = request.as_deref(), method = head.method(), path = head.path(), %handler, "{when}: {traceback}"
        );
    }

    /// What comes of a client that left is no news.
    fn whisper(&self) {
        let (head, failure) = (&self.exchange.head, self.failure);
        tracing::debug!(method = head.method(), path = head.path(), "a handler lost its client: {failure}");
    }

    /// The answer: the status and the fields of `draft`, and as much of the failure as the client may know.
    pub(crate) fn answer(&self, mut draft: Response) -> Response {
        if !(400..600).contains(&draft.status) {
            // Whatever was meant, it went wrong.
            draft = draft.status(500);
        }
        let site = self.exchange.site();
        let html = site.debug && accepts_html(&self.exchange.head);
        draft =
            draft.content_type(if html { "text/html; charset=utf-8" } else { "text/plain; charset=utf-8" });
        match (site.debug, html) {
            (true, true) => draft.body = page::Page(self, draft.status).to_string().into(),
            (true, false) => draft.body = self.plainly(draft.status).into(),
            (false, _) => {
                const WHY: &str = "the server could not answer; the reason is in its log";
                draft = errors::show(site.pages.as_ref(), &self.exchange.head, draft, WHY, Some(&self.id));
            }
        }
        draft
            .default_header("Cache-Control", "no-store")
            .default_header("X-Content-Type-Options", "nosniff")
            .default_header("Content-Security-Policy", if html { POLICY_STYLED } else { POLICY })
    }

    /// The method as it stands in an answer. That to HEAD has the length of that to GET (RFC 9110 section 8.6), so it has its words.
    fn method(&self) -> &str {
        match self.exchange.head.method() {
            "HEAD" => "GET",
            method => method,
        }
    }

    /// Everything, for a developer with curl.
    fn plainly(&self, status: u16) -> String {
        let (Title(code, phrase), head) = (title(status), &self.exchange.head);
        let (method, path, handler) = (self.method(), head.path(), Written(self.handler));
        let (id, traceback) = (&self.id, format!("{:?}", self.failure));
        format!("{code} {phrase}, incident {id}\n{method} {path}\nhandler {handler}\n\n{traceback}\n")
    }
}

/// A status as one writes it.
struct Title(u16, &'static str);

fn title(status: u16) -> Title {
    Title(status, reason_phrase(status))
}

/// A place that may not be known.
struct Written(Option<Place>);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(place) => place.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

/// Whether it only says that the client has left, or that the handler was told to stop.
fn is_loss(failure: &Failure) -> bool {
    failure.is::<Cancelled>() || failure.is::<Lost>() || failure.is::<BodyError>()
}

/// Whether the client asks for HTML by name (RFC 9110 section 12.5.1). A `*/*` alone, which is what curl sends, does not: those
/// who read a terminal want plain text.
fn accepts_html(head: &Head) -> bool {
    Preference::of(head, "Accept").weight("text/html").is_some_and(|weight| weight > 0)
}

/// The errors under a failure, outermost first.
fn causes(failure: &Failure) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(failure.error().source(), |&error| error.source())
}

/// Drops what a handler left behind. Its destructors are the program's: when one of them panics, the log is told, and nobody
/// else is harmed.
pub(crate) fn discard<T>(left: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(left))) {
        report_drop(payload);
    }
}

/// Tells the log of a destructor's panic.
#[cold]
pub(crate) fn report_drop(payload: Box<dyn Any + Send>) {
    tracing::error!("dropping what a handler left behind: {}", Failure::from_panic(payload));
}

#[cfg(test)]
mod tests;
