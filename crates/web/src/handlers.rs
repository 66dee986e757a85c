//! Handler types, as in Tornado: an object is made for each request, is prepared, answers by the method of its own that is named
//! like the request's, and is told when it is over.
//!
//! ```text
//!  factory ─► default_headers ─► prepare ─► (data_received …) ─► get, post, … ─► on_finish
//!                                    └─ a failure, or send_error ─► write_error ──┘
//! ```
//!
//! ```
//! use ropewalk_web::handlers::{Call, RequestHandler, per_request};
//! use ropewalk_web::{Outcome, Rejection, Router};
//!
//! struct Story {
//!     titles: &'static [&'static str],
//! }
//!
//! impl RequestHandler for Story {
//!     async fn get(&mut self, call: &mut Call) -> Outcome<()> {
//!         let number: usize = call.path()?;
//!         let title = self.titles.get(number).ok_or_else(|| Rejection::new(404, "no such story"))?;
//!         call.write(format!("<h1>{title}</h1>"));
//!         Ok(())
//!     }
//! }
//! // What Tornado's `initialize` does is done by the function that makes the handler.
//! let router = Router::new()
//!     .regex(r"/story/(\d+)", per_request(|| Story { titles: &["The Rope", "The Walk"] }))
//!     .named("story");
//! # router.check().unwrap();
//! ```
//!
//! `HEAD` goes to `get`; `OPTIONS`, and the 405 to methods that are not there, name those that are. For that the methods are called
//! and what they return is dropped, so whoever writes one as a plain function, and not as an `async fn`, does nothing before its
//! future is awaited.

mod call;

use std::future::{Future, ready};
use std::rc::Rc;

use ropewalk_reactor::{Failure, Outcome};

use crate::answer::{Answer, IntoResponse};
use crate::exchange::{Exchange, Stage};
use crate::extract::Rejection;
use crate::inbound::BodyError;
use crate::request::Request;
use crate::response::Response;
use crate::router::allowed;

pub use call::Call;

macro_rules! handler_methods {
    ($($(#[$doc:meta])* $name:ident $method:literal,)*) => {
        /// What answers one request. The methods of it that are written are those that it takes.
        ///
        /// A failure that a method returns is answered by its kind: a [`Rejection`] and a [`BodyError`] by their status, everything
        /// else by a 500, which the log has as well.
        pub trait RequestHandler: 'static {
            /// Whether the body is given to [`RequestHandler::data_received`] piece by piece as it comes. Otherwise it is read before
            /// the method is called: [`Call::body`].
            const STREAMED: bool = false;

            /// Sets the fields that all answers of this handler have, errors too.
            fn default_headers(&self, call: &mut Call) {
                let _ = call;
            }

            /// Is called first, when the head has come and nothing of the body has. When it answers, by
            /// [`Call::finish`], [`Call::redirect`], [`Call::send_error`] or a failure, nothing else is called.
            fn prepare(&mut self, call: &mut Call) -> impl Future<Output = Outcome<()>> {
                let _ = call;
                ready(Ok(()))
            }

            /// Is given a piece of the body, if the handler is [streamed](RequestHandler::STREAMED). The client is not read on
            /// before it has come to its end.
            fn data_received(&mut self, call: &mut Call, piece: Vec<u8>) -> impl Future<Output = Outcome<()>> {
                let _ = (call, piece);
                ready(Ok(()))
            }

            $($(#[$doc])*
            fn $name(&mut self, call: &mut Call) -> impl Future<Output = Outcome<()>> {
                call.mark_unimplemented();
                ready(Ok(()))
            })*

            /// Writes the page of an error; the status is set already. Unless it is written anew, that is the usual page, with the
            /// id of an incident for what is not the client's fault. The log has the failure either way.
            fn write_error(&mut self, call: &mut Call, status: u16, failure: &Failure) {
                let _ = (status, failure);
                call.mark_unimplemented();
            }

            /// Is called last, when the answer is complete or the client is gone; not after a panic.
            fn on_finish(&mut self) {}

            /// Is called when the client has left before the answer was complete: for methods that only read as soon as the
            /// connection is lost, and the method's future is dropped before; for the others once the method has come to its
            /// end. [`Request::if_client_leaves`] chooses otherwise.
            fn on_connection_close(&mut self) {}
        }

        async fn dispatch<H: RequestHandler>(handler: &mut H, call: &mut Call, method: &str) -> Option<Outcome<()>> {
            call.clear_mark();
            match method {
                $($method => {
                    let future = handler.$name(call);
                    // The mark is made when the future is, if at all.
                    let outcome = future.await;
                    if call.clear_mark() { None } else { Some(outcome) }
                })*
                _ => None,
            }
        }

        fn implemented<H: RequestHandler>(handler: &mut H, call: &mut Call) -> Vec<&'static str> {
            let mut methods = Vec::new();
            $(
                call.clear_mark();
                drop(handler.$name(call));
                if !call.clear_mark() {
                    methods.push($method);
                }
            )*
            methods
        }
    };
}

handler_methods! {
    /// Answers `GET`, and `HEAD` where there is no `head`.
    get "GET",
    /// Answers `HEAD`. The body is not sent, and its length is.
    head "HEAD",
    /// Answers `POST`.
    post "POST",
    /// Answers `PUT`.
    put "PUT",
    /// Answers `DELETE`.
    delete "DELETE",
    /// Answers `PATCH`.
    patch "PATCH",
    /// Answers `OPTIONS`, which otherwise is a 204 with `Allow`.
    options "OPTIONS",
}

/// A handler for [`Router::any`](crate::Router::any), [`Router::regex`](crate::Router::regex) and all that is like them, from a function
/// that makes one for each request.
pub fn per_request<H: RequestHandler>(
    factory: impl Fn() -> H + 'static,
) -> impl Fn(Request) -> Answer + 'static {
    move |request| Answer::Later(Box::pin(run(factory(), request)))
}

