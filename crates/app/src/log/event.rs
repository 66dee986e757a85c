//! An event of the log: data, which observers make lines of, or keep, or count. Nothing is formatted before somebody wants it.

use std::borrow::Cow;
use std::fmt::{self, Write};

use jiff::Timestamp;
use ropewalk_reactor::Failure;

use super::level::Level;

/// Text that is mostly known when the program is compiled.
pub type Word = Cow<'static, str>;

/// Something that happened.
///
/// ```
/// use ropewalk_app::log::{Event, Level};
/// let event = Event::format(Level::Info, "shop", "{user} bought {count} ropes").with("user", "ada").with("count", 3);
/// assert_eq!(event.message(), "ada bought 3 ropes");
/// assert_eq!(event.field("count").and_then(|count| count.as_u64()), Some(3));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// When. A publisher puts its clock's time here where it is 1970.
    pub time: Timestamp,
    /// How urgent it is.
    pub level: Level,
    /// Which part of the program says so: the module's path, `ropewalk_web::site`.
    pub namespace: Word,
    /// What it says.
    pub words: Words,
    /// What it knows, by name, in the order in which it was added.
    pub fields: Fields,
    /// What it happened within, the outermost first.
    pub spans: Vec<Span>,
    /// What went wrong.
    pub trouble: Option<Trouble>,
    /// It was no event but printed, by a part of the program that knows no better.
    pub printed: Option<Printed>,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Words {
    /// Just that.
    Plain(Word),
    /// A text with names of fields in braces; `{{` and `}}` are braces. A name that is no field stays as it is.
    Format(Word),
}

/// A span that an event happened within.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    /// What it is called.
    pub name: Word,
    /// What it knows.
    pub fields: Fields,
}

/// Where a printed line was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Printed {
    /// On standard output.
    Output,
    /// On standard error.
    Error,
}

/// What went wrong: a failure, or what a log says of one.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// The error's own words.
    pub text: String,
    /// These, what caused it, where it was made and where it passed; several lines.
    pub traceback: String,
    failure: Option<Failure>,
}

impl Trouble {
    pub(super) fn read(text: String, traceback: String) -> Trouble {
        Trouble { text, traceback, failure: None }
    }

    /// The failure itself, unless the event was read from a log.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }
}

impl From<&Failure> for Trouble {
    fn from(failure: &Failure) -> Trouble {
        let (text, traceback) = (failure.to_string(), format!("{failure:?}"));
        Trouble { text, traceback, failure: Some(failure.clone()) }
    }
}

/// By what can be told of it: a failure that was read is equal to the one that was written.
impl PartialEq for Trouble {
    fn eq(&self, other: &Trouble) -> bool {
        (&self.text, &self.traceback) == (&other.text, &other.traceback)
    }
}

impl Event {
    /// An event that says just this.
    pub fn new(level: Level, namespace: impl Into<Word>, text: impl Into<Word>) -> Event {
        Event::of(level, namespace.into(), Words::Plain(text.into()))
    }

    /// An event whose text has names of fields in braces.
    pub fn format(level: Level, namespace: impl Into<Word>, format: impl Into<Word>) -> Event {
        Event::of(level, namespace.into(), Words::Format(format.into()))
    }

    pub(super) fn of(level: Level, namespace: Word, words: Words) -> Event {
        let (time, fields, spans) = Default::default();
        Event { time, level, namespace, words, fields, spans, trouble: None, printed: None }
    }

    /// The same with a field; one of that name is replaced.
    #[must_use]
    pub fn with(mut self, name: impl Into<Word>, value: impl Into<Value>) -> Event {
        self.fields.set(name, value);
        self
    }

    /// The same with what went wrong.
    #[must_use]
    pub fn failed(self, failure: &Failure) -> Event {
        Event { trouble: Some(failure.into()), ..self }
    }

    /// What it says.
    #[must_use]
    pub fn message(&self) -> Cow<'_, str> {
        match &self.words {
            Words::Plain(text) => Cow::Borrowed(text),
            Words::Format(format) => Cow::Owned(fill(format, &self.fields)),
        }
    }

    /// A field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// Whether its text shows this field already.
    pub(super) fn says(&self, name: &str) -> bool {
        matches!(&self.words, Words::Format(format) if pieces(format).any(|piece| piece == Piece::Field(name)))
    }
}

