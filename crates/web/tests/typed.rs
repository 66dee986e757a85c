//! Functions with typed arguments: what is taken out of a request, and what those are told whose request does not fit.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::cell::Cell;
use std::collections::BTreeMap;

use common::{Ground, answer, errors, ok, sorry};
use ropewalk_web::extract::{
    Basic, Bearer, Cookies, Form, FromHead, Header, Headers, Json, Limited, Method, Path, Peer, Query, State,
    UserAgent, typed,
};
use ropewalk_web::{Rejection, Request, Router};
use serde::{Deserialize, Serialize};

fn get(ground: &Ground, path: &str) -> String {
    ground.ask(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"))
}

fn with(ground: &Ground, path: &str, fields: &str) -> String {
    ground.ask(format!("GET {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"))
}

fn post(ground: &Ground, path: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    ground.ask(format!(
        "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

const FORM: &str = "application/x-www-form-urlencoded";

fn refused(status: &str, why: &str) -> String {
    answer(status, "Content-Type: text/plain; charset=utf-8\r\n", &format!("{status}: {why}\n"))
}

#[derive(Deserialize)]
struct When {
    year: u16,
    month: Month,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Month {
    May,
    June,
}

#[test]
fn paths_as_values_tuples_structs_and_maps() {
    let router = Router::new()
        .get("/user/{id}", typed(|Path(id): Path<u64>| id.to_string()))
        .get("/name/{name}", typed(|Path(name): Path<String>| async move { name }))
        .get("/pair/{a}/{b}", typed(|Path((a, b)): Path<(i8, char)>| format!("{a} {b}")))
        .get(
            "/when/{year}/{month}",
            typed(|Path(when): Path<When>| format!("{} {:?}", when.year, when.month)),
        )
        .get("/map/{a}/{b}", typed(|Path(map): Path<BTreeMap<String, String>>| format!("{map:?}")))
        .regex(r"/expression/(\d+)(?:/(\d+))?", typed(|Path(all): Path<Vec<u8>>| format!("{all:?}")));
    let ground = Ground::of(router);
    assert_eq!(get(&ground, "/user/7"), ok("7"));
    assert_eq!(get(&ground, "/name/a%2Fb%20%C3%BC%00"), ok("a/b ü\0"));
    assert_eq!(get(&ground, "/pair/-3/%C3%BC"), ok("-3 ü"));
    assert_eq!(get(&ground, "/when/2024/may"), ok("2024 May"));
    assert_eq!(get(&ground, "/map/1/2"), ok(r#"{"a": "1", "b": "2"}"#));
    assert_eq!((get(&ground, "/expression/1"), get(&ground, "/expression/1/2")), (ok("[1]"), ok("[1, 2]")));
    let bad = "400 Bad Request";
    assert_eq!(
        get(&ground, "/user/x"),
        refused(bad, r#"the parameter "id" of the path: "x" is no whole number that fits"#)
    );
    assert_eq!(
        get(&ground, "/user/-1"),
        refused(bad, r#"the parameter "id" of the path: "-1" is no whole number that fits"#)
    );
    assert_eq!(
        get(&ground, "/pair/300/x"),
        refused(bad, r#"the parameter "a" of the path: "300" is too large"#)
    );
    assert_eq!(
        get(&ground, "/pair/3/xy"),
        refused(bad, r#"the parameter "b" of the path: "xy" is not one character"#)
    );
    let month = r#"the parameter "month" of the path: unknown variant `july`, expected `may` or `june`"#;
    assert_eq!(get(&ground, "/when/2024/july"), refused(bad, month));
    assert_eq!(get(&ground, "/name/%ff"), refused(bad, r#"the parameter "name" of the path: is not UTF-8"#));
}

#[derive(Deserialize)]
struct Search {
    q: String,
    #[serde(default)]
    tag: Vec<String>,
    page: Option<u32>,
    #[serde(default)]
    exact: bool,
}

fn search(Query(search): Query<Search>) -> String {
    format!("{} {:?} {:?} {}", search.q, search.tag, search.page, search.exact)
}

#[test]
fn queries_as_structs() {
    let ground = Ground::of(Router::new().get("/", typed(search)));
    assert_eq!(get(&ground, "/?q=a+b%26"), ok("a b& [] None false"));
    assert_eq!(get(&ground, "/?tag=x&q=a&tag=y&page=3&exact=on&other=1"), ok(r#"a ["x", "y"] Some(3) true"#));
    let bad = "400 Bad Request";
    assert_eq!(get(&ground, "/?page=3"), refused(bad, r#"the argument "q" of the query: is missing"#));
    assert_eq!(get(&ground, "/"), refused(bad, r#"the argument "q" of the query: is missing"#));
    assert_eq!(
        get(&ground, "/?q=a&page=x"),
        refused(bad, r#"the argument "page" of the query: "x" is no whole number that fits"#)
    );
    assert_eq!(
        get(&ground, "/?q=a&exact=maybe"),
        refused(bad, r#"the argument "exact" of the query: "maybe" is neither true nor false"#)
    );
}

#[test]
fn an_argument_that_is_polluted_is_refused() {
    let ground = Ground::of(Router::new().get("/", typed(search)));
    let twice = r#"the argument "q" of the query: is given 2 times, and one is wanted"#;
    assert_eq!(get(&ground, "/?q=a&q=b"), refused("400 Bad Request", twice));
    let page = r#"the argument "page" of the query: is given 3 times, and one is wanted"#;
    assert_eq!(get(&ground, "/?q=a&page=1&page=2&p%61ge=3"), refused("400 Bad Request", page));
}

#[test]
fn a_client_that_takes_json_is_told_in_json() {
    let ground = Ground::of(Router::new().get("/{id}", typed(|Path(id): Path<u64>| id.to_string())));
    let json = r#"{"error":"the parameter \"id\" of the path: \"x\" is no whole number that fits","field":"id","status":400}"#;
    for accept in ["application/json", "text/html, application/problem+json;q=0.5"] {
        let expected = answer("400 Bad Request", "Content-Type: application/json\r\n", json);
        assert_eq!(with(&ground, "/x", &format!("Accept: {accept}\r\n")), expected, "{accept}");
    }
    for accept in ["*/*", "text/html", "application/json;q=0"] {
        assert!(with(&ground, "/x", &format!("Accept: {accept}\r\n")).contains("text/plain"), "{accept}");
    }
}

#[derive(Debug, Deserialize, Serialize)]
struct Order {
    name: String,
    lines: Vec<Line>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Line {
    amount: u32,
}

#[test]
fn bodies_of_json() {
    let ground = Ground::of(Router::new().post("/", typed(|Json(order): Json<Order>| Json(order))));
    let json = r#"{"name":"rope","lines":[{"amount":3}]}"#;
    let same = answer("200 OK", "Content-Type: application/json\r\n", json);
    assert_eq!(post(&ground, "/", "application/json", json), same);
    assert_eq!(post(&ground, "/", "Application/vnd.order+JSON; charset=utf-8", json), same);
    let unsupported =
        refused("415 Unsupported Media Type", "the body has to be application/json, and has to say so");
    assert_eq!(post(&ground, "/", "text/plain", json), unsupported);
    let refused_with = |body: &str, status: &str, why: &str| {
        assert_eq!(post(&ground, "/", "application/json", body), refused(status, why), "{body}");
    };
    let entity = "422 Unprocessable Content";
    let amount = r#"the field "lines[1].amount" of the body: invalid type: string "x", expected u32 (line 1, column 52)"#;
    refused_with(r#"{"name":"rope","lines":[{"amount":3}, {"amount": "x" }]}"#, entity, amount);
    let missing = r#"the field "lines[0].amount" of the body: missing field `amount` (line 1, column 26)"#;
    refused_with(r#"{"name":"rope","lines":[{}]}"#, entity, missing);
    refused_with("{}", entity, r#"the field "name" of the body: missing field `name` (line 1, column 2)"#);
    let cut = "the body is no JSON: EOF while parsing an object (line 1, column 1)";
    refused_with("{", "400 Bad Request", cut);
    let empty = ground.ask("POST / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(empty, refused("400 Bad Request", "a body is wanted: application/json"));
}

#[test]
fn bodies_of_forms() {
    let ground = Ground::of(Router::new().post("/", typed(|Form(form): Form<Search>| search(Query(form)))));
    assert_eq!(post(&ground, "/", FORM, "q=a+b&tag=x&page=7"), ok(r#"a b ["x"] Some(7) false"#));
    let entity = "422 Unprocessable Content";
    assert_eq!(
        post(&ground, "/", FORM, "page=7"),
        refused(entity, r#"the argument "q" of the form: is missing"#)
    );
    assert!(post(&ground, "/", FORM, "q=1&q=2").contains("is given 2 times"));
    assert!(post(&ground, "/", "application/json", "{}").starts_with("HTTP/1.1 415 "));
}

#[test]
fn bodies_of_text_and_bytes_and_their_limits() {
    let router = Router::new()
        .post("/text", typed(|text: String| text))
        .post("/bytes", typed(|Limited(bytes): Limited<Vec<u8>, 5>| format!("{bytes:?}")))
        .post("/json", typed(|Limited(Json(n)): Limited<Json<u64>, 5>| async move { n.to_string() }))
        .post(
            "/request",
            typed(|Method(method): Method, request: Request| async move {
                request.text().await.map(|text| format!("{method} {text}"))
            }),
        );
    let ground = Ground::of(router);
    assert_eq!(post(&ground, "/text", "", "häll"), ok("häll"));
    assert_eq!(post(&ground, "/bytes", "", "ab"), ok("[97, 98]"));
    assert_eq!(post(&ground, "/json", "application/json", "12345"), ok("12345"));
    assert_eq!(post(&ground, "/request", "", "body"), ok("POST body"));
    for path in ["/bytes", "/json"] {
        assert!(post(&ground, path, "application/json", "123456").starts_with("HTTP/1.1 413 "), "{path}");
    }
    let bytes = ground.ask(b"POST /text HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n\xff");
    assert_eq!(bytes, refused("400 Bad Request", "the body is not UTF-8"));
}

#[test]
fn fields_cookies_methods_and_peers() {
    let router = Router::new()
        .get("/agent", typed(|Header(UserAgent(agent)): Header<UserAgent>| agent))
        .get("/bearer", typed(|Header(Bearer(token)): Header<Bearer>| token))
        .get("/basic", typed(|basic: Basic| format!("{}:{}", basic.user, basic.password)))
        .get("/cookies", typed(|cookies: Cookies| cookies.first("a").unwrap_or("none").to_owned()))
        .get(
            "/headers",
            typed(|headers: Headers| format!("{:?} {}", headers.first("X-A"), headers.all("x-a").count())),
        )
        .get("/peer", typed(|peer: Peer| format!("{:?} {}", peer.client, peer.address.ip().is_some())))
        .any("/method", typed(|Method(method): Method| method))
        .get("/nothing", typed(|| "nothing"));
    let ground = Ground::of(router);
    assert_eq!(with(&ground, "/agent", "User-Agent: rope/1\r\n"), ok("rope/1"));
    let missing = "the field User-Agent is missing";
    assert_eq!(get(&ground, "/agent"), refused("400 Bad Request", missing));
    assert_eq!(with(&ground, "/bearer", "Authorization: bearer abc.def\r\n"), ok("abc.def"));
    let unknown = get(&ground, "/bearer");
    assert!(
        unknown.starts_with("HTTP/1.1 401 ") && unknown.contains("\r\nWWW-Authenticate: Bearer\r\n"),
        "{unknown}"
    );
    assert!(with(&ground, "/bearer", "Authorization: Bearer a b\r\n").starts_with("HTTP/1.1 400 "));
    assert_eq!(with(&ground, "/basic", "Authorization: Basic YTpi\r\n"), ok("a:b"));
    assert!(
        get(&ground, "/basic").contains("\r\nWWW-Authenticate: Basic realm=\"site\", charset=\"UTF-8\"\r\n")
    );
    assert_eq!(with(&ground, "/cookies", "Cookie: b=1; a=2\r\n"), ok("2"));
    assert_eq!(with(&ground, "/headers", "X-A: 1\r\nx-a: 2\r\n"), ok("Some(\"1\") 2"));
    assert!(get(&ground, "/peer").ends_with("true"));
    assert_eq!(ground.ask("BREW /method HTTP/1.1\r\nHost: h\r\n\r\n"), ok("BREW"));
    assert_eq!(get(&ground, "/nothing"), ok("nothing"));
}

#[test]
fn what_may_be_absent_may_not_be_wrong() {
    let router = Router::new()
        .get("/page", typed(|query: Option<Query<Search>>| query.map_or("none".to_owned(), search)))
        .get("/agent", typed(|agent: Option<Header<Bearer>>| format!("{}", agent.is_some())))
        .post(
            "/json",
            typed(|number: Option<Json<u64>>| {
                number.map_or("none".to_owned(), |Json(number)| number.to_string())
            }),
        )
        .get(
            "/try",
            typed(|number: Result<Query<Search>, Rejection>| match number {
                Ok(query) => search(query),
                Err(rejection) => format!("{} {:?}", rejection.status(), rejection.field_name()),
            }),
        )
        .post(
            "/try",
            typed(|number: Result<Json<u64>, Rejection>| {
                number.map_or_else(|no| no.to_string(), |Json(n)| n.to_string())
            }),
        );
    let ground = Ground::of(router);
    assert_eq!(get(&ground, "/page"), ok("none"));
    assert!(get(&ground, "/page?page=1").starts_with("HTTP/1.1 400 "));
    assert_eq!(get(&ground, "/agent"), ok("false"));
    assert!(with(&ground, "/agent", "Authorization: Bearer\r\n").starts_with("HTTP/1.1 400 "));
    assert_eq!(ground.ask("POST /json HTTP/1.1\r\nHost: h\r\n\r\n"), ok("none"));
    assert_eq!(post(&ground, "/json", "application/json", "7"), ok("7"));
    assert!(post(&ground, "/json", "application/json", "x").starts_with("HTTP/1.1 400 "));
    assert!(post(&ground, "/json", "text/plain", "7").starts_with("HTTP/1.1 415 "));
    assert_eq!(get(&ground, "/try?q=a&page=x"), ok(r#"400 Some("page")"#));
    assert!(post(&ground, "/try", "application/json", "x").contains("the body is no JSON"));
}

#[test]
fn state_is_shared_and_its_absence_is_the_programs_mistake() {
    struct Visitors(Cell<u32>);
    fn visit(visitors: State<Visitors>) -> String {
        visitors.0.0.set(visitors.0.0.get() + 1);
        visitors.0.0.get().to_string()
    }
    let ground = Ground::of(Router::new().get("/", typed(visit)).state(Visitors(Cell::new(0))));
    assert_eq!((get(&ground, "/"), get(&ground, "/")), (ok("1"), ok("2")));
    let ground = Ground::of(Router::new().get("/", typed(visit)));
    let logged = errors(|| assert_eq!(get(&ground, "/"), sorry()));
    assert!(logged[0].contains("Visitors"), "{logged:?}");
    let wrong =
        Ground::of(Router::new().get("/{a}", typed(|Path((a, b)): Path<(u8, u8)>| format!("{a} {b}"))));
    let logged = errors(|| assert_eq!(get(&wrong, "/1"), sorry()));
    assert!(logged[0].contains("takes 2 values, and its route has 1"), "{logged:?}");
}

#[test]
fn arguments_of_ones_own_and_many_of_them() {
    struct Even(u32);
    impl FromHead for Even {
        fn from_head(request: &Request) -> Result<Even, Rejection> {
            let number: u32 = request.argument("n").and_then(|n| n.parse().ok()).unwrap_or(0);
            if number.is_multiple_of(2) {
                Ok(Even(number))
            } else {
                Err(Rejection::new(409, "odd").header("X-Odd", "yes"))
            }
        }
    }
    type Many =
        fn(Method, Even, Cookies, Headers, Peer, Path<u8>, Query<BTreeMap<String, u8>>, Request) -> String;
    let many: Many = |_, Even(even), _, _, _, Path(path), Query(query), request| {
        format!("{even} {path} {query:?} {}", request.path())
    };
    let ground = Ground::of(Router::new().get("/{x}", typed(many)));
    assert_eq!(get(&ground, "/5?n=4"), ok(r#"4 5 {"n": 4} /5"#));
    let odd = get(&ground, "/5?n=3");
    assert!(odd.starts_with("HTTP/1.1 409 ") && odd.contains("\r\nX-Odd: yes\r\n"), "{odd}");
}
