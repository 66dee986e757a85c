//! The middlewares that come with the crate, each by what it promises.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_web::{
    AccessObserver, BodyLimit, CombinedLog, Cors, Handler, IfClientLeaves, Metrics, RateLimit, Request,
    RequestId, Response, Router, SecurityHeaders, Site, Timeout, handler,
};

use crate::GET;
use crate::common::{Ground, MS, Probe, SECOND, errors, ok};

fn hello() -> Router {
    Router::new().get("/", |_| "hello")
}

/// Requests of this simulated network come from here.
const TRUSTED: &str = "127.0.0.0/8";

#[test]
fn a_request_gets_an_id_that_is_echoed_and_logged() {
    let lines = Rc::new(RefCell::new(String::new()));
    let sink = Rc::clone(&lines);
    let log =
        CombinedLog::new(move |line: &[u8]| sink.borrow_mut().push_str(std::str::from_utf8(line).unwrap()));
    let router = Router::new().get("/", |request: Request| request.id().unwrap().to_string());
    let site = Site::new(router).observe(Rc::new(log.request_ids())).with(RequestId::new());
    let ground = Ground::calm(site.trust_proxies(TRUSTED.parse().unwrap()));
    let first = ground.ask(GET);
    let (_, id) = first.rsplit_once("\r\n\r\n").unwrap();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{first}");
    assert!(first.contains(&format!("\r\nX-Request-Id: {id}\r\n")), "{first}");
    assert!(lines.borrow().ends_with(&format!(" \"{id}\"\n")), "{lines:?}");
    assert!(!ground.ask(GET).contains(id), "another request, another id");
    let kept = ground.ask("GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: a-B.7~_\r\n\r\n");
    assert!(kept.ends_with("\r\n\r\na-B.7~_") && kept.contains("X-Request-Id: a-B.7~_\r\n"), "{kept}");
}

#[test]
fn an_incident_is_logged_with_the_id_of_its_request() {
    let router = Router::new().get("/", |_| Response::failure(std::io::Error::other("as asked")));
    let ground = Ground::calm(Site::new(router).with(RequestId::new()));
    let mut answer = String::new();
    let logged = errors(|| answer = ground.ask(GET));
    let (_, rest) = answer.split_once("X-Request-Id: ").unwrap();
    assert!(logged[0].contains(&format!("request={} ", &rest[..32])), "{logged:?} {answer}");
}

/// Routes that answer too late, each in its own way; what they hold is counted.
fn slow_routes(probe: &Probe) -> Router {
    let [first, second, third, fourth] = [(); 4].map(|()| probe.clone());
    Router::new()
        .get("/future", move |request: Request| {
            let held = first.hold();
            async move {
                request.reactor().sleep(30 * SECOND).await;
                drop(held);
                "too late"
            }
        })
        .get("/deferred", move |request: Request| {
            let held = second.hold();
            let (firing, deferred) =
                ropewalk_reactor::Deferred::with_canceller(request.reactor(), move |_| drop(held));
            request.reactor().call_later(30 * SECOND, move || {
                // It fails, for nobody waits any more.
                assert!(firing.callback("too late").is_err());
            });
            deferred
        })
        .get("/responder", |request: Request| {
            let responder = request.responder();
            request.reactor().call_later(6 * SECOND, move || {
                responder.write("too late");
                responder.finish();
            });
        })
        .post("/body", move |request: Request| {
            let held = third.hold();
            async move {
                let body = request.bytes().await;
                drop(held);
                body
            }
        })
        .put("/put", move |request: Request| {
            let held = fourth.hold();
            async move {
                request.reactor().sleep(30 * SECOND).await;
                drop(held);
                "too late"
            }
        })
}

