//! Services of the tower ecosystem, mounted: what passes in both directions, who waits for whom, who is told when somebody leaves, and
//! axum's own examples.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

#[path = "tower/examples.rs"]
mod examples;
#[path = "tower/real.rs"]
mod real;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::body::Body as AxumBody;
use axum::extract::Extension;
use axum::routing::{get, post};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use ropewalk_reactor::Simulation;
use ropewalk_web::testing::TestClient;
use ropewalk_web::tower::{BoxError, Connection, Incoming, mount};
use ropewalk_web::{BodyLimit, Handler, Limits, Router, Site};
use tower_service::Service;

type Asked = http::Request<Incoming>;

/// A service of a function. It need not be `Send`, and neither need its futures.
#[derive(Clone)]
struct Own<F>(F);

impl<F, T, B> Service<Asked> for Own<F>
where
    F: FnMut(Asked) -> T,
    T: Future<Output = Result<http::Response<B>, BoxError>>,
{
    type Response = http::Response<B>;
    type Error = BoxError;
    type Future = T;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, asked: Asked) -> T {
        (self.0)(asked)
    }
}

/// The next frame of a body.
async fn frame(body: &mut Incoming) -> Option<Result<Frame<Bytes>, ropewalk_web::BodyError>> {
    poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
}

fn answer(text: impl Into<AxumBody>) -> Result<http::Response<AxumBody>, BoxError> {
    Ok(http::Response::new(text.into()))
}

#[test]
fn a_router_of_axums_stands_beside_routes_of_ours() {
    let api = axum::Router::new()
        .route("/", get(|| async { "the api" }))
        .route(
            "/hello/{name}",
            get(|axum::extract::Path(name): axum::extract::Path<String>| async move { name }),
        )
        .route("/query", get(|uri: http::Uri| async move { format!("{uri}") }))
        .route(
            "/who",
            get(|Extension(connection): Extension<Connection>| async move {
                format!("{:?} {}", connection.client.unwrap(), connection.is_secure)
            }),
        );
    let router = Router::new()
        .get("/", |_| "ours")
        .get("/api/ours", |_| "ours, too")
        .mount("/api", mount(api.clone()));
    let client = TestClient::new(router);
    client.get("/").send().assert_text("ours");
    client.get("/api/ours").send().assert_text("ours, too");
    client.get("/api").send().assert_text("the api");
    client.get("/api/hello/b%C3%BCro").send().assert_text("büro");
    client.get("/api/query?a=1&b=%20").send().assert_text("/query?a=1&b=%20");
    client.get("/api/who").send().assert_text("127.0.0.1 false");
    client.get("/api/nothing").send().assert_status(404).assert_text("");
    client.post("/api/query").send().assert_status(405).assert_header("Allow", "GET,HEAD");
    assert_eq!(client.connections(), 1);
    // And as a site of its own.
    let client = TestClient::new(mount(api));
    client
        .get("/hello/you")
        .send()
        .assert_text("you")
        .assert_header("Content-Type", "text/plain; charset=utf-8");
    let head = client.head("/hello/you").send();
    assert_eq!((head.assert_status(200).header("Content-Length"), head.bytes()), (Some("3"), &b""[..]));
    client.request("OPTIONS", "/hello/you").send().assert_status(405);
}

#[test]
fn heads_pass_in_both_directions() {
    let service = Own(|asked: Asked| async move {
        let fields: Vec<String> = asked
            .headers()
            .get_all("x-many")
            .iter()
            .map(|value| value.to_str().unwrap().to_owned())
            .collect();
        let (method, version) = (asked.method().clone(), asked.version());
        let text = format!("{method} {version:?} {} {}", asked.uri(), fields.join(","));
        let mut answer = http::Response::new(AxumBody::from(text));
        *answer.status_mut() = http::StatusCode::IM_A_TEAPOT;
        let fields = answer.headers_mut();
        fields.append("set-cookie", "a=1".parse()?);
        fields.append("set-cookie", "b=2".parse()?);
        fields.append("x-utf8", http::HeaderValue::from_bytes("ü".as_bytes())?);
        fields.append("x-latin1", http::HeaderValue::from_bytes(b"\xfc")?);
        for own in ["connection", "keep-alive", "transfer-encoding", "upgrade", "date"] {
            fields.append(own, "keep-alive".parse()?);
        }
        Ok(answer)
    });
    let client = TestClient::new(mount(service));
    let asked = client.request("BREW", "/pot?strong").header("X-Many", "1").header("X-Many", "2");
    let answered = asked.send();
    answered.assert_status(418).assert_text("BREW HTTP/1.1 /pot?strong 1,2").assert_header("x-utf8", "ü");
    assert_eq!(answered.header_all("Set-Cookie"), ["a=1", "b=2"]);
    assert_eq!(answered.header_all("Date").len(), 1, "one, and it is ours: {answered:?}");
    for own in ["x-latin1", "keep-alive", "transfer-encoding", "upgrade", "connection"] {
        assert_eq!(answered.header(own), None, "{own}");
    }
}

