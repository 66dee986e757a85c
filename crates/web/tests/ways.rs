//! The three ways to answer on one site: the same comes back however requests and answers are cut, nothing is left behind, and what
//! goes wrong in one request stays there.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use common::{Ground, MS, Probe, SECOND, everyhow, quietly};
use ropewalk_web::extract::{Form, Json, Path, typed};
use ropewalk_web::handlers::{Call, RequestHandler, per_request};
use ropewalk_web::resource::{Child, Render, Resource, Tree};
use ropewalk_web::testing::TestClient;
use ropewalk_web::{Failure, Outcome, Request, Router, Site};
use std::collections::BTreeMap;

struct Thing(String);

impl Resource for Thing {
    async fn render_get(&self, _: Request) -> impl Render {
        format!("thing {}", self.0)
    }

    async fn render_post(&self, request: Request) -> impl Render {
        let text = request.text().await?;
        request_again(&self.0, &text)
    }

    fn child(&self, name: &str, _: &Request) -> Child {
        Child::of(Thing(format!("{}/{name}", self.0)))
    }
}

fn request_again(name: &str, text: &str) -> Outcome<String> {
    if text == "fail" { Err(Failure::new("as asked")) } else { Ok(format!("{name} took {text}")) }
}

struct Flushing;

impl RequestHandler for Flushing {
    async fn get(&mut self, call: &mut Call) -> Outcome<()> {
        for number in 0..3 {
            call.write(format!("piece {number} "));
            call.flush().await?;
        }
        Ok(())
    }

    async fn post(&mut self, call: &mut Call) -> Outcome<()> {
        let name = call.body_argument("name")?;
        call.write(name);
        Ok(())
    }
}

struct Streaming(usize);

impl RequestHandler for Streaming {
    const STREAMED: bool = true;

    async fn data_received(&mut self, _: &mut Call, piece: Vec<u8>) -> Outcome<()> {
        self.0 += piece.len();
        Ok(())
    }

    async fn put(&mut self, call: &mut Call) -> Outcome<()> {
        call.write(format!("{} bytes", self.0));
        Ok(())
    }
}

fn site() -> Site {
    let router = Router::new()
        .mount("/tree", Tree::of(Thing("root".to_owned())))
        .any("/flushing", per_request(|| Flushing))
        .any("/streaming", per_request(|| Streaming(0)))
        .post(
            "/typed/{id}",
            typed(|Path(id): Path<u8>, Json(n): Json<i64>| async move { format!("{id} {n}") }),
        )
        .put(
            "/typed/{id}",
            typed(|Path(id): Path<u8>, Form(form): Form<BTreeMap<String, u8>>| format!("{id} {form:?}")),
        );
    Site::new(router).server(None)
}

