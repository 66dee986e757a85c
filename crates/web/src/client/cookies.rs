//! `Cookies`: a jar for an agent (RFC 6265, with the prefixes and the strict rules of its revision). What a `Set-Cookie` says is
//! read in `cookies/set.rs`; here it is decided whether it is believed, kept, and to whom it is sent.
//!
//! A cookie for a public suffix, `co.uk` say, would go to everybody below it. Without a list of them, names of one label are
//! suffixes, and so are the usual second levels of countries; a list is given with [`Cookies::with_suffixes`].

mod set;

use std::cell::RefCell;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::SystemTime;

use super::url::Url;
use set::{SetCookie, default_path};

/// Cookies of one host; the oldest goes when there is one more. RFC 6265 section 6.1 asks for 50.
const PER_HOST_MAX: usize = 100;
/// Cookies in all.
const TOTAL_MAX: usize = 3000;

/// Second levels under a country's top level that belong to nobody, as Python's `http.cookiejar` has them.
const SECOND_LEVELS: [&str; 16] = [
    "ac", "co", "com", "edu", "gob", "gov", "gouv", "go", "govt", "mil", "ne", "net", "nom", "or", "org",
    "int",
];

/// A jar of cookies. A cheap clone: agents that are given the same one share it.
///
/// ```
/// use std::time::SystemTime;
/// use ropewalk_web::client::Cookies;
/// let (cookies, now) = (Cookies::new(), SystemTime::UNIX_EPOCH);
/// let url = "https://www.example.org/shop/".parse()?;
/// cookies.store(&url, "id=7; Domain=example.org; Path=/; Secure; HttpOnly", now);
/// assert_eq!(cookies.header(&"https://example.org/".parse()?, now).as_deref(), Some("id=7"));
/// assert_eq!(cookies.header(&"http://example.org/".parse()?, now), None);
/// # Ok::<(), ropewalk_web::client::UrlError>(())
/// ```
#[derive(Clone, Default)]
pub struct Cookies(Rc<Jar>);

#[derive(Default)]
struct Jar {
    cookies: RefCell<Vec<Cookie>>,
    is_suffix: Option<fn(&str) -> bool>,
}

/// One cookie of a jar.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cookie {
    /// Its name.
    pub name: String,
    /// Its value, as it was set.
    pub value: String,
    /// The host it came from, or the domain that it was set for.
    pub domain: String,
    /// Only that host gets it, and none below.
    pub host_only: bool,
    /// Paths below this one get it.
    pub path: String,
    /// Only over TLS.
    pub secure: bool,
    /// Not for scripts; an agent has none.
    pub http_only: bool,
    /// When it goes; never before the jar does if `None`.
    pub expires: Option<SystemTime>,
}

impl Cookies {
    /// An empty jar.
    #[must_use]
    pub fn new() -> Cookies {
        Cookies::default()
    }

    /// An empty jar that asks `is_suffix` (of a name in lower case) whether a domain is a public suffix, instead of guessing.
    #[must_use]
    pub fn with_suffixes(is_suffix: fn(&str) -> bool) -> Cookies {
        Cookies(Rc::new(Jar { cookies: RefCell::default(), is_suffix: Some(is_suffix) }))
    }

    /// Takes the value of one `Set-Cookie` field that `url` has answered with. What may not be set is passed over.
    pub fn store(&self, url: &Url, set_cookie: &str, now: SystemTime) {
        let Some(set) = SetCookie::parse(set_cookie) else { return };
        let Some(cookie) = self.admit(url, set, now) else { return };
        let mut cookies = self.0.cookies.borrow_mut();
        // RFC 6265 5.3: the same name, domain and path is the same cookie, and keeps its place.
        let known = cookies.iter().position(|known| {
            (&known.name, &known.domain, &known.path) == (&cookie.name, &cookie.domain, &cookie.path)
        });
        if let Some(at) = known
            && cookies[at].secure
            && !url.is_secure()
        {
            return;
        }
        let is_over = cookie.expires.is_some_and(|at| at <= now);
        match known {
            Some(at) if is_over => drop(cookies.remove(at)),
            Some(at) => cookies[at] = cookie,
            None if is_over => {}
            None => {
                make_room(&mut cookies, &cookie.domain, now);
                cookies.push(cookie);
            }
        }
    }

