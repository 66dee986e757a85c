//! `Url`: an `http` or `https` address as a client needs it, taken apart strictly, and references resolved against it.
//!
//! Not a general URL library: it knows two schemes, it never guesses at an authority, and what it keeps is what goes on the
//! wire. A host in another script is given in its ASCII form (`xn--…`).

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

/// A URL. Its host is in lower case, its path has no dot segments, its fragment is gone.
///
/// ```
/// use ropewalk_web::client::Url;
/// let url: Url = "HTTP://Example.org:80/a/../b?c=d#e".parse()?;
/// assert_eq!(url.to_string(), "http://example.org/b?c=d");
/// assert_eq!(url.join("../e")?.to_string(), "http://example.org/e");
/// assert!("ftp://example.org/".parse::<Url>().is_err());
/// # Ok::<(), ropewalk_web::client::UrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    origin: Origin,
    /// Path and query, beginning with `/`.
    target: String,
    userinfo: Option<(String, String)>,
}

/// Scheme, host and port: who is talked to, and who may see what belongs to whom (RFC 6454).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

/// What is wrong with a URL, in one line that does not repeat what may be secret in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlError(&'static str);

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for UrlError {}

const SCHEME: UrlError = UrlError("the URL does not begin with http:// or https://");
const AUTHORITY: UrlError = UrlError("the URL's host and port are not ones that can be connected to");
const CONTROL: UrlError = UrlError("the URL holds a control character");

impl Origin {
    /// Whether the scheme is `https`.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host: a name or an address, an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&self.host)
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// Host and port as a Host field has them: without the scheme's own port.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == default_port(self.secure) { self.host.clone() } else { self.endpoint() }
    }

    /// Host and port, always both.
    pub(super) fn endpoint(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.authority())
    }
}

fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

impl Url {
    /// Who is talked to.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether the scheme is `https`.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.origin.secure
    }

    /// The host: a name or an address, an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.origin.host()
    }

    /// Path and query, as they go on the wire.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The path, still percent-encoded.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// What follows the first `?`, still percent-encoded.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// User and password, if the URL has them; they go into an `Authorization` field and never on the request line.
    pub(super) fn userinfo(&self) -> Option<(&str, &str)> {
        self.userinfo.as_ref().map(|(user, password)| (user.as_str(), password.as_str()))
    }

    /// The same with the credentials of a URL of the same origin.
    pub(super) fn with_userinfo_of(mut self, other: &Url) -> Url {
        self.userinfo.clone_from(&other.userinfo);
        self
    }

    /// Adds `name=value` to the query, encoded as a form's.
    pub(super) fn append(&mut self, name: &str, value: &str) {
        self.target.push(if self.target.contains('?') { '&' } else { '?' });
        append_pair(&mut self.target, name, value);
    }

    /// What `reference` means on a page with this URL (RFC 3986 section 5.2): a redirect's `Location`, a link.
    ///
    /// A backslash is a character like any other, never a slash, so that no reference leaves the origin by one. Credentials
    /// in a reference are dropped.
    ///
    /// # Errors
    /// When it leads to another scheme than `http` and `https`, or is malformed.
    pub fn join(&self, reference: &str) -> Result<Url, UrlError> {
        let reference = reference.split('#').next().unwrap_or_default();
        if let Some(rest) = reference.strip_prefix("//") {
            let mut url = Url::parse(self.origin.secure, rest)?;
            url.userinfo = None;
            return Ok(url);
        }
        if has_scheme(reference) {
            let mut url: Url = reference.parse()?;
            url.userinfo = None;
            return Ok(url);
        }
        let target = match reference.as_bytes().first() {
            None => self.target.clone(),
            Some(b'/') => target(reference)?,
            Some(b'?') => target(&format!("{}{reference}", self.path()))?,
            Some(_) => {
                let (folder, _) = self.path().rsplit_once('/').unwrap_or_default();
                target(&format!("{folder}/{reference}"))?
            }
        };
        Ok(Url { origin: self.origin.clone(), target, userinfo: None })
    }

    /// What follows `http://` or `https://`.
    fn parse(secure: bool, rest: &str) -> Result<Url, UrlError> {
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(credentials(userinfo)?), host),
            None => (None, authority),
        };
        let (host, port) = host_and_port(host)?;
        let port = port.unwrap_or(default_port(secure));
        let origin = Origin { secure, host: host.to_ascii_lowercase(), port };
        let path = if path.starts_with('/') { target(path)? } else { target(&format!("/{path}"))? };
        Ok(Url { origin, target: path, userinfo })
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Url, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(SCHEME)?;
        match () {
            () if scheme.eq_ignore_ascii_case("http") => Url::parse(false, rest),
            () if scheme.eq_ignore_ascii_case("https") => Url::parse(true, rest),
            () => Err(SCHEME),
        }
    }
}

/// Without credentials: it is written into logs.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.target)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn has_scheme(reference: &str) -> bool {
    let before = reference.split(['/', '?']).next().unwrap_or_default();
    before.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    })
}

fn credentials(userinfo: &str) -> Result<(String, String), UrlError> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let decode = |part| percent_decode_str(part).decode_utf8().map(String::from).map_err(|_| AUTHORITY);
    // RFC 3986 3.2.1. With anything else in it, two readers could disagree about where the host begins.
    let may_stand = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:%".contains(&byte);
    if !userinfo.bytes().all(may_stand) {
        return Err(AUTHORITY);
    }
    Ok((decode(user)?, decode(password)?))
}

