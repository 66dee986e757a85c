//! What a handler may return: a value, a `Response`, a `Result`, a future (a `Deferred` is one), or nothing when it has taken
//! a responder. Two traits, told apart by a marker that only stands on the functions which take handlers.

use std::future::Future;
use std::pin::Pin;

use ropewalk_reactor::Failure;

use crate::response::{Body, Response};

/// What a handler's return value comes to.
#[non_exhaustive]
pub enum Answer {
    /// It is here.
    Now(Response),
    /// It will be.
    Later(Pin<Box<dyn Future<Output = Response>>>),
    /// A responder taken from the request gives it. When there is none any more, it is a 500.
    Taken,
}

/// A value that is an answer.
///
/// ```
/// use ropewalk_web::{IntoResponse, Response};
/// struct Celsius(f64);
/// impl IntoResponse for Celsius {
///     fn into_response(self) -> Response {
///         Response::text(format!("{} °C", self.0))
///     }
/// }
/// assert_eq!(Celsius(21.5).into_response().code(), 200);
/// ```
pub trait IntoResponse {
    /// The answer.
    fn into_response(self) -> Response;
}

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

impl IntoResponse for &'static str {
    fn into_response(self) -> Response {
        Response::text(self)
    }
}

impl IntoResponse for String {
    fn into_response(self) -> Response {
        Response::text(self)
    }
}

impl IntoResponse for &'static [u8] {
    fn into_response(self) -> Response {
        Response::new(self).content_type("application/octet-stream")
    }
}

impl IntoResponse for Vec<u8> {
    fn into_response(self) -> Response {
        Response::new(self).content_type("application/octet-stream")
    }
}

impl IntoResponse for Body {
    fn into_response(self) -> Response {
        Response::new(self)
    }
}

/// JSON.
impl IntoResponse for serde_json::Value {
    fn into_response(self) -> Response {
        Response::new(self.to_string()).content_type("application/json")
    }
}

/// A status and a body.
impl<T: IntoResponse> IntoResponse for (u16, T) {
    fn into_response(self) -> Response {
        self.1.into_response().status(self.0)
    }
}

/// 404 when there is nothing.
impl<T: IntoResponse> IntoResponse for Option<T> {
    fn into_response(self) -> Response {
        self.map_or_else(|| Response::error(404, "there is nothing here"), T::into_response)
    }
}

/// A failure is a 500 that tells the client nothing and the log everything.
impl<T: IntoResponse, E: IntoResponse> IntoResponse for Result<T, E> {
    fn into_response(self) -> Response {
        match self {
            Ok(value) => value.into_response(),
            Err(error) => error.into_response(),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        tracing::error!("a handler failed: {self:?}");
        Response::error(500, "the server could not answer; the reason is in its log")
    }
}

impl IntoResponse for std::io::Error {
    fn into_response(self) -> Response {
        Failure::new(self).into_response()
    }
}

/// What a handler may return. `M` tells values from futures; it is always inferred.
pub trait IntoAnswer<M> {
    /// The answer.
    fn into_answer(self) -> Answer;
}

/// Markers of [`IntoAnswer`].
pub mod marker {
    /// A value.
    pub struct Value;
    /// A future of a value.
    pub struct Later;
    /// Nothing: a responder answers.
    pub struct Taken;
    /// An [`super::Answer`] as it is.
    pub struct Answer;
}

impl<T: IntoResponse> IntoAnswer<marker::Value> for T {
    fn into_answer(self) -> Answer {
        Answer::Now(self.into_response())
    }
}

impl<F> IntoAnswer<marker::Later> for F
where
    F: Future + 'static,
    F::Output: IntoResponse,
{
    fn into_answer(self) -> Answer {
        Answer::Later(Box::pin(async move { self.await.into_response() }))
    }
}

impl IntoAnswer<marker::Taken> for () {
    fn into_answer(self) -> Answer {
        Answer::Taken
    }
}

impl IntoAnswer<marker::Answer> for Answer {
    fn into_answer(self) -> Answer {
        self
    }
}
