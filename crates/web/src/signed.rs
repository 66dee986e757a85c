//! Signed cookies: values that a browser keeps for the site and cannot change. `Keys` signs and checks, and as a middleware lends its keys
//! to requests. Not secret: who has the cookie can read it.
//!
//! The format is the second one of Tornado's, so that a site may be moved: `2|1:0|10:1300000000|3:key|8:dmFsdWU=|3d4e…`, that is version,
//! key version, seconds, name and value, each with its length in front, and an HMAC-SHA256 over all of it in hexadecimal digits.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::answer::Answer;
use crate::cookies::{Cookie, CookieError};
use crate::handlers::Call;
use crate::middleware::{Middleware, Next};
use crate::request::Request;

/// Bytes that a secret must have at least: as many as what it signs with has (RFC 2104 section 3).
const SECRET_BYTES_MIN: usize = 32;
/// Different bytes among them, at least: a password or a word repeated has fewer.
const DIFFERENT_MIN: usize = 12;
/// Browsers keep cookies of 4 096 bytes, name, value and attributes together, and forget longer ones without a word.
const COOKIE_BYTES_MAX: usize = 4096;
/// For how long a browser is told to keep a signed cookie, as Tornado tells it.
const KEPT_DAYS: u64 = 30;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a secret is none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// It has so many bytes, and 32 are wanted.
    Short(usize),
    /// It repeats itself: it was typed, not drawn.
    Plain,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HOW: &str = "make one with `openssl rand -base64 48`, and keep it out of the program's text";
        match self {
            KeyError::Short(bytes) => {
                write!(
                    f,
                    "a secret of {bytes} bytes is too short to sign with, {SECRET_BYTES_MIN} are wanted: {HOW}"
                )
            }
            KeyError::Plain => write!(f, "a secret that repeats itself can be guessed: {HOW}"),
        }
    }
}

impl std::error::Error for KeyError {}

/// Keys to sign with. The newest signs, and all of them verify: to change keys, add a new one beside the old, and take the old one away when
/// what it has signed is too old anyhow.
///
/// As a middleware it lends itself to all requests within: [`Request::signed_cookie`], [`Request::sign_cookie`]. Clones are one.
///
/// ```
/// use ropewalk_web::{Keys, Request, Response, Router, Site};
/// // The text that the operator has put into a file of their own.
/// # let (old, new) = ("4f0c1b7e9d2a6853c4f10b7e9d2a68531", "GqT8mXw2VnYc5RkLz0PdJh7sBf3uAe9o1I6C");
/// let keys = Keys::new(old)?.with(1, new)?;
/// let router = Router::new()
///     .post("/theme", |request: Request| {
///         let cookie = request.sign_cookie("theme", "dark")?;
///         Ok::<_, ropewalk_web::Failure>(Response::text("dark it is").cookie(cookie))
///     })
///     .get("/", |request: Request| match request.signed_cookie("theme", 31) {
///         Some(theme) => format!("in {theme}"),
///         None => "as ever".to_owned(),
///     });
/// let site = Site::new(router).with(keys);
/// # drop(site);
/// # Ok::<(), ropewalk_web::KeyError>(())
/// ```
#[derive(Clone)]
pub struct Keys(Rc<BTreeMap<u32, hmac::Key>>);

