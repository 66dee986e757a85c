//! Uploads over real sockets, into files of the system, from clients that are fast, uneven, or break off: what is kept is what was sent, by
//! whichever way it came.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::{Served, Users};
use ropewalk_ftp::{FtpOptions, FtpServer, LocalStorage, MemoryStorage, Storage};

/// No wait is longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than the buffers of both ends hold.
const LARGE_BYTES: usize = 24 << 20;

fn served(storage: impl Storage) -> Served {
    let make = || FtpServer::new(Users(Arc::new(storage)), FtpOptions::default());
    Served::new("tcp:0:interface=127.0.0.1", make)
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn new(ground: &Served) -> Client {
        let control = TcpStream::connect(ground.address).unwrap();
        control.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Client(BufReader::new(control));
        client.line();
        for (line, code) in [("USER ada", "331"), ("PASS x", "230"), ("TYPE I", "200")] {
            client.expect(line, code);
        }
        client
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    fn expect(&mut self, line: &str, code: &str) -> String {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
        let reply = self.line();
        assert!(reply.starts_with(code), "{line}: {reply}");
        reply
    }

    fn data(&mut self) -> TcpStream {
        let reply = self.expect("EPSV", "229");
        let port = reply.split('|').nth(3).unwrap().parse().unwrap();
        TcpStream::connect((self.0.get_ref().peer_addr().unwrap().ip(), port)).unwrap()
    }

    /// Sends it in pieces of these sizes, over and over; the reply at its end.
    fn upload(&mut self, line: &str, content: &[u8], sizes: &[usize]) -> String {
        let mut data = self.data();
        data.set_nodelay(true).unwrap();
        self.expect(line, "1");
        let mut left = content;
        for size in sizes.iter().cycle() {
            let (piece, rest) = left.split_at((*size).min(left.len()));
            data.write_all(piece).unwrap();
            left = rest;
            if left.is_empty() {
                break;
            }
        }
        drop(data);
        self.line()
    }
}

fn noise(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index * 7919 % 251) as u8).collect()
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("ropewalk-ftp-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The last is of a client that changes its mind about how it sends.
const MANNERS: [&[usize]; 4] =
    [&[1 << 20], &[8192], &[100, 70_000, 1], &[1 << 20, 1 << 20, 10, 10, 900, 3 << 20]];

#[test]
fn what_is_kept_is_what_was_sent() {
    let folder = folder("uploads");
    let ground = served(LocalStorage::new(&folder).unwrap());
    let mut client = Client::new(&ground);
    let content = noise(LARGE_BYTES);
    for sizes in MANNERS {
        assert_eq!(client.upload("STOR file", &content, sizes), "226 It has come whole\r\n", "{sizes:?}");
        assert!(std::fs::read(folder.join("file")).unwrap() == content, "{sizes:?}");
        // What is added is added wherever the end is, and what is resumed goes where it belongs.
        let half = content.len() / 2;
        assert!(client.upload("APPE file", &content[..half], sizes).starts_with("226"));
        let added = std::fs::read(folder.join("file")).unwrap();
        assert!(added[..content.len()] == content && added[content.len()..] == content[..half]);
        client.expect("REST 5", "350");
        assert!(client.upload("STOR file", &content, sizes).starts_with("226"));
        let resumed = std::fs::read(folder.join("file")).unwrap();
        assert!(resumed[..5] == content[..5] && resumed[5..content.len() + 5] == content);
    }
    for size in [0, 1, 65_535, 65_536, 65_537, 262_144, 393_216] {
        assert!(client.upload("STOR file", &content[..size], &[1 << 20]).starts_with("226"));
        assert!(std::fs::read(folder.join("file")).unwrap() == content[..size], "{size}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_storage_that_knows_nothing_of_pipes_gets_the_same_bytes() {
    let ground = served(MemoryStorage::new(64 << 20));
    let mut client = Client::new(&ground);
    let content = noise(LARGE_BYTES);
    for sizes in MANNERS {
        assert!(client.upload("STOR file", &content, sizes).starts_with("226"));
        let mut data = client.data();
        client.expect("RETR file", "1");
        let mut fetched = Vec::new();
        std::io::Read::read_to_end(&mut data, &mut fetched).unwrap();
        assert!(client.line().starts_with("226") && fetched == content, "{sizes:?}");
    }
}

#[test]
fn who_breaks_off_leaves_nothing() {
    let folder = folder("broken-off");
    let ground = served(LocalStorage::new(&folder).unwrap());
    let mut client = Client::new(&ground);
    for size in [1, 300_000, LARGE_BYTES] {
        let mut data = client.data();
        client.expect("STOR file", "1");
        data.write_all(&noise(size)).unwrap();
        // What it has sent is dropped with it, and the server hears of a reset.
        rustix::net::sockopt::set_socket_linger(&data, Some(Duration::ZERO)).unwrap();
        drop(data);
        assert!(client.line().starts_with("426"), "{size}");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "{size}");
    }
    assert!(client.upload("STOR file", b"whole", &[5]).starts_with("226"));
    std::fs::remove_dir_all(folder).unwrap();
}