#[test]
fn a_late_handler_is_answered_for_and_cancelled() {
    for form in ["/future", "/deferred", "/responder", "/body", "/put"] {
        let probe = Probe::default();
        let ground = Ground::of(slow_routes(&probe).with(Timeout::new(5 * SECOND).status(504)));
        let (method, length) = match form {
            "/body" => ("POST", "Content-Length: 5\r\n"),
            "/put" => ("PUT", ""),
            _ => ("GET", ""),
        };
        let logged = errors(|| {
            let peer = ground.send(format!("{method} {form} HTTP/1.1\r\nHost: h\r\n{length}\r\n"));
            ground.advance(5 * SECOND - 5 * MS);
            assert_eq!(ground.take(&peer), "", "{form}");
            ground.advance(5 * MS);
            let answer = ground.take(&peer);
            assert!(answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{form}: {answer}");
            assert_eq!(probe.held(), 0, "{form}: cancelled");
            ground.advance(2 * SECOND);
            assert_eq!(ground.take(&peer), "", "{form}");
            peer.write(if form == "/body" {
                b"12345GET / HTTP/1.1\r\nHost: h\r\n\r\n"
            } else {
                GET.as_bytes()
            });
            assert!(ground.take(&peer).starts_with("HTTP/1.1 404 "), "{form}: the connection goes on");
        });
        assert_eq!(logged.len(), 1, "{form}: {logged:?}");
        assert_eq!(ground.statistics().handler_timeouts, 1);
        ground.advance(30 * SECOND);
        ground.is_clean();
    }
}

#[test]
fn a_handler_that_chose_to_complete_does_so_behind_its_time() {
    let done = Rc::new(RefCell::new(false));
    let told = Rc::clone(&done);
    let slow = handler(move |request: Request| {
        let told = Rc::clone(&told);
        async move {
            request.reactor().sleep(10 * SECOND).await;
            *told.borrow_mut() = true;
            "done"
        }
    });
    let ground = Ground::of(slow.if_client_leaves(IfClientLeaves::Complete).with(Timeout::new(SECOND)));
    let peer = ground.send(GET);
    ground.advance(2 * SECOND);
    assert!(ground.take(&peer).starts_with("HTTP/1.1 503 "));
    assert!(!*done.borrow());
    ground.advance(10 * SECOND);
    assert!(*done.borrow());
}

#[test]
fn a_handler_in_time_is_left_alone_and_leaves_no_timer() {
    let slow = |request: Request| {
        let reactor = request.reactor().clone();
        async move {
            reactor.sleep(90 * SECOND).await;
            "hello"
        }
    };
    // Longer than the site would wait, and the shortest of several.
    let limit = |seconds| Timeout::new(seconds * SECOND);
    let ground = Ground::of(Router::new().get("/", slow).with(limit(100)).with(limit(200)));
    let peer = ground.send(GET);
    ground.advance(90 * SECOND);
    assert_eq!(ground.take(&peer), ok("hello"));
    drop(peer);
    ground.is_clean();
    let ground = Ground::of(Router::new().get("/", slow).with(limit(200)).with(limit(10)));
    let peer = ground.send(GET);
    ground.advance(11 * SECOND);
    assert!(ground.take(&peer).starts_with("HTTP/1.1 503 "));
}

#[test]
fn a_peer_that_asks_too_often_is_told_when_to_come_back() {
    let limit = || RateLimit::new(2, 60 * SECOND);
    let ground =
        Ground::calm(Site::new(hello()).with(limit()).server(None).trust_proxies(TRUSTED.parse().unwrap()));
    let ask =
        |client: &str| ground.ask(format!("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: {client}\r\n\r\n"));
    for _ in 0..2 {
        assert_eq!(ask("192.0.2.1"), ok("hello"));
    }
    let refused = ask("192.0.2.1");
    assert!(refused.starts_with("HTTP/1.1 429 ") && refused.contains("\r\nRetry-After: 30\r\n"), "{refused}");
    assert_eq!(ask("192.0.2.2"), ok("hello"), "another peer");
    assert_eq!(ask("2001:db8::1"), ok("hello"));
    assert_eq!(ask("2001:db8::2"), ok("hello"), "of the same customer");
    assert!(ask("2001:db8::3").starts_with("HTTP/1.1 429 "));
    ground.advance(30 * SECOND);
    assert_eq!(ask("192.0.2.1"), ok("hello"), "a token has come");
    assert!(ask("192.0.2.1").starts_with("HTTP/1.1 429 "));
}

fn cors() -> Cors {
    Cors::origins(["https://app.example.org"])
        .methods(["GET", "PUT"])
        .headers(["X-Token"])
        .expose(["X-Total"])
        .credentials()
        .max_age(10 * SECOND)
}

fn preflight(origin: &str) -> String {
    format!("OPTIONS / HTTP/1.1\r\nHost: h\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: PUT\r\n\r\n")
}

#[test]
fn a_preflight_of_a_listed_origin_is_told_what_it_may() {
    let ground = Ground::of(hello().with(cors()));
    let answer = ground.ask(preflight("https://app.example.org"));
    let expected = "HTTP/1.1 204 No Content\r\nVary: Origin\r\nVary: Access-Control-Request-Method\r\n\
                    Vary: Access-Control-Request-Headers\r\nAccess-Control-Allow-Origin: https://app.example.org\r\n\
                    Access-Control-Allow-Methods: GET, PUT\r\nAccess-Control-Allow-Headers: X-Token\r\n\
                    Access-Control-Allow-Credentials: true\r\nAccess-Control-Max-Age: 10\r\n\r\n";
    assert_eq!(answer, expected);
    let other = ground.ask(preflight("https://evil.example"));
    assert!(other.starts_with("HTTP/1.1 204 ") && !other.contains("Access-Control-Allow"), "{other}");
    // Without the question it is no preflight.
    let options = ground.ask("OPTIONS / HTTP/1.1\r\nHost: h\r\nOrigin: https://app.example.org\r\n\r\n");
    assert!(options.contains("\r\nAllow: GET, HEAD, OPTIONS\r\n"), "{options}");
}

#[test]
fn an_answer_names_the_listed_origin_and_varies_for_all() {
    let ground = Ground::of(hello().with(cors()));
    let ask = |origin: &str| ground.ask(format!("GET / HTTP/1.1\r\nHost: h\r\n{origin}\r\n"));
    let answer = ask("Origin: https://app.example.org\r\n");
    for field in [
        "Vary: Origin",
        "Access-Control-Allow-Origin: https://app.example.org",
        "Access-Control-Allow-Credentials: true",
        "Access-Control-Expose-Headers: X-Total",
    ] {
        assert!(answer.contains(&format!("\r\n{field}\r\n")), "{field}: {answer}");
    }
    for origin in ["", "Origin: https://evil.example\r\n"] {
        let answer = ask(origin);
        assert!(answer.contains("\r\nVary: Origin\r\n") && !answer.contains("Access-Control"), "{answer}");
    }
    // A page may read why it failed.
    let missing = ground.ask("GET /nowhere HTTP/1.1\r\nHost: h\r\nOrigin: https://app.example.org\r\n\r\n");
    assert!(
        missing.starts_with("HTTP/1.1 404 ") && missing.contains("Access-Control-Allow-Origin"),
        "{missing}"
    );
    let open = Ground::of(hello().with(Cors::anyone()));
    let answer = open.ask("GET / HTTP/1.1\r\nHost: h\r\nOrigin: https://evil.example\r\n\r\n");
    assert!(
        answer.contains("\r\nAccess-Control-Allow-Origin: *\r\n") && !answer.contains("Vary"),
        "{answer}"
    );
}

#[test]
fn careful_fields_are_on_every_answer_and_a_handlers_own_stay() {
    let router = hello().get("/own", |_| Response::text("own").header("x-frame-options", "SAMEORIGIN"));
    let headers = SecurityHeaders::new().strict_transport(60 * SECOND, true);
    let ground = Ground::calm(Site::new(router).with(headers).trust_proxies(TRUSTED.parse().unwrap()));
    for target in ["/", "/nowhere"] {
        let answer = ground.ask(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        for field in [
            "X-Content-Type-Options: nosniff",
            "X-Frame-Options: DENY",
            "Referrer-Policy: strict-origin-when-cross-origin",
            "Content-Security-Policy: frame-ancestors 'none'",
        ] {
            assert!(answer.contains(&format!("\r\n{field}\r\n")), "{field}: {answer}");
        }
        assert!(!answer.contains("Strict-Transport-Security"), "not without TLS: {answer}");
    }
    let secure = ground.ask("GET /own HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\n\r\n");
    assert!(secure.contains("\r\nStrict-Transport-Security: max-age=60; includeSubDomains\r\n"), "{secure}");
    assert!(secure.contains("\r\nx-frame-options: SAMEORIGIN\r\n") && !secure.contains("DENY"), "{secure}");
}

#[test]
fn a_body_has_the_limit_of_its_route() {
    let length = |request: Request| async move { request.bytes().await.map(|bytes| bytes.len().to_string()) };
    let upload = handler(length).with(BodyLimit::new(10));
    let ground = Ground::of(Router::new().route("POST", "/small", upload).post("/", length));
    let post =
        |path: &str, framing: &str| ground.ask(format!("POST {path} HTTP/1.1\r\nHost: h\r\n{framing}"));
    assert_eq!(post("/small", "Content-Length: 10\r\n\r\n0123456789"), ok("10"));
    assert!(post("/small", "Content-Length: 11\r\n\r\n").starts_with("HTTP/1.1 413 "), "before it is sent");
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    assert_eq!(post("/small", &format!("{chunked}a\r\n0123456789\r\n0\r\n\r\n")), ok("10"));
    assert!(
        post("/small", &format!("{chunked}6\r\n012345\r\n6\r\n012345\r\n0\r\n\r\n"))
            .starts_with("HTTP/1.1 413 ")
    );
    assert_eq!(post("/", "Content-Length: 11\r\n\r\n01234567890"), ok("11"));
    let expecting = post("/small", "Content-Length: 11\r\nExpect: 100-continue\r\n\r\n");
    assert!(expecting.starts_with("HTTP/1.1 413 "), "{expecting}");
    ground.is_clean();
}

#[test]
fn figures_are_counted_by_route_method_and_class() {
    let metrics = Metrics::new();
    let router = Router::new()
        .get("/user/{id}", |request: Request| async move {
            request.reactor().sleep(30 * MS).await;
            "hello"
        })
        .route("GET", "/metrics", metrics.page());
    let (seen, observer) = (Rc::new(RefCell::new(0)), Rc::new(metrics.clone()));
    let other = Rc::new(Counting(Rc::clone(&seen)));
    let site = Site::new(router).observe(other).observe(observer).with(RequestId::new());
    let ground = Ground::calm(site);
    for target in ["GET /user/1", "GET /user/2", "BREW /user/3", "GET /no/1", "GET /no/2"] {
        let peer = ground.send(format!("{target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        ground.advance(40 * MS);
        drop(peer);
    }
    ground.ask("nonsense\r\n\r\n");
    assert_eq!(*seen.borrow(), 6, "each observer sees all");
    let page = ground.ask("GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(page.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{page}");
    for line in [
        "# TYPE http_requests_total counter",
        "http_requests_total{route=\"/user/{id}\",method=\"GET\",status=\"2xx\"} 2",
        "http_requests_total{route=\"/user/{id}\",method=\"other\",status=\"4xx\"} 1",
        "http_requests_total{route=\"none\",method=\"GET\",status=\"4xx\"} 2",
        "http_response_body_bytes_total{route=\"/user/{id}\",method=\"GET\",status=\"2xx\"} 10",
        "# TYPE http_request_duration_seconds histogram",
        "http_request_duration_seconds_bucket{route=\"/user/{id}\",method=\"GET\",status=\"2xx\",le=\"0.025\"} 0",
        "http_request_duration_seconds_bucket{route=\"/user/{id}\",method=\"GET\",status=\"2xx\",le=\"0.05\"} 2",
        "http_request_duration_seconds_bucket{route=\"/user/{id}\",method=\"GET\",status=\"2xx\",le=\"+Inf\"} 2",
        "http_request_duration_seconds_sum{route=\"/user/{id}\",method=\"GET\",status=\"2xx\"} 0.06*",
    ] {
        let fits =
            |known: &str| line.strip_suffix('*').map_or(known == line, |start| known.starts_with(start));
        assert!(page.lines().any(fits), "{line}: {page}");
    }
}

struct Counting(Rc<RefCell<u32>>);

impl AccessObserver for Counting {
    fn request_finished(&self, _record: &ropewalk_web::AccessRecord<'_>) {
        *self.0.borrow_mut() += 1;
    }
}

#[test]
fn a_limit_that_never_ends_is_no_limit() {
    let ground = Ground::of(hello().with(Timeout::new(Duration::MAX)).with(RateLimit::new(0, Duration::MAX)));
    assert_eq!(ground.ask(GET), ok("hello"));
}
