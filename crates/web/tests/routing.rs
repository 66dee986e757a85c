//! The router: which handler a path, a host and an expression find, what nested routers keep, and the way back from a name to a
//! path.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use common::{Ground, MS, answer, ok};
use proptest::prelude::*;
use ropewalk_web::{Answer, Handler, Redirect, Request, Response, Router, UrlError, handler};

fn ask(ground: &Ground, method: &str, path: &str) -> String {
    ground.ask(format!("{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n"))
}

fn get(ground: &Ground, path: &str) -> String {
    ask(ground, "GET", path)
}

/// What a path finds: the body of a 200, else the status.
fn found(ground: &Ground, path: &str) -> String {
    let text = get(ground, path);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    if head.starts_with("HTTP/1.1 200 ") { body.to_owned() } else { head[9..12].to_owned() }
}

fn params(request: Request) -> String {
    named(&request)
}

fn named(request: &Request) -> String {
    let params: Vec<String> =
        request.params().iter().map(|(name, _)| format!("{name}={}", request.param(name).unwrap())).collect();
    params.join(",")
}

fn page(text: &'static str) -> Router {
    Router::new().get("/", move |_| text)
}

#[test]
fn literal_then_parameters_then_expressions_then_fallback() {
    let ground = Ground::of(
        Router::new()
            .regex(r"/(\w+)/x", |_| "expression")
            .regex(r"/(\w+)/(\d+)", |_| "second expression")
            .get("/{a}/x", |_| "parameters")
            .get("/a/x", |_| "literal")
            .fallback(handler(|_| "fallback")),
    );
    assert_eq!(found(&ground, "/a/x"), "literal");
    assert_eq!(found(&ground, "/b/x"), "parameters");
    assert_eq!(found(&ground, "/b/7"), "second expression");
    assert_eq!(found(&ground, "/b/y"), "fallback");
}

#[test]
fn an_expression_matches_the_whole_path_or_nothing() {
    let router = Router::new().regex(r"/a/(\d+)", params).regex(r"/b|/c", |_| "either");
    let ground = Ground::of(router);
    assert_eq!(found(&ground, "/a/17"), "1=17");
    for path in ["/a/17x", "/a/", "/x/a/17", "/a/17/", "/bx", "/x/c", "/a/17%0a"] {
        assert_eq!(found(&ground, path), "404", "{path}");
    }
    assert_eq!((found(&ground, "/b"), found(&ground, "/c")), ("either".into(), "either".into()));
}

#[test]
fn groups_are_parameters_by_name_or_number() {
    let ground = Ground::of(Router::new().regex(r"/(\d+)/(?P<what>[^/]+)(?:/(x))?/(.*)", params));
    assert_eq!(found(&ground, "/7/a%20b/c/d"), "1=7,what=a b,3=c/d");
    assert_eq!(found(&ground, "/7/a/x/"), "1=7,what=a,2=x,3=");
}

#[test]
fn expressions_take_their_methods_in_order() {
    let router = Router::new().regex_route("GET", r"/(\d+)", handler(|_| "read")).regex_route(
        "PUT",
        r"/(\d+)",
        handler(|_| "written"),
    );
    let ground = Ground::of(router);
    assert_eq!(ask(&ground, "PUT", "/1"), ok("written"));
    assert!(ask(&ground, "POST", "/1").contains("\r\nAllow: GET, HEAD, OPTIONS, PUT\r\n"));
}

