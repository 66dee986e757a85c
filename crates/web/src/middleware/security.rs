//! The fields by which a site asks browsers to be careful. They are put on whatever is sent; what a handler has set stays.

use std::borrow::Cow;
use std::time::Duration;

use super::{Middleware, Next};
use crate::answer::Answer;
use crate::request::Request;
use crate::response::Response;

type Text = Cow<'static, str>;

/// Adds fields to every answer, pages of errors too, unless the handler has set them itself.
///
/// | field | by default |
/// |---|---|
/// | `X-Content-Type-Options` | `nosniff`, always |
/// | `X-Frame-Options`, and `frame-ancestors` where no other policy is given | nobody may frame these pages |
/// | `Referrer-Policy` | `strict-origin-when-cross-origin` |
/// | `Content-Security-Policy` | `frame-ancestors 'none'` |
/// | `Strict-Transport-Security` | not sent, and never without TLS (RFC 6797 section 7.2) |
///
/// ```
/// use std::time::Duration;
/// use ropewalk_web::{Router, SecurityHeaders, Site};
/// let headers = SecurityHeaders::new()
///     .content_security_policy("default-src 'self'; frame-ancestors 'none'")
///     .strict_transport(Duration::from_secs(365 * 86_400), true);
/// let site = Site::new(Router::new().get("/", |_| "Hello, World!")).with(headers);
/// # drop(site);
/// ```
pub struct SecurityHeaders {
    frames: Option<Text>,
    referrer: Option<Text>,
    policy: Option<Text>,
    transport: Option<Text>,
}

impl Default for SecurityHeaders {
    fn default() -> Self {
        SecurityHeaders {
            frames: Some("DENY".into()),
            referrer: Some("strict-origin-when-cross-origin".into()),
            policy: Some("frame-ancestors 'none'".into()),
            transport: None,
        }
    }
}

impl SecurityHeaders {
    /// What stands in the table.
    #[must_use]
    pub fn new() -> SecurityHeaders {
        SecurityHeaders::default()
    }

    /// The same letting pages of this origin frame each other.
    #[must_use]
    pub fn same_origin_frames(self) -> SecurityHeaders {
        SecurityHeaders {
            frames: Some("SAMEORIGIN".into()),
            policy: Some("frame-ancestors 'self'".into()),
            ..self
        }
    }

    /// The same saying nothing of frames.
    #[must_use]
    pub fn any_frames(self) -> SecurityHeaders {
        SecurityHeaders { frames: None, policy: None, ..self }
    }

    /// The same with this `Referrer-Policy`.
    #[must_use]
    pub fn referrer_policy(self, policy: impl Into<Text>) -> SecurityHeaders {
        SecurityHeaders { referrer: Some(policy.into()), ..self }
    }

    /// The same with this `Content-Security-Policy`, whose own `frame-ancestors` then holds.
    #[must_use]
    pub fn content_security_policy(self, policy: impl Into<Text>) -> SecurityHeaders {
        SecurityHeaders { policy: Some(policy.into()), ..self }
    }

    /// The same telling clients that came over TLS to come back over nothing else for so long, to subdomains too if it is said so.
    /// It cannot be taken back before the time is over.
    #[must_use]
    pub fn strict_transport(self, lasting: Duration, subdomains: bool) -> SecurityHeaders {
        let subdomains = if subdomains { "; includeSubDomains" } else { "" };
        let transport = format!("max-age={}{subdomains}", lasting.as_secs());
        SecurityHeaders { transport: Some(transport.into()), ..self }
    }
}

impl Middleware for SecurityHeaders {
    fn handle(&self, request: Request, next: &Next) -> Answer {
        let transport = self.transport.clone().filter(|_| request.is_secure());
        let fields = [
            ("X-Frame-Options", self.frames.clone()),
            ("Referrer-Policy", self.referrer.clone()),
            ("Content-Security-Policy", self.policy.clone()),
            ("Strict-Transport-Security", transport),
        ];
        request.on_answer(move |response: Response| {
            let set = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
            let response = response.default_header("X-Content-Type-Options", "nosniff");
            set.fold(response, |response, (name, value)| response.default_header(name, value))
        });
        next.handle(request)
    }
}
