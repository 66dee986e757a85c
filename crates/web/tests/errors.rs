//! Pages of errors: by what the client accepts, by the status, and what stays of the error whoever shows it.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use common::{Ground, MS, answer, errors, quietly, refused, sorry};
use ropewalk_reactor::Failure;
use ropewalk_web::{ErrorPages, Limits, Request, Response, Router, Site};

fn site(pages: Option<ErrorPages>) -> Site {
    let mut limits = Limits::default();
    limits.body_sizes.body_bytes_max = 10;
    let router = Router::new()
        .get("/", |_| "hello")
        .get("/own", |_| (404, "a page of the handler's own"))
        .get("/fail", |_| Err::<&str, _>(Failure::new("as asked")))
        .get("/busy", |_| Response::error(503, "come <b>back</b> & \"ask\" again").header("Retry-After", "7"))
        .get("/given", |request: Request| request.responder().respond(Response::error(418, "a teapot")))
        .post("/", |request: Request| async move { request.bytes().await });
    let site = Site::new(router).server(None).limits(limits);
    match pages {
        Some(pages) => site.error_pages(pages),
        None => site,
    }
}

fn ask(pages: Option<ErrorPages>, line: &str, fields: &str) -> String {
    Ground::calm(site(pages)).ask(format!("{line} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"))
}

const BROWSER: &str = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n";

#[test]
fn a_site_without_pages_is_brief_to_everyone() {
    let lean = answer(
        "404 Not Found",
        "Content-Type: text/plain; charset=utf-8\r\n",
        "404 Not Found: there is nothing at this address\n",
    );
    for accept in ["", BROWSER, "Accept: application/json\r\n"] {
        assert_eq!(ask(None, "GET /nowhere", accept), lean);
    }
    assert_eq!(ask(None, "GET /fail", BROWSER), sorry());
}

#[test]
fn the_form_is_what_the_client_likes_best() {
    let form = |accept: &str| {
        let answer = ask(Some(ErrorPages::new()), "GET /nowhere", accept);
        assert!(
            answer.starts_with("HTTP/1.1 404 Not Found\r\n") && answer.contains("\r\nVary: Accept\r\n"),
            "{answer}"
        );
        let (_, rest) = answer.split_once("Content-Type: ").unwrap();
        rest.split(['\r', ';']).next().unwrap().to_owned()
    };
    for (accept, expected) in [
        ("", "text/plain"),
        ("Accept: */*\r\n", "text/plain"),
        (BROWSER, "text/html"),
        ("Accept: application/json\r\n", "application/problem+json"),
        ("Accept: application/problem+json, */*;q=0.1\r\n", "application/problem+json"),
        ("Accept: text/html;q=0.4, application/json;q=0.5\r\n", "application/problem+json"),
        ("Accept: text/html;q=0, application/*;q=0.1\r\n", "application/problem+json"),
        ("Accept: application/json;q=0.5\r\nAccept: TEXT/HTML\r\n", "text/html"),
        ("Accept: image/png\r\n", "text/plain"),
        ("Accept: text/*\r\n", "text/plain"),
    ] {
        assert_eq!(form(accept), expected, "{accept}");
    }
}

#[test]
fn an_error_keeps_its_fields_and_its_words_are_escaped() {
    let pages = || Some(ErrorPages::new());
    let html = ask(pages(), "GET /busy", BROWSER);
    assert!(html.contains("\r\nRetry-After: 7\r\n"), "{html}");
    assert!(html.contains("<p>come &lt;b&gt;back&lt;/b&gt; &amp; &quot;ask&quot; again</p>"), "{html}");
    assert!(html.contains("Content-Security-Policy: default-src 'none'; "), "{html}");
    let json = ask(pages(), "GET /busy", "Accept: application/json\r\n");
    let (_, body) = json.split_once("\r\n\r\n").unwrap();
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    let expected = serde_json::json!({
        "status": 503, "title": "Service Unavailable", "detail": "come <b>back</b> & \"ask\" again"
    });
    assert_eq!(problem, expected);
    let method = ask(pages(), "DELETE /", BROWSER);
    assert!(
        method.starts_with("HTTP/1.1 405 ") && method.contains("\r\nAllow: GET, HEAD, OPTIONS, POST\r\n"),
        "{method}"
    );
    assert!(method.contains("<h1>405 Method Not Allowed</h1>"), "{method}");
}

#[test]
fn head_has_the_length_and_not_the_page() {
    for path in ["/nowhere", "/busy"] {
        let page = |method: &str| ask(Some(ErrorPages::new()), &format!("{method} {path}"), BROWSER);
        let (get, head) = (page("GET"), page("HEAD"));
        assert_eq!(head, &get[..get.find("\r\n\r\n").unwrap() + 4], "{path}");
    }
}

