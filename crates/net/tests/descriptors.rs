//! Running out of descriptors for real. The limit is the process's, so it is lowered in a child: this binary again, told by an
//! environment variable which test it is to play.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::io::Read;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use ropewalk_net::{Address, Factory, Protocol, Transport, listen};
use ropewalk_reactor::{Deferred, Reactor};
use rustix::process::{Resource, Rlimit, setrlimit};

const CHILD: &str = "ROPEWALK_TEST_FEW_DESCRIPTORS";
const DESCRIPTORS: u64 = 40;

struct Greet;
impl Protocol for Greet {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(b"hello");
    }
    fn data_received(&mut self, _: &Transport, _: &[u8]) {}
}

struct Greeting;
impl Factory for Greeting {
    fn build_protocol(&self, _peer: &Address) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Greet))
    }
    fn overflow(&self) -> &[u8] {
        b"full"
    }
}

#[test]
fn a_server_without_descriptors_answers_and_recovers() {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_child_that_has_few_descriptors", "--nocapture"])
        .env(CHILD, "1")
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn the_child_that_has_few_descriptors() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let reactor = Reactor::new().unwrap();
    let port = listen(&reactor, &"tcp:0:interface=127.0.0.1".parse().unwrap(), Greeting).unwrap();
    let Address::Inet(address) = *port.address() else { unreachable!() };
    let handle = reactor.clone();
    let told = reactor.spawn(async move {
        // Each client costs this process two descriptors: its own and the server's.
        let limit = Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
        setrlimit(Resource::Nofile, limit).unwrap();
        let mut clients = Vec::new();
        while let Ok(client) = TcpStream::connect(address) {
            clients.push(client);
        }
        assert!(clients.len() > 5, "{}", clients.len());
        // The clients have taken all there was. Two go, of which one's place is for the first that waits.
        drop(clients.drain(..2));
        pause(&handle, Duration::from_millis(500)).await;
        let starved = port.statistics().starved;
        assert!(starved > 0, "{starved}");
        let read = |client: &mut TcpStream| {
            client.set_nonblocking(true).unwrap();
            let mut buffer = [0; 16];
            client.read(&mut buffer).map(|count| buffer[..count].to_vec()).unwrap_or_default()
        };
        let answers: Vec<Vec<u8>> = clients.iter_mut().map(read).collect();
        assert!(answers.contains(&b"full".to_vec()), "{answers:?}");
        // And with room again it is as before.
        drop(clients);
        pause(&handle, Duration::from_millis(500)).await;
        let mut client = TcpStream::connect(address).unwrap();
        pause(&handle, Duration::from_millis(200)).await;
        assert_eq!(read(&mut client), b"hello");
        handle.stop();
    });
    let stopper = reactor.clone();
    let verdict = std::rc::Rc::new(std::cell::Cell::new(false));
    let tell = verdict.clone();
    reactor.spawn(async move {
        tell.set(told.await.is_ok());
        stopper.stop();
    });
    reactor.run().unwrap();
    assert!(verdict.get());
}

/// Lets the loop run for a while: what waits here is the reactor's timer, no thread.
async fn pause(reactor: &Reactor, time: Duration) {
    let (resolver, deferred) = Deferred::new(reactor);
    reactor.call_later(time, move || {
        let _ = resolver.callback(());
    });
    deferred.await.unwrap();
}
