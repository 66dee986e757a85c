//! curl against the library on real sockets: a file as large as the system's buffers are not, both ways, actively and passively.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use common::Served;
use ropewalk_ftp::{Anonymous, FtpOptions, FtpServer, FtpStatistics, LocalStorage, Permissions, User};

/// A server of a folder.
struct Shop {
    folder: PathBuf,
    port: u16,
    served: Option<Served>,
}

impl Shop {
    fn new(name: &str, endpoint: &'static str) -> Shop {
        let folder = std::env::temp_dir().join(format!("ropewalk-ftp-curl-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let root = folder.clone();
        let served = Served::new(endpoint, || {
            let storage = Arc::new(LocalStorage::new(root).unwrap());
            let user = User::new("anybody", storage, Permissions::ALL);
            FtpServer::new(Anonymous::with_user(user), FtpOptions::default())
        });
        Shop { folder, port: served.address.port(), served: Some(served) }
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    fn end(mut self) -> FtpStatistics {
        self.served.take().unwrap().end()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn curl(program: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(["--silent", "--show-error", "--max-time", "60", "--noproxy", "*"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn both_ways_passively_and_actively() {
    let Some(program) = ropewalk_testkit::require("curl") else { return };
    let shop = Shop::new("four", "tcp:0:interface=127.0.0.1");
    let content: Vec<u8> = (0..20_000_000u64).map(|index| (index * 7919 % 251) as u8).collect();
    std::fs::write(shop.file("big"), &content).unwrap();
    let at = |path: &str| format!("ftp://127.0.0.1:{}/{path}", shop.port);
    for way in [
        &["--ftp-pasv"][..],
        &["--disable-epsv"],
        &["--ftp-port", "-"],
        &["--disable-eprt", "--ftp-port", "-"],
    ] {
        assert!(curl(&program, &[way, &[&at("big")]].concat()) == content, "{way:?}");
        curl(&program, &[way, &["--upload-file", &shop.file("big"), &at("up")]].concat());
        assert!(std::fs::read(shop.file("up")).unwrap() == content, "{way:?}");
        // What is there already is gone on with.
        std::fs::write(shop.file("up"), &content[..1000]).unwrap();
        curl(
            &program,
            &[way, &["--continue-at", "-", "--upload-file", &shop.file("big"), &at("up")]].concat(),
        );
        assert!(std::fs::read(shop.file("up")).unwrap() == content, "{way:?}");
    }
    let statistics = shop.end();
    assert_eq!((statistics.downloads, statistics.uploads, statistics.broken), (4, 8, 0));
    assert_eq!(statistics.bytes_sent, 80_000_000);
}

#[test]
fn over_ipv6() {
    let Some(program) = ropewalk_testkit::require("curl") else { return };
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        // A machine without IPv6 has nothing to try.
        return;
    }
    let shop = Shop::new("six", "tcp6:0:interface=\\:\\:1");
    std::fs::write(shop.file("hello"), "hello").unwrap();
    let at = format!("ftp://[::1]:{}/hello", shop.port);
    assert_eq!(curl(&program, &[&at]), b"hello");
    assert_eq!(curl(&program, &["--ftp-port", "::1", &at]), b"hello");
    shop.end();
}