/// Holds the handler while it works, and tells it when it is let go of.
struct Held<H: RequestHandler> {
    handler: Option<H>,
    exchange: Rc<Exchange>,
}

impl<H: RequestHandler> Drop for Held<H> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if let Some(mut handler) = self.handler.take() {
            if self.exchange.stage.get() != Stage::Finished {
                handler.on_connection_close();
            }
            handler.on_finish();
        }
    }
}

async fn run<H: RequestHandler>(handler: H, request: Request) -> Answer {
    let exchange = Rc::clone(request.exchange());
    let mut held = Held { handler: Some(handler), exchange: Rc::clone(&exchange) };
    let mut call = Call::new(request);
    let Some(handler) = &mut held.handler else { return Answer::Taken };
    handler.default_headers(&mut call);
    let outcome = work(handler, &mut call).await;
    if exchange.stage.get() == Stage::Lost {
        // Nobody is there for an answer. What went wrong is for the log, unless it is just that.
        let left = |failure: &Failure| failure.is::<ropewalk_net::Lost>() || failure.is::<BodyError>();
        if let Some(failure) = outcome.err().filter(|failure| !left(failure)) {
            exchange.fail(failure);
        }
        return Answer::Taken;
    }
    let answer = match outcome.and(call.take_error()) {
        Ok(()) => call.conclude(),
        Err(failure) => fail(handler, &mut call, failure),
    };
    let finished = call.request().notify_finish();
    let handler = held.handler.take();
    drop(finished.add_both(move |outcome| {
        if let Some(mut handler) = handler {
            if outcome.is_err() {
                handler.on_connection_close();
            }
            handler.on_finish();
        }
    }));
    answer
}

async fn work<H: RequestHandler>(handler: &mut H, call: &mut Call) -> Outcome<()> {
    handler.prepare(call).await?;
    if call.is_finished() {
        return Ok(());
    }
    while let Some(piece) = call.piece().await? {
        if !H::STREAMED {
            call.keep(piece);
            continue;
        }
        handler.data_received(call, piece).await?;
        if call.is_finished() {
            return Ok(());
        }
    }
    if !H::STREAMED {
        call.read_form()?;
    }
    let method = call.request().method().to_owned();
    if let Some(outcome) = dispatch(handler, call, &method).await {
        return outcome;
    }
    if method == "HEAD"
        && let Some(outcome) = dispatch(handler, call, "GET").await
    {
        return outcome;
    }
    let allow = allowed(implemented(handler, call).into_iter());
    if method == "OPTIONS" {
        call.set_status(204);
        call.set_header("Allow", allow);
        return Ok(());
    }
    Err(Rejection::new(405, "this address does not take that method").header("Allow", &allow).into())
}

/// The answer to what went wrong.
fn fail<H: RequestHandler>(handler: &mut H, call: &mut Call, failure: Failure) -> Answer {
    if call.is_begun() {
        return call.break_off(failure);
    }
    call.clear();
    handler.default_headers(call);
    let refused = refusal(call, &failure);
    let status = refused.as_ref().map_or(500, Response::code);
    call.set_status(status);
    call.clear_mark();
    handler.write_error(call, status, &failure);
    let usual = call.clear_mark();
    let page = match refused {
        Some(page) => page,
        None if usual => Response::failure(failure),
        None => {
            call.exchange().report(&failure);
            Response::empty(500)
        }
    };
    Answer::Now(if usual { call.dress(page) } else { call.page(page) })
}

/// The answer to a failure that is the client's own.
fn refusal(call: &Call, failure: &Failure) -> Option<Response> {
    if let Some(rejection) = failure.check::<Rejection>() {
        return (rejection.status() != 500).then(|| rejection.clone().answer(call.exchange().wants_json()));
    }
    Some(failure.check::<BodyError>()?.clone().into_response())
}
