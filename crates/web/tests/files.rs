//! `Files` over real folders and the simulated network: what is served, under which name, and with which fields. Every site
//! is asked twice, once reading on the loop and once in threads. Conditions and ranges, streams, copies, lists, versions,
//! pages and attacks have files of their own beside this one.

#[path = "files/common.rs"]
mod common;
#[path = "files/hardening.rs"]
mod hardening;
#[path = "files/listing.rs"]
mod listing;
#[path = "files/pages.rs"]
mod pages;
#[path = "files/ranges.rs"]
mod ranges;
#[path = "files/sending.rs"]
mod sending;
#[path = "files/streams.rs"]
mod streams;
#[path = "files/variants.rs"]
mod variants;
#[path = "files/versions.rs"]
mod versions;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::time::{Duration, UNIX_EPOCH};

use common::{DATE, Folder, MODIFIED, Web, open_descriptors, touch};
use ropewalk_web::{Files, Router};

#[test]
fn a_file_is_served_with_what_a_cache_needs() {
    let folder = Folder::new();
    let path = folder.write("a/style.css", "body {}");
    for web in folder.sites(|files| files.cache_control("max-age=60\r\n")) {
        let reply = web.get("/a/style.css");
        assert_eq!((reply.status, reply.text()), (200, "body {}"));
        assert_eq!(reply.need("Content-Type"), "text/css; charset=utf-8");
        assert_eq!(reply.need("Content-Length"), "7");
        assert_eq!(reply.need("Last-Modified"), DATE);
        assert_eq!(reply.need("Accept-Ranges"), "bytes");
        assert_eq!(reply.need("Cache-Control"), "max-age=60");
        assert_eq!(reply.need("X-Content-Type-Options"), "nosniff");
        assert!(reply.need("ETag").starts_with('"') && reply.need("ETag").ends_with("-7-2ebc98a1-1\""));
        assert_eq!(open_descriptors(&path), 0);
    }
}

#[test]
fn head_says_what_get_would() {
    let folder = Folder::new();
    folder.write("small", "seven b");
    folder.write("large", vec![1; 100_000]);
    folder.write("empty", "");
    for web in folder.sites(|files| files) {
        for target in ["/small", "/large", "/empty", "/missing"] {
            let (get, head) = (web.get(target), web.ask("HEAD", target));
            assert_eq!(get.head, head.head, "{target}");
            assert!(head.body.is_empty(), "{target}");
            assert_eq!(get.need("Content-Length"), get.body.len().to_string());
        }
    }
}

#[test]
fn other_methods_are_told_what_there_is() {
    let folder = Folder::new();
    folder.write("a", "a");
    for web in folder.sites(|files| files) {
        for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "get"] {
            let reply = web.ask(method, "/a");
            assert_eq!((reply.status, reply.need("Allow")), (405, "GET, HEAD, OPTIONS"), "{method}");
        }
        for target in ["/a", "*"] {
            let reply = web.ask("OPTIONS", target);
            assert_eq!((reply.status, reply.need("Allow")), (204, "GET, HEAD, OPTIONS"), "{target}");
        }
    }
}

#[test]
fn a_folder_is_its_index() {
    let folder = Folder::new();
    folder.write("index.html", "top");
    folder.write("a/index.html", "a");
    folder.write("b/other", "x");
    fs::create_dir(folder.root().join("b/index.html")).unwrap();
    for web in folder.sites(|files| files) {
        let reply = web.get("/");
        assert_eq!((reply.status, reply.text()), (200, "top"));
        assert_eq!(reply.need("Content-Type"), "text/html; charset=utf-8");
        for (target, status) in [
            ("/a/", 200),
            ("/a/?x=1", 200),
            ("/b/", 404),
            ("/c/", 404),
            ("/b/other/", 404),
            ("/b/other/x", 404),
        ] {
            assert_eq!(web.get(target).status, status, "{target}");
        }
    }
    for web in folder.sites(|files| files.index("missing").index("other").index("index.html")) {
        assert_eq!((web.get("/b/").text(), web.get("/a/").text()), ("x", "a"));
    }
    for web in folder.sites(|files| files.index("other")) {
        assert_eq!(web.get("/a/").status, 404, "the first call replaces the default");
    }
}

