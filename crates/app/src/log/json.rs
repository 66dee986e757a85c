//! Events as lines of JSON, and the events again out of the lines: what is read is equal to what was written.
//!
//! ```text
//! {"time":"2026-11-21T14:57:00.25Z","level":"warn","namespace":"shop","message":"3 left","format":"{n} left","fields":{"n":3}}
//! ```

use std::fmt::{self, Write};
use std::io::{self, BufRead};

use jiff::Timestamp;
use ropewalk_reactor::failure::is_hidden;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::event::{Event, Fields, Printed, Span, Trouble, Value, Word, Words};
use super::level::Level;

/// An event as one line of JSON, with its line break.
///
/// ```
/// use ropewalk_app::log::{Event, Level, from_json, to_json};
/// let event = Event::format(Level::Info, "shop", "{count} left").with("count", 3);
/// let line = to_json(&event);
/// assert!(line.contains(r#""message":"3 left""#) && line.contains(r#""fields":{"count":3}"#));
/// let read: Vec<Event> = from_json(line.as_bytes()).map(|event| event.unwrap()).collect();
/// assert_eq!(read, [event]);
/// ```
#[must_use]
pub fn to_json(event: &Event) -> String {
    let message = event.message();
    let format = match &event.words {
        Words::Plain(_) => None,
        Words::Format(format) => Some(&**format),
    };
    let line = Line {
        time: event.time.to_string().into(),
        level: event.level,
        namespace: (&*event.namespace).into(),
        message: (&*message).into(),
        format: format.map(Into::into),
        fields: Pairs(event.fields.clone()),
        spans: event
            .spans
            .iter()
            .map(|span| Within { name: span.name.clone(), fields: Pairs(span.fields.clone()) })
            .collect(),
        failure: event
            .trouble
            .as_ref()
            .map(|trouble| Failed { text: (&*trouble.text).into(), traceback: (&*trouble.traceback).into() }),
        printed: event.printed.map(|printed| match printed {
            Printed::Output => "stdout".into(),
            Printed::Error => "stderr".into(),
        }),
    };
    // Only maps whose keys are no text, and writers that fail, make an error.
    let mut json = serde_json::to_string(&line).expect("it has only text and numbers");
    // JSON itself escapes what is below U+0020. Outside of its texts there is nothing but ASCII.
    if json.contains(is_hidden) {
        json = seen(&json);
    }
    json.push('\n');
    json
}

fn seen(json: &str) -> String {
    let mut text = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        // A string takes everything.
        let _ = match is_hidden(character) {
            true => write!(text, "\\u{:04x}", u32::from(character)),
            false => text.write_char(character),
        };
    }
    text
}

/// Reads events again. A line that is none is an error, and the next one is read after it: the last line of a program that was killed
/// may not be whole.
pub fn from_json(lines: impl BufRead) -> impl Iterator<Item = Result<Event, JsonError>> {
    let read = |(index, line): (usize, io::Result<Vec<u8>>)| {
        let number = index + 1;
        let line = line.map_err(|error| JsonError { line: number, why: Why::Read(error) })?;
        let parsed = serde_json::from_slice::<Line<'_>>(&line).map_err(|error| error.to_string());
        parsed.and_then(Event::try_from).map_err(|error| JsonError { line: number, why: Why::Parse(error) })
    };
    lines.split(b'\n').enumerate().map(read)
}

/// A line that is no event.
#[derive(Debug)]
pub struct JsonError {
    /// Its number; the first is 1.
    pub line: usize,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Read(io::Error),
    Parse(String),
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::Read(error) => write!(f, "line {}: {error}", self.line),
            Why::Parse(error) => write!(f, "line {} is no event: {error}", self.line),
        }
    }
}

impl std::error::Error for JsonError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.why {
            Why::Read(error) => Some(error),
            Why::Parse(_) => None,
        }
    }
}

/// What is written.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    time: std::borrow::Cow<'a, str>,
    level: Level,
    namespace: std::borrow::Cow<'a, str>,
    message: std::borrow::Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Pairs::is_empty")]
    fields: Pairs,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    spans: Vec<Within>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<Failed<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    printed: Option<std::borrow::Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
struct Within {
    name: Word,
    #[serde(default, skip_serializing_if = "Pairs::is_empty")]
    fields: Pairs,
}

#[derive(Serialize, Deserialize)]
struct Failed<'a> {
    text: std::borrow::Cow<'a, str>,
    traceback: std::borrow::Cow<'a, str>,
}

