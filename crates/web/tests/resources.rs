//! The tree of resources: which one a path leads to, what is answered by itself, and paths that are tricks.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use common::{Ground, MS, answer, ok};
use ropewalk_reactor::Deferred;
use ropewalk_web::resource::{Child, Render, Resource, Tree};
use ropewalk_web::{Answer, Failure, Request, Response, Router, Site};

fn ask(ground: &Ground, method: &str, path: &str) -> String {
    ground.ask(format!("{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n"))
}

fn found(ground: &Ground, path: &str) -> String {
    let text = ask(ground, "GET", path);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    if head.starts_with("HTTP/1.1 200 ") { body.to_owned() } else { head[9..12].to_owned() }
}

/// Tells its name and the path around it.
struct Page(&'static str);

impl Resource for Page {
    async fn render_get(&self, request: Request) -> impl Render {
        format!("{} {:?} {:?}", self.0, request.prepath(), request.postpath())
    }
}

/// Has a child for every name, and takes what it is asked for.
struct Echo(&'static str);

impl Resource for Echo {
    async fn render_get(&self, _: Request) -> impl Render {
        format!("{} itself", self.0)
    }

    fn child(&self, name: &str, request: &Request) -> Child {
        match name {
            "" => Child::Own,
            "none" => Child::Missing,
            "away" => Child::answer(Response::redirect(302, "/elsewhere")),
            "seen" => Child::answer(format!("{:?}", request.prepath())),
            _ => Child::of(Leaf),
        }
    }
}

struct Leaf;

impl Resource for Leaf {
    async fn render_get(&self, request: Request) -> impl Render {
        format!("leaf {:?} {:?}", request.prepath(), request.postpath())
    }

    fn is_leaf(&self) -> bool {
        true
    }
}

fn tree() -> Tree {
    Tree::of(Page("root"))
        .put_child("", Page("slash"))
        .put_child("about", Page("about"))
        .put_child("news/today", Page("today"))
        .put_child("ü b", Page("decoded"))
        .put_child("echo", Tree::of(Echo("echo")).put_child("fixed", Page("fixed")))
        .put_child("leaf", Leaf)
}

#[test]
fn a_path_is_walked_segment_by_segment() {
    let ground = Ground::of(tree());
    for (path, page) in [
        ("/", r#"slash [""] []"#),
        ("/about", r#"about ["about"] []"#),
        ("/about/", "404"),
        ("/about/x", "404"),
        ("/news", "404"),
        ("/news/today", r#"today ["news", "today"] []"#),
        ("/%C3%BC%20b", r#"decoded ["ü b"] []"#),
        ("/nothing", "404"),
        ("//about", "404"),
        ("/echo", "echo itself"),
        ("/echo/", "echo itself"),
        ("/echo//", "echo itself"),
        ("/echo/x", r#"leaf ["echo", "x"] []"#),
        ("/echo/x/y/", r#"leaf ["echo", "x"] ["y", ""]"#),
        ("/echo/fixed", r#"fixed ["echo", "fixed"] []"#),
        ("/echo/none", "404"),
        ("/echo/away", "302"),
        ("/echo/seen/further", r#"["echo", "seen"]"#),
        ("/leaf/a%20b?c", r#"leaf ["leaf"] ["a b"]"#),
    ] {
        assert_eq!(found(&ground, path), page, "{path}");
    }
}

#[test]
fn a_tree_is_mounted_in_a_router() {
    let ground = Ground::of(Router::new().mount("/site", tree()).get("/site/about", |_| "the router's"));
    assert_eq!(found(&ground, "/site"), "root [] []");
    assert_eq!(found(&ground, "/site/"), r#"slash [""] []"#);
    assert_eq!(found(&ground, "/site/news/today"), r#"today ["news", "today"] []"#);
    assert_eq!(found(&ground, "/site/about"), "the router's");
    assert_eq!(found(&ground, "/about"), "404");
}

#[test]
fn no_resource_ever_sees_a_path_that_is_a_trick() {
    #[derive(Clone, Default)]
    struct Listening(Rc<RefCell<Vec<String>>>);
    impl Resource for Listening {
        fn child(&self, name: &str, _: &Request) -> Child {
            self.0.borrow_mut().push(name.to_owned());
            Child::Own
        }
        async fn render_get(&self, _: Request) -> impl Render {
            "reached"
        }
    }
    let listening = Listening::default();
    let ground = Ground::of(Tree::of(listening.clone()));
    for trick in [
        "/..",
        "/a/../b",
        "/%2e%2e/x",
        "/.%2E/x",
        "/%2e",
        "/a%2fb",
        "/a%2F..%2Fb",
        "/a%00b",
        "/%ff",
        "/a/./b",
    ] {
        assert_eq!(found(&ground, trick), "404", "{trick}");
    }
    assert!(listening.0.borrow().is_empty());
    // Decoded once: what is left is a name like any other.
    assert_eq!(found(&ground, "/%252e%252e/%2500/a%5cb"), "reached");
    assert_eq!(*listening.0.borrow(), ["%2e%2e", "%00", "a\\b"]);
}

/// Everything that a method may come to.
struct Many;

impl Resource for Many {
    async fn render_get(&self, request: Request) -> impl Render {
        let (firing, deferred) = Deferred::new(request.reactor());
        request.reactor().call_later(5 * MS, move || firing.callback("from a deferred").unwrap());
        deferred.await
    }

    async fn render_post(&self, request: Request) -> impl Render {
        let body = request.bytes().await?;
        if body.is_empty() { Err(Failure::new("as asked")) } else { Ok((201, body)) }
    }

    async fn render_put(&self, request: Request) -> impl Render {
        let responder = request.responder();
        responder.write("by hand");
        responder.finish();
    }

    fn render_delete(&self, _: Request) -> impl Future<Output = impl Render> {
        std::future::ready(Answer::Later(Box::pin(async { Answer::Now(Response::text("later")) })))
    }
}

#[test]
fn a_method_may_return_what_a_handler_may() {
    let ground = Ground::of(Tree::new().put_child("many", Many));
    let peer = ground.send("GET /many HTTP/1.1\r\nHost: h\r\n\r\n");
    ground.advance(10 * MS);
    assert_eq!(ground.take(&peer), ok("from a deferred"));
    drop(peer);
    let posted = ground.ask("POST /many HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(posted, answer("201 Created", "Content-Type: application/octet-stream\r\n", "abc"));
    assert!(ask(&ground, "POST", "/many").starts_with("HTTP/1.1 500 "));
    assert!(ask(&ground, "PUT", "/many").contains("by hand"));
    assert_eq!(ask(&ground, "DELETE", "/many"), ok("later"));
    ground.is_clean();
}

#[test]
fn what_is_not_implemented_is_answered_by_itself() {
    let ground = Ground::of(tree().put_child("many", Many));
    let allowed = |method: &str, path: &str| {
        let text = ask(&ground, method, path);
        let allow = text.lines().find_map(|line| line.strip_prefix("Allow: ")).unwrap_or("nothing");
        format!("{} {allow}", &text[9..12])
    };
    assert_eq!(allowed("POST", "/about"), "405 GET, HEAD, OPTIONS");
    assert_eq!(allowed("BREW", "/about"), "405 GET, HEAD, OPTIONS");
    assert_eq!(allowed("OPTIONS", "/about"), "204 GET, HEAD, OPTIONS");
    assert_eq!(allowed("PATCH", "/many"), "405 DELETE, GET, HEAD, OPTIONS, POST, PUT");
    assert_eq!(ask(&ground, "OPTIONS", "*"), "HTTP/1.1 204 No Content\r\n\r\n");
}

#[test]
fn asking_which_methods_there_are_runs_none_of_them() {
    struct Careful(Rc<RefCell<u32>>);
    impl Resource for Careful {
        async fn render_get(&self, _: Request) -> impl Render {
            *self.0.borrow_mut() += 1;
        }
        async fn render_post(&self, _: Request) -> impl Render {
            *self.0.borrow_mut() += 1;
        }
    }
    let ran = Rc::new(RefCell::new(0));
    let ground = Ground::of(Tree::new().put_child("x", Careful(Rc::clone(&ran))));
    assert!(ask(&ground, "DELETE", "/x").contains("Allow: GET, HEAD, OPTIONS, POST\r\n"));
    assert!(ask(&ground, "OPTIONS", "/x").contains("Allow: GET, HEAD, OPTIONS, POST\r\n"));
    assert_eq!(*ran.borrow(), 0);
}

#[test]
fn head_comes_from_get_unless_it_is_written() {
    struct Headed;
    impl Resource for Headed {
        async fn render_get(&self, _: Request) -> impl Render {
            "hello"
        }
        async fn render_head(&self, _: Request) -> impl Render {
            Response::empty(204)
        }
    }
    let ground = Ground::of(tree().put_child("headed", Headed));
    let head = ask(&ground, "HEAD", "/leaf");
    assert!(head.ends_with("Content-Length: 16\r\n\r\n"), "{head}");
    assert!(ask(&ground, "HEAD", "/headed").starts_with("HTTP/1.1 204 "));
}

#[test]
fn a_resource_may_render_whatever_the_method() {
    struct All;
    impl Resource for All {
        fn render(self: Rc<Self>, request: Request) -> Answer {
            Answer::Now(Response::text(request.method().to_owned()))
        }
    }
    let ground = Ground::of(Tree::of(All));
    assert_eq!(ground.ask("BREW * HTTP/1.1\r\nHost: h\r\n\r\n").get(9..12), Some("400"));
    let ground = Ground::calm(Site::new(Tree::new().put_child("", All)).server(None));
    assert_eq!(ask(&ground, "BREW", "/"), ok("BREW"));
}

#[test]
fn a_child_that_is_put_again_replaces_the_other() {
    let ground = Ground::of(
        Tree::new().put_child("a/b", Page("b")).put_child("a", Page("a")).put_child("a/c", Page("c")),
    );
    assert_eq!(found(&ground, "/a/b"), "404");
    assert_eq!(found(&ground, "/a"), r#"a ["a"] []"#);
    assert_eq!(found(&ground, "/a/c"), r#"c ["a", "c"] []"#);
}
