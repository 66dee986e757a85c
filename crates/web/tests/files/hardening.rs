//! Attacks on a file server, one sentence each.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, UNIX_EPOCH};

use ropewalk_net::{Address, listen};
use ropewalk_reactor::Reactor;
use ropewalk_web::{Files, Site};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::common::{Folder, Reply, Web, touch};

/// A folder with a secret beside it, which no answer may hold.
fn guarded() -> Folder {
    let folder = Folder::new();
    fs::write(folder.outside().join("secret"), "SECRET").expect("the folder was just made");
    folder.write("a/b", "public");
    folder
}

fn expect_missing(web: &Web, targets: &[&str]) {
    for target in targets {
        let reply = web.get(target);
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(matches!(reply.status, 400 | 404), "{target}: {}", reply.head);
        assert!(!text.contains("SECRET") && !text.contains("root:"), "{target}: {text}");
    }
}

#[test]
fn dots_do_not_lead_out_however_they_are_written() {
    let folder = guarded();
    for web in folder.sites(|files| files.hidden(true)) {
        let targets = [
            "/../secret",
            "/%2e%2e/secret",
            "/.%2e/secret",
            "/%2E./secret",
            "/a/../../secret",
            "/a/b/../../../secret",
            "/a/%2e%2e/%2e%2e/secret",
            "/..",
            "/../",
            "/a/../..",
            "/../www/a/b",
            "/../../../../../../../../etc/passwd",
        ];
        expect_missing(&web, &targets);
        assert_eq!(web.get("/a/../a/b").text(), "public", "a detour that stays inside is fine");
    }
}

#[test]
fn an_encoded_slash_is_no_slash() {
    let folder = guarded();
    for web in folder.sites(|files| files.hidden(true)) {
        expect_missing(
            &web,
            &["/..%2fsecret", "/%2e%2e%2fsecret", "/a%2Fb", "/a%2f..%2f..%2fsecret", "/%2fetc%2fpasswd"],
        );
    }
}

#[test]
fn a_second_decoding_does_not_happen() {
    let folder = guarded();
    for web in folder.sites(|files| files.hidden(true)) {
        expect_missing(&web, &["/%252e%252e/secret", "/..%252fsecret", "/%25%32%65%25%32%65/secret"]);
    }
}

#[test]
fn a_backslash_is_a_byte_like_others() {
    let folder = guarded();
    for web in folder.sites(|files| files.hidden(true)) {
        expect_missing(&web, &["/..%5csecret", "/..\\secret", "/a%5c..%5c..%5csecret"]);
    }
}

#[test]
fn bytes_that_utf8_forbids_are_no_dots_and_no_slashes() {
    let folder = guarded();
    for web in folder.sites(|files| files.hidden(true)) {
        expect_missing(
            &web,
            &["/%c0%ae%c0%ae/secret", "/..%c0%afsecret", "/%e0%80%ae%e0%80%ae/secret", "/..%ef%bc%8fsecret"],
        );
    }
}

#[test]
fn a_nul_ends_no_name() {
    let folder = guarded();
    for web in folder.sites(|files| files) {
        expect_missing(&web, &["/a/b%00", "/a/b%00.png", "/%00", "/a%00/b", "/a/b\0"]);
    }
}

#[test]
fn an_absolute_name_begins_at_the_root_that_is_served() {
    let folder = guarded();
    for web in folder.sites(|files| files) {
        expect_missing(
            &web,
            &["//etc/passwd", "///etc/passwd", "/./etc/passwd", "http://x//etc/passwd", "/a//etc/passwd"],
        );
        assert_eq!(web.get("//a//b").text(), "public");
    }
}

#[test]
fn half_an_escape_names_nothing() {
    let folder = guarded();
    for web in folder.sites(|files| files) {
        expect_missing(&web, &["/a/b%", "/a/b%2", "/a/%zz", "/%u002e%u002e/secret"]);
    }
}

