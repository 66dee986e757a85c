//! `Proxy`: through whom requests go. Plain requests are handed to it whole, secure ones go through a tunnel (CONNECT). It decides
//! who goes which way; connecting is done in `open`.

use super::encoding::basic;
use super::url::{Origin, Url, UrlError};

/// An HTTP proxy.
///
/// ```
/// use ropewalk_web::client::Proxy;
/// let proxy = Proxy::new("http://user:secret@proxy.example:3128")?.except("localhost").except(".example.org");
/// assert!(proxy.is_for(&"http://example.com/".parse()?));
/// assert!(!proxy.is_for(&"http://www.example.org/".parse()?));
/// # Ok::<(), ropewalk_web::client::UrlError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Proxy {
    origin: Origin,
    authorization: Option<String>,
    except: Vec<String>,
}

impl Proxy {
    /// The proxy at this URL; its user and password, if it has them, are sent to it and to nobody else.
    ///
    /// # Errors
    /// When that is no `http` or `https` URL.
    pub fn new(url: &str) -> Result<Proxy, UrlError> {
        let url: Url = url.parse()?;
        let authorization = url.userinfo().map(|(user, password)| basic(user, password));
        Ok(Proxy { origin: url.origin().clone(), authorization, except: Vec::new() })
    }

    /// The same, but not for this host; with a dot in front, nor for those below it.
    #[must_use]
    pub fn except(mut self, host: &str) -> Proxy {
        self.except.push(host.to_ascii_lowercase());
        self
    }

    /// Whether requests to this URL go through it.
    #[must_use]
    pub fn is_for(&self, url: &Url) -> bool {
        let host = url.host();
        !self.except.iter().any(|known| match known.strip_prefix('.') {
            Some(domain) => host == domain || host.ends_with(known.as_str()),
            None => host == known,
        })
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(super) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }
}
