//! What a handler may return: a value, a `Response`, a `Result`, nothing when it has taken a responder, or a future of any of
//! these (a `Deferred` is one). Two traits, told apart by a marker that only stands on the functions which take handlers.

use std::future::Future;
use std::pin::Pin;

use ropewalk_reactor::Failure;

use crate::extract::Rejection;
use crate::inbound::BodyError;
use crate::response::{Body, Response};

/// What a handler's return value comes to.
#[non_exhaustive]
pub enum Answer {
    /// It is here.
    Now(Response),
    /// It will be. What comes of the future may be any answer, also one that a responder gives.
    Later(Pin<Box<dyn Future<Output = Answer>>>),
    /// A responder taken from the request gives it. When there is none any more, it is a 500.
    Taken,
}

impl Answer {
    /// The same with what `change` makes of the response, also when it comes later. An answer that a responder gives, and that to
    /// a panic, do not come by here; [`Request::on_answer`](crate::Request::on_answer) sees their heads, too.
    ///
    /// ```
    /// use ropewalk_web::{Handler, Next, Request, Router, middleware};
    /// let handler = Router::new()
    ///     .get("/", |_| "Hello, World!")
    ///     .with(middleware(|request: Request, next: Next| {
    ///         next.handle(request).map(|response| response.header("Cache-Control", "no-store"))
    ///     }));
    /// # drop(handler);
    /// ```
    #[must_use]
    pub fn map(self, change: impl FnOnce(Response) -> Response + 'static) -> Answer {
        match self {
            Answer::Now(response) => Answer::Now(change(response)),
            Answer::Later(future) => {
                Answer::Later(Box::pin(async move { future.await.settle().await.map(change) }))
            }
            Answer::Taken => Answer::Taken,
        }
    }

    /// Waits until it is no longer [`Answer::Later`].
    pub async fn settle(self) -> Answer {
        let mut answer = self;
        while let Answer::Later(future) = answer {
            answer = future.await;
        }
        answer
    }
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
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no answer",
    note = "text, bytes, JSON, a `Response`, a status with one of these, an `Option` or a `Result` of them, and every type with `IntoResponse`"
)]
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

impl<T: IntoResponse, E: IntoResponse> IntoResponse for Result<T, E> {
    fn into_response(self) -> Response {
        match self {
            Ok(value) => value.into_response(),
            Err(error) => error.into_response(),
        }
    }
}

/// A 500 that tells the client the id of an incident and the log everything; see [`Response::failure`]. But what is the client's own stays so:
/// a [`BodyError`] and a [`Rejection`] are what they are without a failure around them.
impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        if let Some(error) = self.check::<BodyError>() {
            return error.clone().into_response();
        }
        match self.check::<Rejection>() {
            Some(rejection) if rejection.status() != 500 => rejection.clone().into_response(),
            _ => Response::failure(self),
        }
    }
}

impl IntoResponse for std::io::Error {
    fn into_response(self) -> Response {
        Response::failure(self)
    }
}

/// What a handler may return. `M` tells values from futures; it is always inferred.
///
/// ```
/// use std::time::Duration;
/// use ropewalk_reactor::{Deferred, Outcome};
/// use ropewalk_web::{Request, Router};
/// fn weather() -> Outcome<String> {
///     Err("the station does not answer".into())
/// }
/// let router = Router::new()
///     // A value, or a failure: a 500, and the log says why.
///     .get("/weather", |_| weather())
///     // A deferred or another future of these.
///     .get("/primes", |request: Request| request.reactor().defer_to_thread(|| "2 3 5 7"))
///     // Nothing: the responder answers. So may a future, and what fails in it is a 500 all the same.
///     .get("/slowly", |request: Request| async move {
///         let responder = request.responder();
///         responder.write("at once, ");
///         let (firing, later) = Deferred::new(request.reactor());
///         request.reactor().call_later(Duration::from_secs(1), move || {
///             // It fails when nobody waits any more.
///             let _ = firing.callback(());
///         });
///         later.await?;
///         responder.write("and later");
///         responder.finish();
///         Outcome::Ok(())
///     });
/// # drop(router);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no answer",
    note = "a handler returns what implements `IntoResponse`, `()` when a responder answers, or a future of these; the error of a `Result` \
            implements it, too: `Failure` takes every error"
)]
pub trait IntoAnswer<M> {
    /// The answer.
    fn into_answer(self) -> Answer;
}

/// Markers of [`IntoAnswer`].
pub mod marker {
    /// A value.
    pub struct Value;
    /// A future of what `M` marks.
    pub struct Later<M>(std::marker::PhantomData<M>);
    /// Nothing: a responder answers.
    pub struct Taken;
    /// The same, or what went wrong.
    pub struct Tried;
    /// An [`super::Answer`] as it is.
    pub struct Answer;
    /// The same, or what went wrong.
    pub struct TriedAnswer;
}

impl<T: IntoResponse> IntoAnswer<marker::Value> for T {
    fn into_answer(self) -> Answer {
        Answer::Now(self.into_response())
    }
}

impl<F, M> IntoAnswer<marker::Later<M>> for F
where
    F: Future + 'static,
    F::Output: IntoAnswer<M>,
{
    fn into_answer(self) -> Answer {
        Answer::Later(Box::pin(async move { self.await.into_answer() }))
    }
}

impl IntoAnswer<marker::Taken> for () {
    fn into_answer(self) -> Answer {
        Answer::Taken
    }
}

impl<E: IntoResponse> IntoAnswer<marker::Tried> for Result<(), E> {
    fn into_answer(self) -> Answer {
        match self {
            Ok(()) => Answer::Taken,
            Err(error) => Answer::Now(error.into_response()),
        }
    }
}

impl IntoAnswer<marker::Answer> for Answer {
    fn into_answer(self) -> Answer {
        self
    }
}

impl<E: IntoResponse> IntoAnswer<marker::TriedAnswer> for Result<Answer, E> {
    fn into_answer(self) -> Answer {
        self.unwrap_or_else(|error| Answer::Now(error.into_response()))
    }
}
