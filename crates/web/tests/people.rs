//! Who may: forged requests, Basic authentication, the current user in every way to write a handler, and the page to sign in at.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::Cell;
use std::rc::Rc;

use common::{Ground, MS, SECOND};
use ropewalk_web::extract::typed;
use ropewalk_web::handlers::{Call, RequestHandler, per_request};
use ropewalk_web::resource::{Render, Resource, Tree};
use ropewalk_web::{
    Authenticated, BasicAuth, CurrentUser, Failure, Handler, Identify, Outcome, Rejection, Request, Router,
    Site, Xsrf, handler,
};

fn guarded(xsrf: Xsrf) -> Ground {
    let router = Router::new()
        .get("/", |request: Request| format!("{}\n{}", request.xsrf_token(), request.xsrf_field()))
        .post(
            "/",
            |request: Request| async move { request.bytes().await.map(|bytes| bytes.len().to_string()) },
        )
        .put("/", |_| "put");
    Ground::calm(Site::new(router).server(None).with(xsrf))
}

/// The cookie and a token.
fn page(ground: &Ground) -> (String, String) {
    let page = ground.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let cookie = page.split("Set-Cookie: ").nth(1).unwrap().split(';').next().unwrap().to_owned();
    let token = page.split("\r\n\r\n").nth(1).unwrap().lines().next().unwrap().to_owned();
    assert!(
        page.contains("; Path=/; HttpOnly; SameSite=Lax\r\n") && page.contains("Cache-Control: no-store\r\n")
    );
    (cookie, token)
}