    /// Whether the server may set this, and what it comes to (RFC 6265 5.3).
    fn admit(&self, url: &Url, set: SetCookie<'_>, now: SystemTime) -> Option<Cookie> {
        let host = url.host().trim_end_matches('.');
        let (domain, host_only) = match set.domain.as_deref() {
            None => (host.to_owned(), true),
            Some(domain) if domain == host => (host.to_owned(), self.is_suffix(domain)),
            Some(domain) if self.is_suffix(domain) => return None,
            Some(domain) if is_below(host, domain) => (domain.to_owned(), false),
            Some(_) => return None,
        };
        if set.secure && !url.is_secure() {
            return None;
        }
        let path = set.path.map_or_else(|| default_path(url.path()).to_owned(), str::to_owned);
        let lower = set.name.to_ascii_lowercase();
        let is_bound = set.secure && host_only && set.domain.is_none() && path == "/";
        if lower.starts_with("__secure-") && !set.secure || lower.starts_with("__host-") && !is_bound {
            return None;
        }
        Some(Cookie {
            name: set.name.to_owned(),
            value: set.value.to_owned(),
            domain,
            host_only,
            path,
            secure: set.secure,
            http_only: set.http_only,
            expires: set.expires(now),
        })
    }

    fn is_suffix(&self, domain: &str) -> bool {
        match self.0.is_suffix {
            Some(is_suffix) => is_suffix(domain),
            None => is_probably_suffix(domain),
        }
    }

    /// The value of the `Cookie` field for a request, if there are cookies for it.
    #[must_use]
    pub fn header(&self, url: &Url, now: SystemTime) -> Option<String> {
        let mut cookies = self.0.cookies.borrow_mut();
        cookies.retain(|cookie| cookie.expires.is_none_or(|at| at > now));
        let mut fitting: Vec<&Cookie> = cookies.iter().filter(|cookie| cookie.fits(url)).collect();
        // RFC 6265 5.4: longer paths first; the order of setting otherwise, which sorting leaves as it is.
        fitting.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs: Vec<String> = fitting
            .iter()
            .map(|cookie| match cookie.name.as_str() {
                "" => cookie.value.clone(),
                name => format!("{name}={}", cookie.value),
            })
            .collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// All of them, in the order they were set: to be written to a file, or looked at.
    #[must_use]
    pub fn list(&self) -> Vec<Cookie> {
        self.0.cookies.borrow().clone()
    }

    /// Puts a cookie in as it is, as one that was kept in a file.
    pub fn insert(&self, cookie: Cookie) {
        self.0.cookies.borrow_mut().push(cookie);
    }

    /// Empties the jar.
    pub fn clear(&self) {
        self.0.cookies.borrow_mut().clear();
    }
}

impl Cookie {
    fn fits(&self, url: &Url) -> bool {
        let host = url.host().trim_end_matches('.');
        let is_for_host = host == self.domain || !self.host_only && is_below(host, &self.domain);
        is_for_host && (url.is_secure() || !self.secure) && path_fits(url.path(), &self.path)
    }
}

/// RFC 6265 5.1.3. An address is below nothing.
fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')) && host.parse::<IpAddr>().is_err()
}

/// RFC 6265 5.1.4.
fn path_fits(path: &str, cookie: &str) -> bool {
    path.strip_prefix(cookie)
        .is_some_and(|rest| rest.is_empty() || cookie.ends_with('/') || rest.starts_with('/'))
}

fn is_probably_suffix(domain: &str) -> bool {
    match domain.rsplit_once('.') {
        None => true,
        Some((_, "")) => true,
        Some((second, top)) => top.len() == 2 && SECOND_LEVELS.contains(&second),
    }
}

fn make_room(cookies: &mut Vec<Cookie>, domain: &str, now: SystemTime) {
    cookies.retain(|cookie| cookie.expires.is_none_or(|at| at > now));
    if cookies.iter().filter(|cookie| cookie.domain == domain).count() >= PER_HOST_MAX
        && let Some(at) = cookies.iter().position(|cookie| cookie.domain == domain)
    {
        cookies.remove(at);
    }
    if cookies.len() >= TOTAL_MAX {
        cookies.remove(0);
    }
}

impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without values: they are secrets.
        f.debug_struct("Cookies").field("count", &self.0.cookies.borrow().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
