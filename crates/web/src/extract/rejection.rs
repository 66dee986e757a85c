//! `Rejection`: why an argument could not be taken out of a request, as a sentence for whoever sent it.

use std::fmt;

use serde_json::json;

use crate::answer::IntoResponse;
use crate::inbound::BodyError;
use crate::response::Response;

/// Why a request is refused: a status, a sentence, and the field that it is about. As an answer it is text, or JSON for a client that
/// names JSON in its `Accept`: `{"status":400,"error":"…","field":"page"}`.
///
/// A mistake of the program, such as a state that no router has, is a 500 of which the client learns nothing but the id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    status: u16,
    why: String,
    field: Option<String>,
    /// There is nothing, rather than something wrong.
    absent: bool,
    headers: Vec<(String, String)>,
    /// The body could not be read to its end.
    close: bool,
}

impl Rejection {
    /// A refusal with this status and this sentence.
    #[must_use]
    pub fn new(status: u16, why: impl Into<String>) -> Rejection {
        Rejection(Box::new(Inner {
            status,
            why: why.into(),
            field: None,
            absent: false,
            headers: Vec::new(),
            close: false,
        }))
    }

    /// 400, because what was asked for is not there at all: an argument that is an `Option` is `None` then.
    #[must_use]
    pub fn absent(why: impl Into<String>) -> Rejection {
        let mut rejection = Rejection::new(400, why);
        rejection.0.absent = true;
        rejection
    }

    /// 415, because only this media type is taken.
    #[must_use]
    pub fn media(wanted: &str) -> Rejection {
        Rejection::new(415, format!("the body has to be {wanted}, and has to say so"))
    }

    /// The same about this field.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>) -> Rejection {
        self.0.field = Some(name.into());
        self
    }

    /// The same with another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Rejection {
        self.0.status = status;
        self
    }

    /// The same with one more field in the answer's head.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Rejection {
        self.0.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same on a connection that closes: the body was not read to its end.
    pub(crate) fn closing(mut self) -> Rejection {
        self.0.close = true;
        self
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// The field that it is about: an argument, a parameter, or the path to a value in a body of JSON, as `lines[2].amount`.
    #[must_use]
    pub fn field_name(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// Whether there was nothing, rather than something wrong.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.0.absent
    }

    pub(crate) fn answer(self, json: bool) -> Response {
        let Inner { status, why, field, headers, close, .. } = *self.0;
        if status == 500 {
            return Response::failure(why);
        }
        let response = if json {
            let mut body = json!({ "status": status, "error": why });
            if let Some(field) = field {
                body["field"] = field.into();
            }
            body.into_response().status(status)
        } else {
            Response::error(status, &why)
        };
        let response = if close { response.close() } else { response };
        headers.into_iter().fold(response, |response, (name, value)| response.header(name, value))
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.why)
    }
}

impl std::error::Error for Rejection {}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        self.answer(false)
    }
}

impl From<BodyError> for Rejection {
    fn from(error: BodyError) -> Rejection {
        let status = match error {
            BodyError::TooLarge => 413,
            BodyError::TimedOut => 408,
            BodyError::Malformed(_) | BodyError::Lost => 400,
        };
        let mut rejection = Rejection::new(status, error.to_string());
        rejection.0.close = true;
        rejection
    }
}