#[test]
fn targets_of_every_form() {
    let client = TestClient::new(mount(axum::Router::new().route("/", get(|| async { "fine" }))));
    let peer = client.simulation().network().connect("127.0.0.1:80".parse().unwrap());
    client.advance(Duration::from_secs(1));
    peer.write(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\nGET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n");
    client.advance(Duration::from_secs(1));
    let text = peer.text();
    assert!(text.starts_with("HTTP/1.1 404 ") && text.ends_with("fine"), "{text}");
}

/// Lets somebody go on, and be told so.
#[derive(Clone, Default)]
struct Gate(Rc<RefCell<(bool, Option<Waker>)>>);

impl Gate {
    fn open(&self) {
        let mut gate = self.0.borrow_mut();
        gate.0 = true;
        if let Some(waker) = gate.1.take() {
            waker.wake();
        }
    }

    async fn pass(&self) {
        poll_fn(|context| {
            let mut gate = self.0.borrow_mut();
            if gate.0 {
                return Poll::Ready(());
            }
            gate.1 = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[test]
fn a_service_that_does_not_read_stops_its_client() {
    for seed in 0..10 {
        let (gate, read) = (Gate::default(), Rc::new(Cell::new(0)));
        let (at, counted) = (gate.clone(), Rc::clone(&read));
        let service = Own(move |asked: Asked| {
            let (at, counted) = (at.clone(), Rc::clone(&counted));
            async move {
                let mut body = asked.into_body();
                let first = frame(&mut body).await.unwrap()?.into_data().unwrap();
                counted.set(first.len());
                at.pass().await;
                while let Some(piece) = frame(&mut body).await {
                    counted.set(counted.get() + piece?.into_data().unwrap().len());
                }
                answer(counted.get().to_string())
            }
        });
        let mut limits = Limits::default();
        limits.body_sizes.body_bytes_max = 4_000_000;
        let client = TestClient::on(Simulation::new(seed), Site::new(mount(service)).limits(limits));
        let upload = client.post("/").upload_sized(2_000_000);
        for _ in 0..200 {
            upload.write(vec![7; 10_000]);
        }
        client.advance(Duration::from_secs(1));
        assert!(upload.waiting() > 100, "seed {seed}: {} pieces wait at the client", upload.waiting());
        gate.open();
        upload.finish().assert_text("2000000");
        assert_eq!(read.get(), 2_000_000, "seed {seed}");
    }
}

/// A body that counts how much of it was asked for.
struct Counted(Rc<Cell<usize>>, usize);

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let made = self.0.get();
        if made == self.1 {
            return Poll::Ready(None);
        }
        self.0.set(made + 1);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; 10_000])))))
    }
}