#[test]
fn paths_that_are_tricks_find_nothing() {
    let router = Router::new()
        .get("/admin", |_| "admin")
        .get("/user/{id}", params)
        .get("/files/{*rest}", params)
        .regex(r"/e/(.*)", params);
    let ground = Ground::of(router);
    let dots = [
        "/user/..",
        "/user/.",
        "/user/%2e%2E",
        "/files/a/../b",
        "/files/%2e/x",
        "/files/..",
        "/e/a/.%2e",
        "/e/.",
    ];
    let others =
        ["/%61dmin", "/admin/", "//admin", "/x/../admin", "/ADMIN", "/admin%00", "/user/a/b", "/user/"];
    for path in dots.into_iter().chain(others) {
        assert_eq!(found(&ground, path), "404", "{path}");
    }
    // What is decoded is decoded once, and a slash that was hidden is no way into another segment.
    assert_eq!(found(&ground, "/user/%252e%252e"), "id=%2e%2e");
    assert_eq!(found(&ground, "/user/a%2Fb"), "id=a/b");
    assert_eq!(found(&ground, "/files/..a/b..%20"), "rest=..a/b.. ");
}

#[test]
fn a_nested_router_is_at_its_prefix_and_sees_its_parameters() {
    let inner = Router::new()
        .get("/", params)
        .get("/notes/{note}", params)
        .regex(r"/y(\d+)", params)
        .fallback(handler(|request: Request| format!("no {} for {}", request.path(), named(&request))));
    let ground = Ground::of(Router::new().nest("/members/{id}", inner).fallback(handler(|_| "outer")));
    assert_eq!(found(&ground, "/members/7"), "id=7");
    assert_eq!(found(&ground, "/members/7/notes/a%2Fb"), "id=7,note=a/b");
    assert_eq!(found(&ground, "/members/7/y2024"), "id=7,1=2024");
    assert_eq!(found(&ground, "/members/7/x"), "no /members/7/x for id=7");
    assert_eq!(found(&ground, "/members/7/"), "no /members/7/ for id=7");
    assert_eq!(found(&ground, "/members/"), "outer");
    assert_eq!(found(&ground, "/members"), "outer");
}

#[test]
fn a_prefix_with_a_slash_behind_keeps_it() {
    let ground = Ground::of(Router::new().nest("/admin/", page("admin").get("/x", |_| "x")));
    assert_eq!(found(&ground, "/admin/"), "admin");
    assert_eq!(found(&ground, "/admin"), "404");
    assert_eq!(found(&ground, "/admin/x"), "x");
}

#[test]
fn routers_nest_in_nested_routers() {
    let innermost = Router::new().get("/c", params).named("c").fallback(handler(|_| "innermost"));
    let inner = Router::new().nest("/b/{b}", innermost).get("/b/{b}/d", params);
    let router = Router::new().nest("/a/{a}", inner);
    assert_eq!(router.reverse_url("c", (1, 2)).unwrap(), "/a/1/b/2/c");
    let ground = Ground::of(router);
    assert_eq!(found(&ground, "/a/1/b/2/c"), "a=1,b=2");
    assert_eq!(found(&ground, "/a/1/b/2/d"), "a=1,b=2");
    assert_eq!(found(&ground, "/a/1/b/2/e"), "innermost");
    assert_eq!(found(&ground, "/a/1/x"), "404");
}

#[test]
fn a_mounted_handler_is_told_where_its_part_begins() {
    let rest = handler(|request: Request| format!("[{}] {}", request.rest(), named(&request)));
    let inner = handler(|request: Request| format!("inner [{}]", request.rest()));
    let ground =
        Ground::of(Router::new().mount("/u/{u}", rest).mount("/u/{u}/files", inner).get("/u/{u}/x", |_| "x"));
    assert_eq!(found(&ground, "/u/1"), "[] u=1");
    assert_eq!(found(&ground, "/u/1/"), "[/] u=1");
    assert_eq!(found(&ground, "/u/1/a%20b/c?d"), "[/a%20b/c] u=1");
    assert_eq!(found(&ground, "/u/1/x"), "x");
    assert_eq!(found(&ground, "/u/1/files/y"), "inner [/y]");
    assert_eq!(found(&ground, "/u/1/filesystem"), "[/filesystem] u=1");
    assert_eq!(found(&ground, "/u//x"), "404");
}

