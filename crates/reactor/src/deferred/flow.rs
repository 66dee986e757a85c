//! What a callback may return, and how the compiler tells the forms apart.
//!
//! A value, an [`Outcome`] or any other `Result`, a [`Failure`], or another [`Deferred`]. The forms overlap: a `Result`
//! is a value, too. Two things keep `add_callback(|x| …)` free of annotations all the same. A marker type parameter,
//! which is inferred and stands on the method alone, lets the impls live side by side. And a plain value has to be
//! `Unpin`, which nearly everything is, while `Failure` and `Deferred` are made not to be, so that an `Outcome<U>` or a
//! `Deferred<U>` fits one form only.

use std::error::Error;

use super::Deferred;
use crate::failure::{Failure, Outcome, Place};

/// What a callback's return value means to the chain.
pub enum Flow<U: 'static> {
    /// The chain goes on with this.
    Done(Outcome<U>),
    /// The chain pauses until this one has fired.
    Wait(Deferred<U>),
}

/// What a callback may return where the chain goes on with a `U`.
///
/// - a plain value: `|n| n + 1`;
/// - an [`Outcome`]: `|text| -> Outcome<u16> { Ok(text.parse()?) }`;
/// - a `Result` with another error, once it is known what the next link takes: here a plain value is as good a reading,
///   so where nothing else says it, name the type: `let port: Deferred<u16> = text.add_callback(|text| text.parse::<u16>())`;
/// - a [`Failure`], which goes on as one;
/// - another [`Deferred`], which the chain waits for;
/// - a [`Flow`], where one callback has now this and now that.
///
/// A value that contains a `Failure` or a `Deferred` (a list of outcomes, say) is returned in `Ok`. `M` is inferred.
#[diagnostic::on_unimplemented(
    message = "a callback of this chain may not return `{Self}`",
    note = "a value that contains a `Failure` or a `Deferred` is returned as `Outcome::Ok(value)`"
)]
pub trait IntoFlow<U: 'static, M> {
    /// Says which it is. `place` is where the callback was added: an error that is no `Failure` yet was made there.
    fn into_flow(self, place: Place) -> Flow<U>;
}

/// The names of the forms. They are inferred and never written.
pub mod form {
    /// A plain value.
    pub struct Value;
    /// A `Result` with a `Failure`.
    pub struct Settled;
    /// A `Result` with another error.
    pub struct Foreign;
    /// A `Failure`.
    pub struct Failed;
    /// A `Deferred`.
    pub struct Waiting;
    /// A `Flow`.
    pub struct Either;
}

impl<U: Unpin + 'static> IntoFlow<U, form::Value> for U {
    fn into_flow(self, _: Place) -> Flow<U> {
        Flow::Done(Ok(self))
    }
}

impl<U: 'static> IntoFlow<U, form::Settled> for Outcome<U> {
    fn into_flow(self, _: Place) -> Flow<U> {
        Flow::Done(self)
    }
}

impl<U: 'static, E: Into<Box<dyn Error + Send + Sync>>> IntoFlow<U, form::Foreign> for Result<U, E> {
    fn into_flow(self, place: Place) -> Flow<U> {
        Flow::Done(self.map_err(|error| Failure::at(place, error)))
    }
}

impl<U: 'static> IntoFlow<U, form::Failed> for Failure {
    fn into_flow(self, _: Place) -> Flow<U> {
        Flow::Done(Err(self))
    }
}

impl<U: 'static> IntoFlow<U, form::Waiting> for Deferred<U> {
    fn into_flow(self, _: Place) -> Flow<U> {
        Flow::Wait(self)
    }
}

impl<U: 'static> IntoFlow<U, form::Either> for Flow<U> {
    fn into_flow(self, _: Place) -> Flow<U> {
        self
    }
}
