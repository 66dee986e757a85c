//! What went wrong, where it was made, and which places it passed on its way.
//!
//! A [`Failure`] is to a [`Deferred`](crate::Deferred) what a raised exception is to a call: the error half of
//! its [`Outcome`]. It wraps an error of any type, or what a panic left behind. It is not an error type of its own:
//! it does not implement `Error`, so that `?` turns every error into one. Logging is the deferred's business.

use std::any::Any;
use std::error::Error;
use std::fmt::{self, Write};
use std::marker::PhantomPinned;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

mod calm;
mod kinds;

pub use calm::{Calm, is_hidden};
pub use kinds::{Abandoned, Cancelled, Panicked, TimedOut};

/// A line of the source, as `#[track_caller]` tells it.
pub type Place = &'static Location<'static>;

/// A value, or the [`Failure`] that came instead.
pub type Outcome<T> = Result<T, Failure>;

/// How many places a failure remembers; those after it are counted, so that a chain of ten thousand links does not
/// write its whole length into the log.
const PLACES_MAX: usize = 32;

/// What stands before the second line of an error's words.
const LINE_BREAK: &str = "\n        ";

/// An error of any type, the place that made it and the places it passed.
///
/// It is one word, cheap to clone, and may go to another thread. Clones share the error; each goes its own way from
/// there, so each has its own places.
///
/// ```
/// use ropewalk_reactor::{Failure, Outcome};
/// use std::num::ParseIntError;
///
/// fn port(text: &str) -> Outcome<u16> {
///     Ok(text.parse()?)
/// }
///
/// let failure = port("many").unwrap_err();
/// assert!(failure.is::<ParseIntError>());
/// assert_eq!(failure.to_string(), "invalid digit found in string");
///
/// let failure = Failure::new("no such channel");
/// assert_eq!(failure.to_string(), "no such channel");
/// ```
#[derive(Clone)]
pub struct Failure {
    inner: Box<Inner>,
    /// Makes it `!Unpin`. Nothing is pinned: `IntoFlow` tells an `Outcome` from a plain value by it.
    _kind: PhantomPinned,
}

#[derive(Clone)]
struct Inner {
    error: Arc<dyn Error + Send + Sync>,
    place: Place,
    passed: Vec<Place>,
    forgotten: usize,
}

impl Failure {
    /// A failure with `error` as its cause, made at the caller's place. Text will do.
    #[track_caller]
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        Failure::at(Location::caller(), error)
    }

    /// What is left of a panic: its payload, as `catch_unwind` or a thread's `join` hands it out.
    ///
    /// ```
    /// use ropewalk_reactor::Failure;
    /// use ropewalk_reactor::failure::Panicked;
    ///
    /// let payload = std::panic::catch_unwind(|| std::panic::resume_unwind(Box::new("no luck"))).unwrap_err();
    /// let failure = Failure::from_panic(payload);
    /// assert_eq!(failure.check::<Panicked>().map(Panicked::message), Some("no luck"));
    /// ```
    #[track_caller]
    pub fn from_panic(payload: Box<dyn Any + Send>) -> Failure {
        Failure::panicked(Location::caller(), payload)
    }

    /// The failure of what was [`Cancelled`].
    #[track_caller]
    pub fn cancelled() -> Failure {
        Failure::at(Location::caller(), Cancelled)
    }

    /// The failure of what took longer than `limit`: [`TimedOut`].
    #[track_caller]
    pub fn timed_out(limit: Duration) -> Failure {
        Failure::at(Location::caller(), TimedOut { limit })
    }

    /// As [`Failure::new`], for one that knows the place.
    pub(crate) fn at(place: Place, error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        let inner = Inner { error: error.into().into(), place, passed: Vec::new(), forgotten: 0 };
        Failure { inner: Box::new(inner), _kind: PhantomPinned }
    }

    /// As [`Failure::from_panic`], for one that knows the place.
    pub(crate) fn panicked(place: Place, payload: Box<dyn Any + Send>) -> Failure {
        Failure::at(place, Panicked::new(payload))
    }

    /// The error itself; its `source()` goes on from there.
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.inner.error
    }

    /// The error, if it is an `E`. What lies under it as its `source()` does not count.
    pub fn check<E: Error + 'static>(&self) -> Option<&E> {
        self.inner.error.downcast_ref()
    }

    /// Whether the error is an `E`.
    pub fn is<E: Error + 'static>(&self) -> bool {
        self.inner.error.is::<E>()
    }

    /// The error if it is an `E`; else the failure again, to go on with `?`.
    ///
    /// ```
    /// use ropewalk_reactor::{Failure, Outcome};
    /// use std::io;
    ///
    /// /// A file that is not there is as good as an empty one; any other failure goes on.
    /// fn forgive(failure: Failure) -> Outcome<String> {
    ///     match failure.trap::<io::Error>()?.kind() {
    ///         io::ErrorKind::NotFound => Ok(String::new()),
    ///         _ => Err(failure),
    ///     }
    /// }
    ///
    /// assert_eq!(forgive(io::Error::from(io::ErrorKind::NotFound).into()).unwrap(), "");
    /// assert!(forgive(Failure::new("out of paper")).is_err());
    /// ```
    pub fn trap<E: Error + 'static>(&self) -> Result<&E, Failure> {
        self.check().ok_or_else(|| self.clone())
    }

    /// Where it was made.
    pub fn place(&self) -> Place {
        self.inner.place
    }

    /// The places it passed since, the first 32 of them: a link of a chain that handed it on, or whoever
    /// [noted](Failure::pass) it.
    pub fn passed(&self) -> &[Place] {
        &self.inner.passed
    }

    /// Notes that it came by `place`.
    ///
    /// ```
    /// use ropewalk_reactor::Failure;
    /// use std::panic::Location;
    ///
    /// let mut failure = Failure::new("torn");
    /// failure.pass(Location::caller());
    /// assert_eq!(failure.passed().len(), 1);
    /// ```
    pub fn pass(&mut self, place: Place) {
        let inner = &mut *self.inner;
        if inner.passed.len() == PLACES_MAX {
            inner.forgotten += 1;
        } else if *inner.passed.last().unwrap_or(&inner.place) != place {
            // A failure made by a link leaves by the same link: that would be no news.
            inner.passed.push(place);
        }
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Failure {
        Failure::at(Location::caller(), error)
    }
}

/// One line: the error's own words.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner.error, f)
    }
}

/// The traceback: the error, what caused it, where it was made, what it passed. An error's words may be anybody's: a line break
/// among them is followed by spaces, so that no line of a log can be forged, and other control characters are escaped.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Calm::new(f, LINE_BREAK), "{self}")?;
        let mut cause = self.inner.error.source();
        while let Some(error) = cause {
            f.write_str("\n    because ")?;
            write!(Calm::new(f, LINE_BREAK), "{error}")?;
            cause = error.source();
        }
        write!(f, "\n    made at {}", self.inner.place)?;
        for place in &self.inner.passed {
            write!(f, "\n    passed  {place}")?;
        }
        match self.inner.forgotten {
            0 => Ok(()),
            more => write!(f, "\n    and {more} places more"),
        }
    }
}

#[cfg(test)]
mod tests;
