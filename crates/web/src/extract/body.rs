//! What is taken out of a request with its body: forms, JSON, text and bytes, each within the site's limit for bodies or one of its
//! own.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::head::arguments;
use super::place::place;
use super::rejection::Rejection;
use super::{Extracted, FromRequest, via};
use crate::answer::IntoResponse;
use crate::request::{Arguments, Request};
use crate::response::Response;

/// A form, as a struct or a map: `application/x-www-form-urlencoded`, or `multipart/form-data`, of which the files are passed over (see
/// [`crate::FormData`]). Another type is a 415, and fields that do not fit are a 422.
#[derive(Clone, Debug)]
pub struct Form<T>(pub T);

/// A body of JSON. Another type is a 415, a text that is no JSON a 400, and JSON of another shape a 422 that says where. As an answer
/// it is `application/json`.
///
/// ```
/// use ropewalk_web::Router;
/// use ropewalk_web::extract::{Json, typed};
/// #[derive(serde::Deserialize, serde::Serialize)]
/// struct Point {
///     x: f64,
///     y: f64,
/// }
/// let router = Router::new().post("/mirror", typed(|Json(point): Json<Point>| Json(Point { x: point.y, y: point.x })));
/// # drop(router);
/// ```
#[derive(Clone, Debug)]
pub struct Json<T>(pub T);

/// What needs the body, with at most so many bytes of it instead of the site's limit. It cannot be more than that.
///
/// ```
/// use ropewalk_web::Router;
/// use ropewalk_web::extract::{Limited, typed};
/// let router = Router::new().post("/motto", typed(|Limited(motto): Limited<String, 140>| motto));
/// # drop(router);
/// ```
#[derive(Clone, Debug)]
pub struct Limited<E, const MAX: u64>(pub E);

impl FromRequest<via::Body> for Request {
    fn from_request(request: Request) -> Extracted<Request> {
        Extracted::Now(Ok(request))
    }
}

impl FromRequest<via::Body> for Vec<u8> {
    fn from_request(request: Request) -> Extracted<Vec<u8>> {
        Extracted::later(async move { Ok(request.bytes().await?) })
    }
}

impl FromRequest<via::Body> for String {
    fn from_request(request: Request) -> Extracted<String> {
        Extracted::later(async move {
            let bytes = request.bytes().await?;
            String::from_utf8(bytes).map_err(|_| Rejection::new(400, "the body is not UTF-8"))
        })
    }
}

impl<E: FromRequest<via::Body> + 'static, const MAX: u64> FromRequest<via::Body> for Limited<E, MAX> {
    fn from_request(request: Request) -> Extracted<Limited<E, MAX>> {
        let exchange = request.exchange();
        let own = exchange.inbound.borrow().bytes_max;
        let limit = own.unwrap_or(exchange.site().limits.body_sizes.body_bytes_max);
        request.set_body_bytes_max(limit.min(MAX));
        E::from_request(request).map(|result| result.map(Limited))
    }
}

impl<T: DeserializeOwned + 'static> FromRequest<via::Body> for Form<T> {
    fn from_request(request: Request) -> Extracted<Form<T>> {
        Extracted::later(async move {
            if request.has_type("multipart/form-data") {
                return read_form(crate::Multipart::new(request)?.fields().await?).map(Form);
            }
            if !request.has_type("application/x-www-form-urlencoded") {
                return Err(untyped(&request, "application/x-www-form-urlencoded"));
            }
            read_form(Arguments::read(&request.bytes().await?)).map(Form)
        })
    }
}

/// A form's arguments as a type.
pub(crate) fn read_form<T: DeserializeOwned>(form: Arguments) -> Result<T, Rejection> {
    arguments("form", form.into_pairs()).map_err(unprocessable)
}

impl<T: DeserializeOwned + 'static> FromRequest<via::Body> for Json<T> {
    fn from_request(request: Request) -> Extracted<Json<T>> {
        Extracted::later(async move {
            let is_json = |media: String| media == "application/json" || media.ends_with("+json");
            if !request.media_type().is_some_and(is_json) {
                return Err(untyped(&request, "application/json"));
            }
            let bytes = request.bytes().await?;
            serde_json::from_slice(&bytes).map(Json).map_err(|error| unreadable(&bytes, &error))
        })
    }
}

/// The body is of the wrong type, or there is none.
fn untyped(request: &Request, wanted: &str) -> Rejection {
    let empty = !request.exchange().inbound_used.get() && request.media_type().is_none();
    if empty { Rejection::absent(format!("a body is wanted: {wanted}")) } else { Rejection::media(wanted) }
}

/// The body was read, and means nothing here (RFC 9110 section 15.5.21).
fn unprocessable(rejection: Rejection) -> Rejection {
    if rejection.status() == 400 { rejection.with_status(422) } else { rejection }
}

fn unreadable(bytes: &[u8], error: &serde_json::Error) -> Rejection {
    let (line, column) = (error.line(), error.column());
    let words = error.to_string();
    let why = words.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&words);
    if !error.is_data() {
        return Rejection::new(400, format!("the body is no JSON: {why} (line {line}, column {column})"));
    }
    let mut field = place(bytes, line, column);
    if let Some(missing) = why.strip_prefix("missing field `").and_then(|why| why.strip_suffix('`')) {
        if !field.is_empty() {
            field.push('.');
        }
        field.push_str(missing);
    }
    if field.is_empty() {
        return Rejection::new(422, format!("the body: {why} (line {line}, column {column})"));
    }
    Rejection::new(422, format!("the field {field:?} of the body: {why} (line {line}, column {column})"))
        .field(field)
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(bytes) => Response::new(bytes).content_type("application/json"),
            Err(error) => Response::failure(error),
        }
    }
}
