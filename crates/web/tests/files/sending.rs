//! Large files as the transport sends them: over the system's sockets, in their turn among other answers, and as the access log
//! sees them.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::{Address, FileSender, listen};
use ropewalk_reactor::Reactor;
use ropewalk_web::{AccessObserver, AccessRecord, Request, Response, Router, Site};

use crate::common::{Folder, Reply, Web, open_descriptors};

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index ^ (index >> 8)) as u8).collect()
}

/// Paths, statuses and bytes, as an access log has them.
#[derive(Clone, Default)]
struct Records(Rc<RefCell<Vec<(String, u16, u64)>>>);

impl AccessObserver for Records {
    fn request_finished(&self, record: &AccessRecord<'_>) {
        let path = record.head.path().to_owned();
        self.0.borrow_mut().push((path, record.status, record.bytes));
    }
}

#[test]
fn plain_sockets_get_files_and_ranges_in_their_turn() {
    let folder = Folder::new();
    let bytes = pattern(3_000_000);
    folder.write("large", &bytes);
    folder.write("small", "hemp");
    let reactor = Reactor::new().unwrap();
    let records = Records::default();
    let site = Site::new(folder.files()).observe(Rc::new(records.clone()));
    let port = listen(&reactor, &"tcp:0:interface=127.0.0.1".parse().unwrap(), site).unwrap();
    let Address::Inet(address) = *port.address() else { unreachable!("it listens on TCP") };
    let remote = reactor.remote();
    let client = std::thread::spawn(move || {
        let asked = std::panic::catch_unwind(|| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            for (path, fields) in [
                ("/large", ""),
                ("/small", ""),
                ("/large", "Range: bytes=1000-1999999\r\n"),
                ("/large", "Range: bytes=-100000\r\n"),
                ("/small", "Connection: close\r\n"),
            ] {
                let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
                stream.write_all(request.as_bytes()).unwrap();
            }
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            all
        });
        let _ = remote.call_from_thread(|reactor| reactor.stop());
        asked.unwrap()
    });
    reactor.run().unwrap();
    let mut rest = client.join().unwrap();
    for expected in [&bytes, b"hemp".as_slice(), &bytes[1000..2_000_000], &bytes[2_900_000..], b"hemp"] {
        let mut reply = Reply::read(&rest);
        assert_eq!(reply.need("Content-Length"), expected.len().to_string());
        rest = reply.body.split_off(expected.len());
        assert!(reply.body == expected, "{}", reply.head);
    }
    assert!(rest.is_empty());
    let lengths: Vec<u64> = records.0.borrow().iter().map(|(_, _, bytes)| *bytes).collect();
    assert_eq!(lengths, [3_000_000, 4, 1_999_000, 100_000, 4]);
}

#[test]
fn a_client_that_leaves_is_accounted_with_what_it_got() {
    let folder = Folder::new();
    let path = folder.write("large", pattern(2_000_000));
    let records = Records::default();
    let web = Web::of(Site::new(folder.files()).observe(Rc::new(records.clone())));
    let peer = web.connect();
    peer.write(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut got = 0;
    while got < 500_000 {
        web.simulation.advance(Duration::from_millis(5));
        got += peer.take().len() as u64;
        assert!(records.0.borrow().is_empty(), "it is over when all of it is on its way");
    }
    assert_eq!(open_descriptors(&path), 1);
    peer.reset();
    web.simulation.advance(Duration::from_secs(1));
    assert_eq!(open_descriptors(&path), 0);
    let records = records.0.take();
    let [(_, 200, bytes)] = records.as_slice() else { panic!("{records:?}") };
    assert!(*bytes > got - 1000 && *bytes < got + 500_000, "{bytes} of {got}");
}

/// A handler of one's own may answer with a file as well, but not with one of which nobody knows the length.
#[test]
fn a_file_is_a_body_unless_it_is_transformed() {
    let folder = Folder::new();
    let path = folder.write("note", "jute and hemp");
    let answer = move |request: Request| {
        let file = FileSender::new(File::open(&path).unwrap()).unwrap();
        Response::new(match request.path() {
            "/part" => file.with_part(5, 3),
            "/none" => file.with_part(13, 0),
            "/loud" => file.with_transform(|piece| piece.to_ascii_uppercase()),
            _ => file,
        })
    };
    let web = Web::new(Router::new().get("/{*path}", answer.clone()).get("/", answer));
    for (target, status, text) in [("/", 200, "jute and hemp"), ("/part", 200, "and"), ("/none", 200, "")] {
        let reply = web.get(target);
        assert_eq!((reply.status, reply.text()), (status, text), "{target}");
        assert_eq!(reply.need("Content-Length"), text.len().to_string());
    }
    let head = web.ask("HEAD", "/");
    assert_eq!((head.need("Content-Length"), head.text()), ("13", ""));
    assert_eq!(web.get("/loud").status, 500);
}
