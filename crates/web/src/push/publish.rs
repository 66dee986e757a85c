//! POST to a channel: what a body is, and what the outcome is called in HTTP.
//!
//! Called by `service`.

use ropewalk_channel::{ChannelError, Data, EventId};
use ropewalk_reactor::Failure;
use ropewalk_store::DatabaseError;
use serde_json::json;

use super::Push;
use crate::answer::IntoResponse;
use crate::request::Request;
use crate::response::Response;

pub(super) async fn publish(push: &Push, request: Request, name: &str) -> Response {
    let bytes_max = push.channels().options().of(name).event_bytes_max;
    request.set_body_bytes_max(bytes_max as u64);
    let form = match Form::of(&request) {
        Ok(form) => form,
        Err(response) => return response,
    };
    let bytes = match request.bytes().await {
        Ok(bytes) => bytes,
        Err(error) => return error.into_response(),
    };
    let data = match form {
        Form::Binary => Data::from(bytes),
        Form::Text => match String::from_utf8(bytes) {
            Ok(text) => Data::from(text),
            Err(_) => {
                let why = "the text is not UTF-8; send bytes as application/octet-stream";
                return Response::error(400, why);
            }
        },
    };
    match push.channels().publish(name, data).await {
        Ok(id) => answer_id(201, id),
        Err(failure) => refused(failure),
    }
}

pub(super) fn answer_id(status: u16, id: EventId) -> Response {
    Response::new(json!({ "id": id.to_string() }).to_string())
        .status(status)
        .content_type("application/json")
        .header("Cache-Control", "no-store")
}

/// How a body becomes an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Binary,
}

impl Form {
    /// Text, JSON, XML and forms (which is what `curl -d` says) are text, and so is what says nothing; all else is bytes.
    fn of(request: &Request) -> Result<Form, Response> {
        let charset = request.header("content-type").and_then(charset);
        if charset.is_some_and(|charset| !matches!(&*charset, "utf-8" | "utf8" | "us-ascii")) {
            return Err(Response::error(415, "text is UTF-8 here; or send application/octet-stream"));
        }
        match request.media_type().as_deref() {
            None => Ok(Form::Text),
            Some("multipart/form-data") => {
                Err(Response::error(415, "an event is the body as it is; send it without a form around it"))
            }
            Some(media) if is_text(media) => Ok(Form::Text),
            Some(_) => Ok(Form::Binary),
        }
    }
}

fn is_text(media: &str) -> bool {
    media.starts_with("text/")
        || media.ends_with("+json")
        || media.ends_with("+xml")
        || matches!(
            media,
            "application/json"
                | "application/xml"
                | "application/x-ndjson"
                | "application/javascript"
                | "application/x-www-form-urlencoded"
        )
}

/// The `charset` parameter, in small letters.
fn charset(content_type: &str) -> Option<String> {
    let parameters = content_type.split(';').skip(1);
    let mut named = parameters.filter_map(|parameter| parameter.split_once('='));
    let (_, value) = named.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Some(value.trim().trim_matches('"').to_ascii_lowercase())
}

/// What a refusal is in HTTP; a failure that is nobody's fault but ours is an incident.
pub(super) fn refused(failure: Failure) -> Response {
    if let Some(DatabaseError::Full) = failure.check() {
        return Response::error(503, "too many events wait to be written").header("Retry-After", "1");
    }
    if let Some(DatabaseError::Closed) = failure.check() {
        return Response::error(503, "the program is being replaced").header("Retry-After", "1").close();
    }
    let Some(error) = failure.check::<ChannelError>() else { return Response::failure(failure) };
    let why = error.to_string();
    match error {
        ChannelError::Name(_) => Response::error(400, &why),
        ChannelError::TooLarge { .. } => Response::error(413, &why),
        ChannelError::NoAcknowledgements => Response::error(404, &why),
        ChannelError::Closed => Response::error(410, &why),
        ChannelError::Busy => Response::error(503, &why).header("Retry-After", "1"),
        ChannelError::TooManyChannels => Response::error(503, &why).header("Retry-After", "60"),
        ChannelError::MemoryFull | ChannelError::TooManyClients => Response::error(507, &why),
        _ => Response::failure(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_charset_of_a_type() {
        assert_eq!(charset("text/plain"), None);
        assert_eq!(charset("text/plain; charset=UTF-8").as_deref(), Some("utf-8"));
        assert_eq!(charset("text/plain; a=b; Charset=\"latin1\"").as_deref(), Some("latin1"));
    }

    #[test]
    fn what_is_text() {
        for text in ["text/csv", "application/json", "application/atom+xml", "application/ld+json"] {
            assert!(is_text(text), "{text}");
        }
        for bytes in ["application/octet-stream", "image/png", "application/protobuf"] {
            assert!(!is_text(bytes), "{bytes}");
        }
    }
}
