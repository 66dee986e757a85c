//! curl against the program: a site with ranges and validators, an event stream, a request with a body, a socket file,
//! a PROXY header.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use support::*;

/// What curl prints, status line and fields included; it must succeed.
fn curl(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(["--silent", "--show-error", "--include", "--max-time", "20", "--noproxy", "*"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_site_with_ranges_and_validators() {
    let Some(program) = ropewalk_testkit::require("curl") else { return };
    let folder = Folder::new();
    folder.write("numbers.txt", "0123456789");
    let server = Program::web(&[folder.path()]);
    let url = format!("http://127.0.0.1:{}/numbers.txt", server.port("web"));
    let whole = curl(&program, &[&url]);
    assert!(whole.starts_with("HTTP/1.1 200 OK\r\n") && whole.ends_with("\r\n\r\n0123456789"), "{whole}");
    let part = curl(&program, &["--range", "-3", &url]);
    assert!(part.starts_with("HTTP/1.1 206 ") && part.ends_with("\r\n\r\n789"), "{part}");
    let parts = curl(&program, &["--range", "0-1,8-9", &url]);
    assert!(parts.contains("multipart/byteranges") && parts.contains("bytes 8-9/10"), "{parts}");
    let head = curl(&program, &["--head", &url]);
    assert!(head.contains("Content-Length: 10\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    let tag = folder.name("tag");
    curl(&program, &["--etag-save", &tag, &url]);
    let same = curl(&program, &["--etag-compare", &tag, &url]);
    assert!(same.starts_with("HTTP/1.1 304 "), "{same}");
    // A download that was broken off goes on.
    let download = folder.write("download", "0123");
    curl(&program, &["--continue-at", "-", "--output", &download, &url]);
    assert!(std::fs::read_to_string(&download).unwrap().ends_with("456789"));
    // Two requests, one connection.
    let twice = curl(&program, &["--verbose", "--stderr", "-", &url, &url]);
    assert!(twice.contains("Re-using existing connection") || twice.contains("Reusing existing"), "{twice}");
}

#[test]
fn a_body_in_every_way_that_curl_sends_one() {
    let Some(program) = ropewalk_testkit::require("curl") else { return };
    let server = Program::start(&["--listen", "tcp:0"], 1);
    let url = format!("http://127.0.0.1:{}/echo", server.port("web"));
    for way in [
        &["--http1.0"][..],
        &["--http1.1"],
        &["--header", "Transfer-Encoding: chunked"],
        &["--header", "Expect: 100-continue"],
    ] {
        let reply = curl(&program, &[way, &["--data-raw", "körper", &url]].concat());
        assert!(reply.contains(" 200 OK\r\n") && reply.ends_with("\r\n\r\nkörper"), "{way:?}: {reply}");
    }
    assert!(curl(&program, &["--request", "PUT", "--data", "x", &url]).contains(" 405 "));
}

#[test]
fn an_event_stream_comes_line_by_line() {
    let Some(program) = ropewalk_testkit::require("curl") else { return };
    let folder = Folder::new();
    let log = folder.write("app.log", "one\n");
    let server = Program::tail(&[&log, "--token", "geheim"]);
    let url = format!("http://127.0.0.1:{}/events?history=1", server.port("web"));
    let mut child = Command::new(program)
        .args([
            "--silent",
            "--no-buffer",
            "--noproxy",
            "*",
            "--max-time",
            "20",
            "--oauth2-bearer",
            "geheim",
            &url,
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut data =
        || lines.by_ref().map(Result::unwrap).find_map(|line| line.strip_prefix("data: ").map(str::to_owned));
    assert_eq!(data().as_deref(), Some("one"));
    folder.append("app.log", "two\n");
    assert_eq!(data().as_deref(), Some("two"));
    // The stream ends with the server, in an orderly way.
    assert_eq!(server.stop().code, Some(0));
    assert_eq!(data(), None);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_site_behind_a_socket_file() {
    let Some(program) = ropewalk_testkit::require("curl") else { return };
    let folder = Folder::new();
    folder.write("index.html", "over a socket file");
    let socket = folder.name("sock");
    let endpoint = format!("unix:{socket}");
    let _server = Program::start(&["web", folder.path().to_str().unwrap(), "--listen", &endpoint], 1);
    let reply = curl(&program, &["--unix-socket", &socket, "http://site/"]);
    assert!(reply.ends_with("over a socket file"), "{reply}");
}

#[test]
fn a_site_behind_a_proxy() {
    let Some(program) = ropewalk_testkit::require("curl") else { return };
    let folder = Folder::new();
    folder.write("index.html", "behind a proxy");
    let server = Program::start(&["web", folder.path().to_str().unwrap(), "--listen", "proxy:tcp:0"], 1);
    let port = server.proxied_port("web");
    let url = format!("http://127.0.0.1:{port}/");
    // Its header says what the socket says: what counts is that it is understood, once per connection.
    let twice = curl(&program, &["--haproxy-protocol", "--user-agent", "", &url, &url]);
    assert_eq!(twice.matches("behind a proxy").count(), 2, "{twice}");
    // Without a header nobody is served.
    let plain = Command::new(program)
        .args(["--silent", "--noproxy", "*", "--max-time", "20", &url])
        .output()
        .unwrap();
    assert!(!plain.status.success() && plain.stdout.is_empty(), "{plain:?}");
    let ended = server.stop();
    let log: Vec<_> = ended.stdout.lines().filter(|line| line.contains("HTTP/1.1\"")).collect();
    assert_eq!(log.len(), 2, "{}", ended.stdout);
    assert!(log.iter().all(|line| line.starts_with("127.0.0.1 - - [")), "{}", ended.stdout);
}
