//! What a site remembers of its visitors: signed cookies, sessions in every store, their ends, and what strangers cannot do.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;
#[path = "sessions/ends.rs"]
mod ends;
#[path = "sessions/stores.rs"]
mod stores;

use common::{Ground, SECOND};
use ropewalk_web::extract::typed;
use ropewalk_web::handlers::{Call, RequestHandler, per_request};
use ropewalk_web::resource::{Render, Resource, Tree};
use ropewalk_web::{
    Failure, Keys, MemorySessions, Outcome, Request, Response, Router, Session, Sessions, Site,
};

/// A browser with one site's cookies.
struct Visitor<'a> {
    ground: &'a Ground,
    cookies: Vec<(String, String)>,
}

impl<'a> Visitor<'a> {
    fn new(ground: &'a Ground) -> Visitor<'a> {
        Visitor { ground, cookies: Vec::new() }
    }

    /// The whole answer, when it is complete.
    fn ask(&mut self, method: &str, path: &str) -> String {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let line =
            if cookies.is_empty() { String::new() } else { format!("Cookie: {}\r\n", cookies.join("; ")) };
        let peer = self
            .ground
            .send(format!("{method} {path} HTTP/1.1\r\nHost: h\r\n{line}Content-Length: 0\r\n\r\n"));
        let mut answer = String::new();
        assert!(
            self.ground.simulation.run_until(SECOND, || !peer.text().is_empty()),
            "{method} {path} is answered"
        );
        answer += &self.ground.take(&peer);
        for line in answer.lines().filter_map(|line| line.strip_prefix("Set-Cookie: ")) {
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !line.contains("Max-Age=0") {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        answer
    }

    /// The body of the answer.
    fn body(&mut self, method: &str, path: &str) -> String {
        self.ask(method, path).split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    fn cookie(&self) -> Option<&str> {
        self.cookies.iter().find(|(name, _)| name == "session").map(|(_, value)| value.as_str())
    }
}

/// Counts visits, and lets visitors in and out.
fn router() -> Router {
    Router::new()
        .get("/", |request: Request| async move {
            let session = request.session()?;
            let visits = session.get::<u32>("visits").await?.unwrap_or(0) + 1;
            session.set("visits", &visits).await?;
            Ok::<_, Failure>(visits.to_string())
        })
        .get("/look", |request: Request| async move {
            let session = request.session()?;
            let user = session.get::<String>("user").await?;
            Ok::<_, Failure>(user.unwrap_or_else(|| "nobody".to_owned()))
        })
        .get("/plain", |_| "plain")
        .get("/same", |request: Request| async move {
            let session = request.session()?;
            let visits = session.get::<u32>("visits").await?.unwrap_or(0);
            session.set("visits", &visits).await?;
            Ok::<_, Failure>("same")
        })
        .post("/login", |request: Request| async move {
            let session = request.session()?;
            session.renew().await?;
            session.set("user", "ada").await?;
            Ok::<_, Failure>(Response::redirect(303, "/"))
        })
        .post("/logout", |request: Request| async move {
            request.session()?.end().await?;
            Ok::<_, Failure>("bye")
        })
        .post("/fail", |request: Request| async move {
            request.session()?.set("user", "half").await?;
            Err::<(), _>(Failure::new("as asked"))
        })
        .post("/panic", |request: Request| async move {
            request.session()?.set("user", "half").await?;
            assert!(request.path().is_empty(), "as asked");
            Ok::<_, Failure>("unreachable")
        })
}

fn ground(sessions: Sessions) -> Ground {
    common::quietly();
    Ground::calm(Site::new(router()).server(None).with(sessions))
}

fn in_memory() -> (Ground, MemorySessions) {
    let store = MemorySessions::new(100);
    (ground(Sessions::new(store.clone())), store)
}

#[test]
fn a_visitor_is_remembered_and_nobody_else_is() {
    let (ground, store) = in_memory();
    let (mut ada, mut bob) = (Visitor::new(&ground), Visitor::new(&ground));
    assert_eq!(
        (ada.body("GET", "/"), ada.body("GET", "/"), bob.body("GET", "/")),
        ("1".into(), "2".into(), "1".into())
    );
    assert_ne!(ada.cookie(), bob.cookie());
    assert_eq!(store.len(), 2);
}

#[test]
fn who_asks_for_nothing_has_no_session_and_what_is_the_same_is_not_saved() {
    let (ground, store) = in_memory();
    let mut ada = Visitor::new(&ground);
    assert!(!ada.ask("GET", "/plain").contains("Set-Cookie"));
    assert!(!ada.ask("GET", "/look").contains("Set-Cookie"), "looking makes none");
    assert!(store.is_empty());
    assert!(ada.ask("GET", "/").contains("Set-Cookie"));
    assert!(!ada.ask("GET", "/").contains("Set-Cookie"), "a change needs no new cookie");
    assert!(!ada.ask("GET", "/same").contains("Set-Cookie"));
}

#[test]
fn the_cookie_is_safe_by_default() {
    let (ground, _) = in_memory();
    let answer = Visitor::new(&ground).ask("GET", "/");
    let line = answer.lines().find(|line| line.starts_with("Set-Cookie: ")).unwrap();
    let (value, attributes) = line.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(value.len(), "Set-Cookie: session=".len() + 43, "256 bits: {value}");
    assert!(answer.contains("Cache-Control: no-store\r\n"), "{answer}");
    let secure = Site::new(router()).with(Sessions::new(MemorySessions::new(9)).remembered());
    let ground = Ground::calm(secure.trust_proxies("127.0.0.0/8".parse().unwrap()));
    let answer = ground
        .ask("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n");
    assert!(answer.contains("; Max-Age=43200; Secure; HttpOnly; SameSite=Lax"), "{answer}");
}

#[test]
fn a_new_id_at_login_makes_the_old_one_worthless() {
    let (ground, store) = in_memory();
    let mut ada = Visitor::new(&ground);
    ada.ask("GET", "/");
    let before = ada.cookie().unwrap().to_owned();
    ada.ask("POST", "/login");
    assert_ne!(ada.cookie(), Some(before.as_str()));
    assert_eq!(
        (ada.body("GET", "/look"), ada.body("GET", "/")),
        ("ada".into(), "2".into()),
        "and keeps what was in it"
    );
    let mut thief = Visitor { ground: &ground, cookies: vec![("session".into(), before)] };
    assert_eq!(thief.body("GET", "/look"), "nobody");
    assert_eq!(store.len(), 1);
}

#[test]
fn an_id_that_a_stranger_has_chosen_is_never_a_session() {
    // Session fixation: the thief sends the victim a link that sets this cookie, and waits.
    let (ground, _) = in_memory();
    for foisted in ["A".repeat(43), "x".to_owned(), String::new(), "%00".to_owned(), "A".repeat(4000)] {
        let mut victim = Visitor { ground: &ground, cookies: vec![("session".into(), foisted.clone())] };
        victim.ask("POST", "/login");
        assert_ne!(victim.cookie(), Some(foisted.as_str()));
        let mut thief = Visitor { ground: &ground, cookies: vec![("session".into(), foisted)] };
        assert_eq!(thief.body("GET", "/look"), "nobody");
    }
    // One beside the real one does not hide it.
    let mut ada = Visitor::new(&ground);
    ada.ask("POST", "/login");
    ada.cookies.insert(0, ("session".into(), "B".repeat(43)));
    assert_eq!(ada.body("GET", "/look"), "ada");
}

#[test]
fn a_request_that_fails_saves_nothing() {
    let (ground, store) = in_memory();
    let mut ada = Visitor::new(&ground);
    for path in ["/fail", "/panic"] {
        let answer = ada.ask("POST", path);
        assert!(answer.starts_with("HTTP/1.1 500 ") && !answer.contains("Set-Cookie"), "{answer}");
    }
    assert!(store.is_empty());
    ada.ask("POST", "/login");
    ada.ask("POST", "/fail");
    assert_eq!(ada.body("GET", "/look"), "ada");
}

#[test]
fn a_request_that_the_site_answers_in_the_handlers_place_saves_nothing() {
    let store = MemorySessions::new(9);
    let router = Router::new().post("/", |request: Request| async move {
        request.session()?.set("user", "half").await?;
        request.bytes().await?;
        Ok::<_, Failure>("all of it")
    });
    let ground = Ground::calm(Site::new(router).with(Sessions::new(store.clone())));
    let answer = ground.ask("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nno chunk");
    assert!(answer.starts_with("HTTP/1.1 400 ") && !answer.contains("Set-Cookie"), "{answer}");
    assert!(store.is_empty());
}

/// The same in each way to write a handler.
struct Counter;

impl RequestHandler for Counter {
    async fn get(&mut self, call: &mut Call) -> Outcome<()> {
        let session = call.session()?;
        let visits = session.get::<u32>("visits").await?.unwrap_or(0) + 1;
        session.set("visits", &visits).await?;
        call.write(visits.to_string());
        Ok(())
    }

    async fn post(&mut self, call: &mut Call) -> Outcome<()> {
        call.session()?.set("user", "ada").await?;
        call.redirect("/");
        Ok(())
    }
}

impl Resource for Counter {
    async fn render_get(&self, request: Request) -> impl Render {
        let session = request.session()?;
        let visits = session.get::<u32>("visits").await?.unwrap_or(0) + 1;
        session.set("visits", &visits).await?;
        Ok::<_, Failure>(visits.to_string())
    }
}

fn in_three_ways() -> Router {
    Router::new()
        .any("/handler", per_request(|| Counter))
        .mount("/tree", Tree::new().put_child("", Counter))
        .get(
            "/typed",
            typed(|session: Session| async move {
                let visits = session.get::<u32>("visits").await?.unwrap_or(0) + 1;
                session.set("visits", &visits).await?;
                Ok::<_, Failure>(visits.to_string())
            }),
        )
        .get("/responder", |request: Request| async move {
            let session = request.session()?;
            let visits = session.get::<u32>("visits").await?.unwrap_or(0) + 1;
            session.set("visits", &visits).await?;
            session.save().await?;
            let responder = request.responder();
            responder.write(visits.to_string());
            responder.finish();
            Ok::<_, Failure>(())
        })
        .fallback(router())
}

#[test]
fn it_is_the_same_in_every_way_to_answer() {
    let ground = Ground::calm(Site::new(in_three_ways()).with(Sessions::new(MemorySessions::new(9))));
    let mut ada = Visitor::new(&ground);
    for (path, visits) in [("/handler", "1"), ("/tree/", "2"), ("/typed", "3"), ("/", "5")] {
        if path == "/" {
            assert!(ada.ask("GET", "/responder").contains("\r\n4\r\n"));
        }
        assert_eq!(ada.body("GET", path), visits, "{path}");
    }
}

#[test]
fn an_answer_in_pieces_sets_its_cookie_and_is_saved_behind_it() {
    let store = MemorySessions::new(9);
    let router = Router::new().get("/pieces", |request: Request| async move {
        request.session()?.set("user", "ada").await?;
        let responder = request.responder();
        responder.write("one");
        responder.finish();
        Ok::<_, Failure>(())
    });
    let ground = Ground::calm(Site::new(router.fallback(self::router())).with(Sessions::new(store.clone())));
    let mut ada = Visitor::new(&ground);
    assert!(ada.ask("GET", "/pieces").contains("Set-Cookie: session="));
    assert_eq!((store.len(), ada.body("GET", "/look").as_str()), (1, "ada"));
}

#[test]
fn a_session_has_a_size() {
    let router = || {
        Router::new().get("/{bytes}", |request: Request| async move {
            let bytes = request.param("bytes").unwrap_or_default().parse().unwrap_or(0);
            let session = request.session()?;
            let set = session.set("text", &"x".repeat(bytes)).await;
            let saved = match set {
                Ok(()) => session.save().await,
                refused => refused,
            };
            let length = session.get::<String>("text").await?.map_or(0, |text| text.len());
            Ok::<_, Failure>(format!(
                "{} {length}",
                saved.map_or_else(|failure| failure.to_string(), |()| "kept".to_owned())
            ))
        })
    };
    let large = Sessions::new(MemorySessions::new(9)).bytes_max(1000);
    let ground = Ground::calm(Site::new(router()).with(large));
    let mut ada = Visitor::new(&ground);
    assert_eq!(ada.body("GET", "/900"), "kept 900");
    assert!(ada.body("GET", "/1000").ends_with(" is too large 900"), "what was there stays");
    let ground = Ground::calm(Site::new(router()).with(Sessions::in_cookie(Keys::random())));
    let mut ada = Visitor::new(&ground);
    assert_eq!(ada.body("GET", "/2700"), "kept 2700");
    assert!(ada.body("GET", "/3500").contains("would be forgotten by browsers"));
}

#[test]
fn without_the_middleware_the_log_says_what_is_missing() {
    let ground = Ground::of(in_three_ways());
    for path in ["/typed", "/", "/tree/", "/handler"] {
        let mut answer = String::new();
        let logged = common::errors(|| answer = Visitor::new(&ground).ask("GET", path));
        assert!(answer.starts_with("HTTP/1.1 500 "), "{path}: {answer}");
        assert!(
            logged.iter().any(|line| line.contains("put `Sessions` around the handler")),
            "{path}: {logged:?}"
        );
    }
}

#[test]
fn signed_cookies_come_back_in_every_way_and_changed_ones_do_not() {
    struct Theme;
    impl RequestHandler for Theme {
        async fn get(&mut self, call: &mut Call) -> Outcome<()> {
            call.write(call.signed_cookie("theme", 31).unwrap_or_default());
            Ok(())
        }
        async fn post(&mut self, call: &mut Call) -> Outcome<()> {
            Ok(call.set_signed_cookie("theme", "dark; Domain=evil")?)
        }
    }
    let keys = Keys::random();
    let ground = Ground::calm(Site::new(Router::new().any("/", per_request(|| Theme))).with(keys.clone()));
    let mut ada = Visitor::new(&ground);
    assert!(ada.ask("POST", "/").contains("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax\r\n"));
    assert_eq!(ada.body("GET", "/"), "dark; Domain=evil");
    let (name, value) = ada.cookies[0].clone();
    let forged = value.replace("5:theme", "5:admin");
    ada.cookies = vec![(name.clone(), forged)];
    assert_eq!(ada.body("GET", "/"), "");
    ada.cookies = vec![(name, value)];
    ground.advance(31 * 24 * 3600 * SECOND - SECOND);
    assert_eq!(ada.body("GET", "/"), "dark; Domain=evil");
    ground.advance(2 * SECOND);
    assert_eq!(ada.body("GET", "/"), "", "too old");
    let lonely = Ground::of(Router::new().get("/", |request: Request| {
        let long = request.sign_cookie("a", "b").unwrap_err().to_string();
        assert_eq!(request.signed_cookie("a", 1), None);
        long
    }));
    assert!(lonely.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").contains("put `Keys` around the handler"));
    let roomy = Ground::calm(
        Site::new(Router::new().get("/", |request: Request| {
            assert!(request.sign_cookie("a", &"x".repeat(2_800)).is_ok());
            request.sign_cookie("a", &"x".repeat(3_000)).unwrap_err().to_string()
        }))
        .with(keys),
    );
    assert!(roomy.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").contains("would be forgotten by browsers"));
}
