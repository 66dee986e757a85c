//! The three ways to answer: a tree of resources, handler types, and functions with typed arguments.

use crate::support::{Ground, SECOND, SOON};
use crate::{resource_tree, tornado_handlers, typed_routes};
use ropewalk::web::{Router, Site};

fn ground(router: Router) -> Ground {
    router.check().unwrap();
    Ground::new(1, Site::new(router))
}

fn ask(ground: &Ground, method: &str, path: &str, fields: &str, body: &str) -> String {
    let client = ground.connect();
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n{fields}\r\n");
    let answer = ground.ask(&client, (head + body).as_bytes());
    ground.advance(SOON);
    answer
}

#[test]
fn a_library_of_resources() {
    let library = ground(resource_tree::library());
    let ask = |method, path, body| ask(&library, method, path, "", body);
    assert!(ask("GET", "/", "").ends_with("/shelves/rope/\n"));
    let refused = ask("POST", "/", "");
    assert!(
        refused.starts_with("HTTP/1.1 405 ") && refused.contains("Allow: GET, HEAD, OPTIONS\r\n"),
        "{refused}"
    );
    assert!(ask("GET", "/shelves", "").starts_with("HTTP/1.1 404 "));
    assert!(ask("GET", "/shelves/sea", "").starts_with("HTTP/1.1 301 "));
    assert!(ask("GET", "/shelves/sea/Moby%20Dick", "").starts_with("HTTP/1.1 404 "));
    assert!(ask("PUT", "/shelves/sea/Moby%20Dick", "Call me Ishmael.").starts_with("HTTP/1.1 201 "));
    assert!(ask("GET", "/shelves/sea/Moby%20Dick", "").ends_with("\r\n\r\nCall me Ishmael."));
    assert!(ask("GET", "/shelves/sea/", "").ends_with("\r\n\r\nMoby Dick\n"));
    assert!(ask("GET", "/shelves/rope/", "").ends_with("Content-Length: 0\r\n\r\n"));
    assert!(ask("PUT", "/shelves/sea/Moby%20Dick", "Again.").starts_with("HTTP/1.1 204 "));
    assert!(ask("DELETE", "/shelves/sea/Moby%20Dick", "").starts_with("HTTP/1.1 204 "));
    assert!(ask("DELETE", "/shelves/sea/Moby%20Dick", "").starts_with("HTTP/1.1 404 "));
    assert!(ask("PUT", "/shelves/sea/..%2F..%2Fetc", "x").starts_with("HTTP/1.1 404 "));
}

#[test]
fn stories_by_handler_types() {
    let stories = ground(tornado_handlers::stories());
    let get = |path| ask(&stories, "GET", path, "", "");
    assert!(get("/").ends_with("\r\n\r\nThe Rope: /story/0\nThe Walk: /story/1\n"));
    assert!(get("/story/1").ends_with("\r\n\r\nthe story of The Walk\n"));
    assert!(get("/story/7").ends_with("\r\n\r\n404, sorry: no such story\n"));
    let moved = get("/old/1?x");
    assert!(moved.starts_with("HTTP/1.1 301 ") && moved.contains("Location: /story/1?x\r\n"), "{moved}");
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let editor = format!("{form}Authorization: Basic ZWRpdG9yOnJvcGU=\r\n");
    let refused = ask(&stories, "POST", "/story/1", form, "title=Mine");
    assert!(
        refused.starts_with("HTTP/1.1 403 ")
            && refused.ends_with("403, sorry: only the editor changes titles\n")
    );
    let changed = ask(&stories, "POST", "/story/1", &editor, "title=A+Walk");
    assert!(changed.starts_with("HTTP/1.1 302 ") && changed.contains("Location: /story/1\r\n"), "{changed}");
    assert!(get("/story/1").ends_with("the story of A Walk\n"));
    assert!(ask(&stories, "POST", "/story/1", &editor, "x=y").starts_with("HTTP/1.1 400 "));
    let client = stories.connect();
    let begun = stories.ask(&client, b"GET /countdown HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(begun.ends_with("\r\n\r\n2\r\n3\n\r\n"), "{begun}");
    stories.advance(3 * SECOND);
    assert_eq!(String::from_utf8(client.take()).unwrap(), "2\r\n2\n\r\n2\r\n1\n\r\n3\r\ngo\n\r\n0\r\n\r\n");
}

#[test]
fn notes_by_typed_functions() {
    let notes = ground(typed_routes::notes());
    let get = |path| ask(&notes, "GET", path, "", "");
    let post = |body: &str| ask(&notes, "POST", "/notes", "Content-Type: application/json\r\n", body);
    assert!(get("/").ends_with("notes are at /notes\n"));
    let added = post(r#"{"text":"buy hemp","tags":["rope"]}"#);
    assert!(added.starts_with("HTTP/1.1 201 ") && added.contains("Location: /notes/1\r\n"), "{added}");
    assert!(post(r#"{"text":"sleep"}"#).contains("Location: /notes/2\r\n"));
    assert!(get("/notes?tag=rope&limit=5").ends_with(r#"[{"text":"buy hemp","tags":["rope"]}]"#));
    assert!(get("/notes/2").ends_with(r#"{"text":"sleep","tags":[]}"#));
    assert!(get("/notes/3").contains("404 Not Found: there is no note 3"));
    assert!(get("/notes/first").contains("\"first\" is no whole number"));
    assert!(post(r#"{"text":7}"#).contains("422 Unprocessable Content: the field \"text\" of the body"));
    assert!(post(&"x".repeat(5000)).starts_with("HTTP/1.1 413 "));
}
