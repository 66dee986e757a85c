//! What is taken out of a request's head.

use std::any::type_name;
use std::net::IpAddr;
use std::ops::Deref;
use std::rc::Rc;

use percent_encoding::percent_decode_str;
use ropewalk_net::Address;
use serde::de::DeserializeOwned;

use super::pairs::{Pairs, Wrong};
use super::rejection::Rejection;
use super::{Extracted, FromHead, FromRequest, via};
use crate::cookies::Cookies;
use crate::exchange::Exchange;
use crate::request::Request;

/// The parameters of the route: one value, a tuple in the order of the path, or a struct or a map by their names.
///
/// ```
/// use ropewalk_web::Router;
/// use ropewalk_web::extract::{Path, typed};
/// let router = Router::new()
///     .get("/user/{id}", typed(|Path(id): Path<u64>| format!("user {id}")))
///     .get("/{year}/{month}", typed(|Path((year, month)): Path<(u16, u8)>| format!("{month}/{year}")));
/// # drop(router);
/// ```
#[derive(Clone, Debug)]
pub struct Path<T>(pub T);

/// The arguments of the query, as a struct or a map. A `Vec` takes all arguments of a name, an `Option` may be absent; other arguments
/// may not be repeated.
///
/// ```
/// use ropewalk_web::Router;
/// use ropewalk_web::extract::{Query, typed};
/// #[derive(serde::Deserialize)]
/// struct Search {
///     q: String,
///     #[serde(default)]
///     tag: Vec<String>,
///     page: Option<u32>,
/// }
/// let router = Router::new().get("/search", typed(|Query(search): Query<Search>| {
///     format!("{}, {} tags, page {}", search.q, search.tag.len(), search.page.unwrap_or(1))
/// }));
/// # drop(router);
/// ```
#[derive(Clone, Debug)]
pub struct Query<T>(pub T);

/// A value of the router: [`crate::Router::state`]. Without one, the answer is 500 and the log says which type it was.
#[derive(Debug)]
pub struct State<T>(pub Rc<T>);

/// All fields of the head.
#[derive(Clone)]
pub struct Headers(Rc<Exchange>);

/// One field of the head, read as what it is.
///
/// ```
/// use ropewalk_web::Router;
/// use ropewalk_web::extract::{Bearer, Header, UserAgent, typed};
/// let router = Router::new()
///     .get("/", typed(|agent: Option<Header<UserAgent>>| agent.map_or_else(|| "who are you?".to_owned(), |agent| agent.0.0)))
///     .get("/private", typed(|Header(Bearer(token)): Header<Bearer>| format!("{} bytes of token", token.len())));
/// # drop(router);
/// ```
#[derive(Clone, Debug)]
pub struct Header<F>(pub F);

/// A field of the head as a type.
pub trait Field: Sized {
    /// Its name.
    const NAME: &'static str;

    /// Reads it; none for what is malformed.
    fn read(value: &str) -> Option<Self>;

    /// What is answered when it is not there.
    #[must_use]
    fn missing() -> Rejection {
        Rejection::absent(format!("the field {} is missing", Self::NAME)).field(Self::NAME)
    }
}

/// `User-Agent`.
#[derive(Clone, Debug)]
pub struct UserAgent(pub String);

/// The token of `Authorization: Bearer` (RFC 6750). A client without one is told so by a 401.
#[derive(Clone, Debug)]
pub struct Bearer(pub String);

/// User and password of `Authorization: Basic` (RFC 7617), not compared with anything. A client without them is asked for them by a
/// 401.
#[derive(Clone, Debug)]
pub struct Basic {
    /// Who it says it is.
    pub user: String,
    /// What it says proves it; see [`crate::constant_time_eq`].
    pub password: String,
}

/// The method, as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method(pub String);

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The connection's other end.
    pub address: Address,
    /// Who sent the request: the peer, or whom a trusted proxy names.
    pub client: Option<IpAddr>,
}

fn refuse(of: &str, what: &str, wrong: Wrong) -> Rejection {
    if wrong.misuse {
        return Rejection::new(500, format!("{of}: {wrong}"));
    }
    let field = wrong.field.clone();
    let rejection = match &field {
        Some(name) => Rejection::new(400, format!("the {what} {name:?} of the {of}: {wrong}")),
        None => Rejection::new(400, format!("the {of}: {wrong}")),
    };
    match field {
        Some(name) => rejection.field(name),
        None => rejection,
    }
}

/// The route's parameters as a type.
pub(crate) fn path<T: DeserializeOwned>(request: &Request) -> Result<T, Rejection> {
    let mut pairs = Vec::new();
    for (name, value) in request.params() {
        let Ok(value) = percent_decode_str(value).decode_utf8() else {
            return Err(
                Rejection::new(400, format!("the parameter {name:?} of the path: is not UTF-8")).field(name)
            );
        };
        pairs.push((name.clone(), value.into_owned()));
    }
    let absent = pairs.is_empty();
    let result = T::deserialize(Pairs::new(pairs, true)).map_err(|wrong| refuse("path", "parameter", wrong));
    match result {
        Err(_) if absent => Err(Rejection::absent("the path has no parameters").with_status(500)),
        result => result,
    }
}

