//! What axum's examples do, each in a few lines of our own, mounted here; `docs/tower.md` has the whole list. They run under the
//! simulated clock and network but for those that need tokio's, which are in `real`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, RwLock};

use axum::body::{Body, to_bytes};
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{
    DefaultBodyLimit, FromRequest, FromRequestParts, MatchedPath, Multipart, OriginalUri, Path, Query,
    Request, State,
};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header, request::Parts};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, any, get, post};
use axum::{Form, Json, RequestExt, Router};
use bytes::Bytes;
use ropewalk_web::testing::TestClient;
use ropewalk_web::tower::mount;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;

fn client(router: Router) -> TestClient {
    TestClient::new(mount(router))
}

#[test]
fn hello_world_readme_and_closures() {
    #[derive(Deserialize, Serialize)]
    struct User {
        username: String,
    }
    let greeting = "from a closure".to_owned();
    let router = Router::new()
        .route("/", get(|| async { Html("<h1>Hello, World!</h1>") }))
        .route("/closure", get(move || async move { greeting }))
        .route("/users", post(|Json(user): Json<User>| async move { (StatusCode::CREATED, Json(user)) }));
    let client = client(router);
    client
        .get("/")
        .send()
        .assert_text("<h1>Hello, World!</h1>")
        .assert_header("Content-Type", "text/html; charset=utf-8");
    client.get("/closure").send().assert_text("from a closure");
    let created = client.post("/users").json(&json!({"username": "ada"})).send();
    created.assert_status(201).assert_json(&json!({"username": "ada"}));
    client.post("/users").json(&json!({"name": "ada"})).send().assert_status(422);
    client.post("/users").body("{}").send().assert_status(415);
}

#[test]
fn form_and_query_params_with_empty_strings() {
    fn none_if_empty<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i32>, D::Error> {
        let text = Option::<String>::deserialize(from)?.filter(|text| !text.is_empty());
        text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
    }
    #[derive(Debug, Deserialize)]
    struct Params {
        #[serde(default, deserialize_with = "none_if_empty")]
        n: Option<i32>,
        name: Option<String>,
    }
    async fn show(Query(params): Query<Params>) -> String {
        format!("{:?} {:?}", params.n, params.name)
    }
    async fn take(Form(params): Form<Params>) -> String {
        format!("{:?} {:?}", params.n, params.name)
    }
    let client = client(Router::new().route("/", get(show).post(take)));
    for (query, text) in
        [("?n=7", "Some(7) None"), ("?n=", "None None"), ("", "None None"), ("?name=", "None Some(\"\")")]
    {
        client.get(&format!("/{query}")).send().assert_text(text);
    }
    client.get("/?n=x").send().assert_status(400);
    client.post("/").form(&[("n", "5"), ("name", "ä b")]).send().assert_text("Some(5) Some(\"ä b\")");
}

#[test]
fn customized_rejections_of_paths_and_bodies() {
    struct Checked<T>(T);
    impl<S: Send + Sync, T: serde::de::DeserializeOwned + Send> FromRequestParts<S> for Checked<T> {
        type Rejection = (StatusCode, Json<serde_json::Value>);
        async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
            match Path::<T>::from_request_parts(parts, state).await {
                Ok(Path(value)) => Ok(Checked(value)),
                Err(PathRejection::FailedToDeserializePathParams(inner)) => {
                    Err((StatusCode::BAD_REQUEST, Json(json!({"wrong": inner.body_text()}))))
                }
                Err(other) => {
                    Err((StatusCode::INTERNAL_SERVER_ERROR, Json(json!({"wrong": other.to_string()}))))
                }
            }
        }
    }
    struct Worded(serde_json::Value);
    impl<S: Send + Sync> FromRequest<S> for Worded {
        type Rejection = (StatusCode, String);
        async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
            let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
            match Json::from_request(request, state).await {
                Ok(Json(value)) => Ok(Worded(value)),
                Err(rejection) => {
                    let rejection: JsonRejection = rejection;
                    Err((rejection.status(), format!("at {path:?}: not this way")))
                }
            }
        }
    }
    let client = client(
        Router::new()
            .route(
                "/users/{user}/teams/{team}",
                get(|Checked((user, team)): Checked<(u32, u32)>| async move { format!("{user} {team}") }),
            )
            .route("/json", post(|Worded(value): Worded| async move { value.to_string() })),
    );
    client.get("/users/1/teams/2").send().assert_text("1 2");
    client.get("/users/one/teams/2").send().assert_status(400).assert_contains("wrong");
    client.post("/json").json(&[1]).send().assert_text("[1]");
    let wrong = client.post("/json").header("Content-Type", "application/json").body("{").send();
    wrong.assert_status(400).assert_text("at Some(\"/json\"): not this way");
}

