//! `TestRequest`: what is asked, put together call by call. How it is sent is in `live`.

use std::cell::RefCell;
use std::rc::Rc;

use ropewalk_net::{ClientEndpoint, ConnectOptions, Factory, Transport, connect_with};
use ropewalk_reactor::{Deferred, Reactor};
use serde::Serialize;

use super::live::{Feed, Ongoing, TestStream, TestUpload};
use super::response::TestResponse;
use super::{BASE, Ground};
use crate::client::{Connector, Redirects, RequestBuilder};
use crate::response::Body;

/// A request that is not sent yet.
#[must_use = "it is not sent before `send`, `open`, `begin` or `upload`"]
pub struct TestRequest {
    ground: Rc<Ground>,
    builder: RequestBuilder,
    /// The connection, if it has one of its own.
    line: Line,
    what: String,
}

/// Where the connection of a request can be found.
pub(super) type Line = Rc<RefCell<Option<Transport>>>;

/// Plain connections, of which the last one can be got hold of.
struct Tapped(Line);

impl Connector for Tapped {
    fn has_tls(&self) -> bool {
        false
    }

    fn connect(
        &self,
        reactor: &Reactor,
        _host: &str,
        port: u16,
        limit: std::time::Duration,
        protocol: Rc<dyn Factory>,
    ) -> Deferred<Transport> {
        // Without looking a name up: that would be time to wait for.
        let host = "127.0.0.1".to_owned();
        let endpoint = ClientEndpoint::Tcp { host, port, timeout: limit, bind_address: None };
        let line = Rc::clone(&self.0);
        let connecting = connect_with(reactor, &endpoint, protocol, ConnectOptions::default());
        connecting.add_callback(move |transport: Transport| {
            *line.borrow_mut() = Some(transport.clone());
            transport
        })
    }
}

impl TestRequest {
    pub(super) fn new(ground: &Rc<Ground>, method: &str, path: &str) -> TestRequest {
        let url = format!("{BASE}{path}");
        // Without a word about compression, so that what comes is what the handler gave.
        let builder = ground.agent.request(method.to_owned(), &url).raw();
        TestRequest {
            ground: Rc::clone(ground),
            builder,
            line: Line::default(),
            what: format!("{method} {path}"),
        }
    }

    fn change(mut self, change: impl FnOnce(RequestBuilder) -> RequestBuilder) -> TestRequest {
        self.builder = change(self.builder);
        self
    }

    /// The same with one field more.
    pub fn header(self, name: &str, value: &str) -> TestRequest {
        self.change(|builder| builder.header(name, value))
    }

    /// The same with `name=value` in the query, encoded as it has to be.
    pub fn query(self, name: &str, value: &str) -> TestRequest {
        self.change(|builder| builder.query(name, value))
    }

    /// The same with a user and a password.
    pub fn basic_auth(self, user: &str, password: &str) -> TestRequest {
        self.change(|builder| builder.basic_auth(user, password))
    }

    /// The same with a bearer token.
    pub fn bearer_auth(self, token: &str) -> TestRequest {
        self.change(|builder| builder.bearer_auth(token))
    }

    /// The same with a body of text or bytes.
    pub fn body(self, body: impl Into<Body>) -> TestRequest {
        self.change(|builder| builder.body(body))
    }

