//! The router: from a host, a path and a method to a handler. It sees the head only. Literal paths are one map look-up; paths with
//! parameters go through `matchit`, and what neither knows is looked for among regular expressions, mounted handlers and fallbacks.

mod error;
mod hosts;
mod methods;
mod nesting;
mod pattern;
mod redirect;
mod reverse;

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::Location;
use std::rc::Rc;

use ropewalk_reactor::failure::Place;

use crate::answer::{Answer, IntoAnswer};
use crate::leaving::{Choosing, IfClientLeaves};
use crate::middleware::{Layered, Middleware};
use crate::request::{Params, Request, States};
use crate::response::Response;

pub use error::RouteError;
use error::Wrong;
use hosts::Hosts;
use methods::{ANY, Methods};
pub(crate) use methods::{allowed, refuse};
use nesting::Below;
use pattern::Expression;
pub use redirect::Redirect;
use reverse::Source;
pub use reverse::encode_path;
pub(crate) use reverse::{PATH, decoded};
pub use reverse::{UrlArgs, UrlError, Urls};

/// What answers requests. A router is one, and so is every function from a request to an answer, through [`handler`].
pub trait Handler: 'static {
    /// Answers, or begins to.
    fn handle(&self, request: Request) -> Answer;

    /// Where the program made the handler that answers such a request, if that is known. Asked for when it has failed.
    fn place(&self, _method: &str, _path: &str) -> Option<Place> {
        None
    }

    /// The named routes below it, if it has any: what [`Request::reverse_url`] asks.
    fn urls(&self) -> Option<&Urls> {
        None
    }

    /// The path of the route that such a request takes, as it was given to the router: `/user/{id}`. A bounded number of names
    /// for an unbounded number of paths.
    fn route_of(&self, _path: &str) -> Option<&str> {
        None
    }

    /// Whether everything in it could be understood. A server asks before it binds; see [`Router::check`].
    ///
    /// # Errors
    /// What could not.
    fn verify(&self) -> Result<(), RouteError> {
        Ok(())
    }

    /// The same within a middleware. Those that are added to what comes of it stand further in: the first one is the outermost.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ropewalk_web::{BodyLimit, Handler, RequestId, Router, Timeout, handler};
    /// let upload = handler(|_| "thank you").with(BodyLimit::new(100_000_000));
    /// let router = Router::new().route("POST", "/upload", upload).get("/", |_| "Hello, World!");
    /// let all = router.with(RequestId::new()).with(Timeout::new(Duration::from_secs(10)));
    /// # drop(all);
    /// ```
    fn with(self, middleware: impl Middleware) -> Layered
    where
        Self: Sized,
    {
        Layered::new(Rc::new(self)).with(middleware)
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

    fn route_of(&self, path: &str) -> Option<&str> {
        (**self).route_of(path)
    }

    fn verify(&self) -> Result<(), RouteError> {
        (**self).verify()
    }

    fn place(&self, method: &str, path: &str) -> Option<Place> {
        (**self).place(method, path)
    }

    fn urls(&self) -> Option<&Urls> {
        (**self).urls()
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
/// the `GET` handler, `OPTIONS` and 405 are answered from the methods that are there. Paths are compared as they were sent, before
/// anything is decoded. No parameter is ever `.` or `..`, or has such a segment, however it is encoded: no client sends one by
/// itself, and whoever makes a file's name of it would leave the folder.
///
/// They are looked for in this order: literal paths; paths with parameters, where a literal segment goes before a parameter; regular
/// expressions, as they were added; then the longest prefix at which a handler is [mounted](Router::mount) or a nested router has a
/// fallback; then the router's own fallback.
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
    /// Patterns as written, and their handlers.
    matched: Vec<(String, Methods)>,
    expressions: Vec<Expression>,
    below: Vec<Below>,
    fallback: Option<Rc<dyn Handler>>,
    refusing: Option<Rc<dyn Handler>>,
    urls: Urls,
    /// The route that a name would be for.
    last: Option<Source>,
    states: Option<Rc<States>>,
    /// With hosts, all routes but the names are in the routers of those.
    hosts: Option<Box<Hosts>>,
    errors: Vec<RouteError>,
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

    /// Adds a handler for a method and a path; `*` is any method. What is wrong with the path is kept for [`Router::check`]; such a
    /// route answers nothing.
    #[must_use]
    #[track_caller]
    pub fn route(mut self, method: &'static str, path: &str, handler: impl Handler) -> Router {
        let place = Location::caller();
        let added = self.add(method, path, Rc::new(handler), place);
        self.last = Some(Source::Path(path.to_owned()));
        self.note(added, path, place);
        self
    }

    /// Adds a function for any method and all paths that a regular expression matches from the first byte to the last, as in Tornado:
    /// `/archive/(\d{4})/(\d\d)`. A named group is a parameter of that name; the others are the parameters `1`, `2` and so on. Expressions are
    /// tried in the order in which they were added, behind the other paths. They take a time that grows with the path only.
    ///
    /// ```
    /// use ropewalk_web::{Request, Router};
    /// let router = Router::new().regex(r"/archive/(\d{4})/(?P<month>\d\d)", |request: Request| {
    ///     format!("{} in {}", request.param("month").unwrap_or_default(), request.param("1").unwrap_or_default())
    /// });
    /// # router.check().unwrap();
    /// ```
    #[must_use]
    #[track_caller]
    pub fn regex<F, R, M>(self, expression: &str, function: F) -> Router
    where
        F: Fn(Request) -> R + 'static,
        R: IntoAnswer<M>,
    {
        self.regex_route(ANY, expression, handler(function))
    }

    /// The same for one method, and for every handler.
    #[must_use]
    #[track_caller]
    pub fn regex_route(mut self, method: &'static str, expression: &str, handler: impl Handler) -> Router {
        let place = Location::caller();
        let added = self.add_expression(method, expression, Rc::new(handler), place);
        self.last = Some(Source::Regex(expression.to_owned()));
        self.note(added, expression, place);
        self
    }

    /// Sends `GET` and `HEAD` elsewhere for good; see [`Redirect`].
    #[must_use]
    #[track_caller]
    pub fn redirect(mut self, path: &str, to: &str) -> Router {
        match Redirect::to(to) {
            Ok(redirect) => self.route("GET", path, redirect),
            Err(error) => {
                self.errors.push(error);
                self
            }
        }
    }

    /// Gives the route that was added last a name, by which [`Router::reverse_url`] and [`Request::reverse_url`] find the way back to
    /// its path.
    ///
    /// ```
    /// use ropewalk_web::Router;
    /// let router = Router::new().get("/user/{id}", |_| "a user").named("user");
    /// assert_eq!(router.reverse_url("user", ("Jürgen S",)).unwrap(), "/user/J%C3%BCrgen%20S");
    /// assert_eq!(router.reverse_url("user", [("id", 7)]).unwrap(), "/user/7");
    /// assert!(router.reverse_url("user", ()).is_err());
    /// ```
    #[must_use]
    #[track_caller]
    pub fn named(mut self, name: &str) -> Router {
        let place = Location::caller();
        let added = match self.last.clone() {
            Some(source) => self.urls.add(name, source, place),
            None => Err("there is no route before it that it could name".into()),
        };
        self.note(added, name, place);
        self
    }

    /// The path of the route with this name: percent-encoded, and found by the same route again.
    ///
    /// # Errors
    /// There is no such name, too few or too many arguments, or one that the route would not take.
    pub fn reverse_url(&self, name: &str, args: impl UrlArgs) -> Result<String, UrlError> {
        self.urls.reverse(name, args)
    }

    /// A value for all handlers of this router, whenever they were added, and of those that are nested in it. They ask for it by
    /// its type: [`Request::state`], or the extractor [`State`](crate::extract::State).
    #[must_use]
    #[track_caller]
    pub fn state<T: 'static>(mut self, value: T) -> Router {
        let value: Rc<dyn Any> = Rc::new(value);
        let place = Location::caller();
        if let Some(states) = &self.states {
            let taken = states.borrow().iter().any(|known| known.is::<T>());
            let states = Rc::clone(states);
            if taken {
                self.note(
                    Err("there is a state of that type already".into()),
                    std::any::type_name::<T>(),
                    place,
                );
            } else {
                states.borrow_mut().push(value);
            }
        } else {
            let states = Rc::new(RefCell::new(vec![value]));
            self.wrap(&|handler| Rc::new(Stated(handler, Rc::clone(&states))));
            self.states = Some(states);
        }
        self
    }

    /// Answers whatever no route does, instead of 404: a page of one's own, or another handler altogether.
    ///
    /// ```
    /// use ropewalk_web::{Request, Router, handler};
    /// let router = Router::new()
    ///     .get("/", |_| "here")
    ///     .fallback(handler(|request: Request| (404, format!("{} is not here", request.path()))));
    /// # drop(router);
    /// ```
    #[must_use]
    pub fn fallback(mut self, handler: impl Handler) -> Router {
        let handler = self.dressed(Rc::new(handler));
        self.own().fallback = Some(handler);
        self
    }

    /// Answers, instead of the usual page, methods for which a path has no handler. The `Allow` field is added, and the status is
    /// 405 unless it is another error.
    ///
    /// ```
    /// use ropewalk_web::{Request, Router, handler};
    /// let router = Router::new()
    ///     .get("/", |_| "read only")
    ///     .method_not_allowed(handler(|request: Request| format!("{} is not for this address", request.method())));
    /// # drop(router);
    /// ```
    #[must_use]
    pub fn method_not_allowed(mut self, handler: impl Handler) -> Router {
        let handler = self.dressed(Rc::new(handler));
        self.own().refusing = Some(handler);
        self
    }

    /// Whether every route could be understood, and none is there twice. A server asks before it binds.
    ///
    /// # Errors
    /// The first route that could not.
    pub fn check(&self) -> Result<(), RouteError> {
        self.errors.first().map_or(Ok(()), |error| Err(error.clone()))
    }

    fn note(&mut self, added: Result<(), Wrong>, path: &str, place: Place) {
        if let Err(wrong) = added {
            self.errors.push(wrong.at(path, place));
        }
    }

    /// Where routes go.
    fn own(&mut self) -> &mut Router {
        if self.hosts.is_none() { self } else { &mut self.hosts().others }
    }

    fn dressed(&self, handler: Rc<dyn Handler>) -> Rc<dyn Handler> {
        match &self.states {
            Some(states) => Rc::new(Stated(handler, Rc::clone(states))),
            None => handler,
        }
    }

    fn add(
        &mut self,
        method: &'static str,
        path: &str,
        handler: Rc<dyn Handler>,
        place: Place,
    ) -> Result<(), Wrong> {
        let handler = self.dressed(handler);
        if !path.starts_with('/') {
            return Err("a path begins with a slash".into());
        }
        let own = self.own();
        let methods = if path.contains(['{', '}']) {
            let known = own.matched.iter().position(|(known, _)| known == path);
            let index = known.map_or_else(|| own.add_pattern(path), Ok)?;
            &mut own.matched[index].1
        } else {
            own.literal.entry(path.to_owned()).or_default()
        };
        methods.add(method, handler, place)
    }

    fn add_pattern(&mut self, path: &str) -> Result<usize, Wrong> {
        pattern::parts(path)?;
        let index = self.matched.len();
        self.patterns.insert(path, index).map_err(|error| match error {
            matchit::InsertError::Conflict { with } => {
                let other = self.matched.iter().find(|(known, _)| *known == with);
                match other.and_then(|(_, methods)| methods.place()) {
                    Some(other) => Wrong::clash(format!("{with:?} takes the same paths"), other),
                    None => Wrong::from(format!("{with:?} takes the same paths")),
                }
            }
            matchit::InsertError::InvalidParamSegment => "a segment has one parameter at most".into(),
            matchit::InsertError::InvalidCatchAll => {
                "what takes the rest stands at the end, in a segment of its own".into()
            }
            other => Wrong::from(other.to_string()),
        })?;
        self.matched.push((path.to_owned(), Methods::default()));
        Ok(index)
    }

    fn add_expression(
        &mut self,
        method: &'static str,
        source: &str,
        handler: Rc<dyn Handler>,
        place: Place,
    ) -> Result<(), Wrong> {
        let handler = self.dressed(handler);
        let own = self.own();
        let index = match own.expressions.iter().position(|known| known.source == source) {
            Some(index) => index,
            None => {
                let regex = pattern::compile(source)?;
                own.expressions.push(Expression {
                    source: source.to_owned(),
                    regex,
                    methods: Methods::default(),
                });
                own.expressions.len() - 1
            }
        };
        own.expressions[index].methods.add(method, handler, place)
    }

    /// Puts every handler into another one.
    fn wrap(&mut self, wrap: &dyn Fn(Rc<dyn Handler>) -> Rc<dyn Handler>) {
        let matched = self.matched.iter_mut().map(|(_, methods)| methods);
        let expressions = self.expressions.iter_mut().map(|expression| &mut expression.methods);
        for methods in self.literal.values_mut().chain(matched).chain(expressions) {
            methods.wrap(wrap);
        }
        for below in &mut self.below {
            below.wrap(wrap);
        }
        for handler in [&mut self.fallback, &mut self.refusing].into_iter().flatten() {
            *handler = wrap(Rc::clone(handler));
        }
        for router in self.hosts.iter_mut().flat_map(|hosts| hosts.routers()) {
            router.wrap(wrap);
        }
    }

    /// Within its two callers: every request comes by one of them.
    #[inline(always)]
    fn call(&self, methods: &Methods, request: Request) -> Answer {
        match methods.find(request.method()) {
            Some(handler) => handler.handle(request),
            None => self.refuse(methods, request),
        }
    }

    #[cold]
    fn refuse(&self, methods: &Methods, request: Request) -> Answer {
        let nested = self.nearest(request.path(), |below| below.refusing.is_some());
        let nested = nested.and_then(|(below, _)| below.refusing.as_deref());
        methods.refuse(request, nested.or(self.refusing.as_deref()))
    }

    /// Everything but literal paths.
    #[inline(never)]
    fn search(&self, mut request: Request) -> Answer {
        if let Some(hosts) = &self.hosts {
            let router = hosts.find(&request);
            return router.handle(request);
        }
        if let Some((methods, params)) = self.find(request.path()) {
            request.add_params(params);
            return self.call(methods, request);
        }
        if let Some((below, (params, at))) = self.nearest(request.path(), |below| below.fallback.is_some())
            && let Some(fallback) = &below.fallback
        {
            request.add_params(params);
            if below.mounted {
                request.advance_to(at);
            }
            return fallback.handle(request);
        }
        match &self.fallback {
            Some(fallback) => fallback.handle(request),
            None if request.path() == "*" && request.method() == "OPTIONS" => {
                Answer::Now(Response::empty(204))
            }
            None => Answer::Now(Response::error(404, "there is nothing at this address")),
        }
    }

    /// The handlers of a path with parameters, or of an expression.
    fn find(&self, path: &str) -> Option<(&Methods, Params)> {
        let (methods, params) = self.find_any(path)?;
        let mut values = params.iter().map(|(_, value)| value);
        let dots = values.any(|value| value.contains(['.', '%']) && pattern::has_dots(&decoded(value)));
        (!dots).then_some((methods, params))
    }

    fn find_any(&self, path: &str) -> Option<(&Methods, Params)> {
        if let Ok(found) = self.patterns.at(path) {
            let params =
                found.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            return Some((&self.matched[*found.value].1, params));
        }
        self.expressions
            .iter()
            .find_map(|known| Some((&known.methods, pattern::captures(&known.regex, path)?)))
    }
}

