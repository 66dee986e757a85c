//! Where a request thinks it is: host, port and scheme, and who it says it is from. As in Twisted, a program behind a proxy may
//! set the first three itself.

use ropewalk_net::tls::{TlsInfo, TlsLayer};

use super::Request;

/// Host, port and scheme, set by the program.
#[derive(Clone)]
pub(super) struct Origin {
    host: String,
    secure: bool,
}

impl Request {
    /// The request target, as sent: what Twisted calls the URI.
    #[must_use]
    pub fn uri(&self) -> &str {
        self.target()
    }

    /// The host that the client asked for, with the port if it gave one: the `Host` field, or what stands in an absolute target.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match self.origin() {
            Some(origin) => Some(&origin.host),
            None => self.exchange.head.host(),
        }
    }

    /// The host without its port; an IPv6 address stands in brackets.
    #[must_use]
    pub fn host_name(&self) -> Option<&str> {
        Some(split(self.host()?).0)
    }

    /// The port that the client asked for: the one behind the host, or that of the scheme.
    #[must_use]
    pub fn port(&self) -> u16 {
        let named = self.host().and_then(|host| split(host).1);
        named.unwrap_or(if self.is_secure() { 443 } else { 80 })
    }

    /// Whether the client's own connection is encrypted: this one is, or a trusted proxy says so.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        match self.origin() {
            Some(origin) => origin.secure,
            None => {
                let transport = self.exchange.carrier().connection();
                transport.layer(|tls: &mut TlsLayer| tls.is_established()) == Some(true)
                    || self.exchange.site().is_secure(self.peer().ip(), &self.exchange.head)
            }
        }
    }

    /// What was agreed upon with the other end of this connection, if it speaks TLS: version, cipher, the name that was asked for, and
    /// the client's certificate where the server asks for one. Behind a proxy that ends TLS there is none.
    ///
    /// ```
    /// use ropewalk_web::{Request, Response, Router};
    ///
    /// // Served with `clientCA=` in the endpoint: a certificate that is shown was signed by that authority.
    /// let router = Router::new().get("/", |request: Request| {
    ///     let subject = request.tls().and_then(|tls| tls.peer_subject());
    ///     match subject.and_then(|subject| subject.common_name) {
    ///         Some(name) => Response::text(format!("Hello, {name}!")),
    ///         None => Response::error(403, "show a certificate"),
    ///     }
    /// });
    /// # drop(router);
    /// ```
    #[must_use]
    pub fn tls(&self) -> Option<TlsInfo> {
        self.exchange.carrier().connection().tls()
    }

    /// `https` or `http`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.is_secure() { "https" } else { "http" }
    }

    /// The address of the request in full, without the query: scheme, host and path. None when the client named no host.
    ///
    /// The host is the client's word. Before it goes into a mail or a cache, compare it with those that are yours.
    #[must_use]
    pub fn url(&self) -> Option<String> {
        let host = self.host().filter(|host| !host.is_empty())?;
        Some(format!("{}://{host}{}", self.scheme(), self.path()))
    }

    /// From here on the request was for this host: a name, an address, or either with a port. For programs behind a proxy that
    /// passes on neither host nor scheme; what a proxy says of its clients is believed by [`crate::Site::trust_proxies`].
    ///
    /// ```
    /// use ropewalk_web::{Request, Router};
    /// let router = Router::new().get("/", |mut request: Request| {
    ///     request.set_host("shop.example", true);
    ///     request.url()
    /// });
    /// # drop(router);
    /// ```
    pub fn set_host(&mut self, host: impl Into<String>, secure: bool) {
        let origin = Some(Origin { host: host.into(), secure });
        self.scope_mut().origin = origin;
    }

    /// The user and the password that the client gave (RFC 7617), not compared with anything. [`crate::constant_time_eq`] does that
    /// without telling where they differ.
    #[must_use]
    pub fn credentials(&self) -> Option<(String, String)> {
        let value = self.header("authorization")?;
        let (scheme, encoded) = value.split_once(' ')?;
        let basic = scheme.eq_ignore_ascii_case("basic").then(|| base64(encoded.trim().as_bytes()))?;
        let text = String::from_utf8(basic?).ok()?;
        let (user, password) = text.split_once(':')?;
        Some((user.to_owned(), password.to_owned()))
    }

    /// The user that the client says it is.
    #[must_use]
    pub fn user(&self) -> Option<String> {
        self.credentials().map(|(user, _)| user)
    }

    /// The password that the client gave.
    #[must_use]
    pub fn password(&self) -> Option<String> {
        self.credentials().map(|(_, password)| password)
    }

    fn origin(&self) -> Option<&Origin> {
        self.scope()?.origin.as_ref()
    }
}

/// A host and its port.
fn split(host: &str) -> (&str, Option<u16>) {
    let after = if host.starts_with('[') { host.find(']').unwrap_or(0) } else { 0 };
    match host[after..].rfind(':') {
        Some(colon) => (&host[..after + colon], host[after + colon + 1..].parse().ok()),
        None => (host, None),
    }
}

/// RFC 4648 section 4. Padding may be left out; what is no base64 is nothing.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|&&byte| byte == b'=').count();
    let digits = &text[..text.len() - padding];
    if padding > 2 || digits.len() % 4 == 1 || (padding > 0 && !text.len().is_multiple_of(4)) {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut held, mut bits) = (0u32, 0);
    for &digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = held << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_the_rfc_has_it() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zg", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYmFy", "foobar"),
            ("QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin:open sesame"),
        ] {
            assert_eq!(base64(text.as_bytes()).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        for wrong in ["Z", "Zg=", "Zm9v=", "====", "Zm-v", "Zm9v Zm9v", "=Zg="] {
            assert_eq!(base64(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn hosts_and_ports_are_told_apart() {
        assert_eq!(split("example.org"), ("example.org", None));
        assert_eq!(split("example.org:8080"), ("example.org", Some(8080)));
        assert_eq!(split("example.org:"), ("example.org", None));
        assert_eq!(split("[::1]"), ("[::1]", None));
        assert_eq!(split("[::1]:8080"), ("[::1]", Some(8080)));
    }
}
