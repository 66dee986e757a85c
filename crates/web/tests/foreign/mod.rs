//! What the tests with foreign clients share: a site on two ports, one in the clear and one with TLS, and a program that is run against
//! it. No test of its own.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it, as a module of its own")]

#[path = "../../../net/tests/authority/mod.rs"]
mod authority;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use authority::Authority;
use ropewalk_net::tls::TlsServer;
use ropewalk_net::{Address, listen};
use ropewalk_reactor::Reactor;
use ropewalk_web::{BodyError, Compression, Cookie, Request, Response, Router, Site};

fn port_of_peer(request: &Request) -> String {
    match request.peer() {
        Address::Inet(address) => address.port().to_string(),
        other => unreachable!("{other}"),
    }
}

/// The bytes of a body, counted and summed up as they come.
async fn summed(mut request: Request) -> Result<String, BodyError> {
    let (mut count, mut sum) = (0_u64, 0_u64);
    while let Some(piece) = request.piece().await? {
        count += piece.len() as u64;
        sum = piece.iter().fold(sum, |sum, &byte| sum + u64::from(byte));
    }
    let kind = request.header("content-type").unwrap_or("none");
    let coding = request.header("transfer-encoding").unwrap_or("length");
    Ok(format!("{count} {sum} {coding} {}", kind.split(';').next().unwrap_or(kind)))
}

async fn dripping(request: Request) {
    let responder = request.responder();
    responder.set_content_type("text/event-stream");
    for number in 0..5 {
        responder.write(format!("id: {number}\ndata: drop {number}\n\n"));
        request.reactor().sleep(Duration::from_millis(5)).await;
    }
    responder.finish();
}

fn router() -> Router {
    Router::new()
        .get("/place", |request: Request| port_of_peer(&request))
        .get("/words", |_| Response::text("word ".repeat(100_000)))
        .any("/method", |request: Request| request.method().to_owned())
        .any("/to/{status}", |request: Request| {
            let status = request.param("status").and_then(|status| status.parse().ok()).unwrap_or(404);
            Response::redirect(status, "/method")
        })
        .get("/round", |_| Response::redirect(302, "/round"))
        .get("/in", |_| {
            let here = Cookie::new("here", "1").http_only(true);
            let there = Cookie::new("there", "2").path("/elsewhere");
            Response::redirect(303, "/cookies").cookie(here).cookie(there)
        })
        .get("/out", |_| Response::text("out").cookie(Cookie::removal("here")))
        .get("/cookies", |request: Request| {
            ["here", "there"].map(|name| request.cookie(name).unwrap_or_default()).join(",")
        })
        .any("/sum", summed)
        .post("/raw", |request: Request| async move {
            let kind = request.header("content-type").unwrap_or("none").to_owned();
            Ok::<_, BodyError>(Response::new(request.bytes().await?).header("X-Kind", kind))
        })
        .get("/dripping", dripping)
        .get("/who", |request: Request| match request.credentials() {
            Some((user, password)) => Response::text(format!("{user}:{password}")),
            None => Response::error(401, "who?").header("WWW-Authenticate", "Basic realm=\"rope\""),
        })
        .get("/close", |_| Response::text("bye").close())
        .get("/certificate", |request: Request| {
            let subject = request.tls().and_then(|tls| tls.peer_subject());
            subject.map_or_else(|| "nobody".to_owned(), |subject| subject.dns.join(","))
        })
        .post("/refuse", |_| Response::error(403, "not for you"))
}

/// Where the site is, and what its clients believe.
pub struct Place {
    pub http: String,
    pub https: String,
    /// The authority, and a client's certificate with its key: PEM in files that go with this.
    pub folder: PathBuf,
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn folder(authority: &Authority) -> PathBuf {
    let name = format!("ropewalk-foreign-{}-{:?}", std::process::id(), std::thread::current().id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let (chain, key) = authority.pair(&["client.example"]);
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    std::fs::write(folder.join("client.pem"), chain + &key).unwrap();
    folder
}

/// Serves while the program that `make` gives runs, which must succeed; what it has said.
pub fn against(make: impl FnOnce(&Place) -> Command + Send + 'static) -> String {
    let authority = Authority::new();
    let reactor = Reactor::new().unwrap();
    let site = || Site::new(router()).with(Compression::new());
    let endpoint = "tcp:0:interface=127.0.0.1".parse().unwrap();
    let plain = listen(&reactor, &endpoint, site()).unwrap();
    let tls: TlsServer = authority.strict_server(false);
    let secure = listen(&reactor, &endpoint, tls.wrap(site())).unwrap();
    let port = |port: &ropewalk_net::Port| match port.address() {
        Address::Inet(address) => address.port(),
        other => unreachable!("{other}"),
    };
    let place = Place {
        http: format!("http://127.0.0.1:{}", port(&plain)),
        https: format!("https://localhost:{}", port(&secure)),
        folder: folder(&authority),
    };
    let remote = reactor.remote();
    let thread = std::thread::spawn(move || {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            make(&place).stdin(Stdio::null()).output().unwrap()
        }));
        let _ = remote.call_from_thread(|reactor| reactor.stop());
        outcome.unwrap()
    });
    reactor.run().unwrap();
    let output = thread.join().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Python with a package, and a script that is told where the site is.
pub fn python(module: &str, script: &'static str) -> Option<String> {
    let (program, path) = (ropewalk_testkit::require("python3")?, ropewalk_testkit::python(module)?);
    Some(against(move |place: &Place| script_of(&program, &path, place, script)))
}

fn script_of(program: &Path, path: &Path, place: &Place, script: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["-c", script, &place.http, &place.https]).arg(&place.folder).env("PYTHONPATH", path);
    command
}
