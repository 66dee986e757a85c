//! Pages for errors: what a client sees of a 404, a 405, a 413 or a 500 for which nobody has written an answer. The exchange, which
//! knows the request and its site, asks for one when it sends; nothing else here writes to the wire.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use ropewalk_reactor::Failure;
use ropewalk_wire::http1::{Head, reason_phrase};

use crate::accept::{self, Preference};
use crate::incident::Escaped;
use crate::response::{Body, Marks, Response};

type Write = Rc<dyn Fn(&ErrorPage<'_>) -> Response>;

/// What a site shows of errors.
///
/// A page stands in for [`Response::error`], which is what the router, the limits and the extractors answer with, and for a failure,
/// whose incident it names. An answer that a handler wrote itself, of whatever status, stays as it is. The status and the fields
/// (`Allow`, `Retry-After`, …) are those of the error; a page adds its own fields and its body.
///
/// Without pages an error is a line of plain text to everyone.
///
/// ```
/// use ropewalk_web::{ErrorPages, Response, Router, Site};
/// let pages = ErrorPages::new()
///     .on(404, |error| Response::html(format!("<h1>Nothing here</h1><p>{}</p>", error.html_why())));
/// let site = Site::new(Router::new().get("/", |_| "Hello, World!")).error_pages(pages);
/// # drop(site);
/// ```
#[derive(Clone, Default)]
pub struct ErrorPages {
    by_status: Vec<(u16, Write)>,
    others: Option<Write>,
}

/// An error that is to be shown.
#[non_exhaustive]
pub struct ErrorPage<'a> {
    /// The status, 400 to 599.
    pub status: u16,
    /// Its phrase.
    pub phrase: &'static str,
    /// One line of why, in the server's words. It may hold what a client sent: see [`ErrorPage::html_why`].
    pub why: &'a str,
    /// The id under which the log has the failure, if it is one.
    pub incident: Option<&'a str>,
    /// The path, as sent.
    pub path: &'a str,
    accept: Accepted,
}

/// The forms in which we can show an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepted {
    Text,
    Html,
    Json,
}

impl ErrorPages {
    /// Pages of ours: HTML, JSON (as RFC 9457 has it) or plain text, by what the client accepts. Who does not say, or takes everything,
    /// gets text.
    #[must_use]
    pub fn new() -> ErrorPages {
        ErrorPages::default()
    }

    /// The same with a page of one's own for a status. When it panics, the page of ours is shown.
    #[must_use]
    pub fn on(mut self, status: u16, page: impl Fn(&ErrorPage<'_>) -> Response + 'static) -> ErrorPages {
        self.by_status.retain(|(known, _)| *known != status);
        self.by_status.push((status, Rc::new(page)));
        self
    }

    /// The same with a page of one's own for all that have none.
    #[must_use]
    pub fn otherwise(self, page: impl Fn(&ErrorPage<'_>) -> Response + 'static) -> ErrorPages {
        ErrorPages { others: Some(Rc::new(page)), ..self }
    }

    fn page(&self, error: &ErrorPage<'_>) -> Response {
        let own = self.by_status.iter().find(|(status, _)| *status == error.status).map(|(_, page)| page);
        let Some(page) = own.or(self.others.as_ref()) else { return error.page() };
        match catch_unwind(AssertUnwindSafe(|| page(error))) {
            // A page of an error is bytes; anything else has no place in it.
            Ok(response) if is_bytes(&response.body) => response,
            Ok(_) => error.page(),
            Err(panic) => {
                tracing::error!(status = error.status, "a page of an error: {}", Failure::from_panic(panic));
                error.page()
            }
        }
    }
}

fn is_bytes(body: &Body) -> bool {
    matches!(body, Body::Empty | Body::Static(_) | Body::Bytes(_) | Body::Shared(_))
}

impl ErrorPage<'_> {
    /// The error as the client likes it: HTML, JSON or plain text.
    #[must_use]
    pub fn page(&self) -> Response {
        match self.accept {
            Accepted::Text => Response::text(self.text()),
            Accepted::Html => Response::html(self.html())
                .header("Content-Security-Policy", POLICY)
                .header("X-Content-Type-Options", "nosniff"),
            Accepted::Json => Response::new(self.json()).content_type("application/problem+json"),
        }
        .vary("Accept")
    }

    /// Whether the client would rather have HTML than JSON or text.
    #[must_use]
    pub fn wants_html(&self) -> bool {
        self.accept == Accepted::Html
    }

    /// Whether the client would rather have JSON.
    #[must_use]
    pub fn wants_json(&self) -> bool {
        self.accept == Accepted::Json
    }

    /// Why, with the incident's id, and escaped for HTML.
    #[must_use]
    pub fn html_why(&self) -> String {
        Escaped(self.told()).to_string()
    }

    /// Why, with the incident's id.
    fn told(&self) -> Cow<'_, str> {
        match self.incident {
            Some(incident) => format!("{}, incident {incident}", self.why).into(),
            None => self.why.into(),
        }
    }

