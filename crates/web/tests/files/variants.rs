//! Copies that were compressed beforehand: who gets them, with which fields, and how conditions and ranges see them.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::common::{DATE, Folder, MODIFIED, Web, touch};

/// A style sheet with a copy in each coding; the copies' bytes only have to differ.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("a/style.css", "body {} /* plain */");
    folder.write("a/style.css.br", "brotli-bytes");
    folder.write("a/style.css.zst", "zstandard-bytes");
    folder.write("a/style.css.gz", "gzip-bytes");
    folder.write("plain.txt", "nothing beside it");
    folder
}

fn sites(folder: &Folder) -> [Web; 2] {
    folder.sites(|files| files.precompressed(true))
}

#[test]
fn the_client_chooses_the_copy() {
    let folder = folder();
    for web in sites(&folder) {
        for (accept, coding, body) in [
            ("gzip", Some("gzip"), "gzip-bytes"),
            ("gzip, deflate, br, zstd", Some("br"), "brotli-bytes"),
            ("zstd;q=0.9, br;q=0.8", Some("zstd"), "zstandard-bytes"),
            ("identity;q=0, *;q=0.1", Some("br"), "brotli-bytes"),
            ("identity, gzip;q=0.5", None, "body {} /* plain */"),
            ("br;q=0, gzip;q=0", None, "body {} /* plain */"),
            ("identity;q=0", None, "body {} /* plain */"),
            ("", None, "body {} /* plain */"),
        ] {
            for method in ["GET", "HEAD"] {
                let reply = web.ask_with(method, "/a/style.css", &[("Accept-Encoding", accept)]);
                assert_eq!((reply.status, reply.field("Content-Encoding")), (200, coding), "{accept}");
                assert_eq!(reply.need("Content-Type"), "text/css; charset=utf-8");
                assert_eq!(reply.need("Content-Length"), body.len().to_string());
                assert_eq!(reply.need("Vary"), "Accept-Encoding");
                assert_eq!(reply.text(), if method == "GET" { body } else { "" }, "{accept}");
            }
        }
        let reply = web.get("/a/style.css");
        assert_eq!((reply.field("Content-Encoding"), reply.text()), (None, "body {} /* plain */"));
        let reply = web.get_with("/plain.txt", "Accept-Encoding", "br, gzip");
        assert_eq!((reply.field("Content-Encoding"), reply.need("Vary")), (None, "Accept-Encoding"));
        let reply = web.get_with("/a/style.css.gz", "Accept-Encoding", "gzip");
        assert_eq!((reply.field("Content-Encoding"), reply.text()), (None, "gzip-bytes"));
        assert_eq!(reply.need("Content-Type"), "application/gzip", "asked for by its own name it is a file");
    }
    for web in folder.sites(|files| files) {
        let reply = web.get_with("/a/style.css", "Accept-Encoding", "br");
        assert_eq!((reply.field("Content-Encoding"), reply.field("Vary")), (None, None), "it is a choice");
    }
}

#[test]
fn an_index_and_a_name_without_its_ending_have_copies_too() {
    let folder = Folder::new();
    folder.write("index.html", "plain");
    folder.write("index.html.gz", "coded");
    folder.write("d/index.html", "plain");
    folder.write("d/index.html.gz", "coded");
    folder.write("about.html", "plain");
    folder.write("about.html.gz", "coded");
    for web in folder.sites(|files| files.precompressed(true).extension("html")) {
        for target in ["/", "/d/", "/about"] {
            let reply = web.get_with(target, "Accept-Encoding", "gzip");
            assert_eq!((reply.text(), reply.need("Content-Encoding")), ("coded", "gzip"), "{target}");
            assert_eq!(reply.need("Content-Type"), "text/html; charset=utf-8", "{target}");
        }
    }
}

#[test]
fn a_copy_that_is_older_than_the_file_is_of_something_else() {
    let folder = folder();
    let (file, copy) = (folder.root().join("a/style.css"), folder.root().join("a/style.css.br"));
    for web in sites(&folder) {
        let coding = |accept| {
            let reply = web.get_with("/a/style.css", "Accept-Encoding", accept);
            reply.field("Content-Encoding").map(str::to_owned)
        };
        touch(&copy, UNIX_EPOCH + MODIFIED - Duration::from_nanos(1));
        assert_eq!(coding("br"), Some("br".into()), "a stamp without a fraction is compared without");
        touch(&copy, UNIX_EPOCH + MODIFIED - Duration::from_secs(1));
        assert_eq!(coding("br"), None);
        assert_eq!(coding("br, gzip;q=0.5"), Some("gzip".into()), "the next one is as new");
        touch(&copy, UNIX_EPOCH + MODIFIED + Duration::from_secs(9));
        assert_eq!(coding("br"), Some("br".into()));
        touch(&file, UNIX_EPOCH + MODIFIED + Duration::from_nanos(7));
        touch(&copy, UNIX_EPOCH + MODIFIED + Duration::from_nanos(6));
        assert_eq!(coding("br"), None);
        touch(&file, UNIX_EPOCH + MODIFIED);
        touch(&copy, UNIX_EPOCH + MODIFIED);
    }
}

