//! Every way in which a handler can fail: what the client gets, what the log is told, and that the next request on the
//! connection gets its own answer and nothing of the failed one.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;
#[path = "failing/ways.rs"]
mod ways;

use std::cell::RefCell;
use std::rc::Rc;

use common::{Ground, MS, SECOND, answer, errors, everyhow, ok, quietly, sorry};
use ropewalk_reactor::{Failure, Peer, Random};
use ropewalk_web::{Request, Responder, Response, Router, Site};
use ways::Ways;

const HTML: &str = "Accept: text/html,*/*;q=0.8\r\n";

fn request(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n")
}

fn get(path: &str) -> String {
    request("GET", path, "")
}

fn site(ways: Ways) -> Site {
    Site::new(ways.router.get("/", |_| "hello")).server(None)
}

/// What one request, and another behind it on the same connection, come to: the text, and the errors in the log.
fn asked(ways: fn() -> Ways, path: &str) -> (Ground, Peer, String, Vec<String>) {
    let ground = Ground::calm(site(ways()));
    let (mut text, mut peer) = (String::new(), None);
    let errors = errors(|| {
        let sent = ground.send(get(path) + &get("/"));
        text = ground.take(&sent);
        ground.advance(30 * MS);
        text += &ground.take(&sent);
        peer = Some(sent);
    });
    (ground, peer.unwrap(), text, errors)
}

/// Asserts that of the errors one is this request's incident, which says everything.
fn assert_incident(path: &str, errors: &[String], when: &str) {
    let incidents: Vec<_> = errors.iter().filter(|line| line.starts_with("incident=")).collect();
    let [line] = incidents[..] else { panic!("{path}: one incident, not {errors:#?}") };
    assert!(
        line.contains(&format!(" method=GET path={path} handler=crates/web/tests/failing/ways.rs:")),
        "{line}"
    );
    assert!(line.contains(&format!(" {when}: ")), "{line}");
    assert!(line.contains("\n    made at ") || line.contains("at crates/web/tests/"), "{line}");
    assert!(errors.iter().any(|line| line.contains("as asked")) || !path.contains("panic"), "{errors:#?}");
}

#[test]
fn before_the_first_byte_it_is_a_500_and_the_connection_stays() {
    quietly();
    for path in ways::before().paths {
        let (ground, peer, text, errors) = asked(ways::before, path);
        assert_eq!(text, sorry() + &ok("hello"), "{path}");
        assert_incident(path, &errors, "a handler failed");
        // What the loop or the deferred caught is a line of theirs; a late writer could not know, and is no line.
        let caught_elsewhere = path == "/callback";
        assert_eq!(errors.len(), 1 + usize::from(caught_elsewhere), "{path}: {errors:#?}");
        assert_eq!(ground.statistics().failures, 1, "{path}");
        peer.write(get("/").as_bytes());
        assert_eq!(ground.take(&peer), ok("hello"), "{path}");
        drop(peer);
        ground.is_clean();
    }
}

#[test]
fn however_the_bytes_come_it_is_the_same() {
    quietly();
    // Cut in every way, on a hundred networks. One for each side that a failure can come from.
    for path in ["/panic", "/deferred-panic", "/thread-panic", "/callback", "/after-its-deferred-panic"] {
        let said = everyhow(|| site(ways::before()), get(path) + &get("/"));
        assert_eq!((said.text, said.closed), (sorry() + &ok("hello"), false), "{path}");
    }
}

#[test]
fn after_the_first_byte_the_connection_is_broken_off() {
    quietly();
    for path in ways::between().paths {
        let (ground, peer, text, errors) = asked(ways::between, path);
        assert!(peer.is_reset(), "{path}: {text}");
        assert!(
            !text.contains("0\r\n\r\n") && !text.contains("hello") && !text.contains("late"),
            "{path}: {text}"
        );
        assert_incident(path, &errors, "a handler failed in the middle of its answer, which was broken off");
        assert_eq!(ground.statistics().failures, 1, "{path}");
        ground.is_clean();
    }
}

