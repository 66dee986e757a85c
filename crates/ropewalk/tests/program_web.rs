//! `ropewalk web` and the welcome page, asked over a socket.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod support;

use std::io::{BufReader, Write};

use support::*;

#[test]
fn a_folder_is_served() {
    let folder = Folder::new();
    folder.write("index.html", "<h1>home</h1>");
    folder.write("numbers.txt", "0123456789");
    folder.write(".hidden", "not for everybody");
    let program = Program::web(&[folder.path()]);
    let port = program.port("web");
    let home = get(port, "/");
    assert_eq!((home.status, home.text()), (200, "<h1>home</h1>"));
    assert_eq!(home.field("content-type"), Some("text/html; charset=utf-8"));
    for target in ["/none", "/.hidden", "/../etc/passwd", "/%2e%2e/etc/passwd", "/..%2fetc%2fpasswd"] {
        assert!([400, 403, 404].contains(&get(port, target).status), "{target}");
    }
    let ask = |line: &str| exchange(port, &format!("{line}\r\nConnection: close\r\n\r\n"));
    let part = ask("GET /numbers.txt HTTP/1.1\r\nHost: x\r\nRange: bytes=2-4");
    assert_eq!((part.status, part.text()), (206, "234"));
    assert_eq!(part.field("content-range"), Some("bytes 2-4/10"));
    let tag = part.field("etag").unwrap();
    let same = ask(&format!("GET /numbers.txt HTTP/1.1\r\nHost: x\r\nIf-None-Match: {tag}"));
    assert_eq!((same.status, same.text()), (304, ""));
    let refused = ask("DELETE /numbers.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 0");
    assert_eq!((refused.status, refused.field("allow").is_some()), (405, true));
    // The log has them all, one line each, in the order in which they came.
    let ended = program.stop();
    let log: Vec<_> = ended.stdout.lines().filter(|line| line.contains("HTTP/1.1\"")).collect();
    assert_eq!(log.len(), 9, "{}", ended.stdout);
    assert!(log[0].starts_with("127.0.0.1 - - ["), "{}", log[0]);
    assert!(log[0].ends_with("] \"GET / HTTP/1.1\" 200 13 \"-\" \"-\""), "{}", log[0]);
    assert!(log[6].contains("\"GET /numbers.txt HTTP/1.1\" 206 3 "), "{}", log[6]);
}

#[test]
fn hidden_files_and_a_single_file_when_asked_for() {
    let folder = Folder::new();
    folder.write(".hidden", "shown");
    let single = folder.write("one.txt", "the only one");
    let program = Program::web(&[folder.path().as_os_str(), "--hidden".as_ref()]);
    assert_eq!(get(program.port("web"), "/.hidden").text(), "shown");
    let program = Program::web(&[&single]);
    assert_eq!(get(program.port("web"), "/").text(), "the only one");
}

#[test]
fn the_place_is_printed_for_scripts_and_for_people() {
    let folder = Folder::new();
    let mut program = Program::web(&[folder.path()]);
    let port = program.port("web");
    assert_eq!(program.endpoint("web"), format!("tcp:{port}:interface=127.0.0.1"));
    assert_eq!(program.line().unwrap(), format!("  http://127.0.0.1:{port}/\n"));
}

#[test]
fn the_access_log_goes_where_it_is_told() {
    let folder = Folder::new();
    let log = folder.name("access.log");
    for round in 1..=2 {
        let program = Program::web(&[folder.path().as_os_str(), "--access-log".as_ref(), log.as_ref()]);
        assert_eq!(get(program.port("web"), "/none").status, 404);
        let ended = program.stop();
        assert!(!ended.stdout.contains("GET"), "{}", ended.stdout);
        // The second process appends.
        assert_eq!(std::fs::read_to_string(&log).unwrap().lines().count(), round);
    }
    let program = Program::web(&[folder.path().as_os_str(), "--access-log".as_ref(), "none".as_ref()]);
    assert_eq!(get(program.port("web"), "/none").status, 404);
    assert!(!program.stop().stdout.contains("GET"));
}

#[test]
fn what_a_client_sends_cannot_forge_a_line_of_the_log() {
    let folder = Folder::new();
    let program = Program::web(&[folder.path()]);
    let request = "GET /\"a?token=geheim HTTP/1.1\r\nHost: x\r\nUser-Agent: \"\x1b[31m\\\r\nReferer: http://x/?%74oken=geheim\r\nConnection: close\r\n\r\n";
    exchange(program.port("web"), request);
    let ended = program.stop();
    assert!(!ended.stdout.contains("geheim") && !ended.stdout.contains('\x1b'), "{}", ended.stdout);
    assert_eq!(ended.stdout.lines().count(), 3, "where it listens, and one request: {}", ended.stdout);
}