/// A part of a format.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Field(&'a str),
}

/// The parts of a format. Braces that fit nothing are text.
fn pieces(format: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = format;
    std::iter::from_fn(move || {
        let (piece, length) = first_piece(rest)?;
        rest = &rest[length..];
        Some(piece)
    })
}

/// The first part of a text and its length there.
fn first_piece(text: &str) -> Option<(Piece<'_>, usize)> {
    let plain = text.find(['{', '}']).unwrap_or(text.len());
    if plain > 0 {
        return Some((Piece::Text(&text[..plain]), plain));
    }
    if text.is_empty() {
        return None;
    }
    if text.starts_with("{{") || text.starts_with("}}") {
        return Some((Piece::Text(&text[..1]), 2));
    }
    let name = text.strip_prefix('{').and_then(|inner| inner.split(['{', '}']).next()).unwrap_or_default();
    if !name.is_empty() && text[1 + name.len()..].starts_with('}') {
        return Some((Piece::Field(name), name.len() + 2));
    }
    Some((Piece::Text(&text[..1]), 1))
}

fn fill(format: &str, fields: &Fields) -> String {
    let mut text = String::with_capacity(format.len());
    for piece in pieces(format) {
        // A string takes everything.
        let _ = match piece {
            Piece::Text(piece) => text.write_str(piece),
            Piece::Field(name) => match fields.get(name) {
                Some(value) => write!(text, "{value}"),
                None => write!(text, "{{{name}}}"),
            },
        };
    }
    text
}

/// Values by name, in order; a name is there once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields(Vec<(Word, Value)>);

impl Fields {
    /// Adds a value, or puts it in the place of the one of that name.
    pub fn set(&mut self, name: impl Into<Word>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// A value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a field has. A number that is not negative is `Unsigned`, and what is no number for JSON is text, so that what is read again is
/// equal to what was written.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Unsigned(u64),
    /// A negative one.
    Negative(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(Word),
}

impl Value {
    /// The number, if it is one that is whole and not negative.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Value::Unsigned(number) => Some(*number),
            _ => None,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(value) => fmt::Display::fmt(value, f),
            Value::Unsigned(value) => fmt::Display::fmt(value, f),
            Value::Negative(value) => fmt::Display::fmt(value, f),
            Value::Float(value) => fmt::Debug::fmt(value, f),
            Value::Text(value) => fmt::Display::fmt(value, f),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        u64::try_from(value).map_or(Value::Negative(value), Value::Unsigned)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        if value.is_finite() { Value::Float(value) } else { Value::Text(value.to_string().into()) }
    }
}

macro_rules! value_from {
    ($($type:ty => $as:ty),*) => {
        $(impl From<$type> for Value {
            fn from(value: $type) -> Value {
                <$as>::from(value).into()
            }
        })*
    };
}

value_from!(i32 => i64, u32 => u64, u16 => u64, f32 => f64);

impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value::Unsigned(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Value {
        Value::Unsigned(value as u64)
    }
}

impl From<&'static str> for Value {
    fn from(value: &'static str) -> Value {
        Value::Text(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::Text(value.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_shows_its_fields_and_keeps_what_fits_nothing() {
        let says = |format: &'static str| {
            Event::format(Level::Info, "x", format).with("a", -1).with("b", "{a}").message().into_owned()
        };
        assert_eq!(says("{a} and {b}"), "-1 and {a}");
        assert_eq!(says("{{a}} {c} {} } { {a"), "{a} {c} {} } { {a");
        assert_eq!(says(""), "");
        assert!(Event::format(Level::Info, "x", "{a}{{b}}").says("a"));
        assert!(!Event::format(Level::Info, "x", "{a}{{b}}").says("b"));
        assert_eq!(Event::new(Level::Info, "x", "{a}").with("a", 1).message(), "{a}");
    }
}