#[test]
fn what_is_broken_off_is_never_completed() {
    let kept: Rc<RefCell<Vec<Responder>>> = Rc::default();
    let keeps = Rc::clone(&kept);
    let ground = Ground::of(Router::new().get("/", move |request: Request| {
        keeps.borrow_mut().extend([request.responder(), request.responder()]);
    }));
    let peer = ground.send(get("/"));
    let [responder, other] = &kept.take()[..] else { unreachable!("it took two") };
    let told = Rc::new(RefCell::new(String::new()));
    let hears = Rc::clone(&told);
    let finish = responder.notify_finish();
    drop(finish.add_both(move |outcome| *hears.borrow_mut() = format!("{outcome:?}")));
    responder.write("begun");
    responder.fail("as asked");
    other.write("more");
    other.finish();
    assert!(!responder.is_finished());
    ground.advance(MS);
    assert!(peer.is_reset() && responder.is_disconnected());
    assert!(told.borrow().starts_with("Err(aborted by this side"), "{told:?}");
    ground.is_clean();
}

#[test]
fn a_client_that_leaves_while_something_fails_leaves_nothing() {
    quietly();
    for seed in 0..300 {
        let make = [ways::before, ways::between, ways::after][seed as usize % 3];
        let ways = make();
        let mut random = Random::new(seed);
        let path = ways.paths[random.below(ways.paths.len() as u64) as usize];
        let ground = Ground::new(seed, site(ways));
        let peer = ground.connect();
        let next = if random.below(2) == 0 { get("/") } else { String::new() };
        peer.write((get(path) + &next).as_bytes());
        ground.advance(MS * random.below(12) as u32);
        let stays = match random.below(3) {
            0 => {
                peer.reset();
                None
            }
            1 => {
                peer.shutdown_write();
                Some(peer)
            }
            _ => Some(peer),
        };
        ground.advance(MS * random.below(12) as u32);
        drop(stays);
        ground.advance(100 * MS);
        ground.is_clean();
        let other = ground.send(get("/"));
        ground.advance(100 * MS);
        assert_eq!(ground.take(&other), ok("hello"), "seed {seed} {path}");
    }
}

#[test]
fn after_the_answer_only_the_log_is_told() {
    quietly();
    for path in ways::after().paths {
        let (ground, peer, text, errors) = asked(ways::after, path);
        let whole = if path.contains("given") || path == "/callback" {
            ok("whole")
        } else {
            answer("200 OK", "Content-Type: text/plain; charset=utf-8\r\n", "")
        };
        assert_eq!(text, whole + &ok("hello"), "{path}");
        if path == "/callback" {
            // The loop caught it, and there is nothing left to say of the request.
            assert!(errors.len() == 1 && errors[0].contains("panicked: as asked"), "{errors:?}");
        } else {
            assert_incident(path, &errors, "a handler failed after its answer");
        }
        assert!(!peer.is_ended(), "{path}");
        drop(peer);
        ground.is_clean();
    }
}

#[test]
fn one_that_begins_and_breaks_off_does_so_at_once() {
    quietly();
    let ground = Ground::calm(site(ways::between()));
    let peer = ground.send(get("/panic"));
    assert!(peer.is_reset(), "within a millisecond, and not when somebody writes the next time");
    ground.is_clean();
}

/// A failure with a cause, and words that would be markup.
fn hostile() -> Failure {
    let mut failure = Failure::new(std::io::Error::other(Told(std::fmt::Error)));
    failure.pass(std::panic::Location::caller());
    failure
}

#[derive(Debug)]
struct Told(std::fmt::Error);

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<script>alert(\"1\")</script> & 'more'")
    }
}