/// Only what can be looked up or connected to: letters, digits, `-`, `_` and dots, or an address.
fn host_and_port(text: &str) -> Result<(&str, Option<u16>), UrlError> {
    let host_end = if text.starts_with('[') {
        text.find(']').ok_or(AUTHORITY)? + 1
    } else {
        text.find(':').unwrap_or(text.len())
    };
    let (host, port) = text.split_at(host_end);
    let is_address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    let is_name =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !(is_address || is_name) {
        return Err(AUTHORITY);
    }
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok((host, None)),
        Some("") => Ok((host, None)),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|&port| port > 0).map(|port| (host, Some(port))).ok_or(AUTHORITY)
        }
        _ => Err(AUTHORITY),
    }
}

/// Path and query without dot segments, and with everything encoded that a request line may not hold.
fn target(text: &str) -> Result<String, UrlError> {
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    let mut target = String::with_capacity(text.len());
    let mut segments: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match part {
            ".." => drop(segments.pop()),
            "." => {}
            _ => segments.push(part),
        }
        if is_last && matches!(part, "." | "..") {
            segments.push("");
        }
    }
    for segment in segments {
        target.push('/');
        encode(&mut target, segment)?;
    }
    if target.is_empty() {
        target.push('/');
    }
    if let Some(query) = query {
        target.push('?');
        encode(&mut target, query)?;
    }
    Ok(target)
}

/// What is encoded already stays as it is.
fn encode(out: &mut String, text: &str) -> Result<(), UrlError> {
    for byte in text.bytes() {
        match byte {
            b' ' | b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b'^' | b'\\' | b'|' | 0x80.. => {
                escape(out, byte)
            }
            0..=0x1f | 0x7f => return Err(CONTROL),
            _ => out.push(char::from(byte)),
        }
    }
    Ok(())
}

fn escape(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// `name=value` as a form writes it (`application/x-www-form-urlencoded`).
pub(super) fn append_pair(out: &mut String, name: &str, value: &str) {
    append_part(out, name);
    out.push('=');
    append_part(out, value);
}

fn append_part(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'*' | b'-' | b'.' | b'_' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => escape(out, byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn what_is_fine() {
        for (text, shown) in [
            ("http://h", "http://h/"),
            ("http://h?q", "http://h/?q"),
            ("http://h/#f", "http://h/"),
            ("https://H:443/a", "https://h/a"),
            ("https://h:80/a", "https://h:80/a"),
            ("http://h:/a", "http://h/a"),
            ("http://[::1]:8080/", "http://[::1]:8080/"),
            ("http://u:p@h/", "http://h/"),
            ("http://a_b.example/", "http://a_b.example/"),
            ("http://h/a b/\u{e9}?x y", "http://h/a%20b/%C3%A9?x%20y"),
            ("http://h/%7e%zz", "http://h/%7e%zz"),
            ("http://h/./a/../../b/.", "http://h/b/"),
            ("http://h/a//b/..", "http://h/a//"),
            ("http://h/?../x", "http://h/?../x"),
        ] {
            assert_eq!(url(text).to_string(), shown, "{text}");
        }
        let with = url("http://me%40x:pa%3Ass@h/");
        assert_eq!(with.userinfo(), Some(("me@x", "pa:ss")));
        assert_eq!(url("http://[::1]/").host(), "::1");
    }

    #[test]
    fn what_is_not() {
        for text in [
            "",
            "h",
            "/a",
            "http:/h",
            "http://",
            "http://:80/",
            "http:///a",
            "ftp://h/",
            "file:///etc/passwd",
            "http://h:0/",
            "http://h:65536/",
            "http://h:+1/",
            "http://h h/",
            "http://h\\@evil/",
            "http://a@b@c/",
            "http://[::1/",
            "http://[v1.x]/",
            "http://b\u{fc}cher.example/",
            "http://h%2e/",
            "http://h/\r\nX: y",
            "http://h/\0",
            "http://h/?\t",
            "http://h\r\n/",
        ] {
            assert!(text.parse::<Url>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn references_mean_what_rfc_3986_says() {
        let base = url("http://u:p@a/b/c/d?q");
        for (reference, meant) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d?q"),
            ("", "http://a/b/c/d?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../..", "http://a/"),
            ("../../../g", "http://a/g"),
            ("https://x:y@g/h", "https://g/h"),
            ("/\\evil", "http://a/%5Cevil"),
            ("\\\\evil", "http://a/b/c/%5C%5Cevil"),
            ("a/b:c", "http://a/b/c/a/b:c"),
        ] {
            let joined = base.join(reference).unwrap_or_else(|error| panic!("{reference}: {error}"));
            assert_eq!(joined.to_string(), meant, "{reference}");
            assert_eq!(joined.userinfo(), None, "{reference}");
        }
        for reference in ["ftp://g", "javascript:alert(1)", "mailto:x", "//", "http:g", "/\t"] {
            assert!(base.join(reference).is_err(), "{reference}");
        }
    }

    #[test]
    fn pairs_are_encoded_as_a_form_does() {
        let mut with = url("http://h/");
        with.append("a b", "c&d=e");
        with.append("\u{e9}", "");
        assert_eq!(with.target(), "/?a+b=c%26d%3De&%C3%A9=");
    }
}
