//! Lists of folders: what is in them, in which form, and what no name can do to them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use ropewalk_web::{Files, Router};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;

use crate::common::{Folder, Reply, Web};

fn sites(folder: &Folder) -> [Web; 2] {
    folder.sites(|files| files.listing(true))
}

fn json(web: &Web, target: &str) -> Value {
    let reply = web.get_with(target, "Accept", "application/json");
    assert_eq!((reply.status, reply.need("Content-Type")), (200, "application/json; charset=utf-8"));
    serde_json::from_slice(&reply.body).expect("it says that it is JSON")
}

fn names(list: &Value) -> Vec<&str> {
    let entries = list["entries"].as_array().expect("a list has entries");
    entries.iter().map(|entry| entry["name"].as_str().expect("an entry has a name")).collect()
}

/// The targets of all links, as they stand in the page.
fn links(reply: &Reply) -> Vec<&str> {
    reply.text().split("<a href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn a_folder_is_a_page() {
    let folder = Folder::new();
    folder.write("docs/b10.txt", vec![b'x'; 1536]);
    folder.write("docs/b9.txt", "x");
    folder.write("docs/sub/x", "x");
    for web in sites(&folder) {
        let reply = web.get("/docs/");
        assert_eq!((reply.status, reply.need("Content-Type")), (200, "text/html; charset=utf-8"));
        assert_eq!((reply.need("Cache-Control"), reply.need("Vary")), ("no-cache", "Accept"));
        assert_eq!(reply.need("X-Content-Type-Options"), "nosniff");
        let policy = reply.need("Content-Security-Policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'nonce-") && !policy.contains("unsafe"));
        let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
        assert!(reply.text().contains(&format!("<style nonce=\"{nonce}\">")));
        assert_ne!(policy, web.get("/docs/").need("Content-Security-Policy"), "nobody can foresee it");
        assert_eq!(
            links(&reply),
            [
                "/",
                "?sort=name&amp;order=desc",
                "?sort=size",
                "?sort=modified",
                "/",
                "/docs/sub/",
                "/docs/b9.txt",
                "/docs/b10.txt",
            ]
        );
        assert!(reply.text().contains("<span title=\"1,536 bytes\">1.5 KiB</span>"), "{}", reply.text());
        assert!(reply.text().contains("<time datetime=\"1994-11-06T08:49:37Z\">1994-11-06 08:49</time>"));
        assert!(reply.text().contains("1 folder, 2 files, 1.5 KiB"));
        let head = web.ask("HEAD", "/docs/");
        assert_eq!(
            (head.status, head.need("Content-Length"), head.text()),
            (200, reply.need("Content-Length"), "")
        );
    }
    for web in folder.sites(|files| files) {
        assert_eq!(web.get("/docs/").status, 404, "it is a choice");
    }
}

#[test]
fn programs_get_json() {
    let folder = Folder::new();
    folder.write("a b/ü.txt", "12345");
    for web in sites(&folder) {
        let list = json(&web, "/a%20b/");
        assert_eq!(
            list,
            serde_json::json!({
                "path": "/a%20b/",
                "complete": true,
                "entries": [{
                    "name": "ü.txt", "type": "file", "size": 5,
                    "href": "/a%20b/%C3%BC.txt", "modified": "1994-11-06T08:49:37Z",
                }],
            })
        );
        assert_eq!(json(&web, "/")["entries"][0]["href"], "/a%20b/");
        assert_eq!(json(&web, "/")["entries"][0]["type"], "folder");
    }
}

#[test]
fn an_index_comes_before_a_list() {
    let folder = Folder::new();
    folder.write("a/index.html", "index");
    fs::create_dir_all(folder.root().join("b/index.html")).unwrap();
    for web in sites(&folder) {
        assert_eq!(web.get("/a/").text(), "index");
        // A folder of that name is no index, and is only in the list.
        assert!(links(&web.get("/b/")).contains(&"/b/index.html/"));
        assert_eq!(web.get("/b/index.html").need("Location"), "/b/index.html/");
        assert!(web.get("/b/index.html/").text().contains("This folder is empty."));
        assert_eq!(web.get("/missing/").status, 404);
        assert_eq!(web.get("/a/index.html/").status, 404, "a file has no list");
    }
}

#[test]
fn the_order_is_the_readers() {
    let folder = Folder::new();
    folder.write("a", "xxx");
    folder.write("b", "x");
    folder.write("c", "xx");
    for web in sites(&folder) {
        for (query, expected) in [
            ("", ["a", "b", "c"]),
            ("?order=desc", ["c", "b", "a"]),
            ("?sort=size", ["b", "c", "a"]),
            ("?sort=size&order=desc", ["a", "c", "b"]),
        ] {
            assert_eq!(names(&json(&web, &format!("/{query}"))), expected, "{query}");
        }
        let page = web.get("/?sort=size&order=desc");
        assert!(page.text().contains("aria-sort=\"descending\"><a href=\"?sort=size\">"), "{}", page.text());
    }
}

#[test]
fn only_what_can_be_asked_for_is_listed() {
    let folder = Folder::new();
    folder.write("shown", "x");
    folder.write(".hidden", "x");
    folder.write(".well-known/security.txt", "x");
    let root = folder.root();
    fs::create_dir(root.join("d")).unwrap();
    fs::write(folder.outside().join("secret"), "SECRET!").unwrap();
    symlink("../secret", root.join("out")).unwrap();
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    symlink("circle", root.join("circle")).unwrap();
    symlink("shown", root.join("link")).unwrap();
    symlink("../shown", root.join("d/link")).unwrap();
    symlink("d", root.join("link-to-folder")).unwrap();
    mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _listener = UnixListener::bind(root.join("socket")).unwrap();
    for web in sites(&folder) {
        assert_eq!(names(&json(&web, "/")), ["d", "link-to-folder", "link", "shown"]);
        assert_eq!(names(&json(&web, "/d/")), ["link"]);
        for entry in json(&web, "/")["entries"].as_array().unwrap() {
            let status = web.get(entry["href"].as_str().unwrap()).status;
            assert_eq!(status, 200, "{entry}");
        }
        for target in ["/up/", "/../", "/%2e%2e/", "/.well-known/../../", "/out/", "/fifo/"] {
            assert!(matches!(web.get(target).status, 400 | 404), "{target}");
        }
    }
    for web in folder.sites(|files| files.listing(true).hidden(true)) {
        assert!(names(&json(&web, "/")).contains(&".hidden"));
    }
}