#[test]
fn a_folder_without_its_slash_is_sent_there() {
    let folder = Folder::new();
    for name in ["a", "a b/ü", "c/d"] {
        fs::create_dir_all(folder.root().join(name)).unwrap();
    }
    for web in folder.sites(|files| files) {
        for (target, location) in [
            ("/a", "/a/"),
            ("/a?x=1&y=%20", "/a/?x=1&y=%20"),
            ("/a?", "/a/?"),
            ("/a%20b/%C3%BC", "/a%20b/%C3%BC/"),
            ("/c/../c/d", "/c/d/"),
        ] {
            for method in ["GET", "HEAD"] {
                let reply = web.ask(method, target);
                assert_eq!((reply.status, reply.need("Location")), (301, location), "{target}");
            }
        }
    }
}

#[test]
fn names_are_bytes() {
    let folder = Folder::new();
    folder.write("with space+plus.txt", "1");
    folder.write("naïve – ☃.txt", "2");
    folder.write(OsStr::from_bytes(b"\xff\xfe.txt"), "3");
    folder.write("back\\slash", "4");
    folder.write("100%25", "5");
    for web in folder.sites(|files| files) {
        for (target, body) in [
            ("/with%20space+plus.txt", "1"),
            ("/na%C3%AFve%20%e2%80%93%20%E2%98%83.txt", "2"),
            ("/%ff%fe.txt", "3"),
            ("/back%5cslash", "4"),
            ("/100%2525", "5"),
        ] {
            let reply = web.get(target);
            assert_eq!((reply.status, reply.text()), (200, body), "{target}");
        }
        assert_eq!(web.get("/100%25").status, 404, "decoded once");
    }
}

#[test]
fn a_prefix_is_taken_off() {
    let folder = Folder::new();
    folder.write("a", "a");
    folder.write("index.html", "top");
    fs::create_dir(folder.root().join("sub")).unwrap();
    for in_threads in [false, true] {
        let files = folder.files().prefix("/static/").in_threads(in_threads);
        let web = Web::new(Router::new().get("/api", |_| "api").fallback(files));
        assert_eq!(
            (web.get("/static/a").text(), web.get("/static/").text(), web.get("/api").text()),
            ("a", "top", "api")
        );
        assert_eq!(web.get("/static").need("Location"), "/static/");
        assert_eq!(web.get("/static/sub?q").need("Location"), "/static/sub/?q");
        for target in ["/a", "/statica", "/static/../a", "/static/../static/a", "/"] {
            assert_eq!(web.get(target).status, 404, "{target}");
        }
    }
}

#[test]
fn dot_files_are_hidden() {
    let folder = Folder::new();
    for name in [".env", ".git/config", "a/.b", ".well-known/security.txt"] {
        folder.write(name, "x");
    }
    let targets = ["/.env", "/.git/config", "/a/.b", "/%2eenv"];
    for web in folder.sites(|files| files) {
        assert!(targets.iter().all(|target| web.get(target).status == 404));
        assert_eq!(web.get("/.git").status, 404, "not even a redirect");
        assert_eq!(web.get("/.well-known/security.txt").status, 200, "RFC 8615 means it for strangers");
    }
    for web in folder.sites(|files| files.hidden(true)) {
        assert!(targets.iter().all(|target| web.get(target).status == 200));
    }
}

#[test]
fn links_inside_work() {
    let folder = Folder::new();
    folder.write("releases/2/app.js", "two");
    symlink("releases/2", folder.root().join("current")).unwrap();
    symlink("../2/app.js", folder.root().join("releases/2/again.js")).unwrap();
    for web in folder.sites(|files| files) {
        assert_eq!(web.get("/current/app.js").text(), "two");
        assert_eq!(web.get("/releases/2/again.js").text(), "two");
        assert_eq!(web.get("/current").need("Location"), "/current/");
    }
}