#[test]
fn merged_routers_are_one() {
    let other = page("other").get("/b", |_| "b").fallback(handler(|_| "fallback")).named("b");
    let router = Router::new().get("/a", |_| "a").merge(other);
    assert_eq!(router.reverse_url("b", ()).unwrap(), "/b");
    let ground = Ground::of(router);
    assert_eq!((found(&ground, "/a"), found(&ground, "/b")), ("a".into(), "b".into()));
    assert_eq!((found(&ground, "/"), found(&ground, "/c")), ("other".into(), "fallback".into()));
}

#[test]
fn hosts_have_sites_of_their_own() {
    let router = Router::new()
        .get("/only-default", |_| "default only")
        .host("Example.org", page("home"))
        .host("*.example.org", page("anybody"))
        .host("*.shop.example.org", page("shops"))
        .host("[::1]", page("loopback"))
        .get("/", |_| "default")
        .fallback(handler(|_| "default's fallback"));
    router.check().unwrap();
    let ground = Ground::of(router);
    let at = |host: &str, path: &str| {
        let text = ground.ask(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        if head.starts_with("HTTP/1.1 200 ") { body.to_owned() } else { head[9..12].to_owned() }
    };
    for (host, page) in [
        ("example.org", "home"),
        ("EXAMPLE.ORG:8080", "home"),
        ("example.org.", "home"),
        ("a.example.org", "anybody"),
        ("a.b.example.org", "anybody"),
        ("my.shop.example.org", "shops"),
        ("shop.example.org", "anybody"),
        ("[::1]:80", "loopback"),
        ("badexample.org", "default"),
        (".example.org", "default"),
        ("127.0.0.1", "default"),
        ("", "default"),
    ] {
        assert_eq!(at(host, "/"), page, "{host}");
    }
    assert_eq!(at("x", "/only-default"), "default only");
    assert_eq!(at("x", "/nowhere"), "default's fallback");
    assert_eq!(at("example.org", "/only-default"), "404", "a host's router is the whole of it");
    // RFC 9112 section 3.2.2: the absolute form goes before the Host field.
    assert_eq!(ground.ask("GET http://example.org/ HTTP/1.1\r\nHost: other\r\n\r\n"), ok("home"));
    assert!(ground.ask("GET / HTTP/1.0\r\n\r\n").ends_with("default"));
}

#[test]
fn a_page_of_ones_own_for_405_has_the_methods_and_the_status() {
    let inner = page("inner").method_not_allowed(handler(|_| "inner says no"));
    let router = Router::new()
        .get("/", |_| "hello")
        .post("/", |_| "posted")
        .method_not_allowed(handler(|request: Request| async move {
            format!("{} is not for this", request.method())
        }))
        .nest("/inner", inner);
    let ground = Ground::of(router);
    let fields = "Content-Type: text/plain; charset=utf-8\r\nAllow: GET, HEAD, OPTIONS, POST\r\n";
    assert_eq!(ask(&ground, "PUT", "/"), answer("405 Method Not Allowed", fields, "PUT is not for this"));
    assert!(ask(&ground, "PUT", "/inner").ends_with("inner says no"));
    assert!(ask(&ground, "OPTIONS", "/").starts_with("HTTP/1.1 204 "));
}

#[test]
fn state_is_found_by_its_type_in_the_innermost_router_that_has_it() {
    fn states(request: Request) -> String {
        let number = request.state::<u32>().map(|number| *number);
        let text = request.state::<&str>().map(|text| *text);
        format!("{number:?} {text:?}")
    }
    let inner = Router::new().get("/", states).state(2u32).get("/late", states);
    let router = Router::new()
        .get("/early", states)
        .nest("/inner", inner)
        .state(1u32)
        .state("outer")
        .get("/late", states)
        .fallback(handler(states));
    let ground = Ground::of(router);
    for path in ["/early", "/late", "/nowhere"] {
        assert_eq!(found(&ground, path), "Some(1) Some(\"outer\")", "{path}");
    }
    for path in ["/inner", "/inner/late"] {
        assert_eq!(found(&ground, path), "Some(2) Some(\"outer\")", "{path}");
    }
    assert_eq!(found(&Ground::of(Router::new().get("/", states)), "/"), "None None");
}

#[test]
fn state_is_for_hosts_too() {
    let state = |request: Request| format!("{:?}", request.state::<u8>());
    let hosted = || Router::new().get("/", state);
    let before = Router::new().state(7u8).host("h", hosted());
    let behind = Router::new().host("h", hosted()).state(7u8);
    for router in [before, behind] {
        assert_eq!(found(&Ground::of(router), "/"), "Some(7)");
    }
}

#[test]
fn redirects_go_where_they_say() {
    let router = Router::new()
        .redirect("/old/{id}", "/new/{id}")
        .redirect("/pictures/{*rest}", "/photos/{rest}?from=old")
        .regex_route("GET", r"/(\d+)-(\w+)", Redirect::to("https://example.org/{1}/{0}").unwrap().temporary())
        .redirect("/part", "/whole#part")
        .route("POST", "/form", Redirect::to("/new-form").unwrap().status(308));
    router.check().unwrap();
    let ground = Ground::of(router);
    let location = |path: &str| {
        let text = get(&ground, path);
        let location = text.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap_or("nowhere");
        format!("{} {location}", &text[9..12])
    };
    assert_eq!(location("/old/a%20b"), "301 /new/a%20b");
    assert_eq!(location("/old/7?x=1&y"), "301 /new/7?x=1&y");
    assert_eq!(location("/pictures/a/b?c"), "301 /photos/a/b?from=old&c");
    assert_eq!(location("/part?a"), "301 /whole?a#part");
    assert_eq!(location("/12-may"), "302 https://example.org/may/12");
    assert!(ask(&ground, "POST", "/form").starts_with("HTTP/1.1 308 "));
}

#[test]
fn redirects_that_could_lead_anywhere_are_errors() {
    for to in [
        "//evil.example/{0}",
        "/\\evil.example",
        "evil",
        "javascript:alert(1)",
        "https://{0}/",
        "https://x{0}",
        "",
    ] {
        assert!(Redirect::to(to).is_err(), "{to}");
    }
    let error = Router::new().redirect("/x", "//evil.example").check().unwrap_err();
    assert_eq!(error.path(), "//evil.example");
}

#[test]
fn a_route_that_is_wrong_names_both_places() {
    let twice = |router: Router| {
        let error = router.check().unwrap_err();
        assert_eq!(error.place().file(), file!());
        assert_eq!(error.other().unwrap().line() + 1, error.place().line(), "{error}");
        let words = error.to_string();
        assert_eq!(words.matches(file!()).count(), 2, "{words}");
        words
    };
    #[rustfmt::skip]
    let same = Router::new()
        .get("/x", |_| "first")
        .get("/x", |_| "second");
    assert!(twice(same).contains("GET has a handler already"));
    #[rustfmt::skip]
    let alike = Router::new()
        .get("/{a}", |_| "first")
        .post("/{b}", |_| "second");
    assert!(twice(alike).contains("takes the same paths"));
    #[rustfmt::skip]
    let expressions = Router::new()
        .regex(r"/(\d+)", |_| "first")
        .regex(r"/(\d+)", |_| "second");
    twice(expressions);
    #[rustfmt::skip]
    let names = Router::new().get("/a", |_| "a").get("/b", |_| "b")
        .named("it").get("/c", |_| "c")
        .named("it");
    assert!(twice(names).contains("has that name already"));
    #[rustfmt::skip]
    let hosts = Router::new()
        .host("h", Router::new())
        .host("H", Router::new());
    twice(hosts);
    #[rustfmt::skip]
    let mounts = Router::new()
        .mount("/m", handler(|_| "first"))
        .mount("/m", handler(|_| "second"));
    twice(mounts);
}

#[test]
fn conflicts_with_nested_and_merged_routes_are_seen() {
    let inner = || Router::new().get("/x", |_| "inner");
    for router in [
        Router::new().get("/a/x", |_| "outer").nest("/a", inner()),
        Router::new().nest("/a", inner()).get("/a/x", |_| "outer"),
        Router::new().get("/x", |_| "outer").merge(inner()),
        Router::new().nest("/a", inner().named("n")).get("/b", |_| "").named("n"),
    ] {
        assert!(router.check().unwrap_err().other().is_some());
    }
}

#[test]
fn what_no_route_can_be_is_an_error_and_no_panic() {
    for router in [
        Router::new().get("x", |_| ""),
        Router::new().get("/{", |_| ""),
        Router::new().get("/}", |_| ""),
        Router::new().get("/{}", |_| ""),
        Router::new().get("/{a}/{a}", |_| ""),
        Router::new().get("/{*a}/b", |_| ""),
        Router::new().get("/{a}{b}", |_| ""),
        Router::new().regex("/(", |_| ""),
        Router::new().nest("x", Router::new()),
        Router::new().nest("/{*rest}", Router::new()),
        Router::new().nest("/x{a}", Router::new()),
        Router::new().nest("/{a}", Router::new().get("/{a}", |_| "")),
        Router::new().host("a b", Router::new()),
        Router::new().host("example.org:80", Router::new()),
        Router::new().host("*example.org", Router::new()),
        Router::new().host("h", Router::new().host("i", Router::new())),
        Router::new().named("nothing"),
        Router::new().get("/a", |_| "").nest("/b", Router::new()).named("not the prefix"),
        Router::new().regex(r"/\d+", |_| "").named("no way back"),
        Router::new().regex("/(a|(b))", |_| "").named("no way back"),
        Router::new().state(1u8).state(2u8),
    ] {
        let words = router.check().unwrap_err().to_string();
        assert!(words.contains(file!()), "{words}");
    }
}

#[test]
fn the_place_of_a_handler_is_known() {
    let router = Router::new()
        .get("/x", |_| "")
        .regex(r"/(\d+)", |_| "")
        .nest("/n", Router::new().get("/{a}", |_| ""));
    for path in ["/x", "/7", "/n/a"] {
        assert_eq!(router.place("GET", path).unwrap().file(), file!(), "{path}");
    }
    assert!(router.place("GET", "/nowhere").is_none());
}

#[test]
fn names_lead_back() {
    let router = Router::new()
        .get("/", |_| "")
        .named("home")
        .get("/user/{id}", |_| "")
        .named("user")
        .get("/img-{id}.png", |_| "")
        .named("image")
        .get("/{{x}}/{*rest}", |_| "")
        .named("rest")
        .regex(r"/archive/(\d{4})\.(?P<month>\d\d)", |_| "")
        .named("archive");
    router.check().unwrap();
    assert_eq!(router.reverse_url("home", ()).unwrap(), "/");
    assert_eq!(router.reverse_url("user", ("a/b c?d#e%",)).unwrap(), "/user/a%2Fb%20c%3Fd%23e%25");
    assert_eq!(router.reverse_url("image", [("id", 7)]).unwrap(), "/img-7.png");
    assert_eq!(router.reverse_url("rest", ("a/b c",)).unwrap(), "/{x}/a/b%20c");
    assert_eq!(router.reverse_url("archive", (2024, "05")).unwrap(), "/archive/2024.05");
    assert_eq!(router.reverse_url("archive", [("month", "05"), ("1", "2024")]).unwrap(), "/archive/2024.05");
    assert_eq!(router.reverse_url("nobody", ()), Err(UrlError::Unknown("nobody".into())));
    assert_eq!(router.reverse_url("user", ()), Err(UrlError::Missing("id".into())));
    assert_eq!(router.reverse_url("user", [("name", "x")]), Err(UrlError::Missing("id".into())));
    assert_eq!(router.reverse_url("user", (1, 2)), Err(UrlError::Unused("2".into())));
    assert_eq!(router.reverse_url("user", [("id", "1"), ("x", "2")]), Err(UrlError::Unused("x".into())));
    assert_eq!(router.reverse_url("archive", (24, "05")), Err(UrlError::Unfit("/archive/24.05".into())));
    for dots in [".", "..", ""] {
        assert!(matches!(router.reverse_url("user", (dots,)), Err(UrlError::Unfit(_))), "{dots:?}");
    }
    assert!(router.reverse_url("rest", ("a/../b",)).is_err());
}

#[test]
fn a_request_finds_the_way_back_too() {
    let router = Router::new()
        .get("/", |request: Request| {
            request.reverse_url("user", (7,)).unwrap_or_else(|error| error.to_string())
        })
        .get("/user/{id}", |_| "")
        .named("user");
    assert_eq!(found(&Ground::of(router), "/"), "/user/7");
    let alone =
        Ground::of(handler(|request: Request| request.reverse_url("user", ()).unwrap_err().to_string()));
    assert_eq!(found(&alone, "/"), "no route is named \"user\"");
}

struct Recorder;

impl Handler for Recorder {
    fn handle(&self, request: Request) -> Answer {
        Answer::Now(Response::text(params(request)))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes out of a name is found again, with the same arguments.
    #[test]
    fn the_way_back_and_forth(
        first in "\\PC{1,12}", second in "[a-z0-9./%+ é-]{1,12}", number in 0u32..100_000,
    ) {
        let router = Router::new()
            .route("GET", "/p/{first}/x-{second}", Recorder)
            .named("pattern")
            .route("GET", "/r/{first}/{*second}", Recorder)
            .named("rest")
            .regex_route("GET", r"/e/(\d+)/([^/]+)/(.*)\.html", Recorder)
            .named("expression");
        let paths = [
            (router.reverse_url("pattern", (&first, &second)), format!("first={first},second={second}")),
            (router.reverse_url("rest", (&first, &second)), format!("first={first},second={second}")),
            (router.reverse_url("expression", (number, &first, &second)), format!("1={number},2={first},3={second}")),
        ];
        let ground = Ground::of(router);
        for (path, expected) in paths {
            match path {
                Ok(path) => prop_assert_eq!(found(&ground, &path), expected, "{}", path),
                Err(UrlError::Unfit(path)) => {
                    let dots = [&first, &second].iter().any(|value| value.split('/').any(|part| matches!(part, "." | "..")));
                    prop_assert!(dots, "{}", path);
                }
                Err(error) => prop_assert!(false, "{}", error),
            }
        }
        ground.advance(MS);
    }

    /// A path that begins with two slashes is another host to a browser.
    #[test]
    fn no_name_leads_to_another_host(rest in "[/\\\\a-z.]{0,12}") {
        let router = Router::new().get("/{*rest}", |_| "").named("rest").regex("/(.*)", |_| "").named("expression");
        for name in ["rest", "expression"] {
            if let Ok(path) = router.reverse_url(name, (&rest,)) {
                prop_assert!(path.starts_with('/') && !path.starts_with("//") && !path.contains('\\'), "{}", path);
            }
        }
    }

    /// The same for redirects, whatever the path is.
    #[test]
    fn no_redirect_leads_to_another_host(rest in "[/%\\\\5c2fFC.a]{0,16}") {
        let router = Router::new().redirect("/go/{*rest}", "/{rest}").regex_route("GET", "/re/(.*)", Redirect::to("/{0}").unwrap());
        let ground = Ground::of(router);
        for prefix in ["/go/", "/re/"] {
            let text = get(&ground, &format!("{prefix}{rest}"));
            if let Some(location) = text.lines().find_map(|line| line.strip_prefix("Location: ")) {
                let local = location.starts_with('/') && !location.starts_with("//") && !location.contains('\\');
                prop_assert!(local, "{} {}", rest, location);
            }
        }
    }
}