/// Arguments as a type.
pub(super) fn arguments<T: DeserializeOwned>(of: &str, pairs: Vec<(String, String)>) -> Result<T, Rejection> {
    T::deserialize(Pairs::new(pairs, false)).map_err(|wrong| refuse(of, "argument", wrong))
}

impl<T: DeserializeOwned> FromHead for Path<T> {
    fn from_head(request: &Request) -> Result<Path<T>, Rejection> {
        path(request).map(Path)
    }
}

impl<T: DeserializeOwned> FromHead for Query<T> {
    fn from_head(request: &Request) -> Result<Query<T>, Rejection> {
        let read = arguments("query", request.arguments().into_pairs()).map(Query);
        match read {
            Err(wrong) if request.query().is_none_or(str::is_empty) && wrong.status() == 400 => {
                let absent = Rejection::absent(wrong.to_string());
                Err(wrong.field_name().map_or(absent.clone(), |name| absent.field(name)))
            }
            read => read,
        }
    }
}

impl<T: 'static> FromHead for State<T> {
    fn from_head(request: &Request) -> Result<State<T>, Rejection> {
        let state = request.state().map(State);
        state.ok_or_else(|| {
            let why =
                format!("no router on the way to this handler has a state of the type {}", type_name::<T>());
            Rejection::absent(why).with_status(500)
        })
    }
}

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl Headers {
    /// The first field of this name, if it is visible ASCII or UTF-8.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0.head.field(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All values of a name, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0.head.fields_named(name)
    }

    /// All fields, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.head.fields()
    }
}

impl FromHead for Headers {
    fn from_head(request: &Request) -> Result<Headers, Rejection> {
        Ok(Headers(Rc::clone(request.exchange())))
    }
}

impl<F: Field> FromHead for Header<F> {
    fn from_head(request: &Request) -> Result<Header<F>, Rejection> {
        let Some(value) = request.exchange().head.field(F::NAME) else { return Err(F::missing()) };
        let read = std::str::from_utf8(value).ok().and_then(F::read);
        let wrong = || Rejection::new(400, format!("the field {} is malformed", F::NAME)).field(F::NAME);
        read.map(Header).ok_or_else(wrong)
    }
}

impl Field for UserAgent {
    const NAME: &'static str = "User-Agent";

    fn read(value: &str) -> Option<UserAgent> {
        Some(UserAgent(value.to_owned()))
    }
}

impl Field for Bearer {
    const NAME: &'static str = "Authorization";

    fn read(value: &str) -> Option<Bearer> {
        let (scheme, token) = value.split_once(' ')?;
        let token = token.trim();
        // RFC 6750 section 2.1, b64token.
        let fine = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte));
        (scheme.eq_ignore_ascii_case("bearer") && fine && !token.is_empty()).then(|| Bearer(token.to_owned()))
    }

    fn missing() -> Rejection {
        Rejection::absent("a token is wanted")
            .with_status(401)
            .field(Self::NAME)
            .header("WWW-Authenticate", "Bearer")
    }
}

impl FromHead for Basic {
    fn from_head(request: &Request) -> Result<Basic, Rejection> {
        if let Some((user, password)) = request.credentials() {
            return Ok(Basic { user, password });
        }
        let rejection = match request.header("authorization") {
            Some(_) => Rejection::new(401, "Authorization has no user and password"),
            None => Rejection::absent("a user and a password are wanted").with_status(401),
        };
        Err(rejection
            .field("Authorization")
            .header("WWW-Authenticate", "Basic realm=\"site\", charset=\"UTF-8\""))
    }
}

impl FromHead for Method {
    fn from_head(request: &Request) -> Result<Method, Rejection> {
        Ok(Method(request.method().to_owned()))
    }
}

impl FromHead for Peer {
    fn from_head(request: &Request) -> Result<Peer, Rejection> {
        Ok(Peer { address: request.peer(), client: request.client() })
    }
}

impl FromHead for Cookies {
    fn from_head(request: &Request) -> Result<Cookies, Rejection> {
        Ok(request.cookies())
    }
}

/// `None` when there is nothing; what is there and wrong is still refused.
fn optional<T>(result: Result<T, Rejection>) -> Result<Option<T>, Rejection> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(rejection) if rejection.is_absent() => Ok(None),
        Err(rejection) => Err(rejection),
    }
}

impl<E: FromHead> FromHead for Option<E> {
    fn from_head(request: &Request) -> Result<Option<E>, Rejection> {
        optional(E::from_head(request))
    }
}

impl<E: FromHead> FromHead for Result<E, Rejection> {
    fn from_head(request: &Request) -> Result<Result<E, Rejection>, Rejection> {
        Ok(E::from_head(request))
    }
}

impl<E: FromRequest<via::Body> + 'static> FromRequest<via::Body> for Option<E> {
    fn from_request(request: Request) -> Extracted<Option<E>> {
        E::from_request(request).map(optional)
    }
}

impl<E: FromRequest<via::Body> + 'static> FromRequest<via::Body> for Result<E, Rejection> {
    fn from_request(request: Request) -> Extracted<Result<E, Rejection>> {
        E::from_request(request).map(Ok)
    }
}
