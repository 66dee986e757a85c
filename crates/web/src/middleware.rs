//! Middleware: what stands around a handler and sees a request before it and its answer behind it. The trait, the order, and what
//! wraps a handler; each middleware of ours is a file below. Sites, routers and routes are given them by `with`.

mod body_limit;
mod cors;
mod metrics;
mod rate_limit;
mod request_id;
mod security;
mod timeout;

use std::rc::Rc;

use ropewalk_reactor::failure::Place;

use crate::answer::{Answer, IntoAnswer};
use crate::request::Request;
use crate::response::Response;
use crate::router::{Handler, RouteError, Urls};

pub use body_limit::BodyLimit;
pub use cors::Cors;
pub use metrics::Metrics;
pub use rate_limit::RateLimit;
pub use request_id::RequestId;
pub use security::SecurityHeaders;
pub(crate) use timeout::Limit;
pub use timeout::Timeout;

/// What stands around a handler. It may answer in its place, change what passes, or wait before and behind it.
///
/// The first one that is added is the outermost: it sees the request first and the answer last. A function is one through
/// [`middleware`], which is shorter, and may be asynchronous.
///
/// There are two ways to look at an answer. [`Answer::map`] sees what a handler returned, at once or later.
/// [`Request::on_answer`] sees the head of whatever is sent, also by a responder, or by the site after a panic or a deadline.
///
/// ```
/// use ropewalk_web::{Answer, Middleware, Next, Request, Response};
/// /// Lets in who knows the word.
/// struct Secret(&'static str);
/// impl Middleware for Secret {
///     fn handle(&self, request: Request, next: &Next) -> Answer {
///         match request.header("x-secret") {
///             Some(word) if ropewalk_web::constant_time_eq(word.as_bytes(), self.0.as_bytes()) => next.handle(request),
///             _ => Answer::Now(Response::error(403, "say the word")),
///         }
///     }
/// }
/// ```
pub trait Middleware: 'static {
    /// Answers, mostly by asking `next`. It may keep a clone of that, and ask later.
    fn handle(&self, request: Request, next: &Next) -> Answer;
}

impl<W: Middleware + ?Sized> Middleware for Rc<W> {
    fn handle(&self, request: Request, next: &Next) -> Answer {
        (**self).handle(request, next)
    }
}

/// What stands behind a middleware: the next one, or the handler.
#[derive(Clone)]
pub struct Next(Rc<dyn Handler>);

impl Next {
    /// Its answer. A panic passes by whoever asks, up to the connection, which answers for it.
    pub fn handle(&self, request: Request) -> Answer {
        self.0.handle(request)
    }
}

struct Function<F>(F);

impl<F: Fn(Request, Next) -> Answer + 'static> Middleware for Function<F> {
    fn handle(&self, request: Request, next: &Next) -> Answer {
        (self.0)(request, next.clone())
    }
}

/// A middleware from a function, which may return whatever a handler may, and an [`Answer`], also in a `Result`.
///
/// ```
/// use std::time::Duration;
/// use ropewalk_reactor::Failure;
/// use ropewalk_web::{Handler, Next, Request, Router, middleware};
/// let unhurried = middleware(|request: Request, next: Next| async move {
///     request.reactor().sleep(Duration::from_millis(100)).await;
///     if request.path().len() > 1000 {
///         return Err(Failure::new("that goes too far"));
///     }
///     let answer = next.handle(request).settle().await;
///     Ok(answer.map(|response| response.header("X-Unhurried", "yes")))
/// });
/// let handler = Router::new().get("/", |_| "Hello, World!").with(unhurried);
/// # drop(handler);
/// ```
pub fn middleware<F, R, M>(function: F) -> impl Middleware
where
    F: Fn(Request, Next) -> R + 'static,
    R: IntoAnswer<M>,
{
    Function(move |request, next| function(request, next).into_answer())
}

/// A handler within middlewares; see [`Handler::with`].
#[derive(Clone)]
pub struct Layered {
    layers: Vec<Rc<dyn Middleware>>,
    inner: Rc<dyn Handler>,
    /// All of it, put together.
    first: Next,
}

impl Layered {
    pub(crate) fn new(inner: Rc<dyn Handler>) -> Layered {
        Layered { layers: Vec::new(), first: Next(Rc::clone(&inner)), inner }
    }

    /// The same with one more, within those that are there.
    #[must_use]
    pub fn with(mut self, middleware: impl Middleware) -> Layered {
        self.layers.push(Rc::new(middleware));
        let inner = Next(Rc::clone(&self.inner));
        let layers = self.layers.iter().rev();
        self.first = layers.fold(inner, |next, layer| Next(Rc::new(Layer(Rc::clone(layer), next))));
        self
    }
}

impl Handler for Layered {
    fn handle(&self, request: Request) -> Answer {
        self.first.handle(request)
    }

    fn place(&self, method: &str, path: &str) -> Option<Place> {
        self.inner.place(method, path)
    }

    fn route_of(&self, path: &str) -> Option<&str> {
        self.inner.route_of(path)
    }

    fn verify(&self) -> Result<(), RouteError> {
        self.inner.verify()
    }

    fn urls(&self) -> Option<&Urls> {
        self.inner.urls()
    }
}

/// One middleware and what stands behind it.
struct Layer(Rc<dyn Middleware>, Next);

impl Handler for Layer {
    fn handle(&self, request: Request) -> Answer {
        self.0.handle(request, &self.1)
    }
}

/// Knows no path: what a site has while its handler is being wrapped.
pub(crate) struct Nothing;

impl Handler for Nothing {
    fn handle(&self, _request: Request) -> Answer {
        Answer::Now(Response::error(404, "there is nothing at this address"))
    }
}