#[test]
fn error_handling_and_a_global_404() {
    struct AppError(std::num::ParseIntError);
    impl IntoResponse for AppError {
        fn into_response(self) -> Response {
            (StatusCode::UNPROCESSABLE_ENTITY, format!("something went wrong: {}", self.0)).into_response()
        }
    }
    impl From<std::num::ParseIntError> for AppError {
        fn from(error: std::num::ParseIntError) -> AppError {
            AppError(error)
        }
    }
    async fn number(body: String) -> Result<String, AppError> {
        Ok((body.parse::<i32>()? + 1).to_string())
    }
    let router = Router::new().route("/", post(number)).fallback(|method: Method, uri: Uri| async move {
        (StatusCode::NOT_FOUND, format!("nothing for {method} {uri}"))
    });
    let client = client(router);
    client.post("/").body("41").send().assert_text("42");
    client.post("/").body("x").send().assert_status(422).assert_contains("invalid digit");
    client.get("/else?where").send().assert_status(404).assert_text("nothing for GET /else?where");
}

#[test]
fn handle_head_request() {
    async fn either(method: Method) -> Response {
        match method {
            Method::HEAD => ([("x-some-header", "from HEAD")]).into_response(),
            _ => ([("x-some-header", "from GET")], "the body").into_response(),
        }
    }
    let client = client(Router::new().route("/", get(either)));
    client.get("/").send().assert_header("x-some-header", "from GET").assert_text("the body");
    let head = client.head("/").send();
    head.assert_status(200).assert_header("x-some-header", "from HEAD").assert_text("");
}

#[test]
fn key_value_store() {
    type Store = Arc<RwLock<BTreeMap<String, Bytes>>>;
    async fn value(Path(key): Path<String>, State(store): State<Store>) -> Result<Bytes, StatusCode> {
        store.read().unwrap().get(&key).cloned().ok_or(StatusCode::NOT_FOUND)
    }
    async fn set(Path(key): Path<String>, State(store): State<Store>, bytes: Bytes) {
        store.write().unwrap().insert(key, bytes);
    }
    async fn keys(State(store): State<Store>) -> String {
        let mut keys: Vec<String> = store.read().unwrap().keys().cloned().collect();
        keys.sort();
        keys.join("\n")
    }
    let router = Router::new()
        .route("/{key}", get(value).post(set).layer(DefaultBodyLimit::max(5000)))
        .route("/keys", get(keys))
        .with_state(Store::default());
    let client = client(router);
    client.get("/a").send().assert_status(404);
    client.post("/a").body("one").send().assert_status(200);
    client.post("/b").body("two").send().assert_status(200);
    client.get("/a").send().assert_text("one").assert_header("Content-Type", "application/octet-stream");
    client.get("/keys").send().assert_text("a\nb");
    client.post("/c").body(vec![7; 6000]).send().assert_status(413);
}

