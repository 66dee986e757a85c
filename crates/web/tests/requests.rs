//! What a request tells about itself, cookies and conditions, and the attacks that end there: one sentence each.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{Ground, answer, ok, sorry, sorry_and_closed};
use ropewalk_web::{Arguments, Cookie, CookieError, Request, Response, Router, SameSite, Site, handler};

fn told(tell: impl Fn(Request) -> String + 'static, script: &str) -> String {
    let text = Ground::of(handler(tell)).ask(script);
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn get(fields: &str) -> String {
    format!("GET /p?q HTTP/1.1\r\nHost: h\r\n{fields}\r\n")
}

#[test]
fn host_port_and_scheme() {
    let tell = |request: Request| {
        format!("{:?} {} {} {:?}", request.host_name(), request.port(), request.scheme(), request.url())
    };
    let at = |host: &str| told(tell, &format!("GET /p?q HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert_eq!(at("example.org"), r#"Some("example.org") 80 http Some("http://example.org/p")"#);
    assert_eq!(at("example.org:8080"), r#"Some("example.org") 8080 http Some("http://example.org:8080/p")"#);
    assert_eq!(at("[::1]:8080"), r#"Some("[::1]") 8080 http Some("http://[::1]:8080/p")"#);
    assert_eq!(at(""), r#"Some("") 80 http None"#);
    // What stands in the target goes before the field, and its scheme is nobody's word.
    let absolute = told(tell, "GET https://a.example:1/p HTTP/1.1\r\nHost: b\r\n\r\n");
    assert_eq!(absolute, r#"Some("a.example") 1 http Some("http://a.example:1/p")"#);
    assert_eq!(told(tell, "GET /p HTTP/1.0\r\n\r\n"), "None 80 http None");
}

#[test]
fn a_program_behind_a_proxy_sets_the_host() {
    let tell = |mut request: Request| {
        request.set_host("shop.example:444", true);
        format!("{:?} {} {}", request.url(), request.port(), request.is_secure())
    };
    assert_eq!(told(tell, &get("")), r#"Some("https://shop.example:444/p") 444 true"#);
}

#[test]
fn a_trusted_proxy_says_whether_the_client_came_encrypted() {
    let tell = handler(|request: Request| format!("{} {}", request.scheme(), request.port()));
    let site = Site::new(tell).server(None).trust_proxies("127.0.0.0/8".parse().unwrap());
    let ground = Ground::calm(site);
    assert_eq!(ground.ask(get("X-Forwarded-Proto: https\r\n")), ok("https 443"));
    assert_eq!(ground.ask(get("")), ok("http 80"));
}

#[test]
fn user_and_password() {
    let tell = |request: Request| format!("{:?} {:?}", request.user(), request.password());
    let with = |value: &str| told(tell, &get(&format!("Authorization: {value}\r\n")));
    assert_eq!(with("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), r#"Some("Aladdin") Some("open sesame")"#);
    assert_eq!(with("basic  OmE6Yg=="), r#"Some("") Some("a:b")"#);
    for wrong in
        ["Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Basic", "Basic !!!!", "Basic QWxhZGRpbg==", "Basic /w=="]
    {
        assert_eq!(with(wrong), "None None", "{wrong}");
    }
}

#[test]
fn arguments_of_query_and_form() {
    let tell = |request: Request| {
        let arguments = request.arguments();
        let all: Vec<&str> = arguments.all("a").collect();
        format!("{:?} {all:?} {:?} {}", request.argument("a"), arguments.first("b"), request.uri())
    };
    let script = "GET /x?a=1&b=%26+%C3%BC&a=2&c HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(told(tell, script), r#"Some("1") ["1", "2"] Some("& ü") /x?a=1&b=%26+%C3%BC&a=2&c"#);
    let router = Router::new()
        .post("/", |request: Request| async move { request.form().await.map(|form| form.to_string()) });
    let ground = Ground::of(router);
    let post = |kind: &str, body: &str| {
        ground.ask(format!(
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    };
    assert_eq!(post("Application/X-WWW-Form-Urlencoded; charset=utf-8", "a=1&b=x%20y"), ok("a=1&b=x+y"));
    assert!(post("text/plain", "a=1").starts_with("HTTP/1.1 415 "));
    assert_eq!(Arguments::read(b"a=%ff&&=x&=").iter().count(), 3);
}

#[test]
fn cookies_are_read_as_they_were_sent() {
    let tell = |request: Request| {
        let cookies = request.cookies();
        let all: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{} {:?} {:?}", all.join("|"), request.cookie("a"), cookies.decoded("c"))
    };
    let fields = "Cookie: a=1; b=\"two\"; a=3;c=%C3%BC\r\nCookie: d=x=y; nonsense; =void; e=\r\n";
    assert_eq!(
        told(tell, &get(fields)),
        r#"a=1|b=two|a=3|c=ü|d=x=y|e= Some("1") Some("ü")"#.replace("c=ü", "c=%C3%BC")
    );
    assert_eq!(told(tell, &get("")), " None None");
}

#[test]
fn cookies_are_set_with_all_their_attributes() {
    let field = |cookie: Cookie| cookie.to_field().unwrap();
    assert_eq!(field(Cookie::new("a", "1")), "a=1; Path=/; HttpOnly; SameSite=Lax");
    let all = Cookie::new("__Secure-a", "1")
        .domain("example.org")
        .path("/shop")
        .max_age(Duration::from_secs(60))
        .expires(UNIX_EPOCH + Duration::from_secs(784_111_777))
        .secure(true)
        .http_only(false)
        .same_site(SameSite::None);
    let expected = "__Secure-a=1; Domain=example.org; Path=/shop; Max-Age=60; Expires=Sun, 06 Nov 1994 08:49:37 GMT; Secure; SameSite=None";
    assert_eq!(field(all), expected);
    assert_eq!(
        field(Cookie::removal("a")),
        "a=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; SameSite=Lax"
    );
    assert_eq!(field(Cookie::encoded("a", "ü; x")), "a=%C3%BC%3B%20x; Path=/; HttpOnly; SameSite=Lax");
}

#[test]
fn nothing_gets_into_a_cookie_that_is_not_its_own() {
    for value in ["1; Domain=evil.example", "1\r\nSet-Cookie: b=2", "1\0", "a b", "a,b", "\"", "a\\b", "ü"] {
        assert_eq!(Cookie::new("a", value).to_field(), Err(CookieError::Value("a".into())), "{value:?}");
        let field = Cookie::encoded("a", value).to_field().unwrap();
        assert_eq!(field.matches([';', '\r', '\n', '\0']).count(), 3, "{field:?}");
    }
    for name in ["", "a b", "a=b", "a;b", "a\r\n", "ü", "a,b"] {
        assert_eq!(Cookie::new(name, "1").to_field(), Err(CookieError::Name(name.into())), "{name:?}");
    }
    for path in ["", "x", "/a; Secure", "/\r\n", "/a b"] {
        assert_eq!(
            Cookie::new("a", "1").path(path).to_field(),
            Err(CookieError::Attribute("path")),
            "{path:?}"
        );
    }
    for domain in ["", "a;b", "a b", "example.org\r\n", "a,b"] {
        assert_eq!(
            Cookie::new("a", "1").domain(domain).to_field(),
            Err(CookieError::Attribute("domain")),
            "{domain:?}"
        );
    }
    let late = UNIX_EPOCH + Duration::from_secs(300_000_000_000);
    assert_eq!(Cookie::new("a", "1").expires(late).to_field(), Err(CookieError::Attribute("date")));
}

#[test]
fn a_cookie_that_browsers_would_throw_away_is_an_error() {
    for cookie in [
        Cookie::new("a", "1").same_site(SameSite::None),
        Cookie::new("__Secure-a", "1"),
        Cookie::new("__Host-a", "1"),
        Cookie::new("__host-a", "1").secure(true).domain("example.org"),
        Cookie::new("__Host-a", "1").secure(true).path("/x"),
    ] {
        assert!(matches!(cookie.to_field(), Err(CookieError::Contradiction(_))), "{cookie:?}");
    }
    assert!(Cookie::new("__Host-a", "1").secure(true).to_field().is_ok());
}

#[test]
fn an_answer_with_a_bad_cookie_is_a_500() {
    let bad = |_: Request| Response::text("hello").cookie(Cookie::new("a", "1\r\nX: y"));
    assert_eq!(Ground::of(handler(bad)).ask(get("")), sorry());
    let good =
        |_: Request| Response::text("hello").cookie(Cookie::new("a", "1")).cookie(Cookie::new("b", "2"));
    let text = Ground::of(handler(good)).ask(get(""));
    assert!(text.contains("Set-Cookie: a=1; Path=/; HttpOnly; SameSite=Lax\r\nSet-Cookie: b=2; "), "{text}");
}

#[test]
fn a_field_with_a_line_break_is_a_500() {
    for value in ["a\r\nSet-Cookie: x=1", "a\nb", "a\rb", "a\0b"] {
        let router = Router::new().get("/p", move |_| Response::redirect(302, value));
        assert_eq!(Ground::of(router).ask(get("")), sorry_and_closed(), "{value:?}");
    }
}

fn dated(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(784_111_777 + seconds)
}

#[test]
fn an_answer_with_validators_is_compared_by_itself() {
    let router = Router::new()
        .get("/p", |_| Response::text("hello").header("Vary", "Accept").etag("7").last_modified(dated(0)))
        .post("/p", |_| Response::text("posted").etag("7"))
        .get("/gone", |_| Response::text("gone").status(410).etag("7"))
        .get("/plain", |_| Response::text("plain").header("ETag", "\"7\""));
    let ground = Ground::of(router);
    let validators = "Vary: Accept\r\nETag: \"7\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let whole =
        answer("200 OK", &format!("Content-Type: text/plain; charset=utf-8\r\n{validators}"), "hello");
    let same = format!("HTTP/1.1 304 Not Modified\r\n{validators}\r\n");
    for fields in [
        "",
        "If-None-Match: \"8\"\r\n",
        "If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n",
        "If-Match: \"7\"\r\n",
    ] {
        assert_eq!(ground.ask(get(fields)), whole, "{fields}");
    }
    for fields in [
        "If-None-Match: \"7\"\r\n",
        "If-None-Match: W/\"7\"\r\n",
        "If-None-Match: \"x\", \"7\"\r\n",
        "If-None-Match: *\r\n",
        "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
    ] {
        assert_eq!(ground.ask(get(fields)), same, "{fields}");
    }
    for fields in ["If-Match: \"8\"\r\n", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n"] {
        assert!(ground.ask(get(fields)).starts_with("HTTP/1.1 412 "), "{fields}");
    }
    let ask = |line: &str| ground.ask(format!("{line} HTTP/1.1\r\nHost: h\r\nIf-None-Match: \"7\"\r\n\r\n"));
    assert!(ask("HEAD /p").starts_with("HTTP/1.1 304 "));
    assert!(ask("POST /p").ends_with("posted"), "it is done already");
    assert!(ask("GET /gone").starts_with("HTTP/1.1 410 "));
    assert!(ask("GET /plain").ends_with("plain"), "only what is said to be compared is");
}

#[test]
fn a_condition_is_asked_before_something_is_changed() {
    let put = |request: Request| match request.precondition(Some("7"), Some(dated(0))) {
        Some(answer) => answer,
        None => Response::empty(204).etag("8"),
    };
    let ground = Ground::of(Router::new().put("/p", put).get("/p", put));
    let ask = |method: &str, fields: &str| {
        let text = ground.ask(format!("{method} /p HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
        text[9..12].to_owned()
    };
    assert_eq!(ask("PUT", "If-Match: \"7\"\r\n"), "204");
    assert_eq!(ask("PUT", "If-Match: \"6\"\r\n"), "412");
    assert_eq!(ask("PUT", "If-None-Match: *\r\n"), "412");
    assert_eq!(ask("PUT", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n"), "412");
    assert_eq!(ask("GET", "If-None-Match: \"7\"\r\n"), "304");
}

#[test]
fn an_entity_tag_that_is_none_is_a_500() {
    for tag in ["a\"b", "a b", "a\r\n", "ü"] {
        let router = Router::new().get("/p", move |_| Response::text("hello").etag(tag));
        assert_eq!(Ground::of(router).ask(get("")), sorry(), "{tag:?}");
    }
}

#[test]
fn a_responder_is_told_that_the_client_has_it() {
    let router = Router::new().get("/p", |request: Request| {
        let responder = request.responder();
        if !responder.set_etag("7") {
            responder.write("work, ");
        }
        responder.write("written");
        responder.finish();
    });
    let ground = Ground::of(router);
    assert!(ground.ask(get("")).contains("ETag: \"7\"\r\n"));
    let known = ground.ask(get("If-None-Match: \"7\"\r\n"));
    assert_eq!(known, "HTTP/1.1 304 Not Modified\r\nETag: \"7\"\r\nTransfer-Encoding: chunked\r\n\r\n");
}

#[test]
fn a_responder_redirects_and_sets_cookies() {
    let router = Router::new().get("/p", |request: Request| {
        let responder = request.responder();
        assert!(responder.add_cookie(&Cookie::new("a", "1; x")).is_err());
        responder.add_cookie(&Cookie::new("a", "1")).unwrap();
        responder.redirect("/elsewhere");
        responder.finish();
    });
    let text = Ground::of(router).ask(get(""));
    let expected =
        "HTTP/1.1 302 Found\r\nSet-Cookie: a=1; Path=/; HttpOnly; SameSite=Lax\r\nLocation: /elsewhere\r\n";
    assert!(text.starts_with(expected), "{text}");
}