#[test]
fn one_file_is_served_wherever_the_route_says() {
    let folder = Folder::new();
    let path = folder.write(".secret.json", "{}");
    for in_threads in [false, true] {
        let files = Files::file(&path).unwrap().in_threads(in_threads);
        let web = Web::new(Router::new().route("GET", "/data", files));
        let reply = web.get("/data");
        assert_eq!((reply.status, reply.text()), (200, "{}"));
        assert_eq!(reply.need("Content-Type"), "application/json; charset=utf-8");
        // What is put in its place is served.
        fs::write(path.with_extension("new"), "{\"new\":1}").unwrap();
        fs::rename(path.with_extension("new"), &path).unwrap();
        assert_eq!(web.get("/data").text(), "{\"new\":1}");
        fs::remove_file(&path).unwrap();
        assert_eq!(web.get("/data").status, 404);
        folder.write(".secret.json", "{}");
    }
}

#[test]
fn what_cannot_be_served_is_said_at_the_start() {
    let folder = Folder::new();
    let path = folder.write("a", "a");
    let text = |files: std::io::Result<Files>| files.err().expect("it cannot be served").to_string();
    assert!(
        text(Files::new(folder.root().join("b")))
            .ends_with("there is no such folder: create it, or name another")
    );
    assert!(text(Files::new(&path)).contains("it is not a folder"));
    assert!(text(Files::file(folder.root())).contains("it is a folder"));
    assert!(text(Files::file(folder.root().join("b"))).contains("there is no such file"));
}

#[test]
fn a_tag_changes_with_its_file() {
    let folder = Folder::new();
    let path = folder.write("a", "one");
    for web in folder.sites(|files| files) {
        touch(&path, UNIX_EPOCH + MODIFIED);
        let before = web.get("/a").need("ETag").to_owned();
        assert_eq!(web.get("/a").need("ETag"), before);
        touch(&path, UNIX_EPOCH + MODIFIED + Duration::from_nanos(1));
        let touched = web.get("/a").need("ETag").to_owned();
        // The same bytes at the same time, but another file.
        fs::copy(&path, path.with_extension("copy")).unwrap();
        touch(&path.with_extension("copy"), UNIX_EPOCH + MODIFIED);
        fs::rename(path.with_extension("copy"), &path).unwrap();
        let replaced = web.get("/a").need("ETag").to_owned();
        assert!(before != touched && touched != replaced && replaced != before);
    }
}

#[test]
fn a_file_that_is_not_in_memory_is_served_all_the_same() {
    let folder = Folder::new();
    for size in [10_000, 200_000] {
        let bytes: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
        let path = folder.write("cold", &bytes);
        let file = fs::File::open(&path).unwrap();
        file.sync_all().unwrap();
        for web in folder.sites(|files| files) {
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
            assert_eq!(web.get("/cold").body, bytes);
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let folder = Folder::new();
    folder.write("a", "first");
    folder.write("b", vec![b'x'; 150_000]);
    folder.write("c", "third");
    for web in folder.sites(|files| files) {
        let peer = web.connect();
        let request = |target, more| format!("GET {target} HTTP/1.1\r\nHost: x\r\n{more}\r\n");
        peer.write(
            [request("/a", ""), request("/b", ""), request("/c", "Connection: close\r\n")]
                .concat()
                .as_bytes(),
        );
        let answers = String::from_utf8(web.rest(&peer)).unwrap();
        let bodies: Vec<&str> = answers
            .split("HTTP/1.1 200 OK\r\n")
            .skip(1)
            .filter_map(|answer| answer.split("\r\n\r\n").nth(1))
            .collect();
        assert_eq!((bodies.len(), bodies[0], bodies[1].len(), bodies[2]), (3, "first", 150_000, "third"));
    }
}
