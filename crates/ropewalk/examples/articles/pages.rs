//! The pages, as small functions that write HTML; whatever somebody has written goes through `Escaped`. A part of `cargo run --example articles`:
//! how it looks.

use ropewalk::web::{Arguments, Escaped, Request, Response};

use super::Person;
use super::forms::card;
use super::handlers::Wanted;
use super::library::Article;

/// What is above every page: who looks, and their token for forms.
pub(crate) struct Head {
    pub(crate) person: Option<String>,
    pub(crate) field: String,
}

impl Head {
    /// A page without forms for who has not signed in needs no token, and no cookie.
    pub(crate) fn of(request: &Request) -> Head {
        let person = request.current_user::<Person>().map(|person| person.0.clone());
        let field = person.as_ref().map(|_| request.xsrf_field()).unwrap_or_default();
        Head { person, field }
    }

    pub(crate) fn with_token(request: &Request) -> Head {
        Head { field: request.xsrf_field(), ..Head::of(request) }
    }

    pub(crate) fn page(&self, title: &str, search: &str, main: &str) -> Response {
        let (title, search, field) = (Escaped(title), Escaped(search), &self.field);
        let nav = match &self.person {
            Some(name) => format!(
                "<a href=/new>Write</a><form method=post action=/logout>{field}<button class=quiet title='{}'>Sign out</button></form>",
                Escaped(name)
            ),
            None => "<a href=/login>Sign in</a>".to_owned(),
        };
        Response::html(format!(
            "<!DOCTYPE html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width,initial-scale=1'>
<title>{title}</title><link rel=stylesheet href=/style.css>
<header><a class=name href=/>The Ropewalk</a>
<form action=/ role=search><input type=search name=q value='{search}' placeholder='Search articles' aria-label=Search></form>
<nav>{nav}</nav></header><main>{main}</main></html>"
        ))
    }

    pub(crate) fn login(&self, next: &str, why: Option<&str>) -> Response {
        let why = why.map(|why| format!("<p class=note>{}</p>", Escaped(why))).unwrap_or_default();
        let (field, next) = (&self.field, Escaped(next));
        let form = format!(
            "<h1>Sign in</h1>{why}<form method=post action=/login>{field}<input type=hidden name=next value='{next}'>
<label>Name<input name=name autocomplete=username required autofocus></label>
<label>Password<input type=password name=password autocomplete=current-password required></label><button>Sign in</button></form>"
        );
        self.page("Sign in", "", &form)
    }
}

pub(crate) fn list(
    request: &Request,
    wanted: &Wanted,
    page: usize,
    found: &[Article],
    more: bool,
) -> Response {
    let (q, tag) = (Escaped(&wanted.q), Escaped(&wanted.tag));
    let link = |page: usize, name: &str| {
        let page = page.to_string();
        let query: Arguments =
            [("q", &*wanted.q), ("tag", &wanted.tag), ("page", &page)].into_iter().collect();
        format!("<a href='/?{}'>{name}</a>", Escaped(query))
    };
    let newer = if page > 1 { link(page - 1, "← Newer") } else { String::new() };
    let older = if more { link(page + 1, "Older →") } else { String::new() };
    let heading = match (wanted.q.is_empty(), wanted.tag.is_empty()) {
        (true, true) => String::new(),
        (false, _) => format!("<p class=meta>Articles with “{q}”</p>"),
        (true, false) => format!("<p class=meta>Articles about <b>{tag}</b></p>"),
    };
    let cards: String = found.iter().map(card).collect();
    let none = if found.is_empty() { "<p class=note>There is nothing here yet.</p>" } else { "" };
    let main =
        format!("{heading}{cards}{none}<div class=pages><span>{newer}</span><span>{older}</span></div>");
    Head::of(request).page("The Ropewalk", &wanted.q, &main)
}