    fn text(&self) -> String {
        format!("{} {}: {}\n", self.status, self.phrase, self.told())
    }

    fn html(&self) -> String {
        let (status, phrase, why) = (self.status, self.phrase, self.html_why());
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{status} {phrase}</title>\n\
             <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{status} {phrase}</h1>\n<p>{why}</p>\n</main>\n</body>\n</html>\n"
        )
    }

    fn json(&self) -> String {
        let mut problem =
            serde_json::json!({ "status": self.status, "title": self.phrase, "detail": self.why });
        if let Some(incident) = self.incident {
            problem["incident"] = incident.into();
        }
        format!("{problem}\n")
    }
}

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const STYLE: &str = "\
:root{color-scheme:light dark}
body{margin:0;font:16px/1.5 system-ui,sans-serif}
main{max-width:40rem;margin:15vh auto 0;padding:0 1.5rem}
h1{font-size:1.6rem;line-height:1.3}
p{overflow-wrap:anywhere}
";

/// Puts a page where an error has only words: the status and the fields of `draft` stay.
#[cold]
pub(crate) fn show(
    pages: Option<&ErrorPages>,
    head: &Head,
    mut draft: Response,
    why: &str,
    incident: Option<&str>,
) -> Response {
    let (status, phrase) = (draft.status, reason_phrase(draft.status));
    let accept = if pages.is_some() { accepted(head) } else { Accepted::Text };
    let error = ErrorPage { status, phrase, why, incident, path: head.path(), accept };
    let Some(pages) = pages.filter(|_| (400..600).contains(&status)) else {
        draft.body = error.text().into();
        return draft;
    };
    let page = pages.page(&error);
    draft.content_type = page.content_type;
    draft.body = page.body;
    if page.marks.has(Marks::CLOSE) {
        draft.marks.set(Marks::CLOSE);
    }
    for (name, value) in page.fields {
        let known = draft.fields.iter().any(|(known, _)| known.eq_ignore_ascii_case(&name));
        if !known || name.eq_ignore_ascii_case("vary") {
            draft.fields.push((name, value));
        }
    }
    draft
}

/// The form that the client likes best (RFC 9110 section 12.5.1). Whoever likes all the same reads a terminal.
fn accepted(head: &Head) -> Accepted {
    const FORMS: [(Accepted, &str); 4] = [
        (Accepted::Text, "text/plain"),
        (Accepted::Html, "text/html"),
        (Accepted::Json, "application/problem+json"),
        (Accepted::Json, "application/json"),
    ];
    let preference = Preference::of(head, "Accept");
    let weigh = |(form, media): (Accepted, &str)| (form, accept::media(&preference, media));
    let weighed = FORMS.into_iter().map(weigh);
    // The first of those that are liked equally; a client that likes none of them reads text, too.
    weighed.rev().max_by_key(|(_, weight)| *weight).map_or(Accepted::Text, |(form, _)| form)
}
