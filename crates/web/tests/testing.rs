//! The client for users' tests, tested: what it shows is what the site does, time passes only as far as it must, and what is wrong is
//! said in words.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::Simulation;
use ropewalk_web::testing::TestClient;
use ropewalk_web::{
    Body, BodyError, BodyLimit, Compression, Cookie, IfClientLeaves, Request, Response, Router, Site,
};

const SECOND: Duration = Duration::from_secs(1);

fn router() -> Router {
    Router::new()
        .get("/", |_| "hello")
        .get("/slow", |request: Request| request.reactor().defer_later(5 * SECOND, || "at last"))
        .get("/set", |_| Response::redirect(302, "/cookie").cookie(Cookie::new("name", "value")))
        .get("/cookie", |request: Request| request.cookie("name").unwrap_or_else(|| "none".to_owned()))
        .get("/query", |request: Request| request.query().unwrap_or_default().to_owned())
        .get("/broken", |request: Request| async move {
            let responder = request.responder();
            responder.write("the beginning\n");
            request.reactor().sleep(SECOND).await;
            responder.fail("no end");
        })
        .get("/lines", |request: Request| async move {
            let responder = request.responder();
            for number in 0..3 {
                responder.write(format!("line {number}\r\n"));
                request.reactor().sleep(60 * SECOND).await;
            }
            responder.write("and the rest");
            responder.finish();
        })
        .post("/echo", |request: Request| async move {
            let kind = request.header("content-type").unwrap_or("none").to_owned();
            let body = request.bytes().await?;
            Ok::<_, BodyError>(Response::new(body).header("X-Was", kind))
        })
        .post("/early", |_| Response::error(413, "no"))
}

#[test]
fn requests_of_every_kind() {
    let client = TestClient::new(router());
    client.get("/").send().assert_status(200).assert_text("hello").assert_contains("ell");
    assert_eq!(client.head("/").send().assert_status(200).header("content-length"), Some("5"));
    client.delete("/").send().assert_status(405);
    client.get("/query?a=1").query("b", "2 3").send().assert_text("a=1&b=2+3");
    let echoed = client.post("/echo").json(&[1, 2]).send();
    echoed.assert_json(&[1, 2]).assert_header("X-Was", "application/json");
    assert_eq!(echoed.json::<Vec<u8>>(), [1, 2]);
    let echoed = client.post("/echo").form(&[("a", "1 2"), ("b", "ä")]).send();
    echoed.assert_text("a=1+2&b=%C3%A4").assert_header("x-was", "application/x-www-form-urlencoded");
    client.post("/echo").body(vec![7; 300_000]).expect_continue().send().assert_status(200);
    assert_eq!(client.connections(), 1, "it is kept");
}

#[test]
fn cookies_are_kept_and_redirects_followed_where_that_is_asked_for() {
    let client = TestClient::new(router());
    client.get("/set").send().assert_redirect("/cookie");
    assert_eq!(client.cookie("name").as_deref(), Some("value"));
    client.cookies().clear();
    client.get("/cookie").send().assert_text("none");
    let there = client.get("/set").follow_redirects().send();
    assert_eq!(there.assert_text("value").path(), "/cookie");
}

#[test]
fn time_passes_as_far_as_an_answer_takes() {
    let client = TestClient::new(router());
    let before = client.reactor().now();
    client.get("/slow").send().assert_text("at last");
    let took = client.reactor().now().since(before);
    assert!(took >= 5 * SECOND && took < 6 * SECOND, "{took:?}");
    let waiting = client.get("/slow").begin();
    client.advance(4 * SECOND);
    assert!(!waiting.is_answered());
    client.advance(2 * SECOND);
    assert!(waiting.is_answered());
    waiting.wait().assert_text("at last");
}

#[test]
fn the_sites_own_limits_and_layers_hold() {
    let site = Site::new(router()).with(Compression::new()).with(BodyLimit::new(10));
    let client = TestClient::new(site);
    client.post("/echo").body("a longer body than that").send().assert_status(413);
    let long = format!("/query?{}", "a".repeat(5000));
    let plain = client.get(&long).send();
    assert_eq!(plain.header("Content-Encoding"), None, "nothing is asked for that the test did not ask for");
    let packed = client.get(&long).header("Accept-Encoding", "gzip").send();
    packed.assert_header("Content-Encoding", "gzip");
    assert!(packed.bytes().starts_with(&[0x1f, 0x8b]));
}

#[test]
fn a_stream_is_looked_at_while_it_comes() {
    let client = TestClient::new(router());
    let mut stream = client.get("/lines").open();
    stream.assert_status(200);
    assert_eq!(stream.next_line().as_deref(), Some("line 0"));
    assert_eq!(stream.within(50 * SECOND), b"");
    assert_eq!(stream.within(20 * SECOND), b"line 1\r\n");
    assert!(!stream.is_ended());
    assert_eq!(stream.next_line().as_deref(), Some("line 2"));
    assert_eq!(stream.next_line().as_deref(), Some("and the rest"));
    assert_eq!(stream.next_line(), None);
    assert!(stream.is_ended());
    assert!(client.get("/broken").open().wait_for_failure().is_some());
    assert!(client.get("/broken").begin().wait_for_failure().is_some());
    assert!(client.get("/").begin().wait_for_failure().is_none());
}