#[test]
fn no_name_becomes_a_part_of_the_page() {
    let folder = Folder::new();
    let long = "long-".repeat(50);
    let hostile: [&[u8]; 9] = [
        b"<script>alert(1)<",
        b"\" onmouseover=\"alert(1)",
        b"'><img src=x onerror=alert(1)>",
        b"&lt;b&gt;",
        b"line\nbreak\r\nSet-Cookie: x=y\t\x1b[31m",
        b"not utf-8 \xff\xfe",
        "turned \u{202e}txt.exe".as_bytes(),
        b"javascript:alert(1)",
        long.as_bytes(),
    ];
    for name in hostile {
        folder.write(OsStr::from_bytes(name), "x");
        folder.write(std::path::Path::new("d").join(OsStr::from_bytes(name)).join("x"), "x");
    }
    for web in sites(&folder) {
        for target in ["/", "/d/"] {
            let reply = web.get(target);
            let text = reply.text();
            assert!(!text.contains("<script") && !text.contains("<img") && !text.contains("\" on"), "{text}");
            assert!(!text.contains(['\r', '\x1b', '\u{202e}']), "{text}");
            assert!(
                text.contains("&lt;script&gt;alert(1)&lt;") && text.contains("&amp;lt;b&amp;gt;"),
                "{text}"
            );
            assert!(links(&reply).iter().all(|link| link.starts_with(['/', '?']) && !link.starts_with("//")));
            assert_eq!(reply.field("Set-Cookie"), None);
            // Each of them is there, and can be followed.
            let list = json(&web, target);
            assert_eq!(names(&list).len(), hostile.len() + usize::from(target == "/"));
            for entry in list["entries"].as_array().unwrap() {
                assert_eq!(web.get(entry["href"].as_str().unwrap()).status, 200, "{entry}");
            }
        }
        // As a part of the path, too.
        let reply = web.get("/d/%3Cscript%3Ealert(1)%3C/");
        assert!(reply.status == 200 && !reply.text().contains("<script"), "{}", reply.text());
        let reply = web.get("/d/line%0Abreak%0D%0ASet-Cookie:%20x=y%09%1B%5B31m/");
        assert_eq!((reply.status, reply.field("Set-Cookie")), (200, None));
    }
}

#[test]
fn a_list_behind_a_detour_links_to_this_host() {
    let folder = Folder::new();
    folder.write("evil.org/x", "x");
    folder.write("\\evil.org/x", "x");
    for web in sites(&folder) {
        for target in ["//evil.org/", "/.//evil.org//", "/x/..//evil.org/.", "/%5cevil.org/"] {
            let reply = web.get(target);
            assert_eq!(reply.status, 200, "{target}");
            let plain = |link: &&str| link.starts_with('?') || !link[1..].starts_with(['/', '\\']);
            assert!(links(&reply).iter().all(plain), "{:?}", links(&reply));
        }
        assert_eq!(web.get("//evil.org").need("Location"), "/evil.org/");
    }
}

#[test]
fn a_prefix_is_in_front_of_all_links() {
    let folder = Folder::new();
    folder.write("a/b/c", "x");
    for in_threads in [false, true] {
        let files = folder.files().listing(true).prefix("/static").in_threads(in_threads);
        let web = Web::new(Router::new().route("*", "/static/{*rest}", files.clone()).fallback(files));
        assert_eq!(web.get("/static").need("Location"), "/static/");
        assert!(links(&web.get("/static/")).contains(&"/static/a/"));
        let reply = web.get("/static/a/b/");
        let places: Vec<_> = links(&reply).into_iter().filter(|link| !link.starts_with('?')).collect();
        assert_eq!(places, ["/static/", "/static/a/", "/static/a/", "/static/a/b/c"]);
    }
}

#[test]
fn a_huge_folder_is_cut_and_says_so() {
    let folder = Folder::new();
    for number in 0..10_001 {
        fs::File::create(folder.root().join(format!("file-{number}"))).unwrap();
    }
    let web = Web::new(folder.files().listing(true));
    let list = json(&web, "/");
    assert_eq!((names(&list).len(), &list["complete"]), (10_000, &Value::Bool(false)));
    let page = web.get("/");
    assert!(page.text().contains("10,000 of its entries; there are more."));
    fs::remove_file(folder.root().join("file-77")).unwrap();
    let list = json(&web, "/");
    assert_eq!((names(&list).len(), &list["complete"]), (10_000, &Value::Bool(true)));
}

#[test]
fn a_list_that_may_not_be_read_is_forbidden() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    folder.write("closed/x", "x");
    let closed = folder.root().join("closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o311)).unwrap();
    // The superuser may read everything.
    if fs::read_dir(&closed).is_err() {
        for web in sites(&folder) {
            assert_eq!((web.get("/closed/").status, web.get("/closed/x").status), (403, 200));
        }
    }
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    let web = Web::new(Files::file(folder.write("one", "x")).unwrap().listing(true));
    assert_eq!(web.get("/").text(), "x", "a single file has no list");
}
