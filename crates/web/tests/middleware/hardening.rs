//! Attacks on middlewares, one sentence each.

use std::cell::RefCell;
use std::rc::Rc;

use ropewalk_web::{CombinedLog, Cors, Handler, Metrics, RateLimit, Request, RequestId, Router, Site};

use crate::GET;
use crate::common::{Ground, SECOND, errors_logged};

fn echo() -> Router {
    Router::new().get("/", |request: Request| request.id().unwrap().to_string())
}

fn with_id(ground: &Ground, id: &str) -> String {
    ground.ask(format!("GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: {id}\r\n\r\n"))
}

#[test]
fn a_stranger_does_not_choose_the_id_of_its_request() {
    let site = Site::new(echo()).with(RequestId::new()).trust_proxies("10.0.0.0/8".parse().unwrap());
    let answer = with_id(&Ground::calm(site), "chosen");
    assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("chosen"), "{answer}");
}

#[test]
fn an_id_cannot_carry_a_field_or_a_line_into_the_answer_or_the_log() {
    let lines = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&lines);
    let log = CombinedLog::new(move |line: &[u8]| sink.borrow_mut().extend_from_slice(line)).request_ids();
    let site = Site::new(echo()).with(RequestId::new()).trust_proxies("127.0.0.0/8".parse().unwrap());
    let ground = Ground::calm(site.observe(Rc::new(log)));
    let long = "a".repeat(129);
    let evil =
        ["a b", "a\tSet-Cookie: b", "a\" \"b", "\u{e9}", "%0d%0aSet-Cookie:b", "a;b", "<script>", "", &long];
    for id in evil {
        let answer = with_id(&ground, id);
        let (_, given) = answer.rsplit_once("\r\n\r\n").unwrap();
        assert!(given.len() == 32 && given.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id:?}: {answer}");
    }
    let lines = String::from_utf8(lines.take()).unwrap();
    assert_eq!(lines.lines().count(), evil.len(), "{lines}");
    assert!(!lines.contains("Cookie") && !lines.contains("script"), "{lines}");
    // A bare line break never gets as far.
    assert!(with_id(&ground, "a\rSet-Cookie: b").starts_with("HTTP/1.1 400 "));
}

#[test]
fn an_origin_is_never_reflected() {
    let listed = || Cors::origins(["https://app.example.org", "http://localhost:3000/"]).credentials();
    let ground = Ground::of(echo().with(RequestId::new()).with(listed()));
    for origin in [
        "https://app.example.org.evil.example",
        "https://evil.example/https://app.example.org",
        "https://xapp.example.org",
        "http://app.example.org",
        "https://app.example.org:8443",
        "https://app.example.org/",
        "https://app.example.org, https://evil.example",
        "null",
        "*",
        "",
    ] {
        for method in ["GET", "OPTIONS"] {
            let asks = "Access-Control-Request-Method: GET\r\n";
            let answer =
                ground.ask(format!("{method} / HTTP/1.1\r\nHost: h\r\nOrigin: {origin}\r\n{asks}\r\n"));
            assert!(!answer.contains("Access-Control-Allow"), "{origin}: {answer}");
            assert!(answer.contains("Vary: Origin"), "{origin}: {answer}");
        }
    }
    let answer = ground.ask("GET / HTTP/1.1\r\nHost: h\r\nOrigin: http://localhost:3000\r\n\r\n");
    assert!(answer.contains("Access-Control-Allow-Origin: http://localhost:3000\r\n"), "{answer}");
}

#[test]
fn anyone_gets_no_credentials_whatever_the_program_says() {
    let mut ground = None;
    let logged = errors_logged(|| {
        ground = Some(Ground::of(echo().with(RequestId::new()).with(Cors::anyone().credentials())));
    });
    assert_eq!(logged, 1);
    let answer = ground.unwrap().ask("GET / HTTP/1.1\r\nHost: h\r\nOrigin: https://evil.example\r\n\r\n");
    assert!(answer.contains("Access-Control-Allow-Origin: *\r\n"), "{answer}");
    assert!(!answer.contains("Credentials"), "{answer}");
}

#[test]
fn a_flood_of_addresses_does_not_grow_the_rate_limit() {
    let limit = Rc::new(RateLimit::new(1, 60 * SECOND).peers_max(50));
    let site = Site::new(Router::new().get("/", |_| "hello")).with(Rc::clone(&limit));
    let ground = Ground::calm(site.trust_proxies("127.0.0.0/8".parse().unwrap()));
    let mut script = String::new();
    for number in 0..2_000 {
        let address = format!("2001:db8:{number:x}::1");
        script += &format!("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: {address}\r\n\r\n");
    }
    let peer = ground.connect();
    let mut got = 0;
    for part in script.as_bytes().chunks(4_000) {
        let mut sent = 0;
        while sent < part.len() {
            sent += peer.write(&part[sent..]);
            got += ground.take(&peer).matches("HTTP/1.1 200 ").count();
            assert!(limit.peers() <= 50);
        }
    }
    assert_eq!(got, 2_000);
    assert_eq!(limit.peers(), 50);
}

#[test]
fn what_clients_send_does_not_grow_the_figures() {
    let metrics = Metrics::new();
    let site = Site::new(Router::new().get("/user/{id}", |_| "hello")).observe(Rc::new(metrics.clone()));
    let ground = Ground::calm(site);
    for number in 0..300 {
        ground.ask(format!("M{number} /user/{number} HTTP/1.1\r\nHost: h\r\n\r\n"));
        ground.ask(format!("GET /{number} HTTP/1.1\r\nHost: h\r\n\r\n"));
    }
    let text = metrics.text();
    assert_eq!(text.lines().filter(|line| line.starts_with("http_requests_total{")).count(), 2, "{text}");
    assert!(ground.ask(GET).starts_with("HTTP/1.1 404 "));
}