    /// The same with a body of JSON and its content type.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> TestRequest {
        self.change(|builder| builder.json(value))
    }

    /// The same with a body as a form sends it, and its content type.
    pub fn form(self, pairs: &[(&str, &str)]) -> TestRequest {
        self.change(|builder| builder.form(pairs))
    }

    /// The same, and redirects are followed as a browser would, up to 20.
    pub fn follow_redirects(self) -> TestRequest {
        self.change(|builder| builder.redirects(Redirects::default()))
    }

    /// The same, and its body is held back until the site asks for it (`Expect: 100-continue`).
    pub fn expect_continue(self) -> TestRequest {
        self.change(RequestBuilder::expect_continue)
    }

    /// Sends it, and lets time pass until the whole answer is there.
    ///
    /// # Panics
    /// There is no answer, or no end of it.
    #[track_caller]
    pub fn send(self) -> TestResponse {
        self.start().wait()
    }

    /// Sends it on a connection of its own, and lets time pass until the answer's head is there: for answers that come bit by bit.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ropewalk_web::{Request, Router, testing::TestClient};
    ///
    /// let events = |request: Request| async move {
    ///     let responder = request.responder();
    ///     responder.set_content_type("text/event-stream");
    ///     for number in 0..3 {
    ///         responder.write(format!("data: {number}\n\n"));
    ///         request.reactor().sleep(Duration::from_secs(60)).await;
    ///     }
    /// };
    /// let client = TestClient::new(Router::new().get("/events", events));
    /// let mut stream = client.get("/events").open();
    /// stream.assert_status(200).assert_header("Content-Type", "text/event-stream");
    /// assert_eq!(stream.next_event().expect("it goes on").data, "0");
    /// assert!(stream.within(Duration::from_secs(50)).is_empty());
    /// assert_eq!(stream.next_event().expect("it goes on").data, "1");
    /// stream.reset();
    /// assert_eq!(client.connections(), 0);
    /// ```
    ///
    /// # Panics
    /// There is no answer.
    #[track_caller]
    pub fn open(self) -> TestStream {
        self.begin().open()
    }

    /// Sends it on a connection of its own, and lets happen what happens before there is only time to wait for: to look at the site
    /// meanwhile, or to leave.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ropewalk_web::{Request, Router, testing::TestClient};
    ///
    /// let slow = |request: Request| request.reactor().defer_later(Duration::from_secs(5), || "at last");
    /// let client = TestClient::new(Router::new().get("/", slow));
    /// let first = client.get("/").begin();
    /// let second = client.get("/").begin();
    /// client.advance(Duration::from_secs(4));
    /// assert!(!first.is_answered());
    /// first.disconnect();
    /// second.wait().assert_text("at last");
    /// ```
    pub fn begin(self) -> Ongoing {
        let ongoing = self.apart().start();
        ongoing.settle();
        ongoing
    }

    /// Sends its head on a connection of its own, and then a body piece by piece, as the test gives them.
    ///
    /// ```
    /// use ropewalk_web::{BodyError, Request, Router, testing::TestClient};
    ///
    /// let count = |mut request: Request| async move {
    ///     let mut pieces = 0;
    ///     while request.piece().await?.is_some() {
    ///         pieces += 1;
    ///     }
    ///     Ok::<_, BodyError>(format!("{pieces} pieces"))
    /// };
    /// let client = TestClient::new(Router::new().post("/", count));
    /// let upload = client.post("/").upload();
    /// upload.write("one");
    /// upload.write("two");
    /// assert!(!upload.is_answered());
    /// upload.finish().assert_text("2 pieces");
    /// ```
    pub fn upload(self) -> TestUpload {
        self.upload_of(None)
    }

    /// The same with a length that is said before.
    pub fn upload_sized(self, bytes: u64) -> TestUpload {
        self.upload_of(Some(bytes))
    }

    fn upload_of(self, length: Option<u64>) -> TestUpload {
        let feed = Feed::default();
        let stream = Body::Stream(Box::pin(feed.clone()), length);
        TestUpload::new(self.body(stream).begin(), feed)
    }

    fn apart(self) -> TestRequest {
        let agent = self.ground.agent.clone().with_connector(Tapped(Rc::clone(&self.line)));
        self.change(|builder| builder.by(agent))
    }

    fn start(self) -> Ongoing {
        Ongoing::start(self.ground, self.builder, self.line, self.what)
    }
}

impl std::fmt::Debug for TestRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TestRequest({})", self.what)
    }
}
