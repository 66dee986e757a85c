//! A library as a tree of objects, in the manner of twisted.web: shelves hold books, and each object answers for itself.
//!
//! Run it with `cargo run --example resource_tree`, then
//! ```text
//! curl http://127.0.0.1:8080/                                  what there is
//! curl http://127.0.0.1:8080/shelves/sea/                      the books of a shelf
//! curl -X PUT -d 'Call me Ishmael.' http://127.0.0.1:8080/shelves/sea/Moby%20Dick
//! curl http://127.0.0.1:8080/shelves/sea/Moby%20Dick           what was put there
//! curl -i -X POST http://127.0.0.1:8080/                       405, with the methods that there are
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::rc::Rc;

use ropewalk::Failure;
use ropewalk::web::resource::{Child, Render, Resource, Tree};
use ropewalk::web::{Request, Response, Router};

struct Welcome;

impl Resource for Welcome {
    async fn render_get(&self, _: Request) -> impl Render {
        "a library: /shelves/sea/ and /shelves/rope/\n"
    }
}

/// The books of a shelf by their titles, shared with those that are handed out.
#[derive(Clone, Default)]
struct Shelf(Rc<RefCell<BTreeMap<String, String>>>);

impl Resource for Shelf {
    async fn render_get(&self, _: Request) -> impl Render {
        // Without the slash at the end, links on the page would lead elsewhere.
        Response::redirect(301, "./")
    }

    fn child(&self, name: &str, _: &Request) -> Child {
        let shelf = self.clone();
        if name.is_empty() {
            Child::of(Catalogue(shelf))
        } else {
            Child::of(Book { title: name.to_owned(), shelf })
        }
    }
}

/// The shelf behind the slash.
struct Catalogue(Shelf);

impl Resource for Catalogue {
    async fn render_get(&self, _: Request) -> impl Render {
        self.0.0.borrow().keys().fold(String::new(), |list, title| list + title + "\n")
    }
}

/// One book, whether it is there or not.
struct Book {
    title: String,
    shelf: Shelf,
}

impl Resource for Book {
    async fn render_get(&self, _: Request) -> impl Render {
        // An `Option` is a 404 when it is `None`.
        self.shelf.0.borrow().get(&self.title).cloned()
    }

    async fn render_put(&self, request: Request) -> impl Render {
        let text = request.text().await?;
        let before = self.shelf.0.borrow_mut().insert(self.title.clone(), text);
        Ok::<_, Failure>(Response::empty(if before.is_some() { 204 } else { 201 }))
    }

    async fn render_delete(&self, _: Request) -> impl Render {
        self.shelf.0.borrow_mut().remove(&self.title).map(|_| Response::empty(204))
    }
}

/// `/`, and two shelves.
pub fn library() -> Router {
    let shelves = Tree::new().put_child("sea", Shelf::default()).put_child("rope", Shelf::default());
    Router::new().mount("/", Tree::new().put_child("", Welcome).put_child("shelves", shelves))
}

fn main() -> ExitCode {
    ropewalk::main("resource_tree", |app| app.serve("tcp:8080", library))
}
