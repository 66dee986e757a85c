//! What goes on within a service at this moment, a line each: a transfer, a session, how much waits. A service says it by
//! [`Service::activities`](crate::Service::activities), `status` shows it, and `end` ends what can be ended.

use serde_json::{Map, Value, json};

/// Something that goes on in a service.
///
/// ```
/// use ropewalk_app::Activity;
/// let copy = Activity::new("ada fetches /film.mkv").endable("t7").with("user", "ada").with("bytes", 1234);
/// let count = Activity::new("3 channels").with("channels", 3);
/// # drop((copy, count));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Activity {
    line: String,
    id: Option<String>,
    figures: Map<String, Value>,
}

impl Activity {
    /// One that is described so for people, in a line.
    #[must_use]
    pub fn new(line: impl Into<String>) -> Activity {
        // What a client calls its files is no reason for a second line, or for colours.
        Activity { line: line.into().replace(char::is_control, "?"), id: None, figures: Map::new() }
    }

    /// It can be ended, by this name: one word that no other activity of the service has.
    #[must_use]
    pub fn endable(mut self, id: impl Into<String>) -> Activity {
        self.id = Some(id.into());
        self
    }

    /// A figure of it, for programs.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Activity {
        self.figures.insert(key.to_owned(), value.into());
        self
    }

    /// With the name by which the whole program knows it.
    pub(crate) fn to_json(&self, service: &str) -> Value {
        let mut all = self.figures.clone();
        all.insert("line".to_owned(), json!(self.line));
        if let Some(id) = &self.id {
            all.insert("id".to_owned(), json!(format!("{service}{PARTED}{id}")));
        }
        Value::Object(all)
    }
}

/// What stands between the service and its activity in a name: services may have a slash in theirs.
pub(crate) const PARTED: char = ':';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_a_line_and_a_name_is_the_programs() {
        let activity = Activity::new("ada sends \u{1b}[31mred\n").endable("t1").with("bytes", 5);
        let shown = activity.to_json("shop/ftp");
        assert_eq!(shown, json!({ "id": "shop/ftp:t1", "line": "ada sends ?[31mred?", "bytes": 5 }));
    }
}
