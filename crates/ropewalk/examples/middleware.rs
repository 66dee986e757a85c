//! What stands around the handlers of a site: ids, limits, pages of errors, compression, figures, and a middleware of one's own.
//!
//! Run it with `cargo run --example middleware`, then try
//! ```text
//! curl -i http://127.0.0.1:8080/                     X-Request-Id, Server-Timing, and the fields that make browsers careful
//! curl -i --compressed http://127.0.0.1:8080/poem    Content-Encoding
//! curl -i http://127.0.0.1:8080/slow                 504 after a second
//! curl -i http://127.0.0.1:8080/nowhere              404; a browser gets a page, `-H 'Accept: application/json'` an object
//! curl -i -H 'Origin: https://app.example.org' http://127.0.0.1:8080/api/time
//! for n in 1 2 3 4 5 6; do curl -i -X POST http://127.0.0.1:8080/login; done    the sixth is a 429
//! curl http://127.0.0.1:8080/metrics                 what all of that came to
//! ```

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use ropewalk::web::{
    Answer, Compression, Cors, Decompression, ErrorPages, Handler, Metrics, Middleware, Next, RateLimit,
    Request, RequestId, Response, Router, SecurityHeaders, Site, Timeout, handler, middleware,
};

const SECOND: Duration = Duration::from_secs(1);
const POEM: &str = "The rope is walked, the rope is spun,\nand what was many now is one.\n";

/// Says how long the handler took, as browsers show it beside the request. It sees what a handler returned, at once or later.
struct Timing;

impl Middleware for Timing {
    fn handle(&self, request: Request, next: &Next) -> Answer {
        let (reactor, began) = (request.reactor().clone(), request.reactor().now());
        next.handle(request).map(move |response| {
            let took = reactor.now().since(began).as_millis();
            response.header("Server-Timing", format!("handler;dur={took}"))
        })
    }
}

/// Lets in only who says the word, and thinks about it for a moment. A function is a middleware, too.
fn secret() -> impl Middleware {
    middleware(|request: Request, next: Next| async move {
        request.reactor().sleep(SECOND / 10).await;
        match request.header("x-secret") {
            Some("please") => Ok(next.handle(request)),
            _ => Err(Response::error(403, "say the word")),
        }
    })
}

/// The site, with figures that all workers share.
pub fn site(metrics: &Metrics) -> Site {
    let login = handler(|_| "welcome\n").with(RateLimit::new(5, 60 * SECOND));
    let vault = handler(|_| "a rope of sand\n").with(secret());
    let slow = handler(|request: Request| async move {
        request.reactor().sleep(60 * SECOND).await;
        "at last\n"
    });
    let time =
        Router::new().get("/api/time", |request: Request| format!("{:?}\n", request.reactor().wall_clock()));
    let router = Router::new()
        .get("/", |request: Request| format!("Hello, request {}!\n", request.id().unwrap_or_default()))
        .get("/poem", |_| POEM.repeat(100))
        .post("/length", |request: Request| async move { request.bytes().await.map(|b| b.len().to_string()) })
        .route("GET", "/metrics", metrics.page())
        .route("GET", "/slow", slow.with(Timeout::new(SECOND).status(504)))
        .route("GET", "/vault", vault)
        .route("POST", "/login", login)
        .fallback(time.with(Cors::origins(["https://app.example.org"])));
    // The first one is the outermost.
    Site::new(router)
        .with(RequestId::new())
        .with(SecurityHeaders::new())
        .with(Compression::new())
        .with(Decompression::new())
        .with(Timing)
        .error_pages(ErrorPages::new())
        .observe(Rc::new(metrics.clone()))
}

fn main() -> ExitCode {
    let metrics = Metrics::new();
    ropewalk::main("middleware", move |app| {
        let metrics = metrics.clone();
        app.serve_site("web", "tcp:8080:interface=127.0.0.1".parse()?, move || Ok(site(&metrics)));
        Ok(())
    })
}