impl std::error::Error for Told {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

fn debugged(seed: u64, debug: bool) -> Ground {
    let router = Router::new()
        .get("/", |_| "hello")
        .get("/panic", |_| -> String { panic!("<script>as asked</script>") })
        .get("/{*rest}", |_| Err::<String, _>(hostile()))
        .post("/full", |_| Response::failure(hostile()).status(507).header("Retry-After", "60"))
        .put("/full", |_| Response::failure(hostile()).status(204));
    Ground::new(seed, Site::new(router).server(None).debug(debug))
}

/// The answer as it was sent, and the log.
fn told(ground: &Ground, bytes: &str) -> (String, Vec<String>) {
    let mut text = String::new();
    let errors = errors(|| {
        let peer = ground.send(bytes);
        ground.advance(SECOND);
        text = String::from_utf8(peer.take()).unwrap();
    });
    (text, errors)
}

fn incident(text: &str) -> &str {
    let at = text.find("ncident ").map(|at| at + "ncident ".len()).expect("it names the incident");
    &text[at..at + 10]
}

#[test]
fn the_client_and_the_log_have_the_same_incident_and_only_the_log_the_reason() {
    let ground = debugged(1, false);
    let (text, errors) = told(&ground, &request("GET", "/<script>?secret=1", HTML));
    let id = incident(&text);
    assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert!(
        !text.contains("script") && !text.contains("failing.rs") && !text.contains("text/html"),
        "{text}"
    );
    let [line] = &errors[..] else { panic!("one line: {errors:?}") };
    // Which connection, and that it is the first exchange there.
    let (of, rest) = line.split_once(" method=GET ").unwrap();
    assert!(of.starts_with(&format!("incident={id} exchange=#")) && of.ends_with(".1"), "{line}");
    assert!(rest.starts_with("path=/<script> handler=crates/web/tests/failing.rs:"), "{line}");
    assert!(line.contains("alert(\"1\")") && line.contains("\n    because an error occurred"), "{line}");
    assert!(line.contains("\n    made at crates/web/tests/failing.rs:"), "{line}");
    assert!(line.contains("\n    passed  crates/web/tests/failing.rs:"), "{line}");
    assert!(!line.contains("secret"), "{line}");

    // It is the seed's, and the next one's is another.
    let (again, _) = told(&debugged(1, false), &request("GET", "/<script>?secret=1", HTML));
    assert_eq!(incident(&again), id);
    let (other, _) = told(&debugged(2, false), &request("GET", "/<script>?secret=1", HTML));
    assert_ne!(incident(&other), id);
    let (next, _) = told(&ground, &get("/x"));
    assert_ne!(incident(&next), id);
}

#[test]
fn the_page_of_a_site_that_debugs_says_everything_and_runs_nothing() {
    quietly();
    let ground = debugged(1, true);
    let (text, errors) = told(&ground, &request("GET", "/<script>alert(2)</script>", HTML));
    let (head, page) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 500 Internal Server Error\r\n"), "{head}");
    for field in [
        "Content-Type: text/html; charset=utf-8",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
    ] {
        assert!(head.contains(&format!("\r\n{field}")), "{field}: {head}");
    }
    assert!(!page.contains("<script") && !page.contains("</script"), "{page}");
    for part in [
        "<title>500 Internal Server Error: &lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;more&#39;</title>",
        "<h1>&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;more&#39;</h1>",
        "<code>GET /&lt;script&gt;alert(2)&lt;/script&gt;</code>",
        "<h2>Because</h2>\n<ol>\n<li>an error occurred when formatting an argument</li>",
        "<h2>Handler</h2>\n<p><code>crates/web/tests/failing.rs:",
        "<h2>Made at</h2>\n<p><code>crates/web/tests/failing.rs:",
        "<h2>Passed</h2>\n<ol>\n<li>crates/web/tests/failing.rs:",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(errors.len() == 1 && errors[0].contains(&format!("incident={} ", incident(page))), "{errors:?}");
    // A panic is text as well.
    let (text, _) = told(&ground, &request("GET", "/panic", HTML));
    assert!(text.contains("<h1>panicked: &lt;script&gt;as asked&lt;/script&gt;</h1>"), "{text}");
    assert!(text.contains("<h2>Caught at</h2>"), "{text}");
}

#[test]
fn who_does_not_ask_for_a_page_gets_text() {
    let ground = debugged(1, true);
    let (text, _) = told(&ground, &request("GET", "/<b>", "Accept: */*\r\n"));
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("\r\nContent-Type: text/plain; charset=utf-8\r\n"), "{head}");
    assert!(head.contains("\r\nX-Content-Type-Options: nosniff\r\n"), "{head}");
    assert!(head.contains("\r\nCache-Control: no-store\r\n"), "{head}");
    let beginning =
        format!("500 Internal Server Error, incident {}\nGET /<b>\nhandler crates/web/", incident(&text));
    assert!(body.starts_with(&beginning), "{body}");
    assert!(body.contains("<script>alert(\"1\")</script> & 'more'\n    because an error"), "{body}");
}

#[test]
fn a_head_has_the_head_of_the_page_and_no_body() {
    for debug in [false, true] {
        for fields in ["", HTML] {
            let ground = debugged(1, debug);
            let lengths = ["GET", "HEAD"].map(|method| {
                let (text, _) = told(&ground, &(request(method, "/x", fields) + &get("/")));
                let (head, rest) = text.split_once("\r\n\r\n").unwrap();
                assert_eq!(rest.starts_with("HTTP/1.1 200 OK"), method == "HEAD", "{text}");
                assert!(text.ends_with("\r\n\r\nhello"), "{text}");
                let (_, length) = head.split_once("Content-Length: ").unwrap();
                length.lines().next().unwrap().to_owned()
            });
            assert_eq!(lengths[0], lengths[1], "RFC 9110 section 8.6");
        }
    }
}

#[test]
fn a_failure_may_have_a_status_and_fields_of_its_own_but_looks_like_none_else() {
    let ground = debugged(1, false);
    let (text, _) = told(&ground, &request("POST", "/full", ""));
    assert!(text.starts_with("HTTP/1.1 507 Insufficient Storage\r\n"), "{text}");
    assert!(text.contains("\r\nRetry-After: 60\r\n"), "{text}");
    let (text, _) = told(&ground, &request("PUT", "/full", ""));
    assert!(text.starts_with("HTTP/1.1 500 Internal Server Error\r\n"), "{text}");
}

#[test]
fn misuse_is_logged_once_with_its_place_and_is_never_a_second_answer() {
    let ground = Ground::of(
        Router::new()
            .get("/", |_| "hello")
            .get("/twice", |request: Request| {
                request.responder().finish();
                "a second one"
            })
            .get("/late", |request: Request| {
                let responder = request.responder();
                responder.respond(Response::text("first"));
                request.reactor().call_later(5 * MS, move || {
                    for _ in 0..100 {
                        responder.write("late");
                        responder.set_status(500);
                        responder.finish();
                        responder.respond(Response::text("late"));
                    }
                });
            }),
    );
    let (text, errors) = told(&ground, &(get("/twice") + &get("/")));
    assert!(text.ends_with("hello") && text.matches("HTTP/1.1 200 OK").count() == 2, "{text}");
    let [line] = &errors[..] else { panic!("one line: {errors:?}") };
    assert!(line.starts_with("method=GET path=/twice handler=crates/web/tests/failing.rs:"), "{line}");
    let (text, errors) = told(&ground, &(get("/late") + &get("/") + &get("/")));
    assert!(text.matches("HTTP/1.1 200 OK").count() == 3 && text.ends_with("hello"), "{text}");
    let [line] = &errors[..] else { panic!("one line: {errors:?}") };
    assert!(
        line.contains(" taken_at=crates/web/tests/failing.rs:")
            && line.contains(" at=crates/web/tests/failing.rs:")
    );
    assert!(line.ends_with("write came too late: the answer has begun or is finished"), "{line}");
    assert_eq!(ground.statistics().failures, 0);
    ground.is_clean();
}