#[test]
fn each_copy_has_a_tag_of_its_own() {
    let folder = folder();
    // One inode under two names: even then.
    fs::hard_link(folder.root().join("plain.txt"), folder.root().join("plain.txt.gz")).unwrap();
    for web in sites(&folder) {
        let tag = |target, accept| web.get_with(target, "Accept-Encoding", accept).need("ETag").to_owned();
        let tags = ["", "br", "zstd", "gzip"].map(|accept| tag("/a/style.css", accept));
        for (index, left) in tags.iter().enumerate() {
            assert!(tags[..index].iter().all(|right| left != right), "{tags:?}");
        }
        assert!(tags[1].ends_with("-br\"") && tags[3].ends_with("-gzip\""), "{tags:?}");
        assert_ne!(tag("/plain.txt", ""), tag("/plain.txt", "gzip"));
        for (accept, own, other) in [("br", &tags[1], &tags[0]), ("", &tags[0], &tags[1])] {
            let ask = |name, value: &str| {
                web.ask_with("GET", "/a/style.css", &[("Accept-Encoding", accept), (name, value)])
            };
            let same = ask("If-None-Match", own);
            assert_eq!(
                (same.status, same.need("ETag"), same.need("Vary")),
                (304, own.as_str(), "Accept-Encoding")
            );
            assert_eq!((same.field("Content-Encoding"), same.text()), (None, ""));
            assert_eq!(ask("If-None-Match", other).status, 200);
            assert_eq!(ask("If-None-Match", &format!("{other}, {own}")).status, 304);
            assert_eq!(ask("If-Match", other).status, 412);
            assert_eq!(ask("If-Match", own).status, 200);
        }
    }
}

#[test]
fn a_range_is_one_of_the_coded_bytes() {
    let folder = folder();
    for web in sites(&folder) {
        let ask = |accept, fields: &[(&str, &str)]| {
            web.ask_with("GET", "/a/style.css", &[&[("Accept-Encoding", accept)], fields].concat())
        };
        let part = ask("br", &[("Range", "bytes=7-11")]);
        assert_eq!((part.status, part.text(), part.need("Content-Range")), (206, "bytes", "bytes 7-11/12"));
        assert_eq!((part.need("Content-Encoding"), part.need("Vary")), ("br", "Accept-Encoding"));
        let beyond = ask("br", &[("Range", "bytes=12-")]);
        assert_eq!((beyond.status, beyond.need("Content-Range")), (416, "bytes */12"));
        let several = ask("gzip", &[("Range", "bytes=0-3,5-9")]);
        assert_eq!((several.status, several.need("Content-Encoding")), (206, "gzip"));
        assert!(several.text().contains("Content-Range: bytes 0-3/10\r\n\r\ngzip\r\n"), "{}", several.text());
        // The tag tells the copies apart, so a part never is put behind a part of another copy. A date does not.
        let tag = part.need("ETag").to_owned();
        let resume = |accept, validator| ask(accept, &[("Range", "bytes=0-5"), ("If-Range", validator)]);
        assert_eq!(resume("br", &tag).status, 206);
        for accept in ["gzip", ""] {
            assert_eq!(resume(accept, &tag).status, 200, "{accept}");
        }
        for accept in ["br", ""] {
            assert_eq!(resume(accept, DATE).status, 200, "{accept}");
        }
    }
}

#[test]
fn what_is_no_copy_is_passed_over() {
    let folder = folder();
    let root = folder.root();
    fs::write(folder.outside().join("secret"), "SECRET").unwrap();
    for ending in ["br", "zst", "gz"] {
        fs::remove_file(root.join(format!("a/style.css.{ending}"))).unwrap();
    }
    symlink("../../secret", root.join("a/style.css.br")).unwrap();
    mknodat(CWD, root.join("a/style.css.zst"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    fs::create_dir(root.join("a/style.css.gz")).unwrap();
    symlink("nowhere", root.join("plain.txt.br")).unwrap();
    for web in sites(&folder) {
        for target in ["/a/style.css", "/plain.txt"] {
            let reply = web.get_with(target, "Accept-Encoding", "br, zstd, gzip");
            assert_eq!((reply.status, reply.field("Content-Encoding")), (200, None), "{target}");
            assert!(!reply.text().contains("SECRET"));
        }
        // A copy alone is not the file.
        fs::write(root.join("gone.js.gz"), "x").unwrap();
        assert_eq!(web.get_with("/gone.js", "Accept-Encoding", "gzip").status, 404);
    }
}

/// A single file may be a link to anywhere, because whoever serves it said so. Nobody said so of its copies.
#[test]
fn a_copy_of_a_single_file_is_beside_it() {
    let folder = folder();
    fs::write(folder.outside().join("secret"), "SECRET").unwrap();
    symlink("../../secret", folder.root().join("a/link.txt")).unwrap();
    symlink("../../secret", folder.root().join("a/link.txt.gz")).unwrap();
    for in_threads in [false, true] {
        let serve = |name| {
            let files = ropewalk_web::Files::file(folder.root().join(name)).unwrap();
            Web::new(files.precompressed(true).in_threads(in_threads))
        };
        let reply = serve("a/style.css").get_with("/anything", "Accept-Encoding", "gzip");
        assert_eq!((reply.text(), reply.need("Content-Encoding")), ("gzip-bytes", "gzip"));
        let reply = serve("a/link.txt").get_with("/anything", "Accept-Encoding", "gzip");
        assert_eq!((reply.text(), reply.field("Content-Encoding")), ("SECRET", None));
    }
}

#[test]
fn large_copies_are_sent_as_files_are() {
    let folder = Folder::new();
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|index| (index % 251) as u8).collect();
    folder.write("big.json", vec![b' '; 2_000_000]);
    folder.write("big.json.zst", &bytes);
    for web in sites(&folder) {
        let reply = web.get_with("/big.json", "Accept-Encoding", "zstd");
        assert!(reply.body == bytes && reply.need("Content-Encoding") == "zstd");
    }
}
