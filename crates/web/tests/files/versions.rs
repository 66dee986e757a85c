//! Addresses with the version of a file's content, and how long what is asked for so may be kept.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use ropewalk_reactor::Outcome;
use ropewalk_web::{Files, Router};

use crate::common::{Folder, MODIFIED, Web, touch};

const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// What the deferred comes to, as text.
fn address(web: &Web, files: &Files, name: &str) -> Result<String, String> {
    let told: Rc<RefCell<Option<Outcome<String>>>> = Rc::default();
    let tell = Rc::clone(&told);
    let ended = files.url(web.simulation.reactor(), name).add_both(move |outcome| {
        *tell.borrow_mut() = Some(outcome);
    });
    web.simulation.advance(Duration::from_secs(1));
    drop(ended);
    told.take().expect("it has fired").map_err(|failure| failure.to_string())
}

/// A site below `/static`, and its files.
fn sites(folder: &Folder, options: impl Fn(Files) -> Files) -> [(Web, Files); 2] {
    [false, true].map(|in_threads| {
        let files = options(folder.files()).prefix("/static").in_threads(in_threads);
        (Web::new(Router::new().route("*", "/static/{*rest}", files.clone())), files)
    })
}

#[test]
fn what_has_its_version_in_its_address_is_kept_for_good() {
    let folder = Folder::new();
    folder.write("css/a b.css", "foobar");
    for (web, files) in sites(&folder, |files| files.cache_control("max-age=60")) {
        let url = address(&web, &files, "css/a b.css").unwrap();
        assert_eq!(url, "/static/css/a%20b.css?v=343e1662793c64bf6f0d3597ba446f18");
        assert_eq!(address(&web, &files, "/css/a b.css").unwrap(), url, "now it is known");
        for method in ["GET", "HEAD"] {
            let reply = web.ask(method, &url);
            assert_eq!((reply.status, reply.need("Cache-Control")), (200, FOR_GOOD));
        }
        let tag = web.get(&url).need("ETag").to_owned();
        let same = web.get_with(&url, "If-None-Match", &tag);
        assert_eq!((same.status, same.need("Cache-Control")), (304, FOR_GOOD));
        let part = web.get_with(&url, "Range", "bytes=0-2");
        assert_eq!((part.status, part.text(), part.need("Cache-Control")), (206, "foo", FOR_GOOD));
        for query in [
            "",
            "?",
            "?v=",
            "?v=1",
            "?x=343e1662793c64bf6f0d3597ba446f18",
            "?v=343e1662793c64bf6f0d3597ba446f19",
        ] {
            let reply = web.get(&format!("/static/css/a%20b.css{query}"));
            assert_eq!((reply.text(), reply.need("Cache-Control")), ("foobar", "max-age=60"), "{query}");
        }
    }
}

/// A worker, or a server that was started again, gets requests for addresses that it did not make.
#[test]
fn a_version_that_another_has_made_is_known_as_well() {
    let folder = Folder::new();
    folder.write("a.js", "foobar");
    for (web, _) in sites(&folder, |files| files) {
        for _ in 0..2 {
            let reply = web.get("/static/a.js?v=343e1662793c64bf6f0d3597ba446f18");
            assert_eq!((reply.text(), reply.need("Cache-Control")), ("foobar", FOR_GOOD));
        }
        let reply = web.get("/static/a.js?v=00000000000000000000000000000000");
        assert_eq!(
            reply.need("Cache-Control"),
            "no-cache",
            "nothing is kept under a wrong address by guessing"
        );
        assert_eq!(web.get("/static/a.js").field("Cache-Control"), None);
    }
}

