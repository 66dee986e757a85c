//! The router: from a path and a method to a handler. It sees the head only. Literal paths are one map look-up; paths with
//! parameters go through `matchit`.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use ropewalk_reactor::failure::Place;

use crate::answer::{Answer, IntoAnswer};
use crate::leaving::{Choosing, IfClientLeaves};
use crate::request::{Params, Request};
use crate::response::Response;

/// What answers requests. A router is one, and so is every function from a request to an answer, through [`handler`].
pub trait Handler: 'static {
    /// Answers, or begins to.
    fn handle(&self, request: Request) -> Answer;

    /// Where the program made the handler that answers such a request, if that is known. Asked for when it has failed.
    fn place(&self, _method: &str, _path: &str) -> Option<Place> {
        None
    }

    /// The same, beginning every request with [`Request::if_client_leaves`].
    ///
    /// ```
    /// use ropewalk_web::{Handler, IfClientLeaves, Request, Router, handler};
    /// let count = handler(|request: Request| request.reactor().defer_to_thread(|| "a visitor more"));
    /// let router = Router::new().route("GET", "/count", count.if_client_leaves(IfClientLeaves::Complete));
    /// # drop(router);
    /// ```
    fn if_client_leaves(self, choice: IfClientLeaves) -> impl Handler
    where
        Self: Sized,
    {
        Choosing(self, choice)
    }
}

impl<H: Handler + ?Sized> Handler for Rc<H> {
    fn handle(&self, request: Request) -> Answer {
        (**self).handle(request)
    }

    fn place(&self, method: &str, path: &str) -> Option<Place> {
        (**self).place(method, path)
    }
}

struct Function<F>(F, Place);

impl<F: Fn(Request) -> Answer + 'static> Handler for Function<F> {
    fn handle(&self, request: Request) -> Answer {
        (self.0)(request)
    }

    fn place(&self, _: &str, _: &str) -> Option<Place> {
        Some(self.1)
    }
}

/// A handler from a function.
#[track_caller]
pub fn handler<F, R, M>(function: F) -> impl Handler
where
    F: Fn(Request) -> R + 'static,
    R: IntoAnswer<M>,
{
    Function(move |request| function(request).into_answer(), Location::caller())
}

/// Paths, methods and handlers.
///
/// A path is literal, or has parameters: `/user/{id}` takes one segment, `/files/{*rest}` takes all that is left. `HEAD` goes to
/// the `GET` handler, `OPTIONS` and 405 are answered from the methods that are there.
///
/// ```
/// use ropewalk_web::{Request, Router};
/// let router = Router::new()
///     .get("/", |_| "Hello, World!")
///     .get("/user/{id}", |request: Request| format!("user {}", request.param("id").unwrap_or_default()))
///     .post("/report", |request: Request| async move {
///         let body = request.bytes().await?;
///         Ok::<_, ropewalk_web::BodyError>(format!("{} bytes", body.len()))
///     });
/// # drop(router);
/// ```
#[derive(Default)]
pub struct Router {
    literal: BTreeMap<String, Methods>,
    patterns: matchit::Router<usize>,
    matched: Vec<Methods>,
    /// Patterns as written, so that a second method of one pattern finds the first.
    known: BTreeMap<String, usize>,
    fallback: Option<Box<dyn Handler>>,
    errors: Vec<RouteError>,
}

/// What is wrong with a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteError {
    path: String,
    why: String,
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route {:?}: {}", self.path, self.why)
    }
}

impl std::error::Error for RouteError {}