#[test]
fn a_link_does_not_lead_out() {
    let folder = guarded();
    let root = folder.root();
    symlink("../secret", root.join("relative")).unwrap();
    symlink(folder.outside().join("secret"), root.join("absolute")).unwrap();
    symlink(root.join("a/b"), root.join("absolute-inside")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink("/", root.join("top")).unwrap();
    symlink("../../secret", root.join("a/index.html")).unwrap();
    for web in folder.sites(|files| files) {
        let targets = [
            "/relative",
            "/absolute",
            "/absolute-inside",
            "/up/secret",
            "/up/www/a/b",
            "/up",
            "/top/etc/passwd",
        ];
        expect_missing(&web, &targets);
        expect_missing(&web, &["/a/"]);
    }
}

#[test]
fn a_magic_link_of_the_kernel_does_not_lead_out() {
    let web = Web::new(Files::new("/proc").unwrap());
    expect_missing(&web, &["/self/root/etc/passwd", "/self/cwd/Cargo.toml", "/self/exe", "/self/fd/0"]);
}

#[test]
fn a_circle_of_links_ends() {
    let folder = guarded();
    symlink("loop", folder.root().join("loop")).unwrap();
    symlink("pong", folder.root().join("ping")).unwrap();
    symlink("ping", folder.root().join("pong")).unwrap();
    symlink(".", folder.root().join("here")).unwrap();
    for web in folder.sites(|files| files) {
        expect_missing(&web, &["/loop", "/loop/", "/loop/x", "/ping", &"/here".repeat(41)]);
        assert_eq!(web.get("/here/here/a/b").text(), "public");
    }
}

#[test]
fn what_is_not_a_file_is_neither_served_nor_waited_for() {
    let folder = guarded();
    let root = folder.root();
    mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _listener = UnixListener::bind(root.join("socket")).unwrap();
    for web in folder.sites(|files| files) {
        expect_missing(&web, &["/fifo", "/socket", "/fifo/", "/socket/"]);
    }
    let web = Web::new(Files::new("/dev").unwrap());
    expect_missing(&web, &["/zero", "/null", "/tty"]);
    assert!(Files::file(root.join("fifo")).is_err(), "not as a single file either");
}

#[test]
fn a_redirect_stays_on_this_host() {
    let folder = guarded();
    for name in ["evil.org", "\\evil.org", "@evil.org", "a\r\nSet-Cookie: x=y", "http:"] {
        fs::create_dir_all(folder.root().join(name)).unwrap();
    }
    for web in folder.sites(|files| files) {
        for (target, location) in [
            ("//evil.org", "/evil.org/"),
            ("////evil.org", "/evil.org/"),
            ("/.//evil.org", "/evil.org/"),
            ("/a/..//evil.org", "/evil.org/"),
            ("/%5cevil.org", "/%5Cevil.org/"),
            ("//%5cevil.org?//x", "/%5Cevil.org/?//x"),
            ("/@evil.org", "/@evil.org/"),
            ("/http:", "/http:/"),
            ("/a%0d%0aSet-Cookie:%20x=y", "/a%0D%0ASet-Cookie:%20x=y/"),
        ] {
            let reply = web.get(target);
            assert_eq!((reply.status, reply.need("Location")), (301, location), "{target}");
            assert_eq!(reply.field("Set-Cookie"), None);
        }
    }
}

#[test]
fn a_name_longer_than_any_file_has_is_missing() {
    let folder = guarded();
    for web in folder.sites(|files| files) {
        expect_missing(&web, &[&format!("/{}", "x".repeat(300)), &"/x".repeat(3000)]);
    }
}

#[test]
fn a_file_without_permission_is_forbidden() {
    let folder = guarded();
    let path = folder.write("private", "SECRET");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&path).is_ok() {
        return; // The superuser may read everything.
    }
    for web in folder.sites(|files| files) {
        assert_eq!(web.get("/private").status, 403);
    }
    let closed = folder.root().join("a");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let error = Files::new(&closed).err().expect("a folder that may not be searched");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(
        error.to_string().ends_with("this user may not read that folder: change its permissions"),
        "{error}"
    );
}