#[test]
fn a_file_that_changes_has_another_address() {
    let folder = Folder::new();
    for (web, files) in sites(&folder, |files| files) {
        let path = folder.write("a.js", "one");
        let one = address(&web, &files, "a.js").unwrap();
        assert_eq!(web.get(&one).need("Cache-Control"), FOR_GOOD);
        // The same size, a nanosecond later.
        std::fs::write(&path, "two").unwrap();
        touch(&path, UNIX_EPOCH + MODIFIED + Duration::from_nanos(1));
        let two = address(&web, &files, "a.js").unwrap();
        assert_ne!(one, two);
        assert_eq!((web.get(&one).text(), web.get(&one).need("Cache-Control")), ("two", "no-cache"));
        assert_eq!(web.get(&two).need("Cache-Control"), FOR_GOOD);
        // Back again: it is the content that counts.
        std::fs::write(&path, "one").unwrap();
        touch(&path, UNIX_EPOCH + MODIFIED + Duration::from_nanos(2));
        assert_eq!(address(&web, &files, "a.js").unwrap(), one);
    }
}

#[test]
fn a_file_that_was_just_changed_is_not_kept_for_good() {
    let folder = Folder::new();
    let path = folder.write("a.js", "one");
    for (web, files) in sites(&folder, |files| files) {
        let url = address(&web, &files, "a.js").unwrap();
        assert_eq!(web.get(&url).need("Cache-Control"), FOR_GOOD);
        // It may change again within the tick of the clock that stamps it, and look the same.
        touch(&path, web.simulation.reactor().wall_clock() + Duration::from_nanos(1));
        assert_eq!(web.get(&url).need("Cache-Control"), "no-cache");
        web.simulation.advance(Duration::from_secs(1));
        assert_eq!(web.get(&url).need("Cache-Control"), FOR_GOOD);
        touch(&path, UNIX_EPOCH + MODIFIED);
    }
}

#[test]
fn a_copy_has_the_address_of_its_file() {
    let folder = Folder::new();
    folder.write("a.js", "foobar");
    folder.write("a.js.gz", "coded");
    for (web, files) in sites(&folder, |files| files.precompressed(true)) {
        let url = address(&web, &files, "a.js").unwrap();
        let reply = web.get_with(&url, "Accept-Encoding", "gzip");
        assert_eq!((reply.text(), reply.need("Content-Encoding")), ("coded", "gzip"));
        assert_eq!((reply.need("Cache-Control"), reply.need("Vary")), (FOR_GOOD, "Accept-Encoding"));
    }
}

#[test]
fn names_that_have_no_address() {
    let folder = Folder::new();
    std::fs::create_dir(folder.root().join("d")).unwrap();
    std::fs::write(folder.outside().join("secret"), "SECRET").unwrap();
    std::os::unix::fs::symlink("../secret", folder.root().join("link")).unwrap();
    for (web, files) in sites(&folder, |files| files) {
        for (name, said) in [
            ("missing.css", "/static/missing.css"),
            ("../secret", "it names no file of the folder"),
            ("", "it names no file of the folder"),
            ("d/", "it names no file of the folder"),
            ("d", "/static/d"),
            ("link", "/static/link"),
        ] {
            let text = address(&web, &files, name).unwrap_err();
            assert!(text.contains(said) && !text.contains("SECRET"), "{name}: {text}");
        }
    }
    let single = Files::file(folder.write("one", "x")).unwrap();
    let web = Web::new(single.clone());
    assert!(address(&web, &single, "one").unwrap_err().contains("its route"));
    let reply = web.get("/one?v=343e1662793c64bf6f0d3597ba446f18");
    assert_eq!((reply.text(), reply.field("Cache-Control")), ("x", None));
}

#[test]
fn a_file_that_is_too_large_to_be_read_for_it_has_an_address_without() {
    let folder = Folder::new();
    let path = folder.write("film.mkv", "");
    std::fs::File::options().write(true).open(&path).unwrap().set_len((64 << 20) + 1).unwrap();
    touch(&path, UNIX_EPOCH + MODIFIED);
    let (web, files) = sites(&folder, |files| files).into_iter().next().unwrap();
    assert_eq!(address(&web, &files, "film.mkv").unwrap(), "/static/film.mkv");
    let reply = web.ask("HEAD", "/static/film.mkv?v=343e1662793c64bf6f0d3597ba446f18");
    assert_eq!((reply.status, reply.need("Cache-Control")), (200, "no-cache"));
}