#[test]
fn a_client_that_does_not_read_stops_its_service() {
    let made = Rc::new(Cell::new(0));
    let counted = Rc::clone(&made);
    let service = Own(move |_| {
        let body = Counted(Rc::clone(&counted), 500);
        async move { Ok(http::Response::new(body)) }
    });
    let client = TestClient::new(mount(service));
    let peer = client.simulation().network().connect("127.0.0.1:80".parse().unwrap());
    client.advance(Duration::from_secs(1));
    peer.write(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    client.advance(Duration::from_secs(10));
    let first = made.get();
    assert!((1..60).contains(&first), "{first} pieces were made for nobody");
    let mut received = 0;
    while !peer.is_ended() {
        received += peer.take().len();
        client.advance(Duration::from_millis(100));
    }
    assert!(received + peer.take().len() >= 5_000_000 && made.get() == 500);
}

/// Data and then trailers.
struct Trailed(u8);

impl http_body::Body for Trailed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0 += 1;
        let mut trailers = http::HeaderMap::new();
        trailers.append("x-sum", "7".parse().unwrap());
        Poll::Ready(match self.0 {
            1 => Some(Ok(Frame::data(Bytes::from_static(b"data")))),
            2 => Some(Ok(Frame::trailers(trailers))),
            _ => None,
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[test]
fn trailers_of_requests_arrive_and_those_of_answers_are_dropped() {
    let service = Own(|asked: Asked| async move {
        let (mut body, mut seen) = (asked.into_body(), String::new());
        assert!(!body.is_end_stream() && body.size_hint().exact().is_none());
        while let Some(frame) = frame(&mut body).await {
            match frame?.into_trailers() {
                Ok(trailers) => seen += trailers["x-sum"].to_str()?,
                Err(data) => seen += std::str::from_utf8(&data.into_data().unwrap())?,
            }
        }
        assert!(body.is_end_stream());
        let answer = http::Response::builder().header("x-seen", seen).body(Trailed(0))?;
        Ok(answer)
    });
    let client = TestClient::new(mount(service));
    let peer = client.simulation().network().connect("127.0.0.1:80".parse().unwrap());
    client.advance(Duration::from_secs(1));
    peer.write(
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndata\r\n0\r\nX-Sum: 9\r\n\r\n",
    );
    client.advance(Duration::from_secs(1));
    let text = peer.text();
    assert!(text.contains("x-seen: data9\r\n") && text.ends_with("\r\n\r\n4\r\ndata\r\n0\r\n\r\n"), "{text}");
}

#[test]
fn what_goes_wrong_in_a_service_is_an_incident() {
    let service = axum::Router::new()
        .route(
            "/panic",
            get(|| async {
                if true {
                    panic!("as asked")
                }
            }),
        )
        .route("/body", post(|body: Bytes| async move { body.len().to_string() }));
    let failing = Own(|_: Asked| async { Err::<http::Response<AxumBody>, BoxError>("no service".into()) });
    let router =
        Router::new().mount("/failing", mount(failing)).mount("/", mount(service).with(BodyLimit::new(1000)));
    let client = TestClient::new(router);
    client.get("/panic").send().assert_status(500);
    client.get("/failing").send().assert_status(500);
    client.post("/body").body("12345").send().assert_text("5");
    client.post("/body").body(vec![7; 2000]).send().assert_status(413);
    client.get("/failing").send().assert_status(500);
}

/// Gives a piece, and then something goes wrong.
struct Failing(u8, bool);

impl http_body::Body for Failing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0 += 1;
        Poll::Ready(Some(match (self.0, self.1) {
            (1, _) => Ok(Frame::data(Bytes::from_static(b"the beginning"))),
            (_, true) => panic!("as asked"),
            _ => Err("no more".into()),
        }))
    }
}

#[test]
fn a_body_that_breaks_is_never_taken_for_whole() {
    let failing =
        |panics| mount(Own(move |_: Asked| async move { Ok(http::Response::new(Failing(0, panics))) }));
    let router =
        Router::new().get("/", |_| "fine").mount("/error", failing(false)).mount("/panic", failing(true));
    let client = TestClient::new(router);
    for path in ["/error", "/panic"] {
        let failure = client.get(path).begin().wait_for_failure();
        assert!(failure.is_some_and(|failure| failure.to_string().contains("lost")), "{path}");
        client.get("/").send().assert_text("fine");
    }
}

#[test]
fn a_stream_of_events_ends_with_the_program_and_a_download_goes_on() {
    struct Slow(u8, Option<ropewalk_reactor::Sleep>, ropewalk_reactor::Reactor);
    impl http_body::Body for Slow {
        type Data = Bytes;
        type Error = BoxError;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            let reactor = self.2.clone();
            let sleep = self.1.get_or_insert_with(|| reactor.sleep(Duration::from_millis(500)));
            std::task::ready!(Pin::new(sleep).poll(context));
            self.1 = None;
            self.0 += 1;
            let piece = (self.0 < 5).then(|| Ok(Frame::data(Bytes::from_static(b"data: x\n\n"))));
            Poll::Ready(piece)
        }
    }
    let simulation = Simulation::new(1);
    let reactor = simulation.reactor().clone();
    let service = Own(move |asked: Asked| {
        let (reactor, kind) = (reactor.clone(), asked.uri().path().trim_start_matches('/').replace('_', "/"));
        async move { Ok(http::Response::builder().header("content-type", kind).body(Slow(0, None, reactor))?) }
    });
    let client = TestClient::on(simulation, mount(service));
    let mut events = client.get("/text_event-stream").open();
    let mut download = client.get("/text_plain").open();
    assert!(events.next_event().is_some());
    client.reactor().announce_stop();
    client.advance(Duration::from_millis(100));
    assert!(events.is_ended() && !download.is_ended());
    let whole = download.within(Duration::from_secs(3));
    assert!(download.is_ended() && whole.len() == 4 * 9, "{}", whole.len());
}

