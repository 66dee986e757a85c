//! `TestResponse`: a whole answer, and what a test says of it. Each assertion tells what was asked and what was answered.

use serde::de::DeserializeOwned;

use crate::client::{Response, Url};

/// Of a body that was not expected, so much is shown.
const SHOWN_BYTES: usize = 2000;

/// What stands before a body, and behind it.
#[derive(Clone)]
pub(super) struct Head {
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    url: Url,
    pub(super) trailers: Vec<(String, Vec<u8>)>,
}

impl Head {
    pub(super) fn of(response: &Response) -> Head {
        let fields = response.headers().map(|(name, value)| (name.to_owned(), value.to_vec()));
        Head {
            status: response.status(),
            fields: fields.collect(),
            url: response.url().clone(),
            trailers: Vec::new(),
        }
    }
}

/// An answer.
///
/// ```
/// use ropewalk_web::{Response, Router, testing::TestClient};
///
/// let client = TestClient::new(Router::new().get("/", |_| {
///     Response::new(r#"{"rope": [1, 2]}"#).status(201).content_type("application/json")
/// }));
/// let response = client.get("/").send();
/// response.assert_status(201).assert_header("Content-Type", "application/json").assert_contains("rope");
/// let value: std::collections::BTreeMap<String, Vec<u32>> = response.json();
/// assert_eq!(value["rope"], [1, 2]);
/// ```
#[derive(Clone)]
pub struct TestResponse {
    what: String,
    head: Head,
    body: Vec<u8>,
}

impl TestResponse {
    pub(super) fn new(what: String, head: Head, body: Vec<u8>) -> TestResponse {
        TestResponse { what, head, body }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The first field of this name, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(known, _)| known.eq_ignore_ascii_case(name)).and_then(|(_, value)| text(value))
    }

    /// All fields of this name that are text.
    #[must_use]
    pub fn header_all(&self, name: &str) -> Vec<&str> {
        let named = self.headers().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.filter_map(|(_, value)| text(value)).collect()
    }

    /// All fields, in the order they were sent.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head.fields.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The path and the query that it comes from: after redirects, not where the request began.
    #[must_use]
    pub fn path(&self) -> String {
        let url = self.head.url.to_string();
        url.strip_prefix(super::BASE).map_or_else(|| url.clone(), str::to_owned)
    }

    /// The fields behind the body.
    #[must_use]
    pub fn trailers(&self) -> &[(String, Vec<u8>)] {
        &self.head.trailers
    }

    /// The body.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The body as text.
    ///
    /// # Panics
    /// It is no UTF-8.
    #[must_use]
    #[track_caller]
    pub fn text(&self) -> &str {
        match std::str::from_utf8(&self.body) {
            Ok(text) => text,
            Err(error) => panic!("{}: the body is no text: {error}", self.what),
        }
    }

    /// The body, read as JSON.
    ///
    /// # Panics
    /// It is none, or has another shape.
    #[must_use]
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => self.wrong(&format!("the body is not this JSON: {error}")),
        }
    }

    /// Panics unless this is the status.
    #[track_caller]
    pub fn assert_status(&self, status: u16) -> &TestResponse {
        if self.status() != status {
            self.wrong(&format!("the status should be {status}"));
        }
        self
    }

    /// Panics unless there is a field of this name with this value.
    #[track_caller]
    pub fn assert_header(&self, name: &str, value: &str) -> &TestResponse {
        if !self.header_all(name).contains(&value) {
            self.wrong(&format!("there should be `{name}: {value}`"));
        }
        self
    }

    /// Panics unless the body is this text.
    #[track_caller]
    pub fn assert_text(&self, text: &str) -> &TestResponse {
        if self.body != text.as_bytes() {
            self.wrong(&format!("the body should be {text:?}"));
        }
        self
    }

    /// Panics unless this text is in the body.
    #[track_caller]
    pub fn assert_contains(&self, part: &str) -> &TestResponse {
        if !String::from_utf8_lossy(&self.body).contains(part) {
            self.wrong(&format!("the body should contain {part:?}"));
        }
        self
    }

    /// Panics unless the body is this JSON, however it is written.
    #[track_caller]
    pub fn assert_json<T: serde::Serialize + ?Sized>(&self, value: &T) -> &TestResponse {
        let found: serde_json::Value = self.json();
        if serde_json::to_value(value).ok().as_ref() != Some(&found) {
            let wanted = serde_json::to_string(value).unwrap_or_default();
            self.wrong(&format!("the body should be the JSON {wanted}"));
        }
        self
    }

    /// Panics unless it leads elsewhere: a status of redirection, and this `Location`.
    #[track_caller]
    pub fn assert_redirect(&self, location: &str) -> &TestResponse {
        if !matches!(self.status(), 301 | 302 | 303 | 307 | 308) {
            self.wrong(&format!("it should lead to {location}"));
        }
        self.assert_header("Location", location)
    }

    #[track_caller]
    fn wrong(&self, why: &str) -> ! {
        panic!("{}: {why}, and this came:\n{self:?}", self.what)
    }
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}

impl std::fmt::Debug for TestResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.status())?;
        for (name, value) in self.headers() {
            writeln!(f, "{name}: {}", String::from_utf8_lossy(value))?;
        }
        let shown = &self.body[..self.body.len().min(SHOWN_BYTES)];
        write!(f, "\n{}", String::from_utf8_lossy(shown))?;
        match self.body.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, "\n(and {more} bytes more)"),
        }
    }
}