impl Keys {
    /// One key, of version 0.
    ///
    /// # Errors
    /// The secret is too short, or plainly none.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Keys, KeyError> {
        Keys(Rc::default()).with(0, secret)
    }

    /// The same with a key more, which takes the place of one with its version. The highest version signs.
    ///
    /// # Errors
    /// As [`Keys::new`].
    pub fn with(self, version: u32, secret: impl AsRef<[u8]>) -> Result<Keys, KeyError> {
        check(secret.as_ref())?;
        Ok(self.with_unchecked(version, secret.as_ref()))
    }

    /// A key that nobody knows and nothing keeps: with the program goes what it has signed.
    #[must_use]
    pub fn random() -> Keys {
        Keys(Rc::default()).with_unchecked(0, &crate::secret::bytes::<SECRET_BYTES_MIN>())
    }

    fn with_unchecked(self, version: u32, secret: &[u8]) -> Keys {
        let mut keys = (*self.0).clone();
        keys.insert(version, hmac::Key::new(hmac::HMAC_SHA256, secret));
        Keys(Rc::new(keys))
    }

    /// A value of this name, signed at this time: text that fits into a cookie.
    #[must_use]
    pub fn sign(&self, name: &str, value: &[u8], now: SystemTime) -> String {
        let Some((version, key)) = self.0.last_key_value() else { return String::new() };
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut text = "2|".to_owned();
        for field in [version.to_string(), seconds.to_string(), name.to_owned(), STANDARD.encode(value)] {
            text += &format!("{}:{field}|", field.len());
        }
        let tag = hmac::sign(key, text.as_bytes());
        text + &crate::secret::hex(tag.as_ref())
    }

    /// The value that was signed under this name, if it was, by one of these keys, and not longer ago than this.
    #[must_use]
    pub fn verify(&self, name: &str, text: &str, max_age: Duration, now: SystemTime) -> Option<Vec<u8>> {
        let at = text.rfind('|')? + 1;
        let (signed, tag) = text.split_at(at);
        let mut rest = signed.strip_prefix("2|")?;
        let mut fields = [""; 4];
        for field in &mut fields {
            (*field, rest) = take(rest)?;
        }
        let [version, seconds, found, value] = fields;
        let key = self.0.get(&version.parse().ok()?)?;
        // The comparison is ring's, which takes the same time wherever they differ.
        hmac::verify(key, signed.as_bytes(), &crate::secret::unhex(tag)?).ok()?;
        let signed_at = UNIX_EPOCH.checked_add(Duration::from_secs(seconds.parse().ok()?))?;
        let age = now.duration_since(signed_at).unwrap_or_default();
        // The name is in the signature: what was signed for one cookie is nothing in another.
        (rest.is_empty() && found == name && age <= max_age).then(|| STANDARD.decode(value).ok())?
    }
}

/// A field with its length in front, and what stands behind it.
fn take(text: &str) -> Option<(&str, &str)> {
    let (length, rest) = text.split_once(':')?;
    let length: usize = length.parse().ok().filter(|_| length.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some((rest.get(..length)?, rest.get(length..)?.strip_prefix('|')?))
}

fn check(secret: &[u8]) -> Result<(), KeyError> {
    if secret.len() < SECRET_BYTES_MIN {
        return Err(KeyError::Short(secret.len()));
    }
    let different: std::collections::BTreeSet<&u8> = secret.iter().collect();
    if different.len() < DIFFERENT_MIN { Err(KeyError::Plain) } else { Ok(()) }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keys").field(&self.0.keys()).finish()
    }
}

/// Lends the keys to the requests within.
impl Middleware for Keys {
    fn handle(&self, request: Request, next: &Next) -> Answer {
        request.exchange().set_part(self.clone());
        next.handle(request)
    }
}

