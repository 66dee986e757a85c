//! What becomes of a handler that is at work when its client leaves. The request or the route says what it wants; the
//! connection, which notices, acts.

use ropewalk_reactor::failure::Place;

use crate::answer::Answer;
use crate::request::Request;
use crate::router::{Handler, RouteError, Urls};

/// What becomes of the future that a handler returned, a deferred also, when nobody waits for its answer any more.
///
/// Unless a handler says otherwise, futures of the methods that only read (`GET`, `HEAD`, `OPTIONS`, `TRACE`) are cancelled
/// when the connection is lost, and all others complete: what changes something is not left half done. The same holds when
/// [the handler's deadline](crate::Limits::handler) passes, and when a responder has given the answer before the future has
/// come to its end.
///
/// A handler that wants to be told, and to decide then, asks for [`Request::notify_finish`]; so does whoever holds a
/// [`crate::Responder`], for behind that there is nothing that could be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfClientLeaves {
    /// It is dropped, which cancels a deferred inward: what it waits for is told to stop. This happens as soon as the client's end
    /// is seen, which stands behind requests that it has sent already. Most clients that end their side have left; one that only has
    /// nothing more to say gets no answer.
    Cancel,
    /// It goes on to its end as a task. What it answers is thrown away, and what fails in it is in the log.
    Complete,
}

/// A handler whose requests begin with a choice.
pub(crate) struct Choosing<H>(pub(crate) H, pub(crate) IfClientLeaves);

impl<H: Handler> Handler for Choosing<H> {
    fn handle(&self, request: Request) -> Answer {
        request.if_client_leaves(self.1);
        self.0.handle(request)
    }

    fn place(&self, method: &str, path: &str) -> Option<Place> {
        self.0.place(method, path)
    }

    fn urls(&self) -> Option<&Urls> {
        self.0.urls()
    }

    fn route_of(&self, path: &str) -> Option<&str> {
        self.0.route_of(path)
    }

    fn verify(&self) -> Result<(), RouteError> {
        self.0.verify()
    }
}
