//! How a session ends: by its visitor, by time, and beside a request that still uses it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_web::{Failure, MemorySessions, Request, Router, Sessions, Site, SqliteSessions};
use serde_json::json;

use super::common::{Ground, MS, SECOND};
use super::{Visitor, ground};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn out_is_out() {
    let store = MemorySessions::new(10);
    let ground = ground(Sessions::new(store.clone()));
    let mut ada = Visitor::new(&ground);
    ada.ask("POST", "/login");
    let old = ada.cookies.clone();
    let answer = ada.ask("POST", "/logout");
    assert!(
        answer.contains("Set-Cookie: session=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
        "{answer}"
    );
    assert!(ada.cookies.is_empty() && store.is_empty());
    ada.cookies = old;
    assert_eq!(ada.body("GET", "/look"), "nobody");
    // Who was never in is out as well, without a word.
    assert!(!Visitor::new(&ground).ask("POST", "/logout").contains("Set-Cookie"));
}

#[test]
fn a_session_is_over_when_nobody_comes() {
    let ground = ground(Sessions::new(MemorySessions::new(10)).idle(10 * MINUTE).absolute(60 * MINUTE));
    let mut ada = Visitor::new(&ground);
    ada.ask("POST", "/login");
    for _ in 0..5 {
        ground.advance(9 * MINUTE);
        assert_eq!(ada.body("GET", "/look"), "ada", "who comes again puts the end off");
    }
    ground.advance(10 * MINUTE);
    assert_eq!(ada.body("GET", "/look"), "nobody");
}

#[test]
fn a_session_is_over_in_the_end_however_busy() {
    let ground = ground(Sessions::new(MemorySessions::new(10)).idle(10 * MINUTE).absolute(60 * MINUTE));
    let mut ada = Visitor::new(&ground);
    ada.ask("POST", "/login");
    for _ in 0..11 {
        ground.advance(5 * MINUTE);
        assert_eq!(ada.body("GET", "/look"), "ada");
    }
    ground.advance(5 * MINUTE);
    assert_eq!(ada.body("GET", "/look"), "nobody");
}

/// Notices are given once for each, at most a second late, and no timer is left without sessions.
fn notices(make: impl Fn(Sessions) -> Sessions, sessions: impl Fn(&Ground) -> Sessions) {
    let gone = Rc::new(RefCell::new(Vec::new()));
    let late = Rc::clone(&gone);
    let outer = Ground::of(Router::new());
    let sessions =
        make(sessions(&outer)).on_expire(move |record| late.borrow_mut().push(record.data.clone()));
    let site = Site::new(super::router()).with(sessions);
    let port =
        ropewalk_net::listen(outer.reactor(), &"tcp:0:interface=127.0.0.1".parse().unwrap(), site).unwrap();
    let ropewalk_net::Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
    let ask = |script: &str| {
        let peer = outer.simulation.network().connect(address);
        outer.advance(50 * MS);
        peer.write(script.as_bytes());
        outer.advance(200 * MS);
        peer.text()
    };
    let timers = outer.reactor().statistics().timers;
    assert!(ask("POST /login HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").contains("Set-Cookie"));
    outer.advance(9 * MINUTE);
    assert!(gone.borrow().is_empty());
    outer.advance(MINUTE + 2 * SECOND);
    assert_eq!(gone.borrow().len(), 1);
    assert_eq!(gone.borrow()[0].get("user"), Some(&json!("ada")));
    outer.advance(5 * MINUTE);
    assert_eq!(gone.borrow().len(), 1, "once");
    assert_eq!(outer.reactor().statistics().timers, timers, "nobody looks any more");
}

#[test]
fn who_wants_to_know_is_told_when_a_session_expires() {
    let short = |sessions: Sessions| sessions.idle(10 * MINUTE);
    notices(short, |_| Sessions::new(MemorySessions::new(10)));
    notices(short, |ground| Sessions::new(SqliteSessions::in_memory(ground.reactor()).unwrap()));
}

#[test]
fn a_session_that_is_put_off_is_noticed_when_it_is_over_and_not_before() {
    let gone = Rc::new(std::cell::Cell::new(0));
    let late = Rc::clone(&gone);
    let sessions = Sessions::new(MemorySessions::new(10)).idle(5 * SECOND);
    let ground = ground(sessions.on_expire(move |_| late.set(late.get() + 1)));
    let mut ada = Visitor::new(&ground);
    ada.ask("POST", "/login");
    for _ in 0..10 {
        ground.advance(SECOND);
        ada.ask("GET", "/look");
    }
    Visitor::new(&ground).ask("POST", "/login");
    ground.advance(4 * SECOND);
    assert_eq!(gone.get(), 0);
    ground.advance(3 * SECOND);
    assert_eq!(gone.get(), 2);
}

fn slow_router() -> Router {
    super::router()
        .get("/slow/{name}", |request: Request| async move {
            let session = request.session()?;
            session.get::<String>("user").await?;
            request.reactor().sleep(SECOND).await;
            let name = request.param("name").unwrap_or_default();
            session.set(&name, &true).await?;
            Ok::<_, Failure>("done")
        })
        .get("/both", |request: Request| async move {
            let session = request.session()?;
            let both = (session.get::<bool>("one").await?, session.get::<bool>("two").await?);
            Ok::<_, Failure>(format!("{both:?}"))
        })
}

fn send(ground: &Ground, visitor: &Visitor<'_>, path: &str) -> ropewalk_reactor::Peer {
    let cookie = visitor.cookie().unwrap();
    ground.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\nCookie: session={cookie}\r\n\r\n"))
}

#[test]
fn two_requests_at_once_do_not_undo_each_other() {
    let ground = Ground::calm(Site::new(slow_router()).with(Sessions::new(MemorySessions::new(10))));
    let mut ada = Visitor::new(&ground);
    ada.ask("POST", "/login");
    let (one, two) = (send(&ground, &ada, "/slow/one"), send(&ground, &ada, "/slow/two"));
    ground.advance(2 * SECOND);
    assert!(one.text().ends_with("done") && two.text().ends_with("done"));
    assert_eq!(ada.body("GET", "/both"), "(Some(true), Some(true))");
}

#[test]
fn a_request_that_is_still_under_way_does_not_bring_back_what_was_ended() {
    let store = MemorySessions::new(10);
    let ground = Ground::calm(Site::new(slow_router()).with(Sessions::new(store.clone())));
    let mut ada = Visitor::new(&ground);
    ada.ask("POST", "/login");
    let slow = send(&ground, &ada, "/slow/one");
    let old = ada.cookies.clone();
    ada.ask("POST", "/logout");
    ground.advance(2 * SECOND);
    assert!(slow.text().ends_with("done"), "{}", slow.text());
    assert!(store.is_empty());
    ada.cookies = old;
    assert_eq!(ada.body("GET", "/look"), "nobody");
}
