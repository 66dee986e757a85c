//! What a client says over a WebSocket: one JSON object, which asks for one thing.
//!
//! Only read here; `socket` does it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ropewalk_channel::{Data, EventId, Since};
use serde_json::{Map, Value};

use super::service::Wish;
use super::stream;

/// What is asked for.
pub(super) enum Ask {
    Subscribe(Wish),
    Unsubscribe,
    Publish(Data),
    Acknowledge { id: EventId, client: Option<String> },
}

/// A message that is understood.
pub(super) struct Asked {
    pub(super) ask: Ask,
    /// The channel.
    pub(super) name: String,
    /// What is to stand in the answer, whatever it is.
    pub(super) reference: Option<Value>,
}

/// A message that is not.
pub(super) struct Refused {
    pub(super) why: &'static str,
    pub(super) reference: Option<Value>,
}

impl Asked {
    pub(super) fn read(text: &str) -> Result<Asked, Refused> {
        let Ok(Value::Object(mut message)) = serde_json::from_str(text) else {
            return Err(Refused { why: "a message is a JSON object", reference: None });
        };
        let reference = message.remove("ref");
        match read(message) {
            Ok((name, ask)) => Ok(Asked { ask, name, reference }),
            Err(why) => Err(Refused { why, reference }),
        }
    }
}

fn read(mut message: Map<String, Value>) -> Result<(String, Ask), &'static str> {
    // `ack` comes last: with another it says as which client.
    for verb in ["subscribe", "unsubscribe", "publish", "ack"] {
        let Some(name) = message.remove(verb) else { continue };
        let Value::String(name) = name else { return Err("the name of a channel is a string") };
        let ask = match verb {
            "subscribe" => Ask::Subscribe(wish(message)?),
            "unsubscribe" => Ask::Unsubscribe,
            "publish" => Ask::Publish(data(message)?),
            _ => acknowledge(message)?,
        };
        return Ok((name, ask));
    }
    Err("say subscribe, unsubscribe, publish or ack, and a channel")
}

fn wish(mut message: Map<String, Value>) -> Result<Wish, &'static str> {
    let since = match (message.get("since"), message.get("last")) {
        // As in an address: an id that is not one of ours can only be answered with a gap.
        (Some(Value::String(id)), _) => Some(Since::After(id.parse().unwrap_or(EventId::MAX))),
        (Some(Value::Number(id)), _) => Some(Since::After(id.as_u64().map_or(EventId::MAX, EventId))),
        (None, Some(count)) => {
            let count = count.as_u64().ok_or("last is a number")?;
            Some(stream::last(usize::try_from(count).unwrap_or(usize::MAX)))
        }
        (None, None) => None,
        _ => return Err("since is an id"),
    };
    Ok(Wish { since, name: text(&mut message, "name")?, client: text(&mut message, "ack")?, goes_on: false })
}

fn data(mut message: Map<String, Value>) -> Result<Data, &'static str> {
    match (text(&mut message, "data")?, text(&mut message, "base64")?) {
        (Some(text), None) => Ok(Data::from(text)),
        (None, Some(bytes)) => {
            STANDARD.decode(bytes).map(Data::from).map_err(|_| "base64 is not well formed")
        }
        _ => Err("an event has data, a string, or base64"),
    }
}

fn acknowledge(mut message: Map<String, Value>) -> Result<Ask, &'static str> {
    let id = text(&mut message, "id")?.and_then(|id| id.parse().ok()).ok_or("id is the id of an event")?;
    Ok(Ask::Acknowledge { id, client: text(&mut message, "client")? })
}

/// A member that is a string, if it is there.
fn text(message: &mut Map<String, Value>, name: &str) -> Result<Option<String>, &'static str> {
    match message.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err("names, ids, data and base64 are strings"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> &'static str {
        Asked::read(text).map(|_| "understood").unwrap_or_else(|refused| refused.why)
    }

    #[test]
    fn what_is_understood_and_what_is_not() {
        for text in [
            r#"{"subscribe":"a"}"#,
            r#"{"subscribe":"a","since":"5","name":"ann","ref":1}"#,
            r#"{"subscribe":"a","since":5}"#,
            r#"{"subscribe":"a","last":3,"ack":"ann"}"#,
            r#"{"unsubscribe":"a"}"#,
            r#"{"publish":"a","data":""}"#,
            r#"{"publish":"a","base64":"/w=="}"#,
            r#"{"ack":"a","id":"5"}"#,
        ] {
            assert_eq!(why(text), "understood", "{text}");
        }
        for text in [
            "",
            "1",
            "[]",
            "{}",
            r#"{"subscribe":1}"#,
            r#"{"subscribe":"a","since":null}"#,
            r#"{"subscribe":"a","last":"x"}"#,
            r#"{"publish":"a"}"#,
            r#"{"publish":"a","data":1}"#,
            r#"{"publish":"a","data":"x","base64":""}"#,
            r#"{"publish":"a","base64":"*"}"#,
            r#"{"ack":"a"}"#,
            r#"{"ack":"a","id":"x"}"#,
        ] {
            assert_ne!(why(text), "understood", "{text}");
        }
        let refused = Asked::read(r#"{"publish":"a","ref":"r"}"#).err().unwrap();
        assert_eq!(refused.reference, Some("r".into()));
    }
}