/// A site that notes what becomes of its uploads and waits.
fn noting() -> (Router, Rc<RefCell<Vec<String>>>) {
    let notes = Rc::new(RefCell::new(Vec::new()));
    let (noted, told) = (Rc::clone(&notes), Rc::clone(&notes));
    let router = Router::new()
        .post("/", move |mut request: Request| {
            let noted = Rc::clone(&noted);
            async move {
                loop {
                    match request.piece().await {
                        Ok(Some(piece)) => noted.borrow_mut().push(String::from_utf8(piece).unwrap()),
                        Ok(None) => return "all of it",
                        Err(error) => {
                            noted.borrow_mut().push(error.to_string());
                            return "not all";
                        }
                    }
                }
            }
        })
        .get("/", move |request: Request| {
            request.if_client_leaves(IfClientLeaves::Cancel);
            let guard = Told(Rc::clone(&told));
            let waiting = request.reactor().defer_later(3600 * SECOND, || "late");
            async move {
                let _guard = guard;
                waiting.await
            }
        });
    (router, notes)
}

struct Told(Rc<RefCell<Vec<String>>>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.borrow_mut().push("let go".to_owned());
    }
}

#[test]
fn uploads_go_piece_by_piece_and_clients_leave_in_the_middle() {
    let (router, notes) = noting();
    let client = TestClient::new(router);
    let upload = client.post("/").upload();
    upload.write("one");
    assert_eq!(*notes.borrow(), ["one"]);
    upload.write("two");
    assert!(!upload.is_answered());
    upload.finish().assert_text("all of it");
    assert_eq!(*notes.borrow(), ["one", "two"]);
    notes.borrow_mut().clear();
    let sized = client.post("/").upload_sized(100);
    sized.write("part");
    sized.reset();
    assert_eq!(*notes.borrow(), ["part", "the connection was lost in the middle of the body"]);
    notes.borrow_mut().clear();
    let waiting = client.get("/").begin();
    assert_eq!(client.connections(), 1);
    waiting.disconnect();
    assert_eq!(*notes.borrow(), ["let go"]);
    assert_eq!(client.connections(), 0);
    // Dropped is left, too.
    drop(client.get("/").begin());
    client.advance(SECOND);
    assert_eq!((notes.borrow().len(), client.connections()), (2, 0));
}

#[test]
fn an_answer_before_the_end_of_the_body_is_seen() {
    let client = TestClient::new(router());
    let upload = client.post("/early").upload();
    assert!(upload.is_answered());
    upload.write("nobody reads this");
    upload.finish().assert_status(413);
}

/// What it says when it panics.
fn complaint(check: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(check)).unwrap_err();
    *payload.downcast::<String>().unwrap()
}

#[test]
fn what_is_wrong_is_said() {
    let client = TestClient::new(router()).with_patience(10 * SECOND);
    let wrong = complaint(|| {
        client.get("/").send().assert_status(404);
    });
    assert!(wrong.starts_with("GET /: the status should be 404, and this came:\n200\n"), "{wrong}");
    assert!(wrong.ends_with("\n\nhello"), "{wrong}");
    let wrong = complaint(|| {
        let _: u8 = client.get("/").send().json();
    });
    assert!(wrong.contains("the body is not this JSON"), "{wrong}");
    let wrong = complaint(|| drop(client.get("/broken").send()));
    assert!(wrong.starts_with("GET /broken: the answer has broken off"), "{wrong}");
    let wrong = complaint(|| drop(client.get("/lines").send()));
    assert_eq!(wrong, "GET /lines: the answer has no end within 10s of virtual time");
    let never = TestClient::new(Router::new().get("/", |request: Request| {
        request.wait_long();
        request.reactor().defer_later(3600 * SECOND, || "late")
    }));
    let wrong = complaint(|| drop(never.get("/").send()));
    assert_eq!(wrong, "GET /: there is no answer within 600s of virtual time");
}

#[test]
fn every_seed_is_another_network_and_the_same_answer() {
    for seed in 0..20 {
        let pieces = Rc::new(Cell::new(0));
        let counted = Rc::clone(&pieces);
        let body = vec![7_u8; 400_000];
        let sent = body.clone();
        let router = Router::new().get("/", move |_| Body::from(sent.clone())).post(
            "/",
            move |mut request: Request| {
                let counted = Rc::clone(&counted);
                async move {
                    while request.piece().await?.is_some() {
                        counted.set(counted.get() + 1);
                    }
                    Ok::<_, BodyError>("")
                }
            },
        );
        let client = TestClient::on(Simulation::new(seed), router);
        assert!(client.get("/").send().bytes() == body, "seed {seed}");
        client.post("/").body(body).send().assert_status(200);
        assert!(pieces.get() > 1, "seed {seed}");
    }
}
