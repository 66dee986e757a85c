//! The library's own protocols at real endpoints, on a thread of the test: what foreign peers talk to where no program of ours would do.

use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use ropewalk::net::DatagramOptions;
use ropewalk::{Reactor, Remote};

use super::PATIENCE;
use super::protocols::Return;

/// A reactor on a thread, stopped when the test is over.
pub struct Server<T> {
    /// Where it listens, as its maker has said.
    pub place: T,
    remote: Remote,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Server<T> {
    /// Runs `listen` on the loop's thread; what it answers is told to the test.
    pub fn start(listen: impl FnOnce(&Reactor) -> T + Send + 'static) -> Server<T> {
        let (tell, told) = channel();
        let thread = std::thread::spawn(move || {
            let reactor = Reactor::new().unwrap();
            let place = listen(&reactor);
            tell.send((place, reactor.remote())).unwrap();
            reactor.run().unwrap();
        });
        let (place, remote) =
            told.recv_timeout(PATIENCE).expect("it listens, or its thread has said why not");
        Server { place, remote, thread: Some(thread) }
    }
}

impl<T> Drop for Server<T> {
    fn drop(&mut self) {
        // It fails when the loop has ended by itself.
        let _ = self.remote.call_from_thread(Reactor::stop);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the server's thread has panicked");
        }
    }
}

/// Listens at a free TCP port, which it answers.
pub fn listen_tcp(reactor: &Reactor, factory: impl ropewalk::Factory) -> u16 {
    let port = ropewalk::listen(reactor, &"tcp:0:interface=127.0.0.1".parse().unwrap(), factory).unwrap();
    match port.address() {
        ropewalk::Address::Inet(address) => address.port(),
        _ => unreachable!("it was asked for TCP"),
    }
}

/// Gives datagrams back at a free UDP port, which it answers.
pub fn listen_udp(reactor: &Reactor) -> u16 {
    let (here, options) = ("127.0.0.1:0".parse().unwrap(), DatagramOptions::default());
    ropewalk::net::listen_udp(reactor, here, Return, options).unwrap().host().port()
}
