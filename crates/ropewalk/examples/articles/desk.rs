//! What only those may who have signed in, with what is theirs.
//!
//! A part of `cargo run --example articles`: `/new`, and the links under an article.

use std::time::UNIX_EPOCH;

use ropewalk::Outcome;
use ropewalk::web::extract::{Path, State};
use ropewalk::web::{FormData, Rejection, Request, Response};

use super::handlers::find;
use super::library::{Article, Library};
use super::{Person, forms, pictures};

#[derive(serde::Deserialize)]
struct Written {
    title: String,
    text: String,
    #[serde(default)]
    tags: String,
    #[serde(default)]
    remove: bool,
}

pub(crate) async fn blank(request: Request) -> Response {
    forms::form(&request, &Article::default())
}

pub(crate) async fn edit(
    library: State<Library>,
    Path(id): Path<i64>,
    request: Request,
) -> Outcome<Response> {
    Ok(forms::form(&request, &own(&library, id, &request).await?))
}

pub(crate) async fn create(library: State<Library>, request: Request) -> Outcome<Response> {
    let author = request.current_user::<Person>().map(|person| person.0.clone()).unwrap_or_default();
    keep(&library, Article { author, ..Article::default() }, request).await
}

pub(crate) async fn change(
    library: State<Library>,
    Path(id): Path<i64>,
    request: Request,
) -> Outcome<Response> {
    let before = own(&library, id, &request).await?;
    keep(&library, before, request).await
}

pub(crate) async fn delete(
    library: State<Library>,
    Path(id): Path<i64>,
    request: Request,
) -> Outcome<Response> {
    let article = own(&library, id, &request).await?;
    library.delete(id).await?;
    if let Some(picture) = article.picture {
        pictures::remove(request.reactor(), &library, picture).await?;
    }
    Ok(Response::redirect(303, "/"))
}

async fn keep(library: &Library, mut article: Article, request: Request) -> Outcome<Response> {
    let reactor = request.reactor().clone();
    let mut form = FormData::of(request).await?;
    let Written { title, text, tags, remove } = form.read()?;
    if title.trim().is_empty() || title.len() > 200 || text.len() > 100_000 || tags.len() > 200 {
        return Err(Rejection::new(
            422,
            "an article has a title, of 200 bytes at most, and a text of 100 000",
        )
        .into());
    }
    let upload = form.take_file("picture");
    let before = if remove || upload.is_some() { article.picture.take() } else { None };
    if let Some(picture) = upload {
        article.picture = Some(pictures::keep(&reactor, library, picture).await?);
    }
    let text = text.replace("\r\n", "\n");
    let now = reactor.wall_clock().duration_since(UNIX_EPOCH)?.as_secs();
    (article.title, article.text, article.tags) =
        (title.trim().to_owned(), text, tags.replace(',', " ").to_lowercase());
    article.changed_s = i64::try_from(now)?;
    let id = library.keep(article).await?;
    if let Some(picture) = before {
        pictures::remove(&reactor, library, picture).await?;
    }
    Ok(Response::redirect(303, format!("/article/{id}")))
}

/// The article, if it is the visitor's.
async fn own(library: &Library, id: i64, request: &Request) -> Outcome<Article> {
    let article = find(library, id).await?;
    let person = request.current_user::<Person>();
    if person.is_none_or(|person| person.0 != article.author) {
        return Err(Rejection::new(403, "this article is somebody else's").into());
    }
    Ok(article)
}
