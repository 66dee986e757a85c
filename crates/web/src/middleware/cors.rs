//! Cross-origin requests (the Fetch standard, section 3.3): which pages of other origins may read what this site answers. It answers
//! preflights itself, and tells browsers what they may do; a request that is no browser's it keeps nobody from making.

use super::{Middleware, Next};
use crate::answer::Answer;
use crate::request::Request;
use crate::response::Response;

/// Lets pages of other origins in.
///
/// An origin is let in if it stands in the list, letter by letter; `null`, which sandboxed frames and files send, does not unless it
/// is written there. It is never taken from the request: with a list, the origin that is named is the list's, and `Vary: Origin` keeps caches from
/// handing the answer to another one; with [`Cors::anyone`] it is `*`, with which browsers send no credentials.
///
/// ```
/// use std::time::Duration;
/// use ropewalk_web::{Cors, Router, Site};
/// let cors = Cors::origins(["https://app.example.org"])
///     .methods(["GET", "PUT", "DELETE"])
///     .headers(["Content-Type", "X-Token"])
///     .credentials()
///     .max_age(Duration::from_secs(600));
/// let site = Site::new(Router::new().get("/api/time", |_| "noon")).with(cors);
/// # drop(site);
/// ```
pub struct Cors {
    /// None: all of them.
    origins: Option<Vec<String>>,
    methods: String,
    headers: String,
    exposed: Option<String>,
    credentials: bool,
    max_age: Option<String>,
}

impl Cors {
    /// Pages of these origins: a scheme, a host and a port if it is not the scheme's own, as `https://app.example.org:8443`.
    pub fn origins<S: Into<String>>(origins: impl IntoIterator<Item = S>) -> Cors {
        let plain = |origin: S| origin.into().trim_end_matches('/').to_ascii_lowercase();
        Cors { origins: Some(origins.into_iter().map(plain).collect()), ..Cors::anyone() }
    }

    /// All pages, without credentials.
    #[must_use]
    pub fn anyone() -> Cors {
        Cors {
            origins: None,
            methods: "GET, HEAD, POST".to_owned(),
            headers: String::new(),
            exposed: None,
            credentials: false,
            max_age: None,
        }
    }

    /// The same with these methods; else `GET`, `HEAD` and `POST`.
    #[must_use]
    pub fn methods<'a>(self, methods: impl IntoIterator<Item = &'a str>) -> Cors {
        Cors { methods: list(methods), ..self }
    }

    /// The same with these request fields beside those that every page may send.
    #[must_use]
    pub fn headers<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Cors {
        Cors { headers: list(names), ..self }
    }

    /// The same letting pages read these fields of an answer.
    #[must_use]
    pub fn expose<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Cors {
        Cors { exposed: Some(list(names)), ..self }
    }

    /// The same with cookies and the like. Only for origins in a list: to let anyone act as its visitor, a site would have to be without
    /// visitors that it knows. With [`Cors::anyone`] it has no effect, and the log says so.
    #[must_use]
    pub fn credentials(self) -> Cors {
        if self.origins.is_none() {
            tracing::error!("credentials for pages of any origin are refused: name the origins");
            return self;
        }
        Cors { credentials: true, ..self }
    }

    /// The same with preflights that are remembered for so long; browsers have a limit of their own.
    #[must_use]
    pub fn max_age(self, age: std::time::Duration) -> Cors {
        Cors { max_age: Some(age.as_secs().to_string()), ..self }
    }

    /// What is said to a page of this origin, if it is let in.
    fn allowed(&self, origin: &str) -> Option<String> {
        match &self.origins {
            None => Some("*".to_owned()),
            Some(origins) => origins.iter().find(|known| **known == origin).cloned(),
        }
    }

    fn preflight(&self, allowed: Option<String>) -> Response {
        let mut response = Response::empty(204);
        for name in ["Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"] {
            response = response.vary(name);
        }
        // Without these fields the browser does not go on.
        if let Some(origin) = allowed {
            response = response
                .header("Access-Control-Allow-Origin", origin)
                .header("Access-Control-Allow-Methods", self.methods.clone());
            if !self.headers.is_empty() {
                response = response.header("Access-Control-Allow-Headers", self.headers.clone());
            }
            if self.credentials {
                response = response.header("Access-Control-Allow-Credentials", "true");
            }
            if let Some(age) = &self.max_age {
                response = response.header("Access-Control-Max-Age", age.clone());
            }
        }
        response
    }
}

impl Middleware for Cors {
    fn handle(&self, request: Request, next: &Next) -> Answer {
        let allowed = request.header("origin").and_then(|origin| self.allowed(origin));
        let asks = request.method() == "OPTIONS" && request.header("origin").is_some();
        if asks && request.header("access-control-request-method").is_some() {
            return Answer::Now(self.preflight(allowed));
        }
        let (listed, credentials) = (self.origins.is_some(), self.credentials);
        let exposed = self.exposed.clone();
        request.on_answer(move |mut response| {
            if listed {
                // Also where no origin was sent: a cache must not give this answer to a page that sends one.
                response = response.vary("Origin");
            }
            let Some(origin) = allowed else { return response };
            response = response.header("Access-Control-Allow-Origin", origin);
            if credentials {
                response = response.header("Access-Control-Allow-Credentials", "true");
            }
            match exposed {
                Some(names) => response.header("Access-Control-Expose-Headers", names),
                None => response,
            }
        });
        next.handle(request)
    }
}

fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}
