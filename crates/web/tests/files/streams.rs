//! Large files: they follow their reader, they keep to the length that was announced, and their descriptors are closed.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_net::Transport;
use ropewalk_web::{Answer, Files, Handler, Request};

use crate::common::{Folder, Reply, Web, open_descriptors};

const REQUEST: &[u8] = b"GET /f HTTP/1.1\r\nHost: x\r\n\r\n";
const MILLISECOND: Duration = Duration::from_millis(1);

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index % 251) as u8).collect()
}

/// `Files`, with an eye on the transport.
struct Watched(Files, Rc<RefCell<Option<Transport>>>);

impl Handler for Watched {
    fn handle(&self, request: Request) -> Answer {
        *self.1.borrow_mut() = Some(request.transport().clone());
        self.0.handle(request)
    }
}

#[test]
fn a_slow_reader_holds_little_memory() {
    let folder = Folder::new();
    let bytes = pattern(8 << 20);
    folder.write("f", &bytes);
    for in_threads in [false, true] {
        let transport = Rc::default();
        let web = Web::new(Watched(folder.files().in_threads(in_threads), Rc::clone(&transport)));
        let peer = web.connect();
        peer.write(REQUEST);
        let (mut received, mut most) = (Vec::new(), 0);
        while received.len() < bytes.len() + 200 {
            web.simulation.advance(MILLISECOND * 50);
            most = most.max(transport.borrow().as_ref().map_or(0, Transport::buffered_in_memory));
            let piece = peer.take_some(48 * 1024);
            if piece.is_empty() {
                break;
            }
            received.extend(piece);
        }
        assert!(most > 0 && most <= 2 * 64 * 1024, "{most} bytes were buffered");
        let reply = Reply::read(&received);
        assert_eq!(reply.need("Content-Length"), bytes.len().to_string());
        assert!(reply.body == bytes, "{} bytes came", reply.body.len());
    }
}

#[test]
fn descriptors_are_closed_when_the_answer_ends() {
    let folder = Folder::new();
    let path = folder.write("f", pattern(1 << 20));
    for web in folder.sites(|files| files) {
        let peer = web.connect();
        peer.write(REQUEST);
        web.simulation.advance(MILLISECOND * 50);
        assert_eq!(open_descriptors(&path), 1, "it is being read");
        while !peer.take().is_empty() {
            web.simulation.advance(MILLISECOND * 50);
        }
        assert_eq!(open_descriptors(&path), 0);
        assert!(!peer.is_ended(), "the connection is kept");
    }
}

#[test]
fn descriptors_are_closed_when_the_client_leaves() {
    let folder = Folder::new();
    let path = folder.write("f", pattern(4 << 20));
    for web in folder.sites(|files| files) {
        for moment in 1..40 {
            let peer = web.connect();
            peer.write(REQUEST);
            web.simulation.advance(MILLISECOND * moment);
            peer.take();
            peer.reset();
            web.simulation.advance(Duration::from_secs(1));
            assert_eq!(open_descriptors(&path), 0, "left after {moment} ms");
        }
    }
}

#[test]
fn a_file_that_shrinks_breaks_the_answer_off() {
    let folder = Folder::new();
    for in_threads in [false, true] {
        let path = folder.write("f", pattern(1 << 20));
        let web = Web::new(folder.files().in_threads(in_threads));
        let peer = web.connect();
        peer.write(REQUEST);
        web.simulation.advance(MILLISECOND * 50);
        OpenOptions::new().write(true).open(&path).unwrap().set_len(100_000).unwrap();
        let mut received = 0;
        for _ in 0..1000 {
            web.simulation.advance(MILLISECOND * 50);
            received += peer.take().len();
            if peer.is_ended() {
                break;
            }
        }
        assert!(peer.is_reset() && received < 1 << 20, "the client must not take it for the whole");
        assert_eq!(open_descriptors(&path), 0);
    }
}

#[test]
fn a_file_that_grows_is_cut_where_it_was_announced() {
    let folder = Folder::new();
    for in_threads in [false, true] {
        let bytes = pattern(1 << 20);
        let path = folder.write("f", &bytes);
        folder.write("next", "next");
        let web = Web::new(folder.files().in_threads(in_threads));
        let peer = web.connect();
        peer.write(REQUEST);
        web.simulation.advance(MILLISECOND * 50);
        File::options().append(true).open(&path).unwrap().write_all(&bytes).unwrap();
        peer.write(b"GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let mut reply = Reply::read(&web.rest(&peer));
        let next = Reply::read(&reply.body.split_off(bytes.len()));
        assert!(reply.body == bytes);
        assert_eq!((next.status, next.text()), (200, "next"));
    }
}