fn post(ground: &Ground, fields: &str, body: &str) -> String {
    let length = body.len();
    let media = "Content-Type: application/x-www-form-urlencoded";
    ground.ask(format!(
        "POST / HTTP/1.1\r\nHost: h\r\n{media}\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    ))
}

fn is(answer: &str, status: u16) -> bool {
    answer.starts_with(&format!("HTTP/1.1 {status} "))
}

#[test]
fn a_token_in_the_form_or_in_a_field_lets_in() {
    let ground = guarded(Xsrf::new());
    let (cookie, token) = page(&ground);
    let cookie = format!("Cookie: {cookie}\r\n");
    let encoded = token.replace('|', "%7C");
    for body in [
        format!("_xsrf={encoded}"),
        format!("a=1&_xsrf={encoded}&b=2"),
        format!("a=%5Fxsrf&%5Fxsrf={encoded}"),
    ] {
        let answer = post(&ground, &cookie, &body);
        assert!(is(&answer, 200) && answer.ends_with(&format!("\r\n\r\n{}", body.len())), "{answer}");
    }
    for name in ["X-XSRFToken", "X-CSRFToken", "x-xsrftoken"] {
        assert!(is(&post(&ground, &format!("{cookie}{name}: {token}\r\n"), "a=1"), 200), "{name}");
    }
    // The cookie's own text is masked, too, and as good.
    let itself = cookie.trim_end().strip_prefix("Cookie: _xsrf=").unwrap();
    assert!(is(&post(&ground, &format!("{cookie}X-XSRFToken: {itself}\r\n"), ""), 200));
    ground.is_clean();
}

#[test]
fn a_token_is_masked_anew_on_every_page_and_the_cookie_is_set_once() {
    let ground = guarded(Xsrf::new());
    let (cookie, token) = page(&ground);
    let again = ground.ask(format!("GET / HTTP/1.1\r\nHost: h\r\nCookie: {cookie}\r\n\r\n"));
    assert!(!again.contains("Set-Cookie"), "{again}");
    let body = again.split("\r\n\r\n").nth(1).unwrap();
    let (second, field) = body.split_once('\n').unwrap();
    assert_ne!(second, token);
    assert!(
        field.starts_with("<input type=\"hidden\" name=\"_xsrf\" value=\"2|") && !field.contains(second),
        "{field}"
    );
    assert!(is(&post(&ground, &format!("Cookie: {cookie}\r\nX-XSRFToken: {second}\r\n"), ""), 200));
}

#[test]
fn without_the_token_nothing_is_changed() {
    let ground = guarded(Xsrf::new());
    let (cookie, token) = page(&ground);
    let (other, _) = page(&ground);
    let with = |cookie: &str| format!("Cookie: {cookie}\r\n");
    let header = |token: &str| format!("X-XSRFToken: {token}\r\n");
    for (fields, body) in [
        (String::new(), String::new()),
        (header(&token), String::new()),
        (with(&cookie), String::new()),
        (with(&cookie), "a=1".to_owned()),
        (with(&cookie), "_xsrf=".to_owned()),
        (with(&cookie), "_xsrf=2|00000000|00|1".to_owned()),
        (with(&other) + &header(&token), String::new()),
        (with(&cookie) + &header("wrong"), format!("_xsrf={token}")),
        (with("_xsrf=x") + &header("x"), String::new()),
        (with("_xsrf=") + &header(""), String::new()),
        // Behind what is looked at.
        (with(&cookie), format!("a={}&_xsrf={token}", "x".repeat(100_000))),
    ] {
        assert!(is(&post(&ground, &fields, &body), 403), "{fields}{body}");
    }
    // Nor does the query say it: addresses are in logs.
    let answer = ground.ask(format!(
        "POST /?_xsrf={token} HTTP/1.1\r\nHost: h\r\nCookie: {cookie}\r\nContent-Length: 0\r\n\r\n"
    ));
    assert!(is(&answer, 403), "{answer}");
    let answer = ground.ask("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    assert!(is(&answer, 403), "{answer}");
}

#[test]
fn a_page_of_another_site_is_refused_whatever_it_has() {
    let ground = guarded(Xsrf::new().origins(["https://app.example.org"]));
    let (cookie, token) = page(&ground);
    let ask = |fields: &str| {
        let answer = post(&ground, &format!("Cookie: {cookie}\r\nX-XSRFToken: {token}\r\n{fields}"), "");
        answer[9..12].parse::<u16>().unwrap()
    };
    for fine in [
        "",
        "Sec-Fetch-Site: same-origin\r\n",
        "Sec-Fetch-Site: none\r\n",
        "Origin: http://h\r\n",
        "Origin: http://H:80\r\n",
        // Encrypted up to a proxy that is not told of here.
        "Origin: https://h\r\n",
        "Origin: https://app.example.org\r\nSec-Fetch-Site: cross-site\r\n",
    ] {
        assert_eq!(ask(fine), 200, "{fine}");
    }
    for foreign in [
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Sec-Fetch-Site: something-new\r\n",
        "Sec-Fetch-Site: cross-site\r\nOrigin: http://h\r\n",
        "Origin: http://evil.example\r\n",
        "Origin: http://h.evil.example\r\n",
        "Origin: http://h:8080\r\n",
        "Origin: null\r\n",
        "Origin: \r\n",
        "Origin: ftp://h\r\n",
        "Origin: https://app.example.org.evil.example\r\nSec-Fetch-Site: cross-site\r\n",
    ] {
        assert_eq!(ask(foreign), 403, "{foreign}");
    }
    let alone = guarded(Xsrf::new().origin_only());
    assert!(is(&post(&alone, "", ""), 200), "who is no browser");
    assert!(is(&post(&alone, "Sec-Fetch-Site: cross-site\r\n", ""), 403));
}

#[test]
fn a_cookie_for_scripts_and_one_of_the_host_alone() {
    let (ground, first) = (guarded(Xsrf::new().readable()), "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let answer = ground.ask(first);
    assert!(answer.contains("; Path=/; SameSite=Lax\r\n"), "a script may read it: {answer}");
    let router = Router::new().get("/", |request: Request| request.xsrf_token());
    let site = Site::new(router).with(Xsrf::new().cookie_name("__Host-xsrf"));
    let ground = Ground::calm(site.trust_proxies("127.0.0.0/8".parse().unwrap()));
    let secure =
        first.replace("Host: h\r\n", "Host: h\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n");
    let answer = ground.ask(secure);
    assert!(
        answer.contains("Set-Cookie: __Host-xsrf=2|") && answer.contains("; Path=/; Secure; HttpOnly;"),
        "{answer}"
    );
    // Without the middleware nothing is guarded, and the log says so.
    let ground = Ground::of(Router::new().get("/", |request: Request| request.xsrf_field()));
    let logged = common::errors(|| drop(ground.ask(first)));
    assert!(logged.iter().any(|line| line.contains("put `Xsrf` around the handler")), "{logged:?}");
}

fn basic(auth: BasicAuth) -> Ground {
    let page = handler(|request: Request| format!("for {}", request.current_user::<String>().unwrap()));
    Ground::of(Router::new().route("GET", "/", page.with(auth)))
}

fn ask_as(ground: &Ground, credentials: &str) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(credentials);
    ground.ask(format!("GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic {text}\r\n\r\n"))
}

#[test]
fn basic_lets_in_who_has_the_password() {
    let ground =
        basic(BasicAuth::users("a \"quiet\" place\r\nX: y", [("ada", "correct horse"), ("bob", "ü:")]));
    assert!(ask_as(&ground, "ada:correct horse").ends_with("for ada"));
    assert!(ask_as(&ground, "bob:ü:").ends_with("for bob"));
    let challenge = "WWW-Authenticate: Basic realm=\"a quiet placeX: y\", charset=\"UTF-8\"\r\n";
    let refusal = ground.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(is(&refusal, 401) && refusal.contains(challenge), "{refusal}");
    // Whether it is the name or the password that is wrong is not to be told from anything.
    for wrong in
        ["ada:wrong", "eve:correct horse", "ada:ü:", ":", "ada", "ADA:correct horse", "ada:correct horse "]
    {
        assert_eq!(ask_as(&ground, wrong), refusal, "{wrong}");
    }
}

#[test]
fn who_guesses_waits_and_who_knows_does_not() {
    let ground = basic(BasicAuth::users("place", [("ada", "right")]).guesses(3, 60 * SECOND));
    for _ in 0..20 {
        assert!(is(&ask_as(&ground, "ada:right"), 200), "being right costs nothing");
    }
    for guess in ["a", "b", "c"] {
        assert!(is(&ask_as(&ground, &format!("ada:{guess}")), 401));
    }
    let answer = ask_as(&ground, "ada:right");
    assert!(is(&answer, 429) && answer.contains("Retry-After: 20\r\n"), "{answer}");
    ground.advance(21 * SECOND);
    assert!(is(&ask_as(&ground, "ada:right"), 200));
}

#[test]
fn a_verdict_may_take_its_time_and_many_guesses_at_once_are_many() {
    let asked = Rc::new(Cell::new(0));
    let counted = Rc::clone(&asked);
    let slow = BasicAuth::check_later("place", move |request: &Request, user, password| {
        counted.set(counted.get() + 1);
        let reactor = request.reactor().clone();
        async move {
            reactor.sleep(SECOND).await;
            match password.as_str() {
                "broken" => Err(Failure::new("the table is gone, as asked")),
                password => Ok(user == "ada" && password == "right"),
            }
        }
    });
    let ground = basic(slow.guesses(3, 60 * SECOND));
    let script = |text: &str| format!("GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic {text}\r\n\r\n");
    let right = script("YWRhOnJpZ2h0");
    let peer = ground.send(&right);
    ground.advance(2 * SECOND);
    assert!(peer.text().ends_with("for ada"), "{}", peer.text());
    let peers: Vec<_> = (0..6).map(|_| ground.send(script("YWRhOndyb25n"))).collect();
    ground.advance(2 * SECOND);
    let count = |status| peers.iter().filter(|peer| is(&peer.text(), status)).count();
    assert_eq!((count(401), count(429), asked.get()), (3, 3, 4));
    ground.advance(60 * SECOND);
    let broken = ground.send(script("YWRhOmJyb2tlbg=="));
    ground.advance(2 * SECOND);
    assert!(is(&broken.text(), 500), "{}", broken.text());
    ground.advance(10 * MS);
}

/// A user of the program's own type.
struct Account(String);

struct Page;

impl RequestHandler for Page {
    async fn get(&mut self, call: &mut Call) -> Outcome<()> {
        let account = call.current_user::<Account>();
        call.write(account.map_or("nobody".to_owned(), |account| account.0.clone()));
        Ok(())
    }

    async fn post(&mut self, call: &mut Call) -> Outcome<()> {
        let account = call.request().required_user::<Account>()?;
        call.write(&account.0);
        Ok(())
    }
}

impl Resource for Page {
    async fn render_get(&self, request: Request) -> impl Render {
        request.current_user::<Account>().map_or("nobody".to_owned(), |account| account.0.clone())
    }
}

fn identified() -> Site {
    let router = Router::new()
        .any("/handler", per_request(|| Page))
        .mount("/tree", Tree::new().put_child("", Page))
        .get("/typed", typed(|CurrentUser(account): CurrentUser<Account>| account.0.clone()))
        .get(
            "/perhaps",
            typed(|user: Option<CurrentUser<Account>>| {
                user.map_or("nobody".to_owned(), |user| user.0.0.clone())
            }),
        )
        .route("GET", "/page", handler(|_| "a page").with(Authenticated::new().login("/login")))
        .route("POST", "/page", handler(|_| "changed").with(Authenticated::new().login("/login")))
        .route("GET", "/api", handler(|_| "data").with(Authenticated::new()))
        .route("GET", "/hidden", handler(|_| "hidden").with(Authenticated::new().status(404)));
    Site::new(router).with(Identify::new(|request: Request| async move {
        let name = request.header("x-name").map(str::to_owned);
        request.reactor().sleep(MS).await;
        match name.as_deref() {
            Some("banned") => Err(Rejection::new(403, "not you").into()),
            Some("broken") => Err(Failure::new("as asked")),
            name => Ok(name.map(|name| Account(name.to_owned()))),
        }
    }))
}

fn get(ground: &Ground, path: &str, fields: &str) -> String {
    let peer = ground.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
    ground.advance(10 * MS);
    ground.take(&peer)
}

#[test]
fn the_current_user_is_the_same_in_every_way() {
    let ground = Ground::calm(identified());
    for path in ["/handler", "/tree/", "/typed", "/perhaps"] {
        let answer = get(&ground, path, "X-Name: ada\r\n");
        assert!(answer.ends_with("\r\n\r\nada"), "{path}: {answer}");
    }
    for path in ["/handler", "/tree/", "/perhaps"] {
        assert!(get(&ground, path, "").ends_with("nobody"), "{path}");
    }
    let answer = get(&ground, "/typed", "");
    assert!(is(&answer, 401) && answer.contains("WWW-Authenticate: Session\r\n"), "{answer}");
    for (fields, status) in [("", 401), ("X-Name: ada\r\n", 200)] {
        let peer =
            ground.send(format!("POST /handler HTTP/1.1\r\nHost: h\r\n{fields}Content-Length: 0\r\n\r\n"));
        ground.advance(10 * MS);
        assert!(is(&peer.text(), status), "{}", peer.text());
    }
    assert!(is(&get(&ground, "/typed", "X-Name: banned\r\n"), 403));
    assert!(is(&get(&ground, "/typed", "X-Name: broken\r\n"), 500));
}

#[test]
fn the_guard_stands_around_handler_types_and_resources_as_well() {
    let guard = || Authenticated::new().login("/login?from=guard");
    let tree = Tree::new().put_child("", Page).with(guard());
    let router = Router::new()
        .route("GET", "/handler", handler(per_request(|| Page)).with(guard()))
        .mount("/tree", tree);
    let site = Site::new(router).with(Identify::new(|request: Request| {
        std::future::ready(Ok(request.header("x-name").map(|name| Account(name.to_owned()))))
    }));
    let ground = Ground::calm(site);
    for (path, encoded) in [("/handler", "%2Fhandler"), ("/tree/", "%2Ftree%2F")] {
        let answer = get(&ground, path, "");
        assert!(answer.contains(&format!("Location: /login?from=guard&next={encoded}\r\n")), "{answer}");
        assert!(get(&ground, path, "X-Name: ada\r\n").ends_with("ada"), "{path}");
    }
}

#[test]
fn nobody_is_sent_to_the_page_to_sign_in_at() {
    let ground = Ground::calm(identified());
    let answer = get(&ground, "/page?a=1&b=%2F", "");
    assert!(
        is(&answer, 302) && answer.contains("Location: /login?next=%2Fpage%3Fa%3D1%26b%3D%252F\r\n"),
        "{answer}"
    );
    assert!(get(&ground, "/page", "X-Name: ada\r\n").ends_with("a page"));
    assert!(
        is(&get(&ground, "/page", "Accept: application/json\r\n"), 401),
        "a program is no reader of pages"
    );
    assert!(is(&get(&ground, "/api", ""), 401));
    assert!(is(&get(&ground, "/hidden", ""), 404));
    let peer = ground.send("POST /page HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    ground.advance(10 * MS);
    assert!(is(&peer.text(), 401), "{}", peer.text());
}
