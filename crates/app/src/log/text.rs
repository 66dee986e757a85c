//! Events as lines for people, as Twisted writes them:
//!
//! ```text
//! 2026-11-21T15:57:00+0100 [ropewalk_web::site#warn] request{id=5f3a}: a slow page path=/report took_ms=1200
//! ```
//!
//! What follows a line break begins with a tab, so that what somebody else has written never begins a line, and nothing in it moves or
//! colours a terminal.

use std::fmt::{self, Write};

use jiff::tz::TimeZone;
use ropewalk_reactor::failure::{Calm, is_hidden};

use super::event::{Event, Fields, Value};
use super::level::Level;

/// What the second line of an event begins with.
const LINE_BREAK: &str = "\n\t";

/// How lines are written.
#[derive(Clone, Debug)]
pub struct TextFormat {
    /// The zone of their times.
    pub zone: TimeZone,
    /// Whether levels have colours.
    pub colour: bool,
}

impl Default for TextFormat {
    /// The system's zone, and no colour.
    fn default() -> TextFormat {
        TextFormat { zone: TimeZone::system(), colour: false }
    }
}

impl TextFormat {
    /// An event as a line or more, each with its line break.
    ///
    /// ```
    /// use jiff::tz::TimeZone;
    /// use ropewalk_app::log::{Event, Level, TextFormat};
    /// let format = TextFormat { zone: TimeZone::fixed(jiff::tz::offset(1)), colour: false };
    /// let event = Event::new(Level::Warn, "shop", "no rope\nleft").with("by", "ada lovelace").with("times", 3);
    /// let expected = "1970-01-01T01:00:00+0100 [shop#warn] no rope\n\tleft by=\"ada lovelace\" times=3\n";
    /// assert_eq!(format.line(&event), expected);
    /// ```
    #[must_use]
    pub fn line(&self, event: &Event) -> String {
        let mut line = String::with_capacity(128);
        // A string takes everything.
        let _ = self.write(&mut line, event);
        line
    }

    fn write(&self, line: &mut String, event: &Event) -> fmt::Result {
        let time = event.time.to_zoned(self.zone.clone());
        write!(line, "{} [", time.strftime("%Y-%m-%dT%H:%M:%S%z"))?;
        calm(line, &event.namespace)?;
        line.write_char('#')?;
        match colour(event.level).filter(|_| self.colour) {
            Some(colour) => write!(line, "\x1b[{colour}m{}\x1b[0m", event.level)?,
            None => line.write_str(event.level.name())?,
        }
        line.write_str("] ")?;
        for span in &event.spans {
            calm(line, &span.name)?;
            if !span.fields.is_empty() {
                line.write_char('{')?;
                fields(line, &span.fields, "", |_| true)?;
                line.write_char('}')?;
            }
            line.write_str(": ")?;
        }
        calm(line, event.message().trim_end())?;
        fields(line, &event.fields, " ", |name| !event.says(name))?;
        if let Some(trouble) = &event.trouble {
            line.write_str(LINE_BREAK)?;
            calm(line, trouble.traceback.trim_end())?;
        }
        line.write_char('\n')
    }
}

fn colour(level: Level) -> Option<u8> {
    match level {
        Level::Trace => Some(35),
        Level::Debug => Some(34),
        Level::Info => Some(32),
        Level::Warn => Some(33),
        Level::Error | Level::Critical => Some(31),
    }
}

fn calm(line: &mut String, text: &str) -> fmt::Result {
    Calm::new(line, LINE_BREAK).write_str(text)
}

fn fields(line: &mut String, fields: &Fields, before: &str, shown: impl Fn(&str) -> bool) -> fmt::Result {
    let mut before = before;
    for (name, value) in fields.iter().filter(|(name, _)| shown(name)) {
        line.write_str(before)?;
        before = " ";
        calm(line, name)?;
        line.write_char('=')?;
        match value {
            // Where it ends has to be seen, and it has no second line.
            Value::Text(text) if !is_plain(text) => write!(line, "{:?}", Seen(text))?,
            value => write!(line, "{value}")?,
        }
    }
    Ok(())
}

fn is_plain(text: &str) -> bool {
    let plain = |c: char| !c.is_whitespace() && !is_hidden(c) && !matches!(c, '"' | '\\' | '=' | '{' | '}');
    !text.is_empty() && text.chars().all(plain)
}

/// Text between quotes, with nothing hidden in it.
struct Seen<'a>(&'a str);

impl fmt::Debug for Seen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                hidden if is_hidden(hidden) => write!(f, "{}", hidden.escape_default())?,
                character => f.write_char(character)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use ropewalk_reactor::Failure;

    use super::*;
    use crate::log::Span;

    fn format() -> TextFormat {
        TextFormat { zone: TimeZone::UTC, colour: false }
    }

    #[test]
    fn what_others_have_written_cannot_forge_a_line_or_colour_a_terminal() {
        let evil = "x\n1970-01-01T00:00:00+0000 [login#info] root\r\u{1b}[31m\u{9b}2J\u{202e}\u{2028}\u{7}";
        let mut event = Event::new(Level::Info, evil.to_owned(), evil)
            .with(evil.to_owned(), evil)
            .failed(&Failure::new(std::io::Error::other(evil)));
        event.spans.push(Span { name: evil.into(), fields: event.fields.clone() });
        let text = format().line(&event);
        assert_eq!(text.lines().filter(|line| !line.starts_with(['\t', ' '])).count(), 1, "{text}");
        assert!(!text.chars().any(|c| is_hidden(c) && c != '\n' && c != '\t'), "{text:?}");
        assert!(text.contains("\\u{1b}[31m"), "{text}");
    }

    #[test]
    fn a_failure_is_behind_its_event_further_in() {
        let failure = Failure::new("torn");
        let event =
            Event::format(Level::Error, "rope", "{which} is no more").with("which", "it").failed(&failure);
        let expected = format!(
            "1970-01-01T00:00:00+0000 [rope#error] it is no more\n\ttorn\n\t    made at {}\n",
            failure.place()
        );
        assert_eq!(format().line(&event), expected);
    }

    #[test]
    fn only_levels_have_colours() {
        let coloured = TextFormat { colour: true, ..format() };
        let line = coloured.line(&Event::new(Level::Error, "a", "b"));
        assert_eq!(line, "1970-01-01T00:00:00+0000 [a#\u{1b}[31merror\u{1b}[0m] b\n");
    }
}
