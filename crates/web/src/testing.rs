//! For the tests of programs: a client that drives a site in memory. The site is served as ever, by its own server on the network of
//! a [`Simulation`], so that limits, middleware and deadlines are what they will be; time passes only as far as an answer takes, and
//! when the test says so. It is no mock: what is sent is bytes.
//!
//! ```
//! use ropewalk_web::testing::TestClient;
//! use ropewalk_web::{Request, Router};
//!
//! let router = Router::new().get("/hello/{name}", |request: Request| {
//!     format!("Hello, {}!", request.param("name").unwrap_or_default())
//! });
//! let client = TestClient::new(router);
//! client.get("/hello/World").send().assert_status(200).assert_text("Hello, World!");
//! client.post("/hello/World").send().assert_status(405).assert_header("Allow", "GET, HEAD, OPTIONS");
//! ```
//!
//! What does not come at once is looked at while it comes: [`TestRequest::open`] gives the events of a stream one by one,
//! [`TestRequest::upload`] sends a body in pieces, [`TestRequest::begin`] leaves in the middle.
//!
//! Everything here panics, with what was asked and what was answered, when it is not as a test wants it.

mod events;
mod live;
mod request;
mod response;

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::{Port, listen};
use ropewalk_reactor::{Reactor, Simulation};

pub use events::TestEvent;
pub use live::{Ongoing, TestStream, TestUpload};
pub use request::TestRequest;
pub use response::TestResponse;

use crate::client::{Agent, ClientLimits, Cookies, Deadlines, PoolLimits, Redirects};
use crate::site::Site;

/// How much virtual time an answer may take, unless the test says otherwise: more than a long poll, and than a handler's deadline.
const PATIENCE: Duration = Duration::from_secs(600);

/// Where the site is. No other host has a name.
const BASE: &str = "http://localhost";

/// A site, and a client that has it to itself. Cookies are kept; redirects are followed where a request asks for it.
///
/// ```
/// use ropewalk_web::testing::TestClient;
/// use ropewalk_web::{Cookie, Request, Response, Router};
///
/// let client = TestClient::new(
///     Router::new()
///         .post("/login", |_| Response::redirect(303, "/me").cookie(Cookie::new("user", "ada")))
///         .get("/me", |request: Request| request.cookie("user").unwrap_or_default()),
/// );
/// client.post("/login").send().assert_redirect("/me");
/// client.get("/me").send().assert_text("ada");
/// client.cookies().clear();
/// client.post("/login").follow_redirects().send().assert_text("ada");
/// ```
pub struct TestClient {
    ground: Rc<Ground>,
}

/// What requests and streams share. In this order it is taken down.
struct Ground {
    agent: Agent,
    cookies: Cookies,
    port: Port,
    patience: Cell<Duration>,
    simulation: Simulation,
}

impl Ground {
    /// Lets time pass until this holds; whether it did.
    fn run_until(&self, condition: impl Fn() -> bool) -> bool {
        self.simulation.run_until(self.patience.get(), condition)
    }

    /// Lets happen what is under way.
    fn settle(&self) {
        self.simulation.run_until_quiet(self.patience.get());
    }
}

impl TestClient {
    /// A site, or a handler that is to be one, in a simulation of its own.
    #[must_use]
    pub fn new(site: impl Into<Site>) -> TestClient {
        TestClient::on(Simulation::new(1), site)
    }

    /// The same in this simulation: with another seed, or because the site is made with its reactor.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ropewalk_reactor::Simulation;
    /// use ropewalk_web::{Request, Router, testing::TestClient};
    ///
    /// for seed in 0..10 {
    ///     let slow = |request: Request| request.reactor().defer_later(Duration::from_secs(9), || "at last");
    ///     let client = TestClient::on(Simulation::new(seed), Router::new().get("/", slow));
    ///     client.get("/").send().assert_text("at last");
    ///     assert!(client.reactor().now().as_millis() >= 9000);
    /// }
    /// ```
    ///
    /// # Panics
    /// Something listens at port 80 of 127.0.0.1 in it already.
    #[must_use]
    #[track_caller]
    pub fn on(simulation: Simulation, site: impl Into<Site>) -> TestClient {
        let endpoint = "tcp:80:interface=127.0.0.1".parse().expect("it is well written");
        let port = match listen(simulation.reactor(), &endpoint, site.into()) {
            Ok(port) => port,
            Err(error) => panic!("the site cannot be served: {error}"),
        };
        let cookies = Cookies::new();
        let agent = Agent::new(simulation.reactor())
            .with_cookies(cookies.clone())
            .with_redirects(Redirects::none())
            .with_deadlines(patient())
            .with_limits(ClientLimits { collect_bytes_max: u64::MAX, ..ClientLimits::default() })
            .with_pool(PoolLimits { per_host_max: 1024, total_max: 1024, ..PoolLimits::default() });
        let patience = Cell::new(PATIENCE);
        TestClient { ground: Rc::new(Ground { agent, cookies, port, patience, simulation }) }
    }

    /// The same with so much virtual time for each answer; 10 minutes unless given. What takes longer is a panic.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> TestClient {
        self.ground.patience.set(patience);
        self
    }

    /// A request of any method, for a path and its query: `/search?q=rope`.
    pub fn request(&self, method: &str, path: &str) -> TestRequest {
        TestRequest::new(&self.ground, method, path)
    }

    /// A GET.
    pub fn get(&self, path: &str) -> TestRequest {
        self.request("GET", path)
    }

    /// A HEAD.
    pub fn head(&self, path: &str) -> TestRequest {
        self.request("HEAD", path)
    }

    /// A POST.
    pub fn post(&self, path: &str) -> TestRequest {
        self.request("POST", path)
    }

    /// A PUT.
    pub fn put(&self, path: &str) -> TestRequest {
        self.request("PUT", path)
    }

    /// A PATCH.
    pub fn patch(&self, path: &str) -> TestRequest {
        self.request("PATCH", path)
    }

    /// A DELETE.
    pub fn delete(&self, path: &str) -> TestRequest {
        self.request("DELETE", path)
    }

    /// Lets so much time pass, and everything happen that happens in it.
    pub fn advance(&self, by: Duration) {
        self.ground.simulation.advance(by);
    }

    /// The cookies that the site has set.
    #[must_use]
    pub fn cookies(&self) -> &Cookies {
        &self.ground.cookies
    }

    /// The value of the first cookie of this name.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<String> {
        let cookies = self.ground.cookies.list();
        cookies.into_iter().find(|cookie| cookie.name == name).map(|cookie| cookie.value)
    }

    /// Connections that the site has now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.ground.port.statistics().connections
    }

    /// The simulation: its network, its clock.
    #[must_use]
    pub fn simulation(&self) -> &Simulation {
        &self.ground.simulation
    }

    /// The reactor that the site runs in.
    #[must_use]
    pub fn reactor(&self) -> &Reactor {
        self.ground.simulation.reactor()
    }
}

impl fmt::Debug for TestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

/// It is the site whose deadlines are tested.
fn patient() -> Deadlines {
    Deadlines { tls: None, send: None, first_byte: None, head: None, ..Deadlines::endless() }
}
