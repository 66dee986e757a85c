//! Of `cargo run --example websub_blog`: a blog as a folder of files. Writing a post writes the page and the feed anew; that a hub hears of
//! it is nobody's business here.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::Path;
use std::rc::Rc;

use ropewalk::hub::advertise_pages;
use ropewalk::web::{Escaped, Files, Handler, Rejection, Request, Response, handler};
use ropewalk::{Outcome, Reactor};
use serde_json::{Value, json};

const PAGE: &str = include_str!("blog.html");
/// Posts that the feed has.
const POSTS_MAX: usize = 20;

/// An empty blog, if there is none.
pub(crate) fn begin(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    if folder.join("feed.json").exists() { Ok(()) } else { put(folder, &[]) }
}

/// The pages, which name the hub.
pub(crate) fn pages(folder: &Path, base: &Rc<RefCell<Option<String>>>) -> Outcome<impl Handler + use<>> {
    let files = Files::new(folder)?.cache_control("no-cache");
    let (hub, base) = ("/hub".to_owned(), Rc::clone(base));
    // Relative to the page: so it is found by whatever name the site is reached.
    Ok(files.with(advertise_pages(vec![hub], false, move || base.borrow().clone())))
}

/// Takes a post from the form, and shows the page that has it.
pub(crate) fn write(reactor: &Reactor, folder: &Path) -> impl Handler + use<> {
    let (reactor, folder) = (reactor.clone(), folder.to_owned());
    handler(move |request: Request| {
        let (reactor, folder) = (reactor.clone(), folder.clone());
        async move {
            let text = request.form().await?.first("text").unwrap_or_default().trim().to_owned();
            if text.is_empty() {
                return Ok::<_, Rejection>(Response::text("write something\n").status(400));
            }
            let written = reactor.defer_to_thread(move || add(&folder, text)).await;
            Ok(match written {
                Ok(Ok(())) => Response::redirect(303, "/"),
                _ => Response::text("it could not be written\n").status(500),
            })
        }
    })
}

fn add(folder: &Path, text: String) -> io::Result<()> {
    let feed: Value = serde_json::from_slice(&fs::read(folder.join("feed.json"))?)?;
    let mut posts: Vec<Value> = feed["items"].as_array().cloned().unwrap_or_default();
    let id = posts.first().and_then(|post| post["id"].as_str()?.parse().ok()).unwrap_or(0_u64) + 1;
    posts.insert(0, json!({ "id": id.to_string(), "content_text": text }));
    posts.truncate(POSTS_MAX);
    put(folder, &posts)
}

/// A page for people, and a JSON feed for programs; the feed is whole at every moment.
fn put(folder: &Path, posts: &[Value]) -> io::Result<()> {
    let shown = posts.iter().filter_map(|post| post["content_text"].as_str());
    let shown: String = shown.map(|text| format!("<article>{}</article>\n", Escaped(text))).collect();
    fs::write(folder.join("index.html"), PAGE.replace("{{posts}}", &shown))?;
    let feed = json!({ "version": "https://jsonfeed.org/version/1.1", "title": "A blog", "items": posts });
    fs::write(folder.join(".feed.new"), format!("{feed:#}\n"))?;
    fs::rename(folder.join(".feed.new"), folder.join("feed.json"))
}
