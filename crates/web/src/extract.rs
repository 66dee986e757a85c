//! Functions whose arguments are taken out of the request by their types: `typed(|Path(id): Path<u64>| …)`. What cannot be taken
//! out is refused with a sentence that says which field is wrong, and the function is not called.
//!
//! ```text
//!  from the head, in any place     Path  Query  Headers  Header  Cookies  State  Method  Peer  Option<E>  Result<E, Rejection>
//!                                  Session  CurrentUser
//!  with the body, in the last one  Json  Form  FormData  Multipart  String  Vec<u8>  Limited<E, MAX>  Request
//! ```
//! A function without a body among its arguments is called at once; nothing is boxed for it.
//!
//! ```
//! use ropewalk_web::Router;
//! use ropewalk_web::extract::{Json, Path, Query, typed};
//! use serde::Deserialize;
//! use serde_json::{Value, json};
//!
//! #[derive(Deserialize)]
//! struct Page {
//!     #[serde(default)]
//!     number: u32,
//! }
//! #[derive(Deserialize)]
//! struct Note {
//!     text: String,
//! }
//! let router = Router::new()
//!     .get("/user/{id}", typed(|Path(id): Path<u64>, Query(page): Query<Page>| format!("{id}, page {}", page.number)))
//!     .post("/notes", typed(|Json(note): Json<Note>| async move { json!({ "length": note.text.len() }) }));
//! # drop(router);
//! ```
//!
//! The program's own types become arguments by [`FromHead`], or by [`FromRequest`] when they need the body.

mod body;
mod head;
mod pairs;
mod place;
mod rejection;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use crate::answer::{Answer, IntoAnswer};
use crate::request::Request;

pub(crate) use body::read_form;
pub use body::{Form, Json, Limited};
pub(crate) use head::path;
pub use head::{Basic, Bearer, Field, Header, Headers, Method, Path, Peer, Query, State, UserAgent};
pub use rejection::Rejection;

pub use crate::cookies::Cookies;

/// A type that is taken out of a request's head.
///
/// ```
/// use ropewalk_web::extract::{FromHead, Rejection, typed};
/// use ropewalk_web::{Request, Router};
/// struct Locale(String);
/// impl FromHead for Locale {
///     fn from_head(request: &Request) -> Result<Locale, Rejection> {
///         let language = request.header("accept-language").ok_or_else(|| Rejection::absent("which language?"))?;
///         Ok(Locale(language.chars().take(2).collect()))
///     }
/// }
/// let router = Router::new().get("/", typed(|Locale(language): Locale| format!("in {language}")));
/// # drop(router);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not taken out of a request's head",
    note = "arguments from the head: Path, Query, Headers, Header, Basic, Cookies, State, Method, Peer, an Option or a Result of these, and every \
            type with `FromHead`; what needs the body is the last argument"
)]
pub trait FromHead: Sized {
    /// Takes it out.
    ///
    /// # Errors
    /// It is not there, or it is not right.
    fn from_head(request: &Request) -> Result<Self, Rejection>;
}

/// What taking something out of a request comes to.
pub enum Extracted<T> {
    /// It is here, or refused.
    Now(Result<T, Rejection>),
    /// It needs the body.
    Later(Pin<Box<dyn Future<Output = Result<T, Rejection>>>>),
}

impl<T: 'static> Extracted<T> {
    /// From a future.
    pub fn later(future: impl Future<Output = Result<T, Rejection>> + 'static) -> Extracted<T> {
        Extracted::Later(Box::pin(future))
    }

    fn map<U: 'static>(
        self,
        map: impl FnOnce(Result<T, Rejection>) -> Result<U, Rejection> + 'static,
    ) -> Extracted<U> {
        match self {
            Extracted::Now(result) => Extracted::Now(map(result)),
            Extracted::Later(future) => Extracted::later(async move { map(future.await) }),
        }
    }
}

/// A type that is taken out of a whole request. `V` tells those that need the body from those that do not; it is always inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not taken out of a request",
    note = "the last argument is Json, Form, String, Vec<u8>, Limited, Request, a type with `FromRequest`, or any argument from the head"
)]
pub trait FromRequest<V = via::Body>: Sized {
    /// Takes it out.
    fn from_request(request: Request) -> Extracted<Self>;
}

/// Markers of [`FromRequest`].
pub mod via {
    /// The head is enough.
    pub struct Head;
    /// The body is needed, or the request itself.
    pub struct Body;
}

impl<T: FromHead> FromRequest<via::Head> for T {
    fn from_request(request: Request) -> Extracted<T> {
        Extracted::Now(T::from_head(&request))
    }
}

/// A function whose arguments are taken out of the request; see [`typed`]. `A` are its arguments and `M` is its answer's kind, both
/// always inferred.
#[diagnostic::on_unimplemented(
    message = "this function does not answer requests",
    label = "its arguments, or what it returns, do not fit",
    note = "all arguments but the last implement `FromHead`, the last one `FromRequest`; their types are written out; there are eight at most",
    note = "it returns what implements `IntoResponse`, `()` when a responder answers, or a future of these; a `Result` with errors that do"
)]
pub trait Typed<A, M>: 'static {
    /// Takes the arguments out and calls the function.
    fn call(function: &Rc<Self>, request: Request) -> Answer;
}

/// Makes of a function with arguments of its own one that takes a [`Request`], for [`crate::Router::get`] and all that is like it.
pub fn typed<F, A, M>(function: F) -> impl Fn(Request) -> Answer + 'static
where
    F: Typed<A, M>,
{
    let function = Rc::new(function);
    move |request| F::call(&function, request)
}

impl<F, R, M> Typed<(), M> for F
where
    F: Fn() -> R + 'static,
    R: IntoAnswer<M>,
{
    fn call(function: &Rc<F>, _: Request) -> Answer {
        function().into_answer()
    }
}

macro_rules! arities {
    ($($($head:ident)* ;)*) => {
        $(impl<F, R, M, V, $($head,)* L> Typed<(V, $($head,)* L), M> for F
        where
            F: Fn($($head,)* L) -> R + 'static,
            R: IntoAnswer<M>,
            $($head: FromHead + 'static,)*
            L: FromRequest<V> + 'static,
        {
            #[allow(non_snake_case, reason = "the types' names are the variables'")]
            fn call(function: &Rc<F>, request: Request) -> Answer {
                // Whether a refusal is JSON is looked up when there is one.
                let exchange = Rc::clone(request.exchange());
                $(let $head = match $head::from_head(&request) {
                    Ok(value) => value,
                    Err(rejection) => return Answer::Now(rejection.answer(exchange.wants_json())),
                };)*
                match L::from_request(request) {
                    Extracted::Now(Ok(last)) => function($($head,)* last).into_answer(),
                    Extracted::Now(Err(rejection)) => Answer::Now(rejection.answer(exchange.wants_json())),
                    Extracted::Later(future) => {
                        let function = Rc::clone(function);
                        Answer::Later(Box::pin(async move {
                            match future.await {
                                Ok(last) => function($($head,)* last).into_answer(),
                                Err(rejection) => Answer::Now(rejection.answer(exchange.wants_json())),
                            }
                        }))
                    }
                }
            }
        })*
    };
}
arities! {
    ;
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E G;
    A B C D E G H;
}