/// The handlers of one path, by method. A few entries: looking through them beats a map.
#[derive(Default)]
struct Methods(Vec<(&'static str, Rc<dyn Handler>)>);

impl Methods {
    #[inline]
    fn find(&self, method: &str) -> Option<&dyn Handler> {
        let find =
            |wanted: &str| self.0.iter().find(|(known, _)| *known == wanted).map(|(_, handler)| &**handler);
        find(method).or_else(|| if method == "HEAD" { find("GET") } else { None }).or_else(|| find("*"))
    }

    /// For the `Allow` field (RFC 9110 section 10.2.1).
    fn allowed(&self) -> String {
        let mut methods: Vec<&str> = self.0.iter().map(|(method, _)| *method).collect();
        if methods.contains(&"GET") && !methods.contains(&"HEAD") {
            methods.push("HEAD");
        }
        methods.push("OPTIONS");
        methods.sort_unstable();
        methods.dedup();
        methods.join(", ")
    }

    fn handle(&self, request: Request) -> Answer {
        if let Some(handler) = self.find(request.method()) {
            return handler.handle(request);
        }
        let response = if request.method() == "OPTIONS" {
            Response::empty(204)
        } else {
            Response::error(405, "this address does not take that method")
        };
        Answer::Now(response.header("Allow", self.allowed()))
    }
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident $method:literal,)*) => {
        $($(#[$doc])*
        #[must_use]
        #[track_caller]
        pub fn $name<F, R, M>(self, path: &str, function: F) -> Router
        where
            F: Fn(Request) -> R + 'static,
            R: IntoAnswer<M>,
        {
            self.route($method, path, handler(function))
        })*
    };
}

impl Router {
    /// A router that knows no path.
    #[must_use]
    pub fn new() -> Router {
        Router::default()
    }

    methods! {
        /// Answers `GET`, and `HEAD` with the same head and no body.
        get "GET",
        /// Answers `POST`.
        post "POST",
        /// Answers `PUT`.
        put "PUT",
        /// Answers `DELETE`.
        delete "DELETE",
        /// Answers `PATCH`.
        patch "PATCH",
        /// Answers every method that has no handler of its own.
        any "*",
    }

    /// Adds a handler for a method and a path. What is wrong with the path is kept for [`Router::check`]; such a route
    /// answers nothing.
    #[must_use]
    pub fn route(mut self, method: &'static str, path: &str, handler: impl Handler) -> Router {
        if let Err(why) = self.add(method, path, Rc::new(handler)) {
            self.errors.push(RouteError { path: path.to_owned(), why });
        }
        self
    }

    /// Answers whatever no route does, instead of 404.
    #[must_use]
    pub fn fallback(mut self, handler: impl Handler) -> Router {
        self.fallback = Some(Box::new(handler));
        self
    }

    /// Whether every route could be understood. A server asks before it binds.
    ///
    /// # Errors
    /// The first route that could not.
    pub fn check(&self) -> Result<(), RouteError> {
        self.errors.first().map_or(Ok(()), |error| Err(error.clone()))
    }

    fn add(&mut self, method: &'static str, path: &str, handler: Rc<dyn Handler>) -> Result<(), String> {
        if !path.starts_with('/') {
            return Err("a path begins with a slash".to_owned());
        }
        let methods = if path.contains(['{', '}']) {
            let index = match self.known.get(path) {
                Some(&index) => index,
                None => {
                    let index = self.matched.len();
                    self.patterns.insert(path, index).map_err(|error| error.to_string())?;
                    self.matched.push(Methods::default());
                    self.known.insert(path.to_owned(), index);
                    index
                }
            };
            &mut self.matched[index]
        } else {
            self.literal.entry(path.to_owned()).or_default()
        };
        if methods.0.iter().any(|(known, _)| *known == method) {
            return Err(format!("{method} has a handler already"));
        }
        methods.0.push((method, handler));
        Ok(())
    }
}

impl Handler for Router {
    fn place(&self, method: &str, path: &str) -> Option<Place> {
        let methods = self.literal.get(path).or_else(|| {
            let matched = self.patterns.at(path).ok()?;
            Some(&self.matched[*matched.value])
        });
        match methods {
            Some(methods) => methods.find(method)?.place(method, path),
            None => self.fallback.as_ref()?.place(method, path),
        }
    }

    fn handle(&self, mut request: Request) -> Answer {
        if let Some(methods) = self.literal.get(request.path()) {
            return methods.handle(request);
        }
        let matched = self.patterns.at(request.path()).ok().map(|matched| {
            let params: Params =
                matched.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            (*matched.value, params)
        });
        match (matched, &self.fallback) {
            (Some((index, params)), _) => {
                request.set_params(params);
                self.matched[index].handle(request)
            }
            (None, Some(fallback)) => fallback.handle(request),
            (None, None) if request.path() == "*" && request.method() == "OPTIONS" => {
                Answer::Now(Response::empty(204))
            }
            (None, None) => Answer::Now(Response::error(404, "there is nothing at this address")),
        }
    }
}
