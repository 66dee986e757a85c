//! `ropewalk push`: channels over real sockets, what survives a kill, and what it refuses.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::io::{BufRead, BufReader, Write};

use rustix::process::Signal;
use support::*;

fn push(arguments: &[&str]) -> Program {
    Program::start(&[&["push", "--listen", "tcp:0"], arguments].concat(), 1)
}

fn ask(port: u16, method: &str, target: &str, fields: &str, body: &str) -> Reply {
    let length = body.len();
    exchange(
        port,
        &format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
        ),
    )
}

/// Publishes, and answers the id.
fn publish(port: u16, name: &str, text: &str) -> u64 {
    let reply = ask(port, "POST", &format!("/channels/{name}"), "", text);
    assert_eq!(reply.status, 201, "{}", reply.head);
    let id = reply.text().trim_start_matches("{\"id\":\"").trim_end_matches("\"}").to_owned();
    id.parse().unwrap_or_else(|_| panic!("{}", reply.text()))
}

#[test]
fn publish_and_read_in_every_form() {
    let program = push(&["--origin", "https://app.example.org"]);
    let port = program.port("push");
    let preflight = |origin: &str| {
        let fields = format!("Origin: {origin}\r\nAccess-Control-Request-Method: POST\r\n");
        ask(port, "OPTIONS", "/channels/news", &fields, "").head.contains(origin)
    };
    assert!(preflight("https://app.example.org") && !preflight("https://evil.example.org"));
    assert!(program.endpoint("push").contains("127.0.0.1"), "for this machine");
    let first = publish(port, "news", "one");
    let mut stream = BufReader::new(connect(port));
    let request = format!(
        "GET /channels/news?since={first} HTTP/1.1\r\nHost: localhost:{port}\r\nAccept: application/x-ndjson\r\n\r\n"
    );
    stream.get_mut().write_all(request.as_bytes()).unwrap();
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).unwrap();
    }
    let second = publish(port, "news", "two");
    line.clear();
    stream.read_line(&mut line).unwrap();
    assert_eq!(line, format!("{{\"id\":\"{second}\",\"data\":\"two\"}}\n"));
    let all = ask(port, "GET", "/channels/news?since=0", "", "");
    assert!(
        all.text().contains("\"data\":\"one\"") && all.text().contains("\"data\":\"two\""),
        "{}",
        all.text()
    );
    assert!(ask(port, "GET", "/channels", "", "").text().contains("\"news\""));
    let page = ask(port, "GET", "/", "", "");
    assert!(
        page.head.contains("Content-Security-Policy: default-src 'none'; script-src 'self'"),
        "{}",
        page.head
    );
    for beside in ["push.css", "push.js"] {
        assert!(page.text().contains(&format!("\"{beside}\"")));
        assert_eq!(ask(port, "GET", &format!("/{beside}"), "", "").status, 200);
    }
    let client = ask(port, "GET", "/ropewalk.js", "", "");
    assert!(client.head.contains("Content-Type: text/javascript"), "{}", client.head);
    assert!(client.text().contains("export const subscribe"));
    assert_eq!(ask(port, "POST", "/channels/news", "Origin: http://evil.example.org\r\n", "x").status, 403);
    assert_eq!(get(port, "/channels").status, 403, "a name that is not ours");
    assert_eq!(program.stop().code, Some(0));
}

#[test]
fn what_was_answered_survives_a_kill_and_ids_go_on() {
    let folder = Folder::new();
    let store = folder.name("a/store");
    let mut answered: Vec<(u64, String)> = Vec::new();
    for round in 0..12 {
        let program = push(&["--store", &store, "--retain-events", "1000"]);
        let port = program.port("push");
        if round > 0 {
            let before = ask(port, "GET", "/channels/news?since=0", "", "");
            for (id, text) in &answered {
                let event = format!("{{\"id\":\"{id}\",\"data\":\"{text}\"}}");
                assert!(before.text().contains(&event), "{event} was answered");
            }
        }
        for number in 0..=round {
            let text = format!("{round}.{number}");
            let id = publish(port, "news", &text);
            assert!(answered.last().is_none_or(|(last, _)| *last < id), "ids rise");
            answered.push((id, text));
        }
        program.signal(Signal::KILL);
        program.ended();
    }
    let program = push(&["--store", &store, "--retain-events", "10"]);
    let reply = ask(program.port("push"), "GET", "/channels/news?since=5", "", "");
    assert_eq!(reply.text().matches("\"data\"").count(), 10, "{}", reply.text());
    assert!(reply.text().contains("\"gap\":{\"asked\":\"5\""), "{}", reply.text());
    let second = refused(&["push", "--listen", "tcp:0", "--store", &store]);
    assert!(second.contains("in use"), "{second}");
}

#[test]
fn what_cannot_be_served_is_said_in_one_line() {
    let open = refused(&["push", "--listen", "tcp:0:interface=0.0.0.0"]);
    assert!(open.contains("authorisation") && open.contains("127.0.0.1"), "{open}");
    let folder = Folder::new();
    let short = folder.write("short", "x");
    let key = refused(&["push", "--listen", "tcp:0", "--jwt-key", &short]);
    assert!(key.contains("32 bytes") && key.contains("short"), "{key}");
    refused(&["push", "--listen", "tcp:0", "--jwt-alg", "HS256"]);
    refused(&["push", "--listen", "tcp:0", "--jwt-key", &short, "--jwt-alg", "none"]);
    let file = folder.write("file", "x");
    let store = refused(&["push", "--listen", "tcp:0", "--store", &file]);
    assert!(store.contains("name a folder"), "{store}");
    for wrong in [&["--retain-age", "soon"][..], &["--retain-events", "-1"], &["--retain-bytes", "x"]] {
        refused(&[&["push", "--listen", "tcp:0"], wrong].concat());
    }
}

/// A token of `{"exp":4102444800,"publish":["a"],"subscribe":["a"]}`, signed with HS256 by the secret of the test below.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjQxMDI0NDQ4MDAsInB1Ymxpc2giOlsiYSJdLCJzdWJzY3JpYmUiOlsiYSJdfQ.1Hk0HKrFH78K3tz-MyvksHsQTiXLkYkKcwsMX6nGoeY";

#[test]
fn with_a_key_others_may_come_who_have_a_token() {
    let folder = Folder::new();
    let key = folder.write("key", "a secret of thirty-two bytes here\n");
    let all = ["push", "--listen", "tcp:0:interface=0.0.0.0", "--jwt-key", &key];
    let program = Program::start(&all, 1);
    let port = program.port("push");
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(ask(port, "POST", "/channels/a", "", "x").status, 401);
    assert_eq!(ask(port, "POST", "/channels/a", &bearer, "x").status, 201);
    assert_eq!(ask(port, "POST", "/channels/b", &bearer, "x").status, 403);
    assert_eq!(ask(port, "GET", "/channels/a?since=0", &bearer, "").status, 200);
    assert_eq!(ask(port, "GET", &format!("/channels/a?since=0&token={TOKEN}"), "", "").status, 401);
    assert_eq!(program.stop().code, Some(0));
}
