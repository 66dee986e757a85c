//! What comes over a connection goes into a file without passing through the program: the pipe between them, and where there is none.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_net::policy::{Policy, Rates, Throttle};
use ropewalk_net::{Address, Intake, Lost, Pipe, Protocol, Transport, listen};
use ropewalk_reactor::{Reactor, Simulation};

fn file(append: bool) -> (std::path::PathBuf, File) {
    let path = std::env::temp_dir().join(format!("ropewalk-pipe-{}-{append}", std::process::id()));
    let mut options = OpenOptions::new();
    (path.clone(), options.create(true).read(true).append(append).write(true).open(path).unwrap())
}

fn text(mut file: &File) -> String {
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_pipe_is_emptied_where_the_file_stands_or_somewhere_else() {
    let pipe = Pipe::new().unwrap();
    let (path, mut plain) = file(false);
    plain.write_all(b"0123456789").unwrap();
    (&pipe).write_all(b"abcdef").unwrap();
    pipe.move_to(&plain, None, 2).unwrap();
    let mut at = 3;
    pipe.move_to(&plain, Some(&mut at), 4).unwrap();
    assert_eq!((text(&plain).as_str(), at), ("012cdef789ab", 7));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_file_that_the_system_does_not_move_into_gets_copies() {
    let pipe = Pipe::new().unwrap();
    let (path, mut appended) = file(true);
    appended.write_all(b"0123456789").unwrap();
    (&pipe).write_all(b"abc").unwrap();
    pipe.move_to(&appended, None, 3).unwrap();
    assert_eq!(text(&appended), "0123456789abc");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_full_disk_is_an_error() {
    let pipe = Pipe::new().unwrap();
    (&pipe).write_all(b"abc").unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_eq!(pipe.move_to(&full, None, 3).unwrap_err().kind(), ErrorKind::StorageFull);
}

/// What it was answered when it asked for an intake.
#[derive(Clone, Default)]
struct Asks {
    throttled: bool,
    asked: Rc<RefCell<Option<std::io::Result<Intake>>>>,
}

impl Protocol for Asks {
    fn connection_made(&mut self, transport: &Transport) {
        if self.throttled {
            let throttle = Throttle::new(transport.reactor()).each(Rates { read: Some(1_000), write: None });
            transport.push_layer(throttle.layer(&transport.peer()).unwrap());
        }
        transport.read_by_hand();
        *self.asked.borrow_mut() = Some(transport.intake());
        transport.lose_connection();
    }

    fn data_received(&mut self, _: &Transport, _: &[u8]) {}
}

#[test]
fn there_is_none_past_a_layer_or_in_a_simulation() {
    let simulation = Simulation::new(1);
    let asks = Asks::default();
    let factory = asks.clone();
    let endpoint = "tcp:7:interface=127.0.0.1".parse().unwrap();
    let port = listen(simulation.reactor(), &endpoint, move || factory.clone()).unwrap();
    let Address::Inet(address) = *port.address() else { unreachable!() };
    let _peer = simulation.network().connect(address);
    simulation.advance(Duration::from_millis(10));
    let refused = asks.asked.take().unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);

    for throttled in [true, false] {
        let asks = Asks { throttled, ..Asks::default() };
        real(asks.clone(), drop);
        let asked = asks.asked.take().unwrap();
        assert_eq!(asked.err().map(|error| error.kind()), throttled.then_some(ErrorKind::Unsupported));
    }
}

/// Serves one connection with this protocol, on the real network, until it is gone.
fn real<P: Protocol + Clone + 'static>(protocol: P, client: impl FnOnce(TcpStream) + Send + 'static) {
    let reactor = Reactor::new().unwrap();
    let over = reactor.clone();
    let factory = move || Watched(protocol.clone(), over.clone());
    let port = listen(&reactor, &"tcp:0:interface=127.0.0.1".parse().unwrap(), factory).unwrap();
    let Address::Inet(address) = *port.address() else { unreachable!() };
    let thread = std::thread::spawn(move || client(TcpStream::connect(address).unwrap()));
    reactor.run().unwrap();
    thread.join().unwrap();
}

struct Watched<P>(P, Reactor);

impl<P: Protocol> Protocol for Watched<P> {
    fn connection_made(&mut self, transport: &Transport) {
        self.0.connection_made(transport);
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.0.data_received(transport, data);
    }

    fn woken(&mut self, transport: &Transport) {
        self.0.woken(transport);
    }

    fn connection_lost(&mut self, transport: &Transport, lost: &Lost) {
        self.0.connection_lost(transport, lost);
        self.1.stop();
    }
}

/// Takes everything by an intake, a stretch after the other, on the loop itself; keeps how it ended.
#[derive(Clone, Default)]
struct Takes {
    intake: Rc<RefCell<Option<Intake>>>,
    taken: Rc<RefCell<Vec<u8>>>,
    received: Rc<RefCell<u64>>,
    end: Rc<RefCell<String>>,
}

impl Protocol for Takes {
    fn connection_made(&mut self, transport: &Transport) {
        transport.read_by_hand();
        *self.intake.borrow_mut() = Some(transport.intake().unwrap());
        transport.wake();
    }

    fn data_received(&mut self, _: &Transport, _: &[u8]) {}

    fn woken(&mut self, transport: &Transport) {
        let intake = self.intake.borrow();
        let intake = intake.as_ref().unwrap();
        loop {
            match intake.fill(transport) {
                Ok(0) => {
                    *self.end.borrow_mut() = "its end".to_owned();
                    return transport.lose_connection();
                }
                Ok(count) => {
                    let stretch = intake.run(count, |mut pipe, count| {
                        let mut bytes = vec![0; count];
                        pipe.read_exact(&mut bytes)?;
                        self.taken.borrow_mut().extend(bytes);
                        Ok(())
                    });
                    stretch.unwrap().settle(transport);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => return transport.abort(Lost::Broken(Arc::new(error))),
            }
        }
    }

    fn connection_lost(&mut self, transport: &Transport, lost: &Lost) {
        *self.received.borrow_mut() = transport.traffic().0;
        let mut end = self.end.borrow_mut();
        if end.is_empty() {
            *end = lost.to_string();
        }
    }
}

#[test]
fn everything_comes_once_and_is_counted() {
    let content: Vec<u8> = (0..40_000_000_u32).map(|at| (at % 251) as u8).collect();
    for size in [40_000_000, 100_000, 1_000] {
        let (takes, sent) = (Takes::default(), content.clone());
        real(takes.clone(), move |mut peer| {
            for piece in sent.chunks(size) {
                peer.write_all(piece).unwrap();
            }
        });
        assert!(*takes.taken.borrow() == content, "{size}");
        assert_eq!((*takes.received.borrow(), takes.end.borrow().as_str()), (40_000_000, "its end"));
    }
}

#[test]
fn a_reset_is_no_end() {
    for size in [10, 1_000_000, 30_000_000] {
        let takes = Takes::default();
        real(takes.clone(), move |mut peer| {
            peer.write_all(&vec![7; size]).unwrap();
            socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        });
        let end = takes.end.borrow();
        assert!(end.contains("reset"), "{size}: {end}");
    }
}