#[test]
fn a_proxy_that_is_trusted_names_its_client() {
    let folder = Folder::new();
    let request = "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.7\r\nConnection: close\r\n\r\n";
    for (proxies, client) in [("127.0.0.0/8", "203.0.113.7 - - ["), ("10.0.0.0/8", "127.0.0.1 - - [")] {
        let program =
            Program::web(&[folder.path().as_os_str(), "--trust-proxies".as_ref(), proxies.as_ref()]);
        exchange(program.port("web"), request);
        let ended = program.stop();
        assert!(ended.stdout.contains(client), "{proxies}: {}", ended.stdout);
    }
}

#[test]
fn the_welcome_page_shows_its_own_log() {
    let program = Program::start(&["--listen", "tcp:0"], 1);
    let port = program.port("web");
    let page = get(port, "/");
    assert_eq!(page.status, 200);
    assert!(page.field("content-security-policy").unwrap().contains("default-src 'none'"));
    assert!(page.text().contains("EventSource"));
    assert!(!page.text().contains("{{"), "every place was filled");
    let mut events = Events::open(port, "/events?history=0", None);
    assert_eq!(get(port, "/hello").text(), "Hello, World!\n");
    let line = events.next().data;
    assert!(line.contains("\"GET /hello HTTP/1.1\" 200 14 "), "{line}");
    // What the page asks by itself is not worth a line of it.
    assert!(get(port, "/status").text().contains("\"viewers\":1"));
    let echo = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    assert_eq!(exchange(port, echo).text(), "hello");
    let line = events.next().data;
    assert!(line.contains("\"POST /echo HTTP/1.1\" 200 5 "), "{line}");
    let large = format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", 65 * 1024);
    assert_eq!(exchange(port, &large).status, 413);
    assert!(program.stop().stdout.contains("\"POST /echo HTTP/1.1\" 413 "));
}

#[test]
fn requests_of_one_connection_are_answered_in_order() {
    let program = Program::start(&["--listen", "tcp:0"], 1);
    let mut stream = connect(program.port("web"));
    let ask =
        "GET /hello HTTP/1.1\r\nHost: x\r\n\r\nPOST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nme";
    stream.write_all(ask.repeat(50).as_bytes()).unwrap();
    let mut stream = BufReader::new(stream);
    for _ in 0..50 {
        assert_eq!(read_reply(&mut stream).text(), "Hello, World!\n");
        assert_eq!(read_reply(&mut stream).text(), "me");
    }
}

/// What a proxy sends in front of a request, in both forms, and the log's word for who asked.
#[test]
fn behind_a_proxy_the_log_names_the_client() {
    let folder = Folder::new();
    folder.write("index.html", "<h1>home</h1>");
    let endpoint = "proxy:trusted=127.0.0.1:tcp:0";
    for workers in ["1", "2"] {
        let arguments = ["web", folder.path().to_str().unwrap(), "--listen", endpoint, "--workers", workers];
        let program = Program::start(&arguments, 1);
        let port = program.proxied_port("web");
        let printed = format!("proxy:trusted=127.0.0.1:tcp:{port}:interface=127.0.0.1");
        assert_eq!(program.endpoint("web"), printed);
        let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        // The signature; version 2 and PROXY; TCP over IPv4; twelve bytes: 203.0.113.7:4711 to 198.51.100.1:443.
        let block = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\xc6\x33\x64\x01\x12\x67\x01\xbb";
        let line = b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n";
        for header in [&block[..], line] {
            let mut stream = connect(port);
            stream.write_all(&[header, request].concat()).unwrap();
            assert_eq!(read_reply(&mut BufReader::new(stream)).text(), "<h1>home</h1>");
        }
        let ended = program.stop();
        let log: Vec<_> = ended.stdout.lines().filter(|line| line.contains("HTTP/1.1\"")).collect();
        assert_eq!(log.len(), 2, "{}", ended.stdout);
        assert!(log.iter().any(|line| line.starts_with("203.0.113.7 - - [")), "{}", ended.stdout);
        assert!(log.iter().any(|line| line.starts_with("2001:db8::7 - - [")), "{}", ended.stdout);
    }
}

/// Asks with these fields.
fn ask(program: &Program, target: &str, fields: &str) -> Reply {
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n");
    exchange(program.port("web"), &request)
}

