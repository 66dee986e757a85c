//! The page of figures of a program with several loops: real ones, each on a thread, asked over a socket.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::time::Duration;

use ropewalk_app::metrics::{self, Sources};
use ropewalk_net::{Address, listen};
use ropewalk_reactor::{Reactor, Remote};
use ropewalk_web::{Router, Site};

const LONG: Duration = Duration::from_secs(20);

fn page(address: SocketAddr) -> String {
    let mut peer = TcpStream::connect(address).unwrap();
    peer.set_read_timeout(Some(LONG)).unwrap();
    peer.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer
}

/// A loop on a thread, and a way to it.
fn worker() -> (Remote, std::thread::JoinHandle<()>) {
    let (tell, told) = channel();
    let thread = std::thread::spawn(move || {
        let reactor = Reactor::new().unwrap();
        tell.send(reactor.remote()).unwrap();
        reactor.run().unwrap();
    });
    (told.recv_timeout(LONG).unwrap(), thread)
}

#[test]
fn every_loop_is_on_the_page_and_one_that_has_ended_is_not() {
    let (other, thread) = worker();
    let asked = other.clone();
    let (tell, told) = channel();
    let home = std::thread::spawn(move || {
        let reactor = Reactor::new().unwrap();
        let sources = Sources::new();
        sources.reactor("home", &reactor);
        sources.worker("1", asked);
        let site = Site::new(Router::new().route("GET", "/metrics", metrics::handler(&sources)));
        let port = listen(&reactor, &"tcp:0:interface=127.0.0.1".parse().unwrap(), site).unwrap();
        let Address::Inet(address) = port.address() else { unreachable!("it was asked for TCP") };
        tell.send((*address, reactor.remote())).unwrap();
        reactor.run().unwrap();
    });
    let (address, remote) = told.recv_timeout(LONG).unwrap();
    let shown = page(address);
    for worker in ["home", "1"] {
        assert!(shown.contains(&format!("ropewalk_loop_turns_total{{worker=\"{worker}\"}} ")), "{shown}");
    }
    other.call_from_thread(Reactor::stop).unwrap();
    thread.join().unwrap();
    let shown = page(address);
    assert!(shown.contains("{worker=\"home\"}") && !shown.contains("{worker=\"1\"}"), "{shown}");
    remote.call_from_thread(Reactor::stop).unwrap();
    home.join().unwrap();
}