#[test]
fn a_stamp_outside_of_the_calendar_is_no_panic() {
    let folder = guarded();
    let path = folder.write("old", "x");
    touch(&path, UNIX_EPOCH - Duration::from_secs(86_400));
    let future = folder.write("future", "x");
    touch(&future, UNIX_EPOCH + Duration::from_secs(15_000_000_000));
    for web in folder.sites(|files| files) {
        assert_eq!(web.get("/old").need("Last-Modified"), "Thu, 01 Jan 1970 00:00:00 GMT");
        let reply = web.get("/future");
        assert_eq!(reply.need("Last-Modified"), reply.need("Date"), "RFC 9110 8.8.2.1");
    }
}

#[test]
fn ranges_do_not_multiply_a_file() {
    let folder = guarded();
    folder.write("f", vec![b'x'; 10_000]);
    for web in folder.sites(|files| files) {
        let same = format!("bytes={}", ["0-"; 16].join(","));
        assert_eq!(web.get_with("/f", "Range", &same).body.len(), 10_000);
        let apart: String = (0..1000).map(|at| format!("{}-{},", at * 5, at * 5)).collect();
        let reply = web.get_with("/f", "Range", &format!("bytes={apart}"));
        assert_eq!((reply.status, reply.body.len()), (200, 10_000));
    }
}

#[test]
fn a_boundary_cannot_be_foreseen() {
    let folder = guarded();
    folder.write("f", "0123456789");
    for web in folder.sites(|files| files) {
        let boundary = || web.get_with("/f", "Range", "bytes=0-0,5-5").need("Content-Type").to_owned();
        assert_ne!(boundary(), boundary());
    }
}

#[test]
fn a_hostile_condition_is_only_not_met() {
    let folder = guarded();
    let commas = ",".repeat(4000);
    for web in folder.sites(|files| files) {
        for value in [commas.as_str(), "\"", "W/", "W/\"", "\"\"\"\"\"", "w/\"x\"", "\"\\\"\""] {
            assert_eq!(web.get_with("/a/b", "If-None-Match", value).status, 200, "{value}");
        }
        for value in
            ["Sun, 99 Nov 1994 08:49:37 GMT", "-1", "Sun, 06 Nov 0000 08:49:37 GMT", "99999999999999999999"]
        {
            assert_eq!(web.get_with("/a/b", "If-Modified-Since", value).status, 200, "{value}");
        }
    }
}

#[test]
fn a_name_that_is_markup_is_not_repeated() {
    let folder = guarded();
    fs::create_dir_all(folder.root().join(Path::new(OsStr::from_bytes(b"<script>")))).unwrap();
    for web in folder.sites(|files| files) {
        assert!(!web.get("/%3Cscript%3Ealert(1)%3C/script%3E").text().contains("script"));
        assert_eq!(web.get("/%3Cscript%3E").need("Location"), "/%3Cscript%3E/");
    }
}

/// The only test here without a simulation, whose pool has no threads to be busy: the pool's one thread waits, its queue is
/// full, and the file is to be read in it.
#[test]
fn a_crowd_before_a_slow_disk_is_sent_away_at_once() {
    let folder = guarded();
    let reactor = Reactor::new().unwrap();
    reactor.suggest_thread_pool_size(1);
    let (release, released) = mpsc::channel::<()>();
    reactor.call_in_thread(move || assert!(released.recv().is_err())).unwrap();
    while reactor.call_in_thread(|| {}).is_ok() {}
    let site = Site::new(folder.files().in_threads(true));
    let port = listen(&reactor, &"tcp:0:interface=127.0.0.1".parse().unwrap(), site).unwrap();
    let Address::Inet(address) = *port.address() else { panic!("a TCP port has an address") };
    let remote = reactor.remote();
    let client = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /a/b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        drop(release);
        remote.call_from_thread(|reactor| reactor.stop()).unwrap();
        answer
    });
    reactor.run().unwrap();
    let reply = Reply::read(&client.join().unwrap());
    assert_eq!((reply.status, reply.need("Retry-After")), (503, "1"));
}
