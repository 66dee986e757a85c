//! Forged requests: what a page of another site makes a visitor's browser send, with the visitor's own cookies. Two things are wanted of a
//! request that changes something: that the browser does not say it comes from elsewhere, and a token that only pages of this site know.
//!
//! The token is Tornado's: random, in the cookie `_xsrf`, and again in a field of the form or in `X-XSRFToken`. Wherever it is written it is
//! masked anew (`2|mask|token|seconds`), so that no two pages have the same bytes, and compression tells nobody about it (BREACH).

mod form;

use std::cell::Cell;
use std::rc::Rc;
use std::time::UNIX_EPOCH;

use crate::answer::Answer;
use crate::constant_time_eq;
use crate::cookies::{Cookie, SameSite};
use crate::handlers::Call;
use crate::middleware::{Middleware, Next};
use crate::request::Request;
use crate::response::Response;

/// 128 bits.
const TOKEN_BYTES: usize = 16;
const MASK_BYTES: usize = 4;
/// The name of the cookie and of the field, as in Tornado.
const NAME: &str = "_xsrf";

/// Refuses requests that change something (all but `GET`, `HEAD`, `OPTIONS` and `TRACE`) with 403, unless they come from a page of this
/// site:
///
/// 1. `Sec-Fetch-Site`, which browsers send and pages cannot, says `same-origin` or `none`; where it is missing, `Origin`, if there is
///    one, is the host that was asked for. Origins that are [listed](Xsrf::origins) are let in.
/// 2. The token of the visitor's cookie comes in `X-XSRFToken`, `X-CSRFToken`, or the field `_xsrf` of the form, which has to stand within its first
///    64 KiB and before all files. The rest of the body is not read for that. Where packed bodies are taken, [`crate::Decompression`] stands
///    outside of this.
///
/// A page has the token by [`Request::xsrf_field`] in its forms, or [`Request::xsrf_token`] for its scripts.
///
/// ```
/// use ropewalk_web::{Request, Response, Router, Site, Xsrf};
/// let router = Router::new()
///     .get("/", |request: Request| {
///         let field = request.xsrf_field();
///         Response::html(format!("<form method=post action=/note>{field}<input name=text><button>Keep</button></form>"))
///     })
///     .post("/note", |request: Request| async move {
///         let form = request.form().await?;
///         Ok::<_, ropewalk_web::Rejection>(form.first("text").unwrap_or_default().to_owned())
///     });
/// let site = Site::new(router).with(Xsrf::new());
/// # drop(site);
/// ```
pub struct Xsrf {
    origins: Vec<String>,
    name: Rc<str>,
    readable: bool,
    tokens: bool,
}

impl Default for Xsrf {
    fn default() -> Xsrf {
        Xsrf::new()
    }
}

impl Xsrf {
    /// Origin and token, in the cookie `_xsrf`.
    #[must_use]
    pub fn new() -> Xsrf {
        Xsrf { origins: Vec::new(), name: NAME.into(), readable: false, tokens: true }
    }

    /// The same letting in pages of these origins, which need the token all the same: `https://app.example.org`.
    #[must_use]
    pub fn origins<S: Into<String>>(self, origins: impl IntoIterator<Item = S>) -> Xsrf {
        let plain = |origin: S| origin.into().trim_end_matches('/').to_ascii_lowercase();
        Xsrf { origins: origins.into_iter().map(plain).collect(), ..self }
    }

    /// The same with another name for the cookie: `__Host-xsrf` where all visitors come by `https`, so that no other host of the domain can
    /// set it.
    #[must_use]
    pub fn cookie_name(self, name: &str) -> Xsrf {
        Xsrf { name: name.into(), ..self }
    }

    /// The same with a cookie that scripts may read, to send it in `X-XSRFToken`.
    #[must_use]
    pub fn readable(self) -> Xsrf {
        Xsrf { readable: true, ..self }
    }

    /// The same without the token: what browsers say of the origin has to do, and who says nothing is let in. For visitors whose browsers
    /// all send `Sec-Fetch-Site`, which they do since 2023.
    #[must_use]
    pub fn origin_only(self) -> Xsrf {
        Xsrf { tokens: false, ..self }
    }

    /// Whether the browser says that the request comes from elsewhere.
    fn is_foreign(&self, request: &Request) -> bool {
        let origin = request.header("origin");
        if origin.is_some_and(|origin| self.origins.iter().any(|known| known.eq_ignore_ascii_case(origin))) {
            return false;
        }
        match request.header("sec-fetch-site") {
            // `none`: typed by the visitor themselves, or out of a bookmark.
            Some("same-origin" | "none") => false,
            Some(_) => true,
            None => origin.is_some_and(|origin| !is_own(origin, request)),
        }
    }
}

/// Whether an origin is the host that was asked for. One whose encryption ends at a proxy that is not trusted looks as if it came by `http`.
fn is_own(origin: &str, request: &Request) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let port = match scheme {
        "https" => ":443",
        "http" if !request.is_secure() => ":80",
        _ => return false,
    };
    let host = request.host().unwrap_or_default();
    let bare = |text: &str| text.strip_suffix(port).unwrap_or(text).to_ascii_lowercase();
    !authority.is_empty() && bare(authority) == bare(host)
}