#[test]
fn whoever_says_that_something_is_wrong_has_a_page() {
    let pages = || Some(ErrorPages::new());
    let too_large = ask(pages(), "POST /", &format!("{BROWSER}Content-Length: 11\r\n"));
    assert!(too_large.contains("<h1>413 Content Too Large</h1>"), "{too_large}");
    let teapot = ask(pages(), "GET /given", BROWSER);
    assert!(teapot.starts_with("HTTP/1.1 418 ") && teapot.contains("<p>a teapot</p>"), "{teapot}");
    // What cannot be understood says nothing of what it accepts.
    let bad = Ground::calm(site(pages())).ask("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert!(
        bad.starts_with("HTTP/1.1 400 Bad Request\r\n") && bad.contains("\r\nConnection: close\r\n"),
        "{bad}"
    );
    let own = ask(pages(), "GET /own", BROWSER);
    assert!(own.ends_with("\r\n\r\na page of the handler's own") && !own.contains("Vary"), "{own}");
}

#[test]
fn a_failure_names_its_incident_in_every_form() {
    for (accept, place) in [
        ("", "its log, incident #\n"),
        (BROWSER, "its log, incident #</p>"),
        ("Accept: application/json\r\n", "\"incident\":\""),
    ] {
        let answer = ask(Some(ErrorPages::new()), "GET /fail", accept);
        assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains(place), "{answer}");
        assert!(!answer.contains("as asked"), "{answer}");
        for field in ["Cache-Control: no-store", "X-Content-Type-Options: nosniff"] {
            assert_eq!(answer.matches(&format!("\r\n{field}\r\n")).count(), 1, "{answer}");
        }
        assert_eq!(answer.matches("Content-Security-Policy: ").count(), 1, "{answer}");
    }
    let debugging = Ground::calm(site(Some(ErrorPages::new())).debug(true));
    assert!(debugging.ask(format!("GET /fail HTTP/1.1\r\nHost: h\r\n{BROWSER}\r\n")).contains("as asked"));
}

#[test]
fn a_status_has_a_page_of_ones_own_and_the_others_another() {
    let pages = ErrorPages::new()
        .on(404, |error| {
            assert!(error.wants_html() && !error.wants_json() && error.incident.is_none());
            Response::html(format!("<h1>no {}</h1>", error.path))
                .status(200)
                .header("X-Page", "own")
                .header("allow", "x")
        })
        .otherwise(|error| Response::text(format!("{} {}", error.status, error.html_why())));
    let lost = ask(Some(pages.clone()), "GET /nowhere", BROWSER);
    let fields = "Content-Type: text/html; charset=utf-8\r\nX-Page: own\r\nallow: x\r\n";
    assert_eq!(lost, answer("404 Not Found", fields, "<h1>no /nowhere</h1>"), "the status stays");
    let method = ask(Some(pages.clone()), "DELETE /", BROWSER);
    assert!(method.ends_with("\r\n\r\n405 this address does not take that method"), "{method}");
    let failed = ask(Some(pages), "GET /fail", BROWSER);
    assert!(
        failed.contains("\r\n\r\n500 the server could not answer; the reason is in its log, incident #"),
        "{failed}"
    );
}

#[test]
fn a_page_that_panics_or_never_ends_is_replaced() {
    quietly();
    let pages = ErrorPages::new().on(404, |_| panic!("as asked")).otherwise(|error| match error.status {
        405 => Response::error(200, "in a circle"),
        _ => Response::failure(Failure::new("as asked")),
    });
    let mut answers = Vec::new();
    let logged = errors(|| {
        for line in ["GET /nowhere", "DELETE /", "GET /busy"] {
            answers.push(ask(Some(pages.clone()), line, ""));
        }
    });
    assert_eq!(logged.len(), 1, "{logged:?}");
    let ours = answer(
        "404 Not Found",
        "Content-Type: text/plain; charset=utf-8\r\nVary: Accept\r\n",
        "404 Not Found: there is nothing at this address\n",
    );
    assert_eq!(answers[0], ours);
    assert!(
        answers[1].ends_with("405 Method Not Allowed: this address does not take that method\n"),
        "{answers:?}"
    );
    assert!(answers[2].starts_with("HTTP/1.1 503 "), "{answers:?}");
}

#[test]
fn a_deadline_has_a_page_too() {
    let router = Router::new().get("/", |request: Request| async move {
        request.reactor().sleep(120_000 * MS).await;
        "too late"
    });
    let pages = ErrorPages::new().on(503, |_| Response::text("later"));
    let ground = Ground::calm(Site::new(router).server(None).error_pages(pages));
    let peer = ground.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    ground.advance(61_000 * MS);
    let late = refused("503 Service Unavailable", "").replace("503 Service Unavailable: \n", "later");
    assert_eq!(ground.take(&peer), late.replace("Content-Length: 26", "Content-Length: 5"));
}
