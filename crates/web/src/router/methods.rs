//! The handlers of one path, by method, and what is answered for a method that has none. A few entries: looking through them
//! beats a map.

use std::rc::Rc;

use ropewalk_reactor::failure::Place;

use super::Handler;
use super::error::Wrong;
use crate::answer::Answer;
use crate::request::Request;
use crate::response::Response;

/// Takes every method that has no handler of its own.
pub(super) const ANY: &str = "*";

#[derive(Default)]
pub(super) struct Methods {
    handlers: Vec<(&'static str, Rc<dyn Handler>)>,
    /// Where each was added.
    places: Vec<Place>,
}

impl Methods {
    #[inline]
    pub(super) fn find(&self, method: &str) -> Option<&dyn Handler> {
        let find = |wanted: &str| {
            self.handlers.iter().find(|(known, _)| *known == wanted).map(|(_, handler)| &**handler)
        };
        find(method).or_else(|| if method == "HEAD" { find("GET") } else { None }).or_else(|| find(ANY))
    }

    pub(super) fn add(
        &mut self,
        method: &'static str,
        handler: Rc<dyn Handler>,
        place: Place,
    ) -> Result<(), Wrong> {
        if let Some(index) = self.handlers.iter().position(|(known, _)| *known == method) {
            let what = if method == ANY { "any method" } else { method };
            return Err(Wrong::clash(format!("{what} has a handler already"), self.places[index]));
        }
        self.handlers.push((method, handler));
        self.places.push(place);
        Ok(())
    }

    /// Where the first handler was added.
    pub(super) fn place(&self) -> Option<Place> {
        self.places.first().copied()
    }

    pub(super) fn wrap(&mut self, wrap: &dyn Fn(Rc<dyn Handler>) -> Rc<dyn Handler>) {
        for (_, handler) in &mut self.handlers {
            *handler = wrap(Rc::clone(handler));
        }
    }

    pub(super) fn into_entries(self) -> impl Iterator<Item = (&'static str, Rc<dyn Handler>, Place)> {
        self.handlers.into_iter().zip(self.places).map(|((method, handler), place)| (method, handler, place))
    }

    /// Answers a method that has no handler.
    #[cold]
    pub(super) fn refuse(&self, request: Request, refusing: Option<&dyn Handler>) -> Answer {
        let allowed = allowed(self.handlers.iter().map(|(method, _)| *method));
        refuse(request, allowed, refusing)
    }
}

/// For the `Allow` field (RFC 9110 section 10.2.1): `HEAD` goes with `GET`, and `OPTIONS` is always answered.
pub(crate) fn allowed(methods: impl Iterator<Item = &'static str>) -> String {
    let mut methods: Vec<&str> = methods.collect();
    if methods.contains(&"GET") && !methods.contains(&"HEAD") {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    methods.sort_unstable();
    methods.dedup();
    methods.join(", ")
}

/// 204 to `OPTIONS`, 405 to everything else, both with these methods.
pub(crate) fn refuse(request: Request, allowed: String, refusing: Option<&dyn Handler>) -> Answer {
    if request.method() == "OPTIONS" {
        return Answer::Now(Response::empty(204).header("Allow", allowed));
    }
    match refusing {
        Some(handler) => refused(handler.handle(request), allowed),
        None => {
            let response = Response::error(405, "this address does not take that method");
            Answer::Now(response.header("Allow", allowed))
        }
    }
}

/// An answer of the program's own, made a 405 unless it is another error already.
fn refused(answer: Answer, allowed: String) -> Answer {
    match answer {
        Answer::Now(response) => {
            let status = if response.status < 400 { 405 } else { response.status };
            Answer::Now(response.status(status).header("Allow", allowed))
        }
        Answer::Later(future) => Answer::Later(Box::pin(async move { refused(future.await, allowed) })),
        Answer::Taken => Answer::Taken,
    }
}
