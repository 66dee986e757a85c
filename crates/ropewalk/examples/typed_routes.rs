//! Notes over HTTP: functions whose arguments are taken out of the request by their types, and clients that are told what is wrong
//! with theirs.
//!
//! Run it with `cargo run --example typed_routes`, then
//! ```text
//! curl --json '{"text":"buy hemp","tags":["rope"]}' http://127.0.0.1:8080/notes
//! curl 'http://127.0.0.1:8080/notes?tag=rope&limit=5'
//! curl http://127.0.0.1:8080/notes/1
//! curl http://127.0.0.1:8080/notes/first                 400: "first" is no whole number
//! curl --json '{"text":7}' http://127.0.0.1:8080/notes   422: which field, and where
//! ```

use std::cell::RefCell;
use std::process::ExitCode;

use ropewalk::web::extract::{Json, Limited, Path, Query, State, typed};
use ropewalk::web::{Rejection, Request, Response, Router};
use serde::{Deserialize, Serialize};

#[derive(Clone, Deserialize, Serialize)]
struct Note {
    text: String,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Deserialize)]
struct Wanted {
    tag: Option<String>,
    #[serde(default = "ten")]
    limit: usize,
}

fn ten() -> usize {
    10
}

/// One for each worker. A program with several would keep them in a table.
#[derive(Default)]
struct Notes(RefCell<Vec<Note>>);

fn list(notes: State<Notes>, Query(wanted): Query<Wanted>) -> Json<Vec<Note>> {
    let notes = notes.0.0.borrow();
    let fits = |note: &&Note| wanted.tag.as_ref().is_none_or(|tag| note.tags.contains(tag));
    Json(notes.iter().filter(fits).take(wanted.limit).cloned().collect())
}

fn show(notes: State<Notes>, Path(number): Path<usize>) -> Result<Json<Note>, Rejection> {
    let notes = notes.0.0.borrow();
    let note = number.checked_sub(1).and_then(|index| notes.get(index));
    note.cloned().map(Json).ok_or_else(|| Rejection::new(404, format!("there is no note {number}")))
}

/// At most 4 KiB of JSON: what is more is a 413 before it is read.
fn add(notes: State<Notes>, Limited(Json(note)): Limited<Json<Note>, 4096>) -> Response {
    let mut notes = notes.0.0.borrow_mut();
    notes.push(note);
    Response::empty(201).header("Location", format!("/notes/{}", notes.len()))
}

/// The forms mix: this one is plain.
fn help(request: Request) -> String {
    let list = request.reverse_url("list", ()).unwrap_or_default();
    format!("notes are at {list}\n")
}

/// The notes, and a word of help.
pub fn notes() -> Router {
    let notes = Router::new()
        .get("/", typed(list))
        .named("list")
        .post("/", typed(add))
        .get("/{number}", typed(show))
        .state(Notes::default());
    Router::new().get("/", help).nest("/notes", notes)
}

fn main() -> ExitCode {
    ropewalk::main("typed_routes", |app| app.serve("tcp:8080", notes))
}