impl TryFrom<Line<'_>> for Event {
    type Error = String;

    fn try_from(line: Line<'_>) -> Result<Event, String> {
        let words = match line.format {
            Some(format) => Words::Format(format.into_owned().into()),
            None => Words::Plain(line.message.into_owned().into()),
        };
        let mut event = Event::of(line.level, line.namespace.into_owned().into(), words);
        event.time = line.time.parse::<Timestamp>().map_err(|error| error.to_string())?;
        event.fields = line.fields.0;
        event.spans =
            line.spans.into_iter().map(|span| Span { name: span.name, fields: span.fields.0 }).collect();
        event.trouble =
            line.failure.map(|failed| Trouble::read(failed.text.into_owned(), failed.traceback.into_owned()));
        event.printed = match line.printed.as_deref() {
            None => None,
            Some("stdout") => Some(Printed::Output),
            Some("stderr") => Some(Printed::Error),
            Some(other) => return Err(format!("{other:?} is neither stdout nor stderr")),
        };
        Ok(event)
    }
}

/// Fields as an object in their order.
#[derive(Default)]
struct Pairs(Fields);

impl Pairs {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.0.iter() {
            match value {
                Value::Bool(value) => map.serialize_entry(name, value)?,
                Value::Unsigned(value) => map.serialize_entry(name, value)?,
                Value::Negative(value) => map.serialize_entry(name, value)?,
                Value::Float(value) => map.serialize_entry(name, value)?,
                Value::Text(value) => map.serialize_entry(name, value)?,
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs, D::Error> {
        /// What a field may be.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Scalar {
            Bool(bool),
            Unsigned(u64),
            Negative(i64),
            Float(f64),
            Text(String),
        }
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of fields")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut fields = Fields::default();
                while let Some((name, value)) = map.next_entry::<String, Scalar>()? {
                    match value {
                        Scalar::Bool(value) => fields.set(name, value),
                        Scalar::Unsigned(value) => fields.set(name, value),
                        Scalar::Negative(value) => fields.set(name, value),
                        Scalar::Float(value) => fields.set(name, value),
                        Scalar::Text(value) => fields.set(name, value),
                    }
                }
                Ok(Pairs(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use ropewalk_reactor::Failure;

    use super::*;

    fn full() -> Event {
        let mut event = Event::format(Level::Critical, "a::b", "{z} \"{a}\"\n")
            .with("z", "\u{1b}[31m\u{9b}\u{202e}\u{7f}\n\"ü")
            .with("a", i64::MIN)
            .with("m", u64::MAX)
            .with("f", 0.1 + 0.2)
            .with("e", 1.0)
            .with("tiny", 5e-324)
            .with("n", f64::NAN)
            .with("", true)
            .failed(&Failure::new("torn\nin two"));
        event.time = "2026-11-21T14:57:00.123456789Z".parse().unwrap();
        event.spans.push(Span { name: "request".into(), fields: event.fields.clone() });
        event.spans.push(Span { name: "bare".into(), ..Span::default() });
        event.printed = Some(Printed::Error);
        event
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let events = [full(), Event::new(Level::Trace, "", "{no format}")];
        let text: String = events.iter().map(to_json).collect();
        assert_eq!(text.lines().count(), 2);
        assert!(!text.chars().any(|c| is_hidden(c) && c != '\n'), "{text:?}");
        let read: Vec<_> = from_json(text.as_bytes()).map(Result::unwrap).collect();
        assert_eq!(read, events);
        assert_eq!(read[0].fields.iter().map(|(name, _)| name).collect::<String>(), "zamfetinyn");
    }

    #[test]
    fn any_number_is_read_as_it_was_written() {
        let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..10_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let event =
                Event::new(Level::Info, "n", "n").with("f", f64::from_bits(bits)).with("i", bits as i64);
            let read = from_json(to_json(&event).as_bytes()).next().unwrap().unwrap();
            assert_eq!(read, event, "{bits:x}");
        }
    }

    #[test]
    fn a_line_that_is_torn_is_an_error_and_the_rest_is_read() {
        let line = to_json(&full());
        let text = format!("{line}{}\n{line}", &line[..40]);
        let read: Vec<_> = from_json(text.as_bytes()).collect();
        assert!(read[0].is_ok() && read[2].is_ok() && read.len() == 3);
        let error = read[1].as_ref().unwrap_err();
        assert_eq!(error.line, 2);
        assert!(error.to_string().starts_with("line 2 is no event: "), "{error}");
    }
}
