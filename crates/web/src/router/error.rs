//! `RouteError`: what is wrong with a route, and where it was written. A router keeps these; whoever is about to bind asks.

use std::fmt;

use ropewalk_reactor::failure::Place;

/// What is wrong with a route: which, why, where it was written, and, in a conflict, where the other one was.
///
/// ```
/// use ropewalk_web::Router;
/// let router = Router::new().get("/{id}", |_| "one").get("/{name}", |_| "another");
/// let error = router.check().unwrap_err();
/// assert_eq!(error.path(), "/{name}");
/// assert!(error.place().line() > 0 && error.other().is_some(), "{error}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteError {
    pub(super) path: String,
    pub(super) why: String,
    pub(super) place: Place,
    pub(super) other: Option<Place>,
}

/// The same, as long as it is not known which route it is about.
pub(super) struct Wrong {
    pub(super) why: String,
    pub(super) other: Option<Place>,
}

impl Wrong {
    pub(super) fn clash(why: impl Into<String>, other: Place) -> Wrong {
        Wrong { why: why.into(), other: Some(other) }
    }

    pub(super) fn at(self, path: &str, place: Place) -> RouteError {
        RouteError { path: path.to_owned(), why: self.why, place, other: self.other }
    }
}

impl<S: Into<String>> From<S> for Wrong {
    fn from(why: S) -> Wrong {
        Wrong { why: why.into(), other: None }
    }
}

impl RouteError {
    /// The path, the expression, the host or the name, as written.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where the route was added.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// Where the one that it conflicts with was added.
    #[must_use]
    pub fn other(&self) -> Option<Place> {
        self.other
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route {:?} at {}: {}", self.path, self.place, self.why)?;
        match self.other {
            Some(other) => write!(f, ", added at {other}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for RouteError {}