impl Middleware for Xsrf {
    fn handle(&self, request: Request, next: &Next) -> Answer {
        let changes = !matches!(request.method(), "GET" | "HEAD" | "OPTIONS" | "TRACE");
        if changes && self.is_foreign(&request) {
            return refuse("this request comes from a page of another site");
        }
        if !self.tokens {
            return next.handle(request);
        }
        let guard = Rc::new(Guard::of(self, &request));
        request.exchange().set_part(Rc::clone(&guard));
        if !changes {
            return next.handle(request);
        }
        // A visitor without the cookie has seen no page of ours: nothing to compare with.
        let Some(expected) = guard.known else {
            return refuse("the cookie against forged requests is missing");
        };
        let header = request.header("x-xsrftoken").or_else(|| request.header("x-csrftoken"));
        if let Some(given) = header {
            return match matches(&expected, given) {
                true => next.handle(request),
                false => refuse("the token against forged requests is wrong"),
            };
        }
        let next = next.clone();
        Answer::Later(Box::pin(async move {
            let mut request = request;
            match form::field(&mut request, NAME).await {
                Ok(Some(given)) if matches(&expected, &given) => next.handle(request),
                Ok(Some(_)) => refuse("the token against forged requests is wrong"),
                Ok(None) => refuse("the token against forged requests is missing"),
                Err(rejection) => Answer::Now(crate::IntoResponse::into_response(rejection)),
            }
        }))
    }
}

fn refuse(why: &str) -> Answer {
    Answer::Now(Response::error(403, why))
}

/// What a request has of it.
struct Guard {
    /// The token of the visitor's cookie.
    known: Option<[u8; TOKEN_BYTES]>,
    /// The one that was made for a visitor without.
    made: Cell<Option<[u8; TOKEN_BYTES]>>,
    name: Rc<str>,
    readable: bool,
}

impl Guard {
    fn of(xsrf: &Xsrf, request: &Request) -> Guard {
        let known = request.cookie(&xsrf.name).and_then(|text| unmask(&text));
        Guard { known, made: Cell::new(None), name: Rc::clone(&xsrf.name), readable: xsrf.readable }
    }
}

fn matches(expected: &[u8; TOKEN_BYTES], given: &str) -> bool {
    unmask(given).is_some_and(|given| constant_time_eq(&given, expected))
}

fn mask(token: [u8; TOKEN_BYTES], seconds: u64) -> String {
    let mask = crate::secret::bytes::<MASK_BYTES>();
    let masked: Vec<u8> = token.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    format!("2|{}|{}|{seconds}", crate::secret::hex(&mask), crate::secret::hex(&masked))
}

fn unmask(text: &str) -> Option<[u8; TOKEN_BYTES]> {
    let mut fields = text.strip_prefix("2|")?.split('|');
    let (mask, masked) = (crate::secret::unhex(fields.next()?)?, crate::secret::unhex(fields.next()?)?);
    let fine = mask.len() == MASK_BYTES && masked.len() == TOKEN_BYTES && fields.count() == 1;
    let token: Vec<u8> = masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    token.try_into().ok().filter(|_| fine)
}

impl Request {
    /// The token against forged requests, masked anew, for a field or a script of a page of this site; see [`Xsrf`]. It sets the visitor's
    /// cookie, if they have none, so it is asked for before the answer begins. Empty, with a word in the log, where no [`Xsrf`] is
    /// around the handler.
    #[must_use]
    pub fn xsrf_token(&self) -> String {
        let Some(guard) = self.exchange().part::<Rc<Guard>>() else {
            tracing::error!(path = self.path(), "no tokens are here: put `Xsrf` around the handler");
            return String::new();
        };
        let now = self.reactor().wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if let Some(token) = guard.known.or(guard.made.get()) {
            return mask(token, now);
        }
        let token = crate::secret::bytes::<TOKEN_BYTES>();
        guard.made.set(Some(token));
        let cookie = Cookie::new(&*guard.name, mask(token, now))
            .http_only(!guard.readable)
            .same_site(SameSite::Lax)
            .secure(self.is_secure());
        // A cache that keeps the page would give one visitor the token of another.
        self.on_answer(move |response| response.default_header("Cache-Control", "no-store").cookie(cookie));
        mask(token, now)
    }

    /// The field of a form that has the token: `<input type="hidden" name="_xsrf" value="…">`. Put it first.
    #[must_use]
    pub fn xsrf_field(&self) -> String {
        format!("<input type=\"hidden\" name=\"{NAME}\" value=\"{}\">", self.xsrf_token())
    }
}

impl Call {
    /// [`Request::xsrf_token`].
    #[must_use]
    pub fn xsrf_token(&self) -> String {
        self.request().xsrf_token()
    }

    /// [`Request::xsrf_field`], as Tornado's `xsrf_form_html`.
    #[must_use]
    pub fn xsrf_field(&self) -> String {
        self.request().xsrf_field()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_written_twice_in_the_same_way() {
        let token = [7; TOKEN_BYTES];
        let (one, two) = (mask(token, 1), mask(token, 1));
        assert_ne!(one, two);
        assert_eq!((unmask(&one), unmask(&two)), (Some(token), Some(token)));
    }

    #[test]
    fn what_tornado_has_written_is_read() {
        // websocket_mask(b"\x01\x02\x03\x04", bytes(range(16))).
        let text = "2|01020304|01030107050705030d0b0d0f09070b0b|1300000000";
        let token = unmask(text).map(|token| token[..4].to_vec());
        assert_eq!(token.as_deref(), Some(&[0, 1, 2, 3][..]));
        for wrong in ["", "2", "2|01020304|", "1|01020304|00|1", "2||0103010705070503050b0d0f09070b0b|1", "x"]
        {
            assert_eq!(unmask(wrong), None, "{wrong}");
        }
    }
}
