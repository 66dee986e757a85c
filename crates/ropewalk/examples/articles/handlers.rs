//! What everybody may read.
//!
//! A part of `cargo run --example articles`: the list at `/`, with its search and its pages, and `/article/1`.

use ropewalk::Outcome;
use ropewalk::web::extract::{Path, Query, State};
use ropewalk::web::{Rejection, Request, Response};

use super::library::{Article, Library};
use super::{forms, pages};

#[derive(serde::Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    pub(crate) q: String,
    #[serde(default)]
    pub(crate) tag: String,
    pub(crate) page: Option<usize>,
}

pub(crate) async fn list(
    library: State<Library>,
    Query(wanted): Query<Wanted>,
    request: Request,
) -> Outcome<Response> {
    let page = wanted.page.unwrap_or(1).max(1);
    let (found, more) = library.list(wanted.q.clone(), wanted.tag.clone(), page).await?;
    Ok(pages::list(&request, &wanted, page, &found, more))
}

pub(crate) async fn show(
    library: State<Library>,
    Path(id): Path<i64>,
    request: Request,
) -> Outcome<Response> {
    Ok(forms::article(&request, &find(&library, id).await?))
}

pub(crate) async fn find(library: &Library, id: i64) -> Outcome<Article> {
    Ok(library.article(id).await?.ok_or_else(|| Rejection::new(404, "there is no such article"))?)
}