/// Why a cookie cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignError {
    /// There is no [`Keys`] around the handler.
    NoKeys,
    /// Signed it would have so many bytes with its name and attributes, and browsers keep 4 096.
    TooLong(usize),
    /// It is no cookie at all.
    Cookie(CookieError),
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignError::NoKeys => f.write_str("no keys to sign with: put `Keys` around the handler"),
            SignError::TooLong(bytes) => write!(
                f,
                "a cookie of {bytes} bytes, signed, would be forgotten by browsers, which keep {COOKIE_BYTES_MAX}; a session has more room"
            ),
            SignError::Cookie(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SignError {}

impl From<CookieError> for SignError {
    fn from(error: CookieError) -> SignError {
        SignError::Cookie(error)
    }
}

/// A cookie that is safe by default, and fits into a browser.
pub(crate) fn cookie(
    request: &Request,
    name: &str,
    text: String,
    max_age: Option<Duration>,
) -> Result<Cookie, SignError> {
    let cookie = Cookie::new(name, text).secure(request.is_secure());
    fits(max_age.into_iter().fold(cookie, Cookie::max_age))
}

/// The cookie, if browsers keep one of its length.
pub(crate) fn fits(cookie: Cookie) -> Result<Cookie, SignError> {
    let bytes = cookie.to_field()?.len();
    if bytes > COOKIE_BYTES_MAX { Err(SignError::TooLong(bytes)) } else { Ok(cookie) }
}

impl Request {
    /// The value of a cookie that [`Request::sign_cookie`] has made, not more than so many days ago; 31 is Tornado's. None when there is
    /// none, or somebody else made it.
    #[must_use]
    pub fn signed_cookie(&self, name: &str, max_age_days: u32) -> Option<String> {
        let keys = self.exchange().part::<Keys>()?;
        let now = self.reactor().wall_clock();
        // Several of one name may come, of which somebody has set one in a folder of the site or on a domain above.
        let cookies = self.cookies();
        let mut texts = cookies.iter().filter(|(known, _)| *known == name).map(|(_, text)| text);
        let value = texts.find_map(|text| keys.verify(name, text, DAY * max_age_days, now))?;
        String::from_utf8(value).ok()
    }

    /// A cookie with this value, signed by the newest of the [`Keys`] around the handler: kept for 30 days, from scripts, from other sites, and
    /// from connections that are not encrypted if this one is.
    ///
    /// # Errors
    /// There are no keys, it is too long for a browser, or its name is none.
    pub fn sign_cookie(&self, name: &str, value: &str) -> Result<Cookie, SignError> {
        let keys = self.exchange().part::<Keys>().ok_or(SignError::NoKeys)?;
        let text = keys.sign(name, value.as_bytes(), self.reactor().wall_clock());
        cookie(self, name, text, Some(DAY * KEPT_DAYS as u32))
    }
}

impl Call {
    /// [`Request::signed_cookie`].
    #[must_use]
    pub fn signed_cookie(&self, name: &str, max_age_days: u32) -> Option<String> {
        self.request().signed_cookie(name, max_age_days)
    }

    /// Sets a signed cookie; see [`Request::sign_cookie`].
    ///
    /// # Errors
    /// It cannot be signed; nothing is set.
    pub fn set_signed_cookie(&mut self, name: &str, value: &str) -> Result<(), SignError> {
        let cookie = self.request().sign_cookie(name, value)?;
        Ok(self.set_cookie(&cookie)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const OLD: &str = "a very old secret, drawn by nobody";
    const NEW: &str = "Xq3v8Zk1Lw6Tn0Rb5Yc9Pd2Sg7Hf4JmE";

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + SECOND * u32::try_from(seconds).unwrap()
    }

    #[test]
    fn what_tornado_has_signed_is_known() {
        // tornado/test/web_test.py, SignedValueTest.test_known_values.
        let keys = Keys(Rc::default()).with_unchecked(0, b"It's a secret to everybody");
        let text = "2|1:0|10:1300000000|3:key|8:dmFsdWU=|3d4e60b996ff9c5d5788e333a0cba6f238a22c6c0f94788870e1a9ecd482e152";
        assert_eq!(keys.sign("key", b"value", at(1_300_000_000)), text);
        let read = |name: &str, text: &str| keys.verify(name, text, DAY, at(1_300_000_000) + DAY);
        assert_eq!(read("key", text).as_deref(), Some(&b"value"[..]));
        assert_eq!(read("kex", text), None, "of another name");
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert_eq!(read("key", &changed), None, "changed at {at}: {changed}");
            assert_eq!(read("key", &text[..at]), None, "cut at {at}");
        }
        assert_eq!(read("key", &text.replace("2|1:0|", "2|2:+0|")), None);
    }

    #[test]
    fn the_newest_signs_and_all_verify() {
        let old = Keys::new(OLD).unwrap();
        let both = old.clone().with(1, NEW).unwrap();
        let new = Keys(Rc::default()).with(1, NEW).unwrap();
        let (by_old, by_both) = (old.sign("a", b"x", at(100)), both.sign("a", b"x", at(100)));
        assert!(by_both.starts_with("2|1:1|"));
        let reads = |keys: &Keys, text: &str| keys.verify("a", text, DAY, at(100)).is_some();
        assert!(reads(&both, &by_old) && reads(&both, &by_both) && reads(&new, &by_both));
        assert!(!reads(&new, &by_old) && !reads(&old, &by_both));
        assert!(!reads(&Keys::random(), &by_old));
        assert!(!format!("{both:?}").contains("Xq3"), "{both:?}");
    }

    #[test]
    fn what_is_too_old_is_nothing() {
        let keys = Keys::new(NEW).unwrap();
        let text = keys.sign("a", b"", at(1_000));
        let reads = |now| keys.verify("a", &text, 10 * SECOND, now).is_some();
        assert!(reads(at(1_000)) && reads(at(1_010)) && !reads(at(1_011)));
        // A clock that was put back.
        assert!(reads(at(900)));
    }

    #[test]
    fn a_weak_secret_is_refused_with_advice() {
        assert_eq!(Keys::new("short").unwrap_err(), KeyError::Short(5));
        assert_eq!(Keys::new("changeme".repeat(8)).unwrap_err(), KeyError::Plain);
        assert_eq!(Keys::new([0; 64]).unwrap_err(), KeyError::Plain);
        assert!(KeyError::Short(5).to_string().contains("openssl rand"));
    }
}