/// Says when it is dropped.
struct Told(Rc<RefCell<Vec<&'static str>>>, &'static str);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.borrow_mut().push(self.1);
    }
}

#[test]
fn a_client_that_leaves_cancels_as_everywhere() {
    let (gate, told) = (Gate::default(), Rc::new(RefCell::new(Vec::new())));
    let (at, notes) = (gate.clone(), Rc::clone(&told));
    let service = Own(move |asked: Asked| {
        let (at, notes) = (at.clone(), Rc::clone(&notes));
        async move {
            let _told = Told(Rc::clone(&notes), "let go");
            let _body = asked.into_body();
            at.pass().await;
            notes.borrow_mut().push("whole");
            answer("late")
        }
    });
    let client = TestClient::new(mount(service));
    client.get("/").begin().reset();
    assert_eq!(*told.borrow(), ["let go"]);
    client.post("/").body("x").begin().reset();
    assert_eq!(*told.borrow(), ["let go"], "what changes something goes on");
    gate.open();
    client.advance(Duration::from_secs(1));
    assert_eq!(*told.borrow(), ["let go", "whole", "let go"]);
}

#[test]
fn upgrades_are_answered_for_the_service() {
    let switching = Own(|_: Asked| async {
        Ok(http::Response::builder().status(101).header("upgrade", "websocket").body(AxumBody::empty())?)
    });
    let demanding =
        Own(|_: Asked| async { Ok(http::Response::builder().status(426).body(AxumBody::empty())?) });
    let client = TestClient::new(Router::new().mount("/a", mount(switching)).mount("/b", mount(demanding)));
    for path in ["/a", "/b"] {
        let peer = client.simulation().network().connect("127.0.0.1:80".parse().unwrap());
        client.advance(Duration::from_secs(1));
        let head = "HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        peer.write(format!("GET {path} {head}").as_bytes());
        client.advance(Duration::from_secs(1));
        let text = peer.text();
        assert!(text.starts_with("HTTP/1.1 501 ") && text.contains("speaks only HTTP"), "{text}");
    }
    client.get("/b").send().assert_status(426);
}

#[test]
fn nobody_is_told_to_send_a_body_before_the_service_wants_it() {
    let service = axum::Router::new()
        .route("/refuse", post(|| async { http::StatusCode::UNAUTHORIZED }))
        .route("/take", post(|body: String| async move { body }));
    let client = TestClient::new(mount(service));
    let peer = client.simulation().network().connect("127.0.0.1:80".parse().unwrap());
    client.advance(Duration::from_secs(1));
    let fields = "Host: h\r\nExpect: 100-continue\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\n";
    peer.write(format!("POST /take HTTP/1.1\r\n{fields}").as_bytes());
    client.advance(Duration::from_secs(1));
    assert_eq!(peer.text(), "HTTP/1.1 100 Continue\r\n\r\n");
    peer.write(b"data");
    client.advance(Duration::from_secs(1));
    assert!(peer.text().ends_with("\r\n\r\ndata"));
    peer.take();
    peer.write(format!("POST /refuse HTTP/1.1\r\n{fields}").as_bytes());
    client.advance(Duration::from_secs(1));
    let text = peer.text();
    assert!(text.starts_with("HTTP/1.1 401 ") && text.contains("Connection: close"), "{text}");
}
