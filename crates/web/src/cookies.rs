//! Cookies (RFC 6265): those that a request brings, and the builder of those that an answer sets. Nothing that is not a
//! cookie's name, value or attribute comes out of the builder: injection ends there.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// When a browser sends a cookie along with a request that another site has caused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Never.
    Strict,
    /// When somebody follows a link.
    Lax,
    /// Always. Browsers take such a cookie only if it is [secure](Cookie::secure) as well.
    None,
}

/// Why a cookie cannot be set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CookieError {
    /// The name is empty, or has something in it that is no part of a token.
    Name(String),
    /// The value has something in it that is no part of one: see [`Cookie::encoded`].
    Value(String),
    /// An attribute that would end before its end, or is none: the path, the domain, a date that has no form.
    Attribute(&'static str),
    /// Two attributes that do not go together, so that browsers would throw the cookie away.
    Contradiction(&'static str),
}

impl fmt::Display for CookieError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CookieError::Name(name) => write!(f, "{name:?} is not a cookie's name"),
            CookieError::Value(name) => {
                write!(f, "the value of the cookie {name:?} has bytes that no cookie has")
            }
            CookieError::Attribute(what) => write!(f, "a cookie's {what} is not one"),
            CookieError::Contradiction(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for CookieError {}

/// A cookie to be set. Unless it is told otherwise it is sent back to the whole site, kept from scripts, not sent with what other
/// sites cause but links, and forgotten when the browser ends.
///
/// ```
/// use std::time::Duration;
/// use ropewalk_web::{Cookie, Response};
/// let cookie = Cookie::new("theme", "dark").max_age(Duration::from_secs(86_400));
/// assert_eq!(cookie.to_field()?, "theme=dark; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax");
/// assert!(Cookie::new("theme", "dark; Domain=example.org").to_field().is_err());
/// let response = Response::text("as you like it").cookie(cookie);
/// # drop(response);
/// # Ok::<(), ropewalk_web::CookieError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    name: String,
    value: String,
    expires: Option<SystemTime>,
    max_age: Option<Duration>,
    domain: Option<String>,
    path: Option<String>,
    secure: bool,
    http_only: bool,
    same_site: SameSite,
}

impl Cookie {
    /// A cookie with this value as it is.
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Cookie {
        Cookie {
            name: name.into(),
            value: value.into(),
            expires: None,
            max_age: None,
            domain: None,
            path: Some("/".to_owned()),
            secure: false,
            http_only: true,
            same_site: SameSite::Lax,
        }
    }

    /// A cookie whose value may be any text: it is percent-encoded, and [`Cookies::decoded`] reads it.
    #[must_use]
    pub fn encoded(name: impl Into<String>, value: &str) -> Cookie {
        Cookie::new(name, utf8_percent_encode(value, NON_ALPHANUMERIC).to_string())
    }

    /// What makes a browser forget a cookie. Path and domain have to be those that it was set with.
    #[must_use]
    pub fn removal(name: impl Into<String>) -> Cookie {
        Cookie::new(name, "").max_age(Duration::ZERO).expires(UNIX_EPOCH)
    }

    /// The same until this time.
    #[must_use]
    pub fn expires(mut self, expires: SystemTime) -> Cookie {
        self.expires = Some(expires);
        self
    }

    /// The same for this time, in whole seconds; it goes before [`Cookie::expires`].
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Cookie {
        self.max_age = Some(max_age);
        self
    }

    /// The same for a domain and all below it. Without, it is for the very host that set it.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>) -> Cookie {
        self.domain = Some(domain.into());
        self
    }

    /// The same for this path and what is below it.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Cookie {
        self.path = Some(path.into());
        self
    }

    /// The same for encrypted connections only, or not. A site that is reached by `https` wants that.
    #[must_use]
    pub fn secure(mut self, secure: bool) -> Cookie {
        self.secure = secure;
        self
    }

    /// The same kept from scripts, which is the default, or not.
    #[must_use]
    pub fn http_only(mut self, http_only: bool) -> Cookie {
        self.http_only = http_only;
        self
    }

    /// The same with another rule for what other sites cause.
    #[must_use]
    pub fn same_site(mut self, same_site: SameSite) -> Cookie {
        self.same_site = same_site;
        self
    }

    /// The value of a `Set-Cookie` field.
    ///
    /// # Errors
    /// A part that would be taken for something else, or attributes that contradict each other.
    pub fn to_field(&self) -> Result<String, CookieError> {
        self.check()?;
        let mut field = format!("{}={}", self.name, self.value);
        if let Some(domain) = &self.domain {
            field += "; Domain=";
            field += domain;
        }
        if let Some(path) = &self.path {
            field += "; Path=";
            field += path;
        }
        if let Some(max_age) = self.max_age {
            field += &format!("; Max-Age={}", max_age.as_secs());
        }
        if let Some(expires) = self.expires {
            field += "; Expires=";
            field += &httpdate::fmt_http_date(expires);
        }
        if self.secure {
            field += "; Secure";
        }
        if self.http_only {
            field += "; HttpOnly";
        }
        field += match self.same_site {
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
        };
        Ok(field)
    }

    fn check(&self) -> Result<(), CookieError> {
        /// The last second that has an HTTP date: the end of the year 9999.
        const DATE_MAX_S: u64 = 253_402_300_799;
        if self.name.is_empty() || !self.name.bytes().all(is_token) {
            return Err(CookieError::Name(self.name.clone()));
        }
        if !self.value.bytes().all(is_octet) {
            return Err(CookieError::Value(self.name.clone()));
        }
        let is_attribute =
            |text: &str| text.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && byte != b';' && byte != b',');
        if self.path.as_ref().is_some_and(|path| !path.starts_with('/') || !is_attribute(path)) {
            return Err(CookieError::Attribute("path"));
        }
        let is_host = |domain: &String| {
            !domain.is_empty()
                && domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
        };
        if !self.domain.iter().all(is_host) {
            return Err(CookieError::Attribute("domain"));
        }
        let date = self
            .expires
            .map(|expires| expires.duration_since(UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs()));
        if date.is_some_and(|seconds| seconds > DATE_MAX_S) {
            return Err(CookieError::Attribute("date"));
        }
        self.agree()
    }

    /// What browsers refuse (draft-ietf-httpbis-rfc6265bis section 5.7).
    fn agree(&self) -> Result<(), CookieError> {
        let name = self.name.to_ascii_lowercase();
        if self.same_site == SameSite::None && !self.secure {
            return Err(CookieError::Contradiction(
                "a cookie that every site may cause to be sent has to be secure",
            ));
        }
        if (name.starts_with("__secure-") || name.starts_with("__host-")) && !self.secure {
            return Err(CookieError::Contradiction("a cookie with that prefix has to be secure"));
        }
        if name.starts_with("__host-") && (self.domain.is_some() || self.path.as_deref() != Some("/")) {
            return Err(CookieError::Contradiction("a cookie of the host has the path / and no domain"));
        }
        Ok(())
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 6265 section 4.1.1: no control character, space, quote, comma, semicolon or backslash.
fn is_octet(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e)
}

/// The cookies of a request, in order. Browsers send the one with the longest path first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cookies(Vec<(String, String)>);

impl Cookies {
    /// The first one of this name, as sent, without quotes around it.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The first one of this name, percent-decoded: what [`Cookie::encoded`] has set.
    #[must_use]
    pub fn decoded(&self, name: &str) -> Option<String> {
        let value = percent_decode_str(self.first(name)?).decode_utf8().ok()?;
        Some(value.into_owned())
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Cookies {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Cookies {
        Cookies(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

/// The cookies of one field (RFC 6265 section 4.2.1). What is none is left out.
pub(crate) fn pairs(field: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    field.split(|&byte| byte == b';').filter_map(|pair| {
        let (name, value) = std::str::from_utf8(pair).ok()?.split_once('=')?;
        let (name, value) = (name.trim_matches([' ', '\t']), value.trim_matches([' ', '\t']));
        let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        (!name.is_empty()).then_some((name, inner.unwrap_or(value)))
    })
}