fn request(line: &str, kind: &str, body: &str) -> String {
    format!(
        "{line} HTTP/1.1\r\nHost: h\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

const FORM: &str = "application/x-www-form-urlencoded";

#[test]
fn resources_answer_the_same_however_they_are_cut() {
    let script = ["GET /tree/a/b", "POST /tree/x", "POST /tree/y", "DELETE /tree"].map(|line| {
        let body = if line.ends_with('y') { "fail" } else { "text" };
        request(line, "text/plain", if line.starts_with("POST") { body } else { "" })
    });
    let said = everyhow(site, script.concat());
    for part in [
        "thing root/a/b",
        "root/x took text",
        "500 Internal Server Error",
        "Allow: GET, HEAD, OPTIONS, POST\r\n",
    ] {
        assert!(said.text.contains(part), "{part}: {said:?}");
    }
    assert_eq!((said.text.matches("HTTP/1.1 ").count(), said.closed), (4, false));
}

#[test]
fn handler_types_answer_the_same_however_they_are_cut() {
    let script = request("GET /flushing", "", "")
        + &request("POST /flushing", FORM, "name=rope")
        + &request("POST /flushing", FORM, "nobody=rope")
        + &request("PUT /streaming", "", "twelve bytes")
        + &request("GET /streaming", "", "");
    let said = everyhow(site, script);
    assert!(said.text.contains("8\r\npiece 0 \r\n8\r\npiece 1 \r\n8\r\npiece 2 \r\n0\r\n\r\n"), "{said:?}");
    for part in ["\r\n\r\nrope", "the argument \"name\" is missing", "12 bytes", "Allow: OPTIONS, PUT\r\n"] {
        assert!(said.text.contains(part), "{part}: {said:?}");
    }
    assert_eq!((said.text.matches("HTTP/1.1 ").count(), said.closed), (5, false));
}

#[test]
fn typed_functions_answer_the_same_however_they_are_cut() {
    let script = request("POST /typed/7", "application/json", " -5 ")
        + &request("POST /typed/x", "application/json", "1")
        + &request("POST /typed/7", "application/json", "\"5\"")
        + &request("PUT /typed/7", FORM, "a=1&b=2")
        + &request("PUT /typed/7", "text/plain", "a=1");
    let said = everyhow(site, script);
    for part in ["7 -5", "HTTP/1.1 400 ", "HTTP/1.1 422 ", r#"7 {"a": 1, "b": 2}"#, "HTTP/1.1 415 "] {
        assert!(said.text.contains(part), "{part}: {said:?}");
    }
    assert_eq!((said.text.matches("HTTP/1.1 ").count(), said.closed), (5, false));
}

/// What the handlers of a site hold is gone once their clients are, whenever those leave.
#[test]
fn nothing_is_left_of_a_client_that_leaves() {
    struct Waiting(Probe);
    impl Resource for Waiting {
        async fn render_get(&self, request: Request) -> impl Render {
            let held = self.0.hold();
            request.reactor().sleep(SECOND).await;
            drop(held);
        }
    }
    impl RequestHandler for Waiting {
        async fn get(&mut self, call: &mut Call) -> Outcome<()> {
            let held = self.0.hold();
            call.write("begun");
            call.flush().await?;
            call.request().reactor().sleep(SECOND).await;
            drop(held);
            Ok(())
        }
    }
    quietly();
    for seed in 0..20 {
        let probe = Probe::default();
        let (tree, handler, plain) = (probe.clone(), probe.clone(), probe.clone());
        let router = Router::new()
            .mount("/tree", Tree::of(Waiting(tree)))
            .any("/handler", per_request(move || Waiting(handler.clone())))
            .get(
                "/typed",
                typed(move |request: Request| {
                    let held = plain.hold();
                    async move {
                        request.reactor().sleep(SECOND).await;
                        drop(held);
                        "late"
                    }
                }),
            );
        let ground = Ground::new(seed, Site::new(router).server(None));
        for path in ["/tree", "/handler", "/typed"] {
            let peer = ground.connect();
            peer.write(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
            ground.advance(20 * MS);
            assert_eq!(probe.held(), 1, "{path}");
            ground.advance(seed as u32 * 20 * MS);
            peer.reset();
            ground.advance(20 * MS);
            assert_eq!(probe.held(), 0, "{path}, seed {seed}");
        }
        ground.is_clean();
    }
}

/// A body of very many names is read in a time that grows with its size.
#[test]
fn many_names_are_no_burden() {
    let router =
        Router::new().post("/", typed(|Form(form): Form<BTreeMap<String, u32>>| form.len().to_string()));
    let mut limits = ropewalk_web::Limits::default();
    limits.body_sizes.body_bytes_max = 8 << 20;
    let client = TestClient::new(Site::new(router).limits(limits));
    let body: Vec<String> = (0..200_000).map(|number| format!("{number:x}={number}")).collect();
    let request = client.post("/").header("Content-Type", FORM).body(body.join("&"));
    request.send().assert_status(200).assert_text("200000");
}
