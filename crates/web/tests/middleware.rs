//! Middlewares: their order, what they see of an answer, and each of ours.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;
#[path = "middleware/hardening.rs"]
mod hardening;
#[path = "middleware/ours.rs"]
mod ours;

use std::cell::RefCell;
use std::rc::Rc;

use common::{Ground, MS, Probe, SECOND, answer, errors, ok, quietly, sorry};
use ropewalk_reactor::{Deferred, Failure};
use ropewalk_web::{
    Answer, Handler, Layered, Middleware, Next, Request, Response, Router, Site, handler, middleware,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// Writes down when it is passed, and puts its name on what comes back.
struct Named(&'static str, Rc<RefCell<Vec<String>>>);

impl Middleware for Named {
    fn handle(&self, request: Request, next: &Next) -> Answer {
        let (name, passed) = (self.0, Rc::clone(&self.1));
        passed.borrow_mut().push(format!("{name} in"));
        next.handle(request).map(move |response| {
            passed.borrow_mut().push(format!("{name} out"));
            response.header("X-Passed", name)
        })
    }
}

fn passed(handler: impl Fn(&dyn Fn(&'static str) -> Named) -> Site) -> (String, Vec<String>) {
    let passed = Rc::default();
    let site = handler(&|name| Named(name, Rc::clone(&passed)));
    let answer = Ground::calm(site.server(None)).ask(GET);
    let passed = passed.take();
    (answer, passed)
}

const ALL: [&str; 6] = ["site in", "outer in", "inner in", "inner out", "outer out", "site out"];

#[test]
fn the_first_that_is_added_is_the_outermost_and_a_site_is_around_its_router() {
    let (answer, passed) = passed(|named| {
        let router = Router::new().get("/", |_| "hello");
        Site::new(router.with(named("outer")).with(named("inner"))).with(named("site"))
    });
    assert_eq!(passed, ALL);
    let positions =
        ["inner", "outer", "site"].map(|name| answer.find(&format!("X-Passed: {name}\r\n")).unwrap());
    assert!(positions.is_sorted(), "{answer}");
}

#[test]
fn a_site_keeps_its_order_and_a_route_has_its_own() {
    let (_, passed) = passed(|named| {
        let router = Router::new().route("GET", "/", handler(|_| "hello").with(named("inner")));
        Site::new(router).with(named("site")).with(named("outer"))
    });
    assert_eq!(passed, ALL);
}

#[test]
fn a_router_within_a_router_has_its_own() {
    let passed = Rc::default();
    let inner = Router::new().get("/in", |_| "in").with(Named("inner", Rc::clone(&passed)));
    let ground = Ground::of(Router::new().get("/", |_| "hello").fallback(inner));
    assert_eq!(ground.ask(GET), ok("hello"));
    assert!(passed.borrow().is_empty());
    assert!(ground.ask("GET /in HTTP/1.1\r\nHost: h\r\n\r\n").contains("X-Passed: inner\r\n"));
}

fn delayed(handler: impl Fn(Request) -> Answer + 'static) -> Layered {
    handler_of(handler).with(middleware(|request: Request, next: Next| async move {
        request.reactor().sleep(5 * MS).await;
        let answer = next.handle(request).settle().await;
        Ok::<_, Failure>(answer.map(|response| response.header("X-Late", "yes")))
    }))
}

fn handler_of(function: impl Fn(Request) -> Answer + 'static) -> impl Handler {
    handler(function)
}

#[test]
fn an_asynchronous_one_waits_before_and_behind() {
    let ground = Ground::of(delayed(|request| {
        let reactor = request.reactor().clone();
        Answer::Later(Box::pin(async move {
            reactor.sleep(5 * MS).await;
            Answer::Now(Response::text("hello"))
        }))
    }));
    let peer = ground.send(GET);
    assert_eq!(ground.take(&peer), "");
    ground.advance(20 * MS);
    let expected = answer("200 OK", "Content-Type: text/plain; charset=utf-8\r\nX-Late: yes\r\n", "hello");
    assert_eq!(ground.take(&peer), expected);
    drop(peer);
    ground.is_clean();
}

#[test]
fn one_that_fails_is_a_failure_of_the_request() {
    let failing = middleware(|_: Request, _: Next| async { Err::<Answer, _>(Failure::new("as asked")) });
    let ground = Ground::of(Router::new().get("/", |_| "hello").with(failing));
    assert_eq!(ground.ask(GET), sorry());
}

fn marked(router: Router) -> Ground {
    Ground::of(router.with(middleware(|request: Request, next: Next| {
        request.on_answer(|response| response.header("X-Seen", "yes"));
        next.handle(request)
    })))
}

#[test]
fn whoever_answers_the_head_is_seen() {
    quietly();
    let ground = marked(
        Router::new()
            .get("/now", |_| "hello")
            .get("/later", |request: Request| {
                let (firing, deferred) = Deferred::<&str>::new(request.reactor());
                request.reactor().call_later(MS, move || firing.callback("hello").unwrap());
                deferred
            })
            .get("/pieces", |request: Request| {
                let responder = request.responder();
                responder.write("hello");
                responder.finish();
            })
            .get("/given", |request: Request| request.responder().respond(Response::text("hello")))
            .get("/panic", |_| -> &str { panic!("as asked") })
            .get("/forgotten", |request: Request| drop(request.responder()))
            .get("/file", |_| Response::failure(Failure::new("as asked")).status(507)),
    );
    let paths = ["/now", "/later", "/pieces", "/given", "/panic", "/forgotten", "/file", "/nowhere"];
    let logged = errors(|| {
        for path in paths {
            let peer = ground.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
            ground.advance(10 * MS);
            let answer = ground.take(&peer);
            assert_eq!(answer.matches("\r\nX-Seen: yes\r\n").count(), 1, "{path}: {answer}");
        }
    });
    assert_eq!(logged.len(), 3, "{logged:?}");
    assert!(ground.ask("POST /now HTTP/1.1\r\nHost: h\r\n\r\n").contains("X-Seen: yes"));
    ground.is_clean();
}

#[test]
fn a_kept_connection_forgets_who_looked() {
    let looking = |request: Request| {
        if request.query().is_some() {
            request.on_answer(|response| response.header("X-Seen", "yes"));
        }
        "hello"
    };
    let ground = Ground::of(Router::new().get("/", looking));
    let peer = ground.send("GET /?look HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(ground.take(&peer).contains("X-Seen"));
    peer.write(GET.as_bytes());
    assert_eq!(ground.take(&peer), ok("hello"));
}

#[test]
fn the_last_to_ask_is_asked_first_and_one_that_panics_is_a_failure() {
    quietly();
    let ground = Ground::of(Router::new().get("/", |request: Request| {
        request.on_answer(|response| response.status(299));
        request.on_answer(|response| response.status(201));
        "hello"
    }));
    assert!(ground.ask(GET).starts_with("HTTP/1.1 299 "));
    let ground = Ground::of(Router::new().get("/", |request: Request| {
        request.on_answer(|response| response.header("X-Seen", "yes"));
        request.on_answer(|_| panic!("as asked"));
        "hello"
    }));
    let answer = ground.ask(GET);
    assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("X-Seen: yes"), "{answer}");
    ground.advance(SECOND);
    ground.is_clean();
}

#[test]
fn whoever_looked_at_an_answer_that_never_came_is_let_go() {
    let probe = Probe::default();
    let held = probe.clone();
    let ground = Ground::of(Router::new().get("/", move |request: Request| {
        let (held, responder) = (held.hold(), request.responder());
        request.on_answer(move |response| {
            // It holds what holds it.
            drop((held, responder));
            response
        });
    }));
    let peer = ground.send(GET);
    assert_eq!(probe.held(), 1);
    peer.reset();
    ground.advance(SECOND);
    assert_eq!(probe.held(), 0);
    ground.is_clean();
}

#[test]
fn names_of_routes_are_known_through_middleware() {
    let (answer, _) = passed(|named| {
        let router = Router::new()
            .get("/", |request: Request| {
                request.reverse_url("page", ("7",)).unwrap_or_else(|error| error.to_string())
            })
            .get("/page/{number}", |_| "a page")
            .named("page");
        Site::new(router.with(named("outer"))).with(named("site"))
    });
    assert!(answer.ends_with("\r\n\r\n/page/7"), "{answer}");
}
