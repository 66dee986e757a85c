//! Five ways to fail, and what the visitor and the log learn of each.
//!
//! Run it with `cargo run --example failures`, open http://127.0.0.1:8081/ in a browser and follow the links: that site debugs, so
//! each failure shows itself. http://127.0.0.1:8080/ is the same site as strangers would see it: `500 Internal Server Error: the server
//! could not answer; the reason is in its log, incident 5f3a9c01d2`, and the log on standard error says under the same number what
//! was wrong and where. Nobody is left waiting:
//! ```text
//! curl http://127.0.0.1:8080/thread    500: it failed on a thread
//! curl http://127.0.0.1:8080/callback  500: it failed in a callback, before the first byte
//! curl http://127.0.0.1:8080/between   the beginning, then a connection that ends: what came is not the whole
//! curl http://127.0.0.1:8080/after     an answer, whole: only the log has the failure
//! curl http://127.0.0.1:8080/handler   500: the handler failed, and what its deferred says a second later meets nobody
//! ```

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use ropewalk::web::{Request, Response, Router, Site};
use ropewalk::{Deferred, Outcome};

const LINKS: &str = "<!DOCTYPE html><title>Failures</title><h1>Failures</h1><ul>\
    <li><a href=/thread>in a thread</a><li><a href=/callback>in a callback, before the first byte</a>\
    <li><a href=/between>after the first byte</a><li><a href=/after>after the answer</a>\
    <li><a href=/handler>in the handler, when its deferred was started</a></ul>";

/// Fires after a second.
fn second(request: &Request) -> Deferred<&'static str> {
    let (firing, deferred) = Deferred::new(request.reactor());
    request.reactor().call_later(Duration::from_secs(1), move || {
        // It fails when nobody waits any more.
        let _ = firing.callback("a second has passed\n");
    });
    deferred
}

/// On a thread of the pool: the deferred has the failure, and to return the deferred is to answer with it.
fn thread(request: &Request) -> Deferred<Outcome<String>> {
    request.reactor().defer_to_thread(|| Ok(fs::read_to_string("/there/is/no/such/file")?))
}

/// In a callback that holds the responder. Returned, the chain tells the request what went wrong in it.
fn callback(request: &Request) -> Deferred<()> {
    let responder = request.responder();
    second(request).add_callback(move |text| {
        let words: Vec<&str> = text.split(' ').collect();
        responder.write(words[99]);
        responder.finish();
    })
}

/// After the first byte nothing can be taken back: the connection is broken off.
async fn between(request: Request) -> Outcome<()> {
    let responder = request.responder();
    responder.write("it begins well\n");
    second(&request).await?;
    Err("the rest is lost".into())
}

/// After the answer the visitor has what he came for.
fn after(request: &Request) -> Outcome<()> {
    request.responder().respond(Response::text("all is well\n"));
    Err("the tidying up has failed".into())
}

/// In the handler itself, whose deferred is under way. Its answer comes too late, and the connection may have other requests by
/// then: it reaches none of them.
fn handler(request: &Request) -> Outcome<()> {
    let responder = request.responder();
    drop(second(request).add_callback(move |text| {
        responder.write(text);
        responder.finish();
    }));
    let number: u32 = "seven".parse()?;
    unreachable!("{number} is a word")
}

/// The site, for developers or for strangers.
pub fn site(debug: bool) -> Site {
    let router = Router::new()
        .get("/", |_| Response::html(LINKS))
        .get("/thread", |request: Request| thread(&request))
        .get("/callback", |request: Request| callback(&request))
        .get("/between", between)
        .get("/after", |request: Request| after(&request))
        .get("/handler", |request: Request| handler(&request));
    Site::new(router).debug(debug)
}

fn main() -> ExitCode {
    ropewalk::main("failures", |app| {
        app.serve_site("strangers", "tcp:8080:interface=127.0.0.1".parse()?, || Ok(site(false)));
        app.serve_site("developers", "tcp:8081:interface=127.0.0.1".parse()?, || Ok(site(true)));
        Ok(())
    })
}