#[test]
fn multipart_form() {
    async fn accept(mut multipart: Multipart) -> Result<String, axum::extract::multipart::MultipartError> {
        let mut seen = Vec::new();
        while let Some(field) = multipart.next_field().await? {
            let (name, file) = (field.name().unwrap_or("").to_owned(), field.file_name().map(str::to_owned));
            seen.push(format!("{name} {file:?} {} bytes", field.bytes().await?.len()));
        }
        Ok(seen.join(", "))
    }
    let client = client(Router::new().route("/", post(accept).layer(DefaultBodyLimit::max(250 * 1024))));
    let body = "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n12\r\n\
                --X\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f.txt\"\r\n\r\n12345\r\n--X--\r\n";
    let kind = ("Content-Type", "multipart/form-data; boundary=X");
    let taken = client.post("/").header(kind.0, kind.1).body(body).send();
    taken.assert_text("a None 2 bytes, f Some(\"f.txt\") 5 bytes");
    let upload = client.post("/").header(kind.0, kind.1).upload();
    body.as_bytes().chunks(7).for_each(|piece| upload.write(piece));
    upload.finish().assert_text("a None 2 bytes, f Some(\"f.txt\") 5 bytes");
    client.post("/").header(kind.0, kind.1).body("--Y").send().assert_status(400);
}

