//! The example of failures: each of the five ends at once, tells its visitor what its head promises, and leaves the connection
//! to the next request or to nobody.

use crate::failures::site;
use crate::support::{Ground, MS, SECOND, SOON};

fn get(path: &str, fields: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: example.org\r\n{fields}\r\n").into_bytes()
}

/// What one request and the one behind it come to, and whether the connection is broken off. Both are given three seconds.
fn ask(ground: &Ground, path: &str, fields: &str) -> (String, bool) {
    let client = ground.connect();
    client.write(&[get(path, fields), get("/", "")].concat());
    ground.advance(500 * MS);
    let mut bytes = client.take();
    ground.advance(2500 * MS);
    bytes.extend(client.take());
    let text = String::from_utf8(bytes).unwrap();
    let reset = client.is_reset();
    drop(client);
    ground.advance(5 * SECOND);
    assert_eq!((ground.sources(), ground.timers()), (1, 0), "{path}");
    (text, reset)
}

fn links(text: &str) -> usize {
    text.matches("<h1>Failures</h1>").count()
}

#[test]
fn failures_tell_strangers_an_incident_and_developers_everything() {
    for seed in 0..100 {
        let strangers = Ground::new(seed, site(false));
        let developers = Ground::new(seed, site(true));
        for (path, words) in [
            ("/thread", "No such file or directory"),
            ("/callback", "panicked: index out of bounds"),
            ("/handler", "invalid digit found in string"),
        ] {
            let (text, reset) = ask(&strangers, path, "Accept: text/html\r\n");
            assert!(text.starts_with("HTTP/1.1 500 Internal Server Error\r\n"), "{seed} {path}: {text}");
            assert!(text.contains("; the reason is in its log, incident "), "{seed} {path}: {text}");
            assert!(!text.contains(words) && !text.contains("failures.rs"), "{seed} {path}: {text}");
            assert!(
                !reset && links(&text) == 1 && !text.contains("a second has passed"),
                "{seed} {path}: {text}"
            );

            let (text, _) = ask(&developers, path, "Accept: text/html\r\n");
            assert!(text.contains(&format!("<h1>{words}")), "{seed} {path}: {text}");
            assert!(text.contains("examples/failures.rs:"), "{seed} {path}: {text}");
            assert_eq!(links(&text), 1, "{seed} {path}: {text}");
        }
    }
}

#[test]
fn failures_after_the_first_byte_break_off_and_after_the_answer_are_not_seen() {
    for seed in 0..100 {
        for debug in [false, true] {
            let ground = Ground::new(seed, site(debug));
            let (text, reset) = ask(&ground, "/between", "");
            assert!(text.contains("it begins well\n") && !text.contains("0\r\n\r\n"), "{seed}: {text}");
            assert!(reset && links(&text) == 0, "{seed}: {text}");
            let (text, reset) = ask(&ground, "/after", "");
            assert!(
                text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("\r\n\r\nall is well\n"),
                "{seed}: {text}"
            );
            assert!(!reset && links(&text) == 1, "{seed}: {text}");
        }
    }
}

#[test]
fn failures_are_answered_at_once() {
    let ground = Ground::new(1, site(false));
    for (path, after) in [("/handler", SOON), ("/thread", 2 * SOON), ("/callback", SECOND + SOON)] {
        let client = ground.connect();
        client.write(&get(path, ""));
        ground.advance(after + 10 * MS);
        assert!(client.text().starts_with("HTTP/1.1 500 "), "{path}");
    }
}
