//! What `ropewalk` alone shows: a page that lets one make requests, and shows the access log that they leave, live. The log goes
//! through the same channel and event stream as every other log.

use std::rc::Rc;
use std::time::SystemTime;

use ropewalk_app::{App, StartError};
use ropewalk_channel::Retention;
use ropewalk_net::ServerEndpoint;
use ropewalk_reactor::Reactor;
use ropewalk_web::push::{self, Feed};
use ropewalk_web::{AccessObserver, AccessRecord, CombinedLog, Request, Response, Router, Site};
use serde_json::json;

/// Bodies that `/echo` takes.
const ECHO_BYTES_MAX: u64 = 64 * 1024;
/// What the page polls is not worth a line of the log that it shows.
const QUIET: [&str; 2] = ["/status", "/events"];

/// Adds the welcome service.
pub(crate) fn build(app: &mut App, endpoint: ServerEndpoint) -> Result<(), StartError> {
    let log = app.access_log().cloned();
    app.serve_own("web", endpoint, move |reactor| {
        let feed = Feed::in_memory(reactor, Retention::default());
        let shown = feed.clone();
        let lines = CombinedLog::new(move |line: &[u8]| {
            let text = String::from_utf8_lossy(line);
            // A line of the log is never larger than the history.
            let _ = shown.publish(text.trim_end());
            if let Some(log) = &log {
                log.write(line);
            }
        });
        Ok(Site::new(router(reactor, &feed)).observe(Rc::new(Quiet(lines))))
    });
    Ok(())
}

/// An access log without the page's own polling.
struct Quiet<O>(O);

impl<O: AccessObserver> AccessObserver for Quiet<O> {
    fn request_finished(&self, record: &AccessRecord<'_>) {
        if !QUIET.contains(&record.head.path()) {
            self.0.request_finished(record);
        }
    }
}

fn router(reactor: &Reactor, feed: &Feed) -> Router {
    let started = reactor.now();
    let watched = feed.clone();
    Router::new()
        .get("/", |_| page())
        .route("GET", "/events", push::sse(feed, 50))
        .get("/status", move |request: Request| {
            let reactor = request.reactor();
            json!({
                "connections": request.transport().siblings(),
                "viewers": watched.viewers(),
                "requests": watched.channel().statistics().published,
                "uptime_seconds": (reactor.now() - started).as_secs(),
                "version": env!("CARGO_PKG_VERSION"),
            })
        })
        .get("/hello", |_| "Hello, World!\n")
        .get("/time", |request: Request| {
            let wall = request.reactor().wall_clock().duration_since(SystemTime::UNIX_EPOCH);
            format!("{} seconds since 1970 began\n", wall.unwrap_or_default().as_secs())
        })
        .post("/echo", |request: Request| async move {
            request.set_body_bytes_max(ECHO_BYTES_MAX);
            request.bytes().await.map(|body| Response::new(body).content_type("text/plain; charset=utf-8"))
        })
}

fn page() -> Response {
    Response::html(include_str!("../pages/welcome.html").replace("{{version}}", env!("CARGO_PKG_VERSION")))
        .header("Cache-Control", "no-cache")
        .header(
            "Content-Security-Policy",
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        )
        .header("X-Content-Type-Options", "nosniff")
}