impl Handler for Router {
    fn place(&self, method: &str, path: &str) -> Option<Place> {
        let methods = self.literal.get(path).or_else(|| Some(self.find(path)?.0));
        if let Some(methods) = methods {
            return methods.find(method)?.place(method, path);
        }
        let nearest = self.nearest(path, |below| below.fallback.is_some());
        let below = nearest.and_then(|(below, _)| below.fallback.as_ref());
        match (below.or(self.fallback.as_ref()), &self.hosts) {
            (Some(handler), _) => handler.place(method, path),
            (None, Some(hosts)) => hosts.others.place(method, path),
            (None, None) => None,
        }
    }

    fn urls(&self) -> Option<&Urls> {
        Some(&self.urls)
    }

    fn route_of(&self, path: &str) -> Option<&str> {
        if let Some((path, _)) = self.literal.get_key_value(path) {
            return Some(path);
        }
        if let Ok(found) = self.patterns.at(path) {
            return Some(&self.matched[*found.value].0);
        }
        if let Some(known) =
            self.expressions.iter().find(|known| pattern::captures(&known.regex, path).is_some())
        {
            return Some(&known.source);
        }
        self.fallback.as_ref()?.route_of(path)
    }

    fn verify(&self) -> Result<(), RouteError> {
        self.check()
    }

    fn handle(&self, request: Request) -> Answer {
        match self.literal.get(request.path()) {
            Some(methods) => self.call(methods, request),
            None => self.search(request),
        }
    }
}

/// A handler of a router that has state.
struct Stated(Rc<dyn Handler>, Rc<States>);

impl Handler for Stated {
    fn handle(&self, mut request: Request) -> Answer {
        request.add_states(&self.1);
        self.0.handle(request)
    }

    fn place(&self, method: &str, path: &str) -> Option<Place> {
        self.0.place(method, path)
    }

    fn urls(&self) -> Option<&Urls> {
        self.0.urls()
    }
}
