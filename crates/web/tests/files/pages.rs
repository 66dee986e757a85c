//! What is shown instead of something missing, names without their endings, types and fields of one's own.

use std::fs;
use std::os::unix::fs::symlink;

use ropewalk_web::Files;

use crate::common::{Folder, Web};

#[test]
fn what_is_missing_has_a_page() {
    let folder = Folder::new();
    folder.write("404.html", "<h1>not here</h1>");
    folder.write("there", "x");
    for web in folder.sites(|files| files.missing_page("404.html").cache_control("max-age=60")) {
        for target in ["/missing", "/missing/", "/.env", "/%2fetc", "/../x", "/there/x"] {
            let reply = web.get(target);
            assert_eq!((reply.status, reply.text()), (404, "<h1>not here</h1>"), "{target}");
            assert_eq!(reply.need("Content-Type"), "text/html; charset=utf-8");
            // It is no file that was asked for: nothing to compare, to continue, or to keep.
            for name in ["ETag", "Last-Modified", "Accept-Ranges", "Cache-Control"] {
                assert_eq!(reply.field(name), None, "{target}");
            }
        }
        let head = web.ask("HEAD", "/missing");
        assert_eq!((head.status, head.need("Content-Length"), head.text()), (404, "17", ""));
        for (name, value) in [("Range", "bytes=0-3"), ("If-None-Match", "*"), ("If-Match", "\"x\"")] {
            let reply = web.get_with("/missing", name, value);
            assert_eq!((reply.status, reply.text()), (404, "<h1>not here</h1>"), "{name}");
        }
        assert_eq!(web.get("/404.html").status, 200, "by its name it is a file");
        assert_eq!(web.get("/there").text(), "x");
        assert_eq!(web.ask("POST", "/missing").status, 405);
    }
    for page in ["gone.html", "../secret", "link", ""] {
        fs::write(folder.outside().join("secret"), "SECRET").unwrap();
        let _ = symlink("../secret", folder.root().join("link"));
        for web in folder.sites(|files| files.missing_page(page)) {
            let reply = web.get("/missing");
            assert_eq!(
                (reply.status, reply.need("Content-Type")),
                (404, "text/plain; charset=utf-8"),
                "{page}"
            );
            assert!(!reply.text().contains("SECRET"));
        }
    }
}

#[test]
fn a_large_page_for_what_is_missing_arrives_whole() {
    let folder = Folder::new();
    folder.write("404.html", vec![b'x'; 300_000]);
    folder.write("404.html.br", vec![b'y'; 100_000]);
    for web in folder.sites(|files| files.missing_page("404.html").precompressed(true)) {
        let reply = web.get("/missing");
        assert!(reply.status == 404 && reply.body == vec![b'x'; 300_000]);
        let reply = web.get_with("/missing", "Accept-Encoding", "br");
        assert!(reply.status == 404 && reply.body == vec![b'y'; 100_000]);
        assert_eq!((reply.need("Content-Encoding"), reply.need("Vary")), ("br", "Accept-Encoding"));
    }
}

#[test]
fn an_application_answers_for_its_pages() {
    let folder = Folder::new();
    folder.write("index.html", "<app>");
    folder.write("a.js", "script");
    folder.write("404.html", "not here");
    fs::create_dir(folder.root().join("d")).unwrap();
    for web in folder.sites(|files| files.fallback("index.html").missing_page("404.html")) {
        for (name, value) in [("Accept", "text/html,*/*;q=0.8"), ("Sec-Fetch-Mode", "navigate")] {
            for target in ["/users/7", "/users/john.doe", "/users/", "/d/"] {
                let reply = web.get_with(target, name, value);
                assert_eq!((reply.status, reply.text()), (200, "<app>"), "{target}");
                assert_eq!(reply.need("Content-Type"), "text/html; charset=utf-8");
                assert_eq!(reply.need("Vary"), "Accept, Sec-Fetch-Mode");
                let tag = reply.need("ETag").to_owned();
                let same = web.ask_with("GET", target, &[(name, value), ("If-None-Match", &tag)]);
                assert_eq!((same.status, same.need("Vary")), (304, "Accept, Sec-Fetch-Mode"));
            }
            assert_eq!(web.get_with("/a.js", name, value).text(), "script");
            assert_eq!(web.get_with("/d", name, value).need("Location"), "/d/");
            // What never is a page of the application.
            for target in ["/.env", "/../x", "/a%2fb"] {
                assert_eq!(web.get_with(target, name, value).status, 404, "{target}");
            }
        }
        for (name, value) in [
            ("Accept", "*/*"),
            ("Accept", "application/json"),
            ("Accept", "text/html;q=0"),
            ("Sec-Fetch-Mode", "no-cors"),
            ("Sec-Fetch-Mode", "cors"),
        ] {
            let reply = web.get_with("/missing.js", name, value);
            assert_eq!((reply.status, reply.text()), (404, "not here"), "{name}: {value}");
            assert_eq!(reply.need("Vary"), "Accept, Sec-Fetch-Mode");
        }
        let script = [("Accept", "text/html"), ("Sec-Fetch-Mode", "cors")];
        assert_eq!(web.ask_with("GET", "/missing", &script).status, 404, "the browser knows best");
    }
    for web in folder.sites(|files| files.fallback("gone.html")) {
        let reply = web.get_with("/x", "Accept", "text/html");
        assert_eq!((reply.status, reply.need("Vary")), (404, "Accept, Sec-Fetch-Mode"));
    }
}

