//! Requests that become a WebSocket, and those that do not.

use ropewalk_web::websocket::{Options, Origins};

use crate::support::{Field, request};

fn answered(options: Options, asks: &[u8]) -> String {
    let field = Field::echo(options);
    let head = field.send(asks).head;
    let opened = !field.log().is_empty();
    assert_eq!(opened, head.starts_with("HTTP/1.1 101 "), "{head}");
    head
}

#[test]
fn the_answer_is_what_the_rfc_says() {
    let head = answered(Options::default(), &request(""));
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let undated: String = head.split_inclusive("\r\n").filter(|line| !line.starts_with("Date:")).collect();
    assert_eq!(undated, expected);
}

#[test]
fn what_is_no_handshake_is_refused_with_the_version() {
    let right = String::from_utf8(request("")).unwrap();
    for (from, to, status) in [
        ("GET", "POST", "400 "),
        ("Upgrade: websocket\r\n", "", "426 "),
        ("Upgrade: websocket", "Upgrade: h2c", "426 "),
        ("Connection: Upgrade", "Connection: keep-alive", "426 "),
        ("HTTP/1.1", "HTTP/1.0", "426 "),
        ("Version: 13", "Version: 8", "426 "),
        ("Sec-WebSocket-Version: 13\r\n", "", "400 "),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", "400 "),
        ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=", "400 "),
    ] {
        assert!(right.contains(from));
        let head = answered(Options::default(), right.replacen(from, to, 1).as_bytes());
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{from} to {to}: {head}");
        assert!(head.contains("Sec-WebSocket-Version: 13\r\n"), "{head}");
        assert_eq!(head.contains("Upgrade: websocket\r\n"), status == "426 ", "{head}");
    }
    let body = request("Content-Length: 4\r\n");
    assert!(answered(Options::default(), &[&body, b"body".as_slice()].concat()).starts_with("HTTP/1.1 400 "));
}

#[test]
fn a_foreign_page_is_refused_unless_it_is_said() {
    let ask = |origins: &Origins, fields: &str| {
        let options = Options { origins: origins.clone(), ..Options::default() };
        answered(options, &request(fields)).starts_with("HTTP/1.1 101 ")
    };
    let listed = Origins::Listed(vec!["https://friend.example".to_owned()]);
    for (fields, same, known) in [
        ("", true, true),
        ("Origin: http://example.org\r\n", true, false),
        ("Origin: https://EXAMPLE.org\r\n", true, false),
        ("Origin: https://friend.example\r\n", false, true),
        ("Origin: http://friend.example\r\n", false, false),
        ("Origin: http://example.org:8080\r\n", false, false),
        ("Origin: http://example.org.evil.example\r\n", false, false),
        ("Origin: http://evil.example/example.org\r\n", false, false),
        ("Origin: null\r\n", false, false),
        ("Origin: \r\n", false, false),
        ("Origin: http://example.org\r\nOrigin: http://evil.example\r\n", false, false),
    ] {
        assert_eq!(ask(&Origins::SameHost, fields), same, "{fields}");
        assert_eq!(ask(&listed, fields), known, "{fields}");
        assert!(ask(&Origins::Any, fields), "{fields}");
    }
    let head = answered(Options::default(), &request("Origin: http://evil.example\r\n"));
    assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{head}");
}

#[test]
fn the_server_chooses_the_subprotocol() {
    let options = || Options { subprotocols: vec!["v2".to_owned(), "v1".to_owned()], ..Options::default() };
    let chosen = |fields: &str| {
        let head = answered(options(), &request(fields));
        head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: ").map(str::to_owned))
    };
    assert_eq!(chosen("Sec-WebSocket-Protocol: v1, v2\r\n").as_deref(), Some("v2"));
    assert_eq!(chosen("Sec-WebSocket-Protocol: v1\r\nSec-WebSocket-Protocol: v0\r\n").as_deref(), Some("v1"));
    assert_eq!(chosen("Sec-WebSocket-Protocol: v0\r\n"), None);
    assert_eq!(chosen(""), None);
}