#[test]
fn parse_body_based_on_content_type() {
    struct JsonOrForm(BTreeMap<String, String>);
    impl<S: Send + Sync> FromRequest<S> for JsonOrForm {
        type Rejection = Response;
        async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
            let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            match kind.unwrap_or_default() {
                kind if kind.starts_with("application/json") => {
                    let Json(fields) = request.extract().await.map_err(IntoResponse::into_response)?;
                    Ok(JsonOrForm(fields))
                }
                kind if kind.starts_with("application/x-www-form-urlencoded") => {
                    let Form(fields) = request.extract().await.map_err(IntoResponse::into_response)?;
                    Ok(JsonOrForm(fields))
                }
                _ => Err(StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response()),
            }
        }
    }
    let client = client(
        Router::new().route("/", post(|JsonOrForm(fields): JsonOrForm| async move { format!("{fields:?}") })),
    );
    client.post("/").json(&json!({"a": "1"})).send().assert_text(r#"{"a": "1"}"#);
    client.post("/").form(&[("a", "1")]).send().assert_text(r#"{"a": "1"}"#);
    client.post("/").body("a=1").send().assert_status(415);
}

#[test]
fn consume_body_in_middleware_and_print_request_response() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let printed = Arc::clone(&log);
    let print = from_fn(move |request: Request, next: Next| {
        let log = Arc::clone(&printed);
        async move {
            let (parts, body) = request.into_parts();
            let bytes = to_bytes(body, 1 << 20).await.map_err(|_| StatusCode::BAD_REQUEST)?;
            log.lock().unwrap().push(format!("request {bytes:?}"));
            let (head, body) = next.run(Request::from_parts(parts, Body::from(bytes))).await.into_parts();
            let bytes = to_bytes(body, 1 << 20).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
            log.lock().unwrap().push(format!("response {bytes:?}"));
            Ok::<_, StatusCode>(Response::from_parts(head, Body::from(bytes)))
        }
    });
    let client = client(
        Router::new().route("/", post(|body: String| async move { body.to_uppercase() })).layer(print),
    );
    client.post("/").body("hello").send().assert_text("HELLO");
    assert_eq!(*log.lock().unwrap(), [r#"request b"hello""#, r#"response b"HELLO""#]);
}

#[test]
fn dependency_injection_by_a_trait() {
    trait Users: Send + Sync {
        fn name(&self, id: u32) -> Option<String>;
    }
    struct InMemory(BTreeMap<u32, String>);
    impl Users for InMemory {
        fn name(&self, id: u32) -> Option<String> {
            self.0.get(&id).cloned()
        }
    }
    async fn user(State(users): State<Arc<dyn Users>>, Path(id): Path<u32>) -> Result<String, StatusCode> {
        users.name(id).ok_or(StatusCode::NOT_FOUND)
    }
    let users: Arc<dyn Users> = Arc::new(InMemory(BTreeMap::from([(1, "ada".to_owned())])));
    let client = client(Router::new().route("/users/{id}", get(user)).with_state(users));
    client.get("/users/1").send().assert_text("ada");
    client.get("/users/2").send().assert_status(404);
}

#[test]
fn routes_close_together_wildcards_and_versioning() {
    fn route(path: &str, methods: MethodRouter) -> Router {
        Router::new().route(path, methods)
    }
    #[derive(Debug)]
    struct Version;
    impl<S: Send + Sync> FromRequestParts<S> for Version {
        type Rejection = Response;
        async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
            let params: Path<BTreeMap<String, String>> =
                parts_path(parts, state).await.map_err(IntoResponse::into_response)?;
            match params.get("version").map(String::as_str) {
                Some("v1") => Ok(Version),
                _ => Err((StatusCode::NOT_FOUND, "unknown version").into_response()),
            }
        }
    }
    async fn parts_path<S: Send + Sync>(
        parts: &mut Parts,
        state: &S,
    ) -> Result<Path<BTreeMap<String, String>>, PathRejection> {
        Path::from_request_parts(parts, state).await
    }
    let router = Router::new()
        .merge(route("/", get(|| async { "root" })))
        .merge(route("/any", any(|method: Method| async move { method.to_string() })))
        .merge(route("/files/{*path}", get(|Path(path): Path<String>| async move { path })))
        .merge(route("/{version}/foo", get(|version: Version| async move { format!("{version:?}") })))
        .merge(route("/old", get(|| async { Redirect::permanent("/any") })))
        .nest(
            "/deep",
            route(
                "/er",
                get(|OriginalUri(uri): OriginalUri, here: Uri| async move { format!("{uri} {here}") }),
            ),
        );
    let client = client(router);
    client.get("/").send().assert_text("root");
    client.request("BREW", "/any").send().assert_text("BREW");
    client.get("/files/a/b%20c").send().assert_text("a/b c");
    client.get("/v1/foo").send().assert_text("Version");
    client.get("/v4/foo").send().assert_status(404).assert_text("unknown version");
    client.get("/old").send().assert_redirect("/any");
    client.get("/old").follow_redirects().send().assert_text("GET");
    client.get("/deep/er?x").send().assert_text("/deep/er?x /er?x");
}

#[test]
fn todos_and_cookies_by_hand() {
    type Todos = Arc<Mutex<BTreeMap<u32, String>>>;
    let router = Router::new()
        .route(
            "/todos",
            get(|State(todos): State<Todos>| async move { Json(todos.lock().unwrap().clone()) }).post(
                |State(todos): State<Todos>, Json(text): Json<String>| async move {
                    let mut todos = todos.lock().unwrap();
                    let id = todos.len() as u32 + 1;
                    todos.insert(id, text);
                    (StatusCode::CREATED, [(header::LOCATION, format!("/todos/{id}"))])
                },
            ),
        )
        .route(
            "/todos/{id}",
            axum::routing::delete(|State(todos): State<Todos>, Path(id): Path<u32>| async move {
                match todos.lock().unwrap().remove(&id) {
                    Some(_) => StatusCode::NO_CONTENT,
                    None => StatusCode::NOT_FOUND,
                }
            }),
        )
        .route(
            "/visit",
            get(|headers: HeaderMap| async move {
                let seen = headers.contains_key(header::COOKIE);
                ([(header::SET_COOKIE, "seen=yes")], if seen { "again" } else { "the first time" })
            }),
        )
        .with_state(Todos::default());
    let client = client(router);
    client.post("/todos").json("buy hemp").send().assert_status(201).assert_header("Location", "/todos/1");
    client.get("/todos").send().assert_json(&json!({"1": "buy hemp"}));
    let gone = client.delete("/todos/1").send();
    assert_eq!((gone.status(), gone.header("Content-Length")), (204, None));
    client.delete("/todos/1").send().assert_status(404);
    client.get("/visit").send().assert_text("the first time");
    client.get("/visit").send().assert_text("again");
}