#[test]
fn a_folder_is_listed_when_asked_for() {
    let folder = Folder::new();
    folder.write("<b>.txt", "bold");
    folder.write(".hidden", "not for everybody");
    let program = Program::web(&[folder.path().as_os_str(), "--listing".as_ref()]);
    let page = get(program.port("web"), "/");
    assert_eq!((page.status, page.field("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(
        page.field("content-security-policy").unwrap().starts_with("default-src 'none'; style-src 'nonce-")
    );
    assert!(page.text().contains("<a href=\"/%3Cb%3E.txt\">") && page.text().contains("&lt;b&gt;.txt"));
    assert!(!page.text().contains("hidden\""), "{}", page.text());
    let list = ask(&program, "/", "Accept: application/json\r\n");
    assert!(list.text().contains("\"name\":\"<b>.txt\""), "{}", list.text());
    // Without the option there is none.
    let program = Program::web(&[folder.path()]);
    assert_eq!(get(program.port("web"), "/").status, 404);
}

#[test]
fn a_site_is_served_as_its_options_say() {
    let folder = Folder::new();
    folder.write("home.htm", "<h1>home</h1>");
    folder.write("about.html", "<h1>about</h1>");
    folder.write("app.js", "plain");
    folder.write("app.js.br", "coded");
    folder.write("model.gltf", "{}");
    folder.write("404.html", "<h1>nothing</h1>");
    let options = [
        folder.path().to_str().unwrap(),
        "--index=missing.html",
        "--index=home.htm",
        "--extension=.html",
        "--precompressed",
        "--mime=.gltf=model/gltf+json",
        "--404=404.html",
        "--fallback=home.htm",
        "--cache=3600",
        "--header=X-Robots-Tag: noindex",
        "--header=X-Frame-Options:DENY",
    ];
    let program = Program::web(&options);
    let home = ask(&program, "/", "");
    assert_eq!((home.status, home.text()), (200, "<h1>home</h1>"));
    assert_eq!(home.field("cache-control"), Some("max-age=3600"));
    assert_eq!((home.field("x-robots-tag"), home.field("x-frame-options")), (Some("noindex"), Some("DENY")));
    assert_eq!(ask(&program, "/about", "").text(), "<h1>about</h1>");
    let coded = ask(&program, "/app.js", "Accept-Encoding: gzip, br\r\n");
    assert_eq!((coded.text(), coded.field("content-encoding")), ("coded", Some("br")));
    assert_eq!(ask(&program, "/app.js", "").text(), "plain");
    assert_eq!(ask(&program, "/model.gltf", "").field("content-type"), Some("model/gltf+json"));
    let missing = ask(&program, "/missing", "");
    assert_eq!((missing.status, missing.text()), (404, "<h1>nothing</h1>"));
    assert_eq!(missing.field("x-robots-tag"), Some("noindex"));
    let page = ask(&program, "/users/7", "Sec-Fetch-Mode: navigate\r\n");
    assert_eq!((page.status, page.text()), (200, "<h1>home</h1>"));
    let program = Program::web(&[folder.name("app.js").as_str(), "--cache=0", "--precompressed"]);
    let single = ask(&program, "/", "Accept-Encoding: br\r\n");
    assert_eq!((single.text(), single.field("cache-control")), ("coded", Some("no-cache")));
}

#[test]
fn options_that_cannot_be_meant_are_refused_in_one_line() {
    let folder = Folder::new();
    let file = folder.write("one.txt", "1");
    let path = folder.path().to_str().unwrap();
    let table: [(&[&str], &[&str]); 25] = [
        (&[path, "--index="], &["--index", "such as index.html"]),
        (&[path, "--index=../secret"], &["--index", "such as index.html"]),
        (&[path, "--404=/etc/passwd"], &["--404", "such as index.html"]),
        (&[path, "--404=none.html"], &["none.html", path, "leave --404 out"]),
        (&[path, "--fallback=none.html"], &["none.html", path, "leave --fallback out"]),
        (&[path, "--fallback=no\nsuch"], &["no such", "leave --fallback out"]),
        (&[path, "--extension=html"], &["--extension", "such as .html"]),
        (&[path, "--extension=."], &["--extension", "such as .html"]),
        (&[path, "--mime=.x"], &["--mime", ".gltf=model/gltf+json"]),
        (&[path, "--mime=x=text/plain"], &["--mime", ".gltf=model/gltf+json"]),
        (&[path, "--mime=.x=text"], &["--mime", ".gltf=model/gltf+json"]),
        (&[path, "--mime=.x=text/plain\r\nX: y"], &["--mime", ".gltf=model/gltf+json"]),
        (&[path, "--cache=-1"], &["--cache", "such as 3600"]),
        (&[path, "--cache=1.5"], &["--cache", "such as 3600"]),
        (&[path, "--cache=9999999999"], &["--cache", "such as 3600"]),
        (&[path, "--header=X-Robots-Tag"], &["--header", "X-Robots-Tag: noindex"]),
        (&[path, "--header=X Y: z"], &["--header", "X-Robots-Tag: noindex"]),
        (&[path, "--header=: z"], &["--header", "X-Robots-Tag: noindex"]),
        (&[path, "--header=X: a\r\nSet-Cookie: x=y"], &["--header", "X-Robots-Tag: noindex"]),
        (&[path, "--header=content-LENGTH: 1"], &["content-LENGTH", "another field"]),
        (&[path, "--header=Cache-Control: no-store"], &["--cache SECONDS"]),
        (&[&file, "--listing"], &["--listing is for a folder", &file]),
        (&[&file, "--index=a"], &["--index is for a folder", &file]),
        (&[&file, "--fallback=one.txt"], &["--fallback is for a folder", &file]),
        (&[&file, "--404=one.txt"], &["--404 is for a folder", &file]),
    ];
    for (arguments, said) in table {
        let line = refused(&[&["web", "--listen", "tcp:0"], arguments].concat());
        for part in said {
            assert!(line.contains(part), "{arguments:?} does not say {part:?}: {line}");
        }
    }
}
