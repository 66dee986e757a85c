//! The errors that the reactor itself makes: to be looked for with [`Failure::check`](crate::Failure::check).

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// It was cancelled before it had an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

/// It took longer than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut {
    /// How long it was given.
    pub limit: Duration,
}

/// Whoever was to give it an outcome went away without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abandoned;

/// A panic, caught at the boundary.
pub struct Panicked {
    message: String,
    /// A payload is `Send` only; behind the lock it may be part of an error, which has to be `Sync`.
    payload: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Panicked {
    pub(super) fn new(payload: Box<dyn Any + Send>) -> Panicked {
        let message = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
            (Some(text), _) => (*text).to_owned(),
            (_, Some(text)) => text.clone(),
            _ => "a payload that is not text".to_owned(),
        };
        Panicked { message, payload: Mutex::new(Some(payload)) }
    }

    /// What `panic!` said.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Takes the payload out, for instance to go on panicking with it; the first who asks has it.
    pub fn take_payload(&self) -> Option<Box<dyn Any + Send>> {
        self.payload.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cancelled")
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timed out after {:?}", self.limit)
    }
}

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("abandoned: whoever was to fire it is gone")
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.message)
    }
}

impl fmt::Debug for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panicked").field("message", &self.message).finish_non_exhaustive()
    }
}

impl Error for Cancelled {}
impl Error for TimedOut {}
impl Error for Abandoned {}
impl Error for Panicked {}
