//! curl, an HTTP client that others wrote: what it sends is understood, and what it gets it likes.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ropewalk_net::{Address, listen};
use ropewalk_reactor::Reactor;
use ropewalk_web::{Compression, Cors, Decompression, Request, Response, Router, Site};

/// Runs `client` with curl and the address of a site; skipped where there is no curl.
fn with_curl(client: impl FnOnce(&Curl) + Send + 'static) {
    let Some(program) = ropewalk_testkit::require("curl") else { return };
    let router = Router::new()
        .get("/", |_| "hello")
        .get("/close", |_| Response::text("bye").close())
        .get("/stream", |request: Request| {
            let responder = request.responder();
            responder.write("one ");
            responder.write("two");
            responder.finish();
        })
        .any("/echo", |mut request: Request| async move {
            let mut whole = format!("{} ", request.method()).into_bytes();
            while let Some(piece) = request.piece().await? {
                whole.extend(piece);
            }
            Ok::<_, ropewalk_web::BodyError>(whole)
        })
        .get("/words", |_| "word ".repeat(100_000))
        .any("/refuse", |_| Response::error(403, "not for you"));
    let reactor = Reactor::new().unwrap();
    let site = Site::new(router)
        .with(Cors::origins(["https://app.example.org"]))
        .with(Compression::new())
        .with(Decompression::new());
    let port = listen(&reactor, &"tcp:0:interface=127.0.0.1".parse().unwrap(), site).unwrap();
    let Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
    let remote = reactor.remote();
    let thread = std::thread::spawn(move || {
        let curl = Curl { program, address };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client(&curl)));
        let _ = remote.call_from_thread(|reactor| reactor.stop());
        outcome
    });
    reactor.run().unwrap();
    if let Err(payload) = thread.join().unwrap() {
        std::panic::resume_unwind(payload);
    }
}

struct Curl {
    program: PathBuf,
    address: SocketAddr,
}

impl Curl {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Runs curl with these arguments and this input; answers what it printed.
    fn run(&self, arguments: &[&str], input: &[u8]) -> String {
        let mut child = Command::new(&self.program)
            .args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // It fails when curl needs no input.
        let writer = std::thread::spawn(move || stdin.write_all(&input).is_ok());
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn get(&self, arguments: &[&str], path: &str) -> String {
        self.run(&[arguments, &[&self.url(path)]].concat(), b"")
    }
}

#[test]
fn curl_gets_heads_and_streams() {
    with_curl(|curl| {
        assert_eq!(curl.get(&[], "/"), "hello");
        assert_eq!(curl.get(&[], "/stream"), "one two");
        assert_eq!(curl.get(&[], "/close"), "bye");
        let head = curl.get(&["--head"], "/");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nDate: "), "{head}");
        assert!(head.contains("\r\nContent-Length: 5\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        assert_eq!(
            curl.get(&["--output", "-", "--write-out", " %{http_code}"], "/nowhere").rsplit(' ').next(),
            Some("404")
        );
    });
}

#[test]
fn curl_speaks_http_1_0() {
    with_curl(|curl| {
        assert_eq!(curl.get(&["--http1.0"], "/"), "hello");
        assert_eq!(curl.get(&["--http1.0"], "/stream"), "one two");
        assert_eq!(curl.get(&["--http1.0", "--data", "x=1"], "/echo"), "POST x=1");
    });
}

#[test]
fn curl_posts_with_and_without_expect() {
    with_curl(|curl| {
        assert_eq!(curl.get(&["--data", "x=1"], "/echo"), "POST x=1");
        let large = "x".repeat(2_000_000);
        let expect = |value: &'static str| ["--include", "--header", value, "--data-binary", "@-"];
        let arguments = expect("Expect: 100-continue");
        let text = curl.run(&[&arguments[..], &[&curl.url("/echo")]].concat(), large.as_bytes());
        assert!(text.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "{}", &text[..200]);
        assert!(text.ends_with(&format!("POST {large}")));
        let arguments = expect("Expect:");
        let text = curl.run(&[&arguments[..], &[&curl.url("/echo")]].concat(), large.as_bytes());
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with(&large));
        // Refused before the body is sent.
        let arguments = expect("Expect: 100-continue");
        let text = curl.run(&[&arguments[..], &[&curl.url("/refuse")]].concat(), large.as_bytes());
        assert!(text.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{}", &text[..200]);
    });
}

#[test]
fn curl_uploads_in_chunks() {
    with_curl(|curl| {
        let text =
            curl.run(&["--upload-file", "-", &curl.url("/echo")], b"line\n".repeat(100_000).as_slice());
        assert_eq!(text, "PUT ".to_owned() + &"line\n".repeat(100_000));
    });
}

#[test]
fn curl_keeps_its_connection() {
    with_curl(|curl| {
        let (first, second) = (curl.url("/"), curl.url("/stream"));
        let counted = ["--write-out", " %{num_connects}\n"];
        let text = curl.run(&[&counted[..], &[&first, &second, &first]].concat(), b"");
        assert_eq!(text, "hello 1\none two 0\nhello 0\n");
        let (first, second) = (curl.url("/close"), curl.url("/"));
        let text = curl.run(&[&counted[..], &[&first, &second]].concat(), b"");
        assert_eq!(text, "bye 1\nhello 1\n");
    });
}

#[test]
fn curl_unpacks_what_it_asked_for() {
    with_curl(|curl| {
        let words = "word ".repeat(100_000);
        assert_eq!(curl.get(&[], "/words"), words);
        assert_eq!(curl.get(&["--compressed"], "/words"), words);
        // Which codings it knows depends on how it was built; gzip is always there.
        for coding in ["gzip", "gzip;q=0.5, deflate", "identity;q=0, gzip"] {
            let accept = format!("Accept-Encoding: {coding}");
            let head = curl.get(&["--compressed", "--header", &accept, "--dump-header", "-"], "/words");
            assert!(
                head.contains("\r\nContent-Encoding: gzip\r\n") && head.ends_with(&words),
                "{}",
                &head[..300]
            );
        }
        let size = ["--compressed", "--output", "/dev/null", "--write-out", "%{size_download}"];
        let size: usize = curl.get(&size, "/words").parse().unwrap();
        assert!(size < words.len() / 20, "{size}");
    });
}

#[test]
fn curl_sends_what_gzip_has_packed() {
    with_curl(|curl| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(&b"word ".repeat(10_000)).unwrap();
        let arguments = ["--header", "Content-Encoding: gzip", "--data-binary", "@-"];
        let packed = packer.finish().unwrap();
        let text = curl.run(&[&arguments[..], &[&curl.url("/echo")]].concat(), &packed);
        assert_eq!(text, "POST ".to_owned() + &"word ".repeat(10_000));
    });
}
