//! Arguments: the names and values of a query or of a form, decoded. How they become a type of the program's own is the
//! business of `extract`.

use std::fmt;

use super::Request;
use crate::cookies::{self, Cookies};
use crate::extract::Rejection;
use crate::inbound::BodyError;

/// Names and values in the order in which they were sent. A name may be there more than once; who asks for one value gets the
/// first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments(Vec<(String, String)>);

impl Arguments {
    /// Reads the form `a=1&b=2`: `+` is a space, `%XX` a byte, what is not UTF-8 is replaced.
    #[must_use]
    pub fn read(text: &[u8]) -> Arguments {
        Arguments(form_urlencoded::parse(text).into_owned().collect())
    }

    /// The first value of this name.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All values of this name, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn from_pairs(pairs: Vec<(String, String)>) -> Arguments {
        Arguments(pairs)
    }

    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        self.0
    }
}

/// From names and values, to be written as a query.
///
/// ```
/// use ropewalk_web::Arguments;
/// let arguments: Arguments = [("q", "rope & walk"), ("page", "2")].into_iter().collect();
/// assert_eq!(arguments.to_string(), "q=rope+%26+walk&page=2");
/// ```
impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Arguments {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Arguments {
        Arguments(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// As a query: encoded.
impl fmt::Display for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = form_urlencoded::Serializer::new(String::new());
        f.write_str(&text.extend_pairs(self.iter()).finish())
    }
}

impl Request {
    /// The first query argument of this name, decoded: `+` is a space, `%XX` a byte, what is not UTF-8 is replaced. It may be sent
    /// more than once: [`Request::arguments`] has all of them.
    #[must_use]
    pub fn argument(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.query()?.as_bytes());
        pairs.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    }

    /// All arguments of the query.
    ///
    /// ```
    /// use ropewalk_web::{Request, Router};
    /// let router = Router::new().get("/sum", |request: Request| {
    ///     let sum: u64 = request.arguments().all("n").filter_map(|n| n.parse::<u64>().ok()).sum();
    ///     sum.to_string()
    /// });
    /// # drop(router);
    /// ```
    #[must_use]
    pub fn arguments(&self) -> Arguments {
        Arguments::read(self.query().unwrap_or_default().as_bytes())
    }

    /// The arguments of a form in the body, `application/x-www-form-urlencoded` or `multipart/form-data`, of which the files are passed over: see
    /// [`crate::FormData`].
    ///
    /// # Errors
    /// The body is of another type (415), malformed (400), beyond a limit (413), or cannot be read.
    pub async fn form(self) -> Result<Arguments, Rejection> {
        if self.has_type("multipart/form-data") {
            return crate::Multipart::new(self)?.fields().await;
        }
        if !self.has_type("application/x-www-form-urlencoded") {
            return Err(Rejection::media("application/x-www-form-urlencoded"));
        }
        Ok(Arguments::read(&self.bytes().await?))
    }

    /// All arguments, those of the query first, and then those of the form in the body, if there is one of either type: Twisted's
    /// `request.args`.
    ///
    /// # Errors
    /// The body is a form and malformed (400), beyond a limit (413), or cannot be read.
    pub async fn args(self) -> Result<Arguments, Rejection> {
        let mut pairs = self.arguments().into_pairs();
        if self.has_type("multipart/form-data") || self.has_type("application/x-www-form-urlencoded") {
            pairs.extend(self.form().await?.into_pairs());
        }
        Ok(Arguments(pairs))
    }

    /// The body as text.
    ///
    /// # Errors
    /// It is not UTF-8, or cannot be read.
    pub async fn text(self) -> Result<String, BodyError> {
        String::from_utf8(self.bytes().await?).map_err(|_| BodyError::Malformed("the body is not UTF-8"))
    }

    /// The first cookie of this name: its value as it was sent, without quotes around it.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<String> {
        let lines = self.exchange().head.fields_named("cookie");
        let mut pairs = lines.flat_map(cookies::pairs);
        pairs.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
    }

    /// All cookies.
    #[must_use]
    pub fn cookies(&self) -> Cookies {
        self.exchange().head.fields_named("cookie").flat_map(cookies::pairs).collect()
    }

    /// The media type of the body without its parameters, in lower case.
    #[must_use]
    pub fn media_type(&self) -> Option<String> {
        let value = self.header("content-type")?;
        Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }

    pub(crate) fn has_type(&self, wanted: &str) -> bool {
        self.media_type().is_some_and(|found| found == wanted)
    }
}
