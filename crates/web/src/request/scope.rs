//! What is found out about a request on its way to its handler: parameters, state, how much of the path is used up. It is
//! made when there first is something: a request for a literal path has none.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::Request;
use super::origin::Origin;

/// Parameters of a route in their order, as they were sent.
pub(crate) type Params = Vec<(String, String)>;

/// The values that a router has for its handlers, one for each type.
pub(crate) type States = RefCell<Vec<Rc<dyn Any>>>;

#[derive(Clone, Default)]
pub(crate) struct Scope {
    params: Params,
    /// How many bytes of the path a mounted handler has behind it.
    used: usize,
    /// Outermost first.
    states: Vec<Rc<States>>,
    pub(super) origin: Option<Origin>,
    /// The path as a tree of resources sees it, decoded, and how many of its segments are behind.
    segments: Vec<String>,
    walked: usize,
    /// Set by the default of a method that a resource does not implement.
    pub(crate) unimplemented: Option<Rc<Cell<bool>>>,
}

impl Request {
    pub(crate) fn scope(&self) -> Option<&Scope> {
        self.scope.as_deref()
    }

    pub(crate) fn scope_mut(&mut self) -> &mut Scope {
        Rc::make_mut(self.scope.get_or_insert_default())
    }

    /// The same request again, for a look that goes no further than the head.
    pub(crate) fn again(&self) -> Request {
        Request { exchange: Rc::clone(&self.exchange), scope: self.scope.clone() }
    }

    pub(crate) fn add_params(&mut self, params: Params) {
        if !params.is_empty() {
            self.scope_mut().params.extend(params);
        }
    }

    /// The parameters of the route with their names, in the order in which they stand in the path, percent-encoded as sent. Those of
    /// the prefix that a router is nested at come first.
    #[must_use]
    pub fn params(&self) -> &[(String, String)] {
        self.scope().map_or(&[], |scope| &scope.params)
    }

    pub(crate) fn add_states(&mut self, states: &Rc<States>) {
        self.scope_mut().states.push(Rc::clone(states));
    }

    /// The value of this type that the router has for its handlers: of the innermost one that has any.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use ropewalk_web::{Request, Router};
    /// struct Visitors(Cell<u32>);
    /// let router = Router::new().state(Visitors(Cell::new(0))).get("/", |request: Request| {
    ///     let Some(visitors) = request.state::<Visitors>() else { return "nobody counts".to_owned() };
    ///     visitors.0.set(visitors.0.get() + 1);
    ///     format!("you are number {}", visitors.0.get())
    /// });
    /// # drop(router);
    /// ```
    #[must_use]
    pub fn state<T: 'static>(&self) -> Option<Rc<T>> {
        let mut states = self.scope()?.states.iter().rev();
        states.find_map(|states| states.borrow().iter().find_map(|state| Rc::clone(state).downcast().ok()))
    }

    pub(crate) fn advance_to(&mut self, used: usize) {
        self.scope_mut().used = used;
    }

    /// What is left of the path, percent-encoded as sent, for a handler that is [mounted](crate::Router::mount) at a prefix: empty,
    /// or beginning with a slash. The whole path for all others.
    #[must_use]
    pub fn rest(&self) -> &str {
        let used = self.scope().map_or(0, |scope| scope.used);
        self.path().get(used..).unwrap_or_default()
    }

    pub(crate) fn set_segments(&mut self, segments: Vec<String>) {
        let scope = self.scope_mut();
        (scope.segments, scope.walked) = (segments, 0);
    }

    /// One segment further; none when there is no further one.
    pub(crate) fn walk(&mut self) -> Option<String> {
        let scope = self.scope_mut();
        let segment = scope.segments.get(scope.walked)?.clone();
        scope.walked += 1;
        Some(segment)
    }

    /// The segments of the path, decoded, that led to this [resource](crate::resource::Resource).
    #[must_use]
    pub fn prepath(&self) -> &[String] {
        self.scope().map_or(&[], |scope| &scope.segments[..scope.walked])
    }

    /// The segments of the path, decoded, that are left for this [resource](crate::resource::Resource): none, unless it is a leaf.
    #[must_use]
    pub fn postpath(&self) -> &[String] {
        self.scope().map_or(&[], |scope| &scope.segments[scope.walked..])
    }

    /// Tells whoever calls a method of a resource that there is none.
    pub(crate) fn mark_unimplemented(&self) {
        if let Some(mark) = self.scope().and_then(|scope| scope.unimplemented.as_ref()) {
            mark.set(true);
        }
    }
}
