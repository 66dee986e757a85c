//! An article in a list, as one reads it, and as one writes it.
//!
//! A part of `cargo run --example articles`: `/`, `/article/1` and `/new`.

use ropewalk::web::{Arguments, Escaped, Request, Response};

use super::library::Article;
use super::pages::Head;

fn tags(article: &Article) -> String {
    let link = |tag| {
        let query: Arguments = [("tag", tag)].into_iter().collect();
        format!("<a class=tag href='/?{}'>{}</a>", Escaped(query), Escaped(tag))
    };
    article.tags.split_whitespace().map(link).collect()
}

fn picture(article: &Article) -> String {
    let image = |name| format!("<img src='/pictures/{}' alt='' loading=lazy>", Escaped(name));
    article.picture.as_ref().map(image).unwrap_or_default()
}

pub(crate) fn card(article: &Article) -> String {
    let class = if article.picture.is_some() { "card pictured" } else { "card" };
    let start: String = article.text.chars().take(180).collect();
    let (picture, tags, id) = (picture(article), tags(article), article.id);
    let (title, author, start) = (Escaped(&article.title), Escaped(&article.author), Escaped(start));
    format!(
        "<section class='{class}'>{picture}<div><h2><a href=/article/{id}>{title}</a></h2><p class=meta>{author}</p><p>{start}</p>{tags}</div></section>"
    )
}

pub(crate) fn article(request: &Request, article: &Article) -> Response {
    let head = Head::of(request);
    let paragraphs = article.text.split("\n\n").map(|text| format!("<p>{}</p>", Escaped(text.trim())));
    let (id, field) = (article.id, &head.field);
    // Who may do this is looked at again when it is done.
    let desk = match head.person.as_ref() == Some(&article.author) {
        true => format!(
            "<div class=desk><a href=/article/{id}/edit>Edit</a>
<form method=post action=/article/{id}/delete>{field}<button class=quiet>Delete</button></form></div>"
        ),
        false => String::new(),
    };
    let (title, author) = (Escaped(&article.title), Escaped(&article.author));
    let (picture, tags, text) = (picture(article), tags(article), paragraphs.collect::<String>());
    let main =
        format!("<article><p class=meta>{author}</p><h1>{title}</h1>{tags}{picture}{text}</article>{desk}");
    head.page(&article.title, "", &main)
}

pub(crate) fn form(request: &Request, article: &Article) -> Response {
    let head = Head::of(request);
    let (heading, action) = match article.id {
        0 => ("A new article", "/new".to_owned()),
        id => ("Edit the article", format!("/article/{id}/edit")),
    };
    let remove = match article.picture {
        Some(_) => {
            "<label class=inline><input type=checkbox name=remove> Remove the picture that is there</label>"
        }
        None => "",
    };
    let (title, tags, text, field) =
        (Escaped(&article.title), Escaped(&article.tags), Escaped(&article.text), &head.field);
    // The token stands first: it is looked for before the picture is read.
    let main = format!(
        "<h1>{heading}</h1><form method=post action={action} enctype=multipart/form-data>{field}
<label>Title<input name=title value='{title}' maxlength=200 required autofocus></label>
<label>Tags<input name=tags value='{tags}' maxlength=200 placeholder='rope sea knots'></label>
<label>Text<textarea name=text required>\n{text}</textarea></label>
<label>Picture<input type=file name=picture accept='image/png,image/jpeg,image/gif,image/webp'></label>{remove}
<button>Keep</button></form>"
    );
    head.page(heading, "", &main)
}