#[test]
fn an_ending_may_be_left_out() {
    let folder = Folder::new();
    folder.write("about.html", "about");
    folder.write("about.txt", "no");
    folder.write("both", "both itself");
    folder.write("both.html", "no");
    folder.write("notes.txt", "notes");
    folder.write("d/x.html", "x");
    folder.write("d.html", "no");
    folder.write(".html", "no");
    fs::write(folder.outside().join("secret"), "SECRET").unwrap();
    symlink("../secret", folder.root().join("link.html")).unwrap();
    for web in folder.sites(|files| files.extension(".html").extension("txt")) {
        for (target, body) in [
            ("/about", "about"),
            ("/both", "both itself"),
            ("/notes", "notes"),
            ("/d/x", "x"),
            ("/about.html", "about"),
        ] {
            let reply = web.get(target);
            assert_eq!((reply.status, reply.text()), (200, body), "{target}");
        }
        assert_eq!(web.get("/about").need("Content-Type"), "text/html; charset=utf-8");
        assert_eq!(web.get("/notes").need("Content-Type"), "text/plain; charset=utf-8");
        assert_eq!(web.get("/d").need("Location"), "/d/", "a folder is there");
        for target in ["/abou", "/about/", "/", "/link", "/d/", "/about/x"] {
            assert_eq!(web.get(target).status, 404, "{target}");
        }
    }
}

#[test]
fn types_and_fields_of_ones_own() {
    let folder = Folder::new();
    folder.write("a.js", "x");
    folder.write("m.gltf", "x");
    folder.write("LICENSE", "x");
    let options = |files: Files| {
        files
            .media_type(".js", "text/x-own\r\nSet-Cookie: x=y")
            .media_type("gltf", "model/gltf+json")
            .default_type("text/plain")
            .header("X-One", "1")
            .header("Access-Control-Allow-Origin", "*")
            .listing(true)
    };
    for web in folder.sites(options) {
        assert_eq!(web.get("/a.js").need("Content-Type"), "text/x-ownSet-Cookie: x=y");
        assert_eq!(web.get("/m.gltf").need("Content-Type"), "model/gltf+json");
        assert_eq!(web.get("/LICENSE").need("Content-Type"), "text/plain");
        let tag = web.get("/LICENSE").need("ETag").to_owned();
        let replies = [
            web.get("/LICENSE"),
            web.get_with("/LICENSE", "If-None-Match", &tag),
            web.get("/missing"),
            web.get("/"),
            web.ask("POST", "/"),
            web.ask("OPTIONS", "/"),
        ];
        for reply in replies {
            assert_eq!(
                (reply.need("X-One"), reply.need("Access-Control-Allow-Origin")),
                ("1", "*"),
                "{}",
                reply.head
            );
        }
    }
    for web in folder.sites(|files| files.header("X-Bad", "a\r\nSet-Cookie: x=y")) {
        let reply = web.get("/LICENSE");
        assert_eq!((reply.status, reply.field("Set-Cookie")), (500, None), "{}", reply.head);
    }
}

/// Files that are exchanged all the time: every answer is one of them, and whole; none is what a link leads to.
#[test]
fn what_is_exchanged_meanwhile_is_one_or_the_other() {
    let folder = Folder::new();
    let root = folder.root();
    fs::write(folder.outside().join("secret"), "SECRET".repeat(1000)).unwrap();
    folder.write("f", "a".repeat(100));
    folder.write("f.gz", "c".repeat(50));
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let turning = {
        let root = root.clone();
        std::thread::spawn(move || {
            let mut turns = 0_u32;
            while matches!(stopped.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty)) {
                let new = root.join("new");
                match turns % 3 {
                    0 => fs::write(&new, "b".repeat(7000)).unwrap(),
                    1 => symlink("../secret", &new).unwrap(),
                    _ => fs::write(&new, "a".repeat(100)).unwrap(),
                }
                let target = if turns.is_multiple_of(2) { "f" } else { "f.gz" };
                fs::rename(&new, root.join(target)).unwrap();
                turns += 1;
            }
            turns
        })
    };
    for web in folder.sites(|files| files.precompressed(true).listing(true)) {
        for _ in 0..300 {
            let reply = web.get_with("/f", "Accept-Encoding", "gzip");
            assert!(matches!(reply.status, 200 | 404 | 503), "{}", reply.head);
            assert_eq!(reply.need("Content-Length"), reply.body.len().to_string());
            if reply.status == 200 {
                let first = reply.body[0];
                assert!(b"abc".contains(&first) && reply.body.iter().all(|&byte| byte == first));
                assert_eq!(reply.body.len(), [100, 7000, 50][usize::from(first - b'a')]);
            }
            let list = web.get("/");
            assert!(list.status == 200 && !list.text().contains("5.8 KiB"), "{}", list.text());
        }
    }
    drop(stop);
    assert!(turning.join().unwrap() > 0);
}

#[test]
fn clones_are_one_and_can_go_apart() {
    let folder = Folder::new();
    folder.write("a", "x");
    let files = folder.files();
    let other = files.clone().header("X-Other", "1");
    assert_eq!(Web::new(files).get("/a").field("X-Other"), None);
    assert_eq!(Web::new(other).get("/a").need("X-Other"), "1");
}
